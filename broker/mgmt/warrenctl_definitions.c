/* export_definitions and import_definitions: RabbitMQ's JSON, as the management API has it. */
#include "base/mem.h"
#include "io/file.h"
#include "mgmt/warrenctl_link.h"
#include "mgmt/warrenctl_print.h"

#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATH_DEFINITIONS "/api/definitions"
#define DEFINITIONS_MAX  ((size_t)1024 * 1024 * 1024)
#define DEFINITIONS_MODE 0600 /* there are password hashes in it */

static bool is_stream(const struct warrenctl *w)
{
    return w->arg_count == 0 || strcmp(w->args[0], "-") == 0;
}

/* 0 when it is JSON that is wanted. */
static int check_format(const struct warrenctl *w)
{
    const char *format = warrenctl_option(w, "format");
    if (format == NULL || strcasecmp(format, "json") == 0)
        return EX_OK;
    return warrenctl_fail_usage(
        w, EX_DATAERR, "Bad argument: %s: definitions are read and written in JSON alone", format);
}

/* ---- out ---- */

static bool has_folder(const char *path)
{
    char *copy = mem_strdup(path);
    bool there = access(dirname(copy), F_OK) == 0;
    mem_free(copy);
    return there;
}

static int complain_of_folder(const struct warrenctl *w)
{
    char *copy = mem_strdup(w->args[0]);
    int status = warrenctl_fail_usage(w, EX_DATAERR, "Bad argument: Directory %s does not exist",
                                      dirname(copy));
    mem_free(copy);
    return status;
}

static int keep(const struct warrenctl *w, const struct text *body)
{
    struct err err;
    if (is_stream(w)) {
        fwrite(body->ptr, 1, body->len, stdout);
        return EX_OK;
    }
    if (file_write(w->args[0], text_view(body), DEFINITIONS_MODE, &err))
        return EX_OK;
    return warrenctl_fail(w, EX_CANTCREAT, "%s", err.text);
}

static int export_definitions(struct warrenctl *w)
{
    struct warrenctl_answer a;
    int status = check_format(w);
    if (status != EX_OK)
        return status;
    if (!is_stream(w) && !has_folder(w->args[0]))
        return complain_of_folder(w);
    if (!is_stream(w))
        warrenctl_banner(w, "Exporting definitions in JSON to a file at \"%s\" ...", w->args[0]);
    status = warrenctl_ask_api(w, "GET", PATH_DEFINITIONS, slice_str(""), &a);
    if (status != EX_OK)
        return status;
    status = keep(w, &a.body);
    text_fini(&a.body);
    return status;
}

/* ---- in ---- */

static bool read_all(FILE *from, struct text *out)
{
    char block[65536];
    size_t n;
    while ((n = fread(block, 1, sizeof block, from)) != 0)
        text_slice(out, slice_of(block, n));
    return !out->cut && !ferror(from);
}

/* The document's text; false: *status says what to exit with. */
static bool read_document(const struct warrenctl *w, struct text *out, int *status)
{
    FILE *from = is_stream(w) ? stdin : fopen(w->args[0], "r");
    bool ok = from != NULL && read_all(from, out);
    if (from != NULL && from != stdin)
        fclose(from);
    if (!ok)
        *status = warrenctl_fail(w, EX_NOINPUT, "%s cannot be read",
                                 is_stream(w) ? "standard input" : w->args[0]);
    return ok;
}

static int send_document(struct warrenctl *w, const struct text *document)
{
    json_error_t why;
    json_t *o = json_loadb(document->ptr, document->len, 0, &why);
    if (o == NULL) {
        warrenctl_say_banner(w);
        return warrenctl_fail(w, EX_DATAERR,
                              "Failed to deserialise input (format: JSON) (error: line %d: %s)",
                              why.line, why.text);
    }
    json_decref(o);
    struct warrenctl_answer a;
    int status = warrenctl_ask_api(w, "POST", PATH_DEFINITIONS, text_view(document), &a);
    if (status == EX_OK)
        text_fini(&a.body);
    return status;
}

static int import_definitions(struct warrenctl *w)
{
    int status = check_format(w);
    if (status != EX_OK)
        return status;
    if (!is_stream(w) && access(w->args[0], F_OK) != 0)
        return warrenctl_fail_usage(w, EX_DATAERR, "Bad argument: File %s does not exist",
                                    w->args[0]);
    if (is_stream(w))
        warrenctl_banner(w, "Importing definitions in JSON from standard input ...");
    else
        warrenctl_banner(w, "Importing definitions in JSON from a file at \"%s\" ...", w->args[0]);
    struct text document;
    text_init(&document, DEFINITIONS_MAX);
    if (read_document(w, &document, &status))
        status = send_document(w, &document);
    text_fini(&document);
    if (status == EX_OK && warrenctl_is_chatty(w))
        puts("Successfully started definition import. This process is asynchronous and can take "
             "some time.");
    return status;
}

static const struct warrenctl_command rows[] = {
    { .name = "export_definitions",
      .group = WARRENCTL_DEFINITIONS,
      .most = 1,
      .usage = "<file_path | \"-\"> [--format <json | erlang>] [--timeout <timeout>]",
      .help = "Writes users, virtual hosts, permissions, policies, exchanges, queues and bindings "
              "as JSON to a file, or to standard output",
      .options = { "format=" },
      .run = export_definitions },
    { .name = "import_definitions",
      .group = WARRENCTL_DEFINITIONS,
      .most = 1,
      .usage = "<file_path | \"-\"> [--format <json | erlang>] [--skip-if-unchanged] "
               "[--timeout <timeout>]",
      .help = "Reads what export_definitions wrote, here or on a RabbitMQ, from a file or "
              "standard input",
      .options = { "format=", "skip-if-unchanged" },
      .run = import_definitions },
};

const struct warrenctl_table warrenctl_definitions = { rows, ARRAY_COUNT(rows) };
