/* How a pair comes to have all: what the mirror offers is compared with what is here. */
#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "mirror/mirror_master_inner.h"

#define STEPS_A_TURN       1024u /* of comparing, for each pair */
#define BACKOFF_MS         5u
#define BACKOFF_MAX        200u
#define SMALL_BYTES        256u /* about what a record without a message costs */

#define TAKE_OVER_MANY     4096u /* queues: before that it is not worth the while */
#define TAKE_OVER_GAP_MS   30u
#define TAKE_OVER_MAX_MS   1000u
#define TAKE_OVER_AGAIN_MS 2000u /* those that come later are others */

#define TO(name)           SM_BIT(MIRROR_PAIR_##name)
static const struct sm_row rows[] = {
#define X(name, moves) { #name, moves },
    MIRROR_PAIR_STATES(X)
#undef X
};

/* ---- states -------------------------------------------------------------------------------------
 */

static struct mirror_pairs *list_for(const struct mirror_pair *p)
{
    struct mirror_stream *s = p->stream;
    switch (p->state) {
    case MIRROR_PAIR_WAITING:
        if (p->is_asked_for)
            return &s->first;
        return p->is_in_sync || p->is_added ? &s->urgent : &s->line;
    case MIRROR_PAIR_CALLED:
    case MIRROR_PAIR_SYNCING:
        return &s->busy;
    case MIRROR_PAIR_HOLLOW:
        return &s->hollow;
    case MIRROR_PAIR_TOLD:
        return &s->told;
    case MIRROR_PAIR_WHOLE:
        return &s->whole;
    case MIRROR_PAIR_REFUSED:
        return &s->refused;
    case MIRROR_PAIR_STATE_COUNT:
        break;
    }
    UNREACHABLE("state of a pair");
}

void mirror_pair_drop_cursor(struct mirror_pair *p)
{
    struct mirror_cursor *c = p->cursor;
    if (c == NULL)
        return;
    p->cursor = NULL;
    mirror_starts_fini(&c->end);
    mirror_starts_fini(&c->lacks);
    mem_free(c->runs);
    mem_free(c);
}

static bool has_said_all(enum mirror_pair_state s)
{
    return s == MIRROR_PAIR_TOLD || s == MIRROR_PAIR_WHOLE;
}

void mirror_pair_relist(struct mirror_pair *p)
{
    struct mirror_stream *s = p->stream;
    TAILQ_REMOVE(p->list, p, entry);
    s->busy_count -= p->list == &s->busy;
    p->list = list_for(p);
    TAILQ_INSERT_TAIL(p->list, p, entry);
    s->busy_count += p->list == &s->busy;
}

void mirror_pair_ask_for(struct mirror_pair *p)
{
    if (p->is_asked_for)
        return;
    p->is_asked_for = true;
    if (p->state == MIRROR_PAIR_WAITING)
        mirror_pair_relist(p);
    p->stream->is_due = true;
}

void mirror_pair_move(struct mirror_pair *p, enum mirror_pair_state to)
{
    struct mirror_stream *s = p->stream;
    bool had_said_all = has_said_all(p->state);
    sm_move(rows, &p->state, to);
    mirror_pair_relist(p);
    if (to != MIRROR_PAIR_CALLED && to != MIRROR_PAIR_SYNCING && to != MIRROR_PAIR_HOLLOW)
        mirror_pair_drop_cursor(p);
    if (to == MIRROR_PAIR_REFUSED) {
        p->backoff_ms = p->backoff_ms != 0 ? p->backoff_ms * 2 : BACKOFF_MS;
        if (p->backoff_ms > BACKOFF_MAX)
            p->backoff_ms = BACKOFF_MAX;
        p->retry_ms = s->master->now_ms + p->backoff_ms;
    } else if (to == MIRROR_PAIR_SYNCING) {
        p->backoff_ms = 0;
    }
    if (had_said_all && !has_said_all(to))
        s->master->is_refit_due = true;
    if (p->is_asked_for && to == MIRROR_PAIR_TOLD) {
        p->is_asked_for = false;
        s->master->is_told_due = true;
    }
    s->is_due = true;
    mirror_pair_recount(p);
}

