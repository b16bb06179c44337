#include "conf/conf.h"

#include "base/check.h"
#include "base/text.h"
#include "conf/conf_field.h"
#include "conf/conf_file.h"
#include "conf/conf_hint.h"

#include <string.h>

/* One load: the file cut up, what wins over it, and where it goes. */
struct load {
    const struct conf_schema *schema;
    const struct conf_override *overrides;
    size_t override_count;
    void *root;
    struct conf_store *store; /* the caller's: what lasts */
    struct conf_file file;    /* in a store of its own, gone with the load */
    unsigned *lines;          /* per directive: where this section gave it, or 0 */
    struct err *err;
};

#define FROM_OVERRIDE UINT32_MAX

static bool refuse(struct load *l, unsigned line, const char *fmt, ...) PRINTF_LIKE(3, 4);

static bool refuse(struct load *l, unsigned line, const char *fmt, ...)
{
    char what[ERR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    struct text text = text_over(what, sizeof what);
    text_vput(&text, fmt, args);
    va_end(args);
    return err_set(l->err, ERR_CONFIG, "%s:%u: %s", l->file.path, line, what);
}

static const char *place(struct load *l, unsigned line)
{
    return conf_store_put(l->store, "%s:%u", l->file.path, line);
}

static size_t find_directive(const struct conf_schema *schema, const char *kind, const char *key)
{
    for (size_t i = 0; i < schema->directive_count; i++) {
        const struct conf_directive *d = &schema->directives[i];
        if (strcmp(d->section, kind) == 0 && strcmp(d->key, key) == 0)
            return i;
    }
    return SIZE_MAX;
}

/* ---- which sections are there ---- */

static const struct conf_section *find_section(const struct conf_schema *schema, const char *kind)
{
    for (size_t i = 0; i < schema->section_count; i++) {
        if (strcmp(schema->sections[i].kind, kind) == 0)
            return &schema->sections[i];
    }
    return NULL;
}

static bool judge_block(struct load *l, const struct conf_block *b)
{
    const struct conf_section *s = find_section(l->schema, b->kind);
    const char *near = conf_hint_section(l->schema, b->kind);
    if (s == NULL && near != NULL)
        return refuse(l, b->line, "there is no section [%s]; [%s] is meant?", b->kind, near);
    if (s == NULL)
        return refuse(l, b->line, "there is no section [%s]", b->kind);
    if (s->named && b->name[0] == '\0')
        return refuse(l, b->line, "this section needs a name: [%s NAME]", b->kind);
    if (!s->named && b->name[0] != '\0')
        return refuse(l, b->line, "this section has no name: [%s]", b->kind);
    return true;
}

/* ---- what is in a section ---- */

static bool set_field(struct load *l, const struct conf_directive *d, void *instance,
                      struct slice text, const char *where)
{
    return conf_field_set(d, instance, text, where, l->store, l->err) ||
           err_context(l->err, "%s: %s", where, d->key);
}

static bool refuse_key(struct load *l, const struct conf_block *b, const struct conf_entry *e)
{
    const char *home = conf_hint_home(l->schema, b->kind, e->key);
    const char *near = conf_hint_key(l->schema, b->kind, e->key);
    if (home != NULL)
        return refuse(l, e->line, "there is no %s in [%s]; it belongs into [%s]", e->key, b->kind,
                      home);
    if (near != NULL)
        return refuse(l, e->line, "there is no %s in [%s]; %s is meant?", e->key, b->kind, near);
    return refuse(l, e->line, "there is no %s in [%s]", e->key, b->kind);
}

static bool take_entry(struct load *l, const struct conf_block *b, const struct conf_entry *e,
                       void *instance)
{
    size_t i = find_directive(l->schema, b->kind, e->key);
    if (i == SIZE_MAX)
        return refuse_key(l, b, e);
    const struct conf_directive *d = &l->schema->directives[i];
    bool again = l->lines[i] != 0;
    if (again && (d->flags & CONF_MANY) == 0)
        return refuse(l, e->line, "%s is given twice, first in line %u", e->key, l->lines[i]);
    if (!again) {
        conf_field_clear(d, instance); /* what `open` may have inherited */
        l->lines[i] = e->line;
    }
    return set_field(l, d, instance, slice_str(e->value), place(l, e->line));
}

static bool take_overrides(struct load *l, const struct conf_section *s, void *instance)
{
    for (size_t n = 0; n < l->override_count; n++) {
        const struct conf_override *o = &l->overrides[n];
        if (strcmp(o->section, s->kind) != 0)
            continue;
        size_t i = find_directive(l->schema, o->section, o->key);
        CHECK(i != SIZE_MAX); /* overrides come from the program, see conf_env */
        const struct conf_directive *d = &l->schema->directives[i];
        CHECK(d->set == NULL || (d->flags & CONF_MANY) == 0); /* could not be taken back */
        conf_field_clear(d, instance);
        l->lines[i] = FROM_OVERRIDE;
        if (!set_field(l, d, instance, slice_str(o->value), o->from))
            return false;
    }
    return true;
}

/* A default goes through the same parser as a line, so what the help shows is what one may write.
 * One that does not parse is our own mistake. */
static void take_defaults(struct load *l, const struct conf_section *s, void *instance)
{
    for (size_t i = 0; i < l->schema->directive_count; i++) {
        const struct conf_directive *d = &l->schema->directives[i];
        if (d->fallback == NULL || l->lines[i] != 0 || strcmp(d->section, s->kind) != 0)
            continue;
        struct err err;
        bool ok = conf_field_set(d, instance, slice_str(d->fallback), "default", l->store, &err);
        CHECK(ok);
    }
}

/* `b` is NULL for a section that the file does not have. */
static bool fill(struct load *l, const struct conf_section *s, const struct conf_block *b,
                 void *instance)
{
    memset(l->lines, 0, l->schema->directive_count * sizeof *l->lines);
    for (size_t i = 0; b != NULL && i < b->count; i++) {
        if (!take_entry(l, b, &b->entries[i], instance))
            return false;
    }
    if (!s->named && !take_overrides(l, s, instance))
        return false;
    take_defaults(l, s, instance);
    if (s->close == NULL || s->close(l->root, instance, l->err))
        return true;
    if (b == NULL)
        return err_context(l->err, "[%s]", s->kind);
    return err_context(l->err, "%s:%u: [%s%s%s]", l->file.path, b->line, s->kind,
                       s->named ? " " : "", b->name);
}

static void *open_instance(struct load *l, const struct conf_section *s, const struct conf_block *b)
{
    if (s->open == NULL)
        return (char *)l->root + s->offset;
    struct conf_value v = { .text = "", .where = l->file.path, .store = l->store };
    if (b != NULL) {
        v.text = conf_store_str(l->store, slice_str(b->name));
        v.where = place(l, b->line);
    }
    void *instance = s->open(l->root, &v, l->err);
    if (instance == NULL)
        err_context(l->err, "%s", v.where);
    return instance;
}

static bool fill_kind(struct load *l, const struct conf_section *s)
{
    bool seen = false;
    CHECK(!s->named || s->open != NULL);
    for (size_t i = 0; i < l->file.count; i++) {
        const struct conf_block *b = &l->file.blocks[i];
        if (strcmp(b->kind, s->kind) != 0)
            continue;
        void *instance = open_instance(l, s, b);
        if (instance == NULL || !fill(l, s, b, instance))
            return false;
        seen = true;
    }
    if (s->named || seen)
        return true;
    void *instance = open_instance(l, s, NULL);
    return instance != NULL && fill(l, s, NULL, instance);
}

static bool fill_all(struct load *l)
{
    for (size_t i = 0; i < l->file.count; i++) {
        if (!judge_block(l, &l->file.blocks[i]))
            return false;
    }
    for (size_t i = 0; i < l->schema->section_count; i++) {
        if (!fill_kind(l, &l->schema->sections[i]))
            return false;
    }
    return true;
}

static bool load_bytes(struct load *l, struct slice bytes, struct conf_store *scratch)
{
    l->lines = conf_store_alloc(scratch, l->schema->directive_count * sizeof *l->lines);
    return conf_file_parse(l->file.path, bytes, l->schema, scratch, &l->file, l->err) &&
           fill_all(l);
}

bool conf_load_text(const struct conf_schema *schema, const char *name, struct slice text,
                    const struct conf_override *overrides, size_t override_count, void *root,
                    struct conf_store *store, struct err *err)
{
    CHECK(schema != NULL && root != NULL && store != NULL && name != NULL);
    struct load l = { .schema = schema, .overrides = overrides, .root = root, .store = store };
    l.override_count = override_count;
    l.file.path = name;
    l.err = err;
    struct conf_store *scratch = conf_store_new();
    bool ok = load_bytes(&l, text, scratch);
    conf_store_free(&scratch);
    return ok;
}

bool conf_load(const struct conf_schema *schema, const char *path,
               const struct conf_override *overrides, size_t override_count, void *root,
               struct conf_store *store, struct err *err)
{
    struct slice bytes = { NULL, 0 };
    if (path != NULL && !conf_file_read(path, store, &bytes, err))
        return false;
    return conf_load_text(schema, path != NULL ? path : "(no file)", bytes, overrides,
                          override_count, root, store, err);
}
