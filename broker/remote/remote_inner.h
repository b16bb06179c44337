/*
 * remote_inner: what remote_peers.c and remote_sessions.c share. Not for anybody else.
 */
#ifndef WARREN_REMOTE_INNER_H
#define WARREN_REMOTE_INNER_H

#include "link/link.h"
#include "link/link_hall.h"
#include "remote/remote.h"
#include "remote/remote_client.h"
#include "remote/remote_server.h"
#include "shard.h"

/* Types of frames on the link. */
enum remote_frame_type {
    REMOTE_FRAME_LAST = LINK_TYPE_LEAST, /* of a turn */
    REMOTE_FRAME_MORE,                   /* others follow */
};

/* Another node, whose queues are used from here. Kept once it was made: the number of its life must
 * not begin anew. */
struct remote_peer {
    struct remotes *all;
    uint16_t node;
    bool is_due;     /* in the list of those */
    bool is_touched; /* since remote_fence_begin */
    bool is_publishing;
    bool is_unreachable; /* nobody knows where it is: what is said is lost at the turn's end */
    struct remote_client *client;
    struct link *link;      /* NULL: not used in this life */
    struct link_stats past; /* of links that have gone, of its sessions too */
    TAILQ_ENTRY(remote_peer) due_entry;
};

/* A shard of another node that uses queues of this one. */
struct remote_session {
    struct remotes *all;
    uint64_t id;
    uint16_t node;
    bool is_due;
    struct remote_server *server;
    struct link *link;
    struct idmap fences;             /* struct remote_fence by token */
    const struct meta_version *seen; /* where `queue` was found */
    uint64_t seen_number;
    const struct meta_queue *queue;
    TAILQ_ENTRY(remote_session) due_entry;
};

struct remotes {
    struct shard *shard;
    struct link_hall *hall;
    struct idmap peers;    /* struct remote_peer by node */
    struct idmap sessions; /* struct remote_session by id */
    TAILQ_HEAD(, remote_peer) due_peers;
    TAILQ_HEAD(, remote_session) due_sessions;
    struct remote_carry *carry;
    struct loop_task flush_task;
    uint64_t next_token;
};

/* remote_peers.c */
void remote_flush_peers(struct remotes *r);
void remote_close_peers(struct remotes *r);
void remote_lose_peer(struct remotes *r, uint16_t node);
/* One that the metadata calls down, or does not know, is neither dialled nor waited for. */
bool remote_is_serving(const struct shard *s, uint16_t node);
/* A link to that node ends. */
void remote_end_link(struct remotes *r, uint16_t node, struct link **l);

/* As remote_client_publish_from, and the end of it. */
void remote_publish_from(struct shard *s, uint16_t node, uint64_t qid, struct message **m,
                         const struct port_channel_ref *from, uint64_t number,
                         const struct port_origin *origin, uint64_t payer);
void remote_published_from(struct shard *s, uint16_t node);
/* Copies, in this life of the link. */
uint64_t remote_copies_said(const struct shard *s, uint16_t node);
uint64_t remote_copies_taken(const struct shard *s, uint16_t node);

/* remote_sessions.c */
struct link_hall *remote_open_hall(struct remotes *r);
void remote_flush_sessions(struct remotes *r);
void remote_close_sessions(struct remotes *r);
void remote_lose_sessions(struct remotes *r, uint16_t node);
void remote_lose_broken_sessions(struct remotes *r);

/* A frame as the outbox gives it. */
void remote_send(struct link *l, struct buf *block, struct slice bytes, bool more);

#endif
