#include "raft/raft_identity.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/wire.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define FILE_NAME "raft/identity"
#define NEW_NAME  "raft/identity.new"
#define MAGIC     UINT64_C(0x57524e5248454d45) /* "WRNRHEME" */
#define FORMAT    1u
#define BYTES_MAX (36u + 1 + RAFT_NAME_MAX + 4 + RAFT_KNOWN_MAX + 8)
#define NAME_ROOM 64u
#define REMEDY                                                                                     \
    "put the data folder back from a copy, or reset the node (warrenctl force_reset) and have it " \
    "join its cluster anew"

enum flags {
    FLAG_RAM = 1,
    FLAG_LOG = 2,
    FLAG_FOUNDER = 4,
    FLAGS = FLAG_RAM | FLAG_LOG | FLAG_FOUNDER,
};

enum state {
    STATE_WHOLE,
    STATE_CLEARING, /* everything else in the folder is to go */
    STATE_NONE,     /* the same, and this file last of all */
};

/* ---- as octets ---- */

static uint8_t flags_of(const struct raft_identity *it)
{
    return (uint8_t)((it->is_ram ? FLAG_RAM : 0) | (it->has_log ? FLAG_LOG : 0) |
                     (it->is_founder ? FLAG_FOUNDER : 0));
}

static size_t put(uint8_t out[BYTES_MAX], const struct raft_identity *it, enum state state)
{
    size_t name_len = strlen(it->name);
    size_t len = 36u + 1 + name_len + 4 + it->known_bytes + 8;
    CHECK(it->known_bytes <= RAFT_KNOWN_MAX);
    struct wire_out w = wire_out_over(out, BYTES_MAX);
    wire_put_u64(&w, MAGIC);
    wire_put_u32(&w, FORMAT);
    wire_put_u32(&w, (uint32_t)len);
    wire_put_bytes(&w, slice_of(it->cluster_id, sizeof it->cluster_id));
    wire_put_u16(&w, it->node);
    wire_put_u8(&w, (uint8_t)state);
    wire_put_u8(&w, flags_of(it));
    wire_put_shortstr(&w, slice_of(it->name, name_len));
    wire_put_longstr(&w, slice_of(it->known, it->known_bytes));
    wire_put_u64(&w, hash_bytes(wire_out_slice(&w), 0));
    CHECK(!w.overflow && wire_out_len(&w) == len);
    return len;
}

static bool damaged(struct err *err)
{
    return err_set(err, ERR_REFUSED, FILE_NAME " is damaged: " REMEDY);
}

static bool take_fields(struct wire *w, struct slice all, struct raft_identity *out,
                        enum state *state)
{
    uint32_t len = wire_u32(w);
    struct slice cluster = wire_take(w, sizeof out->cluster_id);
    out->node = wire_u16(w);
    uint8_t state_octet = wire_u8(w);
    uint8_t flags = wire_u8(w);
    struct slice name = wire_shortstr(w);
    struct slice known = wire_longstr(w);
    size_t summed = all.len - wire_left(w);
    uint64_t sum = wire_u64(w);
    if (w->ran_out || wire_left(w) != 0 || len != all.len || state_octet > STATE_NONE ||
        flags > FLAGS || known.len > RAFT_KNOWN_MAX ||
        sum != hash_bytes(slice_head(all, summed), 0))
        return false;
    memcpy(out->cluster_id, cluster.ptr, cluster.len);
    memcpy(out->name, name.ptr, name.len);
    if (known.len != 0)
        memcpy(out->known, known.ptr, known.len);
    out->known_bytes = (uint32_t)known.len;
    out->is_ram = (flags & FLAG_RAM) != 0;
    out->has_log = (flags & FLAG_LOG) != 0;
    out->is_founder = (flags & FLAG_FOUNDER) != 0;
    *state = (enum state)state_octet;
    return true;
}

static bool take(struct slice all, struct raft_identity *out, enum state *state, struct err *err)
{
    struct wire w = wire_over(all);
    uint64_t magic = wire_u64(&w);
    uint32_t format = wire_u32(&w);
    *out = (struct raft_identity){ 0 };
    if (w.ran_out || magic != MAGIC)
        return damaged(err);
    if (format > FORMAT)
        return err_set(err, ERR_REFUSED,
                       FILE_NAME " was written by a newer version of Warren (format %" PRIu32
                                 ", this one reads %u): start that version again",
                       format, FORMAT);
    return take_fields(&w, all, out, state) || damaged(err);
}

/* ---- the file ---- */

