"""The management HTTP API and /metrics: RabbitMQ's paths, fields and refusals."""

import base64
import http.client
import json
import os
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request

from harness import ports
from harness.case import Case, only
from harness.site import THREADS_CONF
from harness.waits import SOON, wait_until

TARGETS = ("broker", "proxy")
THREADS = True
EX_SOFTWARE = 70

BROKER_PORT, RELAY_PORT = ports.free_port(), ports.free_port()
BROKER_CONF = {"listen": {"management": "127.0.0.1:%d" % BROKER_PORT}}
PROXY_CONF = {"listen management": {"bind": "127.0.0.1:%d" % RELAY_PORT, "mode": "tcp",
                                    "balance": "roundrobin",
                                    "server": "rabbit1 127.0.0.1:%d check" % BROKER_PORT}}


def call(port, path, user="guest", password="guest", method="GET"):
    """(status, headers, body)"""
    request = urllib.request.Request("http://127.0.0.1:%d%s" % (port, path), method=method)
    if user is not None:
        token = base64.b64encode(("%s:%s" % (user, password)).encode()).decode()
        request.add_header("Authorization", "Basic " + token)
    try:
        with urllib.request.urlopen(request, timeout=SOON) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.headers, e.read().decode()


def samples(text):
    """Prometheus text as {"name{labels}": value}; every sample has its HELP and TYPE."""
    out, typed = {}, set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            typed.add(line.split()[2])
        elif not line.startswith("#"):
            key, value = line.rsplit(" ", 1)
            name = key.split("{")[0]
            family = re.sub("_(bucket|sum|count)$", "", name)  # of a histogram
            assert name in typed or family in typed, line
            out[key] = float(value)
    return out


def port_of(server):
    return int(server.conf["listen"]["management"].rsplit(":", 1)[1])


class ManagementCase(Case):
    """Through the proxy, when that is the target: a frontend of mode tcp in front."""

    def setUp(self):
        self.port = RELAY_PORT if self.target == "proxy" else BROKER_PORT

    def get(self, path, status=200):
        got, headers, body = call(self.port, path)
        self.assertEqual(got, status, body)
        self.assertEqual(headers["Content-Type"], "application/json")
        return json.loads(body)

    def metrics(self):
        status, headers, body = call(self.port, "/metrics", user=None)
        self.assertEqual(status, 200)
        self.assertTrue(headers["Content-Type"].startswith("text/plain; version=0.0.4"))
        return samples(body)

    def queue_of(self, name):
        return self.get("/api/queues/%2F/" + urllib.parse.quote(name, safe=""))

    def wait_queue(self, name, **figures):
        """Until the queue's figures are these: what a client did arrives a little later."""
        wait_until(lambda: all(self.queue_of(name)[k] == v for k, v in figures.items()),
                   "%s %s" % (name, figures))


class Entrance(ManagementCase):
    def test_without_credentials(self):
        status, headers, body = call(self.port, "/api/overview", user=None)
        self.assertEqual((status, body), (401, ""))
        self.assertEqual(headers["WWW-Authenticate"], 'Basic realm="RabbitMQ Management"')

    def test_wrong_credentials(self):
        for user, password in (("guest", "wrong"), ("nobody", "guest"), ("", ""),
                               ("guest" * 100, "x"), ("guest", "x" * 5000)):
            with self.subTest(user=user[:9], password=password[:9]):
                status, _, body = call(self.port, "/api/whoami", user, password)
                self.assertEqual(status, 401)
                if body:
                    self.assertEqual(json.loads(body),
                                     {"error": "not_authorized", "reason": "Login failed"})

    def test_whoami(self):
        self.assertEqual(self.get("/api/whoami"), {"name": "guest", "tags": ["administrator"]})

    def test_unknown_paths(self):
        for path in ("/api/nosuch", "/api/queues/nosuch", "/api/queues/%2F/no.such",
                     "/api/queues/%2F/a/b", "/api/exchanges/%2F/no.such", "/api/vhosts/no",
                     "/api/nodes/no@where", "/api/aliveness-test/no", "/api/aliveness-test",
                     "/api/connections/no", "/api/channels/no", "/api/channels/a/b",
                     "/api/bindings/%2F/e/x/q/y", "/api/queues/" + "x" * 300,
                     "/api/queues/%2F/%zz", "/api/exchanges/%2F/amq.direct/bindings/up"):
            with self.subTest(path=path):
                self.assertEqual(self.get(path, 404),
                                 {"error": "Object Not Found", "reason": "Not Found"})
        self.assertEqual(call(self.port, "/nosuch")[0], 404)

    def test_the_page(self):
        status, headers, body = call(self.port, "/", user=None)
        self.assertEqual(status, 200)
        self.assertIn("text/html", headers["Content-Type"])
        self.assertIn("connect-src 'self'", headers["Content-Security-Policy"])
        self.assertNotRegex(body, r"(src|href)=.?(https?:)?//")
        status, headers, body = call(self.port, "/api", user=None)
        self.assertEqual(status, 200)
        self.assertIn("text/plain", headers["Content-Type"])
        self.assertIn("rabbit1@localhost", body)
        self.assertRegex(body, r"Warren \d+\.\d+")
        self.assertIn("/api/overview", body)

    def test_many_requests_on_one_connection(self):
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SOON)
        token = base64.b64encode(b"guest:guest").decode()
        for path in ("/metrics", "/api/overview", "/api/queues", "/api/whoami") * 5:
            conn.request("GET", path, headers={"Authorization": "Basic " + token})
            answer = conn.getresponse()
            self.assertEqual(answer.status, 200)
            self.assertTrue(answer.read())
        conn.close()


