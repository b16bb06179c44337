"""A disk that fails, dawdles or takes half: see faulty_disk.c."""

import errno
import json
import os
import time

from faulty import LEFT, FaultyBroker
from harness.api import Api
from harness.case import Case
from harness.client import Eof
from harness.waits import LONG, Deadline, wait_until
from kit import Publisher, drain, wrong_in

TARGETS = ("broker",)



class Base(Case):
    def faulty(self, **store):
        b = FaultyBroker(self.folder("faulty"), conf={
            "node": {"threads": 1}, "store": dict({"segment-size": "1M"}, **store)})
        return self.own(b).start()

    def durable(self, broker, name="q"):
        ch = self.connect(address=broker.address).channel()
        ch.declare(name, durable=True)
        ch.conn.close()
        return name

    def expect_left(self, broker):
        """It has gone, in an orderly way, and said why."""
        self.assertEqual(broker.proc.wait(LONG), LEFT, broker.proc.log_tail())
        broker.proc.tolerated = True
        log = broker.proc.log_bytes().decode(errors="replace")
        self.assertRegex(log, r"Z error .*(disk|journal|store|raft)", "nothing in the log")


class Errors(Base):
    def break_down(self, fault, only="", after=0, code=errno.EIO):
        b = self.faulty()
        b.faults.only(only)
        q = self.durable(b)
        p = Publisher(b.address, q, size=2000)
        p.publish(300)
        p.wait_confirmed()
        b.faults.fail(fault, after, code)
        # Nothing is confirmed from here on but what had been written before the first failure.
        for _ in range(40):
            try:
                p.publish(10)
                p.listen(0.01)
            except (Eof, OSError, AssertionError):
                break
        p.listen_to_the_end()
        self.expect_left(b)
        b.faults.heal()
        b.restart()
        taken = [n for n, _ in drain(b.address, q)]
        self.assertLessEqual(p.confirmed, set(taken), "confirmed and lost")
        self.assertEqual(taken, sorted(set(taken)))
        p.close()

    def test_a_sync_fails(self):
        self.break_down("sync", "/journal/")

    def test_a_later_sync_fails(self):
        self.break_down("sync", "/journal/", after=7)

    def test_a_write_fails(self):
        self.break_down("write", "/journal/")

    def test_a_later_write_fails(self):
        self.break_down("write", "/journal/", after=7)

    def test_nothing_is_confirmed_after_a_failed_sync(self):
        b = self.faulty()
        b.faults.only("/journal/")
        p = Publisher(b.address, self.durable(b))
        p.publish(10)
        p.wait_confirmed()
        before = set(p.confirmed)
        b.faults.fail("sync")
        p.publish(10)
        p.listen_to_the_end()
        self.assertEqual(p.confirmed, before)
        self.expect_left(b)
        p.close()

    def test_a_declaration_that_is_not_safe_is_not_answered(self):
        b = self.faulty()
        b.faults.only("/raft/")
        ch = self.connect(address=b.address).channel()
        ch.declare("first", durable=True)
        b.faults.fail("sync")
        ch.send("queue.declare", queue="second", durable=True)
        try:
            event = ch.next(LONG)
            self.assertEqual(event.name, "connection.close", "answered: %r" % event)
        except (Eof, OSError):
            pass
        self.expect_left(b)
        b.faults.heal()
        b.restart()
        ch = self.connect(address=b.address).channel()
        ch.declare("first", passive=True)

    def test_a_large_message_that_is_not_safe_is_not_confirmed(self):
        b = self.faulty()
        b.faults.only("/large/")
        q = self.durable(b)
        p = Publisher(b.address, q, size=300000)
        p.publish(3)
        p.wait_confirmed()
        b.faults.fail("sync")
        p.publish(1)
        p.listen_to_the_end()
        self.assertEqual(p.confirmed, {0, 1, 2})
        self.expect_left(b)
        b.faults.heal()
        b.restart()
        self.assertLessEqual({0, 1, 2}, {n for n, _ in drain(b.address, q)})
        p.close()


