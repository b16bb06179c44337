#include "amqp/amqp_table.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "cluster/meta_cohort.h"

#include <stdlib.h>

#define MANY_LEAST 64u /* queues of a vhost; and then at least one of so many of all */
#define MANY_SHARE 8u

/* ---- checks ---- */

static bool locked(const struct meta_vhost *vh, struct slice name, struct meta_refusal *why)
{
    struct text t = meta_refuse(why, AMQP_RESOURCE_LOCKED);
    text_str(&t, "cannot obtain exclusive access to locked ");
    meta_put_thing(&t, "queue", name, vh);
    text_str(&t, ". It could be originally declared on another connection or the exclusive "
                 "property value does not match that of the original declaration.");
    return false;
}

bool meta_queue_is_open_to(const struct meta_version *v, const struct meta_queue *q, uint64_t conn,
                           struct meta_refusal *why)
{
    if (q->owner == 0 || q->owner == conn)
        return true;
    return locked(meta_vhost_get(v, q->vhost_id), meta_queue_name(q), why);
}

/* An exclusive queue does not outlive its connection, so it is never durable, whatever was said. */
static bool declared_durable(const struct meta_cmd *cmd)
{
    return cmd->queue_declare.durable && !cmd->queue_declare.exclusive;
}

static uint64_t declared_owner(const struct meta_cmd *cmd)
{
    return cmd->queue_declare.exclusive ? cmd->conn : 0;
}

static bool is_same(const struct meta_vhost *vh, const struct meta_queue *q,
                    const struct meta_cmd *cmd, struct meta_refusal *why)
{
    if (q->owner != declared_owner(cmd))
        return locked(vh, cmd->name, why);
    return meta_same_bool("durable", "queue", cmd->name, vh, declared_durable(cmd), q->durable,
                          why) &&
           meta_same_bool("auto_delete", "queue", cmd->name, vh, cmd->queue_declare.auto_delete,
                          q->auto_delete, why) &&
           meta_queue_args_same(vh, q, cmd->queue_declare.args, why);
}

static bool name_is_free_to_use(const struct meta_cmd *cmd, struct meta_refusal *why)
{
    if (cmd->queue_declare.server_named || !slice_starts(cmd->name, "amq."))
        return true;
    struct text t = meta_refuse(why, AMQP_ACCESS_REFUSED);
    text_str(&t, "queue name '");
    text_slice(&t, cmd->name);
    text_str(&t, "' contains reserved prefix 'amq.*'");
    return false;
}

static bool vhost_has_room(const struct meta_vhost *vh, const struct meta_cmd *cmd,
                           struct meta_refusal *why)
{
    if (LIKELY(vh->max_queues < 0 || vh->queues.count < (uint64_t)vh->max_queues))
        return true;
    struct text t = meta_refuse(why, AMQP_PRECONDITION_FAILED);
    text_str(&t, "cannot declare queue '");
    text_slice(&t, cmd->name);
    text_str(&t, "': queue limit in vhost '");
    text_slice(&t, meta_vhost_name(vh));
    text_put(&t, "' (%lld) is reached", (long long)vh->max_queues);
    return false;
}

/* ---- a vhost's default type ---- */

#define TYPE_ARG "x-queue-type"

/* A declaration without a type, in a vhost that has one for those, has this type if it can: see
 * typed_init. `cmd` is the declaration as it then is. */
struct typed {
    const struct meta_cmd *cmd;
    struct meta_cmd changed;
    uint8_t *args; /* of `changed`, or NULL */
};

static bool takes_default_type(const struct meta_vhost *vh, const struct meta_cmd *cmd)
{
    struct amqp_field f;
    if (vh->default_queue_type.len == 0 || amqp_table_find(cmd->queue_declare.args, TYPE_ARG, &f))
        return false;
    return slice_is(vh->default_queue_type, "classic") ||
           (cmd->queue_declare.durable && !cmd->queue_declare.exclusive &&
            !cmd->queue_declare.auto_delete);
}

/* Needs typed_fini. */
static void typed_init(struct typed *t, const struct meta_vhost *vh, const struct meta_cmd *cmd)
{
    t->cmd = cmd;
    t->args = NULL;
    if (LIKELY(!takes_default_type(vh, cmd)))
        return;
    struct slice old = cmd->queue_declare.args;
    size_t room = old.len + 1 + sizeof TYPE_ARG + 5 + vh->default_queue_type.len;
    t->args = mem_alloc(room);
    struct wire_out w = wire_out_over(t->args, room);
    wire_put_bytes(&w, old);
    amqp_table_put_longstr(&w, TYPE_ARG, vh->default_queue_type);
    CHECK(!w.overflow);
    t->changed = *cmd;
    t->changed.queue_declare.args = wire_out_slice(&w);
    t->cmd = &t->changed;
}

