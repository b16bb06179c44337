#include "base/hash.h"
#include "cluster/meta_convert.h"
#include "cluster/meta_dump.h"
#include "cluster/meta_entry.h"
#include "cluster/meta_look.h"
#include "cluster/meta_node.h"
#include "cluster/meta_save.h"
#include "mem_disk.h"
#include "meta_world.h"
#include "old_log_kit.h"
#include "raft/raft_disk.h"

static struct disk *disk;
static struct err err;
static uint64_t digest, last_id;

static struct meta *fresh(void)
{
    return meta_new(
        &(struct meta_setup){ .hash_seed = 1, .shard_count = 2, .retire = world_retire });
}

static uint64_t total; /* a sum over a dump */

/* Of all but what has another number or another time in a cluster. */
static bool add(void *arg, const struct meta_cmd *cmd, uint64_t first_id)
{
    uint8_t room[4096];
    struct wire_out w = wire_out_over(room, sizeof room);
    struct meta_cmd c = *cmd;
    (void)arg;
    if (c.op == META_KEPT_QUEUE)
        c.kept_queue.epoch = 0;
    meta_wire_put(&w, &c, first_id);
    if (c.op != META_KEPT_NODE && c.op != META_KEPT_ORIGIN && c.op != META_KEPT_STATE)
        total += hash_bytes(wire_out_slice(&w), 0);
    return true;
}

static uint64_t sum_of(struct meta *m)
{
    total = 0;
    meta_publish(m);
    cr_assert(meta_dump(meta_current(m), add, NULL));
    return total;
}

#define GROUPS 40

/* A node of the version before: a snapshot of its first half, and logs. */
static void set_up(void)
{
    struct old_file f;
    struct meta *m = fresh();
    struct meta_result r;
    struct args args;
    meta_result_init(&r);
    disk = mem_disk_new();
    old_file_begin(&f, META_FILE_SNAPSHOT, 2, 5);
    for (int i = 0; i < GROUPS; i++) {
        char name[32];
        snprintf(name, sizeof name, "q%d", i);
        struct meta_item items[2] = { { .is_command = true }, { .is_command = true } };
        items[0].cmd = (struct meta_cmd){ .op = META_VHOST_PUT, .name = S("/") };
        items[0].id = i == 0 ? 1 : 0;
        cr_assert(meta_replay(m, &items[0].cmd, items[0].id, &r) == META_DONE);
        items[1].cmd = q_declare(name);
        items[1].cmd.vhost_id = 1;
        items[1].cmd.queue_declare.durable = true;
        items[1].cmd.queue_declare.args = args_int(&args, "x-max-length", i);
        if (i % 3 == 1) {
            items[1].cmd = q_bind("amq.direct", "k", "q0");
            items[1].cmd.vhost_id = 1;
            items[1].cmd.bind.key = S(name);
        }
        items[1].id = i % 3 == 1 ? 0 : 1000 + 10 * (uint64_t)i;
        cr_assert(meta_replay(m, &items[1].cmd, items[1].id, &r) == META_DONE);
        old_file_add(&f, items, 2, i == GROUPS / 2 ? META_GROUP_LAST : 0);
        if (i != GROUPS / 2)
            continue;
        old_file_end(&f, disk, 0);
        old_file_begin(&f, META_FILE_LOG, 2, 5);
    }
    struct meta_item ids = { .id = 5000 };
    old_file_add(&f, &ids, 1, 0);
    old_file_end(&f, disk, 4096);
    digest = sum_of(m);
    last_id = 4999;
    meta_free(&m);
    meta_result_fini(&r);
}

static void tear_down(void)
{
    disk_free(&disk);
}

TestSuite(meta_convert, .init = set_up, .fini = tear_down);

static void count_one(uint64_t qid, struct slice vhost, struct slice name, void *arg)
{
    (void)vhost;
    (void)name;
    cr_assert(qid != 0);
    ++*(size_t *)arg;
}

