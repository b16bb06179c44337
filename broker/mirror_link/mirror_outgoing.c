/* Streams to mirrors: dialled, for as long as a queue is mirrored there. */
#include "base/check.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/clock.h"
#include "mirror_link/mirror_streams_inner.h"

#define LOOK_MS 1000u /* between two looks at where a node is that is not reached */

/* ---- the link ---------------------------------------------------------------------------------
 */

/* What comes until its end is not looked at. */
static void give_up(struct mirror_outgoing *o, const char *why)
{
    unsigned left_out;
    o->is_over = true;
    link_give_up(o->link);
    if (!log_rate_ok(&o->complaints, MIRROR_LOG_BURST, MIRROR_LOG_MS, &left_out))
        return;
    log_error("mirror", o->all->setup.name,
              "the session with a mirror is given up: %s node=%u shard=%u there=%u", why,
              (unsigned)o->node, (unsigned)o->all->setup.index, (unsigned)o->shard);
}

static void on_up(struct link *l, void *arg)
{
    struct mirror_outgoing *o = arg;
    mirror_streams_begin(o->all);
    mirror_pen_reset(&o->pen);
    mirror_in_reset(&o->in);
    o->is_up = true;
    o->is_over = false;
    unsigned left_out;
    o->is_told = log_rate_ok(&o->reached, MIRROR_LOG_BURST, MIRROR_LOG_MS, &left_out);
    if (o->is_told)
        log_info("mirror", o->all->setup.name, "a mirror is reached node=%u shard=%u there=%u",
                 (unsigned)o->node, (unsigned)o->all->setup.index, (unsigned)o->shard);
    mirror_stream_up(o->core, link_peer(l)->id.inc, mirror_streams_now(o->all));
}

static void take(struct mirror_outgoing *o, const struct mirror_record *r)
{
    if (r->op == MIRROR_STATE && r->shards != o->shards)
        give_up(o, "it has another number of shards than the cluster was told");
    else if (!mirror_stream_take(o->core, r, mirror_streams_now(o->all)))
        give_up(o, "it said what cannot be");
}

static void on_frame(struct link *l, const struct link_frame *f, void *arg)
{
    struct mirror_outgoing *o = arg;
    struct wire w = wire_over(f->payload);
    struct mirror_record r;
    enum mirror_next next = f->type == MIRROR_FRAME_TYPE ? MIRROR_NEXT_RECORD : MIRROR_NEXT_BAD;
    (void)l;
    mirror_streams_begin(o->all);
    mirror_master_clock(o->all->setup.master, clock_mono_us());
    while (next == MIRROR_NEXT_RECORD && !o->is_over) {
        next = mirror_in_next(&o->in, &w, &r);
        if (next != MIRROR_NEXT_RECORD)
            break;
        take(o, &r);
        mirror_record_fini(&r);
    }
    if (next == MIRROR_NEXT_BAD && !o->is_over)
        give_up(o, "what came is no record");
}

static void on_lost(struct link *l, enum link_loss why, const struct err *err, void *arg)
{
    struct mirror_outgoing *o = arg;
    (void)l;
    mirror_pen_reset(&o->pen);
    mirror_in_reset(&o->in);
    if (!o->is_up)
        return;
    o->is_up = false;
    if (o->is_told)
        log_warn("mirror", o->all->setup.name,
                 "a mirror is not reached any more node=%u shard=%u there=%u: %s%s%s",
                 (unsigned)o->node, (unsigned)o->all->setup.index, (unsigned)o->shard,
                 link_loss_text(why), err != NULL && err->text[0] != '\0' ? ": " : "",
                 err != NULL ? err->text : "");
    mirror_streams_begin(o->all);
    mirror_stream_down(o->core, mirror_streams_now(o->all));
}

/* Where it is may not be known yet, or be different now. */
static void look(struct mirror_outgoing *o, uint64_t now_ms)
{
    static const struct link_handlers handlers = { .on_up = on_up,
                                                   .on_frame = on_frame,
                                                   .on_lost = on_lost };
    struct mirror_streams *s = o->all;
    struct mirror_place at;
    o->looked_ms = now_ms;
    if (!s->setup.ops->find(s->setup.arg, o->node, &at) || at.shards != o->shards)
        return; /* see rehome */
    if (o->link != NULL) {
        link_set_place(o->link, at.host, at.port);
        return;
    }
    o->link = link_dial(s->setup.loop, s->setup.link_node,
                        &(struct link_options){ .class = LINK_MIRROR,
                                                .shard = o->shard,
                                                .host = at.host,
                                                .port = at.port,
                                                .name = at.name,
                                                .node = o->node,
                                                .resume_ms = LINK_RESUME_MS,
                                                .window_bytes = MIRROR_LINK_BYTES },
                        &handlers, o);
}

/* ---- streams ----------------------------------------------------------------------------------
 */

