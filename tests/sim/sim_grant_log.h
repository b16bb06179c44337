/*
 * sim_grant_log: a cluster's log for the histories of grants, as a register that never forgets:
 * each command makes the state of the next index, and nodes look at it as late as they like.
 *
 * The state is as much of the metadata as grants rest on: nodes, their incarnations and whether
 * they are up; of a few queues the master, his incarnation, the epoch, the members in sync by
 * seniority, and the index of the last change. The rules are those of design.md, 2.3 and 2.7.
 */
#ifndef WARREN_SIM_GRANT_LOG_H
#define WARREN_SIM_GRANT_LOG_H

#include <stdbool.h>
#include <stdint.h>

#define GL_NODES     5u /* from 1 */
#define GL_QUEUES    3u
#define GL_INDEX_MAX 2048u

struct gl_queue {
    uint16_t master;
    uint32_t inc; /* of the master, when it was made one */
    uint64_t epoch, ver;
    uint16_t isr[GL_NODES];     /* the eldest first */
    uint32_t isr_inc[GL_NODES]; /* the incarnations that are in sync */
    unsigned isr_count;
};

struct gl_state {
    uint32_t inc[GL_NODES + 1]; /* 0: it was never up */
    bool is_up[GL_NODES + 1];
    struct gl_queue queues[GL_QUEUES];
};

enum gl_op {
    GL_UP,     /* node, inc */
    GL_DOWN,   /* node, inc */
    GL_ADD,    /* queue, epoch, ver, node, inc: it is in sync */
    GL_STRIKE, /* queue, epoch, ver, node */
    GL_MOVE,   /* queue, epoch, node */
};

struct gl_command {
    enum gl_op op;
    uint16_t node;
    uint32_t inc;
    unsigned queue;
    uint64_t epoch, ver;
};

struct gl {
    unsigned nodes;
    uint64_t last;
    struct gl_state states[GL_INDEX_MAX + 1]; /* after each entry */
};

/* Nobody is up yet; queue i is of node i + 1, or of the last. */
void gl_init(struct gl *l, unsigned nodes);
bool gl_is_full(const struct gl *l);
void gl_append(struct gl *l, const struct gl_command *c);

bool gl_has(const struct gl_queue *q, uint16_t node);

#endif
