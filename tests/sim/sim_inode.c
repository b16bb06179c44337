#include "sim_inode.h"

#include "base/check.h"
#include "base/mem.h"

static void set_len(struct sim_bytes *b, size_t len)
{
    if (len > b->room) {
        b->room = len + len / 2;
        b->ptr = mem_realloc(b->ptr, b->room);
    }
    if (len > b->len)
        memset(b->ptr + b->len, 0, len - b->len);
    b->len = len;
}

static void copy_in(struct sim_bytes *b, size_t offset, const uint8_t *from, size_t len)
{
    if (b->len < offset + len)
        set_len(b, offset + len);
    if (len != 0)
        memcpy(b->ptr + offset, from, len);
}

struct sim_inode *sim_inode_new(unsigned number)
{
    struct sim_inode *i = mem_zalloc(sizeof *i);
    i->number = number;
    i->spoilt = SIZE_MAX;
    STAILQ_INIT(&i->changes);
    return i;
}

static void forget_changes(struct sim_inode *i)
{
    struct sim_change *c;
    while ((c = STAILQ_FIRST(&i->changes)) != NULL) {
        STAILQ_REMOVE_HEAD(&i->changes, entry);
        mem_free(c);
    }
}

void sim_inode_free(struct sim_inode **ip)
{
    struct sim_inode *i = *ip;
    *ip = NULL;
    if (i == NULL)
        return;
    forget_changes(i);
    mem_free(i->now.ptr);
    mem_free(i->safe.ptr);
    mem_free(i);
}

void sim_inode_write(struct sim_inode *i, size_t offset, struct slice bytes)
{
    if (bytes.len == 0)
        return;
    copy_in(&i->now, offset, bytes.ptr, bytes.len);

    size_t from = offset / SIM_SECTOR * SIM_SECTOR;
    size_t to = (offset + bytes.len + SIM_SECTOR - 1) / SIM_SECTOR * SIM_SECTOR;
    to = to < i->now.len ? to : i->now.len;
    struct sim_change *c = mem_alloc(sizeof *c + to - from);
    *c = (struct sim_change){ .offset = from,
                              .len = to - from,
                              .from = offset,
                              .to = offset + bytes.len,
                              .file_len = i->now.len };
    memcpy(c->bytes, i->now.ptr + from, to - from);
    STAILQ_INSERT_TAIL(&i->changes, c, entry);
    if (i->spoilt >= from && i->spoilt < to)
        i->spoilt = SIZE_MAX;
}

void sim_inode_truncate(struct sim_inode *i, size_t len)
{
    struct sim_change *c = mem_zalloc(sizeof *c);
    c->is_cut = true;
    c->file_len = len;
    STAILQ_INSERT_TAIL(&i->changes, c, entry);
    set_len(&i->now, len);
}

/* The sector at `at` of a change is on the medium now. */
static void settle_sector(struct sim_inode *i, const struct sim_change *c, size_t at)
{
    size_t len = c->len - at < SIM_SECTOR ? c->len - at : SIM_SECTOR;
    copy_in(&i->safe, c->offset + at, c->bytes + at, len);
}

static void settle_change(struct sim_inode *i, const struct sim_change *c)
{
    if (c->is_cut)
        set_len(&i->safe, c->file_len);
    else
        copy_in(&i->safe, c->offset, c->bytes, c->len);
}

void sim_inode_sync(struct sim_inode *i)
{
    struct sim_change *c;
    STAILQ_FOREACH (c, &i->changes, entry)
        settle_change(i, c);
    forget_changes(i);
}

/* Rubbish stands only where something was written, as everybody assumes who writes to a sector more
 * than once; in the milder case only where something was to change. */
static void settle_spoilt(struct sim_inode *i, const struct sim_change *c, size_t at,
                          enum sim_survival how, struct rng *chance)
{
    uint8_t was[SIM_SECTOR] = { 0 };
    size_t sector = c->offset + at;
    size_t len = c->len - at < SIM_SECTOR ? c->len - at : SIM_SECTOR;
    if (sector < i->safe.len)
        memcpy(was, i->safe.ptr + sector, i->safe.len - sector < len ? i->safe.len - sector : len);
    settle_sector(i, c, at);

    size_t k = rng_below(chance, len);
    for (size_t n = 0; n < len; n++, k = (k + 1) % len) {
        bool is_written = sector + k >= c->from && sector + k < c->to;
        if (!is_written || (how == SIM_SURVIVES_TORN && i->safe.ptr[sector + k] == was[k]))
            continue;
        i->safe.ptr[sector + k] ^= (uint8_t)(1 + rng_below(chance, 255));
        return;
    }
}

static void settle_some(struct sim_inode *i, enum sim_survival how, struct rng *chance)
{
    /* One sync may have been nearly done, another just begun. */
    unsigned share = (unsigned)rng_below(chance, 1001);
    struct sim_change *c;
    STAILQ_FOREACH (c, &i->changes, entry) {
        if (c->is_cut || how == SIM_SURVIVES_WRITES) {
            if (rng_chance(chance, share))
                settle_change(i, c);
            continue;
        }
        for (size_t at = 0; at < c->len; at += SIM_SECTOR) {
            if (!rng_chance(chance, share))
                continue;
            if (how >= SIM_SURVIVES_TORN && rng_chance(chance, 300))
                settle_spoilt(i, c, at, how, chance);
            else
                settle_sector(i, c, at);
        }
    }
}

void sim_inode_lose(struct sim_inode *i, struct rng *chance)
{
    settle_some(i, SIM_SURVIVES_SECTORS, chance);
    forget_changes(i);
}

void sim_inode_crash(struct sim_inode *i, enum sim_survival how, struct rng *chance)
{
    switch (how) {
    case SIM_SURVIVES_KILL:
        return;
    case SIM_SURVIVES_NOTHING:
        break;
    case SIM_SURVIVES_ALL:
        sim_inode_sync(i);
        break;
    case SIM_SURVIVES_WRITES:
    case SIM_SURVIVES_SECTORS:
    case SIM_SURVIVES_TORN:
    case SIM_SURVIVES_RUBBISH:
        settle_some(i, how, chance);
        break;
    case SIM_SURVIVALS:
        UNREACHABLE("survival");
    }
    forget_changes(i);
    set_len(&i->now, i->safe.len);
    if (i->safe.len != 0)
        memcpy(i->now.ptr, i->safe.ptr, i->safe.len);
}
