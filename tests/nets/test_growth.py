"""Clusters that grow and shrink under load, and whose members change while the net is cut."""

import subprocess

from harness.servers import CTL_BIN
from harness.waits import LONG, wait_until
from lab.case import NetCase

TARGETS = ("broker",)
BARE = True


class Growth(NetCase):
    def leave(self, host, by):
        """One way or the other, as the tutorials do it."""
        if self.rng.random() < 0.5:
            self.ctl(host, "stop_app")
            self.ctl(host, "reset")
            self.assertEqual(host.stop(), 0)
        else:
            self.assertEqual(host.stop(), 0)
            self.ctl(by, "forget_cluster_node", host.node)

    def test_three_to_five_to_three(self):
        hosts = self.cluster()
        self.streams_everywhere()
        first = list(hosts)
        for _ in range(2):
            new = self.add_host()
            hosts.seed([new])
            new.start()
            self.stream(new, self.pick(first), self.pick(first)).wait_progress()
        self.wait_one_cluster()
        self.check_all_works()
        for s in self.streams:
            s.wait_progress()
        leaving = self.rng.sample(hosts.all, 2)
        stays = hosts.others(*leaving)
        # What is used there, or from there, ends before; all else goes on.
        for s in list(self.streams):
            if leaving[0] in s.users or leaving[1] in s.users:
                s.judge()
                self.streams.remove(s)
        for h in leaving:
            self.leave(h, stays[0])
        self.check_end(stays)

    def test_one_to_three_by_hand(self):
        one, two, three = self.cluster(seeds=False)
        self.stream(one).wait_progress()
        for h in (two, three):
            self.ctl(h, "stop_app")
            self.ctl(h, "reset")
            self.ctl(h, "join_cluster", one.node)
            self.ctl(h, "start_app")
        self.check_end()


class Cut(NetCase):
    """The net is cut in the middle of it: it is done, or can be typed again, and nothing is left half."""

    def while_cut(self, host, args, cut):
        """The order, and the cut while it is carried out."""
        order = subprocess.Popen([CTL_BIN, *args], env=host.env(), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                 preexec_fn=host.space.enter)
        self.last(0, 0.1)
        cut()
        self.last(1, 4, 15)
        self.hosts.net.heal()
        return order.wait(LONG) == 0

    def members(self, host):
        return sorted(host.status()["disk_nodes"])

    def test_joining(self):
        hosts = self.cluster()
        self.streams_everywhere()
        new = self.add_host()
        new.start()
        victim = self.pick(hosts)
        self.ctl(new, "stop_app")
        if not self.while_cut(new, ["join_cluster", hosts[0].node],
                              lambda: hosts.net.isolate(victim.machine)):
            wait_until(lambda: new.node in self.members(hosts[0]) or
                       new.ctl("join_cluster", hosts[0].node).returncode == 0, "to join", LONG)
        wait_until(lambda: new.ctl("start_app").returncode == 0, "its start", LONG)
        self.check_end()

    def test_forgetting(self):
        hosts = self.cluster(4)
        gone = self.pick(hosts)
        rest = hosts.others(gone)
        gone.kill()
        self.wait_missed(gone, rest[0])
        by = self.pick(rest)
        self.while_cut(by, ["forget_cluster_node", gone.node],
                       lambda: hosts.net.isolate(self.pick(rest).machine))
        wait_until(lambda: gone.node not in self.members(by) or
                   by.ctl("forget_cluster_node", gone.node).returncode == 0, "to forget", LONG)
        self.check_end(rest)

    def test_leaving(self):
        hosts = self.cluster(4)
        leaving = self.pick(hosts)
        rest = hosts.others(leaving)
        self.ctl(leaving, "stop_app")
        if not self.while_cut(leaving, ["reset"],
                              lambda: hosts.net.isolate(self.pick(rest).machine)):
            wait_until(lambda: leaving.ctl("reset").returncode == 0, "to leave", LONG)
        wait_until(lambda: leaving.ctl("start_app").returncode == 0, "its start", LONG)
        self.wait_one_cluster([leaving])
        self.check_end(rest)
