#include "sim_location.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "gossip/location_wire.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ENTRIES_MAX 400u
#define QUEUES      48u
#define NODES       4u
#define BROKERS     3u
#define PROXIES     2u
#define FRAMES_MAX  8u

/* What is true of a queue after an entry of the log. */
struct truth {
    bool is_there;
    uint64_t ver;
    uint16_t node;
    bool is_transient;
};

struct broker {
    struct location_table *table;
    uint64_t floor; /* changes up to this index are not kept */
};

struct frame {
    enum location_frame type;
    size_t len;
    uint8_t *bytes;
};

/* A proxy, and the link to the broker that it listens to. */
struct proxy {
    struct location_table *table;
    uint64_t vers[QUEUES];     /* the highest that it ever knew */
    uint64_t swept[NODES + 1]; /* the highest that it ever heard */
    bool is_listening;
    unsigned broker;
    bool in_snapshot, has_begun;
    uint64_t snapshot_index;
    unsigned bucket;
    bool unwanted[LOCATION_BUCKETS];
    uint64_t told;
    struct frame frames[FRAMES_MAX]; /* on their way */
    unsigned frame_count;
};

struct world {
    struct rng rng;
    struct location_change log[ENTRIES_MAX + 1]; /* by index, from 1 */
    struct truth truths[ENTRIES_MAX + 1][QUEUES];
    bool is_up[NODES + 1];
    uint64_t hashes[QUEUES];
    uint64_t end;
    struct broker brokers[BROKERS];
    struct proxy proxies[PROXIES];
    sim_say_fn trace;
    void *trace_arg;
    struct sim_report *out;
    bool has_failed;
};

PRINTF_LIKE(2, 3) static bool fail(struct world *w, const char *fmt, ...)
{
    va_list args;
    if (w->has_failed)
        return false;
    va_start(args, fmt);
    (void)vsnprintf(w->out->why, sizeof w->out->why, fmt, args);
    va_end(args);
    w->has_failed = true;
    return false;
}

PRINTF_LIKE(2, 3) static void say(struct world *w, const char *fmt, ...)
{
    char line[200];
    va_list args;
    if (w->trace == NULL)
        return;
    va_start(args, fmt);
    (void)vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    w->trace(line, w->trace_arg);
}

static uint64_t below(struct world *w, uint64_t bound)
{
    return rng_below(&w->rng, bound);
}

/* ---- the log ----------------------------------------------------------------------------------
 */

static void change_queue(struct world *w, uint64_t index)
{
    unsigned q = (unsigned)below(w, QUEUES);
    struct truth *t = &w->truths[index][q];
    uint16_t node = (uint16_t)(1 + below(w, NODES));
    if (t->is_there && below(w, 2) != 0)
        *t = (struct truth){ .ver = index };
    else
        *t = (struct truth){ true, index, node, below(w, 3) == 0 };
    unsigned flags = !t->is_there ? LOCATION_GONE : t->is_transient ? LOCATION_TRANSIENT : 0;
    w->log[index] = (struct location_change){
        .kind = LOCATION_CHANGE_PUT,
        .put = { w->hashes[q], index, t->node, (uint8_t)flags },
    };
}

static void change_node(struct world *w, uint64_t index)
{
    uint16_t node = (uint16_t)(1 + below(w, NODES));
    w->is_up[node] = !w->is_up[node];
    for (unsigned q = 0; q < QUEUES && !w->is_up[node]; q++) {
        struct truth *t = &w->truths[index][q];
        if (t->is_there && t->is_transient && t->node == node)
            *t = (struct truth){ .ver = index };
    }
    w->log[index] = (struct location_change){
        .kind = LOCATION_CHANGE_NODE,
        .node = { node, w->is_up[node], index, w->is_up[node] ? 0 : index },
    };
}

static void append(struct world *w)
{
    if (w->end == ENTRIES_MAX)
        return;
    uint64_t index = ++w->end;
    memcpy(w->truths[index], w->truths[index - 1], sizeof w->truths[index]);
    if (below(w, 8) == 0)
        change_node(w, index);
    else
        change_queue(w, index);
}

