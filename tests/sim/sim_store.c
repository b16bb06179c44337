#include "sim_store.h"

#include "amqp/amqp_table.h"
#include "base/check.h"
#include "base/mem.h"
#include "control.h"
#include "hosted.h"
#include "shard.h"
#include "sim_client.h"
#include "sim_found.h"
#include "sim_plan.h"
#include "sim_spoil.h"
#include "sim_world.h"
#include "store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/queue.h>

#define CHANNELS_MAX 8u
#define QUIET_US     UINT64_C(1000000)
#define STEPS_MAX    200000u

struct sim_store {
    struct rng chance;
    struct sim_plan plan;
    struct sim_report *report;
    struct sim_disk *disk;
    struct sim_books *books;
    struct broker *node;
    struct sim_clients *clients;
    struct channel *channels[CHANNELS_MAX];
    size_t channel_count;
    struct sim_queue queues[SIM_QUEUES_MAX];
    uint64_t next_content;
    uint64_t next_publisher;
    uint64_t next_name;
    LIST_HEAD(, wish) wishes; /* that are not answered */
    bool was_closed;
    bool has_grave;   /* it is bound */
    bool may_be_full; /* in this life */
};

static uint64_t below(struct sim_store *s, uint64_t bound)
{
    return rng_below(&s->chance, bound);
}

static bool comes(struct sim_store *s, unsigned per_mille)
{
    return rng_chance(&s->chance, per_mille);
}

static unsigned pick(struct sim_store *s, const unsigned *of, size_t count)
{
    return of[below(s, count)];
}

static enum sim_survival a_survival(struct sim_store *s)
{
    return s->plan.sync != BROKER_SYNC_ALWAYS ? SIM_SURVIVES_KILL
                                              : (enum sim_survival)below(s, SIM_SURVIVES_RUBBISH);
}

/* ---- running ----------------------------------------------------------------------------------
 */

static bool is_over(const struct sim_store *s)
{
    return sim_disk_is_down(s->disk) || sim_node_has_failed(s->node) ||
           sim_books_why(s->books) != NULL;
}

static void run_for(struct sim_store *s, uint64_t us)
{
    uint64_t end_us = sim_world_now_us() + us;
    for (unsigned n = 0; sim_world_now_us() < end_us && !is_over(s); n++) {
        if (!sim_world_step())
            sim_world_pass(1000);
        if (n == STEPS_MAX) {
            sim_books_fail(s->books, "the node does not come to rest");
            return;
        }
    }
}

/* All that was begun is done: then what was settled is settled. */
static void be_quiet(struct sim_store *s)
{
    run_for(s, QUIET_US);
    if (is_over(s) || s->may_be_full)
        return; /* a full disk lets things wait */
    sim_world_say("quiet");
    for (size_t i = 0; i < s->channel_count; i++)
        if (sim_client_waits(s->channels[i]))
            sim_books_fail(s->books, "nobody is told that all is settled for good");
    sim_books_quiet(s->books);
}

/* ---- definitions ------------------------------------------------------------------------------
 */

struct wish {
    LIST_ENTRY(wish) entry;
    struct sim_store *sim;
    struct sim_queue *queue;
    enum meta_op op;
};

static void bind_grave(struct sim_store *s, struct sim_queue *q);

static void on_wish(struct control_op *op)
{
    struct wish *w = op->arg;
    struct sim_store *s = w->sim;
    struct sim_queue *q = w->queue;
    LIST_REMOVE(w, entry);
    bool ok = op->verdict == META_DONE;
    if (w->op == META_BIND) {
        s->has_grave = ok;
        sim_world_say("%s is the grave%s", q->name, ok ? "" : ", perhaps");
    } else if (ok && w->op == META_QUEUE_DELETE) {
        sim_world_say("queue %" PRIu64 " is deleted", q->qid);
        sim_books_drop_queue(s->books, q->qid);
        q->qid = 0;
        q->is_there = false;
    } else if (ok) {
        q->qid = op->id;
        q->is_there = true;
        sim_world_say("queue %s is %" PRIu64, q->name, q->qid);
    }
    if (w->op != META_BIND)
        q->is_leaving = !ok; /* the node has failed: it may have been done or not */
    bool is_new_grave = ok && w->op == META_QUEUE_DECLARE && q->is_grave;
    control_op_free(&op);
    mem_free(w);
    if (is_new_grave)
        bind_grave(s, q);
}

