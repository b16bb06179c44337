#include "hosted.h"

#include "base/check.h"
#include "base/heap.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "broker.h"
#include "control.h"
#include "dead_letter.h"
#include "io/clock.h"
#include "io/mailbox.h"
#include "marks.h"
#include "mirrored_lead.h"
#include "model/death.h"
#include "policy.h"
#include "port.h"
#include "port_held.h"
#include "requeue.h"
#include "storage.h"
#include "store/segs.h"

/* Queues whose moment has come, and messages freed of queues that were deleted, in one turn. */
#define WAKES_A_TURN    256u
#define WAKES_SPARE     1024u
#define KEEP_PROMISE_MS 2000u
#define FREED_A_TURN    1024u

/* Queues looked at in one turn when policies change: patterns are matched for each. */
#define LOOKS_A_TURN  4096u /* at policies, when they have changed */
#define JUDGE_TURN_US 2000u /* or so long: a pattern may be slow */

struct hosting {
    struct queue_ops ops;
    struct heap wakes; /* moments, and qids: those of queues that wanted an earlier one since, or
                          are gone, mean nothing */
    struct loop_timer timer;
    uint64_t timer_at_ms; /* UINT64_MAX: it does not run */
    STAILQ_HEAD(, hosted) dying;
    struct loop_task bury_task;
    struct dead_letters *letters;
    uint64_t *to_judge; /* qids of queues whose settings may be others now */
    size_t to_judge_count;
    bool judge_anew;      /* they are to be listed again, those of... */
    uint64_t judge_vhost; /* ...this vhost; 0: of all */
    struct loop_task judge_task;
};

/* ---- what queues ask for ----------------------------------------------------------------------
 */

static struct hosted *hosted_of(struct queue *q)
{
    return CONTAINER_OF(q, struct hosted, queue);
}

static void release_message(struct message *m, void *arg)
{
    shard_message_drop(arg, &m);
}

/* ---- what the journal is to know of */

static void on_gone(struct queue *q, uint64_t qseq, const struct qentry *e, void *arg)
{
    struct shard *s = arg;
    ledger_settle(s->ledger, hosted_of(q), qseq, qseq);
    if (LIKELY(!place_is_none(qentry_place(e))))
        ledger_leave_one(s->ledger, qentry_place(e), qentry_body_bytes(e));
}

static void on_gone_range(struct queue *q, uint64_t first, uint64_t last, void *arg)
{
    struct shard *s = arg;
    ledger_settle(s->ledger, hosted_of(q), first, last);
}

static void on_freed(struct queue *q, const struct qentry *e, void *arg)
{
    struct shard *s = arg;
    mirrored_note_freed(hosted_of(q)->mirrored);
    ledger_leave_one(s->ledger, qentry_place(e), qentry_body_bytes(e));
}

static void on_freed_run(struct queue *q, const struct qrun *r, void *arg)
{
    struct shard *s = arg;
    mirrored_note_freed(hosted_of(q)->mirrored);
    ledger_leave(s->ledger, r->seg, (int64_t)r->count,
                 (int64_t)(r->count * (uint64_t)segs_cost(0) + r->body_bytes));
}

static void on_out(struct queue *q, uint64_t qseq, void *arg)
{
    struct shard *s = arg;
    ledger_out(s->ledger, hosted_of(q), qseq);
}

static void on_returned(struct queue *q, uint64_t qseq, uint32_t returns, void *arg)
{
    struct shard *s = arg;
    ledger_returned(s->ledger, hosted_of(q), qseq, returns);
}

static struct place on_again(struct queue *q, const struct queue_item *item, void *arg)
{
    struct shard *s = arg;
    return ledger_again(s->ledger, hosted_of(q), item);
}

void hosted_note_state(struct hosted *h, uint32_t seg)
{
    mover_note_state(h, seg);
}

static bool may_serve(struct queue *q, void *arg)
{
    (void)arg;
    return mirrored_lead_may_serve(hosted_of(q));
}

static bool may_show(struct queue *q, uint64_t qseq, void *arg)
{
    (void)arg;
    return mirrored_lead_may_show(hosted_of(q), qseq);
}

