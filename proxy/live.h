/*
 * live: what outlasts a reload: the records of frontends, backends and servers, with their counts.
 *
 * Counted, and held by the snapshots that name them. The `shared` numbers are for any thread; what
 * stands under "control" belongs to the control loop alone.
 */
#ifndef WARREN_LIVE_H
#define WARREN_LIVE_H

#include "base/log.h"
#include "base/shared.h"
#include "base/shown.h"
#include "health.h"
#include "io/sock.h"
#include "quota.h"

/* One number a second, for the columns rate and rate_max. Control. */
struct live_rate {
    uint64_t seen; /* the total at the last tick */
    uint64_t now;
    uint64_t max;
};

/* Counts that frontends, backends and servers have in common; the words are HAProxy's. */
struct live_traffic {
    struct shared scur, smax, stot; /* sessions now, at most, in all */
    struct shared bin, bout;        /* octets from and to the client's side */
    /* control */
    struct live_rate rate;              /* of sessions */
    struct live_rate in_rate, out_rate; /* of octets */
};

struct frontend_live {
    struct shared refs;
    struct live_traffic traffic;
    struct shared dreq;   /* refused at the door */
    struct shared ereq;   /* broke the protocol before they were in */
    struct shared paused; /* loops that rest because of maxconn */
    struct quota *quota;  /* what its sources, users and vhosts have */
    struct log_rate limit_lines;
};

struct backend_live {
    struct shared refs;
    struct live_traffic traffic;
    struct shared ticket; /* round robin's memory */
    struct shared qcur, qmax;
    struct shared econ, eresp, wretr, wredis, cli_abrt, srv_abrt, lbtot;
    struct shared denied; /* logins that a broker refused */
    struct shared last_session_ms;
    struct shown atlas;       /* where queues are, for where.h; NULL: not known */
    struct shown crew;        /* which node each server is; NULL: none */
    struct shared crew_moves; /* how often either became another */
    struct shown cluster;     /* const char *: its name, as a broker told it last; NULL: none did */

    /* control */
    bool was_up;
    uint64_t downs;
    uint64_t changed_ms;
    uint64_t down_ms; /* sum of the downs that are over */
};

/* What gossip says of a server's node. A hint: the check decides, and is made at once when this
 * changes. */
#define LIVE_HEARSAYS(X)                                                                           \
    X(NONE, "-") /* its node is not known, or there is no gossip */                                \
    X(ALIVE, "alive")                                                                              \
    X(SUSPECT, "suspect")                                                                          \
    X(DEAD, "dead")                                                                                \
    X(LEFT, "left")

enum live_hearsay {
#define X(name, word) LIVE_HEARSAY_##name,
    LIVE_HEARSAYS(X)
#undef X
};

/* What an operator says of a server. */
#define LIVE_ADMINS(X)                                                                             \
    X(READY, "ready")                                                                              \
    X(DRAIN, "drain") /* nothing new; what is there goes on */                                     \
    X(MAINT, "maint") /* the same, and no checks */

enum live_admin {
#define X(name, word) LIVE_ADMIN_##name,
    LIVE_ADMINS(X)
#undef X
};

/* The outcome of the last check, in HAProxy's words and numbers (show servers state). */
#define LIVE_CHECKS(X)                                                                             \
    X(UNKNOWN, "UNK", 0, "Unknown")                                                                \
    X(INITIAL, "INI", 1, "Initializing")                                                           \
    X(SOCKET_ERROR, "SOCKERR", 4, "Socket error")                                                  \
    X(L4_OK, "L4OK", 6, "Layer4 check passed")                                                     \
    X(L4_TIMEOUT, "L4TOUT", 7, "Layer4 timeout")                                                   \
    X(L4_FAILED, "L4CON", 8, "Layer4 connection problem")                                          \
    X(L6_FAILED, "L6RSP", 11, "Layer6 invalid response")                                           \
    X(L7_TIMEOUT, "L7TOUT", 12, "Layer7 timeout")                                                  \
    X(L7_INVALID, "L7RSP", 13, "Layer7 invalid response")                                          \
    X(L7_OK, "L7OK", 15, "Layer7 check passed")

enum live_check {
#define X(name, word, number, text) LIVE_CHECK_##name,
    LIVE_CHECKS(X)
#undef X
};

#define LIVE_WHY_MAX 128

struct server_live {
    struct shared refs;
    struct live_traffic traffic; /* sessions are upstreams here */
    struct shared up;            /* 1 or 0 */
    struct shared admin;         /* enum live_admin */
    struct shared weight;        /* 0 to 256 */
    struct shared up_since_ms;   /* for slowstart */
    struct shared address;       /* const struct sock_addr *, retired through the epoch; 0: none */
    struct shared suspected;     /* 1: a session has met trouble; check soon */
    struct shared hearsay;       /* enum live_hearsay */
    struct shared draining;      /* 1: its node says that it takes nothing new */
    struct shared ours; /* 1: one of Warren's brokers, with our cookie, is at its address */
    struct shared gone; /* 1: it was found, and is no server any more */
    struct shared econ, eresp, wretr, wredis, cli_abrt, srv_abrt, lbtot;
    struct shared legs, legs_total;
    struct shared opening; /* connections that are being made, logins included */
    struct shared last_session_ms;
    struct shared connect_ms; /* of the last connection made */

    /* control */
    struct health health;
    enum live_check check;
    char why[LIVE_WHY_MAX]; /* of the last failure */
    uint64_t check_ms;      /* how long the last check took */
    uint64_t check_fails;
    uint64_t downs;
    uint64_t changed_ms;
    uint64_t down_ms; /* sum of the downs that are over */
};

struct frontend_live *frontend_live_new(void);
struct frontend_live *frontend_live_ref(struct frontend_live *l);
void frontend_live_unref(struct frontend_live **l);

struct backend_live *backend_live_new(uint64_t now_ms);
struct backend_live *backend_live_ref(struct backend_live *l);
void backend_live_unref(struct backend_live **l);

struct server_live *server_live_new(uint64_t now_ms);
struct server_live *server_live_ref(struct server_live *l);
void server_live_unref(struct server_live **l);

/* A session begins or ends. */
void live_traffic_begin(struct live_traffic *t);
void live_traffic_end(struct live_traffic *t);

/* Once a second. Control. */
void live_rate_tick(struct live_rate *r, uint64_t total);
void live_traffic_tick(struct live_traffic *t);

const char *live_hearsay_word(enum live_hearsay hearsay);
const char *live_admin_word(enum live_admin admin);
const char *live_check_word(enum live_check check);
const char *live_check_text(enum live_check check);
unsigned live_check_number(enum live_check check);

#endif
