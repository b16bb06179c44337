"""Masters that die behind a proxy: clients that miss nothing notice a pause and no more."""

import json
import os
import signal
import socket

import wire
from harness import procs
from harness.masters_case import Mirrored
from harness.proxy_view import command
from harness.servers import BUILD
from harness.waits import LONG, wait_until

TARGETS = ("proxy",)
PERSISTENT = {"delivery_mode": 2}


class Failover(Mirrored):
    def confirming(self, conn):
        ch = conn.channel()
        ch.call("confirm.select")
        return ch

    def publish(self, ch, queue, body, number):
        """It is confirmed, with this number."""
        ch.publish("", queue, body, props=PERSISTENT)
        event = ch.expect("basic.ack", LONG)
        self.assertEqual(event.delivery_tag, number)

    def test_channels_that_miss_nothing_go_on(self):
        conn = self.connect(address=self.front.address)
        ch, unacked, pub, bare = conn.channel(), conn.channel(), self.confirming(conn), conn.channel()
        first, second, third = self.queues.values()
        ch.call("basic.qos", prefetch_count=1)
        ch.consume(first, "a")
        ch.call("basic.qos", prefetch_count=3)
        for q, tag in ((second, "b"), (third, "c")):
            ch.consume(q, tag)
        ch.consume(first, "quiet", no_ack=True, arguments={"x-priority": -1})
        ch.consume(first, "told", arguments={"x-priority": -2, "x-cancel-on-ha-failover": True})
        self.assertEqual(self.legs()[ch.number], self.names)
        self.publish(pub, first, b"1", 1)
        self.publish(pub, first, b"2", 2)
        got = ch.deliveries(2)
        self.assertEqual([(d.consumer_tag, d.delivery_tag) for d in got], [("a", 1), ("quiet", 2)])
        ch.ack(1)
        ch.barrier()
        self.publish(pub, second, b"3", 3)
        self.assertEqual(ch.deliveries(1)[0].delivery_tag, 3)
        self.publish(pub, first, b"4", 4)
        self.assertEqual(ch.deliveries(1)[0].delivery_tag, 4)
        ch.ack(4)
        ch.barrier()
        other = self.name() + ".q"
        self.declare_at(self.here, other)
        wait_until(lambda: self.mirrors(other) == 2, "mirrors of " + other, LONG)
        self.publish(pub, other, b"kept", 5)
        self.assertEqual(unacked.get(other, no_ack=False).body, b"kept")
        bare.declare(other, passive=True)
        bare.publish("", other, b"nobody knows")

        self.here.kill()
        for lost in (unacked, bare):
            event = lost.expect("channel.close", LONG)
            self.assertEqual(event.reply_code, 320)
            self.assertRegex(event.reply_text, "^CONNECTION_FORCED - broker %s " % self.names[0])
        self.assertEqual(ch.expect("basic.cancel", LONG).consumer_tag, "told")
        self.publish(pub, first, b"5", 6)
        self.publish(pub, first, b"6", 7)
        got = {d.consumer_tag: d for d in ch.deliveries(2, LONG)}
        self.assertEqual({tag: d.body for tag, d in got.items()}, {"a": b"5", "quiet": b"6"})
        self.assertEqual({d.delivery_tag for d in got.values()}, {5, 6})
        self.publish(pub, second, b"7", 8)
        self.assertEqual(ch.deliveries(1)[0].delivery_tag, 7)
        ch.ack(0, multiple=True)
        ch.ack(got["a"].delivery_tag)
        ch.expect_close(406)
        self.assertEqual(self.failovers(), {"kept": 2, "ended": 2})
        left = conn.channel()
        self.assertEqual([left.get(q) for q in (first, second, third)], [None] * 3)
        log = self.front.proc.log_tail(200)
        self.assertRegex(log, "failover .* server=rabbit1 kept=2 ended=2 channels=4 why=\"broker rabbit1 ")
        self.assertRegex(log, "consumers are subscribed again after_ms=")

    def test_nothing_is_said_in_the_middle_of_a_message(self):
        conn = self.connect(address=self.front.address, rcvbuf=1 << 19)
        first, second = list(self.queues.values())[:2]
        lone = ["lone-1", "lone-2"]
        ch = conn.channel()
        for q in lone:  # which nobody else holds, so that it stays astray
            self.declare_at(self.here, q)
            wait_until(lambda q=q: "server=%s " % self.names[0] in command(
                self.front, "show queues / " + q), "the proxy knows " + q, LONG)
            ch.consume(q, q)
        ch.consume(first, "told", arguments={"x-cancel-on-ha-failover": True})
        ch.consume(second, "long", no_ack=True)
        self.assertEqual(self.legs()[ch.number], self.names[:2])
        body = bytes(16 << 20)
        self.channel(address=self.there.address).publish("", second, body)
        conn.sock.settimeout(LONG)
        self.assertTrue(conn.sock.recv(1, socket.MSG_PEEK))
        self.there.proc.signal(signal.SIGSTOP)  # in the midst of it
        self.here.kill()

        def is_noticed():
            conn.expect_silence(0.1)  # which takes what there is of it
            return self.failovers() == {"kept": 1, "ended": 0}

        wait_until(is_noticed, "the failover", LONG)
        for q in lone:
            ch.send("basic.cancel", consumer_tag=q)
        conn.expect_silence(0.1)
        self.there.proc.signal(signal.SIGCONT)
        self.assertEqual(ch.expect("basic.deliver", LONG).body, body)
        said = [ch.next(LONG) for _ in range(3)]
        self.assertEqual({(e.name, e.consumer_tag) for e in said},
                         {("basic.cancel", "told")} | {("basic.cancel_ok", q) for q in lone})
        ch.barrier()

    def acked(self, ch, first, last):
        seen = set()
        while last not in seen:
            event = ch.expect("basic.ack", LONG)
            tag = event.delivery_tag
            seen |= set(range(first, tag + 1)) if event.multiple else {tag}
        self.assertEqual({n for n in seen if n >= first}, set(range(first, last + 1)))

    def limit_memory(self, node, fraction):
        out = node.ctl("-n", node.node, "-q", "set_vm_memory_high_watermark", fraction,
                       seconds=LONG)
        self.assertEqual(out.returncode, 0, out.stderr)

    def publish_in_one_breath(self, ch, queue, count):
        """They are in the proxy's hands all at once."""
        one = wire.method_frame(ch.number, "basic.publish", routing_key=queue) + \
            wire.content_frames(ch.number, b"rush", PERSISTENT, ch.conn.frame_max)
        ch.conn.send(count * one)

    def test_publishers_follow_a_master_that_was_moved(self):
        conn = self.connect(address=self.front.address)
        first, second = self.names[:2]
        q = self.queues[first]
        confirmed, plain, got = self.confirming(conn), conn.channel(), conn.channel()
        rush = conn.channel()
        for n in range(1, 4):
            self.publish(confirmed, q, b"confirmed", n)
            plain.publish("", q, b"plain")
        rush.publish("", q, b"rush")
        rush.barrier()
        self.assertIsNotNone(got.get(q))
        before = self.legs()
        self.assertEqual({before[ch.number][0] for ch in (confirmed, plain, rush, got)}, {first})
        self.ctl("move_master", q, self.there.node)
        wait_until(lambda: "server=%s " % second in command(self.front, "show queues / " + q),
                   "the proxy knows of it", LONG)
        self.publish_in_one_breath(rush, q, 30)
        for n in range(4, 24):
            confirmed.publish("", q, b"confirmed", props=PERSISTENT)
            plain.publish("", q, b"plain", props=PERSISTENT)
            got.publish("", q, b"got", props=PERSISTENT)
        self.acked(confirmed, 4, 23)
        self.publish(confirmed, q, b"confirmed", 24)
        for ch in (plain, rush, got):
            ch.barrier()
        after = self.legs()
        self.assertEqual([after[ch.number] for ch in (confirmed, plain, rush, got)],
                         [[second]] * 4)
        reader = conn.channel()
        # What took the hop without a confirm may be on its way yet.
        wait_until(lambda: reader.declare(q, passive=True).message_count ==
                   6 + 1 - 1 + 3 * 20 + 1 + 30, "all messages", LONG)
        self.assertEqual(got.get(q, no_ack=False).delivery_tag, 2)
        self.assertEqual(self.failovers(), {"kept": 0, "ended": 0})

    def test_a_publisher_without_its_confirms_holds_nobody(self):
        conn = self.connect(address=self.front.address)
        first, second, third = self.names
        q = self.queues[first]
        ch = self.confirming(conn)
        self.publish(ch, q, b"before", 1)
        self.ctl("move_master", q, self.there.node)
        wait_until(lambda: "server=%s " % second in command(self.front, "show queues / " + q),
                   "the proxy knows of it", LONG)
        self.limit_memory(self.here, "0.000000001")
        for n in range(2, 22):
            ch.publish("", q, b"late", props=PERSISTENT)
        conn.expect("connection.blocked", 0, LONG)
        conn.channel().declare(self.queues[third], passive=True)
        self.assertEqual(self.legs()[ch.number], [first])
        self.limit_memory(self.here, "0.4")
        conn.expect("connection.unblocked", 0, LONG)
        self.acked(ch, 2, 21)
        self.publish(ch, q, b"after", 22)
        self.assertEqual(self.legs()[ch.number], [second])


