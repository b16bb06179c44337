"""A site: what one test file runs against, fresh servers on free ports in a temporary folder.

A test module says what it needs in constants that the runner reads before it loads anything:
  TARGETS       where it makes sense, default all of broker, proxy, rabbitmq
  THREADS       True: also run against a broker with three threads (target "threads")
  BARE          True: the tests bring their servers along, the site has none
  REMOTE        True: also run against a cluster of three, through a node that is not the one on
                which the queues live that are declared through it (target "remote")
  FIRST         True: takes long, so it starts first
  BROKER_CONF   laid over the broker's configuration
  PROXY_CONF    laid over the proxy's
  RABBIT_CONF   lines for a RabbitMQ of its own, where the shared one will not do
  RABBIT_PLUGINS  what that one has enabled
"""

import os
import shutil
import tempfile

from harness.cluster import Cluster
from harness.servers import Broker, Proxy, Rabbit, merged

SHARED_RABBIT = "WARREN_E2E_RABBIT_PORT"
THREADS_CONF = {"node": {"threads": 3}}
REMOTE_CONF = {"node": {"threads": 2}}  # of each node
PROXY_THREADS_CONF = {"global": {"nbthread": 2}}  # tests that start their own have one


class Site:
    def __init__(self, target, module=None, parent=None):
        self.target = target
        self.folder = tempfile.mkdtemp(prefix="warren-e2e-", dir=parent)
        self.module = module
        self.broker = self.proxy = self.rabbit = self.cluster = None
        self.address = None

    def _constant(self, name):
        return getattr(self.module, name, None)

    def start(self):
        if self._constant("BARE"):
            return self
        try:
            self._start_rabbit() if self.target == "rabbitmq" else self._start_warren()
        except BaseException:
            self.stop()
            raise
        return self

    def _start_rabbit(self):
        own = self._constant("RABBIT_CONF")
        if own is None and SHARED_RABBIT in os.environ:
            self.address = ("127.0.0.1", int(os.environ[SHARED_RABBIT]))
            return
        plugins = self._constant("RABBIT_PLUGINS")
        self.rabbit = Rabbit(self.folder, conf=own or (), **({"plugins": plugins} if plugins else {}))
        self.rabbit.start()
        self.address = self.rabbit.address

    def _start_warren(self):
        broker_conf = self._constant("BROKER_CONF") or {}
        if self.target == "threads":
            broker_conf = dict(broker_conf, **THREADS_CONF)
        if self.target == "remote":
            self._start_cluster(broker_conf)
            return
        self.broker = Broker(os.path.join(self.folder, "rabbit1"), conf=broker_conf)
        self.broker.start()
        self.address = self.broker.address
        if self.target == "proxy":
            folder = os.path.join(self.folder, "proxy")
            conf = merged(PROXY_THREADS_CONF, self._constant("PROXY_CONF"))
            self.proxy = Proxy(folder, [self.broker], conf)
            self.proxy.start()
            self.address = self.proxy.address

    def _start_cluster(self, conf):
        """The clients' node is the first one; `broker` is it."""
        self.cluster = Cluster(os.path.join(self.folder, "cluster"), 3, merged(REMOTE_CONF, conf))
        self.broker = self.cluster.nodes[0]
        self.cluster.start().burden(self.broker)
        self.address = self.broker.address

    def servers(self):
        """Those that were started, outermost first: the order of stopping."""
        others = self.cluster.nodes[1:] if self.cluster else []
        return [s for s in (self.proxy, self.broker, *others, self.rabbit) if s and s.proc]

    def procs(self):
        return [s.proc for s in self.servers()]

    def all_alive(self):
        return all(p.alive() for p in self.procs())

    def logs(self):
        return "\n".join("--- %s\n%s" % (p.log, p.log_tail()) for p in self.procs())

    def stop(self):
        """Ends all, outermost first; what was wrong with their lives, as a list of texts."""
        wrong = []
        for server in self.servers():
            try:
                server.stop()
            except AssertionError as e:
                wrong.append("%s does not stop on TERM: %s" % (server.name, e))
            wrong += server.complaints()
        return wrong

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)
