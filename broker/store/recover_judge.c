/*
 * recover_judge: what of a segment was safe and is lost, and what was never safe.
 */
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "store/journal.h"
#include "store/recover_inner.h"
#include "store/seg_file.h"

#include <stdio.h>

#define REWRITE_BYTES ((uint32_t)1 << 20)

static uint64_t lsn_of(const struct found_seg *s, uint32_t offset)
{
    return place_lsn((struct place){ s->seg, offset });
}

void recover_add_lost(struct found_seg *s, uint32_t from, uint32_t to)
{
    s->lost = mem_realloc(s->lost, (s->lost_count + 1) * sizeof *s->lost);
    s->lost[s->lost_count++] = (struct octets){ from, to };
}

/* ---- index files --------------------------------------------------------------------------------
 */

bool recover_write_index(struct recovery *r, struct found_seg *s, struct err *err)
{
    char name[JOURNAL_NAME_MAX];
    size_t len;
    for (size_t i = 0; i < s->lost_count; i++)
        index_make_lost(&s->make, s->lost[i].from, s->lost[i].to);
    s->lost_count = 0; /* they come back with what the index says */
    uint8_t *bytes = index_make_take(&s->make, &len);
    index_make_fini(&s->make);
    s->is_made = false;
    journal_idx_name(s->seg, name);
    if (!r->setup->look_only) {
        s->is_indexed = seg_file_write(r->disk, name, slice_of(bytes, len), err);
        /* Without one it is only slower, and takes memory. A disk that cannot be written for other
         * reasons is nothing to start on. */
        if (!s->is_indexed && err->code != ERR_LIMIT) {
            mem_free(bytes);
            return false;
        }
    }
    if (s->is_indexed) {
        mem_free(bytes);
        s->ix = seg_index_open(r->disk, s->seg, err);
    } else {
        s->ix = seg_index_over(&bytes, len, s->seg, err);
    }
    if (s->ix == NULL)
        return false;
    seg_index_let_go(s->ix);
    return true;
}

/* ---- judging ------------------------------------------------------------------------------------
 */

/* Where in from .. to what was never safe begins; `to`: all of it was. */
static uint32_t torn_from(const struct recovery *r, const struct found_seg *s, uint32_t from,
                          uint32_t to)
{
    if (r->durable_lsn <= lsn_of(s, from))
        return from;
    return r->durable_lsn < lsn_of(s, to) ? (uint32_t)r->durable_lsn : to;
}

/* Of from .. to what was safe is lost. Returns where the torn part begins; `to`: there is none. */
static uint32_t judge(struct recovery *r, struct found_seg *s, uint32_t from, uint32_t to)
{
    uint32_t torn = torn_from(r, s, from, to);
    if (torn > from)
        recover_add_lost(s, from, torn);
    return torn;
}

static bool is_empty(const struct found_seg *s)
{
    return s->is_made && s->make.header.record_count == 0 && s->make.gap_count == 0 &&
           !s->make.is_ended;
}

/* ---- what stands behind a torn place ------------------------------------------------------------
 */

/* Where a segment ends of which nothing can be read: it is told of in any case. */
static uint32_t all_of(const struct found_seg *s)
{
    uint32_t bytes = s->has_header ? s->header.bytes : (uint32_t)s->file_bytes;
    return bytes > SEGMENT_HEADER_BYTES ? bytes : SEGMENT_HEADER_BYTES + 1;
}

/* The first place of this segment that was never safe and cannot be read; 0: there is none. */
static uint32_t first_torn(const struct recovery *r, const struct found_seg *s)
{
    if (s->ix != NULL)
        return 0; /* only of what was safe an index is believed */
    if (!s->is_made) {
        uint32_t to = all_of(s);
        uint32_t torn = torn_from(r, s, SEGMENT_HEADER_BYTES, to);
        return torn < to ? torn : 0;
    }
    for (size_t i = 0; i < s->make.gap_count; i++) {
        const struct scan_gap *gap = &s->make.gaps[i];
        uint32_t torn = torn_from(r, s, gap->from, gap->to);
        if (torn < gap->to)
            return torn;
    }
    uint32_t torn = torn_from(r, s, s->make.rest.from, s->make.rest.to);
    return !s->make.is_ended && torn < s->make.rest.to ? torn : 0;
}

/* Records say nothing alone: one that settles a message may count on another, before it, that has
 * the message's new place. Where the first is torn the second means loss. So what was never safe
 * counts up to the first place that cannot be read, and no further. */
static bool cut_behind_torn(struct recovery *r, struct err *err)
{
    size_t at = 0;
    uint32_t torn = 0;
    while (at < r->seg_count && (torn = first_torn(r, &r->segs[at])) == 0)
        at++;
    if (at == r->seg_count || MUTATION(KEEP_BEHIND_TORN))
        return true;
    for (size_t i = at + 1; i < r->seg_count; i++) {
        struct found_seg *s = &r->segs[i];
        if (s->is_made && !is_empty(s))
            r->out->torn_bytes += s->make.header.end - SEGMENT_HEADER_BYTES;
        if (s->is_made)
            index_make_fini(&s->make);
        s->is_made = false;
    }
    struct found_seg *s = &r->segs[at];
    if (!s->is_made || is_empty(s) || torn >= s->make.header.end)
        return true;
    r->out->torn_bytes += s->make.header.end - torn;
    index_make_fini(&s->make);
    s->is_made = false;
    return recover_read_to(r, s, torn, err);
}

