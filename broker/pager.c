#include "pager.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "broker.h"
#include "hosted.h"
#include "io/clock.h"
#include "larges.h"
#include "store/large.h"
#include "store/store.h"

#include <inttypes.h>
#include <string.h>

#define LOOKS_A_TURN  2048u /* at queues, for how much they hold */
#define PAGED_A_TURN  4096u /* entries looked at */
#define SPILLS_A_TURN 64u
#define LOADS_A_QUEUE 2u
#define REST_MS       50u /* when nothing more can leave */
#define BEHIND_MS     5u  /* when the journal is */

/* What is read ahead of consumers: so much that a read takes no longer than to hand it out. */
#define AHEAD_COUNT 1024u

/* The head windows that queues keep in the first, second and third pass. */
#define PASSES 3u
static const uint64_t keep_counts[PASSES] = { 1024, 128, 16 };
static const uint64_t keep_bytes[PASSES] = { (uint64_t)1 << 20, (uint64_t)64 << 10, 4096 };

struct candidate {
    uint64_t qid;
    uint64_t bytes;
};

TAILQ_HEAD(due_list, hosted);

struct pager {
    struct shard *shard;
    /* ---- out ---- */
    struct loop_task page_task;
    struct loop_timer rest;
    bool is_at_it;
    size_t look_at; /* where the walk over the queues is */
    struct candidate *candidates;
    size_t candidate_count;
    size_t candidate_cap;
    bool is_listed; /* all are looked at, and in order */
    size_t next;    /* of them */
    unsigned pass;
    bool spill_done; /* of the queue that is being looked at */
    uint64_t freed;  /* in this pass */
    /* ---- in ---- */
    struct due_list due;
    struct loop_task load_task;
    unsigned loads; /* under way */
    uint32_t lives;
    struct log_rate losses;
    struct pager_stats stats;
};

static struct store *store_of(const struct pager *p)
{
    return p->shard->store;
}

/* Add to a moment of the wall clock. */
static int64_t to_loop_ms(const struct shard *s)
{
    return (int64_t)loop_now_ms(s->loop) - (int64_t)clock_wall_ms();
}

/* ---- who holds most ---------------------------------------------------------------------------
 */

static void add_candidate(struct pager *p, const struct hosted *h)
{
    uint64_t bytes = queue_ready_bytes_here(&h->queue);
    if (queue_ready(&h->queue) == 0 || queue_ready(&h->queue) == queue_away(&h->queue))
        return;
    if (p->candidate_count == p->candidate_cap) {
        p->candidate_cap = p->candidate_cap != 0 ? 2 * p->candidate_cap : 64;
        p->candidates = mem_realloc(p->candidates, p->candidate_cap * sizeof *p->candidates);
    }
    p->candidates[p->candidate_count++] = (struct candidate){ h->queue.qid, bytes };
}

/* By powers of two: takes the same time for each, and what differs by less does not matter. */
static void put_in_order(struct pager *p)
{
    size_t starts[66] = { 0 };
    struct candidate *to = mem_array(p->candidate_count + 1, sizeof *to);
    for (size_t i = 0; i < p->candidate_count; i++)
        starts[__builtin_clzll(p->candidates[i].bytes | 1) + 1]++;
    for (size_t i = 1; i < 65; i++)
        starts[i] += starts[i - 1];
    for (size_t i = 0; i < p->candidate_count; i++)
        to[starts[__builtin_clzll(p->candidates[i].bytes | 1)]++] = p->candidates[i];
    mem_free(p->candidates);
    p->candidates = to;
    p->candidate_cap = p->candidate_count + 1;
}

/* What moves in the table meanwhile comes in the next round. */
static void look_at_queues(struct pager *p)
{
    struct hosted *h;
    for (unsigned n = 0; n < LOOKS_A_TURN; n++) {
        h = idmap_next(&p->shard->queues, &p->look_at);
        if (h == NULL) {
            put_in_order(p);
            p->is_listed = true;
            p->next = 0;
            return;
        }
        add_candidate(p, h);
    }
}

