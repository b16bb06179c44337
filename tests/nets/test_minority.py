"""Without a majority of the voters the metadata cannot change, and says so at once; messages go on."""

import json
import time

from harness.api import Api
from harness.waits import LONG, SCALE, wait_until
from lab.case import LOCAL, NetCase

TARGETS = ("broker",)
BARE = True
AT_ONCE_S = 30 * SCALE  # by what it says: who waits for the others is told something else
NO_MAJORITY = 75


class Minority(NetCase):
    def prepare(self):
        """Each node has a queue; the one that will be alone has what the changes need."""
        hosts = self.cluster(3)
        self.alone = self.pick(hosts)
        ch = self.channel_at(self.alone)
        ch.declare("here", durable=True, arguments=LOCAL)
        ch.declare("goes", durable=True, auto_delete=True, arguments=LOCAL)
        ch.call("exchange.declare", exchange="x", type="direct", durable=True)
        self.ctl(self.alone, "add_user", "somebody", "secret")
        self.local = self.stream(self.alone)  # published and consumed there
        self.local.wait_progress()
        return hosts.others(self.alone)

    def refused_by_amqp(self, method, **args):
        ch = self.channel_at(self.alone)
        start = time.monotonic()
        ch.send(method, **args)
        event = ch.next()
        self.assertLess(time.monotonic() - start, AT_ONCE_S)
        self.assertIn(event.name, ("channel.close", "connection.close"), "%s: %s" % (method, event))
        self.assertRegex(event.reply_text, "^RESOURCE_ERROR - .*majority.*rabbit@")

    def refused_by_ctl(self, *args):
        start = time.monotonic()
        status, why = self.refused(self.alone, *args)
        self.assertLess(time.monotonic() - start, AT_ONCE_S)
        self.assertEqual(status, NO_MAJORITY, why)
        self.assertIn("majority", why)

    def all_six_are_refused(self, other):
        self.refused_by_amqp("queue.declare", queue="new", durable=True)
        self.refused_by_amqp("queue.delete", queue="here")
        self.refused_by_amqp("exchange.declare", exchange="new", type="direct")
        self.refused_by_amqp("exchange.delete", exchange="x")
        self.refused_by_amqp("queue.bind", queue="here", exchange="x", routing_key="new")
        self.refused_by_ctl("add_user", "new", "p")
        self.refused_by_ctl("set_permissions", "somebody", ".*", ".*", ".*")
        self.refused_by_ctl("set_policy", "p", ".*", '{"max-length": 1}')
        self.refused_by_ctl("add_vhost", "new")
        self.refused_by_ctl("delete_queue", "here")
        self.refused_by_ctl("forget_cluster_node", other.node)
        with self.alone.space.inside():
            answer = Api(15672).put("/api/users/new", {"password": "p", "tags": ""})
        self.assertEqual(answer.status, 503, answer)
        self.assertIn("majority", answer.body)

    def shown_by_cluster_status(self):
        """Nobody can agree that others are down: what it shows is who answers it, and why."""
        said = json.loads(self.ctl(self.alone, "-q", "--formatter", "json", "cluster_status"))
        self.assertEqual(said["running_nodes"], [self.alone.node])
        self.assertRegex(self.ctl(self.alone, "cluster_status"),
                         "Metadata Cannot Be Changed.*\n\nwaits for .*rabbit@")

    def messages_go_on(self):
        self.local.wait_progress()
        ch = self.channel_at(self.alone)
        ch.declare("here", durable=True, arguments=LOCAL)  # it is there: nothing changes
        ch.call("confirm.select")
        ch.publish("", "here", b"m", {"delivery_mode": 2}, mandatory=True)
        ch.expect("basic.ack")
        ch.consume("here", tag="t")
        ch.ack(ch.expect("basic.deliver").delivery_tag)
        ch.call("basic.cancel", consumer_tag="t")
        ch.call("basic.cancel", consumer_tag=ch.consume("goes"))  # its queue goes with it, later

    def gone_with_its_consumer(self):
        wait_until(lambda: "goes" not in self.ctl(self.alone, "-q", "list_queues", "name").split(),
                   "the queue to go", LONG)

    def test_one_that_is_cut_off(self):
        rest = self.prepare()
        self.hosts.net.isolate(self.alone.machine)
        self.wait_cut_off(self.alone)
        self.all_six_are_refused(rest[0])
        self.shown_by_cluster_status()
        self.messages_go_on()
        for h in rest:
            self.wait_change(h)
        self.hosts.net.heal()
        self.check_end()
        self.gone_with_its_consumer()

    def test_one_whose_partners_are_dead(self):
        rest = self.prepare()
        for h in rest:
            h.kill()
        self.wait_cut_off(self.alone)
        self.all_six_are_refused(rest[0])
        self.shown_by_cluster_status()
        self.messages_go_on()
        self.hosts.start(rest)
        self.check_end()
        self.gone_with_its_consumer()

    def test_a_new_node_does_not_get_in(self):
        rest = self.prepare()
        new = self.add_host()
        new.start()
        self.hosts.net.cut([self.alone.machine, new.machine], [h.machine for h in rest])
        self.wait_cut_off(self.alone)
        self.ctl(new, "stop_app")
        status, why = self.refused(new, "join_cluster", self.alone.node)
        self.assertIn("majority", why)
        self.hosts.net.heal()
        self.ctl(new, "join_cluster", self.alone.node)
        self.ctl(new, "start_app")
        self.check_end()
