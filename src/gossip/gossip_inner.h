/*
 * gossip_inner: what the files of the driver share. Not for anybody else.
 */
#ifndef WARREN_GOSSIP_INNER_H
#define WARREN_GOSSIP_INNER_H

#include "base/log.h"
#include "gossip/gossip_net.h"
#include "gossip/gossip_talk.h"
#include "io/cookie.h"

struct udp;

/* Where a member should be. */
struct target {
    struct gossip_place at;
    uint64_t id; /* who answered there; 0: nobody yet */
    uint64_t next_ms;
};

struct gossip_net {
    struct gossip_net_setup setup; /* texts are copies */
    struct cookie cookie;
    uint64_t id, boot;
    struct udp *udp;
    struct gossip_talks *talks;
    struct gossip_book *book;
    struct gossip_seal *seal; /* NULL: it has no cluster yet */
    struct gossip *core;      /* the same */
    struct gossip_effects *effects;
    struct loop_timer wake, tidy, pulse, touch;
    struct loop_task tidy_soon;
    bool is_untidy; /* somebody is to be met */
    bool is_touched;
    bool has_left;
    uint64_t fed_us;
    uint64_t pulse_us; /* when we last asked for ours */
    uint64_t index_us; /* when our metadata index was first seen to be what it is */
    struct gossip_pulse last_pulse;
    struct target targets[GOSSIP_PLACES_MAX];
    size_t target_count;
    struct log_rate other_cluster;
    struct gossip_net_figures figures;
};

/* ---- gossip_net.c ---- */

void gossip_net_feed(struct gossip_net *n, struct gossip_event ev);
void gossip_net_adopt(struct gossip_net *n, const uint8_t cluster[GOSSIP_CLUSTER_BYTES]);

/* ---- gossip_meet.c ---- */

/* Somebody whom we do not believe yet: greet it, if we know where it is. Not too often. */
void gossip_net_meet(struct gossip_net *n, uint64_t id);
void gossip_net_tidy(struct gossip_net *n);
bool gossip_net_on_greeting(const struct gossip_greeting *g, const struct link_peer *peer,
                            const struct gossip_place *place, void *arg);

/* ---- gossip_show.c ---- */

void gossip_net_say_state(struct gossip_net *n, const struct gossip_member *m);
void gossip_net_note_lag(struct gossip_net *n, const struct gossip_member *m);

#endif
