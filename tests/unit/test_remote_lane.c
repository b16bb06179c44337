#include "expect.h"
#include "remote/remote_lane.h"

#include <stdio.h>

#define QID    700u
#define PLACES 4u

/* What was handed on, in order: "seq@node/epoch". */
struct lane_world {
    struct remote_lane *lane;
    enum lane_found found;
    struct lane_place place[PLACES]; /* of QID, QID + 1 ... */
    enum port_published published;
    bool waits;
    char sent[4096];
    char told[4096];
    uint64_t last_ticket;
    uint64_t tickets[512];
    unsigned ticket_count;
    uint64_t payer;
    uint64_t pid; /* of what was sent last */
    uint64_t said, read;
    uint64_t relieved;
    uint64_t dropped;
    unsigned soon;
    uint64_t now;
};

static const struct port_channel_ref me = { .connection = 1ull << 48 | 7, 3, 1 };
static const uint8_t no_props[] = { 0, 0 };

static void add(char *room, const char *what)
{
    size_t at = strlen(room);
    cr_assert(lt(sz, at + strlen(what) + 2, sizeof((struct lane_world *)0)->sent));
    if (at != 0)
        room[at++] = ' ';
    memcpy(room + at, what, strlen(what) + 1);
}

static enum lane_found find(void *arg, uint64_t qid, struct lane_place *out)
{
    struct lane_world *w = arg;
    *out = w->place[qid - QID];
    return w->found;
}

static enum port_published send(void *arg, const struct lane_place *to, uint64_t qid,
                                struct message *m, uint64_t payer, uint64_t ticket,
                                const struct lane_number *as)
{
    struct lane_world *w = arg;
    uint64_t seq = as->seq;
    char line[96];
    (void)m;
    w->pid = as->pid;
    if (qid == QID)
        snprintf(line, sizeof line, "%u@%u/%u", (unsigned)seq, to->node, (unsigned)to->epoch);
    else
        snprintf(line, sizeof line, "%u+%u@%u/%u", (unsigned)seq, (unsigned)(qid - QID), to->node,
                 (unsigned)to->epoch);
    add(w->sent, line);
    if (w->ticket_count == 0 || w->tickets[w->ticket_count - 1] != ticket)
        w->tickets[w->ticket_count++] = ticket;
    w->payer = payer;
    return w->published;
}

static bool sent(void *arg, uint16_t node, uint64_t ticket)
{
    (void)node, (void)ticket;
    return ((struct lane_world *)arg)->waits;
}

static uint64_t said(void *arg, uint16_t node)
{
    (void)node;
    return ++((struct lane_world *)arg)->said;
}

static bool is_read(void *arg, uint16_t node, uint64_t upto)
{
    (void)node;
    return ((struct lane_world *)arg)->read >= upto;
}

static void answer(void *arg, const struct port_channel_ref *from, uint64_t number, bool ok,
                   bool lost)
{
    struct lane_world *w = arg;
    char line[32];
    cr_expect(eq(u64, from->connection, me.connection));
    snprintf(line, sizeof line, "%c%u", ok ? 'y' : lost ? 'l' : 'n', (unsigned)number);
    add(w->told, line);
}

static void relieve(void *arg, uint64_t connection, uint64_t octets)
{
    cr_expect(eq(u64, connection, me.connection));
    ((struct lane_world *)arg)->relieved += octets;
}

static void drop(void *arg, struct message **m)
{
    ((struct lane_world *)arg)->dropped += message_unref(m) != 0;
}

static void soon(void *arg)
{
    ((struct lane_world *)arg)->soon++;
}

static const struct lane_ops ops = { find, send, sent, said, is_read, answer, relieve, drop, soon };

static struct lane_world *open_world(void)
{
    struct lane_world *w = mem_zalloc(sizeof *w);
    w->found = LANE_HERE_IS;
    w->published = PORT_LATER;
    w->now = 1000;
    for (unsigned i = 0; i < PLACES; i++)
        w->place[i] = (struct lane_place){ .node = 2, .epoch = 10 };
    w->lane = remote_lane_new(&ops, w);
    return w;
}

