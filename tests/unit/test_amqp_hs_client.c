#include "amqp/amqp_hs_client.h"
#include "amqp/amqp_hs_server.h"
#include "amqp_kit.h"

static struct amqp_hs_client hs;
static struct amqp_hs_effects out;
static uint8_t frame_room[2048];

static void setup(void)
{
    amqp_hs_client_init(&hs, &(struct amqp_limits){ 10, 0, 20 });
}
TestSuite(amqp_hs_client, .init = setup);

static void step(struct amqp_hs_event ev)
{
    amqp_hs_client_step(&hs, &ev, &out);
}

static void frame(enum amqp_frame_type type, uint16_t channel, struct slice payload)
{
    step((struct amqp_hs_event){ .kind = AMQP_HS_EV_FRAME, .frame = { type, channel, payload } });
}

static void method(struct amqp_method m)
{
    struct wire_out w = wire_out_over(frame_room, sizeof frame_room);
    amqp_method_encode(&w, &m);
    frame(AMQP_FRAME_METHOD, 0, wire_out_slice(&w));
}

static void is_in(enum amqp_hs_client_state state)
{
    cr_assert(eq(int, hs.state, state), "in %s", amqp_hs_client_state_name(&hs));
}

static const struct amqp_hs_effect *effect(unsigned index, enum amqp_hs_effect_kind kind)
{
    cr_assert(index < out.count, "effect %u of %u", index, out.count);
    cr_assert(eq(int, out.list[index].kind, kind), "effect %u", index);
    return &out.list[index];
}

static const struct amqp_method *sent(unsigned index, enum amqp_method_id id)
{
    const struct amqp_method *m = &effect(index, AMQP_HS_SEND)->method;
    cr_assert(eq(int, m->id, id), "sent %s", amqp_method_name(m->id));
    return m;
}

static void start(uint8_t major, uint8_t minor)
{
    uint8_t room[256];
    struct wire_out w = wire_out_over(room, sizeof room);
    amqp_table_put_text(&w, "product", "Warren");
    amqp_capabilities_put(&w, AMQP_CAP_CONNECTION_BLOCKED);
    method((struct amqp_method){
        .id = AMQP_CONNECTION_START,
        .connection_start = { major, minor, wire_out_slice(&w), slice_str("PLAIN"),
                              slice_str("en_US") },
    });
}

static void tune(uint16_t channel_max, uint32_t frame_max, uint16_t heartbeat_s)
{
    method((struct amqp_method){ .id = AMQP_CONNECTION_TUNE,
                                 .connection_tune = { channel_max, frame_max, heartbeat_s } });
}

static void reach(enum amqp_hs_client_state state)
{
    if (hs.state < state && hs.state == AMQP_HS_CLIENT_IDLE)
        step((struct amqp_hs_event){ .kind = AMQP_HS_EV_CONNECTED });
    if (hs.state < state && hs.state == AMQP_HS_CLIENT_GREETING)
        start(0, 9);
    if (hs.state < state && hs.state == AMQP_HS_CLIENT_CHOOSING)
        step((struct amqp_hs_event){ .kind = AMQP_HS_EV_LOGIN, .mechanism = slice_str("PLAIN") });
    if (state == AMQP_HS_CLIENT_ANSWERING)
        method((struct amqp_method){ .id = AMQP_CONNECTION_SECURE,
                                     .connection_secure = { slice_str("?") } });
    else if (hs.state < state && hs.state == AMQP_HS_CLIENT_AUTHENTICATING)
        tune(2047, 131072, 60);
    if (hs.state < state && hs.state == AMQP_HS_CLIENT_TUNED)
        step((struct amqp_hs_event){ .kind = AMQP_HS_EV_ENTER, .bytes = slice_str("/") });
    if (hs.state < state && hs.state == AMQP_HS_CLIENT_ENTERING)
        method((struct amqp_method){ .id = AMQP_CONNECTION_OPEN_OK });
    is_in(state);
}

static const enum amqp_hs_client_state before_open[] = {
    AMQP_HS_CLIENT_GREETING,  AMQP_HS_CLIENT_CHOOSING, AMQP_HS_CLIENT_AUTHENTICATING,
    AMQP_HS_CLIENT_ANSWERING, AMQP_HS_CLIENT_TUNED,
};

