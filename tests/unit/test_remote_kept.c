#include "base/rng.h"
#include "remote/remote_kept.h"
#include "remote_world.h"

#define CONSUMER 4u

/* ---- the asking side's store ------------------------------------------------------------------
 */

static void keep(struct remote_kept *k, size_t bytes, uint64_t copies)
{
    struct message *m = message(bytes);
    remote_kept_add(k, m, copies);
    message_unref(&m);
}

static size_t found_bytes(struct remote_kept *k, uint64_t end)
{
    const struct message *m = remote_kept_find(k, end);
    return m != NULL ? m->body_bytes : 0;
}

static uint64_t octets(size_t body_bytes)
{
    struct message *m = message(body_bytes);
    uint64_t n = remote_kept_octets(m);
    message_unref(&m);
    return n;
}

Test(remote_kept, what_is_too_short_or_too_long_is_not_wanted)
{
    struct remote_kept k;
    remote_kept_init(&k);
    const size_t names = (size_t)octets(0);
    for (unsigned i = 0; i < 2; i++) {
        struct message *low = message(REMOTE_KEPT_LEAST - names - i);
        struct message *high = message(REMOTE_INLINE_BYTES - names + i);
        cr_expect(eq(int, remote_kept_wants(&k, low), i == 0));
        cr_expect(eq(int, remote_kept_wants(&k, high), i == 0));
        message_unref(&low);
        message_unref(&high);
    }
}

Test(remote_kept, is_found_by_its_name_until_it_is_dropped)
{
    struct remote_kept k;
    remote_kept_init(&k);
    uint64_t ends[4], end = 0;
    for (unsigned i = 0; i < 4; i++) {
        keep(&k, 1000 + i, i + 1);
        ends[i] = end += octets(1000 + i);
    }
    static const unsigned order[] = { 2, 2, 0, 3, 1 };
    for (unsigned i = 0; i < ARRAY_COUNT(order); i++)
        cr_expect(eq(sz, found_bytes(&k, ends[order[i]]), 1000 + order[i]));
    remote_kept_drop_found(&k, on_drop, NULL);
    cr_expect(eq(sz, found_bytes(&k, ends[1]), 0));
    cr_expect(eq(sz, found_bytes(&k, ends[0] + 1), 0));
    cr_expect(eq(sz, found_bytes(&k, ends[3] + 1), 0));
    cr_expect(eq(sz, found_bytes(&k, 0), 0));
    cr_expect(eq(sz, found_bytes(&k, ends[0]), 1000));
    remote_kept_drop_found(&k, on_drop, NULL);
    cr_expect(eq(sz, k.items.count, 2));
    remote_kept_reset(&k, on_drop, NULL);
    cr_expect(eq(sz, found_bytes(&k, ends[3]), 0));
}

Test(remote_kept, is_dropped_when_much_behind_it_was_read)
{
    struct remote_kept k;
    remote_kept_init(&k);
    uint64_t each = octets(40000);
    unsigned fit = (unsigned)(REMOTE_KEPT_BYTES / each);
    for (unsigned i = 0; i < fit + 3; i++)
        keep(&k, 40000, i + 1);
    remote_kept_taken(&k, fit + 1, on_drop, NULL);
    cr_expect(eq(sz, found_bytes(&k, each), 40000));
    remote_kept_taken(&k, fit + 2, on_drop, NULL);
    cr_expect(eq(sz, found_bytes(&k, each), 0));
    cr_expect(eq(sz, found_bytes(&k, 2 * each), 40000));
    /* One that is named was read, and all before it. */
    cr_expect(eq(sz, found_bytes(&k, (fit + 3) * each), 40000));
    remote_kept_taken(&k, 0, on_drop, NULL);
    cr_expect(eq(sz, found_bytes(&k, 2 * each), 0));
    remote_kept_reset(&k, on_drop, NULL);
}

