"""Channels go to the masters of the queues that they use: balance = queue-master."""

import wire
from harness.masters_case import LOCAL, Masters
from harness.proxy_view import command, stats
from harness.waits import LONG, wait_until

TARGETS = ("proxy",)


class Places(Masters):
    def test_the_first_queue_that_is_named_says_where(self):
        conn = self.connect(address=self.front.address)
        uses = {
            "publish": lambda ch, q: ch.publish("", q, b"one"),
            "get": lambda ch, q: self.assertEqual(ch.get(q).body, b"one"),
            "consume": lambda ch, q: ch.consume(q),
            "passive": lambda ch, q: ch.declare(q, passive=True),
        }
        before = self.ways()
        for name, use in uses.items():
            with self.subTest(name):
                for server, q in self.queues.items():
                    ch = conn.channel()
                    self.assertEqual(self.legs()[ch.number], ["<none>"])
                    use(ch, q)
                    ch.barrier()
                    self.assertEqual(self.legs()[ch.number], [server])
                    ch.close()
        self.assertEqual(self.legs(), {})
        self.assertEqual(self.ways()["straight"] - before["straight"], 9)
        self.assertEqual(self.ways()["hop"], before["hop"])

    def test_what_prepares_a_channel_needs_no_broker_and_is_not_lost(self):
        conn = self.connect(address=self.front.address)
        for server, q in self.queues.items():
            ch = conn.channel()
            ch.call("basic.qos", prefetch_count=2)
            ch.call("confirm.select")
            self.assertEqual(self.legs()[ch.number], ["<none>"])
            for n in range(5):
                ch.publish("", q, b"%d" % n)
            for n in range(1, 6):
                if ch.expect("basic.ack").delivery_tag == 5:
                    break
            ch.consume(q)
            got = ch.deliveries(2)
            ch.expect_silence()
            ch.ack(got[1].delivery_tag, multiple=True)
            self.assertEqual([d.body for d in ch.deliveries(2)], [b"2", b"3"])
            self.assertEqual(self.legs()[ch.number], [server])
            ch.call("queue.purge", queue=q)
            ch.close()

    def test_an_exclusive_queue_stays_with_its_connection(self):
        conn = self.connect(address=self.front.address)
        mine = [conn.channel().queue(exclusive=True) for _ in range(3)]
        named = [self.name() for _ in range(3)]
        for q in named:
            conn.channel().declare(q, exclusive=True)
        for q in mine + named:
            ch = conn.channel()
            ch.publish("", q, b"mine")
            ch.barrier()
            self.assertEqual(ch.get(q).body, b"mine")
        homes = self.legs()
        self.assertGreater(len({servers[0] for servers in homes.values()}), 1)
        stranger = self.connect(address=self.front.address).channel()
        stranger.send("basic.get", queue=named[0])
        stranger.expect_close(405)

    def test_a_channel_that_needs_no_broker_is_closed_without_one(self):
        conn = self.connect(address=self.front.address)
        ch = conn.channel(7)
        ch.call("channel.close")
        ch = conn.channel(7)
        ch.call("exchange.declare", exchange=self.name(), type="fanout", auto_delete=True)
        self.assertNotEqual(self.legs()[7], ["<none>"])
        conn.send_method(7, "channel.open")
        conn.expect_close(504)


