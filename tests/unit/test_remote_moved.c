/* Mirrored queues of other nodes, whose master may be another one. */
#include "remote_world.h"

static const struct port_channel_ref lane = { .connection = 1ull << 48 | 99 };

static void publish_from(struct world *w, uint64_t ticket, uint64_t seq, uint64_t epoch,
                         size_t body_bytes)
{
    struct message *m = message(body_bytes);
    struct port_origin origin = { .pid = 77, .seq = seq, .epoch = epoch };
    remote_client_publish_from(w->client, QID, &m, &lane, ticket, &origin, me.connection);
    remote_client_published(w->client);
}

Test(remote_moved, a_publish_to_a_mirrored_queue_comes_with_its_numbers)
{
    struct world *w = open_world();
    publish_from(w, 5, 9, 30, 10);
    settle_down(w);
    cr_expect(eq(u64, w->last_qid, QID));
    cr_expect(eq(u64, w->last_origin.pid, 77));
    cr_expect(eq(u64, w->last_origin.seq, 9));
    cr_expect(eq(u64, w->last_origin.epoch, 30));
    cr_expect(eq(int, w->events[0].kind, TAKEN));
    cr_expect(eq(u64, w->events[0].a, me.connection));
    cr_expect(eq(int, last(w)->kind, PUBLISHED));
    cr_expect(eq(u64, last(w)->a, 5));
    close_world(w);
}

/* Whoever they are from: a master takes them in the order of their numbers or not at all. */
Test(remote_moved, publishes_to_mirrored_queues_do_not_overtake_each_other)
{
    struct world *w = open_world();
    publish_from(w, 1, 1, 30, 3u << 20);
    publish_from(w, 2, 2, 30, 10);
    settle_down(w);
    cr_expect(eq(uint, w->messages, 2));
    cr_expect(eq(u64, w->last_origin.seq, 2));
    close_world(w);
}

Test(remote_moved, a_publish_for_another_master_is_said_to_be)
{
    struct world *w = open_world();
    w->published = PORT_MOVED;
    publish_from(w, 5, 1, 30, 10);
    settle_down(w);
    cr_expect(eq(int, w->events[0].kind, PUBLISH_MOVED));
    cr_expect(eq(u64, w->events[0].a, 5));
    cr_expect(eq(u64, w->events[0].b, QID));
    cr_expect(eq(int, last(w)->kind, PUBLISHED)); /* the ticket is answered all the same */
    close_world(w);
}

Test(remote_moved, a_master_that_is_deposed_says_so_later)
{
    struct world *w = open_world();
    w->published = PORT_AWAITED;
    publish_from(w, 5, 1, 30, 10);
    publish_from(w, 6, 2, 30, 10);
    settle_down(w);
    cr_expect(eq(uint, how_many(w, TAKEN), 1));
    cr_expect(eq(uint, how_many(w, PUBLISHED), 0));
    remote_server_on_published(w->server, w->last_number - 1, true);
    remote_server_on_publish_moved(w->server, w->last_number, 0);
    settle_down(w);
    cr_expect(eq(uint, how_many(w, PUBLISH_MOVED), 1));
    cr_expect(eq(uint, how_many(w, PUBLISHED), 1));
    cr_expect(eq(u32, last(w)->count, 2));
    close_world(w);
}

/* The node that is asked may not know yet that it is the master. */
Test(remote_moved, an_epoch_that_is_not_known_yet_is_awaited)
{
    struct world *w = open_world();
    w->applied = 29;
    publish_from(w, 1, 1, 30, 10);
    publish_from(w, 2, 2, 30, 10);
    settle_down(w);
    cr_expect(eq(uint, w->messages, 0));
    cr_expect(eq(u64, w->awaited_index, 30));
    w->applied = 30;
    cr_assert(remote_server_known(w->server));
    settle_down(w);
    cr_expect(eq(uint, w->messages, 2));
    close_world(w);
}

