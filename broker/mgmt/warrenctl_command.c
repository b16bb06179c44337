#include "mgmt/warrenctl_command.h"

#include <string.h>

static const struct warrenctl_table *const tables[] = {
    &warrenctl_clusters, &warrenctl_definitions, &warrenctl_helps,
    &warrenctl_lists,    &warrenctl_nodes,       &warrenctl_operations,
    &warrenctl_policies, &warrenctl_users,       &warrenctl_vhosts,
};

const struct warrenctl_command *warrenctl_command_at(size_t index)
{
    for (size_t i = 0; i < ARRAY_COUNT(tables); i++) {
        if (index < tables[i]->count)
            return &tables[i]->rows[index];
        index -= tables[i]->count;
    }
    return NULL;
}

const struct warrenctl_command *warrenctl_command_find(const char *name)
{
    const struct warrenctl_command *c;
    for (size_t i = 0; (c = warrenctl_command_at(i)) != NULL; i++) {
        if (strcmp(c->name, name) == 0)
            return c;
    }
    return NULL;
}
