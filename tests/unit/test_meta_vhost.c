#include "meta_world.h"

static struct meta_cmd vhost_put(const char *name)
{
    return (struct meta_cmd){ .op = META_VHOST_PUT, .name = S(name) };
}

static struct meta_cmd default_type(const char *type)
{
    struct meta_cmd c = vhost_put("/");
    c.vhost.default_queue_type = S(type);
    c.vhost.has_default_queue_type = true;
    return c;
}

static struct meta_cmd limits(enum meta_op op, const char *definition, const char *limit)
{
    struct meta_cmd c = { .op = op };
    c.limits.definition = S(definition);
    c.limits.limit = S(limit);
    return c;
}

static struct meta_cmd parameter(enum meta_op op, const char *component, const char *name,
                                 const char *value)
{
    struct meta_cmd c = { .op = op, .name = S(name) };
    c.parameter.component = S(component);
    c.parameter.value = S(value);
    return c;
}

static struct slice limits_value(const struct world *w)
{
    const struct meta_parameter *p =
        meta_parameter_find(now(w), vhost_now(w), S("vhost-limits"), S("limits"));
    return p != NULL ? p->value : S("none");
}

Test(meta_vhost, has_properties)
{
    struct world w;
    world_init(&w, 1);
    struct meta_cmd c = vhost_put("v");
    c.vhost.description = S("what it is for");
    c.vhost.has_description = true;
    c.vhost.tags = S("a,b");
    c.vhost.has_tags = true;
    must(&w, c);
    uint64_t id = w.r.id;
    const struct meta_vhost *vh = meta_vhost_find(now(&w), S("v"));
    cr_assert(vh != NULL);
    cr_expect(vh->vhost_id == id && vh->exchanges.count == 7);
    cr_expect(slice_is(vh->description, "what it is for") && slice_is(vh->tags, "a,b"));
    cr_expect(not(vh->tracing));
    cr_expect(vh->max_queues == META_NO_LIMIT);

    c = vhost_put("v");
    c.vhost.tracing = true;
    c.vhost.has_tracing = true;
    c.vhost.has_tags = true;
    must(&w, c);
    cr_expect(eq(u64, w.r.id, id));
    vh = meta_vhost_find(now(&w), S("v"));
    cr_expect(slice_is(vh->description, "what it is for") && vh->tags.len == 0 && vh->tracing);
    must(&w, (struct meta_cmd){ .op = META_VHOST_ADD, .name = S("v") });
    cr_expect(eq(u64, w.r.id, id));
    must(&w, (struct meta_cmd){ .op = META_VHOST_DELETE, .name = S("v") });
    world_fini(&w);
}

Test(meta_vhost, refuses_what_it_cannot_be)
{
    struct world w;
    static char many[META_TEXT_MAX + 2];
    memset(many, 'x', sizeof many - 1);
    const char *text = "the name, the description or the tags of the virtual host are too long";
    world_init(&w, 1);
    must_not(&w, default_type("zork"), 400, "invalid_queue_type");
    struct meta_cmd c = vhost_put("v");
    c.vhost.description = S(many);
    c.vhost.has_description = true;
    must_not(&w, c, 400, text);
    must_not(&w, (struct meta_cmd){ .op = META_VHOST_ADD, .name = S(many) }, 400, text);
    world_fini(&w);
}

/* ---- limits ---- */

Test(meta_vhost, holds_so_many_queues)
{
    struct world w;
    world_init(&w, 1);
    must(&w, limits(META_VHOST_LIMITS_PUT, "{\"max-queues\":2}", ""));
    cr_expect(vhost_now(&w)->max_queues == 2 && vhost_now(&w)->max_connections == META_NO_LIMIT);
    must(&w, q_declare("q1"));
    must(&w, q_declare("q2"));
    must(&w, q_declare("q2"));
    must_not(&w, q_declare("q3"), 406,
             "cannot declare queue 'q3': queue limit in vhost '/' (2) is reached");
    must(&w, q_delete("q1"));
    must(&w, q_declare("q3"));
    must(&w, limits(META_VHOST_LIMITS_PUT, "{\"max-queues\":0}", ""));
    must_not(&w, q_declare("q4"), 406,
             "cannot declare queue 'q4': queue limit in vhost '/' (0) is reached");
    must(&w, limits(META_VHOST_LIMITS_PUT, "{\"max-queues\":-1}", ""));
    must(&w, q_declare("q4"));
    world_fini(&w);
}

