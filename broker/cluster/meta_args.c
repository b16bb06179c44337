/* Which arguments a queue may be declared with. One table, in the order in which they are judged;
 * a line says for which types of queue an argument exists. */
#include "amqp/amqp_table.h"
#include "base/check.h"
#include "base/err.h"
#include "cluster/meta_state.h"

#define CLASSIC       1u
#define QUORUM        2u
#define STREAM        4u

#define EXPIRY_MAX_MS 315360000000 /* ten years */
#define PRIORITY_MAX  255

enum rule {
    ANYTHING,
    NON_NEGATIVE,
    EXPIRES,
    TTL,
    NAME,
    DEAD_LETTER_KEY,
    DEAD_LETTER_STRATEGY,
    PRIORITY,
    OVERFLOW,
    MODE,
    VERSION,
    FLAG,
    GROUP_SIZE,
    LOCATOR,
    HA_POLICY,
};

static const struct {
    const char *name;
    enum rule rule;
    unsigned types;
} args_known[] = {
    { "x-expires", EXPIRES, CLASSIC | QUORUM },
    { "x-message-ttl", TTL, CLASSIC | QUORUM },
    { "x-dead-letter-exchange", NAME, CLASSIC | QUORUM },
    { "x-dead-letter-routing-key", DEAD_LETTER_KEY, CLASSIC | QUORUM },
    { "x-dead-letter-strategy", DEAD_LETTER_STRATEGY, QUORUM },
    { "x-max-length", NON_NEGATIVE, CLASSIC | QUORUM },
    { "x-max-length-bytes", NON_NEGATIVE, CLASSIC | QUORUM | STREAM },
    { "x-max-in-memory-length", NON_NEGATIVE, QUORUM },
    { "x-max-in-memory-bytes", NON_NEGATIVE, QUORUM },
    { "x-max-priority", PRIORITY, CLASSIC },
    { "x-overflow", OVERFLOW, CLASSIC | QUORUM },
    { "x-queue-mode", MODE, CLASSIC },
    { "x-queue-version", VERSION, CLASSIC },
    { "x-single-active-consumer", FLAG, CLASSIC | QUORUM },
    { "x-queue-type", ANYTHING, CLASSIC | QUORUM | STREAM }, /* judged before all others */
    { "x-quorum-initial-group-size", GROUP_SIZE, QUORUM },
    { "x-queue-leader-locator", LOCATOR, QUORUM | STREAM },
    { "x-delivery-limit", ANYTHING, QUORUM },
    { "x-queue-master-locator", ANYTHING, CLASSIC },
    { "x-ha-policy", HA_POLICY, CLASSIC | QUORUM },       /* a quorum queue has a rule of its own */
    { "x-ha-policy-params", ANYTHING, CLASSIC | QUORUM }, /* judged with x-ha-policy */
    { "x-max-age", ANYTHING, STREAM },
    { "x-stream-max-segment-size-bytes", ANYTHING, STREAM },
    { "x-initial-cluster-size", ANYTHING, STREAM },
};

/* ---- one argument ---- */

struct judged {
    const struct amqp_field *f;
    struct slice args;
    struct text *why; /* gets what is wrong, in the form of RabbitMQ's terms */
};

static bool not_of_type(struct judged *j)
{
    text_put(j->why, "{unacceptable_type,%s}", amqp_field_type_name(j->f->type));
    return false;
}

static bool is_integer(struct judged *j, int64_t *out)
{
    if (amqp_field_as_i64(j->f, out))
        return true;
    text_put(j->why, "\"expected integer, got %s\"", amqp_field_type_name(j->f->type));
    return false;
}

static bool bad_value(struct judged *j, const char *what, int64_t value)
{
    text_put(j->why, "{%s,%lld}", what, (long long)value);
    return false;
}

static bool is_from_zero(struct judged *j, int64_t *out)
{
    if (!is_integer(j, out))
        return false;
    return *out >= 0 || bad_value(j, "value_negative", *out);
}

static bool is_positive(struct judged *j)
{
    int64_t v;
    if (!is_from_zero(j, &v))
        return false;
    return v != 0 || bad_value(j, "value_zero", v);
}

