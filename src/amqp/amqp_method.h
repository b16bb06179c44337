/*
 * amqp_method: the arguments of methods, from octets to structs and back.
 *
 * For each line of AMQP_METHODS there is a struct amqp_NAME, and inline functions to read, decode
 * and write it, so that a hot path can handle one method without the switch over all of them.
 * Nothing is allocated or copied: slices of what was read point into the input, and what is
 * written borrows the struct's slices for the call only. Stateless; any thread.
 *
 * As RabbitMQ does, a method with octets behind its last field is refused, spare bits of a bit
 * field are ignored, and the short strings of a client must be UTF-8, but for basic.publish.
 */
#ifndef WARREN_AMQP_METHOD_H
#define WARREN_AMQP_METHOD_H

#include "amqp/amqp_spec.h"
#include "amqp/amqp_table.h"
#include "amqp/amqp_utf8.h"
#include "base/attr.h"
#include "base/slice.h"
#include "base/text.h"
#include "base/wire.h"

enum amqp_decode {
    AMQP_DECODE_OK,
    AMQP_DECODE_UNKNOWN,  /* no such class or method */
    AMQP_DECODE_BAD,      /* fields run out, go on too long, or a table is broken: 501 */
    AMQP_DECODE_BAD_UTF8, /* well formed but for a name that is not UTF-8; *out is set: 501 */
};

/* ---- the structs ---- */

#define AMQP_C_u8               uint8_t
#define AMQP_C_u16              uint16_t
#define AMQP_C_u32              uint32_t
#define AMQP_C_u64              uint64_t
#define AMQP_C_bit              bool
#define AMQP_C_shortstr         struct slice
#define AMQP_C_longstr          struct slice
#define AMQP_C_table            struct slice
#define AMQP_C_none             char /* ISO C has no empty structs */

#define AMQP_MEMBER(kind, name) AMQP_C_##kind name;
#define X(NAME, name, class_no, method_no, text, sender)                                           \
    struct amqp_##name {                                                                           \
        AMQP_##NAME(AMQP_MEMBER)                                                                   \
    };
AMQP_METHODS(X)
#undef X

struct amqp_method {
    enum amqp_method_id id; /* says which member holds */
    union {
#define X(NAME, name, class_no, method_no, text, sender) struct amqp_##name name;
        AMQP_METHODS(X)
#undef X
    };
};

/* A header frame and body frames follow. */
static inline bool amqp_method_has_content(uint32_t id)
{
    return id == AMQP_BASIC_PUBLISH || id == AMQP_BASIC_DELIVER || id == AMQP_BASIC_GET_OK ||
           id == AMQP_BASIC_RETURN;
}

/* ---- one method: void amqp_NAME_read(struct wire *w, struct amqp_NAME *out) ---- */

/* A run of bits: the octet being read or filled, and how many of its bits are done. */
struct amqp_bits {
    unsigned octet;
    unsigned count;
};

static inline bool amqp_bit_read(struct wire *w, struct amqp_bits *b)
{
    if (b->count == 0)
        b->octet = wire_u8(w);
    bool v = (b->octet >> b->count & 1) != 0;
    b->count = (b->count + 1) & 7;
    return v;
}

#define AMQP_READ_u8(name)       (bits.count = 0, out->name = wire_u8(w));
#define AMQP_READ_u16(name)      (bits.count = 0, out->name = wire_u16(w));
#define AMQP_READ_u32(name)      (bits.count = 0, out->name = wire_u32(w));
#define AMQP_READ_u64(name)      (bits.count = 0, out->name = wire_u64(w));
#define AMQP_READ_bit(name)      out->name = amqp_bit_read(w, &bits);
#define AMQP_READ_shortstr(name) (bits.count = 0, out->name = wire_shortstr(w));
#define AMQP_READ_longstr(name)  (bits.count = 0, out->name = wire_longstr(w));
#define AMQP_READ_table(name)    (bits.count = 0, out->name = wire_longstr(w));
#define AMQP_READ_none(name)     (bits.count = 0, out->name = 0, (void)w);

