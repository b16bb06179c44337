"""What tests of the store share: a publisher that knows what was confirmed, small disks."""

import os
import subprocess
import unittest
from collections import Counter

from harness.client import Conn, Eof
from harness.waits import LONG, Deadline

PERSISTENT = {"delivery_mode": 2}


def node_folder(broker):
    """Where it keeps its data."""
    return os.path.join(broker.path("data"), broker.name + "@localhost")


class Publisher:
    """Numbered persistent messages to one queue on a channel with confirms.

    `confirmed` has the numbers of those that were; the body begins with the number."""

    def __init__(self, address, queue, size=1000, props=PERSISTENT, before=b""):
        self.conn = Conn(address, before=before)
        self.ch = self.conn.channel()
        self.ch.call("confirm.select")
        self.queue, self.size, self.props = queue, size, props
        self.sent = 0
        self.open = set()
        self.confirmed = set()
        self.blocked = None  # the reason

    def publish(self, count=1):
        for _ in range(count):
            body = b"%d " % self.sent
            self.ch.publish("", self.queue, body.ljust(self.size, b"."), self.props)
            self.sent += 1
            self.open.add(self.sent)

    def _take(self, event):
        if event.name == "basic.ack":
            tags = {t for t in self.open if t <= event.delivery_tag} if event.multiple else \
                {event.delivery_tag}
            self.open -= tags
            self.confirmed |= {t - 1 for t in tags}
        elif event.name == "connection.blocked":
            self.blocked = event.reason
        elif event.name == "connection.unblocked":
            self.blocked = None
        else:
            raise AssertionError("a publisher got %r" % event)

    def listen(self, seconds=0.0):
        """Take what came, and what comes meanwhile."""
        deadline = Deadline(seconds)
        while True:
            try:
                self._take(self.conn.next(None, max(deadline.left(), 0.001)))
            except TimeoutError:
                return

    def has_come(self, condition, seconds):
        """Whether it holds before that time is over. Looked at after each event, and now and then
        without one."""
        deadline = Deadline(seconds)
        while not condition(self):
            if deadline.passed():
                return False
            try:
                self._take(self.conn.next(None, 0.05))
            except TimeoutError:
                pass
        return True

    def wait(self, condition, what, seconds=LONG):
        if not self.has_come(condition, seconds):
            raise AssertionError("waited in vain: " + what)

    def wait_confirmed(self, seconds=LONG):
        self.wait(lambda p: not p.open, "%d confirms" % len(self.open), seconds)

    def publish_until_blocked(self, most=1000000, window=64):
        """While so many are not confirmed, a little waiting before the next one: only who publishes
        is told. Returns the reason."""
        for _ in range(most):
            self.publish()
            if len(self.open) >= window:
                self.has_come(lambda _: self.blocked or len(self.open) <= window // 2, 0.05)
            if self.blocked:
                return self.blocked
        self.wait(lambda _: self.blocked, "blocked")
        return self.blocked

    def close(self):
        self.conn.sock.close()

    def listen_to_the_end(self, seconds=LONG):
        """Until the server closes or vanishes."""
        deadline = Deadline(seconds)
        while not deadline.passed():
            try:
                self.listen(0.5)
            except (Eof, OSError, AssertionError):
                return
        raise AssertionError("the connection is still there")


def numbers(bodies):
    return [int(b.split(b" ", 1)[0]) for b in bodies]


def drain(address, queue, idle=0.3, before=b""):
    """All that a queue has, acknowledged: (number, redelivered) in order, until nothing is left when
    nothing has come for so long. Then the consumer is cancelled first: what has been handed out and
    is on its way comes before the answer, and counts too."""
    conn = Conn(address, before=before)
    ch, asker = conn.channel(), conn.channel()
    ch.call("basic.qos", prefetch_count=200)
    out = []

    def take(event):
        ch.ack(event.delivery_tag)
        out.append((int(event.body.split(b" ", 1)[0]), event.redelivered))

    while True:
        tag = ch.consume(queue)
        while True:
            try:
                take(ch.expect("basic.deliver", idle))
            except TimeoutError:
                break
        ch.send("basic.cancel", consumer_tag=tag)
        while (event := ch.next(LONG)).name != "basic.cancel_ok":
            take(event)
        if asker.declare(queue, passive=True).message_count == 0:
            break
    ch.barrier()
    conn.close()
    return out


def wrong_in(taken, count):
    """What is wrong with these (number, redelivered) that should be 0, 1, ... count - 1, or ""."""
    got = [n for n, _ in taken]
    places = [i for i in range(1, len(got)) if got[i] != got[i - 1] + 1]
    words = [("missing", sorted(set(range(count)) - set(got))),
             ("unknown", sorted(set(got) - set(range(count)))),
             ("twice", sorted(n for n, times in Counter(got).items() if times > 1)),
             ("out of place", ["%d behind %d%s" % (
                 got[i], got[i - 1], " (redelivered)" if taken[i][1] else "") for i in places])]
    return ", ".join("%s: %d, as %s" % (what, len(which), which[:10])
                     for what, which in words if which)


class SmallDisk:
    """A file system of so many MiB at `path`: ext4 in a file, else a tmpfs. Needs root."""

    def __init__(self, folder, mib, kinds=("ext4", "tmpfs")):
        self.path = os.path.join(folder, "disk")
        self.image = os.path.join(folder, "disk.img")
        self.kind = None
        os.makedirs(self.path, exist_ok=True)
        why = "not root"
        for kind in kinds if os.geteuid() == 0 else ():
            why = self._mount(kind, mib)
            if why is None:
                self.kind = kind
                return
        raise unittest.SkipTest("no small file system can be mounted here: %s" % why)

    def _mount(self, kind, mib):
        if kind == "tmpfs":
            return self._run("mount", "-t", "tmpfs", "-o", "size=%dm" % mib, "tmpfs", self.path)
        with open(self.image, "wb") as f:
            f.truncate(mib << 20)
        return self._run("mkfs.ext4", "-q", "-m", "0", self.image) or \
            self._run("mount", "-o", "loop", self.image, self.path)

    @staticmethod
    def _run(*argv):
        """None, or what went wrong."""
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=LONG, text=True)
        except (OSError, subprocess.TimeoutExpired) as e:
            return str(e)
        return None if done.returncode == 0 else "%s: %s" % (argv[0], done.stdout.strip())

    def remount(self, how):
        wrong = self._run("mount", "-o", "remount," + how, self.path)
        if wrong:
            raise AssertionError(wrong)

    def free(self):
        s = os.statvfs(self.path)
        return s.f_bavail * s.f_frsize

    def fill(self, leave):
        """Another program takes all but `leave` octets. Returns the file, which may be removed."""
        path = os.path.join(self.path, "somebody-elses")
        with open(path, "wb") as f:
            while self.free() > leave + (1 << 16):
                f.write(b"x" * min(1 << 20, self.free() - leave))
                f.flush()
                os.fsync(f.fileno())
        return path

    def close(self):
        if self.kind is not None:
            if self._run("umount", self.path):
                self._run("umount", "-l", self.path)
            self.kind = None
