"""All nodes of a cluster are stopped by one word: any majority of them may be the first to come
back, and those that do not come are waited for no longer than [cluster] start-grace."""

from harness.case import Case
from harness.cluster import Cluster
from harness.waits import LONG, wait_until

TARGETS = ("broker",)
LOCAL = {"x-queue-master-locator": "client-local"}


class StopAll(Case):
    def setUp(self):
        super().setUp()
        self.cluster = Cluster(self.folder("cluster"), 3, conf={"cluster": {"start-grace": "2s"}})
        for n in self.cluster.nodes:
            self.own(n)
        self.cluster.start().wait_voters()
        self.first, self.second, self.third = self.cluster.nodes

    def wait_end(self, node):
        self.assertEqual(node.proc.popen.wait(timeout=LONG), 0)
        node.dead.append(node.proc)
        node.proc = None

    def stop_all(self, told):
        out = told.ctl("-n", told.node, "-q", "stop_cluster", seconds=LONG)
        self.assertEqual(out.returncode, 0, out.stdout + out.stderr)
        for n in self.cluster.nodes:
            self.wait_end(n)

    def publish(self, node, queue):
        ch = self.channel(address=node.address)
        ch.declare(queue, durable=True, arguments=LOCAL)
        ch.call("confirm.select")
        ch.publish(key=queue, body=b"kept", props={"delivery_mode": 2})
        ch.expect("basic.ack", LONG)

    def depth(self, node, queue):
        ch = self.channel(address=node.address)
        return ch.call("queue.declare", queue=queue, passive=True).message_count

    def states(self, asked):
        return asked.ctl("-n", asked.node, "-q", "--no-table-headers", "list_queues", "state",
                         seconds=LONG).stdout.split()

    def test_all_end_and_any_majority_may_begin(self):
        self.publish(self.first, "one")
        client = self.connect(address=self.second.address)
        self.stop_all(self.third)
        client.expect_close(320, "CONNECTION_FORCED - broker forced connection closure with "
                                 "reason 'shutdown'")
        self.cluster.start([self.second, self.first])
        self.assertEqual(self.depth(self.second, "one"), 1)
        wait_until(lambda: self.cluster.voters(self.first) == 2,
                   "nobody waits for the third any more", LONG)
        self.cluster.start([self.third])
        self.cluster.wait_voters()
        self.assertEqual(self.depth(self.third, "one"), 1)

    def test_when_all_are_back_it_is_as_before(self):
        self.publish(self.first, "one")
        self.publish(self.third, "three")
        self.stop_all(self.first)
        self.cluster.start().wait_voters()
        for n in self.cluster.nodes:
            wait_until(lambda n=n: self.states(n) == ["running", "running"], "both queues", LONG)
            self.assertEqual([self.depth(n, "one"), self.depth(n, "three")], [1, 1])
        self.second.stop()  # alone: as ever, the others go on without its vote
        wait_until(lambda: self.cluster.voters(self.first) == 2, "the second has left", LONG)

    def test_without_a_majority_it_is_refused(self):
        self.first.kill()
        self.second.kill()
        wait_until(lambda: "no majority" in self.third.ctl(
            "-n", self.third.node, "-q", "stop_cluster").stderr, "it is cut off", LONG)
        self.assertTrue(self.third.is_serving())
