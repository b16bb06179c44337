"""Programs that others wrote for RabbitMQ's management: rabbitmqadmin, Nagios checks, monitors of
Celery; and management over TLS."""

import datetime
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess

from harness import ports
from harness.api import Api, quote
from harness.case import Case
from harness.waits import LONG, SOON, wait_until

TARGETS = ("broker",)
FIRST = True

PORT = ports.free_port()
BROKER_CONF = {"listen": {"management": "127.0.0.1:%d" % PORT}}


class Admin(Case):
    """Every subcommand of rabbitmqadmin."""

    def setUp(self):
        if not shutil.which("rabbitmqadmin"):
            self.skipTest("rabbitmqadmin is not installed (apt-get install rabbitmq-server)")
        self.home = self.folder("home")
        self.api = Api(PORT)

    def run_admin(self, *args, stdin=None, port=PORT):
        return subprocess.run(
            ["rabbitmqadmin", "-H", "127.0.0.1", "-P", str(port), *args], input=stdin, text=True,
            env=dict(os.environ, HOME=self.home), cwd=self.home, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=LONG)

    def admin(self, *args, **opts):
        got = self.run_admin(*args, **opts)
        self.assertEqual(got.returncode, 0, (args, got.stdout))
        return got.stdout.strip()

    def rows(self, *args):
        return [line.split("\t") for line in self.admin("-f", "tsv", *args).splitlines()[1:]]

    def test_declare_list_delete(self):
        v, u, q, x = (self.name(k) for k in "vuqx")
        steps = [
            ("vhost", ["name=" + v], "vhosts", ["name"], [v]),
            ("user", ["name=" + u, "password=p", "tags=monitoring"], "users", ["name", "tags"],
             [u, "monitoring"]),
            ("permission", ["vhost=" + v, "user=" + u, "configure=^c", "write=.*", "read=.*"],
             "permissions", ["vhost", "user", "configure"], [v, u, "^c"]),
            ("queue", ["name=" + q, "durable=true", "arguments={\"x-max-length\":9}"], "queues",
             ["name", "durable"], [q, "True"]),
            ("exchange", ["name=" + x, "type=topic"], "exchanges", ["name", "type"],
             [x, "topic"]),
            ("binding", ["source=" + x, "destination=" + q, "routing_key=a.#"], "bindings",
             ["source", "destination", "routing_key"], [x, q, "a.#"]),
            ("policy", ["name=" + q, "pattern=^" + q, "definition={\"max-length\":4}"],
             "policies", ["name", "pattern"], [q, "^" + q]),
            ("operator_policy", ["name=" + q, "pattern=^" + q, "definition={\"max-length\":3}"],
             "operator_policies", ["name", "pattern"], [q, "^" + q]),
            ("vhost_limit", ["vhost=" + v, "name=max-queues", "value=5"], "vhost_limits",
             ["vhost", "value"], [v, "{\"max-queues\": 5}"]),
        ]
        for what, args, plural, columns, row in steps:
            self.admin("declare", what, *args)
            self.assertIn(row, self.rows("list", plural, *columns), what)
        for what, args in (
                ("binding", ["source=" + x, "destination_type=queue", "destination=" + q,
                             "properties_key=a.%23"]),
                ("queue", ["name=" + q]), ("exchange", ["name=" + x]), ("policy", ["name=" + q]),
                ("operator_policy", ["name=" + q]),
                ("vhost_limit", ["vhost=" + v, "name=max-queues"]),
                ("permission", ["vhost=" + v, "user=" + u]), ("user", ["name=" + u]),
                ("vhost", ["name=" + v])):
            self.admin("delete", what, *args)
        self.assertNotEqual(self.run_admin("delete", "queue", "name=" + q).returncode, 0)
        for _, _, plural, columns, row in steps:
            self.assertNotIn(row, self.rows("list", plural, *columns))

    def test_messages(self):
        q = self.name("q")
        self.admin("declare", "queue", "name=" + q)
        self.assertEqual(self.admin("publish", "routing_key=" + q, "payload=one"),
                         "Message published")
        self.admin("publish", "routing_key=" + q, "properties={\"priority\":3}", stdin="two")
        self.assertIn("NOT routed", self.admin("publish", "routing_key=no.such", "payload=x"))
        got = json.loads(self.admin("-f", "raw_json", "get", "queue=" + q, "count=5"))
        self.assertEqual([m["payload"] for m in got], ["one", "two"])
        into = os.path.join(self.home, "payload")
        self.admin("get", "queue=" + q, "ackmode=ack_requeue_false", "payload_file=" + into)
        with open(into) as f:
            self.assertEqual(f.read(), "one")
        self.admin("purge", "queue", "name=" + q)
        self.assertEqual(self.admin("get", "queue=" + q), "No items")
        self.admin("delete", "queue", "name=" + q)

    def test_show_and_lists(self):
        self.assertIn("rabbit1@localhost", self.admin("show", "overview"))
        conn = self.connect()
        ch = conn.channel()
        ch.consume(ch.queue())
        name = "127.0.0.1:%d -> 127.0.0.1:%d" % (conn.sock.getsockname()[1],
                                                 self.site.broker.port)
        self.assertIn([name], self.rows("list", "connections", "name"))
        self.assertIn([name + " (1)"], self.rows("list", "channels", "name"))
        self.assertTrue(self.rows("list", "consumers", "consumer_tag"))
        self.assertIn(["rabbit1@localhost"], self.rows("list", "nodes", "name"))
        self.admin("list", "parameters")
        for how in ("table", "long", "kvp", "pretty_json", "bash"):
            self.assertTrue(self.admin("-f", how, "list", "exchanges", "name"))
        self.admin("close", "connection", "name=" + name)
        self.assertEqual(conn.expect("connection.close").reply_code, 320)
        self.assertNotEqual(self.run_admin("close", "connection", "name=nosuch").returncode, 0)

    def test_export_and_import(self):
        q = self.name("q")
        path = os.path.join(self.home, "definitions.json")
        self.admin("declare", "queue", "name=" + q, "durable=true")
        self.admin("export", path)
        self.admin("delete", "queue", "name=" + q)
        self.admin("import", path)
        self.assertIn([q], self.rows("list", "queues", "name"))
        self.admin("delete", "queue", "name=" + q)

    def test_a_wrong_password(self):
        got = self.run_admin("-u", "guest", "-p", "wrong", "list", "queues")
        self.assertNotEqual(got.returncode, 0)
        self.assertIn("Access refused", got.stdout)


