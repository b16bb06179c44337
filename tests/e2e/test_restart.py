"""What outlives the node: confirmed persistent messages in durable queues, as they were."""

import random
import time

from harness.case import Case, only
from harness.client import Eof
from harness.servers import Rabbit
from harness.waits import LONG, wait_until

TARGETS = ("broker", "rabbitmq")
FIRST = True
THREADS = True

PERSISTENT = {"delivery_mode": 2}


def persistent(**props):
    return dict(props, delivery_mode=2)


class RestartCase(Case):
    def setUp(self):
        super().setUp()
        if self.is_rabbit:
            self.server = self.own(Rabbit(self.folder("own"))).start()
        else:
            conf = {"node": {"threads": 3}} if self.target == "threads" else None
            self.server = self.broker("own", conf)
        self.begin()

    def begin(self):
        self.conn = self.connect(address=self.server.address)
        self.ch = self.conn.channel()
        self.out = self.conn.channel()  # confirms come here, deliveries there
        self.out.call("confirm.select")
        self.sent = 0

    def stop(self):
        self.conn.sock.close()
        self.assertEqual(self.server.stop(), 0)

    def restart(self, kill=False):
        """A new life, after an orderly end or none at all."""
        if kill:
            self.server.proc.kill()
            self.conn.sock.close()
        else:
            self.stop()
        self.server.restart()
        self.begin()

    def queue(self, name="q", **arguments):
        q = self.name(name)
        self.ch.declare(q, durable=True,
                        arguments={k.replace("_", "-"): v for k, v in arguments.items()})
        return q

    def confirmed(self, messages):
        """Publishes (exchange, key, body, props), and waits until all are confirmed."""
        left = set()
        for exchange, key, body, props in messages:
            self.out.publish(exchange, key, body, props)
            self.sent += 1
            left.add(self.sent)
        while left:
            ack = self.out.expect("basic.ack", LONG)
            left -= {n for n in left if n == ack.delivery_tag or
                     (ack.multiple and n <= ack.delivery_tag)}

    def put(self, q, bodies, **props):
        self.confirmed([("", q, b, persistent(**props)) for b in bodies])

    def ready(self, q, **kw):
        return self.ch.declare(q, passive=True, **kw).message_count

    def take(self, q, no_ack=True):
        return wait_until(lambda: self.ch.get(q, no_ack=no_ack), "a message in %s" % q)

    def take_all(self, q):
        """All messages that are ready."""
        return [self.take(q) for _ in range(self.ready(q))]


def bodies_of(messages):
    return [m.body for m in messages]


