/*
 * sim_spoil: index files as no process leaves them: damaged, another segment's, one of another
 * life.
 *
 * All that they say stands in their segments, so nothing may follow from it.
 */
#ifndef WARREN_SIM_SPOIL_H
#define WARREN_SIM_SPOIL_H

#include "base/rng.h"
#include "sim_disk.h"

/* Does that to one that is there, while no process runs. Returns its number; 0: there is none. */
uint32_t sim_spoil_index(struct sim_disk *d, struct rng *chance);

#endif
