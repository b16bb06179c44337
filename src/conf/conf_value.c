#include "conf/conf_value.h"

#include "base/check.h"
#include "base/text.h"
#include "base/units.h"

#define WORD_MAX_BYTES ((size_t)64 * 1024)

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

/* Doubles at powers of two, so that a long list costs no more than twice its length. */
void conf_list_add(struct conf_list *list, const char *item, struct conf_store *store)
{
    size_t n = list->count;
    if ((n & (n - 1)) == 0) {
        const char **grown = conf_store_alloc(store, (n != 0 ? 2 * n : 1) * sizeof *grown);
        if (n != 0)
            memcpy(grown, list->items, n * sizeof *grown);
        list->items = grown;
    }
    list->items[list->count++] = item;
}

/*
 * A walk over a value's octets that knows what is quoted. Quotes and the backslash of \" and \\
 * inside them are marks; any other octet is text.
 */
struct walk {
    struct slice left;
    bool quoted;
    uint8_t octet; /* the octet just read */
    bool is_mark;
};

static bool walk_next(struct walk *w)
{
    if (w->left.len == 0)
        return false;
    uint8_t c = w->left.ptr[0];
    w->left = slice_from(w->left, 1);
    w->is_mark = false;
    w->octet = c;
    if (c == '"') {
        w->quoted = !w->quoted;
        w->is_mark = true;
    } else if (w->quoted && c == '\\' && w->left.len != 0 &&
               (w->left.ptr[0] == '"' || w->left.ptr[0] == '\\')) {
        w->octet = w->left.ptr[0];
        w->left = slice_from(w->left, 1);
    }
    return true;
}

static bool open_quote(struct err *err)
{
    return err_set(err, ERR_CONFIG, "a quote is not closed; inside quotes a quote is written \\\"");
}

bool conf_value_end(struct slice text, size_t *end, struct err *err)
{
    struct walk w = { .left = text };
    bool after_blank = true;
    while (walk_next(&w)) {
        bool plain = !w.quoted && !w.is_mark;
        if (plain && after_blank && w.octet == ';') {
            *end = text.len - w.left.len - 1;
            return true;
        }
        if (plain && after_blank && w.octet == '#')
            return err_set(err, ERR_CONFIG,
                           "a comment after a value starts with \" ;\", "
                           "and a # that belongs to the value is put in quotes");
        after_blank = plain && is_blank(w.octet);
    }
    *end = text.len;
    return !w.quoted || open_quote(err);
}

/* The pieces of `text` between separators outside quotes; `any` collects one piece. */
static bool split(struct slice text, bool at_commas, struct conf_store *store,
                  struct conf_list *out, struct err *err)
{
    struct text any;
    text_init(&any, WORD_MAX_BYTES);
    struct walk w = { .left = text };
    bool started = false; /* a piece has begun: `""` is an empty one, blanks are none */
    size_t kept = 0;      /* up to where blanks at its end are not to be taken off */
    bool ok = true;
    *out = (struct conf_list){ 0 };
    for (bool more = true; more && ok;) {
        more = walk_next(&w);
        bool plain = more && !w.quoted && !w.is_mark;
        bool cut = !more || (plain && (at_commas ? w.octet == ',' : is_blank(w.octet)));
        if (cut && started) {
            any.len = kept;
            conf_list_add(out, conf_store_str(store, text_view(&any)), store);
        } else if (cut && at_commas) {
            ok = err_set(err, ERR_CONFIG, "an item between commas is empty");
        } else if (!cut && (!plain || started || !is_blank(w.octet))) {
            started = true;
            if (!w.is_mark)
                text_char(&any, (char)w.octet);
            kept = plain && is_blank(w.octet) ? kept : any.len;
        }
        if (cut) {
            text_clear(&any);
            started = false;
            kept = 0;
        }
        if (any.cut)
            ok = err_set(err, ERR_CONFIG, "a word is longer than %zu octets", WORD_MAX_BYTES);
    }
    text_fini(&any);
    return ok && (!w.quoted || open_quote(err));
}

bool conf_words(struct slice text, struct conf_store *store, struct conf_list *out, struct err *err)
{
    return split(text, false, store, out, err);
}

bool conf_commas(struct slice text, struct conf_store *store, struct conf_list *out,
                 struct err *err)
{
    return split(text, true, store, out, err);
}

