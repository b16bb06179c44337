"""pika: blocking and event-driven, plain and TLS, as programs use it."""

import threading

import pika
import pika.exceptions

from harness import ports
from harness.case import Case
from harness.waits import SOON

THREADS = True


class Base(Case):
    def params(self, **args):
        host, port = self.site.address
        args.setdefault("heartbeat", 0)
        args.setdefault("blocked_connection_timeout", SOON)
        return pika.ConnectionParameters(host, port, **args)

    def blocking(self, **args):
        conn = pika.BlockingConnection(self.params(**args))
        self.addCleanup(lambda: conn.is_open and conn.close())
        return conn


class Blocking(Base):
    def test_hello_world(self):
        ch = self.blocking().channel()
        q = ch.queue_declare("", exclusive=True).method.queue
        ch.basic_publish("", q, b"Hello World!")
        for method, props, body in ch.consume(q, inactivity_timeout=SOON):
            self.assertEqual(body, b"Hello World!")
            ch.basic_ack(method.delivery_tag)
            break
        ch.cancel()

    def test_work_queue(self):
        publisher, worker = self.blocking().channel(), self.blocking().channel()
        q = self.name()
        publisher.queue_declare(q, durable=True)
        for i in range(300):
            publisher.basic_publish("", q, b"%d" % i, pika.BasicProperties(delivery_mode=2))
        worker.basic_qos(prefetch_count=1)
        done = []

        def work(ch, method, props, body):
            done.append(int(body))
            ch.basic_ack(method.delivery_tag)
            if len(done) == 300:
                ch.stop_consuming()
        worker.basic_consume(q, work)
        worker.start_consuming()
        self.assertEqual(done, list(range(300)))
        publisher.queue_delete(q)

    def test_publish_and_subscribe(self):
        x = self.name("logs")
        conns = [self.blocking() for _ in range(3)]
        subscribers = [c.channel() for c in conns[1:]]
        publisher = conns[0].channel()
        publisher.exchange_declare(x, "fanout", auto_delete=True)
        queues = []
        for ch in subscribers:
            q = ch.queue_declare("", exclusive=True).method.queue
            ch.queue_bind(q, x)
            queues.append(q)
        publisher.basic_publish(x, "", b"info")
        for ch, q in zip(subscribers, queues):
            _, _, body = next(ch.consume(q, auto_ack=True, inactivity_timeout=SOON))
            self.assertEqual(body, b"info")
            ch.cancel()

    def test_a_direct_exchange_until_quit(self):
        """A durable direct exchange, a queue bound to it, and a consumer that ends on a word."""
        x, q = self.name("direct"), self.name()
        sender, receiver = self.blocking().channel(), self.blocking().channel()
        for ch in (sender, receiver):
            ch.exchange_declare(x, "direct", durable=True)
        receiver.queue_declare(q, durable=True)
        receiver.queue_bind(q, x, "hello")
        for body in (b"one", b"two", b"quit"):
            sender.basic_publish(x, "hello", body, pika.BasicProperties(delivery_mode=2))
        heard = []

        def hear(ch, method, props, body):
            ch.basic_ack(method.delivery_tag)
            heard.append(body)
            if body == b"quit":
                ch.basic_cancel(consumer_tag="me")
                ch.stop_consuming()
        receiver.basic_consume(q, hear, consumer_tag="me")
        receiver.start_consuming()
        self.assertEqual(heard, [b"one", b"two", b"quit"])
        self.assertEqual(receiver.queue_declare(q, passive=True).method.message_count, 0)
        receiver.queue_delete(q)
        sender.exchange_delete(x)

    def test_a_list_of_addresses(self):
        """Without a balancer a client takes the next of its list, where nobody is at the first."""
        nobody = self.params(connection_attempts=1, socket_timeout=SOON)
        nobody.port = ports.free_port()
        conn = pika.BlockingConnection([nobody, self.params()])
        self.addCleanup(conn.close)
        ch = conn.channel()
        self.assertTrue(ch.queue_declare("", exclusive=True).method.queue)

    def test_remote_procedure_call(self):
        server = self.blocking().channel()
        q = server.queue_declare("", exclusive=True).method.queue

        def serve(ch, method, props, body):
            ch.basic_publish("", props.reply_to, b"%d" % (int(body) ** 2),
                             pika.BasicProperties(correlation_id=props.correlation_id))
            ch.basic_ack(method.delivery_tag)
            if int(body) == 9:
                ch.stop_consuming()
        server.basic_consume(q, serve)
        thread = threading.Thread(target=server.start_consuming)
        thread.start()
        client = self.blocking().channel()
        reply = client.queue_declare("", exclusive=True).method.queue
        answers = client.consume(reply, auto_ack=True, inactivity_timeout=SOON)
        for i in range(10):
            client.basic_publish("", q, b"%d" % i,
                                 pika.BasicProperties(reply_to=reply, correlation_id=str(i)))
            _, props, body = next(answers)
            self.assertEqual((props.correlation_id, int(body)), (str(i), i * i))
        thread.join()

    def test_confirms_and_returns(self):
        ch = self.blocking().channel()
        ch.confirm_delivery()
        q = ch.queue_declare("", exclusive=True).method.queue
        for i in range(50):
            ch.basic_publish("", q, b"%d" % i, mandatory=True)
        with self.assertRaises(pika.exceptions.UnroutableError):
            ch.basic_publish("", "nowhere", b"x", mandatory=True)
        self.assertEqual(ch.queue_declare(q, passive=True).method.message_count, 50)

    def test_headers_of_python_types(self):
        import datetime
        import decimal
        ch = self.blocking().channel()
        q = ch.queue_declare("", exclusive=True).method.queue
        headers = {"i": 1, "big": 2**40, "s": "é", "b": True, "n": None, "l": [1, "a", [2]],
                   "d": {"x": {"y": 1}}, "dec": decimal.Decimal("3.14"),
                   "t": datetime.datetime(2020, 1, 2, 3, 4, 5), "bytes": b"\x00\xff"}
        ch.basic_publish("", q, b"x", pika.BasicProperties(headers=headers))
        _, props, _ = ch.basic_get(q, auto_ack=True)
        self.assertEqual(props.headers, headers)

    def test_a_channel_error_leaves_the_connection(self):
        conn = self.blocking()
        ch = conn.channel()
        with self.assertRaises(pika.exceptions.ChannelClosedByBroker) as caught:
            ch.queue_declare("no.such.queue", passive=True)
        self.assertEqual(caught.exception.reply_code, 404)
        conn.channel().queue_declare("", exclusive=True)

    def test_wrong_password(self):
        with self.assertRaises(pika.exceptions.ProbableAuthenticationError) as caught:
            self.blocking(credentials=pika.PlainCredentials("guest", "wrong"))
        self.assertIn("403", str(caught.exception))

    def test_wrong_virtual_host(self):
        with self.assertRaises((pika.exceptions.ProbableAccessDeniedError,
                                pika.exceptions.ConnectionClosedByBroker)) as caught:
            self.blocking(virtual_host="nope")
        self.assertIn("530", str(caught.exception))

    def test_five_megabytes(self):
        ch = self.blocking().channel()
        q = ch.queue_declare("", exclusive=True).method.queue
        body = bytes(range(256)) * 20000
        ch.basic_publish("", q, body)
        self.assertEqual(ch.basic_get(q, auto_ack=True)[2], body)