static void send_wish(struct sim_store *s, struct sim_queue *q, const struct meta_cmd *cmd)
{
    struct wish *w = mem_zalloc(sizeof *w);
    *w = (struct wish){ .sim = s, .queue = q, .op = cmd->op };
    LIST_INSERT_HEAD(&s->wishes, w, entry);
    struct control_op *op = control_op_new(cmd);
    op->reply_to = broker_shard(s->node, 0)->loop;
    op->done = on_wish;
    op->arg = w;
    control_send(broker_control(s->node), &op);
}

#define GRAVE_EXCHANGE "amq.fanout"

/* All that dies goes there, whatever its key. */
static void bind_grave(struct sim_store *s, struct sim_queue *q)
{
    struct meta_cmd cmd = { .op = META_BIND, .vhost_id = sim_node_vhost(s->node), .conn = 1 };
    cmd.bind.source = slice_str(GRAVE_EXCHANGE);
    cmd.bind.destination = slice_str(q->name);
    send_wish(s, q, &cmd);
}

/* Of one that is no grave. */
static void draw_limits(struct sim_store *s, struct sim_queue *q, struct wire_out *w)
{
    q->has_grave = s->has_grave && comes(s, s->plan.grave_per_mille);
    q->ttl_ms = comes(s, s->plan.limit_per_mille) ? 1 + below(s, 3000) : 0;
    bool has_length = comes(s, s->plan.limit_per_mille);
    bool refuses = has_length && comes(s, 500);
    q->may_drop = has_length && !refuses;
    if (q->has_grave)
        amqp_table_put_text(w, "x-dead-letter-exchange", GRAVE_EXCHANGE);
    if (q->ttl_ms != 0)
        amqp_table_put_i32(w, "x-message-ttl", (int32_t)q->ttl_ms);
    if (has_length)
        amqp_table_put_i32(w, "x-max-length", 1 + (int32_t)below(s, 40));
    if (refuses)
        amqp_table_put_text(w, "x-overflow", "reject-publish");
}

static void declare_queue(struct sim_store *s, struct sim_queue *q)
{
    if (q->is_grave && q->is_there && !q->is_leaving && !s->has_grave)
        bind_grave(s, q); /* the node died before it was */
    if (q->qid != 0 || q->is_leaving)
        return;
    uint8_t room[256];
    struct wire_out w = wire_out_over(room, sizeof room);
    (void)snprintf(q->name, sizeof q->name, "q%" PRIu64, ++s->next_name);
    q->is_quorum = comes(s, 250);
    q->max_priority = !q->is_quorum && comes(s, 300) ? 3 : 0;
    q->is_leaving = true; /* nothing more is to be asked for it now */
    if (q->is_quorum)
        amqp_table_put_text(&w, "x-queue-type", "quorum");
    if (q->max_priority != 0)
        amqp_table_put_i32(&w, "x-max-priority", q->max_priority);
    if (!q->is_grave)
        draw_limits(s, q, &w);
    struct meta_cmd cmd = { .op = META_QUEUE_DECLARE,
                            .vhost_id = sim_node_vhost(s->node),
                            .conn = 1,
                            .name = slice_str(q->name) };
    cmd.queue_declare.durable = true;
    cmd.queue_declare.args = wire_out_slice(&w);
    sim_world_say("declare %s%s%s%s", q->name, q->is_quorum ? ", quorum" : "",
                  q->has_grave ? ", leaves letters" : "", q->may_drop ? ", drops" : "");
    send_wish(s, q, &cmd);
}

