/* proxy/quota: what each name has, and the bounds to that. */
#include "quota.h"

#include "expect.h"

#include <stdio.h>

static struct quota *q;

static void set_up(void)
{
    q = quota_new(1);
}

static void tear_down(void)
{
    quota_free(&q);
}

TestSuite(quota, .init = set_up, .fini = tear_down, .timeout = 60);

static struct quota_verdict enter(const char *name, const struct quota_limits *l, uint64_t now_ms,
                                  struct quota_entry **e)
{
    return quota_enter(q, QUOTA_USER, slice_str(name), l, now_ms, e);
}

/* Each name has its own count, up to the bound and not past it; who leaves makes room. */
Test(quota, bounds_the_connections_of_each_name)
{
    const struct quota_limits l = { .refuse.connections = 2 };
    struct quota_entry *a[3], *b;
    cr_expect(enter("a", &l, 0, &a[0]).ok);
    cr_expect(enter("a", &l, 0, &a[1]).ok);
    struct quota_verdict v = enter("a", &l, 0, &a[2]);
    cr_expect(eq(int, v.ok, false));
    cr_expect(eq(int, v.matter, QUOTA_CONNECTIONS));
    cr_expect(eq(u64, v.bound, 2));
    cr_expect(a[2] == NULL);
    cr_expect(enter("b", &l, 0, &b).ok);
    cr_expect(quota_enter(q, QUOTA_VHOST, slice_str("a"), &l, 0, &a[2]).ok, "another kind");
    quota_leave(q, &a[2]);
    quota_leave(q, &a[0]);
    cr_expect(enter("a", &l, 0, &a[0]).ok);
    cr_expect(eq(u64, quota_refused(q, QUOTA_USER, QUOTA_CONNECTIONS), 1));
    quota_leave(q, &a[0]);
    quota_leave(q, &a[1]);
    quota_leave(q, &b);
}

/* As many at once as the rate says, then one each time its share has passed. */
Test(quota, bounds_the_rate)
{
    const struct quota_limits l = { .refuse = { .rate = { 4, 1000 } } };
    struct quota_entry *e;
    for (unsigned i = 0; i < 4; i++) {
        cr_expect(enter("a", &l, 5000, &e).ok);
        quota_leave(q, &e);
    }
    cr_expect(not(enter("a", &l, 5000, &e).ok));
    cr_expect(not(enter("a", &l, 5249, &e).ok));
    cr_expect(enter("a", &l, 5250, &e).ok);
    quota_leave(q, &e);
    cr_expect(eq(int, enter("a", &l, 5250, &e).matter, QUOTA_RATE));
    for (unsigned i = 0; i < 4; i++) {
        cr_expect(enter("a", &l, 60000, &e).ok);
        quota_leave(q, &e);
    }
}

/* Alarm alone lets everybody in, says so, and stands beside a bound that refuses. */
Test(quota, alarms_without_refusing)
{
    const struct quota_limits l = { .refuse.channels = 3,
                                    .alarm = { .connections = 1, .channels = 1 } };
    struct quota_entry *a, *b;
    struct quota_verdict v = enter("a", &l, 0, &a);
    cr_expect(v.ok);
    cr_expect(not(v.alarm));
    v = enter("a", &l, 0, &b);
    cr_expect(v.ok);
    cr_expect(v.alarm);
    cr_expect(not(quota_open(q, a, &l).alarm));
    v = quota_open(q, b, &l);
    cr_expect(v.ok);
    cr_expect(v.alarm);
    cr_expect(quota_open(q, a, &l).ok);
    cr_expect(not(quota_open(q, a, &l).ok), "counted all the same");
    for (unsigned i = 0; i < 4; i++)
        quota_close(q, a);
    cr_expect(quota_open(q, a, &l).ok);
    quota_close(q, a);
    cr_expect(eq(u64, quota_alarmed(q, QUOTA_USER, QUOTA_CHANNELS), 2));
    quota_leave(q, &a);
    quota_leave(q, &b);
}

static uint64_t spend(struct quota_entry *e, const struct quota_limits *l, enum quota_matter m,
                      uint64_t count, uint64_t now_ms)
{
    uint64_t wait_ms;
    cr_expect(quota_spend(q, e, l, m, count, now_ms, &wait_ms).ok);
    return wait_ms;
}

/* As many at once as the bound says, then each waits for its share of the time; of a name, not of
 * a connection, and as well after it has gone and come back. */
