/*
 * gossip: who is there, by hearsay (core). SWIM's failure detector with Lifeguard's corrections,
 * and rumours that ride along on its packets.
 *
 * It knows members by a number, their words, pulses and rumours (gossip_wire.h), and no address,
 * socket, clock or key: a driver (gossip_net.h) turns packets and time into events, and effects
 * into packets. What it says is a hint: nothing that must be right may rest on it.
 *
 *                  silent                     nobody refuted it in time
 *      ALIVE ----------------->  SUSPECT  ------------------------------->  DEAD
 *        ^  \                       |                                        |
 *        |   +---- said goodbye ----|------------->  LEFT                    |
 *        +--------------------------+---- a higher incarnation -------------+
 *
 * A member's incarnation has the boot's number in its high half and counts refutations in the low
 * one; only the member itself raises it. Words of one member are ordered by incarnation, then by
 * state: a lower one never replaces a higher one.
 *
 * Probing goes in rounds through all members in shuffled order, one a period: a ping; without an
 * answer in time three others are asked to ping it, and a TCP ping is tried; without any answer by
 * the end of the period it is suspected, and told so with the next packet it gets. A member that
 * is slow itself (answers late, asks in vain, is itself suspected) doubts itself first and waits
 * longer. A stretch in which the process did not run counts for nobody.
 */
#ifndef WARREN_GOSSIP_H
#define WARREN_GOSSIP_H

#include "base/rng.h"
#include "gossip/gossip_wire.h"

#define GOSSIP_MEMBERS_MAX 512u
#define GOSSIP_SENDS_MAX   16u
#define GOSSIP_CHANGES_MAX 768u
#define GOSSIP_SYNC_MAX    8192u /* octets of one EV_SYNC at most */

struct gossip;

/* Zeros stand for the defaults, which suit a local network. */
struct gossip_conf {
    uint64_t id;           /* not 0 */
    uint32_t boot;         /* the high half of the incarnation: rises with each start */
    uint64_t seed;         /* of chance */
    uint64_t period_us;    /* one probe: 200 ms */
    uint64_t ack_us;       /* then it is time to ask others: 60 ms */
    uint64_t tick_us;      /* between packets that only carry items: 50 ms */
    uint64_t sync_us;      /* between two comparisons over TCP: 2 s */
    uint64_t dead_keep_us; /* a dead member is remembered: 1 h */
    uint64_t left_keep_us; /* one that said goodbye: 1 min */
};

struct gossip_member {
    uint64_t id;
    uint64_t inc;
    enum gossip_state state;
    uint64_t since_us;   /* of this state */
    struct slice record; /* its own words; empty: not heard yet */
    struct gossip_pulse pulse;
};

enum gossip_event_kind {
    GOSSIP_EV_TIME,     /* it is wake_at_us, or later */
    GOSSIP_EV_PACKET,   /* `from` says `bytes`: authentic and fresh */
    GOSSIP_EV_SYNC,     /* the same over TCP: items */
    GOSSIP_EV_TCP_PONG, /* the TCP ping `seq` was answered */
    GOSSIP_EV_RECORD,   /* what we say of ourselves has changed: `bytes` */
    GOSSIP_EV_PULSE,    /* our pulse: `pulse`, whose boot and seq are set here */
    GOSSIP_EV_RUMOUR,   /* a rumour of our own: `rumour` */
    GOSSIP_EV_LEAVE,    /* goodbye; nothing is answered from now on */
    GOSSIP_EV_FORGET,   /* member `from` will not come back */
};

struct gossip_event {
    enum gossip_event_kind kind;
    uint64_t now_us; /* never falls */
    uint64_t from;
    struct slice bytes;
    uint32_t seq;
    struct gossip_pulse pulse;
    struct gossip_rumour rumour;
};

enum gossip_change_kind {
    GOSSIP_MEMBER_CHANGED,   /* `id`: it is new, or its state, incarnation or record are others */
    GOSSIP_MEMBER_FORGOTTEN, /* `id` is not in the table any more */
    GOSSIP_PULSE_HEARD,      /* `id`: a newer pulse */
    GOSSIP_RUMOUR_HEARD,     /* `rumour`, of somebody else; its octets are good during the step */
    GOSSIP_DIGESTS_DIFFER,   /* `id` has other metadata than `other` has, at the same index `inc` */
    GOSSIP_REFUTED,          /* we heard ill of ourselves, and said that it is not so */
    GOSSIP_CONFLICT, /* a later start of ourselves is around: the number is used twice, or our
                        count of starts was lost */
};

struct gossip_change {
    enum gossip_change_kind kind;
    uint64_t id, other, inc;
    struct gossip_rumour rumour;
};

struct gossip_send {
    uint64_t to;
    size_t len;
    uint8_t bytes[GOSSIP_PAYLOAD_MAX];
};

/* Big; the driver keeps one. Cleared by each step. */
struct gossip_effects {
    struct gossip_send sends[GOSSIP_SENDS_MAX];
    unsigned send_count;
    struct gossip_change changes[GOSSIP_CHANGES_MAX];
    unsigned change_count;
    uint64_t tcp_ping; /* member to be pinged over TCP; 0: none. Its answer is EV_TCP_PONG */
    uint32_t tcp_ping_seq;
    uint64_t sync_with;  /* member to compare all with over TCP; 0: none */
    uint64_t wake_at_us; /* when EV_TIME is due, if nothing comes before */
};

/* `record` (see gossip_info.h) is copied. */
struct gossip *gossip_new(const struct gossip_conf *conf, struct slice record, uint64_t now_us);
void gossip_free(struct gossip **g);

void gossip_step(struct gossip *g, const struct gossip_event *ev, struct gossip_effects *out);

/* All that is known, as items for EV_SYNC at the other side: start with *at = 0; as many whole ones
 * as fit; at least GOSSIP_RECORD_MAX + 128 octets of room. False: there is no more. */
MUST_CHECK bool gossip_sync_write(const struct gossip *g, size_t *at, struct wire_out *w);

/* ---- looking; all is borrowed until the next step ---- */

size_t gossip_member_count(const struct gossip *g); /* ourselves included */
const struct gossip_member *gossip_member_at(const struct gossip *g, size_t index); /* by number */
const struct gossip_member *gossip_member(const struct gossip *g, uint64_t id);     /* or NULL */

struct gossip_figures {
    size_t members[GOSSIP_STATE_COUNT]; /* by state, ourselves included */
    uint64_t probes, probes_failed;
    uint64_t suspicions; /* raised by us */
    uint64_t deaths;     /* declared by us */
    uint64_t refutations;
    uint64_t words_old;   /* that came too late to count */
    uint64_t packets_bad; /* authentic, and not understood */
    unsigned doubt;       /* Lifeguard's local health: 0 is well, GOSSIP_DOUBT_MAX ill */
    size_t pending;       /* items that still travel */
};
#define GOSSIP_DOUBT_MAX 8u
void gossip_figures(const struct gossip *g, struct gossip_figures *out);

/* What must hold between steps; for tests. */
void gossip_check(const struct gossip *g);

#endif
