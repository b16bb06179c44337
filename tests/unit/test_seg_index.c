#include "store/seg_index.h"

#include "base/mem.h"
#include "base/rng.h"
#include "expect.h"
#include "mem_disk.h"
#include "seg_kit.h"
#include "store/index_state.h"
#include "store/journal.h"

#define SEG 7u

static struct seg_index *built(struct seg_kit *k, struct disk *d)
{
    struct err err = { 0 };
    seg_kit_end(k);
    seg_kit_save(k, d);
    cr_assert(seg_index_build(d, SEG, &err), "%s", err.text);
    struct seg_index *ix = seg_index_open(d, SEG, &err);
    cr_assert(ne(ptr, ix, NULL), "%s", err.text);
    return ix;
}

static size_t find(struct seg_index *ix, uint64_t qid, uint64_t first, uint64_t last,
                   struct index_entry *out, size_t max)
{
    struct err err = { 0 };
    size_t count = 0;
    cr_assert(seg_index_find(ix, qid, first, last, out, max, &count, &err), "%s", err.text);
    return count;
}

Test(seg_index, of_an_empty_segment_finds_nothing)
{
    struct disk *d = mem_disk_new();
    struct seg_kit k;
    seg_kit_init(&k, SEG, 0);
    struct seg_index *ix = built(&k, d);
    struct index_entry e;
    cr_expect(eq(sz, find(ix, 1, 0, UINT64_MAX, &e, 1), 0));
    seg_index_close(&ix);
    seg_kit_fini(&k);
    disk_free(&d);
}

Test(seg_index, finds_the_messages_of_a_queue_in_order)
{
    struct disk *d = mem_disk_new();
    struct seg_kit k;
    struct place at[100];
    struct index_entry e[100];
    seg_kit_init(&k, SEG, 0);
    for (uint64_t i = 0; i < 100; i++)
        at[i] = seg_kit_msg(&k, 0, 1 + i % 2, i, 10 + i);
    struct seg_index *ix = built(&k, d);
    cr_assert(eq(sz, find(ix, 2, 10, 20, e, 100), 5));
    for (unsigned i = 0; i < 5; i++) {
        uint64_t qseq = 11 + 2 * i;
        cr_expect(eq(u64, e[i].qseq, qseq));
        cr_expect(eq(u32, e[i].offset, at[qseq].offset));
        cr_expect(eq(u32, e[i].body_bytes, (uint32_t)(10 + qseq)));
        cr_expect(eq(u32, e[i].length, record_length(k.bytes + at[qseq].offset)));
    }
    cr_expect(eq(sz, find(ix, 1, 0, UINT64_MAX, e, 7), 7));
    cr_expect(eq(u64, e[6].qseq, 12));
    cr_expect(eq(sz, find(ix, 3, 0, UINT64_MAX, e, 7), 0));
    cr_expect(eq(sz, find(ix, 1, 98, 98, e, 7), 1));
    cr_expect(eq(sz, find(ix, 1, 99, 99, e, 7), 0));
    seg_index_close(&ix);
    seg_kit_fini(&k);
    disk_free(&d);
}

Test(seg_index, shows_priorities_one_after_the_other)
{
    const uint64_t high = (uint64_t)5 << 56;
    struct disk *d = mem_disk_new();
    struct seg_kit k;
    struct index_entry e[8];
    seg_kit_init(&k, SEG, 0);
    seg_kit_msg(&k, 0, 1, high + 3, 1);
    seg_kit_msg(&k, 0, 1, 10, 1);
    seg_kit_msg(&k, 0, 1, high + 4, 1);
    seg_kit_msg(&k, 0, 1, 11, 1);
    struct seg_index *ix = built(&k, d);
    size_t rows;
    (void)seg_index_rows(ix, &rows);
    cr_expect(eq(sz, rows, 2));
    cr_assert(eq(sz, find(ix, 1, 0, UINT64_MAX, e, 8), 4));
    cr_expect(eq(u64, e[0].qseq, 10));
    cr_expect(eq(u64, e[1].qseq, 11));
    cr_expect(eq(u64, e[2].qseq, high + 3));
    cr_expect(eq(u64, e[3].qseq, high + 4));
    cr_expect(eq(sz, find(ix, 1, 12, high + 3, e, 8), 1));
    seg_index_close(&ix);
    seg_kit_fini(&k);
    disk_free(&d);
}

