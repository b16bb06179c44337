"""Whether a mirror that lacks something may take over, when the master stops and when it dies: as policies say, in
RabbitMQ's words; and mirrors that are brought up to date, or not."""

import os
import subprocess

from harness.servers import BUILD
from harness.waits import LONG, wait_until
from test_cluster_mirror_admin import Admin

TARGETS = ("broker",)
MANY = 200000  # as RabbitMQ's own suite has it
MANUAL = '{"ha-mode":"all","ha-sync-mode":"manual"%s}'


class Promote(Admin):
    def state(self, queue):
        return self.columns(self.second, queue, "state")[0]

    def served_by(self, queue):
        return self.nodes_of(self.columns(self.second, queue, "pid")[0])

    def wait_state(self, queue, state):
        wait_until(lambda: self.state(queue) == state, "%s is %s" % (queue, state), LONG)

    def publish_many(self, node, queue, count):
        bench = subprocess.run(
            [os.path.join(BUILD, "contrib", "bench", "warren-bench"), "--host",
             "%s:%d" % node.address, "--queue-name", queue, "--no-declare", "--keep",
             "--publishers", "1", "--consumers", "0", "--persistent", "--durable",
             "--confirm", "1000", "--messages", str(count), "--interval", "0"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LONG)
        self.assertEqual(bench.returncode, 0, bench.stdout)

    def behind(self, more, publish=None):
        """Queues that only the first node has all of: the others missed `more` messages."""
        for n in (self.third, self.second):
            n.stop()
        for queue in self.queues:
            (publish or self.publish)(self.first, queue, more)
        self.cluster.start([self.second, self.third]).wait_voters()

    def test_only_who_is_in_sync_unless_a_policy_says_always(self):
        self.queues = ["m-synced", "m-stopped", "m-died"]
        for queue, says in zip(self.queues, ("", ',"ha-promote-on-shutdown":"always"',
                                             ',"ha-promote-on-failure":"always"')):
            self.ctl(self.first, "set_policy", "--priority", "1", queue, "^%s$" % queue,
                     MANUAL % says)
        self.declare(self.first, *self.queues)
        self.behind(3)
        self.first.stop()
        wait_until(lambda: self.served_by("m-stopped") != [self.first.node], "a master", LONG)
        self.wait_state("m-stopped", "running")
        self.assertEqual(self.depth(self.second, "m-stopped"), 0)
        for queue in ("m-synced", "m-died"):
            self.wait_state(queue, "down")
        self.cluster.start([self.first]).wait_voters()
        for queue in ("m-synced", "m-died"):
            self.wait_state(queue, "running")
            self.assertEqual(self.served_by(queue), [self.first.node])
            self.assertEqual(self.depth(self.second, queue), 3)
        self.first.kill()
        wait_until(lambda: self.served_by("m-died") != [self.first.node], "a master", LONG)
        self.wait_state("m-died", "running")
        self.assertEqual(self.depth(self.second, "m-died"), 0)
        self.wait_state("m-synced", "down")
        self.cluster.start([self.first]).wait_voters()
        self.wait_state("m-synced", "running")
        self.assertEqual(self.depth(self.third, "m-synced"), 3)

    def test_a_sync_of_many_that_was_cancelled_is_repeated(self):
        self.ctl(self.first, "set_policy", "--priority", "1", "manual", "^m", MANUAL % "")
        self.queues = ["m"]
        self.declare(self.first, "m")
        behind, actions = 0, "/api/queues/%2F/m/actions"
        while True:
            behind += MANY
            self.behind(MANY, self.publish_many)
            wait_until(lambda: len(self.nodes_of(self.columns(self.first, "m", "slave_pids")[0])) == 2,
                       "mirrors", LONG)
            api = self.api(self.first)
            for action in ("sync", "cancel_sync"):
                self.assertEqual(api.post(actions, {"action": action}).status, 204)
            wait_until(lambda: self.ctl(self.third, "cancel_sync_queue", "m") == "not_syncing\n",
                       "the end of it")
            if self.nodes_of(self.columns(self.first, "m", "synchronised_slave_pids")[0]) == []:
                break  # else there was too little to send
        self.ctl(self.third, "sync_queue", "m")
        self.wait_in_sync(self.first, "m", self.second, self.third)
        self.first.kill()
        wait_until(lambda: self.served_by("m") != [self.first.node], "a master", LONG)
        self.assertEqual(self.depth(self.third, "m"), behind)
