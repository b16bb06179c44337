/*
 * scan: the records of a segment, one after the other, from its octets in memory.
 *
 * Where octets are no record it looks for the next one behind them and goes on: whatever has a good
 * check was written there, in this life of the file, since the check knows the segment's salt and
 * the record's offset. What that says about safety is not known here, see recover.h. No I/O.
 */
#ifndef WARREN_SCAN_H
#define WARREN_SCAN_H

#include "store/record.h"

struct scan {
    struct slice whole;
    struct segment_header header;
    uint32_t offset; /* of what comes next */
    uint64_t effort; /* octets that may still be hashed in search of a record */
};

/* Octets that are no records. */
struct scan_gap {
    uint32_t from;
    uint32_t to;
    bool is_blank; /* all zeros */
};

enum scan_found {
    SCAN_RECORD, /* *record is set */
    SCAN_GAP,    /* *gap is set, and a record follows it */
    SCAN_END,    /* END: nothing follows. offset is behind it */
    SCAN_REST,   /* no record follows in gap->from .. the end of the segment. offset stays */
};

/* `whole` is the file, header included; what it is short of header->bytes is taken for lost. */
void scan_init(struct scan *s, struct slice whole, const struct segment_header *header);

enum scan_found scan_next(struct scan *s, struct record *record, struct scan_gap *gap);

/* So few octets at the end of a segment hold no END. */
static inline bool scan_is_full(const struct segment_header *h, uint32_t offset)
{
    return offset + record_padded(RECORD_END_BYTES) > h->bytes;
}

#endif
