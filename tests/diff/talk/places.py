"""Where conversations take place: a server of each kind, and on it a virtual host for each."""

import base64
import http.client
import os
import re

from harness import ports, procs
from harness.cluster import Cluster
from harness.servers import Broker, Proxy, Rabbit
from harness.waits import LONG

MADE = re.compile(r"/api/(users|vhosts)/[^/]+")
# Deliveries that nobody acknowledges: an interval that can be waited for, looked at each second.
ACK_TIMEOUT_S = 15
LIMITS = {"consumer-timeout": "%ds" % ACK_TIMEOUT_S}
ADVANCED = "[{rabbit, [{channel_tick_interval, 1000}]}].\n"
PLUGINS = ("rabbitmq_management", "rabbitmq_consistent_hash_exchange")


class Place:
    """One conversation's: an address, a virtual host, the management API."""

    def __init__(self, stand, token):
        self.token = self.vhost = token
        self.address, self.management_port = stand.address, stand.management_port
        self.ctl = stand.ctl
        self.made = []  # users and virtual hosts, to be deleted in the end

    def http(self, method, path, body=None, user="guest:guest"):
        """(status, octets)"""
        conn = http.client.HTTPConnection("127.0.0.1", self.management_port, timeout=LONG)
        headers = {"Authorization": "Basic " + base64.b64encode(user.encode()).decode(),
                   "Content-Type": "application/json"}
        if method == "PUT" and MADE.fullmatch(path):
            self.made.append(path)
        try:
            conn.request(method, path, body=body, headers=headers)
            answer = conn.getresponse()
            return answer.status, answer.read()
        finally:
            conn.close()

    def enter(self):
        self._must("/api/vhosts/" + self.vhost, "{}")
        self._must("/api/permissions/%s/guest" % self.vhost,
                   '{"configure": ".*", "write": ".*", "read": ".*"}')
        return self

    def _must(self, path, body):
        status, answer = self.http("PUT", path, body)
        if status not in (201, 204):
            raise AssertionError("PUT %s: %d %s" % (path, status, answer.decode()))

    def leave(self):
        """Users and virtual hosts that were made are gone."""
        for path in reversed(self.made):
            self.http("DELETE", path)


class Stand:
    """The servers of one target."""

    def __init__(self, target, folder):
        self.target, self.folder = target, folder
        self.proxy = self.cluster = None
        self.management_port = ports.free_port()

    def start(self):
        path = os.path.join(self.folder, self.target)
        if self.target == "rabbitmq":
            self.server = Rabbit(path, conf=(
                "collect_statistics_interval = 500",
                "consumer_timeout = %d000" % ACK_TIMEOUT_S, "management.tcp.ip = 127.0.0.1",
                "management.tcp.port = %d" % self.management_port), plugins=PLUGINS,
                advanced=ADVANCED)
        elif self.target == "remote":
            self._start_cluster(path)
        else:
            self.server = Broker(os.path.join(path, "rabbit1"), conf={
                "node": {"threads": 3 if self.target == "threads" else 1},
                "listen": {"management": "127.0.0.1:%d" % self.management_port},
                "limits": LIMITS})
        if not self.cluster:
            self.server.start()
        self.address = self.server.address
        if self.target == "proxy":
            self.proxy = Proxy(os.path.join(path, "proxy"), [self.server]).start()
            self.address = self.proxy.address
        return self

    def _start_cluster(self, path):
        """Conversations are with the first node, the queues that are declared in them live on the
        other two (but exclusive ones, which live with their connections)."""
        self.cluster = Cluster(path, 3, {"node": {"threads": 2}, "limits": LIMITS})
        self.server = self.cluster.nodes[0]
        self.server.conf["listen"]["management"] = "127.0.0.1:%d" % self.management_port
        self.cluster.start().burden(self.server)

    def ctl(self, args):
        """The command line tool about this node: a completed process."""
        if self.target != "rabbitmq":
            return self.server.ctl(*args, seconds=LONG)
        tool = os.path.join(self.server.home(), "sbin", "rabbitmqctl")
        return procs.run([tool, *args], LONG, env=self.server.env())

    def servers(self):
        others = self.cluster.nodes[1:] if self.cluster else []
        return [s for s in (self.proxy, self.server, *others) if s]

    def stop(self):
        """What was wrong with their lives, as a list of texts."""
        wrong = []
        for server in self.servers():
            try:
                server.stop()
            except AssertionError as e:
                wrong.append("%s does not stop: %s" % (server.name, e))
            if self.target != "rabbitmq":
                wrong += server.complaints()
        return wrong