static bool is_expiry(struct judged *j, bool may_be_zero)
{
    int64_t v;
    if (!is_integer(j, &v))
        return false;
    if (v == 0 && !may_be_zero)
        return bad_value(j, "value_zero", v);
    if (v < 0)
        return bad_value(j, "value_negative", v);
    return v <= EXPIRY_MAX_MS || bad_value(j, "value_too_large", v);
}

static bool is_priority(struct judged *j)
{
    int64_t v;
    if (!is_from_zero(j, &v))
        return false;
    return v <= PRIORITY_MAX || bad_value(j, "max_value_exceeded", v);
}

static bool is_word(struct judged *j, struct slice *out)
{
    return amqp_field_as_longstr(j->f, out) || not_of_type(j);
}

static bool is_one_of(struct slice word, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (slice_is(word, words[i]))
            return true;
    return false;
}

static bool is_known_word(struct judged *j, const char *const *words, size_t count,
                          const char *what)
{
    struct slice word;
    if (!is_word(j, &word))
        return false;
    if (is_one_of(word, words, count))
        return true;
    text_str(j->why, what);
    return false;
}

static bool is_mode(struct judged *j)
{
    static const char *const modes[] = { "default", "lazy" };
    struct slice word;
    if (!is_word(j, &word))
        return false;
    if (is_one_of(word, modes, ARRAY_COUNT(modes)))
        return true;
    text_str(j->why, "\"unsupported queue mode '");
    text_slice(j->why, word);
    text_str(j->why, "'\"");
    return false;
}

static bool is_version(struct judged *j)
{
    int64_t v;
    if (!is_from_zero(j, &v))
        return false;
    if (v == 1 || v == 2)
        return true;
    text_put(j->why, "\"unsupported queue version '%lld'\"", (long long)v);
    return false;
}

static bool is_dead_letter_key(struct judged *j)
{
    struct slice word;
    struct amqp_field exchange;
    if (!is_word(j, &word))
        return false;
    if (amqp_table_find(j->args, "x-dead-letter-exchange", &exchange))
        return true;
    text_str(j->why, "routing_key_but_no_dlx_defined");
    return false;
}

static bool are_words(struct slice array)
{
    struct amqp_table_iter it = amqp_array_iter_init(array);
    struct amqp_field f;
    struct slice word;
    while (amqp_table_iter_next(&it, &f))
        if (!amqp_field_as_longstr(&f, &word))
            return false;
    return true;
}

static bool wrong(struct judged *j, const char *what)
{
    text_str(j->why, what);
    return false;
}

/* As RabbitMQ took it while it did, and as its policies have it. */
static bool is_ha_policy(struct judged *j)
{
    struct slice word;
    struct amqp_field params;
    int64_t count;
    if (!is_word(j, &word))
        return false;
    bool nodes = slice_is(word, "nodes"), exactly = slice_is(word, "exactly");
    if (slice_is(word, "all"))
        return true;
    if (!nodes && !exactly) {
        text_str(j->why, "{invalid_ha_policy,<<\"");
        text_slice(j->why, word);
        text_str(j->why, "\">>}");
        return false;
    }
    if (!amqp_table_find(j->args, "x-ha-policy-params", &params))
        return wrong(j, "{require,'x-ha-policy-params'}");
    if (exactly)
        return (amqp_field_as_i64(&params, &count) && count > 0) ||
               wrong(j, "require_positive_count_for_ha");
    if (params.type != AMQP_FIELD_ARRAY)
        return wrong(j, "ha_nodes_policy_params_not_array_of_longstr");
    if (params.bytes.len == 0)
        return wrong(j, "require_non_empty_list_of_nodes_for_ha");
    return are_words(params.bytes) || wrong(j, "require_node_list_as_longstrs_for_ha");
}

