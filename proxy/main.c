/* warren-proxy: arguments, configuration, run. */
#include "base/log.h"
#include "base/text.h"
#include "io/clock.h"
#include "proxy.h"
#include "proxy_conf.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Exit codes as HAProxy's: 0 done or valid, 1 anything else. */
enum { EXIT_DONE = 0, EXIT_TROUBLE = 1 };

struct args {
    const char *file;
    const char *pid_file;
    bool check;
    bool daemon;
};

static const char usage[] = "usage: warren-proxy -f FILE [-c] [-D] [-p PIDFILE]\n"
                            "       warren-proxy -v | -h\n"
                            "\n"
                            "  -f FILE     the configuration\n"
                            "  -c          check it and exit: 0 when it is valid\n"
                            "  -D          run in the background; returns when it listens\n"
                            "  -p PIDFILE  write the process id there\n"
                            "  -v, -V      print the version\n"
                            "  -h          print this\n"
                            "\n"
                            "HUP or USR2 reloads, TERM drains, a second TERM stops at once.\n";

static void complain(const char *what)
{
    fprintf(stderr, "warren-proxy: %s\n", what);
}

/* True to go on; else *code is the exit code. */
static bool read_args(int argc, char **argv, struct args *a, int *code)
{
    static const struct option words[] = {
        { "version", no_argument, NULL, 'v' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    int c;
    *code = EXIT_TROUBLE;
    while ((c = getopt_long(argc, argv, "f:cDp:vVh", words, NULL)) != -1) {
        switch (c) {
        case 'f':
            a->file = optarg;
            break;
        case 'c':
            a->check = true;
            break;
        case 'D':
            a->daemon = true;
            break;
        case 'p':
            a->pid_file = optarg;
            break;
        case 'v':
        case 'V':
            printf("warren-proxy %s\n", WARREN_VERSION);
            *code = EXIT_DONE;
            return false;
        case 'h':
            fputs(usage, stdout);
            *code = EXIT_DONE;
            return false;
        default:
            fputs(usage, stderr);
            return false;
        }
    }
    if (a->file != NULL && optind == argc)
        return true;
    fputs(usage, stderr);
    return false;
}

static bool open_log(const struct proxy_conf *conf, const char *target, struct err *err)
{
    struct log_setup setup = {
        .target = target,
        .level = (enum log_level)conf->global.log_level,
        .wall_ms = clock_wall_ms,
        .program = "warren-proxy",
    };
    return log_start(&setup, err);
}

static int check_only(const struct proxy_conf *conf)
{
    for (size_t i = 0; i < conf->warnings.count; i++)
        fprintf(stderr, "warning: %s\n", conf->warnings.items[i]);
    puts("Configuration file is valid");
    return EXIT_DONE;
}

static bool write_pid(const char *path, struct err *err)
{
    char line[32];
    struct text t = text_over(line, sizeof line);
    text_put(&t, "%ld\n", (long)getpid());
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool ok = fd >= 0 && write(fd, t.ptr, t.len) == (ssize_t)t.len;
    if (!ok)
        err_set(err, ERR_SYSTEM, "%s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return ok;
}

/* ---- going into the background --------------------------------------------------------------- */

/* In the starter: wait until the other half listens (an octet comes) or has failed (it ends). */
static int wait_for_daemon(int fd)
{
    char c;
    ssize_t n;
    do
        n = read(fd, &c, 1);
    while (n < 0 && errno == EINTR);
    return n == 1 ? EXIT_DONE : EXIT_TROUBLE;
}

/* The two halves of a fork: the starter gets its exit code, the daemon goes on with *ready_fd. */
static bool daemonize(int *ready_fd, int *code, struct err *err)
{
    int ends[2];
    *code = EXIT_TROUBLE;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_set(err, ERR_SYSTEM, "pipe: %s", strerror(errno));
    pid_t pid = fork();
    if (pid < 0)
        return err_set(err, ERR_SYSTEM, "fork: %s", strerror(errno));
    if (pid > 0) {
        close(ends[1]);
        *code = wait_for_daemon(ends[0]);
        err->text[0] = '\0';
        return false;
    }
    close(ends[0]);
    setsid();
    *ready_fd = ends[1];
    return true;
}

/* It listens: let the starter go, and the terminal. Complaints went there until now. */
static bool detach(int ready_fd, struct err *err)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || write(ready_fd, "", 1) != 1)
        return err_set(err, ERR_SYSTEM, "cannot detach: %s", strerror(errno));
    close(ready_fd);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    close(null);
    return true;
}

/* ---- running --------------------------------------------------------------------------------- */

static int run(struct proxy_conf **conf, const struct args *a)
{
    struct err err = { 0 };
    int code = EXIT_TROUBLE;
    int ready_fd = -1;
    if (a->daemon && !daemonize(&ready_fd, &code, &err)) {
        proxy_conf_free(conf);
        if (err.text[0] != '\0')
            complain(err.text);
        return code;
    }
    signal(SIGPIPE, SIG_IGN);
    struct proxy *p = NULL;
    /* A daemon has no terminal to complain to. */
    const char *target = (*conf)->global.log_target;
    bool ok = open_log(*conf, a->daemon && strcmp(target, "stderr") == 0 ? "syslog" : target, &err);
    ok = ok && (p = proxy_new(conf, &err)) != NULL;
    ok = ok && (a->pid_file == NULL || write_pid(a->pid_file, &err));
    ok = ok && (!a->daemon || detach(ready_fd, &err)) && proxy_run(p, &err);
    if (!ok)
        complain(err.text);
    if (p != NULL)
        proxy_free(&p);
    proxy_conf_free(conf);
    if (ok && a->pid_file != NULL)
        unlink(a->pid_file);
    return ok ? EXIT_DONE : EXIT_TROUBLE;
}

int main(int argc, char **argv)
{
    struct args a = { 0 };
    struct err err;
    int code;
    if (!read_args(argc, argv, &a, &code))
        return code;
    struct proxy_conf *conf = proxy_conf_load(a.file, &err);
    if (conf == NULL) {
        complain(err.text);
        return EXIT_TROUBLE;
    }
    if (!a.check)
        return run(&conf, &a);
    code = check_only(conf);
    proxy_conf_free(&conf);
    return code;
}
