"""What a cluster shows of its inside: who takes part in gossip, and what its links carry."""

import os
import re
import signal

from harness.api import Api
from harness.cluster_case import ClusterCase
from harness.ports import free_port
from harness.proxy_view import command, http_get
from harness.servers import ROOT
from harness.waits import LONG, wait_until

TARGETS = ("broker",)
LOCAL = {"x-queue-master-locator": "client-local"}


class Seen(ClusterCase):
    def ctl(self, node, *args):
        out = node.ctl("-n", node.node, "-q", *args)
        self.assertEqual(out.returncode, 0, "%s\n%s%s" % (args, out.stdout, out.stderr))
        return out.stdout

    def observer(self, conf=None):
        """A proxy that takes part, and the number of its port."""
        port = free_port()
        return self.proxy(self.cluster.nodes,
                          dict(conf or {}, **{"global": self.gossiping(port)})), port

    def figures(self, text, name, **labels):
        """{labels of a series that has these: value}"""
        found = {}
        for line in text.split("\n"):
            m = re.match(r"%s(?:\{(.*)\})? (\S+)$" % name, line)
            if not m:
                continue
            of = dict(re.findall(r'(\w+)="([^"]*)"', m.group(1) or ""))
            if all(of.get(k) == v for k, v in labels.items()):
                found[tuple(sorted(of.items()))] = float(m.group(2))
        return found

    def sum(self, text, name, **labels):
        return sum(self.figures(text, name, **labels).values())

    def metrics(self, node):
        port = int(node.conf["listen"]["management"].rsplit(":", 1)[1])
        return Api(port).get("/metrics").body


class Watched(Seen):
    def test_alerts_and_dashboard_name_what_there_is(self):
        # One with all there is: what it says of RabbitMQ, too, though nobody is there.
        proxy, _ = self.observer({"backend elsewhere": {
            "balance": "queue-master",
            "discover": "rabbitmq http://guest:guest@127.0.0.1:%d/" % free_port()}})
        there = {"up"}
        for text in (self.metrics(self.here), http_get(proxy.stats_port, "/metrics")[1]):
            there |= set(re.findall(r"(?m)^([a-z_]+)[ {]", text))
        folder = os.path.join(ROOT, "contrib", "monitoring")
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), encoding="utf-8") as f:
                wanted = set(re.findall(r"\b(?:warren|rabbitmq|haproxy)_[a-z_]+", f.read()))
            self.assertGreater(len(wanted), 10, name)
            self.assertEqual(wanted - there, set(), name)


class Gossip(Seen):
    def test_a_proxy_is_seen_by_every_node_and_sees_them_all(self):
        proxy, port = self.observer()
        for n in self.cluster.nodes:
            said = wait_until(lambda n=n: re.search(
                r"Proxies\S*\n\nproxy@\S+: at 127.0.0.1:%d, Warren \d\S*\n" % port,
                self.ctl(n, "cluster_status")), "%s sees the proxy" % n.name, LONG)
            self.assertTrue(said)

        def all_alive():
            said = command(proxy, "show gossip")
            return " members=4 alive=4 " in said and all(
                re.search(r"^%s broker alive " % n.node, said, re.M) for n in self.cluster.nodes)
        wait_until(all_alive, "the proxy sees the nodes", LONG)
        self.assertRegex(command(proxy, "show gossip"), r"(?m)^proxy@\S+ proxy alive self ")

        for n in self.cluster.nodes:
            wait_until(lambda n=n: self.sum(self.metrics(n), "warren_gossip_members",
                                            state="alive") == 4, "the figures", LONG)
        seen = []

        def is_fed():
            seen[:] = [http_get(proxy.stats_port, "/metrics")[1]]
            return self.sum(seen[0], "warren_link_connected", **{"class": "feed"}) == 1
        wait_until(is_fed, "the proxy's link", LONG)
        text = seen[0]
        self.assertEqual(self.sum(text, "warren_gossip_members", state="alive"), 4)
        self.assertGreater(self.sum(text, "warren_link_received_bytes_total"), 0)

        proxy.stop()
        for n in self.cluster.nodes:
            wait_until(lambda n=n: "Proxies" not in self.ctl(n, "cluster_status"),
                       "%s sees it no more" % n.name, LONG)

    def test_one_that_is_killed_is_missed(self):
        proxy, _ = self.observer()
        wait_until(lambda: "Proxies" in self.ctl(self.there, "cluster_status"), "seen", LONG)
        proxy.proc.tolerated = True
        proxy.proc.signal(signal.SIGKILL)
        wait_until(lambda: "Proxies" not in self.ctl(self.there, "cluster_status"), "missed", LONG)


