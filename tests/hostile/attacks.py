"""Each attack: what a hostile client does to the world, with a seed that decides all of it.

An attack ends by itself within some seconds, closes what it opened, and judges nothing: whether
the world is well is asked afterwards. What servers answer is read and dropped; that they end the
connection is their right.
"""

import base64
import random
import socket
import ssl
import struct
import threading
import time

import conversations
import mutations
import wire
from conversations import content, hello, method, publish
from harness.client import Conn
from harness.servers import PROXY_LOOPBACK

HEAD = b"".join(hello(frame_max=131072))
GONE = (OSError, ssl.SSLError, ValueError)


# ---- sockets ------------------------------------------------------------------------------------

def dial(address, rcvbuf=None):
    if isinstance(address, str):
        s = socket.socket(socket.AF_UNIX)
    else:
        s = socket.socket()
        if rcvbuf:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    s.settimeout(5)
    s.connect(address)
    return s


def hang_up(s, rng):
    """In order, or without a word."""
    try:
        if rng.random() < 0.5:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    s.close()


def drain(s, seconds):
    """Read until it is quiet for so long, or over."""
    s.settimeout(seconds)
    try:
        while s.recv(262144):
            pass
        return True
    except socket.timeout:
        return False
    except GONE:
        return True


def tell(address, data, rng, wrap=None, quiet_s=0.03):
    """Connect, write in pieces, read what comes, go."""
    try:
        s = dial(address)
    except OSError:
        return
    try:
        if wrap:
            s = wrap(s)
        for piece in mutations.pieces(data, rng):
            s.sendall(piece)
            if rng.random() < 0.02:
                time.sleep(0.002)
        drain(s, quiet_s if rng.random() < 0.8 else 0.2)
    except GONE:
        pass
    hang_up(s, rng)


def send_until_stuck(s, data, times, seconds=2):
    """Write the same again and again until the other side stops reading, or ends it."""
    s.settimeout(seconds)
    try:
        for _ in range(times):
            s.sendall(data)
        return True
    except GONE:
        return False


def connections(address, count, data=HEAD, rcvbuf=None):
    out = []
    for _ in range(count):
        try:
            s = dial(address, rcvbuf)
            s.sendall(data)
            out.append(s)
        except OSError:
            break
    return out


def drop(socks, rng):
    for s in socks:
        hang_up(s, rng)


# ---- mutated octets -----------------------------------------------------------------------------

def fuzz_amqp(world, rng, count=60):
    for _ in range(count):
        frames = mutations.mutate(rng.choice(conversations.CONVERSATIONS), rng)
        address = rng.choice((world.broker.address, world.broker.address, world.proxy.address))
        tell(address, b"".join(frames), rng)


def fuzz_methods(world, rng, count=15):
    """Well-formed methods in any order, many on one connection."""
    for _ in range(count):
        data = b"".join(hello()) + b"".join(mutations.any_method(rng) for _ in range(40))
        tell(rng.choice((world.broker.address, world.proxy.address)), data, rng)


def fuzz_noise(world, rng, count=20):
    for _ in range(count):
        start = rng.choice((b"", wire.PROTOCOL_HEADER, b"AMQP\0\1\0\0", b"AMQP\3\1\0\0", b"GET / HT",
                            HEAD))
        address = rng.choice((world.broker.address, world.proxy.address, world.management,
                              world.stats))
        tell(address, start + rng.randbytes(rng.choice((1, 7, 100, 5000))), rng)


def fuzz_http(world, rng, count=30):
    for _ in range(count):
        request = b"".join(rng.choice(conversations.HTTP) for _ in range(rng.choice((1, 1, 3))))
        for _ in range(rng.choice((0, 1, 2, 5))):
            request = rng.choice((mutations.flip_bits, mutations.cut_short, mutations.lengthen,
                                  mutations.overwrite))(request, rng)
        tell(rng.choice((world.management, world.management, world.stats)), request, rng)


