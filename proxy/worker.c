#include "worker.h"

#include "base/check.h"
#include "base/text.h"
#include "door.h"
#include "leg.h"
#include "leg_tags.h"
#include "recover.h"
#include "relay.h"
#include "session.h"
#include "shift.h"
#include "vacate.h"

#define CHANNELS_EACH  64u /* of a client, on the average; a bound for the sum of all */
#define UPSTREAMS_EACH 4u

void worker_init(struct worker *w, unsigned index, struct loop *loop, struct process *process,
                 uint64_t seed)
{
    size_t clients = process->conns_limit;
    *w = (struct worker){ .loop = loop, .index = index, .process = process };
    rng_init(&w->rng, seed);
    /* Sessions that are saying goodbye still have their memory, so there may be more of them than
     * clients are let in. */
    pool_init(&w->sessions, sizeof(struct session), clients + clients / 2);
    pool_init(&w->channels, sizeof(struct channel), CHANNELS_EACH * clients);
    pool_init(&w->legs, sizeof(struct leg), LEG_MAP_LEGS_MAX * CHANNELS_EACH * clients);
    pool_init(&w->upstreams, sizeof(struct upstream), UPSTREAMS_EACH * clients + 64);
    pool_init(&w->relays, sizeof(struct relay), clients + clients / 2);
    TAILQ_INIT(&w->all);
    TAILQ_INIT(&w->all_relays);
    TAILQ_INIT(&w->waiting_relays);
    TAILQ_INIT(&w->waiting);
    TAILQ_INIT(&w->doors);
    TAILQ_INIT(&w->leaving);
}

void worker_fini(struct worker *w)
{
    CHECK(TAILQ_EMPTY(&w->all) && TAILQ_EMPTY(&w->all_relays));
    CHECK(TAILQ_EMPTY(&w->doors) && TAILQ_EMPTY(&w->leaving));
    pool_fini(&w->sessions);
    pool_fini(&w->channels);
    pool_fini(&w->legs);
    pool_fini(&w->upstreams);
    pool_fini(&w->relays);
}

void worker_client_in(struct worker *w, const struct frontend *f)
{
    struct process *p = w->process;
    (void)shared_add(&p->conns_total, 1);
    shared_raise(&p->conns_max, shared_add(&p->conns, 1));
    live_traffic_begin(&f->live->traffic);
    live_traffic_begin(&f->backend->live->traffic);
    shared_bump(&w->counts.clients, 1);
}

void worker_client_out(struct worker *w, const struct frontend *f)
{
    struct process *p = w->process;
    live_traffic_end(&f->live->traffic);
    live_traffic_end(&f->backend->live->traffic);
    shared_bump(&w->counts.clients, (uint64_t)-1);
    (void)shared_sub(&p->conns, 1);
    if (shared_get(&f->live->paused) != 0 || shared_get(&f->backend->live->qcur) != 0)
        p->wake(p->control);
    p->left(p->control);
}

/* One that still finds nothing keeps its place. */
static void hunt_all_again(struct worker *w)
{
    struct session *s = TAILQ_FIRST(&w->waiting);
    while (s != NULL) {
        struct session *next = TAILQ_NEXT(s, waiting);
        hunt_again(s);
        s = next;
    }
}

/* Consumers whose broker is gone may have a new one, and others a better one. */
static void tend_all(struct worker *w)
{
    struct session *s = TAILQ_FIRST(&w->all);
    while (s != NULL) {
        struct session *next = TAILQ_NEXT(s, entry);
        recover_tend(s);
        shift_look(s);
        vacate_look(s);
        s = next;
    }
}

void worker_moved(struct worker *w)
{
    CHECK(loop_is_current(w->loop));
    hunt_all_again(w);
    tend_all(w);
}

void worker_wake(struct worker *w)
{
    CHECK(loop_is_current(w->loop));
    doors_wake(w);
    hunt_all_again(w);
    struct relay *r = TAILQ_FIRST(&w->waiting_relays);
    while (r != NULL) {
        struct relay *next = TAILQ_NEXT(r, waiting);
        relay_again(r);
        r = next;
    }
}

void worker_goodbye(struct worker *w, const char *why)
{
    struct session *s = TAILQ_FIRST(&w->all);
    while (s != NULL) {
        struct session *next = TAILQ_NEXT(s, entry);
        session_close(s, AMQP_CONNECTION_FORCED, "%s", why);
        s = next;
    }
    while (!TAILQ_EMPTY(&w->all_relays)) /* these have no way to say it */
        relay_end(TAILQ_FIRST(&w->all_relays));
}

void worker_end_all(struct worker *w)
{
    while (!TAILQ_EMPTY(&w->all))
        session_end(TAILQ_FIRST(&w->all));
    while (!TAILQ_EMPTY(&w->all_relays))
        relay_end(TAILQ_FIRST(&w->all_relays));
}

void worker_note_error(struct worker *w, const char *fmt, ...)
{
    struct worker_error *e = &w->errors[w->error_at];
    struct text t = text_over(e->text, sizeof e->text);
    va_list args;
    va_start(args, fmt);
    text_vput(&t, fmt, args);
    va_end(args);
    e->at_ms = loop_now_ms(w->loop);
    w->error_at = (w->error_at + 1) % WORKER_ERRORS;
}
