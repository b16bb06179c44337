#include "census.h"

#include "base/check.h"
#include "base/mem.h"
#include "census_json.h"
#include "login.h"
#include "relay.h"
#include "session.h"
#include "split.h"

#define LIST_MAX ((size_t)16 * 1024 * 1024)

struct census {
    struct order order;
    enum census_form form;
    unsigned limit;
    unsigned count;
    unsigned left_out;
    struct text list;
    census_fn fn;
    json_t *rows; /* in place of the list, or NULL */
    census_json_fn rows_fn;
    void *arg;
};

/* ---- parts ----------------------------------------------------------------------------------- */

static uint64_t age_s(const struct worker *w, uint64_t since_ms)
{
    return (loop_now_ms(w->loop) - since_ms) / 1000;
}

static void put_user(struct text *out, const struct session *s)
{
    if (s->login == NULL)
        return;
    text_str(out, " user=");
    text_escaped(out, login_user(s->login));
    if (s->login->is_complete) {
        text_str(out, " vhost=");
        text_escaped(out, s->login->vhost);
    }
}

static void put_servers(struct text *out, const struct session *s)
{
    const struct upstream *u;
    const char *comma = "";
    LIST_FOREACH (u, &s->upstreams, entry) {
        text_put(out, "%s%s", comma, u->server->conf->name);
        comma = ",";
    }
    if (LIST_EMPTY(&s->upstreams))
        text_str(out, "<none>");
}

static void put_session(struct text *out, const struct session *s)
{
    char id[SESSION_ID_MAX];
    char peer[SOCK_ADDR_TEXT_MAX];
    text_put(out, "%s: proto=%s src=%s fe=%s be=%s srv=", session_id_text(s, id),
             census_protocol(&s->peer), sock_addr_text(&s->peer, peer), s->frontend->conf->name,
             s->backend->conf->name);
    put_servers(out, s);
    text_put(out, " state=%s age=%llus channels=%u", amqp_hs_server_state_name(&s->hs),
             (unsigned long long)age_s(s->worker, s->started_ms), s->channel_count);
    put_user(out, s);
    if (s->client != NULL) {
        struct stream_totals t = stream_totals(s->client);
        text_put(out, " in=%llu out=%llu", (unsigned long long)t.in_bytes,
                 (unsigned long long)t.out_bytes);
    }
    text_char(out, '\n');
}

static void put_leg(struct text *out, const struct session *s, const struct channel *c,
                    const struct leg *leg)
{
    char id[SESSION_ID_MAX];
    text_put(out, "%s channel=%u be=%s srv=%s state=%s age=%llus", session_id_text(s, id),
             c->number, s->backend->conf->name,
             leg != NULL ? leg->upstream->server->conf->name : "<none>", channel_state_name(c),
             (unsigned long long)age_s(s->worker, c->opened_ms));
    if (c->asked != 0)
        text_put(out, " asked=%s", amqp_method_name(c->asked));
    if (content_is_open(&c->publish))
        text_str(out, " publishing");
    if ((leg == NULL || leg->number == LEG_MAP_MAIN) && split_astray_count(c) != 0)
        text_put(out, " astray=%u", split_astray_count(c));
    text_char(out, '\n');
}

/* Legs as the page has them: "rabbit1 ×2, rabbit2". */
static void put_leg_counts(struct text *out, const struct session *s)
{
    const struct upstream *u;
    const char *comma = "";
    LIST_FOREACH (u, &s->upstreams, entry) {
        text_put(out, "%s%s", comma, u->server->conf->name);
        if (u->leg_count != 1)
            text_put(out, " &times;%u", u->leg_count);
        if (u->is_blocked)
            text_str(out, " (blocked)");
        comma = ", ";
    }
}

static void put_html(struct text *out, struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.ptr[i];
        if (c < 0x20 || c > 0x7E || c == '<' || c == '>' || c == '&' || c == '"')
            text_put(out, "&#%u;", c);
        else
            text_char(out, (char)c);
    }
}

static void put_row(struct text *out, const struct session *s)
{
    char id[SESSION_ID_MAX];
    char peer[SOCK_ADDR_TEXT_MAX];
    text_put(out, "<tr><td>%s</td><td>", session_id_text(s, id));
    put_html(out, slice_str(sock_addr_text(&s->peer, peer)));
    text_str(out, "</td><td>");
    if (s->login != NULL) {
        put_html(out, login_user(s->login));
        text_str(out, " @ ");
        put_html(out, s->login->vhost);
    }
    text_put(out, "</td><td>%s</td><td>%u</td><td>", s->frontend->conf->name, s->channel_count);
    put_leg_counts(out, s);
    text_put(out, "</td><td>%llu s</td></tr>\n",
             (unsigned long long)age_s(s->worker, s->started_ms));
}

