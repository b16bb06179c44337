/* src/gossip/gossip: one member among friends that the test speaks for. */
#include "gossip_kit.h"

#define MS 1000ull

static const struct slice nothing = { NULL, 0 };

/* ---- words ------------------------------------------------------------------------------------
 */

Test(gossip, knows_itself_alone_at_first)
{
    struct kit_member m = kit_member_new();
    cr_expect(eq(sz, gossip_member_count(m.core), 1));
    cr_expect(eq(int, kit_look(&m, 1)->state, GOSSIP_ALIVE));
    cr_expect(eq(u64, kit_look(&m, 1)->inc, KIT_INC(0)));
    kit_member_free(&m);
}

Test(gossip, a_stranger_counts_when_it_is_there_and_says_who_it_is)
{
    struct kit_member m = kit_member_new();
    kit_word(&m, 2, 3, 0, GOSSIP_ALIVE, "");
    kit_word(&m, 2, 4, 0, GOSSIP_DEAD, "four");
    cr_expect(eq(sz, gossip_member_count(m.core), 1), "no record; dead");
    kit_word(&m, 2, 2, 0, GOSSIP_ALIVE, "two");
    cr_assert(kit_look(&m, 2) != NULL);
    cr_expect(slice_is(kit_look(&m, 2)->record, "two"));
    cr_expect(eq(int, m.out->changes[0].kind, GOSSIP_MEMBER_CHANGED));
    kit_member_free(&m);
}

Test(gossip, an_old_word_never_wins)
{
    struct kit_member m = kit_member_new();
    kit_word(&m, 2, 2, 5, GOSSIP_ALIVE, "two");
    kit_word(&m, 3, 2, 4, GOSSIP_DEAD, "");
    cr_expect(eq(int, kit_look(&m, 2)->state, GOSSIP_ALIVE), "dead, but of an elder incarnation");
    kit_word(&m, 3, 2, 5, GOSSIP_DEAD, "");
    cr_expect(eq(int, kit_look(&m, 2)->state, GOSSIP_DEAD));
    kit_word(&m, 3, 2, 5, GOSSIP_ALIVE, "two");
    kit_word(&m, 3, 2, 5, GOSSIP_SUSPECT, "two");
    cr_expect(eq(int, kit_look(&m, 2)->state, GOSSIP_DEAD), "the same incarnation");
    kit_word(&m, 2, 2, 6, GOSSIP_ALIVE, "two again");
    cr_expect(eq(int, kit_look(&m, 2)->state, GOSSIP_ALIVE), "it refuted");
    cr_expect(slice_is(kit_look(&m, 2)->record, "two again"));
    kit_word(&m, 3, 2, 5, GOSSIP_LEFT, "");
    cr_expect(eq(int, kit_look(&m, 2)->state, GOSSIP_ALIVE));
    kit_member_free(&m);
}

Test(gossip, a_record_that_comes_after_its_incarnation_is_taken)
{
    struct kit_member m = kit_member_new();
    kit_word(&m, 2, 2, 5, GOSSIP_ALIVE, "old");
    kit_word(&m, 3, 2, 7, GOSSIP_SUSPECT, "");
    cr_expect(slice_is(kit_look(&m, 2)->record, "old"));
    kit_word(&m, 3, 2, 7, GOSSIP_ALIVE, "new");
    cr_expect(slice_is(kit_look(&m, 2)->record, "new"));
    cr_expect(eq(int, kit_look(&m, 2)->state, GOSSIP_SUSPECT), "and the suspicion stands");
    kit_member_free(&m);
}

Test(gossip, refutes_what_is_said_of_itself)
{
    struct kit_member m = kit_member_new();
    struct gossip_head head;
    kit_word(&m, 2, 2, 0, GOSSIP_ALIVE, "two");
    kit_word(&m, 2, 1, 0, GOSSIP_SUSPECT, "");
    cr_expect(eq(u64, kit_look(&m, 1)->inc, KIT_INC(1)));
    kit_word(&m, 2, 1, 0, GOSSIP_DEAD, "");
    cr_expect(eq(u64, kit_look(&m, 1)->inc, KIT_INC(1)), "that was answered already");
    kit_time(&m, 100 * MS);
    kit_packet(&m, 2, GOSSIP_PING, 9, 1, nothing);
    const struct gossip_send *ack = kit_sent(&m, 2, &head);
    cr_assert(ack != NULL && head.kind == GOSSIP_ACK && head.seq == 9);
    cr_expect(kit_says(ack, 1, 1, GOSSIP_ALIVE));
    kit_member_free(&m);
}

