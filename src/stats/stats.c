#include "stats/stats.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/text.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <uthash.h>

#define FAMILY_BYTES    sizeof(uint32_t)
#define LABEL_NAME_MAX  63u
#define LABEL_VALUE_MAX 255u /* octets: AMQP's names are no longer. A bad one becomes three */
#define KEY_MAX_BYTES   (FAMILY_BYTES + STATS_LABELS_MAX * (LABEL_NAME_MAX + 3 * LABEL_VALUE_MAX + 2))

/* What names a series: family, then name NUL value NUL for each label. */
struct key {
    size_t label_count;
    size_t len;
    unsigned hash;
    char bytes[KEY_MAX_BYTES + 1];
};

/* One set's part of a series. Its numbers are written by the set's thread alone. */
struct series {
    UT_hash_handle hh;
    unsigned gets; /* calls of _get without a drop */
    size_t family;
    size_t label_count;
    size_t key_len;
    struct stats_cell cell;
    struct hist *hist; /* histogram, else NULL */
    char key[];
};

struct stats_set {
    LIST_ENTRY(stats_set) link;
    struct stats *stats;
    struct series *series; /* uthash, by key */
    uint64_t unseen;
    struct stats_cell spill; /* what is counted beyond the bound; no reader finds it */
    struct hist *spill_hist;
};

struct stats {
    const struct stats_family *families;
    size_t family_count;
    uint64_t seed;        /* of hashes: peers choose some labels */
    pthread_mutex_t lock; /* of the list of sets and of the tables in them, not of the numbers */
    LIST_HEAD(, stats_set) sets;
};

/* ---- keys ---- */

static void make_key(struct key *key, const struct stats *s, size_t family,
                     const struct stats_label *labels, size_t label_count)
{
    CHECK(label_count <= STATS_LABELS_MAX);
    struct text t = text_over(key->bytes, sizeof key->bytes);
    uint32_t number = __builtin_bswap32((uint32_t)family); /* so that keys sort by it */
    text_slice(&t, slice_of(&number, FAMILY_BYTES));
    for (size_t i = 0; i < label_count; i++) {
        CHECK(strlen(labels[i].name) <= LABEL_NAME_MAX);
        text_str(&t, labels[i].name);
        text_char(&t, '\0');
        text_utf8(&t, slice_head(labels[i].value, LABEL_VALUE_MAX));
        text_char(&t, '\0');
    }
    CHECK(!t.cut);
    key->label_count = label_count;
    key->len = t.len;
    key->hash = (unsigned)hash_bytes(text_view(&t), s->seed);
}

/* ---- the registry ---- */

static bool is_metric_name(const char *name)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_:";
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_:0123456789");
    return name[0] != '\0' && strchr(first, name[0]) != NULL && name[n] == '\0';
}

struct stats *stats_new(const struct stats_family *families, size_t count, uint64_t seed)
{
    struct stats *s = mem_zalloc(sizeof *s);
    for (size_t i = 0; i < count; i++)
        CHECK(is_metric_name(families[i].name) && families[i].help != NULL);
    s->families = families;
    s->family_count = count;
    s->seed = seed;
    CHECK(pthread_mutex_init(&s->lock, NULL) == 0);
    LIST_INIT(&s->sets);
    return s;
}

void stats_free(struct stats **s)
{
    struct stats *it = *s;
    *s = NULL;
    if (it == NULL)
        return;
    CHECK(LIST_EMPTY(&it->sets));
    pthread_mutex_destroy(&it->lock);
    mem_free(it);
}

static void lock(struct stats *s)
{
    CHECK(pthread_mutex_lock(&s->lock) == 0);
}

static void unlock(struct stats *s)
{
    CHECK(pthread_mutex_unlock(&s->lock) == 0);
}

struct stats_set *stats_set_new(struct stats *s)
{
    struct stats_set *set = mem_zalloc(sizeof *set);
    set->stats = s;
    lock(s);
    LIST_INSERT_HEAD(&s->sets, set, link);
    unlock(s);
    return set;
}

/* ---- series ---- */

static struct series *series_new(size_t family, const struct key *key)
{
    struct series *it = mem_zalloc(sizeof *it + key->len);
    it->family = family;
    it->label_count = key->label_count;
    it->key_len = key->len;
    memcpy(it->key, key->bytes, key->len);
    return it;
}

