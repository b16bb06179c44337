"""warrenctl against a broker: how a node is found, what is refused, what lists look like. What is
compared with literal text was taken from rabbitmqctl 3.10.8."""

import json
import os
import resource
import stat
import threading

from harness import ports, procs
from harness.api import Api
from harness.case import Case
from harness.servers import CTL_BIN, write
from harness.waits import LONG, wait_until

TARGETS = ("broker",)
EX_USAGE, EX_UNAVAILABLE, EX_SOFTWARE, EX_TEMPFAIL, EX_CONFIG = 64, 69, 70, 75, 78


class CtlCase(Case):
    def ctl(self, *args, code=0, broker=None, **kw):
        out = (broker or self.site.broker).ctl(*args, **kw)
        self.assertEqual(out.returncode, code, out.stdout + out.stderr)
        return out

    def said(self, *args, **kw):
        out = self.ctl(*args, **kw)
        self.assertEqual(out.stderr, "")
        return out.stdout

    def closing(self, conn, *args, **kw):
        """What is said while the client is told to go, and goes."""
        said = []
        t = threading.Thread(target=lambda: said.append(self.said(*args, **kw)))
        t.start()
        self.assertEqual(conn.expect("connection.close", 0).reply_code, 320)
        conn.send_method(0, "connection.close_ok")
        t.join()
        self.assertEqual(len(said), 1)
        return said[0]

    def rows(self, *args, **kw):
        """A list's lines, quietly: each a list of its columns."""
        lines = self.said("-s", *args, **kw).splitlines()
        return [line.split("\t") for line in lines if line]


class Finding(CtlCase):
    def test_the_only_node_of_a_host_needs_no_name(self):
        self.assertIn("Ping succeeded\n", self.said("ping"))

    def test_names_in_all_their_forms(self):
        port = self.site.broker.conf["listen"]["cluster"].split(":")[1]
        for name in ("rabbit1", "rabbit1@localhost", "rabbit1@localhost:" + port,
                     "127.0.0.1:" + port):
            with self.subTest(name=name):
                out = self.said("-n", name, "ping")
                self.assertTrue(out.startswith("Will ping rabbit1@localhost. "), out)

    def test_a_name_that_nobody_has(self):
        out = self.ctl("-n", "nosuch", "ping", code=EX_UNAVAILABLE)
        self.assertIn("'nosuch'", out.stderr)
        self.assertIn("rabbit1@localhost", out.stderr)  # the remedy: what there is
        self.assertEqual(out.stdout, "")

    def test_a_port_where_nobody_listens(self):
        out = self.ctl("-n", "127.0.0.1:%d" % ports.free_port(), "ping", code=EX_UNAVAILABLE)
        self.assertIn("refused", out.stderr)

    def test_a_port_that_is_another(self):
        port = self.site.broker.port
        out = self.ctl("-n", "127.0.0.1:%d" % port, "ping", code=EX_UNAVAILABLE)
        self.assertIn("no Warren node's cluster port", out.stderr)

    def test_the_socket_is_for_the_owner_alone(self):
        path = os.path.join(self.site.broker.path("data"), "rabbit1@localhost", "ctl.sock")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)

    def test_another_cookie_is_refused_and_both_sides_say_so(self):
        cookie = write(os.path.join(self.folder("cookie"), "cookie"), "x" * 32)
        os.chmod(cookie, 0o400)
        node = "127.0.0.1:" + self.site.broker.conf["listen"]["cluster"].split(":")[1]
        out = self.ctl("-n", node, "--cookie-file", cookie, "ping", code=EX_UNAVAILABLE)
        self.assertIn("the node has another cookie", out.stderr)
        log = self.site.broker.path("broker.log")
        wait_until(lambda: "it has another cookie" in open(log).read(), "a line in the log")

    def test_a_cookie_that_others_can_read(self):
        cookie = write(os.path.join(self.folder("cookie"), "cookie"), "x" * 32)
        os.chmod(cookie, 0o644)
        node = "127.0.0.1:" + self.site.broker.conf["listen"]["cluster"].split(":")[1]
        out = self.ctl("-n", node, "--cookie-file", cookie, "ping", code=EX_UNAVAILABLE)
        self.assertIn("accessible by owner only", out.stderr)

    def test_a_call_takes_milliseconds_of_a_processor(self):
        def spent():
            usage = resource.getrusage(resource.RUSAGE_CHILDREN)
            return usage.ru_utime + usage.ru_stime
        before = spent()
        for _ in range(5):
            self.ctl("ping")
        self.assertLess(spent() - before, 5 * 0.5)  # rabbitmqctl: about a second each

    def test_without_management(self):
        b = self.broker("rabbit9", conf={"listen": {"management": "none"}})
        self.assertIn("Ping succeeded\n", self.said("ping", broker=b))


