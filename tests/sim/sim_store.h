/*
 * sim_store: random histories of a whole node's shards and store, with clients.
 *
 * Everything between the clients' channels and the disk is the broker's own: queues, ledger,
 * paging, evacuation, the store's manager, journal, recovery, definitions. One seed decides the
 * queues, the clients' doings, when memory is short, how threads and loops take turns, and what
 * happens to the disk. See sim_books.h for what is judged.
 */
#ifndef WARREN_SIM_STORE_H
#define WARREN_SIM_STORE_H

#include "sim_log.h"

MUST_CHECK bool sim_store_run(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *out);

#endif
