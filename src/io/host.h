/*
 * host: what the machine, or the container we run in, has to offer.
 *
 * The limits of control groups (v2 and v1) and the set of allowed cores count, so that a share of
 * memory means a share of what we really get. Read once at start: a blocking look at small files.
 */
#ifndef WARREN_HOST_H
#define WARREN_HOST_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Memory in octets: the machine's, or less where a control group says so. `root` is put before the
 * files' paths: "" but in tests. 0 when nothing can be read. */
uint64_t host_memory_bytes(const char *root);

/* Cores that we may use, at least 1: the allowed set, or less where a quota says so. */
unsigned host_cores(const char *root);

/* Memory of this process that is in RAM, in octets; 0 when it cannot be read. `root` as above. */
uint64_t host_resident_bytes(const char *root);

/* What an ordinary user may still write at `path`, in octets; 0 when it cannot be read. */
uint64_t host_disk_free_bytes(const char *path);

/* How many files this process may have open. */
uint64_t host_files_max(void);

/* Is there such a process? One that has ended and that its parent has not asked for is none. */
bool host_process_lives(uint64_t pid);

/* How many it has; 0 when nobody can say. */
uint64_t host_files_open(void);

/* The host's name up to its first dot, cut to `room`; "localhost" when it has none. */
void host_short_name(char *out, size_t room);

#endif
