#include "io/loop.h"

#include "base/check.h"
#include "base/mem.h"
#include "io/clock.h"
#include "io/epoch.h"
#include "io/loop_event.h"
#include "io/work.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NAME_MAX_BYTES 16 /* what the kernel keeps of a thread's name */
#define BLOCKS_MAX     8
#define SIGNALS_MAX    8
#define PIPES_KEPT_MAX 16u
#define PIPE_LEAST     (64 * 1024) /* a shorter one gains nothing over a copy */

struct grave {
    void *ptr;
    void (*free_fn)(void *);
};

struct signal_watch {
    struct loop *loop;
    struct event *event;
    loop_fn fn;
    void *arg;
};

TAILQ_HEAD(task_list, loop_task);

struct loop {
    char name[NAME_MAX_BYTES];
    struct event_base *base;
    struct mailbox *mailbox;
    struct task_list again;
    struct task_list turn_end;
    struct grave *graves;
    size_t grave_count;
    size_t grave_cap;
    struct epoch *epoch;
    struct epoch_reader *reader;
    struct work_pool *resolver;
    TAILQ_HEAD(, loop_orphan) orphans;
    unsigned orphan_count;
    uint64_t now_us;
    bool in_turn;
    atomic_bool stopping;
    bool started;
    pthread_t thread;
    struct buf *in_blocks[BLOCKS_MAX];
    struct buf *out_blocks[BLOCKS_MAX];
    struct loop_pipe pipes[PIPES_KEPT_MAX];
    unsigned pipe_count;
    unsigned pipes_out;
    struct signal_watch signals[SIGNALS_MAX];
    unsigned signal_count;
};

static _Thread_local struct loop *current;

static void close_pipe(struct loop_pipe *p)
{
    close(p->out);
    close(p->in);
}

struct loop *loop_new(const char *name, struct err *err)
{
    struct loop *l = mem_zalloc(sizeof *l);
    snprintf(l->name, sizeof l->name, "%s", name);
    TAILQ_INIT(&l->again);
    TAILQ_INIT(&l->turn_end);
    TAILQ_INIT(&l->orphans);
    l->now_us = clock_mono_us();
    struct event_config *config = event_config_new();
    CHECK(config != NULL);
    /* Each loop stays on its thread: libevent needs no locks, and timers read a coarse clock. */
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    l->base = event_base_new_with_config(config);
    event_config_free(config);
    if (l->base == NULL) {
        err_set(err, ERR_SYSTEM, "event loop %s: %s", name, strerror(errno));
        goto fail;
    }
    l->mailbox = mailbox_new(l, err);
    if (l->mailbox == NULL)
        goto fail;
    return l;

fail:
    if (l->base != NULL)
        event_base_free(l->base);
    mem_free(l);
    return NULL;
}

static void free_blocks(struct buf **blocks)
{
    for (size_t i = 0; i < BLOCKS_MAX; i++)
        buf_unref(&blocks[i]);
}

static void free_graves(struct loop *l)
{
    /* Freeing may bury more. */
    for (size_t i = 0; i < l->grave_count; i++)
        l->graves[i].free_fn(l->graves[i].ptr);
    l->grave_count = 0;
}

static void end_eldest_orphan(struct loop *l)
{
    struct loop_orphan *o = TAILQ_FIRST(&l->orphans);
    o->end_fn(o);
    CHECK(TAILQ_FIRST(&l->orphans) != o);
}

void loop_free(struct loop **loop)
{
    struct loop *l = *loop;
    if (l == NULL)
        return;
    CHECK(!l->started && current != l);
    struct loop *was = current;
    current = l;
    work_pool_free(&l->resolver);
    while (mailbox_depth(l) != 0) /* what is delivered may post to its own loop */
        mailbox_drain(l->mailbox);
    while (!TAILQ_EMPTY(&l->orphans))
        end_eldest_orphan(l);
    free_graves(l);
    current = was;
    CHECK(TAILQ_EMPTY(&l->again) && TAILQ_EMPTY(&l->turn_end));
    for (unsigned i = 0; i < l->signal_count; i++)
        event_free(l->signals[i].event);
    if (l->reader != NULL)
        epoch_leave(l->epoch, &l->reader);
    mailbox_free(&l->mailbox);
    event_base_free(l->base);
    while (l->pipe_count != 0)
        close_pipe(&l->pipes[--l->pipe_count]);
    free_blocks(l->in_blocks);
    free_blocks(l->out_blocks);
    mem_free(l->graves);
    mem_free(l);
    *loop = NULL;
}