class Usage(CtlCase):
    def run_ctl(self, *args):
        return procs.run([CTL_BIN, *args])

    def test_nothing_at_all(self):
        out = self.run_ctl()
        self.assertEqual((out.returncode, out.stdout), (EX_USAGE, ""))
        self.assertIn("Available commands:", out.stderr)

    def test_help(self):
        out = self.run_ctl("help")
        self.assertEqual(out.returncode, 0)
        self.assertIn("   list_queues                   Lists the queues of a virtual host, with the columns asked for\n",
                      out.stdout)
        out = self.run_ctl("help", "list_queues")
        self.assertIn("warrenctl [--node <node>] [--longnames] [--quiet] list_queues [--vhost ",
                      out.stdout)
        self.assertEqual(out.stdout, self.run_ctl("list_queues", "--help").stdout)

    def test_version(self):
        out = self.run_ctl("--version")
        self.assertRegex(out.stdout, r"^\d+\.\d+\.\d+\n$")

    def test_a_command_that_is_not_there(self):
        out = self.run_ctl("list_queus")
        self.assertEqual(out.returncode, EX_USAGE)
        self.assertEqual(out.stderr, "\nCommand 'list_queus' not found. \n"
                                     "Did you mean 'list_queues'? \n\n")

    def test_an_option_that_is_not_there(self):
        out = self.run_ctl("list_queues", "--bogus")
        self.assertEqual(out.returncode, EX_USAGE)
        self.assertTrue(out.stderr.startswith(
            "Error (argument validation): Invalid options for this command:\n--bogus : \n"
            "Arguments given:\n\tlist_queues --bogus\n"), out.stderr)

    def test_a_column_that_is_not_there(self):
        out = self.run_ctl("list_queues", "name", "bogus1", "bogus2")
        self.assertEqual(out.returncode, EX_USAGE)
        self.assertTrue(out.stderr.startswith(
            "Error (argument validation): Info key(s) bogus1,bogus2 are not supported\n"
            "Arguments given:\n\tlist_queues name bogus1 bogus2\n"), out.stderr)

    def test_autocomplete(self):
        self.assertEqual(self.run_ctl("autocomplete", "list_qu").stdout,
                         "list_quarantined\nlist_queues\n")


