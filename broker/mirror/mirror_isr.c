/* Who is waited for, and what is proposed: design.md 2.7, invariants I3 to I5. */
#include "base/check.h"
#include "base/mutation.h"
#include "mirror/mirror_master_inner.h"

#define REFIT_A_MS 4096u /* confirms: for the rest of their time others have the thread */

/* ---- who is waited for --------------------------------------------------------------------------
 */

/* It may be in the in-sync set of this epoch, or is about to be: whatever is confirmed from now on
 * must be there. */
static bool is_waited(const struct mirror_pair *p)
{
    if (MUTATION(MIRROR_WAITS_FOR_COMMITTED))
        return p->is_in_sync;
    if (MUTATION(MIRROR_EXPELLED_AT_ONCE) && p->is_expelled)
        return false;
    if (p->is_in_sync || p->is_added)
        return true;
    if (MUTATION(MIRROR_WAITS_FROM_PROPOSAL))
        return false;
    return p->state == MIRROR_PAIR_TOLD || p->state == MIRROR_PAIR_WHOLE;
}

/* What an acknowledgement says counts for it. */
static bool is_counted(const struct mirror_pair *p)
{
    return p->state == MIRROR_PAIR_TOLD || p->state == MIRROR_PAIR_WHOLE ||
           MUTATION(MIRROR_ACKED_BEFORE_JOINED);
}

void mirror_pair_recount(struct mirror_pair *p)
{
    struct mirror_stream *s = p->stream;
    bool waited = is_waited(p);
    bool owed = waited && p->state != MIRROR_PAIR_WHOLE;
    if (waited != p->is_waited) {
        s->waited += waited ? 1u : -1u;
        s->master->is_refit_due = s->master->is_refit_due || !waited;
        p->is_asked_for = p->is_asked_for && waited;
        if (p->state == MIRROR_PAIR_WAITING)
            mirror_pair_relist(p);
    }
    if (owed != p->is_owed) {
        if (s->owed == 0)
            s->owed_ms = s->master->now_ms;
        s->owed += owed ? 1u : -1u;
    }
    p->is_waited = waited;
    p->is_owed = owed;
}

static struct mirror_pair *pair_on(const struct mirror_queue *q, const struct mirror_stream *s)
{
    for (unsigned i = 0; i < q->pair_count; i++)
        if (q->pairs[i]->stream == s)
            return q->pairs[i];
    return NULL;
}

/* Of a pair that has not been told all an acknowledgement says nothing: what waits for it has it
 * join before others. What came before DONE may never have been said to it as it was published: it
 * has that with DONE. */
static uint32_t mark_for(struct mirror_pair *p, struct mirror_confirm *c, bool is_durable)
{
    const struct mirror_stream *s = p->stream;
    if (!is_counted(p)) {
        if (c->is_urgent)
            mirror_pair_ask_for(p);
        return s->mark_rejoined;
    }
    if (p->state == MIRROR_PAIR_TOLD && c->pos <= p->done_pos) {
        if (!MUTATION(MIRROR_JOINED_BY_HALF))
            c->pos = p->done_pos;
        return s->mark_durable;
    }
    return is_durable ? s->mark_durable : s->mark_received;
}

/* Nothing is asked for that was acknowledged already. */
static void note_awaited(struct mirror_stream *s, uint64_t pos, bool is_durable)
{
    if (pos > (is_durable ? s->durable : s->received))
        s->awaits |= is_durable ? MIRROR_AWAITED_DURABLE : MIRROR_AWAITED_RECEIVED;
}

/* What it waits for is to be had soon. */
static void note_all_awaited(struct mirror_master *m, const struct mirror_confirm *c,
                             const uint32_t *marks, unsigned count, bool is_durable)
{
    for (unsigned i = 0; i < count; i++) {
        const struct mirror_mark *mark = &m->waits.marks[marks[i]];
        if (mark->kind != MIRROR_MARK_OWN)
            note_awaited(mark->owner, c->pos, is_durable || mark->kind == MIRROR_MARK_DURABLE);
    }
}