static void judge_segment(struct recovery *r, struct found_seg *s)
{
    if (s->ix != NULL)
        return; /* its index says what was lost */
    s->is_unused =
        (!s->is_made || is_empty(s)) && r->durable_lsn <= lsn_of(s, SEGMENT_HEADER_BYTES);
    if (s->is_unused)
        return;
    if (!s->is_made) {
        (void)judge(r, s, SEGMENT_HEADER_BYTES, all_of(s));
        return;
    }
    for (size_t i = 0; i < s->make.gap_count; i++) {
        const struct scan_gap *gap = &s->make.gaps[i];
        uint32_t torn = judge(r, s, gap->from, gap->to);
        CHECK(torn == gap->to); /* see cut_behind_torn */
    }
    if (s->make.is_ended)
        return;
    uint32_t torn = judge(r, s, s->make.rest.from, s->make.rest.to);
    if (!s->make.rest.is_blank)
        r->out->torn_bytes += s->make.rest.to - torn;
    s->make.rest.from = torn;
}

/* ---- cutting ------------------------------------------------------------------------------------
 */

static bool write_record(struct disk_file *f, const struct found_seg *s, uint32_t offset,
                         uint8_t *record, struct err *err)
{
    record_seal(record, offset, s->header.salt);
    struct slice part = slice_of(record, record_padded(record_length(record)));
    return f->disk->ops->write(f, offset, &part, 1, err);
}

/* A BATCH and an END are written where the segment ends. */
static bool has_tail(const struct found_seg *s)
{
    return s->is_made && !s->make.is_ended && !scan_is_full(&s->header, s->make.rest.from);
}

/* Less room has an END alone. */
static bool has_room_for_batch(const struct found_seg *s)
{
    return !scan_is_full(&s->header, s->make.rest.from + record_padded(RECORD_BATCH_BYTES));
}

/* BATCH says that all before it is durable, which it is by now. It is written when END is there for
 * good: in the place of what was torn it would make what stands behind that count again. */
static bool write_end(struct disk_file *f, struct found_seg *s, struct err *err)
{
    uint8_t end[RECORD_END_BYTES + PLACE_ALIGN] = { 0 };
    uint8_t batch[RECORD_BATCH_BYTES + PLACE_ALIGN] = { 0 };
    struct batch_record b = { .durable_lsn = lsn_of(s, s->make.rest.from) };
    record_put_end(end, 0);
    if (!has_room_for_batch(s))
        return write_record(f, s, s->make.rest.from, end, err);
    record_put_batch(batch, &b);
    s->make.header.durable_lsn = b.durable_lsn;
    return write_record(f, s, s->make.rest.from + record_padded(RECORD_BATCH_BYTES), end, err) &&
           f->disk->ops->sync(f, err) && write_record(f, s, s->make.rest.from, batch, err);
}

static bool mend_file(struct disk_file *f, const struct found_seg *s, struct err *err)
{
    uint8_t bytes[SEGMENT_HEADER_BYTES] = { 0 };
    struct slice part = slice_of(bytes, sizeof bytes);
    segment_header_put(bytes, &s->header);
    return f->disk->ops->write(f, 0, &part, 1, err);
}

/* The same octets once more. A sync that failed has left them in the system's memory, where they
 * count as written although they are not: only what is written anew is sure to go out with the next
 * sync. */
static bool rewrite(struct disk_file *f, uint32_t from, uint32_t to, struct err *err)
{
    uint8_t *bytes = mem_alloc(REWRITE_BYTES);
    bool ok = true;
    while (ok && from < to) {
        size_t n = to - from < REWRITE_BYTES ? to - from : REWRITE_BYTES;
        size_t got = 0;
        ok = f->disk->ops->read(f, from, bytes, n, &got, err);
        struct slice part = slice_of(bytes, got);
        if (!ok || got == 0)
            break;
        ok = f->disk->ops->write(f, from, &part, 1, err);
        from += (uint32_t)got;
    }
    mem_free(bytes);
    return ok;
}

static bool rewrite_unsynced(struct recovery *r, const struct found_seg *s, struct disk_file *f,
                             struct err *err)
{
    struct place durable = place_of_lsn(r->durable_lsn);
    uint32_t from = s->seg == durable.seg && durable.offset > SEGMENT_HEADER_BYTES
                        ? durable.offset
                        : SEGMENT_HEADER_BYTES;
    uint32_t to = 0;
    if (s->ix != NULL)
        to = seg_index_header(s->ix)->end;
    else if (s->is_made)
        to = s->make.header.end;
    return rewrite(f, from, to, err);
}

