#include "rabbits.h"

#include "base/mem.h"
#include "rabbit.h"
#include "rabbit_conf.h"

#include <string.h>

struct rabbits {
    struct loop *loop;
    struct epoch *epoch;
    struct discover_calls calls;
    void *arg;
    struct snapshot *snapshot; /* a reference; NULL: none yet */
    struct rabbit *items[PROXY_CONF_PROXIES_MAX];
    size_t count;
};

/* ---- following a configuration ----------------------------------------------------------------
 */

/* Its backend asks the same of the same as before, and is the same to those who look. */
static bool stays(const struct rabbits *r, const struct rabbit *one, const struct snapshot *now)
{
    const struct backend *a = snapshot_backend(r->snapshot, rabbit_name(one));
    const struct backend *b = snapshot_backend(now, rabbit_name(one));
    return b != NULL && b->conf->rabbit != NULL && a->live == b->live &&
           rabbit_conf_is_same(a->conf->rabbit, b->conf->rabbit);
}

static void drop_others(struct rabbits *r, const struct snapshot *now)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->count; i++) {
        if (stays(r, r->items[i], now))
            r->items[kept++] = r->items[i];
        else
            rabbit_free(&r->items[i]);
    }
    r->count = kept;
}

static struct rabbit *find(const struct rabbits *r, const char *name)
{
    for (size_t i = 0; i < r->count; i++) {
        if (strcmp(rabbit_name(r->items[i]), name) == 0)
            return r->items[i];
    }
    return NULL;
}

void rabbits_follow(struct rabbits *r, struct snapshot *s)
{
    struct snapshot *was = r->snapshot;
    drop_others(r, s);
    r->snapshot = snapshot_ref(s);
    snapshot_unref(&was);
    for (unsigned i = 0; i < s->backend_count; i++) {
        const char *name = s->backends[i].conf->name;
        if (s->backends[i].conf->rabbit == NULL)
            continue;
        struct rabbit *one = find(r, name);
        if (one == NULL) {
            one = rabbit_new(r->loop, r->epoch, name, &r->calls, r->arg);
            r->items[r->count++] = one;
        }
        rabbit_follow(one, s);
    }
}

void rabbits_look(struct rabbits *r)
{
    for (size_t i = 0; i < r->count; i++)
        rabbit_look(r->items[i]);
}

void rabbits_poke(struct rabbits *r)
{
    for (size_t i = 0; i < r->count; i++)
        rabbit_poke(r->items[i]);
}

/* ---- showing ----------------------------------------------------------------------------------
 */

static size_t count_of(const struct rabbits *r)
{
    return r != NULL ? r->count : 0;
}

void rabbits_show(const struct rabbits *r, struct text *out)
{
    for (size_t i = 0; i < count_of(r); i++) {
        struct rabbit_figures f;
        rabbit_figures(r->items[i], &f);
        text_put(
            out,
            "backend=%s from=%s fresh=%s age=%llums nodes=%u running=%u queues=%llu asked=%llu "
            "lists=%llu changes=%llu failures=%llu list_took=%llums last_failure=\"%s\"\n",
            rabbit_name(r->items[i]), f.from, f.is_fresh ? "yes" : "no",
            (unsigned long long)f.age_ms, f.nodes, f.nodes_running, (unsigned long long)f.queues,
            (unsigned long long)f.asked, (unsigned long long)f.lists, (unsigned long long)f.changes,
            (unsigned long long)f.failures, (unsigned long long)f.list_ms, f.last_why);
    }
    if (count_of(r) == 0)
        text_str(out, "No backend has discover = rabbitmq.\n");
}

/* What each of them has as a number. */
#define ROWS(X)                                                                                    \
    X(fresh, "gauge", "1: its management told all that was asked last.", f.is_fresh)               \
    X(age_seconds, "gauge", "How old the last answers are.", (double)f.age_ms / 1000)              \
    X(nodes, "gauge", "Nodes that it tells of.", f.nodes)                                          \
    X(nodes_running, "gauge", "Those of them that run.", f.nodes_running)                          \
    X(list_seconds, "gauge", "How long the last list of queues took.", (double)f.list_ms / 1000)   \
    X(asked_total, "counter", "Rounds of questions.", (double)f.asked)                             \
    X(lists_total, "counter", "Lists of queues that were taken.", (double)f.lists)                 \
    X(changes_total, "counter", "Lists of queues that said something new.", (double)f.changes)     \
    X(failures_total, "counter", "URLs that did not answer as they should.", (double)f.failures)

void rabbits_metrics(const struct rabbits *r, struct text *out)
{
    struct rabbit_figures f;
    if (count_of(r) == 0)
        return;
#define X(name, type, help, value)                                                                 \
    text_str(out, "# HELP warren_proxy_rabbitmq_" #name " " help "\n"                              \
                  "# TYPE warren_proxy_rabbitmq_" #name " " type "\n");                            \
    for (size_t i = 0; i < r->count; i++) {                                                        \
        rabbit_figures(r->items[i], &f);                                                           \
        text_put(out, "warren_proxy_rabbitmq_" #name "{proxy=\"%s\"} %.15g\n",                     \
                 rabbit_name(r->items[i]), (double)(value));                                       \
    }
    ROWS(X)
#undef X
}

void rabbits_page(const struct rabbits *r, struct text *out)
{
    for (size_t i = 0; i < count_of(r); i++) {
        struct rabbit_figures f;
        rabbit_figures(r->items[i], &f);
        text_put(out, "<p>%s: RabbitMQ's management at %s ", rabbit_name(r->items[i]), f.from);
        if (f.is_fresh)
            text_put(out, "told %.1f s ago of %u nodes, %u of which run, and of %llu queues.</p>\n",
                     (double)f.age_ms / 1000, f.nodes, f.nodes_running,
                     (unsigned long long)f.queues);
        else
            text_put(out, "<b>has not answered for %.0f s</b>; %s (show discover says why).</p>\n",
                     (double)f.age_ms / 1000,
                     f.was_heard ? "what it said last of queues is still gone by"
                                 : "nothing is known of queues");
    }
}

/* ---- life -------------------------------------------------------------------------------------
 */

struct rabbits *rabbits_new(struct loop *loop, struct epoch *epoch,
                            const struct discover_calls *calls, void *arg)
{
    struct rabbits *r = mem_zalloc(sizeof *r);
    r->loop = loop;
    r->epoch = epoch;
    r->calls = *calls;
    r->arg = arg;
    return r;
}

void rabbits_free(struct rabbits **rp)
{
    struct rabbits *r = *rp;
    *rp = NULL;
    if (r == NULL)
        return;
    for (size_t i = 0; i < r->count; i++)
        rabbit_free(&r->items[i]);
    snapshot_unref(&r->snapshot);
    mem_free(r);
}