static void apply(struct location_table *t, const struct location_change *c)
{
    if (c->kind == LOCATION_CHANGE_PUT)
        (void)location_put(t, &c->put);
    else
        (void)location_put_node(t, &c->node);
}

static void advance(struct world *w, struct broker *b, uint64_t to)
{
    for (uint64_t i = location_index(b->table) + 1; i <= to; i++) {
        apply(b->table, &w->log[i]);
        location_reach(b->table, i);
    }
}

/* ---- what a proxy must know -------------------------------------------------------------------
 */

static void check_queue(struct world *w, unsigned p, unsigned q)
{
    struct proxy *x = &w->proxies[p];
    uint64_t index = location_index(x->table);
    const struct truth *t = &w->truths[index][q];
    struct location l;
    bool is_up;
    bool is_there = location_find(x->table, w->hashes[q], &l, &is_up);
    if (is_there && l.ver < x->vers[q])
        (void)fail(w, "proxy %u: queue %u of %" PRIu64 " after %" PRIu64, p, q, l.ver, x->vers[q]);
    if (is_there && (l.flags & LOCATION_TRANSIENT) != 0 && l.ver < x->swept[l.node])
        (void)fail(w, "proxy %u: queue %u is back, which went with its node", p, q);
    if (is_there && l.ver <= index && (!t->is_there || t->ver != l.ver || t->node != l.node))
        (void)fail(w, "proxy %u: queue %u of %" PRIu64 " is not what it was at %" PRIu64, p, q,
                   l.ver, index);
    if (is_there && l.ver > index && !w->truths[l.ver][q].is_there)
        (void)fail(w, "proxy %u: queue %u was never there at %" PRIu64, p, q, l.ver);
    /* It may have heard already of what comes: that it goes, or that a node goes which it comes to
     * and leaves before. */
    bool goes_later = false;
    for (uint64_t i = index; i <= w->end; i++) {
        const struct truth *n = &w->truths[i][q];
        goes_later |= !n->is_there || (n->is_transient && n->ver < x->swept[n->node]);
    }
    if (!is_there && t->is_there && !goes_later)
        (void)fail(w, "proxy %u: queue %u is missing at %" PRIu64, p, q, index);
    x->vers[q] = is_there ? l.ver : x->vers[q];
}

static void check(struct world *w, unsigned p)
{
    location_check(w->proxies[p].table);
    for (unsigned q = 0; q < QUEUES && !w->proxies[p].in_snapshot; q++)
        check_queue(w, p, q);
}

static void note_swept(struct proxy *x)
{
    for (size_t i = 0; i < location_node_count(x->table); i++) {
        struct location_node n = location_node_at(x->table, i);
        if (n.node <= NODES && n.swept > x->swept[n.node])
            x->swept[n.node] = n.swept;
    }
}

/* ---- the feed ---------------------------------------------------------------------------------
 */

static void hang_up(struct proxy *x)
{
    for (unsigned i = 0; i < x->frame_count; i++)
        mem_free(x->frames[i].bytes);
    x->frame_count = 0;
    x->is_listening = x->in_snapshot = x->has_begun = false;
    location_snapshot(x->table, 0);
}

static void listen(struct world *w, unsigned p)
{
    struct proxy *x = &w->proxies[p];
    uint8_t *room = mem_alloc(LOCATION_SUB_MAX);
    struct wire_out o = wire_out_over(room, LOCATION_SUB_MAX);
    struct location_sub_word word;
    hang_up(x);
    x->is_listening = true;
    x->broker = (unsigned)below(w, BROKERS);
    struct broker *b = &w->brokers[x->broker];
    uint64_t index = location_index(b->table);
    location_sub_put(&o, 1, x->table);
    CHECK(location_sub_take(wire_out_slice(&o), &word));
    location_snapshot(x->table, LOCATION_VER_MAX);
    bool goes_on = word.from != 0 && word.from >= b->floor;
    say(w, "proxy %u at %" PRIu64 " listens to broker %u at %" PRIu64 ": %s", p, word.from,
        x->broker, index, goes_on ? "goes on" : "snapshot");
    x->told = word.from < index ? word.from : index;
    x->in_snapshot = !goes_on;
    x->snapshot_index = index;
    x->bucket = 0;
    for (unsigned i = 0; i < LOCATION_BUCKETS; i++)
        x->unwanted[i] = word.has_digests &&
                         location_sub_digest(&word, i) == location_bucket_digest(b->table, i);
    mem_free(room);
}

