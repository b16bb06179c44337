/*
 * mgmt_wire: figures that only a node's own shards know (mgmt_ask.h), as octets between nodes.
 *
 *     question  u8 MGMT_WIRE_FORMAT | u8 kind | u8 what | u32 count | count times u64 ids
 *     answer    u8 MGMT_WIRE_FORMAT | u8 kind | lists, each u32 count and its items
 *
 * Lags of queues' mirrors are said only to who asks for them (MGMT_WIRE_WITH_LAGS): older nodes do
 * not, and would not read them; asked themselves, they answer without. Ages travel in place of
 * moments, for nodes have clocks of their own. Pure, any thread; what comes in is judged.
 */
#ifndef WARREN_MGMT_WIRE_H
#define WARREN_MGMT_WIRE_H

#include "base/text.h"
#include "mgmt/mgmt_ask.h"

#define MGMT_WIRE_FORMAT  1u
#define MGMT_WIRE_IDS_MAX 4096u /* of one question */

enum mgmt_wire_kind {
    MGMT_WIRE_QUEUES = 1,     /* ids: qids; what: with lags, or not */
    MGMT_WIRE_CLIENTS = 2,    /* what: enum mgmt_clients */
    MGMT_WIRE_TAGS = 3,       /* ids: connection, incarnation and channel, consumer; three each */
    MGMT_WIRE_ACTIVITIES = 4, /* ids: qid, consumer; two each */
};

/* `what`, with MGMT_WIRE_QUEUES */
#define MGMT_WIRE_WITH_LAGS MGMT_CHANNELS

struct mgmt_wire_question {
    enum mgmt_wire_kind kind;
    enum mgmt_clients what;
    size_t count; /* of ids */
    uint64_t *ids;
};

void mgmt_wire_put_question(struct text *out, const struct mgmt_wire_question *q);
/* The ids are the caller's to free by mem_free. */
MUST_CHECK bool mgmt_wire_take_question(struct slice in, struct mgmt_wire_question *out);

/* Queues come in the order of the question, those included that were not found. `now_ms` is the
 * loop's. */
void mgmt_wire_put_queues(struct text *out, const struct mgmt_queue *q, size_t count,
                          bool with_lags, uint64_t now_ms);
/* Into the `count` queues that were asked for in this order. False: that is no such answer; some of
 * them may have been filled in. */
MUST_CHECK bool mgmt_wire_take_queues(struct slice in, struct mgmt_queue *const *q, size_t count,
                                      uint64_t now_ms);

/* Of queues, the tags of their lone consumers; of consumers, their activities. As above. */
void mgmt_wire_put_tags(struct text *out, const struct mgmt_queue *q, size_t count);
MUST_CHECK bool mgmt_wire_take_tags(struct slice in, struct mgmt_queue *const *q, size_t count);
void mgmt_wire_put_activities(struct text *out, const struct mgmt_consumer *c, size_t count);
MUST_CHECK bool mgmt_wire_take_activities(struct slice in, struct mgmt_consumer *const *c,
                                          size_t count);

/* Lists of clients. */
struct mgmt_wire_clients {
    struct mgmt_connection *connections;
    size_t connection_count;
    struct mgmt_channel *channels;
    size_t channel_count;
    struct mgmt_consumer *consumers;
    size_t consumer_count;
};

void mgmt_wire_put_clients(struct text *out, const struct mgmt_wire_clients *c);
/* What comes out is the caller's: mgmt_wire_free_clients. */
MUST_CHECK bool mgmt_wire_take_clients(struct slice in, struct mgmt_wire_clients *out);
void mgmt_wire_free_clients(struct mgmt_wire_clients *c);

#endif