static bool may_pass(struct queue *q, void *arg)
{
    (void)arg;
    return mirrored_lead_may_pass(hosted_of(q));
}

static void on_want(struct queue *q, void *arg)
{
    (void)arg;
    pager_want(hosted_of(q));
}

/* ---- what they ask for besides */

static void on_dead(struct queue *q, struct message *m, enum queue_death why, uint64_t qseq,
                    const struct qentry *e, void *arg)
{
    struct shard *s = arg;
    struct hosted *h = hosted_of(q);
    struct place place = { 0, 0 };
    if (e != NULL)
        place = qentry_place(e);
    if (MUTATION(LETTER_SETTLED_FIRST) && h->settings.has_dlx && !place_is_none(place)) {
        on_gone(q, qseq, e, s);
        place = (struct place){ 0, 0 };
    }
    if (h->settings.has_dlx) {
        if (h->book.expects_out)
            ledger_out(s->ledger, h, qseq); /* as one that is settled */
        dead_letters_add(s->hosting->letters, h, &m, why,
                         &(struct dead_from){ qseq, place, e != NULL && q->is_mirrored });
        return;
    }
    if (!place_is_none(place) || (e != NULL && UNLIKELY(q->is_mirrored)))
        on_gone(q, qseq, e, s);
    dead_letters_count(h, SHARD_DEAD_DROPPED, why);
    if (m != NULL)
        shard_message_drop(s, &m);
}

bool hosted_dead_is_placed(struct hosted *h, uint64_t qseq, struct place place)
{
    return h->letters != 0 &&
           dead_letters_placed(h->shard->hosting->letters, h,
                               &(struct dead_from){ .qseq = qseq, .place = place });
}

bool hosted_list_letters(const struct hosted *h, uint64_t *out, size_t max, size_t *count)
{
    return dead_letters_list(h->shard->hosting->letters, h, out, max, count);
}

void hosted_settle_letters(struct hosted *h)
{
    if (h->letters != 0)
        dead_letters_settle(h->shard->hosting->letters, h);
}

void hosted_on_letter_published(struct shard *s, uint64_t number, enum dead_fate fate)
{
    if (requeue_is_number(number))
        requeue_on_published(s, number, fate);
    else
        dead_letters_on_published(s->hosting->letters, number, fate);
}

void hosted_letters_go_on(struct shard *s)
{
    if (s->hosting != NULL)
        dead_letters_go_on(s->hosting->letters);
}

static struct message *count_returns(struct message *m, uint32_t returns, void *arg)
{
    struct message *counted = death_counted(m, returns);
    shard_message_made(arg, counted);
    return counted;
}

/* With the next turn of the loop. */
static void queue_goes_on(struct queue *q, void *arg)
{
    struct shard *s = arg;
    loop_again(s->loop, &hosted_of(q)->go_on);
}

static void on_go_on(void *arg)
{
    struct hosted *h = arg;
    queue_go_on(&h->queue, loop_now_ms(h->shard->loop));
}

/* ---- time -------------------------------------------------------------------------------------
 */

static void set_timer(struct shard *s)
{
    struct hosting *ho = s->hosting;
    const struct heap_item *next = heap_min(&ho->wakes);
    if (next == NULL || next->key >= ho->timer_at_ms)
        return;
    uint64_t now = loop_now_ms(s->loop);
    ho->timer_at_ms = next->key;
    loop_timer_start(&ho->timer, next->key > now ? next->key - now : 0);
}

/* Queues that live for a minute and expire in a day would leave a million moments behind that mean
 * nothing: when most are of that kind, those that count are gathered anew. */
static void drop_void_wakes(struct shard *s)
{
    struct heap *wakes = &s->hosting->wakes;
    size_t at = 0;
    wakes->count = 0;
    for (struct hosted *h; (h = idmap_next(&s->queues, &at)) != NULL;) {
        if (h->deleting)
            heap_push(wakes, h->keep_at_ms, h->queue.qid);
        else if (h->queue.wake_at_ms != UINT64_MAX)
            heap_push(wakes, h->queue.wake_at_ms, h->queue.qid);
    }
}

