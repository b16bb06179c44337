"""Clients of nodes that stay, when the node that masters their mirrored queue dies: they go on."""

import re
import signal
import threading

from harness.api import Api
from harness.case import Case
from harness.cluster import Cluster
from harness.waits import LONG, SOON, Deadline, wait_until

TARGETS = ("broker",)
HERE = {"x-queue-master-locator": "client-local"}
PERSISTENT = {"delivery_mode": 2}


def numbered(first, last):
    return [b"%d" % i for i in range(first, last)]


class Failover(Case):
    conf = {"node": {"threads": "2"}}

    def setUp(self):
        super().setUp()
        self.cluster = Cluster(self.folder("cluster"), 3, conf=self.conf)
        for n in self.cluster.nodes:
            self.own(n)
        self.cluster.start().wait_voters()
        self.a, self.b, self.c = self.cluster.nodes
        self.ctl(self.b, "set_policy", "ha", "^m", '{"ha-mode":"all"}')

    def ctl(self, node, *args):
        out = node.ctl("-n", node.node, "-q", *args, seconds=LONG)
        self.assertEqual(out.returncode, 0, "%s\n%s%s" % (args, out.stdout, out.stderr))
        return out.stdout

    def at(self, node):
        return self.connect(address=node.address).channel()

    def in_sync(self, asked, queue):
        for line in self.ctl(asked, "list_queues", "name", "synchronised_slave_pids").splitlines():
            name, mirrors = (line.split("\t") + [""])[:2]
            if name == queue:
                return len([p for p in mirrors.strip("[]").split(", ") if p])
        return 0

    def declared(self, queue, **args):
        """On the node that is to die; the others hold it, too."""
        self.at(self.a).declare(queue, durable=True, arguments=HERE, **args)
        wait_until(lambda: self.in_sync(self.b, queue) == 2, "mirrors of " + queue, LONG)

    def figure(self, node, name):
        port = int(node.conf["listen"]["management"].rsplit(":", 1)[1])
        found = re.search(r"(?m)^%s (\d+)$" % name, Api(port).get("/metrics").body)
        return int(found.group(1))

    def confirming(self, node):
        ch = self.at(node)
        ch.call("confirm.select")
        return ch

    def await_confirms(self, ch, count, sent=0):
        """All up to `count` are confirmed; none is refused."""
        waiting = set(range(sent + 1, count + 1))
        while waiting:
            event = ch.expect("basic.ack", LONG)
            tag = event.delivery_tag
            waiting = {n for n in waiting if n > tag} if event.multiple else waiting - {tag}

    def publish(self, ch, queue, bodies):
        for body in bodies:
            ch.publish("", queue, body, PERSISTENT)


    def consume_all(self, channels, wanted, seen):
        """By one or another of them, each acknowledged; what comes again says so."""
        deadline = Deadline(LONG)
        while not wanted <= seen:
            for ch in channels:
                self.take(ch, seen, deadline)

    def take(self, ch, seen, deadline):
        try:
            event = ch.expect("basic.deliver", 0.05)
        except TimeoutError:
            self.assertFalse(deadline.passed(), "messages are missing")
            return
        self.assertTrue(event.redelivered or event.body not in seen, event)
        seen.add(event.body)
        ch.ack(event.delivery_tag)

    def answered(self, ch, waiting, refused):
        event = ch.next(LONG)
        self.assertIn(event.name, ("basic.ack", "basic.nack"))
        tag = event.delivery_tag
        tags = {n for n in waiting if n <= tag} if event.multiple else {tag}
        self.assertTrue(tags <= waiting, "answered twice: %s of %s" % (tags, waiting))
        waiting -= tags
        if event.name == "basic.nack":
            refused |= tags


class Marks(Failover):
    def test_what_is_new_is_not_called_redelivered(self):
        """How far a queue was read is told ahead of what was read: that means nothing for what the
        next master is given."""
        self.declared("m")
        pub = self.confirming(self.b)
        self.publish(pub, "m", [b"before%d" % i for i in range(20)])
        self.await_confirms(pub, 20)
        ch = self.at(self.c)
        ch.consume("m")
        for event in ch.deliveries(20, LONG):
            ch.ack(event.delivery_tag)
        ch.barrier()
        self.a.kill()
        wait_until(lambda: self.cluster.lacks(self.b, ["m"]) == [], "another master", LONG)
        self.publish(pub, "m", [b"after%d" % i for i in range(200)])
        self.await_confirms(pub, 220, sent=20)
        seen = []
        while len(seen) < 200:
            event = ch.expect("basic.deliver", LONG)
            if event.body.startswith(b"after"):  # others were acknowledged, and may come again
                seen.append(event.redelivered)
            ch.ack(event.delivery_tag)
        self.assertEqual(seen.count(True), 0)


