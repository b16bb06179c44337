#include "admin_line.h"

#include "base/check.h"

#include <string.h>

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* One word into `at`; returns the place behind its end. */
static char *take_word(struct slice *line, char *at)
{
    size_t i = 0;
    for (; i < line->len && !is_blank(line->ptr[i]) && line->ptr[i] != ';'; i++) {
        if (line->ptr[i] == '\\' && i + 1 < line->len)
            i++;
        if (line->ptr[i] != '\0') /* no C string has it inside */
            *at++ = (char)line->ptr[i];
    }
    *at++ = '\0';
    *line = slice_from(*line, i);
    return at;
}

void admin_line_cut(struct slice *line, struct admin_command *out)
{
    CHECK(line->len <= ADMIN_LINE_MAX);
    char *at = out->room;
    out->count = 0;
    out->is_cut = false;
    while (line->len != 0) {
        if (is_blank(line->ptr[0])) {
            *line = slice_from(*line, 1);
            continue;
        }
        if (line->ptr[0] == ';') {
            *line = slice_from(*line, 1);
            return;
        }
        char *word = at;
        at = take_word(line, at);
        if (out->count < ADMIN_WORDS_MAX)
            out->words[out->count++] = word;
        else
            out->is_cut = true;
    }
}

bool admin_command_is(const struct admin_command *c, const char *words)
{
    for (unsigned n = 0;; n++) {
        const char *end = strchr(words, ' ');
        size_t len = end != NULL ? (size_t)(end - words) : strlen(words);
        if (n >= c->count || strlen(c->words[n]) != len || memcmp(c->words[n], words, len) != 0)
            return false;
        if (end == NULL)
            return true;
        words = end + 1;
    }
}

const char *admin_command_word(const struct admin_command *c, unsigned n)
{
    return n < c->count ? c->words[n] : "";
}
