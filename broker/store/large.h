/*
 * large: a message that is too long for a record has a file of its own.
 *
 *   large/%016x   0 u64 magic      8 u16 version   10 u16 octets of this header
 *                12 u32 properties' octets         16 u64 body octets
 *                24 u64 id, that of the name       32 u64 XXH3_64 of properties and body, seed: id
 *                40 u64 XXH3_64 of what stands before; then the properties and the body
 *
 * All integers little-endian. The names it was published with stand in the record, MSG_LARGE, which
 * is written at once; once the file is durable a record LARGE says so. A message is large when its
 * body has LARGE_BODY_LEAST octets or more, whatever its properties have, so that an entry of a
 * queue tells by its body's length alone whether it stands for a large one.
 *
 * Here are the files; larges.h knows which are wanted. All of it blocks. Any thread.
 */
#ifndef WARREN_LARGE_H
#define WARREN_LARGE_H

#include "io/disk.h"
#include "store/record.h"

#define LARGE_BODY_LEAST   MSG_INLINE_MAX
#define LARGE_FOLDER       "large"
#define LARGE_NAME_MAX     24u
#define LARGE_HEADER_BYTES 48u

struct message;

void large_name(uint64_t id, char name[LARGE_NAME_MAX]);

/* The id that a name in the folder stands for. */
MUST_CHECK bool large_id_of(const char *name, uint64_t *id);

/* Write and sync; one that is there is replaced. Its name is durable after large_sync. */
MUST_CHECK bool large_write(struct disk *d, uint64_t id, const struct message *m, struct err *err);
MUST_CHECK bool large_sync(struct disk *d, struct err *err);

/* The message, or NULL: ERR_NOT_FOUND, ERR_PROTOCOL when it is damaged, ERR_IO. Takes no more
 * memory than the message itself. */
MUST_CHECK struct message *large_read(struct disk *d, uint64_t id, struct slice names,
                                      struct err *err);

/* Is it whole, and of `expected_bytes` (properties and body)? Reads it all. */
MUST_CHECK bool large_check(struct disk *d, uint64_t id, uint64_t expected_bytes, struct err *err);

MUST_CHECK bool large_remove(struct disk *d, uint64_t id, struct err *err);

#endif
