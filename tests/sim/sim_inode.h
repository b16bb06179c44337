/*
 * sim_inode: the octets of one file of the simulated disk: as the process sees them, as they are
 * safe, and what was done to the one and not yet to the other.
 */
#ifndef WARREN_SIM_INODE_H
#define WARREN_SIM_INODE_H

#include "sim_disk.h"

#include <sys/queue.h>

struct sim_bytes {
    uint8_t *ptr;
    size_t len;
    size_t room;
};

/* A write or a change of length since the last sync. */
struct sim_change {
    STAILQ_ENTRY(sim_change) entry;
    size_t offset; /* whole sectors, as the page cache held them after the write */
    size_t len;
    size_t from;     /* what of it was written... */
    size_t to;       /* ...up to here */
    size_t file_len; /* after it */
    bool is_cut;     /* the file was shortened */
    uint8_t bytes[];
};

struct sim_inode {
    LIST_ENTRY(sim_inode) entry;
    unsigned number;
    unsigned opens;
    unsigned names; /* now, safe and in changes that wait */
    struct sim_bytes now;
    struct sim_bytes safe;
    STAILQ_HEAD(, sim_change) changes;
    size_t spoilt; /* offset of a sector that cannot be read; SIZE_MAX: none */
};

struct sim_inode *sim_inode_new(unsigned number);
void sim_inode_free(struct sim_inode **ip);

void sim_inode_write(struct sim_inode *i, size_t offset, struct slice bytes);
void sim_inode_truncate(struct sim_inode *i, size_t len);
void sim_inode_sync(struct sim_inode *i);

/* Some of what waited may have reached the medium, the rest never will, and the process still sees
 * all of it. */
void sim_inode_lose(struct sim_inode *i, struct rng *chance);

/* What of it is there after a crash, for the process too. */
void sim_inode_crash(struct sim_inode *i, enum sim_survival how, struct rng *chance);

#endif
