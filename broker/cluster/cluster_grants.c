#include "cluster/cluster_inner.h"

#include "base/check.h"
#include "base/mem.h"
#include "io/clock.h"
#include "link/link_node.h"

#include <string.h>

static int64_t now_us(void)
{
    return (int64_t)clock_boot_us();
}

/* ---- steps ---- */

static void set_timer(struct cluster *c)
{
    int64_t at_us = grant_deadline_us(c->grants.core);
    if (at_us == INT64_MAX) {
        loop_timer_stop(&c->grants.timer);
        return;
    }
    int64_t wait_us = at_us - now_us();
    loop_timer_start(&c->grants.timer, wait_us > 0 ? (uint64_t)(wait_us + 999) / 1000 : 0);
}

/* Whoever was told that a queue may not be served, or begin, is to look again. */
static void tell(struct cluster *c)
{
    if (c->setup.on_grants != NULL)
        c->setup.on_grants(c->setup.arg);
}

static void carry_out(struct cluster *c)
{
    const struct grant_effects *fx = c->grants.effects;
    bool has_more = false;
    for (size_t i = 0; i < fx->count; i++) {
        const struct grant_effect *e = &fx->list[i];
        switch (e->kind) {
        case GRANT_DO_ASK:
            cluster_links_send_grant_ask(c, e->node, &e->ask);
            break;
        case GRANT_DO_ANSWER:
            cluster_links_send_grant_answer(c, e->node, &e->answer);
            break;
        case GRANT_DO_HOLD:
            grant_board_hold(c->grants.board, e->node, e->hold.index, e->hold.until_us);
            has_more = grant_board_was_missed(c->grants.board) || has_more;
            break;
        case GRANT_DO_LOOK:
            has_more = true;
            break;
        }
    }
    if (has_more)
        tell(c);
}

void cluster_grants_step(struct cluster *c, const struct grant_event *ev)
{
    if (c->grants.core == NULL)
        return;
    struct grant_event timed = *ev;
    timed.now_us = now_us(); /* whatever brought the event has been read by now */
    grant_step(c->grants.core, &timed, c->grants.effects);
    carry_out(c);
    set_timer(c);
}

static void on_timer(void *arg)
{
    cluster_grants_step(arg, &(struct grant_event){ .kind = GRANT_EV_TIME });
}

/* ---- what is needed ---- */

static void on_needed(void *arg, uint16_t node, uint64_t epoch)
{
    cluster_grants_step(
        arg, &(struct grant_event){ .kind = GRANT_EV_NEED, .node = node, .need = { epoch } });
}

static void ask_for_what_is_needed(struct cluster *c)
{
    if (c->grants.core != NULL)
        grant_board_each_needed(c->grants.board, on_needed, c);
}

/* Another one is of use when this one has been looked at, and not at once. */
static void on_poke(struct mail *mail)
{
    struct cluster_poke *p = CONTAINER_OF(mail, struct cluster_poke, mail);
    struct cluster *c = p->cluster;
    if (c == NULL) { /* it was on its way when all ended */
        mem_free(p);
        return;
    }
    shared_set(&p->state, 2);
    ask_for_what_is_needed(c);
    loop_timer_start(&c->grants.rest, CLUSTER_POKE_MS);
}

static void on_rested(void *arg)
{
    struct cluster *c = arg;
    shared_set(&c->grants.poke->state, 0);
    ask_for_what_is_needed(c);
}

void cluster_grants_tick(struct cluster *c)
{
    ask_for_what_is_needed(c);
    on_timer(c);
    /* It may have been told no in the moment in which the grant came. */
    if (grant_board_was_missed(c->grants.board))
        tell(c);
}

/* ---- what the log says ---- */

static bool is_up(const struct cluster *c)
{
    const struct meta_node *m = meta_node_get(meta_current(c->meta), c->identity.node);
    return m != NULL && m->inc == c->inc;
}

void cluster_grants_applied(struct cluster *c, uint64_t index, bool has_skipped)
{
    cluster_grants_step(
        c, &(struct grant_event){ .kind = has_skipped ? GRANT_EV_JUMPED : GRANT_EV_APPLIED,
                                  .applied = { .index = index, .is_up = is_up(c) } });
}

void cluster_grants_moved(struct cluster *c, uint16_t from, uint16_t to, uint64_t index)
{
    cluster_grants_step(
        c, &(struct grant_event){ .kind = GRANT_EV_MOVED, .node = from, .moved = { to, index } });
}