static struct mirror_outgoing *make(struct mirror_streams *s, uint16_t node, uint16_t shards,
                                    uint16_t shard)
{
    struct mirror_outgoing *o = mem_zalloc(sizeof *o);
    uint64_t now_ms = mirror_streams_now(s);
    o->all = s;
    o->node = node;
    o->shards = shards;
    o->shard = shard;
    o->used_ms = now_ms;
    mirror_pen_init(&o->pen, s, &o->link);
    o->core = mirror_stream_new(s->setup.master, node, o, now_ms);
    idmap_put(&s->outgoing, mirror_outgoing_key(node, shards, shard), o);
    look(o, now_ms);
    mirror_streams_watch(s);
    return o;
}

/* Before the node is known to hold mirrors at all, its streams have a name, and nobody dials. */
struct mirror_stream *mirror_streams_get(struct mirror_streams *s, uint16_t node, uint64_t qid)
{
    struct mirror_place at;
    uint16_t shards = s->setup.ops->find(s->setup.arg, node, &at) ? at.shards : 0;
    uint16_t shard = 0;
    if (shards != 0)
        shard = (uint16_t)(hash_u64(qid) % shards);
    struct mirror_outgoing *o = idmap_get(&s->outgoing, mirror_outgoing_key(node, shards, shard));
    return (o != NULL ? o : make(s, node, shards, shard))->core;
}

struct mirror_out *mirror_streams_out(struct mirror_stream *to)
{
    struct mirror_outgoing *o = mirror_stream_owner(to);
    return mirror_pen_take(&o->pen);
}

struct mirror_out *mirror_streams_out_late(struct mirror_stream *to)
{
    struct mirror_outgoing *o = mirror_stream_owner(to);
    return mirror_pen_take_late(&o->pen);
}

static void end(struct mirror_outgoing *o)
{
    struct mirror_streams *s = o->all;
    idmap_take(&s->outgoing, mirror_outgoing_key(o->node, o->shards, o->shard));
    if (o->is_up)
        mirror_stream_down(o->core, mirror_streams_now(s));
    mirror_pen_reset(&o->pen);
    mirror_in_reset(&o->in);
    if (o->link != NULL)
        mirror_streams_end_link(s, o->node, &o->link);
    mirror_stream_free(&o->core);
    mem_free(o);
}

/* At most one: nothing may be taken out of the table while it is walked through. */
static struct mirror_outgoing *idle_one(struct mirror_streams *s, uint64_t now_ms)
{
    struct mirror_outgoing *idle = NULL;
    size_t at = 0;
    for (struct mirror_outgoing *o; (o = idmap_next(&s->outgoing, &at)) != NULL;) {
        if (mirror_stream_is_used(o->core))
            o->used_ms = now_ms;
        else if (now_ms - o->used_ms >= s->setup.idle_ms)
            idle = o;
    }
    return idle;
}

/* Its queues live on other shards of the node than was known when it was made. */
static bool has_strayed(const struct mirror_outgoing *o)
{
    struct mirror_place at;
    return !o->is_up && mirror_stream_is_used(o->core) &&
           o->all->setup.ops->find(o->all->setup.arg, o->node, &at) && at.shards != o->shards;
}

/* This makes others: they are gathered before. */
static void rehome(struct mirror_streams *s)
{
    struct mirror_outgoing **list = NULL;
    size_t count = 0, at = 0;
    for (struct mirror_outgoing *o; (o = idmap_next(&s->outgoing, &at)) != NULL;) {
        if (!has_strayed(o))
            continue;
        list = mem_realloc(list, (count + 1) * sizeof(struct mirror_outgoing *));
        list[count++] = o;
    }
    for (size_t i = 0; i < count; i++)
        mirror_stream_rehome(list[i]->core);
    mem_free(list);
}

void mirror_outgoing_tick(struct mirror_streams *s, uint64_t now_ms)
{
    size_t at = 0;
    struct mirror_outgoing *idle = idle_one(s, now_ms);
    if (idle != NULL)
        end(idle);
    rehome(s);
    for (struct mirror_outgoing *o; (o = idmap_next(&s->outgoing, &at)) != NULL;) {
        bool stands = o->link != NULL && link_is_connected(o->link);
        if (!stands && now_ms - o->looked_ms >= LOOK_MS)
            look(o, now_ms);
    }
}

/* Its owner frees the cores: queues that are mirrored there may be left. */
void mirror_outgoing_close(struct mirror_streams *s)
{
    size_t at = 0;
    for (struct mirror_outgoing *o; (o = idmap_next(&s->outgoing, &at)) != NULL;) {
        if (o->is_up)
            mirror_stream_down(o->core, mirror_streams_now(s));
        o->is_up = false;
        mirror_pen_reset(&o->pen);
        mirror_in_reset(&o->in);
        if (o->link != NULL)
            mirror_streams_end_link(s, o->node, &o->link);
    }
}
