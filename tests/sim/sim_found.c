#include "sim_found.h"

#include "base/mem.h"
#include "sim_content.h"
#include "store/journal.h"
#include "store/seg_index.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static bool read_target(const struct msg_record *m, uint64_t qid, uint64_t qseq,
                        struct sim_seen *out)
{
    for (unsigned i = 0; i < m->target_count; i++) {
        struct msg_target t = msg_record_target(m, i);
        if (t.qid != qid || t.qseq != qseq)
            continue;
        out->expires_ms = t.expires_ms;
        out->returns = t.returns;
        return true;
    }
    return false;
}

/* The number, if all the rest is what the number says; else one that nobody gave. */
static uint64_t read_content(const struct msg_record *m, bool is_plain)
{
    uint8_t names[SIM_NAMES_BYTES], props[SIM_PROPS_MAX];
    uint64_t content;
    struct wire w = wire_over(m->names);
    struct slice exchange = wire_shortstr(&w), key = wire_shortstr(&w);
    if (w.ran_out || key.len != sizeof content || (is_plain && exchange.len != 0))
        return UINT64_MAX;
    memcpy(&content, key.ptr, sizeof content);
    sim_names(names, content);
    sim_props(props, content);
    bool is_good = (!is_plain || slice_eq(m->names, slice_of(names, sizeof names))) &&
                   (!is_plain || slice_eq(m->props, slice_of(props, sim_props_bytes(content)))) &&
                   ((m->flags & MSG_LARGE) != 0 || sim_is_body(m->body, content));
    return is_good ? content : UINT64_MAX;
}

bool sim_found_read(struct sim_disk *d, struct place place, uint64_t qid, uint64_t qseq,
                    bool is_plain, struct sim_seen *out)
{
    char name[JOURNAL_NAME_MAX];
    struct segment_header h;
    struct record r;
    struct msg_record m;
    journal_seg_name(place.seg, name);
    struct slice whole = sim_disk_look(d, name);
    *out = (struct sim_seen){ .qid = qid, .qseq = qseq, .place = place };
    if (!segment_header_read(whole, &h) || h.seg != place.seg ||
        record_cut(whole, &h, place.offset, &r) != RECORD_CUT_OK || r.type != RECORD_MSG ||
        !record_read_msg(&r, &m) || !read_target(&m, qid, qseq, out))
        return false;
    out->body_bytes = m.body_bytes;
    out->content = read_content(&m, is_plain);
    return true;
}

PRINTF_LIKE(2, 3) static void fail(const struct sim_finder *f, const char *fmt, ...)
{
    char why[SIM_WHY_MAX];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(why, sizeof why, fmt, args);
    va_end(args);
    f->fail(why, f->arg);
}

static void show_entry(struct sim_disk *d, uint64_t qid, const struct recovered_entry *e,
                       const struct sim_finder *f)
{
    struct sim_seen s;
    if (!sim_found_read(d, e->place, qid, e->qseq, f->is_plain, &s)) {
        f->miss(qid, e, f->arg);
        return;
    }
    if (e->body_bytes != s.body_bytes || e->expires_ms != s.expires_ms)
        fail(f, "queue %" PRIu64 ": entry %" PRIx64 " is not what its record says", qid, e->qseq);
    s.redelivered = e->redelivered;
    s.returns = e->returns;
    f->see(&s, f->arg);
}

static bool open_index(struct sim_disk *d, uint32_t seg, struct seg_index **ix, struct err *err)
{
    *ix = seg_index_open(sim_disk_of(d), seg, err);
    if (*ix == NULL && !sim_disk_is_down(d) && seg_index_build(sim_disk_of(d), seg, err))
        *ix = seg_index_open(sim_disk_of(d), seg, err);
    return *ix != NULL;
}

#define FIND_MAX 64u

/* Recovery does not look into lists that it does not need: one that is damaged is made anew. */
static bool find_some(struct sim_disk *d, uint32_t seg, struct seg_index **ix, uint64_t qid,
                      struct settle_range range, struct index_entry *found, size_t *n,
                      struct err *err)
{
    if (seg_index_find(*ix, qid, range.first, range.last, found, FIND_MAX, n, err))
        return true;
    seg_index_close(ix);
    if (sim_disk_is_down(d) || !seg_index_build(sim_disk_of(d), seg, err))
        return false;
    *ix = seg_index_open(sim_disk_of(d), seg, err);
    return *ix != NULL &&
           seg_index_find(*ix, qid, range.first, range.last, found, FIND_MAX, n, err);
}

