"""Network namespaces without names: they are there as long as this process or one in them lives.

A namespace is a descriptor. Whatever is in it (links, rules, bridges) goes with the last process
that has it, however that one ended; so nothing is ever left behind, and copies of a test that run
beside each other cannot meet.
"""

import contextlib
import ctypes
import os
import subprocess

from harness.waits import LONG

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWNET = 0x00020000, 0x04000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000

_libc = ctypes.CDLL(None, use_errno=True)


def _must(result, what):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, "%s: %s" % (what, os.strerror(number)))


def _setns(fd):
    _must(_libc.setns(fd, CLONE_NEWNET), "setns")


def _mount(source, target, flags):
    _must(_libc.mount(source, target, None, flags, None), "mount %s" % target.decode())


class Space:
    """A network namespace; `hosts` is the file that its processes have for /etc/hosts, `hostname`
    what they take for their machine's name."""

    def __init__(self, hostname=None, hosts=None):
        self.hostname, self.hosts = hostname, hosts
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        _must(_libc.unshare(CLONE_NEWNET), "unshare")
        try:
            self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            _setns(self._home)

    @property
    def path(self):
        """For `ip link set netns`."""
        return "/proc/%d/fd/%d" % (os.getpid(), self.fd)

    def close(self):
        os.close(self.fd)
        os.close(self._home)

    @contextlib.contextmanager
    def inside(self):
        """Sockets that this thread makes meanwhile belong to the namespace, and stay in it."""
        _setns(self.fd)
        try:
            yield
        finally:
            _setns(self._home)

    def enter(self):
        """Of a child, before it executes its program."""
        _setns(self.fd)
        _must(_libc.unshare(CLONE_NEWNS | CLONE_NEWUTS), "unshare")
        if self.hostname:
            name = self.hostname.encode()
            _must(_libc.sethostname(name, len(name)), "sethostname")
        if self.hosts:
            _mount(None, b"/", MS_REC | MS_PRIVATE)
            _mount(self.hosts.encode(), b"/etc/hosts", MS_BIND)

    def run(self, argv, text=None, seconds=LONG):
        """A command that must succeed in here: what it says."""
        done = subprocess.run(argv, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=seconds, preexec_fn=self.enter)
        if done.returncode != 0:
            raise AssertionError("%s: %s\n%s" % (argv, done.stdout, text or ""))
        return done.stdout

    def ip(self, *lines):
        self.run(["ip", "-batch", "-"], "\n".join(lines) + "\n")


def why_not():
    """What is missing for namespaces here, or None."""
    for program in ("ip", "nft"):
        if not any(os.access(os.path.join(folder, program), os.X_OK)
                   for folder in os.get_exec_path() + ["/usr/sbin", "/sbin"]):
            return "the program '%s' is not there (packages iproute2, nftables)" % program
    try:
        Space().close()
    except OSError as e:
        return "no network namespace can be made here: %s" % e
    return None
