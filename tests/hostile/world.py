"""The servers under attack, their neighbour, and how we tell that both are well."""

import json
import multiprocessing
import os
import re
import struct
import subprocess
import time
import urllib.request

from harness import ports, servers
from harness.client import Conn
from harness.waits import SCALE, wait_until

WAIT_MAX_S = 60.0 * SCALE  # a neighbour's longest wait; the machine is shared, and sanitizers slow
GROWTH_MAX = 1.25          # of resident memory, from after the first round to the end,
GROWTH_SLACK_KB = 64 * 1024  # and a little


# ---- the neighbour ------------------------------------------------------------------------------

def neighbour_main(address, name, pipe):
    """Publishes numbered messages with confirms and acknowledges what it receives: one by one, in
    order, none missing, none twice. Says on demand how many, and the longest wait."""
    try:
        conn = Conn(address)
        ch = conn.channel()
        ch.call("confirm.select")
        queue = ch.call("queue.declare", queue=name, durable=True).queue
        ch.call("basic.consume", queue=queue, consumer_tag="n")
        count, longest = 0, 0.0
        while True:
            begin = time.monotonic()
            ch.publish(key=queue, body=struct.pack(">Q", count), props={"delivery_mode": 2})
            seen = {}
            while len(seen) < 2:
                event = conn.next(1, WAIT_MAX_S)
                seen[event.name] = event
                if event.name not in ("basic.deliver", "basic.ack"):
                    raise AssertionError("the neighbour is told %r" % event)
            if seen["basic.deliver"].body != struct.pack(">Q", count):
                raise AssertionError("message %d expected, %r came" % (count, seen))
            ch.send("basic.ack", delivery_tag=seen["basic.deliver"].delivery_tag)
            count, longest = count + 1, max(longest, time.monotonic() - begin)
            if pipe.poll(0.02):
                word = pipe.recv()
                pipe.send((count, longest))
                longest = 0.0
                if word == "end":
                    ch.call("queue.delete", queue=queue)
                    conn.close()
                    return
    except Exception as e:
        pipe.send("%s: %s" % (type(e).__name__, e))


class Neighbour:
    def __init__(self, address, name):
        self.name = name
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=neighbour_main, args=(address, name, theirs),
                                               daemon=True)
        self.process.start()
        theirs.close()
        self.longest = 0.0

    def ask(self, word="well?"):
        """(messages so far, the longest wait since the last question), or AssertionError."""
        try:
            self.pipe.send(word)
            said = self.pipe.recv() if self.pipe.poll(2 * WAIT_MAX_S) else "it answers no more"
        except (OSError, EOFError) as e:
            said = "it is gone: %s" % e
        if isinstance(said, str):
            raise AssertionError("neighbour at the %s: %s" % (self.name.split("-")[1], said))
        if said[1] > WAIT_MAX_S:
            raise AssertionError("%s waited %.1f s" % (self.name, said[1]))
        self.longest = max(self.longest, said[1])
        return said


# ---- the servers --------------------------------------------------------------------------------

