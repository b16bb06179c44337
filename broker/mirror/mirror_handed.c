#include "mirror/mirror_handed.h"

#include "base/mem.h"
#include "base/mutation.h"

#define EARLY_FIRST ((size_t)64)

struct mirror_handed_early {
    uint64_t position;
    uint8_t how;
};

void mirror_handed_fini(struct mirror_handed *d)
{
    mirror_starts_fini(&d->fresh);
    mem_free(d->positions);
    mem_free(d->is_taken);
    mem_free(d->early);
    *d = (struct mirror_handed){ 0 };
}

/* ---- the word ---------------------------------------------------------------------------------
 */

static void add(struct mirror_handed *d, uint64_t position)
{
    if (d->count == d->cap) {
        d->cap = d->cap != 0 ? 2 * d->cap : 64;
        d->positions = mem_realloc(d->positions, d->cap * sizeof *d->positions);
    }
    d->positions[d->count++] = position;
}

/* It is another node's word: more than may be said is not believed. */
static bool add_runs(struct mirror_handed *d, const struct mirror_record *r)
{
    for (uint32_t i = 0; i < r->run_count; i++) {
        if (r->runs[i].last - r->runs[i].first >= MIRROR_HANDED_MAX - d->count)
            return false;
        if (d->count != 0 && r->runs[i].first <= d->positions[d->count - 1])
            return false;
        for (uint64_t n = 0; n <= r->runs[i].last - r->runs[i].first; n++)
            add(d, r->runs[i].first + n);
    }
    return true;
}

bool mirror_handed_hear(struct mirror_handed *d, const struct mirror_record *r)
{
    d->epoch = r->epoch;
    if (mirror_handed_is_decided(d))
        return false;
    d->is_given_up = !add_runs(d, r);
    if (!d->is_given_up && (r->flags & MIRROR_HANDED_LAST) == 0)
        return false;
    if (!d->is_given_up && !MUTATION(HAND_ALL_UNSEEN))
        mirror_starts_copy(&d->fresh, r->starts);
    d->is_whole = !d->is_given_up;
    return true;
}

bool mirror_handed_is_of_another(const struct mirror_handed *d, uint64_t epoch)
{
    return d->epoch != 0 && d->epoch != epoch && !MUTATION(HAND_OLD_WORD_COUNTS);
}

bool mirror_handed_await(struct mirror_handed *d)
{
    if (mirror_handed_is_decided(d) || MUTATION(HAND_NOT_AWAITED))
        return false;
    d->is_awaited = true;
    return true;
}

void mirror_handed_give_up(struct mirror_handed *d)
{
    d->is_given_up = true;
}

/* ---- held -------------------------------------------------------------------------------------
 */

bool mirror_handed_hold(struct mirror_handed *d)
{
    bool is_known = d->is_whole || (d->is_given_up && MUTATION(HAND_NO_WORD_IS_ALL));
    if (!is_known || d->is_held)
        return false;
    d->is_taken = mem_zalloc((d->count + 1) * sizeof *d->is_taken);
    d->left = d->count;
    d->is_held = true;
    return true;
}

static size_t find(const struct mirror_handed *d, uint64_t position)
{
    size_t low = 0, high = d->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (d->positions[middle] < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool mirror_handed_take(struct mirror_handed *d, uint64_t position)
{
    size_t at = find(d, position);
    if (!d->is_held || at == d->count || d->positions[at] != position || d->is_taken[at])
        return false;
    if (MUTATION(HAND_CLAIM_REFUSED))
        return false;
    d->is_taken[at] = !MUTATION(HAND_TAKEN_AGAIN);
    d->left -= d->is_taken[at];
    return true;
}

/* ---- settled early; nobody's ------------------------------------------------------------------
 */

void mirror_handed_put_early(struct mirror_handed *d, uint64_t position, uint8_t how)
{
    if (d->early_count == MIRROR_HANDED_MAX || MUTATION(HAND_EARLY_FORGOTTEN))
        return;
    if (d->early_count == d->early_cap) {
        d->early_cap = d->early_cap != 0 ? 2 * d->early_cap : EARLY_FIRST;
        d->early = mem_realloc(d->early, d->early_cap * sizeof *d->early);
    }
    d->early[d->early_count++] = (struct mirror_handed_early){ position, how };
}

bool mirror_handed_next_early(struct mirror_handed *d, uint64_t *position, uint8_t *how)
{
    while (d->early_next < d->early_count) {
        const struct mirror_handed_early *e = &d->early[d->early_next++];
        if (!mirror_handed_take(d, e->position))
            continue;
        *position = e->position;
        *how = e->how;
        return true;
    }
    return false;
}

bool mirror_handed_next_left(struct mirror_handed *d, uint64_t *position)
{
    while (d->is_held && d->next < d->count && !MUTATION(HAND_REST_STAYS)) {
        *position = d->positions[d->next++];
        if (mirror_handed_take(d, *position))
            return true;
    }
    return false;
}
