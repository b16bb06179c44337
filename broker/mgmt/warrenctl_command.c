#include "mgmt/warrenctl_command.h"

#include <string.h>

const struct warrenctl_table *const warrenctl_ctl_tables[] = {
    &warrenctl_checks,     &warrenctl_clusters, &warrenctl_definitions, &warrenctl_helps,
    &warrenctl_lists,      &warrenctl_nodes,    &warrenctl_operations,  &warrenctl_policies,
    &warrenctl_quarantine, &warrenctl_users,    &warrenctl_vhosts,      NULL,
};

const struct warrenctl_table *const warrenctl_plugins_tables[] = {
    &warrenctl_helps,
    &warrenctl_plugins,
    NULL,
};

const struct warrenctl_command *warrenctl_command_at(const struct warrenctl_table *const *tables,
                                                     size_t index)
{
    for (; *tables != NULL; tables++) {
        if (index < (*tables)->count)
            return &(*tables)->rows[index];
        index -= (*tables)->count;
    }
    return NULL;
}

const struct warrenctl_command *warrenctl_command_find(const struct warrenctl_table *const *tables,
                                                       const char *name)
{
    const struct warrenctl_command *c;
    for (size_t i = 0; (c = warrenctl_command_at(tables, i)) != NULL; i++) {
        if (strcmp(c->name, name) == 0)
            return c;
    }
    return NULL;
}
