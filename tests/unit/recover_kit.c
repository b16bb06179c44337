#include "recover_kit.h"

#include "base/mem.h"
#include "base/text.h"
#include "expect.h"
#include "mem_disk.h"
#include "store/seg_index.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void recover_kit_run(struct recover_kit *k, struct disk *d, unsigned threads, bool look_only)
{
    struct err err = { 0 };
    *k = (struct recover_kit){ .disk = d, .segs = segs_new() };
    struct recover_setup setup = {
        .disk = d, .segs = k->segs, .threads = threads, .look_only = look_only
    };
    cr_assert(recover_run(&setup, &k->found, &err), "%s", err.text);
}

void recover_kit_fini(struct recover_kit *k)
{
    recovered_fini(&k->found);
    segs_free(&k->segs);
}

struct listed {
    struct recover_alive *items;
    size_t count;
    size_t cap;
};

static void add(struct listed *l, const struct recover_alive *a)
{
    if (l->count == l->cap) {
        l->cap = l->cap != 0 ? 2 * l->cap : 64;
        l->items = mem_realloc(l->items, l->cap * sizeof *l->items);
    }
    l->items[l->count++] = *a;
}

/* Reads the record, since the index does not tell the expiry. */
static uint64_t expiry_at(struct disk *d, struct place at, uint64_t qid, uint64_t qseq)
{
    char name[64];
    size_t len;
    struct segment_header h;
    struct record r;
    struct msg_record m;
    snprintf(name, sizeof name, "journal/%08x.seg", at.seg);
    uint8_t *bytes = mem_disk_bytes(d, name, &len);
    cr_assert(segment_header_read(slice_of(bytes, len), &h));
    cr_assert(record_cut(slice_of(bytes, len), &h, at.offset, &r) == RECORD_CUT_OK);
    cr_assert(record_read_msg(&r, &m));
    for (unsigned i = 0; i < m.target_count; i++) {
        struct msg_target t = msg_record_target(&m, i);
        if (t.qid == qid && t.qseq == qseq)
            return t.expires_ms;
    }
    cr_assert(false, "no such target");
    return 0;
}

static void list_run(struct recover_kit *k, struct listed *l, uint64_t qid, const struct qrun *run)
{
    struct err err = { 0 };
    struct seg_index *ix = seg_index_open(k->disk, run->seg, &err);
    cr_assert(ix != NULL, "%s", err.text);
    struct index_entry *e = mem_array((size_t)run->count + 1, sizeof *e);
    size_t count;
    uint64_t bytes = 0;
    bool expiring = false;
    cr_assert(
        seg_index_find(ix, qid, run->first, run->last, e, (size_t)run->count + 1, &count, &err),
        "%s", err.text);
    cr_assert(eq(sz, count, run->count));
    cr_assert(eq(u64, e[0].qseq, run->first));
    cr_assert(eq(u64, e[count - 1].qseq, run->last));
    for (size_t i = 0; i < count; i++) {
        struct place at = { run->seg, e[i].offset };
        uint64_t expires_ms = expiry_at(k->disk, at, qid, e[i].qseq);
        bytes += e[i].body_bytes;
        expiring |= expires_ms != 0;
        add(l, &(struct recover_alive){ .qid = qid,
                                        .qseq = e[i].qseq,
                                        .place = at,
                                        .body_bytes = e[i].body_bytes,
                                        .expires_ms = expires_ms,
                                        .redelivered = run->redelivered,
                                        .in_run = true });
    }
    cr_assert(eq(u64, bytes, run->body_bytes));
    cr_assert(eq(int, expiring, run->has_expiring));
    mem_free(e);
    seg_index_close(&ix);
}

static void list_level(struct recover_kit *k, struct listed *l, uint64_t qid,
                       const struct recovered_level *level)
{
    size_t run = 0, entry = 0;
    bool any = false;
    uint64_t last = 0;
    while (run < level->run_count || entry < level->entry_count) {
        const struct qrun *r = run < level->run_count ? &level->runs[run] : NULL;
        const struct recovered_entry *e =
            entry < level->entry_count ? &level->entries[entry] : NULL;
        bool run_first = e == NULL || (r != NULL && r->first < e->qseq);
        uint64_t first = run_first ? r->first : e->qseq;
        cr_assert(first > last || !any, "in order, and nothing twice");
        cr_assert(eq(u64, first >> 56, level->priority));
        last = run_first ? r->last : e->qseq;
        any = true;
        if (run_first) {
            list_run(k, l, qid, r);
            run++;
        } else {
            add(l, &(struct recover_alive){ .qid = qid,
                                            .qseq = e->qseq,
                                            .place = e->place,
                                            .body_bytes = e->body_bytes,
                                            .expires_ms = e->expires_ms,
                                            .returns = e->returns,
                                            .redelivered = e->redelivered });
            entry++;
        }
    }
    cr_assert(level->next_new > last || !any);
}

static void check_sums(struct recover_kit *k, const struct listed *l)
{
    uint32_t end = segs_end(k->segs);
    uint64_t alive = 0;
    for (uint32_t seg = 1; seg < end; seg++) {
        int64_t count = 0, cost = 0;
        for (size_t i = 0; i < l->count; i++) {
            count += l->items[i].place.seg == seg;
            cost += l->items[i].place.seg == seg ? segs_cost(l->items[i].body_bytes) : 0;
        }
        if (segs_state(k->segs, seg) == SEG_NONE)
            continue;
        struct seg *s = segs_get(k->segs, seg);
        cr_assert(eq(i64, atomic_load(&s->alive_count), count), "segment %u", seg);
        cr_assert(eq(i64, atomic_load(&s->alive_bytes), cost), "segment %u", seg);
        alive += (uint64_t)count;
    }
    cr_assert(eq(u64, alive, l->count));
    cr_assert(eq(u64, k->found.message_count, l->count));
}

struct recover_alive *recover_kit_list(struct recover_kit *k, size_t *count)
{
    struct listed l = { 0 };
    for (size_t i = 0; i < k->found.queue_count; i++) {
        const struct recovered_queue *q = &k->found.queues[i];
        cr_assert(i == 0 || q->qid > q[-1].qid);
        for (size_t j = 0; j < q->level_count; j++)
            list_level(k, &l, q->qid, &q->levels[j]);
    }
    check_sums(k, &l);
    *count = l.count;
    return l.items;
}

const struct recovered_level *recover_kit_level(const struct recover_kit *k, uint64_t qid,
                                                uint8_t priority)
{
    for (size_t i = 0; i < k->found.queue_count; i++) {
        const struct recovered_queue *q = &k->found.queues[i];
        for (size_t j = 0; q->qid == qid && j < q->level_count; j++)
            if (q->levels[j].priority == priority)
                return &q->levels[j];
    }
    return NULL;
}

const char *recover_kit_damages(const struct recover_kit *k)
{
    static char shown[2048];
    struct text t = text_over(shown, sizeof shown);
    for (size_t i = 0; i < k->found.damage_count; i++) {
        const struct recovered_damage *d = &k->found.damages[i];
        text_put(&t, "%s%u:%u-%u", i != 0 ? "; " : "", d->seg, d->from, d->to);
        if (d->qid != 0)
            text_put(&t, " q%" PRIu64 " %" PRIu64 "-%" PRIu64, d->qid, d->first_qseq, d->last_qseq);
    }
    return shown;
}
