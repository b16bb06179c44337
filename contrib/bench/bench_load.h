/*
 * bench_load: messages made beforehand, so that publishing one is little more than stamping it.
 *
 * A model block holds as many whole messages (method, header and body frames) as fit, with flows
 * and sizes in turn. A publisher works on copies of it: it stamps ids and times in place and gives
 * ranges of the copy to the stream, which keeps a reference until they are sent. When a copy is
 * used up, the next spare one that nobody else holds any more follows, or a fresh one.
 *
 * Messages too large for that, and those sent again, are put together one at a time: their heads
 * are copied, their bodies are ranges of one constant block, so that 100 MB cost no memory. The
 * octets behind the ids are a fixed pattern that the receiver can compare.
 */
#ifndef WARREN_BENCH_LOAD_H
#define WARREN_BENCH_LOAD_H

#include "base/buf.h"
#include "bench_body.h"
#include "bench_filler.h"
#include "bench_pace.h"
#include "bench_plan.h"
#include "io/stream.h"

#define BENCH_LOAD_BLOCK_BYTES ((size_t)128 * 1024)
#define BENCH_LOAD_SPARES      6u

struct bench_load_slot {
    uint32_t start;
    uint32_t id_at;
    uint32_t end;
    uint32_t ids; /* octets of the body that are ids and times */
};

/* What a publisher sends; immutable but for the copies it works on. One thread. */
struct bench_load {
    const struct bench_plan *plan;
    uint32_t flow_first;
    uint32_t frame_max;
    bool whole;     /* messages fit into the block; else one at a time */
    uint32_t count; /* messages in a block */
    struct bench_load_slot *slots;
    struct buf *model;
    struct buf *work; /* the copy in use; messages before `at` are given away */
    uint32_t at;
    struct buf *spares[BENCH_LOAD_SPARES];
    struct buf *filler;
};

/* For publisher number `publisher`, on channel 1, frames up to frame_max. */
void bench_load_init(struct bench_load *l, const struct bench_plan *plan, uint32_t publisher,
                     uint32_t frame_max);
void bench_load_fini(struct bench_load *l);

uint64_t bench_load_size(const struct bench_load *l, uint64_t n); /* of message n's body */

/* Write messages n .. n + count - 1; n must follow the last one written by this. With `pace`, each
 * was due when it says; else now. */
void bench_load_write(struct bench_load *l, struct stream *s, uint64_t n, uint32_t count,
                      uint64_t now_us, const struct bench_pace *pace);

/* Write message n once more, marked as resent. */
void bench_load_write_again(struct bench_load *l, struct stream *s, uint64_t n, uint64_t now_us,
                            uint64_t due_us);

#endif
