#include "cluster/meta_entry.h"
#include "cluster/meta_node.h"
#include "cluster/meta_replace.h"
#include "cluster/meta_save.h"
#include "io/clock.h"
#include "mem_disk.h"
#include "meta_life.h"

static struct disk *disk;
static struct err err;
static const struct raft_snapshot snapshot = { .index = 9, .term = 2, .id = 1, .config_index = 1 };

static void set_up(void)
{
    disk = mem_disk_new();
}

static void tear_down(void)
{
    disk_free(&disk);
}

TestSuite(meta_save, .init = set_up, .fini = tear_down);
TestSuite(meta_replace, .init = set_up, .fini = tear_down);

static struct meta *fresh(void)
{
    return meta_new(
        &(struct meta_setup){ .hash_seed = 1, .shard_count = 2, .retire = world_retire });
}

static const char *name_of(void)
{
    static char name[RAFT_FILE_NAME_ROOM];
    raft_file_snapshot_name(snapshot.index, snapshot.id, name);
    return name;
}

static void save(const struct meta *m)
{
    struct raft_image image = { .disk = disk, .is = snapshot };
    bool ok = raft_image_write(&image, meta_save_fill, (void *)(uintptr_t)meta_current(m), &err);
    cr_assert(ok, "%s", err.text);
}

static struct meta *load(void)
{
    struct meta *m = fresh();
    struct raft_image_reader *r = raft_image_open(disk, name_of(), &err);
    cr_assert(r != NULL, "%s", err.text);
    bool ok = meta_save_read(r, m, &err);
    cr_assert(ok, "%s", err.text);
    raft_image_close(&r);
    return m;
}

static struct meta_result r;

/* As an entry of the log. */
static void enter(struct meta *m, uint64_t index, struct meta_cmd cmd)
{
    struct meta_envelope e = { .cmd = cmd };
    cr_assert(meta_apply_entry(m, index, &e, &r) == META_APPLIED);
}

static void apply(struct meta *m, struct meta_cmd cmd)
{
    cr_assert(meta_apply(m, &cmd, &r) == META_DONE, "%s", r.refusal.text);
}

static uint16_t add_node(struct meta *m, const char *name)
{
    struct meta_cmd c = { .op = META_NODE_ADD, .name = S(name) };
    c.node.type = META_NODE_DISC;
    c.node.place = 77;
    c.node.cluster_address = S("10.0.0.1:25672");
    apply(m, c);
    return (uint16_t)r.id;
}

static void node_is(struct meta *m, enum meta_op op, uint16_t node, uint32_t inc)
{
    struct meta_cmd c = { .op = op };
    c.node.node = node;
    c.node.inc = inc;
    apply(m, c);
}

static uint64_t vhost(struct meta *m)
{
    apply(m, (struct meta_cmd){ .op = META_VHOST_ADD, .name = S("/") });
    return r.id;
}

static uint64_t declare(struct meta *m, uint64_t vh, const char *name, bool durable, uint64_t conn)
{
    struct meta_cmd c = q_declare(name);
    c.vhost_id = vh;
    c.conn = conn != 0 ? conn : 1;
    c.queue_declare.durable = durable;
    c.queue_declare.exclusive = conn != 0;
    apply(m, c);
    return r.id;
}

static void form(struct meta *m)
{
    struct meta_cmd c = { .op = META_CLUSTER_FORM, .name = S("0123456789abcdef") };
    apply(m, c);
}

