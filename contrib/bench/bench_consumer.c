#include "bench_consumer.h"

#include "base/check.h"
#include "io/clock.h"

#define CHANNEL   1u
#define ACK_BYTES 21u /* 7 head, 4 class and method, 8 tag, 1 multiple, 1 end */

/* ---- acknowledging ------------------------------------------------------------------------------
 */

/* Written often, so with nothing but its two fields to fill in. */
static void ack(struct bench_consumer *c, uint64_t tag, bool multiple)
{
    static const uint8_t frame[ACK_BYTES] = {
        AMQP_FRAME_METHOD,
        0,
        CHANNEL,
        0,
        0,
        0,
        ACK_BYTES - AMQP_FRAME_OVERHEAD,
        0,
        AMQP_BASIC_ACK >> 16,
        0,
        AMQP_BASIC_ACK & 0xFF,
        [ACK_BYTES - 1] = AMQP_FRAME_END,
    };
    struct stream *s = bench_conn_stream(&c->conn);
    uint8_t *at = stream_reserve(s, ACK_BYTES);
    memcpy(at, frame, ACK_BYTES);
    bench_body_put_u64(at + 11, tag);
    at[19] = multiple;
    stream_commit(s, ACK_BYTES);
    c->figures->acks++;
    if (UNLIKELY(c->judges_acks))
        bench_acks_sent(&c->acks);
}

static void ack_rest(struct bench_consumer *c)
{
    if (c->unacked != 0)
        ack(c, c->last_tag, true);
    c->unacked = 0;
}

static void taken(struct bench_consumer *c, uint64_t tag)
{
    uint32_t every = c->plan->options->ack_every;
    c->last_tag = tag;
    if (every == 0 || ++c->unacked < every)
        return;
    ack(c, tag, every > 1);
    c->unacked = 0;
}

/* ---- messages -----------------------------------------------------------------------------------
 */

static void end_streak(struct bench_consumer *c, uint64_t now_us)
{
    struct bench_streak *s = &c->streak;
    if (s->count == 0)
        return;
    bench_figures_time(c->figures, BENCH_LATENCY, bench_body_age_us(now_us, s->time_us), s->count);
    if (c->plan->options->rate != 0)
        bench_figures_time(c->figures, BENCH_LATENCY_DUE, bench_body_age_us(now_us, s->intended_us),
                           s->count);
    s->count = 0;
}

static void time_it(struct bench_consumer *c, const struct bench_body *b, uint64_t now_us)
{
    struct bench_streak *s = &c->streak;
    if (b->time_us != s->time_us || b->intended_us != s->intended_us) {
        end_streak(c, now_us);
        s->time_us = b->time_us;
        s->intended_us = b->intended_us;
    }
    s->count++;
}

/* Another run's message, or none of ours at all. */
static bool is_foreign(const struct bench_consumer *c, const struct bench_body *b)
{
    if (c->plan->options->publishers == 0)
        return false; /* all are from elsewhere: only counted and timed */
    return b->run != c->plan->run || b->flow >= c->plan->flows;
}

static void track(struct bench_consumer *c, const struct bench_body *b)
{
    struct bench_counts *counts = &c->track->counts;
    if (c->plan->options->publishers == 0) {
        counts->received++;
        counts->unique++;
        counts->redelivered += c->scan.redelivered;
        return;
    }
    /* Whether a flow may come here at all is looked up until its first message is taken. */
    if (UNLIKELY(c->order.next[b->flow] == 0) && !bench_plan_goes(c->plan, b->flow, c->queue)) {
        counts->misrouted++;
        return;
    }
    struct bench_sight sight = { .queue = c->queue,
                                 .flow = b->flow,
                                 .sequence = b->sequence,
                                 .redelivered = c->scan.redelivered,
                                 .resent = b->resent };
    bench_track_see(c->track, &c->order, &sight);
    if (UNLIKELY(c->judges_acks))
        bench_acks_took(&c->acks, b->flow, b->sequence, c->scan.tag);
}

/* From now on these must not come again. */
static void rely_on_acks(struct bench_consumer *c)
{
    uint32_t flow;
    uint64_t sequence;
    while (bench_acks_kept(&c->acks, &flow, &sequence))
        bench_track_settle(c->track, c->queue, flow, sequence);
}

static void take_message(struct bench_consumer *c, uint64_t now_us)
{
    struct bench_body b;
    struct bench_counts *counts = &c->track->counts;
    counts->body_bytes += c->scan.body_size;
    if (UNLIKELY(!bench_body_read(c->scan.head, (size_t)c->scan.body_size, &b) ||
                 is_foreign(c, &b))) {
        counts->foreign++;
    } else {
        counts->corrupt += c->scan.corrupt;
        track(c, &b);
        time_it(c, &b, now_us);
    }
    taken(c, c->scan.tag);
}

