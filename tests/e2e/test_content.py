"""What a message carries: properties, headers of every type, bodies of every size."""

import hashlib
import struct

import wire
from harness.case import Case, only
from harness.waits import LONG
from wire import Tagged

THREADS = True
REMOTE = True

ALL_PROPERTIES = {
    "content_type": "application/json", "content_encoding": "utf-8", "headers": {"a": 1},
    "delivery_mode": 2, "priority": 9, "correlation_id": "c" * 255, "reply_to": "r",
    "expiration": "60000", "message_id": "m", "timestamp": 2**63 - 1, "type": "t",
    "user_id": "guest", "app_id": "é", "cluster_id": "cl"}

# Every field type RabbitMQ knows, at its edges.
FIELDS = {
    "t": [True, False], "b": [-128, 0, 127], "B": [0, 255], "s": [-2**15, 2**15 - 1],
    "u": [0, 2**16 - 1], "I": [-2**31, 2**31 - 1], "i": [0, 2**32 - 1], "l": [-2**63, 2**63 - 1],
    "f": [0.0, -1.5, 3.4028234663852886e38], "d": [0.0, 1e308, 5e-324],
    "D": [(0, 0), (2, 31415), (255, -2**31)], "T": [0, 2**63 - 1], "V": [None],
    "S": ["", "text", "é€𝄞", "x" * 5000], "x": [b"", b"\0\xff" * 100],
    "A": [[], [Tagged("I", 1), Tagged("S", "two"), Tagged("A", [Tagged("t", True)])]],
    "F": [{}, {"n": Tagged("F", {"m": Tagged("d", 0.5)})}],
}


class Base(Case):
    def setUp(self):
        super().setUp()
        self.conn = self.connect()
        self.ch = self.conn.channel()
        self.q = self.ch.queue()

    def through(self, body=b"x", props=None):
        """The message after its way through the queue."""
        self.ch.publish("", self.q, body, props)
        return self.ch.get(self.q)


class Properties(Base):
    def test_all_of_them(self):
        m = self.through(props=ALL_PROPERTIES)
        self.assertEqual(m.props, ALL_PROPERTIES)

    def test_each_alone(self):
        for name, value in ALL_PROPERTIES.items():
            with self.subTest(name):
                self.assertEqual(self.through(props={name: value}).props, {name: value})

    def test_none(self):
        m = self.through(props={})
        self.assertEqual((m.props, m.raw_props), ({}, b"\0\0"))

    def test_empty_values_are_values(self):
        props = {"content_type": "", "headers": {}, "priority": 0, "timestamp": 0}
        self.assertEqual(self.through(props=props).props, props)

    def test_the_octets_stay_as_they_were(self):
        raw = wire.put_properties(ALL_PROPERTIES)
        self.assertEqual(self.through(props=raw).raw_props, raw)

    def test_deliveries_carry_them_too(self):
        self.ch.consume(self.q, no_ack=True)
        self.ch.publish("", self.q, b"x", ALL_PROPERTIES)
        self.assertEqual(self.ch.expect("basic.deliver").props, ALL_PROPERTIES)


class Headers(Base):
    def headers_through(self, table):
        m = self.through(props={"headers": table})
        return wire.read_properties(m.raw_props, tagged=True)["headers"]

    def test_every_type_at_its_edges(self):
        for tag, values in FIELDS.items():
            for i, value in enumerate(values):
                with self.subTest(tag=tag, i=i):
                    table = {"k": Tagged(tag, value)}
                    self.assertEqual(self.headers_through(table), table)

    def test_all_types_together(self):
        table = {"%s%d" % (tag, i): Tagged(tag, v)
                 for tag, values in FIELDS.items() for i, v in enumerate(values)}
        self.assertEqual(self.headers_through(table), table)

    @only("broker", "proxy", "threads", "remote")  # RabbitMQ closes with 541
    def test_nan_and_infinity(self):
        for raw in (struct.pack(">d", float("inf")), b"\x7f\xf8\0\0\0\0\0\0"):
            props = struct.pack(">H", 0x2000) + wire.put_longstr(b"\x01kd" + raw)
            self.assertEqual(self.through(props=props).raw_props, props)

    def test_many_headers(self):
        table = {"key%d" % i: Tagged("S", "v" * 20) for i in range(2000)}
        self.assertEqual(self.headers_through(table), table)

    def test_longest_and_emptiest_keys(self):
        table = {"k" * 255: Tagged("I", 1), "": Tagged("I", 2)}
        self.assertEqual(self.headers_through(table), table)


