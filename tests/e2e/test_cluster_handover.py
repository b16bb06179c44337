"""What consumers hold when the master of their queue is moved, with all nodes up, stays theirs: it
comes to nobody again, its acknowledgements count, and so does it against their prefetch."""

import re
import threading
import time

from harness.waits import LONG, Deadline, wait_until
from test_cluster_failover import Failover, numbered

TARGETS = ("broker",)


class Holder:
    """A consumer, and what it holds."""

    def __init__(self, case, node, queue, prefetch):
        self.case = case
        self.prefetch = prefetch
        self.ch = case.at(node)
        self.ch.call("basic.qos", prefetch_count=prefetch)
        self.ch.consume(queue)
        self.held = []  # tags, in order
        self.seen = []

    def take(self, event):
        self.case.assertEqual(event.name, "basic.deliver")
        self.case.assertFalse(event.redelivered, event)
        self.held.append(event.delivery_tag)
        self.seen.append(event.body)
        self.case.assertLessEqual(len(self.held), self.prefetch, "more than its prefetch")

    def fill(self):
        while len(self.held) < self.prefetch:
            self.take(self.ch.next(LONG))

    def drain(self, wanted, deadline):
        """Take and acknowledge until all of `wanted` have been seen by somebody."""
        while not self.case.has_all(wanted):
            self.case.assertFalse(deadline.passed(), "messages are missing")
            try:
                self.take(self.ch.next(0.05))
            except TimeoutError:
                return
            self.ack(len(self.held))

    def ack(self, count):
        for tag in self.held[:count]:
            self.ch.ack(tag)
        self.held = self.held[count:]


class Holding(Failover):
    def setUp(self):
        super().setUp()
        self.holders = []
        self.sent = 0

    def master(self, queue, asked=None):
        for line in self.ctl(asked or self.b, "list_queues", "name", "pid").splitlines():
            name, pid = (line.split("\t") + [""])[:2]
            if name == queue:
                return pid.strip("<>").rsplit(".", 3)[0]
        return None

    def unacknowledged(self, asked=None):
        for line in self.ctl(asked or self.b, "list_queues", "name",
                             "messages_unacknowledged").splitlines():
            name, count = (line.split("\t") + ["0"])[:2]
            if name == "m":
                return int(count)
        return None

    def move(self, node):
        self.ctl(self.b, "move_master", "m", node.node)
        wait_until(lambda: self.master("m") == node.node, "another master", LONG)

    def wait_joined(self):
        """All mirrors have what the present master has. One that is to lead before that is told
        nothing of what is out, and goes on as after a failover."""
        def joined():
            out = self.ctl(self.b, "list_queues", "name", "messages", "mirror_lag")
            return any(re.match(r"m\t[1-9]\d*\t\[\]$", line) for line in out.splitlines())
        wait_until(joined, "the mirrors to join", LONG)

    def hold(self, nodes, prefetch):
        self.declared("m")
        self.publisher = self.confirming(self.b)
        self.holders = [Holder(self, n, "m", prefetch) for n in nodes]
        self.send(prefetch * len(nodes))
        for h in self.holders:
            h.fill()

    def send(self, count):
        self.publish(self.publisher, "m", numbered(self.sent, self.sent + count))
        self.await_confirms(self.publisher, self.sent + count, self.sent)
        self.sent += count

    def seen(self):
        return [body for h in self.holders for body in h.seen]

    def has_all(self, count):
        return len(self.seen()) >= count

    def finish(self, asked=None):
        """All came once, and nothing is left."""
        for h in self.holders:
            h.ack(len(h.held))
        deadline = Deadline(LONG)
        while not self.has_all(self.sent):
            for h in self.holders:
                h.drain(self.sent, deadline)
        self.assertEqual(sorted(self.seen(), key=int), numbered(0, self.sent))
        for h in self.holders:
            h.ch.barrier()
        wait_until(lambda: self.unacknowledged(asked) == 0, "all to be acknowledged", LONG)
        for h in self.holders:
            h.ch.conn.close()


