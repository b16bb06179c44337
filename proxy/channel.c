#include "channel.h"

#include "base/check.h"
#include "base/sm.h"

#define TO(name) SM_BIT(CHANNEL_##name)
static const struct sm_row rows[] = {
#define X(name, moves) { #name, moves },
    CHANNEL_STATES(X)
#undef X
};
#undef TO

void channel_move(struct channel *c, enum channel_state to)
{
    sm_move(rows, &c->state, to);
}

const char *channel_state_name(const struct channel *c)
{
    return sm_name(rows, c->state);
}