class Bodies(Base):
    def body_of(self, n):
        return (b"0123456789abcdef" * (n // 16 + 1))[:n]

    def test_sizes_around_the_frame(self):
        payload = self.conn.frame_max - wire.FRAME_OVERHEAD
        for n in (0, 1, 255, 256, 4087, 4088, 4089, payload - 1, payload, payload + 1,
                  2 * payload - 1, 2 * payload, 2 * payload + 1, 1000000):
            with self.subTest(octets=n):
                body = self.body_of(n)
                m = self.through(body)
                self.assertEqual(m.body, body)
                full, rest = divmod(n, payload)
                last = [rest + wire.FRAME_OVERHEAD] if rest else []
                self.assertEqual(m.body_frame_sizes, [self.conn.frame_max] * full + last)

    def test_frames_of_any_size_are_put_together(self):
        for sizes in ((1,) * 50, (1, 100, 1), (4096, 1, 70000)):
            with self.subTest(sizes=sizes):
                body = self.body_of(sum(sizes))
                out, at = wire.method_frame(1, "basic.publish", routing_key=self.q) + \
                    wire.header_frame(1, len(body)), 0
                for n in sizes:
                    out += wire.put_frame(3, 1, body[at:at + n])
                    at += n
                self.conn.send(out)
                self.assertEqual(self.ch.get(self.q).body, body)

    def test_from_large_frames_to_small_ones_and_back(self):
        small = self.connect(frame_max=4096).channel()
        q = self.name()
        self.ch.declare(q)
        for sender, taker in ((self.ch, small), (small, self.ch)):
            sender.publish("", q, self.body_of(300000))
            sender.barrier()
            m = taker.get(q)
            self.assertEqual(m.body, self.body_of(300000))
            self.assertLessEqual(max(m.body_frame_sizes), taker.conn.frame_max)
        self.ch.call("queue.delete", queue=q)

    def test_fan_out_of_a_megabyte(self):
        x = self.name("x")
        self.ch.call("exchange.declare", exchange=x, type="fanout", auto_delete=True)
        queues = [self.ch.queue() for _ in range(20)]
        for q in queues:
            self.ch.bind(q, x)
        body = self.body_of(1 << 20)
        self.ch.publish(x, "", body)
        for q in queues:
            self.assertEqual(self.ch.get(q).body, body)

    def test_a_hundred_megabytes(self):
        n = 100 << 20
        block = bytes(range(256)) * 4096
        taker = self.connect()
        ch = taker.channel()
        q = self.name()
        ch.declare(q, auto_delete=True)
        ch.consume(q, no_ack=True)
        self.conn.send(wire.method_frame(1, "basic.publish", routing_key=q) +
                       wire.header_frame(1, n))
        sent, step = hashlib.sha1(), self.conn.frame_max - wire.FRAME_OVERHEAD
        for at in range(0, n, step):
            piece = (block[at % 256:] + block)[:min(step, n - at)]
            sent.update(piece)
            self.conn.send(wire.put_frame(3, 1, piece))
        m = ch.expect("basic.deliver", LONG)
        self.assertEqual(m.body_size, n)
        self.assertEqual(hashlib.sha1(m.body).hexdigest(), sent.hexdigest())
