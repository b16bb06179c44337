"""Getting messages: get, consume, prefetch, acknowledgement, redelivery and order."""

import random
import socket
import threading

import wire

from harness.case import Case
from harness.waits import wait_until

THREADS = True
REMOTE = True


class Base(Case):
    def setUp(self):
        super().setUp()
        self.conn = self.connect()
        self.ch = self.conn.channel()

    def filled(self, n, **args):
        """A queue with messages 0 .. n-1."""
        q = self.ch.queue(**args)
        self.fill(q, range(n))
        return q

    def fill(self, q, numbers):
        for i in numbers:
            self.ch.publish("", q, b"%d" % i)
        self.ch.barrier()

    def ready(self, q):
        return self.ch.declare(q, passive=True).message_count

    def wait_ready(self, q, n):
        wait_until(lambda: self.ready(q) == n, "%d messages ready" % n)

    def numbers(self, events):
        return [int(e.body) for e in events]

    def rest(self, q):
        self.ch.barrier()
        return [int(b) for b in self.ch.get_all(q)]


class Get(Base):
    def test_one_by_one_with_the_count_of_the_rest(self):
        q = self.filled(3)
        for i in range(3):
            m = self.ch.get(q)
            self.assertEqual((int(m.body), m.message_count, m.redelivered, m.delivery_tag),
                             (i, 2 - i, False, i + 1))
            self.assertEqual((m.exchange, m.routing_key), ("", q))
        self.assertIsNone(self.ch.get(q))

    def test_without_no_ack_it_stays_ours_until_acked(self):
        q = self.filled(2)
        m = self.ch.get(q, no_ack=False)
        self.assertEqual(self.ready(q), 1)
        self.ch.ack(m.delivery_tag)
        self.assertEqual(self.rest(q), [1])

    def test_very_many_unacked_come_back_in_order(self):
        n = 70000
        q = self.name()
        self.ch.declare(q)
        self.addCleanup(lambda: self.channel().call("queue.delete", queue=q))
        self.fill(q, range(5))
        frames = wire.method_frame(1, "basic.publish", exchange="", routing_key=q,
                                   mandatory=False, immediate=False)
        frames += wire.content_frames(1, b"rest", {}, self.conn.frame_max)
        self.conn.send(frames * (n - 5))
        self.wait_ready(q, n)
        conn = self.connect()
        conn.channel().send("basic.consume", queue=q)
        reader = threading.Thread(target=self.read_away, args=(conn.sock,))
        reader.start()
        self.wait_ready(q, 0)
        conn.sock.shutdown(socket.SHUT_RDWR)
        reader.join()
        self.wait_ready(q, n)
        self.assertEqual(self.numbers([self.ch.get(q) for _ in range(5)]), list(range(5)))

    def read_away(self, sock):
        try:
            while sock.recv(1 << 20):
                pass
        except OSError:
            pass  # shut down

    def test_unacked_messages_come_back_when_the_channel_closes(self):
        q = self.filled(4)
        other = self.conn.channel()
        for _ in range(3):
            other.get(q, no_ack=False)
        other.close()
        self.wait_ready(q, 4)
        flags = [self.ch.get(q).redelivered for _ in range(4)]
        self.assertEqual(flags, [True, True, True, False])

    def test_unacked_messages_come_back_in_order_when_the_connection_breaks(self):
        q = self.name()
        self.ch.declare(q, auto_delete=True)
        self.fill(q, range(5))
        gone = self.channel()
        for _ in range(3):
            gone.get(q, no_ack=False)
        gone.conn.drop()
        self.wait_ready(q, 5)
        self.assertEqual(self.rest(q), [0, 1, 2, 3, 4])
        self.ch.call("queue.delete", queue=q)


