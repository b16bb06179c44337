#include "sim_disk.h"

#include "base/check.h"
#include "base/mem.h"
#include "sim_names.h"

#include <inttypes.h>
#include <stdio.h>

/* A change of names that is not safe: `to` stands for `inode` then (NULL with is_folder: it is
 * made; NULL otherwise: it is gone), and `from`, unless it is empty, is gone. */
struct name_change {
    STAILQ_ENTRY(name_change) entry;
    char from[SIM_NAME_BYTES];
    char to[SIM_NAME_BYTES];
    struct sim_inode *inode;
    bool is_folder;
};

struct sim_file {
    struct disk_file base;
    LIST_ENTRY(sim_file) entry;
    struct sim_inode *inode;
    bool writes;
    char name[SIM_NAME_BYTES];
};

struct sim_disk {
    struct disk base;
    struct rng chance;
    sim_trace_fn trace;
    void *trace_arg;
    void (*on_wait)(void);
    struct sim_names now;
    struct sim_names safe;
    STAILQ_HEAD(, name_change) changes;
    LIST_HEAD(, sim_inode) inodes;
    LIST_HEAD(, sim_file) files;
    struct sim_faults faults;
    uint64_t ops;
    uint64_t writes;
    uint64_t syncs;
    uint64_t reads;
    uint64_t folder_ops;
    uint64_t used;
    uint64_t peak;
    uint64_t now_us;
    unsigned next_number;
    bool is_down;
};

static const struct disk_ops ops;

static struct sim_disk *sim_of(struct disk *d)
{
    CHECK(d->ops == &ops);
    return (struct sim_disk *)d;
}

static struct sim_file *file_of(struct disk_file *f)
{
    CHECK(f->disk->ops == &ops);
    return (struct sim_file *)f;
}

PRINTF_LIKE(2, 3) static void say(struct sim_disk *d, const char *fmt, ...)
{
    if (d->trace == NULL)
        return;
    char line[256];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    d->trace(line, d->trace_arg);
}

/* ---- names ------------------------------------------------------------------------------------
 */

/* Inodes that nothing leads to any more are gone. */
static void drop_unnamed(struct sim_disk *d)
{
    struct sim_inode *next;
    for (struct sim_inode *i = LIST_FIRST(&d->inodes); i != NULL; i = next) {
        next = LIST_NEXT(i, entry);
        if (i->names != 0 || i->opens != 0)
            continue;
        LIST_REMOVE(i, entry);
        d->used -= i->now.len;
        sim_inode_free(&i);
    }
}

static void apply(struct sim_names *n, const struct name_change *c)
{
    if (c->from[0] != '\0')
        sim_names_unset(n, c->from);
    if (c->inode != NULL || c->is_folder)
        sim_names_set(n, c->to, c->inode);
    else
        sim_names_unset(n, c->to);
}

static void change_name(struct sim_disk *d, const char *from, const char *to,
                        struct sim_inode *inode, bool is_folder)
{
    struct name_change *c = mem_zalloc(sizeof *c);
    sim_name_put(c->from, from);
    sim_name_put(c->to, to);
    c->inode = inode;
    c->is_folder = is_folder;
    if (inode != NULL)
        inode->names++;
    STAILQ_INSERT_TAIL(&d->changes, c, entry);
    apply(&d->now, c);
}

static void forget_change(struct sim_disk *d, struct name_change *c)
{
    STAILQ_REMOVE(&d->changes, c, name_change, entry);
    if (c->inode != NULL)
        c->inode->names--;
    mem_free(c);
}

/* Does what `a` says depend on `b`, which came before it? */
static bool touches(const struct name_change *a, const struct name_change *b)
{
    if (b->is_folder && sim_name_is_in(a->to, b->to))
        return true;
    return (a->inode != NULL && a->inode == b->inode) || strcmp(a->to, b->to) == 0 ||
           strcmp(a->from, b->to) == 0 || strcmp(a->to, b->from) == 0 ||
           (a->from[0] != '\0' && strcmp(a->from, b->from) == 0);
}

/* Each change by chance, but none whose file or name waits for one that was lost. */
static void settle_names(struct sim_disk *d, unsigned share)
{
    STAILQ_HEAD(name_changes, name_change) lost = STAILQ_HEAD_INITIALIZER(lost);
    struct name_change *c;
    while ((c = STAILQ_FIRST(&d->changes)) != NULL) {
        STAILQ_REMOVE_HEAD(&d->changes, entry);
        bool comes = rng_chance(&d->chance, share);
        struct name_change *other;
        STAILQ_FOREACH (other, &lost, entry)
            comes = comes && !touches(c, other);
        if (!comes) {
            STAILQ_INSERT_TAIL(&lost, c, entry);
            continue;
        }
        apply(&d->safe, c);
        STAILQ_INSERT_HEAD(&d->changes, c, entry);
        forget_change(d, c);
    }
    while ((c = STAILQ_FIRST(&lost)) != NULL) {
        STAILQ_REMOVE_HEAD(&lost, entry);
        STAILQ_INSERT_TAIL(&d->changes, c, entry);
    }
}

