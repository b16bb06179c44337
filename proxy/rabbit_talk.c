#include "rabbit_talk.h"

#include "base/check.h"
#include "base/mem.h"
#include "io/http_client.h"
#include "io/resolve.h"

#define PATH_MAX_BYTES 512u

/*
 *   RESTING -- ask --> LOOKING_UP --> CONNECTING --> ASKING -- answer --> RESTING
 *      |                                               |
 *      +----- ask, over the connection that is there --+
 */
struct rabbit_talk {
    struct loop *loop;
    void *arg;
    const struct rabbit_conf *conf;
    struct tls_ctx *tls; /* a reference; NULL: none */
    unsigned at;         /* of the URLs */
    struct resolve *resolve;
    struct resolve_answer addresses;
    unsigned address;           /* of those: being tried */
    struct stream *stream;      /* being connected */
    struct loop_timer patience; /* for all that comes before the question */
    struct http_client *client; /* NULL: no connection */
    bool is_used;               /* the connection has answered before */
    rabbit_talk_fn fn;          /* NULL: nothing is asked */
    char path[PATH_MAX_BYTES];
    size_t answer_max;
};

static const struct rabbit_url *url_of(const struct rabbit_talk *t)
{
    return &t->conf->urls[t->at];
}

static void hang_up(struct rabbit_talk *t)
{
    resolve_cancel(&t->resolve);
    stream_free(&t->stream);
    loop_timer_stop(&t->patience);
    http_client_free(&t->client);
    t->is_used = false;
}

/* The question is over; what is told may be the next one. */
static void answer(struct rabbit_talk *t, struct slice body, const struct err *why)
{
    rabbit_talk_fn fn = t->fn;
    t->fn = NULL;
    if (why != NULL)
        hang_up(t);
    fn(body, why, t->arg);
}

static void fail(struct rabbit_talk *t, const struct err *why)
{
    struct err copy = *why; /* it may be of what is freed now */
    answer(t, slice_of(NULL, 0), &copy);
}

/* ---- the question ----------------------------------------------------------------------------
 */

/* What a status says to somebody who asks for a list. */
static void judge_status(const struct rabbit_talk *t, int status, struct err *err)
{
    if (status == 401 || status == 403)
        err_set(err, ERR_REFUSED,
                "user %s is refused (%d): wrong password, or without the tag monitoring",
                url_of(t)->user, status);
    else if (status == 404)
        err_set(err, ERR_NOT_FOUND, "no management API is there (404)");
    else
        err_set(err, ERR_PROTOCOL, "the answer's status is %d", status);
}

static void connect_anew(struct rabbit_talk *t);

static void on_answer(const struct http_answer *a, const struct err *why, void *arg)
{
    struct rabbit_talk *t = arg;
    struct err err;
    if (t->fn == NULL)
        return; /* nobody waits: we hang up */
    if (a == NULL && t->is_used && why->code == ERR_IO) {
        hang_up(t); /* it had gone while nothing was asked */
        connect_anew(t);
        return;
    }
    t->is_used = true;
    if (a != NULL && a->status != 200)
        judge_status(t, a->status, &err);
    if (a != NULL && a->status == 200)
        answer(t, text_view(&a->body), NULL);
    else
        fail(t, a == NULL ? why : &err);
}

static void send(struct rabbit_talk *t)
{
    char path[PATH_MAX_BYTES * 2];
    struct text p = text_over(path, sizeof path);
    text_put(&p, "%s/api/%s", url_of(t)->path, t->path);
    const struct http_question q = {
        .method = "GET",
        .path = text_view(&p),
        .fields = url_of(t)->fields,
        .answer_max = t->answer_max,
        .timeout_ms = t->conf->timeout_ms,
        .done = on_answer,
        .arg = t,
    };
    if (!http_client_ask(t->client, &q))
        UNREACHABLE("a connection that is there takes one question");
}

/* ---- the way there ---------------------------------------------------------------------------
 */

