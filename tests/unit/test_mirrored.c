/* broker/mirrored and mirrored_copy: what a real node keeps of a queue that another one masters,
 * and what becomes of it. */
#include "mirrored_kit.h"

#include "base/mem.h"
#include "io/clock.h"
#include "mirrored_lead.h"
#include "port.h"

TestSuite(mirrored, .timeout = 300);

#define PID 77u

static void declare(struct house *h)
{
    house_decide(h, lasting(q_declare("m")));
    HOLDERS(&h->w, "m", "1+2+3+");
}

static void declare_in_history(struct house *h)
{
    must(&h->w, lasting(q_declare("m")));
}

/* A queue of which this node holds a copy. */
static void open_copy(struct house *h)
{
    house_init(h);
    declare(h);
    cr_assert(house_queue(h, "m") != NULL);
    cr_assert(eq(int, house_queue(h, "m")->mirrored->state, MIRRORED_COPY));
}

static void messages(struct house *h, uint64_t first, uint64_t last)
{
    for (uint64_t p = first; p <= last; p++)
        cr_assert(
            eq(int, house_message(h, "m", p, PID, p + 1, slice_str("a body"), true), MIRROR_TAKEN));
}

static void settle(struct house *h, uint64_t first, uint64_t last)
{
    HOUSE_UNTIL(h, house_settle(h, "m", first, last, 0) == MIRROR_TAKEN);
}

#define HELD(h, text)                                                                              \
    cr_expect(eq(str, (char *)(uintptr_t)house_held((h), "m"), (char *)(uintptr_t)(text)))

/* Have it read, wherever it is. */
static void want_one(struct hosted *q, enum qhead at, const struct queue_item *it,
                     struct qwant *want)
{
    if (at == QHEAD_ABSENT) {
        *want = (struct qwant){ .first = it->qseq, .last = it->qseq, .count = 1 };
        want->items[0].qseq = it->qseq;
        want->items[0].place = it->place;
        want->items[0].body_bytes = it->body_bytes;
    }
    mirrored_want(q, want);
}

/* It dies and comes back, with what the metadata were. */
static void restart(struct house *h)
{
    house_stop(h);
    house_start(h, declare_in_history);
    HOUSE_UNTIL(h, house_queue(h, "m") != NULL);
}

Test(mirrored, a_declared_queue_is_a_copy_here_and_offers_nothing)
{
    struct house h;
    open_copy(&h);
    cr_expect(shard_hosted(h.s, house_queue(&h, "m")->queue.qid) == NULL, "it serves nobody");
    house_join(&h, "m", 0, 0, NULL);
    cr_assert(eq(uint, h.said_count, 1));
    cr_expect(eq(int, h.said[0].op, MIRROR_OFFER));
    cr_expect(eq(u64, h.said[0].to, MIRROR_TO_END));
    cr_expect(zero(u32, h.said[0].run_count));
    house_until_durable(&h);
    house_fini(&h);
}

Test(mirrored, takes_what_is_published_and_settled_elsewhere)
{
    struct house h;
    open_copy(&h);
    house_join(&h, "m", 0, 0, NULL);
    messages(&h, 0, 99);
    house_done(&h, "m", PID, 100);
    settle(&h, 10, 19);
    settle(&h, 0, 0);
    HELD(&h, "1-9 20-99");
    house_until_durable(&h);
    cr_expect(eq(u64, queue_ready(&house_queue(&h, "m")->queue), 89));
    house_fini(&h);
}

Test(mirrored, has_after_a_restart_what_it_acknowledged)
{
    struct house h;
    open_copy(&h);
    house_join(&h, "m", 0, 0, NULL);
    messages(&h, 0, 99);
    house_done(&h, "m", PID, 100);
    settle(&h, 10, 19);
    messages(&h, 100, 119);
    house_until_durable(&h);
    restart(&h);
    HELD(&h, "0-9 20-119");
    const struct mirror_history *history = &house_queue(&h, "m")->mirrored->copy->history;
    cr_expect(eq(u64, producers_last(&history->now, PID), 120));
    cr_expect(not(history->is_partial));
    cr_expect(eq(u64, mirror_history_epoch(history), placement(&h.w, "m").epoch));

    house_join(&h, "m", 130, 0, NULL);
    const struct mirror_record *offer = &h.said[h.said_count - 1];
    cr_assert(eq(int, offer->op, MIRROR_OFFER));
    cr_assert(eq(u32, offer->run_count, 2));
    cr_expect(eq(u64, h.runs[h.said_count - 1][1].first, 20));
    cr_expect(eq(u64, h.runs[h.said_count - 1][1].last, 119));
    messages(&h, 130, 131);
    messages(&h, 120, 129);
    house_done(&h, "m", PID, 132);
    HELD(&h, "0-9 20-131");
    house_until_durable(&h);
    house_fini(&h);
}

