#include "store/large_files.h"

#include "base/check.h"
#include "base/idmap.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "io/work.h"
#include "model/message.h"
#include "store/large.h"

#include <inttypes.h>
#include <string.h>

#define GROUP_FILES   16u
#define GROUP_BYTES   ((uint64_t)64 << 20)
#define GROUP_REMOVED 256u
#define RETRY_MS      500u /* the disk was full */

/*                                    done with it
 *   WAITING ---> WRITING ---> THERE -----------------> DOOMED ---> gone
 *      ^------------'           ^------------------------'
 *       no room                  somebody wants it after all    */
enum large_state {
    LARGE_WAITING, /* to be written */
    LARGE_WRITING,
    LARGE_THERE,
    LARGE_DOOMED, /* nobody wants it: to be removed, once that is durable */
};

struct large_file {
    uint64_t id;
    uint64_t body_bytes;
    uint64_t said_lsn; /* what was said of it last: LARGE for all of `qids`, from here... */
    uint64_t lsn;      /* ...to here */
    uint64_t done_lsn; /* that the last queue is done with it */
    uint32_t targets;
    uint32_t qid_count;
    uint64_t *qids; /* who may count on it, or might once */
    enum large_state state;
    struct large_write *writes; /* waiting; more may come while the job runs */
    struct message *message;    /* for the job: that of one of them */
    bool ok;                    /* out of the job */
    TAILQ_ENTRY(large_file) entry;
};

TAILQ_HEAD(files, large_file);

struct large_files {
    struct disk *disk;
    struct loop *loop;
    struct work_pool *pool;
    struct journal *journal;
    enum journal_sync sync;
    const char *node;
    void (*on_failed)(const struct err *err, void *arg);
    void *arg;
    struct idmap files;
    struct files waiting; /* LARGE_WAITING */
    struct files doomed;  /* LARGE_DOOMED */
    struct work_job work;
    bool busy;
    bool is_full;      /* the disk was, at the last try */
    uint64_t retry_ms; /* not before */
    bool ending;
    struct log_rate complaints;
    struct files writing; /* the job's */
    uint64_t removing[GROUP_REMOVED];
    size_t removing_count;
    struct err err;
    struct large_files_stats stats;
};

static void count_file(struct large_files *l, const struct large_file *f, bool is_more)
{
    if (is_more) {
        atomic_fetch_add_explicit(&l->stats.files, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&l->stats.bytes, f->body_bytes, memory_order_relaxed);
    } else {
        atomic_fetch_sub_explicit(&l->stats.files, 1, memory_order_relaxed);
        atomic_fetch_sub_explicit(&l->stats.bytes, f->body_bytes, memory_order_relaxed);
    }
}

/* ---- on the pool ------------------------------------------------------------------------------
 */

/* In one job, so that a file which is wanted again is never removed after it was written anew. */
static void run_job(struct work_job *job)
{
    struct large_files *l = CONTAINER_OF(job, struct large_files, work);
    struct err gone = { 0 };
    size_t removed = 0;
    for (size_t i = 0; i < l->removing_count; i++)
        removed += large_remove(l->disk, l->removing[i], &gone);
    (void)removed; /* of what stays the next start will find that nobody refers to it */
    struct large_file *f;
    bool any = false;
    l->err = (struct err){ 0 };
    TAILQ_FOREACH (f, &l->writing, entry) {
        f->ok = l->err.code == ERR_NONE && (large_write(l->disk, f->id, f->message, &l->err) ||
                                            MUTATION(LARGE_WRITE_NOT_JUDGED));
        any = any || f->ok;
    }
    if (any && !large_sync(l->disk, &l->err)) {
        TAILQ_FOREACH (f, &l->writing, entry)
            f->ok = false;
    }
}

/* ---- groups -----------------------------------------------------------------------------------
 */

static void answer(struct large_file *f, bool is_safe)
{
    for (struct large_write *w; (w = f->writes) != NULL;) {
        f->writes = w->next;
        w->is_safe = is_safe;
        w->lsn = f->lsn;
        mailbox_post(w->reply_to, &w->mail);
    }
}

