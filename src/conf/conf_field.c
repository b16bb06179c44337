#include "conf/conf_field.h"

#include "base/check.h"
#include "base/text.h"
#include "base/units.h"

#define SHOWN_MAX 80 /* octets of a bad value that a complaint repeats */

static const char *const type_texts[] = {
#define X(name, what) what,
    CONF_TYPES(X)
#undef X
};

static const size_t field_bytes[] = {
    [CONF_BOOL] = sizeof(bool),
    [CONF_FLAG] = sizeof(bool),
    [CONF_U64] = sizeof(uint64_t),
    [CONF_DURATION] = sizeof(uint64_t),
    [CONF_SIZE] = sizeof(uint64_t),
    [CONF_SHARE] = sizeof(struct conf_share),
    [CONF_CHOICE] = sizeof(int),
    [CONF_STRING] = sizeof(const char *),
    [CONF_LIST] = sizeof(struct conf_list),
    [CONF_WORDS] = sizeof(struct conf_list),
    [CONF_ADDRESS] = sizeof(struct conf_address),
    [CONF_ADDRESSES] = sizeof(struct conf_addresses),
};
_Static_assert(ARRAY_COUNT(field_bytes) == ARRAY_COUNT(type_texts), "a size for each type");

/* One value on its way to its field. */
struct setting {
    const struct conf_directive *d;
    void *field;
    struct slice text;
    const char *where;
    struct conf_store *store;
    struct err *err;
    void *instance;
};

void conf_field_clear(const struct conf_directive *d, void *instance)
{
    if (d->set == NULL)
        memset((char *)instance + d->offset, 0, field_bytes[d->type]);
}

/* `"64x" is not a size such as ...`; what is secret is not repeated. */
static bool not_a(const struct setting *s, const char *what)
{
    char room[4 * SHOWN_MAX + 8];
    struct text shown = text_over(room, sizeof room);
    if ((s->d->flags & CONF_SECRET) != 0) {
        text_str(&shown, "this value");
    } else {
        text_char(&shown, '"');
        text_escaped(&shown, slice_head(s->text, SHOWN_MAX));
        text_str(&shown, s->text.len > SHOWN_MAX ? "...\"" : "\"");
    }
    const char *zero = s->d->zero;
    return err_set(s->err, ERR_CONFIG, "%s is not %s%s%s%s", room, what,
                   zero != NULL ? " (or \"" : "", zero != NULL ? zero : "",
                   zero != NULL ? "\")" : "");
}

/* A bare number but 0 is refused: to some it means seconds, to others, as in HAProxy, ms. */
static bool duration_of(struct slice text, uint64_t *out)
{
    if (slice_is(text, "0")) {
        *out = 0;
        return true;
    }
    return units_duration_ms(text, 0, out);
}

static bool set_number(const struct setting *s)
{
    uint64_t v;
    const struct conf_directive *d = s->d;
    bool ok = d->type == CONF_U64        ? units_u64(s->text, &v)
              : d->type == CONF_DURATION ? duration_of(s->text, &v)
                                         : units_size_bytes(s->text, &v);
    if (!ok)
        return not_a(s, type_texts[d->type]);
    const char *unit = d->type == CONF_DURATION ? " ms" : d->type == CONF_SIZE ? " octets" : "";
    if (v < d->min)
        return err_set(s->err, ERR_CONFIG, "%.*s is too little, the least is %llu%s",
                       SLICE_ARG(s->text), (unsigned long long)d->min, unit);
    if (d->max != 0 && v > d->max)
        return err_set(s->err, ERR_CONFIG, "%.*s is too much, the most is %llu%s",
                       SLICE_ARG(s->text), (unsigned long long)d->max, unit);
    memcpy(s->field, &v, sizeof v);
    return true;
}

/* The place of the text among "always|interval|none" is the enum's value. */
static bool set_choice(const struct setting *s)
{
    int place = 0;
    struct slice left = slice_str(s->d->choices);
    while (left.len != 0) {
        const uint8_t *bar = memchr(left.ptr, '|', left.len);
        size_t n = bar != NULL ? (size_t)(bar - left.ptr) : left.len;
        if (slice_eq(s->text, slice_head(left, n))) {
            memcpy(s->field, &place, sizeof place);
            return true;
        }
        left = slice_from(left, n + 1);
        place++;
    }
    char what[256];
    struct text text = text_over(what, sizeof what);
    text_put(&text, "one of %s", s->d->choices);
    return not_a(s, what);
}

