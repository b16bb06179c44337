"""What the proxy knows of the brokers' cluster: which server masters a queue, and which is there."""

import re
import signal

from harness.cluster_case import ClusterCase
from harness.proxy_view import command, http_get, stats
from harness.waits import LONG, wait_until

TARGETS = ("broker",)
LOCAL = {"x-queue-master-locator": "client-local"}


class Routing(ClusterCase):
    def front(self, servers=None, **backend):
        conf = {"global": self.gossiping(),
                "backend rabbits": {"balance": "queue-master", **backend}}
        return self.proxy(self.cluster.nodes if servers is None else servers, conf)

    def ready(self, proxy, query, status, text):
        got = http_get(proxy.stats_port, "/ready" + query)
        self.assertEqual(got[0], status, got)
        self.assertIn(text, got[1])

    def declare(self, node, *names, **how):
        ch = self.channel(address=node.address)
        for name in names:
            ch.declare(name, arguments=LOCAL, **how)
        return ch

    def wait_at(self, proxy, queue, pattern):
        """Until `show queues` says so of the queue."""
        said = [""]

        def is_so():
            said[0] = command(proxy, "show queues / " + queue)
            return re.search(pattern, said[0])
        try:
            wait_until(is_so, "%s: %s" % (queue, pattern), LONG)
        except AssertionError as e:
            raise AssertionError("%s, but %s" % (e, said[0])) from e


class Masters(Routing):
    def test_the_table_of_queues_names_servers_and_follows_them(self):
        front = self.front()
        for n in self.cluster.nodes:
            self.declare(n, "on-" + n.name, durable=True)
            self.wait_at(front, "on-" + n.name,
                         r"(?m)^backend=rabbits node=\d+ up server=%s usable=yes gossip=alive$" % n.name)
        self.assertIn("unknown", command(front, "show queues / nothing"))
        self.assertRegex(command(front, "show queues"),
                         r"(?m)^  node=\d+ up queues=1 server=rabbit2 usable=yes gossip=alive$")
        self.ready(front, "?vhost=/&queue=on-rabbit2", 200, "OK: its master is node")
        self.ready(front, "?vhost=%2F&queue=on-rabbit1", 200, ", server rabbit1")
        self.ready(front, "?vhost=/&queue=nothing", 404, "no such queue")
        self.ready(front, "?vhost=%2F", 400, "queue=Q")
        self.ready(front, "?vhost=%00&queue=a", 400, "are needed")
        self.ready(front, "?vhost=" + 256 * "v" + "&queue=a", 400, "are needed")
        self.ready(front, "", 200, "OK")
        metrics = http_get(front.stats_port, "/metrics")[1]
        self.assertRegex(metrics, r'(?m)^warren_proxy_queues\{proxy="rabbits",server="rabbit2",'
                                  r'node="\d+"\} 1$')
        self.assertIn('warren_proxy_server_gossip{proxy="rabbits",server="rabbit3",'
                      'state="alive"} 1', metrics)
        page = http_get(front.stats_port, "/stats")[1]
        self.assertRegex(page, r"<td class=l>rabbit2</td><td>\d+</td><td>1</td>"
                               r"<td class=l>up</td><td class=l>yes</td><td class=l>alive</td>")
        self.there.kill()
        self.wait_at(front, "on-rabbit2", r"(?m) down server=rabbit2 usable=no gossip=dead$")
        self.ready(front, "?vhost=/&queue=on-rabbit2", 503, "not now: its master is node")
        self.cluster.start([self.there])
        self.wait_at(front, "on-rabbit2", r"(?m) up server=rabbit2 usable=yes gossip=alive$")

    def test_promotions_are_followed(self):
        front = self.front()
        out = self.here.ctl("-n", self.here.node, "-q", "set_policy", "ha", "^m",
                            '{"ha-mode":"all","ha-sync-mode":"automatic"}')
        self.assertEqual(out.returncode, 0, out.stderr)
        names = ["m%d" % i for i in range(20)]
        self.declare(self.there, *names, durable=True)

        def in_sync():
            said = self.here.ctl("-n", self.here.node, "-q", "list_queues", "name",
                                 "synchronised_slave_pids").stdout
            return all(re.search(r"(?m)^%s\t.*rabbit1.*" % q, said) and
                       re.search(r"(?m)^%s\t.*rabbit3.*" % q, said) for q in names)
        wait_until(in_sync, "the mirrors are in sync", LONG)
        for q in names:
            self.wait_at(front, q, r" up server=rabbit2 ")
        self.there.kill()
        for q in names:
            self.wait_at(front, q, r" up server=rabbit[13] usable=yes ")


