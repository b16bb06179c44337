"""Legs: where a client's channels live, what waits, and what ends with a broker."""

import os
import re
import signal
import socket
import threading

import wire
from harness import ports
from harness.case import Case
from harness.client import Eof
from harness.proxy_view import command, stats, wait_status
from harness.waits import LONG, SCALE, Deadline, wait_until

TARGETS = ("proxy",)
FIRST = True
RUSH = 100  # HUNT_OPENING_MAX


def legs(proxy):
    """[(session, channel, server)] of all live channels."""
    found = re.findall(r"(?m)^(\S+) channel=(\d+) be=\S+ srv=(\S+)", command(proxy, "show legs"))
    return [(session, int(channel), server) for session, channel, server in found]


class Pair(Case):
    """A proxy before two brokers."""

    backend = {}

    def setUp(self):
        super().setUp()
        self.brokers = [self.broker("rabbit1"), self.broker("rabbit2")]
        self.front = self.proxy(self.brokers, {"backend rabbits": self.backend})
        for b in self.brokers:
            wait_status(self.front, b.name, "UP")

    def by_name(self, name):
        return next(b for b in self.brokers if b.name == name)

    def use(self, ch):
        q = ch.queue()
        ch.publish("", q, b"alive")
        self.assertEqual(ch.get(q).body, b"alive")


class PerChannel(Pair):
    def test_channels_of_a_client_are_spread(self):
        conn = self.connect(address=self.front.address)
        channels = [conn.channel() for _ in range(6)]
        servers = [server for _, _, server in legs(self.front)]
        self.assertEqual(sorted(set(servers)), ["rabbit1", "rabbit2"])
        self.assertEqual(len(servers), 6)
        for ch in channels:
            self.use(ch)
        for ch in channels:
            ch.call("channel.close")
        wait_until(lambda: not legs(self.front), "no legs left")
        self.use(conn.channel(1))

    def test_a_broker_that_refuses_a_further_leg_is_left_out(self):
        conn = self.connect(address=self.front.address)
        first = conn.channel(1)
        home = legs(self.front)[0][2]
        other = next(b for b in self.brokers if b.name != home)
        other.ctl("clear_permissions", "guest")
        for n in range(2, 7):
            self.use(conn.channel(n))
        self.use(first)
        self.assertEqual([server for _, _, server in legs(self.front)], [home] * 6)
        # One who is refused where he logs in is refused.
        self.by_name(home).ctl("clear_permissions", "guest")
        late = self.raw(address=self.front.address)
        late.hello()
        late.login()
        late.tune_ok()
        late.send_method(0, "connection.open", virtual_host="/")
        self.assertEqual(late.next().reply_code, 530)

    def test_a_lost_broker_ends_only_the_channels_that_lived_there(self):
        conn = self.connect(address=self.front.address)
        channels = {n: conn.channel(n) for n in range(1, 7)}
        homes = {channel: server for _, channel, server in legs(self.front)}
        self.assertEqual(set(homes.values()), {"rabbit1", "rabbit2"})
        self.brokers[1].proc.kill()
        for n in (n for n in channels if homes[n] == "rabbit2"):
            event = channels[n].expect("channel.close")
            self.assertEqual(event.reply_code, 320)
            self.assertRegex(event.reply_text, "^CONNECTION_FORCED - broker rabbit2 ")
        for n in (n for n in channels if homes[n] == "rabbit1"):
            self.use(channels[n])
        lost = next(n for n in channels if homes[n] == "rabbit2")
        self.use(conn.channel(lost))  # the number may be used again

    def test_the_method_that_was_asked_is_named(self):
        conn = self.connect(address=self.front.address)
        channels = {n: conn.channel(n) for n in (1, 2)}
        homes = {channel: server for _, channel, server in legs(self.front)}
        lost = next(n for n in channels if homes[n] == "rabbit2")
        self.brokers[1].proc.signal(signal.SIGSTOP)
        channels[lost].send("queue.declare", queue="x")
        wait_until(lambda: "asked=queue.declare" in command(self.front, "show legs"), "the question")
        self.brokers[1].proc.kill()
        event = channels[lost].expect("channel.close")
        self.assertEqual((event.class_id, event.method_id), (50, 10))

    def test_a_broker_that_dies_inside_a_message(self):
        """Publishing goes on to the message's end, and what is left of it is dropped."""
        conn = self.connect(address=self.front.address)
        channels = {n: conn.channel(n) for n in (1, 2)}
        homes = {channel: server for _, channel, server in legs(self.front)}
        lost = next(n for n in channels if homes[n] == "rabbit2")
        frames = wire.method_frame(lost, "basic.publish", routing_key="x")
        frames += wire.header_frame(lost, 200000)
        conn.send(frames + wire.put_frame(wire.FRAME_BODY, lost, b"b" * 100000))
        wait_until(lambda: "publishing" in command(self.front, "show legs"), "half a message")
        self.brokers[1].proc.kill()
        conn.polite = False
        self.assertEqual(channels[lost].expect("channel.close").reply_code, 320)
        conn.send(wire.put_frame(wire.FRAME_BODY, lost, b"b" * 100000))
        conn.send_method(lost, "channel.close_ok")
        self.use(channels[3 - lost])
        self.use(conn.channel(lost))

    def test_an_exclusive_queue_holds_what_is_opened_later(self):
        conn = self.connect(address=self.front.address)
        q = conn.channel().queue(exclusive=True)
        for _ in range(4):
            ch = conn.channel()
            ch.publish("", q, b"mine")
            self.assertEqual(ch.get(q).body, b"mine")
        self.assertEqual(len({server for _, _, server in legs(self.front)}), 1)

    def test_a_client_without_channels_outlives_its_broker(self):
        conn = self.connect(address=self.front.address)
        rows = lambda: stats(self.front)
        home = next(b for b in self.brokers if int(rows()[("rabbits", b.name)]["scur"]) == 1)
        home.proc.kill()
        wait_status(self.front, home.name, "DOWN")
        self.use(conn.channel())

    def test_close_waits_for_all_brokers(self):
        """What was sent before the goodbye is done when the client is answered."""
        conn = self.connect(address=self.front.address)
        channels = {n: conn.channel(n) for n in (1, 2)}
        homes = {channel: server for _, channel, server in legs(self.front)}
        queues = {}
        for n, ch in channels.items():
            queues[n] = self.name()
            ch.declare(queues[n])
            for _ in range(2000):
                ch.publish("", queues[n], b"x" * 100)
        conn.close()
        for n, q in queues.items():
            ch = self.channel(address=self.by_name(homes[n]).address)
            self.assertEqual(ch.declare(q, passive=True).message_count, 2000)


