/*
 * tx: what a channel has published and settled in a transaction and not committed yet.
 *
 * Messages keep the queues they were routed to by id, for a queue may go before the commit does.
 * Settlements keep their delivery tags: a rollback gives them back to the client as they were. All
 * of it takes memory, which the caller counts: `held_bytes` says how much. Pure; one thread.
 */
#ifndef WARREN_TX_H
#define WARREN_TX_H

#include "client/unacked.h"
#include "model/message.h"

struct tx_publish {
    struct message *message; /* a reference */
    size_t first_qid;        /* in qids */
    size_t qid_count;
    bool mandatory;
};

struct tx_settle {
    uint64_t tag;
    struct unacked_entry entry;
    int how; /* the caller's word for it */
};

struct tx {
    struct tx_publish *publishes;
    size_t publish_count;
    size_t publish_cap;
    uint64_t *qids;
    size_t qid_count;
    size_t qid_cap;
    struct tx_settle *settles;
    size_t settle_count;
    size_t settle_cap;
    size_t held_bytes; /* messages and what is kept of them, settlements */
};

void tx_init(struct tx *t);

/* The messages are gone already. */
void tx_fini(struct tx *t);

/* What one more message for so many queues would add to held_bytes. */
size_t tx_publish_bytes(const struct message *m, size_t queues);

/* Takes the reference. The caller then fills in the `queues` ids. */
uint64_t *tx_add_publish(struct tx *t, struct message **m, size_t queues, bool mandatory);

void tx_add_settle(struct tx *t, uint64_t tag, const struct unacked_entry *e, int how);

/* All entries that it has taken, in no order; they may be changed, but for their queue. */
void tx_each(struct tx *t, unacked_each_fn fn, void *arg);

/* Settlements that follow each other and say the same come in the order of their tags. */
void tx_sort_for_commit(struct tx *t);

/* All settlements back to where they were open; they are none of the transaction any more. */
void tx_reopen(struct tx *t, struct unacked *u);

/* Empty, for the next one. The messages are gone already. */
void tx_clear(struct tx *t);

#endif
