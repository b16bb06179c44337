"""amqplib of node, installed from npm as package-lock.json says."""

import fcntl
import os
import re
import shutil
import unittest

from harness import procs
from harness.case import Case
from harness.waits import LONG

UNREACHABLE = r"EAI_AGAIN|ENOTFOUND|ECONNREFUSED|ECONNRESET|ENETUNREACH|EHOSTUNREACH|TIMEDOUT" \
              r"|TIMEOUT|CERT"
HERE = os.path.dirname(os.path.abspath(__file__))


class Amqplib(Case):
    def installed(self):
        """A folder with the script and its modules, shared by all runs of the suite."""
        folder = os.path.join(os.path.dirname(self.site.folder), "npm")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not os.path.exists(os.path.join(folder, "done")):
                for leaf in ("package.json", "package-lock.json", "amqplib_test.js"):
                    shutil.copy(os.path.join(HERE, leaf), folder)
                self.fetch(folder)
                open(os.path.join(folder, "done"), "w").close()
        return folder

    def fetch(self, folder):
        """Behind a wall there is no registry, and that says nothing about a broker."""
        out = procs.run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error",
                         "--fetch-retries=1", "--fetch-timeout=20000"], LONG, cwd=folder)
        if out.returncode and re.search(UNREACHABLE, out.stderr):
            raise unittest.SkipTest("npm's registry cannot be reached")
        self.assertEqual(out.returncode, 0, out.stderr)

    def test_all_cases(self):
        for tool in ("node", "npm"):
            if shutil.which(tool) is None:
                raise unittest.SkipTest("%s is not installed (apt-get install nodejs npm)" % tool)
        folder = self.installed()
        out = self.run_ok(["node", "amqplib_test.js", self.url()], LONG, cwd=folder)
        self.assertEqual(out.count("ok "), 8, out)
