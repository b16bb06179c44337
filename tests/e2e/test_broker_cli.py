"""warren-broker as a program: its options, its complaints, its signals."""

import os
import re
import signal

from harness import ports, procs
from harness.case import Case
from harness.servers import BROKER_BIN, answers, ini, write
from harness.waits import LONG, wait_until

TARGETS = ("broker",)
EX_CONFIG = 78


class CommandLine(Case):
    def run_broker(self, *args, **kw):
        return procs.run([BROKER_BIN, *args], **kw)

    def test_version(self):
        out = self.run_broker("--version")
        self.assertEqual(out.returncode, 0)
        self.assertRegex(out.stdout, r"warren-broker \d+\.\d+")

    def test_unknown_option(self):
        out = self.run_broker("--no-such-option")
        self.assertIn(out.returncode, (64, EX_CONFIG))
        self.assertTrue(out.stderr)


class Configuration(Case):
    def check(self, text, env=None):
        path = write(os.path.join(self.folder("conf"), "broker.conf"), text)
        return path, procs.run([BROKER_BIN, "-c", path, "--data-dir", self.folder("data"),
                                "--check-config"], env=dict(os.environ, **(env or {})))

    def test_good_files(self):
        for text in ("", "[node]\nthreads = 2\n", "; a comment\n[limits]\nheartbeat = 30s\n"):
            with self.subTest(text=text):
                _, out = self.check(text)
                self.assertEqual(out.returncode, 0, out.stderr)

    def test_complaints_name_file_and_line_and_end_with_78(self):
        for text, line in (("[node]\ncolour = red\n", 2), ("[nosuch]\nkey = 1\n", 1),
                           ("[node]\n\nthreads = many\n", 3), ("[limits]\nframe-max = 12\n", 2),
                           ("[limits]\nheartbeat = soon\n", 2), ("threads = 1\n", 1),
                           ("[node]\nthreads = 1\nthreads = 2\n", 3),
                           ("[listen]\namqp = 127.0.0.1:99999\n", 2), ("[node]\nthreads 3\n", 2)):
            with self.subTest(text=text):
                path, out = self.check(text)
                self.assertEqual(out.returncode, EX_CONFIG, out.stderr)
                self.assertRegex(out.stderr, r"%s:%d: " % (re.escape(path), line))

    def test_an_unreadable_file(self):
        out = procs.run([BROKER_BIN, "-c", "/no/such/file.conf", "--check-config"])
        self.assertEqual(out.returncode, EX_CONFIG)
        self.assertIn("/no/such/file.conf", out.stderr)

    def test_the_environment_counts_too(self):
        _, out = self.check("", {"WARREN_NODE_THREADS": "2"})
        self.assertEqual(out.returncode, 0, out.stderr)
        _, out = self.check("", {"WARREN_NODE_THREADS": "many"})
        self.assertEqual(out.returncode, EX_CONFIG)
        self.assertIn("WARREN_NODE_THREADS", out.stderr)

    def test_nothing_starts_with_a_bad_file(self):
        b = self.broker(start=False)
        b.conf["node"]["colour"] = "red"
        b.start(ready=False)
        b.proc.tolerated = True
        self.assertEqual(b.proc.wait(), EX_CONFIG)

    def test_a_port_from_the_environment(self):
        """RABBITMQ_NODE_PORT and RABBITMQ_NODE_IP_ADDRESS, as in the tutorials."""
        port = ports.free_port(also=(10000, 20000))  # management and cluster
        b = self.broker(start=False)
        b.conf["listen"] = {}
        write(b.conf_path, ini(b.conf))
        os.makedirs(b.path("run"), exist_ok=True)
        env = dict(b.env(), RABBITMQ_NODE_PORT=str(port), RABBITMQ_NODE_IP_ADDRESS="127.0.0.1")
        proc = procs.Proc(b.argv(), b.path("broker.log"), env=env, wrap=True)
        self.addCleanup(lambda: proc.alive() and proc.kill())
        wait_until(lambda: answers(("127.0.0.1", port)), "broker at port %d" % port)
        self.assertEqual(proc.stop(), 0)


