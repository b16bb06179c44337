"""What stands at a proxy's door, and what it writes down about those who came through."""

import os
import re
import shutil
import signal
import socket
import ssl
import threading
import time

import wire

from harness import ports, procs
from harness.case import Case
from harness.client import Conn
from harness.proxy_view import command, http_get, wait_status
from harness.servers import PROXY_BIN, write
from harness.waits import LONG, SOON, wait_until

TARGETS = ("proxy",)


def at(conn):
    return conn.sock.getsockname()[1]


def line_about(proxy, port):
    """The first line of the access log about the client at that port, once it is there."""
    found = lambda: re.findall(rb"(?m)^.* access .*from=127\.0\.0\.1:%d .*$" % port,
                               proxy.proc.log_bytes())
    return wait_until(lambda: found() and found()[0].decode(), "a line about port %d" % port)


class AccessLog(Case):
    def test_a_line_for_each_session_says_why_it_ended(self):
        back = self.broker()
        p = self.proxy([back])
        gentle, rude, mute, wrong, lost = (self.raw(address=p.address) for _ in range(5))
        ports = {conn: at(conn) for conn in (gentle, rude, mute, wrong, lost)}
        for conn in (gentle, rude, lost):
            conn.handshake()
            conn.channel().queue()
        gentle.close()
        text = line_about(p, ports[gentle])
        for part in ("frontend=amqp", "backend=rabbits", "servers=rabbit1", 'user="guest"', 'vhost="/"',
                     "channels=1", "lost=0", 'why="the client closed it: 200 '):
            self.assertIn(part, text)
        rude.sock.close()
        self.assertIn('why="the client is gone', line_about(p, ports[rude]))
        wrong.hello()
        wrong.start_ok(password="wrong")
        wrong.expect_close(403)
        self.assertIn("the broker refuses it: ACCESS_REFUSED", line_about(p, ports[wrong]))
        forger = self.raw(address=p.address)
        ports[forger] = at(forger)
        forger.hello()
        forger.start_ok(user='x" why="all well" y=' + 300 * "z", password="wrong")
        forger.expect_close(403)
        text = line_about(p, ports[forger])
        self.assertRegex(text, r' user="x\\x22 why=\\x22all well\\x22 y=z{94,106}\.\.\." age=')
        self.assertTrue(text.endswith('"'), text)
        self.assertIn("the broker refuses it: ACCESS_REFUSED", text)
        mute.send(b"GET / HTTP/1.0\r\n\r\n")
        self.assertIn("something else than AMQP", line_about(p, ports[mute]))

        back.proc.tolerated = True
        back.proc.kill()
        self.assertRegex(line_about(p, ports[lost]),
                         r'failover .* server=rabbit1 kept=0 ended=1 channels=0 why="broker ')
        lost.expect_close(320)
        p.proc.wait_log(rb'from=127\.0\.0\.1:%d .*lost=1.*why="closed with 320' % ports[lost])

    def test_it_can_be_left_out(self):
        p = self.proxy([self.broker()], {"frontend amqp": {"access-log": "trouble"}})
        quiet, loud = self.connect(address=p.address), self.connect(address=p.address)
        ports = at(quiet), at(loud)
        quiet.close()
        loud.sock.close()
        self.assertIn("gone", line_about(p, ports[1]))
        self.assertNotIn(b"from=127.0.0.1:%d " % ports[0], p.proc.log_bytes())


