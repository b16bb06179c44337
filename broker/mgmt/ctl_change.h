/*
 * ctl_change: what commands that change the metadata share. For ctl alone.
 */
#ifndef WARREN_CTL_CHANGE_H
#define WARREN_CTL_CHANGE_H

#include "mgmt/ctl_inner.h"

/* A member of the arguments; empty when there is none. Good as long as the arguments. */
struct slice ctl_text(const json_t *args, const char *name);
bool ctl_has(const json_t *args, const char *name);

/* Carry out, then answer. */
void ctl_change(struct ctl *c, struct http_request *r, const struct meta_cmd *cmd);

/* There is no queue as the arguments name: RabbitMQ's word, and which. */
void ctl_refuse_queue(struct http_request *r, const json_t *args);

/* The vhost and the user that the arguments name; false: there is none, and the request is
 * answered. */
MUST_CHECK bool ctl_vhost_of(struct ctl *c, struct http_request *r, const json_t *args,
                             const struct meta_vhost **out);
MUST_CHECK bool ctl_user_of(struct ctl *c, struct http_request *r, const json_t *args,
                            const struct meta_user **out);

/* {"rows": [...]}; the rows are taken. */
void ctl_reply_rows(struct http_request *r, json_t *rows);

#endif