static void wake_at(struct shard *s, uint64_t qid, uint64_t at_ms)
{
    if (s->hosting->wakes.count > 2 * s->queues.count + WAKES_SPARE)
        drop_void_wakes(s);
    heap_push(&s->hosting->wakes, at_ms, qid);
    set_timer(s);
}

static void wake_queue_at(struct queue *q, uint64_t at_ms, void *arg)
{
    wake_at(arg, q->qid, at_ms);
}

void hosted_promise(struct hosted *h)
{
    h->deleting = true;
    h->keep_at_ms = loop_now_ms(h->shard->loop) + KEEP_PROMISE_MS;
    wake_at(h->shard, h->queue.qid, h->keep_at_ms);
}

static void wake(struct shard *s, const struct heap_item *due, uint64_t now_ms)
{
    struct hosted *h = idmap_get(&s->queues, due->value);
    if (h != NULL && h->deleting && h->keep_at_ms == due->key) {
        hosted_promise(h);
        shard_delete_queue(s, h->queue.qid);
        return;
    }
    if (h == NULL || h->deleting || h->queue.wake_at_ms != due->key)
        return; /* copies are woken by nobody, and ask for nothing */
    if (!queue_on_time(&h->queue, now_ms))
        return;
    if (meta_queue_get(broker_meta(s->broker), h->queue.qid) == NULL) {
        queue_use(&h->queue, now_ms); /* one that nobody could find yet, or that is gone already */
        return;
    }
    hosted_promise(h);
    shard_delete_queue(s, h->queue.qid);
}

static void on_timer(void *arg)
{
    struct shard *s = arg;
    struct hosting *ho = s->hosting;
    uint64_t now = loop_now_ms(s->loop);
    ho->timer_at_ms = UINT64_MAX;
    const struct heap_item *next;
    for (unsigned n = 0; n < WAKES_A_TURN; n++) {
        if ((next = heap_min(&ho->wakes)) == NULL || next->key > now)
            break;
        struct heap_item due = heap_pop(&ho->wakes);
        wake(s, &due, now);
    }
    set_timer(s);
}

/* ---- their ends -------------------------------------------------------------------------------
 */

static void free_hosted(struct hosted *h)
{
    mem_free(h->names);
    mem_free(h);
}

/* The first that has no letters on their way: those may wait for long, for room on the disk. */
static void on_bury(void *arg)
{
    struct shard *s = arg;
    struct hosted *h;
    STAILQ_FOREACH (h, &s->hosting->dying, run_entry) {
        if (h->letters == 0)
            break;
    }
    if (h == NULL)
        return; /* hosted_on_last_letter */
    if (queue_fini(&h->queue, FREED_A_TURN)) {
        STAILQ_REMOVE(&s->hosting->dying, h, hosted, run_entry);
        free_hosted(h);
    }
    if (!STAILQ_EMPTY(&s->hosting->dying))
        loop_again(s->loop, &s->hosting->bury_task);
}

void hosted_on_last_letter(struct shard *s)
{
    if (!STAILQ_EMPTY(&s->hosting->dying))
        loop_again(s->loop, &s->hosting->bury_task);
}

/* Small ones go at once; large ones in turns, and those whose letters are still to be published
 * when that is done. */
static void bury(struct shard *s, struct hosted *h)
{
    if (h->will_run)
        STAILQ_REMOVE(&s->to_run, h, hosted, run_entry);
    h->will_run = false;
    hosted_loaded(h);
    port_held_end(h);
    port_cancel_all(s, &h->queue);
    mirrored_forget(h);
    ledger_forget(s->ledger, h);
    pager_forget(h);
    loop_task_cancel(s->loop, &h->go_on);
    if (h->letters == 0 && queue_fini(&h->queue, FREED_A_TURN)) {
        free_hosted(h);
        return;
    }
    STAILQ_INSERT_TAIL(&s->hosting->dying, h, run_entry);
    loop_again(s->loop, &s->hosting->bury_task);
}

static void on_judge(void *arg);

