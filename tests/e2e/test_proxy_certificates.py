"""Whom a client's certificate names, and what is known of its TLS session, passed on to servers."""

import hashlib
import hmac
import os
import socket
import ssl
import struct
import threading
import time

from harness import ports, procs
from harness.authority import Authority
from harness.case import Case
from harness.client import Eof
from harness.servers import Rabbit, write
from harness.waits import LONG, SOON, wait_until

TARGETS = ("proxy",)

COOKIE = b"a cookie of more than twenty octets"
V2 = b"\r\n\r\n\x00\r\nQUIT\n"
ADDRESSES = socket.inet_aton("127.0.0.1") * 2 + struct.pack(">HH", 4711, 5672)


def tlv(kind, value):
    return struct.pack(">BH", kind, len(value)) + value


def header(*tlvs, addresses=ADDRESSES):
    rest = addresses + b"".join(tlvs)
    return V2 + b"\x21\x11" + struct.pack(">H", len(rest)) + rest


def tlvs_of(octets):
    found = {}
    while octets:
        kind, n = struct.unpack_from(">BH", octets)
        found[kind], octets = octets[3:3 + n], octets[3 + n:]
    return found


def proofs(port, *names, cookie=COOKIE, name_cookie=COOKIE, late=0, host="127.0.0.1"):
    """What a proxy of the cluster adds: the proof of the address, and the proven names."""
    nonce = os.urandom(16)
    place = socket.inet_pton(socket.AF_INET6, "::ffff:" + host) + struct.pack(">H", port)
    told = struct.pack(">BQ", 2, int((time.time() - late) * 1000)) + place
    told += b"".join(struct.pack(">H", len(n)) + n for n in names)
    sign = lambda key, *parts: hmac.new(key, b"".join(parts), hashlib.sha256).digest()
    return (tlv(0xE5, nonce + sign(cookie, b"warren-proxy-address", nonce, ADDRESSES)),
            tlv(0xE6, sign(name_cookie, b"warren-proxy-names", struct.pack(">HH", 12, 0), nonce,
                           ADDRESSES, told) + told))


class Certified(Case):
    def setUp(self):
        super().setUp()
        self.ca = Authority(self.folder("tls"))
        self.server_pem = self.ca.make("server", "/CN=localhost",
                                       "subjectAltName=DNS:localhost,DNS:rabbit1")
        self.shop = self.ca.make("shop", "/O=Example/CN=shop",
                                 "subjectAltName=DNS:shop.example")
        self.cookie = write(self.ca.file("cookie"), COOKIE.decode())
        os.chmod(self.cookie, 0o400)

    def back(self, user, **conf):
        self.tls_port = ports.free_port()
        auth = dict({"mechanisms": "PLAIN, EXTERNAL", "default-user": user,
                     "default-pass": "keeper"}, **conf.pop("auth", {}))
        listen = dict({"amqps": "127.0.0.1:%d" % self.tls_port}, **conf.pop("listen", {}))
        tls = dict({"cert": self.server_pem, "ca": self.ca.pem, "verify": "optional"},
                   **conf.pop("tls", {}))
        b = self.broker(conf=dict({
            "auth": auth, "listen": listen, "cluster": {"cookie-file": self.cookie}, "tls": tls},
            **conf), start=False)
        b.start(ready=False)
        b.proc.wait_log(b"started version=")
        return b

    def front(self, server, cookie=True, verify="optional", conf=None):
        """A proxy with a port for TLS, before that server line."""
        self.port = ports.free_port()
        more = {"frontend amqp": {"bind": ["127.0.0.1:%d ssl crt %s verify %s ca-file %s" % (
            self.port, self.server_pem, verify, self.ca.pem)]},
            "backend rabbits": {"server": ["rabbit1 " + server]}}
        if cookie:
            more["global"] = {"cookie-file": self.cookie}
        for section, keys in (conf or {}).items():
            more.setdefault(section, {}).update(keys)
        p = self.proxy([], more, start=False)
        p.start(ready=False)
        p.proc.wait_log(b"runs threads")
        return p

    def client(self, cert=None):
        return self.raw(address=("127.0.0.1", self.port), tls=self.ca.context(cert or self.shop))


