#include "raft/raft_wire.h"

#include "base/check.h"
#include "base/mem.h"

#define VERSION    1u
#define HEAD_BYTES 18u
#define ENTRY_HEAD 13u

/* ---- writing ---- */

static size_t config_size(const struct raft_config *c)
{
    return 2 + 3 * (size_t)c->count;
}

size_t raft_wire_size(const struct raft_msg *m)
{
    switch (m->kind) {
    case RAFT_MSG_PREVOTE:
    case RAFT_MSG_VOTE:
        return HEAD_BYTES + 17;
    case RAFT_MSG_PREVOTE_REPLY:
    case RAFT_MSG_VOTE_REPLY:
        return HEAD_BYTES + 9;
    case RAFT_MSG_APPEND: {
        size_t size = HEAD_BYTES + 61;
        for (uint32_t i = 0; i < m->append.count; i++)
            size += ENTRY_HEAD + raft_entry_slice(&m->append.entries[i]).len;
        return size;
    }
    case RAFT_MSG_APPEND_REPLY:
        return HEAD_BYTES + 54;
    case RAFT_MSG_INSTALL:
        return HEAD_BYTES + 40 + config_size(&m->install.snapshot.config) + 20 +
               (m->install.chunk != NULL ? m->install.chunk->len_bytes : 0);
    case RAFT_MSG_INSTALL_REPLY:
        return HEAD_BYTES + 32;
    case RAFT_MSG_TIMEOUT_NOW:
        return HEAD_BYTES;
    case RAFT_MSG_NONE:
    case RAFT_MSG_KIND_COUNT:
        break;
    }
    UNREACHABLE("raft message");
}

static void put_bool(struct wire_out *w, bool b)
{
    wire_put_u8(w, b ? 1 : 0);
}

static void put_append(struct wire_out *w, const struct raft_msg_append *a)
{
    wire_put_u64(w, a->prev_index);
    wire_put_u64(w, a->prev_term);
    wire_put_u64(w, a->commit);
    wire_put_u64(w, a->all_applied);
    wire_put_u64(w, a->round);
    wire_put_u32(w, a->probe);
    put_bool(w, a->is_question);
    wire_put_u64(w, a->whole_at);
    wire_put_u32(w, a->whole_boot);
    wire_put_u32(w, a->count);
    for (uint32_t i = 0; i < a->count; i++) {
        const struct raft_entry *e = &a->entries[i];
        CHECK(e->index == a->prev_index + 1 + i);
        wire_put_u8(w, (uint8_t)e->kind);
        wire_put_u64(w, e->term);
        wire_put_longstr(w, raft_entry_slice(e));
    }
}

static void put_append_reply(struct wire_out *w, const struct raft_msg_append_reply *a)
{
    put_bool(w, a->is_refused);
    put_bool(w, a->is_recovering);
    wire_put_u64(w, a->prev_index);
    wire_put_u64(w, a->match);
    wire_put_u64(w, a->hint_index);
    wire_put_u64(w, a->hint_term);
    wire_put_u64(w, a->applied);
    wire_put_u64(w, a->round);
    wire_put_u32(w, a->probe);
}

static void put_install(struct wire_out *w, const struct raft_msg_install *a)
{
    wire_put_u64(w, a->snapshot.index);
    wire_put_u64(w, a->snapshot.term);
    wire_put_u64(w, a->snapshot.id);
    wire_put_u64(w, a->snapshot.bytes);
    wire_put_u64(w, a->snapshot.config_index);
    raft_config_put(w, &a->snapshot.config);
    wire_put_u64(w, a->offset);
    wire_put_u64(w, a->round);
    wire_put_longstr(w, a->chunk != NULL ? buf_slice(a->chunk) : (struct slice){ NULL, 0 });
}

