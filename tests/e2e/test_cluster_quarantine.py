"""What a node took that nobody else has, and that it is to drop: it is kept, listed, put back."""

import json
import re
import signal

from harness.api import Api
from harness.waits import LONG, wait_until
from test_cluster_mirrors import PERSISTENT, MirrorCase, numbered

TARGETS = ("broker",)


def management_port(node):
    return int(node.conf["listen"]["management"].rsplit(":", 1)[1])


class Quarantine(MirrorCase):
    policy = '{"ha-mode":"all","ha-sync-mode":"manual"}'

    def quarantined(self, node, *args):
        """As that node lists it: a dictionary a row."""
        return json.loads(self.ctl(node, "--formatter", "json", "list_quarantined", *args))

    def figure(self, name):
        body = Api(management_port(self.a)).get("/metrics").body
        return int(re.search(r"(?m)^warren_quarantine_%s (\d+)$" % name, body).group(1))

    def wait_gone(self):
        """The two copies that the first node had at its start, of queues that have messages."""
        def gone():
            body = Api(management_port(self.a)).get("/metrics").body
            return int(re.search(r"(?m)^rabbitmq_queues_deleted_total (\d+)$", body).group(1))
        wait_until(lambda: gone() == 2, "copies to go", LONG)

    def depth(self, node, queue):
        for line in self.ctl(node, "list_queues", "name", "messages").splitlines():
            if line.split("\t")[0] == queue:
                return int(line.split("\t")[1])
        return None

    def go_on_without(self, queue, old, node):
        """Its master is gone; if it was the last in sync somebody decides to go on all the same."""
        def is_served():
            why = self.ctl(node, "why_queue", queue)
            if "force_promote" in why:
                self.ctl(node, "force_promote", "--master-is-dead", queue, node.node)
            return "is served by" in why and "is served by " + old.node not in why
        wait_until(is_served, "another node to serve it", LONG)

    def lost_by(self, bodies):
        """The first node alone has these, and comes back as the mirror of another."""
        ch = self.declared(self.a, "m")
        self.confirmed(ch, "m", [b"all have it"])
        for n in (self.c, self.b):
            n.stop()
        self.confirmed(ch, "m", bodies)
        self.cluster.start([self.b, self.c]).wait_voters()
        self.a.kill()
        self.go_on_without("m", self.a, self.b)
        self.cluster.start([self.a])
        self.wait_in_sync(self.b, "m", 3)

    def test_what_is_cut_off_is_kept_listed_dropped_and_put_back(self):
        large = b"x" * 300000
        self.lost_by(numbered(5) + [large])
        self.assertEqual(self.depth(self.c, "m"), 1)
        for asked in self.cluster.nodes:
            row, = self.quarantined(asked)
            self.assertEqual((row["name"], row["node"], row["messages"]), ("m", self.a.node, 6))
        rows = self.quarantined(self.b, "m")
        self.assertEqual([r["body_bytes"] for r in rows], [1] * 5 + [300000])
        self.assertEqual({(r["routing_key"], r["persistent"]) for r in rows}, {("m", True)})
        ids = [r["id"] for r in rows]

        # It is on the disk, and asked of the node that has it.
        self.a.kill()
        out = self.c.ctl("-n", self.c.node, "list_quarantined", seconds=LONG)
        self.assertIn(self.a.node + " does not answer", out.stderr)
        self.cluster.start([self.a])
        self.wait_in_sync(self.b, "m", 3)
        self.assertEqual([r["id"] for r in self.quarantined(self.c, "m")], ids)

        self.assertEqual(self.figure("messages"), 6)

        # One goes for good, one is put back before those that came before it, then the rest.
        self.ctl(self.c, "drop_quarantined", "m", ids[1])
        self.ctl(self.b, "requeue_quarantined", "m", ids[3])
        self.assertEqual([r["id"] for r in self.quarantined(self.a, "m")],
                         [ids[0], ids[2], ids[4], ids[5]])
        self.ctl(self.c, "requeue_quarantined", "m")
        self.ctl(self.c, "requeue_quarantined", "m")
        self.assertEqual(self.quarantined(self.a), [])
        self.assertEqual([self.figure(name) for name in (
            "messages", "requeued_total", "dropped_total", "overflow_total")], [0, 5, 1, 0])
        ch = self.connect_to(self.c).channel()
        first = ch.get("m", no_ack=True)
        self.assertEqual((first.body, first.props.get("headers")), (b"all have it", None))
        back = ch.get("m", no_ack=True)
        self.assertEqual(back.body, b"3")
        self.assertEqual(back.props["headers"]["x-quarantined-by"], self.a.node)
        self.assertEqual(back.props["delivery_mode"], 2)
        self.assertEqual(ch.get_all("m"), [b"0", b"2", b"4", large])

    def test_who_is_no_mirror_any_more_keeps_what_nobody_else_has(self):
        """It was replaced while it was down; a queue whose messages all are elsewhere just goes."""
        for queue in ("m-empty", "m-same", "m"):
            ch = self.declared(self.a, queue)
            if queue != "m-empty":
                self.confirmed(ch, queue, [b"all have it"])
        for n in (self.c, self.b):
            n.stop()
        self.confirmed(ch, "m", numbered(5))
        self.cluster.start([self.b, self.c]).wait_voters()
        self.a.kill()
        for queue in ("m", "m-same", "m-empty"):
            self.go_on_without(queue, self.a, self.b)
        others = json.dumps({"ha-mode": "nodes", "ha-params": [self.b.node, self.c.node]})
        self.ctl(self.b, "set_policy", "ha", "^m", others)
        for queue in ("m", "m-same", "m-empty"):
            wait_until(lambda q=queue: self.a.node not in self.ctl(self.b, "why_queue", q),
                       "it to be replaced", LONG)
        self.cluster.start([self.a])
        self.wait_gone()
        row, = self.quarantined(self.c)
        self.assertEqual((row["name"], row["node"], row["messages"]), ("m", self.a.node, 5))
        self.ctl(self.c, "requeue_quarantined", "m")
        self.assertEqual(self.quarantined(self.b), [])

        # What went then has gone: nothing of it is found once more.
        self.a.kill()
        self.cluster.start([self.a])
        self.assertEqual(self.all_of(self.b, "m"), [b"all have it"] + numbered(5))
        self.assertEqual(self.quarantined(self.b), [])

    def test_what_its_publisher_sends_again_is_not_put_back_twice(self):
        ch = self.declared(self.a, "m")
        self.confirmed(ch, "m", [b"all have it"])
        publisher = self.connect_to(self.a).channel()
        publisher.call("confirm.select")
        for n in (self.c, self.b):
            n.kill()
        for i, body in enumerate(numbered(20)):
            publisher.publish("", "m", body, PERSISTENT if i % 2 else None)
        self.a.kill(signal.SIGSTOP)
        self.addCleanup(self.a.proc.signal, signal.SIGCONT)
        self.cluster.start([self.b, self.c])
        self.go_on_without("m", self.a, self.b)
        self.a.proc.signal(signal.SIGCONT)
        self.ctl(self.b, "set_policy", "ha", "^m", MirrorCase.policy)
        self.wait_confirmed(publisher, 20)
        self.wait_in_sync(self.b, "m", 3)
        self.ctl(self.b, "requeue_quarantined", "m")
        self.assertEqual(self.quarantined(self.c), [])
        self.assertEqual(self.all_of(self.c, "m"), [b"all have it"] + numbered(20))