#define AMQP_READ(kind, name)    AMQP_READ_##kind(name)
#define X(NAME, name, class_no, method_no, text, sender)                                           \
    static inline void amqp_##name##_read(struct wire *w, struct amqp_##name *out)                 \
    {                                                                                              \
        struct amqp_bits bits = { 0, 0 };                                                          \
        (void)bits; /* most methods have no bits */                                                \
        AMQP_##NAME(AMQP_READ)                                                                     \
    }
AMQP_METHODS(X)
#undef X

/* ---- one method: enum amqp_decode amqp_NAME_decode(struct slice fields, struct amqp_NAME *out),
 * where `fields` is what follows the class and method numbers: reads all and judges it ---- */

#define AMQP_TABLE_OK_u8(name)
#define AMQP_TABLE_OK_u16(name)
#define AMQP_TABLE_OK_u32(name)
#define AMQP_TABLE_OK_u64(name)
#define AMQP_TABLE_OK_bit(name)
#define AMQP_TABLE_OK_shortstr(name)
#define AMQP_TABLE_OK_longstr(name)
#define AMQP_TABLE_OK_table(name) &&amqp_table_check(out->name)
#define AMQP_TABLE_OK_none(name)

#define AMQP_UTF8_OK_u8(name)
#define AMQP_UTF8_OK_u16(name)
#define AMQP_UTF8_OK_u32(name)
#define AMQP_UTF8_OK_u64(name)
#define AMQP_UTF8_OK_bit(name)
#define AMQP_UTF8_OK_shortstr(name) &&amqp_utf8_check(out->name)
#define AMQP_UTF8_OK_longstr(name)
#define AMQP_UTF8_OK_table(name)
#define AMQP_UTF8_OK_none(name)

