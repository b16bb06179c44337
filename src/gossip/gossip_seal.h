/*
 * gossip_seal: packets that only members of the cluster can make and read, each counts once.
 *
 *     packet   "WG" 2 | version 1 | key generation 1 | sender 8 | boot 8 | counter 8
 *              | the payload, hidden | tag 16                 (AES-256-GCM; all before it is
 * proven)
 *
 * The cluster's key comes from cookie, cluster id and key generation (HKDF-SHA256), which is 0:
 * another cookie is another cluster, until all are started with it. Each sender has
 * one of its own for each boot, so that its counter is a nonce that never repeats. A boot is a
 * random number, drawn with each gossip_seal_new.
 *
 * A packet counts when its sender's boot is believed and its counter was not seen before (the last
 * 1024 are told apart, older ones do not count). A boot is believed when its owner has proven
 * itself by other means with fresh nonces (a link), and said where its counter stands: whoever
 * recorded packets of an earlier boot, or from before we ourselves were started, has nothing.
 */
#ifndef WARREN_GOSSIP_SEAL_H
#define WARREN_GOSSIP_SEAL_H

#include "gossip/gossip_wire.h"

#define GOSSIP_SEAL_SENDERS_MAX 1024u
#define GOSSIP_CLUSTER_BYTES    16u

struct gossip_seal;

struct gossip_seal_setup {
    struct slice cookie;
    uint8_t cluster[GOSSIP_CLUSTER_BYTES];
    uint64_t id;   /* ours */
    uint64_t boot; /* random, never used before */
};

struct gossip_seal *gossip_seal_new(const struct gossip_seal_setup *setup);
void gossip_seal_free(struct gossip_seal **s);

/* Returns the octets written. */
size_t gossip_seal_make(struct gossip_seal *s, struct slice payload,
                        uint8_t out[GOSSIP_PACKET_MAX]);

/* The counter of the next packet: for whoever is to believe us. */
uint64_t gossip_seal_counter(const struct gossip_seal *s);

/* `id` has proven that it is there, and that its next packet is `counter` or a later one. Its
 * earlier boot is not believed any more. False: there are too many senders. */
MUST_CHECK bool gossip_seal_believe(struct gossip_seal *s, uint64_t id, uint64_t boot,
                                    uint64_t counter);
bool gossip_seal_believes(const struct gossip_seal *s, uint64_t id, uint64_t boot);
void gossip_seal_forget(struct gossip_seal *s, uint64_t id);

enum gossip_opened {
    GOSSIP_OPENED,
    GOSSIP_OPENED_FOREIGN,  /* not in this format, or of our own */
    GOSSIP_OPENED_FALSE,    /* not made by a member, or changed on the way */
    GOSSIP_OPENED_STRANGER, /* authentic, and its sender's boot is not believed: it may be old */
    GOSSIP_OPENED_REPLAY    /* seen before, or too old to tell */
};
#define GOSSIP_OPENED_COUNT 5u

struct gossip_opening {
    uint64_t from;
    uint64_t boot;
    struct slice payload; /* in `room` */
};

/* `from` and `boot` are set for all but FOREIGN and FALSE. */
enum gossip_opened gossip_seal_open(struct gossip_seal *s, struct slice packet,
                                    uint8_t room[GOSSIP_PAYLOAD_MAX], struct gossip_opening *out);

#endif
