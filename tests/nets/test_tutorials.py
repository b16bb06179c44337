"""What the tutorials type, on machines of their own, at the usual ports, with names in /etc/hosts."""

import os
import shutil
import time

from harness.waits import LONG, SCALE, wait_until
from lab.case import NetCase

TARGETS = ("broker",)
BARE = True
NO_HANG_S = 60 * SCALE  # a name that leads nowhere is given up; TCP alone takes minutes


class Typed(NetCase):
    def says(self, host, *args, lines):
        said = self.ctl(host, *args).splitlines()
        for line in lines:
            self.assertIn(line, said)

    def join(self, host, to):
        self.says(host, "stop_app", lines=["Stopping node %s ..." % host.node, "...done."])
        self.says(host, "reset", lines=["Resetting node %s ..." % host.node, "...done."])
        self.says(host, "join_cluster", to, lines=["Clustering node %s with %s ..." % (
            host.node, to), "...done."])
        self.says(host, "start_app", lines=["Starting node %s ..." % host.node, "...done."])

    def view(self, host, disc, ram=(), running=None):
        """In the old shape, the same from every node."""
        names = ",".join("rabbit@" + n for n in disc)
        parts = ["{disc,[%s]}" % names] + (
            ["{ram,[%s]}" % ",".join("rabbit@" + n for n in ram)] if ram else [])
        runs = ",".join("rabbit@" + n for n in running or sorted([*disc, *ram]))
        want = "[{nodes,[%s]},\n {running_nodes,[%s]}," % (",".join(parts), runs)
        wait_until(lambda: want in self.ctl(host, "cluster_status", "--formatter", "erlang"),
                   want, LONG)


class Commands(Typed):
    def test_three_are_joined_by_hand(self):
        one, two, three = self.cluster(seeds=False)
        self.join(two, "rabbit@rabbit1")
        self.join(three, "rabbit@" + two.machine.ip)  # by its address, too
        for h in self.hosts:
            self.view(h, ["rabbit1", "rabbit2", "rabbit3"])
        # Declared here, listed there at once.
        for h in self.hosts:
            self.channel_at(h).declare("of-" + h.name, durable=True)
            for other in self.hosts:
                self.assertIn("of-" + h.name, self.ctl(other, "-q", "list_queues", "name"))
        # Another node's status by its name, from any machine.
        self.assertIn("Status of node rabbit@rabbit1 ...",
                      self.ctl(three, "-n", "rabbit@rabbit1", "status"))
        said = self.ctl(one, "status")
        for port in ("5672, protocol: amqp", "15672, protocol: http", "25672, protocol: clustering"):
            self.assertIn("port: " + port, said)
        self.check_end()

    def test_status_has_an_exit_status(self):
        one, = self.cluster(1)
        self.ctl(one, "status")
        self.assertEqual(one.stop(), 0)
        self.assertEqual(self.refused(one, "status")[0], 69)

    def test_a_database_that_was_moved_away(self):
        """It starts as a new node, and the cycle makes it a member again."""
        one, two, three = self.cluster(seeds=False)
        for h in (two, three):
            self.join(h, "rabbit@rabbit1")
        self.wait_one_cluster()
        self.ctl(one, "add_user", "theirs", "secret")
        three.kill()
        shutil.move(three.path("data"), three.path("data-away"))
        three.start()
        self.assertNotIn("theirs", self.ctl(three, "list_users"))
        self.join(three, "rabbit@rabbit1")
        self.assertIn("theirs", self.ctl(three, "list_users"))
        self.check_end()

    def test_a_ram_node_and_the_disc_nodes_it_knows(self):
        """Told of one that is down it finds nobody, and says whom it waits for; of two it does."""
        one, two, ram = self.cluster(seeds=False)
        for order in (["stop_app"], ["reset"], ["join_cluster", one.node, "--ram"], ["start_app"]):
            self.ctl(ram, *order)
        self.view(one, ["rabbit1"], ["rabbit3"])
        one.kill()
        ram.kill()
        ram.start(ready=False)
        ram.proc.wait_log(rb"waits for .*rabbit@rabbit1", LONG)
        one.start()
        ram.wait_ready()
        self.join(two, one.node)
        self.view(ram, ["rabbit1", "rabbit2"], ["rabbit3"])
        self.wait_one_cluster()
        ram.kill()
        self.assertEqual(one.stop(), 0)
        ram.start()
        self.view(ram, ["rabbit1", "rabbit2"], ["rabbit3"], ["rabbit2", "rabbit3"])
        one.start()
        self.check_end()

    def test_names_that_lead_nowhere(self):
        one, two = self.cluster(2, seeds=False)
        self.ctl(two, "stop_app")
        with open(self.hosts.net.hosts, "a") as f:
            f.write("%s elsewhere\n" % self.hosts.net.machines[0].ip.replace(".1", ".99"))
        for name, why in (("nowhere", 'host name "nowhere"'), ("elsewhere", "elsewhere:25672")):
            start = time.monotonic()
            status, said = self.refused(two, "join_cluster", "rabbit@" + name)
            self.assertLess(time.monotonic() - start, NO_HANG_S)
            self.assertEqual(status, 69)
            self.assertIn("no cluster was joined: ", said)
            self.assertIn(why, said)
        self.ctl(two, "join_cluster", one.node)
        self.ctl(two, "start_app")
        self.check_end()

    def test_a_witness_refuses_what_is_not_for_it(self):
        hosts = self.cluster(2, start=False)
        w = self.add_host(conf={"node": {"type": "witness"},
                                "listen": {"amqp": "none", "management": "none"}})
        hosts.seed(hosts.all)
        hosts.start()
        one, two, _ = hosts
        wait_until(lambda: w.node in self.ctl(one, "cluster_status"), "the witness", LONG)
        self.ctl(w, "stop_app")
        for order in (["reset"], ["force_reset"], ["join_cluster", two.node]):
            self.assertIn("witness", self.refused(w, *order)[1])
        self.assertIn("a witness stays one", self.refused(w, "change_cluster_node_type", "ram")[1])
        self.ctl(w, "start_app")
        self.assertEqual(w.stop(), 0)
        self.ctl(one, "forget_cluster_node", w.node)
        self.check_end([one, two])


