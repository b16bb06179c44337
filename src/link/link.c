#include "link/link.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/sm.h"
#include "base/wire.h"
#include "link/link_inner.h"

#include <string.h>

#define STREAM_HIGH    ((size_t)256 * 1024) /* of one lane given to the stream: urgent frames wait */
#define STREAM_LOW     ((size_t)64 * 1024)
#define PUMP_NOW_BYTES ((size_t)128 * 1024)
#define ACK_BYTES      ((uint64_t)64 * 1024)
#define ACK_MS         20u

#define TO(name)       SM_BIT(LINK_##name)
static const struct sm_row state_rows[] = {
#define X(name, moves) { #name, moves },
    LINK_STATES(X)
#undef X
};
#undef TO

void link_move(struct link *l, enum link_state to)
{
    sm_move(state_rows, &l->state, to);
}

/* ---- fullness ---- */

/* Where nothing is kept, what the stream has still counts. */
static size_t bytes_held(const struct link *l)
{
    size_t held = link_flow_waiting(&l->flow) + link_flow_unacked(&l->flow);
    if (l->resume_ms == 0 && l->state == LINK_CONNECTED)
        held += stream_pending(l->stream);
    return held;
}

static void on_room_task(void *arg)
{
    struct link *l = arg;
    if (l->full || l->handlers == NULL || l->handlers->on_room == NULL)
        return;
    l->handlers->on_room(l, l->arg);
}

static void note_room(struct link *l)
{
    if (!l->full || bytes_held(l) > l->window_bytes / 2)
        return;
    l->full = false;
    loop_again(l->loop, &l->room_task);
}

/* ---- output ---- */

static void pump(struct link *l)
{
    struct link_piece piece;
    /* A frame that was begun is ended: one of the link's own may come at any time. */
    while ((!stream_is_full(l->stream) || link_flow_is_halfway(&l->flow)) &&
           link_flow_next(&l->flow, &piece)) {
        stream_write_shared(l->stream, piece.block, slice_of(piece.at, piece.len));
        buf_unref(&piece.block);
    }
    note_room(l);
}

static void on_pump_task(void *arg)
{
    struct link *l = arg;
    if (l->state == LINK_CONNECTED)
        pump(l);
}

static void say(struct link *l, enum link_own_frame type, uint64_t number)
{
    uint8_t octets[LINK_OWN_MAX];
    stream_write(l->stream, slice_of(octets, link_frame_own(octets, type, number)));
}

/* Frames that nobody can take yet are not kept for ever. */
static void lose_unless_up(struct link *l)
{
    if (l->forgets_soon || l->in_session)
        return;
    l->forgets_soon = true;
    l->broken_why = LINK_LOST_BROKEN;
    (void)err_set(&l->broken_err, ERR_IO, "no connection could be made in time");
    loop_timer_start(&l->loss_timer, l->resume_ms);
}

static void end_soon(struct link *l, enum link_loss why)
{
    l->end_why = why;
    loop_again(l->loop, &l->end_task);
}

static bool takes_frames(struct link *l)
{
    CHECK(!l->freed && loop_is_current(l->loop));
    if (!l->in_session && (l->dialler == NULL || l->resume_ms == 0))
        return false;
    if (LIKELY(bytes_held(l) <= 2 * l->window_bytes))
        return true;
    end_soon(l, LINK_LOST_OVERRUN);
    return false;
}

static void appended(struct link *l, size_t octets)
{
    l->stats.frames_out++;
    l->stats.bytes_out += octets;
    if (!l->full && bytes_held(l) >= l->window_bytes) {
        l->full = true;
        l->stats.fills++;
    }
    if (l->state != LINK_CONNECTED)
        lose_unless_up(l);
    else if (link_flow_waiting(&l->flow) >= PUMP_NOW_BYTES && !stream_is_full(l->stream))
        pump(l);
    else
        loop_at_turn_end(l->loop, &l->pump_task);
}

bool link_send(struct link *l, enum link_priority priority, uint8_t type, struct slice head,
               struct buf *block, struct slice body)
{
    if (!takes_frames(l))
        return false;
    link_flow_append(&l->flow, priority, type, head, block, body);
    appended(l, head.len + body.len);
    return true;
}

bool link_send_whole(struct link *l, enum link_priority priority, uint8_t type, struct buf *block,
                     struct slice payload)
{
    _Static_assert(LINK_HEAD_ROOM == LINK_HEAD_BYTES, "the head fits");
    if (!takes_frames(l))
        return false;
    link_flow_append_whole(&l->flow, priority, type, block, payload);
    appended(l, payload.len);
    return true;
}

