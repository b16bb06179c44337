"""What a master of a queue with mirrors waits for, and what its mirrors are told."""

import http.client
import signal
import threading

from harness.api import Api
from harness.waits import LONG, wait_until
from test_cluster_mirrors import HERE, PERSISTENT, MirrorCase, numbered

TARGETS = ("broker",)


class Lead(MirrorCase):
    def test_what_mirrors_know_when_their_master_dies(self):
        ch = self.connect_to(self.a).channel()
        # One is filled before it has mirrors, and they do not ask for what is old.
        ch.declare("o", durable=True, arguments=HERE)
        self.confirmed(ch, "o", numbered(500))
        self.ctl(self.a, "set_policy", "old", "^o$", '{"ha-mode":"all"}')
        wait_until(lambda: "[]" not in self.ctl(self.a, "list_queues", "name", "slave_pids"),
                   "mirrors of the queue", LONG)
        self.assertEqual(len(self.holders(self.a, "o")), 1)
        self.ctl(self.a, "set_policy", "old", "^o$", self.policy)
        # What is handed out by priority leaves holes among the positions.
        ch.declare("mp", durable=True, arguments={**HERE, "x-max-priority": 5})
        self.wait_in_sync(self.a, "mp", 3)
        for i in range(30):
            self.confirmed(ch, "mp", [b"%d" % i], {"delivery_mode": 2, "priority": i % 5})
        self.assertEqual([ch.get("mp").body for _ in range(6)],
                         [b"4", b"9", b"14", b"19", b"24", b"29"])
        # Whoever is told of a later publish knows that the mirrors have come as far.
        self.confirmed(ch, "mp", [b"last"])
        # What somebody was shown is flagged, of a queue that is in no journal, too.
        shown = self.declared(self.a, "mshown", durable=False)
        self.confirmed(shown, "mshown", numbered(3), props=None)
        self.assertEqual(shown.get("mshown", no_ack=False).body, b"0")
        self.confirmed(shown, "mshown", [b"last"], props=None)
        # A commit is answered when the mirrors have it: what was published, what was settled.
        tx = self.declared(self.a, "mtx")
        tx.call("tx.select")
        for body in numbered(50):
            tx.publish("", "mtx", body, PERSISTENT)
        tx.call("tx.commit")
        for _ in range(20):
            tx.ack(tx.get("mtx", no_ack=False).delivery_tag)
        self.wait_in_sync(self.a, "o", 3)
        tx.call("tx.commit")

        self.a.kill()
        for queue in ("o", "mp", "mshown", "mtx"):
            self.wait_master(self.b, queue, self.a)
        after = self.connect_to(self.c).channel()
        self.assertEqual(after.get_all("mtx"), numbered(30, 20))
        self.assertEqual(after.get_all("o"), numbered(500))
        self.assertEqual(after.get_all("mp"),
                         [b"%d" % i for p in (3, 2, 1, 0) for i in range(p, 30, 5)] + [b"last"])
        again = after.get("mshown")
        self.assertEqual((again.body, again.redelivered), (b"0", True))

    def test_a_mirror_that_does_not_answer_is_waited_for_until_it_is_struck(self):
        self.ctl(self.a, "set_policy", "--priority", "1", "few", "^mfew",
                 '{"ha-mode":"all","ha-sync-mode":"automatic","ha-min-in-sync":3}')
        ch = self.declared(self.a, "m")
        few = self.declared(self.a, "mfew")
        ch.call("confirm.select")
        few.call("confirm.select")
        taker, look = ch.conn.channel(), ch.conn.channel()
        taker.consume("m", no_ack=True)
        self.c.proc.signal(signal.SIGSTOP)
        ch.publish("", "m", b"x", PERSISTENT)
        # Nobody sees it before: what is handed out comes before an answer that is later.
        look.declare("m", passive=True)
        early = [e for e in ch.conn.events if e.name == "basic.deliver"]
        self.assertTrue(not early or self.c.node not in self.holders(self.a, "m"))
        ch.expect("basic.ack", LONG)
        self.assertNotIn(self.c.node, self.holders(self.a, "m"))
        self.assertEqual([(d.body, d.redelivered) for d in taker.deliveries(1, LONG)],
                         [(b"x", False)])
        # Where so few are too few, what is published waits for a while, and is not taken.
        self.wait_in_sync(self.a, "mfew", 2)
        few.publish("", "mfew", b"1", PERSISTENT)
        few.expect("basic.nack", LONG)
        few.publish("", "mfew", b"2", PERSISTENT)
        self.c.proc.signal(signal.SIGCONT)
        few.expect("basic.ack", LONG)
        self.assertEqual(few.get_all("mfew"), [b"2"])
        self.wait_in_sync(self.a, "m", 3)

    def publish_by_management(self, node, queue, body):
        api = Api(int(node.conf["listen"]["management"].rpartition(":")[2]))
        return api.post("/api/exchanges/%2F/amq.default/publish", {
            "properties": {"delivery_mode": 2}, "routing_key": queue, "payload": body,
            "payload_encoding": "string"})

    def test_the_management_answers_when_mirrors_have_it(self):
        self.ctl(self.a, "set_policy", "--priority", "1", "few", "^mfew",
                 '{"ha-mode":"all","ha-sync-mode":"automatic","ha-min-in-sync":3}')
        self.declared(self.a, "m")
        self.declared(self.a, "mfew")
        self.addCleanup(self.c.proc.signal, signal.SIGCONT)
        # By way of the master, and of a node that is not.
        for node in (self.a, self.b):
            self.wait_in_sync(self.a, "m", 3)
            self.c.proc.signal(signal.SIGSTOP)
            got = self.publish_by_management(node, "m", node.name)
            self.assertEqual((got.status, got.json), (200, {"routed": True}))
            self.assertNotIn(self.c.node, self.holders(self.a, "m"))
            if node == self.b:
                got = self.publish_by_management(node, "mfew", "x")
                self.assertEqual((got.status, got.json["error"]), (400, "bad_request"))
                self.assertIn("Unable to publish", got.json["reason"])
            self.c.proc.signal(signal.SIGCONT)
        self.assertEqual(self.all_of(self.b, "m"), [b"rabbit1", b"rabbit2"])

    def test_a_node_stops_while_the_management_waits(self):
        self.ctl(self.a, "set_policy", "--priority", "1", "few", "^mfew",
                 '{"ha-mode":"all","ha-sync-mode":"automatic","ha-min-in-sync":3}')
        self.declared(self.a, "mfew")
        self.addCleanup(self.c.proc.signal, signal.SIGCONT)
        self.c.proc.signal(signal.SIGSTOP)
        waiting = threading.Thread(target=self.try_to_publish, args=(self.b,))
        waiting.start()
        wait_until(lambda: len(self.holders(self.a, "mfew")) == 2, "it to be struck", LONG)
        self.b.stop()
        waiting.join(LONG)
        self.assertFalse(waiting.is_alive())

    def try_to_publish(self, node):
        """The node may be gone before it answers."""
        try:
            self.publish_by_management(node, "mfew", "x")
        except (OSError, http.client.HTTPException):
            pass
