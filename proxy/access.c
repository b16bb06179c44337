#include "access.h"

#include "base/log.h"
#include "base/text.h"
#include "relay.h"
#include "session.h"
#include "splice.h"

#include <string.h>

#define LINE_MAX_BYTES 1792u /* with its head it fits a line of the log */
#define SHOWN_MAX      128u  /* octets of a name that the client chose, as shown */

void access_why(struct access *a, bool orderly, const char *fmt, ...)
{
    if (a->why[0] != '\0')
        return;
    char room[2 * ACCESS_WHY_MAX];
    struct text plain = text_over(room, sizeof room);
    struct text t = text_over(a->why, sizeof a->why);
    va_list args;
    va_start(args, fmt);
    text_vput(&plain, fmt, args);
    va_end(args);
    text_escaped(&t, text_view(&plain));
    a->is_orderly = orderly;
}

void access_server(struct access *a, const struct server *server)
{
    a->servers |= (uint64_t)1 << server->index;
}

void access_client(struct access *a, const struct stream *client)
{
    struct stream_totals t = stream_totals(client);
    a->in_bytes = t.in_bytes;
    a->out_bytes = t.out_bytes + stream_pending(client);
}

/* ---- lines ----------------------------------------------------------------------------------- */

static void put_start(struct text *out, const struct sock_addr *peer, const struct frontend *f)
{
    char room[SOCK_ADDR_TEXT_MAX];
    text_put(out, "from=%s frontend=%s backend=%s servers=", sock_addr_text(peer, room),
             f->conf->name, f->backend->conf->name);
}

static void put_servers(struct text *out, const struct backend *b, uint64_t mask)
{
    const char *comma = "";
    for (unsigned i = 0; i < backend_server_count(b) && i < 64; i++) {
        if ((mask >> i & 1) == 0)
            continue;
        text_put(out, "%s%s", comma, b->servers[i].conf->name);
        comma = ",";
    }
    if (mask == 0)
        text_char(out, '-');
}

static void put_seconds(struct text *out, const char *name, uint64_t ms)
{
    text_put(out, " %s=%llu.%03us", name, (unsigned long long)(ms / 1000), (unsigned)(ms % 1000));
}

/* Between quotes, and without any: who chooses his name writes no fields of ours with it. One that
 * is too long to be shown ends with dots. */
static void put_quoted(struct text *out, const char *name, struct slice value)
{
    static const char dots[] = "...";
    char room[SHOWN_MAX + 1];
    struct text shown = text_over(room, sizeof room);
    text_escaped(&shown, value);
    if (shown.cut)
        memcpy(room + SHOWN_MAX - strlen(dots), dots, sizeof dots);
    text_put(out, " %s=\"%s\"", name, room);
}

static void put_user(struct text *out, const struct session *s)
{
    if (s->login == NULL)
        return;
    put_quoted(out, "user", login_user(s->login));
    if (s->login->is_complete)
        put_quoted(out, "vhost", s->login->vhost);
}

static void put_end(struct text *out, const struct access *a)
{
    text_put(out, " in=%llu out=%llu why=\"%s\"", (unsigned long long)a->in_bytes,
             (unsigned long long)a->out_bytes, a->why);
}

static bool is_wanted(const struct frontend *f, const struct access *a)
{
    return f->conf->access == PROXY_ACCESS_ALL ||
           (f->conf->access == PROXY_ACCESS_TROUBLE && !a->is_orderly);
}

/* One that said nothing is nobody's business, as with HAProxy's dontlognull. */
static void write_line(const struct access *a, uint64_t id, const char *line)
{
    char room[SESSION_ID_MAX];
    struct text t = text_over(room, sizeof room);
    text_put(&t, "0x%llx", (unsigned long long)id);
    if (a->in_bytes == 0)
        log_debug("access", room, "%s", line);
    else
        log_info("access", room, "%s", line);
}

void access_session(const struct session *s)
{
    const struct access *a = &s->access;
    char room[LINE_MAX_BYTES];
    struct text t = text_over(room, sizeof room);
    if (!is_wanted(s->frontend, a))
        return;
    put_start(&t, &s->peer, s->frontend);
    put_servers(&t, s->backend, a->servers);
    put_user(&t, s);
    put_seconds(&t, "age", loop_now_ms(s->worker->loop) - s->started_ms);
    if (a->open_ms != 0)
        put_seconds(&t, "opened", a->open_ms - s->started_ms);
    text_put(&t, " channels=%u lost=%u", a->channels, a->lost);
    put_end(&t, a);
    write_line(a, s->id, room);
}

void access_relay(const struct relay *r)
{
    const struct access *a = &r->access;
    char room[LINE_MAX_BYTES];
    struct text t = text_over(room, sizeof room);
    if (!is_wanted(r->frontend, a))
        return;
    put_start(&t, &r->peer, r->frontend);
    put_servers(&t, r->frontend->backend, a->servers);
    put_seconds(&t, "age", loop_now_ms(r->worker->loop) - r->began_ms);
    put_end(&t, a);
    write_line(a, r->id, room);
}

void access_lost(struct session *s, const struct upstream *u, const struct splice_loss *loss,
                 const char *why)
{
    char id[SESSION_ID_MAX];
    char room[SOCK_ADDR_TEXT_MAX];
    char shown[2 * ACCESS_WHY_MAX];
    struct text t = text_over(shown, sizeof shown);
    text_escaped(&t, slice_str(why)); /* it may have the broker's own words */
    s->access.lost++;
    if (s->frontend->conf->access != PROXY_ACCESS_OFF)
        log_info("access", session_id_text(s, id),
                 "failover from=%s frontend=%s backend=%s server=%s kept=%u ended=%u channels=%u "
                 "why=\"%s\"",
                 sock_addr_text(&s->peer, room), s->frontend->conf->name, s->backend->conf->name,
                 u->server->conf->name, loss->kept, loss->ended, s->channel_count, shown);
}