class Messages(RestartCase):
    def test_confirmed_messages_are_there_in_order(self):
        for kill in (False, True):
            with self.subTest(kill=kill):
                q = self.queue()
                want = [b"%d" % i for i in range(1000)]
                self.put(q, want)
                self.restart(kill)
                self.assertEqual(self.ready(q), 1000)
                self.assertEqual(bodies_of(self.take_all(q)), want)
                self.assertIsNone(self.ch.get(q))

    def test_transient_ones_and_queues_that_are_not_durable_are_gone(self):
        q, gone = self.queue(), self.name("gone")
        self.ch.declare(gone)
        self.confirmed([("", q, b"t%d" % i, None if i % 2 else persistent()) for i in range(10)] +
                       [("", gone, b"x", persistent())])
        self.restart()
        self.assertEqual(bodies_of(self.take_all(q)), [b"t%d" % i for i in range(0, 10, 2)])
        self.ch.send("queue.declare", queue=gone, passive=True)
        self.ch.expect_close(404)

    def test_properties_and_routes_are_there(self):
        ex, q = self.name("ex"), self.queue()
        self.ch.call("exchange.declare", exchange=ex, type="topic", durable=True)
        self.ch.bind(q, ex, "a.#")
        props = persistent(content_type="text/x", headers={"k": [1, "two"], "t": {"n": 3}},
                           correlation_id="c", message_id="m", app_id="app", timestamp=99)
        self.confirmed([(ex, "a.b", b"body", props), (ex, "a", b"", props)])
        self.restart(kill=True)
        for key, body in (("a.b", b"body"), ("a", b"")):
            m = self.take(q)
            self.assertEqual((m.exchange, m.routing_key, m.body), (ex, key, body))
            self.assertEqual(m.props, props)
        self.confirmed([(ex, "a.c", b"later", props)])
        self.assertEqual(self.take(q).body, b"later")

    def test_what_was_acknowledged_does_not_come_back(self):
        for kill in (False, True):
            with self.subTest(kill=kill):
                q = self.queue()
                self.put(q, [b"%d" % i for i in range(100)])
                for i in range(50):
                    m = self.take(q, no_ack=False)
                    if i % 3 != 1:
                        self.ch.ack(m.delivery_tag)
                self.ch.barrier()
                self.put(q, [b"last"])  # and what was settled before is as safe as this
                self.restart(kill)
                want = [b"%d" % i for i in range(100) if i >= 50 or i % 3 == 1] + [b"last"]
                self.assertEqual(bodies_of(self.take_all(q)), want)

    def test_what_was_handed_out_says_so(self):
        q = self.queue()
        self.put(q, [b"%d" % i for i in range(10)])
        for _ in range(4):
            self.take(q, no_ack=False)
        self.restart()
        got = self.take_all(q)
        self.assertEqual([m.redelivered for m in got], [True] * 4 + [False] * 6)

    def test_what_a_killed_node_handed_out_says_so(self):
        q = self.queue()
        self.ch.call("basic.qos", prefetch_count=5)
        self.ch.consume(q)
        self.put(q, [b"%d" % i for i in range(10)])
        self.restart(kill=True)
        got = self.take_all(q)
        self.assertEqual(bodies_of(got), [b"%d" % i for i in range(10)])
        self.assertEqual([m.redelivered for m in got[:5]], [True] * 5)

    def test_a_purge_and_a_deletion_last(self):
        q, gone = self.queue(), self.queue("gone")
        self.put(q, [b"a", b"b"])
        self.put(gone, [b"c"])
        self.assertEqual(self.ch.call("queue.purge", queue=q).message_count, 2)
        self.ch.call("queue.delete", queue=gone)
        self.ch.declare(gone, durable=True)
        self.put(q, [b"new"])
        self.restart(kill=True)
        self.assertEqual(bodies_of(self.take_all(q)), [b"new"])
        self.assertEqual(self.ready(gone, durable=True), 0)

    def test_large_and_empty_bodies(self):
        for kill in (False, True):
            with self.subTest(kill=kill):
                q = self.queue()
                r = random.Random(7)
                want = [r.randbytes(n) for n in (0, 1, 65535, 65536, 300000, 5000000, 10)]
                self.put(q, want)
                self.restart(kill)
                self.assertEqual(bodies_of(self.take_all(q)), want)

    def test_one_message_in_many_queues(self):
        ex = self.name("fan")
        self.ch.call("exchange.declare", exchange=ex, type="fanout", durable=True)
        queues = [self.queue() for _ in range(20)]
        for q in queues:
            self.ch.bind(q, ex)
        self.confirmed([(ex, "", b"%d" % i, persistent()) for i in range(50)])
        for q in queues[::2]:
            self.take(q)
        self.ch.barrier()
        # What is confirmed by a queue comes behind what was acknowledged to it.
        self.confirmed([("", q, b"last", persistent()) for q in queues[::2]])
        self.restart(kill=True)
        for n, q in enumerate(queues):
            want = [b"%d" % i for i in range(1 if n % 2 == 0 else 0, 50)]
            self.assertEqual(bodies_of(self.take_all(q)), want + [b"last"] * (n % 2 == 0))

    def test_several_lives(self):
        q = self.queue()
        want = []
        for life in range(5):
            self.put(q, [b"%d.%d" % (life, i) for i in range(20)])
            want += [b"%d.%d" % (life, i) for i in range(20)]
            for _ in range(7):
                self.assertEqual(self.take(q).body, want.pop(0))
            self.put(q, [b"%d" % life])
            want.append(b"%d" % life)
            self.restart(kill=life % 2 == 0)
        self.assertEqual(bodies_of(self.take_all(q)), want)

    def test_a_consumer_goes_on(self):
        q = self.queue()
        self.put(q, [b"%d" % i for i in range(200)])
        self.restart()
        self.ch.call("basic.qos", prefetch_count=10)
        self.ch.consume(q)
        for i in range(200):
            m = self.ch.expect("basic.deliver")
            self.assertEqual(m.body, b"%d" % i)
            self.ch.ack(m.delivery_tag)
        self.ch.barrier()
        self.put(q, [b"more"])
        self.assertEqual(self.ch.expect("basic.deliver").body, b"more")


