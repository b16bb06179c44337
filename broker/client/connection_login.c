#include "client/connection_login.h"

#include "amqp/amqp_sasl.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker.h"
#include "live.h"
#include "shard.h"
#include "stats/tally.h"

#define REFUSALS_LOGGED 50u /* a second, of each shard */

static struct slice user_of(const struct connection *c)
{
    return slice_str(c->user);
}

/* ---- who it is
 * -------------------------------------------------------------------------------------------------
 */

static void on_verdict(void *arg, enum auth_verdict verdict);

void connection_login_init(struct connection *c)
{
    c->login = (struct auth_wait){ .fn = on_verdict, .arg = c };
}

void connection_login_end(struct connection *c)
{
    struct shard *s = c->shard;
    auth_wait_cancel(&c->login);
    if (c->in_vhost_tally)
        tally_give(broker_tally(s->broker, BROKER_TALLY_VHOST), c->vhost_id);
    if (c->in_user_tally)
        tally_give(broker_tally(s->broker, BROKER_TALLY_USER), c->user_id);
    c->in_vhost_tally = c->in_user_tally = false;
    access_topic_forget(&c->topic_kept);
}

void connection_choose_mechanisms(struct connection *c)
{
    if (c->vouched.is_told) {
        if (c->vouched.name != NULL)
            c->hs.conf = &c->live->handshake_vouched;
    } else if (stream_tls_subject(c->stream) != NULL) {
        c->hs.conf = &c->live->handshake_certified;
    }
}

/* Guessers do not fill the log: one line for each up to some rate, then one that counts. */
static bool may_log(struct connection *c)
{
    unsigned left_out = 0;
    bool ok = log_rate_ok(&c->shard->refusals, REFUSALS_LOGGED, 1000, &left_out);
    if (ok && left_out != 0)
        log_warn("connection", "-", "refused logins were not logged count=%u", left_out);
    return ok;
}

static void log_refusal(struct connection *c, enum auth_verdict verdict)
{
    char user[META_NAME_MAX + 1], where[SOCK_ADDR_TEXT_MAX];
    struct text shown = text_over(user, sizeof user);
    if (!may_log(c))
        return;
    if (c->user != NULL)
        text_escaped(&shown, user_of(c));
    log_warn("connection", connection_id_text(c).text, "login refused user=\"%s\" client=%s%s",
             user, sock_addr_text(&c->client, where), auth_verdict_text(verdict));
}

static void let_in(struct connection *c, const struct meta_user *u)
{
    c->user_id = u->user_id;
    shard_count(c->shard, auth_ok, 1);
    connection_step(c, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_AUTH_OK });
}

/* auth has looked, but the user may have been deleted since then, even in this turn. */
static void judged(struct connection *c, enum auth_verdict verdict)
{
    const struct meta_user *u = NULL;
    if (verdict == AUTH_OK)
        u = meta_user_find(broker_meta(c->shard->broker), user_of(c));
    if (u != NULL) {
        let_in(c, u);
        return;
    }
    if (verdict == AUTH_OK)
        verdict = AUTH_REFUSED;
    log_refusal(c, verdict);
    if (verdict == AUTH_BUSY) {
        connection_error(c, AMQP_CONNECTION_FORCED, 0, "too many logins at a time, try again");
        return;
    }
    shard_count(c->shard, auth_refused, 1);
    connection_step(c, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_AUTH_REFUSED });
}

static void on_verdict(void *arg, enum auth_verdict verdict)
{
    struct connection *c = arg;
    CHECK(c->stream != NULL);
    connection_go_on(c);
    judged(c, verdict);
}

/* What cannot be read is no guess: as RabbitMQ, nothing is said, and the end comes later. */
static void refuse_silently(struct connection *c)
{
    c->hs.capabilities &= ~(unsigned)AMQP_CAP_AUTHENTICATION_FAILURE_CLOSE;
    judged(c, AUTH_REFUSED);
}

/* A name that holds a NUL is nobody's: none can be made with one. */
static bool take_name(struct connection *c, struct slice name)
{
    if (name.len > META_NAME_MAX || (name.len != 0 && memchr(name.ptr, '\0', name.len) != NULL))
        return false;
    mem_free(c->user); /* of a first try, when the mechanism has several */
    c->user = mem_zalloc(name.len + 1);
    if (name.len != 0)
        memcpy(c->user, name.ptr, name.len);
    return true;
}

static struct auth_ask ask_of(const struct connection *c)
{
    return (struct auth_ask){ .conf = c->live->conf, .user = user_of(c), .from = &c->client };
}

static const char *certified_name(const struct connection *c)
{
    if (c->vouched.is_told)
        return c->vouched.name;
    switch (c->live->conf->auth.login_from) {
    case BROKER_LOGIN_FROM_DN:
        return stream_tls_subject(c->stream);
    case BROKER_LOGIN_FROM_CN:
        return stream_tls_common_name(c->stream);
    case BROKER_LOGIN_FROM_SAN:
        return stream_tls_dns_name(c->stream);
    }
    UNREACHABLE("login-from");
}

