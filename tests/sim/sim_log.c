#include "sim_log_inner.h"

#include "base/check.h"
#include "base/mem.h"
#include "sim_found.h"
#include "sim_spoil.h"
#include "sim_world.h"
#include "store/recover.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

void sim_log_say(struct sim_log *s, const char *fmt, ...)
{
    if (s->trace == NULL)
        return;
    char line[256];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    s->trace(line, s->trace_arg);
}

uint64_t sim_log_below(struct sim_log *s, uint64_t bound)
{
    return rng_below(&s->chance, bound);
}

bool sim_log_comes(struct sim_log *s, unsigned per_mille)
{
    return rng_chance(&s->chance, per_mille);
}

/* ---- the plan ---------------------------------------------------------------------------------
 */

unsigned sim_log_pick(struct sim_log *s, const unsigned *of, size_t count)
{
    return of[sim_log_below(s, count)];
}

static void draw_plan(struct sim_log *s)
{
    static const unsigned weights[] = { 0, 1, 4, 16 };
    static const unsigned chances[] = { 0, 0, 50, 500 };
    struct plan *p = &s->plan;
    for (int i = 0; i < ACTS; i++)
        p->weights[i] = sim_log_pick(s, weights, ARRAY_COUNT(weights));
    p->weights[ACT_PUBLISH] += 4;
    p->weights[ACT_PUMP] += 2;
    p->weights[ACT_PREPARE] += 1;
    if (sim_log_comes(s, 400))
        p->weights[ACT_EPOCH] = 0; /* no queue is mirrored */
    for (int i = 0; i < ACTS; i++)
        p->weight_sum += p->weights[i];
    p->segment_bytes = 4096u * (4 + (uint32_t)sim_log_below(s, 13));
    p->queue_count = 1 + (unsigned)sim_log_below(s, QUEUES_MAX - 1);
    p->level_count = sim_log_comes(s, 300) ? LEVELS : 1;
    p->body_max = sim_log_comes(s, 500) ? 200 : 5000;
    p->lives = 2 + (unsigned)sim_log_below(s, 8);
    p->steps = 20 + (unsigned)sim_log_below(s, 400);
    p->crash_per_mille = sim_log_pick(s, chances, ARRAY_COUNT(chances));
    p->rot_per_mille = sim_log_pick(s, chances, ARRAY_COUNT(chances));
    p->spoil_per_mille = sim_log_pick(s, chances, ARRAY_COUNT(chances));
    p->fault_per_mille = sim_log_pick(s, chances, ARRAY_COUNT(chances));
    p->recovery_crash_per_mille = sim_log_pick(s, chances, ARRAY_COUNT(chances));
    p->numbered_per_mille = sim_log_pick(s, chances, ARRAY_COUNT(chances));
    p->is_kill_only = sim_log_comes(s, 100);
}

static bool knows_queue(uint64_t qid, void *arg)
{
    struct sim_log *s = arg;
    for (unsigned i = 0; i < s->plan.queue_count; i++)
        if (s->queues[i].qid == qid)
            return true;
    return false;
}

/* ---- a life -----------------------------------------------------------------------------------
 */

static enum act next_act(struct sim_log *s)
{
    uint64_t at = sim_log_below(s, s->plan.weight_sum);
    int what = 0;
    while (at >= s->plan.weights[what])
        at -= s->plan.weights[what++];
    return (enum act)what;
}

static void on_nothing(void *arg)
{
    (void)arg;
}

static void on_sealed(uint32_t seg, void *arg)
{
    (void)seg;
    (void)arg;
}

static void on_failed(const struct err *err, void *arg)
{
    struct sim_log *s = arg;
    sim_log_say(s, "the journal has failed: %s", err->text);
    s->has_failed = true;
}

