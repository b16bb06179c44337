"""Masters that are moved by plan behind a proxy: consumers go after them, and clients hear nothing of
that."""

import signal
import threading
import time

from harness.masters_case import LOCAL, Mirrored
from harness.proxy_view import command, wait_status
from harness.waits import LONG, wait_until

TARGETS = ("proxy",)
PERSISTENT = {"delivery_mode": 2}


class Moves(Mirrored):
    def setUp(self):
        super().setUp()
        self.first, self.second = self.names[:2]
        self.q = self.queues[self.first]
        self.conn = self.connect(address=self.front.address)
        self.pub = self.conn.channel()
        self.pub.call("confirm.select")
        self.sent = 0

    def publish(self, count, queue=None):
        """They are confirmed."""
        before = self.sent
        for _ in range(count):
            self.pub.publish("", queue or self.q, b"%d" % self.sent, props=PERSISTENT)
            self.sent += 1
        seen = before
        while seen < self.sent:
            event = self.pub.expect("basic.ack", LONG)
            seen = event.delivery_tag if event.multiple else seen + 1

    def move(self, queue, node):
        self.ctl("move_master", queue, node.node)
        wait_until(lambda: "server=%s " % node.name in command(
            self.front, "show queues / " + queue), "the proxy knows of it", LONG)

    def moved(self):
        return self.figure("warren_proxy_consumers_moved_total")

    def wait_moved(self, ch, count, legs):
        """So many consumers in all have moved, and are there."""
        wait_until(lambda: self.moved() == count and sorted(self.legs()[ch.number]) == sorted(legs)
                   and "astray" not in command(self.front, "show legs"), "they have moved", LONG)

    def bodies(self, got):
        return [d.body for d in got]

    def expect_numbered(self, got, first):
        self.assertEqual([d.delivery_tag for d in got], list(range(first, first + len(got))))

    def test_brokers_that_gossip_names_hear_whom_it_is_for(self):
        """... though the servers' lines do not say that they are to be told."""
        self.publish(1)
        self.assertIn(str(self.conn.sock.getsockname()[1]),
                      self.ctl("list_connections", "peer_port").split())

    def test_a_consumer_follows_and_misses_nothing(self):
        ch = self.conn.channel()
        ch.call("basic.qos", prefetch_count=10)
        ch.consume(self.q, "c", arguments={"x-priority": 3})
        ch.consume(self.queues[self.second], "other")
        free = self.conn.channel()
        free.consume(self.queues[self.names[2]], "free", no_ack=True)
        self.publish(3)
        got = ch.deliveries(3)
        self.expect_numbered(got, 1)
        ch.ack(3, multiple=True)
        ch.barrier()
        self.move(self.q, self.there)
        self.publish(20)
        self.wait_moved(ch, 1, [self.first, self.second])
        got += ch.deliveries(10, LONG)
        ch.expect_silence()
        ch.ack(0, multiple=True)
        got += ch.deliveries(10, LONG)
        self.expect_numbered(got, 1)
        self.assertEqual(self.bodies(got), [b"%d" % n for n in range(23)])
        self.assertEqual({d.consumer_tag for d in got}, {"c"})
        ways = self.ways()
        ch.ack(0, multiple=True)
        ch.barrier()

        self.move(self.queues[self.names[2]], self.here)
        self.wait_moved(free, 2, [self.names[2], self.first])
        self.publish(5, self.queues[self.names[2]])
        self.expect_numbered(free.deliveries(5, LONG), 1)

        self.move(self.q, self.here)
        self.wait_moved(ch, 3, [self.first, self.second])
        self.publish(2)
        self.assertEqual(len(ch.deliveries(2, LONG)), 2)
        ch.call("basic.cancel", consumer_tag="c")
        ch.close()
        view = self.channel(address=self.third.address)
        wait_until(lambda: [view.declare(q, passive=True).message_count for q in
                            self.queues.values()] == [2, 0, 0], "two are back", LONG)
        self.assertEqual(self.failovers(), {"kept": 0, "ended": 0})
        self.assertGreaterEqual(self.ways()["straight"], ways["straight"])

    def test_its_limit_holds_for_both_places(self):
        ch = self.conn.channel()
        ch.call("basic.qos", prefetch_count=4)
        ch.consume(self.q, "c")
        self.publish(20)
        got = ch.deliveries(4)
        self.move(self.q, self.there)
        wait_until(lambda: self.moved() == 1, "it goes", LONG)
        ch.expect_silence()
        ch.ack(1)
        ch.ack(2)
        got += ch.deliveries(2, LONG)  # its client keeps the two others
        self.expect_numbered(got, 1)
        ch.expect_silence()
        self.assertEqual(sorted(self.legs()[ch.number]), [self.first, self.second])
        ch.ack(5)
        got.append(ch.expect("basic.deliver", LONG, delivery_tag=7))
        ch.expect_silence()
        ch.ack(4, multiple=True)
        wait_until(lambda: self.moved() == 2, "it gets its whole limit back", LONG)
        got += ch.deliveries(2, LONG)
        ch.expect_silence()
        while len(set(self.bodies(got))) < 20:  # the broker may repeat what was out as it moved
            ch.ack(got[-1].delivery_tag, multiple=True)
            got.append(ch.expect("basic.deliver", LONG))
        self.expect_numbered(got, 1)

    def test_long_tasks_get_the_whole_limit_back(self):
        """Tasks of seconds, each acknowledged by itself: the consumer is taken off to move, and once
        more for its whole limit, however long the last of them takes meanwhile."""
        ch = self.conn.channel()
        ch.call("basic.qos", prefetch_count=10)
        ch.consume(self.q, "c")
        self.publish(50)
        out = ch.deliveries(10)
        self.move(self.q, self.there)
        wait_until(lambda: self.moved() == 1, "it goes", LONG)
        ch.ack(out.pop(0).delivery_tag)
        out.append(ch.expect("basic.deliver", LONG, delivery_tag=11))  # nine are kept
        ch.expect_silence(2)
        for _ in range(9):
            ch.ack(out.pop(0).delivery_tag)
        wait_until(lambda: self.moved() == 2, "it goes for its whole limit", LONG)
        ch.expect_silence(1.6)  # the last task takes longer than what is kept for good is waited for
        ch.ack(out.pop(0).delivery_tag)
        out += ch.deliveries(10, LONG)
        for _ in range(20):
            ch.ack(out.pop(0).delivery_tag)
            out.append(ch.expect("basic.deliver", LONG))
            self.assertEqual(len(out), 10)
        ch.expect_silence()
        self.expect_numbered(out, 32)
        self.assertEqual(self.moved(), 2)

    def test_one_that_waits_for_more_gets_it(self):
        """It acknowledges five when it has seven: something is always out, and with what is left of
        its limit alone it would wait for ever."""
        ch = self.conn.channel()
        ch.call("basic.qos", prefetch_count=8)
        ch.consume(self.q, "c")
        self.publish(150)
        got = ch.deliveries(8)
        self.move(self.q, self.there)
        wait_until(lambda: self.moved() == 1, "it goes", LONG)
        settled = 0
        while len(got) < 40:
            while len(got) - settled >= 7:
                settled += 5
                ch.ack(settled, multiple=True)
            got.append(ch.expect("basic.deliver", LONG))
            self.assertLessEqual(len(got) - settled, 8)
        self.expect_numbered(got, 1)

    def test_batches_do_not_take_it_off_again_and_again(self):
        """It acknowledges three of ten at once while two are kept: once more, and it is well."""
        ch = self.conn.channel()
        ch.call("basic.qos", prefetch_count=10)
        ch.consume(self.q, "c")
        self.publish(300)
        got = ch.deliveries(10)
        self.move(self.q, self.there)
        wait_until(lambda: self.moved() == 1, "it goes", LONG)
        settled = 0
        while len(got) < 300:
            while len(got) - settled >= 5:
                settled += 3
                ch.ack(settled, multiple=True)
                time.sleep(0.06)  # the work
            got.append(ch.expect("basic.deliver", LONG))
        self.expect_numbered(got, 1)
        self.assertLessEqual(self.moved(), 3)

    def bring_home(self):
        """Each queue, to the node of its name."""
        for node in self.cluster.nodes:
            q = self.queues[node.name]
            wait_until(lambda q=q: self.mirrors(q) == 2, "mirrors of " + q, LONG)
            self.move(q, node)

    def seconds_for_two_moves(self):
        ch = self.conn.channel()
        ch.consume(self.q, "moves")
        began = time.monotonic()
        for n, node in enumerate((self.there, self.here)):
            self.move(self.q, node)
            wait_until(lambda n=n: self.moved() == n + 1, "it goes after it", LONG)
        ch.conn.close()
        return time.monotonic() - began

    def test_moves_do_not_prolong_the_wait_of_others(self):
        """A consumer of the channel is astray, whose node is down: after timeout-failover any broker
        says why, however often another one moves meanwhile. Whether moves fit into that time is the
        machine's affair: where they do not, it is tried with more of it."""
        seconds = max(2, int(5 * self.seconds_for_two_moves()))
        self.declare_at(self.third, "lone")
        while self.moves_while_one_waits(seconds) <= 1:
            seconds *= 4
            self.assertLess(seconds, LONG, "no two moves in so many seconds")
            self.cluster.start([self.third]).wait_voters()
            self.bring_home()

    def moves_while_one_waits(self, seconds):
        """How many there were until it was told, which is not later for them."""
        self.front = self.proxy(self.cluster.nodes, {
            "global": self.gossiping(), "defaults": {"timeout-failover": "%ds" % seconds},
            "backend rabbits": {"balance": "queue-master"}})
        self.wait_known()
        wait_until(lambda: "server=%s usable=yes" % self.names[2] in command(
            self.front, "show queues / lone"), "the proxy knows it", LONG)
        ch = self.connect(address=self.front.address).channel()
        ch.consume("lone", "waits")
        ch.consume(self.q, "moves")
        self.third.kill()
        wait_until(lambda: " astray=1" in command(self.front, "show legs"), "one waits", LONG)
        for n in range(1000):
            self.move(self.q, self.there if n % 2 == 0 else self.here)
            if "state=LOST" in command(self.front, "show legs"):
                break
        else:
            self.fail("it waits still")
        ch.expect_close(404, seconds=LONG)
        return self.moved()

    def test_a_broker_that_does_not_answer_is_left(self):
        hasty = self.proxy(self.cluster.nodes, {
            "global": self.gossiping(), "defaults": {"timeout-connect": "1s"},
            "backend rabbits": {"balance": "queue-master"}})
        ch = self.channel(address=hasty.address)
        wait_until(lambda: "server=%s usable=yes" % self.first in command(
            hasty, "show queues / " + self.q), "the proxy knows it", LONG)
        ch.call("confirm.select")
        ch.publish("", self.q, b"before", props=PERSISTENT)
        ch.expect("basic.ack", LONG, delivery_tag=1)
        self.ctl("move_master", self.q, self.there.node)
        wait_until(lambda: "server=%s " % self.second in command(
            hasty, "show queues / " + self.q), "the proxy knows of it", LONG)
        for n in range(2, 12):  # until it is seen to take a hop
            ch.publish("", self.q, b"hop", props=PERSISTENT)
            ch.expect("basic.ack", LONG, delivery_tag=n)
        self.here.proc.tolerated = True
        self.here.proc.signal(signal.SIGSTOP)
        self.addCleanup(self.here.proc.signal, signal.SIGCONT)
        ch.publish("", self.q, b"straight", props=PERSISTENT)
        ch.expect("basic.ack", LONG, delivery_tag=12)

    def test_those_that_others_could_take_the_place_of_stay(self):
        single, soon = "single.q", "soon.q"
        setup = self.channel(address=self.here.address)
        setup.declare(single, durable=True,
                      arguments=dict(LOCAL, **{"x-single-active-consumer": True}))
        setup.declare(soon, durable=True, auto_delete=True, arguments=LOCAL)
        for q in (single, soon):
            wait_until(lambda q=q: self.mirrors(q) == 2, "mirrors of " + q, LONG)
            wait_until(lambda q=q: "server=%s " % self.first in command(
                self.front, "show queues / " + q), "the proxy knows " + q, LONG)
        ch = self.conn.channel()
        ch.consume(self.q, "exclusive", exclusive=True)
        ch.consume(single, "single")
        ch.consume(soon, "soon")
        for q in (self.q, single, soon):
            self.move(q, self.there)
        witness = self.conn.channel()
        witness.consume(self.queues[self.names[2]], "witness")
        self.move(self.queues[self.names[2]], self.there)
        self.wait_moved(witness, 1, [self.names[2], self.second])
        for q in (self.q, single, soon):
            self.publish(1, q)
        self.assertEqual({d.consumer_tag for d in ch.deliveries(3, LONG)},
                         {"exclusive", "single", "soon"})
        self.assertEqual(self.legs()[ch.number], [self.first])


