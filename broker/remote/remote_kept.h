/*
 * remote_kept: contents that were sent to another node, and kept for a while since they may come
 * back: who publishes to a queue over there and who consumes it meet on this shard.
 *
 * Both sides count the octets of all contents that were published with REMOTE_KEPT, in the order in
 * which they travel; one is called by the count behind it. Who answers names one only while no more
 * than REMOTE_KEPT_BYTES of those that it has read are behind it, and not again unless it was sent
 * back; who asks keeps one until its channel took it, or until so much behind it is known to have
 * been read (TAKEN). What is said before a TAKEN arrives before it, so nothing is named that is not
 * kept any more.
 *
 *        forgotten          kept, may be named           not read yet, kept
 *     |..............|..............................|.........................|
 *                     <---- REMOTE_KEPT_BYTES ----->read                     sent
 *
 * A queue that is longer than this hands out what was published long ago. So while as much is kept
 * nothing is added, and the eldest, which are the next to come back, stay: of a queue twice as long
 * every other one is named, not none. What nobody ever names, since others took it or it expired,
 * must not stay for good: once much that was named is younger (REMOTE_KEPT_LAG), or nothing was
 * named for long (REMOTE_KEPT_PATIENCE), new ones push out the eldest.
 *
 * A core: this is the asking side. One thread.
 */
#ifndef WARREN_REMOTE_KEPT_H
#define WARREN_REMOTE_KEPT_H

#include "model/message.h"
#include "remote/remote_ring.h"

#define REMOTE_KEPT_BYTES    ((uint64_t)16 * 1024 * 1024)
#define REMOTE_KEPT_UNREAD   (REMOTE_KEPT_BYTES / 2) /* with more on its way nothing more is kept */
#define REMOTE_KEPT_LEAST    512u                    /* shorter ones are as cheap to send again */

#define REMOTE_KEPT_LAG      (REMOTE_KEPT_BYTES / 4)
#define REMOTE_KEPT_PATIENCE (REMOTE_KEPT_BYTES * 8) /* octets that were not kept meanwhile */

struct remote_kept {
    struct remote_ring items; /* struct remote_kept_item, eldest first */
    uint64_t sent;            /* octets */
    uint64_t read;            /* ... of which the other side is known to have read so many */
    uint64_t live;            /* ... of those that are needed still */
    uint64_t passed_by;       /* ... that were not kept since one was found */
    uint64_t found_end;       /* name of the last one found */
    size_t next_read;         /* index of the first item behind what was read */
    size_t found;             /* ... of the last one found */
};

struct remote_kept_item {
    struct message *message; /* a reference; NULL: not needed any more */
    uint64_t end;            /* the count behind it: its name */
    uint64_t copies;         /* as many were published, up to it, when it was */
};

/* A reference that is not needed any more, as in struct remote_pipe. */
typedef void (*remote_drop_fn)(void *arg, struct message **m);

/* What counts of one, on both sides. */
static inline uint64_t remote_kept_octets(const struct message *m)
{
    return (uint64_t)m->names_bytes + m->props_bytes + m->body_bytes;
}

/* What counts of a delivery to that session: its body, unless the other end may be told its name
 * instead. Were those counted, too, fewer would be under way than come in at a time: a queue would
 * grow although its consumer has room, beyond what can be named. Should one be sent whole all the
 * same, the session turns away what its link has no room for. */
static inline uint32_t remote_kept_bytes_back(const struct message *m, uint64_t session)
{
    uint64_t as;
    return message_is_kept(m, session, &as) ? 0 : m->body_bytes;
}

void remote_kept_init(struct remote_kept *k);

/* Nothing is kept any more; it is as after init. */
void remote_kept_reset(struct remote_kept *k, remote_drop_fn drop, void *arg);

/* Is it one that should be kept, and is there room? If not, it is counted as passed by. */
bool remote_kept_wants(struct remote_kept *k, const struct message *m);

/* Takes a reference. `copies`: of all that was published so far, with this one. */
void remote_kept_add(struct remote_kept *k, struct message *m, uint64_t copies);

/* The other side has taken so many copies since the beginning: it has read what they came with. */
void remote_kept_taken(struct remote_kept *k, uint64_t copies, remote_drop_fn drop, void *arg);

/* It names this one, which it has read: lent until the next call. NULL: none of that name is kept.
 */
struct message *remote_kept_find(struct remote_kept *k, uint64_t end);

/* The one that was found just now is not needed any more. */
void remote_kept_drop_found(struct remote_kept *k, remote_drop_fn drop, void *arg);

#endif
