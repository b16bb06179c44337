#include "sim_log_inner.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "sim_content.h"
#include "store/seg_index.h"

#include <inttypes.h>

/* ---- queues and records -----------------------------------------------------------------------
 */

static struct sent *a_queue(struct sim_log *s)
{
    return &s->queues[sim_log_below(s, s->plan.queue_count)];
}

void sim_writer_new_queue(struct sim_log *s, struct sent *q)
{
    sim_epochs_fini(q);
    *q = (struct sent){ .qid = ++s->next_qid };
    sim_epochs_init(q);
    sim_oracle_add_queue(s->oracle, q->qid);
}

struct sent *sim_writer_queue_of(struct sim_log *s, uint64_t qid)
{
    for (unsigned i = 0; i < s->plan.queue_count; i++)
        if (s->queues[i].qid == qid)
            return &s->queues[i];
    return NULL;
}

void sim_writer_touched(struct sent *q, uint32_t seg)
{
    q->first_seg = q->first_seg == 0 || seg < q->first_seg ? seg : q->first_seg;
    q->last_seg = seg > q->last_seg ? seg : q->last_seg;
}

struct place sim_writer_append(struct sim_log *s, unsigned flags, const struct sim_msg *m,
                               const struct msg_target *targets, unsigned count, uint64_t *lsn)
{
    uint8_t head[RECORD_MSG_ROOM(TARGETS_MAX)], names[SIM_NAMES_BYTES], props[SIM_PROPS_MAX];
    uint8_t *body = mem_alloc(m->body_bytes + 1);
    size_t props_bytes = sim_props_bytes(m->content);
    sim_names(names, m->content);
    sim_props(props, m->content);
    sim_fill(body, m->body_bytes, m->content, 2);
    if (m->expires_ms != 0)
        flags |= MSG_EXPIRES;
    if (m->returns != 0)
        flags |= MSG_RETURNS;
    size_t head_bytes = record_put_msg_of(head, flags, m->producer.pid != 0 ? &m->producer : NULL,
                                          targets, count, sizeof names, props_bytes, m->body_bytes);
    struct slice parts[] = { { head, head_bytes },
                             { names, sizeof names },
                             { props, props_bytes },
                             { body, m->body_bytes } };
    enum journal_need need = sim_log_comes(s, 500) ? JOURNAL_SOON : JOURNAL_LAZY;
    struct place place = journal_append(s->journal, parts, ARRAY_COUNT(parts), need, lsn);
    mem_free(body);
    return place;
}

static void put_message(struct sim_log *s, bool is_transient)
{
    struct msg_target targets[TARGETS_MAX];
    unsigned first = (unsigned)sim_log_below(s, s->plan.queue_count);
    unsigned count = sim_log_comes(s, 700) ? 1 : 1 + (unsigned)sim_log_below(s, TARGETS_MAX);
    count = count < s->plan.queue_count ? count : s->plan.queue_count;
    uint64_t level = sim_log_below(s, s->plan.level_count);
    struct sim_msg m = { .content = ++s->next_content,
                         .body_bytes =
                             sim_log_comes(s, 100) ? 0 : sim_log_below(s, s->plan.body_max),
                         .settle_lsn = SIM_NEVER,
                         .returns_lsn = SIM_NEVER,
                         .is_transient = is_transient };
    if (sim_log_comes(s, 200))
        m.expires_ms = 1 + sim_log_below(s, UINT64_C(1) << 42);
    if (!is_transient && sim_log_comes(s, s->plan.numbered_per_mille))
        m.producer = (struct msg_producer){ 1 + sim_log_below(s, PIDS),
                                            ++s->next_seq - sim_log_below(s, 2) };
    for (unsigned i = 0; i < count; i++) {
        struct sent *q = &s->queues[(first + i) % s->plan.queue_count];
        m.is_again = m.is_again || (q->next[level] < q->top[level] && sim_epochs_has(q));
        m.may_be_marked = m.may_be_marked || sim_epochs_has(q);
        targets[i] = (struct msg_target){ .qid = q->qid,
                                          .qseq = q->next[level]++,
                                          .expires_ms = m.expires_ms };
    }
    unsigned flags = is_transient ? MSG_TRANSIENT : m.is_again ? MSG_AGAIN : 0;
    m.place = sim_writer_append(s, flags, &m, targets, count, &m.lsn);
    sim_log_say(s, "%s %" PRIu64 " of %" PRIu64 " octets to %" PRIu64 ".. (%u), %u/%u lsn %" PRIx64,
                is_transient ? "transient" : "publish", m.content, m.body_bytes, targets[0].qid,
                count, m.place.seg, m.place.offset, m.lsn);
    for (unsigned i = 0; i < count; i++) {
        m.qid = targets[i].qid;
        m.qseq = targets[i].qseq;
        struct sent *q = sim_writer_queue_of(s, m.qid);
        sim_epochs_top(q);
        sim_oracle_put(s->oracle, &m);
        if (m.place.seg != 0)
            sim_writer_touched(q, m.place.seg);
        if (m.producer.pid != 0)
            sim_epochs_saw(s, q, &m);
    }
    s->report->messages += count;
}