void raft_wire_put(struct wire_out *w, const struct raft_msg *m)
{
    wire_put_u8(w, VERSION);
    wire_put_u8(w, (uint8_t)m->kind);
    wire_put_u16(w, m->from);
    wire_put_u16(w, m->to);
    wire_put_u32(w, m->boot);
    wire_put_u64(w, m->term);
    switch (m->kind) {
    case RAFT_MSG_PREVOTE:
    case RAFT_MSG_VOTE:
        wire_put_u64(w, m->vote.last_index);
        wire_put_u64(w, m->vote.last_term);
        put_bool(w, m->vote.is_transfer);
        return;
    case RAFT_MSG_PREVOTE_REPLY:
    case RAFT_MSG_VOTE_REPLY:
        wire_put_u64(w, m->vote_reply.asked_term);
        put_bool(w, m->vote_reply.is_granted);
        return;
    case RAFT_MSG_APPEND:
        put_append(w, &m->append);
        return;
    case RAFT_MSG_APPEND_REPLY:
        put_append_reply(w, &m->append_reply);
        return;
    case RAFT_MSG_INSTALL:
        put_install(w, &m->install);
        return;
    case RAFT_MSG_INSTALL_REPLY:
        wire_put_u64(w, m->install_reply.index);
        wire_put_u64(w, m->install_reply.id);
        wire_put_u64(w, m->install_reply.next);
        wire_put_u64(w, m->install_reply.round);
        return;
    case RAFT_MSG_TIMEOUT_NOW:
        return;
    case RAFT_MSG_NONE:
    case RAFT_MSG_KIND_COUNT:
        break;
    }
    UNREACHABLE("raft message");
}

/* ---- reading ---- */

/* Anything but 0 and 1 is no message of ours. */
static bool take_bool(struct wire *w)
{
    uint8_t b = wire_u8(w);
    if (b > 1)
        w->ran_out = true;
    return b == 1;
}

/* An index must leave room for those behind it, so that adding to it cannot wrap. */
static uint64_t take_index(struct wire *w)
{
    uint64_t index = wire_u64(w);
    if (index > UINT64_MAX / 2)
        w->ran_out = true;
    return index;
}

static bool is_good_entry(enum raft_kind kind, struct slice bytes)
{
    struct raft_config ignored;
    struct wire w = wire_over(bytes);
    switch (kind) {
    case RAFT_NOOP:
        return bytes.len == 0;
    case RAFT_COMMAND:
        return bytes.len != 0 && bytes.len <= RAFT_ENTRY_BYTES_MAX;
    case RAFT_CONFIG:
        return raft_config_take(&w, &ignored) && wire_left(&w) == 0;
    }
    return false;
}

static bool take_entry(struct wire *w, struct raft_entry *e)
{
    e->kind = (enum raft_kind)wire_u8(w);
    e->term = wire_u64(w);
    struct slice bytes = wire_longstr(w);
    if (w->ran_out || !is_good_entry(e->kind, bytes))
        return false;
    e->bytes = bytes.len != 0 ? buf_copy(bytes) : NULL;
    return true;
}

/* Terms never fall, and none is above the message's. */
static bool take_entries(struct wire *w, uint64_t term, struct raft_msg_append *a, uint32_t count)
{
    uint64_t before = a->prev_term;
    a->entries = mem_array(count, sizeof *a->entries);
    for (; a->count < count; a->count++) {
        struct raft_entry *e = &a->entries[a->count];
        e->index = a->prev_index + 1 + a->count;
        if (!take_entry(w, e))
            return false;
        if (e->term < before || e->term > term) {
            buf_unref(&e->bytes);
            return false;
        }
        before = e->term;
    }
    return true;
}