static void close_world(struct lane_world *w)
{
    remote_lane_free(&w->lane);
    mem_free(w);
}

static struct message *message(size_t body_bytes)
{
    void *body = mem_zalloc(body_bytes + 1);
    struct message *m =
        message_new(slice_str(""), slice_str("q"), slice_of(no_props, sizeof no_props),
                    slice_of(body, body_bytes), false);
    mem_free(body);
    return m;
}

static void publish_to(struct lane_world *w, uint64_t number, size_t bytes, unsigned queues)
{
    struct message *m = message(bytes);
    for (unsigned i = 0; i < queues; i++) {
        struct message *one = i + 1 < queues ? message_ref(m) : m;
        remote_lane_publish(w->lane, QID + i, &one, &me, number, w->now);
    }
    remote_lane_published(w->lane);
}

static void publish(struct lane_world *w, uint64_t number)
{
    publish_to(w, number, 10, 1);
}

static void is(struct lane_world *w, const char *sent_so, const char *told_so)
{
    cr_expect(eq(str, w->sent, (char *)sent_so));
    cr_expect(eq(str, w->told, (char *)told_so));
    w->sent[0] = w->told[0] = '\0';
}

Test(remote_lane, what_is_confirmed_is_kept_no_longer)
{
    struct lane_world *w = open_world();
    cr_expect(not(remote_lane_has(w->lane, QID)));
    publish(w, 1);
    cr_expect(remote_lane_has(w->lane, QID));
    publish(w, 2);
    is(w, "1@2/10 2@2/10", "");
    cr_expect(eq(u64, w->payer, me.connection));
    remote_lane_on_answers(w->lane, w->tickets[0], 2, 1, true);
    is(w, "", "y1 y2");
    cr_expect(not(remote_lane_has(w->lane, QID)), "what comes now need not wait behind it");
    cr_expect(eq(u64, w->dropped, 2));
    cr_expect(eq(u64, w->lane->shares[LANE_FLOWS].count, 0));
    close_world(w);
}

Test(remote_lane, one_that_was_published_before_keeps_its_number)
{
    struct lane_world *w = open_world();
    struct message *m = message(10);
    publish(w, 1);
    cr_expect(eq(u64, w->pid, 0));
    remote_lane_publish_as(w->lane, QID, &m, &me, 2, &(struct lane_number){ 77, 5 }, w->now);
    remote_lane_published(w->lane);
    cr_expect(eq(u64, w->pid, 77));
    publish(w, 3);
    is(w, "1@2/10 5@2/10 3@2/10", "");
    cr_expect(eq(u64, w->pid, 0));
    remote_lane_on_lost(w->lane, 2);
    w->place[0] = (struct lane_place){ .node = 3, .epoch = 20 };
    remote_lane_look(w->lane, w->now);
    is(w, "1@3/20 5@3/20 3@3/20", "");
    close_world(w);
}

Test(remote_lane, what_the_dead_master_did_not_answer_goes_to_the_next_in_its_order)
{
    struct lane_world *w = open_world();
    for (unsigned i = 1; i <= 4; i++)
        publish(w, i);
    remote_lane_on_answers(w->lane, w->tickets[1], 1, 1, true);
    is(w, "1@2/10 2@2/10 3@2/10 4@2/10", "y2");
    remote_lane_on_lost(w->lane, 2);
    w->place[0] = (struct lane_place){ .node = 3, .epoch = 20 };
    publish(w, 5); /* behind the others */
    is(w, "", "");
    remote_lane_look(w->lane, w->now);
    is(w, "1@3/20 3@3/20 4@3/20 5@3/20", "");
    cr_expect(eq(u64, w->payer, 0));
    remote_lane_on_answers(w->lane, w->tickets[0], 4, 1, true); /* of the dead one: too late */
    is(w, "", "");
    remote_lane_on_answers(w->lane, w->tickets[4], 4, 1, true);
    is(w, "", "y1 y3 y4 y5");
    close_world(w);
}

