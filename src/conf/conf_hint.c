#include "conf/conf_hint.h"

#include "base/check.h"

#include <string.h>

#define SLIPS_MAX 2u
#define SHOWN_MAX 40u /* octets of a line that a complaint repeats */

static bool is_key(const struct conf_schema *schema, const char *key)
{
    for (size_t i = 0; i < schema->directive_count; i++) {
        if (strcmp(schema->directives[i].key, key) == 0)
            return true;
    }
    return false;
}

static const struct conf_section *section_of(const struct conf_schema *schema, struct slice kind)
{
    for (size_t i = 0; i < schema->section_count; i++) {
        if (slice_is(kind, schema->sections[i].kind))
            return &schema->sections[i];
    }
    return NULL;
}

/* The next word of *line, which is moved behind it and the blanks that follow. A lone `=` is
 * passed over: `timeout connect = 5s` has the key in two words. */
static struct slice next_word(struct slice *line)
{
    size_t n = 0;
    while (n < line->len && line->ptr[n] != ' ' && line->ptr[n] != '\t')
        n++;
    struct slice word = slice_head(*line, n);
    *line = slice_from(*line, n);
    while (line->len != 0 && strchr(" \t=", line->ptr[0]) != NULL && line->ptr[0] != '\0')
        *line = slice_from(*line, 1);
    return word;
}

static bool hint_section(const struct conf_schema *schema, struct slice first, struct slice rest,
                         struct text *out)
{
    const struct conf_section *kind = section_of(schema, first);
    if (kind == NULL)
        return false;
    struct slice name = next_word(&rest);
    text_str(out, "; a section is written [");
    text_str(out, kind->kind);
    if (kind->named) {
        text_char(out, ' ');
        text_escaped(out, name.len != 0 ? name : slice_str("NAME"));
    }
    text_char(out, ']');
    return true;
}

/* `first-second` before `first`: HAProxy's `timeout connect` is one key here. */
static bool hint_key(const struct conf_schema *schema, struct slice first, struct slice rest,
                     struct text *out)
{
    char room[2 * CONF_NAME_MAX + 2];
    struct text key = text_over(room, sizeof room);
    struct slice after = rest;
    struct slice second = next_word(&after);
    text_slice(&key, first);
    text_char(&key, '-');
    text_slice(&key, second);
    if (second.len != 0 && !key.cut && is_key(schema, key.ptr)) {
        rest = after;
    } else {
        text_clear(&key);
        text_slice(&key, first);
        if (!is_key(schema, key.ptr))
            return false;
    }
    text_str(out, "; here it is written: ");
    text_str(out, key.ptr);
    text_str(out, " = ");
    text_escaped(out, rest.len != 0 ? rest : slice_str("VALUE"));
    return true;
}

void conf_hint_form(const struct conf_schema *schema, struct slice line, struct text *out)
{
    struct slice rest = line;
    struct slice first = next_word(&rest);
    while (first.len != 0 && first.ptr[first.len - 1] == ':')
        first.len--; /* `key: value` */
    if (hint_section(schema, first, rest, out) || hint_key(schema, first, rest, out))
        return;
    text_str(out, "; nor is there a directive \"");
    text_escaped(out, slice_head(line, SHOWN_MAX));
    text_str(out, line.len > SHOWN_MAX ? "...\"" : "\"");
}

/* How many octets must be put in, taken out or changed to get from a to b (Levenshtein). */
static unsigned slips(const char *a, const char *b)
{
    unsigned row[CONF_NAME_MAX + 2];
    size_t n = strlen(b);
    if (n > CONF_NAME_MAX)
        return UINT32_MAX;
    for (size_t j = 0; j <= n; j++)
        row[j] = (unsigned)j;
    for (size_t i = 0; a[i] != '\0'; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i + 1;
        for (size_t j = 0; j < n; j++) {
            unsigned changed = diagonal + (a[i] != b[j]);
            unsigned moved = (row[j] < row[j + 1] ? row[j] : row[j + 1]) + 1;
            diagonal = row[j + 1];
            row[j + 1] = changed < moved ? changed : moved;
        }
    }
    return row[n];
}

static void keep_nearer(const char *word, const char *candidate, unsigned *least,
                        const char **nearest)
{
    unsigned n = slips(word, candidate);
    if (n < *least && n < strlen(candidate)) {
        *least = n;
        *nearest = candidate;
    }
}

const char *conf_hint_key(const struct conf_schema *schema, const char *section, const char *key)
{
    const char *nearest = NULL;
    unsigned least = SLIPS_MAX + 1;
    for (size_t i = 0; i < schema->directive_count; i++) {
        if (strcmp(schema->directives[i].section, section) == 0)
            keep_nearer(key, schema->directives[i].key, &least, &nearest);
    }
    return nearest;
}

const char *conf_hint_home(const struct conf_schema *schema, const char *section, const char *key)
{
    for (size_t i = 0; i < schema->directive_count; i++) {
        const struct conf_directive *d = &schema->directives[i];
        if (strcmp(d->section, section) != 0 && strcmp(d->key, key) == 0)
            return d->section;
    }
    return NULL;
}

const char *conf_hint_section(const struct conf_schema *schema, const char *kind)
{
    const char *nearest = NULL;
    unsigned least = SLIPS_MAX + 1;
    for (size_t i = 0; i < schema->section_count; i++)
        keep_nearer(kind, schema->sections[i].kind, &least, &nearest);
    return nearest;
}
