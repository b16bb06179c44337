"""Users, permissions, policies, parameters, limits and definitions by way of the management API.

The same tests run against RabbitMQ's management plugin: --target rabbitmq.
"""

import json
import threading

from harness import ports
from harness.api import Api, quote
from harness.case import Case, only
from harness.waits import wait_until

TARGETS = ("broker", "rabbitmq")

BROKER_PORT, RABBIT_PORT = ports.free_port(), ports.free_port()
BROKER_CONF = {"listen": {"management": "127.0.0.1:%d" % BROKER_PORT}}
RABBIT_CONF = ["management.tcp.port = %d" % RABBIT_PORT, "management.tcp.ip = 127.0.0.1"]
RABBIT_PLUGINS = ["rabbitmq_management"]

NOT_FOUND = {"error": "Object Not Found", "reason": "Not Found"}
HASH = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"  # of "test12"


class ApiCase(Case):
    def setUp(self):
        self.api = Api(RABBIT_PORT if self.is_rabbit else BROKER_PORT)

    def expect(self, answer, status, body=None):
        self.assertEqual(answer.status, status, answer)
        if body is not None:
            self.assertEqual(answer.json, body)

    def bad(self, answer, reason, status=400, error="bad_request"):
        self.expect(answer, status, {"error": error, "reason": reason})

    def denied(self, answer, reason):
        self.bad(answer, reason, 401, "not_authorised")

    def user(self, tags="", vhost=None, rights=(".*", ".*", ".*")):
        name = self.name("u")
        self.expect(self.api.put("/api/users/" + name, {"password": "pw", "tags": tags}), 201)
        self.addCleanup(lambda: self.api.delete("/api/users/" + name))
        if vhost is not None:
            self.expect(self.api.put("/api/permissions/%s/%s" % (quote(vhost), name),
                                     dict(zip(("configure", "write", "read"), rights))), 201)
        return name, self.api.as_user(name, "pw")

    def vhost(self, **body):
        name = self.name("v")
        self.expect(self.api.put("/api/vhosts/" + name, body), 201)
        self.addCleanup(lambda: self.api.delete("/api/vhosts/" + name))
        return name


class Users(ApiCase):
    def test_add_change_delete(self):
        name = self.name("u")
        path = "/api/users/" + name
        self.expect(self.api.put(path, {"password": "one", "tags": "administrator, other"}), 201)
        u = self.api.get(path).json
        self.assertEqual((u["name"], u["tags"], u["limits"]), (name, ["administrator", "other"],
                                                               {}))
        self.expect(self.api.as_user(name, "one").get("/api/whoami"), 200,
                    {"name": name, "tags": ["administrator", "other"]})
        self.expect(self.api.put(path, {"password": "two", "tags": ["management"]}), 204)
        self.assertEqual(self.api.as_user(name, "one").get("/api/whoami").status, 401)
        self.assertEqual(self.api.as_user(name, "two").get("/api/whoami").status, 200)
        self.assertIn(name, [u["name"] for u in self.api.get("/api/users").json])
        self.assertIn(name, [u["name"] for u in
                             self.api.get("/api/users/without-permissions").json])
        self.expect(self.api.delete(path), 204)
        self.expect(self.api.delete(path), 404, NOT_FOUND)
        self.expect(self.api.get(path), 404, NOT_FOUND)

    def test_by_hash(self):
        name, _ = self.user()
        path = "/api/users/" + name
        self.expect(self.api.put(path, {
            "password_hash": HASH, "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": "monitoring", "limits": {"max-connections": 3}}), 204)
        self.expect(self.api.get(path), 200, {
            "name": name, "password_hash": HASH, "tags": ["monitoring"],
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "limits": {"max-connections": 3}})
        self.assertEqual(self.api.as_user(name, "test12").get("/api/whoami").status, 200)
        self.expect(self.api.put(path, {"password_hash": "", "tags": "monitoring"}), 204)
        self.assertEqual(self.api.as_user(name, "test12").get("/api/whoami").status, 401)

    def test_refusals(self):
        name, _ = self.user()
        path = "/api/users/" + name
        self.bad(self.api.put(path, {"password": "x"}), "tags_not_present")
        self.bad(self.api.put(path, {"password_hash": "zz", "tags": ""}), ["not_base64", "zz"])
        self.bad(self.api.put(path, "x"), "not_json")
        self.bad(self.api.post("/api/users/bulk-delete", {"users": [name, "nouser"]}),
                 ["no_such_user", "nouser"])
        self.bad(self.api.post("/api/users/bulk-delete", {}), "[{key_missing,users}]")

    def test_many_at_a_time(self):
        names = [self.user()[0] for _ in range(3)]
        self.expect(self.api.post("/api/users/bulk-delete", {"users": names}), 204)
        self.assertFalse(set(names) & {u["name"] for u in self.api.get("/api/users").json})

    def test_limits(self):
        name, _ = self.user()
        self.expect(self.api.put("/api/user-limits/%s/max-channels" % name, {"value": 5}), 204)
        self.expect(self.api.get("/api/user-limits/" + name), 200,
                    [{"user": name, "value": {"max-channels": 5}}])
        self.assertIn({"user": name, "value": {"max-channels": 5}},
                      self.api.get("/api/user-limits").json)
        self.expect(self.api.delete("/api/user-limits/%s/max-channels" % name), 204)
        self.expect(self.api.get("/api/user-limits/" + name), 200, [])
        self.expect(self.api.get("/api/user-limits/nouser"), 404, NOT_FOUND)


