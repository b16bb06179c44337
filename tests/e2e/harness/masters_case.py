"""Tests that want a proxy which routes by master, before a cluster of three."""

import re

from harness.cluster_case import ClusterCase
from harness.proxy_view import command, http_get, wait_status
from harness.waits import LONG, wait_until

LOCAL = {"x-queue-master-locator": "client-local"}


class Masters(ClusterCase):
    """A proxy before three nodes, each of which masters one queue of its own name."""

    policies = ()

    def setUp(self):
        super().setUp()
        for args in self.policies:
            out = self.here.ctl("-n", self.here.node, "-q", "set_policy", *args, seconds=LONG)
            self.assertEqual(out.returncode, 0, out.stderr)
        self.front = self.proxy(self.cluster.nodes, {
            "global": self.gossiping(),
            "backend rabbits": {"balance": "queue-master"}})
        for n in self.cluster.nodes:
            wait_status(self.front, n.name, "UP")
        self.names = [n.name for n in self.cluster.nodes]
        self.queues = {n.name: n.name + ".q" for n in self.cluster.nodes}
        for n in self.cluster.nodes:
            self.declare_at(n, self.queues[n.name])
        self.wait_known()

    def declare_at(self, node, queue):
        """A busy machine may be in the midst of an election: then it is refused."""
        def declared():
            try:
                ch = self.channel(address=node.address)
                ch.declare(queue, durable=True, arguments=LOCAL)
            except AssertionError:
                return False
            ch.conn.close()
            return True
        wait_until(declared, queue + " is declared", LONG)

    def wait_known(self):
        """Until the workers know the way to each queue."""
        for server, q in self.queues.items():
            wait_until(lambda server=server, q=q: "server=%s usable=yes" % server in command(
                self.front, "show queues / " + q), "the proxy knows " + q, LONG)

    def wait_proxy_known(self):
        """Until each node knows that there is one: such are waited for when it is drained."""
        for node in self.cluster.nodes:
            wait_until(lambda node=node: "proxy@" in node.ctl(
                "-n", node.node, "-q", "cluster_status", seconds=LONG).stdout,
                "%s knows the proxy" % node.name, LONG)

    def legs(self):
        """{channel: [server...]} of the one client that is there."""
        found = {}
        for channel, server in re.findall(r"(?m)^\S+ channel=(\d+) be=\S+ srv=(\S+)",
                                          command(self.front, "show legs")):
            found.setdefault(int(channel), []).append(server)
        return found

    def counts(self, name, label):
        """A metric by the values of its one label."""
        text = http_get(self.front.stats_port, "/metrics")[1]
        return {word: int(n) for word, n in re.findall(
            r'(?m)^%s\{%s="(\w+)"\} (\d+)$' % (name, label), text)}

    def figure(self, name):
        text = http_get(self.front.stats_port, "/metrics")[1]
        return int(re.search(r"(?m)^%s (\d+)$" % name, text).group(1))

    def ways(self):
        return self.counts("warren_proxy_operations_total", "way")


class Mirrored(Masters):
    """... whose queues all three hold."""

    policies = (("all", "[.]q$|^load-", '{"ha-mode":"all"}'),)

    def setUp(self):
        super().setUp()
        for q in self.queues.values():
            wait_until(lambda q=q: self.mirrors(q) == 2, "mirrors of " + q, LONG)

    def mirrors(self, queue):
        out = self.ctl("list_queues", "name", "synchronised_slave_pids")
        lists = dict(line.split("\t") for line in out.splitlines() if "\t" in line)
        return len([p for p in lists.get(queue, "").strip("[]").split(", ") if p])

    def ctl(self, *args):
        out = self.there.ctl("-n", self.there.node, "-q", *args, seconds=LONG)
        self.assertEqual(out.returncode, 0, "%s\n%s%s" % (args, out.stdout, out.stderr))
        return out.stdout

    def failovers(self):
        return self.counts("warren_proxy_failovers_total", "channels")
