#include "rabbit_conf.h"

#include "base/check.h"
#include "io/http_text.h"

#include <string.h>

#define LOGIN_MAX  768u /* user and password, decoded: what a request's head has room for */
#define PORT       15672
#define PORT_TLS   15671
#define URL_FORM   "a URL is like http://monitor:secret@rabbit1:15672"
#define INTER_MS   1000u
#define TIMEOUT_MS 10000u

static const struct conf_directive rows[] = {
    { .key = "inter",
      .type = CONF_DURATION,
      .offset = CONF_FIELD(struct rabbit_conf, inter_ms),
      .min = 100,
      .max = 3600u * 1000 },
    { .key = "timeout",
      .type = CONF_DURATION,
      .offset = CONF_FIELD(struct rabbit_conf, timeout_ms),
      .min = 100,
      .max = 600u * 1000 },
    { .key = "verify",
      .type = CONF_CHOICE,
      .offset = CONF_FIELD(struct rabbit_conf, verify),
      .choices = "none|required" },
    { .key = "ca-file", .type = CONF_STRING, .offset = CONF_FIELD(struct rabbit_conf, ca_file) },
};

/* What comes before the first `mark`, which *rest begins behind; false: there is none. */
static bool cut_at(struct slice in, char mark, struct slice *head, struct slice *rest)
{
    const uint8_t *at = in.len != 0 ? memchr(in.ptr, mark, in.len) : NULL;
    if (at == NULL)
        return false;
    *head = slice_head(in, (size_t)(at - in.ptr));
    *rest = slice_from(in, head->len + 1);
    return true;
}

static bool cut_scheme(struct slice *url, bool *is_tls)
{
    static const char plain[] = "http://", tls[] = "https://";
    size_t len = sizeof plain - 1;
    *is_tls = url->len >= sizeof tls - 1 && memcmp(url->ptr, tls, sizeof tls - 1) == 0;
    if (*is_tls)
        len = sizeof tls - 1;
    else if (url->len < len || memcmp(url->ptr, plain, len) != 0)
        return false;
    *url = slice_from(*url, len);
    return true;
}

/* USER:PASSWORD, percent-encoded, as the line of a request's head that says so. */
static bool read_login(struct slice login, struct conf_store *store, struct rabbit_url *out,
                       struct err *err)
{
    char user_room[256], password_room[256], both_room[LOGIN_MAX], line_room[2 * LOGIN_MAX];
    struct text user = text_over(user_room, sizeof user_room);
    struct text password = text_over(password_room, sizeof password_room);
    struct text both = text_over(both_room, sizeof both_room);
    struct text line = text_over(line_room, sizeof line_room);
    struct slice name, rest;
    if (!cut_at(login, ':', &name, &rest) || name.len == 0 || rest.len == 0)
        return err_set(err, ERR_CONFIG, "a URL has a user and a password: " URL_FORM);
    if (!http_percent_decode(name, false, &user) || !http_percent_decode(rest, false, &password) ||
        memchr(user.ptr, ':', user.len) != NULL)
        return err_set(err, ERR_CONFIG,
                       "the user or the password of a URL is not well-formed: letters, digits and "
                       "-._~ stand for themselves, others are written as %%40");
    text_put(&both, "%s:%s", user_room, password_room);
    text_str(&line, "Authorization: Basic ");
    http_base64_encode(text_view(&both), &line);
    text_str(&line, "\r\nAccept: application/json\r\n");
    CHECK(!both.cut && !line.cut);
    out->user = conf_store_str(store, text_view(&user));
    out->fields = conf_store_str(store, text_view(&line));
    return true;
}

/* What may stand in a request's first line. */
static bool is_path(struct slice path)
{
    for (size_t i = 0; i < path.len; i++) {
        if (path.ptr[i] <= ' ' || path.ptr[i] >= 0x7F || path.ptr[i] == '?' || path.ptr[i] == '#')
            return false;
    }
    return true;
}

static bool read_url(struct slice url, struct conf_store *store, struct rabbit_url *out,
                     struct err *err)
{
    struct slice login, place, path = slice_of(NULL, 0);
    struct conf_address at;
    if (!cut_scheme(&url, &out->is_tls))
        return err_set(err, ERR_CONFIG, "is rabbitmq and where its management answers; " URL_FORM);
    if (!cut_at(url, '@', &login, &place))
        return err_set(err, ERR_CONFIG, "a URL has a user and a password: " URL_FORM);
    if (place.len != 0 && memchr(place.ptr, '@', place.len) != NULL)
        return err_set(err, ERR_CONFIG, "an @ in a password is written as %%40");
    struct slice whole = place;
    if (cut_at(whole, '/', &place, &path) && !is_path(path))
        return err_set(err, ERR_CONFIG, "the path of a URL has no blank, ? or # in it");
    while (path.len != 0 && path.ptr[path.len - 1] == '/')
        path.len--;
    const char *text = conf_store_str(store, place);
    if (!conf_address_of(text, out->is_tls ? PORT_TLS : PORT, store, &at, err))
        return err_context(err, "the place in a URL");
    if (at.kind != CONF_ADDRESS_TCP || at.host[0] == '\0' || at.port == 0)
        return err_set(err, ERR_CONFIG, "a URL has a host: " URL_FORM);
    out->host = at.host;
    out->port = at.port;
    out->path = path.len != 0 ? conf_store_put(store, "/%.*s", SLICE_ARG(path)) : "";
    out->shown =
        conf_store_put(store, strchr(at.host, ':') != NULL ? "%s://[%s]:%u%s" : "%s://%s:%u%s",
                       out->is_tls ? "https" : "http", at.host, at.port, out->path);
    return read_login(login, store, out, err);
}

static bool is_url(const char *word)
{
    return strstr(word, "://") != NULL;
}

bool rabbit_conf_of(const struct conf_value *value, struct rabbit_conf **out, struct err *err)
{
    const struct conf_list *words = &value->words;
    struct rabbit_conf *c = conf_store_alloc(value->store, sizeof *c);
    size_t at = 1;
    *c = (struct rabbit_conf){
        .text = value->text,
        .where = value->where,
        .inter_ms = INTER_MS,
        .timeout_ms = TIMEOUT_MS,
        .verify = PROXY_VERIFY_REQUIRED,
    };
    for (; at < words->count && is_url(words->items[at]); at++) {
        if (c->url_count == RABBIT_URLS_MAX)
            return err_set(err, ERR_CONFIG, "at most %u URLs", RABBIT_URLS_MAX);
        if (!read_url(slice_str(words->items[at]), value->store, &c->urls[c->url_count], err))
            return false;
        c->url_count++;
    }
    if (c->url_count == 0)
        return err_set(err, ERR_CONFIG,
                       "rabbitmq needs to know where the management answers; " URL_FORM);
    *out = c;
    if (!conf_options(rows, ARRAY_COUNT(rows), words, at, c, value->store, err))
        return false;
    if (!rabbit_conf_has_tls(c) && (c->ca_file != NULL || c->verify == PROXY_VERIFY_NONE))
        return err_set(err, ERR_CONFIG, "ca-file and verify are for a URL that begins with https");
    return true;
}

bool rabbit_conf_has_tls(const struct rabbit_conf *c)
{
    bool any = false;
    for (unsigned i = 0; i < c->url_count; i++)
        any |= c->urls[i].is_tls;
    return any;
}

bool rabbit_conf_is_same(const struct rabbit_conf *a, const struct rabbit_conf *b)
{
    return strcmp(a->text, b->text) == 0;
}
