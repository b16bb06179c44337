#include "meta_world.h"

static const struct meta_user *user_now(const struct world *w, const char *name)
{
    return meta_user_find(now(w), S(name));
}

static const struct meta_permission *permission_now(const struct world *w, const char *user)
{
    return meta_permission_find(now(w), vhost_now(w), S(user));
}

static const struct meta_topic_permission *topic_now(const struct world *w, const char *user,
                                                     const char *exchange)
{
    return meta_topic_permission_find(now(w), vhost_now(w), S(user), S(exchange));
}

static struct meta_cmd limits(enum meta_op op, const char *name, const char *definition,
                              const char *limit)
{
    struct meta_cmd c = { .op = op, .name = S(name) };
    c.limits.definition = S(definition);
    c.limits.limit = S(limit);
    return c;
}

/* ---- users ---- */

Test(meta_user, changes_only_what_was_given)
{
    struct world w;
    world_init(&w, 1);
    cr_expect(user_now(&w, "u") == NULL);
    must(&w, user_put("u", "saltandhash", "administrator, monitoring"));
    uint64_t id = w.r.id;
    const struct meta_user *u = user_now(&w, "u");
    cr_assert(u != NULL);
    cr_expect(eq(u64, u->user_id, id));
    cr_expect(slice_is(u->name, "u") && slice_is(u->hash, "saltandhash"));
    cr_expect(u->hashing == META_HASHING_SHA256);
    cr_expect(u->max_connections == META_NO_LIMIT && u->max_channels == META_NO_LIMIT);
    cr_expect(meta_user_has_tag(u, "administrator") && meta_user_has_tag(u, "monitoring"));
    cr_expect(not(meta_user_has_tag(u, "admin")));
    cr_expect(not(meta_user_has_tag(u, "")));

    struct meta_cmd c = user_cmd(META_USER_PUT, "u");
    c.user.tags = S("policymaker");
    c.user.has_tags = true;
    must(&w, c);
    u = user_now(&w, "u");
    cr_expect(eq(u64, u->user_id, id));
    cr_expect(slice_is(u->hash, "saltandhash") && slice_is(u->tags, "policymaker"));

    c = user_cmd(META_USER_PUT, "u");
    c.user.has_hash = true; /* no login with a password any more */
    c.user.hashing = META_HASHING_PBKDF2;
    c.user.limits = S("{\"max-connections\":3}");
    c.user.has_limits = true;
    must(&w, c);
    u = user_now(&w, "u");
    cr_expect(eq(sz, u->hash.len, 0));
    cr_expect(u->hashing == META_HASHING_PBKDF2 && slice_is(u->tags, "policymaker"));
    cr_expect(u->max_connections == 3 && u->max_channels == META_NO_LIMIT);
    cr_expect(eq(u64, meta_stats(w.meta).user_count, 1));
    world_fini(&w);
}

Test(meta_user, is_new_or_there_as_asked)
{
    struct world w;
    world_init(&w, 1);
    struct meta_cmd c = user_put("u", "h", "");
    c.user.must_exist = true;
    must_not(&w, c, 404, "User \"u\" does not exist");
    c.user.must_exist = false;
    c.user.must_be_new = true;
    must(&w, c);
    must_not(&w, c, 409, "User \"u\" already exists");
    c.user.must_be_new = false;
    c.user.must_exist = true;
    must(&w, c);
    must(&w, user_cmd(META_USER_DELETE, "u"));
    must_not(&w, user_cmd(META_USER_DELETE, "u"), 404, "User \"u\" does not exist");
    must_not(&w, limits(META_USER_LIMITS_PUT, "u", "{}", ""), 404, "User \"u\" does not exist");
    world_fini(&w);
}

Test(meta_user, is_another_one_when_made_anew)
{
    struct world w;
    world_init(&w, 1);
    must(&w, user_put("u", "h", ""));
    uint64_t id = w.r.id;
    must(&w, user_cmd(META_USER_DELETE, "u"));
    cr_assert(eq(sz, w.r.effect_count, 1));
    cr_expect(w.r.effects[0].kind == META_USER_DELETED && w.r.effects[0].user_id == id);
    cr_expect(slice_is(w.r.effects[0].name, "u"));
    must(&w, user_put("u", "h", ""));
    cr_expect(gt(u64, w.r.id, id));
    world_fini(&w);
}