Test(seg_index, of_two_records_of_a_position_shows_the_later)
{
    struct disk *d = mem_disk_new();
    struct seg_kit k;
    struct index_entry e[8];
    seg_kit_init(&k, SEG, 0);
    seg_kit_msg(&k, 0, 1, 5, 1);
    seg_kit_msg(&k, 0, 1, 6, 1);
    struct place later = seg_kit_msg(&k, MSG_MOVED, 1, 5, 2);
    struct seg_index *ix = built(&k, d);
    cr_assert(eq(sz, find(ix, 1, 0, 100, e, 8), 2));
    cr_expect(eq(u32, e[0].offset, later.offset));
    cr_expect(eq(u64, seg_index_header(ix)->put_count, 3));
    seg_index_close(&ix);
    seg_kit_fini(&k);
    disk_free(&d);
}

Test(seg_index, is_not_made_of_a_damaged_segment)
{
    struct disk *d = mem_disk_new();
    struct seg_kit k;
    struct err err = { 0 };
    seg_kit_init(&k, SEG, 0);
    seg_kit_msg(&k, 0, 1, 1, 100);
    struct place hurt = seg_kit_msg(&k, 0, 1, 2, 100);
    seg_kit_msg(&k, 0, 1, 3, 100);
    seg_kit_save(&k, d);
    cr_expect(not(seg_index_build(d, SEG, &err)), "it has no END");
    cr_expect(eq(int, err.code, ERR_IO));
    seg_kit_end(&k);
    k.bytes[hurt.offset + 40] ^= 1;
    seg_kit_save(&k, d);
    cr_expect(not(seg_index_build(d, SEG, &err)));
    cr_expect(eq(int, err.code, ERR_IO));
    cr_expect(not(mem_disk_has(d, "journal/00000007.idx")));
    cr_expect(not(seg_index_build(d, SEG + 1, &err)));
    cr_expect(eq(int, err.code, ERR_NOT_FOUND));
    seg_kit_fini(&k);
    disk_free(&d);
}

Test(seg_index, tells_the_state_that_stands_in_the_segment)
{
    struct disk *d = mem_disk_new();
    struct seg_kit k;
    struct err err = { 0 };
    seg_kit_init(&k, SEG, 0);
    seg_kit_settle(&k, 1, 10, 19);
    seg_kit_settle(&k, 1, 20, 29);
    seg_kit_settle(&k, 1, 5, 5);
    seg_kit_mark(&k, 0, 1, 40);
    seg_kit_mark(&k, 0, 1, 30);
    seg_kit_mark(&k, SETTLE_AHEAD, 2, 90);
    seg_kit_returns(&k, 3, 7, 2);
    seg_kit_proven(&k, 77, 0);
    seg_kit_proven(&k, 78, 4);
    struct place at = seg_kit_large(&k, 0, 4, 8, 77, 100000);
    struct seg_index *ix = built(&k, d);
    uint8_t *bytes;
    size_t len;
    cr_assert(seg_index_state(ix, &bytes, &len, &err), "%s", err.text);
    struct index_state_reader r = index_state_over(slice_of(bytes, len));
    struct index_state s[16];
    unsigned count = 0;
    while (index_state_next(&r, &s[count]))
        count++;
    cr_expect(not(r.w.ran_out));
    cr_assert(eq(u32, count, 10));
    cr_expect(s[0].kind == INDEX_RANGE && s[0].qid == 1 && s[0].first == 5 && s[0].last == 5);
    cr_expect(s[1].kind == INDEX_RANGE && s[1].qid == 1 && s[1].first == 10 && s[1].last == 29);
    cr_expect(s[2].kind == INDEX_MARK && s[2].qid == 1 && s[2].first == 40);
    cr_expect(s[3].kind == INDEX_RANGE && s[3].qid == 2 && s[3].first > s[3].last);
    cr_expect(s[4].kind == INDEX_AHEAD && s[4].qid == 2 && s[4].first == 90);
    cr_expect(s[5].kind == INDEX_RANGE && s[5].qid == 3 && s[5].first > s[5].last);
    cr_expect(s[6].kind == INDEX_RETURNS && s[6].qid == 3 && s[6].first == 7 && s[6].returns == 2);
    cr_expect(s[7].kind == INDEX_PROVEN && s[7].large_id == 77 && s[7].qid == 0);
    cr_expect(s[8].kind == INDEX_PROVEN && s[8].large_id == 78 && s[8].qid == 4);
    cr_expect(s[9].kind == INDEX_LARGE && s[9].qid == 4 && s[9].first == 8 && s[9].large_id == 77 &&
              s[9].offset == at.offset && s[9].large_bytes == 100002);
    mem_free(bytes);
    seg_index_close(&ix);
    seg_kit_fini(&k);
    disk_free(&d);
}

