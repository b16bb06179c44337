#include "cluster/grant.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"

#include <string.h>

/* Grants that were given to one process while this node had applied up to `before`. */
struct given {
    uint64_t before;
    int64_t until_us;
    uint32_t inc;
};

struct asked {
    uint64_t number;
    uint64_t index;
    int64_t at_us;
};

struct peer {
    uint16_t node;
    uint32_t inc;      /* as the node table has it; 0: it has it no more */
    uint32_t gone_inc; /* this process and those before it are gone */

    /* As the master: what is asked of it, and held. */
    bool is_needed;
    bool is_urgent;   /* its way has opened, or why it refused may be over */
    bool was_refused; /* the last answer was */
    int64_t needed_us;
    uint64_t need_epoch;
    struct asked asked[GRANT_ASKED_MAX]; /* by number */
    uint64_t last_number;
    uint64_t asked_index; /* of the last question */
    int64_t asked_us;
    struct grant_held held;

    /* As one that is asked: what was given to it. */
    uint64_t taken;                      /* the last entry applied here that took queues from it */
    struct given given[GRANT_GIVEN_MAX]; /* by rising `before` */
    size_t given_count;
    bool has_put_off;
    struct grant_ask put_off; /* until this node has come as far */
};

/* Entries up to `index` gave queues of one node to another one. */
struct move {
    uint16_t from, to;
    uint64_t index;
    int64_t until_us; /* then grants to `from` that were older have run out */
};

struct grant {
    uint16_t node;
    uint32_t inc;
    uint64_t index; /* applied */
    bool is_up;     /* its own start is among it */
    int64_t now_us;
    /* Whatever an earlier process of this node has given has run out then; and what this one gave
     * that is not told apart any more. */
    int64_t others_until_us;
    struct peer *peers[GRANT_PEERS_MAX];
    size_t peer_count;
    struct move moves[GRANT_MOVES_MAX];
    size_t move_count;
};

/* ---- life -------------------------------------------------------------------------------------
 */

struct grant *grant_new(uint16_t node, uint32_t inc, uint64_t index, bool is_first, int64_t now_us)
{
    CHECK(node != 0 && inc != 0);
    struct grant *g = mem_zalloc(sizeof *g);
    g->node = node;
    g->inc = inc;
    g->index = index;
    g->now_us = now_us;
    bool has_none = is_first || MUTATION(GRANT_RESTART_WAITS_NOT);
    g->others_until_us = has_none ? INT64_MIN : now_us + GRANT_WAIT_US;
    return g;
}

void grant_free(struct grant **grant)
{
    struct grant *g = *grant;
    *grant = NULL;
    if (g == NULL)
        return;
    for (size_t i = 0; i < g->peer_count; i++)
        mem_free(g->peers[i]);
    mem_free(g);
}

static void wait_until(struct grant *g, int64_t until_us)
{
    if (g->others_until_us < until_us)
        g->others_until_us = until_us;
}

static struct peer *find(const struct grant *g, uint16_t node)
{
    for (size_t i = 0; i < g->peer_count; i++)
        if (g->peers[i]->node == node)
            return g->peers[i];
    return NULL;
}

static void drop_peer(struct grant *g, size_t at)
{
    mem_free(g->peers[at]);
    g->peers[at] = g->peers[--g->peer_count];
}

/* One that the node table has no more gives its place up; what it was given counts for all. */
static void make_room(struct grant *g)
{
    for (size_t i = 0; i < g->peer_count; i++) {
        const struct peer *p = g->peers[i];
        if (p->inc != 0)
            continue;
        for (size_t k = 0; k < p->given_count; k++)
            wait_until(g, p->given[k].until_us);
        drop_peer(g, i);
        return;
    }
}

