"""Clients of five libraries behind a proxy, while their queues' masters move and die, before three
nodes and before five: none of them notices."""

import fcntl
import os
import shutil
import threading
import unittest

from harness import procs
from harness.masters_case import Mirrored
from harness.proxy_view import command, wait_status
from harness.servers import BUILD
from harness.waits import LONG, wait_until

TARGETS = ("proxy",)
TOOLS = ("amqp-consume", "amqp-publish")
HERE = os.path.dirname(os.path.abspath(__file__))


class Library:
    """A consumer, and publishers that come for one message each."""

    def __init__(self, address, queue, folder):
        self.address, self.queue, self.folder = address, queue, folder
        self.bodies, self.wrong = [], []
        self.ends = threading.Event()
        self.start()

    def start(self):
        self.thread = threading.Thread(target=self.guarded, daemon=True)
        self.thread.start()

    def guarded(self):
        try:
            self.consume()
        except Exception as e:  # whatever a library may throw is shown by the test
            self.wrong.append("%s: %r" % (type(self).__name__, e))

    def stop(self):
        self.ends.set()
        self.thread.join(LONG)

    def seen(self, count):
        return len(self.bodies) == count or self.wrong


class Pika(Library):
    def connect(self):
        import pika
        return pika.BlockingConnection(pika.ConnectionParameters(*self.address))

    def consume(self):
        conn = self.connect()
        ch = conn.channel()
        ch.basic_qos(prefetch_count=5)
        for method, _, body in ch.consume(self.queue, inactivity_timeout=0.1):
            if method is not None:
                self.bodies.append(body)
                ch.basic_ack(method.delivery_tag)
            if self.ends.is_set():
                break
        conn.close()

    def publish(self, body):
        import pika
        conn = self.connect()
        ch = conn.channel()
        ch.confirm_delivery()
        ch.basic_publish("", self.queue, body, pika.BasicProperties(delivery_mode=2))
        conn.close()


class PyAmqp(Library):
    def connect(self):
        import amqp
        conn = amqp.Connection("%s:%d" % self.address)
        conn.connect()
        return conn

    def take(self, message):
        self.bodies.append(message.body.encode() if isinstance(message.body, str)
                           else bytes(message.body))
        message.channel.basic_ack(message.delivery_tag)

    def consume(self):
        conn = self.connect()
        conn.channel().basic_consume(self.queue, callback=self.take)
        while not self.ends.is_set():
            try:
                conn.drain_events(timeout=0.1)
            except TimeoutError:
                continue
        conn.close()

    def publish(self, body):
        import amqp
        conn = self.connect()
        ch = conn.channel()
        ch.confirm_select()
        ch.basic_publish_confirm(amqp.Message(body, delivery_mode=2), routing_key=self.queue)
        conn.close()


class Kombu(Library):
    def connect(self):
        import kombu
        return kombu.Connection("amqp://guest:guest@%s:%d//" % self.address)

    def take(self, body, message):
        self.bodies.append(bytes(message.body) if not isinstance(message.body, str)
                           else message.body.encode())
        message.ack()

    def consume(self):
        import kombu
        with self.connect() as conn:
            queue = kombu.Queue(self.queue, durable=True, no_declare=True)
            with conn.Consumer(queue, callbacks=[self.take], accept=None, auto_declare=False):
                while not self.ends.is_set():
                    try:
                        conn.drain_events(timeout=0.1)
                    except TimeoutError:
                        continue

    def publish(self, body):
        with self.connect() as conn:
            with conn.Producer() as producer:
                producer.publish(body, routing_key=self.queue, delivery_mode=2,
                                 content_type="application/octet-stream",
                                 content_encoding="binary")
                producer.channel.queue_declare(self.queue, passive=True)


class Librabbitmq(Library):
    """By its command line tools."""

    def url(self):
        return "amqp://guest:guest@%s:%d" % self.address

    def start(self):
        self.proc = procs.Proc(["amqp-consume", "-u", self.url(), "-q", self.queue, "-p", "5",
                                "cat"], self.queue_log())

    def queue_log(self):
        return os.path.join(self.folder, "librabbitmq")

    def seen(self, count):
        self.bodies = [line for line in self.proc.log_bytes().splitlines() if line]
        return len(self.bodies) == count or not self.proc.alive()

    def publish(self, body):
        out = procs.run(["amqp-publish", "-u", self.url(), "-r", self.queue, "-p", "-b",
                         body.decode() + "\n"], LONG)
        assert out.returncode == 0, out.stderr

    def stop(self):
        self.proc.tolerated = True
        self.proc.stop()


