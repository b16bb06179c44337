#include "client/tx.h"

#include "base/check.h"
#include "base/mem.h"

#include <stdlib.h>

#define KEPT_MAX 1024u /* what is larger goes with its transaction */

void tx_init(struct tx *t)
{
    *t = (struct tx){ 0 };
}

void tx_fini(struct tx *t)
{
    mem_free(t->publishes);
    mem_free(t->qids);
    mem_free(t->settles);
    tx_init(t);
}

/* Room for `more` further items in an array of `item_bytes` each. */
static void *grow(void *array, size_t *cap, size_t count, size_t more, size_t item_bytes)
{
    if (count + more <= *cap)
        return array;
    size_t want = *cap != 0 ? *cap * 2 : 16;
    while (want < count + more)
        want *= 2;
    *cap = want;
    return mem_realloc(array, want * item_bytes);
}

size_t tx_publish_bytes(const struct message *m, size_t queues)
{
    return message_cost_bytes(m) + sizeof(struct tx_publish) + queues * sizeof(uint64_t);
}

uint64_t *tx_add_publish(struct tx *t, struct message **m, size_t queues, bool mandatory)
{
    t->held_bytes += tx_publish_bytes(*m, queues);
    t->publishes = grow(t->publishes, &t->publish_cap, t->publish_count, 1, sizeof *t->publishes);
    t->qids = grow(t->qids, &t->qid_cap, t->qid_count, queues + 1, sizeof *t->qids);
    t->publishes[t->publish_count++] = (struct tx_publish){
        .message = *m, .first_qid = t->qid_count, .qid_count = queues, .mandatory = mandatory
    };
    *m = NULL;
    t->qid_count += queues;
    return t->qids + t->qid_count - queues;
}

void tx_add_settle(struct tx *t, uint64_t tag, const struct unacked_entry *e, int how)
{
    t->held_bytes += sizeof *t->settles;
    t->settles = grow(t->settles, &t->settle_cap, t->settle_count, 1, sizeof *t->settles);
    t->settles[t->settle_count++] = (struct tx_settle){ tag, *e, how };
}

void tx_each(struct tx *t, unacked_each_fn fn, void *arg)
{
    for (size_t i = 0; i < t->settle_count; i++)
        fn(t->settles[i].tag, &t->settles[i].entry, arg);
}

static int by_tag(const void *a, const void *b)
{
    const struct tx_settle *x = a;
    const struct tx_settle *y = b;
    return (x->tag > y->tag) - (x->tag < y->tag);
}

void tx_sort_for_commit(struct tx *t)
{
    for (size_t from = 0, to; from < t->settle_count; from = to) {
        to = from + 1;
        while (to < t->settle_count && t->settles[to].how == t->settles[from].how)
            to++;
        qsort(t->settles + from, to - from, sizeof *t->settles, by_tag);
    }
}

void tx_reopen(struct tx *t, struct unacked *u)
{
    if (t->settle_count == 0)
        return;
    qsort(t->settles, t->settle_count, sizeof *t->settles, by_tag);
    struct unacked_slot *slots = mem_array(t->settle_count, sizeof *slots);
    for (size_t i = 0; i < t->settle_count; i++)
        slots[i] = (struct unacked_slot){ t->settles[i].tag, t->settles[i].entry };
    unacked_reopen(u, slots, t->settle_count);
    mem_free(slots);
    t->held_bytes -= t->settle_count * sizeof *t->settles;
    t->settle_count = 0;
}

void tx_clear(struct tx *t)
{
    t->publish_count = t->qid_count = t->settle_count = 0;
    t->held_bytes = 0;
    if (t->publish_cap + t->qid_cap + t->settle_cap > KEPT_MAX)
        tx_fini(t);
}
