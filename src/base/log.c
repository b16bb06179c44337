#include "base/log.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048

static const char *const level_names[] = {
#define X(name, text) text,
    LOG_LEVELS(X)
#undef X
};

static const int syslog_levels[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG, LOG_DEBUG };

/* Before log_start: to stderr, without a time. */
static struct {
    atomic_int level;
    atomic_int fd;
    bool to_syslog;
    char *path; /* NULL unless the target is a file */
    uint64_t (*wall_ms)(void);
} sink = { .level = LOG_LEVEL_INFO, .fd = STDERR_FILENO };

static bool open_file(int *fd, struct err *err)
{
    *fd = open(sink.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (*fd < 0)
        return err_set(err, ERR_IO, "log file %s: %s", sink.path, strerror(errno));
    return true;
}

bool log_start(const struct log_setup *setup, struct err *err)
{
    CHECK(setup->target != NULL && setup->wall_ms != NULL);
    sink.wall_ms = setup->wall_ms;
    log_set_level(setup->level);
    if (strcmp(setup->target, "stderr") == 0)
        return true;
    if (strcmp(setup->target, "syslog") == 0) {
        openlog(setup->program, LOG_PID, LOG_DAEMON);
        sink.to_syslog = true;
        return true;
    }
    mem_free(sink.path);
    sink.path = mem_strdup(setup->target);
    int fd;
    if (!open_file(&fd, err))
        return false;
    atomic_store(&sink.fd, fd);
    return true;
}

bool log_reopen(struct err *err)
{
    if (sink.path == NULL)
        return true;
    int fd;
    if (!open_file(&fd, err))
        return false;
    /* Over the old number in one step: another thread may be writing to it right now. */
    int was = atomic_load(&sink.fd);
    bool ok = dup3(fd, was, O_CLOEXEC) >= 0;
    close(fd);
    return ok || err_set(err, ERR_SYSTEM, "log file %s: %s", sink.path, strerror(errno));
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&sink.level, (int)level, memory_order_relaxed);
}

bool log_level_of(const char *name, enum log_level *out)
{
    for (size_t i = 0; i < ARRAY_COUNT(level_names); i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

bool log_is_on(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&sink.level, memory_order_relaxed);
}

static void put_time(struct text *line)
{
    uint64_t ms = sink.wall_ms();
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    char date[32];
    gmtime_r(&seconds, &tm);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    text_put(line, "%s.%03uZ ", date, (unsigned)(ms % 1000));
}

/* A line that cannot be written has nowhere to be reported: a full disk must not stop a node. */
static void write_line(const struct text *line)
{
    ssize_t n;
    do
        n = write(atomic_load(&sink.fd), line->ptr, line->len);
    while (n < 0 && errno == EINTR);
}

void log_write(enum log_level level, const char *module, const char *id, const char *fmt, ...)
{
    CHECK((unsigned)level < ARRAY_COUNT(level_names));
    if (!log_is_on(level))
        return;
    char room[LINE_MAX_BYTES];
    struct text line = text_over(room, sizeof room - 1); /* keeps an octet for the newline */
    if (!sink.to_syslog && sink.wall_ms != NULL)
        put_time(&line);
    text_put(&line, "%s %s %s ", level_names[level], module, id);
    va_list args;
    va_start(args, fmt);
    text_vput(&line, fmt, args);
    va_end(args);
    if (sink.to_syslog) {
        syslog(syslog_levels[level], "%s", line.ptr);
        return;
    }
    room[line.len++] = '\n';
    write_line(&line);
}

bool log_rate_ok(struct log_rate *r, unsigned burst, uint64_t window_ms, unsigned *left_out)
{
    uint64_t now = sink.wall_ms != NULL ? sink.wall_ms() : 0;
    uint64_t start = atomic_load(&r->window_start_ms);
    *left_out = 0;
    if (now - start >= window_ms &&
        atomic_compare_exchange_strong(&r->window_start_ms, &start, now)) {
        atomic_store(&r->count, 1);
        *left_out = atomic_exchange(&r->left_out, 0);
        return true;
    }
    if (atomic_fetch_add(&r->count, 1) < burst)
        return true;
    atomic_fetch_add(&r->left_out, 1);
    return false;
}