/* To all that have it, so that what was said before need not be kept. */
static void say_it_is_there(struct large_files *l, struct large_file *f)
{
    uint8_t record[RECORD_LARGE_ROOM(MSG_TARGETS_MAX)];
    for (uint32_t at = 0, n; at < f->qid_count; at += n) {
        n = f->qid_count - at < MSG_TARGETS_MAX ? f->qid_count - at : MSG_TARGETS_MAX;
        struct slice part = slice_of(record, record_put_large(record, f->id, f->qids + at, n));
        struct place p = journal_append(l->journal, &part, 1, JOURNAL_SOON, &f->lsn);
        if (at == 0)
            f->said_lsn = place_lsn(p);
    }
}

static void add_qids(struct large_file *f, const uint64_t *qids, uint32_t count)
{
    f->qids = mem_realloc(f->qids, ((size_t)f->qid_count + count) * sizeof *f->qids);
    memcpy(f->qids + f->qid_count, qids, count * sizeof *qids);
    f->qid_count += count;
}

static void free_file(struct large_file *f)
{
    mem_free(f->qids);
    mem_free(f);
}

static void doom(struct large_files *l, struct large_file *f)
{
    CHECK(f->state == LARGE_THERE && f->targets == 0);
    f->state = LARGE_DOOMED;
    TAILQ_INSERT_TAIL(&l->doomed, f, entry);
}

static void is_there(struct large_files *l, struct large_file *f)
{
    f->state = LARGE_THERE;
    say_it_is_there(l, f);
    answer(f, true);
    if (f->targets == 0)
        doom(l, f);
}

/* It is written from its beginning the next time: nothing is believed of what was written. */
static void put_back(struct large_files *l, struct files *failed)
{
    TAILQ_CONCAT(failed, &l->waiting, entry);
    TAILQ_CONCAT(&l->waiting, failed, entry);
    l->is_full = true;
    l->retry_ms = loop_now_ms(l->loop) + RETRY_MS;
    unsigned left_out;
    if (log_rate_ok(&l->complaints, 1, 10000, &left_out))
        log_warn("store", l->node, "large messages wait for room on the disk: %s", l->err.text);
}

bool large_files_want_room(const struct large_files *l)
{
    return l->is_full && (!TAILQ_EMPTY(&l->waiting) || !TAILQ_EMPTY(&l->writing));
}

static void take_results(struct large_files *l, bool is_cancelled)
{
    struct files failed = TAILQ_HEAD_INITIALIZER(failed);
    for (struct large_file *f; (f = TAILQ_FIRST(&l->writing)) != NULL;) {
        TAILQ_REMOVE(&l->writing, f, entry);
        if (f->ok && !is_cancelled) {
            is_there(l, f);
            l->is_full = false;
            continue;
        }
        f->state = LARGE_WAITING;
        TAILQ_INSERT_TAIL(&failed, f, entry);
    }
    journal_kick(l->journal);
    if (TAILQ_EMPTY(&failed))
        return;
    put_back(l, &failed);
    if (!is_cancelled && l->err.code != ERR_LIMIT)
        l->on_failed(&l->err, l->arg);
}

static void on_job_done(struct work_job *job)
{
    struct large_files *l = CONTAINER_OF(job, struct large_files, work);
    l->busy = false;
    l->removing_count = 0;
    take_results(l, job->cancelled);
    if (!l->is_full)
        large_files_go_on(l);
}

/* Nothing that power may bring back refers to what goes; where no sync was promised nobody waits
 * for one either. */
static void choose_to_remove(struct large_files *l)
{
    uint64_t durable =
        l->sync == JOURNAL_SYNC_NONE ? journal_durable(l->journal) : journal_synced(l->journal);
    for (struct large_file *f; l->removing_count < GROUP_REMOVED;) {
        f = TAILQ_FIRST(&l->doomed);
        if (f == NULL || (f->done_lsn > durable && !MUTATION(LARGE_REMOVED_EARLY)))
            return;
        TAILQ_REMOVE(&l->doomed, f, entry);
        idmap_take(&l->files, f->id);
        l->removing[l->removing_count++] = f->id;
        count_file(l, f, false);
        free_file(f);
    }
}

