#include "amqp/amqp_hs_server.h"
#include "amqp_kit.h"

#include <stdio.h>

/* ---- one server machine, driven by hand ---- */

static struct amqp_hs_server_conf conf;
static struct amqp_hs_server hs;
static struct amqp_hs_effects out;
static uint8_t frame_room[2048];

static void setup(void)
{
    conf = (struct amqp_hs_server_conf){
        .mechanisms = slice_str("PLAIN AMQPLAIN"),
        .offer = { .channel_max = 2047, .frame_max = 131072, .heartbeat_s = 60 },
    };
    amqp_hs_server_init(&hs, &conf);
}
TestSuite(amqp_hs_server, .init = setup);

static void step(struct amqp_hs_event ev)
{
    amqp_hs_server_step(&hs, &ev, &out);
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

static void is_in(enum amqp_hs_server_state state)
{
    cr_assert(eq(int, hs.state, state), "in %s", amqp_hs_server_state_name(&hs));
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

/* The first effect sends a close with this code and text. */
static void expect_close(unsigned code, const char *text, uint32_t at_fault)
{
    const struct amqp_connection_close *c = &sent(0, AMQP_CONNECTION_CLOSE)->connection_close;
    cr_expect(eq(int, c->reply_code, (int)code));
    expect_slice(c->reply_text, text);
    cr_expect(eq(int, c->class_id, amqp_method_class(at_fault)));
    cr_expect(eq(int, c->method_id, amqp_method_number(at_fault)));
}

static struct slice client_properties(unsigned capabilities)
{
    static uint8_t room[512];
    struct wire_out w = wire_out_over(room, sizeof room);
    amqp_table_put_text(&w, "product", "test");
    amqp_capabilities_put(&w, capabilities);
    return wire_out_slice(&w);
}

static struct amqp_method start_ok(const char *mechanism, unsigned capabilities)
{
    return (struct amqp_method){
        .id = AMQP_CONNECTION_START_OK,
        .connection_start_ok = { client_properties(capabilities), slice_str(mechanism),
                                 slice_of("\0guest\0guest", 12), slice_str("en_US") },
    };
}

static void tune_ok(uint16_t channel_max, uint32_t frame_max, uint16_t heartbeat_s)
{
    method((struct amqp_method){ .id = AMQP_CONNECTION_TUNE_OK,
                                 .connection_tune_ok = { channel_max, frame_max, heartbeat_s } });
}

/* Steps towards an open connection, up to the given state. */
static void reach(enum amqp_hs_server_state state)
{
    if (hs.state < state && hs.state == AMQP_HS_SERVER_HEADER)
        step((struct amqp_hs_event){ .kind = AMQP_HS_EV_HEADER, .good = true });
    if (hs.state < state && hs.state == AMQP_HS_SERVER_STARTING)
        method(start_ok("PLAIN", AMQP_CAP_ALL));
    if (state == AMQP_HS_SERVER_CHALLENGED)
        step((struct amqp_hs_event){ .kind = AMQP_HS_EV_AUTH_MORE, .bytes = slice_str("?") });
    else if (hs.state < state && hs.state == AMQP_HS_SERVER_SECURING)
        step((struct amqp_hs_event){ .kind = AMQP_HS_EV_AUTH_OK });
    if (hs.state < state && hs.state == AMQP_HS_SERVER_TUNING)
        tune_ok(100, 8192, 10);
    if (hs.state < state && hs.state == AMQP_HS_SERVER_OPENING)
        method((struct amqp_method){ .id = AMQP_CONNECTION_OPEN,
                                     .connection_open = { .virtual_host = slice_str("/") } });
    if (hs.state < state && hs.state == AMQP_HS_SERVER_ENTERING)
        step((struct amqp_hs_event){ .kind = AMQP_HS_EV_ENTER_OK });
    is_in(state);
}

static void say_close(void)
{
    step((struct amqp_hs_event){ .kind = AMQP_HS_EV_CLOSE,
                                 .code = AMQP_CONNECTION_FORCED,
                                 .text = slice_str("going down") });
}

/* ---- the way in ---- */

Test(amqp_hs_server, opens_step_by_step)
{
    cr_expect(not(amqp_hs_server_takes_frames(&hs)));
    step((struct amqp_hs_event){ .kind = AMQP_HS_EV_HEADER, .good = true });
    const struct amqp_connection_start *start = &sent(0, AMQP_CONNECTION_START)->connection_start;
    cr_expect(eq(int, start->version_major, 0));
    cr_expect(eq(int, start->version_minor, 9));
    expect_slice(start->mechanisms, "PLAIN AMQPLAIN");
    expect_slice(start->locales, "en_US");
    cr_expect(eq(int, (int)out.count, 1));
    cr_expect(amqp_hs_server_takes_frames(&hs));

    method(start_ok("AMQPLAIN", AMQP_CAP_BASIC_NACK | AMQP_CAP_DIRECT_REPLY_TO));
    const struct amqp_hs_login *login = &effect(0, AMQP_HS_AUTHENTICATE)->login;
    expect_slice(login->mechanism, "AMQPLAIN");
    cr_expect(slice_eq(login->response, slice_of("\0guest\0guest", 12)));
    expect_slice(amqp_table_longstr(login->properties, "product"), "test");
    cr_expect(eq(int, (int)hs.capabilities, AMQP_CAP_BASIC_NACK | AMQP_CAP_DIRECT_REPLY_TO));
    cr_expect(not(amqp_hs_server_takes_frames(&hs)));

    step((struct amqp_hs_event){ .kind = AMQP_HS_EV_AUTH_OK });
    const struct amqp_connection_tune *tune = &sent(0, AMQP_CONNECTION_TUNE)->connection_tune;
    cr_expect(eq(int, tune->channel_max, 2047));
    cr_expect(eq(int, (int)tune->frame_max, 131072));
    cr_expect(eq(int, tune->heartbeat, 60));
    cr_expect(eq(int, (int)amqp_hs_server_frame_max(&hs), 4096));

    tune_ok(100, 8192, 10);
    cr_expect(eq(int, (int)out.count, 0));
    cr_expect(eq(int, (int)amqp_hs_server_frame_max(&hs), 8192));

    method((struct amqp_method){ .id = AMQP_CONNECTION_OPEN,
                                 .connection_open = { .virtual_host = slice_str("/a") } });
    expect_slice(effect(0, AMQP_HS_ENTER)->bytes, "/a");
    cr_expect(not(amqp_hs_server_takes_frames(&hs)));

    step((struct amqp_hs_event){ .kind = AMQP_HS_EV_ENTER_OK });
    sent(0, AMQP_CONNECTION_OPEN_OK);
    const struct amqp_limits *limits = &effect(1, AMQP_HS_OPENED)->limits;
    cr_expect(eq(int, limits->channel_max, 100));
    cr_expect(eq(int, (int)limits->frame_max, 8192));
    cr_expect(eq(int, limits->heartbeat_s, 10));
    is_in(AMQP_HS_SERVER_RUNNING);
}

Test(amqp_hs_server, answers_another_protocol_with_its_own_header)
{
    step((struct amqp_hs_event){ .kind = AMQP_HS_EV_HEADER, .good = false });
    effect(0, AMQP_HS_SEND_HEADER);
    cr_expect(eq(u32, effect(1, AMQP_HS_HANG_UP)->after_ms, 0u));
    is_in(AMQP_HS_SERVER_DONE);
}

Test(amqp_hs_server, passes_challenges_on)
{
    reach(AMQP_HS_SERVER_CHALLENGED);
    expect_slice(sent(0, AMQP_CONNECTION_SECURE)->connection_secure.challenge, "?");
    method((struct amqp_method){ .id = AMQP_CONNECTION_SECURE_OK,
                                 .connection_secure_ok = { slice_str("!") } });
    expect_slice(effect(0, AMQP_HS_AUTHENTICATE)->login.response, "!");
    expect_slice(effect(0, AMQP_HS_AUTHENTICATE)->login.mechanism, "PLAIN");
    step((struct amqp_hs_event){ .kind = AMQP_HS_EV_AUTH_OK });
    sent(0, AMQP_CONNECTION_TUNE);
}

Test(amqp_hs_server, refuses_mechanisms_it_did_not_offer)
{
    const char *others[] = {
        "EXTERNAL", "PLAI", "PLAINX", "PLAIN ", "PLAIN AMQPLAIN", "", "plain"
    };
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        setup();
        reach(AMQP_HS_SERVER_STARTING);
        method(start_ok(others[i], AMQP_CAP_ALL));
        char text[128];
        snprintf(text, sizeof text, "COMMAND_INVALID - unknown authentication mechanism '%s'",
                 others[i]);
        expect_close(503, text, AMQP_CONNECTION_START_OK);
        is_in(AMQP_HS_SERVER_CLOSED);
    }
}

Test(amqp_hs_server, tells_a_refused_client_that_understands_it)
{
    reach(AMQP_HS_SERVER_SECURING);
    step((struct amqp_hs_event){ .kind = AMQP_HS_EV_AUTH_REFUSED });
    expect_close(403,
                 "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For "
                 "details see the broker logfile.",
                 0);
    is_in(AMQP_HS_SERVER_CLOSED);
    method((struct amqp_method){ .id = AMQP_CONNECTION_CLOSE_OK });
    cr_expect(eq(u32, effect(0, AMQP_HS_HANG_UP)->after_ms, 0u));
    is_in(AMQP_HS_SERVER_DONE);
}

Test(amqp_hs_server, leaves_a_refused_client_waiting_that_does_not)
{
    reach(AMQP_HS_SERVER_STARTING);
    method(start_ok("PLAIN", AMQP_CAP_ALL & ~(unsigned)AMQP_CAP_AUTHENTICATION_FAILURE_CLOSE));
    step((struct amqp_hs_event){ .kind = AMQP_HS_EV_AUTH_REFUSED });
    cr_expect(eq(u32, effect(0, AMQP_HS_HANG_UP)->after_ms, AMQP_HS_EARLY_WAIT_MS));
    cr_expect(eq(int, (int)out.count, 1));
    is_in(AMQP_HS_SERVER_DONE);
}

Test(amqp_hs_server, holds_tune_ok_against_its_offer)
{
    struct {
        uint16_t channel_max;
        uint32_t frame_max;
        const char *text; /* NULL: fine */
    } rows[] = {
        { 2047, 131072, NULL },
        { 1, 4096, NULL },
        { 2048, 131072,
          "NOT_ALLOWED - negotiated channel_max = 2048 is higher than the maximum allowed value "
          "(2047)" },
        { 0, 131072,
          "NOT_ALLOWED - negotiated channel_max = 0 (no limit) is higher than the maximum allowed "
          "value (2047)" },
        { 2047, 131073,
          "NOT_ALLOWED - negotiated frame_max = 131073 is higher than the maximum allowed value "
          "(131072)" },
        { 2047, 0,
          "NOT_ALLOWED - negotiated frame_max = 0 is higher than the maximum allowed value "
          "(131072)" },
        { 2047, 4095,
          "NOT_ALLOWED - negotiated frame_max = 4095 is lower than the minimum allowed value "
          "(4096)" },
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        setup();
        reach(AMQP_HS_SERVER_TUNING);
        tune_ok(rows[i].channel_max, rows[i].frame_max, 0);
        if (rows[i].text == NULL) {
            is_in(AMQP_HS_SERVER_OPENING);
            cr_expect(eq(int, (int)out.count, 0));
            continue;
        }
        expect_close(530, rows[i].text, AMQP_CONNECTION_TUNE);
        effect(2, AMQP_HS_FAILED);
        is_in(AMQP_HS_SERVER_CLOSED);
    }
}

Test(amqp_hs_server, counts_no_limit_of_channels_as_the_highest)
{
    conf.offer.channel_max = 0;
    reach(AMQP_HS_SERVER_TUNING);
    tune_ok(0, 131072, 0);
    is_in(AMQP_HS_SERVER_OPENING);
    cr_expect(eq(int, hs.limits.channel_max, UINT16_MAX));
}

Test(amqp_hs_server, refuses_a_vhost_in_the_words_it_is_given)
{
    reach(AMQP_HS_SERVER_ENTERING);
    step((struct amqp_hs_event){ .kind = AMQP_HS_EV_CLOSE,
                                 .code = AMQP_NOT_ALLOWED,
                                 .text = slice_str("vhost /a not found"),
                                 .method = AMQP_CONNECTION_OPEN });
    expect_close(530, "NOT_ALLOWED - vhost /a not found", AMQP_CONNECTION_OPEN);
}

Test(amqp_hs_server, passes_a_peers_words_on_unchanged)
{
    reach(AMQP_HS_SERVER_RUNNING);
    step((struct amqp_hs_event){ .kind = AMQP_HS_EV_CLOSE,
                                 .code = 320,
                                 .text = slice_str("CONNECTION_FORCED - x"),
                                 .verbatim = true });
    expect_close(320, "CONNECTION_FORCED - x", 0);
}

/* ---- what does not belong ---- */

Test(amqp_hs_server, refuses_methods_out_of_turn)
{
    struct {
        enum amqp_hs_server_state state;
        const char *name;
    } rows[] = {
        { AMQP_HS_SERVER_STARTING, "starting" }, { AMQP_HS_SERVER_CHALLENGED, "securing" },
        { AMQP_HS_SERVER_TUNING, "tuning" },     { AMQP_HS_SERVER_OPENING, "opening" },
        { AMQP_HS_SERVER_RUNNING, "running" },
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        setup();
        reach(rows[i].state);
        method((struct amqp_method){ .id = AMQP_CHANNEL_OPEN });
        char text[128];
        snprintf(text, sizeof text, "CHANNEL_ERROR - unexpected method in connection state %s",
                 rows[i].name);
        expect_close(504, text, AMQP_CHANNEL_OPEN);
        is_in(AMQP_HS_SERVER_CLOSED);
    }
}

Test(amqp_hs_server, refuses_each_method_in_each_state_but_the_expected)
{
    struct rng chance;
    rng_init(&chance, 7);
    const enum amqp_hs_server_state states[] = { AMQP_HS_SERVER_STARTING, AMQP_HS_SERVER_CHALLENGED,
                                                 AMQP_HS_SERVER_TUNING, AMQP_HS_SERVER_OPENING,
                                                 AMQP_HS_SERVER_RUNNING };
    const uint32_t expected[] = { AMQP_CONNECTION_START_OK, AMQP_CONNECTION_SECURE_OK,
                                  AMQP_CONNECTION_TUNE_OK, AMQP_CONNECTION_OPEN,
                                  AMQP_CONNECTION_UPDATE_SECRET };
    for (size_t s = 0; s < ARRAY_COUNT(states); s++) {
        for (size_t i = 0; i < kit_methods_count; i++) {
            uint32_t id = kit_methods[i];
            if (id == expected[s] || id == AMQP_CONNECTION_CLOSE)
                continue;
            setup();
            reach(states[s]);
            method(kit_method(kit_methods[i], &chance));
            cr_expect(eq(int, sent(0, AMQP_CONNECTION_CLOSE)->connection_close.reply_code, 504),
                      "%s", amqp_method_name(id));
        }
    }
}

Test(amqp_hs_server, refuses_other_channels_before_it_is_open)
{
    reach(AMQP_HS_SERVER_OPENING);
    frame(AMQP_FRAME_METHOD, 1, kit_hex("0014000a 00"));
    expect_close(505, "UNEXPECTED_FRAME - type 1, all octets = <<0,20,0,10,0>>", 0);
}

Test(amqp_hs_server, refuses_content_on_channel_0)
{
    reach(AMQP_HS_SERVER_RUNNING);
    frame(AMQP_FRAME_BODY, 0, slice_str("0123456789abcdefg"));
    expect_close(505, "UNEXPECTED_FRAME - type 3, first 16 octets = <<\"0123456789abcdef\">>", 0);
}

Test(amqp_hs_server, lets_heartbeats_pass)
{
    const enum amqp_hs_server_state states[] = { AMQP_HS_SERVER_STARTING, AMQP_HS_SERVER_TUNING,
                                                 AMQP_HS_SERVER_OPENING, AMQP_HS_SERVER_RUNNING };
    for (size_t i = 0; i < ARRAY_COUNT(states); i++) {
        reach(states[i]);
        frame(AMQP_FRAME_HEARTBEAT, 0, slice_of(NULL, 0));
        cr_expect(eq(int, (int)out.count, 0));
        is_in(states[i]);
    }
    frame(AMQP_FRAME_HEARTBEAT, 0, slice_str("x"));
    expect_close(501, "FRAME_ERROR - type 8, all octets = <<\"x\">>: unknown_frame", 0);

    setup();
    reach(AMQP_HS_SERVER_OPENING);
    frame(AMQP_FRAME_HEARTBEAT, 1, slice_of(NULL, 0));
    expect_close(505, "UNEXPECTED_FRAME - type 8, all octets = <<>>", 0);
}

Test(amqp_hs_server, says_what_it_cannot_decode)
{
    reach(AMQP_HS_SERVER_TUNING);
    frame(AMQP_FRAME_METHOD, 0, kit_hex("000a001f 0001"));
    expect_close(501, "FRAME_ERROR - cannot decode <<0,1>>", AMQP_CONNECTION_TUNE_OK);

    setup();
    reach(AMQP_HS_SERVER_OPENING);
    frame(AMQP_FRAME_METHOD, 0, kit_hex("000a0028 01ff 00 00"));
    expect_close(501, "FRAME_ERROR - Malformed UTF-8 in shortstr", 0);

    setup();
    reach(AMQP_HS_SERVER_RUNNING);
    frame(AMQP_FRAME_METHOD, 0, kit_hex("00630063"));
    expect_close(540, "NOT_IMPLEMENTED - unknown method 99 of class 99", 0);
}

Test(amqp_hs_server, gives_up_on_a_frame_it_cannot_read)
{
    const enum amqp_hs_server_state states[] = { AMQP_HS_SERVER_STARTING, AMQP_HS_SERVER_RUNNING };
    for (size_t i = 0; i < ARRAY_COUNT(states); i++) {
        setup();
        reach(states[i]);
        step((struct amqp_hs_event){ .kind = AMQP_HS_EV_BAD_FRAME, .text = slice_str("why") });
        expect_close(501, "FRAME_ERROR - why", 0);
        effect(1, AMQP_HS_FAILED);
        cr_expect(eq(u32, effect(2, AMQP_HS_HANG_UP)->after_ms, AMQP_HS_BROKEN_WAIT_MS));
        is_in(AMQP_HS_SERVER_DONE);
    }
}

/* ---- the way out ---- */

Test(amqp_hs_server, answers_close_when_all_is_released)
{
    reach(AMQP_HS_SERVER_RUNNING);
    method((struct amqp_method){ .id = AMQP_CONNECTION_CLOSE,
                                 .connection_close = { 200, slice_str("bye"), 0, 0 } });
    cr_expect(eq(int, (int)out.count, 1));
    cr_expect(eq(int, effect(0, AMQP_HS_PEER_CLOSED)->close.reply_code, 200));
    is_in(AMQP_HS_SERVER_CLOSING);

    step((struct amqp_hs_event){ .kind = AMQP_HS_EV_RELEASED });
    sent(0, AMQP_CONNECTION_CLOSE_OK);
    cr_expect(eq(u32, effect(1, AMQP_HS_HANG_UP)->after_ms, AMQP_HS_BYE_WAIT_MS));
    is_in(AMQP_HS_SERVER_DONE);
}

Test(amqp_hs_server, ignores_what_follows_a_close)
{
    reach(AMQP_HS_SERVER_RUNNING);
    method((struct amqp_method){ .id = AMQP_CONNECTION_CLOSE });
    method((struct amqp_method){ .id = AMQP_CONNECTION_CLOSE });
    cr_expect(eq(int, (int)out.count, 0));
    frame(AMQP_FRAME_BODY, 5, slice_str("x"));
    cr_expect(eq(int, (int)out.count, 0));
    say_close();
    cr_expect(eq(int, (int)out.count, 0));
    step((struct amqp_hs_event){ .kind = AMQP_HS_EV_RELEASED });
    sent(0, AMQP_CONNECTION_CLOSE_OK);
}

Test(amqp_hs_server, answers_close_in_the_middle_of_the_handshake)
{
    const enum amqp_hs_server_state states[] = { AMQP_HS_SERVER_STARTING, AMQP_HS_SERVER_CHALLENGED,
                                                 AMQP_HS_SERVER_TUNING, AMQP_HS_SERVER_OPENING };
    for (size_t i = 0; i < ARRAY_COUNT(states); i++) {
        setup();
        reach(states[i]);
        method((struct amqp_method){ .id = AMQP_CONNECTION_CLOSE });
        effect(0, AMQP_HS_PEER_CLOSED);
        sent(1, AMQP_CONNECTION_CLOSE_OK);
        cr_expect(eq(u32, effect(2, AMQP_HS_HANG_UP)->after_ms, 0u));
        is_in(AMQP_HS_SERVER_DONE);
    }
}

Test(amqp_hs_server, closes_and_waits_for_the_answer)
{
    const enum amqp_hs_server_state states[] = { AMQP_HS_SERVER_STARTING,   AMQP_HS_SERVER_SECURING,
                                                 AMQP_HS_SERVER_CHALLENGED, AMQP_HS_SERVER_TUNING,
                                                 AMQP_HS_SERVER_OPENING,    AMQP_HS_SERVER_ENTERING,
                                                 AMQP_HS_SERVER_RUNNING };
    for (size_t i = 0; i < ARRAY_COUNT(states); i++) {
        setup();
        reach(states[i]);
        say_close();
        expect_close(320, "CONNECTION_FORCED - going down", 0);
        cr_expect(eq(u32, effect(1, AMQP_HS_HANG_UP)->after_ms,
                     states[i] >= AMQP_HS_SERVER_OPENING ? 10000u : AMQP_HS_EARLY_WAIT_MS));
        is_in(AMQP_HS_SERVER_CLOSED);

        say_close(); /* once is enough */
        cr_expect(eq(int, (int)out.count, 0));
        frame(AMQP_FRAME_METHOD, 9, kit_hex("003c0050 00"));
        cr_expect(eq(int, (int)out.count, 0));
        method((struct amqp_method){ .id = AMQP_CONNECTION_CLOSE }); /* they crossed */
        sent(0, AMQP_CONNECTION_CLOSE_OK);
        is_in(AMQP_HS_SERVER_CLOSED);
        method((struct amqp_method){ .id = AMQP_CONNECTION_CLOSE_OK });
        cr_expect(eq(u32, effect(0, AMQP_HS_HANG_UP)->after_ms, 0u));
        is_in(AMQP_HS_SERVER_DONE);
    }
}

Test(amqp_hs_server, just_leaves_who_said_nothing_yet)
{
    say_close();
    cr_expect(eq(u32, effect(0, AMQP_HS_HANG_UP)->after_ms, 0u));
    is_in(AMQP_HS_SERVER_DONE);
}

Test(amqp_hs_server, takes_decisions_that_come_too_late)
{
    reach(AMQP_HS_SERVER_SECURING);
    say_close();
    const enum amqp_hs_event_kind late[] = { AMQP_HS_EV_AUTH_OK, AMQP_HS_EV_AUTH_MORE,
                                             AMQP_HS_EV_AUTH_REFUSED, AMQP_HS_EV_ENTER_OK,
                                             AMQP_HS_EV_SECRET_OK };
    for (int done = 0; done < 2; done++) {
        for (size_t i = 0; i < ARRAY_COUNT(late); i++) {
            step((struct amqp_hs_event){ .kind = late[i] });
            cr_expect(eq(int, (int)out.count, 0));
        }
        method((struct amqp_method){ .id = AMQP_CONNECTION_CLOSE_OK });
        is_in(AMQP_HS_SERVER_DONE);
    }
}

Test(amqp_hs_server, takes_a_new_secret)
{
    reach(AMQP_HS_SERVER_RUNNING);
    method((struct amqp_method){ .id = AMQP_CONNECTION_UPDATE_SECRET,
                                 .connection_update_secret = { slice_str("new"), slice_str("") } });
    expect_slice(effect(0, AMQP_HS_SECRET)->bytes, "new");
    step((struct amqp_hs_event){ .kind = AMQP_HS_EV_SECRET_OK });
    sent(0, AMQP_CONNECTION_UPDATE_SECRET_OK);
    is_in(AMQP_HS_SERVER_RUNNING);
}
