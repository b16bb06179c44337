/* What the core of the master's side asks of the queues that are mastered here, and what their
 * mirrors are told. */
#include "base/check.h"
#include "base/mem.h"
#include "broker.h"
#include "cluster/meta_node.h"
#include "io/clock.h"
#include "marks.h"
#include "mirror_link/mirror_links.h"
#include "mirrored_lead_inner.h"
#include "mirrored_leave.h"
#include "model/message.h"
#include "model/queue_copy.h"
#include "promise.h"
#include "store/store.h"

/* Old messages that are read at a time, and about how many octets of them. */
#define READ_BYTES ((uint64_t)1024 * 1024)

#define FEW_PARTS  8u

/* ---- records ----------------------------------------------------------------------------------
 */

/* A whole record of the journal, as DATA has it: without its length and check. */
static struct mirror_data data_of(const uint8_t *record)
{
    return (struct mirror_data){ .type = record[8],
                                 .flags = record[9],
                                 .count = (uint16_t)(record[10] | record[11] << 8) };
}

static void say_record(struct mirror_out *to, uint64_t pos, const uint8_t *record, size_t len)
{
    const struct mirror_data d = data_of(record);
    const struct mirror_part part = { .bytes = slice_of(record + RECORD_HEAD_BYTES,
                                                        len - RECORD_HEAD_BYTES) };
    mirror_out_data(to, pos, &d, &part, 1);
}

/* The body is not copied where it lies in blocks. */
static unsigned put_body(const struct message *m, struct mirror_part *parts)
{
    if (!message_is_in_parts(m)) {
        parts[0] = (struct mirror_part){ .bytes = message_body(m) };
        return 1;
    }
    const struct message_more *more = message_more(m);
    for (uint32_t i = 0; i < more->part_count; i++)
        parts[i] =
            (struct mirror_part){ .bytes = buf_slice(more->parts[i]), .block = more->parts[i] };
    return more->part_count;
}

static void say_msg(struct mirrored_leads *l, struct mirror_stream *to, uint64_t pos,
                    const struct lead_message *sent, unsigned count)
{
    const struct message *m = sent->message;
    struct mirror_part few[FEW_PARTS];
    size_t bodies = message_is_in_parts(m) ? message_more(m)->part_count : 1;
    struct mirror_part *parts =
        bodies + 3 <= FEW_PARTS ? few : mem_array(bodies + 3, sizeof *parts);
    size_t head = record_put_msg_of(
        l->room, sent->flags, (sent->flags & MSG_PRODUCER) != 0 ? &sent->producer : NULL,
        sent->targets, count, m->names_bytes, m->props_bytes, (size_t)m->body_bytes);
    const struct mirror_data d = data_of(l->room);
    parts[0] = (struct mirror_part){ .bytes = slice_of(l->room + RECORD_HEAD_BYTES,
                                                       head - RECORD_HEAD_BYTES) };
    parts[1] = (struct mirror_part){ .bytes = message_names(m) };
    parts[2] = (struct mirror_part){ .bytes = message_props(m) };
    unsigned part_count = 3 + put_body(m, parts + 3);
    mirror_out_data(mirror_links_out(to), pos, &d, parts, part_count);
    if (parts != few)
        mem_free(parts);
}

/* ---- the core asks ----------------------------------------------------------------------------
 */

static struct mirror_stream *stream(void *arg, uint16_t node, uint64_t qid)
{
    return mirror_links_stream(arg, node, qid);
}

/* What is handed out from here on a new mirror hears of; that more of it was before, too. */
static void mirror_joins(struct mirrored_leads *l, uint64_t qid)
{
    struct hosted *h = shard_hosted(l->shard, qid);
    if (h == NULL || h->mirrored == NULL || h->mirrored->own == NULL)
        return;
    h->mirrored->own->wants_marks = true;
    ledger_marks_are_due(l->shard->ledger, h);
}

static void say(void *arg, struct mirror_stream *to, const struct mirror_record *r)
{
    struct shard *s = arg;
    mirror_out_record(mirror_links_out(to), r);
    if (r->op == MIRROR_JOIN)
        mirror_joins(leads_of(s), r->qid);
}

