#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "io/clock.h"
#include "io/epoch.h"
#include "store/store_inner.h"

#include <inttypes.h>
#include <string.h>

#define POOL_THREADS  3u /* spares, an index or an evacuation, large files */
#define POOL_WAITING  64u
#define LOAD_THREADS  4u
#define SPARES        8u
#define RESERVE       2u
#define TICK_BUSY_MS  10u /* something is waited for that nobody calls about */
#define TICK_MS       100u
#define TICK_CALM_MS  1000u
#define CALM_AFTER_MS 10000u
#define DAMAGES_TOLD  100u
#define TOLD_AFTER_MS 1000u /* of a recovery that takes long */

/* ---- what others call the manager by ----------------------------------------------------------
 */

static void look(struct store *st)
{
    upkeep_look(st);
    rounds_look(st);
    large_files_go_on(st->large);
    store_watch_look(st);
    store_judge_alarms(st);
}

static uint64_t next_tick_ms(struct store *st)
{
    uint64_t now = loop_now_ms(st->loop);
    if (rounds_wait(st) || large_files_wait(st->large))
        return TICK_BUSY_MS;
    uint64_t ms = now < st->sealed_ms + CALM_AFTER_MS || st->sealed_count != 0 ||
                          journal_is_short(st->journal)
                      ? TICK_MS
                      : TICK_CALM_MS;
    uint64_t until_look = st->look_ms > now ? st->look_ms - now : 1;
    return until_look < ms ? until_look : ms;
}

static void on_tick(void *arg)
{
    struct store *st = arg;
    look(st);
    store_wake(st);
}

bool store_submit(struct store *st, struct work_job *job)
{
    struct err err = { 0 };
    return st->pool != NULL && work_submit(st->pool, st->loop, job, &err);
}

/* The timer is for what comes in between the two lines. */
void store_wake(struct store *st)
{
    if (rounds_wait(st) || large_files_wait(st->large))
        atomic_store(&st->waits, true);
    loop_timer_start(&st->tick, next_tick_ms(st));
}

struct notice {
    struct mail mail;
    struct store *store;
    uint32_t seg;
    struct err err;
};

static void on_sealed_mail(struct mail *mail)
{
    struct notice *n = CONTAINER_OF(mail, struct notice, mail);
    struct store *st = n->store;
    upkeep_sealed(st, n->seg);
    mem_free(n);
    upkeep_look(st);
    rounds_look(st);
    store_judge_alarms(st); /* the tick moves away while segments are filled quickly */
    store_wake(st);
}

static void on_sealed(uint32_t seg, void *arg)
{
    struct store *st = arg;
    struct notice *n = mem_zalloc(sizeof *n);
    n->mail.fn = on_sealed_mail;
    n->store = st;
    n->seg = seg;
    mailbox_post(st->loop, &n->mail);
}

void store_fail(struct store *st, const struct err *err)
{
    if (st->failed_told)
        return;
    st->failed_told = true;
    log_error("store", st->node, "the disk failed, nothing is confirmed any more: %s", err->text);
    store_judge_alarms(st);
    if (st->set.on_failed != NULL)
        st->set.on_failed(err, st->set.arg);
}

static void on_failed_mail(struct mail *mail)
{
    struct notice *n = CONTAINER_OF(mail, struct notice, mail);
    store_fail(n->store, &n->err);
    mem_free(n);
}

static void on_failed(const struct err *err, void *arg)
{
    struct store *st = arg;
    struct notice *n = mem_zalloc(sizeof *n);
    n->mail.fn = on_failed_mail;
    n->store = st;
    n->err = *err;
    mailbox_post(st->loop, &n->mail);
}

static void on_large_failed(const struct err *err, void *arg)
{
    store_fail(arg, err);
}

static void on_durable_mail(struct mail *mail)
{
    struct notice *n = CONTAINER_OF(mail, struct notice, mail);
    struct store *st = n->store;
    mem_free(n);
    rounds_look(st);
    large_files_go_on(st->large);
    store_wake(st);
}

static void on_durable(void *arg)
{
    struct store *st = arg;
    if (atomic_load_explicit(&st->waits, memory_order_relaxed) &&
        atomic_exchange(&st->waits, false)) {
        struct notice *n = mem_zalloc(sizeof *n);
        n->mail.fn = on_durable_mail;
        n->store = st;
        mailbox_post(st->loop, &n->mail);
    }
    if (st->set.on_durable != NULL)
        st->set.on_durable(st->set.arg);
}

/* ---- opening ----------------------------------------------------------------------------------
 */

