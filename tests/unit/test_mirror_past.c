/* mirror_past: what a node that is to have a queue no more asks its master. */
#include "mirror/mirror_past.h"

#include "mirror/mirror_master.h"

#include "expect.h"

#define MANY  (3 * MIRROR_PASTS_ASKED)
#define EPOCH 7u

/* A host of the core, and one other node. */
struct host {
    struct mirror_master *m;
    struct mirror_stream *stream, *other;
    struct mirror_past pasts[MANY];
    uint64_t said[4 * MANY]; /* queues that were asked for, in order */
    unsigned said_count;
    uint64_t told; /* the last that was answered, */
    uint64_t told_seq;
    unsigned told_count;
    bool is_rehomed;
};

static struct mirror_stream *on_stream(void *arg, uint16_t node, uint64_t qid)
{
    struct host *h = arg;
    cr_expect(eq(u16, node, 2));
    return h->is_rehomed && qid % 2 != 0 ? h->other : h->stream;
}

static void on_say(void *arg, struct mirror_stream *to, const struct mirror_record *r)
{
    struct host *h = arg;
    (void)to;
    if (r->op != MIRROR_PAST)
        return;
    cr_expect(eq(u64, r->epoch, EPOCH));
    h->said[h->said_count++] = r->qid;
}

static void on_past(void *arg, struct mirror_past *p, const struct mirror_history *history,
                    const struct producers *producers)
{
    struct host *h = arg;
    cr_expect(eq(u64, mirror_history_epoch(history), EPOCH));
    cr_expect(eq(ptr, p->owner, h));
    h->told = p->qid;
    h->told_seq = producers_last(producers, 5);
    h->told_count++;
}

static const struct mirror_master_ops ops = { .stream = on_stream, .say = on_say, .past = on_past };

static struct host *host_new(void)
{
    static struct host h;
    struct mirror_setup setup;
    mirror_setup_default(&setup);
    h = (struct host){ .m = mirror_master_new(&ops, &h, &setup) };
    h.stream = mirror_stream_new(h.m, 2, NULL, 1);
    h.other = mirror_stream_new(h.m, 2, NULL, 1);
    for (uint64_t i = 0; i < MANY; i++)
        h.pasts[i] = (struct mirror_past){ .qid = i, .epoch = EPOCH, .owner = &h };
    return &h;
}

static void host_free(struct host *h)
{
    cr_expect(not(mirror_stream_is_used(h->stream)), "it may end");
    mirror_master_free(&h->m);
}

static void flush(struct host *h)
{
    bool has_more = mirror_master_flush(h->m, 1);
    cr_expect(not(has_more));
}

static void ask(struct host *h, uint64_t first, uint64_t last)
{
    for (uint64_t i = first; i <= last; i++)
        mirror_past_ask(h->m, &h->pasts[i], 2, false);
    flush(h);
}

/* As that node: it masters the queue since this epoch. */
static bool answer_in(struct host *h, uint64_t qid, uint64_t epoch)
{
    struct mirror_history history = { 0 };
    struct mirror_starts none = { 0 };
    struct producers producers = { 0 };
    mirror_history_begin(&history, epoch, &none);
    producers_saw(&producers, 5, 90);
    bool is_good = mirror_stream_take(h->stream,
                                      &(struct mirror_record){ .op = MIRROR_PAST_IS,
                                                               .qid = qid,
                                                               .epoch = EPOCH,
                                                               .history = &history,
                                                               .producers = &producers },
                                      1);
    mirror_history_fini(&history);
    producers_fini(&producers);
    flush(h);
    return is_good;
}

static void answer(struct host *h, uint64_t qid)
{
    cr_expect(answer_in(h, qid, EPOCH));
}

static void refuse(struct host *h, uint64_t qid)
{
    cr_expect(mirror_stream_take(
        h->stream,
        &(struct mirror_record){
            .op = MIRROR_REFUSED, .kind = MIRROR_REFUSED_LATER, .qid = qid, .epoch = EPOCH },
        1));
    flush(h);
}

Test(mirror_past, is_asked_when_its_master_is_there_and_tells)
{
    struct host *h = host_new();
    ask(h, 3, 3);
    cr_expect(zero(uint, h->said_count), "nobody hears it");
    cr_expect(mirror_stream_is_used(h->stream));
    mirror_stream_up(h->stream, 1, 1);
    flush(h);
    cr_assert(eq(uint, h->said_count, 1));
    cr_expect(eq(u64, h->said[0], 3));
    answer(h, 3);
    cr_expect(eq(uint, h->told_count, 1));
    cr_expect(eq(u64, h->told, 3));
    cr_expect(eq(u64, h->told_seq, 90));
    cr_expect(mirror_stream_is_used(h->stream), "until it is at an end");
    mirror_past_end(&h->pasts[3]);
    mirror_past_end(&h->pasts[3]); /* no harm */
    host_free(h);
}

