#include "mgmt/mgmt_rates.h"

#include "base/check.h"
#include "base/idmap.h"
#include "base/mem.h"

#include <string.h>

struct look {
    uint64_t at_us;
    uint64_t counters[MGMT_RATE_COLUMNS];
    double rates[MGMT_RATE_COLUMNS];
};

struct mgmt_rates {
    struct idmap looks;
};

struct mgmt_rates *mgmt_rates_new(void)
{
    struct mgmt_rates *r = mem_zalloc(sizeof *r);
    idmap_init(&r->looks);
    return r;
}

static void forget_all(struct mgmt_rates *r)
{
    size_t at = 0;
    struct look *l;
    while ((l = idmap_next(&r->looks, &at)) != NULL)
        mem_free(l);
    idmap_fini(&r->looks);
    idmap_init(&r->looks);
}

void mgmt_rates_free(struct mgmt_rates **rates)
{
    struct mgmt_rates *r = *rates;
    if (r == NULL)
        return;
    *rates = NULL;
    forget_all(r);
    idmap_fini(&r->looks);
    mem_free(r);
}

static struct look *look_of(struct mgmt_rates *r, uint64_t id)
{
    struct look *l = idmap_get(&r->looks, id);
    if (l != NULL)
        return l;
    if (r->looks.count >= MGMT_RATES_MAX)
        forget_all(r);
    l = mem_zalloc(sizeof *l);
    idmap_put(&r->looks, id, l);
    return l;
}

void mgmt_rates_look(struct mgmt_rates *r, uint64_t id, uint64_t now_us, const uint64_t *counters,
                     size_t count, double *out)
{
    CHECK(count <= MGMT_RATE_COLUMNS);
    struct look *l = look_of(r, id);
    uint64_t passed = now_us - l->at_us;
    if (l->at_us == 0 || passed >= MGMT_RATE_MS * 1000u) {
        for (size_t i = 0; i < count; i++) {
            bool is_first = l->at_us == 0 || counters[i] < l->counters[i];
            l->rates[i] =
                is_first ? 0 : (double)(counters[i] - l->counters[i]) * 1e6 / (double)passed;
            l->counters[i] = counters[i];
        }
        l->at_us = now_us;
    }
    memcpy(out, l->rates, count * sizeof *out);
}