void loop_turn_begin(struct loop *l)
{
    if (l->in_turn)
        return;
    l->in_turn = true;
    l->now_us = clock_mono_us();
    if (l->reader != NULL)
        epoch_online(l->epoch, l->reader);
}

/* Those that are there now; what they ask for comes in the next turn. The mark parts the two: any
 * other task may be cancelled, and its memory gone, before it is reached. */
static void run_again_tasks(struct loop *l)
{
    struct loop_task mark = { .queued = true };
    TAILQ_INSERT_TAIL(&l->again, &mark, entry);
    struct loop_task *t;
    while ((t = TAILQ_FIRST(&l->again)) != &mark) {
        TAILQ_REMOVE(&l->again, t, entry);
        t->queued = false;
        t->fn(t->arg);
    }
    TAILQ_REMOVE(&l->again, &mark, entry);
}

static void run_turn_end_tasks(struct loop *l)
{
    struct loop_task *t;
    while ((t = TAILQ_FIRST(&l->turn_end)) != NULL) {
        TAILQ_REMOVE(&l->turn_end, t, entry);
        t->queued = false;
        t->fn(t->arg);
    }
}

static void run_turn(struct loop *l)
{
    int flags = EVLOOP_ONCE;
    if (!TAILQ_EMPTY(&l->again))
        flags |= EVLOOP_NONBLOCK;
    CHECK(event_base_loop(l->base, flags) >= 0);
    loop_turn_begin(l);
    run_again_tasks(l);
    run_turn_end_tasks(l);
    free_graves(l);
    l->in_turn = false;
    if (l->reader != NULL)
        epoch_offline(l->reader);
}

void loop_run(struct loop *l)
{
    CHECK(current == NULL);
    current = l;
    while (!atomic_load_explicit(&l->stopping, memory_order_acquire))
        run_turn(l);
    atomic_store_explicit(&l->stopping, false, memory_order_relaxed);
    current = NULL;
}

static void *thread_main(void *arg)
{
    struct loop *l = arg;
    pthread_setname_np(pthread_self(), l->name);
    loop_run(l);
    return NULL;
}

bool loop_start(struct loop *l, struct err *err)
{
    CHECK(!l->started);
    /* Signals are the main loop's. */
    sigset_t all, was;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &was);
    int e = pthread_create(&l->thread, NULL, thread_main, l);
    pthread_sigmask(SIG_SETMASK, &was, NULL);
    if (e != 0)
        return err_set(err, ERR_SYSTEM, "thread %s: %s", l->name, strerror(e));
    l->started = true;
    return true;
}

void loop_join(struct loop *l)
{
    CHECK(l->started);
    pthread_join(l->thread, NULL);
    l->started = false;
}

bool loop_settle(struct loop *l)
{
    CHECK(!l->started && current == NULL);
    current = l;
    bool busy = mailbox_depth(l) != 0 || !TAILQ_EMPTY(&l->again) || !TAILQ_EMPTY(&l->turn_end) ||
                l->grave_count != 0;
    mailbox_drain(l->mailbox);
    run_again_tasks(l);
    run_turn_end_tasks(l);
    free_graves(l);
    current = NULL;
    return busy;
}

void loop_stop(struct loop *l)
{
    atomic_store_explicit(&l->stopping, true, memory_order_release);
    mailbox_wake(l->mailbox);
}

bool loop_is_current(const struct loop *l)
{
    return current == l;
}

const char *loop_name(const struct loop *l)
{
    return l->name;
}

uint64_t loop_now_us(const struct loop *l)
{
    return l->now_us;
}

