#include "base/check.h"
#include "base/mem.h"
#include "io/clock.h"
#include "io/daemon.h"
#include "io/epoch.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "io_kit.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

TestSuite(loop, .timeout = 300);
TestSuite(mailbox, .timeout = 300);
TestSuite(epoch, .timeout = 300);

/* ---- turns ---------------------------------------------------------------------------------- */

/* What happened, a letter each. */
static char trace[64];

static void note(const char *letter)
{
    CHECK(strlen(trace) + 1 < sizeof trace);
    trace[strlen(trace)] = *letter;
}

static struct loop *loop;
static struct loop_task tasks[6];

static void set_up(void)
{
    loop = kit_loop_new();
    memset(trace, 0, sizeof trace);
}

static void tear_down(void)
{
    loop_free(&loop);
}

static void on_letter(void *arg)
{
    CHECK(loop_is_current(loop));
    note(arg);
}

static void on_stop(void *arg)
{
    note(arg);
    loop_stop(loop);
}

static void free_noted(void *ptr)
{
    note("f");
    mem_free(ptr);
}

static void on_bury(void *arg)
{
    note(arg);
    loop_bury(loop, mem_alloc(1), free_noted);
}

Test(loop, runs_tasks_then_the_turns_end_then_frees, .init = set_up, .fini = tear_down)
{
    loop_task_init(&tasks[0], on_bury, "a");
    loop_task_init(&tasks[1], on_letter, "b");
    loop_task_init(&tasks[2], on_stop, "e");
    loop_at_turn_end(loop, &tasks[2]);
    loop_again(loop, &tasks[0]);
    loop_again(loop, &tasks[1]);
    loop_again(loop, &tasks[0]); /* once is enough */
    loop_run(loop);
    cr_expect(eq(str, trace, "abef"));
}

static void on_repeat(void *arg)
{
    note(arg);
    loop_again(loop, &tasks[0]);
    if (strlen(trace) >= 6)
        loop_stop(loop);
}

Test(loop, runs_what_asks_again_in_the_next_turn, .init = set_up, .fini = tear_down)
{
    loop_task_init(&tasks[0], on_repeat, "a");
    loop_task_init(&tasks[1], on_letter, "-");
    loop_again(loop, &tasks[0]);
    loop_at_turn_end(loop, &tasks[1]);
    loop_run(loop);
    cr_expect(eq(str, trace, "a-aaaa"));
    loop_task_cancel(loop, &tasks[0]);
}

static void on_turn_end_again(void *arg)
{
    note(arg);
    if (strlen(trace) < 3)
        loop_at_turn_end(loop, &tasks[0]);
    else
        loop_stop(loop);
}

Test(loop, goes_on_at_a_turns_end_until_all_is_done, .init = set_up, .fini = tear_down)
{
    loop_task_init(&tasks[0], on_turn_end_again, "e");
    loop_task_init(&tasks[1], on_letter, "a");
    loop_at_turn_end(loop, &tasks[0]);
    loop_again(loop, &tasks[1]);
    loop_run(loop);
    cr_expect(eq(str, trace, "aee"));
}

Test(loop, lets_a_task_be_the_first_at_the_turns_end, .init = set_up, .fini = tear_down)
{
    loop_task_init(&tasks[0], on_letter, "a");
    loop_task_init(&tasks[1], on_letter, "b");
    loop_task_init(&tasks[2], on_stop, "e");
    loop_at_turn_end(loop, &tasks[0]);
    loop_first_at_turn_end(loop, &tasks[1]);
    loop_first_at_turn_end(loop, &tasks[0]); /* waits already */
    loop_again(loop, &tasks[2]);
    loop_run(loop);
    cr_expect(eq(str, trace, "eba"));
}

/* A task that is not queued any more may be gone. */
static struct loop_task *doomed[2];

static void on_cancel_all(void *arg)
{
    note(arg);
    for (int i = 0; i < 2; i++) {
        loop_task_cancel(loop, doomed[i]);
        loop_task_cancel(loop, doomed[i]);
        mem_free(doomed[i]);
    }
    loop_stop(loop);
}

Test(loop, forgets_a_task_that_was_cancelled, .init = set_up, .fini = tear_down)
{
    loop_task_init(&tasks[0], on_cancel_all, "a");
    loop_again(loop, &tasks[0]);
    for (int i = 0; i < 2; i++) {
        doomed[i] = mem_alloc(sizeof *doomed[i]);
        loop_task_init(doomed[i], on_letter, "x");
    }
    loop_again(loop, doomed[0]);
    loop_at_turn_end(loop, doomed[1]);
    loop_run(loop);
    cr_expect(eq(str, trace, "a"));
}

