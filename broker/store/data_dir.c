#include "store/data_dir.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/wire.h"
#include "io/file.h"
#include "io/random.h"
#include "store/record.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#define STORE_NAME    "store"
#define NEW_NAME      "store.new"
#define FIXED_BYTES   38u
#define CHECK_BYTES   8u
#define STORE_BYTES   (FIXED_BYTES + DATA_DIR_NODE_MAX + CHECK_BYTES) /* at most */
#define FILE_NAME_MAX 256u

static const char *const folders[] = { "journal", "large", "meta", "raft", "quarantine" };

enum dir_state {
    DIR_WHOLE,
    DIR_RESETTING, /* what is in the folders is to go */
};

/* ---- the lock ------------------------------------------------------------------------------- */

struct data_lock {
    struct pid_file *pid_file;
};

static struct data_lock *take(const char *folder,
                              struct pid_file *(*how)(const char *path, struct err *err),
                              struct err *err)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/lock", folder) >= (int)sizeof path) {
        (void)err_set(err, ERR_CONFIG, "%s is too long for a folder's name", folder);
        return NULL;
    }
    struct pid_file *p = how(path, err);
    if (p == NULL) {
        (void)err_context(err,
                          err->code == ERR_REFUSED ? "the data folder %s is in use by another node"
                                                   : "the data folder %s cannot be used",
                          folder);
        return NULL;
    }
    struct data_lock *l = mem_alloc(sizeof *l);
    l->pid_file = p;
    return l;
}

struct data_lock *data_lock_take(const char *folder, struct err *err)
{
    return file_make_folders(folder, 0700, err) ? take(folder, pid_file_take, err) : NULL;
}

struct data_lock *data_lock_borrow(const char *folder, struct err *err)
{
    return take(folder, pid_file_borrow, err);
}

void data_lock_free(struct data_lock **lock)
{
    struct data_lock *l = *lock;
    *lock = NULL;
    if (l == NULL)
        return;
    pid_file_free(&l->pid_file);
    mem_free(l);
}

/* ---- the file ------------------------------------------------------------------------------- */

static size_t put_store(uint8_t *out, const struct data_dir *d, enum dir_state state)
{
    size_t name_len = strlen(d->node);
    size_t len = FIXED_BYTES + name_len + CHECK_BYTES;
    struct wire_out w = wire_out_over(out, STORE_BYTES);
    wire_put_u64_le(&w, DATA_DIR_MAGIC);
    wire_put_u32_le(&w, STORE_FORMAT);
    wire_put_u32_le(&w, (uint32_t)len);
    wire_put_bytes(&w, slice_of(d->store_id, sizeof d->store_id));
    wire_put_u32_le(&w, d->incarnation);
    wire_put_u8(&w, (uint8_t)state);
    wire_put_shortstr(&w, slice_of(d->node, name_len));
    wire_put_u64_le(&w, hash_bytes(wire_out_slice(&w), 0));
    CHECK(!w.overflow && wire_out_len(&w) == len);
    return len;
}

static bool judge_format(struct wire *w, const char *folder, struct err *err)
{
    uint64_t magic = wire_u64_le(w);
    uint32_t format = wire_u32_le(w);
    if (w->ran_out || magic != DATA_DIR_MAGIC)
        return err_set(err, ERR_REFUSED,
                       "%s/" STORE_NAME " was not written by Warren: use another folder, or move "
                       "this one away to start with an empty one",
                       folder);
    if (format > STORE_FORMAT)
        return err_set(err, ERR_REFUSED,
                       "%s was written by a newer version of Warren (format %" PRIu32
                       ", this one reads %u): start that version again, or move the folder away to "
                       "start with an empty one",
                       folder, format, STORE_FORMAT);
    if (format < STORE_FORMAT_LEAST)
        return err_set(err, ERR_REFUSED,
                       "%s has the format %" PRIu32 " of an older version of Warren, this one "
                       "reads %u and above: drain it with that version first, or move the folder "
                       "away",
                       folder, format, STORE_FORMAT_LEAST);
    return true;
}