class Split(Masters):
    """One channel with a leg at each of several masters."""

    def fill(self, count):
        """So many messages in each queue."""
        for n in self.cluster.nodes:
            ch = self.channel(address=n.address)
            ch.call("confirm.select")
            for i in range(count):
                ch.publish("", self.queues[n.name], b"%d" % i)
            while ch.expect("basic.ack").delivery_tag < count:
                pass
            ch.conn.close()

    def wait_ready(self, conn, want):
        """Until so many messages are ready in each queue."""
        ch = conn.channel()
        wait_until(lambda: [ch.declare(q, passive=True).message_count
                            for q in self.queues.values()] == want, "%s messages" % want)
        ch.close()

    def spread(self, conn, **qos):
        """A channel with a consumer on each queue, named as the server, asked for at once."""
        ch = conn.channel()
        if qos:
            ch.call("basic.qos", **qos)
        for server, q in self.queues.items():
            ch.send("basic.consume", queue=q, consumer_tag=server)
        events = []
        while len([e for e in events if e.name == "basic.consume_ok"]) < len(self.queues):
            events.append(ch.next())
        conn.events.extendleft(e for e in reversed(events) if e.name == "basic.deliver")
        self.assertEqual([e.consumer_tag for e in events if e.name == "basic.consume_ok"],
                         self.names)
        self.assertEqual(sorted(self.legs()[ch.number]), sorted(self.names))
        return ch

    def test_consumers_at_several_masters_are_one_channel_s(self):
        self.fill(4)
        conn = self.connect(address=self.front.address)
        ch = self.spread(conn, prefetch_count=2)
        seen = ch.deliveries(6)
        ch.expect_silence()
        self.assertEqual([d.delivery_tag for d in seen], list(range(1, 7)))
        for server in self.names:
            self.assertEqual([d.body for d in seen if d.consumer_tag == server], [b"0", b"1"])
        ch.ack(4, multiple=True)
        seen += ch.deliveries(4)
        self.assertEqual([d.delivery_tag for d in seen], list(range(1, 11)))
        ch.send("basic.nack", delivery_tag=5, requeue=True)
        again = ch.expect("basic.deliver", delivery_tag=11, redelivered=True)
        self.assertEqual((again.consumer_tag, again.body), (seen[4].consumer_tag, seen[4].body))
        ch.call("basic.cancel", consumer_tag=self.names[0])
        ch.ack(0, multiple=True)
        had = {s: {d.body for d in seen if d.consumer_tag == s} for s in self.names}
        left = [4 - len(had[s]) for s in self.names]
        late = ch.deliveries(sum(left[1:]))
        ch.call("basic.qos", prefetch_count=7)
        self.wait_ready(conn, [left[0], 0, 0])
        self.assertEqual({d.consumer_tag for d in late} - set(self.names[1:]), set())
        ch.close()
        self.assertEqual(self.legs(), {})
        self.wait_ready(conn, left)
        conn.channel(ch.number).barrier()

    def test_gets_and_errors(self):
        self.fill(3)
        conn = self.connect(address=self.front.address)
        ch = conn.channel()
        got = [ch.get(q, no_ack=False) for _ in range(2) for q in self.queues.values()]
        self.assertEqual([(m.delivery_tag, m.body) for m in got],
                         [(n + 1, b"%d" % (n // 3)) for n in range(6)])
        self.assertEqual(sorted(self.legs()[ch.number]), sorted(self.names))
        ch.ack(3, multiple=True)
        ch.send("basic.ack", delivery_tag=99)
        ch.expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 99", "basic.ack")
        self.wait_ready(conn, [2, 2, 2])

        last = self.names[2]
        only = self.channel(address=self.cluster.nodes[2].address)
        only.consume(self.queues[last], exclusive=True)
        only.deliveries(2)
        ch = conn.channel(ch.number)
        for server in self.names[:2]:
            self.assertIsNotNone(ch.get(self.queues[server], no_ack=False))
        ch.send("basic.consume", queue=self.queues[last])
        ch.expect_close(403, method="basic.consume")
        self.wait_ready(conn, [2, 2, 0])
        only.conn.close()

        ch = conn.channel(ch.number)
        ch.publish("", self.queues[self.names[0]], b"before")
        for q in self.queues.values():
            self.assertIsNotNone(ch.get(q))
        self.assertEqual(self.legs()[ch.number], self.names[:1], "a get stays behind a publish")

        ch = conn.channel()
        ch.call("basic.qos", prefetch_count=10, **{"global": True})
        for q in self.queues.values():
            ch.consume(q)
        self.assertEqual(self.legs()[ch.number], self.names[:1], "a limit of the whole channel")

    def test_messages_of_several_masters_do_not_mix(self):
        """Many small ones; then large ones, of which each ack brings one from each at once."""
        before = self.ways()
        conn = self.connect(address=self.front.address)
        ch = self.spread(conn)
        publishers = {q: conn.channel() for q in self.queues.values()}
        count, large = 3400, 5
        for n in range(count):
            for q, publisher in publishers.items():
                publisher.publish("", q, b"%d" % n)
        nexts = dict.fromkeys(self.names, 0)
        for tag in range(1, 3 * count + 1):
            d = ch.expect("basic.deliver", delivery_tag=tag)
            self.assertEqual(int(d.body), nexts[d.consumer_tag])
            nexts[d.consumer_tag] += 1
            if tag % 100 == 0:
                ch.ack(tag, multiple=True)
        self.assertEqual(set(nexts.values()), {count})
        ch.close()
        ways = {way: n - before[way] for way, n in self.ways().items()}
        self.assertGreater(ways["straight"], 0.99 * sum(ways.values()), ways)

        for n in range(large):
            for q, publisher in publishers.items():
                publisher.publish("", q, b"%d" % n * 1000000)
        self.wait_ready(conn, [large] * 3)
        ch = self.spread(conn, prefetch_count=1)
        for n in range(large):
            got = ch.deliveries(3)
            self.assertEqual({d.consumer_tag for d in got}, set(self.names))
            self.assertEqual({d.body for d in got}, {b"%d" % n * 1000000})
            ch.ack(0, multiple=True)
        ch.close()
        self.wait_ready(conn, [0, 0, 0])

    def test_only_channels_that_miss_a_broker_hear_of_its_end(self):
        conn = self.connect(address=self.front.address)
        ch = self.spread(conn)
        conn.channel().publish("", self.queues[self.names[2]], b"not acknowledged")
        ch.deliveries(1)
        idle = conn.channel()
        for q in self.queues.values():
            self.assertIsNone(idle.get(q))
        self.assertEqual(sorted(self.legs()[idle.number]), sorted(self.names))
        first = self.queues[self.names[0]]
        conn.send(wire.method_frame(ch.number, "basic.publish", routing_key=first) +
                  wire.header_frame(ch.number, 8) +
                  wire.put_frame(wire.FRAME_BODY, ch.number, b"half"))
        self.cluster.nodes[2].kill()
        wait_until(lambda: "channel=%d be=rabbits srv=%s state=ENDING" % (ch.number, self.names[0])
                   in command(self.front, "show legs"), "the end of the message is waited for")
        conn.send(wire.put_frame(wire.FRAME_BODY, ch.number, b"full"))
        event = ch.expect("channel.close")
        self.assertEqual(event.reply_code, 320)
        self.assertRegex(event.reply_text, "^CONNECTION_FORCED - broker %s " % self.names[2])
        self.assertEqual(idle.get(first).body, b"halffull")
        self.assertIsNone(idle.get(self.queues[self.names[1]]))
        self.assertEqual(sorted(self.legs()[idle.number]), sorted(self.names[:2]))

    def test_a_consumer_waits_for_its_node(self):
        """Its queue is nowhere else; all else goes on meanwhile, and it can be cancelled."""
        first, last = (self.queues[self.names[n]] for n in (0, 2))
        third = self.cluster.nodes[2]
        conn = self.connect(address=self.front.address)
        ch, one, pub = self.spread(conn), conn.channel(), conn.channel()
        one.consume(last, "one")
        third.kill()
        wait_until(lambda: command(self.front, "show legs").count(" astray=1") == 2,
                   "two consumers wait")
        one.call("basic.cancel", consumer_tag="one")
        self.assertEqual(command(self.front, "show legs").count(" astray=1"), 1)
        pub.publish("", first, b"meanwhile")
        self.assertEqual(ch.deliveries(1)[0].body, b"meanwhile")
        third.start()
        third.wait_ready()
        wait_until(lambda: "astray" not in command(self.front, "show legs"),
                   "none of them waits", LONG)
        pub.publish("", last, b"again")
        d = ch.deliveries(1, LONG)[0]
        self.assertEqual((d.body, d.consumer_tag, d.delivery_tag), (b"again", self.names[2], 2))

    def test_a_client_that_asks_on_without_reading_is_served(self):
        """What it does not read fills its stream, and the answer that is awaited is behind that."""
        filler = self.channel(address=self.here.address)
        count, size = 24, 1000000
        filler.call("confirm.select")
        for _ in range(count):
            filler.publish("", self.queues[self.names[0]], b"x" * size)
        while filler.expect("basic.ack").delivery_tag < count:
            pass
        view = self.connect(address=self.front.address).channel()
        conn = self.connect(address=self.front.address, rcvbuf=8192)
        ch = conn.channel()
        for server, q in self.queues.items():
            ch.send("basic.consume", queue=q, consumer_tag=server)
            wait_until(lambda q=q: view.declare(q, passive=True).consumer_count == 1,
                       "a consumer of " + q)
        for q in self.queues.values():
            ch.publish("", q, b"unread")
        got = []
        while len(got) < count + 3:
            event = ch.next()
            if event.name == "basic.deliver":
                got.append(event)
        self.assertEqual([d.delivery_tag for d in got], list(range(1, count + 4)))
        self.assertEqual({d.consumer_tag for d in got if d.body == b"unread"}, set(self.names))


class Waits(Masters):
    def test_a_master_that_is_down_is_waited_for_by_those_who_want_nothing_else(self):
        third = self.third
        hasty = self.proxy(self.cluster.nodes, {
            "global": self.gossiping(), "defaults": {"timeout-failover": "300ms"},
            "backend rabbits": {"balance": "queue-master"}})
        self.channel(address=third.address).declare("kept", durable=True, arguments=LOCAL)
        for front in (self.front, hasty):
            wait_until(lambda front=front: "server=rabbit3 usable=yes" in command(
                front, "show queues / kept"), "the proxy knows it", LONG)
        busy = self.connect(address=self.front.address)
        busy.channel().consume(self.queues["rabbit1"])
        third.proc.kill()
        for front in (self.front, hasty):
            wait_until(lambda front=front: "down server=rabbit3 usable=no" in command(
                front, "show queues / kept"), "the proxy knows that it is down", LONG)

        patient = self.connect(address=self.front.address).channel()
        patient.publish("", "kept", b"late", {"delivery_mode": 2})
        patient.send("basic.get", queue="kept")
        wait_until(lambda: stats(self.front)[("rabbits", "BACKEND")]["qcur"] == "1", "it waits")

        # Whose other channels would wait with it has the brokers' word at once; so has who has
        # waited for as long as is configured.
        for ch in (busy.channel(), self.channel(address=hasty.address)):
            ch.send("queue.declare", queue="kept", passive=True)
            ch.expect_close(404)
        self.assertEqual(stats(self.front)[("rabbits", "BACKEND")]["qcur"], "1")

        third.restart()
        self.assertEqual(patient.expect("basic.get_ok", LONG).body, b"late")
