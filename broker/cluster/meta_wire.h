/*
 * meta_wire: a command on the metadata as octets. No I/O, no state.
 *
 * With a command go the ids that applying it gave: they are handed out one after the other, so the
 * first is enough, and whoever applies the command again from the octets (a log after a start,
 * another node) gives the same.
 *
 *   0  u32 octets that follow
 *   4  u8  META_WIRE_FORMAT    5  u8 operation, by the number that meta_wire.c gives it for good
 *   6  u64 first id    14 u64 vhost    22 u64 connection    30 u64 qid
 *   38 name, then the operation's fields: a slice is u32 octets and they, a bit is u8 0 or 1, a
 *      number is u64, a way of hashing u8
 *
 * All integers in network order.
 */
#ifndef WARREN_META_WIRE_H
#define WARREN_META_WIRE_H

#include "base/wire.h"
#include "cluster/meta.h"

#define META_WIRE_FORMAT   1u
#define META_WIRE_MAX      ((size_t)32 << 20) /* octets of one: more is none */
#define META_CMD_SLICES    5u                 /* at most, the name included */
#define META_WIRE_ID_SPACE ((uint64_t)64)     /* no command gives more ids than this */

/* Where the slices of a command are, whatever its kind; returns how many. */
unsigned meta_cmd_slices(struct meta_cmd *cmd, struct slice *out[META_CMD_SLICES]);

/* What meta_wire_put takes. */
size_t meta_wire_size(const struct meta_cmd *cmd);
void meta_wire_put(struct wire_out *w, const struct meta_cmd *cmd, uint64_t first_id);

/* The next command; its slices are borrowed from the input. False: what is there is none, or not
 * all of one. What comes out may be refused by meta, but keeps the promises of struct meta_cmd:
 * names of queues, exchanges and keys are short, tables are well formed. */
MUST_CHECK bool meta_wire_take(struct wire *w, struct meta_cmd *cmd, uint64_t *first_id);

#endif