Test(meta_vhost, has_limits_that_are_a_parameter)
{
    struct world w;
    world_init(&w, 1);
    must_not(&w, limits(META_VHOST_LIMITS_CLEAR, "", ""), 404, "Parameter does not exist");
    must(&w, limits(META_VHOST_LIMITS_CLEAR, "", "max-queues"));
    cr_expect(slice_is(limits_value(&w), "none"));
    must(&w, limits(META_VHOST_LIMITS_PUT, "{\"max-queues\": 5, \"max-connections\": 6}", ""));
    cr_expect(slice_is(limits_value(&w), "{\"max-connections\":6,\"max-queues\":5}"));
    must(&w, limits(META_VHOST_LIMITS_PUT, "{\"max-connections\":-7}", ""));
    cr_expect(slice_is(limits_value(&w), "{\"max-connections\":-7}"), "replaced");
    cr_expect(vhost_now(&w)->max_connections == META_NO_LIMIT);
    cr_expect(vhost_now(&w)->max_queues == META_NO_LIMIT);
    struct meta_cmd c = limits(META_VHOST_LIMITS_PUT, "{\"max-queues\":3}", "");
    c.limits.merge = true;
    must(&w, c);
    cr_expect(slice_is(limits_value(&w), "{\"max-connections\":-7,\"max-queues\":3}"));
    must(&w, limits(META_VHOST_LIMITS_CLEAR, "", "max-connections"));
    cr_expect(slice_is(limits_value(&w), "{\"max-queues\":3}"));
    cr_expect(vhost_now(&w)->max_queues == 3);
    must(&w, limits(META_VHOST_LIMITS_CLEAR, "", ""));
    cr_expect(slice_is(limits_value(&w), "none") && vhost_now(&w)->max_queues == META_NO_LIMIT);

    must(&w, parameter(META_PARAMETER_PUT, "vhost-limits", "limits", "{\"max-queues\":9}"));
    cr_expect(vhost_now(&w)->max_queues == 9);
    must(&w, parameter(META_PARAMETER_PUT, "vhost-limits", "limits", "[[\"max-queues\",8]]"));
    cr_expect(vhost_now(&w)->max_queues == 8 && slice_is(limits_value(&w), "{\"max-queues\":8}"));
    must(&w, parameter(META_PARAMETER_CLEAR, "vhost-limits", "limits", ""));
    cr_expect(vhost_now(&w)->max_queues == META_NO_LIMIT);
    world_fini(&w);
}

Test(meta_vhost, judges_limits)
{
    static const struct {
        const char *definition;
        const char *text;
    } bad[] = {
        { "{\"foo\":1}", "Validation failed\n\nUnrecognised terms [{<<\"foo\">>,1}] in limits\n" },
        { "{\"max-queues\":null}",
          "Validation failed\n\nmax-queues should be a number, actually was null\n" },
        { "{\"foo\":1,\"max-queues\":\"x\"}",
          "Validation failed\n\nUnrecognised terms [{<<\"foo\">>,1}] in limits\n"
          "max-queues should be a number, actually was <<\"x\">>\n" },
        { "5", "Validation failed\n\nlimits not a list 5\n" },
    };
    struct world w;
    world_init(&w, 1);
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        must_not(&w, limits(META_VHOST_LIMITS_PUT, bad[i].definition, ""), 400, bad[i].text);
    world_fini(&w);
}

/* ---- parameters ---- */

Test(meta_vhost, has_only_parameters_that_mean_something)
{
    struct world w;
    world_init(&w, 1);
    must_not(&w, parameter(META_PARAMETER_PUT, "zork", "a", "5"), 400,
             "Validation failed\n\ncomponent zork not found\n");
    must_not(&w, parameter(META_PARAMETER_PUT, "policy", "a", "5"), 400,
             "policies may not be set using this method");
    must_not(&w, parameter(META_PARAMETER_PUT, "operator_policy", "a", "5"), 400,
             "policies may not be set using this method");
    must_not(&w, parameter(META_PARAMETER_PUT, "vhost-limits", "a", "{}"), 400,
             "the limits of a virtual host are called 'limits'");
    must_not(&w, parameter(META_PARAMETER_PUT, "vhost-limits", "", "{}"), 400,
             "the name of a parameter has 1 to 255 octets");
    must_not(&w, parameter(META_PARAMETER_CLEAR, "zork", "a", ""), 404, "Parameter does not exist");
    must_not(&w, parameter(META_PARAMETER_CLEAR, "", "a", ""), 404, "Parameter does not exist");
    world_fini(&w);
}

