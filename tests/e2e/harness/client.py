"""A raw AMQP client for tests: it sends what the test says and shows all that comes back.

Nothing happens behind the test's back except two things a client must do: `close` is answered
with `close-ok` (unless `polite` is off) and heartbeats that arrive are counted, not shown.
"""

import socket
import ssl
import struct
from collections import deque

import wire
from harness.waits import Deadline

CAPABILITIES = {"publisher_confirms": True, "exchange_exchange_bindings": True,
                "basic.nack": True, "consumer_cancel_notify": True, "connection.blocked": True,
                "authentication_failure_close": True}

# Methods that come when the server likes, between a question and its answer too.
UNASKED = ("basic.deliver", "basic.return", "basic.ack", "basic.nack", "basic.cancel")


class Event:
    """A method, with its content if it carries one."""

    def __init__(self, channel, spec, args):
        self.channel, self.spec, self.args = channel, spec, args
        self.name = spec.name
        self.raw_props, self.body, self.body_size = b"", b"", 0
        self.body_frame_sizes = []

    @property
    def props(self):
        return wire.read_properties(self.raw_props)

    def __getattr__(self, name):
        try:
            return self.__dict__["args"][name]
        except KeyError:
            raise AttributeError("%s has no %s" % (self.__dict__.get("name"), name)) from None

    def __repr__(self):
        body = " body=%r" % self.body[:40] if self.spec.has_content else ""
        return "<%d %s %s%s>" % (self.channel, self.name, self.args, body)


class Eof(AssertionError):
    """The server closed the socket."""


