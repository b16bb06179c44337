/*
 * crew: which server of a backend each node of its cluster is. Immutable; shown to workers in the
 * backend's live record, replaced through the epoch.
 */
#ifndef WARREN_CREW_H
#define WARREN_CREW_H

#include <stddef.h>
#include <stdint.h>

struct server_live;

struct crew_member {
    uint16_t node;
    struct server_live *live;
};

struct crew {
    size_t count;
    struct crew_member members[];
};

/* References to the records are taken. */
struct crew *crew_new(const struct crew_member *members, size_t count);

/* For epoch_retire. NULL is allowed. */
void crew_free(void *crew);

#endif
