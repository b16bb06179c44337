/*
 * sim_raft_disk: random histories of a member's log on a disk that loses what was not synced.
 *
 * One seed decides every write (terms and votes, entries, truncations, snapshots of its own, those
 * that others send and that are installed), every fault, and where the power goes, in a start as in
 * a life. Whatever a crash leaves, what was acknowledged is there, and nothing but that and a
 * prefix of what was on its way. Now and then the medium goes bad in what was safe: then it is as
 * it was, or it is told, and a member that goes on before the damage has its vote.
 */
#ifndef WARREN_SIM_RAFT_DISK_H
#define WARREN_SIM_RAFT_DISK_H

#include "sim_log.h"

MUST_CHECK bool sim_raft_disk_run(uint64_t seed, sim_say_fn trace, void *arg,
                                  struct sim_report *out);

#endif