static void put_relay(struct text *out, const struct relay *r)
{
    char peer[SOCK_ADDR_TEXT_MAX];
    const struct sock_addr *a = &r->peer;
    text_put(out, "0x%llx: proto=%s src=%s fe=%s be=%s srv=%s state=%s age=%llus\n",
             (unsigned long long)r->id, census_protocol(a), sock_addr_text(a, peer),
             r->frontend->conf->name, r->frontend->backend->conf->name,
             r->server != NULL ? r->server->conf->name : "<none>", r->is_open ? "RELAY" : "WAITING",
             (unsigned long long)age_s(r->worker, r->started_ms));
}

/* ---- the walk -------------------------------------------------------------------------------- */

static bool may_add(struct census *c)
{
    if (c->count < c->limit) {
        c->count++;
        return true;
    }
    c->left_out++;
    return false;
}

static void add_leg(struct census *c, const struct session *s, const struct channel *ch,
                    const struct leg *leg)
{
    if (!may_add(c))
        return;
    if (c->rows != NULL)
        (void)json_array_append_new(c->rows, census_json_leg(s, ch, leg));
    else
        put_leg(&c->list, s, ch, leg);
}

static void add_legs(struct census *c, const struct session *s)
{
    for (unsigned i = 0; i < s->channels_cap; i++) {
        const struct channel *ch = s->channels[i];
        if (ch != NULL)
            add_leg(c, s, ch, ch->leg);
        for (unsigned leg = 1; ch != NULL && leg < LEG_MAP_LEGS_MAX; leg++) {
            if (split_leg(ch, leg) != NULL)
                add_leg(c, s, ch, split_leg(ch, leg));
        }
    }
}

static void add_line(struct census *c, const struct session *s)
{
    if (!may_add(c))
        return;
    if (c->rows != NULL)
        (void)json_array_append_new(c->rows, census_json_session(s));
    else
        put_session(&c->list, s);
}

static void add_relay(struct census *c, const struct relay *r)
{
    if (!may_add(c))
        return;
    if (c->rows != NULL)
        (void)json_array_append_new(c->rows, census_json_relay(r));
    else
        put_relay(&c->list, r);
}

static void add_session(struct census *c, const struct session *s)
{
    switch (c->form) {
    case CENSUS_SESSIONS:
        add_line(c, s);
        return;
    case CENSUS_LEGS:
        add_legs(c, s);
        return;
    case CENSUS_ROWS:
        if (may_add(c))
            put_row(&c->list, s);
        return;
    case CENSUS_ERRORS:
        return;
    }
    UNREACHABLE("form of a census");
}

static void add_errors(struct census *c, const struct worker *w)
{
    for (unsigned i = 0; i < ARRAY_COUNT(w->errors); i++) {
        const struct worker_error *e = &w->errors[(w->error_at + i) % ARRAY_COUNT(w->errors)];
        if (e->text[0] != '\0' && may_add(c))
            text_put(&c->list, "%llus ago, %s\n", (unsigned long long)age_s(w, e->at_ms), e->text);
    }
}

static bool visit(struct order *o, struct worker *w)
{
    struct census *c = CONTAINER_OF(o, struct census, order);
    if (c->form == CENSUS_ERRORS)
        add_errors(c, w);
    const struct session *s;
    const struct relay *r;
    TAILQ_FOREACH (s, &w->all, entry) {
        add_session(c, s);
    }
    TAILQ_FOREACH (r, &w->all_relays, entry) {
        if (c->form == CENSUS_SESSIONS)
            add_relay(c, r);
    }
    return true;
}

static void done(struct order *o)
{
    struct census *c = CONTAINER_OF(o, struct census, order);
    if (c->form == CENSUS_ERRORS)
        text_put(&c->list, "Total events captured : %u\n", c->count);
    if (c->rows != NULL)
        c->rows_fn(c->rows, c->left_out, c->arg);
    else
        c->fn(&c->list, c->left_out, c->arg);
    json_decref(c->rows);
    text_fini(&c->list);
    mem_free(c);
}

static struct census *census_new(enum census_form form, unsigned limit, void *arg)
{
    struct census *c = mem_zalloc(sizeof *c);
    c->form = form;
    c->limit = limit;
    c->arg = arg;
    text_init(&c->list, LIST_MAX);
    return c;
}

void census_start(struct loop *control, struct worker *workers, unsigned worker_count,
                  enum census_form form, unsigned limit, census_fn fn, void *arg)
{
    struct census *c = census_new(form, limit, arg);
    c->fn = fn;
    order_send(&c->order, control, workers, worker_count, visit, done);
}

void census_start_json(struct loop *control, struct worker *workers, unsigned worker_count,
                       enum census_form form, unsigned limit, census_json_fn fn, void *arg)
{
    CHECK(form == CENSUS_SESSIONS || form == CENSUS_LEGS);
    struct census *c = census_new(form, limit, arg);
    c->rows = json_array();
    c->rows_fn = fn;
    order_send(&c->order, control, workers, worker_count, visit, done);
}