class PerSession(Pair):
    backend = {"legs": "session"}

    def test_all_channels_go_one_way(self):
        conns = [self.connect(address=self.front.address) for _ in range(4)]
        for conn in conns:
            for _ in range(3):
                self.use(conn.channel())
        homes = {}
        for session, _, server in legs(self.front):
            homes.setdefault(session, set()).add(server)
        self.assertEqual([len(servers) for servers in homes.values()], [1] * 4)
        self.assertEqual(sum(int(stats(self.front)[("rabbits", b.name)]["scur"])
                             for b in self.brokers), 4)

    def test_leastconn_and_weights(self):
        command(self.front, "set server rabbits/rabbit2 weight 0")
        conns = [self.connect(address=self.front.address) for _ in range(3)]
        for conn in conns:
            conn.channel()
        self.assertEqual({server for _, _, server in legs(self.front)}, {"rabbit1"})


class Waiting(Case):
    def before_nobody(self, failover):
        """A proxy whose only broker is not there yet."""
        b = self.broker(start=False)
        p = self.proxy([b], {"defaults": {"timeout-failover": failover}}, start=False)
        p.start(ready=False)
        p.proc.wait_log(b"runs threads")
        wait_status(p, "rabbit1", "DOWN")
        return b, p

    def test_a_client_waits_for_a_server_to_come(self):
        b, p = self.before_nobody("30s")
        done = []
        t = threading.Thread(target=lambda: done.append(
            self.connect(address=p.address).channel().queue()))
        t.start()
        self.addCleanup(t.join)
        wait_until(lambda: stats(p)[("rabbits", "BACKEND")]["qcur"] == "1", "one waits")
        b.start()
        wait_until(lambda: done, "it is served")

    def test_the_wait_has_an_end(self):
        _, p = self.before_nobody("300ms")
        conn = self.raw(address=p.address)
        conn.hello()
        conn.start_ok()
        event = conn.expect_close(320)
        self.assertIn("rabbits", event.reply_text)

    def test_a_rush_is_let_in_piece_by_piece(self):
        """A broker that takes its time gets so many logins at once, and the next ones then."""
        b = self.broker()
        p = self.proxy([b], {
            "defaults": {"timeout-connect": "60s", "timeout-handshake": "60s",
                         "timeout-failover": "60s"},
            "backend rabbits": {"default-server": "inter 1h",
                                "server": ["rabbit1 127.0.0.1:%d" % b.port]}})
        self.addCleanup(b.proc.signal, signal.SIGCONT)
        b.proc.signal(signal.SIGSTOP)
        conns = [self.raw(address=p.address) for _ in range(RUSH + 50)]
        for conn in conns:
            conn.hello()
            conn.start_ok()
        wait_until(lambda: stats(p)[("rabbits", "BACKEND")]["qcur"] == "50", "fifty wait")
        self.assertEqual(stats(p)[("rabbits", "rabbit1")]["scur"], str(RUSH))
        b.proc.signal(signal.SIGCONT)
        for conn in conns:
            self.assertEqual(conn.next(0, LONG).name, "connection.tune")
        self.assertEqual(stats(p)[("rabbits", "BACKEND")]["qcur"], "0")

    def test_the_next_server_is_tried(self):
        """One that accepts and says nothing costs a timeout, not the client."""
        mute = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(mute.close)
        b = self.broker()
        p = self.proxy([b], {"defaults": {"timeout-handshake": "2s"}, "backend rabbits": {
            "balance": "first", "default-server": "inter 1h", "server": [
                "mute 127.0.0.1:%d" % mute.getsockname()[1], "rabbit1 127.0.0.1:%d" % b.port]}})
        self.connect(address=p.address).channel().queue()
        self.assertGreaterEqual(int(stats(p)[("rabbits", "mute")]["wredis"]), 1)

    def test_names_are_looked_up(self):
        # No address to the proxy, and known to systems that lack /etc/hosts and so localhost.
        b = self.broker()
        p = self.proxy([b], {"backend rabbits": {"server": [
            "rabbit1 127.1:%d check" % b.port, "nobody nobody.invalid:5672 check"]}})
        wait_status(p, "rabbit1", "UP")
        self.connect(address=p.address).channel().queue()
        self.assertIn("127.1", command(p, "show servers state"))
        p.proc.wait_log(b"nobody")

    def test_a_full_server_is_waited_for(self):
        b = self.broker()
        p = self.proxy([b], {"backend rabbits": {"server": [
            "rabbit1 127.0.0.1:%d check maxconn 2" % b.port]}})
        wait_status(p, "rabbit1", "UP")
        first, second = (self.connect(address=p.address) for _ in range(2))
        done = []
        t = threading.Thread(target=lambda: done.append(self.connect(address=p.address)))
        t.start()
        self.addCleanup(t.join)
        wait_until(lambda: stats(p)[("rabbits", "BACKEND")]["qcur"] == "1", "one waits")
        first.close()
        wait_until(lambda: done, "it is served")
        second.channel().queue()


