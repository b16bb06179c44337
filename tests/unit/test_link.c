/* Links over loopback, both ends on the test's own loop. */
#include "expect.h"
#include "link/link_shake.h"
#include "link_kit.h"

static struct loop *loop;
static struct kit_node b;
static struct link_end at_a, at_b;
static struct link_node *node_a, *node_b;
static struct kit_relay *relay;

/* ---- the house ---- */

static void set_up(void)
{
    loop = kit_loop_new();
    at_a = at_b = (struct link_end){ 0 };
    b = (struct kit_node){ .end = &at_b };
    node_a = kit_link_node(KIT_COOKIE, 7, 1, 3, "rabbit@a");
    node_b = kit_link_node(KIT_COOKIE, 7, 2, 4, "rabbit@b");
}

struct job {
    struct loop_task task;
    void (*fn)(void);
};

static void run_job(void *arg)
{
    struct job *j = arg;
    j->fn();
    loop_stop(loop);
}

/* Links are made and used on their loop's thread, while it runs. */
static void on_loop(void (*fn)(void))
{
    struct job j = { .fn = fn };
    loop_task_init(&j.task, run_job, &j);
    loop_again(loop, &j.task);
    loop_run(loop);
}

static void end_all(void)
{
    if (at_a.l != NULL)
        link_free(&at_a.l);
    if (at_b.l != NULL)
        link_free(&at_b.l);
    if (relay != NULL)
        kit_relay_free(&relay);
    link_door_free(&b.door);
}

static void tear_down(void)
{
    on_loop(end_all);
    while (loop_settle(loop))
        ;
    link_hall_free(&b.hall);
    loop_free(&loop);
    link_node_free(&node_a);
    link_node_free(&node_b);
}

static struct link_hall_options hall_options;
static struct link_options options;

static void open_b(void)
{
    kit_node_open(&b, loop, node_b, &hall_options);
}

static void dial(void)
{
    options.class = hall_options.class;
    options.host = "127.0.0.1";
    if (options.port == 0)
        options.port = b.port;
    at_a.l = link_dial(loop, node_a, &options, &link_end_handlers, &at_a);
}

static void make_relay(void)
{
    relay = kit_relay_new(loop, b.port);
    options.port = kit_relay_port(relay);
}

/* From A to B: a link without (resume_ms 0) or with sessions that outlive connections. */
static void start(enum link_class class, uint64_t resume_ms, bool through_relay)
{
    hall_options = (struct link_hall_options){ .class = class, .resume_ms = resume_ms };
    options = (struct link_options){ .shard = 5, .resume_ms = resume_ms };
    on_loop(open_b);
    if (through_relay)
        on_loop(make_relay);
    on_loop(dial);
}

static void start_and_wait(enum link_class class, uint64_t resume_ms, bool through_relay)
{
    start(class, resume_ms, through_relay);
    kit_until_count(loop, &at_a.ups, 1);
    kit_until_count(loop, &b.links, 1);
}

static uint64_t sent;
static size_t send_octets, send_count;

static void send_some(void)
{
    for (size_t i = 0; i < send_count; i++)
        cr_assert(kit_send_numbered(at_a.l, sent++, send_octets));
}

static void send_from_a(size_t count, size_t octets)
{
    send_count = count;
    send_octets = octets;
    on_loop(send_some);
}

TestSuite(link, .init = set_up, .fini = tear_down, .timeout = 300);

/* ---- coming up ---- */

Test(link, both_ends_know_each_other)
{
    start_and_wait(LINK_CONTROL, 0, false);
    expect_text(at_a.peer.id.name, "rabbit@b");
    cr_expect(eq(int, at_a.peer.id.node, 2));
    cr_expect(eq(int, at_a.peer.id.inc, 4));
    expect_text(at_b.peer.id.name, "rabbit@a");
    cr_expect(eq(int, at_b.peer.id.node, 1));
    cr_expect(eq(int, at_b.peer.id.inc, 3));
    cr_expect(eq(int, at_b.peer.shard, 5));
    cr_expect(eq(int, at_b.peer.version, LINK_VERSION_MOST));
}

