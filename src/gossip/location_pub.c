#include "gossip/location_pub.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/hmac.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define RUMOURS_MOST 40u /* changes of one entry that are worth rumours */

/* One that waits for its answer, as it came. */
struct question {
    STAILQ_ENTRY(question) entry;
    size_t len;
    uint8_t bytes[];
};

struct sub {
    struct location_pub *pub;
    struct link *link;
    bool in_snapshot;
    uint64_t snapshot_index;
    unsigned bucket;   /* the next one of the snapshot */
    uint8_t *unwanted; /* buckets that it has already, a bit each; NULL: none */
    uint64_t next;     /* the number of the next change to be sent */
    uint64_t told;     /* index up to which it was told */
    bool has_asked;    /* where messages land, since it was told that this has changed */
    bool is_due;       /* to be told that */
    STAILQ_HEAD(, question) questions;
    size_t asked; /* their octets, as memory has them */
    TAILQ_ENTRY(sub) entry;
    TAILQ_ENTRY(sub) asking; /* while there are questions */
};

struct fresh {
    struct location_change change;
    size_t order;
};

struct location_pub {
    struct loop *loop;
    struct loop_task flush, answer;
    uint64_t key;
    location_rumour_fn fn;
    void *arg;
    location_leads_fn leads_fn;
    void *leads_arg;
    struct location_table *table;
    /* what the entry that is being applied did */
    struct fresh *fresh;
    size_t fresh_count, fresh_room;
    bool is_loading; /* all is told anew */
    /* the last changes: number n is at n % LOCATION_PUB_CHANGES */
    struct location_change *ring;
    uint64_t first, end; /* numbers */
    uint64_t floor;      /* changes of indexes up to this may be missing */
    TAILQ_HEAD(subs, sub) subs;
    struct subs asking; /* who is next comes first */
    /* answers of the last window; the next begins when the timer runs out */
    uint64_t window_ms;
    unsigned window_answers;
    struct loop_timer rest;
    struct location_pub_figures figures;
};

uint64_t location_key(struct slice cookie, struct slice cluster)
{
    uint8_t key[HMAC_BYTES];
    hkdf_sha256(cookie, cluster, slice_str("location"), key);
    struct wire w = wire_over(slice_of(key, sizeof key));
    return wire_u64(&w);
}

/* Tells whether both sides hash alike, and nothing of the key. */
static uint64_t check_of(uint64_t key)
{
    return location_hash(key, slice_str("warren"), slice_str("location feed"));
}

/* ---- life -------------------------------------------------------------------------------------
 */

static void on_flush(void *arg);
static void on_answer(void *arg);

struct location_pub *location_pub_new(struct loop *loop, uint64_t key, location_rumour_fn fn,
                                      void *arg)
{
    struct location_pub *p = mem_zalloc(sizeof *p);
    p->loop = loop;
    p->key = key;
    p->fn = fn;
    p->arg = arg;
    p->table = location_new();
    p->ring = mem_array(LOCATION_PUB_CHANGES, sizeof *p->ring);
    TAILQ_INIT(&p->subs);
    TAILQ_INIT(&p->asking);
    loop_task_init(&p->flush, on_flush, p);
    loop_task_init(&p->answer, on_answer, p);
    loop_timer_init(&p->rest, loop, on_answer, p);
    return p;
}

/* The first one. Whoever has no other does not wait for a turn any more. */
static void question_drop(struct sub *s)
{
    struct question *q = STAILQ_FIRST(&s->questions);
    STAILQ_REMOVE_HEAD(&s->questions, entry);
    s->asked -= sizeof *q + q->len;
    mem_free(q);
    if (STAILQ_EMPTY(&s->questions))
        TAILQ_REMOVE(&s->pub->asking, s, asking);
}

static void sub_free(struct sub *s)
{
    while (!STAILQ_EMPTY(&s->questions))
        question_drop(s);
    TAILQ_REMOVE(&s->pub->subs, s, entry);
    s->pub->figures.subscribers--;
    link_free(&s->link);
    mem_free(s->unwanted);
    mem_free(s);
}

