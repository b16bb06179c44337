/*
 * mgmt_peers: what the management of this node asks the management of the others.
 *
 * Questions are HTTP over the cluster port, proven by the cookie as warrenctl's are: the API in the
 * name of a user (whose rights are the same on all nodes), and what ctl has for nodes alone. One
 * connection to each node that was asked lately; questions wait for each other there. A node that
 * does not answer in time, or is out of reach, is passed over: its part is missing, and the log
 * says so.
 *
 * All on the management's loop. Callbacks come from the loop, never from inside a call.
 */
#ifndef WARREN_MGMT_PEERS_H
#define WARREN_MGMT_PEERS_H

#include "base/err.h"
#include "base/slice.h"
#include "cluster/meta.h"
#include "io/http_answer.h"

struct broker;
struct loop;
struct mgmt_peers;

#define MGMT_PEER_ANSWER_MAX ((size_t)256 * 1024 * 1024)
#define MGMT_PEER_TIMEOUT_MS 5000u

/* Lent; `answer` is NULL when there is none, *why then says what happened. */
typedef void (*mgmt_peer_fn)(uint16_t node, const struct http_answer *answer, const struct err *why,
                             void *arg);

struct mgmt_peer_question {
    const char *method;
    struct slice path; /* with its query */
    const char *user;  /* in whose name; NULL: an operator's */
    const char *type;  /* of the body; NULL: none */
    struct slice body;
    uint64_t timeout_ms; /* 0: MGMT_PEER_TIMEOUT_MS */
};

struct mgmt_peers *mgmt_peers_new(struct broker *b, struct loop *loop);

/* The management ends: what was asked is told so, and so is what is asked from now on. */
void mgmt_peers_end(struct mgmt_peers *p);

/* Its loop has ended and is settled. NULL is allowed. */
void mgmt_peers_free(struct mgmt_peers **p);

/* The question is copied. `fn` is called once, whatever happens. */
void mgmt_peers_ask(struct mgmt_peers *p, uint16_t node, const struct mgmt_peer_question *q,
                    mgmt_peer_fn fn, void *arg);

/* The other nodes that are up: their ids into `out`, at most `max`. */
size_t mgmt_peers_list(const struct mgmt_peers *p, uint16_t *out, size_t max);
#define MGMT_PEERS_MAX 255u

/* A node's name; false: it is not in the cluster any more. */
MUST_CHECK bool mgmt_peers_name(const struct mgmt_peers *p, uint16_t node,
                                char room[META_NAME_MAX + 1]);

#endif
