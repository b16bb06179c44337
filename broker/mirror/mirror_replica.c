#include "mirror/mirror_replica.h"

#include "base/check.h"
#include "base/idmap.h"
#include "base/mem.h"
#include "base/mutation.h"

#include <sys/queue.h>

#define SMALL_BYTES 64u           /* about what a record is beside its payload */
#define TOLD_BYTES  (64u * 1024u) /* more is not received without a word */

struct mirror_source {
    struct mirror_replica *replica;
    void *owner;
    uint64_t number; /* each has another one */
    struct mirror_line line;
    uint64_t told_received;
    uint64_t told_durable;
    uint64_t untold_bytes; /* about so many came since */
    bool is_receipt_awaited;
    TAILQ_ENTRY(mirror_source) entry;
};

struct waiting_offer {
    struct mirror_copy *copy;
    uint64_t from;
};

struct mirror_replica {
    const struct mirror_replica_ops *ops;
    void *arg;
    uint16_t shards;
    uint64_t numbers;    /* of sources: the last */
    struct idmap copies; /* struct mirror_copy by qid */
    TAILQ_HEAD(, mirror_source) sources;
    struct idmap offers; /* struct waiting_offer by qid */
    struct mirror_run runs[MIRROR_RUNS_MAX];
};

struct mirror_replica *mirror_replica_new(const struct mirror_replica_ops *ops, void *arg,
                                          uint16_t shards)
{
    struct mirror_replica *r = mem_zalloc(sizeof *r);
    r->ops = ops;
    r->arg = arg;
    r->shards = shards;
    idmap_init(&r->copies);
    idmap_init(&r->offers);
    TAILQ_INIT(&r->sources);
    return r;
}

static void forget_offer(struct mirror_replica *r, uint64_t qid)
{
    mem_free(idmap_take(&r->offers, qid));
}

static void free_copy(struct mirror_copy *c)
{
    mirror_history_fini(&c->history);
    mem_free(c);
}

void mirror_replica_free(struct mirror_replica **replica)
{
    struct mirror_replica *r = *replica;
    struct mirror_source *s;
    struct mirror_copy *c;
    *replica = NULL;
    while ((s = TAILQ_FIRST(&r->sources)) != NULL)
        mirror_source_free(&s);
    while ((c = idmap_first(&r->copies)) != NULL) {
        idmap_take(&r->copies, c->qid);
        forget_offer(r, c->qid);
        free_copy(c);
    }
    idmap_fini(&r->copies);
    idmap_fini(&r->offers);
    mem_free(r);
}

/* ---- sources ------------------------------------------------------------------------------------
 */

struct mirror_source *mirror_source_new(struct mirror_replica *r, void *owner)
{
    struct mirror_source *s = mem_zalloc(sizeof *s);
    s->replica = r;
    s->owner = owner;
    s->number = ++r->numbers;
    TAILQ_INSERT_TAIL(&r->sources, s, entry);
    return s;
}

void *mirror_source_owner(const struct mirror_source *s)
{
    return s->owner;
}

static void leave(struct mirror_replica *r, struct mirror_copy *c)
{
    c->source = NULL;
    forget_offer(r, c->qid);
}

void mirror_source_free(struct mirror_source **source)
{
    struct mirror_source *s = *source;
    struct mirror_replica *r = s->replica;
    struct mirror_copy *c;
    size_t at = 0;
    *source = NULL;
    while ((c = idmap_next(&r->copies, &at)) != NULL)
        if (c->source == s)
            leave(r, c);
    TAILQ_REMOVE(&r->sources, s, entry);
    mirror_line_fini(&s->line);
    mem_free(s);
}

struct mirror_copy *mirror_replica_takes(const struct mirror_replica *r,
                                         const struct mirror_source *from, uint64_t qid)
{
    struct mirror_copy *c = idmap_get(&r->copies, qid);
    if (c == NULL)
        return NULL;
    return c->source == from || MUTATION(MIRROR_ANY_SOURCE) ? c : NULL;
}

