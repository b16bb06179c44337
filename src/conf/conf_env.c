/* The environment as overrides: see conf_env in conf.h. */
#include "base/check.h"
#include "base/text.h"
#include "conf/conf.h"

#include <string.h>

#define VARIABLE_MAX 160 /* octets of a variable's name: prefix, section and key */

/* `listen`, `proxy-protocol` as LISTEN_PROXY_PROTOCOL */
static void put_upper(struct text *to, const char *name)
{
    for (; *name != '\0'; name++) {
        char c = *name;
        text_char(to, c == '-' || c == '.' ? '_' : c >= 'a' && c <= 'z' ? (char)(c - 32) : c);
    }
}

static void put_variable(struct text *to, const char *prefix, const struct conf_directive *d)
{
    text_str(to, prefix);
    put_upper(to, d->section);
    text_char(to, '_');
    put_upper(to, d->key);
}

static bool is_named(const struct conf_schema *schema, const char *kind)
{
    for (size_t i = 0; i < schema->section_count; i++) {
        if (strcmp(schema->sections[i].kind, kind) == 0)
            return schema->sections[i].named;
    }
    return true;
}

/* What `NAME=value` says for NAME; NULL when it is another variable. */
static const char *value_of(const char *entry, const char *name)
{
    size_t n = strlen(name);
    return strncmp(entry, name, n) == 0 && entry[n] == '=' ? entry + n + 1 : NULL;
}

const char *conf_env_value(char *const *env, const char *name)
{
    for (; env != NULL && *env != NULL; env++) {
        const char *value = value_of(*env, name);
        if (value != NULL)
            return value;
    }
    return NULL;
}

struct conf_override *conf_env(const struct conf_schema *schema, const char *prefix,
                               char *const *env, struct conf_store *store, size_t *count)
{
    struct conf_override *all =
        conf_store_alloc(store, schema->directive_count * sizeof(struct conf_override));
    *count = 0;
    for (size_t i = 0; i < schema->directive_count; i++) {
        const struct conf_directive *d = &schema->directives[i];
        char room[VARIABLE_MAX];
        struct text from = text_over(room, sizeof room);
        text_str(&from, "environment ");
        const char *name = room + from.len;
        put_variable(&from, prefix, d);
        CHECK(!from.cut);
        const char *value = is_named(schema, d->section) ? NULL : conf_env_value(env, name);
        if (value != NULL)
            all[(*count)++] = (struct conf_override){
                d->section,
                d->key,
                conf_store_str(store, slice_str(value)),
                conf_store_str(store, text_view(&from)),
            };
    }
    return all;
}

static bool begins_like_section(const struct conf_schema *schema, const char *prefix,
                                const char *entry)
{
    for (size_t i = 0; i < schema->section_count; i++) {
        char room[VARIABLE_MAX];
        struct text begin = text_over(room, sizeof room);
        text_str(&begin, prefix);
        put_upper(&begin, schema->sections[i].kind);
        text_char(&begin, '_');
        if (strncmp(entry, room, begin.len) == 0)
            return true;
    }
    return false;
}

static bool is_variable(const struct conf_schema *schema, const char *prefix, const char *entry)
{
    for (size_t i = 0; i < schema->directive_count; i++) {
        char room[VARIABLE_MAX];
        struct text name = text_over(room, sizeof room);
        put_variable(&name, prefix, &schema->directives[i]);
        if (value_of(entry, room) != NULL)
            return true;
    }
    return false;
}

void conf_env_unknown(const struct conf_schema *schema, const char *prefix, char *const *env,
                      void (*each)(const char *name, void *arg), void *arg)
{
    for (; env != NULL && *env != NULL; env++) {
        if (!begins_like_section(schema, prefix, *env) || is_variable(schema, prefix, *env))
            continue;
        char room[VARIABLE_MAX];
        struct text name = text_over(room, sizeof room);
        text_slice(&name, slice_head(slice_str(*env), strcspn(*env, "=")));
        each(room, arg);
    }
}
