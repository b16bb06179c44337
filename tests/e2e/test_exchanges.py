"""Routing: which message reaches which queue."""

from harness.case import Case

THREADS = True
REMOTE = True


class Base(Case):
    def setUp(self):
        super().setUp()
        self.ch = self.channel()

    def exchange(self, kind, **args):
        name = self.name("x")
        args.setdefault("auto_delete", True)
        self.ch.call("exchange.declare", exchange=name, type=kind, **args)
        return name

    def bound(self, exchange, *bindings):
        """One queue with all these (key, arguments) or keys."""
        q = self.ch.queue()
        for b in bindings:
            key, arguments = b if isinstance(b, tuple) else (b, None)
            self.ch.bind(q, exchange, key, arguments)
        return q

    def publish(self, exchange, key, body, **props):
        self.ch.publish(exchange, key, body, props)

    def received(self, *queues):
        self.ch.barrier()
        return [[b.decode() for b in self.ch.get_all(q)] for q in queues]

    def exists(self, exchange):
        ch = self.channel()
        ch.send("exchange.declare", exchange=exchange, passive=True)
        return ch.next().name == "exchange.declare_ok"


class Default(Base):
    def test_every_queue_is_bound_by_its_name(self):
        q, other = self.ch.queue(), self.ch.queue()
        self.publish("", q, b"for q")
        self.publish("", q + "x", b"for nobody")
        self.assertEqual(self.received(q, other), [["for q"], []])


class Direct(Base):
    def test_key_for_key(self):
        x = self.exchange("direct")
        a, ab, b = self.bound(x, "a"), self.bound(x, "a", "b"), self.bound(x, "b")
        for key in ("a", "b", "c", "", "A", "a.b", "*", "#"):
            self.publish(x, key, key.encode())
        self.assertEqual(self.received(a, ab, b), [["a"], ["a", "b"], ["b"]])

    def test_the_empty_key_is_a_key(self):
        x = self.exchange("direct")
        q = self.ch.queue()
        # With a queue name given, an empty key stays empty.
        self.ch.call("queue.bind", queue=q, exchange=x, routing_key="")
        self.publish(x, "", b"yes")
        self.publish(x, q, b"no")
        self.assertEqual(self.received(q), [["yes"]])


class Fanout(Base):
    def test_to_all_whatever_the_key(self):
        x = self.exchange("fanout")
        queues = [self.bound(x, key) for key in ("", "k", "other")]
        self.publish(x, "k", b"1")
        self.publish(x, "", b"2")
        self.assertEqual(self.received(*queues), [["1", "2"]] * 3)

    def test_to_a_hundred_queues(self):
        x = self.exchange("fanout")
        queues = [self.bound(x, "") for _ in range(100)]
        self.publish(x, "", b"all" * 1000)
        self.assertEqual(self.received(*queues), [["all" * 1000]] * 100)


class Topic(Base):
    # The table of RabbitMQ's own suite, in our words: pattern -> keys that match.
    KEYS = ("", "a", "b", "a.b", "b.a", "a.b.c", "a.c", "a.b.b.c", "a.b.b.d", "b.b.c", "a.", ".a",
            ".", "..", "a..c", "b.b.c.c", "c", "*", "#")
    PATTERNS = {
        "a": "a", "a.b": "a.b", "": "", "*": "a b c * #", "#": None, "a.*": "a.b a.c a.",
        "*.a": "b.a .a", "a.#": "a a.b a.b.c a.c a.b.b.c a.b.b.d a. a..c", "#.a": "a b.a .a",
        "a.*.c": "a.b.c a..c", "a.#.c": "a.b.c a.c a.b.b.c a..c", "*.*": "a.b b.a a.c a. .a .",
        "#.#": None, "*.#": "- ", "#.*": "- ", "a.*.#": "a.b a.b.c a.c a.b.b.c a.b.b.d a. a..c",
        "#.b.#": "b a.b b.a a.b.c a.b.b.c a.b.b.d b.b.c b.b.c.c", "*.b.*.c": "a.b.b.c b.b.c.c",
        "a.#.b.#.c": "a.b.c a.b.b.c", "#.b.#.b.#": "a.b.b.c a.b.b.d b.b.c b.b.c.c",
        "*.*.*": "a.b.c b.b.c .. a..c", ".": ".", "..": "..",
    }

    def matching(self, pattern):
        want = self.PATTERNS[pattern]
        if want is None:
            return sorted(self.KEYS)
        if want.startswith("- "):  # all but the empty key
            return sorted(k for k in self.KEYS if k)
        return sorted(want.split(" "))

    def test_patterns(self):
        x = self.exchange("topic")
        queues = {p: self.bound(x, p) for p in self.PATTERNS}
        for key in self.KEYS:
            self.publish(x, key, key.encode())
        self.ch.barrier()
        for pattern, q in queues.items():
            with self.subTest(pattern=pattern):
                got = sorted(b.decode() for b in self.ch.get_all(q))
                self.assertEqual(got, self.matching(pattern))

    def test_unbinding_one_pattern_leaves_the_others(self):
        x = self.exchange("topic")
        q = self.bound(x, "a.*", "a.#", "a.b")
        for pattern, want in (("a.b", ["a.b", "a.c"]), ("a.#", ["a.b", "a.c"]), ("a.*", [])):
            self.ch.call("queue.unbind", queue=q, exchange=x, routing_key=pattern)
            if pattern == "a.*":
                break
            self.publish(x, "a.b", b"a.b")
            self.publish(x, "a.c", b"a.c")
            with self.subTest(without=pattern):
                self.assertEqual(self.received(q), [want])
        self.assertFalse(self.exists(x))

    def test_long_keys_with_many_words(self):
        x = self.exchange("topic")
        key = ".".join("w" * 126) + ".w"
        q = self.bound(x, key)
        many = self.bound(x, "#." + ".".join(["*"] * 20) + ".#.w")
        self.publish(x, key, b"1")
        self.assertEqual(self.received(q, many), [["1"], ["1"]])