class Lists(CtlCase):
    def test_queues(self):
        b = self.broker()
        ch = self.connect(address=b.address).channel()
        ch.declare("q1", durable=True)
        ch.publish("", "q1", b"hello")
        wait_until(lambda: self.rows("list_queues", broker=b) == [["q1", "1"]], "the message")
        self.assertEqual(self.said("list_queues", broker=b),
                         "Timeout: 60.0 seconds ...\nListing queues for vhost / ...\n"
                         "name\tmessages\nq1\t1\n...done.\n")
        self.assertEqual(self.said("-q", "list_queues", broker=b), "name\tmessages\nq1\t1\n")
        self.assertEqual(self.said("-s", "list_queues", broker=b), "q1\t1\n")
        self.assertEqual(self.said("list_queues", "--formatter", "json", broker=b),
                         '[\n{"name":"q1","messages":1}\n]\n')
        self.assertEqual(self.said("list_queues", "--formatter=csv", broker=b),
                         '"name","messages"\n"q1","1"\n')
        self.assertIn("\033(0x\033(B q1   \033(0x\033(B 1        \033(0x\033(B\n",
                      self.said("list_queues", "--formatter", "pretty_table", broker=b))

    def test_an_empty_list_has_no_header(self):
        b = self.broker()
        self.assertEqual(self.said("list_queues", broker=b),
                         "Timeout: 60.0 seconds ...\nListing queues for vhost / ...\n...done.\n")
        self.assertEqual(self.said("list_queues", "--formatter", "json", broker=b), "[\n]\n")

    def test_queues_by_where_they_are(self):
        """One node has them all; queues of nodes that are away are none."""
        b = self.broker()
        self.connect(address=b.address).channel().declare("q")
        for where in (["--local"], ["--online"], ["--online", "--offline"],
                      ["--local", "--offline"], []):
            self.assertEqual(self.rows("list_queues", *where, broker=b), [["q", "0"]], where)
        self.assertEqual(self.said("list_queues", "--offline", broker=b),
                         "Timeout: 60.0 seconds ...\nListing queues for vhost / ...\n...done.\n")
        self.assertEqual(self.said("list_queues", "--offline", "--formatter", "json", broker=b),
                         "[\n]\n")
        self.assertEqual(self.said("-q", "list_queues", "--offline", "name", broker=b), "")
        out = self.ctl("list_queues", "--offline", "bogus", broker=b, code=EX_USAGE)
        self.assertIn("bogus", out.stderr)
        self.ctl("-n", "nosuch", "list_queues", "--offline", code=EX_UNAVAILABLE)

    def test_arguments_keep_their_types(self):
        b = self.broker()
        ch = self.connect(address=b.address).channel()
        ch.declare("q", arguments={"x-max-length": 10, "x-dead-letter-exchange": "dlx"})
        rows = self.rows("list_queues", "name", "arguments", broker=b)
        self.assertEqual(len(rows), 1)
        self.assertIn('{"x-max-length",10}', rows[0][1])
        self.assertIn('{"x-dead-letter-exchange","dlx"}', rows[0][1])
        out = json.loads(self.said("list_queues", "arguments", "--formatter", "json", broker=b))
        self.assertIn(["x-dead-letter-exchange", "longstr", "dlx"], out[0]["arguments"])

    def test_what_lies_in_a_queue(self):
        b = self.broker()
        ch = self.connect(address=b.address).channel()
        ch.declare("q", durable=True)
        ch.publish("", "q", b"12345", {"delivery_mode": 2})
        ch.publish("", "q", b"123")
        ch.barrier()
        columns = ("messages_ready", "messages_unacknowledged", "messages_persistent",
                   "message_bytes", "message_bytes_persistent", "state", "type")
        self.assertEqual(self.rows("list_queues", *columns, broker=b),
                         [["2", "0", "1", "8", "5", "running", "classic"]])

    def test_the_members_of_a_quorum_queue(self):
        b = self.broker()
        ch = self.connect(address=b.address).channel()
        ch.declare("c")
        ch.declare("q", durable=True, arguments={"x-queue-type": "quorum"})
        node = "rabbit1@localhost"
        self.assertEqual(self.rows("list_queues", "consumer_capacity", broker=b), [["0"]] * 2)
        ch.consume("c")
        rows = self.rows("list_queues", "name", "consumer_capacity", broker=b)
        self.assertIn(["c", "1.0"], rows)
        rows = self.rows("list_queues", "name", "leader", "members", "online", broker=b)
        self.assertEqual(sorted(rows), [["c", "", "", ""],
                                        ["q", node, "[%s]" % node, "[%s]" % node]])
        api = Api(int(b.conf["listen"]["management"].rpartition(":")[2]))
        of = {q["name"]: [q.get(k) for k in ("leader", "members", "online")]
              for q in api.get("/api/queues").json}
        self.assertEqual(of, {"c": [None] * 3, "q": [node, [node], [node]]})

    def test_pids_name_the_node(self):
        b = self.broker()
        ch = self.connect(address=b.address).channel()
        ch.declare("mine", exclusive=True)
        out = self.rows("list_queues", "name", "pid", "owner_pid", "slave_pids",
                        "synchronised_slave_pids", broker=b)
        self.assertEqual(out[0][0], "mine")
        self.assertRegex(out[0][1], r"^<rabbit1@localhost\.\d+\.\d+\.0>$")
        self.assertEqual(self.rows("list_connections", "pid", broker=b), [[out[0][2]]])

    def test_exchanges(self):
        rows = self.rows("list_exchanges", "name", "type", "durable", "internal")
        self.assertIn(["amq.topic", "topic", "true", "false"], rows)
        self.assertIn(["", "direct", "true", "false"], rows)
        self.assertTrue(self.said("list_exchanges").startswith(
            "Listing exchanges for vhost / ...\nname\ttype\n"))

    def test_bindings(self):
        b = self.broker()
        ch = self.connect(address=b.address).channel()
        ch.declare("q1")
        ch.bind("q1", "amq.direct", "k")
        self.assertEqual(
            sorted(self.said("list_bindings", broker=b).splitlines()),
            sorted(["Listing bindings for vhost /...",
                    "source_name\tsource_kind\tdestination_name\tdestination_kind\trouting_key"
                    "\targuments",
                    "\texchange\tq1\tqueue\tq1\t[]", "amq.direct\texchange\tq1\tqueue\tk\t[]"]))

    def test_connections_and_channels(self):
        b = self.broker()
        conn = self.connect(address=b.address)
        conn.channel()
        host, port = conn.sock.getsockname()
        self.assertEqual(self.said("list_connections", broker=b),
                         "Listing connections ...\nuser\tpeer_host\tpeer_port\tstate\n"
                         "guest\t%s\t%d\trunning\n" % (host, port))
        self.assertEqual(self.rows("list_connections", "protocol", broker=b), [["{0,9,1}"]])
        name = "%s:%d -> 127.0.0.1:%d" % (host, port, b.port)
        self.assertEqual(self.rows("list_channels", "name", "number", "user", "confirm", broker=b),
                         [[name + " (1)", "1", "guest", "false"]])

    def test_a_vhost_that_is_not_there_has_no_queues(self):
        self.assertEqual(self.said("-q", "list_queues", "-p", "nosuch"), "")

    def test_more_queues_than_a_piece_holds(self):
        b = self.broker()
        ch = self.connect(address=b.address).channel()
        for i in range(1500):
            ch.declare("q%d" % i)
        ch.declare("last")
        rows = self.rows("list_queues", "name", broker=b)
        self.assertEqual(len(rows), 1501)
        self.assertEqual(len({r[0] for r in rows}), 1501)


