/*
 * file: small files, whole: read with a bound, written so that a crash leaves the old or the new
 * one, pid files. All of it blocks: at start and end, or on a work pool, never on a busy loop.
 *
 * Every error names the path and the cause.
 */
#ifndef WARREN_FILE_H
#define WARREN_FILE_H

#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"

#include <sys/types.h>

/* The whole file, in memory that the caller frees (mem_free); a NUL follows the last octet. Fails
 * with ERR_NOT_FOUND when there is none and ERR_LIMIT when it is longer than max_bytes. */
MUST_CHECK bool file_read(const char *path, size_t max_bytes, uint8_t **bytes, size_t *len,
                          struct err *err);

/* Replace the file, or make it, durably: a temporary file beside it, fsync, rename, fsync of the
 * folder. Whoever reads the path meanwhile sees the old or the new octets, all of them. `mode` is
 * taken as it is, whatever the umask. */
MUST_CHECK bool file_write(const char *path, struct slice bytes, mode_t mode, struct err *err);

/* The same, but only if there is no file of that name: else ERR_REFUSED, and it is not touched. */
MUST_CHECK bool file_create(const char *path, struct slice bytes, mode_t mode, struct err *err);

/* The folder and those above it that are missing; one that is there keeps its mode. */
MUST_CHECK bool file_make_folders(const char *path, mode_t mode, struct err *err);

/* ---- pid files ------------------------------------------------------------------------------ */

struct pid_file;

/* Write our pid there and hold the file locked until pid_file_free or the process's end. When
 * another process holds it: ERR_REFUSED, with its pid in the text. A file that a dead process left
 * is taken over. After daemon_detach, not before. */
MUST_CHECK struct pid_file *pid_file_take(const char *path, struct err *err);

/* In the place of whoever holds it now, who sees that it is not its own any more. When it fails, it
 * still is. */
MUST_CHECK struct pid_file *pid_file_replace(const char *path, struct err *err);

/* The same for who only looks, and leaves no trace: a file that a dead process left stays as it is,
 * and one that is not there is gone again afterwards. Where none can be made (a file system that
 * may only be read) nobody else can take it either, and nothing is held. */
MUST_CHECK struct pid_file *pid_file_borrow(const char *path, struct err *err);

/* Remove the file, unless it was borrowed. *p becomes NULL; NULL is allowed. */
void pid_file_free(struct pid_file **p);

#endif
