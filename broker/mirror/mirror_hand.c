/* A planned move: what the next master is told by the one that was. */
#include "base/check.h"
#include "base/mutation.h"
#include "mirror/mirror_master_inner.h"

/* Those without a gap as one, as many as a record holds. Returns how many positions. */
static size_t runs_of(const uint64_t *out, size_t count, struct mirror_run *runs, uint32_t *n)
{
    size_t i = 0;
    for (*n = 0; i < count; i++) {
        if (*n != 0 && runs[*n - 1].last + 1 == out[i]) {
            runs[*n - 1].last = out[i];
            continue;
        }
        if (*n == MIRROR_RUNS_MAX)
            break;
        runs[(*n)++] = (struct mirror_run){ out[i], out[i] };
    }
    return i;
}

static struct mirror_pair *whole_pair(const struct mirror_queue *q, uint16_t node)
{
    for (unsigned i = 0; i < q->pair_count; i++) {
        struct mirror_pair *p = q->pairs[i];
        bool has_all = p->state == MIRROR_PAIR_WHOLE || MUTATION(HAND_TO_ANYONE);
        if (p->stream->node == node && p->stream->is_up && has_all)
            return p;
    }
    return NULL;
}

/* They have no position of their own, as NEED has none: the stream keeps their order. */
bool mirror_master_hand_over(struct mirror_master *m, struct mirror_queue *q, uint16_t node,
                             const uint64_t *out, size_t count, const struct mirror_starts *fresh)
{
    static const struct mirror_starts none;
    struct mirror_pair *p = whole_pair(q, node);
    struct mirror_run runs[MIRROR_RUNS_MAX];
    struct mirror_record r = { .op = MIRROR_HANDED,
                               .qid = q->qid,
                               .epoch = q->epoch,
                               .to = MIRROR_TO_END,
                               .starts = &none,
                               .runs = runs };
    if (p == NULL)
        return false;
    do {
        size_t said = runs_of(out, count, runs, &r.run_count);
        out += said;
        count -= said;
        if (count == 0) {
            r.flags = MIRROR_HANDED_LAST;
            r.starts = fresh;
        }
        m->ops->say(m->arg, p->stream, &r);
    } while (r.flags == 0);
    return true;
}
