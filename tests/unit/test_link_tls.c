/* Links between nodes with certificates of the operator's: who shows which, and who demands one. */
#include "expect.h"
#include "link_kit.h"

#include <stdio.h>

static struct loop *loop;
static struct kit_node b;
static struct link_end at_a, at_b;
static struct link_node *node_a, *node_b;
static char folder[KIT_PATH_MAX];
static enum link_class class;

static void set_up(void)
{
    kit_folder_make(folder);
    kit_pki_make(folder);
    loop = kit_loop_new();
    at_a = at_b = (struct link_end){ 0 };
    b = (struct kit_node){ .end = &at_b };
    node_a = kit_link_node(KIT_COOKIE, 7, 1, 3, "rabbit@a");
    node_b = kit_link_node(KIT_COOKIE, 7, 2, 4, "rabbit@b");
    class = LINK_CONTROL;
}

struct job {
    struct loop_task task;
    void (*fn)(void);
};

static void run_job(void *arg)
{
    struct job *j = arg;
    j->fn();
    loop_stop(loop);
}

static void on_loop(void (*fn)(void))
{
    struct job j = { .fn = fn };
    loop_task_init(&j.task, run_job, &j);
    loop_again(loop, &j.task);
    loop_run(loop);
}

static void end_all(void)
{
    if (at_a.l != NULL)
        link_free(&at_a.l);
    if (at_b.l != NULL)
        link_free(&at_b.l);
    link_door_free(&b.door);
}

static void tear_down(void)
{
    on_loop(end_all);
    while (loop_settle(loop))
        ;
    link_hall_free(&b.hall);
    loop_free(&loop);
    link_node_free(&node_a);
    link_node_free(&node_b);
    kit_folder_remove(folder);
}

TestSuite(link_tls, .init = set_up, .fini = tear_down, .timeout = 300);

/* NULL: the ephemeral one. */
static void give(struct link_node *n, const char *base, bool demanded)
{
    char cert[KIT_PATH_MAX], key[KIT_PATH_MAX], ca[KIT_PATH_MAX], leaf[64];
    struct err err;
    struct link_certificate c = { .demanded = demanded };
    if (base == NULL) {
        cr_assert(link_node_set_certificate(n, NULL, &err), "%s", err.text);
        return;
    }
    snprintf(leaf, sizeof leaf, "%s.pem", base);
    c.cert_file = kit_path(cert, folder, leaf);
    snprintf(leaf, sizeof leaf, "%s.key", base);
    c.key_file = kit_path(key, folder, leaf);
    c.ca_file = kit_path(ca, folder, "ca.pem");
    cr_assert(link_node_set_certificate(n, &c, &err), "%s", err.text);
}

static void open_b(void)
{
    kit_node_open(&b, loop, node_b, &(struct link_hall_options){ .class = class });
}

static void dial(void)
{
    at_a.l = link_dial(
        loop, node_a, &(struct link_options){ .class = class, .host = "127.0.0.1", .port = b.port },
        &link_end_handlers, &at_a);
}

static void start(void)
{
    on_loop(open_b);
    on_loop(dial);
}

static void expect_linked(void)
{
    start();
    kit_until_count(loop, &at_a.ups, 1);
    kit_until_count(loop, &b.links, 1);
    expect_text(at_b.peer.id.name, "rabbit@a");
}

static void expect_refused(void)
{
    start();
    kit_until_count(loop, &at_a.troubles, 2);
    cr_expect(zero(sz, at_a.ups));
    cr_expect(zero(sz, b.links));
}

Test(link_tls, nodes_of_one_authority_are_linked)
{
    give(node_a, "client", true);
    give(node_b, "server", true);
    expect_linked();
}

Test(link_tls, one_that_shows_none_is_refused)
{
    give(node_b, "server", true);
    expect_refused();
}

Test(link_tls, one_of_another_authority_is_refused)
{
    give(node_a, "stranger", true);
    give(node_b, "server", true);
    expect_refused();
}

Test(link_tls, who_demands_one_does_not_go_to_a_node_without)
{
    give(node_a, "client", true);
    expect_refused();
    cr_expect(strstr(at_a.why.text, "self-signed") != NULL, "\"%s\"", at_a.why.text);
}

Test(link_tls, one_of_another_authority_is_not_gone_to)
{
    give(node_a, "client", true);
    give(node_b, "stranger", false);
    expect_refused();
}

/* So a cluster gets them node by node. */
Test(link_tls, where_none_is_demanded_those_without_are_linked_too)
{
    give(node_b, "server", false);
    expect_linked();
}

Test(link_tls, who_does_not_demand_one_goes_to_a_node_without)
{
    give(node_a, "client", false);
    expect_linked();
}

Test(link_tls, who_does_not_demand_one_shows_it)
{
    give(node_a, "client", false);
    give(node_b, "server", true);
    expect_linked();
}

Test(link_tls, one_that_is_shown_must_hold_though_none_is_demanded)
{
    give(node_a, "stranger", false);
    give(node_b, "server", false);
    expect_refused();
}

Test(link_tls, a_proxy_needs_none)
{
    class = LINK_FEED;
    give(node_b, "server", true);
    expect_linked();
}

Test(link_tls, another_one_is_in_force_from_then_on)
{
    give(node_a, "client", true);
    give(node_b, "stranger", true);
    expect_refused();
    give(node_b, "server", true);
    kit_until_count(loop, &at_a.ups, 1);
}

Test(link_tls, the_ephemeral_one_is_back_when_there_is_no_other)
{
    give(node_b, "server", true);
    give(node_b, NULL, false);
    expect_linked();
}

Test(link_tls, files_that_are_no_good_change_nothing)
{
    struct err err;
    struct link_certificate c = { .cert_file = "/nowhere.pem", .demanded = true };
    cr_expect(not(link_node_set_certificate(node_b, &c, &err)));
    cr_expect(strstr(err.text, "/nowhere.pem") != NULL, "\"%s\"", err.text);
    expect_linked();
}
