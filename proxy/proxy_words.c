#include "proxy_words.h"

#include "base/check.h"
#include "base/units.h"
#include "io/nets.h"

#include <string.h>

#define VERIFY_WORDS      "none|required"
#define BIND_VERIFY_WORDS VERIFY_WORDS "|optional"

bool proxy_words_name(const char *name, struct err *err)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789-_.:";
    if (name[0] != '\0' && strspn(name, allowed) == strlen(name))
        return true;
    return err_set(err, ERR_CONFIG, "a name consists of letters, digits and -_.: only");
}

/* ---- bind ------------------------------------------------------------------------------------ */

static bool set_trust(void *instance, const struct conf_value *value, struct err *err)
{
    struct bind_conf *b = instance;
    for (size_t i = 0; i < value->words.count; i++) {
        struct net net;
        if (!net_of(value->words.items[i], &net, err))
            return false;
    }
    b->trust = value->words;
    return true;
}

static bool set_min_version(void *instance, const struct conf_value *value, struct err *err)
{
    struct bind_conf *b = instance;
    if (strcmp(value->text, "TLSv1.2") != 0 && strcmp(value->text, "TLSv1.3") != 0)
        return err_set(err, ERR_CONFIG, "is one of TLSv1.2 and TLSv1.3");
    b->min_version = value->text + strlen("TLSv");
    return true;
}

static const struct conf_directive bind_rows[] = {
    { .key = "ssl", .type = CONF_FLAG, .offset = CONF_FIELD(struct bind_conf, ssl) },
    { .key = "crt", .type = CONF_LIST, .offset = CONF_FIELD(struct bind_conf, crt) },
    { .key = "strict-sni", .type = CONF_FLAG, .offset = CONF_FIELD(struct bind_conf, strict_sni) },
    { .key = "ca-file", .type = CONF_STRING, .offset = CONF_FIELD(struct bind_conf, ca_file) },
    { .key = "alpn", .type = CONF_STRING, .offset = CONF_FIELD(struct bind_conf, alpn) },
    { .key = "ssl-min-ver", .type = CONF_STRING, .set = set_min_version },
    { .key = "verify",
      .type = CONF_CHOICE,
      .offset = CONF_FIELD(struct bind_conf, verify),
      .choices = BIND_VERIFY_WORDS },
    { .key = "accept-proxy",
      .type = CONF_FLAG,
      .offset = CONF_FIELD(struct bind_conf, accept_proxy) },
    { .key = "trust", .type = CONF_LIST, .set = set_trust },
};

static bool judge_bind(const struct bind_conf *b, struct err *err)
{
    if (b->ssl && b->crt.count == 0)
        return err_set(err, ERR_CONFIG, "ssl needs a certificate: ssl crt FILE");
    if (!b->ssl && (b->crt.count != 0 || b->strict_sni || b->ca_file != NULL || b->alpn != NULL ||
                    b->min_version != NULL || b->verify != PROXY_VERIFY_NONE))
        return err_set(err, ERR_CONFIG,
                       "crt, strict-sni, ca-file, alpn, verify and ssl-min-ver need ssl");
    if (b->verify != PROXY_VERIFY_NONE && b->ca_file == NULL)
        return err_set(err, ERR_CONFIG, "verify %s needs ca-file FILE",
                       b->verify == PROXY_VERIFY_REQUIRED ? "required" : "optional");
    if (b->trust.count != 0 && !b->accept_proxy)
        return err_set(err, ERR_CONFIG, "trust needs accept-proxy");
    return true;
}

bool proxy_words_bind(const struct conf_value *value, struct bind_conf *out, struct err *err)
{
    if (value->words.count == 0)
        return err_set(err, ERR_CONFIG, "an address is missing: bind = :5672");
    *out = (struct bind_conf){ .where = value->where };
    return conf_address_of(value->words.items[0], -1, value->store, &out->at, err) &&
           conf_options(bind_rows, ARRAY_COUNT(bind_rows), &value->words, 1, out, value->store,
                        err) &&
           judge_bind(out, err);
}

/* ---- limit ----------------------------------------------------------------------------------- */

struct limit_words {
    struct quota_bounds bounds;
    bool alarm;
};