static bool start_journal(struct sim_log *s, uint32_t first_seg)
{
    struct err err;
    s->has_failed = false;
    s->leaving = 0;
    s->journal =
        journal_new(&(struct journal_setup){ .disk = sim_disk_of(s->disk),
                                             .segs = s->segs,
                                             .segment_bytes = s->plan.segment_bytes,
                                             .first_seg = first_seg,
                                             .spare = 1 + (uint32_t)sim_log_below(s, 3),
                                             .reserve = (uint32_t)sim_log_below(s, 2),
                                             .sync = s->plan.is_kill_only ? JOURNAL_SYNC_NONE
                                                                          : JOURNAL_SYNC_ALWAYS,
                                             .interval_ms = 100,
                                             .slow_ms = 1000,
                                             .store_id = { 1, 2, 3 },
                                             .on_durable = on_nothing,
                                             .on_sealed = on_sealed,
                                             .on_failed = on_failed,
                                             .arg = s },
                    &err);
    if (s->journal == NULL)
        sim_log_say(s, "no journal: %s", err.text);
    return s->journal != NULL;
}

/* What the writer has to know again. */
static void take_over(struct sim_log *s, const struct recovered *r)
{
    for (size_t i = 0; i < r->queue_count; i++) {
        const struct recovered_queue *from = &r->queues[i];
        struct sent *q = sim_writer_queue_of(s, from->qid);
        if (q == NULL)
            continue;
        q->first_seg = from->first_seg;
        q->last_seg = from->last_seg;
    }
    s->ref_count = 0;
    for (size_t i = 0; i < r->state_ref_count; i++)
        sim_writer_note_ref(s, r->state_refs[i].seg, r->state_refs[i].qid);

    /* Marks are not told; what is marked says enough. */
    for (unsigned i = 0; i < s->plan.queue_count; i++) {
        struct sent *q = &s->queues[i];
        const struct sim_msg *m;
        for (unsigned k = 0; k < LEVELS; k++)
            q->mark[k] = q->ahead[k] = 0;
        for (size_t k = 0; (m = sim_oracle_at(s->oracle, q->qid, k)) != NULL; k++)
            if (!m->is_gone && m->returns == 0 && m->may_be_marked)
                q->mark[m->qseq >> 56] = m->qseq + 1;
    }
}

static void judge_epochs(struct sim_log *s, const struct recovered *r)
{
    for (unsigned i = 0; i < s->plan.queue_count; i++) {
        const struct recovered_queue *found = NULL;
        for (size_t k = 0; k < r->queue_count; k++)
            if (r->queues[k].qid == s->queues[i].qid)
                found = &r->queues[k];
        sim_epochs_judge(s, &s->queues[i], found);
    }
}

/* False: the power went off once more, or it could not be read. */
static bool recover_once(struct sim_log *s, struct recovered *r)
{
    struct err err;
    s->segs = segs_new();
    struct recover_setup setup = {
        .disk = sim_disk_of(s->disk), .segs = s->segs, .knows_queue = knows_queue, .arg = s
    };
    bool ok = recover_run(&setup, r, &err);
    if (!ok) {
        sim_log_say(s, "recovery: %s", err.text);
        if (!sim_disk_is_down(s->disk))
            sim_oracle_fail(s->oracle, "recovery failed: %s", err.text);
        segs_free(&s->segs);
        return false;
    }
    if (sim_disk_is_down(s->disk)) { /* what it could not read it takes for damaged */
        recovered_fini(r);
        segs_free(&s->segs);
        return false;
    }
    sim_log_say(s, "recovered: %zu queues, next segment %u, %zu damages, %" PRIu64 " torn octets",
                r->queue_count, r->next_seg, r->damage_count, r->torn_bytes);
    for (size_t i = 0; i < r->damage_count; i++)
        sim_log_say(s, "  damage of %u at %u to %u: queue %" PRIu64 ", %" PRIx64 " to %" PRIx64,
                    r->damages[i].seg, r->damages[i].from, r->damages[i].to, r->damages[i].qid,
                    r->damages[i].first_qseq, r->damages[i].last_qseq);
    s->report->damages += r->damage_count;
    return true;
}

static enum sim_survival a_survival(struct sim_log *s)
{
    return s->plan.is_kill_only ? SIM_SURVIVES_KILL
                                : (enum sim_survival)sim_log_below(s, SIM_SURVIVES_RUBBISH);
}

