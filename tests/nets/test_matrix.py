"""The failure matrix under load: nothing that was confirmed is lost, order is kept, what comes twice says so.

In the suite each cluster sees a few rows; `make check-matrix` plays them all, many times, and shows figures
of each.
"""

import json
import os

from lab.case import IS_LONG, NetCase
from lab.field import Field
from lab.rows import ROWS

TARGETS = ("broker",)
BARE = True
FIGURES = os.environ.get("WARREN_MATRIX_FIGURES")
WANTED = os.environ.get("WARREN_MATRIX_ROWS", "").split()


class Matrix(NetCase):
    seconds = 7200 if IS_LONG else 400

    def grown(self, count, witness=False):
        """A cluster; in the long form with disks that fail when they are told to."""
        hosts = self.cluster(count, start=False)
        last = None
        if witness:
            last = self.add_host(conf={"node": {"type": "witness"}, "listen": {"amqp": "none"}})
            hosts.seed(hosts)
        for h in hosts if IS_LONG else ():
            h.with_faulty_disk()  # not under sanitizers, which the suite uses
        hosts.start()
        self.wait_one_cluster()
        return last

    def rows(self, count, *short):
        """Those for a cluster of so many, in some order; in the short form those that are named."""
        if not IS_LONG:
            return [ROWS[name] for name in short]
        fitting = [ROWS[name] for name in WANTED or ROWS if ROWS[name].least <= count]
        return self.rng.sample(fitting, len(fitting))

    def play(self, field, rows):
        bad = []
        for row in rows:
            name = row.__name__
            verdict = field.play(row, self.few(1, 3))
            if FIGURES:
                self.note(field, name, verdict)
            if not verdict.is_good:
                bad.append("%s: %s\n%s" % (name, verdict, verdict.left_there))
        self.assertEqual(bad, [])

    def note(self, field, name, verdict):
        line = {"row": name, "nodes": len(field.members()), "hits": verdict.hits,
                "good": verdict.is_good, "pause_ms": verdict.pause_ms, **verdict.total}
        with open(FIGURES, "a") as f:
            f.write(json.dumps(line) + "\n")

    def test_three_whose_clients_are_at_all_of_them(self):
        self.grown(3)
        self.play(Field(self), self.rows(3, "killed_while_it_starts", "all_killed"))

    def test_three_whose_clients_are_at_one_that_stays(self):
        self.grown(3)
        field = Field(self, spared=self.pick())
        self.play(field, self.rows(2, "rolling_restart"))

    def test_five(self):
        self.grown(5)
        field = Field(self, with_pairs=True)
        self.play(field, self.rows(5, "two_killed"))

    def test_two_and_a_witness(self):
        witness = self.grown(2, witness=True)
        field = Field(self, witness=witness)
        self.play(field, self.rows(2, "mirror_killed", "witness_killed"))
