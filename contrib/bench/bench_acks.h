/*
 * bench_acks: what a consumer has acknowledged, and which of it the server must have kept.
 *
 * AMQP has no answer to an acknowledgement, and time tells nothing of it: a disk may take seconds
 * for one sync, and what is read now may have been sent before the server died. Order does tell.
 *
 *   acked    sent
 *   taken    a delivery has come for which the prefetch window had no room without it
 *   seen     a message that was published after that, to the same queues, is confirmed
 *   kept     another one is, which was published after the first one's confirm
 *
 * What comes to a queue later stands behind it in the server's journal, and what is confirmed is on
 * the disk with all before it. Two of them, because a server may gather what it is told in one turn
 * of its loop and append that behind a message which came in the same turn, but not behind one of
 * the next. What was under way when a connection broke is never known. One consumer, one thread.
 */
#ifndef WARREN_BENCH_ACKS_H
#define WARREN_BENCH_ACKS_H

#include "bench_progress.h"

/* More are not remembered: of the oldest it stays unknown. */
#define BENCH_ACKS_MAX ((size_t)1 << 16)

struct bench_acks_entry {
    uint64_t sequence;
    uint64_t tag;
    uint64_t after; /* taken or seen: messages of the flow from this number on were sent later */
    uint32_t flow;
};

struct bench_acks {
    const struct bench_progress *progress; /* borrowed */
    uint32_t prefetch;
    struct bench_acks_entry *entries; /* ring, by the order of deliveries */
    size_t cap;                       /* a power of two, or 0 */
    size_t first;                     /* first .. seen - 1 are seen, and so on */
    size_t seen;
    size_t taken;
    size_t acked;
    size_t end;
};

void bench_acks_init(struct bench_acks *a, const struct bench_progress *progress,
                     uint32_t prefetch);
void bench_acks_fini(struct bench_acks *a);

/* A message was delivered, in the order of tags. */
void bench_acks_took(struct bench_acks *a, uint32_t flow, uint64_t sequence, uint64_t tag);

/* All that was delivered so far is acknowledged. */
void bench_acks_sent(struct bench_acks *a);

/* Takes the oldest that is kept; false when there is none. */
MUST_CHECK bool bench_acks_kept(struct bench_acks *a, uint32_t *flow, uint64_t *sequence);

/* The connection is lost: what is not known by now never will be. */
void bench_acks_drop(struct bench_acks *a);

#endif