static void delete_queue(struct sim_store *s, struct sim_queue *q)
{
    if (!q->is_there || q->is_leaving || q->is_grave)
        return;
    struct meta_cmd cmd = { .op = META_QUEUE_DELETE,
                            .vhost_id = sim_node_vhost(s->node),
                            .conn = 1,
                            .name = slice_str(q->name),
                            .qid = q->qid };
    sim_world_say("delete %s", q->name);
    q->is_leaving = true;
    sim_books_purge(s->books, q->qid);
    send_wish(s, q, &cmd);
}

/* After a start: which are there? */
static void find_queues(struct sim_store *s)
{
    const struct meta_version *v = broker_meta(s->node);
    const struct meta_vhost *vh = meta_vhost_find(v, slice_str("/"));
    for (unsigned i = 0; i < s->plan.queue_count; i++) {
        struct sim_queue *q = &s->queues[i];
        const struct meta_queue *now = meta_queue_find(v, vh, slice_str(q->name));
        if (now == NULL && q->is_there && !q->is_leaving)
            sim_books_fail(s->books, "queue %s was declared and is lost", q->name);
        if (now != NULL && q->qid != 0 && now->qid != q->qid)
            sim_books_fail(s->books, "queue %s has another number", q->name);
        if (now == NULL && q->qid != 0)
            sim_books_drop_queue(s->books, q->qid);
        q->qid = now != NULL ? now->qid : 0;
        q->is_there = now != NULL;
        q->is_leaving = false;
    }
}

/* ---- what clients do --------------------------------------------------------------------------
 */

static struct sim_queue *a_queue(struct sim_store *s)
{
    struct sim_queue *q = &s->queues[below(s, s->plan.queue_count)];
    return q->is_there ? q : NULL;
}

static struct channel *a_channel(struct sim_store *s)
{
    if (s->channel_count < CHANNELS_MAX && (s->channel_count == 0 || comes(s, 30)))
        s->channels[s->channel_count++] =
            sim_client_open(s->clients, (uint32_t)below(s, s->plan.shards), comes(s, 850));
    return s->channels[below(s, s->channel_count)];
}

static void publish(struct sim_store *s)
{
    struct sim_publish p = { .content = ++s->next_content,
                             .body_bytes = comes(s, 100) ? 0 : below(s, s->plan.body_max),
                             .persistent = !comes(s, s->plan.transient_per_mille),
                             .ttl_ms = comes(s, s->plan.ttl_per_mille) ? 1 + below(s, 3000) : 0,
                             .priority = (uint8_t)below(s, 4) };
    if (comes(s, s->plan.large_per_mille))
        p.body_bytes = 60000 + below(s, 60000);
    size_t first = below(s, s->plan.queue_count), want = comes(s, 700) ? 1 : 1 + below(s, 4);
    for (size_t i = 0; i < s->plan.queue_count && p.count < want; i++) {
        const struct sim_queue *q = &s->queues[(first + i) % s->plan.queue_count];
        bool is_alone = q->has_grave; /* of one message one letter */
        if (q->is_there && (!is_alone || p.count == 0))
            p.qids[p.count++] = q->qid;
        if (is_alone && p.count != 0)
            break;
    }
    if (p.count == 0)
        return;
    s->report->messages += p.count;
    sim_world_say("publish %" PRIu64 " of %" PRIu64 " octets to %" PRIu64 " (%zu)%s%s", p.content,
                  p.body_bytes, p.qids[0], p.count, p.persistent ? "" : ", transient",
                  p.ttl_ms != 0 ? ", with a time" : "");
    sim_client_publish(a_channel(s), &p);
}

static void publish_some(struct sim_store *s)
{
    for (uint64_t n = comes(s, 200) ? 1 + below(s, 60) : 1; n != 0; n--)
        publish(s);
}

static void set_pressure(struct sim_store *s)
{
    bool on = comes(s, 700);
    sim_world_say(on ? "memory is short" : "memory is not short");
    sim_node_press(s->node, on);
}

/* One without an acknowledgement is waited for: what it takes is gone, whether somebody gets it or
 * not. */
