#include "remote/remote_inner.h"

#define LEAVING_VERSION 3u /* the first that knows it */

/* One that is broken may be resumed, unless that node has stopped, too. */
static bool is_gone(const struct remotes *r, uint16_t node, const struct link *l)
{
    return !link_is_connected(l) && !remote_is_serving(r->shard, node);
}

static bool has_left(const struct remote_session *ss)
{
    return link_peer(ss->link)->version < LEAVING_VERSION || is_gone(ss->all, ss->node, ss->link) ||
           remote_server_leave(ss->server);
}

static bool has_all(const struct remote_peer *p)
{
    struct link_stats now;
    if (p->link == NULL || is_gone(p->all, p->node, p->link))
        return true;
    link_stats(p->link, &now);
    return !p->is_due && !remote_outbox_holds_any(&p->client->out) &&
           now.waiting_bytes + now.unacked_bytes == 0;
}

bool remote_leave(struct shard *s)
{
    bool is_over = true;
    size_t at = 0;
    for (struct remote_session *ss; (ss = idmap_next(&s->remotes->sessions, &at)) != NULL;)
        is_over = has_left(ss) && is_over;
    at = 0;
    for (const struct remote_peer *p; (p = idmap_next(&s->remotes->peers, &at)) != NULL;)
        is_over = has_all(p) && is_over;
    return is_over;
}
