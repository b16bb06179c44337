#include "pace.h"

#include "admission.h"
#include "amqp/amqp_method.h"
#include "base/check.h"
#include "run.h"
#include "session.h"

/* A client whose messages of several channels are mixed is hardly ever between two: from so many
 * times what a rest allows on, it is held wherever it is. */
#define MIXED_MAX 2u

static uint64_t now_ms(const struct session *s)
{
    return loop_now_ms(s->worker->loop);
}

static void due_later(struct session *s, enum quota_matter matter, uint64_t count)
{
    uint64_t due_ms = now_ms(s) + admission_spend(s, matter, count);
    if (due_ms > s->pace.due_ms)
        s->pace.due_ms = due_ms;
}

void pace_start(struct session *s)
{
    s->pace.is_on = admission_paces(s);
    if (s->pace.is_on)
        due_later(s, QUOTA_MESSAGES, 0);
    if (s->pace.is_on)
        due_later(s, QUOTA_BYTES, 0);
}

static bool is_within_message(const struct session *s)
{
    for (unsigned i = 0; i < s->channels_cap; i++) {
        if (s->channels[i] != NULL && content_is_open(&s->channels[i]->publish))
            return true;
    }
    return false;
}

bool pace_holds(struct session *s, const struct run_frame *f)
{
    if (LIKELY(!run_is_method(f, AMQP_BASIC_PUBLISH) || s->pace.due_ms <= now_ms(s)))
        return false;
    uint64_t late_ms = s->pace.due_ms - now_ms(s);
    if (is_within_message(s) && late_ms < MIXED_MAX * admission_rest_ms(s))
        return false;
    s->pace.is_holding = true;
    admission_slowed(s);
    session_hold_client(s);
    session_schedule(s);
    return true;
}

void pace_published(struct session *s)
{
    if (UNLIKELY(s->pace.is_on))
        due_later(s, QUOTA_MESSAGES, 1);
}

void pace_taken(struct session *s, size_t octets)
{
    if (UNLIKELY(s->pace.is_on) && octets != 0)
        due_later(s, QUOTA_BYTES, octets);
}

size_t pace_octets(const struct session *s, const struct run_frame *f)
{
    bool counts = s->pace.is_on && f->head.channel != 0 &&
                  (f->head.type != AMQP_FRAME_METHOD || run_is_method(f, AMQP_BASIC_PUBLISH));
    return UNLIKELY(counts) ? f->len : 0;
}

uint64_t pace_tick(struct session *s)
{
    if (!s->pace.is_holding)
        return UINT64_MAX;
    if (s->pace.due_ms > now_ms(s))
        return s->pace.due_ms - now_ms(s);
    s->pace.is_holding = false;
    session_flow(s);
    return UINT64_MAX;
}
