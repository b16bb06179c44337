#include "alarms.h"

#include "base/log.h"
#include "base/mem.h"
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
