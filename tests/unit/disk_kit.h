/*
 * disk_kit: a disk over the machine's that fails when a test wants it to.
 */
#ifndef WARREN_TESTS_DISK_KIT_H
#define WARREN_TESTS_DISK_KIT_H

#include "io/disk.h"

#include <stdatomic.h>

enum kit_op {
    KIT_OPEN,
    KIT_CREATE,
    KIT_READ,
    KIT_WRITE,
    KIT_SYNC,
    KIT_RENAME,
    KIT_REMOVE,
    KIT_SYNC_FOLDER,
    KIT_OPS,
};

struct kit_disk {
    struct disk base;
    struct disk *under;
    atomic_uint counts[KIT_OPS];  /* how often each was called */
    atomic_uint fail_in[KIT_OPS]; /* the n-th from now on and all after it fail; 0: none */
    enum err_code code;           /* with this, or ERR_IO */
    atomic_int_fast64_t room;     /* octets by which files may still grow; below 0: endless */
    void (*on_sync)(void *arg);   /* before a sync of a file */
    void *arg;
};

struct kit_disk *kit_disk_new(const char *folder);
void kit_disk_free(struct kit_disk **d);

/* The n-th call of `op` from now on fails, and those after it: 1 is the next. 0: none any more. */
void kit_disk_fail(struct kit_disk *d, enum kit_op op, unsigned n, enum err_code code);

#endif