def fuzz_sockets(world, rng, count=10):
    """The Unix sockets, which root alone may reach: garbage, and questions that change nothing."""
    for _ in range(count):
        data = rng.choice((b"show stat\n", b"show info\n", b"show sess\n", b"help\n", b"prompt\n",
                           b"show servers state\n", rng.choice(conversations.HTTP[:10])))
        for _ in range(rng.choice((0, 1, 3))):
            data = rng.choice((mutations.flip_bits, mutations.cut_short,
                               mutations.lengthen))(data, rng)
        tell(rng.choice(world.sockets()), data * rng.choice((1, 1, 100)), rng)


def fuzz_tls(world, rng, count=15):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    address = ("127.0.0.1", world.tls_port)
    client_hello = client_hello_of(context)
    for _ in range(count):
        which = rng.randrange(4)
        if which == 0:
            tell(address, mutations.flip_bits(client_hello, rng), rng)
        elif which == 1:
            tell(address, mutations.cut_short(client_hello, rng) + rng.randbytes(50), rng)
        elif which == 2:
            tell(address, HEAD, rng)
        else:
            frames = mutations.mutate(rng.choice(conversations.CONVERSATIONS), rng)
            tell(address, b"".join(frames), rng, wrap=context.wrap_socket)


def client_hello_of(context):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        context.wrap_bio(incoming, outgoing).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def fuzz_proxy_header(world, rng, count=20):
    for _ in range(count):
        header = rng.choice((PROXY_LOOPBACK, b"PROXY TCP4 10.1.2.3 10.4.5.6 1 2\r\n",
                             b"PROXY TCP6 ::1 ::1 1 2\r\n", b"PROXY UNKNOWN\r\n",
                             PROXY_LOOPBACK[:14] + b"\xff\xff" + bytes(65535)))
        header = rng.choice((mutations.flip_bits, mutations.cut_short, mutations.lengthen,
                             mutations.overwrite, lambda h, _: h))(header, rng)
        tell(world.proxied.address, header + HEAD, rng)


# ---- too much of something ----------------------------------------------------------------------

def anywhere(world, rng):
    return rng.choice((world.broker.address, world.proxy.address))


def too_many_channels(world, rng):
    opens = b"".join(method(n, "channel.open") for n in range(2, 2100))
    socks = connections(anywhere(world, rng), 8, HEAD + opens)
    for s in socks:
        drain(s, 0.3)
    drop(socks, rng)


def too_many_consumers(world, rng):
    data = method(1, "queue.declare", queue="hostile.consumers", auto_delete=True) + \
        b"".join(method(1, "basic.consume", queue="hostile.consumers", consumer_tag="t%d" % i,
                        nowait=True) for i in range(5000))
    socks = connections(anywhere(world, rng), 3, HEAD + data)
    for s in socks:
        send_until_stuck(s, b"".join(publish(1, "", "hostile.consumers", b"x")), 1000)
        drain(s, 0.3)
    drop(socks, rng)


def too_many_queues(world, rng):
    tag = rng.getrandbits(32)
    data = b"".join(method(1, "queue.declare", queue="hostile-%x-%d" % (tag, i), exclusive=True,
                           nowait=True) for i in range(5000))
    socks = connections(anywhere(world, rng), 1, HEAD + data)
    for s in socks:
        drain(s, 0.5)
    drop(socks, rng)


def too_many_bindings(world, rng):
    words = ("*", "#", "a", "b", "x" * 40)
    data = method(1, "exchange.declare", exchange="hostile.bound", type="topic",
                  auto_delete=True) + \
        method(1, "queue.declare", queue="hostile.bound", exclusive=True)
    data += b"".join(method(1, "queue.bind", queue="hostile.bound", exchange="hostile.bound",
                            routing_key=".".join(rng.choice(words) for _ in range(
                                rng.randrange(1, 6))), nowait=True) for _ in range(4000))
    # A key of many words against hundreds of patterns with a hash: the routing must not explode.
    data += b"".join(method(1, "queue.bind", queue="hostile.bound", exchange="hostile.bound",
                            routing_key=".".join(["#", "a"] * n), nowait=True)
                     for n in range(1, 60))
    data += b"".join(publish(1, "hostile.bound", ".".join(["a"] * 120), b"x")) * 20
    socks = connections(anywhere(world, rng), 1, HEAD + data)
    for s in socks:
        drain(s, 0.5)
    drop(socks, rng)


