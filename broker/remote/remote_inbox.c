#include "remote/remote_inbox.h"

#include "base/check.h"
#include "base/mem.h"

#define BLOCK_BYTES    REMOTE_INLINE_BYTES
#define WORTH_A_WORD   (REMOTE_PARTS_BYTES / 4)
#define HEAD_BYTES_MAX ((uint64_t)256 * 1024 * 1024) /* names and properties */

/* A content that comes in parts: its head is gathered in one piece, its body in blocks. */
struct remote_assembly {
    uint8_t *record;
    size_t record_bytes;
    uint64_t head_bytes; /* names and properties */
    uint64_t body_bytes;
    uint8_t *head;
    uint64_t head_done;
    size_t head_cap;
    struct buf **blocks;
    uint32_t count;
    uint32_t cap;
    uint64_t body_done;
    int64_t counted;
};

void remote_inbox_init(struct remote_inbox *in, void (*count)(void *arg, int64_t octets), void *arg)
{
    *in = (struct remote_inbox){ .count = count, .arg = arg };
}

static void count(struct remote_inbox *in, struct remote_assembly *a, size_t octets)
{
    a->counted += (int64_t)octets;
    in->count(in->arg, (int64_t)octets);
}

/* Without what the message made of it has taken. */
static void free_assembly(struct remote_inbox *in, struct remote_assembly *a)
{
    in->count(in->arg, -a->counted);
    for (uint32_t i = 0; i < a->count; i++)
        buf_unref(&a->blocks[i]);
    mem_free(a->blocks);
    mem_free(a->head);
    mem_free(a->record);
    mem_free(a);
}

static void drop_record(struct remote_inbox *in)
{
    mem_free((void *)(uintptr_t)in->record.ptr);
    in->record = slice_of(NULL, 0);
}

void remote_inbox_reset(struct remote_inbox *in)
{
    for (unsigned i = 0; i < REMOTE_SLOTS; i++) {
        if (in->slots[i] != NULL)
            free_assembly(in, in->slots[i]);
    }
    drop_record(in);
    remote_inbox_init(in, in->count, in->arg);
}

/* ---- parts ------------------------------------------------------------------------------------
 */

static bool begin(struct remote_inbox *in, const struct remote_record *r)
{
    struct wire w = wire_over(r->bytes);
    struct remote_record head;
    if (r->kind >= REMOTE_SLOTS || in->slots[r->kind] != NULL || !remote_take(&w, &head) ||
        wire_left(&w) != 0 || !head.has_content || (head.flags & REMOTE_IN_PARTS) == 0)
        return false;
    struct remote_assembly *a = mem_zalloc(sizeof *a);
    a->record = mem_dup(r->bytes.ptr, r->bytes.len);
    a->record_bytes = r->bytes.len;
    a->head_bytes = (uint64_t)head.content.names_bytes + head.content.props_bytes;
    a->body_bytes = head.content.body_bytes;
    in->slots[r->kind] = a;
    count(in, a, sizeof *a + r->bytes.len);
    return a->head_bytes <= HEAD_BYTES_MAX;
}

/* Returns what is left of it. */
static struct slice add_to_head(struct remote_inbox *in, struct remote_assembly *a, struct slice s)
{
    uint64_t left = a->head_bytes - a->head_done;
    struct slice fits = slice_head(s, (size_t)left);
    if (fits.len == 0)
        return s;
    size_t needed = (size_t)a->head_done + fits.len;
    if (needed > a->head_cap) {
        size_t cap = needed < BLOCK_BYTES && a->head_bytes > BLOCK_BYTES ? BLOCK_BYTES : needed;
        cap = a->head_cap * 2 > cap ? a->head_cap * 2 : cap;
        cap = cap > a->head_bytes ? (size_t)a->head_bytes : cap;
        count(in, a, cap - a->head_cap);
        a->head = mem_realloc(a->head, cap);
        a->head_cap = cap;
    }
    memcpy(a->head + a->head_done, fits.ptr, fits.len);
    a->head_done += fits.len;
    return slice_from(s, fits.len);
}