Test(remote_lane, who_is_turned_away_waits_for_another_epoch)
{
    struct lane_world *w = open_world();
    publish(w, 1);
    publish(w, 2);
    remote_lane_on_moved(w->lane, w->tickets[0], QID);
    remote_lane_on_answers(w->lane, w->tickets[0], 2, 1, true); /* of the ticket, for nobody */
    w->sent[0] = '\0';
    remote_lane_look(w->lane, w->now);
    is(w, "", "");
    w->place[0].epoch = 11;
    remote_lane_look(w->lane, w->now);
    is(w, "1@2/11 2@2/11", "");
    close_world(w);
}

Test(remote_lane, a_new_epoch_is_noticed_without_a_word_from_the_old_master)
{
    struct lane_world *w = open_world();
    publish(w, 1);
    w->place[0] = (struct lane_place){ .node = 0, .epoch = 12 }; /* this node */
    remote_lane_look(w->lane, w->now);
    is(w, "1@2/10 1@0/12", "");
    close_world(w);
}

Test(remote_lane, a_message_for_several_queues_is_one_ticket_a_node)
{
    struct lane_world *w = open_world();
    w->place[1].node = 3;
    publish_to(w, 1, 10, 3);
    is(w, "1@2/10 1+2@2/10 1+1@3/10", "");
    cr_expect(eq(uint, w->ticket_count, 2));
    remote_lane_on_answers(w->lane, w->tickets[0], 1, 2, true);
    is(w, "", "y1 y1");
    remote_lane_on_answers(w->lane, w->tickets[1], 1, 1, false);
    is(w, "", "n1");
    cr_expect(eq(u64, w->dropped, 1));
    close_world(w);
}

/* One of its queues has moved: the other one's answer is of the first ticket. */
Test(remote_lane, only_the_queue_that_moved_is_sent_again)
{
    struct lane_world *w = open_world();
    publish_to(w, 1, 10, 2);
    remote_lane_on_moved(w->lane, w->tickets[0], QID + 1);
    w->place[1] = (struct lane_place){ .node = 3, .epoch = 20 };
    remote_lane_look(w->lane, w->now);
    is(w, "1@2/10 1+1@2/10 1+1@3/20", "");
    remote_lane_on_answers(w->lane, w->tickets[0], 1, 2, true);
    is(w, "", "y1");
    remote_lane_on_answers(w->lane, w->tickets[1], 1, 1, true);
    is(w, "", "y1");
    close_world(w);
}

Test(remote_lane, a_queue_of_this_shard_answers_at_once_or_with_the_record)
{
    struct lane_world *w = open_world();
    w->published = PORT_TAKEN;
    publish(w, 1);
    is(w, "1@2/10", "y1");
    w->waits = true;
    publish_to(w, 2, 10, 2);
    is(w, "2@2/10 2+1@2/10", "");
    remote_lane_on_answers(w->lane, w->tickets[1], 1, 1, true);
    is(w, "", "y2 y2");
    w->waits = false;
    w->published = PORT_REFUSED;
    publish(w, 3);
    is(w, "3@2/10", "n3");
    close_world(w);
}

Test(remote_lane, who_turns_away_at_once_is_asked_again_in_another_epoch_only)
{
    struct lane_world *w = open_world();
    w->published = PORT_MOVED;
    publish(w, 1);
    publish(w, 2);
    is(w, "1@2/10", "");
    remote_lane_tick(w->lane, w->now);
    is(w, "", "");
    w->published = PORT_LATER;
    w->place[0].epoch = 11;
    remote_lane_tick(w->lane, w->now);
    is(w, "1@2/11 2@2/11", "");
    close_world(w);
}

