#include "mirror/mirror_master.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "mirror/mirror_master_inner.h"

void mirror_setup_default(struct mirror_setup *s)
{
    *s = (struct mirror_setup){ .shards = 1,
                                .window_bytes = (uint64_t)64 * 1024 * 1024,
                                .slow_ms = 3000,
                                .lag_ms = 10000,
                                .retry_ms = 1000,
                                .hold_ms = 10000,
                                .hold_max_ms = 300000,
                                .syncs = 64 };
}

struct mirror_master *mirror_master_new(const struct mirror_master_ops *ops, void *arg,
                                        const struct mirror_setup *setup)
{
    struct mirror_master *m = mem_zalloc(sizeof *m);
    CHECK(setup->syncs != 0);
    m->ops = ops;
    m->arg = arg;
    m->setup = *setup;
    TAILQ_INIT(&m->streams);
    TAILQ_INIT(&m->proposed);
    idmap_init(&m->queues);
    m->mark_own = mirror_mark_new(&m->waits, m, MIRROR_MARK_OWN, 0);
    return m;
}

/* ---- streams ------------------------------------------------------------------------------------
 */

struct mirror_stream *mirror_stream_new(struct mirror_master *m, uint16_t node, void *owner,
                                        uint64_t now_ms)
{
    struct mirror_stream *s = mem_zalloc(sizeof *s);
    s->master = m;
    s->node = node;
    s->owner = owner;
    m->now_ms = now_ms; /* it may not have been said for long */
    s->down_ms = now_ms;
    mirror_flow_init(&s->flow, m->setup.window_bytes);
    mirror_pace_init(&s->pace, m->setup.window_bytes / 2);
    TAILQ_INIT(&s->first);
    TAILQ_INIT(&s->urgent);
    TAILQ_INIT(&s->line);
    TAILQ_INIT(&s->busy);
    TAILQ_INIT(&s->hollow);
    TAILQ_INIT(&s->told);
    TAILQ_INIT(&s->whole);
    TAILQ_INIT(&s->refused);
    mirror_pasts_init(s);
    s->mark_received = mirror_mark_new(&m->waits, s, MIRROR_MARK_RECEIVED, 0);
    s->mark_durable = mirror_mark_new(&m->waits, s, MIRROR_MARK_DURABLE, 0);
    s->mark_rejoined = mirror_mark_new(&m->waits, s, MIRROR_MARK_REJOINED, 0);
    TAILQ_INSERT_TAIL(&m->streams, s, entry);
    return s;
}

bool mirror_stream_is_used(const struct mirror_stream *s)
{
    return !TAILQ_EMPTY(&s->first) || !TAILQ_EMPTY(&s->urgent) || !TAILQ_EMPTY(&s->line) ||
           !TAILQ_EMPTY(&s->busy) || !TAILQ_EMPTY(&s->hollow) || !TAILQ_EMPTY(&s->told) ||
           !TAILQ_EMPTY(&s->whole) || !TAILQ_EMPTY(&s->refused) || mirror_pasts_are_there(s);
}

void mirror_stream_free(struct mirror_stream **stream)
{
    struct mirror_stream *s = *stream;
    struct mirror_master *m = s->master;
    *stream = NULL;
    CHECK(!mirror_stream_is_used(s));
    mirror_master_refit(m); /* nobody waits for it any more */
    mirror_mark_free(&m->waits, s->mark_received);
    mirror_mark_free(&m->waits, s->mark_durable);
    mirror_mark_free(&m->waits, s->mark_rejoined);
    TAILQ_REMOVE(&m->streams, s, entry);
    mem_free(s->picked);
    mem_free(s);
}

void *mirror_stream_owner(const struct mirror_stream *s)
{
    return s->owner;
}

uint16_t mirror_stream_node(const struct mirror_stream *s)
{
    return s->node;
}

void mirror_stream_up(struct mirror_stream *s, uint32_t inc, uint64_t now_ms)
{
    struct mirror_master *m = s->master;
    CHECK(!s->is_up);
    m->now_ms = now_ms;
    s->is_up = true;
    s->is_due = true;
    s->inc = inc;
    s->begun = m->pos;
    struct mirror_record r = { .op = MIRROR_HELLO,
                               .kind = MIRROR_VERSION,
                               .shards = m->setup.shards };
    m->ops->say(m->arg, s, &r);
}