Test(gossip, a_later_start_of_itself_is_a_conflict)
{
    struct kit_member m = kit_member_new();
    kit_word(&m, 2, 1, (uint64_t)3 << 32, GOSSIP_ALIVE, "another one");
    cr_expect(eq(int, m.out->changes[0].kind, GOSSIP_CONFLICT));
    cr_expect(eq(u64, kit_look(&m, 1)->inc, ((uint64_t)3 << 32) + 1), "and it outbids it");
    kit_member_free(&m);
}

Test(gossip, other_words_of_its_own_are_corrected)
{
    struct kit_member m = kit_member_new();
    kit_word(&m, 2, 1, 0, GOSSIP_ALIVE, "one");
    cr_expect(eq(u64, kit_look(&m, 1)->inc, KIT_INC(0)), "the same");
    kit_word(&m, 2, 1, 0, GOSSIP_ALIVE, "from before a reset");
    cr_expect(eq(u64, kit_look(&m, 1)->inc, KIT_INC(1)));
    kit_member_free(&m);
}

/* ---- probes -----------------------------------------------------------------------------------
 */

Test(gossip, a_member_that_answers_is_left_in_peace)
{
    struct kit_member m = kit_member_new();
    kit_word(&m, 2, 2, 0, GOSSIP_ALIVE, "two");
    for (int i = 0; i < 20; i++)
        kit_packet(&m, 2, GOSSIP_ACK, kit_until_ping(&m, 2), 0, nothing);
    cr_expect(eq(int, kit_look(&m, 2)->state, GOSSIP_ALIVE));
    kit_member_free(&m);
}

Test(gossip, asks_others_and_by_tcp_before_it_suspects)
{
    struct kit_member m = kit_member_new();
    struct gossip_head head;
    kit_word(&m, 2, 2, 0, GOSSIP_ALIVE, "two");
    kit_word(&m, 2, 3, 0, GOSSIP_ALIVE, "three");
    m.friends_answer = true;
    uint32_t seq = kit_until_ping(&m, 2);
    m.friends_answer = false;
    m.answer_count = 0;
    kit_time(&m, 60 * MS);
    cr_assert(kit_sent(&m, 3, &head) != NULL);
    cr_expect(eq(int, head.kind, GOSSIP_PING_REQ));
    cr_expect(head.seq == seq && head.target == 2);
    cr_expect(eq(u64, m.out->tcp_ping, 2));
    cr_expect(eq(u32, m.out->tcp_ping_seq, seq));
    cr_expect(eq(int, kit_look(&m, 2)->state, GOSSIP_ALIVE));
    kit_time(&m, 140 * MS);
    cr_expect(eq(int, kit_look(&m, 2)->state, GOSSIP_SUSPECT));
    kit_member_free(&m);
}

Test(gossip, an_answer_by_tcp_counts)
{
    struct kit_member m = kit_member_new();
    kit_word(&m, 2, 2, 0, GOSSIP_ALIVE, "two");
    uint32_t seq = kit_until_ping(&m, 2);
    kit_time(&m, 60 * MS);
    gossip_step(
        m.core,
        &(struct gossip_event){ .kind = GOSSIP_EV_TCP_PONG, .now_us = m.now_us, .seq = seq },
        m.out);
    kit_time(&m, 139 * MS);
    cr_expect(eq(int, kit_look(&m, 2)->state, GOSSIP_ALIVE));
    kit_member_free(&m);
}

Test(gossip, a_suspect_is_told_first_and_dies_when_it_says_nothing)
{
    struct kit_member m = kit_member_new();
    struct gossip_head head;
    kit_word(&m, 2, 2, 0, GOSSIP_ALIVE, "two");
    (void)kit_until_ping(&m, 2);
    kit_time(&m, 200 * MS);
    cr_assert(eq(int, kit_look(&m, 2)->state, GOSSIP_SUSPECT));
    (void)kit_until_ping(&m, 2);
    cr_expect(kit_says(kit_sent(&m, 2, &head), 2, 0, GOSSIP_SUSPECT));
    kit_time(&m, 600 * MS);
    cr_expect(eq(int, kit_look(&m, 2)->state, GOSSIP_DEAD));
    kit_member_free(&m);
}

