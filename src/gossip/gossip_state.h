/*
 * gossip_state: what the files of the core share. Not for anybody else.
 */
#ifndef WARREN_GOSSIP_STATE_H
#define WARREN_GOSSIP_STATE_H

#include "gossip/gossip.h"

#define CONFIRMATIONS_MAX 3u
#define HELPERS           3u
#define TICK_TARGETS      3u
#define DEAD_PINGS        3u
#define SENDS_LEAST       10u
#define RELAYS_MAX        64u
#define RUMOUR_SLOTS      1024u

/* Something that is to be told, so many times more; what has the higher mark is newer. */
struct spread {
    unsigned left;
    uint64_t mark;
};

struct member {
    struct gossip_member pub;
    uint8_t *record; /* NULL: none */
    uint64_t record_inc;
    struct spread word, beat;
    uint64_t by; /* who said the last that counted */
    /* while it is suspected */
    uint64_t suspect_us; /* since when; later than pub.since_us when we stood still meanwhile */
    uint64_t accusers[CONFIRMATIONS_MAX + 1];
    unsigned accuser_count;
    unsigned accusers_wanted; /* so many besides the first shorten the time fully */
};

struct probe {
    bool is_on;
    bool is_asked; /* others help */
    bool is_answered;
    uint64_t target;
    uint32_t seq;
    uint64_t start_us, ask_at_us, end_us;
    unsigned helpers, nacks;
};

/* A ping that we make for somebody else. */
struct relay {
    uint64_t origin; /* 0: free */
    uint32_t origin_seq, seq;
    uint64_t end_us;
};

struct rumour_slot {
    uint64_t key, ver;
    struct spread spread;
    bool is_used;
    uint8_t len;
    uint8_t bytes[GOSSIP_RUMOUR_MAX];
};

struct gossip {
    struct gossip_conf conf;
    struct rng rng;
    struct member *self;
    struct member *members[GOSSIP_MEMBERS_MAX]; /* by id */
    size_t count;

    uint64_t order[GOSSIP_MEMBERS_MAX]; /* of this round of probes */
    size_t order_count, order_at;
    uint64_t ring_at; /* the member that had the last packet of items */
    uint64_t dead_at; /* the dead that was pinged last */
    struct probe probe;
    struct relay relays[RELAYS_MAX];
    uint32_t next_seq;
    uint64_t next_mark;
    size_t pending; /* spreads with something left */

    struct rumour_slot rumours[RUMOUR_SLOTS];
    uint64_t rumour_floor; /* versions up to this may have been forgotten: they do not count */

    uint64_t now_us;
    uint64_t wake_at_us;
    uint64_t next_probe_us, next_tick_us, next_sync_us;
    unsigned doubt;
    bool has_left;
    struct gossip_figures figures; /* counters alone */
};

/* ---- gossip_members.c ---- */

struct member *members_find(const struct gossip *g, uint64_t id);
struct member *members_add(struct gossip *g, uint64_t id, struct gossip_effects *out);
void members_remove(struct gossip *g, struct member *m, struct gossip_effects *out);
void members_free_all(struct gossip *g);
bool member_is_there(const struct member *m); /* alive or suspect */
size_t members_there(const struct gossip *g); /* so many of them, ourselves included */
void member_set_record(struct member *m, struct slice record, uint64_t inc);

/* The next after `*at` in the ring of numbers that `fits`, not ourselves; moves *at. NULL when
 * there is none. */
typedef bool (*member_fits_fn)(const struct member *m);
struct member *members_after(const struct gossip *g, uint64_t *at, member_fits_fn fits);

/* Forget who has been gone for long. */
void members_expire(struct gossip *g, struct gossip_effects *out);

/* ---- gossip_words.c ---- */

void words_take(struct gossip *g, const struct gossip_item *item, struct gossip_effects *out);
void words_suspect(struct gossip *g, struct member *m, struct gossip_effects *out);
void words_judge(struct gossip *g, struct gossip_effects *out); /* suspects whose time is over */
uint64_t words_deadline(const struct gossip *g, const struct member *m);
void words_raise_self(struct gossip *g, uint64_t above, struct gossip_effects *out);
void words_own_pulse(struct gossip *g, const struct gossip_pulse *p);
void words_rumour(struct gossip *g, const struct gossip_rumour *r, bool is_ours,
                  struct gossip_effects *out);
void change(struct gossip_effects *out, const struct gossip_change *c);

/* ---- gossip_probe.c ---- */

void probe_run(struct gossip *g, struct gossip_effects *out);
uint64_t probe_wake(const struct gossip *g);
void probe_answered(struct gossip *g, uint32_t seq);
void probe_help(struct gossip *g, uint64_t origin, const struct gossip_head *h,
                struct gossip_effects *out);
void probe_heard(struct gossip *g, const struct gossip_head *h, struct gossip_effects *out);
void probe_dead(struct gossip *g, struct gossip_effects *out);
void probe_meet(struct gossip *g, uint64_t id); /* a new member takes part in this round */
void probe_stood_still(struct gossip *g, uint64_t us);

/* ---- gossip_spread.c ---- */

void spread_begin(struct gossip *g, struct spread *s);
void spread_drop(struct gossip *g, struct spread *s);
/* One packet, filled up with what is to be told. When there is no room for it, it is lost. */
void spread_send(struct gossip *g, uint64_t to, const struct gossip_head *h,
                 struct gossip_effects *out);
void spread_tick(struct gossip *g, struct gossip_effects *out);
void spread_goodbye(struct gossip *g, struct gossip_effects *out);
struct gossip_word spread_word_of(const struct member *m, bool with_record);

#endif