Test(link, frames_come_in_order_both_ways)
{
    at_b.echoes = true;
    start_and_wait(LINK_CONTROL, 0, false);
    send_from_a(1000, 100);
    kit_until_count(loop, &at_a.frames, 1000);
    cr_expect(eq(sz, at_b.frames, 1000));
    cr_expect(not(at_a.out_of_order));
    cr_expect(not(at_b.out_of_order));
    cr_expect(eq(u64, at_b.bytes, 100 * 1000));
}

Test(link, the_largest_frame_passes_and_the_smallest)
{
    start_and_wait(LINK_BULK, 60000, false);
    send_from_a(3, LINK_FRAME_MAX);
    send_from_a(3, 8);
    kit_until_count(loop, &at_b.frames, 6);
    cr_expect(not(at_b.out_of_order));
    cr_expect(eq(u64, at_b.bytes, 3 * LINK_FRAME_MAX + 24));
}

static void send_before_up(void)
{
    dial();
    cr_expect(not(link_is_up(at_a.l)));
    cr_expect(eq(int, kit_send_numbered(at_a.l, 0, 8), options.resume_ms != 0));
}

Test(link, without_resuming_nothing_is_taken_before_it_is_up)
{
    hall_options = (struct link_hall_options){ .class = LINK_CONTROL };
    options = (struct link_options){ .resume_ms = 0 };
    on_loop(open_b);
    on_loop(send_before_up);
    kit_until_count(loop, &b.links, 1);
    sent = 0;
    send_from_a(1, 8);
    kit_until_count(loop, &at_b.frames, 1);
}

Test(link, with_resuming_frames_wait_for_it_to_come_up)
{
    hall_options = (struct link_hall_options){ .class = LINK_BULK, .resume_ms = 60000 };
    options = (struct link_options){ .resume_ms = 60000 };
    on_loop(open_b);
    on_loop(send_before_up);
    kit_until_count(loop, &at_b.frames, 1);
    cr_expect(not(at_b.out_of_order));
}

/* ---- turned away ---- */

static void expect_refused(enum link_refusal why, const char *text)
{
    start(LINK_CONTROL, 0, false);
    kit_until_count(loop, &at_a.troubles, 2);
    cr_expect(eq(int, at_a.trouble, LINK_TROUBLE_REFUSED));
    cr_expect(eq(int, at_a.refusal, why));
    cr_expect(strstr(at_a.why.text, text) != NULL, "\"%s\"", at_a.why.text);
    cr_expect(eq(sz, at_a.ups, 0));
    cr_expect(eq(sz, b.links, 0));
}

Test(link, another_cookie_is_refused)
{
    link_node_free(&node_a);
    node_a = kit_link_node(KIT_COOKIE "!", 7, 1, 3, "rabbit@a");
    expect_refused(LINK_REFUSED_COOKIE, "it has another cookie");
}

Test(link, another_cluster_is_refused)
{
    link_node_free(&node_a);
    node_a = kit_link_node(KIT_COOKIE, 8, 1, 3, "rabbit@a");
    expect_refused(LINK_REFUSED_CLUSTER, "ours is 08080808, and its is 07070707");
}

Test(link, versions_that_do_not_meet_are_refused_and_named)
{
    link_node_set_versions(node_a, 4, 5);
    expect_refused(LINK_REFUSED_VERSION, "it speaks 2 to 3, and we 4 to 5");
}

Test(link, who_is_no_member_is_refused)
{
    b.verdict = LINK_REFUSED_NOT_MEMBER;
    expect_refused(LINK_REFUSED_NOT_MEMBER, "this node is not a member of its cluster");
}

