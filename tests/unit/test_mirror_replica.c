#include "mirror/mirror_replica.h"

#include "expect.h"

#define QID      7u
#define SAID_MAX 16u

struct host {
    struct mirror_replica *r;
    struct mirror_source *s;
    struct mirror_copy *c;
    struct mirror_record said[SAID_MAX];
    unsigned said_count;
    uint64_t lsn; /* given last */
    unsigned cuts;
    unsigned hurries;
    bool is_away; /* what is here is not known yet */
    bool is_busy; /* nothing can be taken */
    bool is_late; /* what is taken is written later */
    bool cannot_cut;
    uint32_t known_producers; /* of who joined last */
};

static void on_say(void *arg, struct mirror_source *to, const struct mirror_record *r)
{
    struct host *h = arg;
    (void)to;
    cr_assert(lt(u32, h->said_count, SAID_MAX));
    h->said[h->said_count++] = *r;
}

static void on_starts(void *arg, struct mirror_copy *c, struct mirror_starts *out)
{
    (void)arg;
    (void)c;
    mirror_starts_raise(out, 5);
}

static enum mirror_taken on_cut(void *arg, struct mirror_copy *c, const struct mirror_starts *cut,
                                const struct producers *producers)
{
    struct host *h = arg;
    (void)c;
    (void)cut;
    h->known_producers = producers->count;
    if (h->is_busy)
        return MIRROR_TAKEN_LATER;
    if (h->cannot_cut)
        return MIRROR_TAKEN_NOT;
    h->cuts++;
    return MIRROR_TAKEN;
}

static uint64_t on_history(void *arg, struct mirror_copy *c, const struct mirror_starts *next)
{
    struct host *h = arg;
    (void)c;
    (void)next;
    return ++h->lsn;
}

static void on_hurry(void *arg)
{
    struct host *h = arg;
    h->hurries++;
}

static enum mirror_taken on_data(void *arg, struct mirror_source *from, uint64_t pos,
                                 const struct mirror_data *d, uint64_t *lsn)
{
    struct host *h = arg;
    (void)pos;
    if (h->is_busy)
        return MIRROR_TAKEN_LATER;
    if (h->is_late) {
        *lsn = MIRROR_LSN_LATER;
        return MIRROR_TAKEN;
    }
    *lsn = mirror_replica_takes(h->r, from, QID) != NULL ? ++h->lsn : 0;
    return d->type == 1 ? MIRROR_TAKEN : MIRROR_TAKEN_BAD;
}

static bool on_held(void *arg, struct mirror_copy *c, uint64_t from, struct mirror_run *out,
                    uint32_t *count, uint64_t *to)
{
    struct host *h = arg;
    (void)c;
    *count = from == 0;
    out[0] = (struct mirror_run){ 0, 4 };
    *to = from == 0 ? 4 : MIRROR_TO_END;
    return !h->is_away;
}

static bool on_past(void *arg, uint64_t qid, uint64_t epoch, const struct mirror_history **out)
{
    struct host *h = arg;
    *out = &h->c->history;
    return qid == QID + 1 && epoch == 9;
}

static const struct mirror_replica_ops ops = { .say = on_say,
                                               .starts = on_starts,
                                               .cut = on_cut,
                                               .history = on_history,
                                               .hurry = on_hurry,
                                               .data = on_data,
                                               .past = on_past,
                                               .held = on_held };

static struct host *host_new(uint64_t epoch)
{
    static struct host h;
    struct mirror_history none = { 0 };
    h = (struct host){ .r = mirror_replica_new(&ops, &h, 3) };
    h.s = mirror_source_new(h.r, NULL);
    h.c = mirror_replica_begin(h.r, QID, epoch, &none, NULL);
    return &h;
}

