"""py-amqp (the transport of Celery) and kombu."""

import socket

import amqp
import kombu
import kombu.pools

from harness.case import Case
from harness.waits import SOON

THREADS = True


class PyAmqp(Case):
    def setUp(self):
        super().setUp()
        self.conn = self.connected()

    def connected(self, **args):
        conn = amqp.Connection("%s:%d" % self.site.address, connect_timeout=SOON, **args)
        conn.connect()
        self.addCleanup(conn.close)
        return conn

    def test_publish_and_consume(self):
        ch = self.conn.channel()
        q = ch.queue_declare(exclusive=True).queue
        got = []
        ch.basic_consume(q, callback=lambda m: (got.append(m), m.channel.basic_ack(m.delivery_tag)))
        for i in range(200):
            ch.basic_publish(amqp.Message("body %d" % i, content_type="text/plain",
                                          application_headers={"n": i}), routing_key=q)
        while len(got) < 200:
            self.conn.drain_events(timeout=SOON)
        self.assertEqual([m.headers["n"] for m in got], list(range(200)))

    def test_confirms(self):
        conn = self.connected(confirm_publish=True)
        ch = conn.channel()
        q = ch.queue_declare(exclusive=True).queue
        for i in range(100):  # each returns when its confirm has come
            ch.basic_publish(amqp.Message("x"), routing_key=q)
        self.assertEqual(ch.queue_declare(q, passive=True).message_count, 100)

    def test_returns(self):
        ch = self.conn.channel()
        came = []
        ch.events["basic_return"].add(lambda *args: came.append(args))
        ch.basic_publish(amqp.Message("x"), routing_key="nowhere", mandatory=True)
        while not came:
            self.conn.drain_events(timeout=SOON)
        self.assertIn("312", str(came[0]))

    def test_errors(self):
        with self.assertRaises(amqp.exceptions.NotFound):
            self.conn.channel().queue_declare("no.such.queue", passive=True)
        with self.assertRaises(amqp.exceptions.AccessRefused):
            amqp.Connection("%s:%d" % self.site.address, password="wrong").connect()
        q = self.conn.channel().queue_declare(exclusive=True).queue
        with self.assertRaises(amqp.exceptions.ResourceLocked):
            self.connected().channel().queue_declare(q, passive=True)

    def test_amqplain_and_heartbeats(self):
        conn = self.connected(login_method="AMQPLAIN", heartbeat=30)
        self.assertEqual(conn.heartbeat, 30)
        conn.send_heartbeat()
        conn.channel().queue_declare(exclusive=True)


class Kombu(Case):
    def connection(self, **args):
        conn = kombu.Connection(self.url("pyamqp"), **args)
        self.addCleanup(conn.release)
        return conn

    def test_simple_queue(self):
        with self.connection() as conn:
            queue = conn.SimpleQueue(self.name())
            for i in range(50):
                queue.put({"n": i}, serializer="json")
            for i in range(50):
                m = queue.get(timeout=SOON)
                self.assertEqual(m.payload, {"n": i})
                m.ack()
            self.assertEqual(queue.qsize(), 0)
            queue.close()
            queue.queue.delete()

    def test_producer_pool_and_consumer(self):
        self.addCleanup(kombu.pools.reset)  # its connections end with the test
        x = kombu.Exchange(self.name("x"), "topic", durable=False, auto_delete=True)
        q = kombu.Queue(self.name(), x, routing_key="a.#", durable=False, auto_delete=True)
        conn, got = self.connection(), []
        with conn.Consumer(q, callbacks=[lambda body, m: (got.append(body), m.ack())]):
            for i in range(20):
                with kombu.pools.producers[self.connection()].acquire(block=True) as producer:
                    producer.publish({"i": i}, exchange=x, routing_key="a.%d" % i, declare=[x, q])
            while len(got) < 20:
                conn.drain_events(timeout=SOON)
        self.assertEqual([b["i"] for b in got], list(range(20)))

    def test_confirm_publish(self):
        conn = self.connection(transport_options={"confirm_publish": True})
        q = kombu.Queue(self.name(), auto_delete=True, durable=False)
        producer = conn.Producer()
        for i in range(20):
            producer.publish(i, routing_key=q.name, declare=[q])
        self.assertEqual(q(conn.channel()).queue_declare(passive=True).message_count, 20)
        q(conn.channel()).delete()

    def test_a_lost_connection_is_made_again(self):
        conn = self.connection()
        conn.connect()
        conn.connection._transport.sock.shutdown(socket.SHUT_RDWR)
        ensured = conn.ensure(conn, lambda: conn.default_channel.queue_declare(
            "", exclusive=True).queue, max_retries=3)
        self.assertTrue(ensured().startswith("amq.gen-"))
