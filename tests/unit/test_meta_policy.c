/* The words are RabbitMQ 3.10.8's. */
#include "meta_world.h"

static const char *name_of(const struct meta_policy *p)
{
    static char room[META_NAME_MAX + 1];
    if (p == NULL)
        snprintf(room, sizeof room, "none");
    else
        snprintf(room, sizeof room, "%.*s", SLICE_ARG(p->name));
    return room;
}

static const char *of_queue(const struct world *w, const char *name)
{
    return name_of(meta_policy_of_queue(now(w), queue_now(w, name)));
}

static const char *of_exchange(const struct world *w, const char *name)
{
    return name_of(meta_policy_of_exchange(now(w), vhost_now(w), exchange_now(w, name)->def));
}

static void refuse(struct world *w, struct meta_cmd cmd, const char *what)
{
    char text[META_TEXT_MAX];
    snprintf(text, sizeof text, "Validation failed\n\n%s\n", what);
    must_not(w, cmd, 400, text);
}

/* ---- which one counts ---- */

Test(meta_policy, is_the_one_of_highest_priority_that_matches)
{
    struct world w;
    world_init(&w, 1);
    must(&w, q_declare("a1"));
    must(&w, q_declare("b1"));
    cr_expect(eq(str, (char *)of_queue(&w, "a1"), "none"));
    must(&w, policy_put("low", "", "{\"expires\":1}", 0));
    must(&w, policy_put("high", "^a", "{\"expires\":2}", 5));
    cr_expect(eq(str, (char *)of_queue(&w, "a1"), "high"));
    cr_expect(eq(str, (char *)of_queue(&w, "b1"), "low"));
    must(&w, policy_put("high", "^a", "{\"expires\":2}", -1));
    cr_expect(eq(str, (char *)of_queue(&w, "a1"), "low"));
    must(&w, policy_put("also", "1$", "{\"expires\":3}", 0));
    cr_expect(eq(str, (char *)of_queue(&w, "a1"), "also"), "the first by name among equals");
    must(&w, policy_clear("also"));
    must(&w, policy_clear("low"));
    cr_expect(eq(str, (char *)of_queue(&w, "a1"), "high"));
    cr_expect(eq(str, (char *)of_queue(&w, "b1"), "none"));
    cr_expect(eq(u64, meta_stats(w.meta).policy_count, 1));
    must_not(&w, policy_clear("low"), 404, "Parameter does not exist");
    world_fini(&w);
}

Test(meta_policy, is_for_queues_or_exchanges_or_both)
{
    struct world w;
    world_init(&w, 1);
    must(&w, q_declare("n"));
    must(&w, x_declare("n", "direct"));
    must(&w, for_only(policy_put("x", "n", "{\"alternate-exchange\":\"ae\"}", 2), "exchanges"));
    must(&w, for_only(policy_put("q", "n", "{\"expires\":1}", 1), "queues"));
    cr_expect(eq(str, (char *)of_queue(&w, "n"), "q"));
    cr_expect(eq(str, (char *)of_exchange(&w, "n"), "x"));
    must(&w, for_only(policy_put("b", "n", "{\"expires\":1}", 3), "all"));
    cr_expect(eq(str, (char *)of_queue(&w, "n"), "b"));
    cr_expect(eq(str, (char *)of_exchange(&w, "n"), "b"));
    cr_expect(meta_operator_policy_of_queue(now(&w), queue_now(&w, "n")) == NULL);
    must(&w, operators(policy_put("o", "", "{\"expires\":1}", 0)));
    cr_expect(
        eq(str, (char *)name_of(meta_operator_policy_of_queue(now(&w), queue_now(&w, "n"))), "o"));
    cr_expect(meta_policy_find(now(&w), vhost_now(&w), S("o"), true) != NULL);
    cr_expect(meta_policy_find(now(&w), vhost_now(&w), S("o"), false) == NULL);
    world_fini(&w);
}