class Limits(Case):
    def test_more_clients_than_maxconn_wait_outside(self):
        p = self.proxy([self.broker()], {"frontend amqp": {"maxconn": 2}})
        inside = [self.connect(address=p.address) for _ in range(2)]
        third = self.raw(address=p.address)  # the system accepts it, the proxy does not yet
        third.send(wire.PROTOCOL_HEADER)
        third.expect_silence()
        self.assertEqual(stats(p)[("amqp", "FRONTEND")]["status"], "FULL")
        inside[0].close()
        third.expect("connection.start")

    def test_a_handshake_has_its_time(self):
        p = self.proxy([self.broker()], {"defaults": {"timeout-handshake": "2s"}})
        silent, slow, half = (self.raw(address=p.address) for _ in range(3))
        half.hello()
        half.login()
        slow.hello()
        idle = self.connect(address=p.address)
        for conn in (silent, slow, half):
            conn.expect_eof()
        idle.expect_silence(2.5)
        idle.channel().queue()


class Headers(Case):
    """The PROXY protocol at the door."""

    def setUp(self):
        super().setUp()
        self.port = ports.free_port()
        self.front = self.proxy([self.broker()], start=False)
        self.front.conf["frontend amqp"]["bind"] = [
            self.front.conf["frontend amqp"]["bind"],
            "127.0.0.1:%d accept-proxy trust 127.0.0.0/8" % self.port]
        self.front.start()

    def test_the_client_s_address_is_taken_from_it(self):
        sock = socket.create_connection(("127.0.0.1", self.port))
        self.addCleanup(sock.close)
        sock.sendall(b"PROXY TCP4 10.9.8.7 127.0.0.1 4711 5672\r\n" + wire.PROTOCOL_HEADER)
        self.assertTrue(sock.recv(1))
        self.assertIn("src=10.9.8.7:4711", command(self.front, "show sess"))

    def test_without_it_nobody_comes_in(self):
        conn = self.raw(address=("127.0.0.1", self.port))
        conn.send(wire.PROTOCOL_HEADER)
        with self.assertRaises((Eof, ConnectionResetError)):
            conn.read_frame()
        self.connect(address=self.front.address).channel().queue()


    def test_who_is_on_the_way_in_comes_in_while_it_drains(self):
        header = b"PROXY TCP4 10.9.8.7 127.0.0.1 4711 5672\r\n"
        guest, mute = (self.raw(address=("127.0.0.1", self.port)) for _ in range(2))
        known = self.raw(address=("127.0.0.1", self.port))
        known.send(header)
        known.handshake()  # those before it have been accepted, too
        self.front.proc.signal(signal.SIGUSR1)

        def is_shut():
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", self.port)) != 0

        wait_until(is_shut, "nobody else")
        known.close()
        guest.send(header)
        guest.handshake()
        guest.channel().queue()
        guest.close()
        self.assertTrue(self.front.proc.alive())
        mute.sock.close()
        self.assertEqual(self.front.proc.wait(), 0)

    def test_who_is_on_the_way_in_comes_in_when_a_reload_drops_the_bind(self):
        header = b"PROXY TCP4 10.9.8.7 127.0.0.1 4711 5672\r\n"
        guest = self.raw(address=("127.0.0.1", self.port))
        known = self.raw(address=("127.0.0.1", self.port))
        known.send(header)
        known.handshake()
        self.front.conf["frontend amqp"]["bind"].pop()
        self.front.write_conf()
        self.front.proc.signal(signal.SIGHUP)

        def is_shut():
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", self.port)) != 0

        wait_until(is_shut, "nobody else")
        known.channel().queue()
        guest.send(header)
        guest.handshake()
        guest.channel().queue()
        self.front.proc.signal(signal.SIGUSR1)
        guest.close()
        known.close()
        self.assertEqual(self.front.proc.wait(), 0)