static bool suits(struct judged *j, enum rule rule)
{
    static const char *const strategies[] = { "at-most-once", "at-least-once" };
    static const char *const overflows[] = { "drop-head", "reject-publish", "reject-publish-dlx" };
    static const char *const locators[] = { "client-local", "balanced", "random", "least-leaders" };
    int64_t number;
    bool flag;
    struct slice word;
    switch (rule) {
    case ANYTHING:
        return true;
    case NON_NEGATIVE:
        return is_from_zero(j, &number);
    case EXPIRES:
        return is_expiry(j, false);
    case TTL:
        return is_expiry(j, true);
    case NAME:
        return is_word(j, &word);
    case DEAD_LETTER_KEY:
        return is_dead_letter_key(j);
    case DEAD_LETTER_STRATEGY:
        return is_known_word(j, strategies, ARRAY_COUNT(strategies), "invalid_dlx_strategy");
    case PRIORITY:
        return is_priority(j);
    case OVERFLOW:
        return is_known_word(j, overflows, ARRAY_COUNT(overflows), "invalid_overflow");
    case MODE:
        return is_mode(j);
    case VERSION:
        return is_version(j);
    case FLAG:
        return amqp_field_as_bool(j->f, &flag) || not_of_type(j);
    case GROUP_SIZE:
        return is_positive(j);
    case LOCATOR:
        return is_known_word(j, locators, ARRAY_COUNT(locators), "invalid_queue_locator_arg");
    case HA_POLICY:
        return is_ha_policy(j);
    }
    UNREACHABLE("rule");
}

/* ---- the type ---- */

static unsigned type_of(struct slice args)
{
    struct slice type = amqp_table_longstr(args, "x-queue-type");
    return slice_is(type, "quorum") ? QUORUM : slice_is(type, "stream") ? STREAM : CLASSIC;
}

static const char *type_name(unsigned type)
{
    return type == QUORUM   ? "rabbit_quorum_queue"
           : type == STREAM ? "rabbit_stream_queue"
                            : "rabbit_classic_queue";
}

/* Streams are not queues of ours: they are refused as a type that nobody knows. */
static bool is_type(struct judged *j)
{
    static const char *const types[] = { "classic", "quorum" };
    struct slice word;
    if (!is_word(j, &word))
        return false;
    if (is_one_of(word, types, ARRAY_COUNT(types)))
        return true;
    text_str(j->why, "\"unsupported queue type '");
    text_slice(j->why, word);
    text_str(j->why, "'\"");
    return false;
}

/* ---- all of a declaration's ---- */

static bool invalid(const char *arg, struct slice what, const struct meta_vhost *vh,
                    const struct meta_cmd *cmd, struct meta_refusal *why)
{
    struct text t = meta_refuse(why, AMQP_PRECONDITION_FAILED);
    text_put(&t, "invalid arg '%s' for ", arg);
    meta_put_thing(&t, "queue", cmd->name, vh);
    text_str(&t, ": ");
    text_slice(&t, what);
    return false;
}

/* RabbitMQ looks at this one first, with a text of its own. */
static bool dead_letter_type(const struct meta_vhost *vh, const struct meta_cmd *cmd,
                             struct meta_refusal *why)
{
    const char *arg = "x-dead-letter-exchange";
    struct amqp_field f;
    if (!amqp_table_find(cmd->queue_declare.args, arg, &f) || f.type == AMQP_FIELD_LONGSTR)
        return true;
    struct text t = meta_refuse(why, AMQP_PRECONDITION_FAILED);
    text_put(&t, "invalid type '%s' for arg '%s' in ", amqp_field_type_name(f.type), arg);
    meta_put_thing(&t, "queue", cmd->name, vh);
    return false;
}

static bool type_suits(const struct meta_vhost *vh, const struct meta_cmd *cmd,
                       struct meta_refusal *why)
{
    char room[ERR_TEXT_MAX];
    struct text what = text_over(room, sizeof room);
    struct amqp_field f;
    struct judged j = { &f, cmd->queue_declare.args, &what };
    if (!amqp_table_find(cmd->queue_declare.args, "x-queue-type", &f) || is_type(&j))
        return true;
    return invalid("x-queue-type", text_view(&what), vh, cmd, why);
}