bool link_is_full(const struct link *l)
{
    return l->full;
}

/* ---- input ---- */

static void ack(struct link *l)
{
    if (l->acks_soon)
        loop_timer_stop(&l->ack_timer);
    l->acks_soon = false;
    say(l, LINK_FRAME_ACK, link_flow_tell(&l->flow));
}

static void on_ack_timer(void *arg)
{
    struct link *l = arg;
    l->acks_soon = false;
    if (l->state == LINK_CONNECTED && link_flow_untold(&l->flow) != 0)
        ack(l);
}

static void ack_when_due(struct link *l)
{
    uint64_t untold = link_flow_untold(&l->flow);
    if (l->resume_ms == 0 || untold == 0)
        return;
    if (untold >= ACK_BYTES) {
        ack(l);
    } else if (!l->acks_soon) {
        l->acks_soon = true;
        loop_timer_start(&l->ack_timer, ACK_MS);
    }
}

static void lose_by_peer(struct link *l, const char *what)
{
    struct err err;
    (void)err_set(&err, ERR_PROTOCOL, "%s", what);
    log_error("link", l->peer.id.name, "the session ends: %s", what);
    link_lose(l, LINK_LOST_PROTOCOL, &err);
}

/* One of the link's own. */
static void take_own(struct link *l, uint8_t type, struct slice payload)
{
    struct wire w = wire_over(payload);
    uint64_t number = type != LINK_FRAME_BYE ? wire_u64(&w) : 0;
    switch ((enum link_own_frame)type) {
    case LINK_FRAME_PING:
        say(l, LINK_FRAME_PONG, number);
        return;
    case LINK_FRAME_PONG: {
        uint64_t took = loop_now_us(l->loop) - number;
        l->stats.rtt_us = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
        return;
    }
    case LINK_FRAME_ACK:
        if (!link_flow_acked(&l->flow, number)) {
            lose_by_peer(l, "it acknowledges what it was not sent");
            return;
        }
        note_room(l);
        return;
    case LINK_FRAME_BYE:
        link_lose(l, LINK_LOST_FORGOTTEN, NULL);
        return;
    }
    UNREACHABLE("own frame");
}

static void take_frame(struct link *l, struct stream *s, uint8_t type, struct slice payload)
{
    if (type < LINK_TYPE_LEAST) {
        take_own(l, type, payload);
        return;
    }
    l->stats.frames_in++;
    l->stats.bytes_in += payload.len;
    const struct link_frame f = { type, payload, stream_input_block(s) };
    l->handlers->on_frame(l, &f, l->arg);
}

/* As many as have come; a read brings 256 KiB at most. */
static void on_data(struct stream *s, void *arg)
{
    struct link *l = arg;
    for (;;) {
        uint8_t type;
        struct slice payload;
        switch (link_flow_take(&l->flow, stream_peek(s), &type, &payload)) {
        case LINK_CUT_MORE:
            ack_when_due(l);
            return;
        case LINK_CUT_BAD:
            lose_by_peer(l, "what came is no frame");
            return;
        case LINK_CUT_FRAME:
            stream_consume(s, LINK_HEAD_BYTES + payload.len);
            take_frame(l, s, type, payload);
            break;
        }
        if (l->freed || l->stream != s)
            return;
        if (l->paused) {
            ack_when_due(l);
            return;
        }
    }
}

void link_pause(struct link *l)
{
    l->paused = true;
    if (l->state == LINK_CONNECTED)
        stream_pause(l->stream);
}

void link_unpause(struct link *l)
{
    if (!l->paused)
        return;
    l->paused = false;
    l->heard_floor_ms = loop_now_ms(l->loop);
    if (l->state == LINK_CONNECTED)
        stream_resume(l->stream);
}

/* ---- the connection's life ---- */

void link_drop_stream(struct link *l)
{
    loop_timer_stop(&l->tick);
    loop_timer_stop(&l->ack_timer);
    l->acks_soon = false;
    stream_free(&l->stream);
}

/* Where the session ends with its connection it does so now; else somebody has resume_ms to come
 * back. */
