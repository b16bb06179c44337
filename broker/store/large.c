#include "store/large.h"

#include "amqp/amqp_props.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "base/text.h"
#include "base/wire.h"
#include "model/message.h"

#define LARGE_MAGIC   UINT64_C(0x454752414c525257) /* "WRRLARGE" */
#define LARGE_VERSION 1u
#define CHECKED_BYTES (LARGE_HEADER_BYTES - 8)
#define PART_BYTES    ((uint32_t)128 * 1024) /* of a body that is read */
#define PROPS_MAX     ((uint32_t)64 << 20)   /* no frame is longer */

/* ---- names ------------------------------------------------------------------------------------
 */

void large_name(uint64_t id, char name[LARGE_NAME_MAX])
{
    struct text t = text_over(name, LARGE_NAME_MAX);
    text_put(&t, LARGE_FOLDER "/%016llx", (unsigned long long)id);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool large_id_of(const char *name, uint64_t *id)
{
    uint64_t v = 0;
    size_t n = 0;
    for (; n < 16 && hex_value(name[n]) >= 0; n++)
        v = v << 4 | (uint64_t)hex_value(name[n]);
    *id = v;
    return n == 16 && name[n] == '\0';
}

/* ---- the header -------------------------------------------------------------------------------
 */

struct large_header {
    uint32_t props_bytes;
    uint64_t body_bytes;
    uint64_t check;
};

static void put_header(uint8_t out[LARGE_HEADER_BYTES], uint64_t id, const struct large_header *h)
{
    struct wire_out w = wire_out_over(out, LARGE_HEADER_BYTES);
    wire_put_u64_le(&w, LARGE_MAGIC);
    wire_put_u16_le(&w, LARGE_VERSION);
    wire_put_u16_le(&w, LARGE_HEADER_BYTES);
    wire_put_u32_le(&w, h->props_bytes);
    wire_put_u64_le(&w, h->body_bytes);
    wire_put_u64_le(&w, id);
    wire_put_u64_le(&w, h->check);
    wire_put_u64_le(&w, hash_bytes(slice_of(out, CHECKED_BYTES), 0));
    CHECK(!w.overflow && wire_out_len(&w) == LARGE_HEADER_BYTES);
}

static bool damaged(uint64_t id, const char *what, struct err *err)
{
    return err_set(err, ERR_PROTOCOL, LARGE_FOLDER "/%016llx: %s", (unsigned long long)id, what);
}

/* Lengths are judged by the file's before anybody believes them. */
static bool read_header(struct disk *d, struct disk_file *f, uint64_t id, struct large_header *h,
                        struct err *err)
{
    uint8_t raw[LARGE_HEADER_BYTES];
    size_t got;
    uint64_t file_bytes;
    if (!d->ops->read(f, 0, raw, sizeof raw, &got, err) || !d->ops->size(f, &file_bytes, err))
        return false;
    struct wire w = wire_over(slice_of(raw, got));
    uint64_t magic = wire_u64_le(&w);
    uint16_t version = wire_u16_le(&w);
    uint16_t header = wire_u16_le(&w);
    h->props_bytes = wire_u32_le(&w);
    h->body_bytes = wire_u64_le(&w);
    uint64_t named = wire_u64_le(&w);
    h->check = wire_u64_le(&w);
    uint64_t check = wire_u64_le(&w);
    if (w.ran_out || magic != LARGE_MAGIC || check != hash_bytes(slice_of(raw, CHECKED_BYTES), 0))
        return damaged(id, "its header is damaged", err);
    if (version != LARGE_VERSION || header != LARGE_HEADER_BYTES || named != id)
        return damaged(id, "its header is of another version or file", err);
    if (h->body_bytes == 0)
        return damaged(id, "it has no body", err);
    if (h->props_bytes > PROPS_MAX || h->body_bytes > UINT32_MAX ||
        file_bytes != LARGE_HEADER_BYTES + h->props_bytes + h->body_bytes)
        return damaged(id, "it is cut short", err);
    return true;
}

/* ---- writing ----------------------------------------------------------------------------------
 */

static uint64_t content_check(uint64_t id, const struct slice *parts, size_t count)
{
    struct hash_parts *h = hash_parts_new(id);
    for (size_t i = 0; i < count; i++)
        hash_parts_add(h, parts[i]);
    return hash_parts_end(&h);
}

static bool write_all(struct disk *d, struct disk_file *f, uint64_t id, const struct message *m,
                      struct err *err)
{
    bool in_parts = message_is_in_parts(m);
    size_t bodies = in_parts ? message_more(m)->part_count : 1;
    struct slice *parts = mem_array(2 + bodies, sizeof *parts);
    uint8_t header[LARGE_HEADER_BYTES];
    parts[0] = slice_of(header, sizeof header);
    parts[1] = message_props(m);
    for (size_t i = 0; i < bodies; i++)
        parts[2 + i] = in_parts ? buf_slice(message_more(m)->parts[i]) : message_body(m);
    put_header(header, id,
               &(struct large_header){ .props_bytes = m->props_bytes,
                                       .body_bytes = m->body_bytes,
                                       .check = content_check(id, parts + 1, 1 + bodies) });
    bool ok = d->ops->write(f, 0, parts, 2 + bodies, err) &&
              (MUTATION(LARGE_NOT_SYNCED) || d->ops->sync(f, err));
    mem_free(parts);
    return ok;
}

bool large_write(struct disk *d, uint64_t id, const struct message *m, struct err *err)
{
    char name[LARGE_NAME_MAX];
    large_name(id, name);
    struct err gone = { 0 };
    (void)d->ops->remove(d, name, &gone); /* what an attempt left that found the disk full */
    struct disk_file *f = d->ops->open(d, name, DISK_CREATE, err);
    if (f == NULL)
        return false;
    bool ok = write_all(d, f, id, m, err);
    d->ops->close(&f);
    if (!ok)
        (void)d->ops->remove(d, name, &gone);
    return ok;
}

bool large_sync(struct disk *d, struct err *err)
{
    return MUTATION(LARGE_NAME_NOT_SYNCED) || d->ops->sync_folder(d, LARGE_FOLDER, err);
}

bool large_remove(struct disk *d, uint64_t id, struct err *err)
{
    char name[LARGE_NAME_MAX];
    large_name(id, name);
    return d->ops->remove(d, name, err);
}

/* ---- reading ----------------------------------------------------------------------------------
 */

static bool read_exactly(struct disk *d, struct disk_file *f, uint64_t id, uint64_t offset,
                         void *into, size_t len, struct err *err)
{
    size_t got;
    if (!d->ops->read(f, offset, into, len, &got, err))
        return false;
    return got == len || damaged(id, "it is cut short", err);
}

/* The body in blocks that the message then holds. False: those that were made are freed. */
static bool read_body(struct disk *d, struct disk_file *f, uint64_t id,
                      const struct large_header *h, struct buf **parts, uint32_t count,
                      struct err *err)
{
    uint64_t at = LARGE_HEADER_BYTES + (uint64_t)h->props_bytes;
    uint64_t left = h->body_bytes;
    for (uint32_t i = 0; i < count; i++) {
        size_t len = left < PART_BYTES ? (size_t)left : PART_BYTES;
        parts[i] = buf_new(len);
        parts[i]->len_bytes = (uint32_t)len;
        if (!read_exactly(d, f, id, at, parts[i]->data, len, err)) {
            for (uint32_t n = 0; n <= i; n++)
                buf_unref(&parts[n]);
            return false;
        }
        at += len;
        left -= len;
    }
    return true;
}

static bool is_right(uint64_t id, const struct large_header *h, struct slice props,
                     struct buf *const *parts, uint32_t count)
{
    struct hash_parts *sum = hash_parts_new(id);
    hash_parts_add(sum, props);
    for (uint32_t i = 0; i < count; i++)
        hash_parts_add(sum, buf_slice(parts[i]));
    return hash_parts_end(&sum) == h->check;
}

static bool is_persistent(struct slice props)
{
    struct amqp_props_brief brief;
    return amqp_props_peek(props, &brief) && brief.delivery_mode == AMQP_DELIVERY_PERSISTENT;
}

static struct message *assemble(uint64_t id, struct slice names, struct slice props,
                                struct buf **parts, uint32_t count, uint64_t body_bytes)
{
    struct wire w = wire_over(names);
    struct slice exchange = wire_shortstr(&w);
    struct slice key = wire_shortstr(&w);
    struct message *m =
        message_new_parts(exchange, key, props, parts, count, body_bytes, is_persistent(props));
    if (body_bytes >= LARGE_BODY_LEAST)
        message_set_large_id(m, id);
    return m;
}

static struct message *read_message(struct disk *d, struct disk_file *f, uint64_t id,
                                    struct slice names, struct err *err)
{
    struct large_header h;
    if (!read_header(d, f, id, &h, err))
        return NULL;
    uint32_t count = (uint32_t)((h.body_bytes + PART_BYTES - 1) / PART_BYTES);
    uint8_t *props = mem_alloc(h.props_bytes + (size_t)1);
    struct buf **parts = mem_array((size_t)count + 1, sizeof(struct buf *));
    struct message *m = NULL;
    if (read_exactly(d, f, id, LARGE_HEADER_BYTES, props, h.props_bytes, err) &&
        read_body(d, f, id, &h, parts, count, err)) {
        struct slice read = slice_of(props, h.props_bytes);
        if (is_right(id, &h, read, parts, count)) {
            m = assemble(id, names, read, parts, count, h.body_bytes);
            parts = NULL;
        } else {
            damaged(id, "its content is damaged", err);
            for (uint32_t i = 0; i < count; i++)
                buf_unref(&parts[i]);
        }
    }
    mem_free(props);
    mem_free(parts);
    return m;
}

static struct disk_file *open_it(struct disk *d, uint64_t id, struct err *err)
{
    char name[LARGE_NAME_MAX];
    large_name(id, name);
    return d->ops->open(d, name, DISK_READ, err);
}

struct message *large_read(struct disk *d, uint64_t id, struct slice names, struct err *err)
{
    struct disk_file *f = open_it(d, id, err);
    if (f == NULL)
        return NULL;
    struct message *m = read_message(d, f, id, names, err);
    d->ops->close(&f);
    if (m == NULL)
        err->code = ERR_PROTOCOL; /* a file that opens and cannot be read stays so */
    return m;
}

/* The octets behind the header, a block at a time. */
static bool check_content(struct disk *d, struct disk_file *f, uint64_t id,
                          const struct large_header *h, struct err *err)
{
    uint8_t *block = mem_alloc(PART_BYTES);
    struct hash_parts *sum = hash_parts_new(id);
    uint64_t left = h->props_bytes + h->body_bytes;
    bool ok = true;
    for (uint64_t at = LARGE_HEADER_BYTES; ok && left != 0;) {
        size_t len = left < PART_BYTES ? (size_t)left : PART_BYTES;
        ok = read_exactly(d, f, id, at, block, len, err);
        if (ok)
            hash_parts_add(sum, slice_of(block, len));
        at += len;
        left -= len;
    }
    mem_free(block);
    if (hash_parts_end(&sum) != h->check && ok)
        return damaged(id, "its content is damaged", err);
    return ok;
}

bool large_check(struct disk *d, uint64_t id, uint64_t expected_bytes, struct err *err)
{
    struct disk_file *f = open_it(d, id, err);
    if (f == NULL)
        return false;
    struct large_header h;
    bool ok = read_header(d, f, id, &h, err);
    if (ok && h.props_bytes + h.body_bytes != expected_bytes)
        ok = damaged(id, "it is not as long as the journal says", err);
    ok = ok && check_content(d, f, id, &h, err);
    d->ops->close(&f);
    return ok;
}
