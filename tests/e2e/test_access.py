"""What users may do: vhosts, limits, permissions on every operation, topics. Codes and words are
RabbitMQ 3.10's."""

import wire
from harness.admin import Admin
from harness.case import Case, only
from harness.client import Eof
from harness.waits import wait_until

THREADS = True
REMOTE = True
RABBIT_CONF = []

USER, PASSWORD = "shop", "keeper"


class AccessCase(Case):
    @property
    def admin(self):
        return Admin(self.site)

    def user(self, name=None):
        """A new user without any right, gone with the test."""
        name = name or self.name("user")
        self.admin.add_user(name, PASSWORD)
        self.addCleanup(self.admin.delete_user, name)
        return name

    def vhost(self):
        name = self.name("vhost")
        self.admin.add_vhost(name)
        self.addCleanup(self.admin.delete_vhost, name)
        return name

    def log_in(self, user, vhost="/", password=PASSWORD):
        """The open connection of that user."""
        conn = self.tuned(user, password)
        conn.open(vhost)
        return conn

    def tuned(self, user, password=PASSWORD):
        conn = self.raw()
        conn.hello()
        conn.login(user, password)
        conn.tune_ok()
        return conn

    def refused_at_open(self, text, user, vhost="/"):
        conn = self.tuned(user)
        conn.send_method(0, "connection.open", virtual_host=vhost)
        conn.expect_close(530, "NOT_ALLOWED - " + text, "connection.open")

    def may_enter(self, user, vhost="/"):
        conn = self.tuned(user)
        conn.send_method(0, "connection.open", virtual_host=vhost)
        try:
            return conn.next(0).name == "connection.open_ok"
        finally:
            conn.sock.close()


class Entering(AccessCase):
    def test_a_vhost_without_permissions(self):
        user, vhost = self.user(), self.vhost()
        self.refused_at_open("access to vhost '%s' refused for user '%s'" % (vhost, user), user,
                             vhost)
        self.admin.permit(user, "", "", "", vhost)
        self.log_in(user, vhost).close()
        self.refused_at_open("access to vhost '/' refused for user '%s'" % user, user)
        self.admin.forbid(user, vhost)
        self.refused_at_open("access to vhost '%s' refused for user '%s'" % (vhost, user), user,
                             vhost)

    def test_a_vhost_that_is_not_there(self):
        self.refused_at_open("vhost nowhere not found", self.user(), "nowhere")

    def test_a_full_vhost(self):
        user, vhost = self.user(), self.vhost()
        self.admin.permit(user, vhost=vhost)
        self.admin.limit_vhost(vhost, "max-connections", 2)
        conns = [self.log_in(user, vhost) for _ in range(2)]
        why = "access to vhost '%s' refused for user '%s': connection limit (%d) is reached"
        wait_until(lambda: not self.may_enter(user, vhost), "the vhost to be full")
        self.refused_at_open(why % (vhost, user, 2), user, vhost)
        conns[0].close()
        wait_until(lambda: self.may_enter(user, vhost), "room for another one")
        self.admin.limit_vhost(vhost, "max-connections", 0)
        self.refused_at_open(why % (vhost, user, 0), user, vhost)
        self.admin.unlimit_vhost(vhost)
        self.log_in(user, vhost).close()

    def test_a_user_with_enough_connections(self):
        user = self.user()
        self.admin.permit(user)
        self.admin.limit_user(user, "max-connections", 1)
        conn = self.log_in(user)
        wait_until(lambda: not self.may_enter(user), "the user to have enough")
        self.refused_at_open("connection refused for user '%s': user connection limit (1) is "
                             "reached" % user, user)
        self.refused_at_open("vhost nowhere not found", user, "nowhere")
        conn.drop()
        wait_until(lambda: self.may_enter(user), "room for another one")
        self.admin.unlimit_user(user, "max-connections")
        for _ in range(3):
            self.log_in(user)

    @only("broker", "threads", "remote")
    def test_many_at_once_do_not_pass_the_limit_together(self):
        user, vhost = self.user(), self.vhost()
        self.admin.permit(user, vhost=vhost)
        self.admin.limit_vhost(vhost, "max-connections", 5)
        conns = [self.raw() for _ in range(40)]
        for conn in conns:
            conn.send(wire.PROTOCOL_HEADER)
            conn.start_ok(user, PASSWORD)
            conn.send_method(0, "connection.tune_ok", channel_max=10, frame_max=131072)
            conn.send_method(0, "connection.open", virtual_host=vhost)
        outcomes = []
        for conn in conns:
            conn.expect("connection.start")
            conn.expect("connection.tune")
            outcomes.append(conn.next().name)
        self.assertEqual(outcomes.count("connection.open_ok"), 5)
        self.assertEqual(outcomes.count("connection.close"), 35)

    def test_a_user_with_enough_channels(self):
        user = self.user()
        self.admin.permit(user)
        self.admin.limit_user(user, "max-channels", 2)
        conn, other = self.log_in(user), self.log_in(user)
        conn.channel()
        ch = conn.channel()

        def is_full():
            probe = self.log_in(user)
            probe.send_method(1, "channel.open")
            try:
                return probe.next().name == "connection.close"
            finally:
                probe.sock.close()
        wait_until(is_full, "the user to have enough channels")
        other.send_method(1, "channel.open")
        other.expect_close(530, "NOT_ALLOWED - number of channels opened for user '%s' has "
                                "reached the maximum allowed user limit of (2)" % user, (0, 0))
        ch.close()
        wait_until(lambda: not is_full(), "room for another channel")
        self.admin.unlimit_user(user, "max-channels")
        for _ in range(5):
            conn.channel()


