/*
 * meta_restore: the metadata read back from their files, at a start or to look at a stopped node.
 *
 * What counts is the last snapshot and the logs from its generation on. The end of the last log may
 * be torn: a group that was never wholly safe, and whose commands nobody was told of; behind it no
 * good group can be, since each is written when the one before is safe. A number that is missing
 * before a good group is damage to what was acknowledged: then nothing is cut, and the error names
 * the file, the octet and what to do. Blocks; changes nothing on the disk.
 */
#ifndef WARREN_META_RESTORE_H
#define WARREN_META_RESTORE_H

#include "cluster/meta_file.h"
#include "io/disk.h"

struct meta_restored {
    uint64_t snapshot;   /* its generation; 0: there is none */
    uint64_t generation; /* of the last log; 0: there is none */
    struct meta_file_head head;
    uint64_t last;       /* where its last group begins; its end if it has none */
    uint64_t end;        /* of what is good in it */
    uint64_t torn_bytes; /* up to the last octet behind it that is not zero */
    uint64_t next_number;
    uint64_t next_id;        /* at least */
    uint64_t command_count;  /* applied */
    uint64_t log_bytes;      /* of groups in logs */
    uint64_t snapshot_bytes; /* of the snapshot */
};

/* Into a fresh meta; nothing is published. */
MUST_CHECK bool meta_restore(struct disk *disk, struct meta *meta, struct meta_restored *out,
                             struct err *err);

#endif
