/*
 * sim_log_inner: what the two halves of sim_log share: the lives (sim_log.c) and what is done in
 * them (sim_writer.c).
 */
#ifndef WARREN_SIM_LOG_INNER_H
#define WARREN_SIM_LOG_INNER_H

#include "sim_disk.h"
#include "sim_log.h"
#include "sim_oracle.h"
#include "store/journal.h"

#define QUEUES_MAX  8u
#define LEVELS      3u
#define REFS_MAX    4096u
#define RANGES_MAX  64u
#define TARGETS_MAX 5u
#define LEVEL(n)    ((uint64_t)(n) << 56)

enum act {
    ACT_PUBLISH,
    ACT_SETTLE,
    ACT_MARK,
    ACT_RETURN,
    ACT_PURGE,
    ACT_NEW_QUEUE,
    ACT_TRANSIENT,
    ACT_PUMP,
    ACT_PREPARE,
    ACT_INDEX,
    ACT_LEAVE,
    ACT_RECYCLE,
    ACTS,
};

/* What this seed is about. */
struct plan {
    unsigned weights[ACTS];
    unsigned weight_sum;
    uint32_t segment_bytes;
    unsigned queue_count;
    unsigned level_count;
    uint64_t body_max;
    unsigned lives;
    unsigned steps; /* of a life, at most */
    unsigned crash_per_mille;
    unsigned rot_per_mille;
    unsigned spoil_per_mille;
    unsigned fault_per_mille;
    unsigned recovery_crash_per_mille;
    bool is_kill_only;
};

struct sent { /* what the writer knows of a queue */
    uint64_t qid;
    uint64_t next[LEVELS];
    uint64_t mark[LEVELS];
    uint64_t ahead[LEVELS];
    uint32_t first_seg;
    uint32_t last_seg;
};

struct ref {
    uint32_t seg;
    uint64_t qid;
};

struct sim_log {
    struct rng chance;
    struct plan plan;
    sim_say_fn trace;
    void *trace_arg;
    struct sim_report *report;
    struct sim_disk *disk;
    struct sim_oracle *oracle;
    struct segs *segs;
    struct journal *journal;
    struct sent queues[QUEUES_MAX];
    struct ref refs[REFS_MAX];
    size_t ref_count;
    uint32_t leaving; /* what is alive there was appended anew; 0: none */
    uint64_t leaving_lsn;
    uint64_t told_lsn; /* a BATCH on the medium says that everything below is safe */
    uint64_t next_qid;
    uint64_t next_content;
    bool has_failed;
    enum sim_end end; /* of the last life */
};

PRINTF_LIKE(2, 3) void sim_log_say(struct sim_log *s, const char *fmt, ...);
uint64_t sim_log_below(struct sim_log *s, uint64_t bound);
bool sim_log_comes(struct sim_log *s, unsigned per_mille);
unsigned sim_log_pick(struct sim_log *s, const unsigned *of, size_t count);

/* One step of a history. */
void sim_writer_act(struct sim_log *s, enum act what);
void sim_writer_new_queue(struct sim_log *s, struct sent *q);
struct sent *sim_writer_queue_of(struct sim_log *s, uint64_t qid);
void sim_writer_note_ref(struct sim_log *s, uint32_t seg, uint64_t qid);

#endif
