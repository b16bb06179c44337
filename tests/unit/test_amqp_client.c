#include "amqp/amqp_hs_server.h"
#include "amqp/amqp_sasl.h"
#include "amqp_kit.h"
#include "base/mem.h"
#include "io/stream.h"
#include "io_kit.h"
#include "link/amqp_client.h"
#include "link/amqp_content.h"

#include <stdio.h>

/* ---- a server on loopback that opens channels and sends back what is published ---- */

static struct loop *loop;

static struct {
    /* what it does */
    bool is_mute;           /* accepts, and never says a word */
    bool refuses;           /* the credentials */
    bool hangs_up_on_login; /* instead of saying so */
    const char *says;       /* instead of greeting */
    uint16_t heartbeat_s;
    size_t part_bytes; /* bodies go back in parts of this size */

    /* what it holds */
    struct listener *listener;
    struct stream *stream;
    struct amqp_hs_server_conf conf;
    struct amqp_hs_server hs;
    struct amqp_contents contents;
    struct sock_addr at;
    char seen_user[64], seen_vhost[64], seen_name[64];
    size_t beats, bodies;
} server;

static void server_step(struct amqp_hs_event ev);

static void server_write(struct slice octets)
{
    stream_write(server.stream, octets);
}

static void server_send(uint16_t channel, struct amqp_method m)
{
    uint8_t room[4096];
    struct wire_out w = wire_out_over(room, sizeof room);
    amqp_frame_put_method(&w, channel, &m);
    cr_assert(not(w.overflow));
    server_write(wire_out_slice(&w));
}

static void server_send_body(uint16_t channel, struct slice body)
{
    size_t most = server.part_bytes != 0 ? server.part_bytes : body.len;
    static uint8_t room[KIT_FRAME_MAX];
    for (; body.len != 0; body = slice_from(body, most)) {
        struct wire_out w = wire_out_over(room, sizeof room);
        amqp_frame_put_body(&w, channel, slice_head(body, most));
        cr_assert(not(w.overflow));
        server_write(wire_out_slice(&w));
    }
}

static void server_send_back(uint16_t channel, const struct amqp_content *c, struct slice body)
{
    const struct amqp_basic_publish *p = &c->method.basic_publish;
    server_send(channel,
                (struct amqp_method){ .id = AMQP_BASIC_DELIVER,
                                      .basic_deliver = { .delivery_tag = 1,
                                                         .exchange = p->exchange,
                                                         .routing_key = p->routing_key } });
    static uint8_t room[32768];
    struct wire_out w = wire_out_over(room, sizeof room);
    amqp_frame_put_header(&w, channel, body.len, c->props);
    server_write(wire_out_slice(&w));
    server_send_body(channel, body);
}

static void server_copy(char *to, struct slice from)
{
    cr_assert(from.len < 64);
    if (from.len != 0)
        memcpy(to, from.ptr, from.len);
    to[from.len] = '\0';
}

static void server_judge(const struct amqp_hs_login *login)
{
    struct amqp_credentials c;
    cr_assert(amqp_sasl_read(login->mechanism, login->response, &c));
    server_copy(server.seen_user, c.user);
    server_copy(server.seen_name, amqp_table_longstr(login->properties, "connection_name"));
    if (server.hangs_up_on_login)
        stream_free(&server.stream);
    else
        server_step((struct amqp_hs_event){ .kind = server.refuses ? AMQP_HS_EV_AUTH_REFUSED
                                                                   : AMQP_HS_EV_AUTH_OK });
}

static void server_carry_out(const struct amqp_hs_effect *e)
{
    if (e->kind == AMQP_HS_SEND) {
        server_send(0, e->method);
    } else if (e->kind == AMQP_HS_AUTHENTICATE) {
        server_judge(&e->login);
    } else if (e->kind == AMQP_HS_ENTER) {
        server_copy(server.seen_vhost, e->bytes);
        server_step((struct amqp_hs_event){ .kind = AMQP_HS_EV_ENTER_OK });
    } else if (e->kind == AMQP_HS_PEER_CLOSED && server.hs.state == AMQP_HS_SERVER_CLOSING) {
        server_step((struct amqp_hs_event){ .kind = AMQP_HS_EV_RELEASED });
    } else if (e->kind == AMQP_HS_HANG_UP && e->after_ms == 0) {
        stream_finish(&server.stream, 1000);
    }
}

