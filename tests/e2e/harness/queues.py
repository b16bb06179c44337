"""Tests of what a queue does: a channel of their own, queues with arguments, how full they are."""

from harness.case import Case
from harness.waits import wait_until


class QueueCase(Case):
    def setUp(self):
        super().setUp()
        self.conn = self.connect()
        self.ch = self.conn.channel()

    def queue(self, name="", **arguments):
        """A new queue; x_max_length=1 is the argument x-max-length."""
        return self.ch.queue(queue=name,
                             arguments={k.replace("_", "-"): v for k, v in arguments.items()})

    def ready(self, q):
        return self.ch.declare(q, passive=True).message_count

    def wait_ready(self, q, n):
        wait_until(lambda: self.ready(q) == n, "%d messages ready" % n)