class Handover(Holding):
    def test_it_is_moved_back_and_forth(self):
        self.hold(self.cluster.nodes, 50)
        for n in range(20):
            for h in self.holders:
                h.ack(2)  # on its way while it is moved
            self.move((self.b, self.c, self.a)[n % 3])
            for h in self.holders:
                h.ack(3)
            self.send(15)
            for h in self.holders:
                h.fill()
        self.assertEqual(self.unacknowledged(), 150)
        self.finish()

    def test_more_waits_than_anybody_may_hold(self):
        """What waits is handed out in order, as each has room for more."""
        self.hold(self.cluster.nodes, 10)
        self.send(300)
        for to in (self.b, self.c, self.a, self.b):
            self.move(to)
            for h in self.holders:
                h.ack(10)
            for h in self.holders:
                h.fill()
        self.finish()

    def test_what_a_closed_channel_held_comes_again(self):
        self.hold((self.a, self.c), 5)
        self.move(self.b)
        self.holders[1].ch.conn.close()
        left = self.holders[0]
        left.ack(5)
        again = [left.ch.next(LONG) for _ in range(5)]
        self.assertEqual([e.body for e in again], self.holders[1].seen)
        self.assertTrue(all(e.redelivered for e in again))
        for e in again:
            left.ch.ack(e.delivery_tag)
        wait_until(lambda: self.unacknowledged() == 0, "all to be acknowledged", LONG)

    def test_given_back_it_comes_again_to_others(self):
        self.hold((self.a, self.b, self.c), 5)
        self.move(self.c)
        giver = self.holders[0]
        for tag in giver.held:
            giver.ch.send("basic.reject", delivery_tag=tag, requeue=False)
        giver.held = []
        self.finish()

    def test_a_drained_node(self):
        self.hold((self.b, self.c), 20)
        self.ctl(self.a, "drain")
        wait_until(lambda: self.master("m") != self.a.node, "another master", LONG)
        for h in self.holders:
            h.ack(7)
        self.send(14)
        for h in self.holders:
            h.fill()
        self.finish()

    def test_a_node_that_stops_in_order(self):
        self.hold((self.b, self.c), 20)
        self.a.stop()
        wait_until(lambda: self.master("m") not in (None, self.a.node), "another master", LONG)
        for h in self.holders:
            h.ack(7)
        self.send(14)
        for h in self.holders:
            h.fill()
        self.finish()


class Leaving(Holding):
    """Channels that end one after another while the queue is moved: some of them before they hear
    of that, some while what they hold is claimed, some behind it."""

    def after_each(self, leave, count=40, prepare=None, left=True):
        """What was acknowledged, and what comes again once all are gone."""
        self.hold([self.c] * count, 5)
        for h in self.holders:
            if prepare is not None:
                prepare(h)
        moving = threading.Thread(target=self.move, args=(self.b,))
        self.began = time.monotonic()
        moving.start()
        self.gone, self.unsure = set(), set()
        for n, h in enumerate(self.holders):
            leave(h)
            self.gone.update(h.seen[:3])
            while moving.is_alive() and not self.has_room_for(n, count):
                self.publisher.barrier()
        moving.join()
        self.gone -= self.unsure
        if left:
            self.see_left()

    def see_left(self):
        """What is neither gone nor unsure comes, what is gone does not, and nothing stays out."""
        must = set(numbered(0, self.sent)) - self.gone - self.unsure
        left = set()
        ch = self.at(self.a)
        ch.consume("m")

        def is_empty():
            try:
                while True:
                    event = ch.next(0.05)
                    left.add(event.body)
                    ch.ack(event.delivery_tag)
            except TimeoutError:
                return must <= left and self.unacknowledged() == 0
        wait_until(is_empty, "all to be acknowledged", LONG)
        self.assertEqual(left & self.gone, set())

    def has_room_for(self, n, count):
        """They are spread over the time that it takes."""
        return time.monotonic() - self.began > n * 0.4 / count

    def close(self, h):
        h.ack(3)
        h.ch.send("channel.close", reply_code=200)
        while h.ch.next(LONG).name != "channel.close_ok":
            pass

    def test_what_a_channel_acknowledged_is_settled(self):
        self.after_each(self.close)

    def commit(self, h):
        """One in the midst of it may be told that it is not known what became of it."""
        h.ch.send("tx.commit")
        event = h.ch.next(LONG)
        while event.name == "basic.deliver":
            event = h.ch.next(LONG)
        if event.name == "channel.close":
            self.assertIn("partial tx completion", event.reply_text)
            self.unsure.update(h.seen[:3])
        else:
            self.assertEqual(event.name, "tx.commit_ok")
        h.ch.conn.sock.close()

    def select(self, h):
        h.ch.call("tx.select")

    def test_what_was_committed_is_settled(self):
        def leave(h):
            h.ack(3)
            self.commit(h)
        self.after_each(leave, prepare=self.select)

    def test_what_is_taken_while_it_is_moved_and_committed_later(self):
        def take(h):
            h.ack(3)
            h.ch.barrier()
        self.after_each(take, prepare=self.select, left=False)
        for h in self.holders:
            self.commit(h)
        self.gone -= self.unsure
        self.assertLess(len(self.unsure), len(self.gone))
        self.see_left()

    def held_in_transactions(self, count):
        """Each has acknowledged three of its five, and said nothing more of it."""
        self.gone, self.unsure = set(), set()
        self.hold([self.c] * count, 5)
        for h in self.holders:
            self.select(h)
            for tag in h.held[:3]:
                h.ch.ack(tag)
            h.ch.barrier()
            self.gone.update(h.seen[:3])

    def move_and_pause(self, *ways):
        """Until what nobody claims is kept no longer: one that a basic.get has brought comes again
        then. What else has come again."""
        self.send(1)
        getter = self.at(self.c)
        self.assertFalse(getter.get("m", no_ack=False).redelivered)
        for node in ways:
            self.wait_joined()
            self.move(node)
        other, again = self.at(self.a), []
        self.gone.add(b"%d" % (self.sent - 1))
        while b"%d" % (self.sent - 1) not in again:
            event = wait_until(lambda: other.get("m"), "what nobody claims to come again", LONG)
            self.assertTrue(event.redelivered)
            again.append(event.body)
        return again[:-1]

    def test_what_a_transaction_has_taken_stays_its_own_however_long(self):
        self.held_in_transactions(6)
        self.assertEqual(self.move_and_pause(self.b), [])
        for h in self.holders:
            h.ch.call("tx.commit")
            h.ch.conn.close()
        self.see_left()

    def test_and_wherever_its_queue_goes(self):
        self.held_in_transactions(6)
        self.assertEqual(self.move_and_pause(self.b, self.c, self.a, self.b), [])
        for n, h in enumerate(self.holders):
            if n % 2 == 0:
                h.ch.call("tx.rollback")
                h.ack(3)
            h.ch.call("tx.commit")
            h.ch.conn.close()
        self.see_left()

    def test_what_nobody_could_claim_is_not_called_committed(self):
        self.see_one_that_came_again(self.b)

    def test_nor_is_it_when_the_queue_is_back(self):
        self.see_one_that_came_again(self.b, self.a)

    def see_one_that_came_again(self, *ways):
        self.held_in_transactions(0)
        self.send(1)
        ch = self.at(self.c)
        ch.call("tx.select")
        ch.ack(ch.get("m", no_ack=False).delivery_tag)
        ch.barrier()
        self.assertEqual(self.move_and_pause(*ways), [b"0"])
        ch.send("tx.commit")
        ch.expect_close(406, "PRECONDITION_FAILED - partial tx completion")

    def test_a_late_acknowledgement_settles_nothing_of_others(self):
        """What the same node's former mastership handed out has come to somebody else since."""
        self.held_in_transactions(0)
        self.send(2)
        getters = [self.at(n) for n in (self.a, self.c)]
        tags = [ch.get("m", no_ack=False).delivery_tag for ch in getters]
        for node in (self.b, self.a):
            self.move(node)
        other = self.at(self.b)
        again = [wait_until(lambda: other.get("m", no_ack=False), "what nobody claims", LONG)
                 for _ in tags]
        for ch, tag in zip(getters, tags):
            ch.ack(tag)
            self.assertIsNone(ch.get("m"), "behind the acknowledgement")
        self.assertEqual(self.unacknowledged(), 2)
        for event in again:
            other.ack(event.delivery_tag)
        wait_until(lambda: self.unacknowledged() == 0, "all to be acknowledged", LONG)

    def test_what_was_rolled_back_is_still_the_clients(self):
        def leave(h):
            for tag in h.held[:3]:
                h.ch.ack(tag)
            h.ch.barrier()
            h.ch.call("tx.rollback")
            h.ack(3)
            self.commit(h)
        self.after_each(leave, prepare=self.select)

    def test_what_a_broken_connection_acknowledged_is_settled(self):
        def leave(h):
            h.ack(3)
            h.ch.barrier()
            h.ch.conn.sock.close()
        self.after_each(leave)


