#include "base/hash.h"
#include "cluster/meta_look.h"
#include "disk_kit.h"
#include "io_kit.h"
#include "mem_disk.h"
#include "meta_life.h"

static struct disk *disk;
static struct life *l;

static void set_up(void)
{
    disk = mem_disk_new();
    l = mem_zalloc(sizeof *l);
}

static void tear_down(void)
{
    mem_free(l);
    disk_free(&disk);
}

TestSuite(meta_log, .init = set_up, .fini = tear_down);

static void begin(void)
{
    cr_assert(life_begin(l, disk, 1), "%s", l->err.text);
}

static uint64_t vhost(void)
{
    return life_some_vhost(l);
}

static void apply(struct meta_cmd c)
{
    c.conn = 1;
    cr_assert(life_apply(l, &c) == META_DONE, "%s", l->r.refusal.text);
}

static void commit(void)
{
    cr_assert(life_commit(l), "%s", l->err.text);
}

static struct meta_cmd durable_queue(uint64_t in, const char *name)
{
    struct meta_cmd c = q_declare(name);
    c.vhost_id = in;
    c.queue_declare.durable = true;
    return c;
}

/* A queue in a group of its own; its id. */
static uint64_t add_queue(uint64_t in, const char *name)
{
    apply(durable_queue(in, name));
    uint64_t qid = l->r.id;
    commit();
    return qid;
}

static void again(void)
{
    life_end(l);
    begin();
}

static bool has_queue(uint64_t qid)
{
    return meta_queue_get(meta_current(l->meta), qid) != NULL;
}

static struct meta_cmd long_queue(uint64_t in, const char *name, uint8_t *room, size_t octets)
{
    struct wire_out w = wire_out_over(room, octets);
    struct meta_cmd c = durable_queue(in, name);
    wire_put_shortstr(&w, S("x"));
    wire_put_u8(&w, 'S');
    wire_put_u32(&w, (uint32_t)(octets - 7));
    c.queue_declare.args = slice_of(room, octets);
    return c;
}

/* ---- what comes back ---- */

Test(meta_log, begins_with_nothing)
{
    begin();
    cr_expect(l->restored.generation == 0 && l->restored.command_count == 0);
    cr_expect(mem_disk_has(disk, "meta/log-00000001"));
    again();
    cr_expect(l->restored.generation == 1 && l->restored.command_count == 0);
    life_end(l);
}

Test(meta_log, brings_back_what_lasts_with_its_ids_and_nothing_else)
{
    begin();
    uint64_t vh = vhost();
    uint64_t qid = add_queue(vh, "lasting");
    struct meta_cmd mine = q_declare("mine");
    mine.vhost_id = vh;
    mine.queue_declare.exclusive = true;
    apply(mine);
    uint64_t gone = l->r.id;
    cr_expect(not(meta_log_has_gathered(l->log)));
    uint64_t later = add_queue(vh, "later");
    uint64_t digest = meta_digest_lasting(l->meta);
    again();
    cr_expect(eq(u64, meta_digest_lasting(l->meta), digest));
    cr_expect(has_queue(qid) && has_queue(later) && !has_queue(gone));
    life_end(l);
}

Test(meta_log, forgets_what_was_not_committed)
{
    begin();
    uint64_t vh = vhost();
    uint64_t qid = add_queue(vh, "safe");
    apply(durable_queue(vh, "not yet"));
    uint64_t digest = l->safe;
    again();
    cr_expect(has_queue(qid) && meta_digest_lasting(l->meta) == digest);
    life_end(l);
}

Test(meta_log, never_gives_an_id_again)
{
    begin();
    uint64_t vh = vhost();
    commit();
    uint64_t last = 0;
    for (int i = 0; i < 5; i++) {
        struct meta_cmd c = q_declare("transient"); /* in no log */
        c.vhost_id = vh;
        apply(c);
        cr_expect(l->r.id > last, "start %d", i);
        last = l->r.id;
        again();
    }
    life_end(l);
}

/* A binding that does not last keeps an exchange whose lasting ones are gone; and what goes with
 * such a binding is gone after a restart too. */
