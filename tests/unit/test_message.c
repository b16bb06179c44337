#include "model/message.h"

#include "base/mem.h"
#include "expect.h"

Test(message, shows_what_it_was_made_of)
{
    struct message *m = message_new(slice_str("logs"), slice_str("a.b"), slice_of("\x10\0\2", 3),
                                    slice_str("body"), true);
    cr_expect(slice_is(message_exchange(m), "logs"));
    cr_expect(slice_is(message_key(m), "a.b"));
    cr_expect(slice_eq(message_names(m), slice_of("\4logs\3a.b", 9)));
    cr_expect(slice_eq(message_props(m), slice_of("\x10\0\2", 3)));
    cr_expect(slice_is(message_body(m), "body"));
    cr_expect(m->persistent);
    size_t cost = message_cost_bytes(m);
    cr_expect(eq(sz, message_unref(&m), cost));
    cr_expect(eq(ptr, m, NULL));
}

Test(message, names_may_be_empty_or_as_long_as_a_short_string)
{
    char longest[255];
    memset(longest, 'n', sizeof longest);
    struct slice name = slice_of(longest, sizeof longest);
    struct message *m = message_new(name, name, slice_of("\0\0", 2), slice_of(NULL, 0), false);
    cr_expect(slice_eq(message_exchange(m), name));
    cr_expect(slice_eq(message_key(m), name));
    cr_expect(eq(sz, message_body(m).len, 0));
    message_unref(&m);
    m = message_new(slice_of(NULL, 0), slice_of(NULL, 0), slice_of("\0\0", 2), slice_str("b"),
                    false);
    cr_expect(eq(sz, message_exchange(m).len, 0));
    cr_expect(eq(sz, message_key(m).len, 0));
    cr_expect(slice_is(message_body(m), "b"));
    message_unref(&m);
}

Test(message, only_the_last_reference_frees_parts_and_all)
{
    struct buf **parts = mem_array(2, sizeof(struct buf *));
    parts[0] = buf_copy(slice_str("first"));
    parts[1] = buf_copy(slice_str("second"));
    struct message *m =
        message_new_parts(slice_str(""), slice_str("q"), slice_of("\0\0", 2), parts, 2, 11, false);
    struct message *other = message_ref(m);
    cr_expect(eq(sz, message_unref(&m), 0));
    cr_expect(slice_is(buf_slice(message_more(other)->parts[1]), "second"));
    cr_expect(lt(sz, 11, message_unref(&other)));
}

Test(message, a_large_one_carries_the_id_of_its_file)
{
    uint8_t *body = mem_zalloc(MESSAGE_LARGE_BYTES);
    body[0] = 'b';
    struct slice names = slice_str("q"), props = slice_of("\0\0", 2);
    struct message *m = message_new(names, names, props, slice_of(body, MESSAGE_LARGE_BYTES), true);
    cr_expect(eq(u64, message_large_id(m), 0));
    message_set_large_id(m, 4711);
    cr_expect(eq(u64, message_large_id(m), 4711));
    cr_expect(slice_eq(message_body(m), slice_of(body, MESSAGE_LARGE_BYTES)));
    cr_expect(not(message_is_in_parts(m)));
    struct message *copy = message_with_props(m, names, names, props);
    cr_expect(eq(u64, message_large_id(copy), 0), "it has a file of its own, or none");
    message_unref(&m);
    message_unref(&copy);
    m = message_new(names, names, props, slice_of(body, MESSAGE_LARGE_BYTES - 1), true);
    cr_expect(eq(u64, message_large_id(m), 0));
    cr_expect(eq(sz, sizeof *m, 16), "a small one pays nothing for it");
    message_unref(&m);
    mem_free(body);
}
