/*
 * large_files: which files of large messages there are, who wants them, and their writing and
 * removing in groups. On the manager's loop; the work is done on a pool, one group at a time.
 *
 * A file is written once however many queues have its message. The record LARGE follows when the
 * file and its name are durable, and whoever waits is told that record's LSN. When the last queue
 * is done with it, and that is durable, it goes; unless a queue of another shard, whose word comes
 * late, wants it before. While the disk is full the writing waits.
 */
#ifndef WARREN_LARGE_FILES_H
#define WARREN_LARGE_FILES_H

#include "io/disk.h"
#include "io/mailbox.h"
#include "store/journal.h"
#include "store/recover.h"

struct message;
struct store;
struct work_pool;

/* Have a large message written: once for each MSG_LARGE record. */
struct large_write {
    struct mail mail; /* mail.fn is the asker's: comes to reply_to */
    struct loop *reply_to;
    uint64_t id;
    struct message *message; /* a reference, given back with the mail */
    uint64_t *qids;          /* of the record: its queues; from mem, the store's */
    uint32_t targets;        /* so many: each will be done with it */
    bool is_safe;            /* out: the record LARGE is written; else it never will be */
    uint64_t lsn;            /* what must be durable for it to be safe */
    /* The store's. */
    struct mail way;
    struct store *store;
    struct large_write *next;
};

struct large_files;

struct large_files_setup {
    struct disk *disk;
    struct loop *loop;
    struct work_pool *pool; /* ends before large_files_free */
    struct journal *journal;
    enum journal_sync sync;
    const char *node;
    /* A write or sync failed in a way that is no lack of room. */
    void (*on_failed)(const struct err *err, void *arg);
    void *arg;
};

struct large_files *large_files_new(const struct large_files_setup *setup);

/* Its loop has ended. Writes that wait come back, not safe. */
void large_files_stop(struct large_files *l);
void large_files_free(struct large_files **l);

/* At start, before the loop runs: what messages refer to; all other files are removed. */
MUST_CHECK bool large_files_restore(struct large_files *l, const struct recovered *r,
                                    struct err *err);

/* Files wait to be written for which the disk had no room at the last try. */
bool large_files_want_room(const struct large_files *l);

void large_files_write(struct large_files *l, struct large_write *w);
void large_files_drop(struct large_files *l, uint64_t id, uint32_t targets, uint64_t lsn);

/* These segments are about to go: what they say of files is said again, at the journal's end. */
void large_files_leave(struct large_files *l, const uint32_t *segs, size_t count);

/* Remove what may go by now, write what waits. */
void large_files_go_on(struct large_files *l);

/* Something waits: for room, or for something to be durable. */
bool large_files_wait(const struct large_files *l);

struct large_files_stats {
    atomic_uint_fast64_t files; /* any thread */
    atomic_uint_fast64_t bytes; /* of bodies */
};
const struct large_files_stats *large_files_stats(const struct large_files *l);

#endif
