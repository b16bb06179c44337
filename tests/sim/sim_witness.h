/*
 * sim_witness: for rules that few histories know, one that notices when the rule is broken.
 *
 * Some rules are noticed by one history of thousands: to look for it in each run of the suite took
 * minutes of a processor. So its seed is looked at first, and all others as before when it says
 * nothing any more. That happens when histories become others, by a change of what they draw or of
 * the code under test; then the list is made anew by
 *
 *     make -C BUILD sim-witnesses
 *
 * which takes ten minutes or more, and is where a rule turns up that nobody notices any longer.
 */
#ifndef WARREN_SIM_WITNESS_H
#define WARREN_SIM_WITNESS_H

#include <stdint.h>

struct sim_witness {
    const char *rule;
    const char *kind;
    uint64_t seed;
};

/* NULL: none is known. */
const struct sim_witness *sim_witness_of(const char *rule);

#endif
