#include "mirror/mirror_history.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"

/* ---- starts ------------------------------------------------------------------------------------
 */

void mirror_starts_fini(struct mirror_starts *s)
{
    mem_free(s->items);
    *s = (struct mirror_starts){ 0 };
}

void mirror_starts_copy(struct mirror_starts *to, const struct mirror_starts *from)
{
    mirror_starts_fini(to);
    to->count = from->count;
    if (from->count != 0)
        to->items = mem_dup(from->items, from->count * sizeof *from->items);
}

/* The first whose priority is not below that of the position. */
static uint32_t lower(const struct mirror_starts *s, uint64_t position)
{
    uint32_t at = 0;
    while (at < s->count && mirror_priority_base(s->items[at]) < mirror_priority_base(position))
        at++;
    return at;
}

static bool is_at(const struct mirror_starts *s, uint32_t at, uint64_t position)
{
    return at < s->count && mirror_priority_base(s->items[at]) == mirror_priority_base(position);
}

uint64_t mirror_starts_of(const struct mirror_starts *s, uint64_t position)
{
    uint32_t at = lower(s, position);
    return is_at(s, at, position) ? s->items[at] : mirror_priority_base(position);
}

void mirror_starts_raise(struct mirror_starts *s, uint64_t next)
{
    uint32_t at = lower(s, next);
    if (is_at(s, at, next)) {
        if (s->items[at] < next)
            s->items[at] = next;
        return;
    }
    s->items = mem_realloc(s->items, (s->count + 1) * sizeof *s->items);
    memmove(s->items + at + 1, s->items + at, (s->count - at) * sizeof *s->items);
    s->items[at] = next;
    s->count++;
}

void mirror_starts_lower(struct mirror_starts *s, const struct mirror_starts *than)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        uint64_t other = mirror_starts_of(than, s->items[i]);
        uint64_t least = other < s->items[i] ? other : s->items[i];
        if (least != mirror_priority_base(least))
            s->items[kept++] = least;
    }
    s->count = kept;
}

static void raise_to(struct mirror_starts *s, const struct mirror_starts *least)
{
    for (uint32_t i = 0; i < least->count; i++)
        mirror_starts_raise(s, least->items[i]);
}

bool mirror_starts_within(const struct mirror_starts *s, const struct mirror_starts *of)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (s->items[i] > mirror_starts_of(of, s->items[i]))
            return false;
    return true;
}

/* ---- history -----------------------------------------------------------------------------------
 */

static void fini_epoch(struct mirror_epoch *e)
{
    mirror_starts_fini(&e->starts);
    producers_fini(&e->producers);
}

static void fini_epochs(struct mirror_history *h)
{
    for (uint32_t i = 0; i < h->count; i++)
        fini_epoch(&h->epochs[i]);
    mem_free(h->epochs);
    h->epochs = NULL;
    h->count = 0;
}

void mirror_history_fini(struct mirror_history *h)
{
    fini_epochs(h);
    mirror_starts_fini(&h->base);
    producers_fini(&h->base_producers);
    producers_fini(&h->now);
    *h = (struct mirror_history){ 0 };
}

static void copy_epochs(struct mirror_history *to, const struct mirror_history *from)
{
    fini_epochs(to);
    to->count = from->count;
    if (from->count != 0)
        to->epochs = mem_array(from->count, sizeof *to->epochs);
    for (uint32_t i = 0; i < from->count; i++) {
        to->epochs[i].epoch = from->epochs[i].epoch;
        mirror_starts_copy(&to->epochs[i].starts, &from->epochs[i].starts);
        producers_copy(&to->epochs[i].producers, &from->epochs[i].producers);
    }
}

void mirror_history_copy(struct mirror_history *to, const struct mirror_history *from)
{
    copy_epochs(to, from);
    to->is_partial = from->is_partial;
    mirror_starts_copy(&to->base, &from->base);
    producers_copy(&to->base_producers, &from->base_producers);
    producers_copy(&to->now, &from->now);
}

uint64_t mirror_history_epoch(const struct mirror_history *h)
{
    return h->count != 0 ? h->epochs[h->count - 1].epoch : 0;
}

