#include "ledger_inner.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "hosted.h"
#include "io/clock.h"
#include "larges.h"
#include "marks.h"
#include "mirrored_lead.h"
#include "promise.h"
#include "shard.h"
#include "store/journal.h"
#include "store/large.h"
#include "store/segs.h"

#include <stdlib.h>
#include <string.h>

#define PARTS_MAX 12u /* of a record: head, names, properties, and a body in parts */

static void on_turn_end(void *arg);

struct ledger *ledger_new(struct shard *s)
{
    struct ledger *l = mem_zalloc(sizeof *l);
    l->shard = s;
    l->need = JOURNAL_LAZY;
    TAILQ_INIT(&l->due);
    loop_task_init(&l->turn_end, on_turn_end, l);
    return l;
}

void ledger_start(struct ledger *l, struct journal *journal, struct segs *segs)
{
    l->journal = journal;
    l->segs = segs;
}

void ledger_stop(struct ledger *l)
{
    l->journal = NULL;
    memset(l->counters, 0, sizeof l->counters);
    loop_task_cancel(l->shard->loop, &l->turn_end);
}

void ledger_free(struct ledger **ledger)
{
    struct ledger *l = *ledger;
    *ledger = NULL;
    CHECK(l->message == NULL && TAILQ_EMPTY(&l->due));
    loop_task_cancel(l->shard->loop, &l->turn_end);
    mem_free(l);
}

/* ---- what is alive in the segments ------------------------------------------------------------
 */

static void count_now(struct ledger *l, struct seg_counter *c)
{
    if (c->put_count != 0)
        segs_put(l->segs, c->seg, c->put_count, c->put_bytes);
    if (c->gone_count != 0)
        segs_drop(l->segs, c->seg, c->gone_count, c->gone_bytes);
    *c = (struct seg_counter){ 0 };
}

static struct seg_counter *counter(struct ledger *l, uint32_t seg)
{
    struct seg_counter *c = &l->counters[seg % LEDGER_SEG_COUNTERS];
    if (UNLIKELY(c->seg != seg)) {
        count_now(l, c);
        c->seg = seg;
        loop_at_turn_end(l->shard->loop, &l->turn_end);
    }
    return c;
}

void ledger_leave(struct ledger *l, uint32_t seg, int64_t count, int64_t cost_bytes)
{
    if (UNLIKELY(l->journal == NULL))
        return;
    struct seg_counter *c = counter(l, seg);
    c->gone_count += count;
    c->gone_bytes += cost_bytes;
}

void ledger_leave_one(struct ledger *l, struct place place, uint64_t body_bytes)
{
    ledger_leave(l, place.seg, 1, segs_cost(body_bytes));
    if (UNLIKELY(body_bytes >= LARGE_BODY_LEAST))
        larges_gone(l->shard->larges, place, 1);
}

/* ---- appending --------------------------------------------------------------------------------
 */

struct place ledger_append(struct ledger *l, const struct slice *parts, size_t count,
                           enum journal_need need, uint64_t *lsn)
{
    l->appended = true;
    loop_at_turn_end(l->shard->loop, &l->turn_end);
    return journal_append(l->journal, parts, count, need, lsn);
}

void ledger_begin(struct ledger *l)
{
    if (l->journal != NULL)
        loop_at_turn_end(l->shard->loop, &l->turn_end);
}

bool ledger_is_behind(struct ledger *l)
{
    if (l->journal == NULL || LIKELY(!journal_is_behind(l->journal)))
        return false;
    promises_watch(l->shard->promises);
    return true;
}

/* ---- messages ---------------------------------------------------------------------------------
 */

static size_t body_slices(const struct message *m, struct slice *out)
{
    if (!message_is_in_parts(m)) {
        out[0] = message_body(m);
        return 1;
    }
    const struct message_more *more = message_more(m);
    for (uint32_t i = 0; i < more->part_count; i++)
        out[i] = slice_of(more->parts[i]->data, more->parts[i]->len_bytes);
    return more->part_count;
}

static bool is_large(const struct message *m)
{
    return UNLIKELY(m->body_bytes >= LARGE_BODY_LEAST);
}

static enum journal_need need_of(const struct ledger *l)
{
    return l->awaited || l->awaited_led ? JOURNAL_SOON : JOURNAL_LAZY;
}

static void nobody_waits(void *arg, uint64_t lsn)
{
    (void)arg;
    (void)lsn;
}

static size_t put_head(struct ledger *l, unsigned flags)
{
    const struct message *m = l->message;
    return record_put_msg_of(l->room, flags, (flags & MSG_PRODUCER) != 0 ? &l->producer : NULL,
                             l->targets, l->target_count, m->names_bytes, m->props_bytes,
                             (size_t)m->body_bytes);
}