class Publishers(Failover):
    def test_all_that_is_confirmed_is_there_once_and_in_order(self):
        self.declared("m")
        here, there = self.confirming(self.b), self.confirming(self.c)
        self.publish(here, "m", [b"b%d" % i for i in range(400)])
        self.publish(there, "m", [b"c%d" % i for i in range(400)])
        self.a.kill()
        self.publish(here, "m", [b"b%d" % i for i in range(400, 800)])
        self.publish(there, "m", [b"c%d" % i for i in range(400, 800)])
        self.await_confirms(here, 800)
        self.await_confirms(there, 800)
        got = self.at(self.b).get_all("m")
        self.assertEqual([m for m in got if m[:1] == b"b"], [b"b%d" % i for i in range(800)])
        self.assertEqual([m for m in got if m[:1] == b"c"], [b"c%d" % i for i in range(800)])

    def test_what_nobody_waits_for_is_sent_again_too(self):
        self.declared("m")
        ch = self.at(self.b)
        self.publish(ch, "m", numbered(0, 300))
        self.a.proc.signal(signal.SIGSTOP)  # what comes now nobody takes before it dies
        self.publish(ch, "m", numbered(300, 600))
        wait_until(lambda: self.figure(self.b, "warren_publishes_kept_bytes") != 0, "they are kept")
        self.a.kill()
        seen = []

        def all_there():
            seen.extend(self.at(self.c).get_all("m"))
            return len(seen) >= 600
        wait_until(all_there, "600 messages", LONG)
        self.assertEqual(seen, numbered(0, 600))
        self.assertGreater(self.figure(self.b, "warren_publishes_sent_again_total"), 0)
        self.assertEqual(self.figure(self.b, "warren_publishes_given_up_total"), 0)
        wait_until(lambda: self.figure(self.b, "warren_publishes_kept_bytes") == 0,
                   "nothing to be kept", LONG)

    def test_large_messages_keep_their_place(self):
        self.declared("m")
        ch = self.confirming(self.b)
        sizes = [10, 300000, 20, 2000000, 30] * 4
        self.publish(ch, "m", [b"x" * n for n in sizes[:10]])
        self.a.kill()
        self.publish(ch, "m", [b"x" * n for n in sizes[10:]])
        self.await_confirms(ch, len(sizes))
        self.assertEqual([len(m) for m in self.at(self.c).get_all("m")], sizes)

    def test_a_full_queue_refuses_before_and_after(self):
        """Each is answered once. What is confirmed is there; no more is than fits."""
        args = {**HERE, "x-max-length": 50, "x-overflow": "reject-publish"}
        self.at(self.a).declare("m", durable=True, arguments=args)
        wait_until(lambda: self.in_sync(self.b, "m") == 2, "mirrors of m", LONG)
        ch = self.confirming(self.b)
        self.publish(ch, "m", numbered(0, 40))
        self.await_confirms(ch, 40)
        self.publish(ch, "m", numbered(40, 100))
        self.a.kill()
        self.publish(ch, "m", numbered(100, 120))
        waiting, refused = set(range(41, 121)), set()
        while waiting:
            self.answered(ch, waiting, refused)
        confirmed = set(range(41, 121)) - refused
        got = self.at(self.c).get_all("m")
        self.assertEqual(len(got), 50)
        self.assertEqual(got[:40], numbered(0, 40))
        self.assertLessEqual({b"%d" % (n - 1) for n in confirmed}, set(got))
        self.assertEqual(got, sorted(set(got), key=int))
        self.publish(ch, "m", [b"last"])
        self.await_confirms(ch, 121, 120)

    def test_a_transaction_is_committed_by_the_next_master(self):
        self.declared("m")
        ch = self.at(self.b)
        ch.call("tx.select")
        self.publish(ch, "m", numbered(0, 50))
        self.a.kill()
        ch.send("tx.commit")
        ch.expect("tx.commit_ok", LONG)
        self.assertEqual(self.at(self.c).get_all("m"), numbered(0, 50))


