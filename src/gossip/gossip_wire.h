/*
 * gossip_wire: the bytes that members say to each other, before they are sealed (gossip_seal.h).
 *
 *     packet   kind 1 | what the kind wants | items to the end
 *         PING      sequence 4 | target 8      answer me, if you are the target
 *         ACK       sequence 4                 of the ping it answers
 *         NACK      sequence 4                 of a PING_REQ: I asked in time, and was not answered
 *         PING_REQ  sequence 4 | target 8      ask the target for me
 *         ITEMS                                only what follows
 *     item     kind 1 | length 2 | that many octets
 *         WORD      member 8 | incarnation 8 | state 1 | by 8 | record, to the end
 *         PULSE     member 8 | boot 4 | sequence 4 | index 8 | digest index 8 | digest 8 | load
 *         RUMOUR    key 8 | version 8 | octets, to the end
 *
 * An item of a kind that is not known is passed over, and so is what follows the known part of a
 * pulse: a cluster runs mixed versions while it is upgraded. Over TCP the same items travel without
 * a packet's head. All that is read is borrowed from the input.
 */
#ifndef WARREN_GOSSIP_WIRE_H
#define WARREN_GOSSIP_WIRE_H

#include "base/attr.h"
#include "base/wire.h"

#define GOSSIP_PACKET_MAX  1400u /* what is sent, sealed: fits into one frame of any network */
#define GOSSIP_SEAL_BYTES  44u   /* of it are the seal's */
#define GOSSIP_PAYLOAD_MAX (GOSSIP_PACKET_MAX - GOSSIP_SEAL_BYTES)
#define GOSSIP_RECORD_MAX  640u /* what a member says of itself, see gossip_info.h */
#define GOSSIP_RUMOUR_MAX  32u

enum gossip_packet_kind {
    GOSSIP_PING = 1,
    GOSSIP_ACK = 2,
    GOSSIP_NACK = 3,
    GOSSIP_PING_REQ = 4,
    GOSSIP_ITEMS = 5
};

struct gossip_head {
    enum gossip_packet_kind kind;
    uint32_t seq;    /* 0 for ITEMS */
    uint64_t target; /* of PING and PING_REQ, else 0 */
};

/* In rising order of what counts more when the incarnation is the same. */
#define GOSSIP_STATES(X)                                                                           \
    X(ALIVE, "alive")                                                                              \
    X(SUSPECT, "suspect")                                                                          \
    X(DEAD, "dead")                                                                                \
    X(LEFT, "left")

enum gossip_state {
#define X(name, text) GOSSIP_##name,
    GOSSIP_STATES(X)
#undef X
};
#define GOSSIP_STATE_COUNT 4u

/* What somebody says of a member. */
struct gossip_word {
    uint64_t id;
    uint64_t inc;
    enum gossip_state state;
    uint64_t by;         /* who suspects it, or found it dead */
    struct slice record; /* its own words about itself, of `inc`; empty: not told */
};

struct gossip_load {
    uint32_t connections;
    uint32_t channels;
    uint32_t queues;
    uint64_t messages;
    uint16_t memory_permille; /* of its limit */
    uint16_t flags;           /* GOSSIP_LOAD_... */
};
#define GOSSIP_LOAD_ALARM_MEMORY 1u
#define GOSSIP_LOAD_ALARM_DISK   2u
#define GOSSIP_LOAD_DRAINING     4u

/* What changes all the time about a member: said by itself, the newest counts. */
struct gossip_pulse {
    uint32_t boot;         /* the high half of its incarnation */
    uint32_t seq;          /* rises with each pulse of a boot; 0: none was heard yet */
    uint64_t meta_index;   /* of the metadata, applied */
    uint64_t digest_index; /* the last multiple of 1024 before; 0: none yet */
    uint64_t digest;       /* of the metadata at digest_index */
    struct gossip_load load;
};

/* A hint that is not about a member: opaque here, the highest version of a key counts. */
struct gossip_rumour {
    uint64_t key;
    uint64_t ver;
    struct slice bytes;
};

enum gossip_item_kind { GOSSIP_ITEM_WORD = 1, GOSSIP_ITEM_PULSE = 2, GOSSIP_ITEM_RUMOUR = 3 };

struct gossip_item {
    enum gossip_item_kind kind;
    struct gossip_word word;
    uint64_t pulse_of;
    struct gossip_pulse pulse;
    struct gossip_rumour rumour;
};

/* False: it is no packet of ours. Items follow, until wire_left is 0. */
MUST_CHECK bool gossip_head_take(struct wire *w, struct gossip_head *out);
void gossip_head_put(struct wire_out *w, const struct gossip_head *h);

enum gossip_take {
    GOSSIP_TAKE_ITEM, /* *out is set */
    GOSSIP_TAKE_END,  /* there is no more */
    GOSSIP_TAKE_BAD   /* what follows makes no sense */
};
MUST_CHECK enum gossip_take gossip_item_take(struct wire *w, struct gossip_item *out);

/* False: it did not fit, and nothing of it was written. */
MUST_CHECK bool gossip_word_put(struct wire_out *w, const struct gossip_word *word);
MUST_CHECK bool gossip_pulse_put(struct wire_out *w, uint64_t id, const struct gossip_pulse *p);
MUST_CHECK bool gossip_rumour_put(struct wire_out *w, const struct gossip_rumour *r);

const char *gossip_state_text(enum gossip_state s);

#endif
