#include "storage.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker.h"
#include "cluster/meta_placement.h"
#include "io/mailbox.h"
#include "larges.h"
#include "ledger.h"
#include "live.h"
#include "mirrored_leave.h"
#include "mover.h"
#include "promise.h"
#include "quarantined.h"
#include "shard.h"
#include "store/store.h"

#include <stdlib.h>

struct storage {
    struct broker *broker;
    struct store *store;
    struct quarantined *quarantine; /* NULL until recovery */
    uint32_t handing_out;           /* shards that have not got all yet */
    bool *handed_out; /* by shard, its own thread's: has it? Then what was found may be gone */
    uint8_t *taken; /* by queue that was found, its shard's: it was given to that. NULL: nothing was
                       read */
    bool started;
};

/* ---- what the store asks of the node ----------------------------------------------------------
 */

static void on_durable(void *arg)
{
    const struct storage *st = arg;
    for (uint32_t i = 0; i < broker_shard_count(st->broker); i++)
        promises_on_durable(broker_shard(st->broker, i)->promises);
}

static void on_failed(const struct err *err, void *arg)
{
    const struct storage *st = arg;
    broker_fail(st->broker, err);
}

static void on_alarm(void *arg)
{
    const struct storage *st = arg;
    broker_disk_changed(st->broker);
}

static void on_ask(struct store_ask *ask, void *arg)
{
    const struct storage *st = arg;
    mover_on_ask(broker_shard(st->broker, ask->shard)->mover, ask);
}

/* Also of one that is to be here no more: what is, is looked at before it goes. */
static uint32_t shard_of(uint64_t qid, void *arg)
{
    const struct storage *st = arg;
    const struct meta_queue *q = meta_queue_get(broker_meta(st->broker), qid);
    return q != NULL ? q->shard : UINT32_MAX;
}

static uint64_t disk_limit(void *arg)
{
    const struct storage *st = arg;
    return broker_disk_limit(st->broker);
}

/* ---- start ------------------------------------------------------------------------------------
 */

struct storage *storage_open(struct broker *b, struct epoch *epoch, struct disk *disk,
                             struct err *err)
{
    struct storage *st = mem_zalloc(sizeof *st);
    const struct broker_conf *conf = broker_live(b)->conf;
    uint32_t count = broker_shard_count(b);
    st->handed_out = mem_zalloc(count * sizeof *st->handed_out);
    struct loop **loops = mem_array(count, sizeof(struct loop *));
    for (uint32_t i = 0; i < count; i++)
        loops[i] = broker_shard(b, i)->loop;
    st->broker = b;
    st->store =
        store_open(&(struct store_setup){ .folder = conf->node.data_path,
                                          .node = conf->node.name,
                                          .disk = disk,
                                          .shard_count = count,
                                          .shard_loops = loops,
                                          .epoch = epoch,
                                          .sync = (enum journal_sync)conf->store.sync,
                                          .interval_ms = (uint32_t)conf->store.interval_ms,
                                          .segment_bytes = (uint32_t)conf->store.segment_bytes,
                                          .slow_ms = (uint32_t)conf->store.slow_ms,
                                          .threads = count,
                                          .on_durable = on_durable,
                                          .on_failed = on_failed,
                                          .on_alarm = on_alarm,
                                          .on_ask = on_ask,
                                          .shard_of = shard_of,
                                          .disk_limit = disk_limit,
                                          .arg = st },
                   err);
    mem_free(loops);
    if (st->store == NULL) {
        mem_free(st->handed_out);
        mem_free(st);
        return NULL;
    }
    return st;
}

static bool knows_queue(uint64_t qid, void *arg)
{
    const struct meta_version *const *v = arg;
    return meta_queue_get(*v, qid) != NULL;
}

bool storage_read(struct storage *st, const struct meta_version *v, struct err *err)
{
    if (!store_recover(st->store, knows_queue, &v, err))
        return false;
    st->taken = mem_zalloc(store_recovered(st->store)->queue_count + 1);
    return true;
}

static bool has_messages(const struct recovered_queue *found)
{
    for (size_t i = 0; i < found->level_count; i++)
        if (found->levels[i].run_count != 0 || found->levels[i].entry_count != 0)
            return true;
    return false;
}