void mirror_master_await(struct mirror_master *m, struct mirror_queue *q, uint64_t pos,
                         unsigned flags, const struct mirror_token *to, uint64_t number)
{
    uint32_t marks[MIRROR_SET_MAX];
    unsigned count = 0;
    bool is_durable = (flags & MIRROR_AWAIT_DURABLE) != 0;
    struct mirror_confirm c = { .pos = pos,
                                .qid = q->qid,
                                .role = q->role,
                                .to = *to,
                                .first = number,
                                .count = 1,
                                .is_urgent = (flags & MIRROR_AWAIT_URGENT) != 0 };
    if (is_durable && !MUTATION(MIRROR_OWN_DISK_NOT_AWAITED))
        marks[count++] = m->mark_own;
    for (unsigned i = 0; i < q->pair_count; i++)
        if (q->pairs[i]->is_waited)
            marks[count++] = mark_for(q->pairs[i], &c, is_durable);
    note_all_awaited(m, &c, marks, count, is_durable);
    mirror_waits_add(&m->waits, marks, count, &c);
}

void mirror_master_hurry(struct mirror_master *m, struct mirror_queue *q)
{
    for (unsigned i = 0; i < q->pair_count; i++) {
        struct mirror_pair *p = q->pairs[i];
        if (p->is_waited && !is_counted(p))
            mirror_pair_ask_for(p);
        else if (p->is_waited)
            m->is_told_due = true;
    }
}

unsigned mirror_queue_members(const struct mirror_queue *q, uint16_t *out)
{
    unsigned n = 0;
    for (unsigned i = 0; i < q->pair_count; i++)
        if (q->pairs[i]->is_in_sync || q->pairs[i]->is_added)
            out[n++] = q->pairs[i]->stream->node;
    return n;
}

bool mirror_queue_is_waited(const struct mirror_queue *q)
{
    for (unsigned i = 0; i < q->pair_count; i++)
        if (q->pairs[i]->is_waited)
            return true;
    return false;
}

/* It was of late; and what it was told it has not all taken since. */
static bool is_slow(const struct mirror_stream *s)
{
    const struct mirror_master *m = s->master;
    return s->slow_ms != 0 && m->now_ms - s->slow_ms < m->setup.lag_ms;
}

static bool is_behind(const struct mirror_master *m)
{
    const struct mirror_stream *s;
    TAILQ_FOREACH (s, &m->streams, entry)
        if (s->waited != 0 && s->is_up && !mirror_flow_has_room(&s->flow) && !is_slow(s))
            return true;
    return false;
}

bool mirror_master_is_behind(struct mirror_master *m)
{
    m->is_behind = m->is_behind || is_behind(m);
    return m->is_behind;
}

void mirror_master_look_for_room(struct mirror_master *m)
{
    if (LIKELY(!m->is_behind) || is_behind(m))
        return;
    m->is_behind = false;
    m->ops->room(m->arg);
}

static bool is_mastered(const struct mirror_master *m, const struct mirror_confirm *c)
{
    const struct mirror_queue *q = idmap_get(&m->queues, c->qid);
    return q != NULL && q->role == c->role;
}

/* What is waited for of this pair instead. Of one that has to join anew what was said before may
 * never have come; one that has been told all has that when it has what it was told last. */
static uint32_t mark_instead(struct mirror_pair *p, struct mirror_confirm *c, uint32_t mark)
{
    return is_counted(p) && mark != p->stream->mark_rejoined ? mark : mark_for(p, c, true);
}

/* It is there, for good: an end of what is waited for that comes later does not concern this. */
static bool is_had(const struct mirror_mark *mark, uint64_t pos)
{
    return (mark->kind == MIRROR_MARK_OWN || mark->kind == MIRROR_MARK_DURABLE) &&
           mark->value >= pos;
}

/* Those that are not waited for any more leave the set. */
static bool refit(void *arg, struct mirror_confirm *c, uint32_t *marks, unsigned *count)
{
    struct mirror_master *m = arg;
    unsigned kept = 0;
    uint64_t pos = c->pos;
    if (!is_mastered(m, c)) {
        m->ops->answer(m->arg, c, false);
        return false;
    }
    const struct mirror_queue *q = idmap_get(&m->queues, c->qid);
    for (unsigned i = 0; i < *count; i++) {
        const struct mirror_mark *mark = &m->waits.marks[marks[i]];
        if (is_had(mark, pos))
            continue;
        if (mark->kind == MIRROR_MARK_OWN) {
            marks[kept++] = marks[i];
            continue;
        }
        struct mirror_pair *p = pair_on(q, mark->owner);
        if (p != NULL && p->is_waited)
            marks[kept++] = mark_instead(p, c, marks[i]);
    }
    *count = kept;
    note_all_awaited(m, c, marks, kept, c->pos != pos);
    return true;
}

