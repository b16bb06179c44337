"""The net falls apart, in every way, and is whole again: so is the cluster, by itself."""

import time

from harness.waits import LONG, SCALE
from lab.case import LOCAL, NetCase

TARGETS = ("broker",)
BARE = True
FIRST = True
TELLS_S = 60 * SCALE  # cluster_status of a node that cannot ask the others any more


class Partition(NetCase):
    """One node is cut off from the others, who go on; it refuses what it cannot do alone."""

    def during(self, victim, cut):
        self.streams_everywhere()
        rest = self.hosts.others(victim)
        cut(rest)
        self.wait_missed(victim, rest[0])
        self.wait_cut_off(victim)
        start = time.monotonic()
        self.assertIn(rest[0].name, victim.status()["waits_for"])
        self.assertLess(time.monotonic() - start, TELLS_S)
        for h in rest:
            self.wait_change(h)
        self.last(0, 2, 30)
        self.hosts.net.heal()
        self.check_end()

    def isolate(self, victim):
        self.during(victim, lambda rest: self.hosts.net.isolate(victim.machine))

    def test_a_follower(self):
        leader = self.cluster().leader()
        self.isolate(self.pick(self.hosts.others(leader)))

    def test_the_leader(self):
        self.isolate(self.cluster().leader())

    def test_it_hears_and_is_not_heard(self):
        victim = self.pick(self.cluster())
        self.during(victim, lambda rest: self.hosts.net.deafen(
            [h.machine for h in rest], [victim.machine]))

    def test_it_is_heard_and_does_not_hear(self):
        victim = self.pick(self.cluster())
        self.during(victim, lambda rest: self.hosts.net.deafen(
            [victim.machine], [h.machine for h in rest]))

    def test_nobody_hears_anybody(self):
        hosts = self.cluster()
        self.streams_everywhere()
        hosts.net.cut(*[[h.machine] for h in hosts])
        for h in hosts:
            self.wait_cut_off(h)
        self.last(0, 2, 30)
        hosts.net.heal()
        self.check_end()

    def test_two_do_not_hear_each_other_but_the_third(self):
        """Whoever leads, or comes to, is heard by all: nobody needs to be missed for long."""
        hosts = self.cluster()
        one, two = self.rng.sample(hosts.all, 2)
        self.streams_everywhere()
        hosts.net.cut([one.machine], [two.machine])
        self.last(3, 5, 30)
        self.wait_change(hosts.others(one, two)[0])
        hosts.net.heal()
        self.check_end()


class Held(NetCase):
    def test_what_a_lost_consumer_held_goes_back_when_the_net_is_whole(self):
        """Its node learns then that the others have given it up, and waits for them no longer."""
        hosts = self.cluster()
        home = self.pick(hosts)
        ch = self.channel_at(home)
        ch.declare("held", durable=True, arguments=LOCAL)
        for _ in range(3):
            ch.publish("", "held", b"m")
        ch.barrier()
        far = self.channel_at(self.pick(hosts.others(home)))
        far.consume("held")
        far.deliveries(3)
        hosts.net.isolate(home.machine)
        self.wait_missed(home, hosts.others(home)[0])
        self.wait_cut_off(home)
        hosts.net.heal()
        ch.consume("held")
        ch.deliveries(3, LONG)
        self.check_end()
