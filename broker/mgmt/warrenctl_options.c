#include "mgmt/warrenctl_options.h"

#include "base/units.h"

#include <string.h>

enum option {
    OPT_NODE,
    OPT_VHOST,
    OPT_TIMEOUT,
    OPT_FORMATTER,
    OPT_COOKIE,
    OPT_COOKIE_FILE,
    OPT_QUIET,
    OPT_SILENT,
    OPT_NO_HEADERS,
    OPT_OFFLINE,
    OPT_HELP,
    OPT_VERSION,
    OPT_IGNORED, /* means something to Erlang's distribution alone */
    OPT_IGNORED_VALUE,
};

static const struct general {
    const char *name;
    char brief;
    bool has_value;
    enum option option;
} generals[] = {
    { "node", 'n', true, OPT_NODE },
    { "vhost", 'p', true, OPT_VHOST },
    { "timeout", 't', true, OPT_TIMEOUT },
    { "formatter", 0, true, OPT_FORMATTER },
    { "erlang-cookie", 0, true, OPT_COOKIE },
    { "cookie", 0, true, OPT_COOKIE },
    { "cookie-file", 0, true, OPT_COOKIE_FILE },
    { "quiet", 'q', false, OPT_QUIET },
    { "silent", 's', false, OPT_SILENT },
    { "no-table-headers", 0, false, OPT_NO_HEADERS },
    { "table-headers", 0, false, OPT_IGNORED },
    { "offline", 0, false, OPT_OFFLINE },
    { "longnames", 'l', false, OPT_IGNORED },
    { "dry-run", 0, false, OPT_IGNORED },
    { "printer", 0, true, OPT_IGNORED_VALUE },
    { "script-name", 0, true, OPT_IGNORED_VALUE },
    { "help", '?', false, OPT_HELP },
    { "version", 0, false, OPT_VERSION },
};

/* ---- one option ---- */

/* Its name up to "=", without dashes. */
static struct slice name_of(const char *word)
{
    struct slice s = slice_str(word + (word[1] == '-' ? 2 : 1));
    const char *is = strchr((const char *)s.ptr, '=');
    return is != NULL ? slice_head(s, (size_t)(is - (const char *)s.ptr)) : s;
}

static const struct general *general_of(const char *word)
{
    struct slice name = name_of(word);
    for (size_t i = 0; i < ARRAY_COUNT(generals); i++) {
        bool brief = word[1] != '-' && name.len == 1 && generals[i].brief == (char)name.ptr[0];
        bool full = word[1] == '-' && slice_is(name, generals[i].name);
        if (brief || full)
            return &generals[i];
    }
    return NULL;
}

static bool takes_value(const char *option)
{
    size_t len = strlen(option);
    return option[len - 1] == '=';
}

/* "-P" for "--pid" and the like: those that rabbitmqctl knows. */
static bool is_brief_of(char brief, struct slice option)
{
    static const struct {
        char brief;
        const char *name;
    } briefs[] = { { 'P', "pid" },     { 'e', "if-empty" }, { 'u', "if-unused" },
                   { 'e', "enabled" }, { 'E', "enabled" },  { 'm', "minimal" },
                   { 'v', "verbose" } };
    for (size_t i = 0; i < ARRAY_COUNT(briefs); i++) {
        if (briefs[i].brief == brief && slice_is(option, briefs[i].name))
            return true;
    }
    return false;
}

/* The place of an option of the command's own, or -1. */
static int own_of(const struct warrenctl_command *c, const char *word)
{
    struct slice name = name_of(word);
    bool brief = word[1] != '-';
    for (unsigned i = 0; c != NULL && i < WARRENCTL_OPTIONS_MAX && c->options[i] != NULL; i++) {
        struct slice option = slice_str(c->options[i]);
        if (takes_value(c->options[i]))
            option.len--;
        if (brief ? name.len == 1 && is_brief_of((char)name.ptr[0], option)
                  : slice_eq(name, option))
            return (int)i;
    }
    return -1;
}

static bool is_option(const char *word)
{
    return word[0] == '-' && word[1] != '\0' && !(word[1] >= '0' && word[1] <= '9');
}

