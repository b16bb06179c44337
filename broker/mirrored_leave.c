#include "mirrored_leave.h"

#include "base/check.h"
#include "base/mem.h"
#include "broker.h"
#include "hosted.h"
#include "io/mailbox.h"
#include "mirror_link/mirror_links.h"
#include "mirrored_keep.h"
#include "model/queue_copy.h"
#include "storage.h"

/* mirrored_queue.leave */
struct mirrored_leave {
    struct mirror_past past;
    uint16_t master; /* that is asked, and has told once is_told */
    bool is_told;
    struct mirror_starts cut;
    struct producers producers;
};

static void forget_told(struct mirrored_leave *l)
{
    mirror_starts_fini(&l->cut);
    producers_fini(&l->producers);
    l->is_told = false;
}

void mirrored_leave_end(struct hosted *h)
{
    struct mirrored_leave *l = h->mirrored->leave;
    h->mirrored->leave = NULL;
    if (l == NULL)
        return;
    mirror_past_end(&l->past);
    forget_told(l);
    mem_free(l);
}

/* Whatever it has, it has from who masters it now; or it has nothing. */
static bool has_no_more(const struct hosted *h, uint64_t epoch)
{
    uint64_t first, last;
    struct qwant want;
    return mirror_history_epoch(&h->mirrored->history) == epoch ||
           queue_live(&h->queue, 0, &first, &last, &want) == QCOPY_NOTHING;
}

static void ask(struct hosted *h, bool later)
{
    struct mirrored_leave *l = h->mirrored->leave;
    mirror_past_ask(h->shard->mirrored->m, &l->past, l->master, later);
    mirror_links_soon(h->shard);
}

static void begin(struct hosted *h, uint16_t master, uint64_t epoch)
{
    struct mirrored_leave *l = mem_zalloc(sizeof *l);
    l->past = (struct mirror_past){ .qid = h->queue.qid, .epoch = epoch, .owner = h };
    l->master = master;
    h->mirrored->leave = l;
    ask(h, false);
}

void mirrored_leave_told(void *arg, struct mirror_past *p, const struct mirror_history *history,
                         const struct producers *producers)
{
    struct hosted *h = p->owner;
    struct mirrored_leave *l = h->mirrored->leave;
    struct mirror_history then = { 0 };
    struct mirror_starts next = { 0 };
    (void)arg;
    CHECK(p == &l->past && !l->is_told);
    mirrored_starts(h, &next);
    mirror_history_copy(&then, &h->mirrored->history);
    if (!mirror_history_join(&then, history, &next, &l->cut)) {
        mirror_starts_fini(&l->cut);
        mirror_starts_copy(&l->cut, &next); /* all of it is there */
    }
    mirror_starts_fini(&next);
    mirror_history_fini(&then);
    producers_copy(&l->producers, producers);
    l->is_told = true;
    mirrored_is_due(h);
}

bool mirrored_leave_tell(void *arg, uint64_t qid, uint64_t epoch, const struct mirror_history **out)
{
    struct hosted *h = shard_kept(arg, qid);
    const struct mirrored_queue *mq = h != NULL ? h->mirrored : NULL;
    if (mq == NULL || mq->state != MIRRORED_MASTER || mq->lead->epoch != epoch)
        return false;
    *out = &mq->lead->history;
    return true;
}

/* Who is asked is another one, or that one in a later life: what was told before counts no more. */
static void mind_master(struct hosted *h, uint16_t master, uint64_t epoch)
{
    const struct mirrored_leave *l = h->mirrored->leave;
    if (l == NULL || (l->master == master && l->past.epoch == epoch))
        return;
    mirrored_leave_end(h);
    mirrored_keep_end(h);
}

bool mirrored_leave(struct hosted *h, uint16_t master, uint64_t epoch)
{
    struct mirrored_queue *mq = h->mirrored;
    mind_master(h, master, epoch);
    if (mq->leave == NULL) {
        if (has_no_more(h, epoch))
            return true;
        begin(h, master, epoch);
        return false;
    }
    struct mirrored_leave *l = mq->leave;
    if (!l->is_told)
        return false;
    enum mirror_taken kept = mirrored_keep(h, &mq->history, &l->cut, &l->producers, l->master);
    if (kept == MIRROR_TAKEN_NOT) {
        mirror_past_end(&l->past);
        forget_told(l);
        ask(h, true);
    }
    return kept == MIRROR_TAKEN;
}

/* ---- at the start ------------------------------------------------------------------------------
 */

struct left {
    struct mail mail;
    struct shard *shard;
    uint64_t qid;
};

/* It may have come back meanwhile, also to go again, or be deleted. */
static void on_left(struct mail *mail)
{
    struct left *l = CONTAINER_OF(mail, struct left, mail);
    struct shard *s = l->shard;
    const struct meta_queue *q = meta_queue_get(broker_meta(s->broker), l->qid);
    if (q != NULL && s->store != NULL &&
        storage_found(broker_storage(s->broker), s, l->qid) != NULL) {
        (void)shard_add_copy(s, q);
        mirrored_reconcile(s, q);
    }
    mem_free(l);
}

void mirrored_leave_post(struct shard *s, uint64_t qid)
{
    struct left *l = mem_alloc(sizeof *l);
    *l = (struct left){ .mail = { NULL, on_left }, .shard = s, .qid = qid };
    mailbox_post(s->loop, &l->mail);
}
