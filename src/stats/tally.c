#include "stats/tally.h"

#include "base/check.h"
#include "base/idmap.h"
#include "base/mem.h"

#include <pthread.h>

#define GROUPS 16u /* a power of two */

struct group {
    pthread_mutex_t lock;
    struct idmap counts; /* uint64_t; what is 0 is not there */
};

struct tally {
    struct group groups[GROUPS];
};

struct tally *tally_new(void)
{
    struct tally *t = mem_zalloc(sizeof *t);
    for (unsigned i = 0; i < GROUPS; i++) {
        pthread_mutex_init(&t->groups[i].lock, NULL);
        idmap_init(&t->groups[i].counts);
    }
    return t;
}

void tally_free(struct tally **tally)
{
    struct tally *t = *tally;
    if (t == NULL)
        return;
    *tally = NULL;
    for (unsigned i = 0; i < GROUPS; i++) {
        size_t at = 0;
        uint64_t *count;
        while ((count = idmap_next(&t->groups[i].counts, &at)) != NULL)
            mem_free(count);
        idmap_fini(&t->groups[i].counts);
        pthread_mutex_destroy(&t->groups[i].lock);
    }
    mem_free(t);
}

/* Ids are consecutive numbers. */
static struct group *enter(struct tally *t, uint64_t id)
{
    struct group *g = &t->groups[id % GROUPS];
    pthread_mutex_lock(&g->lock);
    return g;
}

static void leave(struct group *g)
{
    pthread_mutex_unlock(&g->lock);
}

bool tally_take(struct tally *t, uint64_t id, int64_t limit)
{
    struct group *g = enter(t, id);
    uint64_t *count = idmap_get(&g->counts, id);
    bool ok = limit < 0 || (count != NULL ? *count : 0) < (uint64_t)limit;
    if (ok && count == NULL) {
        count = mem_zalloc(sizeof *count);
        idmap_put(&g->counts, id, count);
    }
    if (ok)
        (*count)++;
    leave(g);
    return ok;
}

void tally_give(struct tally *t, uint64_t id)
{
    struct group *g = enter(t, id);
    uint64_t *count = idmap_get(&g->counts, id);
    CHECK(count != NULL && *count > 0);
    if (--*count == 0) {
        idmap_take(&g->counts, id);
        mem_free(count);
    }
    leave(g);
}

uint64_t tally_count(struct tally *t, uint64_t id)
{
    struct group *g = enter(t, id);
    const uint64_t *count = idmap_get(&g->counts, id);
    uint64_t n = count != NULL ? *count : 0;
    leave(g);
    return n;
}