static bool read_formatter(struct warrenctl *w, const char *value)
{
    static const char *const names[] = { "table", "json", "csv", "pretty_table", "erlang" };
    for (unsigned i = 0; i < ARRAY_COUNT(names); i++) {
        if (strcmp(names[i], value) == 0) {
            w->formatter = (enum warrenctl_formatter)i;
            return true;
        }
    }
    return false;
}

static bool read_timeout(struct warrenctl *w, const char *value)
{
    w->timeout_is_given = true;
    if (strcmp(value, "infinity") == 0) {
        w->timeout_s = 0;
        return true;
    }
    return units_u64(slice_str(value), &w->timeout_s) && w->timeout_s < UINT32_MAX;
}

static bool take_general(struct warrenctl *w, const struct general *g, const char *value)
{
    switch (g->option) {
    case OPT_NODE:
        w->node = value;
        w->node_is_given = true;
        return true;
    case OPT_VHOST:
        w->vhost = value;
        w->vhost_is_given = true;
        return true;
    case OPT_TIMEOUT:
        return read_timeout(w, value);
    case OPT_FORMATTER:
        return read_formatter(w, value);
    case OPT_COOKIE:
        w->cookie = value;
        return true;
    case OPT_COOKIE_FILE:
        w->cookie_file = value;
        return true;
    case OPT_QUIET:
        w->quiet = true;
        return true;
    case OPT_SILENT:
        w->silent = true;
        return true;
    case OPT_NO_HEADERS:
        w->no_headers = true;
        return true;
    case OPT_OFFLINE:
        w->offline = true;
        return true;
    case OPT_HELP:
        w->wants_help = true;
        return true;
    case OPT_VERSION:
        w->command = warrenctl_command_find(w->tables, "version");
        return true;
    case OPT_IGNORED:
    case OPT_IGNORED_VALUE:
        return true;
    }
    return false;
}

/* ---- all of them ---- */

/* The command is the first word that is neither an option nor the value of one. */
static void find_command(struct warrenctl *w, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0)
            continue;
        if (!is_option(argv[i])) {
            w->command = warrenctl_command_find(w->tables, argv[i]);
            w->args[0] = argv[i];
            w->arg_count = 1;
            return;
        }
        const struct general *g = general_of(argv[i]);
        if (g != NULL && g->has_value && strchr(argv[i], '=') == NULL)
            i++;
    }
}

struct reading {
    int argc;
    char **argv;
    int at;
    bool no_more;
    struct text *bad;
};

/* Behind "=", or the next word; NULL: there is none. */
static const char *value_of(struct reading *r)
{
    const char *is = strchr(r->argv[r->at], '=');
    if (is != NULL)
        return is + 1;
    return r->at + 1 < r->argc ? r->argv[++r->at] : NULL;
}

static void read_option(struct warrenctl *w, struct reading *r)
{
    const char *word = r->argv[r->at];
    int own = own_of(w->command, word);
    const struct general *g = own < 0 ? general_of(word) : NULL;
    bool has_value = own >= 0 ? takes_value(w->command->options[own]) : g != NULL && g->has_value;
    const char *value = has_value ? value_of(r) : "";
    bool ok = value != NULL;
    if (ok && own >= 0)
        w->given[own] = value;
    else if (ok)
        ok = g != NULL && take_general(w, g, value);
    if (!ok)
        text_put(
            r->bad, "%s%.*s : %s", r->bad->len != 0 ? "\n" : "",
            (int)(strchr(word, '=') != NULL ? (size_t)(strchr(word, '=') - word) : strlen(word)),
            word, value != NULL ? value : "");
}

bool warrenctl_options_read(struct warrenctl *w, int argc, char **argv, struct text *bad)
{
    struct reading r = { .argc = argc, .argv = argv, .at = 1, .bad = bad };
    find_command(w, argc, argv);
    const char *name = w->arg_count != 0 ? w->args[0] : NULL;
    bool named = false;
    w->arg_count = 0;
    for (; r.at < argc; r.at++) {
        if (!r.no_more && strcmp(argv[r.at], "--") == 0)
            r.no_more = true;
        else if (!r.no_more && is_option(argv[r.at]))
            read_option(w, &r);
        else if (!named && argv[r.at] == name)
            named = true;
        else
            w->args[w->arg_count++] = argv[r.at];
    }
    if (w->command == NULL && name != NULL) {
        w->args[0] = name;
        w->arg_count = 1;
    }
    return bad->len == 0;
}
