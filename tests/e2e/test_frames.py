"""Malformed and misplaced frames: each ends its own connection and touches no other."""

import struct

import wire
from harness.case import Case, only
from harness.client import Eof

THREADS = True


class Base(Case):
    def setUp(self):
        super().setUp()
        self.witness = self.channel()
        self.addCleanup(self.witness_lives)

    def witness_lives(self):
        """Whatever happened, another connection noticed nothing."""
        self.witness.barrier()

    def sent(self, octets, **opts):
        """A connection with channel 1 open, and these octets on their way."""
        conn = self.connect(**opts)
        conn.channel(1)
        try:
            conn.send(octets)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before the last octet: what it says can still be read
        return conn

    def expect_all(self, cases, code, ids=None):
        """Cases are (what, octets); all wait together. Only the words after the code's name
        are RabbitMQ's own business where they quote Erlang terms."""
        conns = [(what, self.sent(octets)) for what, octets in cases]
        for what, conn in conns:
            with self.subTest(what):
                conn.expect_close(code, None, ids)


class Framing(Base):
    def test_unknown_frame_type_is_501(self):
        self.expect_all([(kind, wire.put_frame(kind, 1, b"abc")) for kind in (0, 4, 5, 7, 9, 255)],
                        501, (0, 0))

    def test_wrong_end_octet_is_501(self):
        self.expect_all([
            ("on channel 0", wire.put_frame(1, 0, wire.put_method("connection.close_ok"), end=0)),
            ("on a channel", wire.put_frame(1, 1, wire.put_method("channel.flow"), end=0xCF)),
            ("heartbeat", wire.put_frame(8, 0, b"", end=0)),
        ], 501, (0, 0))

    def test_too_large_a_frame_is_501_before_it_has_come(self):
        """A lying length is judged at once: nobody waits for four gigabytes."""
        self.expect_all([
            ("131 kB over", wire.put_frame(1, 0, b"x" * 140000)),
            ("length of 4 GB", wire.put_frame(3, 1, b"", size=0xFFFFFFFF)),
            ("length of 2 GB", wire.put_frame(1, 0, b"", size=2**31)),
            ("length of 132 kB", wire.put_frame(8, 0, b"", size=132000)),
        ], 501, (0, 0))

    def test_the_negotiated_frame_max_counts(self):
        conn = self.connect(frame_max=4096)
        conn.channel(1)
        conn.send(wire.put_frame(3, 1, b"", size=5000))
        conn.expect_close(501, None, (0, 0))

    def test_a_frame_of_exactly_frame_max_is_good(self):
        conn = self.connect(frame_max=4096)
        ch = conn.channel()
        q = ch.queue()
        ch.publish("", q, b"y" * (4096 - 8))
        self.assertEqual(ch.get(q).body, b"y" * 4088)

    def test_clients_that_count_the_payload_alone(self):
        """Their largest frames have eight octets more, of which the last may come by itself."""
        conn = self.connect()
        ch = conn.channel()
        q = ch.queue()
        body = b"y" * conn.frame_max
        content = wire.content_frames(ch.number, body, {}, len(body) + wire.FRAME_OVERHEAD)
        for _ in range(3):
            ch.send("basic.publish", exchange="", routing_key=q)
            conn.send(content[:-1])
            self.witness.barrier()
            conn.send(content[-1:])
            self.assertEqual(ch.get(q).body, body)

    @only("broker")
    def test_frames_of_more_than_a_megabyte(self):
        own = self.broker("own", {"limits": {"frame-max": "2M"},
                                  "store": {"segment-size": "16M"}})
        conn = self.connect(address=own.address, frame_max=2 << 20)
        ch = conn.channel()
        q = ch.queue()
        body = b"z" * (4 << 20)
        ch.publish("", q, body)
        self.assertEqual(ch.get(q).body, body)

    def test_heartbeats_belong_on_channel_0(self):
        self.expect_all([("channel 1", wire.put_frame(8, 1, b""))], 505, (0, 0))

    def test_heartbeat_with_a_payload(self):
        self.sent(wire.put_frame(8, 0, b"abc")).expect_refusal((501, 505))

    def test_half_a_frame_and_a_vanished_client(self):
        frame = wire.method_frame(1, "queue.declare", queue=self.name(), exclusive=True)
        for cut in range(0, len(frame), 3):
            self.sent(frame[:cut]).drop()
        self.witness_lives()

    def test_half_a_frame_then_the_rest(self):
        conn = self.connect()
        conn.channel(1)
        frame = wire.method_frame(1, "queue.declare", queue=self.name(), exclusive=True)
        for cut in (1, 7, 8, len(frame) - 1):
            conn.send(frame[:cut])
            self.witness_lives()  # the server has turned to others meanwhile
            conn.send(frame[cut:])
            conn.expect("queue.declare_ok")


