/*
 * mirror_streams: the streams of replication of one shard, over links, and the turns of its cores.
 *
 * For each shard of another node that mirrors queues of this one there is a link, dialled when the
 * first of these is to be mirrored, and dialled again until none is any more; over it goes one
 * stream (mirror_master.h). For each shard of another node that this one mirrors queues of a link
 * comes, and is a source (mirror_replica.h). A session that is resumed is the same one for the
 * cores: what they hear of is its end alone.
 *
 *     say, say_message ... --> mirror_out of the stream --(turn's end)--> frames of the link
 *     frames of the link --> records --> the core; a source whose core cannot take one yet is
 *                                        paused, and with it its sender, by TCP
 *
 * What a stream holds is bounded by its window, which the core minds; what a source holds, by one
 * frame and one record. It knows neither queues nor the metadata. One loop's thread.
 */
#ifndef WARREN_MIRROR_STREAMS_H
#define WARREN_MIRROR_STREAMS_H

#include "link/link_figures.h"
#include "mirror/mirror_frames.h"
#include "mirror/mirror_master.h"
#include "mirror/mirror_replica.h"

struct link_hall;
struct link_node;
struct loop;
struct mirror_streams;

#define MIRROR_STREAM_WINDOW  ((uint64_t)32 * 1024 * 1024) /* of what a mirror has not taken */
#define MIRROR_STREAM_IDLE_MS 30000u /* without a queue that is mirrored there, then it ends */
#define MIRROR_TICK_MS        100u   /* between two looks at the time */
#define MIRROR_HELD_MS        2u     /* as long is held what nobody waits for */

/* Where a node is, and how many of its shards hold mirrors. */
struct mirror_place {
    const char *host;
    const char *name;
    uint16_t port;
    uint16_t shards; /* 0: none does */
};

struct mirror_streams_ops {
    /* What the metadata says of that node; *out borrows until the next call. False: nothing that it
     * can be dialled by. */
    bool (*find)(void *arg, uint16_t node, struct mirror_place *out);
    /* Is it one of ours? */
    enum link_refusal (*judge)(void *arg, const struct link_peer *peer);
    /* The journal does not keep up: sources wait until mirror_streams_go_on. */
    bool (*is_behind)(void *arg);
    /* Records have come, or will be asked to be written. */
    void (*begins)(void *arg);
};

struct mirror_streams_setup {
    struct loop *loop;
    struct link_node *link_node;
    struct mirror_master *master; /* these outlive it */
    struct mirror_replica *replica;
    const char *name; /* of this node, for the log */
    uint16_t index;   /* of this shard */
    uint64_t idle_ms; /* 0: MIRROR_STREAM_IDLE_MS */
    const struct mirror_streams_ops *ops;
    void *arg;
};

struct mirror_streams *mirror_streams_new(const struct mirror_streams_setup *setup);
/* Its loop does not run any more. No queue is mastered any more. */
void mirror_streams_free(struct mirror_streams **s);

/* Others may come: what the door is to be given. Before the loop runs, or on it. */
struct link_hall *mirror_streams_open(struct mirror_streams *s);
/* The loop does not run any more: all links end, and all sessions. */
void mirror_streams_close(struct mirror_streams *s);

/* What mirror_master_ops.stream is to answer. */
struct mirror_stream *mirror_streams_get(struct mirror_streams *s, uint16_t node, uint64_t qid);

/* To be written to in the course of ops.say and the like; leaves at the turn's end. */
struct mirror_out *mirror_streams_out(struct mirror_stream *to);
/* The same for what nobody waits for: it leaves with what is written otherwise, or after
 * MIRROR_HELD_MS. */
struct mirror_out *mirror_streams_out_late(struct mirror_stream *to);
struct mirror_out *mirror_streams_back(struct mirror_source *to);

uint16_t mirror_streams_source_node(const struct mirror_source *of);

/* Something was said to a core: it has its turn's end. */
void mirror_streams_soon(struct mirror_streams *s);

/* What a core could not take it may be able to take now. */
void mirror_streams_go_on(struct mirror_streams *s);
bool mirror_streams_has_sources(const struct mirror_streams *s);

/* Links that there are, and for each node those that have gone, together. */
typedef void (*mirror_link_fn)(void *arg, uint16_t node, const struct link_figure *f);
void mirror_streams_each_link(struct mirror_streams *s, mirror_link_fn fn, void *arg);

#endif
