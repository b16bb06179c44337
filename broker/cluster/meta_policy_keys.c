#include "cluster/meta_policy_keys.h"

#include "base/check.h"
#include "cluster/meta_state.h"

#include <stddef.h>

_Static_assert(META_KEY_COUNT <= 32, "the keys of a policy are bits of a word");

enum rule { NAME, FROM_ZERO, FROM_ONE, ONE_OR_TWO, WORD, AGE, HA };

static const char *const overflows[] = { "drop-head", "reject-publish", "reject-publish-dlx",
                                         NULL };
static const char *const modes[] = { "default", "lazy", NULL };
static const char *const strategies[] = { "at-most-once", "at-least-once", NULL };
static const char *const leader_locators[] = { "client-local", "balanced", "random",
                                               "least-leaders", NULL };
static const char *const master_locators[] = { "client-local", "random", "min-masters", NULL };

/* A line for each key: who may set it, what it may be, and what is said when it is not. */
static const struct {
    const char *name;
    enum rule rule;
    bool operators;
    const char *const *words; /* if WORD */
    const char *what;
} known[META_KEY_COUNT] = {
    [META_KEY_ALTERNATE_EXCHANGE] = { "alternate-exchange", NAME, false, NULL,
                                      "is not a valid alternate exchange name" },
    [META_KEY_CONSUMER_TIMEOUT] = { "consumer-timeout", FROM_ZERO, false, NULL,
                                    "is not a valid consumer timeout" },
    [META_KEY_DEAD_LETTER_EXCHANGE] = { "dead-letter-exchange", NAME, false, NULL,
                                        "is not a valid dead letter exchange name" },
    [META_KEY_DEAD_LETTER_ROUTING_KEY] = { "dead-letter-routing-key", NAME, false, NULL,
                                           "is not a valid dead letter routing key" },
    [META_KEY_DEAD_LETTER_STRATEGY] = { "dead-letter-strategy", WORD, false, strategies,
                                        "is not a valid dead letter strategy" },
    [META_KEY_DELIVERY_LIMIT] = { "delivery-limit", FROM_ZERO, true, NULL,
                                  "is not a valid delivery limit" },
    [META_KEY_EXPIRES] = { "expires", FROM_ONE, true, NULL, "is not a valid queue expiry" },
    [META_KEY_HA_MIN_IN_SYNC] = { "ha-min-in-sync", HA, false, NULL, NULL },
    [META_KEY_HA_MODE] = { "ha-mode", HA, false, NULL, NULL },
    [META_KEY_HA_PARAMS] = { "ha-params", HA, false, NULL, NULL },
    [META_KEY_HA_PROMOTE_ON_FAILURE] = { "ha-promote-on-failure", HA, false, NULL, NULL },
    [META_KEY_HA_PROMOTE_ON_SHUTDOWN] = { "ha-promote-on-shutdown", HA, false, NULL, NULL },
    [META_KEY_HA_REPLACE_AFTER] = { "ha-replace-after", HA, false, NULL, NULL },
    [META_KEY_HA_SYNC_BATCH_SIZE] = { "ha-sync-batch-size", HA, false, NULL, NULL },
    [META_KEY_HA_SYNC_MODE] = { "ha-sync-mode", HA, false, NULL, NULL },
    [META_KEY_INITIAL_CLUSTER_SIZE] = { "initial-cluster-size", FROM_ZERO, false, NULL,
                                        "is not a valid cluster size" },
    [META_KEY_MAX_AGE] = { "max-age", AGE, false, NULL, "is not a valid max age" },
    [META_KEY_MAX_IN_MEMORY_BYTES] = { "max-in-memory-bytes", FROM_ZERO, true, NULL,
                                       "is not a valid maximum memory in bytes" },
    [META_KEY_MAX_IN_MEMORY_LENGTH] = { "max-in-memory-length", FROM_ZERO, true, NULL,
                                        "is not a valid maximum memory in bytes" },
    [META_KEY_MAX_LENGTH] = { "max-length", FROM_ZERO, true, NULL,
                              "is not a valid maximum length" },
    [META_KEY_MAX_LENGTH_BYTES] = { "max-length-bytes", FROM_ZERO, true, NULL,
                                    "is not a valid maximum length in bytes" },
    [META_KEY_MESSAGE_TTL] = { "message-ttl", FROM_ZERO, true, NULL, "is not a valid message TTL" },
    [META_KEY_OVERFLOW] = { "overflow", WORD, false, overflows, "is not a valid overflow value" },
    [META_KEY_QUEUE_LEADER_LOCATOR] = { "queue-leader-locator", WORD, false, leader_locators,
                                        "is not a valid queue leader locator value" },
    [META_KEY_QUEUE_MASTER_LOCATOR] = { "queue-master-locator", WORD, false, master_locators,
                                        "invalid queue-master-locator value" },
    [META_KEY_QUEUE_MODE] = { "queue-mode", WORD, false, modes, "is not a valid queue-mode value" },
    [META_KEY_QUEUE_VERSION] = { "queue-version", ONE_OR_TWO, false, NULL,
                                 "is not a valid queue-version value" },
    [META_KEY_STREAM_MAX_SEGMENT_SIZE_BYTES] = { "stream-max-segment-size-bytes", FROM_ZERO, false,
                                                 NULL, "is not a valid segment size" },
};

