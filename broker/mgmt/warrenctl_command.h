/*
 * warrenctl_command: the rows of the command tables.
 */
#ifndef WARREN_WARRENCTL_COMMAND_H
#define WARREN_WARRENCTL_COMMAND_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>

#define WARRENCTL_OPTIONS_MAX 8u

/* In the order of the help, with rabbitmqctl's headings. */
#define WARRENCTL_GROUPS(X)                                                                        \
    X(HELP, "Help")                                                                                \
    X(NODES, "Nodes")                                                                              \
    X(CLUSTER, "Cluster")                                                                          \
    X(REPLICATION, "Replication")                                                                  \
    X(USERS, "Users")                                                                              \
    X(ACCESS, "Access Control")                                                                    \
    X(MONITORING, "Monitoring, observability and health checks")                                   \
    X(PARAMETERS, "Parameters")                                                                    \
    X(POLICIES, "Policies")                                                                        \
    X(VHOSTS, "Virtual hosts")                                                                     \
    X(CONFIGURATION, "Configuration and Environment")                                              \
    X(DEFINITIONS, "Definitions")                                                                  \
    X(FEATURE_FLAGS, "Feature flags")                                                              \
    X(OPERATIONS, "Operations")                                                                    \
    X(QUEUES, "Queues")                                                                            \
    X(PLUGINS, "Plugin Management")                                                                \
    X(DEPRECATED, "Deprecated")

enum warrenctl_group {
#define X(name, text) WARRENCTL_##name,
    WARRENCTL_GROUPS(X)
#undef X
};

/* How rabbitmqctl words what is not there differs from command to command. */
enum warrenctl_flag {
    WARRENCTL_USER_PLAIN = 1,  /* User bob does not exist, exit 67 */
    WARRENCTL_USER_TERM = 2,   /* {:no_such_user, "bob"}, exit 69; else User "bob" ..., 67 */
    WARRENCTL_VHOST_PLAIN = 4, /* Virtual host v does not exist, exit 69; else 'v', 65 */
    WARRENCTL_NO_NODE = 8,     /* does not need one */
};

struct warrenctl;

struct warrenctl_command {
    const char *name;
    enum warrenctl_group group;
    int least;           /* arguments */
    int most;            /* -1: any number */
    const char *usage;   /* behind the name */
    const char *help;    /* one line */
    const char *details; /* arguments and options; NULL: none */
    /* The command's own options, without "--"; one that takes a value ends in "=". */
    const char *options[WARRENCTL_OPTIONS_MAX];
    unsigned flags;
    int (*run)(struct warrenctl *w);
};

struct warrenctl_table {
    const struct warrenctl_command *rows;
    size_t count;
};

/* Each in the file of its name. */
extern const struct warrenctl_table warrenctl_checks, warrenctl_clusters, warrenctl_definitions,
    warrenctl_helps, warrenctl_lists, warrenctl_nodes, warrenctl_operations, warrenctl_plugins,
    warrenctl_policies, warrenctl_quarantine, warrenctl_users, warrenctl_vhosts;

/* What a program has: tables up to a NULL. */
extern const struct warrenctl_table *const warrenctl_ctl_tables[];
extern const struct warrenctl_table *const warrenctl_plugins_tables[];

/* All rows, one after the other; NULL past the end. */
const struct warrenctl_command *warrenctl_command_at(const struct warrenctl_table *const *tables,
                                                     size_t index);
const struct warrenctl_command *warrenctl_command_find(const struct warrenctl_table *const *tables,
                                                       const char *name);

#endif
