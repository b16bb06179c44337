#include "mirror/mirror_frames.h"

#include "base/check.h"
#include "base/mem.h"

#define PIECE      64u
#define LAST       65u
#define PIECE_HEAD 5u
#define DATA_HEAD  17u /* octet, pos, type, flags, count, octets of the payload */
#define LEND_LEAST (MIRROR_FRAME_BYTES / 2)
#define ROOM_FIRST ((size_t)64 * 1024)
#define ROOM_KEPT  ((size_t)1024 * 1024) /* more is given back */

/* ---- out ----------------------------------------------------------------------------------------
 */

void mirror_out_init(struct mirror_out *o, mirror_frame_fn send, void *arg)
{
    *o = (struct mirror_out){ .send = send, .arg = arg };
}

void mirror_out_reset(struct mirror_out *o)
{
    buf_unref(&o->room);
}

/* Frames that are about full are lent, shorter ones copied: they do not fill their block. */
void mirror_out_flush(struct mirror_out *o)
{
    const struct slice none = { NULL, 0 };
    if (o->room != NULL && o->room->len_bytes >= LEND_LEAST)
        o->send(o->arg, none, o->room, buf_slice(o->room));
    else if (o->room != NULL)
        o->send(o->arg, buf_slice(o->room), NULL, none);
    mirror_out_reset(o); /* there are many streams that say nothing for long */
}

/* Room for so many octets, MIRROR_INLINE_MAX at most, in the frame that is being gathered. */
static struct wire_out gather(struct mirror_out *o, size_t bytes)
{
    CHECK(bytes <= MIRROR_INLINE_MAX);
    if (o->room != NULL && o->room->len_bytes + bytes > MIRROR_FRAME_BYTES)
        mirror_out_flush(o);
    if (o->room == NULL)
        o->room = buf_new(MIRROR_FRAME_BYTES);
    struct wire_out w = wire_out_over(o->room->data + o->room->len_bytes, bytes);
    o->room->len_bytes += (uint32_t)bytes;
    return w;
}

/* Octets of a record that is `left` octets long from here on. */
static void send_pieces(struct mirror_out *o, struct slice bytes, struct buf *block, size_t *left)
{
    while (bytes.len != 0) {
        struct slice piece = slice_head(bytes, MIRROR_PIECE_BYTES);
        uint8_t head[PIECE_HEAD];
        struct wire_out w = wire_out_over(head, sizeof head);
        wire_put_u8(&w, piece.len == *left ? LAST : PIECE);
        wire_put_u32(&w, (uint32_t)piece.len);
        o->send(o->arg, wire_out_slice(&w), block, piece);
        *left -= piece.len;
        bytes = slice_from(bytes, piece.len);
    }
}

void mirror_out_record(struct mirror_out *o, const struct mirror_record *r)
{
    size_t size = mirror_wire_size(r);
    if (size <= MIRROR_INLINE_MAX) {
        struct wire_out w = gather(o, size);
        mirror_wire_put(&w, r);
        CHECK(!w.overflow);
        return;
    }
    CHECK(size <= MIRROR_RECORD_MAX);
    uint8_t *room = mem_alloc(size);
    struct wire_out w = wire_out_over(room, size);
    mirror_wire_put(&w, r);
    CHECK(!w.overflow && wire_out_len(&w) == size);
    mirror_out_flush(o);
    send_pieces(o, slice_of(room, size), NULL, &size);
    mem_free(room);
}

static void put_data_head(struct wire_out *w, uint64_t pos, const struct mirror_data *d,
                          size_t payload)
{
    wire_put_u8(w, MIRROR_DATA);
    wire_put_u64(w, pos);
    wire_put_u8(w, d->type);
    wire_put_u8(w, d->flags);
    wire_put_u16(w, d->count);
    wire_put_u32(w, (uint32_t)payload);
}

void mirror_out_data(struct mirror_out *o, uint64_t pos, const struct mirror_data *d,
                     const struct mirror_part *parts, unsigned count)
{
    size_t payload = 0;
    for (unsigned i = 0; i < count; i++)
        payload += parts[i].bytes.len;
    size_t size = DATA_HEAD + payload;
    if (size <= MIRROR_INLINE_MAX) {
        struct wire_out w = gather(o, size);
        put_data_head(&w, pos, d, payload);
        for (unsigned i = 0; i < count; i++)
            wire_put_bytes(&w, parts[i].bytes);
        CHECK(!w.overflow);
        return;
    }
    CHECK(size <= MIRROR_RECORD_MAX);
    uint8_t head[DATA_HEAD];
    struct wire_out w = wire_out_over(head, sizeof head);
    put_data_head(&w, pos, d, payload);
    mirror_out_flush(o);
    send_pieces(o, wire_out_slice(&w), NULL, &size);
    for (unsigned i = 0; i < count; i++)
        send_pieces(o, parts[i].bytes, parts[i].block, &size);
}

/* ---- in -----------------------------------------------------------------------------------------
 */

void mirror_in_reset(struct mirror_in *in)
{
    mem_free(in->room);
    *in = (struct mirror_in){ 0 };
}

static void forget_shown(struct mirror_in *in)
{
    if (!in->is_shown)
        return;
    if (in->cap > ROOM_KEPT)
        mirror_in_reset(in);
    in->is_shown = false;
    in->bytes = 0;
}

/* False: no record is that long. */
static bool append(struct mirror_in *in, struct slice piece)
{
    if (piece.len > MIRROR_RECORD_MAX - in->bytes)
        return false;
    size_t cap = in->cap != 0 ? in->cap : ROOM_FIRST;
    while (cap < in->bytes + piece.len)
        cap *= 2;
    if (cap != in->cap)
        in->room = mem_realloc(in->room, cap);
    in->cap = cap;
    if (piece.len != 0)
        memcpy(in->room + in->bytes, piece.ptr, piece.len);
    in->bytes += piece.len;
    return true;
}

static enum mirror_next whole_record(struct mirror_in *in, struct mirror_record *out)
{
    struct wire w = wire_over(slice_of(in->room, in->bytes));
    in->is_shown = true;
    if (!mirror_wire_take(&w, out))
        return MIRROR_NEXT_BAD;
    if (wire_left(&w) == 0)
        return MIRROR_NEXT_RECORD;
    mirror_record_fini(out);
    return MIRROR_NEXT_BAD;
}

enum mirror_next mirror_in_next(struct mirror_in *in, struct wire *frame, struct mirror_record *out)
{
    forget_shown(in);
    while (wire_left(frame) != 0) {
        uint8_t op = *frame->at;
        if (op != PIECE && op != LAST) /* nothing comes between the pieces of a record */
            return in->bytes == 0 && mirror_wire_take(frame, out) ? MIRROR_NEXT_RECORD
                                                                  : MIRROR_NEXT_BAD;
        (void)wire_u8(frame);
        struct slice piece = wire_longstr(frame);
        if (frame->ran_out || piece.len == 0 || !append(in, piece))
            return MIRROR_NEXT_BAD;
        if (op == LAST)
            return whole_record(in, out);
    }
    return MIRROR_NEXT_END;
}