Test(meta_log, auto_delete_exchanges_go_when_they_went)
{
    begin();
    uint64_t vh = vhost();
    struct meta_cmd x = x_declare("x", "fanout");
    x.exchange_declare.durable = x.exchange_declare.auto_delete = true;
    x.vhost_id = vh;
    apply(x);
    apply(durable_queue(vh, "lasting"));
    struct meta_cmd t = q_declare("transient");
    t.vhost_id = vh;
    apply(t);
    struct meta_cmd b = q_bind("x", "", "lasting");
    b.vhost_id = vh;
    apply(b);
    b = q_bind("x", "", "transient");
    b.vhost_id = vh;
    apply(b);
    struct meta_cmd gone = q_delete("lasting");
    gone.vhost_id = vh;
    apply(gone);
    commit();
    l->disk = NULL;
    life_end(l);
    struct disk *copy = mem_disk_copy(disk);
    cr_assert(life_begin(l, copy, 2), "%s", l->err.text);
    const struct meta_version *v = meta_current(l->meta);
    cr_expect(meta_exchange_find(v, meta_vhost_get(v, vh), S("x")) != NULL, "it was there");
    /* The same in one life, with the transient one going last. */
    apply(t);
    apply(b);
    gone = q_delete("transient");
    gone.vhost_id = vh;
    apply(gone);
    cr_expect(meta_log_has_gathered(l->log), "a lasting exchange went");
    commit();
    life_end(l);
    cr_assert(life_begin(l, copy, 3), "%s", l->err.text);
    v = meta_current(l->meta);
    cr_expect(meta_exchange_find(v, meta_vhost_get(v, vh), S("x")) == NULL);
    life_end(l);
    disk_free(&copy);
}

static void count_one(uint64_t qid, struct slice in, struct slice name, void *arg)
{
    cr_expect(qid != 0 && in.len == 2 && (slice_is(name, "a") || slice_is(name, "b")));
    ++*(size_t *)arg;
}

Test(meta_log, lists_the_queues)
{
    begin();
    uint64_t vh = vhost();
    add_queue(vh, "a");
    add_queue(vh, "b");
    life_end(l);
    struct err err;
    size_t count = 0;
    cr_assert(meta_look_queues(disk, count_one, &count, &err));
    cr_expect(eq(sz, count, 2));
    struct disk *nothing = mem_disk_new();
    cr_expect(meta_look_queues(nothing, count_one, &count, &err));
    cr_expect(eq(sz, count, 2));
    disk_free(&nothing);
}

/* ---- histories by chance ---- */

/* Groups of any size, snapshots at any time, written at once or later, and restarts: every time the
 * same comes back. */
Test(meta_log, brings_back_histories_by_chance, .timeout = 120)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct disk *d = mem_disk_new();
        l->least_bytes = 2000 + seed * 500;
        cr_assert(life_begin(l, d, seed));
        uint64_t snapshots = 0;
        for (int step = 0; step < 1500; step++) {
            life_do_something(l);
            if (rng_below(&l->rng, 4) == 0)
                commit();
            if (l->has_snapshot && rng_below(&l->rng, 8) == 0) {
                cr_assert(life_write_snapshot(l), "%s", l->err.text);
                snapshots++;
            }
            if (rng_below(&l->rng, 150) != 0)
                continue;
            commit();
            uint64_t digest = l->safe;
            life_end(l);
            cr_assert(life_begin(l, d, seed + (uint64_t)step), "seed %d: %s", (int)seed,
                      l->err.text);
            cr_assert(eq(u64, meta_digest_lasting(l->meta), digest), "seed %d step %d", (int)seed,
                      step);
        }
        cr_expect(snapshots > 0, "seed %d", (int)seed);
        life_end(l);
        disk_free(&d);
    }
}

/* ---- files that come and go ---- */

static void grow(uint64_t vh, int from, int to)
{
    char name[16];
    for (int i = from; i < to; i++) {
        snprintf(name, sizeof name, "queue-%d", i);
        add_queue(vh, name);
    }
}

Test(meta_log, a_snapshot_replaces_what_is_older)
{
    l->least_bytes = 4000;
    begin();
    uint64_t vh = vhost();
    grow(vh, 0, 60);
    cr_assert(l->has_snapshot);
    cr_expect(mem_disk_has(disk, "meta/log-00000001") && mem_disk_has(disk, "meta/log-00000002"));
    cr_assert(life_write_snapshot(l), "%s", l->err.text);
    cr_expect(not(mem_disk_has(disk, "meta/log-00000001")));
    cr_expect(mem_disk_has(disk, "meta/snapshot-00000002"));
    uint64_t digest = meta_digest_lasting(l->meta);
    again();
    cr_expect(l->restored.snapshot == 2 && meta_digest_lasting(l->meta) == digest);
    life_end(l);
}

