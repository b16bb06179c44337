"""What a client was told has happened, another client sees: whichever threads their connections
and the queue are on. (RabbitMQ promises less: there, what is requeued may take a moment.)"""

import wire
from harness.case import Case, only

THREADS = True
REMOTE = True

ROUNDS = 40  # of each queue; a race shows in some of them
NOISE = 3000


@only("broker", "threads", "remote")
class SeenByOthers(Case):
    """Three connections and four queues: with three threads, all combinations are among them."""

    def setUp(self):
        super().setUp()
        self.conns = [self.connect() for _ in range(3)]
        self.watchers = [self.channel() for _ in range(3)]
        self.queues = [self.name() for _ in range(4)]
        for q in self.queues:
            self.watchers[0].declare(q, auto_delete=False)
            self.addCleanup(lambda q=q: self.channel().call("queue.delete", queue=q))
        self.noisy = [self.channel() for _ in range(3)]
        self.noise = b"".join(
            wire.method_frame(1, "basic.publish", exchange="", routing_key=q) +
            wire.content_frames(1, b"", None, 4096)
            for q in ["nowhere"] * NOISE)

    def held(self, ch, q, count):
        """Messages out with the channel: their tags."""
        for i in range(count):
            self.watchers[0].publish("", q, b"%d" % i)
        self.watchers[0].barrier()
        tags = [ch.get(q, no_ack=False).delivery_tag for _ in range(count)]
        self.make_noise()
        return tags

    def rounds(self):
        """(connection, watcher, queue) again and again, in changing company."""
        for i in range(ROUNDS):
            for k, q in enumerate(self.queues):
                self.watchers[0].call("queue.purge", queue=q)
                yield self.conns[(i + k) % 3], self.watchers[(i // 3) % 3], q

    def make_noise(self):
        """Keeps all threads busy for a moment."""
        for ch in self.noisy:
            ch.conn.send(self.noise)

    def count(self, watcher, q):
        return watcher.declare(q, passive=True).message_count

    def test_commits_of_rejects(self):
        for conn, watcher, q in self.rounds():
            ch = conn.channel()
            ch.call("tx.select")
            self.held(ch, q, 2)
            ch.send("basic.nack", delivery_tag=0, multiple=True, requeue=True)
            ch.call("tx.commit")
            self.assertEqual(self.count(watcher, q), 2)
            ch.close()

    def test_recover(self):
        for conn, watcher, q in self.rounds():
            ch = conn.channel()
            self.held(ch, q, 2)
            ch.call("basic.recover", requeue=True)
            self.assertEqual(self.count(watcher, q), 2)
            ch.close()

    def test_a_closed_channel(self):
        for conn, watcher, q in self.rounds():
            ch = conn.channel()
            self.held(ch, q, 2)
            ch.close()
            self.assertEqual(self.count(watcher, q), 2)

    def test_a_channel_that_fails(self):
        for conn, watcher, q in self.rounds():
            ch = conn.channel()
            self.held(ch, q, 2)
            ch.ack(77)
            ch.expect_close(406, None, "basic.ack")
            self.assertEqual(self.count(watcher, q), 2)

    def test_a_closed_connection(self):
        for _, watcher, q in self.rounds():
            conn = self.connect()
            self.held(conn.channel(), q, 2)
            conn.close()
            self.assertEqual(self.count(watcher, q), 2)

    def test_what_came_before_an_answer(self):
        """No answer is for a nack, but the next one on its channel is behind it."""
        for conn, watcher, q in self.rounds():
            ch = conn.channel()
            tags = self.held(ch, q, 2)
            ch.conn.send(wire.method_frame(ch.number, "channel.flow", active=True) +
                         wire.method_frame(ch.number, "basic.nack", delivery_tag=tags[1],
                                           multiple=True, requeue=True) +
                         wire.method_frame(ch.number, "channel.flow", active=True))
            ch.expect("channel.flow_ok")
            ch.expect("channel.flow_ok")
            self.assertEqual(self.count(watcher, q), 2)
            ch.close()

    def test_publishes_before_an_answer(self):
        for conn, watcher, q in self.rounds():
            ch = conn.channel()
            ch.publish("", q, b"1")
            ch.publish("", q, b"2")
            ch.barrier()
            self.assertEqual(self.count(watcher, q), 2)
            ch.close()