static bool read_fields(struct wire *w, struct slice all, struct data_dir *out,
                        enum dir_state *state)
{
    uint32_t len = wire_u32_le(w);
    struct slice id = wire_take(w, sizeof out->store_id);
    out->incarnation = wire_u32_le(w);
    uint8_t state_octet = wire_u8(w);
    struct slice name = wire_shortstr(w);
    size_t checked = all.len - wire_left(w);
    uint64_t check = wire_u64_le(w);
    if (w->ran_out || wire_left(w) != 0 || len != all.len || state_octet > DIR_RESETTING ||
        name.len == 0 || check != hash_bytes(slice_head(all, checked), 0))
        return false;
    memcpy(out->store_id, id.ptr, id.len);
    memcpy(out->node, name.ptr, name.len);
    out->node[name.len] = '\0';
    *state = (enum dir_state)state_octet;
    return true;
}

static bool parse_store(struct slice bytes, const char *folder, struct data_dir *out,
                        enum dir_state *state, struct err *err)
{
    struct wire w = wire_over(bytes);
    *out = (struct data_dir){ 0 };
    if (!judge_format(&w, folder, err))
        return false;
    return read_fields(&w, bytes, out, state) ||
           err_set(err, ERR_REFUSED,
                   "%s/" STORE_NAME " is damaged: put the folder back from a copy, or move it away "
                   "to start with an empty one",
                   folder);
}

static bool read_store(struct disk *disk, const char *folder, struct data_dir *out,
                       enum dir_state *state, struct err *err)
{
    uint8_t bytes[STORE_BYTES + 1];
    size_t got = 0;
    struct disk_file *f = disk->ops->open(disk, STORE_NAME, DISK_READ, err);
    if (f == NULL)
        return false;
    bool ok = disk->ops->read(f, 0, bytes, sizeof bytes, &got, err);
    disk->ops->close(&f);
    return ok && parse_store(slice_of(bytes, got), folder, out, state, err);
}

static bool write_new(struct disk *disk, struct slice bytes, struct err *err)
{
    if (!disk->ops->remove(disk, NEW_NAME, err) && err->code != ERR_NOT_FOUND)
        return false;
    struct disk_file *f = disk->ops->open(disk, NEW_NAME, DISK_CREATE, err);
    if (f == NULL)
        return false;
    bool ok = disk->ops->write(f, 0, &bytes, 1, err) && disk->ops->sync(f, err);
    disk->ops->close(&f);
    return ok;
}

/* The old or the new one, whenever the power goes. */
static bool write_store(struct disk *disk, const struct data_dir *d, enum dir_state state,
                        struct err *err)
{
    uint8_t bytes[STORE_BYTES];
    size_t len = put_store(bytes, d, state);
    if (write_new(disk, slice_of(bytes, len), err) &&
        disk->ops->rename(disk, NEW_NAME, STORE_NAME, err) && disk->ops->sync_folder(disk, "", err))
        return true;
    if (err->code == ERR_REFUSED)
        (void)err_context(err, "the data folder may only be read, and a node writes in it");
    return false;
}

/* ---- the folders ---------------------------------------------------------------------------- */

static bool make_folders(struct disk *disk, struct err *err)
{
    for (size_t i = 0; i < ARRAY_COUNT(folders); i++)
        if (!disk->ops->make_folder(disk, folders[i], err))
            return false;
    return disk->ops->sync_folder(disk, "", err);
}

struct names {
    char (*at)[FILE_NAME_MAX];
    size_t count;
    size_t room;
};

static void note_name(const char *name, void *arg)
{
    struct names *n = arg;
    if (n->count == n->room) {
        n->room = n->room != 0 ? n->room * 2 : 64;
        n->at = mem_realloc(n->at, n->room * sizeof *n->at);
    }
    snprintf(n->at[n->count++], FILE_NAME_MAX, "%s", name);
}

static bool list(struct disk *disk, const char *folder, struct names *out, struct err *err)
{
    *out = (struct names){ 0 };
    if (disk->ops->list(disk, folder, note_name, out, err))
        return true;
    mem_free(out->at);
    *out = (struct names){ 0 };
    return err->code == ERR_NOT_FOUND; /* a folder that is not there is empty */
}

static bool empty_folder(struct disk *disk, const char *folder, struct err *err)
{
    struct names names;
    bool ok = list(disk, folder, &names, err);
    for (size_t i = 0; ok && i < names.count; i++) {
        char path[FILE_NAME_MAX + 16];
        snprintf(path, sizeof path, "%s/%s", folder, names.at[i]);
        ok = disk->ops->remove(disk, path, err) || err->code == ERR_NOT_FOUND;
    }
    mem_free(names.at);
    return ok;
}

