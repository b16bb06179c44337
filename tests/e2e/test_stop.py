"""The end of a broker's life as its clients see it."""

import base64
import json
import re
import socket

import wire
from harness.api import Api
from harness.case import Case, only
from harness.client import Eof
from harness.servers import Rabbit, is_instrumented
from harness.waits import LONG, wait_until

TARGETS = ("broker", "rabbitmq")
FIRST = True
THREADS = True

SHUTDOWN = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"


class Stop(Case):
    def server(self):
        """A server to be stopped, of the target's kind."""
        if self.is_rabbit:
            return self.own(Rabbit(self.folder("own"))).start()
        conf = {"node": {"threads": 3}} if self.target == "threads" else None
        return self.broker("own", conf)

    def test_an_orderly_stop_says_goodbye(self):
        server = self.server()
        idle, busy, half = (self.connect(address=server.address) for _ in range(3))
        ch = busy.channel()
        q = ch.queue()
        ch.consume(q, no_ack=True)
        half.channel(1)
        half.send(wire.method_frame(1, "basic.publish") + wire.header_frame(1, 1000))
        raw = self.raw(address=server.address)  # not yet through the handshake
        raw.hello()
        for i in range(100):
            ch.publish("", q, b"%d" % i)
        ch.deliveries(100)
        server.proc.signal(15)
        for conn in (idle, busy, half):
            conn.expect_close(320, SHUTDOWN, (0, 0))
        with self.assertRaises(Eof):
            while True:
                raw.next(0)
        self.assertEqual(server.stop(), 0)

    def test_a_client_that_does_not_answer_does_not_hold_it_up(self):
        server = self.server()
        conns = [self.connect(address=server.address) for _ in range(5)]
        for conn in conns:
            conn.polite = False
        deaf = self.connect(address=server.address, rcvbuf=4096)
        ch = deaf.channel()
        q = ch.queue()
        ch.send("basic.consume", queue=q, no_ack=True)
        helper = self.channel(address=server.address)
        for _ in range(2000):
            helper.publish("", q, b"x" * 4096)
        helper.barrier()
        self.assertEqual(server.stop(), 0)

    @only("broker", "threads")
    def test_logins_that_wait_do_not_outlive_it(self):
        """Passwords that nobody has looked at yet, of clients of the management API."""
        conf = {"auth": {"hash-rounds": "200000"}}
        if self.target == "threads":
            conf["node"] = {"threads": 3}
        server = self.broker("own", conf)
        host, port = server.conf["listen"]["management"].rsplit(":", 1)
        for i in range(50):
            sock = socket.create_connection((host, int(port)))
            self.addCleanup(sock.close)
            token = base64.b64encode(b"guest:wrong%d" % i)
            sock.sendall(b"GET /api/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Basic " + token +
                         b"\r\n\r\n")
        self.assertEqual(Api(int(port)).get("/").status, 200)  # they have been read
        self.assertEqual(server.stop(), 0)

    @only("broker", "threads")
    def test_an_import_is_left_where_it_is(self):
        conf = {"node": {"threads": 3}} if self.target == "threads" else None
        server = self.broker("own", conf)
        host, port = server.conf["listen"]["management"].rsplit(":", 1)
        doc = json.dumps({"global_parameters": [{"name": "p%d" % i, "value": i}
                                                for i in range(100000)]}).encode()
        sock = socket.create_connection((host, int(port)))
        self.addCleanup(sock.close)
        token = base64.b64encode(b"guest:guest")
        sock.sendall(b"POST /api/definitions HTTP/1.1\r\nHost: x\r\nAuthorization: Basic " + token +
                     b"\r\nContent-Length: %d\r\n\r\n" % len(doc) + doc)

        def has_begun():
            text = Api(int(port)).get("/metrics").body
            return int(re.search(r"^warren_metadata_version (\d+)", text, re.M).group(1)) > 10

        wait_until(has_begun, "the import has begun", LONG)
        self.assertEqual(server.stop(), 0)

    @only("broker", "threads")
    def test_publishers_that_wait_for_memory_hear_it_too(self):
        share = "512M" if is_instrumented() else "64M"  # valgrind alone takes more than that
        conf = {"limits": {"memory-high-watermark": share}}
        if self.target == "threads":
            conf["node"] = {"threads": 3}
        server = self.broker("own", conf)
        conn = self.connect(address=server.address)
        ch = conn.channel()
        q = ch.queue()
        wait_until(lambda: ch.publish_or_blocked(q, b"m" * (256 << 10), LONG), "blocked", LONG,
                   interval=0)
        server.proc.signal(15)
        conn.expect_close(320, SHUTDOWN, (0, 0))
        self.assertEqual(server.stop(), 0)
        self.assertNotIn(b"did not answer", server.proc.log_bytes())
