/*
 * log: one event a line, for people and for tools.
 *
 *     2026-01-31T12:00:00.123Z info listener 0.0.0.0:5672 accepting connections max=10000
 *
 * time, level, module, object id ("-" for none), then a short sentence with key=value pairs. The
 * sink is the one global of the house besides constants: set up once by main, before any other
 * thread starts; afterwards any thread may log, a line is one write. Secrets and message bodies
 * are never logged. Text from outside goes through text_escaped first.
 */
#ifndef WARREN_LOG_H
#define WARREN_LOG_H

#include "base/attr.h"
#include "base/err.h"

#include <stdatomic.h>
#include <stdint.h>

/* error: someone must act; warn: degraded; info: a change of state; debug: per session; trace: per
 * frame. */
#define LOG_LEVELS(X)                                                                              \
    X(ERROR, "error")                                                                              \
    X(WARN, "warn")                                                                                \
    X(INFO, "info")                                                                                \
    X(DEBUG, "debug")                                                                              \
    X(TRACE, "trace")

enum log_level {
#define X(name, text) LOG_LEVEL_##name,
    LOG_LEVELS(X)
#undef X
};

struct log_setup {
    const char *target;        /* "stderr", "syslog", or a file's path */
    enum log_level level;      /* this and graver ones are written */
    uint64_t (*wall_ms)(void); /* ms since 1970, from io/clock */
    const char *program;       /* name for syslog */
};

/* Open the sink; a file is created with mode 0640 and appended to. */
MUST_CHECK bool log_start(const struct log_setup *setup, struct err *err);

/* Open the file again under its name, after it was moved away (rotation). */
MUST_CHECK bool log_reopen(struct err *err);
void log_set_level(enum log_level level);
bool log_level_of(const char *name, enum log_level *out);
bool log_is_on(enum log_level level);

void log_write(enum log_level level, const char *module, const char *id, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                                                             \
    do {                                                                                           \
        if (log_is_on(LOG_LEVEL_DEBUG))                                                            \
            log_write(LOG_LEVEL_DEBUG, __VA_ARGS__);                                               \
    } while (0)
#define log_trace(...)                                                                             \
    do {                                                                                           \
        if (log_is_on(LOG_LEVEL_TRACE))                                                            \
            log_write(LOG_LEVEL_TRACE, __VA_ARGS__);                                               \
    } while (0)

/* For a line that can repeat: at most `burst` in `window_ms`, then one that counts what was left
 * out. Lives in the object it speaks of; any thread. */
struct log_rate {
    atomic_uint_least64_t window_start_ms;
    atomic_uint count;
    atomic_uint left_out;
};

/* True when the caller may log; *left_out then says how many were not since the last. */
bool log_rate_ok(struct log_rate *r, unsigned burst, uint64_t window_ms, unsigned *left_out);

#endif
