/*
 * plain_main: runs Criterion tests under a sanitizer, where Criterion's own runner cannot.
 *
 * Criterion maps an arena at a fixed address into a fresh process for each test. ThreadSanitizer
 * refuses that mapping, and a leak that LeakSanitizer reports when the test's process ends goes
 * unnoticed. So in sanitizer builds this file takes the place of Criterion's main and of the few
 * functions by which a test talks to it: each test is a forked child, judged by its exit status,
 * which is where a sanitizer speaks. The tests themselves are the same.
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
#define TIMEOUT_DEFAULT_S     120.0 /* a test that hangs must end, even if it names no timeout */
#define SLOWDOWN              5.0   /* what a sanitizer may cost a test that names one */

/* The linker makes these names from the sections into which Test() and TestSuite() put pointers.
 * Weak, because a folder without tests or without suites has no such section. */
extern struct criterion_test *__start_cr_tst[] __attribute__((weak));
extern struct criterion_test *__stop_cr_tst[] __attribute__((weak));
extern struct criterion_suite *__start_cr_sts[] __attribute__((weak));
extern struct criterion_suite *__stop_cr_sts[] __attribute__((weak));

static struct {
    const struct criterion_test *test;
    const struct criterion_suite *suite; /* NULL if it has no settings */
    bool has_failed;
} running;

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

static double timeout_s(void)
{
    if (running.test->data->timeout > 0)
        return running.test->data->timeout * SLOWDOWN;
    if (running.suite && running.suite->data->timeout > 0)
        return running.suite->data->timeout * SLOWDOWN;
    return TIMEOUT_DEFAULT_S;
}

CR_NORETURN static void be_the_test(const sigset_t *mask)
{
    setpgid(0, 0);
    sigprocmask(SIG_SETMASK, mask, NULL);
    running.test->test();
    exit(running.has_failed ? EXIT_FAILED_ASSERTION : 0);
}

/* The child's status, or -1 if it had to be killed, together with what it started. */
static int wait_for(pid_t child)
{
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += (time_t)timeout_s() + 1;

    sigset_t child_ended;
    sigemptyset(&child_ended);
    sigaddset(&child_ended, SIGCHLD);

    int status;
    while (waitpid(child, &status, WNOHANG) == 0) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec >= deadline.tv_sec) {
            kill(-child, SIGKILL);
            waitpid(child, &status, 0);
            return -1;
        }
        struct timespec left = { .tv_sec = deadline.tv_sec - now.tv_sec };
        sigtimedwait(&child_ended, NULL, &left);
    }
    kill(-child, SIGKILL); /* a test leaves nothing behind */
    return status;
}

static bool is_as_expected(int status)
{
    const struct criterion_test_extra_data *want = running.test->data;
    int want_signal = want->signal;
    if (!want_signal && running.suite)
        want_signal = running.suite->data->signal;

    if (want_signal)
        return WIFSIGNALED(status) && WTERMSIG(status) == want_signal;
    return WIFEXITED(status) && WEXITSTATUS(status) == want->exit_code;
}

static void judge(int status)
{
    const char *name = running.test->name;
    const char *category = running.test->category;

    if (status == -1) {
        printf("[FAIL] %s::%s: timed out after %.0f s\n", category, name, timeout_s());
        sum.failing++;
    } else if (is_as_expected(status)) {
        sum.passing++;
    } else if (WIFSIGNALED(status)) {
        printf("[FAIL] %s::%s: CRASH! signal %d (%s)\n", category, name, WTERMSIG(status),
               strsignal(WTERMSIG(status)));
        sum.failing++;
        sum.crashing++;
    } else {
        printf("[FAIL] %s::%s: exit status %d\n", category, name, WEXITSTATUS(status));
        sum.failing++;
    }
}

static void run(const struct criterion_test *test, const sigset_t *mask)
{
    running.test = test;
    running.suite = suite_of(test);
    sum.tested++;

    if (test->data->kind_ != CR_TEST_NORMAL) {
        printf("[FAIL] %s::%s: only plain tests can run here\n", test->category, test->name);
        sum.failing++;
        return;
    }

    fflush(NULL);
    pid_t child = fork();
    if (child == -1) {
        printf("[FAIL] %s::%s: fork: %s\n", test->category, test->name, strerror(errno));
        sum.failing++;
        return;
    }
    if (child == 0)
        be_the_test(mask);
    setpgid(child, child); /* here too, so that wait_for may rely on it at once */
    judge(wait_for(child));
}

static bool is_wanted(const struct criterion_test *test, const char *filter)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", test->category, test->name);
    return !filter || fnmatch(filter, path, 0) == 0;
}

int main(int argc, char **argv)
{
    static const char option[] = "--filter=";
    const char *filter = NULL;
    if (argc == 2 && strncmp(argv[1], option, strlen(option)) == 0) {
        filter = argv[1] + strlen(option);
    } else if (argc > 1) {
        fprintf(stderr, "usage: %s [--filter=SUITE/NAME]\n", argv[0]);
        return EXIT_FAILURE;
    }

    sigset_t child_ended, before;
    sigemptyset(&child_ended);
    sigaddset(&child_ended, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child_ended, &before);

    for (struct criterion_test **t = __start_cr_tst; t < __stop_cr_tst; t++)
        if (*t && is_wanted(*t, filter))
            run(*t, &before);

    printf("[====] Synthesis: Tested: %zu | Passing: %zu | Failing: %zu | Crashing: %zu\n",
           sum.tested, sum.passing, sum.failing, sum.crashing);
    return sum.failing ? EXIT_FAILURE : EXIT_SUCCESS;
}