class Status(CtlCase):
    def test_status(self):
        out = self.said("status")
        self.assertTrue(out.startswith("Status of node rabbit1@localhost ...\n\033[1mRuntime"), out)
        self.assertIn("Node name: rabbit1@localhost\n", out)
        self.assertIn("protocol: amqp, purpose: AMQP 0-9-1", out)
        self.assertEqual(json.loads(self.said("status", "--formatter", "json"))["pid"],
                         self.site.broker.proc.pid)

    def test_cluster_status(self):
        out = self.said("cluster_status")
        self.assertIn("\033[1mDisk Nodes\033[0m\n\nrabbit1@localhost\n", out)
        self.assertTrue(out.endswith("[{nodes,[{disc,[rabbit1@localhost]}]},\n"
                                     " {running_nodes,[rabbit1@localhost]},\n"
                                     " {partitions,[]}]\n...done.\n"), out)
        told = json.loads(self.said("cluster_status", "--formatter", "json"))
        self.assertEqual(told["running_nodes"], ["rabbit1@localhost"])
        self.assertEqual(told["disk_nodes"], ["rabbit1@localhost"])


class Users(CtlCase):
    def login(self, user, password, vhost="/"):
        return self.connect(user=user, password=password, vhost=vhost)

    def test_a_user_made_here_logs_in(self):
        self.ctl("add_user", "u1", "secret")
        self.ctl("set_permissions", "u1", ".*", ".*", ".*")
        self.login("u1", "secret").channel().queue()
        self.ctl("change_password", "u1", "other")
        self.login("u1", "other").channel()
        self.ctl("authenticate_user", "u1", "secret", code=65)
        self.ctl("authenticate_user", "u1", "other")
        self.ctl("delete_user", "u1")
        self.ctl("authenticate_user", "u1", "other", code=65)

    def test_a_name_that_is_too_long(self):
        out = self.ctl("add_user", "n" * 256, "pw", code=EX_UNAVAILABLE)
        self.assertIn("too long", out.stderr)
        self.assertNotIn("nnnn", self.said("list_users"))

    def test_words_that_are_no_text(self):
        before = self.said("list_permissions")
        for words in (["add_user", "\udcff", "pw"], ["add_user", "u9", "\udcff"],
                      ["set_permissions", "guest", "\udcff", ".*", ".*"],
                      ["set_user_tags", "guest", "\udcff"], ["list_queues", "-p", "\udcff"]):
            out = self.ctl(*words, code=65)
            self.assertIn("not encoded in UTF-8", out.stderr)
        out = procs.subprocess.run([CTL_BIN, "add_user", "u9"], input=b"\xff\n",
                                   env=self.site.broker.env(), capture_output=True)
        self.assertEqual(out.returncode, 65, out.stderr)
        self.assertEqual(self.said("list_permissions"), before)
        self.assertNotIn("u9", self.said("list_users"))

    def test_a_password_from_standard_input(self):
        out = procs.subprocess.run([CTL_BIN, "add_user", "u2"], input="secret\n", text=True,
                                   env=self.site.broker.env(), capture_output=True)
        self.assertEqual(out.returncode, 0, out.stderr)
        self.ctl("authenticate_user", "u2", "secret")

    def test_permissions_take_effect(self):
        self.ctl("add_user", "u3", "secret")
        self.ctl("set_permissions", "u3", "^mine", "", ".*")
        ch = self.login("u3", "secret").channel()
        ch.declare("mine.1")
        ch.send("queue.declare", queue="yours")
        ch.expect_close(403)
        self.assertIn(["u3", "^mine", "", ".*"], self.rows("list_permissions"))
        self.ctl("clear_permissions", "u3")
        self.assertNotIn("u3", self.said("list_permissions"))

    def test_a_vhost_of_its_own(self):
        self.ctl("add_vhost", "v1", "--description", "for tests", "--tags", "a,b")
        self.assertIn(["v1", "for tests", "[a, b]"],
                      self.rows("list_vhosts", "name", "description", "tags"))
        self.ctl("set_permissions", "-p", "v1", "guest", ".*", ".*", ".*")
        self.login("guest", "guest", vhost="v1").channel().declare("q")
        self.assertEqual(self.rows("list_queues", "-p", "v1"), [["q", "0"]])
        self.ctl("delete_vhost", "v1")
        self.assertEqual(self.rows("list_queues", "-p", "v1"), [])