class Node(ManagementCase):
    def test_overview(self):
        ch = self.channel()
        q = ch.queue()
        ch.publish(key=q, body=b"x")
        ch.barrier()
        o = self.get("/api/overview")
        self.assertEqual(o["node"], "rabbit1@localhost")
        self.assertEqual(o["product_name"], "Warren")
        self.assertEqual(o["management_version"], o["rabbitmq_version"])
        self.assertEqual({t["name"] for t in o["exchange_types"]},
                         {"direct", "fanout", "topic", "headers", "x-consistent-hash"})
        self.assertIn("http", {x["protocol"] for x in o["listeners"]})
        for key in ("channels", "connections", "queues"):
            self.assertGreaterEqual(o["object_totals"][key], 1, key)
        self.assertGreaterEqual(o["object_totals"]["exchanges"], 7)
        self.assertGreaterEqual(o["message_stats"]["publish"], 1)
        self.assertIn("rate", o["message_stats"]["publish_details"])
        wait_until(lambda: self.get("/api/overview")["queue_totals"]["messages_ready"] >= 1,
                   "the message is counted")
        self.assertEqual(set(self.get("/api/overview?columns=node")), {"node"})

    def test_nodes(self):
        nodes = self.get("/api/nodes")
        self.assertEqual([n["name"] for n in nodes], ["rabbit1@localhost"])
        n = self.get("/api/nodes/rabbit1@localhost")
        self.assertEqual(n["os_pid"], str(self.site.broker.proc.pid))
        self.assertTrue(n["running"])
        self.assertFalse(n["mem_alarm"])
        for key in ("mem_used", "mem_limit", "disk_free", "uptime", "fd_total", "processors"):
            self.assertGreater(n[key], 0, key)

    def test_health(self):
        for path in ("/api/healthchecks/node", "/api/healthchecks/node/rabbit1@localhost",
                     "/api/health/checks/alarms", "/api/health/checks/local-alarms"):
            self.assertEqual(self.get(path), {"status": "ok"})

    def test_aliveness(self):
        for _ in range(3):
            self.assertEqual(self.get("/api/aliveness-test/%2F"), {"status": "ok"})
        self.wait_queue("aliveness-test", messages=0)

    def test_aliveness_when_somebody_takes_the_message(self):
        self.get("/api/aliveness-test/%2F")
        ch = self.channel()
        ch.consume("aliveness-test", no_ack=True)
        self.assertEqual(self.get("/api/aliveness-test/%2F"),
                         {"status": "failed", "reason": "aliveness-test queue is empty"})
        self.assertEqual(ch.deliveries(1)[0].body, b"test_message")

    def test_vhosts(self):
        self.assertEqual([v["name"] for v in self.get("/api/vhosts")], ["/"])
        v = self.get("/api/vhosts/%2F")
        self.assertEqual(v["cluster_state"], {"rabbit1@localhost": "running"})
        self.assertEqual(v["messages"], v["messages_ready"] + v["messages_unacknowledged"])


