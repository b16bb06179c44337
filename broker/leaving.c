#include "leaving.h"

#include "base/log.h"
#include "base/mem.h"
#include "broker.h"
#include "io/clock.h"
#include "remote/remote.h"
#include "shard.h"

#include <inttypes.h>

#define LEAVING_MS 2000u
#define LOOK_MS    5u
#define ROUNDS     3u /* what is passed from shard to shard may be seen in the third only */

struct leaving_shard {
    struct mail mail;
    struct leaving *all;
    struct shard *shard;
    struct loop_timer timer;
    bool is_over;
};

struct leaving {
    struct broker *broker;
    void (*done)(void *arg);
    void *arg;
    uint64_t since_ms;
    uint32_t round, left; /* shards, of this round */
    struct leaving_shard shards[];
};

static void ask_all(struct leaving *l);

/* ---- a shard ----------------------------------------------------------------------------------
 */

static void on_over(struct mail *mail);

static void look(void *arg)
{
    struct leaving_shard *n = arg;
    n->is_over = remote_leave(n->shard);
    if (!n->is_over && clock_mono_ms() - n->all->since_ms < LEAVING_MS) {
        loop_timer_start(&n->timer, LOOK_MS);
        return;
    }
    loop_timer_fini(&n->timer);
    n->mail.fn = on_over;
    mailbox_post(broker_loop(n->all->broker), &n->mail);
}

static void on_asked(struct mail *mail)
{
    struct leaving_shard *n = CONTAINER_OF(mail, struct leaving_shard, mail);
    loop_timer_init(&n->timer, n->shard->loop, look, n);
    look(n);
}

/* ---- the control thread -----------------------------------------------------------------------
 */

static void on_over(struct mail *mail)
{
    struct leaving_shard *n = CONTAINER_OF(mail, struct leaving_shard, mail);
    struct leaving *l = n->all;
    if (!n->is_over && l->round == ROUNDS)
        log_warn("broker", broker_name(l->broker),
                 "other nodes have not said all before this one stops: messages that their clients "
                 "acknowledged last may be redelivered shard=%u waited_ms=%u",
                 n->shard->index, LEAVING_MS);
    if (--l->left != 0)
        return;
    if (l->round < ROUNDS)
        ask_all(l);
    else
        l->done(l->arg);
}

static void ask_all(struct leaving *l)
{
    l->round++;
    l->left = broker_shard_count(l->broker);
    for (uint32_t i = 0; i < broker_shard_count(l->broker); i++) {
        l->shards[i].mail.fn = on_asked;
        mailbox_post(l->shards[i].shard->loop, &l->shards[i].mail);
    }
}

struct leaving *leaving_begin(struct broker *b, void (*done)(void *arg), void *arg)
{
    uint32_t count = broker_shard_count(b);
    struct leaving *l = mem_zalloc(sizeof *l + count * sizeof l->shards[0]);
    l->broker = b;
    l->done = done;
    l->arg = arg;
    l->since_ms = clock_mono_ms();
    for (uint32_t i = 0; i < count; i++) {
        l->shards[i].all = l;
        l->shards[i].shard = broker_shard(b, i);
    }
    ask_all(l);
    return l;
}

void leaving_free(struct leaving **leaving)
{
    mem_free(*leaving);
    *leaving = NULL;
}
