"""Queues: declare, bind, purge, delete; exclusive, auto-delete and server-named ones."""

import re

from harness.case import Case
from harness.waits import wait_until

THREADS = True
REMOTE = True


class Base(Case):
    def setUp(self):
        super().setUp()
        self.conn = self.connect()
        self.ch = self.conn.channel()

    def exists(self, queue):
        """Asked on a channel of another connection, so that nothing is disturbed."""
        ch = self.channel()
        ch.send("queue.declare", queue=queue, passive=True)
        event = ch.next()
        ch.conn.close()
        return event.name == "queue.declare_ok" or event.reply_code == 405

    def wait_gone(self, queue):
        wait_until(lambda: not self.exists(queue), "queue %s gone" % queue)

    def counts(self, queue):
        ok = self.ch.declare(queue, passive=True)
        return ok.message_count, ok.consumer_count


class Declare(Base):
    def test_again_is_harmless_and_counts(self):
        q = self.name()
        ok = self.ch.declare(q, exclusive=True)
        self.assertEqual((ok.queue, ok.message_count, ok.consumer_count), (q, 0, 0))
        for i in range(3):
            self.ch.publish("", q, b"m%d" % i)
        self.ch.barrier()
        self.assertEqual(self.ch.declare(q, exclusive=True).message_count, 3)
        self.assertEqual(self.counts(q), (3, 0))
        other = self.conn.channel()
        other.call("basic.qos", prefetch_count=1)
        other.consume(q)
        other.expect("basic.deliver")
        self.assertEqual(self.counts(q), (2, 1))

    def test_server_named(self):
        names = [self.ch.queue() for _ in range(20)]
        self.assertEqual(len(set(names)), 20)
        for name in names:
            self.assertRegex(name, r"^amq\.gen-[A-Za-z0-9_-]{22}$")

    def test_the_empty_name_means_the_last_one_declared(self):
        q = self.ch.queue()
        self.ch.bind("", "amq.direct", "some.key." + q)
        self.ch.publish("amq.direct", "some.key." + q, b"1")
        self.assertEqual(self.ch.get("").body, b"1")
        # An empty routing key with an empty queue name is the queue's name.
        self.ch.call("queue.bind", queue="", exchange="amq.direct", routing_key="")
        self.ch.publish("amq.direct", q, b"2")
        self.assertEqual(self.ch.get(q).body, b"2")
        self.assertEqual(self.ch.call("queue.purge", queue="").message_count, 0)
        tag = self.ch.consume("")
        self.ch.call("basic.cancel", consumer_tag=tag)
        self.ch.call("queue.delete", queue="")
        self.assertFalse(self.exists(q))

    def test_line_ends_are_taken_out_of_names(self):
        q = self.name()
        self.assertEqual(self.ch.declare("a\r\nb" + q, exclusive=True).queue, "ab" + q)

    def test_longest_and_strangest_names(self):
        base = self.name("né€ 'quoted\" \\ /#*. ")
        for q in (base, base + "x" * (255 - len(base.encode()))):
            self.assertEqual(self.ch.declare(q, exclusive=True).queue, q)
            self.ch.publish("", q, b"hi")
            self.assertEqual(self.ch.get(q).routing_key, q)

    def test_nowait_forms(self):
        q, x = self.name(), self.name("x")
        for name, args in (
                ("exchange.declare", dict(exchange=x, type="direct")),
                ("queue.declare", dict(queue=q, exclusive=True)),
                ("queue.bind", dict(queue=q, exchange=x, routing_key="k"))):
            self.ch.send(name, nowait=True, **args)
        self.ch.publish(x, "k", b"a")
        self.ch.publish(x, "k", b"b")
        self.ch.barrier()  # and not one answer before its own
        self.assertEqual(self.counts(q)[0], 2)
        self.ch.send("queue.purge", queue=q, nowait=True)
        self.assertEqual(self.counts(q)[0], 0)
        self.ch.send("queue.delete", queue=q, nowait=True)
        self.ch.send("exchange.delete", exchange=x, nowait=True)
        self.ch.barrier()
        self.assertFalse(self.exists(q))

    def test_errors_come_in_spite_of_nowait(self):
        self.ch.send("queue.declare", queue=self.name("no"), passive=True, nowait=True)
        self.ch.expect_close(404, None, "queue.declare")

    def test_many(self):
        names = [self.name() for _ in range(500)]
        for q in names:
            self.ch.send("queue.declare", queue=q, exclusive=True)
        for q in names:
            self.ch.expect("queue.declare_ok", queue=q)
        for q in names:
            self.ch.publish("", q, q.encode())
        for q in names:
            self.assertEqual(self.ch.get(q).body, q.encode())


