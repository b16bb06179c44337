/* What the core of the mirror's side asks of the queues that this node holds copies of. */
#include "mirrored.h"

#include "amqp/amqp_props.h"
#include "base/check.h"
#include "base/mem.h"
#include "hosted.h"
#include "io/clock.h"
#include "marks.h"
#include "mirror_link/mirror_links.h"
#include "mirrored_handed.h"
#include "mirrored_journal.h"
#include "mirrored_keep.h"
#include "mirrored_leave.h"
#include "model/message.h"
#include "model/queue_copy.h"
#include "store/store.h"

static void say(void *arg, struct mirror_source *to, const struct mirror_record *r)
{
    (void)arg;
    mirror_out_record(mirror_links_back(to), r);
}

static void tell_starts(void *arg, struct mirror_copy *c, struct mirror_starts *out)
{
    (void)arg;
    mirrored_starts(c->owner, out);
}

/* Not before what nobody else may have is safe elsewhere. */
static enum mirror_taken cut_off(void *arg, struct mirror_copy *c, const struct mirror_starts *at,
                                 const struct producers *producers)
{
    struct hosted *h = c->owner;
    (void)arg;
    enum mirror_taken taken = mirrored_keep(h, &c->history, at, producers, h->mirrored->master);
    if (taken == MIRROR_TAKEN)
        taken = mirrored_cut(h, at);
    if (taken == MIRROR_TAKEN)
        mirrored_keep_end(h);
    return taken;
}

static uint64_t write_history(void *arg, struct mirror_copy *c, const struct mirror_starts *next)
{
    struct hosted *h = c->owner;
    (void)arg;
    uint64_t lsn = copy_write_history(h, &c->history);
    if (next != NULL)
        mirrored_raise(h, next);
    return lsn;
}

static void hurry(void *arg)
{
    mirrored_hurry(arg);
}

/* ---- what comes -------------------------------------------------------------------------------
 */

/* A record that a source has said, while it is taken. */
struct taking {
    struct shard *shard;
    struct mirror_source *from;
    uint64_t pos;
    uint64_t lsn;
};

/* A large one is written: the source may be gone by then. */
struct large_copy {
    struct shard *shard;
    uint64_t source;
    uint64_t pos;
};

static void on_large_written(void *arg, uint64_t lsn)
{
    struct large_copy *l = arg;
    struct shard *s = l->shard;
    mirror_replica_written(s->mirrored->r, l->source, l->pos, lsn);
    if (lsn != UINT64_MAX) /* else it never will be safe */
        mirrored_appended(s, lsn);
    mirrored_durable(s, journal_durable(store_journal(s->store)));
    mem_free(l);
}

static uint64_t write_message(const struct taking *t, struct hosted *const *queues,
                              const struct msg_target *targets, unsigned count, struct message *m,
                              const struct msg_record *said)
{
    const struct msg_producer *producer =
        (said->flags & MSG_PRODUCER) != 0 ? &said->producer : NULL;
    struct large_copy *l = mem_alloc(sizeof *l);
    *l = (struct large_copy){ t->shard, mirror_source_number(t->from), t->pos };
    bool is_late;
    uint64_t lsn = copies_write(queues, targets, count, m, producer, on_large_written, l, &is_late);
    if (!is_late)
        mem_free(l);
    return lsn;
}

static bool lasts(struct slice props)
{
    struct amqp_props_brief brief;
    return amqp_props_peek(props, &brief) && brief.delivery_mode == AMQP_DELIVERY_PERSISTENT;
}

static struct message *make(struct shard *s, const struct msg_record *said)
{
    struct wire names = wire_over(said->names);
    struct slice exchange = wire_shortstr(&names);
    struct slice key = wire_shortstr(&names);
    if (names.ran_out || wire_left(&names) != 0)
        return NULL;
    struct message *m = message_new(exchange, key, said->props, said->body, lasts(said->props));
    shard_message_made(s, m);
    return m;
}

