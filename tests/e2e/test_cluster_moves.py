"""Clients of a mirrored queue whose master is moved, with all nodes up: nobody notices."""

from harness.waits import LONG, wait_until
from test_cluster_failover import HERE, Failover, numbered

TARGETS = ("broker",)


class Moves(Failover):
    def master(self, queue):
        for line in self.ctl(self.b, "list_queues", "name", "pid").splitlines():
            name, pid = (line.split("\t") + [""])[:2]
            if name == queue:
                return pid.strip("<>").rsplit(".", 3)[0]
        return None

    def move(self, queue, node):
        self.ctl(self.b, "move_master", queue, node.node)
        wait_until(lambda: self.master(queue) == node.node, "another master", LONG)

    def running(self, node):
        return self.ctl(node, "cluster_status", "--formatter", "erlang") \
            .split("running_nodes")[1].split("]")[0]

    def depth(self, node, queue):
        """None: it is not to be had."""
        ch = self.at(node)
        ch.send("queue.declare", queue=queue, passive=True)
        event = ch.next(LONG)
        ch.conn.close()
        return event.args["message_count"] if event.name == "queue.declare_ok" else None

    def test_publishers_follow_it(self):
        self.declared("m")
        channels = [self.confirming(n) for n in self.cluster.nodes]
        for round_number, to in enumerate((self.b, self.c, self.a)):
            for i, ch in enumerate(channels):
                self.publish(ch, "m", [b"%d-%d" % (i, n) for n in
                                       range(round_number * 200, round_number * 200 + 200)])
            self.move("m", to)
        for ch in channels:
            self.await_confirms(ch, 600)
        got = self.at(self.b).get_all("m")
        for i in range(3):
            mine = [m for m in got if m.startswith(b"%d-" % i)]
            self.assertEqual(mine, [b"%d-%d" % (i, n) for n in range(600)])

    def test_consumers_follow_it(self):
        self.declared("m")
        publisher = self.confirming(self.b)
        consuming = [self.at(n) for n in self.cluster.nodes]
        for ch in consuming:
            ch.call("basic.qos", prefetch_count=5)
            ch.consume("m")
        seen, sent = set(), 0
        for to in (self.b, self.c, self.a, self.b):
            self.publish(publisher, "m", numbered(sent, sent + 60))
            self.move("m", to)
            sent += 60
            self.consume_all(consuming, set(numbered(0, sent)), seen)
        self.await_confirms(publisher, sent)
        self.assertEqual(self.at(self.c).get_all("m"), [])

    def test_it_may_stay_there_without_mirrors(self):
        """Then it lives where its policy left it, and not where it was declared."""
        self.declared("m")
        self.at(self.a).declare("m-brief", arguments=HERE)
        wait_until(lambda: self.in_sync(self.b, "m-brief") == 2, "mirrors", LONG)
        self.move("m", self.b)
        self.move("m-brief", self.b)
        self.ctl(self.b, "clear_policy", "ha")
        wait_until(lambda: self.in_sync(self.b, "m") == 0, "no mirrors", LONG)
        self.assertEqual(self.master("m"), self.b.node)
        for n in self.cluster.nodes:
            ch = self.confirming(n)
            self.publish(ch, "m", [n.name.encode()])
            self.await_confirms(ch, 1)
        self.a.kill()
        wait_until(lambda: self.a.name not in self.running(self.c), "it is missed", LONG)
        self.assertEqual(self.depth(self.c, "m"), 3)
        self.assertEqual(self.depth(self.c, "m-brief"), 0)
        self.cluster.start([self.a]).wait_voters()
        self.b.kill()
        wait_until(lambda: self.depth(self.c, "m") is None, "it is down", LONG)
        wait_until(lambda: self.depth(self.c, "m-brief") is None, "it is gone", LONG)
        self.cluster.start([self.b]).wait_voters()
        wait_until(lambda: self.depth(self.c, "m") == 3, "it is back", LONG)
        self.at(self.a).declare("m-brief", durable=True)
        self.assertEqual(self.at(self.a).get_all("m"),
                         [n.name.encode() for n in self.cluster.nodes])