static void server_step(struct amqp_hs_event ev)
{
    struct amqp_hs_effects todo;
    amqp_hs_server_step(&server.hs, &ev, &todo);
    for (unsigned i = 0; i < todo.count && server.stream != NULL; i++)
        server_carry_out(&todo.list[i]);
}

static void server_take(const struct amqp_frame *f)
{
    struct amqp_method m;
    struct amqp_content *done;
    struct slice body;
    server.beats += f->type == AMQP_FRAME_HEARTBEAT;
    if (server.hs.state != AMQP_HS_SERVER_RUNNING || f->channel == 0) {
        server_step((struct amqp_hs_event){ .kind = AMQP_HS_EV_FRAME, .frame = *f });
    } else if (f->type == AMQP_FRAME_METHOD) {
        cr_assert(eq(int, amqp_method_decode(f->payload, &m), AMQP_DECODE_OK));
        if (m.id == AMQP_CHANNEL_OPEN)
            server_send(f->channel, (struct amqp_method){ .id = AMQP_CHANNEL_OPEN_OK });
        else if (m.id == AMQP_BASIC_PUBLISH)
            cr_assert(amqp_contents_begin(&server.contents, f->channel, f->payload) == NULL);
    } else {
        server.bodies += f->type == AMQP_FRAME_BODY;
        cr_assert(amqp_contents_add(&server.contents, f, &done, &body) == NULL);
        if (done != NULL) {
            server_send_back(f->channel, done, body);
            amqp_content_free(&done);
        }
    }
}

static void on_server_data(struct stream *s, void *arg)
{
    (void)arg;
    if (server.is_mute || server.says != NULL) {
        stream_consume(s, stream_peek(s).len);
        return;
    }
    if (server.hs.state == AMQP_HS_SERVER_HEADER) {
        if (amqp_protocol_header_cut(stream_peek(s)) != AMQP_CUT_FRAME)
            return;
        stream_consume(s, AMQP_PROTOCOL_HEADER_LEN);
        server_step((struct amqp_hs_event){ .kind = AMQP_HS_EV_HEADER, .good = true });
    }
    struct amqp_frame f;
    while (server.stream != NULL &&
           amqp_frame_cut(stream_peek(s), amqp_hs_server_frame_max(&server.hs), &f) ==
               AMQP_CUT_FRAME) {
        server_take(&f);
        if (server.stream != NULL)
            stream_consume(s, amqp_frame_len(&f));
    }
}

static void on_server_closed(struct stream *s, const struct err *why, void *arg)
{
    (void)s, (void)why, (void)arg;
    stream_free(&server.stream);
}

static const struct stream_handlers server_handlers = { .on_data = on_server_data,
                                                        .on_closed = on_server_closed };

static void on_accept(int fd, const struct sock_addr *peer, void *arg)
{
    (void)peer, (void)arg;
    server.stream = stream_new(loop, fd, &server_handlers, NULL);
    if (server.says != NULL)
        server_write(slice_str(server.says));
}

static void server_start(void)
{
    struct err err;
    server.conf =
        (struct amqp_hs_server_conf){ .mechanisms = slice_str("PLAIN"),
                                      .offer = { 2047, KIT_FRAME_MAX, server.heartbeat_s } };
    amqp_hs_server_init(&server.hs, &server.conf);
    amqp_contents_init(&server.contents, AMQP_CLIENT_MESSAGE_MAX);
    cr_assert(sock_addr_ip("127.0.0.1", 0, &server.at));
    server.listener =
        listener_new(loop, &server.at, &(struct listener_options){ 0 }, on_accept, NULL, &err);
    cr_assert(server.listener != NULL, "%s", err.text);
    server.at = *listener_addr(server.listener);
}