Test(remote_kept, nothing_more_is_wanted_while_much_is_not_read)
{
    struct remote_kept k;
    struct message *m = message(40000);
    remote_kept_init(&k);
    uint64_t copies = 0;
    while (remote_kept_wants(&k, m))
        remote_kept_add(&k, m, ++copies);
    cr_expect(eq(u64, copies, REMOTE_KEPT_UNREAD / octets(40000) + 1));
    remote_kept_taken(&k, copies, on_drop, NULL);
    cr_expect(remote_kept_wants(&k, m));
    remote_kept_reset(&k, on_drop, NULL);
    message_unref(&m);
}

/* As many as are wanted, all read; how many. */
static uint64_t keep_all_wanted(struct remote_kept *k, struct message *m, uint64_t copies)
{
    uint64_t before = copies;
    while (remote_kept_wants(k, m)) {
        remote_kept_add(k, m, ++copies);
        remote_kept_taken(k, copies, on_drop, NULL);
    }
    return copies - before;
}

Test(remote_kept, the_eldest_stay_when_it_is_full)
{
    struct remote_kept k;
    struct message *m = message(40000);
    remote_kept_init(&k);
    uint64_t each = octets(40000);
    uint64_t fit = keep_all_wanted(&k, m, 0);
    cr_expect(eq(u64, fit, REMOTE_KEPT_BYTES / each));
    cr_expect(eq(u64, k.live, fit * each));
    cr_expect(eq(sz, found_bytes(&k, each), 40000));
    cr_expect(not(remote_kept_wants(&k, m)), "it was found, and is kept still");
    remote_kept_drop_found(&k, on_drop, NULL);
    cr_expect(eq(u64, keep_all_wanted(&k, m, fit), 1));
    for (uint64_t i = 2; i <= fit + 1; i++) {
        cr_expect(eq(sz, found_bytes(&k, i * each), 40000));
        remote_kept_drop_found(&k, on_drop, NULL);
    }
    cr_expect(eq(u64, k.live, 0));
    cr_expect(eq(u64, keep_all_wanted(&k, m, fit + 1), fit));
    remote_kept_reset(&k, on_drop, NULL);
    cr_expect(eq(u64, k.live, 0));
    message_unref(&m);
}

Test(remote_kept, what_nobody_names_does_not_stay_for_good)
{
    struct remote_kept k;
    struct message *m = message(40000);
    remote_kept_init(&k);
    uint64_t each = octets(40000), passed_by = 0;
    uint64_t fit = keep_all_wanted(&k, m, 0);
    while (!remote_kept_wants(&k, m))
        passed_by += each;
    cr_expect(ge(u64, passed_by + each, REMOTE_KEPT_PATIENCE));
    uint64_t copies = fit;
    for (uint64_t i = 0; i < 3 * fit; i++) {
        cr_assert(remote_kept_wants(&k, m));
        remote_kept_add(&k, m, ++copies);
        remote_kept_taken(&k, copies, on_drop, NULL);
    }
    cr_expect(le(u64, k.live, REMOTE_KEPT_BYTES + each));
    cr_expect(eq(sz, found_bytes(&k, each), 0));
    cr_expect(eq(sz, found_bytes(&k, copies * each), 40000));
    remote_kept_reset(&k, on_drop, NULL);
    message_unref(&m);
}

Test(remote_kept, what_lags_behind_those_that_are_named_is_pushed_out)
{
    struct remote_kept k;
    struct message *m = message(40000);
    remote_kept_init(&k);
    uint64_t each = octets(40000);
    uint64_t fit = keep_all_wanted(&k, m, 0);
    uint64_t near = REMOTE_KEPT_LAG / each;
    cr_expect(eq(sz, found_bytes(&k, near * each), 40000));
    cr_expect(not(remote_kept_wants(&k, m)));
    cr_expect(eq(sz, found_bytes(&k, (near + 2) * each), 40000));
    cr_expect(remote_kept_wants(&k, m));
    cr_expect(gt(u64, keep_all_wanted(&k, m, fit), 0));
    cr_expect(eq(sz, found_bytes(&k, each), 0));
    cr_expect(le(u64, k.live, REMOTE_KEPT_BYTES + each));
    remote_kept_reset(&k, on_drop, NULL);
    message_unref(&m);
}

