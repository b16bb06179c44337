#include "mirrored_lead.h"

#include "base/check.h"
#include "base/mem.h"
#include "broker.h"
#include "cluster/cluster.h"
#include "cluster/meta_mirrors.h"
#include "io/clock.h"
#include "io/mailbox.h"
#include "marks.h"
#include "mirror_link/mirror_links.h"
#include "mirrored_lead_inner.h"
#include "model/queue_copy.h"
#include "port_held.h"
#include "promise.h"

#define OPENED_A_TURN 256u  /* queues */
#define HELD_A_TURN   4096u /* publishes that waited for them */
#define TOO_FEW_MS                                                                                 \
    10000u /* so long publishes wait for more to be in sync; then they are refused                 \
            */

static void on_open(void *arg);
static void on_too_few(void *arg);

struct mirrored_leads *mirrored_leads_new(struct shard *s)
{
    struct mirrored_leads *l = mem_zalloc(sizeof *l);
    uint32_t shards = broker_shard_count(s->broker);
    l->shard = s;
    l->confirms = mem_zalloc(shards * sizeof(struct lead_confirms *));
    idmap_init(&l->starts);
    TAILQ_INIT(&l->starting);
    TAILQ_INIT(&l->paused);
    TAILQ_INIT(&l->noted);
    TAILQ_INIT(&l->few);
    TAILQ_INIT(&l->asking);
    TAILQ_INIT(&l->waves);
    loop_task_init(&l->open_task, on_open, l);
    loop_task_init(&l->tell_task, lead_tell, l);
    loop_task_init(&l->ask_task, lead_ask, l);
    loop_timer_init(&l->few_timer, s->loop, on_too_few, l);
    return l;
}

static void free_start(struct mirrored_leads *l, struct lead_start *st)
{
    idmap_take(&l->starts, st->key);
    loop_timer_fini(&st->timer);
    mem_free(st);
}

void mirrored_leads_free(struct mirrored_leads **leads)
{
    struct mirrored_leads *l = *leads;
    struct lead_start *st;
    *leads = NULL;
    if (l == NULL)
        return;
    CHECK(l->gather.message == NULL && TAILQ_EMPTY(&l->waves));
    while ((st = idmap_first(&l->starts)) != NULL)
        free_start(l, st);
    idmap_fini(&l->starts);
    loop_task_cancel(l->shard->loop, &l->open_task);
    loop_task_cancel(l->shard->loop, &l->tell_task);
    loop_task_cancel(l->shard->loop, &l->ask_task);
    loop_timer_fini(&l->few_timer);
    for (uint32_t i = 0; i < broker_shard_count(l->shard->broker); i++)
        mem_free(l->confirms[i]);
    mem_free(l->confirms);
    mem_free(l);
}

/* ---- being served -----------------------------------------------------------------------------
 */

static void note_members(struct mirrored_lead *own)
{
    uint16_t members[MIRROR_SET_MAX];
    unsigned count = mirror_queue_members(own->hosted->mirrored->lead, members);
    mem_free(own->members);
    own->members = count != 0 ? mem_dup(members, count * sizeof *members) : NULL;
    own->member_count = (uint16_t)count;
    own->is_stale = false;
}

static void pause(struct mirrored_leads *l, struct mirrored_lead *own)
{
    if (own->is_paused)
        return;
    own->is_paused = true;
    TAILQ_INSERT_TAIL(&l->paused, own, paused_entry);
}

bool mirrored_lead_may_serve(struct hosted *h)
{
    struct mirrored_queue *mq = h->mirrored;
    struct mirrored_lead *own = mq->own;
    if (own == NULL || !mq->serves)
        return false;
    if (UNLIKELY(own->is_stale))
        note_members(own);
    if (LIKELY(cluster_may_serve(broker_cluster(h->shard->broker), mq->lead->epoch, own->members,
                                 own->member_count)))
        return true;
    pause(leads_of(h->shard), own);
    return false;
}

/* A mirror that is waited for is given no more than it can take: until it has taken some, or is not
 * waited for any more, publishes wait. */
