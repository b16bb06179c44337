/* The node that is simulated here is alone: nobody calls these. */
#include "base/check.h"
#include "link/link.h"
#include "link/link_door.h"
#include "link/link_hall.h"
#include "link/link_node.h"

#define NOBODY_CALLS UNREACHABLE("a link of a node that is alone")

struct link *link_dial(struct loop *loop, struct link_node *node,
                       const struct link_options *options, const struct link_handlers *handlers,
                       void *arg)
{
    (void)loop, (void)node, (void)options, (void)handlers, (void)arg;
    NOBODY_CALLS;
}

void link_set_owner(struct link *l, const struct link_handlers *handlers, void *arg)
{
    (void)l, (void)handlers, (void)arg;
    NOBODY_CALLS;
}

void link_free(struct link **l)
{
    (void)l;
    NOBODY_CALLS;
}

void link_give_up(struct link *l)
{
    (void)l;
    NOBODY_CALLS;
}

uint64_t link_tried_us(const struct link *l)
{
    (void)l;
    NOBODY_CALLS;
}

void link_kick(struct link *l)
{
    (void)l;
    NOBODY_CALLS;
}

void link_set_place(struct link *l, const char *host, uint16_t port)
{
    (void)l, (void)host, (void)port;
    NOBODY_CALLS;
}

bool link_send(struct link *l, enum link_priority priority, uint8_t type, struct slice head,
               struct buf *block, struct slice body)
{
    (void)l, (void)priority, (void)type, (void)head, (void)block, (void)body;
    NOBODY_CALLS;
}

bool link_is_full(const struct link *l)
{
    (void)l;
    NOBODY_CALLS;
}

bool link_is_up(const struct link *l)
{
    (void)l;
    NOBODY_CALLS;
}

bool link_is_connected(const struct link *l)
{
    (void)l;
    NOBODY_CALLS;
}

const struct link_peer *link_peer(const struct link *l)
{
    (void)l;
    NOBODY_CALLS;
}

void link_stats(const struct link *l, struct link_stats *out)
{
    (void)l, (void)out;
    NOBODY_CALLS;
}

const char *link_class_text(enum link_class c)
{
    (void)c;
    NOBODY_CALLS;
}

const char *link_loss_text(enum link_loss w)
{
    (void)w;
    NOBODY_CALLS;
}

struct link_hall *link_hall_new(struct loop *loop, struct link_node *node,
                                const struct link_hall_options *options,
                                const struct link_hall_handlers *handlers, void *arg)
{
    (void)loop, (void)node, (void)options, (void)handlers, (void)arg;
    NOBODY_CALLS;
}

void link_hall_free(struct link_hall **h)
{
    (void)h;
    NOBODY_CALLS;
}

void link_door_serve(struct link_door *d, enum link_class class, struct link_hall *const *halls,
                     size_t count)
{
    (void)d, (void)class, (void)halls, (void)count;
    NOBODY_CALLS;
}

void link_node_set_self(struct link_node *n, const struct link_identity *self)
{
    (void)n, (void)self;
    NOBODY_CALLS;
}
