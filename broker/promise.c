#include "promise.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "client/connection.h"
#include "io/mailbox.h"
#include "mirrored.h"
#include "port_lane.h"
#include "remote/remote.h"
#include "store/journal.h"

#include <stdatomic.h>

#define LINE_FIRST      64u
#define LINE_KEPT_MAX   4096u /* room for more is given back when nothing waits */
#define PUBLISHES_A_ONE 256u  /* in one promise: the first must not wait long for the last */

struct promise {
    uint64_t lsn;
    uint64_t turn_us; /* when its turn began: those of one turn may be one */
    struct port_channel_ref to;
    uint64_t first; /* number of a publish */
    uint32_t count; /* so many, one after the other; 0: the mail is to be posted */
    struct mail *mail;
};

/* Of one shard that appends: a ring, by rising LSN. */
struct line {
    struct promise *items;
    size_t cap; /* a power of two, or 0 */
    size_t head;
    size_t count;
};

struct promises {
    struct shard *shard;
    const struct journal *journal;
    uint32_t line_count;
    uint64_t waiting;
    uint64_t followed; /* see promises_follow */
    uint64_t told;     /* ... and up to where it was */
    bool armed;        /* it is wanted, or the mail is under way */
    /* What the journal's thread looks at: from this LSN on the shard is to be told; 0: it is not.
     * Whoever makes it 0 has the mail. */
    atomic_uint_fast64_t wanted;
    struct mail mail;
    struct line lines[];
};

static void on_mail(struct mail *mail);

struct promises *promises_new(struct shard *s, uint32_t shard_count)
{
    uint32_t line_count = shard_count + 1; /* the last is PROMISE_LATE */
    struct promises *p = mem_zalloc(sizeof *p + line_count * sizeof p->lines[0]);
    p->shard = s;
    p->line_count = line_count;
    p->mail.fn = on_mail;
    atomic_init(&p->wanted, 0);
    return p;
}

void promises_start(struct promises *p, const struct journal *journal)
{
    p->journal = journal;
}

void promises_free(struct promises **promises)
{
    struct promises *p = *promises;
    *promises = NULL;
    if (p == NULL)
        return;
    for (uint32_t i = 0; i < p->line_count; i++)
        mem_free(p->lines[i].items);
    mem_free(p);
}

uint64_t promises_waiting(const struct promises *p)
{
    return p->waiting;
}

/* ---- the lines --------------------------------------------------------------------------------
 */

static struct promise *item(const struct line *l, size_t index)
{
    return &l->items[(l->head + index) & (l->cap - 1)];
}

static struct promise *add(struct line *l)
{
    if (l->count == l->cap) {
        size_t cap = l->cap != 0 ? l->cap * 2 : LINE_FIRST;
        struct promise *items = mem_array(cap, sizeof *items);
        for (size_t i = 0; i < l->count; i++)
            items[i] = *item(l, i);
        mem_free(l->items);
        l->items = items;
        l->cap = cap;
        l->head = 0;
    }
    return item(l, l->count++);
}

static void remove_first(struct line *l)
{
    l->head = (l->head + 1) & (l->cap - 1);
    if (--l->count != 0 || l->cap <= LINE_KEPT_MAX)
        return;
    mem_free(l->items);
    *l = (struct line){ 0 };
}

static bool same_channel(const struct port_channel_ref *a, const struct port_channel_ref *b)
{
    return a->connection == b->connection && a->incarnation == b->incarnation &&
           a->number == b->number;
}

/* ---- being told -------------------------------------------------------------------------------
 */

/* The journal's thread says what is durable, then changes `wanted` (by nothing); the shard changes
 * `wanted`, then looks at what is durable. Whoever comes second sees what the other one said. The
 * mail is under way from when somebody has made `wanted` 0 until it is read; until then it is not
 * wanted again. */
static bool take_mail(struct promises *p, uint64_t durable)
{
    uint64_t wanted = atomic_fetch_add(&p->wanted, 0);
    return wanted != 0 && wanted <= durable &&
           atomic_compare_exchange_strong(&p->wanted, &wanted, 0);
}

void promises_on_durable(struct promises *p)
{
    if (take_mail(p, journal_durable(p->journal)))
        mailbox_post(p->shard->loop, &p->mail);
}

