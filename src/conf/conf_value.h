/*
 * conf_value: what a value's text says, for values that are more than a number (see base/units.h
 * for those): words, lists, quoted text, shares and addresses.
 *
 * Results live in the store. A function that can fail leaves a message without place or key: the
 * caller adds them. Text stays text, no name is looked up.
 */
#ifndef WARREN_CONF_VALUE_H
#define WARREN_CONF_VALUE_H

#include "base/err.h"
#include "base/slice.h"
#include "conf/conf_store.h"

#include <stdbool.h>
#include <stdint.h>

struct conf_list {
    const char **items;
    size_t count;
};

void conf_list_add(struct conf_list *list, const char *item, struct conf_store *store);

/* Split at blanks: `r1 "a b"  x` is r1, a b, x. Quotes may stand anywhere in a word. */
MUST_CHECK bool conf_words(struct slice text, struct conf_store *store, struct conf_list *out,
                           struct err *err);

/* Split at commas, blanks around items taken off; an empty item is an error. */
MUST_CHECK bool conf_commas(struct slice text, struct conf_store *store, struct conf_list *out,
                            struct err *err);

/* One text, quotes taken off: `"a ; b"` is a ; b. */
MUST_CHECK bool conf_unquote(struct slice text, struct conf_store *store, const char **out,
                             struct err *err);

/*
 * How many octets of a line are its value, before a comment (` ;` outside quotes). False: a quote
 * that is not closed, or a ` #` outside quotes, which some files take for a comment and others not.
 */
MUST_CHECK bool conf_value_end(struct slice text, size_t *end, struct err *err);

/* A share of something, or an absolute size. */
struct conf_share {
    bool is_fraction;
    double fraction; /* 0 to 1 */
    uint64_t bytes;
};

MUST_CHECK bool conf_share_of(struct slice text, struct conf_share *out);

enum conf_address_kind {
    CONF_ADDRESS_NONE,
    CONF_ADDRESS_TCP,
    CONF_ADDRESS_UNIX,
};

struct conf_address {
    enum conf_address_kind kind;
    uint16_t port;    /* TCP; 0 asks the system for a free one */
    const char *host; /* TCP: name or address without brackets; "" is any */
    const char *path; /* UNIX */
    const char *text; /* as written */
};

struct conf_addresses {
    struct conf_address *items;
    size_t count;
};

/*
 * `host:port`, `:port` and `*:port` (any address), `[v6]:port`, `/path` and `unix@/path`. Without a
 * port the default one is taken, or refused when that is -1.
 */
MUST_CHECK bool conf_address_of(const char *text, int default_port, struct conf_store *store,
                                struct conf_address *out, struct err *err);

#endif
