#include "asker.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/shared.h"
#include "io/mailbox.h"
#include "io/random.h"
#include "leads.h"

#define POSTED_MAX 64u    /* questions on their way from workers */
#define ASKS_MAX   500u   /* new ones a second: a client may use another key each time */
#define AGAIN_MS   1000u  /* all is asked again that often at most... */
#define REFRESH_MS 30000u /* ... and that often at least: an answer may have got lost */
#define NEWS_MS    50u    /* workers look again that often at most */
#define PART_MS    20u    /* all is asked again in parts: a broker has other things to do... */

/* ... of so many and a few more: less than a second for LEADS_MAX. */
#define PART_ASKS ((size_t)48)

struct asker {
    struct loop *loop;
    struct location_sub *sub;
    struct leads *leads;
    struct shared posted;
    struct shared second; /* in which... */
    struct shared asks;   /* ... so many new ones were posted */
    struct loop_timer again, news, part;
    unsigned set, sets_left; /* of leads, to be asked again */
    bool is_again_soon;      /* the timer runs for AGAIN_MS, not for REFRESH_MS */
    uint64_t asked, answered;
    struct shared throttled;
};

/* ---- from workers -----------------------------------------------------------------------------
 */

struct question {
    struct mail mail;
    struct asker *asker;
    struct location_ask ask;
    uint8_t names[];
};

static struct question *question_new(struct asker *a, const struct location_ask *ask)
{
    size_t len = ask->vhost.len + ask->exchange.len + ask->key.len;
    struct question *q = mem_zalloc(sizeof *q + len);
    struct wire_out w = wire_out_over(q->names, len);
    q->asker = a;
    q->ask.vhost = wire_out_keep(&w, ask->vhost);
    q->ask.exchange = wire_out_keep(&w, ask->exchange);
    q->ask.key = wire_out_keep(&w, ask->key);
    return q;
}

/* Any thread: two of them may begin a second at once, and allow a few more. */
static bool may_ask(struct asker *a, uint64_t now_s)
{
    if (shared_swap(&a->second, now_s) != now_s)
        shared_set(&a->asks, 0);
    return shared_add(&a->asks, 1) <= ASKS_MAX;
}

static void ask(struct asker *a, const struct location_ask *names, uint64_t id)
{
    struct location_ask with_id = *names;
    with_id.id = id;
    if (location_sub_ask(a->sub, &with_id))
        a->asked++;
}

static void on_question(struct mail *mail)
{
    struct question *q = CONTAINER_OF(mail, struct question, mail);
    struct asker *a = q->asker;
    uint64_t id;
    (void)shared_sub(&a->posted, 1);
    if (leads_expect(a->leads, &q->ask, &id))
        ask(a, &q->ask, id);
    mem_free(q);
}

static bool on_ask(void *arg, const struct location_ask *names, uint64_t now_s)
{
    struct asker *a = arg;
    if (shared_get(&a->posted) >= POSTED_MAX || !may_ask(a, now_s)) {
        (void)shared_add(&a->throttled, 1);
        return false;
    }
    (void)shared_add(&a->posted, 1);
    struct question *q = question_new(a, names);
    q->mail.fn = on_question;
    mailbox_post(a->loop, &q->mail);
    return true;
}

/* ---- from brokers -----------------------------------------------------------------------------
 */

static void news_soon(struct asker *a)
{
    if (!loop_timer_is_running(&a->news))
        loop_timer_start(&a->news, NEWS_MS);
}

static void on_news(void *arg)
{
    const struct asker *a = arg;
    leads_tell(a->leads);
}

static void on_leads(const struct location_leads *l, void *arg)
{
    struct asker *a = arg;
    a->answered++;
    if (leads_answer(a->leads, l))
        news_soon(a);
}

static void visit(void *arg, const struct location_ask *names, bool any_key,
                  const struct leads_queues *known)
{
    (void)any_key;
    (void)known;
    ask(arg, names, names->id);
}

static void on_part(void *arg)
{
    struct asker *a = arg;
    for (size_t asks = 0; a->sets_left != 0 && asks < PART_ASKS; a->sets_left--)
        asks += leads_each_of(a->leads, a->set++, visit, a);
    if (a->sets_left != 0)
        loop_timer_start(&a->part, PART_MS);
}

/* Who has lost his entry meanwhile looks again, too, and has it asked for. One that begins amid
 * the last goes on from there, all around: those at the end have their turn, too. */
static void on_again(void *arg)
{
    struct asker *a = arg;
    a->is_again_soon = false;
    loop_timer_start(&a->again, REFRESH_MS);
    a->sets_left = LEADS_SETS;
    if (!loop_timer_is_running(&a->part)) {
        /* A broker that many ask passes over what comes last: let that be others each time. */
        a->set = (unsigned)random_u64() % LEADS_SETS;
        on_part(a);
    }
    if (leads_count(a->leads) != 0)
        news_soon(a);
}

static void on_routes(void *arg)
{
    struct asker *a = arg;
    if (a->is_again_soon)
        return;
    a->is_again_soon = true;
    loop_timer_start(&a->again, AGAIN_MS);
}

/* ---- life -------------------------------------------------------------------------------------
 */

struct asker *asker_new(struct loop *loop, struct epoch *epoch, struct location_sub *sub)
{
    struct asker *a = mem_zalloc(sizeof *a);
    a->loop = loop;
    a->sub = sub;
    a->leads = leads_new(epoch, random_u64(), on_ask, a);
    loop_timer_init(&a->again, loop, on_again, a);
    loop_timer_init(&a->news, loop, on_news, a);
    loop_timer_init(&a->part, loop, on_part, a);
    loop_timer_start(&a->again, REFRESH_MS);
    location_sub_listen(sub, &(struct location_sub_leads){ on_leads, on_routes, a });
    return a;
}

void asker_free(struct asker **ap)
{
    struct asker *a = *ap;
    if (a == NULL)
        return;
    *ap = NULL;
    CHECK(shared_get(&a->posted) == 0);
    loop_timer_fini(&a->again);
    loop_timer_fini(&a->news);
    loop_timer_fini(&a->part);
    leads_retire(&a->leads);
    mem_free(a);
}

struct leads *asker_leads(struct asker *a)
{
    return a->leads;
}

void asker_clear(struct asker *a)
{
    leads_clear(a->leads);
}

void asker_metrics(const struct asker *a, struct text *out)
{
    const struct {
        const char *name, *type, *help;
        uint64_t value;
    } rows[] = {
        { "entries", "gauge", "Exchanges and keys of which it is known, or asked, where they lead.",
          leads_count(a->leads) },
        { "asked_total", "counter", "Questions to brokers where messages land.", a->asked },
        { "answered_total", "counter", "Answers to them.", a->answered },
        { "throttled_total", "counter", "Questions that were too many to be asked.",
          shared_get(&a->throttled) },
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
        text_put(out,
                 "# HELP warren_leads_%s %s\n# TYPE warren_leads_%s %s\nwarren_leads_%s %llu\n",
                 rows[i].name, rows[i].help, rows[i].name, rows[i].type, rows[i].name,
                 (unsigned long long)rows[i].value);
}
