#include "amqp/amqp_props.h"
#include "base/mem.h"
#include "expect.h"
#include "mem_disk.h"
#include "model/message.h"
#include "store/large.h"

#include <stdio.h>

TestSuite(large, .timeout = 300);

#define ID   UINT64_C(0x0000000300000007)
#define NAME "large/0000000300000007"

static const uint8_t persistent[] = { 0x10, 0x00, 2 };

static struct buf *block(size_t len, uint8_t first)
{
    struct buf *b = buf_new(len);
    for (size_t i = 0; i < len; i++)
        b->data[i] = (uint8_t)(first + i * 31 + i / 251);
    b->len_bytes = (uint32_t)len;
    return b;
}

/* In three parts of different lengths. */
static struct message *make(size_t a, size_t b, size_t c)
{
    struct buf **parts = mem_array(3, sizeof *parts);
    parts[0] = block(a, 1);
    parts[1] = block(b, 2);
    parts[2] = block(c, 3);
    return message_new_parts(slice_str("ex"), slice_str("the.key"),
                             slice_of(persistent, sizeof persistent), parts, 3, a + b + c, true);
}

static struct disk *disk_with(const struct message *m)
{
    struct err err = { 0 };
    struct disk *d = mem_disk_new();
    cr_assert(d->ops->make_folder(d, LARGE_FOLDER, &err));
    cr_assert(large_write(d, ID, m, &err), "%s", err.text);
    cr_assert(large_sync(d, &err), "%s", err.text);
    return d;
}

static uint8_t *body_of(const struct message *m)
{
    uint8_t *all = mem_alloc(m->body_bytes + 1);
    size_t at = 0;
    if (!message_is_in_parts(m)) {
        memcpy(all, message_body(m).ptr, m->body_bytes);
        return all;
    }
    for (uint32_t i = 0; i < message_more(m)->part_count; i++) {
        struct slice s = buf_slice(message_more(m)->parts[i]);
        memcpy(all + at, s.ptr, s.len);
        at += s.len;
    }
    cr_assert(eq(sz, at, m->body_bytes));
    return all;
}

static void expect_back(size_t a, size_t b, size_t c)
{
    struct err err = { 0 };
    struct message *m = make(a, b, c);
    struct disk *d = disk_with(m);
    struct message *back = large_read(d, ID, message_names(m), &err);
    cr_assert(back != NULL, "%s", err.text);
    cr_expect(eq(u32, back->body_bytes, m->body_bytes));
    cr_expect(slice_eq(message_props(back), message_props(m)));
    cr_expect(slice_eq(message_names(back), message_names(m)));
    cr_expect(back->persistent);
    cr_expect(eq(u64, message_large_id(back), m->body_bytes >= LARGE_BODY_LEAST ? ID : 0));
    uint8_t *was = body_of(m);
    uint8_t *is = body_of(back);
    cr_expect(memcmp(was, is, m->body_bytes) == 0);
    cr_expect(large_check(d, ID, m->body_bytes + m->props_bytes, &err), "%s", err.text);
    mem_free(was);
    mem_free(is);
    message_unref(&back);
    message_unref(&m);
    disk_free(&d);
}

Test(large, comes_back_as_it_was)
{
    expect_back(LARGE_BODY_LEAST, 1, 1);
    expect_back(70000, 131072, 3);
    expect_back(131072, 131072, 131072);
    expect_back(1000000, 999999, 1);
}

/* Wherever an octet is wrong, and wherever it ends. */
Test(large, tells_damage)
{
    struct err err = { 0 };
    struct message *m = make(200, 300, 33);
    struct disk *d = disk_with(m);
    uint64_t expected = m->body_bytes + m->props_bytes;
    size_t len;
    uint8_t *bytes = mem_disk_bytes(d, NAME, &len);
    for (size_t i = 0; i < len; i++) {
        bytes[i] ^= 0x20;
        cr_assert(large_read(d, ID, message_names(m), &err) == NULL, "octet %zu", i);
        cr_assert(eq(int, err.code, ERR_PROTOCOL));
        cr_assert(large_check(d, ID, expected, &err) == false, "octet %zu", i);
        bytes[i] ^= 0x20;
    }
    cr_expect(large_check(d, ID, expected, &err));
    cr_expect(large_check(d, ID, expected + 1, &err) == false);
    for (size_t n = len; n-- > 0;) {
        mem_disk_resize(d, NAME, n);
        cr_assert(large_read(d, ID, message_names(m), &err) == NULL, "cut at %zu", n);
        cr_assert(large_check(d, ID, expected, &err) == false, "cut at %zu", n);
    }
    message_unref(&m);
    disk_free(&d);
}

/* A file that was copied to another name is not that message. */
Test(large, is_the_one_of_its_name)
{
    struct err err = { 0 };
    struct message *m = make(200, 300, 33);
    struct disk *d = disk_with(m);
    size_t len;
    uint8_t *bytes = mem_disk_bytes(d, NAME, &len);
    uint8_t *copy = mem_dup(bytes, len);
    mem_disk_put(d, "large/0000000300000008", slice_of(copy, len));
    cr_expect(large_read(d, ID + 1, message_names(m), &err) == NULL);
    cr_expect(eq(int, err.code, ERR_PROTOCOL));
    cr_expect(large_read(d, ID + 2, message_names(m), &err) == NULL);
    cr_expect(eq(int, err.code, ERR_NOT_FOUND));
    mem_free(copy);
    message_unref(&m);
    disk_free(&d);
}

/* One that could not be written leaves nothing behind, and is written anew. */
Test(large, leaves_nothing_when_the_disk_is_full)
{
    struct message *m = make(200, 300, 33);
    struct disk *d = disk_with(m);
    static const enum mem_disk_op ops[] = { MEM_DISK_OPEN, MEM_DISK_WRITE, MEM_DISK_SYNC };
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        struct err err = { 0 };
        mem_disk_fail(d, ops[i], 0, ERR_LIMIT, false);
        cr_expect(large_write(d, ID, m, &err) == false);
        cr_expect(eq(int, err.code, ERR_LIMIT));
        cr_expect(mem_disk_has(d, NAME) == false);
        cr_expect(large_write(d, ID, m, &err), "%s", err.text);
        cr_expect(large_check(d, ID, m->body_bytes + m->props_bytes, &err));
    }
    message_unref(&m);
    disk_free(&d);
}

Test(large, has_a_name_for_each_id)
{
    char name[LARGE_NAME_MAX];
    uint64_t id;
    static const uint64_t ids[] = { 0, 1, ID, UINT64_MAX };
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        large_name(ids[i], name);
        cr_assert(strncmp(name, LARGE_FOLDER "/", 6) == 0);
        cr_assert(large_id_of(name + 6, &id));
        cr_expect(eq(u64, id, ids[i]));
    }
    static const char *const no[] = { "",
                                      "0",
                                      "000000030000000",
                                      "00000003000000070",
                                      "000000030000000g",
                                      "000000030000000A",
                                      "00000001.seg" };
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++)
        cr_expect(large_id_of(no[i], &id) == false, "%s", no[i]);
}
