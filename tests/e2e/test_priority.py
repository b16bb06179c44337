"""Who comes first: messages with priorities, consumers with priorities."""

from harness.queues import QueueCase

THREADS = True
REMOTE = True


class Base(QueueCase):
    def send(self, q, *priorities):
        """A message for each, whose body is its priority and its number."""
        for n, p in enumerate(priorities):
            self.ch.publish("", q, b"%d.%d" % (p, n), props={"priority": p} if p >= 0 else {})
        self.ch.barrier()
        self.wait_ready(q, len(priorities))


class Messages(Base):
    def test_the_higher_first_and_each_in_order(self):
        q = self.queue(x_max_priority=10)
        self.send(q, 0, 5, 10, 5, -1, 1)
        self.assertEqual(self.ch.get_all(q),
                         [b"10.2", b"5.1", b"5.3", b"1.5", b"0.0", b"-1.4"])

    def test_above_the_highest_is_the_highest(self):
        q = self.queue(x_max_priority=3)
        self.send(q, 3, 200, 4, 2)
        self.assertEqual(self.ch.get_all(q), [b"3.0", b"200.1", b"4.2", b"2.3"])

    def test_without_the_argument_they_mean_nothing(self):
        q = self.queue()
        self.send(q, 0, 200, 4)
        self.assertEqual(self.ch.get_all(q), [b"0.0", b"200.1", b"4.2"])

    def test_all_there_are(self):
        q = self.queue(x_max_priority=255)
        self.send(q, *range(256))
        self.assertEqual(self.ch.get_all(q), [b"%d.%d" % (p, p) for p in reversed(range(256))])

    def test_what_comes_back_keeps_its_place(self):
        q = self.queue(x_max_priority=10)
        self.send(q, 1, 2, 2)
        tags = [self.ch.get(q, no_ack=False).delivery_tag for _ in range(3)]
        for tag in reversed(tags):
            self.ch.send("basic.nack", delivery_tag=tag, requeue=True)
        self.wait_ready(q, 3)
        self.assertEqual(self.ch.get_all(q), [b"2.1", b"2.2", b"1.0"])

    def test_a_consumer_gets_the_best_that_is_left(self):
        q = self.queue(x_max_priority=10)
        self.send(q, 1, 2, 3)
        self.ch.call("basic.qos", prefetch_count=1)
        self.ch.consume(q)
        m = self.ch.expect("basic.deliver")
        self.assertEqual(m.body, b"3.2")
        self.ch.publish("", q, b"new", props={"priority": 9})
        self.wait_ready(q, 3)
        self.ch.ack(m.delivery_tag)
        self.assertEqual(self.ch.expect("basic.deliver").body, b"new")

    def test_purge_takes_all(self):
        q = self.queue(x_max_priority=10)
        self.send(q, 1, 2, 3)
        self.assertEqual(self.ch.call("queue.purge", queue=q).message_count, 3)
        self.send(q, 7)
        self.assertEqual(self.ch.get_all(q), [b"7.0"])

    def test_of_too_many_the_head_goes(self):
        q = self.queue(x_max_priority=10, x_max_length=2)
        for n, p in enumerate((1, 5, 3)):
            self.ch.publish("", q, b"%d" % p, props={"priority": p})
        self.wait_ready(q, 2)
        self.assertEqual(self.ch.get_all(q), [b"3", b"1"])

    def test_arguments_that_are_refused(self):
        for value, what in ((256, "{max_value_exceeded,256}"), (-1, "{value_negative,-1}"),
                            ("x", "\"expected integer, got longstr\"")):
            ch = self.conn.channel()
            q = self.name()
            ch.send("queue.declare", queue=q, arguments={"x-max-priority": value})
            ch.expect_close(406, "PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue "
                                 "'%s' in vhost '/': %s" % (q, what))


class Consumers(Base):
    def consumer(self, q, priority=None, prefetch=0, **args):
        ch = self.channel()
        if prefetch:
            ch.call("basic.qos", prefetch_count=prefetch)
        arguments = {} if priority is None else {"x-priority": priority}
        ch.consume(q, arguments=arguments, **args)
        return ch

    def open_queue(self):
        q = self.name()
        self.ch.declare(q, auto_delete=True)
        self.addCleanup(self.drop, q)
        return q

    def drop(self, q):
        ch = self.channel()
        ch.call("queue.delete", queue=q)
        ch.conn.close()

    def publish(self, q, *bodies):
        for body in bodies:
            self.ch.publish("", q, body)
        self.ch.barrier()

    def test_the_highest_gets_all_while_it_has_room(self):
        q = self.open_queue()
        low, plain = self.consumer(q, -5), self.consumer(q)
        high = self.consumer(q, 10, prefetch=2)
        self.publish(q, b"0", b"1", b"2", b"3")
        self.assertEqual([m.body for m in high.deliveries(2)], [b"0", b"1"])
        self.assertEqual([m.body for m in plain.deliveries(2)], [b"2", b"3"])
        low.expect_silence()
        high.ack(1)
        high.barrier()
        self.publish(q, b"4", b"5")
        self.assertEqual(high.expect("basic.deliver").body, b"4")
        self.assertEqual(plain.expect("basic.deliver").body, b"5")

    def test_equals_take_turns(self):
        q = self.open_queue()
        two = [self.consumer(q, 3), self.consumer(q, 3)]
        self.consumer(q, 2)
        self.publish(q, *[b"%d" % i for i in range(6)])
        self.assertEqual([[m.body for m in c.deliveries(3)] for c in two],
                         [[b"0", b"2", b"4"], [b"1", b"3", b"5"]])

    def test_the_next_one_when_the_highest_goes(self):
        q = self.open_queue()
        low, high = self.consumer(q, 1), self.consumer(q, 2)
        self.publish(q, b"0")
        high.expect("basic.deliver")
        high.conn.close()
        self.assertEqual(low.expect("basic.deliver").redelivered, True)
        self.publish(q, b"1")
        self.assertEqual(low.expect("basic.deliver").body, b"1")

    def test_any_integer(self):
        q = self.open_queue()
        low, high = self.consumer(q, -2 ** 40), self.consumer(q, 2 ** 40)
        self.publish(q, b"0")
        high.expect("basic.deliver")
        low.expect_silence(0.1)

    def test_what_is_no_number(self):
        q = self.ch.queue()
        for value, kind in (("x", "longstr"), (1.5, "double"), (True, "bool")):
            ch = self.conn.channel()
            ch.send("basic.consume", queue=q, arguments={"x-priority": value})
            ch.expect_close(406, "PRECONDITION_FAILED - invalid arg 'x-priority' for queue '%s' "
                                 "in vhost '/': \"expected integer, got %s\"" % (q, kind))

    def test_many_with_different_ones(self):
        q = self.open_queue()
        chs = [self.consumer(q, p, prefetch=1) for p in range(30)]
        self.publish(q, *[b"%d" % i for i in range(30)])
        for i, ch in enumerate(reversed(chs)):
            self.assertEqual(ch.expect("basic.deliver").body, b"%d" % i)
