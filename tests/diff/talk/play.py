"""Plays a conversation on the wire, and writes down what comes back.

A step is a method, or one of the verbs below. Connections and channels are opened when a step
first names them, and again after the server has closed them.

    queue.declare q durable args...       any method: fields in wire order (reserved ones left out),
                                          bits by their name, others as field=value too; it ends
                                          with its answer, or, having none, with channel.flow's
    basic.publish x key "body" {props}    content follows the fields
    wait [deliver,return] [N] [sorted] [Ns]  the next N events of these kinds (any), in this order
                                          or sorted; within N seconds if not the usual ones
    confirms N                            acks and nacks until N more publishes are answered
    poll TEXT :: STEP                     repeats it until TEXT is in its answer (not TEXT: until not)
    repeat N :: STEP                      N times; $i counts from 1
    connect [user=u password=p vhost=v mechanism=m response=r frame_max=n channel_max=n
             heartbeat=n capabilities={} client={}] [until=header|start|tune] [show]
    close | drop                          the connection, politely or not
    impolite                              closes of the server are not answered from now on
    method M fields | header SIZE {props} [class=n weight=n] | body "octets"
    | frame TYPE "payload" [end=n size=n channel=n] | bytes "octets"        nothing is waited for
    sync                                  channel.flow and its answer, or a close
    eof                                   the server ends the connection, and what it says before
    octets N                              the next N octets as they are
    quiet                                 nothing has come or comes in a little while
    ctl ARGUMENT...                       rabbitmqctl, or warrenctl; shown is what went wrong
    http METHOD PATH [JSON] [as=user:password] [show=field,field.inner]
"""

import base64
import http.client
import json
import re
import struct
import time
import urllib.parse
from collections import deque

import wire
from harness.client import UNASKED, Conn, Eof
from harness.waits import SCALE, Deadline
from talk import normal
from talk.script import ACTOR, step as read_step
from talk.values import Bad, Scanner, quoted, show, show_plain

PATIENCE_S = 30 * SCALE  # for an answer that should come at once, on a machine shared with others
QUIET_S = 0.15   # how long nothing is to come
POLL_S = 0.02
ASYNC = ("basic.publish", "basic.ack", "basic.nack", "basic.reject", "basic.recover_async")
CLOSES = ("channel.close", "connection.close")


class GaveUp(Exception):
    """What was waited for did not come: the rest makes no sense."""


class Link:
    """A connection with its channels: what came and was not yet asked for."""

    def __init__(self, conn):
        self.conn, self.came, self.open, self.ended, self.closed = conn, {}, set(), None, False
        self.confirmed = {}

    def pump(self, deadline):
        """One more event into its channel's row; TimeoutError when there is none."""
        if self.ended:
            raise TimeoutError(self.ended)
        try:
            event = self.conn.next(seconds=max(deadline.left(), 0.001))
        except Eof:
            self.ended = "the server ended the connection"
            raise TimeoutError(self.ended) from None
        if event.name == "channel.close":
            self.open.discard(event.channel)
        elif event.name == "connection.close":
            self.open.clear()
            self.closed = True
        self.came.setdefault(event.channel, deque()).append(event)

    def take(self, channel, wanted, seconds=PATIENCE_S):
        """The first event there that is wanted, or a close of the connection."""
        deadline = Deadline(seconds)
        while True:
            for number in (channel, 0):
                for event in self.came.get(number, ()):
                    if wanted(event) or event.name == "connection.close":
                        self.came[number].remove(event)
                        return event
            self.pump(deadline)

    def usable(self):
        return not self.ended and not self.closed


