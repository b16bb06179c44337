#include "mirror/mirror_wire.h"

#include "base/check.h"
#include "base/mem.h"

struct mirror_lists {
    struct mirror_starts starts;
    struct mirror_history history;
    struct producers producers;
    struct mirror_run runs[];
};

/* 0: there is no such record. */
static unsigned fields_of(uint8_t op)
{
    switch (op) {
#define X(name, octet, fields)                                                                     \
    case octet:                                                                                    \
        return fields;
        MIRROR_OPS(X)
#undef X
    default:
        return 0;
    }
}

/* ---- writing ------------------------------------------------------------------------------------
 */

size_t mirror_wire_size(const struct mirror_record *r)
{
    unsigned fields = fields_of((uint8_t)r->op);
    size_t size = 1;
#define X(bit, member, kind) size += (fields & (bit)) != 0 ? sizeof r->member : 0;
    MIRROR_FIELDS(X)
#undef X
    if ((fields & MIRROR_HAS_STARTS) != 0)
        size += mirror_starts_size(r->starts);
    if ((fields & MIRROR_HAS_HISTORY) != 0)
        size += mirror_history_size(r->history, false);
    if ((fields & MIRROR_HAS_PRODUCERS) != 0)
        size += producers_size(r->producers);
    if ((fields & MIRROR_HAS_RUNS) != 0)
        size += 2 + (size_t)r->run_count * 16;
    if ((fields & MIRROR_HAS_DATA) != 0)
        size += 8 + r->data.payload.len;
    return size;
}

static void put_runs(struct wire_out *w, const struct mirror_record *r)
{
    CHECK(r->run_count <= MIRROR_RUNS_MAX);
    for (uint32_t i = 0; i < r->run_count; i++) {
        wire_put_u64(w, r->runs[i].first);
        wire_put_u64(w, r->runs[i].last);
    }
}

static void put_data(struct wire_out *w, const struct mirror_data *d)
{
    wire_put_u8(w, d->type);
    wire_put_u8(w, d->flags);
    wire_put_u16(w, d->count);
    wire_put_longstr(w, d->payload);
}

void mirror_wire_put(struct wire_out *w, const struct mirror_record *r)
{
    unsigned fields = fields_of((uint8_t)r->op);
    wire_put_u8(w, (uint8_t)r->op);
#define X(bit, member, kind)                                                                       \
    if ((fields & (bit)) != 0)                                                                     \
        wire_put_##kind(w, r->member);
    MIRROR_FIELDS(X)
#undef X
    if ((fields & MIRROR_HAS_RUNS) != 0)
        wire_put_u16(w, (uint16_t)r->run_count); /* before all lists, see mirror_wire_take */
    if ((fields & MIRROR_HAS_STARTS) != 0)
        mirror_starts_put(w, r->starts);
    if ((fields & MIRROR_HAS_HISTORY) != 0)
        mirror_history_put(w, r->history, false);
    if ((fields & MIRROR_HAS_PRODUCERS) != 0)
        producers_put(w, r->producers);
    if ((fields & MIRROR_HAS_RUNS) != 0)
        put_runs(w, r);
    if ((fields & MIRROR_HAS_DATA) != 0)
        put_data(w, &r->data);
}

/* ---- reading ------------------------------------------------------------------------------------
 */

void mirror_record_fini(struct mirror_record *r)
{
    if (r->owned == NULL)
        return;
    mirror_starts_fini(&r->owned->starts);
    mirror_history_fini(&r->owned->history);
    producers_fini(&r->owned->producers);
    mem_free(r->owned);
    r->owned = NULL;
}

/* In order, and none touches another. */
static bool take_runs(struct wire *w, struct mirror_record *out)
{
    struct mirror_run *runs = out->owned->runs;
    for (uint32_t i = 0; i < out->run_count; i++) {
        runs[i] = (struct mirror_run){ .first = wire_u64(w) };
        runs[i].last = wire_u64(w);
        if (runs[i].last < runs[i].first || runs[i].first < out->from || runs[i].last > out->to ||
            (i != 0 && runs[i].first <= runs[i - 1].last))
            return false;
    }
    return true;
}

static bool take_lists(struct wire *w, unsigned fields, struct mirror_record *out)
{
    struct mirror_lists *o = out->owned;
    if ((fields & MIRROR_HAS_STARTS) != 0 && !mirror_starts_take(w, &o->starts))
        return false;
    if ((fields & MIRROR_HAS_HISTORY) != 0 && !mirror_history_take(w, false, &o->history))
        return false;
    if ((fields & MIRROR_HAS_PRODUCERS) != 0 && !producers_take(w, &o->producers))
        return false;
    if ((fields & MIRROR_HAS_RUNS) != 0 && !take_runs(w, out))
        return false;
    out->starts = &o->starts;
    out->history = &o->history;
    out->producers = &o->producers;
    out->runs = o->runs;
    return true;
}

static void take_data(struct wire *w, struct mirror_data *d)
{
    d->type = wire_u8(w);
    d->flags = wire_u8(w);
    d->count = wire_u16(w);
    d->payload = wire_longstr(w);
}

#define LISTS (MIRROR_HAS_STARTS | MIRROR_HAS_HISTORY | MIRROR_HAS_PRODUCERS | MIRROR_HAS_RUNS)

bool mirror_wire_take(struct wire *w, struct mirror_record *out)
{
    uint8_t op = wire_u8(w);
    unsigned fields = fields_of(op);
    *out = (struct mirror_record){ 0 };
    if (w->ran_out || fields == 0)
        return false;
    out->op = (enum mirror_op)op;
#define X(bit, member, kind)                                                                       \
    if ((fields & (bit)) != 0)                                                                     \
        out->member = wire_##kind(w);
    MIRROR_FIELDS(X)
#undef X
    /* How many there are is known before room is made for them. */
    if ((fields & MIRROR_HAS_RUNS) != 0)
        out->run_count = wire_u16(w);
    if (out->run_count > MIRROR_RUNS_MAX)
        return false;
    if ((fields & LISTS) != 0) {
        out->owned = mem_zalloc(sizeof *out->owned + out->run_count * sizeof out->owned->runs[0]);
        if (!take_lists(w, fields, out)) {
            mirror_record_fini(out);
            return false;
        }
    }
    if ((fields & MIRROR_HAS_DATA) != 0)
        take_data(w, &out->data);
    if (w->ran_out)
        mirror_record_fini(out);
    return !w->ran_out;
}
