"""Tests that want a cluster of three."""

from harness.case import Case
from harness.cluster import Cluster
from harness.ports import free_port


class ClusterCase(Case):
    """Three nodes that are one cluster: `here`, `there` and `third`."""

    def setUp(self):
        super().setUp()
        self.cluster = Cluster(self.folder("cluster"), 3)
        for n in self.cluster.nodes:
            self.own(n)
        self.cluster.start().wait_voters()
        self.here, self.there, self.third = self.cluster.nodes

    def gossiping(self, port=None):
        """What a proxy is told, [global], so that it takes part."""
        return {"cookie-file": self.cluster.path("cookie"),
                "gossip": "127.0.0.1:%d" % (port or free_port()),
                "gossip-seed": "127.0.0.1:%d" % self.here.cluster_port}
