#include "store/check_store.h"

#include "base/idmap.h"
#include "base/mem.h"
#include "cluster/meta_look.h"
#include "store/data_dir.h"
#include "store/recover.h"

#include <inttypes.h>
#include <stdio.h>

#define QUEUES_TOLD   100u
#define DAMAGES_TOLD  1000u
#define POSITION_MASK (UINT64_MAX >> 8) /* without the priority in front */

struct checking {
    struct text *out;
    struct disk *disk;
    struct data_dir dir;
    struct idmap names; /* of queues by qid: char *, as they are shown */
    bool knows_names;
    struct recovered found;
    struct segs *segs;
    bool is_damaged;
};

/* ---- names --------------------------------------------------------------------------------------
 */

static void note_queue(uint64_t qid, struct slice vhost, struct slice name, void *arg)
{
    struct checking *c = arg;
    struct text t;
    if (idmap_get(&c->names, qid) != NULL)
        return;
    text_init(&t, 4096);
    text_str(&t, "queue \"");
    text_escaped(&t, name);
    text_str(&t, "\" in \"");
    text_escaped(&t, vhost);
    text_put(&t, "\" (%" PRIu64 ")", qid);
    idmap_put(&c->names, qid, mem_strdup(t.ptr));
    text_fini(&t);
}

static void put_queue(struct checking *c, uint64_t qid)
{
    const char *name = idmap_get(&c->names, qid);
    if (name != NULL)
        text_str(c->out, name);
    else if (qid != 0)
        text_put(c->out, "a queue that is gone (%" PRIu64 ")", qid);
    else
        text_str(c->out, "of which queue is not known");
}

static void check_definitions(struct checking *c)
{
    struct err err;
    c->knows_names = meta_look_queues(c->disk, note_queue, c, &err);
    if (c->knows_names) {
        text_put(c->out, "definitions: good, %zu queues\n", c->names.count);
        return;
    }
    c->is_damaged = true;
    text_put(c->out, "definitions: DAMAGED: %s\n", err.text);
}

/* With no definitions to go by, all queues are there. */
static bool knows_queue(uint64_t qid, void *arg)
{
    const struct checking *c = arg;
    return !c->knows_names || idmap_get(&c->names, qid) != NULL;
}

/* ---- the journal --------------------------------------------------------------------------------
 */

static void tell_journal(struct checking *c)
{
    const struct recovered *r = &c->found;
    struct segs_sums sums = segs_sum(c->segs);
    text_put(c->out, "journal: %zu segments of %" PRIu64 " octets, and %zu made ready\n",
             r->segment_count, sums.bytes, r->unused_count);
    text_put(c->out, "  records: %" PRIu64 "\n", r->record_count);
    text_put(c->out, "  messages: %" PRIu64 " alive, about %" PRIu64 " octets of the segments\n",
             r->message_count, sums.alive_bytes);
    text_put(c->out, "  large messages: %zu, each with its file\n", r->large_count);
    text_put(c->out, "  index files: %zu good", r->index_count);
    if (r->bad_index_count != 0)
        text_put(c->out, ", %zu damaged, which the next start makes again", r->bad_index_count);
    text_str(c->out, r->is_clean ? "\n  end: closed in order\n"
                                 : "\n  end: not closed in order, which costs nothing safe\n");
    if (r->torn_bytes != 0)
        text_put(c->out,
                 "  %" PRIu64 " octets at the end are no records: nobody was promised them, and "
                 "the next start cuts them off\n",
                 r->torn_bytes);
    if (r->mended_count != 0)
        text_put(c->out, "  %zu segments have a damaged header, which the next start mends\n",
                 r->mended_count);
}

/* Of those that are or were mirrored; and how many producers are known that number what they
 * publish. */
static void tell_epochs(struct checking *c)
{
    size_t queues = 0, producers = 0;
    uint64_t last = 0;
    for (size_t i = 0; i < c->found.queue_count; i++) {
        struct mirror_history h;
        recovered_history_take(&c->found.queues[i], &h);
        queues += h.count != 0;
        producers += h.now.count;
        if (mirror_history_epoch(&h) > last)
            last = mirror_history_epoch(&h);
        mirror_history_fini(&h);
    }
    if (queues != 0)
        text_put(c->out,
                 "  epochs: of %zu queues that are or were mirrored, the last is %" PRIu64 "\n",
                 queues, last);
    if (producers != 0)
        text_put(c->out, "  producers whose messages are numbered: %zu\n", producers);
}

