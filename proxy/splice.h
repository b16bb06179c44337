/*
 * splice: frames from a client to its brokers and back, by reference.
 *
 * Runs of whole frames that go the same way are passed on as they are: nothing is copied, nothing
 * encoded again. Only heads are read, and methods that open, close or pin channels; a channel with
 * legs at several brokers is split's.
 *
 *     splice.c        what comes from either side
 *     splice_loss.c   a channel's end that its broker did not make
 */
#ifndef WARREN_SPLICE_H
#define WARREN_SPLICE_H

struct session;
struct upstream;
struct channel;

/* The client has said something; the session is running. */
void splice_client(struct session *s);

/* A broker has. READY or CLOSING. */
void splice_upstream(struct session *s, struct upstream *u);

/* The upstream is found: the channel gets its leg there, the first or a further one, and the broker
 * its channel.open. */
void splice_attach(struct session *s, struct channel *c, struct upstream *u);

/* The channel is over, or wants no leg any more. */
void splice_end_hunt(struct session *s, const struct channel *c);

/* No broker is to be had for the channel. */
void splice_give_up(struct session *s, struct channel *c, const char *why);

/* The channels that lived at a broker. */
struct splice_loss {
    unsigned kept;  /* had nothing in flight there, and go on (recover.h) */
    unsigned ended; /* and those that did, or lived in a backend that does not route by master */
};

/* The upstream is gone. `why` is for the client. */
struct splice_loss splice_lose(struct session *s, struct upstream *u, const char *why);

/* Forget all channels. */
void splice_drop_all(struct session *s);

#endif