static void begin_anew(struct mirror_pairs *list)
{
    struct mirror_pair *p;
    while ((p = TAILQ_FIRST(list)) != NULL)
        mirror_pair_move(p, MIRROR_PAIR_WAITING);
}

void mirror_stream_down(struct mirror_stream *s, uint64_t now_ms)
{
    struct mirror_master *m = s->master;
    CHECK(s->is_up);
    m->now_ms = now_ms;
    s->is_up = false;
    s->down_ms = now_ms;
    s->slow_ms = 0;
    s->awaits = 0; /* what joins anew is durable at once */
    mirror_flow_reset(&s->flow);
    mirror_pace_reset(&s->pace);
    begin_anew(&s->busy);
    begin_anew(&s->hollow);
    begin_anew(&s->told);
    begin_anew(&s->whole);
    begin_anew(&s->refused);
    mirror_pasts_down(s);
    /* What was said may never have come: acknowledgements of the next session say nothing of it. */
    if (MUTATION(MIRROR_SESSION_NOT_MINDED))
        m->is_refit_due = false;
    mirror_master_refit(m);
}

void mirror_stream_rehome(struct mirror_stream *s)
{
    struct mirror_master *m = s->master;
    struct mirror_pair *p, *next;
    CHECK(!s->is_up);
    for (p = TAILQ_FIRST(&s->line); p != NULL; p = next) {
        next = TAILQ_NEXT(p, entry);
        struct mirror_stream *to = m->ops->stream(m->arg, s->node, p->queue->qid);
        if (to == s || p->is_waited)
            continue;
        TAILQ_REMOVE(p->list, p, entry);
        p->stream = to;
        p->list = &to->line;
        TAILQ_INSERT_TAIL(p->list, p, entry);
        to->is_due = true;
    }
    mirror_pasts_rehome(s);
}

/* When all that this stream was told is acknowledged, so is all that any stream was told so far. */
static uint64_t reached(const struct mirror_stream *s, uint64_t acked)
{
    return s->is_up && acked >= s->flow.sent ? s->master->pos : acked;
}

static void raise_marks(struct mirror_stream *s)
{
    struct mirror_waits *w = &s->master->waits;
    uint64_t durable = reached(s, s->durable);
    mirror_mark_raise(w, s->mark_received, reached(s, s->received));
    mirror_mark_raise(w, s->mark_durable, durable);
    if (s->owed == 0)
        mirror_mark_raise(w, s->mark_rejoined, durable);
}

static bool take_ack(struct mirror_stream *s, const struct mirror_record *r)
{
    struct mirror_pair *p;
    if (r->from > s->master->pos || r->to > r->from || r->from < s->begun || r->to < s->begun ||
        r->from < s->received || r->to < s->durable)
        return false;
    s->received = r->from;
    s->durable = r->to;
    mirror_flow_acked(&s->flow, s->received, s->durable, s->master->now_ms);
    mirror_pace_received(&s->pace, s->received, s->master->now_us);
    while ((p = TAILQ_FIRST(&s->told)) != NULL && p->done_pos <= s->durable) {
        mirror_pair_move(p, MIRROR_PAIR_WHOLE);
        mirror_pair_consider(p);
    }
    raise_marks(s);
    mirror_master_answer_due(s->master);
    s->is_due = true;
    return true;
}

static struct mirror_pair *pair_of(const struct mirror_stream *s, uint64_t qid)
{
    const struct mirror_queue *q = idmap_get(&s->master->queues, qid);
    for (unsigned i = 0; q != NULL && i < q->pair_count; i++)
        if (q->pairs[i]->stream == s)
            return q->pairs[i];
    return NULL;
}

static void take_offer(struct mirror_stream *s, const struct mirror_record *r)
{
    struct mirror_pair *p = pair_of(s, r->qid);
    if (p == NULL || p->cursor == NULL || p->cursor->has_offer || p->join_pos != r->pos ||
        p->cursor->at != r->from || p->state == MIRROR_PAIR_HOLLOW)
        return; /* of what it was called for before */
    mirror_pair_take_offer(p, r);
    if (p->state == MIRROR_PAIR_CALLED)
        mirror_pair_move(p, MIRROR_PAIR_SYNCING);
    s->is_due = true;
}

