#include "mgmt/mgmt_effective.h"

#include "base/check.h"
#include "mgmt/mgmt_json.h"

static json_t *definition(const struct meta_policy *p)
{
    if (p == NULL)
        return json_object();
    json_error_t err;
    json_t *o =
        json_loadb((const char *)p->definition.ptr, p->definition.len, JSON_ALLOW_NUL, &err);
    CHECK(o != NULL); /* the metadata keeps it as it read it */
    return o;
}

/* What an operator may set are all numbers. */
json_t *mgmt_effective_definition(const struct meta_policy *p, const struct meta_policy *op)
{
    json_t *out = definition(p);
    json_t *bounds = definition(op);
    const char *key;
    json_t *bound;
    json_object_foreach(bounds, key, bound)
    {
        const json_t *own = json_object_get(out, key);
        if (own == NULL || json_integer_value(bound) < json_integer_value(own))
            json_object_set(out, key, bound);
    }
    json_decref(bounds);
    return out;
}

static json_t *name_of(const struct meta_policy *p)
{
    return p != NULL ? json_out_text(p->name) : json_null();
}

void mgmt_effective_put(json_t *object, const struct meta_policy *p, const struct meta_policy *op)
{
    json_out_put(object, "policy", name_of(p));
    json_out_put(object, "operator_policy", name_of(op));
    json_out_put(object, "effective_policy_definition", mgmt_effective_definition(p, op));
}