class Consume(Base):
    def test_messages_before_and_after(self):
        q = self.filled(3)
        tag = self.ch.consume(q, no_ack=True)
        got = self.ch.deliveries(3)
        self.ch.publish("", q, b"3")
        got += self.ch.deliveries(1)
        self.assertEqual(self.numbers(got), [0, 1, 2, 3])
        self.assertEqual([m.delivery_tag for m in got], [1, 2, 3, 4])
        self.assertEqual({m.consumer_tag for m in got}, {tag})

    def test_what_a_delivery_says(self):
        q = self.ch.queue()
        self.ch.bind(q, "amq.topic", q + ".#")
        self.ch.consume(q, "my tag")
        self.ch.publish("amq.topic", q + ".k", b"body", {"message_id": "1"})
        m = self.ch.expect("basic.deliver", consumer_tag="my tag", redelivered=False,
                           exchange="amq.topic", routing_key=q + ".k", delivery_tag=1)
        self.assertEqual((m.body, m.props), (b"body", {"message_id": "1"}))

    def test_nowait(self):
        q = self.filled(1)
        self.ch.send("basic.consume", queue=q, consumer_tag="t", nowait=True, no_ack=True)
        self.ch.expect("basic.deliver", consumer_tag="t")
        self.ch.send("basic.cancel", consumer_tag="t", nowait=True)
        self.ch.barrier()

    def test_cancel_stops_deliveries_and_keeps_unacked_ones(self):
        q = self.filled(2)
        tag = self.ch.consume(q)
        first, _ = self.ch.deliveries(2)
        self.ch.call("basic.cancel", consumer_tag=tag)
        self.fill(q, [2])
        self.assertEqual(self.ready(q), 1)
        self.ch.ack(first.delivery_tag)
        self.assertEqual(self.rest(q), [2])

    def test_a_cancelled_tag_can_be_used_again(self):
        q = self.filled(0)
        for i in range(3):
            self.ch.consume(q, "again", no_ack=True)
            self.ch.publish("", q, b"%d" % i)
            self.assertEqual(int(self.ch.expect("basic.deliver").body), i)
            self.ch.call("basic.cancel", consumer_tag="again")

    def test_turn_by_turn(self):
        q = self.ch.queue()
        channels = [self.conn.channel() for _ in range(3)]
        for ch in channels:
            ch.consume(q, no_ack=True)
        self.fill(q, range(30))
        self.assertEqual([len(ch.deliveries(10)) for ch in channels], [10, 10, 10])

    def test_deliveries_of_many_queues_keep_each_ones_order(self):
        queues = [self.filled(20) for _ in range(5)]
        for q in queues:
            self.ch.consume(q, q, no_ack=True)
        got = self.ch.deliveries(100)
        for q in queues:
            self.assertEqual(self.numbers(m for m in got if m.consumer_tag == q), list(range(20)))
        self.assertEqual([m.delivery_tag for m in got], list(range(1, 101)))

    def test_an_exclusive_consumer_leaves_and_another_may_come(self):
        q = self.filled(0)
        other = self.conn.channel()
        tag = self.ch.consume(q, exclusive=True)
        self.ch.call("basic.cancel", consumer_tag=tag)
        other.consume(q, exclusive=True)

    def test_ten_thousand_in_order(self):
        q = self.ch.queue()
        consumer = self.conn.channel()
        consumer.consume(q, no_ack=True)
        for i in range(10000):
            self.ch.publish("", q, b"%d" % i)
        self.assertEqual(self.numbers(consumer.deliveries(10000)), list(range(10000)))


class Qos(Base):
    def limited(self, count, **args):
        ch = self.conn.channel()
        ch.call("basic.qos", prefetch_count=count, **args)
        return ch

    def expect_only(self, ch, n):
        """Exactly n deliveries: they come, and a barrier later nothing more has come."""
        got = ch.deliveries(n)
        ch.barrier()
        ch.expect_silence(0.05)
        return got

    def test_as_many_as_prefetch_and_one_more_for_each_ack(self):
        q = self.filled(10)
        ch = self.limited(3)
        ch.consume(q)
        got = self.expect_only(ch, 3)
        ch.ack(got[0].delivery_tag)
        self.assertEqual(self.numbers(self.expect_only(ch, 1)), [3])
        ch.ack(0, multiple=True)
        self.assertEqual(self.numbers(self.expect_only(ch, 3)), [4, 5, 6])

    def test_each_consumer_has_its_own_share(self):
        a, b = self.filled(5), self.filled(5)
        ch = self.limited(2)
        ch.consume(a, "a")
        ch.consume(b, "b")
        got = self.expect_only(ch, 4)
        self.assertEqual(sorted(m.consumer_tag for m in got), ["a", "a", "b", "b"])

    def test_it_counts_for_consumers_that_come_later_only(self):
        q = self.filled(0)
        ch = self.limited(1)
        ch.consume(q, "first")
        ch.call("basic.qos", prefetch_count=3)
        self.fill(q, range(5))
        self.assertEqual(len(self.expect_only(ch, 1)), 1)
        ch.consume(q, "second")
        got = self.expect_only(ch, 3)
        self.assertEqual({m.consumer_tag for m in got}, {"second"})

    def test_global_is_for_the_channel(self):
        a, b = self.filled(5), self.filled(5)
        ch = self.limited(3, **{"global": True})
        ch.consume(a, "a")
        ch.consume(b, "b")
        got = self.expect_only(ch, 3)
        ch.ack(got[-1].delivery_tag, multiple=True)
        self.expect_only(ch, 3)

    def test_global_can_be_raised_while_consuming(self):
        q = self.filled(10)
        ch = self.limited(1, **{"global": True})
        ch.consume(q)
        self.expect_only(ch, 1)
        ch.send("basic.qos", prefetch_count=4, **{"global": True})
        names = sorted(ch.next().name for _ in range(4))
        self.assertEqual(names, ["basic.deliver"] * 3 + ["basic.qos_ok"])

    def test_no_ack_consumers_are_not_limited(self):
        q = self.filled(10)
        ch = self.limited(2)
        ch.consume(q, no_ack=True)
        self.expect_only(ch, 10)

    def test_get_is_not_limited(self):
        q = self.filled(3)
        ch = self.limited(1)
        for _ in range(3):
            self.assertIsNotNone(ch.get(q, no_ack=False))

    def test_work_goes_to_those_who_ack(self):
        q = self.ch.queue()
        busy, free = self.limited(1), self.limited(1)
        busy.consume(q)
        free.consume(q)
        self.fill(q, range(20))
        mine = busy.expect("basic.deliver")
        done = []
        while len(done) < 19:
            m = free.expect("basic.deliver")
            done.append(int(m.body))
            free.ack(m.delivery_tag)
        self.assertEqual(sorted(done + [int(mine.body)]), list(range(20)))