/* It may come for one that begins anew already. */
static void take_refused(struct mirror_stream *s, const struct mirror_record *r)
{
    struct mirror_pair *p = pair_of(s, r->qid);
    if (mirror_pasts_refused(s, r) || p == NULL || !mirror_pair_is_live(p))
        return;
    mirror_pair_move(p, MIRROR_PAIR_REFUSED);
    mirror_master_refit(s->master);
}

bool mirror_stream_take(struct mirror_stream *s, const struct mirror_record *r, uint64_t now_ms)
{
    CHECK(s->is_up);
    s->master->now_ms = now_ms;
    switch (r->op) {
    case MIRROR_STATE:
        return r->kind == MIRROR_VERSION;
    case MIRROR_ACK:
        return take_ack(s, r);
    case MIRROR_OFFER:
        take_offer(s, r);
        return true;
    case MIRROR_REFUSED:
        if (r->kind >= MIRROR_REFUSALS)
            return false;
        take_refused(s, r);
        return true;
    case MIRROR_PAST_IS:
        return mirror_pasts_take(s, r);
    case MIRROR_HELLO:
    case MIRROR_JOIN:
    case MIRROR_NEED:
    case MIRROR_DATA:
    case MIRROR_DONE:
    case MIRROR_LEAVE:
    case MIRROR_AWAITED:
    case MIRROR_HANDED:
    case MIRROR_PAST:
        return false;
    }
    UNREACHABLE("record of a stream");
}

/* ---- queues -------------------------------------------------------------------------------------
 */

static struct mirror_pair *pair_with(const struct mirror_queue *q, uint16_t node)
{
    for (unsigned i = 0; i < q->pair_count; i++)
        if (q->pairs[i]->stream->node == node)
            return q->pairs[i];
    return NULL;
}

static void add_pair(struct mirror_master *m, struct mirror_queue *q,
                     const struct mirror_member *of)
{
    struct mirror_pair *p = mem_zalloc(sizeof *p);
    p->queue = q;
    p->stream = m->ops->stream(m->arg, of->node, q->qid);
    p->is_in_sync = of->is_in_sync;
    p->list = of->is_in_sync ? &p->stream->urgent : &p->stream->line;
    TAILQ_INSERT_TAIL(p->list, p, entry);
    p->stream->is_due = true;
    CHECK(q->pair_count < MIRROR_SET_MAX - 1);
    q->pairs = mem_realloc(q->pairs, (q->pair_count + 1) * sizeof(struct mirror_pair *));
    q->pairs[q->pair_count++] = p;
    mirror_pair_recount(p);
}

static void remove_pair(struct mirror_master *m, struct mirror_queue *q, unsigned index)
{
    struct mirror_pair *p = q->pairs[index];
    struct mirror_stream *s = p->stream;
    if (mirror_pair_is_live(p) && s->is_up) {
        struct mirror_record r = { .op = MIRROR_LEAVE, .qid = q->qid, .pos = ++m->pos };
        mirror_flow_sent(&s->flow, r.pos, 0, false, m->now_ms);
        m->ops->say(m->arg, s, &r);
    }
    mirror_pair_decided(p, true);
    s->waited -= p->is_waited;
    s->owed -= p->is_owed;
    m->is_refit_due = m->is_refit_due || p->is_waited;
    TAILQ_REMOVE(p->list, p, entry);
    s->busy_count -= p->list == &s->busy;
    s->is_due = true;
    mirror_pair_drop_cursor(p);
    mem_free(p);
    q->pairs[index] = q->pairs[--q->pair_count];
}

static const struct mirror_member *member_of(const struct mirror_placed *placed, uint16_t node)
{
    for (unsigned i = 0; i < placed->count; i++)
        if (placed->members[i].node == node)
            return &placed->members[i];
    return NULL;
}

