#include "shard.h"

#include "base/check.h"
#include "base/mem.h"
#include "broker.h"
#include "client/auth.h"
#include "client/channel_claim.h"
#include "client/connection.h"
#include "client/patrol.h"
#include "client/returning.h"
#include "hosted.h"
#include "io/random.h"
#include "larges.h"
#include "ledger.h"
#include "mirror_link/mirror_links.h"
#include "mirrored_lead.h"
#include "model/message.h"
#include "port.h"
#include "posting.h"
#include "promise.h"
#include "remote/remote.h"
#include "requeue.h"
#include "store/large.h"
#include "store/store.h"

struct shard *shard_new(struct broker *broker, uint32_t index, uint32_t shard_count,
                        struct loop *loop)
{
    CHECK(shard_count <= ID_SHARDS_MAX);
    struct shard *s = mem_zalloc(sizeof *s);
    s->broker = broker;
    s->index = index;
    s->loop = loop;
    s->hash_seed = random_u64();
    idmap_init(&s->queues);
    idmap_init(&s->consumers);
    idmap_init(&s->connections);
    TAILQ_INIT(&s->held);
    port_init(s, shard_count);
    s->ledger = ledger_new(s);
    s->pager = pager_new(s);
    s->mover = mover_new(s);
    s->larges = larges_new(s);
    s->promises = promises_new(s, shard_count);
    s->remotes = remotes_new(s);
    s->auth = broker_auth_new(broker, loop);
    s->mirrored = mirrored_new(s);
    hosted_init(s);
    s->patrol = patrol_new(s);
    s->returnings = returnings_new(s);
    return s;
}

void shard_open_journal(struct shard *s, struct journal *journal, struct segs *segs)
{
    promises_start(s->promises, journal);
    ledger_start(s->ledger, journal, segs);
}

void shard_close_journal(struct shard *s)
{
    requeues_end(s);
    postings_end(s);
    ledger_write_marks(s->ledger);
    ledger_stop(s->ledger);
    mirrored_leads_stop(s);
    promises_stop(s->promises);
}

void shard_journal_moved(struct shard *s)
{
    struct connection *c;
    bool has_streams = s->mirror_links != NULL;
    if ((TAILQ_EMPTY(&s->held) && !remote_is_used(s) && !has_streams) ||
        ledger_is_behind(s->ledger))
        return;
    if (has_streams)
        mirror_links_go_on(s);
    remote_go_on(s);
    while ((c = TAILQ_FIRST(&s->held)) != NULL)
        connection_release(c);
}

void shard_free(struct shard **shard)
{
    struct shard *s = *shard;
    *shard = NULL;
    CHECK(s->connections.count == 0);
    patrol_free(&s->patrol);
    requeues_free(s);
    postings_free(s);
    returnings_free(&s->returnings);
    channel_claims_free(s);
    hosted_fini(s);
    mirrored_free(&s->mirrored, &s->mirror_links);
    port_fini(s);
    ledger_free(&s->ledger);
    pager_free(&s->pager);
    mover_free(&s->mover);
    larges_free(&s->larges);
    promises_free(&s->promises);
    remotes_free(&s->remotes);
    auth_free(&s->auth);
    idmap_fini(&s->queues);
    idmap_fini(&s->consumers);
    idmap_fini(&s->connections);
    mem_free(s);
}

void shard_client_gone(struct shard *s)
{
    if (!s->stopping || s->idle_told || s->connections.count != 0)
        return;
    s->idle_told = true;
    broker_shard_is_idle(s);
}

void shard_stop_clients(struct shard *s, const char *why)
{
    bool again = s->stopping;
    s->stopping = true;
    size_t count = s->connections.count;
    uint64_t *ids = mem_array(count + 1, sizeof *ids);
    size_t at = 0;
    struct connection *c;
    for (size_t i = 0; (c = idmap_next(&s->connections, &at)) != NULL; i++)
        ids[i] = c->id;
    for (size_t i = 0; i < count; i++) {
        c = connection_find(s, ids[i]);
        if (c != NULL)
            connection_stop(c, again ? NULL : why);
    }
    mem_free(ids);
    shard_client_gone(s);
}

uint32_t shard_carried_count(struct shard *s)
{
    uint32_t count = 0;
    size_t at = 0;
    struct connection *c;
    while ((c = idmap_next(&s->connections, &at)) != NULL)
        count += c->stream != NULL && !sock_addr_eq(&c->client, stream_peer(c->stream));
    return count;
}

void shard_welcome_clients(struct shard *s)
{
    s->stopping = false;
    s->idle_told = false;
}

uint64_t shard_new_id(struct shard *s)
{
    return id_make(broker_node(s->broker), s->index, ++s->next_id);
}

void shard_count_bytes(struct shard *s, int64_t change)
{
    int64_t was = atomic_load_explicit(&s->message_bytes, memory_order_relaxed);
    atomic_store_explicit(&s->message_bytes, was + change, memory_order_relaxed);
}

/* A large one may get a file of its own, whichever shards have it by then. */
void shard_message_made(struct shard *s, struct message *m)
{
    struct store *st = broker_store(s->broker);
    if (UNLIKELY(m->body_bytes >= LARGE_BODY_LEAST) && message_large_id(m) == 0 && st != NULL)
        message_set_large_id(m, store_new_large_id(st));
    shard_count_bytes(s, (int64_t)message_cost_bytes(m));
}

void shard_message_drop(struct shard *s, struct message **m)
{
    size_t gone = message_unref(m);
    if (gone != 0)
        shard_count_bytes(s, -(int64_t)gone);
}