static void server_stop(void)
{
    if (server.stream != NULL)
        stream_free(&server.stream);
    if (server.listener != NULL)
        listener_free(&server.listener);
    amqp_contents_fini(&server.contents);
}

/* ---- the client, and what it was told ---- */

enum freeing {
    FREE_NEVER,
    FREE_ON_GREETING,
    FREE_ON_OPEN,
    FREE_ON_METHOD,
    FREE_ON_MESSAGE,
    FREE_ON_CLOSED
};

static struct {
    struct amqp_client *client;
    struct amqp_client_conf conf;
    bool greeted, opened, closed, is_orderly, is_blocked;
    char why[ERR_TEXT_MAX];
    size_t methods, messages;
    uint32_t last_method;
    uint8_t *body;
    size_t body_len;
    char routing_key[64];
    struct amqp_props props;
    enum freeing freeing;
} heard;

static void maybe_free(enum freeing when)
{
    if (heard.freeing == when)
        amqp_client_free(&heard.client);
}

static void on_greeting(struct amqp_client *c, const struct amqp_connection_start *start, void *arg)
{
    (void)c, (void)arg;
    expect_slice(start->mechanisms, "PLAIN");
    heard.greeted = true;
    maybe_free(FREE_ON_GREETING);
}

static void on_open(struct amqp_client *c, void *arg)
{
    (void)c, (void)arg;
    heard.opened = true;
    maybe_free(FREE_ON_OPEN);
}

static void on_method(struct amqp_client *c, uint16_t channel, const struct amqp_method *m,
                      void *arg)
{
    (void)c, (void)channel, (void)arg;
    heard.methods++;
    heard.last_method = m->id;
    maybe_free(FREE_ON_METHOD);
}

static void on_message(struct amqp_client *c, uint16_t channel, const struct amqp_client_message *m,
                       void *arg)
{
    (void)c, (void)channel, (void)arg;
    heard.messages++;
    mem_free(heard.body);
    heard.body = mem_dup(m->body.len != 0 ? m->body.ptr : (const uint8_t *)"",
                         m->body.len != 0 ? m->body.len : 1);
    heard.body_len = m->body.len;
    server_copy(heard.routing_key, m->method->basic_deliver.routing_key);
    cr_expect(amqp_props_decode(m->props, &heard.props));
    maybe_free(FREE_ON_MESSAGE);
}

static void on_blocked(struct amqp_client *c, bool is_blocked, struct slice reason, void *arg)
{
    (void)c, (void)arg;
    heard.is_blocked = is_blocked;
    expect_slice(reason, is_blocked ? "low on memory" : "");
}

static void on_closed(struct amqp_client *c, const struct err *why, void *arg)
{
    (void)c, (void)arg;
    cr_expect(not(heard.closed));
    heard.closed = true;
    heard.is_orderly = why == NULL;
    snprintf(heard.why, sizeof heard.why, "%s", why != NULL ? why->text : "");
    maybe_free(FREE_ON_CLOSED);
}

static const struct amqp_client_handlers handlers = {
    .on_greeting = on_greeting,
    .on_open = on_open,
    .on_method = on_method,
    .on_message = on_message,
    .on_blocked = on_blocked,
    .on_closed = on_closed,
};

/* ---- doing things on the loop ---- */

struct call {
    void (*fn)(void);
    bool done;
    struct loop_task task;
};

static void on_call(void *arg)
{
    struct call *c = arg;
    c->fn();
    c->done = true;
}

static void on_loop(void (*fn)(void))
{
    struct call c = { .fn = fn };
    loop_task_init(&c.task, on_call, &c);
    loop_again(loop, &c.task);
    kit_until_set(loop, &c.done);
}

static void setup(void)
{
    loop = kit_loop_new();
    heard.conf = (struct amqp_client_conf){
        .user = "guest", .password = "secret", .vhost = "/", .name = "test", .timeout_ms = 60000
    };
}

static void free_all(void)
{
    amqp_client_free(&heard.client);
    server_stop();
}

