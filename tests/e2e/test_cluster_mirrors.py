"""Queues that other nodes hold, too: what was confirmed outlives its master, and nobody notices."""

from harness.case import Case
from harness.cluster import Cluster
from harness.waits import LONG, SOON, wait_until

TARGETS = ("broker",)
HERE = {"x-queue-master-locator": "client-local"}
PERSISTENT = {"delivery_mode": 2}


class MirrorCase(Case):
    cluster_class = Cluster
    policy = '{"ha-mode":"all","ha-sync-mode":"automatic"}'

    def setUp(self):
        super().setUp()
        self.cluster = self.cluster_class(self.folder("cluster"), 3,
                                          conf={"node": {"threads": "2"}})
        for n in self.cluster.nodes:
            self.own(n)
        self.cluster.start().wait_voters()
        self.a, self.b, self.c = self.cluster.nodes
        self.ctl(self.a, "set_policy", "ha", "^m", self.policy)

    def ctl(self, node, *args):
        out = node.ctl("-n", node.node, "-q", *args, seconds=LONG)
        self.assertEqual(out.returncode, 0, "%s\n%s%s" % (args, out.stdout, out.stderr))
        return out.stdout

    def connect_to(self, node):
        return self.connect(address=node.address)

    def declared(self, node, queue, **args):
        """A channel at that node, which masters this new queue; all hold it."""
        ch = self.connect_to(node).channel()
        ch.declare(queue, durable=args.pop("durable", True), arguments=HERE, **args)
        self.wait_in_sync(node, queue, 3)
        return ch

    def holders(self, asked, queue):
        """The names of the nodes: the master, and those of the mirrors that are in sync."""
        out = self.ctl(asked, "list_queues", "name", "pid", "synchronised_slave_pids")
        for line in out.splitlines():
            name, pid, mirrors = (line.split("\t") + ["", ""])[:3]
            if name == queue:
                pids = [pid] + [p for p in mirrors.strip("[]").split(", ") if p]
                return [p.strip("<>").rsplit(".", 3)[0] for p in pids]
        return []

    def wait_in_sync(self, asked, queue, count):
        def all_hold():
            holders = self.holders(asked, queue)
            return len(holders) == count and holders
        return wait_until(all_hold, "%d nodes to hold %s" % (count, queue), LONG)

    def wait_master(self, asked, queue, old):
        """The node that masters it now, and not the one that did."""
        def other():
            holders = self.holders(asked, queue)
            return holders and holders[0] not in ("", old.node) and holders[0]
        name = wait_until(other, "another master of %s" % queue, LONG)
        return next(n for n in self.cluster.nodes if n.node == name)

    def confirmed(self, ch, queue, bodies, props=PERSISTENT):
        """Published on a channel beside this one, and confirmed each."""
        ch = ch.conn.channel()
        ch.call("confirm.select")
        for body in bodies:
            ch.publish("", queue, body, props)
        self.wait_confirmed(ch, len(bodies))

    def wait_confirmed(self, ch, count):
        """All of the channel's first publishes, in whatever order."""
        waiting = set(range(1, count + 1))
        while waiting:
            event = ch.expect("basic.ack", LONG)
            tag = event.delivery_tag
            waiting -= {t for t in waiting if t <= tag} if event.multiple else {tag}

    def all_of(self, node, queue):
        return self.connect_to(node).channel().get_all(queue)


def numbered(count, first=0):
    return [b"%d" % i for i in range(first, first + count)]