Test(meta_policy, passes_queues_by_that_cannot_follow_it)
{
    struct world w;
    struct args a;
    world_init(&w, 1);
    must(&w, q_declare("classic"));
    struct meta_cmd c = q_declare("quorum");
    c.queue_declare.durable = true;
    c.queue_declare.args = args_str(&a, "x-queue-type", "quorum");
    must(&w, c);
    must(&w, policy_put("all", "", "{\"max-length\":1}", 0));
    must(&w, policy_put("limit", "", "{\"delivery-limit\":1,\"max-length\":2}", 1));
    must(&w, policy_put("mirror", "", "{\"ha-mode\":\"all\"}", 2));
    cr_expect(eq(str, (char *)of_queue(&w, "classic"), "mirror"));
    cr_expect(eq(str, (char *)of_queue(&w, "quorum"), "limit"));
    must(&w, policy_clear("mirror"));
    cr_expect(eq(str, (char *)of_queue(&w, "classic"), "all"));
    world_fini(&w);
}

Test(meta_policy, may_be_asked_for_without_the_vhost)
{
    struct world w;
    world_init(&w, 1);
    const struct meta_version before = *now(&w);
    struct meta_cmd c = q_declare("q");
    must(&w, (struct meta_cmd){ .op = META_VHOST_ADD, .name = S("new") });
    w.vhost = w.r.id;
    must(&w, policy_put("p", "", "{\"expires\":1}", 0));
    must(&w, c);
    cr_expect(eq(str, (char *)of_queue(&w, "q"), "p"));
    cr_expect(meta_policy_of_queue(&before, queue_now(&w, "q")) == NULL);
    cr_expect(meta_operator_policy_of_queue(&before, queue_now(&w, "q")) == NULL);
    world_fini(&w);
}

Test(meta_policy, gives_exchanges_their_alternate)
{
    struct world w;
    struct args a;
    world_init(&w, 1);
    must(&w, x_declare("x1", "direct"));
    struct meta_cmd own = x_declare("x2", "direct");
    own.exchange_declare.args = args_str(&a, "alternate-exchange", "mine");
    must(&w, own);
    must(&w, policy_put("p", "^x", "{\"alternate-exchange\":\"ae\"}", 0));
    cr_expect(slice_is(exchange_now(&w, "x1")->alternate, "ae"));
    cr_expect(slice_is(exchange_now(&w, "x2")->alternate, "mine"));
    cr_expect(exchange_now(&w, "amq.direct")->alternate.ptr == NULL);
    uint64_t routes = now(&w)->routes;
    must(&w, policy_put("p", "^x", "{\"alternate-exchange\":\"ae\",\"max-length\":1}", 0));
    cr_expect(slice_is(exchange_now(&w, "x1")->alternate, "ae"));
    cr_expect(gt(u64, now(&w)->routes, routes));
    must(&w, x_declare("x3", "direct"));
    cr_expect(slice_is(exchange_now(&w, "x3")->alternate, "ae"));
    must(&w, policy_put("above", "^x3", "{\"max-length\":1}", 1));
    cr_expect(exchange_now(&w, "x3")->alternate.ptr == NULL, "the other policy has none");
    must(&w, policy_put("p", "^x1", "{\"alternate-exchange\":\"\"}", 0));
    cr_expect(exchange_now(&w, "x1")->alternate.ptr != NULL);
    cr_expect(eq(sz, exchange_now(&w, "x1")->alternate.len, 0));
    must(&w, policy_clear("p"));
    cr_expect(exchange_now(&w, "x1")->alternate.ptr == NULL);
    cr_expect(slice_is(exchange_now(&w, "x2")->alternate, "mine"));
    world_fini(&w);
}

Test(meta_policy, tells_of_changes_and_goes_with_its_vhost)
{
    struct world w;
    world_init(&w, 1);
    must(&w, policy_put("p", "a+", "{\"expires\":1}", 0));
    cr_assert(eq(sz, w.r.effect_count, 1));
    cr_expect(w.r.effects[0].kind == META_POLICIES_CHANGED && w.r.effects[0].vhost_id == w.vhost);
    must(&w, operators(policy_put("p", "a+", "{\"expires\":1}", 0)));
    must(&w, policy_put("q", "a+", "{\"alternate-exchange\":\"ae\"}", 0));
    cr_expect(eq(u64, meta_stats(w.meta).policy_count, 3));
    must(&w, (struct meta_cmd){ .op = META_VHOST_DELETE, .name = S("/") });
    cr_expect(eq(u64, meta_stats(w.meta).policy_count, 0));
    must_not(&w, policy_put("p", "", "{\"expires\":1}", 0), 530, "vhost not found");
    world_fini(&w);
}

