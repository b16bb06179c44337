/* proxy/rabbit_list: RabbitMQ's own words about its queues and nodes become locations. */
#include "rabbit_list.h"

#include "base/text.h"

#include "expect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct rabbit_list *l;
static struct err err;

static void set_up(void)
{
    l = rabbit_list_new(5);
}

static void tear_down(void)
{
    location_check(rabbit_list_table(l));
    rabbit_list_free(&l);
}

TestSuite(rabbit_list, .init = set_up, .fini = tear_down);

static enum rabbit_news queues(const char *body)
{
    return rabbit_list_queues(l, slice_str(body), &err);
}

/* The name of the node that masters it, "-" for none; and whether that runs. */
static const char *master(const char *vhost, const char *queue, bool *is_up)
{
    struct location at;
    uint64_t hash = location_hash(rabbit_list_key(l), slice_str(vhost), slice_str(queue));
    *is_up = false;
    if (!location_find(rabbit_list_table(l), hash, &at, is_up))
        return "-";
    return rabbit_list_node(l, at.node)->name;
}

static void expect_at(const char *vhost, const char *queue, const char *node, bool up)
{
    bool is_up;
    cr_expect(strcmp(master(vhost, queue, &is_up), node) == 0, "%s is at %s", queue,
              master(vhost, queue, &is_up));
    cr_expect(is_up == up, "%s", queue);
}

static size_t changed_buckets(void)
{
    size_t count = 0;
    while (location_take_changed(rabbit_list_table(l)) >= 0)
        count++;
    return count;
}

/* As RabbitMQ 3.10 answers, with more columns than were asked for. */
static const char three[] =
    "[{\"name\":\"classic\",\"node\":\"rabbit@a\",\"type\":\"classic\",\"vhost\":\"/\"},"
    "{\"name\":\"quorum\",\"leader\":\"rabbit@b\",\"members\":[\"rabbit@b\",\"rabbit@a\"],"
    "\"vhost\":\"/\"},"
    "{\"name\":\"classic\",\"node\":\"rabbit@b\",\"vhost\":\"other\"}]";

static const char both_run[] = "[{\"name\":\"rabbit@a\",\"running\":true},"
                               "{\"name\":\"rabbit@b\",\"running\":true}]";

Test(rabbit_list, queues_are_at_their_nodes)
{
    cr_assert(queues(three) == RABBIT_OTHER, "%s", err.text);
    expect_at("/", "classic", "rabbit@a", false);
    cr_assert(rabbit_list_nodes(l, slice_str(both_run), &err) == RABBIT_OTHER);
    expect_at("/", "classic", "rabbit@a", true);
    expect_at("/", "quorum", "rabbit@b", true);
    expect_at("other", "classic", "rabbit@b", true);
    expect_at("other", "quorum", "-", false);
    cr_expect(eq(sz, rabbit_list_node_count(l), 2));
}

Test(rabbit_list, an_answer_that_is_the_same_is_not_read_again)
{
    cr_assert(queues(three) == RABBIT_OTHER);
    (void)changed_buckets();
    cr_expect(queues(three) == RABBIT_SAME);
    cr_expect(eq(sz, changed_buckets(), 0));
    cr_assert(rabbit_list_nodes(l, slice_str(both_run), &err) == RABBIT_OTHER);
    cr_expect(rabbit_list_nodes(l, slice_str(both_run), &err) == RABBIT_SAME);
}

Test(rabbit_list, what_moves_and_goes_is_all_that_changes)
{
    cr_assert(queues(three) == RABBIT_OTHER);
    (void)changed_buckets();
    cr_assert(queues("[{\"name\":\"classic\",\"node\":\"rabbit@a\",\"vhost\":\"/\"},"
                     "{\"name\":\"quorum\",\"node\":\"rabbit@a\",\"vhost\":\"/\"}]") ==
              RABBIT_OTHER);
    cr_expect(le(sz, changed_buckets(), 2));
    expect_at("/", "classic", "rabbit@a", false);
    expect_at("/", "quorum", "rabbit@a", false);
    expect_at("other", "classic", "-", false);
    cr_assert(queues(three) == RABBIT_OTHER, "declared again");
    expect_at("other", "classic", "rabbit@b", false);
    expect_at("/", "quorum", "rabbit@b", false);
    cr_assert(queues("[]") == RABBIT_OTHER);
    expect_at("/", "classic", "-", false);
}

Test(rabbit_list, a_node_that_does_not_run_is_down)
{
    cr_assert(queues(three) == RABBIT_OTHER);
    cr_assert(rabbit_list_nodes(l, slice_str(both_run), &err) == RABBIT_OTHER);
    const char *one = "[{\"name\":\"rabbit@a\",\"running\":true},"
                      "{\"name\":\"rabbit@b\",\"running\":false},{\"name\":\"rabbit@c\"}]";
    cr_assert(rabbit_list_nodes(l, slice_str(one), &err) == RABBIT_OTHER);
    expect_at("/", "classic", "rabbit@a", true);
    expect_at("/", "quorum", "rabbit@b", false);
    cr_expect(eq(sz, rabbit_list_node_count(l), 3));
    cr_assert(rabbit_list_nodes(l, slice_str("[]"), &err) == RABBIT_OTHER);
    expect_at("/", "classic", "rabbit@a", false);
}

