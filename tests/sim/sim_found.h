/*
 * sim_found: shows the oracle what recovery found, reading every message where it is said to be.
 */
#ifndef WARREN_SIM_FOUND_H
#define WARREN_SIM_FOUND_H

#include "sim_disk.h"
#include "sim_oracle.h"
#include "store/recover.h"

/* What is done with each message that is found, and with what is wrong. */
struct sim_finder {
    void (*see)(const struct sim_seen *s, void *arg);
    /* It cannot be read: what an index file says of a segment is not looked up at the start. */
    void (*miss)(uint64_t qid, const struct recovered_entry *e, void *arg);
    void (*fail)(const char *why, void *arg);
    void *arg;
    bool is_plain; /* properties are those of sim_content, and bodies are in the records */
};

/* Every message that recovery found. Changes the disk only by making index files; false: that could
 * not be done. */
MUST_CHECK bool sim_found_walk(struct sim_disk *d, const struct recovered *r,
                               const struct sim_finder *f);

/* To the oracle, all of it. `segs` as recovery filled it: its counts are judged too. False: the
 * disk is down, and nothing was judged. */
MUST_CHECK bool sim_found_show(struct sim_disk *d, struct segs *segs, const struct recovered *r,
                               enum sim_end end, struct sim_oracle *o);

/* The message at `place`, by its content's number. False: there is no good record of this queue and
 * position there. */
MUST_CHECK bool sim_found_read(struct sim_disk *d, struct place place, uint64_t qid, uint64_t qseq,
                               bool is_plain, struct sim_seen *out);

#endif
