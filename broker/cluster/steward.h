/*
 * steward: what the leader of a cluster does about its nodes (core): who is to be taken for down,
 * who may come up, and who is to have which part in consensus.
 *
 * It looks at what is agreed upon, the node table and the configuration of consensus, and at what
 * the leader alone knows, when it last heard of whom; and says what is to be proposed. Whoever asks
 * carries it out, one change of the configuration at a time, and asks again when something has
 * changed or time has passed. A wrong guess does no harm but costs a failover: nothing that must
 * hold rests on what is said here.
 *
 * A process that is new leaves every in-sync set that has another member which counts as up
 * (meta_placement.h). When all nodes end at once all of them still do, and the last one that comes
 * up would be the only one that is in sync, or, worse, one that never comes back. So nobody comes
 * up anew before all who count as up have been heard of by this leader, or are down.
 */
#ifndef WARREN_STEWARD_H
#define WARREN_STEWARD_H

#include "cluster/meta.h"
#include "raft/raft_entry.h"

#define STEWARD_SILENT_MS  1000u /* a node that has said nothing for so long is down */
#define STEWARD_VOTERS_MAX 5u    /* further disc nodes only listen, until one is needed */

/* What the leader knows of another node. */
struct steward_peer {
    uint64_t heard_ms; /* its last keepalive, to this node */
    bool is_leaving;   /* it says so */
    bool is_gone;      /* its link broke, and its port refuses */
};

struct steward {
    const struct meta_version *version;
    const struct raft_config *config;
    uint16_t self;
    bool is_leaving;     /* this node */
    uint64_t leading_ms; /* it leads since then; nobody is silent for longer than that */
    uint64_t now_ms;
    /* False: it knows nothing of that node. */
    bool (*peer)(const void *arg, uint16_t node, struct steward_peer *out);
    const void *arg;
};

bool steward_is_alive(const struct steward *s, const struct meta_node *m);

/* NULL: the node is not to be taken for down; else why it is. */
const char *steward_is_down(const struct steward *s, const struct meta_node *m);

/* May this change, which a node asks for, be made now? False: not yet; all but NODE_UP may. */
bool steward_admits(const struct steward *s, const struct meta_cmd *cmd);

/* The cluster was to be stopped as a whole (CLUSTER_FREEZE, see meta_placement.h). */
#define STEWARD_FROZEN_MS 60000u /* then it is not going to be */

struct steward_frost {
    bool has_restarted; /* this leader has come up since */
    uint64_t for_ms;    /* since when it leads and sees that somebody may have to be struck */
    uint64_t grace_ms;  /* for the others to come up again */
};

/* Is CLUSTER_THAW to be proposed? */
bool steward_thaws(const struct steward *s, const struct steward_frost *f);

enum steward_act {
    STEWARD_HAND_OVER, /* let another one lead, whoever is ahead: it will do the rest */
    STEWARD_CHANGE,    /* make `node` have this `part` */
    STEWARD_REMOVE,    /* take `node` out */
};

struct steward_wish {
    enum steward_act act;
    uint16_t node;
    enum raft_part part;
};

/* What is to become of the configuration, one wish after the other: start with *at = 0, and stop
 * when one is under way. False: no more. */
MUST_CHECK bool steward_next(const struct steward *s, size_t *at, struct steward_wish *out);

#endif
