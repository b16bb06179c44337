#include "cluster/cluster_inner.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/meta_convert.h"
#include "io/clock.h"
#include "io/random.h"

#include <inttypes.h>
#include <string.h>

static void on_tick(void *arg);

/* ---- who this node is -------------------------------------------------------------------------
 */

static void tell_identity(struct cluster *c)
{
    struct link_identity self = { .node = c->identity.node, .inc = c->inc };
    struct text name = text_over(self.name, sizeof self.name);
    memcpy(self.cluster, c->identity.cluster_id, sizeof self.cluster);
    text_str(&name, c->name);
    if (c->setup.link_node != NULL)
        link_node_set_self(c->setup.link_node, &self);
    c->setup.on_identity(c->identity.node != 0 ? c->identity.node : 1, c->setup.arg);
}

static void name_self(const struct cluster *c, struct raft_identity *it)
{
    struct text name = text_over(it->name, sizeof it->name);
    text_str(&name, c->name);
    it->is_ram = c->type == BROKER_NODE_RAM && it->node > 1;
}

/* Another identity, and the state that goes with it: none yet. */
static bool take_identity(struct cluster *c, const uint8_t id[16], uint16_t node, bool is_founder,
                          struct err *err)
{
    struct raft_identity it = { .node = node, .is_founder = is_founder };
    memcpy(it.cluster_id, id, sizeof it.cluster_id);
    name_self(c, &it);
    if (!raft_identity_replace(c->setup.disk, &it, err))
        return false;
    c->identity = it;
    c->place = random_u64() | 1;
    tell_identity(c);
    c->phase = CLUSTER_WAITING;
    c->leaderless_ms = clock_mono_ms();
    return true;
}

/* ---- beginnings --------------------------------------------------------------------------------
 */

/* A cluster of one, the first of its nodes. Whatever may be wrong with what it is to begin with is
 * found before anything is written. */
bool cluster_found(struct cluster *c, struct err *err)
{
    uint8_t id[16];
    random_octets(id, sizeof id);
    memcpy(c->identity.cluster_id, id, sizeof id);
    c->identity.node = 1;
    struct buf *first = cluster_first_entry(c, err);
    c->identity = (struct raft_identity){ 0 };
    if (first == NULL)
        return false;
    buf_unref(&c->first);
    c->first = first;
    if (!take_identity(c, id, 1, true, err) || !cluster_raft_open(c, err))
        return false;
    cluster_members_begin(c);
    return true;
}

bool cluster_enter(struct cluster *c, const uint8_t id[16], uint16_t node, struct err *err)
{
    if (!take_identity(c, id, node, false, err) || !cluster_raft_open(c, err))
        return false;
    cluster_members_begin(c);
    return true;
}

/* ---- the end of a membership -------------------------------------------------------------------
 */

static void empty_state(struct cluster *c)
{
    struct meta *fresh = meta_new(c->setup.meta_setup);
    cluster_apply_replace(c, &fresh, true);
    c->apply.applied = c->apply.committed = c->apply.all_applied = 0;
}

static void forget_cluster(struct cluster *c)
{
    c->is_ready = false;
    c->is_cut_off = false;
    cluster_grants_end(c);
    c->leader = 0;
    c->term = c->first_term = 0;
    c->leaderless_ms = clock_mono_ms();
    cluster_links_drop_all(c);
    cluster_propose_refuse_all(c, "the node leaves its cluster");
    cluster_drive_refuse_all(c, "the node leaves its cluster");
}

/* The state is given up at once; `then` follows when nothing is on its way to the disk any more. */
void cluster_part(struct cluster *c, cluster_parted_fn then)
{
    CHECK(c->parted == NULL && !c->raft.is_carrying_out);
    c->parted = then;
    c->phase = CLUSTER_LEAVING;
    cluster_raft_let_go(c);
    forget_cluster(c);
    cluster_part_look(c);
}

