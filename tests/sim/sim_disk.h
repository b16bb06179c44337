/*
 * sim_disk: a disk in memory that behaves as badly as a real one may, and no worse.
 *
 * What is written is seen by reads at once and is safe only after sync. At a crash each sector of
 * each write that was not synced survives or not, each with what it held at some time since; a
 * file's length likewise, and what was under way may hold rubbish (what was not written never
 * does). Names are safe after sync_folder only: before it, changes of different files survive in
 * any combination, of one file and one name in their order. After a sync that failed the next one
 * succeeds and writes nothing of it, as Linux does it. All chance comes from one seed. One thread.
 */
#ifndef WARREN_SIM_DISK_H
#define WARREN_SIM_DISK_H

#include "base/rng.h"
#include "io/disk.h"

#define SIM_SECTOR 512u

struct sim_disk;

/* Of one life, from sim_disk_arm on: the n-th operation of that kind from there; 0: never. */
struct sim_faults {
    uint64_t crash_at; /* any operation: it and all that follow fail, and nothing changes */
    uint64_t write_fails_at;
    uint64_t sync_fails_at;
    uint64_t read_fails_at;
    uint64_t folder_fails_at; /* open, rename, remove, sync_folder, list, make_folder */
    uint64_t quota_bytes;     /* of all files together; more is ERR_LIMIT */
    unsigned stall_per_mille; /* syncs that take up to five seconds */
};

/* What of the things that were not safe a crash leaves. */
enum sim_survival {
    SIM_SURVIVES_KILL, /* all: the process died, not the machine; and it is as unsafe as it was */
    SIM_SURVIVES_NOTHING,
    SIM_SURVIVES_ALL,     /* it reached the medium just in time */
    SIM_SURVIVES_WRITES,  /* each write or none of it */
    SIM_SURVIVES_SECTORS, /* each sector by chance */
    SIM_SURVIVES_TORN,    /* the same, and some hold rubbish where something was to change */
    SIM_SURVIVES_RUBBISH, /* the same, and anywhere in what was written, were it the same as before
                           */
    SIM_SURVIVALS,
};

typedef void (*sim_trace_fn)(const char *line, void *arg);

struct sim_disk *sim_disk_new(uint64_t seed, sim_trace_fn trace, void *arg);
void sim_disk_free(struct sim_disk **d);

/* Called where an operation waits for the medium. */
void sim_disk_on_wait(struct sim_disk *d, void (*fn)(void));

/* For the code under test. */
struct disk *sim_disk_of(struct sim_disk *d);

void sim_disk_arm(struct sim_disk *d, const struct sim_faults *faults);

/* From now on every operation fails and changes nothing. */
void sim_disk_cut(struct sim_disk *d);
bool sim_disk_is_down(const struct sim_disk *d);

/* The disk as the next process finds it, without faults. Every file of before is to be closed. */
void sim_disk_reboot(struct sim_disk *d, enum sim_survival how);

/* Operations since sim_disk_arm. */
uint64_t sim_disk_ops(const struct sim_disk *d);

/* Octets of all files; the most there were since this was asked for. */
uint64_t sim_disk_used(const struct sim_disk *d);
uint64_t sim_disk_peak(struct sim_disk *d);

/* Virtual time; operations take some of it. */
uint64_t sim_disk_now_us(const struct sim_disk *d);
void sim_disk_pass(struct sim_disk *d, uint64_t us);

/* A file as it is now, borrowed until the next change; empty when there is none. */
struct slice sim_disk_look(const struct sim_disk *d, const char *name);

/* Bit rot: these bits of one octet turn round, on the medium. False: there is no such octet. */
bool sim_disk_rot(struct sim_disk *d, const char *name, uint64_t offset, uint8_t bits);

/* The medium cannot be read at this sector until it is written again. */
bool sim_disk_spoil(struct sim_disk *d, const char *name, uint64_t offset);

#endif
