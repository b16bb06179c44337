/*
 * view: what pages and runtime commands see of the proxy. Control loop.
 */
#ifndef WARREN_VIEW_H
#define WARREN_VIEW_H

#include "io/handover.h"
#include "io/loop.h"
#include "snapshot.h"
#include "worker.h"

struct observer;
struct rabbits;

struct view {
    struct loop *loop;
    struct snapshot *snapshot; /* the one in force; changes with a reload */
    struct process *process;
    struct observer *observer; /* NULL: no gossip */
    const struct rabbits *rabbits;
    struct worker *workers;
    unsigned worker_count;
    struct live_rate published, delivered; /* of all workers, messages */
    uint64_t started_ms;
    uint64_t started_wall_ms;
    void (*hand_over)(void *control, struct handover_out *out); /* what this loop listens at */
    void (*handed_over)(void *control, pid_t heir);             /* ... and all the others */
    void (*poke)(void *control, const struct server *s);        /* check this server soon */
};

struct view_totals {
    uint64_t clients, channels, upstreams, published, delivered;
    uint64_t ways[PLACE_WAY_COUNT];
    uint64_t channels_kept, channels_ended, consumers_moved, vacated;
};

/* The sums over all workers. */
static inline struct view_totals view_totals(const struct view *v)
{
    struct view_totals t = { 0 };
    for (unsigned i = 0; i < v->worker_count; i++) {
        const struct worker_counts *c = &v->workers[i].counts;
        t.clients += shared_get(&c->clients);
        t.channels += shared_get(&c->channels);
        t.upstreams += shared_get(&c->upstreams);
        t.published += shared_get(&c->published);
        t.delivered += shared_get(&c->delivered);
        for (unsigned way = 0; way < PLACE_WAY_COUNT; way++)
            t.ways[way] += shared_get(&c->ways[way]);
        t.channels_kept += shared_get(&c->channels_kept);
        t.channels_ended += shared_get(&c->channels_ended);
        t.consumers_moved += shared_get(&c->consumers_moved);
        t.vacated += shared_get(&c->vacated);
    }
    return t;
}

/* Can somebody be served? For clients of AMQP, if there is a door for them, else for any. */
static inline bool view_can_serve(const struct view *v)
{
    bool has_amqp = false;
    bool any = false;
    if (shared_get(&v->process->draining) != 0)
        return false;
    for (unsigned i = 0; i < v->snapshot->frontend_count; i++) {
        const struct frontend *f = &v->snapshot->frontends[i];
        bool amqp = f->conf->mode == PROXY_MODE_AMQP;
        if (f->backend == NULL || (has_amqp && !amqp))
            continue;
        bool serves = backend_usable_count(f->backend) != 0;
        if (amqp && !has_amqp)
            any = serves; /* what was said of others counts no more */
        else
            any |= serves;
        has_amqp |= amqp;
    }
    return any;
}

#endif
