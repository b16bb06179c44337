/*
 * channel_consumer: what a channel knows of each of its consumers. Shared by channel_consume.c and
 * channel_carry.c; not for anybody else.
 */
#ifndef WARREN_CHANNEL_CONSUMER_H
#define WARREN_CHANNEL_CONSUMER_H

#include "base/mem.h"
#include "client/channel.h"

/* uthash tells failure by exiting; our allocation never fails, see mem.h. */
#define uthash_malloc(size)    mem_alloc(size)
#define uthash_free(ptr, size) mem_free(ptr)
#include <uthash.h>

#define CHANNEL_TAG_MAX 255u

struct channel_consumer {
    uint64_t id;
    uint64_t qid;
    uint32_t where; /* the queue is */
    bool no_ack;
    uint32_t credit;    /* from another shard: how many more it may send, or PORT_ANY */
    uint32_t reserved;  /* of those, how many have a place for sure */
    int64_t timeout_ms; /* its queue's, to acknowledge; -1: none of its own */
    bool refusing;      /* from another shard: sends everything back until the queue has woken it */
    bool cancelled;     /* a cancel is under way */
    bool exclusive;
    uint16_t prefetch;
    int64_t priority;
    bool cancel_on_failover; /* rather than be carried to a new master */
    bool starved;            /* found no room; is in the channel's list of those */
    uint32_t args_bytes;
    uint8_t *args; /* as they came; NULL when there are none */
    uint8_t tag_bytes;
    uint8_t tag[CHANNEL_TAG_MAX];
    TAILQ_ENTRY(channel_consumer) starved_entry;
    UT_hash_handle hh;
};

/* It waits for room no longer. */
void channel_consumer_is_fed(struct channel *ch, struct channel_consumer *cc);

/* The places that it has for what it was promised are free. */
void channel_consumer_unreserve(struct channel *ch, struct channel_consumer *cc);

/* The client learns it: it is no consumer any more. */
void channel_consumer_cancelled(struct channel *ch, struct channel_consumer *cc);

#endif
