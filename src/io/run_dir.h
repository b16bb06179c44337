/*
 * run_dir: where the nodes of one host find each other, and where warrenctl finds them.
 *
 * Each running node leaves a small file in the host's run folder, named NAME@HOST.PID, that says
 * how it is reached. The folder is the first of these that can be used: $WARREN_RUN_DIR (that one
 * and no other), /run/warren, $XDG_RUNTIME_DIR/warren, "run" beside the nodes' data folders. A file
 * that a killed node left is passed over, and removed by the next node of its name. All of it
 * blocks.
 */
#ifndef WARREN_RUN_DIR_H
#define WARREN_RUN_DIR_H

#include "base/attr.h"
#include "base/err.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#define RUN_NAME_MAX  256u
#define RUN_NODES_MAX 64u

struct run_node {
    char name[RUN_NAME_MAX]; /* NAME@HOST */
    uint16_t port;           /* of its cluster listener; 0: none */
    uint64_t pid;
    char socket[PATH_MAX]; /* its control socket; empty: none */
    char cookie_file[PATH_MAX];
};

/* Leave the node's file; `path` (PATH_MAX octets) is the file's, for run_dir_forget. `beside` is
 * the folder where the nodes' data folders lie. */
MUST_CHECK bool run_dir_leave(const struct run_node *node, const char *beside, char *path,
                              struct err *err);
void run_dir_forget(const char *path);

/* The nodes of this host whose process lives, up to RUN_NODES_MAX; `beside` may be NULL. How many.
 */
size_t run_dir_nodes(struct run_node *out, size_t room, const char *const *beside, size_t count);

#endif
