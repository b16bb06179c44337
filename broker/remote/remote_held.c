#include "remote/remote_held.h"

#include "base/mem.h"

static void put(struct remote_outbox *out, uint64_t key, struct remote_record *r, uint8_t *room,
                struct wire_out *w)
{
    r->list = wire_out_slice(w);
    remote_outbox_put(out, key, r);
    mem_free(room);
}

void remote_held_ask(struct remote_outbox *out, uint64_t key, struct remote_record *ask,
                     const struct port_request *r)
{
    size_t size = r->claim_count * sizeof *r->claims;
    uint8_t *room = mem_alloc(size);
    struct wire_out w = wire_out_over(room, size);
    for (uint32_t i = 0; i < r->claim_count; i++)
        wire_put_u64(&w, r->claims[i]);
    ask->op = REMOTE_ASK_HELD;
    put(out, key, ask, room, &w);
}

bool remote_held_count(const struct remote_record *ask, uint32_t *count)
{
    size_t n = ask->op == REMOTE_ASK_HELD ? ask->list.len / sizeof(uint64_t) : 0;
    *count = (uint32_t)n;
    return ask->op != REMOTE_ASK_HELD ||
           (ask->kind == PORT_CONSUME && n != 0 && n <= PORT_CLAIMS_MAX);
}

void remote_held_take(struct slice list, uint64_t *claims, uint32_t count)
{
    for (uint32_t i = 0; i < count && remote_next_qid(&list, &claims[i]); i++)
        ;
}

void remote_held_answer(struct remote_outbox *out, uint64_t key, struct remote_record *answer,
                        const struct port_request *r)
{
    size_t size = r->claim_count * sizeof(uint64_t);
    uint8_t *room = mem_alloc(size);
    struct wire_out w = wire_out_over(room, size);
    for (uint32_t i = 0; i < r->claim_count; i++)
        if (r->claims[i] == PORT_NO_POSITION)
            wire_put_u64(&w, i);
    answer->op = REMOTE_ANSWER_HELD;
    put(out, key, answer, room, &w);
}

void remote_held_answered(struct port_request *r, const struct remote_record *answer)
{
    struct slice list = answer->list;
    uint64_t i;
    r->claim_tag = answer->tag;
    while (remote_next_qid(&list, &i))
        if (i < r->claim_count)
            r->claims[i] = PORT_NO_POSITION;
}
