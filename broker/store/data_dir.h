/*
 * data_dir: a node's folder of data: whose it is, who may use it, in which format it is written.
 *
 *   DATA/NODE/lock       held by the process that uses the folder; its pid is in it
 *             store      what this folder is, see below
 *             journal/   large/   meta/   raft/   quarantine/
 *
 *   store    0 u64 DATA_DIR_MAGIC   8 u32 format   12 u32 octets of the file   16 id of the store
 *           32 u32 incarnation     36 u8 state    37 u8 octets of the name     38 the node's name
 *            then u64 XXH3_64 of all before
 *
 * It knows nothing of what is in the folders. Each start counts the incarnation up, durably,
 * before anything else is written: what another life of the node has left is told from what this
 * one does. The file is replaced whole, so that a crash leaves the old or the new one. A folder
 * that is of another format, another node or another program is not touched, and the error says
 * what to do about it.
 */
#ifndef WARREN_DATA_DIR_H
#define WARREN_DATA_DIR_H

#include "io/disk.h"

#define DATA_DIR_MAGIC    UINT64_C(0x45524f54534e5257) /* "WRNSTORE" */
#define DATA_DIR_NODE_MAX 255u

struct data_dir {
    uint8_t store_id[16];
    uint32_t incarnation; /* of this start; 1 is the first */
    char node[DATA_DIR_NODE_MAX + 1];
    bool is_new; /* there was nothing */
};

/* ---- one process at a time ----------------------------------------------------------------------
 */

struct data_lock;

/* Make the folder, and those above it, if it is not there, and hold it against other processes.
 * ERR_REFUSED, with the pid in the text, when another one has it. After daemon_detach. */
MUST_CHECK struct data_lock *data_lock_take(const char *folder, struct err *err);
/* The same for who only looks: the folder is there, and nothing in it changes. */
MUST_CHECK struct data_lock *data_lock_borrow(const char *folder, struct err *err);
void data_lock_free(struct data_lock **l); /* NULL is allowed */

/* ---- what is in it; `folder` is for the texts of errors
 * ------------------------------------------
 */

/* The start of a node: judge the folder, or make a new store in an empty one; count up the
 * incarnation; make the folders. A reset that a crash had cut short is finished. */
MUST_CHECK bool data_dir_start(struct disk *disk, const char *folder, const char *node,
                               struct data_dir *out, struct err *err);

/* Judge it and change nothing; the incarnation is that of the last start. ERR_NOT_FOUND when there
 * is no store. */
MUST_CHECK bool data_dir_look(struct disk *disk, const char *folder, struct data_dir *out,
                              struct err *err);

/* Everything in the folders goes, then it is as after the first start, with a new id; only
 * the incarnation goes on counting. No file in there is open. A crash meanwhile leaves nothing half
 * done: the next start goes on. */
MUST_CHECK bool data_dir_reset(struct disk *disk, const char *folder, const char *node,
                               struct data_dir *out, struct err *err);

#endif