class Signals(Case):
    def test_term_and_int_end_with_0(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number):
                b = self.broker()
                b.proc.signal(number)
                self.assertEqual(b.proc.wait(), 0)

    def test_term_in_its_first_moments_is_an_orderly_stop(self):
        """Before it can attend to it, it keeps it in mind."""
        b = self.broker("early", start=False)
        pid_file = os.path.join(b.path("data"), "early@localhost", "warren-broker.pid")
        for _ in range(5):
            b.start(ready=False)
            wait_until(lambda: os.path.exists(pid_file), "its pid file", interval=0.0005)
            b.proc.signal(signal.SIGTERM)
            self.assertEqual(b.proc.wait(LONG), 0, b.proc.log_tail())
        b.start()
        self.assertEqual(b.stop(), 0)

    def test_hup_reloads_and_keeps_connections(self):
        b = self.broker(conf={"limits": {"heartbeat": "60s"}})
        conn = self.connect(address=b.address)
        q = conn.channel().queue()
        b.conf["limits"]["heartbeat"] = "7s"
        write(b.conf_path, ini(b.conf))
        b.proc.signal(signal.SIGHUP)

        def offered():
            new = self.raw(address=b.address)
            new.hello()
            return new.login().heartbeat
        wait_until(lambda: offered() == 7, "the new value offered")
        self.assertIsNone(conn.channel().get(q))

    def test_hup_with_a_bad_file_keeps_the_old_values(self):
        b = self.broker()
        write(b.conf_path, "[node]\ncolour = red\n")
        b.proc.signal(signal.SIGHUP)
        b.proc.wait_log(rb"warren-broker\.conf:2")
        self.connect(address=b.address).channel().queue()

    def test_a_pipe_that_is_gone_does_not_end_it(self):
        b = self.broker()
        b.proc.signal(signal.SIGPIPE)
        self.connect(address=b.address).channel().queue()


class Detached(Case):
    def detach(self, option, target="file"):
        b = self.broker(start=False)
        b.conf["log"] = {"target": target, "file": b.path("own.log"), "level": "info"}
        write(b.conf_path, ini(b.conf))
        os.makedirs(b.path("run"), exist_ok=True)
        out = procs.run(b.argv(option), env=b.env())
        self.assertEqual(out.returncode, 0, out.stderr)
        return b

    def pid_of(self, port):
        """The process that listens at a port, by its socket's inode."""
        with open("/proc/net/tcp") as f:
            inodes = [l.split()[9] for l in f if l.split()[1].endswith(":%04X" % port)
                      and l.split()[3] == "0A"]
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                for fd in os.listdir("/proc/%s/fd" % pid):
                    if os.readlink("/proc/%s/fd/%s" % (pid, fd)) == "socket:[%s]" % inodes[0]:
                        return int(pid)
            except (OSError, IndexError):
                continue
        return None

    def test_it_serves_when_the_command_returns(self):
        for option, target in (("--detached", "file"), ("-detached", "stderr")):
            with self.subTest(option):
                b = self.detach(option, target)
                pid = wait_until(lambda: self.pid_of(b.port), "a listener")
                try:
                    wait_until(lambda: answers(b.address), "service")
                    self.assertNotEqual(os.getsid(pid), os.getsid(0))
                    with open(b.path("own.log"), encoding="utf-8") as f:  # nobody has its stderr
                        self.assertIn("started version=", f.read())
                finally:
                    os.kill(pid, signal.SIGTERM)
                wait_until(lambda: not os.path.exists("/proc/%d" % pid) or
                           "Z" in open("/proc/%d/stat" % pid).read().split()[2], "its end")


class OneHost(Case):
    def test_a_taken_port_is_named_with_its_key(self):
        first = self.site.broker
        second = self.broker("rabbit2", {"listen": {"amqp": "127.0.0.1:%d" % first.port}},
                             start=False)
        second.start(ready=False)
        second.proc.tolerated = True
        self.assertNotEqual(second.proc.wait(), 0)
        log = second.proc.log_bytes().decode()
        self.assertIn(str(first.port), log)
        self.assertIn("amqp", log)

    def test_two_nodes_side_by_side(self):
        other = self.broker("rabbit2")
        for address in (self.site.address, other.address):
            self.connect(address=address).channel().queue()
