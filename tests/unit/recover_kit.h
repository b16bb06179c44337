/*
 * recover_kit: run a recovery and ask what came out, message by message.
 */
#ifndef WARREN_TESTS_RECOVER_KIT_H
#define WARREN_TESTS_RECOVER_KIT_H

#include "store/recover.h"

struct recover_kit {
    struct disk *disk; /* borrowed */
    struct segs *segs;
    struct recovered found;
};

/* Asserts that it works. Needs recover_kit_fini. */
void recover_kit_run(struct recover_kit *k, struct disk *d, unsigned threads, bool look_only);
void recover_kit_fini(struct recover_kit *k);

/* One message that is alive. */
struct recover_alive {
    uint64_t qid;
    uint64_t qseq;
    struct place place;
    uint64_t body_bytes;
    uint64_t expires_ms;
    uint32_t returns;
    bool redelivered;
    bool in_run;
};

/* All of them, by qid and position; runs are read through the index files. The caller frees. Checks
 * that runs and entries are in order and that the sums are right. */
struct recover_alive *recover_kit_list(struct recover_kit *k, size_t *count);

const struct recovered_level *recover_kit_level(const struct recover_kit *k, uint64_t qid,
                                                uint8_t priority);

/* "7:64-128 q1 5-6; ..." */
const char *recover_kit_damages(const struct recover_kit *k);

#endif
