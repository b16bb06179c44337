/*
 * ward: which nodes do not keep up, by what each of them says of itself (core).
 *
 * A node may answer to everything and yet serve nobody: its disk stalls, or takes a second for what
 * took a millisecond, or one of its loops hangs. Each node tells the leader of its *strain*: for
 * how long something that others wait for has not moved there. Here it is decided who is to count
 * as unwell (meta_node.h), so that others go on without it, and since when it is well again.
 *
 * A cause that all have in common makes nobody unwell: a strain counts beside those of the others
 * only, and one must be left that does much better. More than a minority is never unwell at a time,
 * so that a wrong judgement costs a failover, and not the copies. Who was unwell of late stays so
 * for longer the next time. All of it is a guess, and the leader's alone; a new one begins anew.
 */
#ifndef WARREN_WARD_H
#define WARREN_WARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WARD_STALLED_MS  5000u   /* nothing has moved for so long: at once */
#define WARD_SLOW_MS     500u    /* what a disk takes that is slow, ... */
#define WARD_SLOW_FOR_MS 4000u   /* ...all the time for so long */
#define WARD_TIMES       4u      /* another one has a strain of this part of it, at most */
#define WARD_REST_MS     10000u  /* well for so long, it is well; the next time twice as long... */
#define WARD_REST_MAX_MS 300000u /* ...and at most; and who was well for so long begins anew */
#define WARD_AGAIN_MS    500u    /* what was said may have come to nothing */

enum ward_word {
    WARD_NOTHING,
    WARD_UNWELL, /* it is to count as unwell */
    WARD_WELL,   /* it is not, any more */
};

/* A node that is up, or unwell, and can have queues. */
struct ward_node {
    uint16_t node;
    bool is_unwell; /* so it is agreed upon */
    bool is_due;    /* ...and yet others wait for it again: see meta_unwell_is_due */
    bool is_heard;  /* it has told its strain, and not long ago */
    uint32_t disk_ms;
    uint32_t loop_ms;
    enum ward_word word; /* answered */
};

struct ward;

struct ward *ward_new(void);
void ward_free(struct ward **w);

/* This node leads since now: what it knew is old. */
void ward_begin(struct ward *w);

/* All of them, by rising number, now and then (each 100 ms or so). One at a time falls ill. */
void ward_turn(struct ward *w, struct ward_node *nodes, size_t count, uint64_t now_ms);

#endif
