#include "raft/raft_keeper.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/clock.h"
#include "io/random.h"
#include "io/work.h"

#include <inttypes.h>

#define REST_MS     1000u  /* without a write: then the last group is closed */
#define WARN_MS     10000u /* at most one warning of a slow disk in so long */
#define PIECES_MAX  4u     /* of a snapshot, that wait; the sender sends others again */
#define READERS_MAX 2u     /* threads beside the log's */
#define WAITING_MAX 256u   /* reads of pieces: one a member at most */

/* What the log's thread does at a time. */
enum turn {
    TURN_COMMIT,
    TURN_CLOSE,
    TURN_PIECE,
};

struct save {
    struct work_job job;
    struct raft_image image;
    raft_image_fill_fn fill;
    raft_saved_fn done;
    void *arg;
    uint64_t from_ms;
    bool is_wanted; /* it waits for the log's thread to be back */
    bool is_on;
    bool has_run;
    bool ok;
    struct err err;
};

struct load {
    struct work_job job;
    struct raft_snapshot is;
    raft_load_fn load;
    raft_loaded_fn done;
    void *arg;
    bool is_on;
    bool ok;
    struct err err;
};

struct raft_keeper {
    struct raft_keeper_setup setup;
    struct raft_disk *disk;
    struct work_pool *writers; /* NULL: stopped */
    struct work_pool *readers;
    struct loop_timer rest;
    struct loop_task turn_end; /* what one turn of the loop brings shares a group */
    bool is_behind;            /* it was at the end of this turn once, see on_turn_end */
    struct log_rate slow;
    bool has_failed;

    struct work_job job; /* the log's thread's */
    enum turn turn;
    bool is_on_its_way;
    bool has_run;
    bool ok;
    struct err err;
    uint64_t sent_ms;
    struct raft_msg *piece; /* of TURN_PIECE */
    struct raft_taken taken;
    struct raft_msg *pieces[PIECES_MAX];
    size_t piece_count;

    struct save save;
    struct load load;
    size_t reads_on;
    struct raft_disk_stats stats;
};

/* A piece for another node. */
struct read {
    struct work_job job;
    struct raft_keeper *k;
    struct disk *disk;
    struct raft_chunk chunk;
    struct err err;
};

static void go_on(struct raft_keeper *k);
static void on_log_back(struct work_job *job);
static void on_saved(struct work_job *job);
static void on_loaded(struct work_job *job);

static void fail(struct raft_keeper *k, const struct err *err)
{
    if (k->has_failed)
        return;
    k->has_failed = true;
    if (k->writers != NULL)
        k->setup.on_failed(err, k->setup.arg);
}

/* The last that is done with it: whoever is told may free it. */
static void tell_if_settled(const struct raft_keeper *k)
{
    if (k->writers == NULL && k->setup.on_settled != NULL && raft_keeper_is_settled(k))
        k->setup.on_settled(k->setup.arg);
}

/* ---- the log's thread ---- */

static void msg_free(struct raft_msg **m)
{
    if (*m != NULL)
        raft_msg_fini(*m);
    mem_free(*m);
    *m = NULL;
}

static void run_log(struct work_job *job)
{
    struct raft_keeper *k = CONTAINER_OF(job, struct raft_keeper, job);
    switch (k->turn) {
    case TURN_COMMIT:
        k->ok = raft_disk_commit(k->disk, &k->err);
        break;
    case TURN_CLOSE:
        k->ok = raft_disk_close_group(k->disk, &k->err);
        break;
    case TURN_PIECE:
        k->ok = raft_disk_take_chunk(k->disk, &k->piece->install, &k->taken, &k->err);
        break;
    }
    k->has_run = true;
}

static void send_off(struct raft_keeper *k, enum turn turn)
{
    struct err err = { 0 };
    CHECK(!k->is_on_its_way && !k->has_failed);
    loop_timer_stop(&k->rest);
    k->turn = turn;
    k->has_run = false;
    k->sent_ms = clock_mono_ms();
    if (turn == TURN_COMMIT)
        raft_disk_begin(k->disk);
    k->is_on_its_way = work_submit(k->writers, k->setup.loop, &k->job, &err);
    if (!k->is_on_its_way)
        fail(k, &err);
}

static void send_piece(struct raft_keeper *k)
{
    k->piece = k->pieces[0];
    k->piece_count--;
    memmove(k->pieces, k->pieces + 1, k->piece_count * sizeof(struct raft_msg *));
    send_off(k, TURN_PIECE);
}

