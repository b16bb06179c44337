"""Nodes of releases that have no version of the cluster protocol in common (C21): each side is
refused, and says why. Another release is a stand-in here, of the octets of link_door.h and, over
TLS, link_shake.h."""

import os
import re
import socket
import ssl
import struct
import threading

from harness import procs
from harness.case import Case
from harness.cluster import Cluster
from harness.servers import CTL_BIN
from harness.waits import LONG, SOON, wait_until

TARGETS = ("broker",)

PRELUDE = struct.Struct(">4sBBH")
HELLO = struct.Struct(">4sHHHBB32s")
CALLER, ANSWERER = 1, 2
CONTROL, BULK, ASK, FEED, CTL, MIRROR = range(1, 7)
VERDICT = struct.Struct(">HB32s")
REFUSED_VERSION = 2
OURS = (2, 3)
THEIRS = (7, 9)  # what another release speaks
WHY = ("no version of the cluster protocol is spoken by both: it speaks %d to %d, and we %d to %d"
       % (*THEIRS, *OURS))


def hello(role, class_):
    return HELLO.pack(b"WRNH", HELLO.size, *THEIRS, role, class_, os.urandom(32))


def read(sock, count):
    got = b""
    while len(got) < count:
        more = sock.recv(count - len(got))
        if not more:
            raise AssertionError("the end, after %r" % got)
        got += more
    return got


class Later:
    """Listens as a node of another release does, and says hello to whoever calls."""

    def __init__(self, cert, key):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.heard = []  # the hellos, unpacked
        self.said_more = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return  # closed: the test is over
            threading.Thread(target=self.answer, args=(plain,), daemon=True).start()

    def answer(self, plain):
        plain.settimeout(SOON)
        try:
            _, class_, _, _ = PRELUDE.unpack(read(plain, PRELUDE.size))
            with self.context.wrap_socket(plain, server_side=True) as s:
                said = HELLO.unpack(read(s, HELLO.size))
                self.heard.append(said)
                s.sendall(hello(ANSWERER, class_))
                self.said_more.append(s.recv(1))
        except (OSError, AssertionError):
            plain.close()  # whoever called went: how, its log says

    def close(self):
        self.listener.close()


class Versions(Case):
    def setUp(self):
        super().setUp()
        folder = self.folder("later")
        self.cert, self.key = (os.path.join(folder, leaf) for leaf in ("crt", "key"))
        self.run_ok(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                     "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=later",
                     "-keyout", self.key, "-out", self.cert])
        self.later = Later(self.cert, self.key)
        self.addCleanup(self.later.close)
        self.cluster = Cluster(self.folder("cluster"), 2, seeds=False)
        for n in self.cluster.nodes:
            self.own(n)

    def log(self, node):
        with open(node.path("broker.log")) as f:
            return f.read()

    def call(self, node, class_):
        """What a caller of another release is told, on a connection of its own."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        plain = socket.create_connection(("127.0.0.1", node.cluster_port), SOON)
        plain.sendall(PRELUDE.pack(b"WRNK", class_, 0, 0))
        with context.wrap_socket(plain) as s:
            s.sendall(hello(CALLER, class_))
            magic, size, least, most, role, said, _ = HELLO.unpack(read(s, HELLO.size))
            self.assertEqual((magic, size, role, said), (b"WRNH", HELLO.size, ANSWERER, class_))
            self.assertEqual((least, most), OURS)
            self.assertEqual(VERDICT.unpack(read(s, VERDICT.size)),
                             (VERDICT.size, REFUSED_VERSION, b"\0" * 32))
            self.assertEqual(s.recv(1), b"", "and nothing else")

    def test_each_side_is_refused_with_the_reason(self):
        one, two = self.cluster.nodes
        one.conf["cluster"]["seeds"] = "127.0.0.1:%d" % self.later.port
        one.start(ready=False)

        # It calls its seed, and refuses what answers; it goes no further, not to the proof.
        wait_until(lambda: WHY in self.log(one), "its log says why", LONG)
        wait_until(lambda: self.later.said_more, "it hangs up")
        self.assertEqual(set(self.later.said_more), {b""})
        self.assertEqual({(h[2], h[3], h[4]) for h in self.later.heard}, {(*OURS, CALLER)})

        # It is called, and refuses that: as long as it is alone it answers no more than questions.
        self.call(one, ASK)
        wait_until(lambda: re.search("refused: " + WHY, self.log(one)), "its log says why")

        # Nor is a warrenctl of ours of any use there, and it says so.
        out = procs.run([CTL_BIN, "-n", "127.0.0.1:%d" % self.later.port, "--cookie-file",
                         self.cluster.path("cookie"), "ping"], LONG)
        self.assertEqual(out.returncode, 69, out.stderr)
        self.assertIn(WHY, out.stderr)

        # Those of one version are a cluster all the same.
        one.proc.signal(15)
        self.assertEqual(one.proc.wait(), 0)
        self.cluster.seed()
        self.cluster.start().wait_voters()
        self.channel(address=one.address).declare("q")
        self.cluster.wait_queues(["q"])
        for class_ in (CONTROL, BULK, ASK, FEED, MIRROR):
            self.call(two, class_)