static void refuse(struct mirror_replica *r, struct mirror_source *s, uint64_t qid, uint64_t epoch,
                   enum mirror_refusal why)
{
    struct mirror_record no = {
        .op = MIRROR_REFUSED, .kind = (uint8_t)why, .qid = qid, .epoch = epoch
    };
    if (!MUTATION(MIRROR_REFUSED_SILENTLY))
        r->ops->say(r->arg, s, &no);
}

/* It hears that before any acknowledgement of what it says from now on. */
static void refuse_source(struct mirror_replica *r, struct mirror_copy *c, enum mirror_refusal why)
{
    struct mirror_source *s = c->source;
    if (s == NULL)
        return;
    leave(r, c);
    refuse(r, s, c->qid, c->epoch, why);
}

/* ---- what is here -------------------------------------------------------------------------------
 */

static void offer(struct mirror_replica *r, struct mirror_copy *c, uint64_t from)
{
    struct mirror_record o = {
        .op = MIRROR_OFFER, .pos = c->join_pos, .qid = c->qid, .from = from, .runs = r->runs
    };
    if (r->ops->held(r->arg, c, from, r->runs, &o.run_count, &o.to)) {
        CHECK(o.run_count <= MIRROR_RUNS_MAX);
        r->ops->say(r->arg, c->source, &o);
        return;
    }
    forget_offer(r, c->qid);
    struct waiting_offer *w = mem_alloc(sizeof *w);
    *w = (struct waiting_offer){ c, from };
    idmap_put(&r->offers, c->qid, w);
}

void mirror_replica_loaded(struct mirror_replica *r, struct mirror_copy *c)
{
    struct waiting_offer *w = idmap_take(&r->offers, c->qid);
    if (w == NULL)
        return;
    uint64_t from = w->from;
    mem_free(w);
    offer(r, c, from);
}

static bool is_of_join(const struct mirror_source *s, const struct mirror_copy *c)
{
    return c != NULL && c->source == s;
}

/* ---- joining ------------------------------------------------------------------------------------
 */

/* True: in this epoch it may be followed. */
static bool may_join(struct mirror_source *s, const struct mirror_record *r,
                     const struct mirror_copy *c)
{
    struct mirror_replica *re = s->replica;
    if (c == NULL) {
        refuse(re, s, r->qid, 0, MIRROR_REFUSED_LATER);
        return false;
    }
    if (MUTATION(MIRROR_NO_FENCE))
        return true;
    uint64_t fence = mirror_history_epoch(&c->history);
    if (c->epoch > fence)
        fence = c->epoch;
    if (r->epoch == fence)
        return true;
    refuse(re, s, r->qid, fence, r->epoch < fence ? MIRROR_REFUSED_FENCED : MIRROR_REFUSED_LATER);
    return false;
}

/* What has to go is gone before the history says so. */
static enum mirror_taken follow(struct mirror_copy *c, struct mirror_source *s,
                                const struct mirror_record *j, uint64_t *lsn)
{
    struct mirror_replica *r = s->replica;
    struct mirror_history then = { 0 };
    struct mirror_starts next = { 0 }, cut;
    enum mirror_taken taken = MIRROR_TAKEN;
    r->ops->starts(r->arg, c, &next);
    mirror_history_copy(&then, &c->history);
    if (mirror_history_join(&then, j->history, &next, &cut))
        taken = r->ops->cut(r->arg, c, &cut, j->producers);
    mirror_starts_fini(&next);
    mirror_starts_fini(&cut);
    if (taken == MIRROR_TAKEN) {
        mirror_history_fini(&c->history);
        c->history = then;
        *lsn = r->ops->history(r->arg, c, j->starts);
    } else {
        mirror_history_fini(&then);
    }
    return taken;
}

static enum mirror_taken take_join(struct mirror_source *s, const struct mirror_record *j,
                                   uint64_t *lsn)
{
    struct mirror_replica *r = s->replica;
    struct mirror_copy *c = idmap_get(&r->copies, j->qid);
    if (mirror_history_epoch(j->history) != j->epoch)
        return MIRROR_TAKEN_BAD;
    if (!may_join(s, j, c)) {
        if (is_of_join(s, c))
            leave(r, c); /* what follows is no more of the JOIN before */
        return MIRROR_TAKEN;
    }
    if (c->source != s)
        refuse_source(r, c, MIRROR_REFUSED_FENCED);
    enum mirror_taken taken = follow(c, s, j, lsn);
    if (taken == MIRROR_TAKEN_NOT) {
        if (c->source == s)
            leave(s->replica, c);
        refuse(r, s, c->qid, c->epoch, MIRROR_REFUSED_LATER);
        return MIRROR_TAKEN;
    }
    if (taken != MIRROR_TAKEN)
        return taken;
    c->source = s;
    c->join_pos = j->pos;
    offer(r, c, 0);
    return MIRROR_TAKEN;
}

