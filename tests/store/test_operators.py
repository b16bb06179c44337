"""What operators see of the disk: warrenctl, the management API, metrics."""

import json

from harness.api import Api
from harness.case import Case
from harness.waits import LONG, wait_until
from kit import Publisher, drain, wrong_in

TARGETS = ("broker",)


class View(Case):
    def node(self, **limits):
        b = self.broker(conf={"node": {"threads": 1}, "limits": limits,
                              "store": {"segment-size": "1M"}})
        ch = self.connect(address=b.address).channel()
        ch.declare("q", durable=True)
        ch.conn.close()
        return b

    def api(self, broker):
        return Api(int(broker.conf["listen"]["management"].rsplit(":", 1)[1]))

    def journal(self, broker):
        return json.loads(broker.ctl("journal_status", "--formatter", "json").stdout)

    def figure(self, broker, name):
        for line in self.api(broker).get("/metrics").body.split("\n"):
            if line.startswith(name + " "):
                return float(line.split()[1])
        raise AssertionError("no %s" % name)

    def columns(self, broker, *names):
        """Of the queue called q, as numbers."""
        out = broker.ctl("-q", "list_queues", "--no-table-headers", "name", *names).stdout
        for line in out.splitlines():
            fields = line.split("\t")
            if fields[0] == "q":
                return [int(f) for f in fields[1:]]
        raise AssertionError("no q in %r" % out)

    def test_a_new_journal(self):
        j = self.journal(self.node())
        self.assertEqual(j["state"], "running")
        self.assertEqual(j["sync"], "always")
        self.assertIsNone(j["recovery"])
        self.assertEqual(j["messages"], 0)
        self.assertGreater(j["disk_free"], 0)

    def test_what_is_written_shows(self):
        b = self.node()
        p = Publisher(b.address, "q", size=1000)
        p.publish(500)
        p.wait_confirmed()
        j = self.journal(b)
        self.assertGreaterEqual(j["records_written"], 500)
        self.assertGreater(j["bytes_written"], 500 * 1000)
        self.assertGreater(j["syncs"]["count"], 0)
        self.assertEqual(sum(x["count"] for x in j["syncs"]["latency"]), j["syncs"]["count"])
        wait_until(lambda: self.journal(b)["messages"] == 500, "500 alive")
        self.assertGreater(self.journal(b)["bytes_alive"], 500 * 1000)
        self.assertEqual(self.columns(b, "messages", "messages_ram", "messages_paged_out",
                                      "messages_persistent", "message_bytes_persistent",
                                      "disk_writes"),
                         [500, 500, 0, 500, 500000, 500])
        node = self.api(b).get("/api/nodes").json[0]
        self.assertGreater(node["io_sync_count"], 0)
        self.assertGreaterEqual(node["msg_store_write_count"], 500)
        self.assertFalse(node["disk_free_alarm"])
        self.assertGreater(self.figure(b, "rabbitmq_io_sync_ops_total"), 0)
        self.assertGreater(self.figure(b, "warren_journal_bytes"), 0)
        self.assertEqual(self.figure(b, "warren_journal_sync_seconds_count"),
                         self.figure(b, "rabbitmq_io_sync_ops_total"))
        # For people.
        said = b.ctl("journal_status").stdout
        self.assertIn("State: running, sync: always", said)
        self.assertIn("Last recovery: none", said)
        self.assertIn("Segments: ", b.ctl("status").stdout)

        drain(b.address, "q", idle=0.3)
        wait_until(lambda: self.journal(b)["messages"] == 0, "nothing alive")
        p.close()

    def test_the_last_recovery(self):
        b = self.node()
        p = Publisher(b.address, "q", size=1000)
        p.publish(200)
        p.wait_confirmed()
        p.close()
        b.stop()
        b.restart()
        r = self.journal(b)["recovery"]
        self.assertEqual(r["messages"], 200)
        self.assertTrue(r["closed_in_order"])
        self.assertEqual(r["damages"], 0)
        p = Publisher(b.address, "q", size=1000)
        p.publish()
        p.wait_confirmed()
        p.close()
        b.proc.kill()
        b.restart()
        r = self.journal(b)["recovery"]
        self.assertEqual(r["messages"], 201)
        self.assertFalse(r["closed_in_order"])
        self.assertEqual(self.figure(b, "warren_store_recovered_messages"), 201)
        self.assertIn("Last recovery: 201 messages", b.ctl("journal_status").stdout)

    def test_what_is_paged_out(self):
        b = self.node(**{"memory-high-watermark": "32M"})
        p = Publisher(b.address, "q", size=20000)
        for _ in range(40):
            p.publish(100)
            p.wait_confirmed()

        def out():
            return self.columns(b, "messages_paged_out")[0]
        wait_until(lambda: out() > 1000, "messages leave memory", LONG)
        messages, ram, away, size, ram_bytes, away_bytes = self.columns(
            b, "messages", "messages_ram", "messages_paged_out", "message_bytes",
            "message_bytes_ram", "message_bytes_paged_out")
        self.assertEqual((messages, size), (4000, 4000 * 20000))
        self.assertEqual((ram + away, ram_bytes + away_bytes), (messages, size))
        self.assertEqual(self.journal(b)["messages_paged_out"], away)
        queue = self.api(b).get("/api/queues/%2f/q").json
        self.assertEqual(queue["messages_paged_out"], away)
        self.assertEqual(queue["message_bytes_paged_out"], away_bytes)
        self.assertEqual(self.figure(b, "rabbitmq_queue_messages_paged_out"), away)

        taken = [n for n, _ in drain(b.address, "q")]
        self.assertEqual(taken, list(range(4000)))
        self.assertGreaterEqual(self.figure(b, "rabbitmq_msg_store_read_total"), 1000)
        p.close()

    def test_transient_ones_may_leave_memory_too(self):
        b = self.node(**{"memory-high-watermark": "32M"})
        p = Publisher(b.address, "q", size=20000, props={})
        for _ in range(40):
            p.publish(100)
            p.wait_confirmed()
        self.assertEqual(wrong_in(drain(b.address, "q"), 4000), "")
        p.close()