static void on_cancel_and_queue(void *arg)
{
    note(arg);
    loop_task_cancel(loop, &tasks[1]);
    loop_again(loop, &tasks[1]);
}

Test(loop, takes_a_task_back_for_the_next_turn, .init = set_up, .fini = tear_down)
{
    loop_task_init(&tasks[0], on_cancel_and_queue, "a");
    loop_task_init(&tasks[1], on_stop, "b");
    loop_task_init(&tasks[2], on_letter, "e");
    loop_again(loop, &tasks[0]);
    loop_again(loop, &tasks[1]);
    loop_at_turn_end(loop, &tasks[2]);
    loop_run(loop);
    cr_expect(eq(str, trace, "aeb"));
}

static void free_burying(void *ptr)
{
    note("g");
    mem_free(ptr);
    loop_bury(loop, mem_alloc(1), free_noted);
}

Test(loop, frees_what_is_buried_by_a_burial, .init = set_up, .fini = tear_down)
{
    loop_task_init(&tasks[0], on_stop, "a");
    loop_again(loop, &tasks[0]);
    for (int i = 0; i < 20; i++)
        loop_bury(loop, mem_alloc(1), free_burying);
    loop_run(loop);
    cr_expect(eq(sz, strlen(trace), 41));
}

Test(loop, frees_what_is_buried_when_it_is_freed)
{
    set_up();
    loop_bury(loop, mem_alloc(1), free_burying);
    loop_free(&loop);
    cr_expect(eq(str, trace, "gf"));
    cr_expect(loop == NULL);
}

/* ---- timers --------------------------------------------------------------------------------- */

static struct loop_timer timers[3];

Test(loop, runs_timers_in_the_order_of_their_time, .init = set_up, .fini = tear_down)
{
    loop_timer_init(&timers[0], loop, on_stop, "c");
    loop_timer_init(&timers[1], loop, on_letter, "b");
    loop_timer_init(&timers[2], loop, on_letter, "a");
    loop_timer_start(&timers[0], 30);
    loop_timer_start(&timers[1], 15);
    loop_timer_start(&timers[2], 0);
    cr_expect(loop_timer_is_running(&timers[1]));
    loop_run(loop);
    cr_expect(eq(str, trace, "abc"));
    for (int i = 0; i < 3; i++) {
        cr_expect(not(loop_timer_is_running(&timers[i])), "once");
        loop_timer_fini(&timers[i]);
    }
}

Test(loop, restarts_and_stops_timers, .init = set_up, .fini = tear_down)
{
    loop_timer_init(&timers[0], loop, on_letter, "x");
    loop_timer_init(&timers[1], loop, on_letter, "late");
    loop_timer_init(&timers[2], loop, on_stop, "e");
    loop_timer_stop(&timers[0]); /* not running: no effect */
    loop_timer_start(&timers[0], 1);
    loop_timer_stop(&timers[0]);
    loop_timer_start(&timers[1], 1);
    loop_timer_start(&timers[1], 60000);
    loop_timer_start(&timers[2], 20);
    loop_run(loop);
    cr_expect(eq(str, trace, "e"));
    cr_expect(loop_timer_is_running(&timers[1]));
    for (int i = 0; i < 3; i++)
        loop_timer_fini(&timers[i]);
}

static uint64_t began_us;

static void on_look_at_time(void *arg)
{
    (void)arg;
    cr_expect(ge(u64, loop_now_us(loop), began_us + 10000));
    cr_expect(le(u64, loop_now_us(loop), clock_mono_us()));
    cr_expect(eq(u64, loop_now_ms(loop), loop_now_us(loop) / 1000));
    loop_stop(loop);
}

Test(loop, knows_the_time_of_its_turn, .init = set_up, .fini = tear_down)
{
    began_us = clock_mono_us();
    loop_timer_init(&timers[0], loop, on_look_at_time, NULL);
    loop_timer_start(&timers[0], 11);
    loop_run(loop);
    loop_timer_fini(&timers[0]);
}

/* ---- signals, threads ----------------------------------------------------------------------- */

Test(loop, hands_signals_over, .init = set_up, .fini = tear_down)
{
    struct err err;
    cr_assert(loop_on_signal(loop, SIGUSR1, on_letter, "1", &err), "%s", err.text);
    cr_assert(loop_on_signal(loop, SIGUSR2, on_stop, "2", &err), "%s", err.text);
    raise(SIGUSR1);
    kit_turns(loop, 2);
    raise(SIGUSR2);
    loop_run(loop);
    cr_expect(eq(str, trace, "12"));
}

