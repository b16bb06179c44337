"""Messages and queues that live for a while only: expiration, x-message-ttl, x-expires."""

import time

from harness.queues import QueueCase
from harness.waits import wait_until

THREADS = True
REMOTE = True

LONG_TTL = 100000
LEASE = 1500  # of a queue that is to be seen before its end, on a machine that is busy


class Base(QueueCase):
    def send(self, q, body, ttl=None):
        self.ch.publish("", q, body, props={} if ttl is None else {"expiration": str(ttl)})


class Messages(Base):
    def test_a_queue_gives_all_its_messages_a_time(self):
        q = self.queue(x_message_ttl=3000)
        for i in range(3):
            self.send(q, b"%d" % i)
        self.assertEqual(self.ready(q), 3)
        self.wait_ready(q, 0)
        self.assertIsNone(self.ch.get(q))

    def test_a_message_may_have_its_own(self):
        q = self.queue()
        self.send(q, b"brief", 200)
        self.send(q, b"lasting")
        self.wait_ready(q, 1)
        self.assertEqual(self.ch.get_all(q), [b"lasting"])

    def test_the_shorter_time_counts(self):
        q = self.queue(x_message_ttl=LONG_TTL)
        self.send(q, b"brief", 200)
        self.send(q, b"as the queue says", LONG_TTL * 10)
        self.wait_ready(q, 1)
        q = self.queue(x_message_ttl=200)
        self.send(q, b"brief", LONG_TTL)
        self.wait_ready(q, 0)

    def test_the_property_reaches_the_consumer(self):
        q = self.queue()
        self.send(q, b"m", LONG_TTL)
        self.assertEqual(self.ch.get(q).props["expiration"], str(LONG_TTL))

    def test_only_the_head_is_judged(self):
        q = self.queue()
        self.send(q, b"lasting")
        self.send(q, b"brief", 100)
        self.ch.barrier()
        time.sleep(0.4)
        self.assertEqual(self.ready(q), 2)
        m = self.ch.get(q, no_ack=False)
        self.assertEqual((m.body, m.message_count), (b"lasting", 0))
        self.assertIsNone(self.ch.get(q))

    def test_what_is_out_does_not_expire_before_it_comes_back(self):
        q = self.queue(x_message_ttl=200)
        tag = self.ch.consume(q)  # so it is out at once
        self.send(q, b"m")
        m = self.ch.expect("basic.deliver")
        self.ch.call("basic.cancel", consumer_tag=tag)
        time.sleep(0.4)
        self.ch.send("basic.reject", delivery_tag=m.delivery_tag, requeue=True)
        self.wait_ready(q, 0)
        self.assertIsNone(self.ch.get(q))

    def test_a_time_goes_on_when_a_message_comes_back(self):
        q = self.queue(x_message_ttl=LONG_TTL)
        self.send(q, b"m")
        m = self.ch.get(q, no_ack=False)
        self.ch.send("basic.reject", delivery_tag=m.delivery_tag, requeue=True)
        again = self.ch.get(q)
        self.assertTrue(again.redelivered)

    def test_zero_means_now_or_never(self):
        q = self.queue()
        self.send(q, b"lost", 0)
        self.wait_ready(q, 0)
        self.ch.consume(q, no_ack=True)
        self.send(q, b"seen", 0)
        self.assertEqual(self.ch.expect("basic.deliver").body, b"seen")

    def test_zero_for_a_queue(self):
        q = self.queue(x_message_ttl=0)
        self.send(q, b"lost")
        self.wait_ready(q, 0)
        self.ch.consume(q, no_ack=True)
        self.send(q, b"seen")
        self.assertEqual(self.ch.expect("basic.deliver").body, b"seen")

    def test_zero_behind_another_waits_for_its_turn_to_go(self):
        q = self.queue()
        self.send(q, b"lasting")
        self.send(q, b"lost", 0)
        self.wait_ready(q, 2)
        self.assertEqual(self.ch.get(q).body, b"lasting")
        self.wait_ready(q, 0)

    def test_confirmed_though_it_expires(self):
        q = self.queue(x_message_ttl=0)
        self.ch.call("confirm.select")
        self.send(q, b"lost")
        self.ch.expect("basic.ack", delivery_tag=1)

    def test_many_at_once(self):
        q = self.queue(x_message_ttl=300)
        for i in range(20000):
            self.send(q, b"%d" % i)
        self.send(q, b"last", LONG_TTL)
        self.wait_ready(q, 0)

    def test_many_of_different_times(self):
        q = self.queue()
        for i in range(500):
            self.send(q, b"%d" % i, 50 + i)
        self.wait_ready(q, 0)

    def test_what_is_no_number(self):
        for text in ("-1", "", "x", "1.5", "12 "):
            ch = self.conn.channel()
            ch.publish("", "nowhere", b"", props={"expiration": text})
            event = ch.next()
            self.assertEqual((event.name, event.reply_code), ("channel.close", 406), text)

    def test_very_long_ones(self):
        q = self.queue()
        for text in (2 ** 32 - 1, 2 ** 32, 315360000000):
            self.send(q, b"m", text)
            self.assertEqual(self.ch.get(q).props["expiration"], str(text))
        ch = self.conn.channel()
        ch.publish("", q, b"", props={"expiration": "315360000001"})
        ch.expect_close(406, "PRECONDITION_FAILED - invalid expiration '315360000001': "
                             "{value_too_large,315360000001}")


class Queues(Base):
    def exists(self, q):
        ch = self.channel()
        try:
            ch.send("queue.bind", queue=q, exchange="amq.direct", routing_key="x")
            return ch.next().name == "queue.bind_ok"
        finally:
            ch.conn.close()

    def lasting(self, expires):
        q = self.name()
        self.ch.declare(q, arguments={"x-expires": expires})
        self.addCleanup(self.drop, q)
        return q

    def drop(self, q):
        ch = self.channel()
        ch.call("queue.delete", queue=q)
        ch.conn.close()

    def test_unused_it_goes(self):
        q = self.lasting(LEASE)
        self.send(q, b"m")
        self.assertTrue(self.exists(q))
        wait_until(lambda: not self.exists(q), "queue gone")

    def test_used_it_stays(self):
        q = self.lasting(LEASE)
        for use in (lambda: self.ch.get(q), lambda: self.ready(q)):
            for _ in range(3):
                time.sleep(LEASE / 2500)
                use()
        self.assertTrue(self.exists(q))
        wait_until(lambda: not self.exists(q), "queue gone")

    def test_a_consumer_keeps_it(self):
        q = self.lasting(LEASE)
        tag = self.ch.consume(q)
        time.sleep(1.2 * LEASE / 1000)
        self.assertTrue(self.exists(q))
        self.ch.call("basic.cancel", consumer_tag=tag)
        self.assertTrue(self.exists(q))
        wait_until(lambda: not self.exists(q), "queue gone")

    def test_a_consumer_that_goes_with_its_connection(self):
        q = self.lasting(LEASE)
        ch = self.channel()
        ch.consume(q)
        time.sleep(1.2 * LEASE / 1000)
        self.assertTrue(self.exists(q))
        ch.conn.close()
        wait_until(lambda: not self.exists(q), "queue gone")

    def test_publishing_is_no_use(self):
        q = self.lasting(500)
        gone = []

        def publish():
            self.send(q, b"m")
            gone.append(not self.exists(q))
            return gone[-1]
        wait_until(publish, "queue gone", interval=0.1)
