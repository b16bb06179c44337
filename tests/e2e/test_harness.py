"""The suite's own tools: the codec against pika's, and that a bad end of a process is seen."""

import os
import sys

import pika
import pika.spec

import wire
from harness import procs
from harness.case import Case
from harness.servers import ini, merged

TARGETS = ("broker",)


class Codec(Case):
    def same(self, name, method, **args):
        """Our octets of a method are pika's."""
        theirs = b"".join(method.encode())
        ours = wire.put_method(name, **args)
        self.assertEqual(ours[4:], theirs, name)
        self.assertEqual(ours[:4], method.INDEX.to_bytes(4, "big"), name)
        self.assertEqual(wire.read_method(ours)[0].name, name)

    def test_methods(self):
        table = {"a": 1, "b": "two", "c": [True, None], "d": {"e": 2**40}}
        s = pika.spec
        self.same("queue.declare", s.Queue.Declare(queue="q", durable=True, auto_delete=True,
                                                   arguments=table),
                  queue="q", durable=True, auto_delete=True, arguments=table)
        self.same("exchange.declare", s.Exchange.Declare(exchange="x", type="topic", internal=True,
                                                         nowait=True, arguments={}),
                  exchange="x", type="topic", internal=True, nowait=True)
        self.same("basic.consume", s.Basic.Consume(queue="q", consumer_tag="t", no_ack=True,
                                                   nowait=True, arguments={}),
                  queue="q", consumer_tag="t", no_ack=True, nowait=True)
        self.same("basic.nack", s.Basic.Nack(2**63, True, True), delivery_tag=2**63, multiple=True,
                  requeue=True)
        self.same("basic.qos", s.Basic.Qos(0, 7, True), prefetch_count=7, **{"global": True})
        self.same("connection.tune_ok", s.Connection.TuneOk(1, 2, 3), channel_max=1, frame_max=2,
                  heartbeat=3)

    def test_properties(self):
        props = {"content_type": "a", "headers": {"x": -1}, "delivery_mode": 2, "timestamp": 99,
                 "app_id": "z"}
        theirs = b"".join(pika.BasicProperties(**props).encode())
        self.assertEqual(wire.put_properties(props), theirs)
        self.assertEqual(wire.read_properties(theirs), props)

    def test_every_method_there_and_back(self):
        values = {"bit": True, "octet": 7, "short": 65535, "long": 2**32 - 1, "longlong": 2**64 - 1,
                  "shortstr": "s", "longstr": b"l", "table": {"k": "v"}}
        for spec in wire.METHODS.values():
            args = {name: values[kind] for name, kind in spec.fields}
            self.assertEqual(wire.read_method(wire.put_method(spec.name, **args)), (spec, args))

    def test_frames_in_pieces(self):
        frame = wire.method_frame(1, "channel.open")
        for n in range(len(frame)):
            self.assertIsNone(wire.cut_frame(frame[:n]))
        self.assertEqual(wire.cut_frame(frame + b"more")[1], len(frame))
        with self.assertRaises(wire.WireError):
            wire.cut_frame(frame[:-1] + b"\0")


class Judgement(Case):
    def ended(self, code):
        log = os.path.join(self.folder("p"), "log")
        p = procs.Proc([sys.executable, "-c", code], log)
        p.wait()
        return p

    def test_good_ends(self):
        self.assertEqual(self.ended("print('all is well')").complaints(), [])

    def test_bad_ends(self):
        for code in ("raise SystemExit(1)", "import os; os.abort()",
                     "print('==12==ERROR: AddressSanitizer: heap-use-after-free')",
                     "print('x.c:1:2: runtime error: signed integer overflow')",
                     "print('WARNING: ThreadSanitizer: data race (pid=1)')",
                     "print('==7== Invalid read of size 4')",
                     "print('../proxy/leg.c:24: check failed: n > 0')"):
            with self.subTest(code=code):
                self.assertTrue(self.ended(code).complaints())

    def test_a_killed_process_is_forgiven_when_that_was_the_test(self):
        log = os.path.join(self.folder("p"), "log")
        p = procs.Proc(["sleep", "100"], log)
        p.kill()
        self.assertEqual(p.complaints(), [])


class Texts(Case):
    def test_ini(self):
        self.assertEqual(ini({"a": {"k": 1, "l": ["x", "y"]}}), "[a]\nk = 1\nl = x\nl = y\n")

    def test_merged(self):
        base = {"a": {"k": 1, "l": 2}}
        self.assertEqual(merged(base, {"a": {"k": None, "m": 3}, "b": {"n": 4}}),
                         {"a": {"l": 2, "m": 3}, "b": {"n": 4}})
        self.assertEqual(base, {"a": {"k": 1, "l": 2}})


class Talks(Case):
    """What a live RabbitMQ may say instead (tests/diff)."""

    def setUp(self):
        super().setUp()
        sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "diff"))
        self.addCleanup(sys.path.pop)
        from talk import golden, script
        path = os.path.join(self.folder("t"), "some.talk")
        with open(path, "w") as f:
            f.write("[one]\nsync\nb: wait close\n~ close down\n~ close gone\nsync\n")
        self.golden, self.talk = golden, script.read(path)[0]
        self.want = ["> sync", "> b: wait close", "< close deleted", "> sync", "< ok"]

    def excused(self, *got):
        return self.golden.excused(self.talk, self.want, list(got))

    def test_what_is_known_is_excused(self):
        self.assertEqual(self.excused(*self.want), (self.want, 0))
        for word in ("down", "gone"):
            got = [line.replace("deleted", word) for line in self.want]
            self.assertEqual(self.excused(*got), (self.want, 1))

    def test_what_is_not_known_is_not(self):
        for got in (["> sync", "> b: wait close", "< close odd", "> sync", "< ok"],
                    ["> sync", "> b: wait close", "< close deleted", "> sync", "< close down"],
                    ["> sync", "> b: wait close", "< close deleted", "< close down", "> sync",
                     "< ok"],
                    ["> sync", "> b: wait close", "< (given up: no close)"],
                    self.want[:-1]):
            self.assertEqual(self.excused(*got), (got, 0))
