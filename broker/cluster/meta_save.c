#include "cluster/meta_save.h"

#include "base/check.h"
#include "cluster/meta_dump.h"
#include "cluster/meta_wire.h"

/* ---- writing ---- */

bool meta_save_put(void *writer, const struct meta_cmd *cmd, uint64_t first_id)
{
    size_t size = meta_wire_size(cmd);
    uint8_t *at = raft_image_room(writer, size);
    if (at == NULL)
        return false;
    struct wire_out out = wire_out_over(at, size);
    meta_wire_put(&out, cmd, first_id);
    CHECK(!out.overflow && wire_out_len(&out) == size);
    return true;
}

bool meta_save_fill(struct raft_image_writer *w, void *version)
{
    return meta_dump(version, meta_save_put, w);
}

/* ---- reading ---- */

struct reading {
    struct meta *meta;
    struct meta_result result;
};

static bool take_command(struct reading *re, struct wire *w, struct err *err)
{
    struct meta_cmd cmd;
    uint64_t first_id;
    if (!meta_wire_take(w, &cmd, &first_id))
        return err_set(err, ERR_IO, "the snapshot holds what is no command of this version");
    return meta_replay(re->meta, &cmd, first_id, &re->result) != META_REFUSED ||
           err_set(err, ERR_IO, "the snapshot contradicts itself: %s", re->result.refusal.text);
}

static bool take_group(struct reading *re, struct slice items, uint32_t count, struct err *err)
{
    struct wire w = wire_over(items);
    for (uint32_t i = 0; i < count; i++)
        if (!take_command(re, &w, err))
            return false;
    return wire_left(&w) == 0 || err_set(err, ERR_IO, "the snapshot holds more than its commands");
}

bool meta_save_read(struct raft_image_reader *r, void *meta, struct err *err)
{
    struct reading re = { .meta = meta };
    enum raft_image_verdict verdict;
    struct slice items;
    uint32_t count;
    bool ok = true;
    meta_result_init(&re.result);
    while (ok && (verdict = raft_image_next(r, &items, &count, err)) != RAFT_IMAGE_END)
        ok = verdict == RAFT_IMAGE_GROUP && take_group(&re, items, count, err);
    meta_result_fini(&re.result);
    return ok;
}
