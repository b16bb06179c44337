"""One consumer at a time: x-single-active-consumer, and exclusive consumers."""

from harness.case import Case, only
from harness.waits import wait_until

THREADS = True
REMOTE = True


class Base(Case):
    def setUp(self):
        super().setUp()
        self.ch = self.channel()

    def open_queue(self, **arguments):
        q = self.name()
        self.ch.declare(q, arguments=arguments)
        self.addCleanup(self.drop, q)
        return q

    def drop(self, q):
        ch = self.channel()
        ch.call("queue.delete", queue=q)
        ch.conn.close()

    def consumer(self, q, prefetch=0, **args):
        ch = self.channel()
        if prefetch:
            ch.call("basic.qos", prefetch_count=prefetch)
        ch.tag = ch.consume(q, **args)
        return ch

    def publish(self, q, *bodies):
        for body in bodies:
            self.ch.publish("", q, body)
        self.ch.barrier()

    def bodies(self, ch, n):
        return [m.body for m in ch.deliveries(n)]


class SingleActive(Base):
    def single(self, **more):
        return self.open_queue(**{"x-single-active-consumer": True}, **more)

    def test_the_first_gets_all(self):
        q = self.single()
        a, b = self.consumer(q), self.consumer(q)
        self.publish(q, b"0", b"1", b"2")
        self.assertEqual(self.bodies(a, 3), [b"0", b"1", b"2"])
        b.expect_silence()

    def test_nobody_else_though_it_has_no_room(self):
        q = self.single()
        a, b = self.consumer(q, prefetch=1), self.consumer(q)
        self.publish(q, b"0", b"1")
        self.assertEqual(self.bodies(a, 1), [b"0"])
        b.expect_silence()
        a.ack(1)
        self.assertEqual(self.bodies(a, 1), [b"1"])

    def test_the_next_when_it_cancels(self):
        q = self.single()
        a, b, c = self.consumer(q), self.consumer(q), self.consumer(q)
        self.publish(q, b"0")
        self.assertEqual(self.bodies(a, 1), [b"0"])
        a.call("basic.cancel", consumer_tag=a.tag)
        self.publish(q, b"1")
        self.assertEqual(self.bodies(b, 1), [b"1"])
        c.expect_silence(0.1)
        a.ack(1)  # what it had is still its own
        a.barrier()

    def test_what_it_had_when_its_channel_or_connection_goes(self):
        q = self.single()
        a, b, c = self.consumer(q), self.consumer(q), self.consumer(q)
        self.publish(q, b"0", b"1")
        self.bodies(a, 2)
        a.close()
        ms = b.deliveries(2)
        self.assertEqual([(m.body, m.redelivered) for m in ms], [(b"0", True), (b"1", True)])
        b.conn.close()
        self.assertEqual(self.bodies(c, 2), [b"0", b"1"])

    def test_the_order_is_kept_when_one_goes(self):
        """The next one gets what the former had, and only then what came later."""
        q = self.single()
        bodies = [b"%d" % i for i in range(600)]
        for how in ("channel", "connection", "socket"):
            conn = self.connect()
            conn.channel()  # what ends first must not hand out what the next one still holds
            a = conn.channel()
            a.call("basic.qos", prefetch_count=300)
            a.consume(q)
            b = self.consumer(q)
            self.publish(q, *bodies)
            self.assertEqual(self.bodies(a, 300), bodies[:300])
            if how == "channel":
                a.close()
            elif how == "connection":
                a.conn.close()
            else:
                a.conn.sock.close()
            got = b.deliveries(600)
            self.assertEqual([m.body for m in got], bodies, how)
            self.assertEqual([m.redelivered for m in got], [True] * 300 + [False] * 300)
            b.ack(600, multiple=True)
            b.conn.close()

    def test_the_order_is_kept_though_some_are_on_their_way(self):
        for _ in range(8):
            q = self.single()
            bodies = [b"%d" % i for i in range(2000)]
            self.publish(q, *bodies)
            a, b = self.channel(), self.channel()
            a.send("basic.consume", queue=q, consumer_tag="a")
            a.expect("basic.consume_ok")
            b.consume(q)
            a.conn.sock.close()
            self.assertEqual([m.body for m in b.deliveries(2000)], bodies)

    def test_one_that_goes_without_being_active(self):
        q = self.single()
        a, b, c = self.consumer(q), self.consumer(q), self.consumer(q)
        b.conn.close()
        self.publish(q, b"0")
        self.assertEqual(self.bodies(a, 1), [b"0"])
        a.conn.close()
        self.assertEqual(self.bodies(c, 1), [b"0"])

    @only("broker", "proxy", "threads", "remote")
    def test_what_waits_is_the_next_ones(self):
        """RabbitMQ does not look at its queue before something else happens to it, and when a
        message comes then, the queue's process crashes."""
        q = self.single()
        a, b = self.consumer(q, prefetch=1), self.consumer(q)
        self.publish(q, b"0", b"1", b"2")
        self.bodies(a, 1)
        a.call("basic.cancel", consumer_tag=a.tag)
        self.assertEqual(self.bodies(b, 2), [b"1", b"2"])

    def test_the_highest_priority_follows_but_takes_nothing_away(self):
        q = self.single()
        a = self.consumer(q)
        low = self.consumer(q, arguments={"x-priority": 1})
        high = self.consumer(q, arguments={"x-priority": 9})
        self.publish(q, b"0")
        self.assertEqual(self.bodies(a, 1), [b"0"])
        a.ack(1)
        a.close()
        self.publish(q, b"1")
        self.assertEqual(self.bodies(high, 1), [b"1"])
        low.expect_silence(0.1)

    def test_a_get_is_served_all_the_same(self):
        q = self.single()
        self.publish(q, b"0")
        wait_until(lambda: self.ch.declare(q, passive=True).message_count == 1, "ready")
        self.assertEqual(self.ch.get(q).body, b"0")

    def test_no_exclusive_ones(self):
        q = self.single()
        ch = self.channel()
        ch.send("basic.consume", queue=q, exclusive=True)
        ch.expect_close(403, "ACCESS_REFUSED - queue '%s' in vhost '/' in exclusive use" % q,
                        "basic.consume")

    def test_two_on_one_channel(self):
        q = self.single()
        ch = self.channel()
        first, second = ch.consume(q), ch.consume(q)
        self.publish(q, b"0")
        self.assertEqual(ch.expect("basic.deliver").consumer_tag, first)
        ch.call("basic.cancel", consumer_tag=first)
        self.publish(q, b"1")
        self.assertEqual(ch.expect("basic.deliver").consumer_tag, second)


