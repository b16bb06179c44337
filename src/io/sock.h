/*
 * sock: addresses, listening and accepting. Sockets are non-blocking, close-on-exec and without
 * Nagle's delay (see design 1.3, point 7).
 */
#ifndef WARREN_SOCK_H
#define WARREN_SOCK_H

#include "base/attr.h"
#include "base/err.h"
#include "base/text.h"
#include "io/loop.h"

/* A socket address as the system writes it: IPv4, IPv6 or a unix path. */
struct sock_addr {
    _Alignas(8) uint8_t bytes[128];
    uint32_t len;
};

/* A literal address: "127.0.0.1", "::1", "" or "*" for any; not a name (see resolve.h). */
MUST_CHECK bool sock_addr_ip(const char *ip, uint16_t port, struct sock_addr *out);
MUST_CHECK bool sock_addr_unix(const char *path, struct sock_addr *out);
bool sock_addr_is_loopback(const struct sock_addr *a); /* unix sockets too; ::ffff:127.x as well */
bool sock_addr_is_v6(const struct sock_addr *a);
bool sock_addr_is_unix(const struct sock_addr *a);
bool sock_addr_eq(const struct sock_addr *a, const struct sock_addr *b);
uint16_t sock_addr_port(const struct sock_addr *a);
void sock_addr_set_port(struct sock_addr *a, uint16_t port); /* of an IPv4 or IPv6 address */
/* The 4 or 16 octets of the address; empty for unix. */
struct slice sock_addr_octets(const struct sock_addr *a);

#define SOCK_ADDR_TEXT_MAX 128
/* "10.0.0.1:5672", "[::1]:5672", "unix:/path". Returns `room`. */
const char *sock_addr_text(const struct sock_addr *a, char room[SOCK_ADDR_TEXT_MAX]);
/* The host part alone. */
const char *sock_addr_host(const struct sock_addr *a, char room[SOCK_ADDR_TEXT_MAX]);

struct listener;
struct handover;

/* On the listener's loop. Takes fd. */
typedef void (*listener_fn)(int fd, const struct sock_addr *peer, void *arg);

struct listener_options {
    int backlog;        /* 0: the system's largest */
    bool reuse_port;    /* several listeners on one address, one a loop */
    unsigned unix_mode; /* permissions of a unix socket, 0: 0600 */
    bool carries_much;  /* see sock_do_not_pace */
    /* Of a process whose place we take: what listens there already is taken from it. NULL: none. */
    struct handover *inherited;
};

/* Bind and listen now; accepting starts when the loop runs. Out of file descriptors, but for a
 * few that clients do not get, is reported once a second in the log, and accepting rests meanwhile.
 */
MUST_CHECK struct listener *listener_new(struct loop *loop, const struct sock_addr *at,
                                         const struct listener_options *options, listener_fn fn,
                                         void *arg, struct err *err);
/* Stop accepting; a unix socket's path is removed, unless the socket was inherited and its path is
 * not ours yet. */
void listener_free(struct listener **l);
void listener_pause(struct listener *l);
void listener_resume(struct listener *l);
const struct sock_addr *listener_addr(const struct listener *l); /* with the port that was bound */

/* Another listener on the same socket, for another loop (when several loops accept from one port
 * number that the system chose). */
MUST_CHECK struct listener *listener_share(struct listener *l, struct loop *loop, listener_fn fn,
                                           void *arg, struct err *err);

/* A copy of its socket for another process, which may own the path of a unix socket from now on; -1
 * when there are no more descriptors. Any thread while its loop waits for the caller. */
MUST_CHECK int listener_give(struct listener *l);

/* The path of an inherited unix socket is ours: who gave it is about to end. */
void listener_own_path(struct listener *l);

/* Have the system send what is small at once. */
void sock_no_delay(int fd, const struct sock_addr *peer);

/* For a connection that carries much: if it stays on this machine, have the system send without
 * timers (BBR's). Elsewhere, and where it is of another kind, it stays as the system has it. Before
 * it is made, or on the listener: later the system sends by timers still, though by fewer. */
void sock_do_not_pace(int fd, const struct sock_addr *peer);

/* Have the system ask the peer now and then whether it is still there: a path between that forgets
 * idle connections remembers this one, and a peer without a goodbye is noticed. TCP alone. */
void sock_keep_alive(int fd, unsigned idle_s);

/* Where a connected or accepted socket is on this machine; empty when the system does not say. */
void sock_local(int fd, struct sock_addr *out);

/* Close an accepted fd that nobody wants. */
void sock_close(int fd);

#endif