Test(meta_log, an_unfinished_snapshot_is_nothing)
{
    l->least_bytes = 4000;
    begin();
    uint64_t vh = vhost();
    grow(vh, 0, 60);
    mem_disk_put(disk, "meta/snapshot.new", S("half of one"));
    mem_disk_put(disk, "meta/log.new", S("half of one"));
    uint64_t digest = meta_digest_lasting(l->meta);
    again();
    cr_expect(meta_digest_lasting(l->meta) == digest && l->restored.snapshot == 0);
    cr_expect(not(mem_disk_has(disk, "meta/snapshot.new")));
    cr_expect(not(mem_disk_has(disk, "meta/log.new")));
    grow(vh, 60, 61); /* the next one is due at once */
    cr_assert(l->has_snapshot && life_write_snapshot(l));
    life_end(l);
}

/* ---- damage ---- */

static void refuses(const char *file, const char *what)
{
    cr_assert(not(life_begin(l, disk, 9)), "%s", what);
    cr_expect(strstr(l->err.text, file) != NULL, "%s", l->err.text);
    cr_expect(strstr(l->err.text, what) != NULL, "%s", l->err.text);
    life_end(l);
}

Test(meta_log, damage_before_the_last_group_is_refused_with_file_and_octet)
{
    begin();
    uint64_t vh = vhost();
    add_queue(vh, "one");
    uint64_t at = META_FILE_HEAD_BYTES + l->restored.log_bytes;
    add_queue(vh, "two");
    add_queue(vh, "three");
    uint64_t digest = l->safe;
    life_end(l);
    size_t len;
    uint8_t *bytes = mem_disk_bytes(disk, "meta/log-00000001", &len);
    size_t used = len;
    while (used > 0 && bytes[used - 1] == 0)
        used--;
    size_t refused = 0;
    for (size_t i = (size_t)at; i + 160 < used; i += 13) {
        bytes[i] ^= 0x10;
        struct disk *bad = mem_disk_copy(disk);
        if (life_begin(l, bad, 9)) { /* between two groups nothing stands */
            cr_expect(eq(u64, meta_digest_lasting(l->meta), digest), "octet %zu", i);
        } else {
            cr_expect(strstr(l->err.text, "meta/log-00000001 is damaged at octet ") != NULL, "%s",
                      l->err.text);
            cr_expect(strstr(l->err.text, "backup") != NULL, "%s", l->err.text);
            refused++;
        }
        life_end(l);
        disk_free(&bad);
        bytes[i] ^= 0x10;
    }
    cr_expect(refused > 10);
}

Test(meta_log, a_torn_end_is_cut_and_the_log_goes_on)
{
    begin();
    uint64_t vh = vhost();
    uint64_t one = add_queue(vh, "one");
    uint64_t digest = l->safe;
    uint64_t torn = add_queue(vh, "torn");
    life_end(l);
    size_t len;
    uint8_t *bytes = mem_disk_bytes(disk, "meta/log-00000001", &len);
    while (len > 0 && bytes[len - 1] == 0)
        len--;
    bytes[len - 3] ^= 1;
    begin();
    cr_expect(has_queue(one) && !has_queue(torn) && l->restored.torn_bytes > 0);
    cr_expect(eq(u64, meta_digest_lasting(l->meta), digest));
    uint64_t after = add_queue(vh, "after");
    again();
    cr_expect(has_queue(one) && has_queue(after) && l->restored.torn_bytes == 0);
    life_end(l);
}

/* Once an empty group follows, the last one was safe. */
Test(meta_log, damage_to_a_closed_group_is_refused)
{
    begin();
    uint64_t vh = vhost();
    add_queue(vh, "one");
    cr_assert(meta_log_wants_closing(l->log) && meta_log_close_group(l->log, &l->err));
    cr_expect(not(meta_log_wants_closing(l->log)));
    life_end(l);
    size_t len;
    uint8_t *bytes = mem_disk_bytes(disk, "meta/log-00000001", &len);
    while (len > 0 && bytes[len - 1] == 0)
        len--;
    bytes[(len - 1) / META_GROUP_ALIGN * META_GROUP_ALIGN - META_GROUP_ALIGN + 60] ^= 1;
    refuses("meta/log-00000001", "is damaged");
}

