"""Publishing: mandatory and return, confirms, and that one cannot be told from the other."""

import wire
from harness.case import Case, only
from harness.waits import wait_until

THREADS = True
REMOTE = True


class Base(Case):
    def setUp(self):
        super().setUp()
        self.conn = self.connect()
        self.ch = self.conn.channel()


class Mandatory(Base):
    def test_unroutable_comes_back_whole(self):
        props = {"content_type": "a/b", "headers": {"k": [1, None]}, "message_id": "7"}
        body = bytes(range(256)) * 600  # more than one frame
        self.ch.publish("amq.direct", self.name("nowhere"), body, props, mandatory=True)
        m = self.ch.expect("basic.return", reply_code=312, reply_text="NO_ROUTE",
                           exchange="amq.direct")
        self.assertEqual((m.body, m.props), (body, props))
        self.assertTrue(m.routing_key.startswith("nowhere"))

    def test_routable_does_not_and_not_mandatory_is_dropped(self):
        q = self.ch.queue()
        self.ch.publish("", q, b"x", mandatory=True)
        self.ch.publish("", "nowhere", b"y")
        self.ch.barrier()
        self.ch.expect_silence(0.05)

    def test_to_a_queue_that_is_gone(self):
        q = self.ch.queue()
        self.ch.publish("", q, b"1", mandatory=True)
        self.ch.call("queue.delete", queue=q)
        self.ch.publish("", q, b"2", mandatory=True)
        self.assertEqual(self.ch.expect("basic.return").body, b"2")

    def test_returns_come_in_order(self):
        for i in range(50):
            self.ch.publish("", "nowhere", b"%d" % i, mandatory=True)
        self.assertEqual([int(self.ch.expect("basic.return").body) for _ in range(50)],
                         list(range(50)))


class Confirm(Base):
    def setUp(self):
        super().setUp()
        self.ch.call("confirm.select")

    def acked(self, n):
        """The numbers of the first n confirms; none may come twice."""
        acked = set()
        while len(acked) < n:
            event = self.ch.expect("basic.ack")
            first = 1 if event.multiple else event.delivery_tag
            new = set(range(first, event.delivery_tag + 1)) - acked
            self.assertTrue(new, "acked again: %r" % event)
            acked |= new
        return acked

    def test_each_is_confirmed_with_its_number(self):
        q = self.ch.queue()
        for number in (1, 2, 3):
            self.ch.publish("", q, b"x")
            self.ch.expect("basic.ack", delivery_tag=number)

    def test_a_thousand_each_exactly_once(self):
        q = self.ch.queue()
        for i in range(1000):
            self.ch.publish("", q, b"%d" % i)
        self.assertEqual(self.acked(1000), set(range(1, 1001)))
        self.assertEqual(len(self.ch.get_all(q)), 1000)

    def test_unroutable_is_confirmed_too(self):
        self.ch.publish("amq.direct", self.name("nowhere"), b"x")
        self.ch.expect("basic.ack", delivery_tag=1)

    def test_the_return_comes_before_the_ack(self):
        for number in (1, 2, 3):
            self.ch.publish("", "nowhere", b"x", mandatory=True)
            self.ch.expect("basic.return")
            self.ch.expect("basic.ack", delivery_tag=number)

    def test_one_that_goes_to_many_queues_is_confirmed_once(self):
        x = self.name("x")
        self.ch.call("exchange.declare", exchange=x, type="fanout", auto_delete=True)
        for _ in range(20):
            self.ch.bind(self.ch.queue(), x)
        self.ch.publish(x, "", b"x")
        self.ch.expect("basic.ack", delivery_tag=1)
        self.ch.barrier()
        self.ch.expect_silence(0.05)

    def test_numbers_count_from_the_select_of_the_channel(self):
        other = self.conn.channel()
        q = self.ch.queue()
        other.publish("", q, b"before")
        other.call("confirm.select")
        other.publish("", q, b"after")
        other.expect("basic.ack", delivery_tag=1)

    def test_selecting_twice_changes_nothing(self):
        self.ch.publish("", "nowhere", b"x")
        self.ch.expect("basic.ack", delivery_tag=1)
        self.ch.call("confirm.select")
        self.ch.publish("", "nowhere", b"x")
        self.ch.expect("basic.ack", delivery_tag=2)

    def test_select_nowait(self):
        other = self.conn.channel()
        other.send("confirm.select", nowait=True)
        other.publish("", "nowhere", b"x")
        other.expect("basic.ack", delivery_tag=1)

    def test_confirms_and_deliveries_on_one_channel(self):
        q = self.ch.queue()
        self.ch.consume(q, no_ack=True)
        for i in range(100):
            self.ch.publish("", q, b"%d" % i)
        acked, bodies = set(), []
        while len(acked) < 100 or len(bodies) < 100:
            event = self.ch.next()
            if event.name == "basic.deliver":
                bodies.append(int(event.body))
            else:
                first = 1 if event.multiple else event.delivery_tag
                acked |= set(range(first, event.delivery_tag + 1))
        self.assertEqual(bodies, list(range(100)))

    def test_an_error_of_one_publish_does_not_unsay_the_others(self):
        q = self.name()
        self.ch.declare(q)
        conn = self.connect()
        conn.send(b"".join([wire.method_frame(1, "channel.open"),
                            wire.method_frame(1, "confirm.select")]))
        for _ in range(3):
            conn.send(wire.method_frame(1, "basic.publish", routing_key=q) +
                      wire.content_frames(1, b"good"))
        conn.send(wire.method_frame(1, "basic.publish", exchange="missing", routing_key=q) +
                  wire.content_frames(1, b"bad"))
        while True:
            event = conn.next()
            if event.name == "channel.close":
                break
        self.assertEqual(event.reply_code, 404)
        self.ch.barrier()
        self.assertEqual(self.ch.get_all(q), [b"good"] * 3)
        self.ch.call("queue.delete", queue=q)