static void choose_to_write(struct large_files *l)
{
    if (l->is_full && loop_now_ms(l->loop) < l->retry_ms)
        return;
    uint64_t bytes = 0;
    struct large_file *f;
    for (unsigned n = 0; n < GROUP_FILES && (f = TAILQ_FIRST(&l->waiting)) != NULL; n++) {
        bytes += f->body_bytes;
        if (n != 0 && bytes > GROUP_BYTES)
            return;
        TAILQ_REMOVE(&l->waiting, f, entry);
        f->state = LARGE_WRITING;
        f->message = f->writes->message;
        f->ok = false;
        TAILQ_INSERT_TAIL(&l->writing, f, entry);
    }
}

void large_files_go_on(struct large_files *l)
{
    if (l->busy || l->ending || journal_has_failed(l->journal))
        return;
    choose_to_remove(l);
    choose_to_write(l);
    if (l->removing_count == 0 && TAILQ_EMPTY(&l->writing))
        return;
    struct err err = { 0 };
    l->busy = work_submit(l->pool, l->loop, &l->work, &err);
    if (!l->busy)
        take_results(l, true); /* the pool has ended */
}

bool large_files_wait(const struct large_files *l)
{
    return !TAILQ_EMPTY(&l->waiting) || !TAILQ_EMPTY(&l->doomed);
}

/* ---- who wants them ---------------------------------------------------------------------------
 */

static struct large_file *add_file(struct large_files *l, uint64_t id, uint64_t body_bytes,
                                   enum large_state state)
{
    struct large_file *f = mem_zalloc(sizeof *f);
    f->id = id;
    f->body_bytes = body_bytes;
    f->state = state;
    idmap_put(&l->files, id, f);
    count_file(l, f, true);
    return f;
}

/* Before it is answered: then it is the caller's again, who may be another thread. */
static void drop_qids(struct large_write *w)
{
    mem_free(w->qids);
    w->qids = NULL;
}

static void want(struct large_files *l, struct large_file *f, struct large_write *w)
{
    /* A shard may be so late with its word that all others are done with the file by then. */
    if (f->state == LARGE_DOOMED) {
        TAILQ_REMOVE(&l->doomed, f, entry);
        f->state = LARGE_THERE;
    }
    add_qids(f, w->qids, w->targets);
    drop_qids(w);
    f->targets += w->targets;
    w->next = f->writes;
    f->writes = w;
    if (f->state != LARGE_THERE) {
        large_files_go_on(l);
        return;
    }
    say_it_is_there(l, f);
    answer(f, true);
    journal_kick(l->journal);
}

void large_files_write(struct large_files *l, struct large_write *w)
{
    struct large_file *f = idmap_get(&l->files, w->id);
    w->is_safe = false;
    if (!l->ending && f == NULL) {
        f = add_file(l, w->id, w->message->body_bytes, LARGE_WAITING);
        TAILQ_INSERT_TAIL(&l->waiting, f, entry);
    }
    if (!l->ending) {
        want(l, f, w);
        return;
    }
    drop_qids(w);
    mailbox_post(w->reply_to, &w->mail);
}

void large_files_drop(struct large_files *l, uint64_t id, uint32_t targets, uint64_t lsn)
{
    struct large_file *f = idmap_get(&l->files, id);
    if (f == NULL || f->targets < targets) {
        log_warn("store", l->node, "a large message was let go of that is not known id=%016" PRIx64,
                 id);
        return;
    }
    f->targets -= targets;
    if (lsn > f->done_lsn)
        f->done_lsn = lsn;
    if (f->targets == 0 && f->state == LARGE_THERE)
        doom(l, f);
}