/* "20/1s", or "20" for a second. */
static bool read_pace(const struct conf_value *value, bool is_size, struct quota_pace *out,
                      struct err *err)
{
    const char *slash = strchr(value->text, '/');
    struct slice number = slash != NULL ? slice_of(value->text, (size_t)(slash - value->text))
                                        : slice_str(value->text);
    out->ms = 1000;
    bool ok = is_size ? units_size_bytes(number, &out->count) && out->count <= (uint64_t)1 << 40
                      : units_u64(number, &out->count) && out->count <= 1000000;
    if (!ok || out->count == 0 ||
        (slash != NULL && !units_duration_ms(slice_str(slash + 1), 0, &out->ms)) || out->ms == 0 ||
        out->ms > 24u * 3600 * 1000)
        return err_set(err, ERR_CONFIG, "is a number and a time, such as %s",
                       is_size ? "10M/1s" : "20/1s");
    return true;
}

static bool set_rate(void *instance, const struct conf_value *value, struct err *err)
{
    return read_pace(value, false, &((struct limit_words *)instance)->bounds.rate, err);
}

static bool set_messages(void *instance, const struct conf_value *value, struct err *err)
{
    return read_pace(value, false, &((struct limit_words *)instance)->bounds.messages, err);
}

static bool set_bytes(void *instance, const struct conf_value *value, struct err *err)
{
    return read_pace(value, true, &((struct limit_words *)instance)->bounds.bytes, err);
}

#define LIMIT_NUMBER(word)                                                                         \
    {                                                                                              \
        .key = #word, .type = CONF_U64, .offset = CONF_FIELD(struct limit_words, bounds.word),     \
        .min = 1, .max = UINT32_MAX                                                                \
    }

static const struct conf_directive limit_rows[] = {
    LIMIT_NUMBER(connections),
    LIMIT_NUMBER(channels),
    { .key = "rate", .type = CONF_STRING, .set = set_rate },
    { .key = "messages", .type = CONF_STRING, .set = set_messages },
    { .key = "bytes", .type = CONF_STRING, .set = set_bytes },
    { .key = "alarm", .type = CONF_FLAG, .offset = CONF_FIELD(struct limit_words, alarm) },
};

static bool kind_of(const char *word, enum quota_kind *out)
{
    for (unsigned i = 0; i < QUOTA_KIND_COUNT; i++) {
        *out = (enum quota_kind)i;
        if (strcmp(word, quota_kind_word(*out)) == 0)
            return true;
    }
    return false;
}

static bool bounds_any(const struct quota_bounds *b)
{
    return b->connections != 0 || b->channels != 0 || b->rate.count != 0 ||
           b->messages.count != 0 || b->bytes.count != 0;
}

bool proxy_words_limit(const struct conf_value *value, struct frontend_conf *io, struct err *err)
{
    struct limit_words w = { .alarm = false };
    enum quota_kind kind;
    if (value->words.count < 2 || !kind_of(value->words.items[0], &kind))
        return err_set(err, ERR_CONFIG,
                       "begins with source, user or vhost: limit = user connections 50");
    if (!conf_options(limit_rows, ARRAY_COUNT(limit_rows), &value->words, 1, &w, value->store, err))
        return false;
    struct quota_bounds *to = w.alarm ? &io->limits[kind].alarm : &io->limits[kind].refuse;
    if (!bounds_any(&w.bounds))
        return err_set(err, ERR_CONFIG,
                       "says of what: connections, channels, rate, messages or bytes");
    if (bounds_any(to))
        return err_set(err, ERR_CONFIG, "of %s%s is there already; put all bounds on one line",
                       quota_kind_word(kind), w.alarm ? " for alarm" : "");
    *to = w.bounds;
    io->has_limit[kind] = true;
    return true;
}

/* ---- server, default-server ------------------------------------------------------------------ */

#define SERVER_FLAG(word, member)                                                                  \
    {                                                                                              \
        .key = (word), .type = CONF_FLAG, .offset = CONF_FIELD(struct server_conf, member)         \
    }
#define SERVER_TIME(word, member)                                                                  \
    {                                                                                              \
        .key = (word), .type = CONF_DURATION, .offset = CONF_FIELD(struct server_conf, member),    \
        .min = 1, .max = 24u * 3600 * 1000                                                         \
    }
#define SERVER_NUMBER(word, member, least, most)                                                   \
    {                                                                                              \
        .key = (word), .type = CONF_U64, .offset = CONF_FIELD(struct server_conf, member),         \
        .min = (least), .max = (most)                                                              \
    }
#define SERVER_TEXT(word, member)                                                                  \
    {                                                                                              \
        .key = (word), .type = CONF_STRING, .offset = CONF_FIELD(struct server_conf, member)       \
    }

