/*
 * journal_kit: a journal in a folder of a test's own, and what stands in its files.
 */
#ifndef WARREN_TESTS_JOURNAL_KIT_H
#define WARREN_TESTS_JOURNAL_KIT_H

#include "disk_kit.h"
#include "io_kit.h"
#include "store/journal.h"

#define GUARD_MS 200000u /* what comes at once comes before that on any machine */

struct journal_kit {
    char folder[KIT_PATH_MAX];
    struct kit_disk *disk;
    struct segs *segs;
    struct journal *journal;
    struct journal_setup setup;
    atomic_uint durable_calls;
    atomic_uint sealed_calls;
    atomic_uint sealed_last;
    atomic_uint failed_calls;
    struct err failure;
    struct err err;
};

void journal_kit_init(struct journal_kit *k);
void journal_kit_fini(struct journal_kit *k);
/* With the setup that is there, which may be changed before. */
void journal_kit_open(struct journal_kit *k);
/* As if the process ended here: nothing more is written. */
void journal_kit_leave(struct journal_kit *k);

/* A MSG with one target and a body of so many octets, each the low octet of its number. */
struct place journal_kit_append(struct journal_kit *k, uint64_t qseq, size_t body_bytes,
                                enum journal_need need, uint64_t *lsn);

/* Everything that can be read of a segment. */
struct found {
    struct segment_header header;
    uint64_t qseqs[4096];
    struct place places[4096];
    size_t count; /* of MSG */
    size_t batches;
    uint64_t durable_lsn; /* the highest that a BATCH tells */
    bool has_file;
    bool has_end;
    bool is_closed;       /* the END says that it was in order */
    enum record_cut stop; /* what stands where no more records do */
};
void journal_kit_read(struct journal_kit *k, uint32_t seg, struct found *out);

bool journal_kit_exists(struct journal_kit *k, const char *name);
size_t journal_kit_count_files(struct journal_kit *k, const char *part_of_name);

#endif
