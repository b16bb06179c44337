"""Child processes: started with a log of their own, ended by pid, judged by how they ended."""

import ctypes
import glob
import os
import re
import shlex
import signal
import subprocess

from harness.waits import LONG, SOON, wait_until

# What a sanitizer, valgrind or one of our own CHECKs leaves in a log.
BAD_LOG = re.compile(
    rb"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|SUMMARY: \w+Sanitizer"
    rb"|^==\d+== (?:Invalid|Conditional|Use of|Syscall param|Mismatched|Source and dest)"
    rb"|^==\d+== \d[\d,]* bytes in .* lost"
    rb"|: check failed: ", re.MULTILINE)

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def begin_child(enter=None):
    _die_with_parent()
    if enter:
        enter()


def sanitizer_env():
    env = dict(os.environ)
    env.setdefault("ASAN_OPTIONS", "exitcode=99:detect_leaks=1")
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    env.setdefault("TSAN_OPTIONS", "exitcode=99:second_deadlock_stack=1")
    return env


class Proc:
    """A process whose output goes to `log`. `wrap` puts WARREN_WRAP before the command; `enter` is
    called in it before it executes its program."""

    def __init__(self, argv, log, env=None, wrap=False, cwd=None, enter=None):
        if wrap:
            argv = shlex.split(os.environ.get("WARREN_WRAP", "")) + argv
        self.argv, self.log = argv, log
        self.tolerated = False  # a test that kills it on purpose says so
        with open(log, "ab") as out:
            self.popen = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd=cwd,
                env=env or sanitizer_env(), preexec_fn=lambda: begin_child(enter))
        self.pid = self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def signal(self, number):
        """One that is to stop has stopped when this returns: on a busy machine its other threads go
        on until the one that takes the signal gets its turn."""
        os.kill(self.pid, number)
        if number == signal.SIGSTOP:
            wait_until(self._has_stopped, "%s has stopped" % self.argv[0])

    def _has_stopped(self):
        for path in glob.glob("/proc/%d/task/*/stat" % self.pid):
            try:
                with open(path) as f:
                    if f.read().rpartition(")")[2].split()[0] not in ("T", "Z", "X"):
                        return False
            except FileNotFoundError:
                pass  # a thread that has ended meanwhile
        return True

    def kill(self):
        """kill -9, on purpose."""
        self.tolerated = True
        self.popen.kill()
        self.popen.wait()

    def wait(self, seconds=None):
        """Its exit status."""
        try:
            return self.popen.wait(SOON if seconds is None else seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError("%s still runs" % self.argv[0]) from None

    def stop(self, seconds=LONG):
        """TERM, then its exit status; a process that does not end is killed and blamed."""
        if self.alive():
            self.signal(signal.SIGTERM)
        try:
            return self.wait(seconds)
        except AssertionError:
            self.popen.kill()
            self.popen.wait()
            raise

    def log_bytes(self):
        with open(self.log, "rb") as f:
            return f.read()

    def log_tail(self, lines=25):
        tail = self.log_bytes().decode(errors="replace").splitlines()[-lines:]
        return "\n".join(tail)

    def wait_log(self, pattern, seconds=None):
        """Only for facts that nothing else shows."""
        return wait_until(lambda: re.search(pattern, self.log_bytes()),
                          "%r in %s" % (pattern, self.log), seconds)

    def rss_kb(self):
        with open("/proc/%d/status" % self.pid) as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))

    def complaints(self):
        """Why this process' life counts as a failure: a list of texts, empty when it was good."""
        out = []
        found = BAD_LOG.search(self.log_bytes())
        if found:
            at = max(found.start() - 200, 0)
            report = self.log_bytes()[at:at + 4000].decode(errors="replace")
            out.append("%s reported:\n%s" % (self.argv[0], report))
        status = self.popen.poll()
        if status not in (None, 0) and not self.tolerated:
            out.append("%s ended with status %d" % (self.argv[0], status))
        return out


def run(argv, seconds=None, **kw):
    """A command to its end: CompletedProcess with its output as text."""
    return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, errors="replace",
                          timeout=SOON if seconds is None else seconds, **kw)
