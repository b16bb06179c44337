#include "base/mem.h"
#include "expect.h"
#include "io/clock.h"
#include "io/mailbox.h"
#include "io_kit.h"
#include "mem_disk.h"
#include "model/message.h"
#include "store/large.h"
#include "store/store.h"

#include <pthread.h>
#include <stdio.h>

TestSuite(store, .timeout = 300);

#define QID       3u
#define SEG_BYTES SEGMENT_BYTES_LEAST
#define BODY      ((size_t)60000)
#define MANY      4096u

/* A store and one shard, which is the test's own thread: where each of its messages stands. */
struct world {
    struct disk *disk; /* the store's */
    struct store *store;
    struct loop *loop;
    struct place places[MANY]; /* by position; none: gone, or never there */
    size_t asks;
    size_t moved;
    size_t back;
    uint64_t disk_limit;
    bool answers;
    enum journal_sync sync;
    uint32_t interval_ms;
    bool carries;     /* very much */
    bool reads_first; /* of the first ask, while it is answered */
    uint32_t first;
    uint64_t until_ms;
    uint64_t lsn; /* that a test waits for */
    atomic_size_t alarms;
    atomic_size_t failures;
    struct message *body;
};

static void on_failed(const struct err *err, void *arg)
{
    (void)err;
    atomic_fetch_add(&((struct world *)arg)->failures, 1);
}

static void on_alarm(void *arg)
{
    atomic_fetch_add(&((struct world *)arg)->alarms, 1);
}

static uint32_t shard_of(uint64_t qid, void *arg)
{
    (void)arg;
    return qid == QID ? 0 : UINT32_MAX;
}

static uint64_t disk_limit(void *arg)
{
    return ((struct world *)arg)->disk_limit;
}

static void append(struct world *w, uint64_t qseq, unsigned flags)
{
    uint8_t head[RECORD_MSG_ROOM(1)];
    struct msg_target t = { .qid = QID, .qseq = qseq };
    size_t n = record_put_msg(head, flags, &t, 1, w->body->names_bytes, w->body->props_bytes,
                              w->body->body_bytes);
    struct slice parts[] = { slice_of(head, n), message_names(w->body), message_props(w->body),
                             message_body(w->body) };
    w->places[qseq] = journal_append(store_journal(w->store), parts, 4, JOURNAL_SOON, NULL);
    segs_put(store_segs(w->store), w->places[qseq].seg, 1, segs_cost(BODY));
    journal_kick(store_journal(w->store));
}

static void settle(struct world *w, uint64_t qseq)
{
    segs_drop(store_segs(w->store), w->places[qseq].seg, 1, segs_cost(BODY));
    w->places[qseq] = (struct place){ 0, 0 };
}

/* What a mover does, with a table for its queues. */
static void on_ask(struct store_ask *ask, void *arg)
{
    struct world *w = arg;
    w->asks++;
    if (!w->answers)
        return;
    if (w->reads_first && w->first == 0) {
        w->first = ask->segs[0];
        atomic_fetch_add(&segs_get(store_segs(w->store), w->first)->readers, 1);
    }
    ask->carried_bytes = w->carries ? ask->seg_count * (uint64_t)SEG_BYTES : 0;
    for (size_t i = 0; i < ask->order_count; i++) {
        const struct store_moving *it = &ask->items[ask->order[i]];
        struct place there = { ask->segs[0], it->offset };
        cr_assert(eq(u64, it->qid, QID));
        if (!place_eq(w->places[it->qseq], there))
            continue;
        struct record r;
        cr_assert(record_cut(ask->bytes, ask->header, it->offset, &r) == RECORD_CUT_OK);
        append(w, it->qseq, MSG_MOVED);
        segs_drop(store_segs(w->store), there.seg, 1, segs_cost(BODY));
        w->moved++;
    }
    store_answer(w->store, ask);
}

