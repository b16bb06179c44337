"""Runs one test file against one target and writes a JSON line for each test."""

import fnmatch
import importlib.util
import json
import os
import signal
import sys
import time
import traceback
import unittest

from harness.case import Case
from harness.site import Site
from harness.waits import SCALE


def load(path):
    sys.path.insert(0, os.path.dirname(path))
    spec = importlib.util.spec_from_file_location(os.path.basename(path)[:-3], path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def tests_of(module, target, pattern):
    """Tests in the order of their source."""
    found = []
    for cls in vars(module).values():
        if not (isinstance(cls, type) and issubclass(cls, unittest.TestCase)) or \
                cls.__module__ != module.__name__:
            continue
        for name, method in vars(cls).items():
            targets = getattr(method, "only_targets", getattr(cls, "only_targets", None))
            full = "%s.%s" % (cls.__name__, name)
            if name.startswith("test") and fnmatch.fnmatch(full, "*%s*" % pattern) and \
                    (targets is None or target in targets):
                found.append((method.__code__.co_firstlineno, cls(name)))
    return [t for _, t in sorted(found, key=lambda f: f[0])]


def _too_long(_signal, frame):
    raise AssertionError("the test takes too long, at\n" +
                         "".join(traceback.format_stack(frame, 6)))


class Result(unittest.TestResult):
    """Prints as it goes; a server that died is started anew for the tests that follow."""

    def __init__(self, runner):
        super().__init__()
        self.runner, self.errors_here = runner, []

    def startTest(self, test):
        self.errors_here, self.absent, self.start = [], None, time.monotonic()
        limit = getattr(test, "seconds", 60)
        signal.setitimer(signal.ITIMER_REAL, limit * SCALE)

    def addError(self, test, err):
        self.errors_here.append(self._exc_info_to_string(err, test))

    addFailure = addError

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.errors_here.append("with %s\n%s" % (
                subtest._subDescription(), self._exc_info_to_string(err, test)))

    def addSkip(self, test, reason):
        self.absent = reason

    def stopTest(self, test):
        signal.setitimer(signal.ITIMER_REAL, 0)
        name = "%s.%s" % (type(test).__name__, test._testMethodName)
        took = time.monotonic() - self.start
        errors = self.errors_here + self.runner.check_alive()
        if errors:
            self.runner.failed = True
            put(name, "failed", took, "\n".join(errors + [self.runner.site.logs()]))
        else:
            put(name, "absent" if self.absent else "passed", took, self.absent or "")


def put(test, how, seconds, detail=""):
    print(json.dumps({"test": test, "how": how, "seconds": seconds, "detail": detail}),
          flush=True)


class Runner:
    def __init__(self, args, module, target):
        self.args, self.module, self.target = args, module, target
        self.failed = False
        self.site = self.begin()

    def begin(self):
        site = Site(self.target, self.module, self.args.worker)
        Case.site = site.start()
        return site

    def check_alive(self):
        if self.site.all_alive():
            return []
        wrong = self.site.stop() or ["a server ended by itself"]
        logs = self.site.logs()
        self.site = self.begin()
        return wrong + [logs]

    def end(self):
        start = time.monotonic()
        wrong = self.site.stop()
        how, detail = ("failed", "\n".join(wrong + [self.site.logs()])) if wrong else ("passed", "")
        put("(orderly end)", how, time.monotonic() - start, detail)
        if not (wrong or self.failed or self.args.keep):
            self.site.remove()


def main(args):
    signal.signal(signal.SIGALRM, _too_long)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    module = load(args.files[0])
    tests = tests_of(module, args.target, args.k)
    if not tests:
        return 0
    runner = Runner(args, module, args.target)
    try:
        result = Result(runner)
        for test in tests:
            test.run(result)
    finally:
        runner.end()
    return 0
