"""Nodes with certificates of the operator's: links between them show and demand these."""

import os

from harness.case import Case
from harness.cluster import Cluster
from harness.waits import LONG, wait_until

TARGETS = ("broker",)
FIRST = True
LOCAL = {"x-queue-master-locator": "client-local"}


class Authority:
    """Certificates signed by one of its own."""

    def __init__(self, case, name):
        self.case, self.folder = case, case.folder(name)
        self.ca, self.key = self.path("ca.crt"), self.path("ca.key")
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                     "-nodes", "-days", "2", "-subj", "/CN=" + name, "-keyout", self.key,
                     "-out", self.ca)

    def path(self, leaf):
        return os.path.join(self.folder, leaf)

    def openssl(self, *args):
        self.case.run_ok(["openssl", *args])

    def sign(self, name, verify):
        """The [tls] section of a node with a certificate of its own."""
        key, csr, crt = (self.path(name + end) for end in (".key", ".csr", ".crt"))
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                     "-subj", "/CN=" + name, "-keyout", key, "-out", csr)
        self.openssl("x509", "-req", "-in", csr, "-CA", self.ca, "-CAkey", self.key, "-days", "2",
                     "-CAcreateserial", "-out", crt)
        return {"cert": crt, "key": key, "ca": self.ca, "verify": verify}


class Certificates(Case):
    def cluster(self, *sections):
        c = Cluster(self.folder("cluster"), 0, seeds=False)
        for tls in sections:
            self.own(c.add({"tls": tls} if tls else None))
        c.seed()
        return c

    def log(self, node):
        with open(node.path("broker.log")) as f:
            return f.read()

    def use(self, c):
        """Each node's queue from each node."""
        for n in c.nodes:
            self.channel(address=n.address).declare("of-" + n.name, arguments=LOCAL)
        c.wait_queues(["of-" + n.name for n in c.nodes])
        for n in c.nodes:
            ch = self.channel(address=n.address)
            ch.call("confirm.select")
            for other in c.nodes:
                ch.publish("", "of-" + other.name, b"m")
                ch.expect("basic.ack", LONG)

    def test_a_cluster_whose_nodes_have_them(self):
        a = Authority(self, "authority")
        c = self.cluster(*(a.sign("node%d" % i, "peer") for i in range(3))).start()
        self.use(c)
        # Who comes from elsewhere by the cookie needs none.
        at = "127.0.0.1:%d" % c.nodes[0].cluster_port
        out = c.nodes[1].ctl("-n", at, "--cookie-file", c.path("cookie"), "ping")
        self.assertEqual(out.returncode, 0, out.stderr)

    def test_one_without_does_not_come_in_and_with_one_it_does(self):
        a = Authority(self, "authority")
        c = self.cluster(a.sign("node0", "peer"), None)
        there, late = c.nodes
        c.start([there])
        late.start(ready=False)
        wait_until(lambda: "peer did not return a certificate" in self.log(there),
                   "it is refused, and the log says why", LONG)
        wait_until(lambda: "certificate required" in self.log(late), "it is told", LONG)
        self.assertFalse(late.is_serving())
        late.proc.tolerated = True
        late.stop()
        late.conf["tls"] = a.sign("node1", "peer")
        c.start([late])
        c.wait_voters()
        self.use(c)

    def test_one_of_another_authority_does_not(self):
        a, b = Authority(self, "authority"), Authority(self, "another")
        c = self.cluster(a.sign("node0", "peer"), b.sign("node1", "peer"))
        c.start(c.nodes[:1])
        c.nodes[1].start(ready=False)
        wait_until(lambda: "the peer's certificate is refused" in self.log(c.nodes[1]), "why", LONG)
        c.nodes[1].proc.tolerated = True

    def test_a_running_cluster_gets_them_node_by_node(self):
        a = Authority(self, "authority")
        c = self.cluster(None, None, None).start().wait_voters()
        for verify in ("optional", "peer"):
            for i, n in enumerate(c.nodes):
                n.stop()
                n.conf["tls"] = a.sign("node%d" % i, verify)
                c.start([n]).wait_voters()
                self.use(c)
