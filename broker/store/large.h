/*
 * large: a message that is too long for a record has a file of its own.
 *
 *   large/%016x   0 u64 magic; 8 u16 version, u16 header's octets (40), u32 names' octets... see .c
 *
 * A message is large when its body has LARGE_BODY_LEAST octets or more, whatever its properties
 * have: so an entry of a queue tells by its body_bytes alone whether it stands for a large one.
 */
#ifndef WARREN_LARGE_H
#define WARREN_LARGE_H

#include "io/disk.h"
#include "io/mailbox.h"
#include "store/record.h"

#define LARGE_BODY_LEAST MSG_INLINE_MAX

struct message;

/* Have a large message written. Once for each MSG_LARGE record; those with one id share the file,
 * which is written once. */
struct large_write {
    struct mail mail; /* mail.fn is the asker's */
    struct loop *reply_to;
    uint64_t id;
    struct message *message; /* a reference, given back with the mail */
    uint32_t targets;        /* of the record: so many queues are to be done with it */
    uint64_t lsn;            /* out: of the LARGE record: what must be durable for it to be safe;
                                UINT64_MAX: it will never be */
    struct large_write *next;
};

#endif
