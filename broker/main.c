/*
 * warren-broker: arguments, config, run.
 */
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker.h"
#include "io/clock.h"
#include "io/daemon.h"
#include "io/file.h"
#include "store/check_store.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

extern char **environ;

#define CHECK_THREADS 4u

struct arguments {
    struct broker_conf_args conf;
    bool detached;
    bool check_config;
    bool check_store;
    const char *pid_file; /* NULL: in the node's folder */
};

static const char usage[] =
    "Usage: warren-broker [OPTION]...\n"
    "Run a node of the Warren message broker (AMQP 0-9-1).\n"
    "\n"
    "  -c, --config FILE    read the configuration from FILE\n"
    "                       (default: " WARREN_SYSCONFDIR "/warren-broker.conf, if it is there)\n"
    "  -n, --name NAME      the node's name, NAME or NAME@HOST\n"
    "      --data-dir DIR   where the node's folder lies\n"
    "      --pid-file FILE  (default: warren-broker.pid in the node's folder)\n"
    "      --detached       run in the background (also: -detached)\n"
    "      --check-config   check the configuration and exit\n"
    "      --check-store    check a stopped node's data and exit\n"
    "      --version        print the version and exit\n"
    "  -h, --help           print this and exit\n"
    "\n"
    "Signals: TERM and INT stop in an orderly way, HUP reads the configuration and\n"
    "certificates anew and reopens the log.\n"
    "Exit status: 0 after an orderly stop, 64 wrong usage, 70 the node could not start or failed,\n"
    "78 bad configuration. Of --check-store: 0 all is good, 65 something is damaged, 66 there is\n"
    "nothing, 69 the node runs, 70 it cannot be read.\n";

enum {
    OPT_DATA_DIR = 256,
    OPT_DETACHED,
    OPT_CHECK_CONFIG,
    OPT_CHECK_STORE,
    OPT_PID_FILE,
    OPT_VERSION
};

static const struct option options[] = {
    { "config", required_argument, NULL, 'c' },
    { "name", required_argument, NULL, 'n' },
    { "data-dir", required_argument, NULL, OPT_DATA_DIR },
    { "detached", no_argument, NULL, OPT_DETACHED },
    { "pid-file", required_argument, NULL, OPT_PID_FILE },
    { "check-config", no_argument, NULL, OPT_CHECK_CONFIG },
    { "check-store", no_argument, NULL, OPT_CHECK_STORE },
    { "version", no_argument, NULL, OPT_VERSION },
    { "help", no_argument, NULL, 'h' },
    { NULL, 0, NULL, 0 },
};

/* Returns an exit status, or -1 to go on. */
static int read_arguments(int argc, char **argv, struct arguments *a)
{
    static char detached[] = "--detached";
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-detached") == 0) /* as rabbitmq-server has it */
            argv[i] = detached;
    }
    int opt;
    while ((opt = getopt_long(argc, argv, "c:n:h", options, NULL)) != -1) {
        switch (opt) {
        case 'c':
            a->conf.file = optarg;
            break;
        case 'n':
            a->conf.name = optarg;
            break;
        case OPT_DATA_DIR:
            a->conf.data_dir = optarg;
            break;
        case OPT_PID_FILE:
            a->pid_file = optarg;
            break;
        case OPT_DETACHED:
            a->detached = true;
            break;
        case OPT_CHECK_CONFIG:
            a->check_config = true;
            break;
        case OPT_CHECK_STORE:
            a->check_store = true;
            break;
        case OPT_VERSION:
            puts("warren-broker " WARREN_VERSION);
            return EX_OK;
        case 'h':
            fputs(usage, stdout);
            return EX_OK;
        default:
            fputs("Try 'warren-broker --help'.\n", stderr);
            return EX_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "warren-broker: unexpected argument '%s'\n", argv[optind]);
        return EX_USAGE;
    }
    return -1;
}

static void unknown_variable(const char *name, void *arg)
{
    (void)arg;
    log_warn("conf", "-", "environment variable %s names no key", name);
}

static bool start_log(const struct broker_conf *conf, struct err *err)
{
    static const char *const targets[] = { "stderr", NULL, "syslog" };
    const char *target =
        conf->log.target == BROKER_LOG_FILE ? conf->log.file : targets[conf->log.target];
    return log_start(&(struct log_setup){ .target = target,
                                          .level = conf->log.level,
                                          .wall_ms = clock_wall_ms,
                                          .program = "warren-broker" },
                     err);
}

/* In the background standard error is nobody's. */
static struct broker_conf *load(const struct arguments *a, struct err *err)
{
    struct broker_conf *conf = broker_conf_load(&a->conf, err);
    if (conf != NULL && a->detached && conf->log.target == BROKER_LOG_STDERR)
        conf->log.target = BROKER_LOG_FILE;
    return conf;
}

