#include "model/consistent_hash.h"

#include "amqp/amqp_props.h"
#include "amqp/amqp_table.h"
#include "base/attr.h"
#include "expect.h"

#include <stdio.h>

enum { KEYS = 20000, MOST = 16 };

/* Where each key goes among so many destinations. */
static void assign(const char *const *weights, unsigned count, uint8_t *out)
{
    for (unsigned k = 0; k < KEYS; k++) {
        char key[16];
        snprintf(key, sizeof key, "key%u", k);
        struct consistent_hash best = consistent_hash_for(slice_str(key));
        out[k] = UINT8_MAX;
        for (unsigned d = 0; d < count; d++) {
            char name[16];
            snprintf(name, sizeof name, "queue%u", d);
            if (weights[d] != NULL &&
                consistent_hash_offer(&best, slice_str(name), slice_str(weights[d])))
                out[k] = (uint8_t)d;
        }
        cr_assert(ne(u8, out[k], UINT8_MAX));
    }
}

Test(consistent_hash, shares_by_weight)
{
    static const char *const weights[] = { "1", "2", "3", "10" };
    static uint8_t to[KEYS];
    unsigned counts[4] = { 0 };
    assign(weights, 4, to);
    for (unsigned k = 0; k < KEYS; k++)
        counts[to[k]]++;
    static const unsigned want[] = { 1250, 2500, 3750, 12500 };
    for (unsigned d = 0; d < 4; d++) {
        cr_expect(gt(u32, counts[d], want[d] * 9 / 10), "%u", d);
        cr_expect(lt(u32, counts[d], want[d] * 11 / 10), "%u", d);
    }
}

Test(consistent_hash, moves_only_what_it_must)
{
    static uint8_t before[KEYS];
    static uint8_t after[KEYS];
    const char *weights[] = { "5", "5", "5", "5", NULL };
    assign(weights, 5, before);
    weights[4] = "5";
    assign(weights, 5, after);
    for (unsigned k = 0; k < KEYS; k++)
        cr_expect(after[k] == 4 || after[k] == before[k], "one more");
    weights[1] = NULL;
    assign(weights, 5, before);
    for (unsigned k = 0; k < KEYS; k++)
        cr_expect(after[k] == 1 || after[k] == before[k], "one less");
}

Test(consistent_hash, weights_are_read_as_erlang_does)
{
    static const struct {
        const char *text;
        bool ok;
        double value;
    } cases[] = {
        { "1", true, 1 },    { "007", true, 7 },  { "+3", true, 3 },        { "-4", true, -4 },
        { "-0", true, 0 },   { "", false, 0 },    { "+", false, 0 },        { "-", false, 0 },
        { "1.5", false, 0 }, { " 1", false, 0 },  { "1 ", false, 0 },       { "a", false, 0 },
        { "1e3", false, 0 }, { "--1", false, 0 }, { "1000000", true, 1e6 },
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        double got = 0;
        cr_expect(eq(int, consistent_hash_weight(slice_str(cases[i].text), &got), cases[i].ok),
                  "%s", cases[i].text);
        cr_expect(eq(dbl, got, cases[i].value), "%s", cases[i].text);
    }
    char nines[256];
    memset(nines, '9', 255);
    nines[255] = '\0';
    double much;
    cr_expect(consistent_hash_weight(slice_str(nines), &much));
    cr_expect(gt(dbl, much, 1e254));
}

Test(consistent_hash, what_is_not_there_is_one_value)
{
    struct slice none = slice_of(NULL, 0);
    uint64_t want = consistent_hash_for(none).value;
    uint8_t room[64];
    struct wire_out w = wire_out_over(room, sizeof room);
    amqp_table_put_i32(&w, "a", 1);
    amqp_table_put_i32(&w, "b", 2);
    struct slice headers = slice_of(room, wire_out_len(&w));
    struct slice name = slice_str("c");
    cr_expect(eq(u64, consistent_hash_for_header(none, name).value, want));
    cr_expect(eq(u64, consistent_hash_for_header(headers, name).value, want));
    cr_expect(ne(u64, consistent_hash_for_header(headers, slice_str("a")).value,
                 consistent_hash_for_header(headers, slice_str("b")).value));
    struct slice id = slice_str("message_id");
    cr_expect(eq(u64, consistent_hash_for_property(none, id).value, want));
    cr_expect(eq(u64, consistent_hash_for_property(AMQP_PROPS_NONE, id).value, want));
    cr_expect(
        eq(u64, consistent_hash_for_property(AMQP_PROPS_NONE, slice_str("timestamp")).value, want));
}
