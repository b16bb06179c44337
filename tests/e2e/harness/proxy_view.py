"""What a proxy shows of itself: pages, table, runtime socket."""

import csv
import io
import socket
import urllib.error
import urllib.request

from harness.waits import SOON, wait_until


def http_get(port, path, headers=None):
    """(status, text)"""
    request = urllib.request.Request("http://127.0.0.1:%d%s" % (port, path), headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=SOON) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def command(proxy, line):
    """The runtime socket's answer to one line; it closes after it, as HAProxy's."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(SOON)
        s.connect(proxy.socket_path)
        s.sendall(line.encode() + b"\n")
        out = b""
        while True:
            chunk = s.recv(65536)
            if not chunk:
                return out.decode()
            out += chunk


def table(text):
    """HAProxy's CSV as {(proxy, server): row}."""
    assert text.startswith("# "), text[:80]
    return {(row["pxname"], row["svname"]): row for row in csv.DictReader(io.StringIO(text[2:]))}


def stats(proxy):
    status, text = http_get(proxy.stats_port, "/stats;csv")
    assert status == 200, text
    return table(text)


def wait_status(proxy, server, status, backend="rabbits"):
    """Until the table says UP or DOWN of a server. A server may not be in it yet, and a proxy
    that has just started may not show one."""
    def has_status():
        try:
            row = stats(proxy).get((backend, server))
        except urllib.error.URLError:
            return False
        return row is not None and row["status"].startswith(status)
    return wait_until(has_status, "%s %s" % (server, status))
