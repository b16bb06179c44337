#include "io/crew.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

struct crew {
    crew_fn each;
    void *arg;
    size_t count;
    atomic_size_t next;
};

static void *work(void *arg)
{
    struct crew *c = arg;
    for (;;) {
        size_t i = atomic_fetch_add_explicit(&c->next, 1, memory_order_relaxed);
        if (i >= c->count)
            return NULL;
        c->each(i, c->arg);
    }
}

void crew_run(unsigned threads, size_t count, crew_fn each, void *arg)
{
    struct crew c = { .each = each, .arg = arg, .count = count };
    pthread_t ids[CREW_THREADS_MAX];
    unsigned made = 0;
    sigset_t all, was;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &was);
    while (made + 1 < threads && made + 1 < count && made < CREW_THREADS_MAX &&
           pthread_create(&ids[made], NULL, work, &c) == 0)
        made++;
    pthread_sigmask(SIG_SETMASK, &was, NULL);
    (void)work(&c);
    for (unsigned i = 0; i < made; i++)
        pthread_join(ids[i], NULL);
}
