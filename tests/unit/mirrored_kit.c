#include "mirrored_kit.h"

#include "base/check.h"
#include "base/mem.h"
#include "effects.h"
#include "io/clock.h"
#include "io_kit.h"

#include <stdlib.h>

#define WAIT_MS 200000u /* a guard: the machine may have other things to do */
#define CHUNK   512u

/* ---- the other nodes hear ---- */

static void keep(void *arg, struct mirror_source *to, const struct mirror_record *r)
{
    struct shard *s = arg;
    struct house *h = mirror_source_owner(to);
    CHECK(s == h->s);
    if (r->op == MIRROR_ACK) {
        h->received = r->from;
        h->durable = r->to;
        return;
    }
    cr_assert(lt(uint, h->said_count, HOUSE_SAID_MAX));
    h->said[h->said_count] = *r;
    for (uint32_t i = 0; r->op == MIRROR_OFFER && i < r->run_count && i < 8; i++)
        h->runs[h->said_count][i] = r->runs[i];
    h->said_count++;
}

static struct mirror_replica_ops ops_of_test(void)
{
    struct mirror_replica_ops ops = mirrored_copy_ops;
    ops.say = keep;
    return ops;
}

/* ---- it comes and goes ---- */

static void open_node(struct house *h)
{
    static struct mirror_replica_ops ops;
    struct err err = { 0 };
    char cookie[160], data[160], threads[] = "WARREN_NODE_THREADS=1",
                                 segments[] = "WARREN_STORE_SEGMENT_SIZE=1M";
    snprintf(cookie, sizeof cookie, "WARREN_CLUSTER_COOKIE_FILE=%s/cookie", h->folder);
    snprintf(data, sizeof data, "%s/data", h->folder);
    char *env[] = { cookie, threads, segments, NULL };
    struct broker_conf *conf = broker_conf_load(
        &(struct broker_conf_args){ .name = "n2@localhost", .data_dir = data, .env = env }, &err);
    cr_assert(conf != NULL, "%s", err.text);
    h->b = broker_new(&conf, NULL, NULL, &err);
    cr_assert(h->b != NULL, "%s", err.text);
    h->s = broker_shard(h->b, 0);
    broker_set_node(h->b, HOUSE_NODE);
    meta_set_node(h->b->meta, HOUSE_NODE);
    ops = ops_of_test();
    h->r = mirror_replica_new(&ops, h->s, 1);
    h->own = h->s->mirrored->r;
    h->s->mirrored->r = h->r;
    h->w = (struct world){ .meta = h->b->meta, .conn = id_make(1, 0, 1) };
    meta_result_init(&h->w.r);
    h->received = h->durable = h->pos = 0;
    h->said_count = 0;
}

static void first_of_all(struct house *h)
{
    must(&h->w, (struct meta_cmd){ .op = META_VHOST_ADD, .name = S("/") });
    h->w.vhost = h->w.r.id;
    mirroring_nodes(&h->w, 3);
    must(&h->w, policy_put("ha", "^m", "{\"ha-mode\":\"all\"}", 0));
}

void house_start(struct house *h, house_history_fn decide)
{
    house_start_amid(h, decide, NULL);
}

void house_start_amid(struct house *h, house_history_fn decide, house_history_fn meanwhile)
{
    struct err err = { 0 };
    open_node(h);
    first_of_all(h);
    if (decide != NULL)
        decide(h);
    effects_of_start(h->b, meta_current(h->b->meta));
    cr_assert(storage_read(h->b->storage, meta_current(h->b->meta), &err), "%s", err.text);
    if (meanwhile != NULL)
        meanwhile(h);
    cr_assert(storage_recover(h->b->storage, &err), "%s", err.text);
    cr_assert(storage_start(h->b->storage, &err), "%s", err.text);
    storage_hand_out(h->b->storage);
    house_session(h);
}

void house_init(struct house *h)
{
    *h = (struct house){ 0 };
    snprintf(h->folder, sizeof h->folder, "/tmp/warren-mirrored-XXXXXX");
    cr_assert(mkdtemp(h->folder) != NULL);
    house_start(h, NULL);
}

