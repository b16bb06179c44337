/*
 * mem_disk: a disk in memory, for tests of what stands on `struct disk`.
 *
 * It keeps what was written at once: power cuts are the simulator's. Files can be looked at,
 * damaged and copied from outside, and operations can be made to fail. Any thread.
 */
#ifndef WARREN_TESTS_MEM_DISK_H
#define WARREN_TESTS_MEM_DISK_H

#include "io/disk.h"

#include <stddef.h>

/* Freed with disk_free, or disk->ops->free_disk. */
struct disk *mem_disk_new(void);

/* Another disk with the same files. */
struct disk *mem_disk_copy(struct disk *d);

bool mem_disk_has(struct disk *d, const char *name);

/* Make or replace a file. */
void mem_disk_put(struct disk *d, const char *name, struct slice bytes);

/* The octets of a file, to be read and changed in place; good until it is written beyond its end.
 * NULL: there is none. */
uint8_t *mem_disk_bytes(struct disk *d, const char *name, size_t *len);

/* Cut off, or filled up with zeros. */
void mem_disk_resize(struct disk *d, const char *name, size_t len);

enum mem_disk_op {
    MEM_DISK_OPEN,
    MEM_DISK_READ,
    MEM_DISK_WRITE,
    MEM_DISK_SYNC,
    MEM_DISK_WRITE_THROUGH, /* cannot fail: nothing comes of it here */
    MEM_DISK_OPS,
};

/* After `after` more of these succeeded, the next one fails with this code, and all that follow if
 * `for_good`. ERR_NONE: no more of that. */
void mem_disk_fail(struct disk *d, enum mem_disk_op op, unsigned after, enum err_code code,
                   bool for_good);

/* How often it was called since the disk was made. */
unsigned mem_disk_calls(struct disk *d, enum mem_disk_op op);

/* What `space` answers. 1 GiB free of 2 at first. */
void mem_disk_set_space(struct disk *d, uint64_t free_bytes, uint64_t total_bytes);

#endif
