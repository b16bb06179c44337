/*
 * sim_names: the names on the simulated disk, a folder tree laid flat: which file each stands for.
 */
#ifndef WARREN_SIM_NAMES_H
#define WARREN_SIM_NAMES_H

#include "sim_inode.h"

#define SIM_NAME_BYTES 96u

struct sim_name {
    char text[SIM_NAME_BYTES];
    struct sim_inode *inode; /* NULL: a folder */
};

/* A folder tree, flat. */
struct sim_names {
    struct sim_name *list;
    size_t count;
    size_t room;
};

void sim_name_put(char out[SIM_NAME_BYTES], const char *text);
/* Directly in that folder; "" and "." are the uppermost. */
bool sim_name_is_in(const char *name, const char *folder);

struct sim_name *sim_names_find(const struct sim_names *n, const char *text);
void sim_names_set(struct sim_names *n, const char *text, struct sim_inode *inode);
void sim_names_unset(struct sim_names *n, const char *text);
void sim_names_clear(struct sim_names *n);

#endif
