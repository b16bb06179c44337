/* broker/cluster: orders that meet the end of the node: each is answered, once, whatever it was
 * at. A node alone, on a disk in memory. */
#include "cluster/cluster.h"

#include "base/mem.h"
#include "io/epoch.h"
#include "io_kit.h"
#include "mem_disk.h"

#include <stdio.h>

#include "expect.h"

struct house {
    struct loop *loop;
    struct epoch *epoch;
    struct meta *meta;
    struct meta_setup meta_setup;
    struct disk *disk;
    struct broker_conf *conf;
    struct cluster *cluster;
    size_t readies;
    size_t stopped; /* the application */
    size_t answers;
    bool ok;
    struct err err;
};

static void retire(void *arg, void *ptr, void (*free_fn)(void *))
{
    epoch_retire(arg, ptr, free_fn);
}

static void on_show(const struct meta_effect *effects, size_t count, void *arg)
{
    (void)effects, (void)count, (void)arg;
}

static bool on_begin(struct cluster_first *first, struct err *err, void *arg)
{
    (void)first, (void)err, (void)arg;
    return true;
}

static void on_identity(uint16_t node, void *arg)
{
    struct house *h = arg;
    meta_set_node(h->meta, node);
    h->meta_setup.node = node;
}

static void on_ready(void *arg)
{
    ((struct house *)arg)->readies++;
}

static void on_waiting(void *arg)
{
    (void)arg;
}

static void on_failed(const struct err *err, void *arg)
{
    (void)arg;
    cr_fatal("%s", err->text);
}

static void on_app(void *arg)
{
    ((struct house *)arg)->stopped++;
}

static void on_answer(struct cluster_ask *ask)
{
    struct house *h = ask->arg;
    h->answers++;
    h->ok = ask->ok;
    h->err = ask->err;
    mem_free(ask);
}

static void house_open(struct house *h)
{
    static char home[] = "HOME=/nowhere";
    static char *env[] = { home, NULL };
    struct err err;
    *h = (struct house){ .loop = kit_loop_new(), .epoch = epoch_new(), .disk = mem_disk_new() };
    loop_join_epoch(h->loop, h->epoch);
    h->meta_setup =
        (struct meta_setup){ .shard_count = 1, .retire = retire, .retire_arg = h->epoch };
    h->meta = meta_new(&h->meta_setup);
    h->conf = broker_conf_load(
        &(struct broker_conf_args){ .name = "r@h", .data_dir = "/d", .env = env }, &err);
    cr_assert(h->conf != NULL, "%s", err.text);
    h->cluster = cluster_open(&(struct cluster_setup){ .loop = h->loop,
                                                       .epoch = h->epoch,
                                                       .meta = h->meta,
                                                       .meta_setup = &h->meta_setup,
                                                       .conf = h->conf,
                                                       .disk = h->disk,
                                                       .inc = 1,
                                                       .cluster_address = "",
                                                       .amqp_address = "",
                                                       .management_address = "",
                                                       .before_show = on_show,
                                                       .after_show = on_show,
                                                       .begin = on_begin,
                                                       .on_identity = on_identity,
                                                       .on_ready = on_ready,
                                                       .on_waiting = on_waiting,
                                                       .on_failed = on_failed,
                                                       .arg = h },
                              &err);
    cr_assert(h->cluster != NULL, "%s", err.text);
}

struct job {
    struct loop_task task;
    struct house *house;
    void (*fn)(struct house *h);
};

static void run_job(void *arg)
{
    struct job *j = arg;
    j->fn(j->house);
    loop_stop(j->house->loop);
}

static void on_loop(struct house *h, void (*fn)(struct house *h))
{
    struct job j = { .house = h, .fn = fn };
    loop_task_init(&j.task, run_job, &j);
    loop_again(h->loop, &j.task);
    loop_run(h->loop);
}

static void start(struct house *h)
{
    struct err err;
    cr_assert(cluster_start(h->cluster, &err), "%s", err.text);
}

static void stop_app(struct house *h)
{
    cluster_app(h->cluster, CLUSTER_APP_STOPPED, on_app, h);
}

static void order_reset(struct house *h)
{
    struct cluster_ask *ask = mem_zalloc(sizeof *ask);
    ask->order = CLUSTER_RESET;
    ask->reply_to = h->loop;
    ask->done = on_answer;
    ask->arg = h;
    cluster_send(h->cluster, &ask);
}

static void on_marker(struct mail *mail)
{
    struct house **h = (struct house **)(mail + 1);
    loop_stop((*h)->loop);
    mem_free(mail);
}

/* Until all mail that is there now was taken, and no longer. */
static void take_mail(struct house *h)
{
    struct mail *marker = mem_zalloc(sizeof *marker + sizeof h);
    marker->fn = on_marker;
    *(struct house **)(marker + 1) = h;
    mailbox_post(h->loop, marker);
    loop_run(h->loop);
}

/* The loop runs no more, as when the process ends; what is on its way is delivered. */
static void house_stop(struct house *h)
{
    cluster_stop(h->cluster);
    while (loop_settle(h->loop))
        ;
}

static void house_close(struct house *h)
{
    cluster_free(&h->cluster);
    while (loop_settle(h->loop))
        ;
    broker_conf_unref(&h->conf);
    disk_free(&h->disk);
    loop_free(&h->loop);
    meta_free(&h->meta);
    epoch_free(&h->epoch);
}

static void open_stopped(struct house *h)
{
    house_open(h);
    on_loop(h, start);
    kit_until_count(h->loop, &h->readies, 1);
    on_loop(h, stop_app);
    kit_until_count(h->loop, &h->stopped, 1);
}

TestSuite(cluster_orders, .timeout = 300);

Test(cluster_orders, a_reset_is_answered_when_the_node_is_new)
{
    struct house h;
    open_stopped(&h);
    order_reset(&h);
    kit_until_count(h.loop, &h.answers, 1);
    cr_expect(h.ok, "%s", h.err.text);
    house_stop(&h);
    cr_expect(eq(sz, h.answers, 1));
    house_close(&h);
}

/* The order has not been heard yet. */
Test(cluster_orders, one_that_comes_with_the_end_is_refused)
{
    struct house h;
    open_stopped(&h);
    order_reset(&h);
    house_stop(&h);
    cr_expect(eq(sz, h.answers, 1));
    cr_expect(not(h.ok));
    expect_text(h.err.text, "the node stops");
    house_close(&h);
}

/* It has been, and gives up what there was: nothing new begins after that. */
Test(cluster_orders, one_that_is_under_way_is_answered_at_the_end)
{
    struct house h;
    open_stopped(&h);
    order_reset(&h);
    take_mail(&h);
    cr_assert(zero(sz, h.answers));
    size_t readies = h.readies;
    house_stop(&h);
    cr_expect(eq(sz, h.answers, 1));
    cr_expect(not(h.ok));
    expect_text(h.err.text, "the node stops");
    cr_expect(eq(sz, h.readies, readies));
    house_close(&h);
}