static bool has_room(struct mirrored_leads *l, struct mirrored_lead *own)
{
    if (LIKELY(!mirror_master_is_behind(l->shard->mirrored->m)))
        return true;
    pause(l, own);
    return false;
}

/* Requests, consumers, publishes. */
void lead_open_soon(struct mirrored_leads *l, struct mirrored_lead *own)
{
    if (own->is_starting)
        return;
    own->is_starting = true;
    if (own->hosted->mirrored->is_wanted)
        TAILQ_INSERT_HEAD(&l->starting, own, open_entry);
    else
        TAILQ_INSERT_TAIL(&l->starting, own, open_entry);
    loop_again(l->shard->loop, &l->open_task);
}

static void open(struct mirrored_leads *l, struct mirrored_lead *own)
{
    struct hosted *h = own->hosted;
    struct mirrored_queue *mq = h->mirrored;
    uint64_t now_ms = loop_now_ms(l->shard->loop);
    mq->is_wanted = false;
    if (!mq->serves) {
        mq->serves = true;
        mirror_master_activate(l->shard->mirrored->m, mq->lead, now_ms);
        mirror_links_soon(l->shard);
    }
    mirrored_lead_marks_said(h);
    if (!mirrored_lead_may_serve(h))
        return;
    queue_run(&h->queue, now_ms);
    hosted_loaded(h);
}

/* False: not all of them. */
static bool publish_held(struct mirrored_leads *l, struct port_opening *opening,
                         struct mirrored_lead *own, size_t *budget)
{
    l->is_opening = true; /* a batch that is full goes at once */
    bool are_all = port_open(opening, own->hosted, budget);
    l->is_opening = false;
    return are_all;
}

static void on_open(void *arg)
{
    struct mirrored_leads *l = arg;
    struct shard *s = l->shard;
    struct mirrored_lead *own;
    struct port_opening opening;
    size_t budget = HELD_A_TURN;
    port_opening_init(&opening, s);
    for (unsigned n = 0;
         n < OPENED_A_TURN && budget != 0 && (own = TAILQ_FIRST(&l->starting)) != NULL; n++) {
        TAILQ_REMOVE(&l->starting, own, open_entry);
        own->is_starting = false;
        open(l, own);
        if (own->hosted->held != NULL && !own->has_too_few &&
            mirrored_lead_may_serve(own->hosted) && has_room(l, own) &&
            !publish_held(l, &opening, own, &budget))
            lead_open_soon(l, own);
    }
    l->is_opening = true;
    port_opening_end(&opening);
    l->is_opening = false;
    if (!TAILQ_EMPTY(&l->starting))
        loop_again(s->loop, &l->open_task);
}

void mirrored_lead_hurry(struct hosted *h)
{
    struct mirrored_leads *l = leads_of(h->shard);
    struct mirrored_lead *own = h->mirrored->own;
    if (!own->is_starting)
        return;
    TAILQ_REMOVE(&l->starting, own, open_entry);
    TAILQ_INSERT_HEAD(&l->starting, own, open_entry);
}

/* What comes goes behind what waits already. */
bool lead_accepts(struct hosted *h)
{
    struct mirrored_leads *l = leads_of(h->shard);
    struct mirrored_lead *own = h->mirrored->own;
    if (l->is_opening)
        return h->mirrored->serves;
    return h->held == NULL && own != NULL && !own->has_too_few && mirrored_lead_may_serve(h) &&
           has_room(l, own);
}

bool lead_will_be(const struct hosted *h)
{
    const struct broker *b = h->shard->broker;
    const struct meta_version *v = broker_meta(b);
    const struct meta_queue *q = meta_queue_get(v, h->queue.qid);
    return q != NULL && meta_queue_master(v, q) == broker_node(b);
}

bool mirrored_must_wait(struct hosted *h, enum port_op op)
{
    if (!hosted_leads(h) ? lead_will_be(h) : !h->mirrored->serves)
        mirrored_is_wanted(h);
    if (!hosted_leads(h))
        return lead_will_be(h);
    switch (op) {
    case PORT_GET:
    case PORT_PURGE:
    case PORT_DELETE:
        return !mirrored_lead_may_serve(h);
    case PORT_CONSUME:
    case PORT_CANCEL:
    case PORT_COUNT:
    case PORT_FENCE:
        return false;
    }
    UNREACHABLE("port op");
}

