#include "disk_kit.h"
#include "io_kit.h"
#include "mem_disk.h"
#include "raft_life.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static struct disk *disk;
static struct rlife *l;

static void set_up(void)
{
    disk = mem_disk_new();
    l = mem_zalloc(sizeof *l);
    rlife_init(l);
    l->least_bytes = 8192;
}

static void tear_down(void)
{
    mem_free(l);
    disk_free(&disk);
}

TestSuite(raft_disk, .init = set_up, .fini = tear_down);

static struct slice S(const char *text) {
    return slice_str(text);
}

static void
begin(void)
{
    cr_assert(rlife_open(l, disk, 1, RAFT_DISK_REFUSES), "%s", l->err.text);
    cr_assert(rlife_believe(l), "what is found is not what was safe");
}

static void again(void)
{
    rlife_end(l);
    begin();
}

static void commit(void)
{
    cr_assert(rlife_commit(l), "%s", l->err.text);
}

static void write_hard(uint64_t term, uint16_t vote)
{
    struct raft_write *w = rlife_write(l);
    rlife_set_hard(l, w, term, vote);
    rlife_give(l, w);
    commit();
}

static void write_entry(const char *text)
{
    struct raft_write *w = rlife_write(l);
    rlife_put(l, w, S(text));
    rlife_give(l, w);
    commit();
}

static void write_entries(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        write_entry("one of many");
}

static void close_group(void)
{
    cr_assert(raft_disk_close_group(l->d, &l->err), "%s", l->err.text);
}

/* ---- what comes back ---- */

Test(raft_disk, begins_with_nothing)
{
    begin();
    cr_expect(l->found.is_new && l->found.verdict == RAFT_DISK_WHOLE && l->found.count == 0);
    cr_expect(mem_disk_has(disk, "raft/log-00000001") && mem_disk_has(disk, "raft/identity"));
    cr_expect(eq(uint, mem_disk_calls(disk, MEM_DISK_WRITE_THROUGH), 1));
    again();
    cr_expect(not(l->found.is_new));
    cr_expect(eq(uint, mem_disk_calls(disk, MEM_DISK_WRITE_THROUGH), 2));
    rlife_end(l);
}

Test(raft_disk, brings_back_hard_state_and_entries)
{
    begin();
    write_hard(3, 2);
    write_entry("a");
    write_entry("");
    again();
    cr_expect(l->found.hard.term == 3 && l->found.hard.vote == 2 && !l->found.hard.is_recovering);
    cr_assert(eq(sz, l->found.count, 2));
    cr_expect(l->found.entries[0].index == 1 && l->found.entries[0].term == 3);
    cr_expect(slice_is(raft_entry_slice(&l->found.entries[0]), "a"));
    cr_expect(l->found.entries[1].bytes == NULL);
    rlife_end(l);
}

Test(raft_disk, forgets_what_was_not_committed)
{
    begin();
    write_hard(1, 1);
    write_entry("safe");
    struct raft_write *w = rlife_write(l);
    rlife_put(l, w, S("not yet"));
    rlife_give(l, w);
    again();
    cr_expect(eq(sz, l->found.count, 1));
    rlife_end(l);
}

Test(raft_disk, a_truncation_takes_entries_away_for_good)
{
    begin();
    write_hard(1, 1);
    write_entries(5);
    struct raft_write *w = rlife_write(l);
    rlife_set_hard(l, w, 2, 0);
    rlife_set_truncate(l, w, 3);
    rlife_put(l, w, S("another third"));
    rlife_give(l, w);
    commit();
    again();
    cr_assert(eq(sz, l->found.count, 3));
    cr_expect(l->found.entries[2].term == 2);
    rlife_end(l);
}

/* Several writes share a group and a sync. */
Test(raft_disk, writes_that_gathered_are_one_group)
{
    begin();
    unsigned syncs = mem_disk_calls(disk, MEM_DISK_SYNC);
    for (int i = 0; i < 5; i++) {
        struct raft_write *w = rlife_write(l);
        rlife_set_hard(l, w, 1 + (uint64_t)i, 1);
        rlife_put(l, w, S("x"));
        rlife_give(l, w);
    }
    commit();
    cr_expect(eq(uint, mem_disk_calls(disk, MEM_DISK_SYNC), syncs + 1));
    again();
    cr_expect(l->found.hard.term == 5 && l->found.count == 5);
    rlife_end(l);
}