/* True: it came, and is to be written. False: it is there already, or cannot be. */
static bool put(struct hosted *h, const struct msg_target *t, struct message *m)
{
    struct qwant want;
    int64_t to_loop = (int64_t)loop_now_ms(h->shard->loop) - (int64_t)clock_wall_ms();
    struct queue_item it = { .qseq = t->qseq,
                             .message = message_ref(m),
                             .expires_ms = pager_moment(t->expires_ms, to_loop),
                             .returns = t->returns,
                             .redelivered = t->returns != 0 };
    enum qcopy verdict = queue_put(&h->queue, &it, &want);
    CHECK(verdict != QCOPY_LATER); /* it was looked at */
    if (it.message != NULL)
        shard_message_drop(h->shard, &it.message);
    return verdict == QCOPY_DONE;
}

/* Of the record the targets that are taken. Returns how many. */
static unsigned list_targets(const struct taking *t, const struct msg_record *said,
                             struct mirror_copy **copies, struct msg_target *targets)
{
    unsigned count = 0;
    for (unsigned i = 0; i < said->target_count; i++) {
        targets[count] = msg_record_target(said, i);
        copies[count] = mirror_replica_takes(t->shard->mirrored->r, t->from, targets[count].qid);
        if (copies[count] != NULL)
            count++;
    }
    return count;
}

/* All or none: whether something is at these positions must be known first. */
static bool is_known(struct mirror_copy *const *copies, const struct msg_target *targets,
                     unsigned count)
{
    struct queue_item it;
    struct qwant want;
    for (unsigned i = 0; i < count; i++) {
        struct hosted *h = copies[i]->owner;
        if (queue_look(&h->queue, targets[i].qseq, &it, &want) != QHEAD_IN_RUN)
            continue;
        mirrored_want(h, &want);
        return false;
    }
    return true;
}

static void put_all(struct taking *t, const struct msg_record *said, struct message *m,
                    struct mirror_copy *const *copies, struct msg_target *targets, unsigned count)
{
    struct hosted **queues = mem_array(count + 1u, sizeof(struct hosted *));
    unsigned put_count = 0;
    for (unsigned i = 0; i < count; i++) {
        struct hosted *h = copies[i]->owner;
        if ((said->flags & MSG_PRODUCER) != 0)
            mirror_history_saw(&copies[i]->history, targets[i].qseq, said->producer.pid,
                               said->producer.seq);
        if (!put(h, &targets[i], m))
            continue;
        queues[put_count] = h;
        targets[put_count++] = targets[i];
    }
    if (put_count != 0)
        t->lsn = write_message(t, queues, targets, put_count, m, said);
    mem_free(queues);
}

static enum mirror_taken take_for_queues(struct taking *t, const struct msg_record *said)
{
    struct mirror_copy **copies = mem_array(said->target_count, sizeof(struct mirror_copy *));
    struct msg_target *targets = mem_array(said->target_count, sizeof *targets);
    unsigned count = list_targets(t, said, copies, targets);
    enum mirror_taken taken = MIRROR_TAKEN_LATER;
    if (is_known(copies, targets, count)) {
        struct message *m = count != 0 ? make(t->shard, said) : NULL;
        taken = m != NULL || count == 0 ? MIRROR_TAKEN : MIRROR_TAKEN_BAD;
        if (m != NULL) {
            put_all(t, said, m, copies, targets, count);
            shard_message_drop(t->shard, &m);
        }
    }
    mem_free(copies);
    mem_free(targets);
    return taken;
}

static enum mirror_taken take_message(struct taking *t, const struct record *r)
{
    struct msg_record said;
    if (!record_read_msg(r, &said) || (said.flags & MSG_LARGE) != 0 || said.target_count == 0 ||
        said.target_count > MSG_TARGETS_MAX)
        return MIRROR_TAKEN_BAD;
    return take_for_queues(t, &said);
}

/* ---- what goes --------------------------------------------------------------------------------
 */

/* False: not all yet. */
static bool drop_all(struct hosted *h, const struct settle_record *said)
{
    size_t *budget = mirrored_budget(h->shard);
    struct qwant want;
    for (unsigned i = 0; i < said->range_count; i++) {
        struct settle_range range = settle_record_range(said, i);
        enum qcopy dropped = queue_drop(&h->queue, range.first, range.last, budget, &want);
        if (dropped == QCOPY_LATER)
            mirrored_want(h, &want);
        else if (dropped == QCOPY_MORE)
            mirrored_is_due(h);
        if (dropped != QCOPY_DONE)
            return false;
        copy_raise_tops(h, range.last);
    }
    return true;
}