static bool values_suit(unsigned type, const struct meta_vhost *vh, const struct meta_cmd *cmd,
                        struct meta_refusal *why)
{
    char room[ERR_TEXT_MAX];
    struct text what = text_over(room, sizeof room);
    struct amqp_field f;
    struct judged j = { &f, cmd->queue_declare.args, &what };
    for (size_t i = 0; i < ARRAY_COUNT(args_known); i++)
        if ((args_known[i].types & type) != 0 &&
            amqp_table_find(cmd->queue_declare.args, args_known[i].name, &f) &&
            !suits(&j, args_known[i].rule))
            return invalid(args_known[i].name, text_view(&what), vh, cmd, why);
    return true;
}

/* An argument that exists, but not for this type of queue, is a mistake; an unknown one is not. */
static bool all_belong(unsigned type, const struct meta_vhost *vh, const struct meta_cmd *cmd,
                       struct meta_refusal *why)
{
    struct amqp_table_iter it = amqp_table_iter_init(cmd->queue_declare.args);
    struct amqp_field f;
    while (amqp_table_iter_next(&it, &f)) {
        for (size_t i = 0; i < ARRAY_COUNT(args_known); i++) {
            if (!slice_is(f.name, args_known[i].name) || (args_known[i].types & type) != 0)
                continue;
            struct text t = meta_refuse(why, AMQP_PRECONDITION_FAILED);
            text_put(&t, "invalid arg '%s' for ", args_known[i].name);
            meta_put_thing(&t, "queue", cmd->name, vh);
            text_put(&t, " of queue type %s", type_name(type));
            return false;
        }
    }
    return true;
}

/* What a quorum queue cannot be. */
static bool quorum_suits(const struct meta_vhost *vh, const struct meta_cmd *cmd,
                         struct meta_refusal *why)
{
    const char *bad = cmd->queue_declare.auto_delete ? "auto-delete"
                      : cmd->queue_declare.exclusive ? "exclusive-owner"
                      : !cmd->queue_declare.durable  ? "non-durable"
                                                     : NULL;
    if (bad == NULL)
        return true;
    struct text t = meta_refuse(why, AMQP_PRECONDITION_FAILED);
    text_put(&t, "invalid property '%s' for ", bad);
    meta_put_thing(&t, "queue", cmd->name, vh);
    return false;
}

static bool name_suits(unsigned type, const struct meta_cmd *cmd, struct meta_refusal *why)
{
    if (!cmd->queue_declare.server_named || type == CLASSIC)
        return true;
    struct text t = meta_refuse(why, AMQP_PRECONDITION_FAILED);
    text_put(&t, "Cannot declare a server-named queue for type %s", type_name(type));
    return false;
}

bool meta_queue_is_quorum(const struct meta_queue *q)
{
    return type_of(meta_queue_args(q)) == QUORUM;
}

bool meta_queue_args_check(const struct meta_vhost *vh, const struct meta_cmd *cmd,
                           struct meta_refusal *why)
{
    unsigned type = type_of(cmd->queue_declare.args);
    return name_suits(type, cmd, why) && dead_letter_type(vh, cmd, why) &&
           type_suits(vh, cmd, why) && values_suit(type, vh, cmd, why) &&
           all_belong(type, vh, cmd, why) && (type != QUORUM || quorum_suits(vh, cmd, why));
}

/* Where mirrors are to be is for the first declaration to say. RabbitMQ does not compare it either,
 * so some clients say it and others of the same queue do not. */
static bool is_compared(const char *name)
{
    return !slice_starts(slice_str(name), "x-ha-policy");
}

bool meta_queue_args_same(const struct meta_vhost *vh, const struct meta_queue *q,
                          struct slice args, struct meta_refusal *why)
{
    struct slice current = meta_queue_args(q);
    if (slice_eq(args, current))
        return true;
    unsigned type = type_of(current);
    for (size_t i = 0; i < ARRAY_COUNT(args_known); i++)
        if ((args_known[i].types & type) != 0 && is_compared(args_known[i].name) &&
            !meta_same_arg(args_known[i].name, "queue", meta_queue_name(q), vh, args, current, why))
            return false;
    return true;
}