void hosted_init(struct shard *s)
{
    struct hosting *ho = mem_zalloc(sizeof *ho);
    ho->ops = (struct queue_ops){ .release = release_message,
                                  .dead = on_dead,
                                  .counted = count_returns,
                                  .wake_at = wake_queue_at,
                                  .go_on = queue_goes_on,
                                  .gone = on_gone,
                                  .gone_range = on_gone_range,
                                  .freed = on_freed,
                                  .freed_run = on_freed_run,
                                  .out = on_out,
                                  .returned = on_returned,
                                  .again = on_again,
                                  .want = on_want,
                                  .may_serve = may_serve,
                                  .may_show = may_show,
                                  .may_pass = may_pass,
                                  .arg = s };
    heap_init(&ho->wakes);
    loop_timer_init(&ho->timer, s->loop, on_timer, s);
    ho->timer_at_ms = UINT64_MAX;
    STAILQ_INIT(&ho->dying);
    loop_task_init(&ho->bury_task, on_bury, s);
    loop_task_init(&ho->judge_task, on_judge, s);
    ho->letters = dead_letters_new(s);
    s->hosting = ho;
}

void hosted_fini(struct shard *s)
{
    struct hosting *ho = s->hosting;
    struct hosted *h;
    dead_letters_free(&ho->letters);
    /* Not from the beginning each time: that would be slow with a hundred thousand. What moved
     * before the place where the walk is, because another one was taken, comes in the next. */
    while (s->queues.count != 0) {
        for (size_t at = 0; (h = idmap_next(&s->queues, &at)) != NULL;) {
            idmap_take(&s->queues, h->queue.qid);
            port_drop_waiting(&h->when_loaded);
            port_held_free(h);
            bury(s, h);
        }
    }
    while (!STAILQ_EMPTY(&ho->dying))
        on_bury(s);
    loop_task_cancel(s->loop, &ho->bury_task);
    loop_task_cancel(s->loop, &ho->judge_task);
    mem_free(ho->to_judge);
    loop_timer_fini(&ho->timer);
    heap_fini(&ho->wakes);
    mem_free(ho);
    s->hosting = NULL;
}

void hosted_post_when_loaded(struct hosted *h, struct mail *mail)
{
    mail->next = h->when_loaded;
    h->when_loaded = mail;
}

void hosted_loaded(struct hosted *h)
{
    struct mail *first = NULL; /* the last of the list came first */
    for (struct mail *m = h->when_loaded, *next; m != NULL; m = next) {
        next = m->next;
        m->next = first;
        first = m;
    }
    h->when_loaded = NULL;
    for (struct mail *next; first != NULL; first = next) {
        next = first->next;
        mailbox_post(h->shard->loop, first);
    }
}

struct hosted *shard_kept(struct shard *s, uint64_t qid)
{
    struct hosted *h = idmap_get(&s->queues, qid);
    return h != NULL && !h->deleting ? h : NULL;
}

struct hosted *shard_hosted(struct shard *s, uint64_t qid)
{
    struct hosted *h = shard_kept(s, qid);
    return h != NULL && hosted_leads(h) ? h : NULL;
}

struct queue *shard_queue(struct shard *s, uint64_t qid)
{
    struct hosted *h = shard_hosted(s, qid);
    return h != NULL ? &h->queue : NULL;
}

/* ---- they come and go -------------------------------------------------------------------------
 */

static void copy(struct slice *s, uint8_t **at)
{
    if (s->len != 0)
        memcpy(*at, s->ptr, s->len);
    s->ptr = *at;
    *at += s->len;
}

/* The names are the metadata's, which may be replaced: copied. */
static void take_settings(struct hosted *h, const struct meta_queue *q,
                          const struct queue_settings *settings)
{
    struct queue_settings *set = &h->settings;
    *set = *settings;
    mem_free(h->names);
    h->names = NULL;
    if (!set->has_dlx && !set->has_dlx_key)
        return;
    h->name = meta_queue_name(q);
    uint8_t *at = h->names = mem_alloc(h->name.len + set->dlx.len + set->dlx_key.len + 1);
    copy(&h->name, &at);
    copy(&set->dlx, &at);
    copy(&set->dlx_key, &at);
}

/* On its way to its shard. */
struct arrival {
    struct mail mail;
    struct hosted *hosted;
    uint64_t qid;
    bool is_placed;
    bool is_new; /* it was declared just now */
};