static uint64_t messages_of(const struct recovered_queue *q, uint64_t *body_bytes)
{
    uint64_t count = 0;
    *body_bytes = 0;
    for (size_t i = 0; i < q->level_count; i++) {
        const struct recovered_level *level = &q->levels[i];
        count += level->entry_count;
        for (size_t j = 0; j < level->entry_count; j++)
            *body_bytes += level->entries[j].body_bytes;
        for (size_t j = 0; j < level->run_count; j++) {
            count += level->runs[j].count;
            *body_bytes += level->runs[j].body_bytes;
        }
    }
    return count;
}

static void tell_queues(struct checking *c)
{
    size_t told = 0, left = 0;
    for (size_t i = 0; i < c->found.queue_count; i++) {
        const struct recovered_queue *q = &c->found.queues[i];
        uint64_t body_bytes;
        uint64_t count = messages_of(q, &body_bytes);
        if (count == 0)
            continue;
        if (told == QUEUES_TOLD) {
            left++;
            continue;
        }
        told++;
        text_str(c->out, "  ");
        put_queue(c, q->qid);
        text_put(c->out, ": %" PRIu64 " messages, bodies of %" PRIu64 " octets\n", count,
                 body_bytes);
    }
    if (left != 0)
        text_put(c->out, "  and %zu more queues with messages\n", left);
}

static void tell_damage(struct checking *c, const struct recovered_damage *d)
{
    unsigned priority = (unsigned)(d->first_qseq >> 56);
    text_put(c->out, "  %08x.seg octets %u to %u: ", d->seg, d->from, d->to);
    put_queue(c, d->qid);
    if (d->qid != 0) {
        text_put(c->out, ", positions %" PRIu64 " to %" PRIu64, d->first_qseq & POSITION_MASK,
                 d->last_qseq & POSITION_MASK);
        if (priority != 0)
            text_put(c->out, " of priority %u", priority);
    }
    text_char(c->out, '\n');
}

static void tell_damages(struct checking *c)
{
    const struct recovered *r = &c->found;
    if (r->damage_count == 0)
        return;
    c->is_damaged = true;
    text_str(c->out, "LOST, and had been safe:\n");
    for (size_t i = 0; i < r->damage_count && i < DAMAGES_TOLD; i++)
        tell_damage(c, &r->damages[i]);
    if (r->damage_count > DAMAGES_TOLD)
        text_put(c->out, "  and %zu more\n", r->damage_count - DAMAGES_TOLD);
}

static bool check_journal(struct checking *c, unsigned threads, struct err *err)
{
    struct recover_setup setup = { .disk = c->disk,
                                   .segs = c->segs,
                                   .store_id = c->dir.store_id,
                                   .threads = threads,
                                   .look_only = true,
                                   .knows_queue = knows_queue,
                                   .arg = c };
    if (!recover_run(&setup, &c->found, err))
        return false;
    tell_journal(c);
    tell_epochs(c);
    tell_queues(c);
    tell_damages(c);
    recovered_fini(&c->found);
    return true;
}

/* ---- all of it ----------------------------------------------------------------------------------
 */

static bool check_all(struct checking *c, const char *folder, unsigned threads, struct err *err)
{
    text_put(c->out, "%s: node %s, started %" PRIu32 " times\n", folder, c->dir.node,
             c->dir.incarnation);
    check_definitions(c);
    if (!check_journal(c, threads, err))
        return false;
    text_str(c->out, c->is_damaged ? "The store is DAMAGED.\n" : "The store is good.\n");
    return true;
}

static void free_names(struct checking *c)
{
    size_t at = 0;
    for (void *name; (name = idmap_next(&c->names, &at)) != NULL;)
        mem_free(name);
    idmap_fini(&c->names);
}

enum check_store check_store(const char *folder, unsigned threads, struct text *out,
                             struct err *err)
{
    struct checking c = { .out = out };
    enum check_store verdict = CHECK_STORE_FAILED;
    struct data_lock *lock = NULL;
    idmap_init(&c.names);
    c.segs = segs_new();
    c.disk = disk_new(folder, err);
    if (c.disk != NULL && data_dir_look(c.disk, folder, &c.dir, err)) {
        lock = data_lock_borrow(folder, err);
        if (lock == NULL && err->code == ERR_REFUSED)
            verdict = CHECK_STORE_IN_USE;
        else if (lock != NULL && check_all(&c, folder, threads, err))
            verdict = c.is_damaged ? CHECK_STORE_DAMAGED : CHECK_STORE_GOOD;
    }
    data_lock_free(&lock);
    disk_free(&c.disk);
    segs_free(&c.segs);
    free_names(&c);
    return verdict;
}
