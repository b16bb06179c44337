/*
 * sim_log_inner: what the parts of sim_log share: the lives (sim_log.c), what is done in them
 * (sim_writer.c), and what is only done with queues that are mirrored (sim_epochs.c).
 */
#ifndef WARREN_SIM_LOG_INNER_H
#define WARREN_SIM_LOG_INNER_H

#include "mirror/mirror_history.h"
#include "sim_disk.h"
#include "sim_log.h"
#include "sim_oracle.h"
#include "store/journal.h"
#include "store/recover.h"

#define QUEUES_MAX  8u
#define LEVELS      3u
#define REFS_MAX    4096u
#define RANGES_MAX  64u
#define TARGETS_MAX 5u
#define LEVEL(n)    ((uint64_t)(n) << 56)
#define PIDS        4u

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
    ACT_EPOCH,
    ACT_AGAIN,
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
    unsigned numbered_per_mille; /* publishes whose producer numbers them */
    bool is_kill_only;
};

/* What is known of a queue's epochs and producers once this is written. */
struct known {
    uint64_t lsn;
    uint8_t *history; /* its octets */
    size_t len;
    uint64_t before[LEVELS]; /* next positions before it cut something off */
};

struct sent { /* what the writer knows of a queue */
    uint64_t qid;
    uint64_t next[LEVELS];
    uint64_t mark[LEVELS];
    uint64_t ahead[LEVELS];
    uint32_t first_seg;
    uint32_t last_seg;
    uint64_t top[LEVELS]; /* the highest that next has been */
    struct mirror_history history;
    struct known *known; /* since the start, the oldest first */
    size_t known_count;
    size_t known_cap;
    bool is_hurt; /* a record that a producer has numbered was damaged */
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
    uint64_t safe_lsn; /* at the end of the last life */
    uint64_t told_lsn; /* a BATCH on the medium says that everything below is safe */
    uint64_t next_qid;
    uint64_t next_content;
    uint64_t next_seq;
    uint64_t next_epoch;
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
struct place sim_writer_append(struct sim_log *s, unsigned flags, const struct sim_msg *m,
                               const struct msg_target *targets, unsigned count, uint64_t *lsn);
/* It stands in this segment, and so does its message's state. */
void sim_writer_touched(struct sent *q, uint32_t seg);

/* ---- sim_epochs.c ---- */

/* Mirrored: it has an epoch. */
static inline bool sim_epochs_has(const struct sent *q)
{
    return q->history.count != 0;
}

/* The next one begins, and something may be cut off. */
void sim_epochs_begin(struct sim_log *s, struct sent *q);
/* A message comes at a position at which none is. */
void sim_epochs_again(struct sim_log *s, struct sent *q);
/* All of it once more. Returns the LSN; 0: there was nothing to say. */
uint64_t sim_epochs_carry(struct sim_log *s, struct sent *q);
/* A message of this producer was appended. */
void sim_epochs_saw(struct sim_log *s, struct sent *q, const struct sim_msg *m);
/* What was found after a start, and goes on from there. */
void sim_epochs_judge(struct sim_log *s, struct sent *q, const struct recovered_queue *found);
/* Its last position on this level was given. */
void sim_epochs_top(struct sent *q);
/* A queue is new, and empty; it is gone. */
void sim_epochs_init(struct sent *q);
void sim_epochs_fini(struct sent *q);

#endif
