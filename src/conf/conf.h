/*
 * conf: directive tables over INI files.
 *
 * A program describes its file by a schema: the kinds of sections, and one row for each directive
 * with its type, place, default, bounds and help. Loading fills a root struct of the program's own
 * and is all or nothing; strings and arrays live in the conf_store that the caller hands in. Text
 * stays text: nothing here resolves a name or opens what a path points to.
 *
 * The file:
 *
 *     # or ; starts a comment, at the start of a line; after a value it is " ;"
 *     [kind]                 a section; each only once
 *     [kind name]            a section of a kind that takes names
 *     key = value            "a value ; in quotes", \" and \\ inside them
 *
 * A complaint is one line, `file:line: what`, and shows the right form where it can.
 */
#ifndef WARREN_CONF_H
#define WARREN_CONF_H

#include "base/err.h"
#include "base/text.h"
#include "conf/conf_store.h"
#include "conf/conf_value.h"

/* What a value is, and the field it fills. */
#define CONF_TYPES(X)                                                                              \
    X(BOOL, "on or off")                                         /* bool */                        \
    X(FLAG, "a word without a value")                            /* bool, only in conf_options */  \
    X(U64, "a number")                                           /* uint64_t */                    \
    X(DURATION, "a time with its unit, such as 500ms, 2s or 1m") /* uint64_t, ms */                \
    X(SIZE, "a size such as 64k, 16M or 1G")                     /* uint64_t, bytes */             \
    X(SHARE, "a share such as 40% or 0.4, or a size such as 2G") /* struct conf_share */           \
    X(CHOICE, "one of a few words")  /* an enum (int-sized): place in `choices` */                 \
    X(STRING, "a text")              /* const char * */                                            \
    X(LIST, "words between commas")  /* struct conf_list */                                        \
    X(WORDS, "words between blanks") /* struct conf_list */                                        \
    X(ADDRESS, "host:port, :port, [v6]:port or /path") /* struct conf_address */                   \
    X(ADDRESSES, "addresses between commas")           /* struct conf_addresses */

enum conf_type {
#define X(name, what) CONF_##name,
    CONF_TYPES(X)
#undef X
};

enum conf_flag {
    CONF_MANY = 1,   /* may be given several times: a LIST or WORDS grows, `set` is called again */
    CONF_SECRET = 2, /* its value is never shown in a complaint */
};

/* What a `set` callback gets. `where` ("file:line") lives as long as the store. */
struct conf_value {
    const char *where;
    const char *text;       /* as written, quotes taken off (STRING) or kept (WORDS, LIST) */
    struct conf_list words; /* for LIST and WORDS */
    struct conf_store *store;
};

/* Take a value into `instance`. The message of *err need not repeat file, line or key. */
typedef bool (*conf_set_fn)(void *instance, const struct conf_value *value, struct err *err);

struct conf_directive {
    const char *section; /* its kind; NULL in a table for conf_options */
    const char *key;
    enum conf_type type;
    unsigned flags;
    size_t offset;        /* of the field in the section's instance, unless there is `set` */
    conf_set_fn set;      /* only for STRING, LIST and WORDS */
    const char *fallback; /* the default, as one would write it; NULL: the field stays zero */
    const char *shown;    /* for people, when the default is worked out at start; else NULL */
    const char *zero;     /* a word for 0, NULL or an empty list: "auto", "none", "off" */
    const char *choices;  /* "always|interval|none" */
    uint64_t min;         /* of U64, DURATION, SIZE; `zero` is exempt */
    uint64_t max;         /* 0: no bound */
    const char *help;     /* sentences: what it does, and why the default is as it is */
};

/* Where a field lies: `.offset = CONF_FIELD(struct x, y)`. */
#define CONF_FIELD(type, member) offsetof(type, member)

struct conf_section {
    const char *kind;
    bool named;    /* [kind name], any number; else [kind], at most once, there by default */
    size_t offset; /* of its instance in the root, when there is no `open` */

    /* Make the instance of [kind name]; NULL with *err set refuses it. Its fields are then set from
     * the lines, and the defaults of what no line gave. A named kind needs it. */
    void *(*open)(void *root, const struct conf_value *name, struct err *err);

    /* All is set: check what single directives cannot. May be NULL. */
    bool (*close)(void *root, void *instance, struct err *err);
    const char *help;

    /* For conf_describe, so that a sample is a file that works: the name of a named section, and
     * lines that it cannot do without. Both may be NULL. */
    const char *example_name;
    const char *example;
};

struct conf_schema {
    const struct conf_section *sections; /* loaded in this order, wherever they stand in the file */
    size_t section_count;
    const struct conf_directive *directives;
    size_t directive_count;
};

/* A value from elsewhere, which wins over the file: environment, command line. */
struct conf_override {
    const char *section;
    const char *key;
    const char *value; /* as in a file, but never cut at a " ;" */
    const char *from;  /* takes the place of file:line: "environment WARREN_LISTEN_AMQP" */
};

#define CONF_FILE_MAX_BYTES ((size_t)1 << 20)
#define CONF_SECTIONS_MAX   1000u
#define CONF_NAME_MAX       49u /* octets of a section's kind and name, and of a key */

/*
 * Fill `root` (zeroed by the caller) from the file, then from the overrides (later ones win), then
 * with defaults. `path` NULL: no file. False: *err is the complaint, code CONFIG; what root holds
 * is then worthless and goes with the store.
 */
MUST_CHECK bool conf_load(const struct conf_schema *schema, const char *path,
                          const struct conf_override *overrides, size_t override_count, void *root,
                          struct conf_store *store, struct err *err);

/* The same from memory; `name` stands for the file in complaints. */
MUST_CHECK bool conf_load_text(const struct conf_schema *schema, const char *name,
                               struct slice text, const struct conf_override *overrides,
                               size_t override_count, void *root, struct conf_store *store,
                               struct err *err);

/*
 * Overrides from the environment: `WARREN_SECTION_KEY` for `[section] key`, for sections without
 * a name. `env` is environ or NULL. The array lives in the store; *count says how many.
 */
struct conf_override *conf_env(const struct conf_schema *schema, const char *prefix,
                               char *const *env, struct conf_store *store, size_t *count);

/* A variable of `env`, or NULL. */
const char *conf_env_value(char *const *env, const char *name);

/*
 * Variables that begin like a section's (`WARREN_LISTEN_`) and name no key: most likely a slip,
 * worth a warning. Not an error, since Kubernetes sets such variables for a service of that name.
 */
void conf_env_unknown(const struct conf_schema *schema, const char *prefix, char *const *env,
                      void (*each)(const char *name, void *arg), void *arg);

/*
 * Words of one value that are directives themselves (`check inter 1s fall 3`): from words[from]
 * on, each is the key of a row, followed by its value unless the row is a FLAG (`no-KEY` takes a
 * flag back). Unknown and repeated words are errors. Defaults are the caller's business.
 */
MUST_CHECK bool conf_options(const struct conf_directive *rows, size_t row_count,
                             const struct conf_list *words, size_t from, void *instance,
                             struct conf_store *store, struct err *err);

/* The whole schema as a commented sample, each directive with its default (`#key = default`). */
void conf_describe(const struct conf_schema *schema, struct text *out);

/* What is shown as the default: fallback, `shown` or `zero`; never NULL. */
const char *conf_default_text(const struct conf_directive *d);

#endif