static void copy_setup(struct store *st, const struct store_setup *setup)
{
    st->set = *setup;
    st->folder = mem_strdup(setup->folder != NULL ? setup->folder : "");
    st->node = mem_strdup(setup->node != NULL ? setup->node : "-");
    st->shard_loops = mem_dup(setup->shard_loops, setup->shard_count * sizeof(struct loop *));
    st->disk = setup->disk;
}

/* A disk that was given is nobody else's. */
static bool take_folder(struct store *st, struct err *err)
{
    if (st->disk == NULL) {
        st->lock = data_lock_take(st->folder, err);
        if (st->lock == NULL)
            return false;
        st->disk = disk_new(st->folder, err);
    }
    return st->disk != NULL && data_dir_start(st->disk, st->folder, st->node, &st->dir, err);
}

struct store *store_open(const struct store_setup *setup, struct err *err)
{
    CHECK(setup->shard_count >= 1 && setup->on_ask != NULL && setup->shard_of != NULL);
    struct store *st = mem_zalloc(sizeof *st);
    copy_setup(st, setup);
    upkeep_init(st);
    rounds_init(st);
    st->loop = loop_new("store", err);
    if (st->loop == NULL)
        goto fail;
    loop_timer_init(&st->tick, st->loop, on_tick, st);
    if (st->set.epoch != NULL)
        loop_join_epoch(st->loop, st->set.epoch);
    if (!take_folder(st, err))
        goto fail;
    st->segs = segs_new();
    atomic_init(&st->large_ids,
                MUTATION(LARGE_IDS_AGAIN) ? 0 : (uint64_t)st->dir.incarnation << 32);
    return st;

fail:
    store_free(&st);
    return NULL;
}

struct disk *store_disk(struct store *st)
{
    return st->disk;
}

const uint8_t *store_id(const struct store *st)
{
    return st->dir.store_id;
}

uint32_t store_incarnation(const struct store *st)
{
    return st->dir.incarnation;
}

/* ---- recovery ---------------------------------------------------------------------------------
 */

struct recovering {
    struct store *store;
    bool (*knows_queue)(uint64_t qid, void *arg);
    void *arg;
    struct log_rate told;
    uint64_t began_ms;
    atomic_uint_fast64_t bytes;
};

static void on_progress(uint64_t done, uint64_t all, void *arg)
{
    struct recovering *r = arg;
    unsigned left_out;
    atomic_store(&r->bytes, all);
    if (done < all && clock_mono_ms() > r->began_ms + TOLD_AFTER_MS &&
        log_rate_ok(&r->told, 1, TOLD_AFTER_MS, &left_out))
        log_info("store", r->store->node, "reading the journal done=%" PRIu64 " of=%" PRIu64, done,
                 all);
}

static bool knows_queue(uint64_t qid, void *arg)
{
    struct recovering *r = arg;
    return r->knows_queue == NULL || r->knows_queue(qid, r->arg);
}

static void tell_damages(const struct store *st, const struct recovered *r)
{
    for (size_t i = 0; i < r->damage_count && i < DAMAGES_TOLD; i++) {
        const struct recovered_damage *d = &r->damages[i];
        log_error("store", st->node,
                  "what was safe is lost: damaged seg=%08x octets=%u..%u qid=%" PRIu64
                  " positions=%" PRIu64 "..%" PRIu64,
                  d->seg, d->from, d->to, d->qid, d->first_qseq, d->last_qseq);
    }
    if (r->damage_count > DAMAGES_TOLD)
        log_error("store", st->node, "and more places are damaged count=%zu",
                  r->damage_count - DAMAGES_TOLD);
}

static void tell_recovery(const struct store *st)
{
    const struct recovered *r = &st->recovered;
    tell_damages(st, r);
    if (r->torn_bytes != 0)
        log_info("store", st->node, "an end that was never safe was cut off octets=%" PRIu64,
                 r->torn_bytes);
    if (st->recovery.at_ms != 0)
        log_info("store", st->node,
                 "recovered messages=%" PRIu64 " queues=%zu records=%" PRIu64 " took_ms=%" PRIu64
                 " clean=%d",
                 r->message_count, r->queue_count, r->record_count, st->recovery.took_ms,
                 r->is_clean);
}