/* What the journal had of it at the start. False: nothing. */
static bool restore(struct hosted *h)
{
    struct storage *st = broker_storage(h->shard->broker);
    const struct recovered_queue *found =
        h->book.durable && st != NULL ? storage_found(st, h->shard, h->queue.qid) : NULL;
    if (found == NULL)
        return false;
    storage_take_found(st, found);
    uint64_t now_ms = loop_now_ms(h->shard->loop);
    if (!queue_restore(&h->queue, found, (int64_t)(now_ms - clock_wall_ms())))
        log_warn("queue", "-",
                 "messages of priorities that the queue does not have are left out qid=%llu",
                 (unsigned long long)h->queue.qid);
    marks_restore(h);
    mover_restore(h, found);
    if (h->mirrored != NULL)
        mirrored_restore(h, found);
    queue_run(&h->queue, now_ms);
    return true;
}

static struct hosted *make_hosted(struct shard *s, const struct meta_queue *q)
{
    struct hosted *h = mem_zalloc(sizeof *h);
    struct queue_settings settings;
    h->shard = s;
    h->vhost_id = q->vhost_id;
    h->auto_delete = q->auto_delete;
    h->book.durable = q->durable && q->owner == 0;
    policy_settings(broker_meta(s->broker), q, &settings);
    take_settings(h, q, &settings);
    return h;
}

/* `is_known`: the journal has nothing of it but what was found at the start. */
static void add(struct hosted *h, uint64_t qid, bool is_placed, bool is_known)
{
    struct shard *s = h->shard;
    loop_task_init(&h->go_on, on_go_on, h);
    queue_init(&h->queue, qid, &s->hosting->ops, &h->settings, loop_now_ms(s->loop));
    pager_begin(h);
    idmap_put(&s->queues, qid, h);
    if (is_placed)
        mirrored_arrives(h);
    bool has_found = restore(h);
    if (is_placed && !has_found && !is_known)
        mirrored_begins_anew(h);
    shard_count(s, queues_created, 1);
}

/* A queue that is new everywhere, or was here before the start. Those that are in the metadata
 * already are of the second kind. */
static void on_created(struct mail *mail)
{
    struct arrival *a = CONTAINER_OF(mail, struct arrival, mail);
    struct shard *s = a->hosted->shard;
    const struct meta_queue *q = meta_queue_get(broker_meta(s->broker), a->qid);
    add(a->hosted, a->qid, a->is_placed, a->is_new);
    if (q != NULL && s->store != NULL) /* of a start that failed: nobody serves it */
        mirrored_reconcile(s, q);
    mem_free(a);
}

/* Nobody can find it in the metadata yet: the settings are made here. */
void shard_post_queue_created(struct shard *s, const struct meta_queue *q, bool is_placed)
{
    struct arrival *a = mem_alloc(sizeof *a);
    *a = (struct arrival){ .mail = { NULL, on_created },
                           .hosted = make_hosted(s, q),
                           .qid = q->qid,
                           .is_placed = is_placed,
                           .is_new = meta_queue_get(broker_meta(s->broker), q->qid) == NULL };
    mailbox_post(s->loop, &a->mail);
}

struct hosted *shard_add_copy(struct shard *s, const struct meta_queue *q)
{
    struct hosted *h = make_hosted(s, q);
    add(h, q->qid, true, false);
    return h;
}

void shard_drop_copy(struct hosted *h)
{
    struct shard *s = h->shard;
    idmap_take(&s->queues, h->queue.qid);
    shard_count(s, queues_deleted, 1);
    bury(s, h);
}

struct departure {
    struct mail mail;
    struct shard *shard;
    uint64_t qid;
};

static void on_deleted(struct mail *mail)
{
    struct departure *d = CONTAINER_OF(mail, struct departure, mail);
    struct hosted *h = idmap_take(&d->shard->queues, d->qid);
    if (h != NULL) {
        shard_count(d->shard, queues_deleted, 1);
        bury(d->shard, h);
    }
    mem_free(d);
}

