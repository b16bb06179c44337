/*
 * rabbit_talk: questions to a RabbitMQ cluster's management API, one at a time, at the first of its
 * URLs that answers. It knows how to get there and what an answer's status means, and nothing of
 * what is asked. Control loop.
 *
 * A connection is kept for the next question; one that broke meanwhile, as idle ones may, is made
 * again without a word.
 */
#ifndef WARREN_RABBIT_TALK_H
#define WARREN_RABBIT_TALK_H

#include "io/loop.h"
#include "io/tls.h"
#include "proxy_conf.h"

struct rabbit_talk;

/* Once, from the loop: the body of the answer, lent; or *why there is none. May ask the next. */
typedef void (*rabbit_talk_fn)(struct slice body, const struct err *why, void *arg);

struct rabbit_talk *rabbit_talk_new(struct loop *loop, void *arg);

/* What is asked is not answered any more. NULL is allowed. */
void rabbit_talk_free(struct rabbit_talk **t);

/* From now on; before the first question. Both are borrowed, `tls` may be NULL. A question that is
 * under way is answered by the old ones. */
void rabbit_talk_follow(struct rabbit_talk *t, const struct rabbit_conf *conf, struct tls_ctx *tls);

/* `path` is behind /api/ and is copied. */
void rabbit_talk_ask(struct rabbit_talk *t, const char *path, size_t answer_max, rabbit_talk_fn fn);
bool rabbit_talk_is_asking(const struct rabbit_talk *t);

/* Ask at the next URL from now on, the first one being the next of the last. */
void rabbit_talk_go_on(struct rabbit_talk *t);

/* The URL, without user and password. */
const char *rabbit_talk_place(const struct rabbit_talk *t);

#endif
