#include "mgmt/ctl_peers.h"

#include "base/mem.h"
#include "mgmt/mgmt_http.h"

/* A command may wait for a group of the metadata, or for many clients. */
#define COMMAND_TIMEOUT_MS 30000u

bool ctl_is_local(const struct http_request *r)
{
    return http_request_header(r, "Warren-Local") != NULL;
}

struct asking {
    char path[64];
    char *body;
    struct mgmt_peer_question question;
};

static void asking_begin(struct asking *a, const char *command, const json_t *args)
{
    struct text t = text_over(a->path, sizeof a->path);
    text_put(&t, "/ctl/%s", command);
    a->body = json_dumps(args, JSON_COMPACT);
    a->question = (struct mgmt_peer_question){ .method = "POST",
                                               .path = text_view(&t),
                                               .type = "application/json",
                                               .body = slice_str(a->body),
                                               .timeout_ms = COMMAND_TIMEOUT_MS };
}

static void on_forwarded(uint16_t node, const struct http_answer *a, const struct err *why,
                         void *arg)
{
    struct http_request *r = arg;
    (void)node;
    if (a != NULL)
        http_reply(r, a->status, "application/json", text_view(&a->body));
    else
        ctl_refuse(r, "refused", why->text);
}

void ctl_forward(struct ctl *c, struct http_request *r, uint16_t node, const char *command,
                 const json_t *args)
{
    struct asking a;
    asking_begin(&a, command, args);
    mgmt_peers_ask(mgmt_http_peers(c->mgmt), node, &a.question, on_forwarded, r);
    mem_free(a.body);
}

void ctl_round(struct ctl *c, const char *command, const json_t *args, mgmt_round_fn fn, void *arg)
{
    struct asking a;
    asking_begin(&a, command, args);
    mgmt_round(mgmt_http_peers(c->mgmt), c->loop, &a.question, fn, arg);
    mem_free(a.body);
}

void ctl_round_of(struct ctl *c, const uint16_t *nodes, size_t count, const char *command,
                  const json_t *args, mgmt_round_fn fn, void *arg)
{
    struct asking a;
    asking_begin(&a, command, args);
    mgmt_round_of(mgmt_http_peers(c->mgmt), c->loop, nodes, count, &a.question, fn, arg);
    mem_free(a.body);
}
