"""discover = rabbitmq: a RabbitMQ cluster's masters, learned from its management API."""

import http.server
import json
import os
import re
import ssl
import threading

from harness.case import Case
from harness.client import Eof
from harness.proxy_view import command, http_get, wait_status
from harness.rabbits import Rabbits
from harness.servers import PROXY_BIN, Rabbit
from harness import procs
from harness.waits import LONG, wait_until

TARGETS = ("proxy",)
BARE = True
FIRST = True  # three nodes of RabbitMQ take their time


def told(front):
    """What `show discover` says, as a dictionary."""
    return dict(re.findall(r'(\w+)=("[^"]*"|\S+)', command(front, "show discover")))


def wait_at(front, queue, pattern):
    wait_until(lambda: re.search(pattern, command(front, "show queues / " + queue)),
               "%s of %s" % (pattern, queue), LONG)


def ways(front):
    text = http_get(front.stats_port, "/metrics")[1]
    return {way: int(n) for way, n in re.findall(
        r'(?m)^warren_proxy_operations_total\{way="(\w+)"\} (\d+)$', text)}


def discovering(*urls, **more):
    return {"backend rabbits": dict({"balance": "queue-master", "server": None,
                                     "discover": "rabbitmq " + " ".join(urls)}, **more)}


class RealRabbits(Case):
    """Three nodes of RabbitMQ, before them a proxy that is told of no server at all."""

    def setUp(self):
        super().setUp()
        try:
            Rabbit.home()
        except AssertionError as e:
            self.skipTest(str(e))
        self.rabbits = self.own_rabbits()
        self.one, self.two, self.three = self.rabbits.nodes

    def own_rabbits(self):
        rabbits = Rabbits(self.folder("rabbits"))
        self.addCleanup(rabbits.stop)
        return rabbits.launch().wait_ready()

    def url(self, node, password="guest"):
        return "http://guest:%s@127.0.0.1:%d" % (password, node.http_port)

    def use(self, front, queue, node):
        """A message there and back, on a channel that goes straight to the node."""
        conn = self.connect(address=front.address)
        ch = conn.channel()
        ch.publish("", queue, b"one")
        ch.barrier()
        self.assertIn("srv=%s" % node.node, command(front, "show legs"))
        self.assertEqual(ch.get(queue).body, b"one")
        conn.close()

    def test_channels_go_to_masters_and_follow_them(self):
        self.one.api("PUT", "policies/%2f/mirrors",
                     {"pattern": "^mirrored", "definition": {"ha-mode": "all"}})
        homes = {}
        for n in self.rabbits.nodes:
            ch = self.channel(address=n.address)
            for kind, arguments in (("classic", {}), ("mirrored", {}),
                                    ("quorum", {"x-queue-type": "quorum"})):
                q = "%s.%s" % (kind, n.name)
                ch.declare(q, durable=True, arguments=arguments)
                homes[q] = n
        # The first URL answers nobody, the second one does.
        dead = "http://guest:guest@127.0.0.1:1"
        front = self.proxy([], discovering(dead, self.url(self.two), self.url(self.three)))
        for q, n in homes.items():
            wait_at(front, q, "server=%s usable=yes" % n.node)
        self.assertEqual((told(front)["fresh"], told(front)["running"]), ("yes", "3"))
        self.assertIn("127.0.0.1:1: ", told(front)["last_failure"])
        for q, n in homes.items():
            self.use(front, q, n)
        self.assertEqual(ways(front), {"straight": 2 * len(homes), "hop": 0, "unknown": 0})

        # The node that is asked dies: its mirrored and quorum queues are elsewhere, and a channel
        # of a client that is there already goes after them.
        conn = self.connect(address=front.address)
        keep = conn.channel()
        keep.publish("", "mirrored.rabbit2", b"kept")
        keep.publish("", "quorum.rabbit2", b"kept")
        keep.barrier()
        keep.close()
        self.two.kill()
        wait_status(front, self.two.node, "DOWN")
        left = "server=(?!%s)\\S+ usable=yes" % re.escape(self.two.node)
        for q in ("mirrored.rabbit2", "quorum.rabbit2"):
            wait_at(front, q, left)
            ch = conn.channel() if self.is_open(conn) else self.channel(address=front.address)
            self.assertEqual(wait_until(lambda ch=ch, q=q: ch.get(q), q, LONG).body, b"kept")
        wait_at(front, "classic.rabbit2", "down server=%s" % re.escape(self.two.node))
        self.assertIn(":%d" % self.three.http_port, told(front)["from"])

        # Who may not ask knows nothing, says so, and serves by what it is told.
        other = self.proxy([], discovering(
            self.url(self.one, "wrong"),
            server="here 127.0.0.1:%d check" % self.one.port))
        self.assertEqual(told(other)["fresh"], "no")
        self.assertIn("user guest is refused (401)", told(other)["last_failure"])
        self.assertIn(b"its management does not tell: http://127.0.0.1:%d: user guest is refused"
                      % self.one.http_port, other.proc.log_bytes())
        self.assertEqual(ways(other)["straight"], 0)
        self.channel(address=other.address).publish("", "classic.rabbit1", b"by a hop")

    def is_open(self, conn):
        """It lives on unless what it had left lived at the node that died."""
        try:
            conn.channel().close()
            return True
        except (AssertionError, OSError, Eof):
            return False


