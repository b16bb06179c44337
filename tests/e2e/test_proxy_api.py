"""What the proxy tells programs, as JSON: /api/..."""

import base64
import json
import re

from harness.case import Case, only
from harness.cluster_case import ClusterCase
from harness.proxy_view import http_get, stats
from harness.waits import LONG, wait_until

TARGETS = ("proxy", "broker")
LOCAL = {"x-queue-master-locator": "client-local"}


def api(proxy, path, status=200):
    got, text = http_get(proxy.stats_port, "/api" + path)
    assert got == status, (path, got, text)
    return json.loads(text)


@only("proxy")
class Answers(Case):
    def test_the_paths_are_listed_and_answer(self):
        p = self.site.proxy
        paths = api(p, "")
        self.assertEqual(paths, api(p, "/"))
        self.assertEqual(sorted(paths), ["/api/" + name for name in (
            "failovers", "gossip", "info", "legs", "queues", "sessions", "stats")])
        for path in paths:
            api(p, path[len("/api"):])

    def test_what_is_not_there(self):
        p = self.site.proxy
        for path in ("/nothing", "/info/more", "/queues/production/orders", "/info//x", "/info/%zz",
                     "/informal", "/%00", "//", "/" + 300 * "x"):
            with self.subTest(path=path):
                self.assertEqual(api(p, path, 404)["error"], "not_found")
        for path in ("/sessions?limit=0", "/legs?limit=many", "/legs?limit=" + 30 * "1",
                     "/legs?most=1", "/queues?queue=q", "/queues?x=1"):
            with self.subTest(path=path):
                self.assertEqual(api(p, path, 400)["error"], "bad_request")

    def test_the_table_is_that_of_the_csv(self):
        p = self.site.proxy
        rows = {(r["pxname"], r["svname"]): r for r in api(p, "/stats")}
        table = stats(p)
        self.assertEqual(set(rows), set(table))
        for key in ("type", "iid", "sid", "mode", "weight", "addr"):
            for name, row in rows.items():
                self.assertEqual(str(row.get(key, "")), table[name][key], (name, key))

    def test_the_process(self):
        p = self.site.proxy
        was = api(p, "/info")
        self.assertEqual(was["pid"], p.proc.pid)
        self.assertIs(was["serves"], True)
        self.assertIs(was["stopping"], False)
        ch = self.channel()
        q = ch.queue()
        ch.publish("", q, b"x")
        wait_until(lambda: api(p, "/info")["published"] > was["published"], "it is counted")
        now = api(p, "/info")
        self.assertGreater(now["connections_total"], was["connections_total"])
        self.assertGreaterEqual(now["clients"], 1)
        self.assertEqual(sorted(now["operations"]), ["hop", "straight", "unknown"])

    def test_sessions_and_their_legs(self):
        p = self.site.proxy
        conn = self.connect()
        ch = conn.channel()
        ch.queue()
        source = "%s:%d" % conn.sock.getsockname()
        found = [s for s in api(p, "/sessions?limit=2000")["sessions"] if s["source"] == source]
        self.assertEqual(len(found), 1)
        session = found[0]
        self.assertEqual([session[k] for k in ("frontend", "backend", "user", "vhost", "state",
                                               "channels", "protocol")],
                         ["amqp", "rabbits", "guest", "/", "RUNNING", 1, "tcpv4"])
        self.assertEqual(session["upstreams"], [{"server": "rabbit1", "legs": 1, "blocked": False}])
        self.assertGreater(session["bytes_in"], 0)
        legs = [leg for leg in api(p, "/legs?limit=2000")["legs"]
                if leg["session"] == session["id"]]
        self.assertEqual([(leg["channel"], leg["server"]) for leg in legs], [(1, "rabbit1")])

    def test_a_list_is_as_long_as_is_asked_for(self):
        p = self.site.proxy
        for _ in range(3):
            self.connect().channel()
        got = api(p, "/sessions?limit=2")
        self.assertEqual(len(got["sessions"]), 2)
        self.assertGreaterEqual(got["left_out"], 1)

    def test_names_that_are_no_text(self):
        """A user's name need not be UTF-8, and JSON must be."""
        def is_listed():
            conn = self.raw()
            conn.hello()
            # It is refused, seconds later.
            conn.start_ok(response=b"\0a\"\\\xff\0b", capabilities={})
            return any(s.get("user") == "a\"\\\ufffd"
                       for s in api(self.site.proxy, "/sessions?limit=2000")["sessions"])
        wait_until(is_listed, "the session is listed", interval=0.3)

    def test_who_may_not_look_is_refused(self):
        p = self.proxy([self.site.broker], {"listen stats": {"stats-auth": "admin:secret"}})
        self.assertEqual(http_get(p.stats_port, "/api/info")[0], 401)
        word = base64.b64encode(b"admin:secret").decode()
        self.assertEqual(http_get(p.stats_port, "/api/info",
                                  {"Authorization": "Basic " + word})[0], 200)

    def test_without_gossip(self):
        p = self.site.proxy
        self.assertEqual(api(p, "/failovers"), {"total": 0, "failovers": []})
        self.assertEqual(api(p, "/gossip"), {"takes_part": False, "members": []})
        self.assertEqual(api(p, "/queues"), [])