/* ---- saying -------------------------------------------------------------------------------------
 */

static void say(struct mirror_pair *p, struct mirror_record *r, uint64_t bytes)
{
    struct mirror_master *m = p->stream->master;
    r->qid = p->queue->qid;
    r->epoch = p->queue->epoch;
    if (r->op != MIRROR_NEED) {
        r->pos = ++m->pos;
        mirror_flow_sent(&p->stream->flow, r->pos, SMALL_BYTES + bytes, false, m->now_ms);
    }
    m->ops->say(m->arg, p->stream, r);
}

static void call(struct mirror_pair *p)
{
    struct mirror_master *m = p->stream->master;
    struct mirror_queue *q = p->queue;
    struct mirror_cursor *c = mem_zalloc(sizeof *c);
    m->ops->starts(m->arg, q, &c->end);
    p->cursor = c;
    p->said_old = 0;
    mirror_pair_move(p, MIRROR_PAIR_CALLED);
    struct mirror_record r = { .op = MIRROR_JOIN,
                               .flags = q->is_durable ? MIRROR_DURABLE : 0,
                               .starts = &c->end,
                               .history = &q->history,
                               .producers = &q->history.now };
    say(p, &r, mirror_history_size(&q->history, false) + producers_size(r.producers));
    p->join_pos = r.pos;
}

static void say_done(struct mirror_pair *p)
{
    struct mirror_record r = { .op = MIRROR_DONE, .producers = &p->queue->history.now };
    say(p, &r, producers_size(r.producers));
    p->done_pos = r.pos;
    mirror_pair_move(p, MIRROR_PAIR_TOLD);
}

static void say_drops(struct mirror_pair *p)
{
    struct mirror_master *m = p->stream->master;
    struct mirror_cursor *c = p->cursor;
    if (c->drop_count == 0)
        return;
    uint64_t pos = ++m->pos;
    mirror_flow_sent(&p->stream->flow, pos, SMALL_BYTES + c->drop_count * 16, true, m->now_ms);
    if (!MUTATION(MIRROR_SETTLED_STAYS))
        m->ops->say_settled(m->arg, p->stream, pos, p->queue, c->drops, c->drop_count);
    c->drop_count = 0;
}

static void drop(struct mirror_pair *p, uint64_t first, uint64_t last)
{
    struct mirror_cursor *c = p->cursor;
    if (c->drop_count == MIRROR_DROPS)
        say_drops(p);
    c->drops[c->drop_count++] = (struct mirror_run){ first, last };
}

/* ---- comparing ----------------------------------------------------------------------------------
 */

void mirror_pair_take_offer(struct mirror_pair *p, const struct mirror_record *r)
{
    struct mirror_cursor *c = p->cursor;
    mem_free(c->runs);
    c->runs = r->run_count != 0 ? mem_dup(r->runs, r->run_count * sizeof *r->runs) : NULL;
    c->run_count = r->run_count;
    c->run = 0;
    c->until = r->to;
    c->has_offer = true;
}

/* Cut it to what is compared: from `at` on, up to `until`, and before what came live. False: there
 * is none of it there; *skip: nothing of this priority is left to be compared. */
static bool clip(const struct mirror_cursor *c, struct mirror_run *run, bool *skip)
{
    uint64_t end = mirror_starts_of(&c->end, c->at);
    *skip = c->at >= end;
    if (run->first < c->at)
        run->first = c->at;
    uint64_t last = c->until < end - 1 ? c->until : end - 1;
    if (run->last > last)
        run->last = last;
    return !*skip && run->first <= run->last;
}

/* Where the next priority begins; MIRROR_TO_END: there is none. */
static uint64_t next_priority(uint64_t at)
{
    uint64_t base = mirror_priority_base(at) + (UINT64_C(1) << MIRROR_PRIORITY_SHIFT);
    return base != 0 ? base : MIRROR_TO_END;
}