static enum mirror_taken try(struct mirror_source *s, enum mirror_op op, uint64_t pos,
                             uint64_t epoch)
{
    struct mirror_starts starts = { 0 };
    struct mirror_history history = { 0 };
    struct producers producers = { 0 };
    mirror_starts_raise(&starts, 9);
    if (epoch != 0)
        mirror_history_begin(&history, epoch, &starts);
    enum mirror_taken taken =
        mirror_source_take(s, &(struct mirror_record){ .op = op,
                                                       .kind = MIRROR_VERSION,
                                                       .pos = pos,
                                                       .qid = QID,
                                                       .epoch = epoch,
                                                       .data = { .type = 1 },
                                                       .starts = &starts,
                                                       .history = &history,
                                                       .producers = &producers });
    mirror_starts_fini(&starts);
    mirror_history_fini(&history);
    return taken;
}

static void take(struct mirror_source *s, enum mirror_op op, uint64_t pos, uint64_t epoch)
{
    cr_expect(eq(int, try(s, op, pos, epoch), MIRROR_TAKEN));
}

/* The next that it said. */
static void awaited(struct mirror_source *s, uint8_t what)
{
    const struct mirror_record r = { .op = MIRROR_AWAITED, .flags = what };
    cr_expect(eq(int, mirror_source_take(s, &r), MIRROR_TAKEN));
}

static const struct mirror_record *said(struct host *h, unsigned index, enum mirror_op op)
{
    cr_assert(lt(u32, index, h->said_count));
    cr_expect(eq(int, h->said[index].op, op));
    return &h->said[index];
}

Test(mirror_replica, says_who_it_is)
{
    struct host *h = host_new(4);
    take(h->s, MIRROR_HELLO, 0, 0);
    cr_expect(eq(u16, said(h, 0, MIRROR_STATE)->shards, 3));
    mirror_replica_free(&h->r);
}

Test(mirror_replica, acknowledges_what_its_disk_has)
{
    struct host *h = host_new(4);
    take(h->s, MIRROR_JOIN, 10, 4);
    cr_expect(eq(u32, h->cuts, 1), "nothing in common");
    const struct mirror_record *o = said(h, 0, MIRROR_OFFER);
    cr_expect(eq(u64, o->pos, 10));
    cr_expect(eq(u64, o->to, 4));
    take(h->s, MIRROR_DATA, 12, 0);
    awaited(h->s, MIRROR_AWAITED_RECEIVED);
    mirror_replica_flush(h->r);
    const struct mirror_record *a = said(h, 1, MIRROR_ACK);
    cr_expect(eq(u64, a->from, 12));
    cr_expect(eq(u64, a->to, 9), "the JOIN is not durable");
    mirror_replica_durable(h->r, 1);
    mirror_replica_flush(h->r);
    cr_expect(eq(u64, said(h, 2, MIRROR_ACK)->to, 11));
    mirror_replica_flush(h->r);
    cr_expect(eq(u32, h->said_count, 3), "nothing new");
    take(h->s, MIRROR_DONE, 15, 0);
    mirror_replica_durable(h->r, 3);
    mirror_replica_flush(h->r);
    cr_expect(eq(u64, said(h, 3, MIRROR_ACK)->to, 15));
    cr_expect(not(h->c->history.is_partial));
    mirror_replica_free(&h->r);
}

/* Its positions have gaps: what was said to others lies in between. */
Test(mirror_replica, acknowledges_when_something_is_durable_or_somebody_waits)
{
    struct host *h = host_new(4);
    take(h->s, MIRROR_JOIN, 10, 4);
    mirror_replica_durable(h->r, 1);
    mirror_replica_flush(h->r);
    cr_expect(eq(u64, said(h, 1, MIRROR_ACK)->to, 10));
    take(h->s, MIRROR_DATA, 14, 0);
    mirror_replica_flush(h->r);
    cr_expect(eq(u32, h->said_count, 2), "nothing of it is durable, and nobody has asked");
    awaited(h->s, MIRROR_AWAITED_DURABLE);
    mirror_replica_flush(h->r);
    cr_expect(eq(u32, h->hurries, 1));
    cr_expect(eq(u32, h->said_count, 2), "whoever waits for the disk need not hear before");
    awaited(h->s, MIRROR_AWAITED_RECEIVED);
    mirror_replica_flush(h->r);
    cr_expect(eq(u64, said(h, 2, MIRROR_ACK)->from, 14));
    cr_expect(eq(u32, h->hurries, 1));
    mirror_replica_durable(h->r, 2);
    mirror_replica_flush(h->r);
    cr_expect(eq(u64, said(h, 3, MIRROR_ACK)->to, 14));
    for (uint64_t pos = 15; h->said_count == 4 && pos < 4096; pos++) {
        take(h->s, MIRROR_DATA, pos, 0);
        mirror_replica_flush(h->r);
    }
    cr_expect(eq(u64, said(h, 4, MIRROR_ACK)->to, 14), "so that there is room on the stream");
    mirror_replica_free(&h->r);
}

