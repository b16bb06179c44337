#include "base/mem.h"
#include "broker.h"
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
