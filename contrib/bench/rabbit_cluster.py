"""Three RabbitMQ nodes that are one cluster, all queues mirrored to all, to compare with."""

import os
import shutil
import signal
import subprocess
import tempfile

import figures

CTL_S = 120


class RabbitNode:
    """A node with ports of its own; epmd, home and cookie are the cluster's."""

    def __init__(self, owner, number):
        self.owner = owner
        self.port, self.dist = figures.ports.free_port(), figures.ports.free_port()
        self.node = "bench%d-%d@localhost" % (number, self.port)
        self.folder = os.path.join(owner.folder, "node%d" % number)
        os.makedirs(self.folder)
        self.proc = None
        self.address = ("127.0.0.1", self.port)

    def path(self, leaf):
        return os.path.join(self.folder, leaf)

    def env(self):
        return dict(
            os.environ, HOME=self.owner.folder, RABBITMQ_NODENAME=self.node,
            RABBITMQ_NODE_PORT=str(self.port), RABBITMQ_NODE_IP_ADDRESS="127.0.0.1",
            RABBITMQ_DIST_PORT=str(self.dist), ERL_EPMD_PORT=str(self.owner.epmd_port),
            ERL_EPMD_ADDRESS="127.0.0.1", RABBITMQ_LOGS="-",
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}",
            RABBITMQ_MNESIA_BASE=self.path("mnesia"), RABBITMQ_LOG_BASE=self.path("log"),
            RABBITMQ_CONFIG_FILE=self.path("rabbitmq.conf"), RABBITMQ_CONF_ENV_FILE="/dev/null",
            RABBITMQ_ENABLED_PLUGINS_FILE=self.path("enabled_plugins"),
            RABBITMQ_PID_FILE=self.path("pid"))

    def launch(self):
        for leaf, text in (("rabbitmq.conf", ""), ("enabled_plugins", "[].\n")):
            with open(self.path(leaf), "w", encoding="ascii") as f:
                f.write(text)
        self.proc = figures.procs.Proc([os.path.join(self.owner.home, "sbin", "rabbitmq-server")],
                                       self.path("rabbit.log"), env=self.env())
        self.proc.tolerated = True

    def ctl(self, *args):
        done = subprocess.run([os.path.join(self.owner.home, "sbin", "rabbitmqctl"), "-q", "-n",
                               self.node, *args], env=self.env(), capture_output=True, text=True,
                              timeout=CTL_S, check=False)
        if done.returncode != 0:
            raise AssertionError("rabbitmqctl %s: %s" % (args, done.stderr.strip()[:300]))
        return done.stdout

    def pid(self):
        """Of the Erlang machine, which is the server."""
        with open(self.path("pid"), encoding="ascii") as f:
            return int(f.read())


class RabbitCluster:
    title = "RabbitMQ"

    def __init__(self):
        self.home = figures.servers.Rabbit.home()
        self.folder = tempfile.mkdtemp(prefix="warren-figures-rabbit-")
        self.epmd_port = figures.ports.free_port()
        self.epmd = None
        self.nodes = [RabbitNode(self, i + 1) for i in range(3)]

    def start(self):
        # Ours is there first, so that no node leaves a daemon of its own behind.
        self.epmd = figures.procs.Proc(["epmd", "-port", str(self.epmd_port), "-address",
                                        "127.0.0.1"], os.path.join(self.folder, "epmd.log"))
        self.epmd.tolerated = True
        first = self.nodes[0]
        for n in self.nodes:
            n.launch()
            figures.waits.wait_until(lambda n=n: figures.servers.answers(n.address),
                                     n.node + " to listen", CTL_S)
            n.ctl("await_startup")
            if n is not first:
                for command in (["stop_app"], ["join_cluster", first.node], ["start_app"]):
                    n.ctl(*command)
        first.ctl("set_policy", "ha-all", "", '{"ha-mode":"all","ha-sync-mode":"automatic"}')
        return self

    def pids(self):
        return [n.pid() for n in self.nodes]

    def end(self):
        for n in self.nodes:
            if n.proc is not None and n.proc.alive():
                os.kill(n.pid(), signal.SIGKILL)
                n.proc.kill()
        if self.epmd is not None:
            self.epmd.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