@only("broker")
class OfACluster(ClusterCase):
    def setUp(self):
        super().setUp()
        self.front = self.proxy(self.cluster.nodes, {
            "global": self.gossiping(), "backend rabbits": {"balance": "queue-master"}})

    def place(self, queue):
        return api(self.front, "/queues?vhost=%2F&queue=" + queue)

    def test_where_queues_are_and_who_died(self):
        self.channel(address=self.there.address).declare("q", durable=True, arguments=LOCAL)
        wait_until(lambda: self.place("q")[0].get("server") == "rabbit2", "q is seen", LONG)
        wait_until(lambda: {k: v for k, v in self.place("q")[0].items() if k != "node"} ==
                   {"backend": "rabbits", "known": True, "up": True, "server": "rabbit2",
                    "usable": True, "gossip": "alive"}, "its server is known", LONG)
        self.assertEqual(self.place("nothing"), [{"backend": "rabbits", "known": False}])
        backend, = api(self.front, "/queues")
        self.assertEqual(backend["queues"], 1)
        wait_until(lambda: {n["server"]: n["queues"] for n in api(self.front, "/queues")[0]["nodes"]}
                   == {"rabbit1": 0, "rabbit2": 1, "rabbit3": 0}, "all nodes are servers", LONG)
        wait_until(lambda: {re.sub("@.*", "", m.get("name", "")): (m.get("role"), m["state"])
                            for m in api(self.front, "/gossip")["members"] if not m["self"]}
                   == {n.name: ("broker", "alive") for n in self.cluster.nodes},
                   "all take part", LONG)
        before = api(self.front, "/failovers")["total"]  # one that starts may be seen as down
        self.there.kill()

        def last():
            f = api(self.front, "/failovers")
            return f["total"] > before and [f["failovers"][0][k] for k in (
                "name", "queues", "left", "state")]
        wait_until(lambda: last() == [self.there.node, 1, 1, "goes on"], "it is seen to die", LONG)
        wait_until(lambda: self.place("q")[0]["up"] is False, "its queue is down", LONG)

    def test_the_cluster_has_a_name(self):
        """Clients are told what set_cluster_name says, at each node and through the proxy."""
        eldest = self.cluster.nodes[0].node

        def told_by(server):
            conn = self.raw(address=server.address)
            name = conn.hello().server_properties.get("cluster_name")
            conn.sock.close()
            return name

        def told():
            return {told_by(n) for n in self.cluster.nodes + [self.front]}
        wait_until(lambda: told() == {eldest}, "all say the eldest's name", LONG)
        out = self.there.ctl("set_cluster_name", "shop")
        self.assertEqual(out.returncode, 0, out.stderr)
        wait_until(lambda: told() == {"shop"}, "all say the new name", LONG)
        self.assertEqual(self.there.ctl("set_cluster_name", "").returncode, 0)
        wait_until(lambda: told() == {eldest}, "none is the eldest's", LONG)
        self.assertEqual(self.there.ctl("set_cluster_name", 200 * "\u00fc").returncode, 0)
        wait_until(lambda: told() == {127 * "\u00fc"}, "as much as is told", LONG)
