/*
 * daemon: what a process does at its start to be a good service: leave the terminal, say when it is
 * up, take all the file descriptors it may have.
 *
 * Everything here is for main, before any thread is started, but daemon_notify.
 */
#ifndef WARREN_DAEMON_H
#define WARREN_DAEMON_H

#include "base/attr.h"
#include "base/err.h"

#include <stdint.h>

struct daemon {
    int ready_fd; /* to the process that waits for us; -1: nobody does */
};

/* TERM, INT and HUP wait, from main's first line on, until a loop watches for them
 * (loop_on_signal): an order to stop that comes in the first moments is an order like any other. Or
 * they are let through, by who ends without a loop. */
void daemon_hold_signals(void);
void daemon_release_signals(void);

/* Go on in a process of its own session, whose parent waits. This returns in the new process
 * alone: the calling one exits with 0 at daemon_ready, or with the status and the message of
 * daemon_failed, or, when the new process ends without a word, with 70 and a message that says so.
 * Until daemon_ready, standard output and error stay as they were. */
MUST_CHECK bool daemon_detach(struct daemon *d, struct err *err);

/* Up: let the waiting process go, and let go of the terminal. No effect when not detached. */
void daemon_ready(struct daemon *d);

/* Not up: the waiting process prints the message and exits with the status. The caller then exits
 * itself. When not detached, the message is printed here. */
void daemon_failed(struct daemon *d, int status, const char *message);

/* A process that is not detached. */
static inline void daemon_init(struct daemon *d)
{
    d->ready_fd = -1;
}

/* Tell the service manager, if there is one (NOTIFY_SOCKET): "READY=1", "STOPPING=1",
 * "RELOADING=1", "STATUS=...". False when there is none or it does not listen. Any thread. */
bool daemon_notify(const char *state);

/* Raise the limit of open files as far as this user may; how many those are now. */
uint64_t daemon_raise_file_limit(void);

/* A peer that has gone is an error of that write, not our end. */
void daemon_ignore_sigpipe(void);

#endif
