/*
 * door: where the clients of a frontend come in: one listening socket of one worker.
 *
 * It admits, counts, and rests while there are as many clients as maxconn allows: further ones wait
 * in the system's backlog. What becomes of a client is for session and relay.
 */
#ifndef WARREN_DOOR_H
#define WARREN_DOOR_H

#include "base/log.h"
#include "io/sock.h"
#include "worker.h"

struct door_guest;
LIST_HEAD(door_guests, door_guest);

struct door {
    TAILQ_ENTRY(door) entry; /* of the worker's */
    struct worker *worker;
    struct snapshot *snapshot; /* a reference; of what comes in here */
    const struct frontend *frontend;
    unsigned bind;             /* index in the frontend */
    struct listener *listener; /* NULL: it is leaving */
    struct door_guests guests; /* whose PROXY header is awaited */
    unsigned guest_count;
    struct log_rate refusals;
    bool is_full;    /* it rests */
    bool is_new;     /* opened for a snapshot that is not in force yet */
    bool is_leaving; /* among the worker's that are; it goes with its last guest */
};

/*
 * Open what the snapshot asks for and this worker does not have yet. They accept at once, so that
 * nothing is refused once the snapshot is in force. `twin` is a worker that has done so already, or
 * NULL for the first: a port that the system chose is the same for all. False: nothing has changed.
 * The worker's loop, or before it runs.
 */
MUST_CHECK bool doors_open(struct worker *w, struct snapshot *snapshot, const struct worker *twin,
                           bool share_ports, struct err *err);

/* The snapshot is in force: doors that it has no more are closed, but for who is on the way in. */
void doors_commit(struct worker *w, struct snapshot *snapshot);

/* It is not, because another worker could not open: close what was opened for it. */
void doors_cancel(struct worker *w);

/* All of them, and whoever is on the way in. */
void doors_close(struct worker *w);

/* Nobody else is accepted. Who is on the way in comes in, or takes too long for it
 * (timeout-handshake). */
void doors_leave(struct worker *w);

/* The paths of what was inherited are ours. */
void doors_own_paths(struct worker *w);

/* There may be room again. */
void doors_wake(struct worker *w);

#endif
