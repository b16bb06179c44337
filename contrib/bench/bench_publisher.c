#include "bench_publisher.h"

#include "base/check.h"
#include "base/sm.h"
#include "io/clock.h"

#define CHANNEL       1u
#define BLOCKS_A_TURN 4u /* or as many messages too large for a block */

#define TO(name)      SM_BIT(BENCH_PUBLISHER_##name)
static const struct sm_row rows[] = {
#define X(name, moves) { #name, moves },
    BENCH_PUBLISHER_STATES(X)
#undef X
};
#undef TO

static void move(struct bench_publisher *p, enum bench_publisher_state to)
{
    sm_move(rows, &p->state, to);
}

static bool has_confirms(const struct bench_publisher *p)
{
    return p->plan->options->confirm != 0;
}

/* ---- what cannot be promised --------------------------------------------------------------------
 */

static void excuse(struct bench_publisher *p, uint64_t message)
{
    uint32_t flows = p->plan->publisher_flows;
    if (bench_ids_add(&p->excused[message % flows], message / flows))
        p->figures->expected -= p->reach[message % flows];
}

/* How many of the messages 0 .. n - 1 are of flow `f`. */
static uint64_t of_flow(const struct bench_publisher *p, uint64_t n, uint32_t f)
{
    return (n + p->plan->publisher_flows - 1 - f) / p->plan->publisher_flows;
}

/* All of from .. to - 1. */
static void excuse_range(struct bench_publisher *p, uint64_t from, uint64_t to)
{
    for (uint32_t f = 0; f < p->plan->publisher_flows; f++)
        bench_ids_add_range(&p->excused[f], of_flow(p, from, f), of_flow(p, to, f));
}

uint64_t bench_publisher_sent(const struct bench_publisher *p, uint32_t f)
{
    return of_flow(p, p->next, f);
}

/* ---- publishing ---------------------------------------------------------------------------------
 */

static void check_stopped(struct bench_publisher *p)
{
    if (p->state != BENCH_PUBLISHER_STOPPING)
        return;
    if (has_confirms(p) && (p->window.open != 0 || p->again_at < p->again_count))
        return;
    /* Without confirms, all that can be known is that the kernel has it; on_room says so. */
    if (p->usable && stream_pending(bench_conn_stream(&p->conn)) != 0) {
        stream_set_marks(bench_conn_stream(&p->conn), 1, 0);
        return;
    }
    move(p, BENCH_PUBLISHER_STOPPED);
    p->handlers->on_stopped(p, p->arg);
}

/* How many messages may go now, in one piece of work. */
static uint32_t allowance(const struct bench_publisher *p, uint64_t now_us)
{
    uint64_t n = p->end - p->next;
    uint64_t most = p->load.whole ? p->load.count : 1;
    if (p->paced) {
        uint64_t due = bench_pace_count(&p->pace, now_us);
        most = due < p->next + most ? (due > p->next ? due - p->next : 0) : most;
    }
    if (has_confirms(p) && bench_window_room(&p->window) < most)
        most = bench_window_room(&p->window);
    return (uint32_t)(n < most ? n : most);
}

/* How many deliveries must follow from `count` messages from `from` on. */
static uint64_t deliveries_of(const struct bench_publisher *p, uint64_t from, uint32_t count)
{
    uint64_t all = 0;
    uint32_t flows = p->plan->publisher_flows;
    if (count < flows) {
        for (uint32_t i = 0; i < count; i++)
            all += p->reach[(from + i) % flows];
        return all;
    }
    for (uint32_t f = 0; f < flows; f++)
        all += p->reach[f] * (of_flow(p, from + count, f) - of_flow(p, from, f));
    return all;
}

