/*
 * mem: allocation that never returns NULL, and budgets that refuse long before memory ends.
 *
 * What grows with the world's demand (message bodies, output, sessions) first asks a budget and
 * refuses work when it says no. What is then allocated is small or paid for: a failure of malloc
 * itself stops the process with a clear line. Any thread; budgets are exact across threads.
 */
#ifndef WARREN_MEM_H
#define WARREN_MEM_H

#include "base/attr.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

void *mem_alloc(size_t bytes) __attribute__((malloc, returns_nonnull, alloc_size(1)));
void *mem_zalloc(size_t bytes) __attribute__((malloc, returns_nonnull, alloc_size(1)));
void *mem_realloc(void *ptr, size_t bytes) __attribute__((returns_nonnull, alloc_size(2)));
void *mem_dup(const void *from, size_t bytes) __attribute__((returns_nonnull));
char *mem_strdup(const char *text) __attribute__((returns_nonnull));
void mem_free(void *ptr);

/* For main, before any thread is started: each heap keeps some of what is freed at its end, as much
 * as comes and goes while messages pass through. glibc would give it back to the system and take it
 * anew, zeroed page by page, many times a second. What is not needed any more goes back with
 * mem_give_back. */
#define MEM_KEPT_BYTES ((size_t)16 * 1024 * 1024)
void mem_keep_some(void);

/* While millions of small things are freed, after every thousand or so: glibc puts them together to
 * large ones only when somebody asks for a large one, all at once, and whoever asks then waits for
 * half a second. */
void mem_gather(void);

/* After that: give whole pages back to the system, which keeps the process's size what it uses. May
 * take some milliseconds for each gigabyte. */
void mem_give_back(void);

/* `count` zeroed things of `bytes` each; a product that overflows stops the process. */
void *mem_array(size_t count, size_t bytes) __attribute__((returns_nonnull));

struct mem_budget {
    const char *name;
    size_t limit_bytes;
    atomic_size_t used_bytes;
};

void mem_budget_init(struct mem_budget *b, const char *name, size_t limit_bytes);

/* Reserve; false, and nothing reserved, when the limit would be passed. */
MUST_CHECK bool mem_budget_take(struct mem_budget *b, size_t bytes);
void mem_budget_give(struct mem_budget *b, size_t bytes);
size_t mem_budget_used(const struct mem_budget *b);

#endif