/* ---- faults -----------------------------------------------------------------------------------
 */

static bool refuse(const struct sim_disk *d, const char *what, const char *name, struct err *err)
{
    (void)d;
    return err_set(err, ERR_IO, "%s: cannot %s: simulated fault", name, what);
}

static void wait_here(const struct sim_disk *d)
{
    if (d->on_wait != NULL)
        d->on_wait();
}

/* Every operation begins here. False: it fails. */
static bool begin_now(struct sim_disk *d, uint64_t *kind, uint64_t fails_at, const char *what,
                      const char *name, struct err *err)
{
    if (d->is_down)
        return refuse(d, what, name, err);
    d->ops++;
    d->now_us += 5;
    (*kind)++;
    if (d->ops == d->faults.crash_at) {
        say(d, "  disk %" PRIu64 ": power off in %s %s", d->ops, what, name);
        d->is_down = true;
        return refuse(d, what, name, err);
    }
    if (*kind == fails_at) {
        say(d, "  disk %" PRIu64 ": %s %s FAILS", d->ops, what, name);
        return refuse(d, what, name, err);
    }
    return true;
}

static bool begin(struct sim_disk *d, uint64_t *kind, uint64_t fails_at, const char *what,
                  const char *name, struct err *err)
{
    wait_here(d);
    return begin_now(d, kind, fails_at, what, name, err);
}

static bool has_room(const struct sim_disk *d, size_t len, size_t end)
{
    return d->faults.quota_bytes == 0 || end <= len ||
           d->used + (end - len) <= d->faults.quota_bytes;
}

static void set_used(struct sim_disk *d, size_t was, size_t is)
{
    d->used += is - was;
    d->peak = d->peak > d->used ? d->peak : d->used;
}

/* ---- operations -------------------------------------------------------------------------------
 */

static bool sim_make_folder(struct disk *base, const char *name, struct err *err)
{
    struct sim_disk *d = sim_of(base);
    if (!begin(d, &d->folder_ops, d->faults.folder_fails_at, "make folder", name, err))
        return false;
    if (sim_names_find(&d->now, name) == NULL)
        change_name(d, "", name, NULL, true);
    return true;
}

static bool folder_is_there(const struct sim_disk *d, const char *name)
{
    const char *slash = strrchr(name, '/');
    if (slash == NULL)
        return true;
    char folder[SIM_NAME_BYTES];
    (void)snprintf(folder, sizeof folder, "%.*s", (int)(slash - name), name);
    const struct sim_name *n = sim_names_find(&d->now, folder);
    return n != NULL && n->inode == NULL;
}

static struct disk_file *sim_open(struct disk *base, const char *name, enum disk_open how,
                                  struct err *err)
{
    struct sim_disk *d = sim_of(base);
    if (!begin(d, &d->folder_ops, d->faults.folder_fails_at, "open", name, err))
        return NULL;
    struct sim_name *n = sim_names_find(&d->now, name);
    if (how != DISK_CREATE && (n == NULL || n->inode == NULL)) {
        (void)err_set(err, ERR_NOT_FOUND, "%s: no such file", name);
        return NULL;
    }
    if (how == DISK_CREATE && (n != NULL || !folder_is_there(d, name))) {
        (void)err_set(err, ERR_IO, "%s: %s", name,
                      n != NULL ? "exists already" : "its folder does not exist");
        return NULL;
    }

    struct sim_inode *inode = how == DISK_CREATE ? sim_inode_new(++d->next_number) : n->inode;
    struct sim_file *f = mem_zalloc(sizeof *f);
    f->base.disk = base;
    f->inode = inode;
    f->writes = how != DISK_READ;
    sim_name_put(f->name, name);
    inode->opens++;
    LIST_INSERT_HEAD(&d->files, f, entry);
    if (how == DISK_CREATE) {
        say(d, "  disk %" PRIu64 ": create %s", d->ops, name);
        LIST_INSERT_HEAD(&d->inodes, inode, entry);
        change_name(d, "", name, inode, false);
    }
    return &f->base;
}