static struct peer *peer_of(struct grant *g, uint16_t node)
{
    struct peer *p = find(g, node);
    if (p != NULL || node == 0 || node == g->node)
        return p;
    if (g->peer_count == GRANT_PEERS_MAX)
        make_room(g);
    CHECK(g->peer_count < GRANT_PEERS_MAX); /* the node table has fewer */
    p = mem_zalloc(sizeof *p);
    p->node = node;
    p->asked_us = INT64_MIN / 2;
    p->held.until_us = INT64_MIN;
    /* What an entry up to here has taken from it is not known. */
    p->taken = g->index;
    g->peers[g->peer_count++] = p;
    return p;
}

/* ---- effects ---- */

static struct grant_effect *add(struct grant_effects *out, enum grant_effect_kind kind,
                                uint16_t node)
{
    CHECK(out->count < GRANT_EFFECTS_MAX);
    struct grant_effect *e = &out->list[out->count++];
    *e = (struct grant_effect){ .kind = kind, .node = node };
    return e;
}

/* ---- as the master: asking --------------------------------------------------------------------
 */

static void ask(struct grant *g, struct peer *p, struct grant_effects *out)
{
    uint64_t number = ++p->last_number;
    p->asked[number % GRANT_ASKED_MAX] = (struct asked){ number, g->index, g->now_us };
    p->asked_us = g->now_us;
    p->asked_index = g->index;
    p->is_urgent = false;
    add(out, GRANT_DO_ASK, p->node)->ask =
        (struct grant_ask){ .inc = g->inc, .number = number, .index = g->index };
}

static bool may_ask(const struct grant *g, const struct peer *p)
{
    return g->is_up && p->is_needed && p->inc != 0;
}

/* At once when a queue waits that no answer to the last question can help. */
static int64_t ask_at(const struct grant *g, const struct peer *p)
{
    bool is_waited_for = p->asked_index < p->need_epoch && g->index >= p->need_epoch;
    return p->asked_us + (p->is_urgent || is_waited_for ? GRANT_ASK_LEAST_US : GRANT_ASK_US);
}

static void ask_if_due(struct grant *g, struct peer *p, struct grant_effects *out)
{
    if (p->is_needed && g->now_us - p->needed_us > GRANT_IDLE_US)
        p->is_needed = false;
    if (may_ask(g, p) && ask_at(g, p) <= g->now_us)
        ask(g, p, out);
}

static void ask_all(struct grant *g, struct grant_effects *out)
{
    for (size_t i = 0; i < g->peer_count; i++)
        ask_if_due(g, g->peers[i], out);
}

static void need(struct grant *g, struct peer *p, uint64_t epoch, struct grant_effects *out)
{
    p->is_needed = true;
    p->needed_us = g->now_us;
    if (p->need_epoch < epoch)
        p->need_epoch = epoch;
    ask_if_due(g, p, out);
}

/* It holds from when it was asked for: how long the answer was under way is not known. */
static void take_answer(struct grant *g, struct peer *p, const struct grant_answer *a,
                        struct grant_effects *out)
{
    const struct asked *q = &p->asked[a->number % GRANT_ASKED_MAX];
    bool is_ours = a->inc == g->inc || MUTATION(GRANT_WITHOUT_INC);
    if (!is_ours || a->number == 0 || q->number != a->number)
        return;
    p->was_refused = a->verdict != GRANT_GIVEN;
    if (p->was_refused)
        return;
    int64_t from_us = MUTATION(GRANT_FROM_ANSWER) ? g->now_us : q->at_us;
    uint64_t index = MUTATION(GRANT_WITHOUT_INDEX) ? g->index : q->index;
    if (from_us + GRANT_LENGTH_US <= p->held.until_us)
        return;
    p->held = (struct grant_held){ .index = index, .until_us = from_us + GRANT_LENGTH_US };
    struct grant_effect *e = add(out, GRANT_DO_HOLD, p->node);
    e->hold.index = p->held.index;
    e->hold.until_us = p->held.until_us;
}