class Methods(Base):
    def test_cut_short_is_501_with_the_method(self):
        flow = wire.put_frame(1, 1, struct.pack(">HH", 20, 20))
        self.expect_all([("flow", flow)], 501, "channel.flow")
        whole = wire.put_method("queue.declare", queue="some", arguments={"a": 1})
        self.expect_all([("%d octets" % n, wire.put_frame(1, 1, whole[:n]))
                         for n in (4, 6, 7, 9, 11, 12, 15)], 501, "queue.declare")

    def test_octets_to_spare_are_501(self):
        payload = wire.put_method("queue.declare", exclusive=True) + b"zz"
        self.expect_all([("declare", wire.put_frame(1, 1, payload))], 501, "queue.declare")

    def test_no_room_for_the_ids_is_501(self):
        self.expect_all([("%r on %d" % (p, ch), wire.put_frame(1, ch, p))
                         for p in (b"", b"\0", b"\0\x0a\0") for ch in (0, 1)], 501, (0, 0))

    def test_broken_tables_end_the_connection(self):
        tables = (b"\0\0\0\x05\x01kI\0\0", b"\0\0\0\x01k", b"\xff\xff\xff\xff", b"\0\0\0\x02\x01k",
                  b"\0\0\0\x03\x01kq", b"\0\0\0\x07\x01kS\xff\xff\xff\xff",
                  b"\0\0\0\x07\x01kF\0\0\0\x09", b"\0\0\0\x07\x01kA\0\0\0\x01")
        conns = [(t, self.sent(wire.put_frame(1, 1, wire.put_method(
            "queue.declare", exclusive=True, arguments=t)))) for t in tables]
        for table, conn in conns:
            with self.subTest(table=table):
                conn.expect_refusal((501, 502))

    def test_tables_nested_without_end_do_no_harm(self):
        raw = wire.put_frame(1, 1, wire.put_method("queue.declare", exclusive=True,
                                                   arguments=nested_arrays(5000)))
        conn = self.sent(raw)
        try:  # RabbitMQ takes it; a bound on nesting may refuse it
            self.assertIn(conn.next().name, ("queue.declare_ok", "connection.close"))
        except Eof:
            pass

    def test_unknown_methods_end_the_connection(self):
        ids = ((99, 99), (10, 99), (60, 99), (50, 12), (0, 0), (65535, 65535))
        conns = [((i, ch), self.sent(wire.put_frame(1, ch, struct.pack(">HH", *i))))
                 for i in ids for ch in (0, 1)]
        for what, conn in conns:
            with self.subTest(what):
                conn.expect_refusal((501, 503, 540))

    def test_a_servers_methods_from_a_client_are_503(self):
        for name, args in (("queue.declare_ok", {"queue": "t"}), ("basic.get_empty", {}),
                           ("basic.consume_ok", {"consumer_tag": "t"})):
            with self.subTest(name):
                conn = self.sent(wire.method_frame(1, name, **args))
                conn.expect_close(503, "COMMAND_INVALID - unimplemented method", name)
        conn = self.sent(wire.method_frame(1, "basic.deliver", consumer_tag="t") +
                         wire.content_frames(1, b"a"))
        conn.expect_close(503, "COMMAND_INVALID - unimplemented method", "basic.deliver")

    def test_connection_methods_on_a_channel_are_503(self):
        conn = self.sent(wire.method_frame(1, "connection.close", reply_code=200))
        conn.expect_close(503, "COMMAND_INVALID - unimplemented method", "connection.close")

    def test_access_request_of_old_clients_is_granted(self):
        conn = self.sent(wire.method_frame(1, "access.request", realm="/data", active=True))
        self.assertEqual(conn.expect("access.request_ok").ticket, 1)


