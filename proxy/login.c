#include "login.h"

#include "amqp/amqp_sasl.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/wire.h"

#include <string.h>

static void fill(struct login *l, const struct amqp_hs_login *from, struct slice subject)
{
    size_t bytes = from->properties.len + from->mechanism.len + from->response.len + subject.len;
    uint8_t *memory = mem_alloc(bytes + 1);
    struct wire_out w = wire_out_over(memory, bytes);
    l->properties = wire_out_keep(&w, from->properties);
    l->mechanism = wire_out_keep(&w, from->mechanism);
    l->response = wire_out_keep(&w, from->response);
    l->subject = wire_out_keep(&w, subject);
    l->memory = slice_of(memory, bytes);
}

struct login *login_new(const struct amqp_hs_login *from, const char *subject)
{
    struct login *l = mem_zalloc(sizeof *l);
    fill(l, from, subject != NULL ? slice_str(subject) : slice_of(NULL, 0));
    l->capabilities = amqp_capabilities_read(l->properties);
    return l;
}

static void wipe(struct slice memory)
{
    void *ptr = (void *)(uintptr_t)memory.ptr;
    explicit_bzero(ptr, memory.len);
    mem_free(ptr);
}

void login_free(struct login **l)
{
    if (*l == NULL)
        return;
    wipe((*l)->memory);
    mem_free(*l);
    *l = NULL;
}

void login_complete(struct login *l, const struct amqp_limits *limits, struct slice vhost)
{
    CHECK(vhost.len <= sizeof l->vhost_room);
    l->limits = *limits;
    if (vhost.len != 0)
        memcpy(l->vhost_room, vhost.ptr, vhost.len);
    l->vhost = slice_of(l->vhost_room, vhost.len);
    l->is_complete = true;
}

bool login_set_secret(struct login *l, struct slice secret)
{
    struct amqp_credentials c;
    if (!amqp_sasl_read(l->mechanism, l->response, &c))
        return false;
    c.password = secret;
    size_t room = l->response.len + secret.len + 64;
    uint8_t *response = mem_alloc(room);
    struct wire_out w = wire_out_over(response, room);
    if (slice_is(l->mechanism, AMQP_SASL_PLAIN))
        amqp_sasl_plain_write(&w, &c);
    else
        amqp_sasl_amqplain_write(&w, &c);
    CHECK(!w.overflow);

    struct slice old = l->memory;
    fill(l,
         &(struct amqp_hs_login){
             .properties = l->properties,
             .mechanism = l->mechanism,
             .response = wire_out_slice(&w),
         },
         l->subject);
    wipe(old);
    wipe(slice_of(response, room));
    return true;
}

struct slice login_user(const struct login *l)
{
    struct amqp_credentials c;
    if (amqp_sasl_read(l->mechanism, l->response, &c))
        return c.user;
    if (slice_is(l->mechanism, AMQP_SASL_EXTERNAL))
        return l->subject;
    return slice_of(NULL, 0);
}
