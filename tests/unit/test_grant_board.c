#include "cluster/grant_board.h"

#include "expect.h"

static struct grant_board *b;

static bool may(uint64_t epoch, uint16_t first, uint16_t second, int64_t now_us)
{
    uint16_t members[2] = { first, second };
    return grant_board_may_serve(b, 1, epoch, members, 2, now_us);
}

static void on_needed(void *arg, uint16_t node, uint64_t epoch)
{
    uint64_t *needed = arg;
    needed[node] = epoch + 1;
}

Test(grant_board, a_queue_of_this_node_alone_needs_nobody)
{
    uint16_t self = 1;
    b = grant_board_new();
    cr_expect(grant_board_may_serve(b, 1, 5, NULL, 0, 100));
    cr_expect(grant_board_may_serve(b, 1, 5, &self, 1, 100));
    cr_expect(not(grant_board_was_missed(b)));
    grant_board_free(&b);
    cr_expect(b == NULL);
    grant_board_free(&b);
}

Test(grant_board, all_members_must_have_given_a_grant_that_is_young_and_new_enough)
{
    b = grant_board_new();
    cr_expect(not(may(5, 1, 300, 100)));
    cr_expect(grant_board_was_missed(b));
    cr_expect(not(grant_board_was_missed(b)));
    grant_board_hold(b, 300, 5, 200);
    cr_expect(may(5, 1, 300, 100));
    cr_expect(may(5, 300, 1, 199));
    cr_expect(not(may(5, 1, 300, 200)));
    cr_expect(not(may(6, 1, 300, 100)));
    cr_expect(not(may(5, 2, 300, 100)));
    grant_board_hold(b, 2, 7, 150);
    cr_expect(may(5, 2, 300, 149));
    cr_expect(not(may(5, 2, 300, 150)));
    grant_board_clear(b);
    cr_expect(not(may(5, 1, 300, 100)));
    grant_board_free(&b);
}

Test(grant_board, tells_once_what_was_needed)
{
    uint64_t needed[1024] = { 0 };
    b = grant_board_new();
    cr_expect(not(may(5, 2, 700, 100))); /* of nodes that it does not know */
    grant_board_each_needed(b, on_needed, needed);
    cr_expect(needed[2] == 0 && needed[700] == 0);
    grant_board_know(b, 2);
    grant_board_know(b, 2);
    grant_board_know(b, 700);
    cr_expect(not(may(5, 2, 700, 100)));
    cr_expect(not(may(9, 2, 1, 100)));
    cr_expect(not(may(0, 3, 1, 100)));
    cr_expect(not(may(7, 2, 1, 100)));
    grant_board_each_needed(b, on_needed, needed);
    cr_expect(eq(u64, needed[2], 10));
    cr_expect(eq(u64, needed[3], 1));
    cr_expect(eq(u64, needed[700], 6));
    cr_expect(eq(u64, needed[1], 0));
    needed[2] = 0;
    grant_board_each_needed(b, on_needed, needed);
    cr_expect(eq(u64, needed[2], 0));
    grant_board_free(&b);
}
