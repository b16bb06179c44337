#include "link/link_flow.h"

#include "base/check.h"
#include "base/mem.h"
#include "link/link_mutation.h"

#include <string.h>

#define BLOCK_LEAST ((size_t)4 * 1024)
#define BLOCK_MOST  ((size_t)64 * 1024)
#define SHARE_LEAST ((size_t)4 * 1024) /* shorter bodies are cheaper to copy than to hold */
#define CAP_KEPT    16u                /* a ring no larger than this is kept when empty */

/* ---- pieces ---- */

static struct link_piece *piece_at(const struct link_pieces *p, size_t index)
{
    return &p->items[(p->head + index) & (p->cap - 1)];
}

static void grow(struct link_pieces *p)
{
    size_t cap = p->cap != 0 ? p->cap * 2 : 4;
    struct link_piece *items = mem_array(cap, sizeof *items);
    for (size_t i = 0; i < p->count; i++)
        items[i] = *piece_at(p, i);
    mem_free(p->items);
    p->items = items;
    p->cap = cap;
    p->head = 0;
}

/* Takes the piece's reference. */
static void push(struct link_pieces *p, const struct link_piece *piece)
{
    if (p->count == p->cap)
        grow(p);
    p->count++;
    *piece_at(p, p->count - 1) = *piece;
    p->octets += piece->len;
}

/* Gives the piece's reference. */
static struct link_piece pop(struct link_pieces *p)
{
    CHECK(p->count != 0);
    struct link_piece piece = *piece_at(p, 0);
    p->head = (p->head + 1) & (p->cap - 1);
    p->count--;
    p->octets -= piece.len;
    if (p->count == 0 && p->cap > CAP_KEPT) {
        mem_free(p->items);
        *p = (struct link_pieces){ 0 };
    }
    return piece;
}

static void drop_all(struct link_pieces *p)
{
    while (p->count != 0) {
        struct link_piece piece = pop(p);
        buf_unref(&piece.block);
    }
}

/* ---- life ---- */

void link_flow_init(struct link_flow *f, bool resumes)
{
    *f = (struct link_flow){ .resumes = resumes, .within = LINK_LANES };
}

void link_flow_rest(struct link_flow *f)
{
    for (unsigned i = 0; i < LINK_FLOW_SPARES; i++)
        buf_unref(&f->spares[i]);
}

void link_flow_clear(struct link_flow *f)
{
    link_flow_rest(f);
    for (unsigned i = 0; i < LINK_LANES; i++) {
        drop_all(&f->lanes[i]);
        buf_unref(&f->open[i]);
    }
    drop_all(&f->kept);
    f->within = LINK_LANES;
    f->halfway = false;
    f->cursor = 0;
    f->cursor_at = f->acked = f->heard = f->told = 0;
}

void link_flow_fini(struct link_flow *f)
{
    link_flow_clear(f);
    for (unsigned i = 0; i < LINK_LANES; i++)
        mem_free(f->lanes[i].items);
    mem_free(f->kept.items);
    *f = (struct link_flow){ 0 };
}

/* ---- saying ---- */

/* What was sent lately is still in the processor's cache, and new memory would be zeroed first. */
static struct buf *large_block(struct link_flow *f)
{
    for (unsigned i = 0; i < LINK_FLOW_SPARES; i++) {
        struct buf *b = f->spares[i];
        if (b == NULL || !buf_is_sole(b))
            continue;
        f->spares[i] = NULL;
        b->len_bytes = 0;
        return b;
    }
    return buf_new(BLOCK_MOST);
}

static void let_go(struct link_flow *f, struct buf **block)
{
    if (*block == NULL || (*block)->cap_bytes != BLOCK_MOST) {
        buf_unref(block);
        return;
    }
    buf_unref(&f->spares[f->next_spare]);
    f->spares[f->next_spare] = *block;
    f->next_spare = (f->next_spare + 1) % LINK_FLOW_SPARES;
    *block = NULL;
}

static struct buf *block_for(struct link_flow *f, size_t octets, size_t waiting)
{
    if (octets > BLOCK_MOST)
        return buf_new(octets);
    if (octets > BLOCK_LEAST || waiting >= BLOCK_LEAST)
        return large_block(f);
    return buf_new(BLOCK_LEAST);
}

/* Room for so many octets in one piece at the lane's end. A lane that has little to say does not
 * hold much. */
static uint8_t *room_in(struct link_flow *f, unsigned lane, size_t octets)
{
    struct buf *b = f->open[lane];
    if (b == NULL || b->cap_bytes - b->len_bytes < octets) {
        let_go(f, &f->open[lane]);
        f->open[lane] = b = block_for(f, octets, f->lanes[lane].octets);
    }
    return b->data + b->len_bytes;
}

/* So many octets of that room were filled; they make the last piece longer where they follow it. */
static void use_room(struct link_flow *f, unsigned lane, size_t octets, bool ends)
{
    struct buf *b = f->open[lane];
    struct link_pieces *p = &f->lanes[lane];
    const uint8_t *at = b->data + b->len_bytes;
    struct link_piece *last = p->count != 0 ? piece_at(p, p->count - 1) : NULL;
    b->len_bytes += (uint32_t)octets;
    if (last != NULL && last->block == b && last->at + last->len == at) {
        last->len += (uint32_t)octets;
        last->ends = ends;
        p->octets += octets;
    } else {
        push(p, &(struct link_piece){ buf_ref(b), at, (uint32_t)octets, ends });
    }
}