static void series_free(struct series **table, struct series *it)
{
    HASH_DEL(*table, it);
    mem_free(it->hist);
    mem_free(it);
}

static void table_free(struct series **table)
{
    struct series *it, *next;
    HASH_ITER (hh, *table, it, next) {
        series_free(table, it);
    }
}

void stats_set_free(struct stats_set **set)
{
    struct stats_set *it = *set;
    *set = NULL;
    if (it == NULL)
        return;
    lock(it->stats);
    LIST_REMOVE(it, link);
    unlock(it->stats);
    table_free(&it->series); /* no reader finds the set any more */
    mem_free(it->spill_hist);
    mem_free(it);
}

/* The set's series, NULL when it is full. Only the set's thread changes the table, so it may look
 * without the lock; to change it needs the lock, because readers walk through it. */
static struct series *get(struct stats_set *set, size_t family, const struct stats_label *labels,
                          size_t label_count, bool is_hist)
{
    CHECK(family < set->stats->family_count);
    CHECK((set->stats->families[family].type == STATS_HISTOGRAM) == is_hist);
    struct key key;
    make_key(&key, set->stats, family, labels, label_count);
    struct series *it;
    HASH_FIND_BYHASHVALUE(hh, set->series, key.bytes, key.len, key.hash, it);
    if (it == NULL && HASH_COUNT(set->series) < STATS_SERIES_MAX) {
        it = series_new(family, &key);
        it->hist = is_hist ? mem_zalloc(sizeof *it->hist) : NULL;
        lock(set->stats);
        HASH_ADD_KEYPTR_BYHASHVALUE(hh, set->series, it->key, it->key_len, key.hash, it);
        unlock(set->stats);
    }
    if (it != NULL)
        it->gets++;
    return it;
}

static void count_unseen(struct stats_set *set)
{
    lock(set->stats);
    set->unseen++;
    unlock(set->stats);
}

struct stats_cell *stats_cell_get(struct stats_set *set, size_t family,
                                  const struct stats_label *labels, size_t label_count)
{
    struct series *it = get(set, family, labels, label_count, false);
    if (it != NULL)
        return &it->cell;
    count_unseen(set);
    return &set->spill;
}

struct hist *stats_hist_get(struct stats_set *set, size_t family, const struct stats_label *labels,
                            size_t label_count)
{
    struct series *it = get(set, family, labels, label_count, true);
    if (it != NULL)
        return it->hist;
    count_unseen(set);
    if (set->spill_hist == NULL)
        set->spill_hist = mem_zalloc(sizeof *set->spill_hist);
    return set->spill_hist;
}

static void drop(struct stats_set *set, struct series *it)
{
    CHECK(it->gets > 0);
    if (--it->gets != 0)
        return;
    lock(set->stats);
    series_free(&set->series, it);
    unlock(set->stats);
}

void stats_cell_drop(struct stats_set *set, struct stats_cell **cell)
{
    struct stats_cell *it = *cell;
    *cell = NULL;
    if (it != NULL && it != &set->spill)
        drop(set, CONTAINER_OF(it, struct series, cell));
}

/* A histogram does not know its series; there are few of them, so look through the table. */
void stats_hist_drop(struct stats_set *set, struct hist **hist)
{
    struct hist *it = *hist;
    *hist = NULL;
    if (it == NULL || it == set->spill_hist)
        return;
    struct series *one, *next;
    HASH_ITER (hh, set->series, one, next) {
        if (one->hist == it) {
            drop(set, one);
            return;
        }
    }
    UNREACHABLE("a histogram of another set");
}

/* ---- views ---- */

struct entry {
    struct stats_sample sample; /* first: that is what stats_view_at lends */
    struct series *sum;
    struct stats_view_label labels[STATS_LABELS_MAX];
};

struct stats_view {
    const struct stats *stats;
    struct series *table;  /* the sums, by key */
    struct entry *entries; /* sorted; NULL until somebody looks */
    uint64_t unseen;
};