Test(remote_kept, what_is_named_counts_nothing_on_its_way_back)
{
    struct message *plain = message(20000);
    struct message *kept = message_new_kept(slice_str(""), slice_str("q"), message_props(plain),
                                            message_body(plain), false, SESSION, 20000);
    cr_expect(eq(u32, remote_kept_bytes_back(plain, SESSION), 20000));
    cr_expect(eq(u32, remote_kept_bytes_back(kept, SESSION), 0));
    cr_expect(eq(u32, remote_kept_bytes_back(kept, SESSION + 1), 20000), "a session of others");
    message_set_kept_by(kept, 0);
    cr_expect(eq(u32, remote_kept_bytes_back(kept, SESSION), 20000), "it was named already");
    message_unref(&plain);
    message_unref(&kept);
}

/* ---- both sides -------------------------------------------------------------------------------
 */

static void publish_one(struct world *w, const struct port_channel_ref *from, uint64_t id,
                        size_t body_bytes)
{
    uint8_t *body = mem_zalloc(body_bytes);
    memcpy(body, &id, sizeof id);
    struct message *m =
        message_new(slice_str(""), slice_str("q"), slice_of(no_props, sizeof no_props),
                    slice_of(body, body_bytes), false);
    mem_free(body);
    remote_client_publish(w->client, QID, &m, from, 0);
    remote_client_published(w->client);
}

/* The eldest that the queue has, to the consumer over there. */
static struct message *hand_out(struct world *w, uint64_t qseq, bool auto_ack)
{
    struct message *m = w->held[0];
    cr_assert(gt(uint, w->held_count, 0));
    cr_assert(remote_server_deliver(w->server,
                                    &(struct remote_delivery){ .qid = QID,
                                                               .qseq = qseq,
                                                               .consumer = CONSUMER,
                                                               .where = WHERE,
                                                               .bytes = m->body_bytes,
                                                               .auto_ack = auto_ack },
                                    m));
    return m;
}

static void forget_eldest(struct world *w)
{
    message_unref(&w->held[0]);
    memmove(w->held, w->held + 1, --w->held_count * sizeof w->held[0]);
}

static size_t bytes_back(struct world *w)
{
    remote_server_flush(w->server);
    size_t bytes = 0;
    for (unsigned i = w->back.first; i < w->back.count; i++)
        bytes += w->back.blocks[i]->len_bytes;
    return bytes;
}

static struct world *open_with_consumer(void)
{
    struct world *w = open_world();
    w->holds = true;
    consume(w, CONSUMER, true);
    return w;
}

Test(remote_kept, what_comes_back_travels_but_once)
{
    struct world *w = open_with_consumer();
    publish_one(w, &me, 77, 20000);
    settle_down(w);
    (void)hand_out(w, 1, true);
    cr_expect(lt(sz, bytes_back(w), 200));
    settle_down(w);
    cr_expect(eq(int, last(w)->kind, OFFERED));
    cr_expect(eq(u32, last(w)->count, 20000));
    cr_expect(eq(u64, w->last_offered, 77));
    cr_expect(eq(uint, w->returned, 1));
    cr_expect(eq(sz, w->client->kept.items.count, 0));
    close_world(w);
}

Test(remote_kept, without_a_consumer_nothing_is_kept)
{
    struct world *w = open_with_consumer();
    remote_client_abandon(w->client, QID, CONSUMER);
    publish_one(w, &me, 77, 20000);
    settle_down(w);
    cr_expect(eq(sz, w->client->kept.items.count, 0));
    consume(w, CONSUMER, true);
    (void)hand_out(w, 1, true);
    cr_expect(gt(sz, bytes_back(w), 20000));
    settle_down(w);
    cr_expect(eq(u64, w->last_offered, 77));
    close_world(w);
}

