"""What a proxy must do that a broker need not: two servers, checks, figures, refusals."""

import os
import resource
import signal

import wire
from harness.case import Case
from harness.client import Eof
from harness.proxy_view import command, http_get, stats, table, wait_status
from harness.servers import PROXY_BIN, is_instrumented
from harness.waits import LONG, Deadline, wait_until

TARGETS = ("proxy",)


class Honest(Case):
    """A client cannot tell the proxy's words from the broker's."""

    def ending(self, address, **login):
        conn = self.raw(address=address)
        conn.hello()
        conn.start_ok(**login)
        event = conn.next()
        return event.name, event.args

    def test_refusals_are_the_brokers_own(self):
        for login in (dict(password="wrong"), dict(user="nobody"),
                      dict(password="wrong", mechanism="AMQPLAIN")):
            with self.subTest(**login):
                through, direct = (self.ending(a, **login)
                                   for a in (self.site.proxy.address, self.site.broker.address))
                self.assertEqual(through, direct)

    def test_what_start_and_tune_say(self):
        through, direct = (self.raw(address=a)
                           for a in (self.site.proxy.address, self.site.broker.address))
        a, b = through.hello(), direct.hello()
        self.assertEqual(sorted(a.mechanisms.split()), sorted(b.mechanisms.split()))
        for capability in b.server_properties["capabilities"]:
            self.assertIn(capability, a.server_properties["capabilities"])
        self.assertEqual(through.login().args, direct.login().args)


class TwoServers(Case):
    def setUp(self):
        super().setUp()
        self.brokers = [self.broker("rabbit1"), self.broker("rabbit2")]
        self.front = self.proxy(self.brokers, {"defaults": {"timeout-failover": "1s",
                                                      "timeout-check": "300ms"}})
        for b in self.brokers:
            wait_status(self.front, b.name, "UP")

    def home_of(self, queue):
        """The broker that has this queue, asked directly."""
        found = []
        for b in self.brokers:
            if not b.proc.alive():
                continue
            ch = self.channel(address=b.address)
            ch.send("queue.declare", queue=queue, passive=True)
            event = ch.next()
            if event.name == "queue.declare_ok" or event.reply_code == 405:
                found.append(b)
            ch.conn.close()
        self.assertEqual(len(found), 1)
        return found[0]

    def settled(self, n):
        """n connections, each with a queue of its own: (connection, channel, queue, broker)."""
        out = []
        for _ in range(n):
            conn = self.connect(address=self.front.address)
            ch = conn.channel()
            q = ch.queue()
            out.append((conn, ch, q, self.home_of(q)))
        return out

    def use(self, ch, q):
        ch.publish("", q, b"alive")
        self.assertEqual(ch.get(q).body, b"alive")

    def test_both_get_their_share(self):
        homes = [home.name for _, _, _, home in self.settled(8)]
        self.assertEqual(homes.count("rabbit1"), 4, homes)

    def test_a_killed_server_takes_along_only_what_lived_on_it(self):
        clients = self.settled(6)
        victim = self.brokers[0]
        victim.proc.kill()
        for conn, ch, q, home in clients:
            if home is victim:
                event = conn.next()
                self.assertIn(event.name, ("connection.close", "channel.close"))
                self.assertEqual(event.reply_code, 320)
                self.assertRegex(event.reply_text, r"^CONNECTION_FORCED - .*rabbit1")
            else:
                self.use(ch, q)
        wait_status(self.front, "rabbit1", "DOWN")
        for conn, ch, q, home in self.settled(4):  # newcomers find the other one
            self.assertEqual(home.name, "rabbit2")

    def test_a_client_with_channels_on_both_keeps_half_of_them(self):
        conn = self.connect(address=self.front.address)
        channels = [conn.channel() for _ in range(4)]
        queues = [ch.queue() for ch in channels]
        homes = [(ch, q, self.home_of(q)) for ch, q in zip(channels, queues)]
        victim = self.brokers[0]
        lost = [ch for ch, _, home in homes if home is victim]
        self.assertEqual(len(lost), 2)
        victim.proc.kill()
        for ch in lost:
            event = ch.next()
            self.assertEqual((event.name, event.reply_code), ("channel.close", 320))
            self.assertIn("rabbit1", event.reply_text)
        for ch, q, home in homes:
            if home is not victim:
                self.use(ch, q)
        wait_status(self.front, "rabbit1", "DOWN")
        for ch in lost:  # its number can be used again, and goes to the survivor
            ch.call("channel.open")
            self.use(ch, ch.queue())

    def test_a_stopped_server_says_goodbye_itself(self):
        clients = self.settled(4)
        self.assertEqual(self.brokers[1].stop(), 0)
        for conn, ch, q, home in clients:
            if home.name == "rabbit2":
                self.assertEqual(conn.next().reply_code, 320)
            else:
                self.use(ch, q)

    def test_down_and_up_again(self):
        self.brokers[0].proc.kill()
        wait_status(self.front, "rabbit1", "DOWN")
        self.assertEqual(http_get(self.front.stats_port, "/health")[0], 200)
        self.brokers[0].restart()
        wait_status(self.front, "rabbit1", "UP")
        homes = {home.name for _, _, _, home in self.settled(4)}
        self.assertEqual(homes, {"rabbit1", "rabbit2"})

    def test_nobody_left(self):
        for b in self.brokers:
            b.proc.kill()
        for b in self.brokers:
            wait_status(self.front, b.name, "DOWN")
        self.assertEqual(http_get(self.front.stats_port, "/health")[0], 503)
        # It waits for a server for a while, but it never pretends that there is one.
        conn = self.raw(address=self.front.address)
        conn.hello()
        conn.start_ok()
        event = conn.next()
        self.assertEqual((event.name, event.reply_code), ("connection.close", 320))
        self.assertIn("no server", event.reply_text)
        self.brokers[0].restart()
        wait_status(self.front, "rabbit1", "UP")
        self.connect(address=self.front.address).channel().queue()

    def test_accepting_alone_is_not_health(self):
        """A server that is stopped still accepts connections in the kernel."""
        self.brokers[0].proc.signal(signal.SIGSTOP)
        try:
            wait_status(self.front, "rabbit1", "DOWN")
            for _ in range(4):
                self.connect(address=self.front.address).channel().queue()
        finally:
            os.kill(self.brokers[0].proc.pid, signal.SIGCONT)
        wait_status(self.front, "rabbit1", "UP")

    def test_set_server_state(self):
        for word in ("drain", "maint"):
            with self.subTest(word):
                command(self.front, "set server rabbits/rabbit1 state %s" % word)
                homes = {home.name for _, _, _, home in self.settled(3)}
                self.assertEqual(homes, {"rabbit2"})
                command(self.front, "set server rabbits/rabbit1 state ready")
                wait_status(self.front, "rabbit1", "UP")
        homes = {home.name for _, _, _, home in self.settled(4)}
        self.assertEqual(homes, {"rabbit1", "rabbit2"})