Test(meta_user, has_limits)
{
    struct world w;
    world_init(&w, 1);
    must(&w, user_put("u", "h", ""));
    must(&w, limits(META_USER_LIMITS_PUT, "u", "{\"max-connections\":5}", ""));
    must(&w, limits(META_USER_LIMITS_PUT, "u", "{\"max-channels\":0}", ""));
    cr_expect(user_now(&w, "u")->max_connections == 5 && user_now(&w, "u")->max_channels == 0);
    must(&w, limits(META_USER_LIMITS_CLEAR, "u", "", "max-channels"));
    cr_expect(user_now(&w, "u")->max_connections == 5);
    cr_expect(user_now(&w, "u")->max_channels == META_NO_LIMIT);
    must(&w, limits(META_USER_LIMITS_PUT, "u", "{\"max-channels\":7,\"max-connections\":-1}", ""));
    cr_expect(user_now(&w, "u")->max_connections == META_NO_LIMIT);
    must(&w, limits(META_USER_LIMITS_CLEAR, "u", "", ""));
    cr_expect(user_now(&w, "u")->max_channels == META_NO_LIMIT);
    must_not(&w, limits(META_USER_LIMITS_PUT, "u", "{\"max-connections\":\"x\"}", ""), 400,
             "max-connections should be a number, actually was <<\"x\">>");
    must_not(&w, limits(META_USER_LIMITS_PUT, "u", "{\"foo\":1}", ""), 400,
             "Unrecognised terms [{<<\"foo\">>,1}] in user-limits");
    must_not(&w, limits(META_USER_LIMITS_PUT, "u", "5", ""), 400, "user-limits not a list 5");
    struct meta_cmd c = user_put("u", "h", "");
    c.user.has_limits = true;
    c.user.limits = S("[]");
    must_not(&w, c, 400, "user-limits not a list []");
    world_fini(&w);
}

Test(meta_user, names_ways_to_hash)
{
    enum meta_hashing h;
    for (unsigned i = META_HASHING_SHA256; i <= META_HASHING_PBKDF2; i++) {
        const char *name = meta_hashing_name((enum meta_hashing)i);
        cr_assert(meta_hashing_find(S(name), &h));
        cr_expect(h == i);
    }
    cr_expect(not(meta_hashing_find(S("rabbit_password_hashing_sha1"), &h)));
}

Test(meta_user, does_not_take_what_is_too_long)
{
    struct world w;
    static char many[META_HASH_MAX + 2];
    memset(many, 'x', sizeof many - 1);
    const char *text = "the name, the hash of the password or the tags of the user are too long";
    world_init(&w, 1);
    must_not(&w, user_put("u", many, ""), 400, text);
    must_not(&w, user_put("u", "", many), 400, text);
    many[META_NAME_MAX + 1] = '\0';
    must_not(&w, user_put(many, "", ""), 400, text);
    many[META_NAME_MAX] = '\0';
    must(&w, user_put(many, "", ""));
    world_fini(&w);
}

/* ---- permissions ---- */

Test(meta_permission, matches_names)
{
    struct world w;
    world_init(&w, 1);
    must(&w, user_put("u", "h", ""));
    must(&w, may("u", "^$", "^q\\d+$", ".*"));
    const struct meta_permission *p = permission_now(&w, "u");
    cr_assert(p != NULL);
    cr_expect(p->vhost_id == w.vhost && slice_is(p->write.text, "^q\\d+$"));
    cr_expect(p->configure.none && !p->configure.all && p->read.all && !p->write.all);
    cr_expect(not(meta_pattern_matches(&p->configure, S("q"))));
    cr_expect(meta_pattern_matches(&p->write, S("q12")));
    cr_expect(not(meta_pattern_matches(&p->write, S("q"))));
    cr_expect(meta_pattern_matches(&p->read, S("")) && meta_pattern_matches(&p->read, S("x")));
    must(&w, may("u", "", "", ""));
    p = permission_now(&w, "u");
    cr_expect(p->configure.none && p->write.none && p->read.none);
    world_fini(&w);
}

Test(meta_permission, needs_a_user_and_patterns)
{
    struct world w;
    world_init(&w, 1);
    must_not(&w, may("u", "", "", ""), 404, "User u does not exist");
    must(&w, user_put("u", "h", ""));
    must_not(&w, may("u", "(", "", ""), 400, "{:invalid_regexp, '(', {'missing )', 1}}");
    must_not(&w, may("u", "", "*", ""), 400, "{:invalid_regexp, '*', {'nothing to repeat', 0}}");
    must_not(&w, may("u", "", "", "["), 400,
             "{:invalid_regexp, '[', {'missing terminating ] for character class', 1}}");
    must_not(&w, may_topic("u", "x", "(", ""), 400, "{:invalid_regexp, '(', {'missing )', 1}}");
    must_not(&w, may_topic("v", "x", "", ""), 404, "User v does not exist");
    cr_expect(permission_now(&w, "u") == NULL);
    world_fini(&w);
}

