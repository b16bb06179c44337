#include "base/mem.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

static NORETURN COLD void out_of_memory(size_t bytes)
{
    fprintf(stderr, "out of memory: %zu bytes were refused by the system\n", bytes);
    abort();
}

void *mem_alloc(size_t bytes)
{
    void *p = malloc(bytes != 0 ? bytes : 1);
    if (UNLIKELY(p == NULL))
        out_of_memory(bytes);
    return p;
}

void *mem_zalloc(size_t bytes)
{
    void *p = calloc(1, bytes != 0 ? bytes : 1);
    if (UNLIKELY(p == NULL))
        out_of_memory(bytes);
    return p;
}

void *mem_realloc(void *ptr, size_t bytes)
{
    void *p = realloc(ptr, bytes != 0 ? bytes : 1);
    if (UNLIKELY(p == NULL))
        out_of_memory(bytes);
    return p;
}

void *mem_dup(const void *from, size_t bytes)
{
    void *p = mem_alloc(bytes);
    if (bytes != 0)
        memcpy(p, from, bytes);
    return p;
}

char *mem_strdup(const char *text)
{
    return mem_dup(text, strlen(text) + 1);
}

void mem_keep_some(void)
{
#ifdef __GLIBC__
    enum { MAPPED_LEAST = 1024 * 1024, MORE = 1024 * 1024 };
    /* Blocks of input and output stay in the heap, large tables do not: they go back when freed. It
     * is advice: an allocator in glibc's place, such as a sanitizer's, takes none, and says so. */
    (void)mallopt(M_MMAP_THRESHOLD, MAPPED_LEAST);
    (void)mallopt(M_TRIM_THRESHOLD, (int)MEM_KEPT_BYTES);
    (void)mallopt(M_TOP_PAD,
                  MORE); /* a heap that just got a second part does not lose it at once */
#endif
}

void mem_gather(void)
{
    enum { LARGE = 4096 }; /* no bin of small ones has that */
    mem_free(mem_alloc(LARGE));
}

void mem_give_back(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

void mem_free(void *ptr)
{
    free(ptr);
}

void *mem_array(size_t count, size_t bytes)
{
    size_t total;
    CHECK(!__builtin_mul_overflow(count, bytes, &total));
    return mem_zalloc(total);
}

void mem_budget_init(struct mem_budget *b, const char *name, size_t limit_bytes)
{
    b->name = name;
    b->limit_bytes = limit_bytes;
    atomic_init(&b->used_bytes, 0);
}

/* Compare and swap, not add and take back: a large request that is refused must not make a small
 * one on another thread fail that would have fitted. */
bool mem_budget_take(struct mem_budget *b, size_t bytes)
{
    size_t used = atomic_load_explicit(&b->used_bytes, memory_order_relaxed);
    do {
        if (UNLIKELY(used > b->limit_bytes || bytes > b->limit_bytes - used))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&b->used_bytes, &used, used + bytes,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

void mem_budget_give(struct mem_budget *b, size_t bytes)
{
    size_t was = atomic_fetch_sub_explicit(&b->used_bytes, bytes, memory_order_relaxed);
    CHECK(was >= bytes);
}

size_t mem_budget_used(const struct mem_budget *b)
{
    return atomic_load_explicit(&b->used_bytes, memory_order_relaxed);
}
