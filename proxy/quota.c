#include "quota.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/shared.h"
#include "io/lock.h"

#include <string.h>
#include <sys/queue.h>

/* A hundred years: what absurd bounds come to, and still far from running over. */
#define SPAN_MAX_NS ((uint64_t)100 * 365 * 24 * 3600 * 1000 * MS_NS)
#define PACES       3u /* connections, messages, bytes */
#define MS_NS       1000000u
#define BUCKETS     4096u
#define IDLE_MAX    16384u /* names without a connection whose rate is remembered */

/* One name. Without a connection it is kept until its rate is at rest, the oldest first to go. */
struct quota_entry {
    LIST_ENTRY(quota_entry) entry; /* of its bucket */
    TAILQ_ENTRY(quota_entry) idle; /* no connection */
    enum quota_kind kind;
    uint64_t hash;
    uint64_t connections;
    uint64_t channels;
    /* Of each rate: when the next one would be on time if all came evenly (GCRA), in nanoseconds;
     * of the bound that refuses, and of that for alarms. */
    uint64_t due_ns[PACES][2];
    /* How far that may lie ahead when one more is to be on time; of the bound that refuses. */
    uint64_t ahead_ns[PACES];
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

static bool is_at_rest(const struct quota_entry *e, uint64_t now_ns)
{
    bool rests = true;
    for (unsigned i = 0; i < PACES; i++)
        rests = rests && e->due_ns[i][0] <= now_ns && e->due_ns[i][1] <= now_ns;
    return rests;
}

static struct quota_entry *get(struct quota *q, enum quota_kind kind, struct slice name,
                               uint64_t now_ns)
{
    name = slice_head(name, UINT8_MAX);
    uint64_t hash = hash_bytes(name, q->seed + kind);
    struct quota_entry *e = find(q, kind, name, hash);
    if (e != NULL)
        return e;
    e = TAILQ_FIRST(&q->idle);
    if (e != NULL && (q->idle_count == IDLE_MAX || is_at_rest(e, now_ns)))
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

/* How long so many take. Nothing hangs on the last nanosecond, and no product runs over. */
static uint64_t span_ns(const struct quota_pace *p, uint64_t count)
{
    double ns = (double)p->ms * MS_NS * (double)count / (double)p->count;
    return ns < (double)SPAN_MAX_NS ? (uint64_t)ns : SPAN_MAX_NS;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* So many more now; false, and nothing is noted, when that is sooner than the bound allows. */
static bool take_rate(const struct quota_pace *p, uint64_t *due_ns, uint64_t count, uint64_t now_ns)
{
    if (p->count == 0)
        return true;
    uint64_t due = later(*due_ns, now_ns) + span_ns(p, count);
    if (due > now_ns + p->ms * MS_NS)
        return false;
    *due_ns = due;
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
    *bound = b->rate.count;
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
    uint64_t now_ns = now_ms * MS_NS;
    lock_take(&q->lock);
    struct quota_entry *e = get(q, kind, name, now_ns);
    bool rate_ok = take_rate(&limits->refuse.rate, &e->due_ns[0][0], 1, now_ns);
    bool calm = take_rate(&limits->alarm.rate, &e->due_ns[0][1], 1, now_ns);
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

/* ---- what is published ----------------------------------------------------------------------- */

/* After how long the next one of that rate is on time. */
static uint64_t wait_ns(const struct quota_entry *e, unsigned pace, uint64_t now_ns)
{
    uint64_t from = now_ns + e->ahead_ns[pace];
    return e->due_ns[pace][0] > from ? e->due_ns[pace][0] - from : 0;
}

struct quota_verdict quota_spend(struct quota *q, struct quota_entry *e,
                                 const struct quota_limits *limits, enum quota_matter matter,
                                 uint64_t spent, uint64_t now_ms, uint64_t *wait_ms)
{
    CHECK(matter == QUOTA_MESSAGES || matter == QUOTA_BYTES);
    bool is_bytes = matter == QUOTA_BYTES;
    unsigned pace = is_bytes ? 2 : 1;
    const struct quota_pace *most = is_bytes ? &limits->refuse.bytes : &limits->refuse.messages;
    const struct quota_pace *warn = is_bytes ? &limits->alarm.bytes : &limits->alarm.messages;
    uint64_t now_ns = now_ms * MS_NS;
    struct quota_verdict v = { .ok = true, .matter = matter, .bound = warn->count };
    lock_take(&q->lock);
    CHECK(e->connections > 0);
    if (most->count != 0) {
        /* A message is as long as all others; bytes come in pieces of any size, and after. */
        e->ahead_ns[pace] = most->ms * MS_NS - (is_bytes ? 0 : span_ns(most, 1));
        uint64_t due = later(e->due_ns[pace][0], now_ns) + span_ns(most, spent);
        e->due_ns[pace][0] = sooner(due, now_ns + SPAN_MAX_NS);
    }
    v.alarm = !take_rate(warn, &e->due_ns[pace][1], spent, now_ns);
    /* Where a bound was before a reload, its line is nobody's who came after. */
    *wait_ms = most->count != 0 ? (wait_ns(e, pace, now_ns) + MS_NS - 1) / MS_NS : 0;
    lock_give(&q->lock);
    count(q, e->kind, &v);
    return v;
}

void quota_slowed(struct quota *q, enum quota_kind kind, enum quota_matter matter)
{
    (void)shared_add(&q->refused[kind][matter], 1);
}

/* ---- looking --------------------------------------------------------------------------------- */

unsigned quota_show(struct quota *q, const char *frontend, unsigned most, uint64_t now_ms,
                    struct text *out)
{
    uint64_t now_ns = now_ms * MS_NS;
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
            uint64_t slowed_ms = later(wait_ns(e, 1, now_ns), wait_ns(e, 2, now_ns)) / MS_NS;
            text_put(out, " connections=%llu channels=%llu slowed=%llu.%03us\n",
                     (unsigned long long)e->connections, (unsigned long long)e->channels,
                     (unsigned long long)(slowed_ms / 1000), (unsigned)(slowed_ms % 1000));
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