static bool take_append(struct wire *w, uint64_t term, struct raft_msg_append *a)
{
    a->prev_index = take_index(w);
    a->prev_term = wire_u64(w);
    a->commit = take_index(w);
    a->all_applied = take_index(w);
    a->round = wire_u64(w);
    a->probe = wire_u32(w);
    a->is_question = take_bool(w);
    a->whole_at = take_index(w);
    a->whole_boot = wire_u32(w);
    uint32_t count = wire_u32(w);
    /* The count is judged by the octets that are there before room is made for so many. */
    if (w->ran_out || count > RAFT_APPEND_COUNT || count > wire_left(w) / ENTRY_HEAD)
        return false;
    return count == 0 || take_entries(w, term, a, count);
}

static void take_append_reply(struct wire *w, struct raft_msg_append_reply *a)
{
    a->is_refused = take_bool(w);
    a->is_recovering = take_bool(w);
    a->prev_index = take_index(w);
    a->match = take_index(w);
    a->hint_index = take_index(w);
    a->hint_term = wire_u64(w);
    a->applied = take_index(w);
    a->round = wire_u64(w);
    a->probe = wire_u32(w);
}

static bool take_install(struct wire *w, struct raft_msg_install *a)
{
    a->snapshot.index = take_index(w);
    a->snapshot.term = wire_u64(w);
    a->snapshot.id = wire_u64(w);
    a->snapshot.bytes = take_index(w);
    a->snapshot.config_index = take_index(w);
    if (!raft_config_take(w, &a->snapshot.config))
        return false;
    a->offset = take_index(w);
    a->round = wire_u64(w);
    struct slice chunk = wire_longstr(w);
    if (w->ran_out || chunk.len > RAFT_CHUNK_BYTES || a->snapshot.index == 0 ||
        a->snapshot.config_index > a->snapshot.index || a->offset > a->snapshot.bytes ||
        chunk.len > a->snapshot.bytes - a->offset)
        return false;
    a->chunk = buf_copy(chunk);
    return true;
}

static bool take_body(struct wire *w, struct raft_msg *m)
{
    switch (m->kind) {
    case RAFT_MSG_PREVOTE:
    case RAFT_MSG_VOTE:
        m->vote.last_index = take_index(w);
        m->vote.last_term = wire_u64(w);
        m->vote.is_transfer = take_bool(w);
        return true;
    case RAFT_MSG_PREVOTE_REPLY:
    case RAFT_MSG_VOTE_REPLY:
        m->vote_reply.asked_term = wire_u64(w);
        m->vote_reply.is_granted = take_bool(w);
        return true;
    case RAFT_MSG_APPEND:
        return take_append(w, m->term, &m->append);
    case RAFT_MSG_APPEND_REPLY:
        take_append_reply(w, &m->append_reply);
        return true;
    case RAFT_MSG_INSTALL:
        return take_install(w, &m->install);
    case RAFT_MSG_INSTALL_REPLY:
        m->install_reply.index = take_index(w);
        m->install_reply.id = wire_u64(w);
        m->install_reply.next = take_index(w);
        m->install_reply.round = wire_u64(w);
        return true;
    case RAFT_MSG_TIMEOUT_NOW:
        return true;
    case RAFT_MSG_NONE:
    case RAFT_MSG_KIND_COUNT:
        break;
    }
    return false;
}

bool raft_wire_take(struct slice in, struct raft_msg *out)
{
    *out = (struct raft_msg){ 0 };
    struct wire w = wire_over(in);
    uint8_t version = wire_u8(&w);
    out->kind = (enum raft_msg_kind)wire_u8(&w);
    out->from = wire_u16(&w);
    out->to = wire_u16(&w);
    out->boot = wire_u32(&w);
    out->term = wire_u64(&w);
    if (w.ran_out || version != VERSION || out->kind == RAFT_MSG_NONE ||
        out->kind >= RAFT_MSG_KIND_COUNT || out->from == 0 || out->to == 0 ||
        out->term > UINT64_MAX / 2)
        goto fail;
    if (!take_body(&w, out) || w.ran_out || wire_left(&w) != 0)
        goto fail;
    return true;

fail:
    raft_msg_fini(out);
    return false;
}
