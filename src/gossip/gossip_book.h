/*
 * gossip_book: where members are: the place that each one's record states, looked up; and where
 * their packets come from, for those that do not know their own address.
 *
 * One loop. Names are looked up off it; until there is an answer, what was seen must do.
 */
#ifndef WARREN_GOSSIP_BOOK_H
#define WARREN_GOSSIP_BOOK_H

#include "io/resolve.h"

#define GOSSIP_HOST_MAX 256u

struct gossip_book;

struct gossip_place {
    char host[GOSSIP_HOST_MAX];
    uint16_t port;
};

/* "HOST:PORT", "[V6]:PORT", ":PORT" (an empty host). */
MUST_CHECK bool gossip_place_read(struct slice text, struct gossip_place *out);

struct gossip_book *gossip_book_new(struct loop *loop);
void gossip_book_free(struct gossip_book **b);

/* What its record says. */
void gossip_book_stated(struct gossip_book *b, uint64_t id, struct slice place);

/* It was there, by an authentic word; the port need not be the one where it listens. */
void gossip_book_seen(struct gossip_book *b, uint64_t id, const struct sock_addr *at);
void gossip_book_forget(struct gossip_book *b, uint64_t id);

/* Where to send packets to; false: not known (yet). */
MUST_CHECK bool gossip_book_packets(const struct gossip_book *b, uint64_t id,
                                    struct sock_addr *out);

/* Where to connect to; false: not known. */
MUST_CHECK bool gossip_book_place(const struct gossip_book *b, uint64_t id,
                                  struct gossip_place *out);

#endif