/* Everything is gone durably when the file says that the store is whole again. */
static bool empty_folders(struct disk *disk, struct err *err)
{
    for (size_t i = 0; i < ARRAY_COUNT(folders); i++)
        if (!empty_folder(disk, folders[i], err))
            return false;
    if (!make_folders(disk, err))
        return false;
    for (size_t i = 0; i < ARRAY_COUNT(folders); i++)
        if (!disk->ops->sync_folder(disk, folders[i], err))
            return false;
    return true;
}

/* The store's file is written before anything else: where it is missing, so must be the rest. */
static bool judge_empty(struct disk *disk, const char *folder, struct err *err)
{
    for (size_t i = 0; i < ARRAY_COUNT(folders); i++) {
        struct names names;
        if (!list(disk, folders[i], &names, err))
            return false;
        mem_free(names.at);
        if (names.count != 0)
            return err_set(err, ERR_REFUSED,
                           "%s has something in %s/ but no file \"" STORE_NAME "\" that says what: "
                           "put the folder back from a copy, or move it away to start with an "
                           "empty one",
                           folder, folders[i]);
    }
    return true;
}

/* ---- starts and resets ---------------------------------------------------------------------- */

static void name_new(struct data_dir *d, const char *node)
{
    random_octets(d->store_id, sizeof d->store_id);
    snprintf(d->node, sizeof d->node, "%s", node);
}

static bool judge_node(const struct data_dir *d, const char *folder, const char *node,
                       struct err *err)
{
    char shown[DATA_DIR_NODE_MAX * 4 + 1];
    struct text text = text_over(shown, sizeof shown);
    if (strcmp(d->node, node) == 0)
        return true;
    text_escaped(&text, slice_str(d->node));
    return err_set(err, ERR_REFUSED,
                   "%s belongs to the node \"%s\", not to \"%s\": start the node under that name, "
                   "or with another folder",
                   folder, shown, node);
}

static bool finish_reset(struct disk *disk, struct data_dir *d, struct err *err)
{
    return empty_folders(disk, err) && write_store(disk, d, DIR_WHOLE, err);
}

static bool start_old(struct disk *disk, const char *folder, const char *node, struct data_dir *d,
                      enum dir_state state, struct err *err)
{
    if (!judge_node(d, folder, node, err))
        return false;
    if (d->incarnation == UINT32_MAX)
        return err_set(err, ERR_LIMIT, "%s was started too often: reset the node", folder);
    d->incarnation++;
    if (!write_store(disk, d, state, err))
        return false;
    d->is_new = state == DIR_RESETTING;
    return state == DIR_WHOLE ? make_folders(disk, err) : finish_reset(disk, d, err);
}

static bool start_new(struct disk *disk, const char *folder, const char *node, struct data_dir *d,
                      struct err *err)
{
    if (!judge_empty(disk, folder, err))
        return false;
    *d = (struct data_dir){ .incarnation = 1, .is_new = true };
    name_new(d, node);
    return write_store(disk, d, DIR_WHOLE, err) && make_folders(disk, err);
}

bool data_dir_start(struct disk *disk, const char *folder, const char *node, struct data_dir *out,
                    struct err *err)
{
    enum dir_state state = DIR_WHOLE;
    CHECK(node[0] != '\0' && strlen(node) <= DATA_DIR_NODE_MAX);
    if (read_store(disk, folder, out, &state, err))
        return start_old(disk, folder, node, out, state, err);
    return err->code == ERR_NOT_FOUND && start_new(disk, folder, node, out, err);
}

bool data_dir_look(struct disk *disk, const char *folder, struct data_dir *out, struct err *err)
{
    enum dir_state state = DIR_WHOLE;
    return read_store(disk, folder, out, &state, err);
}

bool data_dir_reset(struct disk *disk, const char *folder, const char *node, struct data_dir *out,
                    struct err *err)
{
    enum dir_state state = DIR_WHOLE;
    CHECK(node[0] != '\0' && strlen(node) <= DATA_DIR_NODE_MAX);
    if (!read_store(disk, folder, out, &state, err))
        return false;
    name_new(out, node);
    out->incarnation++;
    out->is_new = true;
    return write_store(disk, out, DIR_RESETTING, err) && finish_reset(disk, out, err);
}