Test(raft_disk, a_write_of_nothing_new_is_safe_at_once)
{
    begin();
    struct raft_write *w = rlife_write(l);
    rlife_give(l, w);
    commit();
    cr_expect(eq(u64, raft_disk_done(l->d), 1));
    rlife_end(l);
}

/* ---- snapshots ---- */

static void outgrow(void)
{
    while (!raft_disk_wants_snapshot(l->d, l->log.last))
        write_entries(1);
    l->applied = l->log.last;
}

static void snapshot(void)
{
    rlife_take_snapshot(l);
    cr_assert(l->has_image);
    cr_assert(rlife_write_snapshot(l), "%s", l->err.text);
}

Test(raft_disk, a_log_that_outgrew_is_a_snapshot_and_a_new_log)
{
    begin();
    write_hard(4, 1);
    outgrow();
    cr_expect(mem_disk_has(disk, "raft/log-00000001") && mem_disk_has(disk, "raft/log-00000002"));
    snapshot();
    cr_expect(mem_disk_has(disk, "raft/log-00000002") && !mem_disk_has(disk, "raft/log-00000001"));
    uint64_t index = l->applied;
    write_entry("behind it");
    again();
    cr_expect(l->found.snapshot.index == index && l->found.snapshot.term == 4);
    cr_expect(l->found.base == index && l->found.count == 1 && l->found.hard.term == 4);
    cr_expect(raft_config_is_voter(&l->found.snapshot.config, 1));
    rlife_end(l);
}

/* The older log holds entries that the state machine has not seen. */
Test(raft_disk, waits_with_a_snapshot_for_what_older_logs_hold)
{
    begin();
    write_hard(4, 1);
    outgrow();
    cr_expect(not(raft_disk_wants_snapshot(l->d, l->log.last - 1)));
    write_entries(3);
    again();
    outgrow();
    snapshot();
    again();
    rlife_end(l);
}

Test(raft_disk, entries_go_on_while_a_snapshot_is_written)
{
    begin();
    write_hard(1, 1);
    outgrow();
    rlife_take_snapshot(l);
    write_entries(400);
    cr_expect(not(raft_disk_wants_snapshot(l->d, l->log.last)));
    cr_assert(rlife_write_snapshot(l));
    write_entry("and on");
    again();
    cr_expect(l->found.snapshot.index != 0 && l->found.count >= 401);
    outgrow();
    snapshot();
    again();
    rlife_end(l);
}

/* A truncation may reach back to before the file that it is in. */
Test(raft_disk, a_truncation_into_the_log_before_is_kept)
{
    begin();
    write_hard(1, 1);
    outgrow();
    uint64_t last = l->log.last;
    l->applied = last - 5;
    struct raft_write *w = rlife_write(l);
    rlife_set_hard(l, w, 2, 0);
    rlife_set_truncate(l, w, last - 3);
    rlife_give(l, w);
    commit();
    again();
    cr_expect(eq(u64, l->log.last, last - 4));
    rlife_end(l);
    begin();
    write_entries(10);
    outgrow();
    snapshot();
    again();
    rlife_end(l);
}

/* ---- what others send ---- */

static struct raft_snapshot theirs(uint64_t index, uint64_t term)
{
    struct raft_snapshot is = { .index = index, .term = term, .id = 77, .config_index = 1 };
    cr_assert(raft_config_set(&is.config, 2, RAFT_VOTER));
    return is;
}

static void receive(uint64_t index, uint64_t term, uint64_t sum)
{
    struct disk *other = mem_disk_new();
    cr_assert(rlife_receive(l, other, theirs(index, term), sum, 100, NULL), "%s", l->err.text);
    disk_free(&other);
}

static void install(bool keeps)
{
    struct raft_write *w = rlife_write(l);
    rlife_set_install(l, w, keeps);
    rlife_give(l, w);
    commit();
}

