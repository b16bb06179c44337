"""The exchange type x-consistent-hash: each message to one queue, the same for the same key."""

import wire
from harness.case import Case

THREADS = True
REMOTE = True


class Base(Case):
    def setUp(self):
        super().setUp()
        self.conn = self.connect()
        self.ch = self.conn.channel()

    def exchange(self, **args):
        x = self.name("x")
        self.ch.call("exchange.declare", exchange=x, type="x-consistent-hash", arguments=args)
        self.addCleanup(lambda: self.channel().call("exchange.delete", exchange=x))
        return x

    def bound(self, x, *weights):
        out = [self.ch.queue() for _ in weights]
        for q, weight in zip(out, weights):
            self.ch.bind(q, x, weight)
        return out

    def spread(self, queues):
        self.ch.barrier()
        return [self.ch.get_all(q) for q in queues]

    def where(self, x, queues, messages):
        """Publishes (key, properties) each; the index of the queue that each came to."""
        for i, (key, props) in enumerate(messages):
            self.ch.publish(x, key, b"%d" % i, props)
        out = {}
        for n, bodies in enumerate(self.spread(queues)):
            for body in bodies:
                self.assertNotIn(int(body), out, "in two queues")
                out[int(body)] = n
        return [out.get(i) for i in range(len(messages))]

    def refuse(self, code, text, method, **args):
        ch = self.conn.channel()
        ch.send(method, **args)
        ch.expect_close(code, text, method)


class Routing(Base):
    def test_each_message_to_one_queue_and_about_as_many_to_each(self):
        x = self.exchange()
        queues = self.bound(x, "10", "10", "10", "10")
        for i in range(4000):
            self.ch.publish(x, "key%d" % i, b"x")
        counts = [len(b) for b in self.spread(queues)]
        self.assertEqual(sum(counts), 4000)
        for n in counts:
            self.assertTrue(750 < n < 1250, counts)

    def test_by_weight(self):
        x = self.exchange()
        queues = self.bound(x, "1", "3")
        for i in range(4000):
            self.ch.publish(x, "key%d" % i, b"x")
        one, three = [len(b) for b in self.spread(queues)]
        self.assertEqual(one + three, 4000)
        self.assertTrue(2.4 < three / one < 3.7, (one, three))

    def test_the_same_key_goes_the_same_way(self):
        x = self.exchange()
        queues = self.bound(x, "1", "1", "1", "2")
        messages = [("key%d" % (i % 50), {"message_id": str(i)}) for i in range(500)]
        where = self.where(x, queues, messages)
        self.assertEqual(where, where[:50] * 10)
        self.assertEqual(len(set(where)), 4)

    def test_one_more_queue_takes_from_the_others_only_what_it_gets(self):
        x = self.exchange()
        queues = self.bound(x, "1", "1", "1")
        messages = [("key%d" % i, {}) for i in range(900)]
        before = self.where(x, queues, messages)
        queues += self.bound(x, "1")
        after = self.where(x, queues, messages)
        moved = [(a, b) for a, b in zip(before, after) if a != b]
        self.assertTrue(all(b == 3 for _, b in moved), moved[:5])
        self.assertTrue(140 < len(moved) < 320, len(moved))

    def test_a_queue_that_goes_leaves_the_others_with_all(self):
        x = self.exchange()
        queues = self.bound(x, "1", "1", "1")
        self.ch.call("queue.delete", queue=queues[2])
        where = self.where(x, queues[:2], [("key%d" % i, {}) for i in range(300)])
        self.assertNotIn(None, where)

    def test_nothing_bound(self):
        x = self.exchange()
        self.ch.publish(x, "k", b"x", mandatory=True)
        self.ch.expect("basic.return", exchange=x)
        q, = self.bound(x, "1")
        self.ch.call("queue.unbind", queue=q, exchange=x, routing_key="1")
        self.ch.publish(x, "k", b"x", mandatory=True)
        self.ch.expect("basic.return", exchange=x)

    def test_binding_keys_are_no_routing_keys(self):
        x = self.exchange()
        q, = self.bound(x, "5")
        self.ch.publish(x, "anything", b"x")
        self.assertEqual(self.spread([q]), [[b"x"]])

    def test_cc_does_not_change_it(self):
        x = self.exchange()
        queues = self.bound(x, "1", "1", "1", "1")
        messages = [("key", {"headers": {"CC": ["c%d" % i, "d"]}}) for i in range(30)]
        self.assertEqual(len(set(self.where(x, queues, messages))), 1)

    def test_exchanges_may_be_bound(self):
        x, target = self.exchange(), self.name("t")
        self.ch.call("exchange.declare", exchange=target, type="fanout", auto_delete=True)
        self.ch.call("exchange.bind", destination=target, source=x, routing_key="1")
        q = self.ch.queue()
        self.ch.bind(q, target)
        self.ch.publish(x, "k", b"x")
        self.assertEqual(self.spread([q]), [[b"x"]])

    def test_alternate(self):
        alt = self.name("alt")
        self.ch.call("exchange.declare", exchange=alt, type="fanout", auto_delete=True)
        q = self.ch.queue()
        self.ch.bind(q, alt)
        x = self.exchange(**{"alternate-exchange": alt})
        self.ch.publish(x, "k", b"x")
        self.assertEqual(self.spread([q]), [[b"x"]])

    def test_in_a_transaction_and_confirmed(self):
        x = self.exchange()
        q, = self.bound(x, "1")
        ch = self.conn.channel()
        ch.call("tx.select")
        ch.publish(x, "k", b"x")
        ch.call("tx.commit")
        self.assertEqual(self.spread([q]), [[b"x"]])


