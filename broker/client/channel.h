/*
 * channel: one channel of a connection: dispatch of its methods, its state, its errors.
 *
 * The work is next door: channel_publish.c (content, routing, confirms), channel_consume.c
 * (consumers, get, settling), channel_topology.c (exchanges, queues, bindings), channel_tx.c
 * (transactions). One operation is
 * under way at a time: while a channel waits for an answer from the metadata or from a queue, its
 * connection reads no further.
 */
#ifndef WARREN_CHANNEL_H
#define WARREN_CHANNEL_H

#include "amqp/amqp_frame.h"
#include "client/channel_port.h"
#include "client/confirm.h"
#include "client/connection.h"
#include "client/tx.h"
#include "client/unacked.h"
#include "model/exchange.h"

struct channel_consumer;
struct channel_keys;
struct channel_reply_consumer;
struct channel_tx;
struct control_op;

enum channel_state {
    CHANNEL_OPEN,
    CHANNEL_CLOSING, /* we said channel.close; all but the answer is of the past */
};

/* A publish whose frames are coming in. Names and properties point into the input until the input
 * moves; then they are copied (channel_park). */
enum content_stage { CONTENT_NONE, CONTENT_HEADER, CONTENT_BODY };

struct content {
    enum content_stage stage;
    bool mandatory;
    bool immediate;
    bool overrun; /* more body came than was announced */
    bool persistent;
    bool look_closer; /* something in the properties or names is for channel_take_props */
    struct slice exchange;
    struct slice key;
    struct slice props;
    uint8_t *parked;    /* owns what the slices show, or NULL */
    uint8_t *rewritten; /* owns `props` that are not as they came, or NULL */
    size_t held_bytes;  /* memory of all that; the shard counts it */
    uint64_t body_bytes;
    uint64_t left_bytes;
    struct buf **parts;
    uint32_t part_count;
    uint32_t part_cap;
};

/* Where the last publishes went. Good while the metadata shows the same version. */
#define ROUTE_KEPT_QUEUES 4u
struct route_kept {
    uint64_t version;                       /* 0: nothing is kept */
    uint8_t names[2 * (META_NAME_MAX + 1)]; /* exchange and key, a length before each */
    uint16_t names_bytes;
    uint8_t count;
    const struct meta_queue *queues[ROUTE_KEPT_QUEUES];
};

/* The operation that is under way. */
struct pending {
    uint32_t method; /* 0: none */
    bool nowait;
    bool no_ack;
    uint64_t qid;
    uint32_t where;
    uint32_t messages;
    struct channel_consumer *consumer;
    struct control_op *declare; /* of a queue, to be sent again when it finds one that is going */
    uint8_t name_bytes;
    uint8_t name[META_NAME_MAX];
};

TAILQ_HEAD(channel_consumer_list, channel_consumer);

/* What a channel counts for itself, beside its shard. */
#define CHANNEL_COUNTERS(X)                                                                        \
    X(published)                                                                                   \
    X(confirmed)                                                                                   \
    X(returned)                                                                                    \
    X(unroutable)                                                                                  \
    X(delivered_manual)                                                                            \
    X(delivered_auto)                                                                              \
    X(got_manual)                                                                                  \
    X(got_auto)                                                                                    \
    X(got_empty)                                                                                   \
    X(acked)                                                                                       \
    X(redelivered)

struct channel_counts {
#define X(name) uint64_t name;
    CHANNEL_COUNTERS(X)
#undef X
};

#define channel_count(ch, what, n)                                                                 \
    do {                                                                                           \
        (ch)->counts.what += (n);                                                                  \
        shard_count((ch)->conn->shard, what, (n));                                                 \
    } while (0)

struct channel {
    struct connection *conn;
    uint32_t incarnation;
    uint16_t number;
    enum channel_state state;
    uint16_t prefetch;         /* for consumers to come */
    uint16_t channel_prefetch; /* over all consumers; 0: any number */
    bool confirms;
    bool in_confirming;
    bool in_assembling;
    bool in_hungry;
    TAILQ_ENTRY(channel) confirming_entry;
    TAILQ_ENTRY(channel) assembling_entry;
    TAILQ_ENTRY(channel) hungry_entry;
    struct channel_counts counts;
    struct confirm confirm;
    struct channel_tx *tx; /* NULL: each publish and each ack counts at once */
    struct unacked unacked;
    uint64_t held;     /* of those, the deliveries to consumers: they count against prefetch */
    uint64_t reserved; /* for consumers of other shards that were woken, and have not got them */
    uint32_t orphans;  /* consumers of the queue that is being deleted from here */
    struct channel_consumer *by_tag;      /* uthash */
    struct idmap consumers;               /* struct channel_consumer by id */
    struct channel_claim *claims;         /* see channel_claim.h */
    struct channel_consumer_list starved; /* found no room, eldest first */
    struct channel_reply_consumer *reply; /* consumes from amq.rabbitmq.reply-to */
    struct content content;
    struct channel_keys *keys; /* of content, beside the routing key */
    struct pending pending;
    struct route_kept *kept; /* made at the first publish */
    struct route_out route;
    bool route_ready;
    uint8_t last_queue_bytes; /* name of the last queue declared here */
    uint8_t *last_queue;
};

