#include "base/mem.h"
#include "expect.h"
#include "mgmt/warrenctl_options.h"
#include "mgmt/warrenctl_print.h"

/* ---- options ---- */

#define WORDS_MAX 16

static struct warrenctl w;
static const char *args[WORDS_MAX + 1];
static char bad_room[512];
static struct text bad;

/* Words between blanks; an empty one is written ''. */
static bool read(const char *line)
{
    static char copy[512];
    static char *argv[WORDS_MAX];
    int argc = 1;
    argv[0] = copy; /* nobody looks at it */
    snprintf(copy, sizeof copy, "%s", line);
    for (char *at = copy; *at != '\0' && argc < WORDS_MAX;) {
        size_t len = strcspn(at, " ");
        argv[argc++] = at;
        at += len;
        if (*at != '\0')
            *at++ = '\0';
    }
    w = (struct warrenctl){ .tables = warrenctl_ctl_tables, .args = args, .vhost = "/" };
    bad = text_over(bad_room, sizeof bad_room);
    return warrenctl_options_read(&w, argc, argv, &bad);
}

Test(warrenctl_options, stand_before_the_command_and_behind_it)
{
    cr_assert(read("-n rabbit1 list_queues -p v1 name --formatter=json messages -q -t 5"));
    expect_text(w.command->name, "list_queues");
    expect_text(w.node, "rabbit1");
    expect_text(w.vhost, "v1");
    cr_expect(eq(u32, w.arg_count, 2));
    expect_text(args[0], "name");
    expect_text(args[1], "messages");
    cr_expect(w.quiet && w.formatter == WARRENCTL_JSON && w.timeout_s == 5);
}

Test(warrenctl_options, of_the_command_itself)
{
    cr_assert(read("set_policy --priority 7 --apply-to=queues p1 ^q {}"));
    expect_text(warrenctl_option(&w, "priority"), "7");
    expect_text(warrenctl_option(&w, "apply-to"), "queues");
    cr_expect(eq(u32, w.arg_count, 3));
    cr_assert(read("delete_queue q -e"));
    cr_expect(warrenctl_option(&w, "if-empty") != NULL);
    cr_expect(warrenctl_option(&w, "if-unused") == NULL);
    cr_assert(read("wait -P 17"));
    expect_text(warrenctl_option(&w, "pid"), "17");
}

Test(warrenctl_options, end_at_two_dashes)
{
    cr_assert(read("add_user -- --name -q"));
    cr_expect(eq(u32, w.arg_count, 2));
    expect_text(args[0], "--name");
    expect_text(args[1], "-q");
    cr_expect(not(w.quiet));
}

Test(warrenctl_options, that_are_not_known_are_named)
{
    bool ok = read("list_queues --bogus -z name");
    cr_expect(not(ok));
    expect_text(bad_room, "--bogus : \n-z : ");
    ok = read("list_queues --if-empty"); /* another command's */
    cr_expect(not(ok));
    ok = read("list_queues --formatter xml");
    cr_expect(not(ok));
    expect_text(bad_room, "--formatter : xml");
    ok = read("list_queues -p"); /* without its value */
    cr_expect(not(ok));
}

Test(warrenctl_options, a_command_that_is_not_there)
{
    (void)!read("-q nosuch arg");
    cr_expect(w.command == NULL);
    expect_text(args[0], "nosuch");
    (void)!read("-q");
    cr_expect(w.command == NULL && w.arg_count == 0);
}

Test(warrenctl_options, a_value_that_looks_like_a_command)
{
    cr_assert(read("-n ping list_users"));
    expect_text(w.command->name, "list_users");
    expect_text(w.node, "ping");
    cr_assert(read("list_users --timeout infinity"));
    cr_expect(w.timeout_is_given && w.timeout_s == 0);
}

/* ---- commands ---- */

Test(warrenctl_command, names_are_told_apart_and_every_row_is_whole)
{
    const struct warrenctl_command *c;
    size_t count = 0;
    for (; (c = warrenctl_command_at(warrenctl_ctl_tables, count)) != NULL; count++) {
        cr_expect(c->run != NULL && c->help != NULL && c->usage != NULL, "%s", c->name);
        cr_expect(c->most < 0 || c->most >= c->least, "%s", c->name);
        cr_expect(warrenctl_command_find(warrenctl_ctl_tables, c->name) == c, "%s twice", c->name);
    }
    cr_expect(count > 100);
    cr_expect(warrenctl_command_find(warrenctl_ctl_tables, "") == NULL);
}

/* ---- values ---- */

static void expect_value(const char *json, const char *want)
{
    char room[512];
    struct text t = text_over(room, sizeof room);
    json_error_t why;
    json_t *v = json_loads(json, JSON_DECODE_ANY, &why);
    cr_assert(v != NULL, "%s", why.text);
    warrenctl_put_value(&t, v);
    expect_text(room, want);
    json_decref(v);
}

Test(warrenctl_print, values_as_tables_show_them)
{
    expect_value("\"a b\"", "a b");
    expect_value("17", "17");
    expect_value("true", "true");
    expect_value("null", "");
    expect_value("[]", "[]");
    expect_value("[\"administrator\",\"monitoring\"]", "[administrator, monitoring]");
    expect_value("{\"max-connections\":5}", "{\"max-connections\":5}");
}

Test(warrenctl_print, field_tables_as_erlang_shows_them)
{
    expect_value("[[\"x-max-length\",\"signedint\",10],[\"b\",\"longstr\",\"two\"]]",
                 "[{\"x-max-length\",10},{\"b\",\"two\"}]");
    expect_value("[[\"t\",\"table\",[[\"yes\",\"bool\",true]]]]", "[{\"t\",[{\"yes\",true}]}]");
    expect_value("[[\"q\",\"longstr\",\"a\\\"b\"]]", "[{\"q\",\"a\\\"b\"}]");
}
