"""AMQP 0-9-1 on the wire, for tests: values, tables, methods, properties, frames.

It is independent of the C code and of every client library on purpose: a test that says what
octets go out must not share a mistake with what it tests. It is lenient when it encodes (a
test may lie about any length) and strict when it decodes (a server may not).
"""

import struct
from collections import namedtuple

FRAME_METHOD, FRAME_HEADER, FRAME_BODY, FRAME_HEARTBEAT = 1, 2, 3, 8
FRAME_END = 0xCE
FRAME_OVERHEAD = 8
FRAME_MIN_SIZE = 4096
PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
CLASS_BASIC = 60

# One line a method: class id, method id, name, fields. A trailing "+" marks content.
METHODS_TEXT = """
10 10 connection.start version_major:octet version_minor:octet server_properties:table mechanisms:longstr locales:longstr
10 11 connection.start_ok client_properties:table mechanism:shortstr response:longstr locale:shortstr
10 20 connection.secure challenge:longstr
10 21 connection.secure_ok response:longstr
10 30 connection.tune channel_max:short frame_max:long heartbeat:short
10 31 connection.tune_ok channel_max:short frame_max:long heartbeat:short
10 40 connection.open virtual_host:shortstr reserved_1:shortstr reserved_2:bit
10 41 connection.open_ok reserved_1:shortstr
10 50 connection.close reply_code:short reply_text:shortstr class_id:short method_id:short
10 51 connection.close_ok
10 60 connection.blocked reason:shortstr
10 61 connection.unblocked
10 70 connection.update_secret new_secret:longstr reason:shortstr
10 71 connection.update_secret_ok
20 10 channel.open reserved_1:shortstr
20 11 channel.open_ok reserved_1:longstr
20 20 channel.flow active:bit
20 21 channel.flow_ok active:bit
20 40 channel.close reply_code:short reply_text:shortstr class_id:short method_id:short
20 41 channel.close_ok
30 10 access.request realm:shortstr exclusive:bit passive:bit active:bit write:bit read:bit
30 11 access.request_ok ticket:short
40 10 exchange.declare reserved_1:short exchange:shortstr type:shortstr passive:bit durable:bit auto_delete:bit internal:bit nowait:bit arguments:table
40 11 exchange.declare_ok
40 20 exchange.delete reserved_1:short exchange:shortstr if_unused:bit nowait:bit
40 21 exchange.delete_ok
40 30 exchange.bind reserved_1:short destination:shortstr source:shortstr routing_key:shortstr nowait:bit arguments:table
40 31 exchange.bind_ok
40 40 exchange.unbind reserved_1:short destination:shortstr source:shortstr routing_key:shortstr nowait:bit arguments:table
40 51 exchange.unbind_ok
50 10 queue.declare reserved_1:short queue:shortstr passive:bit durable:bit exclusive:bit auto_delete:bit nowait:bit arguments:table
50 11 queue.declare_ok queue:shortstr message_count:long consumer_count:long
50 20 queue.bind reserved_1:short queue:shortstr exchange:shortstr routing_key:shortstr nowait:bit arguments:table
50 21 queue.bind_ok
50 30 queue.purge reserved_1:short queue:shortstr nowait:bit
50 31 queue.purge_ok message_count:long
50 40 queue.delete reserved_1:short queue:shortstr if_unused:bit if_empty:bit nowait:bit
50 41 queue.delete_ok message_count:long
50 50 queue.unbind reserved_1:short queue:shortstr exchange:shortstr routing_key:shortstr arguments:table
50 51 queue.unbind_ok
60 10 basic.qos prefetch_size:long prefetch_count:short global:bit
60 11 basic.qos_ok
60 20 basic.consume reserved_1:short queue:shortstr consumer_tag:shortstr no_local:bit no_ack:bit exclusive:bit nowait:bit arguments:table
60 21 basic.consume_ok consumer_tag:shortstr
60 30 basic.cancel consumer_tag:shortstr nowait:bit
60 31 basic.cancel_ok consumer_tag:shortstr
60 40 basic.publish+ reserved_1:short exchange:shortstr routing_key:shortstr mandatory:bit immediate:bit
60 50 basic.return+ reply_code:short reply_text:shortstr exchange:shortstr routing_key:shortstr
60 60 basic.deliver+ consumer_tag:shortstr delivery_tag:longlong redelivered:bit exchange:shortstr routing_key:shortstr
60 70 basic.get reserved_1:short queue:shortstr no_ack:bit
60 71 basic.get_ok+ delivery_tag:longlong redelivered:bit exchange:shortstr routing_key:shortstr message_count:long
60 72 basic.get_empty reserved_1:shortstr
60 80 basic.ack delivery_tag:longlong multiple:bit
60 90 basic.reject delivery_tag:longlong requeue:bit
60 100 basic.recover_async requeue:bit
60 110 basic.recover requeue:bit
60 111 basic.recover_ok
60 120 basic.nack delivery_tag:longlong multiple:bit requeue:bit
85 10 confirm.select nowait:bit
85 11 confirm.select_ok
90 10 tx.select
90 11 tx.select_ok
90 20 tx.commit
90 21 tx.commit_ok
90 30 tx.rollback
90 31 tx.rollback_ok
"""