/* ---- definitions ---- */

Test(meta_policy, takes_definitions_apart)
{
    struct world w;
    world_init(&w, 1);
    must(&w, policy_put("p", "",
                        "{ \"message-ttl\": 1, \"expires\": 2, \"max-length\": 3,"
                        "\"max-length-bytes\": 4, \"delivery-limit\": 5, \"consumer-timeout\": 6,"
                        "\"overflow\": \"reject-publish-dlx\", \"dead-letter-exchange\": \"\","
                        "\"dead-letter-routing-key\": \"k\", \"queue-mode\": \"lazy\","
                        "\"ha-mode\": \"exactly\", \"ha-params\": 2,"
                        "\"ha-sync-mode\": \"automatic\", \"alternate-exchange\": \"ae\" }",
                        0));
    const struct meta_policy *p = meta_policy_find(now(&w), vhost_now(&w), S("p"), false);
    cr_assert(p != NULL);
    const struct meta_policy_keys *k = &p->keys;
    cr_expect(k->message_ttl == 1 && k->expires == 2 && k->max_length == 3);
    cr_expect(k->max_length_bytes == 4 && k->delivery_limit == 5 && k->consumer_timeout == 6);
    cr_expect(k->overflow == META_OVERFLOW_REJECT_DLX);
    cr_expect(meta_policy_has(k, META_KEY_DEAD_LETTER_EXCHANGE));
    cr_expect(k->dead_letter_exchange.ptr != NULL && k->dead_letter_exchange.len == 0);
    cr_expect(slice_is(k->dead_letter_routing_key, "k") && slice_is(k->queue_mode, "lazy"));
    cr_expect(slice_is(k->ha_mode, "exactly") && slice_is(k->ha_sync_mode, "automatic"));
    cr_expect(slice_is(k->alternate_exchange, "ae"));
    cr_expect(meta_policy_has(k, META_KEY_HA_PARAMS) && !meta_policy_has(k, META_KEY_MAX_AGE));
    must(&w, policy_put("p", "", "{ \"max-length\": 3, \"expires\": 7 }", 4));
    p = meta_policy_find(now(&w), vhost_now(&w), S("p"), false);
    cr_expect(slice_is(p->definition, "{\"expires\":7,\"max-length\":3}"), "in order");
    must(&w, policy_put("q", "", "[[\"max-length\",3],[\"expires\",7]]", 4));
    cr_expect(slice_eq(meta_policy_find(now(&w), vhost_now(&w), S("q"), false)->definition,
                       p->definition),
              "as rabbitmqctl exports it");
    cr_expect(p->priority == 4 && p->apply_to == META_APPLY_ALL && p->keys.ha_mode.ptr == NULL);
    world_fini(&w);
}

