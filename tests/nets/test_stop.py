"""Nodes that stop in an order, while others are slow."""

import json
import signal
import subprocess

from harness.waits import LONG, wait_until
from lab.case import LOCAL, NetCase

TARGETS = ("broker",)
BARE = True
COUNT = 40
FOR_A_WHILE = 0.3  # seconds; much less than what a node that stops waits for others
TRIES = 8


class Stop(NetCase):
    def left_of(self, host, queue):
        for line in host.ctl("-q", "list_queues", "name", "messages").stdout.splitlines():
            if line.startswith(queue + "\t"):
                return int(line.split("\t")[1])
        return None

    def mirrored(self, host, other, queue):
        """Mastered there, with a mirror in sync at the other one."""
        ch = self.channel_at(host)
        ch.call("confirm.select")
        ch.declare(queue, durable=True, arguments=LOCAL)
        self.ctl(host, "set_policy", "ha", "^m", json.dumps(
            {"ha-mode": "nodes", "ha-params": [host.node, other.node]}))
        wait_until(lambda: other.name in
                   self.ctl(host, "-q", "list_queues", "synchronised_slave_pids"),
                   "a mirror in sync", LONG)
        for i in range(COUNT):
            ch.publish(key=queue, body=b"%d" % i, props={"delivery_mode": 2})
        while ch.expect("basic.ack").delivery_tag < COUNT:
            pass
        ch.conn.close()

    def stop_with_acks_under_way(self, one, slow, other, queues):
        """False: `slow` stood still for so long that it was taken for down, which is something else."""
        for q in queues:
            self.mirrored(one, other, q)
        ch = self.channel_at(slow)
        for q in queues:
            ch.consume(q)
        tag = ch.deliveries(COUNT * len(queues))[-1].delivery_tag
        missed, moved = "%s is taken for down" % slow.node, "moved from %s to" % one.node
        seen = {what: other.log_text().count(what) for what in (missed, moved)}
        slow.pause()
        ch.ack(tag, multiple=True)
        one.proc.signal(signal.SIGTERM)
        wait_until(lambda: other.log_text().count(moved) > seen[moved], "another master", LONG)
        try:
            one.proc.popen.wait(timeout=FOR_A_WHILE)
        except subprocess.TimeoutExpired:
            pass  # it waits, as it should
        slow.resume()
        self.assertEqual(one.stop(), 0)
        if other.log_text().count(missed) > seen[missed]:
            return False
        for q in queues:
            wait_until(lambda q=q: self.left_of(other, q) == 0, "all to be settled", LONG)
            ch.publish(key=q, body=q.encode())
            last = ch.deliveries(1)[0]
            self.assertEqual((last.body, last.redelivered), (q.encode(), False))
            ch.ack(last.delivery_tag)
        return True

    def stops(self, queue_count, **conf):
        hosts = self.cluster(conf=conf)
        other = hosts.leader()
        one, slow = self.rng.sample(hosts.others(other), 2)
        for i in range(TRIES):
            if self.stop_with_acks_under_way(one, slow, other, [
                    "m%d.%d" % (i, n) for n in range(queue_count)]):
                break
            one.start()
            self.wait_one_cluster()
        else:
            self.fail("a pause of %s s is too long for this machine" % FOR_A_WHILE)
        one.start()
        self.check_end()

    def test_what_was_acknowledged_meanwhile_does_not_come_back(self):
        """It is on its way to the master when that gives the queue away, and ends."""
        self.stops(1)

    def test_nor_when_it_passes_from_thread_to_thread(self):
        self.stops(6, node={"threads": 3})
