/* warren-proxy: arguments, configuration, run. */
#include "base/log.h"
#include "base/text.h"
#include "io/clock.h"
#include "io/daemon.h"
#include "io/file.h"
#include "io/handover.h"
#include "proxy.h"
#include "proxy_conf.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Exit codes as HAProxy's: 0 done or valid, 1 anything else. */
enum { EXIT_DONE = 0, EXIT_TROUBLE = 1 };

struct args {
    const char *file;
    const char *pid_file;
    const char *takes_over; /* the runtime socket of the process whose place we take */
    bool check;
    bool daemon;
};

static const char usage[] =
    "usage: warren-proxy -f FILE [-c] [-D] [-p PIDFILE] [-x SOCKET]\n"
    "       warren-proxy -v | -h\n"
    "\n"
    "  -f FILE     the configuration\n"
    "  -c          check it and exit: 0 when it is valid\n"
    "  -D          run in the background; returns when it listens\n"
    "  -p PIDFILE  write the process id there\n"
    "  -x SOCKET   take the place of the proxy with this runtime socket\n"
    "  -v, -V      print the version\n"
    "  -h          print this\n"
    "\n"
    "HUP or USR2 reloads, TERM drains, a second TERM stops at once, USR1 drains without end.\n";

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
    while ((c = getopt_long(argc, argv, "f:cDp:x:vVh", words, NULL)) != -1) {
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
        case 'x':
            a->takes_over = optarg;
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

static int check_only(struct proxy_conf **conf)
{
    struct err err;
    for (size_t i = 0; i < (*conf)->warnings.count; i++)
        fprintf(stderr, "warning: %s\n", (*conf)->warnings.items[i]);
    if (!proxy_check(conf, &err)) {
        complain(err.text);
        return EXIT_TROUBLE;
    }
    puts("Configuration file is valid");
    return EXIT_DONE;
}

/* ---- running --------------------------------------------------------------------------------- */

/* Listening, logging, with its pid file: everything that may fail before it serves. */
static struct proxy *bring_up(struct proxy_conf **conf, const struct args *a,
                              struct pid_file **pid_file, struct err *err)
{
    /* A daemon has no terminal to complain to. */
    const char *target = (*conf)->global.log_target;
    if (!open_log(*conf, a->daemon && strcmp(target, "stderr") == 0 ? "syslog" : target, err))
        return NULL;
    struct handover *inherited = NULL;
    if (a->takes_over != NULL && (inherited = handover_receive(a->takes_over, err)) == NULL)
        return NULL;
    struct proxy *p = proxy_new(conf, &inherited, err);
    if (p == NULL || a->pid_file == NULL)
        return p;
    *pid_file = a->takes_over != NULL ? pid_file_replace(a->pid_file, err)
                                      : pid_file_take(a->pid_file, err);
    if (*pid_file == NULL)
        proxy_free(&p);
    return p;
}

/* The manager's service is this process from now on, also when it has taken another one's place. */
static void tell_manager(void)
{
    char state[64];
    struct text t = text_over(state, sizeof state);
    text_put(&t, "MAINPID=%ld\nREADY=1", (long)getpid());
    (void)daemon_notify(state);
}

static void give_up(struct daemon *d, const struct err *err)
{
    char line[ERR_TEXT_MAX];
    struct text t = text_over(line, sizeof line);
    text_put(&t, "warren-proxy: %s", err->text);
    daemon_failed(d, EXIT_TROUBLE, line);
}

static int run(struct proxy_conf **conf, const struct args *a)
{
    struct err err = { 0 };
    struct daemon daemon;
    struct proxy *p = NULL;
    struct pid_file *pid_file = NULL;
    daemon_init(&daemon);
    daemon_ignore_sigpipe();

    bool ok = (!a->daemon || daemon_detach(&daemon, &err)) &&
              (p = bring_up(conf, a, &pid_file, &err)) != NULL;
    if (ok) {
        tell_manager(); /* before the process that waits is let go: a reload ends with it */
        daemon_ready(&daemon);
        ok = proxy_run(p, &err);
    }
    if (!ok)
        give_up(&daemon, &err);
    if (p != NULL)
        proxy_free(&p);
    proxy_conf_free(conf);
    pid_file_free(&pid_file);
    return ok ? EXIT_DONE : EXIT_TROUBLE;
}

int main(int argc, char **argv)
{
    struct args a = { 0 };
    struct err err;
    int code;
    daemon_hold_signals();
    if (!read_args(argc, argv, &a, &code))
        return code;
    struct proxy_conf *conf = proxy_conf_load(a.file, &err);
    if (conf == NULL) {
        complain(err.text);
        return EXIT_TROUBLE;
    }
    if (!a.check)
        return run(&conf, &a);
    daemon_release_signals();
    return check_only(&conf);
}