/* ---- one key ---- */

static bool is_word_of(const json_t *value, const char *const *words)
{
    const char *word = json_string_value(value);
    for (; word != NULL && *words != NULL; words++)
        if (strcmp(word, *words) == 0)
            return true;
    return false;
}

/* "1h", "30D" and so on: for streams, which we have not, but a policy may say it. */
static bool is_age(const json_t *value)
{
    const char *text = json_string_value(value);
    size_t digits = text != NULL ? strspn(text, "0123456789") : 0;
    return digits != 0 && strspn(text, "0") != digits && text[digits] != '\0' &&
           strchr("YMDhms", text[digits]) != NULL && text[digits + 1] == '\0';
}

static bool is_integer_from(const json_t *value, json_int_t least)
{
    return json_is_integer(value) && json_integer_value(value) >= least;
}

static bool suits(enum meta_policy_key key, const json_t *value)
{
    switch (known[key].rule) {
    case NAME:
        return json_is_string(value);
    case FROM_ZERO:
        return is_integer_from(value, 0);
    case FROM_ONE:
        return is_integer_from(value, 1);
    case ONE_OR_TWO:
        return is_integer_from(value, 1) && json_integer_value(value) <= 2;
    case WORD:
        return is_word_of(value, known[key].words);
    case AGE:
        return is_age(value);
    case HA:
        return true; /* they are judged together */
    }
    UNREACHABLE("rule of a policy's key");
}

static bool find(const char *name, enum meta_policy_key *out)
{
    for (unsigned i = 0; i < META_KEY_COUNT; i++) {
        if (strcmp(known[i].name, name) != 0)
            continue;
        *out = (enum meta_policy_key)i;
        return true;
    }
    return false;
}

/* ---- mirroring ---- */

static const json_t *get(const json_t *definition, enum meta_policy_key key)
{
    return json_object_get(definition, known[key].name);
}

static bool put_bad(struct text *t, const char *before, const json_t *value, const char *after)
{
    text_str(t, before);
    if (value != NULL)
        meta_json_put_term(t, value);
    else
        text_str(t, "none");
    text_str(t, after);
    return false;
}

static bool nodes_suit(const json_t *params, struct text *t)
{
    if (!json_is_array(params))
        return put_bad(t, "ha-mode=\"nodes\" takes a list, ", params, " given");
    if (json_array_size(params) == 0) {
        text_str(t, "ha-mode=\"nodes\" list must be non-empty");
        return false;
    }
    json_t *bad = json_array();
    for (size_t i = 0; i < json_array_size(params); i++)
        if (!json_is_string(json_array_get(params, i)))
            json_array_append(bad, json_array_get(params, i));
    bool ok = json_array_size(bad) == 0 ||
              put_bad(t, "ha-mode=\"nodes\" takes a list of strings, ", bad, " was not a string");
    json_decref(bad);
    return ok;
}

static bool mode_suits(const json_t *definition, struct text *t)
{
    const json_t *mode = get(definition, META_KEY_HA_MODE);
    const json_t *params = get(definition, META_KEY_HA_PARAMS);
    const char *word = json_string_value(mode);
    if (word != NULL && strcmp(word, "all") == 0) {
        if (params == NULL)
            return true;
        text_str(t, "ha-mode=\"all\" does not take parameters");
        return false;
    }
    if (word != NULL && strcmp(word, "exactly") == 0)
        return is_integer_from(params, 1) ||
               put_bad(t, "ha-mode=\"exactly\" takes an integer, ", params, " given");
    if (word != NULL && strcmp(word, "nodes") == 0)
        return nodes_suit(params, t);
    return put_bad(t, "", mode, " is not a valid ha-mode value");
}

static bool is_one_of_two(const json_t *definition, enum meta_policy_key key, const char *one,
                          const char *other, struct text *t)
{
    const json_t *value = get(definition, key);
    const char *const words[] = { one, other, NULL };
    if (value == NULL || is_word_of(value, words))
        return true;
    text_put(t, "%s must be \"%s\" or \"%s\", got ", known[key].name, one, other);
    meta_json_put_term(t, value);
    return false;
}

