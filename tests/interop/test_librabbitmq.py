"""librabbitmq: a C program, compiled here."""

import os
import shutil
import unittest

from harness.case import Case
from harness.waits import LONG

HERE = os.path.dirname(os.path.abspath(__file__))
HEADER = "/usr/include/amqp.h"


class Librabbitmq(Case):
    def test_all_cases(self):
        compiler = os.environ.get("CC", "cc").split()
        if shutil.which(compiler[0]) is None or not os.path.exists(HEADER):
            raise unittest.SkipTest("no C compiler or no librabbitmq-dev (apt-get install both)")
        program = os.path.join(self.folder("c"), "librabbitmq_test")
        self.run_ok(compiler + ["-std=c11", "-D_DEFAULT_SOURCE", "-Wall", "-Wextra", "-Werror",
                                "-O1", "-o", program, os.path.join(HERE, "librabbitmq_test.c"),
                                "-lrabbitmq"], LONG)
        out = self.run_ok([program, self.site.address[0], str(self.site.address[1])], LONG)
        self.assertEqual(out.count("ok "), 4, out)
