"""amqplib of node, installed from npm as package-lock.json says."""

import fcntl
import os
import shutil
import unittest

from harness.case import Case
from harness.waits import LONG

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
                self.run_ok(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], LONG,
                            cwd=folder)
                open(os.path.join(folder, "done"), "w").close()
        return folder

    def test_all_cases(self):
        for tool in ("node", "npm"):
            if shutil.which(tool) is None:
                raise unittest.SkipTest("%s is not installed (apt-get install nodejs npm)" % tool)
        folder = self.installed()
        out = self.run_ok(["node", "amqplib_test.js", self.url()], LONG, cwd=folder)
        self.assertEqual(out.count("ok "), 8, out)
