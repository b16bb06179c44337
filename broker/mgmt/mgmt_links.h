/*
 * mgmt_links: what the links to other nodes carry: those of the cluster's control and those of the
 * shards, gathered from one thread after the other.
 */
#ifndef WARREN_MGMT_LINKS_H
#define WARREN_MGMT_LINKS_H

#include "link/link_figures.h"

struct broker;
struct loop;

struct mgmt_link {
    uint16_t node;
    struct link_figure figure;
};

/* On the loop that asked; lent until it returns. */
typedef void (*mgmt_links_fn)(void *arg, const struct mgmt_link *links, size_t count);

void mgmt_ask_links(struct broker *b, struct loop *loop, mgmt_links_fn done, void *arg);

#endif