class Settle(Base):
    def taken(self, q, n):
        return [self.ch.get(q, no_ack=False) for _ in range(n)]

    def test_ack_twice_is_406(self):
        q = self.filled(1)
        m = self.taken(q, 1)[0]
        self.ch.ack(m.delivery_tag)
        self.ch.ack(m.delivery_tag)
        self.ch.expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 1", "basic.ack")

    def test_multiple(self):
        q = self.filled(6)
        tags = [m.delivery_tag for m in self.taken(q, 6)]
        self.ch.ack(tags[1], multiple=True)                       # 0 1
        self.ch.send("basic.nack", delivery_tag=tags[3], multiple=True, requeue=True)  # 2 3
        self.ch.ack(tags[5])
        self.ch.send("basic.nack", delivery_tag=0, multiple=True, requeue=True)  # 4
        self.assertEqual(self.rest(q), [2, 3, 4])

    def test_tags_below_multiple_are_gone(self):
        q = self.filled(3)
        tags = [m.delivery_tag for m in self.taken(q, 3)]
        self.ch.ack(tags[1], multiple=True)
        self.ch.ack(tags[0])
        self.ch.expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 1", "basic.ack")
        self.ch = self.conn.channel()
        self.wait_ready(q, 1)

    def test_tags_belong_to_their_channel(self):
        q = self.filled(1)
        self.taken(q, 1)
        other = self.conn.channel()
        other.ack(1)
        other.expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 1", "basic.ack")

    def test_reject_and_nack_without_requeue_drop(self):
        q = self.filled(4)
        tags = [m.delivery_tag for m in self.taken(q, 3)]
        self.ch.send("basic.reject", delivery_tag=tags[0], requeue=False)
        self.ch.send("basic.nack", delivery_tag=tags[2], multiple=True, requeue=False)
        self.assertEqual(self.rest(q), [3])

    def test_requeued_messages_take_their_old_places(self):
        q = self.filled(6)
        tags = [m.delivery_tag for m in self.taken(q, 5)]
        for i in (3, 0, 4, 1):
            self.ch.send("basic.reject", delivery_tag=tags[i], requeue=True)
        self.ch.barrier()
        got = [self.ch.get(q) for _ in range(5)]
        self.assertEqual(self.numbers(got), [0, 1, 3, 4, 5])
        self.assertEqual([m.redelivered for m in got], [True] * 4 + [False])

    def test_recover_gives_all_back_to_the_queue(self):
        q = self.filled(3)
        self.taken(q, 2)
        self.ch.call("basic.recover", requeue=True)
        got = [self.ch.get(q) for _ in range(3)]
        self.assertEqual(self.numbers(got), [0, 1, 2])
        self.assertEqual([m.redelivered for m in got], [True, True, False])

    def test_recover_async_does_so_without_a_word(self):
        q = self.filled(2)
        self.taken(q, 2)
        self.ch.send("basic.recover_async", requeue=True)
        self.assertEqual(self.rest(q), [0, 1])

    def test_a_requeued_message_is_redelivered_to_the_consumer(self):
        q = self.filled(2)
        self.ch.call("basic.qos", prefetch_count=1)
        self.ch.consume(q)
        first = self.ch.expect("basic.deliver", redelivered=False)
        self.ch.send("basic.nack", delivery_tag=first.delivery_tag, requeue=True)
        again = self.ch.expect("basic.deliver", redelivered=True)
        self.assertEqual((again.body, again.delivery_tag), (b"0", 2))

    def test_a_broken_consumers_messages_go_to_the_other_one(self):
        q = self.name()
        self.ch.declare(q, auto_delete=True)
        bad, good = self.channel(), self.channel()
        bad.consume(q)
        self.fill(q, range(10))
        bad.deliveries(10)
        good.consume(q)
        bad.conn.drop()
        got = good.deliveries(10)
        self.assertEqual(self.numbers(got), list(range(10)))
        self.assertTrue(all(m.redelivered for m in got))