static void place(struct mirror_master *m, struct mirror_queue *q, const struct mirror_placed *to)
{
    bool is_decided = q->ver != to->ver;
    if (q->is_manual && !to->is_manual)
        mirror_queue_fill(q);
    q->ver = to->ver;
    q->is_manual = to->is_manual;
    for (unsigned i = q->pair_count; i-- != 0;) {
        struct mirror_pair *p = q->pairs[i];
        const struct mirror_member *member = member_of(to, p->stream->node);
        if (member == NULL) {
            remove_pair(m, q, i);
            continue;
        }
        bool was_in_sync = p->is_in_sync;
        p->is_in_sync = member->is_in_sync;
        if (is_decided)
            mirror_pair_decided(p, false);
        if (was_in_sync && !p->is_in_sync)
            mirror_pair_struck(p);
        mirror_pair_recount(p);
    }
    for (unsigned i = 0; i < to->count; i++)
        if (pair_with(q, to->members[i].node) == NULL)
            add_pair(m, q, &to->members[i]);
}

struct mirror_queue *mirror_master_begin(struct mirror_master *m, uint64_t qid, uint64_t epoch,
                                         struct mirror_history *history, bool is_durable,
                                         void *owner, const struct mirror_placed *p)
{
    struct mirror_queue *q = mem_zalloc(sizeof *q);
    struct mirror_starts next = { 0 };
    q->qid = qid;
    q->epoch = epoch;
    q->role = ++m->roles;
    q->last_pos = ++m->pos;
    q->is_durable = is_durable;
    q->owner = owner;
    q->history = *history;
    *history = (struct mirror_history){ 0 };
    m->ops->starts(m->arg, q, &next);
    mirror_history_begin(&q->history, epoch, &next);
    mirror_starts_fini(&next);
    idmap_put(&m->queues, qid, q);
    place(m, q, p);
    return q;
}

void mirror_master_place(struct mirror_master *m, struct mirror_queue *q,
                         const struct mirror_placed *p)
{
    place(m, q, p);
    for (unsigned i = 0; i < q->pair_count; i++)
        mirror_pair_consider(q->pairs[i]);
}

void mirror_master_activate(struct mirror_master *m, struct mirror_queue *q, uint64_t now_ms)
{
    m->now_ms = now_ms;
    q->is_active = true;
    for (unsigned i = 0; i < q->pair_count; i++)
        mirror_pair_consider(q->pairs[i]);
}

static void free_queue(struct mirror_master *m, struct mirror_queue *q)
{
    while (q->pair_count != 0)
        remove_pair(m, q, q->pair_count - 1);
    mem_free(q->pairs);
    mirror_history_fini(&q->history);
    mem_free(q);
}

void mirror_master_end(struct mirror_master *m, struct mirror_queue **queue,
                       struct mirror_history *history)
{
    struct mirror_queue *q = *queue;
    *queue = NULL;
    idmap_take(&m->queues, q->qid);
    *history = q->history;
    q->history = (struct mirror_history){ 0 };
    free_queue(m, q);
    m->is_refit_due = true;
}

void mirror_master_free(struct mirror_master **master)
{
    struct mirror_master *m = *master;
    struct mirror_queue *q;
    struct mirror_stream *s;
    *master = NULL;
    TAILQ_FOREACH (s, &m->streams, entry)
        s->is_up = false;
    while ((q = idmap_first(&m->queues)) != NULL) {
        idmap_take(&m->queues, q->qid);
        free_queue(m, q);
    }
    while ((s = TAILQ_FIRST(&m->streams)) != NULL) {
        TAILQ_REMOVE(&m->streams, s, entry);
        mem_free(s->picked);
        mem_free(s);
    }
    idmap_fini(&m->queues);
    mirror_waits_fini(&m->waits);
    mirror_line_fini(&m->own);
    mem_free(m);
}

void mirror_queue_progress(const struct mirror_queue *q, unsigned index,
                           struct mirror_progress *out)
{
    const struct mirror_pair *p = q->pairs[index];
    *out = (struct mirror_progress){ .node = p->stream->node,
                                     .is_whole = p->state == MIRROR_PAIR_WHOLE,
                                     .is_syncing = p->state == MIRROR_PAIR_CALLED ||
                                                   p->state == MIRROR_PAIR_SYNCING,
                                     .said = p->said_old };
}

/* ---- records ------------------------------------------------------------------------------------
 */

/* What does not fit is not said: the pair begins anew when there is room. */
static bool takes(struct mirror_pair *p)
{
    if (!mirror_pair_is_live(p))
        return false;
    if (!mirror_flow_is_full(&p->stream->flow))
        return true;
    mirror_pair_move(p, MIRROR_PAIR_WAITING);
    return false;
}

