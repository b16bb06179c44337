#include "mirror_link/mirror_proposals.h"

#include "base/mem.h"
#include "expect.h"
#include "io_kit.h"

#define KEPT_MAX 64u

/* A cluster that answers when it is told to. */
static struct {
    struct loop *loop;
    struct mirror_proposals *p;
    size_t commands;
    size_t lags;
    size_t items;
    uint64_t first; /* qid of the first item of the last command */
    struct {
        cluster_proposed_fn done;
        void *arg;
    } away[KEPT_MAX];
    size_t away_count;
    bool answers_at_once;
} h;

static void on_propose(void *arg, const struct meta_cmd *cmd, cluster_proposed_fn done,
                       void *done_arg)
{
    struct meta_refusal why = { .code = 541 };
    (void)arg;
    if (cmd->op == META_PAIR_LAG) {
        h.lags++;
        cr_expect(eq(u16, cmd->pair_lag.master, 1));
        cr_expect(eq(u32, cmd->pair_lag.master_inc, 7));
        cr_expect(eq(u32, cmd->pair_lag.mirror_inc, 9));
    } else {
        cr_assert(eq(int, cmd->op, META_ISR_CHANGE));
        cr_assert(meta_items_suit(cmd->isr_change.items, META_ISR_ITEM_BYTES));
        struct wire w = wire_over(cmd->isr_change.items);
        h.first = meta_isr_item_take(&w).qid;
        h.items += cmd->isr_change.items.len / META_ISR_ITEM_BYTES;
        h.commands++;
    }
    if (h.answers_at_once) {
        done(done_arg, META_REFUSED, &why, 0, false);
        return;
    }
    cr_assert(lt(sz, h.away_count, KEPT_MAX));
    h.away[h.away_count].done = done;
    h.away[h.away_count++].arg = done_arg;
}

static void answer_one(void)
{
    cr_assert(ne(sz, h.away_count, 0));
    h.away_count--;
    h.away[h.away_count].done(h.away[h.away_count].arg, META_DONE, NULL, 0, false);
}

static void settle(void)
{
    while (loop_settle(h.loop))
        ;
}

static void set_up(void)
{
    memset(&h, 0, sizeof h);
    h.loop = kit_loop_new();
    h.p = mirror_proposals_new(h.loop, on_propose, NULL);
}

static void tear_down(void)
{
    while (h.away_count != 0) {
        answer_one();
        settle();
    }
    mirror_proposals_free(&h.p);
    loop_free(&h.loop);
}

TestSuite(mirror_proposals, .init = set_up, .fini = tear_down, .timeout = 300);

static void add(uint64_t first, size_t count)
{
    struct meta_isr_item *items = mem_array(count, sizeof *items);
    for (size_t i = 0; i < count; i++)
        items[i] = (struct meta_isr_item){ .qid = first + i, .node = 2, .adds = true };
    mirror_proposals_add(h.p, items, count);
    mem_free(items);
}

Test(mirror_proposals, those_of_a_turn_are_one_command)
{
    add(1, 10);
    add(11, 5);
    cr_expect(eq(sz, h.commands, 0));
    settle();
    cr_expect(eq(sz, h.commands, 1));
    cr_expect(eq(sz, h.items, 15));
    cr_expect(eq(u64, h.first, 1));
}

Test(mirror_proposals, a_command_has_so_many_and_few_are_under_way)
{
    add(1, 6 * META_BATCH_MAX + 1);
    settle();
    cr_expect(eq(sz, h.commands, MIRROR_PROPOSALS_AWAY));
    cr_expect(eq(sz, h.items, MIRROR_PROPOSALS_AWAY * META_BATCH_MAX));
    while (h.away_count != 0) {
        answer_one();
        settle();
    }
    cr_expect(eq(sz, h.commands, 7));
    cr_expect(eq(sz, h.items, 6 * META_BATCH_MAX + 1));
    cr_expect(eq(u64, h.first, 6 * META_BATCH_MAX + 1));
}

Test(mirror_proposals, what_finds_no_room_is_left_out)
{
    add(1, MIRROR_PROPOSALS_MAX + 1000);
    add(1, 1000);
    h.answers_at_once = true;
    settle();
    cr_expect(eq(sz, h.items, MIRROR_PROPOSALS_MAX));
    add(1, 3);
    settle();
    cr_expect(eq(sz, h.items, MIRROR_PROPOSALS_MAX + 3));
}

Test(mirror_proposals, a_mirror_that_lags_for_all_shards_is_told_of_once)
{
    struct mirror_pair_of_nodes pair = { 1, 2, 7, 9 };
    for (unsigned i = 0; i < 4; i++)
        mirror_proposals_lag(h.p, &pair);
    cr_expect(eq(sz, h.lags, 1));
    pair.mirror = 3;
    mirror_proposals_lag(h.p, &pair);
    cr_expect(eq(sz, h.lags, 2));
}