class Found(Routing):
    """discover = gossip: servers that are not listed."""

    def servers(self):
        return {name: row["status"] for (backend, name), row in stats(self.proxy_of).items()
                if backend == "rabbits" and name != "BACKEND"}

    def wait_servers(self, **wanted):
        """Until these, by the node's name, and no others are servers, with these states."""
        seen = [None]

        def is_so():
            seen[0] = {k.split("@")[0]: v for k, v in self.servers().items()}
            return seen[0].keys() == wanted.keys() and all(
                seen[0][k].startswith(v) for k, v in wanted.items())
        try:
            wait_until(is_so, "servers %s" % wanted, LONG)
        except AssertionError as e:
            raise AssertionError("%s, but %s" % (e, seen[0])) from e

    def test_nodes_are_servers_beside_a_listed_one_and_a_reload_keeps_them(self):
        self.proxy_of = front = self.front([self.here], discover="gossip")
        self.wait_servers(rabbit1="UP", rabbit2="UP", rabbit3="UP")
        self.assertRegex(command(front, "show servers state"),
                         r"(?m)^\d+ rabbits \d+ rabbit2@localhost 127.0.0.1 2 ")
        command(front, "set server rabbits/rabbit2@localhost state drain")
        self.wait_servers(rabbit1="UP", rabbit2="DRAIN", rabbit3="UP")
        self.declare(self.third, "q", durable=True)
        self.wait_at(front, "q", r" up server=rabbit3@localhost usable=yes gossip=alive")

        # A session of before the reload knows, as the new ones do, who comes later.
        conn = self.connect(address=front.address)
        self.third.kill()
        self.wait_servers(rabbit1="UP", rabbit2="DRAIN", rabbit3="DOWN")
        front.proc.signal(signal.SIGHUP)
        front.proc.wait_log(rb"reloaded file=", LONG)
        self.wait_servers(rabbit1="UP", rabbit2="DRAIN", rabbit3="DOWN")
        self.cluster.start([self.third])
        self.wait_servers(rabbit1="UP", rabbit2="DRAIN", rabbit3="UP")
        conn.channel().declare("r")

        out = self.third.ctl("-n", self.third.node, "drain")
        self.assertEqual(out.returncode, 0, out.stderr)
        front.proc.wait_log(rb" server rabbit3@localhost drains backend=rabbits", LONG)
        # DRAIN, and soon DOWN: it takes nobody in any more.
        self.wait_servers(rabbit1="UP", rabbit2="DRAIN", rabbit3="D")

    def test_a_node_that_gossips_and_does_not_answer_is_down(self):
        self.proxy_of = front = self.front([self.here], discover="gossip")
        self.wait_servers(rabbit1="UP", rabbit2="UP", rabbit3="UP")
        out = self.there.ctl("-n", self.there.node, "stop_app")
        self.assertEqual(out.returncode, 0, out.stderr)
        self.wait_servers(rabbit1="UP", rabbit2="DOWN", rabbit3="UP")
        out = self.there.ctl("-n", self.there.node, "start_app")
        self.assertEqual(out.returncode, 0, out.stderr)
        self.wait_servers(rabbit1="UP", rabbit2="UP", rabbit3="UP")
        self.assertIn("gossip=alive", command(front, "show queues"))
