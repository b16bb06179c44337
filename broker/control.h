/*
 * control: changes of the metadata, asked for by any shard, made by the control thread, many at a
 * time: what arrives in one turn of its loop, or while a group is on its way to the disk, is one
 * group.
 *
 * Of a group with something in it that outlives the node nothing is shown to readers, carried out
 * or answered before it is safe (definitions.h). What does not last goes first and need not wait
 * for that, unless its connection has asked for something lasting before: commands of one
 * connection are applied in the order they arrive.
 */
#ifndef WARREN_CONTROL_H
#define WARREN_CONTROL_H

#include "cluster/meta.h"
#include "io/mailbox.h"
#include "port.h"

#include <sys/queue.h>

struct broker;
struct control;
struct epoch;
struct shard;
struct store;

struct control_op;
typedef void (*control_fn)(struct control_op *op);

struct control_op {
    struct mail mail;
    STAILQ_ENTRY(control_op) entry;
    struct control *control;
    struct meta_cmd cmd; /* its slices point into `bytes` */
    struct loop *reply_to;
    control_fn done; /* on reply_to's thread; owns the op. NULL: nobody waits for it */
    /* who asked; for `done` */
    struct shard *shard;
    uint64_t connection;
    struct port_channel_ref channel;
    control_fn many; /* called in place of applying `cmd`: makes many with control_apply_now, and
                        sets what came of it */
    void *arg;       /* of one that is no client */
    /* what came of it */
    enum meta_verdict verdict;
    struct meta_refusal refusal;
    uint64_t id;
    uint8_t bytes[];
};

/* The loop is the control thread's; `meta` is borrowed, and fresh. */
struct control *control_new(struct broker *broker, struct loop *loop, struct meta *meta);

/* At the start, before the shards run: read the metadata from the disk, and tell the shards of
 * their queues. *is_new: there are none yet. Without this nothing is kept. Blocks. */
MUST_CHECK bool control_open(struct control *c, struct store *store, struct epoch *epoch,
                             bool *is_new, struct err *err);

/* Threads end, while the loop still takes mail; and all is over. */
void control_stop(struct control *c);
void control_free(struct control **c);

/* A command to be sent; the command is copied. Set reply_to, done and who asked, then send it. */
struct control_op *control_op_new(const struct meta_cmd *cmd);
void control_op_free(struct control_op **op);

/* Any thread. Takes the op. */
void control_send(struct control *c, struct control_op **op);

/* For the control thread itself, at the start and in `many`: apply. It is shown with the rest of
 * its group; at the start, by control_show_now. *id (may be NULL) is what was made or found. */
bool control_apply_now(struct control *c, const struct meta_cmd *cmd, uint64_t *id,
                       struct meta_refusal *why);
MUST_CHECK bool control_show_now(struct control *c, struct err *err);

#endif
