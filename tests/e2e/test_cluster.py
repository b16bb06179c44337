"""Nodes that are one broker: they find each other, agree, lose one, and come back."""

import os
import signal

from harness.case import Case
from harness.client import Conn
from harness.cluster import Cluster
from harness.ports import free_port
from harness.waits import LONG, wait_until

TARGETS = ("broker",)
MANY = 20


class ClusterCase(Case):
    def cluster(self, count=3, **kw):
        c = Cluster(self.folder("cluster"), count, **kw)
        for n in c.nodes:
            self.own(n)
        return c

    def declare(self, node, names, **args):
        conn = self.connect_to(node)
        ch = conn.channel()
        for q in names:
            ch.declare(q, durable=True, arguments={"x-queue-master-locator": "client-local"}, **args)
        conn.close()

    def connect_to(self, node):
        conn = Conn(node.address, hello=False)
        self.addCleanup(conn.sock.close)
        conn.handshake()
        return conn

    def await_new_leader(self, node):
        """Until the metadata can be changed at that node again. How long that takes is said by
        contrib/bench/cluster-figures, on a
        machine that does nothing else."""
        n = [0]

        def can():
            n[0] += 1
            out = node.ctl("-n", node.node, "-q", "add_user", "probe%d" % n[0], "p")
            return out.returncode == 0
        wait_until(can, "a leader", LONG)


class Forming(ClusterCase):
    def test_three_with_seeds_are_one(self):
        c = self.cluster().start()
        names = ["of-%s" % n.name for n in c.nodes]
        for n, q in zip(c.nodes, names):
            self.declare(n, [q])
            # Whoever was told that it is there finds it on every node.
            for other in c.nodes:
                self.assertEqual(c.lacks(other, [q]), [])

    def test_a_start_is_not_worth_a_warning(self):
        """Each reaches some of the others before these serve all that they will."""
        c = self.cluster().start().wait_voters()
        for n in c.nodes:
            self.assertNotRegex(n.proc.log_bytes(), rb" warn link \S+ (feed|refused):")

    def test_they_find_each_other_though_all_are_elsewhere(self):
        """Their machines have other addresses since: the seeds say which."""
        c = self.cluster().start().wait_voters()
        names = ["of-%s" % n.name for n in c.nodes]
        for n, q in zip(c.nodes, names):
            self.declare(n, [q])
        for n in c.nodes:
            n.kill()
        for n in c.nodes:
            n.conf["listen"]["cluster"] = "127.0.0.1:%d" % free_port()
        c.seed()
        c.start().wait_voters()
        c.wait_queues(names, c.nodes)

    def test_one_that_comes_later_has_it_all(self):
        c = self.cluster(2).start()
        names = ["q%d" % i for i in range(MANY)]
        self.declare(c.nodes[0], names)
        late = c.add()
        self.own(late)
        c.seed([late])
        c.start([late])
        c.wait_queues(names)


