#include "raft/raft_log.h"

#include "base/check.h"
#include "base/mem.h"

#include <string.h>

#define SLOTS_FIRST 64u

static struct raft_entry *slot(const struct raft_log *l, uint64_t index)
{
    return &l->slots[index & (l->cap - 1)];
}

void raft_log_init(struct raft_log *l)
{
    *l = (struct raft_log){ .config_room = 2 };
    l->configs = mem_array(l->config_room, sizeof *l->configs);
    l->config_count = 1; /* nobody */
}

static void drop(struct raft_log *l, uint64_t index)
{
    struct raft_entry *e = slot(l, index);
    l->bytes -= raft_entry_cost(e);
    buf_unref(&e->bytes);
}

void raft_log_fini(struct raft_log *l)
{
    for (uint64_t i = l->base + 1; i <= l->last; i++)
        drop(l, i);
    mem_free(l->slots);
    mem_free(l->configs);
}

const struct raft_entry *raft_log_at(const struct raft_log *l, uint64_t index)
{
    CHECK(raft_log_has(l, index));
    return slot(l, index);
}

uint64_t raft_log_term(const struct raft_log *l, uint64_t index)
{
    return index == l->base ? l->base_term : raft_log_at(l, index)->term;
}

uint64_t raft_log_last_term(const struct raft_log *l)
{
    return raft_log_term(l, l->last);
}

uint64_t raft_log_find(const struct raft_log *l, uint64_t index, uint64_t term)
{
    CHECK(index <= l->last);
    /* Terms never fall along the log. */
    uint64_t low = l->base, high = index > l->base ? index : l->base;
    while (low < high) {
        uint64_t middle = high - (high - low) / 2;
        if (raft_log_term(l, middle) <= term)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static void grow(struct raft_log *l)
{
    struct raft_log bigger = *l;
    bigger.cap = l->cap == 0 ? SLOTS_FIRST : l->cap * 2;
    bigger.slots = mem_array(bigger.cap, sizeof *bigger.slots);
    for (uint64_t i = l->base + 1; i <= l->last; i++)
        *slot(&bigger, i) = *slot(l, i);
    mem_free(l->slots);
    *l = bigger;
}

static void add_config(struct raft_log *l, const struct raft_entry *e)
{
    if (l->config_count == l->config_room) {
        l->config_room *= 2;
        l->configs = mem_realloc(l->configs, l->config_room * sizeof *l->configs);
    }
    struct raft_log_config *c = &l->configs[l->config_count];
    struct wire w = wire_over(raft_entry_slice(e));
    c->index = e->index;
    /* Whoever lets entries in has looked at them: raft_wire, the disk's reader, the leader. */
    bool is_good = raft_config_take(&w, &c->config);
    CHECK(is_good && wire_left(&w) == 0);
    l->config_count++;
}

void raft_log_append(struct raft_log *l, struct raft_entry *e)
{
    CHECK(e->index == l->last + 1);
    CHECK(e->term >= raft_log_last_term(l));
    if (l->last - l->base == l->cap)
        grow(l);
    if (e->kind == RAFT_CONFIG)
        add_config(l, e);
    l->last++;
    l->bytes += raft_entry_cost(e);
    *slot(l, l->last) = *e;
    e->bytes = NULL;
}

void raft_log_truncate(struct raft_log *l, uint64_t from)
{
    CHECK(from > l->base);
    for (; l->last >= from; l->last--)
        drop(l, l->last);
    while (l->configs[l->config_count - 1].index >= from && l->config_count > 1)
        l->config_count--;
}

/* The number of the configuration that was in force at an index. */
static size_t config_at(const struct raft_log *l, uint64_t index)
{
    size_t i = l->config_count - 1;
    while (i > 0 && l->configs[i].index > index)
        i--;
    return i;
}

void raft_log_compact(struct raft_log *l, uint64_t index)
{
    CHECK(index <= l->last);
    if (index <= l->base)
        return;
    l->base_term = raft_log_term(l, index);
    for (; l->base < index; l->base++)
        drop(l, l->base + 1);
    size_t first = config_at(l, index);
    l->config_count -= first;
    memmove(l->configs, l->configs + first, l->config_count * sizeof *l->configs);
}

void raft_log_reset(struct raft_log *l, const struct raft_snapshot *s)
{
    for (; l->last > l->base; l->last--)
        drop(l, l->last);
    l->base = l->last = s->index;
    l->base_term = s->term;
    l->configs[0] = (struct raft_log_config){ s->config_index, s->config };
    l->config_count = 1;
}

const struct raft_config *raft_log_config(const struct raft_log *l)
{
    return &l->configs[l->config_count - 1].config;
}

uint64_t raft_log_config_index(const struct raft_log *l)
{
    return l->configs[l->config_count - 1].index;
}

const struct raft_log_config *raft_log_config_at(const struct raft_log *l, uint64_t index)
{
    return &l->configs[config_at(l, index)];
}

struct raft_entry *raft_log_copy(const struct raft_log *l, uint64_t first, size_t count)
{
    if (count == 0)
        return NULL;
    struct raft_entry *copy = mem_array(count, sizeof *copy);
    for (size_t i = 0; i < count; i++)
        copy[i] = raft_entry_ref(raft_log_at(l, first + i));
    return copy;
}