void sim_writer_note_ref(struct sim_log *s, uint32_t seg, uint64_t qid)
{
    if (seg == 0)
        return;
    for (size_t i = 0; i < s->ref_count; i++)
        if (s->refs[i].seg == seg && s->refs[i].qid == qid)
            return;
    CHECK(s->ref_count < REFS_MAX);
    s->refs[s->ref_count++] = (struct ref){ seg, qid };
}

static uint64_t append_settle(struct sim_log *s, unsigned flags, uint64_t qid,
                              const struct settle_range *ranges, unsigned count,
                              const uint64_t *marks, unsigned mark_count)
{
    uint8_t record[RECORD_SETTLE_ROOM(RANGES_MAX, LEVELS)];
    uint64_t lsn;
    struct slice part =
        slice_of(record, record_put_settle(record, flags, qid, ranges, count, marks, mark_count));
    struct place place = journal_append(s->journal, &part, 1, JOURNAL_LAZY, &lsn);
    sim_writer_note_ref(s, place.seg, qid);
    return lsn;
}

/* Several positions here and there, joined where they touch. */
static void settle_some(struct sim_log *s)
{
    struct settle_range ranges[RANGES_MAX];
    unsigned count = 0;
    struct sent *q = a_queue(s);
    unsigned share = sim_log_pick(s, (const unsigned[]){ 20, 300, 900 }, 3);
    const struct sim_msg *m;
    size_t start = 0;
    for (size_t i = start; (m = sim_oracle_at(s->oracle, q->qid, i)) != NULL; i++) {
        if (!sim_msg_is_alive(m) || !sim_log_comes(s, share))
            continue;
        if (count != 0 && ranges[count - 1].last + 1 == m->qseq)
            ranges[count - 1].last++;
        else if (count < RANGES_MAX)
            ranges[count++] = (struct settle_range){ m->qseq, m->qseq };
        else
            break;
    }
    if (count == 0)
        return;
    uint64_t lsn = append_settle(s, 0, q->qid, ranges, count, NULL, 0);
    sim_log_say(s,
                "settle %u ranges of %" PRIu64 ", first %" PRIx64 " to %" PRIx64 ", lsn %" PRIx64,
                count, q->qid, ranges[0].first, ranges[0].last, lsn);
    for (unsigned i = 0; i < count; i++)
        sim_oracle_settle(s->oracle, q->qid, ranges[i].first, ranges[i].last, lsn);
}

static void purge(struct sim_log *s)
{
    struct settle_range ranges[LEVELS];
    unsigned count = 0;
    struct sent *q = a_queue(s);
    for (unsigned i = 0; i < s->plan.level_count; i++)
        if (q->next[i] != LEVEL(i))
            ranges[count++] = (struct settle_range){ LEVEL(i), q->next[i] - 1 };
    if (count == 0)
        return;
    uint64_t lsn = append_settle(s, 0, q->qid, ranges, count, NULL, 0);
    sim_log_say(s, "purge %" PRIu64 ", lsn %" PRIx64, q->qid, lsn);
    for (unsigned i = 0; i < count; i++)
        sim_oracle_settle(s->oracle, q->qid, ranges[i].first, ranges[i].last, lsn);
}

static void mark(struct sim_log *s)
{
    struct sent *q = a_queue(s);
    unsigned level = (unsigned)sim_log_below(s, s->plan.level_count);
    bool is_ahead = sim_log_comes(s, 300);
    uint64_t *at = is_ahead ? &q->ahead[level] : &q->mark[level];
    uint64_t to =
        LEVEL(level) + sim_log_below(s, q->next[level] - LEVEL(level) + (is_ahead ? 50 : 1));
    if (to <= *at)
        return;
    *at = to;
    uint64_t lsn = append_settle(s, is_ahead ? SETTLE_AHEAD : 0, q->qid, NULL, 0, at, 1);
    sim_log_say(s, "%s of %" PRIu64 " at %" PRIx64 ", lsn %" PRIx64,
                is_ahead ? "mark ahead" : "mark", q->qid, *at, lsn);
    sim_oracle_mark(s->oracle, q->qid, *at, is_ahead, lsn);
    /* What comes after it is not below it, but for a copy. */
    if (is_ahead && q->next[level] < *at && !sim_epochs_has(q))
        q->next[level] = *at;
}

