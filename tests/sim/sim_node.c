#include "sim_node.h"

#include "base/check.h"
#include "base/mem.h"
#include "client/auth.h"
#include "client/connection.h"
#include "client/patrol.h"
#include "client/returning.h"
#include "cluster/cluster.h"
#include "control.h"
#include "effects.h"
#include "io/epoch.h"
#include "io/mailbox.h"
#include "live.h"
#include "mirrored.h"
#include "pager.h"
#include "placements.h"
#include "shard.h"
#include "storage.h"
#include "store/store.h"

#define SHARDS_MAX   4u
#define SETTLES_MAX  10000u
#define ENTER_MAX_MS 60000u /* a node alone waits for nobody */

struct broker {
    struct broker_conf conf;
    struct live *live;
    struct loop *loop;
    struct epoch *epoch;
    struct meta *meta;
    struct meta_setup meta_setup;
    struct control *control;
    struct cluster *cluster;
    struct placements *placements;
    struct storage *storage;
    struct shard *shards[SHARDS_MAX];
    uint32_t shard_count;
    bool runs;
    bool is_pressed;
    bool has_failed;
    bool is_in_cluster;
    struct err failure;
};

/* ---- broker.h ---------------------------------------------------------------------------------
 */

struct shard *broker_shard(const struct broker *b, uint32_t index)
{
    CHECK(index < b->shard_count);
    return b->shards[index];
}

uint32_t broker_shard_count(const struct broker *b)
{
    return b->shard_count;
}

struct control *broker_control(const struct broker *b)
{
    return b->control;
}

const struct meta_version *broker_meta(const struct broker *b)
{
    return meta_current(b->meta);
}

struct auth *broker_auth_new(const struct broker *b, struct loop *loop)
{
    (void)b;
    (void)loop;
    return NULL;
}

struct store *broker_store(const struct broker *b)
{
    return b->storage != NULL ? storage_store(b->storage) : NULL;
}

struct storage *broker_storage(const struct broker *b)
{
    return b->storage;
}

struct loop *broker_loop(const struct broker *b)
{
    return b->loop;
}

struct cluster *broker_cluster(const struct broker *b)
{
    return b->cluster;
}

struct placements *broker_placements(const struct broker *b)
{
    return b->placements;
}

uint16_t broker_node(const struct broker *b)
{
    (void)b;
    return 1;
}

const char *broker_name(const struct broker *b)
{
    return b->conf.node.name;
}

struct live *broker_live(const struct broker *b)
{
    return b->live;
}

uint64_t broker_disk_limit(const struct broker *b)
{
    (void)b;
    return 0;
}

bool broker_is_pressed(const struct broker *b)
{
    return b->is_pressed;
}

bool broker_has_alarm(const struct broker *b)
{
    (void)b;
    return false;
}

void broker_disk_changed(struct broker *b)
{
    (void)b;
}

void broker_fail(struct broker *b, const struct err *why)
{
    (void)why;
    b->has_failed = true;
}

void broker_shard_is_idle(struct shard *s)
{
    (void)s;
}

/* ---- what shards have of clients, and simulated ones have not ---------------------------------
 */

struct connection *connection_find(struct shard *s, uint64_t id)
{
    (void)s;
    (void)id;
    return NULL;
}

void connection_stop(struct connection *c, const char *why)
{
    (void)c;
    (void)why;
}

void connection_release(struct connection *c)
{
    (void)c;
}

void connection_force_out(struct connection *c, const char *why)
{
    (void)c;
    (void)why;
}

struct patrol *patrol_new(struct shard *s)
{
    (void)s;
    return NULL;
}

void patrol_free(struct patrol **patrol)
{
    (void)patrol;
}

struct returnings *returnings_new(struct shard *s)
{
    (void)s;
    return NULL;
}

void returnings_free(struct returnings **all)
{
    (void)all;
}

void auth_free(struct auth **a)
{
    (void)a;
}

/* ---- start ------------------------------------------------------------------------------------
 */

static void retire(void *arg, void *ptr, void (*free_fn)(void *))
{
    epoch_retire(arg, ptr, free_fn);
}

