/*
 * gossip_net: a member of gossip in a real program: sealed packets over UDP, talks over TCP, and
 * the core between them (gossip.h).
 *
 * A broker knows its cluster and says so. A proxy does not: it asks the places it was given, and
 * takes part in the cluster of the first that answers and knows the cookie. One loop; callbacks
 * come from it, and must not call back in here except to look.
 */
#ifndef WARREN_GOSSIP_NET_H
#define WARREN_GOSSIP_NET_H

#include "base/text.h"
#include "gossip/gossip.h"
#include "gossip/gossip_info.h"
#include "gossip/gossip_seal.h"
#include "io/sock.h"
#include "link/link_hall.h"

struct gossip_net;

struct gossip_net_handlers {
    /* A member is new, or its state or record is another; or it is forgotten (`m` is NULL). May be
     * NULL. */
    void (*on_member)(uint64_t id, const struct gossip_member *m, void *arg);
    /* A newer pulse of it. May be NULL. */
    void (*on_pulse)(const struct gossip_member *m, void *arg);
    /* May be NULL. */
    void (*on_rumour)(const struct gossip_rumour *r, void *arg);
    /* `a` and `b` have different metadata at the same index. May be NULL: it is logged anyway. */
    void (*on_digests_differ)(uint64_t a, uint64_t b, uint64_t index, void *arg);
    /* What is to be said of ourselves: all but boot and seq. Asked once a second, and soon after
     * gossip_net_touch. NULL: nothing. */
    void (*pulse)(struct gossip_pulse *out, void *arg);
    /* A link whose first frame is of another room (GOSSIP_FRAME_FEED and up). Takes it. May be
     * NULL: then such links are closed. */
    void (*on_feed)(struct link **l, const struct link_frame *first, void *arg);
    /* A proxy has found its cluster, or another one. May be NULL. */
    void (*on_cluster)(const uint8_t cluster[GOSSIP_CLUSTER_BYTES], void *arg);
};

struct gossip_net_setup {
    struct loop *loop;
    struct link_node *link_node;           /* outlives it */
    struct slice cookie;                   /* copied */
    uint8_t cluster[GOSSIP_CLUSTER_BYTES]; /* zeros: to be found out */
    uint16_t node;                         /* 0: a proxy: it gets a random number */
    uint32_t inc;
    enum gossip_role role;
    const char *name;                           /* NAME@HOST */
    const char *version;                        /* of the program */
    const char *amqp, *cluster_at, *management; /* HOST:PORT as others reach it, HOST may be empty;
                                                   "" or NULL: none */
    struct sock_addr at;                        /* where packets are received */
    struct gossip_net_handlers handlers;
    void *arg;
};

/* The socket is bound now; it begins when the loop runs. */
MUST_CHECK struct gossip_net *gossip_net_new(const struct gossip_net_setup *setup, struct err *err);
/* The door does not serve its hall any more. What is left goes with the loop's next mail: before
 * that the link node must stay. */
void gossip_net_free(struct gossip_net **n);

/* For the door: link_door_serve(door, LINK_FEED, &hall, 1). */
struct link_hall *gossip_net_hall(struct gossip_net *n);
const struct sock_addr *gossip_net_at(const struct gossip_net *n);

/* HOST:PORT where members should be: seeds, the node table. Those that nobody known is at are asked
 * now and then. Copied. */
#define GOSSIP_PLACES_MAX 128u
void gossip_net_set_places(struct gossip_net *n, const char *const *places, size_t count);

/* Our pulse has changed. */
void gossip_net_touch(struct gossip_net *n);

/* To all: newer versions of a key win. `bytes` up to GOSSIP_RUMOUR_MAX. */
void gossip_net_rumour(struct gossip_net *n, const struct gossip_rumour *r);

/* This member will not come back: it is no member of the cluster any more. */
void gossip_net_forget(struct gossip_net *n, uint64_t id);

/* Goodbye to all. Nothing is said or heard any more; free it soon. */
void gossip_net_leave(struct gossip_net *n);

/* ---- looking: borrowed until the loop's turn ends ---- */

uint64_t gossip_net_id(const struct gossip_net *n);
bool gossip_net_cluster(const struct gossip_net *n, uint8_t out[GOSSIP_CLUSTER_BYTES]);
size_t gossip_net_count(const struct gossip_net *n); /* 0 before it has a cluster */
const struct gossip_member *gossip_net_member(const struct gossip_net *n, size_t index);
/* Where to connect to; false: not known. */
#define GOSSIP_NET_HOST_MAX 256u
MUST_CHECK bool gossip_net_place(const struct gossip_net *n, uint64_t id,
                                 char host[GOSSIP_NET_HOST_MAX], uint16_t *port);
bool gossip_net_info(const struct gossip_member *m, struct gossip_info *out);

struct gossip_net_figures {
    struct gossip_figures core;
    uint64_t packets_out, packets_in;
    uint64_t dropped[GOSSIP_OPENED_COUNT]; /* by what was wrong, see gossip_seal.h */
    uint64_t unplaced;                     /* not sent: nobody knows where to */
    size_t talks;

    uint64_t index_lag_us; /* the last time from our having a metadata index to hearing that another
                              broker has it, too */
};
void gossip_net_figures(const struct gossip_net *n, struct gossip_net_figures *out);

/* All that is known, a line each, for people. */
void gossip_net_show(const struct gossip_net *n, struct text *out);

/* The figures as Prometheus has them (warren_gossip_...). Any thread. */
void gossip_net_metrics(const struct gossip_net_figures *f, struct text *out);

#endif
