"""What an operator sees of mirrored queues, and does about them: in the words of RabbitMQ 3.10 where
it has them."""

import json
import os
import re
import signal
import urllib.parse

from harness.api import Api
from harness.case import Case
from harness.cluster import Cluster
from harness.waits import LONG, wait_until

TARGETS = ("broker",)
LOCAL = {"x-queue-master-locator": "client-local"}
PERSISTENT = {"delivery_mode": 2}
EX_UNAVAILABLE, EX_TEMPFAIL = 69, 75


class Admin(Case):
    CONF = None

    def setUp(self):
        super().setUp()
        self.cluster = Cluster(self.folder("cluster"), 3, conf=self.CONF)
        for n in self.cluster.nodes:
            self.own(n)
        self.cluster.start().wait_voters()
        self.first, self.second, self.third = self.cluster.nodes
        self.ctl(self.first, "set_policy", "ha", "^m", '{"ha-mode":"all","ha-sync-mode":"automatic"}')

    def ctl(self, node, *args, status=0):
        out = node.ctl("-n", node.node, "-q", *args, seconds=LONG)
        self.assertEqual(out.returncode, status, "%s\n%s%s" % (args, out.stdout, out.stderr))
        return out.stdout + out.stderr

    def api(self, node):
        return Api(int(node.conf["listen"]["management"].rsplit(":", 1)[1]))

    def declare(self, node, *names, arguments=LOCAL):
        ch = self.channel(address=node.address)
        for q in names:
            ch.declare(q, durable=True, arguments=arguments)
        return ch

    def publish(self, node, queue, count=1):
        ch = self.channel(address=node.address)
        ch.call("confirm.select")
        for i in range(count):
            ch.publish(key=queue, body=b"%d" % i, props=PERSISTENT)
        waiting = set(range(1, count + 1))
        while waiting:  # in whatever order
            ack = ch.expect("basic.ack", LONG)
            tag = ack.delivery_tag
            waiting -= {t for t in waiting if t <= tag} if ack.multiple else {tag}

    def columns(self, asked, queue, *columns):
        rows = self.ctl(asked, "--no-table-headers", "list_queues", "name", *columns).splitlines()
        for row in rows:
            values = row.split("\t")
            if values[0] == queue:
                return values[1:]
        return None

    @staticmethod
    def nodes_of(pids):
        return re.findall(r"<([^.>]+@[^.>]+)\.", pids)

    def queue(self, asked, name):
        return self.api(asked).get("/api/queues/%2F/" + urllib.parse.quote(name)).json

    def wait_in_sync(self, asked, queue, *nodes):
        wanted = sorted(n.node for n in nodes)
        wait_until(lambda: sorted(self.nodes_of(self.columns(
            asked, queue, "synchronised_slave_pids")[0])) == wanted,
            "%s is in sync on %s" % (queue, wanted), LONG)

    def wait_lag(self, queue, lag):
        """Whoever is asked says which mirrors lack something, and how much."""
        for asked in self.cluster.nodes:
            wait_until(lambda: self.queue(asked, queue).get("mirror_lag") == lag,
                       "%s says that %s lacks %s" % (asked.name, queue, lag), LONG)
        listed = "[%s]" % ", ".join("{%(name)s, %(messages)d}" % one for one in lag or [])
        for asked in self.cluster.nodes:
            self.assertEqual(self.columns(asked, queue, "mirror_lag"), [listed])

    def wait_master(self, asked, queue, node):
        wait_until(lambda: self.nodes_of(self.columns(asked, queue, "pid")[0]) == [node.node],
                   "%s is on %s" % (queue, node.name), LONG)

    def depth(self, node, queue):
        ch = self.channel(address=node.address)
        return ch.call("queue.declare", queue=queue, passive=True).message_count