/* On every return of something that was on its way. */
void cluster_part_look(struct cluster *c)
{
    cluster_parted_fn then = c->parted;
    if (then == NULL || cluster_raft_is_busy(c))
        return;
    c->parted = NULL;
    cluster_raft_close(c);
    empty_state(c);
    then(c);
}

/* ---- what others see changes -------------------------------------------------------------------
 */

#define KNOWN_FORMAT 1u

/* u8 format, then of each node u16 id, short strings name and address: where to look for them at
 * the next start, before the state tells. */
static void put_known(const struct cluster *c, struct raft_identity *it)
{
    const struct meta_version *v = meta_current(c->meta);
    struct wire_out w = wire_out_over(it->known, sizeof it->known);
    wire_put_u8(&w, KNOWN_FORMAT);
    it->known_bytes = (uint32_t)wire_out_len(&w);
    for (size_t i = 0; i < meta_node_count(v); i++) {
        const struct meta_node *m = meta_node_at(v, i);
        if (m->node == it->node)
            continue;
        wire_put_u16(&w, m->node);
        wire_put_shortstr(&w, m->name);
        wire_put_shortstr(&w, m->cluster_address);
        if (w.overflow)
            return; /* enough of them are known */
        it->known_bytes = (uint32_t)wire_out_len(&w);
    }
    if (it->known_bytes == 1)
        it->known_bytes = 0;
}

static void take_known(struct cluster *c)
{
    struct wire w = wire_over(slice_of(c->identity.known, c->identity.known_bytes));
    if (c->identity.known_bytes == 0 || wire_u8(&w) != KNOWN_FORMAT)
        return;
    while (wire_left(&w) != 0) {
        uint16_t id = wire_u16(&w);
        struct slice name = wire_shortstr(&w);
        struct slice address = wire_shortstr(&w);
        if (w.ran_out)
            return;
        cluster_links_know(c, id, name, address);
    }
}

static void keep_known(struct cluster *c)
{
    struct err err;
    struct raft_identity it = c->identity;
    put_known(c, &it);
    if (it.known_bytes == c->identity.known_bytes &&
        memcmp(it.known, c->identity.known, it.known_bytes) == 0)
        return;
    c->identity = it;
    if (!raft_identity_write(c->setup.disk, &it, &err))
        cluster_raft_fail(c, &err);
}

static void tell_counted(struct cluster *c)
{
    const struct meta_version *v = meta_current(c->meta);
    struct raft_counted nodes[RAFT_COUNTED_MAX];
    size_t count = 0;
    for (size_t i = 0; i < meta_node_count(v) && count < RAFT_COUNTED_MAX; i++) {
        const struct meta_node *m = meta_node_at(v, i);
        if (meta_node_is_serving(m))
            nodes[count++] = (struct raft_counted){ m->node, m->inc };
    }
    struct raft_event ev = { .kind = RAFT_EV_COUNTED, .counted = { nodes, count } };
    cluster_raft_step(c, &ev);
}

void cluster_nodes_changed(struct cluster *c)
{
    if (c->identity.node == 0 || c->parted != NULL)
        return;
    cluster_links_sync(c);
    cluster_grants_nodes_changed(c);
    keep_known(c);
    tell_counted(c);
    cluster_propose_again(c); /* what was said while it was not up went unheard */
    cluster_status_changed(c);
}

static void on_tick(void *arg)
{
    struct cluster *c = arg;
    uint64_t now_ms = clock_mono_ms();
    loop_timer_start(&c->tick, CLUSTER_TICK_MS);
    if (c->raft.core != NULL) {
        cluster_ward_tick(c, now_ms);
        cluster_watch_tick(c, now_ms); /* tells how this node does */
        cluster_propose_tick(c, now_ms);
        cluster_members_tick(c, now_ms);
        cluster_grants_tick(c);
        cluster_plan_tick(c, now_ms);
        cluster_thaw_tick(c, now_ms);
    }
    cluster_wait_tick(c, now_ms);
    cluster_status_changed(c);
}

