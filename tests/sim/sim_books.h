/*
 * sim_books: what clients of a simulated node know of their messages, and what that node owes them.
 *
 * The clients enter what they sent, what was confirmed, handed to them and settled. When the node
 * has been quiet for a while, what was settled is settled for good. After a restart the books are
 * shown what is there. The first thing that is wrong is kept, as by sim_oracle.
 */
#ifndef WARREN_SIM_BOOKS_H
#define WARREN_SIM_BOOKS_H

#include "base/attr.h"
#include "store/place.h"

#include <stdbool.h>
#include <stddef.h>

struct sim_books;

/* A message in one queue. */
struct sim_item {
    uint64_t qid;
    uint64_t content;
    uint64_t body_bytes;
    uint64_t publisher;
    bool confirms;       /* he is told */
    uint64_t expires_us; /* not to be handed out after that; 0: never */
    uint64_t qseq;       /* where it was seen last */
    uint8_t priority;
    bool counts_returns; /* its queue does */
    uint32_t returns;
    uint32_t returns_safe; /* so many are on disk */
    uint64_t letter_to;    /* its dead letter goes to that queue; 0: it has none */
    bool is_letter;        /* one that is to come, or has */
    bool has_come;
    bool is_dead;   /* a client has rejected it: there is to be a letter */
    bool may_go;    /* by itself, without a letter: it expires, or its queue is short */
    bool must_last; /* confirmed means on disk */
    bool may_last;  /* it may be there after a restart all the same */
    bool is_confirmed;
    bool is_refused;      /* not by this queue, perhaps, but by one */
    bool is_out;          /* with a client */
    bool was_out;         /* handed out at least once... */
    bool was_out_safe;    /* ...and that is on disk */
    bool is_marked;       /* handed out in this life: marks on disk have run ahead of that */
    bool is_last;         /* came back to the end of the queue: its order says nothing */
    bool is_twice;        /* a crash made two of it: nothing is judged any more */
    bool is_settled;      /* by a client */
    bool is_settled_safe; /* and that is on disk */
    bool may_be_gone;     /* purged, expired, too many: nobody can tell */
    bool is_gone;
    bool is_seen;
};

struct sim_books *sim_books_new(void);
void sim_books_free(struct sim_books **b);

void sim_books_send(struct sim_books *b, const struct sim_item *item);
void sim_books_confirm(struct sim_books *b, uint64_t content, bool ok);
/* Handed to a client; false when that was wrong. */
void sim_books_deliver(struct sim_books *b, uint64_t qid, uint64_t content, uint64_t qseq,
                       bool redelivered, bool no_ack, uint64_t now_us);
/* Returns its content; 0: that is not known. */
uint64_t sim_books_settle(struct sim_books *b, uint64_t qid, uint64_t qseq);
/* Rejected: the same, unless there is to be a letter of it; then 0. */
uint64_t sim_books_reject(struct sim_books *b, uint64_t qid, uint64_t qseq);
/* The node has said that what was settled is so for good. */
void sim_books_settled(struct sim_books *b, uint64_t qid, uint64_t content);
void sim_books_requeue(struct sim_books *b, uint64_t qid, uint64_t qseq, bool seen, bool to_end);
/* Somebody wants messages of this queue: from now on they may be under way to him. */
void sim_books_ask(struct sim_books *b, uint64_t qid);
/* Asked for, and answered: in between it happens, at some moment. */
void sim_books_purge(struct sim_books *b, uint64_t qid);
void sim_books_purged(struct sim_books *b, uint64_t qid);
/* A message of it may have gone to somebody who was gone himself. */
void sim_books_loosen(struct sim_books *b, uint64_t qid);
void sim_books_drop_queue(struct sim_books *b, uint64_t qid);

/* The node ends, and its clients are gone: what is handed out now reaches nobody. */
void sim_books_part(struct sim_books *b);

/* Everything has been quiet, and nothing has failed. */
void sim_books_quiet(struct sim_books *b);

/* ---- after a restart ----------------------------------------------------------------------------
 */

void sim_books_begin(struct sim_books *b, bool was_closed);
void sim_books_see(struct sim_books *b, uint64_t qid, uint64_t content, uint64_t qseq,
                   uint64_t body_bytes, uint32_t returns, bool redelivered);
void sim_books_end(struct sim_books *b);

/* Messages that are there, as far as the books can tell: at least, at most. */
void sim_books_count(const struct sim_books *b, uint64_t qid, uint64_t *least, uint64_t *most);

/* One client alone takes all from now on: in which order is judged too. */
void sim_books_drain(struct sim_books *b);
/* All queues were emptied: what should have come and did not? */
void sim_books_drained(struct sim_books *b);

const char *sim_books_why(const struct sim_books *b);
void sim_books_fail(struct sim_books *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
