#include "mgmt/warrenctl.h"

#include "base/mem.h"
#include "io/daemon.h"
#include "io/host.h"
#include "mgmt/warrenctl_help.h"
#include "mgmt/warrenctl_link.h"
#include "mgmt/warrenctl_node.h"
#include "mgmt/warrenctl_options.h"

#include <stdlib.h>
#include <string.h>

#define BANNER_MAX ((size_t)64 * 1024)
#define PATH_ROOM  128u

/* ---- what is said ---- */

bool warrenctl_is_chatty(const struct warrenctl *w)
{
    return !w->quiet && !w->silent &&
           (w->formatter == WARRENCTL_TABLE || w->formatter == WARRENCTL_PRETTY_TABLE);
}

void warrenctl_banner(struct warrenctl *w, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    text_vput(&w->banner, fmt, args);
    va_end(args);
    text_char(&w->banner, '\n');
}

void warrenctl_say_banner(struct warrenctl *w)
{
    if (w->banner.len != 0 && warrenctl_is_chatty(w))
        fwrite(w->banner.ptr, 1, w->banner.len, stdout);
    fflush(stdout);
    text_clear(&w->banner);
}

void warrenctl_say_done(const struct warrenctl *w)
{
    if (warrenctl_is_chatty(w) && w->formatter == WARRENCTL_TABLE)
        puts("...done.");
}

int warrenctl_fail(const struct warrenctl *w, int status, const char *fmt, ...)
{
    (void)w;
    fflush(stdout);
    fputs("Error:\n", stderr);
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    return status;
}

static void print_given(const struct warrenctl *w)
{
    fputs("Arguments given:\n\t", stderr);
    for (unsigned i = 0; i < w->word_count; i++)
        fprintf(stderr, "%s%s", i != 0 ? " " : "", w->words[i]);
    fputc('\n', stderr);
    warrenctl_help_usage(w, w->command, stderr);
}

int warrenctl_fail_usage(const struct warrenctl *w, int status, const char *fmt, ...)
{
    fflush(stdout);
    fputs("Error (argument validation): ", stderr);
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    print_given(w);
    return status;
}

/* ---- what the node refuses ---- */

static int fail_environment(const struct warrenctl *w, bool must_run)
{
    fprintf(stderr,
            "Error: this command requires the 'rabbit' app to be %s on the target node. %s it "
            "with '%s %s'.\n",
            must_run ? "running" : "stopped", must_run ? "Start" : "Stop", w->program,
            must_run ? "start_app" : "stop_app");
    print_given(w);
    return EX_USAGE;
}

static int fail_user(const struct warrenctl *w, const char *name)
{
    if ((w->command->flags & WARRENCTL_USER_TERM) != 0)
        return warrenctl_fail(w, EX_UNAVAILABLE, "{:no_such_user, \"%s\"}", name);
    if ((w->command->flags & WARRENCTL_USER_PLAIN) != 0)
        return warrenctl_fail(w, EX_NOUSER, "User %s does not exist", name);
    return warrenctl_fail(w, EX_NOUSER, "User \"%s\" does not exist", name);
}

static int fail_vhost(const struct warrenctl *w, const char *name)
{
    if ((w->command->flags & WARRENCTL_VHOST_PLAIN) != 0)
        return warrenctl_fail(w, EX_UNAVAILABLE, "Virtual host %s does not exist", name);
    fflush(stdout);
    fprintf(stderr, "Virtual host '%s' does not exist\n", name);
    return EX_DATAERR;
}

/* What the node's codes mean; %s is what it added. */
static const struct refusal {
    const char *code;
    int status;
    const char *fmt;
} refusals[] = {
    { "user_exists", EX_SOFTWARE, "User \"%s\" already exists" },
    { "refused", EX_UNAVAILABLE, "%s" },
    { "bad_request", EX_UNAVAILABLE, "%s" },
    { "bad_data", EX_DATAERR, "%s" },
    { "no_such_queue", EX_USAGE, "%s" },
    { "try_again", EX_TEMPFAIL, "%s" },
    { "too_many", EX_TEMPFAIL, "the node is asked for too much at once: %s; try again later" },
    { "failed", EX_SOFTWARE, "%s" },
};

