#include "inquiry.h"

#include "base/check.h"
#include "base/mem.h"
#include "link/link_call.h"

#include <string.h>

#define REACH_MS  3000u
#define ANSWER_MS 10000u

struct inquiry {
    struct loop *loop;
    struct link_node *node;
    struct inquiry_place places[INQUIRY_PLACES_MAX];
    size_t count, next;
    struct text path;
    inquiry_fn fn;
    void *arg;
    struct inquiry **self;
    struct link_call *call;     /* while a broker is being reached */
    struct http_client *client; /* from then on */
    bool is_over;
};

/* The client tells of what is asked of it when it goes, too. */
static void end(struct inquiry *q, const struct http_answer *answer, const struct err *why)
{
    if (q->is_over)
        return;
    q->is_over = true;
    *q->self = NULL;
    q->fn(answer, why, q->arg);
    link_call_free(&q->call);
    http_client_free(&q->client);
    text_fini(&q->path);
    mem_free(q);
}

static void on_answer(const struct http_answer *answer, const struct err *why, void *arg)
{
    end(arg, answer, why);
}

static void on_stream(struct stream **s, const struct link_peer *peer, void *arg)
{
    struct inquiry *q = arg;
    (void)peer;
    q->call = NULL;
    q->client = http_client_new(q->loop, s);
    const struct http_question ask = { .method = "GET",
                                       .path = text_view(&q->path),
                                       .answer_max = INQUIRY_ANSWER_MAX,
                                       .timeout_ms = ANSWER_MS,
                                       .done = on_answer,
                                       .arg = q };
    if (!http_client_ask(q->client, &ask))
        UNREACHABLE("a connection that is there takes one question");
}

static void reach(struct inquiry *q);

static void on_failed(enum link_trouble what, enum link_refusal refusal, const struct err *why,
                      void *arg)
{
    struct inquiry *q = arg;
    (void)what;
    (void)refusal;
    q->call = NULL;
    if (q->next < q->count)
        reach(q);
    else
        end(q, NULL, why);
}

static void reach(struct inquiry *q)
{
    static const struct link_call_handlers handlers = { on_stream, on_failed };
    const struct inquiry_place *p = &q->places[q->next++];
    const struct link_options o = { .class = LINK_CTL, .host = p->host, .port = p->port };
    q->call = link_call(q->loop, q->node, &o, REACH_MS, &handlers, q);
}

void inquiry_start(struct loop *loop, struct link_node *node, const struct inquiry_place *places,
                   size_t count, struct slice path, inquiry_fn fn, void *arg, struct inquiry **self)
{
    struct inquiry *q = mem_zalloc(sizeof *q);
    CHECK(count != 0 && count <= INQUIRY_PLACES_MAX);
    q->loop = loop;
    q->node = node;
    memcpy(q->places, places, count * sizeof *places);
    q->count = count;
    text_init(&q->path, path.len + 1);
    text_slice(&q->path, path);
    q->fn = fn;
    q->arg = arg;
    q->self = self;
    *self = q;
    reach(q);
}

void inquiry_free(struct inquiry **q)
{
    struct err why;
    if (*q == NULL)
        return;
    err_set(&why, ERR_IO, "the proxy ends");
    end(*q, NULL, &why);
}
