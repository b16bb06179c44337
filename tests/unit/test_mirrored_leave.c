/* broker/mirrored_leave: what a node has of a queue that it is to have no more. */
#include "mirrored_kit.h"

#include "io/clock.h"
#include "mirror_link/mirror_links.h"
#include "mirror_link/mirror_streams.h"
#include "quarantined.h"

TestSuite(mirrored_leave, .timeout = 300);

#define PID 77u
#define ALL 100u

static const uint16_t others[] = { 1, 3 };

static void was_replaced(struct house *h)
{
    must(&h->w, lasting(q_declare("m")));
    must(&h->w, move_to(&h->w, 3));
    must(&h->w, house_replicas(&h->w, "m", 2, others));
}

/* It had all of it in the first epoch, and was not there for the second. */
static uint64_t open_replaced(struct house *h)
{
    house_init(h);
    house_decide(h, lasting(q_declare("m")));
    uint64_t first = placement(&h->w, "m").epoch;
    house_join(h, "m", 0, 0, NULL);
    for (uint64_t p = 0; p < ALL; p++)
        cr_assert(
            eq(int, house_message(h, "m", p, PID, p + 1, slice_str("a body"), true), MIRROR_TAKEN));
    house_done(h, "m", PID, ALL);
    house_until_durable(h);
    house_decide(h, move_to(&h->w, 3));
    house_decide(h, house_replicas(&h->w, "m", 2, others));
    return first;
}

static bool asks(struct house *h)
{
    const struct hosted *q = house_queue(h, "m");
    return q != NULL && q->mirrored->state == MIRRORED_STILL && q->mirrored->leave != NULL;
}

/* As node 3: it goes on from the first epoch at this position, and knows what was published up to
 * this number. */
static void tell(struct house *h, uint64_t first, uint64_t position, uint64_t known)
{
    uint64_t qid = queue_now(&h->w, "m")->qid, epoch = placement(&h->w, "m").epoch;
    struct mirror_stream *stream = mirror_links_stream(h->s, 3, qid);
    struct mirror_history history = { 0 };
    struct mirror_starts next = { 0 };
    struct producers producers = { 0 };
    mirror_history_begin(&history, first, &next);
    mirror_starts_raise(&next, position);
    mirror_history_begin(&history, epoch, &next);
    producers_saw(&producers, PID, known);
    mirror_stream_up(stream, 1, 1);
    house_turn(h);
    bool is_good = mirror_stream_take(stream,
                                      &(struct mirror_record){ .op = MIRROR_PAST_IS,
                                                               .qid = qid,
                                                               .epoch = epoch,
                                                               .history = &history,
                                                               .producers = &producers },
                                      1);
    cr_expect(is_good);
    mirror_stream_down(stream, 1);
    mirror_history_fini(&history);
    mirror_starts_fini(&next);
    producers_fini(&producers);
}

static uint64_t kept(const struct house *h)
{
    struct quarantined_stats stats;
    quarantined_stats(storage_quarantine(h->b->storage), &stats);
    return stats.added;
}

static bool has_gone(const struct house *h)
{
    return h->s->queues.count == 0 && house_alive(h) == 0;
}

Test(mirrored_leave, what_its_master_has_not_is_kept_and_the_rest_goes)
{
    struct house h;
    uint64_t first = open_replaced(&h);
    cr_assert(asks(&h));
    cr_expect(eq(sz, house_alive(&h), ALL), "until somebody has told");
    tell(&h, first, 90, 95);
    HOUSE_UNTIL(&h, has_gone(&h));
    cr_expect(eq(u64, kept(&h), 5), "95 to 99: what comes before is known there");
    house_fini(&h);
}

Test(mirrored_leave, of_what_its_master_has_all_nothing_is_kept)
{
    struct house h;
    uint64_t first = open_replaced(&h);
    cr_assert(asks(&h));
    tell(&h, first, ALL, 0);
    HOUSE_UNTIL(&h, has_gone(&h));
    cr_expect(zero(u64, kept(&h)));
    house_fini(&h);
}

Test(mirrored_leave, it_was_replaced_while_it_was_down)
{
    struct house h;
    uint64_t first = open_replaced(&h);
    cr_assert(asks(&h));
    house_stop(&h);
    house_start(&h, was_replaced);
    HOUSE_UNTIL(&h, asks(&h));
    cr_expect(eq(sz, house_alive(&h), ALL));
    tell(&h, first, 40, 0);
    HOUSE_UNTIL(&h, has_gone(&h));
    cr_expect(eq(u64, kept(&h), 60));

    house_stop(&h);
    house_start(&h, was_replaced);
    house_turn(&h);
    cr_expect(has_gone(&h), "once");
    house_fini(&h);
}

Test(mirrored_leave, one_that_is_to_stay_after_all_waits_for_its_master)
{
    static const uint16_t all[] = { 3, 1, 2 };
    struct house h;
    uint64_t first = open_replaced(&h);
    cr_assert(asks(&h));
    house_decide(&h, house_replicas(&h.w, "m", 3, all));
    cr_assert(eq(int, house_queue(&h, "m")->mirrored->state, MIRRORED_COPY));
    tell(&h, first, 90, 0);
    house_turn(&h);
    cr_expect(eq(sz, house_alive(&h), ALL), "it is not asked any more");
    cr_expect(zero(u64, kept(&h)));
    house_fini(&h);
}

Test(mirrored_leave, one_whose_master_changes_asks_the_next_one)
{
    struct house h;
    uint64_t first = open_replaced(&h);
    cr_assert(asks(&h));
    house_decide(&h, move_to(&h.w, 1));
    cr_assert(asks(&h));
    house_decide(&h, move_to(&h.w, 3));
    cr_assert(asks(&h));
    tell(&h, first, 98, 0);
    HOUSE_UNTIL(&h, has_gone(&h));
    cr_expect(eq(u64, kept(&h), 2));
    house_fini(&h);
}

Test(mirrored_leave, one_that_is_deleted_meanwhile_is_kept_nowhere)
{
    struct house h;
    (void)open_replaced(&h);
    cr_assert(asks(&h));
    house_decide(&h, q_delete("m"));
    HOUSE_UNTIL(&h, has_gone(&h));
    cr_expect(zero(u64, kept(&h)));
    house_fini(&h);
}
