"""Channels at their edges: frames out of order, arguments, limits, and who hears what when."""

import struct

import wire
from harness.case import Case
from harness.waits import wait_until

THREADS = True
REMOTE = True

NO_METHOD = "UNEXPECTED_FRAME - expected method frame, got non method frame instead"
NO_HEADER = "UNEXPECTED_FRAME - expected content header for class 60, got non content header " \
            "frame instead"
NO_BODY = "UNEXPECTED_FRAME - expected content body, got non content body frame instead"


def header(size, weight=0, props=b"\0\0", channel=1):
    return wire.put_frame(wire.FRAME_HEADER, channel, struct.pack(">HHQ", 60, weight, size) + props)


def body(octets, channel=1):
    return wire.put_frame(wire.FRAME_BODY, channel, octets)


class Base(Case):
    def setUp(self):
        super().setUp()
        self.conn = self.connect()
        self.ch = self.conn.channel()

    def publish_method(self, **args):
        self.ch.send("basic.publish", **args)

    def refuse(self, code, text, method, ch=None, **args):
        ch = ch or self.conn.channel()
        ch.send(method, **args)
        ch.expect_close(code, text, method)


class Content(Base):
    def test_immediate_is_refused_when_the_content_is_there(self):
        self.publish_method(routing_key="k", immediate=True)
        self.conn.send(header(4) + body(b"ab"))
        self.ch.expect_silence(0.1)
        self.conn.send(body(b"cd"))
        self.conn.expect_close(540, "NOT_IMPLEMENTED - immediate=true", "basic.publish")

    def test_a_header_with_a_weight_is_none(self):
        self.publish_method(routing_key="k")
        self.conn.send(header(0, weight=1))
        self.conn.expect_close(505, NO_HEADER, "basic.publish")

    def test_a_header_cut_short_is_no_frame(self):
        self.publish_method(routing_key="k")
        self.conn.send(wire.put_frame(wire.FRAME_HEADER, 1, b"\0\x3c\0\0"))
        self.conn.expect_close(501, "FRAME_ERROR - type 2, all octets = <<0,60,0,0>>: "
                                    "unknown_frame", (0, 0))


class Closed(Base):
    """The server has said channel.close and was not answered yet."""

    def setUp(self):
        super().setUp()
        self.conn.polite = False
        self.ch.ack(9)
        self.ch.expect_close(406, None, "basic.ack")
        self.conn.polite = True

    def test_publishes_are_passed_over(self):
        self.ch.publish("", "k", b"body")
        self.ch.publish("missing", "k", b"")
        self.publish_method(routing_key="k")
        self.conn.send(header(6) + body(b"abc") + body(b"def"))
        self.ch.send("basic.ack", delivery_tag=99)
        self.ch.send("channel.close_ok")
        self.conn.channel(1).barrier()

    def test_frames_still_have_their_order(self):
        self.conn.send(header(0))
        self.conn.expect_close(505, NO_METHOD, (0, 0))

    def test_bodies_too(self):
        self.publish_method(routing_key="k")
        self.conn.send(body(b"x"))
        self.conn.expect_close(505, NO_HEADER, "basic.publish")

    def test_and_methods(self):
        self.publish_method(routing_key="k")
        self.conn.send(header(4) + body(b"ab"))
        self.ch.send("basic.ack", delivery_tag=99)
        self.conn.expect_close(505, NO_BODY, "basic.publish")

    def test_it_cannot_be_opened_again_before_it_is_answered(self):
        self.ch.send("channel.open")
        self.conn.expect_close(504, "CHANNEL_ERROR - second 'channel.open' seen", "channel.open")


