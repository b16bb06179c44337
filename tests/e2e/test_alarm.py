"""Short of memory: publishers are stopped and told, consumers go on, and it ends by itself."""

import unittest

import wire
from harness.admin import Admin
from harness.case import Case, only
from harness.client import Eof
from harness.servers import is_instrumented
from harness.waits import LONG, Deadline, wait_until

THREADS = True
BROKER_CONF = {"limits": {"memory-high-watermark": "256M"}}
RABBIT_CONF = ["vm_memory_high_watermark.absolute = 250MB", "queue_index_embed_msgs_below = 0"]

STEP = 1 << 20


class Alarm(Case):
    def setUp(self):
        super().setUp()
        if not self.is_rabbit and is_instrumented("tsan"):
            raise unittest.SkipTest("shadow memory never comes down again")

    def test_blocked_and_unblocked(self):
        publisher, consumer = self.connect(), self.connect()
        ch, taker = publisher.channel(), consumer.channel()
        q = self.name()
        taker.declare(q)
        blocked = wait_until(lambda: ch.publish_or_blocked(q, b"m" * (STEP // 4), LONG),
                             "blocked", LONG, interval=0)
        self.assertEqual(blocked.reason, "low on memory")

        # Those who have not published are not disturbed, and can take and declare.
        taker.barrier()
        newcomer = self.channel()
        newcomer.queue()

        # What the blocked one says is not even read, however much it is.
        flood = wire.method_frame(1, "basic.publish", routing_key=q) + \
            wire.content_frames(1, b"f" * STEP)
        with self.assertRaises(TimeoutError):
            for _ in range(200):
                publisher.send(flood, 0.5)

        # Taking messages away ends it.
        taker.call("queue.purge", queue=q)
        wait_until(lambda: self.unblocked(publisher, taker, q), "unblocked", LONG)
        taker.call("queue.delete", queue=q)

    def unblocked(self, publisher, taker, q):
        taker.call("queue.purge", queue=q)
        try:
            return publisher.next(0, 0.2).name == "connection.unblocked"
        except TimeoutError:
            return False

    def test_those_without_the_capability_are_stopped_all_the_same(self):
        publisher = self.connect(capabilities={"connection.blocked": False})
        publisher.channel(1)
        taker, q = self.channel(), self.name()
        taker.declare(q)
        frame = wire.method_frame(1, "basic.publish", routing_key=q) + \
            wire.content_frames(1, b"f" * STEP)
        deadline = Deadline(LONG)
        with self.assertRaises(TimeoutError):
            while not deadline.passed():
                publisher.send(frame, 1)
        self.assertEqual(len(publisher.events), 0)
        taker.call("queue.delete", queue=q)

    @only("broker", "threads")  # RabbitMQ stops reading in the middle of messages
    def test_messages_that_never_end_take_no_more_than_there_is(self):
        """Many half messages: those are refused in the end, and what they held is free again."""
        part = wire.put_frame(wire.FRAME_BODY, 1, b"h" * 131000)
        begin = wire.method_frame(1, "basic.publish", routing_key="half") + \
            wire.header_frame(1, 100 << 20)
        conns = [self.connect() for _ in range(8)]
        for conn in conns:
            conn.channel(1)
            conn.send(begin)
        refused = set()
        for conn in conns:
            try:
                for _ in range(790):  # 99 MiB each
                    conn.send(part)
            except (BrokenPipeError, ConnectionResetError):
                refused.add(conn)

        def are_refused():
            refused.update(c for c in conns if c not in refused and self.hears_of_it(c))
            return len(refused) > 2
        wait_until(are_refused, "half messages are refused", LONG)
        self.expect_memory_below(self.site.broker, 600 << 10)
        for conn in conns:
            conn.sock.close()
        wait_until(self.publishes_freely, "memory is free again", LONG)

    def hears_of_it(self, conn):
        try:
            return conn.next(0, 0.05) is not None
        except TimeoutError:
            return False
        except (Eof, ConnectionError):
            return True

    def expect_memory_below(self, broker, kb):
        if not is_instrumented("asan"):  # it keeps what is freed
            self.assertLess(broker.proc.rss_kb(), kb)

    def publishes_freely(self):
        ch = self.channel()
        ch.publish("", "nowhere", b"x")
        try:
            return ch.conn.next(0, 0.3).name != "connection.blocked"
        except TimeoutError:
            return True

    @only("broker", "threads")
    def test_a_body_in_single_octets_takes_no_more_than_its_length(self):
        broker, octets = self.broker("own"), 4 << 20
        ch, q = self.channel(address=broker.address), self.name()
        ch.declare(q)
        before = broker.proc.rss_kb()
        ch.conn.send(wire.method_frame(1, "basic.publish", routing_key=q) +
                     wire.header_frame(1, octets) +
                     wire.put_frame(wire.FRAME_BODY, 1, b"o") * octets)
        ch.barrier()
        self.expect_memory_below(broker, before + (48 << 10))
        self.assertEqual(ch.get(q).body, b"o" * octets)


class Limit(Case):
    """Set while it runs."""

    def set_limit(self, *args):
        Admin(self.site).ctl("set_vm_memory_high_watermark", *args)

    def setUp(self):
        super().setUp()
        self.addCleanup(self.set_limit, "absolute", "256MB")
        self.set_limit("0.4")
        self.q = self.name()
        self.taker = self.channel()
        self.taker.declare(self.q)

    def publisher(self):
        ch = self.channel()
        ch.publish("", self.q, b"before")
        ch.barrier()
        self.assertEqual(self.taker.get(self.q).body, b"before")
        return ch

    def expect_blocked(self, ch):
        self.assertEqual(ch.conn.expect("connection.blocked", 0).reason, "low on memory")

    def test_it_holds_from_the_moment_the_command_ends(self):
        before = self.publisher()
        self.set_limit("0.000000001")
        after = self.channel()
        for ch in before, after:
            ch.publish("", self.q, b"late")
            self.expect_blocked(ch)
        self.set_limit("0.4")
        for ch in before, after:
            ch.conn.expect("connection.unblocked", 0)
            ch.barrier()
        self.assertEqual(self.taker.call("queue.delete", queue=self.q).message_count, 2)

    def test_what_is_published_under_it_waits_and_so_does_what_follows(self):
        ch = self.publisher()
        self.set_limit("0.000000001")
        self.taker.consume(self.q, no_ack=True)
        ch.call("queue.declare", queue=self.q, passive=True)
        ch.publish("", self.q, b"late")
        ch.send("queue.declare", queue=self.q, passive=True)
        self.expect_blocked(ch)
        ch.conn.expect_silence(0.3)
        self.taker.expect_silence(0.1)
        self.set_limit("0.4")
        self.assertEqual(self.taker.expect("basic.deliver").body, b"late")
        ch.conn.expect("connection.unblocked", 0)
        ch.expect("queue.declare_ok")
        self.taker.call("queue.delete", queue=self.q)