static bool recover(struct store *st, struct recovering *how, struct err *err)
{
    struct recover_setup setup = { .disk = st->disk,
                                   .segs = st->segs,
                                   .threads = st->set.threads,
                                   .progress = on_progress,
                                   .arg = how,
                                   .store_id = st->dir.store_id,
                                   .knows_queue = knows_queue };
    if (!recover_run(&setup, &st->recovered, err))
        return false;
    const struct recovered *r = &st->recovered;
    st->recovery = (struct store_recovery){ .at_ms = st->dir.is_new ? 0 : clock_wall_ms(),
                                            .took_ms = clock_mono_ms() - how->began_ms,
                                            .read_bytes = atomic_load(&how->bytes),
                                            .records = r->record_count,
                                            .messages = r->message_count,
                                            .damages = r->damage_count,
                                            .torn_bytes = r->torn_bytes,
                                            .is_clean = r->is_clean };
    tell_recovery(st);
    return true;
}

static struct journal *make_journal(struct store *st, struct err *err)
{
    struct journal_setup setup = { .disk = st->disk,
                                   .segs = st->segs,
                                   .segment_bytes = st->set.segment_bytes,
                                   .first_seg = st->recovered.next_seg,
                                   .spare = SPARES,
                                   .reserve = RESERVE,
                                   .sync = st->set.sync,
                                   .interval_ms = st->set.interval_ms,
                                   .slow_ms = st->set.slow_ms,
                                   .on_durable = on_durable,
                                   .on_sealed = on_sealed,
                                   .on_failed = on_failed,
                                   .arg = st };
    memcpy(setup.store_id, st->dir.store_id, sizeof setup.store_id);
    return journal_new(&setup, err);
}

static void make_parts(struct store *st)
{
    st->pool = work_pool_new("store-work", POOL_THREADS, POOL_WAITING);
    st->loader = loader_new(&(struct loader_setup){ .disk = st->disk,
                                                    .segs = st->segs,
                                                    .journal = st->journal,
                                                    .loop = st->loop,
                                                    .threads = LOAD_THREADS,
                                                    .node = st->node });
    st->large = large_files_new(&(struct large_files_setup){ .disk = st->disk,
                                                             .loop = st->loop,
                                                             .pool = st->pool,
                                                             .journal = st->journal,
                                                             .sync = st->set.sync,
                                                             .node = st->node,
                                                             .on_failed = on_large_failed,
                                                             .arg = st });
}

/* Those that recovery could not give an index file are tried again. */
static void list_sealed(struct store *st)
{
    for (uint32_t n = 0; (n = segs_next(st->segs, n)) != 0;) {
        if (segs_state(st->segs, n) == SEG_SEALED)
            upkeep_sealed(st, n);
    }
}

bool store_recover(struct store *st, bool (*knows)(uint64_t qid, void *arg), void *arg,
                   struct err *err)
{
    struct recovering how = {
        .store = st, .knows_queue = knows, .arg = arg, .began_ms = clock_mono_ms()
    };
    if (!recover(st, &how, err))
        return false;
    list_sealed(st);
    st->journal = make_journal(st, err);
    if (st->journal == NULL)
        return false;
    make_parts(st);
    store_watch_init(st);
    return large_files_restore(st->large, &st->recovered, err);
}

const struct recovered *store_recovered(const struct store *st)
{
    return &st->recovered;
}

void store_forget_recovered(struct store *st)
{
    recovered_fini(&st->recovered);
    st->recovered = (struct recovered){ 0 };
    atomic_store(&st->handed_out, true);
}

/* ---- start and end ----------------------------------------------------------------------------
 */

bool store_start(struct store *st, struct err *err)
{
    if (!journal_start(st->journal, err))
        return false;
    loop_timer_start(&st->tick, 1);
    st->runs = loop_start(st->loop, err);
    if (!st->runs)
        journal_stop(st->journal);
    return st->runs;
}

/* The manager makes segments for what the journal still has to write, so it ends after it. */
void store_stop(struct store *st)
{
    if (!st->runs)
        return;
    atomic_store(&st->stopping, true);
    journal_stop(st->journal);
    loop_stop(st->loop);
    loop_join(st->loop);
    st->runs = false;
    loader_stop(st->loader);
    work_pool_free(&st->pool);
    large_files_stop(st->large);
    store_watch_fini(st);
    (void)store_settle(st);
}

bool store_is_stopping(const struct store *st)
{
    return atomic_load_explicit(&st->stopping, memory_order_relaxed);
}

bool store_settle(struct store *st)
{
    return loop_settle(st->loop);
}

static void free_parts(struct store *st)
{
    if (st->loader != NULL)
        loader_stop(st->loader);
    work_pool_free(&st->pool);
    if (st->large != NULL)
        large_files_stop(st->large);
    while (loop_settle(st->loop))
        ;
    loader_free(&st->loader);
    large_files_free(&st->large);
    loop_timer_fini(&st->tick);
    loop_free(&st->loop);
}