Test(amqp_hs_client, opens_step_by_step)
{
    step((struct amqp_hs_event){ .kind = AMQP_HS_EV_CONNECTED });
    effect(0, AMQP_HS_SEND_HEADER);
    start(0, 9);
    expect_slice(effect(0, AMQP_HS_STARTED)->start.mechanisms, "PLAIN");
    expect_slice(amqp_table_longstr(effect(0, AMQP_HS_STARTED)->start.server_properties, "product"),
                 "Warren");
    cr_expect(eq(int, (int)hs.capabilities, AMQP_CAP_CONNECTION_BLOCKED));

    step((struct amqp_hs_event){ .kind = AMQP_HS_EV_LOGIN,
                                 .mechanism = slice_str("PLAIN"),
                                 .bytes = slice_of("\0a\0b", 4) });
    const struct amqp_connection_start_ok *ok =
        &sent(0, AMQP_CONNECTION_START_OK)->connection_start_ok;
    expect_slice(ok->mechanism, "PLAIN");
    cr_expect(slice_eq(ok->response, slice_of("\0a\0b", 4)));
    expect_slice(ok->locale, "en_US");

    tune(2047, 131072, 60);
    const struct amqp_connection_tune_ok *tuned =
        &sent(0, AMQP_CONNECTION_TUNE_OK)->connection_tune_ok;
    cr_expect(eq(int, tuned->channel_max, 10));
    cr_expect(eq(int, (int)tuned->frame_max, 131072));
    cr_expect(eq(int, tuned->heartbeat, 20));
    cr_expect(eq(int, effect(1, AMQP_HS_TUNED)->limits.channel_max, 10));
    cr_expect(eq(int, (int)amqp_hs_client_frame_max(&hs), 131072));

    step((struct amqp_hs_event){ .kind = AMQP_HS_EV_ENTER, .bytes = slice_str("/v") });
    expect_slice(sent(0, AMQP_CONNECTION_OPEN)->connection_open.virtual_host, "/v");
    method((struct amqp_method){ .id = AMQP_CONNECTION_OPEN_OK });
    cr_expect(eq(int, effect(0, AMQP_HS_OPENED)->limits.heartbeat_s, 20));
    is_in(AMQP_HS_CLIENT_RUNNING);
}

Test(amqp_hs_client, asks_its_caller_for_responses)
{
    reach(AMQP_HS_CLIENT_ANSWERING);
    expect_slice(effect(0, AMQP_HS_CHALLENGED)->bytes, "?");
    step((struct amqp_hs_event){ .kind = AMQP_HS_EV_RESPONSE, .bytes = slice_str("!") });
    expect_slice(sent(0, AMQP_CONNECTION_SECURE_OK)->connection_secure_ok.response, "!");
    tune(0, 0, 0);
    sent(0, AMQP_CONNECTION_TUNE_OK);
}

Test(amqp_hs_client, hears_that_it_is_refused)
{
    reach(AMQP_HS_CLIENT_AUTHENTICATING);
    method((struct amqp_method){
        .id = AMQP_CONNECTION_CLOSE,
        .connection_close = { 403, slice_str("ACCESS_REFUSED - no"), 0, 0 } });
    const struct amqp_connection_close *close = &effect(0, AMQP_HS_PEER_CLOSED)->close;
    cr_expect(eq(int, close->reply_code, 403));
    expect_slice(close->reply_text, "ACCESS_REFUSED - no");
    sent(1, AMQP_CONNECTION_CLOSE_OK);
    cr_expect(eq(u32, effect(2, AMQP_HS_HANG_UP)->after_ms, 0u));
    is_in(AMQP_HS_CLIENT_DONE);
}

Test(amqp_hs_client, hears_a_close_in_any_state)
{
    const enum amqp_hs_client_state states[] = {
        AMQP_HS_CLIENT_GREETING,  AMQP_HS_CLIENT_CHOOSING, AMQP_HS_CLIENT_AUTHENTICATING,
        AMQP_HS_CLIENT_ANSWERING, AMQP_HS_CLIENT_TUNED,    AMQP_HS_CLIENT_ENTERING,
        AMQP_HS_CLIENT_RUNNING
    };
    for (size_t i = 0; i < ARRAY_COUNT(states); i++) {
        setup();
        reach(states[i]);
        /* RabbitMQ cuts its texts wherever they happen to be too long. */
        method((struct amqp_method){ .id = AMQP_CONNECTION_CLOSE,
                                     .connection_close = { 320, slice_str("caf\xC3..."), 0, 0 } });
        expect_slice(effect(0, AMQP_HS_PEER_CLOSED)->close.reply_text, "caf\xC3...");
        sent(1, AMQP_CONNECTION_CLOSE_OK);
        is_in(AMQP_HS_CLIENT_DONE);
    }
}

