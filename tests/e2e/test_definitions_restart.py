"""Definitions outlive the node: whatever was answered is there after kill -9 and after an orderly
stop, as it was, and what does not last is gone."""

import threading

import wire
from harness.api import Api, quote
from harness.case import Case
from harness.client import Eof
from harness.waits import LONG, wait_until

TARGETS = ("broker",)
THREADS = True

VHOST = "second"


def sorted_deep(value):
    """The same whatever the order of lists and keys."""
    if isinstance(value, dict):
        return {k: sorted_deep(v) for k, v in sorted(value.items())}
    if isinstance(value, list):
        return sorted((sorted_deep(v) for v in value), key=repr)
    return value


class DefinitionsCase(Case):
    def setUp(self):
        super().setUp()
        conf = {"node": {"threads": 3}} if self.target == "threads" else None
        self.server = self.broker("own", conf)
        self.begin()

    def begin(self):
        listen = self.server.conf["listen"]["management"]
        self.api = Api(int(listen.rsplit(":", 1)[1]))
        self.conn = self.connect(address=self.server.address)
        self.ch = self.conn.channel()

    def restart(self, kill):
        if kill:
            self.server.proc.kill()
            self.conn.sock.close()
        else:
            self.conn.sock.close()
            self.assertEqual(self.server.stop(), 0)
        self.server.restart()
        self.begin()

    def definitions(self):
        got = self.api.get("/api/definitions")
        self.assertEqual(got.status, 200)
        return sorted_deep({k: v for k, v in got.json.items() if k != "rabbitmq_version"})

    def put(self, path, body=None):
        got = self.api.put("/api/" + path, body if body is not None else {})
        self.assertIn(got.status, (201, 204), got)

    def queue_names(self, vhost="/"):
        return {q["name"] for q in self.api.get("/api/queues/" + quote(vhost)).json}

    def fill(self):
        """Some of everything."""
        self.put("vhosts/" + VHOST, {"description": "the other", "tags": "a,b", "tracing": True,
                                     "default_queue_type": "classic"})
        self.put("vhost-limits/%s/max-queues" % VHOST, {"value": 50})
        self.put("users/ann", {"password": "secret", "tags": "administrator,monitoring"})
        self.put("users/bob", {"password_hash": "", "tags": ""})
        self.put("user-limits/ann/max-channels", {"value": 77})
        self.put("permissions/%2F/ann", {"configure": "^a", "write": ".*", "read": ""})
        self.put("permissions/%s/ann" % VHOST, {"configure": ".*", "write": ".*", "read": ".*"})
        self.put("permissions/%s/guest" % VHOST, {"configure": ".*", "write": ".*", "read": ".*"})
        self.put("topic-permissions/%2F/ann",
                 {"exchange": "amq.topic", "write": "^{username}", "read": ".*"})
        self.put("policies/%2F/short", {"pattern": "^short", "definition": {"max-length": 3},
                                        "priority": 4, "apply-to": "queues"})
        self.put("operator-policies/%2F/ops", {"pattern": "", "definition": {"message-ttl": 900000},
                                               "priority": 0, "apply-to": "queues"})
        self.put("global-parameters/some", {"value": {"a": [1, "x"]}})
        self.put("cluster-name", {"name": "of the house"})
        for vhost in ("%2F", VHOST):
            for kind in ("direct", "fanout", "topic", "headers", "x-consistent-hash"):
                self.put("exchanges/%s/x.%s" % (vhost, kind), {
                    "type": kind, "durable": True, "arguments": {"alternate-exchange": "amq.fanout"}})
            for i in range(10):
                self.put("queues/%s/q%d" % (vhost, i), {
                    "durable": True, "auto_delete": i == 9, "arguments": {"x-max-length": i}})
                self.post_binding(vhost, "x.direct", "q", "q%d" % i, "key.%d" % i)
            self.put("queues/%s/quorum" % vhost, {
                "durable": True, "arguments": {"x-queue-type": "quorum"}})
            self.post_binding(vhost, "x.headers", "q", "q1", "", {"x-match": "any", "b": 1, "a": "z"})
            self.post_binding(vhost, "x.topic", "e", "x.fanout", "a.*.#")

    def post_binding(self, vhost, source, kind, destination, key, arguments=None):
        got = self.api.post("/api/bindings/%s/e/%s/%s/%s" % (vhost, source, kind, destination),
                            {"routing_key": key, "arguments": arguments or {}})
        self.assertEqual(got.status, 201, got)


