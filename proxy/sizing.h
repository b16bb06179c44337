/*
 * sizing: how many clients and threads this machine can carry.
 */
#ifndef WARREN_SIZING_H
#define WARREN_SIZING_H

#include "proxy_conf.h"

/* How many clients the limit of open files can carry; maxconn or fewer, with a warning. */
uint64_t sizing_clients(const struct proxy_conf *conf);

unsigned sizing_threads(const struct proxy_conf *conf);

#endif