void shard_post_queue_deleted(struct shard *s, uint64_t qid)
{
    struct departure *d = mem_alloc(sizeof *d);
    *d = (struct departure){ .mail = { NULL, on_deleted }, .shard = s, .qid = qid };
    mailbox_post(s->loop, &d->mail);
}

/* ---- policies ---------------------------------------------------------------------------------
 */

static bool is_equal(const struct queue_settings *a, const struct queue_settings *b)
{
    return a->message_ttl_ms == b->message_ttl_ms && a->expires_ms == b->expires_ms &&
           a->max_length == b->max_length && a->max_length_bytes == b->max_length_bytes &&
           a->delivery_limit == b->delivery_limit &&
           a->consumer_timeout_ms == b->consumer_timeout_ms && a->overflow == b->overflow &&
           a->has_dlx == b->has_dlx && a->has_dlx_key == b->has_dlx_key &&
           slice_eq(a->dlx, b->dlx) && slice_eq(a->dlx_key, b->dlx_key);
}

/* How many policies may have to be looked at for a queue of this vhost. */
static size_t looks_for(const struct meta_version *v, uint64_t vhost_id)
{
    const struct meta_vhost *vh = meta_vhost_get(v, vhost_id);
    return 1 + vh->policies.count + vh->operator_policies.count;
}

/* What it cost. */
static size_t judge(struct shard *s, uint64_t qid)
{
    const struct meta_version *v = broker_meta(s->broker);
    struct hosted *h = shard_kept(s, qid);
    const struct meta_queue *q = meta_queue_get(v, qid);
    if (h == NULL || q == NULL)
        return 1;
    struct queue_settings now;
    policy_settings(v, q, &now);
    if (!is_equal(&now, &h->settings)) {
        take_settings(h, q, &now);
        queue_set(&h->queue, &h->settings, loop_now_ms(s->loop));
    }
    if (h->mirrored != NULL)
        mirrored_reconcile(s, q); /* how its mirrors are to be kept may be said otherwise, too */
    return looks_for(v, q->vhost_id);
}

static void list_to_judge(struct shard *s)
{
    struct hosting *ho = s->hosting;
    mem_free(ho->to_judge);
    ho->to_judge = mem_array(s->queues.count + 1, sizeof *ho->to_judge);
    ho->to_judge_count = 0;
    ho->judge_anew = false;
    size_t at = 0;
    for (struct hosted *h; (h = idmap_next(&s->queues, &at)) != NULL;) {
        if (ho->judge_vhost == 0 || h->vhost_id == ho->judge_vhost)
            ho->to_judge[ho->to_judge_count++] = h->queue.qid;
    }
}

static void on_judge(void *arg)
{
    struct shard *s = arg;
    struct hosting *ho = s->hosting;
    if (ho->judge_anew)
        list_to_judge(s);
    uint64_t end_us = clock_mono_us() + JUDGE_TURN_US;
    size_t looks = 0;
    while (ho->to_judge_count != 0 && looks < LOOKS_A_TURN && clock_mono_us() < end_us)
        looks += judge(s, ho->to_judge[--ho->to_judge_count]);
    if (ho->to_judge_count != 0)
        loop_again(s->loop, &ho->judge_task);
}

/* One that comes while others are under way starts anew, with the queues of all vhosts if they are
 * of different ones. Many in a turn are listed for once. */
void shard_policies_changed(struct shard *s, uint64_t vhost_id)
{
    struct hosting *ho = s->hosting;
    bool others = ho->judge_anew || ho->to_judge_count != 0;
    ho->judge_vhost = !others || ho->judge_vhost == vhost_id ? vhost_id : 0;
    ho->judge_anew = true;
    loop_again(s->loop, &ho->judge_task);
}

void shard_delete_queue(struct shard *s, uint64_t qid)
{
    const struct meta_queue *q = meta_queue_get(broker_meta(s->broker), qid);
    if (q == NULL)
        return; /* it is gone already */
    struct control_op *op = control_op_new(&(struct meta_cmd){
        .op = META_QUEUE_DELETE, .vhost_id = q->vhost_id, .conn = q->owner, .qid = qid });
    control_send(broker_control(s->broker), &op);
}