MethodSpec = namedtuple("MethodSpec", "name class_id method_id fields has_content")
Frame = namedtuple("Frame", "type channel payload")
Tagged = namedtuple("Tagged", "tag value")  # a table value whose type letter the test chooses


def _parse_methods():
    for line in METHODS_TEXT.strip().splitlines():
        class_id, method_id, name, *fields = line.split()
        pairs = tuple(tuple(f.split(":")) for f in fields)
        yield MethodSpec(name.rstrip("+"), int(class_id), int(method_id), pairs, name[-1] == "+")


METHODS = {m.name: m for m in _parse_methods()}
METHODS_BY_ID = {(m.class_id, m.method_id): m for m in METHODS.values()}

# Basic properties, most significant flag bit first.
PROPERTIES = (
    ("content_type", "shortstr"), ("content_encoding", "shortstr"), ("headers", "table"),
    ("delivery_mode", "octet"), ("priority", "octet"), ("correlation_id", "shortstr"),
    ("reply_to", "shortstr"), ("expiration", "shortstr"), ("message_id", "shortstr"),
    ("timestamp", "longlong"), ("type", "shortstr"), ("user_id", "shortstr"),
    ("app_id", "shortstr"), ("cluster_id", "shortstr"),
)


class WireError(AssertionError):
    """The server sent octets that are not AMQP 0-9-1."""


# ---- values -------------------------------------------------------------------------------

def octets(value):
    return value.encode() if isinstance(value, str) else bytes(value)


def put_shortstr(value):
    raw = octets(value)
    return struct.pack(">B", len(raw)) + raw


def put_longstr(value):
    raw = octets(value)
    return struct.pack(">I", len(raw)) + raw


_FIXED = {"octet": ">B", "short": ">H", "long": ">I", "longlong": ">Q"}

# Letters as RabbitMQ uses them (they differ from the specification's text for some).
_TABLE_FIXED = {"b": ">b", "B": ">B", "s": ">h", "u": ">H", "I": ">i", "i": ">I", "l": ">q",
                "f": ">f", "d": ">d", "T": ">Q"}


def _tag_of(value):
    if isinstance(value, bool):
        return "t"
    if isinstance(value, int):
        return "I" if -2**31 <= value < 2**31 else "l"
    for kind, tag in ((float, "d"), (str, "S"), (bytes, "S"), (dict, "F"), (list, "A"),
                      (type(None), "V")):
        if isinstance(value, kind):
            return tag
    raise TypeError("no field type for %r" % (value,))