/* What came again is folded into what was settled around it, in the order of the records. */
Test(seg_index, tells_what_came_again_and_was_cut_off)
{
    struct disk *d = mem_disk_new();
    struct seg_kit k;
    struct err err = { 0 };
    struct mirror_history h = { 0 };
    const struct settle_range cut = { 30, 99 };
    seg_kit_init(&k, SEG, 0);
    seg_kit_settle(&k, 1, 10, 19);
    for (uint64_t i = 10; i < 14; i++)
        seg_kit_msg(&k, MSG_AGAIN, 1, i, 5);
    seg_kit_settle(&k, 1, 12, 12);
    seg_kit_msg(&k, MSG_AGAIN | MSG_TRANSIENT, 1, 18, 5); /* is gone in any case */
    seg_kit_msg_by(&k, 0, &(struct msg_producer){ 7, 1 }, &(struct msg_target){ .qid = 1 }, 1, 5);
    mirror_history_saw(&h, 0, 7, 1);
    seg_kit_epoch(&k, 1, &cut, 1, &h);
    for (uint64_t i = 1; i < 4; i++) {
        struct msg_target t = { .qid = 1, .qseq = 30 + i };
        seg_kit_msg_by(&k, i == 3 ? MSG_MOVED : 0, &(struct msg_producer){ 8 - i, 20 + i }, &t, 1,
                       5);
    }
    seg_kit_msg(&k, MSG_AGAIN, 2, 4, 5);
    struct seg_index *ix = built(&k, d);
    uint8_t *bytes;
    size_t len;
    cr_assert(seg_index_state(ix, &bytes, &len, &err), "%s", err.text);
    struct index_state_reader r = index_state_over(slice_of(bytes, len));
    struct index_state s[16];
    unsigned count = 0;
    while (index_state_next(&r, &s[count]))
        count++;
    cr_expect(not(r.w.ran_out));
    cr_assert(eq(u32, count, 9));
    cr_expect(s[0].kind == INDEX_CUT && s[0].qid == 1 && s[0].first == 34);
    cr_expect(s[1].kind == INDEX_AGAIN && s[1].first == 10 && s[1].last == 13);
    cr_expect(s[2].kind == INDEX_RANGE && s[2].first == 12 && s[2].last == 12);
    cr_expect(s[3].kind == INDEX_RANGE && s[3].first == 14 && s[3].last == 19);
    cr_expect(s[4].kind == INDEX_RANGE && s[4].first == 30 && s[4].last == 99);
    cr_expect(s[5].kind == INDEX_EPOCH && s[5].history.len == mirror_history_size(&h, true));
    cr_expect(s[6].kind == INDEX_PRODUCER && s[6].producer.pid == 7 && s[6].producer.seq == 21);
    cr_expect(s[7].kind == INDEX_PRODUCER && s[7].producer.pid == 6 && s[7].producer.seq == 22);
    cr_expect(s[8].kind == INDEX_AGAIN && s[8].qid == 2 && s[8].first == 4 && s[8].last == 4);
    mem_free(bytes);
    mirror_history_fini(&h);
    seg_index_close(&ix);
    seg_kit_fini(&k);
    disk_free(&d);
}

/* ---- against a naive list ---------------------------------------------------------------------
 */

#define WROTE_MAX 20000u

struct wrote {
    uint64_t qid;
    struct index_entry e;
    uint64_t expires_ms;
    uint32_t returns;
};

struct history {
    struct wrote *wrote;
    size_t count;
};

static int by_position(const void *a, const void *b)
{
    const struct wrote *x = a;
    const struct wrote *y = b;
    if (x->qid != y->qid)
        return x->qid < y->qid ? -1 : 1;
    if (x->e.qseq != y->e.qseq)
        return x->e.qseq < y->e.qseq ? -1 : 1;
    return x->e.offset < y->e.offset ? -1 : 1;
}