static void sim_close(struct disk_file **fp)
{
    if (*fp == NULL)
        return;
    struct sim_disk *d = sim_of((*fp)->disk);
    struct sim_file *f = (struct sim_file *)*fp;
    *fp = NULL;
    f->inode->opens--;
    LIST_REMOVE(f, entry);
    mem_free(f);
    drop_unnamed(d);
}

static bool sim_size(struct disk_file *base, uint64_t *bytes, struct err *err)
{
    struct sim_file *f = file_of(base);
    if (sim_of(base->disk)->is_down)
        return refuse(sim_of(base->disk), "stat", f->name, err);
    *bytes = f->inode->now.len;
    return true;
}

static bool sim_read(struct disk_file *base, uint64_t offset, void *bytes, size_t len, size_t *got,
                     struct err *err)
{
    struct sim_file *f = file_of(base);
    struct sim_disk *d = sim_of(base->disk);
    const struct sim_inode *i = f->inode;
    if (!begin(d, &d->reads, d->faults.read_fails_at, "read", f->name, err))
        return false;
    size_t there = offset < i->now.len ? i->now.len - (size_t)offset : 0;
    *got = len < there ? len : there;
    if (*got != 0 && i->spoilt != SIZE_MAX && i->spoilt < offset + *got &&
        offset < i->spoilt + SIM_SECTOR)
        return refuse(d, "read a spoilt sector of", f->name, err);
    if (*got != 0)
        memcpy(bytes, i->now.ptr + offset, *got);
    return true;
}

/* Only a first part of what should be written, whole sectors or not. */
static void write_some(struct sim_disk *d, struct sim_file *f, size_t offset, struct slice all)
{
    size_t was = f->inode->now.len;
    size_t len = rng_below(&d->chance, all.len + 1);
    sim_inode_write(f->inode, offset, slice_head(all, len));
    set_used(d, was, f->inode->now.len);
}

static struct slice joined(const struct slice *parts, size_t count, uint8_t **room)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += parts[i].len;
    *room = mem_alloc(len + 1);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len != 0)
            memcpy(*room + at, parts[i].ptr, parts[i].len);
        at += parts[i].len;
    }
    return slice_of(*room, len);
}

static bool write_all(struct sim_disk *d, struct sim_file *f, size_t offset, struct slice all,
                      struct err *err)
{
    wait_here(d);
    bool was_down = d->is_down;
    if (!begin_now(d, &d->writes, d->faults.write_fails_at, "write", f->name, err)) {
        if (!was_down)
            write_some(d, f, offset, all);
        return false;
    }
    if (!has_room(d, f->inode->now.len, offset + all.len)) {
        say(d, "  disk %" PRIu64 ": write %s: no space", d->ops, f->name);
        return err_set(err, ERR_LIMIT, "%s: no space left on the simulated disk", f->name);
    }
    say(d, "  disk %" PRIu64 ": write %s #%u at %zu +%zu", d->ops, f->name, f->inode->number,
        offset, all.len);
    size_t was = f->inode->now.len;
    sim_inode_write(f->inode, offset, all);
    set_used(d, was, f->inode->now.len);
    return true;
}

static bool sim_write(struct disk_file *base, uint64_t offset, const struct slice *parts,
                      size_t count, struct err *err)
{
    struct sim_file *f = file_of(base);
    CHECK(f->writes);
    uint8_t *room;
    struct slice all = joined(parts, count, &room);
    bool ok = write_all(sim_of(base->disk), f, (size_t)offset, all, err);
    mem_free(room);
    return ok;
}

static bool sim_sync(struct disk_file *base, struct err *err)
{
    struct sim_file *f = file_of(base);
    struct sim_disk *d = sim_of(base->disk);
    wait_here(d);
    bool was_down = d->is_down;
    if (!begin_now(d, &d->syncs, d->faults.sync_fails_at, "sync", f->name, err)) {
        /* When the power goes off in a sync, what waits is judged at the reboot. */
        if (!was_down && !d->is_down)
            sim_inode_lose(f->inode, &d->chance);
        return false;
    }
    say(d, "  disk %" PRIu64 ": sync %s", d->ops, f->name);
    d->now_us += 50 + rng_below(&d->chance, 200);
    if (rng_chance(&d->chance, d->faults.stall_per_mille))
        d->now_us += rng_below(&d->chance, 5000000);
    sim_inode_sync(f->inode);
    wait_here(d);
    return true;
}

