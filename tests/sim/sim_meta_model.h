/*
 * sim_meta_model: where queues are and who has what of them, by the simplest means there are: one
 * record a queue, and every rule carried out for every queue. Beside the metadata that are tried,
 * and compared with them after each entry.
 */
#ifndef WARREN_SIM_META_MODEL_H
#define WARREN_SIM_META_MODEL_H

#include "cluster/meta_entry.h"

#define MODEL_NODES  64u /* numbers that are ever given, at most */
#define MODEL_QUEUES 64u /* at a time */

/* As it was before the entry. */
struct model_node {
    bool is_there, is_up, is_stopped, is_unwell; /* who is unwell is up, too */
    bool is_draining;
    uint16_t mirrors;
    uint32_t inc;
};

struct model;

struct model *model_new(void);
void model_free(struct model **m);

/* A command that was carried out, and not refused. */
void model_follow(struct model *m, const struct model_node *nodes, uint64_t index,
                  const struct meta_cmd *cmd);

/* NULL, or what the version has that the model has not. Queues that were declared by the last
 * command are taken over, if they can be. */
const char *model_compare(struct model *m, const struct model_node *nodes,
                          const struct meta_version *v, const struct meta_cmd *cmd);

#endif
