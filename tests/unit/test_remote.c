#include "base/rng.h"
#include "remote_world.h"

/* ---- publishing -------------------------------------------------------------------------------
 */

static void publish(struct world *w, const struct port_channel_ref *from, uint64_t number,
                    size_t body_bytes)
{
    struct message *m = message(body_bytes);
    remote_client_publish(w->client, QID, &m, from, number);
    remote_client_published(w->client);
}

Test(remote, a_publish_that_is_taken_at_once_is_confirmed)
{
    struct world *w = open_world();
    publish(w, &me, 1, 10);
    settle_down(w);
    cr_expect(eq(uint, w->messages, 1));
    cr_assert(eq(uint, w->event_count, 2));
    cr_expect(eq(int, w->events[0].kind, TAKEN));
    cr_expect(eq(u64, w->events[0].a, me.connection));
    cr_expect(eq(int, w->events[1].kind, PUBLISHED));
    cr_expect(eq(u64, w->events[1].a, 1));
    close_world(w);
}

Test(remote, what_nobody_waits_for_is_not_answered)
{
    struct world *w = open_world();
    publish(w, &me, 0, 10);
    publish(w, &me, 0, 10);
    settle_down(w);
    cr_expect(eq(u64, w->last_number, 0));
    cr_expect(eq(uint, how_many(w, TAKEN), 1)); /* both in one */
    cr_expect(eq(uint, how_many(w, PUBLISHED), 0));
    close_world(w);
}

Test(remote, confirms_of_a_channel_come_together)
{
    struct world *w = open_world();
    for (uint64_t n = 1; n <= 100; n++)
        publish(w, &me, n, 10);
    settle_down(w);
    cr_expect(eq(uint, how_many(w, PUBLISHED), 1));
    cr_expect(eq(int, last(w)->kind, PUBLISHED));
    cr_expect(eq(u64, last(w)->a, 1));
    cr_expect(eq(u32, last(w)->count, 100));
    close_world(w);
}

/* A large one travels in parts, and others overtake it: who is confirmed is who arrived. */
Test(remote, confirms_are_of_what_arrived)
{
    struct world *w = open_world();
    w->waits = true;
    publish(w, &me, 1, 3u << 20);
    publish(w, &me, 2, 10);
    publish(w, &other, 7, 10);
    while (w->messages == 0)
        cr_assert(turn(w));
    cr_assert(eq(uint, w->messages, 1));
    remote_server_on_durable(w->server, w->waiting[0], 1);
    while (how_many(w, PUBLISHED) == 0)
        cr_assert(turn(w));
    cr_expect(eq(u64, last(w)->a, 7));
    settle_down(w);
    cr_assert(eq(uint, w->messages, 3));
    remote_server_on_durable(w->server, w->waiting[2], 1);
    settle_down(w);
    cr_expect(eq(u64, last(w)->a, 2));
    remote_client_lost(w->client);
    cr_expect(eq(uint, how_many(w, NACKED), 1));
    cr_expect(eq(u64, last(w)->a, 1));
    close_world(w);
}

/* Those that have not left yet are not going to be confirmed either. */
Test(remote, what_waits_behind_a_large_one_is_lost_with_the_session)
{
    struct world *w = open_world();
    publish(w, &me, 1, 3u << 20);
    publish(w, &me, 2, 10);
    publish(w, &other, 1, 3u << 20);
    remote_client_flush(w->client);
    remote_client_lost(w->client);
    unsigned lost = 0;
    for (unsigned i = 0; i < w->event_count; i++)
        lost += w->events[i].kind == NACKED ? w->events[i].count : 0;
    cr_expect(eq(uint, lost, 3));
    close_world(w);
}

Test(remote, what_waits_for_the_disk_is_told_when_it_is_safe)
{
    struct world *w = open_world();
    w->waits = true;
    for (uint64_t n = 1; n <= 4; n++)
        publish(w, &me, n, 10);
    settle_down(w);
    cr_expect(eq(uint, how_many(w, PUBLISHED), 0));
    cr_expect(eq(uint, how_many(w, TAKEN), 1)); /* but it may go on */
    remote_server_on_durable(w->server, 3, 2);
    settle_down(w);
    cr_expect(eq(u64, last(w)->a, 3));
    cr_expect(eq(u32, last(w)->count, 2));
    remote_server_on_durable(w->server, 1, 2);
    settle_down(w);
    cr_expect(eq(u64, last(w)->a, 1));
    cr_expect(eq(u32, last(w)->count, 2));
    cr_expect(eq(uint, how_many(w, PUBLISHED), 2));
    close_world(w);
}

