#include "mem_disk.h"
#include "raft/raft_identity.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

static struct disk *disk;
static struct err err;

static void set_up(void)
{
    disk = mem_disk_new();
    err = (struct err){ 0 };
}

static void tear_down(void)
{
    disk_free(&disk);
}

TestSuite(raft_identity, .init = set_up, .fini = tear_down);

static struct raft_identity some(void)
{
    struct raft_identity it = { .cluster_id = "cluster-abcdefgh", .node = 7, .name = "rabbit@a" };
    memcpy(it.known, "others", 6);
    it.known_bytes = 6;
    return it;
}

Test(raft_identity, a_folder_without_one_is_nobodys)
{
    struct raft_identity it;
    cr_assert(not(raft_identity_read(disk, "rabbit@a", &it, &err)));
    cr_expect(err.code == ERR_NOT_FOUND);
}

Test(raft_identity, comes_back)
{
    struct raft_identity it = some(), back;
    cr_assert(raft_identity_replace(disk, &it, &err), "%s", err.text);
    cr_assert(raft_identity_read(disk, "rabbit@a", &back, &err), "%s", err.text);
    cr_expect(memcmp(it.cluster_id, back.cluster_id, 16) == 0 && back.node == 7 && !back.is_ram &&
              !back.has_log && back.known_bytes == 6 && memcmp(back.known, "others", 6) == 0);
    cr_expect(not(back.is_founder));
    back.is_ram = back.has_log = back.is_founder = true;
    back.known_bytes = RAFT_KNOWN_MAX;
    memset(back.known, 'k', RAFT_KNOWN_MAX);
    cr_assert(raft_identity_write(disk, &back, &err), "%s", err.text);
    cr_assert(raft_identity_read(disk, "rabbit@a", &it, &err), "%s", err.text);
    cr_expect(it.is_ram && it.has_log && it.is_founder && it.known_bytes == RAFT_KNOWN_MAX);
}

Test(raft_identity, another_nodes_is_refused)
{
    struct raft_identity it = some();
    cr_assert(raft_identity_replace(disk, &it, &err));
    cr_assert(not(raft_identity_read(disk, "rabbit@b", &it, &err)));
    cr_expect(err.code == ERR_REFUSED && strstr(err.text, "rabbit@a") != NULL, "%s", err.text);
}

Test(raft_identity, no_bit_that_turned_round_passes)
{
    struct raft_identity it = some(), back;
    cr_assert(raft_identity_replace(disk, &it, &err));
    size_t len;
    (void)mem_disk_bytes(disk, "raft/identity", &len);
    for (size_t i = 0; i < len * 8; i++) {
        mem_disk_bytes(disk, "raft/identity", &len)[i / 8] ^= (uint8_t)(1u << i % 8);
        cr_assert(not(raft_identity_read(disk, "rabbit@a", &back, &err)), "bit %zu", i);
        cr_assert(err.code == ERR_REFUSED);
        mem_disk_bytes(disk, "raft/identity", &len)[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    for (size_t n = 0; n < len; n++) {
        struct disk *cut = mem_disk_copy(disk);
        mem_disk_resize(cut, "raft/identity", n);
        cr_assert(not(raft_identity_read(cut, "rabbit@a", &back, &err)), "%zu octets", n);
        disk_free(&cut);
    }
}

Test(raft_identity, a_log_without_one_is_not_taken_for_nothing)
{
    struct raft_identity it;
    mem_disk_put(disk, "raft/log-00000001", slice_str("x"));
    cr_assert(not(raft_identity_read(disk, "rabbit@a", &it, &err)));
    cr_expect(err.code == ERR_REFUSED && strstr(err.text, "join its cluster anew") != NULL);
}

Test(raft_identity, another_one_takes_all_away)
{
    struct raft_identity it = some(), back;
    cr_assert(raft_identity_replace(disk, &it, &err));
    mem_disk_put(disk, "raft/log-00000001", slice_str("x"));
    it.node = 8;
    cr_assert(raft_identity_replace(disk, &it, &err));
    cr_expect(not(mem_disk_has(disk, "raft/log-00000001")));
    cr_assert(raft_identity_read(disk, "rabbit@a", &back, &err));
    cr_expect(eq(uint, back.node, 8));
    mem_disk_put(disk, "raft/log-00000001", slice_str("x"));
    cr_assert(raft_identity_replace(disk, NULL, &err), "%s", err.text);
    cr_expect(not(mem_disk_has(disk, "raft/log-00000001")));
    cr_expect(not(mem_disk_has(disk, "raft/identity")));
    cr_assert(not(raft_identity_read(disk, "rabbit@a", &back, &err)));
    cr_expect(err.code == ERR_NOT_FOUND);
}

/* Whatever operation is the last: the old one with its log, or the new one without. */
Test(raft_identity, a_crash_leaves_the_old_or_the_new)
{
    for (int none = 0; none < 2; none++)
        for (unsigned n = 0; n < 12; n++) {
            struct disk *d = mem_disk_new();
            struct raft_identity it = some(), next = some(), back;
            next.node = 8;
            cr_assert(raft_identity_replace(d, &it, &err));
            mem_disk_put(d, "raft/log-00000001", slice_str("x"));
            mem_disk_fail(d, n % 2 == 0 ? MEM_DISK_SYNC : MEM_DISK_OPEN, n / 2, ERR_IO, true);
            bool ok = raft_identity_replace(d, none != 0 ? NULL : &next, &err);
            mem_disk_fail(d, n % 2 == 0 ? MEM_DISK_SYNC : MEM_DISK_OPEN, 0, ERR_NONE, false);
            bool has = raft_identity_read(d, "rabbit@a", &back, &err);
            bool has_log = mem_disk_has(d, "raft/log-00000001");
            if (has && back.node == 7)
                cr_expect(has_log && !ok);
            else
                cr_expect(has == (none == 0) && !has_log, "%u: %s", n, err.text);
            disk_free(&d);
        }
}
