#include "base/units.h"

#include "expect.h"

#include <math.h>

/* What is refused leaves the number alone. */
#define UNTOUCHED 77u

static uint64_t u64_of(const char *text)
{
    uint64_t v = UNTOUCHED;
    bool ok = units_u64(slice_str(text), &v);
    cr_expect(ok || v == UNTOUCHED);
    return v;
}

static uint64_t ms_of(const char *text)
{
    uint64_t v = UNTOUCHED;
    bool ok = units_duration_ms(slice_str(text), 1000, &v);
    cr_expect(ok || v == UNTOUCHED);
    return v;
}

static uint64_t bytes_of(const char *text)
{
    uint64_t v = UNTOUCHED;
    bool ok = units_size_bytes(slice_str(text), &v);
    cr_expect(ok || v == UNTOUCHED);
    return v;
}

static const char *const no_numbers[] = { "",
                                          " ",
                                          "-1",
                                          "+1",
                                          "1 ",
                                          " 1",
                                          "x",
                                          "1x",
                                          "k",
                                          "0x1",
                                          "1.",
                                          ".5",
                                          "1,5",
                                          "1e3",
                                          "1kk",
                                          "1 k",
                                          "18446744073709551616",
                                          "99999999999999999999" };

Test(units, reads_numbers)
{
    cr_expect(eq(u64, u64_of("0"), 0));
    cr_expect(eq(u64, u64_of("007"), 7));
    cr_expect(eq(u64, u64_of("18446744073709551615"), UINT64_MAX));
    for (size_t i = 0; i < ARRAY_COUNT(no_numbers); i++)
        cr_expect(eq(u64, u64_of(no_numbers[i]), UNTOUCHED), "%s", no_numbers[i]);
    cr_expect(eq(u64, u64_of("1k"), UNTOUCHED));
}

Test(units, reads_durations)
{
    cr_expect(eq(u64, ms_of("5ms"), 5));
    cr_expect(eq(u64, ms_of("2s"), 2000));
    cr_expect(eq(u64, ms_of("2m"), 120000));
    cr_expect(eq(u64, ms_of("3h"), 10800000));
    cr_expect(eq(u64, ms_of("1d"), 86400000));
    cr_expect(eq(u64, ms_of("4"), 4000)); /* in the unit that was named */
    cr_expect(eq(u64, ms_of("0"), 0));
    cr_expect(eq(u64, ms_of("213503982334d"), UINT64_C(213503982334) * 86400000));
    cr_expect(eq(u64, ms_of("213503982335d"), UNTOUCHED)); /* one day past 64 bits */
    for (size_t i = 0; i < ARRAY_COUNT(no_numbers); i++)
        cr_expect(eq(u64, ms_of(no_numbers[i]), UNTOUCHED), "%s", no_numbers[i]);
    cr_expect(eq(u64, ms_of("5S"), UNTOUCHED));

    uint64_t v = UNTOUCHED;
    cr_expect(not(units_duration_ms(slice_str("4"), 0, &v))); /* no unit was named */
    cr_expect(units_duration_ms(slice_str("4s"), 0, &v) && v == 4000);
}

Test(units, reads_sizes)
{
    const char *const kilo[] = { "2k", "2K", "2kB", "2KB", "2KiB", "2048", "2048B" };
    for (size_t i = 0; i < ARRAY_COUNT(kilo); i++)
        cr_expect(eq(u64, bytes_of(kilo[i]), 2048), "%s", kilo[i]);
    cr_expect(eq(u64, bytes_of("3M"), 3u << 20));
    cr_expect(eq(u64, bytes_of("3MiB"), 3u << 20));
    cr_expect(eq(u64, bytes_of("1GB"), 1u << 30));
    cr_expect(eq(u64, bytes_of("16777215TiB"), UINT64_C(16777215) << 40));
    cr_expect(eq(u64, bytes_of("16777216T"), UNTOUCHED)); /* 2^64 */
    for (size_t i = 0; i < ARRAY_COUNT(no_numbers); i++)
        cr_expect(eq(u64, bytes_of(no_numbers[i]), UNTOUCHED), "%s", no_numbers[i]);
}

static double share_of(const char *text)
{
    double v = -1;
    bool ok = units_percent(slice_str(text), &v);
    cr_expect(eq(int, ok, v >= 0));
    return v;
}

Test(units, reads_shares)
{
    const struct {
        const char *text;
        double want;
    } good[] = { { "0", 0 },     { "0%", 0 },        { "40%", 0.4 },
                 { "0.4", 0.4 }, { "100%", 1 },      { "1", 1 },
                 { "1.0", 1 },   { "12.5%", 0.125 }, { "0.000000001", 1e-9 } };
    for (size_t i = 0; i < ARRAY_COUNT(good); i++)
        cr_expect(fabs(share_of(good[i].text) - good[i].want) < 1e-15, "%s", good[i].text);
    const char *const bad[] = { "",
                                "%",
                                "101%",
                                "1.1",
                                "100.1%",
                                "-1%",
                                ".5",
                                "40 %",
                                "4%%",
                                "0.0000000001",
                                "nan",
                                "0.",
                                "99999999999999999999%" };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        cr_expect(share_of(bad[i]) < 0, "%s", bad[i]);
}

Test(units, reads_yes_and_no)
{
    const char *const yes[] = { "on", "true", "yes", "1" };
    const char *const no[] = { "off", "false", "no", "0" };
    const char *const bad[] = { "", "ON", "o", "onn", "2" };
    for (size_t i = 0; i < 4; i++) {
        bool v = false;
        cr_expect(units_bool(slice_str(yes[i]), &v) && v);
        cr_expect(units_bool(slice_str(no[i]), &v) && !v);
    }
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        bool v = true;
        bool ok = units_bool(slice_str(bad[i]), &v);
        cr_expect(not(ok), "%s", bad[i]);
        cr_expect(v);
    }
}