Test(gossip, confirmations_shorten_the_time_of_a_suspect)
{
    for (unsigned others = 0; others <= 3; others++) {
        struct kit_member m = kit_member_new();
        m.friends_answer = true;
        for (uint64_t id = 2; id <= 6; id++)
            kit_word(&m, 2, id, 0, GOSSIP_ALIVE, "a friend");
        kit_word(&m, 2, 6, 0, GOSSIP_SUSPECT, "");
        for (uint64_t id = 3; id < 3 + others; id++)
            kit_word(&m, id, 6, 0, GOSSIP_SUSPECT, "");
        kit_word(&m, 2, 6, 0, GOSSIP_SUSPECT, ""); /* who said it before confirms nothing */
        /* 1800 ms without anybody else, 600 ms with three, see words_deadline. */
        static const uint64_t wanted_ms[] = { 1800, 1200, 849, 600 };
        kit_time(&m, (wanted_ms[others] - 1) * MS);
        cr_expect(eq(int, kit_look(&m, 6)->state, GOSSIP_SUSPECT), "%u others", others);
        kit_time(&m, 3 * MS);
        cr_expect(eq(int, kit_look(&m, 6)->state, GOSSIP_DEAD), "%u others", others);
        kit_member_free(&m);
    }
}

Test(gossip, the_dead_are_asked_again_and_may_come_back)
{
    struct kit_member m = kit_member_new();
    struct gossip_head head;
    kit_word(&m, 2, 2, 0, GOSSIP_ALIVE, "two");
    kit_word(&m, 3, 2, 0, GOSSIP_DEAD, "");
    (void)kit_until_ping(&m, 2);
    cr_expect(kit_says(kit_sent(&m, 2, &head), 2, 0, GOSSIP_DEAD));
    kit_word(&m, 2, 2, 1, GOSSIP_ALIVE, "two");
    cr_expect(eq(int, kit_look(&m, 2)->state, GOSSIP_ALIVE));
    kit_member_free(&m);
}

Test(gossip, the_dead_are_forgotten_in_the_end)
{
    struct kit_member m = kit_member_new();
    kit_word(&m, 2, 2, 0, GOSSIP_ALIVE, "two");
    kit_word(&m, 3, 2, 0, GOSSIP_DEAD, "");
    kit_word(&m, 3, 3, 0, GOSSIP_ALIVE, "three");
    kit_word(&m, 3, 3, 0, GOSSIP_LEFT, "");
    kit_time(&m, 63 * 1000 * MS);
    cr_expect(kit_look(&m, 3) == NULL, "it said goodbye a minute ago");
    cr_expect(kit_look(&m, 2) != NULL);
    kit_time(&m, 3600 * 1000 * MS);
    cr_expect(kit_look(&m, 2) == NULL);
    kit_member_free(&m);
}

Test(gossip, helps_others_to_ask)
{
    struct kit_member m = kit_member_new();
    struct gossip_head head;
    kit_word(&m, 2, 2, 0, GOSSIP_ALIVE, "two");
    kit_word(&m, 2, 3, 0, GOSSIP_ALIVE, "three");
    kit_packet(&m, 2, GOSSIP_PING_REQ, 77, 3, nothing);
    cr_assert(kit_sent(&m, 3, &head) != NULL && head.kind == GOSSIP_PING);
    kit_packet(&m, 3, GOSSIP_ACK, head.seq, 0, nothing);
    cr_assert(kit_sent(&m, 2, &head) != NULL);
    cr_expect(head.kind == GOSSIP_ACK && head.seq == 77);

    kit_packet(&m, 2, GOSSIP_PING_REQ, 78, 3, nothing);
    kit_time(&m, 60 * MS);
    cr_assert(kit_sent(&m, 2, &head) != NULL);
    cr_expect(head.kind == GOSSIP_NACK && head.seq == 78);
    kit_member_free(&m);
}

Test(gossip, answers_only_what_is_meant_for_it)
{
    struct kit_member m = kit_member_new();
    struct gossip_head head;
    kit_word(&m, 2, 2, 0, GOSSIP_ALIVE, "two");
    kit_time(&m, 1000 * MS);
    kit_packet(&m, 2, GOSSIP_PING, 5, 8, nothing);
    cr_expect(kit_sent(&m, 2, &head) == NULL || head.kind != GOSSIP_ACK);
    kit_member_free(&m);
}

