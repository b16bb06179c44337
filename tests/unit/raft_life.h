/*
 * raft_life: a member's log on some disk, one life after the other, driven by chance; and what is
 * allowed to be found in the next life. For the tests of raft_disk, on a good disk and on a bad
 * one.
 *
 * A state is told by one number: the hard state, the last index, and a sum over all entries up to
 * there. The state machine of these tests is that sum, so a snapshot holds one number.
 */
#ifndef WARREN_RAFT_LIFE_H
#define WARREN_RAFT_LIFE_H

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "io/disk.h"
#include "raft/raft_disk.h"

#define RLIFE_LAST_MAX   4000u
#define RLIFE_STATES_MAX 512u

struct rlife_log {
    struct raft_hard hard;
    uint64_t last;
    uint64_t sums[RLIFE_LAST_MAX + 1]; /* of all entries up to this one */
    uint64_t terms[RLIFE_LAST_MAX + 1];
};

struct rlife {
    struct disk *disk;
    struct raft_identity identity;
    struct raft_disk *d;
    struct raft_found found;
    struct err err;
    struct rng rng;
    uint64_t least_bytes;
    uint64_t number; /* of writes */
    struct rlife_log log;
    uint64_t applied;
    uint64_t states[RLIFE_STATES_MAX]; /* that may be found: the first is safe */
    size_t state_count;
    struct raft_image image; /* to be written */
    bool has_image;
    uint64_t image_sum;
    uint64_t ever[1024];           /* logs that there ever were, by their sums: a bit for some */
    struct raft_snapshot incoming; /* to be installed by the next write */
    uint64_t incoming_sum;
};

static inline uint64_t rlife_add(uint64_t sum, const struct raft_entry *e)
{
    sum = hash_u64(sum + e->index) + hash_u64(e->term) + (uint64_t)e->kind;
    return hash_bytes(raft_entry_slice(e), sum);
}

static inline uint64_t rlife_state(const struct raft_hard *h, uint64_t last, uint64_t sum)
{
    return hash_u64(hash_u64(hash_u64(h->term + 1) + h->vote + h->is_recovering) + last) ^ sum;
}

/* Was there ever a log of this sum? A yes may be an error, now and then. */
static inline bool rlife_was(const struct rlife *l, uint64_t sum)
{
    return (l->ever[sum >> 6 & 1023] >> (sum & 63) & 1) != 0;
}

static inline void rlife_is(struct rlife *l, uint64_t sum)
{
    l->ever[sum >> 6 & 1023] |= UINT64_C(1) << (sum & 63);
}

static inline uint64_t rlife_now(const struct rlife *l)
{
    return rlife_state(&l->log.hard, l->log.last, l->log.sums[l->log.last]);
}

static inline void rlife_note(struct rlife *l)
{
    CHECK(l->state_count < RLIFE_STATES_MAX);
    l->states[l->state_count++] = rlife_now(l);
}

static inline void rlife_safe(struct rlife *l)
{
    l->states[0] = rlife_now(l);
    l->state_count = 1;
}

/* ---- snapshots ---- */

static inline bool rlife_fill(struct raft_image_writer *w, void *arg)
{
    uint8_t *at = raft_image_room(w, 8);
    if (at != NULL)
        memcpy(at, arg, 8);
    return at != NULL;
}

/* The sum that a snapshot holds. */
static inline uint64_t rlife_content(struct raft_image_reader *r)
{
    struct slice items;
    uint32_t count;
    struct err err;
    uint64_t sum = 0;
    while (raft_image_next(r, &items, &count, &err) == RAFT_IMAGE_GROUP)
        if (items.len == 8)
            memcpy(&sum, items.ptr, 8);
    return sum;
}

static inline struct raft_snapshot rlife_snapshot_at(struct rlife *l, uint64_t index)
{
    struct raft_snapshot is = { .index = index, .term = l->log.terms[index], .config_index = 1 };
    CHECK(raft_config_set(&is.config, 1, RAFT_VOTER));
    return is;
}

static inline void rlife_take_snapshot(struct rlife *l)
{
    if (l->has_image || !raft_disk_wants_snapshot(l->d, l->applied))
        return;
    struct raft_snapshot is = rlife_snapshot_at(l, l->applied);
    l->has_image = true;
    l->image_sum = l->log.sums[l->applied];
    raft_disk_snapshot_begin(l->d, &is, &l->image);
}

