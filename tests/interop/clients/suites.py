"""How each client library's suite is had, built and run; see `run` beside this file."""

import fnmatch
import glob
import json
import os
import re
import select
import shutil
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SHIMS = os.path.join(HERE, "shims")


class Missing(Exception):
    """It cannot be had here; the text says what and why."""


def run(argv, seconds, cwd=None, env=None):
    """(status or None when it took too long, its output)"""
    full = dict(os.environ, **(env or {}))
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=cwd,
                              stderr=subprocess.STDOUT, text=True, errors="replace", env=full,
                              timeout=seconds)
        return done.returncode, done.stdout
    except subprocess.TimeoutExpired as e:
        return None, (e.stdout or b"").decode(errors="replace")


def lines_of(argv, seconds, cwd=None, env=None):
    """A long command's lines as they come; the last one says so when time ran out."""
    full = dict(os.environ, **(env or {}))
    end = time.monotonic() + seconds
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=cwd,
                          stderr=subprocess.STDOUT, env=full) as child:
        rest = b""
        while True:
            left = end - time.monotonic()
            if left <= 0 or not select.select([child.stdout], [], [], left)[0]:
                child.kill()
                yield "(time) not over after %d s" % seconds
                return
            data = os.read(child.stdout.fileno(), 65536)
            if not data:
                break
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                yield line.decode(errors="replace")


def results_in(lines):
    """Results from lines `ok NAME`, `skip NAME`, `fail NAME: why`; the rest is talk."""
    other, count = [], 0
    for line in lines:
        found = re.match(r"(ok|fail|skip) (\S+?)(?:: (.*))?$", line)
        if found:
            count += 1
            yield found.group(2), found.group(1), found.group(3) or ""
        elif line.startswith("(time)"):
            yield "(suite)", "fail", line
        else:
            other.append(line)
    if not count:
        yield "(suite)", "fail", "no results: " + "\n".join(other)[-1000:]


class Suite:
    packages = {}  # Debian's package: a file of it
    source = None  # a Debian source package

    def __init__(self, cache, site, seconds):
        self.cache, self.site, self.seconds = cache, site, seconds

    # -- getting it ------------------------------------------------------------------------

    def fetch(self, install):
        absent = [p for p, path in self.packages.items() if not glob.glob(path)]
        if absent and install:
            run(["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", "install", "-y",
                 "--no-install-recommends"] + absent, 900, env={"DEBIAN_FRONTEND": "noninteractive"})
            absent = [p for p, path in self.packages.items() if not glob.glob(path)]
        if absent:
            raise Missing("not installed: %s (or run with --install)" % " ".join(absent))
        if self.source:
            self.folder = self.fetch_source(self.source)
        self.prepare()

    def prepare(self):
        pass

    def fetch_source(self, name):
        """The upstream source of a Debian package, unpacked: by apt-get, with lists of its own."""
        home = os.path.join(self.cache, "source", name)
        found = glob.glob(os.path.join(home, "unpacked", "*"))
        if found:
            return found[0]
        shutil.rmtree(home, ignore_errors=True)
        options = self.source_lists()
        os.makedirs(os.path.join(home, "unpacked"))
        _, out = run(["apt-get", "-q"] + options + ["source", "--download-only", "--tar-only",
                                                     name], 120, cwd=home)
        tars = glob.glob(os.path.join(home, "*.orig.tar.*"))
        if not tars:  # its status tells of further archives too, which we do not need
            shutil.rmtree(home)
            raise Missing("the source of %s cannot be had: %s" % (name, out.strip()[-300:]))
        subprocess.run(["tar", "-C", os.path.join(home, "unpacked"), "-xf", tars[0]], check=True)
        return glob.glob(os.path.join(home, "unpacked", "*"))[0]

    def source_lists(self):
        """apt-get's options for a deb-src list of our own; the system's stays as it is."""
        home = os.path.join(self.cache, "apt")
        os.makedirs(os.path.join(home, "lists", "partial"), exist_ok=True)
        listing = os.path.join(home, "sources.list")
        options = []
        for key, value in (("Dir::Etc::sourcelist", listing), ("Dir::Etc::sourceparts", "/dev/null"),
                           ("Dir::State::lists", os.path.join(home, "lists")),
                           ("Acquire::Languages", "none"), ("APT::Sandbox::User", "root")):
            options += ["-o", "%s=%s" % (key, value)]
        if not glob.glob(os.path.join(home, "lists", "*Sources*")):
            with open("/etc/os-release") as f:
                release = re.search(r"VERSION_CODENAME=(\w+)", f.read())
            with open(listing, "w") as f:
                f.write("deb-src http://deb.debian.org/debian %s main\n" % release.group(1))
            status, out = run(["apt-get", "-q"] + options + ["update"], 120)
            if not glob.glob(os.path.join(home, "lists", "*Sources*")):
                raise Missing("no list of source packages: %s" % out.strip()[-300:])
        return options

    # -- running it ------------------------------------------------------------------------

    def run(self, only):
        """Yields (test, "ok" | "fail" | "skip", why)."""
        self.fetch(False)
        yield from self.tests(only)


