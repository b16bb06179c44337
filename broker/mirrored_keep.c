#include "mirrored_keep.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "broker.h"
#include "hosted.h"
#include "io/clock.h"
#include "larges.h"
#include "model/message.h"
#include "model/queue_copy.h"
#include "quarantined.h"
#include "storage.h"
#include "store/large.h"
#include "store/store.h"

#include <inttypes.h>

#define BATCH_MAX   LOAD_COUNT_MAX
#define BATCH_BYTES LOAD_BYTES_MAX /* of bodies, but at least one message */
#define LOG_BURST   10u
#define LOG_MS      60000u

_Static_assert(BATCH_MAX <= QWANT_MAX, "a load takes them all");

/* What is being kept of a queue: mirrored_queue.keep. */
struct mirrored_keep {
    uint64_t number; /* jobs of another one mean nothing */
    struct mirror_starts cut;
    struct producers producers;
    uint64_t at;   /* what is before this position is looked at */
    bool is_busy;  /* a batch is under way */
    bool is_whole; /* all is kept */
    bool has_failed;
    uint64_t kept;  /* put into quarantine */
    uint64_t known; /* its master has them */
    uint64_t lost;  /* they cannot be read */
};

/* Those that the journal does not have: mirrored_queue.recent. Whoever is cut off takes no more
 * than until the others' leave runs out. */
#define RECENT_MAX 1024u
struct mirrored_recent {
    uint32_t count; /* that there ever were */
    uint32_t cap;
    struct recent_one {
        uint64_t position;
        struct msg_producer producer;
    } * items; /* the newest `cap` of them, one after the other, round and round */
};

struct kept_one {
    uint64_t position;
    uint64_t epoch;
    struct msg_producer producer;
    struct message *message; /* a reference; NULL: it is to be read, or passed over */
};

/* Some messages, on their way to the disk. */
struct keeping {
    struct work_job work;
    struct load load; /* those that are to be read, in the order of `items` */
    struct shard *shard;
    struct quarantined *to;
    uint64_t qid;
    uint64_t number;
    uint8_t names[2][256]; /* of the vhost and the queue */
    struct slice vhost, name;
    unsigned count;
    struct kept_one items[BATCH_MAX];
    bool is_good;
    struct quarantine_added done;
    struct err err;
};

/* ---- the log ----------------------------------------------------------------------------------
 */

static void put_queue(const struct shard *s, uint64_t qid, struct text *t)
{
    const struct meta_version *v = broker_meta(s->broker);
    const struct meta_queue *q = meta_queue_get(v, qid);
    const struct meta_vhost *vh = q != NULL ? meta_vhost_get(v, q->vhost_id) : NULL;
    text_str(t, "queue=\"");
    text_escaped(t, q != NULL ? meta_queue_name(q) : slice_str("(gone)"));
    text_str(t, "\" vhost=\"");
    text_escaped(t, vh != NULL ? meta_vhost_name(vh) : slice_str("(gone)"));
    text_str(t, "\"");
}

static void tell_whole(const struct hosted *h, const struct mirrored_keep *k, uint16_t master)
{
    char room[1200];
    struct text t = text_over(room, sizeof room);
    if (k->kept == 0 && k->lost == 0)
        return;
    put_queue(h->shard, h->queue.qid, &t);
    log_warn("quarantine", broker_name(h->shard->broker),
             "messages that this node took as the master and the present one has not are in "
             "quarantine: 'warrenctl list_quarantined' shows them %s master_node=%u count=%" PRIu64
             " known_there=%" PRIu64 " unreadable=%" PRIu64,
             room, (unsigned)master, k->kept, k->known, k->lost);
}

static void tell_failure(const struct keeping *g)
{
    char room[1200];
    struct text t = text_over(room, sizeof room);
    unsigned left_out;
    if (!log_rate_ok(&g->shard->mirrored->keep_told, LOG_BURST, LOG_MS, &left_out))
        return;
    put_queue(g->shard, g->qid, &t);
    log_error("quarantine", broker_name(g->shard->broker),
              "messages cannot be put into quarantine, their queue keeps them and is no mirror "
              "until they can be: %s %s count=%u left_out=%u",
              g->err.text, room, g->count, left_out);
}

static void tell_overflow(const struct keeping *g)
{
    char room[1200];
    struct text t = text_over(room, sizeof room);
    put_queue(g->shard, g->qid, &t);
    log_error("quarantine", broker_name(g->shard->broker),
              "the quarantine is full, the oldest messages of a queue are dropped from it %s "
              "count=%" PRIu64 " limit=%" PRIu64,
              room, g->done.dropped, QUARANTINE_LIMIT_BYTES);
}

