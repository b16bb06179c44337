/*
 * session_inner: what the files of session share. Internal to session.
 *
 *     session.c          coming in and going, its channels, whom to listen to, time
 *     session_client.c   what is said with the client on channel 0, and its stream
 *     session_brokers.c  its upstreams
 */
#ifndef WARREN_SESSION_INNER_H
#define WARREN_SESSION_INNER_H

#include "session.h"

/* ---- session.c ------------------------------------------------------------------------------- */

/* The client is there no more (`client` is NULL): its channels go, its hunt ends, and its brokers
 * get what it had sent and learn of its end as it came. */
void session_client_gone(struct session *s);

/* Give the memory back if nothing is left on either side. */
void session_reap(struct session *s);

/* ---- session_client.c ------------------------------------------------------------------------ */

extern const struct stream_handlers session_client_handlers;

void session_step(struct session *s, const struct amqp_hs_event *ev);
void session_restart_deadline(struct session *s);

/* The client may go if all its brokers have said goodbye. */
void session_release_if_done(struct session *s);

/* ---- session_brokers.c ----------------------------------------------------------------------- */

void session_close_upstreams(struct session *s, uint16_t code, struct slice text);

/* Hand all brokers the client's new secret; the client is answered when all have taken it. */
void session_set_secret(struct session *s, struct slice secret);

#endif