class Objects(ManagementCase):
    def test_a_queue(self):
        ch = self.channel()
        name = self.name("mgmt q/ü")
        ch.declare(name, durable=True, arguments={"x-max-length": 9, "x-note": "n"})
        self.addCleanup(lambda: self.channel().call("queue.delete", queue=name))
        ch.call("basic.qos", prefetch_count=2)
        for _ in range(5):
            ch.publish(key=name, body=b"12345")
        ch.consume(name)
        ch.deliveries(2)
        self.wait_queue(name, messages=5, messages_ready=3, messages_unacknowledged=2,
                        message_bytes=25, message_bytes_ready=15,
                        message_bytes_unacknowledged=10, consumers=1)
        q = self.queue_of(name)
        self.assertEqual((q["name"], q["vhost"], q["type"], q["state"], q["node"]),
                         (name, "/", "classic", "running", "rabbit1@localhost"))
        self.assertEqual((q["durable"], q["auto_delete"], q["exclusive"]), (True, False, False))
        self.assertEqual(q["arguments"], {"x-max-length": 9, "x-note": "n"})
        self.assertGreater(q["memory"], 25)
        self.assertEqual(q["message_stats"]["publish"], 5)
        self.assertEqual(q["message_stats"]["deliver_get"], 2)

    def test_what_stands_first_and_what_is_kept(self):
        ch = self.channel()
        q = self.name()
        ch.declare(q, durable=True)
        self.addCleanup(lambda: self.channel().call("queue.delete", queue=q))
        self.wait_queue(q, head_message_timestamp=None, messages_persistent=0)
        ch.publish(key=q, body=b"123", props={"timestamp": 1700000000, "delivery_mode": 2})
        ch.publish(key=q, body=b"12345", props={"delivery_mode": 2})
        ch.publish(key=q, body=b"1", props={"timestamp": 5})
        self.wait_queue(q, head_message_timestamp=1700000000, messages_persistent=2,
                        message_bytes_persistent=8)
        ch.get(q)
        self.wait_queue(q, head_message_timestamp=None, messages_persistent=1,
                        message_bytes_persistent=5)
        ch.get(q)
        self.wait_queue(q, head_message_timestamp=5, messages_persistent=0)
        gone = ch.queue()  # nothing of a queue that does not last is
        ch.publish(key=gone, body=b"1", props={"delivery_mode": 2})
        self.wait_queue(gone, messages=1, messages_persistent=0, message_bytes_persistent=0)

    def test_lists_of_queues(self):
        ch = self.channel()
        base = self.name("list")
        names = [ch.queue(queue="%s.%02d" % (base, i)) for i in range(12)]
        for i, name in enumerate(names):
            for _ in range(i):
                ch.publish(key=name, body=b"x")
        ch.barrier()
        self.wait_queue(names[-1], messages=11)
        everything = self.get("/api/queues")
        self.assertEqual([q["name"] for q in everything], sorted(q["name"] for q in everything))
        self.assertEqual([q["name"] for q in everything if q["name"] in names], names)
        of_vhost = [q["name"] for q in self.get("/api/queues/%2F")]
        self.assertEqual([n for n in of_vhost if n in names], names)
        page = self.get("/api/queues?page=2&page_size=5&name=%s&columns=name,messages" % base)
        self.assertEqual(page["items"], [{"name": names[i], "messages": i} for i in range(5, 10)])
        self.assertEqual((page["filtered_count"], page["item_count"], page["page_count"]),
                         (12, 5, 3))
        self.assertGreaterEqual(page["total_count"], 12)
        page = self.get("/api/queues?page=1&name=%s&sort=messages&sort_reverse=true" % base)
        self.assertEqual([q["messages"] for q in page["items"]], list(range(11, -1, -1)))
        page = self.get("/api/queues?page=1&use_regex=true&name=%s" %
                        urllib.parse.quote("^%s[.]1.$" % re.escape(base)))
        self.assertEqual([q["name"] for q in page["items"]], names[10:])

    def test_pages_that_are_none(self):
        for query, error in (("page=0", "invalid_pagination_parameters"),
                             ("page=x", "invalid_pagination_parameters"),
                             ("page=1&page_size=501", "invalid_pagination_parameters"),
                             ("page=99", "page_out_of_range"),
                             ("page=1&use_regex=true&name=(", "bad_request")):
            with self.subTest(query=query):
                for what in ("queues", "exchanges", "connections"):
                    self.assertEqual(self.get("/api/%s?%s" % (what, query), 400)["error"], error)

    def test_an_exclusive_queue_is_gone_with_its_connection(self):
        conn = self.connect()
        name = conn.channel().queue()
        self.assertTrue(self.queue_of(name)["exclusive"])
        conn.close()
        wait_until(lambda: call(self.port, "/api/queues/%2F/" + name)[0] == 404, "it goes")

    def test_exchanges(self):
        ch = self.channel()
        name = self.name("x")
        ch.call("exchange.declare", exchange=name, type="topic", auto_delete=True,
                arguments={"alternate-exchange": "amq.fanout"})
        names = [x["name"] for x in self.get("/api/exchanges/%2F")]
        self.assertEqual(names, sorted(names))
        self.assertLessEqual({"", "amq.direct", "amq.fanout", "amq.headers", "amq.match",
                              "amq.topic", name}, set(names))
        x = self.get("/api/exchanges/%2F/" + name)
        self.assertEqual((x["type"], x["durable"], x["auto_delete"], x["internal"], x["arguments"]),
                         ("topic", False, True, False, {"alternate-exchange": "amq.fanout"}))
        self.assertEqual(self.get("/api/exchanges/%2F/amq.default")["name"], "")
        ch.call("exchange.delete", exchange=name)

    def test_bindings(self):
        ch = self.channel()
        q, x = ch.queue(), self.name("x")
        ch.call("exchange.declare", exchange=x, type="headers", auto_delete=True)
        ch.bind(q, x, "a.#")
        ch.bind(q, x, "", {"h": 1})
        ch.call("exchange.bind", destination=x, source="amq.fanout", routing_key="")
        own = {"source": x, "vhost": "/", "destination": q, "destination_type": "queue"}
        plain = dict(own, routing_key="a.#", arguments={}, properties_key="a.%23")
        implicit = dict(own, source="", routing_key=q, arguments={}, properties_key=q)
        of_queue = self.get("/api/queues/%%2F/%s/bindings" % q)
        self.assertEqual(of_queue[0], implicit)
        self.assertEqual(of_queue[2], plain)
        self.assertEqual(of_queue[1]["arguments"], {"h": 1})
        self.assertTrue(of_queue[1]["properties_key"].startswith("~"))
        self.assertEqual(self.get("/api/exchanges/%%2F/%s/bindings/source" % x), of_queue[1:])
        self.assertEqual(self.get("/api/bindings/%%2F/e/%s/q/%s" % (x, q)), of_queue[1:])
        to_x = self.get("/api/exchanges/%%2F/%s/bindings/destination" % x)
        self.assertEqual([(b["source"], b["destination_type"], b["properties_key"]) for b in to_x],
                         [("amq.fanout", "exchange", "~")])
        self.assertEqual(self.get("/api/bindings/%%2F/e/amq.fanout/e/%s" % x), to_x)
        everything = self.get("/api/bindings")
        for b in of_queue + to_x:
            self.assertEqual(everything.count(b), 1, b)


