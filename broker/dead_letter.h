/*
 * dead_letter: dead messages on their way to the exchange that their queue names for them.
 *
 * A queue's dead message waits until the queue's own work is done, at the end of the turn, or of
 * later ones when there are many; then it is published again from the queue's shard, in the order
 * of the deaths. It needs nobody's permission and is confirmed to nobody; without the exchange, or
 * when it would go round in a circle, it is dropped. In the journal the old message is settled
 * after the new one was written, on whatever shard or node that is (dead_post.h): a crash may leave
 * both, never none.
 */
#ifndef WARREN_DEAD_LETTER_H
#define WARREN_DEAD_LETTER_H

#include "dead_post.h"
#include "hosted.h"

struct dead_letters;

struct dead_letters *dead_letters_new(struct shard *s);

/* What waits is dropped. */
void dead_letters_free(struct dead_letters **dl);

/* Where a dead message stood. */
struct dead_from {
    uint64_t qseq;
    struct place place; /* in the journal; none: there it need not be settled */
    bool is_led;        /* mirrors have it at that position: with them it must be */
};

/* A message died in `h`; takes the reference. It is settled once its letter is written. */
void dead_letters_add(struct dead_letters *dl, struct hosted *h, struct message **m,
                      enum queue_death why, const struct dead_from *stood);

/* They waited until other nodes have taken those that were on their way; that is over. */
void dead_letters_go_on(struct dead_letters *dl);

/* One that died before its queue knew the place is there: true when it waits to be published, and
 * is settled then. */
MUST_CHECK bool dead_letters_placed(struct dead_letters *dl, const struct hosted *h,
                                    const struct dead_from *stood);

/* A queue has answered to the letter of this number. */
void dead_letters_on_published(struct dead_letters *dl, uint64_t number, enum dead_fate fate);

/* Those of `h` are settled now, before their letters are written. */
void dead_letters_settle(struct dead_letters *dl, const struct hosted *h);

/* The positions of those of `h` that are not settled yet although they have left it, in no order.
 * False: the shard has more letters on their way than `max`. */
MUST_CHECK bool dead_letters_list(const struct dead_letters *dl, const struct hosted *h,
                                  uint64_t *out, size_t max, size_t *count);

/* For the counters of the shard: what became of it. */
void dead_letters_count(struct hosted *h, enum shard_after_death after, enum queue_death why);

#endif