static bool sim_truncate(struct disk_file *base, uint64_t bytes, struct err *err)
{
    struct sim_file *f = file_of(base);
    struct sim_disk *d = sim_of(base->disk);
    CHECK(f->writes);
    if (!begin(d, &d->writes, d->faults.write_fails_at, "truncate", f->name, err))
        return false;
    size_t was = f->inode->now.len;
    if (!has_room(d, was, (size_t)bytes))
        return err_set(err, ERR_LIMIT, "%s: no space left on the simulated disk", f->name);
    say(d, "  disk %" PRIu64 ": truncate %s to %" PRIu64, d->ops, f->name, bytes);
    sim_inode_truncate(f->inode, (size_t)bytes);
    set_used(d, was, (size_t)bytes);
    return true;
}

static bool sim_rename(struct disk *base, const char *from, const char *to, struct err *err)
{
    struct sim_disk *d = sim_of(base);
    if (!begin(d, &d->folder_ops, d->faults.folder_fails_at, "rename", from, err))
        return false;
    struct sim_name *n = sim_names_find(&d->now, from);
    if (n == NULL || n->inode == NULL)
        return err_set(err, ERR_NOT_FOUND, "%s: no such file", from);
    say(d, "  disk %" PRIu64 ": rename %s to %s", d->ops, from, to);
    change_name(d, from, to, n->inode, false);
    drop_unnamed(d);
    return true;
}

static bool sim_remove(struct disk *base, const char *name, struct err *err)
{
    struct sim_disk *d = sim_of(base);
    if (!begin(d, &d->folder_ops, d->faults.folder_fails_at, "remove", name, err))
        return false;
    struct sim_name *n = sim_names_find(&d->now, name);
    if (n == NULL || n->inode == NULL)
        return err_set(err, ERR_NOT_FOUND, "%s: no such file", name);
    say(d, "  disk %" PRIu64 ": remove %s", d->ops, name);
    change_name(d, "", name, NULL, false);
    drop_unnamed(d);
    return true;
}

static bool sim_sync_folder(struct disk *base, const char *name, struct err *err)
{
    struct sim_disk *d = sim_of(base);
    if (!begin(d, &d->folder_ops, d->faults.folder_fails_at, "sync folder", name, err))
        return false;
    say(d, "  disk %" PRIu64 ": sync folder %s", d->ops, name);
    struct name_change *next;
    for (struct name_change *c = STAILQ_FIRST(&d->changes); c != NULL; c = next) {
        next = STAILQ_NEXT(c, entry);
        if (!sim_name_is_in(c->to, name))
            continue;
        apply(&d->safe, c);
        forget_change(d, c);
    }
    drop_unnamed(d);
    return true;
}

static bool sim_list(struct disk *base, const char *folder, disk_name_fn each, void *arg,
                     struct err *err)
{
    struct sim_disk *d = sim_of(base);
    if (!begin(d, &d->folder_ops, d->faults.folder_fails_at, "list", folder, err))
        return false;
    bool is_top = folder[0] == '\0' || strcmp(folder, ".") == 0;
    if (!is_top && sim_names_find(&d->now, folder) == NULL)
        return err_set(err, ERR_NOT_FOUND, "%s: no such folder", folder);

    /* Whoever is called may change what is listed. */
    size_t count = d->now.count;
    struct sim_name *copy = mem_array(count + 1, sizeof *copy);
    if (count != 0)
        memcpy(copy, d->now.list, count * sizeof *copy);
    for (size_t i = 0; i < count; i++)
        if (sim_name_is_in(copy[i].text, folder))
            each(is_top ? copy[i].text : copy[i].text + strlen(folder) + 1, arg);
    mem_free(copy);
    return true;
}

static bool sim_space(struct disk *base, uint64_t *free_bytes, uint64_t *total_bytes,
                      struct err *err)
{
    struct sim_disk *d = sim_of(base);
    if (d->is_down)
        return refuse(d, "ask for the space of", "the disk", err);
    *total_bytes = d->faults.quota_bytes != 0 ? d->faults.quota_bytes : UINT64_C(1) << 40;
    *free_bytes = *total_bytes > d->used ? *total_bytes - d->used : 0;
    return true;
}

/* The simulator's owner frees it, not the code under test. */
static void sim_free_disk(struct disk *base)
{
    (void)base;
}

static const struct disk_ops ops = {
    .make_folder = sim_make_folder,
    .open = sim_open,
    .close = sim_close,
    .size = sim_size,
    .read = sim_read,
    .write = sim_write,
    .sync = sim_sync,
    .truncate = sim_truncate,
    .rename = sim_rename,
    .remove = sim_remove,
    .sync_folder = sim_sync_folder,
    .list = sim_list,
    .space = sim_space,
    .free_disk = sim_free_disk,
};

/* ---- for the simulator ------------------------------------------------------------------------
 */