void mirrored_is_settled(struct hosted *h)
{
    if (!hosted_leads(h) && !lead_will_be(h))
        port_held_move(h);
    hosted_loaded(h);
}

/* ---- when it begins ---------------------------------------------------------------------------
 */

struct start_ask {
    struct mail mail;
    struct shard *shard;
    uint64_t key;
    uint64_t epoch;
    uint16_t earlier;
    int64_t begins_us;
};

static uint64_t key_of(uint64_t epoch, uint16_t earlier)
{
    return epoch << 16 | earlier;
}

static void start_all(struct mirrored_leads *l, struct lead_start *st)
{
    struct mirrored_lead *own;
    while ((own = TAILQ_FIRST(&st->queues)) != NULL) {
        TAILQ_REMOVE(&st->queues, own, start_entry);
        own->start = NULL;
        lead_open_soon(l, own);
    }
    free_start(l, st);
}

static void ask(struct mirrored_leads *l, struct lead_start *st);

static void start_at(struct mirrored_leads *l, struct lead_start *st, int64_t begins_us)
{
    int64_t now_us = (int64_t)clock_boot_us();
    if (begins_us <= now_us)
        start_all(l, st);
    else
        loop_timer_start(&st->timer, (uint64_t)(begins_us - now_us + 999) / 1000);
}

static void on_begins(struct mail *mail)
{
    struct start_ask *a = CONTAINER_OF(mail, struct start_ask, mail);
    struct mirrored_leads *l = a->shard->mirrored != NULL ? leads_of(a->shard) : NULL;
    struct lead_start *st = l != NULL ? idmap_get(&l->starts, a->key) : NULL;
    int64_t begins_us = a->begins_us;
    mem_free(a);
    if (st == NULL)
        return;
    st->is_asked = false;
    if (st->is_again)
        ask(l, st);
    else if (begins_us != INT64_MAX)
        start_at(l, st, begins_us);
}

/* The control thread. */
static void on_ask(struct mail *mail)
{
    struct start_ask *a = CONTAINER_OF(mail, struct start_ask, mail);
    a->begins_us = cluster_begins_us(broker_cluster(a->shard->broker), a->epoch, &a->earlier, 1);
    a->mail.fn = on_begins;
    mailbox_post(a->shard->loop, &a->mail);
}

static void ask(struct mirrored_leads *l, struct lead_start *st)
{
    st->is_again = st->is_asked;
    if (st->is_asked)
        return;
    st->is_asked = true;
    struct start_ask *a = mem_alloc(sizeof *a);
    *a = (struct start_ask){ .mail = { NULL, on_ask },
                             .shard = l->shard,
                             .key = st->key,
                             .epoch = st->epoch,
                             .earlier = st->earlier };
    mailbox_post(broker_loop(l->shard->broker), &a->mail);
}

/* The clocks may differ by less than a millisecond: it is asked anew. */
static void on_start_timer(void *arg)
{
    struct lead_start *st = arg;
    ask(leads_of(st->shard), st);
}

static struct lead_start *start_of(struct mirrored_leads *l, uint64_t epoch, uint16_t earlier)
{
    uint64_t key = key_of(epoch, earlier);
    struct lead_start *st = idmap_get(&l->starts, key);
    if (st != NULL)
        return st;
    st = mem_zalloc(sizeof *st);
    st->shard = l->shard;
    st->key = key;
    st->epoch = epoch;
    st->earlier = earlier;
    TAILQ_INIT(&st->queues);
    loop_timer_init(&st->timer, l->shard->loop, on_start_timer, st);
    idmap_put(&l->starts, key, st);
    ask(l, st);
    return st;
}