Test(meta_vhost, stands_beside_global_parameters)
{
    struct world w;
    world_init(&w, 1);
    must_not(&w, parameter(META_GLOBAL_PARAMETER_CLEAR, "", "n", ""), 404,
             "Parameter does not exist");
    must(&w, parameter(META_GLOBAL_PARAMETER_PUT, "", "n", " { \"b\": [1, 2.5], \"a\": null } "));
    const struct meta_parameter *p = meta_global_parameter_find(now(&w), S("n"));
    cr_assert(p != NULL);
    cr_expect(slice_is(p->name, "n") && p->component.len == 0);
    cr_expect(slice_is(p->value, "{\"a\":null,\"b\":[1,2.5]}"));
    must(&w, parameter(META_GLOBAL_PARAMETER_PUT, "ignored", "n", "\"x\""));
    cr_expect(slice_is(meta_global_parameter_find(now(&w), S("n"))->value, "\"x\""));
    cr_expect(eq(u64, now(&w)->global_parameters.count, 1));
    must(&w, (struct meta_cmd){ .op = META_VHOST_DELETE, .name = S("/") });
    must(&w, parameter(META_GLOBAL_PARAMETER_CLEAR, "", "n", ""));
    cr_expect(meta_global_parameter_find(now(&w), S("n")) == NULL);
    struct meta_cmd c = parameter(META_GLOBAL_PARAMETER_PUT, "", "n", "{");
    cr_expect(world_do(&w, c) == META_REFUSED);
    cr_expect(w.r.refusal.code == 400 &&
              slice_starts(S(w.r.refusal.text), "JSON decoding error. Reason: "));
    static char many[META_DEFINITION_MAX + 2];
    memset(many, ' ', sizeof many - 1);
    c = parameter(META_GLOBAL_PARAMETER_PUT, "", "n", many);
    must_not(&w, c, 400, "JSON decoding error. Reason: longer than 65536 octets");
    world_fini(&w);
}

/* ---- the default type of queues ---- */

static struct slice type_now(const struct world *w, const char *queue)
{
    return amqp_table_longstr(meta_queue_args(queue_now(w, queue)), "x-queue-type");
}

Test(meta_vhost, gives_queues_their_type)
{
    struct world w;
    struct args a;
    world_init(&w, 1);
    must(&w, default_type("quorum"));
    struct meta_cmd c = q_declare("transient");
    must(&w, c);
    cr_expect(type_now(&w, "transient").ptr == NULL, "it cannot be one");
    c = q_declare("durable");
    c.queue_declare.durable = true;
    c.queue_declare.args = args_int(&a, "x-max-length", 5);
    must(&w, c);
    cr_expect(slice_is(type_now(&w, "durable"), "quorum"));
    cr_expect(amqp_table_i64(meta_queue_args(queue_now(&w, "durable")), "x-max-length", 0) == 5);
    must(&w, c); /* the same declaration finds it */
    c.name = S("mine");
    c.queue_declare.args = args_str(&a, "x-queue-type", "classic");
    must(&w, c);
    cr_expect(slice_is(type_now(&w, "mine"), "classic"));
    c.name = S("brief");
    c.queue_declare.args = (struct slice){ NULL, 0 };
    c.queue_declare.auto_delete = true;
    must(&w, c);
    cr_expect(type_now(&w, "brief").ptr == NULL);
    must(&w, default_type("classic"));
    c.name = S("plain");
    must(&w, c);
    cr_expect(slice_is(type_now(&w, "plain"), "classic"));
    must(&w, default_type(""));
    c.name = S("none");
    must(&w, c);
    cr_expect(type_now(&w, "none").ptr == NULL);
    world_fini(&w);
}

/* Many of all queues are taken out of all maps at once. */
Test(meta_vhost, that_has_most_of_the_queues_leaves_those_of_others)
{
    static const uint16_t homes[] = { 60, 200, 500 };
    for (size_t k = 0; k < ARRAY_COUNT(homes); k++) {
        struct world w;
        char name[16];
        world_init(&w, k);
        uint64_t one = w.vhost, kept[100];
        must(&w, (struct meta_cmd){ .op = META_VHOST_ADD, .name = S("two") });
        uint64_t two = w.r.id;
        for (unsigned i = 0; i < homes[k]; i++) {
            snprintf(name, sizeof name, "q%u", i);
            w.vhost = two;
            struct meta_cmd q = q_declare(name);
            q.queue_declare.durable = i % 2 == 0;
            must(&w, q);
            if (i % 3 == 0)
                must(&w, q_bind("amq.direct", "k", name));
            w.vhost = one;
            if (i >= ARRAY_COUNT(kept))
                continue;
            must(&w, q_declare(name));
            kept[i] = w.r.id;
        }
        uint64_t left = meta_stats(w.meta).queue_count - homes[k];
        must(&w, (struct meta_cmd){ .op = META_VHOST_DELETE, .name = S("two") });
        cr_assert(eq(sz, w.r.effect_count, homes[k] + 1u));
        for (size_t i = 1; i < homes[k]; i++)
            cr_expect(w.r.effects[i].qid > w.r.effects[i - 1].qid, "the oldest first");
        cr_expect(eq(u64, meta_stats(w.meta).queue_count, left));
        cr_expect(eq(u64, meta_node_queue_count(now(&w), 1), left));
        cr_expect(eq(u64, meta_checksum(w.meta), meta_checksum_walk(w.meta)));
        for (uint64_t i = 0; i < left; i++)
            cr_expect(meta_queue_get(now(&w), kept[i]) != NULL);
        world_fini(&w);
    }
}