/* The position of what a deposed master settled, and nobody else did. */
Test(mirrored, what_comes_again_at_a_settled_position_stays)
{
    struct house h;
    open_copy(&h);
    house_join(&h, "m", 0, 0, NULL);
    messages(&h, 0, 9);
    house_done(&h, "m", PID, 10);
    settle(&h, 3, 5);
    HELD(&h, "0-2 6-9");
    messages(&h, 4, 4);
    HELD(&h, "0-2 4-4 6-9");
    house_until_durable(&h);
    restart(&h);
    HELD(&h, "0-2 4-4 6-9");
    house_fini(&h);
}

static struct meta_cmd replicas(const struct world *w, unsigned count, const uint16_t *nodes)
{
    return set_replicas(w, "m", count, nodes);
}

static enum mirrored_state state(struct house *h)
{
    return house_queue(h, "m")->mirrored->state;
}

/* A whole copy of as many messages. */
static void open_whole(struct house *h, uint64_t count)
{
    open_copy(h);
    house_join(h, "m", 0, 0, NULL);
    messages(h, 0, count - 1);
    house_done(h, "m", PID, count);
    house_until_durable(h);
}

static void move_in_history(struct house *h)
{
    must(&h->w, lasting(q_declare("m")));
    must(&h->w, move_to(&h->w, 3));
}

Test(mirrored, what_its_new_master_does_not_have_is_cut_off_for_good)
{
    struct house h;
    open_whole(&h, 100);
    uint64_t first = placement(&h.w, "m").epoch;
    house_decide(&h, move_to(&h.w, 3));
    cr_expect(eq(int, state(&h), MIRRORED_COPY));
    cr_expect(eq(int, h.said[h.said_count - 1].op, MIRROR_REFUSED), "nothing of the old master's");
    house_session(&h);
    const uint64_t epochs[][2] = { { first, 0 }, { placement(&h.w, "m").epoch, 50 } };
    house_join(&h, "m", 50, 2, epochs);
    HELD(&h, "0-49");
    messages(&h, 50, 54);
    house_until_durable(&h);
    HELD(&h, "0-54");

    house_stop(&h);
    house_start(&h, move_in_history);
    HOUSE_UNTIL(&h, house_queue(&h, "m") != NULL);
    HELD(&h, "0-54");
    const struct mirror_history *history = &house_queue(&h, "m")->mirrored->copy->history;
    cr_expect(eq(u64, mirror_history_epoch(history), epochs[1][0]));
    struct mirror_starts next = { 0 };
    mirrored_starts(house_queue(&h, "m"), &next);
    cr_expect(eq(u64, mirror_starts_of(&next, 0), 55), "as exact as before");
    mirror_starts_fini(&next);
    house_fini(&h);
}

/* ---- leading ---- */

Test(mirrored, leads_with_all_that_it_has)
{
    struct house h;
    open_whole(&h, 100);
    settle(&h, 0, 9);
    house_decide(&h, move_to(&h.w, 2));
    cr_assert(eq(int, state(&h), MIRRORED_MASTER));
    struct hosted *q = house_queue(&h, "m");
    cr_expect(eq(int, h.said[h.said_count - 1].op, MIRROR_REFUSED));
    cr_expect(shard_hosted(h.s, q->queue.qid) == q);
    cr_expect(not(q->queue.is_copy));
    cr_expect(eq(u64, q->mirrored->lead->epoch, placement(&h.w, "m").epoch));
    cr_expect(
        eq(u64, mirror_starts_of(mirror_history_starts(&q->mirrored->lead->history), 0), 100));
    cr_expect(eq(u64, producers_last(&q->mirrored->lead->history.now, PID), 100));
    cr_expect(eq(uint, q->mirrored->earlier, 1));
    HELD(&h, "10-99");
    house_fini(&h);
}

