/*
 * order: what the control loop asks of workers, one after the other, on their own loops.
 *
 * An order visits workers 0 to n-1 and comes back; it is in one place at a time, so what it carries
 * needs no lock.
 */
#ifndef WARREN_ORDER_H
#define WARREN_ORDER_H

#include "io/mailbox.h"
#include "worker.h"

struct order;

/* On a worker's loop: false sends the order home without visiting the rest. */
typedef bool (*order_visit_fn)(struct order *o, struct worker *w);

/* On the control loop, when all were visited; owns the order from then on. */
typedef void (*order_done_fn)(struct order *o);

struct order {
    struct mail mail;
    struct loop *control;
    struct worker *workers;
    unsigned worker_count;
    unsigned at;
    order_visit_fn visit;
    order_done_fn done;
};

/* Embedded in what it carries, which lives until `done`. Control loop. */
void order_send(struct order *o, struct loop *control, struct worker *workers,
                unsigned worker_count, order_visit_fn visit, order_done_fn done);

#endif
