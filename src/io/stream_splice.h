/*
 * stream_splice: octets from one stream to another within the kernel (splice(2)), for relays that
 * do not look at them.
 *
 * While the joined streams have nothing of their own on the way, and a lot comes at a time, it goes
 * through a pipe instead of through our memory; a little at a time is cheaper to copy, and is shown
 * to the owner as ever, who writes it to the other stream. What a slow peer does not take waits in
 * the pipe, and nothing more is read meanwhile. A pipe is held only while something is in it.
 */
#ifndef WARREN_STREAM_SPLICE_H
#define WARREN_STREAM_SPLICE_H

#include "io/stream.h"

/* Descriptors of pipes that one loop has open at most. */
#define STREAM_SPLICE_FILES_MAX 128u

/* So many octets have gone by on_data; `arg` is that of the stream they came from. */
typedef void (*stream_moved_fn)(struct stream *from, size_t octets, void *arg);

/* Both are open, of one loop, and speak no TLS. From here on on_data of `from` is called for what
 * has come already and for what is copied; the owner writes to `to` nothing but that. It ends by
 * itself when either goes. */
void stream_join(struct stream *from, struct stream *to, stream_moved_fn moved);

#endif