def fan_out(world, rng):
    """A message for five hundred queues, again and again, from clients that never wait."""
    data = b"".join(method(1, "queue.declare", queue="hostile.fan%d" % i, exclusive=True,
                           nowait=True) + method(1, "queue.bind", queue="hostile.fan%d" % i,
                                                 exchange="amq.fanout", nowait=True)
                    for i in range(500))
    address = anywhere(world, rng)
    owner = connections(address, 1, HEAD + data)
    for s in owner:
        drain(s, 0.5)
    flood = b"".join(publish(1, "amq.fanout", "", b"x")) * 100
    senders = connections(address, 3)
    threads = [threading.Thread(target=send_until_stuck, args=(s, flood, 5)) for s in senders]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    drop(senders + owner, rng)


def big_headers(world, rng):
    """A megabyte of headers, announced in one frame or sent in many."""
    table = {"k%d" % i: "v" * 1000 for i in range(1000)}
    header = wire.put_header(5, {"headers": table})
    start = method(1, "basic.publish", exchange="", routing_key="hostile")
    for data in (wire.put_frame(wire.FRAME_HEADER, 1, header),
                 wire.put_frame(wire.FRAME_HEADER, 1, header[:100000]) +
                 wire.put_frame(wire.FRAME_HEADER, 1, header[100000:200000])):
        tell(anywhere(world, rng), HEAD + start + data, rng)
    # As large as a frame may be, for real, many times.
    fits = content(1, b"hello", headers={"k%d" % i: "v" * 1000 for i in range(120)})
    data = method(1, "queue.declare", queue="hostile.headers", exclusive=True) + \
        b"".join([start] + fits) * 20 + \
        b"".join(publish(1, "", "hostile.headers", b"x", headers={"k": "v" * 100000})) * 20
    tell(anywhere(world, rng), HEAD + data, rng)
    properties = wire.PROTOCOL_HEADER + method(0, "connection.start_ok", client_properties=table,
                                               mechanism="PLAIN", response=b"\0guest\0guest",
                                               locale="en_US")
    tell(anywhere(world, rng), properties, rng)


def deep_tables(world, rng):
    """Tables in tables in tables."""
    for depth in (10, 100, 5000, 20000):
        inner = b""
        for _ in range(depth):
            inner = b"\x01kF" + struct.pack(">I", len(inner)) + inner
            if len(inner) > 130000:
                break
        table = struct.pack(">I", len(inner)) + inner
        array = b"A"
        body = b""
        for _ in range(depth):
            body = array + struct.pack(">I", len(body)) + body
            if len(body) > 130000:
                break
        lists = struct.pack(">I", len(body) + 2) + b"\x01a" + body
        for t in (table, lists):
            data = method(1, "queue.declare", queue="hostile.deep", exclusive=True, arguments=t)
            tell(anywhere(world, rng), HEAD + data, rng)
            data = method(1, "basic.publish", exchange="amq.headers", routing_key="") + \
                wire.header_frame(1, 0, struct.pack(">H", 0x2000) + t)
            tell(anywhere(world, rng), HEAD + data, rng)


def big_frames(world, rng):
    """Lengths that nobody agreed to; the octets follow, for a while."""
    for size in (131065, 1 << 20, 1 << 30, 0xffffffff):
        for kind in (1, 2, 3, 8):
            head = struct.pack(">BHI", kind, 1, size)
            tell(anywhere(world, rng), HEAD + head + bytes(300000), rng)
    for size in (0, 1 << 40, 1 << 63, 2**64 - 1):
        data = method(1, "basic.publish", exchange="", routing_key="hostile") + \
            wire.header_frame(1, size)
        tell(anywhere(world, rng), HEAD + data + wire.put_frame(3, 1, bytes(100000)) * 3, rng)


