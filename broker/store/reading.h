/*
 * reading: messages cut out of a segment's file, for loader.h. On its pool's threads.
 */
#ifndef WARREN_READING_H
#define WARREN_READING_H

#include "store/loader.h"
#include "store/record.h"
#include "store/seg_index.h"

/* The file of segment `seg` and its header. NULL with ERR_NOT_FOUND, ERR_PROTOCOL (damaged), or
 * what hinders that may pass. */
MUST_CHECK struct disk_file *reading_open(struct disk *d, const char *name, uint32_t seg,
                                          struct segment_header *header, struct err *err);

/* Items for what the index says, as many as a load may have. `max` were asked of the index. */
void reading_list(struct load *load, uint32_t seg, const struct index_entry *found, size_t count,
                  size_t max);

/* Read those from load->at on, in order of place, up to `end`; then `at` is there. With `found`
 * (for each item) lengths are known. What cannot be read is counted as lost; but where a file
 * cannot be opened now the load must wait, and what it has means nothing. */
void reading_read(struct disk *d, struct disk_file *f, const struct segment_header *header,
                  struct load *load, size_t end, const struct index_entry *found);

/* A file that did not open with this error may open later, with nothing lost. */
bool reading_may_pass(const struct err *err);
void reading_must_wait(struct load *load, const struct err *err);

/* One more is lost. The first reason stays. */
void reading_lost(struct load *load, const char *why);
void reading_why(struct load *load, const char *why);

#endif
