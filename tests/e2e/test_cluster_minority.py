"""A node that is cut off from the majority: its clients' connections, after minority-close-after."""

import signal

from harness.case import Case
from harness.cluster import Cluster
from harness.waits import LONG, wait_until

TARGETS = ("broker",)
LOCAL = {"x-queue-master-locator": "client-local"}
TEXT = "CONNECTION_FORCED - this node is cut off from the majority of its cluster and does not " \
       "reach 'rabbit2@localhost'"


class Minority(Case):
    close_after = None

    def setUp(self):
        super().setUp()
        self.cluster = Cluster(self.folder("cluster"), 3,
                               {"cluster": {"minority-close-after": self.close_after}})
        for n in self.cluster.nodes:
            self.own(n)
        self.cluster.start().wait_voters()
        self.here, self.there, self.third = self.cluster.nodes
        self.channel(address=self.there.address).declare("far", durable=True, arguments=LOCAL)
        self.near = self.channel(address=self.here.address)
        self.near.declare("near", durable=True, arguments=LOCAL)
        self.cluster.wait_queues(["near", "far"])
        self.near.call("confirm.select")

    def cut_off(self, number=signal.SIGSTOP):
        """The other two fall silent, and are not declared down by anybody: the one that matters is
        the last, so that there is no majority any more that could say so of it."""
        for n in (self.third, self.there):
            n.kill(number)
            if number == signal.SIGSTOP:
                self.addCleanup(n.proc.signal, signal.SIGCONT)

    def goes_on(self):
        self.near.publish("", "near", b"m", props={"delivery_mode": 2})
        self.near.expect("basic.ack")
        self.assertEqual(self.near.get("near").body, b"m")

    def users(self):
        """Connections that use the far queue: one has unconfirmed publishes, one asks."""
        publisher, asker = (self.channel(address=self.here.address) for _ in range(2))
        publisher.call("confirm.select")
        publisher.publish("", "far", b"before")
        publisher.expect("basic.ack")
        return publisher, asker

    def use(self, users):
        publisher, asker = users
        publisher.publish("", "far", b"m")
        asker.send("queue.declare", queue="far", passive=True)

    def expect_closed(self, users):
        for ch in users:
            ch.conn.expect_close(320, TEXT, seconds=LONG)


class Soon(Minority):
    close_after = "2s"

    def test_those_that_wait_for_a_node_out_of_reach_are_closed_and_others_go_on(self):
        users = self.users()
        idle = self.channel(address=self.here.address)
        self.cut_off()
        self.use(users)
        self.expect_closed(users)
        self.goes_on()
        idle.barrier()
        # Whoever comes and asks for it later is told so at once.
        late = self.channel(address=self.here.address)
        late.publish("", "far", b"m")
        late.conn.expect_close(320, TEXT, seconds=LONG)
        self.goes_on()

    def test_those_of_nodes_that_are_killed_too(self):
        users = self.users()
        self.cut_off(signal.SIGKILL)
        self.use(users)
        self.expect_closed(users)
        self.goes_on()

    def test_nobody_is_closed_when_it_is_over(self):
        self.cut_off()
        late = self.channel(address=self.here.address)
        late.publish("", "far", b"m")
        late.conn.expect_close(320, TEXT, seconds=LONG)
        for n in (self.there, self.third):
            n.proc.signal(signal.SIGCONT)
        users = self.users()
        wait_until(lambda: not self.cluster.lacks(self.here, ["far"]), "it is back", LONG)
        self.use(users)
        users[0].expect("basic.ack", LONG)
        users[1].expect("queue.declare_ok", LONG)


class Later(Minority):
    close_after = "1h"

    def test_before_its_time_they_are_refused_and_stay(self):
        publisher, asker = users = self.users()
        self.cut_off()
        self.use(users)
        publisher.expect("basic.nack", LONG)
        asker.expect("channel.close", LONG, reply_code=404)
        self.goes_on()