static void list_anew(struct pager *p)
{
    p->is_listed = false;
    p->candidate_count = 0;
    p->look_at = 0;
    p->freed = 0;
    p->spill_done = false;
}

/* ---- out of memory ----------------------------------------------------------------------------
 */

static bool is_indexed(uint32_t seg, void *arg)
{
    const struct pager *p = arg;
    return segs_state(store_segs(store_of(p)), seg) == SEG_INDEXED;
}

static bool has_file(struct place place, void *arg)
{
    const struct pager *p = arg;
    return larges_is_safe(p->shard->larges, place);
}

/* True when the queue has given what it can. */
static bool page_out(struct pager *p, struct hosted *h)
{
    struct store *st = store_of(p);
    struct qpaging how = { .keep_count = keep_counts[p->pass],
                           .keep_bytes = keep_bytes[p->pass],
                           .durable_lsn = journal_durable(store_journal(st)),
                           .is_indexed = is_indexed,
                           .has_file = has_file,
                           .arg = p,
                           .budget = PAGED_A_TURN };
    queue_page_out(&h->queue, &how);
    p->stats.paged_out += how.count;
    p->freed += how.freed_bytes;
    return how.is_done;
}

static struct place append_transient(struct pager *p, uint64_t qid, const struct queue_item *item)
{
    const struct message *m = item->message;
    uint8_t head[RECORD_MSG_ROOM(1)];
    struct msg_target target = { .qid = qid, .qseq = item->qseq };
    unsigned flags = MSG_TRANSIENT;
    if (item->expires_ms != 0) {
        flags |= MSG_EXPIRES;
        target.expires_ms = (uint64_t)((int64_t)item->expires_ms - to_loop_ms(p->shard));
    }
    struct message_more *more = message_is_in_parts(m) ? message_more(m) : NULL;
    size_t bodies = more != NULL ? more->part_count : 1;
    struct slice few[8];
    struct slice *parts = bodies + 3 <= 8 ? few : mem_array(bodies + 3, sizeof *parts);
    parts[0] = slice_of(head, record_put_msg(head, flags, &target, 1, m->names_bytes,
                                             m->props_bytes, m->body_bytes));
    parts[1] = message_names(m);
    parts[2] = message_props(m);
    for (size_t i = 0; i < bodies; i++)
        parts[3 + i] = more != NULL ? buf_slice(more->parts[i]) : message_body(m);
    struct place place =
        journal_append(store_journal(store_of(p)), parts, 3 + bodies, JOURNAL_LAZY, NULL);
    if (parts != few)
        mem_free(parts);
    return place;
}

/* A large one would want a file of its own: it stays in memory. */
static void spill(struct pager *p, struct hosted *h, const struct queue_item *item)
{
    if (item->message->body_bytes >= LARGE_BODY_LEAST)
        return;
    struct place place = append_transient(p, h->queue.qid, item);
    if (place_is_none(place) || queue_set_place(&h->queue, item->qseq, place) == QUEUE_PLACED_GONE)
        return;
    segs_put(store_segs(store_of(p)), place.seg, 1, segs_cost(item->message->body_bytes));
    p->stats.spilled++;
    p->freed++; /* soon: it is worth another round */
}

/* What room there still is on the disk is for what lasts, and for what sets more free. */
static bool may_spill(const struct pager *p)
{
    return (store_alarms(store_of(p)) & STORE_NO_ROOM) == 0 &&
           !journal_is_short(store_journal(store_of(p)));
}

/* True when the queue has nothing more to write. */
static bool spill_some(struct pager *p, struct hosted *h)
{
    struct queue_item items[SPILLS_A_TURN];
    bool is_done;
    if (!may_spill(p))
        return true;
    size_t count = queue_unplaced(&h->queue, keep_counts[p->pass], items, SPILLS_A_TURN, &is_done);
    for (size_t i = 0; i < count; i++)
        spill(p, h, &items[i]);
    if (count != 0)
        journal_kick(store_journal(store_of(p)));
    return is_done;
}