class Channels(Base):
    def test_methods_on_a_channel_that_is_not_open_are_504(self):
        for name, args in (("basic.get", {"queue": "q"}), ("channel.close", {"reply_code": 200}),
                           ("connection.open", {"virtual_host": "/"}),
                           ("queue.declare", {"queue": "q"})):
            with self.subTest(name):
                conn = self.connect()
                conn.send_method(1, name, **args)
                conn.expect_close(504, "CHANNEL_ERROR - expected 'channel.open'", name)

    def test_opening_a_channel_twice_is_504(self):
        self.sent(wire.method_frame(1, "channel.open")).expect_close(
            504, "CHANNEL_ERROR - second 'channel.open' seen", "channel.open")

    def test_after_a_channel_error_the_channel_is_deaf_until_close_ok(self):
        conn = self.connect()
        conn.polite = False
        ch = conn.channel(1)
        ch.send("basic.get", queue=self.name("missing"))
        self.assertEqual(ch.next().name, "channel.close")
        ch.send("queue.declare", exclusive=True)      # ignored
        ch.publish("", "nowhere", b"x", mandatory=True)  # ignored, with its content
        ch.send("channel.close_ok")
        ch.call("channel.open")
        ch.queue()
        ch.expect_silence(0.1)

    def test_both_sides_close_a_channel_at_once(self):
        conn = self.connect()
        conn.polite = False
        ch = conn.channel(1)
        ch.send("basic.get", queue=self.name("missing"))
        ch.send("channel.close", reply_code=200)
        names = sorted((ch.next().name, ch.next().name))
        self.assertEqual(names, ["channel.close", "channel.close_ok"])
        ch.send("channel.close_ok")
        ch.call("channel.open")

    def test_a_channel_error_leaves_the_others_alone(self):
        conn = self.connect()
        good, bad = conn.channel(), conn.channel()
        q = good.queue()
        bad.send("basic.get", queue=self.name("missing"))
        bad.expect_close(404)
        good.publish("", q, b"still here")
        self.assertEqual(good.get(q).body, b"still here")

    def test_high_channel_numbers(self):
        conn = self.connect()
        for number in (2047, 1024, 3):
            conn.channel(number).queue()

    def test_a_channel_number_is_reused_a_hundred_times(self):
        conn = self.connect()
        for _ in range(100):
            ch = conn.channel(7)
            ch.queue(auto_delete=True)
            ch.close()


