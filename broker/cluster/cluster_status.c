#include "cluster/cluster_inner.h"

#include "amqp/amqp_spec.h"
#include "base/mem.h"
#include "base/text.h"
#include "io/clock.h"
#include "io/epoch.h"

static void copy(char room[CLUSTER_NAME_BYTES], struct slice s)
{
    struct text t = text_over(room, CLUSTER_NAME_BYTES);
    text_slice(&t, s);
}

static void fill_peer(const struct cluster *c, const struct meta_node *m, struct cluster_peer *p)
{
    const struct cluster_node *n = cluster_node_find(c, m->node);
    p->id = m->node;
    copy(p->name, m->name);
    copy(p->address, m->cluster_address);
    p->is_self = m->node == c->identity.node;
    p->is_leader = m->node == c->leader;
    p->is_voter = c->raft.core != NULL && raft_config_is_voter(raft_config(c->raft.core), m->node);
    p->is_linked = cluster_links_is_linked(c, m->node);
    p->is_gone = n != NULL && n->is_gone;
    p->applied = p->is_self ? c->apply.applied : n != NULL ? n->applied : 0;
    p->links = cluster_links_figure(c, m->node);
    p->heard_ms = n != NULL ? n->heard_ms : 0;
}

static void count_voters(const struct cluster *c, struct cluster_status *s)
{
    const struct raft_config *config = c->raft.core != NULL ? raft_config(c->raft.core) : NULL;
    for (uint32_t i = 0; config != NULL && i < config->count; i++) {
        if (config->members[i].part == RAFT_LEARNER)
            continue;
        s->voter_count++;
        s->voters_linked += cluster_links_is_linked(c, config->members[i].node);
    }
}

static void fill_waits_for(const struct cluster *c, struct cluster_status *s)
{
    struct text t = text_over(s->waits_for, sizeof s->waits_for);
    if (c->phase == CLUSTER_ALONE)
        cluster_seek_put_waited(c, &t);
    else if (c->phase == CLUSTER_REMOVED)
        text_str(&t, "nobody: it was removed from its cluster");
    else if (c->is_cut_off || (c->phase == CLUSTER_WAITING && c->leader == 0))
        cluster_put_missing(c, &t);
}

#define TELL_FIRST_MS 1000u
#define TELL_EVERY_MS 10000u
#define LOOK_AFTER_MS 3000u /* at the seeds: they may be elsewhere */

static const char for_ever[] = "; if they are gone for good, 'warrenctl force_reset' makes this "
                               "node a new one, and what it had "
                               "is lost";
static const char for_an_old_one[] =
    "; who is not ready belongs to a cluster that waits itself, and no other is begun beside that: "
    "if "
    "it is gone for good, 'warrenctl force_reset' there makes that node a new one";

static uint64_t waiting_since_ms(const struct cluster *c)
{
    return c->leaderless_ms > c->started_ms ? c->leaderless_ms : c->started_ms;
}

/* What to do when it never ends, once it has taken a while. */
static const char *remedy(const struct cluster *c, uint64_t now_ms)
{
    if (now_ms - waiting_since_ms(c) < TELL_EVERY_MS)
        return "";
    if (c->phase == CLUSTER_ALONE)
        return c->seek.has_seen_cluster ? for_an_old_one : "";
    return c->leader == 0 ? for_ever : "";
}

/* It will take a while: warrenctl is answered from now on. */
void cluster_wait_told(struct cluster *c)
{
    bool is_first = c->told_ms == 0;
    c->told_ms = clock_mono_ms();
    if (is_first)
        c->setup.on_waiting(c->setup.arg);
}

/* Whoever waits says for whom. */
void cluster_wait_tick(struct cluster *c, uint64_t now_ms)
{
    if (c->phase != CLUSTER_WAITING || c->leader != 0)
        cluster_seek_members_end(c);
    else if (now_ms - waiting_since_ms(c) >= LOOK_AFTER_MS)
        cluster_seek_members(c);
    if ((c->phase != CLUSTER_ALONE && c->phase != CLUSTER_WAITING) ||
        now_ms - waiting_since_ms(c) < TELL_FIRST_MS ||
        (c->told_ms != 0 && now_ms - c->told_ms < TELL_EVERY_MS))
        return;
    struct cluster_status s = { 0 };
    fill_waits_for(c, &s);
    log_info("cluster", c->name, "waits for %s%s",
             s.waits_for[0] != '\0' ? s.waits_for : "what the cluster has agreed upon meanwhile",
             remedy(c, now_ms));
    cluster_wait_told(c);
}

static struct cluster_status *make(const struct cluster *c)
{
    const struct meta_version *v = meta_current(c->meta);
    size_t count = meta_node_count(v);
    struct cluster_status *s = mem_zalloc(sizeof *s + count * sizeof *s->peers);
    s->phase = c->phase;
    memcpy(s->cluster_id, c->identity.cluster_id, sizeof s->cluster_id);
    s->self = c->identity.node;
    s->inc = c->inc;
    s->leader = c->leader;
    s->term = c->term;
    s->committed = c->apply.committed;
    s->applied = c->apply.applied;
    s->all_applied = c->apply.all_applied;
    s->moves = c->plan.move_count;
    s->moved = c->plan.moved_count;
    s->unwell = c->unwell.count;
    s->unwell_times = c->unwell.times;
    s->strain = c->strain;
    s->checksum = meta_checksum(c->meta);
    s->leaderless_since_ms = c->leaderless_ms;
    s->is_cut_off = c->is_cut_off;
    count_voters(c, s);
    fill_waits_for(c, s);
    for (size_t i = 0; i < count; i++)
        fill_peer(c, meta_node_at(v, i), &s->peers[i]);
    s->count = (unsigned)count;
    return s;
}

static void free_status(void *s)
{
    mem_free(s);
}

static void show(struct cluster *c)
{
    struct cluster_status *was = c->status;
    c->status = make(c);
    shown_set(&c->shown, c->status);
    if (was != NULL)
        epoch_retire(c->setup.epoch, was, free_status);
}

static void on_show(void *arg)
{
    show(arg);
}

void cluster_status_init(struct cluster *c)
{
    loop_task_init(&c->show, on_show, c);
    shown_init(&c->shown, NULL);
    show(c);
}

void cluster_status_changed(struct cluster *c)
{
    loop_at_turn_end(c->loop, &c->show);
}

void cluster_status_fini(struct cluster *c)
{
    loop_task_cancel(c->loop, &c->show);
    mem_free(c->status);
}

const struct cluster_status *cluster_status(const struct cluster *c)
{
    return shown_get(&c->shown);
}

bool cluster_has_majority(const struct cluster *c, struct text *why)
{
    const struct cluster_status *s = cluster_status(c);
    if (!s->is_cut_off)
        return true;
    text_str(why, "this node sees no majority of the cluster's voters, it waits for ");
    text_str(why, s->waits_for);
    return false;
}

bool cluster_may_change(const struct cluster *c, struct meta_refusal *why)
{
    *why = (struct meta_refusal){ .code = AMQP_RESOURCE_ERROR };
    struct text t = text_over(why->text, sizeof why->text);
    text_str(&t, "the metadata cannot be changed: ");
    return cluster_has_majority(c, &t);
}
