"""A net of machines: a bridge in a namespace of its own, and a cable from it to each machine.

Whatever goes wrong happens between the machines, as with real cables and switches: a packet that is
lost was sent as far as its sender knows. Cuts and losses are rules of the bridge, one for each
direction; delay and reordering come from a process that the cables run through (relay.py), in nets
that are made with `relayed`.
"""

import itertools
import json
import os
import subprocess
import sys

from harness import procs
from harness.waits import wait_until
from lab.space import Space

SUBNET = "10.77.0."
DOMAIN_BITS = 24
BURST = 256 * 1024  # octets: a packet that is not cut up yet may have 64 KiB
RELAY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "relay.py")


class Machine:
    """A place on the net, with a name that the others resolve."""

    def __init__(self, net, name, number):
        self.net, self.name, self.number = net, name, number
        self.ip = SUBNET + str(number)
        self.space = Space(name, net.hosts)

    @property
    def cable(self):
        return "p%d" % self.number


class Net:
    """`relayed`: packets pass a process that may delay them; slower, but not much."""

    def __init__(self, folder, relayed=False):
        self.folder, self.relayed = folder, relayed
        os.makedirs(folder, exist_ok=True)
        self.hosts = os.path.join(folder, "hosts")
        self.machines = []
        self.bad = {}  # (from, to) -> how many packets of a hundred are lost
        self.narrow = {}  # (from, to) -> octets a second that pass, in packets that are full
        self.relay = None
        self.hub = Space()
        self.hub.ip("link set lo up", "link add br0 type bridge forward_delay 0 stp_state 0",
                    "link set br0 up")
        self._write_hosts()

    def add(self, name):
        m = Machine(self, name, len(self.machines) + 1)
        self.machines.append(m)
        self._write_hosts()
        self._plug(m)
        m.space.ip("link set lo up", "addr add %s/%d dev eth0" % (m.ip, DOMAIN_BITS),
                   "link set eth0 up")
        return m

    def close(self):
        if self.relay is not None:
            self.relay.stop()
        for m in self.machines:
            m.space.close()
        self.hub.close()

    def _write_hosts(self):
        """In place: it is mounted over /etc/hosts of those that run."""
        with open(self.hosts, "w") as f:
            f.write("127.0.0.1 localhost\n")
            for m in self.machines:
                f.write("%s %s\n" % (m.ip, m.name))

    def _plug(self, m):
        if self.relayed:
            self._plug_relayed(m)
        else:
            self.hub.ip("link add %s type veth peer name eth0 netns %s" % (m.cable, m.space.path))
        self.hub.ip("link set %s master br0 up" % m.cable)

    def _plug_relayed(self, m):
        if self.relay is None:
            self.relay = Relay(os.path.join(self.folder, "relay.log"))
        self.relay.add(m, self.hub)

    # -- cuts and losses -------------------------------------------------------------------

    def lose(self, percent, sources=None, targets=None):
        """Packets from each of `sources` to each of `targets`, of all if none are named."""
        for pair in itertools.product(sources or self.machines, targets or self.machines):
            if pair[0] is not pair[1]:
                self.bad[pair] = percent
        self._apply()

    def cut(self, *sides):
        """Each side is a list of machines; between sides nothing passes."""
        for one, other in itertools.permutations(sides, 2):
            for pair in itertools.product(one, other):
                self.bad[pair] = 100
        self._apply()

    def deafen(self, deaf, to):
        """`deaf` hear nothing of `to`, who hear them."""
        self.lose(100, to, deaf)

    def isolate(self, *machines):
        self.cut(list(machines), [m for m in self.machines if m not in machines])

    def narrow_to(self, octets, source, target):
        """What fills packets passes no faster; what is short passes."""
        self.narrow[source, target] = octets
        self._apply()

    def heal(self):
        self.bad = {}
        self.narrow = {}
        self._apply()

    def _apply(self):
        """All rules at once: nft replaces a table in one step."""
        rules = []
        for (source, target), percent in self.bad.items():
            chance = "" if percent >= 100 else "numgen random mod 100 < %d " % percent
            rules.append("ip saddr %s ip daddr %s %sdrop" % (source.ip, target.ip, chance))
        for (source, target), octets in self.narrow.items():
            rules.append("ip saddr %s ip daddr %s meta length > 1200 limit rate over %d bytes/second"
                         " burst %d bytes drop" % (source.ip, target.ip, octets, BURST))
        self.hub.run(["nft", "-f", "-"], "\n".join(
            ["table bridge cuts", "delete table bridge cuts", "table bridge cuts {",
             "chain forward {", "type filter hook forward priority 0;"] + rules + ["}", "}"]))

    # -- delay and reordering --------------------------------------------------------------

    def delay(self, ms, jitter_ms=0, machines=None):
        """Of what these machines send and get; with jitter packets overtake each other."""
        for m in machines or self.machines:
            self.relay.delay(m, ms, jitter_ms)


class Relay:
    """The process behind delays: it has both ends of the cables of a relayed net."""

    def __init__(self, log):
        self.log = log
        self.ends = {}
        with open(log, "ab") as out:
            self.popen = subprocess.Popen(
                [sys.executable, RELAY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out,
                text=True, preexec_fn=procs.begin_child)

    def _tell(self, **words):
        self.popen.stdin.write(json.dumps(words) + "\n")
        self.popen.stdin.flush()
        if self.popen.stdout.readline().strip() != "ok":
            with open(self.log, errors="replace") as f:
                raise AssertionError("the relay has failed:\n" + f.read())

    def add(self, m, hub):
        pid = os.getpid()
        self._tell(do="add", name=m.name, spaces=["/proc/%d/fd/%d" % (pid, hub.fd),
                                                  "/proc/%d/fd/%d" % (pid, m.space.fd)],
                   devices=[m.cable, "eth0"])

    def delay(self, m, ms, jitter_ms):
        self._tell(do="delay", name=m.name, ms=ms, jitter_ms=jitter_ms)

    def stop(self):
        self.popen.stdin.close()
        wait_until(lambda: self.popen.poll() is not None, "the relay to end")
        self.popen.stdout.close()
        if self.popen.returncode != 0:
            raise AssertionError("the relay ended with %d" % self.popen.returncode)
