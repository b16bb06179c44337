#include "leg.h"

#include "base/check.h"

struct leg *leg_new(struct pool *pool, struct upstream *upstream)
{
    CHECK(upstream->state == UPSTREAM_READY);
    struct leg *l = pool_get(pool);
    if (l == NULL)
        return NULL;
    l->upstream = upstream;
    upstream->leg_count++;
    (void)shared_add(&upstream->server->live->legs, 1);
    (void)shared_add(&upstream->server->live->legs_total, 1);
    return l;
}

void leg_free(struct pool *pool, struct leg **leg)
{
    struct leg *l = *leg;
    *leg = NULL;
    if (l == NULL)
        return;
    CHECK(l->upstream->leg_count > 0);
    l->upstream->leg_count--;
    (void)shared_sub(&l->upstream->server->live->legs, 1);
    pool_put(pool, l);
}
