/* A channel's end that its broker did not make. */
#include "splice.h"

#include "base/check.h"
#include "method_out.h"
#include "recover.h"
#include "session.h"
#include "split.h"

static unsigned living_count(const struct session *s, const struct upstream *at)
{
    unsigned count = 0;
    for (unsigned i = 0; i < s->channels_cap; i++) {
        const struct channel *c = s->channels[i];
        if (c != NULL && channel_is_living(c) &&
            (at == NULL || (c->leg != NULL && c->leg->upstream == at)))
            count++;
    }
    return count;
}

/* The channel's leg is gone. What the client was owed on it is said here. */
static void end_channel(struct session *s, struct channel *c, const char *why)
{
    char room[AMQP_REPLY_TEXT_MAX + 1];
    bool living = channel_is_living(c);
    bool asked_to_close = c->state == CHANNEL_CLOSING || c->state == CHANNEL_CROSSED;
    bool answers = c->state == CHANNEL_CLOSED || c->state == CHANNEL_CROSSED;
    uint32_t cause = c->asked;
    splice_end_hunt(s, c);
    session_answered(s, c);
    split_free(s, c);
    leg_free(&s->worker->legs, &c->leg);
    if (c->state != CHANNEL_LOST)
        channel_move(c, CHANNEL_LOST);
    c->publish = (struct content){ .next = CONTENT_NONE };

    if (asked_to_close)
        method_out_bare(s->client, c->number, AMQP_CHANNEL_CLOSE_OK);
    if (living)
        method_out_close(s->client, c->number, AMQP_CONNECTION_FORCED,
                         amqp_reply_text(room, AMQP_CONNECTION_FORCED, "%s", why), cause);
    else if (!answers)
        session_drop_channel(s, &c);
}

void splice_end_hunt(struct session *s, const struct channel *c)
{
    if (LIKELY(s->hunt.goal == HUNT_NONE || s->hunt.channel != c))
        return;
    hunt_stop(s);
    session_flow(s);
}

void splice_give_up(struct session *s, struct channel *c, const char *why)
{
    if (c->leg != NULL) { /* it goes on with what it has */
        splice_attach(s, c, c->leg->upstream);
        return;
    }
    if (living_count(s, NULL) == 1) {
        session_close(s, AMQP_CONNECTION_FORCED, "%s", why);
        return;
    }
    end_channel(s, c, why);
    session_flow(s);
}

static struct leg *leg_at(const struct channel *c, const struct upstream *u)
{
    if (c->is_spread)
        return split_leg_at(c, u);
    return c->leg != NULL && c->leg->upstream == u ? c->leg : NULL;
}

/* Those that miss nothing go on elsewhere. */
static void lose_one(struct session *s, struct channel *c, struct leg *leg, const char *why,
                     struct splice_loss *loss)
{
    bool is_living = channel_is_living(c);
    if (s->backend->conf->by_master && is_living && recover_can(c, leg)) {
        recover_leave(s, c, leg);
        loss->kept++;
        return;
    }
    loss->ended += is_living;
    if (c->is_spread)
        split_lose(s, c, leg, why);
    else
        end_channel(s, c, why);
}

/*
 * AMQP has no way to say "this channel's broker is gone" on a channel; 320 is meant for whole
 * connections. So a client whose channels all lived there, as is usual, loses its connection, as it
 * would without a proxy. Others lose only the channels, with the same code and text. Where channels
 * are routed by master only those end that had something in flight, and the connection stays.
 */
struct splice_loss splice_lose(struct session *s, struct upstream *u, const char *why)
{
    struct splice_loss loss = { 0, 0 };
    unsigned here = living_count(s, u);
    if (!s->backend->conf->by_master && here != 0 && here == living_count(s, NULL)) {
        loss.ended = here;
        session_close(s, AMQP_CONNECTION_FORCED, "%s", why);
        return loss;
    }
    for (unsigned i = 0; i < s->channels_cap; i++) {
        struct channel *c = s->channels[i];
        struct leg *leg = c != NULL ? leg_at(c, u) : NULL;
        if (leg != NULL)
            lose_one(s, c, leg, why, &loss);
    }
    shared_bump(&s->worker->counts.channels_kept, loss.kept);
    shared_bump(&s->worker->counts.channels_ended, loss.ended);
    return loss;
}

void splice_drop_all(struct session *s)
{
    for (unsigned i = 0; i < s->channels_cap; i++) {
        struct channel *c = s->channels[i];
        if (c != NULL)
            session_drop_channel(s, &c);
    }
}
