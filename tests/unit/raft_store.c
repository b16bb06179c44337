#include "raft_store.h"

#include "base/check.h"
#include "base/mem.h"

#include <string.h>

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t x = (a ^ b) * 0x9E3779B97F4A7C15u;
    x ^= x >> 29;
    return x * 0xBF58476D1CE4E5B9u + b;
}

void raft_machine_apply(struct raft_machine *m, const struct raft_entry *e)
{
    CHECK(e->index == m->index + 1);
    struct slice bytes = raft_entry_slice(e);
    m->index = e->index;
    m->digest = mix(mix(m->digest, e->index), (uint64_t)e->kind);
    for (size_t i = 0; i < bytes.len; i++)
        m->digest = mix(m->digest, bytes.ptr[i]);
}

void raft_store_init(struct raft_store *s)
{
    *s = (struct raft_store){ .is_whole = true };
}

static void cut(struct raft_store *s, uint64_t from)
{
    while (s->count != 0 && s->base + s->count >= from)
        buf_unref(&s->entries[--s->count].bytes);
}

void raft_store_fini(struct raft_store *s)
{
    cut(s, 0);
    mem_free(s->entries);
    s->entries = NULL;
}

static void drop_up_to(struct raft_store *s, uint64_t index)
{
    size_t gone = 0;
    while (gone < s->count && s->base + gone < index)
        buf_unref(&s->entries[gone++].bytes);
    s->count -= gone;
    if (s->count != 0)
        memmove(s->entries, s->entries + gone, s->count * sizeof *s->entries);
    s->base = index;
}

static void add(struct raft_store *s, const struct raft_entry *e)
{
    CHECK(e->index == s->base + s->count + 1);
    if (s->count == s->room) {
        s->room = s->room * 2 + 16;
        s->entries = mem_realloc(s->entries, s->room * sizeof *s->entries);
    }
    s->entries[s->count++] = raft_entry_ref(e);
}

size_t raft_store_parts(const struct raft_write *w)
{
    return 3 + w->count;
}

void raft_store_write(struct raft_store *s, const struct raft_write *w, size_t parts)
{
    if (parts >= 1 && w->has_hard) {
        s->hard = w->hard;
        /* Whether it is whole is the hard state's word from now on. */
        if (w->hard.is_recovering)
            s->is_whole = true;
    }
    if (parts >= 2 && w->has_install) {
        s->snapshot = w->install;
        s->machine = s->received;
        CHECK(s->machine.index == s->snapshot.index);
    }
    if (parts >= 3 && w->truncate_from != 0)
        cut(s, w->truncate_from);
    if (parts >= 3 && w->has_install)
        drop_up_to(s, w->install.index);
    for (size_t i = 0; i < w->count && i + 3 < parts; i++)
        add(s, &w->entries[i]);
}

void raft_store_keep_snapshot(struct raft_store *s, const struct raft_snapshot *snap,
                              const struct raft_machine *m)
{
    s->snapshot = *snap;
    s->machine = *m;
    if (s->base + s->count >= snap->index)
        drop_up_to(s, snap->index);
}

void raft_store_damage(struct raft_store *s, uint64_t from)
{
    if (s->base + s->count < from)
        return;
    cut(s, from);
    s->is_whole = false;
}

void raft_store_start(struct raft_store *s, struct raft_start *out)
{
    if (s->base + s->count < s->snapshot.index) {
        cut(s, 0);
        s->base = s->snapshot.index;
    }
    *out = (struct raft_start){ .hard = s->hard,
                                .snapshot = s->snapshot,
                                .base = s->base,
                                .entries = s->entries,
                                .count = s->count,
                                .is_whole = s->is_whole };
}
