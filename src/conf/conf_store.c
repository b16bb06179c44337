#include "conf/conf_store.h"

#include "base/check.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>

struct conf_piece {
    struct conf_piece *next;
    _Alignas(max_align_t) uint8_t bytes[];
};

struct conf_store {
    struct conf_piece *pieces;
};

struct conf_store *conf_store_new(void)
{
    return mem_zalloc(sizeof(struct conf_store));
}

void conf_store_free(struct conf_store **s)
{
    struct conf_store *it = *s;
    *s = NULL;
    if (it == NULL)
        return;
    while (it->pieces != NULL) {
        struct conf_piece *p = it->pieces;
        it->pieces = p->next;
        mem_free(p);
    }
    mem_free(it);
}

void *conf_store_alloc(struct conf_store *s, size_t bytes)
{
    CHECK(s != NULL && bytes <= SIZE_MAX - sizeof(struct conf_piece));
    struct conf_piece *p = mem_zalloc(sizeof *p + bytes);
    p->next = s->pieces;
    s->pieces = p;
    return p->bytes;
}

char *conf_store_str(struct conf_store *s, struct slice text)
{
    char *copy = conf_store_alloc(s, text.len + 1);
    if (text.len != 0)
        memcpy(copy, text.ptr, text.len);
    return copy;
}

char *conf_store_put(struct conf_store *s, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int wanted = vsnprintf(NULL, 0, fmt, args);
    CHECK(wanted >= 0);
    char *text = conf_store_alloc(s, (size_t)wanted + 1);
    vsnprintf(text, (size_t)wanted + 1, fmt, again);
    va_end(again);
    va_end(args);
    return text;
}