/* As a service manager does that changes its mind. */
Test(loop, hands_over_a_signal_that_came_too_early, .init = set_up, .fini = tear_down)
{
    struct err err;
    daemon_hold_signals();
    raise(SIGTERM);
    cr_assert(loop_on_signal(loop, SIGHUP, on_letter, "h", &err), "%s", err.text);
    cr_assert(loop_on_signal(loop, SIGTERM, on_stop, "t", &err), "%s", err.text);
    loop_run(loop);
    raise(SIGHUP); /* they are not held back any more */
    kit_turns(loop, 2);
    cr_expect(eq(str, trace, "th"));
}

static void *stop_it(void *arg)
{
    loop_stop(arg);
    return NULL;
}

Test(loop, is_stopped_by_another_thread, .init = set_up, .fini = tear_down)
{
    pthread_t thread;
    cr_assert(pthread_create(&thread, NULL, stop_it, loop) == 0);
    loop_run(loop);
    pthread_join(thread, NULL);
    cr_expect(not(loop_is_current(loop)));
    /* And before it runs. */
    loop_stop(loop);
    loop_run(loop);
}

Test(loop, runs_on_a_thread_of_its_own)
{
    struct err err;
    struct loop *own = loop_new("a name that is far too long", &err);
    cr_assert(own != NULL, "%s", err.text);
    cr_expect(eq(str, (char *)loop_name(own), "a name that is "));
    cr_assert(loop_start(own, &err), "%s", err.text);
    loop_stop(own);
    loop_join(own);
    loop_free(&own);
}

/* ---- mail ----------------------------------------------------------------------------------- */

enum { SENDERS = 4, MAILS = 20000 };

struct letter {
    struct mail mail;
    unsigned sender;
    unsigned number;
};

static unsigned expected[SENDERS];
static size_t received;

static void on_letter_mail(struct mail *mail)
{
    struct letter *l = CONTAINER_OF(mail, struct letter, mail);
    CHECK(loop_is_current(loop));
    CHECK(l->number == expected[l->sender]); /* in the order of each sender */
    expected[l->sender]++;
    received++;
    mem_free(l);
}

static void post_letter(unsigned sender, unsigned number, mail_fn fn)
{
    struct letter *l = mem_zalloc(sizeof *l);
    l->mail.fn = fn;
    l->sender = sender;
    l->number = number;
    mailbox_post(loop, &l->mail);
}

static void *send_letters(void *arg)
{
    for (unsigned i = 0; i < MAILS; i++)
        post_letter((unsigned)(uintptr_t)arg, i, on_letter_mail);
    return NULL;
}

Test(mailbox, delivers_all_in_the_order_of_each_sender)
{
    set_up();
    pthread_t senders[SENDERS];
    for (uintptr_t i = 0; i < SENDERS; i++)
        cr_assert(pthread_create(&senders[i], NULL, send_letters, (void *)i) == 0);
    kit_until_count(loop, &received, (size_t)SENDERS * MAILS);
    for (int i = 0; i < SENDERS; i++)
        pthread_join(senders[i], NULL);
    cr_expect(eq(sz, mailbox_depth(loop), 0));
    tear_down();
}

Test(mailbox, shows_how_many_wait)
{
    set_up();
    for (unsigned i = 0; i < 10; i++)
        post_letter(0, i, on_letter_mail);
    cr_expect(eq(sz, mailbox_depth(loop), 10));
    kit_until_count(loop, &received, 10);
    cr_expect(eq(sz, mailbox_depth(loop), 0));
    tear_down();
}

/* A mail that answers, to its own loop: the next turn has it. */
static void on_ping(struct mail *mail)
{
    struct letter *l = CONTAINER_OF(mail, struct letter, mail);
    received++;
    if (l->number != 0)
        post_letter(0, l->number - 1, on_ping);
    mem_free(l);
}

Test(mailbox, takes_mail_while_it_delivers)
{
    set_up();
    post_letter(0, 999, on_ping);
    kit_until_count(loop, &received, 1000);
    tear_down();
}

Test(mailbox, delivers_what_is_left_when_the_loop_is_freed)
{
    set_up();
    post_letter(0, 9, on_ping);
    tear_down();
    cr_expect(eq(sz, received, 10));
}

/* ---- grace periods -------------------------------------------------------------------------- */

enum { READERS = 3, VERSIONS = 20000, CHECKED = 0x5EED };

struct version {
    unsigned mark; /* overwritten before it is freed */
    unsigned number;
};

static _Atomic(struct version *) shared;
static atomic_bool is_over;
static atomic_uint reads[READERS];

