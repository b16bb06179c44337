#include "remote_world.h"

static void publish(struct world *w, const struct port_channel_ref *from, uint64_t number,
                    size_t body_bytes)
{
    struct message *m = message(body_bytes);
    remote_client_publish(w->client, QID, &m, from, number);
    remote_client_published(w->client);
}

/* ---- what is done over there ------------------------------------------------------------------
 */

static void answer_fence(struct world *w)
{
    cr_assert(w->asked != NULL);
    w->asked->request.verdict = PORT_OK;
    remote_server_on_answer(w->server, w->asked);
    mem_free(w->asked);
    w->asked = NULL;
}

static void ask_fence(struct world *w)
{
    struct port_request *r = mem_zalloc(sizeof *r);
    *r = (struct port_request){ .op = PORT_FENCE, .from = me };
    remote_client_ask(w->client, &r);
}

static void fence(struct world *w)
{
    ask_fence(w);
    while (w->asked == NULL)
        cr_assert(turn(w));
}

Test(remote, a_fence_tells_what_is_done)
{
    struct world *w = open_world();
    cr_expect(remote_client_is_done(w->client));
    publish(w, &me, 0, 10);
    cr_expect(not(remote_client_is_done(w->client)));
    fence(w);
    cr_expect(not(remote_client_is_done(w->client)));
    remote_client_settle(w->client, 1, PORT_ACK); /* behind it */
    answer_fence(w);
    settle_down(w);
    cr_expect(not(remote_client_is_done(w->client)));
    fence(w);
    answer_fence(w);
    settle_down(w);
    cr_expect(remote_client_is_done(w->client));
    remote_client_abandon(w->client, QID, 4);
    cr_expect(not(remote_client_is_done(w->client)));
    remote_client_lost(w->client);
    cr_expect(remote_client_is_done(w->client));
    close_world(w);
}

/* ---- queues that are not known here yet -------------------------------------------------------
 */

static void become_known(struct world *w)
{
    w->known = w->awaited;
    cr_assert(remote_server_known(w->server));
    settle_down(w);
}

Test(remote, what_comes_before_its_queue_waits_for_it)
{
    struct world *w = open_world();
    w->known = QID - 1;
    publish(w, &me, 1, 10);
    publish(w, &me, 2, 20);
    settle_down(w);
    publish(w, &me, 3, 30);
    settle_down(w);
    cr_expect(eq(u64, w->awaited, QID));
    cr_expect(eq(uint, w->messages, 0));
    cr_expect(eq(uint, w->event_count, 0));
    become_known(w);
    cr_expect(eq(uint, w->messages, 3));
    cr_expect(eq(sz, w->last_body, 30));
    cr_expect(eq(int, last(w)->kind, PUBLISHED));
    cr_expect(eq(u64, last(w)->a, 1));
    cr_expect(eq(u32, last(w)->count, 3));
    close_world(w);
}

Test(remote, one_that_came_in_parts_waits_too)
{
    struct world *w = open_world();
    w->known = QID - 1;
    publish(w, &me, 1, 300000);
    publish(w, &me, 2, 10);
    settle_down(w);
    cr_expect(eq(uint, w->messages, 0));
    w->awaited = QID - 1; /* somebody else's */
    become_known(w);
    cr_expect(eq(uint, w->messages, 0));
    cr_expect(eq(u64, w->awaited, QID));
    become_known(w);
    cr_expect(eq(uint, w->messages, 2));
    cr_expect(eq(sz, w->last_body, 10));
    close_world(w);
}

/* Parts of another one in the same frame are not read twice. */
Test(remote, one_that_waits_comes_behind_parts_of_another)
{
    struct world *w = open_world();
    publish(w, &me, 1, 90000);
    publish(w, &other, 1, 10);
    w->known = QID - 1;
    settle_down(w);
    become_known(w);
    cr_expect(eq(uint, w->messages, 2));
    cr_expect(eq(uint, how_many(w, PUBLISHED), 2));
    close_world(w);
}

Test(remote, a_request_waits_for_its_queue_and_a_fence_for_what_is_before_it)
{
    struct world *w = open_world();
    w->known = QID - 1;
    ask_fence(w);
    settle_down(w);
    cr_expect(w->asked != NULL);
    mem_free(w->asked);
    w->asked = NULL;
    publish(w, &me, 1, 10);
    ask_fence(w);
    settle_down(w);
    cr_expect(w->asked == NULL);
    become_known(w);
    cr_expect(eq(uint, w->messages, 1));
    cr_expect(w->asked != NULL);
    close_world(w);
}

Test(remote, a_session_may_end_while_it_waits)
{
    struct world *w = open_world();
    w->known = QID - 1;
    publish(w, &me, 1, 300000);
    publish(w, &me, 2, 10);
    settle_down(w);
    remote_client_lost(w->client);
    remote_server_lost(w->server);
    w->known = UINT64_MAX;
    cr_assert(remote_server_known(w->server));
    cr_expect(eq(uint, w->messages, 0));
    cr_expect(eq(uint, how_many(w, NACKED), 1)); /* both */
    close_world(w);
}
