"""What a mirror has: after it was away, set aside, short of memory; and what it has no more."""

import hashlib

from harness.waits import LONG, wait_until
from test_cluster_mirrors import PERSISTENT, MirrorCase, numbered

TARGETS = ("broker",)
LARGE = 68 * 1024 * 1024  # more than may be on its way to a mirror


class Copies(MirrorCase):
    def led_by(self, queue, node):
        """The others go, and come back, until it is the eldest."""
        while True:
            name = self.wait_in_sync(node, queue, 3)[0]
            if name == node.node:
                return
            master = next(n for n in self.cluster.nodes if n.node == name)
            master.kill()
            self.wait_master(node, queue, master)
            self.cluster.start([master])

    def away(self, node):
        node.kill()
        self.wait_in_sync(self.a, "m", 2)

    def back(self, node):
        self.cluster.start([node])
        self.wait_in_sync(self.a, "m", 3)

    def killed_in_sync(self):
        """Mirrors that were too slow for a while leave the in-sync set, and come back: until then
        nobody else is made master."""
        self.wait_in_sync(self.a, "m", 3)
        self.a.kill()

    def taken(self, ch, queue, bodies):
        for body in bodies:
            self.assertEqual(ch.get(queue, no_ack=True).body, body)

    def test_one_that_was_away_has_what_it_lacked_and_nothing_that_is_settled(self):
        ch = self.declared(self.a, "m")
        self.confirmed(ch, "m", numbered(300))
        self.away(self.c)
        self.taken(ch, "m", numbered(100))
        self.confirmed(ch, "m", numbered(100, 300))
        self.back(self.c)
        self.taken(ch, "m", numbered(10, 100))
        self.confirmed(ch, "m", [b"last"])
        self.led_by("m", self.c)
        self.assertEqual(self.all_of(self.c, "m"), numbered(290, 110) + [b"last"])

    def test_one_that_was_set_aside_begins_with_nothing(self):
        ch = self.declared(self.a, "m")
        self.confirmed(ch, "m", numbered(200))
        self.ctl(self.a, "set_policy", "ha", "^m",
                 '{"ha-mode":"nodes","ha-params":["%s","%s"],"ha-sync-mode":"automatic"}'
                 % (self.a.node, self.b.node))
        wait_until(lambda: self.c.node not in self.holders(self.a, "m"), "it to be set aside", LONG)
        self.taken(ch, "m", numbered(100))
        self.confirmed(ch, "m", numbered(50, 200))
        self.c.kill()
        self.cluster.start([self.c])
        self.ctl(self.a, "set_policy", "ha", "^m", self.policy)
        self.wait_in_sync(self.a, "m", 3)
        self.c.kill()
        self.back(self.c)
        self.led_by("m", self.c)
        self.assertEqual(self.all_of(self.c, "m"), numbered(150, 100))

    def test_a_queue_of_the_same_name_is_another_one(self):
        ch = self.declared(self.a, "m")
        self.confirmed(ch, "m", numbered(200))
        self.away(self.c)
        ch.call("queue.delete", queue="m")
        ch.declare("m", durable=True, arguments={"x-queue-master-locator": "client-local"})
        self.confirmed(ch, "m", numbered(10, 500))
        self.back(self.c)
        self.led_by("m", self.c)
        self.assertEqual(self.all_of(self.c, "m"), numbered(10, 500))

    def test_a_very_large_message_is_on_all_of_them(self):
        ch = self.declared(self.a, "m")
        body = hashlib.sha256(b"seed").digest() * (LARGE // 32)
        self.confirmed(ch, "m", [b"before", body, b"behind"])
        self.killed_in_sync()
        self.wait_master(self.b, "m", self.a)
        got = self.all_of(self.c, "m")
        self.assertEqual([len(b) for b in got], [6, LARGE, 6])
        self.assertEqual(hashlib.sha256(got[1]).digest(), hashlib.sha256(body).digest())

    def test_one_that_is_short_of_memory_leads_with_all(self):
        for n in self.cluster.nodes:
            self.ctl(n, "set_vm_memory_high_watermark", "absolute", "24M")
        ch = self.declared(self.a, "m")
        bodies = [b"%06d" % i + b"." * 5000 for i in range(4000)]
        self.confirmed(ch, "m", bodies, PERSISTENT)
        self.taken(ch, "m", bodies[:500])
        self.confirmed(ch, "m", [b"last"])
        self.killed_in_sync()
        self.wait_master(self.b, "m", self.a)
        got = self.all_of(self.c, "m")
        self.assertEqual(len(got), 3501)
        self.assertEqual(got, bodies[500:] + [b"last"])
