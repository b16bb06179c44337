#include "cluster/meta_look.h"

#include "cluster/meta_entry.h"
#include "cluster/meta_restore.h"
#include "cluster/meta_save.h"
#include "raft/raft_disk.h"

static void retire_now(void *arg, void *ptr, void (*free_fn)(void *ptr))
{
    (void)arg;
    free_fn(ptr);
}

static bool load_snapshot(struct disk *disk, const struct raft_snapshot *is, struct meta *meta,
                          struct err *err)
{
    char name[RAFT_FILE_NAME_ROOM];
    if (is->index == 0)
        return true;
    raft_file_snapshot_name(is->index, is->id, name);
    struct raft_image_reader *r = raft_image_open(disk, name, err);
    bool ok = r != NULL && meta_save_read(r, meta, err);
    raft_image_close(&r);
    return ok;
}

/* An entry that is not understood is left out, as nodes do it. */
static void apply(struct meta *meta, const struct raft_entry *entry, struct meta_result *r)
{
    struct wire w = wire_over(raft_entry_slice(entry));
    struct meta_envelope e;
    while (wire_left(&w) != 0 && meta_envelope_take(&w, &e))
        (void)meta_apply_entry(meta, entry->index, &e, r);
}

static bool load(struct disk *disk, const struct raft_identity *it, struct meta *meta,
                 struct err *err)
{
    struct raft_found found;
    struct meta_result r;
    bool ok = raft_disk_look(disk, it, &found, err);
    if (ok && found.verdict == RAFT_DISK_DAMAGED) {
        *err = found.damage;
        ok = false;
    }
    ok = ok && load_snapshot(disk, &found.snapshot, meta, err);
    meta_result_init(&r);
    for (size_t i = 0; ok && i < found.count; i++)
        if (found.entries[i].kind == RAFT_COMMAND)
            apply(meta, &found.entries[i], &r);
    meta_result_fini(&r);
    raft_found_fini(&found);
    return ok;
}

/* Before the node's first start with this version its definitions are where they were. */
static bool load_any(struct disk *disk, struct meta *meta, struct err *err)
{
    struct raft_identity it;
    struct meta_restored old;
    if (raft_identity_look(disk, &it, err) && (it.has_log || it.is_ram))
        return it.is_ram || load(disk, &it, meta, err);
    if (err->code != ERR_NONE && err->code != ERR_NOT_FOUND)
        return false;
    return meta_restore(disk, meta, &old, err) || err->code == ERR_NOT_FOUND;
}

static void tell(const struct meta_version *v, meta_queue_fn each, void *arg)
{
    struct pmap_iter it;
    pmap_iter(&it, &v->queues);
    for (const struct meta_queue *q; (q = pmap_next(&it)) != NULL;)
        each(q->qid, meta_vhost_name(meta_vhost_get(v, q->vhost_id)), meta_queue_name(q), arg);
}

bool meta_look_queues(struct disk *disk, meta_queue_fn each, void *arg, struct err *err)
{
    struct err why = { 0 };
    struct meta *meta =
        meta_new(&(struct meta_setup){ .hash_seed = 1, .shard_count = 1, .retire = retire_now });
    bool ok = load_any(disk, meta, &why);
    meta_publish(meta);
    if (ok)
        tell(meta_current(meta), each, arg);
    else
        *err = why;
    meta_free(&meta);
    return ok;
}
