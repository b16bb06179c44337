/*
 * message: what a publisher sent, stored once and shared by count.
 *
 * One block holds the names it was published with, its properties as they came, and its body; a
 * body that came in several frames is a chain of blocks instead, so that memory is taken only for
 * octets that have arrived. Immutable once published. Any thread may hold, take and drop
 * references.
 *
 * There are millions of small ones, so what only others need stands before those:
 *
 *   [ struct message_more ] [ struct message: names, properties' flags and list, body if inline ]
 */
#ifndef WARREN_MESSAGE_H
#define WARREN_MESSAGE_H

#include "amqp/amqp_props.h"
#include "base/buf.h"
#include "base/slice.h"

#include <stdatomic.h>

struct message {
    atomic_uint refs;
    uint32_t body_bytes;
    uint32_t props_bytes;
    uint16_t names_bytes;
    bool persistent; /* delivery-mode 2 */
    bool has_more;   /* it is large, its body is in parts, or another node keeps it too */
    uint8_t bytes[];
};
_Static_assert(sizeof(struct message) == 16, "there are millions");

struct message_more {
    struct buf **parts; /* NULL: the body is inline */
    uint64_t large_id;
    uint64_t kept_by; /* see message_new_kept; 0: by nobody */
    uint64_t kept_as;
    uint32_t part_count;
    uint32_t unused[3];
};
_Static_assert(sizeof(struct message_more) % 16 == 0, "what stands behind it stays aligned");

/* From here on it is large. */
#define MESSAGE_LARGE_BYTES ((uint32_t)64 * 1024)

/* One reference; all is copied. `props` is the header's payload behind the body size (flags and
 * list, see amqp_props). */
struct message *message_new(struct slice exchange, struct slice key, struct slice props,
                            struct slice body, bool persistent);

/* As message_new, of a content that the other end of a link keeps, too: `by` is the session, as
 * shard_new_id makes them, and `as` how it calls it. */
struct message *message_new_kept(struct slice exchange, struct slice key, struct slice props,
                                 struct slice body, bool persistent, uint64_t by, uint64_t as);

/* The same with a body in parts, whose references (and the array, from mem) it takes. */
struct message *message_new_parts(struct slice exchange, struct slice key, struct slice props,
                                  struct buf **parts, uint32_t part_count, uint64_t body_bytes,
                                  bool persistent);

/* Another message with the body of `of`: in parts, which are shared, or inline, then copied. */
struct message *message_with_props(const struct message *of, struct slice exchange,
                                   struct slice key, struct slice props);

static inline struct message_more *message_more(const struct message *m)
{
    return (struct message_more *)((uintptr_t)m - sizeof(struct message_more));
}

static inline bool message_is_in_parts(const struct message *m)
{
    return UNLIKELY(m->has_more) && message_more(m)->parts != NULL;
}

/* The id of the file that a large one has of its own in the store; 0: none. Set by its maker,
 * before others have it. */
static inline uint64_t message_large_id(const struct message *m)
{
    return m->has_more ? message_more(m)->large_id : 0;
}

void message_set_large_id(struct message *m, uint64_t id);

/* Does the other end of this session keep it? Then by this name. What is kept was for one queue
 * alone, so nobody else hands it out meanwhile. */
static inline bool message_is_kept(const struct message *m, uint64_t by, uint64_t *as)
{
    if (LIKELY(!m->has_more) || message_more(m)->kept_by != by)
        return false;
    *as = message_more(m)->kept_as;
    return true;
}

/* Of one that was: is it not any more (0), or again? */
static inline void message_set_kept_by(struct message *m, uint64_t by)
{
    message_more(m)->kept_by = by;
}

static inline struct message *message_ref(struct message *m)
{
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}

/* The caller's reference is the only one. */
static inline bool message_is_sole(const struct message *m)
{
    return atomic_load_explicit(&m->refs, memory_order_acquire) == 1;
}

/* Drop the reference in *m, which becomes NULL. Returns message_cost_bytes if it was the last one
 * and the message is gone, else 0. */
size_t message_unref(struct message **m);

/* Exchange and routing key as they stand in a method: two short strings, one behind the other. */
static inline struct slice message_names(const struct message *m)
{
    return slice_of(m->bytes, m->names_bytes);
}

static inline struct slice message_exchange(const struct message *m)
{
    return slice_of(m->bytes + 1, m->bytes[0]);
}

static inline struct slice message_key(const struct message *m)
{
    return slice_of(m->bytes + 2 + m->bytes[0], m->names_bytes - 2u - m->bytes[0]);
}

static inline struct slice message_props(const struct message *m)
{
    return slice_of(m->bytes + m->names_bytes, m->props_bytes);
}

/* What a queue wants to know of the properties. The usual message has neither, which is seen at
 * once. */
#define MESSAGE_NO_TTL UINT64_MAX
void message_read_props(const struct message *m, uint64_t *ttl_ms, uint8_t *priority);
static inline bool message_props_matter(const struct message *m)
{
    return (m->bytes[m->names_bytes] & ((AMQP_PROP_expiration | AMQP_PROP_priority) >> 8)) != 0;
}

/* Its timestamp property; false when it has none. */
bool message_timestamp(const struct message *m, uint64_t *seconds);

/* The body, when it is inline. */
static inline struct slice message_body(const struct message *m)
{
    return slice_of(m->bytes + m->names_bytes + m->props_bytes, m->body_bytes);
}

/* Octets of memory that it stands for, for watermarks. */
static inline size_t message_cost_bytes(const struct message *m)
{
    size_t bytes = sizeof *m + m->names_bytes + m->props_bytes + m->body_bytes;
    if (UNLIKELY(m->has_more))
        bytes += sizeof(struct message_more) +
                 message_more(m)->part_count * (sizeof(struct buf) + sizeof(struct buf *));
    return bytes;
}

#endif