class Clients(ManagementCase):
    @only("broker", "threads")
    def test_a_connection_and_its_channels(self):
        conn = self.connect()
        ch = conn.channel()
        ch.call("confirm.select")
        ch.call("basic.qos", prefetch_count=7)
        q = ch.queue()
        ch.consume(q)
        ch.publish(key=q)
        self.assertEqual({ch.next().name for _ in range(2)}, {"basic.ack", "basic.deliver"})
        other = conn.channel()
        other.barrier()
        host, port = conn.sock.getsockname()
        name = "%s:%d -> 127.0.0.1:%d" % (host, port, self.site.broker.port)
        c = self.get("/api/connections/" + urllib.parse.quote(name, safe=""))
        self.assertEqual(
            {k: c[k] for k in ("name", "user", "vhost", "state", "type", "protocol", "channels",
                               "peer_host", "peer_port", "host", "port", "auth_mechanism", "ssl",
                               "frame_max")},
            {"name": name, "user": "guest", "vhost": "/", "state": "running", "type": "network",
             "protocol": "AMQP 0-9-1", "channels": 2, "peer_host": host, "peer_port": port,
             "host": "127.0.0.1", "port": self.site.broker.port, "auth_mechanism": "PLAIN",
             "ssl": False, "frame_max": conn.frame_max})
        self.assertGreater(min(c["recv_oct"], c["send_oct"], c["connected_at"]), 0)
        self.assertIn(name, [o["name"] for o in self.get("/api/connections")])
        mine = [o for o in self.get("/api/channels") if o["connection_details"]["name"] == name]
        self.assertEqual([(o["name"], o["number"]) for o in mine],
                         [("%s (%d)" % (name, n), n) for n in (1, 2)])
        self.assertEqual(
            {k: mine[0][k] for k in ("confirm", "prefetch_count", "consumer_count", "vhost",
                                     "messages_unacknowledged", "messages_unconfirmed")},
            {"confirm": True, "prefetch_count": 7, "consumer_count": 1, "vhost": "/",
             "messages_unacknowledged": 1, "messages_unconfirmed": 0})
        self.assertFalse(mine[1]["confirm"])
        self.assertEqual(self.get("/api/channels/" + urllib.parse.quote(mine[1]["name"], safe="")),
                         mine[1])

    @only("broker")
    def test_whom_a_queue_serves_alone(self):
        """Queues and their consumers are wherever they are: several of each, on three shards."""
        b = self.broker("rabbit2", {"node": {"threads": 3}})
        self.port = port_of(b)
        chs = [self.connect(address=b.address).channel() for _ in range(4)]
        for n in range(6):
            single, exclusive, plain = "single%d" % n, "exclusive%d" % n, "plain%d" % n
            chs[0].declare(single, arguments={"x-single-active-consumer": True})
            chs[0].declare(exclusive)
            chs[0].declare(plain)
            first, second = chs[n % 4], chs[(n + 1) % 4]
            first.consume(single, "first%d" % n)
            second.consume(single, "second%d" % n, arguments={"x-priority": 0})
            second.consume(exclusive, "only%d" % n, exclusive=True)
            first.consume(plain, "any%d" % n)
        consumers = {c["consumer_tag"]: c for c in self.get("/api/consumers")}
        queues = {q["name"]: q for q in self.get("/api/queues")}
        tags = ("exclusive_consumer_tag", "single_active_consumer_tag")
        for n in range(6):
            def activity(tag):
                return [consumers[tag + str(n)][k] for k in ("active", "activity_status")]
            self.assertEqual(activity("first"), [True, "single_active"])
            self.assertEqual(activity("second"), [False, "waiting"])
            self.assertEqual(activity("only"), [True, "up"])
            self.assertEqual(consumers["second%d" % n]["arguments"], {"x-priority": 0})

            def of(queue):
                return [queues[queue + str(n)][k] for k in tags]
            self.assertEqual(of("single"), [None, "first%d" % n])
            self.assertEqual(of("exclusive"), ["only%d" % n, None])
            self.assertEqual(of("plain"), [None, None])
        chs[0].call("basic.cancel", consumer_tag="first0")
        self.wait_queue("single0", single_active_consumer_tag="second0")
        detail, = self.queue_of("single0")["consumer_details"]
        self.assertEqual((detail["active"], detail["activity_status"]), (True, "single_active"))
        rows = [line.split("\t") for line in b.ctl(
            "-s", "list_consumers", "consumer_tag", "active", "activity_status").stdout.split("\n")]
        self.assertIn(["second1", "false", "waiting"], rows)
        self.assertIn(["only1", "true", "up"], rows)
        rows = {r[0]: r[1:] for r in (line.split("\t") for line in b.ctl(
            "-s", "list_queues", "name", "exclusive_consumer_tag",
            "exclusive_consumer_pid").stdout.splitlines())}
        self.assertEqual(rows["single1"], ["", ""])
        self.assertEqual(rows["exclusive1"][0], "only1")
        pids = [line.split("\t") for line in b.ctl(
            "-s", "list_consumers", "consumer_tag", "channel_pid").stdout.splitlines()]
        self.assertIn(["only1", rows["exclusive1"][1]], pids)

    @only("broker", "threads")
    def test_what_a_channel_has_not_committed(self):
        conn = self.connect()
        ch, name = conn.channel(), "%s:%d" % conn.sock.getsockname()
        q = ch.queue()
        for _ in range(3):
            ch.publish("", q, b"x")
        tags = [ch.get(q, no_ack=False).delivery_tag for _ in range(3)]
        ch.call("tx.select")
        ch.publish("", q, b"y")
        ch.ack(tags[1], multiple=True)
        ch.send("basic.reject", delivery_tag=tags[2], requeue=False)
        ch.barrier()
        mine, = [o for o in self.get("/api/channels") if o["name"].startswith(name + " ")]
        self.assertEqual([mine[k] for k in ("transactional", "messages_uncommitted",
                                            "acks_uncommitted", "messages_unacknowledged")],
                         [True, 1, 2, 0])
        ch.call("tx.commit")
        mine, = [o for o in self.get("/api/channels") if o["name"].startswith(name + " ")]
        self.assertEqual([mine["messages_uncommitted"], mine["acks_uncommitted"]], [0, 0])

    @only("broker", "threads")
    def test_who_has_not_logged_in_is_no_connection(self):
        opened = self.metrics()["rabbitmq_connections_opened_total"]
        raw = self.raw()
        raw.send(b"AMQP\x00\x00\x09\x01")
        raw.read_frame()
        self.assertNotIn(raw.sock.getsockname()[1],
                         [c["peer_port"] for c in self.get("/api/connections")])
        self.assertEqual(self.metrics()["rabbitmq_connections_opened_total"], opened)


