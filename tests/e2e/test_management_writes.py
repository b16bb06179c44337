"""What the management HTTP API changes: queues, exchanges, bindings, vhosts, messages, clients.

The same tests run against RabbitMQ's management plugin: --target rabbitmq.
"""

import base64
import urllib.parse

from harness import ports
from harness.api import Api, quote
from harness.case import Case, only
from harness.servers import is_instrumented
from harness.waits import wait_until

TARGETS = ("broker", "rabbitmq")
THREADS = True

BROKER_PORT, RABBIT_PORT = ports.free_port(), ports.free_port()
BROKER_CONF = {"listen": {"management": "127.0.0.1:%d" % BROKER_PORT}}
RABBIT_CONF = ["management.tcp.port = %d" % RABBIT_PORT, "management.tcp.ip = 127.0.0.1",
               "collect_statistics_interval = 500"]
RABBIT_PLUGINS = ["rabbitmq_management"]

NOT_FOUND = {"error": "Object Not Found", "reason": "Not Found"}


class ApiCase(Case):
    def setUp(self):
        self.api = Api(RABBIT_PORT if self.is_rabbit else BROKER_PORT)

    def expect(self, answer, status, body=None):
        self.assertEqual(answer.status, status, answer)
        if body is not None:
            self.assertEqual(answer.json, body)

    def bad(self, answer, reason, status=400, error="bad_request"):
        self.expect(answer, status, {"error": error, "reason": reason})

    def queue(self, **body):
        name = self.name("api q")
        self.expect(self.api.put("/api/queues/%2F/" + quote(name), body), 201)
        self.addCleanup(lambda: self.api.delete("/api/queues/%2F/" + quote(name)))
        return name, "/api/queues/%2F/" + quote(name)

    def publish(self, key, payload="x", properties=None, exchange="amq.default",
                encoding="string"):
        got = self.api.post("/api/exchanges/%%2F/%s/publish" % quote(exchange), {
            "properties": properties or {}, "routing_key": key, "payload": payload,
            "payload_encoding": encoding})
        self.expect(got, 200)
        return got.json["routed"]

    def fetch(self, path, count=10, ackmode="ack_requeue_false", encoding="auto", **more):
        got = self.api.post(path + "/get", dict(count=count, ackmode=ackmode, encoding=encoding,
                                                **more))
        self.expect(got, 200)
        return got.json


class Methods(ApiCase):
    def test_what_a_path_may(self):
        path = "/api/queues/%2F/some"
        got = self.api.call("OPTIONS", path)
        self.expect(got, 200)
        self.assertEqual(got.headers["allow"], "HEAD, GET, PUT, DELETE, OPTIONS")
        got = self.api.call("PATCH", path)
        self.expect(got, 405)
        self.assertEqual(got.headers["allow"], "HEAD, GET, PUT, DELETE, OPTIONS")
        self.expect(self.api.post("/api/overview", {}), 405)
        got = self.api.call("HEAD", "/api/queues")
        self.assertEqual((got.status, got.body), (200, ""))


