/*
 * leg_map_world: brokers' channels over the same queues, and what a client of theirs has heard.
 */
#ifndef WARREN_TESTS_LEG_MAP_WORLD_H
#define WARREN_TESTS_LEG_MAP_WORLD_H

#include "leg_map.h"
#include "leg_map_kit.h"

#define QUEUES    7u
#define NODES     5u
#define MESSAGES  400u
#define CONSUMERS 16u
#define UNACKED   400u
#define OUT_MAX   4096u
#define LINES_MAX 8192u

/* A queue is shown by that many of these, where its exchange would stand. */
#define QUEUE_MARKS "#######"

struct consumer {
    char tag[16];
    unsigned queue;
    bool no_ack;
    unsigned prefetch, held;
    unsigned since; /* the first has the first message */
};

struct unacked {
    uint64_t tag; /* 0: none */
    unsigned queue, id;
    unsigned since; /* its consumer's; 0: a get */
    bool in_tx, requeue;
};

struct bchan {
    uint64_t next_tag;
    unsigned prefetch;
    bool tx;
    struct consumer consumers[CONSUMERS];
    unsigned consumer_count;
    struct unacked unacked[UNACKED];
};

struct out {
    unsigned leg;
    struct bytes payload;
};

struct world {
    bool ready[QUEUES][MESSAGES]; /* by id, which is the order in the queue */
    bool redelivered[QUEUES][MESSAGES];
    unsigned next_id[QUEUES];
    unsigned made_up, consumes;
    struct bchan chans[NODES];
    struct leg_map *map; /* NULL: one broker */
    int leg_at[NODES];   /* -1: none */
    unsigned node_of[QUEUES];
    struct out *outs; /* from brokers, not heard yet */
    unsigned out_first, out_last;
    char (*lines)[96]; /* what the client has heard */
    unsigned line_count;
    uint64_t seen; /* the highest delivery tag that the client has */
    bool over;
};

/* The client hears this; or that its channel is over, and why. */
void world_line(struct world *w, const char *text);
void world_end_channel(struct world *w, const char *why);

/* One message of the queue to its oldest consumer that has room, whatever channel it is on. True:
 * there was one. */
bool world_feed(struct world *w, unsigned queue);

/* A broker's channel takes a method; a consume that was decoded. */
void world_b_apply(struct world *w, unsigned leg, struct slice payload);
void world_b_consume(struct world *w, unsigned leg, const struct amqp_basic_consume *q);

#endif
