"""What may happen to a conversation on its way: small lies about octets, large ones about order."""

import struct

import wire

NASTY_NUMBERS = (0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000,
                 0xffffffff)


def flip_bits(data, rng):
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        if out:
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def overwrite(data, rng):
    """A number from the edge somewhere in it."""
    number, size = rng.choice(NASTY_NUMBERS), rng.choice((1, 2, 4, 8))
    raw = (number & (256 ** size - 1)).to_bytes(size, "big")
    at = rng.randrange(len(data) + 1)
    return data[:at] + raw + data[at + size:]


def cut_short(data, rng):
    return data[:rng.randrange(len(data) + 1)]


def lengthen(data, rng):
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.choice((1, 2, 10, 300))) + data[at:]


def other_head(data, rng):
    """Another type, channel or length in the frame's head."""
    if len(data) < 8:
        return data
    kind, channel, size = struct.unpack(">BHI", data[:7])
    which = rng.randrange(3)
    kind = rng.choice((0, 1, 2, 3, 4, 8, 65)) if which == 0 else kind
    channel = rng.choice((0, 1, 2, 5, 2047, 2048, 65535)) if which == 1 else channel
    size = rng.choice((0, size - 1, size + 1, 4088, 4089, 131064, 131065) + NASTY_NUMBERS) \
        if which == 2 else size
    return struct.pack(">BHI", kind, channel, size & 0xffffffff) + data[7:]


def other_payload(data, rng):
    """The payload changed and the frame true to it: gets past the framing."""
    if len(data) < 8:
        return data
    payload = rng.choice((flip_bits, overwrite, cut_short, lengthen))(data[7:-1], rng)
    return data[:3] + struct.pack(">I", len(payload)) + payload + data[-1:]


def any_value(kind, rng):
    if kind == "bit":
        return rng.random() < 0.5
    if kind in ("octet", "short", "long", "longlong"):
        bits = {"octet": 8, "short": 16, "long": 32, "longlong": 64}[kind]
        return rng.choice((0, 1, 2, rng.getrandbits(bits), 2**bits - 1))
    if kind == "shortstr":
        return rng.choice((b"", b"hostile.q1", b"hostile.topic", b"amq.topic", b"topic", b"\xff\xfe",
                           b"x" * 255, b"a\0b", b"amq.rabbitmq.reply-to", b"c"))
    if kind == "longstr":
        return rng.choice((b"", b"guest", b"\0guest\0guest", rng.randbytes(50), b"x" * 3000))
    return any_table(rng, 0)


def any_table(rng, depth):
    out = {}
    for _ in range(rng.randrange(5)):
        key = rng.choice(("x-match", "x-message-ttl", "x-max-length", "x-expires", "x-max-priority",
                          "x-dead-letter-exchange", "alternate-exchange", "x-priority", "CC", "BCC",
                          "x-death", "x-overflow", "x-queue-type", "", "k" * 200))
        out[key] = any_field(rng, depth)
    return out


def any_field(rng, depth):
    which = rng.randrange(9 if depth < 4 else 6)
    if which == 6:
        return any_table(rng, depth + 1)
    if which > 6:
        return [any_field(rng, depth + 1) for _ in range(rng.randrange(4))]
    return (rng.randrange(-5, 5), "any", rng.random(), None, True,
            wire.Tagged("l", rng.getrandbits(63)))[which]


def any_method(rng):
    """A well-formed method of any kind, with arguments of chance."""
    spec = rng.choice(list(wire.METHODS.values()))
    args = {name: any_value(kind, rng) for name, kind in spec.fields}
    channel = 0 if spec.class_id == 10 else rng.choice((1, 1, 1, 2, 0))
    return wire.method_frame(channel, spec.name, **args)


ONE_FRAME = (flip_bits, overwrite, cut_short, lengthen, other_head, other_payload, other_payload)


def mutate(frames, rng):
    """A list of frames from another; now and then it stays as it was."""
    out = list(frames)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 6))):
        if not out:
            break
        # The handshake's frames are spared mostly, or little would get past it.
        at = rng.randrange(0 if rng.random() < 0.15 else min(5, len(out) - 1), len(out))
        what = rng.randrange(12)
        if what < 6:
            out[at] = rng.choice(ONE_FRAME)(out[at], rng)
        elif what == 6:
            del out[at]
        elif what == 7:
            out[at:at] = [out[at]] * rng.choice((1, 1, 2, 50))
        elif what == 8:
            other = rng.randrange(len(out))
            out[at], out[other] = out[other], out[at]
        elif what == 9:
            out[at:at] = [any_method(rng) for _ in range(rng.choice((1, 3, 10)))]
        elif what == 10:
            out = out[:at]
        else:
            tail = out[at:]
            rng.shuffle(tail)
            out[at:] = tail
    return out


def pieces(data, rng):
    """How the octets are written: at once, in lumps, or one by one."""
    how = rng.randrange(5)
    if how < 3 or not data:
        return [data]
    if how == 3:
        cuts = sorted({rng.randrange(len(data)) for _ in range(10)} | {0, len(data)})
        return [data[a:b] for a, b in zip(cuts, cuts[1:])]
    return [data[i:i + 1] for i in range(min(len(data), 700))] + [data[700:]]