/* The sum of the series with that key, made if need be. */
static struct series *sum_of(struct stats_view *v, size_t family, const struct key *key)
{
    struct series *sum;
    HASH_FIND_BYHASHVALUE(hh, v->table, key->bytes, key->len, key->hash, sum);
    if (sum != NULL)
        return sum;
    sum = series_new(family, key);
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, v->table, sum->key, sum->key_len, key->hash, sum);
    mem_free(v->entries); /* out of date now */
    v->entries = NULL;
    return sum;
}

static void add_series(struct stats_view *v, const struct series *one)
{
    struct key key = { .label_count = one->label_count, .len = one->key_len };
    key.hash = one->hh.hashv;
    memcpy(key.bytes, one->key, one->key_len);
    struct series *sum = sum_of(v, one->family, &key);
    stats_add(&sum->cell, stats_cell_value(&one->cell));
    if (one->hist == NULL)
        return;
    if (sum->hist == NULL)
        sum->hist = mem_zalloc(sizeof *sum->hist);
    hist_merge(sum->hist, one->hist);
}

struct stats_view *stats_view_new(struct stats *s)
{
    struct stats_view *v = mem_zalloc(sizeof *v);
    v->stats = s;
    struct stats_set *set;
    lock(s);
    LIST_FOREACH (set, &s->sets, link) {
        v->unseen += set->unseen;
        for (const struct series *one = set->series; one != NULL; one = one->hh.next)
            add_series(v, one);
    }
    unlock(s);
    return v;
}

void stats_view_free(struct stats_view **v)
{
    struct stats_view *it = *v;
    *v = NULL;
    if (it == NULL)
        return;
    table_free(&it->table);
    mem_free(it->entries);
    mem_free(it);
}

void stats_view_add(struct stats_view *v, size_t family, const struct stats_label *labels,
                    size_t label_count, int64_t value)
{
    CHECK(family < v->stats->family_count);
    CHECK(v->stats->families[family].type != STATS_HISTOGRAM);
    struct key key;
    make_key(&key, v->stats, family, labels, label_count);
    struct series *sum = sum_of(v, family, &key);
    stats_add(&sum->cell, (uint64_t)value);
}

int64_t stats_view_value(struct stats_view *v, size_t family, const struct stats_label *labels,
                         size_t label_count)
{
    struct key key;
    make_key(&key, v->stats, family, labels, label_count);
    struct series *sum;
    HASH_FIND_BYHASHVALUE(hh, v->table, key.bytes, key.len, key.hash, sum);
    return sum != NULL ? (int64_t)stats_cell_value(&sum->cell) : 0;
}

size_t stats_view_count(const struct stats_view *v)
{
    return HASH_COUNT(v->table);
}

uint64_t stats_view_unseen(const struct stats_view *v)
{
    return v->unseen;
}

static int by_key(const void *a, const void *b)
{
    const struct series *x = ((const struct entry *)a)->sum;
    const struct series *y = ((const struct entry *)b)->sum;
    return slice_cmp(slice_of(x->key, x->key_len), slice_of(y->key, y->key_len));
}

static void fill_entry(const struct stats_view *v, struct entry *e)
{
    const struct series *sum = e->sum;
    const char *at = sum->key + FAMILY_BYTES;
    for (size_t i = 0; i < sum->label_count; i++) {
        e->labels[i].name = at;
        e->labels[i].value = at + strlen(at) + 1;
        at = e->labels[i].value + strlen(e->labels[i].value) + 1;
    }
    e->sample = (struct stats_sample){ .family = &v->stats->families[sum->family],
                                       .labels = e->labels,
                                       .label_count = sum->label_count,
                                       .value = (int64_t)stats_cell_value(&sum->cell),
                                       .hist = sum->hist };
}

static void sort_entries(struct stats_view *v)
{
    size_t n = 0;
    v->entries = mem_array(stats_view_count(v), sizeof *v->entries);
    for (struct series *sum = v->table; sum != NULL; sum = sum->hh.next)
        v->entries[n++].sum = sum;
    qsort(v->entries, n, sizeof *v->entries, by_key);
}

const struct stats_sample *stats_view_at(struct stats_view *v, size_t index)
{
    CHECK(index < stats_view_count(v));
    if (v->entries == NULL)
        sort_entries(v);
    fill_entry(v, &v->entries[index]); /* anew: stats_view_add may have changed the sum */
    return &v->entries[index].sample;
}