Test(quota, slows_down_who_publishes)
{
    const struct quota_limits l = { .refuse = { .messages = { 4, 1000 } } };
    struct quota_entry *a, *b;
    cr_assert(enter("a", &l, 0, &a).ok && enter("a", &l, 0, &b).ok);
    cr_expect(eq(u64, spend(a, &l, QUOTA_MESSAGES, 0, 5000), 0));
    for (unsigned i = 0; i < 3; i++)
        cr_expect(eq(u64, spend(i % 2 ? a : b, &l, QUOTA_MESSAGES, 1, 5000), 0));
    cr_expect(eq(u64, spend(a, &l, QUOTA_MESSAGES, 1, 5000), 250));
    cr_expect(eq(u64, spend(b, &l, QUOTA_MESSAGES, 1, 5000), 500));
    cr_expect(eq(u64, spend(a, &l, QUOTA_BYTES, 1000000, 5000), 0), "no bound to that");
    struct text t;
    text_init(&t, 1000);
    cr_expect(eq(uint, quota_show(q, "amqp", 10, 5100, &t), 0));
    cr_expect(
        eq(str, t.ptr, (char *)"frontend=amqp user=a connections=2 channels=0 slowed=0.400s\n"));
    text_fini(&t);
    quota_leave(q, &a);
    quota_leave(q, &b);
    cr_assert(enter("a", &l, 5100, &a).ok);
    cr_expect(eq(u64, spend(a, &l, QUOTA_MESSAGES, 0, 5100), 400));
    cr_expect(eq(u64, spend(a, &l, QUOTA_MESSAGES, 1, 9000), 0), "it has rested");
    quota_slowed(q, QUOTA_USER, QUOTA_MESSAGES);
    cr_expect(eq(u64, quota_refused(q, QUOTA_USER, QUOTA_MESSAGES), 1));
    quota_leave(q, &a);
}

Test(quota, counts_bytes_of_any_size)
{
    const struct quota_limits l = {
        .refuse = { .bytes = { (uint64_t)1 << 40, 24u * 3600 * 1000 } },
        .alarm = { .messages = { 2, 1000 }, .bytes = { 1000, 1000 } },
    };
    struct quota_entry *e;
    uint64_t wait_ms;
    cr_assert(enter("a", &l, 0, &e).ok);
    cr_expect(eq(u64, spend(e, &l, QUOTA_BYTES, (uint64_t)1 << 40, 0), 0));
    cr_expect(eq(u64, spend(e, &l, QUOTA_BYTES, (uint64_t)1 << 39, 0), 12u * 3600 * 1000));
    cr_expect(quota_spend(q, e, &l, QUOTA_BYTES, 1001, 0, &wait_ms).alarm);
    cr_expect(not(quota_spend(q, e, &l, QUOTA_BYTES, 1000, 0, &wait_ms).alarm));
    for (unsigned i = 0; i < 3; i++)
        cr_expect(eq(int, quota_spend(q, e, &l, QUOTA_MESSAGES, 1, 0, &wait_ms).alarm, i == 2));
    cr_expect(eq(u64, wait_ms, 0), "an alarm slows nobody down");
    cr_expect(eq(u64, quota_alarmed(q, QUOTA_USER, QUOTA_MESSAGES), 1));
    quota_leave(q, &e);
}

/* A bound that a reload took away slows nobody down who comes after; an absurd one
 * does not run over. */
Test(quota, slows_down_for_no_longer_than_it_must)
{
    const uint64_t century_ms = (uint64_t)100 * 365 * 24 * 3600 * 1000;
    const struct quota_limits l = { .refuse = { .bytes = { 1, 86400000 } } };
    const struct quota_limits none = { .alarm = { .bytes = { 1, 86400000 } } };
    struct quota_entry *e;
    cr_assert(enter("a", &l, 0, &e).ok);
    for (unsigned i = 0; i < 5; i++)
        cr_expect(eq(u64, spend(e, &l, QUOTA_BYTES, UINT64_MAX, 5000), century_ms - 86400000));
    uint64_t wait_ms;
    (void)quota_spend(q, e, &none, QUOTA_BYTES, 1, 5000, &wait_ms);
    cr_expect(eq(u64, wait_ms, 0));
    quota_leave(q, &e);
}

/* A million names that come and go leave no million behind. */
Test(quota, forgets_names_that_rest)
{
    const struct quota_limits l = { .refuse = { .rate = { 1, 86400000 } } };
    struct quota_entry *e;
    for (unsigned i = 0; i < 100000; i++) {
        char room[32];
        snprintf(room, sizeof room, "user %u", i);
        cr_assert(enter(room, &l, 1, &e).ok);
        quota_leave(q, &e);
    }
    cr_expect(not(enter("user 99999", &l, 1, &e).ok), "the last are remembered");
    cr_expect(enter("user 1", &l, 1, &e).ok, "the first are not");
    quota_leave(q, &e);
    struct text t;
    text_init(&t, 1000);
    cr_expect(eq(uint, quota_show(q, "amqp", 10, 1, &t), 0));
    cr_expect(eq(sz, t.len, 0));
    text_fini(&t);
}