Test(raft_disk, installs_a_snapshot_behind_its_log)
{
    begin();
    write_hard(3, 1);
    write_entries(5);
    receive(100, 3, 4711);
    install(false);
    cr_expect(eq(u64, raft_disk_snapshot(l->d)->index, 100));
    write_entry("the next");
    again();
    cr_expect(l->found.snapshot.index == 100 && l->found.count == 1 && l->found.hard.term == 3);
    cr_expect(l->found.entries[0].index == 101);
    rlife_end(l);
}

Test(raft_disk, installs_a_snapshot_over_entries_that_do_not_agree)
{
    begin();
    write_hard(3, 1);
    write_entries(20);
    receive(10, 2, 4711);
    install(false);
    again();
    cr_expect(l->found.base == 10 && l->found.base_term == 2 && l->found.count == 0);
    rlife_end(l);
}

Test(raft_disk, installs_a_snapshot_and_keeps_what_agrees)
{
    begin();
    write_hard(3, 1);
    write_entries(20);
    receive(10, 3, l->log.sums[10]);
    install(true);
    write_entry("the next");
    again();
    cr_expect(l->found.base == 10 && l->found.count == 11);
    rlife_end(l);
}

Test(raft_disk, a_piece_that_is_not_the_next_one_is_not_kept)
{
    struct disk *other = mem_disk_new();
    struct raft_image image = { .disk = other, .is = theirs(9, 1) };
    uint64_t sum = 5;
    begin();
    memcpy(image.cluster_id, l->identity.cluster_id, 16);
    cr_assert(raft_image_write(&image, rlife_fill, &sum, &l->err));
    struct buf *all = raft_disk_read_chunk(other, &image.is, 0, &l->err);
    struct raft_taken t;
    struct raft_msg_install m = { .snapshot = image.is, .offset = 10 };

    m.chunk = buf_copy(slice_head(buf_slice(all), 20));
    cr_assert(raft_disk_take_chunk(l->d, &m, &t, &l->err));
    cr_expect(t.next == 0 && t.index == 9 && !t.is_complete, "not begun yet");
    m.offset = 0;
    cr_assert(raft_disk_take_chunk(l->d, &m, &t, &l->err));
    cr_expect(eq(u64, t.next, 20));
    cr_assert(raft_disk_take_chunk(l->d, &m, &t, &l->err));
    cr_expect(t.next == 20, "once more");
    m.offset = 40;
    cr_assert(raft_disk_take_chunk(l->d, &m, &t, &l->err));
    cr_expect(t.next == 20, "a gap");
    m.snapshot.id++;
    m.offset = 0;
    cr_assert(raft_disk_take_chunk(l->d, &m, &t, &l->err));
    cr_expect(t.next == 20 && t.id == m.snapshot.id, "another one begins anew");
    buf_unref(&m.chunk);

    /* Not what it said it is, and damaged: begun again. */
    m.snapshot = image.is;
    for (size_t i = 0; i < all->len_bytes; i += 13) {
        struct buf *bad = buf_copy(buf_slice(all));
        bad->data[i] ^= 4;
        m.chunk = bad;
        cr_assert(raft_disk_take_chunk(l->d, &m, &t, &l->err));
        bool matters = i < 90 || (i >= 512 && i < 512 + RAFT_GROUP_HEAD + 8);
        cr_expect(matters ? t.next == 0 && !t.is_complete : t.is_complete, "damaged at %zu", i);
        buf_unref(&bad);
        m.snapshot.id ^= 1; /* away with what was complete */
        m.chunk = NULL;
        cr_assert(raft_disk_take_chunk(l->d, &m, &t, &l->err));
        m.snapshot.id ^= 1;
    }
    m.chunk = all;
    cr_assert(raft_disk_take_chunk(l->d, &m, &t, &l->err));
    cr_expect(t.is_complete && t.next == image.is.bytes);
    buf_unref(&all);
    rlife_end(l);
    disk_free(&other);
}