class Killed(Holding):
    """The same when the master dies, of which nobody knows what was out: it comes again."""

    def again(self, holder, count):
        """In order, redelivered, and no more than its prefetch."""
        events = [holder.ch.next(LONG) for _ in range(count)]
        for e in events:
            self.assertEqual(e.name, "basic.deliver")
            self.assertTrue(e.redelivered, e)
        bodies = [int(e.body) for e in events]
        self.assertEqual(bodies, sorted(bodies))
        return events

    def test_old_tags_mean_nothing_and_close_nothing(self):
        self.hold((self.b, self.c), 10)
        self.a.kill()
        wait_until(lambda: self.master("m") not in (None, self.a.node), "another master", LONG)
        events = [self.again(h, 10) for h in self.holders]
        self.assertEqual(sorted(int(e.body) for es in events for e in es), list(range(20)))
        for h in self.holders:
            h.ack(10)
            h.ch.barrier()
        self.assertEqual(self.unacknowledged(), 20, "they are with somebody else by now")
        self.send(6)
        self.assertEqual(self.unacknowledged(), 20, "each holds what it may")
        for h, es in zip(self.holders, events):
            for e in es:
                h.ch.ack(e.delivery_tag)
        fresh = []
        deadline = Deadline(LONG)
        while len(fresh) < 6:
            self.assertFalse(deadline.passed(), fresh)
            for h in self.holders:
                try:
                    e = h.ch.next(0.05)
                except TimeoutError:
                    continue
                fresh.append(e.body)
                h.ch.ack(e.delivery_tag)
        self.assertEqual(sorted(fresh, key=int), numbered(20, 26))
        wait_until(lambda: self.unacknowledged() == 0, "all to be acknowledged", LONG)

    def test_what_came_from_it_is_not_called_committed(self):
        self.hold((self.c, self.c), 5)
        taker = self.holders[0].ch
        taker.call("tx.select")
        self.holders[0].ack(3)
        taker.barrier()
        self.a.kill()
        wait_until(lambda: self.master("m") not in (None, self.a.node), "another master", LONG)
        for h in self.holders:
            self.again(h, 5)
        taker.send("tx.commit")
        taker.expect_close(406, "PRECONDITION_FAILED - partial tx completion")
