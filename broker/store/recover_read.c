#include "base/log.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "io/crew.h"
#include "store/journal.h"
#include "store/recover_inner.h"
#include "store/seg_file.h"

#define PAGE_BYTES       4096u
#define AT_ONCE_MAX      ((uint64_t)256 << 20) /* octets of segments in memory at a time */
#define HEADER_SALT_AT   24u
#define BEGIN_BYTES      (SEGMENT_HEADER_BYTES + RECORD_BATCH_BYTES)
#define HEADER_SALT_BITS 64u

static void seg_name(const struct found_seg *s, char name[JOURNAL_NAME_MAX])
{
    journal_seg_name(s->seg, name);
}

/* ---- headers ------------------------------------------------------------------------------------
 */

/* What its first batch says was durable. */
static uint64_t first_durable(const struct found_seg *s, struct slice bytes)
{
    struct record record;
    struct batch_record batch;
    return s->has_header &&
                   record_cut(bytes, &s->header, SEGMENT_HEADER_BYTES, &record) == RECORD_CUT_OK &&
                   record_read_batch(&record, &batch)
               ? batch.durable_lsn
               : 0;
}

static bool read_header(struct recovery *r, struct found_seg *s, struct err *err)
{
    char name[JOURNAL_NAME_MAX];
    uint8_t bytes[BEGIN_BYTES];
    size_t got = 0;
    seg_name(s, name);
    struct disk_file *f = r->disk->ops->open(r->disk, name, DISK_READ, err);
    if (f == NULL)
        return false;
    bool ok = r->disk->ops->size(f, &s->file_bytes, err) &&
              r->disk->ops->read(f, 0, bytes, sizeof bytes, &got, err);
    r->disk->ops->close(&f);
    if (ok && s->file_bytes > SEGMENT_BYTES_MAX)
        ok = err_set(err, ERR_REFUSED, "%s: is larger than a segment can be", name);
    if (!ok)
        return false;
    s->has_header = got >= SEGMENT_HEADER_BYTES &&
                    seg_file_header(slice_of(bytes, SEGMENT_HEADER_BYTES), s->seg, &s->header);
    s->header_is_hurt = !s->has_header;
    uint64_t durable = first_durable(s, slice_of(bytes, got));
    if (durable > r->safe_lsn)
        r->safe_lsn = durable;
    return true;
}

/* A journal of another store must not be taken for ours, nor mixed with it. */
static bool check_ids(struct recovery *r, struct err *err)
{
    const uint8_t *id = r->setup->store_id;
    for (size_t i = 0; i < r->seg_count; i++) {
        struct found_seg *s = &r->segs[i];
        if (!s->has_header)
            continue;
        if (id == NULL)
            id = s->header.store_id;
        if (memcmp(id, s->header.store_id, sizeof s->header.store_id) != 0) {
            char name[JOURNAL_NAME_MAX];
            seg_name(s, name);
            return err_set(err, ERR_REFUSED,
                           "%s belongs to another store than the rest: was it copied here? Move "
                           "the folder's files away, or bring back all of one store",
                           name);
        }
    }
    return true;
}

static bool begins_with_batch(struct slice whole, const struct segment_header *h)
{
    struct record first;
    return record_cut(whole, h, SEGMENT_HEADER_BYTES, &first) == RECORD_CUT_OK &&
           first.type == RECORD_BATCH;
}

/* All of a header but the salt is known from elsewhere, and one bit of that can be guessed: the
 * first batch says whether it was right. */
static bool mend_header(struct found_seg *s, struct slice whole, const uint8_t *store_id)
{
    struct segment_header h = { .seg = s->seg, .bytes = (uint32_t)whole.len & ~(PLACE_ALIGN - 1) };
    struct wire w = wire_over(slice_from(whole, HEADER_SALT_AT));
    uint64_t salt = wire_u64_le(&w);
    if (h.bytes <= SEGMENT_HEADER_BYTES || store_id == NULL)
        return false;
    memcpy(h.store_id, store_id, sizeof h.store_id);
    h.salt = salt;
    for (unsigned bit = 0; !begins_with_batch(whole, &h); bit++) {
        if (bit == HEADER_SALT_BITS)
            return false;
        h.salt = salt ^ (uint64_t)1 << bit;
    }
    s->header = h;
    s->has_header = true;
    return true;
}

