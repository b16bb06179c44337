/*
 * attr: the compiler attributes the house uses, under short names.
 */
#ifndef WARREN_ATTR_H
#define WARREN_ATTR_H

#define MUST_CHECK             __attribute__((warn_unused_result))
#define NORETURN               __attribute__((noreturn))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define COLD                   __attribute__((cold))
#define LIKELY(x)              __builtin_expect(!!(x), 1)
#define UNLIKELY(x)            __builtin_expect(!!(x), 0)
#define ARRAY_COUNT(a)         (sizeof(a) / sizeof((a)[0]))

/* From a pointer to a member back to the struct that holds it. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
