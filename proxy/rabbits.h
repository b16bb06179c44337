/*
 * rabbits: the RabbitMQ clusters behind the backends of the configuration in force, as far as these
 * say discover = rabbitmq; and what is shown of them. Control loop.
 */
#ifndef WARREN_RABBITS_H
#define WARREN_RABBITS_H

#include "base/text.h"
#include "discover.h"

struct rabbits;

struct rabbits *rabbits_new(struct loop *loop, struct epoch *epoch,
                            const struct discover_calls *calls, void *arg);
/* NULL is allowed. */
void rabbits_free(struct rabbits **r);

/* The snapshot in force. A backend whose words are the same keeps what is known. */
void rabbits_follow(struct rabbits *r, struct snapshot *s);

/* Servers may have other addresses. */
void rabbits_look(struct rabbits *r);

/* Something has happened: ask soon. */
void rabbits_poke(struct rabbits *r);

/* show discover; metrics; a paragraph of the page. `r` may be NULL: there are none. */
void rabbits_show(const struct rabbits *r, struct text *out);
void rabbits_metrics(const struct rabbits *r, struct text *out);
void rabbits_page(const struct rabbits *r, struct text *out);

#endif
