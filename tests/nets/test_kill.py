"""Nodes that die, alone and together, and come back in whatever order: nobody has to help."""

import itertools

from harness.waits import LONG, SOON, wait_until
from lab.case import NetCase

TARGETS = ("broker",)
BARE = True


class Killed(NetCase):
    def test_the_leader_under_a_load_of_declares(self):
        """Whoever was told that a queue is there finds it; the survivors go on."""
        hosts = self.cluster()
        self.streams_everywhere()
        leader = hosts.leader()
        rest = hosts.others(leader)
        for _ in range(self.few(2, 5)):
            declared = []
            chs = [self.channel_at(h) for h in rest]
            for i in range(50):
                declared += self.declare_some(chs, i)
            leader.kill()
            wait_until(lambda: self.declared_again(rest[0]), "a declare", LONG)
            leader.start(ready=False)
            leader.wait_ready()
            for h in hosts:
                self.there(h, declared)
            self.wait_one_cluster()
        self.check_end()

    def declare_some(self, chs, i):
        names = []
        for at, ch in enumerate(chs):
            q = self.name("declared-%d-%d" % (i, at))
            ch.declare(q, durable=True)
            names.append(q)
        return names

    def declared_again(self, host):
        ch = self.channel_at(host)
        ch.send("queue.declare", queue=self.name("again"), durable=True)
        return ch.next(LONG).name == "queue.declare_ok"

    def there(self, host, names):
        ch = self.channel_at(host)
        for q in names:
            ch.declare(q, passive=True)

    def test_one_under_load(self):
        hosts = self.cluster()
        self.streams_everywhere()
        for _ in range(self.few(2, 10)):
            victim = self.pick(hosts)
            victim.kill()
            self.wait_missed(victim, hosts.others(victim)[0])
            victim.start()
            self.wait_one_cluster()
        self.check_end()

    def test_all_at_once_and_back_in_every_order(self):
        hosts = self.cluster()
        self.streams_everywhere()
        orders = list(itertools.permutations(hosts.all))
        for order in self.rng.sample(orders, self.few(2, len(orders))):
            for h in hosts:
                h.kill()
            for h in order:
                h.start(ready=False)
                self.last(0, 0.5, 2)
            for h in order:
                h.wait_ready()
            self.wait_one_cluster()
        self.check_end()


class Stopped(NetCase):
    def stopped_together(self, hosts):
        for h in hosts:
            h.proc.signal(15)
        for h in hosts:
            self.assertEqual(h.proc.wait(SOON), 0, "%s does not stop" % h.name)

    def test_all_at_once_and_back_in_every_order(self):
        """No node waits for others to take its leave when these leave as well."""
        hosts = self.cluster()
        self.streams_everywhere()
        orders = list(itertools.permutations(hosts.all))
        for order in self.rng.sample(orders, self.few(2, len(orders))):
            self.stopped_together(hosts)
            for h in order:
                h.start(ready=False)
                self.last(0, 0.5, 2)
            for h in order:
                h.wait_ready()
            self.wait_one_cluster()
        self.check_end()

    def test_one_after_the_other_and_back(self):
        hosts = self.cluster()
        self.streams_everywhere()
        for h in hosts:
            self.assertEqual(h.stop(), 0)
            h.start()
            self.wait_one_cluster()
        self.check_end()
