"""Queues that may not grow: x-max-length, x-max-length-bytes, x-overflow."""

from harness.queues import QueueCase

THREADS = True
REMOTE = True


class Base(QueueCase):
    def fill(self, q, bodies):
        for body in bodies:
            self.ch.publish("", q, body)
        self.ch.barrier()

    def numbers(self, *which):
        return [b"%d" % i for i in which]

    def confirmed(self, q, bodies):
        """True, False for each: acked, nacked."""
        ch = self.conn.channel()
        ch.call("confirm.select")
        out = []
        for n, body in enumerate(bodies, 1):
            ch.publish("", q, body)
            event = ch.next()
            self.assertIn(event.name, ("basic.ack", "basic.nack"))
            self.assertEqual(event.delivery_tag, n)
            out.append(event.name == "basic.ack")
        ch.close()
        return out


class DropHead(Base):
    def test_the_oldest_go(self):
        q = self.queue(x_max_length=3)
        self.fill(q, self.numbers(*range(10)))
        self.wait_ready(q, 3)
        self.assertEqual(self.ch.get_all(q), self.numbers(7, 8, 9))

    def test_by_octets(self):
        q = self.queue(x_max_length_bytes=10)
        self.fill(q, [b"12345", b"67890", b"abc"])
        self.wait_ready(q, 2)
        self.assertEqual(self.ch.get_all(q), [b"67890", b"abc"])

    def test_one_that_is_too_large_alone_goes_with_all_before_it(self):
        q = self.queue(x_max_length_bytes=10)
        self.fill(q, [b"1", b"2", b"x" * 11])
        self.wait_ready(q, 0)

    def test_by_both(self):
        q = self.queue(x_max_length=2, x_max_length_bytes=10)
        self.fill(q, [b"1", b"2", b"3"])
        self.wait_ready(q, 2)
        self.fill(q, [b"123456789"])
        self.assertEqual(self.ch.get_all(q), [b"3", b"123456789"])

    def test_none_may_wait(self):
        q = self.queue(x_max_length=0)
        self.fill(q, [b"lost"])
        self.wait_ready(q, 0)
        self.ch.consume(q, no_ack=True)
        self.fill(q, [b"seen"])
        self.assertEqual(self.ch.expect("basic.deliver").body, b"seen")

    def test_what_is_out_does_not_count(self):
        q = self.queue(x_max_length=2)
        self.fill(q, self.numbers(0, 1))
        out = [self.ch.get(q, no_ack=False) for _ in range(2)]
        self.fill(q, self.numbers(2, 3))
        self.assertEqual(self.ready(q), 2)
        # Back at the head they are the first that are too many.
        self.ch.send("basic.nack", delivery_tag=out[1].delivery_tag, multiple=True, requeue=True)
        self.wait_ready(q, 2)
        self.assertEqual(self.ch.get_all(q), self.numbers(2, 3))

    def test_confirmed_all_the_same(self):
        q = self.queue(x_max_length=1)
        self.assertEqual(self.confirmed(q, self.numbers(0, 1, 2)), [True] * 3)


class RejectPublish(Base):
    def queue(self, **arguments):
        return super().queue(x_overflow="reject-publish", **arguments)

    def test_the_newest_is_refused(self):
        q = self.queue(x_max_length=2)
        self.assertEqual(self.confirmed(q, self.numbers(0, 1, 2, 3)), [True, True, False, False])
        self.assertEqual(self.ch.get(q).body, b"0")
        self.assertEqual(self.confirmed(q, self.numbers(4, 5)), [True, False])
        self.assertEqual(self.ch.get_all(q), self.numbers(1, 4))

    def test_by_octets(self):
        q = self.queue(x_max_length_bytes=10)
        self.assertEqual(self.confirmed(q, [b"123456", b"12345", b"1234", b"1"]),
                         [True, False, True, False])
        self.assertEqual(self.ch.get_all(q), [b"123456", b"1234"])

    def test_without_confirms_it_is_gone(self):
        q = self.queue(x_max_length=1)
        self.fill(q, self.numbers(0, 1, 2))
        self.wait_ready(q, 1)
        self.assertEqual(self.ch.get_all(q), [b"0"])

    def test_what_is_out_does_not_count(self):
        q = self.queue(x_max_length=1)
        self.fill(q, self.numbers(0))
        m = self.ch.get(q, no_ack=False)
        self.assertEqual(self.confirmed(q, self.numbers(1, 2)), [True, False])
        self.ch.send("basic.reject", delivery_tag=m.delivery_tag, requeue=True)
        self.wait_ready(q, 2)  # what comes back is not refused

    def test_even_for_a_consumer_that_waits(self):
        q = self.queue(x_max_length=0)
        self.ch.consume(q, no_ack=True)
        self.assertEqual(self.confirmed(q, [b"m"]), [False])
        self.ch.expect_silence()

    def test_one_queue_of_several(self):
        full, free = self.queue(x_max_length=0), self.ch.queue()
        x = self.name("x")
        self.ch.call("exchange.declare", exchange=x, type="fanout", auto_delete=True)
        self.ch.bind(full, x)
        self.ch.bind(free, x)
        self.ch.call("confirm.select")
        self.ch.publish(x, "", b"m")
        self.ch.expect("basic.nack", delivery_tag=1)
        self.wait_ready(free, 1)

    def test_many_nacks(self):
        q = self.queue(x_max_length=0)
        ch = self.conn.channel()
        ch.call("confirm.select")
        for i in range(200):
            ch.publish("", q, b"m")
        nacked = set()
        while len(nacked) < 200:
            event = ch.expect("basic.nack")
            nacked |= set(range(1, event.delivery_tag + 1)) if event.multiple \
                else {event.delivery_tag}
        self.assertEqual(nacked, set(range(1, 201)))

    def test_mandatory_is_no_return(self):
        q = self.queue(x_max_length=0)
        self.ch.call("confirm.select")
        self.ch.publish("", q, b"m", mandatory=True)
        self.ch.expect("basic.nack", delivery_tag=1)


class RejectPublishDlx(Base):
    def test_refused_and_dead_lettered(self):
        dead = self.ch.queue()
        q = self.queue(x_max_length=1, x_overflow="reject-publish-dlx",
                       x_dead_letter_exchange="", x_dead_letter_routing_key=dead)
        self.assertEqual(self.confirmed(q, self.numbers(0, 1, 2)), [True, False, False])
        self.wait_ready(dead, 2)
        m = self.ch.get(dead)
        self.assertEqual(m.body, b"1")
        self.assertEqual(m.props["headers"]["x-first-death-reason"], "maxlen")
        self.assertEqual(self.ch.get_all(q), [b"0"])