class Management(http.server.BaseHTTPRequestHandler):
    """What RabbitMQ's management would say, or what it never should."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        house = self.server.house
        if house.mood == "deaf":
            house.woken.wait(LONG)
            self.close_connection = True
            return
        status, body = house.answer(self.path)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class House:
    """A management that can be made to misbehave; it tells of one node, and a queue there."""

    def __init__(self, port, queue, tls=None):
        self.port, self.queue, self.mood, self.woken = port, queue, "good", threading.Event()
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Management)
        self.http.house, self.http.daemon_threads = self, True
        if tls:
            self.http.socket = tls.wrap_socket(self.http.socket, server_side=True)
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.05,))
        self.thread.start()

    def answer(self, path):
        if self.mood == "broken":
            return 500, b"{}"
        if self.mood == "gone":
            return 404, b"Not Found"
        if self.mood == "no JSON":
            return 200, b"<html>"
        if self.mood == "endless":
            return 200, b"[" + b" " * (8 << 20) + b"]"
        if self.mood == "queues without end" and path.startswith("/rabbit/api/queues"):
            return 200, b"[" + b" " * (17 << 20) + b"]"
        if path.startswith("/rabbit/api/nodes"):
            said = [{"name": "rabbit@there", "running": True, "being_drained": False}]
        elif path.startswith("/rabbit/api/overview"):
            said = {"listeners": [{"node": "rabbit@there", "protocol": "amqp",
                                   "ip_address": "127.0.0.1", "port": self.port}]}
        else:
            said = [{"vhost": "/", "name": self.queue, "node": "rabbit@there"}]
        return 200, json.dumps(said).encode()

    def end(self):
        self.woken.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


class BadManagement(Case):
    """An answer that is of no use changes nothing that is known, and is complained about."""

    def authority(self):
        pem = os.path.join(self.folder("tls"), "management.pem")
        self.run_ok(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                     "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                     "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                     "-keyout", pem, "-out", pem + ".crt"])
        with open(pem, "a", encoding="ascii") as key, open(pem + ".crt", encoding="ascii") as crt:
            key.write(crt.read())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        return pem + ".crt", context

    def test_what_is_known_stays_and_is_marked(self):
        broker = self.broker()
        self.channel(address=broker.address).declare("q", auto_delete=False)
        ca, context = self.authority()
        house = House(broker.port, "q", context)
        self.addCleanup(house.end)
        front = self.proxy([], discovering(
            "https://who:what%%40@localhost:%d/rabbit/" % house.http.server_address[1],
            "inter 100ms timeout 15s ca-file " + ca))  # for 16 MiB on a slow machine
        good = "server=rabbit_there|server=rabbit@there"
        wait_at(front, "q", good)
        for mood, why in (("broken", "status is 500"), ("gone", "no management API is there"),
                          ("no JSON", "is no JSON"), ("endless", "answer is too long: more than 4194304 octets"),
                          ("queues without end", "answer is too long: more than 16777216 octets"),
                          ("deaf", "did not answer in time")):
            with self.subTest(mood):
                house.woken.clear()
                house.mood = mood
                wait_until(lambda: told(front)["fresh"] == "no", "stale", LONG)
                wait_until(lambda why=why: why in told(front)["last_failure"], why, LONG)
                wait_at(front, "q", good + ".*usable=yes gossip=suspect")
                self.assertIn('warren_proxy_rabbitmq_fresh{proxy="rabbits"} 0',
                              http_get(front.stats_port, "/metrics")[1])
                self.assertIn("has not answered for", http_get(front.stats_port, "/stats")[1])
                ch = self.channel(address=front.address)
                ch.publish("", "q", b"one")
                self.assertEqual(ch.get("q").body, b"one")
                house.mood = "good"
                house.woken.set()
                wait_until(lambda: told(front)["fresh"] == "yes", "fresh again", LONG)
                wait_at(front, "q", good + ".*gossip=alive")
        self.assertEqual(ways(front)["hop"], 0)
        log = front.proc.log_bytes()
        self.assertIn(b"no URL answers, what is known of its queues stays queues=1", log)
        self.assertNotIn(b"what@", log)

        # Another certificate than the one that is trusted is none.
        front.conf["backend rabbits"]["discover"] = \
            front.conf["backend rabbits"]["discover"].split(" ca-file")[0]
        front.write_conf()
        front.proc.signal(1)
        wait_until(lambda: "certificate" in told(front)["last_failure"], "refused", LONG)
        self.assertEqual(told(front)["queues"], "0")

        front.conf["backend rabbits"]["discover"] = "rabbitmq https://who@localhost"
        front.write_conf()
        out = procs.run([PROXY_BIN, "-c", "-f", front.conf_path])
        self.assertNotEqual(out.returncode, 0)
        self.assertIn("discover: a URL has a user and a password", out.stdout + out.stderr)