class External(Certified):
    def external(self, cert=None):
        conn = self.client(cert)
        self.assertIn(b"EXTERNAL", conn.hello().mechanisms.split())
        conn.start_ok(mechanism="EXTERNAL", response=b"")
        return conn

    def serves(self, conn):
        conn.tune = conn.expect("connection.tune")
        conn.tune_ok()
        conn.open()
        conn.channel().queue()
        conn.close()

    def test_the_broker_knows_who_it_is(self):
        for user, login_from in (("CN=shop,O=Example", "distinguished-name"),
                                 ("shop", "common-name"),
                                 ("shop.example", "subject-alternative-name")):
            with self.subTest(login_from):
                b = self.back(user, auth={"login-from": login_from})
                p = self.front("127.0.0.1:%d send-proxy-v2" % b.port)
                self.serves(self.external())
                p.proc.wait_log(rb'user="CN=shop,O=Example" vhost="/"')
                stranger = self.ca.make("stranger", "/CN=guest")
                self.external(stranger).expect_close(403)

    def test_nobody_is_the_proxy(self):
        """Its own certificate, with which it comes to the broker, is no client's."""
        b = self.back("CN=proxy", tls={"verify": "peer"})
        own = self.ca.make("proxy", "/CN=proxy")
        words = "127.0.0.1:%d ssl verify required ca-file %s sni rabbit1 crt %s " % (
            self.tls_port, self.ca.pem, own)
        direct = self.raw(address=("127.0.0.1", self.tls_port), tls=self.ca.context(own))
        direct.hello()
        direct.start_ok(mechanism="EXTERNAL", response=b"")
        direct.expect("connection.tune")
        for header_words in ("send-proxy-v2", ""):
            with self.subTest(header_words):
                self.front(words + header_words)
                self.external().expect_close(403)
                plain = self.raw(address=("127.0.0.1", self.port), tls=self.ca.context())
                self.assertNotIn(b"EXTERNAL", plain.hello().mechanisms.split())
                plain.login("CN=proxy", "keeper")
                plain.tune_ok()
                plain.open()
                plain.close()
        self.front(words + "send-proxy-v2", conf={
            "frontend amqp": {"mode": "tcp"}, "backend rabbits": {"mode": "tcp", "option": None}})
        inner = self.client()
        self.assertIn(b"EXTERNAL", inner.hello().mechanisms.split())
        inner.start_ok(mechanism="EXTERNAL", response=b"")
        inner.expect_close(403)
        b.proc.wait_log(rb'login refused user="CN=shop,O=Example"')
        # Clients without TLS, with an address and without.
        for mode, more in (("tcp", {"option": None}), ("amqp", {})):
            path = self.ca.file("door." + mode)
            port = ports.free_port()
            self.front(words + "send-proxy-v2", conf={
                "frontend amqp": {"mode": mode, "bind": ["127.0.0.1:%d" % port, "unix@" + path]},
                "backend rabbits": dict(mode=mode, **more)})
            for at in (("127.0.0.1", port), path):
                with self.subTest(mode=mode, at=at):
                    plain = self.raw(address=at)
                    plain.hello()
                    plain.start_ok(mechanism="EXTERNAL", response=b"")
                    plain.expect_close(503)

    def test_where_it_cannot_be_passed_on_it_is_refused_in_clear_words(self):
        for words, cookie in (("", True), ("send-proxy", True), ("send-proxy-v2", False)):
            with self.subTest(words, cookie=cookie):
                more = {"listen": {"proxy-protocol": "127.0.0.0/8"}} if words else {}
                b = self.back("shop", auth={"login-from": "common-name"}, **more)
                self.front("127.0.0.1:%d %s" % (b.port, words), cookie=cookie)
                end = self.external().expect_close(403)
                self.assertIn("passed on only to a Warren broker", end.reply_text)
                self.assertIn("rabbit1 is not one", end.reply_text)
        b = self.back("shop", auth={"login-from": "common-name", "mechanisms": "PLAIN"})
        self.front("127.0.0.1:%d send-proxy-v2" % b.port)
        self.assertIn("that offers EXTERNAL", self.external().expect_close(403).reply_text)

    def test_a_rabbitmq_is_not_asked(self):
        try:
            Rabbit.home()
        except AssertionError as e:
            self.skipTest(str(e))
        r = self.own(Rabbit(self.folder("rabbit"), conf=["proxy_protocol = true"]))
        r.start()
        self.front("127.0.0.1:%d send-proxy-v2" % r.port)
        self.assertIn("Warren broker", self.external().expect_close(403).reply_text)

    def test_only_the_cookie_proves_a_name(self):
        names = (b"CN=shop,O=Example", b"shop", b"shop.example")
        port = self.back("CN=shop,O=Example").port
        address, name = proofs(port, *names)

        def mechanisms(octets):
            conn = self.raw(address=("127.0.0.1", port), before=octets)
            return conn.hello().mechanisms.split()
        self.assertIn(b"EXTERNAL", mechanisms(header(address, name)))
        self.assertNotIn(b"EXTERNAL", mechanisms(header(address)))
        self.assertNotIn(b"EXTERNAL", mechanisms(header(*proofs(port, *names, name_cookie=b"x" * 30))))
        self.assertNotIn(b"EXTERNAL", mechanisms(header(*proofs(port, b"", b"", b""))))
        other = proofs(port, *names)[1]  # of another nonce
        self.assertNotIn(b"EXTERNAL", mechanisms(header(address, other)))
        for octets in (header(name), header(*proofs(port, *names, cookie=b"x" * 30))):
            with self.assertRaises((Eof, ConnectionError)):
                mechanisms(octets)
        port = self.back("CN=shop,O=Example", listen={"proxy-protocol": "127.0.0.0/8"}).port
        self.assertNotIn(b"EXTERNAL", mechanisms(header(name)), "a network proves no name")
        self.assertNotIn(b"EXTERNAL", mechanisms(header(tlv(0x20, b"\7\0\0\0\0" + tlv(0x22, b"shop")))))
        self.assertIn(b"EXTERNAL", mechanisms(header(*proofs(port, *names))))

    def test_what_was_said_once_is_not_taken_again(self):
        """Who reads a header on its way cannot be that user: not a second time, not later, and not
        at another broker."""
        names = (b"CN=shop,O=Example", b"shop", b"shop.example")
        b = self.back("CN=shop,O=Example")

        def mechanisms(octets):
            return self.raw(address=("127.0.0.1", b.port), before=octets).hello().mechanisms.split()
        said = header(*proofs(b.port, *names))
        self.assertIn(b"EXTERNAL", mechanisms(said))
        with self.assertRaises((Eof, ConnectionError)):
            mechanisms(said)
        b.proc.wait_log(rb"refused: a PROXY header with a client's names that was used before")
        over_tls = dict(address=("127.0.0.1", self.tls_port), tls=self.ca.context(),
                        before=header(*proofs(self.tls_port, *names)))
        self.assertIn(b"EXTERNAL", self.raw(**over_tls).hello().mechanisms.split())
        with self.assertRaises((Eof, ConnectionError, ssl.SSLError)):
            self.raw(**over_tls).hello()
        nobody = header(*proofs(b.port, b"", b"", b""))
        for _ in range(2):
            self.assertNotIn(b"EXTERNAL", mechanisms(nobody))
        for late, words in ((120, rb"12\d s behind"), (-120, rb"1[12]\d s ahead of")):
            self.assertNotIn(b"EXTERNAL", mechanisms(header(*proofs(b.port, *names, late=late))))
            b.proc.wait_log(rb"not believed from=127.0.0.1:\d+: the time in it is " + words)
        for far in (header(*proofs(b.port + 1, *names)),
                    header(*proofs(b.port, *names, host="127.0.0.2"))):
            self.assertNotIn(b"EXTERNAL", mechanisms(far))
            b.proc.wait_log(rb"it was told to another address than 127.0.0.1:%d" % b.port)
        b = self.back("CN=shop,O=Example", listen={"proxy-protocol": "127.0.0.0/8"})
        said = header(*proofs(1, *names))
        self.assertIn(b"EXTERNAL", mechanisms(said), "addresses may be translated")
        with self.assertRaises((Eof, ConnectionError)):
            mechanisms(said)


