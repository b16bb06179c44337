#include "client/late_answer.h"

#include "base/mem.h"
#include "shard.h"

/* Of the connection itself: no channel has this number. */
#define NUMBER_OF_ALL UINT16_MAX

struct late_answer {
    LIST_ENTRY(late_answer) entry;
    uint32_t token; /* in place of a channel's incarnation */
    uint32_t waiting;
    void (*then)(struct connection *c); /* NULL: the octets are to be sent */
    size_t len;
    uint8_t octets[CONNECTION_SEND_ROOM];
};

/* NULL: nothing is under way. */
static struct late_answer *await(struct connection *c, uint16_t number)
{
    uint32_t token = ++c->incarnations;
    uint32_t waiting =
        port_fence_away(c->shard, &(struct port_channel_ref){ c->id, token, number });
    if (LIKELY(waiting == 0))
        return NULL;
    struct late_answer *a = mem_zalloc(sizeof *a);
    a->token = token;
    a->waiting = waiting;
    LIST_INSERT_HEAD(&c->late_answers, a, entry);
    connection_wait(c);
    return a;
}

static uint64_t *word_of(struct connection *c, uint16_t node, uint64_t *bit)
{
    unsigned number = node % (LATE_ANSWER_WORDS * 64);
    *bit = (uint64_t)1 << number % 64;
    return &c->nodes_used[number / 64];
}

void late_answer_note(struct shard *s, const struct port_channel_ref *from, uint16_t node)
{
    uint64_t bit;
    struct connection *c = connection_find(s, from->connection);
    if (c != NULL)
        *word_of(c, node, &bit) |= bit;
}

bool late_answer_concerns(struct shard *s, const struct port_channel_ref *from, uint16_t node)
{
    uint64_t bit;
    struct connection *c = connection_find(s, from->connection);
    return c != NULL && (*word_of(c, node, &bit) & bit) != 0;
}

void late_answer_send(struct connection *c, uint16_t channel, const struct amqp_method *m)
{
    struct late_answer *a = await(c, channel);
    if (LIKELY(a == NULL)) {
        connection_send(c, channel, m);
        return;
    }
    struct wire_out w = wire_out_over(a->octets, sizeof a->octets);
    amqp_frame_put_method(&w, channel, m);
    CHECK(!w.overflow);
    a->len = wire_out_len(&w);
}

bool late_answer_release(struct connection *c, void (*then)(struct connection *c))
{
    struct late_answer *a = await(c, NUMBER_OF_ALL);
    if (a != NULL)
        a->then = then;
    return a != NULL;
}

static struct late_answer *find(const struct connection *c, uint32_t token)
{
    struct late_answer *a = LIST_FIRST(&c->late_answers);
    while (a != NULL && a->token != token)
        a = LIST_NEXT(a, entry);
    return a;
}

bool late_answer_on_fenced(struct shard *s, const struct port_channel_ref *ref)
{
    struct connection *c = connection_find(s, ref->connection);
    struct late_answer *a = c != NULL ? find(c, ref->incarnation) : NULL;
    if (a == NULL)
        return false;
    if (--a->waiting != 0)
        return true;
    LIST_REMOVE(a, entry);
    if (c->stream != NULL && a->then == NULL)
        stream_write(c->stream, slice_of(a->octets, a->len));
    connection_go_on(c);
    if (a->then != NULL)
        a->then(c);
    mem_free(a);
    return true;
}

void late_answers_free(struct connection *c)
{
    for (struct late_answer *a; (a = LIST_FIRST(&c->late_answers)) != NULL; mem_free(a))
        LIST_REMOVE(a, entry);
}