class Bind(Base):
    def test_the_same_binding_twice_is_one(self):
        q = self.ch.queue()
        for _ in range(2):
            self.ch.bind(q, "amq.direct", q + ".k")
        self.ch.publish("amq.direct", q + ".k", b"once")
        self.ch.barrier()
        self.assertEqual(self.ch.get_all(q), [b"once"])
        self.ch.call("queue.unbind", queue=q, exchange="amq.direct", routing_key=q + ".k")
        self.ch.publish("amq.direct", q + ".k", b"gone")
        self.ch.barrier()
        self.assertEqual(self.ch.get_all(q), [])

    def test_two_bindings_that_match_deliver_one_copy(self):
        q = self.ch.queue()
        for key in ("*.k", "#.k"):
            self.ch.bind(q, "amq.topic", q + key[1:] if key[0] == "*" else key)
            self.ch.bind(q, "amq.topic", "#")
        self.ch.publish("amq.topic", q + ".k", b"once")
        self.ch.barrier()
        self.assertEqual(self.ch.get_all(q), [b"once"])

    def test_bindings_differ_by_key_and_arguments(self):
        q = self.ch.queue()
        self.ch.bind(q, "amq.headers", "", {"x-match": "all", "a": self.name()})
        keep, drop = {"x-match": "all", "n": q}, {"x-match": "all", "m": q}
        for args in (keep, drop):
            self.ch.bind(q, "amq.headers", "", args)
        self.ch.call("queue.unbind", queue=q, exchange="amq.headers", arguments=drop)
        self.ch.publish("amq.headers", "", b"kept", {"headers": {"n": q}})
        self.ch.publish("amq.headers", "", b"dropped", {"headers": {"m": q}})
        self.ch.barrier()
        self.assertEqual(self.ch.get_all(q), [b"kept"])

    def test_deleting_a_queue_takes_its_bindings(self):
        x, q = self.name("x"), self.name()
        self.ch.call("exchange.declare", exchange=x, type="fanout", auto_delete=True)
        self.ch.declare(q)
        self.ch.bind(q, x)
        self.ch.call("queue.delete", queue=q)
        ch = self.channel()  # the exchange was auto-delete: its last binding took it along
        ch.send("exchange.declare", exchange=x, passive=True)
        ch.expect_close(404)


class PurgeAndDelete(Base):
    def filled(self, n):
        q = self.ch.queue()
        for i in range(n):
            self.ch.publish("", q, b"%d" % i)
        self.ch.barrier()
        return q

    def test_purge_takes_what_is_ready_only(self):
        q = self.filled(5)
        held = self.ch.get(q, no_ack=False)
        self.assertEqual(self.ch.call("queue.purge", queue=q).message_count, 4)
        self.assertEqual(self.counts(q)[0], 0)
        self.ch.send("basic.reject", delivery_tag=held.delivery_tag, requeue=True)
        self.ch.barrier()
        self.assertEqual(self.ch.get_all(q), [b"0"])

    def test_delete_counts_what_was_lost(self):
        q = self.filled(4)
        self.assertEqual(self.ch.call("queue.delete", queue=q).message_count, 4)
        self.assertFalse(self.exists(q))

    def test_delete_if_unused_and_empty(self):
        q = self.filled(0)
        ok = self.ch.call("queue.delete", queue=q, if_unused=True, if_empty=True)
        self.assertEqual(ok.message_count, 0)

    def test_acks_for_a_queue_that_is_gone_are_fine(self):
        q = self.filled(2)
        tags = [self.ch.get(q, no_ack=False).delivery_tag for _ in range(2)]
        self.conn.channel().call("queue.delete", queue=q)
        self.ch.ack(tags[0])
        self.ch.send("basic.nack", delivery_tag=tags[1], requeue=True)
        self.ch.barrier()

    def test_the_name_is_free_again_and_the_queue_new(self):
        q = self.name()
        for i in range(5):
            self.ch.declare(q, exclusive=bool(i % 2), durable=not i % 2)
            self.ch.publish("", q, b"%d" % i)
            self.ch.barrier()
            self.assertEqual(self.counts(q)[0], 1)
            self.ch.call("queue.delete", queue=q)