class Metrics(ManagementCase):
    def growth(self, names, deed):
        before = self.metrics()
        deed()
        after = self.metrics()
        return {n: after[n] - before[n] for n in names}

    @only("broker", "threads")
    def test_messages_are_counted_by_kind(self):
        one, classic = '{protocol="amqp091"}', \
            '{protocol="amqp091",queue_type="rabbit_classic_queue"}'
        pre = "rabbitmq_global_messages_"
        want = {pre + "received_total" + one: 6, pre + "received_confirm_total" + one: 1,
                pre + "confirmed_total" + one: 1, pre + "routed_total" + one: 4,
                pre + "unroutable_dropped_total" + one: 1,
                pre + "unroutable_returned_total" + one: 1,
                pre + "delivered_consume_manual_ack_total" + classic: 2,
                pre + "delivered_consume_auto_ack_total" + classic: 1,
                pre + "delivered_get_manual_ack_total" + classic: 1,
                pre + "delivered_get_auto_ack_total" + classic: 2,
                pre + "delivered_total" + classic: 6, pre + "get_empty_total" + classic: 1,
                pre + "redelivered_total" + classic: 2, pre + "acknowledged_total" + classic: 1}

        def deed():
            ch = self.channel()
            q = ch.queue()
            ch.publish(key="no.such.queue")
            ch.publish(key="no.such.queue", mandatory=True)
            ch.expect("basic.return")
            tag = ch.consume(q)
            ch.publish(key=q, body=b"manual")
            ch.expect("basic.deliver")
            ch.call("basic.recover", requeue=True)
            again = ch.expect("basic.deliver")
            ch.ack(again.delivery_tag)
            ch.call("basic.cancel", consumer_tag=tag)
            tag = ch.consume(q, no_ack=True)
            ch.publish(key=q, body=b"auto")
            ch.expect("basic.deliver")
            ch.call("basic.cancel", consumer_tag=tag)
            ch.publish(key=q, body=b"got")
            got = ch.get(q, no_ack=False)
            ch.send("basic.reject", delivery_tag=got.delivery_tag, requeue=True)
            self.assertIsNotNone(ch.get(q))
            self.assertIsNone(ch.get(q))
            ch.call("confirm.select")
            ch.publish(key=q)
            ch.expect("basic.ack")
            self.assertIsNotNone(ch.get(q))

        self.assertEqual(self.growth(want, deed), want)

    @only("broker", "threads")
    def test_objects_and_churn(self):
        b = self.broker("rabbit2")  # nobody else's clients are still on their way out
        self.port = port_of(b)
        wait_until(lambda: self.metrics()["rabbitmq_connections"] == 0, "alone")
        names = ["rabbitmq_connections", "rabbitmq_channels", "rabbitmq_queues",
                 "rabbitmq_consumers", "rabbitmq_queue_messages_ready",
                 "rabbitmq_queue_messages_unacked", "rabbitmq_queue_messages",
                 "rabbitmq_connections_opened_total", "rabbitmq_channels_opened_total"]
        held = []

        def deed():
            conn = self.connect(address=b.address)
            ch = conn.channel()
            conn.channel().barrier()
            q = ch.queue()
            ch.call("basic.qos", prefetch_count=1)
            for _ in range(3):
                ch.publish(key=q, body=b"x")
            ch.consume(q)
            ch.expect("basic.deliver")
            held.append(conn)

        self.assertEqual(self.growth(names, deed),
                         dict(zip(names, [1, 2, 1, 1, 2, 1, 3, 1, 2])))
        closed = self.metrics()["rabbitmq_connections_closed_total"]
        held[0].close()
        wait_until(lambda: self.metrics()["rabbitmq_connections_closed_total"] > closed,
                   "the end is counted")

    def test_the_node(self):
        m = self.metrics()
        for name in ("rabbitmq_process_resident_memory_bytes", "process_start_time_seconds",
                     "rabbitmq_resident_memory_limit_bytes", "warren_shards",
                     "rabbitmq_disk_space_available_bytes", "warren_metadata_version"):
            self.assertGreater(m[name], 0, name)
        self.assertEqual(m["rabbitmq_alarms_memory_used_watermark"], 0)
        self.assertEqual(len([k for k in m if k.startswith(
            'rabbitmq_identity_info{rabbitmq_node="rabbit1@localhost",'
            'rabbitmq_cluster="rabbit1@localhost",rabbitmq_cluster_permanent_id="')]), 1)
        for i in range(int(m["warren_shards"])):
            self.assertIn('warren_mailbox_depth{thread="shard-%d"}' % i, m)

    def test_what_the_overview_dashboard_asks_for(self):
        names = {n.split("{")[0] for n in self.metrics()}
        for name in """
            build_info identity_info queue_messages_ready queue_messages_unacked connections
            channels consumers queues channel_messages_published_total
            channel_messages_confirmed_total queue_messages_published_total
            channel_messages_unconfirmed channel_messages_unroutable_dropped_total
            channel_messages_unroutable_returned_total channel_messages_redelivered_total
            channel_messages_delivered_total channel_messages_delivered_ack_total
            channel_messages_acked_total channel_get_total channel_get_ack_total
            channel_get_empty_total queues_created_total queues_declared_total
            queues_deleted_total channels_opened_total channels_closed_total
            connections_opened_total connections_closed_total resident_memory_limit_bytes
            process_resident_memory_bytes disk_space_available_bytes process_max_fds
            process_open_fds process_max_tcp_sockets process_open_tcp_sockets
            """.split():
            self.assertIn("rabbitmq_" + name, names)

    def test_queues_are_counted(self):
        names = ["rabbitmq_queues_%s_total" % n for n in ("declared", "created", "deleted")]

        def deed():
            ch = self.channel()
            q = ch.queue()
            ch.declare(q, passive=True)
            ch.call("queue.delete", queue=q)
            wait_until(lambda: call(self.port, "/api/queues/%2F/" + q)[0] == 404, "it goes")
        wait_until(lambda: self.growth(names, deed) == dict(zip(names, (2, 1, 1))),
                   "nobody else declares")

    def test_a_line_for_each_queue(self):
        ch = self.channel()
        names = [ch.queue(queue=self.name('say "q"\\')) for _ in range(300)]
        ch.publish(key=names[7], body=b"xyz")
        self.wait_queue(names[7], messages=1)
        label = '{vhost="/",queue="%s"}'

        def of(name):
            return label % name.replace("\\", "\\\\").replace('"', '\\"')
        per_object = samples(call(self.port, "/metrics/per-object", user=None)[2])
        self.assertEqual([per_object["rabbitmq_queue_messages_ready" + of(n)] for n in names[6:9]],
                         [0, 1, 0])
        self.assertEqual(per_object["rabbitmq_queue_messages_bytes" + of(names[7])], 3)
        self.assertIn("rabbitmq_connections", per_object)
        detailed = samples(call(self.port, "/metrics/detailed?vhost=%2F&family="
                                "queue_coarse_metrics&family=queue_consumer_count",
                                user=None)[2])
        self.assertEqual({k.split("{")[0] for k in detailed}, {
            "rabbitmq_detailed_queue_" + n for n in ("messages", "messages_ready",
                                                     "messages_unacked", "consumers")})
        self.assertEqual(detailed["rabbitmq_detailed_queue_messages" + of(names[7])], 1)
        self.assertEqual(call(self.port, "/metrics/detailed", user=None)[2], "")
        self.assertEqual(call(self.port, "/metrics/detailed?vhost=no&family="
                              "queue_coarse_metrics", user=None)[2], "")

    def test_logins(self):
        failed = 'rabbitmq_auth_attempts_failed_total{protocol="http"}'
        self.assertEqual(self.growth([failed], lambda: call(self.port, "/api/whoami", "a", "b")),
                         {failed: 1})


