"""Channels go to the masters of the queues that they use: balance = queue-master."""

import re

from harness.cluster_case import ClusterCase
from harness.proxy_view import command, http_get, wait_status
from harness.waits import LONG, wait_until

TARGETS = ("proxy",)
LOCAL = {"x-queue-master-locator": "client-local"}


class Masters(ClusterCase):
    """A proxy before three nodes, each of which masters one queue of its own name."""

    def setUp(self):
        super().setUp()
        self.front = self.proxy(self.cluster.nodes, {
            "global": self.gossiping(),
            "backend rabbits": {"balance": "queue-master"}})
        for n in self.cluster.nodes:
            wait_status(self.front, n.name, "UP")
        self.names = [n.name for n in self.cluster.nodes]
        self.queues = {n.name: n.name + ".q" for n in self.cluster.nodes}
        for n in self.cluster.nodes:
            self.channel(address=n.address).declare(self.queues[n.name], arguments=LOCAL)
        self.wait_known()

    def wait_known(self):
        """Until the workers know the way to each queue."""
        for server, q in self.queues.items():
            wait_until(lambda server=server, q=q: "server=%s usable=yes" % server in command(
                self.front, "show queues / " + q), "the proxy knows " + q, LONG)

    def legs(self):
        """{channel: [server...]} of the one client that is there."""
        found = {}
        for channel, server in re.findall(r"(?m)^\S+ channel=(\d+) be=\S+ srv=(\S+)",
                                          command(self.front, "show legs")):
            found.setdefault(int(channel), []).append(server)
        return found

    def ways(self):
        text = http_get(self.front.stats_port, "/metrics")[1]
        return {way: int(n) for way, n in re.findall(
            r'(?m)^warren_proxy_operations_total\{way="(\w+)"\} (\d+)$', text)}


class Places(Masters):
    def test_the_first_queue_that_is_named_says_where(self):
        conn = self.connect(address=self.front.address)
        uses = {
            "publish": lambda ch, q: ch.publish("", q, b"one"),
            "get": lambda ch, q: self.assertEqual(ch.get(q).body, b"one"),
            "consume": lambda ch, q: ch.consume(q),
            "passive": lambda ch, q: ch.declare(q, passive=True),
        }
        before = self.ways()
        for name, use in uses.items():
            with self.subTest(name):
                for server, q in self.queues.items():
                    ch = conn.channel()
                    self.assertEqual(self.legs()[ch.number], ["<none>"])
                    use(ch, q)
                    ch.barrier()
                    self.assertEqual(self.legs()[ch.number], [server])
                    ch.close()
        self.assertEqual(self.legs(), {})
        self.assertEqual(self.ways()["straight"] - before["straight"], 9)
        self.assertEqual(self.ways()["hop"], before["hop"])

    def test_what_prepares_a_channel_needs_no_broker_and_is_not_lost(self):
        conn = self.connect(address=self.front.address)
        for server, q in self.queues.items():
            ch = conn.channel()
            ch.call("basic.qos", prefetch_count=2)
            ch.call("confirm.select")
            self.assertEqual(self.legs()[ch.number], ["<none>"])
            for n in range(5):
                ch.publish("", q, b"%d" % n)
            for n in range(1, 6):
                if ch.expect("basic.ack").delivery_tag == 5:
                    break
            ch.consume(q)
            got = ch.deliveries(2)
            ch.expect_silence()
            ch.ack(got[1].delivery_tag, multiple=True)
            self.assertEqual([d.body for d in ch.deliveries(2)], [b"2", b"3"])
            self.assertEqual(self.legs()[ch.number], [server])
            ch.call("queue.purge", queue=q)
            ch.close()

    def test_an_exclusive_queue_stays_with_its_connection(self):
        conn = self.connect(address=self.front.address)
        mine = [conn.channel().queue(exclusive=True) for _ in range(3)]
        named = [self.name() for _ in range(3)]
        for q in named:
            conn.channel().declare(q, exclusive=True)
        for q in mine + named:
            ch = conn.channel()
            ch.publish("", q, b"mine")
            ch.barrier()
            self.assertEqual(ch.get(q).body, b"mine")
        homes = self.legs()
        self.assertGreater(len({servers[0] for servers in homes.values()}), 1)
        stranger = self.connect(address=self.front.address).channel()
        stranger.send("basic.get", queue=named[0])
        stranger.expect_close(405)

    def test_a_channel_that_needs_no_broker_is_closed_without_one(self):
        conn = self.connect(address=self.front.address)
        ch = conn.channel(7)
        ch.call("channel.close")
        ch = conn.channel(7)
        ch.call("exchange.declare", exchange=self.name(), type="fanout", auto_delete=True)
        self.assertNotEqual(self.legs()[7], ["<none>"])
        conn.send_method(7, "channel.open")
        conn.expect_close(504)
