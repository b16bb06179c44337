"""Connections that are reset in the midst of publishing: nothing that was confirmed is lost (P6),
and who publishes knows exactly what was not (P7)."""

import os
import signal

import wire
from harness.case import Case
from harness.client import Eof
from harness.tap import UP, Tap
from harness.waits import LONG, wait_until

TARGETS = ("proxy",)
PERSISTENT = {"delivery_mode": 2}
PUBLISH = b"\x00\x3c\x00\x28"  # class and method
ROUNDS = 12
BURST = 60


class Publisher:
    """Numbers, each with a confirm; what was not confirmed when a connection goes is sent again."""

    def __init__(self, case, address, queue):
        self.case, self.address, self.queue = case, address, queue
        self.next = 0
        self.outstanding = []  # numbers, as they were published
        self.confirmed = []
        self.ch = None

    def open(self):
        def opened():
            try:
                self.ch = self.case.channel(address=self.address)
                self.ch.call("confirm.select")
                return True
            except (OSError, Eof, AssertionError):
                return False  # the backend may just be gone
        wait_until(opened, "a connection", LONG)
        again, self.outstanding, self.tags = self.outstanding, [], {}
        self.publish(again)

    def publish(self, numbers):
        for n in numbers:
            self.outstanding.append(n)
            self.tags[len(self.tags) + 1] = n
            self.ch.publish("", self.queue, b"%d" % n, PERSISTENT)

    def burst(self, count=BURST):
        self.publish(range(self.next, self.next + count))
        self.next += count

    def hear(self, count):
        """Until so many more are confirmed."""
        goal = len(self.confirmed) + count
        while len(self.confirmed) < goal:
            ack = self.ch.expect("basic.ack", LONG)
            done = [t for t in self.tags if t <= ack.delivery_tag] if ack.multiple else \
                [ack.delivery_tag]
            for tag in done:
                n = self.tags.pop(tag)  # fails where it was not published, or confirmed before
                self.outstanding.remove(n)
                self.confirmed.append(n)


def half_a_message(conn):
    """The beginning of a publish, which nobody will end."""
    conn.sock.sendall(wire.method_frame(1, "basic.publish", exchange="", routing_key="x") +
                      wire.put_frame(2, 1, b"\x00\x3c\x00\x00" + (1 << 20).to_bytes(8, "big") +
                                     b"\x00\x00"))


class Resets(Case):
    def judge(self, publisher, address):
        """All that is confirmed is there; the first of each in order, and nothing that was not
        sent. What is there."""
        ch = self.channel(address=address)
        there = [int(body) for body in ch.get_all(publisher.queue)]
        first = list(dict.fromkeys(there))
        self.assertEqual(first, sorted(first))
        self.assertEqual(set(publisher.confirmed) - set(there), set(), "confirmed, and lost")
        self.assertEqual(set(there) - set(range(publisher.next)), set())
        return set(there)

    def play(self, address, reset):
        queue = self.name()
        self.channel(address=address).declare(queue, durable=True)
        publisher = Publisher(self, address, queue)
        for i in range(ROUNDS):
            publisher.open()
            publisher.burst()
            publisher.hear(i * BURST // ROUNDS + 1)
            reset(publisher.ch.conn)
        publisher.open()
        publisher.hear(len(publisher.outstanding))
        self.assertEqual(sorted(publisher.confirmed), list(range(publisher.next)))
        self.judge(publisher, address)

    def test_the_clients_connection(self):
        def reset(conn):
            half_a_message(conn)
            conn.drop()
        self.play(self.proxy([self.broker()]).address, reset)

    def test_the_brokers_connection(self):
        tap = Tap(self.broker())
        self.addCleanup(tap.close)
        front = self.proxy([tap])

        def reset(conn):
            half_a_message(conn)
            publishes = [c for c in tap.conns if PUBLISH in bytes(c.said[UP])]
            publishes[-1].tear()  # the others are of connections before, and of checks
        self.play(front.address, reset)

    def test_who_publishes_to_a_node_that_dies_knows_what_is_outstanding(self):
        node = self.broker()
        queue = self.name()
        self.channel(address=node.address).declare(queue, durable=True)
        publisher = Publisher(self, node.address, queue)
        publisher.open()
        publisher.burst(20 * BURST)
        publisher.hear(5 * BURST)
        os.kill(node.proc.pid, signal.SIGKILL)
        node.proc.tolerated = True
        with self.assertRaises((ConnectionError, Eof)):
            publisher.hear(20 * BURST)
        node.start()
        there = self.judge(publisher, node.address)
        self.assertEqual(set(range(publisher.next)) - there - set(publisher.outstanding), set())
