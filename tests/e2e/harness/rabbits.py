"""Three RabbitMQ nodes that are one cluster, with their management: what people have today."""

import base64
import json
import os
import signal
import urllib.error
import urllib.parse
import urllib.request

from harness import ports, procs
from harness.servers import Rabbit, write
from harness.waits import LONG, SOON, wait_until

MANAGEMENT = ("rabbitmq_management",)
LOOPBACK = "-kernel inet_dist_use_interface {127,0,0,1}"
# Three of them on a busy machine get by with a processor each, and do not spin for it.
MODEST = LOOPBACK + " +S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none"


class RabbitNode(Rabbit):
    """One of them. Home, cookie and epmd are the cluster's, the ports are its own."""

    def __init__(self, owner, folder, name):
        super().__init__(folder, name, plugins=MANAGEMENT)
        self.owner, self.epmd_port = owner, owner.epmd_port
        self.node = "%s-%d@localhost" % (name, self.port)
        self.http_port = ports.free_port()

    def env(self):
        return dict(super().env(), HOME=self.owner.folder, RABBITMQ_NODENAME=self.node,
                    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=self.owner.erl)

    def start(self, ready=True):
        members = ["cluster_formation.classic_config.nodes.%d = %s" % (i + 1, n.node)
                   for i, n in enumerate(self.owner.nodes)]
        lines = ["listeners.tcp.1 = 127.0.0.1:%d" % self.port,
                 "management.tcp.ip = 127.0.0.1", "management.tcp.port = %d" % self.http_port,
                 "log.console.level = info", "collect_statistics_interval = 5000",
                 "cluster_formation.peer_discovery_backend = classic_config", *members]
        write(self.path("rabbitmq.conf"), "\n".join(lines) + "\n")
        write(self.path("enabled_plugins"), "[%s].\n" % ",".join(self.plugins))
        write(self.path("advanced.config"), self.advanced)
        self.proc = procs.Proc([os.path.join(self.home(), "sbin", "rabbitmq-server")],
                               self.path("rabbit.log"), env=self.env())
        self.proc.tolerated = True
        if ready:
            self.wait_ready()
        return self

    def pid(self):
        """Of the Erlang machine, which is the server."""
        with open(self.path("pid"), encoding="ascii") as f:
            return int(f.read())

    def kill(self):
        """As if the machine had died; its script ends with it."""
        os.kill(self.pid(), signal.SIGKILL)
        self.proc.popen.wait()

    def stop(self):
        if self.proc.alive():
            self.kill()
        return 0

    def api(self, method, path, body=None):
        """What its management answers."""
        request = urllib.request.Request(
            "http://127.0.0.1:%d/api/%s" % (self.http_port, path), method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": "Basic " + base64.b64encode(b"guest:guest").decode(),
                     "Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=LONG) as answer:
            text = answer.read()
        return json.loads(text) if text else None


class Rabbits:
    """Begins at once with all three, which find each other by their configuration."""

    def __init__(self, folder, count=3, erl=MODEST):
        self.folder, self.erl = folder, erl
        os.makedirs(folder, exist_ok=True)
        self.epmd_port = ports.free_port()
        self.epmd = None
        self.nodes = [RabbitNode(self, os.path.join(folder, "rabbit%d" % (i + 1)),
                                 "rabbit%d" % (i + 1)) for i in range(count)]

    def launch(self):
        cookie = os.path.join(self.folder, ".erlang.cookie")
        write(cookie, "THREERABBITSOFONEHOUSE")
        os.chmod(cookie, 0o400)
        # Ours is there first, so that no node leaves a daemon of its own behind.
        self.epmd = procs.Proc(["epmd", "-port", str(self.epmd_port), "-address", "127.0.0.1"],
                               os.path.join(self.folder, "epmd.log"))
        self.epmd.tolerated = True
        for n in self.nodes:
            n.start(ready=False)
        return self

    def are_one(self):
        """Whether each of them says that all of them run."""
        try:
            seen = [n.api("GET", "nodes?columns=name,running") for n in self.nodes]
        except (OSError, urllib.error.URLError):
            return False
        return all(len(s) == len(self.nodes) and all(one.get("running") for one in s) for s in seen)

    def wait_ready(self):
        for n in self.nodes:
            n.wait_ready()
        wait_until(self.are_one, "the RabbitMQ nodes to be one cluster", LONG)
        return self

    def stop(self):
        for n in self.nodes:
            if n.proc is not None:
                n.stop()
        if self.epmd is not None:
            self.epmd.popen.kill()
            self.epmd.popen.wait()

    def complaints(self):
        return []