/* The name in the certificate that TLS has verified, with us or with our proxy. */
static void authenticate_by_certificate(struct connection *c)
{
    const char *name = certified_name(c);
    if (name == NULL || !take_name(c, slice_str(name))) {
        judged(c, AUTH_REFUSED);
        return;
    }
    struct auth_ask ask = ask_of(c);
    judged(c, auth_login_proven(c->shard->auth, &ask));
}

void connection_authenticate(struct connection *c, const struct amqp_hs_login *login)
{
    struct amqp_credentials cred;
    if (slice_is(login->mechanism, AMQP_SASL_EXTERNAL)) {
        authenticate_by_certificate(c);
        return;
    }
    if (!amqp_sasl_read(login->mechanism, login->response, &cred)) {
        refuse_silently(c);
        return;
    }
    if (!take_name(c, cred.user)) {
        judged(c, AUTH_REFUSED);
        return;
    }
    struct auth_ask ask = ask_of(c);
    ask.password = cred.password;
    enum auth_verdict verdict = auth_login(c->shard->auth, &ask, &c->login);
    if (verdict == AUTH_PENDING)
        connection_wait(c);
    else
        judged(c, verdict);
}

/* ---- where it goes
 * --------------------------------------------------------------------------------------------- */

/* The order of the checks, and the words, are RabbitMQ's. */
static bool may_enter(struct connection *c, const struct meta_version *v,
                      const struct meta_vhost *vh, struct text *why)
{
    struct broker *b = c->shard->broker;
    struct slice vhost = meta_vhost_name(vh);
    const struct meta_user *u = meta_user_find(v, user_of(c));
    if (u != NULL && u->user_id != c->user_id)
        u = NULL; /* another one, made after this one was let in */
    if (!tally_take(broker_tally(b, BROKER_TALLY_VHOST), vh->vhost_id, vh->max_connections)) {
        text_put(why,
                 "access to vhost '%.*s' refused for user '%s': connection limit (%lld) is "
                 "reached",
                 SLICE_ARG(vhost), c->user, (long long)vh->max_connections);
        return false;
    }
    c->in_vhost_tally = true;
    c->vhost_id = vh->vhost_id;
    if (u != NULL &&
        !tally_take(broker_tally(b, BROKER_TALLY_USER), u->user_id, u->max_connections)) {
        text_put(why, "connection refused for user '%s': user connection limit (%lld) is reached",
                 c->user, (long long)u->max_connections);
        return false;
    }
    c->in_user_tally = u != NULL;
    if (u != NULL && connection_permission(c, v) != NULL)
        return true;
    text_put(why, "access to vhost '%.*s' refused for user '%s'", SLICE_ARG(vhost), c->user);
    return false;
}

void connection_enter(struct connection *c, struct slice vhost)
{
    const struct meta_version *v = broker_meta(c->shard->broker);
    const struct meta_vhost *vh = meta_vhost_find(v, vhost);
    char room[META_TEXT_MAX];
    struct text why = text_over(room, sizeof room);
    if (vh == NULL) {
        text_put(&why, "vhost %.*s not found", SLICE_ARG(vhost));
    } else if (may_enter(c, v, vh, &why)) {
        connection_step(c, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_ENTER_OK });
        return;
    }
    connection_login_end(c); /* what it took on its way is others' again */
    connection_error(c, AMQP_NOT_ALLOWED, AMQP_CONNECTION_OPEN, "%s", room);
}

/* ---- what it may do there
 * -------------------------------------------------------------------------------------- */

bool connection_take_user_channel(struct connection *c)
{
    const struct meta_user *u = meta_user_find(broker_meta(c->shard->broker), user_of(c));
    int64_t limit = u != NULL ? u->max_channels : META_NO_LIMIT;
    if (tally_take(broker_tally(c->shard->broker, BROKER_TALLY_CHANNELS), c->user_id, limit))
        return true;
    connection_error(c, AMQP_NOT_ALLOWED, 0,
                     "number of channels opened for user '%s' has reached the maximum allowed user "
                     "limit of (%lld)",
                     c->user, (long long)limit);
    return false;
}

void connection_give_user_channel(struct connection *c)
{
    tally_give(broker_tally(c->shard->broker, BROKER_TALLY_CHANNELS), c->user_id);
}

bool connection_may_claim(const struct connection *c, struct slice user)
{
    if (LIKELY(slice_is(user, c->user)))
        return true;
    const struct meta_user *u = meta_user_find(broker_meta(c->shard->broker), user_of(c));
    return u != NULL && meta_user_has_tag(u, "impersonator");
}

/* Looked up anew when rights have changed: what has not changed is still where it was. */
const struct meta_permission *connection_permission(struct connection *c,
                                                    const struct meta_version *v)
{
    if (UNLIKELY(!c->knows_permission || c->rights != v->rights)) {
        const struct meta_vhost *vh = meta_vhost_get(v, c->vhost_id);
        c->permission = vh != NULL ? meta_permission_find(v, vh, slice_str(c->user)) : NULL;
        c->rights = v->rights;
        c->knows_permission = true;
    }
    return c->permission;
}