static void on_open(struct stream *s, void *arg)
{
    struct rabbit_talk *t = arg;
    (void)s;
    loop_timer_stop(&t->patience);
    t->client = http_client_new(t->loop, &t->stream);
    send(t);
}

static void on_data(struct stream *s, void *arg)
{
    (void)s; /* a server that speaks first is judged by whoever asks it */
    (void)arg;
}

static void try_address(struct rabbit_talk *t);

static void on_closed(struct stream *s, const struct err *why, void *arg)
{
    struct rabbit_talk *t = arg;
    struct err err;
    (void)s;
    err_set(&err, ERR_IO, "it hung up");
    if (why != NULL)
        err = *why;
    stream_free(&t->stream);
    if (++t->address < t->addresses.count)
        try_address(t);
    else
        fail(t, &err);
}

static const struct stream_handlers handlers = { on_open, on_data, NULL, on_closed };

static void try_address(struct rabbit_talk *t)
{
    t->stream =
        stream_connect(t->loop, &t->addresses.addrs[t->address], t->conf->timeout_ms, &handlers, t);
    if (url_of(t)->is_tls)
        stream_start_tls_client(t->stream, t->tls, url_of(t)->host);
}

static void on_resolved(const struct resolve_answer *a, const struct err *why, void *arg)
{
    struct rabbit_talk *t = arg;
    t->resolve = NULL;
    if (a->count == 0) {
        fail(t, why);
        return;
    }
    t->addresses = *a;
    t->address = 0;
    try_address(t);
}

static void on_patience(void *arg)
{
    struct err err;
    err_set(&err, ERR_LIMIT, "it cannot be reached in time");
    fail(arg, &err);
}

static void connect_anew(struct rabbit_talk *t)
{
    loop_timer_start(&t->patience, t->conf->timeout_ms);
    t->resolve = resolve_start(t->loop, url_of(t)->host, url_of(t)->port, on_resolved, t);
}

void rabbit_talk_ask(struct rabbit_talk *t, const char *path, size_t answer_max, rabbit_talk_fn fn)
{
    struct text p = text_over(t->path, sizeof t->path);
    CHECK(t->fn == NULL && t->conf != NULL);
    text_str(&p, path);
    CHECK(!p.cut);
    t->fn = fn;
    t->answer_max = answer_max;
    if (t->client != NULL && !http_client_is_broken(t->client)) {
        send(t);
        return;
    }
    hang_up(t);
    connect_anew(t);
}

/* ---- life ------------------------------------------------------------------------------------
 */

bool rabbit_talk_is_asking(const struct rabbit_talk *t)
{
    return t->fn != NULL;
}

void rabbit_talk_go_on(struct rabbit_talk *t)
{
    CHECK(t->fn == NULL);
    hang_up(t);
    t->at = (t->at + 1) % t->conf->url_count;
}

const char *rabbit_talk_place(const struct rabbit_talk *t)
{
    return url_of(t)->shown;
}

void rabbit_talk_follow(struct rabbit_talk *t, const struct rabbit_conf *conf, struct tls_ctx *tls)
{
    CHECK(conf->url_count != 0);
    tls_ctx_unref(&t->tls);
    t->tls = tls != NULL ? tls_ctx_ref(tls) : NULL;
    t->conf = conf;
    t->at = t->at < conf->url_count ? t->at : 0;
}

struct rabbit_talk *rabbit_talk_new(struct loop *loop, void *arg)
{
    struct rabbit_talk *t = mem_zalloc(sizeof *t);
    t->loop = loop;
    t->arg = arg;
    loop_timer_init(&t->patience, loop, on_patience, t);
    return t;
}

void rabbit_talk_free(struct rabbit_talk **tp)
{
    struct rabbit_talk *t = *tp;
    *tp = NULL;
    if (t == NULL)
        return;
    t->fn = NULL;
    hang_up(t);
    loop_timer_fini(&t->patience);
    tls_ctx_unref(&t->tls);
    mem_free(t);
}
