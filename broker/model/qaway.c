#include "model/qaway.h"

#include "base/check.h"
#include "base/mem.h"

/* What malloc adds to a block, about. */
#define BLOCK_BYTES 16u

/* To pass a chunk of which nothing is in memory costs as much as so many entries. */
#define PASS_COST 8u

/* Chunks that one look for what has no place may pass. */
#define LOOK_CHUNKS 1024u

/* A chunk becomes runs only if it makes no more than so many new ones. */
#define NEW_RUNS_MAX 1u

/* Bodies from here on have files of their own: nothing is won by a run, whose cost in the journal
 * would not be known. */
#define RUN_BODY_MAX ((uint64_t)MESSAGE_LARGE_BYTES)

/* ---- the head window --------------------------------------------------------------------------
 */

/* The position of the next ready one; next_new when there is none. */
static uint64_t head_of(const struct qindex *ix)
{
    uint64_t qseq;
    struct qentry *e;
    return qindex_head(ix, &qseq, &e) == QHEAD_EMPTY ? ix->next_new : qseq;
}

/* A purge took requeued ones away, all before next_fresh, whose entries are still there and will be
 * freed. Nothing that is away is before next_fresh then but these. */
static bool has_ghosts(const struct qindex *ix)
{
    return ix->graves != NULL;
}

/* The first position behind the window. Those that are out count too: they are in memory, and to
 * pass them by is not worth the time. */
static uint64_t window_end(const struct qindex *ix, uint64_t keep_count, uint64_t keep_bytes)
{
    uint64_t head = has_ghosts(ix) ? ix->next_fresh : head_of(ix);
    uint64_t bytes = 0;
    uint64_t kept = 0;
    size_t i = qchunks_lower(&ix->chunks, head / QCHUNK_ENTRIES);
    for (; i < ix->chunks.count; i++) {
        const struct qslot *slot = qchunks_at(&ix->chunks, i);
        uint64_t first = slot->number * QCHUNK_ENTRIES;
        for (size_t at = head > first ? (size_t)(head - first) : 0; at < QCHUNK_ENTRIES; at++) {
            const struct qentry *e = &slot->chunk->entries[at];
            if (e->state == QENTRY_NONE)
                continue;
            if (kept != 0 && (kept >= keep_count || bytes >= keep_bytes))
                return first + at;
            kept++;
            bytes += qentry_body_bytes(e);
        }
    }
    return ix->next_new;
}

/* Where the last look ended, unless the window has come near: then behind it. */
static uint64_t go_on_from(const struct qindex *ix, uint64_t from, uint64_t keep_count,
                           uint64_t keep_bytes)
{
    uint64_t head = head_of(ix);
    if (from <= head || from - head < keep_count)
        from = window_end(ix, keep_count, keep_bytes);
    return has_ghosts(ix) && from < ix->next_fresh ? ix->next_fresh : from;
}

/* ---- paging out -------------------------------------------------------------------------------
 */

static bool may_leave(const struct qentry *e, const struct qpaging *p)
{
    return e->state == QENTRY_READY && !e->absent && e->seg != 0 &&
           place_lsn(qentry_place(e)) < p->durable_lsn &&
           (e->message->body_bytes < MESSAGE_LARGE_BYTES || p->has_file == NULL ||
            p->has_file(qentry_place(e), p->arg));
}

static void leave(struct qindex *ix, struct qchunk *c, struct qentry *e, struct qpaging *p,
                  void (*release)(struct message *m, void *arg), void *arg)
{
    struct message *m = e->message;
    if (message_is_sole(m))
        p->freed_bytes += message_cost_bytes(m) + BLOCK_BYTES;
    p->count++;
    e->body_bytes = m->body_bytes;
    e->absent = true;
    c->absent++;
    qcount_add(&ix->counts->away, e);
    release(m, arg);
}

