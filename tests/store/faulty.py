"""A disk that fails when the test says so: tests/store/faulty_disk.c under a broker."""

import errno
import mmap
import os
import struct

from harness.cluster import Node
from harness.servers import BUILD, Broker

LIBRARY = os.path.join(BUILD, "tests", "store", "faulty_disk.so")

LEFT = 70  # how a node ends that cannot trust its disk any more

FIELDS = ("after", "code", "delay_ms", "calls")
FAULTS = ("sync", "write")
FAULT = struct.Struct("=4i")
MATCH_BYTES = 64


class Faults:
    """The library's control file. `sync` and `write` are done to as fail(), slow() and heal() say."""

    def __init__(self, path):
        self.path = path
        with open(path, "wb") as f:
            f.write(FAULT.pack(-1, 0, 0, 0) * len(FAULTS) + b"\0" * MATCH_BYTES * 2)
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 0)

    def env(self, env, folder):
        """The environment of a process whose files in `folder` are to fail."""
        env["LD_PRELOAD"] = LIBRARY
        env["FAULTY_DISK_CONTROL"] = self.path
        env["FAULTY_DISK_FOLDER"] = folder
        # The sanitizer wants to be first; the library only calls on what comes after it.
        env["ASAN_OPTIONS"] = env["ASAN_OPTIONS"] + ":verify_asan_link_order=0"
        return env

    def _set(self, fault, field, value):
        at = FAULTS.index(fault) * FAULT.size + FIELDS.index(field) * 4
        self.map[at:at + 4] = struct.pack("=i", value)

    def calls(self, fault):
        at = FAULTS.index(fault) * FAULT.size + FIELDS.index("calls") * 4
        return struct.unpack("=i", self.map[at:at + 4])[0]

    def only(self, part):
        """Files with this in their path."""
        at = len(FAULTS) * FAULT.size
        self.map[at:at + MATCH_BYTES] = part.encode().ljust(MATCH_BYTES, b"\0")

    def hang(self, thread):
        """The thread of this name does not go on; "": each does."""
        at = len(FAULTS) * FAULT.size + MATCH_BYTES
        self.map[at:at + MATCH_BYTES] = thread.encode().ljust(MATCH_BYTES, b"\0")

    def fail(self, fault, after=0, code=errno.EIO):
        """So many are well yet."""
        self._set(fault, "code", code)
        self._set(fault, "after", after)

    def halve(self):
        """Each write takes half of what it gets, or the first of several pieces."""
        self.fail("write", code=0)

    def slow(self, fault, ms):
        self._set(fault, "delay_ms", ms)

    def heal(self):
        for fault in FAULTS:
            self._set(fault, "after", -1)
            self._set(fault, "delay_ms", 0)
        self.hang("")


class Faulty:
    """Of a broker: on such a disk."""

    def begin_faults(self):
        os.makedirs(self.path("data"), exist_ok=True)
        self.faults = Faults(self.path("faults"))

    def env(self):
        return self.faults.env(super().env(), self.path("data"))


class FaultyBroker(Faulty, Broker):
    def __init__(self, folder, name="rabbit1", conf=None):
        super().__init__(folder, name, conf)
        self.begin_faults()


class FaultyNode(Faulty, Node):
    def __init__(self, cluster, folder, name, conf):
        super().__init__(cluster, folder, name, conf)
        self.begin_faults()