Test(remote, one_that_a_queue_refuses_is_refused)
{
    struct world *w = open_world();
    publish(w, &me, 1, 10);
    settle_down(w);
    w->published = PORT_REFUSED;
    publish(w, &me, 2, 10);
    publish(w, &other, 1, 10);
    settle_down(w);
    cr_expect(eq(uint, how_many(w, NACKED), 2));
    w->published = PORT_TAKEN;
    publish(w, &me, 3, 10);
    settle_down(w);
    cr_expect(eq(int, last(w)->kind, PUBLISHED));
    cr_expect(eq(u64, last(w)->a, 3));
    close_world(w);
}

Test(remote, what_is_on_its_way_to_another_shard_is_charged_until_it_is_there)
{
    struct world *w = open_world();
    w->published = PORT_LATER;
    publish(w, &me, 1, 1000);
    settle_down(w);
    cr_expect(eq(uint, w->event_count, 0));
    remote_server_on_taken(w->server, 1);
    settle_down(w);
    cr_expect(eq(int, last(w)->kind, TAKEN));
    cr_expect(gt(u64, last(w)->b, 1000));
    remote_server_on_published(w->server, 1, true);
    settle_down(w);
    cr_expect(eq(int, last(w)->kind, PUBLISHED));
    close_world(w);
}

Test(remote, publishers_wait_while_the_other_side_is_short)
{
    struct world *w = open_world();
    w->is_short = true;
    publish(w, &me, 1, 1000);
    settle_down(w);
    cr_expect(eq(uint, how_many(w, PUBLISHED), 1)); /* it is safe all the same */
    cr_expect(eq(uint, how_many(w, TAKEN), 0));
    w->is_short = false;
    remote_server_go_on(w->server);
    settle_down(w);
    cr_expect(eq(uint, how_many(w, TAKEN), 1));
    close_world(w);
}

Test(remote, a_message_for_many_queues_travels_once)
{
    struct world *w = open_world();
    struct message *m = message(1000);
    for (unsigned i = 0; i < 5000; i++) {
        struct message *one = message_ref(m);
        remote_client_publish(w->client, QID + i, &one, &me, 8);
    }
    remote_client_published(w->client);
    message_unref(&m);
    remote_client_flush(w->client);
    size_t bytes = 0;
    for (unsigned i = 0; i < w->there.count; i++)
        bytes += w->there.blocks[i]->len_bytes;
    cr_expect(lt(sz, bytes, 5000 * 8 + 2 * 1100));
    settle_down(w);
    cr_expect(eq(uint, w->messages, 5000));
    unsigned copies = 0;
    for (unsigned i = 0; i < w->event_count; i++) {
        if (w->events[i].kind == PUBLISHED)
            copies += (unsigned)w->events[i].b;
    }
    cr_expect(eq(uint, copies, 5000));
    close_world(w);
}

Test(remote, a_large_message_does_not_hold_up_another_channel)
{
    struct world *w = open_world();
    publish(w, &me, 1, 20u << 20);
    publish(w, &me, 2, 1);
    publish(w, &other, 1, 2);
    settle_down(w);
    cr_expect(eq(uint, w->messages, 3));
    cr_expect(eq(sz, w->last_body, 1));
    cr_expect(eq(uint, how_many(w, PUBLISHED), 2)); /* the other one, then both of this one */
    cr_expect(eq(u32, last(w)->count, 2));
    close_world(w);
}

/* ---- requests and deliveries ------------------------------------------------------------------
 */