class World:
    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        # What is freed goes back soon, so that memory that grows is memory that is kept.
        os.environ["ASAN_OPTIONS"] = ":".join(filter(None, (
            "exitcode=99:detect_leaks=1", os.environ.get("ASAN_OPTIONS"), "quarantine_size_mb=8",
            "malloc_context_size=8", "allocator_release_to_os_interval_ms=500")))
        self.tls_port = ports.free_port()
        self.certify()
        self.broker = servers.Broker(os.path.join(folder, "rabbit1"), conf={
            "listen": {"amqps": "127.0.0.1:%d" % self.tls_port},
            "tls": {"cert": self.cert, "key": self.key}, "log": {"level": "error"}})
        # One that expects a PROXY header of everybody.
        self.proxied = servers.Broker(os.path.join(folder, "rabbit2"), name="rabbit2", conf={
            "listen": {"proxy-protocol": "127.0.0.0/8"}, "log": {"level": "error"}})
        self.proxy = servers.Proxy(os.path.join(folder, "proxy"), [self.broker])
        self.neighbours = []

    def certify(self):
        self.key, self.cert = (os.path.join(self.folder, leaf) for leaf in ("key", "crt"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                        "/CN=localhost", "-keyout", self.key, "-out", self.cert], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start(self):
        for server in (self.broker, self.proxied, self.proxy):
            server.start()
        self.neighbours = [Neighbour(self.broker.address, "neighbour-broker"),
                           Neighbour(self.proxy.address, "neighbour-proxy")]
        for n in self.neighbours:
            n.ask()
        self.fds = self.count_fds()

    def servers(self):
        return (self.proxy, self.broker, self.proxied)

    @property
    def management(self):
        host, _, port = self.broker.conf["listen"]["management"].rpartition(":")
        return host, int(port)

    @property
    def stats(self):
        return "127.0.0.1", self.proxy.stats_port

    def sockets(self):
        """Their Unix sockets: the proxy's runtime socket, the broker's for its CLI."""
        found = [self.proxy.socket_path]
        for at, _, leaves in os.walk(self.broker.folder):
            found += [os.path.join(at, leaf) for leaf in leaves if leaf.endswith(".sock")]
        return found

    # -- are they well? --------------------------------------------------------------------

    def check(self):
        """After every attack: alive, no report, the neighbours unharmed, newcomers let in."""
        for server in self.servers():
            if not server.proc.alive():
                raise AssertionError("%s ended: %s" % (server.name, server.proc.log_tail(60)))
            for complaint in server.complaints():
                raise AssertionError(complaint)
        for n in self.neighbours:
            n.ask()
        for server in (self.broker, self.proxy):
            wait_until(lambda: servers.answers(server.address), "%s lets newcomers in" %
                       server.name, WAIT_MAX_S)

    def count_fds(self):
        return {s.name: len(os.listdir("/proc/%d/fd" % s.proc.pid)) for s in self.servers()}

    def rss_kb(self):
        return {s.name: s.proc.rss_kb() for s in self.servers()}

    def api(self, path):
        request = urllib.request.Request("http://%s:%d/api/%s" % (self.management + (path,)), headers={
            "Authorization": "Basic Z3Vlc3Q6Z3Vlc3Q="})
        with urllib.request.urlopen(request, timeout=WAIT_MAX_S) as answer:
            return json.load(answer)

    def clean(self):
        """Everything that the attacks left behind goes: durable things are not growth."""
        conn = Conn(self.broker.address)
        for kind in ("queue", "exchange"):
            for row in self.api(kind + "s"):
                name = row["name"]
                if name.startswith(("neighbour", "amq.")) or not name:
                    continue
                ch = conn.channel()
                ch.send(kind + ".delete", **{kind: name})
                ch.next(WAIT_MAX_S)  # done, or gone meanwhile, or locked by one that still goes
                if conn.next_channel > 2000:
                    conn.close()
                    conn = Conn(self.broker.address)
        conn.close()

    def settle(self):
        """All attackers' connections have ended; wait until nothing of them is left."""
        self.clean()

        def same_fds():
            now = self.count_fds()
            return all(now[name] <= was + 2 for name, was in self.fds.items())
        try:
            wait_until(same_fds, "as many open files as before", 180 * SCALE, 0.2)
        except AssertionError:
            raise AssertionError("open files: %s at first, %s now" % (self.fds, self.count_fds())) \
                from None
        return self.rss_kb()

    def judge_growth(self, first, last):
        for name, before in first.items():
            most = before * GROWTH_MAX + GROWTH_SLACK_KB
            if last[name] > most:
                raise AssertionError("%s grew from %d to %d kB, at most %d" % (
                    name, before, last[name], most))

    def stop(self):
        """What was wrong with their lives, as a list."""
        wrong = []
        for n in self.neighbours:
            try:
                n.ask("end")
            except AssertionError as e:
                wrong.append(str(e))
            n.process.join(5)
        for server in self.servers():
            if server.proc:
                try:
                    server.stop()
                except AssertionError as e:
                    wrong.append(str(e))
                wrong += [re.sub(r"\s*$", "", c) for c in server.complaints()]
        return wrong