uint64_t loop_now_ms(const struct loop *l)
{
    return l->now_us / 1000u;
}

void loop_join_epoch(struct loop *l, struct epoch *epoch)
{
    CHECK(l->epoch == NULL);
    l->epoch = epoch;
    l->reader = epoch_join(epoch);
}

/* ---- tasks and timers ----------------------------------------------------------------------- */

void loop_task_init(struct loop_task *t, loop_fn fn, void *arg)
{
    *t = (struct loop_task){ .fn = fn, .arg = arg };
}

void loop_again(struct loop *l, struct loop_task *t)
{
    if (t->queued)
        return;
    t->queued = true;
    t->at_turn_end = false;
    TAILQ_INSERT_TAIL(&l->again, t, entry);
}

void loop_at_turn_end(struct loop *l, struct loop_task *t)
{
    if (t->queued)
        return;
    t->queued = true;
    t->at_turn_end = true;
    TAILQ_INSERT_TAIL(&l->turn_end, t, entry);
}

void loop_first_at_turn_end(struct loop *l, struct loop_task *t)
{
    if (t->queued)
        return;
    t->queued = true;
    t->at_turn_end = true;
    TAILQ_INSERT_HEAD(&l->turn_end, t, entry);
}

void loop_task_cancel(struct loop *l, struct loop_task *t)
{
    if (!t->queued)
        return;
    if (t->at_turn_end)
        TAILQ_REMOVE(&l->turn_end, t, entry);
    else
        TAILQ_REMOVE(&l->again, t, entry);
    t->queued = false;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct loop_timer *t = arg;
    loop_turn_begin(t->loop);
    t->fn(t->arg);
}

void loop_timer_init(struct loop_timer *t, struct loop *loop, loop_fn fn, void *arg)
{
    *t = (struct loop_timer){ .loop = loop, .fn = fn, .arg = arg };
}

void loop_timer_start(struct loop_timer *t, uint64_t after_ms)
{
    if (t->event == NULL) {
        t->event = event_new(t->loop->base, -1, 0, on_timer, t);
        CHECK(t->event != NULL);
    }
    struct timeval tv = { .tv_sec = (time_t)(after_ms / 1000u),
                          .tv_usec = (suseconds_t)(after_ms % 1000u * 1000u) };
    CHECK(event_add(t->event, &tv) == 0);
}

void loop_timer_stop(struct loop_timer *t)
{
    if (t->event != NULL)
        event_del(t->event);
}

bool loop_timer_is_running(const struct loop_timer *t)
{
    return t->event != NULL && event_pending(t->event, EV_TIMEOUT, NULL) != 0;
}

void loop_timer_fini(struct loop_timer *t)
{
    if (t->event != NULL)
        event_free(t->event);
    t->event = NULL;
}

/* ---- the rest ------------------------------------------------------------------------------- */

void loop_bury(struct loop *l, void *ptr, void (*free_fn)(void *))
{
    if (l->grave_count == l->grave_cap) {
        l->grave_cap = l->grave_cap != 0 ? l->grave_cap * 2 : 16;
        l->graves = mem_realloc(l->graves, l->grave_cap * sizeof *l->graves);
    }
    l->graves[l->grave_count++] = (struct grave){ ptr, free_fn };
}

static void on_signal(evutil_socket_t signo, short what, void *arg)
{
    (void)signo;
    (void)what;
    struct signal_watch *w = arg;
    loop_turn_begin(w->loop);
    w->fn(w->arg);
}

/* One that was held back until now comes now. */
static void let_through(int signo, bool has_come)
{
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, signo);
    if (has_come)
        CHECK(raise(signo) == 0);
    pthread_sigmask(SIG_UNBLOCK, &one, NULL);
}