static void say_message(void *arg, struct mirror_stream *to, uint64_t pos, const void *message,
                        const unsigned *which, unsigned count)
{
    struct shard *s = arg;
    struct mirrored_leads *l = leads_of(s);
    const struct lead_message *all = message;
    struct lead_message some = *all;
    struct msg_target *chosen = l->chosen;
    for (unsigned i = 0; i < count; i++)
        chosen[i] = all->targets[which[i]];
    some.targets = chosen;
    say_msg(l, to, pos, &some, count);
}

/* Whoever waits for it has that said next. */
static void say_state(void *arg, struct mirror_stream *to, uint64_t pos, struct mirror_queue *q,
                      const void *what)
{
    const struct slice *record = what;
    (void)arg;
    (void)q;
    say_record(mirror_links_out_late(to), pos, record->ptr, record->len);
}

static void say_settled(void *arg, struct mirror_stream *to, uint64_t pos, struct mirror_queue *q,
                        const struct mirror_run *runs, unsigned count)
{
    struct shard *s = arg;
    struct mirrored_leads *l = leads_of(s);
    struct settle_range *ranges = mem_array(count, sizeof *ranges);
    for (unsigned i = 0; i < count; i++)
        ranges[i] = (struct settle_range){ runs[i].first, runs[i].last };
    CHECK(RECORD_SETTLE_ROOM(count, 0) <= sizeof l->room);
    size_t len = record_put_settle(l->room, 0, q->qid, ranges, count, NULL, 0);
    say_record(mirror_links_out(to), pos, l->room, len);
    mem_free(ranges);
}

/* This one, and those behind it that are not in memory either, are read together. */
static void read_from(struct hosted *h, const struct queue_item *first)
{
    struct qwant want = { .run_seg = 0 };
    struct queue_item it = *first;
    struct qwant of_run;
    uint64_t bytes = 0;
    do {
        want.items[want.count++] =
            (struct qwant_item){ .qseq = it.qseq, .place = it.place, .body_bytes = it.body_bytes };
        bytes += it.body_bytes;
        want.last = it.qseq;
    } while (want.count < QWANT_MAX && bytes < READ_BYTES &&
             queue_look(&h->queue, it.qseq + 1, &it, &of_run) == QHEAD_ABSENT);
    want.first = first->qseq;
    mirrored_want(h, &want);
}

static uint64_t wall_of(const struct shard *s, uint64_t at_ms)
{
    uint64_t now_ms = loop_now_ms(s->loop);
    uint64_t wall_ms = clock_wall_ms();
    return at_ms > now_ms ? wall_ms + (at_ms - now_ms) : wall_ms;
}

static struct msg_target target_of(const struct hosted *h, const struct queue_item *it,
                                   unsigned *flags)
{
    struct msg_target t = { .qid = h->queue.qid, .qseq = it->qseq, .returns = it->returns };
    if (it->expires_ms != 0) {
        t.expires_ms = wall_of(h->shard, it->expires_ms);
        *flags |= MSG_EXPIRES;
    }
    if (it->returns != 0)
        *flags |= MSG_RETURNS;
    return t;
}

/* An old one goes without its producer's number: the mirror gets that with DONE. */
static enum mirror_old say_old(void *arg, struct mirror_stream *to, uint64_t pos,
                               struct mirror_queue *q, uint64_t position, uint64_t *bytes)
{
    struct shard *s = arg;
    struct hosted *h = q->owner;
    struct queue_item it;
    struct qwant want;
    switch (queue_look(&h->queue, position, &it, &want)) {
    case QHEAD_EMPTY:
        return MIRROR_OLD_GONE;
    case QHEAD_ABSENT:
        read_from(h, &it);
        return MIRROR_OLD_LATER;
    case QHEAD_IN_RUN:
        mirrored_want(h, &want);
        return MIRROR_OLD_LATER;
    case QHEAD_HERE:
        break;
    }
    struct lead_message sent = { .message = it.message };
    const struct msg_target target = target_of(h, &it, &sent.flags);
    sent.targets = &target;
    say_msg(leads_of(s), to, pos, &sent, 1);
    *bytes = message_cost_bytes(it.message);
    return MIRROR_OLD_SAID;
}