static bool read_file(struct disk *disk, struct raft_identity *out, enum state *state,
                      struct err *err)
{
    uint8_t *bytes = mem_alloc(BYTES_MAX + 1);
    size_t got = 0;
    struct disk_file *f = disk->ops->open(disk, FILE_NAME, DISK_READ, err);
    bool ok = f != NULL && disk->ops->read(f, 0, bytes, BYTES_MAX + 1, &got, err);
    if (f != NULL)
        disk->ops->close(&f);
    ok = ok && take(slice_of(bytes, got), out, state, err);
    mem_free(bytes);
    return ok;
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
static bool write_file(struct disk *disk, const struct raft_identity *it, enum state state,
                       struct err *err)
{
    uint8_t *bytes = mem_alloc(BYTES_MAX);
    size_t len = put(bytes, it, state);
    bool ok = write_new(disk, slice_of(bytes, len), err) &&
              disk->ops->rename(disk, NEW_NAME, FILE_NAME, err) &&
              disk->ops->sync_folder(disk, "raft", err);
    mem_free(bytes);
    return ok;
}

/* ---- the folder ---- */

struct names {
    char (*at)[NAME_ROOM];
    size_t count;
    size_t room;
};

static void note(const char *name, void *arg)
{
    struct names *n = arg;
    if (strcmp(name, "identity") == 0 || strlen(name) + sizeof "raft/" > NAME_ROOM)
        return;
    if (n->count == n->room) {
        n->room = n->room != 0 ? n->room * 2 : 16;
        n->at = mem_realloc(n->at, n->room * sizeof *n->at);
    }
    snprintf(n->at[n->count++], NAME_ROOM, "raft/%s", name);
}

static bool list(struct disk *disk, struct names *out, struct err *err)
{
    *out = (struct names){ 0 };
    if (disk->ops->list(disk, "raft", note, out, err))
        return true;
    mem_free(out->at);
    *out = (struct names){ 0 };
    return err->code == ERR_NOT_FOUND; /* a folder that is not there is empty */
}

static bool empty(struct disk *disk, struct err *err)
{
    struct names n;
    bool ok = list(disk, &n, err);
    for (size_t i = 0; ok && i < n.count; i++)
        ok = disk->ops->remove(disk, n.at[i], err) || err->code == ERR_NOT_FOUND;
    mem_free(n.at);
    return ok && disk->ops->sync_folder(disk, "raft", err);
}

/* What is there without an identity is somebody's who lost it. A first file that was never finished
 * is nobody's. */
static bool judge_empty(struct disk *disk, struct err *err)
{
    struct names n;
    if (!list(disk, &n, err))
        return false;
    bool has_any = n.count > 1 || (n.count == 1 && strcmp(n.at[0], NEW_NAME) != 0);
    mem_free(n.at);
    return !has_any ||
           err_set(
               err, ERR_REFUSED,
               "the folder \"raft\" has a log but no file \"identity\" that says whose: " REMEDY);
}

/* ---- */

static bool finish(struct disk *disk, const struct raft_identity *it, enum state state,
                   struct err *err)
{
    if (!empty(disk, err))
        return false;
    if (state == STATE_CLEARING)
        return write_file(disk, it, STATE_WHOLE, err);
    return disk->ops->remove(disk, FILE_NAME, err) && disk->ops->sync_folder(disk, "raft", err);
}

static bool judge_name(const struct raft_identity *it, const char *name, struct err *err)
{
    char shown[RAFT_NAME_MAX * 4 + 1];
    struct text text = text_over(shown, sizeof shown);
    if (strcmp(it->name, name) == 0)
        return true;
    text_escaped(&text, slice_str(it->name));
    return err_set(err, ERR_REFUSED,
                   FILE_NAME
                   " is that of the node \"%s\", not of \"%s\": start the node under that "
                   "name, or with another folder",
                   shown, name);
}

static bool nobody(struct disk *disk, struct err *err)
{
    return judge_empty(disk, err) && err_set(err, ERR_NOT_FOUND, "the node is in no cluster yet");
}

bool raft_identity_read(struct disk *disk, const char *name, struct raft_identity *out,
                        struct err *err)
{
    enum state state = STATE_WHOLE;
    if (!read_file(disk, out, &state, err))
        return err->code == ERR_NOT_FOUND && nobody(disk, err);
    if (state != STATE_WHOLE && !finish(disk, out, state, err))
        return false;
    if (state == STATE_NONE)
        return nobody(disk, err);
    return judge_name(out, name, err);
}

bool raft_identity_look(struct disk *disk, struct raft_identity *out, struct err *err)
{
    enum state state = STATE_WHOLE;
    if (!read_file(disk, out, &state, err))
        return err->code == ERR_NOT_FOUND && nobody(disk, err);
    return state == STATE_WHOLE || err_set(err, ERR_NOT_FOUND, "the node is in no cluster yet");
}

bool raft_identity_write(struct disk *disk, const struct raft_identity *it, struct err *err)
{
    return write_file(disk, it, STATE_WHOLE, err);
}

bool raft_identity_replace(struct disk *disk, const struct raft_identity *it, struct err *err)
{
    const struct raft_identity none = { .node = 0 };
    enum state state = it != NULL ? STATE_CLEARING : STATE_NONE;
    return disk->ops->make_folder(disk, "raft", err) && disk->ops->sync_folder(disk, "", err) &&
           write_file(disk, it != NULL ? it : &none, state, err) &&
           finish(disk, it != NULL ? it : &none, state, err);
}
