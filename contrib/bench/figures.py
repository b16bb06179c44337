"""What the figures of clusters are made with: nodes to measure, somebody who asks them, a table.

A script says `figures.prepare(build)` first, for the harness of the end-to-end tests looks for the
programs when it is loaded; then it derives its rows from Figures and calls figures.main.
"""

import json
import os
import re
import selectors
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tests", "e2e"))
sys.dont_write_bytecode = True

LOCAL = {"x-queue-master-locator": "client-local"}
PATIENCE_S = 60
PAUSE_S = 0.0005  # between two looks
KIB = 1024

client = cluster = ports = procs = servers = waits = wire = None


def prepare(build):
    """The programs of this build are measured."""
    os.environ["WARREN_BUILD"] = os.path.abspath(build)
    global client, cluster, ports, procs, servers, waits, wire
    import wire
    from harness import client, cluster, ports, procs, servers, waits


def percentile(values, share):
    """The value that so large a share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


class Row:
    """A line of the table: a claim, the figure required, what was measured, and whether it holds."""

    def __init__(self, what, required, measured, ratio, beside):
        self.what, self.required, self.measured = what, required, measured
        self.ratio = ratio  # measured / limit, such that at most 1 is good; None: not judged
        self.beside = beside


# ---- those who ask -------------------------------------------------------------------------------


class Asker:
    """A connection to a node, over which one question after the other is asked."""

    def __init__(self, node):
        self.node = node
        self.conn = None
        self.channel = None

    def open(self):
        self.drop()
        self.conn = client.Conn(self.node.address, hello=False)
        self.conn.handshake()
        self.channel = self.conn.channel()
        return self

    def drop(self):
        if self.conn is not None:
            self.conn.sock.close()
        self.conn = self.channel = None

    def ask(self, method, **args):
        """The answer; None when it was refused, or nobody is there (any more)."""
        try:
            if self.channel is None:
                self.open()
            self.channel.send(method, **args)
            answer = self.channel.next(PATIENCE_S)
            if not answer.name.endswith("close"):
                return answer
            self.channel = self.conn.channel() if answer.name == "channel.close" else None
        except (OSError, client.Eof, wire.WireError, TimeoutError):
            self.drop()
        return None

    def declare(self, queue, **args):
        return self.ask("queue.declare", queue=queue, **args) is not None

    def has(self, queue):
        return self.declare(queue, passive=True)


class Crowd:
    """Connections that declare queues as fast as they are answered; one question a channel."""

    def __init__(self, nodes, connections, channels, name, **args):
        self.poll = selectors.DefaultSelector()
        self.name, self.args, self.sent, self.answered = name, args, 0, 0
        self.times = []
        self.conns = [client.Conn(nodes[i % len(nodes)].address, hello=False)
                      for i in range(connections)]
        for conn in self.conns:
            conn.handshake()
            for _ in range(channels):
                conn.channel()
            conn.rest, conn.since = b"", {}
            self.poll.register(conn.sock, selectors.EVENT_READ, conn)
        self.channels = channels

    def ask(self, conn, channels, most):
        out = []
        now = time.monotonic()
        for channel in channels:
            if self.sent == most:
                break
            out.append(wire.method_frame(channel, "queue.declare",
                                         queue="%s%d" % (self.name, self.sent), **self.args))
            conn.since[channel] = now
            self.sent += 1
        if out:
            conn.sock.settimeout(PATIENCE_S)
            conn.sock.sendall(b"".join(out))

    def take(self, conn):
        """Channels that were answered."""
        data, at, channels = conn.rest + conn.sock.recv(1 << 18), 0, []
        now = time.monotonic()
        while len(data) - at >= wire.FRAME_OVERHEAD:
            size = int.from_bytes(data[at + 3:at + 7], "big")
            if len(data) - at < size + wire.FRAME_OVERHEAD:
                break
            if data[at] == wire.FRAME_METHOD:
                if data[at + 7:at + 11] != b"\0\x32\0\x0b":  # queue.declare_ok
                    raise AssertionError("declaring: %r came" % data[at:at + 200])
                channel = int.from_bytes(data[at + 1:at + 3], "big")
                self.times.append(now - conn.since[channel])
                self.answered += 1
                channels.append(channel)
            at += size + wire.FRAME_OVERHEAD
        conn.rest = data[at:]
        return channels

    def run(self, seconds=None, count=None):
        """How many a second. With a count all that was asked is answered, when the time is over,
        too."""
        begin = time.monotonic()
        for conn in self.conns:
            self.ask(conn, range(1, self.channels + 1), count)
        while self.answered != count:
            if seconds is not None and time.monotonic() - begin > seconds:
                if count is None:
                    break
                count = self.sent
            ready = self.poll.select(PATIENCE_S)
            if not ready:
                raise AssertionError("declaring: no answer in %d s" % PATIENCE_S)
            for key, _ in ready:
                self.ask(key.data, self.take(key.data), count)
        return self.answered / (time.monotonic() - begin)

    def end(self):
        self.poll.close()
        for conn in self.conns:
            conn.sock.close()


# ---- the servers ---------------------------------------------------------------------------------


def admin(proxy, command):
    """What a proxy says on its socket."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(proxy.socket_path)
        s.sendall(command.encode() + b"\n")
        out = b""
        while chunk := s.recv(65536):
            out += chunk
    return out.decode()


