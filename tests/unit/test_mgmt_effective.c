#include "mgmt/mgmt_effective.h"

#include "meta_world.h"

#include <stdlib.h>

static void expect(struct world *w, const char *text)
{
    const struct meta_queue *q = queue_now(w, "q");
    json_t *o = json_object();
    mgmt_effective_put(o, meta_policy_of_queue(now(w), q),
                       meta_operator_policy_of_queue(now(w), q));
    char *seen = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
    cr_expect(eq(str, seen, (char *)(uintptr_t)text));
    free(seen);
    json_decref(o);
}

Test(mgmt_effective, takes_the_lower_of_both)
{
    struct world w;
    world_init(&w, 1);
    must(&w, q_declare("q"));
    expect(&w, "{\"effective_policy_definition\":{},\"operator_policy\":null,\"policy\":null}");
    must(&w, policy_put("p", "", "{\"max-length\":10,\"message-ttl\":1,\"overflow\":\"drop-head\"}",
                        0));
    expect(&w, "{\"effective_policy_definition\":{\"max-length\":10,\"message-ttl\":1,"
               "\"overflow\":\"drop-head\"},\"operator_policy\":null,\"policy\":\"p\"}");
    must(&w,
         operators(policy_put("o", "", "{\"expires\":7,\"max-length\":5,\"message-ttl\":2}", 0)));
    expect(&w, "{\"effective_policy_definition\":{\"expires\":7,\"max-length\":5,\"message-ttl\":1,"
               "\"overflow\":\"drop-head\"},\"operator_policy\":\"o\",\"policy\":\"p\"}");
    must(&w, policy_clear("p"));
    expect(&w, "{\"effective_policy_definition\":{\"expires\":7,\"max-length\":5,"
               "\"message-ttl\":2},\"operator_policy\":\"o\",\"policy\":null}");
    world_fini(&w);
}