class Table(Seen):
    """The proxy's table of queues, which one broker after the other feeds."""

    def setUp(self):
        super().setUp()
        self.front, _ = self.observer()
        self.wait(0)

    def gossip(self):
        return command(self.front, "show gossip")

    def table(self):
        line = re.search(r"(?m)^table (.*)$", self.gossip())
        return dict(pair.split("=") for pair in line.group(1).split())

    def wait(self, entries):
        """Until it is complete and has so many queues: the table as it is then."""
        seen = {}

        def is_so():
            seen.update(self.table())
            return seen["fresh"] == "yes" and int(seen["entries"]) == entries
        try:
            wait_until(is_so, "%d queues in the table" % entries, LONG)
        except AssertionError as e:
            raise AssertionError("%s, but %s" % (e, seen)) from e
        return seen

    def wait_alive(self, count):
        wait_until(lambda: " alive=%d " % count in self.gossip(), "%d are alive" % count, LONG)

    def declare(self, node, *names, **how):
        ch = self.channel(address=node.address)
        for name in names:
            ch.declare(name, arguments=LOCAL, **how)
        return ch

    def test_follows_what_is_declared_and_deleted_anywhere(self):
        self.declare(self.here, "a1", "a2", durable=True)
        self.declare(self.there, "b1", "b2", durable=True)
        ch = self.declare(self.third, "c1")
        before = self.wait(5)
        self.declare(self.there, "b1", durable=True)  # it is there already
        ch.call("queue.delete", queue="a1")           # of another node
        ch.call("queue.delete", queue="b2")
        after = self.wait(3)
        self.assertGreaterEqual(int(after["changes"]), int(before["changes"]) + 2)
        self.declare(self.third, "a1")  # by its old name elsewhere
        self.wait(4)
        own = self.declare(self.here, "mine", exclusive=True)
        self.wait(5)
        own.conn.close()
        self.wait(4)

    def test_nodes_that_die_and_come_back_cost_it_nothing(self):
        for n in self.cluster.nodes:
            self.declare(n, "on-" + n.name, durable=True)
        self.wait(3)
        # One after the other, so that each time it may be the one that feeds.
        for i, n in enumerate(self.cluster.nodes):
            other = self.cluster.nodes[i - 1]
            n.kill()
            self.wait_alive(3)
            self.declare(other, "while-%d" % i, durable=True)
            self.wait(4 + i)
            self.cluster.start([n]).wait_voters()
            self.wait_alive(4)
            self.wait(4 + i)
        ch = self.channel(address=self.here.address)
        for n in self.cluster.nodes:
            self.cluster.wait_queues(["on-" + n.name], [self.here])
            ch.call("queue.delete", queue="on-" + n.name)
        self.wait(3)


class Links(Seen):
    def link(self, node, name, peer, of="bulk"):
        return self.sum(self.metrics(node), "warren_link_" + name,
                        **{"class": of, "peer": peer.node})

    def test_control_links_are_counted_by_peer(self):
        for peer in (self.there, self.third):
            wait_until(lambda p=peer: self.link(self.here, "connected", p, "control") == 1,
                       "a link to " + peer.name, LONG)
            self.assertGreater(self.link(self.here, "sent_bytes_total", peer, "control"), 0)
            self.assertGreater(self.link(self.here, "received_frames_total", peer, "control"), 0)
            wait_until(lambda p=peer: self.link(self.here, "rtt_seconds", p, "control") > 0,
                       "a round trip", LONG)
        self.assertEqual(self.figures(self.metrics(self.here), "warren_link_connected",
                                      peer=self.here.node), {})
        before = self.link(self.here, "connects_total", self.there, "control")
        self.there.kill()
        wait_until(lambda: self.link(self.here, "connected", self.there, "control") == 0,
                   "it is gone", LONG)
        self.cluster.start([self.there])
        wait_until(lambda: self.link(self.here, "connected", self.there, "control") == 1,
                   "it is back", LONG)
        self.assertGreater(self.link(self.here, "connects_total", self.there, "control"), before)

    def test_those_of_messages_on_both_sides(self):
        octets, count = 100000, 20
        self.channel(address=self.there.address).declare("far", arguments=LOCAL)
        ch = self.channel(address=self.here.address)
        ch.call("confirm.select")
        for _ in range(count):
            ch.publish("", "far", b"m" * octets)
            ch.expect("basic.ack")
        sent = self.link(self.here, "sent_bytes_total", self.there)
        self.assertGreater(sent, octets * count)
        self.assertLess(sent, octets * count * 1.1)
        self.assertEqual(self.link(self.there, "received_bytes_total", self.here), sent)
        self.assertEqual(self.link(self.here, "connected", self.there), 1)
        self.assertEqual(self.link(self.there, "connected", self.here), 1)
        self.assertEqual(self.link(self.here, "full", self.there), 0)
        self.assertEqual(self.link(self.here, "sent_bytes_total", self.third), 0)

        # What a link has carried stays counted when it is gone.
        self.there.kill()
        wait_until(lambda: self.link(self.here, "connected", self.there) == 0, "lost", LONG)
        self.assertEqual(self.link(self.here, "sent_bytes_total", self.there), sent)

    def test_a_queue_that_was_just_made_is_not_asked_what_is_in_it(self):
        names = ["spread-%d" % i for i in range(12)]
        ch = self.channel(address=self.here.address)

        def declare(name):
            ok = ch.call("queue.declare", queue=name,
                         arguments={"x-queue-master-locator": "min-masters"})
            self.assertEqual((ok.queue, ok.message_count, ok.consumer_count), (name, 0, 0))

        def asked():
            return sum(self.link(self.here, "sent_frames_total", peer)
                       for peer in (self.there, self.third))
        for name in names:
            declare(name)
        self.assertEqual(asked(), 0)
        for name in names:
            declare(name)
        self.assertGreaterEqual(asked(), 8)  # each node is the master of four

    def test_the_cluster_in_figures(self):
        texts = [self.metrics(n) for n in self.cluster.nodes]
        self.assertEqual(sum(self.sum(t, "warren_cluster_leads") for t in texts), 1)
        for t in texts:
            self.assertEqual(self.sum(t, "warren_cluster_nodes"), 3)
            self.assertEqual(self.sum(t, "warren_cluster_voters"), 3)
            self.assertEqual(self.sum(t, "warren_cluster_cut_off"), 0)
            self.assertGreater(self.sum(t, "warren_cluster_applied_index"), 0)
