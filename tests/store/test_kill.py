"""A broker that is killed loses nothing that was confirmed, and brings back nothing that was
acknowledged, as slow as its disk may be. The long form: make check-kill."""

import os

import kills
from faulty import FaultyBroker
from harness.case import Case

TARGETS = ("broker",)
THREADS = True
FIRST = True

ROUNDS = int(os.environ.get("WARREN_KILL_ROUNDS", "15"))
SLOW_ROUNDS = 5


class Kill(Case):
    def test_nothing_is_lost(self):
        seed = 1 if self.target == "broker" else 2
        threads = 1 if self.target == "broker" else 3
        b = self.broker(conf={"node": {"threads": threads}, "store": {"segment-size": "1M"}})
        verdicts, killed, wrong = kills.run(b, self.folder("kill"), ROUNDS, seed)
        self.assertEqual(wrong + kills.judge(verdicts, ROUNDS), [], killed.times())
        # A client's own patience: the time until it is served again.
        self.assertLess(sorted(killed.restart_s)[len(killed.restart_s) // 2], 60, killed.times())

    def test_on_a_disk_that_takes_seconds(self):
        """What is acknowledged waits for as long as a sync takes, in the broker's memory: no clock
        tells that it is safe, only what was confirmed behind it."""
        b = self.own(FaultyBroker(self.folder("slow"), conf={"store": {"segment-size": "1M"}}))
        b.start()
        b.faults.only("journal")

        def slow_down(line):
            b.faults.slow("sync", 1200)
            b.faults.slow("write", 600)

        verdicts, killed, wrong = kills.run(b, self.folder("kill"), SLOW_ROUNDS, 1,
                                            loads=("quorum", "small"), say=slow_down)
        b.faults.heal()
        self.assertEqual(wrong + kills.judge(verdicts, SLOW_ROUNDS), [], killed.times())
