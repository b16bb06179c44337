/* The schema for people: see conf_describe in conf.h. */
#include "base/check.h"
#include "base/text.h"
#include "conf/conf.h"

#include <string.h>

#define COLUMN_MAX 96u

static const char *const type_texts[] = {
#define X(name, what) what,
    CONF_TYPES(X)
#undef X
};

const char *conf_default_text(const struct conf_directive *d)
{
    if (d->fallback != NULL)
        return d->fallback;
    if (d->shown != NULL)
        return d->shown;
    if (d->zero != NULL)
        return d->zero;
    return "";
}

/* Words of `what` as comment lines that fit a page. */
static void put_comment(struct text *out, const char *what)
{
    size_t column = 0;
    while (*what != '\0') {
        size_t n = strcspn(what, " ");
        if (column != 0 && column + 1 + n > COLUMN_MAX) {
            text_char(out, '\n');
            column = 0;
        }
        text_str(out, column == 0 ? "# " : " ");
        column += n + (column == 0 ? 2 : 1);
        text_slice(out, slice_of(what, n));
        what += n + (what[n] == ' ');
    }
    if (column != 0)
        text_char(out, '\n');
}

static void put_directive(struct text *out, const struct conf_directive *d)
{
    text_char(out, '\n');
    if (d->help != NULL)
        put_comment(out, d->help);
    text_str(out, "# (");
    if (d->type == CONF_CHOICE)
        text_put(out, "one of %s", d->choices);
    else
        text_str(out, type_texts[d->type]);
    if (d->type == CONF_U64 && d->max != 0)
        text_put(out, " from %llu to %llu", (unsigned long long)d->min, (unsigned long long)d->max);
    if (d->zero != NULL)
        text_put(out, ", or \"%s\"", d->zero);
    text_str(out, (d->flags & CONF_MANY) != 0 ? "; may be given several times)\n" : ")\n");
    const char *fallback = conf_default_text(d);
    text_put(out, "#%s =%s%s\n", d->key, fallback[0] != '\0' ? " " : "", fallback);
}

static void put_head(struct text *out, const struct conf_section *s)
{
    if (s->help != NULL)
        put_comment(out, s->help);
    text_put(out, "[%s", s->kind);
    if (s->named)
        text_put(out, " %s", s->example_name != NULL ? s->example_name : "NAME");
    text_put(out, "]\n%s", s->example != NULL ? s->example : "");
}

void conf_describe(const struct conf_schema *schema, struct text *out)
{
    for (size_t i = 0; i < schema->section_count; i++) {
        const struct conf_section *s = &schema->sections[i];
        text_str(out, i == 0 ? "" : "\n");
        put_head(out, s);
        for (size_t k = 0; k < schema->directive_count; k++) {
            if (strcmp(schema->directives[k].section, s->kind) == 0)
                put_directive(out, &schema->directives[k]);
        }
    }
}
