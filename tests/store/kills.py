"""kill -9 of a loaded broker at random moments, with warren-bench as the witness."""

import json
import os
import random
import signal
import statistics
import threading
import time

import wire
from harness import procs
from harness.client import Conn, Eof
from harness.servers import BUILD, answers
from harness.waits import LONG, SCALE

BENCH = os.path.join(BUILD, "contrib", "bench", "warren-bench")

# Of each, the whole run: what is published, through what, and who takes it.
LOADS = {
    "small": ["--publishers", "3", "--consumers", "4", "--queues", "4", "--spread", "--rate",
              "700", "--size", "24,100,1000,9000"],
    "fanout": ["--publishers", "2", "--consumers", "3", "--queues", "3", "--exchange", "fanout",
               "--rate", "60", "--size", "100,5000,70000", "--confirm", "20", "--ack", "5",
               "--prefetch", "20"],
    "one-by-one": ["--publishers", "4", "--confirm", "1", "--size", "200", "--ack", "each",
                   "--prefetch", "1"],
    "quorum": ["--queue-arg", "x-queue-type=quorum", "--rate", "300", "--size", "300"],
    "backlog": ["--consumers", "0", "--rate", "200", "--size", "500", "--queues", "2", "--spread"],
}


class Witness:
    """One warren-bench that goes on until it is told to end."""

    def __init__(self, name, args, address, folder):
        self.name = name
        self.out = os.path.join(folder, name + ".json")
        argv = [BENCH, "verify", *args, "--duration", "24h", "--give-up", "120s", "--drain", "20s",
                "--json", "--interval", "0", "--host", "%s:%d" % address]
        self.proc = procs.Proc(argv, self.out)

    def stop(self):
        """Publish no more."""
        self.proc.signal(signal.SIGTERM)

    def verdict(self):
        """Once it has all that it can get: warren-bench's JSON."""
        status = self.proc.wait(4 * LONG)
        text = self.proc.log_bytes().decode(errors="replace")
        if status not in (0, 1):
            raise AssertionError("warren-bench %s ended with %d: %s" % (self.name, status, text))
        self.proc.tolerated = True
        return json.loads(text[text.index("{"):])


class Definitions(threading.Thread):
    """Declares durable queues and deletes some, and remembers what was answered."""

    BROKEN = (OSError, Eof, TimeoutError, AssertionError, wire.WireError)

    def __init__(self, address):
        super().__init__(daemon=True)
        self.address = address
        self.there, self.gone = set(), set()  # what was answered; what was not is in neither
        self.ends = threading.Event()
        self.start()

    def run(self):
        number = 0
        while not self.ends.is_set():
            try:
                conn = Conn(self.address)
                ch = conn.channel()
                while not self.ends.wait(0.01):
                    number += 1
                    self.step(ch, number)
                conn.close()
            except self.BROKEN:
                self.ends.wait(0.02)

    def step(self, ch, number):
        name = "defs.%d" % number
        ch.declare(name, durable=True)
        self.there.add(name)
        ch.bind(name, "amq.topic", name)
        if number % 8:
            self.there.discard(name)
            ch.call("queue.delete", queue=name)
            self.gone.add(name)

    def judge(self, broker):
        """What is wrong, as texts."""
        self.ends.set()
        self.join(LONG)
        out = broker.ctl("-q", "list_queues", "--no-table-headers", "name", seconds=LONG)
        names = set(out.stdout.split("\n"))
        wrong = []
        if self.there - names:
            wrong.append("declared and lost: %s" % sorted(self.there - names)[:5])
        if self.gone & names:
            wrong.append("deleted and back: %s" % sorted(self.gone & names)[:5])
        declared = len(self.there) + len(self.gone)
        if declared < 3:
            wrong.append("hardly anything was declared: %d" % declared)
        return wrong


class Kills:
    """Rounds of kill and restart of one broker; `say` gets a line for each."""

    def __init__(self, broker, seed, say=lambda line: None):
        self.broker, self.say = broker, say
        self.rng = random.Random(seed)
        self.restart_s = []

    def start(self):
        """Seconds until a client gets in."""
        begin = time.monotonic()
        self.broker.dead.append(self.broker.proc)
        self.broker.start(ready=False)
        while not answers(self.broker.address):
            if not self.broker.proc.alive():
                raise AssertionError("the broker did not come back, status %s:\n%s" % (
                    self.broker.proc.popen.poll(), self.broker.proc.log_tail()))
            if time.monotonic() - begin > LONG:
                raise AssertionError("the broker is not back after %d s" % LONG)
            time.sleep(0.005)
        return time.monotonic() - begin

    def round(self, number):
        time.sleep(self.rng.uniform(0.02, 1.0) * SCALE)
        self.broker.proc.kill()
        early = 0
        while self.rng.random() < 0.2:
            # Once more before it is up, maybe in the middle of recovery.
            early += 1
            self.broker.dead.append(self.broker.proc)
            self.broker.start(ready=False)
            time.sleep(self.rng.uniform(0, 0.15) * SCALE)
            self.broker.proc.kill()
        took = self.start()
        self.restart_s.append(took)
        self.say("round %d: back in %.3f s%s" % (
            number, took, ", after %d early kills" % early if early else ""))

    def times(self):
        return "restart: median %.3f s, longest %.3f s" % (
            statistics.median(self.restart_s), max(self.restart_s))


def run(broker, folder, rounds, seed, loads=None, say=lambda line: None):
    """Everything: {load: warren-bench's JSON}, the Kills for their times, and what is wrong with
    definitions."""
    definitions = Definitions(broker.address)
    witnesses = [Witness(n, LOADS[n], broker.address, folder) for n in loads or LOADS]
    kills = Kills(broker, seed, say)
    try:
        for n in range(1, rounds + 1):
            kills.round(n)
            for w in witnesses:
                if not w.proc.alive():
                    raise AssertionError("warren-bench %s gave up: %s" % (
                        w.name, w.proc.log_tail()))
        for w in witnesses:
            w.stop()
        wrong = definitions.judge(broker)
        return {w.name: w.verdict() for w in witnesses}, kills, wrong
    except BaseException:
        definitions.ends.set()
        for w in witnesses:
            w.proc.kill()
        raise


WRONG = ("lost", "duplicated", "reordered", "acked_again", "misrouted", "corrupt", "unconfirmed")


def judge(verdicts, rounds):
    """What is wrong, as texts."""
    out = []
    for name, v in verdicts.items():
        total = v["total"]
        bad = {k: total[k] for k in WRONG if total[k]}
        if bad or not v["ok"]:
            out.append("%s: %s %s" % (name, bad, v["faults"]))
        if total["reconnects"] < rounds // 2:  # kills may follow faster than it comes back
            out.append("%s: only %d reconnects in %d rounds" % (name, total["reconnects"], rounds))
    return out
