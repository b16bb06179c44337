"""The opening of a connection: protocol header, credentials, tuning, virtual host."""

import struct

import wire
from harness.case import Case
from harness.waits import wait_until

THREADS = True

LOGIN_REFUSED = ("ACCESS_REFUSED - Login was refused using authentication mechanism %s. "
                 "For details see the broker logfile.")

# What must be among the server's capabilities, all true. (Consumer priorities and direct
# reply-to are announced when they are there.)
CAPABILITIES = ("publisher_confirms", "exchange_exchange_bindings", "basic.nack",
                "consumer_cancel_notify", "connection.blocked", "authentication_failure_close",
                "per_consumer_qos")


class Header(Case):
    def test_any_other_header_is_answered_with_ours_and_the_end(self):
        for header in (b"AMQP\x00\x00\x09\x02", b"AMQP\x02\x00\x00\x00", b"AMQP\x00\x01\x00\x00",
                       b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 8, b"\x16\x03\x01\x02\x00\x01\x00\x01"):
            with self.subTest(header=header):
                conn = self.raw()
                conn.send(header)
                self.assertEqual(conn.read_bytes(8), wire.PROTOCOL_HEADER)
                conn.expect_eof()

    def start_with_name(self):
        """A proxy has the cluster's name from its checks."""
        start = self.raw().hello()
        return start if "cluster_name" in start.server_properties else None

    def test_start_says_who_we_are(self):
        start = wait_until(self.start_with_name, "the cluster's name")
        self.assertEqual((start.version_major, start.version_minor), (0, 9))
        self.assertEqual(start.locales.split(), [b"en_US"])
        mechanisms = start.mechanisms.split()
        self.assertIn(b"PLAIN", mechanisms)
        self.assertIn(b"AMQPLAIN", mechanisms)
        props = start.server_properties
        self.assertEqual(props["product"], "RabbitMQ" if self.is_rabbit else "Warren")
        for key in ("version", "platform", "cluster_name"):
            self.assertIsInstance(props[key], str, key)
            self.assertTrue(props[key], key)
        for capability in CAPABILITIES:
            self.assertIs(props["capabilities"].get(capability), True, capability)

    def test_one_octet_at_a_time(self):
        conn = self.raw()

        def dribble(octets):
            for i in range(len(octets)):
                conn.send(octets[i:i + 1])
        dribble(wire.PROTOCOL_HEADER)
        conn.expect("connection.start")
        dribble(wire.method_frame(0, "connection.start_ok", mechanism="PLAIN", locale="en_US",
                                  client_properties={"product": "slow"},
                                  response=b"\0guest\0guest"))
        conn.expect("connection.tune")
        dribble(wire.method_frame(0, "connection.tune_ok", channel_max=10, frame_max=4096))
        dribble(wire.method_frame(0, "connection.open", virtual_host="/"))
        conn.expect("connection.open_ok")
        dribble(wire.method_frame(1, "channel.open"))
        conn.expect("channel.open_ok")

    def test_the_client_may_say_all_at_once(self):
        conn = self.raw()
        conn.send(wire.PROTOCOL_HEADER +
                  wire.method_frame(0, "connection.start_ok", mechanism="PLAIN",
                                    locale="en_US", response=b"\0guest\0guest") +
                  wire.method_frame(0, "connection.tune_ok", channel_max=10, frame_max=131072) +
                  wire.method_frame(0, "connection.open", virtual_host="/") +
                  wire.method_frame(1, "channel.open") +
                  wire.method_frame(1, "queue.declare", exclusive=True))
        for name in ("connection.start", "connection.tune", "connection.open_ok",
                     "channel.open_ok", "queue.declare_ok"):
            conn.expect(name)


