#include "admission.h"

#include "base/check.h"
#include "base/log.h"
#include "session.h"

#define LINES_MAX       10u
#define LINES_WINDOW_MS 10000u

static const struct quota_limits *limits_of(const struct frontend *f, enum quota_kind kind)
{
    return f->conf->has_limit[kind] ? &f->conf->limits[kind] : NULL;
}

/* Whom it hits, for whoever runs the proxy; clients that try again and again do not fill the log.
 */
static void tell(const struct frontend *f, enum quota_kind kind, struct slice name,
                 const struct quota_verdict *v)
{
    char room[256];
    struct text shown = text_over(room, sizeof room);
    unsigned left_out;
    if ((v->ok && !v->alarm) ||
        !log_rate_ok(&f->live->limit_lines, LINES_MAX, LINES_WINDOW_MS, &left_out))
        return;
    text_escaped(&shown, name);
    log_warn("limit", f->conf->name, "%s %s=\"%s\" %s=%llu left_out=%u",
             v->ok ? "is passed, alarm only" : "refuses", quota_kind_word(kind), room,
             quota_matter_word(v->matter), (unsigned long long)v->bound, left_out);
}

static struct quota_verdict take(const struct frontend *f, enum quota_kind kind, struct slice name,
                                 uint64_t now_ms, struct quota_entry **entry)
{
    const struct quota_limits *limits = limits_of(f, kind);
    struct quota_verdict v = { .ok = true };
    if (limits == NULL)
        return v;
    v = quota_enter(f->live->quota, kind, name, limits, now_ms, entry);
    tell(f, kind, name, &v);
    return v;
}

bool admission_source(const struct frontend *f, const struct sock_addr *client, uint64_t now_ms,
                      struct quota_entry **entry)
{
    char room[SOCK_ADDR_TEXT_MAX];
    *entry = NULL;
    return take(f, QUOTA_SOURCE, slice_str(sock_addr_host(client, room)), now_ms, entry).ok;
}

void admission_leave(const struct frontend *f, struct quota_entry **entry)
{
    quota_leave(f->live->quota, entry);
}

/* ---- sessions -------------------------------------------------------------------------------- */

static struct slice name_of(const struct session *s, enum quota_kind kind)
{
    switch (kind) {
    case QUOTA_USER:
        return login_user(s->login);
    case QUOTA_VHOST:
        return s->login->vhost;
    case QUOTA_SOURCE:
    case QUOTA_KIND_COUNT:
        break;
    }
    return slice_str("");
}

/* RabbitMQ's words. */
static void explain(const struct session *s, enum quota_kind kind, const struct quota_verdict *v,
                    struct text *why)
{
    struct slice user = login_user(s->login), vhost = s->login->vhost;
    const char *what = v->matter == QUOTA_CONNECTIONS ? "connection"
                       : v->matter == QUOTA_CHANNELS  ? "channel"
                                                      : "connection rate";
    if (kind == QUOTA_VHOST)
        text_put(why, "access to vhost '%.*s' refused for user '%.*s': %s limit (%llu) is reached",
                 SLICE_ARG(vhost), SLICE_ARG(user), what, (unsigned long long)v->bound);
    else
        text_put(why, "connection refused for user '%.*s': %s %s limit (%llu) is reached",
                 SLICE_ARG(user), quota_kind_word(kind), what, (unsigned long long)v->bound);
}

bool admission_enter(struct session *s, struct text *why)
{
    static const enum quota_kind kinds[] = { QUOTA_VHOST, QUOTA_USER };
    for (unsigned i = 0; i < ARRAY_COUNT(kinds); i++) {
        struct quota_verdict v = take(s->frontend, kinds[i], name_of(s, kinds[i]),
                                      loop_now_ms(s->worker->loop), &s->quota[kinds[i]]);
        if (!v.ok) {
            explain(s, kinds[i], &v, why);
            return false;
        }
    }
    return true;
}

bool admission_open(struct session *s, struct text *why)
{
    bool ok = true;
    for (unsigned i = 0; i < QUOTA_KIND_COUNT; i++) {
        enum quota_kind kind = (enum quota_kind)i;
        const struct quota_limits *limits = limits_of(s->frontend, kind);
        if (s->quota[i] == NULL || limits == NULL)
            continue;
        struct quota_verdict v = quota_open(s->frontend->live->quota, s->quota[i], limits);
        char room[SOCK_ADDR_TEXT_MAX];
        tell(s->frontend, kind,
             kind == QUOTA_SOURCE ? slice_str(sock_addr_host(&s->peer, room)) : name_of(s, kind),
             &v);
        if (!v.ok && ok)
            explain(s, kind, &v, why);
        ok &= v.ok; /* the channel is counted all the same: it goes with the session */
    }
    return ok;
}

void admission_close(struct session *s)
{
    for (unsigned i = 0; i < QUOTA_KIND_COUNT; i++)
        quota_close(s->frontend->live->quota, s->quota[i]);
}

/* The bounds of what the session is counted for; NULL: none. */
static const struct quota_limits *bounds_on(const struct session *s, unsigned kind)
{
    return s->quota[kind] != NULL ? limits_of(s->frontend, (enum quota_kind)kind) : NULL;
}

static bool bounds_pace(const struct quota_bounds *b)
{
    return b->messages.count != 0 || b->bytes.count != 0;
}

bool admission_paces(const struct session *s)
{
    for (unsigned i = 0; i < QUOTA_KIND_COUNT; i++) {
        const struct quota_limits *l = bounds_on(s, i);
        if (l != NULL && (bounds_pace(&l->refuse) || bounds_pace(&l->alarm)))
            return true;
    }
    return false;
}

static void tell_of(const struct session *s, unsigned kind, const struct quota_verdict *v)
{
    char room[SOCK_ADDR_TEXT_MAX];
    if (v->ok && !v->alarm)
        return;
    tell(s->frontend, (enum quota_kind)kind,
         kind == QUOTA_SOURCE ? slice_str(sock_addr_host(&s->peer, room))
                              : name_of(s, (enum quota_kind)kind),
         v);
}

uint64_t admission_spend(struct session *s, enum quota_matter matter, uint64_t spent)
{
    uint64_t longest_ms = 0;
    for (unsigned i = 0; i < QUOTA_KIND_COUNT; i++) {
        const struct quota_limits *l = bounds_on(s, i);
        uint64_t wait_ms;
        if (l == NULL)
            continue;
        struct quota_verdict v = quota_spend(s->frontend->live->quota, s->quota[i], l, matter,
                                             spent, loop_now_ms(s->worker->loop), &wait_ms);
        tell_of(s, i, &v);
        if (wait_ms > longest_ms) {
            longest_ms = wait_ms;
            s->pace.kind = (enum quota_kind)i;
            s->pace.matter = matter;
        }
    }
    return longest_ms;
}

uint64_t admission_rest_ms(const struct session *s)
{
    const struct quota_limits *l = bounds_on(s, s->pace.kind);
    CHECK(l != NULL);
    return s->pace.matter == QUOTA_BYTES ? l->refuse.bytes.ms : l->refuse.messages.ms;
}

void admission_slowed(struct session *s)
{
    quota_slowed(s->frontend->live->quota, s->pace.kind, s->pace.matter);
}

void admission_gone(struct session *s)
{
    for (unsigned i = 0; i < QUOTA_KIND_COUNT; i++)
        admission_leave(s->frontend, &s->quota[i]);
}