Test(amqp_hs_client, refuses_another_version)
{
    reach(AMQP_HS_CLIENT_GREETING);
    start(8, 0);
    effect(0, AMQP_HS_HANG_UP);
    expect_slice(effect(1, AMQP_HS_FAILED)->close.reply_text,
                 "NOT_IMPLEMENTED - server speaks version 8-0");
    is_in(AMQP_HS_CLIENT_DONE);
}

Test(amqp_hs_client, refuses_an_offer_below_the_least)
{
    reach(AMQP_HS_CLIENT_AUTHENTICATING);
    tune(0, 4095, 0);
    effect(1, AMQP_HS_FAILED);
    is_in(AMQP_HS_CLIENT_DONE);
}

Test(amqp_hs_client, agrees_on_the_smaller_limit)
{
    struct {
        struct amqp_limits want, offered, agreed;
    } rows[] = {
        { { 0, 0, 0 }, { 0, 0, 0 }, { UINT16_MAX, 131072, 0 } },
        { { 5, 4096, 7 }, { 0, 0, 0 }, { 5, 4096, 7 } },
        { { 0, 0, 0 }, { 6, 8192, 8 }, { 6, 8192, 8 } },
        { { 5, 8192, 9 }, { 6, 4096, 8 }, { 5, 4096, 8 } },
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct amqp_limits got = amqp_limits_agree(&rows[i].want, &rows[i].offered);
        cr_expect(eq(int, got.channel_max, rows[i].agreed.channel_max), "row %zu", i);
        cr_expect(eq(u32, got.frame_max, rows[i].agreed.frame_max), "row %zu", i);
        cr_expect(eq(int, got.heartbeat_s, rows[i].agreed.heartbeat_s), "row %zu", i);
    }
}

Test(amqp_hs_client, refuses_methods_out_of_turn)
{
    for (size_t i = 0; i < ARRAY_COUNT(before_open); i++) {
        setup();
        reach(before_open[i]);
        method((struct amqp_method){ .id = AMQP_CONNECTION_OPEN_OK });
        effect(0, AMQP_HS_HANG_UP);
        cr_expect(eq(int, effect(1, AMQP_HS_FAILED)->close.reply_code, 504));
        is_in(AMQP_HS_CLIENT_DONE);
    }
    setup();
    reach(AMQP_HS_CLIENT_RUNNING);
    method((struct amqp_method){ .id = AMQP_CONNECTION_TUNE });
    cr_expect(eq(int, sent(0, AMQP_CONNECTION_CLOSE)->connection_close.reply_code, 504));
    effect(2, AMQP_HS_FAILED);
    is_in(AMQP_HS_CLIENT_CLOSED);
}

Test(amqp_hs_client, lets_heartbeats_pass_and_nothing_else)
{
    const enum amqp_hs_client_state states[] = { AMQP_HS_CLIENT_TUNED, AMQP_HS_CLIENT_ENTERING,
                                                 AMQP_HS_CLIENT_RUNNING };
    for (size_t i = 0; i < ARRAY_COUNT(states); i++) {
        reach(states[i]);
        frame(AMQP_FRAME_HEARTBEAT, 0, slice_of(NULL, 0));
        cr_expect(eq(int, (int)out.count, 0));
    }
    frame(AMQP_FRAME_HEADER, 0, slice_of(NULL, 0));
    cr_expect(eq(int, sent(0, AMQP_CONNECTION_CLOSE)->connection_close.reply_code, 505));
}

Test(amqp_hs_client, leaves_without_a_word_before_there_is_anything_to_close)
{
    for (size_t i = 0; i < ARRAY_COUNT(before_open); i++) {
        setup();
        reach(before_open[i]);
        step((struct amqp_hs_event){ .kind = AMQP_HS_EV_CLOSE, .code = 200 });
        cr_expect(eq(u32, effect(0, AMQP_HS_HANG_UP)->after_ms, 0u));
        cr_expect(eq(int, (int)out.count, 1));
        is_in(AMQP_HS_CLIENT_DONE);
    }
}

