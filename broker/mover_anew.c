#include "mover_anew.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "hosted.h"
#include "larges.h"
#include "model/queue_copy.h"
#include "shard.h"

/* How often they were returned by now: what the journal says of that stands before the record, and
 * does not count for one that came again. True: one of them was. */
static bool count_returns(const struct shard *s, struct msg_target *targets, unsigned count)
{
    bool any = false;
    for (unsigned i = 0; i < count; i++) {
        struct queue_item now;
        struct qwant want;
        struct hosted *h = idmap_get(&s->queues, targets[i].qid);
        enum qhead at = queue_look(&h->queue, targets[i].qseq, &now, &want);
        if (at == QHEAD_HERE || at == QHEAD_ABSENT) /* those in runs never were */
            targets[i].returns = now.returns;
        any = any || targets[i].returns != 0;
    }
    return any;
}

struct place mover_append_anew(struct shard *s, const struct store_ask *ask, uint32_t offset,
                               struct msg_target *targets, unsigned count)
{
    struct record r;
    struct msg_record was;
    struct place old = { ask->segs[0], offset };
    bool is_good = record_cut(ask->bytes, ask->header, offset, &r) == RECORD_CUT_OK &&
                   r.type == RECORD_MSG && record_read_msg(&r, &was);
    CHECK(is_good); /* the store has read it a moment ago */
    unsigned flags =
        was.flags & (MSG_TRANSIENT | MSG_EXPIRES | MSG_RETURNS | MSG_LARGE | MSG_AGAIN);
    /* "Moved" says that a large one's file is there. */
    if ((was.flags & MSG_LARGE) == 0 || larges_is_safe(s->larges, old) ||
        MUTATION(LARGE_MOVED_AS_SAFE))
        flags |= MSG_MOVED;
    if ((flags & MSG_AGAIN) != 0 && count_returns(s, targets, count))
        flags |= MSG_RETURNS;
    if (MUTATION(AGAIN_NOT_MOVED))
        flags &= ~(unsigned)MSG_AGAIN;
    uint8_t *head = mem_alloc(RECORD_MSG_ROOM(count));
    size_t head_bytes =
        record_put_msg_of(head, flags, (was.flags & MSG_PRODUCER) != 0 ? &was.producer : NULL,
                          targets, count, was.names.len, was.props_bytes, (size_t)was.body_bytes);
    uint8_t id[8];
    struct slice parts[4] = { slice_of(head, head_bytes), was.names, was.props, was.body };
    if ((flags & MSG_LARGE) != 0) {
        record_put_large_id(id, was.large_id);
        parts[2] = slice_of(id, sizeof id);
        parts[3] = slice_of("", 0);
    }
    struct place place = journal_append(store_journal(s->store), parts, 4, JOURNAL_LAZY, NULL);
    mem_free(head);
    return place;
}
