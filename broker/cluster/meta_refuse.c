/* The words of refusals. They are RabbitMQ's, because clients and their users know them, and some
 * look for them. */
#include "amqp/amqp_table.h"
#include "base/check.h"
#include "cluster/meta_state.h"

struct text meta_refuse(struct meta_refusal *why, unsigned code)
{
    why->code = (uint16_t)code;
    return text_over(why->text, sizeof why->text);
}

void meta_put_thing(struct text *t, const char *kind, struct slice name,
                    const struct meta_vhost *vh)
{
    text_put(t, "%s '", kind);
    text_slice(t, name);
    text_str(t, "' in vhost '");
    text_slice(t, meta_vhost_name(vh));
    text_char(t, '\'');
}

static bool no_thing(const char *kind, struct slice name, const struct meta_vhost *vh,
                     struct meta_refusal *why)
{
    struct text t = meta_refuse(why, AMQP_NOT_FOUND);
    text_str(&t, "no ");
    meta_put_thing(&t, kind, name, vh);
    return false;
}

bool meta_no_queue(const struct meta_vhost *vh, struct slice name, struct meta_refusal *why)
{
    return no_thing("queue", name, vh, why);
}

bool meta_no_exchange(const struct meta_vhost *vh, struct slice name, struct meta_refusal *why)
{
    return no_thing("exchange", name, vh, why);
}

static const char *escape_of(uint8_t c)
{
    switch (c) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default: /* an octet, not one of our enums */
        return NULL;
    }
}

static bool is_text(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.ptr[i];
        bool plain = (c >= 0x20 && c < 0x7F) || c >= 0xA0;
        if (!plain && escape_of(c) == NULL)
            return false;
    }
    return true;
}

void meta_put_quoted(struct text *t, struct slice s)
{
    if (s.len != 0 && !is_text(s)) {
        for (size_t i = 0; i < s.len; i++)
            text_put(t, "%s%u", i != 0 ? "," : "", s.ptr[i]);
        return;
    }
    text_char(t, '"');
    for (size_t i = 0; i < s.len; i++) {
        const char *escape = escape_of(s.ptr[i]);
        if (escape != NULL)
            text_str(t, escape);
        else
            text_char(t, (char)s.ptr[i]);
    }
    text_char(t, '"');
}

/* ---- what a declaration says differently from what is there ---- */

static struct text differs(const char *arg, const char *kind, struct slice name,
                           const struct meta_vhost *vh, struct meta_refusal *why)
{
    struct text t = meta_refuse(why, AMQP_PRECONDITION_FAILED);
    text_put(&t, "inequivalent arg '%s' for ", arg);
    meta_put_thing(&t, kind, name, vh);
    text_str(&t, ": received ");
    return t;
}

bool meta_same_word(const char *arg, const char *kind, struct slice name,
                    const struct meta_vhost *vh, const char *received, const char *current,
                    struct meta_refusal *why)
{
    if (strcmp(received, current) == 0)
        return true;
    struct text t = differs(arg, kind, name, vh, why);
    text_put(&t, "'%s' but current is '%s'", received, current);
    return false;
}

bool meta_same_bool(const char *arg, const char *kind, struct slice name,
                    const struct meta_vhost *vh, bool received, bool current,
                    struct meta_refusal *why)
{
    return meta_same_word(arg, kind, name, vh, received ? "true" : "false",
                          current ? "true" : "false", why);
}

/* The type is told only where one side has no value to show. */
static void put_value(struct text *t, const struct amqp_field *f, bool with_type)
{
    if (f == NULL || (f->type == AMQP_FIELD_VOID && !with_type)) {
        text_str(t, "none");
        return;
    }
    text_str(t, with_type ? "the value '" : "'");
    amqp_field_text(f, t);
    text_char(t, '\'');
    if (with_type)
        text_put(t, " of type '%s'", amqp_field_type_name(f->type));
}

static bool is_classic(const struct amqp_field *f)
{
    struct slice type;
    return amqp_field_as_longstr(f, &type) && slice_is(type, "classic");
}

/* A queue whose type nobody has named is a classic one. */
static bool is_the_default(const char *arg, const struct amqp_field *f)
{
    return strcmp(arg, "x-queue-type") == 0 && is_classic(f);
}

bool meta_same_arg(const char *arg, const char *kind, struct slice name,
                   const struct meta_vhost *vh, struct slice received, struct slice current,
                   struct meta_refusal *why)
{
    struct amqp_field new, old;
    bool has_new = amqp_table_find(received, arg, &new);
    bool has_old = amqp_table_find(current, arg, &old);
    if (has_new == has_old && (!has_new || amqp_field_is_equivalent(&new, &old)))
        return true;
    bool one_alone = has_new != has_old;
    if (one_alone && is_the_default(arg, has_new ? &new : &old))
        return true;
    struct text t = differs(arg, kind, name, vh, why);
    put_value(&t, has_new ? &new : NULL, one_alone);
    text_str(&t, " but current is ");
    put_value(&t, has_old ? &old : NULL, one_alone);
    return false;
}