class Seen(Admin):
    def test_every_node_lists_the_same(self):
        self.declare(self.first, "m", "plain")
        for asked in self.cluster.nodes:
            pid, slaves, in_sync, policy, state = self.columns(
                asked, "m", "pid", "slave_pids", "synchronised_slave_pids", "policy", "state")
            self.assertEqual(self.nodes_of(pid), [self.first.node])
            self.assertEqual(sorted(self.nodes_of(slaves)), [self.second.node, self.third.node])
            self.assertEqual(sorted(self.nodes_of(in_sync)),
                             [self.second.node, self.third.node])
            self.assertEqual([policy, state], ["ha", "running"])
            self.assertEqual(self.columns(asked, "plain", "mirror_lag"), [""])
            self.assertEqual(self.columns(asked, "plain", "slave_pids", "synchronised_slave_pids",
                                          "policy"), ["", "", ""])

    def test_the_api_has_rabbits_fields(self):
        self.declare(self.first, "m", "plain")
        others = [self.second.node, self.third.node]
        for asked in self.cluster.nodes:
            m = self.queue(asked, "m")
            for field in ("slave_nodes", "synchronised_slave_nodes", "recoverable_slaves"):
                self.assertEqual(sorted(m[field]), others, field)
            self.assertEqual([m["node"], m["policy"], m["effective_policy_definition"]],
                             [self.first.node, "ha",
                              {"ha-mode": "all", "ha-sync-mode": "automatic"}])
            plain = self.queue(asked, "plain")
            self.assertNotIn("slave_nodes", plain)
            self.assertIsNone(plain["recoverable_slaves"])

    def test_messages_are_counted_once(self):
        self.declare(self.first, "m")
        self.publish(self.second, "m", 5)
        self.wait_in_sync(self.first, "m", self.second, self.third)
        for asked in self.cluster.nodes:
            totals = self.api(asked).get("/api/overview").json
            self.assertEqual(totals["queue_totals"]["messages"], 5)
            self.assertEqual(totals["object_totals"]["queues"], 1)
            self.assertEqual(self.queue(asked, "m")["messages"], 5)

    def test_mirrors_that_are_not_up_are_not_listed(self):
        self.declare(self.first, "m")
        self.second.kill()
        self.wait_in_sync(self.first, "m", self.third)
        self.assertEqual(self.nodes_of(self.columns(self.first, "m", "slave_pids")[0]),
                         [self.third.node])

    def test_a_queue_that_is_to_have_mirrors_and_has_none(self):
        self.ctl(self.first, "set_policy", "--priority", "1", "one", "^m1",
                 '{"ha-mode":"exactly","ha-params":1}')
        self.declare(self.first, "m1")
        self.assertEqual(self.columns(self.second, "m1", "slave_pids", "synchronised_slave_pids"),
                         ["[]", "[]"])
        self.assertEqual(self.queue(self.second, "m1")["slave_nodes"], [])

    def listed(self, asked, *which):
        return sorted(self.ctl(asked, "--no-table-headers", "list_queues", "name",
                               *which).split())

    def test_queues_by_where_they_are(self):
        self.declare(self.first, "here")
        self.declare(self.second, "there")
        self.declare(self.third, "away")
        self.third.kill()
        wait_until(lambda: self.columns(self.first, "away", "state") == ["down"], "it is away",
                   LONG)
        self.assertEqual(self.listed(self.first, "--local"), ["here"])
        self.assertEqual(self.listed(self.second, "--local"), ["there"])
        self.assertEqual(self.listed(self.first, "--online"), ["here", "there"])
        self.assertEqual(self.listed(self.second, "--offline"), ["away"])
        self.assertEqual(self.listed(self.first), ["away", "here", "there"])
        self.assertEqual(self.listed(self.first, "--online", "--offline"),
                         ["away", "here", "there"])

    def test_whether_a_node_may_be_stopped(self):
        """Not while it masters a queue that no other node has in sync."""
        self.declare(self.first, "m", "plain")
        self.declare(self.first, "q", arguments={"x-queue-type": "quorum"})
        checks = (("check_if_node_is_mirror_sync_critical", "node-is-mirror-sync-critical", "m"),
                  ("check_if_node_is_quorum_critical", "node-is-quorum-critical", "q"))
        leader = self.columns(self.first, "q", "leader")[0]
        asked = next(n for n in self.cluster.nodes if n.node == leader)
        self.wait_in_sync(self.first, "m", self.second, self.third)
        for order, path, queue in checks:
            wait_until(lambda path=path: self.api(asked).get(
                "/api/health/checks/" + path).status == 200, path + " is well", LONG)
            self.assertIn("no queues", self.ctl_aloud(asked, order).stdout)
        for n in self.cluster.nodes:
            if n is not asked:
                self.assertEqual(n.stop(), 0)
        for order, path, queue in checks:
            answer = wait_until(lambda path=path: next(
                (a for a in [self.api(asked).get("/api/health/checks/" + path)]
                 if a.status == 503), None), path + " is critical", LONG)
            self.assertEqual([q["name"] for q in answer.json["queues"]], [queue])
            out = self.ctl_aloud(asked, order)
            self.assertEqual(out.returncode, EX_UNAVAILABLE)
            self.assertIn("\n%s in virtual host '/'" % queue, out.stderr)

    def ctl_aloud(self, node, *args):
        return node.ctl("-n", node.node, *args, seconds=LONG)

    def test_why_a_queue_is_served_or_not(self):
        self.declare(self.first, "m")
        self.declare(self.third, "plain")
        why = self.ctl(self.second, "why_queue", "m")
        self.assertIn("queue 'm' in vhost '/' is served by %s; in sync: " % self.first.node, why)
        self.assertEqual(sorted(why.strip().split("in sync: ")[1].split(", ")),
                         [n.node for n in self.cluster.nodes])
        self.third.kill()
        wait_until(lambda: "waits" in self.ctl(self.first, "why_queue", "plain"), "it is missed",
                   LONG)
        self.assertEqual(self.ctl(self.first, "why_queue", "plain"),
                         "queue 'plain' in vhost '/' has its only copy on %s, and waits for that "
                         "node\n" % self.third.node)
        self.ctl(self.first, "why_queue", "nosuch", status=EX_UNAVAILABLE)


