#include "sim_names.h"

#include "base/check.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define NAMES_MAX 4096u

struct sim_name *sim_names_find(const struct sim_names *n, const char *text)
{
    for (size_t i = 0; i < n->count; i++)
        if (strcmp(n->list[i].text, text) == 0)
            return &n->list[i];
    return NULL;
}

void sim_name_put(char out[SIM_NAME_BYTES], const char *text)
{
    CHECK(strlen(text) < SIM_NAME_BYTES);
    (void)snprintf(out, SIM_NAME_BYTES, "%s", text);
}

void sim_names_unset(struct sim_names *n, const char *text)
{
    struct sim_name *at = sim_names_find(n, text);
    if (at == NULL)
        return;
    if (at->inode != NULL)
        at->inode->names--;
    *at = n->list[--n->count];
}

void sim_names_set(struct sim_names *n, const char *text, struct sim_inode *inode)
{
    sim_names_unset(n, text);
    if (n->count == n->room) {
        n->room = n->room * 2 + 16;
        CHECK(n->room <= NAMES_MAX);
        n->list = mem_realloc(n->list, n->room * sizeof *n->list);
    }
    sim_name_put(n->list[n->count].text, text);
    n->list[n->count++].inode = inode;
    if (inode != NULL)
        inode->names++;
}

bool sim_name_is_in(const char *name, const char *folder)
{
    size_t len = strlen(folder);
    if (len == 0 || strcmp(folder, ".") == 0)
        return strchr(name, '/') == NULL;
    return strncmp(name, folder, len) == 0 && name[len] == '/' &&
           strchr(name + len + 1, '/') == NULL;
}

void sim_names_clear(struct sim_names *n)
{
    while (n->count != 0)
        sim_names_unset(n, n->list[n->count - 1].text);
}
