"""A cluster whose mirrored queues are in use, for the rows of the failure matrix (lab/rows.py)."""

import os
import re
import shutil

from harness.waits import LONG, wait_until
from lab.bench import PASSWORD, USER, Bench

QUEUES = 4
ALL = '{"ha-mode":"all","ha-sync-mode":"automatic","queue-master-locator":"min-masters"}'
TWO = ('{"ha-mode":"exactly","ha-params":2,"ha-sync-mode":"automatic",'
       '"queue-master-locator":"min-masters"}')
PID = re.compile(r"rabbit@(rabbit\d+)")


class Field:
    """`spared`: a host that no row hits, which all clients are at; without, they are at all of
    them. `with_pairs`: half of the queues have one mirror, the others are everywhere."""

    patience = 2 * LONG

    def __init__(self, case, spared=None, witness=None, with_pairs=False):
        self.case, self.rng, self.hosts = case, case.rng, case.hosts
        self.net = self.hosts.net
        self.last, self.few = case.last, case.few
        self.spared, self.witness, self.with_pairs = spared, witness, with_pairs
        self.victims = self.hosts.others(spared, witness)
        self.clients = self.net.add("clients")
        self.bench = None
        self.plays = 0
        first = self.member_but()
        for args in (("add_user", USER, PASSWORD), ("set_permissions", USER, ".*", ".*", ".*")):
            self.ctl(first, *args)
        self.set_policies()

    # -- who is who ------------------------------------------------------------------------

    def members(self):
        return self.hosts.others(self.witness)

    def member_but(self, *but):
        return self.rng.choice(self.hosts.others(self.witness, *but))

    def shuffled(self, hosts):
        return self.rng.sample(list(hosts), len(hosts))

    def some(self, count):
        return self.rng.sample(self.victims, count)

    def pick(self):
        return self.rng.choice(self.victims)

    def leader(self):
        return self.hosts.leader(self.hosts.running())

    def queue(self):
        """One of them: its name, its master and its mirrors."""
        queue, (master, synced) = self.rng.choice(sorted(self.placements().items()))
        return queue, master, synced

    def master(self):
        masters = [m for m, _ in self.placements().values() if m in self.victims]
        return self.rng.choice(masters or self.victims)

    def mirror(self):
        _, master, synced = self.queue()
        return self.rng.choice([h for h in synced if h in self.victims] or self.victims)

    def listed(self, asked):
        """name -> (master, its mirrors that are in sync); None: it does not say."""
        out = asked.ctl("-q", "list_queues", "name", "pid", "synchronised_slave_pids")
        if out.returncode != 0:
            return None
        by_name = {h.name: h for h in self.hosts}
        found = {}
        for line in out.stdout.splitlines():
            name, pid, synced = (line.split("\t") + ["", ""])[:3]
            master = PID.findall(pid)
            if name in self.bench.names and master:
                found[name] = by_name[master[0]], [by_name[n] for n in PID.findall(synced)]
        return found

    def placements(self):
        return wait_until(lambda: self.listed(self.member_but()), "where the queues are", LONG)

    # -- orders ----------------------------------------------------------------------------

    def ctl(self, host, *args):
        """An order that is given again as long as the cluster is busy with something else."""
        out = []

        def done():
            out.append(host.ctl("-q", *args))
            return out[-1].returncode == 0
        try:
            wait_until(done, "%s on %s" % (args, host.name), LONG, interval=0.2)
        except AssertionError as e:
            raise AssertionError("%s: %s%s" % (e, out[-1].stdout, out[-1].stderr)) from None

    def set_policy(self, definition):
        self.ctl(self.member_but(), "set_policy", "ha", "^m", definition)

    def set_policies(self):
        self.set_policy(ALL)
        if self.with_pairs:
            self.ctl(self.member_but(), "set_policy", "--priority", "1", "pairs", "^m.*-[01]$", TWO)

    def stop(self, host):
        self.case.assertEqual(host.stop(), 0, "%s does not stop as it should" % host.name)

    def end_throttle(self, throttle):
        self.case.assertEqual(throttle.stop(), 0)

    def empty(self, host):
        shutil.rmtree(host.path("data"))
        os.makedirs(host.path("data"))

    def await_ready(self, hosts):
        for h in hosts:
            h.wait_ready()

    # -- before and after ------------------------------------------------------------------

    def is_whole(self, asked):
        found = self.listed(asked)
        if found is None or len(found) != QUEUES:
            return False
        everywhere = len(self.members()) - 1
        return all(len(synced) == (1 if self.with_pairs and name[-2:] in ("-0", "-1")
                                   else everywhere)
                   for name, (_, synced) in found.items())

    def wait_whole(self):
        """Every member runs, and every queue has all its mirrors in sync."""
        def whole():
            self.bench.check_runs()
            return all(h.alive() and self.is_whole(h) for h in self.members())
        try:
            wait_until(whole, "all queues in sync", self.patience, interval=0.1)
        except AssertionError as e:
            raise AssertionError("%s: %s" % (e, {h.name: self.told(h) for h in self.members()})) \
                from None

    def told(self, host):
        out = host.ctl("-q", "list_queues", "name", "state", "pid", "synchronised_slave_pids")
        return out.stdout + out.stderr

    def told_of_messages(self):
        """For whoever looks for what is lost: is it there and not handed out?"""
        return self.member_but().ctl("-q", "list_queues", "name", "messages_ready",
                                     "messages_unacknowledged").stdout

    def begin(self):
        self.plays += 1
        self.bench = Bench(os.path.join(self.hosts.folder, "clients"), self.clients,
                           [self.spared] if self.spared else self.members(),
                           "m%d" % self.plays, QUEUES)
        self.case.addCleanup(self.bench.stop)
        self.wait_whole()

    def play(self, row, times=1):
        """The row so many times: the verdict of the clients, with how many faults there were."""
        self.begin()
        hits = 0
        for _ in range(times):
            hits += row(self)
            self.wait_whole()
            self.ctl(self.member_but(), "rebalance")
            self.wait_whole()
        return self.end(hits)

    def end(self, hits):
        verdict = self.bench.judge()
        verdict.hits, verdict.left_there = hits, self.told_of_messages()
        if self.spared:  # nothing has happened to those that they talk to
            verdict.is_good &= verdict.reconnects == 0 and verdict.duplicated_resent == 0
        conn = self.member_but().connect()
        try:
            ch = conn.channel()
            for name in self.bench.names:
                ch.call("queue.delete", queue=name)
        finally:
            conn.sock.close()
        return verdict