/* The stretch of entries from `at` on that would be one run. */
static struct qrun stretch(const struct qslot *slot, size_t at)
{
    const struct qentry *e = &slot->chunk->entries[at];
    uint64_t first = slot->number * QCHUNK_ENTRIES + at;
    struct qrun run = {
        .first = first, .last = first - 1, .seg = e->seg, .redelivered = e->redelivered
    };
    for (; at < QCHUNK_ENTRIES; at++) {
        e = &slot->chunk->entries[at];
        if (e->seg != run.seg || e->redelivered != run.redelivered)
            break;
        run.last++;
        run.count++;
        run.body_bytes += e->body_bytes;
        run.persistent_count += e->persistent;
        run.persistent_bytes += e->persistent ? e->body_bytes : 0;
        if (slot->chunk->expires_ms != NULL && slot->chunk->expires_ms[at] != 0)
            run.has_expiring = true;
    }
    return run;
}

static bool has_returns(const struct qchunk *c)
{
    for (size_t at = 0; c->returns != NULL && at < QCHUNK_ENTRIES; at++) {
        if (c->returns[at] != 0)
            return true;
    }
    return false;
}

/* All its messages are away, nothing is missing, and their segments have indexes. */
static bool may_be_runs(const struct qindex *ix, const struct qslot *slot, const struct qpaging *p)
{
    const struct qchunk *c = slot->chunk;
    if (p->is_indexed == NULL || c->absent != QCHUNK_ENTRIES || has_returns(c) ||
        slot->number * QCHUNK_ENTRIES < ix->next_fresh || !p->is_indexed(c->entries[0].seg, p->arg))
        return false;
    size_t new_runs = 0;
    for (size_t at = 0; at < QCHUNK_ENTRIES;) {
        struct qrun run = stretch(slot, at);
        if (!p->is_indexed(run.seg, p->arg))
            return false;
        /* The second one joins the one before only if it is there: it is not yet. */
        new_runs += !qruns_joins(&ix->away->runs, &run);
        at += run.count;
    }
    if (new_runs > NEW_RUNS_MAX)
        return false;
    for (size_t at = 0; at < QCHUNK_ENTRIES; at++) {
        if (c->entries[at].body_bytes >= RUN_BODY_MAX)
            return false;
    }
    return true;
}

static void becomes_runs(struct qindex *ix, const struct qslot *slot, struct qpaging *p)
{
    for (size_t at = 0; at < QCHUNK_ENTRIES;) {
        struct qrun run = stretch(slot, at);
        qruns_add(&ix->away->runs, &run);
        at += run.count;
    }
    ix->live -= QCHUNK_ENTRIES;
    p->freed_bytes += sizeof *slot->chunk + BLOCK_BYTES;
    qchunk_free(slot->chunk);
}

void qindex_page_out(struct qindex *ix, struct qpaging *p,
                     void (*release)(struct message *m, void *arg), void *arg)
{
    p->is_done = true;
    if (ix->ready == 0)
        return;
    struct qaway *away = qindex_away(ix);
    uint64_t from = go_on_from(ix, away->page_from, p->keep_count, p->keep_bytes);
    size_t index = qchunks_lower(&ix->chunks, from / QCHUNK_ENTRIES);
    size_t to = index; /* chunks that stay move together; those between `to` and `index` went */
    for (; index < ix->chunks.count && p->budget != 0; index++) {
        const struct qslot slot = *qchunks_at(&ix->chunks, index);
        uint64_t first = slot.number * QCHUNK_ENTRIES;
        size_t cost = slot.chunk->absent != slot.chunk->live ? QCHUNK_ENTRIES : PASS_COST;
        p->budget -= p->budget < cost ? p->budget : cost;
        for (size_t at = from > first ? (size_t)(from - first) : 0;
             slot.chunk->absent != slot.chunk->live && at < QCHUNK_ENTRIES; at++) {
            struct qentry *e = &slot.chunk->entries[at];
            if (!may_leave(e, p))
                continue;
            leave(ix, slot.chunk, e, p, release, arg);
            if (first + at < away->first)
                away->first = first + at;
        }
        if (first >= from && may_be_runs(ix, &slot, p))
            becomes_runs(ix, &slot, p);
        else
            *qchunks_at(&ix->chunks, to++) = slot;
    }
    p->is_done = index >= ix->chunks.count;
    away->page_from = p->is_done ? 0 : qchunks_at(&ix->chunks, index)->number * QCHUNK_ENTRIES;
    qchunks_close(&ix->chunks, to, index - to);
}