static bool write_one(struct seg_kit *k, struct history *h, struct rng *rng, uint64_t queues,
                      uint64_t *next)
{
    static const unsigned kinds[] = {
        0, 0, 0, MSG_EXPIRES, MSG_RETURNS, MSG_TRANSIENT, MSG_MOVED | MSG_EXPIRES | MSG_RETURNS
    };
    struct msg_target t[3];
    unsigned count = queues >= 3 && rng_below(rng, 8) == 0 ? 3 : 1;
    uint64_t first = rng_below(rng, queues);
    size_t body = rng_chance(rng, 500) ? 16 : (size_t)rng_below(rng, 300);
    unsigned flags = kinds[rng_below(rng, rng_chance(rng, 800) ? 1 : ARRAY_COUNT(kinds))];
    for (unsigned i = 0; i < count; i++) {
        uint64_t q = (first + i) % queues;
        uint64_t back = rng_chance(rng, 30) ? rng_below(rng, 50) : 0;
        next[q] += 1 + (rng_chance(rng, 50) ? rng_below(rng, 1000) : 0);
        t[i] = (struct msg_target){ .qid = 10 + q,
                                    .qseq = next[q] > back ? next[q] - back : next[q],
                                    .expires_ms = flags & MSG_EXPIRES ? rng_below(rng, 1 << 30) : 0,
                                    .returns = flags & MSG_RETURNS ? 1 + (uint32_t)i : 0 };
    }
    if (k->header.bytes - k->offset < RECORD_MSG_ROOM(3) + body + 32 ||
        h->count + count > WROTE_MAX)
        return false;
    struct place at = seg_kit_msg_to(k, flags, t, count, body);
    for (unsigned i = 0; i < count; i++)
        h->wrote[h->count++] = (struct wrote){ .qid = t[i].qid,
                                               .e = { .qseq = t[i].qseq,
                                                      .offset = at.offset,
                                                      .body_bytes = (uint32_t)body,
                                                      .length = record_length(k->bytes + at.offset),
                                                      .msg_flags = (uint8_t)flags },
                                               .expires_ms = t[i].expires_ms,
                                               .returns = t[i].returns };
    return true;
}

/* In order, and without what was written anew. */
static void settle_history(struct history *h)
{
    qsort(h->wrote, h->count, sizeof *h->wrote, by_position);
    size_t kept = 0;
    for (size_t i = 0; i < h->count; i++) {
        struct wrote *w = &h->wrote[i];
        if (kept != 0 && h->wrote[kept - 1].qid == w->qid && h->wrote[kept - 1].e.qseq == w->e.qseq)
            kept--;
        h->wrote[kept++] = *w;
    }
    h->count = kept;
}

static bool is_same(const struct index_entry *a, const struct index_entry *b)
{
    return a->qseq == b->qseq && a->offset == b->offset && a->body_bytes == b->body_bytes &&
           a->length == b->length && a->msg_flags == b->msg_flags;
}

static void check_finds(struct seg_index *ix, const struct history *h, struct rng *rng)
{
    struct index_entry out[64];
    size_t i = (size_t)rng_below(rng, h->count);
    size_t n = (size_t)rng_below(rng, 64);
    while (i + n >= h->count || h->wrote[i].qid != h->wrote[i + n].qid) {
        i = (size_t)rng_below(rng, h->count);
        n /= 2;
    }
    uint64_t qid = h->wrote[i].qid;
    size_t got = find(ix, qid, h->wrote[i].e.qseq, h->wrote[i + n].e.qseq, out, 64);
    cr_assert(eq(sz, got, n + 1));
    for (size_t j = 0; j < got; j++)
        cr_assert(is_same(&out[j], &h->wrote[i + j].e));
}

static void check_rows(struct seg_index *ix, const struct history *h)
{
    struct err err = { 0 };
    size_t rows, at = 0;
    const struct index_row *row = seg_index_rows(ix, &rows);
    for (size_t i = 0; i < rows; i++, row++) {
        struct index_cursor c;
        cr_assert(index_cursor_init(&c, ix, row, &err), "%s", err.text);
        const struct index_item *e;
        uint64_t bytes = 0;
        uint32_t count = 0;
        while ((e = index_cursor_peek(&c)) != NULL) {
            const struct wrote *w = &h->wrote[at++];
            cr_assert(w->qid == row->qid && w->e.qseq == e->qseq);
            cr_assert(w->expires_ms == e->expires_ms && w->returns == e->returns);
            bytes += e->body_bytes;
            count++;
            cr_assert(index_cursor_next(&c, &err), "%s", err.text);
        }
        cr_assert(eq(u32, count, row->count));
        cr_assert(eq(u64, bytes, row->body_bytes));
        index_cursor_fini(&c);
    }
    cr_assert(eq(sz, at, h->count));
}