static const struct conf_directive server_rows[] = {
    SERVER_FLAG("check", check),
    SERVER_FLAG("backup", backup),
    SERVER_FLAG("disabled", disabled),
    SERVER_FLAG("ssl", ssl),
    SERVER_FLAG("send-proxy-v2", send_proxy),
    SERVER_FLAG("send-proxy-v2-ssl", send_proxy_ssl),
    SERVER_FLAG("send-proxy-v2-ssl-cn", send_proxy_ssl_cn),
    SERVER_FLAG("send-proxy", send_proxy_v1),
    SERVER_TIME("inter", inter_ms),
    SERVER_TIME("fastinter", fastinter_ms),
    SERVER_TIME("downinter", downinter_ms),
    SERVER_NUMBER("rise", rise, 1, 1000),
    SERVER_NUMBER("fall", fall, 1, 1000),
    SERVER_NUMBER("weight", weight, 0, 256),
    SERVER_NUMBER("maxconn", maxconn, 0, UINT32_MAX),
    SERVER_NUMBER("port", check_port, 1, UINT16_MAX),
    { .key = "slowstart",
      .type = CONF_DURATION,
      .offset = CONF_FIELD(struct server_conf, slowstart_ms),
      .max = 24u * 3600 * 1000 },
    { .key = "verify",
      .type = CONF_CHOICE,
      .offset = CONF_FIELD(struct server_conf, verify),
      .choices = VERIFY_WORDS },
    SERVER_TEXT("ca-file", ca_file),
    SERVER_TEXT("crt", crt),
    SERVER_TEXT("sni", sni),
};

struct server_conf proxy_words_server_defaults(void)
{
    return (struct server_conf){
        .weight = 1,
        .inter_ms = 2000,
        .rise = 2,
        .fall = 3,
        .verify = PROXY_VERIFY_REQUIRED,
    };
}

static bool server_options(const struct conf_value *value, size_t from, struct server_conf *io,
                           struct err *err)
{
    return conf_options(server_rows, ARRAY_COUNT(server_rows), &value->words, from, io,
                        value->store, err);
}

bool proxy_words_default_server(const struct conf_value *value, struct server_conf *io,
                                struct err *err)
{
    return server_options(value, 0, io, err);
}

/* The longer words hold the shorter ones, as with HAProxy. */
static void fill(struct server_conf *s)
{
    s->send_proxy_ssl = s->send_proxy_ssl || s->send_proxy_ssl_cn;
    s->send_proxy = s->send_proxy || s->send_proxy_ssl;
    s->health = (struct health_conf){
        .rise = (unsigned)s->rise,
        .fall = (unsigned)s->fall,
        .inter_ms = s->inter_ms,
        .fastinter_ms = s->fastinter_ms != 0 ? s->fastinter_ms : s->inter_ms,
        .downinter_ms = s->downinter_ms != 0 ? s->downinter_ms : s->inter_ms,
    };
}

/* Without ssl they mean nothing, and whoever wrote them thinks that they do. */
static const char *word_of_tls(const struct conf_list *words)
{
    static const char *const of_tls[] = { "verify", "ca-file", "crt", "sni" };
    for (size_t i = 2; i < words->count; i++)
        for (unsigned k = 0; k < ARRAY_COUNT(of_tls); k++)
            if (strcmp(words->items[i], of_tls[k]) == 0)
                return of_tls[k];
    return NULL;
}

bool proxy_words_server(const struct conf_value *value, struct server_conf *out, struct err *err)
{
    if (value->words.count < 2)
        return err_set(err, ERR_CONFIG,
                       "a name and an address are needed: "
                       "server = rabbit1 10.0.0.1:5672 check");
    out->name = value->words.items[0];
    out->where = value->where;
    if (!proxy_words_name(out->name, err) ||
        !conf_address_of(value->words.items[1], -1, value->store, &out->at, err) ||
        !server_options(value, 2, out, err))
        return false;
    fill(out);
    const char *of_tls = word_of_tls(&value->words);
    if (!out->ssl && of_tls != NULL)
        return err_set(err, ERR_CONFIG, "%s is about TLS, and there is no 'ssl'", of_tls);
    if (out->send_proxy && out->send_proxy_v1)
        return err_set(err, ERR_CONFIG, "one of send-proxy and send-proxy-v2, not both");
    if (out->at.kind == CONF_ADDRESS_TCP && (out->at.host[0] == '\0' || out->at.port == 0))
        return err_set(err, ERR_CONFIG, "the address of a server has a host and a port");
    return true;
}

void proxy_words_found(const struct server_conf *defaults, struct server_conf *out)
{
    *out = *defaults;
    out->found = true;
    fill(out);
}