static void publish(struct bench_publisher *p, uint32_t count, uint64_t now_us)
{
    const struct bench_pace *pace = p->paced ? &p->pace : NULL;
    bench_progress_begin(p->progress, p->index, p->next + count);
    bench_load_write(&p->load, bench_conn_stream(&p->conn), p->next, count, now_us, pace);
    for (uint32_t i = 0; has_confirms(p) && i < count; i++) {
        uint64_t due_us = p->paced ? bench_pace_due_us(&p->pace, p->next + i) : now_us;
        bench_window_push(&p->window, p->next + i, due_us, now_us);
    }
    const struct bench_options *o = p->plan->options;
    for (uint32_t i = 0; o->sizes_count > 1 && i < count; i++)
        p->figures->published_bytes += bench_load_size(&p->load, p->next + i);
    if (o->sizes_count == 1)
        p->figures->published_bytes += count * o->sizes[0];
    p->figures->expected += deliveries_of(p, p->next, count);
    p->figures->published += count;
    p->next += count;
}

static void publish_again(struct bench_publisher *p, uint64_t now_us)
{
    const struct bench_window_entry *e = &p->again[p->again_at++];
    bench_load_write_again(&p->load, bench_conn_stream(&p->conn), e->message, now_us, e->due_us);
    bench_window_push(&p->window, e->message, e->due_us, now_us);
    p->figures->resent++;
}

void bench_publisher_fill(struct bench_publisher *p)
{
    if (!p->usable || p->conn.blocked ||
        (p->state != BENCH_PUBLISHER_PUBLISHING && p->state != BENCH_PUBLISHER_STOPPING))
        return;
    struct stream *s = bench_conn_stream(&p->conn);
    while (p->again_at < p->again_count && !stream_is_full(s))
        publish_again(p, clock_mono_us());
    if (p->again_at < p->again_count || p->state == BENCH_PUBLISHER_STOPPING)
        return; /* on_room goes on */
    for (unsigned i = 0; i < BLOCKS_A_TURN && !stream_is_full(s); i++) {
        uint64_t now_us = clock_mono_us();
        uint32_t count = allowance(p, now_us);
        if (count == 0)
            break;
        publish(p, count, now_us);
    }
    if (p->next == p->end) {
        bench_publisher_stop(p);
        return;
    }
    if (!stream_is_full(s) && allowance(p, clock_mono_us()) != 0)
        loop_again(p->conn.loop, &p->more); /* the kernel takes all: let others have a turn */
}

static void on_more(void *arg)
{
    bench_publisher_fill(arg);
}

void bench_publisher_go(struct bench_publisher *p, uint64_t start_us)
{
    const struct bench_options *o = p->plan->options;
    move(p, BENCH_PUBLISHER_PUBLISHING);
    p->paced = o->rate != 0;
    if (p->paced)
        bench_pace_init(&p->pace, start_us, o->rate, p->index, o->publishers);
    bench_publisher_fill(p);
}

void bench_publisher_stop(struct bench_publisher *p)
{
    if (p->state == BENCH_PUBLISHER_READY) {
        move(p, BENCH_PUBLISHER_STOPPED);
        p->handlers->on_stopped(p, p->arg);
    }
    if (p->state != BENCH_PUBLISHER_PUBLISHING)
        return;
    move(p, BENCH_PUBLISHER_STOPPING);
    check_stopped(p);
}

/* ---- what the server says -----------------------------------------------------------------------
 */

static uint32_t flow_of(const struct bench_publisher *p, uint64_t message)
{
    uint32_t flows = p->plan->publisher_flows;
    return p->index * flows + (uint32_t)(message % flows);
}

struct settling {
    struct bench_publisher *p;
    uint64_t now_us;
};

static void on_settled(void *arg, const struct bench_window_entry *e, bool acked)
{
    struct settling *s = arg;
    struct bench_figures *f = s->p->figures;
    if (!acked) {
        f->nacked++;
        excuse(s->p, e->message);
        return;
    }
    f->confirmed++;
    bench_progress_confirm(s->p->progress, flow_of(s->p, e->message), e->message);
    bench_figures_time(f, BENCH_CONFIRM, s->now_us - e->sent_us, 1);
    if (s->p->paced)
        bench_figures_time(f, BENCH_CONFIRM_DUE, s->now_us - e->due_us, 1);
}

static void settle(struct bench_publisher *p, uint64_t tag, bool multiple, bool acked,
                   uint64_t now_us)
{
    struct settling s = { p, now_us };
    if (!has_confirms(p) || !bench_window_settle(&p->window, tag, multiple, acked, on_settled, &s))
        bench_conn_break(&p->conn, "confirm of tag %llu, which is not open",
                         (unsigned long long)tag);
}