Test(amqp_hs_client, closes_and_waits_for_the_answer)
{
    const enum amqp_hs_client_state states[] = { AMQP_HS_CLIENT_ENTERING, AMQP_HS_CLIENT_RUNNING };
    for (size_t i = 0; i < ARRAY_COUNT(states); i++) {
        setup();
        reach(states[i]);
        struct amqp_hs_event bye = { .kind = AMQP_HS_EV_CLOSE,
                                     .code = 200,
                                     .text = slice_str("bye") };
        step(bye);
        expect_slice(sent(0, AMQP_CONNECTION_CLOSE)->connection_close.reply_text, "bye");
        cr_expect(eq(u32, effect(1, AMQP_HS_HANG_UP)->after_ms, 20000u));
        step(bye);
        cr_expect(eq(int, (int)out.count, 0));
        frame(AMQP_FRAME_BODY, 3, slice_str("late"));
        cr_expect(eq(int, (int)out.count, 0));
        method((struct amqp_method){ .id = AMQP_CONNECTION_CLOSE_OK });
        cr_expect(eq(u32, effect(0, AMQP_HS_HANG_UP)->after_ms, 0u));
        is_in(AMQP_HS_CLIENT_DONE);
    }
}

Test(amqp_hs_client, answers_a_close_that_crossed_its_own)
{
    reach(AMQP_HS_CLIENT_RUNNING);
    step((struct amqp_hs_event){ .kind = AMQP_HS_EV_CLOSE, .code = 200 });
    method((struct amqp_method){ .id = AMQP_CONNECTION_CLOSE });
    sent(0, AMQP_CONNECTION_CLOSE_OK);
    cr_expect(eq(u32, effect(1, AMQP_HS_HANG_UP)->after_ms, 0u));
    is_in(AMQP_HS_CLIENT_DONE);
}

Test(amqp_hs_client, gives_up_on_a_frame_it_cannot_read)
{
    reach(AMQP_HS_CLIENT_GREETING);
    step((struct amqp_hs_event){ .kind = AMQP_HS_EV_BAD_FRAME, .text = slice_str("why") });
    expect_slice(effect(0, AMQP_HS_FAILED)->close.reply_text, "FRAME_ERROR - why");
    cr_expect(eq(u32, effect(1, AMQP_HS_HANG_UP)->after_ms, 0u));

    setup();
    reach(AMQP_HS_CLIENT_RUNNING);
    step((struct amqp_hs_event){ .kind = AMQP_HS_EV_BAD_FRAME, .text = slice_str("why") });
    sent(0, AMQP_CONNECTION_CLOSE);
    is_in(AMQP_HS_CLIENT_DONE);
}

Test(amqp_hs_client, hears_of_blocking_and_secrets)
{
    reach(AMQP_HS_CLIENT_RUNNING);
    method((struct amqp_method){ .id = AMQP_CONNECTION_BLOCKED,
                                 .connection_blocked = { slice_str("low on memory") } });
    expect_slice(effect(0, AMQP_HS_BLOCKED)->bytes, "low on memory");
    method((struct amqp_method){ .id = AMQP_CONNECTION_UNBLOCKED });
    effect(0, AMQP_HS_UNBLOCKED);
    step((struct amqp_hs_event){
        .kind = AMQP_HS_EV_SECRET, .bytes = slice_str("new"), .text = slice_str("old one ends") });
    expect_slice(sent(0, AMQP_CONNECTION_UPDATE_SECRET)->connection_update_secret.new_secret,
                 "new");
    method((struct amqp_method){ .id = AMQP_CONNECTION_UPDATE_SECRET_OK });
    effect(0, AMQP_HS_SECRET_TAKEN);
}

/* ---- both sides against each other, frame by frame ---- */

struct pair {
    struct amqp_hs_server_conf conf;
    struct amqp_hs_server server;
    struct amqp_hs_client client;
    uint8_t to_server[4096], to_client[4096];
    struct wire_out server_in, client_in;
    bool refuse, server_open, client_open, server_gone, client_gone;
    uint16_t client_heard; /* the reply code of the server's close */
    uint16_t server_heard;
};