static bool show_run(struct sim_disk *d, uint64_t qid, const struct qrun *run,
                     const struct sim_finder *f)
{
    struct err err;
    struct seg_index *ix;
    if (!open_index(d, run->seg, &ix, &err)) {
        if (!sim_disk_is_down(d))
            fail(f, "no index of segment %u: %s", run->seg, err.text);
        return false;
    }
    struct index_entry found[FIND_MAX];
    size_t n = 0, count = 0;
    uint64_t body_bytes = 0, from = run->first;
    bool ok = true;
    do {
        ok = find_some(d, run->seg, &ix, qid, (struct settle_range){ from, run->last }, found, &n,
                       &err);
        for (size_t i = 0; ok && i < n; i++) {
            struct recovered_entry e = { .qseq = found[i].qseq,
                                         .place = { run->seg, found[i].offset },
                                         .redelivered = run->redelivered };
            struct sim_seen s;
            if (sim_found_read(d, e.place, qid, e.qseq, f->is_plain, &s)) {
                e.body_bytes = s.body_bytes;
                e.expires_ms = s.expires_ms;
            }
            body_bytes += found[i].body_bytes;
            show_entry(d, qid, &e, f);
        }
        count += n;
        from = n != 0 ? found[n - 1].qseq + 1 : from;
    } while (ok && n == FIND_MAX && from <= run->last);
    if (ix != NULL)
        seg_index_close(&ix);
    if (!ok && !sim_disk_is_down(d))
        fail(f, "the index of segment %u cannot be read: %s", run->seg, err.text);
    if (ok && (count != run->count || body_bytes != run->body_bytes))
        fail(f,
             "queue %" PRIu64 ": the run %" PRIx64 " to %" PRIx64 " has %zu messages of %" PRIu64
             " octets, not %u of %" PRIu64,
             qid, run->first, run->last, count, body_bytes, run->count, run->body_bytes);
    return ok;
}

static bool show_level(struct sim_disk *d, uint64_t qid, const struct recovered_level *l,
                       const struct sim_finder *f)
{
    for (size_t i = 0; i < l->entry_count; i++)
        show_entry(d, qid, &l->entries[i], f);
    for (size_t i = 0; i < l->run_count; i++)
        if (!show_run(d, qid, &l->runs[i], f))
            return false;
    for (size_t i = 1; i < l->entry_count; i++)
        if (l->entries[i].qseq <= l->entries[i - 1].qseq)
            fail(f, "queue %" PRIu64 ": entries are not in order", qid);
    return true;
}

bool sim_found_walk(struct sim_disk *d, const struct recovered *r, const struct sim_finder *f)
{
    for (size_t i = 0; i < r->queue_count; i++)
        for (size_t k = 0; k < r->queues[i].level_count; k++)
            if (!show_level(d, r->queues[i].qid, &r->queues[i].levels[k], f))
                return false;
    return true;
}

/* ---- to the oracle ----------------------------------------------------------------------------
 */

static void on_seen(const struct sim_seen *s, void *arg)
{
    sim_oracle_see(arg, s);
}

static void on_missed(uint64_t qid, const struct recovered_entry *e, void *arg)
{
    sim_oracle_miss(arg, qid, e->qseq, e->place, e->body_bytes);
}

static void on_wrong(const char *why, void *arg)
{
    sim_oracle_fail(arg, "%s", why);
}

/* What the table says is alive in each segment is what was shown. */
static void judge_counts(struct segs *segs, struct sim_oracle *o)
{
    for (uint32_t seg = segs_next(segs, 0); seg != 0; seg = segs_next(segs, seg)) {
        int64_t count, bytes;
        sim_oracle_alive_in(o, seg, &count, &bytes);
        const struct seg *s = segs_get(segs, seg);
        if (s->alive_count != count || s->alive_bytes != bytes)
            sim_oracle_fail(o,
                            "segment %u is said to have %" PRIi64 " alive of %" PRIi64
                            " octets, and has %" PRIi64 " of %" PRIi64,
                            seg, (int64_t)s->alive_count, (int64_t)s->alive_bytes, count, bytes);
    }
}

bool sim_found_show(struct sim_disk *d, struct segs *segs, const struct recovered *r,
                    enum sim_end end, struct sim_oracle *o)
{
    sim_oracle_begin(o, end);
    for (size_t i = 0; i < r->damage_count; i++) {
        const struct recovered_damage *x = &r->damages[i];
        sim_oracle_damage(o, x->qid, x->first_qseq, x->last_qseq, (struct place){ x->seg, x->from },
                          x->to);
    }
    struct sim_finder f = {
        .see = on_seen, .miss = on_missed, .fail = on_wrong, .arg = o, .is_plain = true
    };
    if (!sim_found_walk(d, r, &f))
        return false;
    for (size_t i = 0; i < r->queue_count; i++)
        for (size_t k = 0; k < r->queues[i].level_count; k++) {
            const struct recovered_level *l = &r->queues[i].levels[k];
            sim_oracle_next(o, r->queues[i].qid,
                            (uint64_t)l->priority << 56 | (l->next_new & (UINT64_MAX >> 8)));
        }
    judge_counts(segs, o);
    sim_oracle_end(o);
    return true;
}