static void returned(struct bench_publisher *p)
{
    struct bench_body b;
    p->figures->returned++;
    if (!bench_body_read(p->scan.head, (size_t)p->scan.body_size, &b) || b.run != p->plan->run ||
        b.flow - p->load.flow_first >= p->plan->publisher_flows)
        return;
    excuse(p, b.sequence * p->plan->publisher_flows + (b.flow - p->load.flow_first));
}

static void take_method(struct bench_publisher *p, uint64_t now_us)
{
    const struct amqp_frame *f = &p->scan.frame;
    struct wire w = wire_over(f->payload);
    uint32_t id = f->type == AMQP_FRAME_METHOD && f->channel == CHANNEL ? wire_u32(&w) : 0;
    if (id == AMQP_BASIC_ACK) {
        struct amqp_basic_ack ack;
        amqp_basic_ack_read(&w, &ack);
        settle(p, ack.delivery_tag, ack.multiple, true, now_us);
    } else if (id == AMQP_BASIC_NACK) {
        struct amqp_basic_nack nack;
        amqp_basic_nack_read(&w, &nack);
        settle(p, nack.delivery_tag, nack.multiple, false, now_us);
    } else if (id == AMQP_CONFIRM_SELECT_OK && !p->usable) {
        p->usable = true;
    } else {
        bool was_blocked = p->conn.blocked;
        bench_conn_take(&p->conn, f);
        p->figures->blocked += p->conn.blocked && !was_blocked;
    }
}

static void become_usable(struct bench_publisher *p);

static size_t on_data(struct bench_conn *c, struct slice in, void *arg)
{
    struct bench_publisher *p = arg;
    struct slice rest = in;
    uint64_t now_us = clock_mono_us();
    bool was_usable = p->usable;
    uint64_t confirmed = p->figures->confirmed;
    while (bench_conn_is_ready(c)) {
        enum bench_scan_verdict v = bench_scan_next(&p->scan, &rest);
        if (v == BENCH_SCAN_MORE)
            break;
        if (v == BENCH_SCAN_BAD)
            bench_conn_break(c, "frames out of place");
        else if (v == BENCH_SCAN_METHOD)
            take_method(p, now_us);
        else if (p->scan.returned)
            returned(p);
    }
    if (!bench_conn_is_ready(c))
        return 0;
    if (p->figures->confirmed != confirmed)
        bench_figures_gap(&p->figures->last_confirm_us, &p->figures->confirm_gap_us, now_us);
    if (p->usable && !was_usable)
        become_usable(p);
    bench_publisher_fill(p);
    check_stopped(p);
    return in.len - rest.len;
}

/* ---- the connection -----------------------------------------------------------------------------
 */

static void become_usable(struct bench_publisher *p)
{
    p->usable = true;
    p->conn_first = p->next;
    if (p->state == BENCH_PUBLISHER_CONNECTING) {
        move(p, BENCH_PUBLISHER_READY);
        p->handlers->on_ready(p, p->arg);
    } else {
        p->figures->reconnects++;
        bench_publisher_fill(p);
    }
}

static void on_ready(struct bench_conn *c, void *arg)
{
    struct bench_publisher *p = arg;
    if (!p->loaded)
        bench_load_init(&p->load, p->plan, p->index, bench_conn_frame_max(c));
    p->loaded = true;
    if (bench_conn_frame_max(c) < p->load.frame_max) {
        bench_conn_break(c, "frame-max is smaller here than where the messages were made for");
        return;
    }
    bench_scan_init(&p->scan, bench_conn_frame_max(c), NULL);
    if (has_confirms(p))
        bench_conn_send(c, CHANNEL, &(struct amqp_method){ .id = AMQP_CONFIRM_SELECT });
    else
        become_usable(p);
}

static void on_room(struct bench_conn *c, void *arg)
{
    (void)c;
    bench_publisher_fill(arg);
    check_stopped(arg);
}

