/*
 * mgmt_definitions: the metadata as RabbitMQ's JSON, out and in again.
 *
 * An import is a row of commands, like those of clients, a bounded number of them on their way at a
 * time; each list is done before the next one begins, because it may need what that one made. The
 * first that is refused ends it; what was done before stays, as with RabbitMQ.
 */
#ifndef WARREN_MGMT_DEFINITIONS_H
#define WARREN_MGMT_DEFINITIONS_H

#include "mgmt/mgmt_call.h"
#include "mgmt/mgmt_listing.h"

/* NULL: all is done. Else which object could not be made, and why: good until it returns. */
typedef void (*mgmt_imported_fn)(struct mgmt_call *c, const char *complaint);

/* `doc` is borrowed from the call. With a vhost_id all belongs to that one, and users, vhosts and
 * permissions are passed over. */
void mgmt_import(struct mgmt_call *c, const json_t *doc, uint64_t vhost_id, mgmt_imported_fn done);

/* Rows as they stand in definitions: nothing that belongs to one connection, or that every broker
 * has anyway. */
struct mgmt_source *mgmt_queue_definitions(const struct mgmt_call *c,
                                           const struct meta_vhost *const *vhosts, size_t count);
struct mgmt_source *mgmt_exchange_definitions(const struct mgmt_call *c,
                                              const struct meta_vhost *const *vhosts, size_t count);
struct mgmt_source *mgmt_binding_definitions(const struct mgmt_call *c,
                                             const struct meta_vhost *const *vhosts, size_t count);

#endif