enum step {
    STEP_ON,
    STEP_OFFER_ENDS,
    STEP_LATER, /* something is being read */
    STEP_FULL,
};

static enum step send_one(struct mirror_pair *p, uint64_t position)
{
    struct mirror_stream *s = p->stream;
    struct mirror_master *m = s->master;
    bool is_paced = !p->is_waited; /* else what is published waits for it, not beside it */
    if (!mirror_flow_has_old_room(&s->flow) || (is_paced && !mirror_pace_has_room(&s->pace)))
        return STEP_FULL;
    uint64_t bytes = 0;
    uint64_t pos = ++m->pos;
    switch (m->ops->say_old(m->arg, s, pos, p->queue, position, &bytes)) {
    case MIRROR_OLD_LATER:
        p->cursor->is_reading = true;
        return STEP_LATER;
    case MIRROR_OLD_SAID:
        mirror_flow_sent(&s->flow, pos, bytes, true, m->now_ms);
        if (is_paced)
            mirror_pace_said(&s->pace, pos, bytes);
        p->said_old++;
        break;
    case MIRROR_OLD_GONE:
        break;
    }
    p->cursor->at = position + 1;
    return STEP_ON;
}

static bool is_sent(const struct mirror_pair *p, uint64_t position)
{
    const struct mirror_history *h = &p->queue->history;
    return !MUTATION(MIRROR_INHERITED_LEFT_OUT) || h->count == 0 ||
           !mirror_starts_has(&h->epochs[h->count - 1].starts, position);
}

/* To find a row takes longer than to say what is in it. */
static enum step send_row(struct mirror_pair *p, const struct mirror_run *row)
{
    struct mirror_cursor *c = p->cursor;
    while (is_sent(p, c->at)) {
        enum step step = send_one(p, c->at);
        if (step != STEP_ON || c->at > row->last || c->steps == 0)
            return step;
        c->steps--;
    }
    c->at++;
    return STEP_ON;
}

/* Messages that the mirror has not: sent, or noted where that is not wanted. */
static enum step lacking(struct mirror_pair *p, struct mirror_run *run)
{
    struct mirror_cursor *c = p->cursor;
    if (p->queue->is_manual && !p->is_in_sync && !p->is_ordered) {
        mirror_starts_raise(&c->lacks, run->last + 1);
        c->at = run->last + 1;
        return STEP_ON;
    }
    c->at = run->first;
    return send_row(p, run);
}

static enum step compare(struct mirror_pair *p)
{
    struct mirror_master *m = p->stream->master;
    struct mirror_cursor *c = p->cursor;
    struct mirror_run here = { 0, 0 }, there = { 0, 0 };
    bool skip = c->at >= mirror_starts_of(&c->end, c->at);
    if (skip)
        c->at = next_priority(c->at);
    if (c->at > c->until || c->at == MIRROR_TO_END)
        return STEP_OFFER_ENDS;
    if (skip)
        return STEP_ON;
    while (c->run < c->run_count && c->runs[c->run].last < c->at)
        c->run++;
    bool has_there = c->run < c->run_count;
    if (has_there) {
        there = c->runs[c->run];
        has_there = clip(c, &there, &skip);
    }
    enum mirror_look look = m->ops->live(m->arg, p->queue, c->at, &here);
    if (look == MIRROR_LOOK_LATER) {
        c->is_reading = true;
        return STEP_LATER;
    }
    bool has_here = look == MIRROR_LOOK_HERE && clip(c, &here, &skip);
    if (has_here && (!has_there || here.first < there.first)) {
        if (has_there && here.last >= there.first)
            here.last = there.first - 1;
        return lacking(p, &here);
    }
    if (has_there && (!has_here || there.first < here.first)) {
        if (has_here && there.last >= here.first)
            there.last = here.first - 1;
        drop(p, there.first, there.last);
        c->at = there.last + 1;
        return STEP_ON;
    }
    if (has_here) { /* both have what begins here */
        c->at = (here.last < there.last ? here.last : there.last) + 1;
        return STEP_ON;
    }
    /* Nothing more of this priority, as far as the offer goes. */
    uint64_t end = mirror_starts_of(&c->end, c->at);
    c->at = c->until < end ? c->until : end;
    if (c->at == c->until)
        return STEP_OFFER_ENDS;
    return STEP_ON;
}