class Mirrors(MirrorCase):
    def test_what_was_confirmed_outlives_its_master(self):
        ch = self.declared(self.a, "m")
        large = [b"x" * 300000, b"y" * 3000000]
        self.confirmed(ch, "m", numbered(200) + large)
        self.a.kill()
        self.wait_master(self.b, "m", self.a)
        self.assertEqual(self.all_of(self.c, "m"), numbered(200) + large)

    def test_what_is_transient_does_too(self):
        ch = self.declared(self.a, "m", durable=False)
        self.confirmed(ch, "m", numbered(100), props=None)
        self.a.kill()
        self.wait_master(self.b, "m", self.a)
        self.assertEqual(self.all_of(self.c, "m"), numbered(100))

    def test_what_was_settled_does_not_come_back(self):
        ch = self.declared(self.a, "m")
        self.confirmed(ch, "m", numbered(100))
        for i in range(40):
            self.assertEqual(ch.get("m", no_ack=True).body, b"%d" % i)
        consumer = self.connect_to(self.a).channel()
        consumer.call("basic.qos", prefetch_count=20)
        consumer.consume("m", no_ack=False)
        for event in consumer.deliveries(20):
            consumer.ack(event.delivery_tag)
        consumer.deliveries(20)
        # Whoever is told of a later publish knows that the mirrors have come as far.
        self.confirmed(ch, "m", [b"last"])
        self.a.kill()
        self.wait_master(self.b, "m", self.a)
        self.assertEqual(self.all_of(self.c, "m"), numbered(40, 60) + [b"last"])

    def test_who_comes_back_has_all_again_and_may_lead(self):
        ch = self.declared(self.a, "m")
        self.confirmed(ch, "m", numbered(100))
        self.a.kill()
        second = self.wait_master(self.b, "m", self.a)
        ch = self.connect_to(second).channel()
        self.assertEqual(ch.get("m").body, b"0")
        self.confirmed(ch, "m", numbered(100, 100))
        self.cluster.start([self.a])
        self.wait_in_sync(second, "m", 3)
        second.kill()
        third = self.wait_master(self.a, "m", second)
        self.cluster.start([second])
        self.wait_in_sync(third, "m", 3)
        third.kill()
        self.assertIs(self.wait_master(self.a, "m", third), self.a, "the eldest")
        self.assertEqual(self.all_of(self.a, "m"), numbered(199, 1))

    def test_all_are_killed_and_all_come_back(self):
        ch = self.declared(self.a, "m")
        self.confirmed(ch, "m", numbered(200))
        for n in self.cluster.nodes:
            n.kill()
        self.cluster.start()
        self.wait_in_sync(self.a, "m", 3)
        self.assertEqual(self.all_of(self.b, "m"), numbered(200))


class Clients(MirrorCase):
    """Those of a node that stays notice nothing when the master of their queue goes."""

    def test_a_publisher_goes_on(self):
        self.declared(self.a, "m")
        ch = self.connect_to(self.b).channel()
        ch.call("confirm.select")
        for body in numbered(300):
            ch.publish("", "m", body, PERSISTENT)
        self.a.kill()
        for body in numbered(300, 300):
            ch.publish("", "m", body, PERSISTENT)
        self.wait_confirmed(ch, 600)
        self.assertEqual(self.all_of(self.c, "m"), numbered(600))

    def test_a_consumer_goes_on(self):
        ch = self.declared(self.a, "m")
        self.confirmed(ch, "m", numbered(100))
        consumer = self.connect_to(self.b).channel()
        consumer.call("basic.qos", prefetch_count=10)
        consumer.consume("m")
        for i in range(50):
            event = consumer.expect("basic.deliver", SOON)
            self.assertEqual(event.body, b"%d" % i)
            consumer.ack(event.delivery_tag)
        self.a.kill()
        seen = []
        while not set(numbered(50, 50)) <= set(seen):
            event = consumer.expect("basic.deliver", LONG)
            self.assertTrue(event.redelivered or event.body not in seen, event)
            seen.append(event.body)
            consumer.ack(event.delivery_tag)
        self.assertTrue(set(seen) <= set(numbered(100)), seen)

    def test_a_consumer_that_comes_while_there_is_no_master_is_served(self):
        ch = self.declared(self.a, "m")
        self.confirmed(ch, "m", numbered(100))
        consumer = self.connect_to(self.b).channel()
        consumer.call("basic.qos", prefetch_count=10)
        self.a.kill()
        consumer.send("basic.consume", queue="m", consumer_tag="c")
        consumer.expect("basic.consume_ok", LONG)
        for i in range(100):
            event = consumer.expect("basic.deliver", LONG, redelivered=False)
            self.assertEqual(event.body, b"%d" % i)
            consumer.ack(event.delivery_tag)