class Content(Base):
    """After basic.publish comes a header, then exactly the announced octets of body."""

    EXPECT_METHOD = "UNEXPECTED_FRAME - expected method frame, got non method frame instead"
    EXPECT_HEADER = ("UNEXPECTED_FRAME - expected content header for class 60, "
                     "got non content header frame instead")
    EXPECT_BODY = ("UNEXPECTED_FRAME - expected content body, "
                   "got non content body frame instead")

    def published(self, *frames):
        publish = wire.method_frame(1, "basic.publish", routing_key="nowhere")
        return self.sent(publish + b"".join(frames))

    def test_content_without_a_method(self):
        for what, frame in (("header", wire.header_frame(1, 1)),
                            ("body", wire.put_frame(3, 1, b"a"))):
            with self.subTest(what):
                self.sent(frame).expect_close(505, self.EXPECT_METHOD, (0, 0))

    def test_something_else_instead_of_the_header(self):
        for what, frame in (("body", wire.put_frame(3, 1, b"abc")),
                            ("method", wire.method_frame(1, "channel.flow", active=True))):
            with self.subTest(what):
                self.published(frame).expect_close(505, self.EXPECT_HEADER, "basic.publish")

    def test_something_else_instead_of_the_body(self):
        for what, frame in (("header", wire.header_frame(1, 3)),
                            ("method", wire.method_frame(1, "channel.flow", active=True))):
            with self.subTest(what):
                self.published(wire.header_frame(1, 3), frame).expect_close(
                    505, self.EXPECT_BODY, "basic.publish")

    def test_body_after_a_body_of_nothing(self):
        self.published(wire.header_frame(1, 0), wire.put_frame(3, 1, b"abc")).expect_close(
            505, self.EXPECT_METHOD, (0, 0))

    def test_header_of_another_class(self):
        self.published(wire.header_frame(1, 1, class_id=50)).expect_close(
            505, "UNEXPECTED_FRAME - expected content header for class 60, "
                 "got one for class 50 instead", "basic.publish")

    def test_weight_is_always_nothing(self):
        self.published(wire.header_frame(1, 1, weight=1)).expect_close(505, None, "basic.publish")

    def test_header_cut_short_is_501(self):
        self.published(wire.put_frame(2, 1, b"\0\x3c\0\0")).expect_close(501, None, (0, 0))

    def test_broken_properties_end_the_connection(self):
        for raw in (b"\x20\x00\x00\x00\x00\x00\xff", b"\x80\x00", b"\x00\x00\x00\x00",
                    b"\x80\x00\x09abc", b"\x20\x00\x00\x00\x00\x05\x01kI\0\0", b"\x00\x01\x00\x00"):
            with self.subTest(raw=raw):
                q = self.witness.queue()
                conn = self.connect()
                conn.channel(1)
                conn.send(wire.method_frame(1, "basic.publish", routing_key=q) +
                          wire.put_frame(2, 1, wire.put_header(1, raw)) +
                          wire.put_frame(3, 1, b"a"))
                conn.expect_refusal((501, 502, 505, 541))
                self.assertIsNone(self.witness.get(q))

    def test_empty_body_frames_are_allowed(self):
        q = self.witness.queue()
        ch = self.witness
        ch.conn.send(wire.method_frame(ch.number, "basic.publish", routing_key=q) +
                     wire.header_frame(ch.number, 3) +
                     b"".join(wire.put_frame(3, ch.number, b) for b in (b"", b"ab", b"", b"c")))
        self.assertEqual(ch.get(q).body, b"abc")

    def test_content_of_two_channels_may_interleave(self):
        conn = self.connect()
        one, two = conn.channel(), conn.channel()
        q = one.queue()
        frames = []
        for ch, body in ((one, b"first"), (two, b"other")):
            frames.append([wire.method_frame(ch.number, "basic.publish", routing_key=q),
                           wire.header_frame(ch.number, 5),
                           wire.put_frame(3, ch.number, body[:2]),
                           wire.put_frame(3, ch.number, body[2:])])
        conn.send(b"".join(a + b for a, b in zip(*frames)))
        two.barrier()
        one.barrier()
        self.assertEqual(sorted(one.get_all(q)), [b"first", b"other"])

    def test_heartbeats_between_the_frames_of_a_content(self):
        ch = self.witness
        q = ch.queue()
        n = ch.number
        ch.conn.send(wire.heartbeat_frame().join([
            wire.method_frame(n, "basic.publish", routing_key=q), wire.header_frame(n, 2),
            wire.put_frame(3, n, b"a"), wire.put_frame(3, n, b"b")]))
        self.assertEqual(ch.get(q).body, b"ab")

    def test_vanishing_in_the_middle_of_a_content(self):
        q = self.witness.queue()
        publish = wire.method_frame(1, "basic.publish", routing_key=q)
        for frames in (b"", wire.header_frame(1, 10),
                       wire.header_frame(1, 10) + wire.put_frame(3, 1, b"12345")):
            self.sent(publish + frames).drop()
        self.witness_lives()
        self.assertIsNone(self.witness.get(q))


def nested_arrays(depth):
    """A table whose one value is an array in an array in an array ..."""
    value = b"I\0\0\0\1"
    for _ in range(depth):
        value = b"A" + wire.put_longstr(value)
    return wire.put_longstr(b"\1k" + value)