class Application(CtlCase):
    def test_stop_app_and_start_app(self):
        b = self.broker()
        conn = self.connect(address=b.address)
        conn.channel().declare("q", durable=True)
        self.assertEqual(self.closing(conn, "stop_app", broker=b),
                         "Stopping node rabbit1@localhost ...\n...done.\n")
        with self.assertRaises(ConnectionRefusedError):
            self.raw(address=b.address)
        self.assertTrue(b.proc.alive())
        port = int(b.conf["listen"]["management"].split(":")[1])
        with self.assertRaises(ConnectionRefusedError):
            self.raw(address=("127.0.0.1", port))
        self.ctl("ping", broker=b)
        self.ctl("check_running", broker=b, code=EX_UNAVAILABLE)
        self.ctl("list_queues", broker=b, code=EX_USAGE)
        self.ctl("stop_app", broker=b)  # once more is harmless
        self.assertEqual(self.said("start_app", broker=b),
                         "Starting node rabbit1@localhost ...\n...done.\n")
        self.connect(address=b.address).channel().declare("q", durable=True, passive=True)
        self.raw(address=("127.0.0.1", port)).sock.close()

    def test_a_client_that_does_not_answer_is_hung_up_on(self):
        b = self.broker()
        conn = self.connect(address=b.address)
        self.ctl("stop_app", broker=b, seconds=30)
        conn.expect_close(320)
        conn.expect_eof()

    def test_reset_only_when_it_is_stopped_and_then_all_is_gone(self):
        b = self.broker()
        conn = self.connect(address=b.address)
        ch = conn.channel()
        ch.declare("q", durable=True)
        ch.publish("", "q", b"hello")
        self.ctl("add_user", "u", "p", broker=b)
        self.ctl("add_vhost", "v", broker=b)
        out = self.ctl("reset", broker=b, code=EX_USAGE)
        self.assertIn("requires the 'rabbit' app to be stopped", out.stderr)
        self.closing(conn, "stop_app", broker=b)
        self.assertEqual(self.said("reset", broker=b),
                         "Resetting node rabbit1@localhost ...\n...done.\n")
        self.ctl("start_app", broker=b)
        self.assertEqual(self.rows("list_queues", broker=b), [])
        self.assertEqual(self.rows("list_users", broker=b), [["guest", "[administrator]"]])
        self.assertEqual(self.rows("list_vhosts", broker=b), [["/"]])
        self.connect(address=b.address).channel().declare("q", durable=True)

    def test_drain_and_revive(self):
        b = self.broker()
        conn = self.connect(address=b.address)
        self.closing(conn, "drain", broker=b)
        with self.assertRaises(ConnectionRefusedError):
            self.raw(address=b.address)
        self.assertIn("Is under maintenance?: true\n", self.said("status", broker=b))
        self.ctl("revive", broker=b)
        self.connect(address=b.address).channel()
        self.assertIn("Is under maintenance?: false\n", self.said("status", broker=b))

    def test_listeners_alone(self):
        b = self.broker()
        ch = self.connect(address=b.address).channel()
        self.ctl("suspend_listeners", broker=b)

        def is_closed():
            try:
                self.raw(address=b.address).sock.close()
            except ConnectionRefusedError:
                return True
            return False
        wait_until(is_closed, "the listener to close")
        ch.queue()  # who is there stays
        self.ctl("resume_listeners", broker=b)
        self.connect(address=b.address).channel()

    def test_a_stopped_node_stops(self):
        b = self.broker()
        self.ctl("stop_app", broker=b)
        self.assertEqual(self.ctl("shutdown", broker=b).stdout.splitlines()[-1],
                         "RabbitMQ node rabbit1@localhost running at PID %d successfully shut down"
                         % b.proc.pid)
        self.assertFalse(b.proc.alive())

    def test_waiting_for_a_node(self):
        b = self.broker()
        pid_file = os.path.join(b.path("data"), "rabbit1@localhost", "warren-broker.pid")
        out = self.said("wait", pid_file, broker=b)
        self.assertIn("pid is %d\n" % b.proc.pid, out)
        self.ctl("await_startup", broker=b)
        out = self.ctl("wait", "-t", "1", "/no/such/pid", broker=b, code=EX_TEMPFAIL)
        self.assertIn("timed out", out.stderr)
        self.ctl("await_online_nodes", "2", "-t", "1", broker=b, code=EX_SOFTWARE)