static void get(struct sim_store *s, const struct sim_queue *q)
{
    struct channel *ch = a_channel(s);
    bool no_ack = !q->is_grave && comes(s, 200);
    uint64_t qid = q->qid;
    sim_client_get(ch, qid, no_ack);
    if (!no_ack)
        return;
    run_for(s, 1000);
    for (int n = 0; sim_client_asked(ch) != 0 && n < 1000 && !is_over(s); n++)
        run_for(s, 1000);
    if (sim_client_asked(ch) != 0)
        sim_books_loosen(s->books, qid);
}

static void act(struct sim_store *s, enum sim_act what)
{
    struct sim_queue *q = a_queue(s);
    switch (what) {
    case ACT_PUBLISH:
        publish_some(s);
        return;
    case ACT_CONSUME:
        if (q != NULL) {
            sim_world_say("consume %" PRIu64, q->qid);
            sim_client_consume(a_channel(s), q->qid, 1 + (uint32_t)below(s, 20),
                               !q->is_grave && comes(s, 100));
        }
        return;
    case ACT_CANCEL:
        sim_client_cancel(a_channel(s));
        return;
    case ACT_GET:
        if (q != NULL)
            get(s, q);
        return;
    case ACT_SETTLE:
        sim_client_settle(a_channel(s), pick(s, (const unsigned[]){ 50, 500, 1000 }, 3),
                          s->plan.settles_all_kinds, comes(s, s->plan.fence_per_mille));
        return;
    case ACT_PURGE:
        if (q != NULL && !q->is_grave) {
            sim_world_say("purge %" PRIu64, q->qid);
            sim_client_purge(a_channel(s), q->qid);
        }
        return;
    case ACT_DELETE:
        if (q != NULL && comes(s, 300))
            delete_queue(s, q);
        return;
    case ACT_DECLARE:
        declare_queue(s, &s->queues[below(s, s->plan.queue_count)]);
        return;
    case ACT_PRESS:
        set_pressure(s);
        return;
    case ACT_RUN:
        for (uint64_t n = below(s, 30); n != 0 && !is_over(s); n--)
            (void)sim_world_step();
        return;
    case ACT_PASS:
        run_for(s, below(s, 300000));
        return;
    case ACT_QUIET:
        be_quiet(s);
        return;
    case ACTS:
        break;
    }
    UNREACHABLE("act");
}

static enum sim_act next_act(struct sim_store *s)
{
    uint64_t at = below(s, s->plan.weight_sum);
    int what = 0;
    while (at >= s->plan.weights[what])
        at -= s->plan.weights[what++];
    return (enum sim_act)what;
}

/* ---- a life -----------------------------------------------------------------------------------
 */

static void on_seen(const struct sim_seen *seen, void *arg)
{
    struct sim_store *s = arg;
    sim_books_see(s->books, seen->qid, seen->content, seen->qseq, seen->body_bytes, seen->returns,
                  seen->redelivered);
}

static void on_missed(uint64_t qid, const struct recovered_entry *e, void *arg)
{
    struct sim_store *s = arg;
    sim_books_fail(s->books, "queue %" PRIu64 ": %" PRIx64 " is not at %u/%u", qid, e->qseq,
                   e->place.seg, e->place.offset);
}

static void on_wrong(const char *why, void *arg)
{
    struct sim_store *s = arg;
    sim_books_fail(s->books, "%s", why);
}

/* What recovery found, before anybody does anything to it. */
static void show(struct sim_store *s)
{
    const struct recovered *r = store_recovered(broker_store(s->node));
    struct sim_finder f = { on_seen, on_missed, on_wrong, s, false };
    sim_world_say("recovered: %zu queues, next segment %u, %zu damages, %s", r->queue_count,
                  r->next_seg, r->damage_count, r->is_clean ? "clean" : "not clean");
    if (r->damage_count != 0)
        sim_books_fail(s->books, "segment %u is said to be damaged at %u to %u, and is not",
                       r->damages[0].seg, r->damages[0].from, r->damages[0].to);
    find_queues(s);
    sim_books_begin(s->books, s->was_closed);
    if (sim_found_walk(s->disk, r, &f))
        sim_books_end(s->books);
    else
        sim_books_fail(s->books, "index files cannot be made");
}