void mirrored_lead_began(struct shard *s, struct hosted *h)
{
    struct mirrored_leads *l = leads_of(s);
    struct mirrored_queue *mq = h->mirrored;
    struct mirrored_lead *own = mem_zalloc(sizeof *own);
    CHECK(mq->own == NULL);
    mq->own = own;
    own->hosted = h;
    own->is_stale = true;
    own->owes_durable = true; /* what is here may have been published to an earlier master */
    h->queue.is_mirrored = true;
    marks_begin_epoch(h);
    if (h->queue.consumer_count != 0) /* of before it had mirrors: what comes is shown to them */
        promises_follow(s->promises, ledger_expect_out(s->ledger, h));
    mirrored_lead_judge(h);
    hosted_loaded(h); /* who waited for it to be decided waits for it to begin */
    if (mq->earlier == 0) {
        lead_open_soon(l, own);
        return;
    }
    own->start = start_of(l, mq->lead->epoch, mq->earlier);
    TAILQ_INSERT_TAIL(&own->start->queues, own, start_entry);
}

void mirrored_lead_placed(struct shard *s, struct hosted *h)
{
    (void)s;
    h->mirrored->own->is_stale = true;
    mirrored_lead_judge(h);
    if (h->mirrored->own->is_paused) /* a member less may be asked */
        lead_open_soon(leads_of(s), h->mirrored->own);
}

static void leave_start(struct mirrored_leads *l, struct mirrored_lead *own)
{
    struct lead_start *st = own->start;
    if (st == NULL)
        return;
    TAILQ_REMOVE(&st->queues, own, start_entry);
    own->start = NULL;
    if (TAILQ_EMPTY(&st->queues))
        free_start(l, st);
}

static void set_few(struct mirrored_leads *l, struct mirrored_lead *own, bool has_too_few);

void mirrored_lead_ends(struct shard *s, struct hosted *h)
{
    struct mirrored_leads *l = leads_of(s);
    struct mirrored_lead *own = h->mirrored->own;
    h->mirrored->own = NULL;
    h->mirrored->serves = false;
    leave_start(l, own);
    set_few(l, own, false);
    if (own->is_paused)
        TAILQ_REMOVE(&l->paused, own, paused_entry);
    if (own->is_noted)
        TAILQ_REMOVE(&l->noted, own, noted_entry);
    if (own->is_asking)
        TAILQ_REMOVE(&l->asking, own, ask_entry);
    if (own->is_starting)
        TAILQ_REMOVE(&l->starting, own, open_entry);
    hosted_loaded(h); /* who waits asks elsewhere, or again */
    mem_free(own->members);
    mem_free(own);
}

/* ---- grants -----------------------------------------------------------------------------------
 */

struct granted {
    struct mail mail;
    struct shard *shard;
};

void lead_resume(struct mirrored_leads *l)
{
    struct mirrored_lead *own;
    while ((own = TAILQ_FIRST(&l->paused)) != NULL) {
        TAILQ_REMOVE(&l->paused, own, paused_entry);
        own->is_paused = false;
        lead_open_soon(l, own);
    }
}

static void on_granted(struct mail *mail)
{
    struct granted *g = CONTAINER_OF(mail, struct granted, mail);
    struct shard *s = g->shard;
    struct mirrored_leads *l = s->mirrored != NULL ? leads_of(s) : NULL;
    mem_free(g);
    if (l == NULL)
        return;
    lead_resume(l);
    size_t at = 0;
    for (struct lead_start *st; (st = idmap_next(&l->starts, &at)) != NULL;)
        ask(l, st);
}

void mirrored_lead_granted(struct shard *s)
{
    struct granted *g = mem_alloc(sizeof *g);
    *g = (struct granted){ { NULL, on_granted }, s };
    mailbox_post(s->loop, &g->mail);
}

/* ---- too few in sync --------------------------------------------------------------------------
 */

static void set_few(struct mirrored_leads *l, struct mirrored_lead *own, bool has_too_few)
{
    if (own->has_too_few == has_too_few)
        return;
    own->has_too_few = has_too_few;
    if (!has_too_few) {
        TAILQ_REMOVE(&l->few, own, few_entry);
        return;
    }
    TAILQ_INSERT_TAIL(&l->few, own, few_entry);
    if (!loop_timer_is_running(&l->few_timer))
        loop_timer_start(&l->few_timer, TOO_FEW_MS);
}

