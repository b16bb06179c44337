"""A proxy's life: reload, drain, heartbeats on both legs, TCP mode, TLS."""

import os
import signal
import socket
import ssl
import threading

import wire
from harness import ports
from harness.case import Case
from harness.client import Eof
from harness.proxy_view import stats, wait_status
from harness.servers import write
from harness.waits import Deadline, wait_until

TARGETS = ("proxy",)


class Traffic:
    """A client that publishes with confirms and consumes until told to stop."""

    def __init__(self, case, address):
        self.ch = case.connect(address=address).channel()
        self.q = self.ch.queue()
        self.ch.call("confirm.select")
        self.ch.consume(self.q, no_ack=True)
        self.count, self.failure, self.stopping = 0, None, threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            while not self.stopping.is_set():
                self.ch.publish("", self.q, b"%d" % self.count)
                came = {e.name: e for e in (self.ch.next(), self.ch.next())}
                assert set(came) == {"basic.ack", "basic.deliver"}, came
                assert came["basic.deliver"].body == b"%d" % self.count, came
                self.count += 1
        except BaseException as e:
            self.failure = e

    def stop(self):
        self.stopping.set()
        self.thread.join()

    def wait_more(self, n=20):
        goal = self.count + n
        wait_until(lambda: self.failure or self.count >= goal, "%d messages more" % n)


class Reload(Case):
    def traffic(self, proxy, n=4):
        clients = [Traffic(self, proxy.address) for _ in range(n)]
        for c in clients:
            self.addCleanup(c.stop)
        return clients

    def expect_unharmed(self, clients):
        for c in clients:
            c.wait_more()
            c.stop()
            self.assertIsNone(c.failure)

    def test_every_connection_is_kept(self):
        first, second = self.broker("rabbit1"), self.broker("rabbit2")
        p = self.proxy([first])
        clients = self.traffic(p)
        idle = self.connect(address=p.address)
        for c in clients:
            c.wait_more()
        # A second server, and a second door.
        port = ports.free_port()
        p.conf["backend rabbits"]["server"].append("rabbit2 127.0.0.1:%d check" % second.port)
        p.conf["frontend amqp"]["bind"] = [p.conf["frontend amqp"]["bind"], "127.0.0.1:%d" % port]
        p.write_conf()
        pid = p.proc.pid
        p.proc.signal(signal.SIGHUP)
        wait_status(p, "rabbit2", "UP")
        self.connect(address=("127.0.0.1", port)).channel().queue()
        self.assertTrue(p.proc.alive())
        self.assertEqual(p.proc.pid, pid)
        idle.channel().queue()
        self.expect_unharmed(clients)

    def test_many_reloads_under_traffic(self):
        p = self.proxy([self.broker()])
        clients = self.traffic(p, 2)
        reloaded = lambda: p.proc.log_bytes().count(b"reloaded file=")
        for i in range(int(os.environ.get("WARREN_RELOADS", "5"))):
            p.conf["defaults"]["timeout-connect"] = "%ds" % (3 + i % 5)
            p.write_conf()
            p.proc.signal(signal.SIGHUP)
            wait_until(lambda i=i: reloaded() > i, "reload %d" % i)
            for c in clients:
                c.wait_more(5)
        self.expect_unharmed(clients)
        self.connect(address=p.address).channel().queue()

    def test_a_bad_file_leaves_the_old_one_running(self):
        p = self.proxy([self.broker()])
        clients = self.traffic(p, 2)
        write(p.conf_path, "[frontend amqp]\nbind = 127.0.0.1:%d\nnonsense = 1\n" % p.port)
        p.proc.signal(signal.SIGHUP)
        p.proc.wait_log(b"warren-proxy.conf:3")
        self.connect(address=p.address).channel().queue()
        self.assertTrue(stats(p)[("rabbits", "rabbit1")]["status"].startswith("UP"))
        self.expect_unharmed(clients)

    def test_a_server_taken_out_keeps_its_clients(self):
        first, second = self.broker("rabbit1"), self.broker("rabbit2")
        p = self.proxy([first, second])
        clients = self.traffic(p)  # on both
        p.conf["backend rabbits"]["server"].pop()
        p.write_conf()
        p.proc.signal(signal.SIGHUP)
        wait_until(lambda: ("rabbits", "rabbit2") not in stats(p), "rabbit2 gone from the table")
        self.expect_unharmed(clients)