Test(rabbit_list, ports_are_those_of_amqp)
{
    const char *body = "{\"listeners\":["
                       "{\"node\":\"rabbit@a\",\"protocol\":\"clustering\",\"port\":25672},"
                       "{\"node\":\"rabbit@a\",\"protocol\":\"amqp\",\"ip_address\":\"::\","
                       "\"port\":5672},"
                       "{\"node\":\"rabbit@b\",\"protocol\":\"amqp\",\"port\":70000},"
                       "{\"node\":\"rabbit@b\",\"protocol\":\"http\",\"port\":15672}]}";
    cr_assert(rabbit_list_listeners(l, slice_str(body), &err) == RABBIT_OTHER);
    cr_assert(rabbit_list_listeners(l, slice_str(body), &err) == RABBIT_SAME);
    cr_assert(eq(sz, rabbit_list_node_count(l), 1));
    cr_expect(eq(u16, rabbit_list_node(l, 1)->port, 5672));
}

/* One that is bound to an address of its own is met there; TLS has a port of its own. */
Test(rabbit_list, a_node_is_where_it_listens)
{
    const char *body =
        "{\"listeners\":["
        "{\"node\":\"rabbit@a\",\"protocol\":\"amqp\",\"ip_address\":\"10.0.0.1\",\"port\":5672},"
        "{\"node\":\"rabbit@a\",\"protocol\":\"amqp/ssl\",\"ip_address\":\"::\",\"port\":5671},"
        "{\"node\":\"rabbit@b\",\"protocol\":\"amqp/ssl\",\"ip_address\":\"fe80::1\","
        "\"port\":5671}]}";
    cr_assert(rabbit_list_listeners(l, slice_str(body), &err) == RABBIT_OTHER, "%s", err.text);
    const struct rabbit_node *a = rabbit_list_node(l, 1), *b = rabbit_list_node(l, 2);
    cr_expect(eq(u16, a->port, 5672));
    cr_expect(eq(u16, a->port_tls, 5671));
    cr_expect(eq(u16, b->port, 0));
    cr_expect(eq(u16, b->port_tls, 5671));
    cr_expect(strcmp(a->ip, "") == 0 && strcmp(b->ip, "fe80::1") == 0, "%s %s", a->ip, b->ip);
}

Test(rabbit_list, a_node_that_is_forgotten_is_not_listed)
{
    cr_assert(rabbit_list_nodes(l, slice_str(both_run), &err) == RABBIT_OTHER);
    cr_expect(rabbit_list_node(l, 2)->is_listed && !rabbit_list_node(l, 2)->is_draining);
    const char *one = "[{\"name\":\"rabbit@a\",\"running\":true,\"being_drained\":true}]";
    cr_assert(rabbit_list_nodes(l, slice_str(one), &err) == RABBIT_OTHER);
    cr_expect(rabbit_list_node(l, 1)->is_listed && rabbit_list_node(l, 1)->is_draining);
    cr_expect(not(rabbit_list_node(l, 2)->is_listed || rabbit_list_node(l, 2)->is_running));
}

Test(rabbit_list, what_makes_no_sense_changes_nothing)
{
    static const char *const bad[] = {
        "",
        "{}",
        "[",
        "[1]",
        "[{\"name\":\"q\"}]",
        "[{\"vhost\":\"/\",\"name\":3}]",
        "{\"error\":\"not_authorised\"}",
    };
    cr_assert(queues(three) == RABBIT_OTHER);
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        cr_expect(queues(bad[i]) == RABBIT_BROKEN, "%s", bad[i]);
        cr_expect(rabbit_list_nodes(l, slice_str(bad[i]), &err) == RABBIT_BROKEN ||
                      strcmp(bad[i], "[{\"name\":\"q\"}]") == 0,
                  "%s", bad[i]);
        cr_expect(rabbit_list_listeners(l, slice_str(bad[i]), &err) == RABBIT_BROKEN, "%s", bad[i]);
        expect_at("/", "quorum", "rabbit@b", false);
    }
    cr_assert(queues("[{\"name\":\"q\",\"vhost\":\"/\"}]") == RABBIT_OTHER, "it has no master now");
    expect_at("/", "q", "-", false);
}

/* Ten thousand, of which one moves: one bucket changes. */
Test(rabbit_list, reads_ten_thousand_queues)
{
    struct text t;
    for (unsigned round = 0; round < 2; round++) {
        text_init(&t, (size_t)4 * 1024 * 1024);
        text_char(&t, '[');
        for (unsigned i = 0; i < 10000; i++)
            text_put(&t, "%s{\"name\":\"q%u\",\"node\":\"rabbit@%u\",\"vhost\":\"/\"}",
                     i != 0 ? "," : "", i, round == 1 && i == 77 ? 9 : i % 3);
        text_char(&t, ']');
        (void)changed_buckets();
        cr_assert(rabbit_list_queues(l, text_view(&t), &err) == RABBIT_OTHER, "%s", err.text);
        text_fini(&t);
    }
    cr_expect(eq(sz, changed_buckets(), 1));
    expect_at("/", "q77", "rabbit@9", false);
    expect_at("/", "q9999", "rabbit@0", false);
}