class Moved(Admin):
    def test_a_master_is_moved_and_nothing_is_lost(self):
        self.declare(self.first, "m")
        self.publish(self.second, "m", 20)
        self.wait_in_sync(self.first, "m", self.second, self.third)
        self.ctl(self.third, "move_master", "m", self.second.node)
        for asked in self.cluster.nodes:
            self.wait_master(asked, "m", self.second)
        self.wait_in_sync(self.first, "m", self.first, self.third)
        self.assertEqual(self.depth(self.third, "m"), 20)
        self.publish(self.first, "m", 5)
        self.assertEqual(self.depth(self.first, "m"), 25)
        self.ctl(self.third, "move_master", "m", self.second.node)  # it is there

    def test_what_cannot_be_moved_says_why(self):
        self.declare(self.first, "m", "plain")
        self.assertIn("has no copy there", self.ctl(self.first, "move_master", "plain",
                                                    self.second.node, status=EX_UNAVAILABLE))
        self.assertIn("not a member", self.ctl(self.first, "move_master", "m", "rabbit9@localhost",
                                               status=EX_UNAVAILABLE))
        self.assertIn("not_found: no queue 'nosuch' in vhost '/'", self.ctl(
            self.first, "move_master", "nosuch", self.second.node, status=EX_UNAVAILABLE))
        self.assertIn("move_master moves it without a loss", self.ctl(
            self.first, "force_promote", "m", self.second.node, status=EX_UNAVAILABLE))

    def test_masters_are_spread_on_demand(self):
        names = ["m%d" % i for i in range(12)]
        self.declare(self.first, *names)
        for q in names:
            self.wait_in_sync(self.first, q, self.second, self.third)
        out = self.ctl(self.second, "--formatter", "json", "rebalance")
        rows = {row["Node name"]: row["Number of classic queues"]
                for row in json.loads(out[out.index("["):])}
        self.assertEqual(sum(rows.values()), 12, out)
        self.assertLessEqual(max(rows.values()), 5, out)
        self.assertIn("no pattern", self.ctl(self.second, "rebalance", "(", status=65))

    def test_a_node_that_is_drained_gives_its_masters_away(self):
        names = ["m%d" % i for i in range(10)]
        self.declare(self.first, *names)
        self.declare(self.first, "plain")
        self.publish(self.second, "m3", 3)
        for q in names:
            self.wait_in_sync(self.first, q, self.second, self.third)
        self.ctl(self.first, "drain")
        masters = {q["name"]: q["node"] for q in self.api(self.second).get("/api/queues").json}
        self.assertEqual(masters.pop("plain"), self.first.node)
        self.assertNotIn(self.first.node, masters.values())
        self.assertEqual(self.depth(self.second, "m3"), 3)
        self.ctl(self.first, "revive")
        self.assertEqual(self.depth(self.first, "m3"), 3)