#define AMQP_TABLE_OK(kind, name) AMQP_TABLE_OK_##kind(name)
#define AMQP_UTF8_OK(kind, name)  AMQP_UTF8_OK_##kind(name)
#define X(NAME, name, class_no, method_no, text, sender)                                           \
    MUST_CHECK static inline enum amqp_decode amqp_##name##_decode(struct slice fields,            \
                                                                   struct amqp_##name *out)        \
    {                                                                                              \
        struct wire w = wire_over(fields);                                                         \
        amqp_##name##_read(&w, out);                                                               \
        if (UNLIKELY(w.ran_out || wire_left(&w) != 0 || !(true AMQP_##NAME(AMQP_TABLE_OK))))       \
            return AMQP_DECODE_BAD;                                                                \
        if (AMQP_SENT_BY_##sender == AMQP_SENT_BY_SERVER ||                                        \
            amqp_method_has_content(AMQP_##NAME) || LIKELY(true AMQP_##NAME(AMQP_UTF8_OK)))        \
            return AMQP_DECODE_OK;                                                                 \
        return AMQP_DECODE_BAD_UTF8;                                                               \
    }
AMQP_METHODS(X)
#undef X

/* ---- one method: void amqp_NAME_write(struct wire_out *w, const struct amqp_NAME *in), class and
 * method numbers included; a short string over 255 octets overflows the writer ---- */

static inline void amqp_bits_flush(struct wire_out *w, struct amqp_bits *b)
{
    if (b->count != 0)
        wire_put_u8(w, (uint8_t)b->octet);
    b->octet = 0;
    b->count = 0;
}

static inline void amqp_bit_write(struct wire_out *w, struct amqp_bits *b, bool v)
{
    b->octet |= (unsigned)v << b->count++;
    if (b->count == 8)
        amqp_bits_flush(w, b);
}

#define AMQP_WRITE_u8(name)       (amqp_bits_flush(w, &bits), wire_put_u8(w, in->name));
#define AMQP_WRITE_u16(name)      (amqp_bits_flush(w, &bits), wire_put_u16(w, in->name));
#define AMQP_WRITE_u32(name)      (amqp_bits_flush(w, &bits), wire_put_u32(w, in->name));
#define AMQP_WRITE_u64(name)      (amqp_bits_flush(w, &bits), wire_put_u64(w, in->name));
#define AMQP_WRITE_bit(name)      amqp_bit_write(w, &bits, in->name);
#define AMQP_WRITE_shortstr(name) (amqp_bits_flush(w, &bits), wire_put_shortstr(w, in->name));
#define AMQP_WRITE_longstr(name)  (amqp_bits_flush(w, &bits), wire_put_longstr(w, in->name));
#define AMQP_WRITE_table(name)    (amqp_bits_flush(w, &bits), wire_put_longstr(w, in->name));
#define AMQP_WRITE_none(name)     (void)in;

#define AMQP_WRITE(kind, name)    AMQP_WRITE_##kind(name)
#define X(NAME, name, class_no, method_no, text, sender)                                           \
    static inline void amqp_##name##_write(struct wire_out *w, const struct amqp_##name *in)       \
    {                                                                                              \
        struct amqp_bits bits = { 0, 0 };                                                          \
        wire_put_u32(w, AMQP_##NAME);                                                              \
        AMQP_##NAME(AMQP_WRITE) amqp_bits_flush(w, &bits);                                         \
    }
AMQP_METHODS(X)
#undef X

/* ---- any method ---- */

/* Class and method numbers at the head of a method frame's payload as one id, 0 when it is shorter
 * than they are. The id need not be one that we know. */
static inline uint32_t amqp_method_peek(struct slice payload)
{
    struct wire w = wire_over(payload);
    return wire_u32(&w);
}

/* Decode a method frame's whole payload. Slices in *out point into it. */
MUST_CHECK enum amqp_decode amqp_method_decode(struct slice payload, struct amqp_method *out);

/* Why a payload was refused, in RabbitMQ's words: what follows "FRAME_ERROR - ". */
void amqp_decode_why(enum amqp_decode verdict, struct slice payload, struct text *out);

/* The method that a close names for it, or 0. */
uint32_t amqp_decode_culprit(enum amqp_decode verdict, struct slice payload);

/* Write class, method and fields; w overflows when they do not fit. */
void amqp_method_encode(struct wire_out *w, const struct amqp_method *m);

/* "basic.publish"; "unknown" for an id that is none of ours. */
const char *amqp_method_name(uint32_t id);

bool amqp_method_is_known(uint32_t id);

/* May this side send it? False for an id that is none of ours. */
bool amqp_method_is_sent_by(uint32_t id, enum amqp_sender side);

/* Does `answer` (an -ok, or get-empty) answer `request`? */
bool amqp_method_answers(enum amqp_method_id answer, enum amqp_method_id request);

/* Does it answer anything at all? */
bool amqp_method_is_answer(enum amqp_method_id id);

static inline uint16_t amqp_method_class(uint32_t id)
{
    return (uint16_t)(id >> 16);
}

static inline uint16_t amqp_method_number(uint32_t id)
{
    return (uint16_t)(id & 0xFFFF);
}

/* ---- reply codes ---- */

/* "NOT_FOUND"; "UNKNOWN" for a code that is none of ours. */
const char *amqp_reply_name(unsigned code);

/* Does this code end the connection (and not just the channel)? */
bool amqp_reply_closes_connection(unsigned code);

#define AMQP_REPLY_TEXT_MAX 255

/* "NOT_FOUND - explanation" as RabbitMQ says it (no name for 200); what is longer than a short
 * string ends in "...", after a whole character. The slice points into `room`. */
struct slice amqp_reply_text(char room[AMQP_REPLY_TEXT_MAX + 1], unsigned code, const char *fmt,
                             ...) PRINTF_LIKE(3, 4);

#endif