size_t qindex_unplaced(struct qindex *ix, uint64_t keep_count, struct queue_item *out, size_t max,
                       bool *is_done)
{
    size_t found = 0;
    *is_done = true;
    if (ix->ready == 0)
        return 0;
    struct qaway *away = qindex_away(ix);
    uint64_t from = go_on_from(ix, away->spill_from, keep_count, UINT64_MAX);
    size_t index = qchunks_lower(&ix->chunks, from / QCHUNK_ENTRIES);
    for (size_t n = 0; index < ix->chunks.count; index++, n++) {
        const struct qslot *slot = qchunks_at(&ix->chunks, index);
        uint64_t first = slot->number * QCHUNK_ENTRIES;
        for (size_t at = from > first ? (size_t)(from - first) : 0; at < QCHUNK_ENTRIES; at++) {
            const struct qentry *e = &slot->chunk->entries[at];
            if (e->state != QENTRY_READY || e->absent || e->seg != 0)
                continue;
            if (found == max || n >= LOOK_CHUNKS) {
                away->spill_from = first + at;
                *is_done = false;
                return found;
            }
            out[found++] = (struct queue_item){
                .qseq = ix->base + first + at,
                .message = e->message,
                .expires_ms = slot->chunk->expires_ms != NULL ? slot->chunk->expires_ms[at] : 0,
                .returns = slot->chunk->returns != NULL ? slot->chunk->returns[at] : 0,
                .persistent = e->persistent,
                .redelivered = e->redelivered
            };
        }
        if (n >= LOOK_CHUNKS) {
            away->spill_from = first + QCHUNK_ENTRIES;
            *is_done = false;
            return found;
        }
    }
    away->spill_from = 0;
    return found;
}

/* ---- what is wanted ---------------------------------------------------------------------------
 */

/* The next absent entry from `from` on that is ready and before `end`; NULL: none. */
static struct qentry *next_absent(const struct qindex *ix, uint64_t from, uint64_t end,
                                  uint64_t *qseq)
{
    size_t i = qchunks_lower(&ix->chunks, from / QCHUNK_ENTRIES);
    for (; i < ix->chunks.count; i++) {
        const struct qslot *slot = qchunks_at(&ix->chunks, i);
        uint64_t first = slot->number * QCHUNK_ENTRIES;
        if (first >= end)
            return NULL;
        for (size_t at = from > first ? (size_t)(from - first) : 0;
             slot->chunk->absent != 0 && at < QCHUNK_ENTRIES; at++) {
            if (!slot->chunk->entries[at].absent)
                continue;
            *qseq = first + at;
            return *qseq < end ? &slot->chunk->entries[at] : NULL;
        }
    }
    return NULL;
}

/* As many positions of a run as have about so many messages and octets. */
static uint64_t piece_last(const struct qrun *run, uint64_t from, const struct qwindow *w)
{
    uint64_t average = run->body_bytes / run->count + 1;
    uint64_t n = w->max_bytes / average;
    if (n > w->max_count)
        n = w->max_count;
    if (n == 0)
        n = 1;
    uint64_t span = run->last - run->first + 1;
    uint64_t positions = span / run->count * n;
    uint64_t rest = run->last - from;
    return positions - 1 < rest ? from + positions - 1 : run->last;
}