class Permissions(ApiCase):
    def test_put_look_clear(self):
        name, _ = self.user()
        path = "/api/permissions/%2F/" + name
        body = {"configure": "^a", "write": ".*", "read": ""}
        whole = dict(body, user=name, vhost="/")
        self.expect(self.api.put(path, body), 201)
        self.expect(self.api.put(path, body), 204)
        self.expect(self.api.get(path), 200, whole)
        self.expect(self.api.get("/api/users/%s/permissions" % name), 200, [whole])
        self.assertIn(whole, self.api.get("/api/vhosts/%2F/permissions").json)
        self.assertIn(whole, self.api.get("/api/permissions").json)
        self.expect(self.api.delete(path), 204)
        self.expect(self.api.delete(path), 404, NOT_FOUND)

    def test_topics(self):
        name, _ = self.user()
        path = "/api/topic-permissions/%2F/" + name
        body = {"exchange": "amq.topic", "write": "^a", "read": ".*"}
        whole = dict(body, user=name, vhost="/")
        self.expect(self.api.put(path, body), 201)
        self.expect(self.api.put(path, body), 204)
        self.expect(self.api.get(path), 200, [whole])
        self.expect(self.api.get("/api/users/%s/topic-permissions" % name), 200, [whole])
        self.assertIn(whole, self.api.get("/api/topic-permissions").json)
        self.expect(self.api.delete(path), 204)
        self.expect(self.api.get(path), 404, NOT_FOUND)

    def test_refusals(self):
        name, _ = self.user()
        body = {"configure": ".*", "write": ".*", "read": ".*"}
        self.bad(self.api.put("/api/permissions/%2F/" + name, {"configure": "", "write": ""}),
                 "[{key_missing,read}]")
        self.bad(self.api.put("/api/permissions/nosuch/" + name, body), "vhost_or_user_not_found")
        self.bad(self.api.put("/api/permissions/%2F/nouser", body), "vhost_or_user_not_found")
        self.expect(self.api.put("/api/permissions/%2F/" + name, dict(body, read="(")), 400)

    def test_they_hold_here_too(self):
        vhost = self.vhost()
        _, api = self.user("management", vhost, ("^a", "^a1", ""))
        self.expect(api.put("/api/queues/%s/a1" % vhost, {}), 201)
        self.denied(api.put("/api/queues/%s/b1" % vhost, {}), "Access refused.")
        self.denied(api.put("/api/exchanges/%s/b1" % vhost, {}), "Access refused.")
        self.denied(api.delete("/api/queues/%s/a1/contents" % vhost), "Access refused.")
        self.bad(api.post("/api/exchanges/%s/amq.default/publish" % vhost, {
            "properties": {}, "routing_key": "a1", "payload": "", "payload_encoding": "string"}),
            "403 ACCESS_REFUSED - access to exchange 'amq.default' in vhost '%s' refused for "
            "user '%s'" % (vhost, api.user))
        self.denied(api.put("/api/queues/%2F/a1", {}),
                    "User not authorised to access virtual host")
        self.assertEqual([q["name"] for q in api.get("/api/queues").json], ["a1"])
        self.expect(api.get("/api/queues/%2F"), 401)
        self.expect(api.get("/api/queues/nosuch"), 404, NOT_FOUND)
        self.expect(api.delete("/api/queues/%s/a1" % vhost), 204)