static void check_history(uint64_t seed)
{
    struct rng rng;
    uint64_t next[50] = { 0 };
    struct disk *d = mem_disk_new();
    struct history h = { mem_array(WROTE_MAX, sizeof(struct wrote)), 0 };
    struct seg_kit k;
    rng_init(&rng, seed);
    seg_kit_init(&k, SEG, 1 << 20);
    uint64_t queues = 1 + rng_below(&rng, rng_chance(&rng, 500) ? 3 : ARRAY_COUNT(next));
    size_t records = 1 + (size_t)rng_below(&rng, rng_chance(&rng, 300) ? 9000 : 60);
    while (records-- != 0 && write_one(&k, &h, &rng, queues, next))
        ;
    settle_history(&h);
    struct seg_index *ix = built(&k, d);
    if (rng_chance(&rng, 500))
        seg_index_let_go(ix);
    check_rows(ix, &h);
    for (unsigned i = 0; i < 100; i++)
        check_finds(ix, &h, &rng);
    seg_index_close(&ix);
    seg_kit_fini(&k);
    mem_free(h.wrote);
    disk_free(&d);
}

Test(seg_index, agrees_with_a_naive_list, .timeout = 300)
{
    for (uint64_t seed = 1; seed <= 150; seed++)
        check_history(seed);
}

/* ---- damage -----------------------------------------------------------------------------------
 */

/* Everything that can be asked; false as soon as something is refused. */
static bool reads(struct disk *d)
{
    struct err err = { 0 };
    struct seg_index *ix = seg_index_open(d, SEG, &err);
    uint8_t *state = NULL;
    size_t len, rows;
    if (ix == NULL)
        return false;
    bool ok = seg_index_state(ix, &state, &len, &err);
    mem_free(state);
    const struct index_row *row = seg_index_rows(ix, &rows);
    for (size_t i = 0; ok && i < rows; i++, row++) {
        struct index_cursor c;
        ok = index_cursor_init(&c, ix, row, &err);
        while (ok && index_cursor_peek(&c) != NULL)
            ok = index_cursor_next(&c, &err);
        index_cursor_fini(&c);
    }
    seg_index_close(&ix);
    return ok;
}

Test(seg_index, refuses_any_flipped_bit_and_any_cut, .timeout = 300)
{
    const char *name = "journal/00000007.idx";
    struct disk *d = mem_disk_new();
    struct seg_kit k;
    seg_kit_init(&k, SEG, 1 << 20);
    for (uint64_t i = 0; i < 1500; i++)
        seg_kit_msg(&k, i % 7 == 0 ? MSG_EXPIRES : 0, i % 11 == 0 ? 2 : 1, i, i % 5);
    seg_kit_settle(&k, 1, 3, 3);
    seg_kit_returns(&k, 2, 5, 5);
    struct seg_index *ix = built(&k, d);
    seg_index_close(&ix);
    size_t len;
    uint8_t *bytes = mem_disk_bytes(d, name, &len);
    cr_assert(reads(d));
    for (size_t i = 0; i < len; i++) {
        bytes[i] ^= (uint8_t)(1u << i % 8);
        cr_assert(not(reads(d)), "octet %zu of %zu", i, len);
        bytes[i] ^= (uint8_t)(1u << i % 8);
    }
    uint8_t *copy = mem_dup(bytes, len);
    for (size_t cut = 0; cut < len; cut += 1 + cut / 50) {
        mem_disk_put(d, name, slice_of(copy, cut));
        cr_assert(not(reads(d)), "%zu of %zu", cut, len);
    }
    mem_free(copy);
    seg_kit_fini(&k);
    disk_free(&d);
}

Test(seg_index, is_small)
{
    const char *name = "journal/00000007.idx";
    struct disk *d = mem_disk_new();
    struct seg_kit k;
    size_t len;
    seg_kit_init(&k, SEG, 1 << 20);
    struct rng rng;
    rng_init(&rng, 1);
    uint64_t next[100] = { 0 };
    size_t count = 0;
    for (; k.header.bytes - k.offset > 1000; count++) {
        uint64_t q = rng_below(&rng, 100);
        seg_kit_msg(&k, 0, q, ++next[q], 16 + (size_t)rng_below(&rng, 100));
    }
    struct seg_index *ix = built(&k, d);
    seg_index_close(&ix);
    (void)mem_disk_bytes(d, name, &len);
    cr_expect(lt(sz, len, count * 6), "%zu octets for %zu messages", len, count);
    seg_kit_fini(&k);
    disk_free(&d);
}