class Refusing(Base):
    """A full queue that rejects what is published: nack, among acks and returns."""

    def setUp(self):
        super().setUp()
        self.ch.call("confirm.select")
        self.full, self.open = self.name("full"), self.name("open")
        self.ch.declare(self.full, arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
        self.ch.declare(self.open)

    def answers(self, n):
        """Verdicts of the first n publishes by number; each is given once. And all events."""
        told, events = {}, []
        while len(told) < n:
            event = self.ch.next()
            events.append(event)
            if event.name == "basic.return":
                continue
            first = 1 if event.multiple else event.delivery_tag
            new = [i for i in range(first, event.delivery_tag + 1) if i not in told]
            self.assertTrue(new, event)
            told.update((i, event.name[6:]) for i in new)
        return told, events

    def send(self, *keys, **opts):
        self.ch.conn.send(b"".join(
            wire.method_frame(1, "basic.publish", routing_key=k, **opts) +
            wire.content_frames(1, b"x") for k in keys))

    def test_a_nack_for_each(self):
        self.send(*[self.full] * 50)
        told, _ = self.answers(50)
        self.assertEqual(told, {i: "nack" for i in range(1, 51)})
        self.assertEqual(self.ch.get_all(self.full), [])

    def test_mixed(self):
        keys = [self.open, self.full, "nowhere", self.open, self.open, self.full] * 20
        self.send(*keys, mandatory=True)
        told, events = self.answers(len(keys))
        self.assertEqual(told, {i + 1: "nack" if k == self.full else "ack"
                                for i, k in enumerate(keys)})
        self.assertEqual(sum(e.name == "basic.return" for e in events), 20)

    def test_one_queue_of_two_refuses(self):
        self.ch.bind(self.full, "amq.fanout")
        self.ch.bind(self.open, "amq.fanout")
        self.ch.publish("amq.fanout", "", b"x")
        self.ch.expect("basic.nack", delivery_tag=1, requeue=True)  # whatever that means
        self.assertEqual(self.ch.get_all(self.open), [b"x"])

    def test_without_confirms_nobody_is_told(self):
        ch = self.conn.channel()
        ch.publish("", self.full, b"x", mandatory=True)
        ch.barrier()
        ch.expect_silence(0.05)


class Flow(Base):
    def test_flow_active_is_answered(self):
        self.ch.send("channel.flow", active=True)
        self.ch.expect("channel.flow_ok", active=True)


class Newborn(Case):
    """A queue can be used from the moment it can be found."""

    def setUp(self):
        super().setUp()
        self.maker = self.channel()

    def test_nothing_is_lost_while_a_queue_is_being_declared(self):
        ch, burst = self.channel(), 4000
        for _ in range(15):
            q = self.name()
            one = wire.method_frame(1, "basic.publish", routing_key=q, mandatory=True) + \
                wire.content_frames(1, b"x")
            self.maker.send("queue.declare", queue=q)
            ch.conn.send(one * burst + wire.method_frame(1, "channel.flow", active=True))
            self.maker.expect("queue.declare_ok")
            returned = 0
            while ch.next().name == "basic.return":
                returned += 1
            # Two connections: what one has sent may be on its way when the other asks.
            wait_until(lambda: returned + self.maker.declare(q, passive=True).message_count ==
                       burst, "%d returned, the rest of %d in the queue" % (returned, burst))
            self.maker.call("queue.delete", queue=q)

    def test_it_can_be_consumed_while_it_is_being_declared(self):
        for _ in range(30):
            conn, q = self.connect(), self.name()
            channels = [conn.channel() for _ in range(50)]
            self.maker.send("queue.declare", queue=q)
            for ch in channels:
                ch.send("basic.consume", queue=q, no_ack=True)
            self.maker.expect("queue.declare_ok")
            consumers = 0
            for ch in channels:
                event = ch.next()
                consumers += event.name == "basic.consume_ok"
            self.assertEqual(self.maker.declare(q, passive=True).consumer_count, consumers)
            self.maker.call("queue.delete", queue=q)
            conn.close()


class LastWords(Case):
    def test_what_was_sent_before_the_end_is_taken(self):
        """A client may close its socket behind its last message, with no word of parting."""
        ch = self.channel()
        for n, body in ((60000, b""), (10000, b"x" * 1500), (3, b"x" * 5000000)) * 3:
            q = self.name()
            ch.declare(q)
            one = wire.method_frame(1, "basic.publish", routing_key=q) + \
                wire.content_frames(1, body)
            declare = wire.method_frame(1, "exchange.declare", exchange=self.name("x"),
                                        type="fanout", nowait=True)
            conn = self.connect()
            conn.channel(1)
            conn.send(one * n + declare + one)
            conn.sock.close()
            wait_until(lambda: ch.declare(q, passive=True).message_count == n + 1, "all of them")
            ch.call("queue.delete", queue=q)

    @only("broker", "proxy")  # across threads they may be under way; RabbitMQ may forget them
    def test_what_was_taken_is_confirmed_before_the_channel_is_closed(self):
        ch = self.channel()
        q = ch.queue()
        ch.call("confirm.select")
        one = wire.method_frame(1, "basic.publish", routing_key=q) + wire.content_frames(1, b"1")
        wrong = wire.method_frame(1, "basic.publish", exchange="is not there") + \
            wire.content_frames(1, b"")
        ch.conn.send(one * 3 + wrong)
        ch.expect("basic.ack", delivery_tag=3, multiple=True)
        ch.expect_close(404)
