/* Segments as a disk may give them back: records whose checks are right and whose content is
 * anything, with octets between them that are no records. What is read of them is what is read of
 * the index that was made of them, and a second start finds what the first one found.
 *
 *   input    steps: u8 what, u8 flags, u8 count, u16 octets, these octets
 *   what     1 .. 6 a record of that type, 9 an EPOCH, 0 and 7 raw octets, 8 the next segment */
#include "base/check.h"
#include "base/mem.h"
#include "store/index_make.h"
#include "store/journal.h"
#include "store/recover.h"
#include "store/seg_index.h"

#include "../unit/mem_disk.h"

#define SEG_BYTES  8192u
#define SEGS_MAX   4u
#define RECORD_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct writing {
    struct disk *disk;
    struct segment_header header;
    uint8_t bytes[SEG_BYTES];
    uint32_t at;
};

static void begin(struct writing *w)
{
    w->header = (struct segment_header){
        .seg = w->header.seg + 1, .bytes = SEG_BYTES, .salt = w->header.seg, .store_id = "fuzz"
    };
    memset(w->bytes, 0, sizeof w->bytes);
    segment_header_put(w->bytes, &w->header);
    w->at = SEGMENT_HEADER_BYTES;
}

/* What was made of the segment reads back, all of it. */
static void check_index(const struct writing *w)
{
    struct index_make m;
    struct err err;
    size_t len, rows;
    uint64_t listed = 0;
    index_make_init(&m, slice_of(w->bytes, sizeof w->bytes), &w->header);
    CHECK(m.header.end <= SEG_BYTES && m.rest.from <= m.rest.to);
    for (size_t i = 0; i < m.gap_count; i++)
        CHECK(m.gaps[i].from < m.gaps[i].to && (i == 0 || m.gaps[i].from >= m.gaps[i - 1].to));
    uint8_t *bytes = index_make_take(&m, &len);
    struct seg_index *ix = seg_index_over(&bytes, len, w->header.seg, &err);
    CHECK(ix != NULL);
    const struct index_row *row = seg_index_rows(ix, &rows);
    for (size_t i = 0; i < rows; i++, row++) {
        struct index_cursor c;
        CHECK(index_cursor_init(&c, ix, row, &err));
        while (index_cursor_peek(&c) != NULL) {
            listed++;
            CHECK(index_cursor_next(&c, &err));
        }
        index_cursor_fini(&c);
    }
    CHECK(listed <= m.header.put_count);
    uint8_t *state;
    CHECK(seg_index_state(ix, &state, &len, &err));
    struct index_state_reader r = index_state_over(slice_of(state, len));
    struct index_state item;
    while (index_state_next(&r, &item))
        CHECK(item.kind >= INDEX_RANGE && item.kind <= INDEX_PRODUCER);
    CHECK(!r.w.ran_out);
    mem_free(state);
    seg_index_close(&ix);
    index_make_fini(&m);
}

static void save(struct writing *w)
{
    char name[JOURNAL_NAME_MAX];
    check_index(w);
    journal_seg_name(w->header.seg, name);
    mem_disk_put(w->disk, name, slice_of(w->bytes, sizeof w->bytes));
}

static void put_raw(struct writing *w, struct slice octets)
{
    struct slice fit = slice_head(octets, SEG_BYTES - w->at);
    if (fit.len != 0)
        memcpy(w->bytes + w->at, fit.ptr, fit.len);
    w->at += record_padded(fit.len);
}

static void put_record(struct writing *w, uint8_t type, uint8_t flags, uint8_t count,
                       struct slice payload)
{
    uint8_t record[RECORD_MAX] = { 0 };
    size_t len = RECORD_HEAD_BYTES + payload.len;
    if (len > sizeof record || len > SEG_BYTES - w->at)
        return;
    struct wire_out out = wire_out_over(record, sizeof record);
    wire_put_u32_le(&out, (uint32_t)len);
    wire_put_u32_le(&out, 0);
    wire_put_u8(&out, type);
    wire_put_u8(&out, flags);
    wire_put_u16_le(&out, count);
    wire_put_bytes(&out, payload);
    CHECK(!out.overflow);
    record_seal(record, w->at, w->header.salt);
    put_raw(w, slice_of(record, len));
}

static void write_all(struct writing *w, struct slice input)
{
    struct wire in = wire_over(input);
    begin(w);
    while (wire_left(&in) != 0) {
        uint8_t what = wire_u8(&in) % 10;
        uint8_t flags = wire_u8(&in);
        uint8_t count = wire_u8(&in);
        uint16_t len = wire_u16_le(&in);
        struct slice octets = wire_take(&in, len < wire_left(&in) ? len : wire_left(&in));
        if (what == 8) {
            save(w);
            if (w->header.seg == SEGS_MAX)
                return;
            begin(w);
        } else if (what == 0 || what == 7) {
            put_raw(w, octets);
        } else {
            put_record(w, what == 9 ? RECORD_EPOCH : what, flags, count, octets);
        }
    }
    save(w);
}

static uint64_t recovered_messages(struct disk *d, bool look_only)
{
    struct recovered found;
    struct err err;
    struct segs *segs = segs_new();
    struct recover_setup setup = { .disk = d, .segs = segs, .look_only = look_only };
    CHECK(recover_run(&setup, &found, &err));
    uint64_t count = found.message_count;
    for (size_t i = 0; i < found.queue_count; i++) {
        struct mirror_history history;
        recovered_history_take(&found.queues[i], &history);
        mirror_history_fini(&history);
    }
    CHECK(segs_sum(segs).alive_count == count);
    recovered_fini(&found);
    segs_free(&segs);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct writing w = { .disk = mem_disk_new() };
    write_all(&w, slice_of(data, size));
    uint64_t count = recovered_messages(w.disk, true);
    CHECK(recovered_messages(w.disk, false) == count);
    CHECK(recovered_messages(w.disk, false) == count);
    disk_free(&w.disk);
    return 0;
}
