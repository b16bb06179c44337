"""A mirror behind a narrow link: who publishes goes on without it, and confirms wait."""

import json
import re

from harness.waits import LONG, wait_until
from lab.case import LOCAL, NetCase

TARGETS = ("broker",)
BARE = True

BODY = bytes(32 * 1024)
COUNT = 6144  # 192 MiB: some times what a master has under way to a mirror
A_SECOND = 512 * 1024  # octets that pass: in ten seconds less than what is under way


class Narrow(NetCase):
    def mirrored(self):
        """A queue at the first host, with a mirror at the second."""
        hosts = self.cluster()
        home, mirror = list(hosts)[:2]
        self.ctl(home, "set_policy", "ha", "^m", json.dumps(
            {"ha-mode": "nodes", "ha-params": [home.node, mirror.node],
             "ha-sync-mode": "automatic"}))
        ch = self.channel_at(home)
        ch.declare("m", durable=True, arguments=LOCAL)
        wait_until(lambda: self.in_sync(home) == [mirror.node], "a mirror in sync", LONG)
        return home, mirror, ch

    def in_sync(self, host):
        """The nodes of the queue's mirrors that are in sync."""
        rows = self.ctl(host, "-q", "list_queues", "name", "synchronised_slave_pids")
        return re.findall(r"<([^.>]+@[^.>]+)\.", re.search("^m\t.*$", rows, re.MULTILINE).group())

    def test_publishes_do_not_wait_for_it(self):
        home, mirror, ch = self.mirrored()
        self.hosts.net.narrow_to(A_SECOND, home.machine, mirror.machine)
        for _ in range(COUNT):
            ch.publish("", "m", BODY, {"delivery_mode": 2})
        wait_until(lambda: ch.declare("m", passive=True, durable=True).message_count == COUNT,
                   "all of them in the queue", LONG)
        self.assertEqual(self.in_sync(home), [mirror.node],
                         "they waited until it was so late that it was taken out")
        self.hosts.net.heal()
        ch.call("confirm.select")
        ch.publish("", "m", b"last", {"delivery_mode": 2})
        ch.expect("basic.ack", LONG)  # the mirror has all that came before, too, if it is in sync
        wait_until(lambda: self.in_sync(home) == [mirror.node], "a mirror in sync", LONG)
        home.kill()
        there = self.channel_at(mirror)
        wait_until(lambda: there.declare("m", passive=True, durable=True).message_count == COUNT + 1,
                   "all of them at the mirror", LONG)
        there.conn.close()
        home.start()
        self.check_end()
