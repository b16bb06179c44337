#include "amqp/amqp_sasl.h"

#include "amqp/amqp_table.h"

/* A NUL, and what follows it up to the next NUL or the end. */
static bool read_element(struct wire *w, struct slice *out)
{
    if (wire_left(w) == 0 || wire_u8(w) != 0)
        return false;
    size_t left = wire_left(w);
    const uint8_t *nul = left != 0 ? (const uint8_t *)memchr(w->at, 0, left) : NULL;
    *out = wire_take(w, nul != NULL ? (size_t)(nul - w->at) : left);
    return true;
}

bool amqp_sasl_plain_read(struct slice response, struct amqp_credentials *out)
{
    struct wire w = wire_over(response);
    return read_element(&w, &out->user) && read_element(&w, &out->password) && wire_left(&w) == 0;
}

void amqp_sasl_plain_write(struct wire_out *w, const struct amqp_credentials *c)
{
    wire_put_u8(w, 0);
    wire_put_bytes(w, c->user);
    wire_put_u8(w, 0);
    wire_put_bytes(w, c->password);
}

bool amqp_sasl_amqplain_read(struct slice response, struct amqp_credentials *out)
{
    struct amqp_field login, password;
    return amqp_table_check(response) && amqp_table_find(response, "LOGIN", &login) &&
           amqp_table_find(response, "PASSWORD", &password) &&
           amqp_field_as_longstr(&login, &out->user) &&
           amqp_field_as_longstr(&password, &out->password);
}

void amqp_sasl_amqplain_write(struct wire_out *w, const struct amqp_credentials *c)
{
    amqp_table_put_longstr(w, "LOGIN", c->user);
    amqp_table_put_longstr(w, "PASSWORD", c->password);
}

bool amqp_sasl_read(struct slice mechanism, struct slice response, struct amqp_credentials *out)
{
    if (slice_is(mechanism, AMQP_SASL_PLAIN))
        return amqp_sasl_plain_read(response, out);
    if (slice_is(mechanism, AMQP_SASL_AMQPLAIN))
        return amqp_sasl_amqplain_read(response, out);
    return false;
}

struct slice amqp_sasl_find(struct slice list, struct slice wanted)
{
    for (size_t at = 0; at < list.len;) {
        struct slice rest = slice_from(list, at);
        const uint8_t *space = (const uint8_t *)memchr(rest.ptr, ' ', rest.len);
        struct slice word = slice_head(rest, space != NULL ? (size_t)(space - rest.ptr) : rest.len);
        if (word.len != 0 && slice_eq(word, wanted))
            return word;
        at += word.len + 1;
    }
    return (struct slice){ NULL, 0 };
}