static int fail_login(const struct warrenctl *w)
{
    return warrenctl_fail(w, EX_DATAERR,
                          "Error: failed to authenticate user \"%s\"\n"
                          "user '%s' - invalid credentials",
                          w->args[0], w->args[0]);
}

static int fail_with(const struct warrenctl *w, const char *code, const char *detail)
{
    if (strcmp(code, "bad_credentials") == 0)
        return fail_login(w);
    if (strcmp(code, "app_stopped") == 0 || strcmp(code, "app_running") == 0)
        return fail_environment(w, strcmp(code, "app_stopped") == 0);
    if (strcmp(code, "no_such_user") == 0)
        return fail_user(w, detail);
    if (strcmp(code, "no_such_vhost") == 0)
        return fail_vhost(w, detail);
    for (size_t i = 0; i < ARRAY_COUNT(refusals); i++) {
        if (strcmp(refusals[i].code, code) != 0)
            continue;
        char room[4096];
        struct text t = text_over(room, sizeof room);
        const char *at = strstr(refusals[i].fmt, "%s");
        text_slice(&t, slice_of(refusals[i].fmt, (size_t)(at - refusals[i].fmt)));
        text_str(&t, detail);
        text_str(&t, at + 2);
        return warrenctl_fail(w, refusals[i].status, "%s", room);
    }
    return warrenctl_fail(w, EX_SOFTWARE, "the node refused: %s: %s", code, detail);
}

/* ---- asking ---- */

/* Over TCP only the node itself can say its name. */
static bool learn_name(struct warrenctl *w, struct err *err)
{
    struct warrenctl_answer a;
    if (w->node_name[0] != '\0')
        return true;
    if (!warrenctl_link_ask(w->link, "POST", "/ctl/ping", slice_str("{}"),
                            WARRENCTL_TIMEOUT_S * 1000u, &a, err))
        return false;
    json_error_t why;
    json_t *o = json_loadb(a.body.ptr, a.body.len, 0, &why);
    const char *name = json_string_value(json_object_get(o, "node"));
    struct text t = text_over(w->node_name, sizeof w->node_name);
    text_str(&t, name != NULL ? name : w->node);
    json_decref(o);
    text_fini(&a.body);
    return true;
}

int warrenctl_connect(struct warrenctl *w)
{
    struct err err = { 0 };
    if (w->link != NULL)
        return EX_OK;
    if (warrenctl_node_connect(w, &err) && learn_name(w, &err))
        return EX_OK;
    fflush(stdout);
    fprintf(stderr, "Error: unable to perform an operation on node '%s': %s\n", w->node, err.text);
    return err.code == ERR_CONFIG  ? EX_CONFIG
           : err.code == ERR_LIMIT ? EX_TEMPFAIL
                                   : EX_UNAVAILABLE;
}

static uint64_t timeout_of(const struct warrenctl *w)
{
    return w->timeout_is_given ? w->timeout_s * 1000u : WARRENCTL_TIMEOUT_S * 1000u;
}

/* False: it has been said why, and *status is what to exit with. */
static bool ask(struct warrenctl *w, const char *method, const char *path, struct slice body,
                struct warrenctl_answer *a, int *status)
{
    struct err err = { 0 };
    if (warrenctl_link_ask(w->link, method, path, body, timeout_of(w), a, &err))
        return true;
    fflush(stdout);
    fprintf(stderr, "Error: operation %s on node %s %s: %s\n", w->command->name, w->node,
            err.code == ERR_LIMIT ? "timed out" : "failed", err.text);
    *status = err.code == ERR_LIMIT ? EX_TEMPFAIL : EX_UNAVAILABLE;
    return false;
}

