"""Traffic: publishers and consumers that go on through whatever happens, and the verdict on it."""

import os
import sys

from harness import procs
from harness.waits import LONG, wait_until

LOAD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "load.py")


class Stream:
    """A publisher on one host and a consumer on another, of one queue that lives on `home`."""

    def __init__(self, folder, queue, home, publish_at, consume_at):
        self.queue, self.home = queue, home
        self.users = {home, publish_at, consume_at}
        os.makedirs(folder, exist_ok=True)
        self.confirmed_path = os.path.join(folder, queue + ".confirmed")
        self.received_path = os.path.join(folder, queue + ".received")
        self.logs = [os.path.join(folder, queue + ".%s.log" % kind)
                     for kind in ("publish", "consume")]
        self._declare()
        self.publisher = self._start(publish_at, "publish", self.confirmed_path, self.logs[0])
        self.consumer = self._start(consume_at, "consume", self.received_path, self.logs[1])

    def _declare(self):
        conn = self.home.connect()
        try:
            conn.channel().declare(self.queue, durable=True,
                                   arguments={"x-queue-master-locator": "client-local"})
        finally:
            conn.sock.close()

    def _start(self, host, kind, path, log):
        open(path, "a").close()
        return procs.Proc([sys.executable, LOAD, kind, self.queue, path], log,
                          enter=host.space.enter)

    @staticmethod
    def _numbers(path):
        with open(path) as f:
            return {int(line) for line in f if line.endswith("\n")}

    def confirmed(self):
        return self._numbers(self.confirmed_path)

    def received(self):
        return self._numbers(self.received_path)

    def wait_progress(self, count=20, seconds=LONG):
        """Both go on: this many more are confirmed, and some of them arrive."""
        seen = self.confirmed()
        wait_until(lambda: len(self.confirmed() - seen) >= count,
                   "confirms of %s" % self.queue, seconds)
        wait_until(lambda: self.received() - seen, "deliveries of %s" % self.queue, seconds)

    def stop_publisher(self):
        self._stop(self.publisher)

    def stop(self):
        for p in (self.publisher, self.consumer):
            if p.alive():
                self._stop(p)

    @staticmethod
    def _stop(p):
        status = p.stop()
        if status != 0:
            raise AssertionError("%s ended with %d:\n%s" % (p.argv, status, p.log_tail()))

    def judge(self):
        """After the fault: it goes on, and what was confirmed arrives, all of it."""
        self.wait_progress()
        self.stop_publisher()
        confirmed = self.confirmed()
        try:
            wait_until(lambda: confirmed <= self.received(), "all of %s" % self.queue, LONG,
                       interval=0.1)
        except AssertionError:
            lost = sorted(confirmed - self.received())
            raise AssertionError("%s: %d of %d confirmed messages never arrived: %s ..." % (
                self.queue, len(lost), len(confirmed), lost[:10])) from None
        self.stop()
        return len(confirmed)
