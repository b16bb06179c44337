"""Heartbeats both ways, and patience with those who never finish the handshake.

Time is the matter here, so all the watching is done at once, each watcher in its own thread.
"""

import threading
import time
import traceback

import wire
from harness.case import Case
from harness.client import Eof
from harness.waits import Deadline, wait_until

THREADS = True

# What a client that offers no value of its own gets, short enough to be watched.
BROKER_CONF = {"limits": {"heartbeat": "1s"}}
RABBIT_CONF = ["heartbeat = 1", "handshake_timeout = 4000"]
PROXY_CONF = {"defaults": {"timeout-handshake": "4s"}}

# The broker's own patience is ten seconds, as RabbitMQ's is by default.
HANDSHAKE_SECONDS = {"rabbitmq": 4, "proxy": 4, "broker": 10, "threads": 10}


class Timeouts(Case):
    def test_all(self):
        failures = []

        def run(watch):
            try:
                watch()
            except Exception:
                failures.append("%s:\n%s" % (watch.__name__, traceback.format_exc()))
        watches = [getattr(self, n) for n in dir(type(self)) if n.startswith("watch_")]
        threads = [threading.Thread(target=run, args=(w,)) for w in watches]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertFalse(failures, "\n".join(failures))

    # -- heartbeats ------------------------------------------------------------------------

    def watch_the_servers_proposal(self):
        conn = self.raw()
        conn.hello()
        self.assertEqual(conn.login().heartbeat, 1)

    def watch_the_server_beat_while_nothing_else_goes_out(self):
        deadline = Deadline()
        conn = self.connect(heartbeat=1)
        while conn.heartbeats_seen < 3:
            conn._take_frame(conn.read_frame(deadline.left()))
            conn.send(wire.heartbeat_frame())
        self.assertGreater(deadline.elapsed(), 0.9)

    def watch_a_silent_client_given_up(self):
        deadline = Deadline()
        conn = self.connect(heartbeat=1)
        q = conn.channel().queue(auto_delete=True)
        with self.assertRaises(Eof):
            while True:
                conn._take_frame(conn.read_frame(deadline.left()))
        self.assertGreater(deadline.elapsed(), 1.5)
        ch = self.channel()
        ch.send("queue.declare", queue=q, passive=True)
        self.assertEqual(ch.next().name, "channel.close")

    def watch_a_stopped_reader_given_up(self):
        """It fell silent with deliveries on their way to it."""
        conn = self.connect(heartbeat=1, rcvbuf=4096)
        ch, other = conn.channel(), self.channel()
        q = self.name()
        other.declare(q)
        ch.consume(q)
        for _ in range(300):
            other.publish("", q, b"x" * 100000)
        wait_until(lambda: other.declare(q, passive=True).message_count == 300,
                   "it holds no deliveries any more")
        other.call("queue.delete", queue=q)

    def watch_any_traffic_keep_a_client_alive(self):
        ch = self.connect(heartbeat=1).channel()
        until = Deadline(4)
        while not until.passed():
            ch.barrier()
            time.sleep(0.2)  # the pace of a client that is slow but there
        ch.queue()

    def watch_heartbeats_alone_keep_a_client_alive(self):
        conn = self.connect(heartbeat=1)
        ch = conn.channel()
        until = Deadline(4)
        while not until.passed():
            conn.send(wire.heartbeat_frame())
            time.sleep(0.4)
        ch.queue()

    def watch_nothing_for_zero(self):
        conn = self.connect(heartbeat=0)
        ch = conn.channel()
        with self.assertRaises(TimeoutError):
            conn.read_frame(4)
        ch.queue()

    def watch_the_clients_value_count(self):
        conn = self.connect(heartbeat=600)
        ch = conn.channel()
        with self.assertRaises(TimeoutError):
            conn.read_frame(3)
        ch.queue()

    def watch_a_long_transfer_in_pieces(self):
        conn = self.connect(heartbeat=1)
        ch = conn.channel()
        q = ch.queue()
        conn.send(wire.method_frame(1, "basic.publish", routing_key=q) + wire.header_frame(1, 40))
        for _ in range(40):
            conn.send(wire.put_frame(3, 1, b"x"))
            time.sleep(0.1)
        self.assertEqual(len(ch.get(q).body), 40)

    # -- handshake -------------------------------------------------------------------------

    def watch_those_who_never_finish_the_handshake(self):
        """Stopping at each of its steps."""
        seconds = HANDSHAKE_SECONDS[self.target]
        deadline = Deadline()
        conns = [self.raw() for _ in range(5)]
        conns[1].send(wire.PROTOCOL_HEADER[:5])
        for conn in conns[2:]:
            conn.hello()
        for conn in conns[3:]:
            conn.login()
        conns[4].tune_ok()
        for conn in conns:
            conn.expect_eof()
        self.assertGreater(deadline.elapsed(), seconds / 2)
