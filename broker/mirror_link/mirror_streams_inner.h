/*
 * mirror_streams_inner: what mirror_streams.c, mirror_outgoing.c and mirror_incoming.c share. Not
 * for anybody else.
 */
#ifndef WARREN_MIRROR_STREAMS_INNER_H
#define WARREN_MIRROR_STREAMS_INNER_H

#include "base/idmap.h"
#include "base/log.h"
#include "io/loop.h"
#include "link/link_hall.h"
#include "mirror_link/mirror_streams.h"

#include <sys/queue.h>

#define MIRROR_FRAME_TYPE LINK_TYPE_LEAST

/* Sessions that end and begin again are told of so often. */
#define MIRROR_LOG_BURST 5u
#define MIRROR_LOG_MS    60000u

/* Twice that may be held before a link is lost: all that a stream may hold, and one record more
 * that is as large as any. */
#define MIRROR_LINK_BYTES ((size_t)MIRROR_STREAM_WINDOW + MIRROR_RECORD_MAX / 2)

/* What is written to either side in a turn. */
struct mirror_pen {
    struct mirror_out out;
    struct mirror_streams *all;
    struct link **link; /* of the owner; *link NULL: there is none */
    bool is_due;        /* leaves at the turn's end */
    bool is_held;       /* nobody waits for what is in it */
    TAILQ_ENTRY(mirror_pen) entry;
};

/* To a mirror. */
struct mirror_outgoing {
    struct mirror_streams *all;
    struct mirror_stream *core;
    struct link *link; /* NULL: nobody knows yet where the node is */
    struct mirror_pen pen;
    struct mirror_in in;
    uint16_t node;
    uint16_t shards; /* of that node, by which queues were told apart */
    uint16_t shard;  /* of these */
    bool is_up;
    bool is_over; /* the session was given up */
    bool is_told; /* the log knows that it is up */
    struct log_rate reached, complaints;
    uint64_t used_ms; /* when it was seen to be used last */
    uint64_t looked_ms;
};

/* From a master. */
struct mirror_incoming {
    struct mirror_streams *all;
    struct mirror_source *core;
    struct link *link;
    struct mirror_pen pen;
    struct mirror_in in;
    uint64_t id;
    uint16_t node;
    bool is_over; /* its session was given up */
    bool is_paused;
    bool has_record; /* `record` is to be said to the core once more */
    struct mirror_record record;
    struct buf *block; /* of the frame at hand; NULL: there is none */
    struct wire frame; /* what is left of it */
};

struct mirror_streams {
    struct mirror_streams_setup setup;
    struct link_hall *hall;
    struct idmap outgoing; /* struct mirror_outgoing by node and shard */
    struct idmap incoming; /* struct mirror_incoming by id */
    struct idmap past;     /* struct mirror_bygone by node */
    uint64_t last_id;
    struct log_rate comings, goings, complaints;
    TAILQ_HEAD(mirror_pens, mirror_pen) due;
    struct mirror_pens held;
    struct loop_timer held_timer;
    struct loop_task flush_task;
    struct loop_task more_task;
    struct loop_task go_on_task;
    struct loop_timer tick;
};

/* Links that have gone. */
struct mirror_bygone {
    uint16_t node;
    struct link_stats stats;
};

uint64_t mirror_streams_now(const struct mirror_streams *s);
void mirror_streams_begin(struct mirror_streams *s);
/* A link to that node ends. */
void mirror_streams_end_link(struct mirror_streams *s, uint16_t node, struct link **l);
/* There is something to look at the time for. */
void mirror_streams_watch(struct mirror_streams *s);

void mirror_pen_init(struct mirror_pen *p, struct mirror_streams *all, struct link **link);
struct mirror_out *mirror_pen_take(struct mirror_pen *p);
struct mirror_out *mirror_pen_take_late(struct mirror_pen *p);
/* What was written goes nowhere. */
void mirror_pen_reset(struct mirror_pen *p);

/* mirror_outgoing.c. Streams to a node that has said that it has another number of shards are
 * others. */
static inline uint64_t mirror_outgoing_key(uint16_t node, uint16_t shards, uint16_t shard)
{
    return (uint64_t)node << 32 | (uint64_t)shards << 16 | shard;
}

void mirror_outgoing_tick(struct mirror_streams *s, uint64_t now_ms);
void mirror_outgoing_close(struct mirror_streams *s);

/* mirror_incoming.c */
void mirror_incoming_go_on(struct mirror_streams *s);
void mirror_incoming_close(struct mirror_streams *s);

#endif
