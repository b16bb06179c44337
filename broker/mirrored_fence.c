/* Who waits until mirrors know what was settled, or have what is to be shown. */
#include "base/mem.h"
#include "broker.h"
#include "io/mailbox.h"
#include "live.h"
#include "marks.h"
#include "mirror_link/mirror_links.h"
#include "mirrored.h"
#include "mirrored_lead_inner.h"
#include "promise.h"

/* Somebody waits for what was settled before: in one queue or many. Waves are over in the order in
 * which they began, so that each needs to ask only for what no earlier one has asked for. */
struct lead_wave {
    uint64_t left; /* answers to come */
    uint64_t lsn;  /* of the own journal; 0: it need not be asked */
    struct mail *mail;
    bool
        *is_lost; /* of the mail's; true: a queue is another node's before its mirrors had it all */
    TAILQ_ENTRY(lead_wave) entry;
};

void lead_noted(struct mirrored_leads *l, struct mirrored_lead *own, uint64_t pos)
{
    own->noted_pos = pos;
    if (own->is_noted)
        return;
    own->is_noted = true;
    TAILQ_INSERT_TAIL(&l->noted, own, noted_entry);
}

static void end_wave(struct mirrored_leads *l, struct lead_wave *w)
{
    TAILQ_REMOVE(&l->waves, w, entry);
    if (w->lsn != 0 && !l->is_stopped)
        promise_mail(l->shard->promises, w->lsn, w->mail);
    else
        mailbox_post(l->shard->loop, w->mail);
    mem_free(w);
}

static void end_waves(struct mirrored_leads *l)
{
    struct lead_wave *w;
    while ((w = TAILQ_FIRST(&l->waves)) != NULL && w->left == 0)
        end_wave(l, w);
}

void lead_fence_answered(struct mirrored_leads *l, struct lead_wave *w, uint32_t count,
                         bool is_safe)
{
    w->left -= count;
    *w->is_lost = *w->is_lost || !is_safe;
    end_waves(l);
}

bool mirrored_lead_fence(struct shard *s, uint64_t lsn, struct mail *mail, bool *is_lost)
{
    struct mirrored_leads *l = s->mirrored != NULL ? leads_of(s) : NULL;
    struct mirrored_lead *own;
    if (l == NULL || l->is_stopped || (TAILQ_EMPTY(&l->noted) && TAILQ_EMPTY(&l->waves)))
        return false;
    struct lead_wave *w = mem_alloc(sizeof *w);
    *w = (struct lead_wave){ .lsn = lsn, .mail = mail, .is_lost = is_lost };
    TAILQ_INSERT_TAIL(&l->waves, w, entry);
    const struct mirror_token token = { .a = (uintptr_t)w,
                                        .b = (uint64_t)LEAD_TOKEN_FENCE << LEAD_TOKEN_SHIFT };
    while ((own = TAILQ_FIRST(&l->noted)) != NULL) {
        struct hosted *h = own->hosted;
        TAILQ_REMOVE(&l->noted, own, noted_entry);
        own->is_noted = false;
        w->left++;
        mirror_master_await(s->mirrored->m, h->mirrored->lead, own->noted_pos,
                            MIRROR_AWAIT_URGENT | (h->book.durable ? MIRROR_AWAIT_DURABLE : 0),
                            &token, 0);
    }
    mirror_links_soon(s);
    return true;
}

/* ---- being shown ------------------------------------------------------------------------------
 *
 * One answer at a time is awaited for a queue, about all of its priorities: how far its mirrors
 * know that it may have been shown, and what of it they have. What comes meanwhile is in the next.
 */

bool mirrored_lead_shows_late(const struct hosted *h)
{
    return broker_live(h->shard->broker)->conf->cluster.deliver_after_replication;
}

/* What was said of the queue so far is to be known. What nobody waits for need not be on disk
 * anywhere: it is not sent again. */
