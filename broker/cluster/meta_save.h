/*
 * meta_save: one version of the metadata, all of it, as the content of a snapshot, and back.
 *
 * Items are the commands that make it anew (meta_dump), as meta_wire has them. On any thread
 * that may block: writing from a version that the caller holds, reading into a meta that nobody
 * else has yet.
 */
#ifndef WARREN_META_SAVE_H
#define WARREN_META_SAVE_H

#include "cluster/meta.h"
#include "raft/raft_image.h"

/* A raft_image_fill_fn; `version` is a const struct meta_version. */
MUST_CHECK bool meta_save_fill(struct raft_image_writer *w, void *version);

/* One command: a meta_dump_fn; `writer` is a struct raft_image_writer. */
MUST_CHECK bool meta_save_put(void *writer, const struct meta_cmd *cmd, uint64_t first_id);

/* Into a fresh meta (`meta`); publish it, or give it to meta_replace. False: it is damaged, or of a
 * newer format, or cannot be read. */
MUST_CHECK bool meta_save_read(struct raft_image_reader *r, void *meta, struct err *err);

#endif
