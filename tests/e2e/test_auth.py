"""Who a client is: mechanisms, certificates, the first user, how long a login may take, guessers."""

import os
import signal
import ssl
import time

import wire
from harness import ports
from harness.api import Api
from harness.case import Case, only
from harness.client import Eof
from harness.servers import write
from harness.waits import SCALE, wait_until

TARGETS = ("broker", "proxy")

REFUSED = ("ACCESS_REFUSED - Login was refused using authentication mechanism %s. "
           "For details see the broker logfile.")


def mechanisms_of(conn):
    return conn.hello().mechanisms.split()


class AuthCase(Case):
    def started(self, auth, **conf):
        """A broker of its own, whoever may log in there."""
        b = self.broker(conf=dict(conf, auth=auth), start=False)
        b.start(ready=False)
        b.proc.wait_log(b"started version=")
        return b

    def greeted(self, server, **opts):
        conn = self.raw(address=server.address, **opts)
        conn.hello()
        return conn


class Refusals(AuthCase):
    """As told to clients that understand a close before tune, and to those that do not."""

    def test_a_close_for_who_understands_it(self):
        for mechanism in ("PLAIN", "AMQPLAIN"):
            for user, password in (("guest", "wrong"), ("nobody", "guest"), ("guest", ""),
                                   ("", "guest"), ("guest", "g" * 3000)):
                with self.subTest(mechanism=mechanism, user=user):
                    conn = self.raw()
                    conn.hello()
                    conn.start_ok(user, password, mechanism)
                    conn.expect_close(403, REFUSED % mechanism, (0, 0))

    def test_silence_for_who_does_not(self):
        conn = self.raw()
        conn.hello()
        began = time.monotonic()
        conn.start_ok("guest", "wrong", capabilities={})
        conn.expect_eof()
        self.assertGreater(time.monotonic() - began, 2)

    def test_silence_for_what_cannot_be_read(self):
        conns = []
        for mechanism, response in (("PLAIN", b"guest"), ("PLAIN", b"a\0guest\0guest"),
                                    ("AMQPLAIN", b"\0guest\0guest"), ("AMQPLAIN", b"")):
            conns.append(self.raw())
            conns[-1].hello()
            conns[-1].start_ok(mechanism=mechanism, response=response)
        for conn in conns:
            conn.expect_eof()

    def test_a_login_in_one_breath_with_all_that_follows(self):
        conn = self.raw()
        conn.send(wire.PROTOCOL_HEADER + wire.method_frame(
            0, "connection.start_ok", mechanism="PLAIN", locale="en_US",
            client_properties={"capabilities": {"authentication_failure_close": True}},
            response=b"\0guest\0wrong") +
            wire.method_frame(0, "connection.tune_ok", channel_max=10, frame_max=131072) +
            wire.method_frame(0, "connection.open", virtual_host="/"))
        conn.expect("connection.start")
        conn.expect_close(403, REFUSED % "PLAIN", (0, 0))

    def test_update_secret_is_taken_and_changes_nothing(self):
        conn = self.connect()
        for _ in range(2):
            conn.send_method(0, "connection.update_secret", new_secret="new", reason="it is time")
            conn.expect("connection.update_secret_ok")
        conn.channel().queue()
        self.connect().channel()


class Configured(AuthCase):
    def test_the_mechanisms_that_are_configured(self):
        b = self.started({"mechanisms": "AMQPLAIN"})
        conn = self.raw(address=b.address)
        self.assertEqual(mechanisms_of(conn), [b"AMQPLAIN"])
        conn.login(mechanism="AMQPLAIN")
        conn = self.greeted(b)
        conn.start_ok(mechanism="PLAIN")
        conn.expect_refusal((503,))

    def test_a_plain_connection_is_not_offered_external(self):
        b = self.started({"mechanisms": "EXTERNAL, PLAIN"})
        conn = self.raw(address=b.address)
        self.assertEqual(mechanisms_of(conn), [b"PLAIN"])
        conn.start_ok(mechanism="EXTERNAL", response=b"")
        conn.expect_refusal((503,))

    def test_the_first_user_is_another(self):
        b = self.started({"default-user": "shop", "default-pass": "s#e:c", "default-vhost": "v",
                          "default-configure": "^amq", "default-write": ".*",
                          "default-read": "^q"})
        for user in (("guest", "guest"), ("shop", "guest")):
            conn = self.greeted(b)
            conn.start_ok(*user)
            conn.expect_close(403, REFUSED % "PLAIN", (0, 0))
        conn = self.greeted(b)
        conn.login("shop", "s#e:c")
        conn.tune_ok()
        conn.open("v")
        ch = conn.channel()
        ch.queue()
        ch.send("queue.declare", queue="q")
        ch.expect_close(403, "ACCESS_REFUSED - access to queue 'q' in vhost 'v' refused for user "
                             "'shop'", "queue.declare")

    def test_no_first_user(self):
        b = self.started({"default-user": "none"})
        conn = self.greeted(b)
        conn.start_ok()
        conn.expect_close(403, REFUSED % "PLAIN", (0, 0))

    def test_hashes_of_every_kind(self):
        for how in ("sha256", "sha512", "md5", "pbkdf2"):
            with self.subTest(how):
                b = self.started({"password-hashing": how})
                self.connect(address=b.address).channel().queue()
                conn = self.greeted(b)
                conn.start_ok(password="wrong")
                conn.expect_close(403, REFUSED % "PLAIN", (0, 0))

    def test_who_takes_too_long_goes(self):
        b = self.started({"login-timeout": "3s"})  # the three below are quicker than that
        silent, halfway = self.raw(address=b.address), self.greeted(b)
        tuned = self.greeted(b)
        tuned.login()
        for conn in (silent, halfway, tuned):
            conn.expect_eof()
        if SCALE == 1:
            conn = self.connect(address=b.address)
            time.sleep(3.2)  # longer than a login may take
            conn.channel().queue()