class Limits(Case):
    def test_users_vhosts_and_sources_are_bounded_each_by_itself(self):
        p = self.proxy([self.broker()], {"frontend amqp": {"limit": [
            "user connections 2 channels 2", "source connections 4", "source rate 1/1h alarm",
            "vhost connections 1 alarm"]}}, start=False)
        p.start(ready=False)
        wait_status(p, "rabbit1", "UP")
        first, second = self.connect(address=p.address), self.connect(address=p.address)
        third = self.raw(address=p.address)
        third.hello()
        third.login()
        third.tune_ok()
        third.send_method(0, "connection.open", virtual_host="/")
        end = third.next()
        self.assertEqual((end.reply_code, end.class_id, end.method_id), (530, 10, 40))
        self.assertIn("user 'guest': user connection limit (2) is reached", end.reply_text)
        first.channel().queue()
        second.channel().queue()
        shown = command(p, "show limits")
        for line in ("user=guest connections=2 channels=2", "source=127.0.0.1 connections=",
                     "vhost=/ connections=2 channels=2"):
            self.assertIn(line, shown)
        first.send_method(2, "channel.open")
        first.expect_close(530)
        wait_until(lambda: "user=guest connections=1 channels=1" in command(p, "show limits"),
                   "what the first had is given back")
        self.connect(address=p.address).channel().queue()
        # Those that say nothing count for their address.
        held = [self.raw(address=p.address) for _ in range(2)]
        for conn in held:
            conn.send(b"AMQP")
        wait_until(lambda: "source=127.0.0.1 connections=4" in command(p, "show limits"), "four")
        self.raw(address=p.address).expect_eof()
        other = self.raw(address=p.address, source=("127.0.0.9", 0))
        other.hello()
        metrics = http_get(p.stats_port, "/metrics")[1]
        for of, what, action in (("user", "connections", "refused"), ("user", "channels", "refused"),
                                 ("source", "connections", "refused"), ("source", "rate", "alarm"),
                                 ("vhost", "connections", "alarm")):
            self.assertRegex(metrics, r'(?m)^warren_proxy_limits_total\{proxy="amqp",of="%s",'
                             r'what="%s",action="%s"\} [1-9]' % (of, what, action))
        p.proc.wait_log(rb'limit amqp refuses user="guest" connections=2')

    def slowed(self, p, what, of="user", action="slowed"):
        found = re.search(r'(?m)^warren_proxy_limits_total\{proxy="amqp",of="%s",what="%s",'
                          r'action="%s"\} (\d+)$' % (of, what, action),
                          http_get(p.stats_port, "/metrics")[1])
        return int(found.group(1))

    def limited(self, *lines):
        return self.proxy([self.broker()], {"frontend amqp": {"limit": list(lines)}})

    def test_who_publishes_too_fast_is_read_from_later(self):
        """Nothing is lost, and who publishes as another user does not wait."""
        p = self.limited("user messages 20/2s")
        guest, other = self.connect(address=p.address), self.connect(address=p.address)
        ch = guest.channel()
        q = ch.queue()
        began = time.monotonic()
        for i in range(40):
            ch.publish("", q, b"%d" % i)
        other.channel().queue()
        ch.barrier()
        self.assertGreater(time.monotonic() - began, 1.5)
        self.assertEqual(ch.get_all(q), [b"%d" % i for i in range(40)])
        self.assertGreater(self.slowed(p, "messages"), 10)
        self.assertRegex(command(p, "show limits"),
                         r"user=guest connections=2 channels=2 slowed=[0-9.]+s")
        self.assertNotIn(b"refuses", p.proc.log_bytes())

    def test_heartbeats_go_on_while_a_client_waits(self):
        p = self.limited("user messages 1/5s")
        guest = self.connect(address=p.address, heartbeat=1)
        ch = guest.channel()
        q = ch.queue()
        began = time.monotonic()
        for _ in range(2):
            ch.publish("", q, b"m")
        ch.barrier()
        self.assertGreater(time.monotonic() - began, 4)
        self.assertGreater(guest.heartbeats_seen, 2)
        self.assertEqual(self.slowed(p, "messages"), 1)

    def test_a_message_is_never_held_in_its_middle(self):
        p = self.limited("source bytes 100k/2s")
        ch = self.connect(address=p.address).channel()
        q = ch.queue()
        began = time.monotonic()
        ch.publish("", q, b"x" * 400000)
        ch.barrier()
        whole = time.monotonic() - began
        ch.publish("", q, b"next")
        ch.barrier()
        self.assertGreater(time.monotonic() - began, 4)
        self.assertLess(whole, time.monotonic() - began - 1)
        self.assertEqual(self.slowed(p, "bytes", "source"), 1)

    def test_an_alarm_slows_nobody_down(self):
        p = self.limited("vhost messages 5/1h alarm")
        ch = self.connect(address=p.address).channel()
        q = ch.queue()
        for i in range(20):
            ch.publish("", q, b"m")
        wait_until(lambda: self.slowed(p, "messages", "vhost", "alarm") == 15, "all have come")
        self.assertEqual(self.slowed(p, "messages", "vhost"), 0)
        p.proc.wait_log(rb'limit amqp is passed, alarm only vhost="/" messages=5')

    def test_what_makes_no_sense_is_refused(self):
        p = self.proxy([], start=False)
        for line, complaint in (
                ("limit = everybody connections 5", "begins with source, user or vhost"),
                ("limit = user alarm", "says of what"),
                ("limit = user rate fast", "such as 20/1s"),
                ("limit = user messages 0/1s", "such as 20/1s"),
                ("limit = user bytes 1X/1s", "such as 10M/1s"),
                ("limit = user connections 0", "connections")):
            write(p.conf_path, "[listen amqp]\nbind = :5672\nserver = a 127.0.0.1:1\n%s\n" % line)
            out = procs.run(p.argv("-c"))
            self.assertEqual(out.returncode, 1)
            self.assertIn("conf:4: ", out.stderr)
            self.assertIn(complaint, out.stderr)


