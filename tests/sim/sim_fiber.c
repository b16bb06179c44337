#include "sim_fiber.h"

#include "base/check.h"
#include "base/mem.h"
#include "io/lock.h"
#include "sim_world.h"

#include <sys/queue.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#define SIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIM_ASAN 1
#endif
#endif

#ifdef SIM_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

#define STACK_BYTES ((size_t)512 * 1024)
#define STACKS_MAX  8u

struct sim_fiber {
    TAILQ_ENTRY(sim_fiber) entry;
    ucontext_t context;
    uint8_t *stack;
    void (*fn)(void *arg);
    void *arg;
    const struct bell *waits_for;
    uint64_t until_us; /* 0: for ever */
    void *fake_stack;  /* the sanitizer's */
    bool has_ended;
};

static TAILQ_HEAD(, sim_fiber) fibers = TAILQ_HEAD_INITIALIZER(fibers);
static struct sim_fiber *current;
static ucontext_t main_context;
static uint8_t *stacks[STACKS_MAX];
static unsigned stack_count;
static const struct bell *main_waits_for;

/* ---- switching --------------------------------------------------------------------------------
 */

#ifdef SIM_ASAN
static void *main_fake_stack;
static const void *main_stack;
static size_t main_stack_bytes;

static void leaving(void **fake, const void *stack, size_t bytes)
{
    __sanitizer_start_switch_fiber(fake, stack, bytes);
}

static void arrived(void *fake, bool on_fiber)
{
    __sanitizer_finish_switch_fiber(fake, on_fiber ? &main_stack : NULL,
                                    on_fiber ? &main_stack_bytes : NULL);
}
#endif

static void to_main(struct sim_fiber *f)
{
#ifdef SIM_ASAN
    leaving(f->has_ended ? NULL : &f->fake_stack, main_stack, main_stack_bytes);
#endif
    CHECK(swapcontext(&f->context, &main_context) == 0);
#ifdef SIM_ASAN
    arrived(f->fake_stack, true);
#endif
}

static void to_fiber(struct sim_fiber *f)
{
    CHECK(current == NULL);
    current = f;
#ifdef SIM_ASAN
    leaving(&main_fake_stack, f->stack, STACK_BYTES);
#endif
    CHECK(swapcontext(&main_context, &f->context) == 0);
#ifdef SIM_ASAN
    arrived(main_fake_stack, false);
#endif
    current = NULL;
}

static void fiber_main(void)
{
    struct sim_fiber *f = current;
#ifdef SIM_ASAN
    arrived(NULL, true);
#endif
    f->fn(f->arg);
    f->has_ended = true;
    to_main(f);
    UNREACHABLE("the end of a fiber");
}

/* ---- fibers -----------------------------------------------------------------------------------
 */

struct sim_fiber *sim_fiber_new(void (*fn)(void *arg), void *arg)
{
    struct sim_fiber *f = mem_zalloc(sizeof *f);
    f->fn = fn;
    f->arg = arg;
    f->stack = stack_count != 0 ? stacks[--stack_count] : mem_alloc(STACK_BYTES);
    CHECK(getcontext(&f->context) == 0);
    f->context.uc_stack.ss_sp = f->stack;
    f->context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&f->context, fiber_main, 0);
    TAILQ_INSERT_TAIL(&fibers, f, entry);
    return f;
}

void sim_fiber_free(struct sim_fiber **fp)
{
    struct sim_fiber *f = *fp;
    *fp = NULL;
    CHECK(f->has_ended);
    TAILQ_REMOVE(&fibers, f, entry);
    if (stack_count < STACKS_MAX)
        stacks[stack_count++] = f->stack;
    else
        mem_free(f->stack);
    mem_free(f);
}

bool sim_fiber_has_ended(const struct sim_fiber *f)
{
    return f->has_ended;
}

static bool is_ready(const struct sim_fiber *f)
{
    return !f->has_ended &&
           (f->waits_for == NULL || (f->until_us != 0 && f->until_us <= sim_world_now_us()));
}

size_t sim_fiber_ready(void)
{
    size_t count = 0;
    struct sim_fiber *f;
    TAILQ_FOREACH (f, &fibers, entry)
        count += is_ready(f);
    return count;
}

void sim_fiber_run(size_t index)
{
    struct sim_fiber *f;
    TAILQ_FOREACH (f, &fibers, entry)
        if (is_ready(f) && index-- == 0)
            break;
    f->waits_for = NULL;
    to_fiber(f);
}

unsigned long long sim_fiber_next_us(void)
{
    uint64_t at_us = UINT64_MAX;
    struct sim_fiber *f;
    TAILQ_FOREACH (f, &fibers, entry)
        if (!f->has_ended && f->waits_for != NULL && f->until_us != 0 && f->until_us < at_us)
            at_us = f->until_us;
    return at_us;
}

bool sim_fiber_is_current(void)
{
    return current != NULL;
}

void sim_fiber_give_way(void)
{
    CHECK(current != NULL);
    to_main(current);
}

/* ---- src/io/lock ------------------------------------------------------------------------------
 */

/* The linker puts it in the place of the real one: who waits for a lock lets others run. */
int __wrap_pthread_mutex_lock(pthread_mutex_t *m);
int __wrap_pthread_mutex_lock(pthread_mutex_t *m)
{
    while (pthread_mutex_trylock(m) != 0) {
        if (current != NULL)
            to_main(current);
        else
            CHECK(sim_world_step());
    }
    return 0;
}

void lock_init(struct lock *l)
{
    pthread_mutex_init(&l->mutex, NULL);
}

void lock_fini(struct lock *l)
{
    pthread_mutex_destroy(&l->mutex);
}

void bell_init(struct bell *b)
{
    (void)b;
}

void bell_fini(struct bell *b)
{
    (void)b;
}

void bell_wait(struct bell *b, struct lock *l, uint64_t until_us)
{
    lock_give(l);
    if (current != NULL) {
        current->waits_for = b;
        current->until_us = until_us;
        to_main(current);
    } else {
        CHECK(main_waits_for == NULL);
        main_waits_for = b;
        while (main_waits_for != NULL && (until_us == 0 || sim_world_now_us() < until_us))
            CHECK(sim_world_step());
        main_waits_for = NULL;
    }
    lock_take(l);
}

void bell_ring(struct bell *b)
{
    if (main_waits_for == b) {
        main_waits_for = NULL;
        return;
    }
    struct sim_fiber *f;
    TAILQ_FOREACH (f, &fibers, entry)
        if (f->waits_for == b) {
            f->waits_for = NULL;
            return;
        }
}

struct thread {
    struct sim_fiber *fiber;
};

struct thread *thread_start(const char *name, void (*run)(void *arg), void *arg, struct err *err)
{
    (void)name;
    (void)err;
    struct thread *t = mem_zalloc(sizeof *t);
    t->fiber = sim_fiber_new(run, arg);
    return t;
}

void thread_join(struct thread **tp)
{
    struct thread *t = *tp;
    *tp = NULL;
    if (t == NULL)
        return;
    while (!sim_fiber_has_ended(t->fiber))
        CHECK(sim_world_step());
    sim_fiber_free(&t->fiber);
    mem_free(t);
}
