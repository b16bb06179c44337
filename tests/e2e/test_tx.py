"""Transactions: what is published and settled between select and commit happens at the commit."""

import wire
from harness.case import Case, only
from harness.waits import wait_until

THREADS = True
REMOTE = True

NOT_TX = "PRECONDITION_FAILED - channel is not transactional"


class Base(Case):
    def setUp(self):
        super().setUp()
        self.conn = self.connect()
        self.ch = self.conn.channel()
        self.other = self.channel()  # what others see

    def select(self):
        self.ch.call("tx.select")
        return self.ch

    def queue(self, *bodies):
        q = self.name()
        self.other.declare(q, auto_delete=False)
        self.addCleanup(lambda: self.channel().call("queue.delete", queue=q))
        for body in bodies:
            self.other.publish("", q, body)
        self.other.barrier()
        return q

    def count(self, q):
        return self.other.declare(q, passive=True).message_count

    def got(self, q, n):
        """n messages, out with our channel: their tags."""
        return [self.ch.get(q, no_ack=False).delivery_tag for _ in range(n)]


class Modes(Base):
    def test_select_may_be_repeated(self):
        self.select()
        q = self.queue()
        self.ch.publish("", q, b"1")
        self.select()
        self.ch.call("tx.commit")
        self.assertEqual(self.count(q), 1)

    def test_commit_and_rollback_without_select(self):
        for method in ("tx.commit", "tx.rollback"):
            ch = self.conn.channel()
            ch.send(method)
            ch.expect_close(406, NOT_TX, method)

    def test_it_is_either_confirms_or_transactions(self):
        ch = self.conn.channel()
        ch.call("confirm.select")
        ch.send("tx.select")
        ch.expect_close(406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode",
                        "tx.select")
        self.select()
        self.ch.send("confirm.select")
        self.ch.expect_close(406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode",
                             "confirm.select")

    def test_nothing_to_commit_and_nothing_to_roll_back(self):
        ch = self.select()
        for _ in range(3):
            ch.call("tx.commit")
            ch.call("tx.rollback")

    def test_no_confirms(self):
        ch = self.select()
        ch.publish("", self.queue(), b"x")
        ch.call("tx.commit")
        ch.expect_silence(0.05)


class Publishing(Base):
    def test_nobody_sees_it_before_the_commit(self):
        q, ch = self.queue(), self.select()
        for i in range(5):
            ch.publish("", q, b"%d" % i)
        ch.barrier()
        self.assertEqual(self.count(q), 0)
        ch.call("tx.commit")
        self.assertEqual(self.count(q), 5)
        self.assertEqual(self.other.get_all(q), [b"%d" % i for i in range(5)])

    def test_the_next_transaction_begins_with_the_commit(self):
        q, ch = self.queue(), self.select()
        ch.publish("", q, b"1")
        ch.call("tx.commit")
        ch.publish("", q, b"2")
        ch.barrier()
        self.assertEqual(self.other.get_all(q), [b"1"])
        ch.call("tx.commit")
        self.assertEqual(self.other.get_all(q), [b"2"])

    def test_rolled_back(self):
        q, ch = self.queue(), self.select()
        ch.publish("", q, b"1")
        ch.call("tx.rollback")
        ch.publish("", q, b"2")
        ch.call("tx.commit")
        self.assertEqual(self.other.get_all(q), [b"2"])

    def test_a_closed_channel_commits_nothing(self):
        q, ch = self.queue(), self.select()
        ch.publish("", q, b"1")
        ch.close()
        self.assertEqual(self.count(q), 0)

    def test_routed_when_it_is_published_not_when_it_is_committed(self):
        q, ch = self.queue(), self.select()
        ch.publish("amq.direct", q + ".key", b"before")
        ch.barrier()
        self.other.bind(q, "amq.direct", q + ".key")
        ch.publish("amq.direct", q + ".key", b"after")
        ch.barrier()
        self.other.call("queue.unbind", queue=q, exchange="amq.direct", routing_key=q + ".key")
        ch.call("tx.commit")
        self.assertEqual(self.other.get_all(q), [b"after"])

    def test_to_a_queue_that_went_meanwhile(self):
        q, ch = self.queue(), self.select()
        ch.publish("", q, b"1")
        ch.publish("", q, b"2", mandatory=True)
        ch.barrier()
        self.other.call("queue.delete", queue=q)
        ch.send("tx.commit")
        self.assertEqual(ch.expect("basic.return").body, b"2")
        ch.expect("tx.commit_ok")

    def test_to_many_queues(self):
        x = self.name("x")
        self.other.call("exchange.declare", exchange=x, type="fanout", auto_delete=True)
        queues = [self.queue() for _ in range(10)]
        for q in queues:
            self.other.bind(q, x)
        ch = self.select()
        for i in range(20):
            ch.publish(x, "", b"%d" % i)
        ch.call("tx.commit")
        for q in queues:  # commit-ok means: in all of them
            self.assertEqual(self.count(q), 20)

    def test_large_bodies_and_many_messages(self):
        q, ch = self.queue(), self.select()
        big = bytes(range(256)) * 4096
        ch.publish("", q, big)
        for i in range(10000):
            ch.publish("", q, b"%d" % i)
        ch.call("tx.commit")
        self.assertEqual(self.count(q), 10001)
        self.assertEqual(self.other.get(q).body, big)
        self.assertEqual(self.other.get(q).body, b"0")

    def test_it_is_delivered_to_its_own_channel(self):
        q, ch = self.queue(), self.select()
        ch.consume(q, no_ack=True)
        ch.publish("", q, b"1")
        ch.expect_silence(0.05)
        ch.call("tx.commit")
        self.assertEqual(ch.deliveries(1)[0].body, b"1")


