/*
 * mirrored_kit: one node with its real shard, journal and metadata, whose loops are turned by hand.
 *
 * It is node 2 of three; nodes 1 and 3 are the test: it says what they decide, and, as a source,
 * what a master says. What the node answers is kept.
 */
#ifndef WARREN_MIRRORED_KIT_H
#define WARREN_MIRRORED_KIT_H

#include "broker_inner.h"
#include "hosted.h"
#include "meta_mirrored.h"
#include "mirrored_journal.h"
#include "model/message.h"
#include "model/queue_copy.h"
#include "storage.h"
#include "store/store.h"

#define HOUSE_NODE     2u
#define HOUSE_SAID_MAX 64u

struct house {
    struct world w;
    struct broker *b;
    struct shard *s;
    struct mirror_replica *own; /* the shard's, while that of the test is in its place */
    struct mirror_replica *r;
    struct mirror_source *source;
    struct producers producers; /* that the next JOIN says its master knows */
    char folder[64];
    uint64_t pos; /* of the source's last record */
    unsigned said_count;
    struct mirror_record said[HOUSE_SAID_MAX];
    struct mirror_run runs[HOUSE_SAID_MAX][8]; /* of offers */
    uint64_t received, durable;                /* acknowledged */
};

/* A node that has never been. */
void house_init(struct house *h);
void house_fini(struct house *h);

/* It stops in order; what it has on disk stays. */
void house_stop(struct house *h);
/* `decide` says what the metadata were before; then it is up as the next incarnation. */
typedef void (*house_history_fn)(struct house *h);
void house_start(struct house *h, house_history_fn decide);
/* The same, and `meanwhile` is decided when the journal was read, and nothing done with it. */
void house_start_amid(struct house *h, house_history_fn decide, house_history_fn meanwhile);

/* Apply, show, and tell the shard; not a history's, while nothing runs. */
void house_decide(struct house *h, struct meta_cmd cmd);
/* The same, and the shard is not told of it. */
void house_show(struct house *h, struct meta_cmd cmd);
void house_up(struct house *h);
/* The queue `m` to that node, from its present epoch. */
struct meta_cmd move_to(const struct world *w, unsigned node);

/* The queue, as the shard has it. */
struct hosted *house_queue(const struct house *h, const char *name);

/* Turn the loops until it is so; the test fails if that takes too long. */
#define HOUSE_UNTIL(h, condition)                                                                  \
    for (uint64_t house_end_ = house_deadline(); !(condition);) {                                  \
        house_turn(h);                                                                             \
        cr_assert(lt(u64, clock_mono_ms(), house_end_), "in vain: " #condition);                   \
    }
void house_turn(struct house *h);
uint64_t house_deadline(void);

/* ---- what a master says ---- */

void house_session(struct house *h); /* a new one */
enum mirror_taken house_say(struct house *h, struct mirror_record *r);
/* Of the queue's own epoch, with these next positions; `epochs` before it began at 0. */
void house_join(struct house *h, const char *name, uint64_t next, unsigned epochs,
                const uint64_t (*history)[2]);
enum mirror_taken house_message(struct house *h, const char *name, uint64_t position, uint64_t pid,
                                uint64_t seq, struct slice body, bool lasts);
enum mirror_taken house_settle(struct house *h, const char *name, uint64_t first, uint64_t last,
                               uint64_t mark);
void house_done(struct house *h, const char *name, uint64_t pid, uint64_t seq);

/* All that was said is acknowledged as durable. */
void house_until_durable(struct house *h);

/* "0-4 7-7": positions where messages are. */
const char *house_held(struct house *h, const char *name);

/* Messages that the journal's segments count, of all queues. */
size_t house_alive(const struct house *h);

#endif