bool conf_unquote(struct slice text, struct conf_store *store, const char **out, struct err *err)
{
    char *to = conf_store_alloc(store, text.len + 1);
    struct walk w = { .left = slice_trim(text) };
    *out = to;
    while (walk_next(&w)) {
        if (!w.is_mark)
            *to++ = (char)w.octet;
    }
    return !w.quoted || open_quote(err);
}

/* A unit, a point or a percent sign tells a share from a size; a bare number is a size. */
bool conf_share_of(struct slice text, struct conf_share *out)
{
    struct conf_share share = { 0 };
    share.is_fraction = text.len != 0 && (memchr(text.ptr, '%', text.len) != NULL ||
                                          memchr(text.ptr, '.', text.len) != NULL);
    bool ok = share.is_fraction ? units_percent(text, &share.fraction)
                                : units_size_bytes(text, &share.bytes);
    if (ok)
        *out = share;
    return ok;
}

static bool port_of(struct slice text, uint16_t *out)
{
    uint64_t port;
    if (text.len > 5 || !units_u64(text, &port) || port > UINT16_MAX)
        return false;
    *out = (uint16_t)port;
    return true;
}

/* Where the port's colon is; SIZE_MAX when there is none. A second colon makes it an IPv6 address,
 * which needs brackets to be told from its port. */
static bool find_colon(struct slice s, size_t *at, struct err *err)
{
    size_t from = 0;
    *at = SIZE_MAX;
    if (s.len != 0 && s.ptr[0] == '[') {
        const uint8_t *end = memchr(s.ptr, ']', s.len);
        from = end != NULL ? (size_t)(end - s.ptr) + 1 : 0;
        if (from < 3 || (from != s.len && s.ptr[from] != ':'))
            return err_set(err, ERR_CONFIG, "an IPv6 address is written [address]:port");
    }
    for (size_t i = from; i < s.len; i++) {
        if (s.ptr[i] != ':')
            continue;
        if (*at != SIZE_MAX)
            return err_set(err, ERR_CONFIG, "an IPv6 address is written [address]:port");
        *at = i;
    }
    return true;
}

static bool host_is_sane(struct slice host)
{
    for (size_t i = 0; i < host.len; i++) {
        uint8_t c = host.ptr[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  strchr("-._:%", c) != NULL;
        if (!ok || c == '\0')
            return false;
    }
    return host.len <= 255;
}

static bool tcp_address(struct slice s, int default_port, struct conf_store *store,
                        struct conf_address *out, struct err *err)
{
    size_t colon;
    if (!find_colon(s, &colon, err))
        return false;
    struct slice host = slice_head(s, colon);
    if (colon == SIZE_MAX && default_port < 0)
        return err_set(err, ERR_CONFIG, "a port is missing: host:port, :port or [v6]:port");
    if (colon == SIZE_MAX)
        out->port = (uint16_t)default_port;
    else if (!port_of(slice_from(s, colon + 1), &out->port))
        return err_set(err, ERR_CONFIG, "the port must be a number from 0 to 65535");
    if (host.len >= 2 && host.ptr[0] == '[')
        host = slice_of(host.ptr + 1, host.len - 2);
    if (slice_is(host, "*"))
        host = slice_str("");
    if (!host_is_sane(host))
        return err_set(err, ERR_CONFIG, "that is no host name or address");
    out->kind = CONF_ADDRESS_TCP;
    out->host = conf_store_str(store, host);
    return true;
}

bool conf_address_of(const char *text, int default_port, struct conf_store *store,
                     struct conf_address *out, struct err *err)
{
    CHECK(default_port >= -1 && default_port <= UINT16_MAX);
    struct conf_address a = { .host = "", .path = "" };
    struct slice s = slice_trim(slice_str(text));
    a.text = conf_store_str(store, s);
    if (s.len == 0)
        return err_set(err, ERR_CONFIG, "an address is missing: host:port, :port or [v6]:port");
    if (slice_starts(s, "unix@"))
        s = slice_from(s, 5);
    if (slice_starts(s, "/")) {
        a.kind = CONF_ADDRESS_UNIX;
        a.path = conf_store_str(store, s);
    } else if (s.ptr != NULL && slice_starts(slice_str(a.text), "unix@")) {
        return err_set(err, ERR_CONFIG, "the path of a unix socket starts with /");
    } else if (!tcp_address(s, default_port, store, &a, err)) {
        return false;
    }
    *out = a;
    return true;
}