class Consumers(Failover):
    def consumed(self, ch, wanted, seen):
        """Acknowledged one by one, until all that are wanted came. What comes again says so."""
        deadline = Deadline(LONG)
        while not wanted <= set(seen):
            event = ch.expect("basic.deliver", deadline.left())
            self.assertTrue(event.redelivered or event.body not in seen, event)
            seen.append(event.body)
            ch.ack(event.delivery_tag)

    def test_it_is_subscribed_to_the_next_master(self):
        self.declared("m")
        publisher = self.confirming(self.c)
        self.publish(publisher, "m", numbered(0, 200))
        self.await_confirms(publisher, 200)
        ch = self.at(self.b)
        ch.call("basic.qos", prefetch_count=20)
        ch.consume("m", tag="worker")
        seen = []
        self.consumed(ch, set(numbered(0, 100)), seen)
        self.a.kill()
        self.publish(publisher, "m", numbered(200, 400))
        self.consumed(ch, set(numbered(0, 400)), seen)
        self.await_confirms(publisher, 400, 200)
        first = list(dict.fromkeys(seen))
        self.assertEqual(first, numbered(0, 400))
        self.assertEqual(self.at(self.c).get_all("m"), [])

    def test_acknowledgements_for_the_dead_master_are_no_error(self):
        self.declared("m")
        self.publish(self.at(self.c), "m", numbered(0, 10))
        ch = self.at(self.b)
        ch.call("basic.qos", prefetch_count=10)
        ch.consume("m")
        held = ch.deliveries(10, SOON)
        self.a.kill()
        again = [ch.expect("basic.deliver", LONG) for _ in range(10)]
        self.assertTrue(all(e.redelivered for e in again), again)
        self.assertEqual([e.body for e in again], numbered(0, 10))
        for event in held + again:
            ch.ack(event.delivery_tag)
        ch.barrier()
        self.assertEqual(self.at(self.c).get_all("m"), [])

    def test_who_wants_to_be_cancelled_is(self):
        self.declared("m")
        ch = self.at(self.b)
        ch.consume("m", tag="stays")
        ch.consume("m", tag="goes", arguments={"x-cancel-on-ha-failover": True})
        self.a.kill()
        self.assertEqual(ch.expect("basic.cancel", LONG).consumer_tag, "goes")
        self.publish(self.at(self.c), "m", [b"one", b"two"])
        for body in (b"one", b"two"):
            event = ch.expect("basic.deliver", LONG)
            self.assertEqual((event.consumer_tag, event.body), ("stays", body))

    def test_an_exclusive_one_keeps_its_right(self):
        self.declared("m")
        ch = self.at(self.b)
        ch.consume("m", tag="alone", exclusive=True)
        self.a.kill()
        self.publish(self.at(self.c), "m", [b"one"])
        self.assertEqual(ch.expect("basic.deliver", LONG).consumer_tag, "alone")
        other = self.at(self.c)
        other.send("basic.consume", queue="m")
        other.expect_close(403, "ACCESS_REFUSED - queue 'm' in vhost '/' in exclusive use")

    def test_it_may_be_cancelled_afterwards(self):
        self.declared("m")
        ch = self.at(self.b)
        ch.consume("m", tag="worker")
        self.a.kill()
        publisher = self.confirming(self.c)
        self.publish(publisher, "m", [b"one"])
        ch.ack(ch.expect("basic.deliver", LONG).delivery_tag)
        ch.call("basic.cancel", consumer_tag="worker")
        self.publish(publisher, "m", [b"two"])
        self.await_confirms(publisher, 2)
        self.assertEqual(self.at(self.c).get_all("m"), [b"two"])


class Cancelled(Failover):
    """As in RabbitMQ, where that is wanted: each consumer hears of it."""

    conf = {"node": {"threads": "2"}, "cluster": {"failover-mode": "cancel"}}

    def test_consumers_are_cancelled(self):
        self.declared("m")
        ch = self.at(self.b)
        ch.consume("m", tag="one")
        ch.consume("m", tag="two")
        self.a.kill()
        tags = {ch.expect("basic.cancel", LONG).consumer_tag for _ in range(2)}
        self.assertEqual(tags, {"one", "two"})
        ch.consume("m", tag="one")
        self.publish(self.at(self.c), "m", [b"again"])
        self.assertEqual(ch.expect("basic.deliver", LONG).body, b"again")


