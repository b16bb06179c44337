#include "leg_consumers.h"

#include "amqp/amqp_table.h"
#include "base/check.h"
#include "base/mem.h"

#include <string.h>

void leg_consumers_init(struct leg_consumers *l)
{
    *l = (struct leg_consumers){ 0 };
}

static void free_consumer(struct leg_consumer *c)
{
    mem_free(c->kept);
    mem_free(c);
}

void leg_consumers_fini(struct leg_consumers *l)
{
    while (l->first != NULL) {
        struct leg_consumer *c = l->first;
        l->first = c->next;
        free_consumer(c);
    }
}

struct leg_consumer *leg_consumers_find(const struct leg_consumers *l, struct slice tag)
{
    struct leg_consumer *c = l->first;
    while (c != NULL && !(c->is_named && slice_eq(leg_consumer_tag(c), tag)))
        c = c->next;
    return c;
}

struct leg_consumer *leg_consumers_seek(struct leg_consumers *l, struct slice tag)
{
    struct leg_consumer *c = l->recent;
    if (c == NULL || !c->is_named || !slice_eq(leg_consumer_tag(c), tag))
        l->recent = leg_consumers_find(l, tag);
    return l->recent;
}

static void name(struct leg_consumer *c, struct slice tag)
{
    CHECK(tag.len <= sizeof c->tag);
    c->is_named = true;
    c->tag_len = (uint8_t)tag.len;
    memcpy(c->tag, tag.ptr, tag.len);
}

/* A queue without a name is the last one that was declared on the channel: a new leg knows of
 * none. And the offset that a stream is read from is where the consumer was at first: said again,
 * it would bring what it has had already. */
static void keep(struct leg_consumer *c, const struct amqp_basic_consume *q)
{
    struct amqp_field offset;
    size_t len = q->queue.len + q->arguments.len;
    if (q->queue.len == 0 || len > LEG_CONSUMERS_KEPT_MAX ||
        amqp_table_find(q->arguments, "x-stream-offset", &offset))
        return;
    c->kept = mem_alloc(len);
    c->queue_len = (uint8_t)q->queue.len;
    c->arguments_len = (uint16_t)q->arguments.len;
    memcpy(c->kept, q->queue.ptr, q->queue.len);
    if (q->arguments.len != 0)
        memcpy(c->kept + q->queue.len, q->arguments.ptr, q->arguments.len);
}

struct leg_consumer *leg_consumers_add(struct leg_consumers *l, unsigned leg,
                                       const struct amqp_basic_consume *q, uint16_t prefetch)
{
    CHECK(leg < LEG_MAP_LEGS_MAX);
    struct leg_consumer **end = &l->first;
    while (*end != NULL)
        end = &(*end)->next;
    struct leg_consumer *c = mem_zalloc(sizeof *c);
    c->leg = (uint8_t)leg;
    c->no_ack = q->no_ack;
    c->no_local = q->no_local;
    c->exclusive = q->exclusive;
    c->prefetch = c->given = prefetch;
    if (q->consumer_tag.len != 0)
        name(c, q->consumer_tag);
    keep(c, q);
    *end = c;
    l->at[leg]++;
    l->count++;
    l->had_ack |= !q->no_ack;
    l->had_no_ack |= q->no_ack;
    return c;
}

/* The count that it is in. */
static unsigned *count_of(struct leg_consumers *l, const struct leg_consumer *c)
{
    return c->leg == LEG_CONSUMERS_ASTRAY ? &l->astray : &l->at[c->leg];
}

void leg_consumers_drop(struct leg_consumers *l, struct leg_consumer *c)
{
    if (c == NULL)
        return;
    struct leg_consumer **at = &l->first;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    if (l->recent == c)
        l->recent = NULL;
    (*count_of(l, c))--;
    l->count--;
    free_consumer(c);
}

void leg_consumers_learn_name(struct leg_consumers *l, unsigned leg, struct slice tag)
{
    if (leg_consumers_find(l, tag) != NULL)
        return;
    for (struct leg_consumer *c = l->first; c != NULL; c = c->next) {
        if (!c->is_named && c->leg == leg) {
            name(c, tag);
            return;
        }
    }
}

bool leg_consumers_can_leave(const struct leg_consumers *l, unsigned leg)
{
    for (const struct leg_consumer *c = l->first; c != NULL; c = c->next) {
        if (c->leg == leg && (c->kept == NULL || !c->is_named))
            return false;
    }
    return true;
}

static void move(struct leg_consumers *l, struct leg_consumer *c, unsigned to)
{
    (*count_of(l, c))--;
    c->leg = (uint8_t)to;
    (*count_of(l, c))++;
}

void leg_consumers_leave_one(struct leg_consumers *l, struct leg_consumer *c)
{
    CHECK(c->kept != NULL && c->is_named && c->leg != LEG_CONSUMERS_ASTRAY);
    c->is_told = c->is_going = false;
    move(l, c, LEG_CONSUMERS_ASTRAY);
}

void leg_consumers_leave(struct leg_consumers *l, unsigned leg)
{
    CHECK(leg_consumers_can_leave(l, leg));
    for (struct leg_consumer *c = l->first; c != NULL; c = c->next) {
        if (c->leg != leg)
            continue;
        leg_consumers_leave_one(l, c);
        c->is_bereft = true;
    }
}

void leg_consumers_rename_leg(struct leg_consumers *l, unsigned from, unsigned to)
{
    CHECK(from < LEG_MAP_LEGS_MAX && to < LEG_MAP_LEGS_MAX && l->at[to] == 0);
    for (struct leg_consumer *c = l->first; c != NULL; c = c->next) {
        if (c->leg == from)
            move(l, c, to);
    }
}

void leg_consumers_settle(struct leg_consumers *l, struct leg_consumer *c, unsigned leg)
{
    CHECK(c->leg == LEG_CONSUMERS_ASTRAY && leg < LEG_MAP_LEGS_MAX);
    move(l, c, leg);
    c->is_told = true;
    c->is_bereft = false;
}

struct amqp_basic_consume leg_consumer_method(const struct leg_consumer *c)
{
    CHECK(c->kept != NULL && c->is_named);
    return (struct amqp_basic_consume){
        .queue = leg_consumer_queue(c),
        .consumer_tag = leg_consumer_tag(c),
        .no_local = c->no_local,
        .no_ack = c->no_ack,
        .exclusive = c->exclusive,
        .arguments = slice_of(c->kept + c->queue_len, c->arguments_len),
    };
}

void leg_consumers_check(const struct leg_consumers *l)
{
    unsigned at[LEG_CONSUMERS_ASTRAY + 1] = { 0 };
    unsigned count = 0;
    for (const struct leg_consumer *c = l->first; c != NULL; c = c->next) {
        CHECK(c->leg <= LEG_CONSUMERS_ASTRAY);
        CHECK(!c->is_bereft || c->leg == LEG_CONSUMERS_ASTRAY);
        CHECK(c->leg != LEG_CONSUMERS_ASTRAY ||
              (c->kept != NULL && c->is_named && !c->is_told && !c->is_going));
        at[c->leg]++;
        count++;
    }
    CHECK(count == l->count && at[LEG_CONSUMERS_ASTRAY] == l->astray);
    for (unsigned i = 0; i < LEG_MAP_LEGS_MAX; i++)
        CHECK(at[i] == l->at[i]);
}