/* Those that were moved are known to be there without it, see recover.h. */
void large_files_leave(struct large_files *l, const uint32_t *segs, size_t count)
{
    size_t at = 0;
    for (struct large_file *f; (f = idmap_next(&l->files, &at)) != NULL;) {
        uint32_t from = place_of_lsn(f->said_lsn).seg, to = place_of_lsn(f->lsn).seg;
        bool is_there = f->state == LARGE_THERE && !MUTATION(LARGE_PROOF_NOT_CARRIED);
        for (size_t i = 0; is_there && i < count; i++) {
            if (segs[i] >= from && segs[i] <= to) {
                say_it_is_there(l, f);
                break;
            }
        }
    }
}

/* ---- start and end ----------------------------------------------------------------------------
 */

struct large_files *large_files_new(const struct large_files_setup *setup)
{
    struct large_files *l = mem_zalloc(sizeof *l);
    l->disk = setup->disk;
    l->loop = setup->loop;
    l->pool = setup->pool;
    l->journal = setup->journal;
    l->sync = setup->sync;
    l->node = setup->node;
    l->on_failed = setup->on_failed;
    l->arg = setup->arg;
    idmap_init(&l->files);
    TAILQ_INIT(&l->waiting);
    TAILQ_INIT(&l->doomed);
    TAILQ_INIT(&l->writing);
    work_job_init(&l->work, run_job, on_job_done);
    return l;
}

struct listing {
    struct large_files *files;
    struct idmap unwanted;
};

static void on_name(const char *name, void *arg)
{
    struct listing *li = arg;
    uint64_t id;
    if (large_id_of(name, &id) && idmap_get(&li->files->files, id) == NULL)
        idmap_put(&li->unwanted, id, li);
}

static void remove_unwanted(struct large_files *l, struct idmap *unwanted)
{
    struct err err = { 0 };
    size_t failed = 0;
    for (size_t i = 0; i < unwanted->cap; i++) {
        if (unwanted->slots[i].value != NULL)
            failed += !large_remove(l->disk, unwanted->slots[i].id, &err);
    }
    if (unwanted->count != 0)
        log_info("store", l->node,
                 "files of large messages nobody refers to were removed count=%zu",
                 unwanted->count - failed);
    if (failed != 0)
        log_warn("store", l->node, "some of them could not be removed count=%zu: %s", failed,
                 err.text);
}

bool large_files_restore(struct large_files *l, const struct recovered *r, struct err *err)
{
    for (size_t i = 0; i < r->large_count; i++) {
        struct large_file *f = idmap_get(&l->files, r->larges[i].id);
        if (f == NULL)
            f = add_file(l, r->larges[i].id, 0, LARGE_THERE);
        f->targets += r->larges[i].alive;
        add_qids(f, r->larges[i].qids, r->larges[i].alive);
    }
    /* Where their LARGE stand nobody remembers: they are written anew. */
    size_t at = 0;
    for (struct large_file *f; (f = idmap_next(&l->files, &at)) != NULL;)
        say_it_is_there(l, f);
    struct listing li = { .files = l };
    idmap_init(&li.unwanted);
    bool ok = l->disk->ops->make_folder(l->disk, LARGE_FOLDER, err) &&
              l->disk->ops->list(l->disk, LARGE_FOLDER, on_name, &li, err);
    if (ok)
        remove_unwanted(l, &li.unwanted);
    idmap_fini(&li.unwanted);
    return ok;
}

const struct large_files_stats *large_files_stats(const struct large_files *l)
{
    return &l->stats;
}

void large_files_stop(struct large_files *l)
{
    l->ending = true;
    size_t at = 0;
    for (struct large_file *f; (f = idmap_next(&l->files, &at)) != NULL;) {
        if (f->state == LARGE_WAITING)
            answer(f, false);
    }
}

void large_files_free(struct large_files **large)
{
    struct large_files *l = *large;
    *large = NULL;
    if (l == NULL)
        return;
    CHECK(!l->busy);
    for (struct large_file *f; (f = idmap_first(&l->files)) != NULL;) {
        CHECK(f->writes == NULL);
        idmap_take(&l->files, f->id);
        free_file(f);
    }
    idmap_fini(&l->files);
    mem_free(l);
}