/* ---- octets -------------------------------------------------------------------------------------
 */

/* Page by page; what cannot be read is taken for zeros, and so for a gap. */
static bool read_pages(struct disk_file *f, uint8_t *bytes, size_t len)
{
    struct err ignored;
    bool any = false;
    for (size_t at = 0; at < len; at += PAGE_BYTES) {
        size_t got = 0, n = len - at < PAGE_BYTES ? len - at : PAGE_BYTES;
        if (f->disk->ops->read(f, at, bytes + at, n, &got, &ignored))
            any = true;
        else
            got = 0;
        memset(bytes + at + got, 0, n - got);
    }
    return any;
}

static bool read_whole(struct recovery *r, struct found_seg *s, uint8_t **bytes, struct err *err)
{
    char name[JOURNAL_NAME_MAX];
    size_t got = 0;
    seg_name(s, name);
    struct disk_file *f = r->disk->ops->open(r->disk, name, DISK_READ, err);
    if (f == NULL)
        return false;
    *bytes = mem_alloc((size_t)s->file_bytes + 1);
    bool ok = r->disk->ops->read(f, 0, *bytes, (size_t)s->file_bytes, &got, err);
    if (ok && got < s->file_bytes)
        memset(*bytes + got, 0, (size_t)s->file_bytes - got);
    if (!ok && err->code == ERR_IO) {
        log_warn("store", "journal", "%s; what can be read of it is taken", err->text);
        ok = read_pages(f, *bytes, (size_t)s->file_bytes);
    }
    r->disk->ops->close(&f);
    return ok;
}

/* ---- one segment --------------------------------------------------------------------------------
 */

static bool agrees(const struct found_seg *s, const struct seg_index *ix)
{
    const struct segment_header *h = &seg_index_header(ix)->segment;
    return !s->has_header || MUTATION(INDEX_STRANGER_BELIEVED) ||
           (h->salt == s->header.salt && h->bytes == s->header.bytes &&
            memcmp(h->store_id, s->header.store_id, sizeof h->store_id) == 0);
}

/* All that was written to it is durable. An index must not outlive what it speaks of: only then one
 * is believed, or made before what was read has been synced. */
static bool is_safe(const struct recovery *r, const struct found_seg *s, uint32_t end)
{
    return place_lsn((struct place){ s->seg, end }) <= r->safe_lsn;
}

static bool reads_wholly(struct seg_index *ix)
{
    size_t rows;
    bool ok = true;
    const struct index_row *row = seg_index_rows(ix, &rows);
    for (size_t i = 0; ok && i < rows; i++) {
        struct index_cursor c;
        struct err ignored;
        ok = index_cursor_init(&c, ix, &row[i], &ignored);
        while (ok && index_cursor_peek(&c) != NULL)
            ok = index_cursor_next_block(&c, &ignored);
        index_cursor_fini(&c);
    }
    return ok;
}

/* Lists are looked at when they are read, or by who only looks. */
static bool is_good(const struct recovery *r, const struct found_seg *s, struct seg_index *ix)
{
    uint8_t *state = NULL;
    size_t len;
    struct err ignored;
    bool good = agrees(s, ix) && seg_index_state(ix, &state, &len, &ignored) &&
                (!r->setup->look_only || reads_wholly(ix));
    mem_free(state);
    return good;
}

static bool is_distrusted(const struct recovery *r, uint32_t seg)
{
    for (size_t i = 0; i < r->distrusted_count; i++)
        if (r->distrusted[i] == seg)
            return true;
    return false;
}