static void send(struct proxy *x, enum location_frame type, const struct wire_out *o)
{
    CHECK(!o->overflow && x->frame_count < FRAMES_MAX);
    struct frame *f = &x->frames[x->frame_count++];
    *f = (struct frame){ type, wire_out_len(o), mem_dup(o->start, wire_out_len(o) + 1) };
}

#define ROOM ((size_t)256 * 1024)

/* What the broker says next. */
static void pump(struct world *w, struct proxy *x)
{
    struct broker *b = &w->brokers[x->broker];
    uint8_t *room = mem_zalloc(ROOM + 1);
    struct wire_out o = wire_out_over(room, ROOM);
    if (!x->is_listening || x->frame_count == FRAMES_MAX)
        goto end;
    if (x->in_snapshot && !x->has_begun) {
        x->has_begun = true;
        wire_put_u64(&o, x->snapshot_index);
        location_nodes_put(&o, b->table);
        send(x, LOCATION_BEGIN, &o);
    } else if (x->in_snapshot && x->bucket < LOCATION_BUCKETS) {
        while (x->bucket < LOCATION_BUCKETS && x->unwanted[x->bucket])
            x->bucket++;
        unsigned first = x->bucket, count = 0;
        unsigned most = 1 + (unsigned)below(w, LOCATION_BUCKETS);
        wire_put_u64(&o, x->snapshot_index);
        wire_put_u16(&o, (uint16_t)first);
        wire_put_u16(&o, 0);
        while (x->bucket < LOCATION_BUCKETS && !x->unwanted[x->bucket] && count < most) {
            location_bucket_put(&o, b->table, x->bucket++, x->snapshot_index);
            count++;
        }
        room[10] = (uint8_t)(count >> 8);
        room[11] = (uint8_t)count;
        send(x, LOCATION_BUCKETS_FRAME, &o);
    } else if (x->in_snapshot) {
        wire_put_u64(&o, x->snapshot_index);
        send(x, LOCATION_END, &o);
        x->in_snapshot = false;
        x->told = x->snapshot_index;
    } else {
        uint64_t to = location_index(b->table);
        wire_put_u64(&o, x->told);
        wire_put_u64(&o, to);
        for (uint64_t i = x->told + 1; i <= to; i++)
            location_change_put(&o, x->told, &w->log[i]);
        send(x, LOCATION_CHANGES, &o);
        x->told = to;
    }
end:
    mem_free(room);
}

static bool hear(struct world *w, struct proxy *x, const struct frame *f)
{
    struct wire r = wire_over(slice_of(f->bytes, f->len));
    uint64_t index = wire_u64(&r);
    switch (f->type) {
    case LOCATION_BEGIN:
        location_snapshot(x->table, index);
        return location_nodes_take(&r, x->table);
    case LOCATION_BUCKETS_FRAME: {
        uint16_t first = wire_u16(&r), count = wire_u16(&r);
        for (unsigned i = 0; i < count; i++)
            if (!location_bucket_take(&r, x->table, first + i, index))
                return fail(w, "a bucket made no sense");
        return true;
    }
    case LOCATION_END:
        location_reach(x->table, index);
        location_snapshot(x->table, 0);
        return true;
    case LOCATION_CHANGES: {
        uint64_t to = wire_u64(&r);
        struct location_change c;
        if (index > location_index(x->table))
            return fail(w, "a gap");
        location_snapshot(x->table, 0);
        while (wire_left(&r) != 0) {
            if (!location_change_take(&r, index, &c))
                return fail(w, "a change made no sense");
            apply(x->table, &c);
        }
        location_reach(x->table, to);
        return true;
    }
    case LOCATION_SUB:
    case LOCATION_ASK: /* nobody asks where messages land */
    case LOCATION_LEADS:
    case LOCATION_ROUTES:
        break;
    }
    return fail(w, "no such frame");
}

static bool is_in_snapshot(const struct proxy *x)
{
    for (unsigned i = 0; i < x->frame_count; i++)
        if (x->frames[i].type == LOCATION_END)
            return true; /* its parts may have been heard already */
    return x->in_snapshot;
}