void location_pub_free(struct location_pub **pp)
{
    struct location_pub *p = *pp;
    if (p == NULL)
        return;
    *pp = NULL;
    loop_task_cancel(p->loop, &p->flush);
    loop_task_cancel(p->loop, &p->answer);
    loop_timer_fini(&p->rest);
    while (!TAILQ_EMPTY(&p->subs))
        sub_free(TAILQ_FIRST(&p->subs));
    location_free(&p->table);
    mem_free(p->fresh);
    mem_free(p->ring);
    mem_free(p);
}

/* Whoever listens is told all anew: it keeps what it has, and finds out what differs. */
void location_pub_reset(struct location_pub *p)
{
    while (!TAILQ_EMPTY(&p->subs))
        sub_free(TAILQ_FIRST(&p->subs));
    location_clear(p->table);
    p->first = p->end = 0;
    p->fresh_count = 0;
    p->is_loading = true;
}

/* ---- changes ----------------------------------------------------------------------------------
 */

static uint64_t index_of(const struct location_change *c)
{
    return c->kind == LOCATION_CHANGE_PUT ? c->put.ver : c->node.ver;
}

static bool apply(struct location_pub *p, const struct location_change *c)
{
    return c->kind == LOCATION_CHANGE_PUT ? location_put(p->table, &c->put)
                                          : location_put_node(p->table, &c->node);
}

static void add(struct location_pub *p, const struct location_change *c)
{
    if (p->is_loading) {
        (void)apply(p, c);
        return;
    }
    if (p->fresh_count == p->fresh_room) {
        p->fresh_room = p->fresh_room != 0 ? p->fresh_room * 2 : 16;
        p->fresh = mem_realloc(p->fresh, p->fresh_room * sizeof *p->fresh);
    }
    p->fresh[p->fresh_count] = (struct fresh){ *c, p->fresh_count };
    p->fresh_count++;
}

uint64_t location_pub_hash(const struct location_pub *p, struct slice vhost, struct slice name)
{
    return location_hash(p->key, vhost, name);
}

static void put(struct location_pub *p, uint64_t index, uint64_t hash, uint16_t node,
                unsigned flags)
{
    add(p, &(struct location_change){ .kind = LOCATION_CHANGE_PUT,
                                      .put = { hash, index, node, (uint8_t)flags } });
}

void location_pub_queue(struct location_pub *p, uint64_t index, struct slice vhost,
                        struct slice name, uint16_t node, unsigned flags)
{
    CHECK((flags & LOCATION_GONE) == 0);
    put(p, index, location_pub_hash(p, vhost, name), node, flags);
}

void location_pub_gone(struct location_pub *p, uint64_t index, uint64_t hash)
{
    put(p, index, hash, 0, LOCATION_GONE);
}

void location_pub_node(struct location_pub *p, uint64_t index, uint16_t node, bool is_up,
                       uint64_t swept)
{
    add(p, &(struct location_change){ .kind = LOCATION_CHANGE_NODE,
                                      .node = { node, is_up, index, swept } });
}

static uint64_t thing_of(const struct location_change *c)
{
    return c->kind == LOCATION_CHANGE_PUT ? c->put.hash : c->node.node;
}

