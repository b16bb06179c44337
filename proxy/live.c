#include "live.h"

#include "base/check.h"
#include "base/mem.h"
#include "crew.h"
#include "io/random.h"

struct frontend_live *frontend_live_new(void)
{
    struct frontend_live *l = mem_zalloc(sizeof *l);
    shared_set(&l->refs, 1);
    l->quota = quota_new(random_u64());
    return l;
}

struct frontend_live *frontend_live_ref(struct frontend_live *l)
{
    (void)shared_add(&l->refs, 1);
    return l;
}

void frontend_live_unref(struct frontend_live **l)
{
    if (*l != NULL && shared_sub(&(*l)->refs, 1) == 0) {
        quota_free(&(*l)->quota);
        mem_free(*l);
    }
    *l = NULL;
}

struct backend_live *backend_live_new(uint64_t now_ms)
{
    struct backend_live *l = mem_zalloc(sizeof *l);
    shared_set(&l->refs, 1);
    l->was_up = true;
    l->changed_ms = now_ms;
    return l;
}

struct backend_live *backend_live_ref(struct backend_live *l)
{
    (void)shared_add(&l->refs, 1);
    return l;
}

void backend_live_unref(struct backend_live **l)
{
    if (*l != NULL && shared_sub(&(*l)->refs, 1) == 0) {
        crew_free((void *)(uintptr_t)shown_get(&(*l)->crew)); /* of readers there are none left */
        mem_free((void *)(uintptr_t)shown_get(&(*l)->cluster));
        mem_free(*l);
    }
    *l = NULL;
}

struct server_live *server_live_new(uint64_t now_ms)
{
    struct server_live *l = mem_zalloc(sizeof *l);
    shared_set(&l->refs, 1);
    shared_set(&l->up, 1);
    l->check = LIVE_CHECK_INITIAL;
    l->changed_ms = now_ms;
    return l;
}

struct server_live *server_live_ref(struct server_live *l)
{
    (void)shared_add(&l->refs, 1);
    return l;
}

void server_live_unref(struct server_live **l)
{
    if (*l != NULL && shared_sub(&(*l)->refs, 1) == 0) {
        /* Readers hold the record, so nobody can be looking at its address any more. */
        mem_free((void *)(uintptr_t)shared_get(&(*l)->address));
        mem_free(*l);
    }
    *l = NULL;
}

void live_traffic_begin(struct live_traffic *t)
{
    (void)shared_add(&t->stot, 1);
    shared_raise(&t->smax, shared_add(&t->scur, 1));
}

void live_traffic_end(struct live_traffic *t)
{
    uint64_t left = shared_sub(&t->scur, 1);
    CHECK(left != UINT64_MAX);
}

void live_rate_tick(struct live_rate *r, uint64_t total)
{
    r->now = total - r->seen;
    r->seen = total;
    if (r->now > r->max)
        r->max = r->now;
}

void live_traffic_tick(struct live_traffic *t)
{
    live_rate_tick(&t->rate, shared_get(&t->stot));
    live_rate_tick(&t->in_rate, shared_get(&t->bin));
    live_rate_tick(&t->out_rate, shared_get(&t->bout));
}

const char *live_hearsay_word(enum live_hearsay hearsay)
{
    static const char *const words[] = {
#define X(name, word) word,
        LIVE_HEARSAYS(X)
#undef X
    };
    CHECK((unsigned)hearsay < ARRAY_COUNT(words));
    return words[hearsay];
}

const char *live_admin_word(enum live_admin admin)
{
    static const char *const words[] = {
#define X(name, word) word,
        LIVE_ADMINS(X)
#undef X
    };
    CHECK((unsigned)admin < ARRAY_COUNT(words));
    return words[admin];
}

static const struct {
    const char *word;
    const char *text;
    unsigned number;
} checks[] = {
#define X(name, word, number, text) { word, text, number },
    LIVE_CHECKS(X)
#undef X
};

const char *live_check_word(enum live_check check)
{
    CHECK((unsigned)check < ARRAY_COUNT(checks));
    return checks[check].word;
}

const char *live_check_text(enum live_check check)
{
    CHECK((unsigned)check < ARRAY_COUNT(checks));
    return checks[check].text;
}

unsigned live_check_number(enum live_check check)
{
    CHECK((unsigned)check < ARRAY_COUNT(checks));
    return checks[check].number;
}
