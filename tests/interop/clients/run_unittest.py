"""Runs unittest's tests below a folder and says a line for each, as RunClasses.java does.

usage: run_unittest.py START_FOLDER TOP_FOLDER PATTERN
"""

import fnmatch
import sys
import unittest


class Lines(unittest.TestResult):
    def say(self, how, test, why=""):
        name = ".".join(test.id().split(".")[-2:])
        print("%s %s%s" % (how, name, ": " + " ".join(why.split()) if why else ""), flush=True)

    def addSuccess(self, test):
        self.say("ok", test)

    def addSkip(self, test, reason):
        self.say("skip", test, reason)

    def addFailure(self, test, err):
        self.say("fail", test, "%s: %s" % (err[0].__name__, err[1]))

    addError = addFailure


def each(suite):
    for part in suite:
        if isinstance(part, unittest.TestSuite):
            yield from each(part)
        else:
            yield part


found = unittest.defaultTestLoader.discover(sys.argv[1], top_level_dir=sys.argv[2])
result = Lines()
for test in each(found):
    if fnmatch.fnmatchcase(test.id(), "*" + sys.argv[3]):
        test.run(result)