static void rest(struct pager *p, uint64_t ms)
{
    loop_timer_start(&p->rest, ms);
}

static bool is_behind(const struct pager *p)
{
    return journal_backlog(store_journal(store_of(p))) > JOURNAL_BACKLOG_MAX / 2;
}

/* Of the next queue; one that is done with makes room for the one behind it. */
static void page_next(struct pager *p)
{
    struct hosted *h = shard_kept(p->shard, p->candidates[p->next].qid);
    if (h != NULL && p->pass > 0 && !p->spill_done) {
        p->spill_done = spill_some(p, h);
        return;
    }
    if (h == NULL || page_out(p, h)) {
        p->spill_done = false;
        p->next++;
    }
}

/* A pass that gave something is worth another like it; then more is asked of the queues. */
static void end_pass(struct pager *p)
{
    bool was_fruitful = p->freed != 0;
    if (!was_fruitful && p->pass == PASSES - 1) {
        p->pass = 0;
        list_anew(p);
        rest(p, REST_MS);
        return;
    }
    if (p->pass < PASSES - 1)
        p->pass++;
    list_anew(p);
    loop_again(p->shard->loop, &p->page_task);
}

static void end_paging(struct pager *p)
{
    p->is_at_it = false;
    p->pass = 0;
    list_anew(p);
    mem_free(p->candidates);
    p->candidates = NULL;
    p->candidate_cap = 0;
}

static void on_page(void *arg)
{
    struct pager *p = arg;
    struct store *st = store_of(p);
    if (st == NULL || !broker_is_pressed(p->shard->broker) ||
        journal_has_failed(store_journal(st))) {
        end_paging(p);
        return;
    }
    if (is_behind(p)) {
        rest(p, BEHIND_MS);
        return;
    }
    if (!p->is_listed) {
        look_at_queues(p);
    } else if (p->next < p->candidate_count) {
        page_next(p);
    } else {
        end_pass(p);
        return;
    }
    loop_again(p->shard->loop, &p->page_task);
}

static void on_rested(void *arg)
{
    struct pager *p = arg;
    loop_again(p->shard->loop, &p->page_task);
}

struct press_notice {
    struct mail mail;
    struct shard *shard;
};

static void on_press(struct mail *mail)
{
    struct press_notice *n = CONTAINER_OF(mail, struct press_notice, mail);
    struct pager *p = n->shard->pager;
    mem_free(n);
    if (p == NULL || p->is_at_it)
        return;
    p->is_at_it = true;
    list_anew(p);
    loop_again(p->shard->loop, &p->page_task);
}

void pager_press(struct shard *s)
{
    struct press_notice *n = mem_zalloc(sizeof *n);
    *n = (struct press_notice){ { NULL, on_press }, s };
    mailbox_post(s->loop, &n->mail);
}

/* ---- into memory ------------------------------------------------------------------------------
 */

struct reading {
    struct load load;
    struct shard *shard;
    uint64_t last; /* asked for */
    uint32_t life;
    bool is_extra; /* see pager_read */
};

static void become_due(struct pager *p, struct hosted *h)
{
    if (h->pager.is_due)
        return;
    h->pager.is_due = true;
    TAILQ_INSERT_TAIL(&p->due, h, pager.due_entry);
    loop_again(p->shard->loop, &p->load_task);
}

void pager_want(struct hosted *h)
{
    if (h->shard->store != NULL && h->pager.loads < LOADS_A_QUEUE)
        become_due(h->shard->pager, h);
}

static void name_of(const struct shard *s, uint64_t qid, struct text *t)
{
    const struct meta_queue *q = meta_queue_get(broker_meta(s->broker), qid);
    text_escaped(t, q != NULL ? meta_queue_name(q) : slice_str("(gone)"));
}

/* What a queue has meanwhile let go of, or has elsewhere, is no loss. */
static bool is_lost(const struct hosted *h, const struct load *load, const struct load_item *it)
{
    return load->is_lost || (it->message == NULL && queue_at(&h->queue, it->qseq, it->place));
}