static bool is_from(const json_t *definition, enum meta_policy_key key, json_int_t least,
                    struct text *t)
{
    const json_t *value = get(definition, key);
    if (value == NULL || is_integer_from(value, least))
        return true;
    text_put(t, "%s takes an integer ", known[key].name);
    if (least != 0)
        text_put(t, "greater than %lld, ", (long long)(least - 1));
    else
        text_str(t, "that is not negative, ");
    meta_json_put_term(t, value);
    text_str(t, " given");
    return false;
}

static bool has_ha(const json_t *definition)
{
    for (unsigned i = 0; i < META_KEY_COUNT; i++)
        if (known[i].rule == HA && get(definition, (enum meta_policy_key)i) != NULL)
            return true;
    return false;
}

static bool ha_suits(const json_t *definition, struct text *t)
{
    if (!has_ha(definition))
        return true;
    if (get(definition, META_KEY_HA_MODE) == NULL) {
        text_str(t, "ha-mode must be specified to specify ha-params, ha-sync-mode or "
                    "ha-promote-on-shutdown");
        return false;
    }
    return mode_suits(definition, t) &&
           is_one_of_two(definition, META_KEY_HA_SYNC_MODE, "manual", "automatic", t) &&
           is_from(definition, META_KEY_HA_SYNC_BATCH_SIZE, 1, t) &&
           is_from(definition, META_KEY_HA_MIN_IN_SYNC, 1, t) &&
           is_from(definition, META_KEY_HA_REPLACE_AFTER, 0, t) &&
           is_one_of_two(definition, META_KEY_HA_PROMOTE_ON_SHUTDOWN, "always", "when-synced", t) &&
           is_one_of_two(definition, META_KEY_HA_PROMOTE_ON_FAILURE, "always", "when-synced", t);
}

/* ---- all of them ---- */

/* Those that this policy cannot have, for the complaint. */
static json_t *strangers(const json_t *definition, bool is_operator)
{
    json_t *out = json_object();
    struct meta_json_iter it;
    const json_t *value;
    meta_json_iter(&it, definition);
    for (const char *name; (name = meta_json_next(&it, &value)) != NULL;) {
        enum meta_policy_key key;
        if (!find(name, &key) || (is_operator && !known[key].operators))
            json_object_set(out, name, (json_t *)(uintptr_t)value);
    }
    meta_json_iter_fini(&it);
    return out;
}

static bool values_suit(const json_t *definition, struct text *t)
{
    bool ok = true;
    struct meta_json_iter it;
    const json_t *value;
    meta_json_iter(&it, definition);
    for (const char *name; ok && (name = meta_json_next(&it, &value)) != NULL;) {
        enum meta_policy_key key;
        if (!find(name, &key) || suits(key, value))
            continue;
        meta_json_put_term(t, value);
        text_put(t, " %s", known[key].what);
        ok = false;
    }
    meta_json_iter_fini(&it);
    return ok;
}

static bool all_are_known(const json_t *definition, bool is_operator, struct text *t)
{
    json_t *bad = strangers(definition, is_operator);
    bool ok = json_object_size(bad) == 0;
    if (!ok) {
        meta_json_put_pairs(t, bad);
        text_str(t, " are not recognised policy settings");
    }
    json_decref(bad);
    return ok;
}

bool meta_policy_keys_suit(const json_t *definition, bool is_operator, struct text *t)
{
    bool ok = false;
    if (!json_is_object(definition))
        put_bad(t, "definition must be a dictionary: ", definition, "");
    else if (json_object_size(definition) == 0)
        text_str(t, "no policy provided");
    else
        ok = values_suit(definition, t) && (is_operator || ha_suits(definition, t)) &&
             all_are_known(definition, is_operator, t);
    if (!ok)
        text_char(t, '\n');
    return ok;
}

/* ---- taking it apart ---- */

