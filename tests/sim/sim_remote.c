/* What remote.h is for a node that has no others: nothing of it is ever asked for. */
#include "base/check.h"
#include "remote/remote.h"
#include "remote/remote_carry.h"

#define NEVER UNREACHABLE("there are no other nodes")

struct remotes *remotes_new(struct shard *s)
{
    (void)s;
    return NULL;
}

void remotes_free(struct remotes **r)
{
    *r = NULL;
}

void remote_node_lost(struct shard *s, uint16_t node)
{
    (void)s;
    (void)node;
    NEVER;
}

void remote_node_stops(struct shard *s, uint16_t node)
{
    (void)s;
    (void)node;
    NEVER;
}

void remote_self_lost(struct shard *s)
{
    (void)s;
    NEVER;
}

uint32_t remote_where(struct shard *s, uint16_t node)
{
    (void)s;
    (void)node;
    NEVER;
}

void remote_publish(struct shard *s, uint16_t node, uint64_t qid, struct message **m,
                    const struct port_channel_ref *from, uint64_t number)
{
    (void)s;
    (void)node;
    (void)qid;
    (void)m;
    (void)from;
    (void)number;
    NEVER;
}

void remote_published(struct shard *s)
{
    (void)s;
}

void remote_ask(struct shard *s, struct port_request **r)
{
    (void)s;
    (void)r;
    NEVER;
}

void remote_settle(struct shard *s, uint32_t where, uint64_t tag, enum port_settle how)
{
    (void)s;
    (void)where;
    (void)tag;
    (void)how;
    NEVER;
}

void remote_settle_moved(struct shard *s, uint16_t node, uint64_t qid, uint64_t qseq,
                         enum port_settle how)
{
    (void)s;
    (void)node;
    (void)qid;
    (void)qseq;
    (void)how;
    NEVER;
}

void remote_wake(struct shard *s, uint32_t where, uint64_t consumer, uint32_t credit)
{
    (void)s;
    (void)where;
    (void)consumer;
    (void)credit;
    NEVER;
}

void remote_abandon(struct shard *s, uint32_t where, uint64_t qid, uint64_t consumer)
{
    (void)s;
    (void)where;
    (void)qid;
    (void)consumer;
    NEVER;
}

void remote_fence_begin(struct shard *s)
{
    (void)s;
}

uint32_t remote_fence(struct shard *s, const struct port_channel_ref *from, bool durable)
{
    (void)s;
    (void)from;
    (void)durable;
    return 0;
}

uint32_t remote_fence_undone(struct shard *s, const struct port_channel_ref *from)
{
    (void)s;
    (void)from;
    return 0;
}

bool remote_reply(struct shard *s, uint16_t node, const struct reply_address *to, struct message *m,
                  const struct port_channel_ref *from)
{
    (void)s;
    (void)node;
    (void)to;
    (void)m;
    (void)from;
    return false;
}

bool remote_reply_ask(struct shard *s, uint16_t node, const struct reply_address *to,
                      const struct port_channel_ref *from)
{
    (void)s;
    (void)node;
    (void)to;
    (void)from;
    return false;
}

bool remote_has_many_letters(const struct shard *s)
{
    (void)s;
    return false;
}

bool remote_session_lives(struct shard *s, const struct port_channel_ref *ref)
{
    (void)s;
    (void)ref;
    NEVER;
}

void remote_on_published(struct shard *s, const struct port_channel_ref *ref, uint64_t number,
                         bool ok)
{
    (void)s;
    (void)ref;
    (void)number;
    (void)ok;
    NEVER;
}

void remote_on_durable(struct shard *s, const struct port_channel_ref *ref, uint64_t first,
                       uint32_t count)
{
    (void)s;
    (void)ref;
    (void)first;
    (void)count;
    NEVER;
}

void remote_on_taken(struct shard *s, const struct port_channel_ref *ref)
{
    (void)s;
    (void)ref;
    NEVER;
}

void remote_on_answer(struct shard *s, struct port_request *r)
{
    (void)s;
    (void)r;
    NEVER;
}

void remote_on_fenced(struct shard *s, const struct port_channel_ref *ref, bool is_lost)
{
    (void)s;
    (void)ref;
    (void)is_lost;
    NEVER;
}

bool remote_on_delivery(struct shard *s, const struct port_channel_ref *ref,
                        const struct remote_delivery *d, struct message *m)
{
    (void)s;
    (void)ref;
    (void)d;
    (void)m;
    NEVER;
}

void remote_on_resumed(struct shard *s, const struct port_channel_ref *ref, uint64_t consumer)
{
    (void)s;
    (void)ref;
    (void)consumer;
    NEVER;
}

void remote_on_served(struct shard *s, const struct port_channel_ref *ref, uint64_t consumer)
{
    (void)s;
    (void)ref;
    (void)consumer;
    NEVER;
}

void remote_on_cancelled(struct shard *s, const struct port_channel_ref *ref, uint64_t consumer)
{
    (void)s;
    (void)ref;
    (void)consumer;
    NEVER;
}

void remote_go_on(struct shard *s)
{
    (void)s;
}

bool remote_is_used(const struct shard *s)
{
    (void)s;
    return false;
}

void remote_on_publish_moved(struct shard *s, const struct port_channel_ref *ref, uint64_t number,
                             uint64_t qid)
{
    (void)s;
    (void)ref;
    (void)number;
    (void)qid;
    NEVER;
}

void remote_on_consumer_moved(struct shard *s, const struct port_channel_ref *ref,
                              uint64_t consumer)
{
    (void)s;
    (void)ref;
    (void)consumer;
    NEVER;
}

bool remote_carries(const struct shard *s, const struct meta_queue *q)
{
    (void)s;
    (void)q;
    return false;
}

void remote_carry_publish(struct shard *s, const struct meta_queue *to, struct message **m,
                          const struct port_channel_ref *from, uint64_t number)
{
    (void)s;
    (void)to;
    (void)m;
    (void)from;
    (void)number;
    NEVER;
}

void remote_carry_published(struct shard *s)
{
    (void)s;
    NEVER;
}

void remote_carry_requeue(struct shard *s, const struct meta_queue *to, struct message **m,
                          uint64_t number, const struct lane_number *as)
{
    (void)s;
    (void)to;
    (void)m;
    (void)number;
    (void)as;
    NEVER;
}

bool remote_carry_wants(const struct shard *s, const struct port_request *r)
{
    (void)s;
    (void)r;
    return false;
}

void remote_carry_ask(struct shard *s, struct port_request **r)
{
    (void)s;
    (void)r;
    NEVER;
}