class Promoted(Admin):
    CONF = {"cluster": {"start-grace": "2s"}}

    def promoted(self, asked, queue, node):
        out = asked.ctl("-n", asked.node, "-q", "force_promote", queue, node.node, seconds=LONG)
        if out.returncode != 0:
            self.assertIn("not known to be dead", out.stdout + out.stderr)
        return out.returncode == 0

    def test_nobody_takes_over_who_lacks_something_until_an_operator_says_so(self):
        self.ctl(self.first, "set_policy", "--priority", "1", "manual", "^m",
                 '{"ha-mode":"all","ha-sync-mode":"manual"}')
        self.declare(self.first, "m")
        self.publish(self.first, "m", 2)
        for n in (self.third, self.second):
            n.stop()
        self.publish(self.first, "m", 1)
        self.cluster.start([self.second, self.third]).wait_voters()
        self.first.kill(signal.SIGSTOP)
        wait_until(lambda: "waits" in self.ctl(self.second, "why_queue", "m"), "it is missed", LONG)
        why = self.ctl(self.second, "why_queue", "m")
        self.assertIn("waits for %s, the only node that was in sync" % self.first.node, why)
        self.assertIn("force_promote", why)
        ch = self.channel(address=self.second.address)
        ch.send("queue.declare", queue="m", passive=True)
        ch.expect_close(404)
        self.assertEqual(self.columns(self.second, "m", "state"), ["down"])
        self.assertIn("may still be served by " + self.first.node, self.ctl(
            self.second, "force_promote", "m", self.third.node, status=EX_UNAVAILABLE))
        self.first.kill()  # and that is known when its port refuses
        wait_until(lambda: self.promoted(self.second, "m", self.third), "it is known to be dead", LONG)
        self.wait_master(self.second, "m", self.third)
        wait_until(lambda: self.depth(self.second, "m") == 2, "what the third had is served", LONG)

    def test_a_mirror_gets_old_messages_when_told_to(self):
        self.ctl(self.first, "set_policy", "--priority", "1", "manual", "^m",
                 '{"ha-mode":"all","ha-sync-mode":"manual"}')
        self.declare(self.first, "m", "plain")
        self.second.stop()
        self.publish(self.first, "m", 50)
        self.cluster.start([self.second]).wait_voters()
        wait_until(lambda: self.second.node in self.nodes_of(
            self.columns(self.first, "m", "slave_pids")[0]), "it is a mirror", LONG)
        self.wait_in_sync(self.first, "m", self.third)
        self.assertEqual(self.ctl(self.third, "cancel_sync_queue", "m"), "not_syncing\n")
        self.wait_lag("m", [{"name": self.second.node, "messages": 50}])
        self.publish(self.first, "m", 5)  # which it gets
        ch = self.channel(address=self.first.address)
        for _ in range(10):
            ch.call("basic.get", queue="m", no_ack=True)
        self.wait_lag("m", [{"name": self.second.node, "messages": 40}])
        self.ctl(self.third, "sync_queue", "m")
        self.wait_in_sync(self.first, "m", self.second, self.third)
        self.wait_lag("m", None)
        self.assertIn("not_mirrored", self.ctl(self.third, "sync_queue", "plain",
                                               status=EX_UNAVAILABLE))
        self.ctl(self.first, "move_master", "m", self.second.node)
        self.assertEqual(self.depth(self.third, "m"), 45)

    def test_a_mirror_gets_old_messages_by_the_api(self):
        self.ctl(self.first, "set_policy", "--priority", "1", "manual", "^m",
                 '{"ha-mode":"all","ha-sync-mode":"manual"}')
        self.declare(self.first, "m")
        self.second.stop()
        self.publish(self.first, "m", 50)
        self.cluster.start([self.second]).wait_voters()
        wait_until(lambda: self.second.node in self.nodes_of(
            self.columns(self.first, "m", "slave_pids")[0]), "it is a mirror", LONG)
        got = self.api(self.third).post("/api/queues/%2F/m/actions", {"action": "sync"})
        self.assertEqual(got.status, 204)
        self.wait_in_sync(self.first, "m", self.second, self.third)