Test(gossip, doubts_itself_when_nobody_answers)
{
    struct kit_member m = kit_member_new();
    struct gossip_figures f;
    for (uint64_t id = 2; id <= 5; id++)
        kit_word(&m, 2, id, 0, GOSSIP_ALIVE, "a friend");
    kit_time(&m, 3000 * MS);
    gossip_figures(m.core, &f);
    cr_expect(f.doubt >= 4 && f.doubt <= GOSSIP_DOUBT_MAX, "%u", f.doubt);
    kit_member_free(&m);
}

Test(gossip, a_stretch_in_which_it_did_not_run_counts_for_nobody)
{
    struct kit_member m = kit_member_new();
    kit_word(&m, 2, 2, 0, GOSSIP_ALIVE, "two");
    kit_word(&m, 2, 2, 0, GOSSIP_SUSPECT, "");
    kit_time(&m, 100 * MS);
    m.now_us += 30 * 1000 * MS;
    kit_time(&m, 0);
    cr_expect(eq(int, kit_look(&m, 2)->state, GOSSIP_SUSPECT));
    kit_time(&m, 600 * MS);
    cr_expect(eq(int, kit_look(&m, 2)->state, GOSSIP_DEAD));
    kit_member_free(&m);
}

/* ---- spreading --------------------------------------------------------------------------------
 */

Test(gossip, news_goes_to_three_others_a_tick_and_ten_times)
{
    struct kit_member m = kit_member_new();
    unsigned told = 0;
    for (uint64_t id = 2; id <= 5; id++)
        kit_word(&m, 2, id, 0, GOSSIP_ALIVE, "a friend");
    kit_time(&m, 2000 * MS);
    struct gossip_rumour r = { .key = 9, .ver = 1, .bytes = slice_str("hear") };
    struct gossip_event ev = { .kind = GOSSIP_EV_RUMOUR, .now_us = m.now_us, .rumour = r };
    for (int i = 0; i < 200; i++) {
        gossip_step(m.core, &ev, m.out);
        for (unsigned k = 0; k < m.out->send_count; k++)
            told += memmem(m.out->sends[k].bytes, m.out->sends[k].len, "hear", 4) != NULL;
        cr_expect(i != 0 || m.out->send_count >= 3, "at once");
        ev = (struct gossip_event){ .kind = GOSSIP_EV_TIME, .now_us = m.now_us += 10 * MS };
    }
    cr_expect(eq(u32, told, 10));
    kit_member_free(&m);
}

Test(gossip, a_rumour_is_heard_once_and_an_older_one_never)
{
    struct kit_member m = kit_member_new();
    uint8_t room[64];
    static const struct {
        uint64_t ver;
        unsigned heard;
    } rows[] = { { 5, 1 }, { 5, 0 }, { 4, 0 }, { 6, 1 }, { 6, 0 } };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct wire_out w = wire_out_over(room, sizeof room);
        struct gossip_rumour r = { .key = 1, .ver = rows[i].ver, .bytes = slice_str("x") };
        cr_assert(gossip_rumour_put(&w, &r));
        kit_packet(&m, 2, GOSSIP_ITEMS, 0, 0, wire_out_slice(&w));
        cr_expect(eq(u32, m.out->change_count, rows[i].heard), "row %zu", i);
    }
    kit_member_free(&m);
}

Test(gossip, pulses_count_when_they_are_newer)
{
    struct kit_member m = kit_member_new();
    uint8_t room[128];
    static const struct {
        uint32_t boot, seq;
        uint64_t shown;
    } rows[] = { { 1, 5, 1 }, { 1, 4, 1 }, { 2, 1, 3 }, { 1, 9, 3 }, { 2, 2, 5 } };
    kit_word(&m, 2, 2, 0, GOSSIP_ALIVE, "two");
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct wire_out w = wire_out_over(room, sizeof room);
        struct gossip_pulse p = { .boot = rows[i].boot, .seq = rows[i].seq, .meta_index = i + 1 };
        cr_assert(gossip_pulse_put(&w, 2, &p));
        kit_packet(&m, 2, GOSSIP_ITEMS, 0, 0, wire_out_slice(&w));
        cr_expect(eq(u64, kit_look(&m, 2)->pulse.meta_index, rows[i].shown), "row %zu", i);
    }
    kit_member_free(&m);
}