static void world_open(struct world *w)
{
    struct err err = { 0 };
    w->store = store_open(&(struct store_setup){ .folder = "folder",
                                                 .node = "node",
                                                 .disk = w->disk,
                                                 .shard_count = 1,
                                                 .shard_loops = &w->loop,
                                                 .segment_bytes = SEG_BYTES,
                                                 .slow_ms = 10000,
                                                 .sync = w->sync,
                                                 .interval_ms = w->interval_ms,
                                                 .on_failed = on_failed,
                                                 .on_alarm = on_alarm,
                                                 .on_ask = on_ask,
                                                 .shard_of = shard_of,
                                                 .disk_limit = disk_limit,
                                                 .arg = w },
                          &err);
    cr_assert(w->store != NULL, "%s", err.text);
    cr_assert(store_recover(w->store, NULL, NULL, &err), "%s", err.text);
}

static void world_start(struct world *w)
{
    struct err err = { 0 };
    store_forget_recovered(w->store);
    cr_assert(store_start(w->store, &err), "%s", err.text);
}

static void world_init_with(struct world *w, enum journal_sync sync, uint32_t interval_ms)
{
    uint8_t *body = mem_zalloc(BODY);
    memset(w, 0, sizeof *w);
    w->disk = mem_disk_new();
    w->loop = kit_loop_new();
    w->answers = true;
    w->sync = sync;
    w->interval_ms = interval_ms;
    w->body =
        message_new(slice_str(""), slice_str("q"), slice_of("\0\0", 2), slice_of(body, BODY), true);
    mem_free(body);
    world_open(w);
    world_start(w);
}

static void world_init(struct world *w)
{
    world_init_with(w, JOURNAL_SYNC_ALWAYS, 0);
}

static void world_stop(struct world *w)
{
    store_stop(w->store);
    for (bool busy = true; busy;) {
        busy = loop_settle(w->loop);
        busy = store_settle(w->store) || busy;
    }
}

/* The disk is copied before, so that another life can go on with it. */
static void world_again(struct world *w)
{
    world_stop(w);
    struct disk *copy = mem_disk_copy(w->disk);
    store_free(&w->store);
    w->disk = copy;
    world_open(w);
}

static void world_fini(struct world *w)
{
    world_stop(w);
    store_free(&w->store);
    loop_free(&w->loop);
    message_unref(&w->body);
}

static bool has_room(void *arg)
{
    struct world *w = arg;
    return journal_backlog(store_journal(w->store)) < SEG_BYTES;
}

static void append_many(struct world *w, uint64_t first, uint64_t count)
{
    for (uint64_t i = first; i < first + count; i++) {
        append(w, i, 0);
        kit_until(w->loop, has_room, w);
    }
}

static struct store_stats stats(struct world *w)
{
    struct store_stats s;
    store_stats(w->store, &s);
    return s;
}

/* ---- ---- */

Test(store, has_what_it_was_given_when_it_is_opened_again)
{
    static struct world w;
    world_init(&w);
    cr_expect(eq(u32, store_incarnation(w.store), 1));
    cr_expect(eq(u64, stats(&w).recovery.at_ms, 0), "there was nothing");
    append_many(&w, 0, 100);
    world_again(&w);
    cr_expect(eq(u32, store_incarnation(w.store), 2));
    const struct recovered *r = store_recovered(w.store);
    cr_expect(eq(u64, r->message_count, 100));
    cr_expect(eq(sz, r->damage_count, 0));
    cr_expect(r->is_clean);
    cr_expect(stats(&w).recovery.at_ms != 0);
    uint64_t id = store_new_large_id(w.store);
    cr_expect(eq(u64, id >> 32, 2), "of this life");
    cr_expect(ne(u64, store_new_large_id(w.store), id));
    world_fini(&w);
}

static bool is_small(void *arg)
{
    struct store_stats s = stats(arg);
    return s.segs.count <= 1 && s.recycled_segs > 3;
}

Test(store, lets_dead_segments_go)
{
    static struct world w;
    world_init(&w);
    append_many(&w, 0, 100);
    cr_expect(stats(&w).segs.count >= 5);
    for (uint64_t i = 0; i < 100; i++)
        settle(&w, i);
    kit_until(w.loop, is_small, &w);
    cr_expect(w.asks > 0);
    cr_expect(eq(sz, w.moved, 0));
    world_fini(&w);
}

