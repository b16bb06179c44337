"""The base of all tests here: a net, hosts, traffic, and what has to be true in the end."""

import os
import random
import re
import time

from harness.case import Case
from harness.client import Conn
from harness.waits import LONG, SOON, wait_until
from lab.hosts import Hosts
from lab.net import Net
from lab.space import why_not
from lab.traffic import Stream

SEED = int(os.environ.get("WARREN_NETS_SEED", "1"))
IS_LONG = "WARREN_NETS_LONG" in os.environ
ERROR_LINE = re.compile(r"^\S+ (?:error|warn gossip \S+ takes no part:) .*$", re.MULTILINE)
LOCAL = {"x-queue-master-locator": "client-local"}


class NetCase(Case):
    """`rng` decides what a test leaves open: `tests/nets/run --seed N` repeats it."""

    seconds = 1200 if IS_LONG else 400

    def __init__(self, method):
        super().__init__(method)
        setattr(self, method, self._with_seed(getattr(self, method)))

    def setUp(self):
        super().setUp()
        missing = why_not()
        if missing:
            self.skipTest(missing)
        self.rng = random.Random("%s %d" % (self.id(), SEED))
        self.hosts = None
        self.streams = []
        self.known_errors = []

    def _with_seed(self, method):
        def test():
            try:
                method()
            except BaseException as e:
                e.add_note("WARREN_NETS_SEED=%d" % SEED)
                raise
        return test

    # -- making ----------------------------------------------------------------------------

    def cluster(self, count=3, conf=None, seeds=True, relayed=False, start=True):
        folder = self.folder("net")
        net = Net(folder, relayed)
        self.addCleanup(net.close)
        self.hosts = Hosts(net, folder, count, conf, seeds)
        for h in self.hosts:
            self.own(h)
        if start:
            self.hosts.start()
            if seeds and count > 1:
                self.wait_one_cluster()
        return self.hosts

    def add_host(self, **conf):
        return self.own(self.hosts.add(**conf))

    def _end_own(self, server):
        if server.proc is not None and server.proc.alive():
            server.resume()  # a stopped one could not end
        super()._end_own(server)

    def pick(self, among=None):
        return self.rng.choice(list(among or self.hosts))

    def stream(self, home, publish_at=None, consume_at=None):
        queue = "stream-%d-of-%s" % (len(self.streams), home.name)
        s = Stream(self.folder("stream"), queue, home, publish_at or home, consume_at or home)
        self.addCleanup(s.stop)
        self.streams.append(s)
        return s

    def streams_everywhere(self):
        """For each host a queue, published to from the next one and consumed on the one after."""
        hosts = self.hosts.running()
        for i, h in enumerate(hosts):
            self.stream(h, hosts[(i + 1) % len(hosts)], hosts[(i + 2) % len(hosts)])
        for s in self.streams:
            s.wait_progress()

    def channel_at(self, host):
        conn = host.connect()
        self.addCleanup(conn.sock.close)
        return conn.channel()

    # -- warrenctl -------------------------------------------------------------------------

    def ctl(self, host, *args):
        """An order that must be carried out: what it says."""
        out = host.ctl(*args)
        self.assertEqual(out.returncode, 0, "%s on %s\n%s%s" % (args, host.name, out.stdout,
                                                                out.stderr))
        return out.stdout

    def refused(self, host, *args):
        """An order that must not be: exit status and reason."""
        out = host.ctl(*args)
        self.assertNotEqual(out.returncode, 0, "%s on %s\n%s" % (args, host.name, out.stdout))
        return out.returncode, out.stderr + out.stdout

    # -- what has to be true ---------------------------------------------------------------

    def wait_one_cluster(self, members=None, seconds=LONG):
        """All members run, each of them says the same of who does, and their metadata are equal
        as of the same index."""
        members = list(members or self.hosts)
        names = sorted(h.node for h in members)
        seen = {}

        def is_one():
            seen.clear()
            for h in members:
                seen[h.name] = status = h.status()
                if status is None or sorted(status["running_nodes"]) != names or \
                        status["waits_for"] is not None:
                    return False
            if len({status["cluster_name"] for status in seen.values()}) != 1:
                return False
            return self._same_metadata([seen[h.name]["metadata"][h.node] for h in members])
        try:
            wait_until(is_one, "one cluster of %s" % names, seconds, interval=0.05)
        except AssertionError as e:
            raise AssertionError("%s, but: %s" % (e, seen)) from None

    def _same_metadata(self, all):
        by_index = {}
        for m in all:
            known = by_index.setdefault(m["applied"], m)
            self.assertEqual(known["checksum"], m["checksum"], "metadata differ: %s" % all)
        return len(by_index) == 1 and len({m["leader"] for m in all}) == 1 and \
            all[0]["leader"] is not None

    def check_all_works(self, members=None):
        """Every operation of clients and administrators, at every node."""
        members = list(members or self.hosts)
        for h in members:
            self._check_definitions(h)
        for h, other in zip(members, members[1:] + members[:1]):
            self._check_messages(h, other)

    def _check_definitions(self, h):
        user = self.name("user")
        self.ctl(h, "add_user", user, "secret")
        self.ctl(h, "set_permissions", user, ".*", ".*", ".*")
        with h.space.inside():
            conn = Conn(h.address, user=user, password="secret")
        conn.close()
        self.ctl(h, "add_vhost", user)
        self.ctl(h, "delete_vhost", user)
        self.ctl(h, "delete_user", user)

    def _check_messages(self, h, other):
        """A queue on `h`, used there and from another node."""
        q, x = self.name("works"), self.name("works-x")
        ch, far = self.channel_at(h), self.channel_at(other)
        ch.call("exchange.declare", exchange=x, type="direct", durable=True)
        ch.declare(q, durable=True, arguments=LOCAL)
        far.bind(q, x, "k")
        far.call("confirm.select")
        for body in (b"1", b"2", b"3"):
            wait_until(lambda body=body: self._confirmed(far, x, body), "a confirm", SOON)
        self.assertEqual(ch.get(q).body, b"1")
        far.consume(q, tag="t")
        for body in (b"2", b"3"):
            event = far.expect("basic.deliver")
            self.assertEqual(event.body, body)
            far.ack(event.delivery_tag)
        far.call("basic.cancel", consumer_tag="t")
        ch.call("queue.purge", queue=q)
        far.call("queue.unbind", queue=q, exchange=x, routing_key="k")
        far.call("queue.delete", queue=q)
        ch.call("exchange.delete", exchange=x)
        for c in (ch, far):
            c.conn.close()

    @staticmethod
    def _confirmed(ch, exchange, body):
        """Sent again when it was refused: a link that was cut may just have taken it along."""
        ch.publish(exchange, "k", body, {"delivery_mode": 2}, mandatory=True)
        event = ch.next()
        if event.name not in ("basic.ack", "basic.nack"):
            raise AssertionError("a confirm expected, came %r" % event)
        return event.name == "basic.ack"

    def check_logs(self):
        """Nobody complains: errors in logs are for people to act, and here nobody had to."""
        for h in self.hosts:
            lines = [line for line in ERROR_LINE.findall(h.log_text())
                     if not any(re.search(known, line) for known in self.known_errors)]
            self.assertEqual(lines, [], "errors in the log of %s" % h.name)

    def check_end(self, members=None, seconds=LONG):
        """After a fault: one cluster by itself, everything works, nothing confirmed is lost."""
        self.wait_one_cluster(members, seconds)
        self.check_all_works(members)
        for s in self.streams:
            s.judge()
        self.wait_one_cluster(members, SOON)
        self.check_logs()

    # -- while a fault lasts ---------------------------------------------------------------

    def last(self, least, most, most_long=None):
        """A fault lasts for so many seconds, or some between; longer ones in the long form."""
        time.sleep(self.rng.uniform(least, most_long if IS_LONG and most_long else most))

    def few(self, count, count_long):
        return count_long if IS_LONG else count

    def wait_change(self, host, seconds=LONG):
        """Until the metadata can be changed at that node."""
        serial = iter(range(100000))

        def can():
            return host.ctl("-q", "add_user", "probe-%d" % next(serial), "p").returncode == 0
        wait_until(can, "a change at %s" % host.name, seconds)

    def wait_cut_off(self, host, seconds=LONG):
        """Until the node knows that it is alone: it refuses changes then, and says whom it waits
        for. At first that is a leader, as long as no link is known to be lost."""
        wait_until(lambda: re.search("majority.*(missing:|it waits for) rabbit@",
                                     host.ctl("-q", "add_user", "nobody", "p").stderr),
                   "a refusal of %s" % host.name, seconds)

    def wait_missed(self, host, by, seconds=LONG):
        wait_until(lambda: host.node not in by.status()["running_nodes"],
                   "%s is missed" % host.name, seconds)