Test(meta_policy, judges_definitions)
{
    static const struct {
        const char *definition;
        const char *what;
    } bad[] = {
        { "{}", "no policy provided" },
        { "{\"zork\":1}", "[{<<\"zork\">>,1}] are not recognised policy settings" },
        { "{\"zork\":{\"a\":[1,null]},\"max-length\":1,\"a\":1.5}",
          "[{<<\"a\">>,1.5},{<<\"zork\">>,#{<<\"a\">> => [1,null]}}] are not recognised policy "
          "settings" },
        { "{\"max-length\":-1}", "-1 is not a valid maximum length" },
        { "{\"max-length\":\"5\"}", "<<\"5\">> is not a valid maximum length" },
        { "{\"max-length\":1.0}", "1.0 is not a valid maximum length" },
        { "{\"max-length-bytes\":true}", "true is not a valid maximum length in bytes" },
        { "{\"max-in-memory-length\":-1}", "-1 is not a valid maximum memory in bytes" },
        { "{\"max-in-memory-bytes\":-1}", "-1 is not a valid maximum memory in bytes" },
        { "{\"message-ttl\":-1}", "-1 is not a valid message TTL" },
        { "{\"expires\":0}", "0 is not a valid queue expiry" },
        { "{\"delivery-limit\":[]}", "[] is not a valid delivery limit" },
        { "{\"overflow\":\"zork\"}", "<<\"zork\">> is not a valid overflow value" },
        { "{\"queue-mode\":\"zork\"}", "<<\"zork\">> is not a valid queue-mode value" },
        { "{\"alternate-exchange\":1}", "1 is not a valid alternate exchange name" },
        { "{\"dead-letter-exchange\":1}", "1 is not a valid dead letter exchange name" },
        { "{\"dead-letter-routing-key\":1}", "1 is not a valid dead letter routing key" },
        { "{\"max-age\":\"1x\"}", "<<\"1x\">> is not a valid max age" },
        { "{\"max-age\":\"00h\"}", "<<\"00h\">> is not a valid max age" },
        { "{\"stream-max-segment-size-bytes\":-1}", "-1 is not a valid segment size" },
        { "{\"dead-letter-strategy\":\"x\"}", "<<\"x\">> is not a valid dead letter strategy" },
        { "{\"queue-version\":3}", "3 is not a valid queue-version value" },
        { "{\"queue-version\":0}", "0 is not a valid queue-version value" },
        { "{\"max-length\":1e3}", "1.0e3 is not a valid maximum length" },
        { "{\"max-length\":100.0}", "100.0 is not a valid maximum length" },
        { "{\"max-length\":0.1}", "0.1 is not a valid maximum length" },
        { "{\"max-length\":1e30}", "1.0e30 is not a valid maximum length" },
        { "{\"max-length\":-12.25}", "-12.25 is not a valid maximum length" },
        { "{\"max-length\":1.5e-7}", "1.5e-7 is not a valid maximum length" },
        { "{\"max-length\":-1,\"expires\":0}", "0 is not a valid queue expiry" },
        { "{\"federation-upstream-set\":\"all\"}",
          "[{<<\"federation-upstream-set\">>,<<\"all\">>}] are not recognised policy settings" },
        { "{\"zork\":\"a\\\"b\\\\\"}",
          "[{<<\"zork\">>,<<\"a\\\"b\\\\\">>}] are not recognised policy settings" },
        { "{\"zork\":\"\"}", "[{<<\"zork\">>,<<>>}] are not recognised policy settings" },
        { "{\"zork\":{}}", "[{<<\"zork\">>,#{}}] are not recognised policy settings" },
        { "[]", "definition must be a dictionary: []" },
        { "[[\"a\"]]", "definition must be a dictionary: [[<<\"a\">>]]" },
        { "\"x\"", "definition must be a dictionary: <<\"x\">>" },
        { "{\"initial-cluster-size\":-1}", "-1 is not a valid cluster size" },
        { "{\"queue-leader-locator\":\"x\"}",
          "<<\"x\">> is not a valid queue leader locator value" },
        { "{\"queue-master-locator\":\"x\"}", "<<\"x\">> invalid queue-master-locator value" },
        { "{\"ha-params\":1}", "ha-mode must be specified to specify ha-params, ha-sync-mode or "
                               "ha-promote-on-shutdown" },
        { "{\"ha-mode\":\"zork\"}", "<<\"zork\">> is not a valid ha-mode value" },
        { "{\"ha-mode\":\"all\",\"ha-params\":1}", "ha-mode=\"all\" does not take parameters" },
        { "{\"ha-mode\":\"exactly\"}", "ha-mode=\"exactly\" takes an integer, none given" },
        { "{\"ha-mode\":\"exactly\",\"ha-params\":0}",
          "ha-mode=\"exactly\" takes an integer, 0 given" },
        { "{\"ha-mode\":\"nodes\",\"ha-params\":1}", "ha-mode=\"nodes\" takes a list, 1 given" },
        { "{\"ha-mode\":\"nodes\",\"ha-params\":[]}", "ha-mode=\"nodes\" list must be non-empty" },
        { "{\"ha-mode\":\"nodes\",\"ha-params\":[\"a\",1]}",
          "ha-mode=\"nodes\" takes a list of strings, [1] was not a string" },
        { "{\"ha-mode\":\"all\",\"ha-sync-mode\":\"x\"}",
          "ha-sync-mode must be \"manual\" or \"automatic\", got <<\"x\">>" },
        { "{\"ha-mode\":\"all\",\"ha-sync-batch-size\":0}",
          "ha-sync-batch-size takes an integer greater than 0, 0 given" },
        { "{\"ha-mode\":\"all\",\"ha-min-in-sync\":0}",
          "ha-min-in-sync takes an integer greater than 0, 0 given" },
        { "{\"ha-mode\":\"all\",\"ha-replace-after\":-1}",
          "ha-replace-after takes an integer that is not negative, -1 given" },
        { "{\"ha-replace-after\":5}",
          "ha-mode must be specified to specify ha-params, ha-sync-mode or "
          "ha-promote-on-shutdown" },
        { "{\"ha-mode\":\"all\",\"ha-promote-on-shutdown\":\"x\"}",
          "ha-promote-on-shutdown must be \"always\" or \"when-synced\", got <<\"x\">>" },
        { "{\"ha-mode\":\"all\",\"ha-promote-on-failure\":false}",
          "ha-promote-on-failure must be \"always\" or \"when-synced\", got false" },
    };
    struct world w;
    world_init(&w, 1);
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        refuse(&w, policy_put("p", "", bad[i].definition, 0), bad[i].what);
    cr_expect(eq(u64, meta_stats(w.meta).policy_count, 0));
    world_fini(&w);
}

