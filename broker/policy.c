#include "policy.h"

#include "amqp/amqp_table.h"
#include "base/check.h"

static bool find_text(struct slice args, const char *name, struct slice *out)
{
    struct amqp_field f;
    return amqp_table_find(args, name, &f) && amqp_field_as_longstr(&f, out);
}

static enum queue_overflow overflow_of(struct slice word)
{
    return slice_is(word, "reject-publish")       ? QUEUE_REJECT_PUBLISH
           : slice_is(word, "reject-publish-dlx") ? QUEUE_REJECT_PUBLISH_DLX
                                                  : QUEUE_DROP_HEAD;
}

static void read_args(struct slice args, struct queue_settings *out)
{
    *out = (struct queue_settings){
        .message_ttl_ms = amqp_table_i64(args, "x-message-ttl", QUEUE_NO_LIMIT),
        .expires_ms = amqp_table_i64(args, "x-expires", QUEUE_NO_LIMIT),
        .max_length = amqp_table_i64(args, "x-max-length", QUEUE_NO_LIMIT),
        .max_length_bytes = amqp_table_i64(args, "x-max-length-bytes", QUEUE_NO_LIMIT),
        .delivery_limit = amqp_table_i64(args, "x-delivery-limit", QUEUE_NO_LIMIT),
        .consumer_timeout_ms = amqp_table_i64(args, "x-consumer-timeout", QUEUE_NO_LIMIT),
        .overflow = overflow_of(amqp_table_longstr(args, "x-overflow")),
        .max_priority = (uint8_t)amqp_table_i64(args, "x-max-priority", 0),
        .single_active = amqp_table_bool(args, "x-single-active-consumer", false),
        .is_quorum = slice_is(amqp_table_longstr(args, "x-queue-type"), "quorum"),
    };
    out->has_dlx = find_text(args, "x-dead-letter-exchange", &out->dlx);
    out->has_dlx_key = find_text(args, "x-dead-letter-routing-key", &out->dlx_key);
}

/* ---- policies ---------------------------------------------------------------------------------
 */

static void lower(int64_t *limit, int64_t value)
{
    if (*limit < 0 || value < *limit)
        *limit = value;
}

/* Limits: the smallest of all that there are. */
static void merge_limits(struct queue_settings *out, const struct meta_policy_keys *k)
{
    if (meta_policy_has(k, META_KEY_MESSAGE_TTL))
        lower(&out->message_ttl_ms, k->message_ttl);
    if (meta_policy_has(k, META_KEY_EXPIRES))
        lower(&out->expires_ms, k->expires);
    if (meta_policy_has(k, META_KEY_MAX_LENGTH))
        lower(&out->max_length, k->max_length);
    if (meta_policy_has(k, META_KEY_MAX_LENGTH_BYTES))
        lower(&out->max_length_bytes, k->max_length_bytes);
    if (meta_policy_has(k, META_KEY_DELIVERY_LIMIT))
        lower(&out->delivery_limit, k->delivery_limit);
    if (meta_policy_has(k, META_KEY_CONSUMER_TIMEOUT))
        lower(&out->consumer_timeout_ms, k->consumer_timeout);
}

static enum queue_overflow overflow_from(enum meta_overflow overflow)
{
    switch (overflow) {
    case META_OVERFLOW_DROP_HEAD:
        return QUEUE_DROP_HEAD;
    case META_OVERFLOW_REJECT:
        return QUEUE_REJECT_PUBLISH;
    case META_OVERFLOW_REJECT_DLX:
        return QUEUE_REJECT_PUBLISH_DLX;
    }
    UNREACHABLE("overflow");
}

/* The rest: who says it first. */
static void merge_words(struct queue_settings *out, bool *has_overflow,
                        const struct meta_policy_keys *k)
{
    if (!out->has_dlx && meta_policy_has(k, META_KEY_DEAD_LETTER_EXCHANGE)) {
        out->has_dlx = true;
        out->dlx = k->dead_letter_exchange;
    }
    if (!out->has_dlx_key && meta_policy_has(k, META_KEY_DEAD_LETTER_ROUTING_KEY)) {
        out->has_dlx_key = true;
        out->dlx_key = k->dead_letter_routing_key;
    }
    if (!*has_overflow && meta_policy_has(k, META_KEY_OVERFLOW)) {
        *has_overflow = true;
        out->overflow = overflow_from(k->overflow);
    }
}

/* A quorum queue's lifetime is the policies' to say, and so is what it does when it is full; and it
 * does not dead-letter what it refuses. */
static void quorum_rules(struct queue_settings *out, const struct meta_policy *const policies[2])
{
    bool has_expires = false;
    bool has_overflow = false;
    for (int i = 0; i < 2; i++) {
        const struct meta_policy_keys *k = policies[i] != NULL ? &policies[i]->keys : NULL;
        if (k != NULL && meta_policy_has(k, META_KEY_EXPIRES)) {
            out->expires_ms =
                has_expires && out->expires_ms < k->expires ? out->expires_ms : k->expires;
            has_expires = true;
        }
        if (k != NULL && !has_overflow && meta_policy_has(k, META_KEY_OVERFLOW)) {
            out->overflow = overflow_from(k->overflow);
            has_overflow = true;
        }
    }
    if (out->overflow == QUEUE_REJECT_PUBLISH_DLX)
        out->overflow = QUEUE_DROP_HEAD;
}

void policy_settings(const struct meta_version *v, const struct meta_queue *q,
                     struct queue_settings *out)
{
    struct slice args = meta_queue_args(q);
    struct amqp_field f;
    read_args(args, out);
    const struct meta_policy *const policies[2] = { meta_policy_of_queue(v, q),
                                                    meta_operator_policy_of_queue(v, q) };
    bool has_overflow = amqp_table_find(args, "x-overflow", &f);
    for (int i = 0; i < 2; i++) {
        if (policies[i] == NULL)
            continue;
        merge_limits(out, &policies[i]->keys);
        merge_words(out, &has_overflow, &policies[i]->keys);
    }
    if (out->is_quorum)
        quorum_rules(out, policies);
}
