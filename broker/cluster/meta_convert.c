#include "cluster/meta_convert.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/text.h"
#include "cluster/meta_dump.h"
#include "cluster/meta_node.h"
#include "cluster/meta_restore.h"
#include "cluster/meta_save.h"
#include "io/random.h"
#include "raft/raft_disk.h"

#include <stdio.h>

#define NODE        1u
#define NAME_ROOM   64u
#define SNAPSHOT_AT 1u /* index and term: as if one entry had brought all of it */
#define IDS_A_START ((uint64_t)1 << 40)
#define STARTS_MAX  ((uint64_t)1 << 22)

static void retire_now(void *arg, void *ptr, void (*free_fn)(void *ptr))
{
    (void)arg;
    free_fn(ptr);
}

/* ---- what was there ---- */

struct names {
    char (*at)[NAME_ROOM];
    size_t count;
    size_t room;
};

static void note(const char *name, void *arg)
{
    struct names *n = arg;
    if (strlen(name) + sizeof "meta/" > NAME_ROOM)
        return;
    if (n->count == n->room) {
        n->room = n->room != 0 ? n->room * 2 : 16;
        n->at = mem_realloc(n->at, n->room * sizeof *n->at);
    }
    snprintf(n->at[n->count++], NAME_ROOM, "meta/%s", name);
}

static bool list(struct disk *disk, struct names *out, struct err *err)
{
    *out = (struct names){ 0 };
    if (disk->ops->list(disk, "meta", note, out, err))
        return true;
    mem_free(out->at);
    *out = (struct names){ 0 };
    return err->code == ERR_NOT_FOUND;
}

static bool remove_all(struct disk *disk, const struct names *n, struct err *err)
{
    for (size_t i = 0; i < n->count; i++)
        if (!disk->ops->remove(disk, n->at[i], err) && err->code != ERR_NOT_FOUND)
            return false;
    return n->count == 0 || disk->ops->sync_folder(disk, "meta", err);
}

/* ---- what it becomes ---- */

/* Versions before gave ids to what does not last without a note; each start had a range. */
static uint64_t ids_given(uint64_t next_id, uint32_t starts)
{
    uint64_t next = (next_id / IDS_A_START + 1) * IDS_A_START;
    uint64_t least = starts < STARTS_MAX ? starts * IDS_A_START : 0;
    return (next > least ? next : least) - 1;
}

static bool apply(struct meta *meta, const struct meta_cmd *cmd, struct meta_result *r,
                  struct err *err)
{
    return meta_apply(meta, cmd, r) == META_DONE || err_set(err, ERR_IO, "%s", r->refusal.text);
}

static bool form_cluster(struct meta *meta, const struct raft_identity *it, struct err *err)
{
    struct meta_result r;
    struct meta_cmd form = { .op = META_CLUSTER_FORM,
                             .name = slice_of(it->cluster_id, sizeof it->cluster_id) };
    struct meta_cmd add = { .op = META_NODE_ADD, .name = slice_str(it->name) };
    add.node.type = META_NODE_DISC;
    meta_result_init(&r);
    bool ok = apply(meta, &form, &r, err) && apply(meta, &add, &r, err);
    CHECK(!ok || r.id == NODE);
    meta_result_fini(&r);
    return ok;
}

/* Indexes began anew with the log of the cluster. */
static bool put_as_of_now(void *writer, const struct meta_cmd *cmd, uint64_t first_id)
{
    struct meta_cmd as_of_now = *cmd;
    if (cmd->op == META_KEPT_QUEUE)
        as_of_now.kept_queue.epoch = SNAPSHOT_AT;
    if (cmd->op == META_KEPT_STATE)
        as_of_now.kept_state.index = SNAPSHOT_AT;
    return meta_save_put(writer, &as_of_now, first_id);
}

static bool fill(struct raft_image_writer *w, void *version)
{
    return meta_dump(version, put_as_of_now, w);
}

static bool write_snapshot(struct disk *disk, const struct raft_identity *it, struct meta *meta,
                           struct err *err)
{
    struct raft_image image = { .disk = disk };
    image.is = (struct raft_snapshot){
        .index = SNAPSHOT_AT, .term = SNAPSHOT_AT, .id = random_u64(), .config_index = SNAPSHOT_AT
    };
    memcpy(image.cluster_id, it->cluster_id, sizeof image.cluster_id);
    bool has_room = raft_config_set(&image.is.config, NODE, RAFT_VOTER);
    CHECK(has_room);
    meta_publish(meta);
    return raft_image_write(&image, fill, (void *)(uintptr_t)meta_current(meta), err);
}

/* From then on what is in "raft" counts. */
static bool begin_log(struct disk *disk, const struct raft_identity *it, struct err *err)
{
    struct raft_found found;
    struct raft_disk *d = raft_disk_open(
        &(struct raft_disk_setup){ .disk = disk, .identity = it, .seed = random_u64() }, &found,
        err);
    bool ok = d != NULL;
    CHECK(!ok || found.base == SNAPSHOT_AT);
    if (ok)
        raft_disk_free(&d);
    raft_found_fini(&found);
    return ok;
}

static bool convert(struct disk *disk, const char *name, uint32_t starts, struct meta *meta,
                    struct err *err)
{
    struct meta_restored old;
    struct raft_identity it = { .node = NODE };
    struct text text = text_over(it.name, sizeof it.name);
    text_str(&text, name);
    random_octets(it.cluster_id, sizeof it.cluster_id);
    if (!meta_restore(disk, meta, &old, err) || !form_cluster(meta, &it, err))
        return false;
    meta_skip_ids(meta, ids_given(old.next_id, starts));
    return raft_identity_replace(disk, &it, err) && write_snapshot(disk, &it, meta, err) &&
           begin_log(disk, &it, err);
}

static bool convert_all(struct disk *disk, const char *name, uint32_t starts, struct err *err)
{
    struct meta *meta =
        meta_new(&(struct meta_setup){ .hash_seed = 1, .shard_count = 1, .retire = retire_now });
    bool ok = convert(disk, name, starts, meta, err);
    meta_free(&meta);
    return ok || err_context(err, "the definitions of an older version cannot be taken over");
}

bool meta_convert(struct disk *disk, const char *name, uint32_t starts, bool *is_made,
                  struct err *err)
{
    struct names old;
    struct raft_identity it;
    struct err why = { 0 };
    *is_made = false;
    if (!list(disk, &old, err))
        return false;
    bool ok = true;
    if (old.count != 0) {
        bool is_there = raft_identity_look(disk, &it, &why);
        bool is_done = is_there && (it.has_log || it.is_ram);
        ok = is_there || why.code == ERR_NOT_FOUND;
        if (!ok)
            *err = why;
        *is_made = ok && !is_done;
        ok = ok && (is_done || convert_all(disk, name, starts, err)) && remove_all(disk, &old, err);
    }
    mem_free(old.at);
    return ok;
}