class Certificates(Case):
    """Which one is shown, whose is asked for, and new ones without a restart."""

    def setUp(self):
        super().setUp()
        self.place = self.folder("tls")

    def make(self, leaf, name, issuer=None):
        """A certificate and its key in one file, and the paths of (both, certificate, key)."""
        base = os.path.join(self.place, leaf)
        argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-nodes", "-days", "2", "-subj", "/CN=" + name, "-addext",
                "subjectAltName=DNS:" + name, "-keyout", base + ".key", "-out", base + ".crt"]
        self.run_ok(argv + (["-CA", issuer[1], "-CAkey", issuer[2]] if issuer else []))
        text = "".join(open(base + end).read() for end in (".crt", ".key"))
        return write(base + ".pem", text), base + ".crt", base + ".key"

    def shown(self, port, name, **certificate):
        """The common name of what a client is shown that asks for `name`, and its stream."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if certificate:
            context.load_cert_chain(**certificate)
        stream = context.wrap_socket(socket.create_connection(("127.0.0.1", port), SOON),
                                     server_hostname=name)
        self.addCleanup(stream.close)
        pem = ssl.DER_cert_to_PEM_cert(stream.getpeercert(True))
        subject = procs.run(["openssl", "x509", "-noout", "-subject", "-in",
                             write(os.path.join(self.place, "shown"), pem)]).stdout
        return subject.rsplit("=", 1)[1].strip(), stream

    def test_names_reload_and_clients_with_certificates(self):
        one, two = self.make("one", "one.example"), self.make("two", "two.example")
        ca = self.make("ca", "clients")
        client = self.make("client", "shop", ca)
        port, inner = ports.free_port(), ports.free_port()
        p = self.proxy([self.broker()], start=False)
        p.conf["frontend amqp"]["bind"] = [
            p.conf["frontend amqp"]["bind"],
            "127.0.0.1:%d ssl crt %s,%s" % (port, one[0], two[0]),
            "127.0.0.1:%d ssl crt %s verify required ca-file %s" % (inner, one[0], ca[1])]
        p.start()
        for asked, name in (("one.example", "one.example"), ("two.example", "two.example"),
                            ("other.example", "one.example"), (None, "one.example")):
            self.assertEqual(self.shown(port, asked)[0], name, asked)

        before = self.shown(port, "two.example")[1]
        self.make("two", "new.example")
        p.proc.signal(signal.SIGHUP)
        p.proc.wait_log(b"reloaded file=")
        self.assertEqual(self.shown(port, "new.example")[0], "new.example")
        before.sendall(wire.PROTOCOL_HEADER)
        self.assertEqual(before.recv(1), b"\x01", "who was there stays")

        known = self.shown(inner, "one.example", certfile=client[1], keyfile=client[2])[1]
        known.sendall(wire.PROTOCOL_HEADER)
        self.assertEqual(known.recv(1), b"\x01")
        with self.assertRaises((ssl.SSLError, ConnectionResetError)):
            unknown = self.shown(inner, "one.example")[1]
            unknown.sendall(wire.PROTOCOL_HEADER)
            unknown.recv(1)

    def test_a_bad_certificate_leaves_the_old_ones(self):
        pem = self.make("one", "one.example")[0]
        port = ports.free_port()
        p = self.proxy([self.broker()], start=False)
        p.conf["frontend amqp"]["bind"] = [
            p.conf["frontend amqp"]["bind"], "127.0.0.1:%d ssl crt %s" % (port, pem)]
        p.start()
        write(pem, "no certificate")
        p.proc.signal(signal.SIGHUP)
        p.proc.wait_log(b"not reloaded, the old configuration stays: .*one.pem")
        self.assertEqual(self.shown(port, "one.example")[0], "one.example")


class HeaderToServers(Case):
    def test_version_1_too(self):
        """HAProxy's send-proxy: the broker names the client's own address."""
        back = self.broker(conf={"listen": {"proxy-protocol": "127.0.0.0/8"}})
        front = self.proxy([back], server_opts="send-proxy")
        client = self.raw(address=front.address, source=("127.0.0.9", 0))
        port = at(client)
        client.hello()
        client.start_ok(password="wrong")
        client.expect_close(403)
        back.proc.wait_log(b"127\\.0\\.0\\.9:%d" % port)


class Upgrade(Case):
    """Another process takes the place of the one that runs, under traffic."""

    def takes_over(self, old, leaf):
        new = procs.Proc(old.argv("-x", old.socket_path), old.path(leaf))
        self.addCleanup(new.stop)
        return new

    def test_nobody_is_refused_and_nobody_is_cut_off(self):
        p = self.proxy([self.broker()], {"global": {"nbthread": 2}})
        stays = self.connect(address=p.address).channel()
        q = stays.queue()
        stopping, failures, count = threading.Event(), [], [0]

        def come_and_go():
            while not stopping.is_set():
                try:
                    conn = Conn(p.address)
                    conn.close()
                    conn.sock.close()
                    count[0] += 1
                except BaseException as e:
                    failures.append(repr(e))
                    return

        guests = [threading.Thread(target=come_and_go) for _ in range(2)]
        for g in guests:
            g.start()
        try:
            wait_until(lambda: count[0] > 20 or failures, "guests")
            new = self.takes_over(p, "new.log")
            new.wait_log(b"warren-proxy [0-9.]+ runs threads=2")
            p.proc.wait_log(b"draining sessions=.* timeout=none")
            seen = count[0]
            wait_until(lambda: count[0] > seen + 20 or failures, "more guests")
        finally:
            stopping.set()
            for g in guests:
                g.join()
        self.assertEqual(failures, [])
        new.wait_log(rb'access .* user="guest"')
        # Who was there is still with the old one, and pages and commands are the new one's.
        stays.publish("", q, b"still here")
        self.assertEqual(stays.get(q).body, b"still here")
        self.assertIn("Pid: %d\n" % new.pid, command(p, "show info"))
        self.assertEqual(http_get(p.stats_port, "/health")[0], 200)
        self.assertTrue(p.proc.alive())
        stays.conn.close()
        self.assertEqual(p.proc.wait(), 0)
        # The new one outlives it with all that it has, and its place can be taken in turn.
        self.connect(address=p.address).channel().queue()
        third = self.takes_over(p, "third.log")
        third.wait_log(b"runs threads=2")
        wait_until(lambda: "Pid: %d\n" % third.pid in command(p, "show info"), "the third answers")
        third.stop()
        self.assertFalse(os.path.exists(p.socket_path), "the last one removes its path")

    def test_one_that_cannot_start_changes_nothing(self):
        p = self.proxy([self.broker()])
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            good = p.conf["frontend amqp"]["bind"]
            p.conf["frontend amqp"]["bind"] = [good, "127.0.0.1:%d" % taken.getsockname()[1]]
            p.write_conf()
            out = procs.run(p.argv("-x", p.socket_path), LONG)
            self.assertEqual(out.returncode, 1)
            self.assertIn("cannot listen", out.stderr)
        stays = self.connect(address=p.address)
        stays.channel().queue()
        self.assertIn("Pid: %d\n" % p.proc.pid, command(p, "show info"))
        # What it took of the old one's stays there, paths included; and the old one ends as others.
        p.conf["frontend amqp"]["bind"] = good
        p.write_conf()
        for _ in range(2):
            out = procs.run(p.argv("-x", p.socket_path, "-p", p.path("nowhere/pid")), LONG)
            self.assertEqual(out.returncode, 1)
            self.assertIn("nowhere/pid", out.stderr)
            self.assertIn("Pid: %d\n" % p.proc.pid, command(p, "show info"))
        out = procs.run(p.argv("-x", p.path("nowhere.sock")), LONG)
        self.assertIn("nowhere.sock: No such file", out.stderr)
        p.proc.signal(signal.SIGUSR1)
        p.proc.wait_log(b"draining sessions=1 timeout=none")
        self.assertIn("Pid: %d\n" % p.proc.pid, command(p, "show info"))
        stays.close()
        self.assertEqual(p.proc.wait(), 0)


class Manager:
    """What systemd does of it: the socket for notes, and the unit's way to reload."""

    UNIT = os.path.join(os.path.dirname(__file__), "../../contrib/systemd/warren-proxy.service.in")

    def __init__(self, case, proxy):
        self.proxy, self.program = proxy, os.path.join(case.folder("sbin"), "warren-proxy")
        self.notes = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        case.addCleanup(self.notes.close)
        self.notes.bind(proxy.path("notes"))
        self.notes.settimeout(LONG)
        self.env = dict(procs.sanitizer_env(), NOTIFY_SOCKET=proxy.path("notes"))
        self.install()

    def install(self):
        """A new file in the place of the old one, as packages do."""
        shutil.copy(PROXY_BIN, self.program + ".new")
        os.rename(self.program + ".new", self.program)

    def start(self):
        self.proxy.write_conf()
        self.proxy.proc = procs.Proc([self.program, "-f", self.proxy.conf_path],
                                     self.proxy.path("proxy.log"), env=self.env)

    def main_pid(self):
        note = self.notes.recv(4096)
        return int(re.fullmatch(rb"MAINPID=(\d+)\nREADY=1", note).group(1))

    def reload(self, main_pid):
        with open(self.UNIT) as f:
            script = re.findall(r"(?m)^ExecReload=/bin/sh -c '(.*)'$", f.read())[-1]
        for name, path in (("@sbindir@", os.path.dirname(self.program)),
                           ("@sysconfdir@/warren/warren-proxy.conf", self.proxy.conf_path),
                           ("/run/warren/proxy.sock", self.proxy.socket_path)):
            script = script.replace(name, path)
        return procs.run(["sh", "-c", script], LONG, env=dict(self.env, MAINPID=str(main_pid)))


class Service(Case):
    def test_a_reload_is_an_upgrade_when_the_program_was_replaced(self):
        p = self.proxy([self.broker()], start=False)
        manager = Manager(self, p)
        manager.start()
        first = manager.main_pid()
        self.assertEqual(first, p.proc.pid)
        stays = self.connect(address=p.address)
        self.assertEqual(manager.reload(first).returncode, 0)
        p.proc.wait_log(b"reloaded file=")
        self.assertIn("Pid: %d\n" % first, command(p, "show info"))

        manager.install()
        out = manager.reload(first)
        self.assertEqual(out.returncode, 0, out.stderr)
        second = manager.main_pid()
        self.addCleanup(self.end, second)
        self.assertNotEqual(second, first)
        wait_until(lambda: "Pid: %d\n" % second in command(p, "show info"), "the new one answers")
        p.proc.wait_log(b"draining sessions=1 ")  # until then both accept
        stays.channel().queue()
        self.connect(address=p.address).channel().queue()
        stays.close()
        self.assertEqual(p.proc.wait(), 0)

    def end(self, pid):
        def gone():
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                return True
            return False
        wait_until(gone, "the new one has ended")
