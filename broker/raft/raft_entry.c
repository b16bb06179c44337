#include "raft/raft_entry.h"

#include "base/check.h"
#include "base/mem.h"

#include <string.h>

#define CONFIG_VERSION 1u

void raft_entries_free(struct raft_entry **entries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buf_unref(&(*entries)[i].bytes);
    mem_free(*entries);
    *entries = NULL;
}

static uint32_t place_of(const struct raft_config *c, uint16_t node)
{
    uint32_t i = 0;
    while (i < c->count && c->members[i].node < node)
        i++;
    return i;
}

const struct raft_member *raft_config_find(const struct raft_config *c, uint16_t node)
{
    uint32_t i = place_of(c, node);
    return i < c->count && c->members[i].node == node ? &c->members[i] : NULL;
}

bool raft_config_is_voter(const struct raft_config *c, uint16_t node)
{
    const struct raft_member *m = raft_config_find(c, node);
    return m != NULL && m->part != RAFT_LEARNER;
}

uint32_t raft_config_voters(const struct raft_config *c)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->count; i++)
        count += c->members[i].part != RAFT_LEARNER;
    return count;
}

bool raft_config_set(struct raft_config *c, uint16_t node, enum raft_part part)
{
    CHECK(node != 0);
    uint32_t i = place_of(c, node);
    bool is_new = i == c->count || c->members[i].node != node;
    bool gains_vote = part != RAFT_LEARNER && (is_new || c->members[i].part == RAFT_LEARNER);
    if ((is_new && c->count == RAFT_MEMBERS_MAX) ||
        (gains_vote && raft_config_voters(c) >= RAFT_VOTERS_MAX))
        return false;
    if (is_new) {
        memmove(&c->members[i + 1], &c->members[i], (c->count - i) * sizeof c->members[0]);
        c->count++;
    }
    c->members[i] = (struct raft_member){ node, part };
    return true;
}

void raft_config_unset(struct raft_config *c, uint16_t node)
{
    uint32_t i = place_of(c, node);
    CHECK(i < c->count && c->members[i].node == node);
    c->count--;
    memmove(&c->members[i], &c->members[i + 1], (c->count - i) * sizeof c->members[0]);
}

void raft_config_put(struct wire_out *w, const struct raft_config *c)
{
    wire_put_u8(w, CONFIG_VERSION);
    wire_put_u8(w, (uint8_t)c->count);
    for (uint32_t i = 0; i < c->count; i++) {
        wire_put_u16(w, c->members[i].node);
        wire_put_u8(w, (uint8_t)c->members[i].part);
    }
}

bool raft_config_take(struct wire *w, struct raft_config *out)
{
    *out = (struct raft_config){ 0 };
    uint8_t version = wire_u8(w);
    uint8_t count = wire_u8(w);
    if (w->ran_out || version != CONFIG_VERSION || count > RAFT_MEMBERS_MAX)
        return false;
    uint16_t before = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint16_t node = wire_u16(w);
        uint8_t part = wire_u8(w);
        if (w->ran_out || node <= before || part < RAFT_LEARNER || part > RAFT_WITNESS)
            return false;
        if (!raft_config_set(out, node, (enum raft_part)part))
            return false;
        before = node;
    }
    return true;
}

struct buf *raft_config_buf(const struct raft_config *c)
{
    struct buf *b = buf_new(2 + 3 * (size_t)c->count);
    struct wire_out w = wire_out_over(b->data, b->cap_bytes);
    raft_config_put(&w, c);
    CHECK(!w.overflow);
    b->len_bytes = (uint32_t)wire_out_len(&w);
    return b;
}
