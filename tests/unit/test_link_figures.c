/* src/link/link_figures: what links carry, added up by class and by who is at the other end. */
#include "link/link_figures.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

static void add(struct link_figures *f, const char *peer, enum link_class class, uint64_t bytes,
                uint32_t rtt_us)
{
    struct link_figure one = { .class = class, .is_connected = true, .is_full = bytes > 5 };
    one.stats.bytes_out = bytes;
    one.stats.rtt_us = rtt_us;
    link_figures_add(f, slice_str(peer), &one);
}

static bool says(struct link_figures *f, const char *line)
{
    char room[16384];
    struct text t = text_over(room, sizeof room);
    link_figures_text(f, &t);
    cr_assert(not(t.cut));
    return strstr(room, line) != NULL;
}

Test(link_figures, those_of_one_peer_are_added_up)
{
    struct link_figures *f = link_figures_new(7);
    add(f, "rabbit@a", LINK_BULK, 3, 40);
    add(f, "rabbit@a", LINK_BULK, 10, 1500);
    add(f, "rabbit@a", LINK_BULK, 4, 100);
    add(f, "rabbit@a", LINK_CONTROL, 100, 9);
    add(f, "rabbit@b", LINK_BULK, 1000, 8);
    cr_expect(says(f, "\nwarren_link_sent_bytes_total{class=\"bulk\",peer=\"rabbit@a\"} 17\n"));
    cr_expect(says(f, "\nwarren_link_sent_bytes_total{class=\"control\",peer=\"rabbit@a\"} 100\n"));
    cr_expect(says(f, "\nwarren_link_sent_bytes_total{class=\"bulk\",peer=\"rabbit@b\"} 1000\n"));
    cr_expect(says(f, "\nwarren_link_connected{class=\"bulk\",peer=\"rabbit@a\"} 3\n"));
    cr_expect(says(f, "\nwarren_link_full{class=\"bulk\",peer=\"rabbit@a\"} 1\n"));
    link_figures_free(&f);
}

Test(link_figures, the_longest_round_trip_is_shown)
{
    struct link_figures *f = link_figures_new(7);
    add(f, "rabbit@a", LINK_BULK, 3, 40);
    add(f, "rabbit@a", LINK_BULK, 10, 1500);
    add(f, "rabbit@a", LINK_BULK, 4, 100);
    cr_expect(says(f, "\nwarren_link_rtt_seconds{class=\"bulk\",peer=\"rabbit@a\"} 0.0015\n"));
    link_figures_free(&f);
}

Test(link_figures, names_do_no_harm)
{
    struct link_figures *f = link_figures_new(7);
    add(f, "a\"b\\c\nd", LINK_FEED, 1, 1);
    cr_expect(says(f, "{class=\"feed\",peer=\"a\\\"b\\\\c"));
    cr_expect(not(says(f, "c\nd")));
    link_figures_free(&f);
}

Test(link_figures, none_are_nothing)
{
    struct link_figures *f = link_figures_new(7);
    cr_expect(not(says(f, "warren")));
    link_figures_free(&f);
}
