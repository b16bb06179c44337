/*
 * recover_history: where a queue's messages come from, and what was published last by whom.
 *
 * It is kept as the octets of the last EPOCH until somebody wants it: of a million queues those
 * take a third of what the structs do.
 */
#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "store/recover_inner.h"

#include <stdlib.h>

static struct recovered_history *history_of(struct found_queue *q)
{
    if (q->history == NULL)
        q->history = mem_zalloc(sizeof *q->history);
    return q->history;
}

static bool read_history(struct slice bytes, struct mirror_history *out)
{
    struct wire w = wire_over(bytes);
    return mirror_history_take(&w, true, out);
}

static bool take_epoch(struct recovered_history *h, struct slice bytes)
{
    struct mirror_history found;
    if (!read_history(bytes, &found))
        return false;
    h->has_epochs = found.count != 0;
    mirror_history_fini(&found);
    mem_free(h->bytes);
    h->bytes = mem_dup(bytes.ptr, bytes.len);
    h->len = (uint32_t)bytes.len;
    if (!MUTATION(NUMBERS_BEFORE_EPOCH))
        producers_fini(&h->behind);
    return true;
}

bool recover_take_history(struct found_queue *q, const struct index_state *item)
{
    struct recovered_history *h = history_of(q);
    if (item->kind == INDEX_EPOCH)
        return take_epoch(h, item->history);
    if (!MUTATION(NUMBERS_BEHIND_EPOCH))
        producers_saw(&h->behind, item->producer.pid, item->producer.seq);
    return true;
}

void recover_history_free(struct recovered_history **history)
{
    struct recovered_history *h = *history;
    *history = NULL;
    if (h == NULL)
        return;
    mem_free(h->bytes);
    producers_fini(&h->behind);
    mem_free(h);
}

static int by_use(const void *a, const void *b)
{
    const struct producer *x = a;
    const struct producer *y = b;
    return (x->used > y->used) - (x->used < y->used);
}

/* In the order in which they came, so that who is forgotten is who has been silent for longest.
 * Their positions are not known, and are taken for those behind the base of a copy that is not
 * whole: what is kept of those before it was there when it was whole, and so were their numbers. */
static void saw_behind(struct mirror_history *h, const struct producers *behind)
{
    struct producers sorted = { 0 };
    producers_copy(&sorted, behind);
    if (sorted.count > 1)
        qsort(sorted.items, sorted.count, sizeof *sorted.items, by_use);
    for (uint32_t i = 0; i < sorted.count; i++)
        mirror_history_saw(h, UINT64_MAX, sorted.items[i].pid, sorted.items[i].seq);
    producers_fini(&sorted);
}

void recovered_history_take(const struct recovered_queue *q, struct mirror_history *out)
{
    const struct recovered_history *h = q->history;
    *out = (struct mirror_history){ 0 };
    if (h == NULL)
        return;
    if (h->bytes != NULL) {
        bool is_good = read_history(slice_of(h->bytes, h->len), out);
        CHECK(is_good); /* it was when it was found */
    }
    saw_behind(out, &h->behind);
}