struct grant_held grant_held(const struct grant *g, uint16_t node)
{
    const struct peer *p = find(g, node);
    return p != NULL ? p->held : (struct grant_held){ 0, INT64_MIN };
}

/* ---- as one that is asked: giving -------------------------------------------------------------
 */

static void forget_run_out(struct grant *g, struct peer *p)
{
    size_t kept = 0;
    for (size_t i = 0; i < p->given_count; i++)
        if (p->given[i].until_us > g->now_us)
            p->given[kept++] = p->given[i];
    p->given_count = kept;
}

/* The two eldest become one that says no less than both. */
static void merge_eldest(struct peer *p)
{
    struct given *a = &p->given[0], *b = &p->given[1];
    if (a->until_us < b->until_us)
        a->until_us = b->until_us;
    if (a->inc < b->inc)
        a->inc = b->inc;
    memmove(b, b + 1, (p->given_count - 2) * sizeof *b);
    p->given_count--;
}

static void note_given(struct grant *g, struct peer *p, uint32_t inc)
{
    int64_t until_us =
        g->now_us + (MUTATION(GRANT_CLOCKS_ARE_EVEN) ? GRANT_LENGTH_US : GRANT_WAIT_US);
    if (MUTATION(GRANT_WITHOUT_INC))
        inc = 0;
    struct given *last = p->given_count != 0 ? &p->given[p->given_count - 1] : NULL;
    if (last != NULL && last->before == g->index && last->inc == inc) {
        last->until_us = until_us;
        return;
    }
    forget_run_out(g, p);
    if (p->given_count == GRANT_GIVEN_MAX)
        merge_eldest(p);
    p->given[p->given_count++] = (struct given){ g->index, until_us, inc };
}

static enum grant_verdict judge(const struct grant *g, const struct peer *p,
                                const struct grant_ask *a)
{
    if (!g->is_up && !MUTATION(GRANT_BEFORE_UP))
        return GRANT_NOT_YET;
    if (a->inc != p->inc && !MUTATION(GRANT_WITHOUT_INC))
        return GRANT_STRANGER;
    if (a->index < p->taken && !MUTATION(GRANT_WITHOUT_INDEX) && !MUTATION(GRANT_TO_DEPOSED))
        return GRANT_DEPOSED;
    return GRANT_GIVEN;
}

static void answer(struct grant *g, struct peer *p, const struct grant_ask *a,
                   struct grant_effects *out)
{
    enum grant_verdict verdict = judge(g, p, a);
    if (verdict == GRANT_GIVEN)
        note_given(g, p, a->inc);
    add(out, GRANT_DO_ANSWER, p->node)->answer =
        (struct grant_answer){ .inc = a->inc, .number = a->number, .verdict = verdict };
}

/* Who is ahead waits: what took a queue from it may be in what is missing here. It is as if its
 * question were under way for as long. */
static void take_ask(struct grant *g, struct peer *p, const struct grant_ask *a,
                     struct grant_effects *out)
{
    if (a->index > g->index && !MUTATION(GRANT_TO_AHEAD) && !MUTATION(GRANT_WITHOUT_INDEX)) {
        p->has_put_off = true;
        p->put_off = *a;
        return;
    }
    answer(g, p, a, out);
}

static void answer_put_off(struct grant *g, struct grant_effects *out)
{
    for (size_t i = 0; i < g->peer_count; i++) {
        struct peer *p = g->peers[i];
        if (!p->has_put_off || p->put_off.index > g->index)
            continue;
        p->has_put_off = false;
        answer(g, p, &p->put_off, out);
    }
}

/* ---- what the log says ------------------------------------------------------------------------
 */

static void forget_old_moves(struct grant *g)
{
    size_t kept = 0;
    for (size_t i = 0; i < g->move_count; i++)
        if (g->moves[i].until_us > g->now_us)
            g->moves[kept++] = g->moves[i];
    g->move_count = kept;
}