class Cookie(Typed):
    def test_another_one_is_refused_by_both(self):
        one, two = self.cluster(2, seeds=False, start=False)
        two.set_cookie(self.hosts.cookie[:-1] + b"S")
        self.hosts.start()
        self.ctl(one, "add_user", "theirs", "secret")
        self.ctl(two, "stop_app")
        self.assertIn("cookie", self.refused(two, "join_cluster", one.node)[1])
        one.proc.wait_log(rb"refused.*cookie", LONG)
        self.assertIn("cookie", self.refused(two, "-n", one.node, "list_users")[1])
        self.assertNotIn("theirs", two.log_text())
        # Stop, replace, start.
        self.assertEqual(two.stop(), 0)
        two.set_cookie(self.hosts.cookie)
        two.start()
        self.join(two, one.node)
        self.check_end()

    def does_not_start(self, host, why):
        host.start(ready=False)
        self.assertNotEqual(host.proc.wait(LONG), 0)
        host.proc.tolerated = True
        self.assertRegex(host.proc.log_tail(), why)

    def test_its_file_is_what_it_must_be(self):
        one, = self.cluster(1, start=False)
        for end in (b"\n", b"\r\n"):
            one.set_cookie(self.hosts.cookie + end)
            self.does_not_start(one, "echo -n")
        one.set_cookie(self.hosts.cookie, 0o644)
        self.does_not_start(one, "[Cc]ookie file .*must be accessible by owner only")
        one.set_cookie(self.hosts.cookie)
        one.start()
        self.check_end()

    def test_a_change_counts_from_the_next_start_on(self):
        one, two, three = self.cluster()
        three.set_cookie(b"another-cookie-of-more-than-twenty")
        self.hosts.net.isolate(three.machine)
        self.wait_missed(three, one)
        self.hosts.net.heal()  # all links are made anew
        self.wait_one_cluster()
        self.assertEqual(three.stop(), 0)
        three.start(ready=False)
        three.proc.wait_log(rb"cookie", LONG)
        self.assertFalse(three.is_serving())
        three.kill()
        three.set_cookie(self.hosts.cookie)
        three.start()
        self.check_end()

    def test_a_cloned_machine_brings_it_along(self):
        one, two = self.cluster(2, seeds=False, start=False)
        one.start()
        self.ctl(one, "add_user", "theirs", "secret")
        self.assertEqual(one.stop(), 0)
        shutil.copytree(one.path("data"), two.path("data"))
        shutil.copy2(one.path(".warren.cookie"), two.path("clone"))
        os.replace(two.path("clone"), two.path(".warren.cookie"))
        self.hosts.start()
        self.join(two, one.node)
        self.assertIn("theirs", self.ctl(two, "list_users"))
        self.check_end()