class Player:
    def __init__(self, place, talk):
        """`place` has address, management, vhost, token."""
        self.place, self.talk = place, talk
        self.names = normal.Names(place.vhost, place.token)
        self.links, self.impolite, self.out = {}, False, []

    # -- the whole -------------------------------------------------------------------------

    def play(self):
        """The transcript, a list of lines."""
        try:
            for step in self.talk.steps:
                self.out.append("> " + step.text)
                self.do(step)
            self.left_over()
        except GaveUp as e:
            self.say("(given up: %s)" % e)
        except (wire.WireError, Bad, OSError, Eof, ValueError, KeyError, struct.error) as e:
            self.say("(broken off: %s: %s)" % (type(e).__name__, e))
        finally:
            for link in self.links.values():
                link.conn.sock.close()
        return self.out

    def say(self, text):
        self.out.append("< " + self.names.hide(text))

    def do(self, step):
        if step.verb in wire.METHODS:
            return self.method(step)
        handler = getattr(self, "on_" + step.verb, None)
        if handler is None:
            raise Bad("no method or verb %r" % step.verb)
        return handler(step)

    def left_over(self):
        """What came without having been asked for belongs into the transcript too."""
        for key, link in sorted(self.links.items()):
            for channel in sorted(link.open) if link.usable() else ():
                self.barrier(link, channel)
        for key, link in sorted(self.links.items()):
            for channel in sorted(link.came):
                for event in link.came[channel]:
                    self.say("(left over) %s.%d: %s" % (key, channel, shown(event)))

    # -- connections and channels ----------------------------------------------------------

    def link(self, step, channel=True):
        """The step's connection, with its channel open."""
        link = self.links.get(step.conn)
        if link is None or not link.usable():
            conn = Conn(self.place.address, vhost=self.place.vhost)
            conn.polite = not self.impolite
            link = self.links[step.conn] = Link(conn)
        if channel and step.channel not in link.open:
            self.open_channel(link, step.channel)
        return link

    def open_channel(self, link, number):
        link.came.pop(number, None)
        link.conn.send_method(number, "channel.open")
        event = link.take(number, lambda e: True)
        if event.name != "channel.open_ok":
            self.say(shown(event))
            raise GaveUp("the channel does not open")
        link.open.add(number)

    def answer(self, link, channel, wanted, what, seconds=PATIENCE_S):
        """Takes an event and shows it."""
        try:
            event = link.take(channel, wanted, seconds)
        except TimeoutError as e:
            raise GaveUp("no %s: %s" % (what, e)) from None
        self.say(shown(event))
        return event

    def barrier(self, link, channel):
        """All that was sent on this channel has been dealt with; says only what went wrong."""
        link.conn.send_method(channel, "channel.flow", active=True)
        try:
            event = link.take(channel, lambda e: e.name in ("channel.flow_ok",) + CLOSES)
        except TimeoutError as e:
            raise GaveUp("no channel.flow_ok: %s" % e) from None
        if event.name != "channel.flow_ok":
            self.say(shown(event))

    # -- methods ---------------------------------------------------------------------------

    def method(self, step):
        args, body, props = self.fields(step.verb, step.rest)
        if step.verb == "channel.open":
            link = self.link(step, channel=False)
        else:
            link = self.link(step)
        link.conn.send(self.octets(link, step.channel, step.verb, args, body, props))
        if step.verb in ASYNC or args.get("nowait"):
            return self.barrier(link, step.channel)
        event = self.answer(link, step.channel, lambda e: e.name not in UNASKED,
                            "answer to " + step.verb)
        if event.name == "channel.close_ok":
            link.open.discard(step.channel)
        elif event.name == "channel.open_ok":
            link.open.add(step.channel)
        return None

    def octets(self, link, channel, name, args, body, props):
        out = wire.method_frame(channel, name, **args)
        if wire.METHODS[name].has_content and body is not None:
            out += wire.content_frames(channel, body, props, link.conn.frame_max)
        return out

    def fields(self, name, text):
        """(fields, body, properties) as a step gives them."""
        spec, args = wire.METHODS[name], {}
        open_fields = [f for f, kind in spec.fields if kind != "bit" and f[:8] != "reserved"]
        kinds, rest = dict(spec.fields), []
        scan = Scanner(text, self.names.mean)
        while not scan.at_end():
            bare = re.compile(r"([a-z_0-9]+)(=|(?=\s|$))").match(text, scan.at)
            key = bare.group(1) if bare else None
            if key in kinds and bare.group(2) == "=":
                scan.at = bare.end()
                args[key] = typed(kinds[key], scan.plain())
                open_fields = [f for f in open_fields if f != key]
            elif key in kinds and kinds[key] == "bit":
                scan.at = bare.end()
                args[key] = True
            elif open_fields and (scan.peek() == "{") == (kinds[open_fields[0]] == "table"):
                field = open_fields.pop(0)
                args[field] = typed(kinds[field], scan.plain())
            elif scan.peek() == "{" and "arguments" in open_fields:
                open_fields.remove("arguments")
                args["arguments"] = scan.plain()
            else:
                rest.append(scan.plain())
        body = rest.pop(0) if rest and not isinstance(rest[0], dict) else ""
        props = rest.pop(0) if rest else {}
        if rest:
            raise Bad("too many values for %s: %s" % (name, text))
        return args, body, {k: wire_prop(k, v) for k, v in props.items()}

    # -- waiting ---------------------------------------------------------------------------

    def on_wait(self, step):
        kinds, count, in_order, patience = (), 1, True, PATIENCE_S
        for word in step.rest.split():
            if word.isdigit():
                count = int(word)
            elif re.fullmatch(r"\d+s", word):
                patience = int(word[:-1]) * SCALE
            elif word == "sorted":
                in_order = False
            else:
                kinds = tuple(word.split(","))
        link = self.links[step.conn]
        wanted = lambda e: not kinds or e.name in kinds or e.name.split(".")[1] in kinds
        lines = []
        try:
            while len(lines) < count:
                event = link.take(step.channel, wanted, patience)
                lines.append(shown(event, () if in_order else ("delivery_tag",)))
                if event.name == "connection.close":
                    break
        except TimeoutError as e:
            for line in lines:
                self.say(line)
            raise GaveUp("no more %s: %s" % (step.rest or "events", e)) from None
        for line in lines if in_order else sorted(lines):
            self.say(line)

    def on_confirms(self, step):
        """Servers may answer several publishes at once, as they like: what counts is the verdict."""
        link, verdicts = self.links[step.conn], {}
        first = link.confirmed.get(step.channel, 0) + 1
        last = first + int(step.rest) - 1
        while set(verdicts) != set(range(first, last + 1)):
            event = self._verdict(link, step, verdicts)
            if event.name in CLOSES:
                return self.say(shown(event))
            tags = range(first, event.delivery_tag + 1) if event.multiple else [event.delivery_tag]
            for tag in tags:
                if tag not in range(first, last + 1) or verdicts.get(tag) not in (None, event.name):
                    self.say("(unexpected) " + shown(event))
                verdicts.setdefault(tag, event.name)
        link.confirmed[step.channel] = last
        self.say(" ".join("%s %d" % (verdicts[t], t) for t in sorted(verdicts)))

    def _verdict(self, link, step, verdicts):
        try:
            return link.take(step.channel,
                             lambda e: e.name in ("basic.ack", "basic.nack") + CLOSES)
        except TimeoutError as e:
            self.say("so far: %s" % verdicts)
            raise GaveUp("no confirm: %s" % e) from None

    def on_poll(self, step):
        pattern, _, inner = step.rest.partition("::")
        pattern = pattern.strip()
        negative = pattern.startswith("not ")
        text = pattern[4:] if negative else pattern
        deadline, mark = Deadline(PATIENCE_S), len(self.out)
        while True:
            del self.out[mark:]
            self.do(self.inner(step, inner))
            found = any(text in line for line in self.out[mark:])
            if found != negative or deadline.passed() or not self.usable(step):
                break
            time.sleep(POLL_S)
        if found == negative:
            raise GaveUp("waited in vain for %s" % pattern)

    def usable(self, step):
        return step.conn not in self.links or self.links[step.conn].usable()

    def on_repeat(self, step):
        count, _, inner = step.rest.partition("::")
        for i in range(1, int(count) + 1):
            self.do(self.inner(step, inner.replace("$i", str(i))))

    def inner(self, step, text):
        """A step within a step is on the same channel, unless it says another."""
        text = text.strip()
        return read_step(text if ACTOR.match(text) else "%s.%d: %s" % (step.conn, step.channel, text))

    def on_sync(self, step):
        self.barrier(self.links[step.conn], step.channel)

    def on_quiet(self, step):
        link = self.links[step.conn]
        try:
            while True:
                link.pump(Deadline(QUIET_S))
        except TimeoutError:
            pass
        for event in [e for n in (step.channel, 0) for e in link.came.pop(n, ())]:
            self.say(shown(event))

    def on_eof(self, step):
        """What still came, and the end."""
        link, deadline = self.links[step.conn], Deadline(PATIENCE_S)
        try:
            while True:
                link.pump(deadline)
        except TimeoutError:
            pass
        for event in [e for n in {step.channel, 0} for e in link.came.pop(n, ())]:
            self.say(shown(event))
        if not link.ended:
            raise GaveUp("no end")
        self.say("(the end)")

    def on_octets(self, step):
        self.say(quoted(self.raw_link(step).conn.read_bytes(int(step.rest))))

    # -- connections, step by step ---------------------------------------------------------

    def on_connect(self, step):
        opts = self.options(step.rest)
        conn = Conn(self.place.address, hello=False)
        conn.polite = not self.impolite
        link = self.links[step.conn] = Link(conn)
        until = opts.pop("until", "open")
        if until == "header":
            return
        conn.send(wire.PROTOCOL_HEADER)
        conn.start = self.heard(link, "connection.start", "show" in opts)
        if until == "start" or not conn.start:
            return
        conn.start_ok(**self.credentials(opts))
        conn.tune = self.heard(link, "connection.tune", "show" in opts)
        if until == "tune" or not conn.tune:
            return
        conn.tune_ok(*(opts.get(k) and int(opts[k]) for k in ("frame_max", "channel_max")),
                     int(opts.get("heartbeat", 0)))
        conn.send_method(0, "connection.open", virtual_host=opts.get("vhost", self.place.vhost))
        self.heard(link, "connection.open_ok", True)

    def heard(self, link, name, is_shown):
        """The event when it is that one; anything else is shown in any case."""
        try:
            event = link.take(0, lambda e: True)
        except TimeoutError as e:
            self.say("(the end)" if link.ended else "(nothing: %s)" % e)
            return None
        if is_shown or event.name != name:
            self.say(shown(event))
        return event if event.name == name else None

    def credentials(self, opts):
        out = {k: opts[k] for k in ("user", "password", "mechanism", "response", "capabilities")
               if k in opts}
        if "client" in opts:
            out["client_props"] = opts["client"]
        return out

    def options(self, text):
        scan, out = Scanner(text, self.names.mean), {}
        while not scan.at_end():
            key = scan.match(r"[a-z_]+") or scan.fail("an option expected")
            out[key.group()] = scan.plain() if scan.takes("=") else True
        return out

    def on_close(self, step):
        link = self.links[step.conn]
        link.conn.send_method(0, "connection.close", reply_code=200, reply_text="bye")
        self.answer(link, 0, lambda e: e.name == "connection.close_ok", "connection.close_ok")
        link.closed = True
        link.conn.sock.close()

    def on_drop(self, step):
        link = self.links[step.conn]
        link.closed = True
        link.conn.drop()

    def on_impolite(self, step):
        self.impolite = True
        for link in self.links.values():
            link.conn.polite = False

    # -- frames ----------------------------------------------------------------------------

    def raw_link(self, step):
        """Whatever state it is in, if it is there at all."""
        return self.links.get(step.conn) or self.link(step)

    def on_method(self, step):
        link = self.raw_link(step)
        name, _, rest = step.rest.partition(" ")
        args, _, _ = self.fields(name, rest)
        link.conn.send(wire.method_frame(step.channel, name, **args))

    def on_header(self, step):
        scan, link = Scanner(step.rest, self.names.mean), self.raw_link(step)
        size, props = int(scan.plain()), scan.plain() if scan.peek() == "{" else {}
        opts = {"class": wire.CLASS_BASIC, "weight": 0}
        opts.update(self.options(scan.rest()))
        props = {k: wire_prop(k, v) for k, v in props.items()}
        link.conn.send(wire.header_frame(step.channel, size, props, class_id=int(opts["class"]),
                                         weight=int(opts["weight"])))

    def on_body(self, step):
        body = Scanner(step.rest, self.names.mean).plain()
        self.raw_link(step).conn.send(
            wire.put_frame(wire.FRAME_BODY, step.channel, wire.octets(body)))

    def on_frame(self, step):
        scan, link = Scanner(step.rest, self.names.mean), self.raw_link(step)
        kind, payload = int(scan.plain()), wire.octets(scan.plain())
        opts = {k: int(v) for k, v in self.options(scan.rest()).items()}
        link.conn.send(wire.put_frame(kind, opts.pop("channel", step.channel), payload, **opts))

    def on_bytes(self, step):
        self.raw_link(step).conn.send(wire.octets(Scanner(step.rest, self.names.mean).plain()))

    # -- management ------------------------------------------------------------------------

    def on_ctl(self, step):
        out = self.place.ctl([self.names.mean(word) for word in step.rest.split()])
        if out.returncode:
            self.say("%d %s" % (out.returncode, quoted(out.stderr)))

    def on_http(self, step):
        scan = Scanner(step.rest)
        method, path = scan.match(r"[A-Z]+").group(), scan.match(r"\s+(\S+)").group(1)
        body, scan.at = self.json_of(step.rest, scan.at)
        opts = dict(word.split("=", 1) for word in scan.rest().split())
        user = self.names.mean(opts.get("as", "guest:guest"))
        status, answer = self.place.http(method, self.path(path), body, user)
        self.say(("%d %s" % (status, self.chosen(answer, opts.get("show"), status))).strip())

    def path(self, text):
        """Names in a path are escaped one by one."""
        return "/".join(urllib.parse.quote(self.names.mean(part), safe="?=&%")
                        for part in text.split("/"))

    def json_of(self, text, at):
        begin = re.compile(r"\s*(?=[{\[])").match(text, at)
        if not begin:
            return None, at
        _, end = json.JSONDecoder().raw_decode(text, begin.end())
        return self.names.mean(text[begin.end():end]), end

    def chosen(self, answer, fields, status):
        """The named fields of an answer, or all of a refusal."""
        try:
            value = json.loads(answer)
        except ValueError:
            return ""
        if fields is None:
            return json.dumps(value, sort_keys=True) if status >= 400 else ""
        if isinstance(value, list):
            rows = [json.dumps(pick(v, fields), sort_keys=True) for v in value]
            return "[%s]" % ", ".join(sorted(rows))
        return json.dumps(pick(value, fields), sort_keys=True)