class Kinds(RestartCase):
    def test_priorities(self):
        q = self.queue(x_max_priority=9)
        self.confirmed([("", q, b"%d" % i, persistent(priority=i % 10)) for i in range(50)])
        self.restart(kill=True)
        want = [b"%d" % i for p in range(9, -1, -1) for i in range(50) if i % 10 == p]
        self.assertEqual(bodies_of(self.take_all(q)), want)

    def test_messages_expire_when_they_would_have(self):
        q, dead = self.queue(), self.queue("dead")
        timed = self.queue("timed", x_message_ttl=3000, x_dead_letter_exchange="",
                           x_dead_letter_routing_key=dead)
        self.put(q, [b"short"], expiration="1500")
        self.put(q, [b"long"], expiration="600000")
        start = time.monotonic()
        self.put(timed, [b"t"])
        self.restart(kill=True)
        wait_until(lambda: self.ready(q) == 1, "the short one gone")
        self.assertEqual(self.take(q).body, b"long")
        m = self.take(dead)
        self.assertEqual(m.props["headers"]["x-death"][0]["reason"], "expired")
        self.assertGreater(time.monotonic() - start, 2.5)

    def test_deaths_are_counted_on(self):
        q = self.name("q")
        dead = self.queue("dead")
        self.ch.declare(q, durable=True, arguments={
            "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
        self.put(q, [b"m"])
        for n in (1, 2):
            m = self.take(q, no_ack=False)
            self.ch.send("basic.reject", delivery_tag=m.delivery_tag, requeue=False)
            m = self.take(dead, no_ack=False)
            deaths = m.props["headers"]["x-death"]
            self.assertEqual((deaths[0]["queue"], deaths[0]["count"]), (q, n))
            self.confirmed([("", q, b"m", dict(m.props))])
            self.ch.ack(m.delivery_tag)
            self.ch.barrier()
            self.put(dead, [b"last"])
            self.restart(kill=True)
            self.assertEqual(bodies_of(self.take_all(dead)), [b"last"])

    def test_dead_letters_are_in_one_of_both(self):
        dead = self.queue("dead")
        q = self.queue(x_max_length=10, x_dead_letter_exchange="", x_dead_letter_routing_key=dead)
        self.put(q, [b"%d" % i for i in range(500)])
        self.restart(kill=True)
        wait_until(lambda: self.ready(q) == 10, "what is too much has gone from %s" % q)
        self.assertEqual(bodies_of(self.take_all(q)), [b"%d" % i for i in range(490, 500)])
        missing = {b"%d" % i for i in range(490)}
        while missing:
            missing.discard(self.take(dead).body)  # some may be there twice

    def test_the_limit_of_length_holds_on(self):
        q = self.queue(x_max_length=5)
        self.put(q, [b"%d" % i for i in range(20)])
        self.restart()
        self.assertEqual(self.ready(q), 5)
        self.put(q, [b"20"])
        self.assertEqual(bodies_of(self.take_all(q)), [b"%d" % i for i in range(16, 21)])

    def test_quorum_queues_count_on(self):
        for kill in (False, True):
            with self.subTest(kill=kill):
                q = self.queue(x_queue_type="quorum", x_delivery_limit=3)
                self.put(q, [b"m"])
                for n in range(2):
                    m = self.take(q, no_ack=False)
                    self.ch.send("basic.nack", delivery_tag=m.delivery_tag, requeue=True)
                self.ch.barrier()
                self.put(q, [b"other"])
                self.restart(kill)
                m = self.take(q)
                self.assertEqual((m.body, m.props["headers"]["x-delivery-count"]), (b"m", 2))
                self.take(q)

    def test_transactions(self):
        q = self.queue()
        self.put(q, [b"old"])
        ch = self.conn.channel()
        ch.call("tx.select")
        old = ch.get(q, no_ack=False)
        for i in range(10):
            ch.publish("", q, b"%d" % i, PERSISTENT)
        ch.ack(old.delivery_tag)
        ch.call("tx.commit")
        for i in range(10):
            ch.publish("", q, b"not %d" % i, PERSISTENT)
        ch.barrier()
        self.restart(kill=True)
        self.assertEqual(bodies_of(self.take_all(q)), [b"%d" % i for i in range(10)])


class Node(RestartCase):
    @only("broker", "threads")
    def test_stop_app_keeps_and_reset_forgets(self):
        q = self.queue()
        self.put(q, [b"a", b"b"])

        def ctl(*args):
            out = self.server.ctl(*args)
            self.assertEqual(out.returncode, 0, out.stderr)
        ctl("stop_app")
        with self.assertRaises(Eof):
            while True:
                self.conn.next(0)
        ctl("start_app")
        self.begin()
        self.assertEqual(self.ready(q, durable=True), 2)
        ctl("stop_app")
        ctl("reset")
        ctl("start_app")
        self.restart()
        self.ch.declare(q, durable=True)
        self.assertEqual(self.ready(q, durable=True), 0)

    def test_exclusive_queues_go(self):
        q = self.name("mine")
        self.ch.declare(q, durable=True, exclusive=True)
        self.put(q, [b"x"])
        self.restart(kill=True)
        self.ch.send("queue.declare", queue=q, passive=True)
        self.ch.expect_close(404)