class Amqplib(Librabbitmq):
    """Node.js; the library comes from npm, once a build folder."""

    HOME = os.path.join(BUILD, "clients", "amqplib-alone")

    @classmethod
    def prepare(cls):
        os.makedirs(cls.HOME, exist_ok=True)
        with open(os.path.join(cls.HOME, "lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.path.isdir(os.path.join(cls.HOME, "node_modules", "amqplib")):
                return
            if shutil.which("npm") is None:
                raise unittest.SkipTest("no npm (apt-get install nodejs npm)")
            out = procs.run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts",
                             "--loglevel=error", "--prefix", cls.HOME, "amqplib@0.10.3"], 180)
            if out.returncode != 0:
                raise unittest.SkipTest("npm install amqplib: " + out.stderr[-300:])

    def command(self, *args):
        return ["env", "NODE_PATH=" + os.path.join(self.HOME, "node_modules"), "node",
                os.path.join(HERE, "amqplib_client.js"), self.url(), self.queue] + list(args)

    def start(self):
        self.proc = procs.Proc(self.command("consume"), self.queue_log())

    def queue_log(self):
        return os.path.join(self.folder, "amqplib")

    def publish(self, body):
        out = procs.run(self.command("publish", body.decode()), LONG)
        assert out.returncode == 0, out.stderr


class Libraries(Mirrored):
    def setUp(self):
        super().setUp()
        if any(shutil.which(tool) is None for tool in TOOLS):
            raise unittest.SkipTest("no amqp-consume and amqp-publish (apt-get install amqp-tools)")
        Amqplib.prepare()
        self.clients = []
        for i, kind in enumerate((Pika, PyAmqp, Kombu, Librabbitmq, Amqplib)):
            q = kind.__name__ + ".q"
            self.declare_at(self.home_of(i), q)
            wait_until(lambda q=q: self.mirrors(q) == 2, "mirrors of " + q, LONG)
            self.clients.append(kind(self.front.address, q, self.folder("clients")))
        self.rounds = 0
        self.addCleanup(lambda: [c.stop() for c in self.clients])

    def home_of(self, client):
        return self.third

    def round(self):
        """Each library publishes a message, and its consumer gets it."""
        self.rounds += 1
        for c in self.clients:
            c.publish(b"%d" % self.rounds)
        want = [b"%d" % n for n in range(1, self.rounds + 1)]
        for c in self.clients:
            wait_until(lambda c=c: c.seen(self.rounds), "%s: %s" % (type(c).__name__, want), LONG)
            self.assertEqual((c.bodies, c.wrong), (want, []), type(c).__name__)

    def test_none_of_them_notices(self):
        self.round()
        for c in self.clients:
            self.ctl("move_master", c.queue, self.here.node)
        self.round()
        for node in (self.third, self.here):
            node.kill()
            self.round()
            node.start()
            node.wait_ready()
            for c in self.clients:
                wait_until(lambda c=c: self.mirrors(c.queue) == 2, "mirrors of " + c.queue, LONG)
        self.round()
        self.assertEqual(self.failovers()["ended"], 0)
        self.assertGreaterEqual(self.failovers()["kept"], len(self.clients))


class FiveNodes(Libraries):
    """Each of five nodes masters the queue of one library, and two others hold it."""

    node_count = 5
    policies = (("all", "[.]q$", '{"ha-mode":"exactly","ha-params":3}'),)

    def home_of(self, client):
        return self.cluster.nodes[client]

    def test_none_of_them_notices(self):
        first, second, third = self.cluster.nodes[:3]
        self.wait_proxy_known()
        self.round()
        for node in (first, second):
            self.drain(node)
            self.round()
            node.stop()
            self.round()
            self.back(node)
        pika = self.clients[0]
        homes = self.ctl("list_queues", "name", "synchronised_slave_pids").splitlines()
        held = [line for line in homes if line.startswith(pika.queue + "\t")][0]
        to = [n for n in self.cluster.nodes if "%s." % n.node in held][0]
        self.ctl("move_master", pika.queue, to.node)
        wait_until(lambda: "server=%s " % to.name in command(
            self.front, "show queues / " + pika.queue), "the proxy knows of it", LONG)
        self.round()
        third.kill()
        self.round()
        self.back(third)
        self.round()
        self.assertEqual(self.failovers()["ended"], 0)

    def drain(self, node):
        out = node.ctl("-n", node.node, "-q", "drain", seconds=LONG)
        self.assertEqual(out.returncode, 0, out.stderr)

    def back(self, node):
        self.cluster.start([node])
        wait_status(self.front, node.name, "UP")
        for c in self.clients:
            wait_until(lambda c=c: self.mirrors(c.queue) == 2, "mirrors of " + c.queue, LONG)