static uint64_t append_returns(struct sim_log *s, const struct sim_msg *m)
{
    uint8_t record[RECORD_RETURNS_ROOM(1)];
    uint64_t lsn;
    struct msg_return item = { m->qseq, m->returns };
    struct slice part = slice_of(record, record_put_returns(record, m->qid, &item, 1));
    struct place place = journal_append(s->journal, &part, 1, JOURNAL_LAZY, &lsn);
    sim_writer_note_ref(s, place.seg, m->qid);
    return lsn;
}

static void return_some(struct sim_log *s)
{
    struct sent *q = a_queue(s);
    struct sim_msg *m;
    for (size_t i = 0; (m = sim_oracle_at(s->oracle, q->qid, i)) != NULL; i++) {
        if (!sim_msg_is_alive(m) || m->is_transient || !sim_log_comes(s, 50))
            continue;
        m->returns++;
        uint64_t lsn = append_returns(s, m);
        sim_log_say(s, "returned %" PRIx64 " of %" PRIu64 " for the %u. time", m->qseq, q->qid,
                    m->returns);
        sim_oracle_returned(s->oracle, q->qid, m->qseq, m->returns, lsn);
    }
}

static void replace_queue(struct sim_log *s)
{
    struct sent *q = a_queue(s);
    sim_log_say(s, "delete queue %" PRIu64, q->qid);
    sim_oracle_drop_queue(s->oracle, q->qid);
    sim_writer_new_queue(s, q);
}

/* ---- segments ---------------------------------------------------------------------------------
 */

/* A BATCH says what was safe before it. */
static void pump(struct sim_log *s)
{
    bool more;
    do {
        uint64_t before = journal_durable(s->journal);
        more = journal_pump(s->journal, sim_disk_now_us(s->disk) / 1000);
        if (journal_durable(s->journal) != before && !s->plan.is_kill_only)
            s->told_lsn = before;
    } while (more && sim_log_comes(s, 700));
    sim_oracle_safe(s->oracle, journal_durable(s->journal));
}

static void prepare(struct sim_log *s)
{
    struct err err;
    if (!journal_wants_prepare(s->journal) || journal_prepare(s->journal, &err))
        return;
    sim_log_say(s, "prepare: %s", err.text);
    s->has_failed = s->has_failed || err.code != ERR_LIMIT;
}

static uint32_t a_sealed_segment(struct sim_log *s, bool is_indexed_too)
{
    uint32_t found[64];
    size_t count = 0;
    for (uint32_t seg = segs_next(s->segs, 0); seg != 0 && count < ARRAY_COUNT(found);
         seg = segs_next(s->segs, seg)) {
        enum seg_state state = segs_state(s->segs, seg);
        if (state == SEG_SEALED || (is_indexed_too && state == SEG_INDEXED))
            found[count++] = seg;
    }
    return count != 0 ? found[sim_log_below(s, count)] : 0;
}

static void make_index(struct sim_log *s)
{
    struct err err;
    uint32_t seg = a_sealed_segment(s, false);
    if (seg == 0)
        return;
    sim_log_say(s, "index of %u", seg);
    if (seg_index_build(s->disk != NULL ? sim_disk_of(s->disk) : NULL, seg, &err))
        segs_get(s->segs, seg)->state = SEG_INDEXED;
    else
        sim_log_say(s, "index of %u: %s", seg, err.text);
}

static void move_message(struct sim_log *s, struct sim_msg *m)
{
    struct msg_target target = { m->qid, m->qseq, m->expires_ms, m->returns };
    uint64_t lsn;
    unsigned flags = MSG_MOVED | (m->is_transient ? MSG_TRANSIENT : 0);
    if (m->is_again && !m->is_transient && !MUTATION(AGAIN_NOT_MOVED))
        flags |= MSG_AGAIN;
    struct place place = sim_writer_append(s, flags, m, &target, 1, &lsn);
    sim_log_say(s, "move %" PRIx64 " of %" PRIu64 " from %u to %u/%u", m->qseq, m->qid, s->leaving,
                place.seg, place.offset);
    if (place.seg == 0)
        return;
    sim_oracle_move(s->oracle, m, place, lsn);
    sim_writer_touched(sim_writer_queue_of(s, m->qid), place.seg);
    s->leaving_lsn = lsn;
}

static bool may_be_in_others(struct sim_log *s, const struct sent *q)
{
    for (uint32_t seg = segs_next(s->segs, 0); seg != 0; seg = segs_next(s->segs, seg))
        if (seg != s->leaving && seg >= q->first_seg && seg <= q->last_seg)
            return true;
    return false;
}