static void add_block(struct remote_inbox *in, struct remote_assembly *a)
{
    if (a->count == a->cap) {
        a->cap = a->cap != 0 ? a->cap * 2 : 8;
        a->blocks = mem_realloc(a->blocks, a->cap * sizeof(struct buf *));
    }
    uint64_t left = a->body_bytes - a->body_done;
    size_t cap = left < BLOCK_BYTES ? (size_t)left : BLOCK_BYTES;
    a->blocks[a->count++] = buf_new(cap);
    count(in, a, sizeof(struct buf *) + sizeof(struct buf) + cap);
}

/* False: there is more than was announced. */
static bool add_to_body(struct remote_inbox *in, struct remote_assembly *a, struct slice s)
{
    while (s.len != 0) {
        if (a->body_done == a->body_bytes)
            return false;
        struct buf *last = a->count != 0 ? a->blocks[a->count - 1] : NULL;
        if (last == NULL || last->len_bytes == last->cap_bytes) {
            add_block(in, a);
            last = a->blocks[a->count - 1];
        }
        struct slice fits = slice_head(s, last->cap_bytes - last->len_bytes);
        memcpy(last->data + last->len_bytes, fits.ptr, fits.len);
        last->len_bytes += (uint32_t)fits.len;
        a->body_done += fits.len;
        s = slice_from(s, fits.len);
    }
    return true;
}

/* Its message. NULL: the names are none. */
static struct message *make(struct remote_assembly *a, const struct remote_record *r)
{
    struct slice head = slice_of(a->head, (size_t)a->head_bytes);
    struct slice exchange, key;
    if (!remote_names(slice_head(head, r->content.names_bytes), &exchange, &key))
        return NULL;
    struct slice props = slice_from(head, r->content.names_bytes);
    bool persistent = (r->flags & REMOTE_PERSISTENT) != 0;
    if (a->count == 0)
        return message_new(exchange, key, props, slice_of(NULL, 0), persistent);
    struct message *m =
        message_new_parts(exchange, key, props, a->blocks, a->count, a->body_bytes, persistent);
    a->blocks = NULL;
    a->count = 0;
    return m;
}

static enum remote_next complete(struct remote_inbox *in, unsigned slot, struct remote_record *out)
{
    struct remote_assembly *a = in->slots[slot];
    in->slots[slot] = NULL;
    in->record = slice_of(a->record, a->record_bytes);
    a->record = NULL;
    struct wire w = wire_over(in->record);
    bool ok = remote_take(&w, out);
    CHECK(ok); /* it was taken before */
    out->assembled = make(a, out);
    free_assembly(in, a);
    return out->assembled != NULL ? REMOTE_RECORD : REMOTE_BAD;
}

/* REMOTE_END: more is to come. */
static enum remote_next add_part(struct remote_inbox *in, struct remote_record *r)
{
    struct remote_assembly *a = r->kind < REMOTE_SLOTS ? in->slots[r->kind] : NULL;
    if (a == NULL)
        return REMOTE_BAD;
    in->parts_taken += (uint32_t)r->bytes.len;
    if (!add_to_body(in, a, add_to_head(in, a, r->bytes)))
        return REMOTE_BAD;
    if (a->head_done < a->head_bytes || a->body_done < a->body_bytes)
        return REMOTE_END;
    return complete(in, r->kind, r);
}

/* ---- records ----------------------------------------------------------------------------------
 */

enum remote_next remote_inbox_next(struct remote_inbox *in, struct wire *frame,
                                   struct remote_record *out)
{
    if (UNLIKELY(in->record.ptr != NULL))
        drop_record(in);
    while (wire_left(frame) != 0) {
        in->began = *frame;
        if (!remote_take(frame, out))
            return REMOTE_BAD;
        if (LIKELY(out->op != REMOTE_BEGIN && out->op != REMOTE_PART)) {
            bool is_whole = !out->has_content || (out->flags & REMOTE_IN_PARTS) == 0;
            return is_whole ? REMOTE_RECORD : REMOTE_BAD;
        }
        enum remote_next next = REMOTE_END;
        if (out->op == REMOTE_PART)
            next = add_part(in, out);
        else if (!begin(in, out))
            next = REMOTE_BAD;
        if (next != REMOTE_END)
            return next;
    }
    return REMOTE_END;
}

uint32_t remote_inbox_owes(struct remote_inbox *in)
{
    uint32_t owed = in->parts_taken;
    if (owed < WORTH_A_WORD)
        return 0;
    in->parts_taken = 0;
    return owed;
}