Test(raft_disk, a_snapshot_of_another_cluster_is_not_taken)
{
    struct disk *other = mem_disk_new();
    struct raft_image image = { .disk = other, .is = theirs(9, 1) };
    uint64_t sum = 5;
    struct raft_taken t;
    begin();
    cr_assert(raft_image_write(&image, rlife_fill, &sum, &l->err));
    struct raft_msg_install m = { .snapshot = image.is };
    m.chunk = raft_disk_read_chunk(other, &image.is, 0, &l->err);
    cr_assert(raft_disk_take_chunk(l->d, &m, &t, &l->err));
    cr_expect(t.next == 0 && !t.is_complete);
    buf_unref(&m.chunk);
    rlife_end(l);
    disk_free(&other);
}

/* ---- what a crash leaves ---- */

/* The octets of the log's file that hold something. */
static size_t log_end(const char *name)
{
    size_t len, end = 0;
    const uint8_t *bytes = mem_disk_bytes(disk, name, &len);
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != 0)
            end = i + 1;
    return end;
}

static uint64_t state_of(struct disk *d, enum raft_verdict *verdict)
{
    struct rlife *other = mem_zalloc(sizeof *other);
    rlife_init(other);
    other->identity.has_log = true;
    uint64_t state = 0;
    if (rlife_open(other, d, 9, RAFT_DISK_REFUSES)) {
        (void)rlife_believe(other);
        state = rlife_now(other);
    }
    *verdict = other->found.verdict;
    rlife_end(other);
    mem_free(other);
    return state;
}

Test(raft_disk, every_prefix_of_the_last_group_is_that_group_or_none)
{
    begin();
    write_hard(1, 1);
    write_entry("safe");
    uint64_t before = rlife_now(l);
    size_t from = (log_end("raft/log-00000001") + 511) / 512 * 512;
    uint8_t text[1200];
    memset(text, 'x', sizeof text);
    struct raft_write *w = rlife_write(l);
    rlife_set_hard(l, w, 2, 2);
    rlife_put(l, w, slice_of(text, sizeof text));
    rlife_give(l, w);
    commit();
    uint64_t after = rlife_now(l);
    rlife_end(l);
    size_t end = log_end("raft/log-00000001");
    cr_assert(end > from + 1000);
    for (size_t n = from; n <= end; n++) {
        struct disk *torn = mem_disk_copy(disk);
        size_t len;
        uint8_t *bytes = mem_disk_bytes(torn, "raft/log-00000001", &len);
        memset(bytes + n, 0, len - n);
        enum raft_verdict v;
        uint64_t state = state_of(torn, &v);
        cr_assert(state == (n == end ? after : before), "%zu of %zu", n, end);
        cr_assert(v == (n == end || n == from ? RAFT_DISK_WHOLE : RAFT_DISK_TORN));
        disk_free(&torn);
    }
}

/* When the log was closed every bit counts. */
Test(raft_disk, no_bit_that_turned_round_passes)
{
    begin();
    write_hard(1, 1);
    write_entries(3);
    outgrow();
    snapshot();
    write_entries(3);
    close_group();
    uint64_t safe = rlife_now(l);
    rlife_end(l);
    char snapshot_name[64] = "";
    raft_file_snapshot_name(l->found.snapshot.index, 0, snapshot_name);
    const char *name = "raft/log-00000002";
    size_t closing = (log_end(name) - 1) / 512 * 512;
    for (size_t at = 0; at < closing; at += 3) {
        struct disk *bad = mem_disk_copy(disk);
        size_t len;
        mem_disk_bytes(bad, name, &len)[at] ^= (uint8_t)(1u << at % 8);
        enum raft_verdict v;
        uint64_t state = state_of(bad, &v);
        cr_assert(state == safe || v == RAFT_DISK_DAMAGED, "octet %zu", at);
        disk_free(&bad);
    }
}

Test(raft_disk, damage_is_told_with_a_remedy_and_changes_nothing)
{
    begin();
    write_hard(1, 1);
    write_entries(3);
    close_group();
    rlife_end(l);
    size_t len;
    uint8_t *bytes = mem_disk_bytes(disk, "raft/log-00000001", &len);
    bytes[1024 + 30] ^= 1;
    uint64_t sum = hash_bytes(slice_of(bytes, len), 0);
    cr_assert(not(rlife_open(l, disk, 2, RAFT_DISK_REFUSES)));
    cr_expect(l->found.verdict == RAFT_DISK_DAMAGED && !l->found.is_hard_lost);
    cr_expect(strstr(l->err.text, "raft/log-00000001 is damaged at octet") != NULL &&
                  strstr(l->err.text, "join_cluster") != NULL,
              "%s", l->err.text);
    bytes = mem_disk_bytes(disk, "raft/log-00000001", &len);
    cr_expect(hash_bytes(slice_of(bytes, len), 0) == sum);
    rlife_end(l);
}

