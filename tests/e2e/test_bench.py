"""warren-bench: every mode against a server that works, and its counts against one that does not."""

import json
import os
import re
import socket
import threading

from harness import ports, procs
from harness.case import Case, only
from harness.servers import BUILD, ROOT, Server
from harness.waits import LONG, wait_until

THREADS = True

BENCH = os.path.join(BUILD, "contrib", "bench", "warren-bench")
FAKE = os.path.join(BUILD, "contrib", "bench", "fake-broker")


class Fake(Server):
    """The broker that stores nothing, and misbehaves as the faults say: "lose=100"."""

    def __init__(self, folder, faults=()):
        super().__init__(folder, "fake")
        self.faults = list(faults)

    def start(self):
        self.proc = procs.Proc([FAKE, str(self.port)] + self.faults, self.path("log"))
        self.wait_ready()
        return self

    def stop(self):
        return self.proc.stop()


class Cutter:
    """A relay to an address that can cut all connections through it."""

    def __init__(self, to):
        self.to = to
        self.pairs = []
        self.octets = 0  # that went through
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.to)
            self.pairs.append((client, server))
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self.pump, args=pair, daemon=True).start()

    def pump(self, source, sink):
        try:
            while True:
                octets = source.recv(65536)
                if not octets:
                    break
                sink.sendall(octets)
                self.octets += len(octets)
        except OSError:
            pass
        for sock in (source, sink):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        pairs, self.pairs = self.pairs, []
        for pair in pairs:
            for sock in pair:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self):
        self.listener.close()
        self.cut()


class Base(Case):
    def bench(self, *args, address=None, status=0):
        """A run's JSON, checked for its exit status."""
        host, port = address or self.site.address
        argv = [BENCH, *args, "--host", "%s:%d" % (host, port), "--json", "--interval", "0"]
        done = procs.run(argv, LONG)
        self.assertEqual(done.returncode, status, "%s\n%s%s" % (argv, done.stdout, done.stderr))
        return json.loads(done.stdout)

    def expect_exact(self, result, published, copies=1):
        total = result["total"]
        self.assertTrue(total["exact"])
        self.assertEqual(total["published"], published)
        self.assertEqual(total["received"], published * copies)
        for what in ("lost", "duplicated", "reordered", "misrouted", "foreign", "corrupt", "nacked",
                     "unconfirmed", "left"):
            self.assertEqual(total[what], 0, what)