class Proxied(AuthCase):
    """What a broker says of a client is what the client reads at the proxy."""

    @only("proxy")
    def test_another_first_user_and_other_mechanisms(self):
        b = self.started({"mechanisms": "PLAIN", "default-user": "shop", "default-pass": "keeper",
                          "default-vhost": "v", "default-write": "^$"})
        p = self.proxy([b], start=False)
        p.start(ready=False)
        wait_until(lambda: self.is_served(p), "the proxy to serve")
        conn = self.greeted(p)
        conn.start_ok("shop", "keeper", mechanism="AMQPLAIN")
        conn.expect_refusal((503,))
        conn = self.greeted(p)
        conn.start_ok("guest", "guest")
        conn.expect_close(403, REFUSED % "PLAIN", (0, 0))
        conn = self.greeted(p)
        conn.login("shop", "keeper")
        conn.tune_ok()
        conn.send_method(0, "connection.open", virtual_host="/")
        conn.expect_close(530, "NOT_ALLOWED - vhost / not found", "connection.open")
        conn = self.greeted(p)
        self.enter(conn, "v")
        ch = conn.channel()
        ch.publish("", "q", b"x")
        ch.expect_close(403, "ACCESS_REFUSED - access to exchange 'amq.default' in vhost 'v' "
                             "refused for user 'shop'", "basic.publish")

    def enter(self, conn, vhost):
        conn.login("shop", "keeper")
        conn.tune_ok()
        conn.open(vhost)

    def is_served(self, server):
        try:
            conn = self.greeted(server)
            self.enter(conn, "v")
            return True
        except (OSError, Eof, AssertionError):
            return False


class Guessers(AuthCase):
    @only("broker")
    def test_guesses_are_bounded_and_others_come_in(self):
        b = self.started({"loopback-users": "none"}, listen={"proxy-protocol": "127.0.0.0/8"})

        def from_(ip):
            return b"PROXY TCP4 %s 127.0.0.1 1111 5672\r\n" % ip
        known = self.connect(address=b.address, before=from_(b"10.0.0.1"))
        guesses = []
        for i in range(150):
            conn = self.raw(address=b.address, before=from_(b"10.6.6.6"))
            conn.send(wire.PROTOCOL_HEADER)
            conn.start_ok("guest", "guess%d" % i)
            guesses.append(conn)
        for ip in (b"10.0.0.1", b"10.0.0.2", b"10.6.6.6"):  # the password is known by now
            self.connect(address=b.address, before=from_(ip)).channel().queue()
        for conn in guesses:
            conn.expect("connection.start")
            conn.expect_close(403, REFUSED % "PLAIN", (0, 0))
        known.channel().queue()

    def test_many_come_at_once(self):
        conns = []
        for _ in range(100):
            conns.append(self.raw())
            conns[-1].send(wire.PROTOCOL_HEADER)
            conns[-1].start_ok()
        for conn in conns:
            conn.expect("connection.start")
            conn.expect("connection.tune")

    def test_who_does_not_wait_for_the_answer(self):
        for _ in range(50):
            conn = self.raw()
            conn.send(wire.PROTOCOL_HEADER)
            conn.start_ok("guest", "gone")
            conn.drop()
        self.connect().channel().queue()


