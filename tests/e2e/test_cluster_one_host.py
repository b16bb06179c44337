"""Three nodes on one host, told apart by the environment alone, as rabbitmq-server's users type it."""

import os
import signal
import socket

from harness import ports, procs
from harness.case import Case
from harness.servers import BROKER_BIN, CTL_BIN, answers
from harness.waits import LONG, wait_until

TARGETS = ("broker",)
BARE = True
NAMES = ("rabbit_1", "rabbit_2", "rabbit_3")


class OneHost(Case):
    def setUp(self):
        super().setUp()
        self.at = self.folder("host")
        self.env = dict(procs.sanitizer_env(), HOME=self.at, WARREN_RUN_DIR=self.path("run"),
                        WARREN_NODE_DATA_DIR=self.path("data"), WARREN_NODE_THREADS="1",
                        WARREN_LOG_TARGET="file", WARREN_CLUSTER_COOKIE_FILE=self.path("cookie"))
        os.makedirs(self.path("run"))
        self.ports = {name: ports.free_port(also=(10000, 20000)) for name in NAMES}
        self.host = socket.gethostname().split(".")[0]

    def path(self, leaf):
        return os.path.join(self.at, leaf)

    def pid(self, name):
        with open(self.path("data/%s@%s/warren-broker.pid" % (name, self.host))) as f:
            return int(f.read())

    def address(self, name):
        return "127.0.0.1", self.ports[name]

    def start(self, name):
        """RABBITMQ_NODE_PORT=5673 RABBITMQ_NODENAME=rabbit_1 rabbitmq-server -detached"""
        env = dict(self.env, RABBITMQ_NODENAME=name, RABBITMQ_NODE_PORT=str(self.ports[name]),
                   RABBITMQ_NODE_IP_ADDRESS="127.0.0.1")
        out = procs.run([BROKER_BIN, "-detached"], LONG, env=env)
        self.assertEqual(out.returncode, 0, out.stdout + out.stderr)
        self.addCleanup(self.end, self.pid(name))
        wait_until(lambda: answers(self.address(name)), "%s answers at its port" % name, LONG)

    def end(self, pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it was stopped

    def runs(self, pid):
        """One that is dead may lie there for a while, where nobody reaps what was detached."""
        try:
            with open("/proc/%d/stat" % pid) as f:
                return f.read().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False

    def ctl(self, name, *args):
        out = procs.run([CTL_BIN, "-n", name, *args], LONG, env=self.env)
        self.assertEqual(out.returncode, 0, "%s %s\n%s%s" % (name, args, out.stdout, out.stderr))
        return out.stdout

    def test_have_ports_names_and_data_of_their_own_and_become_a_cluster(self):
        for name in NAMES:
            self.start(name)
        self.assertEqual(len({self.pid(name) for name in NAMES}), 3)
        for name in NAMES:
            self.assertIn("%s@%s" % (name, self.host), self.ctl(name, "status"))
        for name in NAMES[1:]:
            self.ctl(name, "stop_app")
            self.ctl(name, "reset")
            self.ctl(name, "join_cluster", "rabbit_1@" + self.host)
            self.ctl(name, "start_app")
        for name in NAMES:
            wait_until(lambda n=name: all("%s@%s" % (other, self.host) in
                                          self.ctl(n, "cluster_status").split("Running Nodes")[1]
                                          for other in NAMES), "%s sees all" % name, LONG)
        self.channel(address=self.address("rabbit_2")).declare("q", durable=True)
        for name in NAMES:
            self.assertIn("q", self.ctl(name, "-q", "list_queues", "name").split())
        for name in reversed(NAMES):
            pid = self.pid(name)
            self.ctl(name, "stop", self.path("data/%s@%s/warren-broker.pid" % (name, self.host)))
            self.assertFalse(self.runs(pid), name)
