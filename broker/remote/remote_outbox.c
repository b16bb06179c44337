#include "remote/remote_outbox.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"

struct remote_frame {
    STAILQ_ENTRY(remote_frame) entry;
    struct buf *block;
};

/* A record that waits, or whose content is being sent. */
struct remote_piece {
    STAILQ_ENTRY(remote_piece) entry;
    struct message *message; /* a reference: the content follows in parts; NULL: none does */
    uint64_t sent;           /* octets of it */
    uint32_t part;           /* the body's block, and where in it: the next to be sent */
    size_t part_at;
    uint64_t mark;
    size_t bytes;
    uint8_t record[];
};

/* A channel with something large to say, and all it says behind that. */
struct remote_held {
    uint64_t channel;
    unsigned slot; /* while it is talking */
    STAILQ_HEAD(, remote_piece) pieces;
    TAILQ_ENTRY(remote_held) entry;
};

void remote_outbox_init(struct remote_outbox *o, const struct remote_pipe *pipe)
{
    *o = (struct remote_outbox){ .pipe = *pipe, .parts_credit = REMOTE_PARTS_BYTES };
    STAILQ_INIT(&o->frames);
    idmap_init(&o->held);
    TAILQ_INIT(&o->talking);
    TAILQ_INIT(&o->queued);
}

static uint64_t content_bytes(const struct message *m)
{
    return (uint64_t)m->names_bytes + m->props_bytes + m->body_bytes;
}

static size_t cost_of(const struct remote_piece *p)
{
    return sizeof *p + p->bytes + (p->message != NULL ? (size_t)content_bytes(p->message) : 0);
}

static void drop_piece(struct remote_outbox *o, struct remote_held *h)
{
    struct remote_piece *p = STAILQ_FIRST(&h->pieces);
    STAILQ_REMOVE_HEAD(&h->pieces, entry);
    o->held_bytes -= cost_of(p);
    if (p->message != NULL)
        o->pipe.drop(o->pipe.arg, &p->message);
    mem_free(p);
}

void remote_outbox_reset(struct remote_outbox *o)
{
    struct remote_pipe pipe = o->pipe;
    struct remote_frame *f;
    while ((f = STAILQ_FIRST(&o->frames)) != NULL) {
        STAILQ_REMOVE_HEAD(&o->frames, entry);
        buf_unref(&f->block);
        mem_free(f);
    }
    struct remote_held *h;
    while ((h = idmap_first(&o->held)) != NULL) {
        idmap_take(&o->held, h->channel);
        while (!STAILQ_EMPTY(&h->pieces))
            drop_piece(o, h);
        mem_free(h);
    }
    idmap_fini(&o->held);
    buf_unref(&o->frame);
    void (*left)(void *arg, uint64_t mark) = o->left;
    void *left_arg = o->left_arg;
    remote_outbox_init(o, &pipe);
    remote_outbox_tell_left(o, left, left_arg);
}

/* ---- frames -----------------------------------------------------------------------------------
 */

static struct slice octets_of(const struct buf *frame)
{
    return slice_from(buf_slice(frame), REMOTE_FRAME_ROOM);
}

static void send_or_keep(struct remote_outbox *o, struct buf *block, bool more)
{
    if (STAILQ_EMPTY(&o->frames) && !o->pipe.is_full(o->pipe.arg)) {
        o->pipe.send(o->pipe.arg, block, octets_of(block), more);
        buf_unref(&block);
        return;
    }
    struct remote_frame *f = mem_alloc(sizeof *f);
    f->block = block;
    o->waiting_bytes += block->len_bytes;
    STAILQ_INSERT_TAIL(&o->frames, f, entry);
}

/* The frame is complete. */
static void cut(struct remote_outbox *o, bool more)
{
    struct buf *block = o->frame;
    o->frame = NULL;
    block->len_bytes = (uint32_t)(REMOTE_FRAME_ROOM + wire_out_len(&o->out));
    send_or_keep(o, block, more);
}

