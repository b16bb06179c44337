#include "base/mem.h"
#include "broker.h"
#include "client/channel_port.h"
#include "control.h"
#include "mirrored_lead.h"
#include "port_lane.h"
#include "promise.h"
#include "remote/remote.h"

void port_fence_begin(struct shard *s)
{
    for (uint32_t i = 0; i < broker_shard_count(s->broker); i++)
        s->lanes[i].is_touched = false;
    remote_fence_begin(s);
}

static void ask_fence(struct shard *s, uint32_t shard, const struct port_channel_ref *from,
                      bool durable)
{
    struct port_request *r = mem_zalloc(sizeof *r);
    *r = (struct port_request){
        .op = PORT_FENCE, .where = shard, .asker = s, .from = *from, .durable = durable
    };
    port_send_lane(&s->lanes[shard]); /* behind what it is about */
    r->mail.fn = port_on_request;
    mailbox_post(broker_shard(s->broker, shard)->loop, &r->mail);
}

/* Here all is done, but for the journal. */
static bool fence_here(struct shard *s, const struct port_channel_ref *from, bool durable)
{
    if (!durable || !s->lanes[s->index].is_touched)
        return false;
    struct port_request *r = mem_zalloc(sizeof *r);
    *r = (struct port_request){ .op = PORT_FENCE, .where = s->index, .asker = s, .from = *from };
    r->mail.fn = port_on_request;
    if (port_fence_waits(s, &r->mail, &r->is_lost))
        return true;
    mem_free(r);
    return false;
}

bool port_fence_waits(struct shard *s, struct mail *mail, bool *is_lost)
{
    uint64_t lsn = ledger_fence(s->ledger);
    if (UNLIKELY(s->mirrored != NULL) && mirrored_lead_fence(s, lsn, mail, is_lost))
        return true;
    if (lsn == 0)
        return false;
    promise_mail(s->promises, lsn, mail);
    return true;
}

static uint32_t fence_touched(struct shard *s, const struct port_channel_ref *from, bool durable)
{
    uint32_t asked = fence_here(s, from, durable);
    for (uint32_t i = 0; i < broker_shard_count(s->broker); i++) {
        if (i == s->index || !s->lanes[i].is_touched)
            continue;
        ask_fence(s, i, from, durable);
        asked++;
    }
    return asked;
}

uint32_t port_fence(struct shard *s, const struct port_channel_ref *from, bool durable)
{
    return fence_touched(s, from, durable) + remote_fence(s, from, durable);
}

static void tell_fenced(struct shard *s, const struct port_channel_ref *from, bool is_lost)
{
    if (remote_is_session(from))
        remote_on_fenced(s, from, is_lost);
    else
        channel_on_fenced(s, from, is_lost);
}

/* Who waits may be gone when the metadata has come. */
struct fence_wait {
    struct control_wait wait; /* first: control frees it */
    struct shard *shard;
    struct port_channel_ref from;
};

static void on_shown(struct mail *mail)
{
    struct fence_wait *w = CONTAINER_OF(mail, struct fence_wait, wait.mail);
    ledger_begin(w->shard->ledger);
    tell_fenced(w->shard, &w->from, false);
    mem_free(w);
}

static void await_shown(struct shard *s, const struct port_request *r)
{
    struct fence_wait *w = mem_zalloc(sizeof *w);
    w->wait = (struct control_wait){ .index = r->messages, .reply_to = s->loop, .done = on_shown };
    w->shard = s;
    w->from = r->from;
    struct control_wait *wait = &w->wait;
    control_await(broker_control(s->broker), &wait);
}

/* Of another node it is said by the verdict that it is lost. Whoever asked is to judge by what that
 * node knew whether it mastered a queue yet. */
void port_fence_answered(struct shard *s, const struct port_request *r)
{
    bool is_lost = r->is_lost || r->verdict == PORT_NODE_DOWN;
    bool is_ahead = r->durable && r->messages > broker_meta(s->broker)->index;
    if (UNLIKELY(is_ahead && !is_lost))
        await_shown(s, r);
    else
        tell_fenced(s, &r->from, is_lost);
}

uint32_t port_fence_away(struct shard *s, const struct port_channel_ref *from)
{
    return remote_fence_undone(s, from);
}

uint32_t port_fence_all(struct shard *s, const struct port_channel_ref *from, bool durable)
{
    for (uint32_t i = 0; i < broker_shard_count(s->broker); i++)
        s->lanes[i].is_touched = true;
    return fence_touched(s, from, durable);
}