class Drain(Case):
    def refused(self, p):
        with socket.socket() as s:
            return s.connect_ex(p.address) != 0

    def test_term_waits_for_the_clients(self):
        p = self.proxy([self.broker()], {"defaults": {"timeout-drain": "60s"}})
        ch = self.connect(address=p.address).channel()
        q = ch.queue()
        p.proc.signal(signal.SIGTERM)
        wait_until(lambda: self.refused(p), "no new clients")
        ch.publish("", q, b"still served")
        self.assertEqual(ch.get(q).body, b"still served")
        ch.conn.close()
        self.assertEqual(p.proc.wait(), 0)

    def test_the_drain_has_an_end(self):
        p = self.proxy([self.broker()], {"defaults": {"timeout-drain": "300ms"}})
        conn = self.connect(address=p.address)
        conn.channel().queue()
        p.proc.signal(signal.SIGTERM)
        conn.expect_close(320, None)
        self.assertEqual(p.proc.wait(), 0)

    def test_term_drains_one_that_was_to_stop_softly(self):
        """As the process of before an upgrade is: it lets everybody stay until then."""
        p = self.proxy([self.broker()], {"defaults": {"timeout-drain": "30s"}})
        conn = self.connect(address=p.address)
        ch = conn.channel()
        p.proc.signal(signal.SIGUSR1)
        p.proc.wait_log(b"timeout=none")
        p.proc.signal(signal.SIGTERM)
        p.proc.wait_log(b"draining goes on sessions=1 timeout=30s")
        self.assertTrue(ch.queue())
        conn.close()
        self.assertEqual(p.proc.wait(), 0)

    def test_a_second_term_stops_at_once(self):
        p = self.proxy([self.broker()], {"defaults": {"timeout-drain": "60s"}})
        conn = self.connect(address=p.address)
        conn.channel()
        p.proc.signal(signal.SIGTERM)
        wait_until(lambda: self.refused(p), "no new clients")
        p.proc.signal(signal.SIGTERM)
        self.assertEqual(p.proc.wait(), 0)


class Heartbeats(Case):
    """Each leg has its own; neither side's silence is the other's."""

    def setUp(self):
        super().setUp()
        self.back = self.broker(conf={"limits": {"heartbeat": "1s"}})
        self.front = self.proxy([self.back])

    def test_an_idle_client_with_heartbeats_lives(self):
        conn = self.connect(address=self.front.address, heartbeat=2)
        ch = conn.channel()
        q = ch.queue()
        until = Deadline(5)  # longer than either would wait
        while not until.passed() or conn.heartbeats_seen < 2:
            try:
                conn._take_frame(conn.read_frame(min(0.5, max(until.left(), 0.01))))
            except TimeoutError:
                pass
            conn.send(wire.heartbeat_frame())
        ch.publish("", q, b"alive")
        self.assertEqual(ch.get(q).body, b"alive")

    def test_an_idle_client_without_heartbeats_lives(self):
        """The broker beats and wants to be answered: that is the proxy's business."""
        conn = self.connect(address=self.front.address, heartbeat=0)
        ch = conn.channel()
        q = ch.queue()
        with self.assertRaises(TimeoutError):
            conn.read_frame(5)
        ch.publish("", q, b"alive")
        self.assertEqual(ch.get(q).body, b"alive")

    def test_a_broker_that_falls_silent_is_noticed(self):
        conn = self.connect(address=self.front.address, heartbeat=0)
        conn.channel().queue()
        self.back.proc.signal(signal.SIGSTOP)
        try:
            event = conn.next()
            self.assertEqual(event.reply_code, 320)
        finally:
            self.back.proc.signal(signal.SIGCONT)