bool loop_on_signal(struct loop *l, int signo, loop_fn fn, void *arg, struct err *err)
{
    CHECK(l->signal_count < SIGNALS_MAX);
    struct signal_watch *w = &l->signals[l->signal_count];
    *w = (struct signal_watch){ .loop = l, .fn = fn, .arg = arg };
    sigset_t waiting; /* to ignore a signal drops one that waits */
    bool has_come = sigpending(&waiting) == 0 && sigismember(&waiting, signo) == 1;
    /* What the watch gives back when it goes: a second TERM must not cut an orderly end short. */
    if (signal(signo, SIG_IGN) == SIG_ERR)
        return err_set(err, ERR_SYSTEM, "signal %d: %s", signo, strerror(errno));
    w->event = evsignal_new(l->base, signo, on_signal, w);
    if (w->event == NULL || event_add(w->event, NULL) != 0)
        return err_set(err, ERR_SYSTEM, "signal %d cannot be watched", signo);
    l->signal_count++;
    let_through(signo, has_come);
    return true;
}

struct event_base *loop_base(struct loop *l)
{
    return l->base;
}

struct mailbox *loop_mailbox(const struct loop *l)
{
    return l->mailbox;
}

void loop_orphan_add(struct loop *l, struct loop_orphan *o, void (*end_fn)(struct loop_orphan *))
{
    if (l->orphan_count == LOOP_ORPHANS_MAX)
        end_eldest_orphan(l);
    o->end_fn = end_fn;
    TAILQ_INSERT_TAIL(&l->orphans, o, entry);
    l->orphan_count++;
}

void loop_orphan_remove(struct loop *l, struct loop_orphan *o)
{
    TAILQ_REMOVE(&l->orphans, o, entry);
    l->orphan_count--;
}

void loop_set_resolver(struct loop *l, struct work_pool *pool)
{
    l->resolver = pool;
}

struct work_pool *loop_resolver(const struct loop *l)
{
    return l->resolver;
}

/* A block that only the loop holds; else a new one, which the loop keeps if it has a place. */
static struct buf *take_block(struct buf **blocks, size_t bytes)
{
    struct buf **place = NULL;
    for (size_t i = 0; i < BLOCKS_MAX; i++) {
        if (blocks[i] == NULL) {
            place = place != NULL ? place : &blocks[i];
        } else if (buf_is_sole(blocks[i])) {
            blocks[i]->len_bytes = 0;
            return buf_ref(blocks[i]);
        }
    }
    struct buf *b = buf_new(bytes);
    if (place != NULL)
        *place = buf_ref(b);
    return b;
}

struct buf *loop_block_in(struct loop *l)
{
    return take_block(l->in_blocks, LOOP_BLOCK_BYTES);
}

struct buf *loop_block_out(struct loop *l)
{
    return take_block(l->out_blocks, LOOP_BLOCK_OUT_BYTES);
}

/* ---- pipes ----------------------------------------------------------------------------------- */

static bool open_pipe(struct loop_pipe *p)
{
    int ends[2];
    if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0)
        return false;
    *p = (struct loop_pipe){ .out = ends[0], .in = ends[1] };
    /* A user may have so much in pipes and no more: then those that come get a page or two. */
    if (fcntl(p->in, F_SETPIPE_SZ, (int)LOOP_PIPE_BYTES) >= PIPE_LEAST ||
        fcntl(p->in, F_GETPIPE_SZ) >= PIPE_LEAST)
        return true;
    close_pipe(p);
    return false;
}

bool loop_pipe_take(struct loop *l, struct loop_pipe *p)
{
    if (l->pipes_out == LOOP_PIPES_MAX)
        return false;
    if (l->pipe_count != 0)
        *p = l->pipes[--l->pipe_count];
    else if (!open_pipe(p))
        return false;
    l->pipes_out++;
    return true;
}

void loop_pipe_give(struct loop *l, struct loop_pipe *p)
{
    if (l->pipe_count == PIPES_KEPT_MAX) {
        loop_pipe_drop(l, p);
        return;
    }
    l->pipes_out--;
    l->pipes[l->pipe_count++] = *p;
}

void loop_pipe_drop(struct loop *l, struct loop_pipe *p)
{
    CHECK(l->pipes_out > 0);
    l->pipes_out--;
    close_pipe(p);
}
