#include "base/check.h"
#include "base/mem.h"
#include "io_kit.h"
#include "mem_disk.h"
#include "raft/raft_keeper.h"
#include "raft_life.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static struct disk *disk;
static struct loop *loop;
static struct raft_keeper *k;
static struct raft_found found;
static struct err err;
static uint64_t written;
static unsigned failures;
static struct raft_taken taken;
static struct raft_chunk chunk;
static struct buf *chunk_bytes;
static struct raft_snapshot saved;
static unsigned saves;
static uint64_t content;
static unsigned loads;

static void on_written(uint64_t number, void *arg)
{
    (void)arg;
    cr_assert(number > written);
    written = number;
}

static void on_failed(const struct err *why, void *arg)
{
    (void)arg;
    (void)why;
    failures++;
}

static void on_chunk_read(const struct raft_chunk *c, void *arg)
{
    (void)arg;
    chunk = *c;
    buf_unref(&chunk_bytes);
    chunk_bytes = c->bytes != NULL ? buf_ref(c->bytes) : NULL;
}

static void on_chunk_taken(const struct raft_taken *t, void *arg)
{
    (void)arg;
    taken = *t;
}

static void on_saved(const struct raft_snapshot *is, void *arg)
{
    (void)arg;
    if (is != NULL)
        saved = *is;
    saves++;
}

/* As whoever waits for nothing else may do. */
static void on_settled(void *arg)
{
    (void)arg;
    cr_assert(raft_keeper_is_settled(k));
    raft_keeper_free(&k);
}

static void set_up(void)
{
    disk = mem_disk_new();
    loop = kit_loop_new();
}

static void tear_down(void)
{
    buf_unref(&chunk_bytes);
    loop_free(&loop);
    disk_free(&disk);
}

TestSuite(raft_keeper, .init = set_up, .fini = tear_down, .timeout = 300);

static void begin(void)
{
    struct raft_identity it = { .node = 1, .name = "rabbit@a", .cluster_id = { 7 } };
    it.has_log = mem_disk_has(disk, "raft/log-00000001");
    k = raft_keeper_open(&(struct raft_keeper_setup){ .loop = loop,
                                                      .disk = disk,
                                                      .identity = &it,
                                                      .name = "test",
                                                      .slow_ms = 60000,
                                                      .least_bytes = 4096,
                                                      .on_written = on_written,
                                                      .on_failed = on_failed,
                                                      .on_chunk_read = on_chunk_read,
                                                      .on_chunk_taken = on_chunk_taken,
                                                      .on_settled = on_settled },
                         &found, &err);
    cr_assert(k != NULL, "%s", err.text);
}

static void end(void)
{
    raft_keeper_stop(k);
    while (k != NULL && !raft_keeper_is_settled(k))
        kit_turns(loop, 1);
    raft_keeper_free(&k);
    raft_found_fini(&found);
}

static struct raft_write *write_of(uint64_t number, uint64_t index)
{
    struct raft_write *w = mem_zalloc(sizeof *w);
    w->number = number;
    w->hard.term = 1;
    w->has_hard = number == 1;
    w->entries = mem_zalloc(sizeof *w->entries);
    w->count = 1;
    w->entries[0] = (struct raft_entry){ .index = index, .term = 1, .kind = RAFT_COMMAND };
    w->entries[0].bytes = buf_copy(slice_str("a command"));
    return w;
}

static void write_to(uint64_t last)
{
    for (uint64_t i = written + 1; i <= last; i++) {
        struct raft_write *w = write_of(i, i);
        raft_keeper_write(k, &w);
        cr_assert(w == NULL);
    }
    while (written < last)
        kit_turns(loop, 1);
}

static bool load(struct raft_image_reader *r, void *arg, struct err *why)
{
    (void)arg;
    (void)why;
    content = rlife_content(r);
    return true;
}

static void on_loaded(bool ok, const struct err *why, void *arg)
{
    (void)arg;
    cr_assert(ok, "%s", why->text);
    loads++;
}