/* A connection proves something of the process that is said to listen there, if it was begun when
 * that was known. */
static void note_listener(struct cluster_node *n, const struct meta_node *m)
{
    bool is_same = n->listener_inc == m->inc && strlen(n->listener) == m->cluster_address.len &&
                   memcmp(n->listener, m->cluster_address.ptr, m->cluster_address.len) == 0;
    if (is_same)
        return;
    struct text t = text_over(n->listener, sizeof n->listener);
    text_slice(&t, m->cluster_address);
    n->listener_inc = m->inc;
    n->listener_us = clock_mono_us();
}

void cluster_grants_nodes_changed(struct cluster *c)
{
    const struct meta_version *v = meta_current(c->meta);
    struct cluster_node *n;
    TAILQ_FOREACH (n, &c->links.nodes, entry) {
        const struct meta_node *m = meta_node_get(v, n->id);
        uint32_t inc = m != NULL ? m->inc : 0;
        if (m != NULL)
            note_listener(n, m);
        grant_board_know(c->grants.board, n->id);
        cluster_grants_step(
            c, &(struct grant_event){ .kind = GRANT_EV_NODE, .node = n->id, .member = { inc } });
    }
}

/* The node table has it no more; nor do the links. */
void cluster_grants_forgotten(struct cluster *c, uint16_t node)
{
    cluster_grants_step(c, &(struct grant_event){ .kind = GRANT_EV_NODE, .node = node });
}

void cluster_grants_refused(struct cluster *c, const struct cluster_node *n)
{
    if (n->listener_inc == 0 || strcmp(n->listener, n->address) != 0 ||
        link_tried_us(n->out.link) < n->listener_us)
        return;
    cluster_grants_step(c, &(struct grant_event){ .kind = GRANT_EV_GONE,
                                                  .node = n->id,
                                                  .member = { n->listener_inc } });
}

/* ---- questions ---- */

static void poke(struct cluster_poke *p)
{
    if (shared_get(&p->state) == 0 && shared_exchange(&p->state, 0, 1))
        mailbox_post(p->cluster->loop, &p->mail);
}

static bool needs_others(uint16_t self, const uint16_t *members, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (members[i] != self)
            return true;
    return false;
}

bool cluster_may_serve(struct cluster *c, uint64_t epoch, const uint16_t *members, size_t count)
{
    uint16_t self = (uint16_t)shared_get(&c->grants.self);
    if (!needs_others(self, members, count))
        return true;
    if (grant_board_may_serve(c->grants.board, self, epoch, members, count, now_us()))
        return true;
    poke(c->grants.poke);
    return false;
}

int64_t cluster_begins_us(const struct cluster *c, uint64_t epoch, const uint16_t *earlier,
                          size_t count)
{
    if (c->grants.core == NULL)
        return INT64_MAX;
    return grant_begins_us(c->grants.core, epoch, earlier, count);
}

/* ---- life ---- */

void cluster_grants_init(struct cluster *c)
{
    struct cluster_grants *g = &c->grants;
    g->board = grant_board_new();
    g->effects = mem_zalloc(sizeof *g->effects);
    g->poke = mem_zalloc(sizeof *g->poke);
    g->poke->mail.fn = on_poke;
    g->poke->cluster = c;
    loop_timer_init(&g->timer, c->loop, on_timer, c);
    loop_timer_init(&g->rest, c->loop, on_rested, c);
}

void cluster_grants_begin(struct cluster *c, uint64_t index)
{
    cluster_grants_end(c);
    shared_set(&c->grants.self, c->identity.node);
    c->grants.core =
        grant_new(c->identity.node, c->inc, index, !c->was_member, (int64_t)clock_boot_us());
    cluster_grants_nodes_changed(c);
}

void cluster_grants_end(struct cluster *c)
{
    loop_timer_stop(&c->grants.timer);
    grant_free(&c->grants.core);
    grant_board_clear(c->grants.board);
}

void cluster_grants_fini(struct cluster *c)
{
    cluster_grants_end(c);
    loop_timer_fini(&c->grants.timer);
    loop_timer_fini(&c->grants.rest);
    grant_board_free(&c->grants.board);
    mem_free(c->grants.effects);
    if (shared_get(&c->grants.poke->state) == 1)
        c->grants.poke->cluster = NULL;
    else
        mem_free(c->grants.poke);
}