static void end_offer(struct mirror_pair *p)
{
    struct mirror_cursor *c = p->cursor;
    say_drops(p);
    if (c->until != MIRROR_TO_END) {
        c->at = c->until + 1;
        c->has_offer = false;
        struct mirror_record r = { .op = MIRROR_NEED, .pos = p->join_pos, .from = c->at };
        say(p, &r, 0);
        return;
    }
    if (c->lacks.count != 0 || mirror_pair_is_held(p))
        mirror_pair_move(p, MIRROR_PAIR_HOLLOW);
    else
        say_done(p);
}

/* True: it could go on at once. */
static bool go_on(struct mirror_pair *p)
{
    struct mirror_cursor *c = p->cursor;
    if (p->state != MIRROR_PAIR_SYNCING || !c->has_offer || c->is_reading)
        return false;
    for (c->steps = STEPS_A_TURN; c->steps != 0;) {
        c->steps--;
        switch (compare(p)) {
        case STEP_ON:
            break;
        case STEP_OFFER_ENDS:
            end_offer(p);
            return false;
        case STEP_LATER:
        case STEP_FULL:
            say_drops(p);
            return false;
        }
    }
    say_drops(p);
    return true;
}

void mirror_master_takes_over(struct mirror_master *m, uint64_t now_ms)
{
    if (now_ms - m->taking_over_ms > TAKE_OVER_AGAIN_MS || m->taken_over == 0) {
        m->taken_over = 0;
        m->taken_over_ms = now_ms;
    }
    m->taken_over++;
    m->taking_over_ms = now_ms;
}

static bool is_taking_over(const struct mirror_master *m)
{
    return m->taken_over > TAKE_OVER_MANY && m->now_ms - m->taking_over_ms <= TAKE_OVER_GAP_MS &&
           m->now_ms - m->taken_over_ms <= TAKE_OVER_MAX_MS;
}

/* Those that confirms wait for find room beside as many others. */
static struct mirror_pair *next_to_call(const struct mirror_stream *s, bool first_alone)
{
    unsigned syncs = s->master->setup.syncs;
    if (!TAILQ_EMPTY(&s->first))
        return s->busy_count < 2 * syncs ? TAILQ_FIRST(&s->first) : NULL;
    if (first_alone || s->busy_count >= syncs)
        return NULL;
    return !TAILQ_EMPTY(&s->urgent) ? TAILQ_FIRST(&s->urgent) : TAILQ_FIRST(&s->line);
}

bool mirror_stream_fill(struct mirror_stream *s)
{
    struct mirror_pair *p, *next;
    bool has_more = false;
    bool waits = is_taking_over(s->master);
    s->is_due = waits;
    if (!s->is_up)
        return false;
    mirror_pasts_say(s);
    while (mirror_flow_has_room(&s->flow) && (p = next_to_call(s, waits)) != NULL) {
        call(p);
        if (MUTATION(MIRROR_ADMITTED_EARLY))
            mirror_pair_consider(p);
    }
    for (p = TAILQ_FIRST(&s->busy); p != NULL; p = next) {
        next = TAILQ_NEXT(p, entry);
        has_more = go_on(p) || has_more;
    }
    p = TAILQ_FIRST(&s->busy);
    if (p != NULL && !mirror_pace_has_room(&s->pace)) { /* the next slice is another's */
        TAILQ_REMOVE(&s->busy, p, entry);
        TAILQ_INSERT_TAIL(&s->busy, p, entry);
    }
    s->is_due = has_more || waits;
    return has_more;
}

