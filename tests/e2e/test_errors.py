"""What a client is told when it asks for the wrong thing: RabbitMQ's codes, texts, culprits."""

import wire
from harness.case import Case

THREADS = True
REMOTE = True

NO_QUEUE = "NOT_FOUND - no queue '%s' in vhost '/'"
NO_EXCHANGE = "NOT_FOUND - no exchange '%s' in vhost '/'"
NO_LAST_QUEUE = "NOT_FOUND - no previously declared queue"
DEFAULT_EXCHANGE = "ACCESS_REFUSED - operation not permitted on the default exchange"
LOCKED = ("RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '%s' in vhost '/'. "
          "It could be originally declared on another connection or the exclusive property "
          "value does not match that of the original declaration.")
INEQUIVALENT = ("PRECONDITION_FAILED - inequivalent arg '%s' for %s '%s' in vhost '/': "
                "received %s but current is %s")


class Base(Case):
    def setUp(self):
        super().setUp()
        self.conn = self.connect()
        self.ch = self.conn.channel()  # for what must exist before

    def refuse(self, code, text, method, **args):
        """`method` closes its channel with this code and text, and nothing else."""
        with self.subTest(method=method, **args):
            ch = self.conn.channel()
            ch.send(method, **args)
            ch.expect_close(code, text, method)
            self.ch.barrier()

    def refuse_hard(self, code, text, method, before=(), **args):
        """`method` closes the connection."""
        with self.subTest(method=method, **args):
            conn = self.connect()
            ch = conn.channel()
            for name, early in before:
                ch.call(name, **early)
            ch.send(method, **args)
            conn.expect_close(code, text, method)

    def accept(self, method, **args):
        with self.subTest(method=method, **args):
            return self.ch.call(method, **args)

    def made_queue(self, base="q", **args):
        args.setdefault("auto_delete", False)
        name = self.name(base)
        self.ch.declare(name, **args)
        self.addCleanup(lambda: self.channel().call("queue.delete", queue=name))
        return name

    def made_exchange(self, base="x", **args):
        name = self.name(base)
        args.setdefault("type", "direct")
        self.ch.call("exchange.declare", exchange=name, **args)
        self.addCleanup(lambda: self.channel().call("exchange.delete", exchange=name))
        return name


class NotFound(Base):
    def test_queues(self):
        for method in ("queue.purge", "basic.get", "basic.consume"):
            self.refuse(404, NO_QUEUE % "missing", method, queue="missing")
        self.refuse(404, NO_QUEUE % "missing", "queue.declare", queue="missing", passive=True)
        self.refuse(404, NO_QUEUE % "", "queue.declare", queue="", passive=True)
        self.refuse(404, NO_QUEUE % "amq.foo", "queue.declare", queue="amq.foo", passive=True)

    def test_no_queue_was_declared_on_this_channel(self):
        for method, args in (("queue.purge", {}), ("basic.get", {}), ("basic.consume", {}),
                             ("queue.bind", {"exchange": "amq.direct"}), ("queue.delete", {})):
            self.refuse(404, NO_LAST_QUEUE, method, queue="", **args)

    def test_exchanges(self):
        for name in ("missing", "amq.nosuch"):
            self.refuse(404, NO_EXCHANGE % name, "exchange.declare", exchange=name, passive=True)

    def test_bindings(self):
        q, x = self.made_queue(), self.made_exchange()
        self.refuse(404, NO_QUEUE % "missing", "queue.bind", queue="missing", exchange=x)
        self.refuse(404, NO_EXCHANGE % "missing", "queue.bind", queue=q, exchange="missing")
        self.refuse(404, NO_EXCHANGE % "nox", "queue.bind", queue="noq", exchange="nox")
        self.refuse(404, NO_EXCHANGE % "missing", "exchange.bind", destination="missing", source=x)
        self.refuse(404, NO_EXCHANGE % "missing", "exchange.bind", destination=x, source="missing")
        self.refuse(404, NO_EXCHANGE % "no2", "exchange.bind", destination="no1", source="no2")

    def test_publishing_to_a_missing_exchange(self):
        ch = self.conn.channel()
        ch.publish("missing", "k", b"body")
        ch.expect_close(404, NO_EXCHANGE % "missing", "basic.publish")

    def test_taking_away_what_is_not_there_succeeds(self):
        q, x = self.made_queue(), self.made_exchange()
        self.assertEqual(self.accept("queue.delete", queue="missing").message_count, 0)
        self.accept("exchange.delete", exchange="missing")
        self.accept("queue.unbind", queue=q, exchange=x, routing_key="nothing")
        self.accept("queue.unbind", queue=q, exchange="missing")
        self.accept("queue.unbind", queue="missing", exchange=x)
        self.accept("exchange.unbind", destination=x, source="amq.fanout")
        self.assertEqual(self.accept("basic.cancel", consumer_tag="nope").consumer_tag, "nope")


