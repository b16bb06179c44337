/*
 * broker_inner: what the files of the broker itself share. Not for others: see broker.h.
 */
#ifndef WARREN_BROKER_INNER_H
#define WARREN_BROKER_INNER_H

#include "base/shared.h"
#include "broker.h"
#include "cluster/meta_node.h"
#include "io/cookie.h"
#include "io/loop.h"

#include <stdatomic.h>

#define BROKER_TICK_MS 100u

struct broker {
    _Atomic(struct live *) live; /* a reference; replaced by the control thread */
    char *name;
    atomic_uint_least16_t node;
    struct cookie cookie;
    struct nonces *nonces;
    broker_reload_fn reload;
    void *reload_arg;
    struct loop *loop; /* control */
    struct epoch *epoch;
    struct retired *retired;
    struct meta *meta;
    struct meta_setup meta_setup;
    struct control *control;
    struct placements *placements;
    struct entrance *entrance; /* to its cluster */
    struct work_pool *hashing; /* passwords */
    struct tally *tallies[BROKER_TALLIES];
    struct shard **shards;
    uint32_t shard_count;
    uint32_t started; /* shards whose loop runs */
    struct storage *storage;
    struct service *service;
    struct mgmt_http *mgmt;
    struct ctl *ctl;
    struct doorway *doorway;
    struct minority *minority;
    struct vitals *vitals;
    struct leaving *leaving;
    atomic_uint alarms;                      /* enum broker_alarm */
    atomic_uint alarms_elsewhere;            /* of other nodes, together; each one's: */
    struct shared elsewhere[META_NODES_MAX]; /* alarms.c; 0 ends it */
    atomic_bool pressed;
    atomic_bool exhausted;
    uint64_t ceiling_bytes; /* of messages, while there is an alarm: above it, it is exhausted */
    atomic_uint_least64_t epoch_waiting; /* as of the last tick */
    struct loop_timer tick;
    bool has_entered;          /* its cluster: the others know that it is up... */
    bool has_left;             /* ...or were told that it stops */
    bool is_open;              /* for clients, once */
    uint64_t reading_since_ms; /* its journal; 0: it does not */
    bool stopping;
    atomic_bool failed;
    bool failure_told;
    char leaving_text[ERR_TEXT_MAX + 64]; /* set before `stopping` by a failure */
    atomic_bool app_stopped;
    atomic_bool drained;
    atomic_uint_least64_t memory_limit; /* set while it runs; UINT64_MAX: the configuration's */
    atomic_uint_least64_t disk_limit;
};

/* Stopping, on the control thread: run the loop until the others know. */
void broker_await_left(struct broker *b);

/* Look at what messages take, and free what was replaced; see broker_memory.c. */
void broker_on_tick(void *arg);

#endif
