#include "mgmt/mgmt_http.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "client/auth.h"
#include "io/clock.h"
#include "io/mailbox.h"
#include "io/tls.h"
#include "listen.h"
#include "live.h"
#include "mgmt/mgmt_inner.h"
#include "mgmt/mgmt_peers.h"

#include <stdlib.h>
#include <string.h>

#define REQUEST_TIMEOUT_MS 30000u
#define BODY_MAX_BYTES     ((size_t)64 * 1024 * 1024) /* definitions of a large broker */
#define BODIES_MAX_BYTES   ((size_t)128 * 1024 * 1024)

const struct broker_conf *mgmt_conf(const struct mgmt_http *m)
{
    return broker_live(m->broker)->conf;
}

void mgmt_counts_read(const struct broker *b, struct mgmt_counts *out)
{
    *out = (struct mgmt_counts){ 0 };
    for (uint32_t i = 0; i < broker_shard_count(b); i++) {
        const struct shard *s = broker_shard(b, i);
#define X(name, help) out->name += shard_counter(s, name);
        SHARD_COUNTERS(X)
#undef X
    }
}

static void on_sample(void *arg)
{
    struct mgmt_http *m = arg;
    m->samples[0] = m->samples[1];
    m->samples[1].at_us = loop_now_us(m->loop);
    mgmt_counts_read(m->broker, &m->samples[1].counts);
    loop_timer_start(&m->sampler, MGMT_SAMPLE_MS);
}

/* ---- life ---- */

static bool add_server(struct mgmt_http *m, const struct conf_address *a, const char *key,
                       struct tls_ctx *tls, struct err *err)
{
    struct sock_addr at;
    if (!listen_address(a, key, &at, err))
        return false;
    struct http_server *s = http_server_new(m->loop, &at,
                                            &(struct http_options){
                                                .body_max_bytes = BODY_MAX_BYTES,
                                                .bodies_max_bytes = BODIES_MAX_BYTES,
                                                .timeout_ms = REQUEST_TIMEOUT_MS,
                                                .server_name = "Warren",
                                                .tls = tls,
                                            },
                                            err);
    if (s == NULL)
        return err_context(err, "[listen] %s", key);
    http_route(s, "/...", HTTP_ALLOW_ANY, mgmt_on_request, m);
    m->servers[m->server_count++] = s;
    char where[SOCK_ADDR_TEXT_MAX];
    log_info("listen", sock_addr_text(http_server_addr(s), where), "accepting HTTP%s, management",
             tls != NULL ? "S" : "");
    return true;
}

static bool add_servers(struct mgmt_http *m, struct err *err)
{
    const struct conf_addresses *plain = &mgmt_conf(m)->listen.management;
    const struct conf_addresses *secure = &mgmt_conf(m)->listen.management_tls;
    m->servers = mem_array(plain->count + secure->count + 1, sizeof(struct http_server *));
    for (size_t i = 0; i < plain->count; i++) {
        if (!add_server(m, &plain->items[i], "management", NULL, err))
            return false;
    }
    m->plain_count = m->server_count;
    m->has_tls = secure->count != 0;
    struct tls_ctx *tls = broker_live(m->broker)->tls;
    CHECK(tls != NULL || !m->has_tls);
    for (size_t i = 0; i < secure->count; i++) {
        if (!add_server(m, &secure->items[i], "management-tls", tls, err))
            return false;
    }
    return true;
}

struct mgmt_http *mgmt_http_new(struct broker *b, struct epoch *epoch, struct err *err)
{
    struct mgmt_http *m = mem_zalloc(sizeof *m);
    m->broker = b;
    m->started_ms = clock_wall_ms();
    json_set_alloc_funcs(mem_alloc, mem_free); /* jansson's own may fail */
    m->loop = loop_new("mgmt", err);
    if (m->loop == NULL)
        goto fail;
    loop_join_epoch(m->loop, epoch);
    m->auth = broker_auth_new(b, m->loop);
    m->peers = mgmt_peers_new(b, m->loop);
    m->rates = mgmt_rates_new();
    m->client_rates = mgmt_rates_new();
    loop_timer_init(&m->sampler, m->loop, on_sample, m);
    if (!add_servers(m, err))
        goto fail;
    return m;

fail:
    mgmt_http_free(&m);
    return NULL;
}