static struct broker_conf *load_again(void *arg, struct err *err)
{
    return load(arg, err);
}

static int status_of(const struct err *err)
{
    return err->code == ERR_CONFIG || err->code == ERR_REFUSED ? EX_CONFIG : EX_SOFTWARE;
}

/* The pid file in the folder of the node, which a second process finds locked. */
static struct pid_file *take_pid_file(const struct broker_conf *conf, const struct arguments *a,
                                      struct err *err)
{
    if (a->pid_file != NULL)
        return pid_file_take(a->pid_file, err);
    char path[PATH_MAX];
    struct text t = text_over(path, sizeof path);
    text_put(&t, "%s/warren-broker.pid", conf->node.data_path);
    if (t.cut) {
        err_set(err, ERR_CONFIG, "[node] data-dir: the path is too long");
        return NULL;
    }
    return pid_file_take(path, err);
}

/* It runs, and serves nobody before other nodes are there: that may take long. */
static void on_waits(void *arg)
{
    daemon_ready(arg);
    daemon_notify("READY=1\nSTATUS=waiting for other nodes of the cluster");
}

static int serve(struct broker *b, struct daemon *d)
{
    daemon_ready(d);
    daemon_notify("READY=1\nSTATUS=running");
    bool ok = broker_run(b);
    daemon_notify("STOPPING=1");
    return ok ? EX_OK : EX_SOFTWARE;
}

/* Takes the reference in *conf. */
static int run(struct broker_conf **conf, struct arguments *a)
{
    struct err err = { 0 };
    struct broker *b = NULL;
    struct pid_file *pid = NULL;
    struct daemon d;
    int status = EX_OK;
    daemon_init(&d);
    mem_keep_some();
    daemon_ignore_sigpipe();
    daemon_raise_file_limit();
    if (a->detached && !daemon_detach(&d, &err)) {
        broker_conf_unref(conf);
        goto fail;
    }
    /* The folder comes first: unless it is told otherwise, the log's file lies beside it. */
    bool ok = file_make_folders((*conf)->node.data_path, 0750, &err) && start_log(*conf, &err) &&
              (pid = take_pid_file(*conf, a, &err)) != NULL;
    if (!ok) {
        broker_conf_unref(conf);
        goto fail;
    }
    broker_conf_env_unknown(environ, unknown_variable, NULL);
    b = broker_new(conf, load_again, a, &err);
    if (b == NULL || !broker_start(b, on_waits, &d, &err))
        goto fail;
    status = serve(b, &d);
    goto out;

fail:
    status = status_of(&err);
    err_context(&err, "warren-broker");
    daemon_failed(&d, status, err.text);
out:
    if (b != NULL)
        broker_free(&b);
    pid_file_free(&pid);
    return status;
}

/* The report for people on stdout, what went wrong on stderr. */
static int check(const struct broker_conf *conf)
{
    struct text report;
    struct err err = { 0 };
    int status = EX_OK;
    text_init(&report, CHECK_STORE_REPORT_MAX);
    switch (check_store(conf->node.data_path, CHECK_THREADS, &report, &err)) {
    case CHECK_STORE_GOOD:
        break;
    case CHECK_STORE_DAMAGED:
        status = EX_DATAERR;
        break;
    case CHECK_STORE_IN_USE:
        status = EX_UNAVAILABLE;
        break;
    case CHECK_STORE_FAILED:
        status = err.code == ERR_NOT_FOUND ? EX_NOINPUT
                 : err.code == ERR_REFUSED ? EX_CONFIG
                                           : EX_SOFTWARE;
        break;
    }
    (void)fwrite(report.ptr, 1, report.len, stdout);
    text_fini(&report);
    if (status != EX_OK && status != EX_DATAERR)
        fprintf(stderr, "warren-broker: %s\n", err.text);
    return status;
}

int main(int argc, char **argv)
{
    struct arguments a = { .conf = { .default_file = WARREN_SYSCONFDIR "/warren-broker.conf",
                                     .env = environ } };
    daemon_hold_signals();
    int status = read_arguments(argc, argv, &a);
    if (status >= 0)
        return status;
    struct err err = { 0 };
    struct broker_conf *conf = load(&a, &err);
    if (conf == NULL) {
        fprintf(stderr, "%s\n", err.text);
        return EX_CONFIG;
    }
    if (a.check_store) {
        daemon_release_signals();
        status = check(conf);
    } else if (a.check_config) {
        puts("configuration is valid");
        status = EX_OK;
    } else {
        status = run(&conf, &a);
    }
    broker_conf_unref(&conf);
    return status;
}
