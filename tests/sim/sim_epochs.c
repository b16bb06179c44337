/*
 * sim_epochs: queues that are mirrored, in a simulated journal: epochs, what they cut off, messages
 * that come again, and numbers of producers; and what a start may make of all that.
 *
 * What was safe is known after a start, and of the rest as much as a journal that ends somewhere
 * holds: so the history must be one of those that were, from the last safe one on.
 */
#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "sim_log_inner.h"

#include <inttypes.h>

#define BACK_MAX 12u /* positions that an epoch cuts off */

/* ---- what is known ------------------------------------------------------------------------------
 */

static void put_history(const struct mirror_history *h, uint8_t **bytes, size_t *len)
{
    *len = mirror_history_size(h, true);
    *bytes = mem_alloc(*len);
    struct wire_out w = wire_out_over(*bytes, *len);
    mirror_history_put(&w, h, true);
    CHECK(!w.overflow && wire_out_len(&w) == *len);
}

static void note(struct sent *q, uint64_t lsn, const uint64_t before[LEVELS])
{
    if (q->known_count == q->known_cap) {
        q->known_cap = q->known_cap != 0 ? 2 * q->known_cap : 8;
        q->known = mem_realloc(q->known, q->known_cap * sizeof *q->known);
    }
    struct known *k = &q->known[q->known_count++];
    *k = (struct known){ .lsn = lsn };
    memcpy(k->before, before, sizeof k->before);
    put_history(&q->history, &k->history, &k->len);
}

static void forget(struct sent *q)
{
    for (size_t i = 0; i < q->known_count; i++)
        mem_free(q->known[i].history);
    q->known_count = 0;
}

void sim_epochs_fini(struct sent *q)
{
    forget(q);
    mem_free(q->known);
    q->known = NULL;
    q->known_cap = 0;
    mirror_history_fini(&q->history);
}

void sim_epochs_init(struct sent *q)
{
    for (unsigned i = 0; i < LEVELS; i++)
        q->next[i] = q->top[i] = LEVEL(i);
    note(q, 0, q->next);
}

void sim_epochs_top(struct sent *q)
{
    for (unsigned i = 0; i < LEVELS; i++)
        if (q->next[i] > q->top[i])
            q->top[i] = q->next[i];
}

/* A start takes it for one behind the base, wherever it is. */
void sim_epochs_saw(struct sim_log *s, struct sent *q, const struct sim_msg *m)
{
    mirror_history_saw(&q->history, UINT64_MAX, m->producer.pid, m->producer.seq);
    sim_writer_note_ref(s, m->place.seg, q->qid);
    note(q, m->lsn, q->next);
}

/* ---- epochs -------------------------------------------------------------------------------------
 */

static uint64_t append_epoch(struct sim_log *s, struct sent *q, const uint64_t before[LEVELS])
{
    struct settle_range cuts[LEVELS];
    unsigned count = 0;
    uint8_t head[RECORD_EPOCH_ROOM(LEVELS)];
    uint8_t *history;
    size_t len;
    uint64_t lsn;
    for (unsigned i = 0; i < LEVELS; i++)
        if (q->next[i] < q->top[i])
            cuts[count++] = (struct settle_range){ q->next[i], q->top[i] - 1 };
    put_history(&q->history, &history, &len);
    struct slice parts[] = { slice_of(head, record_put_epoch(head, q->qid, cuts, count, len)),
                             slice_of(history, len) };
    struct place place = journal_append(s->journal, parts, ARRAY_COUNT(parts), JOURNAL_LAZY, &lsn);
    mem_free(history);
    sim_writer_note_ref(s, place.seg, q->qid);
    note(q, lsn, before);
    return lsn;
}

uint64_t sim_epochs_carry(struct sim_log *s, struct sent *q)
{
    if ((q->history.count == 0 && q->history.now.count == 0) || MUTATION(EPOCH_NOT_CARRIED))
        return 0;
    return append_epoch(s, q, q->next);
}

/* What was cut off, and what was published there. Returns whether there was anything. */
static bool cut_off(struct sim_log *s, struct sent *q)
{
    bool any = false;
    for (unsigned i = 0; i < s->plan.level_count; i++) {
        uint64_t most = q->next[i] - LEVEL(i) < BACK_MAX ? q->next[i] - LEVEL(i) : BACK_MAX;
        uint64_t back = sim_log_below(s, most + 1);
        q->next[i] -= back;
        any = any || back != 0;
    }
    struct producers left = { 0 };
    for (uint32_t i = 0; any && i < q->history.now.count; i++) {
        const struct producer *p = &q->history.now.items[i];
        producers_saw(&left, p->pid, p->seq - sim_log_below(s, (p->seq < 2 ? p->seq : 2) + 1));
    }
    if (any)
        producers_copy(&q->history.now, &left);
    producers_fini(&left);
    return any;
}

static void begin_epoch(struct sim_log *s, struct sent *q)
{
    struct mirror_starts starts = { 0 };
    for (unsigned i = 0; i < s->plan.level_count; i++)
        if (q->next[i] != LEVEL(i))
            mirror_starts_raise(&starts, q->next[i]);
    struct producers now = { 0 };
    producers_copy(&now, &q->history.now);
    mirror_history_whole(&q->history, &now);
    mirror_history_begin(&q->history, ++s->next_epoch, &starts);
    if (sim_log_comes(s, 300)) { /* as a copy that is not whole */
        q->history.is_partial = true;
        mirror_starts_copy(&q->history.base, &starts);
        producers_copy(&q->history.base_producers, &now);
    }
    producers_fini(&now);
    mirror_starts_fini(&starts);
}

