/*
 * Decodes a method, encodes it, decodes it again: the second octets are stable, since encoding
 * clears what decoding ignores (spare bits).
 */
#include "amqp/amqp_method.h"
#include "base/check.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void explain(enum amqp_decode verdict, struct slice payload)
{
    char room[AMQP_REPLY_TEXT_MAX + 1];
    struct text why = text_over(room, sizeof room);
    amqp_decode_why(verdict, payload, &why);
    CHECK(why.len != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, size);
    struct amqp_method m, again;
    enum amqp_decode verdict = amqp_method_decode(in, &m);
    if (verdict != AMQP_DECODE_OK)
        explain(verdict, in);
    if (verdict == AMQP_DECODE_UNKNOWN || verdict == AMQP_DECODE_BAD)
        return 0;
    CHECK(amqp_method_is_known(m.id) && amqp_method_peek(in) == (uint32_t)m.id);

    uint8_t *first = malloc(size), *second = malloc(size);
    CHECK(first != NULL && second != NULL);
    struct wire_out a = wire_out_over(first, size), b = wire_out_over(second, size);
    amqp_method_encode(&a, &m);
    CHECK(!a.overflow && wire_out_len(&a) == size);
    CHECK(amqp_method_decode(wire_out_slice(&a), &again) == verdict);
    amqp_method_encode(&b, &again);
    CHECK(slice_eq(wire_out_slice(&a), wire_out_slice(&b)));
    free(first);
    free(second);
    return 0;
}
