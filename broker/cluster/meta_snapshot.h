/*
 * meta_snapshot: one version of the metadata as a file, written group by group while commits go
 * on; when it is safe under its name, the files that it replaces are removed. Blocks.
 */
#ifndef WARREN_META_SNAPSHOT_H
#define WARREN_META_SNAPSHOT_H

#include "cluster/meta_file.h"
#include "io/disk.h"

struct meta_snapshot {
    struct disk *disk;
    struct meta_file_head head;         /* of the file */
    uint64_t next_id;                   /* at least */
    const struct meta_version *version; /* held by the caller */
    uint64_t bytes;                     /* out: of the file */
    uint64_t commands;                  /* out */
};

MUST_CHECK bool meta_snapshot_write(struct meta_snapshot *s, struct err *err);

/* Remove the logs and snapshots of older generations than this, and files that were never finished.
 */
MUST_CHECK bool meta_snapshot_clean(struct disk *disk, uint64_t generation, struct err *err);

#endif