bool qindex_wants(struct qindex *ix, const struct qwindow *w, uint64_t after, struct qwant *out)
{
    struct qaway *away = ix->away;
    if (away == NULL || away->first == UINT64_MAX || ix->ready == 0)
        return false;
    uint64_t head = head_of(ix);
    if (away->first < head)
        away->first = head;
    uint64_t end = head + (w->count != 0 ? w->count : 1);
    uint64_t from = after != 0 && after >= away->first ? after + 1 : away->first;
    size_t r = qruns_lower(&away->runs, from);
    uint64_t run_at = UINT64_MAX;
    if (r < away->runs.count)
        run_at = qruns_at(&away->runs, r)->first > from ? qruns_at(&away->runs, r)->first : from;
    *out = (struct qwant){ .run_seg = 0 };
    uint64_t bytes = 0;
    uint64_t limit = run_at < end ? run_at : end;
    uint64_t qseq;
    const struct qentry *e;
    for (uint64_t at = from; (e = next_absent(ix, at, limit, &qseq)) != NULL; at = qseq + 1) {
        if (out->count == QWANT_MAX || out->count == w->max_count ||
            (out->count != 0 && bytes + e->body_bytes > w->max_bytes))
            break;
        if (out->count == 0)
            out->first = ix->base + qseq;
        out->last = ix->base + qseq;
        out->items[out->count++] = (struct qwant_item){ .qseq = ix->base + qseq,
                                                        .place = qentry_place(e),
                                                        .body_bytes = e->body_bytes };
        bytes += e->body_bytes;
    }
    if (out->count != 0) {
        if (from == away->first)
            away->first = out->items[0].qseq - ix->base;
        return true;
    }
    if (from == away->first)
        away->first = limit;
    if (run_at >= end)
        return false;
    const struct qrun *run = qruns_at(&away->runs, r);
    out->run_seg = run->seg;
    out->first = ix->base + run_at;
    out->last = ix->base + piece_last(run, run_at, w);
    return true;
}

/* ---- what was read ----------------------------------------------------------------------------
 */

static void lose_entry(struct qindex *ix, uint64_t qseq, const struct qsink *to)
{
    const struct qentry was = *qindex_entry(ix, qseq);
    qcount_subtract(&ix->counts->ready, &was);
    qcount_subtract(&ix->counts->away, &was);
    ix->ready--;
    if (qseq < ix->next_fresh)
        qindex_forget_returned(ix, qseq);
    qindex_drop(ix, qseq);
    to->range(ix->base + qseq, ix->base + qseq, to->arg);
    to->entry(&was, to->arg);
}

bool qindex_loaded(struct qindex *ix, struct queue_item *it, const struct qsink *to)
{
    uint64_t qseq = it->qseq - ix->base;
    struct qentry *e = qindex_entry(ix, qseq);
    if (e == NULL || !e->absent || !place_eq(qentry_place(e), it->place) ||
        (has_ghosts(ix) && qseq < ix->next_fresh))
        return false;
    if (it->message == NULL) {
        if (it->is_lost)
            lose_entry(ix, qseq, to);
        return false;
    }
    qcount_subtract(&ix->counts->away, e);
    qcount_subtract(&ix->counts->ready, e);
    e->message = it->message;
    e->absent = false;
    it->message = NULL;
    qcount_add(&ix->counts->ready, e);
    qchunks_find(&ix->chunks, qseq / QCHUNK_ENTRIES)->absent--;
    return true;
}

/* The chunks that these positions, which are in no chunk yet, fall into are there. */
static void make_chunks(struct qindex *ix, const struct queue_item *items, size_t count)
{
    struct qchunks *r = &ix->chunks;
    uint64_t first = (items[0].qseq - ix->base) / QCHUNK_ENTRIES;
    uint64_t last = (items[count - 1].qseq - ix->base) / QCHUNK_ENTRIES;
    if (qchunks_find(r, first) == NULL)
        qchunks_add(r, first);
    if (qchunks_find(r, last) == NULL)
        qchunks_add(r, last);
    size_t missing = 0;
    uint64_t at = first;
    for (size_t i = 0; i < count; i++) {
        uint64_t number = (items[i].qseq - ix->base) / QCHUNK_ENTRIES;
        missing += number != at && number != last;
        at = number;
    }
    size_t index = qchunks_lower(r, last);
    qchunks_open(r, index, missing);
    at = first;
    for (size_t i = 0; i < count; i++) {
        uint64_t number = (items[i].qseq - ix->base) / QCHUNK_ENTRIES;
        if (number != at && number != last)
            *qchunks_at(r, index++) = (struct qslot){ .number = number, .chunk = qchunk_new() };
        at = number;
    }
}

