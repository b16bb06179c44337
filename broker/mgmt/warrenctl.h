/*
 * warrenctl: one run of the command line tool: what was asked for, and what commands need to answer
 * it. Commands are rows of tables (see warrenctl_command.h); how answers look is warrenctl_print's
 * matter, and how a node is reached warrenctl_link's.
 *
 * What rabbitmqctl 3.10 prints, and the code it exits with, is the specification.
 */
#ifndef WARREN_WARRENCTL_H
#define WARREN_WARRENCTL_H

#include "base/err.h"
#include "base/text.h"
#include "mgmt/warrenctl_command.h"

#include <jansson.h>
#include <sysexits.h>

#define WARRENCTL_TIMEOUT_S 60u

enum warrenctl_formatter {
    WARRENCTL_TABLE,
    WARRENCTL_JSON,
    WARRENCTL_CSV,
    WARRENCTL_PRETTY_TABLE,
    WARRENCTL_ERLANG,
};

struct warrenctl_answer;
struct warrenctl_link;

struct warrenctl {
    const char *program; /* as it was called */
    const struct warrenctl_table *const *tables;
    const struct warrenctl_command *command;
    const char **args; /* the command's */
    unsigned arg_count;
    const char *const *words; /* all that was given, for complaints */
    unsigned word_count;

    const char *node; /* as given, or the default */
    bool node_is_given;
    const char *vhost;
    bool vhost_is_given;
    const char *cookie;
    const char *cookie_file;
    uint64_t timeout_s; /* 0: none */
    bool timeout_is_given;
    bool quiet;
    bool silent;
    bool no_headers;
    bool offline;
    bool wants_help;
    enum warrenctl_formatter formatter;
    const char *given[WARRENCTL_OPTIONS_MAX]; /* the command's own options, NULL: not given; a
                                                 flag's is "" */

    struct text banner; /* to be said as soon as the node has answered */
    struct warrenctl_link *link;
    char node_name[256]; /* of the node that answers */
};

/* ---- what commands do ---- */

/* "Listing users ...": said unless -q, -s, or a formatter for programs. */
void warrenctl_banner(struct warrenctl *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
void warrenctl_say_banner(struct warrenctl *w);
bool warrenctl_is_chatty(const struct warrenctl *w);
/* As rabbitmqctl before 3.3 ended what it did; only where the tutorials for it show it. */
void warrenctl_say_done(const struct warrenctl *w);

/* The value of the command's option, or NULL. */
const char *warrenctl_option(const struct warrenctl *w, const char *name);

/* Ask the node; the arguments are taken. What it answered, or NULL: then *status is what to exit
 * with, and the reason has been printed. */
MUST_CHECK json_t *warrenctl_ask(struct warrenctl *w, const char *what, json_t *args, int *status);

/* The answer as it came; it is there, and the caller's, when the status is 0. */
MUST_CHECK int warrenctl_ask_raw(struct warrenctl *w, const char *what, json_t *args,
                                 struct warrenctl_answer *out);

/* A request to the management API. The answer is there, and the caller's, when the status is 0. */
MUST_CHECK int warrenctl_ask_api(struct warrenctl *w, const char *method, const char *path,
                                 struct slice body, struct warrenctl_answer *out);

/* The same for who wants nothing but that it is done. An exit status. */
int warrenctl_do(struct warrenctl *w, const char *what, json_t *args);

/* "Error:\n..." on standard error; returns the status. */
int warrenctl_fail(const struct warrenctl *w, int status, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* "Error (argument validation): ...", the arguments and the usage. */
int warrenctl_fail_usage(const struct warrenctl *w, int status, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* The value of an argument or an option as JSON, and the text as it is; false: it is none, and
 * *status is what to exit with. */
MUST_CHECK bool warrenctl_check_json(struct warrenctl *w, const char *text, int *status);

/* Is it UTF-8, as what is sent must be? */
bool warrenctl_is_text(const char *word);

/* Words joined by a separator, into `room`. */
void warrenctl_join(const char *const *words, unsigned count, const char *between,
                    struct text *out);

/* Is the application of the node that is connected stopped? An exit status; the complaint is
 * printed. */
int warrenctl_require_stopped(struct warrenctl *w);

/* Connected to the node, and its name known. An exit status, 0: yes. */
int warrenctl_connect(struct warrenctl *w);

/* Everything between the program's arguments and its exit status. */
int warrenctl_main(const struct warrenctl_table *const *tables, int argc, char **argv);

#endif
