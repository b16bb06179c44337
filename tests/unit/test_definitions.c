#include "definitions.h"
#include "io/epoch.h"
#include "io/loop.h"
#include "io_kit.h"
#include "mem_disk.h"
#include "meta_world.h"

TestSuite(definitions, .timeout = 60);

struct node {
    struct loop *loop;
    struct epoch *epoch;
    struct disk *disk;
    struct meta *meta;
    struct meta_result r;
    struct definitions *d;
    uint64_t vhost;
    size_t safe;
    size_t failed;
    struct err err;
};

static void on_safe(void *arg)
{
    struct node *n = arg;
    meta_publish(n->meta);
    n->safe++;
}

static void on_failed(const struct err *err, void *arg)
{
    struct node *n = arg;
    n->err = *err;
    n->failed++;
}

static void retire(void *arg, void *ptr, void (*free_fn)(void *ptr))
{
    epoch_retire(arg, ptr, free_fn);
}

static uint8_t store_id[16] = "one store's id!";
static uint32_t starts = 1;

static bool node_open(struct node *n, struct disk *disk, bool *is_new)
{
    *n = (struct node){ .loop = kit_loop_new(), .epoch = epoch_new(), .disk = disk };
    n->meta = meta_new(&(struct meta_setup){
        .hash_seed = 1, .shard_count = 1, .retire = retire, .retire_arg = n->epoch });
    meta_result_init(&n->r);
    n->d = definitions_open(&(struct definitions_setup){ .loop = n->loop,
                                                         .meta = n->meta,
                                                         .epoch = n->epoch,
                                                         .disk = disk,
                                                         .store_id = store_id,
                                                         .starts = starts,
                                                         .node = "n",
                                                         .slow_ms = 60000,
                                                         .on_safe = on_safe,
                                                         .on_failed = on_failed,
                                                         .arg = n },
                            is_new, &n->err);
    return n->d != NULL;
}

static void node_close(struct node *n)
{
    if (n->d != NULL)
        definitions_stop(n->d);
    while (loop_settle(n->loop))
        ;
    definitions_free(&n->d);
    loop_free(&n->loop);
    meta_result_fini(&n->r);
    meta_free(&n->meta);
    epoch_free(&n->epoch);
}

static void apply(struct node *n, struct meta_cmd cmd)
{
    cmd.vhost_id = n->vhost;
    cr_assert(meta_apply(n->meta, &cmd, &n->r) == META_DONE);
    definitions_add(n->d, &cmd, &n->r);
}

static void make_vhost(struct node *n)
{
    apply(n, (struct meta_cmd){ .op = META_VHOST_ADD, .name = S("/") });
    n->vhost = n->r.id;
}

static void add_queues(struct node *n, int from, int to)
{
    char name[300];
    for (int i = from; i < to; i++) {
        struct meta_cmd c = q_declare(name);
        snprintf(name, sizeof name, "%0200d", i);
        c.name = S(name);
        c.queue_declare.durable = true;
        apply(n, c);
    }
}

static void send_and_wait(struct node *n)
{
    size_t want = n->safe + 1;
    definitions_send(n->d);
    cr_expect(definitions_are_on_their_way(n->d));
    kit_until_count(n->loop, &n->safe, want);
    cr_expect(not(definitions_are_on_their_way(n->d)));
}

static uint64_t queue_count(const struct node *n)
{
    return meta_current(n->meta)->queues.count;
}

Test(definitions, what_is_safe_is_there_again)
{
    struct disk *disk = mem_disk_new();
    struct node n;
    bool is_new;
    cr_assert(node_open(&n, disk, &is_new) && is_new);
    make_vhost(&n);
    cr_assert(definitions_send_now(n.d, &n.err));
    cr_expect(eq(sz, n.safe, 1));
    add_queues(&n, 0, 3);
    cr_expect(eq(u64, queue_count(&n), 0), "nobody sees it before it is safe");
    send_and_wait(&n);
    cr_expect(eq(u64, queue_count(&n), 3));
    node_close(&n);
    cr_assert(node_open(&n, disk, &is_new) && !is_new);
    cr_expect(eq(u64, queue_count(&n), 3));
    node_close(&n);
    disk_free(&disk);
}

/* Whoever came while an empty group was on its way waits for it to be back. */
Test(definitions, it_is_told_when_the_last_group_was_closed)
{
    struct disk *disk = mem_disk_new();
    struct node n;
    bool is_new;
    cr_assert(node_open(&n, disk, &is_new));
    make_vhost(&n);
    send_and_wait(&n);
    kit_until_count(n.loop, &n.safe, 2);
    cr_expect(not(definitions_are_on_their_way(n.d)));
    node_close(&n);
    disk_free(&disk);
}