class Conn:
    """One connection. `hello=False` leaves the handshake to the test."""

    def __init__(self, address, hello=True, rcvbuf=None, tls=None, before=b"", source=None,
                 **opts):
        is_unix = isinstance(address, str)
        self.sock = socket.socket(socket.AF_UNIX if is_unix else socket.AF_INET)
        if source:
            self.sock.bind(source)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(Deadline().seconds)
        self.sock.connect(address)
        if not is_unix:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if before:  # a PROXY header goes ahead of TLS
            self.sock.sendall(before)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        self.data, self.at = bytearray(), 0
        self.events = deque()
        self.partial = {}  # channel -> Event whose content is on its way
        self.heartbeats_seen = 0
        self.frame_max, self.channel_max, self.heartbeat = 131072, 2047, 0
        self.polite = True
        self.next_channel = 1
        self.start = self.tune = None
        if hello:
            self.handshake(**opts)

    # -- bytes and frames ------------------------------------------------------------------

    def send(self, data, seconds=None):
        """All of it, or TimeoutError when the server stops reading."""
        self.sock.settimeout(Deadline(seconds).seconds)
        self.sock.sendall(data)

    def send_method(self, channel, name, **args):
        self.send(wire.method_frame(channel, name, **args))

    def _fill(self, deadline):
        """Some more octets, or Eof, or a failed deadline."""
        if deadline.passed():
            raise TimeoutError("nothing came within %.1f s" % deadline.seconds)
        self.sock.settimeout(max(deadline.left(), 0.001))
        try:
            chunk = self.sock.recv(262144)
        except (socket.timeout, ssl.SSLWantReadError):
            raise TimeoutError("nothing came within %.1f s" % deadline.seconds) from None
        except (ConnectionResetError, ssl.SSLError) as e:
            raise Eof("connection reset: %s" % e) from None
        if not chunk:
            raise Eof("end of stream")
        del self.data[:self.at]
        self.at = 0
        self.data += chunk

    def read_bytes(self, n, seconds=None):
        deadline = Deadline(seconds)
        while len(self.data) - self.at < n:
            self._fill(deadline)
        out = bytes(self.data[self.at:self.at + n])
        self.at += n
        return out

    def read_frame(self, seconds=None):
        """The next frame of any type, heartbeats included."""
        deadline = Deadline(seconds)
        while True:
            with memoryview(self.data) as view, view[self.at:] as rest:
                cut = wire.cut_frame(rest)
            if cut:
                self.at += cut[1]
                return cut[0]
            self._fill(deadline)

    # -- methods with content --------------------------------------------------------------

    def _take_frame(self, frame):
        """An Event when this frame completes one."""
        if frame.type == wire.FRAME_HEARTBEAT:
            self.heartbeats_seen += 1
            return None
        if frame.type == wire.FRAME_METHOD:
            event = Event(frame.channel, *wire.read_method(frame.payload))
            if not event.spec.has_content:
                return event
            self._no_partial(frame.channel, event)
            self.partial[frame.channel] = event
            return None
        event = self.partial.get(frame.channel)
        if event is None:
            raise wire.WireError("content without a method on channel %d" % frame.channel)
        if frame.type == wire.FRAME_HEADER:
            event.body_size, event.raw_props = wire.read_header(frame.payload)
            event.body = bytearray()
        else:
            event.body += frame.payload
            event.body_frame_sizes.append(len(frame.payload) + wire.FRAME_OVERHEAD)
        return self._whole(frame.channel, event)

    def _no_partial(self, channel, event):
        if channel in self.partial:
            raise wire.WireError("%s inside the content of %r" % (event, self.partial[channel]))

    def _whole(self, channel, event):
        if len(event.body) > event.body_size:
            raise wire.WireError("more body than announced: %r" % event)
        if len(event.body) < event.body_size:
            return None
        del self.partial[channel]
        event.body = bytes(event.body)
        return event

    def _next_event(self, deadline):
        while True:
            event = self._take_frame(self.read_frame(max(deadline.left(), 0)))
            if event:
                break
        if event.name in ("connection.close", "channel.close") and self.polite:
            try:
                self.send_method(event.channel, event.name + "_ok")
            except OSError:
                pass  # already gone: what it said counts
        return event

    def next(self, channel=None, seconds=None):
        """The next event, on `channel` if one is named; others wait their turn."""
        for event in self.events:
            if channel is None or event.channel in (0, channel):
                self.events.remove(event)
                return event
        deadline = Deadline(seconds)
        while True:
            event = self._next_event(deadline)
            if channel is None or event.channel in (0, channel):
                return event
            self.events.append(event)

    def expect(self, name, channel=None, seconds=None, **args):
        event = self.next(channel, seconds)
        if event.name != name:
            raise AssertionError("%s expected, came %r" % (name, event))
        for key, want in args.items():
            if event.args[key] != want:
                raise AssertionError("%s=%r expected in %r" % (key, want, event))
        return event

    def expect_eof(self, seconds=None):
        """Nothing but the end, whatever was still on its way as frames."""
        deadline = Deadline(seconds)
        while True:
            try:
                self._fill(deadline)
            except Eof:
                return

    def expect_refusal(self, codes=(), seconds=None):
        """The connection ends without having become useful: at once, or after a close that
        names one of these codes."""
        try:
            event = self.next(0, seconds)
        except Eof:
            return
        if event.name != "connection.close" or event.reply_code not in codes:
            raise AssertionError("the end or a close with %s expected, came %r" % (codes, event))
        self.expect_eof(seconds)

    def expect_silence(self, seconds=0.3, channel=None):
        """The one place where time is the condition: nothing may come."""
        try:
            event = self.next(channel, seconds)
        except TimeoutError:
            return
        raise AssertionError("nothing expected, came %r" % event)

    # -- handshake -------------------------------------------------------------------------

    def handshake(self, user="guest", password="guest", vhost="/", heartbeat=0, frame_max=None,
                  channel_max=None, capabilities=None, mechanism="PLAIN", client_props=None):
        self.hello()
        self.login(user, password, mechanism, capabilities, client_props)
        self.tune_ok(frame_max, channel_max, heartbeat)
        self.open(vhost)

    def hello(self):
        self.send(wire.PROTOCOL_HEADER)
        self.start = self.expect("connection.start")
        return self.start

    def login(self, user="guest", password="guest", mechanism="PLAIN", capabilities=None,
              client_props=None, response=None):
        """start-ok, then tune is read (the test catches what comes instead)."""
        self.start_ok(user, password, mechanism, capabilities, client_props, response)
        self.tune = self.expect("connection.tune")
        return self.tune

    def start_ok(self, user="guest", password="guest", mechanism="PLAIN", capabilities=None,
                 client_props=None, response=None):
        if response is None and mechanism == "AMQPLAIN":
            table = wire.put_table({"LOGIN": user, "PASSWORD": password})
            response = table[4:]
        elif response is None:
            response = b"\0%s\0%s" % (user.encode(), password.encode())
        caps = CAPABILITIES if capabilities is None else capabilities
        props = {"product": "warren-e2e", "capabilities": caps}
        props.update(client_props or {})
        self.send_method(0, "connection.start_ok", client_properties=props,
                         mechanism=mechanism, response=response, locale="en_US")

    def tune_ok(self, frame_max=None, channel_max=None, heartbeat=0):
        self.frame_max = self.tune.frame_max if frame_max is None else frame_max
        self.channel_max = self.tune.channel_max if channel_max is None else channel_max
        self.heartbeat = heartbeat
        self.send_method(0, "connection.tune_ok", channel_max=self.channel_max,
                         frame_max=self.frame_max, heartbeat=heartbeat)

    def open(self, vhost="/"):
        self.send_method(0, "connection.open", virtual_host=vhost)
        return self.expect("connection.open_ok")

    def channel(self, number=None):
        if number is None:
            number, self.next_channel = self.next_channel, self.next_channel + 1
        ch = Channel(self, number)
        ch.call("channel.open")
        return ch

    # -- endings ---------------------------------------------------------------------------

    def expect_close(self, code, text=None, method=None, seconds=None):
        """connection.close with this code, text and culprit, then the end of the stream."""
        event = self._until_close(seconds)
        _check_close(event, code, text, method)
        self.expect_eof(seconds)
        return event

    def _until_close(self, seconds):
        deadline = Deadline(seconds)
        while True:
            event = self.next(0, max(deadline.left(), 0.001))
            if event.name == "connection.close":
                return event
            if event.name not in ("connection.blocked", "connection.unblocked"):
                raise AssertionError("connection.close expected, came %r" % event)

    def close(self):
        """The polite end; what was on its way is dropped."""
        self.send_method(0, "connection.close", reply_code=200, reply_text="bye")
        deadline = Deadline()
        while self.next(0, max(deadline.left(), 0.001)).name != "connection.close_ok":
            pass
        self.sock.close()

    def drop(self):
        """Gone without a word: a reset, as from a dead machine's successor."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def _check_close(event, code, text, method):
    want_ids = None
    if method is not None:
        spec = wire.METHODS.get(method)
        want_ids = (spec.class_id, spec.method_id) if spec else method
    got_ids = (event.class_id, event.method_id)
    if event.reply_code != code or (text is not None and event.reply_text != text) or \
            (want_ids is not None and got_ids != want_ids):
        raise AssertionError("close %r %r %r expected, came %r" % (code, text, want_ids, event))


class Channel:
    """A channel of a Conn: send, call, content."""

    def __init__(self, conn, number):
        self.conn, self.number = conn, number

    def send(self, name, **args):
        self.conn.send_method(self.number, name, **args)

    def expect(self, name, seconds=None, **args):
        return self.conn.expect(name, self.number, seconds, **args)

    def next(self, seconds=None):
        return self.conn.next(self.number, seconds)

    def call(self, name, **args):
        """A method and its answer, `name` + _ok. What the server says unasked waits its turn."""
        self.send(name, **args)
        aside = []
        try:
            while True:
                event = self.next()
                if event.name not in UNASKED:
                    break
                aside.append(event)
        finally:
            self.conn.events.extendleft(reversed(aside))
        if event.name != name + "_ok":
            raise AssertionError("%s_ok expected, came %r" % (name, event))
        return event

    def expect_silence(self, seconds=0.3):
        self.conn.expect_silence(seconds, self.number)

    def expect_close(self, code, text=None, method=None, seconds=None):
        event = self.next(seconds)
        if event.name != "channel.close":
            raise AssertionError("channel.close expected, came %r" % event)
        _check_close(event, code, text, method)
        return event

    def barrier(self):
        """All that was sent on this channel has been dealt with when this returns."""
        self.call("channel.flow", active=True)

    def publish(self, exchange="", key="", body=b"", props=None, mandatory=False,
                immediate=False):
        frame = wire.method_frame(self.number, "basic.publish", exchange=exchange,
                                  routing_key=key, mandatory=mandatory, immediate=immediate)
        self.conn.send(frame + wire.content_frames(self.number, body, props,
                                                   self.conn.frame_max))

    def publish_or_blocked(self, key, body, seconds=None):
        """None when the server has taken it, or the connection.blocked that came instead. What is
        not read until then fits into what the kernel keeps, if the body is no larger than 256 KiB.
        """
        self.publish("", key, body)
        self.send("channel.flow", active=True)
        event = self.next(seconds)
        if event.name not in ("channel.flow_ok", "connection.blocked"):
            raise AssertionError("flow_ok or blocked expected, came %r" % event)
        return event if event.name == "connection.blocked" else None

    def declare(self, queue="", **args):
        return self.call("queue.declare", queue=queue, **args)

    def queue(self, **args):
        """A server-named exclusive queue's name."""
        args.setdefault("exclusive", True)
        return self.declare(**args).queue

    def bind(self, queue, exchange, key="", arguments=None):
        self.call("queue.bind", queue=queue, exchange=exchange, routing_key=key,
                  arguments=arguments or {})

    def get(self, queue, no_ack=True):
        """The message, or None."""
        self.send("basic.get", queue=queue, no_ack=no_ack)
        event = self.next()
        if event.name == "basic.get_empty":
            return None
        if event.name != "basic.get_ok":
            raise AssertionError("get_ok expected, came %r" % event)
        return event

    def get_all(self, queue):
        """Bodies of all messages, which are gone then."""
        out = []
        while True:
            event = self.get(queue)
            if event is None:
                return out
            out.append(event.body)

    def consume(self, queue, tag="", **args):
        return self.call("basic.consume", queue=queue, consumer_tag=tag, **args).consumer_tag

    def deliveries(self, n, seconds=None):
        return [self.expect("basic.deliver", seconds) for _ in range(n)]

    def ack(self, tag, multiple=False):
        self.send("basic.ack", delivery_tag=tag, multiple=multiple)

    def close(self):
        self.send("channel.close", reply_code=200, reply_text="bye")
        while self.next().name != "channel.close_ok":
            pass