class Returns(Base):
    def test_they_come_with_the_commit_and_before_its_answer(self):
        ch = self.select()
        q = self.queue()
        ch.publish("", "nowhere", b"1", mandatory=True)
        ch.publish("", q, b"2", mandatory=True)
        ch.publish("", "nowhere", b"3", mandatory=True)
        ch.barrier()
        ch.expect_silence(0.05)
        ch.send("tx.commit")
        self.assertEqual([ch.expect("basic.return").body for _ in range(2)], [b"1", b"3"])
        ch.expect("tx.commit_ok")
        self.assertEqual(self.count(q), 1)

    def test_what_is_rolled_back_does_not_come_back(self):
        ch = self.select()
        ch.publish("", "nowhere", b"1", mandatory=True)
        ch.call("tx.rollback")
        ch.call("tx.commit")
        ch.expect_silence(0.05)


class Errors(Base):
    def test_they_come_at_once_and_undo_it(self):
        q, ch = self.queue(), self.select()
        ch.publish("", q, b"1")
        ch.publish("missing", q, b"2")
        ch.expect_close(404, "NOT_FOUND - no exchange 'missing' in vhost '/'", "basic.publish")
        self.assertEqual(self.count(q), 0)

    def test_what_is_wrong_with_a_message_is_said_at_once(self):
        ch = self.select()
        ch.publish("", "q", b"x", {"expiration": "soon"})
        ch.expect_close(406, None, "basic.publish")

    def test_acks_of_unknown_tags(self):
        ch = self.select()
        ch.ack(7)
        ch.expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 7", "basic.ack")

    def test_an_ack_is_given_once(self):
        q, ch = self.queue(b"1"), self.select()
        tag, = self.got(q, 1)
        ch.ack(tag)
        ch.ack(tag)
        ch.expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 1", "basic.ack")
        self.assertEqual(self.other.get_all(q), [b"1"])


    def test_a_queue_that_refuses_spoils_the_commit(self):
        q, full = self.queue(), self.name()
        self.other.declare(full, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
        ch = self.select()
        for body in (b"1", b"2", b"3"):
            ch.publish("", full, body)
        ch.publish("", q, b"x")
        ch.send("tx.commit")
        ch.expect_close(406, "PRECONDITION_FAILED - partial tx completion", "tx.commit")
        self.assertEqual(self.count(q), 1)
        ch = self.conn.channel()
        ch.call("tx.select")
        ch.publish("", q, b"y")
        ch.call("tx.commit")
        self.assertEqual(self.count(q), 2)


class Settling(Base):
    def unacked_come_back(self, q):
        """Bodies of what is still out with our channel, once it is gone."""
        self.ch.close()
        return self.other.get_all(q)

    def test_acks_count_at_the_commit(self):
        q, ch = self.queue(b"1", b"2", b"3"), self.select()
        tags = self.got(q, 3)
        ch.ack(tags[0])
        ch.call("tx.commit")
        ch.ack(tags[1])
        self.assertEqual(self.unacked_come_back(q), [b"2", b"3"])

    def test_acks_that_are_rolled_back_may_be_given_again(self):
        q, ch = self.queue(b"1", b"2", b"3"), self.select()
        tags = self.got(q, 3)
        ch.ack(tags[1], multiple=True)
        ch.call("tx.rollback")
        ch.expect_silence(0.05)  # they stay with the client
        self.assertEqual(self.count(q), 0)
        ch.ack(tags[0])
        ch.call("tx.commit")
        self.assertEqual(self.unacked_come_back(q), [b"2", b"3"])

    def test_tags_keep_their_order_over_a_rollback(self):
        q, ch = self.queue(*[b"%d" % i for i in range(100)]), self.select()
        tags = self.got(q, 100)
        for tag in tags[::3] + tags[1::3][::-1]:
            ch.ack(tag)
        ch.call("tx.rollback")
        ch.ack(tags[49], multiple=True)
        ch.call("tx.commit")
        self.assertEqual(self.unacked_come_back(q), [b"%d" % i for i in range(50, 100)])

    def test_rejects_wait_for_the_commit(self):
        q, ch = self.queue(b"1", b"2", b"3"), self.select()
        tags = self.got(q, 3)
        ch.send("basic.reject", delivery_tag=tags[0], requeue=True)
        ch.send("basic.nack", delivery_tag=tags[1], requeue=False)
        ch.barrier()
        self.assertEqual(self.count(q), 0)
        ch.call("tx.commit")
        wait_until(lambda: self.count(q) == 1, "the message to come back")
        self.assertEqual(self.other.get(q).body, b"1")
        self.assertEqual(self.unacked_come_back(q), [b"3"])

    def test_rejects_that_are_rolled_back(self):
        q, ch = self.queue(b"1", b"2"), self.select()
        tags = self.got(q, 2)
        ch.send("basic.nack", delivery_tag=0, multiple=True, requeue=False)
        ch.call("tx.rollback")
        self.assertEqual(self.count(q), 0)
        ch.ack(tags[0])
        ch.call("tx.commit")
        self.assertEqual(self.unacked_come_back(q), [b"2"])

    def test_publishes_and_acks_together(self):
        source, target, ch = self.queue(b"1", b"2"), self.queue(), self.select()
        for tag in self.got(source, 2):
            ch.publish("", target, b"did %d" % tag)
            ch.ack(tag)
        self.assertEqual(self.count(target), 0)
        ch.call("tx.commit")
        self.assertEqual(self.other.get_all(target), [b"did 1", b"did 2"])
        self.assertEqual(self.unacked_come_back(source), [])

    def test_what_is_settled_but_not_committed_still_counts_against_the_prefetch(self):
        q, ch = self.queue(b"1", b"2"), self.select()
        ch.call("basic.qos", prefetch_count=1)
        ch.consume(q)
        ch.ack(ch.deliveries(1)[0].delivery_tag)
        ch.expect_silence(0.05)
        ch.call("tx.commit")
        self.assertEqual(ch.deliveries(1)[0].body, b"2")

    def test_the_same_for_a_limit_of_the_channel(self):
        q, ch = self.queue(b"1", b"2"), self.select()
        ch.call("basic.qos", prefetch_count=1, **{"global": True})
        ch.consume(q)
        ch.ack(ch.deliveries(1)[0].delivery_tag)
        ch.expect_silence(0.05)
        ch.call("tx.commit")
        self.assertEqual(ch.deliveries(1)[0].body, b"2")

    def test_recover_concerns_what_is_not_settled(self):
        q, ch = self.queue(b"1", b"2"), self.select()
        tags = self.got(q, 2)
        ch.ack(tags[0])
        ch.call("basic.recover", requeue=True)
        self.assertEqual(self.count(q), 1)
        ch.call("tx.commit")
        self.assertEqual(self.unacked_come_back(q), [b"2"])

    def test_a_lost_connection_gives_back_what_was_not_committed(self):
        q, ch = self.queue(b"1", b"2"), self.select()
        tags = self.got(q, 2)
        ch.ack(tags[0])
        ch.call("tx.commit")
        ch.ack(tags[1])
        self.conn.drop()
        wait_until(lambda: self.count(q) == 1, "the message to come back")
        self.assertEqual(self.other.get_all(q), [b"2"])


@only("broker", "threads")
class Memory(Case):
    """What is not committed is in nobody's queue, so nobody can make room by taking it away."""

    def setUp(self):
        super().setUp()
        self.server = self.broker(conf={"limits": {"memory-high-watermark": "64M"}})

    def test_a_transaction_too_large_is_refused_and_leaves_nothing_behind(self):
        conn = self.connect(address=self.server.address)
        ch, other = conn.channel(), self.connect(address=self.server.address).channel()
        q = self.name()
        other.declare(q, auto_delete=False)
        for _ in range(3):
            ch.call("tx.select")
            for _ in range(40):
                ch.publish("", q, b"m" * (1 << 20))
            closed = ch.next()
            self.assertEqual((closed.name, closed.reply_code), ("channel.close", 406))
            self.assertIn("transaction too large", closed.reply_text)
            self.assertEqual(other.declare(q, passive=True).message_count, 0)
            ch = conn.channel()
        ch.call("tx.select")
        ch.publish("", q, b"m" * (1 << 20))
        ch.call("tx.commit")
        self.assertEqual(other.declare(q, passive=True).message_count, 1)

    def test_the_limit_set_at_run_time_counts(self):
        self.server.ctl("set_vm_memory_high_watermark", "absolute", "640MB")
        ch = self.connect(address=self.server.address).channel()
        q = self.name()
        ch.declare(q, auto_delete=False)
        ch.call("tx.select")
        for _ in range(40):
            ch.publish("", q, b"m" * (1 << 20))
        ch.call("tx.commit")
        self.assertEqual(ch.declare(q, passive=True).message_count, 40)