static void teardown(void)
{
    on_loop(free_all);
    mem_free(heard.body);
    kit_turns(loop, 3);
    loop_free(&loop);
}
TestSuite(amqp_client, .init = setup, .fini = teardown, .timeout = 300);

static void do_connect(void)
{
    heard.client = amqp_client_connect(loop, &server.at, &heard.conf, &handlers, NULL);
}

static void connect_to_server(void)
{
    on_loop(server_start);
    on_loop(do_connect);
}

static void do_open_channel(void)
{
    cr_expect(amqp_client_send(heard.client, 1, &(struct amqp_method){ .id = AMQP_CHANNEL_OPEN }));
}

static void open_channel(void)
{
    kit_until_set(loop, &heard.opened);
    on_loop(do_open_channel);
    kit_until_count(loop, &heard.methods, 1);
    cr_assert(eq(u32, heard.last_method, AMQP_CHANNEL_OPEN_OK));
}

static struct slice outgoing;

static void do_publish(void)
{
    struct amqp_basic_publish m = { .routing_key = slice_str("key") };
    struct amqp_props props = { .flags = AMQP_PROP_delivery_mode | AMQP_PROP_message_id,
                                .delivery_mode = 2,
                                .message_id = slice_str("id") };
    cr_expect(amqp_client_publish(heard.client, 1, &m, &props, outgoing));
}

static bool is_back(void *arg)
{
    return heard.body_len == *(const size_t *)arg;
}

static void expect_back(size_t len)
{
    uint8_t *bytes = mem_alloc(len + 1);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 31 >> 3);
    outgoing = slice_of(bytes, len);
    heard.body_len = SIZE_MAX;
    on_loop(do_publish);
    kit_until(loop, is_back, &len);
    cr_assert(eq(sz, heard.body_len, len));
    cr_expect(slice_eq(slice_of(heard.body, heard.body_len), outgoing), "%zu octets", len);
    expect_text(heard.routing_key, "key");
    cr_expect(eq(int, heard.props.delivery_mode, 2));
    mem_free(bytes);
}

static void do_close(void)
{
    amqp_client_close(heard.client, 200, "bye");
}

/* ---- the tests ---- */

Test(amqp_client, opens_and_closes)
{
    heard.conf.vhost = "/v";
    connect_to_server();
    kit_until_set(loop, &heard.opened);
    cr_expect(heard.greeted);
    expect_text(server.seen_user, "guest");
    expect_text(server.seen_vhost, "/v");
    expect_text(server.seen_name, "test");
    cr_expect(eq(int, amqp_client_limits(heard.client)->channel_max, 2047));
    cr_expect(amqp_client_is_open(heard.client));

    on_loop(do_close);
    cr_expect(not(amqp_client_is_open(heard.client)));
    kit_until_set(loop, &heard.closed);
    cr_expect(heard.is_orderly, "%s", heard.why);
}

/* Around what fits one frame, and far beyond; whole and in small parts. */
Test(amqp_client, gets_back_what_it_publishes)
{
    connect_to_server();
    open_channel();
    const size_t parts[] = { 0, 1000 };
    for (size_t i = 0; i < ARRAY_COUNT(parts); i++) {
        server.part_bytes = parts[i];
        expect_back(0);
        expect_back(1);
        expect_back(4096);
    }
    server.part_bytes = KIT_FRAME_MAX - AMQP_FRAME_OVERHEAD;
    expect_back(KIT_FRAME_MAX - AMQP_FRAME_OVERHEAD);
    server.bodies = 0;
    expect_back(KIT_FRAME_MAX - AMQP_FRAME_OVERHEAD + 1);
    cr_expect(eq(sz, server.bodies, 2u));
    expect_back(3000000);
}

Test(amqp_client, keeps_to_the_frame_max_it_wants)
{
    heard.conf.limits.frame_max = 4096;
    connect_to_server();
    open_channel();
    server.part_bytes = 4096 - AMQP_FRAME_OVERHEAD;
    server.bodies = 0;
    expect_back(10000);
    cr_expect(eq(sz, server.bodies, 3u));
}

