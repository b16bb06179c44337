#include "base/check.h"
#include "base/log.h"

#include "expect.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/test_log_XXXXXX";
static char path[64], moved[64];
static uint64_t now_ms;

static uint64_t wall_ms(void)
{
    return now_ms;
}

static void begin(void)
{
    cr_assert(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/x.log", folder);
    snprintf(moved, sizeof moved, "%s/x.log.1", folder);
    now_ms = 1769860800123; /* 2026-01-31 12:00:00.123 UTC */
}

static void end(void)
{
    unlink(path);
    unlink(moved);
    rmdir(folder);
}

TestSuite(log, .init = begin, .fini = end);

static void start(enum log_level level)
{
    struct err err;
    struct log_setup setup = { path, level, wall_ms, "test" };
    cr_assert(log_start(&setup, &err), "%s", err.text);
}

static const char *contents(const char *of)
{
    static char room[65536];
    int fd = open(of, O_RDONLY);
    cr_assert(fd >= 0);
    ssize_t n = read(fd, room, sizeof room - 1);
    cr_assert(n >= 0);
    room[n] = '\0';
    close(fd);
    return room;
}

Test(log, writes_one_line_an_event)
{
    start(LOG_LEVEL_INFO);
    log_info("listener", "0.0.0.0:5672", "accepting connections max=%d", 10000);
    log_error("proxy", "-", "it broke");
    expect_text(contents(path),
                "2026-01-31T12:00:00.123Z info listener 0.0.0.0:5672 accepting connections "
                "max=10000\n"
                "2026-01-31T12:00:00.123Z error proxy - it broke\n");
    struct stat st;
    cr_assert(stat(path, &st) == 0);
    cr_expect(eq(int, (int)(st.st_mode & 0777 & ~0640u), 0));
}

static int evaluated;

static const char *costly(void)
{
    evaluated++;
    return "x";
}

Test(log, writes_its_level_and_graver_ones)
{
    start(LOG_LEVEL_WARN);
    cr_expect(log_is_on(LOG_LEVEL_ERROR) && log_is_on(LOG_LEVEL_WARN));
    cr_expect(not(log_is_on(LOG_LEVEL_INFO)));
    log_error("m", "-", "a");
    log_warn("m", "-", "b");
    log_info("m", "-", "c");
    log_debug("m", "-", "%s", costly());
    log_trace("m", "-", "%s", costly());
    cr_expect(eq(int, evaluated, 0)); /* what is off does not even look at its arguments */
    cr_expect(strstr(contents(path), "warn m - b\n") != NULL);
    cr_expect(strstr(contents(path), " c\n") == NULL);
    log_set_level(LOG_LEVEL_TRACE);
    log_trace("m", "-", "%s", costly());
    cr_expect(strstr(contents(path), "trace m - x\n") != NULL);
}

Test(log, knows_levels_by_name)
{
    enum log_level level = LOG_LEVEL_INFO;
    cr_expect(log_level_of("error", &level) && level == LOG_LEVEL_ERROR);
    cr_expect(log_level_of("trace", &level) && level == LOG_LEVEL_TRACE);
    cr_expect(not(log_level_of("ERROR", &level)));
    cr_expect(not(log_level_of("", &level)));
    cr_expect(eq(int, (int)level, LOG_LEVEL_TRACE));
}

Test(log, appends_to_what_is_there)
{
    FILE *f = fopen(path, "w");
    cr_assert(f != NULL && fputs("before\n", f) >= 0 && fclose(f) == 0);
    start(LOG_LEVEL_INFO);
    log_info("m", "-", "after");
    cr_expect(strncmp(contents(path), "before\n2026", 11) == 0);
}

Test(log, cuts_a_line_that_is_too_long_and_still_ends_it)
{
    start(LOG_LEVEL_INFO);
    static char text[5000];
    memset(text, 'x', sizeof text - 1);
    log_info("m", "-", "%s", text);
    log_info("m", "-", "next");
    const char *all = contents(path);
    const char *first_end = strchr(all, '\n');
    cr_assert(first_end != NULL);
    cr_expect(first_end - all < 2048 && first_end - all > 2000);
    expect_text(first_end + 1, "2026-01-31T12:00:00.123Z info m - next\n");
}

Test(log, opens_a_moved_file_again)
{
    struct err err;
    start(LOG_LEVEL_INFO);
    log_info("m", "-", "one");
    cr_assert(rename(path, moved) == 0);
    log_info("m", "-", "two");
    cr_assert(log_reopen(&err), "%s", err.text);
    log_info("m", "-", "three");
    cr_expect(strstr(contents(moved), "two\n") != NULL);
    expect_text(contents(path), "2026-01-31T12:00:00.123Z info m - three\n");
}

Test(log, says_why_a_file_cannot_be_opened)
{
    struct err err;
    struct log_setup setup = { "/nonexistent/x.log", LOG_LEVEL_INFO, wall_ms, "test" };
    cr_assert(not(log_start(&setup, &err)));
    expect_text(err.text, "log file /nonexistent/x.log: No such file or directory");
}

Test(log, keeps_the_old_file_when_the_new_one_cannot_be_opened)
{
    struct err err;
    start(LOG_LEVEL_INFO);
    cr_assert(rename(path, moved) == 0);
    cr_assert(mkdir(path, 0700) == 0);
    cr_expect(not(log_reopen(&err)));
    log_info("m", "-", "still here");
    cr_expect(strstr(contents(moved), "still here\n") != NULL);
    rmdir(path);
}

Test(log, writes_to_stderr_before_it_is_started)
{
    int saved = dup(STDERR_FILENO);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    cr_assert(saved >= 0 && fd >= 0 && dup2(fd, STDERR_FILENO) >= 0);
    log_warn("m", "-", "early");
    dup2(saved, STDERR_FILENO);
    expect_text(contents(path), "warn m - early\n");
    struct err err;
    cr_expect(log_reopen(&err)); /* nothing to open again */
}

/* Where no syslog listens the line is lost, but nothing else happens: no file, no stderr. */
Test(log, writes_to_syslog)
{
    struct err err;
    struct log_setup setup = { "syslog", LOG_LEVEL_INFO, wall_ms, "test_log" };
    int saved = dup(STDERR_FILENO);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    cr_assert(saved >= 0 && fd >= 0 && dup2(fd, STDERR_FILENO) >= 0);
    cr_assert(log_start(&setup, &err));
    log_info("m", "-", "to syslog");
    log_debug("m", "-", "not at all");
    dup2(saved, STDERR_FILENO);
    expect_text(contents(path), "");
    cr_expect(log_reopen(&err));
}

/* ---- rate ---- */

Test(log, lets_a_burst_through_and_counts_the_rest)
{
    start(LOG_LEVEL_INFO);
    struct log_rate rate = { 0 };
    unsigned left_out;
    for (int i = 0; i < 3; i++)
        cr_expect(log_rate_ok(&rate, 3, 1000, &left_out) && left_out == 0);
    for (int i = 0; i < 5; i++)
        cr_expect(not(log_rate_ok(&rate, 3, 1000, &left_out)));
    now_ms += 999;
    cr_expect(not(log_rate_ok(&rate, 3, 1000, &left_out)));
    now_ms += 1;
    cr_expect(log_rate_ok(&rate, 3, 1000, &left_out));
    cr_expect(eq(u32, left_out, 6));
    cr_expect(log_rate_ok(&rate, 3, 1000, &left_out) && left_out == 0);
    now_ms += 5000;
    cr_expect(log_rate_ok(&rate, 3, 1000, &left_out) && left_out == 0);
}

/* A wall clock may be set back; that must not silence a line for years. */
Test(log, survives_a_clock_that_goes_back)
{
    start(LOG_LEVEL_INFO);
    struct log_rate rate = { 0 };
    unsigned left_out;
    cr_expect(log_rate_ok(&rate, 1, 1000, &left_out));
    now_ms -= 3600000;
    cr_expect(log_rate_ok(&rate, 1, 1000, &left_out));
    cr_expect(not(log_rate_ok(&rate, 1, 1000, &left_out)));
}

/* ---- threads ---- */

enum { THREADS = 4, LINES = 200 };

static void *chatter(void *arg)
{
    for (int i = 0; i < LINES; i++)
        log_info("thread", arg, "line=%d end", i);
    return NULL;
}

Test(log, keeps_lines_of_threads_apart, .timeout = 300)
{
    static char names[THREADS][2] = { "a", "b", "c", "d" };
    start(LOG_LEVEL_INFO);
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        cr_assert(pthread_create(&threads[i], NULL, chatter, names[i]) == 0);
    for (size_t i = 0; i < THREADS; i++)
        cr_assert(pthread_join(threads[i], NULL) == 0);
    int next[THREADS] = { 0 };
    const char *line = contents(path);
    for (; *line != '\0'; line = strchr(line, '\n') + 1) {
        char name;
        int number;
        cr_assert(sscanf(line, "2026-01-31T12:00:00.123Z info thread %c line=%d end", &name,
                         &number) == 2);
        cr_assert(eq(int, number, next[name - 'a']++));
    }
    for (size_t i = 0; i < THREADS; i++)
        cr_expect(eq(int, next[i], LINES));
}
