/*
 * remote_outbox: records on their way to another node: gathered to frames, and large contents cut
 * to parts.
 *
 * What is said in a turn leaves as one frame or few. A content that is not small travels in parts
 * between the records of others; what its channel says meanwhile waits behind it, so that each
 * channel keeps its order and none holds up another. Of parts only so much is under way as the
 * other side has not taken yet. Records overtake each other in this way: who counts them as the
 * other side does marks them, and is told when all of one has left. While the pipe is full frames
 * wait here: what bounds them is the credit of those who speak (see remote_client.h and
 * remote_server.h). One thread.
 */
#ifndef WARREN_REMOTE_OUTBOX_H
#define WARREN_REMOTE_OUTBOX_H

#include "base/idmap.h"
#include "remote/remote_wire.h"

#include <sys/queue.h>

/* What carries frames. */
struct remote_pipe {
    /* Bytes lie in `block`, with REMOTE_FRAME_ROOM octets before them that are the pipe's. `more`:
     * they are not the last of the turn. */
    void (*send)(void *arg, struct buf *block, struct slice bytes, bool more);
    bool (*is_full)(void *arg);
    /* remote_outbox_flush is wanted at the turn's end. */
    void (*soon)(void *arg);
    /* A reference to a message is not needed any more. */
    void (*drop)(void *arg, struct message **m);
    void *arg;
};

struct remote_frame;
struct remote_held;

struct remote_outbox {
    struct remote_pipe pipe;
    struct buf *frame; /* being filled; NULL: nothing since the last one */
    struct wire_out out;
    STAILQ_HEAD(, remote_frame) frames; /* complete, the pipe was full */
    size_t waiting_bytes;               /* of those */
    size_t held_bytes;                  /* of contents behind a large one, and of that */
    struct idmap held;                  /* struct remote_held by channel */
    TAILQ_HEAD(, remote_held) talking;  /* have a slot, next one first */
    TAILQ_HEAD(, remote_held) queued;   /* wait for one */
    uint32_t slots;                     /* a bit for each that is used */
    uint32_t parts_credit;
    uint64_t records;
    /* All of a record with this mark, which is not 0, has left (for a frame): the other side will
     * see them in this order. May come from within remote_outbox_put. */
    void (*left)(void *arg, uint64_t mark);
    void *left_arg;
};

void remote_outbox_init(struct remote_outbox *o, const struct remote_pipe *pipe);

/* Who is told of marks; without it nothing is marked. */
static inline void remote_outbox_tell_left(struct remote_outbox *o,
                                           void (*left)(void *arg, uint64_t mark), void *arg)
{
    o->left = left;
    o->left_arg = arg;
}

/* Does its content travel in parts? */
static inline bool remote_outbox_is_large(const struct message *m)
{
    return (uint64_t)m->names_bytes + m->props_bytes + m->body_bytes > REMOTE_INLINE_BYTES;
}

/* Is there a content in parts, or what waits behind one? */
static inline bool remote_outbox_holds_any(const struct remote_outbox *o)
{
    return o->held.count != 0;
}

/* All that was not sent is forgotten; it is as after init. */
void remote_outbox_reset(struct remote_outbox *o);

/* Say it. `channel` names whose it is, 0: nobody's, which waits for nobody (and has no large
 * content). The record's message is borrowed. */
void remote_outbox_put(struct remote_outbox *o, uint64_t channel, const struct remote_record *r);

/* The turn's end. */
void remote_outbox_flush(struct remote_outbox *o);

/* The pipe has room again. */
void remote_outbox_on_room(struct remote_outbox *o);

/* The other side has taken so many octets of parts. */
void remote_outbox_on_parts_taken(struct remote_outbox *o, uint32_t octets);

/* What waits here, in octets: the link has no room for it. */
static inline size_t remote_outbox_waiting(const struct remote_outbox *o)
{
    return o->waiting_bytes + o->held_bytes;
}

/* Does something of this channel wait here behind a large content? Then what others say overtakes
 * what it says now. */
static inline bool remote_outbox_holds(const struct remote_outbox *o, uint64_t channel)
{
    return UNLIKELY(o->held.count != 0) && idmap_get(&o->held, channel) != NULL;
}

/* One for a channel of a node, as `channel` above. */
static inline uint64_t remote_channel_key(const struct port_channel_ref *c)
{
    /* The node and shard are the same for all of a link. Never 0: channels count from 1. */
    return c->connection << 16 | c->number;
}

#endif