void mirror_history_begin(struct mirror_history *h, uint64_t epoch,
                          const struct mirror_starts *next)
{
    CHECK(epoch > mirror_history_epoch(h) && !h->is_partial);
    if (h->count != 0 && h->epochs[h->count - 1].producers.count > MIRROR_EPOCH_PRODUCERS_MAX)
        producers_fini(&h->epochs[h->count - 1].producers);
    if (h->count == MIRROR_EPOCHS_MAX) {
        fini_epoch(&h->epochs[0]);
        h->count--;
        memmove(h->epochs, h->epochs + 1, h->count * sizeof *h->epochs);
    }
    h->epochs = mem_realloc(h->epochs, (h->count + 1) * sizeof *h->epochs);
    struct mirror_epoch *e = &h->epochs[h->count++];
    *e = (struct mirror_epoch){ .epoch = epoch };
    mirror_starts_copy(&e->starts, next);
    /* What the former epoch began behind may all be settled, and never have been here. */
    if (h->count > 1)
        raise_to(&e->starts, &h->epochs[h->count - 2].starts);
    producers_copy(&e->producers, &h->now);
}

/* The newest epoch that both have had: the entries behind it, NULL where it is the last one. False:
 * there is none. */
static bool find_common(const struct mirror_history *a, const struct mirror_history *b,
                        const struct mirror_epoch **behind_a, const struct mirror_epoch **behind_b)
{
    for (uint32_t i = a->count; i-- != 0;) {
        for (uint32_t k = b->count; k-- != 0;) {
            if (a->epochs[i].epoch != b->epochs[k].epoch)
                continue;
            *behind_a = i + 1 < a->count ? &a->epochs[i + 1] : NULL;
            *behind_b = k + 1 < b->count ? &b->epochs[k + 1] : NULL;
            return true;
        }
    }
    *behind_a = *behind_b = NULL;
    return false;
}

/* Both ends of one epoch: the earlier one. */
static const struct mirror_epoch *earlier(const struct mirror_epoch *a,
                                          const struct mirror_epoch *b)
{
    if (a == NULL || b == NULL)
        return a != NULL ? a : b;
    return mirror_starts_within(&a->starts, &b->starts) ? a : b;
}

/* What lies behind `end` is not the master's: the base is no further. Whose numbers were too many
 * to be kept is forgotten: rather taken twice than not at all. */
static void cut_base(struct mirror_history *h, const struct mirror_epoch *end)
{
    if (end != NULL && mirror_starts_within(&h->base, &end->starts))
        return;
    if (end == NULL) {
        mirror_starts_fini(&h->base);
        producers_fini(&h->base_producers);
        return;
    }
    mirror_starts_lower(&h->base, &end->starts);
    producers_copy(&h->base_producers, &end->producers);
}

bool mirror_history_join(struct mirror_history *h, const struct mirror_history *master,
                         const struct mirror_starts *next, struct mirror_starts *cut)
{
    const struct mirror_epoch *theirs, *ours;
    bool has_common = find_common(master, h, &theirs, &ours);
    if (MUTATION(MIRROR_CUT_AT_THEIR_END))
        ours = NULL;
    const struct mirror_epoch *end = earlier(theirs, ours);
    bool is_cut = !has_common || end != NULL;
    if (!h->is_partial) {
        h->is_partial = true;
        mirror_starts_copy(&h->base, next);
        producers_copy(&h->base_producers, &h->now);
    }
    *cut = (struct mirror_starts){ 0 };
    if (is_cut) {
        if (end != NULL)
            mirror_starts_copy(cut, &end->starts);
        cut_base(h, end);
        producers_copy(&h->now, &h->base_producers);
    }
    copy_epochs(h, master);
    return is_cut && !MUTATION(MIRROR_NO_CUT);
}

void mirror_history_saw(struct mirror_history *h, uint64_t position, uint64_t pid, uint64_t seq)
{
    producers_saw(&h->now, pid, seq);
    /* One that went with the memory of a former life, and stays if this goes back to its base. */
    if (h->is_partial && mirror_starts_has(&h->base, position))
        producers_saw(&h->base_producers, pid, seq);
}

void mirror_history_whole(struct mirror_history *h, const struct producers *master_now)
{
    h->is_partial = false;
    mirror_starts_fini(&h->base);
    producers_fini(&h->base_producers);
    producers_copy(&h->now, master_now);
}

bool mirror_history_back(struct mirror_history *h, struct mirror_starts *cut)
{
    *cut = (struct mirror_starts){ 0 };
    if (!h->is_partial)
        return false;
    h->is_partial = false;
    if (MUTATION(MIRROR_LEADS_WITH_HOLES)) {
        mirror_starts_fini(&h->base);
        producers_fini(&h->base_producers);
        return false;
    }
    /* Epochs that began behind are not those of what is here. */
    while (h->count != 0 && !mirror_starts_within(&h->epochs[h->count - 1].starts, &h->base))
        fini_epoch(&h->epochs[--h->count]);
    *cut = h->base;
    producers_fini(&h->now);
    h->now = h->base_producers;
    h->base = (struct mirror_starts){ 0 };
    h->base_producers = (struct producers){ 0 };
    return true;
}