static void carry_out_server(struct pair *p, const struct amqp_hs_effects *todo);
static void carry_out_client(struct pair *p, const struct amqp_hs_effects *todo);

static void server_step(struct pair *p, struct amqp_hs_event ev)
{
    struct amqp_hs_effects todo;
    amqp_hs_server_step(&p->server, &ev, &todo);
    carry_out_server(p, &todo);
}

static void client_step(struct pair *p, struct amqp_hs_event ev)
{
    struct amqp_hs_effects todo;
    amqp_hs_client_step(&p->client, &ev, &todo);
    carry_out_client(p, &todo);
}

static void carry_out_server(struct pair *p, const struct amqp_hs_effects *todo)
{
    for (unsigned i = 0; i < todo->count; i++) {
        const struct amqp_hs_effect *e = &todo->list[i];
        if (e->kind == AMQP_HS_SEND)
            amqp_frame_put_method(&p->client_in, 0, &e->method);
        else if (e->kind == AMQP_HS_SEND_HEADER)
            amqp_protocol_header_put(&p->client_in);
        else if (e->kind == AMQP_HS_AUTHENTICATE)
            server_step(p, (struct amqp_hs_event){ .kind = p->refuse ? AMQP_HS_EV_AUTH_REFUSED
                                                                     : AMQP_HS_EV_AUTH_OK });
        else if (e->kind == AMQP_HS_ENTER)
            server_step(p, (struct amqp_hs_event){ .kind = AMQP_HS_EV_ENTER_OK });
        else if (e->kind == AMQP_HS_OPENED)
            p->server_open = true;
        else if (e->kind == AMQP_HS_PEER_CLOSED) {
            p->server_heard = e->close.reply_code;
            server_step(p, (struct amqp_hs_event){ .kind = AMQP_HS_EV_RELEASED });
        } else if (e->kind == AMQP_HS_HANG_UP)
            p->server_gone = true;
    }
}

static void carry_out_client(struct pair *p, const struct amqp_hs_effects *todo)
{
    static uint8_t room[512];
    for (unsigned i = 0; i < todo->count; i++) {
        const struct amqp_hs_effect *e = &todo->list[i];
        if (e->kind == AMQP_HS_SEND)
            amqp_frame_put_method(&p->server_in, 0, &e->method);
        else if (e->kind == AMQP_HS_SEND_HEADER)
            amqp_protocol_header_put(&p->server_in);
        else if (e->kind == AMQP_HS_STARTED) {
            struct wire_out w = wire_out_over(room, sizeof room);
            amqp_capabilities_put(&w, AMQP_CAP_ALL);
            client_step(p, (struct amqp_hs_event){ .kind = AMQP_HS_EV_LOGIN,
                                                   .mechanism = slice_str("PLAIN"),
                                                   .properties = wire_out_slice(&w) });
        } else if (e->kind == AMQP_HS_TUNED)
            client_step(
                p, (struct amqp_hs_event){ .kind = AMQP_HS_EV_ENTER, .bytes = slice_str("/") });
        else if (e->kind == AMQP_HS_OPENED)
            p->client_open = true;
        else if (e->kind == AMQP_HS_PEER_CLOSED)
            p->client_heard = e->close.reply_code;
        else if (e->kind == AMQP_HS_HANG_UP)
            p->client_gone = true;
    }
}

/* Let all that was sent arrive, and what is said in answer too. */
static void talk(struct pair *p)
{
    size_t server_read = 0, client_read = 0;
    bool more = true;
    while (more) {
        more = false;
        struct amqp_frame f;
        struct slice in = slice_from(wire_out_slice(&p->server_in), server_read);
        if (p->server.state == AMQP_HS_SERVER_HEADER && in.len != 0) {
            bool good = amqp_protocol_header_cut(in) == AMQP_CUT_FRAME;
            server_read += AMQP_PROTOCOL_HEADER_LEN;
            server_step(p, (struct amqp_hs_event){ .kind = AMQP_HS_EV_HEADER, .good = good });
            more = true;
        } else if (amqp_frame_cut(in, amqp_hs_server_frame_max(&p->server), &f) == AMQP_CUT_FRAME) {
            server_read += amqp_frame_len(&f);
            server_step(p, (struct amqp_hs_event){ .kind = AMQP_HS_EV_FRAME, .frame = f });
            more = true;
        }
        in = slice_from(wire_out_slice(&p->client_in), client_read);
        if (amqp_frame_cut(in, amqp_hs_client_frame_max(&p->client), &f) == AMQP_CUT_FRAME) {
            client_read += amqp_frame_len(&f);
            client_step(p, (struct amqp_hs_event){ .kind = AMQP_HS_EV_FRAME, .frame = f });
            more = true;
        }
    }
    p->server_in.at = p->server_in.start;
    p->client_in.at = p->client_in.start;
}

