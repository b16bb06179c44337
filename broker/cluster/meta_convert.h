/*
 * meta_convert: definitions as versions before the cluster kept them ("meta/log-...") become those
 * of a cluster of this node alone, at the first start of this version.
 *
 * A snapshot is made of them, behind which a log begins, and the node is number 1. Ids go on above
 * all that were given. What was there is removed when the new is safe; a crash meanwhile leaves the
 * old, and the next start begins again. Blocks.
 */
#ifndef WARREN_META_CONVERT_H
#define WARREN_META_CONVERT_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct disk;

/* Before the identity is read. `starts` of the store, this one included (0: not known). *is_made:
 * there were some, and now there is an identity. False: they cannot be read, or not be written:
 * then nothing has changed. */
MUST_CHECK bool meta_convert(struct disk *disk, const char *name, uint32_t starts, bool *is_made,
                             struct err *err);

#endif