class Tags(ApiCase):
    LEVELS = {  # what the least of a level may see, and what everybody below is told
        "/api/overview": ("management", "Not management user"),
        "/api/queues": ("management", "Not management user"),
        "/api/nodes": ("monitoring", "Not monitor user"),
        "/api/global-parameters": ("policymaker", "User not authorised to access object"),
        "/api/users": ("administrator", "Not administrator user"),
        "/api/definitions": ("administrator", "Not administrator user"),
        "/api/permissions": ("administrator", "Not administrator user"),
    }
    INCLUDES = {"": (), "management": ("management",),
                "policymaker": ("management", "policymaker"),
                "monitoring": ("management", "monitoring"),
                "administrator": ("management", "policymaker", "monitoring", "administrator")}

    def test_what_each_sees(self):
        for tag, levels in self.INCLUDES.items():
            _, api = self.user(tag)
            for path, (level, reason) in self.LEVELS.items():
                with self.subTest(tag=tag, path=path):
                    got = api.get(path)
                    if level in levels:
                        self.expect(got, 200)
                    else:
                        self.denied(got, reason if tag else "Not management user")


    def listed(self, conn):
        """What the management calls the connection, in a path."""
        port, names = conn.sock.getsockname()[1], []

        def is_there():
            names[:] = [c["name"] for c in self.api.get("/api/connections").json
                        if c.get("peer_port") == port]
            return names

        wait_until(is_there, "the connection is listed")
        return quote(names[0])

    def test_who_closes_connections(self):
        conn = self.connect()
        name = self.listed(conn)
        for tag in ("management", "monitoring", "policymaker"):
            _, api = self.user(tag)
            self.denied(api.delete("/api/connections/" + name),
                        "User not authorised to access object")
        conn.channel()  # it is still there
        self.expect(self.api.delete("/api/connections/" + name), 204)

    @only("broker")
    def test_who_closes_those_of_a_user(self):
        conn = self.connect()
        self.listed(conn)
        _, api = self.user("monitoring")
        self.denied(api.delete("/api/connections/username/guest"),
                    "User not authorised to access object")
        conn.channel()
        self.expect(api.delete("/api/connections/username/" + api.user), 204)

    @only("broker")
    def test_bodies_of_many_values(self):
        """A value takes far more memory than its text."""
        vhost = self.vhost()
        _, api = self.user("management", vhost)
        path = "/api/queues/%s/q" % vhost
        self.expect(api.put(path, '{"arguments": {"x": [%s]}}' % ",".join(["[]"] * 200000)), 413)
        self.expect(api.put(path, json.dumps({"other": "[]," * 200000 + '"\\'})), 201)
        self.expect(self.api.delete(path), 204)

    def test_what_of_the_overview_is_for_monitors(self):
        vhost = self.vhost()
        self.expect(self.api.put("/api/queues/%s/q" % vhost, {}), 201)
        self.expect(self.api.put("/api/queues/%2F/" + self.name(), {}), 201)
        _, api = self.user("management", vhost)
        _, monitor = self.user("monitoring")
        self.api.wait("/api/queues/%s/q" % vhost, messages=0)
        few, all_ = api.get("/api/overview").json, monitor.get("/api/overview").json
        self.assertIn("listeners", all_)
        self.assertIn("node", all_)
        self.assertNotIn("listeners", few)
        self.assertNotIn("node", few)
        self.assertEqual(few["object_totals"]["queues"], 1)
        self.assertGreater(all_["object_totals"]["queues"], 1)
        self.assertEqual(few["object_totals"]["connections"], 0)

    def test_policymakers_stay_in_their_vhosts(self):
        vhost = self.vhost()
        _, api = self.user("policymaker", vhost)
        reason = "User not authorised to access object"
        for kind in ("vhost-limits", "operator_policy"):
            path = "/api/parameters/%s/%%2F/limits" % kind
            self.denied(api.put(path, {"value": {"max-connections": 1}}), reason)
            self.denied(api.get(path), reason)
            self.denied(api.delete(path), reason)
            self.denied(api.get("/api/parameters/%s/%%2F" % kind), reason)
        self.expect(api.get("/api/parameters/operator_policy/" + vhost), 200, [])

    def test_administrators_see_every_vhost(self):
        vhost = self.vhost()
        _, api = self.user("administrator")
        self.expect(api.get("/api/queues/" + vhost), 200, [])
        policy = {"pattern": "^a", "definition": {"max-length": 1}}
        self.expect(api.put("/api/policies/%s/p" % vhost, policy), 201)
        self.expect(api.delete("/api/policies/%s/p" % vhost), 204)
        self.denied(api.put("/api/queues/%s/q" % vhost, {}), "Access refused.")
        self.denied(api.get("/api/aliveness-test/" + vhost), "Access refused.")

    def test_operator_policies_are_for_administrators(self):
        vhost = self.vhost()
        _, api = self.user("policymaker", vhost)
        path = "/api/operator-policies/%s/p" % vhost
        policy = {"pattern": "^a", "definition": {"max-length": 1}}
        self.denied(api.put(path, policy), "Not administrator user")
        self.expect(self.api.put(path, policy), 201)
        self.denied(api.get(path), "Not administrator user")
        self.expect(api.get("/api/operator-policies/" + vhost), 200)