class Drained(Mirrored):
    """Each node in turn is stopped and started under load, one of them drained before."""

    PREFETCH = 20

    def setUp(self):
        super().setUp()
        self.wrong, self.seen, self.repeated = [], {}, []
        self.ends = threading.Event()
        self.sent = dict.fromkeys(self.queues.values(), 0)
        for q in self.queues.values():
            self.seen[q] = set()

    def guarded(self, work, *args):
        def run():
            try:
                work(*args)
            except Exception as e:  # whatever a library may throw is shown by the test
                self.wrong.append("%s: %r" % (work.__name__, e))
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.addCleanup(thread.join, LONG)
        return thread

    def take(self, ch, method, body):
        q = method.consumer_tag
        if body in self.seen[q] and not method.redelivered:
            self.repeated.append((q, body))
        self.seen[q].add(body)
        self.held.append(method.delivery_tag)
        if len(self.held) >= self.PREFETCH // 2:  # so something is always out
            ch.basic_ack(self.held[0])
            del self.held[0]

    def consume(self):
        import pika
        self.held = []
        conn = pika.BlockingConnection(pika.ConnectionParameters(*self.front.address))
        ch = conn.channel()
        ch.basic_qos(prefetch_count=self.PREFETCH)
        for q in self.queues.values():
            ch.basic_consume(q, lambda ch, m, _, body: self.take(ch, m, body), consumer_tag=q)
        while not self.ends.is_set():
            conn.process_data_events(0.05)
            while self.held:  # what it was given is done
                ch.basic_ack(self.held.pop(0))
        conn.close()

    def publish(self):
        import pika
        conn = pika.BlockingConnection(pika.ConnectionParameters(*self.front.address))
        ch = conn.channel()
        ch.confirm_delivery()
        while not self.ends.is_set():
            for q in self.queues.values():
                ch.basic_publish("", q, b"%d" % self.sent[q],
                                 pika.BasicProperties(delivery_mode=2))
                self.sent[q] += 1
            conn.process_data_events(0)
        conn.close()

    def passed(self, more):
        until = sum(self.sent.values()) + more
        wait_until(lambda: sum(self.sent.values()) >= until or self.wrong, "%d more" % more, LONG)
        self.assertEqual(self.wrong, [])

    def test_no_client_notices(self):
        self.wait_proxy_known()
        self.guarded(self.consume)
        publisher = self.guarded(self.publish)
        self.addCleanup(self.ends.set)
        self.passed(60)
        for node in self.cluster.nodes:
            if node is self.cluster.nodes[0]:
                out = node.ctl("-n", node.node, "-q", "drain", seconds=LONG)
                self.assertEqual(out.returncode, 0, out.stderr)
                self.passed(60)
            node.stop()
            self.passed(60)
            self.cluster.start([node])
            wait_status(self.front, node.name, "UP")
            for q in self.queues.values():
                wait_until(lambda q=q: self.wrong or self.mirrors(q) == 2, "mirrors of " + q, LONG)
        self.assertEqual((self.wrong, self.failovers()), ([], {"kept": 0, "ended": 0}))
        self.assertGreaterEqual(self.figure("warren_proxy_vacated_total"), 1)

        def all_seen():
            return self.wrong or all(len(self.seen[q]) >= self.sent[q] - 1
                                     for q in self.queues.values())

        wait_until(all_seen, "what was published", LONG)
        self.ends.set()
        publisher.join(LONG)
        self.assertEqual((self.wrong, self.repeated), ([], []))
