/*
 * leads: where messages to exchanges land, as workers read it: without locks, while the control
 * loop changes it.
 *
 * A broker was asked for an exchange and a key, and has named the queues by their numbers in an
 * atlas; where those are, the atlas says, so nothing here is touched when masters move. A fanout is
 * one entry for all keys. So many entries are kept, those that were looked for last; each is
 * immutable, and replaced and retired through the epoch.
 *
 * What it says is a hint, and may be a moment behind the bindings: a wrong one costs a hop.
 */
#ifndef WARREN_LEADS_H
#define WARREN_LEADS_H

#include "gossip/location_wire.h"
#include "io/epoch.h"

#define LEADS_SETS 512u
#define LEADS_WAYS 4u
#define LEADS_MAX  (LEADS_SETS * LEADS_WAYS)

struct leads;

/* Have a broker asked; the names are lent. Any thread, whose clock says now_s. False: not now, that
 * would be too many. */
typedef bool (*leads_ask_fn)(void *arg, const struct location_ask *ask, uint64_t now_s);

/* `seed` is random: nobody can choose names that collide. */
struct leads *leads_new(struct epoch *epoch, uint64_t seed, leads_ask_fn fn, void *arg);
/* Through the epoch. */
void leads_retire(struct leads **l);

/* ---- any loop of the epoch ---- */

enum leads_word {
    LEADS_LATER, /* it is not known, and cannot be asked for now */
    LEADS_ASKED, /* it is not known yet */
    LEADS_KNOWN, /* *out: lent until the turn's end; empty: nowhere, or nobody can say */
};

struct leads_queues {
    size_t count;
    const uint64_t *hashes;
};

/* Asks if need be. `now_s` is loop_now_ms in seconds; it tells what was looked for last. */
enum leads_word leads_find(struct leads *l, struct slice vhost, struct slice exchange,
                           struct slice key, uint64_t now_s, struct leads_queues *out);

/* Rises when what was found may be found otherwise. */
uint64_t leads_news(const struct leads *l);

/* ---- the control loop ---- */

/* It is being asked for. True: it was not yet; *id goes with the question. */
bool leads_expect(struct leads *l, const struct location_ask *names, uint64_t *id);

/* A broker's answer; one that nobody waits for is passed over. True: it is another than before. */
bool leads_answer(struct leads *l, const struct location_leads *answer);

/* Whoever looked looks again. */
void leads_tell(struct leads *l);

/* Another cluster: nothing is known of it. */
void leads_clear(struct leads *l);

/* Each entry, asked for only or answered: what to ask again, and what is known (NULL: nothing). */
typedef void (*leads_visit_fn)(void *arg, const struct location_ask *ask, bool any_key,
                               const struct leads_queues *known);
void leads_each(const struct leads *l, leads_visit_fn fn, void *arg);
/* Those of one set, set % LEADS_SETS: how many. */
size_t leads_each_of(const struct leads *l, unsigned set, leads_visit_fn fn, void *arg);
size_t leads_count(const struct leads *l);

#endif