Test(mirror_replica, says_that_it_takes_no_more_before_it_acknowledges)
{
    struct host *h = host_new(4);
    take(h->s, MIRROR_JOIN, 10, 4);
    mirror_replica_fence(h->r, h->c, 8);
    take(h->s, MIRROR_DATA, 11, 0);
    awaited(h->s, MIRROR_AWAITED_RECEIVED);
    mirror_replica_flush(h->r);
    const struct mirror_record *r = said(h, 1, MIRROR_REFUSED);
    cr_expect(eq(int, r->kind, MIRROR_REFUSED_FENCED));
    cr_expect(eq(u64, r->epoch, 8));
    (void)said(h, 2, MIRROR_ACK);
    cr_expect(eq(u64, h->lsn, 1), "the message was not taken");
    mirror_replica_free(&h->r);
}

Test(mirror_replica, follows_the_epoch_that_it_knows_and_no_other)
{
    struct host *h = host_new(4);
    take(h->s, MIRROR_JOIN, 1, 3);
    cr_expect(eq(int, said(h, 0, MIRROR_REFUSED)->kind, MIRROR_REFUSED_FENCED));
    take(h->s, MIRROR_JOIN, 2, 5);
    cr_expect(eq(int, said(h, 1, MIRROR_REFUSED)->kind, MIRROR_REFUSED_LATER));
    mirror_replica_fence(h->r, h->c, 5);
    take(h->s, MIRROR_JOIN, 3, 5);
    (void)said(h, 2, MIRROR_OFFER);
    mirror_replica_free(&h->r);
}

/* The master has begun anew, which this node does not know yet: what follows has to do with what it
 * has of the epoch before no more than the refused JOIN. */
Test(mirror_replica, takes_nothing_behind_a_join_that_it_refuses)
{
    struct host *h = host_new(4);
    take(h->s, MIRROR_JOIN, 1, 4);
    cr_expect(mirror_replica_takes(h->r, h->s, QID) == h->c);
    take(h->s, MIRROR_JOIN, 2, 6);
    cr_expect(eq(int, h->said[h->said_count - 1].op, MIRROR_REFUSED));
    cr_expect(mirror_replica_takes(h->r, h->s, QID) == NULL);
    mirror_replica_free(&h->r);
}

Test(mirror_replica, a_queue_that_it_does_not_know_may_come)
{
    struct host *h = host_new(4);
    struct mirror_history history;
    mirror_replica_end(h->r, &h->c, &history);
    mirror_history_fini(&history);
    take(h->s, MIRROR_JOIN, 1, 4);
    cr_expect(eq(int, said(h, 0, MIRROR_REFUSED)->kind, MIRROR_REFUSED_LATER));
    mirror_replica_free(&h->r);
}