static void come_back(struct qindex *ix, struct queue_item *it, const struct qrun *run)
{
    uint64_t qseq = it->qseq - ix->base;
    struct qchunk *c = qchunks_find(&ix->chunks, qseq / QCHUNK_ENTRIES);
    size_t at = qseq % QCHUNK_ENTRIES;
    struct qentry *e = &c->entries[at];
    CHECK(e->state == QENTRY_NONE);
    *e = (struct qentry){ .state = QENTRY_READY, .redelivered = run->redelivered };
    qentry_set_place(e, it->place);
    if (it->message != NULL) {
        e->message = it->message;
        e->persistent = it->message->persistent;
        it->message = NULL;
    } else {
        e->body_bytes = it->body_bytes;
        e->absent = true;
        e->persistent = it->persistent;
        c->absent++;
        qcount_add(&ix->counts->away, e);
    }
    qcount_add(&ix->counts->ready, e);
    qchunk_set_expires(c, at, it->expires_ms);
    c->live++;
    ix->live++;
    ix->ready++;
}

/* It has left the runs. */
static void uncount(struct qindex *ix, const struct qrun *part)
{
    qcount_subtract_run(&ix->counts->ready, part);
    qcount_subtract_run(&ix->counts->away, part);
    ix->ready -= part->count;
}

static int64_t differ(uint64_t a, uint64_t b)
{
    return (int64_t)(a - b);
}

static uint64_t lower_by(uint64_t from, int64_t n)
{
    return n > 0 && from < (uint64_t)n ? 0 : from - (uint64_t)n;
}

/* What a part turned out to be, against its share: the rest of its run is what is left of the sum,
 * so that errors do not add up. */
static void correct_rest(struct qindex *ix, const struct qrun *part, const struct qrun *found)
{
    struct qrun *rest = qruns_rest_of(&ix->away->runs, part);
    if (rest == NULL)
        return;
    qcount_subtract_run(&ix->counts->ready, rest);
    qcount_subtract_run(&ix->counts->away, rest);
    rest->body_bytes = lower_by(rest->body_bytes, differ(found->body_bytes, part->body_bytes));
    rest->persistent_bytes =
        lower_by(rest->persistent_bytes, differ(found->persistent_bytes, part->persistent_bytes));
    uint64_t persistent =
        lower_by(rest->persistent_count, differ(found->persistent_count, part->persistent_count));
    rest->persistent_count = persistent < rest->count ? (uint32_t)persistent : rest->count;
    qcount_add_run(&ix->counts->ready, rest);
    qcount_add_run(&ix->counts->away, rest);
}

/* Positions of a dense part that nothing was found for. */
static void tell_missing(const struct qindex *ix, uint64_t first, uint64_t end,
                         const struct qsink *to)
{
    if (first < end)
        to->range(ix->base + first, ix->base + end - 1, to->arg);
}

static void sum_up(struct qrun *sum, const struct queue_item *it)
{
    uint64_t bytes = it->message != NULL ? it->message->body_bytes : it->body_bytes;
    bool persistent = it->message != NULL ? it->message->persistent : it->persistent;
    sum->count++;
    sum->body_bytes += bytes;
    sum->persistent_count += persistent;
    sum->persistent_bytes += persistent ? bytes : 0;
}

static uint64_t rest_of(uint64_t part, uint64_t known)
{
    return part > known ? part - known : 0;
}

/* What a part has beyond what is known of it. */
static void add_rest(struct qrun *sum, const struct qrun *part, const struct qrun *known)
{
    sum->count += part->count - known->count;
    sum->body_bytes += rest_of(part->body_bytes, known->body_bytes);
    sum->persistent_count += (uint32_t)rest_of(part->persistent_count, known->persistent_count);
    sum->persistent_bytes += rest_of(part->persistent_bytes, known->persistent_bytes);
}

/* These items were listed in this part of a run, which has left the runs. What the list does not
 * have of it is lost too. */