@only("broker")
class Life(ManagementCase):
    """Brokers of their own: ports, alarms, ends."""

    def test_a_taken_port_names_the_key(self):
        taken = self.site.broker.conf["listen"]["management"]
        b = self.broker("rabbit2", {"listen": {"management": taken}}, start=False)
        b.start(ready=False)
        b.proc.tolerated = True
        self.assertEqual(b.proc.wait(), EX_SOFTWARE)
        log = b.proc.log_bytes().decode()
        self.assertIn("[listen] management", log)
        self.assertIn(taken, log)

    def test_none(self):
        b = self.broker("rabbit2", {"listen": {"management": "none"}})
        self.assertTrue(b.proc.alive())

    def test_several_addresses(self):
        wanted = [ports.free_port(), ports.free_port()]
        self.broker("rabbit2", {"listen": {
            "management": ", ".join("127.0.0.1:%d" % p for p in wanted)}})
        for port in wanted:
            self.assertEqual(call(port, "/api/whoami")[0], 200)

    def test_an_alarm_is_seen(self):
        b = self.broker("rabbit2", {"limits": {"memory-high-watermark": "16M"}})
        port = port_of(b)
        ch = self.connect(address=b.address).channel()
        ch.declare("q")
        ch.publish(key="q", body=b"x" * 20000000)
        wait_until(lambda: call(port, "/api/health/checks/alarms")[0] == 503, "the alarm")
        alarms = [{"node": "rabbit2@localhost", "resource": "memory"}]
        for path, where in (("alarms", "in the cluster"), ("local-alarms", "on the node")):
            status, _, body = call(port, "/api/health/checks/" + path)
            self.assertEqual(status, 503)
            self.assertEqual(json.loads(body), {
                "status": "failed", "alarms": alarms,
                "reason": "There are alarms in effect " + where})
        self.assertEqual(json.loads(call(port, "/api/healthchecks/node")[2])["status"], "failed")
        self.assertTrue(json.loads(call(port, "/api/nodes")[2])[0]["mem_alarm"])
        self.assertEqual(samples(call(port, "/metrics")[2])
                         ["rabbitmq_alarms_memory_used_watermark"], 1)
        other = self.connect(address=b.address).channel()
        other.call("queue.purge", queue="q")
        wait_until(lambda: call(port, "/api/health/checks/alarms")[0] == 200, "its end")
        self.assertEqual(json.loads(call(port, "/api/healthchecks/node")[2]), {"status": "ok"})

    def test_more_queues_than_a_shard_looks_at_in_a_turn(self):
        b = self.broker("rabbit2", dict(THREADS_CONF))
        conn = self.connect(address=b.address)
        channels = [conn.channel() for _ in range(70)]
        for i in range(1500):
            channels[0].send("queue.declare", queue="q%04d" % i, exclusive=True, nowait=True)
            channels[0].publish(key="q%04d" % i, body=b"x")
        channels[0].barrier()
        port = port_of(b)
        wait_until(lambda: samples(call(port, "/metrics")[2])["rabbitmq_queue_messages_ready"] ==
                   1500, "all are counted")
        queues = json.loads(call(port, "/api/queues")[2])
        self.assertEqual([q["name"] for q in queues], ["q%04d" % i for i in range(1500)])
        self.assertEqual({q["messages"] for q in queues}, {1})
        self.assertEqual(len(json.loads(call(port, "/api/channels")[2])), 70)
        conns = [self.connect(address=b.address) for _ in range(200)]
        self.assertEqual(len(json.loads(call(port, "/api/connections")[2])), len(conns) + 1)

    def test_it_ends_with_the_node(self):
        """Orderly, whoever holds a connection to it, and at once."""
        b = self.broker("rabbit2")
        idle = http.client.HTTPConnection("127.0.0.1", port_of(b), timeout=SOON)
        idle.connect()
        idle.request("GET", "/metrics")
        self.assertEqual(idle.getresponse().read()[:1], b"#")
        self.assertEqual(b.stop(), 0)
        self.assertEqual(idle.sock.recv(1) if idle.sock else b"", b"")
        with self.assertRaises(OSError):
            call(port_of(b), "/")

    def test_rabbitmqadmin(self):
        if not shutil.which("rabbitmqadmin"):
            self.skipTest("rabbitmqadmin is not installed (apt-get install rabbitmq-server)")
        name = self.name("admin")
        ch = self.channel()
        ch.queue(queue=name)
        ch.publish(key=name, body=b"x")
        self.wait_queue(name, messages=1)
        admin = ["rabbitmqadmin", "-P", str(self.port), "-H", "127.0.0.1"]
        env = dict(os.environ, HOME=self.folder("home"))
        out = self.run_ok(admin + ["-f", "tsv", "list", "queues", "name", "messages"], env=env)
        self.assertIn("%s\t1" % name, out.splitlines())
        out = self.run_ok(admin + ["show", "overview"], env=env)
        self.assertIn("rabbit1@localhost", out)
        for what in ("exchanges", "bindings", "connections", "channels", "vhosts", "nodes"):
            self.assertTrue(self.run_ok(admin + ["list", what], env=env), what)
