/*
 * sm: state tables. The states of a machine and the moves allowed between them are one list, kept
 * under a small drawing:
 *
 *     #define DOOR_STATES(X)                      \
 *         X(OPEN, TO(CLOSED))                     \
 *         X(CLOSED, TO(OPEN) | TO(LOCKED))        \
 *         X(LOCKED, TO(CLOSED))
 *
 *     enum door_state {
 *     #define X(name, moves) DOOR_##name,
 *         DOOR_STATES(X)
 *     #undef X
 *     };
 *
 *     #define TO(name) SM_BIT(DOOR_##name)
 *     static const struct sm_row door_rows[] = {
 *     #define X(name, moves) { #name, moves },
 *         DOOR_STATES(X)
 *     #undef X
 *     };
 *
 * sm_move checks a move against the table; sm_name is the state's name for logs and traces.
 */
#ifndef WARREN_SM_H
#define WARREN_SM_H

#include "base/check.h"

#include <stdint.h>

struct sm_row {
    const char *name;
    uint32_t moves; /* bit n: may move to state n */
};

#define SM_BIT(state) (1u << (state))

/* Move *state to `to`; it must be an allowed move. `state` points to an enum of this machine. */
#define sm_move(rows, state, to)                                                                   \
    do {                                                                                           \
        CHECK((unsigned)*(state) < ARRAY_COUNT(rows) && (unsigned)(to) < ARRAY_COUNT(rows));       \
        CHECK(((rows)[*(state)].moves & SM_BIT(to)) != 0);                                         \
        *(state) = (to);                                                                           \
    } while (0)

#define sm_may(rows, state, to) (((rows)[state].moves & SM_BIT(to)) != 0)
#define sm_name(rows, state)    ((rows)[state].name)

#endif
