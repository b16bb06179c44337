"""A node of a cluster is gone, and what it had: the answers are those of RabbitMQ 3.10 with two nodes,
one of them killed."""

import signal

from harness.cluster_case import ClusterCase
from harness.waits import LONG, wait_until

TARGETS = ("broker",)
LOCAL = {"x-queue-master-locator": "client-local"}
HOME_DOWN = "NOT_FOUND - home node 'rabbit2@localhost' of durable queue 'd' in vhost '/' is down " \
            "or inaccessible"


class Down(ClusterCase):
    def setUp(self):
        super().setUp()
        self.populate()

    def connect_to(self, node):
        return self.connect(address=node.address)

    def populate(self):
        """On the second node: a durable queue, a transient and an exclusive one, all bound."""
        self.far = self.connect_to(self.there).channel()
        self.far.call("exchange.declare", exchange="x", type="direct")
        self.far.call("exchange.declare", exchange="auto", type="fanout", auto_delete=True)
        self.far.declare("d", durable=True, arguments=LOCAL)
        self.far.declare("t", arguments=LOCAL)
        self.far.declare("e", exclusive=True)
        for q in "dte":
            self.far.bind(q, "x", q)
        self.far.bind("t", "auto")
        self.conn = self.connect_to(self.here)
        self.ch = self.conn.channel()

    def kill(self):
        self.there.kill()
        wait_until(self.is_down, "the queue to be down", LONG)

    def is_down(self):
        conn = self.connect_to(self.here)
        ch = conn.channel()
        ch.send("queue.declare", queue="d", passive=True)
        down = ch.next(LONG).name == "channel.close"
        conn.drop()
        return down

    def refused(self, method, **args):
        ch = self.conn.channel()
        ch.send(method, **args)
        ch.expect_close(404, HOME_DOWN, method)

    def test_its_durable_queue_is_down_for_everybody(self):
        self.kill()
        self.refused("queue.declare", queue="d", passive=True)
        self.refused("queue.declare", queue="d", durable=True, arguments=LOCAL)
        self.refused("queue.declare", queue="d")
        self.refused("basic.consume", queue="d")
        self.refused("basic.get", queue="d")
        self.refused("queue.purge", queue="d")
        self.refused("queue.delete", queue="d")
        self.refused("queue.delete", queue="d", if_empty=True)
        self.refused("queue.bind", queue="d", exchange="x", routing_key="new")
        self.refused("queue.bind", queue="d", exchange="x", routing_key="d")
        self.refused("queue.unbind", queue="d", exchange="x", routing_key="d")

    def test_what_it_was_asked_and_never_answered_is_refused(self):
        asked = (("basic.get", {}), ("basic.consume", {}), ("queue.purge", {}),
                 ("queue.delete", {}), ("queue.declare", {"passive": True}))
        channels = [self.connect_to(self.here).channel() for _ in asked]
        self.there.kill(signal.SIGSTOP)
        for ch, (method, args) in zip(channels, asked):
            ch.send(method, queue="d", **args)
        self.ch.barrier()  # on the same thread, so all of it is under way
        self.there.kill()
        for ch, (method, _) in zip(channels, asked):
            ch.expect_close(404, HOME_DOWN, method, LONG)
        self.refused("basic.get", queue="d")

    def test_an_orderly_stop_is_no_other(self):
        self.there.stop()
        wait_until(self.is_down, "the queue to be down", LONG)
        self.refused("queue.declare", queue="d", durable=True, arguments=LOCAL)
        self.ch.declare("t")
        self.cluster.start([self.there])
        wait_until(lambda: not self.is_down(), "the queue to be up", LONG)

    def test_an_exclusive_queue_is_its_connections_on_every_node(self):
        locked = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'e' in vhost " \
                 "'/'. It could be originally declared on another connection or the exclusive " \
                 "property value does not match that of the original declaration."
        for method, args in (("queue.declare", {"exclusive": True}), ("basic.get", {}),
                             ("queue.delete", {})):
            ch = self.conn.channel()
            ch.send(method, queue="e", **args)
            ch.expect_close(405, locked, method)
        self.far.conn.close()
        self.ch.declare("e", exclusive=True)

    def test_messages_pass_it_by(self):
        self.kill()
        ch = self.conn.channel()
        ch.call("confirm.select")
        for exchange, key in (("", "d"), ("x", "d"), ("x", "t"), ("x", "e")):
            ch.publish(exchange, key, b"m", mandatory=True)
            ch.expect("basic.return", reply_code=312, reply_text="NO_ROUTE")
            ch.expect("basic.ack")
            ch.publish(exchange, key, b"m")
            ch.expect("basic.ack")

    def test_what_does_not_last_is_gone(self):
        self.kill()
        ch = self.conn.channel()
        ch.send("queue.declare", queue="t", passive=True)
        ch.expect_close(404, "NOT_FOUND - no queue 't' in vhost '/'", "queue.declare")
        ch = self.conn.channel()
        ch.send("exchange.declare", exchange="auto", passive=True)
        ch.expect_close(404, "NOT_FOUND - no exchange 'auto' in vhost '/'", "exchange.declare")
        self.ch.declare("t")
        self.ch.declare("e", exclusive=True)
        self.ch.publish("", "t", b"anew")
        self.assertEqual(self.ch.get("t").body, b"anew")

    def test_its_consumers_hear_of_it(self):
        self.far.publish("", "d", b"m")
        self.far.publish("", "t", b"m")
        self.ch.consume("d", tag="of-d")
        self.ch.consume("t", tag="of-t")
        tags = [self.ch.expect("basic.deliver").delivery_tag for _ in range(2)]
        self.kill()
        gone = {self.ch.expect("basic.cancel").consumer_tag for _ in range(2)}
        self.assertEqual(gone, {"of-d", "of-t"})
        self.ch.ack(tags[0])
        self.ch.barrier()
        self.ch.ack(tags[0])
        self.ch.expect_close(406, method="basic.ack")

    def test_it_comes_back_with_what_lasts(self):
        self.far.call("confirm.select")
        self.far.publish("", "d", b"kept", props={"delivery_mode": 2})
        self.far.expect("basic.ack")  # only what is confirmed outlives a kill
        self.kill()
        self.cluster.start([self.there])
        wait_until(lambda: not self.is_down(), "the queue to be up", LONG)
        self.assertEqual(self.ch.get("d").body, b"kept")
        self.ch.call("confirm.select")
        self.ch.publish("x", "d", b"more")
        self.ch.expect("basic.ack")
        self.assertEqual(self.ch.get("d").body, b"more")