/* Of a hundred thousand that come at once it may be the last that the shard is told of. */
Test(mirrored, one_that_is_asked_for_leads_before_the_shard_is_told)
{
    struct house h;
    open_whole(&h, 10);
    house_show(&h, move_to(&h.w, 2));
    cr_assert(eq(int, state(&h), MIRRORED_COPY));
    struct hosted *q = house_queue(&h, "m");
    cr_expect(mirrored_must_wait(q, PORT_GET));
    HOUSE_UNTIL(&h, state(&h) == MIRRORED_MASTER);
    cr_expect(eq(uint, q->mirrored->earlier, 1), "whose leave is to run out first");
    cr_expect(q->mirrored->is_wanted, "until it is served");
    cr_expect(mirrored_must_wait(q, PORT_GET), "it is not served yet");
    house_fini(&h);
}

/* Beyond where it was whole it may have holes. */
Test(mirrored, leads_with_what_it_has_had_whole)
{
    struct house h;
    open_whole(&h, 100);
    house_session(&h);
    house_join(&h, "m", 150, 0, NULL);
    messages(&h, 150, 159);
    messages(&h, 100, 119);
    HELD(&h, "0-119 150-159");
    house_until_durable(&h);
    house_decide(&h, move_to(&h.w, 2));
    HOUSE_UNTIL(&h, state(&h) == MIRRORED_MASTER);
    struct hosted *q = house_queue(&h, "m");
    HELD(&h, "0-99");
    cr_expect(eq(u64, producers_last(&q->mirrored->lead->history.now, PID), 100));
    cr_expect(
        eq(u64, mirror_starts_of(mirror_history_starts(&q->mirrored->lead->history), 0), 100));
    cr_expect(eq(u64, mirror_starts_of(&q->mirrored->tops, 0), 160), "what was cut off");
    house_fini(&h);
}

Test(mirrored, a_master_that_is_deposed_hands_out_nothing_and_follows)
{
    struct house h;
    open_whole(&h, 1000);
    house_decide(&h, move_to(&h.w, 2));
    cr_assert(eq(int, state(&h), MIRRORED_MASTER));
    struct hosted *q = house_queue(&h, "m");
    house_decide(&h, move_to(&h.w, 3));
    HOUSE_UNTIL(&h, state(&h) == MIRRORED_COPY);
    cr_expect(q->queue.is_copy);
    cr_expect(shard_hosted(h.s, q->queue.qid) == NULL);
    HELD(&h, "0-999");
    house_decide(&h, move_to(&h.w, 2));
    HOUSE_UNTIL(&h, state(&h) == MIRRORED_MASTER);
    cr_expect(eq(uint, q->mirrored->earlier, 3));
    house_fini(&h);
}

/* As the metadata see it, it is another process that was made the master. */
Test(mirrored, a_new_process_does_not_act_as_its_predecessor)
{
    struct house h;
    open_whole(&h, 10);
    house_decide(&h, move_to(&h.w, 2));
    cr_assert(eq(int, state(&h), MIRRORED_MASTER));
    house_stop(&h);
    house_start(&h, declare_in_history);
    house_decide(&h, move_to(&h.w, 2));
    HOUSE_UNTIL(&h, house_queue(&h, "m") != NULL);
    cr_expect(eq(int, state(&h), MIRRORED_COPY), "its incarnation is not known yet");
    for (unsigned i = 0; i < 5; i++) {
        cr_expect(mirrored_must_wait(house_queue(&h, "m"), PORT_GET));
        house_turn(&h);
    }
    cr_expect(mirrored_must_wait(house_queue(&h, "m"), PORT_GET));
    cr_expect(not(house_queue(&h, "m")->mirrored->is_due), "who waits keeps nobody busy");
    house_up(&h);
    HOUSE_UNTIL(&h, placement(&h.w, "m").master != 2 || state(&h) == MIRRORED_MASTER);
    cr_expect(ne(uint, placement(&h.w, "m").master, 2), "others were in sync");
    cr_expect(eq(int, state(&h), MIRRORED_COPY));
    HELD(&h, "0-9");
    house_fini(&h);
}

/* ---- when memory is short ---- */

/* Most of it is in runs, with a gap of one in a few of them. */
static void open_paged(struct house *h, uint64_t count)
{
    open_whole(h, count);
    for (uint64_t gap = 700; gap < count; gap += 1000)
        settle(h, gap, gap);
    house_until_durable(h);
    atomic_store(&h->b->pressed, true);
    pager_press(h->s);
    const struct queue *q = &house_queue(h, "m")->queue;
    HOUSE_UNTIL(h, queue_away(q) + 2000 > count);
    atomic_store(&h->b->pressed, false);
}

