/*
 * failovers: the last times that a node went down which mastered queues: how many there were, and
 * how long it took until all of them had a master again. Seen from the table of queues, as the
 * proxy learns it. Control loop.
 */
#ifndef WARREN_FAILOVERS_H
#define WARREN_FAILOVERS_H

#include "atlas.h"
#include "base/text.h"
#include "nodes.h"

#define FAILOVERS_KEPT 16u

enum failover_state {
    FAILOVER_GOES_ON,
    FAILOVER_OVER,      /* all its queues have other masters */
    FAILOVER_CAME_BACK, /* the node is there again, with what it still masters */
    FAILOVER_LEFT,      /* this proxy has another cluster since */
};

struct failover {
    uint64_t wall_ms; /* when it began */
    uint64_t began_ms;
    uint64_t ended_ms;
    uint64_t queues; /* that it mastered when it went */
    uint64_t left;   /* that have no other master yet */
    enum failover_state state;
    uint16_t node;
    char name[64]; /* NAME@HOST, or empty */
};

struct failovers {
    struct failover list[FAILOVERS_KEPT];
    unsigned count; /* of those in the list */
    unsigned next;
    uint64_t total;
    uint8_t was_up[(UINT16_MAX + 1) / 8]; /* by node, a bit: it was seen up, and not down since */
};

/* The atlas has changed between `first_ms` and `last_ms`. What goes is what was up before: of a
 * node that this proxy has only heard is down nobody knows when its queues were served last. */
void failovers_look(struct failovers *f, const struct atlas_master *masters, size_t count,
                    const struct nodes *nodes, uint64_t first_ms, uint64_t last_ms,
                    uint64_t wall_ms);

/* The numbers of nodes mean others from now on: this is another cluster. */
void failovers_forget_nodes(struct failovers *f, uint64_t now_ms);

/* The newest first; NULL behind the last. */
const struct failover *failovers_at(const struct failovers *f, unsigned index);

/* How long queues were without a master; of one that goes on, up to now. */
uint64_t failover_pause_ms(const struct failover *f, uint64_t now_ms);

const char *failover_state_word(enum failover_state state);

#endif
