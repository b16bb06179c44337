/*
 * splice: frames from a client to its brokers and back, by reference.
 *
 * Runs of whole frames that go the same way are passed on as they are: nothing is copied, nothing
 * encoded again. Only heads are read, and methods that open, close or pin channels.
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

/* The upstream is found: the channel gets its leg and the broker its channel.open. */
void splice_attach(struct session *s, struct channel *c, struct upstream *u);

/* No broker is to be had for the channel. */
void splice_give_up(struct session *s, struct channel *c, const char *why);

/* The upstream is gone: what lives on it ends. `why` is for the client. */
void splice_lose(struct session *s, struct upstream *u, const char *why);

/* Forget all channels. */
void splice_drop_all(struct session *s);

#endif