static void typed_fini(struct typed *t)
{
    mem_free(t->args);
}

static enum meta_verdict declare_check(const struct meta_version *v, const struct meta_vhost *vh,
                                       const struct meta_cmd *cmd, struct meta_result *out)
{
    struct meta_refusal *why = &out->refusal;
    bool passive = cmd->queue_declare.passive;
    if (!passive && !name_is_free_to_use(cmd, why))
        return META_REFUSED;

    const struct meta_queue *q = meta_queue_find(v, vh, cmd->name);
    bool ok;
    if (q != NULL) {
        out->queue = q;
        out->id = q->qid;
        if (!meta_queue_is_at_hand(v, q, why))
            return META_REFUSED;
        ok = passive ? meta_queue_is_open_to(v, q, cmd->conn, why) : is_same(vh, q, cmd, why);
        return ok ? META_DONE : META_REFUSED;
    }
    if (passive)
        ok = meta_no_queue(vh, cmd->name, why);
    else
        ok = vhost_has_room(vh, cmd, why) && meta_queue_args_check(vh, cmd, why) &&
             meta_place_check(v, vh, cmd, why);
    return ok ? META_CHANGE : META_REFUSED;
}

/* By name for a client; by qid for the queue's own shard, which must not hit a later queue of the
 * same name. What is not there is gone already. */
static enum meta_verdict delete_check(const struct meta_version *v, const struct meta_vhost *vh,
                                      const struct meta_cmd *cmd, struct meta_result *out)
{
    const struct meta_queue *q =
        cmd->qid != 0 ? meta_queue_get(v, cmd->qid) : meta_queue_find(v, vh, cmd->name);
    if (q == NULL)
        return META_DONE;
    out->queue = q;
    out->id = q->qid;
    if (cmd->conn != 0 && !meta_queue_is_open_to(v, q, cmd->conn, &out->refusal))
        return META_REFUSED;
    if (cmd->qid == 0 && !meta_queue_is_at_hand(v, q, &out->refusal))
        return META_REFUSED;
    return META_CHANGE;
}

enum meta_verdict meta_queue_check(const struct meta_version *v, const struct meta_vhost *vh,
                                   const struct meta_cmd *cmd, struct meta_result *out)
{
    if (cmd->op == META_QUEUE_DELETE)
        return delete_check(v, vh, cmd, out);
    struct typed t;
    typed_init(&t, vh, cmd);
    enum meta_verdict verdict = declare_check(v, vh, t.cmd, out);
    typed_fini(&t);
    return verdict;
}

/* ---- names ---- */

void meta_gen_name(const uint8_t chance[16], char name[META_GEN_NAME_BYTES])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    static const char prefix[] = { 'a', 'm', 'q', '.', 'g', 'e', 'n', '-' };
    memcpy(name, prefix, sizeof prefix);
    size_t at = sizeof prefix;
    unsigned bits = 0, held = 0;
    for (size_t i = 0; i < 16; i++) {
        held = held << 8 | chance[i];
        for (bits += 8; bits >= 6; bits -= 6)
            name[at++] = digits[held >> (bits - 6) & 63];
    }
    name[at++] = digits[held << (6 - bits) & 63]; /* 128 = 21 * 6 + 2 */
    CHECK(at == META_GEN_NAME_BYTES);
}

struct slice meta_strip_name(struct slice name, uint8_t room[META_NAME_MAX])
{
    if (name.len == 0 ||
        (memchr(name.ptr, '\r', name.len) == NULL && memchr(name.ptr, '\n', name.len) == NULL))
        return name;
    CHECK(name.len <= META_NAME_MAX);
    size_t n = 0;
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] != '\r' && name.ptr[i] != '\n')
            room[n++] = name.ptr[i];
    return slice_of(room, n);
}

/* ---- exclusive queues by owner ---- */

static struct meta_owner *owner_own(struct meta *m, uint64_t conn)
{
    const struct meta_owner *o =
        pmap_get(&m->draft.owners, &m->kinds.owners, meta_hash_id(&m->kinds.owners, conn), &conn);
    if (o != NULL && o->tag == m->edit.tag)
        return (struct meta_owner *)(uintptr_t)o;
    struct meta_owner *copy = pmap_edit_alloc(&m->edit, sizeof *copy);
    *copy = (struct meta_owner){ .conn = conn };
    if (o != NULL)
        *copy = *o;
    copy->tag = m->edit.tag;
    pmap_set(&m->draft.owners, &m->kinds.owners, &m->edit, copy);
    if (o != NULL)
        meta_owner_drop(m, o);
    return copy;
}