/* ---- life --------------------------------------------------------------------------------------
 */

/* What a version before clusters has left is taken along. */
static bool read_identity(struct cluster *c, struct err *err)
{
    bool is_made;
    if (!meta_convert(c->setup.disk, c->name, c->inc, &is_made, err))
        return false;
    if (is_made)
        log_info("cluster", c->name, "the definitions of an older version were taken over");
    if (raft_identity_read(c->setup.disk, c->name, &c->identity, err))
        return true;
    c->identity = (struct raft_identity){ 0 };
    return err->code == ERR_NOT_FOUND;
}

struct cluster *cluster_open(const struct cluster_setup *setup, struct err *err)
{
    struct cluster *c = mem_zalloc(sizeof *c);
    c->setup = *setup;
    c->loop = setup->loop;
    c->meta = setup->meta;
    c->conf = broker_conf_ref(setup->conf);
    c->name = c->conf->node.name;
    c->type = c->conf->node.type;
    c->inc = setup->inc;
    c->place = random_u64() | 1;
    c->app = CLUSTER_APP_RUNS;
    loop_timer_init(&c->tick, c->loop, on_tick, c);
    cluster_members_init(c);
    cluster_apply_init(c);
    cluster_propose_init(c);
    cluster_drive_init(c);
    cluster_raft_init(c);
    cluster_links_init(c);
    cluster_grants_init(c);
    cluster_plan_init(c);
    cluster_ward_init(c);
    cluster_hall_init(c);
    cluster_seek_init(c);
    cluster_orders_init(c);
    cluster_status_init(c);
    if (!read_identity(c, err)) {
        cluster_stop(c);
        cluster_free(&c);
        return NULL;
    }
    return c;
}

static bool begin(struct cluster *c, struct err *err)
{
    if (!cluster_seek_is_wanted(c))
        return cluster_found(c, err);
    cluster_seek_start(c);
    return true;
}

bool cluster_start(struct cluster *c, struct err *err)
{
    bool is_member = c->identity.node != 0;
    struct text address = text_over(c->address, sizeof c->address);
    text_str(&address, c->setup.cluster_address);
    tell_identity(c);
    cluster_links_open(c);
    loop_timer_start(&c->tick, CLUSTER_TICK_MS);
    c->leaderless_ms = c->started_ms = clock_mono_ms();
    if (!is_member)
        return begin(c, err);
    c->was_member = true;
    c->phase = CLUSTER_WAITING;
    take_known(c);
    if (!cluster_raft_open(c, err))
        return false;
    cluster_members_begin(c);
    return true;
}

void cluster_carry_out_from_now(struct cluster *c)
{
    c->apply.carries_out = true;
}

void cluster_stop(struct cluster *c)
{
    c->phase = CLUSTER_LEAVING;
    loop_timer_stop(&c->tick);
    cluster_seek_stop(c);
    cluster_hall_stop(c);
    cluster_links_fini(c);
    cluster_grants_end(c);
    cluster_raft_stop(c);
    c->parted = NULL; /* nothing new begins: what the disk has is what the next start finds */
    cluster_orders_stop(c);
    cluster_plan_stop(c);
    cluster_drive_refuse_all(c, "the node stops");
    cluster_propose_refuse_all(c, "the node stops");
}

void cluster_free(struct cluster **cluster)
{
    struct cluster *c = *cluster;
    *cluster = NULL;
    if (c == NULL)
        return;
    cluster_orders_fini(c);
    cluster_propose_fini(c);
    cluster_hall_free(c);
    cluster_seek_fini(c);
    cluster_links_free(c);
    cluster_grants_fini(c);
    cluster_plan_fini(c);
    cluster_ward_fini(c);
    cluster_raft_fini(c);
    cluster_apply_fini(c);
    cluster_status_fini(c);
    loop_task_cancel(c->loop, &c->look);
    loop_timer_fini(&c->tick);
    buf_unref(&c->first);
    broker_conf_unref(&c->conf);
    mem_free(c);
}
