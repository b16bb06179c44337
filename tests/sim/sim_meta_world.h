/*
 * sim_meta_world: one log of commands on the metadata, and several machines that apply it, each
 * with a hash seed and a number of shards of its own and as far as it has come.
 *
 * Whoever is first at an entry notes what came of it, and everybody behind must find the same: what
 * was applied, the verdict, the id, the checksum. Beside that an oracle follows the nodes by the
 * simplest means there are and looks at what must hold whatever was asked for.
 */
#ifndef WARREN_SIM_META_WORLD_H
#define WARREN_SIM_META_WORLD_H

#include "base/rng.h"
#include "cluster/meta_entry.h"
#include "sim_log.h"

#define MW_REPLICAS 3u
#define MW_NODES    64u /* numbers that are ever given, at most */
#define MW_ENTRIES  4096u

struct mw;

struct mw *mw_new(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *report);
void mw_free(struct mw **w);

/* False as soon as something was wrong; the report says what. */
bool mw_is_well(const struct mw *w);
bool mw_is_full(const struct mw *w);

/* Write an entry into the log. */
void mw_append(struct mw *w, const struct meta_envelope *e);

/* A replica goes on by so many entries, or to the end. */
void mw_apply(struct mw *w, unsigned replica, uint64_t count);

/* One gets the whole state of another one, if that is further. */
void mw_snapshot(struct mw *w, unsigned from, unsigned to);

/* All come to the end, and must be equal in everything. */
void mw_settle(struct mw *w);

/* What the one shows that is furthest. */
const struct meta_version *mw_shown(const struct mw *w);
unsigned mw_first(const struct mw *w);

#endif
