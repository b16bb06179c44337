#include "raft/raft_msg.h"

#include "base/check.h"
#include "base/mem.h"

static const char *const names[] = { "none",
#define X(name) #name,
                                     RAFT_MSG_KINDS(X)
#undef X
};

const char *raft_msg_name(enum raft_msg_kind kind)
{
    CHECK((unsigned)kind < ARRAY_COUNT(names));
    return names[kind];
}

void raft_msg_copy(struct raft_msg *to, const struct raft_msg *from)
{
    *to = *from;
    if (from->kind == RAFT_MSG_APPEND && from->append.count != 0) {
        to->append.entries = mem_array(from->append.count, sizeof *to->append.entries);
        for (uint32_t i = 0; i < from->append.count; i++)
            to->append.entries[i] = raft_entry_ref(&from->append.entries[i]);
    }
    if (from->kind == RAFT_MSG_INSTALL && from->install.chunk != NULL)
        (void)buf_ref(to->install.chunk);
}

void raft_msg_fini(struct raft_msg *m)
{
    if (m->kind == RAFT_MSG_APPEND && m->append.entries != NULL)
        raft_entries_free(&m->append.entries, m->append.count);
    if (m->kind == RAFT_MSG_INSTALL)
        buf_unref(&m->install.chunk);
    m->kind = RAFT_MSG_NONE;
}