/* ---- a batch ----------------------------------------------------------------------------------
 */

static void free_keeping(struct keeping *g)
{
    for (unsigned i = 0; i < g->count; i++)
        if (g->items[i].message != NULL)
            shard_message_drop(g->shard, &g->items[i].message);
    load_fini(&g->load);
    mem_free(g);
}

/* NULL: nobody waits for it any more. */
static struct hosted *waits_for(const struct keeping *g)
{
    struct hosted *h = shard_kept(g->shard, g->qid);
    struct mirrored_keep *k = h != NULL && h->mirrored != NULL ? h->mirrored->keep : NULL;
    return k != NULL && k->number == g->number ? h : NULL;
}

static void end_batch(struct keeping *g, bool is_good)
{
    struct hosted *h = waits_for(g);
    if (h != NULL) {
        struct mirrored_keep *k = h->mirrored->keep;
        k->is_busy = false;
        k->has_failed = !is_good;
        k->kept += g->done.added;
        mirrored_is_due(h);
    }
    free_keeping(g);
}

/* A body in parts is made one piece: there is one such message at a time in memory. */
static struct slice body_of(const struct message *m, uint8_t **room)
{
    *room = NULL;
    if (!message_is_in_parts(m))
        return message_body(m);
    const struct message_more *more = message_more(m);
    *room = mem_alloc((size_t)m->body_bytes + 1);
    size_t at = 0;
    for (uint32_t i = 0; i < more->part_count; i++) {
        struct slice part = buf_slice(more->parts[i]);
        memcpy(*room + at, part.ptr, part.len);
        at += part.len;
    }
    return slice_of(*room, at);
}

/* On the quarantine's thread. */
static void run_add(struct work_job *job)
{
    struct keeping *g = CONTAINER_OF(job, struct keeping, work);
    struct quarantine_message *items = mem_array(BATCH_MAX, sizeof *items);
    uint8_t **rooms = mem_zalloc(BATCH_MAX * sizeof(uint8_t *));
    size_t count = 0;
    for (unsigned i = 0; i < g->count; i++) {
        const struct kept_one *one = &g->items[i];
        const struct message *m = one->message;
        if (m == NULL)
            continue;
        items[count] = (struct quarantine_message){ .when_ms = clock_wall_ms(),
                                                    .epoch = one->epoch,
                                                    .position = one->position,
                                                    .pid = one->producer.pid,
                                                    .seq = one->producer.seq,
                                                    .persistent = m->persistent,
                                                    .exchange = message_exchange(m),
                                                    .key = message_key(m),
                                                    .props = message_props(m) };
        items[count].body = body_of(m, &rooms[count]);
        count++;
    }
    g->is_good = quarantine_add(quarantined_files(g->to), g->qid, g->vhost, g->name, items, count,
                                &g->done, &g->err);
    for (size_t i = 0; i < count; i++)
        mem_free(rooms[i]);
    mem_free(rooms);
    mem_free(items);
    quarantined_changed(g->to);
}

static void on_added(struct work_job *job)
{
    struct keeping *g = CONTAINER_OF(job, struct keeping, work);
    if (!job->cancelled) {
        quarantined_count(g->to, QUARANTINED_added, g->done.added);
        quarantined_count(g->to, QUARANTINED_overflow, g->done.dropped);
        quarantined_count(g->to, QUARANTINED_failures, !g->is_good);
        if (g->done.dropped != 0)
            tell_overflow(g);
        if (!g->is_good)
            tell_failure(g);
    }
    end_batch(g, !job->cancelled && g->is_good);
}

static void add(struct keeping *g)
{
    work_job_init(&g->work, run_add, on_added);
    if (quarantined_submit(g->to, g->shard->loop, &g->work, &g->err))
        return;
    tell_failure(g);
    end_batch(g, false);
}

/* What the master has goes no further. */
static void pass_over_known(struct keeping *g, struct mirrored_keep *k)
{
    for (unsigned i = 0; i < g->count; i++) {
        struct kept_one *one = &g->items[i];
        if (one->message == NULL || one->producer.pid == 0 ||
            producers_last(&k->producers, one->producer.pid) < one->producer.seq)
            continue;
        shard_message_drop(g->shard, &one->message);
        k->known++;
    }
}

