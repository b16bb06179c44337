/*
 * meta_mirrors: which nodes ought to hold a queue. No state: it follows from a version.
 *
 * What counts is the queue's own x-ha-policy, else the policy that matches it; a quorum queue has a
 * rule of its own: it is on a majority of up to five nodes. An exclusive queue goes with its
 * connection and has no mirrors.
 *
 * Mirrors are put onto nodes that are up and say that they can hold them; one that is down stays
 * where it is, to come back. Where a number of them is asked for, one that is gone for good is
 * replaced, and new ones come to where there are fewest.
 */
#ifndef WARREN_META_MIRRORS_H
#define WARREN_META_MIRRORS_H

#include "cluster/meta.h"

#define META_QUORUM_NODES       5u
#define META_SYNC_BATCH_DEFAULT 4096u
#define META_REPLACE_AFTER_MS   60000u

enum meta_mirror_mode {
    META_MIRROR_NONE,
    META_MIRROR_ALL,
    META_MIRROR_EXACTLY, /* `count` */
    META_MIRROR_NODES,   /* those of some names */
};

struct meta_mirror_rule {
    enum meta_mirror_mode mode;
    bool sync_is_manual;     /* a new mirror gets the old messages when it is told to */
    bool always_on_failure;  /* promote a mirror that is not in sync rather than none */
    bool always_on_shutdown; /* the same */
    uint32_t count;          /* EXACTLY: of replicas, the master among them */
    uint32_t min_in_sync;    /* fewer: publishes wait */
    uint32_t sync_batch;
    uint32_t replace_after_ms; /* a mirror that is down for so long is replaced, if EXACTLY */
    struct slice names;        /* NODES, by a policy: one in each line */
    struct slice args_names;   /* NODES, by an argument: an array of the codec */
};

void meta_mirror_rule_of(const struct meta_version *v, const struct meta_queue *q,
                         struct meta_mirror_rule *out);

/* Is it one of NODES? */
bool meta_mirror_is_named(const struct meta_mirror_rule *rule, const struct meta_node *n);

/* What is known beside a version. */
struct meta_mirror_view {
    const struct meta_version *version;
    /* Has it been down for so long? NULL: nothing has. */
    bool (*is_gone)(void *arg, uint16_t node, uint32_t for_ms);
    /* Replicas that are under way to a node. NULL: none are. */
    uint64_t (*under_way)(void *arg, uint16_t node);
    void *arg;
};

/* The nodes that ought to hold a queue, its master first, then those that do, then new ones. */
struct meta_wanted {
    unsigned count;
    unsigned kept; /* of them hold it */
    uint16_t nodes[META_REPLICAS_MAX];
};

void meta_mirrors_wanted(const struct meta_mirror_view *view, const struct meta_placement *p,
                         const struct meta_mirror_rule *rule, struct meta_wanted *out);

#endif