static void pick(struct mirror_stream *s, unsigned index)
{
    if (s->picked_count == s->picked_cap) {
        s->picked_cap = s->picked_cap != 0 ? s->picked_cap * 2 : 4;
        s->picked = mem_realloc(s->picked, s->picked_cap * sizeof *s->picked);
    }
    s->picked[s->picked_count++] = index;
}

uint64_t mirror_master_message(struct mirror_master *m, struct mirror_queue *const *queues,
                               unsigned count, const void *message, uint64_t bytes, uint64_t now_ms)
{
    uint64_t pos = ++m->pos;
    m->now_ms = now_ms;
    for (unsigned i = 0; i < count; i++) {
        queues[i]->last_pos = pos;
        for (unsigned k = 0; k < queues[i]->pair_count; k++) {
            struct mirror_pair *p = queues[i]->pairs[k];
            if (takes(p))
                pick(p->stream, i);
        }
    }
    struct mirror_stream *s;
    TAILQ_FOREACH (s, &m->streams, entry) {
        if (s->picked_count == 0)
            continue;
        mirror_flow_sent(&s->flow, pos, bytes, false, now_ms);
        m->ops->say_message(m->arg, s, pos, message, s->picked, s->picked_count);
        s->picked_count = 0;
    }
    return pos;
}

uint64_t mirror_master_note(struct mirror_master *m, struct mirror_queue *q, const void *what,
                            uint64_t bytes, uint64_t now_ms)
{
    uint64_t pos = ++m->pos;
    m->now_ms = now_ms;
    q->last_pos = pos;
    for (unsigned k = 0; k < q->pair_count; k++) {
        struct mirror_pair *p = q->pairs[k];
        if (!takes(p))
            continue;
        mirror_flow_sent(&p->stream->flow, pos, bytes, false, now_ms);
        m->ops->say_state(m->arg, p->stream, pos, q, what);
    }
    return pos;
}

/* When nothing waits to be durable, all is that was said so far. */
static void own_moved(struct mirror_master *m)
{
    uint64_t mark = m->own.count != 0 ? mirror_line_mark(&m->own) : m->pos;
    mirror_mark_raise(&m->waits, m->mark_own, mark);
}

void mirror_master_written(struct mirror_master *m, uint64_t pos, uint64_t lsn)
{
    mirror_line_add(&m->own, pos, lsn);
}

void mirror_master_written_late(struct mirror_master *m, uint64_t pos, uint64_t lsn)
{
    mirror_line_set(&m->own, pos, lsn);
}

void mirror_master_durable(struct mirror_master *m, uint64_t lsn)
{
    (void)mirror_line_durable(&m->own, lsn);
    own_moved(m);
    mirror_master_answer_due(m);
}

uint64_t mirror_master_waiting(const struct mirror_master *m)
{
    return m->waits.waiting;
}

/* Once for all that was said in this turn: the mirror need not ask its disk for each of it. */
static void say_awaited(struct mirror_stream *s)
{
    struct mirror_master *m = s->master;
    if (mirror_pace_leaves(&s->pace, m->now_us))
        s->awaits |= MIRROR_AWAITED_RECEIVED;
    if (s->awaits == 0 || !s->is_up)
        return;
    struct mirror_record r = { .op = MIRROR_AWAITED, .flags = s->awaits };
    s->awaits = 0;
    m->ops->say(m->arg, s, &r);
}

void mirror_master_clock(struct mirror_master *m, uint64_t now_us)
{
    m->now_us = now_us;
}

bool mirror_master_flush(struct mirror_master *m, uint64_t now_ms)
{
    struct mirror_stream *s;
    bool has_more = false;
    m->now_ms = now_ms;
    m->waits.turn++;
    mirror_master_refit(m);
    TAILQ_FOREACH (s, &m->streams, entry)
        if (s->is_due)
            has_more = mirror_stream_fill(s) || has_more;
    mirror_master_refit_told(m);
    TAILQ_FOREACH (s, &m->streams, entry) {
        say_awaited(s);
        raise_marks(s);
    }
    own_moved(m);
    mirror_master_answer_due(m);
    mirror_master_look_for_room(m);
    return has_more;
}