Test(meta_log, damage_to_a_snapshot_is_refused)
{
    l->least_bytes = 4000;
    begin();
    grow(vhost(), 0, 60);
    cr_assert(life_write_snapshot(l));
    life_end(l);
    size_t len;
    (void)mem_disk_bytes(disk, "meta/snapshot-00000002", &len);
    for (size_t at = 0; at + META_GROUP_ALIGN < len; at += 37) {
        if (at >= META_FILE_HEAD_BYTES && at < META_FILE_START)
            continue; /* nothing stands there */
        uint8_t *bytes = mem_disk_bytes(disk, "meta/snapshot-00000002", &len);
        bytes[at] ^= 4;
        refuses("meta/snapshot-00000002", "is damaged");
        bytes = mem_disk_bytes(disk, "meta/snapshot-00000002", &len);
        bytes[at] ^= 4;
    }
    mem_disk_resize(disk, "meta/snapshot-00000002", len - META_GROUP_ALIGN);
    refuses("meta/snapshot-00000002", "is damaged");
}

Test(meta_log, files_that_are_missing_are_named)
{
    l->least_bytes = 4000;
    begin();
    uint64_t vh = vhost();
    grow(vh, 0, 60);
    cr_assert(life_write_snapshot(l));
    grow(vh, 60, 200);
    cr_assert(l->has_snapshot, "a third log has begun");
    life_end(l);
    struct disk *whole = mem_disk_copy(disk);
    static const char *const names[] = { "meta/log-00000002", "meta/snapshot-00000002" };
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        struct err none;
        disk_free(&disk);
        disk = mem_disk_copy(whole);
        cr_assert(disk->ops->remove(disk, names[i], &none));
        refuses(i == 0 ? names[i] : "meta/log-00000001", "is missing");
    }
    disk_free(&whole);
}

Test(meta_log, a_newer_format_is_refused_with_the_remedy)
{
    begin();
    life_end(l);
    size_t len;
    uint8_t *bytes = mem_disk_bytes(disk, "meta/log-00000001", &len);
    struct meta_file_head head;
    cr_assert(meta_file_read_head(slice_of(bytes, len), &head) == META_HEAD_GOOD);
    bytes[11]++; /* its format */
    uint64_t sum = __builtin_bswap64(hash_bytes(slice_of(bytes, 56), 0));
    memcpy(bytes + 56, &sum, 8);
    refuses("meta/log-00000001", "newer version");
}

/* ---- disks that fail ---- */

Test(meta_log, a_write_or_sync_that_fails_is_final)
{
    static const enum mem_disk_op ops[] = { MEM_DISK_WRITE, MEM_DISK_SYNC };
    for (size_t i = 0; i < ARRAY_COUNT(ops); i++) {
        disk_free(&disk);
        disk = mem_disk_new();
        begin();
        uint64_t vh = vhost();
        commit();
        uint64_t digest = l->safe;
        mem_disk_fail(disk, ops[i], 0, ERR_IO, true);
        apply(durable_queue(vh, "q"));
        cr_expect(not(life_commit(l)));
        life_end(l);
        mem_disk_fail(disk, ops[i], 0, ERR_NONE, false);
        begin();
        cr_expect(meta_digest_lasting(l->meta) == digest ||
                  meta_digest_lasting(l->meta) == l->begun);
        life_end(l);
    }
}

/* A write beyond what is filled ahead fails; one within it does not. */
static void commit_while_full(void)
{
    mem_disk_fail(disk, MEM_DISK_WRITE, 1, ERR_LIMIT, true);
    commit();
    mem_disk_fail(disk, MEM_DISK_WRITE, 0, ERR_NONE, false);
}

Test(meta_log, a_full_disk_leaves_room_for_what_takes_things_away)
{
    begin();
    uint64_t vh = vhost();
    struct meta_cmd more = durable_queue(vh, "one more");
    add_queue(vh, "q");
    while (!meta_log_is_short(l->log)) {
        struct meta_cmd c = { .op = META_GLOBAL_PARAMETER_PUT, .name = S("filler") };
        c.parameter.value = S("\"something of some length that fills the log\"");
        apply(c);
        commit_while_full();
    }
    struct meta_cmd less = q_delete("q");
    less.vhost_id = vh;
    cr_expect(not(meta_log_has_room(l->log, &more)), "the reserve is not for this");
    cr_assert(meta_log_has_room(l->log, &less));
    apply(less);
    commit_while_full();
    meta_log_begin(l->log);
    cr_assert(meta_log_commit(l->log, &l->err)); /* fills ahead, now that it can */
    cr_expect(not(meta_log_is_short(l->log)));
    cr_expect(meta_log_has_room(l->log, &more));
    life_end(l);
}

