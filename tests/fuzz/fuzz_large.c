/* Files of large messages as a disk may give them back: with headers and checks that are right, or
 * not, over content that is anything. They are refused, or read, and then all that is said of them
 * agrees.
 *
 *   input    three octets, each less '0': which checks are made right (1 header, 2 content; 4: the
 *            rest is the whole file), octets of properties, what is wrong with the header (1
 * version, 2 its length, 4 id, 8 properties' octets, 16 body octets); properties and body */
#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/wire.h"
#include "model/message.h"
#include "store/large.h"

#include "../unit/mem_disk.h"

#define ID    UINT64_C(0x1122334455667788)
#define MAGIC UINT64_C(0x454752414c525257)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t digit(struct wire *w)
{
    return (uint8_t)(wire_u8(w) - '0');
}

static void put_header(uint8_t *file, struct slice content, uint8_t right, size_t props,
                       uint8_t wrong)
{
    struct wire_out w = wire_out_over(file, LARGE_HEADER_BYTES);
    struct hash_parts *sum = hash_parts_new(ID);
    hash_parts_add(sum, content);
    uint64_t check = hash_parts_end(&sum);
    wire_put_u64_le(&w, MAGIC);
    wire_put_u16_le(&w, wrong & 1 ? 2 : 1);
    wire_put_u16_le(&w, LARGE_HEADER_BYTES + (wrong & 2));
    wire_put_u32_le(&w, (uint32_t)props + (wrong & 8));
    wire_put_u64_le(&w, content.len - props + (wrong & 16));
    wire_put_u64_le(&w, ID + (wrong & 4));
    wire_put_u64_le(&w, right & 2 ? check : 1);
    wire_put_u64_le(&w, right & 1 ? hash_bytes(slice_of(file, LARGE_HEADER_BYTES - 8), 0) : 1);
    CHECK(!w.overflow);
}

static void read_it(struct disk *d, size_t len)
{
    static const uint8_t names[] = { 0, 1, 'k' };
    struct err err;
    struct message *m = large_read(d, ID, slice_of(names, sizeof names), &err);
    bool is_whole = len >= LARGE_HEADER_BYTES && large_check(d, ID, len - LARGE_HEADER_BYTES, &err);
    CHECK(is_whole == (m != NULL));
    CHECK(!large_check(d, ID, len, &err));
    if (m == NULL)
        return;
    CHECK(m->props_bytes + m->body_bytes == len - LARGE_HEADER_BYTES);
    CHECK(slice_eq(message_key(m), slice_str("k")));
    message_unref(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char name[LARGE_NAME_MAX];
    struct wire in = wire_over(slice_of(data, size));
    uint8_t right = digit(&in), props = digit(&in), wrong = digit(&in);
    struct slice rest = wire_rest(&in);
    size_t head = right & 4 ? 0 : LARGE_HEADER_BYTES;
    uint8_t *file = mem_zalloc(head + rest.len + 1);
    if (rest.len != 0)
        memcpy(file + head, rest.ptr, rest.len);
    if (head != 0)
        put_header(file, slice_of(file + head, rest.len), right,
                   props < rest.len ? props : rest.len, wrong);
    struct disk *d = mem_disk_new();
    large_name(ID, name);
    mem_disk_put(d, name, slice_of(file, head + rest.len));
    read_it(d, head + rest.len);
    mem_free(file);
    disk_free(&d);
    return 0;
}