/* Says the banner, unless the command could not even begin. An exit status. */
static int judge(struct warrenctl *w, const struct warrenctl_answer *a)
{
    if (a->status >= 200 && a->status < 300) {
        warrenctl_say_banner(w);
        return EX_OK;
    }
    json_error_t why;
    json_t *o = json_loadb(a->body.ptr, a->body.len, 0, &why);
    const char *code = json_string_value(json_object_get(o, "error"));
    const char *detail = json_string_value(json_object_get(o, "detail"));
    if (detail == NULL)
        detail = json_string_value(json_object_get(o, "reason")); /* as the API says it */
    if (code == NULL || strncmp(code, "app_", 4) != 0)
        warrenctl_say_banner(w);
    int status = fail_with(w, code != NULL ? code : "bad answer", detail != NULL ? detail : "");
    json_decref(o);
    return status;
}

int warrenctl_ask_api(struct warrenctl *w, const char *method, const char *path, struct slice body,
                      struct warrenctl_answer *out)
{
    int status = warrenctl_connect(w);
    if (status == EX_OK && ask(w, method, path, body, out, &status)) {
        status = judge(w, out);
        if (status != EX_OK)
            text_fini(&out->body);
    }
    return status;
}

int warrenctl_ask_raw(struct warrenctl *w, const char *what, json_t *args,
                      struct warrenctl_answer *out)
{
    char path[PATH_ROOM];
    struct text t = text_over(path, sizeof path);
    text_put(&t, "/ctl/%s", what);
    char *body = json_dumps(args, JSON_COMPACT);
    int status = warrenctl_ask_api(w, "POST", path, slice_str(body), out);
    mem_free(body);
    json_decref(args);
    return status;
}

json_t *warrenctl_ask(struct warrenctl *w, const char *what, json_t *args, int *status)
{
    struct warrenctl_answer a;
    json_error_t why;
    *status = warrenctl_ask_raw(w, what, args, &a);
    if (*status != EX_OK)
        return NULL;
    json_t *o = json_loadb(a.body.ptr, a.body.len, JSON_DECODE_ANY, &why);
    text_fini(&a.body);
    if (o == NULL)
        *status = warrenctl_fail(w, EX_SOFTWARE, "the node's answer cannot be read: %s", why.text);
    return o;
}

int warrenctl_do(struct warrenctl *w, const char *what, json_t *args)
{
    int status;
    json_t *o = warrenctl_ask(w, what, args, &status);
    json_decref(o);
    return o != NULL ? EX_OK : status;
}

bool warrenctl_check_json(struct warrenctl *w, const char *text, int *status)
{
    json_error_t why;
    *status = warrenctl_connect(w);
    if (*status != EX_OK)
        return false;
    json_t *v = json_loads(text, JSON_DECODE_ANY, &why);
    if (v == NULL) {
        warrenctl_say_banner(w);
        *status = warrenctl_fail(w, EX_UNAVAILABLE, "JSON decoding error. Reason: %s", why.text);
    }
    json_decref(v);
    return v != NULL;
}

void warrenctl_join(const char *const *words, unsigned count, const char *between, struct text *out)
{
    for (unsigned i = 0; i < count; i++) {
        text_str(out, i != 0 ? between : "");
        text_str(out, words[i]);
    }
}

int warrenctl_require_stopped(struct warrenctl *w)
{
    int status;
    struct text banner = w->banner;
    text_init(&w->banner, BANNER_MAX); /* it is for afterwards */
    json_t *o = warrenctl_ask(w, "ping", json_object(), &status);
    text_fini(&w->banner);
    w->banner = banner;
    if (o != NULL && json_is_true(json_object_get(o, "running")))
        status = fail_environment(w, false);
    json_decref(o);
    return status;
}