Test(meta_log, a_snapshot_that_fails_is_tried_again_later)
{
    l->least_bytes = 4000;
    begin();
    uint64_t vh = vhost();
    grow(vh, 0, 60);
    cr_assert(l->has_snapshot);
    mem_disk_fail(disk, MEM_DISK_WRITE, 0, ERR_LIMIT, false);
    cr_expect(not(life_write_snapshot(l)));
    cr_expect(l->err.code == ERR_LIMIT && !mem_disk_has(disk, "meta/snapshot.new"));
    grow(vh, 60, 120);
    cr_assert(l->has_snapshot && life_write_snapshot(l));
    uint64_t digest = meta_digest_lasting(l->meta);
    again();
    cr_expect(l->restored.snapshot == 3 && meta_digest_lasting(l->meta) == digest);
    life_end(l);
}

/* ---- much at once ---- */

/* Many connections may send long commands while the disk is slow. */
Test(meta_log, takes_a_group_as_large_as_it_comes)
{
    size_t octets = (size_t)1 << 20;
    uint8_t *room = mem_zalloc(octets);
    char name[8];
    begin();
    uint64_t vh = vhost();
    for (int i = 0; i < 80; i++) {
        snprintf(name, sizeof name, "q%d", i);
        apply(long_queue(vh, name, room, octets));
    }
    commit();
    uint64_t digest = l->safe;
    again();
    cr_expect(eq(u64, meta_digest_lasting(l->meta), digest));
    life_end(l);
    mem_free(room);
}

Test(meta_log, says_when_a_group_is_large_enough)
{
    uint8_t room[1024] = { 0 };
    char name[8];
    begin();
    uint64_t vh = vhost();
    int n = 0;
    for (; !meta_log_has_enough(l->log); n++) {
        cr_assert(n < 100);
        snprintf(name, sizeof name, "q%d", n);
        apply(long_queue(vh, name, room, sizeof room));
    }
    cr_expect(n > 1);
    commit();
    cr_expect(not(meta_log_has_enough(l->log)));
    life_end(l);
}

/* What is longer could not be read back. */
Test(meta_log, takes_no_command_that_is_too_long)
{
    uint8_t *room = mem_zalloc(META_LOG_CMD_MAX);
    begin();
    uint64_t vh = vhost();
    struct meta_cmd c = long_queue(vh, "q", room, META_LOG_CMD_MAX);
    cr_expect(not(meta_log_takes(&c)));
    c = long_queue(vh, "q", room, META_LOG_CMD_MAX - 1000);
    cr_expect(meta_log_takes(&c));
    apply(c);
    commit();
    uint64_t digest = l->safe;
    again();
    cr_expect(eq(u64, meta_digest_lasting(l->meta), digest));
    life_end(l);
    mem_free(room);
}

/* Whatever lacks room, and whenever: what was committed comes back. */
Test(meta_log, comes_back_wherever_room_was_lacking, .timeout = 60)
{
    static const enum kit_op ops[] = { KIT_CREATE, KIT_WRITE,  KIT_SYNC,
                                       KIT_RENAME, KIT_REMOVE, KIT_SYNC_FOLDER };
    for (size_t i = 0; i < ARRAY_COUNT(ops); i++)
        for (unsigned n = 1; n < 12; n++) {
            char folder[KIT_PATH_MAX], name[16];
            kit_folder_make(folder);
            struct kit_disk *kit = kit_disk_new(folder);
            l->least_bytes = 1;
            cr_assert(life_begin(l, &kit->base, n), "%s", l->err.text);
            uint64_t vh = vhost();
            commit();
            kit_disk_fail(kit, ops[i], n, ERR_LIMIT);
            bool ok = true;
            for (unsigned q = 0; ok && q < (n % 2 != 0 ? 4 + n : 20); q++) {
                if (q == 10 + n % 3)
                    kit_disk_fail(kit, ops[i], 0, ERR_LIMIT);
                snprintf(name, sizeof name, "q%u", q);
                apply(durable_queue(vh, name));
                ok = life_commit(l);
                if (ok && l->has_snapshot)
                    ok = life_write_snapshot(l) || l->err.code == ERR_LIMIT;
            }
            kit_disk_fail(kit, ops[i], 0, ERR_LIMIT);
            uint64_t safe = l->safe, begun = l->begun;
            life_end(l);
            cr_assert(life_begin(l, &kit->base, n), "op %zu, call %u: %s", i, n, l->err.text);
            uint64_t digest = meta_digest_lasting(l->meta);
            cr_expect(digest == safe || digest == begun, "op %zu, call %u", i, n);
            life_end(l);
            kit_disk_free(&kit);
            kit_folder_remove(folder);
        }
}