struct sim_disk *sim_disk_new(uint64_t seed, sim_trace_fn trace, void *arg)
{
    struct sim_disk *d = mem_zalloc(sizeof *d);
    d->base.ops = &ops;
    d->trace = trace;
    d->trace_arg = arg;
    rng_init(&d->chance, seed);
    STAILQ_INIT(&d->changes);
    LIST_INIT(&d->inodes);
    LIST_INIT(&d->files);
    return d;
}

void sim_disk_free(struct sim_disk **dp)
{
    struct sim_disk *d = *dp;
    *dp = NULL;
    if (d == NULL)
        return;
    CHECK(LIST_EMPTY(&d->files));
    while (!STAILQ_EMPTY(&d->changes))
        forget_change(d, STAILQ_FIRST(&d->changes));
    sim_names_clear(&d->now);
    sim_names_clear(&d->safe);
    drop_unnamed(d);
    CHECK(LIST_EMPTY(&d->inodes));
    mem_free(d->now.list);
    mem_free(d->safe.list);
    mem_free(d);
}

void sim_disk_on_wait(struct sim_disk *d, void (*fn)(void))
{
    d->on_wait = fn;
}

struct disk *sim_disk_of(struct sim_disk *d)
{
    return &d->base;
}

void sim_disk_arm(struct sim_disk *d, const struct sim_faults *faults)
{
    d->faults = *faults;
    d->ops = d->writes = d->syncs = d->reads = d->folder_ops = 0;
}

void sim_disk_cut(struct sim_disk *d)
{
    d->is_down = true;
}

bool sim_disk_is_down(const struct sim_disk *d)
{
    return d->is_down;
}

void sim_disk_reboot(struct sim_disk *d, enum sim_survival how)
{
    struct sim_file *f;
    LIST_FOREACH (f, &d->files, entry)
        say(d, "  disk: %s is still open", f->name);
    CHECK(LIST_EMPTY(&d->files));
    say(d, "  disk: reboot, survival %d", (int)how);
    d->is_down = false;
    d->faults = (struct sim_faults){ 0 };
    if (how == SIM_SURVIVES_KILL)
        return;

    unsigned share = how == SIM_SURVIVES_NOTHING ? 0
                     : how == SIM_SURVIVES_ALL   ? 1000
                                                 : (unsigned)rng_below(&d->chance, 1001);
    settle_names(d, share);
    while (!STAILQ_EMPTY(&d->changes))
        forget_change(d, STAILQ_FIRST(&d->changes));
    sim_names_clear(&d->now);
    for (size_t i = 0; i < d->safe.count; i++)
        sim_names_set(&d->now, d->safe.list[i].text, d->safe.list[i].inode);
    struct sim_inode *i;
    LIST_FOREACH (i, &d->inodes, entry) {
        size_t was = i->now.len;
        sim_inode_crash(i, how, &d->chance);
        set_used(d, was, i->now.len);
    }
    drop_unnamed(d);
}

uint64_t sim_disk_ops(const struct sim_disk *d)
{
    return d->ops;
}

uint64_t sim_disk_used(const struct sim_disk *d)
{
    return d->used;
}

uint64_t sim_disk_peak(struct sim_disk *d)
{
    uint64_t peak = d->peak;
    d->peak = d->used;
    return peak;
}

uint64_t sim_disk_now_us(const struct sim_disk *d)
{
    return d->now_us;
}

void sim_disk_pass(struct sim_disk *d, uint64_t us)
{
    d->now_us += us;
}

struct slice sim_disk_look(const struct sim_disk *d, const char *name)
{
    const struct sim_name *n = sim_names_find(&d->now, name);
    return n == NULL || n->inode == NULL ? slice_of(NULL, 0)
                                         : slice_of(n->inode->now.ptr, n->inode->now.len);
}

bool sim_disk_rot(struct sim_disk *d, const char *name, uint64_t offset, uint8_t bits)
{
    const struct sim_name *n = sim_names_find(&d->now, name);
    if (n == NULL || n->inode == NULL || offset >= n->inode->now.len ||
        offset >= n->inode->safe.len)
        return false;
    say(d, "  disk: rot %s at %" PRIu64, name, offset);
    n->inode->now.ptr[offset] ^= bits;
    n->inode->safe.ptr[offset] ^= bits;
    return true;
}

bool sim_disk_spoil(struct sim_disk *d, const char *name, uint64_t offset)
{
    const struct sim_name *n = sim_names_find(&d->now, name);
    if (n == NULL || n->inode == NULL || offset >= n->inode->now.len)
        return false;
    n->inode->spoilt = offset / SIM_SECTOR * SIM_SECTOR;
    return true;
}
