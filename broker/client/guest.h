/*
 * guest: a client at a TLS port, before TLS: a balancer may first say in plain whose connection it
 * is. What it may say, and who has to, is for preamble.
 */
#ifndef WARREN_GUEST_H
#define WARREN_GUEST_H

#include "io/sock.h"

#include <sys/queue.h>

struct guest;
struct shard;
struct tls_ctx;

LIST_HEAD(guest_list, guest);

/* Takes fd. A connection follows, over TLS, or a line in the log. The shard's loop. */
void guest_new(struct guest_list *list, struct shard *s, int fd, const struct sock_addr *peer,
               struct tls_ctx *tls);

/* All that are still waiting. The shard's loop, or after it has ended. */
void guest_send_away(struct guest_list *list);

#endif
