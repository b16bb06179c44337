"""Publishes to exchanges go to the master of the queues that they lead to: what brokers say of that."""

import re

from harness.masters_case import Mirrored
from harness.proxy_view import command
from harness.waits import LONG, wait_until

TARGETS = ("proxy",)


class Leads(Mirrored):
    def setUp(self):
        super().setUp()
        self.admin = self.channel(address=self.here.address)
        self.conn = self.connect(address=self.front.address)
        self.prefix = self.name()
        self.sent = 0

    def exchange(self, kind, bindings, word=""):
        """Of that type, bound to these queues by these keys."""
        name = "%s.%s%s" % (self.prefix, kind, word)
        self.admin.call("exchange.declare", exchange=name, type=kind)
        self.addCleanup(self.drop, name)
        for queue, key in bindings:
            self.bind(name, queue, key)
        return name

    def drop(self, name):
        ch = self.channel(address=self.here.address)
        ch.call("exchange.delete", exchange=name)
        ch.conn.close()

    def bind(self, name, queue, key):
        self.admin.call("queue.bind", exchange=name, queue=queue, routing_key=key)

    def publisher(self):
        ch = self.conn.channel()
        ch.call("confirm.select")
        ch.sent = 0
        return ch

    def publish(self, ch, exchange, key):
        """It is confirmed."""
        ch.publish(exchange, key, b"one")
        self.sent += 1
        ch.sent += 1
        self.assertEqual(ch.expect("basic.ack", LONG).delivery_tag, ch.sent)

    def lead(self, exchange, key=None):
        """What the proxy has been told, or None."""
        want = "exchange=%s %s" % (exchange, "key=%s " % key if key is not None else "queues=")
        for line in command(self.front, "show leads").splitlines():
            if want in line and "server=" in line:
                return re.search(r"server=(\S+) .*all=(\S+)", line).groups()
        return None

    def wait_lead(self, exchange, key, server, whole="yes"):
        wait_until(lambda: self.lead(exchange, key) == (server, whole),
                   "%s %s leads to %s" % (exchange, key, server), LONG)

    def leg(self, ch):
        return self.legs()[ch.number]

    def messages(self):
        view = self.channel(address=self.here.address)
        counts = [view.declare(q, passive=True).message_count for q in self.queues.values()]
        view.conn.close()
        return counts

    def test_what_one_channel_learns_serves_the_next(self):
        uses = []
        for server, q in self.queues.items():
            uses.append((server, self.exchange("direct", [(q, "k." + server)], server),
                         "k." + server, "k." + server))
            uses.append((server, self.exchange("topic", [(q, "#." + server)], server),
                         "a.b." + server, "a.b." + server))
            uses.append((server, self.exchange("fanout", [(q, "")], server), "any", None))
        for server, exchange, key, known in uses:
            ch = self.publisher()
            self.publish(ch, exchange, key)
            self.wait_lead(exchange, known, server)
            ch.close()
        learned = self.ways()
        for server, exchange, key, _ in uses:
            ch = self.publisher()
            self.publish(ch, exchange, key)
            self.assertEqual(self.leg(ch), [server], exchange)
            ch.close()
        other = self.publisher()
        self.publish(other, uses[2][1], "another key")
        self.assertEqual(self.leg(other), [uses[2][0]], "a fanout is known for all keys")
        now = self.ways()
        self.assertEqual(now["straight"] - learned["straight"], len(uses) + 1)
        self.assertEqual(now["hop"], learned["hop"])
        self.assertEqual(self.messages(), [7, 6, 6])

    def publish_until_at(self, ch, exchange, key, server):
        def there():
            self.publish(ch, exchange, key)
            return self.leg(ch) == [server]
        wait_until(there, "%s is at %s" % (exchange, server), LONG)

    def test_a_channel_follows_its_queue_once_that_is_known(self):
        """It is somewhere first, since nothing is known; its numbers go on."""
        for server, q in self.queues.items():
            exchange = self.exchange("direct", [(q, "k")], server)
            for _ in range(3):  # somewhere is another place each time
                ch = self.publisher()
                self.publish_until_at(ch, exchange, "k", server)
                straight = self.ways()["straight"]
                for _ in range(5):
                    self.publish(ch, exchange, "k")
                self.assertEqual(self.ways()["straight"] - straight, 5)
                ch.close()
        self.assertEqual(sum(self.messages()), self.sent)
        self.assertEqual(self.failovers(), {"kept": 0, "ended": 0})

    def test_a_master_that_moves_takes_its_publishers_along(self):
        first, second = self.names[:2]
        exchange = self.exchange("topic", [(self.queues[first], "a.*")])
        ch = self.publisher()
        self.publish_until_at(ch, exchange, "a.b", first)
        self.ctl("move_master", self.queues[first], self.there.node)
        wait_until(lambda: self.lead(exchange, "a.b") == (second, "yes"), "the lead moves", LONG)
        self.publish_until_at(ch, exchange, "a.b", second)
        new = self.publisher()
        self.publish(new, exchange, "a.b")
        self.assertEqual(self.leg(new), [second])
        self.assertEqual(self.messages(), [self.sent, 0, 0])

    def test_bindings_that_change_are_heard_of(self):
        first, second, third = self.names
        exchange = self.exchange("direct", [(self.queues[first], "k")])
        ch = self.publisher()
        self.publish_until_at(ch, exchange, "k", first)
        self.admin.call("queue.unbind", exchange=exchange, queue=self.queues[first],
                        routing_key="k")
        self.bind(exchange, self.queues[second], "k")
        self.wait_lead(exchange, "k", second)
        self.publish_until_at(ch, exchange, "k", second)
        # Where all of it is is known no more: it stays, and takes a hop for what is elsewhere.
        self.bind(exchange, self.queues[third], "k")
        wait_until(lambda: self.lead(exchange, "k")[1] == "no", "two of them", LONG)
        wait_until(lambda: self.hops(ch, exchange) == 1, "it takes a hop", LONG)
        for _ in range(20):
            self.publish(ch, exchange, "k")
        self.assertEqual(self.leg(ch), [second])

    def test_a_channel_does_not_come_and_go_with_what_brokers_say(self):
        """Bursts to queues of two masters: it goes once, and not again for news of others."""
        queues = [self.queues[n] for n in self.names[:2]]
        exchange = self.exchange("direct", [(queues[0], "k")])
        self.publish(self.publisher(), exchange, "k")
        ch = self.publisher()
        places = []
        for _ in range(3):
            for now, server in enumerate(self.names[:2]):
                for q in queues:
                    for _ in range(12):
                        self.publish(ch, "", q)
                    places.append(self.leg(ch))
                self.admin.call("queue.unbind", exchange=exchange, queue=queues[now],
                                routing_key="k")
                self.bind(exchange, queues[1 - now], "k")
                self.wait_lead(exchange, "k", self.names[1 - now])
        moves = sum(a != b for a, b in zip(places, places[1:]))
        self.assertLessEqual(moves, 1, places)

    def hops(self, ch, exchange):
        before = self.ways()["hop"]
        self.publish(ch, exchange, "k")
        return self.ways()["hop"] - before

    def test_what_cannot_be_known_stays_where_it_is(self):
        """An exchange that looks at headers, and one that leads nowhere: neither straight nor a hop."""
        headers = self.exchange("headers", [])
        self.admin.call("queue.bind", exchange=headers, queue=self.queues[self.names[1]],
                        routing_key="", arguments={"h": "1"})
        nowhere = self.exchange("direct", [], "nowhere")
        before = self.ways()
        for exchange in (headers, nowhere):
            ch = self.publisher()
            self.publish(ch, exchange, "k")
            at = self.leg(ch)
            wait_until(lambda e=exchange: "exchange=%s " % e in command(self.front, "show leads")
                       and "queues=0" in command(self.front, "show leads"), "it is known", LONG)
            for _ in range(20):
                self.publish(ch, exchange, "k")
            self.assertEqual(self.leg(ch), at)
        now = self.ways()
        self.assertEqual((now["straight"], now["hop"]), (before["straight"], before["hop"]))
        self.assertEqual(now["unknown"] - before["unknown"], 42)