void link_flow_append(struct link_flow *f, enum link_priority priority, uint8_t type,
                      struct slice head, struct buf *block, struct slice body)
{
    CHECK(type >= LINK_TYPE_LEAST && head.len <= LINK_FRAME_MAX &&
          body.len <= LINK_FRAME_MAX - head.len);
    unsigned lane = (unsigned)priority;
    bool shares = block != NULL && body.len >= SHARE_LEAST;
    size_t octets = LINK_HEAD_BYTES + head.len + (shares ? 0 : body.len);
    uint8_t *at = room_in(f, lane, octets);
    link_frame_put_head(at, type, head.len + body.len);
    if (head.len != 0)
        memcpy(at + LINK_HEAD_BYTES, head.ptr, head.len);
    if (!shares && body.len != 0)
        memcpy(at + LINK_HEAD_BYTES + head.len, body.ptr, body.len);
    use_room(f, lane, octets, !shares);
    if (shares) {
        CHECK(body.ptr >= block->data && body.ptr + body.len <= block->data + block->cap_bytes);
        push(&f->lanes[lane],
             &(struct link_piece){ buf_ref(block), body.ptr, (uint32_t)body.len, true });
    }
}

void link_flow_append_whole(struct link_flow *f, enum link_priority priority, uint8_t type,
                            struct buf *block, struct slice payload)
{
    CHECK(type >= LINK_TYPE_LEAST && payload.len <= LINK_FRAME_MAX);
    CHECK(payload.ptr >= block->data + LINK_HEAD_BYTES &&
          payload.ptr + payload.len <= block->data + block->cap_bytes);
    uint8_t *at = block->data + (payload.ptr - block->data) - LINK_HEAD_BYTES;
    link_frame_put_head(at, type, payload.len);
    push(&f->lanes[priority],
         &(struct link_piece){ buf_ref(block), at, (uint32_t)(LINK_HEAD_BYTES + payload.len),
                               true });
}

static struct link_pieces *next_lane(struct link_flow *f, unsigned *lane)
{
    if (f->within != LINK_LANES && !LINK_MUTATION(PARTS_FRAMES))
        *lane = f->within;
    else
        *lane = f->lanes[LINK_URGENT].count != 0 ? LINK_URGENT : LINK_BULKY;
    return &f->lanes[*lane];
}

bool link_flow_next(struct link_flow *f, struct link_piece *out)
{
    unsigned lane;
    if (f->cursor < f->kept.count) {
        *out = *piece_at(&f->kept, f->cursor++);
        f->cursor_at += out->len;
        f->halfway = !out->ends;
        buf_ref(out->block);
        return true;
    }
    struct link_pieces *from = next_lane(f, &lane);
    if (from->count == 0) {
        CHECK(f->within == LINK_LANES); /* a frame is appended whole */
        return false;
    }
    *out = pop(from);
    f->within = out->ends ? LINK_LANES : lane;
    f->halfway = !out->ends;
    if (from->count == 0)
        let_go(f, &f->open[lane]); /* its rest is not worth holding, and may be large */
    f->cursor_at += out->len;
    if (!f->resumes)
        return true;
    buf_ref(out->block);
    push(&f->kept, out);
    f->cursor++;
    if (LINK_MUTATION(KEPT_TOO_SHORT))
        return link_flow_acked(f, f->cursor_at);
    return true;
}

/* The first octets of what is kept are not needed any more. */
static void forget(struct link_flow *f, uint64_t octets)
{
    f->acked += octets;
    while (octets != 0) {
        struct link_piece *first = piece_at(&f->kept, 0);
        if (octets < first->len) {
            first->at += octets;
            first->len -= (uint32_t)octets;
            f->kept.octets -= (size_t)octets;
            return;
        }
        octets -= first->len;
        struct link_piece gone = pop(&f->kept);
        buf_unref(&gone.block);
        if (f->cursor != 0)
            f->cursor--;
    }
}

bool link_flow_acked(struct link_flow *f, uint64_t position)
{
    if (!f->resumes || position < f->acked || position > f->cursor_at)
        return false;
    forget(f, position - f->acked);
    return true;
}

bool link_flow_rewind(struct link_flow *f, uint64_t position)
{
    if (!f->resumes || position < f->acked || position > f->acked + f->kept.octets)
        return false;
    if (!LINK_MUTATION(SAYS_TWICE))
        forget(f, position - f->acked);
    if (LINK_MUTATION(GOES_ON_BEHIND))
        return true;
    f->cursor = 0;
    f->cursor_at = f->acked;
    f->halfway = false; /* a position is never within a frame */
    return true;
}

size_t link_flow_waiting(const struct link_flow *f)
{
    return f->lanes[LINK_BULKY].octets + f->lanes[LINK_URGENT].octets +
           (size_t)(f->acked + f->kept.octets - (f->resumes ? f->cursor_at : f->acked));
}

size_t link_flow_unacked(const struct link_flow *f)
{
    return f->resumes ? (size_t)(f->cursor_at - f->acked) : 0;
}

/* ---- hearing ---- */

enum link_cut link_flow_take(struct link_flow *f, struct slice in, uint8_t *type,
                             struct slice *payload)
{
    enum link_cut cut = link_frame_cut(in, type, payload);
    if (LINK_MUTATION(COUNTS_PARTS) && cut == LINK_CUT_MORE)
        f->heard += in.len;
    if (cut == LINK_CUT_FRAME && (*type >= LINK_TYPE_LEAST || LINK_MUTATION(COUNTS_OWN)))
        f->heard += LINK_HEAD_BYTES + payload->len;
    return cut;
}

uint64_t link_flow_tell(struct link_flow *f)
{
    f->told = f->heard;
    return f->heard;
}