/* A shard that does not answer keeps them. */
Test(store, lets_nothing_go_before_all_have_answered)
{
    static struct world w;
    world_init(&w);
    w.answers = false;
    append_many(&w, 0, 60);
    for (uint64_t i = 0; i < 60; i++)
        settle(&w, i);
    kit_until_count(w.loop, &w.asks, 1);
    kit_turns(w.loop, 50);
    cr_expect(eq(u64, stats(&w).recycled_segs, 0));
    world_fini(&w);
}

static bool is_all_gone(void *arg)
{
    return stats(arg).segs.count <= 1;
}

static bool is_later(void *arg)
{
    return clock_mono_ms() >= ((struct world *)arg)->until_ms;
}

static bool is_durable(void *arg)
{
    struct world *w = arg;
    return journal_durable(store_journal(w->store)) >= w->lsn;
}

/* What a later one says of an earlier one is carried nowhere when both are to go: if the earlier
 * one stays for somebody who reads, so does the later one. */
Test(store, lets_no_segment_go_before_an_earlier_one)
{
    static struct world w;
    world_init(&w);
    w.reads_first = true;
    append_many(&w, 0, 100);
    for (uint64_t i = 0; i < 100; i++)
        settle(&w, i);
    kit_until_count(w.loop, &w.asks, 1);
    w.until_ms = clock_mono_ms() + 300;
    kit_until(w.loop, is_later, &w);
    cr_expect(eq(u64, stats(&w).recycled_segs, 0));
    atomic_fetch_sub(&segs_get(store_segs(w.store), w.first)->readers, 1);
    kit_until(w.loop, is_all_gone, &w);
    world_fini(&w);
}

/* A shard that writes of its queues as much as a segment has: they are given up when they are too
 * many, and not all the time. */
Test(store, gives_up_dear_segments_when_there_is_need)
{
    static struct world w;
    world_init(&w);
    w.carries = true;
    append_many(&w, 0, 40);
    for (uint64_t i = 0; i < 40; i++)
        settle(&w, i);
    kit_until_count(w.loop, &w.asks, 1);
    w.until_ms = clock_mono_ms() + 500;
    kit_until(w.loop, is_later, &w);
    cr_expect(w.asks <= 2, "%zu", w.asks);
    append_many(&w, 40, 400);
    for (uint64_t i = 40; i < 440; i++)
        settle(&w, i);
    kit_until_count(w.loop, &w.asks, w.asks + 1);
    world_fini(&w);
}

static bool is_within_bound(void *arg)
{
    struct store_stats s = stats(arg);
    return s.segs.bytes <= 2 * s.segs.alive_bytes + 17 * (uint64_t)SEG_BYTES;
}

/* One in five is left, in every segment: they are moved together, and come back when it is opened
 * again. */
Test(store, empties_segments_that_are_mostly_dead)
{
    static struct world w;
    world_init(&w);
    append_many(&w, 0, 800);
    for (uint64_t i = 0; i < 800; i++) {
        if (i % 5 != 0)
            settle(&w, i);
    }
    cr_expect(is_within_bound(&w) == false);
    kit_until(w.loop, is_within_bound, &w);
    cr_expect(w.moved > 0);
    cr_expect(stats(&w).evacuated_segs > 0);
    cr_expect(eq(u64, stats(&w).segs.alive_count, 160));
    world_again(&w);
    /* Nobody wrote here that the others are settled: those whose segment is still there are
     * alive. */
    const struct recovered *r = store_recovered(w.store);
    cr_assert(eq(sz, r->queue_count, 1));
    cr_expect(r->message_count >= 160 && r->message_count < 800);
    cr_expect(eq(sz, r->damage_count, 0));
    world_fini(&w);
}

/* ---- loads ---- */

struct asked {
    struct load load;
    struct world *world;
};

static void on_loaded(struct mail *mail)
{
    CONTAINER_OF(mail, struct asked, load.mail)->world->back++;
}

Test(store, reads_back_what_it_was_given)
{
    static struct world w;
    struct asked a = { .world = &w };
    world_init(&w);
    append_many(&w, 0, 40);
    a.load.mail.fn = on_loaded;
    a.load.reply_to = w.loop;
    a.load.qid = QID;
    a.load.count = 40;
    a.load.items = mem_array(40, sizeof *a.load.items);
    for (uint64_t i = 0; i < 40; i++) {
        a.load.items[i].qseq = i;
        a.load.items[i].place = w.places[i];
        a.load.items[i].body_bytes = BODY;
    }
    store_load(w.store, &a.load);
    kit_until_count(w.loop, &w.back, 1);
    cr_expect(eq(u32, a.load.lost_count, 0), "%s", a.load.why);
    cr_expect(eq(u64, stats(&w).loaded_messages, 40));
    load_fini(&a.load);
    world_fini(&w);
}

