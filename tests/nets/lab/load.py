#!/usr/bin/python3
"""A client under load, as a program: it publishes numbered messages with confirms, or consumes them.

    load.py publish QUEUE FILE     numbers that were confirmed, and were not returned
    load.py consume QUEUE FILE     numbers that came, each before it is acknowledged

It talks to the broker of its machine, connects again whenever that fails, and ends by TERM: a
publisher first waits for what is on its way, and exits with 3 when no answer comes.
"""

import os
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "..", "..", "e2e"))

from harness.client import Conn, Eof
from wire import WireError

ADDRESS = ("127.0.0.1", 5672)
WINDOW = 32
PACE_S = 0.01  # between two bursts: the test is about faults, not about speed
BURST = 4
LAST_WORDS_S = 120.0
UNANSWERED = 3
BACKOFF_S = 0.1
GONE = (OSError, Eof, TimeoutError, AssertionError, WireError)


class Load:
    def __init__(self, queue, path):
        self.queue = queue
        self.out = open(path, "a", buffering=1)
        self.next_number = 0
        self.is_ending = False
        self.status = 0

    def end(self, *_):
        self.is_ending = True

    def open(self):
        conn = Conn(ADDRESS)
        try:
            return conn, conn.channel()
        except BaseException:
            conn.sock.close()
            raise

    def run(self):
        while not self.is_ending:
            conn = None
            try:
                conn, ch = self.open()
                self.work(ch)
            except GONE:
                time.sleep(BACKOFF_S)
            finally:
                if conn is not None:
                    conn.sock.close()
        return self.status


class Publisher(Load):
    """What is unconfirmed when a connection ends is not sent again: it does not count."""

    def work(self, ch):
        self.waiting, self.returned, self.sent, self.low = {}, set(), 0, 1
        ch.call("confirm.select")
        while not self.is_ending:
            for _ in range(BURST if len(self.waiting) < WINDOW else 0):
                self.publish(ch)
            self.listen(ch, PACE_S)
        end = time.monotonic() + LAST_WORDS_S
        while self.waiting and time.monotonic() < end:
            self.listen(ch, PACE_S)
        if self.waiting:
            print("neither confirmed nor refused: %s" % sorted(self.waiting.values()), flush=True)
            self.status = UNANSWERED

    def publish(self, ch):
        self.sent += 1
        self.waiting[self.sent] = self.next_number
        ch.publish("", self.queue, b"%d" % self.next_number, {"delivery_mode": 2}, mandatory=True)
        self.next_number += 1

    def listen(self, ch, seconds):
        """All that comes within this time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                event = ch.next(left)
            except TimeoutError:
                return
            if event.name == "basic.return":
                self.returned.add(int(event.body))
            elif event.name in ("basic.ack", "basic.nack"):
                self.settle(event)
            else:
                raise Eof("came %r" % event)

    def settle(self, event):
        first = self.low if event.multiple else event.delivery_tag
        for tag in range(first, event.delivery_tag + 1):
            number = self.waiting.pop(tag, None)
            if number is not None and event.name == "basic.ack" and number not in self.returned:
                self.out.write("%d\n" % number)
        if event.multiple:
            self.low = event.delivery_tag + 1


class Consumer(Load):
    def work(self, ch):
        ch.call("basic.qos", prefetch_count=WINDOW)
        ch.consume(self.queue)
        while not self.is_ending:
            try:
                event = ch.next(PACE_S)
            except TimeoutError:
                continue
            if event.name != "basic.deliver":
                raise Eof("came %r" % event)
            self.out.write("%s\n" % event.body.decode())
            ch.ack(event.delivery_tag)


def main():
    kind, queue, path = sys.argv[1:]
    load = {"publish": Publisher, "consume": Consumer}[kind](queue, path)
    signal.signal(signal.SIGTERM, load.end)
    return load.run()


if __name__ == "__main__":
    sys.exit(main())