Test(mirror_past, few_are_asked_at_a_time_and_all_in_the_end)
{
    struct host *h = host_new();
    mirror_stream_up(h->stream, 1, 1);
    ask(h, 0, MANY - 1);
    cr_expect(eq(uint, h->said_count, MIRROR_PASTS_ASKED));
    answer(h, h->said[0]);
    cr_expect(eq(uint, h->said_count, MIRROR_PASTS_ASKED), "it has yet to be done");
    for (unsigned i = 0; i < MANY; i++) {
        cr_assert(lt(uint, i, h->said_count), "another one is asked when one is at an end");
        if (i != 0)
            answer(h, h->said[i]);
        mirror_past_end(&h->pasts[h->said[i]]);
        flush(h);
    }
    cr_expect(eq(uint, h->told_count, MANY));
    cr_expect(eq(uint, h->said_count, MANY));
    host_free(h);
}

Test(mirror_past, who_cannot_answer_is_asked_again_later)
{
    struct host *h = host_new();
    mirror_stream_up(h->stream, 1, 1);
    ask(h, 1, 1);
    refuse(h, 1);
    flush(h);
    cr_expect(eq(uint, h->said_count, 1));
    mirror_master_tick(h->m, MIRROR_PAST_MS);
    flush(h);
    cr_expect(eq(uint, h->said_count, 1), "not so soon");
    mirror_master_tick(h->m, MIRROR_PAST_MS + 1);
    flush(h);
    cr_expect(eq(uint, h->said_count, 2));
    mirror_past_ask(h->m, &h->pasts[2], 2, true);
    flush(h);
    cr_expect(eq(uint, h->said_count, 2), "later");
    mirror_master_tick(h->m, 3 * MIRROR_PAST_MS);
    flush(h);
    cr_expect(eq(uint, h->said_count, 3));
    answer(h, 2);
    answer(h, 1);
    cr_expect(eq(uint, h->told_count, 2));
    mirror_past_end(&h->pasts[1]);
    mirror_past_end(&h->pasts[2]);
    host_free(h);
}

Test(mirror_past, a_session_that_ends_has_answered_nothing)
{
    struct host *h = host_new();
    mirror_stream_up(h->stream, 1, 1);
    ask(h, 0, 3);
    answer(h, 3);
    mirror_past_end(&h->pasts[2]);
    mirror_stream_down(h->stream, 2);
    mirror_stream_up(h->stream, 1, 3);
    flush(h);
    cr_assert(eq(uint, h->said_count, 6));
    cr_expect(eq(u64, h->said[4] + h->said[5], 1), "not the one that was given up, nor told");
    answer(h, 2);
    cr_expect(eq(uint, h->told_count, 1), "nobody waits for it");
    answer(h, 0);
    answer(h, 1);
    answer(h, 1);
    cr_expect(eq(uint, h->told_count, 3), "once each");
    for (unsigned i = 0; i < 4; i++)
        mirror_past_end(&h->pasts[i]);
    host_free(h);
}

Test(mirror_past, another_epochs_history_is_no_answer)
{
    struct host *h = host_new();
    mirror_stream_up(h->stream, 1, 1);
    ask(h, 0, 0);
    cr_expect(not(answer_in(h, 0, EPOCH + 1)), "the session is given up");
    struct mirror_record past = { .op = MIRROR_PAST, .qid = 0, .epoch = EPOCH };
    cr_expect(not(mirror_stream_take(h->stream, &past, 1)), "nor is that a mirror's to say");
    cr_expect(zero(uint, h->told_count));
    mirror_past_end(&h->pasts[0]);
    host_free(h);
}

Test(mirror_past, goes_where_its_queue_is_when_the_node_has_other_shards)
{
    struct host *h = host_new();
    ask(h, 0, 3);
    mirror_past_end(&h->pasts[3]);
    mirror_past_ask(h->m, &h->pasts[3], 2, true);
    h->is_rehomed = true;
    mirror_stream_rehome(h->stream);
    mirror_stream_up(h->other, 1, 1);
    flush(h);
    cr_assert(eq(uint, h->said_count, 2));
    cr_expect(eq(u64, h->said[0] + h->said[1], 1 + 3));
    for (unsigned i = 0; i < 4; i++)
        mirror_past_end(&h->pasts[i]);
    cr_expect(not(mirror_stream_is_used(h->other)));
    host_free(h);
}
