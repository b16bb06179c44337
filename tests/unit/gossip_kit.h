/*
 * gossip_kit: what the tests of src/gossip share: one member with its effects, its friends made of
 * words.
 */
#ifndef WARREN_TESTS_GOSSIP_KIT_H
#define WARREN_TESTS_GOSSIP_KIT_H

#include "expect.h"
#include "gossip/gossip.h"

struct kit_member {
    struct gossip *core;
    struct gossip_effects *out;
    uint64_t now_us;
    bool friends_answer; /* each ping, before the next step */
    unsigned answer_count;
    struct {
        uint64_t from;
        uint32_t seq;
    } answers[GOSSIP_SENDS_MAX];
};

/* Member 1 of boot 1, of the record "one". */
struct kit_member kit_member_new(void);
void kit_member_free(struct kit_member *m);

/* Time passes, and what is due is done; the effects of the last step stay. */
void kit_time(struct kit_member *m, uint64_t us);

/* It hears this word from `from`; an inc below 2^32 stands for one of boot 1. */
void kit_word(struct kit_member *m, uint64_t from, uint64_t id, uint64_t inc,
              enum gossip_state state, const char *record);

/* It hears a packet without items, or with the item that is in `items`. */
void kit_packet(struct kit_member *m, uint64_t from, enum gossip_packet_kind kind, uint32_t seq,
                uint64_t target, struct slice items);

/* The packet that the last step sent to `to`, or NULL; its head. */
const struct gossip_send *kit_sent(const struct kit_member *m, uint64_t to,
                                   struct gossip_head *head);

/* Does this packet say so of a member? An inc below 2^32 stands for one of boot 1. */
bool kit_says(const struct gossip_send *s, uint64_t id, uint64_t inc, enum gossip_state state);

/* Until a ping to `to` is sent; its sequence. The test fails when none comes in ten seconds. */
uint32_t kit_until_ping(struct kit_member *m, uint64_t to);

const struct gossip_member *kit_look(const struct kit_member *m, uint64_t id);

#define KIT_INC(n) ((uint64_t)1 << 32 | (n))

#endif