/* ---- large ones ---- */

struct written {
    struct large_write write;
    struct world *world;
};

static void on_written(struct mail *mail)
{
    CONTAINER_OF(mail, struct written, write.mail)->world->back++;
}

static void write_large(struct world *w, struct written *l, uint64_t id, uint32_t targets)
{
    *l = (struct written){ .world = w };
    l->write.mail.fn = on_written;
    l->write.reply_to = w->loop;
    l->write.id = id;
    l->write.message = message_ref(w->body);
    l->write.targets = targets;
    l->write.qids = mem_array(targets, sizeof *l->write.qids);
    for (uint32_t i = 0; i < targets; i++)
        l->write.qids[i] = i + 1;
    store_write_large(w->store, &l->write);
}

static bool has_no_files(void *arg)
{
    return stats(arg).large_files == 0;
}

Test(store, keeps_the_file_of_a_large_message_while_a_queue_wants_it)
{
    static struct world w;
    struct written a, b;
    char name[LARGE_NAME_MAX];
    world_init(&w);
    uint64_t id = store_new_large_id(w.store);
    large_name(id, name);
    write_large(&w, &a, id, 2);
    write_large(&w, &b, id, 1);
    kit_until_count(w.loop, &w.back, 2);
    cr_expect(a.write.is_safe && b.write.is_safe);
    cr_expect(mem_disk_has(w.disk, name));
    cr_expect(eq(u64, stats(&w).large_files, 1));
    store_drop_large(w.store, id, 2, 0);
    kit_turns(w.loop, 30);
    cr_expect(mem_disk_has(w.disk, name), "one queue wants it");
    store_drop_large(w.store, id, 1, 0);
    kit_until(w.loop, has_no_files, &w);
    message_unref(&a.write.message);
    message_unref(&b.write.message);
    world_fini(&w);
}

/* Else a message that was acknowledged would come back after a loss of power, as one that is lost.
 */
Test(store, removes_no_file_before_it_is_synced_that_nobody_wants_it)
{
    static struct world w;
    struct written a;
    char name[LARGE_NAME_MAX];
    world_init_with(&w, JOURNAL_SYNC_INTERVAL, 600000);
    uint64_t id = store_new_large_id(w.store);
    large_name(id, name);
    write_large(&w, &a, id, 1);
    kit_until_count(w.loop, &w.back, 1);
    append(&w, 1, 0);
    w.lsn = journal_end(store_journal(w.store));
    store_drop_large(w.store, id, 1, w.lsn);
    kit_until(w.loop, is_durable, &w);
    w.until_ms = clock_mono_ms() + 100;
    kit_until(w.loop, is_later, &w);
    cr_expect(mem_disk_has(w.disk, name));
    journal_want_sync(store_journal(w.store));
    kit_until(w.loop, has_no_files, &w);
    message_unref(&a.write.message);
    world_fini(&w);
}

/* A shard may be late: by the time it says that its queue has the message, the others' are done
 * with it. What is promised then must be there. */
Test(store, keeps_a_file_that_is_wanted_again_before_it_is_gone)
{
    static struct world w;
    struct written a, b;
    char name[LARGE_NAME_MAX];
    world_init_with(&w, JOURNAL_SYNC_INTERVAL, 600000);
    uint64_t id = store_new_large_id(w.store);
    large_name(id, name);
    write_large(&w, &a, id, 1);
    kit_until_count(w.loop, &w.back, 1);
    append(&w, 1, 0);
    store_drop_large(w.store, id, 1, journal_end(store_journal(w.store)));
    kit_turns(w.loop, 30);
    write_large(&w, &b, id, 1);
    kit_until_count(w.loop, &w.back, 2);
    cr_expect(b.write.is_safe && b.write.lsn > a.write.lsn);
    journal_want_sync(store_journal(w.store));
    w.until_ms = clock_mono_ms() + 300;
    kit_until(w.loop, is_later, &w);
    cr_expect(journal_synced(store_journal(w.store)) >= b.write.lsn);
    cr_expect(mem_disk_has(w.disk, name), "it was promised");
    cr_expect(eq(u64, stats(&w).large_files, 1));
    store_drop_large(w.store, id, 1, 0);
    kit_until(w.loop, has_no_files, &w);
    message_unref(&a.write.message);
    message_unref(&b.write.message);
    world_fini(&w);
}

