/*
 * bench_publisher: one connection that publishes, as fast as it goes or at a rate, with or without
 * confirms. One loop.
 *
 * It fills its stream as far as the stream, the window of confirms and the rate allow; it goes on
 * when one of the three moves. When the connection is lost, what was not confirmed is sent again,
 * marked, before anything new. What a publisher cannot promise (nacked, returned, or sent without
 * confirms on a connection that broke) is excused: it may be missing.
 */
#ifndef WARREN_BENCH_PUBLISHER_H
#define WARREN_BENCH_PUBLISHER_H

#include "bench_conn.h"
#include "bench_figures.h"
#include "bench_load.h"
#include "bench_progress.h"
#include "bench_scan.h"
#include "bench_window.h"

/*
 *   CONNECTING --> SELECTING --> READY --> PUBLISHING --> STOPPING --> STOPPED
 *        |             ^           ^
 *        +-------------+-----------+   a lost connection is the conn's matter: once it publishes,
 * it stays in its state and goes on when `usable` is set again
 */
#define BENCH_PUBLISHER_STATES(X)                                                                  \
    X(CONNECTING, TO(READY) | TO(STOPPED))                                                         \
    X(READY, TO(PUBLISHING) | TO(STOPPED))                                                         \
    X(PUBLISHING, TO(STOPPING) | TO(STOPPED))                                                      \
    X(STOPPING, TO(STOPPED))                                                                       \
    X(STOPPED, 0)

enum bench_publisher_state {
#define X(name, moves) BENCH_PUBLISHER_##name,
    BENCH_PUBLISHER_STATES(X)
#undef X
};

struct bench_publisher;

struct bench_publisher_handlers {
    void (*on_ready)(struct bench_publisher *p, void *arg);   /* for the first time */
    void (*on_stopped)(struct bench_publisher *p, void *arg); /* all is sent and confirmed */
    void (*on_failed)(struct bench_publisher *p, const struct err *why, void *arg);
    void (*on_closed)(struct bench_publisher *p, void *arg);
};

struct bench_publisher {
    const struct bench_plan *plan;
    uint32_t index;
    struct bench_figures *figures; /* of the thread */
    struct bench_progress *progress;
    const struct bench_publisher_handlers *handlers;
    void *arg;
    enum bench_publisher_state state;
    struct bench_conn conn;
    bool usable; /* the connection is there, and in confirm mode where asked for */
    bool loaded;
    struct bench_load load;
    struct bench_scan scan;
    struct bench_window window;
    struct bench_window_entry *again; /* to be sent again: again_at .. again_count - 1 */
    uint32_t again_at;
    uint32_t again_count;
    uint64_t next;       /* message */
    uint64_t end;        /* ... before which it stops */
    uint64_t conn_first; /* the first one on this connection */
    bool paced;
    struct bench_pace pace;
    struct bench_ids *excused; /* [flow of this publisher] by sequence */
    uint32_t *reach;           /* [flow of this publisher] deliveries for each message */
    struct loop_task more;
};

void bench_publisher_init(struct bench_publisher *p, const struct bench_plan *plan, uint32_t index,
                          struct loop *loop, struct tls_ctx *tls, struct mem_budget *ids,
                          struct bench_figures *figures, struct bench_progress *progress,
                          const struct bench_publisher_handlers *handlers, void *arg);
void bench_publisher_fini(struct bench_publisher *p);

void bench_publisher_connect(struct bench_publisher *p);

/* Publish from now on; with a rate, message 0 is due at `start_us` and a little. */
void bench_publisher_go(struct bench_publisher *p, uint64_t start_us);

/* Send what may be sent now; for the tick of a rate. */
void bench_publisher_fill(struct bench_publisher *p);

/* Publish nothing new; on_stopped when nothing is open any more, perhaps from this call. */
void bench_publisher_stop(struct bench_publisher *p);

/* Close the connection; on_closed. */
void bench_publisher_close(struct bench_publisher *p);

/* It is all over: excuse what was never confirmed. Returns how many messages that are. */
uint32_t bench_publisher_excuse_open(struct bench_publisher *p);

/* How many messages of its flow `f` (0 .. publisher_flows - 1) it has sent. */
uint64_t bench_publisher_sent(const struct bench_publisher *p, uint32_t f);

#endif