class Operations(CtlCase):
    def test_closing_connections(self):
        b = self.broker()
        first, second = self.connect(address=b.address), self.connect(address=b.address)
        pids = {r[1]: r[0] for r in self.rows("list_connections", "pid", "peer_port", broker=b)}
        self.ctl("close_connection", pids[str(first.sock.getsockname()[1])], "be gone", broker=b)
        first.expect_close(320, "CONNECTION_FORCED - be gone")
        out = self.said("close_all_connections", "all of you", broker=b)
        self.assertTrue(out.endswith("Closed 1 connections\n"), out)
        second.expect_close(320, "CONNECTION_FORCED - all of you")

    def test_a_memory_limit_of_nothing_blocks_publishers(self):
        b = self.broker()
        self.ctl("set_vm_memory_high_watermark", "0", broker=b)
        wait_until(lambda: "Memory alarm on node rabbit1@localhost" in
                   self.said("status", broker=b), "the alarm")
        self.ctl("set_vm_memory_high_watermark", "0.4", broker=b)
        wait_until(lambda: "Memory alarm" not in self.said("status", broker=b), "its end")

    def test_limits_set_at_run_time_are_those_that_the_api_shows(self):
        b = self.broker()
        self.ctl("set_vm_memory_high_watermark", "absolute", "123456789", broker=b)
        self.ctl("set_disk_free_limit", "7654321", broker=b)
        api = Api(int(b.conf["listen"]["management"].rpartition(":")[2]))
        node, = api.get("/api/nodes").json
        self.assertEqual((node["mem_limit"], node["disk_free_limit"]), (123456789, 7654321))
        metrics = api.get("/metrics").body
        self.assertRegex(metrics, r"(?m)^rabbitmq_resident_memory_limit_bytes 123456789$")
        self.assertRegex(metrics, r"(?m)^rabbitmq_disk_space_available_limit_bytes 7654321$")

    def test_the_time_of_the_first_message(self):
        ch = self.channel()
        q = self.name()
        ch.declare(q, durable=True)
        self.addCleanup(lambda: self.channel().call("queue.delete", queue=q))
        mine = ("list_queues", "name", "head_message_timestamp", "messages_persistent")
        self.assertIn([q, "", "0"], self.rows(*mine))
        ch.publish("", q, b"x", props={"timestamp": 1700000000, "delivery_mode": 2})
        wait_until(lambda: [q, "1700000000", "1"] in self.rows(*mine), "its time")

    def test_what_only_erlang_can(self):
        out = self.ctl("eval", "ok.", code=EX_UNAVAILABLE)
        self.assertIn("no Erlang program", out.stderr)

    def test_who_cannot_be_reached_is_not_joined(self):
        b = self.broker()
        self.ctl("stop_app", broker=b)
        out = self.ctl("join_cluster", "rabbit@elsewhere", broker=b, code=EX_UNAVAILABLE,
                       seconds=LONG)
        self.assertEqual(out.stdout,
                         "Clustering node rabbit1@localhost with rabbit@elsewhere ...\n")
        self.assertIn("elsewhere", out.stderr)
        self.ctl("start_app", broker=b)
        out = self.ctl("forget_cluster_node", "rabbit@elsewhere", broker=b, code=EX_UNAVAILABLE)
        self.assertIn("not_a_cluster_node", out.stderr)

    def test_a_stop_ends_a_join(self):
        b = self.broker()
        self.ctl("stop_app", broker=b)
        join = procs.Proc([CTL_BIN, "join_cluster", "rabbit@elsewhere"],
                          os.path.join(b.folder, "join.log"), env=b.env())
        wait_until(lambda: b"link elsewhere" in b.proc.log_bytes(), "the node to look for it")
        b.stop()
        wait_until(lambda: not join.alive(), "warrenctl to end")

    def test_nothing_is_in_quarantine(self):
        self.assertEqual(self.said("-q", "list_quarantined"), "")
        self.assertEqual(self.said("-q", "list_quarantined", "nosuch"), "")
        self.assertEqual(self.said("drop_quarantined", "nosuch").splitlines()[-1],
                         "0 messages were dropped")
        out = self.ctl("requeue_quarantined", "nosuch", code=EX_UNAVAILABLE)
        self.assertIn("not_found", out.stderr)
        out = self.ctl("drop_quarantined", "nosuch", "seven", code=65)
        self.assertIn("NODE-NUMBER", out.stderr)

    def test_report_and_environment(self):
        out = self.said("report")
        self.assertIn("Status of node rabbit1@localhost ...", out)
        self.assertIn("Listing policies for vhost", out)
        self.assertIn("amqp", json.loads(self.said("environment", "--formatter", "json"))["listen"])

    def test_queues_are_purged_and_deleted(self):
        b = self.broker()
        ch = self.connect(address=b.address).channel()
        ch.declare("q1")
        ch.declare("mine", exclusive=True)
        ch.publish("", "q1", b"x")
        ch.consume("mine", tag="t1", arguments={"x-priority": 5})
        wait_until(lambda: ["q1", "1"] in self.rows("list_queues", broker=b), "the message")
        out = self.ctl("delete_queue", "q1", "--if-empty", broker=b, code=EX_USAGE)
        self.assertEqual(out.stderr, "Error:\nQueue is not empty\n")
        self.assertEqual(self.said("purge_queue", "q1", broker=b),
                         "Purging queue 'q1' in vhost '/' ...\n")
        self.ctl("delete_queue", "mine", "-u", broker=b, code=EX_USAGE)
        self.assertEqual(self.said("delete_queue", "q1", "-e", broker=b),
                         "Deleting queue 'q1' on vhost '/' if queue is empty ...\n"
                         "Queue was successfully deleted with 0 ready messages\n")
        rows = self.rows("list_consumers", "queue_name", "consumer_tag", "ack_required",
                         "arguments", broker=b)
        self.assertEqual(rows, [["mine", "t1", "true", '[{"x-priority",5}]']])
        self.ctl("delete_queue", "mine", broker=b)
        self.assertEqual(self.rows("list_queues", broker=b), [])


