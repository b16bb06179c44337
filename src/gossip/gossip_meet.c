/* Whom to greet, and whom to believe: members that are new, or have started anew, and places where
 * somebody should be. */
#include "base/check.h"
#include "base/log.h"
#include "gossip/gossip_inner.h"

#define TARGET_MS     2000u /* between two questions at a place where nobody known is */
#define MEET_LATER_MS 300u

static bool is_zero(const uint8_t cluster[GOSSIP_CLUSTER_BYTES])
{
    uint8_t any = 0;
    for (size_t i = 0; i < GOSSIP_CLUSTER_BYTES; i++)
        any |= cluster[i];
    return any == 0;
}

static bool is_ours(const struct gossip_net *n, const uint8_t cluster[GOSSIP_CLUSTER_BYTES])
{
    return n->core != NULL && memcmp(cluster, n->setup.cluster, GOSSIP_CLUSTER_BYTES) == 0;
}

static bool is_there(const struct gossip_net *n, uint64_t id)
{
    const struct gossip_member *m = n->core != NULL ? gossip_member(n->core, id) : NULL;
    return m != NULL && (m->state == GOSSIP_ALIVE || m->state == GOSSIP_SUSPECT);
}

static bool is_alone(const struct gossip_net *n)
{
    for (size_t i = 0; n->core != NULL && i < gossip_member_count(n->core); i++)
        if (gossip_member_at(n->core, i)->id != n->id &&
            is_there(n, gossip_member_at(n->core, i)->id))
            return false;
    return true;
}

/* ---- greetings --------------------------------------------------------------------------------
 */

/* A proxy belongs to whatever cluster its places have, also when that was made anew. */
static bool may_adopt(const struct gossip_net *n, const struct gossip_greeting *g,
                      const struct gossip_place *place)
{
    return n->setup.role == GOSSIP_ROLE_PROXY && place != NULL && !is_zero(g->cluster) &&
           is_alone(n);
}

static void adopt(struct gossip_net *n, const struct gossip_greeting *g)
{
    bool is_other = n->core != NULL;
    gossip_net_adopt(n, g->cluster);
    log_info("gossip", n->setup.name, "%s cluster=%02x%02x%02x%02x number=%llx",
             is_other ? "the cluster was made anew" : "has found its cluster", g->cluster[0],
             g->cluster[1], g->cluster[2], g->cluster[3], (unsigned long long)n->id);
    if (n->setup.handlers.on_cluster != NULL)
        n->setup.handlers.on_cluster(n->setup.cluster, n->setup.arg);
    gossip_talks_greet_again(n->talks);
}

static void say_other_cluster(struct gossip_net *n, const struct link_peer *peer)
{
    unsigned left_out;
    if (log_rate_ok(&n->other_cluster, 1, 60000, &left_out))
        log_warn("gossip", n->setup.name, "belongs to another cluster: not listened to peer=%s",
                 peer->address);
}

bool gossip_net_on_greeting(const struct gossip_greeting *g, const struct link_peer *peer,
                            const struct gossip_place *place, void *arg)
{
    struct gossip_net *n = arg;
    struct gossip_place from;
    struct sock_addr seen;
    if (n->has_left)
        return false;
    if (is_zero(g->cluster))
        return n->core != NULL; /* it asks which one we are of, and will say more */
    if (!is_ours(n, g->cluster) && may_adopt(n, g, place))
        adopt(n, g);
    if (!is_ours(n, g->cluster)) {
        say_other_cluster(n, peer);
        return false;
    }
    for (size_t i = 0; i < n->target_count && place != NULL; i++)
        if (n->targets[i].at.port == place->port && strcmp(n->targets[i].at.host, place->host) == 0)
            n->targets[i].id = g->id;
    if (gossip_place_read(slice_str(peer->address), &from) &&
        sock_addr_ip(from.host, from.port, &seen))
        gossip_book_seen(n->book, g->id, &seen);
    return gossip_seal_believe(n->seal, g->id, g->boot, g->counter);
}

/* ---- whom to greet ----------------------------------------------------------------------------
 */

void gossip_net_meet(struct gossip_net *n, uint64_t id)
{
    struct gossip_place place;
    if (is_there(n, id) && gossip_book_place(n->book, id, &place))
        gossip_talks_ping(n->talks, id, &place, 0);
}

/* Both sides hear of each other at about the same time: the one of the lower number goes first. */
static bool is_our_turn(const struct gossip_net *n, const struct gossip_member *m)
{
    uint64_t now = loop_now_us(n->setup.loop);
    return n->id < m->id || (now > m->since_us && now - m->since_us > MEET_LATER_MS * 1000u);
}

static void meet_members(struct gossip_net *n)
{
    for (size_t i = 0; n->core != NULL && i < gossip_member_count(n->core); i++) {
        const struct gossip_member *m = gossip_member_at(n->core, i);
        struct gossip_info info;
        if (m->id != n->id && gossip_info_read(m->record, &info) &&
            !gossip_seal_believes(n->seal, m->id, info.boot) && is_our_turn(n, m))
            gossip_net_meet(n, m->id);
    }
}

static void ask_targets(struct gossip_net *n)
{
    uint64_t now = loop_now_ms(n->setup.loop);
    for (size_t i = 0; i < n->target_count; i++) {
        struct target *t = &n->targets[i];
        if (now < t->next_ms || t->id == n->id || (t->id != 0 && is_there(n, t->id)))
            continue;
        t->next_ms = now + TARGET_MS;
        gossip_talks_ask(n->talks, &t->at);
    }
}

void gossip_net_tidy(struct gossip_net *n)
{
    n->is_untidy = false;
    if (n->has_left)
        return;
    gossip_talks_tidy(n->talks);
    meet_members(n);
    ask_targets(n);
}

void gossip_net_set_places(struct gossip_net *n, const char *const *places, size_t count)
{
    n->target_count = 0;
    for (size_t i = 0; i < count && n->target_count < GOSSIP_PLACES_MAX; i++) {
        struct target *t = &n->targets[n->target_count];
        *t = (struct target){ .id = 0 };
        n->target_count += gossip_place_read(slice_str(places[i]), &t->at) && t->at.host[0] != 0;
    }
    n->is_untidy = true;
    loop_timer_start(&n->tidy, 0);
}
