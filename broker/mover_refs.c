#include "mover_refs.h"

#include "base/mem.h"
#include "store/segs.h"

void mover_refs_init(struct mover_refs *r)
{
    idmap_init(&r->by_seg);
}

static void drop(struct mover_refs *r, uint32_t seg)
{
    struct state_refs *refs = idmap_take(&r->by_seg, seg);
    mem_free(refs->qids);
    mem_free(refs);
}

void mover_refs_fini(struct mover_refs *r)
{
    for (size_t i = 0; i < r->by_seg.cap; i++) {
        struct state_refs *refs = r->by_seg.slots[i].value;
        if (refs != NULL)
            mem_free(refs->qids);
        mem_free(refs);
    }
    idmap_fini(&r->by_seg);
}

void mover_refs_add(struct mover_refs *r, uint32_t seg, uint64_t qid)
{
    struct state_refs *refs = idmap_get(&r->by_seg, seg);
    if (refs == NULL) {
        refs = mem_zalloc(sizeof *refs);
        idmap_put(&r->by_seg, seg, refs);
    }
    if (refs->count == refs->cap) {
        refs->cap = refs->cap != 0 ? 2 * refs->cap : 4;
        refs->qids = mem_realloc(refs->qids, refs->cap * sizeof *refs->qids);
    }
    refs->qids[refs->count++] = qid;
}

const struct state_refs *mover_refs_of(const struct mover_refs *r, uint32_t seg)
{
    return idmap_get(&r->by_seg, seg);
}

void mover_refs_drop(struct mover_refs *r, struct segs *segs)
{
    size_t gone_count = 0;
    uint32_t *gone = mem_array(r->by_seg.count + 1, sizeof *gone);
    for (size_t i = 0; i < r->by_seg.cap; i++) {
        uint32_t seg = (uint32_t)r->by_seg.slots[i].id;
        if (r->by_seg.slots[i].value != NULL && segs_state(segs, seg) == SEG_NONE)
            gone[gone_count++] = seg;
    }
    while (gone_count != 0)
        drop(r, gone[--gone_count]);
    mem_free(gone);
}
