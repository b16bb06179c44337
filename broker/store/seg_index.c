#include "store/seg_index.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "store/index_make.h"
#include "store/journal.h"
#include "store/seg_file.h"

#define STATE_BYTES_MAX ((uint64_t)1 << 31)

struct index_block {
    uint64_t first;
    uint64_t start; /* in the file */
    uint32_t bytes;
};

struct seg_index {
    struct disk *disk;      /* NULL: all of it is in `bytes` */
    struct disk_file *file; /* may be NULL: opened when it is wanted */
    uint8_t *bytes;
    size_t len;
    char name[JOURNAL_NAME_MAX];
    struct index_header header;
    struct index_row *rows;
    struct index_cursor cursor; /* of the row that was asked for last; row NULL: none */
};

static bool damaged(const struct seg_index *ix, struct err *err)
{
    return err_set(err, ERR_IO, "%s: damaged", ix->name);
}

static bool read_part(struct seg_index *ix, uint64_t offset, void *out, size_t len, struct err *err)
{
    if (ix->disk == NULL) {
        if (offset > ix->len || len > ix->len - offset)
            return damaged(ix, err);
        if (len != 0)
            memcpy(out, ix->bytes + offset, len);
        return true;
    }
    if (ix->file != NULL)
        return seg_file_read_part(ix->file, ix->name, offset, out, len, err);
    struct disk_file *f = ix->disk->ops->open(ix->disk, ix->name, DISK_READ, err);
    if (f == NULL)
        return false;
    bool ok = seg_file_read_part(f, ix->name, offset, out, len, err);
    ix->disk->ops->close(&f);
    return ok;
}

/* ---- opening ------------------------------------------------------------------------------------
 */

/* Rows are in order, and those of a queue share no position. */
static bool is_in_order(const struct index_row *a, const struct index_row *b)
{
    return a->qid < b->qid || (a->qid == b->qid && a->last < b->first);
}

static bool read_rows(struct seg_index *ix, struct slice dir)
{
    const struct index_header *h = &ix->header;
    struct wire w = wire_over(dir);
    uint64_t last_qid = 0;
    uint64_t list_offset = INDEX_HEADER_BYTES;
    for (uint32_t i = 0; i < h->row_count; i++) {
        struct index_row *row = &ix->rows[i];
        if (!index_row_read(&w, row, &last_qid) || (i != 0 && !is_in_order(row - 1, row)))
            return false;
        row->list_offset = list_offset;
        list_offset += row->list_bytes;
        if (row->list_bytes < index_table_bytes(row->count) + INDEX_CHECK_BYTES)
            return false;
    }
    return wire_left(&w) == 0 && list_offset == INDEX_HEADER_BYTES + h->list_bytes;
}

static bool read_directory(struct seg_index *ix, struct err *err)
{
    const struct index_header *h = &ix->header;
    uint8_t *dir = mem_alloc((size_t)h->dir_bytes + 1);
    ix->rows = mem_array((size_t)h->row_count + 1, sizeof *ix->rows);
    bool ok = read_part(ix, INDEX_HEADER_BYTES + h->list_bytes + h->state_bytes, dir,
                        (size_t)h->dir_bytes, err);
    struct slice bytes = slice_of(dir, (size_t)h->dir_bytes);
    if (ok && (!index_check_is(bytes, h->segment.salt, h->dir_check) || !read_rows(ix, bytes)))
        ok = damaged(ix, err);
    mem_free(dir);
    return ok;
}

/* Judges all lengths, so that nothing is allocated for octets that are not there. */
static bool read_header(struct seg_index *ix, uint32_t seg, struct err *err)
{
    uint8_t bytes[INDEX_HEADER_BYTES];
    uint64_t size = ix->len;
    struct index_header *h = &ix->header;
    if (ix->disk != NULL && !ix->disk->ops->size(ix->file, &size, err))
        return false;
    if (!read_part(ix, 0, bytes, sizeof bytes, err))
        return false;
    if (!index_header_read(slice_of(bytes, sizeof bytes), h) ||
        (h->segment.seg != seg && !MUTATION(INDEX_STRANGER_BELIEVED)))
        return damaged(ix, err);
    uint64_t left = size - sizeof bytes;
    bool fits = h->list_bytes <= left && h->state_bytes <= left - h->list_bytes &&
                h->dir_bytes == left - h->list_bytes - h->state_bytes &&
                h->row_count <= h->dir_bytes && h->state_bytes <= STATE_BYTES_MAX;
    return fits || damaged(ix, err);
}

static struct seg_index *open_any(struct seg_index *ix, uint32_t seg, struct err *err)
{
    journal_idx_name(seg, ix->name);
    if (ix->disk != NULL)
        ix->file = ix->disk->ops->open(ix->disk, ix->name, DISK_READ, err);
    bool ok = (ix->disk == NULL || ix->file != NULL) && read_header(ix, seg, err) &&
              read_directory(ix, err);
    if (!ok)
        seg_index_close(&ix);
    return ix;
}