class Everything(DefinitionsCase):
    def test_is_there_after_a_kill_and_after_an_orderly_stop(self):
        self.fill()
        before = self.definitions()
        self.assertGreater(len(before["queues"]), 20)
        for kill in (True, False, True):
            with self.subTest(kill=kill):
                self.restart(kill)
                self.assertEqual(self.definitions(), before)
        # and it works: routes, users, policies, limits
        self.ch.publish("x.direct", "key.3", b"hello")
        self.assertEqual(wait_until(lambda: self.ch.get("q3", no_ack=True), "a message").body,
                         b"hello")
        self.connect(address=self.server.address, user="ann", password="secret").close()
        self.assertEqual(self.api.get("/api/vhost-limits/" + VHOST).json[0]["value"],
                         {"max-queues": 50})
        self.ch.declare("short one", durable=True)
        self.api.wait("/api/queues/%2F/short%20one", policy="short", operator_policy="ops")

    def test_what_was_deleted_stays_deleted(self):
        self.fill()
        self.assertEqual(self.api.delete("/api/vhosts/" + VHOST).status, 204)
        self.assertEqual(self.api.delete("/api/users/ann").status, 204)
        self.assertEqual(self.api.delete("/api/policies/%2F/short").status, 204)
        self.ch.call("queue.delete", queue="q3")
        self.ch.call("exchange.delete", exchange="x.topic")
        self.ch.call("queue.unbind", queue="q4", exchange="x.direct", routing_key="key.4")
        before = self.definitions()
        for kill in (True, False):
            self.restart(kill)
            self.assertEqual(self.definitions(), before)
            self.assertNotIn("q3", self.queue_names())

    def test_a_new_node_gets_its_guest_once(self):
        self.assertEqual(self.api.delete("/api/users/guest").status, 204)
        self.server.proc.kill()
        self.conn.sock.close()
        self.server.dead.append(self.server.proc)
        self.server.start(ready=False)
        listed = wait_until(lambda: self.users() or None, "the node", LONG)
        self.assertNotIn("guest", listed)

    def users(self):
        out = self.server.ctl("-q", "list_users")
        return out.stdout if out.returncode == 0 else ""

    def test_the_cluster_keeps_its_id(self):
        before = self.api.get("/api/global-parameters/internal_cluster_id").json
        self.restart(True)
        self.assertEqual(self.api.get("/api/global-parameters/internal_cluster_id").json, before)


class WhatDoesNotLast(DefinitionsCase):
    def test_is_gone(self):
        self.ch.declare("lasting", durable=True)
        self.ch.declare("passing")
        self.ch.declare("mine", exclusive=True)
        self.ch.call("exchange.declare", exchange="xp", type="fanout")
        self.ch.call("exchange.declare", exchange="xd", type="fanout", durable=True)
        self.ch.call("queue.bind", queue="passing", exchange="xd", routing_key="")
        self.ch.call("queue.bind", queue="lasting", exchange="xp", routing_key="")
        self.ch.call("queue.bind", queue="lasting", exchange="xd", routing_key="")
        self.restart(True)
        self.assertEqual(self.queue_names(), {"lasting"})
        bound = [b["source"] for b in self.api.get("/api/queues/%2F/lasting/bindings").json]
        self.assertEqual(sorted(bound), ["", "xd"])
        self.assertEqual(self.api.get("/api/exchanges/%2F/xp").status, 404)

    def test_auto_delete_queues_go_with_their_last_consumer_of_a_later_life_too(self):
        self.ch.declare("auto", durable=True, auto_delete=True)
        self.restart(False)
        self.assertIn("auto", self.queue_names())
        tag = self.ch.consume("auto")
        self.ch.call("basic.cancel", consumer_tag=tag)
        wait_until(lambda: "auto" not in self.queue_names(), "the queue's end")
        self.restart(True)
        self.assertNotIn("auto", self.queue_names())

    def test_an_auto_delete_exchange_goes_with_a_passing_binding_for_good(self):
        self.ch.call("exchange.declare", exchange="ax", type="fanout", durable=True,
                     auto_delete=True)
        self.ch.declare("mine", exclusive=True)
        self.ch.call("queue.bind", queue="mine", exchange="ax", routing_key="")
        self.ch.call("queue.delete", queue="mine")
        self.assertEqual(self.api.get("/api/exchanges/%2F/ax").status, 404)
        self.restart(True)
        self.assertEqual(self.api.get("/api/exchanges/%2F/ax").status, 404)

    def test_expiring_queues_start_anew(self):
        self.ch.declare("expiring", durable=True, arguments={"x-expires": 1500})
        self.restart(True)
        self.assertIn("expiring", self.queue_names())
        wait_until(lambda: "expiring" not in self.queue_names(), "the queue's end", LONG)