class Headers(Base):
    def match(self, arguments, headers):
        """Whether a binding with these arguments lets a message with these headers through."""
        x = self.exchange("headers")
        q = self.bound(x, ("", arguments))
        props = {} if headers is None else {"headers": headers}
        self.publish(x, "", b"m", **props)
        return self.received(q) == [["m"]]

    def test_all_and_any(self):
        both = {"a": 1, "b": "two"}
        for mode, headers, want in (
                ("all", {"a": 1, "b": "two"}, True), ("all", {"a": 1, "b": "two", "c": 3}, True),
                ("all", {"a": 1}, False), ("all", {"a": 1, "b": "zwei"}, False), ("all", {}, False),
                ("all", None, False), ("any", {"a": 1}, True), ("any", {"b": "two", "a": 2}, True),
                ("any", {"c": 3}, False), ("any", None, False), ("any", {"a": 2, "b": "x"}, False)):
            with self.subTest(mode=mode, headers=headers):
                self.assertEqual(self.match(dict(both, **{"x-match": mode}), headers), want)

    def test_all_is_the_default(self):
        self.assertTrue(self.match({"a": 1, "b": 2}, {"a": 1, "b": 2}))
        self.assertFalse(self.match({"a": 1, "b": 2}, {"a": 1}))

    def test_no_headers_asked_for(self):
        self.assertTrue(self.match({}, {"any": 1}))
        self.assertTrue(self.match({"x-match": "all"}, None))
        self.assertFalse(self.match({"x-match": "any"}, {"a": 1}))

    def test_a_value_of_nothing_asks_for_presence_only(self):
        self.assertTrue(self.match({"a": None}, {"a": "whatever"}))
        self.assertFalse(self.match({"a": None}, {"b": 1}))

    def test_x_headers_count_only_with_x(self):
        self.assertTrue(self.match({"x-match": "all", "x-a": 1}, {"x-a": 2}))
        self.assertTrue(self.match({"x-match": "all-with-x", "x-a": 1}, {"x-a": 1}))
        self.assertFalse(self.match({"x-match": "all-with-x", "x-a": 1}, {"x-a": 2}))
        self.assertFalse(self.match({"x-match": "any", "x-a": 1}, {"x-a": 1}))
        self.assertTrue(self.match({"x-match": "any-with-x", "x-a": 1}, {"x-a": 1}))

    def test_values_of_many_types(self):
        for value, same, other in ((True, True, False), (1.5, 1.5, 1.25), ("s", "s", "S"),
                                   (2**40, 2**40, 2**41), ([1, "a"], [1, "a"], [1]),
                                   ({"n": 1}, {"n": 1}, {"n": 2})):
            with self.subTest(value=value):
                self.assertTrue(self.match({"v": value}, {"v": same}))
                self.assertFalse(self.match({"v": value}, {"v": other}))


    def test_nothing_in_a_table_is_nothing_in_a_list(self):
        self.assertTrue(self.match({"v": {}}, {"v": []}))
        self.assertTrue(self.match({"v": []}, {"v": {}}))
        self.assertFalse(self.match({"v": [{}]}, {"v": [[]]}))
        self.assertFalse(self.match({"v": []}, {"v": ""}))