/* What is open goes into `again`, behind what of it was not sent again yet. */
static void keep_open(struct bench_publisher *p)
{
    uint32_t left = p->again_count - p->again_at;
    /* Both together are never more than the window: nothing new goes before all of them. */
    CHECK(left + p->window.open <= p->window.limit);
    struct bench_window_entry *all = mem_array(p->window.limit, sizeof *all);
    uint32_t open = bench_window_reset(&p->window, all);
    if (left != 0)
        memcpy(all + open, p->again + p->again_at, left * sizeof *all);
    mem_free(p->again);
    p->again = all;
    p->again_at = 0;
    p->again_count = open + left;
}

static void on_down(struct bench_conn *c, const struct err *why, void *arg)
{
    (void)c;
    (void)why;
    struct bench_publisher *p = arg;
    p->usable = false;
    if (has_confirms(p))
        keep_open(p);
    else
        excuse_range(p, p->conn_first, p->next);
    check_stopped(p);
}

static void on_failed(struct bench_conn *c, const struct err *why, void *arg)
{
    struct bench_publisher *p = arg;
    if (p->usable)
        on_down(c, why, arg);
    p->handlers->on_failed(p, why, p->arg);
}

static void on_closed(struct bench_conn *c, void *arg)
{
    (void)c;
    struct bench_publisher *p = arg;
    p->usable = false;
    p->handlers->on_closed(p, p->arg);
}

static const struct bench_conn_handlers conn_handlers = {
    .on_ready = on_ready,
    .on_data = on_data,
    .on_room = on_room,
    .on_down = on_down,
    .on_failed = on_failed,
    .on_closed = on_closed,
};

/* ---- life ---------------------------------------------------------------------------------------
 */

void bench_publisher_init(struct bench_publisher *p, const struct bench_plan *plan, uint32_t index,
                          struct loop *loop, struct tls_ctx *tls, struct mem_budget *ids,
                          struct bench_figures *figures, struct bench_progress *progress,
                          const struct bench_publisher_handlers *handlers, void *arg)
{
    const struct bench_options *o = plan->options;
    *p = (struct bench_publisher){
        .plan = plan,
        .index = index,
        .figures = figures,
        .progress = progress,
        .handlers = handlers,
        .arg = arg,
        .end = o->messages != 0 ? o->messages : BENCH_BODY_SEQUENCE_MAX,
    };
    bench_conn_init(&p->conn, loop,
                    &(struct bench_conn_options){
                        .options = o,
                        .tls = tls,
                        .first_host = o->host_order == BENCH_ROUND_ROBIN ? index : 0,
                        .channels = 1,
                        .handlers = &conn_handlers,
                        .arg = p,
                    });
    if (has_confirms(p))
        bench_window_init(&p->window, o->confirm);
    p->excused = mem_array(plan->publisher_flows, sizeof *p->excused);
    p->reach = mem_array(plan->publisher_flows, sizeof *p->reach);
    for (uint32_t f = 0; f < plan->publisher_flows; f++) {
        bench_ids_init(&p->excused[f], ids);
        p->reach[f] = bench_plan_reach(plan, index * plan->publisher_flows + f);
    }
    loop_task_init(&p->more, on_more, p);
}

void bench_publisher_fini(struct bench_publisher *p)
{
    loop_task_cancel(p->conn.loop, &p->more);
    bench_conn_fini(&p->conn);
    if (p->loaded)
        bench_load_fini(&p->load);
    if (has_confirms(p))
        bench_window_fini(&p->window);
    for (uint32_t f = 0; f < p->plan->publisher_flows; f++)
        bench_ids_fini(&p->excused[f]);
    mem_free(p->excused);
    mem_free(p->reach);
    mem_free(p->again);
}

void bench_publisher_connect(struct bench_publisher *p)
{
    bench_conn_start(&p->conn);
}

void bench_publisher_close(struct bench_publisher *p)
{
    loop_task_cancel(p->conn.loop, &p->more);
    bench_conn_close(&p->conn);
}

uint32_t bench_publisher_excuse_open(struct bench_publisher *p)
{
    if (!has_confirms(p))
        return 0;
    keep_open(p);
    for (uint32_t i = 0; i < p->again_count; i++)
        excuse(p, p->again[i].message);
    return p->again_count;
}
