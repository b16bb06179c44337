/*
 * checkers: one checker for each server of the snapshot in force. Control loop.
 */
#ifndef WARREN_CHECKERS_H
#define WARREN_CHECKERS_H

#include "checker.h"

struct checkers {
    struct loop *loop;
    struct epoch *epoch;
    struct slice cookie;
    void (*on_change)(void *arg);
    void *arg;
    struct checker *items; /* NULL: not started */
    unsigned count;
};

/* Servers that are found later have room, see checkers_add. */
void checkers_start(struct checkers *c, const struct snapshot *s);
void checkers_stop(struct checkers *c);

/* A server of that snapshot was found. */
void checkers_add(struct checkers *c, const struct server *s);

/* Check soon: the server with this record; those in which sessions met trouble. */
void checkers_poke(struct checkers *c, const struct server_live *live);
void checkers_poke_suspected(struct checkers *c);

#endif
