"""A wire between a proxy and a broker that a test can hold, speak into and tear."""

import select
import socket
import struct
import threading

from harness import ports
from harness.waits import LONG, wait_until

UP, DOWN = 0, 1  # to the broker, and from it


class TappedConn:
    def __init__(self, near, broker):
        self.ends = (near, broker)
        self.said = [bytearray(), bytearray()]  # each way, when it came here
        self.kept = [bytearray(), bytearray()]  # what is not passed on yet
        self.held = [False, False]
        self.ended = [False, False]
        self.is_over = False
        self.lock = threading.Lock()

    def run(self):
        try:
            while not self.is_over:
                heard = [e for e, ended in zip(self.ends, self.ended) if not ended]
                for end in select.select(heard, [], [], 0.1)[0]:
                    self._take(self.ends.index(end))
        except OSError:
            pass  # an end is gone, or the test tore it
        self.close()

    def _take(self, way):
        octets = self.ends[way].recv(1 << 18)
        with self.lock:
            self.ended[way] = not octets
            self.is_over |= not octets and not self.held[way]
            self.said[way] += octets
            self.kept[way] += octets
            self._pass(way)

    def _pass(self, way):
        if not self.held[way]:
            self.ends[1 - way].sendall(self.kept[way])
            self.kept[way].clear()

    def hold(self, way):
        with self.lock:
            self.held[way] = True

    def release(self, way):
        with self.lock:
            self.held[way] = False
            self._pass(way)
            self.is_over |= self.ended[way]

    def say(self, way, octets):
        """As if the other end had said it, ahead of what is held."""
        with self.lock:
            self.ends[1 - way].sendall(octets)

    def wait_said(self, way, octets, what):
        wait_until(lambda: octets in bytes(self.said[way]), what, LONG)

    def tear(self):
        self.ends[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.is_over = True

    def close(self):
        self.is_over = True
        for end in self.ends:
            end.close()


class Tap:
    """Stands for a broker: give it to a proxy in the broker's place."""

    def __init__(self, broker):
        self.name, self.broker, self.port = broker.name, broker, ports.free_port()
        self.conns = []
        self.door = socket.socket()
        self.door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.door.bind(("127.0.0.1", self.port))
        self.door.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                near = self.door.accept()[0]
            except OSError:
                return
            try:
                broker = socket.create_connection(("127.0.0.1", self.broker.port))
            except OSError:
                near.close()
                continue
            conn = TappedConn(near, broker)
            self.conns.append(conn)
            threading.Thread(target=conn.run, daemon=True).start()

    def conn_of(self, octets):
        """The one on which a proxy has said that to the broker."""
        return wait_until(lambda: next((c for c in self.conns if octets in bytes(c.said[UP])), None),
                          "a connection with %r" % octets, LONG)

    def close(self):
        self.door.shutdown(socket.SHUT_RDWR)
        self.door.close()
        for conn in self.conns:
            conn.close()