static void owner_remove_queue(struct meta *m, const struct meta_queue *q)
{
    struct meta_owner *o = owner_own(m, q->owner);
    pmap_del(&o->queues, &m->kinds.queues, &m->edit, meta_hash_id(&m->kinds.queues, q->qid),
             &q->qid);
    if (o->queues.count != 0)
        return;
    pmap_del(&m->draft.owners, &m->kinds.owners, &m->edit, meta_hash_id(&m->kinds.owners, q->owner),
             &q->owner);
    pmap_edit_drop(&m->edit, o, sizeof *o, o->tag);
}

/* ---- changes ---- */

void meta_tell_queue(struct meta_result *r, enum meta_effect_kind kind,
                     const struct meta_version *v, uint16_t self, const struct meta_queue *q)
{
    struct meta_placement p;
    meta_placement_of(v, q, &p);
    enum meta_role role = meta_placement_role(&p, self);
    meta_tell(r, &(struct meta_effect){
                     .kind = kind,
                     .node = p.master,
                     .was = kind == META_QUEUE_DELETED ? role : META_ROLE_NONE,
                     .is = kind == META_QUEUE_DELETED ? META_ROLE_NONE : role,
                     .shard = q->shard,
                     .cohort = meta_placement_cohort(&p),
                     .qid = q->qid,
                     .vhost_id = q->vhost_id,
                     .queue = q,
                 });
}

static size_t queue_bytes(const struct meta_queue *q)
{
    return sizeof *q + q->name_bytes + q->args_bytes;
}

const struct meta_queue *meta_queue_put(struct meta *m, const struct meta_queue *head,
                                        struct slice name, struct slice args)
{
    CHECK(name.len <= META_NAME_MAX && args.len <= UINT32_MAX);
    struct meta_queue *q = pmap_edit_alloc(&m->edit, sizeof *q + name.len + args.len);
    *q = *head;
    q->shard = (uint32_t)(hash_u64(q->qid) % m->shard_count);
    q->name_bytes = (uint8_t)name.len;
    q->args_bytes = (uint32_t)args.len;
    if (name.len != 0)
        memcpy(q->bytes, name.ptr, name.len);
    if (args.len != 0)
        memcpy(q->bytes + name.len, args.ptr, args.len);
    if (q->node == 0)
        q->node = meta_place(m, q);
    struct meta_vhost *vh = meta_vhost_own(m, q->vhost_id);
    const void *old = pmap_set(&vh->queues, &m->kinds.queue_names, &m->edit, q);
    CHECK(old == NULL);
    old = pmap_set(&m->draft.queues, &m->kinds.queues, &m->edit, q);
    CHECK(old == NULL);
    if (q->owner != 0)
        pmap_set(&owner_own(m, q->owner)->queues, &m->kinds.queues, &m->edit, q);
    meta_home_add(m, q);
    return q;
}

static void queue_add(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out)
{
    CHECK(cmd->conn != 0 || !cmd->queue_declare.exclusive);
    struct typed t;
    typed_init(&t, meta_vhost_get(&m->draft, cmd->vhost_id), cmd);
    struct meta_queue head = { .qid = ++m->draft.last_id,
                               .vhost_id = cmd->vhost_id,
                               .owner = declared_owner(cmd),
                               .epoch = m->draft.index,
                               .durable = declared_durable(cmd),
                               .auto_delete = cmd->queue_declare.auto_delete };
    const struct meta_queue *q = meta_queue_put(m, &head, cmd->name, t.cmd->queue_declare.args);
    typed_fini(&t);
    out->queue = q;
    out->id = q->qid;
    meta_mirrors_begin(m, q);
    meta_tell_queue(out, META_QUEUE_CREATED, &m->draft, m->self, q);
}

void meta_queue_delete(struct meta *m, const struct meta_queue *q, struct meta_result *out)
{
    meta_tell_queue(out, META_QUEUE_DELETED, &m->draft, m->self, q);
    meta_unbind_destination(m, q->qid);
    if (q->owner != 0)
        owner_remove_queue(m, q);
    meta_home_remove(m, q);
    struct meta_vhost *vh = meta_vhost_own(m, q->vhost_id);
    struct slice name = meta_queue_name(q);
    const void *gone = pmap_del(&vh->queues, &m->kinds.queue_names, &m->edit,
                                meta_hash_name(&m->kinds.queue_names, name), &name);
    CHECK(gone == q);
    gone = pmap_del(&m->draft.queues, &m->kinds.queues, &m->edit,
                    meta_hash_id(&m->kinds.queues, q->qid), &q->qid);
    CHECK(gone == q);
    meta_queue_drop(m, q);
    m->queues_changed = true;
}