Test(raft_keeper, tells_when_what_was_on_its_way_at_its_stop_is_back)
{
    begin();
    for (uint64_t given = 0; raft_keeper_is_settled(k);) { /* some are there before one looks */
        if (written == given) {
            struct raft_write *w = write_of(given + 1, given + 1);
            raft_keeper_write(k, &w);
            given++;
        }
        if (raft_keeper_is_settled(k))
            kit_turns(loop, 1);
    }
    uint64_t before = written;
    raft_keeper_stop(k);
    while (k != NULL)
        kit_turns(loop, 1);
    raft_found_fini(&found);
    cr_expect(eq(u64, written, before), "nobody is told of what became of it");
}

Test(raft_keeper, makes_writes_safe_in_order)
{
    begin();
    write_to(20);
    write_to(50);
    end();
    written = 0;
    begin();
    cr_expect(eq(sz, found.count, 50));
    end();
    cr_expect(eq(uint, failures, 0));
}

/* One snapshot is written, read piece by piece, taken by another node, installed and loaded there.
 */
Test(raft_keeper, a_snapshot_goes_from_one_to_another)
{
    static uint64_t sum = 4711;
    begin();
    while (!raft_keeper_wants_snapshot(k, written))
        write_to(written + 1);
    struct raft_snapshot is = { .index = written, .term = 1, .config_index = 1 };
    cr_assert(raft_config_set(&is.config, 1, RAFT_VOTER));
    raft_keeper_save(k, &is, rlife_fill, on_saved, &sum);
    while (saves == 0)
        kit_turns(loop, 1);
    cr_assert(saved.index == is.index && saved.bytes > 512);

    raft_keeper_need(k, 5, 0, 0, 0);
    while (chunk_bytes == NULL)
        kit_turns(loop, 1);
    cr_expect(chunk.node == 5 && chunk.offset == 0 && chunk.snapshot.id == saved.id);
    end();

    struct disk *first = disk;
    disk = mem_disk_new();
    written = 0;
    begin();
    struct raft_msg *m = mem_zalloc(sizeof *m);
    m->kind = RAFT_MSG_INSTALL;
    m->install.snapshot = saved;
    m->install.chunk = buf_ref(chunk_bytes);
    raft_keeper_take(k, &m);
    while (taken.index == 0)
        kit_turns(loop, 1);
    cr_assert(taken.is_complete && taken.next == saved.bytes);
    struct raft_write *w = mem_zalloc(sizeof *w);
    w->number = 1;
    w->has_install = true;
    w->install = saved;
    w->truncate_from = saved.index + 1;
    raft_keeper_write(k, &w);
    raft_keeper_load(k, &saved, load, on_loaded, NULL);
    while (loads == 0 || written == 0)
        kit_turns(loop, 1);
    cr_expect(eq(u64, content, sum));
    end();
    written = 0;
    begin();
    cr_expect(eq(u64, found.snapshot.index, saved.index));
    end();
    disk_free(&first);
    cr_expect(eq(uint, failures, 0));
}

Test(raft_keeper, there_may_be_no_snapshot)
{
    begin();
    chunk.node = 0;
    raft_keeper_need(k, 5, 0, 0, 0);
    while (chunk.node == 0)
        kit_turns(loop, 1);
    cr_expect(chunk.node == 5 && chunk.snapshot.index == 0 && chunk_bytes == NULL);
    end();
}

Test(raft_keeper, tells_of_a_failure_once)
{
    begin();
    write_to(1);
    mem_disk_fail(disk, MEM_DISK_SYNC, 0, ERR_IO, false);
    for (uint64_t i = 2; i < 5; i++) {
        struct raft_write *w = write_of(i, i);
        raft_keeper_write(k, &w);
        while (failures == 0)
            kit_turns(loop, 1);
    }
    end();
    cr_expect(failures == 1 && written == 1);
}

/* When nothing comes for a while. */
Test(raft_keeper, closes_the_last_group)
{
    begin();
    write_to(3);
    uint64_t groups = raft_keeper_stats(k).groups;
    while (raft_keeper_stats(k).groups == groups)
        kit_turns(loop, 1);
    end();
    cr_expect(eq(uint, failures, 0));
}
