/*
 * meta_life: commands on the metadata, by chance. They are about few names, so that they meet.
 */
#ifndef WARREN_META_LIFE_H
#define WARREN_META_LIFE_H

#include "base/rng.h"
#include "meta_world.h"

struct life {
    struct rng rng;
};

/* ---- commands by chance ---- */

static inline const char *life_name(struct life *l, char kind)
{
    static char room[8][8];
    static unsigned at;
    char *name = room[at++ % 8];
    snprintf(name, sizeof room[0], "%c%d", kind, (int)rng_below(&l->rng, 6));
    return name;
}

static inline struct meta_cmd life_topology(struct life *l, struct args *a)
{
    bool durable = rng_below(&l->rng, 3) != 0;
    struct meta_cmd c;
    switch (rng_below(&l->rng, 9)) {
    case 0:
    case 1:
        c = q_declare(life_name(l, 'q'));
        c.queue_declare.durable = durable;
        c.queue_declare.exclusive = !durable && rng_below(&l->rng, 2) != 0;
        c.queue_declare.auto_delete = rng_below(&l->rng, 2) != 0;
        if (rng_below(&l->rng, 2) != 0)
            c.queue_declare.args = args_int(a, "x-max-length", (int64_t)rng_below(&l->rng, 100));
        return c;
    case 2:
    case 3:
        c = x_declare(life_name(l, 'x'),
                      meta_exchange_type_name((enum meta_exchange_type)rng_below(&l->rng, 4)));
        c.exchange_declare.durable = durable;
        c.exchange_declare.auto_delete = rng_below(&l->rng, 2) != 0;
        if (rng_below(&l->rng, 3) == 0)
            c.exchange_declare.args = args_str(a, "alternate-exchange", "x1");
        return c;
    case 4:
        return q_delete(life_name(l, 'q'));
    case 5:
        return x_delete(life_name(l, 'x'), rng_below(&l->rng, 2) != 0);
    case 6:
        return x_bind(life_name(l, 'x'), "k", life_name(l, 'x'));
    case 7:
        return q_unbind(life_name(l, 'x'), life_name(l, 'k'), life_name(l, 'q'));
    default:
        return q_bind(life_name(l, 'x'), life_name(l, 'k'), life_name(l, 'q'));
    }
}

static inline struct meta_cmd life_rights(struct life *l)
{
    struct meta_cmd c;
    switch (rng_below(&l->rng, 14)) {
    case 0:
        return user_put(life_name(l, 'u'), life_name(l, 'h'), "administrator");
    case 1:
        return user_cmd(META_USER_DELETE, life_name(l, 'u'));
    case 2:
        c = user_cmd(META_USER_LIMITS_PUT, life_name(l, 'u'));
        c.limits.definition = S("{\"max-channels\":7}");
        return c;
    case 3:
        return may(life_name(l, 'u'), "^a", life_name(l, 'p'), "");
    case 4:
        return may_topic(life_name(l, 'u'), "amq.topic", "^{username}", life_name(l, 'p'));
    case 5:
        return policy_put(life_name(l, 'p'), life_name(l, 'q'), "{\"max-length\":5}",
                          (int64_t)rng_below(&l->rng, 4));
    case 6:
        return policy_put(life_name(l, 'p'), "^x", "{\"alternate-exchange\":\"x2\"}", 1);
    case 7:
        return operators(policy_put(life_name(l, 'p'), "", "{\"message-ttl\":9}", 0));
    case 8:
        return policy_clear(life_name(l, 'p'));
    case 9:
        c = (struct meta_cmd){ .op = META_VHOST_LIMITS_PUT };
        c.limits.definition = rng_below(&l->rng, 2) != 0 ? S("{\"max-queues\":4}") : S("{}");
        return c;
    case 10:
        c = (struct meta_cmd){ .op = META_GLOBAL_PARAMETER_PUT, .name = S(life_name(l, 'g')) };
        c.parameter.value = S("{\"a\":[1,2]}");
        return c;
    case 11:
        return (struct meta_cmd){ .op = META_GLOBAL_PARAMETER_CLEAR, .name = S(life_name(l, 'g')) };
    case 12:
        return (struct meta_cmd){ .op = META_VHOST_DELETE, .name = S(life_name(l, 'v')) };
    default:
        c = (struct meta_cmd){ .op = META_VHOST_PUT, .name = S(life_name(l, 'v')) };
        c.vhost.has_default_queue_type = c.vhost.has_tracing = true;
        c.vhost.default_queue_type = S(rng_below(&l->rng, 2) != 0 ? "quorum" : "");
        c.vhost.tracing = rng_below(&l->rng, 2) != 0;
        return c;
    }
}

#endif