/* What others were given while this node was away. */
static void post_left(const struct storage *st, const struct recovered *found)
{
    const struct meta_version *v = broker_meta(st->broker);
    for (size_t i = 0; i < found->queue_count; i++) {
        const struct meta_queue *q = meta_queue_get(v, found->queues[i].qid);
        struct meta_placement p;
        if (q == NULL || !has_messages(&found->queues[i]))
            continue;
        meta_placement_of(v, q, &p);
        if (meta_placement_role(&p, broker_node(st->broker)) == META_ROLE_NONE)
            mirrored_leave_post(broker_shard(st->broker, q->shard), q->qid);
    }
}

bool storage_recover(struct storage *st, struct err *err)
{
    st->quarantine = quarantined_open(store_disk(st->store), err);
    if (st->quarantine == NULL)
        return false;
    const struct recovered *found = store_recovered(st->store);
    for (uint32_t i = 0; i < broker_shard_count(st->broker); i++) {
        struct shard *s = broker_shard(st->broker, i);
        s->store = st->store;
        larges_restore(s->larges, found->larges, found->large_count);
        shard_open_journal(s, store_journal(st->store), store_segs(st->store));
    }
    post_left(st, found);
    return true;
}

bool storage_start(struct storage *st, struct err *err)
{
    st->started = store_start(st->store, err);
    return st->started;
}

/* ---- what was found ---------------------------------------------------------------------------
 */

static int by_qid(const void *key, const void *item)
{
    uint64_t qid = *(const uint64_t *)key;
    const struct recovered_queue *q = item;
    return (qid > q->qid) - (qid < q->qid);
}

const struct recovered_queue *storage_found(const struct storage *st, const struct shard *s,
                                            uint64_t qid)
{
    if (st->handed_out[s->index])
        return NULL;
    const struct recovered *r = store_recovered(st->store);
    if (r == NULL || r->queue_count == 0 || st->taken == NULL)
        return NULL;
    const struct recovered_queue *q =
        bsearch(&qid, r->queues, r->queue_count, sizeof *r->queues, by_qid);
    return q != NULL && st->taken[q - r->queues] == 0 ? q : NULL;
}

void storage_take_found(struct storage *st, const struct recovered_queue *found)
{
    st->taken[found - store_recovered(st->store)->queues] = 1;
}

struct handed {
    struct mail mail;
    struct storage *storage;
    struct shard *shard;
    struct loop *back;
};

static void on_handed_out(struct mail *mail)
{
    struct handed *r = CONTAINER_OF(mail, struct handed, mail);
    struct storage *st = r->storage;
    if (--st->handing_out == 0)
        store_forget_recovered(st->store);
    mem_free(r);
}

/* On a shard: whatever was posted before has been read. */
static void on_shard(struct mail *mail)
{
    struct handed *r = CONTAINER_OF(mail, struct handed, mail);
    const struct recovered *found = store_recovered(r->storage->store);
    r->storage->handed_out[r->shard->index] = true;
    mover_restore_refs(r->shard->mover, found->state_refs, found->state_ref_count);
    r->mail.fn = on_handed_out;
    mailbox_post(r->back, &r->mail);
}

void storage_hand_out(struct storage *st)
{
    st->handing_out = broker_shard_count(st->broker);
    for (uint32_t i = 0; i < broker_shard_count(st->broker); i++) {
        struct handed *r = mem_zalloc(sizeof *r);
        *r = (struct handed){
            { NULL, on_shard }, st, broker_shard(st->broker, i), broker_loop(st->broker)
        };
        mailbox_post(broker_shard(st->broker, i)->loop, &r->mail);
    }
}

/* ---- end --------------------------------------------------------------------------------------
 */

void storage_stop(struct storage *st)
{
    if (st->quarantine != NULL)
        quarantined_stop(st->quarantine);
    if (!st->started)
        return;
    st->started = false;
    for (uint32_t i = 0; i < broker_shard_count(st->broker); i++)
        shard_close_journal(broker_shard(st->broker, i));
    store_stop(st->store);
}

bool storage_settle(struct storage *st)
{
    return store_settle(st->store);
}

void storage_free(struct storage **storage)
{
    struct storage *st = *storage;
    *storage = NULL;
    if (st == NULL)
        return;
    for (uint32_t i = 0; i < broker_shard_count(st->broker); i++) {
        ledger_stop(broker_shard(st->broker, i)->ledger);
        broker_shard(st->broker, i)->store = NULL;
    }
    quarantined_free(&st->quarantine);
    store_free(&st->store);
    mem_free(st->handed_out);
    mem_free(st->taken);
    mem_free(st);
}

struct store *storage_store(const struct storage *st)
{
    return st->store;
}

struct quarantined *storage_quarantine(const struct storage *st)
{
    return st->quarantine;
}
