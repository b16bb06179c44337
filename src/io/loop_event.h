/*
 * loop_event: what the other modules of src/io need of a loop. Not for anybody else.
 */
#ifndef WARREN_LOOP_EVENT_H
#define WARREN_LOOP_EVENT_H

#include "base/buf.h"
#include "io/loop.h"
#include "io/mailbox.h"

struct event_base;

struct event_base *loop_base(struct loop *loop);

/* First thing in every callback that libevent makes: the turn begins, time is read. */
void loop_turn_begin(struct loop *loop);

/* A block of LOOP_BLOCK_BYTES that nobody else holds; the caller gets a reference. The loop keeps
 * a few and hands them out again as soon as it is their only holder. */
#define LOOP_BLOCK_BYTES ((size_t)256 * 1024)
struct buf *loop_block_in(struct loop *loop);

/* The same for output, LOOP_BLOCK_OUT_BYTES long. */
#define LOOP_BLOCK_OUT_BYTES ((size_t)64 * 1024)
struct buf *loop_block_out(struct loop *loop);

/* A pipe for splice(2), empty; a loop keeps a few. False: LOOP_PIPES_MAX are out already, or the
 * system gives none that is worth it. */
#define LOOP_PIPES_MAX  64u
#define LOOP_PIPE_BYTES ((size_t)1024 * 1024)
struct loop_pipe {
    int out, in; /* to read from, to write to */
};
bool loop_pipe_take(struct loop *loop, struct loop_pipe *p);
void loop_pipe_give(struct loop *loop, struct loop_pipe *p); /* it is empty again */
void loop_pipe_drop(struct loop *loop, struct loop_pipe *p); /* it may not be */

/* What has no owner any more and lives until it is done by itself, such as a stream that sends its
 * last octets. A loop keeps at most LOOP_ORPHANS_MAX: the eldest is ended when one more comes, and
 * all are by loop_free. `end_fn` removes it. */
#define LOOP_ORPHANS_MAX 1024u
struct loop_orphan {
    void (*end_fn)(struct loop_orphan *o);
    TAILQ_ENTRY(loop_orphan) entry;
};
void loop_orphan_add(struct loop *loop, struct loop_orphan *o,
                     void (*end_fn)(struct loop_orphan *));
void loop_orphan_remove(struct loop *loop, struct loop_orphan *o);

/* The pool on which resolve.c looks names up for this loop, which takes it; NULL: none yet. */
struct work_pool;
void loop_set_resolver(struct loop *loop, struct work_pool *pool);
struct work_pool *loop_resolver(const struct loop *loop);

/* The mail side of a loop, made and drained by loop.c. */
struct mailbox;
struct mailbox *mailbox_new(struct loop *loop, struct err *err);
void mailbox_free(struct mailbox **m);
void mailbox_wake(struct mailbox *m);
void mailbox_drain(struct mailbox *m);
struct mailbox *loop_mailbox(const struct loop *loop);

#endif