static void make_room(struct remote_outbox *o, size_t bytes)
{
    if (o->frame != NULL && (size_t)(o->out.end - o->out.at) >= bytes)
        return;
    if (o->frame != NULL)
        cut(o, true);
    size_t cap = bytes > REMOTE_FRAME_BYTES ? bytes : REMOTE_FRAME_BYTES;
    o->frame = buf_new(REMOTE_FRAME_ROOM + cap);
    o->out = wire_out_over(o->frame->data + REMOTE_FRAME_ROOM, cap);
    o->pipe.soon(o->pipe.arg);
}

static void write_record(struct remote_outbox *o, const struct remote_record *r)
{
    make_room(o, remote_size(r));
    remote_put(&o->out, r);
    CHECK(!o->out.overflow);
    o->records++;
}

static void write_bytes(struct remote_outbox *o, struct slice bytes)
{
    make_room(o, bytes.len);
    wire_put_bytes(&o->out, bytes);
    o->records++;
}

static void tell_left(struct remote_outbox *o, uint64_t mark)
{
    if (mark != 0)
        o->left(o->left_arg, mark);
}

/* ---- what is large, and what waits behind it --------------------------------------------------
 */

static struct slice inline_part(const struct message *m, uint64_t at)
{
    struct slice all = slice_of(m->bytes, (size_t)m->names_bytes + m->props_bytes +
                                              (message_is_in_parts(m) ? 0 : m->body_bytes));
    return slice_from(all, (size_t)at);
}

/* What is to be sent next: in one piece in memory. */
static struct slice next_octets(struct remote_piece *p)
{
    const struct message *m = p->message;
    struct slice s = inline_part(m, p->sent);
    if (s.len != 0)
        return s;
    const struct message_more *more = message_more(m);
    while (p->part_at == more->parts[p->part]->len_bytes) {
        p->part++;
        p->part_at = 0;
        CHECK(p->part < more->part_count);
    }
    return slice_from(buf_slice(more->parts[p->part]), p->part_at);
}

static void send_part(struct remote_outbox *o, struct remote_held *h, struct remote_piece *p)
{
    bool in_head = inline_part(p->message, p->sent).len != 0;
    struct slice s = slice_head(next_octets(p), REMOTE_INLINE_BYTES);
    s = slice_head(s, o->parts_credit);
    write_record(
        o, &(struct remote_record){ .op = REMOTE_PART, .kind = (uint8_t)h->slot, .bytes = s });
    o->parts_credit -= (uint32_t)s.len;
    p->sent += s.len;
    if (!in_head)
        p->part_at += s.len;
}

static void begin(struct remote_outbox *o, struct remote_held *h, const struct remote_piece *p)
{
    write_record(o, &(struct remote_record){ .op = REMOTE_BEGIN,
                                             .kind = (uint8_t)h->slot,
                                             .bytes = slice_of(p->record, p->bytes) });
}

static void take_slot(struct remote_outbox *o, struct remote_held *h)
{
    h->slot = (unsigned)__builtin_ctz(~o->slots);
    o->slots |= 1u << h->slot;
    TAILQ_INSERT_TAIL(&o->talking, h, entry);
    begin(o, h, STAILQ_FIRST(&h->pieces));
}

static bool has_free_slot(const struct remote_outbox *o)
{
    return o->slots != (1u << REMOTE_SLOTS) - 1;
}

static void wait_for_slot(struct remote_outbox *o, struct remote_held *h)
{
    if (has_free_slot(o) && TAILQ_EMPTY(&o->queued))
        take_slot(o, h);
    else
        TAILQ_INSERT_TAIL(&o->queued, h, entry);
}

/* Its large content is sent: what waits behind it follows, up to the next one. */
static void goes_on(struct remote_outbox *o, struct remote_held *h)
{
    TAILQ_REMOVE(&o->talking, h, entry);
    o->slots &= ~(1u << h->slot);
    tell_left(o, STAILQ_FIRST(&h->pieces)->mark);
    drop_piece(o, h);
    struct remote_piece *p;
    while ((p = STAILQ_FIRST(&h->pieces)) != NULL && p->message == NULL) {
        write_bytes(o, slice_of(p->record, p->bytes));
        tell_left(o, p->mark);
        drop_piece(o, h);
    }
    if (p == NULL) {
        idmap_take(&o->held, h->channel);
        mem_free(h);
    } else {
        TAILQ_INSERT_TAIL(&o->queued, h, entry);
    }
    if ((h = TAILQ_FIRST(&o->queued)) != NULL) {
        TAILQ_REMOVE(&o->queued, h, entry);
        take_slot(o, h);
    }
}

