/*
 * proxy: owns all parts, wires them, reloads and stops.
 *
 * The thread that runs it is the control loop: checks, pages, runtime commands and signals. Each
 * worker is a thread that carries sessions.
 */
#ifndef WARREN_PROXY_H
#define WARREN_PROXY_H

#include "proxy_conf.h"

struct handover;
struct proxy;

/* Can it be run? Reads the certificates and the cookie that it names. Takes *conf. */
MUST_CHECK bool proxy_check(struct proxy_conf **conf, struct err *err);

/* Takes *conf and *inherited, also when it fails. Listens already, accepts when it runs. *inherited
 * is what another process listens at whose place this one takes, or NULL. */
MUST_CHECK struct proxy *proxy_new(struct proxy_conf **conf, struct handover **inherited,
                                   struct err *err);

/* Runs until it is told to stop by signals. HUP and USR2 reload, TERM and INT drain, and a second
 * one of those stops at once; USR1 drains for as long as clients stay. */
MUST_CHECK bool proxy_run(struct proxy *p, struct err *err);
void proxy_free(struct proxy **p);

#endif
