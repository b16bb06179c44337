#include "dead_post.h"

#include "base/check.h"
#include "base/idmap.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker.h"
#include "cluster/meta_node.h"
#include "cluster/meta_placement.h"
#include "port.h"
#include "shard.h"

#include <sys/queue.h>

#define AGAIN_MS      500u /* after a loss; doubled while nothing can be sent */
#define AGAIN_MS_MAX  4000u
#define AGAIN_A_TURN  1024u
#define REFUSALS_MAX  3u
#define ANOTHER_NODES 255u

/* A letter, and how many of its parts are on their way or wait to be sent again. */
struct parcel {
    struct message *message;
    void *letter;
    uint32_t parts;
    bool has_failed;
};

/* What goes to one node under one number. */
struct part {
    TAILQ_ENTRY(part) entry; /* while it waits to be sent again */
    struct parcel *parcel;
    uint64_t number;
    uint32_t away; /* answers to come */
    uint16_t node; /* 0: this one: it is not sent again */
    enum dead_fate worst;
    unsigned refusals;
    uint32_t count;
    uint64_t qids[];
};

TAILQ_HEAD(part_list, part);

struct dead_post {
    struct shard *shard;
    const struct dead_post_ops *ops;
    void *arg;
    struct idmap away; /* struct part by number */
    uint64_t last_number;
    struct part_list again; /* to be looked at with the next round */
    struct part_list round; /* being looked at */
    struct loop_timer timer;
    uint64_t wait_ms;
    bool is_behind;
    const struct meta_queue **queues; /* room for those of one part */
    size_t queues_room;
};

static void on_again(void *arg);

struct dead_post *dead_post_new(struct shard *s, const struct dead_post_ops *ops, void *arg)
{
    struct dead_post *p = mem_zalloc(sizeof *p);
    p->shard = s;
    p->ops = ops;
    p->arg = arg;
    p->wait_ms = AGAIN_MS;
    idmap_init(&p->away);
    TAILQ_INIT(&p->again);
    TAILQ_INIT(&p->round);
    loop_timer_init(&p->timer, s->loop, on_again, p);
    return p;
}

/* ---- ends ---- */

/* The parcel's last part frees it. */
static bool drop_part(struct dead_post *p, struct parcel *parcel)
{
    if (--parcel->parts != 0)
        return false;
    shard_message_drop(p->shard, &parcel->message);
    return true;
}

static void end_part(struct dead_post *p, struct part *part)
{
    struct parcel *parcel = part->parcel;
    mem_free(part);
    if (!drop_part(p, parcel))
        return;
    void *letter = parcel->letter;
    bool ok = !parcel->has_failed;
    mem_free(parcel);
    p->ops->done(p->arg, letter, ok);
}

static void forget_part(struct dead_post *p, struct part *part)
{
    if (drop_part(p, part->parcel))
        mem_free(part->parcel);
    mem_free(part);
}

void dead_post_free(struct dead_post **post)
{
    struct dead_post *p = *post;
    struct part *part;
    *post = NULL;
    while ((part = idmap_first(&p->away)) != NULL) {
        idmap_take(&p->away, part->number);
        forget_part(p, part);
    }
    TAILQ_CONCAT(&p->round, &p->again, entry);
    while ((part = TAILQ_FIRST(&p->round)) != NULL) {
        TAILQ_REMOVE(&p->round, part, entry);
        forget_part(p, part);
    }
    idmap_fini(&p->away);
    loop_timer_fini(&p->timer);
    mem_free(p->queues);
    mem_free(p);
}

/* ---- sending ---- */

static struct part *part_new(struct dead_post *p, struct parcel *parcel, uint16_t node, size_t room)
{
    struct part *part = mem_zalloc(sizeof *part + room * sizeof *part->qids);
    part->parcel = parcel;
    part->node = node;
    part->number = ++p->last_number;
    parcel->parts++;
    return part;
}

/* The one for this node, among those that are being filled. */
static struct part *part_for(struct dead_post *p, struct parcel *parcel, struct part **parts,
                             unsigned *count, uint16_t node, size_t room)
{
    for (unsigned i = 0; i < *count; i++)
        if (parts[i]->node == node)
            return parts[i];
    CHECK(*count < ANOTHER_NODES);
    struct part *part = part_new(p, parcel, node, room);
    idmap_put(&p->away, part->number, part);
    parts[(*count)++] = part;
    return part;
}

/* The answers come later, with other turns. */
static void send(struct dead_post *p, struct parcel *parcel, const struct meta_queue *const *to,
                 size_t count, bool lasting, unsigned refusals)
{
    struct shard *s = p->shard;
    const struct port_channel_ref nobody = { 0 };
    struct part *parts[ANOTHER_NODES];
    struct part *here = lasting ? part_new(p, parcel, 0, 0) : NULL;
    uint64_t number = here != NULL ? here->number : 0;
    unsigned part_count = 0;
    uint32_t away = 0;
    for (size_t i = 0; i < count; i++) {
        struct message *one = message_ref(parcel->message);
        uint16_t node = meta_queue_master(broker_meta(s->broker), to[i]);
        if (node == broker_node(s->broker)) {
            enum port_published done = port_publish(s, to[i], &one, &nobody, number);
            away += done == PORT_LATER || done == PORT_AWAITED;
            continue;
        }
        struct part *part = part_for(p, parcel, parts, &part_count, node, count - i);
        part->refusals = refusals;
        part->qids[part->count++] = to[i]->qid;
        part->away++;
        (void)port_publish(s, to[i], &one, &nobody, part->number); /* PORT_LATER */
    }
    away += port_published(s, &nobody, number);
    if (here == NULL)
        return;
    here->away = away;
    if (away != 0)
        idmap_put(&p->away, number, here);
    else
        end_part(p, here);
}

