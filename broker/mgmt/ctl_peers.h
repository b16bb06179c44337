/*
 * ctl_peers: commands of warrenctl that other nodes have their part in. For ctl alone.
 */
#ifndef WARREN_CTL_PEERS_H
#define WARREN_CTL_PEERS_H

#include "mgmt/ctl_inner.h"
#include "mgmt/mgmt_round.h"

/* Did another node pass this on? Then nobody else is to be asked. */
bool ctl_is_local(const struct http_request *r);

/* Have another node carry the command out, and answer with what it says. */
void ctl_forward(struct ctl *c, struct http_request *r, uint16_t node, const char *command,
                 const json_t *args);

/* Ask all other nodes that are up; `fn` is called once, later. */
void ctl_round(struct ctl *c, const char *command, const json_t *args, mgmt_round_fn fn, void *arg);

/* Ask these. */
void ctl_round_of(struct ctl *c, const uint16_t *nodes, size_t count, const char *command,
                  const json_t *args, mgmt_round_fn fn, void *arg);

#endif