/* A frame of a channel other than 0, while the connection is open. */
void channel_frame(struct connection *c, const struct amqp_frame *f);

/* Give back all it holds, without a word to the client, and free it. */
void channel_end(struct channel *ch);

/* The first steps of it, for all channels of a connection before the first one ends: they hold
 * nothing any more then, and nobody has been handed anything of it. */
void channel_let_go(struct channel *ch);

/* The input moves: copy what the content in progress borrows from it. */
void channel_park(struct channel *ch);

/* Send the confirms that are due. */
void channel_tell_confirms(struct channel *ch);

/* The client's socket has room again. */
void channel_feed(struct channel *ch);

/* ---- for the files of the channel --------------------------------------------------------------
 */

/* Refuse an operation: channel.close, or the whole connection if the code asks for that. */
void channel_error(struct channel *ch, enum amqp_reply_code code, uint32_t method, const char *fmt,
                   ...) PRINTF_LIKE(4, 5);
void channel_refuse(struct channel *ch, const struct meta_refusal *why, uint32_t method);
void channel_send(struct channel *ch, const struct amqp_method *m);
struct port_channel_ref channel_ref(const struct channel *ch);
const struct meta_version *channel_meta(const struct channel *ch);

/* The connection's vhost in that version. One that was deleted a moment ago (the connection is
 * about to hear of it) appears without a name and empty. */
const struct meta_vhost *channel_vhost(const struct channel *ch, const struct meta_version *v);

/* Begin and end an operation with an answer to come. */
void channel_begin(struct channel *ch, uint32_t method);
void channel_done(struct channel *ch);

/* The name as meant: the last queue declared here for an empty one. False: the channel was closed.
 */
MUST_CHECK bool channel_queue_name(struct channel *ch, struct slice given, uint32_t method,
                                   struct slice *out);

/* The queue of that name, if this connection may use it and its user read from it. NULL: the
 * channel was closed. */
const struct meta_queue *channel_open_queue(struct channel *ch, struct slice given,
                                            uint32_t method);

/* What was asked of the queue is over, and its node cannot be reached: the channel is closed. */
void channel_refuse_lost(struct channel *ch, uint64_t qid, uint32_t method);

/* Ask the queue; on answer channel_on_answer. Fields of *r beyond op are set by the caller. */
void channel_ask(struct channel *ch, const struct meta_queue *q, const struct port_request *r);

/* channel_access.c: may its user do that? False: the channel was closed. */
MUST_CHECK bool channel_may(struct channel *ch, enum access_right right, enum access_kind kind,
                            struct slice name, uint32_t method);
MUST_CHECK bool channel_may_publish(struct channel *ch, struct slice exchange);
/* Only topic exchanges ask; one that is not there does not. */
MUST_CHECK bool channel_may_topic(struct channel *ch, enum access_right right,
                                  struct slice exchange, struct slice key, uint32_t method);
/* A declaration, deletion or binding; *why is filled, and the channel stays open. */
MUST_CHECK bool channel_may_command(struct channel *ch, const struct meta_cmd *cmd,
                                    struct meta_refusal *why);

/* channel_publish.c */
void channel_take_publish(struct channel *ch, const struct amqp_basic_publish *m);
void channel_take_header(struct channel *ch, const struct amqp_frame *f);
void channel_take_body(struct channel *ch, const struct amqp_frame *f);
void channel_pass_over_publish(struct channel *ch);
void channel_pass_over_header(struct channel *ch, const struct amqp_frame *f);
void channel_pass_over_body(struct channel *ch, const struct amqp_frame *f);
/* The channel was closed amid a message, whose rest comes all the same. */
void channel_pass_over_rest(struct channel *ch, enum content_stage stage, uint64_t left_bytes);
void channel_drop_content(struct channel *ch);
void channel_return(struct channel *ch, struct message *m); /* mandatory, and nobody wanted it */

/* channel_props.c: judge the content that has come in (its exchange too, unless a route from there
 * is kept) and find its further keys, then perhaps change its properties. False: the channel was
 * closed. */
MUST_CHECK bool channel_take_props(struct channel *ch, bool exchange_is_known);
size_t channel_more_keys(const struct channel *ch, const struct slice **keys);
void channel_send_replies(struct channel *ch, struct message *m); /* to whom its keys stand for */
void channel_keys_free(struct channel *ch);