Test(remote, a_request_is_answered)
{
    struct world *w = open_world();
    ask_for(w, PORT_COUNT, 0, false);
    w->asked->request.messages = 7;
    w->asked->request.consumers = 2;
    give_answer(w, PORT_OK);
    cr_expect(eq(u64, w->answer.messages, 7));
    cr_expect(eq(u32, w->answer.consumers, 2));
    w->is_gone = true;
    ask_for(w, PORT_COUNT, 0, false);
    cr_expect(eq(int, w->answer.verdict, PORT_NO_QUEUE));
    close_world(w);
}

Test(remote, a_publish_stays_before_the_request_that_follows_it)
{
    struct world *w = open_world();
    publish(w, &me, 1, 3u << 20);
    struct port_request *r = mem_zalloc(sizeof *r);
    *r = (struct port_request){ .op = PORT_PURGE, .qid = QID, .from = me };
    remote_client_ask(w->client, &r);
    while (w->asked == NULL)
        cr_assert(turn(w));
    cr_expect(eq(uint, w->messages, 1));
    give_answer(w, PORT_OK);
    close_world(w);
}

Test(remote, deliveries_are_settled_by_their_tags)
{
    struct world *w = open_world();
    consume(w, 4, false);
    for (uint64_t qseq = 11; qseq <= 15; qseq++)
        cr_expect(deliver(w, 4, qseq, false, 10));
    settle_down(w);
    cr_expect(eq(uint, how_many(w, OFFERED), 5));
    cr_expect(eq(uint, w->returned, 5));
    cr_expect(eq(uint, w->refused, 0));
    remote_client_settle(w->client, 1, PORT_ACK);
    remote_client_settle(w->client, 2, PORT_ACK);
    remote_client_settle(w->client, 4, PORT_DROP);
    remote_client_settle(w->client, 5, PORT_REQUEUE);
    remote_client_settle(w->client, 3, PORT_REQUEUE_SEEN);
    settle_down(w);
    expect_text(w->settled, "a11 a12 d14 r15 s13");
    cr_expect(eq(u64, w->settled_known, 1013), "when it was handed out");
    remote_client_settle(w->client, 1, PORT_ACK);
    remote_client_settle(w->client, 77, PORT_ACK);
    settle_down(w);
    expect_text(w->settled, "a11 a12 d14 r15 s13");
    close_world(w);
}

Test(remote, what_a_channel_does_not_take_goes_back)
{
    struct world *w = open_world();
    consume(w, 4, false);
    w->refuses = true;
    for (uint64_t qseq = 1; qseq <= 5; qseq++)
        cr_expect(deliver(w, 4, qseq, false, 10));
    settle_down(w);
    cr_expect(eq(uint, w->returned, 5));
    cr_expect(eq(uint, w->refused, 5));
    remote_client_wake(w->client, 4, 30);
    settle_down(w);
    cr_expect(eq(u32, w->woken, 30));
    w->refuses = false;
    remote_server_on_resumed(w->server, 4);
    cr_expect(deliver(w, 4, 1, false, 10));
    remote_server_on_served(w->server, 4);
    settle_down(w);
    cr_expect(eq(int, w->events[w->event_count - 3].kind, RESUMED));
    cr_expect(eq(int, w->events[w->event_count - 2].kind, OFFERED));
    cr_expect(eq(int, last(w)->kind, SERVED));
    cr_expect(eq(u64, w->server->under_way_bytes, 0));
    close_world(w);
}

/* A full link: queues keep what they have, and are told when there is room. */
Test(remote, a_full_link_turns_deliveries_away)
{
    struct world *w = open_world();
    consume(w, 4, true);
    w->back.full = true;
    uint64_t qseq = 0;
    while (deliver(w, 4, qseq + 1, true, 40000))
        qseq++;
    cr_expect(gt(u64, qseq, 100));
    cr_expect(lt(sz, remote_outbox_waiting(&w->server->out), 10u << 20));
    cr_expect(not(deliver(w, 4, qseq + 2, true, 1)));
    settle_down(w);
    cr_expect(eq(u32, w->woken, 0));
    w->back.full = false;
    remote_server_on_room(w->server);
    cr_expect(eq(u32, w->woken, 0)); /* not before what is under way is answered */
    settle_down(w);
    cr_expect(eq(u32, w->woken, PORT_ANY));
    cr_expect(eq(uint, w->returned, (unsigned)qseq));
    cr_expect(deliver(w, 4, qseq + 1, true, 40000));
    close_world(w);
}

