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
    must(&h->w, set_replicas(&h->w, "m", 2, others));
}

/* As the mirror of another. */
static void get(struct house *h, const char *queue, uint64_t first, uint64_t count, size_t bytes)
{
    static const uint8_t body[16384];
    for (uint64_t p = first; p < first + count; p++)
        HOUSE_UNTIL(h, house_message(h, queue, p, PID, p + 1, slice_of(body, bytes), true) ==
                           MIRROR_TAKEN);
}

static void get_all(struct house *h, const char *queue, uint64_t count, size_t bytes)
{
    house_join(h, queue, 0, 0, NULL);
    get(h, queue, 0, count, bytes);
    house_done(h, queue, PID, count);
    house_until_durable(h);
}

/* It had all of it in the first epoch, and was not there for the second. */
static uint64_t open_replaced(struct house *h)
{
    house_init(h);
    house_decide(h, lasting(q_declare("m")));
    uint64_t first = placement(&h->w, "m").epoch;
    get_all(h, "m", ALL, 6);
    house_decide(h, move_to(&h->w, 3));
    house_decide(h, set_replicas(&h->w, "m", 2, others));
    return first;
}

static bool asks_for(struct house *h, const char *queue)
{
    const struct hosted *q = house_queue(h, queue);
    return q != NULL && q->mirrored->state == MIRRORED_STILL && q->mirrored->leave != NULL;
}

static bool asks(struct house *h)
{
    return asks_for(h, "m");
}

/* As node 3: it goes on from the first epoch (0: it never heard of any) at this position, and knows
 * what was published up to this number. */
