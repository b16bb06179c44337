"""Consumers and figures of queues that are used from other nodes: the same from every node."""

from harness.api import Api
from harness.cluster_case import ClusterCase
from harness.waits import LONG, wait_until

TARGETS = ("broker",)
LOCAL = {"x-queue-master-locator": "client-local"}
QUEUE = "/api/queues/%2f/"


class Consumers(ClusterCase):
    def setUp(self):
        super().setUp()
        self.far = self.channel(address=self.there.address)

    def api(self, node):
        return Api(int(node.conf["listen"]["management"].rsplit(":", 1)[1]))

    def declare(self, name, **arguments):
        self.far.declare(name, durable=True, arguments=dict(LOCAL, **arguments))
        self.cluster.wait_queues([name])

    def ctl(self, node, *args):
        out = node.ctl("-n", node.node, "-q", *args)
        self.assertEqual(out.returncode, 0, "%s\n%s%s" % (args, out.stdout, out.stderr))
        return out.stdout

    def rows(self, node, *args):
        lines = self.ctl(node, *args, "--no-table-headers").splitlines()
        return sorted(tuple(line.split("\t")) for line in lines)

    def same(self, what, ask):
        """What every node answers; it must be the same."""
        answers = [ask(n) for n in self.cluster.nodes]
        self.assertEqual(answers[1:], answers[:1] * 2, what)
        return answers[0]

    def name_of(self, channel):
        sock = channel.conn.sock
        return "%s:%d -> %s:%d" % (sock.getsockname() + sock.getpeername())

    def consume(self, node, queue, tag, **args):
        ch = self.channel(address=node.address)
        ch.consume(queue, tag=tag, **args)
        return ch


class Lists(Consumers):
    def test_each_consumer_is_shown_with_its_own_channel(self):
        self.declare("q")
        near = self.consume(self.here, "q", "from-here")
        third = self.consume(self.third, "q", "from-third", no_ack=True)
        own = self.consume(self.there, "q", "own")
        users = {"from-here": (near, self.here), "from-third": (third, self.third),
                 "own": (own, self.there)}

        def listed(node):
            return sorted(((c["consumer_tag"], c["channel_details"]["connection_name"],
                            c["channel_details"]["node"], c["ack_required"], c["active"],
                            c["activity_status"], c["queue"]["name"])
                           for c in self.api(node).get("/api/consumers").json))
        wanted = sorted((tag, self.name_of(ch), node.node, tag != "from-third", True, "up", "q")
                        for tag, (ch, node) in users.items())
        self.assertEqual(self.same("/api/consumers", listed), wanted)

        def details(node):
            q = self.api(node).get(QUEUE + "q").json
            return sorted((c["consumer_tag"], c["channel_details"]["connection_name"],
                           c["channel_details"]["node"]) for c in q["consumer_details"])
        self.assertEqual(self.same("consumer_details", details), [w[:3] for w in wanted])

        rows = self.same("list_consumers", lambda n: self.rows(n, "list_consumers"))
        self.assertEqual({r[2] for r in rows}, set(users))
        pids = {r[1]: r[2] for r in rows}
        channels = dict(self.same("list_channels", lambda n: self.rows(
            n, "list_channels", "pid", "connection")))
        connections = dict(self.same("list_connections", lambda n: self.rows(
            n, "list_connections", "pid", "name")))
        for pid, tag in pids.items():
            self.assertEqual(connections[channels[pid]], self.name_of(users[tag][0]))

    def test_the_one_that_has_it_alone(self):
        self.declare("exclusive")
        self.declare("single", **{"x-single-active-consumer": True})
        near = self.consume(self.here, "exclusive", "mine", exclusive=True)
        first = self.consume(self.here, "single", "first")
        second = self.consume(self.third, "single", "second")

        def channel_pid(node, tag):
            return [r[1] for r in self.rows(node, "list_consumers") if r[2] == tag][0]
        columns = ("name", "exclusive_consumer_pid", "exclusive_consumer_tag", "consumers")
        rows = {r[0]: r[1:] for r in self.same("list_queues", lambda n: self.rows(
            n, "list_queues", *columns))}
        self.assertEqual(rows["exclusive"], (channel_pid(self.there, "mine"), "mine", "1"))
        self.assertEqual(rows["single"], ("", "", "2"))

        def activity(node):
            return sorted((c["consumer_tag"], c["active"], c["activity_status"])
                          for c in self.api(node).get("/api/consumers").json)
        self.assertEqual(self.same("activity", activity),
                         [("first", True, "single_active"), ("mine", True, "up"),
                          ("second", False, "waiting")])

        def shown(node):
            out = {}
            for name in ("exclusive", "single"):
                q = self.api(node).get(QUEUE + name).json
                out[name] = (q.get("single_active_consumer_tag"), q.get("exclusive_consumer_tag"),
                             q["consumers"])
            return out
        self.assertEqual(self.same("queues", shown),
                         {"exclusive": (None, "mine", 1), "single": ("first", None, 2)})
        first.conn.close()
        wait_until(lambda: activity(self.here)[-1] == ("second", True, "single_active"),
                   "the next one is active", LONG)
        self.assertEqual(self.same("activity", activity)[-1], ("second", True, "single_active"))
        near.conn.close(), second.conn.close()