class TlsToServers(Case):
    """Over TLS to the broker, with the client's address in front of it, proven by the cookie."""

    def setUp(self):
        super().setUp()
        folder = self.folder("tls")
        self.key, self.cert = os.path.join(folder, "key"), os.path.join(folder, "crt")
        self.run_ok(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                     "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                     "/CN=rabbit1", "-addext", "subjectAltName=DNS:rabbit1",
                     "-keyout", self.key, "-out", self.cert])
        self.cookie = os.path.join(folder, "cookie")
        with open(self.cookie, "w") as f:
            f.write("a cookie of more than twenty octets")
        os.chmod(self.cookie, 0o400)
        self.tls_port = ports.free_port()
        self.back = self.broker(conf={
            "listen": {"amqps": "127.0.0.1:%d" % self.tls_port},
            "tls": {"cert": self.cert, "key": self.key},
            "cluster": {"cookie-file": self.cookie}})

    def front(self, words, cookie=True):
        conf = {"backend rabbits": {"server": ["rabbit1 127.0.0.1:%d check %s" % (
            self.tls_port, words)]}, "defaults": {"timeout-check": "%ds" % (2 * SCALE)}}
        if cookie:
            conf["global"] = {"cookie-file": self.cookie}
        p = self.proxy([self.back], conf, start=False)
        p.start(ready=False)
        p.proc.wait_log(b"runs threads")
        return p

    def test_verified_and_proven(self):
        p = self.front("ssl verify required ca-file %s sni rabbit1 send-proxy-v2" % self.cert)
        wait_status(p, "rabbit1", "UP")
        ch = self.connect(address=p.address).channel()
        q = ch.queue()
        ch.publish("", q, b"z" * 3000000)
        self.assertEqual(len(ch.get(q).body), 3000000)

    def test_plain_header_and_none(self):
        for words in ("ssl verify none send-proxy-v2", "ssl verify none"):
            with self.subTest(words):
                p = self.front(words)
                wait_status(p, "rabbit1", "UP")
                self.connect(address=p.address).channel().queue()

    def test_a_certificate_of_another_name_is_no_server(self):
        p = self.front("ssl verify required ca-file %s sni rabbit2" % self.cert)
        wait_status(p, "rabbit1", "DOWN")
        self.assertEqual(stats(p)[("rabbits", "rabbit1")]["check_status"], "L6RSP")

    def test_a_header_without_proof_is_refused(self):
        p = self.front("ssl verify none send-proxy-v2", cookie=False)
        wait_status(p, "rabbit1", "DOWN")

    def test_guest_is_judged_by_the_client_s_own_address(self):
        p = self.proxy([self.back], {
            "global": {"cookie-file": self.cookie},
            "frontend amqp": {"bind": ["127.0.0.1:%d" % (port := ports.free_port())
                                       + " accept-proxy"]},
            "backend rabbits": {"server": ["rabbit1 127.0.0.1:%d check send-proxy-v2"
                                           % self.back.port]}}, start=False)
        p.start(ready=False)
        p.proc.wait_log(b"runs threads")
        wait_status(p, "rabbit1", "UP")
        for client, name in ((b"10.1.2.3", "connection.close"), (b"127.0.0.1", "connection.tune")):
            conn = self.raw(address=("127.0.0.1", port))
            conn.send(b"PROXY TCP4 " + client + b" 127.0.0.1 4711 5672\r\n")
            conn.hello()
            conn.start_ok()
            self.assertEqual(conn.next().name, name)


