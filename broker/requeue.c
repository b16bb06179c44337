#include "requeue.h"

#include "amqp/amqp_props.h"
#include "amqp/amqp_table.h"
#include "base/check.h"
#include "base/mem.h"
#include "broker.h"
#include "remote/remote_carry.h"
#include "shard.h"

#include <string.h>

#define FIRST_NUMBER (UINT64_C(1) << 63)
#define BY           "x-quarantined-by"
#define AT           "x-quarantined-at"
/* Both with their types and lengths. */
#define HEADERS_ROOM (2 + sizeof BY + sizeof AT + 4 + META_NAME_MAX + 8)

/* Of a shard: shard.requeues. */
struct requeues {
    struct idmap away; /* struct requeue_one by number */
    uint64_t last_number;
    bool is_over; /* nothing is published any more */
};

/* ---- what says so -----------------------------------------------------------------------------
 */

static void put_name(struct wire_out *w, const char *name, uint8_t type)
{
    wire_put_shortstr(w, slice_str(name));
    wire_put_u8(w, type);
}

/* Behind the headers that it has. One that was in quarantine before says of which. */
static uint8_t *add_headers(struct amqp_props *p, const struct quarantine_message *m,
                            struct slice node)
{
    struct amqp_field f;
    struct slice had = amqp_props_has(p, AMQP_PROP_headers) ? p->headers : slice_of(NULL, 0);
    if (amqp_table_find(had, BY, &f))
        return NULL;
    uint8_t *room = mem_alloc(had.len + HEADERS_ROOM);
    struct wire_out w = wire_out_over(room, had.len + HEADERS_ROOM);
    wire_put_bytes(&w, had);
    put_name(&w, BY, AMQP_FIELD_LONGSTR);
    wire_put_longstr(&w, slice_head(node, META_NAME_MAX));
    put_name(&w, AT, AMQP_FIELD_TIMESTAMP);
    wire_put_u64(&w, m->when_ms / 1000);
    CHECK(!w.overflow);
    p->headers = wire_out_slice(&w);
    p->flags |= AMQP_PROP_headers;
    return room;
}

/* What cannot be read stays as it is. */
struct message *requeue_message(const struct quarantine_message *m, struct slice node)
{
    struct amqp_props p;
    if (!amqp_props_decode(m->props, &p))
        return message_new(m->exchange, m->key, m->props, m->body, m->persistent);
    uint8_t *headers = add_headers(&p, m, node);
    size_t room = m->props.len + p.headers.len + 64;
    uint8_t *props = mem_alloc(room);
    struct wire_out w = wire_out_over(props, room);
    amqp_props_encode(&w, &p);
    CHECK(!w.overflow);
    struct message *out =
        message_new(m->exchange, m->key, wire_out_slice(&w), m->body, m->persistent);
    mem_free(props);
    mem_free(headers);
    return out;
}

/* ---- there and back ---------------------------------------------------------------------------
 */

static void on_back(struct mail *mail)
{
    struct requeue *r = CONTAINER_OF(mail, struct requeue, mail);
    r->done(r);
}

static void give_back(struct requeue *r)
{
    r->mail.fn = on_back;
    mailbox_post(r->reply_to, &r->mail);
}

static void answered(struct requeue *r)
{
    if (--r->left == 0)
        give_back(r);
}

/* A queue that has gone needs nothing, and says so: but these are not dropped for that. */
void requeue_on_published(struct shard *s, uint64_t number, enum dead_fate fate)
{
    struct requeue_one *one = s->requeues != NULL ? idmap_take(&s->requeues->away, number) : NULL;
    if (one == NULL)
        return;
    one->is_taken =
        fate == DEAD_TAKEN && meta_queue_get(broker_meta(s->broker), one->of->qid) != NULL;
    answered(one->of);
}

static struct requeues *need(struct shard *s)
{
    if (s->requeues != NULL)
        return s->requeues;
    s->requeues = mem_zalloc(sizeof *s->requeues);
    s->requeues->last_number = FIRST_NUMBER;
    idmap_init(&s->requeues->away);
    return s->requeues;
}

/* One answer more is counted than there are messages, until all are published. */
static void on_shard(struct mail *mail)
{
    struct requeue *r = CONTAINER_OF(mail, struct requeue, mail);
    struct shard *s = r->shard;
    struct requeues *all = need(s);
    r->left = r->count + 1;
    for (unsigned i = 0; i < r->count; i++) {
        const struct meta_queue *q = meta_queue_get(broker_meta(s->broker), r->qid);
        struct requeue_one *one = &r->items[i];
        if (q == NULL || all->is_over) {
            answered(r);
            continue;
        }
        one->of = r;
        one->number = ++all->last_number;
        idmap_put(&all->away, one->number, one);
        shard_message_made(s, one->message);
        remote_carry_requeue(s, q, &one->message, one->number, &one->as);
    }
    answered(r);
}

void requeue_send(struct requeue *r)
{
    CHECK(r->count != 0 && r->count <= REQUEUE_MAX);
    r->mail.fn = on_shard;
    mailbox_post(r->shard->loop, &r->mail);
}

void requeue_free(struct requeue **requeue)
{
    struct requeue *r = *requeue;
    *requeue = NULL;
    if (r == NULL)
        return;
    for (unsigned i = 0; i < r->count; i++)
        if (r->items[i].message != NULL)
            message_unref(&r->items[i].message);
    mem_free(r);
}

void requeues_end(struct shard *s)
{
    struct requeues *all = need(s);
    all->is_over = true;
    for (struct requeue_one *one; (one = idmap_first(&all->away)) != NULL;) {
        (void)idmap_take(&all->away, one->number);
        answered(one->of);
    }
}

void requeues_free(struct shard *s)
{
    struct requeues *all = s->requeues;
    s->requeues = NULL;
    if (all == NULL)
        return;
    CHECK(all->away.count == 0);
    idmap_fini(&all->away);
    mem_free(all);
}