# ---- slow, silent, half open --------------------------------------------------------------------

def half_open(world, rng):
    """Many that stop at every step of the handshake, and wait."""
    frames = hello()
    socks = []
    for address in (world.broker.address, world.proxy.address):
        for step in range(len(frames)):
            data = b"".join(frames[:step]) + frames[step][:len(frames[step]) // 2]
            socks += connections(address, 15, data)
    socks += connections(("127.0.0.1", world.tls_port), 20, b"\x16\x03\x01")
    socks += connections(world.proxied.address, 20, b"PROXY TCP4 1.2.")
    world.check()
    drop(socks, rng)


def slow_loris(world, rng):
    """An octet now, an octet then."""
    request = conversations.HTTP[0] + b"X-Header: abc\r\n" * 20
    socks = [(s, HEAD) for a in (world.broker.address, world.proxy.address)
             for s in connections(a, 25, b"")]
    socks += [(s, request) for a in (world.management, world.stats)
              for s in connections(a, 25, b"")]
    for at in range(20):
        for s, data in socks:
            try:
                s.sendall(data[at:at + 1])
            except OSError:
                pass
        time.sleep(0.1)
    world.check()
    drop([s for s, _ in socks], rng)


def connect_flood(world, rng):
    for address in (world.broker.address, world.proxy.address, world.management, world.stats):
        for _ in range(150):
            drop(connections(address, 1, rng.choice((b"", b"A", HEAD))), rng)
        socks = connections(address, 150, rng.choice((b"", HEAD)))
        drop(socks, rng)


def password_guessing(world, rng):
    for i in range(30):
        response = b"\0guest\0guess%d" % i if rng.random() < 0.7 else rng.randbytes(20)
        mechanism = rng.choice(("PLAIN", "AMQPLAIN", "EXTERNAL", "CRAM-MD5", "x" * 255))
        data = wire.PROTOCOL_HEADER + method(0, "connection.start_ok", mechanism=mechanism,
                                             response=response, locale="en_US", client_properties={
                                                 "capabilities": {
                                                     "authentication_failure_close": True}})
        tell(anywhere(world, rng), data, rng, quiet_s=0.01)
    words = [base64.b64encode(b"guest:guess%d" % i) for i in range(30)]
    for word in words + [b"", b"!!!", b"Z3Vlc3Q=", base64.b64encode(rng.randbytes(3000))]:
        tell(world.management, b"GET /api/overview HTTP/1.1\r\nHost: x\r\nAuthorization: Basic " +
             word + b"\r\n\r\n", rng, quiet_s=0.01)


# ---- those who do not read, do not acknowledge, do not end --------------------------------------

def filled(address, name, count, body, **declare):
    """A queue with so many messages; its owner's connection."""
    conn = Conn(address)
    ch = conn.channel()
    ch.call("queue.declare", queue=name, **declare)
    block = wire.method_frame(ch.number, "basic.publish", exchange="", routing_key=name) + \
        wire.content_frames(ch.number, body, {}, 131072)
    for _ in range(count // 100):
        conn.send(block * 100, 60)
    ch.barrier()
    return conn


def deaf_consumers(world, rng):
    """They consume and never read; more than their sockets hold waits for them."""
    address = anywhere(world, rng)
    conn = filled(address, "hostile.deaf", 2000, b"x" * 10000, auto_delete=False)
    consume = method(1, "basic.consume", queue="hostile.deaf", no_ack=True)
    socks = connections(address, 10, HEAD + consume, rcvbuf=4096)
    world.check()
    drop(socks, rng)
    conn.send_method(1, "queue.delete", queue="hostile.deaf")
    conn.expect("queue.delete_ok", 1)
    conn.close()


def deaf_askers(world, rng):
    """They ask and ask and never read an answer."""
    question = method(1, "queue.declare", queue="hostile.asked", exclusive=True) * 500
    socks = connections(anywhere(world, rng), 3, HEAD, rcvbuf=4096)
    for s in socks:
        send_until_stuck(s, question, 300, 0.5)
    listing = conversations.HTTP[1] * 50
    askers = connections(world.management, 5, b"", rcvbuf=4096)
    for s in askers:
        send_until_stuck(s, listing, 50, 0.3)
    world.check()
    drop(socks + askers, rng)


def unacked(world, rng):
    """Twenty thousand deliveries that nobody acknowledges, back into the queue at once; again."""
    address = anywhere(world, rng)
    conn = filled(address, "hostile.unacked", 20000, b"y" * 50)
    for _ in range(3):
        socks = connections(address, 1, HEAD + method(1, "basic.consume", queue="hostile.unacked"))
        for s in socks:
            drain(s, 0.3)
        drop(socks, rng)
    conn.send_method(1, "queue.delete", queue="hostile.unacked")
    conn.expect("queue.delete_ok", 1, 30)
    conn.close()


def endless_transactions(world, rng):
    data = method(1, "tx.select") + method(1, "queue.declare", queue="hostile.tx", exclusive=True)
    body = b"".join(publish(1, "", "hostile.tx", b"z" * 3000)) * 50
    socks = connections(anywhere(world, rng), 3, HEAD + data)
    for s in socks:
        send_until_stuck(s, body, 60)
        drain(s, 0.1)
    drop(socks, rng)


def endless_bodies(world, rng):
    """A body announced and never finished, on many channels."""
    data = b"".join(method(n, "channel.open") for n in range(2, 50)) + b"".join(
        method(n, "basic.publish", exchange="", routing_key="hostile") +
        wire.header_frame(n, 100_000_000) + wire.put_frame(3, n, bytes(100000))
        for n in range(1, 50))
    socks = connections(anywhere(world, rng), 3, HEAD + data)
    world.check()
    drop(socks, rng)


def reply_to(world, rng):
    """Direct reply-to without a consumer, to others' consumers, to keys that nobody gave out."""
    out = [method(1, "queue.declare", queue="hostile.rpc", auto_delete=True)]
    out += publish(1, "", "hostile.rpc", b"q", reply_to="amq.rabbitmq.reply-to")
    tell(anywhere(world, rng), HEAD + b"".join(out), rng)
    out = [method(1, "basic.consume", queue="amq.rabbitmq.reply-to", no_ack=True)]
    for _ in range(200):
        key = "amq.rabbitmq.reply-to." + base64.b64encode(rng.randbytes(
            rng.randrange(60))).decode()
        out += publish(1, "", key, b"forged", rng.random() < 0.5)
        out += [method(1, "queue.declare", queue=key, passive=True)] if rng.random() < 0.1 else []
    tell(anywhere(world, rng), HEAD + b"".join(out), rng)
    again = method(1, "basic.consume", queue="amq.rabbitmq.reply-to", no_ack=True) * 2
    tell(anywhere(world, rng), HEAD + again, rng)


FUZZ = (fuzz_amqp, fuzz_amqp, fuzz_methods, fuzz_noise, fuzz_http, fuzz_sockets, fuzz_tls,
        fuzz_proxy_header)
LOADS = (too_many_channels, too_many_consumers, too_many_queues, too_many_bindings, fan_out,
         big_headers, deep_tables, big_frames, half_open, slow_loris, connect_flood,
         password_guessing, deaf_consumers, deaf_askers, unacked, endless_transactions,
         endless_bodies, reply_to)
ATTACKS = {a.__name__: a for a in FUZZ + LOADS}


def attack(world, name, seed):
    ATTACKS[name](world, random.Random(seed))
