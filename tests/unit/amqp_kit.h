/*
 * amqp_kit: what the tests of src/amqp share. Methods with all fields set, and blocks of exactly
 * the size of what they hold, so that a sanitizer sees the first octet read too far.
 */
#ifndef WARREN_TESTS_AMQP_KIT_H
#define WARREN_TESTS_AMQP_KIT_H

#include "amqp/amqp_frame.h"
#include "amqp/amqp_handshake.h"
#include "amqp/amqp_method.h"
#include "amqp/amqp_props.h"
#include "amqp/amqp_table.h"
#include "base/rng.h"
#include "expect.h"

#define KIT_FRAME_MAX 131072u

/* Every method there is. */
extern const enum amqp_method_id kit_methods[];
extern const size_t kit_methods_count;

/* The method with values by chance in all fields; tables and texts are good ones. */
struct amqp_method kit_method(enum amqp_method_id id, struct rng *chance);
bool kit_method_eq(const struct amqp_method *a, const struct amqp_method *b);

/* A table with each type in it, nested too; good until the next call. */
struct slice kit_table(void);

/* A copy in a block of its own, of exactly that size. kit_free frees it. */
struct slice kit_exact(struct slice s);
void kit_free(struct slice s);

/* "0a ff" to octets; good until the eighth call after it. */
struct slice kit_hex(const char *hex);

/* Text of a bounded builder, compared. */
#define expect_slice(got, want)                                                                    \
    do {                                                                                           \
        struct slice kit_got = (got);                                                              \
        const char *kit_want = (want);                                                             \
        cr_expect(slice_is(kit_got, kit_want), "got \"%.*s\", want \"%s\"", SLICE_ARG(kit_got),    \
                  kit_want);                                                                       \
    } while (0)

#endif