/* A part of each in turn. */
static void talk(struct remote_outbox *o)
{
    struct remote_held *h;
    while ((h = TAILQ_FIRST(&o->talking)) != NULL && o->parts_credit != 0) {
        struct remote_piece *p = STAILQ_FIRST(&h->pieces);
        send_part(o, h, p);
        if (p->sent == content_bytes(p->message)) {
            goes_on(o, h);
            continue;
        }
        TAILQ_REMOVE(&o->talking, h, entry);
        TAILQ_INSERT_TAIL(&o->talking, h, entry);
    }
}

static void hold(struct remote_outbox *o, struct remote_held *h, const struct remote_record *r,
                 bool is_large)
{
    struct remote_record copy = *r;
    if (is_large)
        copy.flags |= REMOTE_IN_PARTS;
    size_t room = remote_size(&copy);
    struct remote_piece *p = mem_alloc(sizeof *p + room);
    *p = (struct remote_piece){ .message = NULL, .mark = r->mark };
    struct wire_out w = wire_out_over(p->record, room);
    remote_put(&w, &copy);
    CHECK(!w.overflow);
    p->bytes = wire_out_len(&w);
    if (is_large) {
        struct message *m = (struct message *)(uintptr_t)r->message;
        p->message = message_ref(m);
    }
    o->held_bytes += cost_of(p);
    STAILQ_INSERT_TAIL(&h->pieces, p, entry);
}

static void hold_first(struct remote_outbox *o, uint64_t channel, const struct remote_record *r)
{
    CHECK(channel != 0);
    struct remote_held *h = mem_alloc(sizeof *h);
    *h = (struct remote_held){ .channel = channel };
    STAILQ_INIT(&h->pieces);
    idmap_put(&o->held, channel, h);
    hold(o, h, r, true);
    wait_for_slot(o, h);
    talk(o);
}

static void write_now(struct remote_outbox *o, const struct remote_record *r)
{
    write_record(o, r);
    tell_left(o, r->mark);
}

void remote_outbox_put(struct remote_outbox *o, uint64_t channel, const struct remote_record *r)
{
    bool is_large = r->message != NULL && remote_outbox_is_large(r->message);
    struct remote_held *h =
        UNLIKELY(o->held.count != 0) && channel != 0 ? idmap_get(&o->held, channel) : NULL;
    if (h != NULL && (is_large || !MUTATION(REMOTE_LARGE_OVERTAKEN)))
        hold(o, h, r, is_large);
    else if (UNLIKELY(is_large))
        hold_first(o, channel, r);
    else
        write_now(o, r);
}

void remote_outbox_on_parts_taken(struct remote_outbox *o, uint32_t octets)
{
    uint32_t under_way = REMOTE_PARTS_BYTES - o->parts_credit;
    o->parts_credit += octets < under_way ? octets : under_way;
    talk(o);
}

/* ---- leaving ----------------------------------------------------------------------------------
 */

static void send_waiting(struct remote_outbox *o)
{
    struct remote_frame *f;
    while ((f = STAILQ_FIRST(&o->frames)) != NULL && !o->pipe.is_full(o->pipe.arg)) {
        STAILQ_REMOVE_HEAD(&o->frames, entry);
        o->waiting_bytes -= f->block->len_bytes;
        bool more = !STAILQ_EMPTY(&o->frames) || o->frame != NULL;
        o->pipe.send(o->pipe.arg, f->block, octets_of(f->block), more);
        buf_unref(&f->block);
        mem_free(f);
    }
}

/* A full pipe: the frame goes on to be filled. */
void remote_outbox_flush(struct remote_outbox *o)
{
    if (o->frame != NULL && STAILQ_EMPTY(&o->frames) && !o->pipe.is_full(o->pipe.arg))
        cut(o, false);
}

void remote_outbox_on_room(struct remote_outbox *o)
{
    send_waiting(o);
    remote_outbox_flush(o);
}