class Policies(ApiCase):
    def test_put_look_clear(self):
        vhost = self.vhost()
        for kind in ("policies", "operator-policies"):
            path = "/api/%s/%s/p 1" % (kind, vhost)
            path = path.replace(" ", "%20")
            self.expect(self.api.put(path, {"pattern": "^a", "definition": {"max-length": 1},
                                            "priority": 2, "apply-to": "queues"}), 201)
            whole = {"vhost": vhost, "name": "p 1", "pattern": "^a", "apply-to": "queues",
                     "definition": {"max-length": 1}, "priority": 2}
            self.expect(self.api.get(path), 200, whole)
            self.expect(self.api.get("/api/%s/%s" % (kind, vhost)), 200, [whole])
            self.expect(self.api.put(path, {"pattern": "^a", "definition": {"max-length": 2}}),
                        204)
            self.assertIn(dict(whole, priority=0, definition={"max-length": 2},
                               **{"apply-to": "all"}), self.api.get("/api/" + kind).json)
            self.expect(self.api.delete(path), 204)
            self.expect(self.api.delete(path), 404, NOT_FOUND)
            self.expect(self.api.get(path), 404, NOT_FOUND)

    def test_refusals(self):
        def put(**body):
            return self.api.put("/api/policies/%2F/p", body)
        failed = "Validation failed\n\n"
        self.bad(put(pattern="^a"), "[{key_missing,definition}]")
        self.bad(put(pattern="(", definition={"max-length": 1}),
                 failed + "pattern should be regular expression but is invalid: "
                 "{\"missing )\",1}\n")
        self.bad(put(pattern="a", definition={"max-length": "x"}),
                 failed + "&lt;&lt;\"x\"&gt;&gt; is not a valid maximum length\n")
        self.bad(put(pattern="a", definition={}), failed + "no policy provided\n")
        self.bad(put(pattern="a", definition={"max-length": 1}, **{"apply-to": "zz"}),
                 failed + "apply-to 'zz' unrecognised; should be 'queues', 'exchanges' or "
                 "'all'\n")
        self.bad(put(pattern="a", definition={"max-length": 1}, priority="x"),
                 failed + "priority should be a number, actually was "
                 "&lt;&lt;\"x\"&gt;&gt;\n")
        self.bad(self.api.put("/api/policies/nosuch/p", {"pattern": "", "definition": {}}),
                 "vhost_not_found", 404, "not_found")

    def test_a_queue_says_which_one_counts(self):
        vhost = self.vhost()
        self.expect(self.api.put("/api/queues/%s/a1" % vhost, {}), 201)
        self.expect(self.api.put("/api/policies/%s/p" % vhost, {
            "pattern": "^a", "definition": {"max-length": 9, "message-ttl": 7000}}), 201)
        self.expect(self.api.put("/api/operator-policies/%s/o" % vhost, {
            "pattern": "^a", "definition": {"max-length": 5}}), 201)
        self.api.wait("/api/queues/%s/a1" % vhost, policy="p", operator_policy="o",
                      effective_policy_definition={"max-length": 5, "message-ttl": 7000})


