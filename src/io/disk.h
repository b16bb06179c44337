/*
 * disk: the files of one folder and what can be done to them, behind a table of operations.
 *
 * The store writes and reads through this alone, so that the simulator can put its own disk in
 * place of the machine's. Every operation blocks: on a work pool, on the journal's thread, or at
 * start and end, never on a shard. Any thread; one file may be read and written by several at a
 * time. Names are relative to the disk's folder, with '/' between ("journal/00000001.seg"); the
 * folder itself, to list and to sync, is "". Errors name the path and the cause; their code is
 * ERR_LIMIT for a disk or quota that is full (or no file that can be opened), ERR_NOT_FOUND,
 * ERR_REFUSED for a file system that may only be read (or rights that are missing), and ERR_IO for
 * all else.
 */
#ifndef WARREN_DISK_H
#define WARREN_DISK_H

#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"

struct disk;
struct disk_file;

enum disk_open {
    DISK_READ,   /* it exists */
    DISK_WRITE,  /* it exists; to read and write */
    DISK_CREATE, /* it does not exist; to read and write, mode 0600 */
};

/* Called with each name in a folder, without the folder, in no order; "." and ".." left out. */
typedef void (*disk_name_fn)(const char *name, void *arg);

struct disk_ops {
    /* A folder that is there already is no error. */
    bool (*make_folder)(struct disk *d, const char *name, struct err *err);
    struct disk_file *(*open)(struct disk *d, const char *name, enum disk_open how,
                              struct err *err);
    /* Drops what the file holds of the process; syncs nothing. *f becomes NULL. */
    void (*close)(struct disk_file **f);
    bool (*size)(struct disk_file *f, uint64_t *bytes, struct err *err);
    /* `got` is less than `len` only where the file ends. */
    bool (*read)(struct disk_file *f, uint64_t offset, void *bytes, size_t len, size_t *got,
                 struct err *err);
    /* All of it, or an error and nobody knows how much. Safe only after sync. */
    bool (*write)(struct disk_file *f, uint64_t offset, const struct slice *parts, size_t count,
                  struct err *err);
    /* What was written is on the medium (fdatasync). After a failure nothing that was written since
     * the last success may be believed, and it is not to be tried again. */
    bool (*sync)(struct disk_file *f, struct err *err);
    /* Optional, NULL where there is no such thing. From now on a short write of whole sectors goes
     * to the device at once instead of leaving that to the sync, where the file system can do so:
     * for a log that is synced after each, at places that it has filled before. A file that has
     * another name than it was opened by is written as before. */
    void (*write_through)(struct disk_file *f);
    bool (*truncate)(struct disk_file *f, uint64_t bytes, struct err *err);
    /* Names change durably with sync_folder. `to` is replaced if it is there. */
    bool (*rename)(struct disk *d, const char *from, const char *to, struct err *err);
    bool (*remove)(struct disk *d, const char *name, struct err *err);
    bool (*sync_folder)(struct disk *d, const char *name, struct err *err);
    bool (*list)(struct disk *d, const char *folder, disk_name_fn each, void *arg, struct err *err);
    /* Octets of the file system: free for us, and altogether. */
    bool (*space)(struct disk *d, uint64_t *free_bytes, uint64_t *total_bytes, struct err *err);
    void (*free_disk)(struct disk *d);
};

/* Implementations put theirs behind these. */
struct disk {
    const struct disk_ops *ops;
};

struct disk_file {
    struct disk *disk;
};

/* The machine's. The folder is there. */
MUST_CHECK struct disk *disk_new(const char *folder, struct err *err);

/* NULL is allowed; *d becomes NULL. */
void disk_free(struct disk **d);

#endif
