#include "broker_inner.h"

#include "alarms.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "bootstrap.h"
#include "client/auth.h"
#include "client/connection.h"
#include "client/preamble.h"
#include "cluster/cluster.h"
#include "cluster/meta_policy.h"
#include "control.h"
#include "doorway.h"
#include "effects.h"
#include "entrance.h"
#include "io/clock.h"
#include "io/cookie.h"
#include "io/disk.h"
#include "io/epoch.h"
#include "io/mailbox.h"
#include "io/nonces.h"
#include "io/random.h"
#include "io/tls.h"
#include "io/work.h"
#include "leaving.h"
#include "listen.h"
#include "live.h"
#include "mgmt/ctl.h"
#include "mgmt/mgmt_http.h"
#include "minority.h"
#include "mirrored.h"
#include "pager.h"
#include "placements.h"
#include "remote/remote.h"
#include "retired.h"
#include "service.h"
#include "shard.h"
#include "stats/tally.h"
#include "storage.h"
#include "storage_read.h"
#include "store/store.h"
#include "vitals.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define SETTLE_ROUNDS_MAX 100000
#define HASH_THREADS      2u
#define HASHES_MAX        4096u /* that wait for those; see client/auth.c for what bounds them before */

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

struct placements *broker_placements(const struct broker *b)
{
    return b->placements;
}

struct cluster *broker_cluster(const struct broker *b)
{
    return entrance_cluster(b->entrance);
}

struct gossip_node *broker_gossip(const struct broker *b)
{
    return entrance_gossip(b->entrance);
}

const struct meta_version *broker_meta(const struct broker *b)
{
    return meta_current(b->meta);
}

struct live *broker_live(const struct broker *b)
{
    return atomic_load_explicit(&b->live, memory_order_acquire);
}

uint16_t broker_node(const struct broker *b)
{
    return atomic_load_explicit(&b->node, memory_order_relaxed);
}

void broker_set_node(struct broker *b, uint16_t node)
{
    CHECK(node != 0);
    atomic_store_explicit(&b->node, node, memory_order_relaxed);
}

