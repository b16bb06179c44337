#include "cluster/meta_convert.h"
#include "cluster/meta_look.h"
#include "cluster/meta_node.h"
#include "cluster/meta_save.h"
#include "mem_disk.h"
#include "meta_life.h"
#include "raft/raft_disk.h"

static struct disk *disk;
static struct life *l;
static struct err err;
static uint64_t digest, last_id;

/* A node of the version before. */
static void set_up(void)
{
    disk = mem_disk_new();
    l = mem_zalloc(sizeof *l);
    l->least_bytes = 4096;
    cr_assert(life_begin(l, disk, 3), "%s", l->err.text);
    for (int i = 0; i < 300; i++) {
        life_do_something(l);
        if (i % 3 == 0)
            cr_assert(life_commit(l), "%s", l->err.text);
        if (l->has_snapshot)
            cr_assert(life_write_snapshot(l), "%s", l->err.text);
    }
    cr_assert(life_commit(l));
    digest = meta_digest_lasting(l->meta);
    last_id = meta_last_id(l->meta);
    life_end(l);
}

static void tear_down(void)
{
    mem_free(l);
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
    struct meta *m =
        meta_new(&(struct meta_setup){ .hash_seed = 1, .shard_count = 2, .retire = world_retire });
    cr_assert(raft_identity_read(disk, "rabbit@a", it, &err), "%s", err.text);
    struct raft_disk *d = raft_disk_open(
        &(struct raft_disk_setup){ .disk = disk, .identity = it, .seed = 1 }, &found, &err);
    cr_assert(d != NULL, "%s", err.text);
    cr_assert(not(found.is_new));
    cr_expect(found.verdict == RAFT_DISK_WHOLE && found.count == 0 && found.base == 1);
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
    cr_expect(not(mem_disk_has(disk, "meta/log-00000001")));
    struct meta *m = load(&it);
    cr_expect(eq(u64, meta_digest_lasting(m), digest));
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
        cr_assert(meta_digest_lasting(m) == digest, "%u", n);
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
