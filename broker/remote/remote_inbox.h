/*
 * remote_inbox: records out of the frames of another node, with large contents put together again.
 *
 * A record whose content travels in parts is shown when the last part is here, as if it had been
 * sent then. Memory is taken for octets that have come, and no more than REMOTE_SLOTS contents are
 * incomplete at a time. What is not as it must be ends the session: see remote_wire.h. One thread.
 */
#ifndef WARREN_REMOTE_INBOX_H
#define WARREN_REMOTE_INBOX_H

#include "remote/remote_wire.h"

struct remote_assembly;

struct remote_inbox {
    struct remote_assembly *slots[REMOTE_SLOTS];
    uint32_t parts_taken; /* octets not told yet: remote_inbox_owes */
    struct slice record;  /* of the last one shown, which came in parts; owned */
    struct wire began;    /* where the last one shown begins in its frame; borrowed */
    /* Memory of what is incomplete has changed. */
    void (*count)(void *arg, int64_t octets);
    void *arg;
};

void remote_inbox_init(struct remote_inbox *in, void (*count)(void *arg, int64_t octets),
                       void *arg);

/* What is incomplete is dropped; it is as after init. */
void remote_inbox_reset(struct remote_inbox *in);

enum remote_next {
    REMOTE_RECORD, /* *out is set, good until the next call */
    REMOTE_END,    /* of this frame */
    REMOTE_BAD,    /* no record of ours */
};

/* The next record of a frame. A message that came in parts is in out->assembled: the caller's to
 * take (remote_message) or to drop. PARTS_TAKEN is shown as any other. */
MUST_CHECK enum remote_next remote_inbox_next(struct remote_inbox *in, struct wire *frame,
                                              struct remote_record *out);

/* How many octets of parts the other side is to be told of now (PARTS_TAKEN); 0: not yet worth a
 * word. */
uint32_t remote_inbox_owes(struct remote_inbox *in);

#endif