Test(remote_moved, numbers_without_a_producer_are_no_publish)
{
    struct world *w = open_world();
    uint8_t room[256], list[16] = { 0 };
    struct message *m = message(1);
    for (unsigned bad = 0; bad < 3; bad++) {
        struct remote_record r = { .op = REMOTE_PUBLISH_OF,
                                   .flags = bad == 0 ? 0 : REMOTE_AWAITED,
                                   .tag = bad == 1 ? 0 : 77,
                                   .number = 1,
                                   .list = slice_of(list, bad == 2 ? 8 : 16),
                                   .message = m };
        struct wire_out out = wire_out_over(room, sizeof room);
        remote_put(&out, &r);
        cr_expect(not(remote_server_take(w->server, wire_out_slice(&out), false)));
    }
    cr_expect(eq(uint, w->messages, 0));
    message_unref(&m);
    close_world(w);
}

Test(remote_moved, a_request_for_a_queue_that_has_moved_is_to_be_asked_elsewhere)
{
    struct world *w = open_world();
    w->is_moved = true;
    struct port_request *r = mem_zalloc(sizeof *r);
    *r = (struct port_request){ .op = PORT_COUNT, .qid = QID, .from = me };
    remote_client_ask(w->client, &r);
    settle_down(w);
    cr_expect(eq(int, w->answer.verdict, PORT_ELSEWHERE));
    close_world(w);
}

Test(remote_moved, a_consumer_whose_queue_has_moved_is_told)
{
    struct world *w = open_world();
    consume(w, 4, false);
    remote_server_on_consumer_moved(w->server, 4);
    settle_down(w);
    cr_expect(eq(int, last(w)->kind, CONSUMER_MOVED));
    cr_expect(eq(u64, last(w)->a, 4));
    struct message *m = message(1);
    struct remote_delivery d = { .qid = QID, .qseq = 2, .consumer = 4, .where = WHERE, .bytes = 1 };
    cr_expect(not(remote_server_deliver(w->server, &d, m)));
    message_unref(&m);
    close_world(w);
}

/* ---- what a channel holds when a queue is moved -------------------------------------------------
 */

static void ask_with_claims(struct world *w, uint64_t consumer, const uint64_t *held,
                            uint32_t count)
{
    struct port_request *r = port_request_new(count);
    r->op = PORT_CONSUME;
    r->qid = QID;
    r->from = me;
    r->consumer = consumer;
    for (uint32_t i = 0; i < count; i++)
        r->claims[i] = held[i];
    remote_client_ask(w->client, &r);
    settle_down(w);
}

Test(remote_moved, what_a_channel_holds_travels_with_its_consumer)
{
    const uint64_t held[] = { 5, 6, 9 };
    struct world *w = open_world();
    consume(w, 4, false);
    cr_expect(deliver(w, 4, 3, false, 10));
    settle_down(w);
    ask_with_claims(w, 8, held, ARRAY_COUNT(held));
    struct port_request *asked = &w->asked->request;
    cr_assert(eq(u32, asked->claim_count, 3));
    for (unsigned i = 0; i < ARRAY_COUNT(held); i++)
        cr_expect(eq(u64, asked->claims[i], held[i]));
    asked->claims[1] = PORT_NO_POSITION;
    asked->known = 88;
    give_answer(w, PORT_OK);
    cr_expect(eq(u64, w->answer.claim_tag, 2), "behind what was delivered");
    cr_expect(eq(u64, w->claims[0], 5));
    cr_expect(eq(u64, w->claims[1], PORT_NO_POSITION));
    cr_expect(eq(u64, w->claims[2], 9));
    remote_client_settle(w->client, 2, PORT_ACK);
    remote_client_settle(w->client, 3, PORT_ACK);
    remote_client_settle(w->client, 4, PORT_DROP);
    settle_down(w);
    expect_text(w->settled, "a5 d9");
    cr_expect(eq(u64, w->settled_known, 88), "when it was claimed");
    cr_expect(deliver(w, 8, 12, false, 10), "others follow");
    settle_down(w);
    remote_client_settle(w->client, 5, PORT_ACK);
    settle_down(w);
    expect_text(w->settled, "a5 d9 a12");
    close_world(w);
}