class BetweenExchanges(Base):
    def bind(self, destination, source, key=""):
        self.ch.call("exchange.bind", destination=destination, source=source, routing_key=key)

    def test_messages_pass_on_by_the_key(self):
        front, back = self.exchange("topic"), self.exchange("direct")
        q = self.bound(back, "a.b")
        self.bind(back, front, "a.#")
        for key in ("a.b", "a.c", "b"):
            self.publish(front, key, key.encode())
        self.assertEqual(self.received(q), [["a.b"]])
        self.ch.call("exchange.unbind", destination=back, source=front, routing_key="a.#")
        self.publish(back, "a.b", b"direct")
        self.assertEqual(self.received(q), [["direct"]])

    def test_a_headers_exchange_behind_another_looks_at_each_message(self):
        for kind in ("fanout", "direct", "topic"):
            x = self.exchange(kind)
            h = self.exchange("headers")
            q = self.ch.queue()
            self.ch.call("exchange.bind", destination=h, source=x, routing_key="k")
            self.ch.bind(q, h, "", {"n": 1})
            for n in (1, 2, 1, 3):
                self.ch.publish(x, "k", b"%d" % n, {"headers": {"n": n}})
            self.ch.barrier()
            self.assertEqual(self.ch.get_all(q), [b"1", b"1"], kind)

    def test_one_copy_over_two_ways_and_none_for_ever_in_a_circle(self):
        one, two, three = (self.exchange("fanout") for _ in range(3))
        q = self.bound(three, "")
        for destination, source in ((two, one), (three, one), (three, two), (one, three)):
            self.bind(destination, source)
        self.publish(one, "", b"once")
        self.assertEqual(self.received(q), [["once"]])

    def test_internal_exchanges_take_from_other_exchanges(self):
        front, inner = self.exchange("fanout"), self.exchange("fanout", internal=True)
        q = self.bound(inner, "")
        self.bind(inner, front)
        self.publish(front, "", b"through")
        self.assertEqual(self.received(q), [["through"]])


class Lifetime(Base):
    def test_auto_delete_goes_with_its_last_binding(self):
        x = self.exchange("direct")
        self.assertTrue(self.exists(x))
        a, b = self.bound(x, "k"), self.bound(x, "k")
        self.ch.call("queue.delete", queue=a)
        self.assertTrue(self.exists(x))
        self.ch.call("queue.unbind", queue=b, exchange=x, routing_key="k")
        self.assertFalse(self.exists(x))

    def test_auto_delete_counts_bindings_to_exchanges_too(self):
        x, y = self.exchange("direct"), self.exchange("fanout", auto_delete=False)
        self.ch.call("exchange.bind", destination=y, source=x, routing_key="k")
        self.ch.call("exchange.delete", exchange=y)
        self.assertFalse(self.exists(x))

    def test_deleting_an_exchange_takes_its_bindings(self):
        x = self.exchange("direct", auto_delete=False)
        q = self.bound(x, "k")
        self.ch.call("exchange.delete", exchange=x)
        self.ch.call("exchange.declare", exchange=x, type="direct", auto_delete=True)
        self.publish(x, "k", b"nowhere now")
        self.assertEqual(self.received(q), [[]])
        self.ch.call("exchange.delete", exchange=x, if_unused=True)

    def test_nowait(self):
        x, y, q = self.name("x"), self.name("y"), self.ch.queue()
        for name in (x, y):
            self.ch.send("exchange.declare", exchange=name, type="fanout", nowait=True)
        self.ch.send("exchange.bind", destination=y, source=x, nowait=True)
        self.ch.bind(q, y)
        self.publish(x, "", b"1")
        self.assertEqual(self.received(q), [["1"]])
        self.ch.send("exchange.unbind", destination=y, source=x, nowait=True)
        self.publish(x, "", b"2")
        self.assertEqual(self.received(q), [[]])
        for name in (x, y):
            self.ch.send("exchange.delete", exchange=name, nowait=True)
        self.ch.barrier()
        self.assertFalse(self.exists(x))


class Alternate(Base):
    def test_what_no_binding_wants_goes_to_the_alternate_exchange(self):
        spare = self.exchange("fanout")
        rest = self.bound(spare, "")
        x = self.exchange("direct", arguments={"alternate-exchange": spare})
        q = self.bound(x, "k")
        self.publish(x, "k", b"wanted")
        self.ch.publish(x, "other", b"unwanted", mandatory=True)
        self.assertEqual(self.received(q, rest), [["wanted"], ["unwanted"]])