Test(link, another_name_than_was_called_is_refused)
{
    hall_options = (struct link_hall_options){ .class = LINK_CONTROL };
    options = (struct link_options){ .name = "rabbit@c", .node = 9 };
    on_loop(open_b);
    on_loop(dial);
    kit_until_count(loop, &at_a.troubles, 1);
    cr_expect(eq(int, at_a.refusal, LINK_REFUSED_NAME));
    cr_expect(strstr(at_a.why.text,
                     "rabbit@c (node 9) was called, and rabbit@b (node 2) answers") != NULL,
              "\"%s\"", at_a.why.text);
}

Test(link, it_does_not_link_to_itself)
{
    link_node_free(&node_b);
    hall_options = (struct link_hall_options){ .class = LINK_ASK };
    options = (struct link_options){ 0 };
    node_b = node_a;
    on_loop(open_b);
    on_loop(dial);
    kit_until_count(loop, &at_a.troubles, 1);
    cr_expect(eq(int, at_a.refusal, LINK_REFUSED_SELF));
    node_b = kit_link_node(KIT_COOKIE, 7, 2, 4, "rabbit@b");
}

Test(link, who_asks_may_be_of_another_cluster)
{
    link_node_free(&node_a);
    node_a = kit_link_node(KIT_COOKIE, 8, 1, 3, "rabbit@a");
    start_and_wait(LINK_ASK, 0, false);
}

/* ---- not reached ---- */

Test(link, a_port_without_a_process_is_told_from_other_trouble)
{
    hall_options = (struct link_hall_options){ .class = LINK_CONTROL };
    options = (struct link_options){ .port = 1 };
    on_loop(dial);
    kit_until_count(loop, &at_a.troubles, 3);
    cr_expect(eq(int, at_a.trouble, LINK_TROUBLE_NOBODY));
    cr_expect(strstr(at_a.why.text, "127.0.0.1:1: connect: Connection refused") != NULL, "%s",
              at_a.why.text);
}

static void dial_bad_name(void)
{
    options =
        (struct link_options){ .class = LINK_CONTROL, .host = "no-such-host.invalid", .port = 1 };
    at_a.l = link_dial(loop, node_a, &options, &link_end_handlers, &at_a);
}

Test(link, a_name_without_address_is_told)
{
    on_loop(dial_bad_name);
    kit_until_count(loop, &at_a.troubles, 1);
    cr_expect(eq(int, at_a.trouble, LINK_TROUBLE_RESOLVE));
    cr_expect(strstr(at_a.why.text, "no-such-host.invalid") != NULL, "%s", at_a.why.text);
}

/* ---- ends ---- */

static void free_b(void)
{
    link_free(&at_b.l);
}

Test(link, the_other_side_hears_that_it_was_freed)
{
    start_and_wait(LINK_BULK, 60000, false);
    on_loop(free_b);
    kit_until_count(loop, &at_a.losses, 1);
    cr_expect(eq(int, at_a.loss, LINK_LOST_FORGOTTEN));
    kit_until_count(loop, &at_a.ups, 2);
    cr_expect(eq(sz, b.links, 2));
}

static void give_up_a(void)
{
    link_give_up(at_a.l);
    cr_expect(eq(sz, at_a.losses, 0));
}

Test(link, given_up_it_begins_anew)
{
    start_and_wait(LINK_BULK, 60000, false);
    on_loop(give_up_a);
    kit_until_count(loop, &at_a.ups, 2);
    cr_expect(eq(int, at_a.loss, LINK_LOST_GIVEN_UP));
    expect_text(at_a.why.text, ""); /* who tells of it says why: once is enough */
    cr_expect(eq(sz, at_a.losses, 1));
    kit_until_count(loop, &at_b.losses, 1);
    cr_expect(eq(int, at_b.loss, LINK_LOST_FORGOTTEN));
}

static void cut(void)
{
    kit_relay_cut(relay);
}