class Refused(Base):
    def test_reserved_names(self):
        self.refuse(403, "ACCESS_REFUSED - queue name 'amq.foo' contains reserved prefix 'amq.*'",
                    "queue.declare", queue="amq.foo")
        self.refuse(403, "ACCESS_REFUSED - exchange name 'amq.foo' contains reserved prefix "
                         "'amq.*'", "exchange.declare", exchange="amq.foo", type="direct")

    def test_the_default_exchange_is_not_to_be_touched(self):
        q, x = self.made_queue(), self.made_exchange()
        refuse = lambda method, **args: self.refuse(403, DEFAULT_EXCHANGE, method, **args)
        refuse("queue.bind", queue=q, exchange="", routing_key=q)
        refuse("queue.unbind", queue=q, exchange="", routing_key=q)
        refuse("exchange.declare", exchange="", type="direct")
        refuse("exchange.declare", exchange="", passive=True)
        refuse("exchange.delete", exchange="")
        refuse("exchange.bind", destination="", source=x)
        refuse("exchange.bind", destination=x, source="")

    def test_predeclared_exchanges_stay(self):
        for name in ("amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.match"):
            self.refuse(403, "ACCESS_REFUSED - deletion of system exchange '%s' in vhost '/' not "
                             "allowed" % name, "exchange.delete", exchange=name)

    def test_internal_exchanges_take_no_messages_from_clients(self):
        x = self.made_exchange(type="fanout", internal=True)
        ch = self.conn.channel()
        ch.publish(x, "", b"body")
        ch.expect_close(403, "ACCESS_REFUSED - cannot publish to internal exchange '%s' in vhost "
                             "'/'" % x, "basic.publish")

    def test_one_consumer_alone(self):
        text = "ACCESS_REFUSED - queue '%s' in vhost '/' in exclusive use"
        q = self.made_queue()
        tag = self.ch.consume(q, exclusive=True)
        self.refuse(403, text % q, "basic.consume", queue=q)
        self.ch.call("basic.cancel", consumer_tag=tag)
        self.ch.consume(q)
        self.refuse(403, text % q, "basic.consume", queue=q, exclusive=True)

    def test_somebody_elses_name_on_a_message(self):
        ch = self.conn.channel()
        ch.publish("", "nowhere", b"x", {"user_id": "other"})
        ch.expect_close(406, "PRECONDITION_FAILED - user_id property set to 'other' but "
                             "authenticated user was 'guest'", "basic.publish")
        self.ch.publish("", "nowhere", b"x", {"user_id": "guest"})
        self.ch.barrier()


class Locked(Base):
    def test_an_exclusive_queue_is_there_for_its_connection_only(self):
        q = self.name()
        owner = self.connect()
        owner.channel().declare(q, exclusive=True)
        for args in ({}, {"exclusive": True}, {"passive": True}):
            self.refuse(405, LOCKED % q, "queue.declare", queue=q, **args)
        for method, args in (("queue.bind", {"exchange": "amq.direct"}), ("queue.purge", {}),
                             ("queue.delete", {}), ("basic.get", {}), ("basic.consume", {})):
            self.refuse(405, LOCKED % q, method, queue=q, **args)
        owner.channel().declare(q, exclusive=True)  # another channel of the owner
        owner.channel().declare(q, passive=True)

    def test_anybody_may_publish_to_it(self):
        owner = self.channel()
        q = owner.queue()
        self.ch.publish("", q, b"for you")
        self.ch.barrier()
        self.assertEqual(owner.get(q).body, b"for you")

    def test_exclusive_where_it_is_not(self):
        q = self.made_queue()
        self.refuse(405, LOCKED % q, "queue.declare", queue=q, exclusive=True)


