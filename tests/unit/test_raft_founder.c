/* The first start of a node that founds its cluster. */
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
    rlife_init_founder(l);
}

static void tear_down(void)
{
    mem_free(l);
    disk_free(&disk);
}

TestSuite(raft_founder, .init = set_up, .fini = tear_down);

static void begin(void)
{
    cr_assert(rlife_open(l, disk, 1, RAFT_DISK_REFUSES), "%s", l->err.text);
    cr_assert(rlife_believe(l), "what is found is not what was safe");
}

Test(raft_founder, is_in_its_log_from_the_first)
{
    for (int start = 0; start < 2; start++) {
        begin();
        cr_expect(eq(int, l->found.is_new, start == 0));
        cr_assert(l->found.count == 1 && l->found.entries[0].kind == RAFT_CONFIG);
        struct wire w = wire_over(raft_entry_slice(&l->found.entries[0]));
        struct raft_config c;
        cr_assert(raft_config_take(&w, &c));
        cr_expect(c.count == 1 && raft_config_is_voter(&c, 1));
        rlife_end(l);
    }
}

/* Whatever was the last that the first start did, the next one finds its founder in the log. */
Test(raft_founder, a_first_start_that_was_cut_begins_again)
{
    unsigned cut = 0;
    for (int op = MEM_DISK_OPEN; op < MEM_DISK_OPS; op++)
        for (unsigned n = 0;; n++) {
            struct disk *d = mem_disk_new();
            rlife_init_founder(l);
            cr_assert(raft_identity_replace(d, &l->identity, &l->err));
            mem_disk_fail(d, (enum mem_disk_op)op, n, ERR_IO, true);
            bool ok = rlife_open(l, d, 1, RAFT_DISK_REFUSES);
            rlife_end(l);
            mem_disk_fail(d, (enum mem_disk_op)op, 0, ERR_NONE, false);
            cut += !ok;
            cr_assert(raft_identity_read(d, "rabbit@a", &l->identity, &l->err), "%s", l->err.text);
            cr_assert(rlife_open(l, d, 2, RAFT_DISK_REFUSES), "%d %u: %s", op, n, l->err.text);
            cr_expect(rlife_believe(l), "%d %u: %zu entries", op, n, l->found.count);
            rlife_end(l);
            disk_free(&d);
            if (ok)
                break;
        }
    cr_expect(cut >= 8, "%u", cut);
}

/* Once there was a log, something may have been answered. */
Test(raft_founder, does_not_begin_again_when_its_log_is_lost)
{
    begin();
    rlife_end(l);
    cr_assert(disk->ops->remove(disk, "raft/log-00000001", &l->err));
    cr_assert(raft_identity_read(disk, "rabbit@a", &l->identity, &l->err));
    cr_assert(not(rlife_open(l, disk, 2, RAFT_DISK_REFUSES)));
    cr_expect(l->found.verdict == RAFT_DISK_DAMAGED && l->found.is_hard_lost);
    cr_expect(l->found.count == 0);
    rlife_end(l);
}