# ---- Go -----------------------------------------------------------------------------------------

class Go(Suite):
    """amqp091-go; the -dev package has its tests."""

    packages = {"golang-go": "/usr/bin/go", "golang-github-rabbitmq-amqp091-go-dev":
                "/usr/share/gocode/src/github.com/rabbitmq/amqp091-go/integration_test.go"}
    import_path = "github.com/rabbitmq/amqp091-go"

    def tests(self, only):
        env = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": "",
               "GOCACHE": os.path.join(self.cache, "go"), "AMQP_URL": "amqp://guest:guest@localhost/"}
        pattern = [] if only == "*" else ["-run", only]
        output, seen = {}, set()
        for line in lines_of(["go", "test", "-json", "-count=1", "-tags", "integration", "-timeout",
                              "5m"] + pattern + [self.import_path], 360, env=env):
            try:
                event = json.loads(line)
            except ValueError:
                output.setdefault(None, []).append(line)
                continue
            test, action = event.get("Test"), event["Action"]
            if action == "output":
                output.setdefault(test, []).append(event["Output"])
            elif test and action in ("pass", "fail", "skip"):
                seen.add(test)
                yield (test, {"pass": "ok"}.get(action, action), "".join(output.get(test, ()))[-600:])
            elif action == "fail" and not test:
                begun = [t for t in output if t and t not in seen]
                yield ("(package)" if not begun else begun[-1], "fail",
                       "".join(output.get(None, ()))[-800:])


# ---- Java ---------------------------------------------------------------------------------------

class Java(Suite):
    """RabbitMQ's Java client: its functional and server tests, which are RabbitMQ's own."""

    jars = {"librabbitmq-client-java": "amqp-client", "junit4": "junit4", "libhamcrest-java":
            "hamcrest-all", "libslf4j-java": "slf4j-nop", "libdropwizard-metrics-java":
            "metrics-core", "libmockito-java": "mockito-core", "libcommons-cli-java": "commons-cli"}
    packages = dict({p: "/usr/share/java/%s.jar" % jar for p, jar in jars.items()},
                    **{"openjdk-17-jdk-headless": "/usr/lib/jvm/*/bin/javac"})
    source = "rabbitmq-java-client"
    left_out = ("FunctionalTests", "ServerTests", "HATests",  # only lists of the others
                "ClusteredTestBase", "AbsentQueue", "EffectVisibilityCrossNodeTest")  # two nodes

    def prepare(self):
        self.out = os.path.join(self.cache, "java")
        jars = list(self.jars.values()) + ["slf4j-api"]
        self.classpath = ":".join(["/usr/share/java/%s.jar" % j for j in jars] + [self.out])
        if os.path.exists(os.path.join(self.out, "RunClasses.class")):
            return
        root = os.path.join(self.folder, "src", "test", "java")
        files = [os.path.join(HERE, "RunClasses.java")]
        for leaf in ("functional", "server"):
            files += glob.glob(os.path.join(root, "com/rabbitmq/client/test", leaf, "*.java"))
        status, out = run(["javac", "-nowarn", "-proc:none", "-d", self.out, "-cp", self.classpath,
                           "-sourcepath", root + ":" + SHIMS] + files, 300)
        if status != 0:
            shutil.rmtree(self.out, ignore_errors=True)
            raise AssertionError("the tests do not compile: " + out[-2000:])

    def classes(self):
        for leaf in ("functional", "server"):
            folder = os.path.join(self.folder, "src/test/java/com/rabbitmq/client/test", leaf)
            for path in sorted(glob.glob(os.path.join(folder, "*.java"))):
                name = os.path.basename(path)[:-5]
                with open(path, errors="replace") as f:
                    concrete = "public abstract class" not in f.read()
                if concrete and name not in self.left_out:
                    yield "com.rabbitmq.client.test.%s.%s" % (leaf, name)

    def tests(self, only):
        names = [c for c in self.classes() if fnmatch.fnmatch(c.rsplit(".")[-1], only)]
        names.sort(key=lambda c: "Bug19219" in c)  # leaves publishers behind that never end
        properties = {"make.bin": "make -s -f %s" % os.path.join(HERE, "Makefile.node"),
                      "rabbitmq.dir": HERE, "rabbitmqctl.bin": self.site.ctl,
                      "test-broker.A.nodename": self.site.node, "test-broker.A.node_port": "5672",
                      "java.io.tmpdir": self.site.tmp}
        argv = ["java", "-cp", self.classpath] + \
            ["-D%s=%s" % pair for pair in properties.items()] + ["RunClasses", str(self.seconds)]
        while names:
            begun = []
            for result in results_in(self.watched(argv + names, begun)):
                if not result[0].endswith(".initializationError"):  # a base class: no tests
                    yield result
            names = names[len(begun):] if begun else []

    def watched(self, argv, begun):
        """The run's lines; which classes it came to is added to `begun`."""
        for line in lines_of(argv, 2400, cwd=self.site.tmp):
            if line.startswith("class "):
                begun.append(line)
            yield line