class Credentials(Case):
    def test_plain_and_amqplain(self):
        for mechanism in ("PLAIN", "AMQPLAIN"):
            with self.subTest(mechanism=mechanism):
                self.connect(mechanism=mechanism).channel().queue()

    def test_refusal_is_told_to_those_who_can_hear_it(self):
        for mechanism in ("PLAIN", "AMQPLAIN"):
            for user, password in (("guest", "wrong"), ("nobody", "guest"), ("", "")):
                with self.subTest(mechanism=mechanism, user=user):
                    conn = self.raw()
                    conn.hello()
                    conn.start_ok(user, password, mechanism)
                    conn.expect_close(403, LOGIN_REFUSED % mechanism, (0, 0))

    def test_others_just_see_the_end(self):
        conn = self.raw()
        conn.hello()
        conn.start_ok("guest", "wrong", capabilities={})
        conn.expect_refusal()

    def test_malformed_responses_end_the_connection(self):
        cases = [("PLAIN", r) for r in (b"", b"guest", b"\0guest", b"\0guest\0guest\0x",
                                        b"guest\0guest\0guest")]
        cases += [("AMQPLAIN", wire.put_table({"LOGIN": "guest"})[4:]),
                  ("AMQPLAIN", wire.put_table({"LOGIN": 1, "PASSWORD": 2})[4:]),
                  ("AMQPLAIN", b"\xff\xff\xff"), ("EXTERNAL", b""), ("", b""), ("NOPE", b"x")]
        self.refused_after_hello(
            [(case, lambda c, m=case[0], r=case[1]: c.start_ok(mechanism=m, response=r))
             for case in cases], codes=(403, 501, 503))

    def refused_after_hello(self, cases, codes):
        """Each on a connection of its own; all wait together, since a server may take its time."""
        conns = []
        for what, act in cases:
            conn = self.raw()
            conn.hello()
            act(conn)
            conns.append((what, conn))
        for what, conn in conns:
            with self.subTest(what):
                conn.expect_refusal(codes)


    def test_a_new_secret_is_taken(self):
        """RabbitMQ answers, whatever its way of authenticating; the old password still counts."""
        conn = self.connect()
        ch = conn.channel()
        conn.send_method(0, "connection.update_secret", new_secret="guest", reason="renewed")
        conn.expect("connection.update_secret_ok")
        ch.queue()


class Tune(Case):
    def tuned(self, **tune_ok):
        conn = self.raw()
        conn.hello()
        conn.login()
        conn.tune_ok(**tune_ok)
        conn.send_method(0, "connection.open", virtual_host="/")
        return conn

    def test_offer(self):
        conn = self.raw()
        conn.hello()
        tune = conn.login()
        self.assertEqual((tune.channel_max, tune.frame_max, tune.heartbeat), (2047, 131072, 60))

    def test_smaller_values_are_taken(self):
        conn = self.tuned(frame_max=4096, channel_max=1, heartbeat=30)
        conn.expect("connection.open_ok")
        self.assertTrue(conn.channel().queue())

    def test_values_out_of_bounds_end_the_connection(self):
        cases = [dict(frame_max=f, channel_max=c) for f, c in (
            (4095, 10), (1, 10), (131073, 10), (0, 10), (4096, 2048), (4096, 0))]
        conns = [(case, self.tuned(**case)) for case in cases]
        for case, conn in conns:
            with self.subTest(**case):
                conn.expect_refusal((501, 503, 530))

    def test_deliveries_keep_to_the_negotiated_frame_max(self):
        conn = self.connect(frame_max=4096)
        ch = conn.channel()
        q = ch.queue()
        ch.publish("", q, b"x" * 10000)
        m = ch.get(q)
        self.assertEqual(len(m.body), 10000)
        self.assertEqual(m.body_frame_sizes, [4096, 4096, 10000 - 2 * 4088 + 8])

    def test_one_channel_too_many(self):
        conn = self.connect(channel_max=2)
        conn.channel()
        conn.channel()
        conn.send_method(3, "channel.open")
        text = None if self.target == "proxy" else \
            "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)"
        conn.expect_close(530, text, (0, 0))

    def test_a_closed_channel_makes_room(self):
        conn = self.connect(channel_max=2)
        first = conn.channel(1)
        conn.channel(2)
        first.close()
        conn.channel(1).queue()


