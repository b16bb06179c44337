/*
 * ram_disk: a disk that is memory, for what a process must not keep on a medium but handles as
 * files.
 *
 * All of struct disk_ops: a file that is removed stays for those who have it open, syncs do
 * nothing, folders are there without being made. What it holds is bounded by who writes to it. Any
 * thread.
 */
#ifndef WARREN_RAM_DISK_H
#define WARREN_RAM_DISK_H

#include "io/disk.h"

/* Freed with disk_free; no file is open any more. */
struct disk *ram_disk_new(void);

#endif