Test(raft_disk, a_member_goes_on_before_the_damage_as_one_that_recovers)
{
    begin();
    write_hard(7, 3);
    write_entries(4);
    write_hard(8, 2);
    close_group();
    rlife_end(l);
    size_t len;
    mem_disk_bytes(disk, "raft/log-00000001", &len)[512 * 4 + 50] ^= 1; /* the second entry */
    cr_assert(rlife_open(l, disk, 2, RAFT_DISK_RECOVERS), "%s", l->err.text);
    cr_expect(l->found.verdict == RAFT_DISK_DAMAGED);
    cr_expect(l->found.hard.term == 8 && l->found.hard.vote == 2 && l->found.hard.is_recovering);
    cr_expect(eq(sz, l->found.count, 1));
    (void)rlife_believe(l);
    rlife_safe(l);
    again();
    cr_expect(l->found.verdict == RAFT_DISK_WHOLE && l->found.hard.is_recovering);
    cr_expect(eq(sz, l->found.count, 1));
    write_hard(9, 1);
    again();
    cr_expect(not(l->found.hard.is_recovering));
    rlife_end(l);
}

static void remove_file(const char *name)
{
    struct err err;
    cr_assert(disk->ops->remove(disk, name, &err), "%s", err.text);
}

Test(raft_disk, a_log_that_is_gone_is_missed)
{
    begin();
    write_hard(1, 1);
    write_entries(2);
    rlife_end(l);
    remove_file("raft/log-00000001");
    cr_assert(not(rlife_open(l, disk, 2, RAFT_DISK_RECOVERS)));
    cr_expect(l->found.verdict == RAFT_DISK_DAMAGED && l->found.is_hard_lost);
    cr_expect(strstr(l->err.text, "missing") != NULL, "%s", l->err.text);
}

Test(raft_disk, a_last_log_that_is_gone_is_missed)
{
    begin();
    write_hard(1, 1);
    outgrow();
    write_entries(2);
    rlife_end(l);
    remove_file("raft/log-00000002");
    cr_assert(not(rlife_open(l, disk, 2, RAFT_DISK_RECOVERS)));
    cr_expect(l->found.is_hard_lost);
    cr_expect(strstr(l->err.text, "log-00000002 is missing") != NULL, "%s", l->err.text);
}

Test(raft_disk, a_first_log_or_a_snapshot_that_is_gone_is_missed)
{
    begin();
    write_hard(1, 1);
    outgrow();
    write_entries(2);
    rlife_end(l);
    struct disk *whole = disk;
    disk = mem_disk_copy(whole);
    remove_file("raft/log-00000001");
    cr_assert(not(rlife_open(l, disk, 2, RAFT_DISK_REFUSES)));
    cr_expect(not(l->found.is_hard_lost));
    disk_free(&disk);

    disk = whole;
    begin();
    outgrow();
    snapshot();
    char name[RAFT_FILE_NAME_ROOM];
    raft_file_snapshot_name(raft_disk_snapshot(l->d)->index, raft_disk_snapshot(l->d)->id, name);
    rlife_end(l);
    remove_file(name);
    cr_assert(not(rlife_open(l, disk, 2, RAFT_DISK_REFUSES)));
    cr_expect(l->found.verdict == RAFT_DISK_DAMAGED && !l->found.is_hard_lost);
}

Test(raft_disk, a_log_of_another_member_is_refused)
{
    begin();
    write_hard(1, 1);
    rlife_end(l);
    l->identity.node = 2;
    cr_assert(not(rlife_open(l, disk, 2, RAFT_DISK_RECOVERS)));
    cr_expect(l->err.code == ERR_REFUSED && strstr(l->err.text, "another node") != NULL);
}