/* True when that much is durable already. */
static bool want(struct promises *p, uint64_t lsn)
{
    uint64_t was = atomic_load(&p->wanted);
    if (p->armed && (was == 0 || was <= lsn))
        return false;
    if (!p->armed)
        (void)atomic_exchange(&p->wanted, lsn);
    else if (!atomic_compare_exchange_strong(&p->wanted, &was, lsn))
        return false; /* the mail is on its way */
    p->armed = true;
    return take_mail(p, journal_durable(p->journal));
}

/* Whoever wants it is in the middle of something. */
static void want_by_mail(struct promises *p, uint64_t lsn)
{
    if (want(p, lsn))
        mailbox_post(p->shard->loop, &p->mail);
}

void promises_watch(struct promises *p)
{
    want_by_mail(p, journal_durable(p->journal) + 1);
}

void promises_follow(struct promises *p, uint64_t lsn)
{
    if (lsn <= p->followed)
        return;
    p->followed = lsn;
    want_by_mail(p, p->told + 1); /* it may be durable already */
}

void promise_publish(struct promises *p, uint32_t appender, uint64_t lsn,
                     const struct port_channel_ref *to, uint64_t number)
{
    if (appender == PROMISE_LATE)
        appender = p->line_count - 1;
    CHECK(appender < p->line_count && lsn != 0);
    struct line *l = &p->lines[appender];
    struct promise *last = l->count != 0 ? item(l, l->count - 1) : NULL;
    if (last != NULL && lsn < last->lsn)
        lsn = last->lsn; /* its answer came late */
    uint64_t now_us = loop_now_us(p->shard->loop);
    p->waiting++;
    if (last != NULL && last->count != 0 && last->turn_us == now_us &&
        last->count < PUBLISHES_A_ONE && last->first + last->count == number &&
        same_channel(&last->to, to)) {
        last->lsn = lsn;
        last->count++;
        return;
    }
    *add(l) =
        (struct promise){ .lsn = lsn, .turn_us = now_us, .to = *to, .first = number, .count = 1 };
    want_by_mail(p, lsn);
}

void promise_mail(struct promises *p, uint64_t lsn, struct mail *mail)
{
    struct line *l = &p->lines[p->shard->index];
    CHECK(lsn != 0);
    *add(l) = (struct promise){ .lsn = lsn, .mail = mail };
    want_by_mail(p, lsn);
}

void promises_stop(struct promises *p)
{
    for (uint32_t i = 0; i < p->line_count; i++) {
        for (struct line *l = &p->lines[i]; l->count != 0; remove_first(l)) {
            if (item(l, 0)->count == 0)
                mailbox_post(p->shard->loop, item(l, 0)->mail);
        }
    }
    p->waiting = 0;
}

static void keep_due(struct promises *p, struct line *l, uint64_t durable)
{
    while (l->count != 0 && (item(l, 0)->lsn <= durable || MUTATION(CONFIRMED_EARLY))) {
        struct promise due = *item(l, 0);
        remove_first(l);
        if (due.count == 0) {
            mailbox_post(p->shard->loop, due.mail);
            continue;
        }
        p->waiting -= due.count;
        port_tell_durable(p->shard, &due.to, due.first, due.count);
    }
}

static void tell_mirrored(struct promises *p, uint64_t durable)
{
    if (p->told >= p->followed)
        return;
    p->told = durable;
    mirrored_durable(p->shard, durable);
}

static uint64_t first_lsn(const struct promises *p)
{
    uint64_t first = p->told < p->followed ? p->told + 1 : UINT64_MAX;
    for (uint32_t i = 0; i < p->line_count; i++) {
        const struct line *l = &p->lines[i];
        if (l->count != 0 && item(l, 0)->lsn < first)
            first = item(l, 0)->lsn;
    }
    return first;
}

static void keep_all_due(struct promises *p)
{
    uint64_t first;
    do {
        p->armed = false;
        uint64_t durable = journal_durable(p->journal);
        for (uint32_t i = 0; i < p->line_count; i++)
            keep_due(p, &p->lines[i], durable);
        tell_mirrored(p, durable);
        first = first_lsn(p);
    } while (first != UINT64_MAX && want(p, first));
}

static void on_mail(struct mail *mail)
{
    struct promises *p = CONTAINER_OF(mail, struct promises, mail);
    keep_all_due(p);
    shard_journal_moved(p->shard);
}
