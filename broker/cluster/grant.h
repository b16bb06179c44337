/*
 * grant: who may hand out what (core). A node that is the master of queues asks each node that
 * could be made their master in its place for a grant, over and over: "I shall not begin in an
 * epoch of a queue that you master before GRANT_LENGTH_US have passed since you asked". What it
 * masters it serves only as long as it holds the grants of all others that count; and who is made a
 * master waits until those have run out that it has given. So there are never two who serve one
 * queue, and nobody serves after a later one has, though there is no leader in it, and messages may
 * be late, lost or doubled, and processes and machines may stand still.
 *
 * It knows nodes, incarnations and the indexes of the cluster's log, and no queue: whoever keeps
 * queues asks with what a queue has (grant_board.h: may it be served?) or had
 * (grant_begins_us: when may it be taken over?). Both halves are here:
 *
 *     the master M                                      each other member R
 *       ASK {inc of M, number, index that M has applied} ->
 *                                                         refuses, if M is another process than the
 *                                                         log says, if M has not applied an entry
 *                                                         that R has and that took a queue from it,
 *                                                         or if R's own start is not in the log
 * yet; puts it off while R is behind M's index; else notes that it has given one
 *     <- ANSWER {inc of M, number, verdict}
 *       holds it, from when it *asked*, for queues
 *       whose epoch is not above the index it asked with
 *
 * Times are CLOCK_BOOTTIME in microseconds, read for each event after whatever brought it was there
 * (never a loop's cached time): it runs on while a machine sleeps. Two clocks may differ in their
 * rates, each by a tenth: therefore R waits longer by its clock than M serves by its own.
 *
 * One for each incarnation. Bounded: GRANT_PEERS_MAX others, and for each a number of grants that
 * were given; what does not fit is kept as something coarser that waits longer, never shorter.
 */
#ifndef WARREN_GRANT_H
#define WARREN_GRANT_H

#include "base/attr.h"
#include "base/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GRANT_LENGTH_US    1000000  /* of a grant, by the clock of who holds it */
#define GRANT_WAIT_US      1250000  /* then it has run out, by any other clock: 1.1 / 0.9 */
#define GRANT_ASK_US       100000   /* from one question to the next */
#define GRANT_ASK_LEAST_US 5000     /* ... when a queue cannot be served before the answer */
#define GRANT_IDLE_US      10000000 /* nobody needed a node's grant for so long: it is not asked */

#define GRANT_PEERS_MAX    512u /* nodes of the cluster, and those that were of late */
#define GRANT_ASKED_MAX    32u  /* questions to one node that can still be answered */
#define GRANT_GIVEN_MAX    16u  /* grants to one node that are told apart */
#define GRANT_MOVES_MAX    64u  /* pairs of nodes between which queues moved of late */

struct grant;

/* The process begins at `now_us`, with the metadata as of `index`. is_first: the cluster has never
 * had another node, as far as that index goes. */
struct grant *grant_new(uint16_t node, uint32_t inc, uint64_t index, bool is_first, int64_t now_us);
void grant_free(struct grant **g);

/* ---- events ----------------------------------------------------------------------------------
 */

enum grant_verdict {
    GRANT_GIVEN,
    GRANT_NOT_YET,  /* the one that was asked is not in the log with its own start */
    GRANT_DEPOSED,  /* the one that asks has not applied an entry that took a queue from it */
    GRANT_STRANGER, /* it is another process than the log says */
};
#define GRANT_VERDICT_COUNT 4u

struct grant_ask {
    uint32_t inc; /* of who asks */
    uint64_t number;
    uint64_t index;
};

struct grant_answer {
    uint32_t inc; /* of who asked, and what */
    uint64_t number;
    enum grant_verdict verdict;
};

#define GRANT_EVENTS(X)                                                                            \
    X(TIME)    /* the clock alone; wanted at grant_deadline_us */                                  \
    X(NODE)    /* .member: the node table has it so; inc 0: it has it no more */                   \
    X(MOVED)   /* .moved: an entry gives queues to another master. Before APPLIED, JUMPED */       \
    X(APPLIED) /* .applied: entries up to it */                                                    \
    X(JUMPED)  /* .applied: the state of that index has replaced an older one: what was between */ \
               /* is not known */                                                                  \
    X(NEED)    /* .need: a queue of this node cannot be served without that node's grant */        \
    X(OPEN)    /* .node: a way to it opened */                                                     \
    X(BROKEN)  /* .node: its link broke. That proves nothing */                                    \
    X(GONE)    /* .member: that process, and any before it, exists no more: a connection to its */ \
               /* port, begun when it was known, was refused by the machine */                     \
    X(ASK)     /* .ask, of .node */                                                                \
    X(ANSWER)  /* .answer, of .node */