static bool large_ones_wait(void *arg)
{
    return (store_alarms(((struct world *)arg)->store) & STORE_LARGE_WAITS) != 0;
}

static bool no_large_one_waits(void *arg)
{
    return !large_ones_wait(arg);
}

/* And publishers are to wait meanwhile. */
Test(store, writes_large_files_when_there_is_room_again)
{
    static struct world w;
    struct written a;
    world_init(&w);
    uint64_t id = store_new_large_id(w.store);
    mem_disk_fail(w.disk, MEM_DISK_OPEN, 0, ERR_LIMIT, true);
    write_large(&w, &a, id, 1);
    kit_until(w.loop, large_ones_wait, &w);
    cr_expect(gt(u64, atomic_load(&w.alarms), 0));
    mem_disk_fail(w.disk, MEM_DISK_OPEN, 0, ERR_NONE, false);
    kit_until_count(w.loop, &w.back, 1);
    kit_until(w.loop, no_large_one_waits, &w);
    cr_expect(a.write.is_safe);
    cr_expect(eq(u64, atomic_load(&w.failures), 0));
    message_unref(&a.write.message);
    world_fini(&w);
}

/* What no message refers to goes at the start. */
Test(store, removes_files_of_large_messages_nobody_refers_to)
{
    static struct world w;
    struct written a;
    char name[LARGE_NAME_MAX];
    world_init(&w);
    uint64_t id = store_new_large_id(w.store);
    large_name(id, name);
    write_large(&w, &a, id, 1);
    kit_until_count(w.loop, &w.back, 1);
    message_unref(&a.write.message);
    mem_disk_put(w.disk, "large/other", slice_str("not ours"));
    world_again(&w);
    cr_expect(mem_disk_has(w.disk, name) == false);
    cr_expect(mem_disk_has(w.disk, "large/other"));
    world_fini(&w);
}

/* ---- alarms, failures ---- */

static bool is_low(void *arg)
{
    return (store_alarms(((struct world *)arg)->store) & STORE_DISK_LOW) != 0;
}

static bool is_not_low(void *arg)
{
    return !is_low(arg);
}

static void on_looked(struct mail *mail)
{
    mail->next = NULL;
}

/* So little room may also be too little for the next segment, which is an alarm of its own. */
Test(store, says_when_the_disk_is_low_and_when_it_is_not)
{
    static struct world w;
    world_init(&w);
    w.disk_limit = 1000000000; /* far above a segment: it is the limit alone that is low */
    mem_disk_set_space(w.disk, 999999999, 2000000000);
    struct mail done = { &done, on_looked };
    store_look_at_space(w.store, w.loop, &done);
    kit_until(w.loop, is_low, &w);
    cr_expect(eq(u64, stats(&w).disk_free_bytes, 999999999));
    mem_disk_set_space(w.disk, 1000000000, 2000000000);
    kit_until(w.loop, is_not_low, &w);
    cr_expect(ge(u64, atomic_load(&w.alarms), 2));
    world_fini(&w);
}

static bool has_failed(void *arg)
{
    return atomic_load(&((struct world *)arg)->failures) != 0;
}

Test(store, says_once_that_the_disk_has_failed)
{
    static struct world w;
    world_init(&w);
    append_many(&w, 0, 3);
    mem_disk_fail(w.disk, MEM_DISK_SYNC, 0, ERR_IO, true);
    append(&w, 4, 0);
    kit_until(w.loop, has_failed, &w);
    cr_expect(ne(u32, store_alarms(w.store) & STORE_FAILED, 0));
    cr_expect(eq(u64, atomic_load(&w.failures), 1));
    world_fini(&w);
}
