/*
 * seg_file: the files of segments and of their indexes, read and written whole. Blocks.
 */
#ifndef WARREN_SEG_FILE_H
#define WARREN_SEG_FILE_H

#include "io/disk.h"
#include "store/record.h"

/* All octets of a file, in memory that the caller frees (mem_free). ERR_LIMIT when there are more
 * than max_bytes. */
MUST_CHECK bool seg_file_read(struct disk *d, const char *name, uint64_t max_bytes, uint8_t **bytes,
                              size_t *len, struct err *err);

/* `len` octets from `offset` on, all of them, else ERR_IO. */
MUST_CHECK bool seg_file_read_part(struct disk_file *f, const char *name, uint64_t offset,
                                   void *bytes, size_t len, struct err *err);

/* Replace a file, or make it; not synced. What was written of it is removed after a failure. */
MUST_CHECK bool seg_file_write(struct disk *d, const char *name, struct slice bytes,
                               struct err *err);

/* The number in the name of a segment's file, "0000001a.seg"; 0: it is none. */
uint32_t seg_file_number(const char *name);

/* segment_header_read, and the header is that of segment `seg`. */
MUST_CHECK bool seg_file_header(struct slice bytes, uint32_t seg, struct segment_header *out);

#endif