void mirror_master_refit(struct mirror_master *m)
{
    if (!m->is_refit_due)
        return;
    m->is_refit_due = false;
    mirror_waits_refit(&m->waits, refit, m);
}

/* Each look goes over all that waits. */
void mirror_master_refit_told(struct mirror_master *m)
{
    if (!m->is_told_due || m->now_ms < m->told_again_ms)
        return;
    m->is_told_due = false;
    m->told_again_ms = m->now_ms + m->waits.waiting / REFIT_A_MS;
    m->is_refit_due = true;
    mirror_master_refit(m);
}

void mirror_master_answer_due(struct mirror_master *m)
{
    struct mirror_confirm c;
    mirror_master_refit(m);
    while (mirror_waits_due(&m->waits, &c))
        m->ops->answer(m->arg, &c, is_mastered(m, &c));
}

/* ---- proposals ----------------------------------------------------------------------------------
 */

static void note_proposed(struct mirror_pair *p)
{
    struct mirror_master *m = p->stream->master;
    p->proposed_ms = m->now_ms;
    if (p->is_listed)
        return;
    p->is_listed = true;
    TAILQ_INSERT_TAIL(&m->proposed, p, proposed_entry);
}

static bool has_all(const struct mirror_pair *p)
{
    return p->state == MIRROR_PAIR_WHOLE ||
           (MUTATION(MIRROR_ADMITTED_EARLY) && mirror_pair_is_live(p));
}

void mirror_pair_consider(struct mirror_pair *p)
{
    struct mirror_master *m = p->stream->master;
    struct mirror_queue *q = p->queue;
    if (!has_all(p) || p->is_in_sync || p->is_listed || !q->is_active || !p->stream->is_up)
        return;
    p->is_added = true;
    p->added_inc = p->stream->inc;
    mirror_pair_recount(p);
    note_proposed(p);
    m->ops->propose(m->arg, q, p->stream->node, p->added_inc, true);
}

void mirror_master_expel(struct mirror_master *m, struct mirror_queue *q, uint16_t node,
                         uint64_t now_ms)
{
    m->now_ms = now_ms;
    for (unsigned i = 0; i < q->pair_count; i++) {
        struct mirror_pair *p = q->pairs[i];
        if (p->stream->node != node || !p->is_in_sync || p->is_expelled || !q->is_active)
            continue;
        p->is_expelled = true;
        mirror_pair_recount(p);
        note_proposed(p);
        m->ops->propose(m->arg, q, node, 0, false);
    }
}

/* ver has moved, or the pair goes: nothing that was proposed is under way any more. What was
 * refused is proposed again after a while. */
void mirror_pair_decided(struct mirror_pair *p, bool goes)
{
    bool was_refused = p->is_added && !p->is_in_sync && !goes;
    p->is_added = p->is_expelled = false;
    if (!p->is_listed || was_refused)
        return;
    TAILQ_REMOVE(&p->stream->master->proposed, p, proposed_entry);
    p->is_listed = false;
}

/* One that lagged would lag again: it stays out for a while, each time for twice as long. */
static void hold_back(struct mirror_stream *s)
{
    const struct mirror_setup *setup = &s->master->setup;
    uint64_t now_ms = s->master->now_ms;
    if (s->held_ms > now_ms)
        return; /* for the sake of another of its queues */
    bool is_new = s->held_ms == 0 || now_ms - s->held_ms > 2 * setup->hold_max_ms;
    s->hold_ms = is_new ? setup->hold_ms : 2 * s->hold_ms;
    if (s->hold_ms > setup->hold_max_ms)
        s->hold_ms = setup->hold_max_ms;
    s->held_ms = now_ms + s->hold_ms;
}

static bool keeps_up(const struct mirror_stream *s)
{
    const struct mirror_master *m = s->master;
    return m->ops->keeps_up == NULL || m->ops->keeps_up(m->arg, s->node);
}

bool mirror_pair_is_held(const struct mirror_pair *p)
{
    const struct mirror_stream *s = p->stream;
    return !p->is_in_sync && !p->is_added && (s->held_ms > s->master->now_ms || !keeps_up(s));
}

