"""Limits that the configuration sets: frames, channels, messages."""

import wire
from harness.case import Case

THREADS = True
BROKER_CONF = {"limits": {"frame-max": "8192", "channel-max": "20", "max-message": "1M"}}
RABBIT_CONF = ["frame_max = 8192", "channel_max = 20", "max_message_size = 1048576"]

MAX = 1 << 20


class Limits(Case):
    def test_the_offer(self):
        conn = self.raw()
        conn.hello()
        tune = conn.login()
        self.assertEqual((tune.frame_max, tune.channel_max), (8192, 20))

    def test_twenty_channels_and_not_one_more(self):
        conn = self.connect()
        for _ in range(20):
            conn.channel()
        conn.send_method(21, "channel.open")
        conn.expect_close(530)

    def test_frames_in_both_directions(self):
        ch = self.channel()
        q = ch.queue()
        ch.publish("", q, b"x" * 20000)
        self.assertEqual(ch.get(q).body_frame_sizes, [8192, 8192, 20000 - 2 * 8184 + 8])
        ch.conn.send(wire.put_frame(3, 1, b"", size=8192 + 8))
        ch.conn.expect_close(501)

    def test_the_largest_message(self):
        ch = self.channel()
        q = ch.queue()
        ch.publish("", q, b"x" * MAX)
        self.assertEqual(len(ch.get(q).body), MAX)

    def test_one_octet_more(self):
        conn = self.connect()
        ch, other = conn.channel(), conn.channel()
        q = other.queue()
        ch.publish("", q, b"x" * (MAX + 1))
        ch.expect_close(406, "PRECONDITION_FAILED - message size %d is larger than configured max "
                             "size %d" % (MAX + 1, MAX), "basic.publish")
        other.publish("", q, b"small")
        self.assertEqual(other.get(q).body, b"small")
        ch.call("channel.open")
        self.assertIsNone(ch.get(q))

    def test_a_header_that_lies_about_it(self):
        """What could never be taken is refused before it has come, or never asked to come."""
        witness = self.channel()
        for size in (2**31, 2**63, 2**64 - 1):
            conn = self.connect()
            conn.channel(1)
            conn.send(wire.method_frame(1, "basic.publish", routing_key="nowhere") +
                      wire.header_frame(1, size) + wire.put_frame(3, 1, b"x" * 8000))
            witness.barrier()
