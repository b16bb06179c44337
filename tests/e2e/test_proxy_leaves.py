"""A proxy leaves a broker, by plan, and the broker's answer is late, comes to nothing or never."""

import threading

import wire
from harness.masters_case import Mirrored
from harness.proxy_view import command, wait_status
from harness.tap import DOWN, UP, Tap
from harness.waits import LONG, wait_until

TARGETS = ("proxy",)
PERSISTENT = {"delivery_mode": 2}
GOODBYE = b"\x00\x0a\x00\x32\x00\xc8\x07Goodbye"  # connection.close 200
LEAVES = b"\x00\x14\x00\x28\x00\xc8\x07Goodbye"   # channel.close 200


class Leaves(Mirrored):
    """The first of three brokers is behind a tap."""

    def setUp(self):
        super().setUp()
        self.first, self.second = self.names[:2]
        self.q = self.queues[self.first]
        self.tap = Tap(self.here)
        self.addCleanup(self.tap.close)
        self.front = self.proxy([self.tap, *self.cluster.nodes[1:]], {
            "global": self.gossiping(), "defaults": {"timeout-connect": "1s"},
            "backend rabbits": {"balance": "queue-master"}})
        for n in self.cluster.nodes:
            wait_status(self.front, n.name, "UP")
        self.wait_known()

    def drain(self):
        """... which takes until the proxy has left it."""
        node = self.here
        thread = threading.Thread(daemon=True, target=lambda: node.ctl(
            "-n", node.node, "-q", "drain", seconds=LONG))
        thread.start()
        self.addCleanup(thread.join, LONG)

    def at_first(self, conn, confirms=False):
        """A channel that has published there."""
        ch = conn.channel()
        if confirms:
            ch.call("confirm.select")
        ch.publish("", self.q, b"at first", props=PERSISTENT)
        if confirms:
            ch.expect("basic.ack", LONG)
        else:
            ch.barrier()
        self.assertEqual(self.legs()[ch.number], [self.first])
        return ch

    def test_what_it_says_before_the_answer_waits_for_the_end_of_a_message(self):
        conn = self.connect(address=self.front.address, rcvbuf=1 << 19)
        ch = self.at_first(conn)
        ch.consume(self.queues[self.second], "long", no_ack=True)
        self.assertEqual(self.legs()[ch.number], [self.first, self.second])
        wire_to_first = self.tap.conn_of(b"at first")
        wire_to_first.hold(DOWN)
        ch.publish("", "nobody's", b"comes back", mandatory=True)
        body = bytes(16 << 20)
        self.channel(address=self.there.address).publish("", self.queues[self.second], body)
        # It is in the midst of that now, and its client does not read.
        conn.sock.settimeout(LONG)
        self.assertTrue(conn.read_bytes(1))
        conn.at -= 1
        self.drain()
        wire_to_first.wait_said(UP, GOODBYE, "the proxy's goodbye")
        wire_to_first.wait_said(DOWN, b"comes back", "the return")
        wire_to_first.release(DOWN)
        self.assertEqual(ch.expect("basic.deliver", LONG).body, body)
        self.assertEqual(ch.expect("basic.return", LONG).body, b"comes back")
        wait_until(lambda: self.legs()[ch.number] == [self.second], "it has left", LONG)
        ch.barrier()
        self.assertEqual(self.figure("warren_proxy_vacated_total"), 1)
        self.assertEqual(self.failovers(), {"kept": 0, "ended": 0})

    def test_who_bears_a_nodes_name_elsewhere_is_told_of_nobody(self):
        """The tap is called as the node, and might be anything: it gets no PROXY header."""
        conn = self.connect(address=self.front.address)
        self.at_first(conn)
        self.assertEqual(self.tap.conn_of(b"at first").said[UP][:4], b"AMQP")

    def leave_without_an_answer(self, end):
        conn = self.connect(address=self.front.address)
        plain, settled = self.at_first(conn), self.at_first(conn, confirms=True)
        wire_to_first = self.tap.conn_of(b"at first")
        wire_to_first.hold(UP)
        wire_to_first.hold(DOWN)  # the broker has its own word for it
        plain.publish("", self.q, b"nobody knows", props=PERSISTENT)
        wire_to_first.wait_said(UP, b"nobody knows", "the message")
        self.drain()
        wire_to_first.wait_said(UP, GOODBYE, "the proxy's goodbye")
        end(wire_to_first)
        event = plain.expect("channel.close", LONG)
        self.assertEqual(event.reply_code, 320)
        settled.publish("", self.q, b"goes on", props=PERSISTENT)
        settled.expect("basic.ack", LONG, delivery_tag=2)
        self.assertEqual(self.failovers(), {"kept": 1, "ended": 1})
        self.assertEqual(self.figure("warren_proxy_vacated_total"), 0)

    def test_a_goodbye_that_is_not_answered_loses_nothing_in_silence(self):
        self.leave_without_an_answer(lambda conn: conn.tear())

    def test_a_goodbye_that_crosses_the_brokers_loses_nothing_in_silence(self):
        close = wire.method_frame(0, "connection.close", reply_code=320,
                                  reply_text="CONNECTION_FORCED - shutdown", class_id=0,
                                  method_id=0)
        self.leave_without_an_answer(lambda conn: conn.say(DOWN, close))

    def test_nobody_else_is_there(self):
        conn = self.connect(address=self.front.address)
        ch = self.at_first(conn)
        for name in self.names[1:]:
            command(self.front, "set server rabbits/%s state maint" % name)
            wait_status(self.front, name, "MAINT")
        self.drain()
        wait_until(lambda: self.failovers() == {"kept": 1, "ended": 0}, "the broker's end", LONG)
        self.assertEqual(self.figure("warren_proxy_vacated_total"), 0)
        command(self.front, "set server rabbits/%s state ready" % self.second)
        ch.barrier()
        self.assertEqual(self.legs()[ch.number], [self.second])

    def follow(self):
        """A channel that is about to go after its master, and has no answer to its close."""
        conn = self.connect(address=self.front.address)
        ch = self.at_first(conn)
        self.ctl("move_master", self.q, self.there.node)
        wait_until(lambda: "server=%s " % self.second in command(
            self.front, "show queues / " + self.q), "the proxy knows of it", LONG)
        wire_to_first = self.tap.conn_of(b"at first")
        wire_to_first.hold(UP)
        for _ in range(64):
            ch.publish("", self.q, b"hop", props=PERSISTENT)
        wire_to_first.wait_said(UP, LEAVES, "it leaves")
        return conn, ch, wire_to_first

    def test_a_blocked_broker_is_waited_for(self):
        conn, ch, wire_to_first = self.follow()
        wire_to_first.say(DOWN, wire.method_frame(0, "connection.blocked", reason="low on memory"))
        conn.expect("connection.blocked", 0, LONG)
        conn.expect_silence(2.0)  # timeout-connect passes
        wire_to_first.say(DOWN, wire.method_frame(0, "connection.unblocked"))
        wire_to_first.release(UP)
        conn.expect("connection.unblocked", 0, LONG)
        ch.barrier()
        self.assertEqual(self.legs()[ch.number], [self.second])
        self.assertEqual(self.failovers(), {"kept": 0, "ended": 0})

    def test_a_close_that_crosses_ours_is_the_end_of_the_wait(self):
        conn, ch, wire_to_first = self.follow()
        wire_to_first.say(DOWN, wire.method_frame(
            ch.number, "channel.close", reply_code=404, reply_text="NOT_FOUND - gone", class_id=60,
            method_id=40))
        ch.expect_close(404)
        conn.expect_silence(2.0)  # timeout-connect passes
        self.assertFalse(wire_to_first.ended[UP] or wire_to_first.is_over)
        self.assertEqual(self.failovers(), {"kept": 0, "ended": 0})
