/*
 * sim_grant_inner: what the files of sim_grant share.
 */
#ifndef WARREN_SIM_GRANT_INNER_H
#define WARREN_SIM_GRANT_INNER_H

#include "base/heap.h"
#include "base/rng.h"
#include "cluster/grant.h"
#include "cluster/grant_board.h"
#include "sim_grant.h"
#include "sim_grant_log.h"

#define MS    1000
#define ACTS  512u /* that are to come at a time; what does not fit is lost */
#define LOOKS 20   /* ms: each node looks after its queues so often */

enum sg_act_kind { ACT_ASK, ACT_ANSWER, ACT_COMMAND, ACT_APPLY, ACT_LOOK, ACT_GONE, ACT_BROKEN };

struct act {
    enum sg_act_kind kind;
    uint16_t to, from;
    uint32_t inc; /* of the process it is for; 0: of any */
    union {
        struct grant_ask ask;
        struct grant_answer answer;
        struct gl_command command;
        uint32_t gone_inc;
    };
};

/* A queue, as a node has it. */
struct local {
    uint64_t epoch;        /* it was told to be the master in this one; 0: it is not */
    uint16_t earlier;      /* the master before, which may be this node itself */
    bool has_begun;        /* in that epoch */
    uint64_t proposed_ver; /* it has proposed `proposed` when this was the last change */
    uint16_t proposed[GL_NODES];
    unsigned proposed_count;
};

struct node {
    struct grant *core; /* NULL: the process is not there */
    struct grant_board *board;
    uint32_t inc;
    uint64_t applied;
    struct local queues[GL_QUEUES];
    int64_t clock_base_us;
    int64_t rate_ppm;
    int64_t paused_until_us;
    int64_t turn_us;       /* its clock, when the turn began in the midst of which it stood still */
    int64_t turn_end_us;   /* that turn goes on until then, by the world's clock */
    uint64_t lag_us;       /* it applies entries so late */
    int64_t deaf_until_us; /* it hears of none */
    bool was_deaf;         /* of late: what it has missed comes as a snapshot, if there are any */
    bool is_apply_due;
};

/* Of 1000; 0 where the seed has none of it. */
struct chances {
    unsigned lose, twice, late, jump, crash, pause, cut, one_way, move, strike, add, down, broken;
    unsigned gone, deaf;
    int64_t late_us, lag_us, pause_us, deaf_us;
    bool is_lopsided; /* the first node is deaf at times, and the others crash */
};

struct world {
    struct rng rng;
    struct gl log;
    struct node nodes[GL_NODES + 1];
    struct chances chance;
    struct heap heap;
    struct act acts[ACTS];
    bool is_used[ACTS];
    bool is_cut[GL_NODES + 1][GL_NODES + 1];
    int64_t now_us;
    struct {
        uint64_t epoch; /* the highest that anybody was about to serve in, and who */
        uint16_t node;
        uint32_t inc;
    } served[GL_QUEUES];
    bool is_healed;
    bool has_failed;
    struct grant_effects fx;
    struct sim_report *report;
    sim_say_fn trace;
    void *trace_arg;
};

void sg_say(struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The first breach counts. */
void sg_fail(struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
uint64_t sg_below(struct world *w, uint64_t n);
bool sg_happens(struct world *w, unsigned chance);
uint16_t sg_some_node(struct world *w);
/* What the node has applied. */
const struct gl_state *sg_view(const struct world *w, const struct node *n);
/* What its code takes for the time. */
int64_t sg_clock_of(const struct world *w, const struct node *n);
bool sg_is_awake(const struct world *w, const struct node *n);
int64_t sg_delay(struct world *w);
void sg_later(struct world *w, int64_t delay_us, const struct act *a);
void sg_send(struct world *w, const struct act *a);

/* sim_grant_node: a node and its queues. */
void sg_step(struct world *w, uint16_t node, const struct grant_event *ev);
void sg_tell_nodes(struct world *w, uint16_t node, const struct gl_state *was);
void sg_apply(struct world *w, uint16_t node);
void sg_look(struct world *w, uint16_t node);
void sg_command(struct world *w, uint16_t from, const struct gl_command *c);
void sg_say_down(struct world *w, uint16_t node);
/* At hand-out. */
bool sg_may_serve(struct world *w, uint16_t node, unsigned queue);
/* What must hold: after each step, and after each entry. */
void sg_check(struct world *w);
void sg_check_members(struct world *w);

#endif
