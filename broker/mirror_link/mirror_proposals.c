#include "mirror_link/mirror_proposals.h"

#include "base/check.h"
#include "base/idmap.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/loop.h"

#include <string.h>

#define REFUSALS_LOG 5u
#define REFUSALS_MS  10000u

/* To a mirror of ours. */
struct lag {
    uint64_t proposed_ms;
    uint16_t node;
};

struct mirror_proposals {
    struct loop *loop;
    mirror_propose_fn propose;
    void *arg;
    struct meta_isr_item *items;
    size_t count;
    size_t cap;
    unsigned away;
    struct idmap lags; /* struct lag by node */
    struct loop_task task;
    struct log_rate refusals;
    uint8_t room[META_BATCH_MAX * META_ISR_ITEM_BYTES];
};

static void on_send(void *arg);

struct mirror_proposals *mirror_proposals_new(struct loop *loop, mirror_propose_fn propose,
                                              void *arg)
{
    struct mirror_proposals *p = mem_zalloc(sizeof *p);
    p->loop = loop;
    p->propose = propose;
    p->arg = arg;
    idmap_init(&p->lags);
    loop_task_init(&p->task, on_send, p);
    return p;
}

void mirror_proposals_free(struct mirror_proposals **proposals)
{
    struct mirror_proposals *p = *proposals;
    *proposals = NULL;
    if (p == NULL)
        return;
    CHECK(p->away == 0);
    loop_task_cancel(p->loop, &p->task);
    for (struct lag *l; (l = idmap_first(&p->lags)) != NULL; mem_free(l))
        idmap_take(&p->lags, l->node);
    idmap_fini(&p->lags);
    mem_free(p->items);
    mem_free(p);
}

static void note_refusal(struct mirror_proposals *p, enum meta_verdict verdict,
                         const struct meta_refusal *why)
{
    unsigned left_out;
    if (verdict == META_REFUSED && log_rate_ok(&p->refusals, REFUSALS_LOG, REFUSALS_MS, &left_out))
        log_warn("mirror", "", "a change of in-sync sets is refused, and is proposed again: %s",
                 why->text);
}

static void on_done(void *arg, enum meta_verdict verdict, const struct meta_refusal *why,
                    uint64_t id, bool is_made)
{
    struct mirror_proposals *p = arg;
    (void)id, (void)is_made;
    p->away--;
    note_refusal(p, verdict, why);
    if (p->count != 0)
        loop_at_turn_end(p->loop, &p->task);
}

/* The eldest ones. */
static void send_some(struct mirror_proposals *p)
{
    size_t count = p->count < META_BATCH_MAX ? p->count : META_BATCH_MAX;
    struct wire_out w = wire_out_over(p->room, sizeof p->room);
    for (size_t i = 0; i < count; i++)
        meta_isr_item_put(&w, &p->items[i]);
    CHECK(!w.overflow);
    p->count -= count;
    memmove(p->items, p->items + count, p->count * sizeof *p->items);
    struct meta_cmd cmd = { .op = META_ISR_CHANGE };
    cmd.isr_change.items = wire_out_slice(&w);
    p->away++;
    p->propose(p->arg, &cmd, on_done, p);
}

static void on_send(void *arg)
{
    struct mirror_proposals *p = arg;
    while (p->count != 0 && p->away < MIRROR_PROPOSALS_AWAY)
        send_some(p);
    if (p->count == 0) {
        mem_free(p->items);
        p->items = NULL;
        p->cap = 0;
    }
}

void mirror_proposals_add(struct mirror_proposals *p, const struct meta_isr_item *items,
                          size_t count)
{
    size_t room = MIRROR_PROPOSALS_MAX - p->count;
    if (count > room)
        count = room; /* the others are proposed again */
    if (count == 0)
        return;
    if (p->count + count > p->cap) {
        p->cap = p->count + count > 2 * p->cap ? p->count + count : 2 * p->cap;
        p->items = mem_realloc(p->items, p->cap * sizeof *p->items);
    }
    memcpy(p->items + p->count, items, count * sizeof *items);
    p->count += count;
    loop_at_turn_end(p->loop, &p->task);
}

static void on_lag_done(void *arg, enum meta_verdict verdict, const struct meta_refusal *why,
                        uint64_t id, bool is_made)
{
    struct mirror_proposals *p = arg;
    (void)id, (void)is_made;
    p->away--;
    note_refusal(p, verdict, why);
}

void mirror_proposals_lag(struct mirror_proposals *p, const struct mirror_pair_of_nodes *pair)
{
    struct lag *l = idmap_get(&p->lags, pair->mirror);
    uint64_t now_ms = loop_now_ms(p->loop);
    if (l == NULL) {
        l = mem_zalloc(sizeof *l);
        l->node = pair->mirror;
        idmap_put(&p->lags, l->node, l);
    } else if (now_ms - l->proposed_ms < MIRROR_LAG_AGAIN_MS) {
        return;
    }
    l->proposed_ms = now_ms;
    log_warn("mirror", "", "a mirror does not keep up: it is to leave all in-sync sets node=%u",
             (unsigned)pair->mirror);
    struct meta_cmd cmd = { .op = META_PAIR_LAG };
    cmd.pair_lag.master = pair->master;
    cmd.pair_lag.master_inc = pair->master_inc;
    cmd.pair_lag.mirror = pair->mirror;
    cmd.pair_lag.mirror_inc = pair->mirror_inc;
    p->away++;
    p->propose(p->arg, &cmd, on_lag_done, p);
}