Test(link, without_resuming_a_break_is_a_loss_at_both_ends)
{
    start_and_wait(LINK_CONTROL, 0, true);
    on_loop(cut);
    kit_until_count(loop, &at_a.losses, 1);
    kit_until_count(loop, &at_b.losses, 1);
    cr_expect(eq(int, at_a.loss, LINK_LOST_BROKEN));
    cr_expect(eq(int, at_b.loss, LINK_LOST_BROKEN));
    kit_until_count(loop, &at_a.ups, 2);
}

Test(link, it_may_be_freed_by_its_own_callbacks)
{
    at_b.frees_on_frame = true;
    at_a.frees_on_loss = true;
    start_and_wait(LINK_BULK, 60000, false);
    sent = 0;
    send_from_a(10, 64);
    kit_until_count(loop, &at_a.losses, 1);
    cr_expect(eq(sz, at_b.frames, 1));
    cr_expect(at_a.l == NULL && at_b.l == NULL);
}

/* ---- resuming ---- */

static uint64_t cut_at;

static void cut_after(void)
{
    kit_relay_cut_after(relay, cut_at);
}

Test(link, a_session_outlives_connections_that_break_in_a_frame)
{
    at_b.echoes = true;
    start_and_wait(LINK_BULK, 60000, true);
    sent = 0;
    for (int i = 0; i < 20; i++) {
        cut_at = 1500 + 7777 * (uint64_t)i;
        on_loop(cut_after);
        send_from_a(200, 1000);
        kit_until_count(loop, &at_a.frames, 200 * (size_t)(i + 1));
    }
    cr_expect(not(at_a.out_of_order));
    cr_expect(not(at_b.out_of_order));
    cr_expect(eq(sz, at_b.frames, 4000));
    cr_expect(eq(sz, at_a.ups, 1));
    cr_expect(eq(sz, at_a.losses, 0));
    cr_expect(kit_relay_pairs(relay) > 10, "%zu pairs", kit_relay_pairs(relay));
}

static void refuse_all(void)
{
    kit_relay_refuse(relay, true);
    kit_relay_cut(relay);
}

static void refuse_none(void)
{
    kit_relay_refuse(relay, false);
    link_kick(at_a.l);
}

Test(link, a_session_ends_at_both_ends_when_nobody_comes_back)
{
    start_and_wait(LINK_BULK, 100, true);
    on_loop(refuse_all);
    kit_until_count(loop, &at_a.losses, 1);
    kit_until_count(loop, &at_b.losses, 1);
    cr_expect(eq(int, at_a.loss, LINK_LOST_BROKEN));
    on_loop(refuse_none);
    kit_until_count(loop, &at_a.ups, 2);
    cr_expect(eq(sz, b.links, 2));
}

static void reopen_b(void)
{
    /* The process ends; another one takes its place on the same port. */
    link_door_free(&b.door);
    link_free(&at_b.l);
}

Test(link, another_process_is_another_session)
{
    start_and_wait(LINK_BULK, 60000, true);
    on_loop(refuse_all);
    on_loop(reopen_b);
    while (loop_settle(loop))
        ;
    link_hall_free(&b.hall);
    link_node_free(&node_b);
    node_b = kit_link_node(KIT_COOKIE, 7, 2, 5, "rabbit@b");
    on_loop(open_b);
    kit_relay_free(&relay);
    on_loop(make_relay);
    link_set_place(at_a.l, "127.0.0.1", options.port);
    kit_until_count(loop, &at_a.ups, 2);
    cr_expect(eq(int, at_a.loss, LINK_LOST_OTHER_PROCESS));
    cr_expect(eq(int, at_a.peer.id.inc, 5));
}

/* ---- slow readers ---- */

static struct link_stats stats_a;

static void fill_a(void)
{
    while (!link_is_full(at_a.l))
        cr_assert(kit_send_numbered(at_a.l, sent++, 1000));
    link_stats(at_a.l, &stats_a);
}

static void unpause_b(void)
{
    at_b.pauses_on_frame = false;
    link_unpause(at_b.l);
}

static bool has_room(void *arg)
{
    (void)arg;
    return at_a.rooms != 0;
}