/* Its properties and body are in a file of its own, which is to be written. */
static struct place append_large(struct ledger *l, uint64_t *lsn)
{
    struct message *m = l->message;
    uint8_t id[8];
    size_t head = put_head(l, l->flags | MSG_LARGE);
    record_put_large_id(id, message_large_id(m));
    struct slice parts[] = { slice_of(l->room, head), message_names(m), slice_of(id, sizeof id) };
    struct place p = ledger_append(l, parts, ARRAY_COUNT(parts), need_of(l), lsn);
    if (!place_is_none(p))
        larges_publish(l->shard->larges, m, p, l->targets, l->target_count,
                       l->large_fn != NULL ? l->large_fn : nobody_waits, l->large_arg);
    return p;
}

/* What clients send fits, see broker_conf.c; dead letters and the management can make more. */
static bool fits(struct ledger *l)
{
    const struct message *m = l->message;
    size_t rest = is_large(m) ? 8 : (size_t)m->props_bytes + m->body_bytes;
    if (RECORD_MSG_ROOM(l->target_count) + m->names_bytes + rest <= journal_record_max(l->journal))
        return true;
    if (!l->told_too_long)
        log_warn("ledger", "-",
                 "a message is not on disk: its properties are too long; not reported again "
                 "octets=%u",
                 (unsigned)m->props_bytes);
    l->told_too_long = true;
    return false;
}

static struct place append_message(struct ledger *l, uint64_t *lsn)
{
    const struct message *m = l->message;
    if (UNLIKELY(!fits(l))) {
        *lsn = 0;
        return (struct place){ 0, 0 };
    }
    if (is_large(m))
        return append_large(l, lsn);
    struct slice few[PARTS_MAX];
    struct slice *parts = few;
    uint32_t body_parts = message_is_in_parts(m) ? message_more(m)->part_count : 1;
    if (UNLIKELY(body_parts + 3 > PARTS_MAX))
        parts = mem_array(body_parts + 3u, sizeof *parts);
    size_t head = put_head(l, l->flags);
    parts[0] = slice_of(l->room, head);
    parts[1] = message_names(m);
    parts[2] = message_props(m);
    size_t count = 3 + body_slices(m, parts + 3);
    struct place p = ledger_append(l, parts, count, need_of(l), lsn);
    if (parts != few)
        mem_free(parts);
    return p;
}

static void count_put(struct ledger *l, uint32_t seg, unsigned count)
{
    struct seg_counter *c = counter(l, seg);
    c->put_count += count;
    c->put_bytes += count * segs_cost(l->message->body_bytes);
}

static void place_one(struct ledger *l, unsigned index, struct place p)
{
    struct hosted *h = l->queues[index];
    h->book.writes++;
    uint64_t qseq = l->targets[index].qseq;
    mover_note_message(&h->mover, p.seg);
    switch (queue_set_place(&h->queue, qseq, p)) {
    case QUEUE_PLACED_READY:
        return;
    case QUEUE_PLACED_OUT:
        ledger_out(l, h, qseq);
        return;
    case QUEUE_PLACED_GONE:
        if (hosted_dead_is_placed(h, qseq, p))
            return;
        ledger_settle(l, h, qseq, qseq);
        ledger_leave_one(l, p, l->message->body_bytes);
        return;
    }
    UNREACHABLE("placed");
}

static void write_targets(struct ledger *l)
{
    struct place p = append_message(l, &l->lsn);
    if (!place_is_none(p)) /* it has failed */
        count_put(l, p.seg, l->target_count);
    for (unsigned i = 0; i < l->target_count && !place_is_none(p); i++)
        place_one(l, i, p);
    l->target_count = 0;
    l->flags &= MSG_PRODUCER; /* the same for the rest of its queues */
}

bool ledger_wants(const struct hosted *h, const struct message *m)
{
    return h->book.durable && (m->persistent || h->settings.is_quorum);
}

static uint64_t wall_of(const struct ledger *l, uint64_t at_ms)
{
    uint64_t now_ms = loop_now_ms(l->shard->loop);
    uint64_t wall_ms = clock_wall_ms();
    return at_ms > now_ms ? wall_ms + (at_ms - now_ms) : wall_ms;
}

/* False: nothing is written any more. */
static bool add_target(struct ledger *l, struct hosted *h, struct message **m,
                       const struct queue_put *put)
{
    CHECK(l->message == NULL || l->message == *m);
    if (UNLIKELY(l->journal == NULL || l->message != NULL)) {
        shard_message_drop(l->shard, m);
    } else {
        l->message = *m;
        l->lsn = 0;
    }
    if (UNLIKELY(l->journal == NULL))
        return false;
    if (UNLIKELY(l->target_count == MSG_TARGETS_MAX))
        write_targets(l);
    l->queues[l->target_count] = h;
    struct msg_target *t = &l->targets[l->target_count++];
    *t = (struct msg_target){ .qid = h->queue.qid, .qseq = put->qseq };
    if (UNLIKELY(put->expires_ms != 0) && !MUTATION(EXPIRY_NOT_WRITTEN)) {
        t->expires_ms = wall_of(l, put->expires_ms);
        l->flags |= MSG_EXPIRES;
    }
    return true;
}