static void broken(struct link *l, enum link_loss why, const struct err *err)
{
    if (l->resume_ms == 0) {
        link_lose(l, why, err);
        return;
    }
    link_drop_stream(l);
    l->broken_why = why;
    l->broken_err = *err;
    l->forgets_soon = true;
    loop_timer_start(&l->loss_timer, l->resume_ms);
    if (l->dialler != NULL)
        link_dial_again(l);
    else
        link_move(l, LINK_PARKED);
}

static void on_loss_timer(void *arg)
{
    struct link *l = arg;
    l->forgets_soon = false;
    struct err err = l->broken_err;
    link_lose(l, l->broken_why, &err);
}

static void on_closed(struct stream *s, const struct err *why, void *arg)
{
    struct link *l = arg;
    (void)s;
    struct err err;
    if (why != NULL)
        err = *why;
    else
        (void)err_set(&err, ERR_IO, "the other side closed the connection");
    broken(l, LINK_LOST_BROKEN, &err);
}

static void on_stream_room(struct stream *s, void *arg)
{
    (void)s;
    struct link *l = arg;
    if (l->state == LINK_CONNECTED)
        pump(l);
}

static const struct stream_handlers stream_handlers = { .on_data = on_data,
                                                        .on_room = on_stream_room,
                                                        .on_closed = on_closed };

/* Nothing was heard for too long. Time that this process itself did not run does not count, nor
 * that in which it did not want to hear. */
static bool is_silent(struct link *l, uint64_t now)
{
    if (now - l->ticked_ms > l->ping_ms + l->dead_ms / 2)
        l->heard_floor_ms = now;
    l->ticked_ms = now;
    uint64_t heard = stream_last_read_ms(l->stream);
    if (heard < l->heard_floor_ms)
        heard = l->heard_floor_ms;
    return !l->paused && now - heard >= l->dead_ms;
}

static void on_tick(void *arg)
{
    struct link *l = arg;
    uint64_t now = loop_now_ms(l->loop);
    if (is_silent(l, now)) {
        struct err err;
        (void)err_set(&err, ERR_IO, "nothing was heard for %llu ms",
                      (unsigned long long)l->dead_ms);
        broken(l, LINK_LOST_SILENT, &err);
        return;
    }
    /* What is written below the half of a tick ago needs no ping; one that pends says it all. */
    if (now - stream_last_write_ms(l->stream) >= l->ping_ms / 2 && stream_pending(l->stream) == 0)
        say(l, LINK_FRAME_PING, loop_now_us(l->loop));
    if (bytes_held(l) == 0)
        link_flow_rest(&l->flow);
    loop_timer_start(&l->tick, l->ping_ms);
}

static void keep_alive(struct link *l)
{
    l->ticked_ms = l->heard_floor_ms = loop_now_ms(l->loop);
    loop_timer_start(&l->tick, l->ping_ms);
    /* A link that resumes may be paused by its owner at the other end, which the kernel would take
     * for death; that one is found out by its silence. */
    if (l->resume_ms == 0)
        stream_set_patience(l->stream, l->dead_ms);
}

void link_note_peer(struct link *l, const struct link_shake *shake)
{
    char where[SOCK_ADDR_TEXT_MAX];
    l->peer = (struct link_peer){ .id = shake->peer.id,
                                  .class = l->class,
                                  .shard = l->dialler != NULL ? l->shard : shake->peer.shard,
                                  .version = shake->version };
    _Static_assert(sizeof l->peer.address == SOCK_ADDR_TEXT_MAX, "an address fits");
    memcpy(l->peer.address, sock_addr_text(stream_peer(l->stream), where), sizeof where);
    l->has_peer = true;
    l->peer_boot = shake->peer.boot;
}

bool link_connect(struct link *l, struct stream **s, const struct link_shake *shake, bool resumed)
{
    CHECK(resumed == l->in_session);
    if (resumed && !link_flow_rewind(&l->flow, shake->peer.received))
        return false;
    loop_timer_stop(&l->loss_timer);
    l->forgets_soon = false;
    l->stream = *s;
    *s = NULL;
    stream_hand_over(l->stream, &stream_handlers, l);
    stream_set_marks(l->stream, STREAM_HIGH, STREAM_LOW);
    if (l->paused)
        stream_pause(l->stream);
    link_move(l, LINK_CONNECTED);
    link_note_peer(l, shake);
    keep_alive(l);
    l->in_session = true;
    l->stats.connects++;
    l->stats.resumes += resumed;
    /* The other side was told with the handshake. */
    (void)link_flow_tell(&l->flow);
    loop_at_turn_end(l->loop, &l->pump_task);
    if (!resumed && l->dialler != NULL && l->handlers->on_up != NULL)
        l->handlers->on_up(l, l->arg);
    return true;
}

