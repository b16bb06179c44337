#include "remote/remote.h"

#include "base/mem.h"
#include "broker.h"
#include "doorway.h"
#include "link/link_door.h"
#include "remote/remote_carry.h"
#include "remote/remote_inner.h"

/* Longer frames are lent to the link, shorter ones copied: they do not fill their block. */
#define LEND_LEAST_BYTES (REMOTE_FRAME_BYTES / 2)

static void on_flush(void *arg)
{
    struct remotes *r = arg;
    remote_carry_flush(r->shard);
    remote_flush_sessions(r);
    remote_flush_peers(r);
}

struct remotes *remotes_new(struct shard *s)
{
    struct remotes *r = mem_zalloc(sizeof *r);
    r->shard = s;
    idmap_init(&r->peers);
    idmap_init(&r->sessions);
    TAILQ_INIT(&r->due_peers);
    TAILQ_INIT(&r->due_sessions);
    loop_task_init(&r->flush_task, on_flush, r);
    r->carry = remote_carry_new(s);
    return r;
}

static void close_one(struct remotes *r)
{
    loop_task_cancel(r->shard->loop, &r->flush_task);
    remote_close_sessions(r);
    remote_close_peers(r); /* these count what those have carried */
    if (r->hall != NULL)
        link_hall_free(&r->hall);
}

void remotes_free(struct remotes **remotes)
{
    struct remotes *r = *remotes;
    *remotes = NULL;
    close_one(r);
    remote_carry_free(&r->carry);
    idmap_fini(&r->peers);
    idmap_fini(&r->sessions);
    mem_free(r);
}

void remotes_open(struct broker *b)
{
    uint32_t count = broker_shard_count(b);
    struct link_hall **halls = mem_array(count, sizeof(struct link_hall *));
    for (uint32_t i = 0; i < count; i++)
        halls[i] = remote_open_hall(broker_shard(b, i)->remotes);
    link_door_serve(doorway_door(broker_doorway(b)), LINK_BULK, halls, count);
    mem_free(halls);
}

void remotes_close(struct broker *b)
{
    for (uint32_t i = 0; i < broker_shard_count(b) && broker_shard(b, i) != NULL; i++)
        close_one(broker_shard(b, i)->remotes);
}

void remote_send(struct link *l, struct buf *block, struct slice bytes, bool more)
{
    uint8_t type = more ? REMOTE_FRAME_MORE : REMOTE_FRAME_LAST;
    _Static_assert(REMOTE_FRAME_ROOM >= LINK_HEAD_ROOM, "there is room for the link's head");
    /* A link that has no session loses it, and says so by on_lost. */
    if (bytes.len >= LEND_LEAST_BYTES)
        (void)link_send_whole(l, LINK_BULKY, type, block, bytes);
    else
        (void)link_send(l, LINK_BULKY, type, slice_of(NULL, 0), NULL, bytes);
}

void remote_node_lost(struct shard *s, uint16_t node)
{
    remote_lose_peer(s->remotes, node);
    remote_lose_sessions(s->remotes, node);
}

void remote_placed(struct shard *s)
{
    remote_carry_look(s);
}

void remote_self_lost(struct shard *s)
{
    remote_lose_broken_sessions(s->remotes);
}