Test(remote, one_whose_channel_refused_is_woken_by_that_channel_alone)
{
    struct world *w = open_world();
    consume(w, 4, true);
    w->back.full = true;
    for (uint64_t qseq = 1; deliver(w, 4, qseq, true, 40000); qseq++)
        ;
    w->refuses = true;
    w->back.full = false;
    remote_server_on_room(w->server);
    settle_down(w);
    cr_expect(eq(u32, w->woken, 0));
    w->refuses = false;
    remote_client_wake(w->client, 4, 7);
    settle_down(w);
    cr_expect(eq(u32, w->woken, 7));
    cr_expect(deliver(w, 4, 1, true, 40000));
    settle_down(w);
    close_world(w);
}

static void carry_back_one(struct world *w)
{
    bool more;
    struct buf *b = next_frame(&w->back, &more);
    cr_assert(b != NULL);
    cr_assert(remote_client_take(w->client, buf_slice(b)));
    buf_unref(&b);
}

/* What was on its way when the channel woke it comes back refused, too; it is no other refusal. */
Test(remote, one_that_was_resumed_refuses_no_more)
{
    struct world *w = open_world();
    consume(w, 4, true);
    for (uint64_t qseq = 1; qseq <= 2; qseq++) {
        cr_expect(deliver(w, 4, qseq, true, 10));
        remote_server_flush(w->server);
    }
    w->refuses = true;
    carry_back_one(w);
    remote_client_wake(w->client, 4, PORT_ANY);
    carry_back_one(w);
    settle_down(w);
    remote_server_on_resumed(w->server, 4);
    w->refuses = false;
    w->back.full = true;
    w->woken = 0;
    for (uint64_t qseq = 1; deliver(w, 4, qseq, true, 40000); qseq++)
        ;
    w->back.full = false;
    remote_server_on_room(w->server);
    settle_down(w);
    cr_expect(eq(u32, w->woken, PORT_ANY));
    close_world(w);
}

/* A large delivery comes late; what its consumer gets behind it still comes behind it. */
Test(remote, large_deliveries_keep_their_consumers_order)
{
    struct world *w = open_world();
    consume(w, 4, false);
    ask_for(w, PORT_CONSUME, 5, true);
    w->asked->channel = other;
    give_answer(w, PORT_OK);
    deliver(w, 4, 1, false, 5u << 20);
    deliver(w, 4, 2, false, 1);
    deliver(w, 4, 3, true, 1);
    settle_down(w);
    cr_expect(eq(uint, how_many(w, OFFERED), 3));
    cr_expect(eq(u32, w->events[w->event_count - 3].count, 5u << 20));
    cr_expect(eq(u64, last(w)->b, 3));
    cr_expect(eq(uint, w->returned, 3));
    cr_expect(eq(sz, w->server->under_way.count, 0));
    close_world(w);
}

Test(remote, a_get_brings_its_message_and_its_tag)
{
    struct world *w = open_world();
    ask_for(w, PORT_GET, 0, false);
    w->asked->request.message = message(70000);
    w->asked->request.qseq = 9;
    w->asked->request.known = 77;
    w->asked->request.redelivered = true;
    give_answer(w, PORT_OK);
    cr_expect(eq(int, last(w)->kind, ANSWERED));
    cr_expect(w->answer.redelivered);
    cr_expect(eq(u64, w->answer.qseq, 1));
    remote_client_settle(w->client, 1, PORT_ACK);
    settle_down(w);
    expect_text(w->settled, "a9");
    cr_expect(eq(u64, w->settled_known, 77));
    close_world(w);
}

Test(remote, a_consumer_that_is_cancelled_gets_nothing_more)
{
    struct world *w = open_world();
    consume(w, 4, false);
    deliver(w, 4, 1, false, 1);
    remote_server_on_cancelled(w->server, 4);
    settle_down(w);
    cr_expect(eq(int, last(w)->kind, CANCELLED));
    cr_expect(not(deliver(w, 4, 2, false, 1)));
    close_world(w);
}

