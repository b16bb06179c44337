/*
 * wire: bounds-checked reading and writing of bytes in network order.
 *
 * A reader that runs out stays out and yields zeros and empty slices, so a parser reads straight
 * on and asks `ran_out` once. A writer that is full stays full and drops what does not fit; the
 * caller asks `overflow` once. Neither allocates; slices that a reader lends point into its input.
 * All inline: this is the innermost loop of every codec.
 */
#ifndef WARREN_WIRE_H
#define WARREN_WIRE_H

#include "base/attr.h"
#include "base/check.h"
#include "base/slice.h"

struct wire {
    const uint8_t *at;
    const uint8_t *end;
    bool ran_out;
};

static inline struct wire wire_over(struct slice in)
{
    /* Never NULL, so that moving on by 0 octets is defined. */
    const uint8_t *at = in.len != 0 ? in.ptr : (const uint8_t *)"";
    return (struct wire){ at, at + in.len, false };
}

static inline size_t wire_left(const struct wire *w)
{
    return (size_t)(w->end - w->at);
}

/* The next n octets, borrowed from the input; empty, and the wire runs out, when there are fewer.
 */
static inline struct slice wire_take(struct wire *w, size_t n)
{
    if (UNLIKELY(n > wire_left(w))) {
        w->at = w->end;
        w->ran_out = true;
        return (struct slice){ NULL, 0 };
    }
    struct slice s = { w->at, n };
    w->at += n;
    return s;
}

static inline struct slice wire_rest(struct wire *w)
{
    return wire_take(w, wire_left(w));
}

static inline uint8_t wire_u8(struct wire *w)
{
    struct slice s = wire_take(w, 1);
    return s.len != 0 ? s.ptr[0] : 0;
}

static inline uint16_t wire_u16(struct wire *w)
{
    struct slice s = wire_take(w, 2);
    if (UNLIKELY(s.len == 0))
        return 0;
    uint16_t v;
    memcpy(&v, s.ptr, 2);
    return __builtin_bswap16(v);
}

static inline uint32_t wire_u32(struct wire *w)
{
    struct slice s = wire_take(w, 4);
    if (UNLIKELY(s.len == 0))
        return 0;
    uint32_t v;
    memcpy(&v, s.ptr, 4);
    return __builtin_bswap32(v);
}

static inline uint64_t wire_u64(struct wire *w)
{
    struct slice s = wire_take(w, 8);
    if (UNLIKELY(s.len == 0))
        return 0;
    uint64_t v;
    memcpy(&v, s.ptr, 8);
    return __builtin_bswap64(v);
}

/* Our files count from the small end. */
#define WIRE_LE_READER(bits)                                                                       \
    static inline uint##bits##_t wire_u##bits##_le(struct wire *w)                                 \
    {                                                                                              \
        return __builtin_bswap##bits(wire_u##bits(w));                                             \
    }
WIRE_LE_READER(16)
WIRE_LE_READER(32)
WIRE_LE_READER(64)
#undef WIRE_LE_READER

/* Length in one octet, then as many octets (AMQP's short string, 4.2.5.3). */
static inline struct slice wire_shortstr(struct wire *w)
{
    return wire_take(w, wire_u8(w));
}

/* Length in four octets, then as many octets (AMQP's long string and table). */
static inline struct slice wire_longstr(struct wire *w)
{
    return wire_take(w, wire_u32(w));
}

struct wire_out {
    uint8_t *start;
    uint8_t *at;
    uint8_t *end;
    bool overflow;
};

static inline struct wire_out wire_out_over(void *into, size_t room)
{
    uint8_t *p = (uint8_t *)into;
    return (struct wire_out){ p, p, p + room, false };
}

static inline size_t wire_out_len(const struct wire_out *w)
{
    return (size_t)(w->at - w->start);
}

static inline struct slice wire_out_slice(const struct wire_out *w)
{
    return (struct slice){ w->start, wire_out_len(w) };
}

/* From now on nothing fits. */
static inline void wire_out_fail(struct wire_out *w)
{
    w->overflow = true;
    w->end = w->at;
}

/* Room for n octets to be filled by the caller, or NULL when it does not fit. */
static inline uint8_t *wire_out_room(struct wire_out *w, size_t n)
{
    if (UNLIKELY(n > (size_t)(w->end - w->at))) {
        wire_out_fail(w);
        return NULL;
    }
    uint8_t *p = w->at;
    w->at += n;
    return p;
}

static inline void wire_put_u8(struct wire_out *w, uint8_t v)
{
    uint8_t *p = wire_out_room(w, 1);
    if (LIKELY(p != NULL))
        *p = v;
}

static inline void wire_put_u16(struct wire_out *w, uint16_t v)
{
    uint8_t *p = wire_out_room(w, 2);
    v = __builtin_bswap16(v);
    if (LIKELY(p != NULL))
        memcpy(p, &v, 2);
}

static inline void wire_put_u32(struct wire_out *w, uint32_t v)
{
    uint8_t *p = wire_out_room(w, 4);
    v = __builtin_bswap32(v);
    if (LIKELY(p != NULL))
        memcpy(p, &v, 4);
}

static inline void wire_put_u64(struct wire_out *w, uint64_t v)
{
    uint8_t *p = wire_out_room(w, 8);
    v = __builtin_bswap64(v);
    if (LIKELY(p != NULL))
        memcpy(p, &v, 8);
}

#define WIRE_LE_WRITER(bits)                                                                       \
    static inline void wire_put_u##bits##_le(struct wire_out *w, uint##bits##_t v)                 \
    {                                                                                              \
        wire_put_u##bits(w, __builtin_bswap##bits(v));                                             \
    }
WIRE_LE_WRITER(16)
WIRE_LE_WRITER(32)
WIRE_LE_WRITER(64)
#undef WIRE_LE_WRITER

static inline void wire_put_bytes(struct wire_out *w, struct slice s)
{
    uint8_t *p = wire_out_room(w, s.len);
    if (LIKELY(p != NULL) && s.len != 0)
        memcpy(p, s.ptr, s.len);
}

/* Where a copy of the octets is now; the caller has made room for them. */
static inline struct slice wire_out_keep(struct wire_out *w, struct slice s)
{
    uint8_t *p = wire_out_room(w, s.len);
    CHECK(p != NULL);
    if (s.len != 0)
        memcpy(p, s.ptr, s.len);
    return slice_of(p, s.len);
}

/* A string longer than 255 octets does not fit a short string: the writer overflows. */
static inline void wire_put_shortstr(struct wire_out *w, struct slice s)
{
    if (UNLIKELY(s.len > UINT8_MAX)) {
        wire_out_fail(w);
        return;
    }
    wire_put_u8(w, (uint8_t)s.len);
    wire_put_bytes(w, s);
}

static inline void wire_put_longstr(struct wire_out *w, struct slice s)
{
    if (UNLIKELY(s.len > UINT32_MAX)) {
        wire_out_fail(w);
        return;
    }
    wire_put_u32(w, (uint32_t)s.len);
    wire_put_bytes(w, s);
}

/* Leave four octets for a length that is known later; wire_fill_u32 writes it. */
static inline size_t wire_put_hole_u32(struct wire_out *w)
{
    size_t mark = wire_out_len(w);
    wire_put_u32(w, 0);
    return mark;
}

/* Fill the hole at `mark` with the number of octets written since it. */
static inline void wire_fill_u32(struct wire_out *w, size_t mark)
{
    if (w->overflow)
        return;
    uint32_t v = __builtin_bswap32((uint32_t)(wire_out_len(w) - mark - 4));
    memcpy(w->start + mark, &v, 4);
}

#endif
