"""A node that answers to everything and serves nobody, because its disk stalls or is slow, or one of
its threads does not go on: the others go on without it, and take it back when that is over."""

import errno
import json
import re
import time

from faulty import LEFT, FaultyNode
from harness.api import Api
from harness.case import Case
from harness.cluster import Cluster
from harness.waits import LONG, SCALE, wait_until

TARGETS = ("broker",)
HERE = {"x-queue-master-locator": "client-local"}
PERSISTENT = {"delivery_mode": 2}
FOR_EVER = 10000000
BOUND = 40 * SCALE  # seconds in which nothing is confirmed: ten, on a machine that has time for it


class FaultyCluster(Cluster):
    node_class = FaultyNode


class Unwell(Case):
    def setUp(self):
        super().setUp()
        self.cluster = FaultyCluster(self.folder("cluster"), 3, conf={"node": {"threads": "1"}})
        for n in self.cluster.nodes:
            self.own(n)
        self.cluster.start().wait_voters()
        self.a, self.b, self.c = self.cluster.nodes
        # On a busy machine an election may be under way, and then it is refused for now.
        wait_until(lambda: self.b.ctl("-n", self.b.node, "-q", "set_policy", "ha", "^m",
                                      '{"ha-mode":"all","ha-sync-mode":"automatic"}',
                                      seconds=LONG).returncode == 0, "the policy", LONG)

    def tearDown(self):
        for n in self.cluster.nodes:
            n.faults.heal()
        super().tearDown()

    def ctl(self, node, *args):
        out = node.ctl("-n", node.node, "-q", *args, seconds=LONG)
        self.assertEqual(out.returncode, 0, "%s\n%s%s" % (args, out.stdout, out.stderr))
        return out.stdout

    def at(self, node):
        return self.connect(address=node.address).channel()

    def declared(self, node, queue):
        self.at(node).declare(queue, durable=True, arguments=HERE)
        wait_until(lambda: len(self.placed(queue)[1]) == 2, "mirrors of " + queue, LONG)

    def placed(self, queue, asked=None):
        """Its master, and the mirrors that are in sync."""
        rows = self.ctl(asked or self.b, "list_queues", "name", "pid", "synchronised_slave_pids")
        for line in rows.splitlines():
            name, pid, mirrors = (line.split("\t") + ["", ""])[:3]
            if name == queue:
                return (re.search(r"rabbit\d", pid).group(0), re.findall(r"rabbit\d", mirrors))
        return None, []

    def confirming(self, node):
        ch = self.at(node)
        ch.call("confirm.select")
        return ch

    def one_by_one(self, ch, queue, first, last):
        """Each is published when the one before was confirmed: the longest wait, in seconds."""
        longest = 0
        for i in range(first, last):
            ch.publish("", queue, b"%d" % i, PERSISTENT)
            began = time.monotonic()
            ch.expect("basic.ack", LONG)
            longest = max(longest, time.monotonic() - began)
        return longest

    def unwell(self, asked):
        status = json.loads(self.ctl(asked, "cluster_status", "--formatter", "json"))
        return [name.partition("@")[0] for name in status["unwell_nodes"]]

    def confirms_without(self, sick):
        """Masters and mirrors of it are elsewhere."""
        for queue in ("m1", "m2"):
            self.assertLess(self.one_by_one(self.channels[queue], queue, 100, 200), BOUND)
        for queue in ("m1", "m2"):
            master, mirrors = self.placed(queue)
            self.assertNotEqual(master, sick.name)
            self.assertNotIn(sick.name, mirrors)

    def goes_on_without(self, sick):
        self.confirms_without(sick)
        for queue in ("m1", "m2"):
            self.assertRegex(self.ctl(self.c, "why_queue", queue),
                             r"; unwell, since it does not keep up: %s$" % sick.node)
        self.assertEqual(self.unwell(self.c), [sick.name])

    def comes_back(self, sick):
        """With all that it lacks."""
        sick.faults.heal()
        for queue in ("m1", "m2"):
            wait_until(lambda q=queue: len(self.placed(q)[1]) == 2, "mirrors of " + queue, LONG)
        self.assertEqual(self.unwell(self.c), [])
        self.ctl(self.b, "move_master", "m1", sick.node)

    def nothing_is_lost(self, asked):
        for queue in ("m1", "m2"):
            got = self.at(asked).get_all(queue)
            self.assertEqual(sorted(got, key=int), [b"%d" % i for i in range(200)])

    def before(self):
        self.declared(self.a, "m1")
        self.declared(self.b, "m2")
        self.channels = {q: self.confirming(self.b) for q in ("m1", "m2")}
        for queue in ("m1", "m2"):
            self.one_by_one(self.channels[queue], queue, 0, 100)

    def test_a_disk_that_stalls(self):
        self.before()
        self.a.faults.slow("sync", FOR_EVER)
        self.goes_on_without(self.a)
        self.comes_back(self.a)
        self.nothing_is_lost(self.a)

    def test_a_disk_that_is_slow(self):
        self.before()
        self.a.faults.slow("sync", 1000)
        self.goes_on_without(self.a)
        self.nothing_is_lost(self.c)

    def is_left(self, fault, code):
        """Nothing on its disk can be trusted: the node ends and says why, and comes back when the
        disk is well."""
        self.before()
        self.a.faults.fail(fault, code=code)
        self.confirms_without(self.a)
        self.assertEqual(self.a.proc.wait(LONG), LEFT)
        self.a.proc.tolerated = True
        self.assertIn(b"the disk failed", self.a.proc.log_bytes())
        self.a.faults.heal()
        self.cluster.start([self.a])
        self.comes_back(self.a)
        self.nothing_is_lost(self.a)

    def test_a_disk_that_fails(self):
        self.is_left("sync", errno.EIO)

    def unacknowledged(self):
        rows = self.ctl(self.b, "list_queues", "name", "messages_unacknowledged").splitlines()
        return dict(line.split("\t") for line in rows).get("m")

    def test_what_is_read_after_its_queue_went_and_came_back_is_not_called_committed(self):
        """By then somebody else may have got it."""
        self.declared(self.a, "m")
        self.one_by_one(self.confirming(self.b), "m", 0, 1)
        getter = self.at(self.c)
        getter.call("tx.select")
        asked = self.a.faults.calls("sync")
        self.a.faults.slow("sync", 1000)
        getter.send("basic.get", queue="m", no_ack=False)
        wait_until(lambda: self.a.faults.calls("sync") > asked, "the master to be asked", LONG)
        self.c.faults.hang("shard-0")  # before it is answered
        self.a.faults.heal()
        wait_until(lambda: self.unacknowledged() == "1", "the answer", LONG)
        for node in (self.b, self.a):
            self.ctl(self.b, "move_master", "m", node.node)
            wait_until(lambda n=node: self.placed("m")[0] == n.name, "another master", LONG)
        self.c.faults.heal()
        got = getter.expect("basic.get_ok", LONG)
        if got.redelivered:
            return  # that took so long that the nodes' session was lost: it was asked for again
        getter.ack(got.delivery_tag)
        getter.send("tx.commit")
        getter.expect_close(406, "PRECONDITION_FAILED - partial tx completion")

    def test_who_led_says_nothing_of_others_once_its_disk_has_failed(self):
        """It hears of them no more, and is there for as long as a client does not answer."""
        leader = next(n for n in self.cluster.nodes if b"this node leads" in n.proc.log_bytes())
        other = next(n for n in self.cluster.nodes if n is not leader)
        deaf = self.connect(address=leader.address)
        deaf.polite = False
        leader.faults.fail("sync")
        self.ctl(other, "set_policy", "more", "^x", '{"max-length":1}')
        self.assertEqual(leader.proc.wait(LONG), LEFT)
        leader.proc.tolerated = True
        self.assertNotIn(b"is taken for down", leader.proc.log_bytes())

    def test_a_disk_that_lost_the_room_it_had_promised(self):
        self.is_left("write", errno.ENOSPC)

    def test_a_thread_that_does_not_go_on(self):
        self.before()
        self.a.faults.hang("shard-0")
        self.goes_on_without(self.a)
        self.nothing_is_lost(self.c)

    def test_a_control_loop_that_does_not_go_on(self):
        """It has no part in the cluster then, and counts as down; its shards lose what they master,
        though they would go on for as long as they have grants."""
        self.before()
        self.a.faults.hang("warren-broker")  # the main thread runs it
        for queue in ("m1", "m2"):
            wait_until(lambda q=queue: self.placed(q)[0] not in (None, self.a.name),
                       "another master of " + queue, LONG)
        self.confirms_without(self.a)
        self.a.faults.hang("")
        self.comes_back(self.a)
        self.nothing_is_lost(self.a)

    def running(self, asked):
        status = json.loads(self.ctl(asked, "cluster_status", "--formatter", "json"))
        return status["running_nodes"]

    def long_to_read(self):
        """The first has died, and is back; the disk makes it wait while it reads its journal."""
        ch = self.confirming(self.a)
        ch.declare("lone", durable=True, arguments=HERE)
        self.one_by_one(ch, "lone", 0, 20)
        self.a.kill()
        wait_until(lambda: self.a.node not in self.running(self.b), "it is down", LONG)
        self.a.faults.only("/journal/")
        self.a.faults.slow("sync", 2500)
        self.a.dead.append(self.a.proc)
        self.a.start(ready=False)
        wait_until(lambda: self.a.node in self.running(self.b), "it is back", LONG)
        wait_until(lambda: self.a.faults.calls("sync") > 0, "it syncs what it read", LONG)

    def test_who_reads_a_long_journal_is_up_meanwhile(self):
        self.long_to_read()
        looks = 0
        while not self.a.is_serving():
            self.assertIn(self.a.node, self.running(self.b))
            looks += 1
        self.assertGreater(looks, 1)
        self.a.faults.heal()
        self.assertEqual(self.at(self.b).get_all("lone"), [b"%d" % i for i in range(20)])

    def taken_for_down(self):
        return sum(n.proc.log_bytes().count(b"%s is taken for down" % self.a.node.encode())
                   for n in (self.b, self.c))

    def test_an_order_amid_it_is_carried_out_behind_it(self):
        """All have died; the first one waited for the others, which is why warrenctl is answered,
        and reads now that they are there."""
        ch = self.confirming(self.a)
        ch.declare("lone", durable=True, arguments=HERE)
        self.one_by_one(ch, "lone", 0, 20)
        for n in self.cluster.nodes:
            n.kill()
            n.dead.append(n.proc)
        self.a.faults.only("/journal/")
        self.a.faults.slow("sync", 2500)
        self.a.start(ready=False)
        wait_until(lambda: self.a.ctl("-n", self.a.node, "-q", "cluster_status").returncode == 0,
                   "it answers warrenctl", LONG)
        lives = self.a.proc.log_bytes().count(b"in the cluster as node")
        for n in (self.b, self.c):
            n.start(ready=False)
        wait_until(lambda: self.a.proc.log_bytes().count(b"in the cluster as node") > lives,
                   "it is in", LONG)
        self.assertFalse(self.a.is_serving())
        self.ctl(self.a, "start_app")
        self.assertTrue(self.a.is_serving())
        self.a.faults.heal()
        for n in (self.b, self.c):
            n.wait_ready()
        self.assertEqual(self.at(self.b).get_all("lone"), [b"%d" % i for i in range(20)])

    def test_who_is_stopped_amid_it_ends_in_order(self):
        """It tells the others that it stops, which is another thing than to die."""
        self.long_to_read()
        before = self.taken_for_down()
        self.assertEqual(self.a.stop(), 0)
        wait_until(lambda: self.a.node not in self.running(self.b), "it is known to be gone", LONG)
        self.assertEqual(self.taken_for_down(), before)
        self.a.faults.heal()
        self.cluster.start([self.a])
        self.assertEqual(self.at(self.b).get_all("lone"), [b"%d" % i for i in range(20)])
