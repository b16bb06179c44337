#include "amqp_kit.h"

#include <stdlib.h>

const enum amqp_method_id kit_methods[] = {
#define X(NAME, name, class_no, method_no, text, sender) AMQP_##NAME,
    AMQP_METHODS(X)
#undef X
};
const size_t kit_methods_count = ARRAY_COUNT(kit_methods);

struct slice kit_table(void)
{
    static uint8_t room[512];
    struct wire_out w = wire_out_over(room, sizeof room);
    amqp_table_put_bool(&w, "yes", true);
    amqp_table_put_bool(&w, "no", false);
    amqp_table_put_i32(&w, "i32", -2);
    amqp_table_put_i64(&w, "i64", INT64_MIN);
    amqp_table_put_u64(&w, "u64", UINT64_MAX);
    amqp_table_put_double(&w, "double", -0.5);
    amqp_table_put_timestamp(&w, "when", 1700000000);
    amqp_table_put_text(&w, "text", "h\xC3\xA4");
    amqp_table_put_void(&w, "nothing");
    size_t table = amqp_table_begin(&w, "table");
    size_t array = amqp_array_begin(&w, "array");
    amqp_table_put_text(&w, NULL, "element");
    size_t inner = amqp_table_begin(&w, NULL);
    amqp_table_end(&w, inner);
    amqp_table_end(&w, array);
    amqp_table_end(&w, table);
    static const uint8_t rest[] = "\1bb\x80\1BB\x80\1ss\x80\0\1uu\x80\0\1ii\xFF\xFF\xFF\xFF"
                                  "\1ff\x3F\xC0\0\0\1DD\2\0\0\1\x3A\1xx\0\0\0\2\0\xFF"
                                  "\1LL\0\0\0\0\0\0\0\7";
    wire_put_bytes(&w, slice_of(rest, sizeof rest - 1));
    cr_assert(not(w.overflow));
    return wire_out_slice(&w);
}

static struct slice words(struct rng *chance)
{
    static const char text[] = "the quick brown f\xC3\xB6x.jumps/over_the lazy d\xF0\x9F\x90\xB0g";
    size_t whole[] = { 0, 1, 4, 10, 19, sizeof text - 1 };
    return slice_of(text, whole[rng_u64(chance) % ARRAY_COUNT(whole)]);
}

#define FILL_u8(name)       m->name = (uint8_t)rng_u64(chance);
#define FILL_u16(name)      m->name = (uint16_t)rng_u64(chance);
#define FILL_u32(name)      m->name = (uint32_t)rng_u64(chance);
#define FILL_u64(name)      m->name = rng_u64(chance);
#define FILL_bit(name)      m->name = (rng_u64(chance) & 1) != 0;
#define FILL_shortstr(name) m->name = words(chance);
#define FILL_longstr(name)  m->name = words(chance);
#define FILL_table(name)    m->name = (rng_u64(chance) & 1) != 0 ? kit_table() : slice_of(NULL, 0);
#define FILL_none(name)     (void)m, (void)chance;
#define FILL(kind, name)    FILL_##kind(name)
#define X(NAME, name, class_no, method_no, text, sender)                                           \
    static void fill_##name(struct amqp_##name *m, struct rng *chance)                             \
    {                                                                                              \
        AMQP_##NAME(FILL)                                                                          \
    }
AMQP_METHODS(X)
#undef X

struct amqp_method kit_method(enum amqp_method_id id, struct rng *chance)
{
    struct amqp_method m = { .id = id };
    switch (id) {
#define X(NAME, name, class_no, method_no, text, sender)                                           \
    case AMQP_##NAME:                                                                              \
        fill_##name(&m.name, chance);                                                              \
        break;
        AMQP_METHODS(X)
#undef X
    }
    return m;
}

#define SAME_u8(name)       &&a->name == b->name
#define SAME_u16(name)      &&a->name == b->name
#define SAME_u32(name)      &&a->name == b->name
#define SAME_u64(name)      &&a->name == b->name
#define SAME_bit(name)      &&a->name == b->name
#define SAME_shortstr(name) &&slice_eq(a->name, b->name)
#define SAME_longstr(name)  &&slice_eq(a->name, b->name)
#define SAME_table(name)    &&slice_eq(a->name, b->name)
#define SAME_none(name)     &&a != NULL &&b != NULL
#define SAME(kind, name)    SAME_##kind(name)
#define X(NAME, name, class_no, method_no, text, sender)                                           \
    static bool same_##name(const struct amqp_##name *a, const struct amqp_##name *b)              \
    {                                                                                              \
        return true AMQP_##NAME(SAME);                                                             \
    }
AMQP_METHODS(X)
#undef X

bool kit_method_eq(const struct amqp_method *a, const struct amqp_method *b)
{
    if (a->id != b->id)
        return false;
    switch (a->id) {
#define X(NAME, name, class_no, method_no, text, sender)                                           \
    case AMQP_##NAME:                                                                              \
        return same_##name(&a->name, &b->name);
        AMQP_METHODS(X)
#undef X
    }
    return false;
}

struct slice kit_exact(struct slice s)
{
    uint8_t *block = malloc(s.len != 0 ? s.len : 1);
    cr_assert(block != NULL);
    if (s.len != 0)
        memcpy(block, s.ptr, s.len);
    return slice_of(block, s.len);
}

void kit_free(struct slice s)
{
    free((void *)(uintptr_t)s.ptr);
}

struct slice kit_hex(const char *hex)
{
    static uint8_t rooms[8][512];
    static unsigned turn;
    uint8_t *room = rooms[turn++ % ARRAY_COUNT(rooms)];
    size_t len = 0;
    for (const char *at = hex; *at != '\0';) {
        char *end;
        char octet[3] = { at[0], at[1], '\0' };
        cr_assert(len < sizeof rooms[0]);
        room[len++] = (uint8_t)strtoul(octet, &end, 16);
        cr_assert(end == octet + 2, "in \"%s\"", hex);
        for (at += 2; *at == ' '; at++)
            continue;
    }
    return slice_of(room, len);
}
