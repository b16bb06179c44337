/*
 * plain_main: runs Criterion tests under a sanitizer, where Criterion's own runner cannot.
 *
 * Criterion maps an arena at a fixed address into a fresh process for each test. ThreadSanitizer
 * refuses that mapping, and a leak that LeakSanitizer reports when the test's process ends goes
 * unnoticed. So in sanitizer builds this file takes the place of Criterion's main and of the few
 * functions by which a test talks to it: each test is a forked child, judged by its exit status,
 * which is where a sanitizer speaks. The tests themselves are the same. As with Criterion, as many
 * run at a time as there are processors, or as --jobs says; what one prints stays together.
 *
 * Known: fixtures, suites, timeouts, expected signals and exit codes, --filter=SUITE/NAME (with
 * wildcards). Not known, and reported as failed: parameterized tests and theories.
 */
#include <criterion/criterion.h>
#include <criterion/internal/new_asserts.h>

#include <errno.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EXIT_FAILED_ASSERTION 99
#define JOBS_MAX              16
#define TIMEOUT_LEAST_S       400.0 /* a test that hangs must end; the machine may be busy, too */
#define SLOWDOWN              2.0   /* what a sanitizer may cost a test that names more */

/* The linker makes these names from the sections into which Test() and TestSuite() put pointers.
 * Weak, because a folder without tests or without suites has no such section. */
extern struct criterion_test *__start_cr_tst[] __attribute__((weak));
extern struct criterion_test *__stop_cr_tst[] __attribute__((weak));
extern struct criterion_suite *__start_cr_sts[] __attribute__((weak));
extern struct criterion_suite *__stop_cr_sts[] __attribute__((weak));

/* In a test's own process: that test. */
static struct {
    const struct criterion_test *test;
    const struct criterion_suite *suite; /* NULL if it has no settings */
    bool has_failed;
} running;

/* In the first process: a test under way. */
struct child {
    pid_t pid; /* 0: a free place */
    const struct criterion_test *test;
    const struct criterion_suite *suite;
    struct timespec deadline;
    FILE *said; /* what it and its sanitizer print */
};

static struct child children[JOBS_MAX];

static struct {
    size_t tested, passing, failing, crashing;
} sum;

/* ---- what a test calls ------------------------------------------------------------------- */

void criterion_internal_test_setup(void)
{
    if (running.suite && running.suite->data->init)
        running.suite->data->init();
    if (running.test->data->init)
        running.test->data->init();
}

void criterion_internal_test_main(void (*fn)(void))
{
    fn();
}

void criterion_internal_test_teardown(void)
{
    if (running.test->data->fini)
        running.test->data->fini();
    if (running.suite && running.suite->data->fini)
        running.suite->data->fini();
}

static void print_node(const struct cri_assert_node *node, int depth)
{
    if (node->repr && !node->pass)
        fprintf(stderr, "%*s%s\n", depth * 2, "", node->repr);
    for (int i = 0; i < CRI_ASSERT_MAX_PARAMS && !node->pass; i++)
        if (node->params[i].name && node->params[i].type == CRI_ASSERT_RT_STR)
            fprintf(stderr, "%*s  %s: %s\n", depth * 2, "", node->params[i].name,
                    (const char *)node->params[i].data);
    for (uint32_t i = 0; i < node->nchild; i++)
        print_node(&node->children[i], depth + 1);
}

void cri_assert_node_send(const char *file, size_t line, struct cri_assert_node *tree)
{
    running.has_failed = true;
    fprintf(stderr, "%s:%zu: assertion failed%s%s\n", file, line, tree->message ? ": " : "",
            tree->message ? tree->message : "");
    print_node(tree, 0);
}

void criterion_send_assert(struct criterion_assert_stats *stats)
{
    if (stats->passed)
        return;
    running.has_failed = true;
    fprintf(stderr, "%s:%u: assertion failed: %s\n", stats->file, stats->line, stats->message);
}

void criterion_continue_test(void)
{
    running.has_failed = true;
}

/* By exit and not by _exit: output is flushed, and sanitizers have their last word. */
CR_NORETURN void criterion_abort_test(void)
{
    exit(EXIT_FAILED_ASSERTION);
}

CR_NORETURN __attribute__((format(printf, 1, 2))) void criterion_skip_test(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputs(": a skipped test counts as failed\n", stderr);
    exit(EXIT_FAILED_ASSERTION);
}

__attribute__((format(printf, 1, 2))) void criterion_test_die(const char *msg, ...)
{
    va_list args;
    va_start(args, msg);
    vfprintf(stderr, msg, args);
    va_end(args);
    fputc('\n', stderr);
    exit(EXIT_FAILED_ASSERTION);
}

/* ---- one test, one child ----------------------------------------------------------------- */

static const struct criterion_suite *suite_of(const struct criterion_test *test)
{
    for (struct criterion_suite **s = __start_cr_sts; s < __stop_cr_sts; s++)
        if (*s && strcmp((*s)->name, test->category) == 0)
            return *s;
    return NULL;
}

static double timeout_s(const struct child *c)
{
    double named = c->test->data->timeout;
    if (named <= 0 && c->suite)
        named = c->suite->data->timeout;
    return named * SLOWDOWN > TIMEOUT_LEAST_S ? named * SLOWDOWN : TIMEOUT_LEAST_S;
}

CR_NORETURN static void be_the_test(const struct child *c, const sigset_t *mask)
{
    setpgid(0, 0);
    sigprocmask(SIG_SETMASK, mask, NULL);
    dup2(fileno(c->said), STDOUT_FILENO);
    dup2(fileno(c->said), STDERR_FILENO);
    fclose(c->said);
    running.test = c->test;
    running.suite = c->suite;
    c->test->test();
    exit(running.has_failed ? EXIT_FAILED_ASSERTION : 0);
}

