#include "base/hash.h"

#include "expect.h"

/* Checksums are stored and travel: the function must never change. Of XXH3 with seed 0. */
Test(hash, is_what_it_always_was)
{
    cr_expect(eq(u64, hash_bytes(slice_of(NULL, 0), 0), UINT64_C(0x2D06800538D394C2)));
    cr_expect(eq(u64, hash_bytes(slice_str(""), 0), UINT64_C(0x2D06800538D394C2)));
}

Test(hash, depends_on_each_octet_and_the_seed)
{
    uint8_t bytes[300] = { 0 };
    for (size_t n = 1; n <= sizeof bytes; n += n < 20 ? 1 : 40) {
        uint64_t h = hash_bytes(slice_of(bytes, n), 1);
        cr_expect(h != hash_bytes(slice_of(bytes, n - 1), 1));
        cr_expect(h != hash_bytes(slice_of(bytes, n), 2));
        for (size_t i = 0; i < n; i++) {
            bytes[i] ^= 1;
            cr_expect(h != hash_bytes(slice_of(bytes, n), 1), "octet %zu of %zu", i, n);
            bytes[i] ^= 1;
        }
    }
}

/* Ids that differ in one bit spread over all bits, the lowest ones too. */
Test(hash, mixes_numbers)
{
    unsigned used = 0;
    bool slots[256] = { false };
    for (uint64_t id = 0; id < 256; id++) {
        uint64_t slot = hash_u64(id << 32) % 256;
        used += !slots[slot];
        slots[slot] = true;
    }
    cr_expect(used > 128, "%u of 256 slots", used); /* chance gives 162 */
    cr_expect(hash_u64(1) != hash_u64(2));
}

/* However the octets are cut. */
Test(hash, of_parts_is_that_of_the_whole)
{
    uint8_t bytes[5000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 256);
    for (size_t n = 0; n <= sizeof bytes; n += n < 300 ? 1 : 97) {
        for (size_t cut = 1; cut < 3000; cut = cut * 3 + 1) {
            struct hash_parts *h = hash_parts_new(n % 3);
            for (size_t at = 0; at < n; at += cut)
                hash_parts_add(h, slice_of(bytes + at, n - at < cut ? n - at : cut));
            cr_assert(eq(u64, hash_parts_end(&h), hash_bytes(slice_of(bytes, n), n % 3)));
            cr_assert(h == NULL);
        }
    }
}
