#include "client/reply_to.h"

#include "base/attr.h"
#include "base/rng.h"
#include "expect.h"

static struct reply_address some(uint64_t seed)
{
    struct rng r;
    rng_init(&r, seed);
    struct reply_address a = { .channel = { rng_u64(&r), (uint32_t)rng_u64(&r),
                                            (uint16_t)rng_u64(&r) } };
    for (size_t i = 0; i < sizeof a.secret; i++)
        a.secret[i] = (uint8_t)rng_u64(&r);
    return a;
}

Test(reply_to, what_was_written_is_read)
{
    for (uint64_t seed = 1; seed < 200; seed++) {
        struct reply_address a = some(seed);
        struct reply_address b;
        uint8_t name[REPLY_TO_ADDRESS_BYTES];
        reply_to_write(&a, name);
        cr_expect(slice_starts(slice_of(name, sizeof name), "amq.rabbitmq.reply-to."));
        cr_assert(reply_to_read(slice_of(name, sizeof name), &b));
        cr_expect(eq(u64, b.channel.connection, a.channel.connection));
        cr_expect(eq(u32, b.channel.incarnation, a.channel.incarnation));
        cr_expect(eq(u16, b.channel.number, a.channel.number));
        cr_expect(reply_to_same_secret(&a, &b));
        cr_expect(eq(int, reply_to_compare(&a, &b), 0));
        b.secret[seed % 16] ^= (uint8_t)(1u << seed % 8);
        cr_expect(not(reply_to_same_secret(&a, &b)));
        cr_expect(ne(int, reply_to_compare(&a, &b), 0));
    }
}

Test(reply_to, nothing_else_is_one)
{
    struct reply_address a = some(3);
    struct reply_address b;
    uint8_t name[REPLY_TO_ADDRESS_BYTES + 1];
    reply_to_write(&a, name);
    name[REPLY_TO_ADDRESS_BYTES] = '0';
    for (size_t n = 0; n < REPLY_TO_ADDRESS_BYTES; n++)
        cr_expect(not(reply_to_read(slice_of(name, n), &b)), "%zu octets", n);
    cr_expect(not(reply_to_read(slice_of(name, sizeof name), &b)), "one more");
    for (size_t i = 0; i < REPLY_TO_ADDRESS_BYTES; i++) {
        static const uint8_t wrong[] = { 0, 'g', 'A', '/', ':', ' ', 0xFF };
        uint8_t was = name[i];
        for (size_t k = 0; k < ARRAY_COUNT(wrong); k++) {
            name[i] = wrong[k];
            cr_expect(not(reply_to_read(slice_of(name, REPLY_TO_ADDRESS_BYTES), &b)),
                      "octet %zu is %u", i, wrong[k]);
        }
        name[i] = was;
    }
}
