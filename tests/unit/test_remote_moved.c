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
