"""Dead letters on their way to a queue of another node, which is lost meanwhile."""

import signal

from harness.cluster_case import ClusterCase
from harness.waits import LONG, wait_until

TARGETS = ("broker",)
COUNT = 20
LOCAL = {"x-queue-master-locator": "client-local"}
TO_FAR = dict(LOCAL, **{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "far"})


class Letters(ClusterCase):
    def setUp(self):
        super().setUp()
        self.channel(address=self.there.address).declare("far", durable=True, arguments=LOCAL)
        self.ch = self.channel(address=self.here.address)
        self.ch.declare("source", durable=True, arguments=TO_FAR)
        self.cluster.wait_queues(["source", "far"])

    def ctl(self, node, *args):
        out = node.ctl("-n", node.node, "-q", *args, seconds=LONG)
        self.assertEqual(out.returncode, 0, "%s\n%s%s" % (args, out.stdout, out.stderr))
        return out.stdout

    def taken(self, count=COUNT):
        """Messages that are confirmed, and out with a consumer: their last tag."""
        self.ch.call("confirm.select")
        for i in range(count):
            self.ch.publish("", "source", b"%d" % i, props={"delivery_mode": 2})
            self.ch.expect("basic.ack")
        self.ch.consume("source")
        return [d.delivery_tag for d in self.ch.deliveries(count)][-1]

    def is_down(self):
        return "rabbit2" not in self.ctl(self.here, "cluster_status", "--formatter", "erlang") \
            .split("running_nodes")[1].split("]")[0]

    def die_on_the_way(self, number=signal.SIGSTOP):
        """The far node hears nothing any more when they are rejected, and is missed after that."""
        tag = self.taken()
        self.there.kill(signal.SIGSTOP)
        self.ch.send("basic.nack", delivery_tag=tag, multiple=True, requeue=False)
        self.ch.barrier()
        wait_until(self.is_down, "it is taken for down", LONG)
        if number == signal.SIGKILL:
            self.there.kill()

    def bodies(self, queue="far", node=None):
        """What is taken out of it; nothing while it is down."""
        conn = self.connect(address=(node or self.third).address)
        got = conn.channel()
        got.send("queue.declare", queue=queue, passive=True)
        if got.next(LONG).name == "channel.close":
            conn.drop()
            return set()
        taken = set(got.get_all(queue))
        conn.close()
        return taken

    def expect_all_there(self):
        wanted, seen = {b"%d" % i for i in range(COUNT)}, set()

        def are_there():
            seen.update(self.bodies())
            return seen == wanted
        wait_until(are_there, "all letters are there", LONG)

    def expect_settled(self, queue="source"):
        """Nothing of them is left where they came from, not even on its disk, in the end."""
        def is_settled():
            self.here.stop()
            self.cluster.start([self.here])
            self.cluster.wait_queues([queue], [self.here])
            ch = self.channel(address=self.here.address)
            return ch.call("queue.declare", queue=queue, passive=True).message_count == 0
        wait_until(is_settled, "nothing is left", LONG)

    def test_they_are_sent_again_when_it_goes_on(self):
        self.die_on_the_way()
        self.there.proc.signal(signal.SIGCONT)
        self.expect_all_there()
        self.expect_settled()

    def test_and_when_it_was_killed(self):
        self.die_on_the_way(signal.SIGKILL)
        self.cluster.start([self.there])
        self.expect_all_there()
        self.expect_settled()

    def test_those_whose_queue_is_gone_for_good_are_settled(self):
        self.die_on_the_way(signal.SIGKILL)
        self.ctl(self.here, "forget_cluster_node", self.there.node)
        self.expect_settled()
        self.assertEqual(self.cluster.lacks(self.here, ["far"]), ["far"])

    def test_those_of_a_node_that_dies_itself_are_still_there(self):
        self.die_on_the_way(signal.SIGKILL)
        self.here.kill()
        self.cluster.start([self.here, self.there])
        self.cluster.wait_queues(["source", "far"])
        self.assertEqual(self.bodies("source", self.here) | self.bodies(),
                         {b"%d" % i for i in range(COUNT)})

    def test_others_do_not_wait_for_them(self):
        self.die_on_the_way()
        other = self.channel(address=self.here.address)
        other.declare("near", arguments=LOCAL)
        other.declare("other", arguments=dict(LOCAL, **{
            "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "near"}))
        other.publish("", "other", b"m")
        other.consume("other")
        other.send("basic.reject", delivery_tag=other.expect("basic.deliver").delivery_tag,
                   requeue=False)
        self.assertEqual(wait_until(lambda: self.bodies("near"), "it is there", LONG), {b"m"})
        self.there.proc.signal(signal.SIGCONT)
        self.expect_all_there()

    def test_what_a_full_queue_refuses_is_settled(self):
        far = self.channel(address=self.there.address)
        far.declare("full", durable=True, arguments=dict(
            LOCAL, **{"x-max-length": 1, "x-overflow": "reject-publish"}))
        self.ch.declare("source2", durable=True, arguments=dict(
            TO_FAR, **{"x-dead-letter-routing-key": "full"}))
        self.cluster.wait_queues(["source2", "full"])
        self.ch.call("confirm.select")
        for i in range(3):
            self.ch.publish("", "source2", b"%d" % i, props={"delivery_mode": 2})
            self.ch.expect("basic.ack")
        self.ch.consume("source2")
        tag = [d.delivery_tag for d in self.ch.deliveries(3)][-1]
        self.ch.send("basic.nack", delivery_tag=tag, multiple=True, requeue=False)
        self.ch.barrier()
        wait_until(lambda: far.call("queue.declare", queue="full", passive=True).message_count == 1,
                   "the first is there", LONG)
        self.expect_settled("source2")
