#include "quota.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/shared.h"
#include "io/lock.h"

#include <string.h>
#include <sys/queue.h>

#define BUCKETS  4096u
#define IDLE_MAX 16384u /* names without a connection whose rate is remembered */

/* One name. Without a connection it is kept until its rate is at rest, the oldest first to go. */
struct quota_entry {
    LIST_ENTRY(quota_entry) entry; /* of its bucket */
    TAILQ_ENTRY(quota_entry) idle; /* no connection */
    enum quota_kind kind;
    uint64_t hash;
    uint64_t connections;
    uint64_t channels;
    /* When the next connection would be on time if all came evenly (GCRA), in microseconds; of the
     * bound that refuses, and of that for alarms. */
    uint64_t due_us[2];
    uint8_t name_len;
    char name[UINT8_MAX];
};

LIST_HEAD(bucket, quota_entry);
TAILQ_HEAD(idle_list, quota_entry);

struct quota {
    struct lock lock;
    uint64_t seed;
    struct bucket buckets[BUCKETS];
    struct idle_list idle;
    unsigned idle_count;
    struct shared refused[QUOTA_KIND_COUNT][QUOTA_MATTER_COUNT];
    struct shared alarmed[QUOTA_KIND_COUNT][QUOTA_MATTER_COUNT];
};

const char *quota_kind_word(enum quota_kind kind)
{
    static const char *const words[] = {
#define X(name, word) word,
        QUOTA_KINDS(X)
#undef X
    };
    CHECK((unsigned)kind < ARRAY_COUNT(words));
    return words[kind];
}

const char *quota_matter_word(enum quota_matter matter)
{
    static const char *const words[] = {
#define X(name, word) word,
        QUOTA_MATTERS(X)
#undef X
    };
    CHECK((unsigned)matter < ARRAY_COUNT(words));
    return words[matter];
}

struct quota *quota_new(uint64_t seed)
{
    struct quota *q = mem_zalloc(sizeof *q);
    lock_init(&q->lock);
    q->seed = seed;
    TAILQ_INIT(&q->idle);
    return q;
}

static void forget(struct quota *q, struct quota_entry *e)
{
    CHECK(e->connections == 0 && e->channels == 0);
    TAILQ_REMOVE(&q->idle, e, idle);
    q->idle_count--;
    LIST_REMOVE(e, entry);
    mem_free(e);
}

void quota_free(struct quota **quota)
{
    struct quota *q = *quota;
    *quota = NULL;
    if (q == NULL)
        return;
    while (!TAILQ_EMPTY(&q->idle))
        forget(q, TAILQ_FIRST(&q->idle));
    lock_fini(&q->lock);
    mem_free(q);
}

/* ---- names ----------------------------------------------------------------------------------- */

static struct quota_entry *find(struct quota *q, enum quota_kind kind, struct slice name,
                                uint64_t hash)
{
    struct quota_entry *e;
    LIST_FOREACH (e, &q->buckets[hash % BUCKETS], entry) {
        if (e->hash == hash && e->kind == kind && slice_eq(slice_of(e->name, e->name_len), name))
            return e;
    }
    return NULL;
}

static bool is_at_rest(const struct quota_entry *e, uint64_t now_us)
{
    return e->due_us[0] <= now_us && e->due_us[1] <= now_us;
}

static struct quota_entry *get(struct quota *q, enum quota_kind kind, struct slice name,
                               uint64_t now_us)
{
    name = slice_head(name, UINT8_MAX);
    uint64_t hash = hash_bytes(name, q->seed + kind);
    struct quota_entry *e = find(q, kind, name, hash);
    if (e != NULL)
        return e;
    e = TAILQ_FIRST(&q->idle);
    if (e != NULL && (q->idle_count == IDLE_MAX || is_at_rest(e, now_us)))
        forget(q, e);
    e = mem_zalloc(sizeof *e);
    e->kind = kind;
    e->hash = hash;
    e->name_len = (uint8_t)name.len;
    if (name.len != 0)
        memcpy(e->name, name.ptr, name.len);
    LIST_INSERT_HEAD(&q->buckets[hash % BUCKETS], e, entry);
    TAILQ_INSERT_TAIL(&q->idle, e, idle);
    q->idle_count++;
    return e;
}

static void hold(struct quota *q, struct quota_entry *e)
{
    if (e->connections++ != 0)
        return;
    TAILQ_REMOVE(&q->idle, e, idle);
    q->idle_count--;
}

/* ---- bounds ---------------------------------------------------------------------------------- */

