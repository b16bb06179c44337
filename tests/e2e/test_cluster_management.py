"""The management of a cluster: every node shows all of it, and does what another one has to do."""

import signal
import time

import wire
from harness.api import Api, quote
from harness.case import Case
from harness.cluster import Cluster
from harness.waits import LONG, SCALE, wait_until

TARGETS = ("broker",)
FIRST = True
BARE = True
LOCAL = {"x-queue-master-locator": "client-local"}
ANSWER_S = 40 * SCALE  # a node that hangs is passed over long before that
MANY = 4500  # more than one question between nodes is about (4096)


def management_port(node):
    return int(node.conf["listen"]["management"].rpartition(":")[2])


def shown(rows, *fields):
    """Those fields of each, sorted; a field may lie inside another: a.b"""
    def value(row, field):
        for part in field.split("."):
            row = row.get(part, {}) if isinstance(row, dict) else row
        return row
    return sorted([value(row, f) for f in fields] for row in rows)


class Management(Case):
    def setUp(self):
        super().setUp()
        self.cluster = Cluster(self.folder("cluster"), 3, {"node": {"threads": 2}})
        for n in self.cluster.nodes:
            self.own(n)
        self.cluster.start()
        self.nodes = self.cluster.nodes
        self.apis = [Api(management_port(n)) for n in self.nodes]

    def channel_to(self, node):
        return self.connect(address=node.address).channel()

    def homes(self, prefix="of"):
        """A queue on each node, and a channel there."""
        channels = [self.channel_to(n) for n in self.nodes]
        names = ["%s-%s" % (prefix, n.name) for n in self.nodes]
        for ch, q in zip(channels, names):
            ch.declare(q, durable=True, arguments=LOCAL)
        return channels, names


class Everywhere(Management):
    def populate(self):
        """Each node's channel consumes from the next one's queue, holds a message of it, and one
        more is ready in it."""
        channels, names = self.homes()
        for i, ch in enumerate(channels):
            ch.call("basic.qos", prefetch_count=1)
            ch.consume(names[(i + 1) % 3], tag="c%d" % i)
        for q in names:
            channels[0].publish("", q, b"1")
            channels[0].publish("", q, b"2")
        for ch in channels:
            ch.expect("basic.deliver")
        return channels, names

    LISTS = {
        "queues": ("name", "vhost", "node", "state", "durable", "messages_ready",
                   "messages_unacknowledged", "consumers"),
        "connections": ("name", "node", "user", "vhost", "channels", "state"),
        "channels": ("name", "node", "number", "consumer_count", "messages_unacknowledged"),
        "consumers": ("consumer_tag", "queue.name", "channel_details.name",
                      "channel_details.node", "ack_required", "prefetch_count", "active"),
        "exchanges": ("name", "vhost", "type"),
        "bindings": ("source", "destination", "routing_key"),
        "vhosts": ("name",),
        "users": ("name",),
        "permissions": ("user", "vhost", "configure"),
        "nodes": ("name", "type", "running"),
    }

    def test_each_node_shows_the_same(self):
        channels, names = self.populate()
        for kind, fields in self.LISTS.items():
            def agree(kind=kind, fields=fields):
                lists = [shown(a.get("/api/" + kind).json, *fields) for a in self.apis]
                return lists[0] == lists[1] == lists[2] and lists[0]
            wait_until(agree, "the same %s everywhere" % kind, LONG)
        queues = {q["name"]: q for q in self.apis[2].get("/api/queues").json}
        for n, q in zip(self.nodes, names):
            self.assertEqual(queues[q]["node"], n.node)
            wait_until(lambda q=q: all((a.get("/api/queues/%2f/" + q).json["messages_ready"],
                                        a.get("/api/queues/%2f/" + q).json["consumers"]) == (1, 1)
                                       for a in self.apis), "the figures of %s" % q, LONG)
        self.assertEqual(len(self.apis[0].get("/api/channels").json), 3)
        self.assertEqual(len(self.apis[1].get("/api/consumers").json), 3)

    def test_totals_are_of_the_whole_cluster(self):
        self.populate()

        def totals(api):
            o = api.get("/api/overview").json
            return o["object_totals"], {k: o["queue_totals"].get(k) for k in (
                "messages", "messages_ready", "messages_unacknowledged")}

        want = {"messages": 6, "messages_ready": 3, "messages_unacknowledged": 3}
        for api in self.apis:
            wait_until(lambda api=api: totals(api)[1] == want, "the totals", LONG)
            objects = totals(api)[0]
            self.assertEqual((objects["queues"], objects["connections"], objects["channels"],
                              objects["consumers"]), (3, 3, 3, 3))

    def test_a_connection_of_another_node_is_shown_and_closed(self):
        there = self.connect(address=self.nodes[1].address)
        there.channel()
        wait_until(lambda: self.apis[0].get("/api/connections").json, "the connection", LONG)
        name = self.apis[0].get("/api/connections").json[0]["name"]
        self.assertEqual(self.apis[2].get("/api/connections/" + quote(name)).json["node"],
                         self.nodes[1].node)
        self.assertEqual(self.apis[0].delete("/api/connections/" + quote(name)).status, 204)
        there.expect_close(320)
        for api in self.apis:
            wait_until(lambda api=api: api.get("/api/connections").json == [], "it to go", LONG)

    def test_more_queues_than_one_question_is_about(self):
        conn = self.connect(address=self.nodes[1].address)
        ch = conn.channel()
        conn.send(b"".join(
            wire.method_frame(1, "queue.declare", queue="many-%05d" % i, arguments=LOCAL)
            for i in range(MANY)))
        for _ in range(MANY):
            ch.expect("queue.declare_ok", LONG)
        for i in (0, 4095, 4096, MANY - 1):
            ch.publish("", "many-%05d" % i, b"x")
        ch.barrier()
        api = self.apis[0]
        rows = api.get("/api/queues").json
        self.assertEqual([q["name"] for q in rows], ["many-%05d" % i for i in range(MANY)])
        self.assertEqual({q["node"] for q in rows}, {self.nodes[1].node})
        full = {"many-%05d" % i for i in (0, 4095, 4096, MANY - 1)}
        wait_until(lambda: {q["name"] for q in api.get("/api/queues").json if q.get("messages")} ==
                   full, "the figures of all of them", LONG)
        page = api.get("/api/queues?page=2&page_size=3&sort=messages&sort_reverse=true").json
        self.assertEqual((page["total_count"], page["item_count"]), (MANY, 3))
        self.assertEqual(sum(q["messages"] for q in page["items"]), 1)