static bool is_as_expected(const struct child *c, int status)
{
    const struct criterion_test_extra_data *want = c->test->data;
    int want_signal = want->signal;
    if (!want_signal && c->suite)
        want_signal = c->suite->data->signal;

    if (want_signal)
        return WIFSIGNALED(status) && WTERMSIG(status) == want_signal;
    return WIFEXITED(status) && WEXITSTATUS(status) == want->exit_code;
}

static void fail(const struct criterion_test *test, const char *why)
{
    printf("[FAIL] %s::%s: %s\n", test->category, test->name, why);
    sum.failing++;
}

/* `status` is -1 if it had to be killed, together with what it started. */
static void judge(const struct child *c, int status)
{
    char why[100];
    if (status == -1) {
        snprintf(why, sizeof why, "timed out after %.0f s", timeout_s(c));
        fail(c->test, why);
    } else if (is_as_expected(c, status)) {
        sum.passing++;
    } else if (WIFSIGNALED(status)) {
        snprintf(why, sizeof why, "CRASH! signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
        fail(c->test, why);
        sum.crashing++;
    } else {
        snprintf(why, sizeof why, "exit status %d", WEXITSTATUS(status));
        fail(c->test, why);
    }
}

/* Under the test's name, by which tests/failures finds where it begins. */
static void print_what_was_said(const struct criterion_test *test, FILE *said)
{
    char block[4096];
    size_t n;
    printf("[RUN ] %s::%s\n", test->category, test->name);
    rewind(said);
    while ((n = fread(block, 1, sizeof block, said)) > 0)
        fwrite(block, 1, n, stdout);
    fclose(said);
}

/* Whether it has ended, or was ended now because its time is over. */
static bool has_ended(struct child *c)
{
    int status;
    if (waitpid(c->pid, &status, WNOHANG) == 0) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec < c->deadline.tv_sec)
            return false;
        kill(-c->pid, SIGKILL);
        waitpid(c->pid, &status, 0);
        status = -1;
    }
    kill(-c->pid, SIGKILL); /* a test leaves nothing behind */
    print_what_was_said(c->test, c->said);
    judge(c, status);
    c->pid = 0;
    return true;
}

/* Until one may have ended, a second at most: then it is seen whose time is over. */
static void await_an_end(void)
{
    sigset_t child_ended;
    sigemptyset(&child_ended);
    sigaddset(&child_ended, SIGCHLD);
    sigtimedwait(&child_ended, NULL, &(struct timespec){ .tv_sec = 1 });
}

/* A place where no test is under way; waits for one. */
static struct child *free_place(int jobs)
{
    for (;; await_an_end())
        for (int i = 0; i < jobs; i++)
            if (children[i].pid == 0 || has_ended(&children[i]))
                return &children[i];
}

static void run(struct child *c, const struct criterion_test *test, const sigset_t *mask)
{
    sum.tested++;
    if (test->data->kind_ != CR_TEST_NORMAL) {
        fail(test, "only plain tests can run here");
        return;
    }

    *c = (struct child){ .test = test, .suite = suite_of(test), .said = tmpfile() };
    if (c->said == NULL) {
        fail(test, strerror(errno));
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &c->deadline);
    c->deadline.tv_sec += (time_t)timeout_s(c) + 1;

    fflush(NULL);
    pid_t child = fork();
    if (child == -1) {
        fail(test, strerror(errno));
        fclose(c->said);
        return;
    }
    if (child == 0)
        be_the_test(c, mask);
    setpgid(child, child); /* here too, so that has_ended may rely on it at once */
    c->pid = child;
}

static void wait_for_all(int jobs)
{
    for (int i = 0; i < jobs; i++)
        while (children[i].pid != 0 && !has_ended(&children[i]))
            await_an_end();
}

/* ---- which tests, and how many at a time -------------------------------------------------- */

static bool is_wanted(const struct criterion_test *test, const char *filter)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", test->category, test->name);
    return !filter || fnmatch(filter, path, 0) == 0;
}

static int processors(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > JOBS_MAX ? JOBS_MAX : (int)n;
}

/* The text after `name` in `arg`, or NULL. */
static const char *value_of(const char *arg, const char *name)
{
    size_t len = strlen(name);
    return strncmp(arg, name, len) == 0 ? arg + len : NULL;
}

int main(int argc, char **argv)
{
    const char *filter = NULL;
    int jobs = processors();
    for (int i = 1; i < argc; i++) {
        const char *pattern = value_of(argv[i], "--filter="), *count = value_of(argv[i], "--jobs=");
        if (pattern)
            filter = pattern;
        else if (count)
            jobs = atoi(count);
        if ((!pattern && !count) || jobs < 1 || jobs > JOBS_MAX) {
            fprintf(stderr, "usage: %s [--filter=SUITE/NAME] [--jobs=1..%d]\n", argv[0], JOBS_MAX);
            return EXIT_FAILURE;
        }
    }

    sigset_t child_ended, before;
    sigemptyset(&child_ended);
    sigaddset(&child_ended, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child_ended, &before);

    for (struct criterion_test **t = __start_cr_tst; t < __stop_cr_tst; t++)
        if (*t && is_wanted(*t, filter))
            run(free_place(jobs), *t, &before);
    wait_for_all(jobs);

    printf("[====] Synthesis: Tested: %zu | Passing: %zu | Failing: %zu | Crashing: %zu\n",
           sum.tested, sum.passing, sum.failing, sum.crashing);
    return sum.failing ? EXIT_FAILURE : EXIT_SUCCESS;
}
