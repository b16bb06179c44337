/*
 * fuzz_conf: a configuration file of any octets is loaded or refused with its name and line, and
 * what was split into words comes out the same when it is quoted and split again.
 */
#include "base/check.h"
#include "base/text.h"
#include "conf/conf.h"

#include <string.h>

struct everything {
    bool on;
    uint64_t number, wait_ms, bytes;
    struct conf_share share;
    int choice;
    const char *text;
    struct conf_list list, words;
    struct conf_address address;
    struct conf_addresses addresses;
    bool flag;
    uint64_t weight;
};

struct world {
    struct everything one;
    struct everything named[8];
    size_t count;
};

#define FIELD(member) .offset = CONF_FIELD(struct everything, member)

static const struct conf_directive option_rows[] = {
    { .key = "check", .type = CONF_FLAG, FIELD(flag) },
    { .key = "inter", .type = CONF_DURATION, FIELD(wait_ms) },
    { .key = "weight", .type = CONF_U64, .max = 256, FIELD(weight) },
    { .key = "crt", .type = CONF_STRING, FIELD(text) },
};

static bool set_server(void *instance, const struct conf_value *v, struct err *err)
{
    return conf_options(option_rows, ARRAY_COUNT(option_rows), &v->words, 0, instance, v->store,
                        err);
}

static void *open_named(void *root, const struct conf_value *name, struct err *err)
{
    struct world *w = root;
    CHECK(name->text[0] != '\0');
    if (w->count < ARRAY_COUNT(w->named))
        return &w->named[w->count++];
    err_set(err, ERR_CONFIG, "too many");
    return NULL;
}

static const struct conf_section sections[] = {
    { .kind = "global", .offset = CONF_FIELD(struct world, one) },
    { .kind = "backend", .named = true, .open = open_named },
};

#define ROWS(kind)                                                                                 \
    { .section = (kind), .key = "on", .type = CONF_BOOL, FIELD(on) },                              \
        { .section = (kind), .key = "number", .type = CONF_U64, .max = 100, FIELD(number) },       \
        { .section = (kind), .key = "timeout-wait", .type = CONF_DURATION, FIELD(wait_ms) },       \
        { .section = (kind), .key = "bytes", .type = CONF_SIZE, .min = 8, FIELD(bytes) },          \
        { .section = (kind), .key = "share", .type = CONF_SHARE, FIELD(share) },                   \
        { .section = (kind),                                                                       \
          .key = "choice",                                                                         \
          .type = CONF_CHOICE,                                                                     \
          .choices = "a|b|c",                                                                      \
          FIELD(choice) },                                                                         \
        { .section = (kind), .key = "text", .type = CONF_STRING, .zero = "none", FIELD(text) },    \
        { .section = (kind), .key = "list", .type = CONF_LIST, .flags = CONF_MANY, FIELD(list) },  \
        { .section = (kind), .key = "words", .type = CONF_WORDS, FIELD(words) },                   \
        { .section = (kind), .key = "bind", .type = CONF_ADDRESS, FIELD(address) },                \
        { .section = (kind), .key = "seeds", .type = CONF_ADDRESSES, FIELD(addresses) },           \
    {                                                                                              \
        .section = (kind), .key = "server", .type = CONF_WORDS, .flags = CONF_MANY,                \
        .set = set_server                                                                          \
    }

static const struct conf_directive directives[] = { ROWS("global"), ROWS("backend") };

static const struct conf_schema schema = { sections, ARRAY_COUNT(sections), directives,
                                           ARRAY_COUNT(directives) };

static void judge(const struct everything *e)
{
    CHECK(e->number <= 100 && e->choice >= 0 && e->choice < 3);
    CHECK(e->bytes == 0 || e->bytes >= 8);
    CHECK(!e->share.is_fraction || (e->share.fraction >= 0 && e->share.fraction <= 1));
    CHECK(e->weight <= 256);
    for (size_t i = 0; i < e->addresses.count; i++)
        CHECK(e->addresses.items[i].kind != CONF_ADDRESS_NONE);
}

static void load(struct slice bytes)
{
    struct world w = { .count = 0 };
    struct err err = { .code = ERR_NONE };
    struct conf_store *store = conf_store_new();
    if (conf_load_text(&schema, "f", bytes, NULL, 0, &w, store, &err)) {
        judge(&w.one);
        for (size_t i = 0; i < w.count; i++)
            judge(&w.named[i]);
    } else {
        CHECK(err.code == ERR_CONFIG && strncmp(err.text, "f:", 2) == 0);
        CHECK(err.text[2] >= '1' && err.text[2] <= '9');
    }
    conf_store_free(&store);
}

typedef bool (*split_fn)(struct slice text, struct conf_store *store, struct conf_list *out,
                         struct err *err);

static void split_twice(struct slice bytes, split_fn split, const char *between)
{
    struct conf_store *store = conf_store_new();
    struct conf_list first, second;
    struct err err;
    struct text again;
    text_init(&again, 4 << 20);
    if (memchr(bytes.ptr, '\0', bytes.len) == NULL && split(bytes, store, &first, &err)) {
        for (size_t i = 0; i < first.count; i++) {
            text_str(&again, i != 0 ? between : "");
            text_char(&again, '"');
            for (const char *c = first.items[i]; *c != '\0'; c++) {
                if (*c == '"' || *c == '\\')
                    text_char(&again, '\\');
                text_char(&again, *c);
            }
            text_char(&again, '"');
        }
        bool ok = split(text_view(&again), store, &second, &err);
        CHECK(ok && first.count == second.count);
        for (size_t i = 0; i < first.count; i++)
            CHECK(strcmp(first.items[i], second.items[i]) == 0);
    }
    text_fini(&again);
    conf_store_free(&store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = slice_of(data, size);
    load(bytes);
    if (size != 0 && size < 4096) {
        split_twice(bytes, conf_words, " ");
        split_twice(bytes, conf_commas, ",");
    }
    return 0;
}
