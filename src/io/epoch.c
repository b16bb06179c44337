#include "io/epoch.h"

#include "base/check.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/queue.h>

/* How many things may wait before a retire looks for what can go. */
#define RECLAIM_EVERY 64

#define OFFLINE       0u

struct epoch_reader {
    atomic_uint_fast64_t seen; /* OFFLINE, or the epoch at the start of the reader's turn */
    LIST_ENTRY(epoch_reader) entry;
};

struct retired {
    void *ptr;
    void (*free_fn)(void *);
    uint64_t at; /* free once every reader is offline or has seen this */
};

struct epoch {
    atomic_uint_fast64_t now;
    pthread_mutex_t lock; /* guards `readers`: joining is rare */
    LIST_HEAD(, epoch_reader) readers;
    struct retired *waiting; /* oldest first; the writer's alone */
    size_t count;
    size_t cap;
    size_t since_reclaim;
};

struct epoch *epoch_new(void)
{
    struct epoch *e = mem_zalloc(sizeof *e);
    atomic_init(&e->now, 1);
    pthread_mutex_init(&e->lock, NULL);
    LIST_INIT(&e->readers);
    return e;
}

void epoch_free(struct epoch **epoch)
{
    struct epoch *e = *epoch;
    *epoch = NULL;
    CHECK(LIST_EMPTY(&e->readers));
    epoch_reclaim(e);
    CHECK(e->count == 0);
    mem_free(e->waiting);
    pthread_mutex_destroy(&e->lock);
    mem_free(e);
}

void epoch_retire(struct epoch *e, void *ptr, void (*free_fn)(void *))
{
    if (e->count == e->cap) {
        e->cap = e->cap != 0 ? e->cap * 2 : RECLAIM_EVERY;
        e->waiting = mem_realloc(e->waiting, e->cap * sizeof *e->waiting);
    }
    /* The thing is unlinked already. A reader that comes online from here on sees the raised
     * epoch, and therefore also the unlinking that came before it. */
    uint64_t at = atomic_fetch_add(&e->now, 1) + 1;
    e->waiting[e->count++] = (struct retired){ ptr, free_fn, at };
    if (++e->since_reclaim >= RECLAIM_EVERY)
        epoch_reclaim(e);
}

static uint64_t oldest_seen(struct epoch *e)
{
    uint64_t oldest = UINT64_MAX;
    pthread_mutex_lock(&e->lock);
    struct epoch_reader *r;
    LIST_FOREACH (r, &e->readers, entry) {
        uint64_t seen = atomic_load(&r->seen);
        if (seen != OFFLINE && seen < oldest)
            oldest = seen;
    }
    pthread_mutex_unlock(&e->lock);
    return oldest;
}

void epoch_reclaim(struct epoch *e)
{
    e->since_reclaim = 0;
    if (e->count == 0)
        return;
    uint64_t oldest = oldest_seen(e);
    size_t n = 0;
    while (n < e->count && e->waiting[n].at <= oldest) {
        e->waiting[n].free_fn(e->waiting[n].ptr);
        n++;
    }
    e->count -= n;
    if (n != 0 && e->count != 0)
        __builtin_memmove(e->waiting, e->waiting + n, e->count * sizeof *e->waiting);
}

size_t epoch_waiting(const struct epoch *e)
{
    return e->count;
}

struct epoch_reader *epoch_join(struct epoch *e)
{
    struct epoch_reader *r = mem_zalloc(sizeof *r);
    atomic_init(&r->seen, OFFLINE);
    pthread_mutex_lock(&e->lock);
    LIST_INSERT_HEAD(&e->readers, r, entry);
    pthread_mutex_unlock(&e->lock);
    return r;
}

void epoch_leave(struct epoch *e, struct epoch_reader **reader)
{
    pthread_mutex_lock(&e->lock);
    LIST_REMOVE(*reader, entry);
    pthread_mutex_unlock(&e->lock);
    mem_free(*reader);
    *reader = NULL;
}

void epoch_online(struct epoch *e, struct epoch_reader *r)
{
    /* Sequentially consistent: the store must be seen before this reader loads any shared
     * pointer, or the writer could miss it. */
    atomic_store(&r->seen, atomic_load(&e->now));
}

void epoch_offline(struct epoch_reader *r)
{
    atomic_store_explicit(&r->seen, OFFLINE, memory_order_release);
}
