"""Servers to test: RabbitMQ as the yardstick, warren-broker, warren-proxy."""

import glob
import os
import signal
import socket

from harness import ports, procs
from harness.client import Conn, Eof
from harness.waits import LONG, SOON, wait_until
from wire import WireError

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "..", "..", ".."))
BUILD = os.environ.get("WARREN_BUILD", os.path.join(ROOT, "build"))
BROKER_BIN = os.path.join(BUILD, "broker", "warren-broker")
CTL_BIN = os.path.join(BUILD, "broker", "warrenctl")
PROXY_BIN = os.path.join(BUILD, "proxy", "warren-proxy")


def ini(sections):
    """{"node": {"threads": 1}} as text. A list as a value gives a line for each element; a
    list of pairs as a section keeps its order and its repeated keys."""
    lines = []
    for section, keys in sections.items():
        lines.append("[%s]" % section)
        for key, value in keys.items() if isinstance(keys, dict) else keys:
            values = value if isinstance(value, (list, tuple)) else [value]
            lines += ["%s = %s" % (key, v) for v in values]
        lines.append("")
    return "\n".join(lines)


def merged(base, extra):
    """`base` with `extra`'s sections laid over it, key by key; None takes a key away."""
    out = {section: dict(keys) for section, keys in base.items()}
    for section, keys in (extra or {}).items():
        out.setdefault(section, {}).update(keys)
        out[section] = {k: v for k, v in out[section].items() if v is not None}
    return out


def write(path, content):
    with open(path, "w") as f:
        f.write(content)
    return path


# A PROXY header, version 2: from 127.0.0.1 port 1 to 127.0.0.1 port 5672.
PROXY_LOOPBACK = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\0\0\1\x7f\0\0\1\0\1\x16\x28"


def answers(address, before=b""):
    """Whether an AMQP server there lets guest in."""
    try:
        conn = Conn(address, hello=False, before=before)
    except OSError:
        return False
    try:
        conn.handshake()
        conn.close()
        return True
    except (OSError, Eof, TimeoutError, AssertionError, WireError):
        return False
    finally:
        conn.sock.close()


def listens(address):
    try:
        socket.create_connection(address, SOON).close()
    except OSError:
        return False
    return True


class Server:
    """What all servers share: a folder, an address, a process, an end."""

    proc = None
    before = b""  # what a connection starts with

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        os.makedirs(folder, exist_ok=True)
        self.port = ports.free_port()
        self.address = ("127.0.0.1", self.port)
        self.dead = []  # processes of earlier lives, judged at the end too

    def path(self, leaf):
        return os.path.join(self.folder, leaf)

    def wait_ready(self):
        def ready():
            if not self.proc.alive():
                raise AssertionError("%s did not start, status %s:\n%s" % (
                    self.name, self.proc.popen.poll(), self.proc.log_tail()))
            return answers(self.address, self.before) and all(
                listens(a) for a in self.others())
        wait_until(ready, "%s ready at port %d" % (self.name, self.port), LONG)

    def others(self):
        """Addresses that open beside the one for clients, perhaps a moment later."""
        return []

    def restart(self):
        """A new life at the same address, after a stop or a kill."""
        self.dead.append(self.proc)
        self.start()

    def complaints(self):
        return [c for p in self.dead + [self.proc] if p for c in p.complaints()]


class Broker(Server):
    """One warren-broker. `conf` is laid over the harness's own configuration."""

    def __init__(self, folder, name="rabbit1", conf=None):
        super().__init__(folder, name)
        self.conf = merged({
            "node": {"threads": 1},
            "listen": {"amqp": "127.0.0.1:%d" % self.port,
                       "management": "127.0.0.1:%d" % ports.free_port(),
                       "cluster": "127.0.0.1:%d" % ports.free_port()},
            "limits": {},
            "store": {"segment-size": "4M"},  # half of what a start costs is to make three of them
            "auth": {"hash-rounds": "1000"},  # the default takes valgrind seconds
            "log": {"target": "stderr", "level": "info"},
        }, conf)
        self.conf_path = self.path("warren-broker.conf")
        self.before = PROXY_LOOPBACK if "proxy-protocol" in self.conf["listen"] else b""

    def others(self):
        host, _, port = self.conf.get("listen", {}).get("management", "").rpartition(":")
        return [(host, int(port))] if host == "127.0.0.1" else []

    def argv(self, *more):
        return [BROKER_BIN, "-c", self.conf_path, "-n", self.name + "@localhost",
                "--data-dir", self.path("data"), *more]

    def env(self):
        env = procs.sanitizer_env()
        env["WARREN_RUN_DIR"] = self.path("run")
        env["HOME"] = self.folder  # the cookie's default place
        return env

    def start(self, ready=True):
        os.makedirs(self.path("run"), exist_ok=True)
        write(self.conf_path, ini(self.conf))
        self.proc = procs.Proc(self.argv(), self.path("broker.log"), env=self.env(), wrap=True)
        if ready:
            self.wait_ready()
        return self

    def stop(self):
        return self.proc.stop()

    def ctl(self, *args, **kw):
        """warrenctl, about this broker unless the arguments name another node."""
        return procs.run([CTL_BIN, *args], env=self.env(), **kw)