static bool come_up(struct sim_log *s)
{
    for (int attempt = 0;; attempt++) {
        struct recovered r;
        bool is_armed = attempt < 5 && sim_log_comes(s, s->plan.recovery_crash_per_mille);
        sim_disk_arm(s->disk,
                     &(struct sim_faults){ .crash_at = is_armed ? 1 + sim_log_below(s, 60) : 0 });
        enum sim_end end = s->end == SIM_END_CLOSED && attempt != 0 ? SIM_END_EITHER : s->end;
        s->report->restarts++;
        if (recover_once(s, &r)) {
            bool is_shown = sim_found_show(s->disk, s->segs, &r, end, s->oracle);
            if (is_shown) {
                judge_epochs(s, &r);
                take_over(s, &r);
                s->safe_lsn = 0;
            }
            uint32_t first_seg = r.next_seg;
            s->told_lsn = r.durable_lsn;
            recovered_fini(&r);
            if (sim_oracle_why(s->oracle) != NULL ||
                (is_shown && !sim_disk_is_down(s->disk) && start_journal(s, first_seg)))
                return sim_oracle_why(s->oracle) == NULL;
            segs_free(&s->segs);
        }
        if (sim_oracle_why(s->oracle) != NULL)
            return false;
        if (!sim_disk_is_down(s->disk)) {
            sim_oracle_fail(s->oracle, "it does not start");
            return false;
        }
        sim_disk_reboot(s->disk, a_survival(s));
    }
}

static void arm(struct sim_log *s)
{
    struct sim_faults f = { 0 };
    if (sim_log_comes(s, s->plan.crash_per_mille))
        f.crash_at = 1 + sim_log_below(s, 400);
    if (sim_log_comes(s, s->plan.fault_per_mille)) {
        uint64_t at = 1 + sim_log_below(s, 100);
        switch (sim_log_below(s, 4)) {
        case 0:
            f.write_fails_at = at;
            break;
        case 1:
            f.sync_fails_at = at;
            break;
        case 2:
            f.folder_fails_at = at;
            break;
        default:
            f.quota_bytes =
                sim_disk_used(s->disk) + sim_log_below(s, 20) * s->plan.segment_bytes / 4;
        }
    }
    sim_disk_arm(s->disk, &f);
}

static void live(struct sim_log *s)
{
    unsigned steps = 1 + (unsigned)sim_log_below(s, s->plan.steps);
    arm(s);
    for (unsigned i = 0; i < steps && !s->has_failed && !sim_disk_is_down(s->disk); i++) {
        s->report->steps++;
        sim_writer_act(s, next_act(s));
    }
}

/* Some segments full in one group, of which a part is on the medium at most. */
static void burst(struct sim_log *s)
{
    for (uint64_t n = 20 + sim_log_below(s, 60); n != 0; n--)
        sim_writer_act(s, ACT_PUBLISH);
    sim_disk_arm(s->disk, &(struct sim_faults){ .crash_at = 2 + sim_log_below(s, 6) });
    sim_writer_act(s, ACT_PUMP);
}

static void end_life(struct sim_log *s)
{
    if (!s->has_failed && !sim_disk_is_down(s->disk) && sim_log_comes(s, 100))
        burst(s);
    if (sim_log_comes(s, 300))
        sim_disk_cut(s->disk);
    bool is_cut = sim_disk_is_down(s->disk);
    sim_log_say(s, is_cut ? "end" : "close");
    if (!is_cut && sim_log_comes(s, 150))
        sim_disk_arm(s->disk, &(struct sim_faults){ .crash_at = 1 + sim_log_below(s, 6) });
    journal_stop(s->journal);
    bool has_failed = journal_has_failed(s->journal) || s->has_failed || sim_disk_is_down(s->disk);
    s->end = is_cut ? SIM_END_CRASH : has_failed ? SIM_END_EITHER : SIM_END_CLOSED;
    if (s->end == SIM_END_CLOSED)
        s->told_lsn = UINT64_MAX;
    s->safe_lsn = journal_durable(s->journal);
    sim_oracle_safe(s->oracle, s->safe_lsn);
    if (s->end == SIM_END_CLOSED)
        for (unsigned i = 0; i < s->plan.queue_count; i++) {
            const struct sim_msg *m;
            for (size_t k = 0; (m = sim_oracle_at(s->oracle, s->queues[i].qid, k)) != NULL; k++)
                if (!m->is_gone && !m->is_safe && !m->is_transient)
                    sim_oracle_fail(s->oracle, "closed, and %" PRIx64 " is not safe", m->qseq);
        }
    journal_free(&s->journal);
    segs_free(&s->segs);
}