class Views(Case):
    def test_table_and_page(self):
        p = self.site.proxy
        self.connect().channel().queue()
        rows = stats(p)
        self.assertEqual(rows[("amqp", "FRONTEND")]["status"], "OPEN")
        self.assertEqual(rows[("rabbits", "BACKEND")]["status"], "UP")
        self.assertTrue(rows[("rabbits", "rabbit1")]["status"].startswith("UP"))
        self.assertGreaterEqual(int(rows[("amqp", "FRONTEND")]["stot"]), 1)
        self.assertGreater(int(rows[("amqp", "FRONTEND")]["bin"]), 0)
        status, page = http_get(p.stats_port, "/stats")
        self.assertEqual(status, 200)
        for word in ("<html", "rabbit1", "amqp"):
            self.assertIn(word, page)
        self.assertEqual(http_get(p.stats_port, "/nosuch")[0], 404)

    def test_sessions_are_counted_up_and_down(self):
        p = self.site.proxy
        now = lambda: int(stats(p)[("amqp", "FRONTEND")]["scur"])
        wait_until(lambda: now() == 0, "those of earlier tests gone")
        conns = [self.connect() for _ in range(5)]
        for conn in conns:
            conn.channel()
        self.assertEqual(now(), 5)
        for conn in conns:
            conn.close()
        wait_until(lambda: now() == 0, "all gone")

    def test_metrics_and_health(self):
        p = self.site.proxy
        status, text = http_get(p.stats_port, "/metrics")
        self.assertEqual(status, 200)
        for name in ("haproxy_frontend_current_sessions", "haproxy_server_status",
                     "haproxy_backend_current_sessions"):
            self.assertIn(name, text)
        self.assertEqual(http_get(p.stats_port, "/health")[0], 200)

    def test_runtime_socket(self):
        p = self.site.proxy
        rows = table(command(p, "show stat"))
        self.assertTrue(rows[("rabbits", "rabbit1")]["status"].startswith("UP"))
        info = command(p, "show info")
        for name in ("Name", "Version", "Release_date", "Nbproc", "Process_num", "Pid", "Uptime",
                     "Maxconn", "CurrConns", "Maxpipes", "PipesUsed", "Tasks", "Run_queue", "node"):
            self.assertRegex(info, r"(?m)^%s: \S" % name)  # hatop wants them all
        self.assertIn("rabbit1", command(p, "show servers state"))
        self.assertIn("show stat", command(p, "help"))
        self.assertTrue(command(p, "no such command"))
        self.assertEqual(os.stat(p.socket_path).st_mode & 0o777, 0o600)

    def test_shutdown_session(self):
        conn = self.connect()
        conn.channel()
        sessions = command(self.site.proxy, "show sess")
        ours = [line for line in sessions.splitlines()
                if "127.0.0.1:%d" % conn.sock.getsockname()[1] in line]
        self.assertEqual(len(ours), 1, sessions)
        command(self.site.proxy, "shutdown session " + ours[0].split(":")[0])
        try:
            self.assertEqual(conn.next().name, "connection.close")
        except Eof:
            pass