Test(link, a_reader_that_waits_makes_it_full_and_has_room_when_it_goes_on)
{
    at_b.pauses_on_frame = true;
    start_and_wait(LINK_BULK, 60000, false);
    sent = 0;
    on_loop(fill_a);
    cr_expect(stats_a.waiting_bytes + stats_a.unacked_bytes < LINK_WINDOW_BYTES + 4096);
    kit_turns(loop, 100);
    cr_expect(eq(sz, at_a.rooms, 0));
    cr_expect(eq(sz, at_b.frames, 1));
    on_loop(unpause_b);
    kit_until(loop, has_room, NULL);
    kit_until_count(loop, &at_b.frames, (size_t)sent);
    cr_expect(not(at_b.out_of_order));
}

static void overrun(void)
{
    uint64_t n = 0;
    while (kit_send_numbered(at_a.l, n++, 1000))
        cr_assert(n < 100000);
}

Test(link, who_writes_on_to_a_full_link_loses_it)
{
    at_b.pauses_on_frame = true;
    start_and_wait(LINK_BULK, 60000, false);
    on_loop(overrun);
    kit_until_count(loop, &at_a.losses, 1);
    cr_expect(eq(int, at_a.loss, LINK_LOST_OVERRUN));
}

/* ---- bodies held by reference ---- */

static struct buf *long_body;

static void send_long(void)
{
    long_body = buf_new(100000);
    memset(long_body->data, 0x5A, 100000);
    long_body->len_bytes = 100000;
    for (uint64_t i = 0; i < 300; i++) {
        uint8_t head[8] = { 0, 0, 0, 0, 0, 0, (uint8_t)(i >> 8), (uint8_t)i };
        struct slice body = slice_head(buf_slice(long_body), 5000 + 300 * (size_t)i);
        cr_assert(link_send(at_a.l, LINK_BULKY, 20, slice_of(head, 8), long_body, body));
        if (i % 10 == 0)
            cr_assert(link_send(at_a.l, LINK_URGENT, 21, slice_str("-"), NULL, slice_str("")));
    }
}

/* The links' own frames (acknowledgements of the echo, pings) never part them. */
Test(link, long_bodies_pass_both_ways_uncopied_with_all_else)
{
    at_b.echoes = true;
    start_and_wait(LINK_BULK, 60000, true);
    on_loop(send_long);
    kit_until_count(loop, &at_a.frames, 330);
    cr_expect(eq(sz, at_b.frames, 330));
    cr_expect(eq(sz, at_a.losses + at_b.losses, 0));
    cr_expect(eq(u64, at_a.bytes, at_b.bytes));
    buf_unref(&long_body);
}

/* ---- silence ---- */

static void hold(void)
{
    kit_relay_hold(relay, true);
}

static void start_pinging(uint64_t dead_ms)
{
    hall_options =
        (struct link_hall_options){ .class = LINK_CONTROL, .ping_ms = 10, .dead_ms = dead_ms };
    options = (struct link_options){ .ping_ms = 10, .dead_ms = dead_ms };
    on_loop(open_b);
    on_loop(make_relay);
    on_loop(dial);
    kit_until_count(loop, &at_a.ups, 1);
}

Test(link, silence_is_a_loss)
{
    start_pinging(200);
    on_loop(hold);
    kit_until_count(loop, &at_a.losses, 1);
    kit_until_count(loop, &at_b.losses, 1);
    cr_expect(eq(int, at_a.loss, LINK_LOST_SILENT));
}

static bool was_measured(void *arg)
{
    (void)arg;
    struct link_stats s;
    link_stats(at_a.l, &s);
    return s.rtt_us != 0;
}

Test(link, an_idle_link_stays_up_and_measures_its_round_trip)
{
    start_pinging(60000); /* a machine that has no time for it for a while is no silence */
    kit_until(loop, was_measured, NULL);
    cr_expect(eq(sz, at_a.losses, 0));
}
