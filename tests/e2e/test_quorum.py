"""Queues of type quorum: how often a message came back, and how often it may."""

from harness.case import Case
from harness.waits import wait_until

THREADS = True
REMOTE = True


class Quorum(Case):
    def setUp(self):
        super().setUp()
        self.conn = self.connect()
        self.ch = self.conn.channel()

    def queue(self, **arguments):
        q = self.name()
        args = {k.replace("_", "-"): v for k, v in arguments.items()}
        self.ch.declare(q, durable=True, arguments=dict(args, **{"x-queue-type": "quorum"}))
        self.addCleanup(self.drop, q)
        return q

    def drop(self, q):
        ch = self.channel()
        ch.call("queue.delete", queue=q)
        ch.conn.close()

    def ready(self, q):
        return self.ch.declare(q, durable=True, passive=True).message_count

    def take(self, q, no_ack=False, ch=None):
        ch = ch or self.ch
        return wait_until(lambda: ch.get(q, no_ack=no_ack), "a message in %s" % q)

    def back(self, m, ch=None):
        (ch or self.ch).send("basic.nack", delivery_tag=m.delivery_tag, requeue=True)

    def count(self, m):
        return m.props.get("headers", {}).get("x-delivery-count")

    def test_a_header_says_how_often_it_came_back(self):
        q = self.queue(x_delivery_limit=10)
        self.ch.publish("", q, b"m", props={"headers": {"z": 1, "a": 2}})
        m = self.take(q)
        self.assertEqual((self.count(m), m.redelivered), (0, False))
        for n in range(1, 4):
            self.back(m)
            m = self.take(q)
            self.assertEqual((self.count(m), m.redelivered), (n, True))
        self.assertEqual(list(m.props["headers"]), ["a", "x-delivery-count", "z"])

    def test_to_consumers_too(self):
        q = self.queue(x_delivery_limit=10)
        self.ch.publish("", q, b"m")
        self.ch.consume(q)
        m = self.ch.expect("basic.deliver")
        self.assertEqual((self.count(m), m.redelivered), (None, False))
        self.back(m)
        m = self.ch.expect("basic.deliver")
        self.assertEqual((self.count(m), m.redelivered), (1, True))

    def test_when_a_channel_closes(self):
        q = self.queue(x_delivery_limit=10)
        self.ch.publish("", q, b"m")
        ch = self.conn.channel()
        self.take(q, ch=ch)
        ch.close()
        self.assertEqual(self.count(self.take(q)), 1)

    def test_too_often_is_dead(self):
        dead = self.ch.queue()
        q = self.queue(x_delivery_limit=2, x_dead_letter_exchange="",
                       x_dead_letter_routing_key=dead)
        self.ch.publish("", q, b"m")
        for _ in range(3):
            self.back(self.take(q))
        m = self.take(dead, no_ack=True)
        death = m.props["headers"]["x-death"][0]
        self.assertEqual((death["reason"], death["count"], death["queue"]),
                         ("delivery_limit", 1, q))
        wait_until(lambda: self.ready(q) == 0, "gone from %s" % q)

    def test_none_at_all(self):
        q = self.queue(x_delivery_limit=0)
        self.ch.publish("", q, b"m")
        self.back(self.take(q))
        wait_until(lambda: self.ready(q) == 0, "gone")

    def test_without_a_limit_what_comes_back_is_the_last(self):
        q = self.queue()
        for i in range(3):
            self.ch.publish("", q, b"%d" % i)
        wait_until(lambda: self.ready(q) == 3, "three ready")
        m = self.take(q)
        self.back(m)
        wait_until(lambda: self.ready(q) == 3, "three ready")
        got = [self.take(q, no_ack=True) for _ in range(3)]
        self.assertEqual([m.body for m in got], [b"1", b"2", b"0"])
        self.assertEqual([self.count(m) for m in got], [0, 0, 1])

    def test_with_a_limit_it_is_the_first(self):
        q = self.queue(x_delivery_limit=5)
        for i in range(3):
            self.ch.publish("", q, b"%d" % i)
        wait_until(lambda: self.ready(q) == 3, "three ready")
        self.back(self.take(q))
        wait_until(lambda: self.ready(q) == 3, "three ready")
        self.assertEqual([self.take(q, no_ack=True).body for _ in range(3)], [b"0", b"1", b"2"])

    def test_limits_of_length_and_time(self):
        q = self.queue(x_max_length=1)
        for i in range(3):
            self.ch.publish("", q, b"%d" % i)
        wait_until(lambda: self.ready(q) == 1, "one ready")
        self.assertEqual(self.take(q, no_ack=True).body, b"2")
        q = self.queue(x_message_ttl=100)
        self.ch.publish("", q, b"m")
        wait_until(lambda: self.ready(q) == 0, "expired")

    def test_what_it_does_not_do(self):
        q = self.queue()
        at = "queue '%s' in vhost '/'" % q
        for flag in ("if_unused", "if_empty"):
            conn = self.connect()
            conn.channel().send("queue.delete", queue=q, **{flag: True})
            conn.expect_close(540, "NOT_IMPLEMENTED - cannot delete %s. queue.delete operations "
                                   "with %s flag set are not supported by quorum queues" % (
                                       at, flag.replace("_", "-")), "queue.delete")
        conn = self.connect()
        ch = conn.channel()
        ch.call("basic.qos", prefetch_count=1, **{"global": True})
        ch.send("basic.consume", queue=q)
        conn.expect_close(540, "NOT_IMPLEMENTED - %s does not support global qos" % at,
                          "basic.consume")