static struct move *move_of(struct grant *g, uint16_t from, uint16_t to)
{
    for (size_t i = 0; i < g->move_count; i++)
        if (g->moves[i].from == from && g->moves[i].to == to)
            return &g->moves[i];
    forget_old_moves(g);
    return g->move_count < GRANT_MOVES_MAX ? &g->moves[g->move_count++] : NULL;
}

/* Too many at once: whoever begins waits for everybody. */
static void take_moved(struct grant *g, uint16_t from, uint16_t to, uint64_t index)
{
    struct peer *p = peer_of(g, from);
    if (p != NULL && p->taken < index)
        p->taken = index;
    if (from == 0 || to == 0)
        return;
    struct move *m = move_of(g, from, to);
    if (m != NULL)
        *m = (struct move){ from, to, index, g->now_us + GRANT_WAIT_US };
    else
        wait_until(g, g->now_us + GRANT_WAIT_US);
}

static void take_applied(struct grant *g, uint64_t index, bool is_up, struct grant_effects *out)
{
    CHECK(index >= g->index);
    g->index = index;
    g->is_up = g->is_up || is_up;
    answer_put_off(g, out);
    for (size_t i = 0; i < g->peer_count; i++) {
        struct peer *p = g->peers[i];
        p->is_urgent = p->is_urgent || p->was_refused;
        p->was_refused = false;
    }
    ask_all(g, out);
}

/* Entries that were never seen here may have taken a queue from anybody. */
static void take_jump(struct grant *g, uint64_t index)
{
    for (size_t i = 0; i < g->peer_count && !MUTATION(GRANT_JUMP_TAKES_NOTHING); i++)
        g->peers[i]->taken = index;
}

static void take_node(struct grant *g, uint16_t node, uint32_t inc)
{
    struct peer *p = inc != 0 ? peer_of(g, node) : find(g, node);
    if (p == NULL)
        return;
    p->inc = inc;
    if (inc == 0)
        p->is_needed = p->has_put_off = false;
}

static void take_gone(struct grant *g, struct peer *p, uint32_t inc, struct grant_effects *out)
{
    if (p->gone_inc < inc)
        p->gone_inc = inc;
    if (MUTATION(GRANT_GONE_CANCELS_ALL)) {
        p->gone_inc = UINT32_MAX;
        g->others_until_us = INT64_MIN;
    }
    add(out, GRANT_DO_LOOK, 0);
}

/* ---- when an epoch may begin ------------------------------------------------------------------
 */

static int64_t given_until(const struct peer *p, uint64_t before)
{
    int64_t until_us = INT64_MIN;
    for (size_t i = 0; i < p->given_count; i++) {
        const struct given *x = &p->given[i];
        if (x->before < before && x->inc > p->gone_inc && x->until_us > until_us)
            until_us = x->until_us;
    }
    return until_us;
}

/* Behind the others: this node itself, and whoever is not known. */
static size_t place_of(const struct grant *g, uint16_t node)
{
    size_t at = 0;
    if (node == g->node)
        return g->peer_count;
    while (at < g->peer_count && g->peers[at]->node != node)
        at++;
    return at < g->peer_count ? at : g->peer_count + 1;
}

/* Whoever lost queues to an earlier master may be one too. Of each, grants count that were given
 * before the entry that took the queue from it was applied: later ones are not for this queue. */
static void follow_moves(const struct grant *g, uint64_t bounds[])
{
    for (bool is_more = true; is_more;) {
        is_more = false;
        for (size_t i = 0; i < g->move_count; i++) {
            const struct move *m = &g->moves[i];
            size_t to = place_of(g, m->to), from = place_of(g, m->from);
            if (to > g->peer_count || from > g->peer_count || bounds[to] == 0)
                continue;
            uint64_t bound = m->index < bounds[to] ? m->index : bounds[to];
            if (bounds[from] >= bound)
                continue;
            bounds[from] = bound;
            is_more = true;
        }
    }
}

