#include "crew.h"

#include "base/mem.h"
#include "live.h"

struct crew *crew_new(const struct crew_member *members, size_t count)
{
    struct crew *c = mem_alloc(sizeof *c + count * sizeof c->members[0]);
    c->count = count;
    for (size_t i = 0; i < count; i++)
        c->members[i] = (struct crew_member){ members[i].node, server_live_ref(members[i].live) };
    return c;
}

void crew_free(void *crew)
{
    struct crew *c = crew;
    for (size_t i = 0; c != NULL && i < c->count; i++)
        server_live_unref(&c->members[i].live);
    mem_free(c);
}