class Definitions(CtlCase):
    def test_what_is_exported_is_imported_again(self):
        a, b = self.broker("rabbit1"), self.broker("rabbit1")
        path = os.path.join(self.folder("defs"), "defs.json")
        ch = self.connect(address=a.address).channel()
        ch.declare("q", durable=True, arguments={"x-max-length": 7})
        ch.bind("q", "amq.topic", "a.#")
        self.ctl("add_user", "u", "p", broker=a)
        self.ctl("set_policy", "p1", "^q", '{"max-length":5}', broker=a)
        self.assertEqual(self.said("export_definitions", path, broker=a),
                         'Exporting definitions in JSON to a file at "%s" ...\n' % path)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.said("import_definitions", path, broker=b)
        self.ctl("authenticate_user", "u", "p", broker=b)
        self.assertEqual(self.rows("list_queues", "name", "arguments", "policy", broker=b),
                         [["q", '[{"x-max-length",7}]', "p1"]])
        self.assertEqual(json.loads(self.said("export_definitions", "-", broker=b))["queues"],
                         json.loads(self.said("export_definitions", "-", broker=a))["queues"])

    def test_a_real_rabbitmqs_definitions(self):
        b = self.broker()
        here = os.path.dirname(os.path.abspath(__file__))
        self.ctl("import_definitions", os.path.join(here, "golden", "rabbitmq-definitions.json"),
                 broker=b)
        self.ctl("authenticate_user", "carol", "carols secret", broker=b)
        self.assertIn(["v1"], self.rows("list_vhosts", broker=b))
        self.assertIn(["orders", "[{\"x-max-length\",1000}]", "limits"],
                      self.rows("list_queues", "-p", "v1", "name", "arguments", "policy", broker=b))

    def test_what_is_no_json(self):
        path = write(os.path.join(self.folder("defs"), "defs.json"), "{ not json")
        out = self.ctl("import_definitions", path, code=65)
        self.assertIn("Failed to deserialise input", out.stderr)

    def test_from_standard_input(self):
        b = self.broker()
        text = self.said("export_definitions", "-", broker=b)
        out = procs.subprocess.run([CTL_BIN, "import_definitions", "-"], input=text, text=True,
                                   env=b.env(), capture_output=True)
        self.assertEqual(out.returncode, 0, out.stderr)