/* ---- the session's end ---- */

void link_lose(struct link *l, enum link_loss why, const struct err *err)
{
    loop_timer_stop(&l->loss_timer);
    loop_task_cancel(l->loop, &l->pump_task);
    loop_task_cancel(l->loop, &l->room_task);
    loop_task_cancel(l->loop, &l->end_task);
    l->forgets_soon = false;
    l->in_session = false;
    l->full = false;
    link_flow_clear(&l->flow);
    if (l->dialler != NULL) {
        link_dial_anew(l);
    } else {
        if (l->stream != NULL)
            link_drop_stream(l);
        link_hall_remove(l);
        link_move(l, LINK_ENDED);
    }
    if (l->handlers != NULL)
        l->handlers->on_lost(l, why, err, l->arg);
}

/* Send what the other side needs to know, and hang up. */
static void say_bye(struct link *l)
{
    if (l->state != LINK_CONNECTED)
        return;
    say(l, LINK_FRAME_BYE, 0);
    loop_timer_stop(&l->tick);
    stream_finish(&l->stream, LINK_LINGER_MS);
}

static void on_end_task(void *arg)
{
    struct link *l = arg;
    say_bye(l);
    link_lose(l, l->end_why, NULL);
}

void link_give_up(struct link *l)
{
    if (l->in_session || link_flow_waiting(&l->flow) != 0)
        end_soon(l, LINK_LOST_GIVEN_UP);
}

/* ---- life ---- */

struct link *link_make(struct loop *loop, struct link_node *node, enum link_class class,
                       uint64_t resume_ms, size_t window_bytes, uint64_t ping_ms, uint64_t dead_ms)
{
    CHECK(loop_is_current(loop));
    struct link *l = mem_zalloc(sizeof *l);
    l->loop = loop;
    l->node = node;
    l->class = class;
    l->resume_ms = resume_ms;
    l->window_bytes = window_bytes != 0 ? window_bytes : LINK_WINDOW_BYTES;
    l->ping_ms = ping_ms != 0 ? ping_ms : LINK_PING_MS;
    l->dead_ms = dead_ms != 0 ? dead_ms : LINK_DEAD_MS;
    link_flow_init(&l->flow, resume_ms != 0);
    loop_timer_init(&l->tick, loop, on_tick, l);
    loop_timer_init(&l->ack_timer, loop, on_ack_timer, l);
    loop_timer_init(&l->loss_timer, loop, on_loss_timer, l);
    loop_task_init(&l->pump_task, on_pump_task, l);
    loop_task_init(&l->room_task, on_room_task, l);
    loop_task_init(&l->end_task, on_end_task, l);
    return l;
}

void link_set_owner(struct link *l, const struct link_handlers *handlers, void *arg)
{
    CHECK(handlers->on_frame != NULL && handlers->on_lost != NULL);
    l->handlers = handlers;
    l->arg = arg;
}

static void free_memory(void *ptr)
{
    struct link *l = ptr;
    mem_free(l->dialler);
    mem_free(l);
}

void link_free(struct link **link)
{
    struct link *l = *link;
    *link = NULL;
    if (l == NULL)
        return;
    CHECK(!l->freed);
    l->freed = true;
    say_bye(l);
    stream_free(&l->stream);
    if (l->dialler != NULL)
        link_dial_end(l);
    link_hall_remove(l);
    loop_timer_fini(&l->tick);
    loop_timer_fini(&l->ack_timer);
    loop_timer_fini(&l->loss_timer);
    loop_task_cancel(l->loop, &l->pump_task);
    loop_task_cancel(l->loop, &l->room_task);
    loop_task_cancel(l->loop, &l->end_task);
    link_flow_fini(&l->flow);
    loop_bury(l->loop, l, free_memory);
}

/* ---- about it ---- */

bool link_is_up(const struct link *l)
{
    return l->in_session;
}

bool link_is_connected(const struct link *l)
{
    return l->state == LINK_CONNECTED;
}

const struct link_peer *link_peer(const struct link *l)
{
    return l->has_peer ? &l->peer : NULL;
}

void link_stats(const struct link *l, struct link_stats *out)
{
    *out = l->stats;
    out->waiting_bytes = link_flow_waiting(&l->flow);
    out->unacked_bytes = bytes_held(l) - out->waiting_bytes;
}
