"""Hosts: machines that run one broker each at the usual ports, and the cluster they make up."""

import json
import os
import signal
import sys

from harness import procs
from harness.client import Conn
from harness.servers import BROKER_BIN, CTL_BIN, Broker, answers, ini, merged, write
from harness.waits import LONG, wait_until

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "store"))
from faulty import Faults

AMQP_PORT, CLUSTER_PORT = 5672, 25672
THROTTLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "throttle.py")


class Host(Broker):
    """One broker on a machine of its own, with a folder, a cookie file and a run folder that
    nobody else sees."""

    def __init__(self, hosts, machine, conf):
        super().__init__(os.path.join(hosts.folder, machine.name), machine.name)
        self.hosts, self.machine, self.space = hosts, machine, machine.space
        self.faults = None
        self.conf = merged({
            "node": {"threads": 1, "name": self.node, "data-dir": self.path("data")},
            "cluster": {"cookie-file": self.path(".warren.cookie")},
            "auth": {"hash-rounds": "1000"},
            "log": {"target": "stderr", "level": "info"}}, conf)
        self.address = ("127.0.0.1", AMQP_PORT)
        self.set_cookie(hosts.cookie)
        os.makedirs(self.path("run"), exist_ok=True)

    def with_faulty_disk(self):
        """From its next start on its disk fails as `faults` is told."""
        os.makedirs(self.path("data"), exist_ok=True)
        self.faults = Faults(self.path("faults"))

    def env(self):
        env = super().env()
        return self.faults.env(env, self.path("data")) if self.faults else env

    @property
    def node(self):
        return "rabbit@" + self.name

    def set_cookie(self, octets, mode=0o400):
        path = self.path(".warren.cookie")
        if os.path.exists(path):
            os.remove(path)
        with open(path, "wb") as f:
            f.write(octets)
        os.chmod(path, mode)

    def argv(self, *more):
        return [BROKER_BIN, "-c", self.conf_path, *more]

    def start(self, ready=True):
        write(self.conf_path, ini(self.conf))
        if self.proc is not None and self.proc not in self.dead:
            self.dead.append(self.proc)
        self.proc = procs.Proc(self.argv(), self.path("broker.log"), env=self.env(), wrap=True,
                               enter=self.space.enter)
        if ready:
            self.wait_ready()
        return self

    def wait_ready(self):
        with self.space.inside():
            super().wait_ready()

    def is_serving(self):
        with self.space.inside():
            return self.alive() and answers(self.address)

    def alive(self):
        return self.proc is not None and self.proc.alive()

    def kill(self, number=signal.SIGKILL):
        self.proc.tolerated = True
        self.proc.signal(number)
        if number == signal.SIGKILL:
            self.proc.popen.wait(timeout=LONG)

    def pause(self):
        self.proc.signal(signal.SIGSTOP)

    def resume(self):
        self.proc.signal(signal.SIGCONT)

    def throttle(self, percent, period_ms=100):
        """From now on it gets so much of a processor; full speed when the result is stopped."""
        return procs.Proc([sys.executable, THROTTLE, str(self.proc.pid), str(percent),
                           str(period_ms)], self.path("throttle.log"))

    def ctl(self, *args, seconds=LONG):
        """warrenctl as typed on this machine."""
        return procs.run([CTL_BIN, *args], seconds, env=self.env(), preexec_fn=self.space.enter)

    def connect(self, **opts):
        """A client on this machine."""
        with self.space.inside():
            return Conn(self.address, **opts)

    def status(self):
        """What cluster_status says here, None when it does not answer."""
        if not self.alive():
            return None
        out = self.ctl("-q", "cluster_status", "--formatter", "json")
        return json.loads(out.stdout) if out.returncode == 0 else None

    def metadata(self):
        """What this node knows of the metadata: phase, leader, term, applied, checksum."""
        status = self.status()
        return status["metadata"].get(self.node) if status else None

    def log_text(self):
        with open(self.path("broker.log"), errors="replace") as f:
            return f.read()


class Hosts:
    """`count` hosts, rabbit1 and so on. With `seeds` they find each other at their first start;
    without, each is alone and can be told to join."""

    def __init__(self, net, folder, count=3, conf=None, seeds=True):
        self.net, self.folder, self.conf = net, folder, conf
        self.cookie = b"a-cookie-of-more-than-twenty-octets"
        self.all = []
        for _ in range(count):
            self.add()
        if seeds:
            self.seed(self.all)

    def __iter__(self):
        return iter(self.all)

    def __getitem__(self, index):
        return self.all[index]

    def add(self, conf=None, name=None):
        machine = self.net.add(name or "rabbit%d" % (len(self.all) + 1))
        host = Host(self, machine, merged(self.conf or {}, conf))
        self.all.append(host)
        return host

    def seed(self, hosts):
        seeds = ", ".join("%s:%d" % (h.name, CLUSTER_PORT) for h in self.all)
        for h in hosts:
            h.conf["cluster"]["seeds"] = seeds

    def start(self, hosts=None, ready=True):
        for h in hosts or self.all:
            h.start(ready=False)
        for h in hosts or self.all:
            if ready and h.conf["node"].get("type") != "witness":
                h.wait_ready()
        return self

    def running(self):
        return [h for h in self.all if h.alive()]

    def leader(self, among=None):
        """The host that leads, as soon as one does and says so itself."""
        def leads(h):
            m = h.metadata()
            return m is not None and m["leader"] == h.node
        return wait_until(lambda: next((h for h in among or self.running() if leads(h)), None),
                          "a leader", LONG)

    def others(self, *but):
        return [h for h in self.all if h not in but]