static void deliver(struct world *w, unsigned p)
{
    struct proxy *x = &w->proxies[p];
    if (x->frame_count == 0)
        return;
    struct frame f = x->frames[0];
    memmove(&x->frames[0], &x->frames[1], --x->frame_count * sizeof x->frames[0]);
    (void)hear(w, x, &f);
    mem_free(f.bytes);
    note_swept(x);
    if (!is_in_snapshot(x))
        check(w, p);
}

static void rumour(struct world *w, unsigned p)
{
    struct proxy *x = &w->proxies[p];
    uint8_t room[LOCATION_RUMOUR_MAX];
    uint64_t key, ver;
    struct location_change c;
    if (w->end == 0)
        return;
    uint64_t last = below(w, 3) == 0 ? w->end : 20 < w->end ? 20 : w->end;
    size_t len = location_rumour_put(&w->log[w->end - below(w, last)], room, &key, &ver);
    CHECK(location_rumour_take(key, ver, slice_of(room, len), &c));
    apply(x->table, &c);
    note_swept(x);
    if (!is_in_snapshot(x))
        check(w, p);
}

/* ---- one history ------------------------------------------------------------------------------
 */

static void step(struct world *w)
{
    unsigned p = (unsigned)below(w, PROXIES);
    struct broker *b = &w->brokers[below(w, BROKERS)];
    switch (below(w, 10)) {
    case 0:
    case 1:
        append(w);
        return;
    case 2:
        advance(w, b, location_index(b->table) + below(w, w->end - location_index(b->table) + 1));
        return;
    case 3:
        if (below(w, 8) == 0)
            b->floor = below(w, location_index(b->table) + 1);
        return;
    case 4:
        if (!w->proxies[p].is_listening || below(w, 12) == 0)
            listen(w, p);
        return;
    case 5:
    case 6:
        pump(w, &w->proxies[p]);
        return;
    case 7:
    case 8:
        deliver(w, p);
        return;
    default:
        rumour(w, p);
        return;
    }
}

/* Everybody hears everything: then all know the same. */
static void settle(struct world *w)
{
    for (unsigned i = 0; i < BROKERS; i++)
        advance(w, &w->brokers[i], w->end);
    for (unsigned p = 0; p < PROXIES && !w->has_failed; p++) {
        struct proxy *x = &w->proxies[p];
        listen(w, p);
        for (unsigned n = 0; n < 100000 && !w->has_failed; n++) {
            if (location_index(x->table) == w->end && !is_in_snapshot(x))
                break;
            pump(w, x);
            deliver(w, p);
        }
        check(w, p);
        for (unsigned i = 0; i < LOCATION_BUCKETS && !w->has_failed; i++)
            if (location_bucket_digest(x->table, i) !=
                location_bucket_digest(w->brokers[0].table, i))
                (void)fail(w, "proxy %u does not know what the brokers know", p);
    }
}

bool sim_location_run(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *out)
{
    struct world *w = mem_zalloc(sizeof *w);
    *out = (struct sim_report){ 0 };
    w->out = out;
    w->trace = trace;
    w->trace_arg = arg;
    rng_init(&w->rng, seed ^ 0x10CA7E);
    for (unsigned q = 0; q < QUEUES; q++) /* some share a bucket */
        w->hashes[q] = (below(w, 20) << 58) + rng_u64(&w->rng) % 100 * 2 + (uint64_t)q * 1000;
    for (unsigned i = 0; i < BROKERS; i++)
        w->brokers[i].table = location_new();
    for (unsigned i = 0; i < PROXIES; i++)
        w->proxies[i].table = location_new();
    uint64_t steps = 200 + below(w, 1500);
    for (uint64_t i = 0; i < steps && !w->has_failed; i++, out->steps++)
        step(w);
    if (!w->has_failed)
        settle(w);
    for (unsigned i = 0; i < BROKERS; i++)
        location_free(&w->brokers[i].table);
    for (unsigned i = 0; i < PROXIES; i++) {
        hang_up(&w->proxies[i]);
        location_free(&w->proxies[i].table);
    }
    bool ok = !w->has_failed;
    mem_free(w);
    return ok;
}
