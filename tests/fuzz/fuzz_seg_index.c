/* Index files whose checks are right and whose content is anything: they are refused, or everything
 * that can be asked of them is within their bounds.
 *
 *   input    u8 octets of state, u16 of the directory, u8 rows, then lists, state, directory */
#include "base/check.h"
#include "base/mem.h"
#include "store/index_state.h"
#include "store/seg_index.h"

#define SEG       7u
#define SEG_BYTES ((uint32_t)1 << 20)
#define FIND_MAX  64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fix_check(uint8_t *bytes, size_t len, uint64_t salt)
{
    if (len < INDEX_CHECK_BYTES)
        return;
    struct wire_out w = wire_out_over(bytes, INDEX_CHECK_BYTES);
    wire_put_u32_le(
        &w, index_check(slice_of(bytes + INDEX_CHECK_BYTES, len - INDEX_CHECK_BYTES), salt));
}

/* The checks of blocks and of their tables, as far as the directory tells where they are. */
static void fix_lists(uint8_t *lists, const struct index_header *h, struct slice dir)
{
    struct wire w = wire_over(dir);
    uint64_t last_qid = 0, at = 0;
    struct index_row row;
    for (uint32_t i = 0; i < h->row_count && index_row_read(&w, &row, &last_qid); i++) {
        if (row.list_bytes > h->list_bytes - at)
            return;
        uint8_t *list = lists + at;
        uint32_t table = index_table_bytes(row.count);
        at += row.list_bytes;
        if (table == 0)
            fix_check(list, row.list_bytes, h->segment.salt);
        if (table == 0 || table > row.list_bytes)
            continue;
        fix_check(list, table, h->segment.salt);
        struct wire t = wire_over(slice_of(list + INDEX_CHECK_BYTES, table - INDEX_CHECK_BYTES));
        uint8_t *block = list + table;
        while (wire_left(&t) != 0) {
            (void)wire_u64_le(&t);
            uint32_t bytes = wire_u32_le(&t);
            if (bytes > (size_t)(list + row.list_bytes - block))
                break;
            fix_check(block, bytes, h->segment.salt);
            block += bytes;
        }
    }
}

static uint8_t *make_file(struct slice input, size_t *len)
{
    struct wire in = wire_over(input);
    struct index_header h = { .segment = { .seg = SEG, .bytes = SEG_BYTES, .salt = 99 },
                              .end = SEG_BYTES };
    size_t state = wire_u8(&in), dir = wire_u16_le(&in);
    h.row_count = wire_u8(&in);
    size_t left = wire_left(&in);
    h.dir_bytes = dir < left ? dir : left;
    h.state_bytes = state < left - h.dir_bytes ? state : left - h.dir_bytes;
    h.list_bytes = left - h.dir_bytes - h.state_bytes;
    *len = INDEX_HEADER_BYTES + left;
    uint8_t *bytes = mem_zalloc(*len);
    struct slice rest = wire_rest(&in);
    if (rest.len != 0)
        memcpy(bytes + INDEX_HEADER_BYTES, rest.ptr, rest.len);
    struct slice content = slice_of(bytes + INDEX_HEADER_BYTES, left);
    struct slice directory = slice_from(content, h.list_bytes + h.state_bytes);
    fix_lists(bytes + INDEX_HEADER_BYTES, &h, directory);
    h.state_check =
        index_check(slice_head(slice_from(content, h.list_bytes), h.state_bytes), h.segment.salt);
    h.dir_check = index_check(directory, h.segment.salt);
    index_header_put(bytes, &h);
    return bytes;
}

static void read_row(struct seg_index *ix, const struct index_row *row)
{
    struct index_cursor c;
    struct err err;
    const struct index_item *e;
    uint32_t count = 0;
    bool ok = index_cursor_init(&c, ix, row, &err);
    for (; ok && (e = index_cursor_peek(&c)) != NULL; ok = index_cursor_next(&c, &err)) {
        CHECK(e->qseq >= row->first && e->qseq <= row->last);
        CHECK(e->offset < SEG_BYTES && e->length <= SEG_BYTES - e->offset);
        count++;
    }
    CHECK(!ok || count == row->count);
    index_cursor_fini(&c);
    struct index_entry found[FIND_MAX];
    size_t n = 0;
    if (seg_index_find(ix, row->qid, row->first, row->last, found, FIND_MAX, &n, &err))
        for (size_t i = 0; i < n; i++)
            CHECK(found[i].qseq >= row->first && found[i].qseq <= row->last);
}

static void read_state(struct seg_index *ix)
{
    uint8_t *state;
    size_t len;
    struct err err;
    struct index_state item;
    CHECK(seg_index_state(ix, &state, &len, &err));
    struct index_state_reader r = index_state_over(slice_of(state, len));
    while (index_state_next(&r, &item))
        CHECK(item.kind >= INDEX_RANGE && item.kind <= INDEX_PRODUCER);
    mem_free(state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err;
    size_t len, rows;
    uint8_t *bytes = make_file(slice_of(data, size), &len);
    struct seg_index *ix = seg_index_over(&bytes, len, SEG, &err);
    if (ix == NULL)
        return 0;
    read_state(ix);
    const struct index_row *row = seg_index_rows(ix, &rows);
    for (size_t i = 0; i < rows; i++)
        read_row(ix, &row[i]);
    seg_index_close(&ix);
    return 0;
}
