/* A log's file as a reader sees it: a part of it at a time. */
#include "base/mem.h"
#include "raft/raft_disk_inner.h"

#define READ_AHEAD ((size_t)1 << 20)

bool raft_window_open(struct raft_window *r, struct disk *disk, uint64_t generation,
                      struct err *err)
{
    *r = (struct raft_window){ .disk = disk };
    raft_file_log_name(generation, r->name);
    r->file = disk->ops->open(disk, r->name, DISK_READ, err);
    return r->file != NULL && disk->ops->size(r->file, &r->size, err);
}

void raft_window_close(struct raft_window *r)
{
    if (r->file != NULL)
        r->disk->ops->close(&r->file);
    mem_free(r->bytes);
    r->bytes = NULL;
}

static bool fill(struct raft_window *r, uint64_t offset, size_t want, struct err *err)
{
    if (r->cap < want) {
        r->cap = want;
        r->bytes = mem_realloc(r->bytes, r->cap);
    }
    r->at = offset;
    return r->disk->ops->read(r->file, offset, r->bytes, want, &r->len, err);
}

bool raft_window_at(struct raft_window *r, uint64_t offset, size_t least, struct slice *out,
                    struct err *err)
{
    uint64_t left = offset < r->size ? r->size - offset : 0;
    size_t want = least < left ? least : (size_t)left;
    bool is_there =
        offset >= r->at && offset - r->at <= r->len && r->len - (offset - r->at) >= want;
    if (!is_there && !fill(r, offset, want > READ_AHEAD ? want : READ_AHEAD, err))
        return false;
    size_t skip = (size_t)(offset - r->at);
    *out = skip < r->len ? slice_of(r->bytes + skip, r->len - skip) : slice_of(NULL, 0);
    return true;
}

bool raft_window_cut(struct raft_window *r, uint64_t salt, uint64_t offset, struct raft_group *g,
                     enum raft_cut *cut, struct err *err)
{
    size_t need = RAFT_GROUP_HEAD;
    size_t had;
    do {
        struct slice bytes;
        had = need;
        if (!raft_window_at(r, offset, need, &bytes, err))
            return false;
        *cut = raft_group_cut(bytes, salt, offset, g, &need);
    } while (*cut == RAFT_CUT_MORE && need > had && need <= r->size - offset);
    if (*cut == RAFT_CUT_MORE)
        *cut = RAFT_CUT_BAD; /* the file is at its end */
    return true;
}
