"""A disk that is full: publishers wait, consumers drain, and when there is room all goes on."""

import os

from harness.api import Api
from harness.case import Case
from harness.servers import is_instrumented
from harness.waits import LONG, wait_until
from kit import Publisher, SmallDisk, drain, node_folder, wrong_in

TARGETS = ("broker",)

MIB = 1 << 20


class Base(Case):
    def disk(self, mib, kinds=("ext4", "tmpfs")):
        d = SmallDisk(self.folder("disk"), mib, kinds)
        self.addCleanup(d.close)
        return d

    def broker_on(self, disk, limit="64k", **store):
        """Its data there; with so low a limit it is the journal that finds the disk full."""
        b = self.broker(conf={"node": {"threads": 1}, "limits": {"disk-free-limit": limit},
                              "store": dict({"segment-size": "1M"}, **store)}, start=False)
        os.makedirs(b.path("run"), exist_ok=True)
        os.symlink(disk.path, b.path("data"))
        return b.start()

    def alarms(self, broker):
        return broker.ctl("alarms").stdout

    def durable(self, broker, name="q"):
        ch = self.connect(address=broker.address).channel()
        ch.declare(name, durable=True)
        ch.conn.close()
        return name


class FullDisk(Base):
    def test_publishers_wait_and_nothing_is_lost(self):
        disk = self.disk(64)
        b = self.broker_on(disk)
        q = self.durable(b)
        p = Publisher(b.address, q, size=20000)
        reason = p.publish_until_blocked()
        self.assertIn("disk", reason)
        self.assertLess(disk.free(), 8 * MIB, "blocked with much room left")
        first = set(p.confirmed)
        self.assertGreater(len(first), 1000)

        # Consumers take, and settle, what is there; that makes room.
        taken = drain(b.address, q)
        self.assertLessEqual(first, {n for n, _ in taken})
        self.assertEqual([n for n, _ in taken], sorted(n for n, _ in taken))
        p.wait(lambda _: p.blocked is None, "unblocked")
        p.wait_confirmed()
        p.publish(200)
        p.wait_confirmed()
        wait_until(lambda: "reported no alarms" in self.alarms(b), "no alarm any more", LONG)
        self.assertEqual(len(drain(b.address, q)) + len(taken), p.sent)
        p.close()

    def test_a_kill_on_a_full_disk(self):
        disk = self.disk(48)
        b = self.broker_on(disk)
        q = self.durable(b)
        p = Publisher(b.address, q, size=20000)
        p.publish_until_blocked()
        p.listen(0.3)
        b.proc.kill()
        b.restart()
        p.close()
        taken = drain(b.address, q)
        self.assertLessEqual(p.confirmed, {n for n, _ in taken})
        # And what was taken stays away.
        b.stop()
        b.restart()
        self.assertEqual(drain(b.address, q), [])
        again = Publisher(b.address, q, size=20000)
        again.publish(500)
        again.wait_confirmed()
        again.close()

    def test_large_messages_wait_too(self):
        disk = self.disk(48)
        b = self.broker_on(disk)
        q = self.durable(b)
        p = Publisher(b.address, q, size=3 * MIB)
        reason = p.publish_until_blocked(most=64, window=2)
        self.assertIn("disk", reason)
        taken = drain(b.address, q)
        p.wait(lambda _: p.blocked is None, "unblocked")
        p.wait_confirmed()
        rest = drain(b.address, q)
        self.assertEqual(sorted(n for n, _ in taken + rest), list(range(p.sent)))
        p.close()
        wait_until(lambda: not os.path.isdir(os.path.join(node_folder(b), "large")) or
                   not os.listdir(os.path.join(node_folder(b), "large")),
                   "the files of large messages go", LONG)


class FreeLimit(Base):
    def test_the_alarm_of_the_limit(self):
        """Somebody else fills the disk; then goes."""
        disk = self.disk(96)
        b = self.broker_on(disk, limit="24M")
        q = self.durable(b)
        p = Publisher(b.address, q)
        p.publish(10)
        p.wait_confirmed()
        other = disk.fill(leave=16 * MIB)
        p.wait(lambda _: self.tries(p), "blocked")
        self.assertIn("disk", p.blocked)
        self.assertIn("Free disk space alarm on node " + b.name, self.alarms(b))
        api = Api(int(b.conf["listen"]["management"].rsplit(":", 1)[1]))
        node = api.get("/api/nodes").json[0]
        self.assertTrue(node["disk_free_alarm"])
        self.assertFalse(node["mem_alarm"])
        self.assertEqual(node["disk_free_limit"], 24 * MIB)
        self.assertIn("rabbitmq_alarms_free_disk_space_watermark 1", api.get("/metrics").body)
        self.assertEqual(api.get("/api/health/checks/alarms").status, 503)
        # Who only takes is not disturbed.
        self.assertGreaterEqual(len(drain(b.address, q)), 10)

        os.remove(other)
        p.wait(lambda _: p.blocked is None, "unblocked")
        p.publish(10)
        p.wait_confirmed()
        self.assertIn("rabbitmq_alarms_free_disk_space_watermark 0", api.get("/metrics").body)
        p.close()

    @staticmethod
    def tries(p):
        """Only who publishes is told."""
        if p.blocked is None:
            p.publish()
        return p.blocked is not None

    def test_the_limit_can_be_moved(self):
        disk = self.disk(96)
        b = self.broker_on(disk, limit="1M")
        q = self.durable(b)
        p = Publisher(b.address, q)
        self.assertEqual(b.ctl("set_disk_free_limit", "1GB").returncode, 0)
        p.wait(lambda _: self.tries(p), "blocked")
        self.assertEqual(b.ctl("set_disk_free_limit", "1MB").returncode, 0)
        p.wait(lambda _: p.blocked is None, "unblocked")
        p.wait_confirmed()
        p.close()


class DiskUsed(Base):
    """Segments that are mostly dead are emptied and used again."""

    def test_used_stays_near_alive(self):
        if is_instrumented():
            self.skipTest("too slow to move much")
        disk = self.disk(256)
        b = self.broker_on(disk)
        q, keep = self.durable(b), self.durable(b, "keep")
        p, k = Publisher(b.address, q, size=5000), Publisher(b.address, keep, size=5000)
        # One of twenty stays for ever, spread over all segments; ten times the disk goes through.
        for _ in range(100):
            for _ in range(20):
                p.publish(19)
                k.publish(1)
            p.wait_confirmed()
            k.wait_confirmed()
            drain(b.address, q, idle=0.05)
        drain(b.address, q, idle=0.5)
        alive = k.sent * 5000
        journal = os.path.join(node_folder(b), "journal")

        def used():
            return sum(os.path.getsize(os.path.join(journal, f)) for f in os.listdir(journal))
        # The constant: spare and reserved segments, the open one, what is not worth the work.
        wait_until(lambda: used() < 2 * alive + 16 * MIB, "%d octets alive" % alive, LONG)
        p.close()
        k.close()
        self.assertEqual(wrong_in(drain(b.address, keep), k.sent), "")