class TcpMode(Case):
    def test_octets_pass_as_they_are(self):
        b, port = self.broker(), ports.free_port()
        p = self.proxy([b], {"defaults": {"timeout-failover": "1s"}, "listen raw": {
            "bind": "127.0.0.1:%d" % port, "mode": "tcp", "balance": "roundrobin",
            "server": "rabbit1 127.0.0.1:%d check inter 100ms fall 2" % b.port}})
        wait_status(p, "rabbit1", "UP", backend="raw")
        ch = self.connect(address=("127.0.0.1", port)).channel()
        q = ch.queue()
        ch.publish("", q, b"z" * 3000000)
        self.assertEqual(len(ch.get(q).body), 3000000)
        ch.conn.close()
        b.proc.kill()
        wait_status(p, "rabbit1", "DOWN", backend="raw")
        conn = self.raw(address=("127.0.0.1", port))
        with self.assertRaises(Eof):
            conn.hello()

    def test_what_was_said_before_the_end_arrives(self):
        """A server that answers and closes: the client reads all of it, then the end."""
        port, server = ports.free_port(), socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)
        self.proxy([self.broker()], {"listen raw": {
            "bind": "127.0.0.1:%d" % port, "mode": "tcp",
            "server": "own 127.0.0.1:%d" % server.getsockname()[1]}})
        client = socket.create_connection(("127.0.0.1", port), 10)
        self.addCleanup(client.close)
        client.sendall(b"question")
        server.settimeout(10)
        peer, _ = server.accept()
        self.assertEqual(peer.recv(100), b"question")
        answer = b"answer" * 100000
        peer.sendall(answer)
        peer.close()
        got = b""
        while len(got) <= len(answer):
            chunk = client.recv(65536)
            if not chunk:
                break
            got += chunk
        self.assertEqual(got, answer)


class Tls(Case):
    def setUp(self):
        super().setUp()
        self.pem = os.path.join(self.folder("tls"), "proxy.pem")
        key, cert = self.pem + ".key", self.pem + ".crt"
        self.run_ok(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                     "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                     "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                     "-keyout", key, "-out", cert])
        with open(cert) as c, open(key) as k:
            write(self.pem, c.read() + k.read())
        self.tls_port = ports.free_port()
        b = self.broker()
        self.front = self.proxy([b], start=False)
        self.front.conf["frontend amqp"]["bind"] = [
            self.front.conf["frontend amqp"]["bind"],
            "127.0.0.1:%d ssl crt %s" % (self.tls_port, self.pem)]
        self.front.start()
        self.context = ssl.create_default_context(cafile=cert)

    def test_pika_over_tls(self):
        import pika
        params = pika.ConnectionParameters("127.0.0.1", self.tls_port,
                                           ssl_options=pika.SSLOptions(self.context, "localhost"))
        conn = pika.BlockingConnection(params)
        ch = conn.channel()
        q = ch.queue_declare("", exclusive=True).method.queue
        for body in (b"secret", b"s" * 3000000):
            ch.basic_publish("", q, body)
            self.assertEqual(ch.basic_get(q, auto_ack=True)[2], body)
        conn.close()

    def test_raw_over_tls_in_small_pieces(self):
        conn = self.connect(address=("127.0.0.1", self.tls_port), tls=self.context)
        ch = conn.channel()
        q = ch.queue()
        frame = wire.method_frame(1, "basic.publish", routing_key=q) + \
            wire.content_frames(1, b"bit")
        for i in range(len(frame)):
            conn.send(frame[i:i + 1])
        self.assertEqual(ch.get(q).body, b"bit")

    def test_plain_text_on_the_tls_port(self):
        conn = self.raw(address=("127.0.0.1", self.tls_port))
        conn.send(wire.PROTOCOL_HEADER)
        conn.expect_eof()
        self.connect(address=self.front.address).channel().queue()

    def test_many_clients_at_once(self):
        conns = [self.connect(address=("127.0.0.1", self.tls_port), tls=self.context)
                 for _ in range(50)]
        for conn in conns:
            conn.channel().queue()