static void pair_init(struct pair *p)
{
    *p = (struct pair){ .conf = { .mechanisms = slice_str("PLAIN"),
                                  .offer = { 2047, 131072, 60 } } };
    p->server_in = wire_out_over(p->to_server, sizeof p->to_server);
    p->client_in = wire_out_over(p->to_client, sizeof p->to_client);
    amqp_hs_server_init(&p->server, &p->conf);
    amqp_hs_client_init(&p->client, &(struct amqp_limits){ 0, 0, 0 });
}

Test(amqp_handshake, opens_and_closes_between_our_two_sides)
{
    struct pair p;
    pair_init(&p);
    client_step(&p, (struct amqp_hs_event){ .kind = AMQP_HS_EV_CONNECTED });
    talk(&p);
    cr_expect(p.server_open && p.client_open);
    cr_expect(eq(int, p.server.limits.channel_max, 2047));
    cr_expect(eq(int, p.client.limits.heartbeat_s, 60));

    client_step(&p, (struct amqp_hs_event){ .kind = AMQP_HS_EV_CLOSE, .code = 200 });
    talk(&p);
    cr_expect(eq(int, p.server_heard, 200));
    cr_expect(p.server_gone && p.client_gone);
}

Test(amqp_handshake, closes_from_the_servers_side)
{
    struct pair p;
    pair_init(&p);
    client_step(&p, (struct amqp_hs_event){ .kind = AMQP_HS_EV_CONNECTED });
    talk(&p);
    server_step(&p, (struct amqp_hs_event){ .kind = AMQP_HS_EV_CLOSE, .code = 320 });
    talk(&p);
    cr_expect(eq(int, p.client_heard, 320));
    cr_expect(eq(int, p.server.state, AMQP_HS_SERVER_DONE));
    cr_expect(eq(int, p.client.state, AMQP_HS_CLIENT_DONE));
}

Test(amqp_handshake, closes_from_both_sides_at_once)
{
    struct pair p;
    pair_init(&p);
    client_step(&p, (struct amqp_hs_event){ .kind = AMQP_HS_EV_CONNECTED });
    talk(&p);
    server_step(&p, (struct amqp_hs_event){ .kind = AMQP_HS_EV_CLOSE, .code = 320 });
    client_step(&p, (struct amqp_hs_event){ .kind = AMQP_HS_EV_CLOSE, .code = 200 });
    talk(&p);
    cr_expect(eq(int, p.server.state, AMQP_HS_SERVER_DONE));
    cr_expect(eq(int, p.client.state, AMQP_HS_CLIENT_DONE));
}

Test(amqp_handshake, tells_the_client_that_it_is_refused)
{
    struct pair p;
    pair_init(&p);
    p.refuse = true;
    client_step(&p, (struct amqp_hs_event){ .kind = AMQP_HS_EV_CONNECTED });
    talk(&p);
    cr_expect(eq(int, p.client_heard, 403));
    cr_expect(not(p.server_open || p.client_open));
    cr_expect(eq(int, p.server.state, AMQP_HS_SERVER_DONE));
}

Test(amqp_handshake, reads_the_capabilities_it_writes)
{
    uint8_t room[512];
    for (unsigned caps = 0; caps <= AMQP_CAP_ALL; caps++) {
        struct wire_out w = wire_out_over(room, sizeof room);
        amqp_capabilities_put(&w, caps);
        cr_expect(eq(int, (int)amqp_capabilities_read(wire_out_slice(&w)), (int)caps));
    }
    cr_expect(eq(int, (int)amqp_capabilities_read(slice_of(NULL, 0)), 0));
    struct wire_out w = wire_out_over(room, sizeof room);
    amqp_table_put_text(&w, "capabilities", "all");
    cr_expect(eq(int, (int)amqp_capabilities_read(wire_out_slice(&w)), 0));
}