def put_field(value):
    if not isinstance(value, Tagged):
        value = Tagged(_tag_of(value), value)
    tag, v = value
    head = tag.encode("latin-1")
    if tag in _TABLE_FIXED:
        return head + struct.pack(_TABLE_FIXED[tag], v)
    if tag == "t":
        return head + (b"\x01" if v else b"\x00")
    if tag in "Sx":
        return head + put_longstr(v)
    if tag == "D":  # (scale, unscaled)
        return head + struct.pack(">Bi", *v)
    if tag == "F":
        return head + put_table(v)
    if tag == "A":
        return head + put_longstr(b"".join(put_field(e) for e in v))
    if tag == "V":
        return head
    return head + octets(v)  # an unknown letter: the test gives the octets


def put_table(table):
    """A dict, or ready-made octets of a whole table (length included) for lying ones."""
    if isinstance(table, bytes):
        return table
    return put_longstr(b"".join(put_shortstr(k) + put_field(v) for k, v in table.items()))


def put_fields(fields, args):
    """Fields in wire order; consecutive bits share octets."""
    out, bits = [], []

    def flush():
        for i in range(0, len(bits), 8):
            out.append(bytes([sum(1 << n for n, bit in enumerate(bits[i:i + 8]) if bit)]))
        bits.clear()

    for name, kind in fields:
        value = args.get(name)
        if kind == "bit":
            bits.append(bool(value))
            continue
        flush()
        if kind in _FIXED:
            out.append(struct.pack(_FIXED[kind], value or 0))
        elif kind == "shortstr":
            out.append(put_shortstr(value or ""))
        elif kind == "longstr":
            out.append(put_longstr(value or ""))
        else:
            out.append(put_table(value or {}))
    flush()
    return b"".join(out)


class Reader:
    """Reads values off octets; running out is the sender's mistake."""

    def __init__(self, data):
        self.data, self.at = bytes(data), 0

    def take(self, n):
        if self.at + n > len(self.data):
            raise WireError("%d octets wanted at %d of %r" % (n, self.at, self.data[:80]))
        self.at += n
        return self.data[self.at - n:self.at]

    def unpack(self, fmt):
        return struct.unpack(fmt, self.take(struct.calcsize(fmt)))[0]

    def shortstr(self):
        return text(self.take(self.unpack(">B")))

    def longstr(self):
        return self.take(self.unpack(">I"))

    def at_end(self):
        return self.at == len(self.data)

    def table(self, tagged=False):
        inner, out = Reader(self.longstr()), {}
        while not inner.at_end():
            key = inner.shortstr()
            if key in out:
                raise WireError("table names %r twice" % key)
            out[key] = inner.field(tagged)
        return out

    def field(self, tagged=False):
        tag = self.take(1).decode("latin-1")
        value = self._field_value(tag, tagged)
        return Tagged(tag, value) if tagged else value

    def _field_value(self, tag, tagged):
        if tag in _TABLE_FIXED:
            return self.unpack(_TABLE_FIXED[tag])
        if tag == "t":
            return self.unpack(">B") != 0
        if tag == "S":
            return text(self.longstr())
        if tag == "x":
            return self.longstr()
        if tag == "D":
            return struct.unpack(">Bi", self.take(5))
        if tag == "F":
            return self.table(tagged)
        if tag == "A":
            inner, out = Reader(self.longstr()), []
            while not inner.at_end():
                out.append(inner.field(tagged))
            return out
        if tag == "V":
            return None
        raise WireError("unknown field type %r" % tag)

    def fields(self, fields):
        out, bit, byte = {}, 8, 0
        for name, kind in fields:
            if kind == "bit":
                if bit == 8:
                    bit, byte = 0, self.unpack(">B")
                out[name] = bool(byte >> bit & 1)
                bit += 1
                continue
            bit = 8
            if kind in _FIXED:
                out[name] = self.unpack(_FIXED[kind])
            else:
                out[name] = getattr(self, kind)()
        return out


