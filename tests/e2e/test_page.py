"""The pages for people, looked at in a real browser: of a cluster's node, and of the proxy."""

import os
import re

from harness import browser
from harness.cluster_case import ClusterCase
from harness.proxy_view import command, wait_status
from harness.waits import LONG, wait_until

TARGETS = ("proxy",)
NASTY = "<img src=x onerror=alert(1)>"


class Pages(ClusterCase):
    def setUp(self):
        if not browser.is_there():
            self.skipTest("chromium is not installed")
        super().setUp()
        self.b = browser.Browser()
        self.addCleanup(self.b.close)

    def look(self, name):
        """On a desk and on a phone: nothing is cut off, and there is something to see."""
        for width, height, phone in ((1280, 900, False), (390, 844, True)):
            self.b.size(width, height, phone)
            wait_until(self.b.fits, "%s fits %d" % (name, width))
            shot = os.path.join(self.folder("shots"), "%s-%d.png" % (name, width))
            self.assertGreater(self.b.screenshot(shot), 20, shot)

    def judge(self, *addresses):
        """It asked nobody else for anything, and its scripts had no trouble."""
        strangers = [r for r in self.b.requests
                     if not r.startswith(tuple(addresses) + ("about:", "data:"))]
        self.assertEqual(strangers, [])
        self.assertEqual(self.b.complaints, [])

    def ctl(self, node, *args):
        out = node.ctl("-n", node.node, "-q", *args, seconds=LONG)
        self.assertEqual(out.returncode, 0, out.stdout + out.stderr)

    def shown(self, address):
        """What a page shows that does not load itself anew."""
        self.b.open(address)
        return self.b.wait_text("1 of 2")

    def see_mirrors_behind(self, node, address):
        """By how much; they are not given what is old."""
        self.ctl(node, "set_policy", "late", "^page", '{"ha-mode":"all","ha-sync-mode":"manual"}')
        wait_until(lambda: self.shown(address).count("is behind by at most 3") ==
                   len(self.cluster.nodes) - 1, "the lag of all mirrors", LONG)
        self.look("behind")
        self.ctl(node, "clear_policy", "late")
        wait_until(lambda: "behind" not in self.shown(address), "no mirrors", LONG)

    def test_of_a_node_and_of_the_proxy(self):
        node = self.cluster.nodes[0]
        p = self.proxy(self.cluster.nodes, {"global": self.gossiping(),
                                            "backend rabbits": {"balance": "queue-master"}})
        for n in self.cluster.nodes:
            wait_status(p, n.name, "UP")
        ch = self.connect(address=p.address).channel()
        q = "page.q"
        ch.declare(q)
        ch.declare(NASTY, durable=True)
        for i in range(3):
            ch.publish("", q, b"%d" % i)
        ch.barrier()

        at = "http://%s/" % node.conf["listen"]["management"]
        self.b.open(at)
        wait_until(lambda: self.b.value("!document.getElementById('login').hidden"), "a login", LONG)
        self.b.value("location.hash = '#/login/guest/wrong'; location.reload()")
        self.b.wait_text("may not look")
        self.b.value("location.hash = '#/login/guest/guest'; location.reload()")
        shown = self.b.wait_text("page.q", NASTY, "ready", *(n.name for n in self.cluster.nodes))
        self.assertIn("guest", shown)
        self.assertEqual(self.b.value("document.images.length"), 0)
        self.assertEqual(self.b.value("location.hash"), "", "the password stays in no history")
        wait_until(lambda: "3" in self.b.value("document.getElementById('tiles').innerText"),
                   "the three messages", LONG)
        self.look("node")

        pages = "http://127.0.0.1:%d/" % p.stats_port
        wait_until(lambda: "queues=" in command(p, "show queues"), "the table of queues", LONG)
        self.b.open(pages + "stats")
        shown = self.b.wait_text("warren-proxy", "Masters", "Last failovers", "Sessions", "Rates",
                                 "guest @ /")
        for n in self.cluster.nodes:
            self.assertIn(n.name, shown)
        self.look("proxy")
        self.assertIn("all queues", shown)
        self.b.open(pages + "stats;queues")
        shown = self.b.wait_text("page.q", NASTY, "2 of 2", "running", "1 of 1")
        self.assertEqual(self.b.value("document.images.length"), 0)
        self.look("queues")
        self.b.open(pages + "stats;queues?name=PAGE")
        self.assertNotIn(NASTY, self.b.wait_text("page.q", "1 of 2"))
        self.see_mirrors_behind(node, pages + "stats;queues?name=PAGE")
        self.judge(at, pages)

        self.b.open(pages + "stats")
        # A node goes with a queue that nobody else has, and comes back with it.
        lost = next(n for n in self.cluster.nodes if n.name != node.name and re.search(
            r"queues=[1-9]\d* server=%s " % n.name, command(p, "show queues")))
        ch.conn.close()
        lost.proc.tolerated = True
        lost.proc.kill()
        wait_until(lambda: re.search(r'name=%s@\S+ .*queues=1 left=1 .*state="goes on"' % lost.name,
                                     command(p, "show failovers")), "the failover", LONG)
        self.b.wait_text("goes on")
        lost.restart()
        wait_until(lambda: 'state="came back"' in command(p, "show failovers"), "its end", LONG)