class ClientAddress(Case):
    CONF = {"listen": {"proxy-protocol": "127.0.0.0/8"}}

    def test_it_travels_to_the_broker(self):
        """The broker names the client, not the proxy, when it refuses its login."""
        broker = self.broker("rabbit1", self.CONF)
        front = self.proxy([broker], server_opts="send-proxy-v2")
        client = self.raw(address=front.address, source=("127.0.0.9", 0))
        client.hello()
        client.start_ok(password="wrong")
        client.expect_close(403)
        broker.proc.wait_log(b"127\\.0\\.0\\.9:%d" % client.sock.getsockname()[1])

    def test_without_the_header_the_server_is_down(self):
        broker = self.broker("rabbit1", self.CONF)
        front = self.proxy([broker], start=False)
        front.start(ready=False)
        wait_status(front, "rabbit1", "DOWN")


class Weights(Case):
    def test_a_hundred_megabytes_pass_through_without_being_kept(self):
        proxy, n = self.site.proxy, 100 << 20
        self.transfer(1 << 20)  # whatever a first message costs
        baseline, most = proxy.proc.rss_kb(), 0
        publisher, taker = self.connect(), self.connect()
        ch, q = taker.channel(), self.name()
        ch.declare(q, auto_delete=True)
        ch.consume(q, no_ack=True)
        publisher.channel(1)
        publisher.send(wire.method_frame(1, "basic.publish", routing_key=q) +
                       wire.header_frame(1, n))
        step = publisher.frame_max - wire.FRAME_OVERHEAD
        frame = wire.put_frame(3, 1, b"w" * step)
        for i in range(n // step):
            publisher.send(frame)
            if i % 32 == 0:
                most = max(most, proxy.proc.rss_kb())
        if n % step:
            publisher.send(wire.put_frame(3, 1, b"w" * (n % step)))
        got, deadline = 0, Deadline(LONG)
        while got < n:
            frame = taker.read_frame(deadline.left())
            got += len(frame.payload) if frame.type == wire.FRAME_BODY else 0
            if not got % 32:
                most = max(most, proxy.proc.rss_kb())
        if not is_instrumented():
            self.assertLess(most - baseline, 4096, "kB more than before")

    def transfer(self, n):
        ch = self.channel()
        q = ch.queue()
        ch.publish("", q, b"x" * n)
        self.assertEqual(len(ch.get(q).body), n)
        ch.conn.close()

    def test_maxconn_is_lowered_to_what_files_allow(self):
        """Said with both numbers, and the proxy serves."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        p = self.proxy([self.site.broker], {"global": {"maxconn": hard * 10}})
        self.connect(address=p.address).channel().queue()
        self.assertIn(str(hard * 10), p.proc.log_bytes().decode())


class CommandLine(Case):
    def checked(self, text):
        from harness import procs
        from harness.servers import write
        path = write(os.path.join(self.folder("conf"), "proxy.conf"), text)
        return path, procs.run([PROXY_BIN, "-f", path, "-c"])

    GOOD = ("[frontend amqp]\nbind = 127.0.0.1:5672\ndefault_backend = b\n\n"
            "[backend b]\nserver = one 127.0.0.1:5673 check\n")

    def test_check_a_good_file(self):
        _, out = self.checked(self.GOOD)
        self.assertEqual((out.returncode, out.stderr), (0, ""))

    def test_check_bad_files(self):
        for bad, line in ((self.GOOD + "colour = red\n", 7), (self.GOOD + "[nosuch]\n", 7),
                          (self.GOOD.replace("check", "chekc"), 6),
                          (self.GOOD.replace("5672", "70000"), 2),
                          (self.GOOD.replace("default_backend = b", "default_backend = c"), None),
                          (self.GOOD + "server one 127.0.0.1:5674 check\n", 7)):
            with self.subTest(bad=bad):
                path, out = self.checked(bad)
                self.assertNotEqual(out.returncode, 0)
                self.assertRegex(out.stderr, "%s:%s" % (path, line or r"\d+"))

    def test_version(self):
        self.assertIn("warren-proxy", self.run_ok([PROXY_BIN, "-V"]))

    def test_a_port_that_is_taken(self):
        p = self.proxy([self.site.broker], {"frontend amqp": {
            "bind": "127.0.0.1:%d" % self.site.proxy.port}}, start=False)
        p.start(ready=False)
        p.proc.tolerated = True
        self.assertNotEqual(p.proc.wait(), 0)
        self.assertIn(str(self.site.proxy.port), p.proc.log_bytes().decode())
