"""Who belongs to a cluster: the orders of the tutorials, typed as they stand there."""

import re
import shutil

from harness.case import Case
from harness.cluster import Cluster
from harness.waits import LONG, wait_until

TARGETS = ("broker",)


class Members(Case):
    def cluster(self, count=2, seeds=False, start=True, **kw):
        c = Cluster(self.folder("cluster"), count, seeds=seeds, **kw)
        for n in c.nodes:
            self.own(n)
        return c.start() if start else c

    def ctl(self, node, *args):
        """An order that must be carried out: what it says."""
        out = node.ctl("-n", node.node, *args, seconds=LONG)
        self.assertEqual(out.returncode, 0, "%s\n%s%s" % (args, out.stdout, out.stderr))
        return out.stdout

    def refused(self, node, *args):
        """An order that must not be: the reason."""
        out = node.ctl("-n", node.node, *args, seconds=LONG)
        self.assertNotEqual(out.returncode, 0, "%s\n%s" % (args, out.stdout))
        return out.stderr + out.stdout

    def view(self, node):
        """Disc nodes, RAM nodes and running nodes, in the old shape."""
        out = self.ctl(node, "cluster_status", "--formatter", "erlang")
        parts = []
        for word in ("disc", "ram", "running_nodes"):
            found = re.search(r"\{%s,\[([^\]]*)\]\}" % word, out)
            parts.append(sorted(re.findall(r"rabbit\d", found.group(1))) if found else [])
        return parts

    def wait_view(self, nodes, disc, ram=(), running=None):
        want = [sorted(disc), sorted(ram), sorted(running or list(disc) + list(ram))]
        for n in nodes:
            seen = []

            def is_so(n=n, seen=seen):
                seen[:] = self.view(n)
                return seen == want
            try:
                wait_until(is_so, "%s sees %s" % (n.name, want), LONG)
            except AssertionError as e:
                raise AssertionError("%s, but %s" % (e, seen)) from e

    def join(self, node, to, *options, reset=True):
        said = self.ctl(node, "stop_app")
        if reset:
            said += self.ctl(node, "reset")
        said += self.ctl(node, "join_cluster", to.node, *options)
        return said + self.ctl(node, "start_app")

    def usable(self, cluster, nodes, name):
        """A queue declared at each of them is there for all."""
        for n in nodes:
            conn = self.connect(address=n.address)
            conn.channel().declare("%s-%s" % (name, n.name), durable=True)
            conn.close()
        cluster.wait_queues(["%s-%s" % (name, n.name) for n in nodes], nodes)


