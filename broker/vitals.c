#include "vitals.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/shared.h"
#include "io/clock.h"
#include "io/lock.h"
#include "io/loop.h"
#include "io/mailbox.h"

#include <inttypes.h>

/* Between two looks no more than that counts: if the thread that looks did not run either the whole
 * node stood still (it was stopped, or its machine was), and no loop of it is to blame. */
#define STEP_MOST_MS UINT64_C(500)

/* A question under way to one loop; it comes back by being marked as answered. */
struct patient {
    struct mail mail;
    struct loop *loop;
    struct shared is_asked; /* 0: it has answered */
    uint64_t waited_ms;
    bool is_told;
};

struct vitals {
    const char *node;
    struct thread *thread;
    struct lock lock;
    struct bell bell;
    bool is_stopping;
    vitals_stuck_fn stuck; /* NULL: the node does not stop, or it was called */
    void *stuck_arg;
    uint64_t within_ms;
    uint64_t leaving_ms; /* for so long it has been stopping */
    struct shared loop_ms;
    struct shared hangs;
    uint64_t looked_ms; /* 0: not yet */
    size_t count;
    struct patient patients[];
};

static void on_asked(struct mail *mail)
{
    struct patient *p = CONTAINER_OF(mail, struct patient, mail);
    shared_set(&p->is_asked, 0);
}

static void ask(struct patient *p)
{
    p->mail.fn = on_asked;
    p->waited_ms = 0;
    shared_set(&p->is_asked, 1);
    mailbox_post(p->loop, &p->mail);
}

/* For how long it has not answered. */
static uint64_t look_at(struct vitals *v, struct patient *p, uint64_t step_ms)
{
    bool is_asked = shared_get(&p->is_asked) != 0;
    p->waited_ms = is_asked ? p->waited_ms + step_ms : 0;
    uint64_t for_ms = p->waited_ms;
    if (for_ms >= VITALS_HANG_MS && !p->is_told) {
        p->is_told = true;
        shared_set(&v->hangs, shared_get(&v->hangs) + 1);
        log_error("broker", v->node, "a thread does not go on: %s ms=%" PRIu64, loop_name(p->loop),
                  for_ms);
    } else if (!is_asked && p->is_told) {
        p->is_told = false;
        log_info("broker", v->node, "a thread goes on again: %s", loop_name(p->loop));
    }
    if (!is_asked)
        ask(p);
    return for_ms;
}

/* Returns for how long one of them has not answered. */
static uint64_t look(struct vitals *v, uint64_t step_ms)
{
    uint64_t longest = 0;
    for (size_t i = 0; i < v->count; i++) {
        uint64_t for_ms = look_at(v, &v->patients[i], step_ms);
        longest = for_ms > longest ? for_ms : longest;
    }
    shared_set(&v->loop_ms, longest);
    return longest;
}

static uint64_t next_step_ms(struct vitals *v)
{
    uint64_t now_ms = clock_mono_ms();
    uint64_t step_ms = v->looked_ms != 0 ? now_ms - v->looked_ms : 0;
    v->looked_ms = now_ms;
    return step_ms < STEP_MOST_MS ? step_ms : STEP_MOST_MS;
}

/* With the lock, as what follows. NULL: nobody is to be told. */
static vitals_stuck_fn whom_to_tell(struct vitals *v, uint64_t for_ms, uint64_t step_ms)
{
    vitals_stuck_fn stuck = v->stuck;
    v->leaving_ms += stuck != NULL ? step_ms : 0;
    if (stuck == NULL || v->leaving_ms < v->within_ms || for_ms < v->within_ms ||
        for_ms < VITALS_HANG_MS)
        return NULL;
    v->stuck = NULL;
    return stuck;
}

static void look_after_all(struct vitals *v)
{
    uint64_t step_ms = next_step_ms(v);
    lock_give(&v->lock);
    uint64_t for_ms = look(v, step_ms);
    lock_take(&v->lock);
    vitals_stuck_fn stuck = whom_to_tell(v, for_ms, step_ms);
    void *arg = v->stuck_arg;
    if (stuck == NULL)
        return;
    lock_give(&v->lock);
    stuck(arg);
    lock_take(&v->lock);
}

static void run(void *arg)
{
    struct vitals *v = arg;
    lock_take(&v->lock);
    while (!v->is_stopping) {
        look_after_all(v);
        if (!v->is_stopping)
            bell_wait(&v->bell, &v->lock, clock_mono_us() + VITALS_ASK_MS * UINT64_C(1000));
    }
    lock_give(&v->lock);
}

struct vitals *vitals_new(const char *node, struct loop *const *loops, size_t count)
{
    struct vitals *v = mem_zalloc(sizeof *v + count * sizeof *v->patients);
    v->node = node;
    v->count = count;
    for (size_t i = 0; i < count; i++)
        v->patients[i].loop = loops[i];
    lock_init(&v->lock);
    bell_init(&v->bell);
    return v;
}

bool vitals_start(struct vitals *v, struct err *err)
{
    v->thread = thread_start("vitals", run, v, err);
    return v->thread != NULL;
}

void vitals_leave(struct vitals *v, uint64_t within_ms, vitals_stuck_fn stuck, void *arg)
{
    lock_take(&v->lock);
    v->within_ms = within_ms;
    v->stuck_arg = arg;
    v->stuck = stuck;
    lock_give(&v->lock);
}

void vitals_stop(struct vitals *v)
{
    lock_take(&v->lock);
    v->is_stopping = true;
    lock_give(&v->lock);
    bell_ring(&v->bell);
    thread_join(&v->thread);
    shared_set(&v->loop_ms, 0);
}

void vitals_free(struct vitals **vitals)
{
    struct vitals *v = *vitals;
    *vitals = NULL;
    if (v == NULL)
        return;
    bell_fini(&v->bell);
    lock_fini(&v->lock);
    mem_free(v);
}

uint32_t vitals_loop_ms(const struct vitals *v)
{
    uint64_t ms = v != NULL ? shared_get(&v->loop_ms) : 0;
    return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

uint64_t vitals_hangs(const struct vitals *v)
{
    return v != NULL ? shared_get(&v->hangs) : 0;
}