class Lifetime(Base):
    def test_exclusive_queues_go_with_their_connection(self):
        for leave in ("close", "drop"):
            with self.subTest(leave):
                owner = self.connect()
                q = owner.channel().queue()
                getattr(owner, leave)()
                self.wait_gone(q)

    def test_exclusive_queues_outlive_their_channel(self):
        first = self.conn.channel()
        q = first.queue()
        first.close()
        self.ch.publish("", q, b"x")
        self.assertEqual(self.ch.get(q).body, b"x")

    def test_auto_delete_goes_with_its_last_consumer(self):
        q = self.name()
        self.ch.declare(q, auto_delete=True)
        one, two = self.conn.channel(), self.channel()
        tag = one.consume(q)
        two.consume(q)
        one.call("basic.cancel", consumer_tag=tag)
        self.ch.barrier()
        self.assertTrue(self.exists(q))
        two.conn.drop()
        self.wait_gone(q)

    def test_auto_delete_waits_for_its_first_consumer(self):
        q = self.name()
        self.ch.declare(q, auto_delete=True)
        self.ch.publish("", q, b"x")
        self.ch.get(q)
        self.ch.barrier()
        self.assertTrue(self.exists(q))
        ch = self.conn.channel()
        ch.consume(q)
        ch.close()
        self.wait_gone(q)

    def test_a_queue_of_everybody_outlives_its_maker(self):
        q = self.name()
        maker = self.channel()
        maker.declare(q)
        maker.publish("", q, b"left behind")
        maker.barrier()
        maker.conn.close()
        self.assertEqual(self.ch.get(q).body, b"left behind")
        self.ch.call("queue.delete", queue=q)

    def test_consumers_are_told_when_their_queue_goes(self):
        q = self.name()
        self.ch.declare(q)
        one, two = self.channel(), self.channel()
        one.consume(q, "one")
        two.consume(q, "two")
        self.ch.call("queue.delete", queue=q)
        for ch, tag in ((one, "one"), (two, "two")):
            cancel = ch.expect("basic.cancel")
            self.assertEqual((cancel.consumer_tag, cancel.nowait), (tag, True))
            ch.barrier()  # and the channel lives on

    def test_those_who_cannot_hear_it_are_not_told(self):
        q = self.name()
        self.ch.declare(q)
        deaf = self.channel(capabilities={"consumer_cancel_notify": False})
        deaf.consume(q)
        self.ch.call("queue.delete", queue=q)
        deaf.barrier()
        deaf.expect_silence(0.2)


class Names(Base):
    def test_consumer_tags_made_by_the_server(self):
        q = self.ch.queue()
        tags = {self.ch.consume(q) for _ in range(10)}
        self.assertEqual(len(tags), 10)
        for tag in tags:
            self.assertTrue(re.match(r"^amq\.ctag-[A-Za-z0-9_-]{22}$", tag), tag)


class Renewal(Base):
    def test_an_auto_delete_queue_declared_again_right_after_its_consumer_went(self):
        q = self.name()
        for n in range(30):
            conn = self.connect()
            ch = conn.channel()
            ch.declare(q, auto_delete=True)
            ch.consume(q)
            conn.close()
            ch = self.channel()
            ch.declare(q, auto_delete=True)
            ch.publish("", q, b"%d" % n)
            ch.consume(q)
            self.assertEqual(ch.expect("basic.deliver").body, b"%d" % n)
            ch.close()
