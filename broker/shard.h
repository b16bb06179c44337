/*
 * shard: one thread's share of the broker: its loop, its connections, its queues.
 *
 * Shards share nothing that changes. They read the metadata (cluster/meta.h), and reach each
 * other's queues and channels through port.h alone. Everything here is called on the shard's own
 * thread but what says otherwise.
 */
#ifndef WARREN_SHARD_H
#define WARREN_SHARD_H

#include "base/idmap.h"
#include "base/log.h"
#include "cluster/meta.h"
#include "ids.h"
#include "io/loop.h"
#include "model/queue.h"

#include <stdatomic.h>

struct auth;
struct broker;
struct channel;
struct channel_claim;
struct hosted;
struct hosting;
struct larges;
struct ledger;
struct message;
struct mirror_links;
struct mirrored;
struct mover;
struct pager;
struct patrol;
struct postings;
struct promises;
struct remotes;
struct requeues;
struct queue;
struct returnings;
struct store;
struct connection;
struct port_lane;

/* What a shard counts; written by its thread, read by any (see stats below). */
#define SHARD_COUNTERS(X)                                                                          \
    X(published, "messages published by clients")                                                  \
    X(published_confirm, "messages published on channels that confirm")                            \
    X(delivered_manual, "messages delivered to consumers that acknowledge")                        \
    X(delivered_auto, "messages delivered to consumers that do not")                               \
    X(got_manual, "messages fetched by get, to be acknowledged")                                   \
    X(got_auto, "messages fetched by get, without")                                                \
    X(got_empty, "gets that found nothing")                                                        \
    X(acked, "messages acknowledged")                                                              \
    X(redelivered, "deliveries with the redelivered flag")                                         \
    X(confirmed, "publishes confirmed")                                                            \
    X(returned, "mandatory messages returned")                                                     \
    X(unroutable, "messages that no queue was bound for")                                          \
    X(replies_lost, "answers to clients that do not read them")                                    \
    X(sockets_accepted, "sockets accepted")                                                        \
    X(sockets_ended, "sockets ended")                                                              \
    X(connections_opened, "connections that were opened")                                          \
    X(connections_closed, "of them, ended")                                                        \
    X(channels_opened, "channels opened")                                                          \
    X(channels_closed, "channels ended")                                                           \
    X(publishes_again, "copies of publishes that were sent again, to the next master of a queue")  \
    X(publishes_expired, "copies of publishes for which no master came in time")                   \
    X(publishes_kept_bytes, "octets of publishes to mirrored queues that are not answered yet")    \
    X(queues_declared, "queues declared, or found by a declaration")                               \
    X(queues_created, "queues made")                                                               \
    X(queues_deleted, "queues deleted")                                                            \
    X(auth_ok, "logins")                                                                           \
    X(auth_refused, "logins refused")                                                              \
    X(in_bytes, "octets received from clients")                                                    \
    X(out_bytes, "octets sent to clients")

struct shard_counters {
#define X(name, help) atomic_uint_fast64_t name;
    SHARD_COUNTERS(X)
#undef X
};

/* One writer: no locked operation. */
#define shard_count(shard, what, n)                                                                \
    atomic_store_explicit(&(shard)->counters.what,                                                 \
                          atomic_load_explicit(&(shard)->counters.what, memory_order_relaxed) +    \
                              (uint64_t)(n),                                                       \
                          memory_order_relaxed)

/* Any thread. */
#define shard_counter(shard, what)                                                                 \
    atomic_load_explicit(&(shard)->counters.what, memory_order_relaxed)

/* Messages that died, by kind of queue, by what became of them, by cause. */
enum shard_after_death {
    SHARD_DEAD_DROPPED, /* there is no exchange for them */
    SHARD_DEAD_SENT_ON,
};
#define SHARD_AFTER_DEATHS 2u

struct shard {
    struct broker *broker;
    uint32_t index;
    struct loop *loop;
    struct auth *auth;        /* who may log in */
    struct log_rate refusals; /* of logins, in the log */
    struct idmap queues;      /* struct hosted by qid */
    struct idmap consumers;   /* struct port_consumer by id */
    struct idmap connections; /* struct connection by id */
    struct port_lane *lanes;  /* to each shard; see port.c */
    uint64_t hash_seed;       /* random: for tables whose keys clients choose */
    uint64_t next_id;         /* for connections and consumers */
    bool stopping;            /* clients are being closed, new ones are turned away */
    bool idle_told;
    /* Octets of messages and of parts of them, made here less those that ended here; the sum over
     * all shards is what messages take. */
    atomic_int_fast64_t message_bytes;
    bool is_led;       /* the message that is being given to queues: some have mirrors */
    uint64_t tx_bytes; /* of it, and of more, what transactions that are not committed hold */
    struct shard_counters counters;
    atomic_uint_fast64_t dead[2][SHARD_AFTER_DEATHS][QUEUE_DEATHS]; /* [is_quorum] */
    struct loop_task flush_task;
    struct mirror_links *mirror_links;
    STAILQ_HEAD(, hosted) to_run;  /* got something back; see port_settled */
    struct hosting *hosting;       /* private to hosted.c */
    struct store *store;           /* NULL: nothing is on disk */
    struct pager *pager;           /* its messages leave memory, and come back */
    struct mirrored *mirrored;     /* its queues that other nodes have, too */
    struct mover *mover;           /* and move when segments are given up */
    struct larges *larges;         /* files of large ones */
    struct ledger *ledger;         /* what its queues write into the journal */
    struct promises *promises;     /* what it says when that is durable */
    struct remotes *remotes;       /* other nodes */
    struct requeues *requeues;     /* from quarantine into queues; NULL: never any */
    struct postings *postings;     /* the node's own publishes; NULL: never any */
    unsigned publishing_away;      /* of them, those with a message that is not complete */
    bool publishing_lane;          /* one for mirrored queues is not, see remote_carry.h */
    TAILQ_HEAD(, connection) held; /* publishers that wait for the disk */
    struct patrol *patrol;         /* private to client/patrol.c */
    struct returnings *returnings;
    struct channel_claim *claims_left; /* of channels that have ended; see channel_claim.h */
};

/* A shard of `broker`, whose loop does not run yet. */
struct shard *shard_new(struct broker *broker, uint32_t index, uint32_t shard_count,
                        struct loop *loop);

/* From now on its queues write into the journal. Its loop does not run yet. */
struct journal;
struct segs;
void shard_open_journal(struct shard *s, struct journal *journal, struct segs *segs);

/* And no longer: its loop has ended. What is in memory is of no meaning from now on. */
void shard_close_journal(struct shard *s);

/* Its loop has ended, its connections are gone. */
void shard_free(struct shard **shard);

/* Close its clients with 320 and why, the first time; hang up on those that are left, the second.
 * When none is left broker_shard_is_idle is called, once. */
void shard_stop_clients(struct shard *s, const char *why);

/* Clients that came by way of a proxy, which said whose connections they are. The shard's thread.
 */
uint32_t shard_carried_count(struct shard *s);

/* Clients are let in again. */
void shard_welcome_clients(struct shard *s);

/* The journal's thread has made more durable, and that concerned this shard. */
void shard_journal_moved(struct shard *s);

/* A client is gone. */
void shard_client_gone(struct shard *s);

/* For a connection or a consumer; see ids.h. */
uint64_t shard_new_id(struct shard *s);

/* Memory of a message that was made here, or ended here (message_unref says how much). */
void shard_count_bytes(struct shard *s, int64_t change);
void shard_message_made(struct shard *s, struct message *m);
void shard_message_drop(struct shard *s, struct message **m);

#endif
