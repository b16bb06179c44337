/*
 * seg_kit: segments of a journal, record by record, as tests want them.
 */
#ifndef WARREN_TESTS_SEG_KIT_H
#define WARREN_TESTS_SEG_KIT_H

#include "io/disk.h"
#include "mirror/mirror_history.h"
#include "store/record.h"

#define KIT_SEG_BYTES ((uint32_t)64 * 1024)
#define KIT_SALT      UINT64_C(0x5a17)

struct seg_kit {
    struct segment_header header;
    uint8_t *bytes; /* header.bytes of them */
    uint32_t offset;
};

/* Needs seg_kit_fini. `bytes` 0: KIT_SEG_BYTES. */
void seg_kit_init(struct seg_kit *k, uint32_t seg, uint32_t bytes);
void seg_kit_fini(struct seg_kit *k);

static inline struct slice seg_kit_slice(const struct seg_kit *k)
{
    return slice_of(k->bytes, k->header.bytes);
}

static inline uint64_t seg_kit_lsn(const struct seg_kit *k)
{
    return place_lsn((struct place){ k->header.seg, k->offset });
}

/* Each returns where the record stands. */
struct place seg_kit_batch(struct seg_kit *k, uint64_t durable_lsn);
struct place seg_kit_end(struct seg_kit *k);
/* A body of so many octets, "x", a routing key. */
struct place seg_kit_msg(struct seg_kit *k, unsigned flags, uint64_t qid, uint64_t qseq,
                         size_t body_bytes);
struct place seg_kit_msg_to(struct seg_kit *k, unsigned flags, const struct msg_target *targets,
                            unsigned count, size_t body_bytes);
/* Published by somebody who numbers what he publishes. */
struct place seg_kit_msg_by(struct seg_kit *k, unsigned flags, const struct msg_producer *by,
                            const struct msg_target *targets, unsigned count, size_t body_bytes);
struct place seg_kit_epoch(struct seg_kit *k, uint64_t qid, const struct settle_range *cuts,
                           unsigned count, const struct mirror_history *history);
struct place seg_kit_large(struct seg_kit *k, unsigned flags, uint64_t qid, uint64_t qseq,
                           uint64_t id, size_t body_bytes);
/* For this queue; 0: for all. */
struct place seg_kit_proven(struct seg_kit *k, uint64_t id, uint64_t qid);
struct place seg_kit_settle(struct seg_kit *k, uint64_t qid, uint64_t first, uint64_t last);
struct place seg_kit_mark(struct seg_kit *k, unsigned flags, uint64_t qid, uint64_t mark);
struct place seg_kit_returns(struct seg_kit *k, uint64_t qid, uint64_t qseq, uint32_t returns);

/* Any record, sealed as it is; room is checked. */
struct place seg_kit_put(struct seg_kit *k, const struct slice *parts, size_t count);

/* As a file of its own name. */
void seg_kit_save(const struct seg_kit *k, struct disk *d);

#endif