/* The medium goes bad while nobody looks: one record of a living message. */
static void rot(struct sim_log *s)
{
    const struct sent *q = &s->queues[sim_log_below(s, s->plan.queue_count)];
    const struct sim_msg *m, *hit = NULL;
    size_t seen = 0;
    for (size_t i = 0; (m = sim_oracle_at(s->oracle, q->qid, i)) != NULL; i++)
        if (!m->is_gone && m->is_safe && !m->is_transient && place_lsn(m->place) < s->told_lsn &&
            sim_log_below(s, ++seen) == 0)
            hit = m;
    if (hit == NULL)
        return;
    char name[JOURNAL_NAME_MAX];
    struct sim_seen is;
    struct place place = hit->place;
    if (!sim_found_read(s->disk, place, hit->qid, hit->qseq, true, &is))
        return;
    uint32_t length;
    journal_seg_name(place.seg, name);
    memcpy(&length, sim_disk_look(s->disk, name).ptr + place.offset, sizeof length);
    uint32_t at =
        sim_log_comes(s, 300) ? (uint32_t)sim_log_below(s, 12) : (uint32_t)sim_log_below(s, length);
    sim_log_say(s, "rot in %" PRIx64 " of %" PRIu64 " at %u/%u +%u", hit->qseq, hit->qid, place.seg,
                place.offset, at);
    if (sim_disk_rot(s->disk, name, place.offset + at, (uint8_t)(1u << sim_log_below(s, 8)))) {
        sim_oracle_hurt(s->oracle, place, place.offset + length);
        for (unsigned i = 0; hit->producer.pid != 0 && i < s->plan.queue_count; i++)
            s->queues[i].is_hurt = true;
    }
}

static void run(struct sim_log *s)
{
    struct err err;
    CHECK(sim_disk_of(s->disk)->ops->make_folder(sim_disk_of(s->disk), "journal", &err));
    CHECK(sim_disk_of(s->disk)->ops->sync_folder(sim_disk_of(s->disk), "", &err));
    for (unsigned i = 0; i < s->plan.queue_count; i++)
        sim_writer_new_queue(s, &s->queues[i]);
    s->end = SIM_END_CLOSED;
    for (unsigned i = 0; i < s->plan.lives; i++) {
        if (!come_up(s))
            return;
        live(s);
        end_life(s);
        if (sim_oracle_why(s->oracle) != NULL)
            return;
        sim_disk_reboot(s->disk, a_survival(s));
        if (sim_log_comes(s, s->plan.rot_per_mille))
            rot(s);
        if (sim_log_comes(s, s->plan.spoil_per_mille))
            sim_log_say(s, "the index of %u is spoilt", sim_spoil_index(s->disk, &s->chance));
    }
    s->plan.recovery_crash_per_mille = 0;
    if (come_up(s))
        end_life(s);
}

bool sim_log_run(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *out)
{
    struct sim_log *s = mem_zalloc(sizeof *s);
    *out = (struct sim_report){ 0 };
    s->trace = trace;
    s->trace_arg = arg;
    s->report = out;
    sim_world_begin(seed);
    rng_init(&s->chance, seed);
    draw_plan(s);
    s->disk = sim_disk_new(seed ^ UINT64_C(0xD15C), trace, arg);
    s->oracle = sim_oracle_new();
    run(s);
    const char *why = sim_oracle_why(s->oracle);
    if (why != NULL)
        (void)snprintf(out->why, sizeof out->why, "%s", why);
    journal_free(&s->journal);
    segs_free(&s->segs);
    for (unsigned i = 0; i < s->plan.queue_count; i++)
        sim_epochs_fini(&s->queues[i]);
    sim_oracle_free(&s->oracle);
    sim_disk_free(&s->disk);
    sim_world_end();
    mem_free(s);
    return why == NULL;
}