class Arguments(Base):
    def distinct(self, x, queues, messages):
        return len(set(self.where(x, queues, messages)))

    def test_by_a_header(self):
        x = self.exchange(**{"hash-header": "who"})
        queues = self.bound(x, "1", "1", "1", "1")
        same = [("key%d" % i, {"headers": {"who": "me", "n": i}}) for i in range(50)]
        self.assertEqual(self.distinct(x, queues, same), 1)
        differ = [("key", {"headers": {"who": "w%d" % i}}) for i in range(100)]
        self.assertEqual(self.distinct(x, queues, differ), 4)

    def test_headers_of_any_type(self):
        x = self.exchange(**{"hash-header": "who"})
        queues = self.bound(x, "1", "1", "1", "1")
        differ = [("key", {"headers": {"who": i}}) for i in range(100)]
        self.assertEqual(self.distinct(x, queues, differ), 4)

    def test_without_what_is_looked_for_all_go_one_way(self):
        for name, value in (("hash-header", "who"), ("hash-property", "message_id"),
                            ("hash-property", "timestamp")):
            x = self.exchange(**{name: value})
            queues = self.bound(x, "1", "1", "1", "1")
            self.assertEqual(self.distinct(x, queues, [("k%d" % i, {}) for i in range(50)]), 1)
            self.assertEqual(self.distinct(
                x, queues, [("k%d" % i, {"headers": {"a": i}}) for i in range(50)]), 1)

    def test_by_a_property(self):
        for name in ("message_id", "correlation_id", "timestamp"):
            with self.subTest(name):
                x = self.exchange(**{"hash-property": name})
                queues = self.bound(x, "1", "1", "1", "1")
                value = (lambda i: i) if name == "timestamp" else "v%d".__mod__
                same = [("k%d" % i, {name: value(7)}) for i in range(50)]
                self.assertEqual(self.distinct(x, queues, same), 1)
                differ = [("k", {name: value(i)}) for i in range(100)]
                self.assertEqual(self.distinct(x, queues, differ), 4)

    def test_what_it_refuses(self):
        declare = lambda text, **args: self.refuse(
            406, "PRECONDITION_FAILED - " + text, "exchange.declare", exchange=self.name("x"),
            type="x-consistent-hash", arguments=args)
        declare("hash-header and hash-property are mutually exclusive",
                **{"hash-header": "a", "hash-property": "message_id"})
        for bad in ("app_id", "", "MESSAGE_ID"):
            declare("Unsupported property: %s" % bad, **{"hash-property": bad})

    def test_declared_again(self):
        x = self.exchange(**{"hash-header": "who"})
        for args in ({"hash-header": "who"}, {}, {"hash-header": "other"}):
            self.ch.call("exchange.declare", exchange=x, type="x-consistent-hash", arguments=args)

    def test_weights(self):
        x = self.exchange()
        q = self.ch.queue()
        bind = lambda text, key: self.refuse(406, "PRECONDITION_FAILED - " + text, "queue.bind",
                                             queue=q, exchange=x, routing_key=key)
        bind("The binding key must be an integer: <<>>", "")
        for key in ("a", "1a", "1.5", " 1", "1 "):
            bind("The binding key must be an integer: <<\"%s\">>" % key, key)
        for key in ("0", "-1", "-0"):
            bind("The binding key must be greater than 0", key)
        for key in ("1", "+2", "003"):
            self.ch.bind(q, x, key)
        self.ch.call("queue.unbind", queue=q, exchange=x, routing_key="nonsense")
