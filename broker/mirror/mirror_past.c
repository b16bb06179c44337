#include "mirror/mirror_past.h"

#include "base/check.h"
#include "mirror/mirror_master_inner.h"

void mirror_pasts_init(struct mirror_stream *s)
{
    TAILQ_INIT(&s->past_due);
    TAILQ_INIT(&s->past_asked);
    TAILQ_INIT(&s->past_told);
    TAILQ_INIT(&s->past_later);
}

bool mirror_pasts_are_there(const struct mirror_stream *s)
{
    return !TAILQ_EMPTY(&s->past_due) || !TAILQ_EMPTY(&s->past_asked) ||
           !TAILQ_EMPTY(&s->past_told) || !TAILQ_EMPTY(&s->past_later);
}

static bool is_counted(const struct mirror_past *p)
{
    return p->list == &p->stream->past_asked || p->list == &p->stream->past_told;
}

static void take_out(struct mirror_past *p)
{
    TAILQ_REMOVE(p->list, p, entry);
    p->stream->past_count -= is_counted(p);
}

static void put(struct mirror_past *p, struct mirror_stream *s, struct mirror_pasts *list)
{
    p->stream = s;
    p->list = list;
    TAILQ_INSERT_TAIL(list, p, entry);
    s->past_count += is_counted(p);
    s->is_due = true;
}

static void put_later(struct mirror_past *p, struct mirror_stream *s)
{
    p->retry_ms = s->master->now_ms + MIRROR_PAST_MS;
    put(p, s, &s->past_later);
}

void mirror_past_ask(struct mirror_master *m, struct mirror_past *p, uint16_t node, bool later)
{
    CHECK(p->stream == NULL);
    struct mirror_stream *s = m->ops->stream(m->arg, node, p->qid);
    if (later)
        put_later(p, s);
    else
        put(p, s, &s->past_due);
}

void mirror_past_end(struct mirror_past *p)
{
    if (p->stream == NULL)
        return;
    take_out(p);
    p->stream->is_due = true; /* there is room for another */
    p->stream = NULL;
}

void mirror_pasts_say(struct mirror_stream *s)
{
    struct mirror_master *m = s->master;
    struct mirror_past *p;
    while (s->past_count < MIRROR_PASTS_ASKED && (p = TAILQ_FIRST(&s->past_due)) != NULL) {
        take_out(p);
        put(p, s, &s->past_asked);
        m->ops->say(m->arg, s,
                    &(struct mirror_record){ .op = MIRROR_PAST, .qid = p->qid, .epoch = p->epoch });
    }
}

/* Of those that are asked there are few. NULL: it was given up meanwhile. */
static struct mirror_past *asked(struct mirror_stream *s, const struct mirror_record *r)
{
    struct mirror_past *p;
    TAILQ_FOREACH (p, &s->past_asked, entry)
        if (p->qid == r->qid && p->epoch == r->epoch)
            return p;
    return NULL;
}

bool mirror_pasts_refused(struct mirror_stream *s, const struct mirror_record *r)
{
    struct mirror_past *p = asked(s, r);
    if (p == NULL)
        return false;
    take_out(p);
    put_later(p, s);
    return true;
}

bool mirror_pasts_take(struct mirror_stream *s, const struct mirror_record *r)
{
    struct mirror_master *m = s->master;
    struct mirror_past *p = asked(s, r);
    if (mirror_history_epoch(r->history) != r->epoch)
        return false;
    if (p == NULL)
        return true;
    take_out(p);
    put(p, s, &s->past_told);
    m->ops->past(m->arg, p, r->history, r->producers);
    return true;
}

static void ask_again(struct mirror_stream *s, struct mirror_past *p)
{
    take_out(p);
    put(p, s, &s->past_due);
}

/* Those that were told stay so. */
void mirror_pasts_down(struct mirror_stream *s)
{
    struct mirror_past *p;
    while ((p = TAILQ_FIRST(&s->past_asked)) != NULL)
        ask_again(s, p);
}

void mirror_pasts_tick(struct mirror_stream *s, uint64_t now_ms)
{
    struct mirror_past *p;
    while ((p = TAILQ_FIRST(&s->past_later)) != NULL && p->retry_ms <= now_ms)
        ask_again(s, p);
}

void mirror_pasts_rehome(struct mirror_stream *s)
{
    struct mirror_master *m = s->master;
    struct mirror_past *p, *next;
    while ((p = TAILQ_FIRST(&s->past_later)) != NULL)
        ask_again(s, p); /* none is asked: it is down */
    for (p = TAILQ_FIRST(&s->past_due); p != NULL; p = next) {
        next = TAILQ_NEXT(p, entry);
        struct mirror_stream *to = m->ops->stream(m->arg, s->node, p->qid);
        if (to == s)
            continue;
        take_out(p);
        put(p, to, &to->past_due);
    }
}