void house_stop(struct house *h)
{
    while (loop_settle(h->s->loop))
        ;
    if (h->source != NULL)
        mirror_source_free(&h->source);
    storage_stop(h->b->storage);
    meta_result_fini(&h->w.r);
    struct shard *s = h->s;
    struct hosted *q;
    size_t at = 0;
    /* Its copies are those of the test's core, which goes first. */
    while ((q = idmap_next(&s->queues, &at)) != NULL) {
        if (q->mirrored != NULL && q->mirrored->copy != NULL) {
            mirror_history_fini(&q->mirrored->history);
            mirror_replica_end(h->r, &q->mirrored->copy, &q->mirrored->history);
            q->mirrored->state = MIRRORED_STILL;
        }
    }
    s->mirrored->r = h->own;
    mirror_replica_free(&h->r);
    broker_free(&h->b);
}

void house_fini(struct house *h)
{
    char rm[100];
    house_stop(h);
    snprintf(rm, sizeof rm, "rm -rf %s", h->folder);
    cr_expect(eq(int, system(rm), 0));
}

/* ---- what is decided ---- */

static void look_at_all(struct house *h)
{
    const struct meta_version *v = now(&h->w);
    struct pmap_iter it;
    pmap_iter(&it, &v->queues);
    for (const struct meta_queue *q; (q = pmap_next(&it)) != NULL;)
        mirrored_reconcile(h->s, q);
}

void house_show(struct house *h, struct meta_cmd cmd)
{
    struct world *w = &h->w;
    cmd.vhost_id = w->vhost;
    cmd.conn = w->conn;
    cr_assert(eq(int, meta_apply(w->meta, &cmd, &w->r), META_DONE), "%s", w->r.refusal.text);
    effects_before_publication(h->b, w->r.effects, w->r.effect_count);
    meta_publish(w->meta);
    effects_after_publication(h->b, w->r.effects, w->r.effect_count);
}

void house_decide(struct house *h, struct meta_cmd cmd)
{
    house_show(h, cmd);
    while (loop_settle(h->s->loop))
        ;
    look_at_all(h);
}

struct meta_cmd move_to(const struct world *w, unsigned node)
{
    static uint8_t room[META_MOVE_ITEM_BYTES];
    struct wire_out out = wire_out_over(room, sizeof room);
    meta_move_item_put(&out, &(struct meta_move_item){ queue_now(w, "m")->qid,
                                                       placement(w, "m").epoch, (uint16_t)node });
    struct meta_cmd c = { .op = META_MASTER_MOVE };
    c.master_move.items = wire_out_slice(&out);
    return c;
}

void house_up(struct house *h)
{
    struct meta_cmd up = mirroring_up(HOUSE_NODE, store_incarnation(h->s->store));
    house_decide(h, up);
}

struct hosted *house_queue(const struct house *h, const char *name)
{
    const struct meta_queue *q = queue_now(&h->w, name);
    return q != NULL ? idmap_get(&h->s->queues, q->qid) : NULL;
}

void house_turn(struct house *h)
{
    mirror_replica_flush(h->r);
    (void)loop_settle(h->s->loop);
    (void)loop_settle(h->b->loop);
}

uint64_t house_deadline(void)
{
    return clock_mono_ms() + WAIT_MS;
}

/* ---- what a master says ---- */

void house_session(struct house *h)
{
    if (h->source != NULL)
        mirror_source_free(&h->source);
    h->source = mirror_source_new(h->r, h);
    h->said_count = 0;
    h->pos = h->received = h->durable = 0;
}

enum mirror_taken house_say(struct house *h, struct mirror_record *r)
{
    r->pos = h->pos + 1;
    enum mirror_taken taken = mirror_source_take(h->source, r);
    if (taken == MIRROR_TAKEN)
        h->pos++;
    return taken;
}

static void say_until_taken(struct house *h, struct mirror_record *r)
{
    HOUSE_UNTIL(h, house_say(h, r) == MIRROR_TAKEN);
}

