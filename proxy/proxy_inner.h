/*
 * proxy_inner: what the files of proxy share. Internal to proxy.
 *
 *     proxy.c         its parts and their beginning, words from workers, each second
 *     proxy_reload.c  another configuration
 *     proxy_stop.c    draining and stopping
 */
#ifndef WARREN_PROXY_INNER_H
#define WARREN_PROXY_INNER_H

#include "admin.h"
#include "checkers.h"
#include "io/cookie.h"
#include "observer.h"
#include "order.h"
#include "pages.h"
#include "proxy.h"
#include "view.h"

/*
 *   RUNNING -- TERM --> DRAINING -- all gone --> STOPPED
 *      |                    |
 *      +--- at once --------+------ TERM again, or timeout-drain and the goodbyes --> STOPPED
 */
enum proxy_state { PROXY_RUNNING, PROXY_DRAINING, PROXY_GOODBYE, PROXY_STOPPED };

struct change;

struct proxy {
    struct loop *loop;
    struct epoch *epoch;
    enum proxy_state state;
    struct process process;
    struct cookie cookie;      /* empty: none */
    struct observer *observer; /* NULL: no gossip */
    struct rabbits *rabbits;
    struct snapshot *snapshot;
    struct view view;
    struct pages *pages;
    struct admin *admin; /* NULL: no runtime socket */
    struct worker *workers;
    unsigned worker_count;
    struct checkers checkers;
    struct change *change; /* NULL: none under way */
    bool reload_again;     /* asked for while one was under way */
    bool stop_wanted;      /* the same */
    loop_fn after_change;  /* the same: a way to drain; NULL: none */
    pid_t heir;            /* the process that got what we listen at; 0: none */
    unsigned running_count;
    struct order own_order;
    struct order close_order;
    struct order goodbye_order;
    struct order end_order;
    struct loop_timer tick;
    struct loop_timer drain;
    bool is_soft; /* draining without an end */

    struct mail wake_mail; /* posted to ourselves */
    struct shared wake_posted;
    struct mail suspect_mail;
    struct shared suspect_posted;
    struct mail left_mail;
    struct shared left_posted;
    struct wake *wakes; /* one a worker */
};

/* There may be news for workers that wait. */
void proxy_wake_all(void *proxy);

/* What is accepted in a configuration and yet has no effect. */
void proxy_warn_all(const struct proxy_conf *conf);

/* ---- proxy_reload.c ---- */

void proxy_reload(void *proxy); /* a loop_fn */

/* ---- proxy_stop.c ---- */

/* At once, or when a reload is through. */
void proxy_stop(struct proxy *p);
void proxy_stop_if_alone(struct proxy *p);
void proxy_terminate(void *proxy); /* loop_fns */
void proxy_soft_stop(void *proxy);
void proxy_drain_over(void *proxy);

#endif
