/*
 * Octets from a peer against both machines of the handshake, with a driver that decides by them
 * too. The machines must neither trip a CHECK nor say anything after their last word, and what
 * they send must be decodable.
 */
#include "amqp/amqp_hs_client.h"
#include "amqp/amqp_hs_server.h"
#include "amqp/amqp_sasl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct amqp_hs_server_conf conf = {
    .mechanisms = { (const uint8_t *)"PLAIN AMQPLAIN", 14 },
    .offer = { 2047, 131072, 60 },
};

static void check_sent(const struct amqp_method *m)
{
    static uint8_t room[1u << 21];
    struct wire_out w = wire_out_over(room, sizeof room);
    amqp_frame_put_method(&w, 0, m);
    if (w.overflow) /* a text of the peer's that came back at length */
        return;
    struct amqp_frame f;
    struct amqp_method back;
    CHECK(amqp_frame_cut(wire_out_slice(&w), sizeof room, &f) == AMQP_CUT_FRAME);
    enum amqp_decode verdict = amqp_method_decode(f.payload, &back);
    CHECK(verdict == AMQP_DECODE_OK || verdict == AMQP_DECODE_BAD_UTF8);
    CHECK(back.id == m->id);
}

/* A reader of the peer's octets: frames cut to their true length by an octet of choice each. */
struct peer {
    struct wire w;
};

static bool next_event(struct peer *p, uint32_t max, struct amqp_hs_event *ev)
{
    struct slice left = { p->w.at, wire_left(&p->w) };
    struct amqp_frame f;
    enum amqp_cut verdict = amqp_frame_cut(left, max, &f);
    if (verdict == AMQP_CUT_MORE)
        return false;
    if (verdict == AMQP_CUT_BAD) {
        (void)wire_rest(&p->w);
        *ev = (struct amqp_hs_event){ .kind = AMQP_HS_EV_BAD_FRAME, .text = slice_head(left, 64) };
        return true;
    }
    (void)wire_take(&p->w, amqp_frame_len(&f));
    *ev = (struct amqp_hs_event){ .kind = AMQP_HS_EV_FRAME, .frame = f };
    return true;
}

/* ---- the server's side ---- */

static void server_step(struct amqp_hs_server *hs, const struct amqp_hs_event *ev);

static void server_decide(struct amqp_hs_server *hs, const struct amqp_hs_effect *e)
{
    struct amqp_credentials c;
    struct amqp_hs_event ev = { .kind = AMQP_HS_EV_AUTH_OK };
    if (e->kind == AMQP_HS_AUTHENTICATE) {
        if (!amqp_sasl_read(e->login.mechanism, e->login.response, &c))
            ev = (struct amqp_hs_event){ .kind = AMQP_HS_EV_AUTH_MORE, .bytes = slice_str("?") };
        else if (c.user.len == 0)
            ev.kind = AMQP_HS_EV_AUTH_REFUSED;
    } else if (e->kind == AMQP_HS_ENTER) {
        ev.kind = AMQP_HS_EV_ENTER_OK;
        if (e->bytes.len == 0)
            ev = (struct amqp_hs_event){ .kind = AMQP_HS_EV_CLOSE, .code = AMQP_NOT_ALLOWED };
    } else if (e->kind == AMQP_HS_SECRET) {
        ev.kind = AMQP_HS_EV_SECRET_OK;
    } else if (e->kind == AMQP_HS_PEER_CLOSED && hs->state == AMQP_HS_SERVER_CLOSING) {
        ev.kind = AMQP_HS_EV_RELEASED;
    } else {
        return;
    }
    server_step(hs, &ev);
}

static void server_step(struct amqp_hs_server *hs, const struct amqp_hs_event *ev)
{
    struct amqp_hs_effects out;
    bool was_done = hs->state == AMQP_HS_SERVER_DONE;
    amqp_hs_server_step(hs, ev, &out);
    CHECK(!was_done || out.count == 0);
    for (unsigned i = 0; i < out.count; i++) {
        if (out.list[i].kind == AMQP_HS_SEND)
            check_sent(&out.list[i].method);
        server_decide(hs, &out.list[i]);
    }
}

static void run_server(struct slice in)
{
    struct amqp_hs_server hs;
    struct amqp_hs_event ev = { .kind = AMQP_HS_EV_HEADER };
    amqp_hs_server_init(&hs, &conf);
    ev.good = amqp_protocol_header_cut(in) == AMQP_CUT_FRAME;
    server_step(&hs, &ev);

    struct peer p = { wire_over(slice_from(in, AMQP_PROTOCOL_HEADER_LEN)) };
    while (hs.state != AMQP_HS_SERVER_DONE && next_event(&p, amqp_hs_server_frame_max(&hs), &ev)) {
        bool others = hs.state == AMQP_HS_SERVER_RUNNING && ev.kind == AMQP_HS_EV_FRAME &&
                      ev.frame.channel != 0;
        if (!others) /* those are for the channels */
            server_step(&hs, &ev);
    }
    ev = (struct amqp_hs_event){ .kind = AMQP_HS_EV_CLOSE, .code = AMQP_CONNECTION_FORCED };
    server_step(&hs, &ev);
}

/* ---- the client's side ---- */

static void client_step(struct amqp_hs_client *hs, const struct amqp_hs_event *ev);

static void client_decide(struct amqp_hs_client *hs, const struct amqp_hs_effect *e)
{
    struct amqp_hs_event ev = { .kind = AMQP_HS_EV_LOGIN, .mechanism = slice_str("PLAIN") };
    if (e->kind == AMQP_HS_CHALLENGED)
        ev = (struct amqp_hs_event){ .kind = AMQP_HS_EV_RESPONSE, .bytes = e->bytes };
    else if (e->kind == AMQP_HS_TUNED)
        ev = (struct amqp_hs_event){ .kind = AMQP_HS_EV_ENTER, .bytes = slice_str("/") };
    else if (e->kind != AMQP_HS_STARTED)
        return;
    client_step(hs, &ev);
}

static void client_step(struct amqp_hs_client *hs, const struct amqp_hs_event *ev)
{
    struct amqp_hs_effects out;
    bool was_done = hs->state == AMQP_HS_CLIENT_DONE;
    amqp_hs_client_step(hs, ev, &out);
    CHECK(!was_done || out.count == 0);
    for (unsigned i = 0; i < out.count; i++) {
        if (out.list[i].kind == AMQP_HS_SEND)
            check_sent(&out.list[i].method);
        client_decide(hs, &out.list[i]);
    }
}

static void run_client(struct slice in)
{
    struct amqp_hs_client hs;
    struct amqp_hs_event ev = { .kind = AMQP_HS_EV_CONNECTED };
    amqp_hs_client_init(&hs, &(struct amqp_limits){ 0 });
    client_step(&hs, &ev);

    struct peer p = { wire_over(in) };
    while (hs.state != AMQP_HS_CLIENT_DONE && next_event(&p, amqp_hs_client_frame_max(&hs), &ev)) {
        bool others = hs.state == AMQP_HS_CLIENT_RUNNING && ev.kind == AMQP_HS_EV_FRAME &&
                      ev.frame.channel != 0;
        if (!others)
            client_step(&hs, &ev);
    }
    ev = (struct amqp_hs_event){ .kind = AMQP_HS_EV_CLOSE, .code = AMQP_REPLY_SUCCESS };
    client_step(&hs, &ev);
}

/* The first octet says which side the rest is sent to. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct slice rest = slice_of(data + 1, size - 1);
    if ((data[0] & 1) == 0)
        run_server(rest);
    else
        run_client(rest);
    return 0;
}