class Runs(Base):
    def test_at_full_speed(self):
        self.expect_exact(self.bench("--messages", "50000"), 50000)

    def test_with_confirms_and_acks(self):
        for ack in ("each", "7"):
            result = self.bench("--messages", "3000", "--confirm", "50", "--ack", ack,
                                "--prefetch", "20", "--persistent", "--size", "16,300")
            self.expect_exact(result, 3000)
            self.assertEqual(result["total"]["confirmed"], 3000)
            self.assertEqual(result["confirm"]["count"], 3000)

    def test_many_of_everything(self):
        result = self.bench("--messages", "2000", "--publishers", "5", "--consumers", "6",
                            "--queues", "3", "--threads", "4", "--spread", "--confirm", "20",
                            "--ack", "3", "--prefetch", "10")
        self.expect_exact(result, 10000)

    def test_every_exchange_type(self):
        for kind, copies in (("direct", 2), ("fanout", 3), ("topic", 2), ("headers", 2)):
            with self.subTest(kind):
                fan = [] if kind == "fanout" else ["--fan-out", "2"]
                result = self.bench("--messages", "1000", "--publishers", "2", "--consumers", "3",
                                    "--queues", "3", "--exchange", kind, "--bindings", "4",
                                    "--spread", *fan)
                self.expect_exact(result, 2000, copies)

    def test_large_bodies(self):
        self.expect_exact(self.bench("--messages", "3", "--size", "10M", "--verify",
                                     "--confirm", "2"), 3)

    def test_a_rate_is_kept(self):
        result = self.bench("--rate", "1000", "--duration", "2s", "--warm-up", "500ms",
                            "--size", "100")
        self.expect_exact(result, result["total"]["published"])
        self.assertAlmostEqual(result["published_per_s"], 1000, delta=100)
        self.assertIn("latency_from_due", result)
        # A message cannot have been due after it was sent.
        self.assertGreaterEqual(result["latency_from_due"]["max_ms"], result["latency"]["p50_ms"])

    def test_queues_without_consumers_must_hold_everything(self):
        result = self.bench("--messages", "5000", "--consumers", "0", "--queues", "2", "--spread")
        self.assertEqual(result["total"]["left"], 5000)
        self.assertEqual(result["total"]["lost"], 0)

    def test_only_some_queues_have_consumers(self):
        # Keys 0, 1, 0: two thirds of the messages have a consumer.
        result = self.bench("--messages", "3000", "--publishers", "3", "--queues", "2")
        self.assertEqual(result["total"]["received"], 6000)
        self.assertEqual(result["total"]["left"], 3000)
        self.assertEqual(result["total"]["lost"], 0)

    def test_idle_connections(self):
        result = self.bench("idle", "--connections", "100", "--channels", "2", "--duration",
                            "500ms", "--pid", str(os.getpid()))
        self.assertEqual(result["opened"], 100)
        self.assertEqual(result["lost"], 0)
        self.assertIn("server_bytes_per_connection", result)

    def test_churn(self):
        result = self.bench("churn", "--clients", "3", "--duration", "1s", "--warm-up", "100ms")
        self.assertGreater(result["cycles_per_s"], 1)
        self.assertEqual(result["left"], result["confirmed"])
        self.assertGreaterEqual(result["confirmed"], result["cycle"]["count"])

    def declare(self, *args):
        return self.bench("declare", "--clients", "3", "--queue-arg", "x-max-length=7", *args)

    def test_declare_for_a_time(self):
        """Afterwards nothing is left: the same names, with other arguments, are free."""
        for args in ((), ("--durable",), ("--auto-delete", "--window", "4")):
            result = self.declare("--duration", "500ms", "--warm-up", "100ms", "--queue-name",
                                  "timed", *args)
            self.assertGreater(result["declares_per_s"], 1)
            self.assertGreaterEqual(result["declared"], result["declare"]["count"])
            self.assertEqual(result["deleted"], result["declared"])

    def test_declare_a_number_of_queues(self):
        result = self.declare("--count", "50", "--keep", "--queue-name", "counted", "--window", "3")
        self.assertEqual((result["declared"], result["declare"]["count"]), (50, 50))
        self.assertEqual(result["deleted"], 0)
        channel = self.channel()
        for i in range(50):
            channel.declare("counted-%d" % i, passive=True)
            channel.call("queue.delete", queue="counted-%d" % i)

    def test_declare_and_delete_in_turn(self):
        result = self.declare("--count", "50", "--delete")
        self.assertEqual((result["declared"], result["deleted"]), (50, 50))
        self.assertEqual((result["declare"]["count"], result["delete"]["count"]), (50, 50))

    def test_a_declaration_that_is_refused(self):
        """The second run finds queues that are unlike its own."""
        host, port = self.site.address
        argv = [BENCH, "declare", "--host", "%s:%d" % (host, port), "--queue-name", "refused",
                "--count", "2", "--clients", "1"]
        self.run_ok(argv + ["--keep"], LONG)
        done = procs.run(argv + ["--durable"], LONG)
        self.assertEqual(done.returncode, 69, done.stderr)
        self.assertIn("406", done.stderr)

    def test_nobody_listens(self):
        argv = [BENCH, "--host", "127.0.0.1:%d" % ports.free_port()]
        done = procs.run(argv)
        self.assertEqual(done.returncode, 69)
        self.assertIn("127.0.0.1", done.stderr)

    def test_the_first_host_is_dead(self):
        host, port = self.site.address
        hosts = "127.0.0.1:%d,%s:%d" % (ports.free_port(), host, port)
        for order in ("first", "round-robin"):
            argv = [BENCH, "--host", hosts, "--hosts-order", order, "--messages", "100",
                    "--publishers", "2", "--consumers", "2", "--json"]
            result = json.loads(self.run_ok(argv, LONG))
            self.expect_exact(result, 200)

    def test_it_gives_up_in_the_end(self):
        argv = [BENCH, "--host", "127.0.0.1:%d" % ports.free_port(), "--reconnect", "--backoff-min",
                "10ms", "--backoff-max", "100ms", "--give-up", "500ms"]
        done = procs.run(argv, LONG)
        self.assertEqual(done.returncode, 69, done.stderr)

    def test_a_wrong_password(self):
        host, port = self.site.address
        done = procs.run([BENCH, "--host", "%s:%d" % (host, port), "--password", "wrong",
                          "--reconnect"])
        self.assertEqual(done.returncode, 69, "tried again and again: %s" % done.stderr)
        self.assertIn("403 ACCESS_REFUSED", done.stderr)


