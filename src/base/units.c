#include "base/units.h"

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit durations[] = {
    { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 },
};

static const struct unit sizes[] = {
    { "B", 1 },
    { "k", 1u << 10 },
    { "K", 1u << 10 },
    { "kB", 1u << 10 },
    { "KB", 1u << 10 },
    { "KiB", 1u << 10 },
    { "M", 1u << 20 },
    { "MB", 1u << 20 },
    { "MiB", 1u << 20 },
    { "G", 1u << 30 },
    { "GB", 1u << 30 },
    { "GiB", 1u << 30 },
    { "T", (uint64_t)1 << 40 },
    { "TB", (uint64_t)1 << 40 },
    { "TiB", (uint64_t)1 << 40 },
};

/* The digits at the start of *text, which is moved behind them. */
static bool take_digits(struct slice *text, uint64_t *out)
{
    uint64_t v = 0;
    size_t n = 0;
    while (n < text->len && text->ptr[n] >= '0' && text->ptr[n] <= '9') {
        if (__builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(text->ptr[n] - '0'), &v))
            return false;
        n++;
    }
    *text = slice_from(*text, n);
    *out = v;
    return n != 0;
}

static bool with_unit(struct slice text, const struct unit *units, size_t count, uint64_t bare,
                      uint64_t *out)
{
    uint64_t v;
    if (!take_digits(&text, &v))
        return false;
    uint64_t factor = text.len == 0 ? bare : 0;
    for (size_t i = 0; i < count && text.len != 0; i++) {
        if (slice_is(text, units[i].name))
            factor = units[i].factor;
    }
    if (factor == 0 || __builtin_mul_overflow(v, factor, &v))
        return false;
    *out = v;
    return true;
}

bool units_u64(struct slice text, uint64_t *out)
{
    return with_unit(text, NULL, 0, 1, out);
}

bool units_duration_ms(struct slice text, uint64_t bare_unit_ms, uint64_t *out)
{
    return with_unit(text, durations, ARRAY_COUNT(durations), bare_unit_ms, out);
}

bool units_size_bytes(struct slice text, uint64_t *out)
{
    return with_unit(text, sizes, ARRAY_COUNT(sizes), 1, out);
}

/* Digits, and perhaps a point and up to nine more, as a number. */
static bool take_decimal(struct slice *text, double *out)
{
    uint64_t whole;
    if (!take_digits(text, &whole))
        return false;
    double v = (double)whole;
    if (text->len != 0 && text->ptr[0] == '.') {
        struct slice rest = slice_from(*text, 1);
        struct slice before = rest;
        uint64_t part;
        if (!take_digits(&rest, &part) || before.len - rest.len > 9)
            return false;
        double scale = 1;
        for (size_t i = 0; i < before.len - rest.len; i++)
            scale *= 10;
        v += (double)part / scale;
        *text = rest;
    }
    *out = v;
    return true;
}

bool units_percent(struct slice text, double *out)
{
    double v;
    if (!take_decimal(&text, &v))
        return false;
    if (slice_is(text, "%"))
        v /= 100;
    else if (text.len != 0)
        return false;
    if (v > 1)
        return false;
    *out = v;
    return true;
}

bool units_bool(struct slice text, bool *out)
{
    static const char *const yes[] = { "on", "true", "yes", "1" };
    static const char *const no[] = { "off", "false", "no", "0" };
    for (size_t i = 0; i < ARRAY_COUNT(yes); i++) {
        if (slice_is(text, yes[i]) || slice_is(text, no[i])) {
            *out = slice_is(text, yes[i]);
            return true;
        }
    }
    return false;
}