void ledger_add(struct ledger *l, struct hosted *h, struct message **m, const struct queue_put *put,
                bool awaited)
{
    if (LIKELY(add_target(l, h, m, put)))
        l->awaited = l->awaited || awaited;
}

/* A position that was cut off is given anew: what the journal has of it counts no more. */
static bool is_again(const struct hosted *h, uint64_t qseq)
{
    return mirror_starts_has(&h->mirrored->tops, qseq);
}

void ledger_add_led(struct ledger *l, struct hosted *h, struct message **m,
                    const struct queue_put *put, const struct msg_producer *producer, bool awaited)
{
    if (UNLIKELY(!add_target(l, h, m, put)))
        return;
    if (producer->pid != 0) {
        l->producer = *producer;
        l->flags |= MSG_PRODUCER;
    }
    if (UNLIKELY(is_again(h, put->qseq)))
        l->flags |= MSG_AGAIN;
    l->awaited_led = l->awaited_led || awaited;
}

/* Of a large one what it waits for is known later. */
struct again_wait {
    struct shard *shard;
    uint64_t pos;
};

static void on_again_written(void *arg, uint64_t lsn)
{
    struct again_wait *w = arg;
    mirrored_lead_again_written(w->shard, w->pos, lsn);
    mem_free(w);
}

static struct again_wait *begin_again(struct ledger *l, const struct hosted *h,
                                      const struct queue_item *item)
{
    if (LIKELY(!mirrored_is_lead(h->mirrored)) || !is_large(item->message))
        return NULL;
    struct again_wait *w = mem_alloc(sizeof *w);
    *w = (struct again_wait){ .shard = l->shard };
    l->large_fn = on_again_written;
    l->large_arg = w;
    return w;
}

static void end_again(struct ledger *l, struct hosted *h, const struct queue_item *item,
                      struct again_wait *w, uint64_t lsn)
{
    l->large_fn = NULL;
    l->large_arg = NULL;
    if (!mirrored_is_lead(h->mirrored))
        return;
    uint64_t pos = mirrored_lead_again(l->shard, h, item, w != NULL ? MIRROR_LSN_LATER : lsn);
    if (w != NULL)
        w->pos = pos;
}

struct place ledger_again(struct ledger *l, struct hosted *h, const struct queue_item *item)
{
    struct place p = { 0, 0 };
    uint64_t lsn = 0;
    if (l->journal == NULL)
        return p;
    CHECK(l->message == NULL);
    if (!ledger_wants(h, item->message)) {
        if (mirrored_is_lead(h->mirrored))
            (void)mirrored_lead_again(l->shard, h, item, 0);
        return p;
    }
    struct again_wait *w = begin_again(l, h, item);
    l->message = item->message;
    l->targets[0] =
        (struct msg_target){ .qid = h->queue.qid, .qseq = item->qseq, .returns = item->returns };
    l->flags = item->returns != 0 ? MSG_RETURNS : 0;
    if (item->expires_ms != 0) {
        l->targets[0].expires_ms = wall_of(l, item->expires_ms);
        l->flags |= MSG_EXPIRES;
    }
    if (UNLIKELY(h->mirrored != NULL) && is_again(h, item->qseq))
        l->flags |= MSG_AGAIN;
    l->target_count = 1;
    p = append_message(l, &lsn);
    if (!place_is_none(p)) {
        count_put(l, p.seg, 1);
        mover_note_message(&h->mover, p.seg);
    }
    l->target_count = 0;
    l->flags = 0;
    l->message = NULL;
    end_again(l, h, item, w, lsn);
    return p;
}

uint64_t ledger_write(struct ledger *l)
{
    if (l->message == NULL)
        return 0;
    write_targets(l);
    shard_message_drop(l->shard, &l->message);
    l->awaited = l->awaited_led = false;
    l->flags = 0;
    return l->lsn;
}

uint64_t ledger_write_part(struct ledger *l)
{
    if (l->message == NULL)
        return 0;
    if (l->target_count != 0)
        write_targets(l);
    return l->lsn;
}

bool ledger_is_owed(const struct ledger *l)
{
    return l->awaited;
}

bool ledger_has_large(const struct ledger *l)
{
    return l->message != NULL && is_large(l->message);
}

uint64_t ledger_write_large(struct ledger *l, larges_fn fn, void *arg)
{
    CHECK(ledger_has_large(l));
    l->large_fn = fn;
    l->large_arg = arg;
    uint64_t lsn = ledger_write(l);
    l->large_fn = NULL;
    l->large_arg = NULL;
    return lsn;
}

/* ---- the turn's end ---------------------------------------------------------------------------
 */

static void on_turn_end(void *arg)
{
    struct ledger *l = arg;
    (void)ledger_write_all(l);
    larges_settled(l->shard->larges);
    for (unsigned i = 0; i < LEDGER_SEG_COUNTERS; i++)
        count_now(l, &l->counters[i]);
    if (l->appended && l->journal != NULL)
        journal_kick(l->journal);
    l->appended = false;
}
