/* The lists of what is to be done. */
#include "base/check.h"
#include "base/mem.h"
#include "raft/raft_inner.h"

void raft_effects_init(struct raft_effects *e)
{
    *e = (struct raft_effects){ 0 };
}

void raft_write_free(struct raft_write **w)
{
    if (*w == NULL)
        return;
    raft_entries_free(&(*w)->entries, (*w)->count);
    mem_free(*w);
    *w = NULL;
}

static void drop(struct raft_effect *e)
{
    switch (e->kind) {
    case RAFT_DO_WRITE:
        raft_write_free(&e->write);
        return;
    case RAFT_DO_SEND:
    case RAFT_DO_TAKE_CHUNK:
        if (e->msg != NULL)
            raft_msg_fini(e->msg);
        mem_free(e->msg);
        return;
    case RAFT_DO_RESTORE:
        mem_free(e->snapshot);
        return;
    case RAFT_DO_NONE:
    case RAFT_DO_COMMIT:
    case RAFT_DO_ROLE:
    case RAFT_DO_CONFIG:
    case RAFT_DO_ACCEPTED:
    case RAFT_DO_REFUSED:
    case RAFT_DO_LOST:
    case RAFT_DO_READ_READY:
    case RAFT_DO_READ_LOST:
    case RAFT_DO_ALL_APPLIED:
    case RAFT_DO_NEED_CHUNK:
    case RAFT_DO_WHOLE:
        return;
    }
    UNREACHABLE("raft effect");
}

void raft_effects_clear(struct raft_effects *e)
{
    for (size_t i = 0; i < e->count; i++)
        drop(&e->list[i]);
    e->count = 0;
}

void raft_effects_fini(struct raft_effects *e)
{
    raft_effects_clear(e);
    mem_free(e->list);
    *e = (struct raft_effects){ 0 };
}

struct raft_effect *raft_emit(struct raft *r, enum raft_effect_kind kind)
{
    struct raft_effects *e = r->out;
    if (e->count == e->room) {
        e->room = e->room * 2 + 16;
        e->list = mem_realloc(e->list, e->room * sizeof *e->list);
    }
    struct raft_effect *new = &e->list[e->count++];
    *new = (struct raft_effect){ .kind = kind };
    return new;
}

struct raft_msg *raft_say(struct raft *r, uint16_t to, enum raft_msg_kind kind)
{
    struct raft_msg *m = mem_zalloc(sizeof *m);
    m->kind = kind;
    m->from = r->setup.node;
    m->to = to;
    m->boot = r->setup.boot;
    m->term = r->hard.term;
    raft_emit(r, RAFT_DO_SEND)->msg = m;
    return m;
}

const char *raft_role_name(enum raft_role role)
{
    static const char *const names[] = { "follower", "precandidate", "candidate", "leader" };
    CHECK((unsigned)role < ARRAY_COUNT(names));
    return names[role];
}

const char *raft_refusal_text(enum raft_refusal why)
{
    static const char *const texts[] = { "not refused",
#define X(name, text) text,
                                         RAFT_REFUSALS(X)
#undef X
    };
    CHECK((unsigned)why < ARRAY_COUNT(texts));
    return texts[why];
}