void house_join(struct house *h, const char *name, uint64_t next, unsigned epochs,
                const uint64_t (*history)[2])
{
    struct meta_placement p = placement(&h->w, name);
    struct mirror_history master = { 0 };
    struct mirror_starts starts = { 0 };
    for (unsigned i = 0; i < epochs; i++) {
        struct mirror_starts from = { 0 };
        mirror_starts_raise(&from, history[i][1]);
        mirror_history_begin(&master, history[i][0], &from);
        mirror_starts_fini(&from);
    }
    if (mirror_history_epoch(&master) != p.epoch)
        mirror_history_begin(&master, p.epoch, &starts);
    if (next != 0)
        mirror_starts_raise(&starts, next);
    say_until_taken(h, &(struct mirror_record){ .op = MIRROR_JOIN,
                                                .flags = MIRROR_DURABLE,
                                                .qid = queue_now(&h->w, name)->qid,
                                                .epoch = p.epoch,
                                                .starts = &starts,
                                                .history = &master,
                                                .producers = &h->producers });
    mirror_history_fini(&master);
    mirror_starts_fini(&starts);
}

static enum mirror_taken say_data(struct house *h, const uint8_t *record, size_t bytes,
                                  unsigned count)
{
    struct mirror_record r = { .op = MIRROR_DATA };
    r.data.type = (uint8_t)record_type(record);
    r.data.flags = record[9]; /* see record.h */
    r.data.count = (uint16_t)count;
    r.data.payload = slice_of(record + RECORD_HEAD_BYTES, bytes - RECORD_HEAD_BYTES);
    return house_say(h, &r);
}

enum mirror_taken house_message(struct house *h, const char *name, uint64_t position, uint64_t pid,
                                uint64_t seq, struct slice body, bool lasts)
{
    static const uint8_t lasting_props[] = { 0x10, 0, 2 }, no_props[] = { 0, 0 };
    struct slice props =
        lasts ? slice_of(lasting_props, sizeof lasting_props) : slice_of(no_props, sizeof no_props);
    static const uint8_t names[] = { 0, 1, 'm' };
    struct msg_target t = { .qid = queue_now(&h->w, name)->qid, .qseq = position };
    struct msg_producer who = { pid, seq };
    uint8_t *room = mem_alloc(RECORD_MSG_ROOM(1) + sizeof names + props.len + body.len);
    size_t bytes = record_put_msg_of(room, 0, pid != 0 ? &who : NULL, &t, 1, sizeof names,
                                     props.len, body.len);
    memcpy(room + bytes, names, sizeof names);
    memcpy(room + bytes + sizeof names, props.ptr, props.len);
    if (body.len != 0)
        memcpy(room + bytes + sizeof names + props.len, body.ptr, body.len);
    enum mirror_taken taken = say_data(h, room, bytes + sizeof names + props.len + body.len, 1);
    mem_free(room);
    return taken;
}

enum mirror_taken house_settle(struct house *h, const char *name, uint64_t first, uint64_t last,
                               uint64_t mark)
{
    struct settle_range range = { first, last };
    uint8_t room[RECORD_SETTLE_ROOM(1, 1)];
    size_t bytes = record_put_settle(room, 0, queue_now(&h->w, name)->qid, &range, 1, &mark,
                                     mark != 0 ? 1 : 0);
    return say_data(h, room, bytes, 1);
}

void house_done(struct house *h, const char *name, uint64_t pid, uint64_t seq)
{
    struct producers p = { 0 };
    if (pid != 0)
        producers_saw(&p, pid, seq);
    say_until_taken(h, &(struct mirror_record){ .op = MIRROR_DONE,
                                                .qid = queue_now(&h->w, name)->qid,
                                                .producers = &p });
    producers_fini(&p);
}

void house_until_durable(struct house *h)
{
    HOUSE_UNTIL(h, h->durable == h->pos);
}

const char *house_held(struct house *h, const char *name)
{
    static char room[400];
    struct text t = text_over(room, sizeof room);
    struct hosted *q = house_queue(h, name);
    struct qwant want;
    uint64_t first, last;
    room[0] = 0;
    for (uint64_t at = 0;; at = last + 1) {
        enum qcopy live;
        HOUSE_UNTIL(h, (live = queue_live(&q->queue, at, &first, &last, &want)) != QCOPY_LATER ||
                           (mirrored_want(q, &want), false));
        if (live == QCOPY_NOTHING)
            return room;
        text_put(&t, "%s%llu-%llu", at != 0 ? " " : "", (unsigned long long)first,
                 (unsigned long long)last);
    }
}

size_t house_alive(const struct house *h)
{
    size_t count = 0;
    struct segs *segs = store_segs(h->s->store);
    for (uint32_t n = 0; (n = segs_next(segs, n)) != 0;)
        count += (size_t)segs_get(segs, n)->alive_count;
    return count;
}
