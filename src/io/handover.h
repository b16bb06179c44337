/*
 * handover: listening sockets from a process that runs to the one that takes its place, so that no
 * client finds the door shut, and none waits in a backlog that nobody will look at.
 *
 * The new one asks at the old one's runtime socket, with the path of a socket of its own; the old
 * one sends copies of what it listens at there. Until the new one says that it runs, the old one
 * goes on as before, and goes on for good if the new one fails.
 */
#ifndef WARREN_HANDOVER_H
#define WARREN_HANDOVER_H

#include "base/attr.h"
#include "base/err.h"
#include "io/sock.h"

#include <sys/types.h>

#define HANDOVER_COMMAND     "_handover"
#define HANDOVER_SOCKETS_MAX 8192u

struct handover;

/* ---- the new process, before its loops run; these wait, for seconds at most ---- */

/* All that the process behind that runtime socket listens at. It must be in our PID namespace, so
 * that it can be told to end. */
MUST_CHECK struct handover *handover_receive(const char *runtime_socket, struct err *err);

/* One that listens at this address, which is then the caller's; -1: there is none (any more). NULL
 * has none. */
int handover_take(struct handover *h, const struct sock_addr *at);
bool handover_has(const struct handover *h, const struct sock_addr *at);

/* Of the address that has the most: as many threads accept there. */
unsigned handover_most(const struct handover *h);

/* We run: the old process is to let its clients end, and to take no new ones. The paths of unix
 * sockets are ours from now on (listener_own_path), and not before: the old one needs them still
 * when we fail. */
void handover_finish(const struct handover *h);

/* What nobody took is closed. */
void handover_free(struct handover **h);

/* ---- the old process ---- */

struct handover_out {
    int fds[HANDOVER_SOCKETS_MAX];
    unsigned count;
    bool full;  /* there were more */
    pid_t heir; /* who got them, once they are sent */
};

/* A copy of the listener's socket; its path, if it has one, is left to the new process. Should that
 * one fail, the path outlives us: who listens there next clears it away. */
void handover_add(struct handover_out *out, struct listener *l);

/* Send them all to who listens at `path`, and close our copies. Waits for a second at most. */
MUST_CHECK bool handover_send(struct handover_out *out, const char *path, struct err *err);

/* Is the process that got them there still? One that failed is not. */
bool handover_is_alive(pid_t heir);

#endif