/* All there is: what does not last, owners, nodes, operations. */
Test(meta_save, holds_the_whole_state)
{
    struct meta *m = fresh();
    meta_result_init(&r);
    form(m);
    uint16_t a = add_node(m, "rabbit@a"), b = add_node(m, "rabbit@b");
    node_is(m, META_NODE_UP, a, 3);
    node_is(m, META_NODE_UP, b, 5);
    uint64_t vh = vhost(m);
    uint64_t conn = (uint64_t)b << 48 | 9;
    (void)declare(m, vh, "lasting", true, 0);
    (void)declare(m, vh, "passing", false, 0);
    (void)declare(m, vh, "mine", false, conn);
    struct meta_cmd x = x_declare("x", "fanout");
    x.vhost_id = vh;
    x.conn = conn;
    x.exchange_declare.auto_delete = true;
    apply(m, x);
    struct meta_cmd bind = q_bind("x", "k", "mine");
    bind.vhost_id = vh;
    bind.conn = conn;
    apply(m, bind);
    bind = q_bind("amq.direct", "k", "lasting");
    bind.vhost_id = vh;
    bind.conn = conn;
    apply(m, bind);
    struct meta_envelope e = { .node = b, .inc = 5, .op = 1 };
    e.cmd = (struct meta_cmd){ .op = META_VHOST_ADD, .name = S("another") };
    cr_assert(meta_apply_entry(m, 44, &e, &r) == META_APPLIED);
    node_is(m, META_NODE_DOWN, a, 3);
    meta_publish(m);

    save(m);
    struct meta *back = load();
    cr_expect(eq(u64, meta_checksum(back), meta_checksum(m)));
    cr_expect(eq(u64, meta_checksum_walk(back), meta_checksum(m)));
    cr_expect(eq(u64, meta_digest(back), meta_digest(m)));
    uint32_t inc;
    uint64_t op;
    cr_expect(meta_last_op(back, b, &inc, &op) && inc == 5 && op == 1);
    cr_expect(eq(u64, meta_index(back), meta_index(m)));
    cr_expect(eq(u64, meta_last_id(back), meta_last_id(m)));

    /* And goes on as the other does. */
    struct meta_cmd gone = { .op = META_OWNER_GONE, .conn = conn, .vhost_id = vh };
    apply(m, gone);
    apply(back, gone);
    node_is(m, META_NODE_UP, a, 4);
    node_is(back, META_NODE_UP, a, 4);
    cr_expect(eq(u64, meta_digest(back), meta_digest(m)));
    meta_free(&back);
    meta_free(&m);
    meta_result_fini(&r);
}

/* ---- one in the place of another ---- */

static size_t count(enum meta_effect_kind kind, uint64_t id)
{
    size_t n = 0;
    for (size_t i = 0; i < r.effect_count; i++) {
        const struct meta_effect *e = &r.effects[i];
        uint64_t is = kind == META_VHOST_DELETED || kind == META_POLICIES_CHANGED ? e->vhost_id
                      : kind == META_USER_DELETED                                 ? e->user_id
                      : kind == META_NODE_LOST                                    ? e->node
                                                                                  : e->qid;
        n += e->kind == kind && (id == 0 || is == id);
    }
    return n;
}

Test(meta_replace, tells_what_differs_and_takes_its_place)
{
    struct meta *m = fresh();
    meta_result_init(&r);
    uint16_t a = add_node(m, "rabbit@a"), b = add_node(m, "rabbit@b");
    node_is(m, META_NODE_UP, a, 1);
    node_is(m, META_NODE_UP, b, 1);
    uint64_t vh = vhost(m);
    apply(m, (struct meta_cmd){ .op = META_VHOST_ADD, .name = S("to go") });
    uint64_t to_go = r.id;
    struct meta_cmd user = user_put("u", "h", "");
    apply(m, user);
    uint64_t uid = r.id;
    uint64_t stays = declare(m, vh, "stays", true, 0);
    uint64_t goes = declare(m, vh, "goes", true, 0);
    meta_publish(m);
    save(m);

    struct meta *next = load();
    struct meta_cmd c = q_delete("goes");
    c.vhost_id = vh;
    apply(next, c);
    uint64_t comes = declare(next, vh, "comes", true, 0);
    apply(next, (struct meta_cmd){ .op = META_VHOST_DELETE, .name = S("to go") });
    apply(next, user_cmd(META_USER_DELETE, "u"));
    c = policy_put("p", "^s", "{\"max-length\":5}", 1);
    c.vhost_id = vh;
    apply(next, c);
    node_is(next, META_NODE_DOWN, b, 1);

    meta_compare(meta_current(m), next, false, &r);
    cr_expect(count(META_QUEUE_DELETED, goes) == 1 && count(META_QUEUE_DELETED, 0) == 1);
    cr_expect(count(META_QUEUE_CREATED, comes) == 1 && count(META_QUEUE_CREATED, 0) == 1);
    cr_expect(count(META_VHOST_DELETED, to_go) == 1 && count(META_USER_DELETED, uid) == 1);
    cr_expect(count(META_POLICIES_CHANGED, vh) == 1 && count(META_NODE_LOST, b) == 1);
    cr_expect(count(META_NODES_CHANGED, 0) == 1);
    cr_expect(eq(sz, r.effect_count, 7));

    uint64_t digest = meta_digest(next), number = meta_current(m)->number;
    meta_replace(m, &next);
    cr_expect(next == NULL && meta_digest(m) == digest);
    cr_expect(meta_queue_get(meta_current(m), goes) != NULL, "not shown yet");
    meta_publish(m);
    const struct meta_version *v = meta_current(m);
    cr_expect(v->number > number && v->routes == v->number && v->rights == v->number);
    cr_expect(meta_queue_get(v, goes) == NULL && meta_queue_get(v, comes) != NULL);

    /* It goes on, on the nodes of the other. */
    c = q_delete("stays");
    c.vhost_id = vh;
    apply(m, c);
    (void)declare(m, vh, "again", true, 0);
    meta_publish(m);
    cr_expect(meta_queue_get(meta_current(m), stays) == NULL);
    cr_expect(eq(u64, meta_checksum(m), meta_checksum_walk(m)));

    /* By another cluster's: nothing is the same. */
    next = load();
    meta_compare(meta_current(m), next, true, &r);
    cr_expect(count(META_QUEUE_DELETED, 0) == 2 && count(META_QUEUE_CREATED, 0) == 2);
    cr_expect(eq(sz, count(META_VHOST_DELETED, 0), 1));
    meta_replace(m, &next);
    meta_publish(m);
    meta_free(&m);
    meta_result_fini(&r);
}