class Nagios(Case):
    """The checks of nagios-plugins-rabbitmq."""

    def check(self, what, *args, port):
        program = shutil.which("check_rabbitmq_" + what)
        if program is None:
            self.skipTest("nagios-plugins-rabbitmq is not installed")
        got = subprocess.run([program, "-H", "127.0.0.1", "--port=%d" % port, "-u", "guest", "-p",
                              "guest", *args], text=True, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, timeout=LONG)
        return got.returncode, got.stdout

    def test_all_is_well(self):
        # They put "rabbit@" before the node's name themselves.
        b = self.broker("rabbit")
        port = int(b.conf["listen"]["management"].rsplit(":", 1)[1])
        ch = self.connect(address=b.address).channel()
        ch.declare("q")
        for _ in range(7):
            ch.publish(key="q")
        Api(port).wait("/api/queues/%2F/q", messages=7)
        for what, *args in (("aliveness",), ("connections",), ("objects",), ("overview",),
                            ("partition", "-n", "localhost"), ("queue", "--queue", "q"),
                            ("server", "-n", "localhost"), ("watermark", "-n", "localhost")):
            with self.subTest(what=what):
                status, out = self.check(what, *args, port=port)
                self.assertEqual(status, 0, out)
                self.assertIn("OK", out)
        status, out = self.check("queue", "--queue", "q", "-w", "2", "-c", "5", port=port)
        self.assertEqual(status, 2, out)
        self.assertIn("messages CRITICAL (7)", out)


class Monitors(Case):
    def test_what_flower_and_kombu_ask(self):
        """Flower's broker page asks for the queues of a vhost; kombu's manager, by way of
        pyrabbit, for those and their bindings."""
        ch = self.channel()
        q = self.name("celery")
        ch.declare(q, durable=True)
        ch.publish(key=q, body=b"{}")
        api = Api(PORT)
        api.wait("/api/queues/%2F/" + quote(q), messages=1)
        mine = [x for x in api.get("/api/queues/%2F").json if x["name"] == q][0]
        for key in ("name", "messages", "messages_ready", "messages_unacknowledged", "consumers",
                    "idle_since"):
            self.assertIn(key, mine)
        self.assertEqual(api.get("/api/aliveness-test/%2F").json, {"status": "ok"})
        of_queue = api.get("/api/queues/%2F/" + quote(q) + "/bindings").json
        self.assertEqual([b["routing_key"] for b in of_queue], [q])
        ch.call("queue.delete", queue=q)


