#include "admin.h"

#include "admin_run.h"
#include "base/check.h"
#include "base/mem.h"
#include "io/stream.h"

#include <string.h>
#include <sys/queue.h>

#define CLIENTS_MAX 32u
#define ANSWER_MAX  ((size_t)32 * 1024 * 1024)
#define LINGER_MS   5000u
#define IDLE_MS     60000u /* for the next line */

struct admin_client {
    LIST_ENTRY(admin_client) entry;
    struct admin *admin; /* NULL: it is closed, an answer is still awaited */
    struct stream *stream;
    struct loop_timer timer;
    struct slice rest; /* of the line being worked on; points into `line` */
    bool has_line;
    bool has_prompt;
    bool is_waiting; /* for an answer from the workers */
    bool is_ended;   /* nothing more comes from it */
    bool quits;
    uint8_t line[ADMIN_LINE_MAX];
};

LIST_HEAD(admin_clients, admin_client);

struct admin {
    const struct view *view;
    struct listener *listener;
    char *path;
    struct admin_clients clients;
    unsigned count;
};

static void work(struct admin_client *c);

/* ---- its end --------------------------------------------------------------------------------- */

static void hang_up(struct admin_client *c)
{
    struct loop *loop = c->admin->view->loop;
    stream_finish(&c->stream, LINGER_MS);
    LIST_REMOVE(c, entry);
    c->admin->count--;
    c->admin = NULL;
    loop_timer_fini(&c->timer);
    if (!c->is_waiting)
        loop_bury(loop, c, mem_free);
}

static void on_idle(void *arg)
{
    struct admin_client *c = arg;
    if (!c->is_waiting)
        hang_up(c);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void write_all(struct admin_client *c, struct slice s)
{
    while (s.len != 0) {
        struct slice part = slice_head(s, STREAM_RESERVE_MAX);
        stream_write(c->stream, part);
        s = slice_from(s, part.len);
    }
}

static void answer(struct admin_client *c, const struct text *text)
{
    write_all(c, text_view(text));
    stream_write(c->stream, slice_str(c->has_prompt ? "\n> " : "\n"));
}

static void on_done(const struct text *text, void *arg)
{
    struct admin_client *c = arg;
    c->is_waiting = false;
    if (c->admin == NULL) {
        mem_free(c); /* it hung up meanwhile */
        return;
    }
    answer(c, text);
    work(c);
}

/* One command of the line. False to stop for now. */
static bool run_command(struct admin_client *c)
{
    struct admin_command command;
    struct text out;
    admin_line_cut(&c->rest, &command);
    text_init(&out, ANSWER_MAX);
    c->is_waiting = true; /* the answer may come later; else this is taken back */
    enum admin_verdict verdict = admin_run(c->admin->view, &command, &out, on_done, c);
    if (verdict != ADMIN_LATER)
        c->is_waiting = false;
    if (verdict == ADMIN_PROMPT)
        c->has_prompt = !c->has_prompt;
    if (verdict == ADMIN_QUIT)
        c->quits = true;
    else if (verdict != ADMIN_LATER)
        answer(c, &out);
    text_fini(&out);
    return verdict != ADMIN_LATER && verdict != ADMIN_QUIT;
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* The next line into `line`; false when there is none yet, or it is too long. */
static bool take_line(struct admin_client *c)
{
    struct slice in = stream_peek(c->stream);
    const uint8_t *end = in.len != 0 ? memchr(in.ptr, '\n', in.len) : NULL;
    size_t len = end != NULL ? (size_t)(end - in.ptr) : in.len;
    if (len > ADMIN_LINE_MAX) {
        stream_write(c->stream, slice_str("The line is too long.\n"));
        c->quits = true;
        return false;
    }
    if (end == NULL)
        return false;
    memcpy(c->line, in.ptr, len);
    c->rest = slice_of(c->line, len);
    c->has_line = true;
    stream_consume(c->stream, len + 1);
    return true;
}

/* The commands of the line that are left. A fresh line has at least one, be it an empty one. */
static void run_line(struct admin_client *c, bool fresh)
{
    bool go_on = fresh || c->rest.len != 0;
    while (go_on)
        go_on = run_command(c) && c->rest.len != 0;
}

static void work(struct admin_client *c)
{
    loop_timer_start(&c->timer, IDLE_MS);
    while (!c->is_waiting && !c->quits) {
        bool fresh = !c->has_line;
        if (fresh && !take_line(c)) {
            c->quits |= c->is_ended;
            break;
        }
        run_line(c, fresh);
        if (c->is_waiting)
            return; /* the rest of the line comes behind the answer */
        c->has_line = false;
        c->quits |= !c->has_prompt;
    }
    if (c->quits)
        hang_up(c);
}

static void on_data(struct stream *s, void *arg)
{
    (void)s;
    struct admin_client *c = arg;
    if (!c->is_waiting)
        work(c);
}

static void on_closed(struct stream *s, const struct err *why, void *arg)
{
    (void)s;
    (void)why;
    hang_up(arg);
}

/* It asks no more, but waits for the answers: `echo show stat | socat ...` does. */
static void on_end(struct stream *s, void *arg)
{
    (void)s;
    struct admin_client *c = arg;
    c->is_ended = true;
    if (!c->is_waiting)
        work(c);
}

static const struct stream_handlers handlers = { NULL, on_data, NULL, on_closed };

static void on_accept(int fd, const struct sock_addr *peer, void *arg)
{
    (void)peer;
    struct admin *a = arg;
    if (a->count == CLIENTS_MAX) {
        sock_close(fd);
        return;
    }
    struct admin_client *c = mem_zalloc(sizeof *c);
    c->admin = a;
    c->stream = stream_new(a->view->loop, fd, &handlers, c);
    stream_on_end(c->stream, on_end);
    loop_timer_init(&c->timer, a->view->loop, on_idle, c);
    loop_timer_start(&c->timer, IDLE_MS);
    LIST_INSERT_HEAD(&a->clients, c, entry);
    a->count++;
}

/* ---- life ------------------------------------------------------------------------------------ */

struct admin *admin_open(const struct view *v, const char *path, unsigned mode, struct err *err)
{
    struct sock_addr at;
    struct listener_options o = { .unix_mode = mode, .inherited = v->process->inherited };
    if (!sock_addr_unix(path, &at)) {
        err_set(err, ERR_CONFIG, "stats-socket: the path %s is too long", path);
        return NULL;
    }
    struct admin *a = mem_zalloc(sizeof *a);
    a->view = v;
    LIST_INIT(&a->clients);
    a->listener = listener_new(v->loop, &at, &o, on_accept, a, err);
    if (a->listener == NULL) {
        err_context(err, "stats-socket");
        mem_free(a);
        return NULL;
    }
    a->path = mem_strdup(path);
    return a;
}

void admin_close(struct admin **admin)
{
    struct admin *a = *admin;
    *admin = NULL;
    if (a == NULL)
        return;
    while (!LIST_EMPTY(&a->clients))
        hang_up(LIST_FIRST(&a->clients));
    listener_free(&a->listener);
    mem_free(a->path);
    mem_free(a);
}

struct listener *admin_listener(struct admin *a)
{
    return a->listener;
}

const char *admin_path(const struct admin *a)
{
    return a->path;
}
