/*
 * remote_late: frames that wait because the metadata here has not come as far as the other side's.
 *
 * They are copied, and kept in the order in which they came. What bounds them is the credit of
 * those who speak, as with all that the other side has not been told is taken. One thread.
 */
#ifndef WARREN_REMOTE_LATE_H
#define WARREN_REMOTE_LATE_H

#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct remote_late_frame {
    STAILQ_ENTRY(remote_late_frame) entry;
    bool more; /* others of the same turn follow */
    size_t len;
    uint8_t octets[];
};

struct remote_late {
    STAILQ_HEAD(, remote_late_frame) frames;
    /* Memory of them has changed. */
    void (*count)(void *arg, int64_t octets);
    void *arg;
};

void remote_late_init(struct remote_late *l, void (*count)(void *arg, int64_t octets), void *arg);

/* All are dropped; it is as after init. */
void remote_late_reset(struct remote_late *l);

/* Behind all others; or, the rest of one that was begun, before them. */
void remote_late_add(struct remote_late *l, struct slice frame, bool more);
void remote_late_put_back(struct remote_late *l, struct slice rest, bool more);

/* The next one, the caller's: to be given to remote_late_drop. NULL: there is none. */
struct remote_late_frame *remote_late_take(struct remote_late *l);
void remote_late_drop(struct remote_late *l, struct remote_late_frame **f);

#endif
