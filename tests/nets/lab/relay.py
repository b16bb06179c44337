#!/usr/bin/python3
"""A relay between machines and their bridge: it may hold packets back, each for a time of its own.

Reads orders as JSON lines and answers each with `ok`:
  {"do": "add", "name": N, "spaces": [HUB, MACHINE], "devices": [CABLE, ETH]}
  {"do": "delay", "name": N, "ms": 20, "jitter_ms": 10}
Ends with its input. Both ends of a cable are TAP devices: what comes out of one goes into the other
after the delay. What would have to wait behind too many others is lost, as in a switch.
"""

import ctypes
import fcntl
import heapq
import itertools
import json
import os
import random
import selectors
import struct
import sys
import time

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
CLONE_NEWNET = 0x40000000
FRAME_MAX = 65536
HELD_MAX = 20000

_libc = ctypes.CDLL(None, use_errno=True)


def setns(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        if _libc.setns(fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns %s" % path)
    finally:
        os.close(fd)


def tap(space, name):
    """A device of that namespace, whose frames this process writes and reads."""
    setns(space)
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return fd


class Cable:
    def __init__(self, ends):
        self.ends = ends
        self.ms = self.jitter_ms = 0

    def wait(self):
        return (self.ms + random.uniform(0, self.jitter_ms)) / 1000


class Relay:
    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.selector.register(sys.stdin.buffer, selectors.EVENT_READ, self.obey)
        os.set_blocking(sys.stdin.fileno(), False)
        self.home = os.path.join("/proc/%d/fd" % os.getpid(),
                                 str(os.open("/proc/self/ns/net", os.O_RDONLY)))
        self.cables = {}
        self.held = []
        self.serial = itertools.count()
        self.words = b""
        self.is_on = True

    def obey(self):
        chunk = os.read(sys.stdin.fileno(), 65536)
        if not chunk:
            self.is_on = False
        self.words += chunk
        while b"\n" in self.words:
            line, self.words = self.words.split(b"\n", 1)
            self.order(**json.loads(line))
            print("ok", flush=True)

    def order(self, do, name, spaces=(), devices=(), ms=0, jitter_ms=0):
        if do == "delay":
            self.cables[name].ms, self.cables[name].jitter_ms = ms, jitter_ms
            return
        ends = [tap(*place) for place in zip(spaces, devices)]
        setns(self.home)
        cable = self.cables[name] = Cable(ends)
        for one, other in (ends, ends[::-1]):
            self.selector.register(one, selectors.EVENT_READ,
                                   lambda one=one, other=other: self.carry(cable, one, other))

    def carry(self, cable, source, target):
        while True:
            try:
                frame = os.read(source, FRAME_MAX)
            except BlockingIOError:
                return
            except OSError:  # the device is down: nobody is there to send
                return
            if len(self.held) < HELD_MAX:
                heapq.heappush(self.held, (time.monotonic() + cable.wait(), next(self.serial),
                                           target, frame))

    def deliver(self):
        """What is due; the time until the next is."""
        while self.held:
            left = self.held[0][0] - time.monotonic()
            if left > 0:
                return left
            _, _, target, frame = heapq.heappop(self.held)
            try:
                os.write(target, frame)
            except OSError:  # the device is down or full: the frame is lost, as on a wire
                pass
        return None

    def run(self):
        while self.is_on:
            for key, _ in self.selector.select(self.deliver()):
                key.data()


if __name__ == "__main__":
    Relay().run()