static bool free_node(struct sim_store *s)
{
    sim_clients_vanish(s->clients);
    sim_books_part(s->books);
    bool ok = sim_node_free(&s->node);
    sim_clients_free(&s->clients);
    for (struct wish *w; (w = LIST_FIRST(&s->wishes)) != NULL;) {
        LIST_REMOVE(w, entry);
        mem_free(w);
    }
    return ok;
}

static bool start_node(struct sim_store *s, bool is_armed)
{
    struct err err;
    sim_world_interleave(s->plan.interleave);
    sim_world_starve(s->plan.starves);
    sim_disk_arm(s->disk, &(struct sim_faults){ .crash_at = is_armed ? 1 + below(s, 150) : 0 });
    s->report->restarts++;
    s->node = sim_node_new(&(struct sim_node_setup){ .disk = s->disk,
                                                     .shards = s->plan.shards,
                                                     .segment_bytes = s->plan.segment_bytes,
                                                     .sync = s->plan.sync },
                           &err);
    if (s->node == NULL) {
        sim_world_say("no start: %s", err.text);
        if (!sim_disk_is_down(s->disk))
            sim_books_fail(s->books, "it does not start: %s", err.text);
        return false;
    }
    s->clients =
        sim_clients_new(s->node, s->books, s->queues, s->plan.queue_count, s->next_publisher);
    s->next_publisher += 1000;
    s->channel_count = 0;
    if (sim_disk_is_down(s->disk) || !sim_node_start(s->node, &err)) {
        (void)free_node(s);
        return false;
    }
    sim_disk_arm(s->disk, &(struct sim_faults){ 0 });
    show(s);
    return true;
}

static bool come_up(struct sim_store *s)
{
    for (int attempt = 0;; attempt++) {
        if (start_node(s, attempt < 4 && comes(s, s->plan.start_crash_per_mille)))
            return sim_books_why(s->books) == NULL;
        if (sim_books_why(s->books) != NULL)
            return false;
        s->was_closed = false;
        sim_disk_reboot(s->disk, a_survival(s));
    }
}

static void arm(struct sim_store *s)
{
    struct sim_faults f = { .stall_per_mille = comes(s, 200) ? 20 : 0 };
    if (comes(s, s->plan.crash_per_mille))
        f.crash_at = 1 + below(s, 600);
    if (comes(s, s->plan.fault_per_mille)) {
        uint64_t at = 1 + below(s, 200);
        switch (below(s, 4)) {
        case 0:
            f.write_fails_at = at;
            break;
        case 1:
            f.sync_fails_at = at;
            break;
        case 2:
            f.folder_fails_at = at;
            break;
        default:
            f.quota_bytes = sim_disk_used(s->disk) + below(s, 10) * s->plan.segment_bytes / 2;
        }
    }
    s->may_be_full = f.quota_bytes != 0;
    sim_disk_arm(s->disk, &f);
}

static void live(struct sim_store *s)
{
    unsigned steps = 1 + (unsigned)below(s, s->plan.steps);
    arm(s);
    /* The last one first: others may want to leave their dead there. */
    for (unsigned i = s->plan.queue_count; i-- != 0;) {
        declare_queue(s, &s->queues[i]);
        if (s->queues[i].is_grave)
            run_for(s, 20000);
    }
    run_for(s, 20000);
    for (unsigned i = 0; i < steps && !is_over(s); i++) {
        s->report->steps++;
        act(s, next_act(s));
    }
}

