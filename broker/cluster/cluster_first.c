#include "cluster/cluster_inner.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/random.h"

#define FIRST_BYTES_MAX (CLUSTER_OP_BYTES_MAX / 4)

/* Numbers that this cluster gives to queues and the like begin where those of another hardly ever
 * are: what a node wrote to its journal in another cluster is not to be taken for this one's. */
#define ID_BASE_BITS 30u
#define ID_BASE_STEP 22u

/* Commands are tried on a metadata of their own, which tells the ids that they will give. */
struct cluster_first {
    struct meta *meta;
    uint8_t *bytes;
    struct wire_out out;
    struct meta_result result;
};

static void retire_now(void *arg, void *ptr, void (*free_fn)(void *ptr))
{
    (void)arg;
    free_fn(ptr);
}

bool cluster_first_add(struct cluster_first *f, const struct meta_cmd *cmd, uint64_t *id,
                       struct meta_refusal *why)
{
    struct meta_envelope e = { .cmd = *cmd };
    meta_envelope_put(&f->out, &e);
    CHECK(!f->out.overflow);
    enum meta_applied applied = meta_apply_entry(f->meta, 1, &e, &f->result);
    CHECK(applied == META_APPLIED);
    meta_publish(f->meta);
    if (id != NULL)
        *id = f->result.id;
    if (f->result.verdict == META_REFUSED)
        *why = f->result.refusal;
    return f->result.verdict != META_REFUSED;
}

static bool add_cluster(struct cluster *c, struct cluster_first *f, struct err *err)
{
    struct meta_refusal why;
    uint64_t id = 0;
    struct meta_cmd form = { .op = META_CLUSTER_FORM,
                             .name = slice_of(c->identity.cluster_id, META_CLUSTER_ID_BYTES),
                             .qid = (random_u64() >> (64 - ID_BASE_BITS)) << ID_BASE_STEP };
    struct meta_cmd add;
    cluster_members_fill_add(c, &add);
    if (cluster_first_add(f, &form, NULL, &why) && cluster_first_add(f, &add, &id, &why) &&
        id == c->identity.node)
        return true;
    return err_set(err, ERR_REFUSED, "a new cluster cannot be made: %s", why.text);
}

/* What a new cluster has, as one entry: all of it or nothing. */
struct buf *cluster_first_entry(struct cluster *c, struct err *err)
{
    struct cluster_first f = { 0 };
    struct meta_setup setup = *c->setup.meta_setup;
    setup.retire = retire_now;
    setup.retire_garbage = NULL;
    setup.retire_state = NULL;
    f.meta = meta_new(&setup);
    f.bytes = mem_alloc(FIRST_BYTES_MAX);
    f.out = wire_out_over(f.bytes, FIRST_BYTES_MAX);
    meta_result_init(&f.result);
    struct buf *entry = NULL;
    if (add_cluster(c, &f, err) && c->setup.begin(&f, err, c->setup.arg))
        entry = buf_copy(wire_out_slice(&f.out));
    meta_result_fini(&f.result);
    meta_free(&f.meta);
    mem_free(f.bytes);
    return entry;
}

static bool has_begun(const struct cluster *c)
{
    static const uint8_t none[META_CLUSTER_ID_BYTES];
    return memcmp(meta_current(c->meta)->cluster_id, none, sizeof none) != 0;
}

/* The founder proposes it until it is there: what is given twice is given once. */
void cluster_first_look(struct cluster *c)
{
    struct err err;
    if (c->raft.core == NULL || c->leader != c->identity.node || c->identity.node != 1 ||
        c->apply.applied < c->leading_from || cluster_apply_is_behind(c) ||
        c->first_term == c->term || has_begun(c))
        return;
    struct buf *entry = c->first != NULL ? c->first : cluster_first_entry(c, &err);
    c->first = NULL;
    if (entry == NULL) {
        cluster_raft_fail(c, &err);
        return;
    }
    c->first_term = c->term;
    if (!cluster_raft_propose(c, &entry, 1, c->identity.node))
        c->first_term = 0;
    buf_unref(&entry);
}
