/*
 * link_door: the cluster port: accepts, reads the eight octets that say what a connection is for,
 * and hands the socket to the hall of that class, on the hall's loop.
 *
 *     prelude   "WRNK" 4 | class 1 | 0 1 | shard 2        in plain, then TLS begins
 */
#ifndef WARREN_LINK_DOOR_H
#define WARREN_LINK_DOOR_H

#include "base/attr.h"
#include "base/err.h"
#include "io/sock.h"
#include "link/link_hall.h"

struct link_door;

/* On `loop`, where everything below is called; or before that runs, or when it does no longer. */
struct link_door *link_door_new(struct loop *loop);

/* Bind now; accepting starts when the loop runs. The port that was bound, 0: *err says why not. */
MUST_CHECK uint16_t link_door_listen(struct link_door *d, const struct sock_addr *at,
                                     struct err *err);

/* Connections of `class` go to `halls`: the one for shard s is halls[s % count]. The array is
 * copied. 0: they are turned away from now on; what is under way may still reach a hall, which must
 * not be freed before its loop was settled after this. */
void link_door_serve(struct link_door *d, enum link_class class, struct link_hall *const *halls,
                     size_t count);

/* Accept no more. */
void link_door_close(struct link_door *d);
void link_door_free(struct link_door **d);

/* ---- for who dials ---- */

#define LINK_PRELUDE_BYTES ((size_t)8)
void link_door_prelude(uint8_t out[LINK_PRELUDE_BYTES], enum link_class class, uint16_t shard);

#endif
