"""Direct reply-to: answers that need no queue of their own."""

from harness.case import Case, only

THREADS = True
REMOTE = True

REPLY_TO = "amq.rabbitmq.reply-to"
NO_QUEUE = "NOT_FOUND - no queue '%s' in vhost '/'"


class Base(Case):
    def setUp(self):
        super().setUp()
        self.conn = self.connect()
        self.ch = self.conn.channel()   # asks
        self.server = self.channel()    # answers
        self.q = self.server.queue()    # where questions go

    def consume(self, ch=None, **args):
        args.setdefault("no_ack", True)
        return (ch or self.ch).consume(REPLY_TO, **args)

    def ask(self, ch=None, body=b"question", exchange="", **props):
        """Publishes a question; the reply-to that the server reads in it."""
        (ch or self.ch).publish(exchange, self.q, body, dict(props, reply_to=REPLY_TO))
        (ch or self.ch).barrier()
        event = self.server.get(self.q)
        self.assertEqual(event.body, body)
        return event.props["reply_to"]

    def refuse(self, code, text, method, before=(), **args):
        ch = self.conn.channel()
        for name, early in before:
            ch.call(name, **early)
        ch.send(method, **args)
        ch.expect_close(code, text, method)


class Asking(Base):
    def test_a_question_and_its_answer(self):
        tag = self.consume()
        address = self.ask(correlation_id="7")
        self.assertTrue(address.startswith(REPLY_TO + "."), address)
        self.server.publish("", address, b"answer", {"correlation_id": "7"})
        m = self.ch.expect("basic.deliver", consumer_tag=tag, redelivered=False, exchange="",
                           routing_key=address)
        self.assertEqual((m.body, m.props), (b"answer", {"correlation_id": "7"}))

    def test_all_other_properties_stay(self):
        self.consume()
        props = {"content_type": "a/b", "headers": {"k": [1, None]}, "message_id": "9",
                 "correlation_id": "1", "timestamp": 3, "delivery_mode": 2, "app_id": "me"}
        self.ch.publish("", self.q, b"x", dict(props, reply_to=REPLY_TO))
        self.ch.barrier()
        seen = self.server.get(self.q).props
        self.assertTrue(seen.pop("reply_to").startswith(REPLY_TO + "."))
        self.assertEqual(seen, props)

    def test_the_address_stays_the_same_and_belongs_to_the_channel(self):
        other = self.conn.channel()
        self.consume()
        self.consume(other)
        a = [self.ask() for _ in range(3)]
        b = self.ask(other)
        self.assertEqual(len(set(a)), 1)
        self.assertNotEqual(a[0], b)
        self.server.publish("", b, b"for other")
        self.server.publish("", a[0], b"for ch")
        self.assertEqual(other.deliveries(1)[0].body, b"for other")
        self.assertEqual(self.ch.deliveries(1)[0].body, b"for ch")

    def test_many_answers_in_order(self):
        self.consume()
        address = self.ask()
        for i in range(500):
            self.server.publish("", address, b"%d" % i)
        got = self.ch.deliveries(500)
        self.assertEqual([m.body for m in got], [b"%d" % i for i in range(500)])

    def test_large_answers(self):
        self.consume()
        address, body = self.ask(), bytes(range(256)) * 2000
        self.server.publish("", address, body)
        self.assertEqual(self.ch.deliveries(1)[0].body, body)

    def test_answers_from_the_asking_channel(self):
        self.consume()
        self.ch.publish("", self.ask(), b"me")
        self.assertEqual(self.ch.deliveries(1)[0].body, b"me")

    def test_answers_carried_by_cc(self):
        self.consume()
        address = self.ask()
        self.server.publish("", self.q, b"both", {"headers": {"CC": [address]}})
        self.server.barrier()
        got = self.ch.deliveries(1)[0]
        self.assertEqual((got.body, got.routing_key), (b"both", self.q))
        self.assertEqual(self.server.get(self.q).body, b"both")

    def test_through_any_exchange(self):
        self.server.bind(self.q, "amq.direct", self.q)
        self.consume()
        address = self.ask(exchange="amq.direct")
        self.server.publish("", address, b"answer")
        self.assertEqual(self.ch.deliveries(1)[0].body, b"answer")

    def test_answers_go_through_the_default_exchange_only(self):
        self.consume()
        address = self.ask()
        self.server.publish("amq.direct", address, b"no")
        self.server.barrier()
        self.ch.expect_silence(0.1)

    def test_no_delivery_tag_is_used_up(self):
        self.consume()
        address = self.ask()
        for _ in range(2):
            self.server.publish("", address, b"a")
            self.ch.expect("basic.deliver", delivery_tag=1)
        own = self.ch.queue()
        self.ch.publish("", own, b"b")
        self.ch.barrier()
        self.assertEqual(self.ch.get(own, no_ack=False).delivery_tag, 1)

    def test_answers_do_not_wait_for_a_commit(self):
        self.consume()
        address = self.ask()
        self.server.call("tx.select")
        self.server.publish("", address, b"now")
        self.assertEqual(self.ch.deliveries(1)[0].body, b"now")

    def test_confirmed_like_what_nobody_wants(self):
        self.consume()
        address = self.ask()
        self.server.call("confirm.select")
        self.server.publish("", address, b"1")
        self.server.expect("basic.ack", delivery_tag=1)

    def test_mandatory_ones_come_back_too(self):
        self.consume()
        address = self.ask()
        self.server.publish("", address, b"1", mandatory=True)
        self.server.expect("basic.return", reply_code=312, routing_key=address)
        self.assertEqual(self.ch.deliveries(1)[0].body, b"1")