static bool is_good(const struct settle_record *said)
{
    bool is = said->range_count <= SETTLE_RANGES_MAX && said->mark_count <= LEDGER_MARKS_MAX;
    for (unsigned i = 0; is && i < said->range_count; i++) {
        struct settle_range range = settle_record_range(said, i);
        is = range.first <= range.last &&
             mirror_priority_base(range.first) == mirror_priority_base(range.last);
    }
    return is;
}

/* What was in memory alone leaves no trace in the journal. */
static enum mirror_taken take_settle(struct taking *t, const struct record *r)
{
    struct settle_record said;
    if (!record_read_settle(r, &said) || !is_good(&said))
        return MIRROR_TAKEN_BAD;
    struct mirror_copy *c = mirror_replica_takes(t->shard->mirrored->r, t->from, said.qid);
    if (c == NULL)
        return MIRROR_TAKEN;
    struct hosted *h = c->owner;
    if (!drop_all(h, &said))
        return MIRROR_TAKEN_LATER;
    for (unsigned i = 0; i < said.mark_count; i++) {
        queue_seen(&h->queue, settle_record_mark(&said, i));
        marks_told(h, settle_record_mark(&said, i));
    }
    if (h->mirrored->has_freed || said.mark_count != 0)
        t->lsn = copy_write_settle(h, &said);
    h->mirrored->has_freed = false;
    return MIRROR_TAKEN;
}

static enum mirror_taken take_returns(struct taking *t, const struct record *r)
{
    uint64_t qid;
    struct slice items;
    if (!record_read_returns(r, &qid, &items) || r->count > RETURNS_MAX)
        return MIRROR_TAKEN_BAD;
    struct mirror_copy *c = mirror_replica_takes(t->shard->mirrored->r, t->from, qid);
    if (c == NULL)
        return MIRROR_TAKEN;
    struct hosted *h = c->owner;
    for (unsigned i = 0; i < r->count; i++) {
        struct msg_return item = returns_item(items, i);
        queue_count_returns(&h->queue, item.qseq, item.returns);
    }
    t->lsn = copy_write_returns(h, items, r->count);
    return MIRROR_TAKEN;
}

static enum mirror_taken take_data(void *arg, struct mirror_source *from, uint64_t pos,
                                   const struct mirror_data *d, uint64_t *lsn)
{
    struct taking t = { .shard = arg, .from = from, .pos = pos };
    struct record r = { .type = (enum record_type)d->type,
                        .flags = d->flags,
                        .count = d->count,
                        .payload = d->payload };
    enum mirror_taken taken = MIRROR_TAKEN_BAD;
    if (d->type == RECORD_MSG)
        taken = take_message(&t, &r);
    else if (d->type == RECORD_SETTLE)
        taken = take_settle(&t, &r);
    else if (d->type == RECORD_RETURNS)
        taken = take_returns(&t, &r);
    *lsn = t.lsn;
    return taken;
}

/* ---- what is here -----------------------------------------------------------------------------
 */

static bool list_held(void *arg, struct mirror_copy *c, uint64_t from, struct mirror_run *out,
                      uint32_t *count, uint64_t *to)
{
    struct hosted *h = c->owner;
    uint64_t first, last;
    struct qwant want;
    (void)arg;
    for (*count = 0; *count < MIRROR_RUNS_MAX; from = last + 1) {
        switch (queue_live(&h->queue, from, &first, &last, &want)) {
        case QCOPY_NOTHING:
            *to = MIRROR_TO_END;
            return true;
        case QCOPY_LATER:
            mirrored_want(h, &want);
            return false;
        case QCOPY_DONE:
        case QCOPY_MORE:
            break;
        }
        out[(*count)++] = (struct mirror_run){ first, last };
        *to = last;
    }
    return true;
}

static void handed(void *arg, struct mirror_copy *c, const struct mirror_record *r)
{
    (void)arg;
    mirrored_handed_take(c->owner, r);
}

const struct mirror_replica_ops mirrored_copy_ops = {
    .say = say,
    .starts = tell_starts,
    .cut = cut_off,
    .history = write_history,
    .hurry = hurry,
    .data = take_data,
    .held = list_held,
    .handed = handed,
    .past = mirrored_leave_tell,
};