class Figures(Consumers):
    def test_counts_of_a_queue_that_others_use(self):
        self.declare("q")
        ch = self.channel(address=self.here.address)
        ch.call("confirm.select")
        for _ in range(10):
            ch.publish("", "q", b"12345")
            ch.expect("basic.ack")
        taker = self.channel(address=self.third.address)
        taker.call("basic.qos", prefetch_count=4)
        taker.consume("q", tag="t")
        tags = [d.delivery_tag for d in taker.deliveries(4)]
        taker.ack(tags[0])
        taker.deliveries(1)

        def counted(node):
            q = self.api(node).get(QUEUE + "q").json
            return (q["messages"], q["messages_ready"], q["messages_unacknowledged"],
                    q["consumers"], q["node"], q["message_bytes"])
        wanted = (9, 5, 4, 1, self.there.node, 45)
        wait_until(lambda: counted(self.there) == wanted, "the acknowledgement is there", LONG)
        self.assertEqual(self.same("/api/queues", counted), wanted)
        rows = self.same("list_queues", lambda n: self.rows(
            n, "list_queues", "name", "messages", "messages_ready", "messages_unacknowledged",
            "consumers", "pid"))
        self.assertEqual(rows[0][:5], ("q", "9", "5", "4", "1"))

        def stats(node):
            s = self.api(node).get(QUEUE + "q").json.get("message_stats", {})
            return {k: s.get(k, 0) for k in ("publish", "deliver_get", "ack", "redeliver")}
        want = {"publish": 10, "deliver_get": 5, "ack": 1, "redeliver": 0}
        for n in self.cluster.nodes:
            wait_until(lambda n=n: stats(n) == want, "the figures at %s: %s" % (n.name, want), LONG)

        overview = self.same("overview", lambda n: self.api(n).get(
            "/api/overview").json["queue_totals"]["messages"])
        self.assertEqual(overview, 9)

    def test_rates_are_those_of_now_on_every_node(self):
        """A queue is published to, through another node, for as long as it takes to be seen."""
        self.declare("q")
        ch = self.channel(address=self.here.address)

        def has_rate(node):
            for _ in range(50):
                ch.publish("", "q", b"m")
            ch.barrier()
            s = self.api(node).get(QUEUE + "q").json.get("message_stats", {})
            return s.get("publish_details", {}).get("rate", 0) > 0
        for n in self.cluster.nodes:
            wait_until(lambda n=n: has_rate(n), "a rate at " + n.name, LONG)

    def test_all_queues_from_all_nodes(self):
        for n in self.cluster.nodes:
            ch = self.channel(address=n.address)
            for i in range(3):
                ch.declare("%s-%d" % (n.name, i), arguments=LOCAL)
        names = [("%s-%d" % (n.name, i)) for n in self.cluster.nodes for i in range(3)]
        self.cluster.wait_queues(names)
        rows = self.same("list_queues", lambda n: self.rows(
            n, "list_queues", "name", "pid", "messages", "consumers", "state"))
        self.assertEqual([r[0] for r in rows], sorted(names))
        listed = self.same("/api/queues", lambda n: sorted(
            (q["name"], q["node"], q["state"]) for q in self.api(n).get("/api/queues").json))
        self.assertEqual([r[0] for r in listed], sorted(names))