class Tls(Case):
    def certificate(self, folder, name, days=2):
        key, cert = os.path.join(folder, "key.pem"), os.path.join(folder, "cert.pem")
        self.run_ok(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                     "ec_paramgen_curve:prime256v1", "-nodes", "-days", str(days), "-subj",
                     "/CN=" + name, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key,
                     "-out", cert])
        return key, cert

    def common_name(self, port, cert):
        context = ssl.create_default_context(cafile=cert)
        conn = http.client.HTTPSConnection("127.0.0.1", port, timeout=SOON, context=context)
        try:
            conn.connect()
            return dict(x[0] for x in conn.sock.getpeercert()["subject"])["commonName"]
        finally:
            conn.close()

    def test_management_over_tls(self):
        folder = self.folder("tls")
        key, cert = self.certificate(folder, "one")
        port = ports.free_port()
        b = self.broker("rabbit2", {"listen": {"management-tls": "127.0.0.1:%d" % port},
                                    "tls": {"cert": cert, "key": key}})
        api = Api(port, context=ssl.create_default_context(cafile=cert))
        self.assertEqual(api.get("/api/whoami").json["name"], "guest")
        self.assertIn(("https", port), [(x["protocol"], x["port"]) for x in
                                        api.get("/api/overview").json["listeners"]])
        with self.assertRaises((OSError, http.client.HTTPException)):
            Api(port).get("/api/whoami")
        self.assertEqual(self.common_name(port, cert), "one")
        self.certificate(folder, "two")
        b.proc.popen.send_signal(signal.SIGHUP)

        def is_new():
            try:
                return self.common_name(port, cert) == "two"
            except ssl.SSLError:
                return False
        wait_until(is_new, "the new certificate is shown")

    def test_certificates_that_end_soon(self):
        folder = self.folder("tls")
        key, cert = self.certificate(folder, "server", days=10)
        port = ports.free_port()
        b = self.broker("rabbit2", {"listen": {"amqps": "127.0.0.1:%d" % port},
                                    "tls": {"cert": cert, "key": key, "ca": cert}})
        api = Api(int(b.conf["listen"]["management"].rpartition(":")[2]))

        def ask(within):
            return api.get("/api/health/checks/certificate-expiration/" + within)

        def check(within, status=200):
            got = ask(within)
            self.assertEqual(got.status, status, (within, got))
            return got.json
        for within in ("9/days", "1/weeks", "0/months", "0/YEARS", "-1/years"):
            self.assertEqual(check(within), {"status": "ok"}, within)
        for within in ("11/days", "2/weeks", "1/months", "1/years", "99999999999999999/years"):
            got = check(within, 503)
            self.assertEqual((got["status"], got["reason"]), ("failed", "Certificates expiring"))
            one, = got["expired"]
            self.assertEqual((one["protocol"], one["interface"], one["port"], one["certfile"],
                              one["cacertfile"]), ("amqp/ssl", "127.0.0.1", port, cert, cert))
            ends = self.run_ok(["openssl", "x509", "-in", cert, "-noout", "-enddate"])
            ends = ssl.cert_time_to_seconds(ends.strip().split("=")[1])
            ends = datetime.datetime.fromtimestamp(ends, datetime.timezone.utc)
            shown = "%s %d:%s" % (ends.strftime("%Y-%m-%d"), ends.hour, ends.strftime("%M:%S"))
            self.assertEqual(one["certfile_expires_on"], [shown])
            self.assertEqual(one["cacertfile_expires_on"], [shown])
        self.assertEqual(check("soon/days", 400)["reason"], "Invalid expiration value.")
        self.assertEqual(check("1/fortnights", 400)["reason"],
                         "Time unit not recognised. Supported units: days, weeks, months, years.")
        # The one that is served counts, not the one that lies on the disk.
        self.certificate(folder, "server", days=100)
        check("11/days", 503)
        b.proc.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: ask("11/days").status == 200, "the new certificate is looked at")
        check("4/months", 503)

    def test_without_tls_no_certificate_ends(self):
        got = Api(PORT).get("/api/health/checks/certificate-expiration/100/years").json
        self.assertEqual(got, {"status": "ok"})
