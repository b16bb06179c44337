"""Bad neighbours: slow, silent, vanishing, many. Nobody else may notice."""

import random
import resource
import threading

import wire
from harness.case import Case, only
from harness.waits import LONG, SCALE, Deadline, wait_until

THREADS = True
REMOTE = True

HELLO = wire.PROTOCOL_HEADER + \
    wire.method_frame(0, "connection.start_ok", mechanism="PLAIN", locale="en_US",
                      response=b"\0guest\0guest") + \
    wire.method_frame(0, "connection.tune_ok", channel_max=2047, frame_max=131072) + \
    wire.method_frame(0, "connection.open", virtual_host="/")


class Base(Case):
    def round_trips(self, n=200):
        """A pair of clients at work: seconds that half of the messages take at most. The machine may
        hold up others; none may miss the deadline of its own that expect() sets."""
        ch = self.channel()
        q = ch.queue()
        ch.consume(q, no_ack=True)
        times = []
        for i in range(n):
            start = Deadline()
            ch.publish("", q, b"%d" % i)
            self.assertEqual(ch.expect("basic.deliver").body, b"%d" % i)
            times.append(start.elapsed())
        ch.conn.close()
        return sorted(times)[n // 2]

    def expect_undisturbed(self):
        self.assertLess(self.round_trips(), 1.0 * SCALE)


class Readers(Base):
    def test_a_client_that_never_reads(self):
        deaf = self.connect(rcvbuf=4096)
        ch = deaf.channel()
        q = self.name()
        helper = self.channel()
        helper.declare(q)
        ch.send("basic.consume", queue=q, no_ack=True)
        body = b"x" * 4096
        for i in range(10000):
            helper.publish("", q, body)
        helper.barrier()
        self.expect_undisturbed()
        deaf.drop()
        helper.call("queue.delete", queue=q)
        self.expect_undisturbed()

    @only("broker", "proxy", "threads", "remote")  # RabbitMQ keeps them all
    def test_a_client_that_asks_and_never_reads_the_answers(self):
        """Its own requests stop being read before the answers fill the memory."""
        deaf = self.connect(rcvbuf=4096)
        deaf.channel()
        question = wire.method_frame(1, "queue.declare", queue="nosuchqueue", exclusive=True) * 1000
        try:
            for _ in range(2000):
                deaf.send(question, 1)
            self.fail("2 million answers were kept for a client that does not read")
        except TimeoutError:
            pass
        self.expect_undisturbed()

    def test_a_slow_consumer_beside_a_fast_one_on_the_same_exchange(self):
        x = self.name("x")
        feeder = self.channel()
        feeder.call("exchange.declare", exchange=x, type="fanout", auto_delete=True)
        slow, fast = self.channel(rcvbuf=4096), self.channel()
        for ch in (slow, fast):
            ch.bind(ch.queue(), x)
            ch.consume("", no_ack=True)
        for i in range(2000):
            feeder.publish(x, "", b"%04d" % i + b"x" * 4000)
        got = [int(m.body[:4]) for m in fast.deliveries(2000, LONG)]
        self.assertEqual(got, list(range(2000)))
        got = [int(m.body[:4]) for m in slow.deliveries(2000, LONG)]  # late, but all of it
        self.assertEqual(got, list(range(2000)))

    def test_a_returning_reader_gets_everything(self):
        late, helper = self.channel(rcvbuf=4096), self.channel()
        q = late.queue()
        late.consume(q, no_ack=True)
        for i in range(5000):
            helper.publish("", q, b"%06d" % i + b"x" * 3000)
        helper.barrier()
        got = [int(m.body[:6]) for m in late.deliveries(5000, LONG)]
        self.assertEqual(got, list(range(5000)))


class Writers(Base):
    def test_half_a_frame_for_ever(self):
        conns = [self.connect() for _ in range(20)]
        frame = wire.method_frame(1, "queue.declare", queue="half", exclusive=True)
        for i, conn in enumerate(conns):
            conn.channel(1)
            conn.send(frame[:1 + i])
        self.expect_undisturbed()

    def test_a_body_that_never_ends(self):
        conns = [self.connect() for _ in range(20)]
        for conn in conns:
            conn.channel(1)
            conn.send(wire.method_frame(1, "basic.publish", routing_key="nowhere") +
                      wire.header_frame(1, 100 << 20) + wire.put_frame(3, 1, b"x" * 100000))
        self.expect_undisturbed()

    def test_vanishing_at_any_moment(self):
        frames = HELLO + wire.method_frame(1, "channel.open") + \
            wire.method_frame(1, "queue.declare", exclusive=True) + \
            wire.method_frame(1, "basic.consume") + \
            wire.method_frame(1, "basic.publish", routing_key="nowhere", mandatory=True) + \
            wire.content_frames(1, b"x" * 5000)
        chance = random.Random(5)
        for _ in range(200):
            conn = self.raw()
            conn.send(frames[:chance.randrange(len(frames))])
            conn.drop()
        self.expect_undisturbed()

    def test_octets_of_chance(self):
        chance = random.Random(7)
        for i in range(100):
            conn = self.raw()
            junk = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 3000)))
            try:
                conn.send((HELLO + wire.method_frame(1, "channel.open") if i % 2 else b"") + junk)
            except OSError:
                pass  # refused already
            conn.drop()
        self.expect_undisturbed()

    def test_frames_with_single_octets_changed(self):
        """Mutations of a whole sensible session, each to the end or the refusal."""
        chance = random.Random(11)
        session = HELLO + wire.method_frame(1, "channel.open") + \
            wire.method_frame(1, "queue.declare", exclusive=True,
                              arguments={"x-max-length": 10}) + \
            wire.method_frame(1, "basic.publish", routing_key="k", mandatory=True) + \
            wire.content_frames(1, b"body", {"headers": {"k": [1, "two", {"three": None}]}}) + \
            wire.method_frame(1, "queue.delete") + \
            wire.method_frame(0, "connection.close", reply_code=200)
        for _ in range(300):
            mutant = bytearray(session)
            mutant[chance.randrange(8, len(mutant))] = chance.randrange(256)
            conn = self.raw()
            try:
                conn.send(mutant)
            except OSError:
                pass
            conn.drop()
        self.expect_undisturbed()

    def test_connections_that_come_and_go(self):
        failures = []

        def churn():
            try:
                for _ in range(50):
                    conn = self.connect()
                    ch = conn.channel()
                    q = ch.queue()
                    ch.publish("", q, b"x")
                    self.assertIsNotNone(ch.get(q))
                    conn.close()
            except Exception as e:
                failures.append(repr(e))
        threads = [threading.Thread(target=churn) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(failures, [])


class Many(Base):
    def open_many(self, n):
        conns = []
        for start in range(0, n, 250):
            batch = [self.raw() for _ in range(min(250, n - start))]
            for conn in batch:
                conn.send(HELLO)
            for conn in batch:
                for name in ("connection.start", "connection.tune", "connection.open_ok"):
                    conn.expect(name, seconds=LONG)
            conns += batch
        return conns

    def test_five_thousand_connections(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        n = min(5000, (hard - 500) // 3)  # the proxy needs two for each
        conns = self.open_many(n)
        self.assertEqual(len(conns), n)
        self.expect_undisturbed()
        for conn in random.Random(3).sample(conns, 100):
            conn.channel().queue()
        for conn in conns:
            conn.drop()
        wait_until(lambda: self.round_trips(20) < 1.0 * SCALE, "quiet again")

    def test_two_thousand_channels(self):
        conn = self.connect()
        for n in range(1, 2001):
            conn.send_method(n, "channel.open")
        for n in range(1, 2001):
            conn.expect("channel.open_ok", n)
        for n in range(1, 2001):
            conn.send_method(n, "queue.declare", exclusive=True)
        names = {conn.expect("queue.declare_ok", n).queue for n in range(1, 2001)}
        self.assertEqual(len(names), 2000)
        conn.close()