class Going(AccessCase):
    def test_a_user_is_deleted(self):
        user = self.name("user")
        self.admin.add_user(user, PASSWORD)
        self.admin.permit(user)
        conn = self.log_in(user)
        conn.channel()
        self.admin.delete_user(user)
        conn.expect_close(320, "CONNECTION_FORCED - user '%s' is deleted" % user, (0, 0))
        conn = self.raw()
        conn.hello()
        conn.start_ok(user, PASSWORD)
        conn.expect_refusal((403,))

    @only("broker", "threads", "remote")
    def test_a_user_of_many_connections_is_deleted(self):
        user = self.name("user")
        self.admin.add_user(user, PASSWORD)
        self.admin.permit(user)
        conns = [self.log_in(user) for _ in range(450)]
        other = self.connect().channel()
        self.admin.delete_user(user)
        for conn in conns:
            conn.expect_close(320, "CONNECTION_FORCED - user '%s' is deleted" % user, (0, 0))
        other.queue()

    def test_a_vhost_is_deleted(self):
        vhost = self.name("vhost")
        self.admin.add_vhost(vhost)
        self.admin.permit("guest", vhost=vhost)
        conn = self.connect(vhost=vhost)
        conn.channel().queue()
        self.admin.delete_vhost(vhost)
        close = conn.expect("connection.close", reply_code=320, class_id=0, method_id=0)
        self.assertIn(close.reply_text, [  # RabbitMQ has two ways to notice
            "CONNECTION_FORCED - vhost '%s' is %s" % (vhost, fate) for fate in ("deleted", "down")])
        self.refused_at_open("vhost %s not found" % vhost, self.user(), vhost)

    def test_a_changed_password_disturbs_nobody(self):
        user = self.user()
        self.admin.permit(user)
        conn = self.log_in(user)
        self.admin.change_password(user, "other")
        conn.channel().queue()
        conn = self.raw()
        conn.hello()
        conn.start_ok(user, PASSWORD)
        conn.expect_refusal((403,))
        self.log_in(user, password="other").close()

    @only("broker", "threads", "remote", "proxy")  # RabbitMQ's channels remember for a while
    def test_changed_permissions_count_on_open_channels(self):
        user = self.user()
        self.admin.permit(user)
        conn = self.log_in(user)
        ch = conn.channel()
        queue = ch.queue()
        ch.publish("", queue, b"one")
        ch.barrier()
        self.admin.permit(user, ".*", "", ".*")
        ch.publish("", queue, b"two")
        ch.expect_close(403, "ACCESS_REFUSED - access to exchange 'amq.default' in vhost '/' "
                             "refused for user '%s'" % user, "basic.publish")
        self.admin.permit(user)
        ch = conn.channel()
        ch.publish("", queue, b"three")
        ch.barrier()
        self.assertEqual(ch.get_all(queue), [b"one", b"three"])


