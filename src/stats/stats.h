/*
 * stats: counters, gauges and histograms that cost the hot path an addition.
 *
 * A program has one table of families (name, type, help). Each thread has a set, and in it a cell
 * for each series it counts: only that thread writes the cell, with plain stores, and a reader on
 * any thread adds up the cells of all sets. A reader takes the registry's lock, and so does making
 * or dropping a series; counting never does.
 *
 * A series is a family with labels. The same labels in two sets are one series. When a set drops a
 * series, what it had counted goes with it: a dropped series is one that nobody looks at any more.
 */
#ifndef WARREN_STATS_H
#define WARREN_STATS_H

#include "base/slice.h"
#include "stats/hist.h"

#include <stdbool.h>

enum stats_type {
    STATS_COUNTER,   /* only rises; its name ends in _total */
    STATS_GAUGE,     /* goes up and down, below zero in single cells */
    STATS_HISTOGRAM, /* see hist.h */
};

struct stats_family {
    const char *name; /* as Prometheus has it: [a-zA-Z_:][a-zA-Z0-9_:]* */
    enum stats_type type;
    const char *help;
    double unit;      /* what one recorded unit is in the unit shown: 1e-9 for ns shown as seconds;
                         0 stands for 1 */
    const double *le; /* histogram: upper bounds shown, rising, in the unit shown; NULL: times */
    size_t le_count;
};

struct stats_label {
    const char *name;
    struct slice value; /* any octets; what is not UTF-8 is replaced */
};

#define STATS_LABELS_MAX 8u     /* of one series */
#define STATS_SERIES_MAX 20000u /* of one set; a series past that counts unseen */

struct stats;
struct stats_set;

/* One thread's share of a counter or gauge. */
struct stats_cell {
    atomic_uint_least64_t value;
};

/* `families` is constant and borrowed. `seed` is chance, for hashes: peers may choose labels. */
struct stats *stats_new(const struct stats_family *families, size_t count, uint64_t seed);

/* All sets must be gone. */
void stats_free(struct stats **s);

/* A thread's set. It is made and freed on any thread; what is in it, only on its own. */
struct stats_set *stats_set_new(struct stats *s);
void stats_set_free(struct stats_set **set);

/*
 * The set's cell of a series, made at the first call; each call must be matched by a drop, and the
 * set's end drops all. Never NULL. The order of labels matters.
 */
struct stats_cell *stats_cell_get(struct stats_set *set, size_t family,
                                  const struct stats_label *labels, size_t label_count);
void stats_cell_drop(struct stats_set *set, struct stats_cell **cell);
struct hist *stats_hist_get(struct stats_set *set, size_t family, const struct stats_label *labels,
                            size_t label_count);
void stats_hist_drop(struct stats_set *set, struct hist **hist);

static inline void stats_add(struct stats_cell *c, uint64_t n)
{
    hist_add_to(&c->value, n);
}

static inline void stats_inc(struct stats_cell *c)
{
    stats_add(c, 1);
}

static inline void stats_sub(struct stats_cell *c, uint64_t n)
{
    stats_add(c, 0 - n); /* wraps in a gauge's cell; the sum over cells is right again */
}

static inline void stats_dec(struct stats_cell *c)
{
    stats_sub(c, 1);
}

static inline void stats_store(struct stats_cell *c, uint64_t value)
{
    atomic_store_explicit(&c->value, value, memory_order_relaxed);
}

/* What this thread counted itself; for all threads take a view. */
static inline uint64_t stats_cell_value(const struct stats_cell *c)
{
    return atomic_load_explicit(&c->value, memory_order_relaxed);
}

/* ---- reading ---- */

struct stats_view_label {
    const char *name;
    const char *value; /* UTF-8, no control characters but those that Unicode has past 0x7F */
};

struct stats_sample {
    const struct stats_family *family;
    const struct stats_view_label *labels;
    size_t label_count;
    int64_t value;           /* counter, gauge */
    const struct hist *hist; /* histogram, else NULL */
};

/* All series of a moment, in the order of the families and, within one, of the labels' values. */
struct stats_view;

struct stats_view *stats_view_new(struct stats *s);
void stats_view_free(struct stats_view **v);

/* Add a sample that no cell counts, such as the length of a queue; adds to a series that is there.
 * Not for histograms. */
void stats_view_add(struct stats_view *v, size_t family, const struct stats_label *labels,
                    size_t label_count, int64_t value);

size_t stats_view_count(const struct stats_view *v);
const struct stats_sample *stats_view_at(struct stats_view *v, size_t index);

/* The value of one series of a counter or gauge; 0 when there is none. */
int64_t stats_view_value(struct stats_view *v, size_t family, const struct stats_label *labels,
                         size_t label_count);

/* Series that a set had no room for, see STATS_SERIES_MAX. */
uint64_t stats_view_unseen(const struct stats_view *v);

#endif