struct seg_index *seg_index_open(struct disk *d, uint32_t seg, struct err *err)
{
    struct seg_index *ix = mem_zalloc(sizeof *ix);
    ix->disk = d;
    return open_any(ix, seg, err);
}

struct seg_index *seg_index_over(uint8_t **bytes, size_t len, uint32_t seg, struct err *err)
{
    struct seg_index *ix = mem_zalloc(sizeof *ix);
    ix->bytes = *bytes;
    ix->len = len;
    *bytes = NULL;
    return open_any(ix, seg, err);
}

void seg_index_let_go(struct seg_index *ix)
{
    if (ix->file != NULL)
        ix->disk->ops->close(&ix->file);
}

void seg_index_close(struct seg_index **index)
{
    struct seg_index *ix = *index;
    *index = NULL;
    if (ix == NULL)
        return;
    if (ix->cursor.row != NULL)
        index_cursor_fini(&ix->cursor);
    seg_index_let_go(ix);
    mem_free(ix->rows);
    mem_free(ix->bytes);
    mem_free(ix);
}

const struct index_header *seg_index_header(const struct seg_index *ix)
{
    return &ix->header;
}

const struct index_row *seg_index_rows(const struct seg_index *ix, size_t *count)
{
    *count = ix->header.row_count;
    return ix->rows;
}

bool seg_index_state(struct seg_index *ix, uint8_t **bytes, size_t *len, struct err *err)
{
    const struct index_header *h = &ix->header;
    *len = (size_t)h->state_bytes;
    *bytes = mem_alloc(*len + 1);
    bool ok = read_part(ix, INDEX_HEADER_BYTES + h->list_bytes, *bytes, *len, err);
    if (ok && !index_check_is(slice_of(*bytes, *len), h->segment.salt, h->state_check))
        ok = damaged(ix, err);
    if (!ok) {
        mem_free(*bytes);
        *bytes = NULL;
    }
    return ok;
}

/* ---- cursors ------------------------------------------------------------------------------------
 */

static uint32_t entries_of(const struct index_cursor *c, uint32_t block)
{
    uint32_t left = c->row->count - block * INDEX_BLOCK_ENTRIES;
    return left < INDEX_BLOCK_ENTRIES ? left : INDEX_BLOCK_ENTRIES;
}

static bool read_block(struct index_cursor *c, uint32_t block, struct err *err)
{
    const struct index_block *b = &c->blocks[block];
    uint32_t count = entries_of(c, block);
    uint8_t *bytes = mem_alloc((size_t)b->bytes + 1);
    c->count = c->at = 0;
    bool ok = read_part(c->ix, b->start, bytes, b->bytes, err);
    if (ok && !index_block_read(slice_of(bytes, b->bytes), &c->ix->header, c->row, count, c->items))
        ok = damaged(c->ix, err);
    mem_free(bytes);
    if (ok) {
        c->block = block;
        c->count = count;
    }
    return ok;
}

static bool read_table(struct index_cursor *c, uint32_t blocks, struct err *err)
{
    uint32_t len = index_table_bytes(c->row->count);
    uint8_t *bytes = mem_alloc(len);
    bool ok = read_part(c->ix, c->row->list_offset, bytes, len, err);
    struct wire w = wire_over(slice_of(bytes, len));
    uint64_t start = c->row->list_offset + len;
    uint64_t end = c->row->list_offset + c->row->list_bytes;
    uint32_t check = ok ? wire_u32_le(&w) : 0;
    if (ok && !index_check_is(slice_of(w.at, wire_left(&w)), c->ix->header.segment.salt, check))
        ok = damaged(c->ix, err);
    for (uint32_t i = 0; ok && i < blocks; i++) {
        uint64_t first = wire_u64_le(&w);
        uint32_t bytes_of = wire_u32_le(&w);
        c->blocks[i] = (struct index_block){ first, start, bytes_of };
        if (bytes_of > end - start || (i != 0 && first <= c->blocks[i - 1].first))
            ok = damaged(c->ix, err);
        start += bytes_of;
    }
    if (ok && start != end)
        ok = damaged(c->ix, err);
    mem_free(bytes);
    return ok;
}

bool index_cursor_init(struct index_cursor *c, struct seg_index *ix, const struct index_row *row,
                       struct err *err)
{
    uint32_t blocks = index_blocks(row->count);
    *c = (struct index_cursor){ .ix = ix, .row = row };
    /* What an entry takes in memory is in no proportion to what it takes in the file: at most a
     * block of them is there at a time. */
    c->items = mem_array(blocks > 1 ? INDEX_BLOCK_ENTRIES : row->count, sizeof *c->items);
    if (blocks == 1) {
        c->blocks = mem_alloc(sizeof *c->blocks);
        c->blocks[0] = (struct index_block){ row->first, row->list_offset, row->list_bytes };
    } else {
        if (row->list_bytes < (uint64_t)blocks * INDEX_TABLE_ROW)
            return damaged(ix, err);
        c->blocks = mem_array(blocks, sizeof *c->blocks);
        if (!read_table(c, blocks, err))
            return false;
    }
    return read_block(c, 0, err);
}