class Exclusive(Base):
    REFUSED = "ACCESS_REFUSED - queue '%s' in vhost '/' in exclusive use"

    def test_nobody_beside_it(self):
        q = self.open_queue()
        self.consumer(q, exclusive=True)
        for exclusive in (False, True):
            ch = self.channel()
            ch.send("basic.consume", queue=q, exclusive=exclusive)
            ch.expect_close(403, self.REFUSED % q, "basic.consume")

    def test_not_beside_others(self):
        q = self.open_queue()
        a = self.consumer(q)
        ch = self.channel()
        ch.send("basic.consume", queue=q, exclusive=True)
        ch.expect_close(403, self.REFUSED % q, "basic.consume")
        a.call("basic.cancel", consumer_tag=a.tag)
        b = self.consumer(q, exclusive=True)
        self.publish(q, b"0")
        self.assertEqual(self.bodies(b, 1), [b"0"])

    def test_free_again_when_it_goes(self):
        q = self.open_queue()
        a = self.consumer(q, exclusive=True)
        a.conn.close()
        b = self.consumer(q)
        self.publish(q, b"0")
        self.assertEqual(self.bodies(b, 1), [b"0"])

    def test_gets_are_not_refused(self):
        q = self.open_queue()
        self.consumer(q, prefetch=1, exclusive=True)
        self.publish(q, b"0", b"1")
        wait_until(lambda: self.ch.declare(q, passive=True).message_count == 1, "ready")
        self.assertEqual(self.ch.get(q).body, b"1")
