/* How much memory messages take, and what is short. */
#include "broker_inner.h"

#include "alarms.h"
#include "base/check.h"
#include "base/mem.h"
#include "gossip_node.h"
#include "io/epoch.h"
#include "io/mailbox.h"
#include "pager.h"
#include "shard.h"
#include "store/store.h"

#define TICK_NEAR_MS 10u                 /* once messages take a quarter of what they may */
#define LIMIT_LEAST  ((uint64_t)1 << 20) /* whoever sets less wants publishers to stand still */

/* The other nodes hear of it; whoever waits is told when the last alarm has ended. */
static void set_alarm(struct broker *b, enum broker_alarm kind, bool on)
{
    unsigned was = broker_alarms(b);
    unsigned now = on ? was | (unsigned)kind : was & ~(unsigned)kind;
    atomic_store(&b->alarms, now);
    if (now == was)
        return;
    gossip_node_touch(broker_gossip(b));
    if (!broker_has_alarm(b))
        alarms_ended(b);
}

struct disk_notice {
    struct mail mail;
    struct broker *broker;
};

static void on_disk_changed(struct mail *mail)
{
    struct disk_notice *n = CONTAINER_OF(mail, struct disk_notice, mail);
    struct broker *b = n->broker;
    if (broker_store(b) != NULL)
        set_alarm(b, BROKER_ALARM_DISK, (store_alarms(broker_store(b)) & STORE_NO_ROOM) != 0);
    mem_free(n);
}

void broker_disk_changed(struct broker *b)
{
    struct disk_notice *n = mem_zalloc(sizeof *n);
    *n = (struct disk_notice){ { NULL, on_disk_changed }, b };
    mailbox_post(b->loop, &n->mail);
}

uint64_t broker_message_bytes(const struct broker *b)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < b->shard_count; i++)
        sum += atomic_load_explicit(&b->shards[i]->message_bytes, memory_order_relaxed);
    return sum > 0 ? (uint64_t)sum : 0;
}

/* From one half of what they may take on messages leave memory, until they take a tenth less. */
static void judge_pressure(struct broker *b, uint64_t bytes, uint64_t limit)
{
    uint64_t most = limit / PAGER_SHARE;
    bool was = broker_is_pressed(b);
    bool is = bytes > (was ? most - most / 10 : most);
    if (is == was)
        return;
    atomic_store_explicit(&b->pressed, is, memory_order_relaxed);
    store_set_pressed(broker_store(b), is);
    for (uint32_t i = 0; is && i < b->shard_count; i++)
        pager_press(b->shards[i]);
}

/* What messages take, which is judged by the limit. */
static uint64_t look_at_memory(struct broker *b)
{
    uint64_t bytes = broker_message_bytes(b);
    uint64_t limit = broker_memory_limit(b);
    bool on = bytes > limit || limit < LIMIT_LEAST;
    if (on != ((broker_alarms(b) & BROKER_ALARM_MEMORY) != 0)) {
        /* Publishers that are stopped may end what they have begun, in this quarter more. */
        b->ceiling_bytes = bytes + limit / 4;
        set_alarm(b, BROKER_ALARM_MEMORY, on);
        alarms_tell_of_memory(b->name, on, bytes, limit);
    }
    atomic_store_explicit(&b->exhausted, on && bytes > b->ceiling_bytes, memory_order_relaxed);
    judge_pressure(b, bytes, limit);
    return bytes;
}

struct new_limit {
    struct mail mail;
    struct broker *broker;
    struct loop *reply_to;
    struct mail *done;
};

static void on_new_limit(struct mail *mail)
{
    struct new_limit *n = CONTAINER_OF(mail, struct new_limit, mail);
    (void)look_at_memory(n->broker);
    mailbox_post(n->reply_to, n->done);
    mem_free(n);
}

void broker_set_memory_limit(struct broker *b, uint64_t octets, struct loop *reply_to,
                             struct mail *done)
{
    atomic_store_explicit(&b->memory_limit, octets, memory_order_relaxed);
    struct new_limit *n = mem_zalloc(sizeof *n);
    *n = (struct new_limit){ { NULL, on_new_limit }, b, reply_to, done };
    mailbox_post(b->loop, &n->mail);
}

void broker_on_tick(void *arg)
{
    struct broker *b = arg;
    uint64_t bytes = look_at_memory(b);
    epoch_reclaim(b->epoch);
    atomic_store_explicit(&b->epoch_waiting, epoch_waiting(b->epoch), memory_order_relaxed);
    /* What comes in between two looks is beyond the watermark: a fast network brings gigabytes a
     * second. */
    loop_timer_start(&b->tick, bytes > broker_memory_limit(b) / 4 ? TICK_NEAR_MS : BROKER_TICK_MS);
}
