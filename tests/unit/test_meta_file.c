#include "base/mem.h"
#include "cluster/meta_file.h"
#include "meta_world.h"
#include "old_log_kit.h"

static const struct meta_file_head some_head = {
    META_FILE_LOG, 42, 0x1122334455667788, 7, { 1, 2, 3 }
};

Test(meta_file, a_head_reads_back)
{
    uint8_t octets[META_FILE_HEAD_BYTES];
    struct meta_file_head back;
    old_head_put(octets, &some_head);
    cr_assert(meta_file_read_head(slice_of(octets, sizeof octets), &back) == META_HEAD_GOOD);
    cr_expect(back.kind == META_FILE_LOG && back.generation == 42 && back.first == 7);
    cr_expect(back.salt == some_head.salt && memcmp(back.store_id, some_head.store_id, 16) == 0);
}

Test(meta_file, a_head_with_any_bit_turned_or_cut_is_none)
{
    uint8_t octets[META_FILE_HEAD_BYTES];
    struct meta_file_head back;
    old_head_put(octets, &some_head);
    for (size_t n = 0; n < sizeof octets; n++)
        cr_expect(meta_file_read_head(slice_of(octets, n), &back) == META_HEAD_BAD);
    for (size_t bit = 0; bit < sizeof octets * 8; bit++) {
        octets[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_expect(meta_file_read_head(slice_of(octets, sizeof octets), &back) == META_HEAD_BAD,
                  "bit %zu", bit);
        octets[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

/* One group with an item or two. */
static size_t make_group(uint8_t room[1024])
{
    struct meta_item cmd = { .is_command = true, .cmd = q_declare("q"), .id = 9 };
    struct meta_item ids = { .id = 1234 };
    memset(room, 0xEE, 1024);
    struct wire_out w = wire_out_over(room + META_GROUP_HEAD, 400);
    old_item_put(&w, &cmd);
    old_item_put(&w, &ids);
    cr_assert(wire_out_len(&w) == old_item_size(&cmd) + old_item_size(&ids));
    struct meta_group g = { .number = 5, .count = 2, .items = wire_out_slice(&w) };
    old_group_seal(room, &g, 77, 512);
    return meta_group_length(g.items.len);
}

Test(meta_file, a_group_reads_back)
{
    uint8_t room[1024];
    size_t len = make_group(room), need;
    struct meta_group g;
    struct meta_item item;
    cr_assert(meta_group_cut(slice_of(room, len), 77, 512, &g, &need) == META_CUT_GROUP);
    cr_expect(g.number == 5 && g.count == 2 && g.length == len);
    struct wire w = wire_over(g.items);
    cr_assert(meta_item_take(&w, &item) && item.is_command && item.id == 9);
    cr_expect(slice_is(item.cmd.name, "q"));
    cr_assert(meta_item_take(&w, &item) && !item.is_command && item.id == 1234);
    cr_expect(not(meta_item_take(&w, &item)));
}

Test(meta_file, every_prefix_of_a_group_wants_more)
{
    uint8_t room[1024];
    size_t len = make_group(room), need;
    struct meta_group g;
    for (size_t n = 0; n < len; n++) {
        uint8_t *cut = mem_dup(room, n + 1);
        cr_expect(meta_group_cut(slice_of(cut, n), 77, 512, &g, &need) == META_CUT_MORE);
        cr_expect(need > n && need <= len);
        mem_free(cut);
    }
}

Test(meta_file, a_group_elsewhere_or_with_any_bit_turned_is_none)
{
    uint8_t room[1024];
    size_t len = make_group(room), need;
    struct meta_group g;
    cr_expect(meta_group_cut(slice_of(room, len), 77, 1024, &g, &need) == META_CUT_BAD);
    cr_expect(meta_group_cut(slice_of(room, len), 78, 512, &g, &need) == META_CUT_BAD);
    size_t summed = META_GROUP_HEAD + g.items.len;
    for (size_t bit = 0; bit < summed * 8; bit++) {
        room[bit / 8] ^= (uint8_t)(1u << bit % 8);
        enum meta_cut cut = meta_group_cut(slice_of(room, len), 77, 512, &g, &need);
        cr_expect(cut == META_CUT_BAD || (cut == META_CUT_MORE && need > len), "bit %zu", bit);
        room[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

Test(meta_file, zeros_are_no_group)
{
    uint8_t zeros[META_GROUP_HEAD] = { 0 };
    struct meta_group g;
    size_t need;
    cr_expect(meta_group_cut(slice_of(zeros, sizeof zeros), 1, 512, &g, &need) == META_CUT_NONE);
    cr_expect(meta_group_cut(slice_of(zeros, 31), 1, 512, &g, &need) == META_CUT_MORE);
}

Test(meta_file, knows_its_names)
{
    char name[META_NAME_ROOM];
    enum meta_file_kind kind;
    uint64_t generation;
    meta_file_name(META_FILE_LOG, 0x2a, name);
    cr_expect(eq(str, name, "meta/log-0000002a"));
    meta_file_name(META_FILE_SNAPSHOT, UINT64_MAX, name);
    cr_assert(meta_file_named(name + 5, &kind, &generation));
    cr_expect(kind == META_FILE_SNAPSHOT && generation == UINT64_MAX);
    static const char *const others[] = { "",
                                          "log-",
                                          "log-1",
                                          "log.new",
                                          "log-0x2",
                                          "log-0000002A",
                                          "log-0000002a ",
                                          "snapshot",
                                          "lag-00000001",
                                          "log-000000001",
                                          "snapshot-+0000001" };
    for (size_t i = 0; i < ARRAY_COUNT(others); i++)
        cr_expect(not(meta_file_named(others[i], &kind, &generation)), "%s", others[i]);
}