class Inequivalent(Base):
    def test_queues(self):
        q, durable = self.made_queue("plain"), self.made_queue("durable", durable=True)
        for arg in ("durable", "auto_delete"):
            self.refuse(406, INEQUIVALENT % (arg, "queue", q, "'true'", "'false'"),
                        "queue.declare", queue=q, **{arg: True})
        self.refuse(406, INEQUIVALENT % ("durable", "queue", durable, "'false'", "'true'"),
                    "queue.declare", queue=durable)

    def test_queue_arguments(self):
        q, plain = self.made_queue(arguments={"x-expires": 60000, "x-max-length": 10}), \
            self.made_queue("plain")
        refuse = lambda queue, arg, got, want, **args: self.refuse(
            406, INEQUIVALENT % (arg, "queue", queue, got, want), "queue.declare", queue=queue,
            arguments=args)
        none, sixty = "none", "the value '60000' of type 'signedint'"
        refuse(q, "x-expires", none, sixty)
        refuse(q, "x-max-length", "'11'", "'10'", **{"x-expires": 60000, "x-max-length": 11})
        refuse(plain, "x-expires", "the value '1000' of type 'signedint'", none,
               **{"x-expires": 1000})
        # The same number in another width is the same, and what it does not know it ignores.
        self.accept("queue.declare", queue=q, arguments={
            "x-expires": wire.Tagged("l", 60000), "x-max-length": wire.Tagged("b", 10), "x-foo": 1})
        self.accept("queue.declare", queue=plain, arguments={"x-foo": 1})

    def test_exchanges(self):
        x = self.made_exchange()
        text = lambda arg, got, want: INEQUIVALENT % (arg, "exchange", x, got, want)
        declare = dict(method="exchange.declare", exchange=x)
        self.refuse(406, text("type", "'fanout'", "'direct'"), type="fanout", **declare)
        for arg in ("durable", "auto_delete", "internal"):
            self.refuse(406, text(arg, "'true'", "'false'"), type="direct",
                        **{arg: True}, **declare)
        self.refuse(406, text("alternate-exchange", "the value 'foo' of type 'longstr'", "none"),
                    type="direct", arguments={"alternate-exchange": "foo"}, **declare)
        self.accept("exchange.declare", exchange=x, type="direct", arguments={"foo": "bar"})
        self.accept("exchange.declare", exchange=x, type="anything", passive=True)

    def test_predeclared_exchanges(self):
        for name, kind in (("direct", "direct"), ("fanout", "fanout"), ("topic", "topic"),
                           ("headers", "headers"), ("match", "headers")):
            self.accept("exchange.declare", exchange="amq." + name, type=kind, durable=True)
            self.accept("exchange.declare", exchange="amq." + name, passive=True)
        self.refuse(406, INEQUIVALENT % ("type", "exchange", "amq.direct", "'fanout'", "'direct'"),
                    "exchange.declare", exchange="amq.direct", type="fanout", durable=True)