Test(amqp_client, hears_that_it_is_refused)
{
    server.refuses = true;
    connect_to_server();
    kit_until_set(loop, &heard.closed);
    expect_text(heard.why, "the server closed the connection: 403 ACCESS_REFUSED - Login was "
                           "refused using authentication mechanism PLAIN. For details see the "
                           "broker logfile.");
    cr_expect(eq(int, amqp_client_reply_code(heard.client), 403));
    cr_expect(not(heard.opened));
}

Test(amqp_client, guesses_that_it_is_refused_when_the_server_hangs_up)
{
    server.hangs_up_on_login = true;
    connect_to_server();
    kit_until_set(loop, &heard.closed);
    expect_text(heard.why, "the server hung up on the credentials");
}

Test(amqp_client, gives_up_on_a_mute_server)
{
    server.is_mute = true;
    heard.conf.timeout_ms = 50;
    connect_to_server();
    kit_until_set(loop, &heard.closed);
    expect_text(heard.why, "the server does not answer in time");
}

Test(amqp_client, gives_up_on_another_protocol)
{
    server.says = "HTTP/1.1 400 Bad Request\r\n\r\n";
    connect_to_server();
    kit_until_set(loop, &heard.closed);
    cr_expect(strstr(heard.why, "FRAME_ERROR") != NULL, "%s", heard.why);
}

Test(amqp_client, says_why_it_cannot_connect)
{
    on_loop(server_start);
    on_loop(server_stop); /* now nobody listens there */
    on_loop(do_connect);
    kit_until_set(loop, &heard.closed);
    cr_expect(strstr(heard.why, "connect") != NULL, "%s", heard.why);
}

static void do_server_close(void)
{
    server_step((struct amqp_hs_event){ .kind = AMQP_HS_EV_CLOSE,
                                        .code = AMQP_CONNECTION_FORCED,
                                        .text = slice_str("going down") });
}

Test(amqp_client, hears_the_server_close)
{
    connect_to_server();
    kit_until_set(loop, &heard.opened);
    on_loop(do_server_close);
    kit_until_set(loop, &heard.closed);
    expect_text(heard.why, "the server closed the connection: 320 CONNECTION_FORCED - going down");
    cr_expect(eq(int, amqp_client_reply_code(heard.client), 320));
}

static void do_server_free(void)
{
    stream_free(&server.stream);
}

Test(amqp_client, hears_the_server_hang_up)
{
    connect_to_server();
    kit_until_set(loop, &heard.opened);
    on_loop(do_server_free);
    kit_until_set(loop, &heard.closed);
    cr_expect(not(heard.is_orderly));
}

static void do_block(void)
{
    server_send(0, (struct amqp_method){ .id = AMQP_CONNECTION_BLOCKED,
                                         .connection_blocked = { slice_str("low on memory") } });
}

static void do_unblock(void)
{
    server_send(0, (struct amqp_method){ .id = AMQP_CONNECTION_UNBLOCKED });
    server_send(1, (struct amqp_method){ .id = AMQP_CHANNEL_FLOW });
}

Test(amqp_client, hears_of_blocking)
{
    connect_to_server();
    open_channel();
    on_loop(do_block);
    kit_until_set(loop, &heard.is_blocked);
    on_loop(do_unblock);
    kit_until_count(loop, &heard.methods, 2);
    cr_expect(not(heard.is_blocked));
}

static void do_body_alone(void)
{
    server_send_body(1, slice_str("x"));
}

static void do_heartbeat_on_channel(void)
{
    server_write(kit_hex("08 0001 00000000 ce"));
}

static void do_unknown_method(void)
{
    server_write(kit_hex("01 0001 00000004 00630063 ce"));
}

static void do_method_within_message(void)
{
    server_send(1, (struct amqp_method){ .id = AMQP_BASIC_DELIVER });
    server_send(1, (struct amqp_method){ .id = AMQP_BASIC_QOS_OK });
}