class Joining(Members):
    def test_as_the_tutorials_type_it(self):
        c = self.cluster()
        one, two = c.nodes
        said = self.join(two, one)
        self.assertIn("Clustering node rabbit2@localhost with rabbit1@localhost ...", said)
        self.wait_view(c.nodes, ["rabbit1", "rabbit2"])
        for n in c.nodes:
            self.assertRegex(
                self.ctl(n, "cluster_status", "--formatter", "erlang"),
                r"\[\{nodes,\[\{disc,\[rabbit1@localhost,rabbit2@localhost\]\}\]\},\n"
                r" \{running_nodes,\[[^\]]*\]\},\n[^$]*"
                r" \{partitions,\[\]\}")
        self.usable(c, c.nodes, "q")

    def test_one_that_has_nothing_needs_no_reset(self):
        c = self.cluster()
        one, two = c.nodes
        self.ctl(one, "add_user", "theirs", "secret")
        self.join(two, one, reset=False)
        self.wait_view(c.nodes, ["rabbit1", "rabbit2"])
        self.assertIn("theirs", self.ctl(two, "list_users"))

    def test_what_it_has_is_not_dropped_by_joining(self):
        c = self.cluster()
        one, two = c.nodes
        conn = self.connect(address=two.address)
        for has, drop in ((("add_user", "mine", "secret"), ("delete_user", "mine")),
                          (("add_vhost", "mine"), ("delete_vhost", "mine")), (None, None)):
            if has is not None:
                self.ctl(two, *has)
            else:
                conn.channel().declare("mine", durable=True)
                conn.close()
            self.ctl(two, "stop_app")
            why = self.refused(two, "join_cluster", one.node)
            self.assertIn("queues, vhosts or users of its own", why)
            self.assertIn("warrenctl reset", why)
            if has is not None:
                self.ctl(two, "start_app")
                self.ctl(two, *drop)
                conn = self.connect(address=two.address)
        self.ctl(two, "start_app")
        self.assertIn("mine", self.ctl(two, "list_queues"))
        self.join(two, one)
        self.wait_view(c.nodes, ["rabbit1", "rabbit2"])
        self.assertNotIn("mine", self.ctl(two, "list_queues"))

    def test_another_user_in_place_of_the_first_is_its_own(self):
        c = self.cluster()
        one, two = c.nodes
        self.ctl(two, "add_user", "mine", "secret")
        self.ctl(two, "delete_user", "guest")
        self.ctl(two, "stop_app")
        self.assertIn("users of its own", self.refused(two, "join_cluster", one.node))
        self.ctl(two, "start_app")
        self.assertIn("mine", self.ctl(two, "list_users"))

    def test_one_with_its_metadata_in_memory(self):
        c = self.cluster()
        one, two = c.nodes
        self.join(two, one, "--ram")
        self.wait_view(c.nodes, ["rabbit1"], ["rabbit2"])
        self.usable(c, c.nodes, "q")
        two.kill()
        self.wait_view([one], ["rabbit1"], ["rabbit2"], ["rabbit1"])
        c.start([two])
        self.wait_view(c.nodes, ["rabbit1"], ["rabbit2"])
        self.usable(c, c.nodes, "r")

    def test_the_old_form(self):
        c = self.cluster(3)
        one, two, three = c.nodes
        for n, names in ((two, [one, two]), (three, [one])):
            self.ctl(n, "stop_app")
            self.ctl(n, "reset")
            self.ctl(n, "cluster", *(m.node for m in names))
            self.ctl(n, "start_app")
        self.wait_view(c.nodes, ["rabbit1", "rabbit2"], ["rabbit3"])

    def test_the_only_one_is_a_disc_node(self):
        c = self.cluster(1)
        self.ctl(c.nodes[0], "stop_app")
        why = self.refused(c.nodes[0], "change_cluster_node_type", "ram")
        self.assertIn("can only be disc nodes", why)
        self.ctl(c.nodes[0], "start_app")

    def test_not_while_the_application_runs(self):
        c = self.cluster()
        one, two = c.nodes
        for order in (["reset"], ["force_reset"], ["join_cluster", one.node],
                      ["change_cluster_node_type", "ram"]):
            self.assertIn("stop_app", self.refused(two, *order))
        self.ctl(two, "stop_app")
        self.assertIn("rabbit9", self.refused(two, "join_cluster", "rabbit9@localhost"))
        self.ctl(two, "start_app")
        self.usable(c, [two], "q")

    def test_what_it_has_is_not_dropped_for_its_seeds(self):
        c = self.cluster()
        one, two = c.nodes
        self.ctl(two, "add_user", "mine", "secret")
        self.assertEqual(two.stop(), 0)
        c.seed([two])
        c.start([two])
        two.proc.wait_log(rb"has queues, vhosts or users of its own.*reset", LONG)
        self.assertIn("mine", self.ctl(two, "list_users"))
        self.wait_view([two], ["rabbit2"])


class Leaving(Members):
    def test_reset_of_a_member(self):
        c = self.cluster(3, seeds=True)
        one, two, three = c.nodes
        self.wait_view(c.nodes, ["rabbit1", "rabbit2", "rabbit3"])
        self.ctl(one, "add_user", "theirs", "secret")
        self.ctl(one, "stop_app")
        self.ctl(one, "reset")
        self.ctl(one, "start_app")
        self.wait_view([two, three], ["rabbit2", "rabbit3"])
        self.wait_view([one], ["rabbit1"])
        self.assertNotIn("theirs", self.ctl(one, "list_users"))
        self.usable(c, [two, three], "q")
        self.join(one, two)
        self.wait_view(c.nodes, ["rabbit1", "rabbit2", "rabbit3"])
        self.assertIn("theirs", self.ctl(one, "list_users"))

    def test_forgetting(self):
        c = self.cluster(3, seeds=True)
        one, two, three = c.nodes
        self.wait_view(c.nodes, ["rabbit1", "rabbit2", "rabbit3"])
        self.assertIn("running", self.refused(one, "forget_cluster_node", two.node))
        why = self.refused(one, "forget_cluster_node", "rabbit9@localhost")
        self.assertIn("not in the cluster", why)
        two.kill()
        wait_until(lambda: self.view(one)[2] == ["rabbit1", "rabbit3"], "it is missed", LONG)
        said = self.ctl(one, "forget_cluster_node", two.node)
        self.assertIn("Removing node rabbit2@localhost from the cluster", said)
        self.wait_view([one, three], ["rabbit1", "rabbit3"])
        self.usable(c, [one, three], "q")
        # It learns of it, and what to do.
        two.start(ready=False)
        two.proc.wait_log(rb"was removed from the cluster.*force_reset", LONG)
        two.kill()

    def test_forgetting_one_whose_application_is_stopped(self):
        c = self.cluster(3, seeds=True)
        one, two, three = c.nodes
        self.wait_view(c.nodes, ["rabbit1", "rabbit2", "rabbit3"])
        self.assertEqual(three.stop(), 0)
        self.ctl(one, "forget_cluster_node", three.node)
        self.wait_view([one, two], ["rabbit1", "rabbit2"])

    def test_by_force(self):
        c = self.cluster(2, seeds=True)
        one, two = c.nodes
        self.wait_view(c.nodes, ["rabbit1", "rabbit2"])
        one.kill()
        self.ctl(two, "stop_app")
        self.assertIn("majority", self.refused(two, "reset"))
        self.ctl(two, "force_reset")
        self.ctl(two, "start_app")
        self.wait_view([two], ["rabbit2"])
        self.usable(c, [two], "q")

    def test_another_machine_of_an_old_name(self):
        c = self.cluster(3, seeds=True)
        one, two, three = c.nodes
        self.wait_view(c.nodes, ["rabbit1", "rabbit2", "rabbit3"])
        self.ctl(one, "add_user", "theirs", "secret")
        two.kill()
        shutil.rmtree(two.path("data"))
        c.start([two])
        self.wait_view(c.nodes, ["rabbit1", "rabbit2", "rabbit3"])
        self.assertIn("theirs", self.ctl(two, "list_users"))
        self.usable(c, c.nodes, "q")


