/*
 * raft_identity: who this node is, in which cluster, on disk: the file "raft/identity".
 *
 *    0 u64 magic   8 u32 format   12 u32 octets of the file   16 id of the cluster, 16 octets
 *   32 u16 node   34 u8 state   35 u8 flags: RAM node 1, has a log 2, founder 4
 *   36 short string: the name
 *      then u32 octets and they: what the driver knows of others; then u64 XXH3 of all before
 *
 * The incarnation of a node is that of its data folder (store/data_dir.h): counted up durably at
 * every start, before anything else is written. Identities are replaced whole. An identity that is
 * given up goes with all that was written under it: a crash meanwhile leaves a folder that says so,
 * and the next look at it finishes. Integers in network order. Blocks.
 */
#ifndef WARREN_RAFT_IDENTITY_H
#define WARREN_RAFT_IDENTITY_H

#include "io/disk.h"

#define RAFT_CLUSTER_ID_BYTES 16u
#define RAFT_NAME_MAX         255u
#define RAFT_KNOWN_MAX        4096u

struct raft_identity {
    uint8_t cluster_id[RAFT_CLUSTER_ID_BYTES]; /* random, made when the cluster was */
    uint16_t node;                             /* not 0; never given twice in a cluster */
    bool is_ram;                               /* nothing but this file is kept */
    bool has_log;    /* raft_disk's: from then on a folder without a log has lost it */
    bool is_founder; /* its cluster began with it alone, and so does its log, see raft_disk.h */
    char name[RAFT_NAME_MAX + 1];
    uint8_t known[RAFT_KNOWN_MAX]; /* the driver's: names and addresses of other nodes, say */
    uint32_t known_bytes;
};

/* ERR_NOT_FOUND: this node belongs to no cluster yet, and nothing of one is in the folder. What was
 * to go is removed first. ERR_REFUSED, with the remedy: another node's, damaged, or of a newer
 * format. */
MUST_CHECK bool raft_identity_read(struct disk *disk, const char *name, struct raft_identity *out,
                                   struct err *err);

/* The same for who only looks: nothing is changed, and what is to go counts as gone. */
MUST_CHECK bool raft_identity_look(struct disk *disk, struct raft_identity *out, struct err *err);

/* The same identity with other properties (`known`, `name`, `is_ram`): replaced, whole. Nothing
 * else changes. */
MUST_CHECK bool raft_identity_write(struct disk *disk, const struct raft_identity *it,
                                    struct err *err);

/* Another identity, or none (NULL): everything in "raft" goes, log and snapshots, and the folder is
 * as new. No raft_disk is open there. The node's number of the old one is not to be used again. */
MUST_CHECK bool raft_identity_replace(struct disk *disk, const struct raft_identity *it,
                                      struct err *err);

#endif