Test(meta_replace, by_what_is_the_same_tells_nothing)
{
    struct meta *m = fresh();
    meta_result_init(&r);
    (void)declare(m, vhost(m), "q", true, 0);
    meta_publish(m);
    save(m);
    struct meta *next = load();
    meta_compare(meta_current(m), next, false, &r);
    cr_expect(eq(sz, r.effect_count, 0));
    meta_replace(m, &next);
    meta_publish(m);
    meta_free(&m);
    meta_result_fini(&r);
}

/* Commands by chance; now and then the state is saved, read and put in its own place. */
Test(meta_replace, is_as_good_as_the_one_before)
{
    struct life life, *l = &life;
    struct meta *m = fresh(), *twin = fresh();
    meta_result_init(&r);
    rng_init(&l->rng, 5);
    for (unsigned i = 1; i < 4000; i++) {
        struct args args;
        enter(m, i, (struct meta_cmd){ .op = META_VHOST_ADD, .name = S("v1") });
        uint64_t vh = r.id;
        enter(twin, i, (struct meta_cmd){ .op = META_VHOST_ADD, .name = S("v1") });
        struct meta_cmd c = rng_below(&l->rng, 4) != 0 ? life_topology(l, &args) : life_rights(l);
        if (rng_below(&l->rng, 40) == 0)
            c = (struct meta_cmd){ .op = META_OWNER_GONE };
        c.vhost_id = vh;
        c.conn = 1 + rng_below(&l->rng, 3);
        enter(m, i, c);
        enter(twin, i, c);
        if (rng_below(&l->rng, 20) != 0)
            continue;
        meta_publish(m);
        meta_publish(twin);
        save(m);
        struct meta *next = load();
        cr_assert(meta_digest(next) == meta_digest(twin), "step %u", i);
        if (rng_below(&l->rng, 2) == 0)
            meta_replace(m, &next);
        else
            meta_free(&next);
        meta_publish(m);
        cr_assert(meta_digest(m) == meta_digest(twin) && meta_checksum(m) == meta_checksum(twin));
    }
    meta_free(&m);
    meta_free(&twin);
    meta_result_fini(&r);
}

/* ---- what is damaged ---- */

Test(meta_save, a_snapshot_that_is_damaged_is_not_read)
{
    struct meta *m = fresh();
    meta_result_init(&r);
    (void)declare(m, vhost(m), "q", true, 0);
    meta_publish(m);
    save(m);
    uint64_t digest = meta_digest(m);
    size_t len;
    (void)mem_disk_bytes(disk, name_of(), &len);
    for (size_t i = 0; i < len; i += 7) {
        mem_disk_bytes(disk, name_of(), &len)[i] ^= 16;
        struct raft_image_reader *image = raft_image_open(disk, name_of(), &err);
        struct meta *back = fresh();
        if (image != NULL && meta_save_read(image, back, &err))
            cr_assert(meta_digest(back) == digest, "octet %zu", i);
        raft_image_close(&image);
        meta_free(&back);
        mem_disk_bytes(disk, name_of(), &len)[i] ^= 16;
    }
    meta_free(&m);
    meta_result_fini(&r);
}

/* One that joins gets its number first, and then all that the others have. */
Test(meta_replace, a_node_that_has_just_got_its_number_takes_a_whole_state)
{
    struct world w, from;
    world_init(&w, 1);
    world_init(&from, 1);
    must(&from, q_declare("q"));
    meta_set_node(w.meta, 4);
    meta_replace(w.meta, &from.meta);
    meta_publish(w.meta);
    cr_expect(eq(u16, now(&w)->self, 4));
    cr_expect(eq(u64, meta_stats(w.meta).queue_count, 1));
    meta_result_fini(&from.r);
    world_fini(&w);
}
