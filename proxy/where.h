/*
 * where: which server of a backend masters a queue.
 *
 * A backend that routes by master has an atlas (where queues are, by the numbers of nodes) and a
 * crew (which server each node is). Both stand in its live record and are replaced through the
 * epoch, so a worker looks without locks, and what it gets is good for the turn; the server itself
 * lives as long as the snapshot that it is of.
 *
 * What it says is a hint: brokers forward what comes to the wrong one.
 */
#ifndef WARREN_WHERE_H
#define WARREN_WHERE_H

#include "atlas.h"
#include "crew.h"
#include "snapshot.h"

struct worker;

enum where {
    WHERE_UNKNOWN, /* nothing is known, or its node is no server of this backend */
    WHERE_AT,      /* at *out, whose node is up, as its cluster says */
    WHERE_DOWN,    /* at *out, whose node is down: durable without a mirror, or not yet promoted */
};

/* Worker's loop. Says nothing of the server's health: ask server_is_usable. */
enum where where_look(const struct worker *w, const struct backend *b, struct slice vhost,
                      struct slice queue, const struct server **out);

/* True: *out masters the queue, whether it is up or down. False: any server will do. */
bool where_find(const struct worker *w, const struct backend *b, struct slice vhost,
                struct slice queue, const struct server **out);

enum where_lead {
    WHERE_LEAD_NONE,  /* nothing can be said until where_leads_news rises */
    WHERE_LEAD_LATER, /* nothing can be said now */
    WHERE_LEAD_AT,    /* at *out, or the most of it */
};

/* Where messages to an exchange land, with this key: the server that masters the most of their
 * queues, and whether those are all (*is_whole). Worker's loop. */
enum where_lead where_lead(const struct worker *w, const struct backend *b, struct slice vhost,
                           struct slice exchange, struct slice key, const struct server **out,
                           bool *is_whole);

/* Rises when where_lead may say otherwise, beside where_moves. Any loop of the epoch. */
uint64_t where_leads_news(const struct backend *b);

/* The same of queues that are known (leads.h). False: none of them is up. */
struct leads_queues;
bool where_most(const struct backend *b, const struct leads_queues *queues,
                const struct server **out, bool *is_whole);

/* May a consumer of the queue be taken off it for a moment? False when nobody says so. */
bool where_is_loose(const struct backend *b, struct slice vhost, struct slice queue);

/* Rises when a queue that was known has another master, when a node goes or comes, and when a node
 * is another server: legs may have to move. Any loop of the epoch. */
uint64_t where_moves(const struct backend *b);

/* Rises with each change at all: what was unknown may be known now. */
uint64_t where_news(const struct backend *b);

/* ---- the control loop ---- */

/* Which server each node is; wakes nobody. True: it is another crew than before. */
bool where_set_crew(struct backend_live *l, struct epoch *epoch, const struct crew_member *members,
                    size_t count);

/* The atlas that the backend looks into from now on; NULL: none. Not taken. */
void where_set_atlas(struct backend_live *l, const struct atlas *a);

/* The server's node, or 0. */
uint16_t where_node_of(const struct backend *b, const struct server *s);

/* The node's server, or NULL. Any loop of the epoch. */
const struct server *where_server_of(const struct backend *b, uint16_t node);

#endif