/* Its index file, if it is good; also for a segment whose header is not. */
static struct seg_index *open_index(struct recovery *r, struct found_seg *s)
{
    struct err err;
    if (is_distrusted(r, s->seg))
        return NULL;
    struct seg_index *ix = seg_index_open(r->disk, s->seg, &err);
    s->has_bad_index = ix == NULL && err.code != ERR_NOT_FOUND;
    if (ix == NULL)
        return NULL;
    seg_index_let_go(ix);
    s->has_good_index = is_good(r, s, ix);
    s->has_bad_index = !s->has_good_index;
    if (!s->has_good_index)
        seg_index_close(&ix);
    if (ix != NULL && !s->has_header) {
        s->header = seg_index_header(ix)->segment;
        s->has_header = true;
    }
    return ix;
}

static const uint8_t *known_id(const struct recovery *r)
{
    for (size_t i = 0; r->setup->store_id == NULL && i < r->seg_count; i++)
        if (!r->segs[i].header_is_hurt)
            return r->segs[i].header.store_id;
    return r->setup->store_id;
}

static bool scan_segment(struct recovery *r, struct found_seg *s, uint64_t to, struct err *err)
{
    uint8_t *bytes = NULL;
    bool ok = read_whole(r, s, &bytes, err);
    if (ok) {
        struct slice whole = slice_of(bytes, (size_t)s->file_bytes);
        if (s->has_header || mend_header(s, whole, known_id(r))) {
            index_make_init(&s->make, slice_head(whole, (size_t)to), &s->header);
            s->is_made = true;
        }
    }
    mem_free(bytes);
    return ok;
}

bool recover_read_to(struct recovery *r, struct found_seg *s, uint32_t to, struct err *err)
{
    return scan_segment(r, s, to, err);
}

static bool read_segment(struct recovery *r, struct found_seg *s, struct err *err)
{
    struct seg_index *ix = open_index(r, s);
    if (ix != NULL && !r->setup->look_only) {
        if (is_safe(r, s, seg_index_header(ix)->end)) {
            s->ix = ix;
            s->is_indexed = true;
            return true;
        }
        seg_index_close(&ix);
    }
    s->old = ix;
    if (!scan_segment(r, s, s->file_bytes, err))
        return false;
    /* Most are ended and whole: their index is written at once, so that what was made of them need
     * not wait in memory until all are read. */
    if (s->is_made && s->make.is_ended && s->make.gap_count == 0 && !r->setup->look_only &&
        is_safe(r, s, s->make.header.end))
        return recover_write_index(r, s, err);
    return true;
}

static void read_one(size_t index, void *arg)
{
    struct recovery *r = arg;
    struct found_seg *s = &r->segs[index];
    s->has_failed = !read_segment(r, s, &s->err);
    lock_take(&r->lock);
    r->done_bytes += s->file_bytes;
    if (r->setup->progress != NULL)
        r->setup->progress(r->done_bytes, r->all_bytes, r->setup->arg);
    lock_give(&r->lock);
}

/* Large segments, fewer at a time. */
static unsigned threads_for(const struct recovery *r)
{
    uint64_t largest = 1;
    for (size_t i = 0; i < r->seg_count; i++)
        if (r->segs[i].file_bytes > largest)
            largest = r->segs[i].file_bytes;
    uint64_t fit = AT_ONCE_MAX / largest;
    return fit < r->setup->threads ? (unsigned)fit : r->setup->threads;
}

bool recover_read(struct recovery *r, struct err *err)
{
    for (size_t i = 0; i < r->seg_count; i++) {
        if (!read_header(r, &r->segs[i], err))
            return false;
        r->all_bytes += r->segs[i].file_bytes;
    }
    if (!check_ids(r, err))
        return false;
    crew_run(threads_for(r), r->seg_count, read_one, r);
    for (size_t i = 0; i < r->seg_count; i++) {
        if (r->segs[i].has_failed) {
            *err = r->segs[i].err;
            return false;
        }
    }
    return true;
}