class VirtualHost(Case):
    def test_unknown(self):
        conn = self.raw()
        conn.hello()
        conn.login()
        conn.tune_ok()
        conn.send_method(0, "connection.open", virtual_host="nope")
        conn.expect_close(530, "NOT_ALLOWED - vhost nope not found", "connection.open")


class WrongOrder(Case):
    """Each step of the handshake accepts its own answer and no other."""

    def test_before_start_ok(self):
        frames = [
            ("tune_ok", wire.method_frame(0, "connection.tune_ok", channel_max=1, frame_max=4096)),
            ("open", wire.method_frame(0, "connection.open", virtual_host="/")),
            ("channel.open", wire.method_frame(1, "channel.open")),
            ("content header", wire.header_frame(0, 0)),
            ("unknown type", wire.put_frame(7, 0, b"xxxx")),
            ("unknown method", wire.put_frame(1, 0, struct.pack(">HH", 10, 99))),
            ("bad end", wire.put_frame(1, 0, wire.put_method("connection.start_ok"), end=0)),
            ("lying length", wire.put_frame(1, 0, b"", size=2**31)),
            ("cut method", wire.put_frame(1, 0, b"\0\x0a\0\x0b\0\0\1\0")),
        ]
        conns = []
        for what, frame in frames:
            conn = self.raw()
            conn.hello()
            conn.send(frame)
            conns.append((what, conn))
        for what, conn in conns:
            with self.subTest(what):
                conn.expect_refusal((501, 503, 504, 505, 540))

    def test_open_before_tune_ok(self):
        conn = self.raw()
        conn.hello()
        conn.login()
        conn.send_method(0, "connection.open", virtual_host="/")
        conn.expect_refusal((503, 504, 505))

    def test_channel_before_open(self):
        conn = self.raw()
        conn.hello()
        conn.login()
        conn.tune_ok()
        conn.send_method(1, "channel.open")
        conn.expect_refusal((503, 504, 505))

    def test_handshake_methods_when_open(self):
        for name, args in (("connection.open", {"virtual_host": "/"}),
                           ("connection.start_ok", {"mechanism": "PLAIN"}),
                           ("connection.tune_ok", {}), ("connection.secure_ok", {}),
                           ("channel.open", {})):
            with self.subTest(name):
                conn = self.connect()
                conn.send_method(0, name, **args)
                conn.expect_close(504, "CHANNEL_ERROR - unexpected method in connection state "
                                       "running", name)


class Goodbye(Case):
    def test_close_is_answered(self):
        """Who closes the socket first is the client, as with RabbitMQ."""
        conn = self.connect()
        conn.send_method(0, "connection.close", reply_code=200, reply_text="bye")
        conn.expect("connection.close_ok")
        conn.send_method(0, "connection.close", reply_code=200, reply_text="bye again")
        conn.expect_silence()

    def test_what_follows_the_close_is_ignored(self):
        conn = self.connect()
        ch = conn.channel()
        q = self.name()
        conn.send(wire.method_frame(0, "connection.close", reply_code=200) +
                  wire.method_frame(ch.number, "queue.declare", queue=q))
        conn.expect("connection.close_ok")
        again = self.channel()
        again.send("queue.declare", queue=q, passive=True)
        again.expect_close(404, "NOT_FOUND - no queue '%s' in vhost '/'" % q, "queue.declare")

    def test_after_an_error_only_close_ok_counts(self):
        conn = self.connect()
        conn.polite = False
        conn.send_method(0, "channel.open")
        self.assertEqual(conn.expect("connection.close").reply_code, 504)
        conn.send(wire.method_frame(1, "channel.open") + wire.heartbeat_frame())
        conn.send_method(0, "connection.close_ok")
        conn.expect_eof()
