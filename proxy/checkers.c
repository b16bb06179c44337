#include "checkers.h"

#include "base/mem.h"

static void add(struct checkers *c, const struct server *s)
{
    checker_init(&c->items[c->count++], c->loop, c->epoch, s, c->cookie, c->on_change, c->arg);
}

void checkers_start(struct checkers *c, const struct snapshot *s)
{
    size_t room = 1;
    for (unsigned i = 0; i < s->backend_count; i++)
        room += backend_room(&s->backends[i]);
    c->items = mem_array(room, sizeof *c->items);
    c->count = 0;
    for (unsigned i = 0; i < s->backend_count; i++) {
        const struct backend *b = &s->backends[i];
        for (unsigned k = 0; k < backend_server_count(b); k++)
            add(c, &b->servers[k]);
    }
}

void checkers_stop(struct checkers *c)
{
    for (unsigned i = 0; i < c->count; i++)
        checker_fini(&c->items[i]);
    mem_free(c->items);
    c->items = NULL;
    c->count = 0;
}

void checkers_add(struct checkers *c, const struct server *s)
{
    if (c->items != NULL) /* else it is started with all others */
        add(c, s);
}

void checkers_poke(struct checkers *c, const struct server_live *live)
{
    for (unsigned i = 0; i < c->count; i++) {
        if (c->items[i].server->live == live)
            checker_poke(&c->items[i]);
    }
}

void checkers_poke_suspected(struct checkers *c)
{
    for (unsigned i = 0; i < c->count; i++) {
        if (shared_swap(&c->items[i].server->live->suspected, 0) != 0)
            checker_poke(&c->items[i]);
    }
}