static void make_shards(struct broker *b, uint32_t count, struct err *err)
{
    b->shard_count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct loop *loop = loop_new("shard", err);
        loop_join_epoch(loop, b->epoch);
        b->shards[i] = shard_new(b, i, count, loop);
    }
}

/* ---- a cluster of this node alone ---- */

static void before_show(const struct meta_effect *effects, size_t count, void *arg)
{
    effects_before_publication(arg, effects, count);
}

static void after_show(const struct meta_effect *effects, size_t count, void *arg)
{
    effects_after_publication(arg, effects, count);
}

static bool make_vhost(struct cluster_first *first, struct err *err, void *arg)
{
    struct meta_refusal why;
    struct meta_cmd cmd = { .op = META_VHOST_PUT, .name = slice_str("/") };
    (void)arg;
    return cluster_first_add(first, &cmd, NULL, &why) || err_set(err, ERR_REFUSED, "%s", why.text);
}

static void on_identity(uint16_t node, void *arg)
{
    struct broker *b = arg;
    meta_set_node(b->meta, node);
}

static void on_ready(void *arg)
{
    struct broker *b = arg;
    b->is_in_cluster = true;
    loop_stop(b->loop);
}

static void on_waiting(void *arg)
{
    (void)arg;
}

static void on_cluster_failed(const struct err *err, void *arg)
{
    struct broker *b = arg;
    b->has_failed = true;
    b->failure = *err;
    if (!b->is_in_cluster)
        loop_stop(b->loop);
}

static bool open_cluster(struct broker *b, struct err *err)
{
    b->cluster = cluster_open(&(struct cluster_setup){ .loop = b->loop,
                                                       .epoch = b->epoch,
                                                       .meta = b->meta,
                                                       .meta_setup = &b->meta_setup,
                                                       .conf = &b->conf,
                                                       .disk = store_disk(broker_store(b)),
                                                       .inc = store_incarnation(broker_store(b)),
                                                       .cluster_address = "",
                                                       .amqp_address = "",
                                                       .management_address = "",
                                                       .before_show = before_show,
                                                       .after_show = after_show,
                                                       .begin = make_vhost,
                                                       .on_identity = on_identity,
                                                       .on_ready = on_ready,
                                                       .on_waiting = on_waiting,
                                                       .on_failed = on_cluster_failed,
                                                       .arg = b },
                              err);
    control_set_cluster(b->control, b->cluster);
    return b->cluster != NULL;
}

static void on_enter(void *arg)
{
    struct broker *b = arg;
    struct err err;
    if (!cluster_start(b->cluster, &err))
        on_cluster_failed(&err, b);
}

static void on_never_in(void *arg)
{
    struct err err;
    (void)!err_set(&err, ERR_LIMIT, "the cluster of this node alone has no leader");
    on_cluster_failed(&err, arg);
}

static bool enter_cluster(struct broker *b, struct err *err)
{
    struct loop_task enter;
    struct loop_timer late;
    loop_timer_init(&late, b->loop, on_never_in, b);
    loop_timer_start(&late, ENTER_MAX_MS);
    loop_task_init(&enter, on_enter, b);
    loop_again(b->loop, &enter);
    loop_run(b->loop);
    loop_timer_fini(&late);
    if (!b->is_in_cluster) {
        b->has_failed = false;
        *err = b->failure;
        return false;
    }
    effects_of_start(b, meta_current(b->meta));
    cluster_carry_out_from_now(b->cluster);
    return true;
}

static struct loop *loop_of(void *arg, uint32_t shard)
{
    return broker_shard(arg, shard)->loop;
}

static const struct meta_version *version_of(void *arg)
{
    return broker_meta(arg);
}

static void look_at(void *arg, uint32_t shard, const struct meta_queue *q)
{
    mirrored_reconcile(broker_shard(arg, shard), q);
}

/* No queue of another node is used here. */
static void are_placed(void *arg, uint32_t shard)
{
    (void)arg;
    (void)shard;
}

static struct placements *make_placements(struct broker *b)
{
    return placements_new(&(struct placements_setup){ .loop = b->loop,
                                                      .shard_count = b->shard_count,
                                                      .loop_of = loop_of,
                                                      .version = version_of,
                                                      .look = look_at,
                                                      .placed = are_placed,
                                                      .arg = b });
}