class Queues(ApiCase):
    def test_declare_and_delete(self):
        name, path = self.queue(durable=True, arguments={"x-max-length": 5})
        self.expect(self.api.put(path, {"durable": True, "arguments": {"x-max-length": 5}}), 204)
        q = self.api.get(path).json
        self.assertEqual((q["name"], q["durable"], q["auto_delete"], q["arguments"]),
                         (name, True, False, {"x-max-length": 5}))
        self.expect(self.api.delete(path), 204)
        self.expect(self.api.delete(path), 404, NOT_FOUND)
        self.expect(self.api.get(path), 404, NOT_FOUND)

    def test_refusals(self):
        name, path = self.queue(durable=True)
        self.bad(self.api.put(path, {"durable": False}),
                 "inequivalent arg 'durable' for queue '%s' in vhost '/': received 'false' but "
                 "current is 'true'" % name)
        self.bad(self.api.put(path, {"durable": "x"}), ["not_boolean", "x"])
        self.bad(self.api.put("/api/queues/%2F/other", {"arguments": {"x-max-length": -1}}),
                 "invalid arg 'x-max-length' for queue 'other' in vhost '/': {value_negative,-1}")
        for body in ("x", "[]", "{"):
            self.bad(self.api.put(path, body), "not_json")
        self.bad(self.api.put("/api/queues/nosuch/q", {}), "vhost_not_found", 404, "not_found")
        self.bad(self.api.put("/api/queues/%2F/amq.q", {}), "Access refused.", 401,
                 "not_authorised")

    def test_only_if(self):
        name, path = self.queue()
        self.assertTrue(self.publish(name))
        self.bad(self.api.delete(path + "?if-empty=true"),
                 "queue '%s' in vhost '/' not empty" % name)
        ch = self.channel()
        ch.consume(name)
        self.bad(self.api.delete(path + "?if-unused=true"),
                 "queue '%s' in vhost '/' in use" % name)
        self.expect(self.api.delete(path), 204)

    def test_one_that_a_connection_has_for_itself(self):
        name = self.channel().queue()
        got = self.api.delete("/api/queues/%2F/" + quote(name))
        self.expect(got, 400)
        self.assertIn("cannot obtain exclusive access to locked queue '%s'" % name,
                      got.json["reason"])

    def test_purge(self):
        name, path = self.queue()
        for _ in range(3):
            self.publish(name)
        self.expect(self.api.delete(path + "/contents"), 204)
        self.assertEqual(self.fetch(path), [])
        self.expect(self.api.delete("/api/queues/%2F/no.such/contents"), 404)

    @only("broker", "threads")
    def test_an_action_of_nothing(self):
        _, path = self.queue()
        self.expect(self.api.post(path + "/actions", {"action": None}), 400)

    def test_actions(self):
        _, path = self.queue()
        for action in ("sync", "cancel_sync"):
            self.expect(self.api.post(path + "/actions", {"action": action}), 204)
        self.bad(self.api.post(path + "/actions", {"action": "jump"}), ["unknown", "jump"])
        self.bad(self.api.post(path + "/actions", {}), "[{key_missing,action}]")


class Exchanges(ApiCase):
    def test_declare_and_delete(self):
        name = self.name("x")
        path = "/api/exchanges/%2F/" + name
        self.expect(self.api.put(path, {"type": "topic", "durable": True, "internal": True}), 201)
        self.expect(self.api.put(path, {"type": "topic", "durable": True, "internal": True}), 204)
        x = self.api.get(path).json
        self.assertEqual((x["type"], x["durable"], x["internal"], x["auto_delete"]),
                         ("topic", True, True, False))
        self.bad(self.api.put(path, {"type": "fanout", "durable": True, "internal": True}),
                 "inequivalent arg 'type' for exchange '%s' in vhost '/': received 'fanout' but "
                 "current is 'topic'" % name)
        self.expect(self.api.delete(path), 204)
        self.expect(self.api.delete(path), 404, NOT_FOUND)

    def test_refusals(self):
        self.bad(self.api.put("/api/exchanges/%2F/x", {"type": "nosuch"}),
                 "unknown exchange type 'nosuch'")
        refused = ("Access refused.", 401, "not_authorised")
        self.bad(self.api.delete("/api/exchanges/%2F/amq.direct"), *refused)
        self.bad(self.api.put("/api/exchanges/%2F/amq.mine", {"type": "direct"}), *refused)