static enum mirror_look live(void *arg, struct mirror_queue *q, uint64_t at, struct mirror_run *out)
{
    struct hosted *h = q->owner;
    struct qwant want;
    (void)arg;
    switch (queue_live(&h->queue, at, &out->first, &out->last, &want)) {
    case QCOPY_DONE:
        return MIRROR_LOOK_HERE;
    case QCOPY_NOTHING:
        return MIRROR_LOOK_NONE;
    case QCOPY_LATER:
        mirrored_want(h, &want);
        return MIRROR_LOOK_LATER;
    case QCOPY_MORE:
        break;
    }
    UNREACHABLE("live positions");
}

static void starts(void *arg, struct mirror_queue *q, struct mirror_starts *out)
{
    (void)arg;
    mirrored_starts(q->owner, out);
}

/* From now on that node's leave counts, too. */
static void propose(void *arg, struct mirror_queue *q, uint16_t node, uint32_t inc, bool adds)
{
    struct hosted *h = q->owner;
    if (h->mirrored->own != NULL)
        h->mirrored->own->is_stale = true;
    mirror_links_propose(arg, q, node, inc, adds);
}

static bool keeps_up(void *arg, uint16_t node)
{
    const struct shard *s = arg;
    const struct meta_node *n = meta_node_get(broker_meta(s->broker), node);
    return n == NULL || n->state != META_NODE_IS_UNWELL;
}

static void propose_lag(void *arg, struct mirror_stream *of)
{
    mirror_links_propose_lag(arg, of);
}

static void room(void *arg)
{
    struct shard *s = arg;
    lead_resume(leads_of(s));
}

const struct mirror_master_ops mirrored_lead_ops = {
    .stream = stream,
    .say = say,
    .say_message = say_message,
    .say_state = say_state,
    .say_settled = say_settled,
    .say_old = say_old,
    .live = live,
    .starts = starts,
    .keeps_up = keeps_up,
    .answer = lead_answer,
    .propose = propose,
    .propose_lag = propose_lag,
    .room = room,
    .past = mirrored_leave_told,
};

/* ---- the ledger tells -------------------------------------------------------------------------
 */

void mirrored_lead_note(struct shard *s, struct hosted *h, struct slice record, uint64_t lsn)
{
    struct mirror_master *m = s->mirrored->m;
    struct mirror_queue *q = h->mirrored->lead;
    uint64_t pos = mirror_master_note(m, q, &record, record.len, loop_now_ms(s->loop));
    mirror_master_written(m, pos, lsn);
    if (lsn != 0)
        mirrored_appended(s, lsn);
    if (h->mirrored->own != NULL)
        lead_noted(leads_of(s), h->mirrored->own, pos);
    mirror_links_soon(s);
}

uint64_t mirrored_lead_again(struct shard *s, struct hosted *h, const struct queue_item *item,
                             uint64_t lsn)
{
    struct mirror_master *m = s->mirrored->m;
    struct mirror_queue *q = h->mirrored->lead;
    struct lead_message sent = { .message = item->message };
    const struct msg_target target = target_of(h, item, &sent.flags);
    sent.targets = &target;
    uint64_t pos = mirror_master_message(m, &q, 1, &sent, message_cost_bytes(item->message),
                                         loop_now_ms(s->loop));
    mirror_master_written(m, pos, lsn);
    if (lsn != 0 && lsn != MIRROR_LSN_LATER)
        mirrored_appended(s, lsn);
    mirror_links_soon(s);
    return pos;
}

void mirrored_lead_again_written(struct shard *s, uint64_t pos, uint64_t lsn)
{
    bool is_safe = lsn != UINT64_MAX;
    mirror_master_written_late(s->mirrored->m, pos, is_safe ? lsn : 0);
    lead_written_late(s, is_safe ? lsn : 0);
}

/* It may be durable already, and with it what came behind. */
void lead_written_late(struct shard *s, uint64_t lsn)
{
    if (lsn != 0)
        mirrored_appended(s, lsn);
    mirrored_durable(s, journal_durable(store_journal(s->store)));
}

bool mirrored_lead_takes_marks(struct hosted *h)
{
    struct mirrored_lead *own = h->mirrored != NULL ? h->mirrored->own : NULL;
    if (LIKELY(own == NULL) || !own->wants_marks)
        return false;
    own->wants_marks = false;
    return true;
}
