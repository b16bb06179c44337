#include "alarms.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker_inner.h"
#include "client/connection.h"
#include "io/mailbox.h"
#include "remote/remote.h"
#include "shard.h"

#include <inttypes.h>

const char *alarms_text(unsigned alarms)
{
    switch (alarms) {
    case BROKER_ALARM_DISK:
        return "low on disk";
    case BROKER_ALARM_DISK | BROKER_ALARM_MEMORY:
        return "low on memory & disk";
    default:
        return "low on memory";
    }
}

struct alarm_notice {
    struct mail mail;
    struct shard *shard;
};

static void on_alarm_notice(struct mail *mail)
{
    struct alarm_notice *n = CONTAINER_OF(mail, struct alarm_notice, mail);
    size_t at = 0;
    struct connection *c;
    while ((c = idmap_next(&n->shard->connections, &at)) != NULL)
        connection_alarm_ended(c);
    remote_go_on(n->shard);
    mem_free(n);
}

void alarms_ended(const struct broker *b)
{
    for (uint32_t i = 0; i < broker_shard_count(b); i++) {
        struct alarm_notice *n = mem_zalloc(sizeof *n);
        *n = (struct alarm_notice){ { NULL, on_alarm_notice }, broker_shard(b, i) };
        mailbox_post(n->shard->loop, &n->mail);
    }
}

/* ---- other nodes ---- */

#define WHAT_BITS 8u

static uint64_t packed(const struct alarm *a)
{
    return (uint64_t)a->node << WHAT_BITS | a->what;
}

size_t alarms_elsewhere(const struct broker *b, struct alarm out[ALARMS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < ALARMS_MAX; i++) {
        uint64_t word = shared_get(&b->elsewhere[i]);
        if (word == 0)
            break;
        out[count++] = (struct alarm){ (uint16_t)(word >> WHAT_BITS),
                                       (unsigned)word & ((1u << WHAT_BITS) - 1) };
    }
    return count;
}

static unsigned what_of(const struct alarm *list, size_t count, uint16_t node)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].node == node)
            return list[i].what;
    return 0;
}

static void tell_change(const struct broker *b, uint16_t node, unsigned was, unsigned is)
{
    char room[META_NAME_MAX + 1];
    struct text name = text_over(room, sizeof room);
    const struct meta_node *n = meta_node_get(broker_meta(b), node);
    if (n != NULL)
        text_slice(&name, n->name);
    else
        text_put(&name, "node %u", node);
    if (is == was)
        return;
    if (is != 0)
        log_warn("broker", broker_name(b), "%s is %s, publishers are blocked", room,
                 alarms_text(is));
    else
        log_info("broker", broker_name(b), "the alarm of %s is over", room);
}

void alarms_set_elsewhere(struct broker *b, const struct alarm *list, size_t count)
{
    struct alarm before[ALARMS_MAX];
    size_t count_before = alarms_elsewhere(b, before);
    bool had_any = broker_has_alarm(b);
    unsigned all = 0;
    CHECK(count <= ALARMS_MAX);
    for (size_t i = 0; i < count; i++) {
        all |= list[i].what;
        tell_change(b, list[i].node, what_of(before, count_before, list[i].node), list[i].what);
    }
    for (size_t i = 0; i < count_before; i++)
        if (what_of(list, count, before[i].node) == 0)
            tell_change(b, before[i].node, before[i].what, 0);
    for (size_t i = 0; i < ALARMS_MAX; i++)
        shared_set(&b->elsewhere[i], i < count ? packed(&list[i]) : 0);
    atomic_store(&b->alarms_elsewhere, all);
    if (had_any && !broker_has_alarm(b))
        alarms_ended(b);
}

/* ---- the log ---- */

void alarms_tell_of_memory(const char *node, bool on, uint64_t bytes, uint64_t limit_bytes)
{
    if (on)
        log_warn("broker", node,
                 "memory high watermark reached, publishers are blocked used=%" PRIu64
                 " limit=%" PRIu64,
                 bytes, limit_bytes);
    else
        log_info("broker", node, "memory is below the high watermark again used=%" PRIu64, bytes);
}
