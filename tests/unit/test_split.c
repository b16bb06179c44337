/* proxy/split: whose turn it is to speak on a channel. */
#include "split_inner.h"

#include "base/mem.h"
#include "expect.h"
#include "session.h"

/* Two channels with a leg at each of two brokers; the first broker is in the middle of a message on
 * the first channel, the second one on the second. */
struct two {
    struct session session;
    struct channel *list[3];
    struct channel channels[3]; /* by number */
    struct split splits[3];
    struct upstream upstreams[2];
    struct leg legs[3][2];
};

static struct two *two_new(void)
{
    struct two *t = mem_zalloc(sizeof *t);
    t->session.channels = t->list;
    t->session.channels_cap = 3;
    for (unsigned c = 1; c < 3; c++) {
        struct split *sp = &t->splits[c];
        t->list[c] = &t->channels[c];
        t->channels[c] = (struct channel){
            .state = CHANNEL_OPEN, .number = (uint16_t)c, .split = sp, .is_spread = true
        };
        for (unsigned l = 0; l < 2; l++) {
            t->legs[c][l] = (struct leg){ .upstream = &t->upstreams[l], .number = l };
            sp->legs[l] = &t->legs[c][l];
        }
        sp->speaker = c - 1;
        sp->wish = SPLIT_NONE;
    }
    return t;
}

static enum run_pass turn(struct two *t, unsigned channel, unsigned leg)
{
    return split_turn(&t->session, &t->channels[channel], &t->legs[channel][leg]);
}

Test(split, who_is_in_the_middle_of_a_message_speaks_on)
{
    struct two *t = two_new();
    cr_expect(eq(int, turn(t, 1, 0), RUN_PASS));
    cr_expect(eq(int, turn(t, 2, 1), RUN_PASS));
    t->splits[1].speaker = SPLIT_NONE;
    cr_expect(eq(int, turn(t, 1, 1), RUN_PASS));
    mem_free(t);
}

/* Each would wait for the other. */
Test(split, brokers_that_mix_messages_of_several_channels_are_found_out)
{
    struct two *t = two_new();
    t->upstreams[0].held_for = 2; /* its frame for channel 2 waits for the other broker's end */
    cr_expect(eq(int, turn(t, 1, 1), RUN_SPLIT));
    t->upstreams[0].held_for = 0;
    t->upstreams[1].held_for = 1;
    cr_expect(eq(int, turn(t, 2, 0), RUN_SPLIT));
    mem_free(t);
}