static void have_all(struct keeping *g)
{
    struct hosted *h = waits_for(g);
    unsigned left = 0;
    if (h != NULL)
        pass_over_known(g, h->mirrored->keep);
    for (unsigned i = 0; i < g->count; i++)
        left += g->items[i].message != NULL;
    if (h == NULL || left == 0)
        end_batch(g, true);
    else
        add(g);
}

static void take_loaded(struct keeping *g, struct mirrored_keep *k)
{
    for (size_t i = 0, at = 0; i < g->load.count; i++, at++) {
        struct load_item *it = &g->load.items[i];
        while (g->items[at].position != it->qseq)
            at++;
        if (it->message == NULL) {
            k->lost++;
            continue;
        }
        shard_message_made(g->shard, it->message);
        g->items[at].message = it->message;
        g->items[at].producer = it->producer;
        it->message = NULL;
    }
}

static void on_loaded(struct mail *mail)
{
    struct keeping *g = CONTAINER_OF(mail, struct keeping, load.mail);
    struct hosted *h = waits_for(g);
    if (h == NULL || g->load.is_cancelled) {
        end_batch(g, false);
        return;
    }
    take_loaded(g, h->mirrored->keep);
    have_all(g);
}

/* ---- the way through the queue ----------------------------------------------------------------
 */

static uint64_t epoch_of(const struct mirror_history *history, uint64_t position)
{
    for (uint32_t i = history->count; i-- != 0;)
        if (!mirror_starts_has(&history->epochs[i].starts, position))
            return history->epochs[i].epoch;
    return 0;
}

static struct msg_producer producer_of(const struct hosted *h, uint64_t position)
{
    const struct mirrored_recent *r = h->mirrored->recent;
    for (uint32_t i = 0; r != NULL && i < r->cap && i < r->count; i++)
        if (r->items[i].position == position)
            return r->items[i].producer;
    return (struct msg_producer){ 0, 0 };
}

void mirrored_keep_saw(struct hosted *h, uint64_t position, uint64_t pid, uint64_t seq)
{
    struct mirrored_recent *r = h->mirrored->recent;
    if (r == NULL)
        r = h->mirrored->recent = mem_zalloc(sizeof *r);
    if (mirror_master_waiting(h->shard->mirrored->m) == 0)
        r->count = 0; /* all that came before is with the mirrors */
    if (r->count == r->cap && r->cap < RECENT_MAX) {
        r->cap = r->cap != 0 ? 2 * r->cap : 16;
        r->items = mem_realloc(r->items, r->cap * sizeof *r->items);
    }
    r->items[r->count++ % r->cap] = (struct recent_one){ position, { pid, seq } };
    if (r->count == 2 * RECENT_MAX)
        r->count = RECENT_MAX;
}

static bool is_to_be_read(const struct hosted *h, const struct queue_item *it)
{
    return !place_is_none(it->place) && (it->message == NULL || it->body_bytes < LARGE_BODY_LEAST ||
                                         larges_is_safe(h->shard->larges, it->place));
}

static void take_one(struct keeping *g, const struct hosted *h, const struct queue_item *it,
                     const struct mirror_history *history)
{
    struct kept_one *one = &g->items[g->count++];
    *one = (struct kept_one){ .position = it->qseq, .epoch = epoch_of(history, it->qseq) };
    if (!is_to_be_read(h, it)) {
        one->message = message_ref(it->message);
        one->producer = producer_of(h, it->qseq);
        return;
    }
    g->load.items[g->load.count++] =
        (struct load_item){ .qseq = it->qseq, .body_bytes = it->body_bytes, .place = it->place };
}

/* The next position that is to go. NOTHING: there is none; LATER as in queue_copy.h. */
static enum qcopy find_next(const struct hosted *h, struct mirrored_keep *k, uint64_t *last,
                            struct qwant *want)
{
    for (;;) {
        uint64_t first;
        enum qcopy found = queue_live(&h->queue, k->at, &first, last, want);
        if (found != QCOPY_DONE)
            return found;
        uint64_t from = mirror_starts_of(&k->cut, first);
        k->at = first > from ? first : from;
        if (k->at <= *last)
            return QCOPY_DONE;
        k->at = *last + 1;
    }
}