class Consuming(Base):
    def test_arguments(self):
        q = self.ch.queue()
        where = "PRECONDITION_FAILED - invalid arg '%s' for queue '" + q + "' in vhost '/'"
        refuse = lambda name, value, text: self.refuse(
            406, where % name + text, "basic.consume", queue=q, arguments={name: value})
        for value, kind in ((True, "bool"), ("s", "longstr"), (None, "void"), ([1], "array"),
                            (wire.Tagged("d", 1.5), "double"),
                            (wire.Tagged("T", 1), "timestamp")):
            refuse("x-priority", value, ": \"expected integer, got %s\"" % kind)
        for value, kind in ((1, "signedint"), ("true", "longstr"), ({}, "table")):
            refuse("x-cancel-on-ha-failover", value, ": {unacceptable_type,%s}" % kind)
        refuse("x-stream-offset", "first", " of queue type rabbit_classic_queue")
        for args in ({"x-priority": -7}, {"x-priority": wire.Tagged("l", 1 << 40)}, {"x-foo": []},
                     {"x-cancel-on-ha-failover": True}):
            self.ch.consume(q, arguments=args)

    def test_credit_of_nobody(self):
        ch = self.conn.channel()
        frame = wire.put_frame(wire.FRAME_METHOD, ch.number,
                           struct.pack(">HH", 60, 200) + b"\x01z\0\0\0\x05\0")
        self.conn.send(frame)
        ch.expect_close(406, "PRECONDITION_FAILED - unknown consumer tag 'z'", (60, 200))

    def test_cancel_ok_is_for_servers(self):
        self.ch.send("basic.cancel_ok", consumer_tag="t")
        self.conn.expect_close(503, "COMMAND_INVALID - unimplemented method", "basic.cancel_ok")

    def test_who_deletes_its_own_queue_hears_that_first(self):
        q = self.ch.queue()
        self.ch.consume(q, tag="t")
        self.ch.barrier()
        self.ch.send("queue.delete", queue=q)
        self.ch.expect("queue.delete_ok")
        self.ch.expect("basic.cancel", consumer_tag="t")

    def test_two_channels_hear_of_a_deleted_queue(self):
        other = self.conn.channel()
        q = self.ch.queue()
        self.ch.consume(q, tag="a")
        other.consume(q, tag="b")
        self.channel_of_another(q)
        self.ch.expect("basic.cancel", consumer_tag="a", nowait=True)
        other.expect("basic.cancel", consumer_tag="b", nowait=True)

    def channel_of_another(self, q):
        self.conn.channel().call("queue.delete", queue=q)

    def test_without_the_capability_nobody_is_told(self):
        conn = self.connect(capabilities={})
        ch = conn.channel()
        q = ch.queue()
        ch.consume(q)
        conn.channel().call("queue.delete", queue=q)
        ch.expect_silence(0.1)
        ch.barrier()


class Prefetch(Base):
    def test_a_limit_for_consumers_lifts_the_channels(self):
        q = self.ch.queue()
        self.ch.call("basic.qos", prefetch_count=1, **{"global": True})
        self.ch.consume(q)
        for i in range(4):
            self.ch.publish("", q, b"%d" % i)
        self.ch.deliveries(1)
        self.ch.expect_silence(0.05)
        self.ch.call("basic.qos", prefetch_count=1)
        self.ch.deliveries(3)

    def test_and_is_none_for_later_ones(self):
        q = self.ch.queue()
        self.ch.call("basic.qos", prefetch_count=1, **{"global": True})
        self.ch.call("basic.qos", prefetch_count=0)
        for i in range(4):
            self.ch.publish("", q, b"%d" % i)
        self.ch.consume(q)
        self.ch.deliveries(4)


class Overrun(Base):
    """More body than the header announced: it never ends, and nothing of it is kept."""

    def test_what_follows_is_out_of_place(self):
        self.publish_method(routing_key="k")
        self.conn.send(header(4) + body(b"ab") + body(b"cdef") + body(b"more"))
        self.ch.expect_silence(0.1)
        self.ch.send("channel.flow", active=True)
        self.conn.expect_close(505, NO_BODY, "basic.publish")

    def test_in_one_frame(self):
        self.publish_method(routing_key="k")
        self.conn.send(header(2) + body(b"abc"))
        self.publish_method(routing_key="k")
        self.conn.expect_close(505, NO_BODY, "basic.publish")


class Expiration(Base):
    def test_texts(self):
        text = "PRECONDITION_FAILED - invalid expiration '%s': %s"
        for given, want in (("", "no_integer"), ("soon", "no_integer"), (" 1", "no_integer"),
                            ("1.5", "{leftover_string,\".5\"}"), ("-1", "{value_negative,-1}"),
                            ("-007", "{value_negative,-7}"),
                            ("315360000001", "{value_too_large,315360000001}"),
                            ("9" * 20, "{value_too_large,\n" + " " * 44 + "9" * 20 + "}")):
            ch = self.conn.channel()
            ch.publish("", "k", b"x", {"expiration": given})
            ch.expect_close(406, text % (given, want), "basic.publish")

    def test_signs_and_zeros(self):
        for given in ("0", "+5", "-0", "+0", "005"):
            q = self.ch.queue()
            self.ch.publish("", q, b"x", {"expiration": given})
            wait_until(lambda: self.ch.declare(q, passive=True).message_count == 0,
                       "expiration %s to be over" % given)
        for given in ("+315360000000", "00060000"):
            q = self.ch.queue()
            self.ch.publish("", q, b"x", {"expiration": given})
            self.ch.barrier()
            self.assertEqual(self.ch.get(q).props, {"expiration": given})
