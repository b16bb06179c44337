#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "store/reading.h"
#include "store/store_inner.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LAG_MS     2000u  /* readers and counts are behind by less than this */
#define PUT_OFF_MS 30000u /* until one is tried again that did not become empty */

/* ---- asking -----------------------------------------------------------------------------------
 */

static uint64_t now_ms(const struct store *st)
{
    return loop_now_ms(st->loop);
}

static void free_asks(struct round *r)
{
    for (uint32_t i = 0; i < r->store->set.shard_count; i++) {
        if (r->orders != NULL)
            mem_free(r->orders[i]);
        if (r->queues != NULL)
            mem_free(r->queues[i]);
    }
    mem_free(r->orders);
    mem_free(r->queues);
    mem_free(r->asks);
    r->orders = NULL;
    r->queues = NULL;
    r->asks = NULL;
    evacuation_fini(&r->what);
}

static void end_asking(struct round *r)
{
    struct store *st = r->store;
    free_asks(r);
    if (r == &st->dead)
        st->is_dear = 2 * r->carried_bytes > r->seg_count * (uint64_t)st->set.segment_bytes;
    large_files_leave(st->large, r->segs, r->seg_count);
    /* Also what others wrote before: a dead letter's copy is safe before its original is
     * overwritten. */
    r->lsn = journal_end(st->journal);
    r->state = ROUND_SYNCING;
    journal_want_sync(st->journal);
    rounds_look(st);
    store_wake(st);
}

/* The answer travels in the ask. */
static void on_answer(struct mail *mail)
{
    struct store_ask *ask = CONTAINER_OF(mail, struct store_ask, mail);
    struct round *r = ask->round;
    CHECK(r->pending > 0);
    r->carried_bytes += ask->carried_bytes;
    if (--r->pending == 0)
        end_asking(r);
}

void store_answer(struct store *st, struct store_ask *ask)
{
    ask->mail.fn = on_answer;
    mailbox_post(st->loop, &ask->mail);
}

static void on_ask(struct mail *mail)
{
    struct store_ask *ask = CONTAINER_OF(mail, struct store_ask, mail);
    struct store *st = ask->round->store;
    st->set.on_ask(ask, st->set.arg);
}

static void post_asks(struct round *r)
{
    struct store *st = r->store;
    uint32_t count = st->set.shard_count;
    r->state = ROUND_ASKING;
    r->pending = count;
    r->carried_bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct store_ask *ask = &r->asks[i];
        ask->mail.fn = on_ask;
        ask->shard = i;
        ask->round = r;
        memcpy(ask->segs, r->segs, sizeof ask->segs);
        ask->seg_count = r->seg_count;
    }
    for (uint32_t i = 0; i < count; i++)
        mailbox_post(st->shard_loops[i], &r->asks[i].mail);
}

/* ---- one that is emptied ----------------------------------------------------------------------
 */

static void read_job(struct work_job *job)
{
    struct round *r = CONTAINER_OF(job, struct round, work);
    r->err = (struct err){ 0 };
    r->ok = evacuate_read(r->store->disk, r->segs[0], &r->what, &r->err);
}

/* Each shard is given what is of its queues. */
static void share_out(struct round *r)
{
    struct store *st = r->store;
    const struct evacuation *e = &r->what;
    uint32_t *shards = mem_array(e->queue_count + 1, sizeof *shards);
    bool *is_marked = mem_array(e->queue_count + 1, sizeof *is_marked);
    for (size_t q = 0; q < e->queue_count; q++)
        shards[q] = st->set.shard_of(e->queues[q].qid, st->set.arg);
    for (uint32_t i = 0; i < st->set.shard_count; i++) {
        struct store_ask *ask = &r->asks[i];
        r->queues[i] = mem_array(e->queue_count + 1, sizeof **r->queues);
        for (size_t q = 0; q < e->queue_count; q++) {
            is_marked[q] = shards[q] == i;
            if (is_marked[q])
                r->queues[i][ask->queue_count++] = e->queues[q];
        }
        ask->bytes = slice_of(e->bytes, e->len);
        ask->header = &e->header;
        ask->items = e->items;
        ask->queues = r->queues[i];
        ask->order_count = evacuate_order(e, is_marked, &r->orders[i]);
        ask->order = r->orders[i];
    }
    mem_free(shards);
    mem_free(is_marked);
}

/* It stays, and is not tried again. */
static void mark_bad(struct store *st, uint32_t seg)
{
    if (idmap_get(&st->bad, seg) == NULL)
        idmap_put(&st->bad, seg, st);
}