static int compare(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int by_thing(const void *a, const void *b)
{
    const struct fresh *x = a, *y = b;
    int c = compare(index_of(&x->change), index_of(&y->change));
    c = c != 0 ? c : compare(x->change.kind, y->change.kind);
    c = c != 0 ? c : compare(thing_of(&x->change), thing_of(&y->change));
    return c != 0 ? c : compare(x->order, y->order);
}

static bool is_same_thing(const struct location_change *a, const struct location_change *b)
{
    return a->kind == b->kind && index_of(a) == index_of(b) && thing_of(a) == thing_of(b);
}

static void keep(struct location_pub *p, const struct location_change *c)
{
    if (p->end - p->first == LOCATION_PUB_CHANGES)
        p->floor = index_of(&p->ring[p->first++ % LOCATION_PUB_CHANGES]);
    p->ring[p->end++ % LOCATION_PUB_CHANGES] = *c;
    if (p->fn != NULL && p->fresh_count <= RUMOURS_MOST)
        p->fn(c, p->arg);
}

/* Of several words about one thing in one entry the last counts, since a version counts once; a
 * sweep of one of them is one of all. */
static void apply_fresh(struct location_pub *p)
{
    if (p->fresh_count > 1)
        qsort(p->fresh, p->fresh_count, sizeof *p->fresh, by_thing);
    for (size_t i = 0; i < p->fresh_count; i++) {
        struct location_change *c = &p->fresh[i].change;
        struct location_change *next = i + 1 < p->fresh_count ? &p->fresh[i + 1].change : NULL;
        if (next == NULL || !is_same_thing(c, next)) {
            if (apply(p, c))
                keep(p, c);
        } else if (c->kind == LOCATION_CHANGE_NODE && c->node.swept > next->node.swept) {
            next->node.swept = c->node.swept;
        }
    }
    p->fresh_count = 0;
}

void location_pub_applied(struct location_pub *p, uint64_t index)
{
    if (p->is_loading)
        p->floor = index; /* what was before is known as a whole alone */
    p->is_loading = false;
    apply_fresh(p);
    location_reach(p->table, index);
    if (!TAILQ_EMPTY(&p->subs))
        loop_at_turn_end(p->loop, &p->flush);
}

/* ---- feeding ----------------------------------------------------------------------------------
 */

static void send(struct sub *s, enum location_frame type, const struct wire_out *w)
{
    CHECK(!w->overflow);
    s->pub->figures.frames++;
    s->pub->figures.bytes += wire_out_len(w);
    (void)link_send(s->link, LINK_BULKY, (uint8_t)type, wire_out_slice(w), NULL, slice_of(NULL, 0));
}

static void snapshot_begin(struct sub *s)
{
    struct location_pub *p = s->pub;
    size_t most = 16 + location_node_count(p->table) * 19;
    uint8_t *room = mem_alloc(most);
    struct wire_out w = wire_out_over(room, most);
    s->in_snapshot = true;
    s->snapshot_index = location_index(p->table);
    s->bucket = 0;
    s->next = p->end;
    p->figures.snapshots++;
    wire_put_u64(&w, s->snapshot_index);
    location_nodes_put(&w, p->table);
    send(s, LOCATION_BEGIN, &w);
    mem_free(room);
}

static bool is_unwanted(const struct sub *s, unsigned bucket)
{
    return s->unwanted != NULL && (s->unwanted[bucket / 8] >> bucket % 8 & 1) != 0;
}

/* Some buckets, one behind the other; those that it has are passed over. */
static void snapshot_some(struct sub *s)
{
    struct location_pub *p = s->pub;
    while (s->bucket < LOCATION_BUCKETS && is_unwanted(s, s->bucket))
        s->bucket++;
    unsigned first = s->bucket, end = first;
    size_t most = 0;
    while (end < LOCATION_BUCKETS && !is_unwanted(s, end) &&
           (end == first || most + location_bucket_most(p->table, end) < LOCATION_FRAME_BYTES))
        most += location_bucket_most(p->table, end++);
    if (first == end)
        return;
    uint8_t *room = mem_alloc(most + 16);
    struct wire_out w = wire_out_over(room, most + 16);
    wire_put_u64(&w, s->snapshot_index);
    wire_put_u16(&w, (uint16_t)first);
    wire_put_u16(&w, (uint16_t)(end - first));
    for (unsigned i = first; i < end; i++)
        location_bucket_put(&w, p->table, i, s->snapshot_index);
    send(s, LOCATION_BUCKETS_FRAME, &w);
    mem_free(room);
    s->bucket = end;
}

static void snapshot_end(struct sub *s)
{
    uint8_t room[8];
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_u64(&w, s->snapshot_index);
    send(s, LOCATION_END, &w);
    mem_free(s->unwanted);
    s->unwanted = NULL;
    s->in_snapshot = false;
    s->told = s->snapshot_index;
}

/* One frame of changes: whole entries of the log alone, so that it is complete up to `to`. */
static void changes_some(struct sub *s)
{
    struct location_pub *p = s->pub;
    uint8_t *room = mem_alloc(LOCATION_FRAME_BYTES + 32);
    struct wire_out w = wire_out_over(room, LOCATION_FRAME_BYTES + 32);
    uint64_t from = s->told, to = from;
    wire_put_u64(&w, from);
    wire_put_u64(&w, 0);
    while (s->next < p->end && wire_out_len(&w) + LOCATION_CHANGE_MAX < LOCATION_FRAME_BYTES) {
        const struct location_change *c = &p->ring[s->next++ % LOCATION_PUB_CHANGES];
        if (index_of(c) > from)
            location_change_put(&w, from, c);
    }
    /* What comes next may be of the same entry as the last. */
    if (s->next == p->end)
        to = location_index(p->table);
    else if (index_of(&p->ring[s->next % LOCATION_PUB_CHANGES]) > to)
        to = index_of(&p->ring[s->next % LOCATION_PUB_CHANGES]) - 1;
    struct wire_out at = wire_out_over(room + 8, 8);
    wire_put_u64(&at, to);
    send(s, LOCATION_CHANGES, &w);
    mem_free(room);
    s->told = to;
}

static void feed(struct sub *s)
{
    struct location_pub *p = s->pub;
    while (!link_is_full(s->link)) {
        if (s->next < p->first) { /* it was too slow: what it missed is not there any more */
            mem_free(s->unwanted);
            s->unwanted = NULL;
            snapshot_begin(s);
        } else if (s->in_snapshot && s->bucket < LOCATION_BUCKETS) {
            snapshot_some(s);
        } else if (s->in_snapshot) {
            snapshot_end(s);
        } else if (s->next < p->end || s->told < location_index(p->table)) {
            changes_some(s);
        } else {
            return;
        }
    }
}

/* Behind what it feeds: where the queues are that messages land in now. */
static void say_routes(struct sub *s)
{
    if (!s->is_due || link_is_full(s->link))
        return;
    s->is_due = false;
    (void)link_send(s->link, LINK_BULKY, LOCATION_ROUTES, slice_of(NULL, 0), NULL,
                    slice_of(NULL, 0));
}

static void on_flush(void *arg)
{
    struct location_pub *p = arg;
    struct sub *s;
    TAILQ_FOREACH (s, &p->subs, entry) {
        feed(s);
        say_routes(s);
    }
}

/* ---- where messages land ----------------------------------------------------------------------
 */

void location_pub_answer(struct location_pub *p, location_leads_fn fn, void *arg)
{
    p->leads_fn = fn;
    p->leads_arg = arg;
}

void location_pub_routes(struct location_pub *p)
{
    struct sub *s;
    TAILQ_FOREACH (s, &p->subs, entry) {
        s->is_due |= s->has_asked;
        s->has_asked = false;
    }
    if (!TAILQ_EMPTY(&p->subs))
        loop_at_turn_end(p->loop, &p->flush);
}

/* A full link is not waited for: who has no answer asks again, or does without. */
static void answer(struct sub *s, const struct question *q)
{
    uint8_t room[LOCATION_LEADS_MAX];
    struct wire_out w = wire_out_over(room, sizeof room);
    struct location_ask ask;
    bool is_whole = location_ask_take(slice_of(q->bytes, q->len), &ask);
    CHECK(is_whole);
    struct location_leads leads = { .id = ask.id };
    s->has_asked = true;
    if (s->pub->leads_fn == NULL || link_is_full(s->link))
        return;
    s->pub->leads_fn(&ask, &leads, s->pub->leads_arg);
    location_leads_put(&w, &leads);
    send(s, LOCATION_LEADS, &w);
}

/* One of those who ask, and then the next. False: nobody does. */
static bool answer_one(struct location_pub *p)
{
    struct sub *s = TAILQ_FIRST(&p->asking);
    if (s == NULL)
        return false;
    TAILQ_REMOVE(&p->asking, s, asking);
    TAILQ_INSERT_TAIL(&p->asking, s, asking);
    answer(s, STAILQ_FIRST(&s->questions));
    question_drop(s);
    return true;
}

/* How many may be answered in this window still. */
static unsigned left_in_window(struct location_pub *p)
{
    uint64_t now_ms = loop_now_ms(p->loop);
    if (now_ms - p->window_ms >= LOCATION_PUB_WINDOW_MS) {
        p->window_ms = now_ms;
        p->window_answers = 0;
    }
    return LOCATION_PUB_WINDOW_ANSWERS - p->window_answers;
}

/* This loop is where the cluster's log is applied, too, and masters are made: it is not to wait for
 * all of them, nor to have its hands full of them. */
static void on_answer(void *arg)
{
    struct location_pub *p = arg;
    unsigned left = left_in_window(p);
    for (unsigned n = 0; n < LOCATION_PUB_ANSWERS && n < left && answer_one(p); n++)
        p->window_answers++;
    if (TAILQ_EMPTY(&p->asking))
        return;
    if (p->window_answers < LOCATION_PUB_WINDOW_ANSWERS)
        loop_again(p->loop, &p->answer);
    else
        loop_timer_start(&p->rest, p->window_ms + LOCATION_PUB_WINDOW_MS - loop_now_ms(p->loop));
}

static void keep_question(struct sub *s, struct slice bytes)
{
    struct location_pub *p = s->pub;
    if (s->asked + sizeof(struct question) + bytes.len > LOCATION_PUB_ASKED) {
        p->figures.passed_over++;
        return;
    }
    struct question *q = mem_alloc(sizeof *q + bytes.len);
    q->len = bytes.len;
    memcpy(q->bytes, bytes.ptr, bytes.len);
    if (STAILQ_EMPTY(&s->questions))
        TAILQ_INSERT_TAIL(&p->asking, s, asking);
    STAILQ_INSERT_TAIL(&s->questions, q, entry);
    s->asked += sizeof *q + q->len;
    loop_again(p->loop, &p->answer);
}

/* ---- subscribers ------------------------------------------------------------------------------
 */

static void on_frame(struct link *l, const struct link_frame *f, void *arg)
{
    struct location_ask ask;
    (void)l;
    if (f->type == LOCATION_ASK && location_ask_take(f->payload, &ask))
        keep_question(arg, f->payload);
}

static void on_room(struct link *l, void *arg)
{
    (void)l;
    feed(arg);
    say_routes(arg);
}

static void on_lost(struct link *l, enum link_loss why, const struct err *err, void *arg)
{
    (void)l;
    (void)why;
    (void)err;
    sub_free(arg);
}

static const struct link_handlers sub_side = { .on_frame = on_frame,
                                               .on_room = on_room,
                                               .on_lost = on_lost };

/* Goes on where it stands, when all since then is there; else with a snapshot of what differs. */
static void begin(struct sub *s, const struct location_sub_word *word)
{
    struct location_pub *p = s->pub;
    uint64_t index = location_index(p->table);
    if (word->from != 0 && word->from >= p->floor) {
        s->told = word->from < index ? word->from : index;
        s->next = p->first;
        while (s->next < p->end && index_of(&p->ring[s->next % LOCATION_PUB_CHANGES]) <= s->told)
            s->next++;
        return;
    }
    if (word->has_digests) {
        s->unwanted = mem_zalloc(LOCATION_BUCKETS / 8);
        for (unsigned i = 0; i < LOCATION_BUCKETS; i++)
            if (location_sub_digest(word, i) == location_bucket_digest(p->table, i))
                s->unwanted[i / 8] |= (uint8_t)(1u << i % 8);
    }
    snapshot_begin(s);
}

bool location_pub_take(struct location_pub *p, struct link **l, const struct link_frame *first)
{
    struct location_sub_word word;
    if (first->type != LOCATION_SUB || !location_sub_take(first->payload, &word))
        return false;
    if (word.check != check_of(p->key)) {
        log_warn("location", link_peer(*l)->address, "asks for the queues of another cluster");
        return false;
    }
    if (p->figures.subscribers >= LOCATION_PUB_SUBS)
        return false;
    struct sub *s = mem_zalloc(sizeof *s);
    s->pub = p;
    STAILQ_INIT(&s->questions);
    s->link = *l;
    *l = NULL;
    TAILQ_INSERT_TAIL(&p->subs, s, entry);
    p->figures.subscribers++;
    link_set_owner(s->link, &sub_side, s);
    begin(s, &word);
    loop_at_turn_end(p->loop, &p->flush);
    return true;
}

const struct location_table *location_pub_table(const struct location_pub *p)
{
    return p->table;
}

void location_pub_figures(const struct location_pub *p, struct location_pub_figures *out)
{
    *out = p->figures;
}
