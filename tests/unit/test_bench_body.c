#include "bench_body.h"
#include "bench_filler.h"
#include "bench_pace.h"

#include "expect.h"

static const struct bench_body sample = {
    .run = 0xBEEF,
    .resent = true,
    .flow = BENCH_BODY_FLOWS_MAX - 1,
    .sequence = BENCH_BODY_SEQUENCE_MAX,
    .time_us = BENCH_BODY_TIME_MASK,
    .intended_us = BENCH_BODY_TIME_MASK - 5000,
};

Test(bench_body, keeps_every_field_at_its_largest)
{
    uint8_t at[BENCH_BODY_INTENDED_MIN];
    struct bench_body b;
    bench_body_write(at, sizeof at, &sample);
    cr_assert(bench_body_read(at, sizeof at, &b));
    cr_expect(eq(u16, b.run, sample.run));
    cr_expect(b.resent);
    cr_expect(eq(u32, b.flow, sample.flow));
    cr_expect(eq(u64, b.sequence, sample.sequence));
    cr_expect(eq(u64, b.time_us, sample.time_us));
    cr_expect(eq(u64, b.intended_us, sample.intended_us));
}

/* The user waits from the moment a message was due: that is what a short body tells. */
Test(bench_body, tells_only_the_due_time_when_it_is_short)
{
    uint8_t at[BENCH_BODY_MIN];
    struct bench_body b;
    bench_body_write(at, sizeof at, &sample);
    cr_assert(bench_body_read(at, sizeof at, &b));
    cr_expect(eq(u64, b.time_us, sample.intended_us));
    cr_expect(eq(u64, b.intended_us, sample.intended_us));
    cr_expect(eq(u64, b.sequence, sample.sequence));
    cr_expect_not(bench_body_read(at, sizeof at - 1, &b));
}

Test(bench_body, counts_ages_over_the_end_of_its_clock)
{
    cr_expect(eq(u64, bench_body_age_us(1000, 400), 600));
    cr_expect(eq(u64, bench_body_age_us(7, BENCH_BODY_TIME_MASK), 8));
    cr_expect(eq(u64, bench_body_age_us(UINT64_C(1) << 50, BENCH_BODY_TIME_MASK), 1));
    cr_expect(eq(u64, bench_body_age_us(400, 401), 0), "from the future");
}

/* The n-th message is due exactly when the count says that n + 1 are. */
Test(bench_pace, agrees_with_itself_at_every_rate)
{
    const uint64_t rates[] = { 1, 3, 7, 1000, 5000, 333333, 999999, 1000000 };
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct bench_pace p;
        bench_pace_init(&p, 1000000007, rates[i], 0, 1);
        cr_expect(eq(u64, bench_pace_count(&p, p.start_us - 1), 0));
        uint64_t before = 0;
        for (uint64_t n = 0; n < 5000; n++) {
            uint64_t due = bench_pace_due_us(&p, n);
            cr_assert(ge(u64, due, before), "rate %lu, message %lu", rates[i], n);
            before = due;
            cr_assert(eq(u64, bench_pace_count(&p, due), n + 1), "rate %lu, message %lu", rates[i],
                      n);
            cr_assert(n == 0 || bench_pace_count(&p, due - 1) == n);
        }
    }
}

/* More than one message in a microsecond. */
Test(bench_pace, counts_all_that_fall_into_one_microsecond)
{
    struct bench_pace p;
    bench_pace_init(&p, 0, 3000000, 0, 1);
    cr_expect(eq(u64, bench_pace_count(&p, 0), 3));
    cr_expect(eq(u64, bench_pace_count(&p, 1), 6));
    cr_expect(eq(u64, bench_pace_count(&p, 1000000), 3000003));
}

Test(bench_pace, spreads_publishers_over_the_interval)
{
    struct bench_pace a, b;
    bench_pace_init(&a, 5000, 100, 0, 4);
    bench_pace_init(&b, 5000, 100, 1, 4);
    cr_expect(eq(u64, a.start_us, 5000));
    cr_expect(eq(u64, b.start_us, 7500));
}

Test(bench_filler, sees_a_shift_a_gap_and_a_flipped_bit)
{
    struct buf *filler = bench_filler_new();
    uint8_t body[70000];
    for (size_t done = 0; done < sizeof body;) {
        struct slice piece = bench_filler_range(filler, done, sizeof body - done);
        cr_assert(piece.len != 0);
        memcpy(body + done, piece.ptr, piece.len);
        done += piece.len;
    }
    cr_expect(bench_filler_matches(filler, 0, slice_of(body, sizeof body)));
    cr_expect(bench_filler_matches(filler, 66000, slice_of(body + 66000, 4000)));
    cr_expect_not(bench_filler_matches(filler, 0, slice_of(body + 1, 1000)));
    cr_expect_not(bench_filler_matches(filler, 0, slice_of(body + 65536, 1000)));
    body[69999] ^= 1;
    cr_expect_not(bench_filler_matches(filler, 0, slice_of(body, sizeof body)));
    buf_unref(&filler);
}
