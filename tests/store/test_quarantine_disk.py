"""What only one node has, and cannot be put into quarantine, stays where it is until it can be."""

import json

from faulty import FaultyNode
from harness.cluster import Cluster
from harness.waits import LONG, wait_until
from test_cluster_mirrors import MirrorCase, numbered

TARGETS = ("broker",)


class FaultyCluster(Cluster):
    node_class = FaultyNode


class QuarantineDisk(MirrorCase):
    cluster_class = FaultyCluster
    policy = '{"ha-mode":"all","ha-sync-mode":"manual"}'

    def tearDown(self):
        for n in self.cluster.nodes:
            n.faults.heal()
        super().tearDown()

    def quarantined(self):
        return [(r["name"], r["node"], r["messages"]) for r in json.loads(
            self.ctl(self.b, "--formatter", "json", "list_quarantined"))]

    def promoted(self):
        why = self.ctl(self.b, "why_queue", "m")
        if "force_promote" in why:
            self.ctl(self.b, "force_promote", "--master-is-dead", "m", self.b.node)
        return "is served by " + self.b.node in why

    def kept_by(self, policy):
        """The first node alone has five, another leads without it, and then this is the policy."""
        ch = self.declared(self.a, "m")
        self.confirmed(ch, "m", [b"all have it"])
        for n in (self.c, self.b):
            n.stop()
        self.confirmed(ch, "m", numbered(5))
        self.cluster.start([self.b, self.c]).wait_voters()
        self.a.kill()
        wait_until(self.promoted, "another node to serve it", LONG)
        self.ctl(self.b, "set_policy", "ha", "^m", policy)
        wait_until(lambda: ("nodes" in policy) == (self.a.node not in
                                                   self.ctl(self.b, "why_queue", "m")),
                   "its place to be known", LONG)

        self.a.faults.only("quarantine")
        self.a.faults.fail("write")
        self.cluster.start([self.a])
        self.a.proc.wait_log(rb"cannot be put into quarantine", LONG)
        self.assertEqual(self.quarantined(), [])
        self.a.faults.heal()
        wait_until(lambda: self.quarantined() == [("m", self.a.node, 5)], "the quarantine", LONG)
        self.ctl(self.c, "requeue_quarantined", "m")
        self.assertEqual(self.all_of(self.b, "m"), [b"all have it"] + numbered(5))

    def test_of_a_mirror(self):
        self.kept_by(self.policy)

    def test_of_who_is_none_any_more(self):
        self.kept_by(json.dumps({"ha-mode": "nodes", "ha-params": [self.b.node, self.c.node]}))