static bool call_set(const struct setting *s, const struct conf_list *words, const char *text)
{
    struct conf_value v = { .where = s->where, .text = text, .store = s->store };
    if (words != NULL)
        v.words = *words;
    return s->d->set(s->instance, &v, s->err);
}

static bool set_list(const struct setting *s)
{
    struct conf_list list;
    bool ok = s->d->type == CONF_LIST ? conf_commas(s->text, s->store, &list, s->err)
                                      : conf_words(s->text, s->store, &list, s->err);
    if (!ok)
        return false;
    if (s->d->set != NULL)
        return call_set(s, &list, conf_store_str(s->store, s->text));
    struct conf_list all;
    memcpy(&all, s->field, sizeof all);
    for (size_t i = 0; i < list.count; i++)
        conf_list_add(&all, list.items[i], s->store);
    memcpy(s->field, &all, sizeof all);
    return true;
}

static bool set_string(const struct setting *s)
{
    const char *text;
    if (!conf_unquote(s->text, s->store, &text, s->err))
        return false;
    if (s->d->set != NULL)
        return call_set(s, NULL, text);
    memcpy(s->field, &text, sizeof text);
    return true;
}

static bool set_addresses(const struct setting *s)
{
    struct conf_list list;
    struct conf_addresses all = { 0 };
    if (!conf_commas(s->text, s->store, &list, s->err))
        return false;
    all.items = conf_store_alloc(s->store, list.count * sizeof *all.items);
    for (; all.count < list.count; all.count++) {
        if (!conf_address_of(list.items[all.count], -1, s->store, &all.items[all.count], s->err))
            return false;
    }
    memcpy(s->field, &all, sizeof all);
    return true;
}

static bool set_address(const struct setting *s)
{
    struct conf_address a;
    const char *text;
    if (!conf_unquote(s->text, s->store, &text, s->err) ||
        !conf_address_of(text, -1, s->store, &a, s->err))
        return false;
    memcpy(s->field, &a, sizeof a);
    return true;
}

static bool set_bool(const struct setting *s)
{
    bool v;
    if (!units_bool(s->text, &v))
        return not_a(s, type_texts[CONF_BOOL]);
    memcpy(s->field, &v, sizeof v);
    return true;
}

static bool set_share(const struct setting *s)
{
    struct conf_share v;
    if (!conf_share_of(s->text, &v))
        return not_a(s, type_texts[CONF_SHARE]);
    if (!v.is_fraction && v.bytes < s->d->min)
        return err_set(s->err, ERR_CONFIG, "%.*s is too little, the least is %llu octets",
                       SLICE_ARG(s->text), (unsigned long long)s->d->min);
    memcpy(s->field, &v, sizeof v);
    return true;
}

static bool set_by_type(const struct setting *s)
{
    switch (s->d->type) {
    case CONF_BOOL:
        return set_bool(s);
    case CONF_U64:
    case CONF_DURATION:
    case CONF_SIZE:
        return set_number(s);
    case CONF_SHARE:
        return set_share(s);
    case CONF_CHOICE:
        return set_choice(s);
    case CONF_STRING:
        return set_string(s);
    case CONF_LIST:
    case CONF_WORDS:
        return set_list(s);
    case CONF_ADDRESS:
        return set_address(s);
    case CONF_ADDRESSES:
        return set_addresses(s);
    case CONF_FLAG:
        break; /* has no value: conf_options sees to it */
    }
    UNREACHABLE("type of a directive");
}

bool conf_field_set(const struct conf_directive *d, void *instance, struct slice text,
                    const char *where, struct conf_store *store, struct err *err)
{
    bool splits = d->type == CONF_STRING || d->type == CONF_LIST || d->type == CONF_WORDS;
    CHECK(d->set == NULL || splits);
    struct setting s = { .d = d, .text = slice_trim(text), .where = where, .store = store };
    s.err = err;
    s.instance = instance;
    s.field = d->set == NULL ? (char *)instance + d->offset : NULL;
    if (d->zero != NULL && d->set == NULL && slice_is(s.text, d->zero)) {
        conf_field_clear(d, instance);
        return true;
    }
    if (!splits && d->type != CONF_ADDRESS && d->type != CONF_ADDRESSES) {
        const char *bare; /* `"5s"` is as good as `5s` */
        if (!conf_unquote(s.text, store, &bare, err))
            return false;
        s.text = slice_str(bare);
    }
    return set_by_type(&s);
}