static void free_servers(struct mgmt_http *m)
{
    while (m->server_count != 0)
        http_server_free(&m->servers[--m->server_count]);
}

void mgmt_http_free(struct mgmt_http **mgmt)
{
    struct mgmt_http *m = *mgmt;
    if (m == NULL)
        return;
    *mgmt = NULL;
    CHECK(!m->running);
    auth_free(&m->auth); /* ends the calls that wait for it */
    CHECK(m->calls == 0);
    mgmt_peers_free(&m->peers);
    mgmt_rates_free(&m->rates);
    mgmt_rates_free(&m->client_rates);
    free_servers(m);
    if (m->loop != NULL) {
        loop_timer_fini(&m->sampler);
        loop_free(&m->loop);
    }
    mem_free(m->servers);
    mem_free(m);
}

struct mgmt_notice {
    struct mail mail;
    struct mgmt_http *m;
    struct tls_ctx *tls; /* of a reload */
};

static void on_begin(struct mail *mail)
{
    struct mgmt_notice *n = CONTAINER_OF(mail, struct mgmt_notice, mail);
    on_sample(n->m);
    mem_free(n);
}

static void on_shut(struct mail *mail)
{
    struct mgmt_notice *n = CONTAINER_OF(mail, struct mgmt_notice, mail);
    n->m->is_shut = true;
    free_servers(n->m);
    loop_timer_stop(&n->m->sampler);
    mem_free(n);
}

static void on_close(struct mail *mail)
{
    mgmt_peers_end(CONTAINER_OF(mail, struct mgmt_notice, mail)->m->peers);
    on_shut(mail);
}

static void on_reopen(struct mail *mail)
{
    struct mgmt_notice *n = CONTAINER_OF(mail, struct mgmt_notice, mail);
    struct mgmt_http *m = n->m;
    struct err err;
    mem_free(n);
    m->is_shut = false;
    if (m->server_count != 0)
        return;
    mem_free(m->servers);
    if (!add_servers(m, &err))
        log_error("mgmt", "-", "%s", err.text);
    on_sample(m);
}

static void tell(struct mgmt_http *m, mail_fn fn)
{
    struct mgmt_notice *n = mem_zalloc(sizeof *n);
    *n = (struct mgmt_notice){ { NULL, fn }, m, NULL };
    mailbox_post(m->loop, &n->mail);
}

static void on_tls(struct mail *mail)
{
    struct mgmt_notice *n = CONTAINER_OF(mail, struct mgmt_notice, mail);
    for (size_t i = n->m->plain_count; i < n->m->server_count; i++)
        http_server_set_tls(n->m->servers[i], n->tls);
    tls_ctx_unref(&n->tls);
    mem_free(n);
}

void mgmt_http_set_tls(struct mgmt_http *m, struct tls_ctx *tls)
{
    if (m == NULL || !m->has_tls)
        return;
    struct mgmt_notice *n = mem_zalloc(sizeof *n);
    *n = (struct mgmt_notice){ { NULL, on_tls }, m, tls_ctx_ref(tls) };
    mailbox_post(m->loop, &n->mail);
}

bool mgmt_http_start(struct mgmt_http *m, struct err *err)
{
    m->running = loop_start(m->loop, err);
    if (m->running)
        tell(m, on_begin);
    return m->running;
}

void mgmt_http_close(struct mgmt_http *m)
{
    if (m->running)
        tell(m, on_close);
}

void mgmt_http_shut(struct mgmt_http *m)
{
    if (m->running)
        tell(m, on_shut);
}

struct mgmt_peers *mgmt_http_peers(const struct mgmt_http *m)
{
    return m->peers;
}

void mgmt_http_reopen(struct mgmt_http *m)
{
    if (m->running)
        tell(m, on_reopen);
}

bool mgmt_http_is_running(const struct mgmt_http *m)
{
    return m->running;
}

void mgmt_http_stop(struct mgmt_http *m)
{
    if (!m->running)
        return;
    loop_stop(m->loop);
    loop_join(m->loop);
    m->running = false;
}

struct loop *mgmt_http_loop(const struct mgmt_http *m)
{
    return m->loop;
}
