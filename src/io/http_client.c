#include "io/http_client.h"

#include "base/check.h"
#include "base/mem.h"

#include <sys/queue.h>

struct question {
    STAILQ_ENTRY(question) entry;
    struct text octets; /* as they are sent */
    size_t answer_max;
    uint64_t timeout_ms;
    http_client_fn done;
    void *arg;
};

struct http_client {
    struct loop *loop;
    struct stream *stream; /* NULL: broken */
    struct loop_timer timer;
    struct loop_task go_on;
    STAILQ_HEAD(, question) waiting; /* the first one was sent if `is_asked` */
    unsigned waiting_count;
    bool is_asked;
    struct http_answer answer;
    struct err broken;
};

static void free_question(struct question *q)
{
    text_fini(&q->octets);
    mem_free(q);
}

static struct question *take_first(struct http_client *c)
{
    struct question *q = STAILQ_FIRST(&c->waiting);
    STAILQ_REMOVE_HEAD(&c->waiting, entry);
    c->waiting_count--;
    return q;
}

/* ---- asking ---- */

static void send_next(struct http_client *c)
{
    struct question *q = STAILQ_FIRST(&c->waiting);
    if (q == NULL || c->is_asked || c->stream == NULL)
        return;
    c->is_asked = true;
    http_answer_init(&c->answer, q->answer_max);
    stream_write(c->stream, text_view(&q->octets));
    loop_timer_start(&c->timer, q->timeout_ms);
}

/* The first one is over. The client may be gone afterwards. */
static void answer_first(struct http_client *c, const struct err *why)
{
    struct question *q = take_first(c);
    struct http_answer answer = c->answer;
    bool was_asked = c->is_asked;
    c->is_asked = false;
    loop_timer_stop(&c->timer);
    loop_again(c->loop, &c->go_on);
    q->done(why == NULL ? &answer : NULL, why, q->arg);
    if (was_asked)
        http_answer_fini(&answer);
    free_question(q);
}

/* One a turn, for each of them may free the client. */
static void on_go_on(void *arg)
{
    struct http_client *c = arg;
    if (c->stream != NULL)
        send_next(c);
    else if (!STAILQ_EMPTY(&c->waiting))
        answer_first(c, &c->broken);
}

static void break_off(struct http_client *c, const struct err *why)
{
    c->broken = *why;
    stream_free(&c->stream);
    loop_timer_stop(&c->timer);
    loop_again(c->loop, &c->go_on);
}

static void on_data(struct stream *s, void *arg)
{
    struct http_client *c = arg;
    struct err err;
    if (!c->is_asked) {
        err_set(&err, ERR_PROTOCOL, "it answers what was not asked");
        break_off(c, &err);
        return;
    }
    size_t taken;
    enum http_answer_step step =
        http_answer_take(&c->answer, stream_peek(s), &taken, NULL, NULL, &err);
    stream_consume(s, taken);
    if (step == HTTP_ANSWER_DONE)
        answer_first(c, NULL);
    else if (step == HTTP_ANSWER_BAD)
        break_off(c, &err);
}

static void on_closed(struct stream *s, const struct err *why, void *arg)
{
    struct http_client *c = arg;
    (void)s;
    struct err err;
    err_set(&err, ERR_IO, "it hung up");
    break_off(c, why != NULL ? why : &err);
    if (why == NULL && c->is_asked && http_answer_ends_there(&c->answer))
        answer_first(c, NULL);
}

static void on_timer(void *arg)
{
    struct err err;
    err_set(&err, ERR_LIMIT, "it did not answer in time");
    break_off(arg, &err);
}

static const struct stream_handlers handlers = { .on_data = on_data, .on_closed = on_closed };

/* ---- its life ---- */

struct http_client *http_client_new(struct loop *loop, struct stream **stream)
{
    struct http_client *c = mem_zalloc(sizeof *c);
    c->loop = loop;
    c->stream = *stream;
    *stream = NULL;
    STAILQ_INIT(&c->waiting);
    loop_timer_init(&c->timer, loop, on_timer, c);
    loop_task_init(&c->go_on, on_go_on, c);
    stream_hand_over(c->stream, &handlers, c);
    return c;
}

bool http_client_ask(struct http_client *c, const struct http_question *ask)
{
    if (c->stream == NULL || c->waiting_count == HTTP_CLIENT_WAITING_MAX)
        return false;
    struct question *q = mem_zalloc(sizeof *q);
    text_init(&q->octets, SIZE_MAX / 2);
    text_put(&q->octets, "%s %.*s HTTP/1.1\r\nHost: warren\r\n", ask->method, SLICE_ARG(ask->path));
    if (ask->fields != NULL)
        text_str(&q->octets, ask->fields);
    if (ask->type != NULL)
        text_put(&q->octets, "Content-Type: %s\r\n", ask->type);
    text_put(&q->octets, "Content-Length: %zu\r\n\r\n", ask->type != NULL ? ask->body.len : 0);
    if (ask->type != NULL)
        text_slice(&q->octets, ask->body);
    q->answer_max = ask->answer_max;
    q->timeout_ms = ask->timeout_ms;
    q->done = ask->done;
    q->arg = ask->arg;
    STAILQ_INSERT_TAIL(&c->waiting, q, entry);
    c->waiting_count++;
    loop_again(c->loop, &c->go_on);
    return true;
}

bool http_client_is_broken(const struct http_client *c)
{
    return c->stream == NULL;
}

unsigned http_client_waiting(const struct http_client *c)
{
    return c->waiting_count;
}

void http_client_free(struct http_client **client)
{
    struct http_client *c = *client;
    *client = NULL;
    if (c == NULL)
        return;
    stream_free(&c->stream);
    loop_timer_fini(&c->timer);
    loop_task_cancel(c->loop, &c->go_on);
    struct err err;
    err_set(&err, ERR_IO, "it is given up");
    if (c->is_asked)
        http_answer_fini(&c->answer);
    while (c->waiting_count != 0) {
        struct question *q = take_first(c);
        q->done(NULL, &err, q->arg);
        free_question(q);
    }
    loop_bury(c->loop, c, mem_free);
}