def text(raw):
    """Names and texts are UTF-8 nearly always; what is not stays octets."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


# ---- methods, properties, frames ----------------------------------------------------------

def put_method(name, **args):
    spec = METHODS[name]
    unknown = set(args) - {field for field, _ in spec.fields}
    if unknown:
        raise TypeError("%s has no field %s" % (name, ", ".join(sorted(unknown))))
    return struct.pack(">HH", spec.class_id, spec.method_id) + put_fields(spec.fields, args)


def read_method(payload):
    r = Reader(payload)
    ids = r.unpack(">H"), r.unpack(">H")
    if ids not in METHODS_BY_ID:
        raise WireError("method %d.%d from the server" % ids)
    spec = METHODS_BY_ID[ids]
    args = r.fields(spec.fields)
    if not r.at_end():
        raise WireError("%s has octets to spare" % spec.name)
    return spec, args


def put_properties(props):
    """Flags and values; ready-made octets pass as they are."""
    if isinstance(props, bytes):
        return props
    unknown = set(props) - {name for name, _ in PROPERTIES}
    if unknown:
        raise TypeError("no property %s" % ", ".join(sorted(unknown)))
    flags, out = 0, []
    for i, (name, kind) in enumerate(PROPERTIES):
        if name in props:
            flags |= 0x8000 >> i
            out.append(put_fields(((name, kind),), props))
    return struct.pack(">H", flags) + b"".join(out)


def read_properties(raw, tagged=False):
    r = Reader(raw)
    flags, out = r.unpack(">H"), {}
    for i, (name, kind) in enumerate(PROPERTIES):
        if flags & 0x8000 >> i:
            out[name] = r.table(tagged) if kind == "table" else r.fields(((name, kind),))[name]
    if not r.at_end():
        raise WireError("properties have octets to spare")
    return out


def put_header(body_size, props=None, class_id=CLASS_BASIC, weight=0):
    return struct.pack(">HHQ", class_id, weight, body_size) + put_properties(props or {})


def read_header(payload):
    """(body size, octets of the properties)"""
    r = Reader(payload)
    class_id, _, size = r.unpack(">H"), r.unpack(">H"), r.unpack(">Q")
    if class_id != CLASS_BASIC:
        raise WireError("content header of class %d" % class_id)
    return size, r.data[r.at:]


def put_frame(kind, channel, payload, end=FRAME_END, size=None):
    size = len(payload) if size is None else size
    return struct.pack(">BHI", kind, channel, size) + payload + bytes([end])


def method_frame(channel, name, **args):
    return put_frame(FRAME_METHOD, channel, put_method(name, **args))


def header_frame(channel, body_size, props=None, **kw):
    return put_frame(FRAME_HEADER, channel, put_header(body_size, props, **kw))


def body_frames(channel, body, frame_max):
    step = frame_max - FRAME_OVERHEAD
    return b"".join(put_frame(FRAME_BODY, channel, body[i:i + step])
                    for i in range(0, len(body), step))


def content_frames(channel, body, props=None, frame_max=131072):
    body = octets(body)
    return header_frame(channel, len(body), props) + body_frames(channel, body, frame_max)


def heartbeat_frame():
    return put_frame(FRAME_HEARTBEAT, 0, b"")


def cut_frame(data):
    """(frame, octets used), or None when there is not a whole frame yet."""
    if len(data) < 7:
        return None
    kind, channel, size = struct.unpack_from(">BHI", data)
    if kind not in (FRAME_METHOD, FRAME_HEADER, FRAME_BODY, FRAME_HEARTBEAT):
        raise WireError("frame type %d from the server: %r" % (kind, bytes(data[:64])))
    whole = size + FRAME_OVERHEAD
    if len(data) < whole:
        return None
    if data[whole - 1] != FRAME_END:
        raise WireError("frame without its end octet")
    return Frame(kind, channel, bytes(data[7:whole - 1])), whole