class ShortWrites(Base):
    def test_half_of_everything(self):
        """The system may always take less than it was given."""
        b = self.faulty()
        q = self.durable(b)
        b.faults.halve()
        p = Publisher(b.address, q, size=3000)
        p.publish(2000)
        p.wait_confirmed()
        big = Publisher(b.address, q, size=200000)
        big.publish(3)
        big.wait_confirmed()
        self.durable(b, "another")
        b.proc.kill()
        b.restart()
        taken = [n for n, _ in drain(b.address, q)]
        self.assertEqual(taken, list(range(2000)) + list(range(3)))
        self.connect(address=b.address).channel().declare("another", passive=True)
        p.close()
        big.close()


class SlowSyncs(Base):
    def test_they_are_told_and_disturb_nobody_else(self):
        b = self.faulty(**{"slow-sync": "100ms"})
        b.faults.only("/journal/")
        p = Publisher(b.address, self.durable(b))
        p.publish()
        p.wait_confirmed()
        b.faults.slow("sync", 400)
        begin = time.monotonic()
        p.publish()

        # Transient messages pass while a sync takes its time. Each that comes and goes before the
        # confirm of a durable one that was published earlier has passed it.
        ch = self.channel_to(b)
        q = ch.queue()
        ch.consume(q, no_ack=True)
        passed = 0
        deadline = Deadline(LONG)
        while passed < 50:
            self.assertFalse(deadline.passed(), "transient messages wait for the disk")
            if not p.open:
                p.publish()
            ch.publish("", q, b"quick")
            ch.expect("basic.deliver")
            p.listen()
            passed += bool(p.open)
        p.wait_confirmed()
        self.assertGreater(time.monotonic() - begin, 0.4)

        b.proc.wait_log(rb"Z warn .*(slow|sync)", LONG)
        journal = json.loads(b.ctl("journal_status", "--formatter", "json").stdout)
        self.assertGreater(journal["syncs"]["slow"], 0)
        self.assertGreaterEqual(journal["syncs"]["max_us"], 400000)
        api = Api(int(b.conf["listen"]["management"].rsplit(":", 1)[1]))
        metrics = api.get("/metrics").body
        slow = [line for line in metrics.split("\n")
                if line.startswith("warren_journal_slow_syncs_total ")]
        self.assertGreater(int(slow[0].split()[1]), 0)
        b.faults.heal()
        p.close()

    def channel_to(self, broker):
        return self.connect(address=broker.address).channel()

    def test_one_sync_serves_all_who_wait(self):
        """While a sync takes its time the next group gathers."""
        b = self.faulty()
        b.faults.only("/journal/")
        q = self.durable(b)
        b.faults.slow("sync", 1500)  # longer than it takes to publish them
        before = b.faults.calls("sync")
        many = [Publisher(b.address, q) for _ in range(20)]
        for _ in range(3):
            for p in many:
                p.publish()
            for p in many:
                p.wait_confirmed()
        self.assertLess(b.faults.calls("sync") - before, 30)
        for p in many:
            p.close()


class SyncModes(Base):
    def confirm_time(self, sync_ms, **store):
        b = self.faulty(**store)
        b.faults.only("/journal/")
        p = Publisher(b.address, self.durable(b))
        b.faults.slow("sync", sync_ms)
        begin = time.monotonic()
        p.publish(10)
        p.wait_confirmed()
        took = time.monotonic() - begin
        b.proc.kill()
        b.faults.heal()
        b.restart()
        # The system lives on: whatever the mode, a killed process loses nothing.
        self.assertEqual(wrong_in(drain(b.address, "q"), 10), "")
        p.close()
        return took, b

    def test_always(self):
        took, _ = self.confirm_time(300, sync="always")
        self.assertGreaterEqual(took, 0.3)

    def test_interval(self):
        took, _ = self.confirm_time(20000, sync="interval", **{"sync-interval": "100ms"})
        self.assertLess(took, 20)

    def test_none(self):
        took, _ = self.confirm_time(20000, sync="none")
        self.assertLess(took, 20)
