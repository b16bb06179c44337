#include "sim_witness.h"

#include "base/attr.h"
#include "sim_witnesses.h"

#include <string.h>

static const struct sim_witness rows[] = {
#define X(rule, kind, seed) { #rule, #kind, UINT64_C(seed) },
    SIM_WITNESSES(X)
#undef X
};

const struct sim_witness *sim_witness_of(const char *rule)
{
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
        if (strcmp(rows[i].rule, rule) == 0)
            return &rows[i];
    return NULL;
}
