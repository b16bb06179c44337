/*
 * link_mutation: the rules that exactly-once over a link rests on, each with a switch that breaks
 * it for the simulator's build; see base/mutation.h, whose list is the store's.
 */
#ifndef WARREN_LINK_MUTATION_H
#define WARREN_LINK_MUTATION_H

#include <stdbool.h>

/* What the broken code does. */
#define LINK_MUTATIONS(X)                                                                          \
    X(KEPT_TOO_SHORT, "forgets what it has sent before it is acknowledged")                        \
    X(SAYS_TWICE, "says again what the other side has had since its last acknowledgement")         \
    X(GOES_ON_BEHIND, "goes on over a new connection behind what the old one lost")                \
    X(COUNTS_PARTS, "counts a frame as heard of which a part has come")                            \
    X(COUNTS_OWN, "counts frames that are not of the session as heard")                            \
    X(PARTS_FRAMES, "lets an urgent frame go between the parts of another")

enum link_mutation {
#define X(name, text) LINK_MUTATION_##name,
    LINK_MUTATIONS(X)
#undef X
        LINK_MUTATION_COUNT
};

#ifdef SIM_MUTATIONS
bool link_mutation_is_on(enum link_mutation m);
#define LINK_MUTATION(name) link_mutation_is_on(LINK_MUTATION_##name)
#else
#define LINK_MUTATION(name) false
#endif

#endif
