/*
 * access: what a user may do with queues, exchanges and topics, with RabbitMQ's words for refusals.
 *
 * Reads one version of the metadata and keeps nothing of it, but for a compiled pattern that the
 * caller holds. Any thread.
 */
#ifndef WARREN_ACCESS_H
#define WARREN_ACCESS_H

#include "base/attr.h"
#include "cluster/meta.h"

enum access_right { ACCESS_CONFIGURE, ACCESS_WRITE, ACCESS_READ };

enum access_kind { ACCESS_QUEUE, ACCESS_EXCHANGE };

/* May this user, who has these permissions (NULL: none), do that to the queue or exchange of this
 * name? "" is the default exchange, which patterns know as "amq.default". False with *why filled:
 * 403, or 403 for all of a vhost that the user may not enter. */
MUST_CHECK bool access_may(const struct meta_permission *p, const struct meta_vhost *vh,
                           struct slice user, enum access_right right, enum access_kind kind,
                           struct slice name, struct meta_refusal *why);

/* A pattern of a topic permission with the user's and the vhost's names filled in. All zero when
 * there is none yet; good for one user in one vhost. */
struct access_topic_kept {
    uint64_t rights; /* of the version it was made from */
    const struct meta_topic_permission *permission;
    enum access_right right;
    struct pattern *code; /* NULL: a text that is no pattern, which matches nothing */
};

void access_topic_forget(struct access_topic_kept *kept);

/* May the user publish to (ACCESS_WRITE) or bind to (ACCESS_READ) a topic exchange with this key?
 * True where nothing was said about topics. */
MUST_CHECK bool access_may_topic(const struct meta_version *v, const struct meta_vhost *vh,
                                 struct slice user, enum access_right right, struct slice exchange,
                                 struct slice key, struct access_topic_kept *kept,
                                 struct meta_refusal *why);

#endif
