"""A client that never acknowledges: its channel is closed, and others get what it had."""

import wire
from harness.case import Case
from harness.waits import wait_until

THREADS = True
REMOTE = True

BROKER_CONF = {"limits": {"consumer-timeout": "1500ms"}}
RABBIT_CONF = ["consumer_timeout = 1500"]

TEXT = ("PRECONDITION_FAILED - delivery acknowledgement on channel %d timed out. Timeout value "
        "used: 1500 ms. This timeout value can be configured, see consumers doc guide to learn "
        "more")
NO_METHOD = (0, 0)


class AckTimeout(Case):
    def setUp(self):
        super().setUp()
        if self.is_rabbit:  # it looks once a minute
            self.site.rabbit.ctl("eval", "application:set_env(rabbit, channel_tick_interval, 300).")
        self.conn = self.connect()
        self.ch = self.conn.channel()

    def late(self, ch):
        ch.expect_close(406, TEXT % ch.number, NO_METHOD)

    def ready(self, q):
        return self.ch.declare(q, passive=True).message_count

    def filled(self, n=1):
        q = self.ch.queue()
        for i in range(n):
            self.ch.publish("", q, b"%d" % i)
        self.ch.barrier()
        wait_until(lambda: self.ready(q) == n, "%d ready" % n)
        return q

    def test_a_consumer(self):
        q = self.filled()
        ch = self.conn.channel()
        ch.consume(q)
        ch.expect("basic.deliver")
        self.late(ch)
        wait_until(lambda: self.ready(q) == 1, "back again")
        m = self.ch.get(q)
        self.assertTrue(m.redelivered)

    def test_a_get(self):
        q = self.filled()
        ch = self.conn.channel(7)
        ch.get(q, no_ack=False)
        self.late(ch)

    def test_the_oldest_counts(self):
        q = self.filled(2)
        ch = self.conn.channel()
        ch.call("basic.qos", prefetch_count=1)
        ch.consume(q)
        first = ch.expect("basic.deliver")
        ch.conn.expect_silence(0.8)
        ch.ack(first.delivery_tag)
        second = ch.expect("basic.deliver")
        ch.conn.expect_silence(1.0)
        ch.ack(second.delivery_tag)
        ch.conn.expect_silence(2.0)

    def test_who_need_not_acknowledge_has_all_the_time(self):
        q = self.filled()
        ch = self.conn.channel()
        ch.consume(q, no_ack=True)
        ch.expect("basic.deliver")
        ch.conn.expect_silence(3.0)

    def test_amid_a_message(self):
        """The rest of a message that the client was sending is passed over, not out of place."""
        q = self.filled()
        self.conn.polite = False
        for sent in range(1, 3):
            ch = self.conn.channel()
            ch.get(q, no_ack=False)
            frames = [wire.method_frame(ch.number, "basic.publish", exchange="", routing_key=q),
                      wire.header_frame(ch.number, 10000, None),
                      wire.body_frames(ch.number, b"m" * 10000, 4096)]
            for f in frames[:sent]:
                self.conn.send(f)
            self.late(ch)
            for f in frames[sent:]:
                self.conn.send(f)
            ch.send("channel.close_ok")
            self.ch.barrier()

    def test_other_channels_go_on(self):
        q = self.filled(2)
        slow, quick = self.conn.channel(), self.conn.channel()
        slow.get(q, no_ack=False)
        quick.consume(q)
        m = quick.expect("basic.deliver")
        quick.ack(m.delivery_tag)
        self.late(slow)
        self.assertEqual(quick.expect("basic.deliver").body, b"0")