const char *broker_name(const struct broker *b)
{
    return b->name;
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

const char *broker_leaving_text(const struct broker *b)
{
    return b->leaving_text;
}

struct doorway *broker_doorway(const struct broker *b)
{
    return b->doorway;
}

struct nonces *broker_nonces(const struct broker *b)
{
    return b->nonces;
}

struct slice broker_cookie(const struct broker *b)
{
    return cookie_slice(&b->cookie);
}

struct tally *broker_tally(const struct broker *b, enum broker_tally_kind kind)
{
    return b->tallies[kind];
}

struct auth *broker_auth_new(const struct broker *b, struct loop *loop)
{
    return auth_new(&(struct auth_setup){ .loop = loop, .pool = b->hashing, .meta = b->meta });
}

bool broker_has_alarm(const struct broker *b)
{
    return (broker_alarms(b) | atomic_load_explicit(&b->alarms_elsewhere, memory_order_relaxed)) !=
           0;
}

unsigned broker_alarms(const struct broker *b)
{
    return atomic_load_explicit(&b->alarms, memory_order_relaxed);
}

const char *broker_alarm_text(const struct broker *b)
{
    return alarms_text(broker_alarms(b) |
                       atomic_load_explicit(&b->alarms_elsewhere, memory_order_relaxed));
}

bool broker_store_stats(const struct broker *b, struct store_stats *out)
{
    if (broker_store(b) == NULL) {
        *out = (struct store_stats){ 0 };
        return false;
    }
    store_stats(broker_store(b), out);
    return true;
}

uint64_t broker_epoch_waiting(const struct broker *b)
{
    return atomic_load_explicit(&b->epoch_waiting, memory_order_relaxed);
}

bool broker_app_is_running(const struct broker *b)
{
    return !atomic_load_explicit(&b->app_stopped, memory_order_relaxed);
}

void broker_set_app_running(struct broker *b, bool running)
{
    atomic_store_explicit(&b->app_stopped, !running, memory_order_relaxed);
}

bool broker_is_stopping(const struct broker *b)
{
    return b->stopping;
}

bool broker_is_reading(const struct broker *b)
{
    return b->reading_since_ms != 0;
}

bool broker_is_drained(const struct broker *b)
{
    return atomic_load_explicit(&b->drained, memory_order_relaxed);
}

void broker_set_drained(struct broker *b, bool drained)
{
    atomic_store_explicit(&b->drained, drained, memory_order_relaxed);
}

static uint64_t limit_or(const atomic_uint_least64_t *set, uint64_t configured)
{
    uint64_t limit = atomic_load_explicit(set, memory_order_relaxed);
    return limit != UINT64_MAX ? limit : configured;
}

uint64_t broker_memory_limit(const struct broker *b)
{
    return limit_or(&b->memory_limit, broker_live(b)->conf->limits.memory_bytes);
}

uint64_t broker_disk_limit(const struct broker *b)
{
    return limit_or(&b->disk_limit, broker_live(b)->conf->limits.disk_free_bytes);
}

void broker_set_disk_limit(struct broker *b, uint64_t octets)
{
    atomic_store_explicit(&b->disk_limit, octets, memory_order_relaxed);
    if (broker_store(b) != NULL)
        store_look_at_space(broker_store(b), NULL, NULL);
}

struct mgmt_http *broker_mgmt(const struct broker *b)
{
    return b->mgmt;
}

struct service *broker_service(const struct broker *b)
{
    return b->service;
}

/* Nothing that others wait for moves while the journal is read: where that takes long, queues go to
 * nodes that have them, too. */
static uint32_t loop_strain_ms(const struct broker *b)
{
    if (b->is_open)
        return vitals_loop_ms(b->vitals);
    return b->reading_since_ms != 0 ? (uint32_t)(clock_mono_ms() - b->reading_since_ms) : 0;
}

void broker_strain(const struct broker *b, struct cluster_strain *out)
{
    uint64_t disk_ms = b->is_open ? journal_strain_ms(store_journal(broker_store(b))) : 0;
    *out =
        (struct cluster_strain){ .disk_ms = disk_ms < UINT32_MAX ? (uint32_t)disk_ms : UINT32_MAX,
                                 .loop_ms = loop_strain_ms(b) };
}

uint64_t broker_hangs(const struct broker *b)
{
    return vitals_hangs(b->vitals);
}

bool broker_is_pressed(const struct broker *b)
{
    return atomic_load_explicit(&b->pressed, memory_order_relaxed);
}

bool broker_is_exhausted(const struct broker *b)
{
    return atomic_load_explicit(&b->exhausted, memory_order_relaxed);
}

/* ---- making ---- */

static bool make_shards(struct broker *b, struct err *err)
{
    uint32_t count = (uint32_t)broker_live(b)->conf->node.threads;
    b->shards = mem_array(count, sizeof(struct shard *));
    b->shard_count = count;
    for (uint32_t i = 0; i < count; i++) {
        char name[16];
        struct text t = text_over(name, sizeof name);
        text_put(&t, "shard-%u", i);
        struct loop *loop = loop_new(name, err);
        if (loop == NULL)
            return false;
        loop_join_epoch(loop, b->epoch);
        b->shards[i] = shard_new(b, i, count, loop);
    }
    return true;
}

static struct loop *loop_of(void *arg, uint32_t shard)
{
    return broker_shard(arg, shard)->loop;
}

static void make_vitals(struct broker *b)
{
    struct loop **loops = mem_array(b->shard_count + 1, sizeof(struct loop *));
    for (uint32_t i = 0; i < b->shard_count; i++)
        loops[i] = b->shards[i]->loop;
    loops[b->shard_count] = b->loop;
    b->vitals = vitals_new(b->name, loops, b->shard_count + 1);
    mem_free(loops);
}

static const struct meta_version *version_of(void *arg)
{
    return broker_meta(arg);
}

static void look_at(void *arg, uint32_t shard, const struct meta_queue *q)
{
    mirrored_reconcile(broker_shard(arg, shard), q);
}

static void are_placed(void *arg, uint32_t shard)
{
    remote_placed(broker_shard(arg, shard));
}

static bool make_placements(struct broker *b)
{
    b->placements = placements_new(&(struct placements_setup){ .loop = b->loop,
                                                               .shard_count = b->shard_count,
                                                               .loop_of = loop_of,
                                                               .version = version_of,
                                                               .look = look_at,
                                                               .placed = are_placed,
                                                               .arg = b });
    return true;
}

static void make_metadata(struct broker *b)
{
    b->epoch = epoch_new();
    b->retired = retired_new(b->loop, b->epoch);
    b->meta_setup =
        (struct meta_setup){ .hash_seed = random_u64(),
                             .shard_count = (uint32_t)broker_live(b)->conf->node.threads,
                             .retire = retired_thing,
                             .retire_garbage = retired_garbage,
                             .retire_state = retired_state,
                             .retire_arg = b->retired };
    b->meta = meta_new(&b->meta_setup);
    b->control = control_new(b->loop);
}

/* The node's folder is ours, and tells who it is. */
static bool open_storage(struct broker *b, struct err *err)
{
    b->storage = storage_open(b, b->epoch, NULL, err);
    if (b->storage != NULL)
        b->entrance = entrance_new(b, b->epoch, b->meta, &b->meta_setup, err);
    return b->entrance != NULL;
}

/* *tls stays NULL when nobody needs it. */
static bool load_tls(const struct broker_conf *conf, bool is_served, struct tls_ctx **tls,
                     struct err *err)
{
    if (!is_served && !listen_wants_tls(conf))
        return true;
    *tls = listen_tls(conf, err);
    return *tls != NULL;
}

struct broker *broker_new(struct broker_conf **conf, broker_reload_fn reload, void *arg,
                          struct err *err)
{
    struct broker *b = mem_zalloc(sizeof *b);
    struct tls_ctx *tls = NULL;
    bool has_certificates = load_tls(*conf, false, &tls, err);
    char *name = mem_strdup((*conf)->node.name);
    struct live *live = live_new(conf, &tls, name);
    atomic_init(&b->live, live);
    atomic_init(&b->memory_limit, UINT64_MAX);
    atomic_init(&b->disk_limit, UINT64_MAX);
    b->name = name;
    atomic_init(&b->node, 1);
    b->reload = reload;
    b->reload_arg = arg;
    b->nonces = nonces_new(PREAMBLE_NAMES_MAX, PREAMBLE_NAMES_KEPT_MS, random_u64());
    if (!has_certificates)
        goto fail;
    b->loop = loop_new("control", err);
    if (b->loop == NULL)
        goto fail;
    loop_timer_init(&b->tick, b->loop, broker_on_tick, b);
    b->service = service_new(b, b->loop);
    snprintf(b->leaving_text, sizeof b->leaving_text, "%s",
             "broker forced connection closure with reason 'shutdown'");
    b->hashing = work_pool_new("password", HASH_THREADS, HASHES_MAX);
    work_pool_give_way(b->hashing);
    for (unsigned i = 0; i < BROKER_TALLIES; i++)
        b->tallies[i] = tally_new();
    make_metadata(b);
    if (!cookie_read_or_make(live->conf->cluster.cookie_file, &b->cookie, err))
        goto fail;
    b->doorway = doorway_new(b, err);
    if (b->doorway == NULL || !make_shards(b, err) || !make_placements(b) || !open_storage(b, err))
        goto fail;
    make_vitals(b);
    return b;

fail:
    broker_free(&b);
    return NULL;
}

/* What still travels between loops that do not run any more is delivered, so that nothing leaks. A
 * question about a million queues takes some thousand rounds. */
static void settle_loops(struct broker *b)
{
    bool busy = true;
    for (int round = 0; busy && round < SETTLE_ROUNDS_MAX; round++) {
        busy = loop_settle(b->loop);
        for (uint32_t i = 0; i < b->shard_count && b->shards[i] != NULL; i++)
            busy = loop_settle(b->shards[i]->loop) || busy;
        if (b->storage != NULL)
            busy = storage_settle(b->storage) || busy;
        if (b->mgmt != NULL)
            busy = loop_settle(mgmt_http_loop(b->mgmt)) || busy;
    }
}

/* What the store gives back when it ends, to shards that still are. */
static void settle_shards(struct broker *b)
{
    bool busy = true;
    for (int round = 0; busy && round < SETTLE_ROUNDS_MAX; round++) {
        busy = false;
        for (uint32_t i = 0; i < b->shard_count && b->shards[i] != NULL; i++)
            busy = loop_settle(b->shards[i]->loop) || busy;
    }
}

static void free_loops(struct broker *b)
{
    work_pool_free(&b->hashing);
    entrance_stop(b->entrance);
    if (b->storage != NULL)
        storage_stop(b->storage);
    settle_loops(b);
    vitals_free(&b->vitals);
    leaving_free(&b->leaving);
    service_free(&b->service);
    ctl_free(&b->ctl);
    mgmt_http_free(&b->mgmt);
    entrance_free(&b->entrance); /* it has the store's disk */
    placements_free(&b->placements);
    control_free(&b->control);
    doorway_free(&b->doorway);
    storage_free(&b->storage); /* it has the shards' loops */
    settle_shards(b);
    for (uint32_t i = 0; i < b->shard_count && b->shards[i] != NULL; i++) {
        struct loop *loop = b->shards[i]->loop;
        shard_free(&b->shards[i]);
        loop_free(&loop);
    }
    mem_free(b->shards);
    b->shard_count = 0;
    minority_free(&b->minority);
    loop_timer_fini(&b->tick);
    retired_stop(b->retired);
    loop_free(&b->loop);
    meta_free(&b->meta);
    epoch_free(&b->epoch);
    retired_free(&b->retired);
}

void broker_free(struct broker **broker)
{
    struct broker *b = *broker;
    *broker = NULL;
    CHECK(b->started == 0);
    if (b->loop != NULL)
        free_loops(b);
    work_pool_free(&b->hashing);
    for (unsigned i = 0; i < BROKER_TALLIES; i++)
        tally_free(&b->tallies[i]);
    struct live *live = broker_live(b);
    live_unref(&live);
    nonces_free(&b->nonces);
    cookie_wipe(&b->cookie);
    mem_free(b->name);
    mem_free(b);
}

/* ---- stopping ---- */

struct idle_notice {
    struct mail mail;
    struct broker *broker;
};

static void on_shard_idle(struct mail *mail)
{
    struct idle_notice *n = CONTAINER_OF(mail, struct idle_notice, mail);
    service_shard_is_idle(n->broker->service);
    mem_free(n);
}

void broker_shard_is_idle(struct shard *s)
{
    struct idle_notice *n = mem_zalloc(sizeof *n);
    *n = (struct idle_notice){ { NULL, on_shard_idle }, s->broker };
    mailbox_post(s->broker->loop, &n->mail);
}

static void on_stop_signal(void *arg)
{
    broker_stop(arg);
}

static void show_live(struct broker *b, struct live *live)
{
    struct live *was = broker_live(b);
    atomic_store_explicit(&b->live, live, memory_order_release);
    epoch_retire(b->epoch, was, live_drop);
}

static void cut_between_characters(struct text *t)
{
    while (t->len != 0 && ((uint8_t)t->ptr[t->len - 1] & 0xC0) == 0x80)
        t->ptr[--t->len] = '\0';
    if (t->len != 0 && (uint8_t)t->ptr[t->len - 1] >= 0xC0)
        t->ptr[--t->len] = '\0';
}

void broker_name_cluster(struct broker *b)
{
    char room[LIVE_CLUSTER_BYTES];
    struct text name = text_over(room, sizeof room);
    struct live *was = broker_live(b);
    meta_cluster_name(broker_meta(b), &name);
    if (name.cut)
        cut_between_characters(&name);
    if (name.len == 0 || strcmp(room, was->cluster_name) == 0)
        return;
    struct broker_conf *conf = broker_conf_ref(was->conf);
    struct tls_ctx *tls = was->tls != NULL ? tls_ctx_ref(was->tls) : NULL;
    show_live(b, live_new(&conf, &tls, room));
}

static bool reload(struct broker *b, struct err *err)
{
    struct broker_conf *conf = b->reload(b->reload_arg, err);
    if (conf == NULL)
        return false;
    struct live *was = broker_live(b);
    struct tls_ctx *tls = NULL;
    if (!load_tls(conf, was->tls != NULL, &tls, err) ||
        !doorway_set_certificate(b->doorway, conf, err)) {
        tls_ctx_unref(&tls);
        broker_conf_unref(&conf);
        return false;
    }
    if (tls != NULL) {
        service_set_tls(b->service, tls);
        mgmt_http_set_tls(b->mgmt, tls);
    }
    live_warn(was, conf, b->name);
    log_set_level(conf->log.level);
    show_live(b, live_new(&conf, &tls, was->cluster_name));
    return true;
}

static void on_reload_signal(void *arg)
{
    struct broker *b = arg;
    struct err err = { 0 };
    if (!log_reopen(&err))
        log_error("broker", b->name, "%s", err.text);
    if (reload(b, &err))
        log_info("broker", b->name, "configuration reloaded");
    else
        log_error("broker", b->name, "the old configuration stays: %s", err.text);
}

/* ---- running ---- */

static void stop_loops(struct broker *b)
{
    vitals_stop(b->vitals);
    for (uint32_t i = 0; i < b->started; i++)
        loop_stop(b->shards[i]->loop);
    for (uint32_t i = 0; i < b->started; i++)
        loop_join(b->shards[i]->loop);
    b->started = 0;
    if (b->mgmt != NULL)
        mgmt_http_stop(b->mgmt);
}

static bool listen_to_signals(struct broker *b, struct err *err)
{
    return loop_on_signal(b->loop, SIGTERM, on_stop_signal, b, err) &&
           loop_on_signal(b->loop, SIGINT, on_stop_signal, b, err) &&
           loop_on_signal(b->loop, SIGHUP, on_reload_signal, b, err);
}

static bool open_management(struct broker *b, struct err *err)
{
    b->mgmt = mgmt_http_new(b, b->epoch, err);
    if (b->mgmt == NULL)
        return false;
    if (!doorway_open(b->doorway, err))
        return false;
    b->ctl = ctl_new(b, b->mgmt, err);
    return b->ctl != NULL;
}

static bool start_shards(struct broker *b, struct err *err)
{
    for (; b->started < b->shard_count; b->started++)
        if (!loop_start(b->shards[b->started]->loop, err))
            return false;
    return true;
}

static bool read_journal(struct broker *b, struct err *err)
{
    b->reading_since_ms = clock_mono_ms();
    bool ok = storage_read_aside(b, b->storage, b->epoch, err);
    b->reading_since_ms = 0;
    service_has_read(b->service);
    return ok;
}

/* What is on disk of the queues that there are. They wait as mail until the shards' loops run.
 * What is not there any more is known to the others before any of them is served. */
static bool open_queues(struct broker *b, struct err *err)
{
    b->has_entered = true;
    effects_of_start(b, meta_current(b->meta));
    control_shown(b->control, meta_current(b->meta)->last_id, meta_current(b->meta)->index);
    cluster_carry_out_from_now(broker_cluster(b));
    return read_journal(b, err) && storage_recover(b->storage, err) &&
           entrance_tell_loss(b->entrance, store_recovered(broker_store(b)), err);
}

static bool open_for_clients(struct broker *b, struct err *err)
{
    if (!service_open(b->service, err) || !storage_start(b->storage, err))
        return false;
    if (!start_shards(b, err))
        return false;
    b->is_open = true;
    entrance_passed(b->entrance);
    if (mgmt_http_is_running(b->mgmt) && broker_app_is_running(b))
        mgmt_http_reopen(b->mgmt);
    return mgmt_http_is_running(b->mgmt) || mgmt_http_start(b->mgmt, err);
}

bool broker_start(struct broker *b, broker_waits_fn waits, void *arg, struct err *err)
{
    if (!listen_to_signals(b, err) || !open_management(b, err) ||
        !entrance_pass(b->entrance, waits, arg, err) || (!b->stopping && !open_queues(b, err)) ||
        (!b->stopping && !open_for_clients(b, err)) ||
        (!b->stopping && !vitals_start(b->vitals, err))) {
        service_give_up(b->service);
        stop_loops(b);
        return false;
    }
    if (b->stopping) {
        broker_await_left(b);
        return true;
    }
    loop_timer_start(&b->tick, BROKER_TICK_MS);
    b->minority = minority_new(b);
    storage_hand_out(b->storage);
    log_info("broker", b->name, "started version=%s threads=%u memory_limit=%" PRIu64,
             WARREN_VERSION, b->shard_count, broker_live(b)->conf->limits.memory_bytes);
    return true;
}

bool broker_run(struct broker *b)
{
    if (b->is_open)
        loop_run(b->loop);
    stop_loops(b);
    storage_stop(b->storage);
    log_info("broker", b->name, "stopped");
    return !broker_has_failed(b);
}