static uint64_t expected(uint64_t first, uint64_t last)
{
    uint64_t count = last - first + 1;
    for (uint64_t gap = 700; gap <= last; gap += 1000)
        count -= gap >= first;
    return count;
}

Test(mirrored, leads_though_most_of_it_is_on_disk)
{
    struct house h;
    open_paged(&h, 30000);
    house_session(&h);
    house_join(&h, "m", 30000, 0, NULL);
    messages(&h, 30000, 30010);
    house_decide(&h, move_to(&h.w, 2));
    HOUSE_UNTIL(&h, state(&h) == MIRRORED_MASTER);
    cr_expect(eq(u64, queue_ready(&house_queue(&h, "m")->queue), expected(0, 29999)));
    house_fini(&h);
}

Test(mirrored, is_cut_where_most_of_it_is_on_disk)
{
    struct house h;
    open_paged(&h, 30000);
    uint64_t first = placement(&h.w, "m").epoch;
    house_decide(&h, move_to(&h.w, 3));
    house_session(&h);
    const uint64_t epochs[][2] = { { first, 0 }, { placement(&h.w, "m").epoch, 12345 } };
    house_join(&h, "m", 12345, 2, epochs);
    cr_expect(eq(u64, queue_ready(&house_queue(&h, "m")->queue), expected(0, 12344)));
    settle(&h, 3000, 5555);
    cr_expect(eq(u64, queue_ready(&house_queue(&h, "m")->queue),
                 expected(0, 12344) - expected(3000, 5555)));
    HOUSE_UNTIL(&h,
                house_message(&h, "m", 700, PID, 701, slice_str("again"), true) == MIRROR_TAKEN);
    cr_expect(eq(u64, queue_ready(&house_queue(&h, "m")->queue),
                 expected(0, 12344) - expected(3000, 5555) + 1));
    house_until_durable(&h);
    house_stop(&h);
    house_start(&h, move_in_history);
    HOUSE_UNTIL(&h, house_queue(&h, "m") != NULL);
    cr_expect(eq(u64, queue_ready(&house_queue(&h, "m")->queue),
                 expected(0, 12344) - expected(3000, 5555) + 1));
    house_fini(&h);
}

/* ---- queues that were not mirrored ---- */

Test(mirrored, a_queue_gets_mirrors_while_it_is_used)
{
    struct house h;
    house_init(&h);
    house_decide(&h, lasting(q_declare("other")));
    house_decide(&h, lasting(q_declare("single"))); /* where there are the fewest */
    struct hosted *q = house_queue(&h, "single");
    cr_assert(q != NULL && q->mirrored == NULL);
    static const uint8_t none[] = { 0, 0 };
    struct message *m =
        message_new(S(""), S("single"), slice_of(none, sizeof none), S("body"), true);
    shard_message_made(h.s, m);
    struct queue_put put;
    cr_assert(eq(int, queue_publish(&q->queue, &m, 0, &put), QUEUE_KEPT));
    house_decide(&h, policy_put("more", "^single", "{\"ha-mode\":\"all\"}", 0));
    const uint16_t nodes[] = { 2, 1 };
    house_decide(&h, set_replicas(&h.w, "single", 2, nodes));
    cr_assert(q->mirrored != NULL);
    cr_expect(eq(int, q->mirrored->state, MIRRORED_MASTER));
    cr_expect(zero(uint, q->mirrored->earlier), "nobody ever had it but this node");
    cr_expect(eq(u64, mirror_starts_of(mirror_history_starts(&q->mirrored->lead->history), 0), 1));
    cr_expect(eq(u64, queue_ready(&q->queue), 1));
    house_fini(&h);
}

static bool has_no_room(struct consumer *c)
{
    (void)c;
    return false;
}

/* Consumers of before it had mirrors are shown what comes, too. */
Test(mirrored, what_had_consumers_before_it_had_mirrors_expects_to_be_seen)
{
    struct house h;
    static const struct consumer_ops ops = { .has_room = has_no_room };
    struct consumer c = { .ops = &ops };
    house_init(&h);
    house_decide(&h, lasting(q_declare("other")));
    house_decide(&h, q_declare("single"));
    struct hosted *q = house_queue(&h, "single");
    cr_assert(eq(int, queue_consume(&q->queue, &c), QUEUE_CONSUME_OK));
    cr_expect(not(q->book.expects_out));
    house_decide(&h, policy_put("more", "^single", "{\"ha-mode\":\"all\"}", 0));
    const uint16_t nodes[] = { 2, 1 };
    house_decide(&h, set_replicas(&h.w, "single", 2, nodes));
    cr_assert(eq(int, q->mirrored->state, MIRRORED_MASTER));
    cr_expect(q->book.expects_out);
    queue_cancel(&c, 0);
    house_fini(&h);
}