static void take_method(struct bench_consumer *c)
{
    const struct amqp_frame *f = &c->scan.frame;
    uint32_t id =
        f->type == AMQP_FRAME_METHOD && f->channel == CHANNEL ? amqp_method_peek(f->payload) : 0;
    if (id == AMQP_BASIC_QOS_OK) {
        return;
    } else if (id == AMQP_BASIC_CONSUME_OK && !c->consuming) {
        c->consuming = true;
        c->figures->reconnects += c->was_ready;
        bool first = !c->was_ready;
        c->was_ready = true;
        if (first)
            c->handlers->on_ready(c, c->arg);
    } else if (id == AMQP_BASIC_CANCEL) {
        bench_conn_break(&c->conn, "the server cancelled the consumer");
    } else {
        bench_conn_take(&c->conn, f);
    }
}

static size_t on_data(struct bench_conn *conn, struct slice in, void *arg)
{
    struct bench_consumer *c = arg;
    struct slice rest = in;
    uint64_t now_us = clock_mono_us();
    uint64_t received = c->track->counts.received;
    while (bench_conn_is_ready(conn)) {
        enum bench_scan_verdict v = bench_scan_next(&c->scan, &rest);
        if (LIKELY(v == BENCH_SCAN_MESSAGE))
            take_message(c, now_us);
        else if (v == BENCH_SCAN_METHOD)
            take_method(c);
        else if (v == BENCH_SCAN_BAD)
            bench_conn_break(conn, "frames out of place");
        else
            break;
    }
    end_streak(c, now_us);
    if (UNLIKELY(c->judges_acks))
        rely_on_acks(c);
    if (c->track->counts.received != received)
        bench_figures_gap(&c->figures->last_delivery_us, &c->figures->delivery_gap_us, now_us);
    return in.len - rest.len;
}

/* ---- the connection -----------------------------------------------------------------------------
 */

static void on_ready(struct bench_conn *conn, void *arg)
{
    struct bench_consumer *c = arg;
    const struct bench_options *o = c->plan->options;
    char room[256];
    struct text queue = text_over(room, sizeof room);
    bench_plan_queue(c->plan, c->queue, &queue);
    bench_scan_init(&c->scan, bench_conn_frame_max(conn), c->filler);
    c->unacked = 0;
    if (o->prefetch != 0) {
        struct amqp_method qos = { .id = AMQP_BASIC_QOS };
        qos.basic_qos.prefetch_count = (uint16_t)o->prefetch;
        bench_conn_send(conn, CHANNEL, &qos);
    }
    struct amqp_method consume = { .id = AMQP_BASIC_CONSUME };
    consume.basic_consume.queue = text_view(&queue);
    consume.basic_consume.no_ack = o->ack_every == 0;
    bench_conn_send(conn, CHANNEL, &consume);
}

static void on_down(struct bench_conn *conn, const struct err *why, void *arg)
{
    (void)conn;
    (void)why;
    struct bench_consumer *c = arg;
    c->consuming = false;
    bench_acks_drop(&c->acks);
}

static void on_failed(struct bench_conn *conn, const struct err *why, void *arg)
{
    (void)conn;
    struct bench_consumer *c = arg;
    c->consuming = false;
    c->handlers->on_failed(c, why, c->arg);
}

static void on_closed(struct bench_conn *conn, void *arg)
{
    (void)conn;
    struct bench_consumer *c = arg;
    c->consuming = false;
    c->handlers->on_closed(c, c->arg);
}

static const struct bench_conn_handlers conn_handlers = {
    .on_ready = on_ready,
    .on_data = on_data,
    .on_down = on_down,
    .on_failed = on_failed,
    .on_closed = on_closed,
};

/* ---- life ---------------------------------------------------------------------------------------
 */

void bench_consumer_init(struct bench_consumer *c, const struct bench_plan *plan, uint32_t index,
                         struct loop *loop, struct tls_ctx *tls, struct bench_figures *figures,
                         struct bench_track *track, const struct bench_progress *progress,
                         const struct bench_consumer_handlers *handlers, void *arg)
{
    const struct bench_options *o = plan->options;
    *c = (struct bench_consumer){
        .plan = plan,
        .index = index,
        .queue = bench_plan_consumer_queue(plan, index),
        .figures = figures,
        .track = track,
        .handlers = handlers,
        .arg = arg,
    };
    bench_order_init(&c->order, plan->flows);
    bench_acks_init(&c->acks, progress, o->prefetch);
    c->judges_acks = bench_options_judges_acks(o);
    if (o->verify)
        c->filler = bench_filler_new();
    bench_conn_init(&c->conn, loop,
                    &(struct bench_conn_options){
                        .options = o,
                        .tls = tls,
                        .first_host = o->host_order == BENCH_ROUND_ROBIN ? index : 0,
                        .channels = 1,
                        .handlers = &conn_handlers,
                        .arg = c,
                    });
}

void bench_consumer_fini(struct bench_consumer *c)
{
    bench_conn_fini(&c->conn);
    bench_order_fini(&c->order);
    bench_acks_fini(&c->acks);
    buf_unref(&c->filler);
}

void bench_consumer_connect(struct bench_consumer *c)
{
    bench_conn_start(&c->conn);
}

void bench_consumer_close(struct bench_consumer *c)
{
    if (bench_conn_is_ready(&c->conn))
        ack_rest(c);
    bench_conn_close(&c->conn);
}