/* channel_content.c: a method and the message behind it; the latter for what is sent most */
void channel_put_content(struct channel *ch, const struct amqp_method *m, struct message *msg);
void channel_put_delivery(struct channel *ch, struct slice tag, uint64_t delivery_tag,
                          bool redelivered, struct message *msg);

/* channel_consume.c: true when it was theirs */
uint8_t channel_choose_tag(struct slice given, uint8_t *out); /* the given one, or a new one */
MUST_CHECK bool channel_take_consume(struct channel *ch, const struct amqp_method *m);
void channel_on_consume_answer(struct channel *ch, struct port_request *r);
void channel_on_cancel_deleted(
    struct channel *ch); /* an auto-delete queue went with its consumer */
void channel_tell_orphans(struct channel *ch, uint64_t qid); /* their queue was deleted from here */
void channel_release_consumers(struct channel *ch);
/* For who looks at them: each consumer that the channel has, in no order. */
struct channel_consumer_view {
    uint64_t id; /* as port_active_consumer says it */
    struct slice tag;
    struct slice arguments; /* a field table without its length */
    uint64_t qid;
    uint32_t where; /* the queue is */
    bool no_ack;
    bool exclusive;
    uint16_t prefetch;
};
typedef void (*channel_consumer_fn)(const struct channel_consumer_view *v, void *arg);
void channel_each_consumer(const struct channel *ch, channel_consumer_fn each, void *arg);
/* What the channel calls this one, lent; empty: it has no such consumer. */
struct slice channel_consumer_tag(const struct channel *ch, uint64_t consumer);
void channel_requeue_all(struct channel *ch, enum port_settle how); /* port_settled follows */

/* Close it with 406 when its oldest delivery waits for longer than this (0: for ever) for an
 * acknowledgement. A queue may have a limit of its own. */
void channel_judge_age(struct channel *ch, uint64_t timeout_ms);

/* A delivery is done with, for the queue and for the limits of the channel. Follow a run of them by
 * channel_settled. */
void channel_settle(struct channel *ch, const struct unacked_entry *e, enum port_settle how);
void channel_settled(struct channel *ch);

/* channel_tx.c: true when it was theirs */
MUST_CHECK bool channel_take_tx(struct channel *ch, uint32_t method);

/* Keep for the commit, with ch->tx set. The message is taken; it is dropped, and the channel
 * closed, when there is no room for it. */
void channel_tx_publish(struct channel *ch, struct message **m,
                        const struct meta_queue *const *queues, size_t count, bool mandatory);
void channel_tx_settle(struct channel *ch, uint64_t tag, const struct unacked_entry *e,
                       enum port_settle how);
void channel_tx_on_published(struct channel *ch, bool ok);
void channel_tx_on_durable(struct channel *ch, uint32_t count);
void channel_tx_on_fenced(struct channel *ch, bool is_lost);

/* For channel_claim.h: the entries that it has taken and not committed yet. Is it being committed,
 * and waits for a claim, too? Then channel_tx_on_published is called once. What has been settled
 * since port_fence_begin is waited for; something of that queue was lost. */
void channel_tx_each(struct channel *ch, unacked_each_fn fn, void *arg);
MUST_CHECK bool channel_tx_await(struct channel *ch);
void channel_tx_fence(struct channel *ch);
void channel_tx_lose(struct channel *ch, uint64_t qid);

/* Something of that queue was settled there, that came when the metadata was known so far. If the
 * queue has been given to anybody since, or is by the time that all is done, it may come again, and
 * the commit under way fails. */
void channel_tx_settled_at(struct channel *ch, uint64_t qid, uint32_t where, uint64_t known);

/* How many are kept; 0 without a transaction. */
uint64_t channel_tx_messages(const struct channel *ch);
uint64_t channel_tx_acks(const struct channel *ch);

/* Nothing of it happens; what it had settled is as before it was settled. */
void channel_tx_end(struct channel *ch);

/* channel_reply.c: direct reply-to. True when it was theirs. */
void channel_reply_consume(struct channel *ch, const struct amqp_basic_consume *m);
MUST_CHECK bool channel_reply_cancel(struct channel *ch, const struct amqp_basic_cancel *m);
MUST_CHECK bool channel_reply_declare(struct channel *ch, struct slice name); /* queue.declare */
void channel_reply_end(struct channel *ch);
struct slice channel_reply_name(const struct channel *ch); /* empty: it does not consume */

/* channel_topology.c: true when it was theirs */
MUST_CHECK bool channel_take_topology(struct channel *ch, const struct amqp_method *m);
void channel_on_topology_answer(struct channel *ch, struct port_request *r);

/* Delete the queue by its id; the operation that is under way goes on when it is gone. */
void channel_delete_queue(struct channel *ch, uint64_t qid);

#endif
