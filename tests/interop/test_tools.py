"""amqp-tools: the command-line programs of librabbitmq."""

import json
import shutil
import subprocess
import unittest

from harness import procs
from harness.case import Case
from harness.waits import LONG


class Tools(Case):
    def setUp(self):
        super().setUp()
        if shutil.which("amqp-publish") is None:
            raise unittest.SkipTest("amqp-tools are not installed (apt-get install amqp-tools)")

    def tool(self, name, *args, **kw):
        return self.run_ok(["amqp-" + name, "--url=" + self.url(), *args], **kw)

    def test_declare_publish_get_delete(self):
        q = self.name()
        self.assertEqual(self.tool("declare-queue", "--queue=" + q).strip(), q)
        self.tool("publish", "--routing-key=" + q, "--body=hello", "--content-type=text/plain",
                  "--header=a:b")
        self.assertEqual(self.tool("get", "--queue=" + q), "hello")
        empty = procs.run(["amqp-get", "--url=" + self.url(), "--queue=" + q])
        self.assertEqual(empty.returncode, 2)
        self.assertEqual(self.tool("delete-queue", "--queue=" + q).strip(), "0")

    def test_lines_are_consumed_in_order(self):
        q = self.name()
        self.tool("declare-queue", "--queue=" + q, "--durable")
        lines = "".join("line %d\n" % i for i in range(100))
        out = subprocess.run(["amqp-publish", "--url=" + self.url(), "--routing-key=" + q,
                              "--line-buffered", "--persistent"], input=lines, text=True,
                             capture_output=True, timeout=LONG)
        self.assertEqual(out.returncode, 0, out.stderr)
        got = self.tool("consume", "--queue=" + q, "--count=100", "--prefetch-count=10", "cat")
        self.assertEqual(got, lines)
        self.tool("delete-queue", "--queue=" + q)

    def test_errors_are_told(self):
        out = procs.run(["amqp-get", "--url=" + self.url(), "--queue=no.such.queue"])
        self.assertNotEqual(out.returncode, 0)
        self.assertIn("404", out.stderr)
        bad = self.url().replace("guest@", "wrong@")
        out = procs.run(["amqp-get", "--url=" + bad, "--queue=q"])
        self.assertNotEqual(out.returncode, 0)
        self.assertIn("403", out.stderr)

    def test_a_large_body_from_standard_input(self):
        q, body = self.name(), json.dumps(list(range(200000)))
        self.tool("declare-queue", "--queue=" + q)
        out = subprocess.run(["amqp-publish", "--url=" + self.url(), "--routing-key=" + q],
                             input=body, text=True, capture_output=True, timeout=LONG)
        self.assertEqual(out.returncode, 0, out.stderr)
        self.assertEqual(self.tool("get", "--queue=" + q), body)
        self.tool("delete-queue", "--queue=" + q)
