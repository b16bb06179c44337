/* proxy/heartbeat: when to send one, when a silent peer is dead. */
#include "heartbeat.h"

#include "expect.h"

static const struct heartbeat_view quiet = {
    .now_ms = 100000, .last_read_ms = 100000, .last_write_ms = 100000, .listening = true
};

Test(heartbeat, none_without_an_interval)
{
    uint64_t next;
    struct heartbeat_view v = quiet;
    v.now_ms = UINT64_MAX / 2;
    cr_expect(eq(int, heartbeat_step(0, &v, &next), HEARTBEAT_WAIT));
    cr_expect(eq(u64, next, UINT64_MAX));
}

Test(heartbeat, is_due_after_half_an_interval_of_silence)
{
    uint64_t next;
    struct heartbeat_view v = quiet;
    cr_expect(eq(int, heartbeat_step(10, &v, &next), HEARTBEAT_WAIT));
    cr_expect(eq(u64, next, 5000));
    v.now_ms += 4999;
    cr_expect(eq(int, heartbeat_step(10, &v, &next), HEARTBEAT_WAIT));
    cr_expect(eq(u64, next, 1));
    v.now_ms += 1;
    cr_expect(eq(int, heartbeat_step(10, &v, &next), HEARTBEAT_SEND));
    cr_expect(eq(u64, next, 5000));
}

Test(heartbeat, is_not_needed_while_octets_wait_to_be_sent)
{
    uint64_t next;
    struct heartbeat_view v = quiet;
    v.now_ms += 9000;
    v.has_output = true;
    cr_expect(eq(int, heartbeat_step(10, &v, &next), HEARTBEAT_WAIT));
    cr_expect(eq(u64, next, 5000));
}

Test(heartbeat, a_peer_is_dead_after_two_intervals)
{
    uint64_t next;
    struct heartbeat_view v = quiet;
    v.now_ms += 19999;
    v.last_write_ms = v.now_ms;
    cr_expect(eq(int, heartbeat_step(10, &v, &next), HEARTBEAT_WAIT));
    cr_expect(eq(u64, next, 1));
    v.now_ms += 1;
    cr_expect(eq(int, heartbeat_step(10, &v, &next), HEARTBEAT_DEAD));
}

Test(heartbeat, a_peer_we_do_not_listen_to_is_never_dead)
{
    uint64_t next;
    struct heartbeat_view v = quiet;
    v.now_ms += 1000000;
    v.listening = false;
    cr_expect(eq(int, heartbeat_step(10, &v, &next), HEARTBEAT_SEND), "ours go on");
    v.listening = true;
    v.listening_since_ms = v.now_ms - 19999;
    cr_expect(eq(int, heartbeat_step(10, &v, &next), HEARTBEAT_SEND), "it gets its time again");
    v.listening_since_ms = v.now_ms - 20000;
    cr_expect(eq(int, heartbeat_step(10, &v, &next), HEARTBEAT_DEAD));
}
