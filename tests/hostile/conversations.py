"""Valid conversations, as lists of frames: what the mutations start from.

Every name begins with "hostile", so that what a broken conversation leaves behind is known.
"""

import wire

BODY_STEP = 4096 - wire.FRAME_OVERHEAD


def method(channel, name, **args):
    return wire.method_frame(channel, name, **args)


def content(channel, body, **props):
    """Header and body frames, one by one."""
    return [wire.header_frame(channel, len(body), props)] + \
        [wire.put_frame(wire.FRAME_BODY, channel, body[at:at + BODY_STEP])
         for at in range(0, len(body), BODY_STEP)]


def publish(channel, exchange, key, body, mandatory=False, **props):
    return [method(channel, "basic.publish", exchange=exchange, routing_key=key,
                   mandatory=mandatory)] + content(channel, body, **props)


def hello(mechanism="PLAIN", frame_max=4096):
    response = b"\0guest\0guest" if mechanism == "PLAIN" else \
        wire.put_table({"LOGIN": "guest", "PASSWORD": "guest"})[4:]
    properties = {"product": "hostile", "capabilities": {
        "publisher_confirms": True, "basic.nack": True, "consumer_cancel_notify": True,
        "authentication_failure_close": True, "connection.blocked": True}}
    return [wire.PROTOCOL_HEADER,
            method(0, "connection.start_ok", client_properties=properties, mechanism=mechanism,
                   response=response, locale="en_US"),
            method(0, "connection.tune_ok", channel_max=2047, frame_max=frame_max, heartbeat=10),
            method(0, "connection.open", virtual_host="/"),
            method(1, "channel.open")]


BYE = [method(1, "channel.close", reply_code=200, reply_text="bye"),
       method(0, "connection.close", reply_code=200, reply_text="bye")]

EVERY_TYPE = {"t": True, "b": wire.Tagged("b", -3), "B": wire.Tagged("B", 200),
              "s": wire.Tagged("s", -300), "u": wire.Tagged("u", 60000), "I": -70000,
              "i": wire.Tagged("i", 4000000000), "l": -2**40, "f": wire.Tagged("f", 1.5),
              "d": 2.25, "D": wire.Tagged("D", (2, 12345)), "S": "text",
              "x": wire.Tagged("x", b"\x00\xff"), "T": wire.Tagged("T", 1700000000),
              "V": None, "A": [1, "two", [3.0, {"four": None}]],
              "F": {"inner": {"deeper": {"deepest": "x" * 300}}}}


def plain():
    return hello() + [
        method(1, "exchange.declare", exchange="hostile.topic", type="topic", auto_delete=True),
        method(1, "queue.declare", queue="hostile.q1", exclusive=True),
        method(1, "queue.bind", queue="hostile.q1", exchange="hostile.topic", routing_key="a.*.#"),
        method(1, "basic.qos", prefetch_count=10),
        method(1, "basic.consume", queue="hostile.q1", consumer_tag="c")] + \
        publish(1, "hostile.topic", "a.b.c", b"x" * 9000, headers=EVERY_TYPE, delivery_mode=2,
                priority=3, correlation_id="c", reply_to="r", expiration="5000", message_id="m",
                timestamp=1700000000, type="t", user_id="guest", app_id="a") + [
        method(1, "basic.ack", delivery_tag=1),
        method(1, "basic.cancel", consumer_tag="c")] + BYE


def confirms():
    out = hello("AMQPLAIN") + [method(1, "confirm.select"),
                               method(1, "queue.declare", queue="hostile.q2", auto_delete=True,
                                      exclusive=True)]
    for i in range(4):
        out += publish(1, "", "hostile.q2" if i % 2 else "hostile.nowhere", b"m%d" % i, True)
    return out + [method(1, "basic.get", queue="hostile.q2"),
                  method(1, "basic.nack", delivery_tag=1, multiple=True, requeue=True),
                  method(1, "basic.get", queue="hostile.q2", no_ack=True),
                  method(1, "queue.purge", queue="hostile.q2"),
                  method(1, "queue.delete", queue="hostile.q2")] + BYE


def transactions():
    return hello() + [method(1, "tx.select"),
                      method(1, "queue.declare", queue="hostile.q3", exclusive=True)] + \
        publish(1, "", "hostile.q3", b"one") + [method(1, "tx.commit")] + \
        publish(1, "", "hostile.q3", b"two") + [
            method(1, "tx.rollback"), method(1, "basic.get", queue="hostile.q3"),
            method(1, "basic.reject", delivery_tag=1, requeue=True), method(1, "tx.commit"),
            method(1, "basic.recover", requeue=True)] + BYE