static void warn_if_slow(struct raft_keeper *k)
{
    unsigned left_out;
    uint64_t ms = clock_mono_ms() - k->sent_ms;
    if (ms > k->setup.slow_ms && log_rate_ok(&k->slow, 1, WARN_MS, &left_out))
        log_warn("raft", k->setup.name,
                 "the disk is slow, changes of definitions wait for it ms=%" PRIu64 " left_out=%u",
                 ms, left_out);
}

/* No room for it: the sender will try again. */
static void take_back_piece(struct raft_keeper *k)
{
    unsigned left_out;
    if (!k->ok && k->err.code != ERR_LIMIT) {
        fail(k, &k->err);
        return;
    }
    if (!k->ok && log_rate_ok(&k->slow, 1, WARN_MS, &left_out))
        log_warn("raft", k->setup.name, "no room for a snapshot, tried again later: %s",
                 k->err.text);
    k->setup.on_chunk_taken(&k->taken, k->setup.arg);
}

static void take_back(struct raft_keeper *k)
{
    warn_if_slow(k);
    if (k->turn == TURN_PIECE) {
        take_back_piece(k);
        return;
    }
    if (!k->ok) {
        fail(k, &k->err);
        return;
    }
    uint64_t number = raft_disk_done(k->disk);
    k->stats = raft_disk_stats(k->disk);
    if (k->turn == TURN_COMMIT && !k->has_failed)
        k->setup.on_written(number, k->setup.arg);
}

static void on_log_back(struct work_job *job)
{
    struct raft_keeper *k = CONTAINER_OF(job, struct raft_keeper, job);
    struct raft_msg *piece = k->piece;
    k->piece = NULL;
    k->is_on_its_way = false;
    if (k->has_run && k->writers != NULL)
        take_back(k);
    msg_free(&piece);
    loop_at_turn_end(k->setup.loop, &k->turn_end);
    tell_if_settled(k);
}

static bool rest_is_wanted(const struct raft_keeper *k)
{
    return raft_disk_is_short(k->disk) || raft_disk_wants_closing(k->disk);
}

/* Nothing came for a while. While the disk is full it is tried again and again to fill ahead. */
static void on_rest(void *arg)
{
    struct raft_keeper *k = arg;
    if (!k->is_on_its_way && !k->has_failed)
        send_off(k, raft_disk_is_short(k->disk) ? TURN_COMMIT : TURN_CLOSE);
}

static void begin_save(struct raft_keeper *k);

/* A piece and a group take turns. */
static void go_on(struct raft_keeper *k)
{
    if (k->is_on_its_way || k->writers == NULL || k->has_failed)
        return;
    if (k->save.is_wanted)
        begin_save(k);
    bool has_writes = raft_disk_has_gathered(k->disk);
    if (k->piece_count != 0 && (!has_writes || k->turn != TURN_PIECE))
        send_piece(k);
    else if (has_writes)
        send_off(k, TURN_COMMIT);
    else if (rest_is_wanted(k))
        loop_timer_start(&k->rest, REST_MS);
}

/* Behind what the links had been given before, and which their streams send at the end of this turn
 * in tasks that come into being there: the thread that writes takes the processor from this one,
 * and the other nodes would begin to write only when this one has nearly done. */
static void on_turn_end(void *arg)
{
    struct raft_keeper *k = arg;
    k->is_behind = !k->is_behind;
    if (k->is_behind)
        loop_at_turn_end(k->setup.loop, &k->turn_end);
    else
        go_on(k);
}

void raft_keeper_write(struct raft_keeper *k, struct raft_write **w)
{
    if (k->writers == NULL || k->has_failed) {
        raft_write_free(w);
        return;
    }
    raft_disk_add(k->disk, w);
    loop_at_turn_end(k->setup.loop, &k->turn_end);
}

void raft_keeper_take(struct raft_keeper *k, struct raft_msg **m)
{
    if (k->piece_count == PIECES_MAX || k->writers == NULL || k->has_failed) {
        msg_free(m);
        return;
    }
    k->pieces[k->piece_count++] = *m;
    *m = NULL;
    loop_at_turn_end(k->setup.loop, &k->turn_end);
}

bool raft_keeper_has_room(const struct raft_keeper *k, uint64_t bytes, bool takes_away)
{
    return raft_disk_has_room(k->disk, bytes, takes_away);
}

bool raft_keeper_is_short(const struct raft_keeper *k)
{
    return raft_disk_is_short(k->disk);
}