class Checks(CtlCase):
    def test_a_node_that_is_well(self):
        for check in ("check_running", "check_alarms", "check_local_alarms", "check_virtual_hosts",
                      "check_port_connectivity", "is_running", "is_booting", "alarms",
                      "check_if_node_is_quorum_critical", "node_health_check"):
            with self.subTest(check=check):
                self.ctl(check)
        port = self.site.broker.port
        self.assertIn("A listener for port %d is running" % port,
                      self.said("check_port_listener", str(port)))
        self.ctl("check_port_listener", "1", code=EX_UNAVAILABLE)
        self.ctl("check_protocol_listener", "amqp")
        self.ctl("check_protocol_listener", "mqtt", code=EX_UNAVAILABLE)

    def test_an_alarm(self):
        b = self.broker()
        self.ctl("set_vm_memory_high_watermark", "0", broker=b)
        wait_until(lambda: b.ctl("check_alarms").returncode == EX_UNAVAILABLE, "the alarm")


class Plugins(CtlCase):
    def plugins(self, *args):
        return procs.run([os.path.join(os.path.dirname(CTL_BIN), "warren-plugins"), *args])

    def test_what_is_built_in_is_enabled(self):
        self.assertEqual(self.plugins("enable", "rabbitmq_management").returncode, 0)
        self.assertIn("rabbitmq_management\n", self.plugins("list", "-e", "-m").stdout)
        self.assertEqual(self.plugins("is_enabled", "rabbitmq_prometheus").returncode, 0)

    def test_what_is_not(self):
        out = self.plugins("enable", "rabbitmq_mqtt")
        self.assertEqual(out.returncode, EX_UNAVAILABLE)
        self.assertIn("Warren does not have it", out.stderr)
        self.assertEqual(self.plugins("enable", "nosuch").returncode, EX_SOFTWARE)
        self.assertEqual(self.plugins("disable", "rabbitmq_management").returncode, EX_UNAVAILABLE)


class Compat(CtlCase):
    def test_the_links(self):
        root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
        script = os.path.join(root, "contrib", "rabbitmq-compat")
        to = self.folder("sbin")
        for name in ("warrenctl", "warren-plugins", "warren-broker"):
            os.symlink(os.path.join(os.path.dirname(CTL_BIN), name), os.path.join(to, name))
        self.assertEqual(procs.run([script, "--dir", to]).returncode, 0)
        self.assertEqual(procs.run([script, "--dir", to]).returncode, 0)  # once more
        out = procs.run([os.path.join(to, "rabbitmqctl"), "help", "ping"])
        self.assertIn("rabbitmqctl [--node <node>]", out.stdout)
        self.assertEqual(procs.run([os.path.join(to, "rabbitmq-server"), "--version"]).returncode, 0)
        self.assertEqual(procs.run([script, "--dir", to, "--remove"]).returncode, 0)
        self.assertFalse(os.path.lexists(os.path.join(to, "rabbitmqctl")))
        write(os.path.join(to, "rabbitmqctl"), "somebody else's")
        self.assertEqual(procs.run([script, "--dir", to]).returncode, 73)
