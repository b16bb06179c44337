"""A node of three whose disk is full: publishers anywhere wait, consumers drain, and then it goes on,
also when the node that is killed meanwhile was the one with room."""

import os

from harness.case import Case
from harness.cluster import Cluster
from harness.waits import LONG, wait_until
from kit import Publisher, SmallDisk, drain, wrong_in

TARGETS = ("broker",)
HERE = {"x-queue-master-locator": "client-local"}
MIB = 1 << 20


class OneOfThree(Case):
    def setUp(self):
        super().setUp()
        self.cluster = Cluster(self.folder("cluster"), 3, conf={
            "node": {"threads": 1}, "limits": {"disk-free-limit": "64k"},
            "store": {"segment-size": "1M"}})
        self.a, self.b, self.c = self.cluster.nodes
        for n in self.cluster.nodes:
            self.own(n)
        self.disk = SmallDisk(self.folder("disk"), 64)
        self.addCleanup(self.disk.close)
        os.makedirs(self.b.path("run"), exist_ok=True)
        os.symlink(self.disk.path, self.b.path("data"))
        self.cluster.start().wait_voters()
        wait_until(lambda: self.ctl("set_policy", "ha", "^m", '{"ha-mode":"all"}') == 0, "the policy",
                   LONG)

    def ctl(self, *args):
        return self.a.ctl("-n", self.a.node, "-q", *args, seconds=LONG).returncode

    def blocked(self, at):
        """A publisher to a queue of that node, which waits for the disk of `b`."""
        ch = self.connect(address=at.address).channel()
        ch.declare("m", durable=True, arguments=HERE)
        wait_until(lambda: self.in_sync(at) == 2, "mirrors", LONG)
        p = Publisher(at.address, "m", size=20000)
        self.assertIn("disk", p.publish_until_blocked())
        self.assertLess(self.disk.free(), 8 * MIB, "blocked with much room left")
        return p

    def in_sync(self, at):
        out = at.ctl("-n", at.node, "-q", "list_queues", "synchronised_slave_pids", seconds=LONG)
        return out.stdout.count("rabbit")

    def test_publishers_elsewhere_wait_and_nothing_is_lost(self):
        p = self.blocked(self.a)
        taken = drain(self.a.address, "m")
        self.assertLessEqual(p.confirmed, {n for n, _ in taken})
        p.wait(lambda _: p.blocked is None, "unblocked")
        p.wait_confirmed()
        p.publish(200)
        p.wait_confirmed()
        taken += drain(self.c.address, "m")
        self.assertEqual(wrong_in(taken, p.sent), "")
        self.assertEqual(self.in_sync(self.a), 2)
        p.close()

    def test_a_master_that_dies_meanwhile(self):
        p = self.blocked(self.a)
        self.a.kill()
        p.listen_to_the_end()
        wait_until(lambda: self.cluster.lacks(self.c, ["m"]) == [], "another master", LONG)
        taken = [n for n, _ in drain(self.c.address, "m")]
        self.assertLessEqual(p.confirmed, set(taken), "confirmed and lost")
        self.assertEqual(taken, sorted(set(taken)))
        again = Publisher(self.c.address, "m", size=20000)
        again.publish(200)
        again.wait_confirmed()
        again.close()