# ---- Python -------------------------------------------------------------------------------------

class Aioamqp(Suite):
    packages = {"python3-pamqp": "/usr/lib/python3/dist-packages/pamqp"}
    source = "python-aioamqp"

    def tests(self, only):
        # Seconds until what was published is counted; RabbitMQ's management looks now and then.
        env = {"PYTHONPATH": "%s:%s" % (SHIMS, self.folder), "PYTHONDONTWRITEBYTECODE": "1",
               "AMQP_REFRESH_TIME": "6" if self.site.target == "rabbitmq" else "1"}
        argv = ["/usr/bin/python3", "-W", "ignore", os.path.join(HERE, "run_unittest.py"),
                "aioamqp/tests", ".", only]
        yield from results_in(lines_of(argv, 600, cwd=self.folder, env=env))


# ---- C ------------------------------------------------------------------------------------------

class Librabbitmq(Suite):
    """librabbitmq's test that needs a server, and its examples as a user would run them."""

    packages = {"librabbitmq-dev": "/usr/include/amqp.h", "gcc": "/usr/bin/gcc"}
    source = "librabbitmq"

    def program(self, *sources):
        out = os.path.join(self.cache, "librabbitmq-" + os.path.basename(sources[0])[:-2])
        paths = [os.path.join(self.folder, s) for s in sources]
        status, text = run(["gcc", "-w", "-DHAVE_SELECT", "-o", out, "-I" + os.path.join(
            self.folder, "librabbitmq"), "-I" + os.path.join(self.folder, "examples")] + paths +
            ["-lrabbitmq"], 60)
        if status != 0:
            raise AssertionError(text)
        return out

    def example(self, name):
        return self.program("examples/%s.c" % name, "examples/utils.c",
                            "examples/unix/platform_utils.c")

    def check(self, name, argv, wanted=""):
        status, out = run(argv, 120)
        good = status == 0 and wanted in out
        return name, "ok" if good else "fail", "status %s: %s" % (status, out[-500:])

    def tests(self, only):
        yield self.check("test_basic", [self.program("tests/test_basic.c", "librabbitmq/amqp_time.c")])
        at = ["localhost", "5672"]
        yield self.check("exchange_declare", [self.example("amqp_exchange_declare"), *at, "x.c", "topic"])
        listen = [self.example("amqp_listen"), *at, "x.c", "key.#"]
        with subprocess.Popen(["timeout", "150", "stdbuf", "-o0"] + listen, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT) as child:
            send = [self.example("amqp_sendstring"), *at, "x.c", "key.word", "a text to hear"]
            heard, end = b"", time.monotonic() + 120
            while b"a text to hear" not in heard.replace(b"\n", b"") and time.monotonic() < end:
                run(send, 60)
                if select.select([child.stdout], [], [], 0.3)[0]:
                    heard += os.read(child.stdout.fileno(), 65536)
            child.terminate()
        good = b"a text to hear" in heard
        yield "listen", "ok" if good else "fail", heard.decode(errors="replace")[-300:]
        run(["amqp-declare-queue", "-u", "amqp://localhost", "-q", "queue.c"], 60)
        yield self.check("bind", [self.example("amqp_bind"), *at, "x.c", "key.bind", "queue.c"])
        yield self.check("unbind", [self.example("amqp_unbind"), *at, "x.c", "key.bind", "queue.c"])
        yield self.check("producer", [self.example("amqp_producer"), *at, "20000", "20000"],
                         "Message count: 20000")
        yield self.check("connect_timeout", [self.example("amqp_connect_timeout"), *at, "5"])