static void take_done(struct mirror_source *s, const struct mirror_record *d, uint64_t *lsn)
{
    struct mirror_replica *r = s->replica;
    struct mirror_copy *c = idmap_get(&r->copies, d->qid);
    if (!is_of_join(s, c))
        return;
    mirror_history_whole(&c->history, d->producers);
    *lsn = r->ops->history(r->arg, c, NULL);
}

static void take_leave(struct mirror_source *s, const struct mirror_record *l)
{
    struct mirror_copy *c = idmap_get(&s->replica->copies, l->qid);
    if (is_of_join(s, c))
        leave(s->replica, c);
}

static void take_need(struct mirror_source *s, const struct mirror_record *n)
{
    struct mirror_copy *c = idmap_get(&s->replica->copies, n->qid);
    if (is_of_join(s, c) && c->join_pos == n->pos)
        offer(s->replica, c, n->from);
}

/* Behind all that its master has said of it. */
static void take_handed(struct mirror_source *s, const struct mirror_record *r)
{
    struct mirror_replica *re = s->replica;
    struct mirror_copy *c = idmap_get(&re->copies, r->qid);
    if (c == NULL || re->ops->handed == NULL)
        return;
    bool is_followed = is_of_join(s, c) || MUTATION(HAND_ANY_SOURCE);
    if (is_followed && mirror_history_epoch(&c->history) == r->epoch)
        re->ops->handed(re->arg, c, r);
}

static void take_past(struct mirror_source *s, const struct mirror_record *r)
{
    struct mirror_replica *re = s->replica;
    const struct mirror_history *is;
    if (re->ops->past == NULL || !re->ops->past(re->arg, r->qid, r->epoch, &is)) {
        refuse(re, s, r->qid, r->epoch, MIRROR_REFUSED_LATER);
        return;
    }
    re->ops->say(re->arg, s,
                 &(struct mirror_record){ .op = MIRROR_PAST_IS,
                                          .qid = r->qid,
                                          .epoch = r->epoch,
                                          .history = is,
                                          .producers = &is->now });
}

static void take_awaited(struct mirror_source *s, const struct mirror_record *r)
{
    if ((r->flags & MIRROR_AWAITED_RECEIVED) != 0)
        s->is_receipt_awaited = true;
    if ((r->flags & MIRROR_AWAITED_DURABLE) != 0)
        s->replica->ops->hurry(s->replica->arg);
}

/* Those that have a position, which rises. */
static enum mirror_taken take_positioned(struct mirror_source *s, const struct mirror_record *r)
{
    struct mirror_replica *re = s->replica;
    enum mirror_taken taken = MIRROR_TAKEN;
    uint64_t lsn = 0;
    if (r->pos <= s->line.seen)
        return MIRROR_TAKEN_BAD;
    if (r->op == MIRROR_JOIN)
        taken = take_join(s, r, &lsn);
    else if (r->op == MIRROR_DATA)
        taken = re->ops->data(re->arg, s, r->pos, &r->data, &lsn);
    else if (r->op == MIRROR_DONE)
        take_done(s, r, &lsn);
    else
        take_leave(s, r);
    if (taken == MIRROR_TAKEN) {
        mirror_line_add(&s->line, r->pos, lsn);
        s->untold_bytes += r->data.payload.len + SMALL_BYTES;
    }
    return taken;
}

