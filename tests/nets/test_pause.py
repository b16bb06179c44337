"""Nodes that stand still or crawl: they are missed, and go on later as if nothing had been."""

from lab.case import NetCase

TARGETS = ("broker",)
BARE = True


class Pause(NetCase):
    def pause(self, victim, least, most, most_long):
        self.streams_everywhere()
        victim.pause()
        self.last(least, most, most_long)
        victim.resume()
        self.check_end()

    def test_a_follower_for_less_than_it_takes_to_miss_it(self):
        leader = self.cluster().leader()
        self.pause(self.pick(self.hosts.others(leader)), 0.3, 0.8, 0.9)

    def test_a_follower(self):
        leader = self.cluster().leader()
        self.pause(self.pick(self.hosts.others(leader)), 1.5, 6, 30)

    def test_the_leader(self):
        self.pause(self.cluster().leader(), 0.5, 6, 30)

    def test_the_majority(self):
        hosts = self.cluster()
        self.streams_everywhere()
        last = self.pick(hosts)
        still = hosts.others(last)
        for h in still:
            h.pause()
        self.wait_cut_off(last)
        for h in still:
            h.resume()
        self.check_end()

    def test_all_of_them(self):
        """As when the machine they run on is suspended."""
        hosts = self.cluster()
        self.streams_everywhere()
        for h in hosts:
            h.pause()
        self.last(1, 4, 30)
        for h in hosts:
            h.resume()
        self.check_end()


class Slow(NetCase):
    def test_one_with_a_twentieth_of_a_processor(self):
        hosts = self.cluster()
        self.streams_everywhere()
        victim = self.pick(hosts)
        throttle = victim.throttle(5)
        self.addCleanup(throttle.stop)
        for h in hosts.others(victim):
            self.wait_change(h)
        self.last(3, 5, 30)
        self.assertEqual(throttle.stop(), 0)
        self.check_end()