/* As many as fit. LATER: something must be read first, and is; NOTHING: that was the last. */
static enum qcopy gather(struct hosted *h, struct mirrored_keep *k, struct keeping *g,
                         const struct mirror_history *history)
{
    uint64_t bytes = 0, last;
    struct qwant want;
    struct queue_item it;
    enum qcopy found;
    while ((found = find_next(h, k, &last, &want)) == QCOPY_DONE) {
        for (; k->at <= last; k->at++) {
            enum qhead at = queue_look(&h->queue, k->at, &it, &want);
            if (at == QHEAD_IN_RUN) {
                found = QCOPY_LATER;
                break;
            }
            if (at == QHEAD_EMPTY)
                continue;
            if (g->count == BATCH_MAX || (g->count != 0 && bytes + it.body_bytes > BATCH_BYTES))
                return QCOPY_MORE;
            bytes += it.body_bytes;
            take_one(g, h, &it, history);
        }
        if (found == QCOPY_LATER)
            break;
    }
    if (found == QCOPY_LATER && g->count == 0)
        mirrored_want(h, &want);
    return found;
}

static struct slice copy_name(uint8_t room[256], struct slice name)
{
    struct slice head = slice_head(name, 255);
    if (head.len != 0)
        memcpy(room, head.ptr, head.len);
    return slice_of(room, head.len);
}

static struct keeping *keeping_new(struct hosted *h, const struct mirrored_keep *k,
                                   const struct meta_vhost *vh, const struct meta_queue *q)
{
    struct keeping *g = mem_zalloc(sizeof *g);
    g->shard = h->shard;
    g->to = storage_quarantine(broker_storage(h->shard->broker));
    g->qid = h->queue.qid;
    g->number = k->number;
    g->vhost = copy_name(g->names[0], meta_vhost_name(vh));
    g->name = copy_name(g->names[1], meta_queue_name(q));
    g->load.mail.fn = on_loaded;
    g->load.reply_to = h->shard->loop;
    g->load.qid = g->qid;
    g->load.items = mem_array(BATCH_MAX, sizeof *g->load.items);
    return g;
}

/* True: a batch is under way, or something is being read for one. */
static bool go_on(struct hosted *h, struct mirrored_keep *k, const struct mirror_history *history)
{
    const struct meta_version *v = broker_meta(h->shard->broker);
    const struct meta_queue *q = meta_queue_get(v, h->queue.qid);
    const struct meta_vhost *vh = q != NULL ? meta_vhost_get(v, q->vhost_id) : NULL;
    if (vh == NULL)
        return false; /* it was deleted, with all that is in it */
    struct keeping *g = keeping_new(h, k, vh, q);
    enum qcopy found = gather(h, k, g, history);
    if (g->count == 0) {
        free_keeping(g);
        return found != QCOPY_NOTHING;
    }
    k->is_busy = true;
    if (g->load.count != 0)
        store_load(h->shard->store, &g->load);
    else
        have_all(g);
    return true;
}

/* ---- ----------------------------------------------------------------------------------------
 */

static bool is_same(const struct mirror_starts *a, const struct mirror_starts *b)
{
    return mirror_starts_within(a, b) && mirror_starts_within(b, a);
}

void mirrored_keep_end(struct hosted *h)
{
    struct mirrored_keep *k = h->mirrored->keep;
    h->mirrored->keep = NULL;
    if (k == NULL)
        return;
    mirror_starts_fini(&k->cut);
    producers_fini(&k->producers);
    mem_free(k);
}

void mirrored_keep_forget(struct hosted *h)
{
    mirrored_keep_end(h);
    if (h->mirrored->recent != NULL)
        mem_free(h->mirrored->recent->items);
    mem_free(h->mirrored->recent);
    h->mirrored->recent = NULL;
}

static struct mirrored_keep *begin(struct hosted *h, const struct mirror_starts *cut,
                                   const struct producers *producers)
{
    struct mirrored_keep *k = mem_zalloc(sizeof *k);
    k->number = shard_new_id(h->shard);
    mirror_starts_copy(&k->cut, cut);
    producers_copy(&k->producers, producers);
    h->mirrored->keep = k;
    return k;
}

enum mirror_taken mirrored_keep(struct hosted *h, const struct mirror_history *history,
                                const struct mirror_starts *cut, const struct producers *producers,
                                uint16_t master)
{
    struct mirrored_keep *k = h->mirrored->keep;
    if (k != NULL && !is_same(&k->cut, cut))
        mirrored_keep_end(h);
    k = h->mirrored->keep != NULL ? h->mirrored->keep : begin(h, cut, producers);
    if (k->is_whole)
        return MIRROR_TAKEN;
    if (k->has_failed) {
        mirrored_keep_end(h);
        return MIRROR_TAKEN_NOT;
    }
    if (k->is_busy || go_on(h, k, history))
        return MIRROR_TAKEN_LATER;
    k->is_whole = true;
    tell_whole(h, k, master);
    return MIRROR_TAKEN;
}
