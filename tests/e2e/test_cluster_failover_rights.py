"""Whose a queue is, and who of its consumers is served, when the node that masters it dies."""

from harness.waits import LONG, Deadline, wait_until
from test_cluster_failover import HERE, Failover, numbered

TARGETS = ("broker",)


class Rights(Failover):
    def is_there(self, queue):
        ch = self.at(self.b)
        ch.send("queue.declare", queue=queue, passive=True)
        event = ch.next(LONG)
        ch.conn.close()
        return event.name == "queue.declare_ok"

    def consuming(self, node, queue, tag, prefetch=0):
        ch = self.at(node)
        if prefetch:
            ch.call("basic.qos", prefetch_count=prefetch)
        ch.consume(queue, tag=tag)
        return ch

    def first_served(self, *channels):
        """Of those, the one to which something came, which it still has before it."""
        deadline = Deadline(LONG)
        while not deadline.passed():
            for ch in channels:
                try:
                    ch.conn.events.appendleft(ch.next(0.05))
                    return ch
                except TimeoutError:
                    pass
        raise AssertionError("nothing came")

    def test_one_at_a_time_has_it(self):
        """Who is the first at the next master, with all that nobody acknowledged."""
        self.at(self.a).declare("m", durable=True,
                                arguments={**HERE, "x-single-active-consumer": True})
        wait_until(lambda: self.in_sync(self.b, "m") == 2, "mirrors", LONG)
        gone = self.consuming(self.a, "m", "gone")
        second = self.consuming(self.c, "m", "second")
        third = self.consuming(self.b, "m", "third")
        publisher = self.confirming(self.b)
        self.publish(publisher, "m", numbered(0, 5))
        held = gone.deliveries(5)
        gone.ack(held[1].delivery_tag, multiple=True)
        gone.barrier()
        gone.call("basic.cancel", consumer_tag="gone")
        self.publish(publisher, "m", numbered(5, 10))
        self.assertEqual([e.body for e in second.deliveries(5)], numbered(5, 10))
        self.a.kill()
        served = self.first_served(second, third)
        other = third if served is second else second
        again = [served.expect("basic.deliver", LONG) for _ in range(8)]
        self.assertEqual([e.body for e in again], numbered(2, 10))
        self.assertTrue(all(e.redelivered for e in again), again)
        other.expect_silence()
        served.ack(again[-1].delivery_tag, multiple=True)
        served.call("basic.cancel", consumer_tag="second" if served is second else "third")
        self.publish(publisher, "m", [b"last"])
        self.assertEqual(other.expect("basic.deliver", LONG).body, b"last")

    def test_what_goes_with_its_clients_stays_with_them_and_goes_with_them(self):
        ch = self.at(self.b)
        self.declared("m-auto", auto_delete=True)
        ch.consume("m-auto", tag="worker")
        self.at(self.a).declare("m-own", exclusive=True)
        self.a.kill()
        publisher = self.confirming(self.c)
        self.publish(publisher, "m-auto", [b"one"])
        event = ch.expect("basic.deliver", LONG)
        self.assertEqual((event.consumer_tag, event.body), ("worker", b"one"))
        wait_until(lambda: not self.is_there("m-own"), "its owner is gone, and it is", LONG)
        self.at(self.c).declare("m-own", exclusive=True)
        ch.call("basic.cancel", consumer_tag="worker")
        wait_until(lambda: not self.is_there("m-auto"), "its last consumer is gone, and it is", LONG)