class Secrets(Pair):
    def test_a_new_secret_goes_to_every_broker(self):
        conn = self.connect(address=self.front.address)
        channels = [conn.channel() for _ in range(4)]
        conn.send_method(0, "connection.update_secret", new_secret=b"guest", reason="why not")
        conn.expect("connection.update_secret_ok")
        for ch in channels:
            self.use(ch)


class Reloads(Case):
    def test_pages_and_socket_move(self):
        p = self.proxy([self.broker()])
        port, path = ports.free_port(), p.path("other.sock")
        p.conf["listen stats"]["bind"] = "127.0.0.1:%d" % port
        p.conf["global"]["stats-socket"] = path + " mode 600"
        p.write_conf()
        p.proc.signal(signal.SIGHUP)
        wait_until(lambda: not os.path.exists(p.socket_path), "the old socket is gone")
        p.stats_port, p.socket_path = port, path
        wait_status(p, "rabbit1", "UP")
        self.assertIn("Name:", command(p, "show info"))

    def test_a_port_that_is_taken_changes_nothing(self):
        p = self.proxy([self.broker()])
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        good = p.conf["frontend amqp"]["bind"]
        p.conf["frontend amqp"]["bind"] = [good, "127.0.0.1:%d" % taken.getsockname()[1]]
        p.write_conf()
        p.proc.signal(signal.SIGHUP)
        p.proc.wait_log(b"not reloaded")
        self.connect(address=p.address).channel().queue()

    def test_what_the_operator_set_stays(self):
        p = self.proxy([self.broker()])
        command(p, "set server rabbits/rabbit1 state drain")
        p.conf["defaults"]["timeout-connect"] = "3s"
        p.write_conf()
        p.proc.signal(signal.SIGUSR2)
        p.proc.wait_log(b"reloaded")
        self.assertEqual(stats(p)[("rabbits", "rabbit1")]["status"], "DRAIN")

    def reload_with(self, p, count, **what):
        for section, keys in what.items():
            p.conf[section.replace("_", " ")].update(keys)
        p.write_conf()
        p.proc.signal(signal.SIGHUP)
        wait_until(lambda: p.proc.log_bytes().count(b"reloaded file=") == count, "it is reloaded")

    def test_what_the_file_says_otherwise_counts(self):
        b = self.broker()
        p = self.proxy([b])
        line = p.conf["backend rabbits"]["server"][0]
        wait_status(p, "rabbit1", "UP")
        self.reload_with(p, 1, backend_rabbits={"server": [line + " disabled"]})
        wait_status(p, "rabbit1", "MAINT")
        self.reload_with(p, 2, backend_rabbits={"server": [line]})
        wait_status(p, "rabbit1", "UP")
        b.proc.signal(signal.SIGSTOP)
        self.addCleanup(b.proc.signal, signal.SIGCONT)
        wait_status(p, "rabbit1", "DOWN")
        at = line.split()[:2]
        self.reload_with(p, 3, backend_rabbits={"server": [" ".join(at)],
                                                "default-server": "inter 100ms"})
        b.proc.signal(signal.SIGCONT)
        self.connect(address=p.address).channel().queue()  # nobody looks whether it is up
        b.proc.signal(signal.SIGSTOP)
        self.reload_with(p, 4, backend_rabbits={"server": [line]})
        wait_status(p, "rabbit1", "DOWN")

    def test_what_is_refused_changes_no_server(self):
        p = self.proxy([self.broker()])
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        good, line = p.conf["frontend amqp"]["bind"], p.conf["backend rabbits"]["server"][0]
        p.conf["frontend amqp"]["bind"] = [good, "127.0.0.1:%d" % taken.getsockname()[1]]
        p.conf["backend rabbits"]["server"] = [line + " disabled weight 7"]
        p.write_conf()
        p.proc.signal(signal.SIGHUP)
        p.proc.wait_log(b"not reloaded")
        self.assertTrue(stats(p)[("rabbits", "rabbit1")]["status"].startswith("UP"))
        self.assertEqual(stats(p)[("rabbits", "rabbit1")]["weight"], "1")

    def test_what_takes_effect_later_is_said(self):
        p = self.proxy([self.broker()])
        self.reload_with(p, 1, **{"global": {"log": "stderr debug", "nbthread": "3"}})
        p.proc.wait_log(b"nbthread changes with the next start only")
        self.connect(address=p.address).channel().queue()
        p.proc.wait_log(b" debug ")


class Slow(Case):
    def test_a_reader_that_stops_holds_up_nobody_else(self):
        """Its broker is not read any more, its heartbeats go on, others do not notice."""
        p = self.proxy([self.broker(conf={"limits": {"heartbeat": "1s"}})])
        slow = self.connect(address=p.address, heartbeat=0)
        ch = slow.channel()
        q = ch.queue()
        ch.consume(q, no_ack=True)
        other = self.connect(address=p.address).channel()
        before = p.proc.rss_kb()
        for _ in range(300):
            other.publish("", q, b"x" * 100000)
        mine = other.queue()
        other.publish("", mine, b"alive")
        self.assertEqual(other.get(mine).body, b"alive")
        if not os.environ.get("WARREN_WRAP"):
            self.assertLess(p.proc.rss_kb() - before, 16384)
        until = Deadline(4)
        while not until.passed():  # longer than the broker would wait for a heartbeat
            other.publish("", mine, b"tick")
            other.get(mine)
        self.assertEqual(len(ch.expect("basic.deliver").body), 100000)
        for _ in range(299):
            ch.expect("basic.deliver")