class Bindings(ApiCase):
    def setUp(self):
        super().setUp()
        self.q, self.q_path = self.queue()
        self.x = self.name("x")
        self.api.put("/api/exchanges/%2F/" + self.x, {"type": "direct"})
        self.addCleanup(lambda: self.api.delete("/api/exchanges/%2F/" + self.x))
        self.path = "/api/bindings/%%2F/e/%s/q/%s" % (self.x, quote(self.q))

    def test_bind_look_unbind(self):
        got = self.api.post(self.path, {"routing_key": "a.b c", "arguments": {"n": 1}})
        self.expect(got, 201)
        where = urllib.parse.unquote(got.headers["location"].rsplit("/", 1)[1])
        self.expect(self.api.post(self.path, {}), 201)
        keys = {b["properties_key"]: b for b in self.api.get(self.path).json}
        self.assertEqual(set(keys), {where, "~"})
        self.assertEqual((keys[where]["routing_key"], keys[where]["arguments"]),
                         ("a.b c", {"n": 1}))
        self.expect(self.api.get(self.path + "/" + quote(where)), 200, keys[where])
        self.expect(self.api.get(self.path + "/nosuch"), 404, NOT_FOUND)
        self.expect(self.api.delete(self.path + "/" + quote(where)), 204)
        self.expect(self.api.delete(self.path + "/" + quote(where)), 404, NOT_FOUND)
        self.assertEqual([b["properties_key"] for b in self.api.get(self.path).json], ["~"])

    def test_a_key_that_is_long_when_it_is_escaped(self):
        name, _ = self.queue()
        path = "/api/bindings/%%2F/e/amq.direct/q/%s" % quote(name)
        self.expect(self.api.post(path, {"routing_key": "#\u00e9/" * 60}), 201)
        one = self.api.get(path).json[0]
        self.assertGreater(len(one["properties_key"]), 256)
        path += "/" + quote(one["properties_key"])
        self.expect(self.api.get(path), 200, one)
        self.expect(self.api.delete(path), 204)

    def test_exchange_to_exchange(self):
        path = "/api/bindings/%%2F/e/amq.topic/e/%s" % self.x
        got = self.api.post(path, {"routing_key": "k/#"})
        self.expect(got, 201)
        self.assertEqual([b["destination_type"] for b in self.api.get(path).json], ["exchange"])
        self.expect(self.api.delete(path + "/" + quote(self.api.get(path).json[0][
            "properties_key"])), 204)

    def test_refusals(self):
        self.bad(self.api.post("/api/bindings/%%2F/e/nosuch/q/%s" % quote(self.q), {}),
                 "no exchange 'nosuch' in vhost '/'", 404, "not_found")
        self.bad(self.api.post("/api/bindings/%%2F/e/%s/q/nosuch" % self.x, {}),
                 "no queue 'nosuch' in vhost '/'", 404, "not_found")