struct reader {
    struct loop *loop;
    struct loop_task task;
    atomic_uint *reads;
    unsigned newest;
};

static void free_version(void *ptr)
{
    struct version *v = ptr;
    CHECK(v->mark == CHECKED);
    v->mark = 0;
    mem_free(v);
}

static struct version *version_new(unsigned number)
{
    struct version *v = mem_alloc(sizeof *v);
    *v = (struct version){ CHECKED, number };
    return v;
}

/* Within a turn: what was loaded stays good until its end. */
static void on_read(void *arg)
{
    struct reader *r = arg;
    const struct version *v = atomic_load(&shared);
    for (int i = 0; i < 20; i++) {
        CHECK(v->mark == CHECKED);
        CHECK(v->number >= r->newest);
    }
    r->newest = v->number;
    atomic_fetch_add(r->reads, 1);
    if (!atomic_load(&is_over))
        loop_again(r->loop, &r->task);
    else
        loop_stop(r->loop);
}

Test(epoch, frees_nothing_that_a_reader_may_hold)
{
    struct err err;
    struct epoch *epoch = epoch_new();
    struct reader readers[READERS];
    atomic_store(&shared, version_new(0));
    for (int i = 0; i < READERS; i++) {
        readers[i] = (struct reader){ .loop = kit_loop_new(), .reads = &reads[i] };
        loop_join_epoch(readers[i].loop, epoch);
        loop_task_init(&readers[i].task, on_read, &readers[i]);
        loop_again(readers[i].loop, &readers[i].task);
        cr_assert(loop_start(readers[i].loop, &err), "%s", err.text);
    }
    size_t most = 0;
    for (unsigned n = 1; n <= VERSIONS; n++) {
        epoch_retire(epoch, atomic_exchange(&shared, version_new(n)), free_version);
        most = epoch_waiting(epoch) > most ? epoch_waiting(epoch) : most;
    }
    /* Every reader goes on turning, so everything is freed in the end. */
    while (epoch_waiting(epoch) != 0)
        epoch_reclaim(epoch);
    atomic_store(&is_over, true);
    for (int i = 0; i < READERS; i++) {
        loop_join(readers[i].loop);
        loop_free(&readers[i].loop);
        cr_expect(lt(uint, 0, atomic_load(&reads[i])));
    }
    cr_expect(lt(sz, 0, most));
    free_version(atomic_load(&shared));
    epoch_free(&epoch);
}

Test(epoch, waits_for_a_reader_that_is_in_its_turn)
{
    struct epoch *epoch = epoch_new();
    struct epoch_reader *reader = epoch_join(epoch);
    epoch_online(epoch, reader);
    epoch_retire(epoch, version_new(1), free_version);
    epoch_reclaim(epoch);
    cr_expect(eq(sz, epoch_waiting(epoch), 1));
    /* Its next turn cannot hold what was unlinked before. */
    epoch_offline(reader);
    epoch_online(epoch, reader);
    epoch_retire(epoch, version_new(2), free_version);
    epoch_reclaim(epoch);
    cr_expect(eq(sz, epoch_waiting(epoch), 1), "the first is free, the second is not");
    epoch_offline(reader);
    epoch_reclaim(epoch);
    cr_expect(eq(sz, epoch_waiting(epoch), 0));
    epoch_leave(epoch, &reader);
    epoch_free(&epoch);
}

static sem_t gate;
static struct loop_task sleeper_task;

static void on_sleep(void *arg)
{
    (void)arg;
    sem_post(&gate);
}

Test(epoch, is_not_delayed_by_a_loop_that_sleeps)
{
    struct err err;
    struct epoch *epoch = epoch_new();
    struct loop *sleeper = kit_loop_new();
    sem_init(&gate, 0, 0);
    loop_join_epoch(sleeper, epoch);
    loop_task_init(&sleeper_task, on_sleep, NULL);
    loop_again(sleeper, &sleeper_task);
    cr_assert(loop_start(sleeper, &err));
    sem_wait(&gate);
    /* From here on it has nothing to do: its turn ends, and it waits without holding anything. */
    epoch_retire(epoch, version_new(1), free_version);
    while (epoch_waiting(epoch) != 0)
        epoch_reclaim(epoch);
    loop_stop(sleeper);
    loop_join(sleeper);
    loop_free(&sleeper);
    epoch_free(&epoch);
}

Test(epoch, frees_the_rest_at_its_end)
{
    struct epoch *epoch = epoch_new();
    for (unsigned i = 0; i < 200; i++)
        epoch_retire(epoch, version_new(i), free_version);
    epoch_free(&epoch);
    cr_expect(epoch == NULL);
}