class Ending(Base):
    def test_cancelled(self):
        tag = self.consume()
        address = self.ask()
        self.assertEqual(self.ch.call("basic.cancel", consumer_tag=tag).consumer_tag, tag)
        self.server.publish("", address, b"late")
        self.server.barrier()
        self.ch.expect_silence(0.1)
        self.consume()
        self.assertNotEqual(self.ask(), address)

    def test_cancel_nowait(self):
        tag = self.consume()
        self.ch.send("basic.cancel", consumer_tag=tag, nowait=True)
        self.ch.barrier()
        self.consume()

    def test_consume_nowait(self):
        self.ch.send("basic.consume", queue=REPLY_TO, consumer_tag="t", no_ack=True, nowait=True)
        address = self.ask()
        self.server.publish("", address, b"x")
        self.ch.expect("basic.deliver", consumer_tag="t")

    def test_to_a_channel_or_connection_that_is_gone(self):
        other = self.channel()
        self.consume(other)
        gone = self.ask(other)
        other.close()
        self.server.publish("", gone, b"late", mandatory=True)
        self.server.expect("basic.return", routing_key=gone)
        self.refuse(404, NO_QUEUE % gone, "queue.declare", queue=gone)
        again = other.conn.channel(other.number)  # the number is another channel's now
        self.consume(again)
        self.server.publish("", gone, b"late")
        self.server.barrier()
        again.expect_silence(0.1)

    def test_a_wrong_key_reaches_nobody(self):
        self.consume()
        address = self.ask()
        flipped = address[:-3] + ("A" if address[-3] != "A" else "B") + address[-2:]
        for wrong in (flipped, address[:-4], address + "A", REPLY_TO + ".x", REPLY_TO + "."):
            self.refuse(404, NO_QUEUE % wrong, "queue.declare", queue=wrong, passive=True)
            if not self.is_rabbit or wrong == flipped:  # its channel may die of the others
                self.server.publish("", wrong, b"x")
        self.server.barrier()
        self.ch.expect_silence(0.1)


@only("broker", "threads", "remote")
class Unread(Base):
    """Answers are stored nowhere: who does not read them loses some, and nobody waits for that."""

    def test_the_answerer_goes_on_and_the_order_stays(self):
        lazy = self.connect(rcvbuf=4096)
        ch, size, n = lazy.channel(), 1 << 20, 100
        self.consume(ch)
        address = self.ask(ch)
        for i in range(n):
            self.server.publish("", address, b"%08d" % i + bytes(size - 8))
        self.server.barrier()
        self.server.call("queue.declare", queue=address)  # it is still there
        got = [int(ch.expect("basic.deliver").body[:8])]
        self.server.publish("", address, b"%08d" % n)
        while got[-1] != n:
            got.append(int(ch.expect("basic.deliver").body[:8]))
            if len(got) == 12:  # there is room again
                self.server.publish("", address, b"%08d" % n)
        self.assertEqual(got, sorted(got))
        self.assertGreater(len(got), 12)
        self.assertLess(len(got), n)


