#include "gossip_kit.h"

#include "base/mem.h"

static uint64_t inc_of(uint64_t inc)
{
    return inc >> 32 != 0 ? inc : KIT_INC(inc);
}

struct kit_member kit_member_new(void)
{
    struct gossip_conf conf = { .id = 1, .boot = 1, .seed = 7 };
    struct kit_member m = { .now_us = 1000 };
    m.core = gossip_new(&conf, slice_str("one"), m.now_us);
    m.out = mem_zalloc(sizeof *m.out);
    return m;
}

void kit_member_free(struct kit_member *m)
{
    gossip_free(&m->core);
    mem_free(m->out);
}

static void note_pings(struct kit_member *m)
{
    for (unsigned i = 0; i < m->out->send_count && m->friends_answer; i++) {
        const struct gossip_send *s = &m->out->sends[i];
        struct wire w = wire_over(slice_of(s->bytes, s->len));
        struct gossip_head head;
        cr_assert(gossip_head_take(&w, &head));
        if (head.kind != GOSSIP_PING || m->answer_count == ARRAY_COUNT(m->answers))
            continue;
        m->answers[m->answer_count].from = s->to;
        m->answers[m->answer_count++].seq = head.seq;
    }
}

static void step(struct kit_member *m, struct gossip_event ev)
{
    while (m->answer_count != 0) {
        uint8_t room[16];
        struct wire_out w = wire_out_over(room, sizeof room);
        m->answer_count--;
        gossip_head_put(&w, &(struct gossip_head){ .kind = GOSSIP_ACK,
                                                   .seq = m->answers[m->answer_count].seq });
        gossip_step(m->core,
                    &(struct gossip_event){ .kind = GOSSIP_EV_PACKET,
                                            .now_us = m->now_us,
                                            .from = m->answers[m->answer_count].from,
                                            .bytes = wire_out_slice(&w) },
                    m->out);
        note_pings(m);
    }
    ev.now_us = m->now_us;
    gossip_step(m->core, &ev, m->out);
    gossip_check(m->core);
    note_pings(m);
}

void kit_time(struct kit_member *m, uint64_t us)
{
    uint64_t end = m->now_us + us;
    do {
        step(m, (struct gossip_event){ .kind = GOSSIP_EV_TIME });
        uint64_t wake = m->out->wake_at_us;
        m->now_us = wake < end ? wake : end;
    } while (m->now_us < end);
    step(m, (struct gossip_event){ .kind = GOSSIP_EV_TIME });
}

void kit_packet(struct kit_member *m, uint64_t from, enum gossip_packet_kind kind, uint32_t seq,
                uint64_t target, struct slice items)
{
    uint8_t room[GOSSIP_PAYLOAD_MAX];
    struct wire_out w = wire_out_over(room, sizeof room);
    gossip_head_put(&w, &(struct gossip_head){ .kind = kind, .seq = seq, .target = target });
    wire_put_bytes(&w, items);
    cr_assert(not(w.overflow));
    step(m, (struct gossip_event){
                .kind = GOSSIP_EV_PACKET, .from = from, .bytes = wire_out_slice(&w) });
}

void kit_word(struct kit_member *m, uint64_t from, uint64_t id, uint64_t inc,
              enum gossip_state state, const char *record)
{
    uint8_t room[GOSSIP_RECORD_MAX + 64];
    struct wire_out w = wire_out_over(room, sizeof room);
    struct gossip_word word = {
        .id = id, .inc = inc_of(inc), .state = state, .by = from, .record = slice_str(record)
    };
    cr_assert(gossip_word_put(&w, &word));
    kit_packet(m, from, GOSSIP_ITEMS, 0, 0, wire_out_slice(&w));
}

const struct gossip_send *kit_sent(const struct kit_member *m, uint64_t to,
                                   struct gossip_head *head)
{
    for (unsigned i = 0; i < m->out->send_count; i++) {
        const struct gossip_send *s = &m->out->sends[i];
        struct wire w = wire_over(slice_of(s->bytes, s->len));
        if (s->to != to)
            continue;
        cr_assert(gossip_head_take(&w, head));
        return s;
    }
    return NULL;
}

bool kit_says(const struct gossip_send *s, uint64_t id, uint64_t inc, enum gossip_state state)
{
    struct wire w = wire_over(slice_of(s->bytes, s->len));
    struct gossip_head head;
    struct gossip_item item;
    cr_assert(gossip_head_take(&w, &head));
    while (gossip_item_take(&w, &item) == GOSSIP_TAKE_ITEM)
        if (item.kind == GOSSIP_ITEM_WORD && item.word.id == id && item.word.inc == inc_of(inc) &&
            item.word.state == state)
            return true;
    return false;
}

uint32_t kit_until_ping(struct kit_member *m, uint64_t to)
{
    for (uint64_t end = m->now_us + 10 * 1000 * 1000; m->now_us < end;) {
        struct gossip_head head;
        step(m, (struct gossip_event){ .kind = GOSSIP_EV_TIME });
        if (kit_sent(m, to, &head) != NULL && head.kind == GOSSIP_PING)
            return head.seq;
        m->now_us = m->out->wake_at_us;
    }
    cr_assert(false, "no ping to %llu", (unsigned long long)to);
    return 0;
}

const struct gossip_member *kit_look(const struct kit_member *m, uint64_t id)
{
    return gossip_member(m->core, id);
}