Test(remote, an_abandoned_consumers_deliveries_go_back)
{
    struct world *w = open_world();
    consume(w, 4, false);
    deliver(w, 4, 1, false, 1);
    remote_client_abandon(w->client, QID, 4);
    settle_down(w);
    cr_expect(eq(uint, w->abandoned, 1));
    cr_expect(eq(uint, w->refused, 1));
    close_world(w);
}

/* ---- direct reply-to --------------------------------------------------------------------------
 */

Test(remote, replies_reach_the_other_node)
{
    struct world *w = open_world();
    struct reply_address to = { .channel = { 5, 6, 9 } };
    struct message *m = message(100000);
    w->reply_now = true;
    remote_client_reply(w->client, &to, m, &me);
    message_unref(&m);
    settle_down(w);
    cr_expect(eq(sz, w->last_body, 100000));
    cr_expect(eq(int, last(w)->kind, TAKEN));
    remote_client_reply_ask(w->client, &to, &me);
    settle_down(w);
    cr_expect(eq(int, last(w)->kind, KNOWN));
    cr_expect(eq(u64, last(w)->a, 1));
    close_world(w);
}

/* ---- the end ----------------------------------------------------------------------------------
 */

Test(remote, a_client_that_loses_the_other_side_tells_everybody)
{
    struct world *w = open_world();
    consume(w, 4, false);
    w->waits = true;
    publish(w, &me, 1, 10);
    publish(w, &me, 2, 10);
    settle_down(w);
    struct port_request *r = mem_zalloc(sizeof *r);
    *r = (struct port_request){ .op = PORT_GET, .qid = QID, .from = me };
    remote_client_ask(w->client, &r);
    publish(w, &other, 9, 5u << 20);
    struct reply_address to = { .channel = { 5, 6, 9 } };
    remote_client_reply_ask(w->client, &to, &me);
    uint16_t life = w->client->life;
    w->event_count = 0;
    remote_client_lost(w->client);
    cr_expect(ne(int, w->client->life, life));
    cr_expect(eq(uint, how_many(w, NACKED), 2)); /* 1 and 2; 9 */
    cr_expect(eq(uint, how_many(w, TAKEN), 1));
    cr_expect(eq(uint, how_many(w, ANSWERED), 1));
    cr_expect(eq(int, w->answer.verdict, PORT_NODE_DOWN));
    cr_expect(eq(uint, how_many(w, CONSUMER_MOVED), 1));
    cr_expect(eq(uint, how_many(w, KNOWN), 1));
    cr_expect(eq(sz, w->client->charges.count + w->client->awaited.count, 0));
    forget_frames(&w->there);
    close_world(w);
}

static void on_waiting(void *arg, uint64_t connection)
{
    ((uint64_t *)arg)[0] += connection == me.connection;
    ((uint64_t *)arg)[1] += connection == 0;
}

static uint64_t waiting(const struct world *w)
{
    uint64_t seen[2] = { 0 };
    remote_client_each_waiting(w->client, on_waiting, seen);
    cr_expect(zero(u64, seen[1]), "nobody's");
    return seen[0];
}

Test(remote, who_waits_for_the_other_side_is_known)
{
    struct world *w = open_world();
    static const struct port_channel_ref nobody = { 0 };
    publish(w, &nobody, 1, 10);
    cr_expect(zero(u64, waiting(w)), "a dead letter");
    publish(w, &me, 0, 10);
    cr_expect(ne(u64, waiting(w), 0), "not taken yet");
    settle_down(w);
    cr_expect(zero(u64, waiting(w)));
    w->waits = true;
    publish(w, &me, 1, 10);
    settle_down(w);
    cr_expect(eq(u64, waiting(w), 1), "not confirmed yet");
    remote_server_on_durable(w->server, 2, 1);
    settle_down(w);
    cr_expect(zero(u64, waiting(w)));
    consume(w, 4, false);
    cr_expect(zero(u64, waiting(w)), "a consumer has its answer");
    struct port_request *r = mem_zalloc(sizeof *r);
    *r = (struct port_request){ .op = PORT_GET, .qid = QID, .from = me };
    remote_client_ask(w->client, &r);
    cr_expect(eq(u64, waiting(w), 1));
    remote_client_lost(w->client);
    cr_expect(zero(u64, waiting(w)));
    forget_frames(&w->there);
    close_world(w);
}

