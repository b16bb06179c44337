/* quarantine_inner: a file of a queue in quarantine, shared by its reader and its writer. */
#ifndef WARREN_QUARANTINE_INNER_H
#define WARREN_QUARANTINE_INNER_H

#include "base/idmap.h"
#include "base/wire.h"
#include "io/lock.h"
#include "quarantine/quarantine.h"

enum { QUARANTINE_KEPT = 1, QUARANTINE_DROPPED = 2 };

#define QUARANTINE_NAME_ROOM   64u
#define QUARANTINE_NAMES_AT    28u
#define QUARANTINE_HEAD_MAX    (QUARANTINE_NAMES_AT + 2u * 256u + 8u)
#define QUARANTINE_RECORD_HEAD 13u /* octets, kind, sum */
/* Of a KEPT without what differs in length. */
#define QUARANTINE_FIXED   (6u * 8u + 1u)
#define QUARANTINE_IDS_MAX 4096u /* of one DROPPED */

struct quarantine_entry {
    uint64_t id;
    uint64_t epoch; /* with the position: which message it is */
    uint64_t position;
    uint64_t pid;
    uint64_t seq;
    uint64_t offset; /* of its record */
    uint64_t when_ms;
    uint32_t bytes; /* of its record */
    bool is_dropped;
};

struct quarantine_file {
    uint64_t qid;
    uint64_t number;
    uint8_t head[QUARANTINE_HEAD_MAX];
    uint16_t head_bytes;
    uint64_t end;  /* where the next record goes */
    uint64_t dead; /* octets of what is dropped, and of what says so */
    uint64_t next_id;
    uint64_t live;      /* messages */
    uint64_t top_epoch; /* of all that were ever added the last, by epoch and position */
    uint64_t top_position;
    struct quarantine_entry *entries;
    size_t count;
    size_t cap;
};

struct quarantine {
    struct disk *disk;
    uint64_t limit_bytes;
    struct lock lock;
    uint64_t bytes; /* of all files */
    uint64_t next_id;
    struct idmap files; /* struct quarantine_file by qid */
};

void quarantine_file_path(uint64_t qid, const char *suffix, char path[QUARANTINE_NAME_ROOM]);
void quarantine_file_names(const struct quarantine_file *f, struct slice *vhost,
                           struct slice *name);
void quarantine_head_make(struct quarantine_file *f, struct slice vhost, struct slice name);
uint64_t quarantine_sum(uint64_t qid, uint8_t kind, const struct slice *parts, size_t count);
void quarantine_entry_add(struct quarantine_file *f, const struct quarantine_entry *e);
struct quarantine_entry *quarantine_entry_find(struct quarantine_file *f, uint64_t id);
/* Does it come behind all that were ever added? */
bool quarantine_is_last(const struct quarantine_file *f, uint64_t epoch, uint64_t position);

/* The file of this queue, with its index; its damage, if any, is dealt with. NULL: the disk failed,
 * or it is of a newer format. */
struct quarantine_file *quarantine_file_load(struct disk *d, uint64_t qid, struct err *err);
void quarantine_file_free(struct quarantine_file **f);

/* The record at this entry as it was written; *room is from mem, the message points into it. */
MUST_CHECK bool quarantine_record_read(struct disk_file *in, const struct quarantine_file *f,
                                       const struct quarantine_entry *e, uint8_t **room,
                                       struct quarantine_message *out, struct err *err);

/* Write what is left to another file, and put that in its place; the old one goes, or gets this
 * suffix. After an error the file is as it was, or the new one waits to be put in its place. */
#define QUARANTINE_NEW     ".new"
#define QUARANTINE_DAMAGED ".damaged"
MUST_CHECK bool quarantine_file_rewrite(struct disk *d, struct quarantine_file *f,
                                        const char *aside, struct err *err);

#endif