class Forwarded(Management):
    def holds(self, q, count):
        wait_until(lambda: self.apis[0].get("/api/queues/%2f/" + q).json.get("messages") == count,
                   "%d messages in it" % count, LONG)

    def test_messages_by_way_of_any_node(self):
        _, names = self.homes()
        q = names[1]
        publish = {"properties": {}, "routing_key": q, "payload": "hello",
                   "payload_encoding": "string"}
        for api in self.apis:
            got = api.post("/api/exchanges/%2f/amq.default/publish", publish)
            self.assertEqual((got.status, got.json), (200, {"routed": True}))
        for api, mode in zip(self.apis, ("ack_requeue_true", "ack_requeue_false",
                                         "reject_requeue_false")):
            got = api.post("/api/queues/%2f/" + q + "/get", {
                "count": 5, "ackmode": mode, "encoding": "auto"})
            self.assertEqual(got.status, 200, got)
            want = 3 if mode != "reject_requeue_false" else 0
            self.assertEqual([m["payload"] for m in got.json], ["hello"] * want)
        for api in self.apis:
            self.assertTrue(api.post("/api/exchanges/%2f/amq.default/publish",
                                     publish).json["routed"])
        self.holds(q, 3)
        self.assertEqual(self.apis[2].delete("/api/queues/%2f/" + q + "/contents").status, 204)
        got = self.apis[0].post("/api/queues/%2f/" + q + "/get", {
            "count": 5, "ackmode": "ack_requeue_true", "encoding": "auto"})
        self.assertEqual(got.json, [])

    def test_a_queue_is_deleted_by_way_of_another_node(self):
        channels, names = self.homes()
        channels[0].publish("", names[2], b"x")
        channels[0].barrier()
        path = "/api/queues/%2f/" + names[2]
        refused = [api.delete(path + "?if-empty=true") for api in self.apis]
        self.assertEqual({r.status for r in refused}, {400})
        self.assertEqual(len({r.body for r in refused}), 1)
        self.assertEqual(self.apis[0].delete(path).status, 204)
        for api in self.apis:
            self.assertEqual(api.get(path).status, 404)

    def test_rights_count_wherever_one_asks(self):
        _, names = self.homes()
        api = self.apis[0]
        self.assertEqual(api.put("/api/users/mona", {"password": "p", "tags": "management"}).status,
                         201)
        self.assertEqual(api.put("/api/permissions/%2f/mona", {
            "configure": "^$", "write": "^amq\\.default$", "read": "^of-rabbit1$"}).status, 201)
        monas = [a.as_user("mona", "p") for a in self.apis]
        ask = {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}
        for q in names:
            for path, body, verb in (("/api/queues/%2f/" + q + "/get", ask, "post"),
                                     ("/api/queues/%2f/" + q + "/contents", None, "delete"),
                                     ("/api/queues/%2f/" + q, None, "delete")):
                if (q, verb) == ("of-rabbit1", "delete") and path.endswith("contents"):
                    continue  # it may, and does
                answers = [m.call(verb.upper(), path, body) for m in monas]
                self.assertEqual(len({(a.status, a.body) for a in answers}), 1,
                                 (verb, path, answers))
                may = q == "of-rabbit1" and verb == "post"
                self.assertEqual(answers[0].status == 200, may, (verb, path, answers))
        for m in monas:
            self.assertEqual(m.get("/api/nodes").status, 401)
            # A connection of somebody else is not shown to who may only manage.
            self.assertEqual(m.get("/api/connections").json, [])
        self.assertEqual(api.delete("/api/users/mona").status, 204)
        for m in monas:
            self.assertEqual(m.get("/api/queues").status, 401)


