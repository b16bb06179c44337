"""Ports for servers: below the ephemeral range, so that no client's own port can take one meanwhile,
and never one that another process has been given which runs beside this one."""

import fcntl
import os
import random
import socket

FIRST, LAST = 6000, 32000

_held = set()
_locks = None  # a file that is locked at the octet of each port that is in use


def _hold(port):
    """Keeps it from all others who ask here, until this process ends."""
    global _locks
    if _locks is None:
        _locks = os.open("/tmp/warren-ports", os.O_CREAT | os.O_RDWR, 0o666)
    if port in _held:
        return False
    try:
        fcntl.lockf(_locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except BlockingIOError:
        return False
    _held.add(port)
    return True


def is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_offset(wanted):
    """Such that each port of `wanted`, so much higher, is free."""
    for _ in range(2000):
        offset = random.randrange(max(0, FIRST - min(wanted)), LAST - max(wanted))
        if all(_hold(port + offset) and is_free(port + offset) for port in wanted):
            return offset
    raise RuntimeError("no free ports")


def free_port(also=()):
    """One that is free, as are those that lie so much higher."""
    return free_offset((0, *also))
