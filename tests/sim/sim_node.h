/*
 * sim_node: a node without sockets: shards, control thread, metadata, store, as they are, on the
 * simulator's clock, threads and disk. It stands in for broker.c.
 */
#ifndef WARREN_SIM_NODE_H
#define WARREN_SIM_NODE_H

#include "broker.h"
#include "broker_conf.h"
#include "sim_disk.h"

struct sim_node_setup {
    struct sim_disk *disk;
    uint32_t shards;
    uint32_t segment_bytes;
    enum broker_sync sync;
};

/* Reads what is on the disk. Nothing runs yet: recovery's findings stand in store_recovered. NULL:
 * it could not. */
MUST_CHECK struct broker *sim_node_new(const struct sim_node_setup *setup, struct err *err);

/* Its threads and loops. */
MUST_CHECK bool sim_node_start(struct broker *b, struct err *err);

/* Loops end, what is written is written, if the disk still works; all is freed. False: it failed,
 * then or before. */
bool sim_node_free(struct broker **b);

/* It has failed: it would leave now. */
bool sim_node_has_failed(const struct broker *b);

/* Bodies are to leave memory, or not. */
void sim_node_press(struct broker *b, bool on);

uint64_t sim_node_vhost(const struct broker *b);

#endif
