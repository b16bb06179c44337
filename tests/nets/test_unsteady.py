"""A net that works badly: packets are lost, late and out of order, a cable comes and goes."""

import time

from lab.case import NetCase

TARGETS = ("broker",)
BARE = True


class Unsteady(NetCase):
    def test_a_fifth_of_all_packets_is_lost(self):
        hosts = self.cluster()
        self.streams_everywhere()
        hosts.net.lose(20)
        for s in self.streams:
            s.wait_progress()
        for h in hosts:
            self.wait_change(h)
        self.wait_one_cluster()  # nobody is taken for down for long
        hosts.net.heal()
        self.check_end()

    def test_a_cable_that_comes_and_goes(self):
        hosts = self.cluster()
        self.streams_everywhere()
        victim = self.pick(hosts)
        for _ in range(self.few(4, 20)):
            hosts.net.isolate(victim.machine)
            time.sleep(1)
            hosts.net.heal()
            time.sleep(1)
        self.check_end()

    def test_late_and_out_of_order(self):
        hosts = self.cluster(relayed=True)
        self.streams_everywhere()
        hosts.net.delay(self.rng.randint(5, 30), self.rng.randint(20, 60))
        for s in self.streams:
            s.wait_progress()
        for h in hosts:
            self.wait_change(h)
        self.wait_one_cluster()
        self.check_all_works()
        hosts.net.delay(0)
        self.check_end()