static void set_state(struct store *st, uint32_t seg, enum seg_state state)
{
    atomic_store(&segs_get(st->segs, seg)->state, (unsigned)state);
}

static void give_up_leaving(struct round *r)
{
    set_state(r->store, r->segs[0], r->was);
    free_asks(r);
    r->state = ROUND_IDLE;
}

static void make_asks(struct round *r)
{
    uint32_t count = r->store->set.shard_count;
    r->asks = mem_array(count, sizeof *r->asks);
    r->orders = mem_array(count, sizeof *r->orders);
    r->queues = mem_array(count, sizeof *r->queues);
}

/* Those that were tried in vain a moment ago. */
static bool is_put_off(const struct store *st, uint32_t seg)
{
    for (unsigned i = 0; i < PUT_OFF_MAX; i++) {
        if (st->put_off[i].seg == seg && now_ms(st) < st->put_off[i].until_ms)
            return true;
    }
    return false;
}

static void put_off(struct store *st, uint32_t seg)
{
    st->put_off[st->put_off_next++ % PUT_OFF_MAX] =
        (struct put_off){ seg, now_ms(st) + PUT_OFF_MS };
}

static void on_read(struct work_job *job)
{
    struct round *r = CONTAINER_OF(job, struct round, work);
    struct store *st = r->store;
    CHECK(r->state == ROUND_READING);
    if (job->cancelled || atomic_load(&st->stopping)) {
        give_up_leaving(r);
        return;
    }
    if (!r->ok) {
        log_error("store", st->node, "a segment cannot be emptied seg=%08x: %s", r->segs[0],
                  r->err.text);
        if (reading_may_pass(&r->err))
            put_off(st, r->segs[0]);
        else
            mark_bad(st, r->segs[0]);
        give_up_leaving(r);
        return;
    }
    if (r->what.bad_offset != 0) {
        log_error("store", st->node,
                  "a segment is damaged, what can be read is moved seg=%08x "
                  "octet=%u",
                  r->segs[0], r->what.bad_offset);
        mark_bad(st, r->segs[0]);
    }
    make_asks(r);
    share_out(r);
    post_asks(r);
}

static size_t list_segs(struct store *st, struct evacuate_seg **out)
{
    size_t room = 256;
    size_t count = 0;
    struct evacuate_seg *list = mem_alloc(room * sizeof *list);
    for (uint32_t n = 0; (n = segs_next(st->segs, n)) != 0;) {
        struct seg *s = segs_get(st->segs, n);
        enum seg_state state = (enum seg_state)atomic_load(&s->state);
        if (count == room)
            list = mem_realloc(list, (room *= 2) * sizeof *list);
        list[count++] = (struct evacuate_seg){
            .seg = n,
            .may_go = (state == SEG_SEALED || state == SEG_INDEXED) &&
                      !(st->indexing.busy && st->indexing.seg == n) &&
                      idmap_get(&st->bad, n) == NULL && !is_put_off(st, n) &&
                      atomic_load(&s->alive_count) > 0,
            .bytes = atomic_load(&s->bytes),
            .put_bytes = atomic_load(&s->put_bytes),
            .alive_bytes = atomic_load(&s->alive_bytes),
        };
    }
    *out = list;
    return count;
}

static bool is_short(const struct store *st)
{
    return journal_is_short(st->journal) || st->space.is_low;
}

static struct evacuate_rule rule_of(const struct store *st)
{
    struct journal_stats j;
    journal_stats(st->journal, &j);
    return (struct evacuate_rule){ .segment_bytes = st->set.segment_bytes,
                                   .spare_bytes = (uint64_t)j.spares * st->set.segment_bytes,
                                   .is_short = is_short(st) };
}

static void begin_leaving(struct store *st)
{
    struct round *r = &st->leave;
    struct evacuate_seg *list;
    size_t count = list_segs(st, &list);
    struct evacuate_rule rule = rule_of(st);
    uint32_t seg = evacuate_choose(list, count, &rule);
    mem_free(list);
    if (seg == 0)
        return;
    r->segs[0] = seg;
    r->seg_count = 1;
    r->was = segs_state(st->segs, seg);
    if (!store_submit(st, &r->work))
        return;
    set_state(st, seg, SEG_LEAVING);
    r->state = ROUND_READING;
}

/* ---- those that are dead ----------------------------------------------------------------------
 */

static bool is_dead(struct store *st, uint32_t seg)
{
    struct seg *s = segs_get(st->segs, seg);
    return atomic_load(&s->alive_count) <= 0 &&
           (atomic_load(&s->readers) == 0 || MUTATION(READERS_NOT_AWAITED));
}

