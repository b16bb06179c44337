/*
 * worker: one thread that carries sessions: its loop, the memory of what lives on it, and the lists
 * by which it is found.
 */
#ifndef WARREN_WORKER_H
#define WARREN_WORKER_H

#include "amqp/amqp_hs_server.h"
#include "base/pool.h"
#include "base/rng.h"
#include "io/loop.h"
#include "place.h"
#include "snapshot.h"

#include <sys/queue.h>

struct session;
struct relay;
struct door;

TAILQ_HEAD(session_list, session);
TAILQ_HEAD(relay_list, relay);
TAILQ_HEAD(door_list, door);

/* What all workers share: numbers of the whole process, and what never changes. */
struct process {
    struct shared conns, conns_max, conns_total; /* clients, of all frontends */
    struct shared guests;                        /* accepted, whose PROXY header is awaited */
    struct shared next_id;
    struct shared draining; /* 1: nothing new */
    uint64_t conns_limit;
    struct handover *inherited; /* while it starts in the place of another; else NULL */
    bool is_listing;            /* the control loop's: a list for programs is being made (api.c) */
    struct amqp_hs_server_conf greeting; /* the offer is each session's own */
    struct slice cookie;

    /* Ask the control loop to wake all workers: a server, or room for a client, may be there. Any
     * thread. */
    void (*wake)(void *control);
    /* A session met trouble at a server: check it soon. Any thread. */
    void (*suspect)(void *control, struct server_live *server);
    /* A session or guest has gone. Any thread. */
    void (*left)(void *control);
    void *control;
};

/* Counts of one worker's own, read by the control loop. */
struct worker_counts {
    struct shared clients, channels, upstreams;
    struct shared published, delivered; /* messages that passed */

    struct shared ways[PLACE_WAY_COUNT];         /* operations, in backends that route by master */
    struct shared consumers_moved;               /* after masters that were moved */
    struct shared vacated;                       /* connections to brokers that are drained, left */
    struct shared channels_kept, channels_ended; /* of those whose broker went */
};

/* What a client did wrong, for `show errors`. */
#define WORKER_ERRORS 8u
struct worker_error {
    uint64_t at_ms;
    char text[320]; /* empty: none */
};

struct worker {
    struct loop *loop;
    unsigned index;
    struct process *process;
    struct rng rng;
    struct pool sessions;
    struct pool channels;
    struct pool legs;
    struct pool upstreams;
    struct pool relays;
    struct session_list all;
    struct session_list waiting; /* for a server, the longest waiting first */
    struct relay_list all_relays;
    struct relay_list waiting_relays;
    struct door_list doors;
    struct door_list leaving; /* nobody else comes in there, some are still on the way */
    struct worker_counts counts;
    struct worker_error errors[WORKER_ERRORS]; /* the oldest at error_at */
    unsigned error_at;
};

/* Before its loop runs. */
void worker_init(struct worker *w, unsigned index, struct loop *loop, struct process *process,
                 uint64_t seed);

/* Its loop is gone, and nothing is on it any more. */
void worker_fini(struct worker *w);

/* A client of the frontend comes in, or has gone. */
void worker_client_in(struct worker *w, const struct frontend *f);
void worker_client_out(struct worker *w, const struct frontend *f);

/* Keep what a client did wrong. */
void worker_note_error(struct worker *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Say goodbye to all, with 320; or end all, without a word. Worker's loop. */
void worker_goodbye(struct worker *w, const char *why);
void worker_end_all(struct worker *w);

/* Servers or room may be there again. Worker's loop. */
void worker_wake(struct worker *w);

/* Queues may have other masters, or are known for the first time (where.h). Worker's loop. */
void worker_moved(struct worker *w);

#endif