class Proxy(Server):
    """One warren-proxy before `brokers`. Sections in `conf` are laid over its configuration;
    `server_opts` go to every server line."""

    def __init__(self, folder, brokers, conf=None, server_opts="", balance="roundrobin"):
        super().__init__(folder, "proxy")
        self.stats_port = ports.free_port()
        self.socket_path = self.path("proxy.sock")
        self.conf_path = self.path("warren-proxy.conf")
        servers = ["%s 127.0.0.1:%d check %s" % (b.name, b.port, server_opts) for b in brokers]
        self.conf = merged({
            "global": {"nbthread": 1, "stats-socket": self.socket_path + " mode 600"},
            "defaults": {"timeout-connect": "2s", "timeout-handshake": "10s",
                         "option": "amqp-check"},
            "frontend amqp": {"bind": "127.0.0.1:%d" % self.port, "default_backend": "rabbits"},
            "backend rabbits": {
                "balance": balance,
                "default-server": "check inter 100ms fastinter 50ms fall 2 rise 1",
                "server": [s.strip() for s in servers]},
            "listen stats": {"bind": "127.0.0.1:%d" % self.stats_port, "mode": "http",
                             "stats-uri": "/stats"},
        }, conf)

    def argv(self, *more):
        return [PROXY_BIN, "-f", self.conf_path, *more]

    def write_conf(self):
        return write(self.conf_path, ini(self.conf))

    def start(self, ready=True):
        self.write_conf()
        self.proc = procs.Proc(self.argv(), self.path("proxy.log"), wrap=True)
        if ready:
            self.wait_ready()
        return self

    def stop(self):
        return self.proc.stop()


class Rabbit(Server):
    """A private RabbitMQ: own node name, ports, epmd and folders; nothing collides."""

    def __init__(self, folder, name="rabbit", conf=(),
                 plugins=("rabbitmq_consistent_hash_exchange",), advanced="[].\n"):
        super().__init__(folder, name)
        self.conf, self.plugins, self.advanced = list(conf), plugins, advanced
        self.before = PROXY_LOOPBACK if "proxy_protocol = true" in self.conf else b""
        self.epmd_port, self.dist_port = ports.free_port(), ports.free_port()
        self.epmd = None

    @staticmethod
    def home():
        found = sorted(glob.glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*"))
        if not found:
            raise AssertionError("no RabbitMQ here (apt-get install rabbitmq-server)")
        return found[-1]

    def env(self):
        return dict(
            os.environ, HOME=self.folder, RABBITMQ_NODENAME="e2e%d@localhost" % self.port,
            ERL_EPMD_PORT=str(self.epmd_port), ERL_EPMD_ADDRESS="127.0.0.1",
            RABBITMQ_DIST_PORT=str(self.dist_port), RABBITMQ_LOGS="-",
            RABBITMQ_MNESIA_BASE=self.path("mnesia"), RABBITMQ_LOG_BASE=self.path("log"),
            RABBITMQ_CONFIG_FILE=self.path("rabbitmq.conf"), RABBITMQ_CONF_ENV_FILE="/dev/null",
            RABBITMQ_ADVANCED_CONFIG_FILE=self.path("advanced.config"),
            RABBITMQ_ENABLED_PLUGINS_FILE=self.path("enabled_plugins"),
            RABBITMQ_PID_FILE=self.path("pid"))

    def start(self, ready=True):
        listen = ["listeners.tcp.1 = 127.0.0.1:%d" % self.port, "log.console.level = info"]
        write(self.path("rabbitmq.conf"), "\n".join(listen + self.conf) + "\n")
        write(self.path("advanced.config"), self.advanced)
        write(self.path("enabled_plugins"), "[%s].\n" % ",".join(self.plugins))
        # Ours is there first, so that the node does not leave a daemon of its own behind.
        self.epmd = procs.Proc(["epmd", "-port", str(self.epmd_port), "-address", "127.0.0.1"],
                               self.path("epmd.log"))
        server = os.path.join(self.home(), "sbin", "rabbitmq-server")
        self.proc = procs.Proc([server], self.path("rabbit.log"), env=self.env())
        self.proc.tolerated = self.epmd.tolerated = True
        if ready:
            self.wait_ready()
        return self

    def stop(self):
        status = self.proc.stop()
        self.epmd.popen.kill()
        self.epmd.popen.wait()
        return 0 if status in (0, 143, -signal.SIGTERM) else status

    def ctl(self, *args):
        out = procs.run([os.path.join(self.home(), "sbin", "rabbitmqctl"), "-q", *args],
                        LONG, env=self.env())
        if out.returncode:
            raise AssertionError("rabbitmqctl %s: %s" % (args, out.stderr))
        return out.stdout


def is_instrumented(*tools):
    """Whether the broker was built with one of these ("asan", "tsan"), or runs under a wrapper:
    then its memory says nothing about the program."""
    with open(BROKER_BIN, "rb") as f:
        image = f.read()
    return any(b"__%s_init" % t.encode() in image for t in tools or ("asan", "tsan")) or \
        bool(os.environ.get("WARREN_WRAP"))


def missing_binaries(target):
    """Programs that `target` needs and that are not there."""
    need = {"broker": [BROKER_BIN], "threads": [BROKER_BIN], "proxy": [BROKER_BIN, PROXY_BIN],
            "remote": [BROKER_BIN, CTL_BIN], "rabbitmq": []}[target]
    return [b for b in need if not os.access(b, os.X_OK)]