enum grant_event_kind {
    GRANT_EV_NONE,
#define X(name) GRANT_EV_##name,
    GRANT_EVENTS(X)
#undef X
};

struct grant_event {
    enum grant_event_kind kind;
    int64_t now_us;
    uint16_t node; /* whom it is about or comes from */
    union {
        struct {
            uint32_t inc;
        } member; /* NODE, GONE */
        struct {
            uint16_t to; /* `node` was their master; it, or this one, may be 0: none */
            uint64_t index;
        } moved;
        struct {
            uint64_t index;
            bool is_up; /* the log has the start of this incarnation */
        } applied;
        struct {
            uint64_t epoch; /* of that queue */
        } need;
        struct grant_ask ask;
        struct grant_answer answer;
    };
};

/* ---- effects ---------------------------------------------------------------------------------
 */

enum grant_effect_kind {
    GRANT_DO_ASK,    /* send .ask to .node; may be lost */
    GRANT_DO_ANSWER, /* send .answer to .node; may be lost */
    GRANT_DO_HOLD,   /* .hold: to the board */
    GRANT_DO_LOOK,   /* what grant_begins_us said may be too late now */
};

struct grant_effect {
    enum grant_effect_kind kind;
    uint16_t node;
    union {
        struct grant_ask ask;
        struct grant_answer answer;
        struct {
            uint64_t index; /* for epochs up to this */
            int64_t until_us;
        } hold;
    };
};

#define GRANT_EFFECTS_MAX (2u * GRANT_PEERS_MAX)

struct grant_effects {
    size_t count;
    struct grant_effect list[GRANT_EFFECTS_MAX];
};

/* Cleared by each step. */
void grant_step(struct grant *g, const struct grant_event *ev, struct grant_effects *out);

int64_t grant_deadline_us(const struct grant *g); /* INT64_MAX: none */

/* ---- questions -------------------------------------------------------------------------------
 */

/* This node has applied that a queue is its own, in this epoch: from when on may it begin there? A
 * time that has come means at once; INT64_MIN always does. `earlier`: the master before, as its own
 * history of the queue shows it, which may be this node itself, of an earlier epoch in which it may
 * not have begun; masters before that one are found by what MOVED has told. None, if the queue is
 * not in its history. A queue that never had another master nor another member need not ask. */
int64_t grant_begins_us(const struct grant *g, uint64_t epoch, const uint16_t *earlier,
                        size_t count);

/* What is held of a node: see grant_board.h, which keeps the same for other threads. */
struct grant_held {
    uint64_t index;
    int64_t until_us;
};
struct grant_held grant_held(const struct grant *g, uint16_t node);

/* ---- as octets -------------------------------------------------------------------------------
 *
 *   ASK      u32 inc   u64 number   u64 index
 *   ANSWER   u32 inc   u64 number   u8 verdict */

#define GRANT_ASK_BYTES    20u
#define GRANT_ANSWER_BYTES 13u

static inline void grant_put_ask(struct wire_out *w, const struct grant_ask *a)
{
    wire_put_u32(w, a->inc);
    wire_put_u64(w, a->number);
    wire_put_u64(w, a->index);
}

MUST_CHECK static inline bool grant_take_ask(struct slice in, struct grant_ask *a)
{
    struct wire w = wire_over(in);
    a->inc = wire_u32(&w);
    a->number = wire_u64(&w);
    a->index = wire_u64(&w);
    return !w.ran_out;
}

static inline void grant_put_answer(struct wire_out *w, const struct grant_answer *a)
{
    wire_put_u32(w, a->inc);
    wire_put_u64(w, a->number);
    wire_put_u8(w, (uint8_t)a->verdict);
}

MUST_CHECK static inline bool grant_take_answer(struct slice in, struct grant_answer *a)
{
    struct wire w = wire_over(in);
    a->inc = wire_u32(&w);
    a->number = wire_u64(&w);
    uint8_t verdict = wire_u8(&w);
    a->verdict = (enum grant_verdict)verdict;
    return !w.ran_out && verdict < GRANT_VERDICT_COUNT;
}

#endif
