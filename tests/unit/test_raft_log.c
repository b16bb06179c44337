#include "raft/raft_log.h"

#include "expect.h"

static void add(struct raft_log *l, uint64_t term)
{
    struct raft_entry e = { .index = l->last + 1,
                            .term = term,
                            .kind = RAFT_COMMAND,
                            .bytes = buf_copy(slice_of("x", 1)) };
    raft_log_append(l, &e);
    cr_expect(e.bytes == NULL);
}

static void add_config(struct raft_log *l, uint16_t node)
{
    struct raft_config c = { 0 };
    cr_assert(raft_config_set(&c, node, RAFT_VOTER));
    struct raft_entry e = {
        .index = l->last + 1, .term = 9, .kind = RAFT_CONFIG, .bytes = raft_config_buf(&c)
    };
    raft_log_append(l, &e);
}

Test(raft_log, counts_what_it_holds)
{
    struct raft_log l;
    raft_log_init(&l);
    cr_expect(eq(u64, l.bytes, 0));
    for (int i = 0; i < 1000; i++)
        add(&l, 1);
    cr_expect(eq(u64, l.bytes, 1000 * (RAFT_ENTRY_COST + 1)));
    raft_log_compact(&l, 400);
    cr_expect(eq(u64, l.bytes, 600 * (RAFT_ENTRY_COST + 1)));
    raft_log_truncate(&l, 401);
    cr_expect(eq(u64, l.bytes, 0));
    cr_expect(eq(u64, l.last, 400));
    cr_expect(not(raft_log_has(&l, 400)));
    cr_expect(eq(u64, raft_log_last_term(&l), 1));
    raft_log_fini(&l);
}

Test(raft_log, finds_where_terms_may_meet)
{
    const uint64_t terms[] = { 1, 1, 1, 4, 4, 6 };
    struct raft_log l;
    raft_log_init(&l);
    for (size_t i = 0; i < ARRAY_COUNT(terms); i++)
        add(&l, terms[i]);
    cr_expect(eq(u64, raft_log_find(&l, 6, 6), 6));
    cr_expect(eq(u64, raft_log_find(&l, 6, 5), 5));
    cr_expect(eq(u64, raft_log_find(&l, 6, 3), 3));
    cr_expect(eq(u64, raft_log_find(&l, 2, 3), 2));
    cr_expect(eq(u64, raft_log_find(&l, 6, 0), 0));
    raft_log_compact(&l, 4);
    cr_expect(eq(u64, raft_log_find(&l, 6, 3), 4), "the base is the end of what is known");
    raft_log_fini(&l);
}

Test(raft_log, configurations_go_with_their_entries)
{
    struct raft_log l;
    raft_log_init(&l);
    add_config(&l, 1);
    add(&l, 9);
    add_config(&l, 2);
    add(&l, 9);
    cr_expect(eq(u64, raft_log_config_index(&l), 3));
    cr_expect(eq(u64, raft_log_config_at(&l, 2)->index, 1));
    cr_expect(eq(u64, raft_log_config_at(&l, 3)->index, 3));
    raft_log_truncate(&l, 3);
    cr_expect(raft_config_is_voter(raft_log_config(&l), 1));
    add_config(&l, 3);
    raft_log_compact(&l, 2);
    cr_expect(eq(u64, raft_log_config_at(&l, 2)->index, 1));
    raft_log_compact(&l, 3);
    cr_expect(eq(sz, l.config_count, 1));
    cr_expect(raft_config_is_voter(raft_log_config(&l), 3));
    struct raft_snapshot s = { .index = 50, .term = 7, .config_index = 20 };
    raft_log_reset(&l, &s);
    cr_expect(eq(u64, raft_log_config_index(&l), 20));
    cr_expect(eq(u64, raft_log_config(&l)->count, 0));
    cr_expect(eq(u64, l.last, 50));
    raft_log_fini(&l);
}

Test(raft_entry, configurations_are_bounded_and_sorted)
{
    struct raft_config c = { 0 };
    for (uint16_t i = RAFT_VOTERS_MAX; i > 0; i--)
        cr_assert(raft_config_set(&c, (uint16_t)(i * 10), RAFT_VOTER));
    cr_expect(not(raft_config_set(&c, 5, RAFT_WITNESS)));
    for (uint16_t i = 0; c.count < RAFT_MEMBERS_MAX; i++)
        cr_assert(raft_config_set(&c, (uint16_t)(1000 - i), RAFT_LEARNER));
    cr_expect(not(raft_config_set(&c, 5, RAFT_LEARNER)));
    cr_expect(not(raft_config_set(&c, 1000, RAFT_VOTER)));
    for (uint32_t i = 1; i < c.count; i++)
        cr_expect(c.members[i - 1].node < c.members[i].node);
    raft_config_unset(&c, 10);
    cr_expect(eq(u32, raft_config_voters(&c), RAFT_VOTERS_MAX - 1));
    cr_expect(raft_config_find(&c, 10) == NULL);

    struct buf *b = raft_config_buf(&c);
    for (uint32_t n = 0; n <= b->len_bytes; n++) {
        struct raft_config back;
        struct wire w = wire_over(slice_of(b->data, n));
        cr_expect(eq(int, raft_config_take(&w, &back), n == b->len_bytes));
    }
    buf_unref(&b);
}
