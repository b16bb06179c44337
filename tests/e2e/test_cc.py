"""Sender-selected distribution: the headers CC and BCC are further routing keys."""

import wire
from harness.case import Case

THREADS = True
REMOTE = True


class Base(Case):
    def setUp(self):
        super().setUp()
        self.conn = self.connect()
        self.ch = self.conn.channel()

    def send(self, exchange, key, headers, **opts):
        self.ch.publish(exchange, key, b"m", {"headers": headers}, **opts)

    def queues(self, n):
        return [self.ch.queue() for _ in range(n)]

    def reached(self, queues):
        self.ch.barrier()
        return [len(self.ch.get_all(q)) for q in queues]


class Routing(Base):
    def test_by_key_cc_and_bcc(self):
        qs = self.queues(5)
        self.send("", qs[0], {"CC": [qs[1], qs[2]], "BCC": [qs[3]]})
        self.assertEqual(self.reached(qs), [1, 1, 1, 1, 0])

    def test_each_queue_gets_it_once(self):
        a, b = self.queues(2)
        self.send("", a, {"CC": [a, b, b], "BCC": [b, a]})
        self.assertEqual(self.reached([a, b]), [1, 1])

    def test_only_cc_leads_somewhere(self):
        a, = self.queues(1)
        self.send("", "nowhere", {"CC": [a]}, mandatory=True)
        self.assertEqual(self.reached([a]), [1])
        self.ch.expect_silence(0.02)

    def test_none_leads_anywhere(self):
        self.send("", "nowhere", {"CC": ["no1"], "BCC": ["no2"], "k": 1}, mandatory=True)
        event = self.ch.expect("basic.return", routing_key="nowhere")
        self.assertEqual(event.props, {"headers": {"CC": ["no1"], "k": 1}})

    def test_direct_and_topic_exchanges(self):
        a, b, c = self.queues(3)
        for q in (a, b, c):
            self.ch.bind(q, "amq.direct", "key." + q)
            self.ch.bind(q, "amq.topic", "*." + q)
        for exchange in ("amq.direct", "amq.topic"):
            self.send(exchange, "key." + a, {"CC": ["key." + b]})
            self.assertEqual(self.reached([a, b, c]), [1, 1, 0], exchange)

    def test_over_other_exchanges(self):
        x, (a, b) = self.name("x"), self.queues(2)
        self.ch.call("exchange.declare", exchange=x, type="direct", auto_delete=True)
        self.ch.bind(b, x, "two")
        self.ch.call("exchange.bind", destination=x, source="amq.fanout")
        self.send("amq.fanout", "one", {"BCC": ["two"]})
        self.assertEqual(self.reached([a, b]), [0, 1])

    def test_one_confirm(self):
        a, b = self.queues(2)
        self.ch.call("confirm.select")
        self.send("", a, {"CC": [b]})
        self.ch.expect("basic.ack", delivery_tag=1)
        self.ch.expect_silence(0.05)

    def test_many(self):
        qs = self.queues(40)
        self.send("", qs[0], {"CC": qs[1:20] + ["no"] * 50, "BCC": qs[20:]})
        self.assertEqual(self.reached(qs), [1] * 40)

    def test_the_same_names_without_them_again(self):
        a, b = self.queues(2)
        for _ in range(3):
            self.send("", a, {"CC": [b]})
            self.send("", a, {})
        self.assertEqual(self.reached([a, b]), [6, 3])

    def test_in_a_transaction(self):
        a, b = self.queues(2)
        ch = self.conn.channel()
        ch.call("tx.select")
        ch.publish("", a, b"m", {"headers": {"CC": [b]}})
        self.assertEqual(self.reached([a, b]), [0, 0])
        ch.call("tx.commit")
        self.assertEqual(self.reached([a, b]), [1, 1])


class Headers(Base):
    def seen(self, headers, **props):
        q, = self.queues(1)
        self.ch.publish("", q, b"m", dict(props, headers=headers))
        self.ch.barrier()
        return self.ch.get(q)

    def test_cc_stays_and_bcc_goes(self):
        got = self.seen({"a": 1, "BCC": ["x"], "CC": ["y"], "z": [1, {"BCC": ["no"]}]},
                        content_type="t", message_id="7", timestamp=9)
        self.assertEqual(got.props, {"headers": {"a": 1, "CC": ["y"], "z": [1, {"BCC": ["no"]}]},
                                     "content_type": "t", "message_id": "7", "timestamp": 9})

    def test_the_table_stays_when_it_was_all(self):
        self.assertEqual(self.seen({"BCC": []}).props, {"headers": {}})

    def test_the_routing_key_is_the_publishers(self):
        a, b = self.queues(2)
        self.send("", a, {"BCC": [b]})
        self.ch.barrier()
        self.assertEqual(self.ch.get(b).routing_key, a)

    def test_only_strings_count(self):
        a, b = self.queues(2)
        self.send("", a, {"CC": [1, None, b, {"k": 1}, wire.Tagged("x", b.encode())]})
        self.assertEqual(self.reached([a, b]), [1, 1])

    def test_names_are_as_they_are_written(self):
        a, b = self.queues(2)
        self.send("", a, {"cc": [b], "Bcc": b})
        self.assertEqual(self.reached([a, b]), [1, 0])

    def test_anything_but_an_array_is_refused(self):
        text = "PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,\"%s\",%s}"
        for name in ("CC", "BCC"):
            for value, kind in (("q", "longstr"), (1, "signedint"), (None, "void"),
                                (True, "bool"), ({"a": 1}, "table"),
                                (wire.Tagged("l", 1), "long"), (wire.Tagged("x", b"q"), "binary"),
                                (wire.Tagged("d", 1.5), "double"),
                                (wire.Tagged("T", 1), "timestamp")):
                with self.subTest(name=name, kind=kind):
                    ch = self.conn.channel()
                    ch.publish("", "q", b"m", {"headers": {name: value}})
                    ch.expect_close(406, text % (name, kind), "basic.publish")

    def test_the_delivery_mode_comes_after_it(self):
        ch = self.conn.channel()
        ch.publish("", "q", b"m", {"delivery_mode": 7, "headers": {"CC": "q", "BCC": 1}})
        ch.expect_close(406, 'PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,'
                             '"CC",longstr}', "basic.publish")

    def test_what_is_too_long_for_a_key_is_passed_over(self):
        a, = self.queues(1)
        self.send("", a, {"CC": ["k" * 300]})
        self.send("amq.topic", "t", {"CC": ["k." * 300]})
        self.assertEqual(self.reached([a]), [1])