static void tell_of(struct house *h, const char *queue, uint64_t first, uint64_t position,
                    uint64_t known)
{
    uint64_t qid = queue_now(&h->w, queue)->qid, epoch = placement(&h->w, queue).epoch;
    struct mirror_stream *stream = mirror_links_stream(h->s, 3, qid);
    struct mirror_history history = { 0 };
    struct mirror_starts next = { 0 };
    struct producers producers = { 0 };
    if (first != 0)
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

static void tell(struct house *h, uint64_t first, uint64_t position, uint64_t known)
{
    tell_of(h, "m", first, position, known);
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
    house_decide(&h, set_replicas(&h.w, "m", 3, all));
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

/* ---- and other queues of the node ---- */

static void two_queues(struct house *h)
{
    must(&h->w, lasting(q_declare("m")));
    must(&h->w, lasting(q_declare("mx")));
    must(&h->w, lasting(q_declare("mkeep")));
}

static void is_taken_out(struct house *h)
{
    house_show(h, set_replicas(&h->w, "m", 2, others));
}

/* What was found of it counts once: a segment whose messages leave twice is taken for empty. */
Test(mirrored_leave, it_is_replaced_while_its_journal_is_read)
{
    struct house h;
    house_init(&h);
    house_decide(&h, lasting(q_declare("m")));
    house_decide(&h, lasting(q_declare("mx")));
    house_decide(&h, lasting(q_declare("mkeep")));
    get_all(&h, "m", ALL, 6);
    get_all(&h, "mkeep", 60, 6);
    house_stop(&h);
    house_start_amid(&h, two_queues, is_taken_out);
    HOUSE_UNTIL(&h, house_queue(&h, "m") == NULL && house_queue(&h, "mkeep") != NULL);
    while (loop_settle(h.s->loop))
        ;
    cr_expect(eq(sz, house_alive(&h), 60));
    house_fini(&h);
}

static void is_given_away(struct house *h)
{
    static const uint16_t three[] = { 3 };
    const struct meta_node *self = meta_node_get(meta_current(h->w.meta), HOUSE_NODE);
    must(&h->w, lasting(q_declare("other")));
    must(&h->w, lasting(q_declare("single")));
    must(&h->w, (struct meta_cmd){ .op = META_NODE_DOWN,
                                   .node = { .node = HOUSE_NODE, .inc = self->inc } });
    struct meta_cmd c = { .op = META_FORCE_PROMOTE, .qid = queue_now(&h->w, "single")->qid };
    c.force_promote.node = 3;
    must(&h->w, c);
    must(&h->w, set_replicas(&h->w, "single", 1, three));
}

/* It has no history. */
Test(mirrored_leave, what_was_never_mirrored_and_given_away_by_hand_is_kept)
{
    static const uint8_t names[] = { 0, 6, 's', 'i', 'n', 'g', 'l', 'e' }, props[] = { 0x10, 0, 2 };
    struct house h;
    house_init(&h);
    house_decide(&h, lasting(q_declare("other")));
    house_decide(&h, lasting(q_declare("single")));
    struct msg_target t = { .qid = queue_now(&h.w, "single")->qid };
    for (; t.qseq < 50; t.qseq++) {
        uint8_t room[RECORD_MSG_ROOM(1)];
        uint64_t lsn;
        size_t head = record_put_msg_of(room, 0, NULL, &t, 1, sizeof names, sizeof props, 4);
        const struct slice parts[] = { slice_of(room, head), slice_of(names, sizeof names),
                                       slice_of(props, sizeof props), slice_str("body") };
        (void)journal_append(store_journal(h.s->store), parts, ARRAY_COUNT(parts), JOURNAL_SOON,
                             &lsn);
        journal_kick(store_journal(h.s->store));
    }
    house_stop(&h);
    house_start(&h, is_given_away);
    HOUSE_UNTIL(&h, asks_for(&h, "single"));
    tell_of(&h, "single", 0, 0, 0);
    HOUSE_UNTIL(&h, house_queue(&h, "single") == NULL);
    cr_expect(eq(u64, kept(&h), 50));
    house_fini(&h);
}

static void has_left(struct house *h)
{
    two_queues(h);
    must(&h->w, lasting(q_declare("md")));
    must(&h->w, q_delete("md"));
    must(&h->w, set_replicas(&h->w, "m", 2, others));
    must(&h->w, move_to(&h->w, 3));
}

/* Four queues; m has its messages in the first segment, which stays, and then has left. */
static uint32_t open_left(struct house *h)
{
    uint32_t last = 0;
    house_init(h);
    house_decide(h, lasting(q_declare("m")));
    house_decide(h, lasting(q_declare("mx")));
    house_decide(h, lasting(q_declare("mkeep")));
    house_decide(h, lasting(q_declare("md")));
    get_all(h, "m", ALL, 10);
    get_all(h, "mkeep", 60, 2000);
    get_all(h, "md", 130, 8000); /* the segments are full with that */
    house_decide(h, set_replicas(&h->w, "m", 2, others));
    HOUSE_UNTIL(h, house_queue(h, "m") == NULL);
    struct segs *segs = store_segs(h->s->store);
    for (uint32_t n = 0; (n = segs_next(segs, n)) != 0;)
        if (segs_get(segs, n)->alive_count != 0)
            last = n;
    return last;
}

/* The segment that says that it has left is given up before the one where its messages are; and
 * then the node starts anew. */
static void give_up(struct house *h, uint32_t seg, house_history_fn decide)
{
    get(h, "md", 130, 130, 8000);
    house_until_durable(h);
    house_decide(h, q_delete("md"));
    HOUSE_UNTIL(h, segs_state(store_segs(h->s->store), seg) == SEG_NONE);
    house_stop(h);
    house_start(h, decide);
    HOUSE_UNTIL(h, house_queue(h, "mkeep") != NULL);
    while (loop_settle(h->s->loop))
        ;
}

Test(mirrored_leave, what_has_gone_stays_so)
{
    struct house h;
    uint32_t seg = open_left(&h);
    give_up(&h, seg, has_left);
    cr_expect(house_queue(&h, "m") == NULL);
    cr_expect(eq(sz, house_alive(&h), 60));
    house_fini(&h);
}

static void has_come_back(struct house *h)
{
    static const uint16_t all[] = { 1, 3, 2 };
    two_queues(h);
    must(&h->w, lasting(q_declare("md")));
    must(&h->w, q_delete("md"));
    must(&h->w, set_replicas(&h->w, "m", 3, all));
}

Test(mirrored_leave, what_has_gone_stays_so_though_its_queue_is_here_again)
{
    static const uint16_t all[] = { 1, 3, 2 };
    struct house h;
    uint32_t seg = open_left(&h);
    house_decide(&h, set_replicas(&h.w, "m", 3, all));
    house_join(&h, "m", 2 * ALL, 0, NULL);
    give_up(&h, seg, has_come_back);
    cr_assert(house_queue(&h, "m") != NULL);
    cr_expect(eq(str, (char *)(uintptr_t)house_held(&h, "m"), ""));
    cr_expect(eq(sz, house_alive(&h), 60));
    house_fini(&h);
}
