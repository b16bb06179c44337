"""A node of a cluster is put into maintenance mode, and taken out of it: as RabbitMQ 3.10 does it."""

import threading

from harness.api import Api
from harness.cluster_case import ClusterCase
from harness.servers import answers
from harness.waits import LONG, wait_until

TARGETS = ("broker",)
LOCAL = {"x-queue-master-locator": "client-local"}
TEXT = "CONNECTION_FORCED - Node was put into maintenance mode"


class Drain(ClusterCase):
    def ctl(self, node, *args, status=0):
        out = node.ctl("-n", node.node, "-q", *args)
        self.assertEqual(out.returncode, status, "%s\n%s%s" % (args, out.stdout, out.stderr))
        return out.stdout + out.stderr

    def api(self, node):
        return Api(int(node.conf["listen"]["management"].rsplit(":", 1)[1]))

    def being_drained(self, asked):
        return sorted(n["name"] for n in self.api(asked).get("/api/nodes").json
                      if n["being_drained"])

    def expect_drained(self, *nodes):
        for asked in self.cluster.nodes:
            self.assertEqual(self.being_drained(asked), sorted(n.node for n in nodes))
            status = self.ctl(asked, "cluster_status")
            for n in self.cluster.nodes:
                self.assertIn("Node: %s, status: %sunder maintenance\n" %
                              (n.node, "" if n in nodes else "not "), status)

    def masters(self, names):
        """{queue: node}, as every node has it."""
        seen = []
        for n in self.cluster.nodes:
            queues = self.api(n).get("/api/queues").json
            seen.append({q["name"]: q["node"] for q in queues if q["name"] in names})
        self.assertEqual(seen[1:], seen[:1] * (len(seen) - 1))
        return seen[0]

    def test_a_stop_does_not_wait_for_what_a_drain_waits_for(self):
        """That is: for the clients of a proxy that gossip has not told of."""
        front = self.proxy([self.there], {"global": {"cookie-file": self.cluster.path("cookie")}},
                           server_opts="send-proxy-v2")
        self.connect(address=front.address)
        drain = threading.Thread(target=lambda: self.there.ctl("-n", self.there.node, "drain"))
        drain.start()
        self.addCleanup(drain.join, LONG)
        wait_until(lambda: self.being_drained(self.here) == [self.there.node], "it drains", LONG)
        self.assertEqual(self.there.stop(), 0)

    def test_its_clients_are_sent_away_and_no_others_let_in(self):
        self.expect_drained()
        client, stays = self.connect(address=self.there.address), self.channel(
            address=self.here.address)
        self.ctl(self.there, "drain")
        client.expect_close(320, TEXT)
        self.assertFalse(answers(self.there.address))
        self.expect_drained(self.there)
        self.assertIn("Is under maintenance?: true", self.ctl(self.there, "status"))
        stays.barrier()

        self.ctl(self.there, "drain")  # again is no matter
        self.ctl(self.there, "revive")
        self.assertTrue(answers(self.there.address))
        self.expect_drained()

    def test_what_it_has_is_served_to_others_and_it_gets_nothing_new(self):
        far = self.channel(address=self.there.address)
        far.declare("before", durable=True, arguments=LOCAL)
        ch = self.channel(address=self.here.address)
        ch.call("confirm.select")
        ch.consume("before", no_ack=True)
        self.ctl(self.there, "drain")
        ch.publish("", "before", b"m", props={"delivery_mode": 2})
        got = {ch.next(LONG).name for _ in range(2)}
        self.assertEqual(got, {"basic.ack", "basic.deliver"})

        names = ["new-%d" % i for i in range(12)]
        for q, locator in zip(names, ("min-masters", "random") * 6):
            ch.declare(q, arguments={"x-queue-master-locator": locator})
        homes = self.masters(names)
        self.assertEqual(len(homes), len(names))
        self.assertNotIn(self.there.node, homes.values())
        self.ctl(self.there, "revive")
        names = ["after-%d" % i for i in range(12)]
        for q in names:
            ch.declare(q, arguments={"x-queue-master-locator": "min-masters"})
        self.assertIn(self.there.node, self.masters(names).values())

    def leader(self):
        """Who leads, by the one log line that says so last."""
        status = [n for n in self.cluster.nodes
                  if "warren_cluster_leads 1\n" in self.api(n).get("/metrics").body]
        return status[0] if len(status) == 1 else None

    def test_it_does_not_lead(self):
        leader = wait_until(self.leader, "a leader", LONG)
        self.ctl(leader, "drain")
        wait_until(lambda: self.leader() not in (None, leader), "another leader", LONG)
        self.expect_drained(leader)
        self.channel(address=[n for n in self.cluster.nodes if n is not leader][0].address).queue()

    def test_a_restart_ends_it(self):
        self.ctl(self.there, "drain")
        self.there.stop()
        self.cluster.start([self.there])
        wait_until(lambda: self.being_drained(self.here) == [], "not drained", LONG)
        self.expect_drained()

    def test_so_does_starting_the_application(self):
        self.ctl(self.there, "drain")
        self.ctl(self.there, "stop_app")
        self.assertIn("the application is stopped", self.ctl(self.there, "drain", status=69))
        self.ctl(self.there, "start_app")
        self.assertTrue(answers(self.there.address))
        self.expect_drained()

    def test_one_that_was_taken_for_down_comes_back_drained(self):
        self.ctl(self.there, "drain")
        self.there.proc.tolerated = True
        self.there.proc.signal(19)
        try:
            wait_until(lambda: not self.is_running(), "it is taken for down", LONG)
        finally:
            self.there.proc.signal(18)
        wait_until(self.is_running, "it is back", LONG)
        ch = self.channel(address=self.here.address)

        def gets_none():
            q = self.name()
            ch.declare(q, arguments={"x-queue-master-locator": "random"})
            return self.masters([q])[q] != self.there.node
        wait_until(lambda: all(gets_none() for _ in range(12)), "it gets no queues", LONG)

    def is_running(self):
        nodes = self.api(self.here).get("/api/nodes").json
        return [n["running"] for n in nodes if n["name"] == self.there.node] == [True]