static void replace_part(struct qindex *ix, const struct qrun *part, struct queue_item *items,
                         size_t count, const struct qsink *to)
{
    struct qrun known = { .seg = part->seg, .first = part->first, .last = part->last };
    struct qrun lost = known;
    bool is_dense = qrun_is_dense(part);
    uint64_t next = part->first;
    if (count != 0)
        make_chunks(ix, items, count);
    for (size_t i = 0; i < count; i++) {
        struct queue_item *it = &items[i];
        sum_up(&known, it);
        if (it->is_lost) {
            sum_up(&lost, it);
            continue;
        }
        if (is_dense)
            tell_missing(ix, next, it->qseq - ix->base, to);
        next = it->qseq - ix->base + 1;
        come_back(ix, it, part);
    }
    if (is_dense)
        tell_missing(ix, next, part->last + 1, to);
    if (known.count < part->count)
        add_rest(&lost, part, &known);
    else
        correct_rest(ix, part, &known);
    if (lost.count != 0)
        to->run(&lost, to->arg);
}

/* Chunks that were made for items that were lost have nothing. */
static void drop_void_chunks(struct qindex *ix, uint64_t first, uint64_t last)
{
    uint64_t filling = ix->next_new / QCHUNK_ENTRIES;
    size_t i = qchunks_lower(&ix->chunks, first / QCHUNK_ENTRIES);
    while (i < ix->chunks.count && qchunks_at(&ix->chunks, i)->number <= last / QCHUNK_ENTRIES) {
        const struct qslot *slot = qchunks_at(&ix->chunks, i);
        if (slot->chunk->live == 0 && (slot->number != filling || ix->live == 0))
            qchunks_drop(&ix->chunks, slot->number);
        else
            i++;
    }
}

/* How many of these, in order, are at or before this position. */
static size_t count_to(const struct qindex *ix, const struct queue_item *items, size_t count,
                       uint64_t last)
{
    size_t n = 0;
    while (n < count && items[n].qseq - ix->base <= last)
        n++;
    return n;
}

void qindex_loaded_run(struct qindex *ix, uint32_t seg, uint64_t first, uint64_t last,
                       struct queue_item *items, size_t count, const struct qsink *to)
{
    if (ix->away == NULL || last < ix->base)
        return;
    first = first > ix->base ? first - ix->base : 0;
    last -= ix->base;
    struct qruns *runs = &ix->away->runs;
    for (size_t i = qruns_lower(runs, first); i < runs->count; i = qruns_lower(runs, first)) {
        const struct qrun *run = qruns_at(runs, i);
        if (run->first > last)
            break;
        uint64_t from = run->first > first ? run->first : first;
        uint64_t end = run->last < last ? run->last : last;
        first = end + 1;
        if (run->seg != seg || (from != run->first && !qrun_is_dense(run)))
            continue;
        size_t skipped = from != 0 ? count_to(ix, items, count, from - 1) : 0;
        items += skipped;
        count -= skipped;
        size_t inside = count_to(ix, items, count, end);
        struct qrun part = qruns_cut(runs, i, from, end, (uint32_t)inside);
        uncount(ix, &part);
        replace_part(ix, &part, items, inside, to);
        drop_void_chunks(ix, from, end);
        if (from < ix->away->first)
            ix->away->first = from;
        items += inside;
        count -= inside;
    }
}

void qindex_lost(struct qindex *ix, uint64_t first, uint64_t last, const struct qsink *to)
{
    if (ix->away == NULL || last < ix->base)
        return;
    first = first > ix->base ? first - ix->base : 0;
    last -= ix->base;
    if (has_ghosts(ix) && first < ix->next_fresh)
        first = ix->next_fresh;
    uint64_t qseq;
    for (uint64_t at = first; next_absent(ix, at, last + 1, &qseq) != NULL; at = qseq + 1)
        lose_entry(ix, qseq, to);
    struct qruns *runs = &ix->away->runs;
    for (size_t i; (i = qruns_lower(runs, first)) < runs->count;) {
        const struct qrun *run = qruns_at(runs, i);
        if (run->first > last)
            break;
        uint64_t from = run->first > first ? run->first : first;
        uint64_t end = run->last < last ? run->last : last;
        first = end + 1;
        if (!qrun_is_dense(run) && (from != run->first || end != run->last))
            continue;
        struct qrun part = qruns_cut(runs, i, from, end, 0);
        uncount(ix, &part);
        to->range(ix->base + from, ix->base + end, to->arg);
        to->run(&part, to->arg);
    }
}
