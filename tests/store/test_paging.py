"""Messages that leave memory: publishers do not wait for it, and all come back in order."""

import glob
import json
import os

from harness.case import Case
from harness.waits import LONG, wait_until
from kit import PERSISTENT, Publisher, drain, node_folder, numbers, wrong_in

TARGETS = ("broker",)

MIB = 1 << 20
SIZE = 4000
COUNT = 5000  # more than messages may take


class Paged(Case):
    def node(self, **node):
        return self.broker(conf={"node": dict({"threads": 1}, **node),
                                 "limits": {"memory-high-watermark": "16M"},
                                 "store": {"segment-size": "1M"}})

    def row(self, broker, name="q"):
        columns = ("messages", "messages_ram", "message_bytes_paged_out")
        out = broker.ctl("list_queues", "name", *columns, "--formatter", "json").stdout
        return next(r for r in json.loads(out) if r["name"] == name)

    def declare(self, broker, name="q", **arguments):
        ch = self.connect(address=broker.address).channel()
        ch.declare(name, durable=True, arguments=arguments)
        return ch

    def publish(self, broker, props=PERSISTENT, count=COUNT, queue="q"):
        """And publishers are never told to wait."""
        p = Publisher(broker.address, queue, size=SIZE, props=props)
        for _ in range(0, count, 100):
            p.publish(100)
            p.wait_confirmed()
            self.assertIsNone(p.blocked)
        return p

    def away(self, broker, least=COUNT // 3, queue="q"):
        wait_until(lambda: self.row(broker, queue)["messages_ram"] < COUNT - least,
                   "messages leave memory", LONG)

    def test_what_lasts(self):
        b = self.node()
        self.declare(b)
        p = self.publish(b)
        self.away(b)
        self.assertEqual(self.row(b)["messages"], COUNT)
        self.assertGreater(self.row(b)["message_bytes_paged_out"], COUNT // 3 * SIZE)
        self.assertEqual(wrong_in(drain(b.address, "q"), COUNT), "")
        p.close()

    def test_what_does_not_last(self):
        b = self.node()
        self.declare(b)
        p = self.publish(b, props={})
        self.away(b)
        self.assertEqual(wrong_in(drain(b.address, "q"), COUNT), "")
        p.close()

    def test_what_does_not_last_is_gone_after_a_restart(self):
        b = self.node()
        self.declare(b).conn.close()
        p = self.publish(b, props={})
        self.away(b)
        p.close()
        b.stop()
        b.restart()
        self.assertEqual(self.row(b)["messages"], 0)

    def test_after_a_restart(self):
        b = self.node()
        self.declare(b).conn.close()
        p = self.publish(b)
        self.away(b)
        p.close()
        b.stop()
        b.restart()
        self.assertEqual(self.row(b)["messages"], COUNT)
        self.assertEqual(wrong_in(drain(b.address, "q"), COUNT), "")

    def test_get(self):
        b = self.node()
        ch = self.declare(b)
        p = self.publish(b)
        self.away(b)
        got = [ch.get("q") for _ in range(300)]
        self.assertEqual(numbers(g.body for g in got), list(range(300)))
        self.assertEqual(got[-1].message_count, COUNT - 300)
        p.close()

    def test_purge(self):
        b = self.node()
        ch = self.declare(b)
        p = self.publish(b)
        self.away(b)
        self.assertEqual(ch.call("queue.purge", queue="q").message_count, COUNT)
        p.publish(10)
        p.wait_confirmed()
        self.assertEqual([n for n, _ in drain(b.address, "q")], list(range(COUNT, COUNT + 10)))
        journal = os.path.join(node_folder(b), "journal", "*.seg")
        wait_until(lambda: len(glob.glob(journal)) < 20, "what was purged leaves the disk", LONG)
        p.close()

    def test_the_longest_that_may_be(self):
        b = self.node()
        self.declare(b, **{"x-max-length": 3000})
        p = self.publish(b)
        self.assertEqual([n for n, _ in drain(b.address, "q")], list(range(COUNT - 3000, COUNT)))
        p.close()

    def test_what_expires(self):
        b = self.node()
        self.declare(b, **{"x-message-ttl": 2500})
        p = self.publish(b)
        wait_until(lambda: self.row(b)["messages"] == 0, "all have expired", LONG)
        p.close()

    def test_priorities(self):
        b = self.node()
        self.declare(b, **{"x-max-priority": 3})
        low = self.publish(b, props=dict(PERSISTENT, priority=1))
        high = self.publish(b, props=dict(PERSISTENT, priority=3), count=100)
        self.away(b)
        got = [n for n, _ in drain(b.address, "q")]
        self.assertEqual(got, list(range(100)) + list(range(COUNT)))
        low.close()
        high.close()

    def test_dead_letters_of_what_is_away(self):
        b = self.node()
        self.declare(b, "dead")
        self.declare(b, **{"x-message-ttl": 2500, "x-dead-letter-exchange": "",
                           "x-dead-letter-routing-key": "dead"})
        p = self.publish(b)
        wait_until(lambda: self.row(b, "dead")["messages"] == COUNT, "all are dead letters", LONG)
        self.assertEqual(wrong_in(drain(b.address, "dead"), COUNT), "")
        p.close()

    def test_damage_loses_what_is_damaged_and_nothing_else(self):
        b = self.node()
        self.declare(b)
        p = self.publish(b)
        self.away(b)
        segments = sorted(glob.glob(os.path.join(node_folder(b), "journal", "0*.seg")))
        with open(segments[3], "r+b") as f:
            f.seek(MIB // 2)
            f.write(b"\xff" * 64)
        got = [n for n, _ in drain(b.address, "q")]
        self.assertEqual(got, sorted(got))
        self.assertIn(COUNT - len(got), (1, 2))
        self.assertEqual(self.row(b)["messages"], 0)
        log = b.proc.log_bytes().decode(errors="replace")
        self.assertIn("messages are lost", log)
        self.assertIn('queue="q"', log)
        b.proc.tolerated = True
        p.close()