def topology():
    arguments = {"x-message-ttl": 1000, "x-expires": 60000, "x-max-length": 5,
                 "x-max-length-bytes": 5000, "x-overflow": "reject-publish",
                 "x-dead-letter-exchange": "hostile.dlx", "x-dead-letter-routing-key": "k",
                 "x-max-priority": 5, "x-single-active-consumer": True, "x-queue-mode": "lazy"}
    return hello() + [
        method(1, "exchange.declare", exchange="hostile.dlx", type="fanout", auto_delete=True),
        method(1, "exchange.declare", exchange="hostile.h", type="headers", auto_delete=True,
               arguments={"alternate-exchange": "hostile.dlx"}),
        method(1, "exchange.bind", destination="hostile.dlx", source="hostile.h",
               arguments={"x-match": "any", "a": 1}),
        method(1, "queue.declare", queue="hostile.q4", exclusive=True, arguments=arguments),
        method(1, "queue.bind", queue="hostile.q4", exchange="hostile.h",
               arguments=dict(EVERY_TYPE, **{"x-match": "all"})),
        method(1, "queue.bind", queue="hostile.q4", exchange="hostile.dlx")] + \
        publish(1, "hostile.h", "", b"body", headers=EVERY_TYPE) + \
        publish(1, "hostile.h", "", b"body", headers={"a": 1, "CC": ["x", "y"], "BCC": ["z"]}) + [
        method(1, "basic.consume", queue="hostile.q4", consumer_tag="d",
               arguments={"x-priority": 5}),
        method(1, "queue.unbind", queue="hostile.q4", exchange="hostile.dlx"),
        method(1, "exchange.unbind", destination="hostile.dlx", source="hostile.h",
               arguments={"x-match": "any", "a": 1}),
        method(1, "exchange.delete", exchange="hostile.h")] + BYE


def replies():
    return hello() + [
        method(1, "basic.consume", queue="amq.rabbitmq.reply-to", consumer_tag="r", no_ack=True),
        method(1, "queue.declare", queue="hostile.rpc", exclusive=True)] + \
        publish(1, "", "hostile.rpc", b"ask", reply_to="amq.rabbitmq.reply-to") + \
        publish(1, "", "amq.rabbitmq.reply-to.g1h2AA5yZXBseUAx", b"answer") + [
        method(1, "basic.get", queue="hostile.rpc", no_ack=True),
        method(0, "connection.update_secret", new_secret="guest", reason="none"),
        method(1, "channel.flow", active=True)] + BYE


def channels():
    out = hello(frame_max=0)
    for n in range(2, 12):
        out += [method(n, "channel.open"),
                method(n, "queue.declare", queue="hostile.many", auto_delete=True)]
    for n in range(2, 12):
        out += publish(n, "", "hostile.many", b"b" * (n * 1000))
        out.append(wire.put_frame(wire.FRAME_HEARTBEAT, 0, b""))
    for n in range(2, 12):
        out += [method(n, "basic.get", queue="hostile.many"), method(n, "channel.close")]
    return out + [method(1, "queue.delete", queue="hostile.many")] + BYE


CONVERSATIONS = [plain(), confirms(), transactions(), topology(), replies(), channels()]

HTTP_AUTH = b"Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n"
BOMBS = [b"(a%2B)%2B$", b"(.*)*(.*)*(.*)*x", b"(a|aa)%2B$", b"[", b"(?R)", b"(" * 5000,
         b"a{1,65535}{1,65535}"]  # patterns that take for ever, or all memory
HTTP = [b"GET /api/%s HTTP/1.1\r\nHost: x\r\n%s\r\n" % (path, HTTP_AUTH) for path in (
    b"overview", b"queues", b"queues/%2F?page=1&page_size=10&name=h&use_regex=true", b"exchanges",
    b"bindings", b"connections", b"channels", b"consumers", b"nodes", b"whoami", b"definitions",
    b"queues?columns=name,messages&sort=name&sort_reverse=true", b"healthchecks/node",
    b"users", b"permissions", b"policies", b"vhosts")] + [
    b"PUT /api/queues/%%2F/hostile-http HTTP/1.1\r\nHost: x\r\n%sContent-Type: application/json\r\n"
    b"Content-Length: 38\r\n\r\n{\"auto_delete\":true,\"arguments\":{}    }" % HTTP_AUTH,
    b"POST /api/exchanges/%%2F/amq.default/publish HTTP/1.1\r\nHost: x\r\n%sTransfer-Encoding: chunked"
    b"\r\n\r\n5\r\n{\"pro\r\n3c\r\nperties\":{},\"routing_key\":\"hostile\",\"payload\":\"x\",\"payload_\r\n"
    b"13\r\nencoding\":\"string\"}\r\n0\r\n\r\n" % HTTP_AUTH,
] + [b"GET /api/%s?use_regex=true&name=%s HTTP/1.1\r\nHost: x\r\n%s\r\n" % (
        kind, bomb, HTTP_AUTH) for kind in (b"queues", b"exchanges") for bomb in BOMBS] + [
    b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n",
    b"HEAD /api/overview HTTP/1.1\r\nHost: x\r\n%s\r\n" % HTTP_AUTH,
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"]