Test(remote_lane, without_a_master_it_waits_and_then_gives_up)
{
    struct lane_world *w = open_world();
    w->found = LANE_NOWHERE;
    publish(w, 1);
    cr_expect(remote_lane_waits(w->lane));
    w->now += LANE_WAIT_MS - 1;
    publish(w, 2);
    remote_lane_tick(w->lane, w->now);
    is(w, "", "");
    remote_lane_tick(w->lane, w->now + 1);
    is(w, "", "l1");
    cr_expect(eq(u64, w->lane->expired, 1));
    w->found = LANE_HERE_IS;
    remote_lane_tick(w->lane, w->now + 1);
    is(w, "2@2/10", "");
    cr_expect(not(remote_lane_waits(w->lane)));
    close_world(w);
}

Test(remote_lane, a_queue_that_is_gone_has_no_need_of_it)
{
    struct lane_world *w = open_world();
    publish(w, 1);
    w->found = LANE_GONE;
    remote_lane_look(w->lane, w->now);
    is(w, "1@2/10", "y1");
    close_world(w);
}

/* Whoever publishes is charged for what it has sent until there is room to keep more. */
Test(remote_lane, over_the_bound_publishers_are_not_relieved)
{
    struct lane_world *w = open_world();
    w->published = PORT_LATER;
    uint64_t cost = 0;
    while (!remote_lane_is_full(w->lane, LANE_FLOWS)) {
        w->sent[0] = '\0';
        w->ticket_count = 0;
        publish_to(w, 1, 1 << 20, 1);
        struct message *m = message(1 << 20);
        cost = message_cost_bytes(m);
        message_unref(&m);
        remote_lane_on_taken(w->lane, me.connection, cost);
    }
    remote_lane_flush(w->lane);
    cr_expect(eq(u64, w->relieved, 0));
    uint64_t count = w->lane->shares[LANE_FLOWS].count;
    remote_lane_on_answers(w->lane, w->tickets[0], 1, 1, true);
    remote_lane_flush(w->lane);
    cr_expect(eq(u64, w->relieved, cost * count));
    close_world(w);
}

/* Those that wait for a master do not hold up those that publish to other queues. */
Test(remote_lane, each_side_has_its_own_bound)
{
    struct lane_world *w = open_world();
    w->found = LANE_NOWHERE;
    while (!remote_lane_is_full(w->lane, LANE_STANDS))
        publish_to(w, 1, 1 << 20, 1);
    remote_lane_flush(w->lane);
    cr_expect(eq(u64, w->relieved, 0));
    remote_lane_on_taken(w->lane, me.connection, 77);
    remote_lane_flush(w->lane);
    cr_expect(eq(u64, w->relieved, 77));
    close_world(w);
}

Test(remote_lane, over_the_bound_what_nobody_waits_for_is_forgotten_once_it_is_read)
{
    struct lane_world *w = open_world();
    while (!remote_lane_is_full(w->lane, LANE_FLOWS)) {
        w->sent[0] = '\0';
        w->ticket_count = 0;
        publish_to(w, 0, 1 << 20, 1);
    }
    remote_lane_flush(w->lane);
    cr_expect(remote_lane_is_full(w->lane, LANE_FLOWS));
    w->read = w->said;
    remote_lane_flush(w->lane);
    cr_expect(not(remote_lane_is_full(w->lane, LANE_FLOWS)));
    cr_expect(eq(u64, w->dropped, 1)); /* no more than needed */
    cr_expect(eq(str, w->told, ""));
    close_world(w);
}

/* Its owner's loop has ended by then. */
Test(remote_lane, nobody_is_told_of_its_end)
{
    struct lane_world *w = open_world();
    publish(w, 1);
    publish_to(w, 2, 10, 3);
    remote_lane_on_taken(w->lane, me.connection, 77);
    w->soon = 0;
    w->sent[0] = '\0';
    remote_lane_free(&w->lane);
    cr_expect(eq(uint, w->soon, 0));
    cr_expect(eq(u64, w->dropped, 2));
    cr_expect(eq(u64, w->relieved, 0));
    is(w, "", "");
    mem_free(w);
}