struct broker *sim_node_new(const struct sim_node_setup *setup, struct err *err)
{
    struct broker *b = mem_zalloc(sizeof *b);
    b->conf.node.name = "sim@node";
    b->conf.node.data_path = "simulated";
    b->conf.node.threads = setup->shards;
    b->conf.store.sync = setup->sync;
    b->conf.store.interval_ms = 100;
    b->conf.store.segment_bytes = setup->segment_bytes;
    b->conf.store.slow_ms = 10000;
    b->live = mem_zalloc(sizeof *b->live);
    b->live->conf = &b->conf;
    b->loop = loop_new("control", err);
    b->epoch = epoch_new();
    b->meta_setup = (struct meta_setup){
        .hash_seed = 1, .shard_count = setup->shards, .retire = retire, .retire_arg = b->epoch
    };
    b->meta = meta_new(&b->meta_setup);
    b->control = control_new(b->loop);
    make_shards(b, setup->shards, err);
    b->placements = make_placements(b);
    b->storage = storage_open(b, b->epoch, sim_disk_of(setup->disk), err);
    bool ok = b->storage != NULL && open_cluster(b, err) && enter_cluster(b, err) &&
              storage_read(b->storage, meta_current(b->meta), err) &&
              storage_recover(b->storage, err);
    if (!ok)
        (void)sim_node_free(&b);
    return b;
}

bool sim_node_start(struct broker *b, struct err *err)
{
    if (!storage_start(b->storage, err))
        return false;
    for (uint32_t i = 0; i < b->shard_count; i++)
        CHECK(loop_start(b->shards[i]->loop, err));
    CHECK(loop_start(b->loop, err));
    b->runs = true;
    storage_hand_out(b->storage);
    return true;
}

/* ---- end --------------------------------------------------------------------------------------
 */

static bool settle_shards(struct broker *b)
{
    bool busy = false;
    for (uint32_t i = 0; i < b->shard_count; i++)
        busy = loop_settle(b->shards[i]->loop) || busy;
    return busy;
}

static void settle(struct broker *b)
{
    bool busy = true;
    for (unsigned n = 0; busy && n < SETTLES_MAX; n++) {
        busy = loop_settle(b->loop);
        busy = settle_shards(b) || busy;
        if (b->storage != NULL)
            busy = storage_settle(b->storage) || busy;
    }
}

static void stop_loops(struct broker *b)
{
    for (uint32_t i = 0; b->runs && i < b->shard_count; i++) {
        loop_stop(b->shards[i]->loop);
        loop_join(b->shards[i]->loop);
    }
    if (b->runs) {
        loop_stop(b->loop);
        loop_join(b->loop);
    }
    b->runs = false;
    if (b->cluster != NULL)
        cluster_stop(b->cluster);
}

bool sim_node_free(struct broker **bp)
{
    struct broker *b = *bp;
    *bp = NULL;
    stop_loops(b);
    if (b->storage != NULL)
        storage_stop(b->storage);
    settle(b);
    cluster_free(&b->cluster);
    control_free(&b->control);
    storage_free(&b->storage);
    for (unsigned n = 0; n < SETTLES_MAX && settle_shards(b);)
        n++;
    for (uint32_t i = 0; i < b->shard_count; i++) {
        struct loop *loop = b->shards[i]->loop;
        shard_free(&b->shards[i]);
        loop_free(&loop);
    }
    placements_free(&b->placements);
    loop_free(&b->loop);
    meta_free(&b->meta);
    epoch_free(&b->epoch);
    bool ok = !b->has_failed;
    mem_free(b->live);
    mem_free(b);
    return ok;
}

bool sim_node_has_failed(const struct broker *b)
{
    return b->has_failed;
}

void sim_node_press(struct broker *b, bool on)
{
    b->is_pressed = on;
    store_set_pressed(broker_store(b), on);
    for (uint32_t i = 0; on && i < b->shard_count; i++)
        pager_press(b->shards[i]);
    epoch_reclaim(b->epoch);
}

uint64_t sim_node_vhost(const struct broker *b)
{
    return meta_vhost_find(broker_meta(b), slice_str("/"))->vhost_id;
}