void index_cursor_fini(struct index_cursor *c)
{
    mem_free(c->blocks);
    mem_free(c->items);
    *c = (struct index_cursor){ 0 };
}

bool index_cursor_next_block(struct index_cursor *c, struct err *err)
{
    if (c->block + 1 < index_blocks(c->row->count))
        return read_block(c, c->block + 1, err);
    c->at = c->count;
    return true;
}

/* The last block that begins at or below. */
static uint32_t block_of(const struct index_cursor *c, uint64_t qseq)
{
    uint32_t low = 0, high = index_blocks(c->row->count);
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (c->blocks[middle].first <= qseq)
            low = middle;
        else
            high = middle;
    }
    return low;
}

bool index_cursor_seek(struct index_cursor *c, uint64_t qseq, struct err *err)
{
    uint32_t block = block_of(c, qseq);
    if ((block != c->block || c->count == 0) && !read_block(c, block, err))
        return false;
    uint32_t low = 0, high = c->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (c->items[middle].qseq < qseq)
            low = middle + 1;
        else
            high = middle;
    }
    c->at = low;
    return low < c->count || index_cursor_next_block(c, err);
}

/* ---- finding ------------------------------------------------------------------------------------
 */

/* The first row of the queue that ends at or above. */
static const struct index_row *row_from(const struct seg_index *ix, uint64_t qid, uint64_t first)
{
    uint32_t low = 0, high = ix->header.row_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct index_row *row = &ix->rows[middle];
        if (row->qid < qid || (row->qid == qid && row->last < first))
            low = middle + 1;
        else
            high = middle;
    }
    return &ix->rows[low];
}

static bool move_to(struct seg_index *ix, const struct index_row *row, uint64_t first,
                    struct err *err)
{
    struct index_cursor *c = &ix->cursor;
    if (c->row != row) {
        if (c->row != NULL)
            index_cursor_fini(c);
        if (!index_cursor_init(c, ix, row, err)) {
            index_cursor_fini(c);
            return false;
        }
    }
    return index_cursor_seek(c, first, err);
}

bool seg_index_find(struct seg_index *ix, uint64_t qid, uint64_t first, uint64_t last,
                    struct index_entry *out, size_t max, size_t *count, struct err *err)
{
    const struct index_row *end = ix->rows + ix->header.row_count;
    *count = 0;
    for (const struct index_row *row = row_from(ix, qid, first);
         row < end && row->qid == qid && row->first <= last && *count < max; row++) {
        if (!move_to(ix, row, first, err))
            return false;
        const struct index_item *e;
        while (*count < max && (e = index_cursor_peek(&ix->cursor)) != NULL && e->qseq <= last) {
            out[(*count)++] = (struct index_entry){ .qseq = e->qseq,
                                                    .offset = e->offset,
                                                    .body_bytes = e->body_bytes,
                                                    .length = e->length,
                                                    .msg_flags = e->flags };
            if (!index_cursor_next(&ix->cursor, err))
                return false;
        }
    }
    return true;
}

/* ---- building -----------------------------------------------------------------------------------
 */

static bool build_from(struct disk *d, uint32_t seg, struct slice whole, struct err *err)
{
    char name[JOURNAL_NAME_MAX];
    struct segment_header h;
    journal_seg_name(seg, name);
    if (!seg_file_header(whole, seg, &h))
        return err_set(err, ERR_IO, "%s: its header is damaged", name);
    struct index_make m;
    index_make_init(&m, whole, &h);
    bool ok = m.gap_count == 0 && m.is_ended;
    if (!ok)
        err_set(err, ERR_IO, "%s: damaged at octet %u", name,
                m.gap_count != 0 ? m.gaps[0].from : m.rest.from);
    if (ok) {
        size_t len;
        uint8_t *bytes = index_make_take(&m, &len);
        journal_idx_name(seg, name);
        ok = seg_file_write(d, name, slice_of(bytes, len), err);
        mem_free(bytes);
    }
    index_make_fini(&m);
    return ok;
}

bool seg_index_build(struct disk *d, uint32_t seg, struct err *err)
{
    char name[JOURNAL_NAME_MAX];
    uint8_t *bytes;
    size_t len;
    journal_seg_name(seg, name);
    if (!seg_file_read(d, name, SEGMENT_BYTES_MAX, &bytes, &len, err))
        return false;
    bool ok = build_from(d, seg, slice_of(bytes, len), err);
    mem_free(bytes);
    return ok;
}
