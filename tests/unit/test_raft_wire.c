#include "raft/raft_wire.h"

#include "base/check.h"
#include "base/mem.h"
#include "expect.h"

static struct raft_msg head(enum raft_msg_kind kind)
{
    return (struct raft_msg){ .kind = kind, .from = 1, .to = 2, .boot = 3, .term = 40 };
}

static struct buf *octets_of(const struct raft_msg *m)
{
    struct buf *b = buf_new(raft_wire_size(m));
    struct wire_out w = wire_out_over(b->data, b->cap_bytes);
    raft_wire_put(&w, m);
    cr_assert(not(w.overflow));
    cr_expect(eq(sz, wire_out_len(&w), b->cap_bytes), "the size is exact");
    b->len_bytes = (uint32_t)wire_out_len(&w);
    return b;
}

/* The whole is a message, no prefix is one, and nothing may follow. */
static void expect_exact(const struct raft_msg *m)
{
    struct buf *b = octets_of(m);
    struct raft_msg back;
    for (uint32_t n = 0; n < b->len_bytes; n++)
        cr_expect(not(raft_wire_take(slice_of(b->data, n), &back)), "%s, %u octets",
                  raft_msg_name(m->kind), n);
    cr_assert(raft_wire_take(buf_slice(b), &back), "%s", raft_msg_name(m->kind));
    struct buf *again = octets_of(&back);
    cr_expect(slice_eq(buf_slice(b), buf_slice(again)));
    buf_unref(&again);
    raft_msg_fini(&back);
    uint8_t *more = mem_zalloc(b->len_bytes + 1u);
    memcpy(more, b->data, b->len_bytes);
    cr_expect(not(raft_wire_take(slice_of(more, b->len_bytes + 1u), &back)));
    mem_free(more);
    buf_unref(&b);
}

Test(raft_wire, every_message_comes_back)
{
    struct raft_msg m = head(RAFT_MSG_PREVOTE);
    m.vote = (struct raft_msg_vote){ 7, 8, true };
    expect_exact(&m);
    m.kind = RAFT_MSG_VOTE;
    expect_exact(&m);
    m = head(RAFT_MSG_VOTE_REPLY);
    m.vote_reply = (struct raft_msg_vote_reply){ 9, true };
    expect_exact(&m);
    m.kind = RAFT_MSG_PREVOTE_REPLY;
    expect_exact(&m);
    m = head(RAFT_MSG_APPEND_REPLY);
    m.append_reply = (struct raft_msg_append_reply){ true, true, 1, 2, 3, 4, 5, 6, 7 };
    expect_exact(&m);
    m = head(RAFT_MSG_INSTALL_REPLY);
    m.install_reply = (struct raft_msg_install_reply){ 1, 2, 3, 4 };
    expect_exact(&m);
    m = head(RAFT_MSG_TIMEOUT_NOW);
    expect_exact(&m);
}

Test(raft_wire, entries_come_back)
{
    struct raft_config c = { 0 };
    CHECK(raft_config_set(&c, 4, RAFT_WITNESS));
    struct raft_entry e[] = {
        { 11, 3, RAFT_NOOP, NULL },
        { 12, 3, RAFT_COMMAND, buf_copy(slice_of("command", 7)) },
        { 13, 40, RAFT_CONFIG, raft_config_buf(&c) },
    };
    struct raft_msg m = head(RAFT_MSG_APPEND);
    m.append = (struct raft_msg_append){ 10, 2, 9, 8, 7, 4, true, 6, 5, ARRAY_COUNT(e), e };
    expect_exact(&m);
    m.append.count = 0;
    m.append.entries = NULL;
    expect_exact(&m);
    for (size_t i = 0; i < ARRAY_COUNT(e); i++)
        buf_unref(&e[i].bytes);
}

Test(raft_wire, chunk_comes_back)
{
    struct raft_msg m = head(RAFT_MSG_INSTALL);
    m.install = (struct raft_msg_install){
        .snapshot = { .index = 5, .term = 4, .id = 3, .bytes = 12, .config_index = 2 },
        .offset = 5,
        .round = 1,
        .chunk = buf_copy(slice_of("snapshot", 7)),
    };
    CHECK(raft_config_set(&m.install.snapshot.config, 4, RAFT_VOTER));
    expect_exact(&m);
    raft_msg_fini(&m);
}

static bool is_taken(const struct raft_msg *m)
{
    struct raft_msg back;
    struct buf *b = octets_of(m);
    bool ok = raft_wire_take(buf_slice(b), &back);
    if (ok)
        raft_msg_fini(&back);
    buf_unref(&b);
    return ok;
}

Test(raft_wire, what_no_member_says_is_refused)
{
    struct raft_msg m = head(RAFT_MSG_TIMEOUT_NOW);
    m.from = 0;
    cr_expect(not(is_taken(&m)));
    m = head(RAFT_MSG_TIMEOUT_NOW);
    m.term = UINT64_MAX;
    cr_expect(not(is_taken(&m)));
    m = head(RAFT_MSG_VOTE);
    m.vote.last_index = UINT64_MAX;
    cr_expect(not(is_taken(&m)));

    /* Terms that fall, or pass the leader's; a command of nothing; a no-op of something. */
    struct raft_entry e[2] = { { 2, 5, RAFT_NOOP, NULL }, { 3, 4, RAFT_NOOP, NULL } };
    m = head(RAFT_MSG_APPEND);
    m.append =
        (struct raft_msg_append){ .prev_index = 1, .prev_term = 1, .count = 2, .entries = e };
    cr_expect(not(is_taken(&m)));
    e[1].term = 41;
    cr_expect(not(is_taken(&m)));
    e[1].term = 40;
    cr_expect(is_taken(&m));
    e[1].kind = RAFT_COMMAND;
    cr_expect(not(is_taken(&m)));
    e[1].kind = RAFT_CONFIG;
    cr_expect(not(is_taken(&m)));
    e[1].kind = RAFT_NOOP;
    e[1].bytes = buf_copy(slice_of("x", 1));
    cr_expect(not(is_taken(&m)));
    buf_unref(&e[1].bytes);

    m = head(RAFT_MSG_INSTALL);
    m.install = (struct raft_msg_install){ .snapshot = { .index = 5, .bytes = 3 }, .offset = 4 };
    cr_expect(not(is_taken(&m)));
    m.install.offset = 3;
    cr_expect(is_taken(&m));
    m.install.snapshot.index = 0;
    cr_expect(not(is_taken(&m)));
}

/* A count is believed only as far as there are octets for it. */
Test(raft_wire, count_without_entries_costs_nothing)
{
    struct raft_msg m = head(RAFT_MSG_APPEND), back;
    struct buf *b = octets_of(&m);
    memset(b->data + b->len_bytes - 4, 0xff, 4);
    cr_expect(not(raft_wire_take(buf_slice(b), &back)));
    b->data[b->len_bytes - 4] = b->data[b->len_bytes - 3] = 0;
    b->data[b->len_bytes - 2] = 0x10;
    cr_expect(not(raft_wire_take(buf_slice(b), &back)));
    buf_unref(&b);
}

Test(raft_wire, copy_has_references_of_its_own)
{
    struct raft_entry e = { 2, 1, RAFT_COMMAND, buf_copy(slice_of("x", 1)) };
    struct raft_msg m = head(RAFT_MSG_APPEND), copy;
    m.append.count = 1;
    m.append.entries = &e;
    raft_msg_copy(&copy, &m);
    cr_expect(not(buf_is_sole(e.bytes)));
    raft_msg_fini(&copy);
    cr_expect(buf_is_sole(e.bytes));
    buf_unref(&e.bytes);
}