static struct meta *load(struct raft_identity *it)
{
    struct raft_found found;
    struct meta *m = fresh();
    cr_assert(raft_identity_read(disk, "rabbit@a", it, &err), "%s", err.text);
    struct raft_disk *d = raft_disk_open(
        &(struct raft_disk_setup){ .disk = disk, .identity = it, .seed = 1 }, &found, &err);
    cr_assert(d != NULL, "%s", err.text);
    cr_assert(not(found.is_new));
    cr_expect(found.verdict == RAFT_DISK_WHOLE && found.count == 0 && found.base == 1 &&
              found.hard.term == 1);
    cr_expect(raft_config_is_voter(&found.snapshot.config, 1));
    struct raft_image_reader *r = raft_disk_open_snapshot(d, &found.snapshot, &err);
    cr_assert(r != NULL, "%s", err.text);
    cr_assert(meta_save_read(r, m, &err), "%s", err.text);
    raft_image_close(&r);
    raft_found_fini(&found);
    raft_disk_free(&d);
    meta_publish(m);
    return m;
}

Test(meta_convert, takes_over_what_was_there)
{
    size_t before = 0, after = 0;
    bool is_made;
    struct raft_identity it;
    cr_assert(meta_look_queues(disk, count_one, &before, &err), "%s", err.text);
    cr_assert(meta_convert(disk, "rabbit@a", 7, &is_made, &err), "%s", err.text);
    cr_expect(is_made);
    cr_expect(not(mem_disk_has(disk, "meta/log-00000002")));
    struct meta *m = load(&it);
    cr_expect(eq(u64, sum_of(m), digest));
    cr_expect(eq(u64, meta_index(m), 1));
    cr_expect(meta_last_id(m) > last_id && meta_last_id(m) >= ((uint64_t)7 << 40) - 1);
    const struct meta_node *n = meta_node_get(meta_current(m), 1);
    cr_assert(n != NULL);
    cr_expect(slice_is(n->name, "rabbit@a"));
    cr_expect(memcmp(meta_current(m)->cluster_id, it.cluster_id, 16) == 0 && it.node == 1);
    meta_free(&m);
    cr_assert(meta_look_queues(disk, count_one, &after, &err), "%s", err.text);
    cr_expect(before == after && before != 0);

    cr_assert(meta_convert(disk, "rabbit@a", 8, &is_made, &err), "%s", err.text);
    cr_expect(not(is_made));
}

Test(meta_convert, where_nothing_was_makes_nothing)
{
    struct disk *empty = mem_disk_new();
    struct raft_identity it;
    bool is_made;
    size_t count = 0;
    cr_assert(meta_convert(empty, "rabbit@a", 1, &is_made, &err), "%s", err.text);
    cr_expect(not(is_made));
    cr_expect(not(raft_identity_read(empty, "rabbit@a", &it, &err)));
    cr_expect(meta_look_queues(empty, count_one, &count, &err) && count == 0);
    disk_free(&empty);
}

/* Wherever it fails or ends, the next try brings all. */
Test(meta_convert, a_failure_costs_nothing)
{
    for (unsigned n = 0; n < 14; n++) {
        enum mem_disk_op op = n % 2 == 0 ? MEM_DISK_SYNC : MEM_DISK_WRITE;
        struct disk *whole = disk;
        struct raft_identity it;
        bool is_made;
        disk = mem_disk_copy(whole);
        mem_disk_fail(disk, op, n / 2, ERR_IO, true);
        (void)!meta_convert(disk, "rabbit@a", 1, &is_made, &err);
        mem_disk_fail(disk, op, 0, ERR_NONE, false);
        cr_assert(meta_convert(disk, "rabbit@a", 2, &is_made, &err), "%u: %s", n, err.text);
        struct meta *m = load(&it);
        cr_assert(sum_of(m) == digest, "%u", n);
        meta_free(&m);
        disk_free(&disk);
        disk = whole;
    }
}

Test(meta_convert, what_is_damaged_stays_as_it_is)
{
    struct raft_identity it;
    bool is_made;
    size_t len, count = 0;
    char log[64];
    unsigned g = 0;
    do
        snprintf(log, sizeof log, "meta/log-%08x", ++g);
    while (!mem_disk_has(disk, log));
    mem_disk_bytes(disk, log, &len)[600] ^= 1;
    cr_assert(not(meta_convert(disk, "rabbit@a", 1, &is_made, &err)));
    cr_expect(strstr(err.text, "older version") != NULL && strstr(err.text, log) != NULL, "%s",
              err.text);
    cr_expect(mem_disk_has(disk, log) && !raft_identity_read(disk, "rabbit@a", &it, &err));
    cr_expect(not(meta_look_queues(disk, count_one, &count, &err)));
}