class Parameters(ApiCase):
    def test_global(self):
        path = "/api/global-parameters/" + self.name("gp")
        self.expect(self.api.put(path, {"value": {"a": 1}}), 201)
        self.expect(self.api.put(path, {"value": {"a": 2}}), 204)
        self.assertEqual(self.api.get(path).json["value"], {"a": 2})
        self.bad(self.api.put(path, {}), "[{key_missing,value}]")
        self.expect(self.api.delete(path), 204)
        self.expect(self.api.delete(path), 404, NOT_FOUND)

    def test_of_vhosts(self):
        self.bad(self.api.put("/api/parameters/foo/%2F/n", {"value": 1}),
                 "Validation failed\n\ncomponent foo not found\n")
        self.bad(self.api.put("/api/parameters/policy/%2F/n", {"value": {}}),
                 "policies may not be set using this method")

    def test_vhost_limits(self):
        vhost = self.vhost()
        path = "/api/vhost-limits/" + vhost
        self.expect(self.api.put(path + "/max-connections", {"value": 5}), 204)
        self.expect(self.api.put(path + "/max-queues", {"value": 6}), 204)
        self.expect(self.api.get(path), 200,
                    [{"vhost": vhost, "value": {"max-connections": 5, "max-queues": 6}}])
        self.bad(self.api.put(path + "/foo", {"value": 5}),
                 "Validation failed\n\nUnrecognised terms [{<<\"foo\">>,5}] in limits\n")
        self.expect(self.api.delete(path + "/max-queues"), 204)
        self.expect(self.api.delete(path + "/max-connections"), 204)
        self.expect(self.api.get(path), 200, [])

    def test_cluster_name(self):
        name = self.name("cluster")
        self.expect(self.api.put("/api/cluster-name", {"name": name}), 204)
        self.expect(self.api.get("/api/cluster-name"), 200, {"name": name})
        self.assertEqual(self.api.get("/api/overview").json["cluster_name"], name)

    def test_vhosts(self):
        name = self.vhost(description="d", tags="a,b", tracing=True)
        v = self.api.get("/api/vhosts/" + name).json
        self.assertEqual((v["description"], v["tags"], v["tracing"], v["metadata"]),
                         ("d", ["a", "b"], True, {"description": "d", "tags": ["a", "b"]}))
        self.expect(self.api.get("/api/permissions/%s/guest" % name), 200)