Test(raft_disk, a_newer_format_is_refused)
{
    begin();
    rlife_end(l);
    size_t len;
    uint8_t *bytes = mem_disk_bytes(disk, "raft/log-00000001", &len);
    bytes[11] = RAFT_FILE_FORMAT + 1;
    struct wire_out w = wire_out_over(bytes + 80, 8);
    wire_put_u64(&w, hash_bytes(slice_of(bytes, 80), 0));
    cr_assert(not(rlife_open(l, disk, 2, RAFT_DISK_RECOVERS)));
    cr_expect(l->err.code == ERR_REFUSED && strstr(l->err.text, "newer version") != NULL);
}

/* ---- a disk that fails or is full ---- */

Test(raft_disk, a_failure_is_final)
{
    begin();
    write_hard(1, 1);
    mem_disk_fail(disk, MEM_DISK_SYNC, 0, ERR_IO, false);
    struct raft_write *w = rlife_write(l);
    rlife_put(l, w, S("x"));
    rlife_give(l, w);
    cr_expect(not(rlife_commit(l)));
    cr_expect(eq(u64, raft_disk_done(l->d), 1), "the hard state's");
    again();
    rlife_end(l);
}

Test(raft_disk, tells_of_a_full_disk_while_there_is_room)
{
    char folder[KIT_PATH_MAX];
    kit_folder_make(folder);
    struct kit_disk *kit = kit_disk_new(folder);
    struct err err;
    cr_assert(kit->base.ops->make_folder(&kit->base, "raft", &err));
    cr_assert(rlife_open(l, &kit->base, 1, RAFT_DISK_REFUSES), "%s", l->err.text);
    write_hard(1, 1);
    atomic_store(&kit->room, 0);
    unsigned n = 0;
    while (raft_disk_has_room(l->d, 100, false) && n < 1000) {
        write_entry("x");
        n++;
    }
    cr_expect(raft_disk_is_short(l->d) && n < 1000);
    atomic_store(&kit->room, -1);
    raft_disk_begin(l->d);
    cr_assert(raft_disk_commit(l->d, &l->err));
    (void)raft_disk_done(l->d);
    cr_expect(raft_disk_has_room(l->d, 100, false) && !raft_disk_is_short(l->d));
    rlife_end(l);
    cr_assert(rlife_open(l, &kit->base, 2, RAFT_DISK_REFUSES), "%s", l->err.text);
    cr_expect(eq(sz, l->found.count, n));
    rlife_end(l);
    kit_disk_free(&kit);
    kit_folder_remove(folder);
}

/* ---- a RAM node ---- */

Test(raft_disk, a_ram_node_keeps_nothing_on_its_disk)
{
    l->identity.is_ram = true;
    begin();
    write_hard(3, 1);
    write_entries(5);
    receive(100, 3, 4711);
    struct raft_snapshot is = l->incoming;
    struct raft_image_reader *r = raft_disk_open_snapshot(l->d, &is, &l->err);
    cr_assert(r != NULL, "%s", l->err.text);
    cr_expect(eq(u64, rlife_content(r), 4711));
    raft_image_close(&r);
    rlife_end(l);
    size_t len;
    cr_expect(mem_disk_bytes(disk, "raft/log-00000001", &len) == NULL);
    rlife_init(l);
    l->identity.is_ram = true;
    begin();
    cr_expect(l->found.is_new);
    rlife_end(l);
}

/* ---- by chance ---- */

static void some_life(unsigned steps)
{
    for (unsigned i = 0; i < steps; i++) {
        rlife_do_something(l);
        if (rng_below(&l->rng, 3) != 0)
            continue;
        commit();
        rlife_apply(l);
        rlife_take_snapshot(l);
        if (l->has_image && rng_below(&l->rng, 2) == 0)
            cr_assert(rlife_write_snapshot(l), "%s", l->err.text);
    }
}

Test(raft_disk, many_lives)
{
    for (unsigned i = 0; i < 30; i++) {
        cr_assert(rlife_open(l, disk, i, RAFT_DISK_REFUSES), "%s", l->err.text);
        cr_assert(rlife_believe(l), "life %u", i);
        rlife_safe(l);
        if (l->applied < l->found.base)
            l->applied = l->found.base;
        some_life(40);
        rlife_end(l);
    }
}