static bool may_die(const struct store *st, uint32_t seg)
{
    enum seg_state state = segs_state(st->segs, seg);
    return (state == SEG_SEALED || state == SEG_INDEXED) &&
           !(st->indexing.busy && st->indexing.seg == seg);
}

/* What is carried of very many queues fills segments by itself, in which nothing is alive. To give
 * those up would fill as many again, and so on without an end: they wait until there is need. */
static bool is_worth_it(struct store *st)
{
    if (!st->is_dear || is_short(st))
        return true;
    struct evacuate_seg *list;
    size_t count = list_segs(st, &list);
    struct evacuate_rule rule = rule_of(st);
    bool is_needed = evacuate_is_needed(list, count, &rule);
    mem_free(list);
    return is_needed;
}

static void begin_dead(struct store *st)
{
    struct round *r = &st->dead;
    r->seg_count = 0;
    for (uint32_t n = 0; (n = segs_next(st->segs, n)) != 0 && r->seg_count < STORE_ASK_SEGS;) {
        if (may_die(st, n) && is_dead(st, n))
            r->segs[r->seg_count++] = n;
    }
    if (r->seg_count == 0 || !is_worth_it(st))
        return;
    for (uint32_t i = 0; i < r->seg_count; i++)
        set_state(st, r->segs[i], SEG_LEAVING);
    r->was = SEG_SEALED;
    make_asks(r);
    post_asks(r);
}

/* ---- the end of both --------------------------------------------------------------------------
 */

/* In order, for what a later one says may be all that keeps a message of an earlier one dead:
 * shards carry it on for segments that stay, not for those that go with it. True when none is left.
 */
static bool recycle_dead(struct store *st, struct round *r)
{
    uint32_t gone = 0;
    while (gone < r->seg_count && is_dead(st, r->segs[gone]) && upkeep_recycle(st, r->segs[gone]))
        gone++;
    r->seg_count -= gone;
    memmove(r->segs, r->segs + gone, r->seg_count * sizeof r->segs[0]);
    return r->seg_count == 0;
}

/* Something is alive that could not be moved: a damaged record's, or a dead message's whose letter
 * is not published yet. It stays for now, which costs its room and loses nothing. */
static void give_up(struct store *st, struct round *r)
{
    for (uint32_t i = 0; i < r->seg_count; i++) {
        log_debug("store", st->node,
                  "a segment stays, it still holds messages seg=%08x count=%" PRId64, r->segs[i],
                  (int64_t)atomic_load(&segs_get(st->segs, r->segs[i])->alive_count));
        set_state(st, r->segs[i], r->was);
        if (r == &st->leave)
            put_off(st, r->segs[i]);
        else
            upkeep_sealed(st, r->segs[i]);
    }
    r->state = ROUND_IDLE;
}

static void go_on(struct store *st, struct round *r)
{
    if (r->state == ROUND_SYNCING &&
        (journal_synced(st->journal) >= r->lsn || MUTATION(RECYCLED_EARLY))) {
        r->state = ROUND_READY;
        r->ready_ms = now_ms(st);
        if (r == &st->leave) {
            atomic_fetch_add(&st->evacuated_segs, 1);
            atomic_fetch_add(&st->evacuated_bytes, st->set.segment_bytes);
        }
    }
    if (r->state != ROUND_READY)
        return;
    if (recycle_dead(st, r))
        r->state = ROUND_IDLE;
    else if (now_ms(st) >= r->ready_ms + LAG_MS)
        give_up(st, r);
}

void rounds_look(struct store *st)
{
    if (!atomic_load(&st->handed_out) || atomic_load(&st->stopping) ||
        journal_has_failed(st->journal))
        return;
    go_on(st, &st->dead);
    go_on(st, &st->leave);
    if (st->dead.state == ROUND_IDLE)
        begin_dead(st);
    if (st->leave.state == ROUND_IDLE)
        begin_leaving(st);
}

bool rounds_wait(const struct store *st)
{
    return st->dead.state >= ROUND_SYNCING || st->leave.state >= ROUND_SYNCING;
}

static void init(struct store *st, struct round *r)
{
    r->store = st;
    work_job_init(&r->work, read_job, on_read);
}

void rounds_init(struct store *st)
{
    init(st, &st->dead);
    init(st, &st->leave);
    idmap_init(&st->bad);
}

/* Shards that have stopped have answered, or the mail is lost with their loops. */
void rounds_fini(struct store *st)
{
    free_asks(&st->dead);
    free_asks(&st->leave);
    idmap_fini(&st->bad);
}
