/*
 * pager: how the messages of a shard's queues leave memory when it is short, and how they come
 * back.
 *
 * While messages take more than half of what they may (PAGER_SHARE of the memory limit), queues
 * give theirs up in turns, those that hold most first: what is safe in the journal is dropped; what
 * is not in it at all (transient) is written there when the first was not enough. What clients have
 * not acknowledged stays. The next messages of a queue that are not in memory are read ahead of its
 * consumers, with two reads under way for each queue and PAGER_LOADS_MAX for all of a shard. On the
 * shard's thread but what says otherwise.
 */
#ifndef WARREN_PAGER_H
#define WARREN_PAGER_H

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define PAGER_SHARE     2u /* a half, as RabbitMQ's vm_memory_high_watermark_paging_ratio */
#define PAGER_LOADS_MAX 32u

struct hosted;
struct pager;
struct shard;

/* In each queue; zero at first. */
struct pager_queue {
    uint64_t asked; /* the last position that is being read; 0: none is */
    uint8_t loads;  /* under way */
    bool is_due;    /* wants something read */
    uint64_t reads; /* messages that were read back */
    uint32_t life;  /* a queue that comes again is another one */
    TAILQ_ENTRY(hosted) due_entry;
};

struct pager *pager_new(struct shard *s);

/* Its loop has ended. */
void pager_free(struct pager **p);

/* The queue is new. */
void pager_begin(struct hosted *h);

/* Read what *want says, of a queue that other nodes have, too: mirrored_loaded follows, in a later
 * turn. False: there is no store. */
struct qwant;
MUST_CHECK bool pager_read(struct hosted *h, const struct qwant *want);

/* The queue's next messages are not in memory: have them read. It may be inside of the queue:
 * nothing happens to it at once. */
void pager_want(struct hosted *h);

/* The queue goes. */
void pager_forget(struct hosted *h);

/* Memory is short, or not any more: any thread, at most some hundred times a second. */
void pager_press(struct shard *s);

/* A moment of the wall clock, as messages on disk have it, as the loop's; 0: never. `to_loop_ms` is
 * what the loop's clock is ahead by. */
static inline uint64_t pager_moment(uint64_t wall_ms, int64_t to_loop_ms)
{
    int64_t moment = (int64_t)wall_ms + to_loop_ms;
    return wall_ms == 0 ? 0 : moment > 1 ? (uint64_t)moment : 1;
}

struct pager_stats {
    uint64_t paged_out; /* messages whose body left memory */
    uint64_t spilled;   /* transient ones that were written for it */
    uint64_t read_back;
    uint64_t lost; /* that could not be */
};
void pager_stats(const struct shard *s, struct pager_stats *out);

#endif