/* The stream goes on with other queues; nothing of this one is taken before it was cut. */
Test(mirror_replica, what_cannot_be_cut_now_is_to_be_joined_again)
{
    struct host *h = host_new(4);
    struct mirror_history history;
    take(h->s, MIRROR_JOIN, 1, 3); /* refused: older than the metadata */
    h->said_count = 0;
    mirror_replica_end(h->r, &h->c, &history);
    mirror_history_fini(&history);
    struct mirror_starts next = { 0 };
    mirror_starts_raise(&next, 2);
    mirror_history_begin(&history, 2, &next);
    mirror_starts_fini(&next);
    h->c = mirror_replica_begin(h->r, QID, 4, &history, NULL);
    h->cannot_cut = true;
    take(h->s, MIRROR_JOIN, 2, 4);
    cr_expect(eq(int, said(h, 0, MIRROR_REFUSED)->kind, MIRROR_REFUSED_LATER));
    cr_expect(mirror_replica_takes(h->r, h->s, QID) == NULL);
    cr_expect(eq(u32, (uint32_t)mirror_history_epoch(&h->c->history), 2), "it is as it was");
    h->cannot_cut = false;
    take(h->s, MIRROR_JOIN, 3, 4);
    cr_expect(mirror_replica_takes(h->r, h->s, QID) == h->c);
    cr_expect(eq(u32, h->cuts, 1));
    h->cannot_cut = true;
    h->c->epoch = 5;
    take(h->s, MIRROR_JOIN, 4, 5);
    mirror_replica_free(&h->r);
}

Test(mirror_replica, takes_from_the_one_that_called_last)
{
    struct host *h = host_new(4);
    struct mirror_source *other = mirror_source_new(h->r, NULL);
    take(h->s, MIRROR_JOIN, 1, 4);
    take(other, MIRROR_JOIN, 1, 4);
    cr_expect(mirror_replica_takes(h->r, other, QID) == h->c);
    cr_expect(mirror_replica_takes(h->r, h->s, QID) == NULL);
    cr_expect(eq(int, said(h, 1, MIRROR_REFUSED)->kind, MIRROR_REFUSED_FENCED));
    take(h->s, MIRROR_LEAVE, 2, 0); /* not its any more */
    cr_expect(mirror_replica_takes(h->r, other, QID) == h->c);
    mirror_source_free(&other);
    cr_expect(mirror_replica_takes(h->r, h->s, QID) == NULL);
    mirror_replica_free(&h->r);
}

Test(mirror_replica, offers_when_it_has_found_out)
{
    struct host *h = host_new(4);
    h->is_away = true;
    take(h->s, MIRROR_JOIN, 1, 4);
    cr_expect(eq(u32, h->said_count, 0));
    mirror_replica_loaded(h->r, h->c);
    cr_expect(eq(u32, h->said_count, 0));
    h->is_away = false;
    mirror_replica_loaded(h->r, h->c);
    (void)said(h, 0, MIRROR_OFFER);
    mirror_replica_loaded(h->r, h->c);
    cr_expect(eq(u32, h->said_count, 1));
    cr_expect(
        eq(int,
           mirror_source_take(
               h->s, &(struct mirror_record){ .op = MIRROR_NEED, .pos = 1, .qid = QID, .from = 5 }),
           MIRROR_TAKEN));
    cr_expect(eq(u64, said(h, 1, MIRROR_OFFER)->to, MIRROR_TO_END));
    mirror_replica_free(&h->r);
}

Test(mirror_replica, positions_rise)
{
    struct host *h = host_new(4);
    take(h->s, MIRROR_DATA, 4, 0);
    struct mirror_record r = { .op = MIRROR_DATA, .pos = 4, .data = { .type = 1 } };
    cr_expect(eq(int, mirror_source_take(h->s, &r), MIRROR_TAKEN_BAD));
    r.pos = 5;
    r.data.type = 2;
    cr_expect(eq(int, mirror_source_take(h->s, &r), MIRROR_TAKEN_BAD), "it is malformed");
    r = (struct mirror_record){ .op = MIRROR_ACK };
    cr_expect(eq(int, mirror_source_take(h->s, &r), MIRROR_TAKEN_BAD),
              "a master's record it is not");
    mirror_replica_free(&h->r);
}