enum mirror_taken mirror_source_take(struct mirror_source *s, const struct mirror_record *r)
{
    struct mirror_replica *re = s->replica;
    switch (r->op) {
    case MIRROR_HELLO:
        re->ops->say(re->arg, s,
                     &(struct mirror_record){
                         .op = MIRROR_STATE, .kind = MIRROR_VERSION, .shards = re->shards });
        return r->kind == MIRROR_VERSION ? MIRROR_TAKEN : MIRROR_TAKEN_BAD;
    case MIRROR_NEED:
        take_need(s, r);
        return MIRROR_TAKEN;
    case MIRROR_AWAITED:
        take_awaited(s, r);
        return MIRROR_TAKEN;
    case MIRROR_HANDED:
        take_handed(s, r);
        return MIRROR_TAKEN;
    case MIRROR_PAST:
        take_past(s, r);
        return MIRROR_TAKEN;
    case MIRROR_JOIN:
    case MIRROR_DATA:
    case MIRROR_DONE:
    case MIRROR_LEAVE:
        return take_positioned(s, r);
    case MIRROR_STATE:
    case MIRROR_OFFER:
    case MIRROR_REFUSED:
    case MIRROR_ACK:
    case MIRROR_PAST_IS:
        return MIRROR_TAKEN_BAD;
    }
    UNREACHABLE("record of a source");
}

/* ---- copies -------------------------------------------------------------------------------------
 */

struct mirror_copy *mirror_replica_begin(struct mirror_replica *r, uint64_t qid, uint64_t epoch,
                                         struct mirror_history *history, void *owner)
{
    struct mirror_copy *c = mem_zalloc(sizeof *c);
    c->qid = qid;
    c->epoch = epoch;
    c->owner = owner;
    c->history = *history;
    *history = (struct mirror_history){ 0 };
    idmap_put(&r->copies, qid, c);
    return c;
}

void mirror_replica_fence(struct mirror_replica *r, struct mirror_copy *c, uint64_t epoch)
{
    if (epoch <= c->epoch)
        return;
    c->epoch = epoch;
    if (!MUTATION(MIRROR_NO_FENCE))
        refuse_source(r, c, MIRROR_REFUSED_FENCED);
}

void mirror_replica_end(struct mirror_replica *r, struct mirror_copy **copy,
                        struct mirror_history *history)
{
    struct mirror_copy *c = *copy;
    *copy = NULL;
    refuse_source(r, c, MIRROR_REFUSED_GONE);
    idmap_take(&r->copies, c->qid);
    forget_offer(r, c->qid);
    *history = c->history;
    c->history = (struct mirror_history){ 0 };
    free_copy(c);
}

/* ---- acknowledging ------------------------------------------------------------------------------
 */

uint64_t mirror_source_number(const struct mirror_source *s)
{
    return s->number;
}

void mirror_replica_written(struct mirror_replica *r, uint64_t source, uint64_t pos, uint64_t lsn)
{
    struct mirror_source *s;
    TAILQ_FOREACH (s, &r->sources, entry)
        if (s->number == source)
            mirror_line_set(&s->line, pos, lsn);
}

void mirror_replica_durable(struct mirror_replica *r, uint64_t lsn)
{
    struct mirror_source *s;
    TAILQ_FOREACH (s, &r->sources, entry)
        (void)mirror_line_durable(&s->line, lsn);
}

/* That something came is told with what is durable, which is soon; before that to who waits for no
 * more, and so that the master sees room on the stream. */
static bool is_worth_telling(const struct mirror_source *s, uint64_t received)
{
    if (mirror_line_reached(&s->line) > s->told_durable || MUTATION(MIRROR_ACKED_UNWRITTEN))
        return true;
    return received != s->told_received && (s->is_receipt_awaited || s->untold_bytes >= TOLD_BYTES);
}

void mirror_replica_flush(struct mirror_replica *r)
{
    struct mirror_source *s;
    TAILQ_FOREACH (s, &r->sources, entry) {
        uint64_t received = s->line.seen;
        uint64_t durable = MUTATION(MIRROR_ACKED_UNWRITTEN) ? received : mirror_line_mark(&s->line);
        if (!is_worth_telling(s, received))
            continue;
        s->told_received = received;
        s->told_durable = durable;
        s->untold_bytes = 0;
        s->is_receipt_awaited = false;
        r->ops->say(r->arg, s,
                    &(struct mirror_record){ .op = MIRROR_ACK, .from = received, .to = durable });
    }
}