Test(meta_policy, judges_the_rest)
{
    struct world w;
    world_init(&w, 1);
    refuse(&w, policy_put("p", "(", "{\"expires\":1}", 0),
           "pattern should be regular expression but is invalid: {\"missing )\",1}");
    static const struct {
        const char *pattern;
        const char *why;
    } bad[] = {
        { "*", "{\"nothing to repeat\",0}" },
        { "[", "{\"missing terminating ] for character class\",\n"
               "                                                      1}" },
        { "a)", "{\"unmatched parentheses\",\n"
                "                                                      1}" },
        { "a\\", "{\"\\\\ at end of pattern\",\n"
                 "                                                      2}" },
        { "(?<a", "{\"syntax error in subpattern name (missing terminator)\",\n"
                  "                                                      4}" },
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        char what[256];
        snprintf(what, sizeof what, "pattern should be regular expression but is invalid: %s",
                 bad[i].why);
        refuse(&w, policy_put("p", bad[i].pattern, "{\"expires\":1}", 0), what);
    }
    refuse(&w, for_only(policy_put("p", "(", "{\"max-length\":-1}", 0), "zork"),
           "-1 is not a valid maximum length\n"
           "apply-to 'zork' unrecognised; should be 'queues', 'exchanges' or 'all'\n"
           "pattern should be regular expression but is invalid: {\"missing )\",1}");
    refuse(&w, for_only(policy_put("p", "", "{\"expires\":1}", 0), "zork"),
           "apply-to 'zork' unrecognised; should be 'queues', 'exchanges' or 'all'");
    refuse(&w, operators(policy_put("p", "", "{\"ha-mode\":\"all\"}", 0)),
           "[{<<\"ha-mode\">>,<<\"all\">>}] are not recognised policy settings");
    refuse(&w, operators(policy_put("p", "", "{\"overflow\":\"drop-head\"}", 0)),
           "[{<<\"overflow\">>,<<\"drop-head\">>}] are not recognised policy settings");
    must(&w, operators(policy_put("p", "",
                                  "{\"expires\":1,\"message-ttl\":1,\"max-length\":1,"
                                  "\"max-length-bytes\":1,\"delivery-limit\":1,"
                                  "\"max-in-memory-length\":1,\"max-in-memory-bytes\":1}",
                                  0)));
    world_fini(&w);
}