class Room(Base):
    """Who found no room is handed more when there is some, each in turn."""

    def test_one_channel_without_room_does_not_stop_the_others(self):
        """A channel at its limit waits for an acknowledgement, and not for the socket."""
        limited, reader = self.conn.channel(), self.conn.channel()
        limited.call("basic.qos", prefetch_count=1, **{"global": True})
        q = self.filled(2)
        limited.consume(q)
        first = limited.expect("basic.deliver")
        big = self.ch.queue()
        self.ch.publish("", big, b"b" * (8 << 20))
        self.ch.barrier()
        self.assertEqual(len(reader.get(big).body), 8 << 20)
        self.ch.barrier()
        limited.ack(first.delivery_tag)
        self.assertEqual(int(limited.expect("basic.deliver").body), 1)

    def test_a_limit_of_the_channel_is_shared_by_its_consumers(self):
        queues = [self.filled(20) for _ in range(3)]
        ch = self.conn.channel()
        ch.call("basic.qos", prefetch_count=1, **{"global": True})
        for q in queues:
            ch.consume(q, q)
        got = []
        for _ in range(60):
            m = ch.expect("basic.deliver")
            got.append(m.consumer_tag)
            ch.ack(m.delivery_tag)
        for q in queues:
            self.assertGreater(got[:30].count(q), 2, "%s waits while others are served" % q)

    def test_a_limit_of_the_channel_is_shared_by_consumers_of_one_queue(self):
        q, ch = self.filled(10), self.conn.channel()
        ch.call("basic.qos", prefetch_count=1, **{"global": True})
        ch.consume(q, "first")
        ch.consume(q, "second")
        got = []
        for _ in range(10):
            m = ch.expect("basic.deliver")
            got.append(m.consumer_tag)
            ch.ack(m.delivery_tag)
        self.assertGreater(got.count("first"), 2, got)
        self.assertGreater(got.count("second"), 2, got)

    def test_what_was_got_does_not_count_against_the_channels_limit(self):
        q = self.filled(3)
        ch = self.conn.channel()
        ch.call("basic.qos", prefetch_count=1, **{"global": True})
        ch.get(q, no_ack=False)
        ch.consume(q)
        self.assertEqual(int(ch.expect("basic.deliver").body), 1)
        ch.expect_silence()

    def test_messages_of_a_closing_connection_are_not_handed_to_its_own_consumers(self):
        q = self.name()
        self.ch.declare(q)
        self.fill(q, range(5))
        conn = self.connect()
        keeper, taker = conn.channel(), conn.channel()
        for _ in range(5):
            keeper.get(q, no_ack=False)
        taker.consume(q, no_ack=True)
        conn.close()
        self.wait_ready(q, 5)
        self.assertEqual(self.rest(q), [0, 1, 2, 3, 4])
        self.ch.call("queue.delete", queue=q)

    def test_nothing_is_lost_or_stuck_whatever_the_channels_do(self):
        """Limits that change, requeues, consumers that leave and come: all is settled once."""
        chance = random.Random(7)
        queues = [self.filled(400) for _ in range(4)]
        channels = [self.conn.channel() for _ in range(4)]
        for ch in channels:
            ch.call("basic.qos", prefetch_count=chance.randint(1, 7), **{"global": True})
            for q in queues:
                ch.consume(q, q)
        acked, left = set(), len(queues) * 400
        while left:
            m = self.conn.next()
            if m.name != "basic.deliver":
                continue  # the answer to what was asked below
            dice, ch = chance.random(), channels[m.channel - channels[0].number]
            if dice < 0.1:
                ch.send("basic.nack", delivery_tag=m.delivery_tag, requeue=True)
                continue
            self.assertNotIn((m.consumer_tag, m.body), acked)
            acked.add((m.consumer_tag, m.body))
            left -= 1
            ch.ack(m.delivery_tag)
            if dice < 0.15:
                ch.send("basic.qos", prefetch_count=chance.randint(0, 7), **{"global": True})
            elif dice < 0.2:
                q = chance.choice(queues)
                ch.send("basic.cancel", consumer_tag=q)
                ch.send("basic.consume", queue=q, consumer_tag=q)
