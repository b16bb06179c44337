"""mode = tcp with option = splice-auto: octets that pass within the kernel are the same octets."""

import hashlib
import os
import random
import socket
import struct
import threading

from harness import ports
from harness.authority import Authority
from harness.case import Case
from harness.proxy_view import stats
from harness.waits import LONG, wait_until

TARGETS = ("proxy",)

BULK = 24 * 1024 * 1024
BLOCK = 256 * 1024


def octets(seed, count):
    return random.Random(seed).randbytes(count)


def send_all(sock, data, size=lambda: BLOCK):
    at = 0
    while at < len(data):
        n = size()
        sock.sendall(data[at:at + n])
        at += n


def read_to_end(sock):
    """(how many, their hash)"""
    count, sha = 0, hashlib.sha256()
    while chunk := sock.recv(BLOCK):
        count += len(chunk)
        sha.update(chunk)
    return count, sha.hexdigest()


def told(data):
    return len(data), hashlib.sha256(data).hexdigest()


class Splice(Case):
    def setUp(self):
        super().setUp()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(LONG)
        self.addCleanup(self.server.close)

    def relay(self, option="splice-auto", bind=""):
        self.port = ports.free_port()
        listen = {"bind": "127.0.0.1:%d %s" % (self.port, bind), "mode": "tcp",
                  "server": "own 127.0.0.1:%d" % self.server.getsockname()[1]}
        if option:
            listen["option"] = option
        self.p = self.proxy([self.broker()], {"listen raw": listen})
        self.idle_fds = len(self.fds())
        self.idle_pipes = self.pipes()

    def pair(self, tls=None):
        client = socket.create_connection(("127.0.0.1", self.port), LONG)
        if tls:
            client = tls.wrap_socket(client, server_hostname="localhost")
        self.addCleanup(client.close)
        peer, _ = self.server.accept()
        peer.settimeout(LONG)
        self.addCleanup(peer.close)
        # A server that goes before the relay has seen it there is not the one that serves.
        client.sendall(b"?")
        self.assertEqual(peer.recv(1), b"?")
        return client, peer

    def fds(self):
        found, folder = [], "/proc/%d/fd" % self.p.proc.pid
        for fd in os.listdir(folder):
            try:
                found.append(os.readlink(os.path.join(folder, fd)))
            except FileNotFoundError:
                pass  # closed meanwhile
        return found

    def pipes(self):
        return sum(name.startswith("pipe:") for name in self.fds())

    def both_ways(self, client, peer, there, back, size=lambda: BLOCK):
        """Each side sends all of its own and ends, and reads to the other one's end."""
        got = {}

        def side(name, sock, data):
            def say():
                send_all(sock, data, size)
                sock.shutdown(socket.SHUT_WR)
            speaker = threading.Thread(target=say)
            speaker.start()
            got[name] = read_to_end(sock)
            speaker.join()
        threads = [threading.Thread(target=side, args=a) for a in (
            ("client", client, there), ("server", peer, back))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(got["server"], told(there))
        self.assertEqual(got["client"], told(back))

    def test_both_ways_and_counted(self):
        self.relay()
        there, back = octets(1, BULK), octets(2, BULK // 2)
        self.both_ways(*self.pair(), there, back)
        self.assertGreater(self.pipes(), self.idle_pipes, "it did go through a pipe")

        def row():
            r = stats(self.p)[("raw", "own")]
            return int(r["bin"]), int(r["bout"]), int(r["scur"])
        wait_until(lambda: row() == (1 + len(there), len(back), 0), "the counts")
        wait_until(lambda: len(self.fds()) <= self.idle_fds + 2 * 16, "what was used is kept or closed")

    def test_each_way_by_itself(self):
        for option in ("splice-request", "splice-response"):
            with self.subTest(option):
                self.relay(option)
                self.both_ways(*self.pair(), octets(3, BULK // 2), octets(4, BULK // 2))
                self.assertGreater(self.pipes(), self.idle_pipes)

    def test_without_the_option_there_is_no_pipe(self):
        self.relay(None)
        self.both_ways(*self.pair(), octets(5, BULK // 4), b"")
        self.assertEqual(self.pipes(), self.idle_pipes)

    def test_pieces_of_all_sizes_stay_in_order(self):
        self.relay()
        dice = random.Random(6)
        sizes = lambda: dice.choice((1, 7, 500, 5000, 40000, 300000, 1000000))
        self.both_ways(*self.pair(), octets(7, BULK), octets(8, BULK), sizes)

    def test_a_slow_reader_slows_its_writer_down(self):
        self.relay()
        client, peer = self.pair()
        data = octets(9, 4 * BULK)
        sent = threading.Event()

        def say():
            send_all(client, data)
            client.shutdown(socket.SHUT_WR)
            sent.set()
        speaker = threading.Thread(target=say)
        before = self.p.proc.rss_kb()
        speaker.start()
        passed = lambda: int(stats(self.p)[("raw", "own")]["bin"])
        last = [-1]

        def stands_still():
            now, was = passed(), last[0]
            last[0] = now
            return now == was and now > 0
        wait_until(stands_still, "nobody reads")
        self.assertFalse(sent.is_set())
        self.assertLess(passed(), 2 * BULK)
        self.assertLess(self.p.proc.rss_kb() - before, 8 * 1024)
        self.assertEqual(read_to_end(peer), told(data))
        speaker.join()

    def test_who_goes_in_the_middle_leaves_nothing_behind(self):
        self.relay()
        data = octets(10, BLOCK)
        for i in range(40):
            client, peer = self.pair()
            gone, stays = (client, peer) if i % 2 else (peer, client)
            for _ in range(8):
                stays.settimeout(0.2)
                try:
                    stays.sendall(data)
                except (TimeoutError, socket.timeout):
                    break
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            gone.close()
            stays.settimeout(LONG)
            try:
                while stays.recv(BLOCK):
                    pass
            except ConnectionError:
                pass
            stays.close()
        wait_until(lambda: len(self.fds()) <= self.idle_fds + 2 * 16, "all is closed")
        self.both_ways(*self.pair(), octets(11, BULK // 4), octets(12, BULK // 4))

    def test_tls_is_copied(self):
        ca = Authority(self.folder("tls"))
        pem = ca.make("server", "/CN=localhost", "subjectAltName=DNS:localhost")
        self.relay(bind="ssl crt " + pem)
        client, peer = self.pair(ca.context())
        data = octets(13, BULK // 8)
        speaker = threading.Thread(target=send_all, args=(peer, data))
        speaker.start()
        got = b""
        while len(got) < len(data):
            got += client.recv(BLOCK)
        speaker.join()
        self.assertEqual(told(got), told(data))
        self.assertEqual(self.pipes(), self.idle_pipes)
