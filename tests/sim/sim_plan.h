/*
 * sim_plan: what a history of the store is made of: how often what happens. All of it is drawn
 * before it begins, so that what is rare in one is frequent in another.
 */
#ifndef WARREN_SIM_PLAN_H
#define WARREN_SIM_PLAN_H

#include "base/rng.h"
#include "broker_conf.h"

#define SIM_QUEUES_MAX 5u

enum sim_act {
    ACT_PUBLISH,
    ACT_CONSUME,
    ACT_CANCEL,
    ACT_GET,
    ACT_SETTLE,
    ACT_PURGE,
    ACT_DELETE,
    ACT_DECLARE,
    ACT_PRESS,
    ACT_RUN,
    ACT_PASS,
    ACT_QUIET,
    ACTS,
};

struct sim_plan {
    unsigned weights[ACTS];
    unsigned weight_sum;
    uint32_t shards;
    uint32_t segment_bytes;
    unsigned queue_count;
    uint64_t body_max;
    unsigned lives;
    unsigned steps;
    unsigned interleave;
    unsigned crash_per_mille;
    unsigned fault_per_mille;
    unsigned start_crash_per_mille;
    unsigned large_per_mille;
    unsigned transient_per_mille;
    unsigned ttl_per_mille;
    unsigned fence_per_mille;
    unsigned spoil_per_mille;
    unsigned grave_per_mille; /* queues that leave letters; 0: there is no grave */
    unsigned limit_per_mille; /* queues that have a length, or let their messages expire */
    bool settles_all_kinds;
    bool starves;
    enum broker_sync sync;
};

void sim_plan_draw(struct sim_plan *p, struct rng *chance);

#endif
