/* help, version, autocomplete. */
#include "mgmt/warrenctl_help.h"

#include <stdlib.h>
#include <string.h>

#define COMMANDS_MAX 64u /* of one group */
#define BOLD(text)   "\033[1m" text "\033[0m"

static const char *const group_names[] = {
#define X(name, text) text,
    WARRENCTL_GROUPS(X)
#undef X
};

static int compare_names(const void *left, const void *right)
{
    const struct warrenctl_command *const *a = left;
    const struct warrenctl_command *const *b = right;
    return strcmp((*a)->name, (*b)->name);
}

static void print_group(const struct warrenctl *w, enum warrenctl_group group, FILE *to)
{
    const struct warrenctl_command *sorted[COMMANDS_MAX], *c;
    size_t count = 0;
    for (size_t i = 0; (c = warrenctl_command_at(w->tables, i)) != NULL; i++) {
        if (c->group == group && count < COMMANDS_MAX)
            sorted[count++] = c;
    }
    qsort(sorted, count, sizeof *sorted, compare_names);
    if (count != 0)
        fprintf(to, BOLD("%s") ":\n\n", group_names[group]);
    for (size_t i = 0; i < count; i++)
        fprintf(to, "   %-28s  %s\n", sorted[i]->name, sorted[i]->help);
    if (count != 0)
        fputc('\n', to);
}

void warrenctl_help_all(const struct warrenctl *w, FILE *to)
{
    fprintf(to,
            "\n" BOLD("Usage") "\n\n%s [--node <node>] [--timeout <timeout>] [--longnames] "
                               "[--quiet] <command> [<command options>]\n\n"
                               "Available commands:\n\n",
            w->program);
    for (unsigned g = 0; g < ARRAY_COUNT(group_names); g++)
        print_group(w, (enum warrenctl_group)g, to);
    fprintf(to, "Use '%s help <command>' to learn more about a specific command\n", w->program);
}

void warrenctl_help_usage(const struct warrenctl *w, const struct warrenctl_command *c, FILE *to)
{
    fprintf(to, "\n" BOLD("Usage") "\n\n%s [--node <node>] [--longnames] [--quiet] %s%s%s\n",
            w->program, c->name, c->usage[0] != '\0' ? " " : "", c->usage);
}

static const char general_help[] = "\n" BOLD(
    "General Options") "\n"
                       "\n"
                       "The following options are accepted by most or all commands.\n"
                       "\n"
                       "short            | long          | description\n"
                       "-----------------|---------------|--------------------------------\n"
                       "-?               | --help        | displays command help\n"
                       "-n <node>        | --node <node> | connect to node <node>: name, "
                       "name@host,\n"
                       "                 |               | name@host:port or host:port\n"
                       "-l               | --longnames   | accepted, and without a meaning\n"
                       "-t               | --timeout <n> | for commands that support it, operation "
                       "timeout in seconds\n"
                       "-q               | --quiet       | suppress informational messages\n"
                       "-s               | --silent      | suppress informational messages\n"
                       "                                 | and table header row\n"
                       "-p               | --vhost       | for commands that are scoped to a "
                       "virtual host,\n"
                       "                 |               | virtual host to use\n"
                       "                 | --formatter   | alternative result formatter to use\n"
                       "                                 | if supported: json, pretty_table, "
                       "table, csv\n"
                       "                 | --cookie-file | the node's cookie, when it is reached "
                       "over TCP\n";

static void print_command(const struct warrenctl *w, const struct warrenctl_command *c)
{
    warrenctl_help_usage(w, c, stdout);
    printf("\n%s\n\n", c->help);
    if (c->details != NULL)
        printf("\n" BOLD("Arguments and Options") "\n\n%s\n", c->details);
    fputs(general_help, stdout);
}

/* ---- likeness ---- */

#define WORD_MAX 64u

/* Letters to change, leave out or put in (Levenshtein). */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[WORD_MAX + 1];
    size_t la = strlen(a), lb = strlen(b);
    if (la > WORD_MAX || lb > WORD_MAX)
        return WORD_MAX;
    for (unsigned j = 0; j <= lb; j++)
        row[j] = j;
    for (unsigned i = 1; i <= la; i++) {
        unsigned corner = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= lb; j++) {
            unsigned above = row[j];
            unsigned best = corner + (a[i - 1] != b[j - 1]);
            best = above + 1 < best ? above + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            corner = above;
            row[j] = best;
        }
    }
    return row[lb];
}

const char *warrenctl_help_likely(const struct warrenctl *w, const char *word)
{
    const char *best = NULL;
    unsigned least = (unsigned)strlen(word) / 2 + 1;
    const struct warrenctl_command *c;
    for (size_t i = 0; (c = warrenctl_command_at(w->tables, i)) != NULL; i++) {
        unsigned d = distance(word, c->name);
        if (d < least) {
            least = d;
            best = c->name;
        }
    }
    return best;
}

/* ---- the commands ---- */

static int help(struct warrenctl *w)
{
    if (w->arg_count == 0) {
        warrenctl_help_all(w, stdout);
        return EX_OK;
    }
    const struct warrenctl_command *c = warrenctl_command_find(w->tables, w->args[0]);
    if (c == NULL) {
        fprintf(stderr, "\nCommand '%s' not found. \n", w->args[0]);
        return EX_USAGE;
    }
    print_command(w, c);
    return EX_OK;
}

static int version(struct warrenctl *w)
{
    (void)w;
    puts(WARREN_VERSION);
    return EX_OK;
}

/* The first name behind `last` that begins so; NULL: there is none. */
static const char *next_name(const struct warrenctl *w, const char *prefix, const char *last)
{
    const struct warrenctl_command *c;
    const char *next = NULL;
    for (size_t i = 0; (c = warrenctl_command_at(w->tables, i)) != NULL; i++)
        if (strncmp(c->name, prefix, strlen(prefix)) == 0 && strcmp(c->name, last) > 0 &&
            (next == NULL || strcmp(c->name, next) < 0))
            next = c->name;
    return next;
}

/* In their own order, whatever tables they stand in. */
static int autocomplete(struct warrenctl *w)
{
    for (const char *name = ""; (name = next_name(w, w->args[0], name)) != NULL;)
        puts(name);
    return EX_OK;
}

static const struct warrenctl_command rows[] = {
    { .name = "autocomplete",
      .group = WARRENCTL_HELP,
      .least = 1,
      .most = 1,
      .usage = "[prefix]",
      .help = "Names the commands that begin so, for the shell",
      .flags = WARRENCTL_NO_NODE,
      .run = autocomplete },
    { .name = "help",
      .group = WARRENCTL_HELP,
      .most = 1,
      .usage = "<command>",
      .help = "Explains a command, or names them all",
      .flags = WARRENCTL_NO_NODE,
      .run = help },
    { .name = "version",
      .group = WARRENCTL_HELP,
      .usage = "",
      .help = "Shows the version of this program",
      .flags = WARRENCTL_NO_NODE,
      .run = version },
};

const struct warrenctl_table warrenctl_helps = { rows, ARRAY_COUNT(rows) };
