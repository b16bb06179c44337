#include "base/sm.h"

#include "expect.h"

#include <signal.h>

#define DOOR_STATES(X)                                                                             \
    X(OPEN, TO(CLOSED))                                                                            \
    X(CLOSED, TO(OPEN) | TO(LOCKED))                                                               \
    X(LOCKED, TO(CLOSED))                                                                          \
    X(BURNT, 0)

enum door_state {
#define X(name, moves) DOOR_##name,
    DOOR_STATES(X)
#undef X
};

#define TO(name) SM_BIT(DOOR_##name)
static const struct sm_row door_rows[] = {
#define X(name, moves) { #name, moves },
    DOOR_STATES(X)
#undef X
};

static bool may(enum door_state from, enum door_state to)
{
    return sm_may(door_rows, from, to);
}

Test(sm, makes_allowed_moves)
{
    enum door_state door = DOOR_OPEN;
    sm_move(door_rows, &door, DOOR_CLOSED);
    sm_move(door_rows, &door, DOOR_LOCKED);
    cr_expect(eq(int, (int)door, DOOR_LOCKED));
    cr_expect(may(door, DOOR_CLOSED));
    cr_expect(not(may(door, DOOR_OPEN)));
    cr_expect(not(may(door, DOOR_LOCKED))); /* not even to itself */
    for (int to = DOOR_OPEN; to <= DOOR_BURNT; to++)
        cr_expect(not(may(DOOR_BURNT, (enum door_state)to)));
    expect_text(sm_name(door_rows, door), "LOCKED");
}

Test(sm, aborts_on_a_move_that_is_not_in_the_table, .signal = SIGABRT)
{
    enum door_state door = DOOR_OPEN;
    sm_move(door_rows, &door, DOOR_LOCKED);
}

Test(sm, aborts_on_a_state_out_of_range, .signal = SIGABRT)
{
    enum door_state door = (enum door_state)17;
    sm_move(door_rows, &door, DOOR_OPEN);
}
