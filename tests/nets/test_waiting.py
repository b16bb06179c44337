"""Nodes that wait for others say for whom, and what to do when those do not come back."""

import shutil

from harness.waits import LONG, wait_until
from lab.case import NetCase

TARGETS = ("broker",)
BARE = True


class Waiting(NetCase):
    def lose(self, *hosts):
        """All die, and the data of these."""
        for h in self.hosts:
            h.kill()
        for h in hosts:
            shutil.rmtree(h.path("data"))

    def answers(self, host):
        """It is up as far as warrenctl is concerned."""
        wait_until(lambda: host.ctl("-q", "cluster_status").returncode == 0,
                   "%s to answer warrenctl" % host.name, LONG)

    def test_one_whose_cluster_is_gone(self):
        """Nobody begins a cluster beside an old one that may come back; the log says what helps."""
        one, two, three = self.cluster()
        self.channel_at(one).declare("gone", durable=True)
        self.lose(one, two)
        self.hosts.start(ready=False)
        three.proc.wait_log(rb"waits for rabbit@rabbit1, rabbit@rabbit2; .*force_reset", LONG)
        one.proc.wait_log(rb"waits for .*rabbit@rabbit3, not ready.*; .*force_reset", LONG)
        self.ctl(three, "force_reset")
        for h in self.hosts:
            h.wait_ready()
        self.check_end()

    def test_it_can_be_told_to_stay_closed(self):
        one, two, three = self.cluster()
        self.lose(one, two)
        three.start(ready=False)
        self.answers(three)
        self.assertIn("rabbit@rabbit1", three.status()["waits_for"])
        self.assertIn("waits", self.refused(three, "start_app")[1])
        self.ctl(three, "stop_app")
        self.assertIn("majority", self.refused(three, "reset")[1])
        self.assertIn("force_reset", self.refused(three, "join_cluster", one.node)[1])
        self.ctl(three, "force_reset")
        self.assertFalse(three.is_serving())
        one.conf["cluster"].pop("seeds")
        one.start()
        self.ctl(three, "join_cluster", one.node)
        self.ctl(three, "start_app")
        self.check_end([one, three])

    def test_what_was_stopped_while_it_waited_stays_so(self):
        one, two, three = self.cluster()
        self.lose()
        three.start(ready=False)
        self.answers(three)
        self.ctl(three, "stop_app")
        lives = three.log_text().count("in the cluster as node")
        self.hosts.start([one, two])
        wait_until(lambda: three.log_text().count("in the cluster as node") > lives,
                   "rabbit3 to be in", LONG)
        self.assertFalse(three.is_serving())
        self.assertEqual(sorted(one.status()["running_nodes"]), [one.node, two.node])
        self.ctl(three, "start_app")
        self.assertTrue(three.is_serving())
        self.check_end()

    def test_one_that_was_forgotten_meanwhile(self):
        one, two, three = self.cluster()
        ch = self.channel_at(three)
        ch.declare("its-own", durable=True, arguments={"x-queue-master-locator": "client-local"})
        self.channel_at(one).bind("its-own", "amq.direct", "k")
        three.kill()
        self.wait_missed(three, one)
        self.ctl(one, "forget_cluster_node", three.node)
        # Its queue went with it, and may be made anew elsewhere.
        self.assertNotIn("its-own", self.ctl(two, "-q", "list_queues", "name"))
        self.channel_at(two).declare("its-own", durable=True)
        self.known_errors.append("was removed from the cluster")
        three.start(ready=False)
        three.proc.wait_log(rb"was removed from the cluster: 'warrenctl force_reset'", LONG)
        self.answers(three)
        self.ctl(three, "stop_app")
        self.ctl(three, "force_reset")
        self.ctl(three, "join_cluster", one.node)
        self.ctl(three, "start_app")
        self.check_end()