class Errors(Base):
    def test_it_must_be_without_acknowledgements(self):
        self.refuse(406, "PRECONDITION_FAILED - reply consumer cannot acknowledge",
                    "basic.consume", queue=REPLY_TO)

    def test_one_a_channel(self):
        self.refuse(406, "PRECONDITION_FAILED - reply consumer already set", "basic.consume",
                    [("basic.consume", {"queue": REPLY_TO, "no_ack": True})],
                    queue=REPLY_TO, no_ack=True)

    def test_one_that_acknowledges_where_one_is(self):
        self.refuse(406, "PRECONDITION_FAILED - reply consumer cannot acknowledge",
                    "basic.consume", [("basic.consume", {"queue": REPLY_TO, "no_ack": True})],
                    queue=REPLY_TO)

    def test_a_tag_that_is_taken(self):
        conn = self.connect()
        ch = conn.channel()
        q = ch.queue()
        ch.consume(q, tag="t")
        ch.send("basic.consume", queue=REPLY_TO, consumer_tag="t", no_ack=True)
        conn.expect_close(530, "NOT_ALLOWED - attempt to reuse consumer tag 't'", "basic.consume")

    def test_its_own_tag_is_free_for_others(self):
        ch = self.channel()
        q = ch.queue()
        self.consume(ch, tag="t")
        self.assertEqual(ch.consume(q, tag="t"), "t")

    def test_asking_without_consuming(self):
        ch = self.conn.channel()
        ch.publish("", self.q, b"x", {"reply_to": REPLY_TO})
        ch.expect_close(406, "PRECONDITION_FAILED - fast reply consumer does not exist",
                        "basic.publish")

    def test_asking_a_missing_exchange(self):
        ch = self.conn.channel()
        ch.publish("missing", self.q, b"x", {"reply_to": REPLY_TO})
        ch.expect_close(404, "NOT_FOUND - no exchange 'missing' in vhost '/'", "basic.publish")

    def test_before_what_else_is_wrong(self):
        ch = self.conn.channel()
        ch.publish("", self.q, b"x", {"reply_to": REPLY_TO, "user_id": "x", "expiration": "y"})
        ch.expect_close(406, "PRECONDITION_FAILED - fast reply consumer does not exist",
                        "basic.publish")

    def test_other_reply_tos_are_left_alone(self):
        for address in (REPLY_TO + ".mine", "amq.rabbitmq.reply", "x", ""):
            self.ch.publish("", self.q, b"x", {"reply_to": address})
            self.ch.barrier()
            self.assertEqual(self.server.get(self.q).props["reply_to"], address)

    def test_it_is_no_queue(self):
        self.refuse(404, NO_QUEUE % REPLY_TO, "basic.get", queue=REPLY_TO)
        self.refuse(404, NO_QUEUE % REPLY_TO, "queue.purge", queue=REPLY_TO)
        self.refuse(404, NO_QUEUE % REPLY_TO, "queue.bind", queue=REPLY_TO, exchange="amq.direct")
        self.refuse(404, NO_QUEUE % (REPLY_TO + ".x"), "basic.consume", queue=REPLY_TO + ".x")
        self.assertEqual(self.conn.channel().call("queue.delete", queue=REPLY_TO).message_count, 0)


class Declaring(Base):
    def test_is_it_still_there(self):
        self.consume()
        address = self.ask()
        for args in ({}, {"passive": True}, {"durable": True, "exclusive": True},
                     {"arguments": {"x-expires": "nonsense"}}):
            ok = self.server.call("queue.declare", queue=address, **args)
            self.assertEqual((ok.queue, ok.message_count, ok.consumer_count), (address, 0, 1))

    def test_from_its_own_channel_and_its_neighbour(self):
        self.consume()
        address = self.ask()
        self.conn.channel().call("queue.declare", queue=address)
        if not self.is_rabbit:  # which asks itself, waits for itself and gives up with 541
            self.ch.call("queue.declare", queue=address)

    def test_the_name_without_an_address(self):
        ok = self.ch.call("queue.declare", queue=REPLY_TO)
        self.assertEqual((ok.queue, ok.message_count, ok.consumer_count), (REPLY_TO, 0, 1))

    def test_a_name_that_only_begins_like_it(self):
        for name in (REPLY_TO + "x", REPLY_TO + "-2"):
            self.refuse(404, NO_QUEUE % name, "queue.declare", queue=name)

    def test_nowait(self):
        self.consume()
        address = self.ask()
        self.server.send("queue.declare", queue=address, nowait=True)
        self.server.barrier()