class UnderLoad(Failover):
    """warren-bench reconnects, resends what was not confirmed, and says what was lost."""

    LOADS = ["load-%d" % n for n in range(3)]

    def start_load(self):
        out = os.path.join(self.folder("bench"), "out")
        self.bench = procs.Proc(
            [os.path.join(BUILD, "contrib", "bench", "warren-bench"), "verify", "--queue-name",
             "load", "--queues", "3", "--publishers", "3", "--consumers", "3", "--durable",
             "--persistent", "--confirm", "100", "--ack", "each", "--prefetch", "50", "--reconnect",
             "--backoff-max", "500ms", "--verify", "--size", "100", "--rate", "300", "--warm-up",
             "0", "--drain", "15s", "--duration", "1h", "--json", "--interval", "0", "--host",
             "%s:%d" % self.front.address], out)
        for q in self.LOADS:
            wait_until(lambda q=q: self.mirrors(q) == 2, "mirrors of " + q, LONG)

    def passed(self, more):
        """Until so many more messages have been delivered through the proxy."""
        def delivered():
            return self.figure("warren_proxy_delivered_total")
        until = delivered() + more
        wait_until(lambda: delivered() >= until, "%d deliveries" % more, LONG)

    def verdict(self):
        self.bench.signal(signal.SIGTERM)
        self.bench.wait(LONG)
        text = self.bench.log_bytes().decode(errors="replace")
        return text, json.loads(text[text.index("{"):])

    def move_all(self, node):
        for q in self.LOADS:
            self.ctl("move_master", q, node.node)

    def test_masters_move_and_die_and_nothing_is_lost(self):
        self.start_load()
        self.passed(200)
        for node in (self.there, self.third, self.here):
            self.move_all(node)
            self.passed(300)
        self.assertEqual(self.failovers(), {"kept": 0, "ended": 0})
        for node in (self.here, self.third):
            node.kill()
            self.passed(300)
            node.start()
            node.wait_ready()
            for q in self.LOADS:
                wait_until(lambda q=q: self.mirrors(q) == 2, "mirrors of " + q, LONG)
        text, out = self.verdict()
        print(text)
        total = out["total"]
        self.assertEqual((total["lost"], total["corrupt"], total["misrouted"]), (0, 0, 0), text)
        self.assertGreater(total["unique"], 1500)
