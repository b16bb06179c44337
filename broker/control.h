/*
 * control: changes of the metadata, asked for by any shard, made by the control thread in the order
 * they arrive, many at a time: what arrives in one turn of its loop is shown in one new version.
 */
#ifndef WARREN_CONTROL_H
#define WARREN_CONTROL_H

#include "cluster/meta.h"
#include "io/mailbox.h"
#include "port.h"

#include <sys/queue.h>

struct broker;
struct control;
struct shard;

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
    void *arg; /* of one that is no client */
    /* what came of it */
    enum meta_verdict verdict;
    struct meta_refusal refusal;
    uint64_t id;
    uint8_t bytes[];
};

/* The loop is the control thread's; `meta` is borrowed. */
struct control *control_new(struct broker *broker, struct loop *loop, struct meta *meta);
void control_free(struct control **c);

/* A command to be sent; the command is copied. Set reply_to, done and who asked, then send it. */
struct control_op *control_op_new(const struct meta_cmd *cmd);
void control_op_free(struct control_op **op);

/* Any thread. Takes the op. */
void control_send(struct control *c, struct control_op **op);

/* For the control thread itself, at start: apply, show, carry out. False when refused. */
bool control_apply_now(struct control *c, const struct meta_cmd *cmd, struct meta_refusal *why);

#endif