Test(remote_kept, one_that_was_sent_back_is_named_again)
{
    struct world *w = open_with_consumer();
    publish_one(w, &me, 77, 20000);
    settle_down(w);
    w->refuses = true;
    (void)hand_out(w, 1, false);
    settle_down(w);
    cr_expect(eq(uint, w->refused, 1));
    w->refuses = false;
    remote_client_wake(w->client, CONSUMER, PORT_ANY);
    settle_down(w);
    (void)hand_out(w, 1, false);
    cr_expect(lt(sz, bytes_back(w), 200));
    settle_down(w);
    cr_expect(eq(u64, w->last_offered, 77));
    /* Its channel has it now: if it returns to its queue, nobody keeps it. */
    (void)hand_out(w, 1, false);
    cr_expect(gt(sz, bytes_back(w), 20000));
    settle_down(w);
    cr_expect(eq(uint, how_many(w, OFFERED), 2));
    close_world(w);
}

Test(remote_kept, one_for_many_queues_is_not_kept)
{
    struct world *w = open_with_consumer();
    struct message *m = message(20000), *again = message_ref(m);
    remote_client_publish(w->client, QID, &m, &me, 0);
    remote_client_publish(w->client, QID + 1, &again, &me, 0);
    remote_client_published(w->client);
    settle_down(w);
    cr_expect(eq(uint, w->held_count, 2));
    cr_expect(eq(sz, w->client->kept.items.count, 0));
    close_world(w);
}

Test(remote_kept, what_waits_behind_a_large_content_is_not_kept)
{
    struct world *w = open_with_consumer();
    publish_one(w, &me, 1, 3 * REMOTE_PARTS_BYTES);
    publish_one(w, &me, 2, 20000);
    publish_one(w, &other, 3, 30000);
    cr_expect(eq(sz, w->client->kept.items.count, 1));
    settle_down(w);
    cr_expect(eq(uint, w->held_count, 3));
    for (unsigned i = 0; i < 3; i++) {
        (void)hand_out(w, i + 1, true);
        settle_down(w);
        forget_eldest(w);
    }
    cr_expect(eq(uint, how_many(w, OFFERED), 3));
    cr_expect(eq(sz, w->client->kept.items.count, 0));
    close_world(w);
}

/* What others say overtakes it, that all of it was read among this. */
Test(remote_kept, what_comes_back_behind_a_large_content_is_not_named)
{
    struct world *w = open_with_consumer();
    publish_one(w, &me, 1, 3 * REMOTE_PARTS_BYTES);
    settle_down(w);
    publish_one(w, &me, 2, 20000);
    settle_down(w);
    (void)hand_out(w, 1, true);
    forget_eldest(w);
    uint64_t as;
    cr_expect(message_is_kept(w->held[0], w->server->id, &as));
    (void)hand_out(w, 2, true);
    cr_expect(message_is_kept(w->held[0], w->server->id, &as));
    settle_down(w);
    cr_expect(eq(u64, w->last_offered, 2));
    close_world(w);
}

Test(remote_kept, what_has_too_much_behind_it_is_not_named)
{
    struct world *w = open_with_consumer();
    uint64_t each = octets(47000);
    uint64_t fit = REMOTE_KEPT_BYTES / each, as;
    w->client->kept.passed_by = REMOTE_KEPT_PATIENCE; /* all of it is kept, the last ones, too */
    for (uint64_t i = 0; i < fit + 2; i++) {
        publish_one(w, &me, i, 47000);
        settle_down(w);
    }
    (void)hand_out(w, 1, true);
    cr_expect(gt(sz, bytes_back(w), 47000));
    settle_down(w);
    cr_expect(eq(u64, w->last_offered, 0));
    forget_eldest(w);
    (void)hand_out(w, 2, true);
    cr_expect(lt(sz, bytes_back(w), 200));
    cr_expect(not(message_is_kept(w->held[0], w->server->id, &as)));
    settle_down(w);
    cr_expect(eq(u64, w->last_offered, 1));
    close_world(w);
}