class Requests(Failover):
    """What is asked while nobody masters the queue is answered by the next master."""

    def test_they_are_asked_again(self):
        self.declared("m")
        publisher = self.confirming(self.b)
        self.publish(publisher, "m", numbered(0, 3))
        self.await_confirms(publisher, 3)
        asking = [self.at(n) for n in (self.b, self.c) for _ in range(2)]
        getting = [self.at(n) for n in (self.b, self.c)]
        self.a.kill()
        for ch in asking:
            ch.send("queue.declare", queue="m", passive=True)
        for ch in getting:
            ch.send("basic.get", queue="m")
        for ch in asking:
            ch.expect("queue.declare_ok", LONG)
        got = [ch.expect("basic.get_ok", LONG) for ch in getting]
        self.assertEqual({e.body for e in got}, set(numbered(0, 2)))
        getting[0].send("queue.purge", queue="m")
        self.assertEqual(getting[0].expect("queue.purge_ok", LONG).message_count, 1)

    def test_a_consumer_may_come_meanwhile(self):
        self.declared("m")
        consuming = [self.at(n) for n in (self.b, self.c)]
        self.a.kill()
        for ch in consuming:
            ch.send("basic.qos", prefetch_count=1)
            ch.send("basic.consume", queue="m")
        for ch in consuming:
            ch.expect("basic.qos_ok")
            ch.expect("basic.consume_ok", LONG)
        self.publish(self.at(self.b), "m", numbered(0, 6))
        seen = set()  # an acknowledgement that is lost would let no more come
        self.consume_all(consuming, set(numbered(0, 6)), seen)


class Nowhere(Failover):
    """Nobody may master it: who could was not in sync."""

    def test_what_is_published_meanwhile_waits_for_a_master(self):
        self.at(self.a).declare("m", durable=True, arguments=HERE)
        self.at(self.b).declare("other", durable=True, arguments=HERE)
        self.at(self.a).call("exchange.declare", exchange="x", type="fanout", durable=True)
        self.at(self.a).bind("m", "x", "")
        publisher = self.confirming(self.a)
        self.publish(publisher, "m", numbered(0, 2))
        self.await_confirms(publisher, 2)
        for n in (self.b, self.c):
            self.assertEqual(n.stop(), 0)
        self.publish(publisher, "m", numbered(2, 3))
        self.await_confirms(publisher, 3, 2)
        self.ctl(self.a, "set_policy", "ha", "^m", '{"ha-mode":"all","ha-sync-mode":"manual"}')
        self.cluster.start([self.b, self.c]).wait_voters()
        self.a.kill()
        wait_until(lambda: "waits" in self.ctl(self.b, "why_queue", "m"), "it is missed", LONG)
        here, there = self.confirming(self.b), self.at(self.c)
        self.publish(here, "m", numbered(3, 5))
        here.publish("x", "", b"5", PERSISTENT, mandatory=True)
        self.publish(here, "other", [b"first"])
        self.assertEqual(here.expect("basic.ack", LONG).delivery_tag, 4)
        there.call("tx.select")
        self.publish(there, "m", [b"t"])
        there.send("tx.commit")
        self.cluster.start([self.a])
        self.await_confirms(here, 3)
        there.expect("tx.commit_ok", LONG)
        got = self.at(self.c).get_all("m")
        self.assertEqual([m for m in got if m != b"t"], numbered(0, 6))
        self.assertEqual(got.count(b"t"), 1)


class Policies(Failover):
    """Mirrors that go and come again while messages are on their way to them."""

    def publish_until(self, is_over, chs, waiting, refused):
        """At each node, and with few under way."""
        while not is_over():
            for name, ch in chs.items():
                first = len(self.sent[name]) + 1
                numbers = range(first, first + 5)
                self.publish(ch, "m", [b"%s %d" % (name.encode(), i) for i in numbers])
                self.sent[name] += numbers
                waiting[name] |= set(numbers)
            for name, ch in chs.items():
                while len(waiting[name]) > 20:
                    self.answered(ch, waiting[name], refused[name])

    def test_all_is_answered_once_and_what_is_confirmed_is_there(self):
        self.declared("m")
        chs = {n.name: self.confirming(n) for n in self.cluster.nodes}
        self.sent = {name: [] for name in chs}
        waiting, refused = ({name: set() for name in chs} for _ in range(2))
        for mirrors in (1, 2, 1, 3) * 2:
            change = threading.Thread(target=self.ctl, args=(
                self.b, "set_policy", "ha", "^m",
                '{"ha-mode":"exactly","ha-params":%d,"ha-sync-mode":"automatic"}' % mirrors))
            change.start()
            more = iter(range(20))
            self.publish_until(lambda: not change.is_alive() and next(more, None) is None,
                               chs, waiting, refused)
            change.join()
        for name, ch in chs.items():
            while waiting[name]:
                self.answered(ch, waiting[name], refused[name])
        got = [m.split() for m in self.at(self.c).get_all("m")]
        for name in chs:
            seen = [int(number) for who, number in got if who == name.encode()]
            self.assertEqual(seen, sorted(set(seen)), "twice, or not in order, at %s" % name)
            self.assertLessEqual(set(self.sent[name]) - refused[name], set(seen))
