/*
 * control: changes of the metadata, asked for by any shard: handed to the cluster on the control
 * thread, and answered on the thread that asked.
 *
 * Commands of one connection are applied in the order they were sent. Nothing is shown to readers,
 * carried out or answered before it is agreed upon (cluster.h). It also tells whoever waits for it
 * that what others know already is shown here, too.
 */
#ifndef WARREN_CONTROL_H
#define WARREN_CONTROL_H

#include "cluster/meta.h"
#include "io/mailbox.h"
#include "port.h"

#include <sys/queue.h>

struct cluster;
struct control;
struct meta_isr_item;
struct mirror_pair_of_nodes;
struct shard;

struct control_op;
typedef void (*control_fn)(struct control_op *op);

struct control_op {
    struct mail mail;
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
    bool is_made; /* a queue, which nobody knew before */
    uint8_t bytes[];
};

/* The loop is the control thread's. */
struct control *control_new(struct loop *loop);
void control_free(struct control **c);

/* Before the loop runs; until then nothing is sent. Borrowed; NULL: what is sent is refused. */
void control_set_cluster(struct control *c, struct cluster *cluster);

/* A command to be sent; the command is copied. Set reply_to, done and who asked, then send it. */
struct control_op *control_op_new(const struct meta_cmd *cmd);
void control_op_free(struct control_op **op);

/* Any thread. Takes the op. */
void control_send(struct control *c, struct control_op **op);

/* Any thread: what a shard's masters propose of in-sync sets; see mirror_proposals.h. Takes
 * `items`, made by mem. */
void control_change_isr(struct control *c, struct meta_isr_item *items, size_t count);
void control_lags(struct control *c, const struct mirror_pair_of_nodes *pair);

/* Somebody waits until the metadata that is shown here has come as far as an id that was given, or
 * as an entry of its log. */
struct control_wait {
    struct mail mail; /* of something made by mem: first in it */
    struct control *control;
    uint64_t id;
    uint64_t index; /* the entry's; 0: it is the id that counts */
    struct loop *reply_to;
    mail_fn done; /* on reply_to's thread; owns it. When the node ends before, it is just freed. */
    TAILQ_ENTRY(control_wait) entry;
};

/* Any thread. Takes it. */
void control_await(struct control *c, struct control_wait **w);

/* On the control thread, after each publication, and before the first wait: the last id, and the
 * last entry, that are known to readers now. */
void control_shown(struct control *c, uint64_t last_id, uint64_t index);

#endif