Test(remote_moved, a_consumer_that_is_refused_holds_nothing)
{
    const uint64_t held[] = { 5 };
    struct world *w = open_world();
    ask_with_claims(w, 8, held, 1);
    give_answer(w, PORT_EXCLUSIVE);
    cr_expect(eq(int, w->answer.verdict, PORT_EXCLUSIVE));
    remote_client_settle(w->client, w->answer.claim_tag, PORT_ACK);
    settle_down(w);
    expect_text(w->settled, "");
    close_world(w);
}

Test(remote_moved, what_is_held_elsewhere_is_forgotten_without_being_settled)
{
    struct world *w = open_world();
    consume(w, 4, false);
    cr_expect(deliver(w, 4, 3, false, 10));
    settle_down(w);
    remote_client_settle(w->client, 1, PORT_FORGET);
    settle_down(w);
    remote_client_settle(w->client, 1, PORT_ACK);
    settle_down(w);
    expect_text(w->settled, "");
    close_world(w);
}

Test(remote_moved, a_former_master_passes_on_what_is_settled_there)
{
    struct world *w = open_world();
    remote_client_settle_moved(w->client, QID, 7, PORT_ACK);
    remote_client_settle_moved(w->client, QID, 8, PORT_DROP);
    settle_down(w);
    expect_text(w->settled, "a7 d8");
    close_world(w);
}

/* ---- the other node stops -----------------------------------------------------------------------
 */

/* One turn of it, without one of ours. */
static void other_side_speaks(struct world *w)
{
    bool more;
    remote_server_flush(w->server);
    for (struct buf *b; (b = next_frame(&w->back, &more)) != NULL; buf_unref(&b))
        cr_assert(remote_client_take(w->client, buf_slice(b)));
}

Test(remote_moved, what_was_settled_is_read_before_it_ends)
{
    struct world *w = open_world();
    consume(w, 4, false);
    cr_expect(deliver(w, 4, 3, false, 10));
    settle_down(w);
    cr_expect(not(remote_server_leave(w->server)));
    remote_client_settle(w->client, 1, PORT_ACK);
    other_side_speaks(w);
    cr_expect(not(remote_server_leave(w->server)), "nothing of ours has come");
    expect_text(w->settled, "");
    settle_down(w);
    expect_text(w->settled, "a3");
    cr_expect(remote_server_leave(w->server));
    close_world(w);
}

/* Later there would be others that settle there. */
Test(remote_moved, it_asks_when_all_consumers_that_move_know_of_it)
{
    struct world *w = open_world();
    consume(w, 4, false);
    w->is_moved = true;
    for (unsigned i = 0; i < 3; i++) {
        cr_expect(not(remote_server_leave(w->server)));
        settle_down(w);
    }
    remote_server_on_consumer_moved(w->server, 4);
    cr_expect(not(remote_server_leave(w->server)));
    settle_down(w);
    cr_expect(eq(int, last(w)->kind, CONSUMER_MOVED));
    cr_expect(remote_server_leave(w->server));
    close_world(w);
}

/* That it moves waits behind a large delivery for the same channel. */
Test(remote_moved, it_does_not_ask_before_that_is_said)
{
    struct world *w = open_world();
    consume(w, 4, false);
    cr_expect(deliver(w, 4, 3, false, 3u << 20));
    remote_server_on_consumer_moved(w->server, 4);
    cr_expect(not(remote_server_leave(w->server)));
    settle_down(w);
    cr_expect(eq(int, last(w)->kind, CONSUMER_MOVED));
    cr_expect(not(remote_server_leave(w->server)), "it has asked just now");
    settle_down(w);
    cr_expect(remote_server_leave(w->server));
    close_world(w);
}

Test(remote_moved, a_side_that_is_lost_is_not_waited_for)
{
    struct world *w = open_world();
    cr_expect(not(remote_server_leave(w->server)));
    remote_server_lost(w->server);
    cr_expect(remote_server_leave(w->server));
    close_world(w);
}

Test(remote_moved, who_was_not_asked_cannot_say_that_all_is_said)
{
    struct world *w = open_world();
    uint8_t room[64];
    struct wire_out out = wire_out_over(room, sizeof room);
    remote_put(&out, &(struct remote_record){ .op = REMOTE_LEFT });
    cr_expect(not(remote_server_take(w->server, wire_out_slice(&out), false)));
    close_world(w);
}