class Answers(DefinitionsCase):
    def test_declare_ok_is_a_promise(self):
        """Clients declare as fast as they can; the node is killed; what was answered is there."""
        answered = [[] for _ in range(8)]

        def declare(i):
            conn = self.connect(address=self.server.address)
            ch = conn.channel()
            try:
                for n in range(100000):
                    name = "p%d.%d" % (i, n)
                    ch.declare(name, durable=True)
                    answered[i].append(name)
            except (OSError, Eof, TimeoutError, AssertionError, wire.WireError):
                pass
            finally:
                conn.sock.close()

        for life in range(3):
            for names in answered:
                names.clear()
            threads = [threading.Thread(target=declare, args=(i,)) for i in range(len(answered))]
            for t in threads:
                t.start()
            wait_until(lambda: sum(map(len, answered)) > 300, "some queues", LONG)
            self.server.proc.kill()
            for t in threads:
                t.join()
            self.conn.sock.close()
            self.server.restart()
            self.begin()
            there = self.queue_names()
            self.assertEqual([n for names in answered for n in names if n not in there], [])
            for name in there:
                self.ch.call("queue.delete", queue=name)

    def test_reset_leaves_a_new_node(self):
        self.fill()
        cluster = self.api.get("/api/global-parameters/internal_cluster_id").json
        for command in (("stop_app",), ("reset",), ("start_app",)):
            out = self.server.ctl("-q", *command)
            self.assertEqual(out.returncode, 0, out.stderr)
        self.begin()
        fresh = self.definitions()
        self.assertEqual((fresh["queues"], [v["name"] for v in fresh["vhosts"]],
                          [u["name"] for u in fresh["users"]]), ([], ["/"], ["guest"]))
        self.assertNotEqual(self.api.get("/api/global-parameters/internal_cluster_id").json, cluster)
        self.restart(True)
        self.assertEqual(self.definitions(), fresh)


class Damage(DefinitionsCase):
    def log_path(self):
        return self.server.path("data/%s@localhost/raft/log-00000001" % self.server.name)

    def damage(self, at, octet=0xFF):
        with open(self.log_path(), "r+b") as f:
            f.seek(at)
            was = f.read(1)[0]
            f.seek(at)
            f.write(bytes([was ^ octet]))

    def start_refused(self, *words):
        before = self.server.proc
        self.server.start(ready=False)
        self.assertNotEqual(self.server.proc.popen.wait(timeout=LONG), 0)
        log = self.server.proc.log_tail()
        self.server.proc = before  # its end was a good one
        for word in words:
            self.assertIn(word, log)

    def test_in_the_middle_stops_the_start(self):
        self.ch.declare("one", durable=True)
        self.ch.declare("two", durable=True)
        self.conn.sock.close()
        self.assertEqual(self.server.stop(), 0)
        with open(self.log_path(), "rb") as f:
            at = f.read().index(b"administrator")  # of an entry, not the padding between them
        self.damage(at)
        self.start_refused("raft/log-00000001 is damaged at octet", "backup")
        self.damage(at)
        self.server.restart()
        self.begin()
        self.assertEqual(self.queue_names(), {"one", "two"})

    def test_in_its_head_stops_the_start(self):
        self.conn.sock.close()
        self.assertEqual(self.server.stop(), 0)
        self.damage(11, 1)
        self.start_refused("raft/log-00000001")
