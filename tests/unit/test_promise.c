#include "promise.h"

#include "base/mem.h"
#include "expect.h"
#include "journal_kit.h"

/* A shard of which only the loop and the table of connections are there. */
struct world {
    struct journal_kit kit;
    struct shard shard;
    struct promises *promises;
    uint64_t next_number;
};

static const struct port_channel_ref somebody = { 1, 1, 1 };

static void tell(void *arg)
{
    struct world *w = arg;
    promises_on_durable(w->promises);
}

static void open_world(struct world *w)
{
    struct err err = { 0 };
    *w = (struct world){ .next_number = 1 };
    w->shard.loop = loop_new("shard", &err);
    cr_assert(w->shard.loop != NULL);
    idmap_init(&w->shard.connections);
    TAILQ_INIT(&w->shard.held);
    w->promises = promises_new(&w->shard, 2);
    journal_kit_init(&w->kit);
    w->kit.setup.on_durable = tell;
    w->kit.setup.segment_bytes = 1u << 20;
    w->kit.setup.arg = w;
    journal_kit_open(&w->kit);
    promises_start(w->promises, w->kit.journal);
}

static void close_world(struct world *w)
{
    journal_kit_fini(&w->kit);
    while (loop_settle(w->shard.loop))
        ;
    promises_free(&w->promises);
    idmap_fini(&w->shard.connections);
    loop_free(&w->shard.loop);
}

static uint64_t append(struct world *w)
{
    uint64_t lsn;
    journal_kit_append(&w->kit, w->next_number, 10, JOURNAL_SOON, &lsn);
    return lsn;
}

static void promise(struct world *w, uint32_t appender, uint64_t lsn)
{
    promise_publish(w->promises, appender, lsn, &somebody, w->next_number);
    w->next_number += 2; /* none is joined to the one before */
}

/* How many wait when all mail was read. */
static unsigned waiting(struct world *w)
{
    while (loop_settle(w->shard.loop))
        ;
    return (unsigned)promises_waiting(w->promises);
}

Test(promise, comes_true_when_the_journal_is_durable)
{
    struct world w;
    open_world(&w);
    promise(&w, 0, append(&w));
    promise(&w, 0, append(&w));
    cr_expect(eq(uint, waiting(&w), 2));
    cr_assert(journal_pump(w.kit.journal, 0));
    cr_expect(eq(uint, waiting(&w), 0));
    promise(&w, 0, append(&w));
    cr_expect(eq(uint, waiting(&w), 1));
    cr_assert(journal_pump(w.kit.journal, 0));
    cr_expect(eq(uint, waiting(&w), 0));
    close_world(&w);
}

Test(promise, what_is_durable_already_comes_true_at_once)
{
    struct world w;
    open_world(&w);
    uint64_t lsn = append(&w);
    cr_assert(journal_pump(w.kit.journal, 0));
    promise(&w, 0, lsn);
    cr_expect(eq(uint, waiting(&w), 0));
    close_world(&w);
}

Test(promise, the_lines_of_two_shards_do_not_wait_for_each_other)
{
    struct world w;
    open_world(&w);
    uint64_t first = append(&w);
    cr_assert(journal_pump(w.kit.journal, 0));
    uint64_t second = append(&w);
    promise(&w, 0, second);
    cr_expect(eq(uint, waiting(&w), 1));
    promise(&w, 1, first);
    cr_expect(eq(uint, waiting(&w), 1), "what is durable waits behind what is not");
    cr_assert(journal_pump(w.kit.journal, 0));
    cr_expect(eq(uint, waiting(&w), 0));
    close_world(&w);
}

Test(promise, what_comes_late_waits_for_what_stands_before_it)
{
    struct world w;
    open_world(&w);
    uint64_t first = append(&w);
    cr_assert(journal_pump(w.kit.journal, 0));
    promise(&w, 0, append(&w));
    promise(&w, 0, first);
    cr_expect(eq(uint, waiting(&w), 2));
    cr_assert(journal_pump(w.kit.journal, 0));
    cr_expect(eq(uint, waiting(&w), 0));
    close_world(&w);
}

/* With the journal's own thread: nothing is forgotten, however they meet. */
/* Else a shard that holds connections back, and looks again whenever it is told, would look all the
 * time. */
Test(promise, who_watches_is_told_of_what_is_new_alone)
{
    struct world w;
    open_world(&w);
    promise(&w, 0, append(&w));
    cr_assert(journal_pump(w.kit.journal, 0));
    cr_expect(eq(uint, waiting(&w), 0));
    promises_watch(w.promises);
    cr_expect(loop_settle(w.shard.loop) == false, "no mail");
    (void)append(&w);
    promises_watch(w.promises);
    cr_expect(loop_settle(w.shard.loop) == false, "no mail");
    cr_assert(journal_pump(w.kit.journal, 0));
    cr_expect(loop_settle(w.shard.loop));
    close_world(&w);
}

Test(promise, nothing_is_forgotten, .timeout = 300)
{
    struct world w;
    struct err err = { 0 };
    open_world(&w);
    cr_assert(journal_start(w.kit.journal, &err));
    for (unsigned round = 0; round < 3000; round++) {
        for (unsigned n = 0; n <= round % 3; n++)
            promise(&w, n % 2, append(&w));
        journal_kick(w.kit.journal);
        while (round % 4 == 0 && waiting(&w) != 0)
            ;
    }
    while (waiting(&w) != 0)
        ;
    journal_stop(w.kit.journal);
    close_world(&w);
}