/* What was read becomes durable: first all that was there, then that the journal ends here. In the
 * order of segments, since a later END speaks for those before it. */
static bool cut_segment(struct recovery *r, struct found_seg *s, struct err *err)
{
    char name[JOURNAL_NAME_MAX];
    bool mends = s->header_is_hurt && s->has_header;
    bool tail = has_tail(s) && !MUTATION(TAIL_NOT_ENDED);
    bool unsynced = s->seg >= place_of_lsn(r->durable_lsn).seg;
    if (s->is_unused || (!mends && !tail && !unsynced))
        return true;
    journal_seg_name(s->seg, name);
    struct disk_file *f = r->disk->ops->open(r->disk, name, DISK_WRITE, err);
    if (f == NULL)
        return false;
    bool ok = (!mends || mend_file(f, s, err)) &&
              (!unsynced || MUTATION(RECOVERY_NOT_REWRITTEN) || rewrite_unsynced(r, s, f, err));
    ok = ok && (MUTATION(RECOVERY_NOT_SYNCED) || r->disk->ops->sync(f, err));
    if (tail)
        ok = ok && write_end(f, s, err) && r->disk->ops->sync(f, err);
    r->disk->ops->close(&f);
    return ok;
}

/* A file made ready is worth keeping; on a full disk it is all there is. */
static bool put_away(struct recovery *r, const struct found_seg *s, struct err *err)
{
    char name[JOURNAL_NAME_MAX], spare[JOURNAL_NAME_MAX];
    struct err ignored;
    journal_idx_name(s->seg, name);
    (void)r->disk->ops->remove(r->disk, name, &ignored);
    journal_seg_name(s->seg, name);
    journal_spare_name(s->seg, spare);
    return r->disk->ops->rename(r->disk, name, spare, err);
}

static uint64_t durable_of(const struct found_seg *s)
{
    if (s->ix != NULL)
        return seg_index_header(s->ix)->durable_lsn;
    return s->is_made ? s->make.header.durable_lsn : 0;
}

/* How far all was durable as the next start will know it, if this segment stays. */
static uint64_t durable_by(const struct found_seg *s)
{
    if (s->is_unused)
        return 0;
    uint64_t durable = durable_of(s);
    uint64_t end = has_tail(s) && has_room_for_batch(s) ? lsn_of(s, s->make.rest.from) : 0;
    return end > durable ? end : durable;
}

/* The batch that said how far all was durable may be among what is cut off. If no other says it, a
 * hole in what was safe would be taken for a torn end by the next start, and what stands behind it
 * for what nobody was promised. So the first segment behind the end stays, empty but for that word.
 */
static bool keep_word(struct recovery *r, struct err *err)
{
    struct found_seg *kept = NULL;
    for (size_t i = r->seg_count; i-- > 0;) {
        struct found_seg *s = &r->segs[i];
        if (durable_by(s) >= r->durable_lsn)
            return true;
        if (s->is_unused && s->has_header)
            kept = s;
    }
    if (kept == NULL)
        return true;
    index_make_fini(&kept->make);
    kept->is_made = kept->is_unused = false;
    return recover_read_to(r, kept, SEGMENT_HEADER_BYTES, err);
}

/* What stands behind the end goes first: once the end is written it would count again. */
static bool make_good(struct recovery *r, struct err *err)
{
    bool renamed = false;
    if (!keep_word(r, err))
        return false;
    for (size_t i = 0; i < r->seg_count; i++) {
        if (!r->segs[i].is_unused || MUTATION(UNSAFE_COMES_BACK))
            continue;
        if (!put_away(r, &r->segs[i], err))
            return false;
        renamed = true;
    }
    if (renamed && !r->disk->ops->sync_folder(r->disk, "journal", err))
        return false;
    for (size_t i = 0; i < r->seg_count; i++)
        if (!cut_segment(r, &r->segs[i], err))
            return false;
    return true;
}

static bool judge_clean(const struct recovery *r)
{
    for (size_t i = r->seg_count; i > 0; i--) {
        const struct found_seg *s = &r->segs[i - 1];
        if (s->is_unused)
            continue;
        return s->ix != NULL ? seg_index_header(s->ix)->is_closed
                             : s->is_made && s->make.header.is_closed;
    }
    return true;
}

bool recover_judge(struct recovery *r, struct err *err)
{
    for (size_t i = 0; i < r->seg_count; i++)
        if (durable_of(&r->segs[i]) > r->durable_lsn)
            r->durable_lsn = durable_of(&r->segs[i]);
    r->out->durable_lsn = r->durable_lsn;
    if (!cut_behind_torn(r, err))
        return false;
    for (size_t i = 0; i < r->seg_count; i++)
        judge_segment(r, &r->segs[i]);
    r->out->is_clean = judge_clean(r);
    if (!r->setup->look_only && !make_good(r, err))
        return false;
    for (size_t i = 0; i < r->seg_count; i++) {
        struct found_seg *s = &r->segs[i];
        if (s->is_made && !s->is_unused && !recover_write_index(r, s, err))
            return false;
    }
    return true;
}