Test(gossip, other_metadata_at_the_same_index_is_noticed)
{
    struct kit_member m = kit_member_new();
    uint8_t room[128];
    kit_word(&m, 2, 2, 0, GOSSIP_ALIVE, "two");
    gossip_step(m.core,
                &(struct gossip_event){ .kind = GOSSIP_EV_PULSE,
                                        .now_us = m.now_us,
                                        .pulse = { .digest_index = 1024, .digest = 77 } },
                m.out);
    for (uint64_t digest = 77; digest <= 78; digest++) {
        struct wire_out w = wire_out_over(room, sizeof room);
        struct gossip_pulse p = {
            .boot = 1, .seq = (uint32_t)digest, .digest_index = 1024, .digest = digest
        };
        cr_assert(gossip_pulse_put(&w, 2, &p));
        kit_packet(&m, 2, GOSSIP_ITEMS, 0, 0, wire_out_slice(&w));
    }
    cr_assert(eq(u32, m.out->change_count, 2));
    cr_expect(eq(int, m.out->changes[1].kind, GOSSIP_DIGESTS_DIFFER));
    cr_expect(eq(u64, m.out->changes[1].inc, 1024));
    kit_member_free(&m);
}

Test(gossip, says_goodbye_to_all_and_nothing_after)
{
    struct kit_member m = kit_member_new();
    struct gossip_head head;
    for (uint64_t id = 2; id <= 5; id++)
        kit_word(&m, 2, id, 0, GOSSIP_ALIVE, "a friend");
    struct gossip_event ev = { .kind = GOSSIP_EV_LEAVE, .now_us = m.now_us };
    gossip_step(m.core, &ev, m.out);
    for (uint64_t id = 2; id <= 5; id++) {
        cr_assert(kit_sent(&m, id, &head) != NULL);
        cr_expect(kit_says(kit_sent(&m, id, &head), 1, 0, GOSSIP_LEFT));
    }
    kit_packet(&m, 2, GOSSIP_PING, 1, 1, nothing);
    cr_expect(eq(u32, m.out->send_count, 0));
    kit_member_free(&m);
}

/* ---- comparing --------------------------------------------------------------------------------
 */

Test(gossip, a_comparison_carries_all_in_parts)
{
    struct kit_member m = kit_member_new();
    struct gossip_conf conf = { .id = 1000, .boot = 1, .seed = 7 };
    struct gossip *other = gossip_new(&conf, slice_str("other"), 0);
    uint8_t room[GOSSIP_RECORD_MAX + 128];
    size_t at = 0, parts = 0;
    for (uint64_t id = 2; id <= 100; id++)
        kit_word(&m, 2, id, id, GOSSIP_ALIVE, "a friend of many words");
    for (struct wire_out w = wire_out_over(room, sizeof room); gossip_sync_write(m.core, &at, &w);
         w = wire_out_over(room, sizeof room), parts++) {
        struct gossip_event ev = { .kind = GOSSIP_EV_SYNC, .bytes = wire_out_slice(&w) };
        gossip_step(other, &ev, m.out);
        gossip_check(other);
    }
    cr_expect(parts > 5);
    cr_expect(eq(sz, gossip_member_count(other), 101));
    cr_expect(eq(u64, gossip_member(other, 50)->inc, KIT_INC(50)));
    gossip_free(&other);
    kit_member_free(&m);
}

Test(gossip, makes_room_by_forgetting_the_longest_gone)
{
    struct kit_member m = kit_member_new();
    for (uint64_t id = 2; id <= GOSSIP_MEMBERS_MAX; id++)
        kit_word(&m, 2, id, 0, GOSSIP_ALIVE, "x");
    kit_word(&m, 2, 5000, 0, GOSSIP_ALIVE, "x");
    cr_expect(kit_look(&m, 5000) == NULL, "full of living ones");
    kit_word(&m, 2, 8, 0, GOSSIP_DEAD, "");
    kit_time(&m, 1 * MS);
    kit_word(&m, 2, 7, 0, GOSSIP_LEFT, "");
    kit_word(&m, 2, 5000, 0, GOSSIP_ALIVE, "x");
    cr_expect(kit_look(&m, 5000) != NULL && kit_look(&m, 8) == NULL && kit_look(&m, 7) != NULL);
    kit_member_free(&m);
}
