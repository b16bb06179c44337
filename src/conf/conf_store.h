/*
 * conf_store: the memory of one configuration, freed in one go.
 *
 * A snapshot is built once, never changed and thrown away whole, so its strings and arrays need
 * no owner of their own: they live as long as the store. One thread builds; after that any thread
 * may read.
 */
#ifndef WARREN_CONF_STORE_H
#define WARREN_CONF_STORE_H

#include "base/attr.h"
#include "base/slice.h"

struct conf_store;

struct conf_store *conf_store_new(void);

/* Frees all that was taken from it; *s becomes NULL. NULL is allowed. */
void conf_store_free(struct conf_store **s);

/* Zeroed, aligned for any type. */
void *conf_store_alloc(struct conf_store *s, size_t bytes) __attribute__((returns_nonnull));

/* The octets, terminated. */
char *conf_store_str(struct conf_store *s, struct slice text) __attribute__((returns_nonnull));

char *conf_store_put(struct conf_store *s, const char *fmt, ...) PRINTF_LIKE(2, 3)
    __attribute__((returns_nonnull));

#endif