# ---- Perl ---------------------------------------------------------------------------------------

class Perl(Suite):
    """AnyEvent::RabbitMQ and Mojo::RabbitMQ::Client."""

    packages = {"libmojo-rabbitmq-client-perl": "/usr/share/perl5/Mojo/RabbitMQ/Client.pm",
                "libanyevent-rabbitmq-perl": "/usr/share/perl5/AnyEvent/RabbitMQ.pm",
                "libtest-exception-perl": "/usr/share/perl5/Test/Exception.pm"}

    def prepare(self):
        self.folders = [self.fetch_source(n) for n in ("libmojo-rabbitmq-client-perl",
                                                       "libanyevent-rabbitmq-perl")]

    def tests(self, only):
        env = {"TEST_RMQ": "1", "MOJO_RABBITMQ_URL": ""}
        for folder in self.folders:
            name = os.path.basename(folder).split("-")[0]
            for path in sorted(glob.glob(folder + "/t/*.t") + glob.glob(folder + "/xt/*.t")):
                leaf = os.path.basename(path)
                if leaf.startswith("author"):
                    continue
                status, out = run(["prove", "-v", path], 60, cwd=folder, env=env)
                for ok, number, text in re.findall(r"^(ok|not ok) (\d+)(.*)$", out, re.MULTILINE):
                    how = "skip" if "# skip" in text else "ok" if ok == "ok" else "fail"
                    yield "%s/%s#%s" % (name, leaf, number), how, text
                if status != 0:
                    yield "%s/%s" % (name, leaf), "fail", out[-600:]


# ---- node ---------------------------------------------------------------------------------------

class Npm(Suite):
    packages = {"nodejs": "/usr/bin/node", "npm": "/usr/bin/npm"}
    modules = ()

    def prepare(self):
        self.folder = os.path.join(self.cache, type(self).__name__.lower())
        done = os.path.join(self.folder, "done")
        if os.path.exists(done):
            return
        os.makedirs(self.folder, exist_ok=True)
        with open(os.path.join(self.folder, "package.json"), "w") as f:
            f.write('{"private": true}\n')
        status, out = run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts",
                           "--loglevel=error", "--fetch-retries=1"] + list(self.modules), 180,
                          cwd=self.folder)
        if status != 0:
            raise Missing("npm install %s: %s" % (" ".join(self.modules), out[-300:]))
        open(done, "w").close()


class Amqplib(Npm):
    modules = ("amqplib@0.10.3", "mocha@9.2.2", "claire@0.4.1")

    def tests(self, only):
        root = os.path.join(self.folder, "node_modules", "amqplib")
        # mocha leaves modules' own folders out; so the tests are copied, beside the library.
        work = os.path.join(self.folder, "work")
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(root, work)
        status, out = run([os.path.join(self.folder, "node_modules/.bin/mocha"), "-u", "tdd",
                           "--timeout", "20000", "--reporter", "json", "--exit",
                           "test"], 300, cwd=work,
                          env={"URL": "amqp://localhost", "NODE_PATH":
                               os.path.join(self.folder, "node_modules")})
        try:
            results = json.loads(out[out.index('{\n  "stats"'):])
        except ValueError:
            yield "(suite)", "fail", "status %s: %s" % (status, out[-800:])
            return
        for kind, how in (("passes", "ok"), ("failures", "fail"), ("pending", "skip")):
            for test in results[kind]:
                yield (re.sub(r"\s+", "_", test["fullTitle"]), how,
                       test.get("err", {}).get("message", ""))


SUITES = {"go": Go, "java": Java, "aioamqp": Aioamqp, "librabbitmq": Librabbitmq, "perl": Perl,
          "amqplib": Amqplib}