static void ask(struct mirrored_lead *own, bool has_marks, bool is_pressed)
{
    struct hosted *h = own->hosted;
    bool is_durable = h->book.durable && (has_marks || own->owes_durable);
    own->asks = true;
    own->is_pressed = is_pressed;
    own->owes_durable = false;
    unsigned flags =
        (is_durable ? MIRROR_AWAIT_DURABLE : 0) | (is_pressed ? MIRROR_AWAIT_URGENT : 0);
    mirror_master_await(
        h->shard->mirrored->m, h->mirrored->lead, h->mirrored->lead->last_pos, flags,
        &(struct mirror_token){ .b = (uint64_t)LEAD_TOKEN_SHOW << LEAD_TOKEN_SHIFT }, 0);
    mirror_links_soon(h->shard);
    if (is_durable)
        mirrored_hurry(h->shard); /* it may stand behind settlements that nobody else waits for */
}

/* What comes to a queue that is empty stands behind the marks: whoever has it knows them. */
void mirrored_lead_marks_said(struct hosted *h)
{
    struct mirrored_lead *own = h->mirrored->own;
    if (own == NULL || own->asks || !marks_ask(h))
        return;
    if (queue_is_empty(&h->queue))
        marks_are_known(h);
    else
        ask(own, true, h->queue.consumer_count != 0);
}

/* The turn's end: what was put into queues in this turn was said by now. */
void lead_ask(void *arg)
{
    struct mirrored_leads *l = arg;
    struct mirrored_lead *own;
    while ((own = TAILQ_FIRST(&l->asking)) != NULL) {
        TAILQ_REMOVE(&l->asking, own, ask_entry);
        own->is_asking = false;
        if (!own->asks)
            ask(own, marks_ask(own->hosted), true);
    }
}

static void ask_soon(struct mirrored_leads *l, struct mirrored_lead *own)
{
    if (own->asks && !own->is_pressed) {
        own->is_pressed = true;
        mirror_master_hurry(l->shard->mirrored->m, own->hosted->mirrored->lead);
        mirror_links_soon(l->shard);
    }
    if (own->asks || own->is_asking)
        return;
    own->is_asking = true;
    TAILQ_INSERT_TAIL(&l->asking, own, ask_entry);
    loop_first_at_turn_end(l->shard->loop, &l->ask_task); /* before what was said leaves */
}

void lead_show_answered(struct mirrored_leads *l, const struct mirror_confirm *c, bool is_safe)
{
    struct hosted *h = is_safe ? shard_hosted(l->shard, c->qid) : NULL;
    if (h == NULL || h->mirrored == NULL || h->mirrored->own == NULL)
        return; /* of a role that is over */
    h->mirrored->own->asks = false;
    marks_are_known(h);
    if (h->mirrored->serves) /* else it begins later, and that goes on then */
        lead_open_soon(l, h->mirrored->own);
}

/* If nobody else may master it next, nobody else needs to have it. */
static bool is_had(const struct hosted *h, uint64_t qseq)
{
    return marks_are_behind(h, qseq) || !mirrored_lead_shows_late(h) ||
           !mirror_queue_is_waited(h->mirrored->lead);
}

/* Nobody is expected by who only looks, and settles what it looked at in the same turn. */
bool mirrored_lead_may_show(struct hosted *h, uint64_t qseq)
{
    struct mirrored_leads *l = leads_of(h->shard);
    struct mirrored_lead *own = h->mirrored->own;
    if (!h->book.expects_out || l->is_stopped)
        return true;
    if (own == NULL) /* it begins anew, and that goes on then */
        return false;
    if (marks_may_show(h, qseq) && is_had(h, qseq))
        return true;
    ask_soon(l, own);
    return false;
}

/* What passes by is not asked for, where that may be: whoever has it has heard before how far it
 * may have been seen. */
bool mirrored_lead_may_pass(const struct hosted *h)
{
    return leads_of(h->shard)->is_stopped || !mirrored_lead_shows_late(h) ||
           !mirror_queue_is_waited(h->mirrored->lead);
}

void mirrored_leads_stop(struct shard *s)
{
    struct lead_wave *w;
    struct mirrored_leads *l = s->mirrored != NULL ? leads_of(s) : NULL;
    if (l == NULL)
        return;
    l->is_stopped = true;
    while ((w = TAILQ_FIRST(&l->waves)) != NULL)
        end_wave(l, w);
}
