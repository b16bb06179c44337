"""The base of all tests: connections to the site that end with the test."""

import itertools
import os
import unittest

from harness import procs
from harness.client import Conn
from harness.servers import Broker, Proxy

_serial = itertools.count(1)


def only(*targets):
    """A test for these targets alone."""
    def mark(item):
        item.only_targets = targets
        return item
    return mark


class Case(unittest.TestCase):
    """`site` is set by the runner before a test starts."""

    site = None
    seconds = 400  # a test that takes longer hangs
    maxDiff = 4000

    @property
    def target(self):
        return self.site.target

    @property
    def is_rabbit(self):
        return self.site.target == "rabbitmq"

    def name(self, base="q"):
        """A name of its own: tests share a server, with RabbitMQ even files do."""
        return "%s.%d.%d" % (base, os.getpid(), next(_serial))

    def url(self, scheme="amqp"):
        return "%s://guest:guest@%s:%d/%%2f" % ((scheme,) + self.site.address)

    def connect(self, **opts):
        opts.setdefault("address", self.site.address)
        conn = Conn(opts.pop("address"), **opts)
        self.addCleanup(conn.sock.close)
        return conn

    def raw(self, **opts):
        """A connected socket that has said nothing yet."""
        return self.connect(hello=False, **opts)

    def channel(self, **opts):
        """A channel on a connection of its own."""
        return self.connect(**opts).channel()

    def folder(self, name):
        path = os.path.join(self.site.folder, self.name(name))
        os.makedirs(path, exist_ok=True)
        return path

    def own(self, server):
        """A server for this test alone, stopped and judged at its end."""
        self.addCleanup(self._end_own, server)
        return server

    def broker(self, name="rabbit1", conf=None, start=True):
        b = self.own(Broker(self.folder(name), name, conf))
        return b.start() if start else b

    def proxy(self, brokers, conf=None, start=True, **opts):
        p = self.own(Proxy(self.folder("proxy"), brokers, conf, **opts))
        return p.start() if start else p

    def _end_own(self, server):
        if server.proc is None:
            return
        try:
            server.stop()
        finally:
            wrong = server.complaints()
            if wrong:
                self.fail("\n".join(wrong + [server.proc.log_tail()]))

    def run_ok(self, argv, seconds=None, **kw):
        """A command that must succeed: its standard output."""
        out = procs.run(argv, seconds, **kw)
        self.assertEqual(out.returncode, 0, "%s\n%s%s" % (argv, out.stdout, out.stderr))
        return out.stdout