/* All positions of a priority that are not alive. */
static void carry_level(struct sim_log *s, struct sent *q, unsigned level)
{
    struct settle_range ranges[RANGES_MAX];
    unsigned count = 0;
    uint64_t from = LEVEL(level);
    const struct sim_msg *m;
    for (size_t i = 0; (m = sim_oracle_at(s->oracle, q->qid, i)) != NULL; i++) {
        if (m->qseq >> 56 != level || !sim_msg_is_alive(m))
            continue;
        if (m->qseq > from)
            ranges[count++] = (struct settle_range){ from, m->qseq - 1 };
        from = m->qseq + 1;
        if (count == RANGES_MAX) {
            s->leaving_lsn = append_settle(s, 0, q->qid, ranges, count, NULL, 0);
            count = 0;
        }
    }
    if (from < q->next[level])
        ranges[count++] = (struct settle_range){ from, q->next[level] - 1 };
    s->leaving_lsn =
        append_settle(s, 0, q->qid, ranges, count, &q->mark[level], q->mark[level] != 0 ? 1 : 0);
    if (q->ahead[level] != 0)
        s->leaving_lsn = append_settle(s, SETTLE_AHEAD, q->qid, NULL, 0, &q->ahead[level], 1);
}

static void carry_state(struct sim_log *s, struct sent *q)
{
    uint64_t lsn = sim_epochs_carry(s, q);
    s->leaving_lsn = lsn != 0 ? lsn : s->leaving_lsn;
    if (!may_be_in_others(s, q))
        return;
    sim_log_say(s, "carry the state of %" PRIu64 " out of %u", q->qid, s->leaving);
    for (unsigned i = 0; i < s->plan.level_count; i++)
        carry_level(s, q, i);
    const struct sim_msg *m;
    for (size_t i = 0; (m = sim_oracle_at(s->oracle, q->qid, i)) != NULL; i++)
        if (sim_msg_is_alive(m) && m->returns != 0)
            s->leaving_lsn = append_returns(s, m);
}

/* As the store does: what is alive, then what is known of queues, then wait, then recycle. */
static void leave(struct sim_log *s)
{
    uint32_t seg = s->leaving == 0 ? a_sealed_segment(s, true) : 0;
    if (seg == 0)
        return;
    s->leaving = seg;
    s->leaving_lsn = 0;
    sim_log_say(s, "leave %u", seg);
    segs_get(s->segs, seg)->state = SEG_LEAVING;
    for (unsigned i = 0; i < s->plan.queue_count; i++) {
        struct sim_msg *m;
        for (size_t k = 0; (m = sim_oracle_at(s->oracle, s->queues[i].qid, k)) != NULL; k++)
            if (sim_msg_is_alive(m) && m->place.seg == seg)
                move_message(s, m);
    }
    size_t kept = 0, count = s->ref_count;
    struct ref refs[REFS_MAX];
    memcpy(refs, s->refs, count * sizeof *refs);
    for (size_t i = 0; i < count; i++)
        if (s->refs[i].seg != seg)
            s->refs[kept++] = s->refs[i];
    s->ref_count = kept;
    for (size_t i = 0; i < count; i++)
        if (refs[i].seg == seg && sim_writer_queue_of(s, refs[i].qid) != NULL)
            carry_state(s, sim_writer_queue_of(s, refs[i].qid));
}

static void recycle(struct sim_log *s)
{
    struct err err;
    if (s->leaving == 0 || journal_durable(s->journal) < s->leaving_lsn)
        return;
    sim_log_say(s, "recycle %u", s->leaving);
    if (!journal_recycle(s->journal, s->leaving, &err)) {
        sim_log_say(s, "recycle: %s", err.text);
        s->has_failed = true;
    }
    s->leaving = 0;
    s->report->evacuated++;
}

/* ---- one step -------------------------------------------------------------------------------- */

void sim_writer_act(struct sim_log *s, enum act what)
{
    switch (what) {
    case ACT_PUBLISH:
        put_message(s, false);
        return;
    case ACT_SETTLE:
        settle_some(s);
        return;
    case ACT_MARK:
        mark(s);
        return;
    case ACT_RETURN:
        return_some(s);
        return;
    case ACT_PURGE:
        if (sim_log_comes(s, 100))
            purge(s);
        return;
    case ACT_NEW_QUEUE:
        if (sim_log_comes(s, 100))
            replace_queue(s);
        return;
    case ACT_TRANSIENT:
        put_message(s, true);
        return;
    case ACT_PUMP:
        pump(s);
        return;
    case ACT_PREPARE:
        prepare(s);
        return;
    case ACT_INDEX:
        make_index(s);
        return;
    case ACT_LEAVE:
        leave(s);
        return;
    case ACT_RECYCLE:
        recycle(s);
        return;
    case ACT_EPOCH:
        if (sim_log_comes(s, 200))
            sim_epochs_begin(s, a_queue(s));
        return;
    case ACT_AGAIN:
        sim_epochs_again(s, a_queue(s));
        return;
    case ACTS:
        break;
    }
    UNREACHABLE("act");
}