void sim_epochs_begin(struct sim_log *s, struct sent *q)
{
    uint64_t before[LEVELS];
    sim_epochs_top(q);
    memcpy(before, q->next, sizeof before);
    bool is_cut = sim_log_comes(s, 500) && cut_off(s, q);
    begin_epoch(s, q);
    uint64_t lsn = append_epoch(s, q, before);
    sim_log_say(s, "epoch %" PRIu64 " of %" PRIu64 "%s, lsn %" PRIx64, s->next_epoch, q->qid,
                is_cut ? " cuts off" : "", lsn);
    for (unsigned i = 0; is_cut && i < LEVELS; i++)
        if (q->next[i] < before[i])
            sim_oracle_settle(s->oracle, q->qid, q->next[i], before[i] - 1, lsn);
}

/* ---- what comes again ---------------------------------------------------------------------------
 */

void sim_epochs_again(struct sim_log *s, struct sent *q)
{
    unsigned level = (unsigned)sim_log_below(s, s->plan.level_count);
    if (!sim_epochs_has(q) || q->next[level] == LEVEL(level))
        return;
    uint64_t qseq = LEVEL(level) + sim_log_below(s, q->next[level] - LEVEL(level));
    const struct sim_msg *there = sim_oracle_find(s->oracle, q->qid, qseq);
    if (there != NULL && sim_msg_is_alive(there))
        return;
    struct sim_msg m = { .qid = q->qid,
                         .qseq = qseq,
                         .content = ++s->next_content,
                         .body_bytes = sim_log_below(s, s->plan.body_max),
                         .settle_lsn = SIM_NEVER,
                         .returns_lsn = SIM_NEVER,
                         .is_again = true,
                         .may_be_marked = true };
    struct msg_target target = { .qid = q->qid, .qseq = qseq };
    m.place = sim_writer_append(s, MSG_AGAIN, &m, &target, 1, &m.lsn);
    sim_log_say(s, "again %" PRIx64 " of %" PRIu64 ", content %" PRIu64 ", %u/%u lsn %" PRIx64,
                qseq, q->qid, m.content, m.place.seg, m.place.offset, m.lsn);
    sim_oracle_put(s->oracle, &m);
    if (m.place.seg != 0)
        sim_writer_touched(q, m.place.seg);
    s->report->messages++;
}

/* ---- after a start ------------------------------------------------------------------------------
 */

/* The last that is safe, and with it all that follow. */
static size_t first_possible(const struct sent *q, uint64_t safe_lsn)
{
    size_t first = 0;
    for (size_t i = 0; i < q->known_count; i++)
        if (q->known[i].lsn <= safe_lsn)
            first = i;
    return first;
}

static bool is_possible(const struct sent *q, size_t first, const struct mirror_history *found)
{
    uint8_t *bytes;
    size_t len;
    bool is_found = false;
    put_history(found, &bytes, &len);
    for (size_t i = first; i < q->known_count; i++)
        is_found = is_found ||
                   slice_eq(slice_of(bytes, len), slice_of(q->known[i].history, q->known[i].len));
    mem_free(bytes);
    return is_found;
}

/* A copy is whole up to its next position: not above where it was. */
static void judge_next(struct sim_log *s, struct sent *q, size_t first,
                       const struct recovered_queue *found)
{
    for (size_t k = 0; k < found->level_count; k++) {
        const struct recovered_level *l = &found->levels[k];
        uint64_t most = q->next[l->priority];
        for (size_t i = first + 1; i < q->known_count; i++)
            if (q->known[i].before[l->priority] > most)
                most = q->known[i].before[l->priority];
        if (l->next_new > most)
            sim_oracle_fail(s->oracle,
                            "queue %" PRIu64 " is mirrored and goes on at %" PRIx64
                            ", though it had come to %" PRIx64,
                            q->qid, l->next_new, most);
    }
}

void sim_epochs_judge(struct sim_log *s, struct sent *q, const struct recovered_queue *found)
{
    struct mirror_history h = { 0 };
    size_t first = first_possible(q, s->safe_lsn);
    if (found != NULL)
        recovered_history_take(found, &h);
    if (!is_possible(q, first, &h) && !q->is_hurt)
        sim_oracle_fail(s->oracle,
                        "queue %" PRIu64 " has a history that it never had, or had before what is "
                        "safe: epoch %" PRIu64 ", %u producers",
                        q->qid, mirror_history_epoch(&h), h.now.count);
    if (found != NULL && h.count != 0)
        judge_next(s, q, first, found);
    mirror_history_fini(&q->history);
    q->history = h;
    forget(q);
    for (unsigned i = 0; i < LEVELS; i++)
        q->next[i] = q->top[i] = LEVEL(i);
    for (size_t k = 0; found != NULL && k < found->level_count; k++) {
        const struct recovered_level *l = &found->levels[k];
        q->next[l->priority] = q->top[l->priority] = l->next_new;
        if (l->settled_end > l->next_new && h.count != 0)
            q->top[l->priority] = l->settled_end;
    }
    note(q, 0, q->next);
}