/* The threads are gone, the loop does not run: a group is made safe all the same. */
Test(definitions, a_group_at_the_end_is_not_lost)
{
    struct disk *disk = mem_disk_new();
    struct node n;
    bool is_new;
    cr_assert(node_open(&n, disk, &is_new));
    make_vhost(&n);
    add_queues(&n, 0, 1);
    definitions_send(n.d);
    definitions_stop(n.d);
    while (loop_settle(n.loop))
        ;
    cr_expect(eq(sz, n.safe, 1));
    add_queues(&n, 1, 2);
    definitions_send(n.d); /* on_safe comes at once */
    cr_expect(eq(sz, n.safe, 2));
    node_close(&n);
    cr_assert(node_open(&n, disk, &is_new));
    cr_expect(eq(u64, queue_count(&n), 2));
    node_close(&n);
    disk_free(&disk);
}

static bool has_snapshot(void *arg)
{
    return mem_disk_has(arg, "meta/snapshot-00000002") && !mem_disk_has(arg, "meta/log-00000001");
}

/* While it is written, from a version that readers have left long ago, commits go on. */
Test(definitions, a_snapshot_is_written_beside_commits)
{
    struct disk *disk = mem_disk_new();
    struct node n;
    bool is_new;
    cr_assert(node_open(&n, disk, &is_new));
    make_vhost(&n);
    for (int i = 0; i < 6000; i += 100) {
        add_queues(&n, i, i + 100);
        send_and_wait(&n);
        epoch_reclaim(n.epoch);
    }
    kit_until(n.loop, has_snapshot, disk);
    node_close(&n);
    cr_assert(node_open(&n, disk, &is_new) && !is_new);
    cr_expect(eq(u64, queue_count(&n), 6000));
    node_close(&n);
    disk_free(&disk);
}

Test(definitions, a_failed_sync_is_told_once_and_nothing_is_shown)
{
    struct disk *disk = mem_disk_new();
    struct node n;
    bool is_new;
    cr_assert(node_open(&n, disk, &is_new));
    make_vhost(&n);
    send_and_wait(&n);
    mem_disk_fail(disk, MEM_DISK_SYNC, 0, ERR_IO, true);
    add_queues(&n, 0, 1);
    definitions_send(n.d);
    kit_until_count(n.loop, &n.failed, 1);
    kit_turns(n.loop, 20);
    cr_expect(n.failed == 1 && n.err.code == ERR_IO && n.safe == 1);
    cr_expect(eq(u64, queue_count(&n), 0));
    node_close(&n);
    disk_free(&disk);
}

/* Messages are found by the ids of their queues: definitions of another store would lose them. */
Test(definitions, of_another_store_are_refused)
{
    struct disk *disk = mem_disk_new();
    struct node n;
    bool is_new;
    cr_assert(node_open(&n, disk, &is_new));
    make_vhost(&n);
    cr_assert(definitions_send_now(n.d, &n.err));
    node_close(&n);
    store_id[3] ^= 1;
    cr_assert(not(node_open(&n, disk, &is_new)));
    cr_expect(eq(int, n.err.code, ERR_REFUSED));
    cr_expect(strstr(n.err.text, "another store") != NULL, "%s", n.err.text);
    node_close(&n);
    store_id[3] ^= 1;
    cr_assert(node_open(&n, disk, &is_new), "%s", n.err.text);
    cr_expect(eq(u64, meta_current(n.meta)->vhosts.count, 1));
    node_close(&n);
    disk_free(&disk);
}

/* That is the way out when they are damaged; what the journal still has of the old queues must not
 * be taken for messages of new ones. */
Test(definitions, that_were_taken_away_do_not_give_their_ids_again)
{
    uint64_t last = 0;
    for (starts = 1; starts < 5; starts++) {
        struct disk *disk = mem_disk_new(); /* nothing is left */
        struct node n;
        bool is_new;
        cr_assert(node_open(&n, disk, &is_new) && is_new);
        make_vhost(&n);
        cr_expect(gt(u64, n.vhost, last));
        add_queues(&n, 0, 10);
        last = n.r.id;
        cr_assert(definitions_send_now(n.d, &n.err));
        node_close(&n);
        disk_free(&disk);
    }
}