class Preconditions(Base):
    def test_invalid_queue_arguments(self):
        text = "PRECONDITION_FAILED - invalid arg '%s' for queue '%s' in vhost '/': %s"
        for arg, value, why in (
                ("x-expires", 0, "{value_zero,0}"),
                ("x-expires", "a", '"expected integer, got longstr"'),
                ("x-message-ttl", -1, "{value_negative,-1}"),
                ("x-max-length", -1, "{value_negative,-1}"),
                ("x-max-length", "a", '"expected integer, got longstr"'),
                ("x-max-length-bytes", -5, "{value_negative,-5}"),
                ("x-max-priority", 300, "{max_value_exceeded,300}"),
                ("x-max-priority", -1, "{value_negative,-1}"),
                ("x-overflow", "foo", "invalid_overflow"),
                ("x-dead-letter-routing-key", "k", "routing_key_but_no_dlx_defined"),
                ("x-queue-mode", "foo", '"unsupported queue mode \'foo\'"'),
                ("x-single-active-consumer", 1, "{unacceptable_type,signedint}")):
            q = self.name()
            self.refuse(406, text % (arg, q, why), "queue.declare", queue=q, arguments={arg: value})
        q = self.name()
        self.refuse(406, "PRECONDITION_FAILED - invalid type 'signedint' for arg "
                         "'x-dead-letter-exchange' in queue '%s' in vhost '/'" % q,
                    "queue.declare", queue=q, arguments={"x-dead-letter-exchange": 1})

    def test_unknown_delivery_tags(self):
        for method, tag, more in (("basic.ack", 1, {}), ("basic.ack", 0, {}), ("basic.nack", 7, {}),
                                  ("basic.reject", 3, {}), ("basic.ack", 9, {"multiple": True}),
                                  ("basic.nack", 2**64 - 1, {"multiple": True})):
            self.refuse(406, "PRECONDITION_FAILED - unknown delivery tag %d" % tag, method,
                        delivery_tag=tag, **more)
        self.ch.ack(0, multiple=True)  # "all so far", of which there are none
        self.ch.barrier()

    def test_delivery_modes_are_one_and_two(self):
        for mode in (0, 3, 255):
            with self.subTest(mode=mode):
                ch = self.conn.channel()
                ch.publish("", "nowhere", b"x", {"delivery_mode": mode})
                ch.expect_close(406, "PRECONDITION_FAILED - invalid message: "
                                     "{delivery_mode_unknown,%d}" % mode, "basic.publish")

    def test_expirations_are_numbers_of_milliseconds(self):
        for value, why in (("abc", "no_integer"), ("-1", "{value_negative,-1}")):
            with self.subTest(value=value):
                ch = self.conn.channel()
                ch.publish("", "nowhere", b"x", {"expiration": value})
                ch.expect_close(406, "PRECONDITION_FAILED - invalid expiration '%s': %s" % (
                    value, why), "basic.publish")

    def test_in_use_or_not_empty(self):
        q, x = self.made_queue(), self.made_exchange()
        self.ch.bind(q, x, "k")
        self.refuse(406, "PRECONDITION_FAILED - exchange '%s' in vhost '/' in use" % x,
                    "exchange.delete", exchange=x, if_unused=True)
        self.ch.publish("", q, b"x")
        self.refuse(406, "PRECONDITION_FAILED - queue '%s' in vhost '/' not empty" % q,
                    "queue.delete", queue=q, if_empty=True)
        self.channel().consume(q)
        self.refuse(406, "PRECONDITION_FAILED - queue '%s' in vhost '/' in use" % q,
                    "queue.delete", queue=q, if_unused=True)

    def test_x_match(self):
        q = self.made_queue()
        bind = dict(method="queue.bind", queue=q, exchange="amq.headers")
        self.refuse(406, 'PRECONDITION_FAILED - Invalid x-match field value <<"foo">>; expected '
                         'all, any, all-with-x, or any-with-x',
                    arguments={"x-match": "foo"}, **bind)
        self.refuse(406, 'PRECONDITION_FAILED - Invalid x-match field value <<>>; expected '
                         'all, any, all-with-x, or any-with-x', arguments={"x-match": ""}, **bind)
        self.refuse(406, "PRECONDITION_FAILED - Invalid x-match field type signedint (value 1); "
                         "expected longstr", arguments={"x-match": 1}, **bind)


class LongTexts(Base):
    def test_a_text_too_long_for_its_field_ends_in_dots(self):
        q = self.name("n" * 200)
        self.refuse(404, NO_QUEUE % q, "basic.get", queue=q)
        q = self.name("n" * 240)
        self.refuse(404, (NO_QUEUE % q)[:252] + "...", "basic.get", queue=q)


class Hard(Base):
    """Mistakes that cost the whole connection."""

    def test_not_implemented(self):
        self.refuse_hard(540, "NOT_IMPLEMENTED - prefetch_size!=0 (1)", "basic.qos",
                         prefetch_size=1)
        self.refuse_hard(540, "NOT_IMPLEMENTED - active=false", "channel.flow", active=False)
        for method in ("basic.recover", "basic.recover_async"):
            self.refuse_hard(540, "NOT_IMPLEMENTED - requeue=false", method, requeue=False)
        conn = self.connect()
        conn.channel().publish("", "nowhere", b"x", immediate=True)
        conn.expect_close(540, "NOT_IMPLEMENTED - immediate=true", "basic.publish")

    def test_unknown_exchange_types(self):
        self.refuse_hard(503, "COMMAND_INVALID - unknown exchange type 'nosuch'",
                         "exchange.declare", exchange=self.name(), type="nosuch")
        self.refuse_hard(503, "COMMAND_INVALID - invalid exchange type ''", "exchange.declare",
                         exchange=self.name(), type="")

    def test_consumer_tag_in_use(self):
        q = self.made_queue()
        self.refuse_hard(530, "NOT_ALLOWED - attempt to reuse consumer tag 't'", "basic.consume",
                         before=[("basic.consume", {"queue": q, "consumer_tag": "t"})],
                         queue=q, consumer_tag="t")

    def test_the_same_tag_on_two_channels_is_fine(self):
        q = self.made_queue()
        for _ in range(2):
            self.assertEqual(self.conn.channel().consume(q, "t"), "t")
