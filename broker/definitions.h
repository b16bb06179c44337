/*
 * definitions: the metadata's log at work: groups of commands are made safe on a thread that may
 * block, snapshots on another, and the control thread hears of it.
 *
 * On the control thread, all of it. One group is on its way at a time.
 */
#ifndef WARREN_DEFINITIONS_H
#define WARREN_DEFINITIONS_H

#include "base/err.h"
#include "cluster/meta.h"

struct definitions;
struct disk;
struct epoch;
struct loop;

struct definitions_setup {
    struct loop *loop;
    struct meta *meta; /* fresh */
    struct epoch *epoch;
    struct disk *disk;       /* borrowed */
    const uint8_t *store_id; /* 16 octets, for the call */
    uint32_t starts;         /* of the store, this one included */
    const char *node;        /* for the log; borrowed */
    uint64_t slow_ms;        /* a group that takes longer is warned of */
    /* The group is safe: publish what is in it, and nothing else. No other is to be sent off before
     * this has returned. Now and then a group is sent off that has nothing in it, to close the one
     * before: what came while it was on its way is to go on now. */
    void (*on_safe)(void *arg);
    /* Nothing can be made safe any more; once. The group that was on its way is not. */
    void (*on_failed)(const struct err *err, void *arg);
    void *arg;
};

/* Read what is there, and publish it. *is_new: no command was ever kept. Blocks. */
MUST_CHECK struct definitions *definitions_open(const struct definitions_setup *setup, bool *is_new,
                                                struct err *err);

/* Threads end; what was on its way comes back as mail to the loop, and what is sent from then on is
 * made safe before definitions_send returns. */
void definitions_stop(struct definitions *d);

/* Stopped, and the loop is settled. NULL is allowed. */
void definitions_free(struct definitions **d);

/* False: no disk has room for so long a command, *why says so. */
MUST_CHECK bool definitions_take(const struct meta_cmd *cmd, struct meta_refusal *why);

/* Is there room for the command, if it lasts? False: *why says that the disk is full. */
MUST_CHECK bool definitions_have_room(const struct definitions *d, const struct meta_cmd *cmd,
                                      struct meta_refusal *why);

/* What was made of a command that was applied. */
void definitions_add(struct definitions *d, const struct meta_cmd *cmd,
                     const struct meta_result *r);
bool definitions_have_gathered(const struct definitions *d);
/* As much as should be sent off at once. */
bool definitions_have_enough(const struct definitions *d);

/* Send off what was gathered; no group is on its way. on_safe follows, or on_failed. */
void definitions_send(struct definitions *d);
bool definitions_are_on_their_way(const struct definitions *d);

/* For the start: the same, on_safe included, before this returns. on_failed is not called. */
MUST_CHECK bool definitions_send_now(struct definitions *d, struct err *err);

#endif