class Evented(Base):
    def test_select_connection(self):
        """Publishes with confirms and consumes on one event-driven connection."""
        state = {"acked": 0, "got": []}
        n = 500

        def on_channel(ch):
            state["ch"] = ch
            ch.confirm_delivery(on_confirm, callback=lambda _: ch.queue_declare(
                "", exclusive=True, callback=on_queue))

        def on_queue(frame):
            ch, q = state["ch"], frame.method.queue
            ch.basic_consume(q, on_message)
            for i in range(n):
                ch.basic_publish("", q, b"%d" % i)

        def on_confirm(frame):
            m = frame.method
            state["acked"] = m.delivery_tag if m.multiple else state["acked"] + 1
            finish()

        def on_message(ch, method, props, body):
            state["got"].append(int(body))
            ch.basic_ack(method.delivery_tag)
            finish()

        def finish():
            if state["acked"] == n and len(state["got"]) == n:
                conn.close()

        conn = pika.SelectConnection(self.params(),
                                     lambda c: c.channel(on_open_callback=on_channel),
                                     on_close_callback=lambda c, why: c.ioloop.stop())
        conn.ioloop.call_later(SOON, conn.ioloop.stop)
        conn.ioloop.start()
        self.assertEqual(state["got"], list(range(n)))
        self.assertEqual(state["acked"], n)