const char *warrenctl_option(const struct warrenctl *w, const char *name)
{
    size_t len = strlen(name);
    for (unsigned i = 0; i < WARRENCTL_OPTIONS_MAX && w->command->options[i] != NULL; i++) {
        const char *option = w->command->options[i];
        if (strncmp(option, name, len) == 0 && (option[len] == '\0' || option[len] == '='))
            return w->given[i];
    }
    return NULL;
}

/* ---- from words to a command ---- */

static int no_such_command(const struct warrenctl *w)
{
    if (w->arg_count == 0) {
        warrenctl_help_all(w, w->wants_help ? stdout : stderr);
        return w->wants_help ? EX_OK : EX_USAGE;
    }
    fprintf(stderr, "\nCommand '%s' not found. \n", w->args[0]);
    const char *likely = warrenctl_help_likely(w, w->args[0]);
    if (likely != NULL)
        fprintf(stderr, "Did you mean '%s'? \n\n", likely);
    else
        warrenctl_help_all(w, stderr);
    return EX_USAGE;
}

bool warrenctl_is_text(const char *word)
{
    json_t *text = json_string(word);
    json_decref(text);
    return text != NULL;
}

/* The first that is no UTF-8, or NULL: the node is asked in JSON, which has no words for it. */
static const char *word_of_no_text(const struct warrenctl *w)
{
    for (unsigned i = 0; i < w->word_count; i++) {
        if (!warrenctl_is_text(w->words[i]))
            return w->words[i];
    }
    return NULL;
}

static int run_command(struct warrenctl *w, const struct text *bad)
{
    const char *no_text = word_of_no_text(w);
    const struct warrenctl_command *c = w->command;
    if (c == NULL)
        return no_such_command(w);
    if (w->wants_help) {
        w->args[0] = c->name;
        w->arg_count = 1;
        w->command = warrenctl_command_find(w->tables, "help");
        return w->command->run(w);
    }
    if (bad->len != 0)
        return warrenctl_fail_usage(w, EX_USAGE, "Invalid options for this command:\n%s", bad->ptr);
    if (no_text != NULL)
        return warrenctl_fail_usage(w, EX_DATAERR, "'%s' is not encoded in UTF-8", no_text);
    if ((int)w->arg_count < c->least)
        return warrenctl_fail_usage(w, EX_USAGE, "not enough arguments.");
    if (c->most >= 0 && (int)w->arg_count > c->most)
        return warrenctl_fail_usage(w, EX_USAGE, "too many arguments.");
    return c->run(w);
}

static const char *default_node(char *room, size_t size)
{
    const char *env = getenv("RABBITMQ_NODENAME");
    if (env == NULL)
        env = getenv("WARREN_NODE_NAME");
    if (env != NULL && env[0] != '\0')
        return env;
    char host[128];
    host_short_name(host, sizeof host);
    struct text t = text_over(room, size);
    text_put(&t, "rabbit@%s", host);
    return room;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

int warrenctl_main(const struct warrenctl_table *const *tables, int argc, char **argv)
{
    char node[256];
    struct warrenctl w = { .program = argc > 0 ? base_name(argv[0]) : "warrenctl",
                           .node = default_node(node, sizeof node),
                           .tables = tables,
                           .vhost = "/",
                           .words = (const char *const *)argv + 1,
                           .word_count = argc > 0 ? (unsigned)argc - 1 : 0 };
    json_set_alloc_funcs(mem_alloc, mem_free); /* jansson's own may fail */
    daemon_ignore_sigpipe();
    w.node_is_given = w.node != node;
    w.args = mem_array((size_t)argc + 1, sizeof *w.args);
    struct text bad;
    text_init(&bad, BANNER_MAX);
    text_init(&w.banner, BANNER_MAX);
    (void)!warrenctl_options_read(&w, argc, argv, &bad);
    int status = run_command(&w, &bad);
    warrenctl_link_free(&w.link);
    text_fini(&w.banner);
    text_fini(&bad);
    mem_free(w.args);
    if (fflush(stdout) != 0 && status == EX_OK)
        status = EX_IOERR;
    return status;
}