class Through(ClusterCase):
    """Another node's queue, published to and consumed over one that only passes it on."""

    def test_what_was_published_here_comes_back_as_it_was(self):
        c = self.cluster(2).start()
        self.declare(c.nodes[0], ["q"])
        conn = self.connect_to(c.nodes[1])
        gives, takes = conn.channel(), conn.channel()
        takes.call("basic.qos", prefetch_count=1)
        takes.call("basic.consume", queue="q")
        bodies = [bytes([i]) * size for i, size in enumerate((10, 600, 5000, 40000, 300000, 700))]
        for body in bodies:
            gives.publish("", "q", body, props={"delivery_mode": 2, "headers": {"n": len(body)}})
        for body in bodies:
            # Taken, given back, and then by another channel that has not published it either.
            first = takes.expect("basic.deliver")
            self.assertEqual((first.body, first.redelivered), (body, False))
            takes.send("basic.nack", delivery_tag=first.delivery_tag, requeue=True)
            again = takes.expect("basic.deliver")
            self.assertEqual((again.body, again.redelivered), (body, True))
            self.assertEqual(again.props["headers"]["n"], len(body))
            takes.send("basic.ack", delivery_tag=again.delivery_tag)

    def test_of_every_size(self):
        c = self.cluster(2).start()
        self.declare(c.nodes[0], ["q"])
        gives, takes, gets = (self.connect_to(c.nodes[1]).channel() for _ in range(3))
        takes.call("basic.consume", queue="q", consumer_tag="c", no_ack=True)
        bodies = [(os.urandom(16) * (size // 16 + 1))[:size] for size in
                  (1, 255, 256, 511, 512, 4096, 49152, 1 << 20, 100 << 20)]
        for body in bodies:
            gives.publish("", "q", body)
            self.assertEqual(takes.expect("basic.deliver", seconds=LONG).body, body)
        takes.call("basic.cancel", consumer_tag="c")
        for body in bodies[:-1]:
            gives.publish("", "q", body)
            self.assertEqual(wait_until(lambda: gets.get("q"), "the message").body, body)

    def test_a_dead_letter_comes_back_as_it_was(self):
        c = self.cluster(2).start()
        self.declare(c.nodes[0], ["dead"])
        conn = self.connect_to(c.nodes[0])
        conn.channel().declare("q", durable=True, arguments={
            "x-queue-master-locator": "client-local", "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": "dead"})
        c.wait_queues(["q", "dead"])
        gives, takes, dead = (self.connect_to(c.nodes[1]).channel() for _ in range(3))
        takes.call("basic.consume", queue="q")
        dead.call("basic.consume", queue="dead", no_ack=True)
        for i in range(50):
            body = b"%04d" % i * 500
            gives.publish("", "q", body)
            m = takes.expect("basic.deliver")
            self.assertEqual(m.body, body)
            takes.send("basic.nack", delivery_tag=m.delivery_tag, requeue=False)
            self.assertEqual(dead.expect("basic.deliver").body, body)

    def test_a_queue_that_is_longer_than_what_is_kept(self):
        c = self.cluster(2).start()
        self.declare(c.nodes[0], ["q"])
        gives, takes = self.connect_to(c.nodes[1]).channel(), self.connect_to(c.nodes[1]).channel()
        takes.call("basic.qos", prefetch_count=1)
        takes.call("basic.consume", queue="q")
        bodies = [b"%06d" % i * 6600 for i in range(600)]  # 24 MB
        for body in bodies:
            gives.publish("", "q", body)
        for i, body in enumerate(bodies):
            m = takes.expect("basic.deliver")
            self.assertEqual((m.body, m.redelivered), (body, False))
            if i % 7 == 0:
                takes.send("basic.nack", delivery_tag=m.delivery_tag, requeue=True)
                m = takes.expect("basic.deliver")
                self.assertEqual((m.body, m.redelivered), (body, True))
            takes.send("basic.ack", delivery_tag=m.delivery_tag)

    def test_a_consumer_at_a_third_node_gets_what_was_kept_for_another(self):
        c = self.cluster().start()
        self.declare(c.nodes[0], ["q"])
        near, far = self.connect_to(c.nodes[1]).channel(), self.connect_to(c.nodes[2]).channel()
        for ch in (near, far):
            ch.call("basic.consume", queue="q", no_ack=True)
        sent = [b"%04d" % i * 500 for i in range(40)]
        for body in sent:
            near.publish("", "q", body)
        got = [ch.expect("basic.deliver").body for ch in (near, far) for _ in range(20)]
        self.assertEqual(sorted(got), sent)


class Losing(ClusterCase):
    def test_the_one_that_leads_is_killed(self):
        c = self.cluster().start().wait_voters()
        self.declare(c.nodes[1], ["before"])
        c.nodes[0].kill()
        self.await_new_leader(c.nodes[1])
        self.declare(c.nodes[2], ["after"])
        self.assertEqual(c.lacks(c.nodes[1], ["after"]), [])
        c.start([c.nodes[0]])
        c.wait_queues(["after", "before"])

    def test_without_a_majority_changes_are_refused_and_it_comes_back(self):
        c = self.cluster().start().wait_voters()
        c.nodes[0].kill()
        c.nodes[1].kill()
        last = c.nodes[2]

        def refused():
            out = last.ctl("-n", last.node, "-q", "add_user", "nobody", "p", seconds=LONG)
            return out.returncode != 0 and "majority" in out.stderr
        wait_until(refused, "a refusal", LONG)
        c.start(c.nodes[:2])
        self.declare(last, ["again"])
        c.wait_queues(["again"])


    def test_one_that_stands_still_is_missed_and_goes_on_later(self):
        c = self.cluster().start().wait_voters()
        still = c.nodes[2]
        self.declare(still, ["its-own"])
        still.kill(signal.SIGSTOP)
        wait_until(lambda: c.lacks(c.nodes[0], ["its-own"]), "it is missed", LONG)
        self.declare(c.nodes[1], ["meanwhile"])
        still.proc.signal(signal.SIGCONT)
        c.wait_queues(["its-own", "meanwhile"])

    def test_the_one_that_leads_stands_still(self):
        c = self.cluster().start().wait_voters()
        c.nodes[0].kill(signal.SIGSTOP)
        self.await_new_leader(c.nodes[1])
        self.declare(c.nodes[2], ["meanwhile"])
        c.nodes[0].proc.signal(signal.SIGCONT)
        c.wait_queues(["meanwhile"])

    def test_one_of_two_stops_in_order_and_the_other_goes_on(self):
        c = self.cluster(2).start().wait_voters()
        self.assertEqual(c.nodes[0].stop(), 0)
        self.declare(c.nodes[1], ["alone"])
        c.start([c.nodes[0]])
        c.wait_queues(["alone"])
        self.assertEqual(c.nodes[1].stop(), 0)
        self.declare(c.nodes[0], ["the-other-way"])


class Restarting(ClusterCase):
    def test_all_in_another_order(self):
        c = self.cluster().start()
        names = ["q%d" % i for i in range(MANY)]
        self.declare(c.nodes[0], names[:10])
        self.declare(c.nodes[1], names[10:])
        c.stop()
        c.nodes[2].start(ready=False)
        c.nodes[2].proc.wait_log(rb"waits for", LONG)
        c.nodes[1].start(ready=False)
        c.nodes[0].start(ready=False)
        for n in c.nodes:
            n.wait_ready()
        c.wait_queues(names)

    def test_all_killed_at_once(self):
        c = self.cluster().start()
        names = ["q%d" % i for i in range(MANY)]
        self.declare(c.nodes[2], names)
        for n in c.nodes:
            n.kill()
        c.start(c.nodes[::-1])
        c.wait_queues(names)

    def test_one_that_lost_its_log_in_its_first_life_does_not_begin_without(self):
        c = self.cluster().start()
        self.declare(c.nodes[0], ["q"])
        for n in c.nodes:
            n.kill()
            raft = os.path.join(n.path("data"), n.node, "raft")
            for name in os.listdir(raft):
                if name.startswith("log-"):
                    os.remove(os.path.join(raft, name))
            n.dead.append(n.proc)
            n.start(ready=False)
            self.assertNotEqual(n.proc.wait(LONG), 0)
            n.proc.tolerated = True
            self.assertIn('the log in "raft" is missing', n.proc.log_tail())
