/*
 * conf_file: an INI file as sections and entries, with line numbers.
 *
 * The one place that sees inih, which by itself breaks a line of 200 octets in two, cuts a section
 * name at 50, takes an indented line for the key above, ends a value at " ;" even inside quotes,
 * and reads `server r1 10.0.0.1:5672 check` as a key with a colon. So a reader in front of it
 * counts lines, refuses what is not in the form of conf.h, folds long lines into continuations and
 * puts stand-ins for what inih would act upon; behind it the pieces are joined again.
 */
#ifndef WARREN_CONF_FILE_H
#define WARREN_CONF_FILE_H

#include "conf/conf.h"

struct conf_entry {
    const char *key;
    const char *value; /* without comment, blanks at both ends taken off, never empty */
    unsigned line;
};

struct conf_block {
    const char *kind;
    const char *name; /* "" when there is none */
    unsigned line;
    struct conf_entry *entries;
    size_t count;
};

struct conf_file {
    const char *path;
    struct conf_block *blocks; /* no two of the same kind and name */
    size_t count;
};

/* Cut up `bytes`. The schema serves only to show the right form of a line that has another. All of
 * *out lives in the store. */
MUST_CHECK bool conf_file_parse(const char *path, struct slice bytes,
                                const struct conf_schema *schema, struct conf_store *store,
                                struct conf_file *out, struct err *err);

/* The whole file, in the store. */
MUST_CHECK bool conf_file_read(const char *path, struct conf_store *store, struct slice *out,
                               struct err *err);

#endif