class Damaged(Admin):
    def damage(self, node, body):
        """Flip an octet of a message in the journal of a node that does not run."""
        for at, _, names in os.walk(node.folder):
            for name in names if os.path.basename(at) == "journal" else ():
                with open(os.path.join(at, name), "r+b") as f:
                    where = f.read().find(body)
                    if where >= 0:
                        f.seek(where)
                        f.write(b"?")
                        return
        raise AssertionError("no %r in %s" % (body, node.folder))

    def fill(self, *marks):
        ch = self.channel(address=self.first.address)
        ch.call("confirm.select")
        for mark in marks:
            ch.publish(key="m", body=mark, props=PERSISTENT)
            ch.expect("basic.ack", LONG)

    def test_a_mirror_that_lost_something_gets_all_of_it_again(self):
        self.declare(self.first, "m")
        self.fill(b"mark-1", b"mark-2", b"mark-3")
        self.wait_in_sync(self.first, "m", self.second, self.third)
        self.third.kill()
        self.damage(self.third, b"mark-2")
        self.cluster.start([self.third])
        self.wait_in_sync(self.first, "m", self.second, self.third)
        self.ctl(self.first, "move_master", "m", self.third.node)
        ch = self.channel(address=self.second.address)
        wait_until(lambda: self.depth(self.second, "m") == 3, "all are there", LONG)
        got = [ch.get("m", no_ack=True).body for _ in range(3)]
        self.assertEqual(got, [b"mark-1", b"mark-2", b"mark-3"])

    def test_the_only_one_in_sync_that_lost_something_waits_for_an_operator(self):
        self.declare(self.first, "m", "plain")
        self.fill(b"mark-1")
        self.third.stop()
        self.second.stop()
        self.fill(b"mark-2", b"mark-3")
        self.first.kill()
        self.damage(self.first, b"mark-2")
        self.cluster.start()
        wait_until(lambda: "is damaged" in self.ctl(self.second, "why_queue", "m"), "it is told",
                   LONG)
        for asked in self.cluster.nodes:
            ch = self.channel(address=asked.address)
            ch.send("queue.declare", queue="m", passive=True)
            ch.expect_close(404)
            self.assertEqual(self.columns(asked, "m", "state"), ["down"])
            self.assertEqual(self.depth(asked, "plain"), 0)
        self.ctl(self.second, "force_promote", "m", self.first.node)
        wait_until(lambda: self.columns(self.second, "m", "state") == ["running"], "it is served",
                   LONG)
        self.assertEqual(self.depth(self.second, "m"), 2)


class AllAtOnce(Admin):
    CONF = {"cluster": {"start-grace": "2s"}}

    def begin(self):
        self.declare(self.first, "m1")
        self.declare(self.second, "m2")
        self.declare(self.third, "m3")
        for q, others in (("m1", (self.second, self.third)), ("m2", (self.first, self.third)),
                          ("m3", (self.first, self.second))):
            self.publish(self.first, q, 4)
            self.wait_in_sync(self.first, q, *others)

    def expect_all(self, asked):
        for q in ("m1", "m2", "m3"):
            wait_until(lambda q=q: "is served" in self.ctl(asked, "why_queue", q), q, LONG)
            self.assertEqual(self.depth(asked, q), 4, q)

    def end_each(self):
        for n in self.cluster.nodes:
            n.kill()

    def test_after_a_power_cut_nobody_is_waited_for(self):
        self.begin()
        self.end_each()
        self.cluster.start([self.second, self.third])
        self.expect_all(self.third)
        self.cluster.start([self.first])
        for q in ("m1", "m2", "m3"):
            wait_until(lambda q=q: len(self.nodes_of(self.columns(
                self.first, q, "synchronised_slave_pids")[0])) == 2, q + " is whole", LONG)
        self.expect_all(self.first)

    def test_after_stop_cluster_any_two_go_on(self):
        self.begin()
        self.ctl(self.second, "stop_cluster")
        for n in self.cluster.nodes:
            self.assertEqual(n.proc.popen.wait(timeout=LONG), 0)
        self.cluster.start([self.first, self.third])
        self.expect_all(self.first)
        self.cluster.start([self.second])
        for q in ("m1", "m2", "m3"):
            wait_until(lambda q=q: len(self.nodes_of(self.columns(
                self.second, q, "synchronised_slave_pids")[0])) == 2, q + " is whole", LONG)
        self.expect_all(self.second)