/* Where the numbers and the words of a definition go. */
static const struct {
    enum meta_policy_key key;
    size_t offset;
} numbers[] = {
    { META_KEY_MESSAGE_TTL, offsetof(struct meta_policy_keys, message_ttl) },
    { META_KEY_EXPIRES, offsetof(struct meta_policy_keys, expires) },
    { META_KEY_MAX_LENGTH, offsetof(struct meta_policy_keys, max_length) },
    { META_KEY_MAX_LENGTH_BYTES, offsetof(struct meta_policy_keys, max_length_bytes) },
    { META_KEY_DELIVERY_LIMIT, offsetof(struct meta_policy_keys, delivery_limit) },
    { META_KEY_CONSUMER_TIMEOUT, offsetof(struct meta_policy_keys, consumer_timeout) },
    { META_KEY_HA_PARAMS, offsetof(struct meta_policy_keys, ha_count) }, /* 0: it is no number */
    { META_KEY_HA_MIN_IN_SYNC, offsetof(struct meta_policy_keys, ha_min_in_sync) },
    { META_KEY_HA_REPLACE_AFTER, offsetof(struct meta_policy_keys, ha_replace_after) },
    { META_KEY_HA_SYNC_BATCH_SIZE, offsetof(struct meta_policy_keys, ha_sync_batch_size) },
};
static const struct {
    enum meta_policy_key key;
    size_t offset;
} words[] = {
    { META_KEY_DEAD_LETTER_EXCHANGE, offsetof(struct meta_policy_keys, dead_letter_exchange) },
    { META_KEY_DEAD_LETTER_ROUTING_KEY,
      offsetof(struct meta_policy_keys, dead_letter_routing_key) },
    { META_KEY_ALTERNATE_EXCHANGE, offsetof(struct meta_policy_keys, alternate_exchange) },
    { META_KEY_QUEUE_MODE, offsetof(struct meta_policy_keys, queue_mode) },
    { META_KEY_HA_MODE, offsetof(struct meta_policy_keys, ha_mode) },
    { META_KEY_HA_PARAMS, offsetof(struct meta_policy_keys, ha_nodes) },
    { META_KEY_HA_SYNC_MODE, offsetof(struct meta_policy_keys, ha_sync_mode) },
    { META_KEY_HA_PROMOTE_ON_FAILURE, offsetof(struct meta_policy_keys, ha_promote_on_failure) },
    { META_KEY_HA_PROMOTE_ON_SHUTDOWN, offsetof(struct meta_policy_keys, ha_promote_on_shutdown) },
    { META_KEY_QUEUE_MASTER_LOCATOR, offsetof(struct meta_policy_keys, master_locator) },
    { META_KEY_QUEUE_LEADER_LOCATOR, offsetof(struct meta_policy_keys, leader_locator) },
};

static struct slice *word_at(struct meta_policy_keys *k, unsigned i)
{
    return (struct slice *)(void *)((uint8_t *)k + words[i].offset);
}

/* The names of nodes are many words; they become one. */
static struct slice join_nodes(const json_t *names, struct text *t)
{
    for (size_t i = 0; i < json_array_size(names); i++) {
        const json_t *name = json_array_get(names, i);
        text_slice(t, slice_of(json_string_value(name), json_string_length(name)));
        text_char(t, '\n');
    }
    CHECK(!t->cut);
    return text_view(t);
}

void meta_policy_keys_take(const json_t *definition, struct text *nodes, struct meta_policy_keys *k)
{
    *k = (struct meta_policy_keys){ 0 };
    for (unsigned i = 0; i < META_KEY_COUNT; i++)
        if (get(definition, (enum meta_policy_key)i) != NULL)
            k->has |= 1u << i;
    for (unsigned i = 0; i < ARRAY_COUNT(numbers); i++) {
        int64_t *number = (int64_t *)(void *)((uint8_t *)k + numbers[i].offset);
        *number = json_integer_value(get(definition, numbers[i].key));
    }
    for (unsigned i = 0; i < ARRAY_COUNT(words); i++) {
        const json_t *value = get(definition, words[i].key);
        if (json_is_array(value))
            *word_at(k, i) = join_nodes(value, nodes);
        else if (json_is_string(value))
            *word_at(k, i) = slice_of(json_string_value(value), json_string_length(value));
    }
    const json_t *overflow = get(definition, META_KEY_OVERFLOW);
    for (unsigned i = 0; overflow != NULL && overflows[i] != NULL; i++)
        if (strcmp(json_string_value(overflow), overflows[i]) == 0)
            k->overflow = (enum meta_overflow)i;
}

size_t meta_policy_words_bytes(const struct meta_policy_keys *k)
{
    struct meta_policy_keys copy = *k;
    size_t sum = 0;
    for (unsigned i = 0; i < ARRAY_COUNT(words); i++)
        sum += word_at(&copy, i)->len;
    return sum;
}

/* An empty word that is there must not look like one that is not. */
void meta_policy_put_words(struct meta_policy_keys *k, uint8_t **at)
{
    for (unsigned i = 0; i < ARRAY_COUNT(words); i++)
        if (meta_policy_has(k, words[i].key))
            *word_at(k, i) = meta_put_word(at, *word_at(k, i));
}