class Away(Management):
    def timed(self, api, path):
        start = time.monotonic()
        got = api.get(path)
        self.assertLess(time.monotonic() - start, ANSWER_S, path)
        return got

    def test_one_that_hangs_is_passed_over(self):
        channels, names = self.homes()
        channels[0].publish("", names[0], b"x")
        channels[2].publish("", names[2], b"x")
        for ch in channels:
            ch.barrier()
        for q in names:
            self.apis[0].wait("/api/queues/%2f/" + q, name=q)
        self.nodes[2].kill(signal.SIGSTOP)
        try:
            for path in ("/api/queues", "/api/connections", "/api/channels", "/api/consumers",
                         "/api/overview", "/api/nodes", "/api/queues/%2f/" + names[2]):
                got = self.timed(self.apis[0], path)
                self.assertEqual(got.status, 200, (path, got))
            rows = {q["name"]: q for q in self.apis[0].get("/api/queues").json}
            self.assertEqual(set(rows), set(names))
            self.assertEqual(rows[names[0]]["messages"], 1)
            mine = shown(self.timed(self.apis[0], "/api/connections").json, "node")
            self.assertEqual(mine, [[self.nodes[0].node], [self.nodes[1].node]])
            # Once it counts as down, that is said.
            wait_until(lambda: not {n["name"]: n for n in self.apis[0].get("/api/nodes").json}[
                self.nodes[2].node]["running"], "it counts as down", LONG)
            wait_until(lambda: self.apis[1].get("/api/queues/%2f/" + names[2]).json["state"] ==
                       "down", "its queue is down", LONG)
        finally:
            self.nodes[2].proc.signal(signal.SIGCONT)
        for api in self.apis[:2]:
            wait_until(lambda api=api: api.get("/api/queues/%2f/" + names[2]).json.get(
                "messages") == 1, "its figures are back", LONG)

    def test_what_one_that_is_gone_has_to_do_is_refused(self):
        channels, names = self.homes()
        channels[0].barrier()
        self.nodes[1].kill()
        path = "/api/queues/%2f/" + names[1]
        wait_until(lambda: self.apis[0].get(path).json.get("state") == "down", "it is down", LONG)
        ask = {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}
        for api in (self.apis[0], self.apis[2]):
            for got in (api.post(path + "/get", ask), api.delete(path + "/contents")):
                self.assertGreaterEqual(got.status, 400)
                self.assertIn(self.nodes[1].node, got.body)
            self.assertEqual({c["node"] for c in api.get("/api/connections").json},
                             {self.nodes[0].node, self.nodes[2].node})
        self.cluster.start([self.nodes[1]])
        wait_until(lambda: self.apis[0].post(path + "/get", ask).status == 200, "it is back", LONG)