static void end_life(struct sim_store *s)
{
    bool is_orderly = comes(s, 500) && !is_over(s);
    if (is_orderly) {
        for (size_t i = 0; i < s->channel_count; i++)
            sim_client_close(s->channels[i]);
        run_for(s, 50000);
        is_orderly = !is_over(s);
    }
    if (!is_orderly && comes(s, 500))
        sim_disk_cut(s->disk);
    sim_world_say(is_orderly ? "stop" : "end");
    struct store_stats stats;
    store_stats(broker_store(s->node), &stats);
    s->report->evacuated += stats.evacuated_segs;
    bool ok = free_node(s);
    s->was_closed = is_orderly && ok && !sim_disk_is_down(s->disk);
    sim_disk_reboot(s->disk, a_survival(s));
    if (comes(s, s->plan.spoil_per_mille))
        sim_world_say("the index of %u is spoilt", sim_spoil_index(s->disk, &s->chance));
}

/* ---- the end: everything comes out, and the disk becomes empty --------------------------------
 */

static void drain(struct sim_store *s)
{
    sim_disk_arm(s->disk, &(struct sim_faults){ 0 });
    s->may_be_full = false;
    sim_node_press(s->node, false);
    sim_books_drain(s->books);
    struct channel *ch = sim_client_open(s->clients, 0, false);
    for (unsigned i = 0; i < s->plan.queue_count; i++) {
        const struct sim_queue *q = &s->queues[i];
        uint64_t empties = sim_client_empties(ch);
        if (q->is_grave)
            run_for(s, QUIET_US); /* what is on its way there */
        for (int n = 0; q->is_there && sim_client_empties(ch) == empties && !is_over(s); n++) {
            sim_client_get(ch, q->qid, false);
            run_for(s, 2000);
            for (int k = 0; sim_client_asked(ch) != 0 && !is_over(s); k++) {
                run_for(s, 10000);
                if (k == 1000)
                    sim_books_fail(s->books, "a get of queue %" PRIu64 " is not answered", q->qid);
            }
            sim_client_settle(ch, 1000, false, false);
        }
    }
    be_quiet(s);
    if (is_over(s))
        return;
    sim_books_drained(s->books);
}

/* Nothing is alive: of the journal there are the segment that is open and those that are ready. */
static void judge_disk(struct sim_store *s)
{
    struct store_stats stats;
    run_for(s, 30 * QUIET_US);
    if (is_over(s))
        return;
    store_stats(broker_store(s->node), &stats);
    if (stats.segs.alive_count != 0)
        sim_books_fail(s->books, "%" PRIu64 " entries are alive in empty queues",
                       stats.segs.alive_count);
    else if (stats.segs.count > 12)
        sim_books_fail(s->books, "%" PRIu64 " segments are there for nothing", stats.segs.count);
    else if (stats.large_files != 0)
        sim_books_fail(s->books, "%" PRIu64 " large files are there for nothing",
                       stats.large_files);
}

static void run(struct sim_store *s)
{
    s->was_closed = true;
    for (unsigned i = 0; i < s->plan.lives; i++) {
        if (!come_up(s))
            return;
        live(s);
        end_life(s);
        if (sim_books_why(s->books) != NULL)
            return;
    }
    s->plan.start_crash_per_mille = 0;
    if (!come_up(s))
        return;
    drain(s);
    if (sim_books_why(s->books) == NULL)
        judge_disk(s);
}

bool sim_store_run(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *out)
{
    struct sim_store *s = mem_zalloc(sizeof *s);
    *out = (struct sim_report){ 0 };
    s->report = out;
    s->next_publisher = 1;
    sim_world_begin(seed);
    sim_world_trace(trace, arg);
    rng_init(&s->chance, seed);
    sim_plan_draw(&s->plan, &s->chance);
    s->queues[s->plan.queue_count - 1].is_grave = s->plan.grave_per_mille != 0;
    s->disk = sim_disk_new(seed ^ UINT64_C(0xD15C), trace, arg);
    sim_disk_on_wait(s->disk, sim_world_yield);
    s->books = sim_books_new();
    run(s);
    if (s->node != NULL) {
        sim_disk_cut(s->disk);
        (void)free_node(s);
    }
    const char *why = sim_books_why(s->books);
    if (why != NULL)
        (void)snprintf(out->why, sizeof out->why, "%s", why);
    sim_books_free(&s->books);
    sim_disk_free(&s->disk);
    sim_world_end();
    mem_free(s);
    return why == NULL;
}