static uint32_t count_lost(const struct hosted *h, const struct load *load)
{
    uint32_t n = load->is_lost ? load->lost_count : 0;
    for (size_t i = 0; !load->is_lost && i < load->count; i++)
        n += is_lost(h, load, &load->items[i]);
    return n;
}

static void tell_loss(struct pager *p, const struct hosted *h, const struct load *load,
                      uint32_t count)
{
    char room[300];
    struct text name = text_over(room, sizeof room);
    uint64_t first = load->is_lost ? load->first : 0;
    uint64_t last = load->is_lost ? load->last : 0;
    unsigned left_out;
    for (size_t i = 0; i < load->count; i++) {
        if (!is_lost(h, load, &load->items[i]))
            continue;
        last = load->items[i].qseq;
        first = first != 0 ? first : last;
    }
    if (!log_rate_ok(&p->losses, 100, 10000, &left_out))
        return;
    name_of(p->shard, load->qid, &name);
    log_error("store", "-",
              "messages are lost, they cannot be read back queue=\"%s\" qid=%" PRIu64
              " positions=%" PRIu64 "..%" PRIu64 " count=%u more=%u: %s",
              room, load->qid, first, last, count, left_out, load->why);
}

static void take_items(struct pager *p, struct load *load, struct queue_item *items)
{
    int64_t to_loop = to_loop_ms(p->shard);
    for (size_t i = 0; i < load->count; i++) {
        struct load_item *it = &load->items[i];
        items[i] =
            (struct queue_item){ .qseq = it->qseq,
                                 .message = it->message,
                                 .body_bytes = it->body_bytes,
                                 .expires_ms = pager_moment(it->expires_ms, to_loop),
                                 .place = it->place,
                                 .returns = it->returns,
                                 .persistent = it->message != NULL && it->message->persistent,
                                 .is_lost = it->message == NULL };
        if (it->message == NULL)
            continue;
        shard_message_made(p->shard, it->message);
        it->message = NULL;
        p->stats.read_back++;
    }
}

static void hand_in(struct pager *p, struct hosted *h, struct load *load)
{
    struct queue_item *items = mem_array(load->count + 1, sizeof *items);
    size_t count = load->count;
    take_items(p, load, items);
    h->pager.reads += count;
    if (load->is_lost)
        queue_lost(&h->queue, load->first, load->last);
    else if (load->seg != 0)
        queue_loaded_run(&h->queue, load->seg, load->first,
                         load->is_all || count == 0 ? load->last : items[count - 1].qseq, items,
                         count);
    else
        queue_loaded(&h->queue, items, count);
    mem_free(items);
    queue_run(&h->queue, loop_now_ms(p->shard->loop));
    hosted_loaded(h);
}

/* NULL: it is gone; another one of its name has nothing to do with this. */
static struct hosted *reader(struct pager *p, const struct reading *r)
{
    struct hosted *h = p != NULL ? shard_kept(r->shard, r->load.qid) : NULL;
    return h != NULL && h->pager.life == r->life ? h : NULL;
}

static void count_end(struct pager *p, struct hosted *h, const struct reading *r)
{
    if (p == NULL || r->is_extra)
        return;
    p->loads--;
    if (h != NULL && --h->pager.loads == 0)
        h->pager.asked = 0;
}

static void on_loaded(struct mail *mail)
{
    struct reading *r = CONTAINER_OF(mail, struct reading, load.mail);
    struct shard *s = r->shard;
    struct pager *p = s->pager;
    struct hosted *h = reader(p, r);
    count_end(p, h, r);
    if (h != NULL && !r->load.is_cancelled) {
        uint32_t lost = r->load.lost_count != 0 ? count_lost(h, &r->load) : 0;
        if (lost != 0)
            tell_loss(p, h, &r->load, lost);
        p->stats.lost += lost;
        hand_in(p, h, &r->load);
        become_due(p, h);
    }
    bool is_of_mirrored = h != NULL && r->is_extra && !r->load.is_cancelled;
    load_fini(&r->load);
    mem_free(r);
    if (p != NULL && !TAILQ_EMPTY(&p->due))
        loop_again(s->loop, &p->load_task);
    if (is_of_mirrored)
        mirrored_loaded(h);
}