class Messages(ApiCase):
    def test_publish_and_get(self):
        name, path = self.queue()
        props = {"content_type": "a/b", "priority": 3, "timestamp": 12, "delivery_mode": 2,
                 "headers": {"x": {"y": [1, "z"]}, "t": True, "f": 1.5}}
        self.assertTrue(self.publish(name, "h\u00e4llo", props))
        self.assertTrue(self.publish(name, "AAH/", encoding="base64"))
        self.assertFalse(self.publish("no.such.queue"))
        first, second = self.fetch(path, ackmode="ack_requeue_true")
        self.assertEqual(first, {
            "payload_bytes": 6, "redelivered": False, "exchange": "", "routing_key": name,
            "message_count": 1, "properties": props, "payload": "h\u00e4llo",
            "payload_encoding": "string"})
        self.assertEqual((second["payload"], second["payload_encoding"], second["properties"]),
                         ("AAH/", "base64", []))
        again = self.fetch(path, count=1, ackmode="reject_requeue_true", encoding="base64",
                           truncate=1)
        self.assertEqual([(m["payload"], m["redelivered"], m["payload_bytes"]) for m in again],
                         [("aA==", True, 6)])
        self.assertEqual(len(self.fetch(path, ackmode="reject_requeue_false")), 2)
        self.assertEqual(self.fetch(path), [])

    def test_a_client_gets_it(self):
        name, _ = self.queue()
        self.publish(name, "to you", {"correlation_id": "7"})
        got = self.channel().get(name)
        self.assertEqual((got.body, got.props.get("correlation_id")), (b"to you", "7"))

    def test_refusals(self):
        name, path = self.queue()
        publish = "/api/exchanges/%2F/amq.default/publish"
        whole = {"properties": {}, "routing_key": name, "payload": "x",
                 "payload_encoding": "string"}
        self.bad(self.api.post(publish, {"properties": {}}),
                 "[{key_missing,routing_key},\n {key_missing,payload},\n "
                 "{key_missing,payload_encoding}]")
        self.bad(self.api.post(publish, dict(whole, payload="x*", payload_encoding="base64")),
                 ["not_base64", "x*"])
        self.bad(self.api.post(publish, dict(whole, payload_encoding="rot13")),
                 ["unsupported_encoding", "rot13"])
        self.bad(self.api.post(publish, dict(whole, properties={"priority": "x"})),
                 ["not_int", "priority"])
        self.bad(self.api.post(publish, dict(whole, properties={"user_id": "zz"})),
                 "406 PRECONDITION_FAILED - user_id property set to 'zz' but authenticated user "
                 "was 'guest'")
        self.bad(self.api.post("/api/exchanges/%2F/nosuch/publish", whole),
                 "404 NOT_FOUND - no exchange 'nosuch' in vhost '/'")
        self.bad(self.api.post(path + "/get", {"count": 5}),
                 "[{key_missing,ackmode},{key_missing,encoding}]")
        self.bad(self.api.post(path + "/get", {"count": 5, "ackmode": "ack_requeue_true",
                                               "encoding": "x"}),
                 "Unsupported encoding. Please use auto or base64.")
        self.bad(self.api.post("/api/queues/%2F/nosuch/get", {
            "count": 5, "ackmode": "ack_requeue_true", "encoding": "auto"}),
            "NOT_FOUND - no queue 'nosuch' in vhost '/'", 404, "not_found")

    def test_one_that_its_queue_refuses(self):
        name, path = self.queue(arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
        publish = "/api/exchanges/%2F/amq.default/publish"
        whole = {"properties": {}, "routing_key": name, "payload": "1",
                 "payload_encoding": "string"}
        self.expect(self.api.post(publish, whole), 200, {"routed": True})
        self.bad(self.api.post(publish, dict(whole, payload="2")),
                 "rejected Unable to publish message. Check queue limits.")
        self.assertEqual([m["payload"] for m in self.fetch(path)], ["1"])

    def test_it_is_there_when_it_is_answered(self):
        name, _ = self.queue(durable=True)
        for i in range(20):
            self.assertTrue(self.publish(name, "%d" % i, {"delivery_mode": 2}))
            self.assertEqual(self.channel().get(name).body, b"%d" % i)

    def test_bodies_that_are_nearly_text(self):
        name, path = self.queue()
        ch = self.channel()
        bodies = [b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf7\xbf\xbf\xbf", b"\xc3", b"a\0b"]
        for body in bodies:
            ch.publish(key=name, body=body)
        self.api.wait(path, messages=len(bodies))
        got = self.fetch(path)
        self.assertEqual([m["payload_encoding"] for m in got], ["base64"] * 4 + ["string"])
        self.assertEqual([base64.b64decode(m["payload"]) for m in got[:4]], bodies[:4])
        self.assertEqual(got[4]["payload"], "a\0b")

    @only("broker")
    def test_larger_than_a_message_may_be(self):
        broker = self.broker("own", {"limits": {"max-message": "64k"}})
        api = Api(int(broker.conf["listen"]["management"].rsplit(":", 1)[1]))
        whole = {"properties": {}, "routing_key": "q", "payload_encoding": "string"}
        path = "/api/exchanges/%2F/amq.default/publish"
        self.expect(api.post(path, dict(whole, payload="m" * 65536)), 200)
        self.bad(api.post(path, dict(whole, payload="m" * 65537)),
                 "406 PRECONDITION_FAILED - message size 65537 is larger than configured max "
                 "size 65536")

    def test_many_and_large(self):
        name, path = self.queue()
        ch = self.channel()
        for i in range(300):
            ch.publish(key=name, body=b"%06d" % i * 2000)
        self.api.wait(path, messages=300)
        got = self.fetch(path, count=1000, ackmode="ack_requeue_true")
        self.assertEqual([m["payload"][:6] for m in got], ["%06d" % i for i in range(300)])
        self.assertEqual({len(m["payload"]) for m in got}, {12000})
        self.assertEqual(len(self.fetch(path, count=1000)), 300)


    @only("broker")
    def test_large_ones_are_sent_a_few_at_a_time(self):
        def memory(which):
            with open("/proc/%d/status" % broker.proc.pid) as f:
                return [int(line.split()[1]) for line in f if line.startswith(which)][0] >> 10

        broker = self.broker("own")
        api = Api(int(broker.conf["listen"]["management"].rsplit(":", 1)[1]))
        self.expect(api.put("/api/queues/%2F/large", {}), 201)
        ch = self.channel(address=broker.address)
        for _ in range(100):
            ch.publish("", "large", b"m" * (1 << 20))
        ch.barrier()
        before = memory("VmRSS")
        got = api.post("/api/queues/%2F/large/get", {
            "count": 100, "ackmode": "ack_requeue_true", "encoding": "auto"})
        self.assertEqual((got.status, len(got.json)), (200, 100))
        most = 600 if is_instrumented() else 60  # the tools take memory of their own
        self.assertLess(memory("VmHWM"), before + most)


class Vhosts(ApiCase):
    def test_add_and_delete(self):
        name = self.name("v/h")
        path = "/api/vhosts/" + quote(name)
        self.expect(self.api.put(path), 201)
        self.expect(self.api.put(path, {}), 204)
        self.assertEqual(self.api.get(path).json["name"], name)
        self.assertIn(name, [v["name"] for v in self.api.get("/api/vhosts").json])
        self.expect(self.api.delete(path), 204)
        self.expect(self.api.delete(path), 404, NOT_FOUND)


class Clients(ApiCase):
    def mine(self, conn):
        port = conn.sock.getsockname()[1]
        wait_until(lambda: [c for c in self.api.get("/api/connections").json
                            if c.get("peer_port") == port], "the connection is listed")
        return [c for c in self.api.get("/api/connections").json if c["peer_port"] == port][0]

    def test_close(self):
        conn = self.connect()
        conn.channel()
        path = "/api/connections/" + quote(self.mine(conn)["name"])
        self.expect(self.api.delete(path, **{"X-Reason": "go away"}), 204)
        m = conn.expect("connection.close")
        self.assertEqual((m.reply_code, m.reply_text), (320, "CONNECTION_FORCED - go away"))

    def test_close_without_a_reason(self):
        conn = self.connect()
        self.expect(self.api.delete("/api/connections/" + quote(self.mine(conn)["name"])), 204)
        self.assertEqual(conn.expect("connection.close").reply_text,
                         "CONNECTION_FORCED - Closed via management plugin")
        self.expect(self.api.delete("/api/connections/nosuch"), 404, NOT_FOUND)

    def test_consumers(self):
        name, _ = self.queue()
        conn = self.connect()
        ch = conn.channel()
        ch.call("basic.qos", prefetch_count=7)
        tag = ch.consume(name)
        ch.consume(name, no_ack=True)

        def of_queue():
            return [c for c in self.api.get("/api/consumers/%2F").json
                    if c["queue"]["name"] == name]
        wait_until(lambda: len(of_queue()) == 2, "both are listed")
        mine = [c for c in of_queue() if c["consumer_tag"] == tag][0]
        self.assertEqual((mine["ack_required"], mine["exclusive"], mine["prefetch_count"],
                          mine["queue"], mine["channel_details"]["number"]),
                         (True, False, 7, {"name": name, "vhost": "/"}, 1))
        details = self.api.get("/api/queues/%2F/" + quote(name)).json["consumer_details"]
        self.assertEqual({c["consumer_tag"] for c in details},
                         {c["consumer_tag"] for c in of_queue()})
        own = ch.queue(exclusive=True)
        wait_until(lambda: self.api.get("/api/queues/%2F/" + own).json.get(
            "owner_pid_details", {}).get("peer_port") == conn.sock.getsockname()[1], "its owner")
        path = "/api/connections/%s/channels" % quote(self.mine(conn)["name"])
        wait_until(lambda: [c["number"] for c in self.api.get(path).json] == [1], "its channel")