struct raft_disk_stats raft_keeper_stats(const struct raft_keeper *k)
{
    return k->stats;
}

/* ---- pieces for others ---- */

static void run_read(struct work_job *job)
{
    struct read *r = CONTAINER_OF(job, struct read, job);
    if (r->chunk.snapshot.index != 0)
        r->chunk.bytes =
            raft_disk_read_chunk(r->disk, &r->chunk.snapshot, r->chunk.offset, &r->err);
}

static void on_read(struct work_job *job)
{
    struct read *r = CONTAINER_OF(job, struct read, job);
    struct raft_keeper *k = r->k;
    k->reads_on--;
    if (r->err.code != ERR_NONE && r->err.code != ERR_NOT_FOUND)
        fail(k, &r->err);
    else if (k->writers != NULL)
        k->setup.on_chunk_read(&r->chunk, k->setup.arg);
    buf_unref(&r->chunk.bytes);
    mem_free(r);
    tell_if_settled(k);
}

void raft_keeper_need(struct raft_keeper *k, uint16_t node, uint64_t index, uint64_t id,
                      uint64_t offset)
{
    struct err err = { 0 };
    const struct raft_snapshot *newest = raft_disk_snapshot(k->disk);
    if (k->writers == NULL || k->has_failed)
        return;
    struct read *r = mem_zalloc(sizeof *r);
    bool is_newest = index == newest->index && id == newest->id;
    r->k = k;
    r->disk = k->setup.disk;
    r->chunk = (struct raft_chunk){ .node = node, .snapshot = *newest };
    r->chunk.offset = is_newest ? offset : 0;
    work_job_init(&r->job, run_read, on_read);
    if (work_submit(k->readers, k->setup.loop, &r->job, &err)) {
        k->reads_on++;
        return;
    }
    mem_free(r);
    fail(k, &err);
}

/* ---- snapshots of our own ---- */

bool raft_keeper_wants_snapshot(const struct raft_keeper *k, uint64_t applied)
{
    return k->writers != NULL && !k->has_failed && !k->save.is_wanted && !k->save.is_on &&
           raft_disk_wants_snapshot(k->disk, applied);
}

static void run_save(struct work_job *job)
{
    struct save *s = CONTAINER_OF(job, struct save, job);
    s->ok = raft_image_write(&s->image, s->fill, s->arg, &s->err);
    s->has_run = true;
}

/* One that was installed meanwhile may have made it needless. */
static void begin_save(struct raft_keeper *k)
{
    struct save *s = &k->save;
    struct err busy = { 0 };
    struct raft_snapshot is = s->image.is;
    s->is_wanted = false;
    if (!raft_disk_wants_snapshot(k->disk, is.index)) {
        s->done(NULL, s->arg);
        return;
    }
    raft_disk_snapshot_begin(k->disk, &is, &s->image);
    s->has_run = false;
    s->from_ms = clock_mono_ms();
    s->is_on = work_submit(k->readers, k->setup.loop, &s->job, &busy);
    if (s->is_on)
        return;
    raft_disk_snapshot_done(k->disk, &s->image, false); /* another time */
    s->done(NULL, s->arg);
}

static void tell_saved(const struct raft_keeper *k, const struct save *s)
{
    if (s->ok)
        log_info(
            "raft", k->setup.name,
            "snapshot written index=%" PRIu64 " items=%" PRIu64 " bytes=%" PRIu64 " ms=%" PRIu64,
            s->image.is.index, s->image.items, s->image.is.bytes, clock_mono_ms() - s->from_ms);
    else if (s->err.code == ERR_LIMIT)
        log_warn("raft", k->setup.name, "no room for a snapshot, tried again later: %s",
                 s->err.text);
}

static void on_saved(struct work_job *job)
{
    struct raft_keeper *k = CONTAINER_OF(job, struct raft_keeper, save.job);
    struct save *s = &k->save;
    bool ok = s->has_run && s->ok;
    bool has_failed = s->has_run && !s->ok && s->err.code != ERR_LIMIT && k->writers != NULL;
    s->is_on = false;
    raft_disk_snapshot_done(k->disk, &s->image, ok);
    if (s->has_run)
        tell_saved(k, s);
    s->done(ok ? &s->image.is : NULL, s->arg); /* which may free a keeper that was stopped */
    if (has_failed)
        fail(k, &s->err);
}