static inline bool rlife_write_snapshot(struct rlife *l)
{
    bool ok = raft_image_write(&l->image, rlife_fill, &l->image_sum, &l->err);
    l->has_image = false;
    raft_disk_snapshot_done(l->d, &l->image, ok);
    return ok;
}

/* ---- a life ---- */

/* What was found, as the log that goes on. False: it is none that may be there. */
static inline bool rlife_believe(struct rlife *l)
{
    const struct raft_found *f = &l->found;
    uint64_t sum = 0;
    if (f->snapshot.index != 0) {
        struct raft_image_reader *r = raft_disk_open_snapshot(l->d, &f->snapshot, &l->err);
        if (r == NULL)
            return false;
        sum = rlife_content(r);
        raft_image_close(&r);
    }
    l->log.hard = f->hard;
    l->log.last = f->base;
    l->log.sums[f->base] = sum;
    l->log.terms[f->base] = f->base_term;
    for (size_t i = 0; i < f->count; i++) {
        const struct raft_entry *e = &f->entries[i];
        sum = rlife_add(sum, e);
        l->log.sums[++l->log.last] = sum;
        l->log.terms[l->log.last] = e->term;
    }
    for (size_t i = 0; i < l->state_count; i++)
        if (l->states[i] == rlife_now(l))
            return true;
    return false;
}

static inline void rlife_init(struct rlife *l)
{
    *l = (struct rlife){ .identity = { .node = 1, .name = "rabbit@a", .cluster_id = { 7 } } };
    l->state_count = 1;
    l->states[0] = rlife_now(l);
}

/* Instead of that: the node founds its cluster, whose log has it from the first. */
static inline void rlife_init_founder(struct rlife *l)
{
    const struct raft_config alone = { .count = 1, .members = { { 1, RAFT_VOTER } } };
    struct raft_entry e = {
        .index = 1, .term = 1, .kind = RAFT_CONFIG, .bytes = raft_config_buf(&alone)
    };
    rlife_init(l);
    l->identity.is_founder = true;
    l->log.hard.term = l->log.terms[1] = 1;
    l->log.last = 1;
    l->log.sums[1] = rlife_add(0, &e);
    rlife_is(l, l->log.sums[1]);
    l->states[0] = rlife_now(l);
    buf_unref(&e.bytes);
}

/* NULL disk: it does not start; err says why. */
static inline bool rlife_open(struct rlife *l, struct disk *disk, uint64_t seed,
                              enum raft_on_damage on_damage)
{
    l->disk = disk;
    rng_init(&l->rng, seed);
    l->err = (struct err){ 0 };
    l->has_image = false;
    l->incoming.index = 0;
    l->number = 0;
    l->d = raft_disk_open(&(struct raft_disk_setup){ .disk = disk,
                                                     .identity = &l->identity,
                                                     .seed = seed,
                                                     .least_bytes = l->least_bytes,
                                                     .fill_bytes = 16384,
                                                     .on_damage = on_damage },
                          &l->found, &l->err);
    if (l->d != NULL)
        l->identity.has_log = true;
    return l->d != NULL;
}

static inline void rlife_end(struct rlife *l)
{
    if (l->d != NULL)
        raft_disk_free(&l->d);
    raft_found_fini(&l->found);
}

/* ---- writes ---- */

static inline struct raft_write *rlife_write(struct rlife *l)
{
    struct raft_write *w = mem_zalloc(sizeof *w);
    w->number = ++l->number;
    return w;
}

static inline void rlife_set_hard(struct rlife *l, struct raft_write *w, uint64_t term,
                                  uint16_t vote)
{
    l->log.hard = w->hard = (struct raft_hard){ .term = term, .vote = vote };
    w->has_hard = true;
    rlife_note(l);
}

static inline void rlife_set_truncate(struct rlife *l, struct raft_write *w, uint64_t from)
{
    w->truncate_from = from;
    if (from <= l->log.last)
        l->log.last = from - 1;
}

static inline void rlife_put(struct rlife *l, struct raft_write *w, struct slice bytes)
{
    uint64_t index = l->log.last + 1;
    CHECK(index <= RLIFE_LAST_MAX);
    w->entries = mem_realloc(w->entries, (w->count + 1) * sizeof *w->entries);
    struct raft_entry *e = &w->entries[w->count++];
    *e = (struct raft_entry){ .index = index, .term = l->log.hard.term, .kind = RAFT_COMMAND };
    e->bytes = bytes.len != 0 ? buf_copy(bytes) : NULL;
    l->log.sums[index] = rlife_add(l->log.sums[index - 1], e);
    l->log.terms[index] = e->term;
    l->log.last = index;
    rlife_is(l, l->log.sums[index]);
}