class Permissions(AccessCase):
    """One user may configure c-, write w- and read r-."""

    sites = set()  # that have the user

    def setUp(self):
        if self.site not in self.sites:
            self.admin.add_user(USER, PASSWORD)
            self.admin.permit(USER, "^c-", "^w-", "^r-")
            self.sites.add(self.site)
        ch = self.channel()
        for queue in ("q", "c-q", "w-q", "r-q"):
            ch.declare(queue)
        for exchange in ("x", "c-x", "w-x", "r-x"):
            ch.call("exchange.declare", exchange=exchange, type="topic")
        ch.call("exchange.declare", exchange="w-int", type="topic", internal=True)
        self.conn = self.log_in(USER)

    def tearDown(self):
        ch = self.channel()
        for queue in ("q", "c-q", "w-q", "r-q", "c-new"):
            ch.call("queue.delete", queue=queue)
        for exchange in ("x", "c-x", "w-x", "r-x", "w-int", "c-newx"):
            ch.call("exchange.delete", exchange=exchange)

    def ok(self, method, **args):
        ch = self.conn.channel()
        event = ch.call(method, **args)
        ch.close()
        return event

    def no(self, kind, name, method, **args):
        self.closes(403, "ACCESS_REFUSED - access to %s '%s' in vhost '/' refused for user '%s'" %
                    (kind, name, USER), method, **args)

    def closes(self, code, text, method, **args):
        with self.subTest(method=method, **args):
            ch = self.conn.channel()
            ch.send(method, **args)
            ch.expect_close(code, text, method)

    def test_declaring_queues(self):
        self.ok("queue.declare", queue="c-new")
        self.ok("queue.declare", queue="q", passive=True)
        self.no("queue", "q", "queue.declare", queue="q")
        self.no("queue", "new", "queue.declare", queue="new")
        self.no("queue", "new", "queue.declare", queue="new",
                arguments={"x-message-ttl": "no number"})
        self.closes(404, "NOT_FOUND - no queue 'new' in vhost '/'", "queue.declare", queue="new",
                    passive=True)
        self.closes(403, "ACCESS_REFUSED - queue name 'amq.q' contains reserved prefix 'amq.*'",
                    "queue.declare", queue="amq.q")

    def test_a_name_that_the_server_makes(self):
        ch = self.conn.channel()
        ch.send("queue.declare")
        close = ch.expect("channel.close", reply_code=403)
        self.assertRegex(close.reply_text, r"^ACCESS_REFUSED - access to queue 'amq\.gen-\S{22}' in "
                         "vhost '/' refused for user '%s'$" % USER)

    def test_dead_lettering(self):
        args = {"x-dead-letter-exchange": "r-x"}
        self.no("queue", "c-dl", "queue.declare", queue="c-dl", arguments=args)
        self.admin.permit(USER, "^c-", "^w-", "^(r-|c-)")
        self.addCleanup(self.admin.permit, USER, "^c-", "^w-", "^r-")
        self.conn = self.log_in(USER)
        self.no("exchange", "r-x", "queue.declare", queue="c-dl", arguments=args)
        self.no("exchange", "amq.default", "queue.declare", queue="c-dl",
                arguments={"x-dead-letter-exchange": ""})
        args = {"x-dead-letter-exchange": "w-x"}
        self.ok("queue.declare", queue="c-new", arguments=args)
        self.ok("queue.declare", queue="c-new", arguments=args)

    def test_dead_lettering_counts_for_new_queues_alone(self):
        ch = self.conn.channel()
        ch.send("queue.declare", queue="c-q", arguments={"x-dead-letter-exchange": "r-x"})
        ch.expect("channel.close", reply_code=406)

    def test_deleting_and_purging_queues(self):
        self.no("queue", "q", "queue.delete", queue="q")
        self.no("queue", "none", "queue.delete", queue="none")
        self.no("queue", "amq.none", "queue.delete", queue="amq.none")
        self.ok("queue.delete", queue="c-none")
        self.ok("queue.delete", queue="c-q")
        self.no("queue", "q", "queue.purge", queue="q")
        self.no("queue", "none", "queue.purge", queue="none")
        self.ok("queue.purge", queue="r-q")
        self.closes(404, "NOT_FOUND - no queue 'r-none' in vhost '/'", "queue.purge",
                    queue="r-none")

    def test_consuming(self):
        self.no("queue", "q", "basic.consume", queue="q")
        self.no("queue", "none", "basic.consume", queue="none")
        self.ok("basic.consume", queue="r-q")
        self.no("queue", "q", "basic.get", queue="q")
        self.no("queue", "none", "basic.get", queue="none")
        self.assertIsNone(self.conn.channel().get("r-q"))

    def test_declaring_exchanges(self):
        self.ok("exchange.declare", exchange="c-newx", type="topic")
        self.ok("exchange.declare", exchange="x", type="topic", passive=True)
        self.no("exchange", "x", "exchange.declare", exchange="x", type="topic")
        self.no("exchange", "new", "exchange.declare", exchange="new", type="topic")
        self.no("exchange", "amq.x", "exchange.declare", exchange="amq.x", type="topic")
        self.no("exchange", "amq.topic", "exchange.declare", exchange="amq.topic", type="topic")
        self.closes(404, "NOT_FOUND - no exchange 'new' in vhost '/'", "exchange.declare",
                    exchange="new", type="topic", passive=True)
        self.closes(403, "ACCESS_REFUSED - operation not permitted on the default exchange",
                    "exchange.declare", exchange="", type="topic")

    def test_an_unknown_type_comes_first(self):
        ch = self.conn.channel()
        ch.send("exchange.declare", exchange="x", type="nope")
        self.conn.expect_close(503, "COMMAND_INVALID - unknown exchange type 'nope'",
                               "exchange.declare")

    def test_alternate_exchanges(self):
        args = {"alternate-exchange": "r-x"}
        self.no("exchange", "c-ae", "exchange.declare", exchange="c-ae", type="topic",
                arguments=args)
        self.admin.permit(USER, "^c-", "^w-", "^(r-|c-)")
        self.addCleanup(self.admin.permit, USER, "^c-", "^w-", "^r-")
        self.conn = self.log_in(USER)
        self.no("exchange", "r-x", "exchange.declare", exchange="c-ae", type="topic",
                arguments=args)
        self.ok("exchange.declare", exchange="c-newx", type="topic",
                arguments={"alternate-exchange": "w-x"})

    def test_deleting_exchanges(self):
        self.no("exchange", "x", "exchange.delete", exchange="x")
        self.no("exchange", "none", "exchange.delete", exchange="none")
        self.ok("exchange.delete", exchange="c-x")
        self.closes(403, "ACCESS_REFUSED - operation not permitted on the default exchange",
                    "exchange.delete", exchange="")
        self.closes(403, "ACCESS_REFUSED - deletion of system exchange 'amq.topic' in vhost '/' "
                         "not allowed", "exchange.delete", exchange="amq.topic")

    def test_binding_queues(self):
        for method in ("queue.bind", "queue.unbind"):
            self.no("queue", "q", method, queue="q", exchange="r-x")
            self.no("queue", "none", method, queue="none", exchange="none")
            self.no("queue", "q", method, queue="q", exchange="")
            self.no("exchange", "x", method, queue="w-q", exchange="x")
            self.closes(403, "ACCESS_REFUSED - operation not permitted on the default exchange",
                        method, queue="w-q", exchange="")
            self.ok(method, queue="w-q", exchange="r-x")

    def test_binding_exchanges(self):
        for method in ("exchange.bind", "exchange.unbind"):
            self.no("exchange", "x", method, destination="x", source="r-x")
            self.no("exchange", "x", method, destination="w-x", source="x")
            self.no("exchange", "amq.default", method, destination="", source="r-x")
            self.closes(403, "ACCESS_REFUSED - operation not permitted on the default exchange",
                        method, destination="w-x", source="")
            self.ok(method, destination="w-x", source="r-x")

    def refused_publish(self, code, text, exchange, key="k", props=None):
        with self.subTest(exchange=exchange, key=key):
            ch = self.conn.channel()
            ch.publish(exchange, key, b"x", props)
            ch.expect_close(code, text, "basic.publish")

    def test_publishing(self):
        why = "ACCESS_REFUSED - access to exchange '%s' in vhost '/' refused for user '" + USER + "'"
        self.refused_publish(403, why % "amq.default", "", "q")
        self.refused_publish(403, why % "x", "x")
        self.refused_publish(403, why % "none", "none")
        self.refused_publish(403, why % "x", "x", props={"user_id": "guest"})
        self.refused_publish(404, "NOT_FOUND - no exchange 'w-none' in vhost '/'", "w-none")
        self.refused_publish(403, "ACCESS_REFUSED - cannot publish to internal exchange 'w-int' in "
                                  "vhost '/'", "w-int")
        ch = self.conn.channel()
        for _ in range(3):
            ch.publish("w-x", "k", b"x")
        ch.barrier()

    def test_topics(self):
        self.admin.permit_topic(USER, "w-x", r"^{username}\.", "^no")
        self.admin.permit_topic(USER, "r-x", "^no", "^{vhost}b")
        self.addCleanup(self.admin.forbid_topics, USER)
        self.conn = self.log_in(USER)
        why = "ACCESS_REFUSED - access to topic '%s' in exchange '%s' in vhost '/' refused for " \
              "user '" + USER + "'"
        self.refused_publish(403, why % ("k", "w-x"), "w-x", "k")
        self.refused_publish(403, why % ("shopx", "w-x"), "w-x", "shopx")
        self.refused_publish(403, "ACCESS_REFUSED - cannot publish to internal exchange 'w-int' in "
                                  "vhost '/'", "w-int")
        ch = self.conn.channel()
        for key in ("shop.a", "shop.b", "shop.a"):
            ch.publish("w-x", key, b"x")
        ch.barrier()
        for method in ("queue.bind", "queue.unbind"):
            self.closes(403, why % ("a", "r-x"), method, queue="w-q", exchange="r-x",
                        routing_key="a")
            self.closes(403, why % ("a", "r-x"), method, queue="w-none", exchange="r-x",
                        routing_key="a")
            self.ok(method, queue="w-q", exchange="r-x", routing_key="/b")
        self.closes(403, why % ("a", "r-x"), "exchange.bind", destination="w-x", source="r-x",
                    routing_key="a")

    def test_tx_and_confirms_do_not_hide_it(self):
        why = "ACCESS_REFUSED - access to exchange 'x' in vhost '/' refused for user '%s'" % USER
        for method in ("tx.select", "confirm.select"):
            with self.subTest(method=method):
                ch = self.conn.channel()
                ch.call(method)
                ch.publish("x", "k", b"x")
                ch.expect_close(403, why, "basic.publish")