/* The number beside it: there may be a million, and they lie all over the memory. */
struct listed {
    uint64_t qid;
    const struct meta_queue *queue;
};

static int by_qid(const void *a, const void *b)
{
    uint64_t x = ((const struct listed *)a)->qid;
    uint64_t y = ((const struct listed *)b)->qid;
    return (x > y) - (x < y);
}

/* The oldest first, so that all nodes tell their shards the same in the same order. The list is the
 * caller's to free. */
static struct listed *oldest_first(const struct pmap *map, bool is_placed)
{
    size_t count = map->count;
    struct listed *list = mem_array(count + 1, sizeof *list);
    struct pmap_iter it;
    pmap_iter(&it, map);
    for (size_t i = 0; i < count; i++) {
        const void *item = pmap_next(&it);
        list[i].queue = is_placed ? ((const struct meta_placed *)item)->queue : item;
        list[i].qid = list[i].queue->qid;
    }
    qsort(list, count, sizeof *list, by_qid);
    return list;
}

static void delete_all(struct meta *m, struct listed *list, size_t count, struct meta_result *out)
{
    for (size_t i = 0; i < count; i++)
        meta_queue_delete(m, list[i].queue, out);
    mem_free(list);
}

void meta_queues_delete(struct meta *m, const struct pmap *queues, struct meta_result *out)
{
    size_t count = queues->count;
    delete_all(m, oldest_first(queues, false), count, out);
}

void meta_placed_delete(struct meta *m, const struct pmap *placed, struct meta_result *out)
{
    size_t count = placed->count;
    delete_all(m, oldest_first(placed, true), count, out);
}

static bool is_in_vhost(void *arg, const void *queue)
{
    return ((const struct meta_queue *)queue)->vhost_id == *(const uint64_t *)arg;
}

/* All of a vhost: what is not where its node alone decides leaves its placement first. */
static void prune_maps(struct meta *m, const struct listed *list, size_t count)
{
    uint64_t vhost_id = list[0].queue->vhost_id;
    for (size_t i = 0; i < count; i++) {
        const struct meta_placed *p = meta_placed_get(&m->draft, list[i].qid);
        m->draft.things -= meta_digest_queue(list[i].queue);
        if (p != NULL)
            meta_placed_remove(m, p);
    }
    meta_homes_prune(m, is_in_vhost, &vhost_id);
    uint64_t gone = pmap_prune(&m->draft.queues, &m->edit, is_in_vhost, &vhost_id);
    CHECK(gone == count);
}

/* One after the other, or, where they are many of all that there are, all others put together
 * anew. */
static void take_from_maps(struct meta *m, const struct listed *list, size_t count)
{
    const struct pmap_kind *kind = &m->kinds.queues;
    if (count > MANY_LEAST && count > m->draft.queues.count / MANY_SHARE) {
        prune_maps(m, list, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        meta_home_remove(m, list[i].queue);
        pmap_del(&m->draft.queues, kind, &m->edit, meta_hash_id(kind, list[i].qid), &list[i].qid);
    }
}

void meta_vhost_queues_drop(struct meta *m, struct pmap *queues, struct meta_result *out)
{
    size_t count = queues->count;
    struct listed *list = oldest_first(queues, false);
    for (size_t i = 0; i < count; i++) {
        const struct meta_queue *q = list[i].queue;
        meta_tell_queue(out, META_QUEUE_DELETED, &m->draft, m->self, q);
        if (q->owner != 0)
            owner_remove_queue(m, q);
        meta_destination_drop(m, q->qid);
    }
    take_from_maps(m, list, count);
    for (size_t i = 0; i < count; i++)
        meta_queue_drop(m, list[i].queue);
    mem_free(list);
    pmap_clear(queues, &m->edit);
}

void meta_queue_change(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out)
{
    if (cmd->op == META_QUEUE_DECLARE) {
        queue_add(m, cmd, out);
        return;
    }
    meta_queue_delete(m, out->queue, out);
    out->queue = NULL;
}

void meta_owner_gone(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out)
{
    const struct pmap_kind *kind = &m->kinds.owners;
    const struct meta_owner *o =
        pmap_get(&m->draft.owners, kind, meta_hash_id(kind, cmd->conn), &cmd->conn);
    CHECK(o != NULL);
    struct pmap queues = o->queues;
    meta_queues_delete(m, &queues, out);
}

void meta_queue_drop(struct meta *m, const struct meta_queue *q)
{
    pmap_edit_drop(&m->edit, q, queue_bytes(q), 0);
}

void meta_owner_drop(struct meta *m, const struct meta_owner *o)
{
    pmap_edit_drop(&m->edit, o, sizeof *o, o->tag);
}
