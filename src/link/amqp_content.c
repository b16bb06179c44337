#include "link/amqp_content.h"

#include "base/mem.h"

void amqp_contents_init(struct amqp_contents *cs, size_t message_max_bytes)
{
    LIST_INIT(&cs->list);
    cs->message_max_bytes = message_max_bytes;
}

void amqp_content_free(struct amqp_content **content)
{
    struct amqp_content *c = *content;
    *content = NULL;
    mem_free(c->method_octets);
    mem_free(c->props_octets);
    mem_free(c->body);
    mem_free(c);
}

void amqp_contents_fini(struct amqp_contents *cs)
{
    struct amqp_content *c;
    while ((c = LIST_FIRST(&cs->list)) != NULL) {
        LIST_REMOVE(c, entry);
        amqp_content_free(&c);
    }
}

static struct amqp_content *find(const struct amqp_contents *cs, uint16_t channel)
{
    struct amqp_content *c;
    LIST_FOREACH (c, &cs->list, entry)
        if (c->channel == channel)
            return c;
    return NULL;
}

bool amqp_contents_is_open(const struct amqp_contents *cs, uint16_t channel)
{
    return find(cs, channel) != NULL;
}

void amqp_contents_drop(struct amqp_contents *cs, uint16_t channel)
{
    struct amqp_content *c = find(cs, channel);
    if (c == NULL)
        return;
    LIST_REMOVE(c, entry);
    amqp_content_free(&c);
}

static uint8_t *keep(struct slice s)
{
    return mem_dup(s.len != 0 ? s.ptr : (const uint8_t *)"", s.len != 0 ? s.len : 1);
}

const char *amqp_contents_begin(struct amqp_contents *cs, uint16_t channel, struct slice payload)
{
    if (find(cs, channel) != NULL)
        return "a method in the middle of a message";
    struct amqp_content *c = mem_zalloc(sizeof *c);
    c->channel = channel;
    c->method_octets = keep(payload);
    enum amqp_decode verdict =
        amqp_method_decode(slice_of(c->method_octets, payload.len), &c->method);
    CHECK(verdict == AMQP_DECODE_OK || verdict == AMQP_DECODE_BAD_UTF8);
    LIST_INSERT_HEAD(&cs->list, c, entry);
    return NULL;
}

static const char *take_header(struct amqp_contents *cs, struct amqp_content *c,
                               struct slice payload)
{
    struct amqp_header h;
    if (c->has_header)
        return "a second header";
    if (!amqp_header_decode(payload, &h) || h.class_id != AMQP_CLASS_BASIC || h.weight != 0)
        return "a malformed header";
    if (h.body_size > cs->message_max_bytes)
        return "a message that is too large";
    c->has_header = true;
    c->props_octets = keep(h.props);
    c->props = slice_of(c->props_octets, h.props.len);
    c->body_size = (size_t)h.body_size;
    return NULL;
}

static const char *take_body(struct amqp_content *c, struct slice part, struct slice *body)
{
    if (!c->has_header)
        return "a body without a header";
    if (part.len > c->body_size - c->body_len)
        return "a body longer than its header says";
    if (part.len == c->body_size) {
        c->body_len = c->body_size;
        *body = part;
        return NULL;
    }
    if (c->body == NULL)
        c->body = mem_alloc(c->body_size);
    if (part.len != 0)
        memcpy(c->body + c->body_len, part.ptr, part.len);
    c->body_len += part.len;
    *body = slice_of(c->body, c->body_len);
    return NULL;
}

const char *amqp_contents_add(struct amqp_contents *cs, const struct amqp_frame *f,
                              struct amqp_content **done, struct slice *body)
{
    *done = NULL;
    *body = slice_of(NULL, 0);
    struct amqp_content *c = find(cs, f->channel);
    if (c == NULL)
        return "content without a method";

    const char *wrong = f->type == AMQP_FRAME_HEADER ? take_header(cs, c, f->payload)
                                                     : take_body(c, f->payload, body);
    if (wrong == NULL && c->body_len == c->body_size) {
        LIST_REMOVE(c, entry);
        *done = c;
    }
    return wrong;
}
