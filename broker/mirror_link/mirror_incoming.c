/* Sessions of masters: each a source, whose records the core takes when it can. */
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "mirror_link/mirror_streams_inner.h"

static void free_memory(void *ptr)
{
    mem_free(ptr);
}

static void drop_frame(struct mirror_incoming *i)
{
    if (i->has_record)
        mirror_record_fini(&i->record);
    i->has_record = false;
    if (i->block != NULL)
        buf_unref(&i->block);
}

static void take_apart(struct mirror_incoming *i)
{
    struct mirror_streams *s = i->all;
    idmap_take(&s->incoming, i->id);
    drop_frame(i);
    mirror_source_free(&i->core);
    mirror_pen_reset(&i->pen);
    mirror_in_reset(&i->in);
    mirror_streams_end_link(s, i->node, &i->link);
    loop_bury(s->setup.loop, i, free_memory);
}

static void on_lost(struct link *l, enum link_loss why, const struct err *err, void *arg)
{
    struct mirror_incoming *i = arg;
    unsigned left_out;
    (void)l;
    if (log_rate_ok(&i->all->goings, MIRROR_LOG_BURST, MIRROR_LOG_MS, &left_out))
        log_info("mirror", i->all->setup.name,
                 "a master's session is over node=%u shard=%u: %s%s%s", (unsigned)i->node,
                 (unsigned)i->all->setup.index, link_loss_text(why),
                 err != NULL && err->text[0] != '\0' ? ": " : "", err != NULL ? err->text : "");
    mirror_streams_begin(i->all);
    take_apart(i);
}

/* ---- records ----------------------------------------------------------------------------------
 */

static void give_up(struct mirror_incoming *i, const char *why)
{
    unsigned left_out;
    if (log_rate_ok(&i->all->complaints, MIRROR_LOG_BURST, MIRROR_LOG_MS, &left_out))
        log_error("mirror", i->all->setup.name,
                  "the session of a master is given up: %s node=%u shard=%u", why,
                  (unsigned)i->node, (unsigned)i->all->setup.index);
    drop_frame(i);
    i->is_over = true;
    link_give_up(i->link);
}

/* Of the frame at hand: the next record is in `record`, if there is one. */
static enum mirror_next cut(struct mirror_incoming *i)
{
    if (i->has_record)
        return MIRROR_NEXT_RECORD;
    enum mirror_next next = mirror_in_next(&i->in, &i->frame, &i->record);
    i->has_record = next == MIRROR_NEXT_RECORD;
    return next;
}

/* False: the core cannot take the one at hand yet, or the session is given up. */
static bool take_records(struct mirror_incoming *i)
{
    enum mirror_next next;
    while ((next = cut(i)) == MIRROR_NEXT_RECORD) {
        enum mirror_taken taken = mirror_source_take(i->core, &i->record);
        if (taken == MIRROR_TAKEN_LATER)
            return false;
        mirror_record_fini(&i->record);
        i->has_record = false;
        if (taken == MIRROR_TAKEN_BAD) {
            give_up(i, "it said what cannot be");
            return false;
        }
    }
    if (next == MIRROR_NEXT_BAD) {
        give_up(i, "what came is no record");
        return false;
    }
    buf_unref(&i->block);
    return true;
}

static bool is_behind(const struct mirror_incoming *i)
{
    return i->all->setup.ops->is_behind(i->all->setup.arg);
}

/* Nothing more is shown meanwhile, and the sender is slowed down. */
static void pause_unless(struct mirror_incoming *i, bool goes_on)
{
    if (goes_on == !i->is_paused)
        return;
    i->is_paused = !goes_on;
    if (goes_on)
        link_unpause(i->link);
    else
        link_pause(i->link);
}

static void on_frame(struct link *l, const struct link_frame *f, void *arg)
{
    struct mirror_incoming *i = arg;
    (void)l;
    CHECK(i->block == NULL && !i->has_record);
    if (f->type != MIRROR_FRAME_TYPE)
        give_up(i, "what came is no frame of a stream");
    if (i->is_over)
        return;
    mirror_streams_begin(i->all);
    i->block = buf_ref(f->block);
    i->frame = wire_over(f->payload);
    pause_unless(i, take_records(i) && !is_behind(i));
}

static void go_on(struct mirror_incoming *i)
{
    mirror_streams_begin(i->all);
    bool is_done = !i->is_over && (i->block == NULL || take_records(i));
    pause_unless(i, is_done && !is_behind(i));
}

void mirror_incoming_go_on(struct mirror_streams *s)
{
    size_t at = 0;
    for (struct mirror_incoming *i; (i = idmap_next(&s->incoming, &at)) != NULL;) {
        if (i->is_paused)
            go_on(i);
    }
}

struct mirror_out *mirror_streams_back(struct mirror_source *to)
{
    struct mirror_incoming *i = mirror_source_owner(to);
    return mirror_pen_take(&i->pen);
}

uint16_t mirror_streams_source_node(const struct mirror_source *of)
{
    const struct mirror_incoming *i = mirror_source_owner(of);
    return i->node;
}

/* ---- coming -----------------------------------------------------------------------------------
 */

static enum link_refusal judge(const struct link_peer *peer, void *arg)
{
    const struct mirror_streams *s = arg;
    return s->setup.ops->judge(s->setup.arg, peer);
}

static void on_link(struct link *l, const struct link_peer *peer, void *arg)
{
    static const struct link_handlers handlers = { .on_frame = on_frame, .on_lost = on_lost };
    struct mirror_streams *s = arg;
    struct mirror_incoming *i = mem_zalloc(sizeof *i);
    i->all = s;
    i->id = ++s->last_id;
    i->node = peer->id.node;
    i->link = l;
    mirror_pen_init(&i->pen, s, &i->link);
    i->core = mirror_source_new(s->setup.replica, i);
    idmap_put(&s->incoming, i->id, i);
    link_set_owner(l, &handlers, i);
    unsigned left_out;
    if (log_rate_ok(&s->comings, MIRROR_LOG_BURST, MIRROR_LOG_MS, &left_out))
        log_info("mirror", s->setup.name, "a master has come node=%u shard=%u", (unsigned)i->node,
                 (unsigned)s->setup.index);
    if (peer->shard != s->setup.index)
        give_up(i, "it takes this node to have another number of shards");
}

struct link_hall *mirror_streams_open(struct mirror_streams *s)
{
    static const struct link_hall_handlers handlers = { .judge = judge, .on_link = on_link };
    CHECK(s->hall == NULL);
    s->hall = link_hall_new(
        s->setup.loop, s->setup.link_node,
        &(struct link_hall_options){ .class = LINK_MIRROR, .resume_ms = LINK_RESUME_MS }, &handlers,
        s);
    return s->hall;
}

void mirror_incoming_close(struct mirror_streams *s)
{
    for (struct mirror_incoming *i; (i = idmap_first(&s->incoming)) != NULL;)
        take_apart(i);
}