void mirrored_lead_judge(struct hosted *h)
{
    struct mirrored_lead *own = h->mirrored != NULL ? h->mirrored->own : NULL;
    const struct meta_version *v = broker_meta(h->shard->broker);
    const struct meta_queue *q = meta_queue_get(v, h->queue.qid);
    struct meta_mirror_rule rule;
    struct meta_placement p;
    if (own == NULL || q == NULL)
        return;
    bool had_too_few = own->has_too_few;
    meta_mirror_rule_of(v, q, &rule);
    meta_placement_of(v, q, &p);
    set_few(leads_of(h->shard), own, p.isr_count < rule.min_in_sync);
    if (had_too_few && !own->has_too_few)
        lead_open_soon(leads_of(h->shard), own);
}

/* Those who have waited long enough hear that they wait for nothing. */
static void on_too_few(void *arg)
{
    struct mirrored_leads *l = arg;
    uint64_t now_ms = loop_now_ms(l->shard->loop), next_ms = TOO_FEW_MS;
    struct mirrored_lead *own;
    if (TAILQ_EMPTY(&l->few))
        return;
    TAILQ_FOREACH (own, &l->few, few_entry) {
        uint64_t left_ms = port_held_refuse(own->hosted, now_ms, TOO_FEW_MS);
        next_ms = left_ms < next_ms ? left_ms : next_ms;
    }
    loop_timer_start(&l->few_timer, next_ms);
}

/* ---- an operator's word ---- */

bool mirrored_is_syncing(const struct hosted *h, uint64_t *sent)
{
    *sent = 0;
    if (!mirrored_is_lead(h->mirrored))
        return false;
    const struct mirror_queue *q = h->mirrored->lead;
    bool is_syncing = false;
    for (unsigned i = 0; i < q->pair_count; i++) {
        struct mirror_progress p;
        mirror_queue_progress(q, i, &p);
        is_syncing = is_syncing || p.is_syncing;
        *sent += p.is_syncing ? p.said : 0;
    }
    return is_syncing;
}

bool mirrored_sync(struct hosted *h)
{
    if (!mirrored_is_lead(h->mirrored) || h->mirrored->lead->pair_count == 0)
        return false;
    mirror_master_sync(h->shard->mirrored->m, h->mirrored->lead);
    mirror_links_soon(h->shard);
    return true;
}

bool mirrored_cancel_sync(struct hosted *h)
{
    uint64_t sent;
    if (!mirrored_is_syncing(h, &sent))
        return false;
    mirror_master_cancel_sync(h->shard->mirrored->m, h->mirrored->lead);
    mirror_links_soon(h->shard);
    return true;
}

/* At most so many: none that is settled is counted before the first that is not. */
static uint64_t messages_in(const struct hosted *h, const struct mirror_run *rows, unsigned count)
{
    const struct qcounts *counts = &h->queue.store.counts;
    uint64_t all = counts->ready.count + counts->out.count, sum = 0;
    for (unsigned i = 0; i < count && sum < all; i++) {
        uint64_t first, last;
        struct qwant want;
        enum qcopy found = queue_live(&h->queue, rows[i].first, &first, &last, &want);
        if (found == QCOPY_NOTHING)
            break;
        if (found != QCOPY_DONE) /* it is on disk: not worth reading */
            first = rows[i].first;
        if (first <= rows[i].last)
            sum += rows[i].last - first < all ? rows[i].last - first + 1 : all;
    }
    return sum < all ? sum : all;
}

unsigned mirrored_lags(const struct hosted *h, struct mirrored_lag *out)
{
    unsigned count = 0;
    if (!mirrored_is_lead(h->mirrored))
        return 0;
    const struct mirror_queue *q = h->mirrored->lead;
    for (unsigned i = 0; i < q->pair_count && count < MIRRORED_LAGS_MAX; i++) {
        struct mirror_run rows[MIRROR_STARTS_MAX];
        struct mirror_progress p;
        mirror_queue_progress(q, i, &p);
        if (p.is_whole)
            continue;
        unsigned lacks = mirror_queue_lacks(q, i, rows);
        out[count++] = (struct mirrored_lag){ messages_in(h, rows, lacks), p.node };
    }
    return count;
}