def pick(value, fields):
    if fields == "all":
        return value
    out = {}
    for field in fields.split(","):
        inner = value
        for part in field.split("."):
            inner = inner.get(part, "(absent)") if isinstance(inner, dict) else "(absent)"
        out[field] = inner
    return out


def typed(kind, value):
    return int(value) if kind in ("octet", "short", "long", "longlong") else value


NUMBERS = {name for name, kind in wire.PROPERTIES if kind in ("octet", "longlong")}


def wire_prop(name, value):
    """Properties have their types; a word that looks like a number may be a string there."""
    if name in NUMBERS or name == "headers":
        return value
    return value if isinstance(value, (str, bytes)) else str(value)


def shown(event, without=()):
    """An event as a line: every field that says something, every octet of its content."""
    args = event.args
    if event.name == "connection.start":
        args = normal.start_fields(args)
    parts = [event.name]
    if event.name in CLOSES:
        spec = wire.METHODS_BY_ID.get((args["class_id"], args["method_id"]))
        culprit = spec.name if spec else "%d.%d" % (args["class_id"], args["method_id"])
        return "%s %d %s %s" % (event.name, args["reply_code"], quoted(args["reply_text"]), culprit)
    for name, kind in event.spec.fields:
        value = args[name]
        if name in without or name.startswith("reserved") and not value:
            continue
        if kind == "bit":
            parts += [name] if value else []
        elif value not in ("", b""):
            parts.append("%s=%s" % (name, show_plain(value)))
    if event.spec.has_content:
        props = wire.read_properties(event.raw_props, tagged=True)
        if props:
            parts.append("{%s}" % ", ".join("%s: %s" % (k, _prop(v)) for k, v in props.items()))
        parts.append(quoted(event.body))
    return " ".join(parts)


def _prop(value):
    return show(wire.Tagged("F", value)) if isinstance(value, dict) else show_plain(value)