Test(remote, a_server_that_loses_the_other_side_gives_all_back)
{
    struct world *w = open_world();
    consume(w, 4, false);
    for (uint64_t qseq = 1; qseq <= 3; qseq++)
        deliver(w, 4, qseq, false, 10);
    settle_down(w);
    w->returned = 0;
    deliver(w, 4, 4, false, 10);
    deliver(w, 4, 5, true, 10);
    ask_for(w, PORT_DELETE, 0, false);
    w->returned = w->refused = 0;
    deliver(w, 4, 6, false, 10);
    deliver(w, 4, 7, true, 10);
    give_answer(w, PORT_OK);
    w->returned = w->refused = 0;
    deliver(w, 4, 8, false, 10);
    deliver(w, 4, 9, true, 10);
    remote_server_lost(w->server);
    cr_expect(eq(uint, w->abandoned, 1));
    cr_expect(eq(uint, w->returned, 2));
    cr_expect(eq(uint, w->refused, 1)); /* the one without acknowledgement counts as delivered */
    cr_expect(eq(uint, w->given_back, 5));
    cr_expect(eq(uint, w->deleted, 1));
    remote_server_on_durable(w->server, 1, 1); /* late: no effect */
    remote_server_on_published(w->server, 1, true);
    close_world(w);
}

Test(remote, promises_that_were_kept_are_forgotten)
{
    struct world *w = open_world();
    ask_for(w, PORT_DELETE, 0, false);
    give_answer(w, PORT_OK);
    w->is_gone = true;
    remote_server_lost(w->server);
    cr_expect(eq(uint, w->deleted, 0));
    close_world(w);
}

/* ---- everything at once -----------------------------------------------------------------------
 */

/* Channels publish and the queue hands out at random, with large ones among them and the link full
 * now and then: all is answered once and in order. */
Test(remote, keeps_count_of_everything, .timeout = 300)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct world *w = open_world();
        struct rng rng;
        rng_init(&rng, seed);
        consume(w, 4, false);
        w->event_count = 0;
        w->returned = 0;
        uint64_t published_count = 0, delivered = 0;
        for (unsigned step = 0; step < 300; step++) {
            uint64_t n = rng_u64(&rng);
            size_t bytes = n % 16 == 0 ? 200000 + (size_t)(n % 1000) : (size_t)(n % 3000);
            w->waits = (n & 64) != 0;
            w->there.full = (n & 0x700) == 0;
            w->back.full = (n & 0x3800) == 0;
            if ((n & 128) != 0)
                publish(w, &me, ++published_count, bytes);
            else
                cr_assert(deliver(w, 4, ++delivered, (n & 256) != 0, bytes));
            if ((n >> 20) % 4 == 0)
                turn(w);
            if (!w->there.full)
                remote_outbox_on_room(&w->client->out);
            if (!w->back.full)
                remote_server_on_room(w->server);
        }
        w->there.full = w->back.full = false;
        remote_outbox_on_room(&w->client->out);
        remote_outbox_on_room(&w->server->out);
        settle_down(w);
        for (unsigned i = 0; i < w->waiting_count; i++)
            remote_server_on_durable(w->server, w->waiting[i], 1);
        settle_down(w);
        cr_expect(eq(uint, w->returned, (unsigned)delivered), "seed %u", (unsigned)seed);
        uint64_t tag = 0, told = 0;
        for (unsigned i = 0; i < w->event_count; i++) {
            if (w->events[i].kind == OFFERED)
                cr_expect(eq(u64, w->events[i].b, ++tag), "seed %u", (unsigned)seed);
            if (w->events[i].kind == PUBLISHED)
                told += w->events[i].count;
        }
        cr_expect(eq(u64, tag, delivered), "seed %u", (unsigned)seed);
        cr_expect(eq(u64, told, published_count), "seed %u", (unsigned)seed);
        cr_expect(eq(sz, w->client->charges.count, 0));
        close_world(w);
    }
}
