#include "store/reading.h"

#include "amqp/amqp_props.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/wire.h"
#include "model/message.h"
#include "store/large.h"

#define GAP_MAX   ((uint32_t)16 * 1024) /* rather read than left out */
#define GROUP_MAX ((uint32_t)1 << 20)   /* read in one go */
#define REST_LIKELY                                                                                \
    ((uint32_t)512) /* of a record beside its body: head, targets, names, properties */

/* What is read in one go: items [from, to) in order of place. */
struct group {
    size_t from;
    size_t to;
    uint32_t offset;
    uint32_t end;
};

/* All that a record's octets are judged with. */
struct reading {
    struct disk *disk;
    struct disk_file *file;
    const struct segment_header *header;
    struct load *load;
    const struct index_entry *found;
};

void reading_why(struct load *load, const char *why)
{
    if (load->why[0] != '\0')
        return;
    struct text t = text_over(load->why, sizeof load->why);
    text_str(&t, why);
}

bool reading_may_pass(const struct err *err)
{
    return err->code != ERR_NOT_FOUND && err->code != ERR_PROTOCOL;
}

void reading_must_wait(struct load *load, const struct err *err)
{
    load->must_wait = true;
    load->why[0] = '\0';
    reading_why(load, err->text);
}

void reading_lost(struct load *load, const char *why)
{
    load->lost_count++;
    reading_why(load, why);
}

struct disk_file *reading_open(struct disk *d, const char *name, uint32_t seg,
                               struct segment_header *header, struct err *err)
{
    struct disk_file *f = d->ops->open(d, name, DISK_READ, err);
    if (f == NULL)
        return NULL;
    uint8_t raw[SEGMENT_HEADER_BYTES];
    size_t got;
    if (!d->ops->read(f, 0, raw, sizeof raw, &got, err)) {
        err->code = ERR_PROTOCOL; /* a file that opens and cannot be read stays so */
    } else if (segment_header_read(slice_of(raw, got), header) && header->seg == seg) {
        return f;
    } else {
        err_set(err, ERR_PROTOCOL, "%s: its header is damaged", name);
    }
    d->ops->close(&f);
    return NULL;
}

void reading_list(struct load *load, uint32_t seg, const struct index_entry *found, size_t count,
                  size_t max)
{
    uint64_t bytes = 0;
    size_t n = 0;
    load->items = mem_array(count + 1, sizeof *load->items);
    for (; n < count && (n == 0 || bytes + found[n].body_bytes <= LOAD_BYTES_MAX); n++) {
        bytes += load->only_index ? 0 : found[n].body_bytes;
        load->items[n] =
            (struct load_item){ .qseq = found[n].qseq,
                                .body_bytes = found[n].body_bytes,
                                .place = { seg, found[n].offset },
                                .is_persistent = (found[n].msg_flags & MSG_TRANSIENT) == 0 };
    }
    load->count = n;
    load->is_all = n == count && count < max;
}

/* ---- one record -------------------------------------------------------------------------------
 */

static bool is_persistent(unsigned flags, struct slice props)
{
    struct amqp_props_brief brief;
    if ((flags & MSG_TRANSIENT) == 0)
        return true;
    /* Also what would last lies here as if it did not, when its queue does not last. */
    return amqp_props_peek(props, &brief) && brief.delivery_mode == AMQP_DELIVERY_PERSISTENT;
}

static struct message *make_message(const struct reading *r, const struct msg_record *m,
                                    struct err *err)
{
    if ((m->flags & MSG_LARGE) != 0)
        return large_read(r->disk, m->large_id, m->names, err);
    struct wire w = wire_over(m->names);
    struct slice exchange = wire_shortstr(&w);
    struct slice key = wire_shortstr(&w);
    return message_new(exchange, key, m->props, m->body, is_persistent(m->flags, m->props));
}

static bool find_target(const struct msg_record *m, uint64_t qid, struct load_item *item)
{
    for (unsigned i = 0; i < m->target_count; i++) {
        struct msg_target t = msg_record_target(m, i);
        if (t.qid != qid || t.qseq != item->qseq)
            continue;
        item->expires_ms = t.expires_ms;
        item->returns = t.returns;
        if ((m->flags & MSG_PRODUCER) != 0)
            item->producer = m->producer;
        return true;
    }
    return false;
}