void store_free(struct store **store)
{
    struct store *st = *store;
    *store = NULL;
    if (st == NULL)
        return;
    CHECK(!st->runs);
    atomic_store(&st->stopping, true);
    if (st->loop != NULL)
        free_parts(st);
    rounds_fini(st);
    upkeep_fini(st);
    journal_free(&st->journal);
    recovered_fini(&st->recovered);
    segs_free(&st->segs);
    disk_free(&st->disk);
    data_lock_free(&st->lock);
    mem_free(st->shard_loops);
    mem_free(st->folder);
    mem_free(st->node);
    mem_free(st);
}

/* ---- any thread -------------------------------------------------------------------------------
 */

struct journal *store_journal(const struct store *st)
{
    return st->journal;
}

struct segs *store_segs(const struct store *st)
{
    return st->segs;
}

static void on_load_mail(struct mail *mail)
{
    struct load *load = CONTAINER_OF(mail, struct load, way);
    loader_take(load->store->loader, load);
}

void store_load(struct store *st, struct load *load)
{
    load_hold(load, st->segs);
    load->store = st;
    load->way.fn = on_load_mail;
    mailbox_post(st->loop, &load->way);
}

uint64_t store_new_large_id(struct store *st)
{
    return atomic_fetch_add_explicit(&st->large_ids, 1, memory_order_relaxed) + 1;
}

static void on_write_mail(struct mail *mail)
{
    struct large_write *w = CONTAINER_OF(mail, struct large_write, way);
    large_files_write(w->store->large, w);
}

void store_write_large(struct store *st, struct large_write *w)
{
    w->store = st;
    w->way.fn = on_write_mail;
    mailbox_post(st->loop, &w->way);
}

struct drop_notice {
    struct mail mail;
    struct store *store;
    uint64_t id;
    uint32_t targets;
    uint64_t lsn;
};

static void on_drop_mail(struct mail *mail)
{
    struct drop_notice *n = CONTAINER_OF(mail, struct drop_notice, mail);
    large_files_drop(n->store->large, n->id, n->targets, n->lsn);
    mem_free(n);
}

void store_drop_large(struct store *st, uint64_t id, uint32_t targets, uint64_t lsn)
{
    struct drop_notice *n = mem_zalloc(sizeof *n);
    *n = (struct drop_notice){ { NULL, on_drop_mail }, st, id, targets, lsn };
    mailbox_post(st->loop, &n->mail);
}

void store_set_pressed(struct store *st, bool pressed)
{
    atomic_store_explicit(&st->pressed, pressed, memory_order_relaxed);
}

unsigned store_alarms(const struct store *st)
{
    return atomic_load_explicit(&st->alarms, memory_order_relaxed);
}

static uint64_t dead_bytes(const struct store *st)
{
    uint64_t dead = 0;
    for (uint32_t n = 0; (n = segs_next(st->segs, n)) != 0;) {
        struct seg *s = segs_get(st->segs, n);
        struct evacuate_seg e = { .bytes = atomic_load(&s->bytes),
                                  .put_bytes = atomic_load(&s->put_bytes),
                                  .alive_bytes = atomic_load(&s->alive_bytes) };
        if (atomic_load(&s->state) != SEG_OPEN)
            dead += e.bytes - evacuate_alive_bytes(&e);
    }
    return dead;
}

void store_stats(struct store *st, struct store_stats *out)
{
    *out = (struct store_stats){ 0 };
    journal_stats(st->journal, &out->journal);
    out->segs = segs_sum(st->segs);
    out->dead_bytes = dead_bytes(st);
    out->disk_free_bytes = atomic_load(&st->free_bytes);
    out->disk_total_bytes = atomic_load(&st->total_bytes);
    out->disk_limit_bytes = st->set.disk_limit != NULL ? st->set.disk_limit(st->set.arg) : 0;
    out->alarms = store_alarms(st);
    out->durable_lsn = journal_durable(st->journal);
    out->backlog_bytes = journal_backlog(st->journal);
    out->evacuated_segs = atomic_load(&st->evacuated_segs);
    out->evacuated_bytes = atomic_load(&st->evacuated_bytes);
    out->recycled_segs = atomic_load(&st->recycled_segs);
    out->indexed_segs = atomic_load(&st->indexed_segs);
    const struct loader_stats *l = loader_stats(st->loader);
    out->loads = atomic_load(&l->loads);
    out->loaded_messages = atomic_load(&l->messages);
    out->loaded_bytes = atomic_load(&l->bytes);
    out->lost_messages = atomic_load(&l->lost);
    out->large_files = atomic_load(&large_files_stats(st->large)->files);
    out->large_bytes = atomic_load(&large_files_stats(st->large)->bytes);
    out->recovery = st->recovery;
}