int64_t grant_begins_us(const struct grant *g, uint64_t epoch, const uint16_t *earlier,
                        size_t count)
{
    uint64_t bounds[GRANT_PEERS_MAX + 2] = { 0 };
    int64_t at_us = g->others_until_us;
    for (size_t i = 0; i < count; i++)
        bounds[place_of(g, earlier[i])] = epoch;
    if (!MUTATION(GRANT_LAST_MASTER_ALONE))
        follow_moves(g, bounds);
    for (size_t i = 0; i < g->peer_count; i++) {
        int64_t until_us = given_until(g->peers[i], bounds[i]);
        if (until_us > at_us)
            at_us = until_us;
    }
    return at_us;
}

/* ---- time -------------------------------------------------------------------------------------
 */

/* What has run out is forgotten, and who is forgotten by all. */
static void tidy(struct grant *g)
{
    forget_old_moves(g);
    for (size_t i = g->peer_count; i-- > 0;) {
        struct peer *p = g->peers[i];
        forget_run_out(g, p);
        if (p->inc == 0 && p->given_count == 0)
            drop_peer(g, i);
    }
}

int64_t grant_deadline_us(const struct grant *g)
{
    int64_t at_us = INT64_MAX;
    for (size_t i = 0; i < g->peer_count; i++)
        if (may_ask(g, g->peers[i]) && ask_at(g, g->peers[i]) < at_us)
            at_us = ask_at(g, g->peers[i]);
    return at_us;
}

static void step_with(struct grant *g, struct peer *p, const struct grant_event *ev,
                      struct grant_effects *out)
{
    switch (ev->kind) {
    case GRANT_EV_NEED:
        need(g, p, ev->need.epoch, out);
        return;
    case GRANT_EV_OPEN:
        p->is_urgent = true;
        ask_if_due(g, p, out);
        return;
    case GRANT_EV_BROKEN:
        if (MUTATION(GRANT_GONE_WHEN_BROKEN))
            take_gone(g, p, p->inc, out);
        return;
    case GRANT_EV_GONE:
        take_gone(g, p, ev->member.inc, out);
        return;
    case GRANT_EV_ASK:
        take_ask(g, p, &ev->ask, out);
        return;
    case GRANT_EV_ANSWER:
        take_answer(g, p, &ev->answer, out);
        return;
    case GRANT_EV_NONE:
    case GRANT_EV_TIME:
    case GRANT_EV_NODE:
    case GRANT_EV_MOVED:
    case GRANT_EV_APPLIED:
    case GRANT_EV_JUMPED:
        break;
    }
    UNREACHABLE("event of one peer");
}

void grant_step(struct grant *g, const struct grant_event *ev, struct grant_effects *out)
{
    CHECK(ev->now_us >= g->now_us);
    out->count = 0;
    g->now_us = ev->now_us;
    switch (ev->kind) {
    case GRANT_EV_TIME:
        tidy(g);
        ask_all(g, out);
        return;
    case GRANT_EV_NODE:
        take_node(g, ev->node, ev->member.inc);
        return;
    case GRANT_EV_MOVED:
        take_moved(g, ev->node, ev->moved.to, ev->moved.index);
        return;
    case GRANT_EV_JUMPED:
        take_jump(g, ev->applied.index);
        take_applied(g, ev->applied.index, ev->applied.is_up, out);
        return;
    case GRANT_EV_APPLIED:
        take_applied(g, ev->applied.index, ev->applied.is_up, out);
        return;
    case GRANT_EV_NEED:
    case GRANT_EV_OPEN:
    case GRANT_EV_BROKEN:
    case GRANT_EV_GONE:
    case GRANT_EV_ASK:
    case GRANT_EV_ANSWER: {
        struct peer *p = find(g, ev->node); /* else it is no member */
        if (p != NULL)
            step_with(g, p, ev, out);
        return;
    }
    case GRANT_EV_NONE:
        break;
    }
    UNREACHABLE("event of grants");
}
