/*
 * meta_entry: commands on the metadata as the entries of a cluster's log carry them. No I/O.
 *
 * A command travels in an envelope that says which node asks for it, in which incarnation, and
 * which of its operations it is. A node numbers them from 1 in each incarnation and sends them in
 * order, and all of those again that it has not seen applied when it cannot know whether they were:
 * after a change of leader or of the link to it, and when it is up again. So an operation may stand
 * in the log more than once, and another one may be missing before it; each is applied once, in its
 * order, because every node keeps the number of the last one and applies the next one alone. That
 * is part of the metadata. The node that asked finds its own operations while it applies entries,
 * and knows by that what came of them.
 *
 * An incarnation begins with its NODE_UP, which is either its first operation or nobody's; and a
 * node that is not up has nothing applied but that: what it asked for with its last breath must not
 * be made when what it had is gone already. It has to send it again when it is up.
 *
 * Nobody's operations, of node 0, are those of the cluster itself: of its leader, who may repeat
 * them. They are applied each time they come.
 *
 *   0 u32 octets that follow   4 u8 META_ENVELOPE_FORMAT   5 u16 node   7 u32 incarnation
 *  11 u64 operation           19 the command, see meta_wire.h
 *
 * An entry of the log is one envelope or several, one behind the other.
 */
#ifndef WARREN_META_ENTRY_H
#define WARREN_META_ENTRY_H

#include "cluster/meta_wire.h"

#define META_ENVELOPE_FORMAT 1u
#define META_ENVELOPE_BYTES  19u /* before the command */

struct meta_envelope {
    uint16_t node; /* who asks; 0: nobody in particular */
    uint32_t inc;
    uint64_t op; /* from 1 */
    struct meta_cmd cmd;
};

size_t meta_envelope_size(const struct meta_envelope *e);
void meta_envelope_put(struct wire_out *w, const struct meta_envelope *e);

/* As meta_wire_take. */
MUST_CHECK bool meta_envelope_take(struct wire *w, struct meta_envelope *e);

enum meta_applied {
    META_APPLIED,  /* see the result: it may have been refused */
    META_REPEATED, /* it was applied before, or is of an earlier incarnation */
    META_EARLY,    /* one before it is missing, or its node is not up in that incarnation */
    META_STRANGER, /* of a node that is no member */
};

/* What stands in the entry of this number, which is not below the last one. What is not APPLIED
 * leaves the result empty and changes nothing. */
enum meta_applied meta_apply_entry(struct meta *meta, uint64_t index, const struct meta_envelope *e,
                                   struct meta_result *out);

/* How far a node has come. Any thread, on a version it may hold. */
struct meta_origin {
    uint16_t node;
    uint32_t inc;
    uint64_t op; /* the last one that was applied; 0: none of this incarnation */
};

size_t meta_origin_count(const struct meta_version *v);
const struct meta_origin *meta_origin_at(const struct meta_version *v, size_t index); /* by node */
const struct meta_origin *meta_origin_get(const struct meta_version *v,
                                          uint16_t node); /* or NULL */

/* The same, of what is not published yet. False: it is no member. */
MUST_CHECK bool meta_last_op(const struct meta *meta, uint16_t node, uint32_t *inc, uint64_t *op);

/* Of the last entry, published or not. */
uint64_t meta_index(const struct meta *meta);

#endif
