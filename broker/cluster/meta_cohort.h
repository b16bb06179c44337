/*
 * meta_cohort: the records of placed queues, and which queues have which. Not for others than meta:
 * see meta_placement.h.
 *
 * A queue that is changed alone goes to the cohort that has the same record and no epoch or ver of
 * its own (there is at most one: `records` finds it), with its epoch and ver beside it. What
 * befalls all queues of a cohort is written into the cohort, with the epoch and ver that all have
 * then at the least. Such a cohort is not found again: its queues leave it one by one as they
 * change.
 *
 * The checksum of a queue's placement is h(qid) * (g(record) + e(epoch) + v(ver)), so that a
 * cohort's share is known from three sums, which a change of all of it does not touch.
 */
#ifndef WARREN_META_COHORT_H
#define WARREN_META_COHORT_H

#include "cluster/meta_record.h"
#include "cluster/meta_state.h"

struct meta_placed {
    const struct meta_queue *queue;
    uint64_t epoch; /* see meta_cohort */
    uint64_t ver;
    uint32_t cohort;
};

struct meta_cohort {
    uint64_t tag;
    uint64_t epoch;     /* of all its queues, unless their own is higher */
    uint64_t ver;       /* the same */
    uint64_t sum;       /* of h(qid) */
    uint64_t epochs;    /* of h(qid) * e(epoch) */
    uint64_t vers;      /* of h(qid) * v(ver) */
    struct pmap queues; /* struct meta_placed by qid */
    uint32_t id;
    uint8_t flags;
    uint8_t count;
    struct meta_replica replicas[];
};

/* For a kind of map: items are cohorts, the key is a record. */
uint64_t meta_record_hash(const void *item, uint64_t seed);
bool meta_record_is(const void *item, const void *key);
bool meta_record_same(const void *item, const void *other);

const struct meta_placed *meta_placed_get(const struct meta_version *v, uint64_t qid);
const struct meta_cohort *meta_cohort_get(const struct meta_version *v, uint32_t id);

static inline uint64_t meta_placed_epoch(const struct meta_placed *p, const struct meta_cohort *c)
{
    return p->epoch > c->epoch ? p->epoch : c->epoch;
}

static inline uint64_t meta_placed_ver(const struct meta_placed *p, const struct meta_cohort *c)
{
    return p->ver > c->ver ? p->ver : c->ver;
}

/* The record of a queue, placed or not. */
void meta_record_of(const struct meta_version *v, const struct meta_queue *q,
                    struct meta_record *out);
void meta_record_of_cohort(const struct meta_cohort *c, struct meta_record *out);

/* ---- the parts of the checksum ---- */

uint64_t meta_digest_of_qid(uint64_t qid);
uint64_t meta_digest_of_epoch(uint64_t epoch);
uint64_t meta_digest_of_ver(uint64_t ver);
uint64_t meta_digest_of_record(uint8_t flags, unsigned count, const struct meta_replica *replicas);

/* ---- changes ---- */

/* Give a queue this record, whatever it had. */
void meta_placed_put(struct meta *m, const struct meta_queue *q, const struct meta_record *r,
                     uint64_t epoch, uint64_t ver);

/* A placed queue goes. */
void meta_placed_remove(struct meta *m, const struct meta_placed *p);

/* Give all queues of a cohort this record, by the entry that is being applied: `how` says what is
 * new in it. */
void meta_cohort_change(struct meta *m, const struct meta_cohort *c, const struct meta_record *r,
                        uint8_t how, struct meta_result *out);

/* The same for one queue. */
void meta_placed_change(struct meta *m, const struct meta_queue *q, const struct meta_record *r,
                        uint8_t how, struct meta_result *out);

/* The queues of a cohort go. `placed` is a copy of its map. */
void meta_placed_delete(struct meta *m, const struct pmap *placed, struct meta_result *out);

void meta_cohorts_drop(struct meta *m);

#endif