/* ---- going, and coming again ---- */

Test(mirrored, a_copy_of_a_deleted_queue_leaves_nothing)
{
    struct house h;
    open_whole(&h, 3000);
    cr_expect(eq(sz, house_alive(&h), 3000));
    house_decide(&h, q_delete("m"));
    HOUSE_UNTIL(&h, house_alive(&h) == 0);
    cr_expect(zero(sz, h.s->queues.count));
    cr_expect(zero(i64, (int64_t)atomic_load(&h.s->message_bytes)));
    house_fini(&h);
}

static void set_aside(struct house *h)
{
    const uint16_t without[] = { 1, 3 }, with[] = { 1, 3, 2 };
    house_decide(h, replicas(&h->w, 2, without));
    HOUSE_UNTIL(h, h->s->queues.count == 0 && house_alive(h) == 0);
    house_decide(h, replicas(&h->w, 3, with));
    HOUSE_UNTIL(h, h->s->queues.count == 1);
}

static void set_aside_in_history(struct house *h)
{
    const uint16_t without[] = { 1, 3 }, with[] = { 1, 3, 2 };
    must(&h->w, lasting(q_declare("m")));
    must(&h->w, replicas(&h->w, 2, without));
    must(&h->w, replicas(&h->w, 3, with));
}

Test(mirrored, a_node_that_is_a_replica_again_begins_with_nothing)
{
    struct house h;
    open_whole(&h, 100);
    set_aside(&h);
    HELD(&h, "");
    house_session(&h);
    house_join(&h, "m", 40, 0, NULL);
    messages(&h, 40, 49);
    messages(&h, 20, 29);
    house_until_durable(&h);
    house_stop(&h);
    house_start(&h, set_aside_in_history);
    HOUSE_UNTIL(&h, h.s->queues.count == 1);
    HELD(&h, "20-29 40-49");
    house_fini(&h);
}

/* ---- large ones ---- */

static struct slice large_body(size_t bytes)
{
    uint8_t *body = mem_alloc(bytes);
    for (size_t i = 0; i < bytes; i++)
        body[i] = (uint8_t)(i * 7 + i / 251);
    return slice_of(body, bytes);
}

Test(mirrored, a_large_message_is_acknowledged_when_its_file_is_there)
{
    struct house h;
    struct queue_item it;
    struct qwant want;
    struct slice body = large_body((size_t)20 << 20);
    open_copy(&h);
    house_join(&h, "m", 0, 0, NULL);
    house_until_durable(&h);
    cr_assert(eq(int, house_message(&h, "m", 0, PID, 1, body, true), MIRROR_TAKEN));
    messages(&h, 1, 3);
    house_done(&h, "m", PID, 4);
    mirror_replica_flush(h.r);
    cr_expect(lt(u64, h.durable, h.pos));
    house_until_durable(&h);
    restart(&h);
    HELD(&h, "0-3");
    struct hosted *q = house_queue(&h, "m");
    enum qhead at;
    HOUSE_UNTIL(&h, (at = queue_look(&q->queue, 0, &it, &want)) == QHEAD_HERE ||
                        (want_one(q, at, &it, &want), false));
    uint8_t *got = mem_alloc(body.len);
    size_t len = 0;
    const struct message_more *more =
        message_is_in_parts(it.message) ? message_more(it.message) : NULL;
    for (uint32_t i = 0; more != NULL && i < more->part_count; i++) {
        cr_assert(le(sz, len + more->parts[i]->len_bytes, body.len));
        memcpy(got + len, more->parts[i]->data, more->parts[i]->len_bytes);
        len += more->parts[i]->len_bytes;
    }
    cr_expect(eq(sz, len, body.len));
    cr_expect(zero(int, memcmp(got, body.ptr, body.len)));
    mem_free(got);
    uint8_t *was = (uint8_t *)(uintptr_t)body.ptr;
    mem_free(was);
    house_fini(&h);
}