/* Each is three times as much behind the next one that comes back as is kept. */
Test(remote_kept, of_a_long_queue_some_are_named)
{
    struct world *w = open_with_consumer();
    uint64_t each = octets(47000);
    uint64_t fit = REMOTE_KEPT_BYTES / each, published = 0, named = 0;
    for (; published < 3 * fit; published++) {
        publish_one(w, &me, published, 47000);
        settle_down(w);
    }
    for (uint64_t i = 0; i < 6 * fit; i++) {
        (void)hand_out(w, i + 1, true);
        named += bytes_back(w) < 200;
        settle_down(w);
        cr_assert(eq(u64, w->last_offered, i));
        forget_eldest(w);
        publish_one(w, &me, published++, 47000);
        settle_down(w);
        w->event_count = 0;
    }
    cr_expect(ge(u64, named, 2 * fit - 1));
    close_world(w);
}

Test(remote_kept, a_name_that_nobody_has_ends_the_session)
{
    struct world *w = open_with_consumer();
    publish_one(w, &me, 77, 20000);
    settle_down(w);
    struct message *m = hand_out(w, 1, true);
    settle_down(w);
    message_set_kept_by(m, w->server->id);
    (void)hand_out(w, 2, true);
    remote_server_flush(w->server);
    bool more;
    struct buf *b = next_frame(&w->back, &more);
    cr_expect(not(remote_client_take(w->client, buf_slice(b))));
    buf_unref(&b);
    close_world(w);
}

Test(remote_kept, another_life_knows_nothing_of_it)
{
    struct world *w = open_with_consumer();
    publish_one(w, &me, 77, 20000);
    settle_down(w);
    (void)hand_out(w, 1, true);
    remote_client_lost(w->client);
    cr_expect(eq(sz, w->client->kept.items.count, 0));
    forget_frames(&w->back);
    remote_server_lost(w->server);
    uint64_t as;
    cr_expect(not(message_is_kept(w->held[0], w->server->id + 1, &as)));
    close_world(w);
}

/* Whatever travels in which order, each is offered once, in order, as it was published. */
Test(remote_kept, all_arrive_as_they_were, .timeout = 300)
{
    struct rng rng;
    rng_init(&rng, 20261128);
    struct world *w = open_with_consumer();
    uint64_t published = 0, delivered = 0;
    unsigned named = 0;
    bool is_under_way = false;
    for (unsigned step = 0; step < 30000; step++) {
        w->refuses = rng_chance(&rng, 200);
        w->back.full = rng_chance(&rng, 100);
        if (!w->back.full)
            remote_server_on_room(w->server);
        if (w->held_count < 400 && rng_chance(&rng, 800))
            publish_one(w, rng_chance(&rng, 500) ? &me : &other, published++,
                        rng_chance(&rng, 5) ? 60000 : 100 + (size_t)rng_below(&rng, 47000));
        if (rng_chance(&rng, 500))
            (void)turn(w);
        if (!is_under_way && w->held_count != 0) {
            uint64_t as;
            named += message_is_kept(w->held[0], w->server->id, &as);
            w->returned = w->refused = 0;
            is_under_way = true;
            (void)hand_out(w, delivered + 1, true);
        }
        if (is_under_way && w->returned == 1) {
            is_under_way = false;
            if (w->refused == 1)
                continue;
            uint64_t id;
            memcpy(&id,
                   message_is_in_parts(w->held[0]) ? message_more(w->held[0])->parts[0]->data
                                                   : message_body(w->held[0]).ptr,
                   sizeof id);
            if (!message_is_in_parts(w->held[0]))
                cr_assert(eq(u64, w->last_offered, id));
            forget_eldest(w);
            delivered++;
        }
        w->event_count = 0;
    }
    cr_expect(gt(u64, delivered, 1000));
    cr_expect(gt(uint, named, 1000));
    w->back.full = false;
    w->refuses = false;
    remote_server_on_room(w->server);
    settle_down(w);
    close_world(w);
}