static void take_record(const struct reading *r, struct slice bytes, struct load_item *item)
{
    struct record rec;
    struct msg_record m;
    struct err err = { 0 };
    uint32_t offset = item->place.offset;
    if (record_cut_one(bytes, r->header, offset, &rec) != RECORD_CUT_OK)
        err_set(&err, ERR_PROTOCOL, "segment %08x, octet %u: no good record", item->place.seg,
                offset);
    else if (rec.type != RECORD_MSG || !record_read_msg(&rec, &m) ||
             !find_target(&m, r->load->qid, item))
        err_set(&err, ERR_PROTOCOL, "segment %08x, octet %u: not the record of this message",
                item->place.seg, offset);
    else
        item->message = make_message(r, &m, &err);
    if (item->message == NULL && reading_may_pass(&err))
        reading_must_wait(r->load, &err);
    else if (item->message == NULL)
        reading_lost(r->load, err.text);
}

/* ---- many -------------------------------------------------------------------------------------
 */

static struct load_item *item_at(const struct reading *r, size_t n)
{
    return &r->load->items[r->load->order[n]];
}

/* How much to read for it; without an index this is a guess, and what is missing is read later. */
static uint32_t length_of(const struct reading *r, size_t n)
{
    if (r->found != NULL)
        return r->found[r->load->order[n]].length;
    uint64_t body = item_at(r, n)->body_bytes;
    return REST_LIKELY + (body < LARGE_BODY_LEAST ? (uint32_t)body : 0);
}

/* As many as lie close together. */
static struct group group_from(const struct reading *r, size_t from, size_t end)
{
    struct group g = { .from = from, .offset = item_at(r, from)->place.offset };
    g.end = g.offset;
    for (g.to = from; g.to < end; g.to++) {
        uint32_t offset = item_at(r, g.to)->place.offset;
        uint32_t item_end = offset + length_of(r, g.to);
        if (g.to != from && (offset > g.end + GAP_MAX || item_end - g.offset > GROUP_MAX))
            break;
        g.end = item_end > g.end ? item_end : g.end;
    }
    if (g.end > r->header->bytes)
        g.end = r->header->bytes > g.offset ? r->header->bytes : g.offset;
    return g;
}

static uint32_t length_in_head(struct slice bytes)
{
    struct wire w = wire_over(bytes);
    return wire_u32_le(&w);
}

/* A record whose length is known, or guessed (then it may be read `again`). */
static void take_alone(const struct reading *r, struct load_item *item, uint32_t length, bool again)
{
    struct err err = { 0 };
    size_t got = 0;
    if (length < RECORD_HEAD_BYTES || item->place.offset > r->header->bytes ||
        length > r->header->bytes - item->place.offset) {
        take_record(r, slice_of("", 0), item); /* says what is wrong */
        return;
    }
    uint8_t *bytes = mem_alloc(length);
    bool ok = r->disk->ops->read(r->file, item->place.offset, bytes, length, &got, &err);
    uint32_t really = length_in_head(slice_of(bytes, got));
    if (ok && really > length && !again)
        take_alone(r, item, really, true);
    else if (ok)
        take_record(r, slice_of(bytes, got), item);
    else
        reading_lost(r->load, err.text);
    mem_free(bytes);
}

static void take_group(const struct reading *r, const struct group *g, struct slice bytes)
{
    for (size_t n = g->from; n < g->to; n++) {
        struct load_item *item = item_at(r, n);
        struct slice rest = slice_from(bytes, item->place.offset - g->offset);
        uint32_t length = length_in_head(rest);
        if (length > rest.len)
            take_alone(r, item, length, true);
        else
            take_record(r, rest, item);
    }
}

void reading_read(struct disk *d, struct disk_file *f, const struct segment_header *header,
                  struct load *load, size_t end, const struct index_entry *found)
{
    struct reading r = { d, f, header, load, found };
    while (load->at < end) {
        struct group g = group_from(&r, load->at, end);
        uint8_t *bytes = mem_alloc((size_t)(g.end - g.offset) + 1);
        struct err err = { 0 };
        size_t got = 0;
        if (d->ops->read(f, g.offset, bytes, g.end - g.offset, &got, &err))
            take_group(&r, &g, slice_of(bytes, got));
        else
            for (size_t n = g.from; n < g.to; n++)
                take_alone(&r, item_at(&r, n), length_of(&r, n), false);
        mem_free(bytes);
        load->at = g.to;
    }
}