void raft_keeper_save(struct raft_keeper *k, const struct raft_snapshot *is,
                      raft_image_fill_fn fill, raft_saved_fn done, void *arg)
{
    struct save *s = &k->save;
    CHECK(!s->is_wanted && !s->is_on);
    s->image.is = *is;
    s->fill = fill;
    s->done = done;
    s->arg = arg;
    s->is_wanted = true;
    loop_at_turn_end(k->setup.loop, &k->turn_end);
}

/* ---- loading ---- */

static bool load_now(struct raft_keeper *k, const struct raft_snapshot *is, raft_load_fn load,
                     void *arg, struct err *err)
{
    struct raft_image_reader *r = raft_disk_open_snapshot(k->disk, is, err);
    bool ok = r != NULL && load(r, arg, err);
    raft_image_close(&r);
    return ok;
}

static void run_load(struct work_job *job)
{
    struct raft_keeper *k = CONTAINER_OF(job, struct raft_keeper, load.job);
    struct load *l = &k->load;
    l->ok = load_now(k, &l->is, l->load, l->arg, &l->err);
}

static void on_loaded(struct work_job *job)
{
    struct raft_keeper *k = CONTAINER_OF(job, struct raft_keeper, load.job);
    struct load *l = &k->load;
    l->is_on = false;
    l->done(l->ok, &l->err, l->arg);
}

void raft_keeper_load(struct raft_keeper *k, const struct raft_snapshot *is, raft_load_fn load,
                      raft_loaded_fn done, void *arg)
{
    struct load *l = &k->load;
    CHECK(!l->is_on && k->readers != NULL);
    l->is = *is;
    l->load = load;
    l->done = done;
    l->arg = arg;
    l->ok = false;
    (void)!err_set(&l->err, ERR_LIMIT, "the node stops");
    l->is_on = work_submit(k->readers, k->setup.loop, &l->job, &l->err);
    if (!l->is_on)
        fail(k, &l->err);
}

bool raft_keeper_load_now(struct raft_keeper *k, const struct raft_snapshot *is, raft_load_fn load,
                          void *arg, struct err *err)
{
    return load_now(k, is, load, arg, err);
}

/* ---- life ---- */

struct raft_keeper *raft_keeper_open(const struct raft_keeper_setup *setup,
                                     struct raft_found *found, struct err *err)
{
    struct raft_disk *d =
        raft_disk_open(&(struct raft_disk_setup){ .disk = setup->disk,
                                                  .identity = setup->identity,
                                                  .seed = random_u64(),
                                                  .least_bytes = setup->least_bytes,
                                                  .on_damage = setup->on_damage },
                       found, err);
    if (d == NULL)
        return NULL;
    struct raft_keeper *k = mem_zalloc(sizeof *k);
    k->setup = *setup;
    k->setup.identity = NULL;
    k->disk = d;
    k->writers = work_pool_new("raft", 1, 1);
    k->readers = work_pool_new("snapshot", READERS_MAX, WAITING_MAX);
    work_job_init(&k->job, run_log, on_log_back);
    work_job_init(&k->save.job, run_save, on_saved);
    work_job_init(&k->load.job, run_load, on_loaded);
    loop_timer_init(&k->rest, setup->loop, on_rest, k);
    loop_task_init(&k->turn_end, on_turn_end, k);
    k->stats = raft_disk_stats(d);
    return k;
}

void raft_keeper_stop(struct raft_keeper *k)
{
    loop_timer_stop(&k->rest);
    work_pool_free(&k->writers);
    work_pool_free(&k->readers);
    if (!k->save.is_wanted)
        return;
    k->save.is_wanted = false;
    k->save.done(NULL, k->save.arg);
}

bool raft_keeper_is_settled(const struct raft_keeper *k)
{
    return !k->is_on_its_way && !k->save.is_on && !k->load.is_on && k->reads_on == 0;
}

void raft_keeper_free(struct raft_keeper **keeper)
{
    struct raft_keeper *k = *keeper;
    *keeper = NULL;
    if (k == NULL)
        return;
    CHECK(k->writers == NULL && raft_keeper_is_settled(k));
    if (!k->has_failed && raft_disk_wants_closing(k->disk) &&
        !raft_disk_close_group(k->disk, &k->err))
        log_error("raft", k->setup.name, "%s", k->err.text);
    for (size_t i = 0; i < k->piece_count; i++)
        msg_free(&k->pieces[i]);
    loop_timer_fini(&k->rest);
    loop_task_cancel(k->setup.loop, &k->turn_end);
    raft_disk_free(&k->disk);
    mem_free(k);
}
