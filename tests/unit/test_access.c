#include "client/access.h"

#include "meta_world.h"

static struct world w;

static void permit(const char *configure, const char *write, const char *read)
{
    struct meta_cmd c = { .op = META_PERMISSION_PUT };
    c.permission.user = S("shop");
    c.permission.configure = S(configure);
    c.permission.write = S(write);
    c.permission.read = S(read);
    must(&w, c);
}

static void permit_topic(const char *write, const char *read)
{
    struct meta_cmd c = { .op = META_TOPIC_PERMISSION_PUT };
    c.topic_permission.user = S("shop");
    c.topic_permission.exchange = S("t");
    c.topic_permission.write = S(write);
    c.topic_permission.read = S(read);
    must(&w, c);
}

static void begin(void)
{
    world_init(&w, 1);
    struct meta_cmd c = { .op = META_USER_PUT, .name = S("shop") };
    c.user.has_hash = true;
    must(&w, c);
}

static void end(void)
{
    world_fini(&w);
}

TestSuite(access, .init = begin, .fini = end);

static struct meta_refusal why;

static bool is_open(enum access_right right, enum access_kind kind, const char *name)
{
    return access_may(meta_permission_find(now(&w), vhost_now(&w), S("shop")), vhost_now(&w),
                      S("shop"), right, kind, S(name), &why);
}

Test(access, each_right_has_its_pattern)
{
    permit("^c", "^w", "^r");
    cr_expect(is_open(ACCESS_CONFIGURE, ACCESS_QUEUE, "c1"));
    cr_expect(is_open(ACCESS_WRITE, ACCESS_QUEUE, "w1"));
    cr_expect(is_open(ACCESS_READ, ACCESS_EXCHANGE, "r1"));
    cr_expect(not(is_open(ACCESS_CONFIGURE, ACCESS_QUEUE, "w1")));
    cr_expect(eq(int, why.code, 403));
    cr_expect(eq(str, why.text, "access to queue 'w1' in vhost '/' refused for user 'shop'"));
    cr_expect(not(is_open(ACCESS_WRITE, ACCESS_EXCHANGE, "r1")));
    cr_expect(eq(str, why.text, "access to exchange 'r1' in vhost '/' refused for user 'shop'"));
    cr_expect(not(is_open(ACCESS_READ, ACCESS_QUEUE, "c1")));
}

Test(access, everything_and_nothing)
{
    cr_expect(not(is_open(ACCESS_READ, ACCESS_QUEUE, "q")), "without permissions");
    permit(".*", "", "^$");
    cr_expect(is_open(ACCESS_CONFIGURE, ACCESS_QUEUE, "q"));
    cr_expect(not(is_open(ACCESS_WRITE, ACCESS_QUEUE, "q")));
    cr_expect(not(is_open(ACCESS_READ, ACCESS_QUEUE, "q")));
}

Test(access, the_default_exchange_has_a_name_for_patterns)
{
    permit("", "^amq\\.default$", "");
    cr_expect(is_open(ACCESS_WRITE, ACCESS_EXCHANGE, ""));
    permit("", "^x$", "");
    cr_expect(not(is_open(ACCESS_WRITE, ACCESS_EXCHANGE, "")));
    cr_expect(
        eq(str, why.text, "access to exchange 'amq.default' in vhost '/' refused for user 'shop'"));
}

/* ---- topics ---- */

static struct access_topic_kept kept;

static bool topic_is_open(const char *user, enum access_right right, const char *key)
{
    return access_may_topic(now(&w), vhost_now(&w), S(user), right, S("t"), S(key), &kept, &why);
}

Test(access, topics_are_free_until_somebody_says_otherwise)
{
    cr_expect(topic_is_open("shop", ACCESS_WRITE, "a"));
    permit_topic("^a\\.", "^b\\.");
    cr_expect(topic_is_open("other", ACCESS_WRITE, "z"));
    cr_expect(topic_is_open("shop", ACCESS_WRITE, "a.x"));
    cr_expect(not(topic_is_open("shop", ACCESS_WRITE, "b.x")));
    cr_expect(eq(int, why.code, 403));
    cr_expect(eq(str, why.text,
                 "access to topic 'b.x' in exchange 't' in vhost '/' refused for "
                 "user 'shop'"));
    cr_expect(topic_is_open("shop", ACCESS_READ, "b.x"));
    cr_expect(not(topic_is_open("shop", ACCESS_READ, "a.x")));
}

Test(access, names_are_filled_in)
{
    permit_topic("^{username}\\.x$", "^v-{vhost}-{username}$");
    cr_expect(topic_is_open("shop", ACCESS_WRITE, "shop.x"));
    cr_expect(topic_is_open("shop", ACCESS_WRITE, "shop.x"), "from what was kept");
    cr_expect(not(topic_is_open("shop", ACCESS_WRITE, "shopx.x")));
    cr_expect(topic_is_open("shop", ACCESS_READ, "v-/-shop"));
    cr_expect(not(topic_is_open("shop", ACCESS_READ, "v-x-shop")));
    permit_topic("^no-{username}$", "");
    cr_expect(not(topic_is_open("shop", ACCESS_WRITE, "shop.x")), "what was kept is out of date");
    cr_expect(topic_is_open("shop", ACCESS_WRITE, "no-shop"));
    access_topic_forget(&kept);
}

/* A user who chose a clever name is not let into what is others'. */
Test(access, a_name_is_no_pattern)
{
    struct meta_cmd c = { .op = META_USER_PUT, .name = S(".*") };
    c.user.has_hash = true;
    must(&w, c);
    c = (struct meta_cmd){ .op = META_TOPIC_PERMISSION_PUT };
    c.topic_permission.user = S(".*");
    c.topic_permission.exchange = S("t");
    c.topic_permission.write = S("^{username}$");
    c.topic_permission.read = S("");
    must(&w, c);
    cr_expect(topic_is_open(".*", ACCESS_WRITE, ".*"));
    cr_expect(not(topic_is_open(".*", ACCESS_WRITE, "secret")));
    access_topic_forget(&kept);
}
