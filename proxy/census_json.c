#include "census_json.h"

#include "base/json_out.h"
#include "login.h"
#include "relay.h"
#include "session.h"
#include "split.h"

const char *census_protocol(const struct sock_addr *a)
{
    return sock_addr_is_unix(a) ? "unix_stream" : sock_addr_is_v6(a) ? "tcpv6" : "tcpv4";
}

static void put_age(json_t *o, const struct worker *w, uint64_t since_ms)
{
    json_out_put_u64(o, "age_ms", loop_now_ms(w->loop) - since_ms);
}

static void put_peer(json_t *o, const struct sock_addr *a)
{
    char room[SOCK_ADDR_TEXT_MAX];
    json_out_put_str(o, "protocol", census_protocol(a));
    json_out_put_str(o, "source", sock_addr_text(a, room));
}

static void put_id(json_t *o, const char *name, const struct session *s)
{
    char id[SESSION_ID_MAX];
    json_out_put_str(o, name, session_id_text(s, id));
}

static json_t *upstreams_of(const struct session *s)
{
    const struct upstream *u;
    json_t *list = json_array();
    LIST_FOREACH (u, &s->upstreams, entry) {
        json_t *o = json_object();
        json_out_put_str(o, "server", u->server->conf->name);
        json_out_put_u64(o, "legs", u->leg_count);
        json_out_put_bool(o, "blocked", u->is_blocked);
        (void)json_array_append_new(list, o);
    }
    return list;
}

json_t *census_json_session(const struct session *s)
{
    json_t *o = json_object();
    put_id(o, "id", s);
    put_peer(o, &s->peer);
    json_out_put_str(o, "frontend", s->frontend->conf->name);
    json_out_put_str(o, "backend", s->backend->conf->name);
    json_out_put(o, "upstreams", upstreams_of(s));
    json_out_put_str(o, "state", amqp_hs_server_state_name(&s->hs));
    put_age(o, s->worker, s->started_ms);
    json_out_put_u64(o, "channels", s->channel_count);
    if (s->login != NULL)
        json_out_put(o, "user", json_out_text(login_user(s->login)));
    if (s->login != NULL && s->login->is_complete)
        json_out_put(o, "vhost", json_out_text(s->login->vhost));
    if (s->client != NULL) {
        struct stream_totals t = stream_totals(s->client);
        json_out_put_u64(o, "bytes_in", t.in_bytes);
        json_out_put_u64(o, "bytes_out", t.out_bytes);
    }
    return o;
}

json_t *census_json_leg(const struct session *s, const struct channel *c, const struct leg *leg)
{
    json_t *o = json_object();
    put_id(o, "session", s);
    json_out_put_u64(o, "channel", c->number);
    json_out_put_str(o, "backend", s->backend->conf->name);
    if (leg != NULL)
        json_out_put_str(o, "server", leg->upstream->server->conf->name);
    json_out_put_str(o, "state", channel_state_name(c));
    put_age(o, s->worker, c->opened_ms);
    if (c->asked != 0)
        json_out_put_str(o, "asked", amqp_method_name(c->asked));
    json_out_put_bool(o, "publishing", content_is_open(&c->publish));
    if (leg == NULL || leg->number == LEG_MAP_MAIN)
        json_out_put_u64(o, "astray", split_astray_count(c));
    return o;
}

json_t *census_json_relay(const struct relay *r)
{
    char id[SESSION_ID_MAX];
    struct text t = text_over(id, sizeof id);
    json_t *o = json_object();
    text_put(&t, "0x%llx", (unsigned long long)r->id);
    json_out_put_str(o, "id", id);
    put_peer(o, &r->peer);
    json_out_put_str(o, "frontend", r->frontend->conf->name);
    json_out_put_str(o, "backend", r->frontend->backend->conf->name);
    if (r->server != NULL)
        json_out_put_str(o, "server", r->server->conf->name);
    json_out_put_str(o, "state", r->is_open ? "RELAY" : "WAITING");
    put_age(o, r->worker, r->started_ms);
    return o;
}
