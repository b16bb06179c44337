#include "client/expiration.h"

#include "base/text.h"

#include <ctype.h>

/* Erlang breaks a term before a line gets as long as this. */
#define LINE_COLUMNS 80u
#define BEFORE       (sizeof "invalid expiration '': " - 1)

static bool is_printable(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < ' ' || s.ptr[i] > '~')
            return false;
    return true;
}

/* A string, or the list of its octets, as Erlang writes it. */
static void put_leftover(struct text *t, struct slice s)
{
    bool printable = is_printable(s);
    text_char(t, printable ? '"' : '[');
    for (size_t i = 0; i < s.len; i++) {
        if (!printable) {
            text_put(t, "%s%u", i != 0 ? "," : "", (unsigned)s.ptr[i]);
            continue;
        }
        if (s.ptr[i] == '"' || s.ptr[i] == '\\')
            text_char(t, '\\');
        text_char(t, (char)s.ptr[i]);
    }
    text_char(t, printable ? '"' : ']');
}

/* {name,value}, behind the text that shows the expiration itself. */
static const char *fault(struct slice text, const char *name, struct slice value,
                         char room[EXPIRATION_FAULT_MAX])
{
    struct text t = text_over(room, EXPIRATION_FAULT_MAX);
    size_t column = BEFORE + text.len + 1;
    text_put(&t, "{%s,", name);
    if (column + strlen("{,}") + strlen(name) + value.len >= LINE_COLUMNS)
        text_put(&t, "\n%*s", (int)column, "");
    text_slice(&t, value);
    text_char(&t, '}');
    return room;
}

static bool is_above(struct slice digits, uint64_t max)
{
    uint64_t n = 0;
    for (size_t i = 0; i < digits.len && n <= max; i++)
        n = n * 10 + (uint64_t)(digits.ptr[i] - '0');
    return n > max;
}

const char *expiration_fault(struct slice text, char room[EXPIRATION_FAULT_MAX])
{
    size_t sign = text.len != 0 && (text.ptr[0] == '-' || text.ptr[0] == '+');
    bool negative = sign != 0 && text.ptr[0] == '-';
    size_t end = sign;
    while (end < text.len && isdigit(text.ptr[end]))
        end++;
    if (end == sign)
        return "no_integer";

    char shown[1100]; /* as a list, each octet takes four */
    struct text value = text_over(shown, sizeof shown);
    if (end < text.len) {
        put_leftover(&value, slice_from(text, end));
        return fault(text, "leftover_string", text_view(&value), room);
    }
    while (sign < end - 1 && text.ptr[sign] == '0')
        sign++;
    struct slice digits = slice_from(text, sign);
    bool too_large = is_above(digits, EXPIRATION_MAX_MS);
    if (negative ? slice_is(digits, "0") : !too_large)
        return NULL;
    text_put(&value, "%s%.*s", negative ? "-" : "", SLICE_ARG(digits));
    return fault(text, negative ? "value_negative" : "value_too_large", text_view(&value), room);
}