Test(amqp_client, closes_on_a_server_that_breaks_the_protocol)
{
    struct {
        void (*fn)(void);
        const char *why;
    } rows[] = {
        { do_body_alone, "content without a method" },
        { do_heartbeat_on_channel, "a heartbeat on a channel" },
        { do_unknown_method, "a method that cannot be decoded" },
        { do_method_within_message, "a method in the middle of a message" },
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        heard.methods = 0;
        heard.opened = heard.closed = false;
        connect_to_server();
        open_channel();
        on_loop(rows[i].fn);
        kit_until_set(loop, &heard.closed);
        expect_text(heard.why, rows[i].why);
        on_loop(free_all);
    }
}

Test(amqp_client, refuses_a_message_over_its_bound)
{
    heard.conf.message_max_bytes = 10;
    connect_to_server();
    open_channel();
    expect_back(10);
    outgoing = slice_str("01234567890");
    on_loop(do_publish);
    kit_until_set(loop, &heard.closed);
    expect_text(heard.why, "a message that is too large");
}

static void do_send_too_long(void)
{
    static uint8_t name[256];
    struct amqp_method m = { .id = AMQP_QUEUE_DECLARE,
                             .queue_declare = { .queue = slice_of(name, 256) } };
    cr_expect(not(amqp_client_send(heard.client, 1, &m)));
    struct amqp_basic_publish p = { .routing_key = slice_of(name, 256) };
    cr_expect(
        not(amqp_client_publish(heard.client, 1, &p, &(struct amqp_props){ 0 }, slice_str("x"))));
}

static void do_publish_headers(void)
{
    static uint8_t text[40000], table[sizeof text + 64];
    struct amqp_basic_publish m = { .routing_key = slice_str("key") };
    struct amqp_props props = { .flags = AMQP_PROP_headers };
    for (size_t len = 20000; len <= sizeof text; len += 20000) {
        struct wire_out w = wire_out_over(table, sizeof table);
        amqp_table_put_longstr(&w, "long", slice_of(text, len));
        props.headers = wire_out_slice(&w);
        cr_expect(eq(int, amqp_client_publish(heard.client, 1, &m, &props, slice_str("x")),
                     len == 20000));
    }
}

Test(amqp_client, sends_long_headers_up_to_a_bound)
{
    connect_to_server();
    open_channel();
    on_loop(do_publish_headers);
    expect_back(5);
    cr_expect(eq(sz, heard.messages, 2u));
}

/* And nothing of it is sent: what follows arrives whole. */
Test(amqp_client, refuses_to_send_what_does_not_fit)
{
    connect_to_server();
    open_channel();
    on_loop(do_send_too_long);
    expect_back(5);
}

Test(amqp_client, may_be_freed_in_any_callback)
{
    const enum freeing when[] = { FREE_ON_GREETING, FREE_ON_OPEN, FREE_ON_METHOD, FREE_ON_MESSAGE,
                                  FREE_ON_CLOSED };
    for (size_t i = 0; i < ARRAY_COUNT(when); i++) {
        heard.methods = heard.messages = 0;
        heard.opened = heard.greeted = heard.closed = false;
        heard.freeing = when[i];
        connect_to_server();
        if (when[i] == FREE_ON_GREETING)
            kit_until_set(loop, &heard.greeted);
        else
            kit_until_set(loop, &heard.opened);
        if (when[i] > FREE_ON_OPEN)
            open_channel();
        if (when[i] == FREE_ON_MESSAGE)
            expect_back(5);
        if (when[i] == FREE_ON_CLOSED) {
            on_loop(do_close);
            kit_until_set(loop, &heard.closed);
        }
        cr_expect(heard.client == NULL);
        heard.freeing = FREE_NEVER;
        on_loop(free_all);
    }
}

Test(amqp_client, sends_heartbeats_and_misses_them)
{
    server.heartbeat_s = 1;
    connect_to_server();
    kit_until_set(loop, &heard.opened);
    kit_until_count(loop, &server.beats, 1);
    kit_until_set(loop, &heard.closed); /* the server sends none */
    expect_text(heard.why, "the server's heartbeats are missing");
}
