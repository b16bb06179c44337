"""Tests that want a cluster of three."""

from harness.case import Case
from harness.cluster import Cluster
from harness.ports import free_port


class ClusterCase(Case):
    """Three nodes, or more, that are one cluster: `here`, `there` and `third` are the first."""

    node_count = 3

    def setUp(self):
        super().setUp()
        self.cluster = Cluster(self.folder("cluster"), self.node_count)
        for n in self.cluster.nodes:
            self.own(n)
        self.cluster.start().wait_voters()
        self.here, self.there, self.third = self.cluster.nodes[:3]

    def gossiping(self, port=None):
        """What a proxy is told, [global], so that it takes part."""
        return {"cookie-file": self.cluster.path("cookie"),
                "gossip": "127.0.0.1:%d" % (port or free_port()),
                "gossip-seed": "127.0.0.1:%d" % self.here.cluster_port}