class Listener:
    """A server that keeps the first octets of each connection, and says nothing."""

    def __init__(self):
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.heads = []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                conn = self.sock.accept()[0]
            except OSError:
                return
            conn.settimeout(SOON)
            head = b""
            try:
                while len(head) < 16 or len(head) < 16 + struct.unpack(">H", head[14:16])[0]:
                    head += conn.recv(4096) or b"\0" * 65536
            except OSError:
                pass
            conn.close()
            self.heads.append(head)

    def next(self):
        wait_until(lambda: self.heads, "a connection")
        head = self.heads.pop(0)
        assert head.startswith(V2 + b"\x21"), head
        return tlvs_of(head[28:16 + struct.unpack(">H", head[14:16])[0]])


class TlsFields(Certified):
    """HAProxy's send-proxy-v2-ssl and send-proxy-v2-ssl-cn."""

    def listener(self):
        server = Listener()
        self.addCleanup(server.sock.close)
        return server

    def told(self, server, cert):
        conn = self.raw(address=("127.0.0.1", self.port), tls=self.ca.context(cert))
        conn.sock.sendall(b"AMQP\0\0\11\1")
        if self.amqp:
            conn.expect("connection.start")
            conn.start_ok()
        fields = server.next()
        value = fields[0x20]
        return value[0], struct.unpack(">I", value[1:5])[0], tlvs_of(value[5:])

    def expect_told(self, word, cn):
        server = self.listener()
        tcp = {} if self.amqp else {"frontend amqp": {"mode": "tcp"},
                                    "backend rabbits": {"mode": "tcp"}}
        tcp.setdefault("backend rabbits", {})["default-server"] = None
        tcp["defaults"] = {"option": None}
        self.front("127.0.0.1:%d %s" % (server.port, word), cookie=False, conf=tcp)
        used, verify, parts = self.told(server, self.shop)
        self.assertEqual((used, verify), (7, 0))
        self.assertEqual(parts[0x21], b"TLSv1.3")
        self.assertIn(b"AES", parts[0x23])
        self.assertEqual(parts.get(0x22), cn)
        used, verify, parts = self.told(server, None)
        self.assertEqual((used, verify != 0, parts.get(0x22)), (1, True, None))

    def test_of_channels(self):
        self.amqp = True
        self.expect_told("send-proxy-v2-ssl", None)
        self.expect_told("send-proxy-v2-ssl-cn", b"shop")

    def test_of_octets(self):
        self.amqp = False
        self.expect_told("send-proxy-v2-ssl", None)
        self.expect_told("send-proxy-v2-ssl-cn", b"shop")

    def haproxy(self, text):
        conf = write(self.ca.file("haproxy.cfg"), (
            "global\n  maxconn 100\ndefaults\n  mode tcp\n  timeout connect 5s\n"
            "  timeout client 60s\n  timeout server 60s\n" + text))
        proc = procs.Proc(["haproxy", "-db", "-f", conf], self.ca.file("haproxy.log"))
        proc.tolerated = True
        self.addCleanup(proc.kill)
        return proc

    def answers(self, port):
        def tried():
            try:
                socket.create_connection(("127.0.0.1", port), SOON).close()
                return True
            except OSError:
                return False
        wait_until(tried, "HAProxy listens")

    def test_what_a_balancer_in_front_told_is_passed_on(self):
        """HAProxy ends TLS, we take its header and make ours of it."""
        server, inner = self.listener(), ports.free_port()
        self.front("127.0.0.1:%d send-proxy-v2-ssl-cn" % server.port, cookie=False, conf={
            "defaults": {"option": None},
            "frontend amqp": {"mode": "tcp", "bind": ["127.0.0.1:%d accept-proxy" % inner]},
            "backend rabbits": {"mode": "tcp", "default-server": None}})
        self.haproxy("listen l\n  bind 127.0.0.1:%d ssl crt %s verify required ca-file %s\n"
                     "  server w 127.0.0.1:%d send-proxy-v2-ssl-cn\n"
                     % (self.port, self.server_pem, self.ca.pem, inner))
        self.answers(self.port)
        self.amqp = False
        used, verify, parts = self.told(server, self.shop)
        self.assertEqual((used, verify, parts[0x21], parts[0x22]), (7, 0, b"TLSv1.3", b"shop"))

    def test_haproxy_reads_what_we_send(self):
        """It knows the client's own address from a header with all of our fields."""
        inner = ports.free_port()
        self.haproxy("listen l\n  bind 127.0.0.1:%d accept-proxy\n  tcp-request content accept\n"
                     "  mode http\n  http-request return status 200 content-type text/plain "
                     'lf-string "from %%[src]:%%[src_port]"\n' % inner)
        self.answers(inner)
        self.front("127.0.0.1:%d send-proxy-v2-ssl-cn" % inner, conf={
            "defaults": {"option": None},
            "frontend amqp": {"mode": "tcp"},
            "backend rabbits": {"mode": "tcp", "default-server": None}})
        conn = self.client()
        conn.sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        text = b""
        while b"from " not in text:
            octets = conn.sock.recv(4096)
            self.assertTrue(octets, text)
            text += octets
        self.assertIn(b"from 127.0.0.1:%d" % conn.sock.getsockname()[1], text)
