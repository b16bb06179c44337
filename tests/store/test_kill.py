"""A broker that is killed loses nothing that was confirmed, and brings back nothing that was
acknowledged. The long form: make check-kill."""

import os

import kills
from harness.case import Case

TARGETS = ("broker",)
THREADS = True
FIRST = True

ROUNDS = int(os.environ.get("WARREN_KILL_ROUNDS", "15"))


class Kill(Case):
    seconds = 170

    def test_nothing_is_lost(self):
        seed = 1 if self.target == "broker" else 2
        threads = 1 if self.target == "broker" else 3
        b = self.broker(conf={"node": {"threads": threads}, "store": {"segment-size": "1M"}})
        verdicts, killed, wrong = kills.run(b, self.folder("kill"), ROUNDS, seed)
        self.assertEqual(wrong + kills.judge(verdicts, ROUNDS), [], killed.times())
        # A client's own patience: the time until it is served again.
        self.assertLess(sorted(killed.restart_s)[len(killed.restart_s) // 2], 5, killed.times())
