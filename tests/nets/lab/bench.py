"""warren-bench as the clients: they connect again when a connection fails, and judge what they got."""

import json
import os
import re
import subprocess

from harness import procs
from harness.servers import BUILD
from harness.waits import LONG, wait_until
from lab.hosts import AMQP_PORT

BENCH = os.path.join(BUILD, "contrib", "bench", "warren-bench")
USER, PASSWORD = "load", "secret"
PUBLISHERS, RATE = 3, 60
ENDLESS = "1h"  # they end when they are told to
LAST_WORDS = 4 * LONG


class Bench:
    """Publishers with confirms, each to all queues in turn, and one consumer of each queue, on a
    machine of their own; they connect to one of `hosts` after another. It ends by judge()."""

    def __init__(self, folder, machine, hosts, prefix, queues):
        os.makedirs(folder, exist_ok=True)
        self.prefix, self.queues = prefix, queues
        self.log = os.path.join(folder, prefix + ".log")
        address = ",".join("%s:%d" % (h.machine.ip, AMQP_PORT) for h in hosts)
        self.proc = procs.Proc(
            [BENCH, "verify", "--json", "--host", address, "--user", USER, "--password", PASSWORD,
             "--heartbeat", "5", "--connect-timeout", "2s", "--duration", ENDLESS,
             "--publishers", str(PUBLISHERS), "--rate", str(RATE), "--spread",
             "--consumers", str(queues), "--queues", str(queues), "--queue-name", prefix,
             "--size", "100,5000", "--keep"],
            self.log, enter=machine.space.enter)

    @property
    def names(self):
        return ["%s-%d" % (self.prefix, i) for i in range(self.queues)]

    def check_runs(self):
        if not self.proc.alive():
            raise AssertionError("the clients have given up:\n%s" % self.said())

    def said(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def stop(self):
        if self.proc.alive():
            self.proc.tolerated = True
            self.proc.stop()

    def judge(self):
        """What they counted, after all that is on its way has come; see bench_report.c."""
        self.check_runs()
        self.proc.signal(15)
        try:
            self.proc.popen.wait(timeout=LAST_WORDS)
        except subprocess.TimeoutExpired:
            raise AssertionError("the clients do not end:\n%s" % self.said()) from None
        found = re.search(r"(?ms)^\{.*^\}$", self.said())
        if found is None:
            raise AssertionError("the clients ended with %d:\n%s" % (
                self.proc.popen.returncode, self.said()))
        return Verdict(json.loads(found.group(0)))


class Verdict:
    """`is_good`: nothing confirmed is lost, each publisher's messages came in order, and what came
    twice was marked so by the broker, or had been sent twice by a publisher that connected anew."""

    def __init__(self, said):
        self.said = said
        self.total = said["total"]
        self.is_good = said["ok"] and self.total["received"] > 0

    def __getattr__(self, name):
        return self.total[name]

    @property
    def pause_ms(self):
        return max(self.total["delivery_gap_ms"], self.total["confirm_gap_ms"])

    def __str__(self):
        return json.dumps({"faults": self.said["faults"], **self.total})
