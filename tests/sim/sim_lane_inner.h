/*
 * sim_lane_inner: what sim_lane.c (publishers, and the rules) and sim_lane_far.c (metadata, links,
 * masters) share. Not for anybody else.
 */
#ifndef WARREN_SIM_LANE_INNER_H
#define WARREN_SIM_LANE_INNER_H

#include "base/attr.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "remote/remote_lane.h"
#include "remote/remote_ring.h"
#include "sim_lane.h"

#define LANE_QUEUES   4u
#define LANE_NODES    4u /* 0: the one with the publishers */
#define LANE_CHANNELS 3u
#define LANE_MESSAGES 1200u
#define LANE_QID      100u
#define LANE_NOBODY   UINT16_MAX /* masters the queue */
#define LANE_WINDOW   ((uint64_t)6 * 1024 * 1024)
#define LANE_LARGE    ((uint64_t)4 * 1024 * 1024)

struct lane_message {
    unsigned channel;
    uint64_t number; /* 0: nobody waits */
    uint64_t octets;
    unsigned answers, confirms; /* still to come; those that came */
    struct {
        bool wanted, refused, read;
    } at[LANE_QUEUES];
};

/* Who is to hear what became of a copy: a session of a node, or (node 0) this one. */
struct lane_who {
    unsigned node;
    uint64_t session;
    uint64_t ticket;
};

struct lane_record {
    uint64_t ticket, seq;
    unsigned message;
    uint64_t payer;
    unsigned count;
    struct {
        unsigned queue;
        uint64_t epoch;
    } to[LANE_QUEUES];
};

/* A copy on its way to the thread of its queue, or parked there. */
struct lane_mail {
    struct lane_who who;
    unsigned queue, message;
    uint64_t epoch, seq;
};

enum lane_word_kind { LANE_ANSWER, LANE_MOVED, LANE_TAKEN };
struct lane_word {
    enum lane_word_kind kind;
    uint64_t ticket;
    bool ok;
    unsigned queue;
    uint64_t payer, octets, copies;
};

struct lane_left {
    uint64_t ticket;
    unsigned left, copies;
    bool ok;
};

struct lane_session {
    uint64_t id; /* 0: there is none */
    bool is_broken;
    struct remote_ring there;  /* struct lane_record */
    struct remote_ring mails;  /* struct lane_mail */
    struct remote_ring back;   /* struct lane_word */
    struct idmap lefts;        /* struct lane_left by ticket */
    struct lane_record record; /* being said */
    uint64_t said, read;       /* copies; read: as the publishers' side knows */
};

/* A reign: what one master has in one epoch. */
struct lane_era {
    uint64_t epoch;
    uint16_t node;
    bool serves;
    bool is_fenced;  /* its mirrors follow another one: nothing more is safe */
    bool is_deposed; /* and it knows */
    unsigned *ids;
    uint64_t *seqs;
    unsigned len, cap, safe;
    uint64_t last_seq;
    struct remote_ring waiters; /* struct lane_waiter */
    struct remote_ring parked;  /* struct lane_mail */
};

struct lane_waiter {
    unsigned upto;
    struct lane_who who;
};

#define LANE_ERAS 64u
struct lane_truth {
    struct lane_era eras[LANE_ERAS];
    unsigned era_count;
    uint64_t deleted_at; /* index; 0: it is there */
    bool refuses, may_refuse;
};

struct lane_world {
    struct rng rng;
    struct sim_report *out;
    sim_say_fn trace;
    void *trace_arg;
    bool has_failed, was_full;
    struct remote_lane *lane;
    uint64_t now;
    uint64_t index;             /* of the metadata's log */
    uint64_t views[LANE_NODES]; /* ... that the node has applied */
    bool is_up[LANE_NODES];
    bool is_known_down[LANE_NODES];
    struct lane_truth queues[LANE_QUEUES];
    struct lane_session sessions[LANE_NODES]; /* 0: mails and answers of this node */
    uint64_t last_session;
    struct lane_message messages[LANE_MESSAGES];
    unsigned message_count;
    uint64_t numbers[LANE_CHANNELS];
    uint64_t charged[LANE_CHANNELS];
    uint64_t under_way[LANE_NODES][LANE_CHANNELS]; /* of that, not taken by that node */
    struct buf *block;                             /* large bodies are made of it */
    unsigned weights[16];
};

PRINTF_LIKE(2, 3) bool sim_lane_fail(struct lane_world *w, const char *fmt, ...);
PRINTF_LIKE(2, 3) void sim_lane_say(struct lane_world *w, const char *fmt, ...);

static inline uint64_t sim_lane_below(struct lane_world *w, uint64_t bound)
{
    return rng_below(&w->rng, bound);
}

/* ---- sim_lane_far.c ---- */

void sim_lane_open(struct lane_world *w);
void sim_lane_close(struct lane_world *w);

/* What the lane asks of the world; the number of a message is in its key. */
extern const struct lane_ops sim_lane_ops_far; /* find, send, sent, said, is_read */
unsigned sim_lane_id(const struct message *m);

/* Steps. */
void sim_lane_carry(struct lane_world *w, unsigned node);  /* a record comes to its node */
void sim_lane_apply(struct lane_world *w, unsigned node);  /* a copy comes to its queue */
void sim_lane_hear(struct lane_world *w, unsigned node);   /* a word comes back */
void sim_lane_replicate(struct lane_world *w, unsigned q); /* something is safe */
void sim_lane_serve(struct lane_world *w, unsigned q);     /* the master may serve */
void sim_lane_learn(struct lane_world *w, unsigned node);  /* an entry more is applied */
void sim_lane_appoint(struct lane_world *w, unsigned q, uint16_t node);
void sim_lane_delete(struct lane_world *w, unsigned q);
void sim_lane_kill(struct lane_world *w, unsigned node);
void sim_lane_revive(struct lane_world *w, unsigned node);
void sim_lane_break(struct lane_world *w, unsigned node);  /* its session */
void sim_lane_notice(struct lane_world *w, unsigned node); /* that it is broken */
bool sim_lane_is_quiet(const struct lane_world *w);

/* The last reign of the queue. */
struct lane_era *sim_lane_era(struct lane_world *w, unsigned q);

#endif
