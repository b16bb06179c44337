/*
 * location_sub: a proxy's table of where queues are, kept up to date by one broker after another.
 *
 * It subscribes to any broker that gossip says is alive; when that one is gone, or falls behind
 * what others say, to another, and goes on where it stands. Rumours fill the gap meanwhile. One
 * loop.
 */
#ifndef WARREN_LOCATION_SUB_H
#define WARREN_LOCATION_SUB_H

#include "gossip/gossip_net.h"
#include "gossip/location_wire.h"

struct location_sub;

/* The table, or what is known of nodes, may be another. Called now and then. */
typedef void (*location_sub_fn)(void *arg);

/* What brokers say of where messages land. */
struct location_sub_leads {
    void (*on_leads)(const struct location_leads *l, void *arg);
    void (*on_routes)(void *arg); /* all that was answered may be wrong by now, or be answered at
                                     last: there is another broker, or routes have changed */
    void *arg;
};

/* `net` and `node` outlive it. `fn` may be NULL. */
struct location_sub *location_sub_new(struct loop *loop, struct link_node *node,
                                      struct gossip_net *net, struct slice cookie,
                                      location_sub_fn fn, void *arg);
void location_sub_free(struct location_sub **s);

/* Whoever asks is told from now on. */
void location_sub_listen(struct location_sub *s, const struct location_sub_leads *leads);

/* False: nobody can be asked now. Whether an answer comes is another matter. */
bool location_sub_ask(struct location_sub *s, const struct location_ask *ask);

/* The proxy has found its cluster, or another one: what was known is worth nothing. */
void location_sub_cluster(struct location_sub *s, const uint8_t cluster[GOSSIP_CLUSTER_BYTES]);

/* From gossip. */
void location_sub_rumour(struct location_sub *s, const struct gossip_rumour *r);
void location_sub_member(struct location_sub *s, uint64_t id, const struct gossip_member *m);

struct location_table *location_sub_table(const struct location_sub *s); /* to be looked at */
uint64_t location_sub_key(const struct location_sub *s);                 /* for location_hash */

struct location_sub_figures {
    struct location_figures table;
    uint64_t feeder; /* the broker; 0: none now */
    bool is_fresh;   /* ... and its snapshot is complete */
    uint64_t snapshots, changes, gaps;
    uint64_t bytes;  /* of frames */
    uint64_t newest; /* the highest index that gossip has heard of */
};
void location_sub_figures(const struct location_sub *s, struct location_sub_figures *out);
void location_sub_show(const struct location_sub *s, struct text *out);
void location_sub_metrics(const struct location_sub *s, struct text *out);

#endif
