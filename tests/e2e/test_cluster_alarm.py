"""A node of a cluster is short of memory or disk: publishers wait at all of them, as RabbitMQ has it."""

from harness.api import Api
from harness.cluster_case import ClusterCase
from harness.waits import LONG, wait_until

TARGETS = ("broker",)
NO_MEMORY = ("set_vm_memory_high_watermark", "0.000000001")
MEMORY = ("set_vm_memory_high_watermark", "0.4")
NO_DISK = ("set_disk_free_limit", "900TB")
DISK = ("set_disk_free_limit", "1MB")


class Alarm(ClusterCase):
    def ctl(self, node, *args, status=0):
        out = node.ctl("-n", node.node, "-q", *args)
        self.assertEqual(out.returncode, status, "%s\n%s%s" % (args, out.stdout, out.stderr))
        return out.stdout + out.stderr

    def api(self, node):
        return Api(int(node.conf["listen"]["management"].rsplit(":", 1)[1]))

    def alarms(self, node, which="alarms"):
        """The node's own word: (node, resource) of each; a failing check says them all."""
        got = self.api(node).get("/api/health/checks/" + which)
        self.assertIn(got.status, (200, 503))
        return sorted((a["node"], a["resource"]) for a in got.json.get("alarms", []))

    def wait_alarms(self, node, *want):
        wait_until(lambda: self.alarms(node) == sorted(want),
                   "%s knows of %s" % (node.name, want), LONG)

    def publisher(self, node):
        ch = self.channel(address=node.address)
        ch.publish("", "nowhere", b"m")
        ch.barrier()
        return ch

    def expect_blocked(self, ch, reason="low on memory"):
        ch.publish("", "nowhere", b"m")
        self.assertEqual(ch.conn.expect("connection.blocked", 0, LONG).reason, reason)

    def expect_unblocked(self, ch):
        ch.conn.expect("connection.unblocked", 0, LONG)
        ch.barrier()

    def test_publishers_of_all_nodes_wait_until_it_is_over(self):
        own, other = self.publisher(self.there), self.publisher(self.here)
        self.ctl(self.there, *NO_MEMORY)
        for n in self.cluster.nodes:
            self.wait_alarms(n, (self.there.node, "memory"))
        for ch in own, other:
            self.expect_blocked(ch)
        # Whoever takes is not disturbed.
        taker = self.channel(address=self.third.address)
        taker.queue()

        for ch in own, other:
            ch.conn.expect_silence(0.2)
        self.ctl(self.there, *MEMORY)
        for ch in own, other:
            self.expect_unblocked(ch)
        self.wait_alarms(self.here)

    def test_it_is_told_whose_it_is(self):
        self.ctl(self.there, *NO_MEMORY)
        self.wait_alarms(self.here, (self.there.node, "memory"))
        self.assertEqual(self.alarms(self.here, "local-alarms"), [])
        self.assertEqual(self.alarms(self.there, "local-alarms"), [(self.there.node, "memory")])
        said = "Memory alarm on node " + self.there.node
        self.assertIn(said, self.ctl(self.here, "alarms"))
        self.assertIn(said, self.ctl(self.here, "check_alarms", status=69))
        self.assertNotIn(said, self.ctl(self.here, "check_local_alarms"))
        self.assertIn(said, self.ctl(self.there, "check_local_alarms", status=69))
        self.assertIn(said, self.ctl(self.here, "cluster_status"))
        self.assertNotIn(said, self.ctl(self.here, "status"))
        api = self.api(self.here)
        self.assertEqual(api.get("/api/healthchecks/node").json, {"status": "ok"})
        self.assertIn("\nwarren_alarms_elsewhere 1\n", api.get("/metrics").body)
        alarmed = {n["name"]: n["mem_alarm"] for n in api.get("/api/nodes").json}
        self.assertEqual([n for n in alarmed if alarmed[n]], [self.there.node])

    def test_they_go_on_when_the_last_one_is_over(self):
        ch = self.publisher(self.here)
        self.ctl(self.there, *NO_MEMORY)
        self.ctl(self.third, *NO_DISK)
        self.wait_alarms(self.here, (self.there.node, "memory"), (self.third.node, "disk"))
        self.expect_blocked(ch, "low on memory & disk")
        self.ctl(self.there, *MEMORY)
        self.wait_alarms(self.here, (self.third.node, "disk"))
        ch.conn.expect_silence(0.2)
        self.ctl(self.third, *DISK)
        self.expect_unblocked(ch)

    def test_a_node_that_dies_takes_it_along(self):
        ch = self.publisher(self.here)
        self.ctl(self.there, *NO_MEMORY)
        self.wait_alarms(self.here, (self.there.node, "memory"))
        self.expect_blocked(ch)
        self.there.kill()
        self.expect_unblocked(ch)
        self.cluster.start([self.there])
        self.wait_alarms(self.here)
        self.expect_nobody_waits()

    def expect_nobody_waits(self):
        for n in self.cluster.nodes:
            self.publisher(n)

    def test_one_whose_application_stops_has_none_until_it_runs_again(self):
        ch = self.publisher(self.here)
        self.ctl(self.there, *NO_MEMORY)
        self.wait_alarms(self.here, (self.there.node, "memory"))
        self.expect_blocked(ch)
        self.ctl(self.there, "stop_app")
        self.expect_unblocked(ch)
        self.ctl(self.there, "start_app")
        self.wait_alarms(self.here, (self.there.node, "memory"))

    def test_who_comes_later_hears_of_it(self):
        self.third.stop()
        self.ctl(self.there, *NO_MEMORY)
        self.cluster.start([self.third])
        self.wait_alarms(self.third, (self.there.node, "memory"))
        self.expect_blocked(self.channel(address=self.third.address))

    def test_of_a_node_that_is_cut_off_from_all_nobody_waits(self):
        """Two of three die: nobody declares them down, and the alarm of one of them is no matter."""
        ch = self.publisher(self.here)
        self.ctl(self.there, *NO_MEMORY)
        self.wait_alarms(self.here, (self.there.node, "memory"))
        self.expect_blocked(ch)
        self.third.kill()
        self.there.kill()
        self.expect_unblocked(ch)