static struct reading *reading_of(struct pager *p, struct hosted *h, const struct qwant *want)
{
    struct reading *r = mem_zalloc(sizeof *r);
    r->shard = p->shard;
    r->last = want->last;
    r->life = h->pager.life;
    r->load.mail.fn = on_loaded;
    r->load.reply_to = p->shard->loop;
    r->load.qid = h->queue.qid;
    r->load.seg = want->run_seg;
    r->load.first = want->first;
    r->load.last = want->last;
    if (want->run_seg != 0)
        return r;
    r->load.count = want->count;
    r->load.items = mem_array(want->count, sizeof *r->load.items);
    for (size_t i = 0; i < want->count; i++) {
        r->load.items[i].qseq = want->items[i].qseq;
        r->load.items[i].place = want->items[i].place;
        r->load.items[i].body_bytes = want->items[i].body_bytes;
    }
    return r;
}

/* True when one more was sent for. */
static bool load_next(struct pager *p, struct hosted *h)
{
    static const struct qwindow window = { .count = AHEAD_COUNT,
                                           .max_count = LOAD_COUNT_MAX,
                                           .max_bytes = LOAD_BYTES_MAX };
    struct qwant want;
    if (h->pager.loads >= LOADS_A_QUEUE || !queue_wants(&h->queue, &window, h->pager.asked, &want))
        return false;
    struct reading *r = reading_of(p, h, &want);
    h->pager.asked = r->last;
    h->pager.loads++;
    p->loads++;
    store_load(store_of(p), &r->load);
    return true;
}

static void on_load(void *arg)
{
    struct pager *p = arg;
    struct hosted *h;
    while (store_of(p) != NULL && p->loads < PAGER_LOADS_MAX &&
           (h = TAILQ_FIRST(&p->due)) != NULL) {
        TAILQ_REMOVE(&p->due, h, pager.due_entry);
        h->pager.is_due = false;
        if (load_next(p, h))
            become_due(p, h); /* at the end: others have their turn */
    }
}

void pager_begin(struct hosted *h)
{
    h->pager.life = ++h->shard->pager->lives;
}

bool pager_read(struct hosted *h, const struct qwant *want)
{
    struct pager *p = h->shard->pager;
    if (store_of(p) == NULL)
        return false;
    struct reading *r = reading_of(p, h, want);
    r->is_extra = true;
    store_load(store_of(p), &r->load);
    return true;
}

/* What is being read for it finds nobody. */
void pager_forget(struct hosted *h)
{
    if (h->pager.is_due)
        TAILQ_REMOVE(&h->shard->pager->due, h, pager.due_entry);
    h->pager.is_due = false;
}

/* ---- the pager --------------------------------------------------------------------------------
 */

struct pager *pager_new(struct shard *s)
{
    struct pager *p = mem_zalloc(sizeof *p);
    p->shard = s;
    TAILQ_INIT(&p->due);
    loop_task_init(&p->page_task, on_page, p);
    loop_task_init(&p->load_task, on_load, p);
    loop_timer_init(&p->rest, s->loop, on_rested, p);
    return p;
}

void pager_free(struct pager **pager)
{
    struct pager *p = *pager;
    *pager = NULL;
    if (p == NULL)
        return;
    CHECK(TAILQ_EMPTY(&p->due));
    loop_task_cancel(p->shard->loop, &p->page_task);
    loop_task_cancel(p->shard->loop, &p->load_task);
    loop_timer_fini(&p->rest);
    mem_free(p->candidates);
    mem_free(p);
}

void pager_stats(const struct shard *s, struct pager_stats *out)
{
    *out = s->pager != NULL ? s->pager->stats : (struct pager_stats){ 0 };
}