class Certificates(AuthCase):
    """Clients that TLS knows by a certificate of our authority."""

    def setUp(self):
        super().setUp()
        self.tls = self.folder("tls")
        self.authority("ca")
        self.authority("other")
        self.certificate("server", "/CN=localhost", extra="subjectAltName=DNS:localhost")
        self.certificate("client", "/O=Example/CN=shop")

    def file(self, leaf):
        return os.path.join(self.tls, leaf)

    def authority(self, name):
        self.run_ok(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                     "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=" + name,
                     "-keyout", self.file(name + ".key"), "-out", self.file(name + ".pem")])

    def certificate(self, name, subject, by="ca", extra="basicConstraints=CA:FALSE"):
        request, ext = self.file(name + ".csr"), write(self.file(name + ".ext"), extra + "\n")
        self.run_ok(["openssl", "req", "-newkey", "ec", "-pkeyopt",
                     "ec_paramgen_curve:prime256v1", "-nodes", "-subj", subject,
                     "-keyout", self.file(name + ".key"), "-out", request])
        self.run_ok(["openssl", "x509", "-req", "-in", request, "-days", "2", "-CA",
                     self.file(by + ".pem"), "-CAkey", self.file(by + ".key"), "-CAcreateserial",
                     "-extfile", ext, "-out", self.file(name + ".pem")])

    def secure(self, auth, tls=None, **conf):
        self.tls_port = ports.free_port()
        tls = dict({"cert": self.file("server.pem"), "key": self.file("server.key"),
                    "ca": self.file("ca.pem"), "verify": "peer"}, **(tls or {}))
        listen = dict({"amqps": "127.0.0.1:%d" % self.tls_port}, **conf.pop("listen", {}))
        return self.started(dict({"mechanisms": "PLAIN, EXTERNAL"}, **auth), tls=tls,
                            listen=listen, **conf)

    def context(self, cert="client", version=None):
        context = ssl.create_default_context(cafile=self.file("ca.pem"))
        if cert:
            context.load_cert_chain(self.file(cert + ".pem"), self.file(cert + ".key"))
        if version:
            context.minimum_version = context.maximum_version = version
        return context

    def over_tls(self, cert="client", version=None, **opts):
        return self.raw(address=("127.0.0.1", self.tls_port), tls=self.context(cert, version),
                        **opts)

    def external(self, cert="client", **opts):
        conn = self.over_tls(cert, **opts)
        conn.hello()
        conn.start_ok(mechanism="EXTERNAL", response=b"")
        return conn

    @only("broker")
    def test_management_shows_what_was_agreed_on(self):
        b = self.secure({"default-user": "CN=shop,O=Example"}, tls={"verify": "optional"})
        self.expect_agreed(b, "client", ssl.TLSVersion.TLSv1_2, "tlsv1.2", "ecdhe_ecdsa",
                           "aes_256_gcm")
        self.expect_agreed(b, "client", ssl.TLSVersion.TLSv1_3, "tlsv1.3", "any", "aes_128_gcm")
        conn = self.connect(address=b.address, user="CN=shop,O=Example")
        port = str(conn.sock.getsockname()[1])
        self.assertEqual(self.agreed(b)[port], ["false"] + [""] * 7)

    def agreed(self, b):
        """What list_connections says of TLS, by the client's port."""
        rows = b.ctl("-s", "list_connections", "peer_port", "ssl", "ssl_protocol",
                     "ssl_key_exchange", "ssl_cipher", "ssl_hash", "peer_cert_subject",
                     "peer_cert_issuer", "peer_cert_validity").stdout.splitlines()
        return {r[0]: r[1:] for r in (row.split("\t") for row in rows)}

    def expect_agreed(self, b, cert, version, protocol, exchange, cipher):
        conn = self.external(cert, version=version)
        conn.tune = conn.expect("connection.tune")
        conn.tune_ok()
        conn.open()
        port = conn.sock.getsockname()[1]
        row = self.agreed(b)[str(port)]
        self.assertEqual(row[:7], ["true", protocol, exchange, cipher, "aead",
                                   "CN=shop,O=Example", "CN=ca"])
        self.assertRegex(row[7], r"^20..-..-..T..:..:..Z - 20..-..-..T..:..:..Z$")
        api = Api(int(b.conf["listen"]["management"].rpartition(":")[2]), "CN=shop,O=Example")
        mine, = [c for c in api.get("/api/connections").json if c["peer_port"] == port]
        self.assertEqual([mine[k] for k in (
            "ssl", "ssl_protocol", "ssl_key_exchange", "ssl_cipher", "ssl_hash",
            "peer_cert_subject", "peer_cert_issuer", "peer_cert_validity")], [True] + row[1:])
        self.assertGreater(min(mine["recv_cnt"], mine["send_cnt"]), 2)

    @only("broker")
    def test_the_distinguished_name_is_the_user(self):
        self.secure({"default-user": "CN=shop,O=Example"})
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            conn = self.over_tls(version=version)
            self.assertEqual(mechanisms_of(conn), [b"PLAIN", b"EXTERNAL"])
            conn.start_ok(mechanism="EXTERNAL", response=b"")
            conn.tune = conn.expect("connection.tune")
            conn.tune_ok()
            conn.open()
            conn.channel().queue()

    @only("broker")
    def test_the_common_name_is_the_user(self):
        self.secure({"default-user": "shop", "login-from": "common-name"})
        self.external().expect("connection.tune")
        self.certificate("stranger", "/O=Example/CN=guest")
        self.external("stranger").expect_close(403, REFUSED % "EXTERNAL", (0, 0))
        self.certificate("nameless", "/O=Example")
        self.external("nameless").expect_close(403, REFUSED % "EXTERNAL", (0, 0))

    @only("broker")
    def test_an_alternative_name_is_the_user(self):
        self.secure({"default-user": "shop.example", "login-from": "subject-alternative-name"})
        self.certificate("dns", "/CN=guest", extra="subjectAltName=email:a@b,DNS:shop.example,DNS:x")
        self.external("dns").expect("connection.tune")
        self.external("client").expect_close(403, REFUSED % "EXTERNAL", (0, 0))

    @only("broker")
    def test_loopback_users_stay_on_loopback(self):
        self.secure({"default-user": "shop", "login-from": "common-name",
                     "loopback-users": "guest, shop"}, listen={"proxy-protocol": "127.0.0.0/8"})
        here = b"PROXY TCP4 127.0.0.1 127.0.0.1 1111 5672\r\n"
        there = b"PROXY TCP4 10.0.0.1 127.0.0.1 1111 5672\r\n"
        self.external(before=here).expect("connection.tune")
        self.external(before=there).expect_close(403, REFUSED % "EXTERNAL", (0, 0))

    @only("broker")
    def test_passwords_go_on_working(self):
        self.secure({})
        conn = self.over_tls()
        conn.handshake()
        conn.channel().queue()

    def is_let_in(self, cert):
        try:
            self.over_tls(cert).hello()
            return True
        except (ssl.SSLError, Eof, ConnectionError):
            return False

    @only("broker")
    def test_strangers_do_not_get_past_tls(self):
        self.certificate("false", "/O=Example/CN=shop", by="other")
        self.secure({})
        self.assertFalse(self.is_let_in("false"))
        self.assertFalse(self.is_let_in(None))
        self.assertTrue(self.is_let_in("client"))

    @only("broker")
    def test_a_certificate_if_you_have_one(self):
        self.certificate("false", "/O=Example/CN=shop", by="other")
        self.secure({"default-user": "shop", "default-pass": "keeper",
                     "login-from": "common-name"}, tls={"verify": "optional"})
        self.external().expect("connection.tune")
        conn = self.over_tls(None)
        self.assertEqual(mechanisms_of(conn), [b"PLAIN"])
        conn.login("shop", "keeper")
        self.assertFalse(self.is_let_in("false"))

    @only("broker")
    def test_without_verification_there_is_no_external(self):
        self.secure({}, tls={"verify": "none"})
        self.assertEqual(mechanisms_of(self.over_tls()), [b"PLAIN"])

    @only("broker")
    def test_the_oldest_version_of_tls(self):
        self.secure({}, tls={"min-version": "1.3"})
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            self.over_tls(version=ssl.TLSVersion.TLSv1_2)
        self.over_tls(version=ssl.TLSVersion.TLSv1_3).hello()

    @only("broker")
    def test_new_certificates_without_a_restart(self):
        b = self.secure({})
        old = self.over_tls()
        old.handshake()
        serial = old.sock.getpeercert()["serialNumber"]
        self.certificate("server", "/CN=localhost", extra="subjectAltName=DNS:localhost")
        b.proc.signal(signal.SIGHUP)

        def serves_the_new_one():
            return self.over_tls().sock.getpeercert()["serialNumber"] != serial
        wait_until(serves_the_new_one, "the new certificate")
        old.channel().queue()
        write(self.file("server.pem"), "no certificate\n")
        b.proc.signal(signal.SIGHUP)
        b.proc.wait_log(b"the old configuration stays")
        self.assertTrue(serves_the_new_one())
        self.over_tls().handshake()

    @only("broker")
    def test_a_proxy_header_comes_before_tls(self):
        self.secure({"default-user": "shop", "login-from": "common-name"},
                    listen={"proxy-protocol": "127.0.0.0/8"})
        v2 = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x0a\0\0\1\x7f\0\0\1\0\1\x16\x28"
        for header in (v2, b"PROXY TCP4 10.0.0.1 127.0.0.1 1111 5671\r\n",
                       b"PROXY TCP6 2001:db8::1 ::1 1111 5671\r\n",
                       b"PROXY UNKNOWN\r\n"):
            with self.subTest(header):
                self.external(before=header).expect("connection.tune")
        conn = self.raw(address=("127.0.0.1", self.tls_port))
        conn.send(b"PROXY TCP4 10.0.0.1 127.0.0.1 1111 99999\r\n")
        conn.expect_eof()