/* Nobody waits for it any more: it comes back as a new one does. */
void mirror_pair_struck(struct mirror_pair *p)
{
    if (p->stream->lag_told_ms != 0)
        hold_back(p->stream);
    if (p->state == MIRROR_PAIR_TOLD || p->state == MIRROR_PAIR_WHOLE)
        mirror_pair_move(p, MIRROR_PAIR_WAITING);
}

static void propose_again(struct mirror_master *m, uint64_t now_ms)
{
    struct mirror_pair *p;
    while ((p = TAILQ_FIRST(&m->proposed)) != NULL &&
           now_ms - p->proposed_ms >= m->setup.retry_ms) {
        TAILQ_REMOVE(&m->proposed, p, proposed_entry);
        p->is_listed = false;
        if (!p->is_added && !p->is_expelled) {
            mirror_pair_consider(p);
            continue;
        }
        note_proposed(p);
        if (p->is_added)
            m->ops->propose(m->arg, p->queue, p->stream->node, p->added_inc, true);
        if (p->is_expelled)
            m->ops->propose(m->arg, p->queue, p->stream->node, 0, false);
    }
}

/* ---- time ---------------------------------------------------------------------------------------
 */

static uint64_t since(uint64_t then_ms, uint64_t now_ms)
{
    return now_ms > then_ms ? now_ms - then_ms : 0;
}

static uint64_t lag_of(const struct mirror_stream *s, uint64_t now_ms)
{
    uint64_t lag = s->is_up ? mirror_flow_lag_ms(&s->flow, now_ms) : since(s->down_ms, now_ms);
    uint64_t owed = s->owed != 0 ? since(s->owed_ms, now_ms) : 0;
    return lag > owed ? lag : owed;
}

/* Pairs that nobody has proposed yet need not be waited for: they begin again. */
static void drop_unproposed(struct mirror_stream *s, struct mirror_pairs *list)
{
    struct mirror_pair *p, *next;
    for (p = TAILQ_FIRST(list); p != NULL; p = next) {
        next = TAILQ_NEXT(p, entry);
        if (p->is_waited && !p->is_in_sync && !p->is_added)
            mirror_pair_move(p, MIRROR_PAIR_WAITING);
    }
    s->is_due = true;
}

static void look_at_lag(struct mirror_stream *s, uint64_t now_ms)
{
    struct mirror_master *m = s->master;
    if (s->waited != 0 && !keeps_up(s)) {
        drop_unproposed(s, &s->told);
        drop_unproposed(s, &s->whole);
    }
    if (s->waited == 0 || lag_of(s, now_ms) < m->setup.lag_ms) {
        s->lag_told_ms = 0;
        return;
    }
    drop_unproposed(s, &s->told);
    drop_unproposed(s, &s->whole);
    if (s->waited == 0 ||
        (s->lag_told_ms != 0 && since(s->lag_told_ms, now_ms) < m->setup.retry_ms))
        return;
    s->lag_told_ms = now_ms != 0 ? now_ms : 1;
    m->ops->propose_lag(m->arg, s);
}

static void look_at_pace(struct mirror_stream *s, uint64_t now_ms)
{
    if (mirror_flow_lag_ms(&s->flow, now_ms) >= s->master->setup.slow_ms)
        s->slow_ms = now_ms;
    else if (mirror_flow_is_done(&s->flow))
        s->slow_ms = 0;
}

static void call_refused_again(struct mirror_stream *s, uint64_t now_ms)
{
    struct mirror_pair *p, *next;
    for (p = TAILQ_FIRST(&s->refused); p != NULL; p = next) {
        next = TAILQ_NEXT(p, entry);
        if (p->retry_ms <= now_ms)
            mirror_pair_move(p, MIRROR_PAIR_WAITING);
    }
}

void mirror_master_tick(struct mirror_master *m, uint64_t now_ms)
{
    struct mirror_stream *s;
    m->now_ms = now_ms;
    propose_again(m, now_ms);
    TAILQ_FOREACH (s, &m->streams, entry) {
        call_refused_again(s, now_ms);
        mirror_pasts_tick(s, now_ms);
        mirror_stream_look_at_hollow(s);
        look_at_pace(s, now_ms);
        look_at_lag(s, now_ms);
        s->is_due = true;
    }
}