class Types(Members):
    def test_from_disc_to_ram_and_back_by_joining_anew(self):
        c = self.cluster(3, seeds=True)
        one, two, three = c.nodes
        self.wait_view(c.nodes, ["rabbit1", "rabbit2", "rabbit3"])
        self.ctl(one, "stop_app")  # it leads, and must let another one do it
        self.assertIn("Turning rabbit1@localhost into a ram node",
                      self.ctl(one, "change_cluster_node_type", "ram"))
        one.proc.wait_log(rb"a RAM node from the next start on", LONG)
        self.ctl(one, "start_app")
        self.wait_view(c.nodes, ["rabbit2", "rabbit3"], ["rabbit1"])
        self.usable(c, c.nodes, "q")
        one.kill()
        c.start([one])
        self.wait_view(c.nodes, ["rabbit2", "rabbit3"], ["rabbit1"])
        c.wait_queues(["q-%s" % n.name for n in c.nodes])
        self.ctl(one, "stop_app")
        self.assertIn("join_cluster --disc", self.refused(one, "change_cluster_node_type", "disc"))
        self.ctl(one, "start_app")
        self.join(one, two, "--disc")
        self.wait_view(c.nodes, ["rabbit1", "rabbit2", "rabbit3"])
        self.usable(c, c.nodes, "r")

    def test_by_seeds(self):
        c = self.cluster(2, start=False)
        ram = self.own(c.add({"node": {"type": "ram"}}))
        c.seed()
        c.start()
        self.wait_view(c.nodes, ["rabbit1", "rabbit2"], ["rabbit3"])
        self.usable(c, c.nodes, "q")
        self.ctl(ram, "stop_app")
        self.ctl(ram, "reset")
        self.ctl(ram, "start_app")
        self.wait_view([ram], ["rabbit3"])

    def test_a_ram_node_finds_the_others_without_its_seed(self):
        c = self.cluster(3, seeds=True)
        ram = self.own(c.add({"node": {"type": "ram"}}))
        ram.conf["cluster"]["seeds"] = "127.0.0.1:%d" % c.nodes[0].cluster_port
        c.start([ram])
        self.wait_view([ram], ["rabbit1", "rabbit2", "rabbit3"], ["rabbit4"])
        ram.kill()
        c.nodes[0].kill()
        c.start([ram])
        self.wait_view([ram], ["rabbit1", "rabbit2", "rabbit3"], ["rabbit4"],
                       ["rabbit2", "rabbit3", "rabbit4"])

    def test_two_and_a_witness(self):
        c = self.cluster(2, start=False)
        w = self.own(c.add({"node": {"type": "witness"}, "listen": {"amqp": "none"}}))
        c.seed()
        one, two, _ = c.nodes
        w.start(ready=False)
        c.start([one, two])
        wait_until(lambda: "rabbit3" in self.ctl(one, "cluster_status"), "the witness", LONG)
        self.usable(c, [one, two], "before")
        self.voters(one, 3)
        one.kill()
        wait_until(lambda: two.ctl("-n", two.node, "add_user", "u", "p", seconds=LONG)
                   .returncode == 0, "a leader", LONG)
        conn = self.connect(address=two.address)
        ch = conn.channel()
        ch.declare("q", durable=True)
        ch.call("exchange.declare", exchange="x", type="direct", durable=True)
        ch.bind("q", "x", "k")
        self.ctl(two, "set_permissions", "u", ".*", ".*", ".*")
        self.ctl(two, "forget_cluster_node", one.node)
        self.assertNotIn("rabbit1", self.ctl(two, "cluster_status"))

    def voters(self, node, count):
        """It takes them a moment to catch up."""
        wait_until(lambda: len(re.findall(rb"becomes a (?:voter|witness)", self.log(node))) >=
                   count - 1, "%d voters" % count, LONG)

    def log(self, node):
        with open(node.path("broker.log"), "rb") as f:
            return f.read()