/* ---- as octets ---------------------------------------------------------------------------------
 */

size_t mirror_starts_size(const struct mirror_starts *s)
{
    return 2 + (size_t)s->count * 8;
}

void mirror_starts_put(struct wire_out *w, const struct mirror_starts *s)
{
    wire_put_u16(w, (uint16_t)s->count);
    for (uint32_t i = 0; i < s->count; i++)
        wire_put_u64(w, s->items[i]);
}

bool mirror_starts_take(struct wire *w, struct mirror_starts *out)
{
    *out = (struct mirror_starts){ 0 };
    uint32_t count = wire_u16(w);
    struct wire items = wire_over(wire_take(w, (size_t)count * 8));
    if (w->ran_out || count > MIRROR_STARTS_MAX)
        return false;
    if (count != 0)
        out->items = mem_array(count, sizeof *out->items);
    bool is_good = true;
    for (; out->count < count; out->count++) {
        uint64_t next = wire_u64(&items);
        is_good = is_good && (out->count == 0 || mirror_priority_base(out->items[out->count - 1]) <
                                                     mirror_priority_base(next));
        out->items[out->count] = next;
    }
    if (!is_good)
        mirror_starts_fini(out);
    return is_good;
}

size_t producers_size(const struct producers *p)
{
    return 4 + (size_t)p->count * 16;
}

void producers_put(struct wire_out *w, const struct producers *p)
{
    wire_put_u32(w, p->count);
    for (uint32_t i = 0; i < p->count; i++) {
        wire_put_u64(w, p->items[i].pid);
        wire_put_u64(w, p->items[i].seq);
    }
}

bool producers_take(struct wire *w, struct producers *out)
{
    *out = (struct producers){ 0 };
    uint32_t count = wire_u32(w);
    if (count > PRODUCERS_MAX)
        return false;
    struct wire items = wire_over(wire_take(w, (size_t)count * 16));
    if (w->ran_out)
        return false;
    if (count != 0)
        out->items = mem_array(count, sizeof *out->items);
    out->cap = count;
    bool is_good = true;
    for (; out->count < count; out->count++) {
        struct producer *p = &out->items[out->count];
        p->pid = wire_u64(&items);
        p->seq = wire_u64(&items);
        is_good = is_good && (out->count == 0 || p[-1].pid < p->pid);
    }
    if (!is_good)
        producers_fini(out);
    return is_good;
}

size_t mirror_history_size(const struct mirror_history *h, bool all)
{
    size_t size = 1;
    for (uint32_t i = 0; i < h->count; i++)
        size +=
            8 + mirror_starts_size(&h->epochs[i].starts) + producers_size(&h->epochs[i].producers);
    if (all)
        size += 1 + mirror_starts_size(&h->base) + producers_size(&h->base_producers) +
                producers_size(&h->now);
    return size;
}

void mirror_history_put(struct wire_out *w, const struct mirror_history *h, bool all)
{
    wire_put_u8(w, (uint8_t)h->count);
    for (uint32_t i = 0; i < h->count; i++) {
        wire_put_u64(w, h->epochs[i].epoch);
        mirror_starts_put(w, &h->epochs[i].starts);
        producers_put(w, &h->epochs[i].producers);
    }
    if (!all)
        return;
    wire_put_u8(w, h->is_partial ? 1 : 0);
    mirror_starts_put(w, &h->base);
    producers_put(w, &h->base_producers);
    producers_put(w, &h->now);
}

static bool take_epoch(struct wire *w, uint64_t above, struct mirror_epoch *e)
{
    *e = (struct mirror_epoch){ .epoch = wire_u64(w) };
    return mirror_starts_take(w, &e->starts) && producers_take(w, &e->producers) &&
           e->epoch > above;
}

static bool take_rest(struct wire *w, struct mirror_history *h)
{
    h->is_partial = wire_u8(w) != 0;
    return mirror_starts_take(w, &h->base) && producers_take(w, &h->base_producers) &&
           producers_take(w, &h->now);
}

bool mirror_history_take(struct wire *w, bool all, struct mirror_history *out)
{
    *out = (struct mirror_history){ 0 };
    uint32_t count = wire_u8(w);
    bool is_good = count <= MIRROR_EPOCHS_MAX;
    if (is_good && count != 0)
        out->epochs = mem_array(count, sizeof *out->epochs);
    while (is_good && out->count < count) {
        struct mirror_epoch *e = &out->epochs[out->count];
        is_good = take_epoch(w, mirror_history_epoch(out), e);
        out->count++;
    }
    is_good = is_good && (!all || take_rest(w, out)) && !w->ran_out;
    if (!is_good)
        mirror_history_fini(out);
    return is_good;
}
