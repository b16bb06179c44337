/*
 * location_pub: a broker tells proxies where queues are.
 *
 * It is told of each change as the metadata log is applied, keeps the table and the last changes,
 * and feeds them to whoever has subscribed: a snapshot first, if need be, then changes in order, as
 * much as each link takes. One loop, the control thread's.
 */
#ifndef WARREN_LOCATION_PUB_H
#define WARREN_LOCATION_PUB_H

#include "gossip/location_wire.h"
#include "link/link.h"

#define LOCATION_PUB_CHANGES 65536u /* kept, for those who are a little behind */
#define LOCATION_PUB_SUBS    512u   /* at a time; more are turned away */
#define LOCATION_PUB_ANSWERS 16u    /* in a turn, to all together: others wait for theirs */
/* ... and so many in a window of time: where a turn has nothing else to do, the next one comes at
 * once. */
#define LOCATION_PUB_WINDOW_MS      100u
#define LOCATION_PUB_WINDOW_ANSWERS 200u
/* Questions of one subscriber that wait, in octets; more are passed over, and asked again. */
#define LOCATION_PUB_ASKED ((size_t)64 * 1024)

struct location_pub;

/* A change that is worth a rumour, too: there were few of them. */
typedef void (*location_rumour_fn)(const struct location_change *c, void *arg);

/* Where a message lands, into `out`, whose id is set; the names' hashes are location_pub_hash's. */
typedef void (*location_leads_fn)(const struct location_ask *ask, struct location_leads *out,
                                  void *arg);

/* `key` is the cluster's, see location_key. `fn` may be NULL. */
struct location_pub *location_pub_new(struct loop *loop, uint64_t key, location_rumour_fn fn,
                                      void *arg);
void location_pub_free(struct location_pub **p);

/* The key of names: who has the cookie has it. */
uint64_t location_key(struct slice cookie, struct slice cluster);

/* Everything is told anew, since a snapshot of the metadata was taken over: then all queues and
 * nodes, then location_pub_applied. */
void location_pub_reset(struct location_pub *p);

/* What entry `index` did, in order. Several words about one queue in one entry: the last counts.
 * `flags` are TRANSIENT and LOOSE. */
void location_pub_queue(struct location_pub *p, uint64_t index, struct slice vhost,
                        struct slice name, uint16_t node, unsigned flags);
/* By its hash, since its names may be gone already. */
void location_pub_gone(struct location_pub *p, uint64_t index, uint64_t hash);
uint64_t location_pub_hash(const struct location_pub *p, struct slice vhost, struct slice name);
/* What was transient there before the entry `swept` is gone. */
void location_pub_node(struct location_pub *p, uint64_t index, uint16_t node, bool is_up,
                       uint64_t swept);
/* All that entry `index` did was told. */
void location_pub_applied(struct location_pub *p, uint64_t index);

/* Answer those who ask where messages land; NULL, as at first: nobody is answered. */
void location_pub_answer(struct location_pub *p, location_leads_fn fn, void *arg);

/* Where they land may have changed: those who have asked hear of it, soon. */
void location_pub_routes(struct location_pub *p);

/* A link that asks for the feed, by its first frame. Takes it; false: it is left, and to be closed.
 */
MUST_CHECK bool location_pub_take(struct location_pub *p, struct link **l,
                                  const struct link_frame *first);

const struct location_table *location_pub_table(const struct location_pub *p);

struct location_pub_figures {
    size_t subscribers;
    uint64_t snapshots, frames, bytes; /* sent */
    uint64_t passed_over;              /* questions */
};
void location_pub_figures(const struct location_pub *p, struct location_pub_figures *out);

#endif