Test(mirror_replica, what_cannot_be_taken_yet_is_said_again)
{
    struct host *h = host_new(4);
    h->is_busy = true;
    cr_expect(eq(int, try(h->s, MIRROR_JOIN, 10, 4), MIRROR_TAKEN_LATER));
    cr_expect(eq(u64, mirror_history_epoch(&h->c->history), 0), "it does not follow yet");
    cr_expect(mirror_replica_takes(h->r, h->s, QID) == NULL);
    mirror_replica_flush(h->r);
    cr_expect(eq(u32, h->said_count, 0), "and acknowledges nothing");
    h->is_busy = false;
    take(h->s, MIRROR_JOIN, 10, 4);
    (void)said(h, 0, MIRROR_OFFER);
    h->is_busy = true;
    cr_expect(eq(int, try(h->s, MIRROR_DATA, 11, 0), MIRROR_TAKEN_LATER));
    awaited(h->s, MIRROR_AWAITED_RECEIVED);
    mirror_replica_flush(h->r);
    cr_expect(eq(u64, said(h, 1, MIRROR_ACK)->from, 10));
    h->is_busy = false;
    take(h->s, MIRROR_DATA, 11, 0);
    awaited(h->s, MIRROR_AWAITED_RECEIVED);
    mirror_replica_flush(h->r);
    cr_expect(eq(u64, said(h, 2, MIRROR_ACK)->from, 11));
    mirror_replica_free(&h->r);
}

Test(mirror_replica, what_is_written_late_is_acknowledged_late)
{
    struct host *h = host_new(4);
    take(h->s, MIRROR_JOIN, 10, 4);
    h->is_late = true;
    take(h->s, MIRROR_DATA, 11, 0);
    take(h->s, MIRROR_DATA, 12, 0);
    h->is_late = false;
    take(h->s, MIRROR_DATA, 13, 0);
    mirror_replica_durable(h->r, 100);
    awaited(h->s, MIRROR_AWAITED_RECEIVED);
    mirror_replica_flush(h->r);
    cr_expect(eq(u64, said(h, 1, MIRROR_ACK)->to, 10));
    mirror_replica_written(h->r, mirror_source_number(h->s), 12, 0);
    mirror_replica_written(h->r, mirror_source_number(h->s) + 1, 11, 90); /* another session's */
    mirror_replica_durable(h->r, 100);
    mirror_replica_flush(h->r);
    cr_expect(eq(u32, h->said_count, 2), "the first is still to come");
    mirror_replica_written(h->r, mirror_source_number(h->s), 11, 101);
    mirror_replica_durable(h->r, 100);
    mirror_replica_flush(h->r);
    cr_expect(eq(u32, h->said_count, 2), "nor is it durable when it has");
    mirror_replica_durable(h->r, 101);
    mirror_replica_flush(h->r);
    cr_expect(eq(u64, said(h, 2, MIRROR_ACK)->to, 13));
    mirror_replica_free(&h->r);
}

Test(mirror_replica, who_masters_a_queue_says_what_it_is_to_who_had_it)
{
    struct host *h = host_new(4);
    struct mirror_record ask = { .op = MIRROR_PAST, .qid = QID + 1, .epoch = 9 };
    cr_expect(eq(int, mirror_source_take(h->s, &ask), MIRROR_TAKEN));
    const struct mirror_record *is = said(h, 0, MIRROR_PAST_IS);
    cr_expect(eq(ptr, (void *)(uintptr_t)is->history, &h->c->history));
    cr_expect(eq(ptr, (void *)(uintptr_t)is->producers, &h->c->history.now));
    cr_expect(eq(u64, is->qid, QID + 1));
    cr_expect(eq(u64, is->epoch, 9));
    ask.epoch = 8;
    cr_expect(eq(int, mirror_source_take(h->s, &ask), MIRROR_TAKEN));
    const struct mirror_record *no = said(h, 1, MIRROR_REFUSED);
    cr_expect(eq(int, no->kind, MIRROR_REFUSED_LATER));
    cr_expect(eq(u64, no->epoch, 8));
    struct mirror_record r = { .op = MIRROR_PAST_IS };
    cr_expect(eq(int, mirror_source_take(h->s, &r), MIRROR_TAKEN_BAD));
    mirror_replica_free(&h->r);
}
