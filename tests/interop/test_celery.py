"""Celery as people run it: two workers, ten thousand tasks, and a worker killed at its work."""

import os
import re
import signal
import sys

from harness import procs
from harness.case import Case
from harness.waits import LONG, wait_until

FIRST = True
TASKS = 10000

HERE = os.path.dirname(os.path.abspath(__file__))

# The client runs in a process of its own too, since an app's settings belong to its process.
CLIENT = """
import sys, time
from celery import group
from celery.result import ResultSet
from celery_app import add
n, start = int(sys.argv[1]), time.monotonic()
results = [add.delay(i, i) for i in range(n)]
published = time.monotonic()
values = ResultSet(results).join_native(timeout=float(sys.argv[2]))
assert [v[0] for v in values] == [2 * i for i in range(n)], "results differ"
print("published in %.1f s, all done in %.1f s" % (published - start, time.monotonic() - start))
print("done by", *sorted({v[1] for v in values}))
"""

ONE_TASK = """
import sys
from celery_app import touch_and_wait
print(touch_and_wait.delay(sys.argv[1], float(sys.argv[2])).get(timeout=float(sys.argv[3])))
"""


class Celery(Case):
    def setUp(self):
        super().setUp()
        self.env = dict(os.environ, CELERY_BROKER=self.url("pyamqp"),
                        CELERY_QUEUE=self.name("celery"), PYTHONPATH=HERE, PYTHONDONTWRITEBYTECODE="1", C_FORCE_ROOT="1")

    def worker(self, name, *options):
        log = os.path.join(self.site.folder, "celery-%s-%s.log" % (self._testMethodName, name))
        argv = [sys.executable, "-m", "celery", "-A", "celery_app", "worker", "-n", name + "@%h",
                "-l", "warning", "--without-mingle", "--without-gossip", *options]
        worker = procs.Proc(argv, log, env=self.env, cwd=self.site.folder)
        self.addCleanup(self.end, worker)
        return worker

    def workers(self, *options):
        both = [self.worker(n, *options) for n in ("one", "two")]
        for w in both:
            w.wait_log(rb"worker is ready", LONG)
        return both

    def end(self, worker):
        if worker.alive():
            worker.signal(signal.SIGTERM)
            try:
                worker.wait(LONG)
            except AssertionError:
                worker.kill()

    def client(self, program, *args):
        argv = [sys.executable, "-c", program] + [str(a) for a in args]
        return self.run_ok(argv, LONG * 2, env=self.env, cwd=self.site.folder)

    def test_ten_thousand_tasks(self):
        workers = self.workers("-P", "solo")
        out = self.client(CLIENT, TASKS, LONG)
        print(out, file=sys.stderr)
        by = {int(pid) for pid in re.search(r"done by (.*)", out).group(1).split()}
        self.assertEqual(by, {w.pid for w in workers})

    def test_a_killed_workers_task_is_done_by_the_other(self):
        self.env["CELERY_PREFETCH"] = "1"
        workers = self.workers("-P", "solo")
        by_pid = {w.pid: w for w in workers}
        folder = self.folder("tasks")

        def kill_the_first():
            """The worker that has begun is killed in the middle of the task."""
            wait_until(lambda: os.listdir(folder), "task begun", LONG)
            first = int(os.listdir(folder)[0].split(".")[1])
            by_pid[first].kill()
            return first
        argv = [sys.executable, "-c", ONE_TASK, folder, "2", str(LONG)]
        log = os.path.join(self.site.folder, "celery-client.log")
        client = procs.Proc(argv, log, env=self.env, cwd=self.site.folder)
        self.addCleanup(lambda: client.alive() and client.kill())
        killed = kill_the_first()
        self.assertEqual(client.wait(LONG), 0, client.log_tail())
        done_by = int(client.log_bytes().split()[-1])
        self.assertNotEqual(done_by, killed)
        self.assertIn(done_by, by_pid)
        self.assertEqual(len(os.listdir(folder)), 2)
