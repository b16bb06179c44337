/*
 * mirror_links: replication, as the rest of a shard sees it: to and from other nodes by
 * mirror_streams.h, to the metadata by way of control.h.
 *
 * Both cores have their turn's end, and their time, from here: whoever calls a function of theirs
 * that is no mere question says mirror_links_soon. On the shard's thread but what says otherwise.
 */
#ifndef WARREN_MIRROR_LINKS_H
#define WARREN_MIRROR_LINKS_H

#include "mirror_link/mirror_streams.h"

struct broker;
struct mirror_links;
struct shard;

/* The cores outlive it. Nothing is dialled before a queue asks. */
struct mirror_links *mirror_links_new(struct shard *s, struct mirror_master *m,
                                      struct mirror_replica *r);
/* The loop does not run any more. NULL is allowed. */
void mirror_links_free(struct mirror_links **l);

/* All shards of a broker: others may come from now on. Before their loops run. */
void mirror_links_open(struct broker *b);
/* Their loops run no more: all links and sessions go. */
void mirror_links_close(struct broker *b);

/* What mirror_master_ops.stream is to answer. */
struct mirror_stream *mirror_links_stream(struct shard *s, uint16_t node, uint64_t qid);

/* What mirror_master_ops.say and its like write to, and mirror_replica_ops.say. */
struct mirror_out *mirror_links_out(struct mirror_stream *to);
struct mirror_out *mirror_links_out_late(struct mirror_stream *to); /* nobody waits for it */
struct mirror_out *mirror_links_back(struct mirror_source *to);

/* Whose it is. */
uint16_t mirror_links_source_node(const struct mirror_source *of);

/* Something was said to a core: at the turn's end, behind what the journal is given, what it has to
 * say leaves. */
void mirror_links_soon(struct shard *s);

/* What a source was told LATER for may be there, or the journal keeps up again. */
void mirror_links_go_on(struct shard *s);

/* What mirror_master_ops.propose and .propose_lag are to do. */
void mirror_links_propose(struct shard *s, const struct mirror_queue *q, uint16_t node,
                          uint32_t inc, bool adds);
void mirror_links_propose_lag(struct shard *s, const struct mirror_stream *of);

/* As mirror_streams_each_link. */
void mirror_links_each(struct shard *s, mirror_link_fn fn, void *arg);

#endif