Test(meta_permission, matches_routing_keys)
{
    struct world w;
    world_init(&w, 1);
    must(&w, user_put("bob", "h", ""));
    must(&w, may_topic("bob", "x", "^{username}\\.{vhost}\\.{username}$", ""));
    const struct meta_topic_permission *p = topic_now(&w, "bob", "x");
    cr_assert(p != NULL);
    cr_expect(slice_is(p->write.text, "^{username}\\.{vhost}\\.{username}$"));
    cr_expect(meta_pattern_matches(&p->write, S("bob./.bob")));
    cr_expect(not(meta_pattern_matches(&p->write, S("bob./.bo"))));
    cr_expect(meta_pattern_matches(&p->read, S("")), "nothing but the empty key");
    cr_expect(not(meta_pattern_matches(&p->read, S("a"))));
    must(&w, may_topic("bob", "x", ".*", "{nobody}"));
    p = topic_now(&w, "bob", "x");
    cr_expect(meta_pattern_matches(&p->write, S("a.b")));
    cr_expect(meta_pattern_matches(&p->read, S("a{nobody}b")));

    must(&w, user_put("b(", "h", ""));
    must(&w, may_topic("b(", "x", "{username}", "x"));
    p = topic_now(&w, "b(", "x");
    cr_expect(p->write.none);
    cr_expect(not(meta_pattern_matches(&p->write, S("b("))));
    cr_expect(meta_pattern_matches(&p->read, S("axb")));
    world_fini(&w);
}

Test(meta_permission, goes_with_its_user)
{
    struct world w;
    world_init(&w, 1);
    must(&w, (struct meta_cmd){ .op = META_VHOST_ADD, .name = S("other") });
    uint64_t other = w.r.id, here = w.vhost;
    must(&w, user_put("u", "h", ""));
    must(&w, user_put("v", "h", ""));
    must(&w, may("u", ".", ".", "."));
    must(&w, may("v", ".", ".", "."));
    must(&w, may_topic("u", "x", ".", "."));
    must(&w, may_topic("u", "y", ".", "."));
    must(&w, may_topic("v", "x", ".", "."));
    w.vhost = other;
    must(&w, may("u", ".", ".", "."));
    w.vhost = here;
    uint64_t rights = now(&w)->rights;
    must(&w, user_cmd(META_USER_DELETE, "u"));
    cr_expect(gt(u64, now(&w)->rights, rights));
    cr_expect(permission_now(&w, "u") == NULL && permission_now(&w, "v") != NULL);
    cr_expect(topic_now(&w, "u", "x") == NULL && topic_now(&w, "u", "y") == NULL);
    cr_expect(topic_now(&w, "v", "x") != NULL);
    cr_expect(eq(u64, meta_vhost_get(now(&w), other)->permissions.count, 0));
    world_fini(&w);
}

Test(meta_permission, goes_with_its_vhost)
{
    struct world w;
    world_init(&w, 1);
    must(&w, user_put("u", "h", ""));
    must(&w, may("u", "a+", "b+", "c+"));
    must(&w, may_topic("u", "x", "a+", "b+"));
    must(&w, (struct meta_cmd){ .op = META_VHOST_DELETE, .name = S("/") });
    cr_assert(eq(sz, w.r.effect_count, 1));
    cr_expect(w.r.effects[0].kind == META_VHOST_DELETED && w.r.effects[0].vhost_id == w.vhost);
    must_not(&w, may("u", "", "", ""), 530, "vhost not found");
    world_fini(&w); /* which sees that no pattern is left */
}

Test(meta_permission, is_cleared)
{
    struct world w;
    struct meta_cmd c = { .op = META_PERMISSION_CLEAR };
    world_init(&w, 1);
    c.permission.user = S("u");
    must_not(&w, c, 404, "User u does not exist");
    must(&w, user_put("u", "h", ""));
    must(&w, c); /* there is none */
    must(&w, may("u", "a+", "a+", "a+"));
    must(&w, c);
    cr_expect(permission_now(&w, "u") == NULL);

    must(&w, may_topic("u", "x", "a+", "a+"));
    must(&w, may_topic("u", "y", "a+", "a+"));
    must(&w, may_topic("u", "z", "a+", "a+"));
    must(&w, may_topic("u", "z", "b+", "b+"));
    c = (struct meta_cmd){ .op = META_TOPIC_PERMISSION_CLEAR };
    c.topic_permission.user = S("u");
    c.topic_permission.exchange = S("x");
    must(&w, c);
    cr_expect(topic_now(&w, "u", "x") == NULL && topic_now(&w, "u", "y") != NULL);
    cr_expect(slice_is(topic_now(&w, "u", "z")->write.text, "b+"));
    c.topic_permission.every_exchange = true;
    must(&w, c);
    cr_expect(eq(u64, vhost_now(&w)->topic_permissions.count, 0));
    world_fini(&w);
}