class Claims(AccessCase):
    def test_a_message_in_another_name(self):
        user, clone = self.name("user"), self.name("clone")
        for name, tags in ((user, ()), (clone, ("impersonator",))):
            self.admin.add_user(name, PASSWORD, *tags)
            self.addCleanup(self.admin.delete_user, name)
            self.admin.permit(name)
        ch = self.log_in(user).channel()
        queue = ch.queue()
        ch.publish("", queue, b"mine", {"user_id": user})
        ch.publish("", queue, b"hers", {"user_id": "guest"})
        ch.expect_close(406, "PRECONDITION_FAILED - user_id property set to 'guest' but "
                             "authenticated user was '%s'" % user, "basic.publish")
        ch = self.log_in(clone).channel()
        queue = ch.queue()
        ch.publish("", queue, b"hers", {"user_id": "guest"})
        self.assertEqual(ch.get(queue).props["user_id"], "guest")


class Reply(AccessCase):
    def test_direct_reply_to_asks_for_nothing_but_the_default_exchange(self):
        user = self.user()
        self.admin.permit(user, "", "^amq\\.default$", "")
        conn = self.log_in(user)
        ch = conn.channel()
        ch.consume("amq.rabbitmq.reply-to", no_ack=True)
        ch.send("basic.get", queue="amq.rabbitmq.reply-to")
        ch.expect("channel.close", reply_code=403)


class Interrupted(AccessCase):
    """A vhost goes while its clients are at work: they hear of it, and nobody else suffers."""

    @only("broker", "threads", "remote")
    def test_a_vhost_goes_under_load(self):
        for _ in range(10):
            vhost = self.name("vhost")
            self.admin.add_vhost(vhost)
            self.admin.permit("guest", vhost=vhost)
            conns = [self.connect(vhost=vhost) for _ in range(4)]
            for conn in conns:
                ch = conn.channel()
                queue = ch.queue()
                for i in range(200):
                    ch.publish("", queue, b"x")
                    if i % 20 == 0:
                        ch.send("queue.declare", queue="q%d" % i, nowait=True)
                        ch.send("queue.bind", queue="q%d" % i, exchange="amq.topic",
                                routing_key="a", nowait=True)
            self.admin.delete_vhost(vhost)
            for conn in conns:
                try:
                    while conn.next().name != "connection.close":
                        pass
                except (Eof, ConnectionError):
                    pass
        self.channel().queue()