/* ---- where it is done by hand, or not yet
 * -------------------------------------------------------------------
 */

static bool lacks_something(struct mirror_pair *p)
{
    struct mirror_master *m = p->stream->master;
    const struct mirror_starts *lacks = &p->cursor->lacks;
    for (uint32_t i = 0; i < lacks->count; i++) {
        struct mirror_run run = { 0, 0 };
        uint64_t base = mirror_priority_base(lacks->items[i]);
        enum mirror_look look = m->ops->live(m->arg, p->queue, base, &run);
        if (look == MIRROR_LOOK_LATER || (look == MIRROR_LOOK_HERE && run.first < lacks->items[i]))
            return true;
    }
    return false;
}

void mirror_stream_look_at_hollow(struct mirror_stream *s)
{
    struct mirror_pair *p, *next;
    for (p = TAILQ_FIRST(&s->hollow); p != NULL; p = next) {
        next = TAILQ_NEXT(p, entry);
        if (!mirror_pair_is_held(p) && !lacks_something(p))
            say_done(p);
    }
}

void mirror_queue_fill(struct mirror_queue *q)
{
    for (unsigned i = 0; i < q->pair_count; i++)
        if (q->pairs[i]->state == MIRROR_PAIR_HOLLOW)
            mirror_pair_move(q->pairs[i], MIRROR_PAIR_WAITING);
}

void mirror_master_sync(struct mirror_master *m, struct mirror_queue *q)
{
    (void)m;
    for (unsigned i = 0; i < q->pair_count; i++)
        q->pairs[i]->is_ordered = true;
    mirror_queue_fill(q);
}

/* What is under way begins again, and then finds out what it lacks without sending it. */
void mirror_master_cancel_sync(struct mirror_master *m, struct mirror_queue *q)
{
    (void)m;
    for (unsigned i = 0; i < q->pair_count; i++) {
        struct mirror_pair *p = q->pairs[i];
        p->is_ordered = false;
        if (p->state == MIRROR_PAIR_SYNCING && !p->is_in_sync)
            mirror_pair_move(p, MIRROR_PAIR_WAITING);
    }
}

/* ---- what is left -----------------------------------------------------------------------------
 */

/* Of each priority what comes before its end, from `at` on. */
static unsigned rows_before(const struct mirror_starts *ends, uint64_t at, struct mirror_run *out)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < ends->count; i++) {
        uint64_t end = ends->items[i], first = mirror_priority_base(end);
        if (first < at)
            first = at;
        if (first < end)
            out[count++] = (struct mirror_run){ first, end - 1 };
    }
    return count;
}

unsigned mirror_queue_lacks(const struct mirror_queue *q, unsigned index, struct mirror_run *out)
{
    const struct mirror_pair *p = q->pairs[index];
    switch (p->state) {
    case MIRROR_PAIR_WAITING:
    case MIRROR_PAIR_REFUSED:
        *out = (struct mirror_run){ 0, UINT64_MAX };
        return 1;
    case MIRROR_PAIR_CALLED:
    case MIRROR_PAIR_SYNCING:
        return rows_before(&p->cursor->end, p->cursor->at, out);
    case MIRROR_PAIR_HOLLOW:
        return rows_before(&p->cursor->lacks, 0, out);
    case MIRROR_PAIR_TOLD:
    case MIRROR_PAIR_WHOLE:
        return 0;
    case MIRROR_PAIR_STATE_COUNT:
        break;
    }
    UNREACHABLE("state of a pair");
}

void mirror_master_loaded(struct mirror_master *m, struct mirror_queue *q, uint64_t now_ms)
{
    m->now_ms = now_ms;
    for (unsigned i = 0; i < q->pair_count; i++) {
        struct mirror_pair *p = q->pairs[i];
        if (p->cursor == NULL || !p->cursor->is_reading)
            continue;
        p->cursor->is_reading = false;
        p->stream->is_due = true;
    }
}