class Definitions(ApiCase):
    def keys(self, doc, section):
        return {json.dumps(o, sort_keys=True) for o in doc[section]}

    def test_out_and_in_again(self):
        vhost = self.vhost()
        user, _ = self.user("monitoring", vhost, ("^x", "", ".*"))
        at = (quote(vhost),)
        self.api.put("/api/queues/%s/c" % at, {"durable": True, "arguments": {"x-max-length": 5}})
        self.api.put("/api/queues/%s/q" % at, {"durable": True,
                                               "arguments": {"x-queue-type": "quorum"}})
        self.api.put("/api/exchanges/%s/x" % at, {"type": "topic", "durable": True})
        self.api.post("/api/bindings/%s/e/x/q/c" % at, {"routing_key": "k",
                                                        "arguments": {"n": 1}})
        self.api.post("/api/bindings/%s/e/amq.fanout/e/x" % at, {})
        self.api.put("/api/policies/%s/p" % at, {"pattern": "^c", "definition": {"expires": 99}})
        self.api.put("/api/operator-policies/%s/o" % at, {"pattern": "^c",
                                                          "definition": {"max-length": 3}})
        self.api.put("/api/vhost-limits/%s/max-queues" % at, {"value": 77})
        before = self.api.get("/api/definitions").json
        for key in ("rabbit_version", "users", "vhosts", "permissions", "topic_permissions",
                    "parameters", "global_parameters", "policies", "queues", "exchanges",
                    "bindings"):
            self.assertIn(key, before)
        self.assertEqual(len([b for b in before["bindings"] if b["vhost"] == vhost]), 2)
        self.expect(self.api.delete("/api/vhosts/" + vhost), 204)
        self.expect(self.api.delete("/api/users/" + user), 204)
        self.expect(self.api.post("/api/definitions", before), 204)
        after = self.api.get("/api/definitions").json
        for key in ("users", "vhosts", "permissions", "parameters", "policies", "queues",
                    "exchanges", "bindings"):
            self.assertEqual(self.keys(before, key), self.keys(after, key), key)

    @only("broker")
    def test_passwords_that_take_their_time(self):
        broker = self.broker("own", {"auth": {"hash-rounds": "100000"}})
        api = Api(int(broker.conf["listen"]["management"].rsplit(":", 1)[1]))
        # Others are answered between two of them, and so see how there are more and more. Who has
        # to wait for all of them sees none or all, and those that were made last perhaps: how fast
        # the machine is does not matter. It may have no time for this test all the while, so a few
        # times are tried.
        for attempt in range(10):
            users = [{"name": "u%d-%d" % (attempt, i), "password": "p", "tags": ""}
                     for i in range(24)]
            if len(self.seen_while_made(api, users)) >= 4:
                return
        self.fail("nobody is answered while passwords are hashed")

    def seen_while_made(self, api, users):
        """How many of them there are, again and again; neither none nor all of them."""
        first, done, seen = len(api.get("/api/users").json), [], set()
        t = threading.Thread(
            target=lambda: done.append(api.post("/api/definitions", {"users": users}).status))
        t.start()
        while not done:
            seen.add(len(api.get("/api/users").json) - first)
        t.join()
        self.assertEqual(done, [204])
        self.assertEqual(len(api.get("/api/users").json), first + len(users))
        return seen - {0, len(users)}

    def test_of_one_vhost(self):
        vhost, other = self.vhost(), self.vhost()
        self.api.put("/api/queues/%s/c" % vhost, {"durable": True})
        self.api.post("/api/bindings/%s/e/amq.topic/q/c" % vhost, {"routing_key": "k"})
        d = self.api.get("/api/definitions/" + vhost).json
        self.assertEqual(d["queues"], [{"name": "c", "durable": True, "auto_delete": False,
                                        "arguments": {}}])
        self.assertNotIn("users", d)
        self.assertNotIn("vhost", d["bindings"][0])
        self.expect(self.api.post("/api/definitions/" + other, d), 204)
        self.expect(self.api.get("/api/queues/%s/c" % other), 200)
        self.bad(self.api.get("/api/definitions/nosuch"), "vhost_not_found")

    def test_a_bad_object_is_refused(self):
        for doc in ({"queues": [{"name": "zz", "vhost": "nosuch", "durable": True,
                                 "auto_delete": False, "arguments": {}}]},
                    {"queues": [{"name": "zz", "vhost": "/", "durable": True,
                                 "auto_delete": False, "arguments": {"x-max-length": -1}}]},
                    {"users": [{"name": "zz"}]},
                    {"policies": [{"vhost": "/", "name": "zz", "pattern": "(",
                                   "definition": {"max-length": 1}}]}):
            got = self.api.post("/api/definitions", doc)
            self.expect(got, 400)
            if not self.is_rabbit:
                self.assertIn("'zz'", got.json["reason"])


class Rights(ApiCase):
    def test_connections_of_others(self):
        """Who does not monitor sees and closes his own alone."""
        _, api = self.user("management", "/")
        conn = self.connect()
        port = conn.sock.getsockname()[1]

        def listed(who):
            return [c for c in who.get("/api/connections").json if c.get("peer_port") == port]
        wait_until(lambda: listed(self.api), "it is listed")
        self.assertEqual(listed(api), [])
        name = listed(self.api)[0]["name"]
        self.assertIn(api.delete("/api/connections/" + quote(name)).status, (401, 404))
        self.assertTrue(listed(self.api))