bool dead_post_send(struct dead_post *p, struct message **m, const struct meta_queue *const *to,
                    size_t count, bool lasting, void *letter)
{
    struct parcel *parcel = mem_zalloc(sizeof *parcel);
    parcel->message = *m;
    parcel->letter = letter;
    parcel->parts = 1; /* until all are sent */
    *m = NULL;
    send(p, parcel, to, count, lasting, 0);
    if (!drop_part(p, parcel))
        return true;
    mem_free(parcel);
    return false;
}

/* ---- answers ---- */

static bool has_home(const struct dead_post *p, const struct part *part)
{
    const struct meta_version *v = broker_meta(p->shard->broker);
    for (uint32_t i = 0; i < part->count; i++) {
        const struct meta_queue *q = meta_queue_get(v, part->qids[i]);
        if (q != NULL && meta_queue_is_served(v, q))
            return true;
    }
    return false;
}

static void send_again_later(struct dead_post *p, struct part *part)
{
    bool is_first = TAILQ_EMPTY(&p->again) && TAILQ_EMPTY(&p->round);
    bool becomes_behind = !p->is_behind && has_home(p, part);
    p->is_behind = p->is_behind || becomes_behind;
    p->wait_ms = AGAIN_MS;
    if (is_first || (becomes_behind && TAILQ_EMPTY(&p->round)))
        loop_timer_start(&p->timer, AGAIN_MS);
    TAILQ_INSERT_TAIL(&p->again, part, entry);
}

void dead_post_on_published(struct dead_post *p, uint64_t number, enum dead_fate fate)
{
    struct part *part = idmap_get(&p->away, number);
    if (part == NULL)
        return;
    part->worst = fate > part->worst ? fate : part->worst;
    if (--part->away != 0)
        return;
    idmap_take(&p->away, number);
    part->refusals += part->worst == DEAD_REFUSED;
    bool is_lost =
        part->worst == DEAD_LOST || (part->worst == DEAD_REFUSED && part->refusals < REFUSALS_MAX);
    part->parcel->has_failed = part->parcel->has_failed || part->worst == DEAD_FAILED;
    if (part->node != 0 && is_lost)
        send_again_later(p, part);
    else
        end_part(p, part);
}

bool dead_post_is_behind(const struct dead_post *p)
{
    return p->is_behind;
}

/* ---- again ---- */

static void make_room(struct dead_post *p, size_t count)
{
    if (count <= p->queues_room)
        return;
    p->queues_room = count;
    p->queues = mem_realloc(p->queues, count * sizeof *p->queues);
}

/* Those whose node is up are sent, from where they are now; those that are gone need none; the
 * others wait on. True: something was sent. */
static bool look_at(struct dead_post *p, struct part *part)
{
    const struct meta_version *v = broker_meta(p->shard->broker);
    uint32_t left = 0;
    size_t count = 0;
    make_room(p, part->count);
    for (uint32_t i = 0; i < part->count; i++) {
        const struct meta_queue *q = meta_queue_get(v, part->qids[i]);
        if (q == NULL)
            log_debug("dead_letter", "-", "a letter's queue went while its node was not reached");
        else if (meta_queue_is_served(v, q))
            p->queues[count++] = q;
        else
            part->qids[left++] = part->qids[i];
    }
    part->count = left;
    part->worst = DEAD_TAKEN;
    if (count != 0)
        send(p, part->parcel, p->queues, count, true, part->refusals);
    if (left != 0)
        TAILQ_INSERT_TAIL(&p->again, part, entry);
    else
        end_part(p, part);
    return count != 0;
}

static void on_again(void *arg)
{
    struct dead_post *p = arg;
    struct part *part;
    bool any = false;
    if (TAILQ_EMPTY(&p->round))
        TAILQ_CONCAT(&p->round, &p->again, entry);
    for (unsigned n = 0; n < AGAIN_A_TURN && (part = TAILQ_FIRST(&p->round)) != NULL; n++) {
        TAILQ_REMOVE(&p->round, part, entry);
        any = look_at(p, part) || any;
    }
    if (any)
        p->wait_ms = AGAIN_MS;
    else if (TAILQ_EMPTY(&p->round) && p->wait_ms < AGAIN_MS_MAX)
        p->wait_ms *= 2;
    if (!TAILQ_EMPTY(&p->round)) {
        loop_timer_start(&p->timer, 0);
        return;
    }
    if (!TAILQ_EMPTY(&p->again))
        loop_timer_start(&p->timer, p->wait_ms);
    p->is_behind = false;
    p->ops->go_on(p->arg);
}
