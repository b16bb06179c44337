/*
 * rabbit: what is known of a RabbitMQ cluster behind a backend (discover = rabbitmq): its
 * management API is asked again and again for its nodes and queues, and what it says is told to the
 * backend: which servers it has, and which of them masters a queue. Control loop.
 *
 * Nodes are asked for at each turn, which costs RabbitMQ next to nothing; queues as often, but
 * never so that the listing takes more than a small share of the time, since it takes the longer
 * the more there are; and both sooner after something has happened. What the answer before said
 * already is recognised by its hash.
 *
 * When no URL answers, what is known of queues stays in use, since a wrong place costs a hop and no
 * more, and is marked: nodes count as suspects, and what shows this says since when.
 */
#ifndef WARREN_RABBIT_H
#define WARREN_RABBIT_H

#include "base/text.h"
#include "discover.h"

struct rabbit;

struct rabbit *rabbit_new(struct loop *loop, struct epoch *epoch, const char *backend,
                          const struct discover_calls *calls, void *arg);
void rabbit_free(struct rabbit **r);

/* The snapshot in force, whose backend of that name has discover = rabbitmq. */
void rabbit_follow(struct rabbit *r, struct snapshot *s);

/* Of the backend. */
const char *rabbit_name(const struct rabbit *r);

/* Servers may have other addresses. */
void rabbit_look(struct rabbit *r);

/* Something has happened: ask soon. */
void rabbit_poke(struct rabbit *r);

struct rabbit_figures {
    const char *from; /* the URL that is asked, without user and password; borrowed */
    bool is_fresh;    /* the last questions were answered */
    bool was_heard;   /* there was an answer at all */
    uint64_t age_ms;  /* of the last answer; or how long there was none */
    unsigned nodes, nodes_running;
    uint64_t queues;
    uint64_t asked;       /* rounds of questions */
    uint64_t lists;       /* of queues, that were taken */
    uint64_t changes;     /* lists that said something new */
    uint64_t failures;    /* URLs that did not answer as they should */
    uint64_t list_ms;     /* how long the last list took to come and to be read */
    const char *last_why; /* of the last failure, "" for none; borrowed, octets from outside */
};
void rabbit_figures(const struct rabbit *r, struct rabbit_figures *out);

#endif
