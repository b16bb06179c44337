/*
 * admission: who may come in, and how much of the proxy one source, user or vhost may take: the
 * `limit` lines of a frontend, applied and told.
 *
 * Sources are judged before a word is said, users and vhosts when the broker has believed the login
 * and the client asks for its vhost, with RabbitMQ's code and words.
 */
#ifndef WARREN_ADMISSION_H
#define WARREN_ADMISSION_H

#include "quota.h"
#include "snapshot.h"

struct session;

/* False: close it. *entry, if any, is for admission_leave. */
MUST_CHECK bool admission_source(const struct frontend *f, const struct sock_addr *client,
                                 uint64_t now_ms, struct quota_entry **entry);
void admission_leave(const struct frontend *f, struct quota_entry **entry);

/* The client asks for its vhost. False: `why` is for it, with 530. */
MUST_CHECK bool admission_enter(struct session *s, struct text *why);

/* It has one channel more: false as above; and one less. */
MUST_CHECK bool admission_open(struct session *s, struct text *why);
void admission_close(struct session *s);

/* Is there a bound to how fast it publishes? Known once it has entered. */
bool admission_paces(const struct session *s);

/* It publishes so much more: after how many ms the next message is on time. Of 0, it asks only. */
uint64_t admission_spend(struct session *s, enum quota_matter matter, uint64_t count);

/* How much of that is no more than may come at once after a rest. */
uint64_t admission_rest_ms(const struct session *s);

/* It is kept waiting. */
void admission_slowed(struct session *s);

/* The session has gone. */
void admission_gone(struct session *s);

#endif
