#include "sim_spoil.h"

#include "base/check.h"
#include "base/mem.h"
#include "store/index_file.h"
#include "store/journal.h"
#include "store/seg_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGS_MAX 64u

struct found {
    uint32_t segs[SEGS_MAX];
    size_t count;
};

static void note_name(const char *name, void *arg)
{
    struct found *f = arg;
    char *end;
    unsigned long number = strtoul(name, &end, 16);
    if (strcmp(end, ".idx") == 0 && f->count < SEGS_MAX)
        f->segs[f->count++] = (uint32_t)number;
}

static void put(struct sim_disk *d, uint32_t seg, struct slice bytes)
{
    char name[JOURNAL_NAME_MAX];
    struct err err;
    journal_idx_name(seg, name);
    CHECK(seg_file_write(sim_disk_of(d), name, bytes, &err));
}

static void rot(struct sim_disk *d, uint32_t seg, struct rng *chance)
{
    char name[JOURNAL_NAME_MAX];
    journal_idx_name(seg, name);
    size_t len = sim_disk_look(d, name).len;
    if (len != 0)
        (void)sim_disk_rot(d, name, rng_below(chance, len), (uint8_t)(1u << rng_below(chance, 8)));
}

/* What is good of another segment; with this one's number, as if it came from another life of it.
 */
static void exchange(struct sim_disk *d, uint32_t seg, uint32_t with, bool is_renumbered)
{
    char name[JOURNAL_NAME_MAX];
    struct index_header h;
    journal_idx_name(with, name);
    struct slice good = sim_disk_look(d, name);
    uint8_t *bytes = mem_dup(good.ptr, good.len);
    struct slice copy = slice_of(bytes, good.len);
    if (is_renumbered && good.len >= INDEX_HEADER_BYTES && index_header_read(copy, &h)) {
        h.segment.seg = seg;
        index_header_put(bytes, &h);
    }
    put(d, seg, copy);
    mem_free(bytes);
}

uint32_t sim_spoil_index(struct sim_disk *d, struct rng *chance)
{
    struct found f = { .count = 0 };
    struct disk *disk = sim_disk_of(d);
    struct err err;
    if (!disk->ops->list(disk, JOURNAL_FOLDER, note_name, &f, &err) || f.count == 0)
        return 0;
    uint32_t seg = f.segs[rng_below(chance, f.count)];
    uint32_t with = f.segs[rng_below(chance, f.count)];
    if (seg == with || rng_chance(chance, 500))
        rot(d, seg, chance);
    else
        exchange(d, seg, with, rng_chance(chance, 500));
    return seg;
}
