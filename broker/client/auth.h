/*
 * auth: who may log in.
 *
 * Judges a name and a password against the users of the metadata. Hashing takes its time, so it is
 * done by a few threads of their own (io/work.h) and the answer comes later; what was right a short
 * while ago is remembered (a keyed digest, never the password), so that a client that connects
 * again and again, or many that come at once with one password, cost one hash. Which users there
 * are cannot be told from the answer nor from the time it takes. Guessers wait for each other:
 * those of one address stand in one line, all lines are served in turn, and a line has an end.
 *
 * One a loop; everything on that loop's thread.
 */
#ifndef WARREN_AUTH_H
#define WARREN_AUTH_H

#include "base/attr.h"
#include "base/slice.h"
#include "cluster/meta.h"
#include "io/loop.h"
#include "io/password.h"
#include "io/sock.h"

#include <stdbool.h>
#include <sys/queue.h>

struct auth;
struct auth_check;
struct broker_conf;
struct work_pool;

struct auth_setup {
    struct loop *loop;
    struct work_pool *pool;
    const struct meta *meta; /* its current version is what counts when the answer is given */
};

/* Borrows what it is given. */
struct auth *auth_new(const struct auth_setup *setup);

/* The pool is gone already. Who still waits is told AUTH_BUSY. NULL is allowed. */
void auth_free(struct auth **a);

enum auth_verdict {
    AUTH_OK,
    AUTH_REFUSED,       /* no such user or wrong password: nobody is told which */
    AUTH_LOOPBACK_ONLY, /* right, but from elsewhere */
    AUTH_BUSY,          /* too many others are being looked at: says nothing of the password */
    AUTH_PENDING,       /* the answer comes later */
};

/* What the log says of a refusal: ": this user may only connect from loopback" and the like. */
const char *auth_verdict_text(enum auth_verdict v);

struct auth_ask {
    const struct broker_conf *conf;
    struct slice user;
    struct slice password;
    const struct sock_addr *from; /* the client's own address */
};

typedef void (*auth_fn)(void *arg, enum auth_verdict verdict);

/* Whoever waits for an answer has one of these; all zero when it does not wait. */
struct auth_wait {
    struct auth_check *check;
    auth_fn fn;
    void *arg;
    bool is_far; /* not on loopback, and the user is for loopback only */
    TAILQ_ENTRY(auth_wait) entry;
};

/* The answer, or AUTH_PENDING: then `wait->fn` is called with it later, once, unless
 * auth_wait_cancel comes first. `fn` and `arg` are set by the caller. */
MUST_CHECK enum auth_verdict auth_login(struct auth *a, const struct auth_ask *ask,
                                        struct auth_wait *wait);

/* No effect when it does not wait. */
void auth_wait_cancel(struct auth_wait *wait);

/* A login whose proof is somebody else's (a client's certificate): is there such a user, and may it
 * come from there? At once. */
MUST_CHECK enum auth_verdict auth_login_proven(struct auth *a, const struct auth_ask *ask);

/* ---- hashes for new passwords ---- */

/* `hash` is NULL when the node stops. Good until it returns. */
typedef void (*auth_made_fn)(void *arg, enum meta_hashing hashing,
                             const struct password_hash *hash);

/* Hash a password as [auth] password-hashing says; `fn` follows, once, on this loop. False, and it
 * does not follow, when too many are being made. */
MUST_CHECK bool auth_make_hash(struct auth *a, const struct broker_conf *conf,
                               struct slice password, auth_made_fn fn, void *arg);

/* The same at once, for a thread that may wait: the start of a node. */
enum meta_hashing auth_make_hash_now(const struct broker_conf *conf, struct slice password,
                                     struct password_hash *out);

#endif