static inline void rlife_give(struct rlife *l, struct raft_write *w)
{
    rlife_note(l);
    raft_disk_add(l->d, &w);
}

/* An entry by chance: small, or now and then not so small. */
static inline void rlife_put_some(struct rlife *l, struct raft_write *w)
{
    uint8_t bytes[700];
    size_t len = (size_t)rng_below(&l->rng, rng_below(&l->rng, 4) == 0 ? sizeof bytes : 40);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)rng_below(&l->rng, 256);
    rlife_put(l, w, slice_of(bytes, len));
}

/* False: the disk has failed. */
static inline bool rlife_commit(struct rlife *l)
{
    raft_disk_begin(l->d);
    if (!raft_disk_commit(l->d, &l->err))
        return false;
    CHECK(raft_disk_done(l->d) == l->number);
    rlife_safe(l);
    return true;
}

/* An entry is cut off for one of a later term: one index and one term are one entry. */
static inline void rlife_do_something(struct rlife *l)
{
    struct raft_write *w = rlife_write(l);
    bool cuts = l->log.last > l->applied && rng_below(&l->rng, 8) == 0;
    if (cuts || rng_below(&l->rng, 5) == 0 || l->log.hard.term == 0)
        rlife_set_hard(l, w,
                       l->log.hard.term + rng_below(&l->rng, 2) + (cuts || l->log.hard.term == 0),
                       (uint16_t)rng_below(&l->rng, 4));
    if (cuts)
        rlife_set_truncate(l, w, l->applied + 1 + rng_below(&l->rng, l->log.last - l->applied));
    for (uint64_t n = rng_below(&l->rng, 4); n != 0 && l->log.last < RLIFE_LAST_MAX; n--)
        rlife_put_some(l, w);
    rlife_give(l, w);
}

/* All up to here is applied: a part of what is safe. Nothing is gathered. */
static inline void rlife_apply(struct rlife *l)
{
    l->applied += rng_below(&l->rng, l->log.last - l->applied + 1);
}

/* ---- a snapshot of a leader, whose log is another one from `applied` on ---- */

/* The pieces of the file of one with this sum, from a disk of its own; `spoils` (NULL: nobody)
 * spoils one of them now and then, and it is sent again until it is good. */
static inline bool rlife_receive(struct rlife *l, struct disk *other, struct raft_snapshot is,
                                 uint64_t sum, size_t piece, struct rng *spoils)
{
    struct err err;
    struct raft_image image = { .disk = other, .is = is };
    memcpy(image.cluster_id, l->identity.cluster_id, sizeof image.cluster_id);
    CHECK(raft_image_write(&image, rlife_fill, &sum, &err));
    struct raft_taken taken = { .next = 0 };
    while (!taken.is_complete) {
        struct raft_msg_install m = { .snapshot = image.is, .offset = taken.next };
        struct buf *all = raft_disk_read_chunk(other, &image.is, taken.next, &err);
        CHECK(all != NULL);
        m.chunk = buf_copy(slice_head(buf_slice(all), piece));
        buf_unref(&all);
        if (spoils != NULL && rng_below(spoils, 3) == 0)
            m.chunk->data[rng_below(spoils, m.chunk->len_bytes)] ^= 1;
        else if (spoils != NULL && rng_below(spoils, 2) == 0)
            spoils = NULL;
        bool ok = raft_disk_take_chunk(l->d, &m, &taken, &l->err);
        buf_unref(&m.chunk);
        if (!ok)
            return false;
    }
    l->incoming = image.is;
    l->incoming_sum = sum;
    return true;
}

/* The write that installs what was received: `keeps`: the log goes on from it. */
static inline void rlife_set_install(struct rlife *l, struct raft_write *w, bool keeps)
{
    w->has_install = true;
    w->install = l->incoming;
    if (!keeps) {
        w->truncate_from = l->incoming.index + 1;
        l->log.last = l->incoming.index;
        l->log.sums[l->log.last] = l->incoming_sum;
        l->log.terms[l->log.last] = l->incoming.term;
        rlife_is(l, l->incoming_sum);
    }
    l->applied = l->incoming.index;
    l->incoming.index = 0;
    rlife_note(l);
}

#endif