def table_of(proxy):
    """Figures of a proxy's table of queues."""
    line = [t for t in admin(proxy, "show gossip").splitlines() if t.startswith("table ")]
    return {k: v for k, v in (word.split("=") for word in line[0].split()[1:])} if line else {}


def rss(server):
    return server.proc.rss_kb() * KIB


class Site:
    """A cluster, perhaps with a proxy, in a folder of its own."""

    def __init__(self, nodes=3, proxy=False, conf=None):
        self.folder = tempfile.mkdtemp(prefix="warren-figures-")
        conf = servers.merged({"limits": {"memory-high-watermark": "8G"},
                               "log": {"level": "info"}}, conf)
        self.cluster = cluster.Cluster(self.folder, nodes, conf)
        for n in self.cluster.nodes:
            n.conf["node"].pop("threads")  # what a user has
        self.nodes = self.cluster.nodes
        self.proxy = None
        self.with_proxy = proxy

    def start(self):
        self.cluster.start()
        if self.with_proxy:
            self.proxy = servers.Proxy(
                os.path.join(self.folder, "proxy"), self.nodes,
                conf={"global": {"cookie-file": self.cluster.path("cookie"),
                                 "gossip": "127.0.0.1:%d" % ports.free_port(),
                                 "gossip-seed": ", ".join("127.0.0.1:%d" % n.cluster_port
                                                          for n in self.nodes)}}).start()
            self.wait("the proxy's table", lambda: table_of(self.proxy).get("fresh") == "yes")
        return self

    def wait(self, what, condition, pause=PAUSE_S, seconds=PATIENCE_S):
        return waits.wait_until(condition, what, seconds, pause)

    def leader(self):
        """The living node that says so with the highest term."""
        best, found = -1, None
        for n in self.nodes:
            terms = re.findall(rb"this node leads the cluster term=(\d+)", n.proc.log_bytes())
            if n.proc.alive() and terms and int(terms[-1]) > best:
                best, found = int(terms[-1]), n
        if found is None:
            raise AssertionError("nobody leads")
        return found

    def others(self, *nodes):
        return [n for n in self.nodes if n not in nodes]

    def end(self):
        if self.proxy is not None and self.proxy.proc.alive():
            self.proxy.proc.kill()
        for n in self.nodes:
            if n.proc is not None and n.proc.alive():
                n.proc.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Figures:
    """Rows, and the sites that they measure."""

    def __init__(self, args):
        self.args = args
        self.rows, self.raw, self.sites = [], {}, []

    def site(self, *args, **kw):
        site = Site(*args, **kw)
        self.sites.append(site)
        return site

    def end(self, site):
        self.sites.remove(site)
        site.end()

    def row(self, what, required, measured, ratio, *beside):
        self.rows.append(Row(what, required, measured, ratio, beside))
        print("  %-58s %-18s %-14s %s" % (what, required, measured, "; ".join(beside)), flush=True)

    def below(self, what, limit, unit, value, *beside, form="%.3g"):
        self.raw.setdefault(what, []).append(value)
        self.row(what, "under %g %s" % (limit, unit), (form + " %s") % (value, unit), value / limit,
                 *beside)

    def above(self, what, limit, unit, value, *beside):
        self.raw.setdefault(what, []).append(value)
        show = "%s%s" % ("{:,.0f}".format(value) if limit > 10 else "%.2f" % value, unit)
        self.row(what, "{:,g}{}".format(limit, unit), show,
                 limit / value if value else float("inf"), *beside)

    # -- the load generator

    def bench(self, ports, pids, *options, mode="run"):
        """The load generator, started; `pids` are those whose CPU time counts."""
        command = [os.path.join(servers.BUILD, "contrib", "bench", "warren-bench"), mode, "--json",
                   "--host", ",".join("127.0.0.1:%d" % p for p in ports), "--interval", "0",
                   "--pid", ",".join(str(p) for p in pids), *options]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def result(self, bench):
        out, err = bench.communicate()
        if bench.returncode not in (0, 1):  # 1: a publisher alone sees nothing of its own again
            raise AssertionError("warren-bench: exit %d %s %s" % (bench.returncode, err.strip(),
                                                                  out.strip()[-300:]))
        return json.loads(out)

    # -- the table

    def run(self):
        for name in self.args.rows.split(","):
            print(name, flush=True)
            try:
                getattr(self, "row_" + name)()
            except (AssertionError, OSError, KeyError) as e:
                self.row(name, "to be measured", "failed", float("inf"), str(e)[:300])

    def table(self):
        lines = ["| what | required | measured | of what is allowed | beside it | |",
                 "| --- | --- | --- | --- | --- | --- |"]
        for r in self.rows:
            verdict = "" if r.ratio is None else ("yes" if r.ratio <= 1 else "**no**")
            ratio = "" if r.ratio is None else "%.2f" % r.ratio
            lines.append("| %s | %s | %s | %s | %s | %s |" % (
                r.what, r.required, r.measured, ratio, "; ".join(r.beside), verdict))
        return "\n".join(lines)


def arguments(parser, rows):
    """What all of these scripts understand; the build is prepared."""
    parser.add_argument("build", nargs="?", default=os.path.join(HERE, "..", "..", "build"))
    parser.add_argument("--rows", default=",".join(rows))
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    unknown = set(args.rows.split(",")) - set(rows)
    if unknown:
        parser.error("no such row: " + ", ".join(sorted(unknown)))
    prepare(args.build)
    return args


def main(figures):
    """Measures, shows, ends what is left; the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    before, code, begin = os.getloadavg()[0], 0, time.monotonic()
    try:
        figures.run()
    except KeyboardInterrupt:
        code = 130
    finally:
        for site in list(figures.sites):
            figures.end(site)
    print("\n%d cores, load average %.2f before and %.2f after, %.0f s\n" % (
        os.cpu_count(), before, os.getloadavg()[0], time.monotonic() - begin))
    print(figures.table())
    if figures.args.json:
        with open(figures.args.json, "w", encoding="ascii") as f:
            json.dump(figures.raw, f, indent=1)
    judged = [r for r in figures.rows if r.ratio is not None]
    good = sum(r.ratio <= 1 for r in judged)
    print("%d passed, %d failed" % (good, len(judged) - good))
    return code or (0 if good == len(judged) else 1)
