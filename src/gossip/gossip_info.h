/*
 * gossip_info: what a member says of itself: its record.
 *
 *     format 1 | role 1 | protocol, lowest 2 | highest 2 | boot 8
 *     | name | version | amqp | cluster | management        each: length 1, octets
 *
 * What follows is of a later version, and passed over. Addresses are HOST:PORT; a host may be
 * empty: then it is where the member's packets come from.
 */
#ifndef WARREN_GOSSIP_INFO_H
#define WARREN_GOSSIP_INFO_H

#include "gossip/gossip_wire.h"

#define GOSSIP_ROLES(X)                                                                            \
    X(BROKER, 1, "broker")                                                                         \
    X(WITNESS, 2, "witness") /* votes, and has no queues */                                        \
    X(PROXY, 3, "proxy")     /* observes */

enum gossip_role {
#define X(name, octet, text) GOSSIP_ROLE_##name = (octet),
    GOSSIP_ROLES(X)
#undef X
};

#define GOSSIP_PROTOCOL      1u   /* what this version speaks */
#define GOSSIP_INFO_NAME_MAX 255u /* octets, of each text */

struct gossip_info {
    enum gossip_role role;
    uint16_t protocol_least, protocol_most;
    uint64_t boot; /* what its packets are sealed by, see gossip_seal.h */
    struct slice name;
    struct slice version;    /* of the program */
    struct slice amqp;       /* empty: none */
    struct slice cluster;    /* TCP and UDP */
    struct slice management; /* empty: none */
};

/* Slices are borrowed from `in`. False: it makes no sense. */
MUST_CHECK bool gossip_info_read(struct slice in, struct gossip_info *out);

/* Overflows when it is longer than GOSSIP_RECORD_MAX, or a text longer than 255. */
void gossip_info_write(struct wire_out *w, const struct gossip_info *info);

const char *gossip_role_text(enum gossip_role role);

#endif
