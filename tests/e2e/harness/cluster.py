"""Several brokers that are one cluster, on loopback, each with a folder and ports of its own."""

import os
import re
import signal

from harness.api import Api
from harness.client import Conn
from harness.servers import Broker, answers, merged
from harness.waits import LONG, wait_until

BURDEN = 500  # more than a test declares
BURDEN_VHOST = "burden"


class Node(Broker):
    """A broker that finds the others by the cluster's run folder, and has their cookie."""

    def __init__(self, cluster, folder, name, conf):
        super().__init__(folder, name, conf)
        self.cluster = cluster

    @property
    def node(self):
        return self.name + "@localhost"

    @property
    def cluster_port(self):
        return int(self.conf["listen"]["cluster"].rsplit(":", 1)[1])

    def env(self):
        env = super().env()
        env["WARREN_RUN_DIR"] = self.cluster.path("run")
        env["RABBITMQ_NODENAME"] = self.node  # whom warrenctl means unless it is told
        return env

    def kill(self, number=signal.SIGKILL):
        self.proc.tolerated = True
        self.proc.signal(number)
        if number == signal.SIGKILL:
            self.proc.popen.wait(timeout=LONG)

    def is_serving(self):
        return self.proc is not None and self.proc.alive() and answers(self.address)


class Cluster:
    """`count` nodes, rabbit1 and so on. With `seeds` they find each other at their first start;
    without, each is alone and can be told to join."""

    node_class = Node

    def __init__(self, folder, count=3, conf=None, seeds=True):
        self.folder = folder
        os.makedirs(self.path("run"), exist_ok=True)
        self.conf = merged({"cluster": {"cookie-file": self.path("cookie")}}, conf)
        self.nodes = []
        for _ in range(count):
            self.add()
        if seeds:
            self.seed()

    def path(self, leaf):
        return os.path.join(self.folder, leaf)

    def add(self, conf=None, name=None):
        name = name or "rabbit%d" % (len(self.nodes) + 1)
        node = self.node_class(self, self.path(name), name, merged(self.conf, conf))
        self.nodes.append(node)
        return node

    def seed(self, nodes=None):
        seeds = ", ".join("127.0.0.1:%d" % n.cluster_port for n in self.nodes)
        for n in nodes or self.nodes:
            n.conf["cluster"]["seeds"] = seeds

    def start(self, nodes=None):
        nodes = nodes or self.nodes
        for n in nodes:
            if n.proc is not None:
                n.dead.append(n.proc)
            n.start(ready=False)
        for n in nodes:
            n.wait_ready()
        return self

    def stop(self):
        for n in reversed(self.nodes):
            if n.proc is not None and n.proc.alive():
                n.stop()

    def status(self, node):
        """What a node says of the cluster: the lines of its log are no interface, this is."""
        return node.ctl("-n", node.node, "-q", "cluster_status")

    def voters(self, node):
        """How many vote, by that node's word."""
        port = int(node.conf["listen"]["management"].rsplit(":", 1)[1])
        got = Api(port).get("/metrics")
        found = re.search(r"(?m)^warren_cluster_voters (\d+)$", got.body)
        return int(found.group(1)) if found else 0

    def wait_voters(self, count=None):
        """Whoever has just joined does not vote yet: who is to outlive the loss of one waits."""
        count = len(self.nodes) if count is None else count
        for n in self.nodes:
            wait_until(lambda n=n: self.voters(n) == count, "%s has %d voters" % (n.name, count),
                       LONG)
        return self

    def lacks(self, node, names):
        """Which of these queues cannot be used through that node."""
        conn = Conn(node.address, hello=False)
        try:
            conn.handshake()
            missing = []
            for q in names:
                ch = conn.channel()
                ch.send("queue.declare", queue=q, passive=True)
                if ch.next().name != "queue.declare_ok":
                    missing.append(q)
            return missing
        finally:
            conn.sock.close()

    def burden(self, node):
        """From now on what is declared through this node lives on others: it has so many queues of
        its own that it never has the fewest, which is what a place is chosen by (but for exclusive
        queues, which live with their connections)."""
        for args in (("add_vhost", BURDEN_VHOST),
                     ("set_permissions", "-p", BURDEN_VHOST, "guest", ".*", ".*", ".*")):
            out = node.ctl(*args, seconds=LONG)
            if out.returncode:
                raise AssertionError("%s: %s%s" % (args, out.stdout, out.stderr))
        conn = Conn(node.address, hello=False)
        try:
            conn.handshake(vhost=BURDEN_VHOST)
            ch = conn.channel()
            for i in range(BURDEN):
                ch.send("queue.declare", queue="burden%d" % i, durable=True,
                        arguments={"x-queue-master-locator": "client-local"})
            for _ in range(BURDEN):
                ch.expect("queue.declare_ok", LONG)
            ch.declare("elsewhere")
            home = self.home_of(node, BURDEN_VHOST, "elsewhere")
            if home in (None, node.node):
                raise AssertionError("a queue that is declared through %s lives on %s" % (
                    node.node, home))
            ch.call("queue.delete", queue="elsewhere")
        finally:
            conn.sock.close()
        return self

    def home_of(self, asked, vhost, queue):
        """The name of the node on which a queue lives, as another sees it; None: there is none."""
        out = asked.ctl("-q", "list_queues", "-p", vhost, "name", "pid", seconds=LONG)
        if out.returncode:
            raise AssertionError("list_queues: %s%s" % (out.stdout, out.stderr))
        pids = dict(line.split("\t") for line in out.stdout.splitlines() if "\t" in line)
        return pids[queue].strip("<>").rsplit(".", 3)[0] if queue in pids else None

    def wait_queues(self, names, nodes=None):
        for n in nodes or self.nodes:
            wait_until(lambda n=n: not self.lacks(n, names), "%s has %s" % (n.name, names), LONG)
