"""Who a client is: guest's loopback rule, judged by the address in a PROXY header."""

import socket
import struct

from harness.case import Case, only
from harness.client import Eof

TARGETS = ("broker", "rabbitmq")
THREADS = True
BROKER_CONF = {"listen": {"proxy-protocol": "127.0.0.0/8"}}
RABBIT_CONF = ["proxy_protocol = true"]

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def proxy_v2(source, destination="127.0.0.1", command=1, tlvs=b""):
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    if family == socket.AF_INET6:
        destination = "::1"
    addresses = socket.inet_pton(family, source) + socket.inet_pton(family, destination) + \
        struct.pack(">HH", 12345, 5672)
    kind = 0x21 if family == socket.AF_INET6 else 0x11
    return SIGNATURE + struct.pack(">BBH", 0x20 | command, kind, len(addresses + tlvs)) + \
        addresses + tlvs


LOCAL = SIGNATURE + struct.pack(">BBH", 0x20, 0, 0)


class Loopback(Case):
    @only("broker", "threads")  # RabbitMQ 3.10 does not know whom to take it for
    def test_the_balancers_own_connections_count_by_their_socket(self):
        self.channel(before=LOCAL).queue()

    def test_guest_from_this_host(self):
        for header in (proxy_v2("127.0.0.1"), proxy_v2("127.8.9.10"), proxy_v2("::1"),
                       proxy_v2("127.0.0.1", tlvs=b"\xe0\x00\x03abc")):
            with self.subTest(header=header):
                self.channel(before=header).queue()

    @only("broker", "threads")  # RabbitMQ judges the balancer's own address
    def test_guest_from_elsewhere(self):
        for source in ("10.1.2.3", "192.168.1.1", "2001:db8::1"):
            with self.subTest(source=source):
                conn = self.raw(before=proxy_v2(source))
                conn.hello()
                conn.start_ok()
                conn.expect_close(403, "ACCESS_REFUSED - Login was refused using authentication "
                                       "mechanism PLAIN. For details see the broker logfile.",
                                  (0, 0))

    def test_version_1(self):
        self.channel(before=b"PROXY TCP4 127.0.0.1 127.0.0.1 1111 5672\r\n").queue()

    @only("broker", "threads")
    def test_version_1_from_elsewhere(self):
        conn = self.raw(before=b"PROXY TCP4 10.0.0.1 127.0.0.1 1111 5672\r\n")
        conn.hello()
        conn.start_ok()
        conn.expect_refusal((403,))

    def test_a_header_in_pieces(self):
        conn = self.raw()
        header = proxy_v2("127.0.0.1")
        for i in range(len(header)):
            conn.send(header[i:i + 1])
        conn.handshake()
        conn.channel().queue()

    def test_none_or_a_broken_one(self):
        for octets in (b"AMQP\0\0\x09\x01", SIGNATURE[:-1] + b"x" + b"\x21\x11\0\x0c" + b"\0" * 12,
                       SIGNATURE + b"\x31\x11\0\x0c" + b"\0" * 12, b"PROXY TCP4 x\r\n"):
            with self.subTest(octets=octets):
                conn = self.raw()
                conn.send(octets)
                with self.assertRaises(Eof):
                    conn.read_bytes(100)