class Reconnecting(Base):
    def run_and_cut(self, *args, cuts=3):
        """A run through a relay that cuts all connections some times: its JSON."""
        cutter = Cutter(self.site.address)
        self.addCleanup(cutter.close)
        results = []
        runner = threading.Thread(target=lambda: results.append(self.bench(
            *args, "--reconnect", "--drain", "3s", address=("127.0.0.1", cutter.port))))
        runner.start()
        for _ in range(cuts):
            # So much that messages are under way again.
            enough = cutter.octets + 60000
            wait_until(lambda n=enough: cutter.octets > n or not runner.is_alive(),
                       "messages go through the relay", LONG)
            cutter.cut()
        runner.join()
        self.assertTrue(results, "the run failed")
        return results[0]["total"]

    def test_what_was_confirmed_is_never_lost(self):
        total = self.run_and_cut("--rate", "2000", "--duration", "4s", "--confirm", "100",
                                 "--ack", "each", "--prefetch", "50")
        self.assertGreaterEqual(total["reconnects"], 4)
        self.assertGreater(total["confirm_gap_ms"], 0)
        self.assertEqual(total["unconfirmed"], 0)
        for what in ("lost", "missing_unpromised", "duplicated", "reordered"):
            self.assertEqual(total[what], 0, what)

    def test_acknowledged_messages_stay_away(self):
        total = self.run_and_cut("verify", "--rate", "2000", "--duration", "4s")
        self.assertGreaterEqual(total["reconnects"], 4)
        for what in ("lost", "duplicated", "reordered", "acked_again", "corrupt"):
            self.assertEqual(total[what], 0, what)

    def test_without_confirms_nobody_promised_anything(self):
        total = self.run_and_cut("--rate", "2000", "--duration", "4s", "--ack", "each",
                                 "--prefetch", "50")
        self.assertGreaterEqual(total["reconnects"], 4)
        for what in ("lost", "duplicated", "reordered"):
            self.assertEqual(total[what], 0, what)
        self.assertEqual(total["published"], total["unique"] + total["missing_unpromised"])


@only("broker")
class Counting(Base):
    """Each fault of the fake broker must show with its exact number."""

    def faulty(self, *faults):
        return self.own(Fake(self.folder("fake"), faults)).start().address

    def run_on(self, address, *args, status=1):
        return self.bench("--messages", "10000", "--size", "64", "--verify", "--drain", "1s", *args,
                          address=address, status=status)["total"]

    def expect(self, total, **wanted):
        for what in ("lost", "duplicated", "reordered", "corrupt"):
            self.assertEqual(total[what], wanted.get(what, 0), what)

    def test_nothing_is_wrong_when_nothing_is(self):
        self.expect(self.run_on(self.faulty(), status=0))

    def test_lost(self):
        address = self.faulty("lose=100")
        self.expect(self.run_on(address), lost=100)
        self.expect(self.run_on(address, "--tolerate", "lost", status=0), lost=100)

    def test_lost_although_confirmed(self):
        self.expect(self.run_on(self.faulty("lose=1000"), "--confirm", "100"), lost=10)

    def test_duplicated(self):
        address = self.faulty("double=200")
        self.expect(self.run_on(address), duplicated=50)
        self.expect(self.run_on(address, "--tolerate", "duplicated", status=0), duplicated=50)

    def test_duplicated_between_threads(self):
        self.expect(self.run_on(self.faulty("double=200"), "--consumers", "4", "--threads", "4"),
                    duplicated=50)

    def test_acknowledged_and_here_again(self):
        # Long after it was acknowledged: two messages behind it are confirmed by then.
        judged = ("--confirm", "10", "--ack", "each", "--prefetch", "10", "--persistent",
                  "--durable", "--acks-kept")
        address = self.faulty("again=1000")
        total = self.run_on(address, *judged)
        self.assertEqual((total["acked_again"], total["duplicated"]), (9, 9))
        self.run_on(address, *judged, "--tolerate", "acked-again,duplicated", status=0)

    def test_reordered(self):
        # Of 10,000 the last one is late for good: nothing comes behind it.
        self.expect(self.run_on(self.faulty("late=1000")), reordered=9, lost=1)

    def test_corrupt(self):
        address = self.faulty("flip=5000")
        self.expect(self.run_on(address), corrupt=2)
        self.expect(self.run_on(address, "--tolerate", "lost,duplicated,reordered"), corrupt=2)


@only("broker")
class Manual(Base):
    def test_the_manual_page_knows_every_option(self):
        help_text = self.run_ok([BENCH, "--help"])
        with open(os.path.join(ROOT, "man", "warren-bench.1"), encoding="ascii") as f:
            manual = f.read().replace("\\-", "-")
        options = re.findall(r"^  (--[a-z-]+)", help_text, re.MULTILINE)
        self.assertGreater(len(options), 50)
        for option in options:
            self.assertRegex(manual, r"\n\.BI? %s\b" % option)