/* One more now; false, and nothing is noted, when that is sooner than the bound allows. */
static bool take_rate(const struct quota_bounds *b, uint64_t *due_us, uint64_t now_us)
{
    if (b->rate == 0)
        return true;
    uint64_t period_us = b->rate_ms * 1000;
    uint64_t each_us = period_us / b->rate;
    uint64_t due = *due_us > now_us ? *due_us : now_us;
    if (due + each_us > now_us + period_us)
        return false;
    *due_us = due + each_us;
    return true;
}

/* What one connection more would pass; false: nothing. */
static bool passes(const struct quota_entry *e, const struct quota_bounds *b, bool rate_ok,
                   enum quota_matter *matter, uint64_t *bound)
{
    if (b->connections != 0 && e->connections >= b->connections) {
        *matter = QUOTA_CONNECTIONS;
        *bound = b->connections;
        return true;
    }
    *matter = QUOTA_RATE;
    *bound = b->rate;
    return !rate_ok;
}

static void count(struct quota *q, enum quota_kind kind, const struct quota_verdict *v)
{
    if (!v->ok)
        (void)shared_add(&q->refused[kind][v->matter], 1);
    else if (v->alarm)
        (void)shared_add(&q->alarmed[kind][v->matter], 1);
}

struct quota_verdict quota_enter(struct quota *q, enum quota_kind kind, struct slice name,
                                 const struct quota_limits *limits, uint64_t now_ms,
                                 struct quota_entry **entry)
{
    struct quota_verdict v = { .ok = true };
    uint64_t now_us = now_ms * 1000;
    lock_take(&q->lock);
    struct quota_entry *e = get(q, kind, name, now_us);
    bool rate_ok = take_rate(&limits->refuse, &e->due_us[0], now_us);
    bool calm = take_rate(&limits->alarm, &e->due_us[1], now_us);
    if (passes(e, &limits->refuse, rate_ok, &v.matter, &v.bound))
        v.ok = false;
    else
        v.alarm = passes(e, &limits->alarm, calm, &v.matter, &v.bound);
    *entry = v.ok ? e : NULL;
    if (v.ok)
        hold(q, e);
    lock_give(&q->lock);
    count(q, kind, &v);
    return v;
}

void quota_leave(struct quota *q, struct quota_entry **entry)
{
    struct quota_entry *e = *entry;
    *entry = NULL;
    if (e == NULL)
        return;
    lock_take(&q->lock);
    CHECK(e->connections > 0);
    if (--e->connections == 0) {
        TAILQ_INSERT_TAIL(&q->idle, e, idle);
        q->idle_count++;
        if (q->idle_count > IDLE_MAX)
            forget(q, TAILQ_FIRST(&q->idle));
    }
    lock_give(&q->lock);
}

struct quota_verdict quota_open(struct quota *q, struct quota_entry *e,
                                const struct quota_limits *limits)
{
    struct quota_verdict v = { .ok = true, .matter = QUOTA_CHANNELS };
    lock_take(&q->lock);
    CHECK(e->connections > 0);
    uint64_t most = limits->refuse.channels, warn = limits->alarm.channels;
    v.ok = most == 0 || e->channels < most;
    v.alarm = v.ok && warn != 0 && e->channels >= warn;
    v.bound = v.ok ? warn : most;
    e->channels++;
    lock_give(&q->lock);
    count(q, e->kind, &v);
    return v;
}

void quota_close(struct quota *q, struct quota_entry *e)
{
    if (e == NULL)
        return;
    lock_take(&q->lock);
    CHECK(e->channels > 0);
    e->channels--;
    lock_give(&q->lock);
}

/* ---- looking --------------------------------------------------------------------------------- */

unsigned quota_show(struct quota *q, const char *frontend, unsigned most, struct text *out)
{
    unsigned put = 0, left_out = 0;
    lock_take(&q->lock);
    for (unsigned i = 0; i < BUCKETS; i++) {
        const struct quota_entry *e;
        LIST_FOREACH (e, &q->buckets[i], entry) {
            if (e->connections == 0)
                continue;
            if (put == most) {
                left_out++;
                continue;
            }
            put++;
            text_put(out, "frontend=%s %s=", frontend, quota_kind_word(e->kind));
            text_escaped(out, slice_of(e->name, e->name_len));
            text_put(out, " connections=%llu channels=%llu\n", (unsigned long long)e->connections,
                     (unsigned long long)e->channels);
        }
    }
    lock_give(&q->lock);
    return left_out;
}

uint64_t quota_refused(const struct quota *q, enum quota_kind kind, enum quota_matter matter)
{
    return shared_get(&q->refused[kind][matter]);
}

uint64_t quota_alarmed(const struct quota *q, enum quota_kind kind, enum quota_matter matter)
{
    return shared_get(&q->alarmed[kind][matter]);
}
