/* A node: its roles, and what the cores ask of it. */
#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "sim_mirror_inner.h"

#define RUNS_MAX 3u /* of one offer, so that there are several */

/* A message on its way to a mirror. */
struct smr_sent {
    struct smr_msg msg;
    unsigned count;
    uint8_t queues[SMR_QUEUES];
    uint64_t positions[SMR_QUEUES];
};

enum { SMR_TOKEN_PUBLISH = 1, SMR_TOKEN_SETTLE, SMR_TOKEN_SHOW };

static unsigned queue_of(uint64_t qid)
{
    return (unsigned)qid - 1;
}
/* ---- the master's core asks ---- */

static struct mirror_stream *op_stream(void *arg, uint16_t node, uint64_t qid)
{
    struct smr_node *n = arg;
    (void)qid;
    return n->world->links[n->number][node - 1].stream;
}

static void op_say(void *arg, struct mirror_stream *to, const struct mirror_record *r)
{
    (void)arg;
    smr_link_say_forth(mirror_stream_owner(to), r);
}

static void put_msg(struct wire_out *out, struct smr_msg m)
{
    wire_put_u8(out, m.pid);
    wire_put_u8(out, m.is_persistent);
    wire_put_u16(out, m.seq);
}

static void say_data(struct mirror_stream *to, uint64_t pos, enum smr_type type, unsigned count,
                     const struct wire_out *payload)
{
    smr_link_say_forth(mirror_stream_owner(to),
                       &(struct mirror_record){ .op = MIRROR_DATA,
                                                .pos = pos,
                                                .data = { .type = (uint8_t)type,
                                                          .count = (uint16_t)count,
                                                          .payload = wire_out_slice(payload) } });
}

static void op_say_message(void *arg, struct mirror_stream *to, uint64_t pos, const void *message,
                           const unsigned *which, unsigned count)
{
    const struct smr_sent *s = message;
    uint8_t room[64];
    struct wire_out out = wire_out_over(room, sizeof room);
    (void)arg;
    for (unsigned i = 0; i < count; i++) {
        wire_put_u8(&out, s->queues[which[i]]);
        wire_put_u64(&out, s->positions[which[i]]);
    }
    put_msg(&out, s->msg);
    say_data(to, pos, SMR_MSG, count, &out);
}

static void op_say_settled(void *arg, struct mirror_stream *to, uint64_t pos,
                           struct mirror_queue *q, const struct mirror_run *runs, unsigned count)
{
    static uint8_t room[1 + 256 * 16];
    struct wire_out out = wire_out_over(room, sizeof room);
    (void)arg;
    wire_put_u8(&out, (uint8_t)queue_of(q->qid));
    for (unsigned i = 0; i < count; i++) {
        wire_put_u64(&out, runs[i].first);
        wire_put_u64(&out, runs[i].last);
    }
    CHECK(!out.overflow);
    say_data(to, pos, SMR_SETTLE, count, &out);
}

static void op_say_state(void *arg, struct mirror_stream *to, uint64_t pos, struct mirror_queue *q,
                         const void *what)
{
    op_say_settled(arg, to, pos, q, what, 1);
}

static bool is_late(struct smr_node *n)
{
    return !n->world->is_healing && rng_chance(&n->world->rng, n->world->chance.later_1000);
}

static enum mirror_old op_say_old(void *arg, struct mirror_stream *to, uint64_t pos,
                                  struct mirror_queue *q, uint64_t position, uint64_t *bytes)
{
    struct smr_node *n = arg;
    unsigned queue = queue_of(q->qid);
    const struct smr_msg *m = smr_copy_at(&n->queues[queue], position);
    if (is_late(n)) {
        n->is_reading[queue] = true;
        return MIRROR_OLD_LATER;
    }
    if (m->pid == 0)
        return MIRROR_OLD_GONE;
    struct smr_sent s = { .msg = *m, .count = 1, .queues = { (uint8_t)queue } };
    unsigned which = 0;
    s.positions[0] = position;
    op_say_message(n, to, pos, &s, &which, 1);
    *bytes = 100;
    return MIRROR_OLD_SAID;
}

static enum mirror_look op_live(void *arg, struct mirror_queue *q, uint64_t from,
                                struct mirror_run *out)
{
    struct smr_node *n = arg;
    unsigned queue = queue_of(q->qid);
    if (is_late(n)) {
        n->is_reading[queue] = true;
        return MIRROR_LOOK_LATER;
    }
    return smr_copy_row(&n->queues[queue], from, out) ? MIRROR_LOOK_HERE : MIRROR_LOOK_NONE;
}

static void op_starts(void *arg, struct mirror_queue *q, struct mirror_starts *out)
{
    struct smr_node *n = arg;
    smr_copy_starts(&n->queues[queue_of(q->qid)], out);
}

static void confirm(struct smr_node *n, const struct mirror_confirm *c, unsigned seq, bool is_safe)
{
    unsigned queue = queue_of(c->qid), pid = (unsigned)(c->to.a & 0xff);
    struct smr_publish *p = &n->world->producers[pid].publishes[seq];
    if (c->to.a >> 8 == SMR_TOKEN_SETTLE) {
        if (is_safe)
            p->final |= (uint8_t)(1u << queue);
        return;
    }
    if (is_safe)
        smr_check_confirmed(n, queue, pid, seq);
    smr_answer(n, pid,
               &(struct smr_answer){ .is_broken = !is_safe,
                                     .seq = (uint16_t)seq,
                                     .queue = (uint8_t)queue,
                                     .path = c->to.b });
}

/* If not it is of a role that is over. */
static void show(struct smr_node *n, unsigned queue, bool is_safe)
{
    if (!is_safe)
        return;
    n->queues[queue].asks = false;
    smr_check_shown(n, queue);
    if (n->world->has_takers)
        smr_hand_may(n, queue, n->queues[queue].asked);
}

static void op_answer(void *arg, const struct mirror_confirm *c, bool is_safe)
{
    if (c->to.a >> 8 == SMR_TOKEN_SHOW) {
        show(arg, queue_of(c->qid), is_safe);
        return;
    }
    for (uint32_t i = 0; i < c->count; i++)
        confirm(arg, c, (unsigned)(c->first + i), is_safe);
}

static void op_propose(void *arg, struct mirror_queue *q, uint16_t node, uint32_t inc, bool adds)
{
    struct smr_node *n = arg;
    smr_meta_propose(n->world, &(struct smr_proposal){ .what = SMR_ISR,
                                                       .queue = (uint8_t)queue_of(q->qid),
                                                       .node = (uint8_t)(node - 1),
                                                       .adds = adds,
                                                       .inc = inc,
                                                       .epoch = q->epoch,
                                                       .ver = q->ver });
}

static void op_propose_lag(void *arg, struct mirror_stream *of)
{
    struct smr_node *n = arg;
    uint8_t mirror = (uint8_t)(mirror_stream_node(of) - 1);
    smr_meta_propose(n->world, &(struct smr_proposal){ .what = SMR_LAG,
                                                       .node = mirror,
                                                       .inc = n->world->log[n->view].inc[mirror],
                                                       .of = n->number,
                                                       .of_inc = n->inc });
}

static const struct mirror_master_ops master_ops = {
    .stream = op_stream,
    .say = op_say,
    .say_message = op_say_message,
    .say_state = op_say_state,
    .say_settled = op_say_settled,
    .say_old = op_say_old,
    .live = op_live,
    .starts = op_starts,
    .answer = op_answer,
    .propose = op_propose,
    .propose_lag = op_propose_lag,
};

/* ---- the mirror's core asks ---- */

static void op_say_back(void *arg, struct mirror_source *to, const struct mirror_record *r)
{
    struct smr_link *l = mirror_source_owner(to);
    (void)arg;
    if (l->source == to || r->op == MIRROR_STATE)
        smr_link_say_back(l, r);
}

static void op_copy_starts(void *arg, struct mirror_copy *c, struct mirror_starts *out)
{
    struct smr_node *n = arg;
    smr_copy_starts(&n->queues[queue_of(c->qid)], out);
}

static enum mirror_taken op_cut(void *arg, struct mirror_copy *c,
                                const struct mirror_starts *at_or_behind,
                                const struct producers *producers)
{
    struct smr_node *n = arg;
    (void)producers;
    if (is_late(n))
        return MIRROR_TAKEN_LATER;
    smr_copy_cut(n, queue_of(c->qid), at_or_behind);
    return MIRROR_TAKEN;
}

static uint64_t op_history(void *arg, struct mirror_copy *c, const struct mirror_starts *next)
{
    struct smr_node *n = arg;
    unsigned queue = queue_of(c->qid);
    uint64_t lsn = smr_copy_put_history(n, queue, &c->history);
    if (next != NULL)
        smr_copy_raise(&n->queues[queue], next);
    return lsn;
}

/* Its disk has its own time, anyway. */
static void op_hurry(void *arg)
{
    (void)arg;
}

static uint64_t take_message(struct smr_node *n, struct mirror_source *from, struct wire *in,
                             unsigned count)
{
    struct smr_sent s = { .count = count };
    uint64_t last = 0;
    for (unsigned i = 0; i < count; i++) {
        s.queues[i] = wire_u8(in);
        s.positions[i] = wire_u64(in);
    }
    s.msg.pid = wire_u8(in);
    s.msg.is_persistent = wire_u8(in) != 0;
    s.msg.seq = wire_u16(in);
    for (unsigned i = 0; i < count; i++) {
        struct mirror_copy *c = mirror_replica_takes(n->replica, from, s.queues[i] + 1u);
        if (c == NULL)
            continue;
        uint64_t lsn = smr_copy_put(n, s.queues[i], s.positions[i], s.msg);
        mirror_history_saw(&c->history, s.positions[i], s.msg.pid, s.msg.seq);
        last = lsn != 0 ? lsn : last;
    }
    return last;
}

static uint64_t take_settle(struct smr_node *n, struct mirror_source *from, struct wire *in,
                            unsigned count)
{
    unsigned queue = wire_u8(in);
    struct smr_copy *c = &n->queues[queue];
    uint64_t last = 0;
    bool takes = mirror_replica_takes(n->replica, from, queue + 1u) != NULL;
    for (unsigned i = 0; i < count; i++) {
        uint64_t first = wire_u64(in), end = wire_u64(in);
        for (uint64_t p = first; takes && p <= end; p++) {
            if (smr_copy_at(c, p)->pid == 0)
                continue;
            uint64_t lsn = smr_copy_settle(n, queue, p);
            last = lsn != 0 ? lsn : last;
        }
    }
    return last;
}

static enum mirror_taken op_data(void *arg, struct mirror_source *from, uint64_t pos,
                                 const struct mirror_data *d, uint64_t *lsn)
{
    struct smr_node *n = arg;
    (void)pos;
    struct wire in = wire_over(d->payload);
    if (is_late(n))
        return MIRROR_TAKEN_LATER;
    *lsn = d->type == SMR_MSG ? take_message(n, from, &in, d->count)
                              : take_settle(n, from, &in, d->count);
    return !in.ran_out && wire_left(&in) == 0 ? MIRROR_TAKEN : MIRROR_TAKEN_BAD;
}

static bool op_held(void *arg, struct mirror_copy *c, uint64_t from, struct mirror_run *out,
                    uint32_t *count, uint64_t *to)
{
    struct smr_node *n = arg;
    unsigned queue = queue_of(c->qid);
    if (is_late(n)) {
        n->is_finding[queue] = true;
        return false;
    }
    *to = MIRROR_TO_END;
    for (*count = 0; smr_copy_row(&n->queues[queue], from, &out[*count]); from = *to + 1) {
        *to = out[*count].last;
        if (++*count == RUNS_MAX)
            return true;
    }
    *to = MIRROR_TO_END;
    return true;
}

static void op_handed(void *arg, struct mirror_copy *c, const struct mirror_record *r)
{
    smr_hand_heard(arg, queue_of(c->qid), r);
}

static const struct mirror_replica_ops replica_ops = {
    .say = op_say_back,
    .starts = op_copy_starts,
    .cut = op_cut,
    .history = op_history,
    .hurry = op_hurry,
    .data = op_data,
    .held = op_held,
    .handed = op_handed,
};

/* ---- roles ---- */

static void lead(struct smr_node *n, unsigned queue, const struct smr_placement *p,
                 const struct mirror_placed *placed)
{
    struct smr_copy *c = &n->queues[queue];
    struct mirror_starts at_or_behind;
    if (mirror_history_back(&c->history, &at_or_behind))
        smr_copy_cut(n, queue, &at_or_behind);
    mirror_starts_fini(&at_or_behind);
    c->asks = false;
    if (n->world->has_takers)
        smr_hand_hold(n, queue);
    c->master = mirror_master_begin(n->master, queue + 1u, p->epoch, &c->history, true, c, placed);
    uint64_t lsn = smr_copy_put_history(n, queue, &c->master->history);
    smr_copy_raise(c, mirror_history_starts(&c->master->history));
    mirror_master_written(n->master, c->master->last_pos, lsn);
    smr_say(n->world, "node %u leads queue %u in epoch %u", n->number, queue, (unsigned)p->epoch);
    smr_check_master(n, queue);
    if (n->world->has_takers)
        smr_hand_began(n, queue);
}

static void end_leading(struct smr_node *n, unsigned queue, unsigned next, bool goes_on)
{
    struct smr_copy *c = &n->queues[queue];
    if (n->world->has_takers)
        smr_hand_over(n, queue, next, goes_on);
    mirror_master_end(n->master, &c->master, &c->history);
    for (unsigned pid = 1; pid <= n->world->producer_count; pid++)
        producer_path_break(&n->paths[pid]); /* what came along it may be lost */
}

static void be_copy(struct smr_node *n, unsigned queue, uint64_t epoch)
{
    struct smr_copy *c = &n->queues[queue];
    if (n->world->has_takers && c->copy != NULL)
        smr_hand_leads_not(n, queue);
    if (c->copy != NULL) {
        mirror_replica_fence(n->replica, c->copy, epoch);
        return;
    }
    if (n->world->has_takers)
        smr_hand_forget(n, queue); /* of a move before the last */
    c->copy = mirror_replica_begin(n->replica, queue + 1u, epoch, &c->history, c);
}

static void look_at(struct smr_node *n, unsigned queue, const struct smr_state *s)
{
    const struct smr_placement *p = &s->queues[queue];
    struct smr_copy *c = &n->queues[queue];
    struct mirror_member members[SMR_NODES];
    struct mirror_placed placed = { .ver = p->ver, .members = members };
    bool leads = p->master == n->number && p->master_inc == n->inc && s->inc[n->number] == n->inc;
    for (unsigned i = 0; i < n->world->node_count; i++)
        if (i != n->number)
            members[placed.count++] =
                (struct mirror_member){ .node = (uint16_t)(i + 1), .is_in_sync = p->is_in_sync[i] };
    if (n->world->has_takers)
        smr_hand_see(n, queue, p);
    if (c->master != NULL && (!leads || c->master->epoch != p->epoch))
        end_leading(n, queue, p->master, leads);
    if (leads && c->copy != NULL && n->world->has_takers && smr_hand_awaits(n, queue))
        return;
    if (leads && c->copy != NULL)
        mirror_replica_end(n->replica, &c->copy, &c->history);
    if (c->master != NULL)
        mirror_master_place(n->master, c->master, &placed);
    else if (leads)
        lead(n, queue, p, &placed);
    else
        be_copy(n, queue, p->epoch);
}

void smr_node_look(struct smr_node *n)
{
    for (unsigned q = 0; q < n->world->queue_count; q++)
        look_at(n, q, &n->world->log[n->view]);
}

void smr_node_activate(struct smr_node *n)
{
    for (unsigned q = 0; q < n->world->queue_count; q++)
        if (n->queues[q].master != NULL && !n->queues[q].master->is_active)
            mirror_master_activate(n->master, n->queues[q].master, n->world->now_ms);
}

void smr_node_init(struct smr *w, unsigned number)
{
    struct smr_node *n = &w->nodes[number];
    n->world = w;
    n->number = (uint8_t)number;
    smr_journal_init(n);
}

void smr_node_start(struct smr *w, unsigned number)
{
    struct smr_node *n = &w->nodes[number];
    n->is_alive = true;
    n->busy = 0;
    n->inc++;
    n->master = mirror_master_new(&master_ops, n, &w->setup);
    n->replica = mirror_replica_new(&replica_ops, n, 1);
    for (unsigned i = 0; i < w->node_count; i++)
        if (i != number)
            w->links[number][i].stream =
                mirror_stream_new(n->master, (uint16_t)(i + 1), &w->links[number][i], w->now_ms);
    smr_journal_start(n);
    if (n->inc > 1)
        smr_meta_propose(
            w, &(struct smr_proposal){ .what = SMR_UP, .node = n->number, .inc = n->inc });
    smr_node_look(n);
}

static void fini_memory(struct smr *w, struct smr_node *n)
{
    mirror_master_free(&n->master);
    mirror_replica_free(&n->replica);
    for (unsigned q = 0; q < SMR_QUEUES; q++) {
        mirror_history_fini(&n->queues[q].history);
        mirror_handed_fini(&n->hand[q].word);
    }
    memset(n->hand, 0, sizeof n->hand);
    memset(n->queues, 0, sizeof n->queues);
    memset(n->paths, 0, sizeof n->paths);
    memset(n->is_reading, 0, sizeof n->is_reading);
    memset(n->is_finding, 0, sizeof n->is_finding);
    for (unsigned i = 0; i < w->node_count; i++) {
        w->links[n->number][i].stream = NULL;
        w->links[n->number][i].is_up = false;
        w->links[i][n->number].source = w->links[i][n->number].stale = NULL;
        smr_link_break(&w->links[n->number][i]);
        smr_link_break(&w->links[i][n->number]);
    }
}

void smr_node_crash(struct smr *w, unsigned number)
{
    struct smr_node *n = &w->nodes[number];
    n->is_alive = false;
    fini_memory(w, n);
    smr_journal_crash(n);
    for (unsigned pid = 1; pid <= w->producer_count; pid++)
        smr_producer_lose(w, pid, number);
    if (w->has_takers)
        smr_taker_lose(w, number);
    smr_say(w, "node %u crashes", number);
}

void smr_node_fini(struct smr *w, unsigned number)
{
    struct smr_node *n = &w->nodes[number];
    if (n->is_alive)
        fini_memory(w, n);
    smr_journal_fini(n);
    smr_disk_fini(&n->disk);
}

/* ---- what happens to it ---- */

void smr_node_flush(struct smr_node *n)
{
    if (n->busy != 0 && !n->world->is_healing)
        return; /* the turn is not at its end */
    while (mirror_master_flush(n->master, n->world->now_ms))
        ;
    mirror_replica_flush(n->replica);
}

void smr_node_sync(struct smr_node *n, bool is_partial)
{
    uint64_t durable = smr_journal_sync(n, is_partial);
    mirror_master_durable(n->master, durable);
    mirror_replica_durable(n->replica, durable);
    smr_node_flush(n);
}

void smr_node_load(struct smr_node *n)
{
    for (unsigned q = 0; q < n->world->queue_count; q++) {
        bool was_reading = n->is_reading[q], was_finding = n->is_finding[q];
        n->is_reading[q] = n->is_finding[q] = false;
        if (was_reading && n->queues[q].master != NULL)
            mirror_master_loaded(n->master, n->queues[q].master, n->world->now_ms);
        if (was_finding && n->queues[q].copy != NULL)
            mirror_replica_loaded(n->replica, n->queues[q].copy);
    }
    smr_node_flush(n);
}

/* ---- publishing, settling ---- */

static void await(struct smr_node *n, unsigned queue, uint64_t pos, struct smr_msg m, uint64_t kind,
                  uint64_t path)
{
    unsigned flags =
        (m.is_persistent ? MIRROR_AWAIT_DURABLE : 0) | (pos % 2 != 0 ? MIRROR_AWAIT_URGENT : 0);
    mirror_master_await(n->master, n->queues[queue].master, pos, flags,
                        &(struct mirror_token){ kind << 8 | m.pid, path }, m.seq);
}

bool smr_node_publish(struct smr_node *n, unsigned pid, unsigned seq, unsigned queues)
{
    const struct smr_producer *from = &n->world->producers[pid];
    unsigned priority = from->publishes[seq].priority;
    struct smr_sent s = { .msg = { (uint8_t)pid, from->is_persistent, (uint16_t)seq } };
    struct mirror_queue *taken[SMR_QUEUES];
    uint64_t lsn = 0, path = n->paths[pid].path;
    for (unsigned q = 0; q < n->world->queue_count; q++)
        if ((queues & 1u << q) != 0 &&
            (n->queues[q].master == NULL || !n->queues[q].master->is_active ||
             n->queues[q].next[priority] == SMR_POSITIONS))
            return false;
    for (unsigned q = 0; q < n->world->queue_count; q++) {
        struct smr_copy *c = &n->queues[q];
        if ((queues & 1u << q) == 0)
            continue;
        if (producers_last(&c->master->history.now, pid) >= seq && !MUTATION(MIRROR_TAKEN_AGAIN)) {
            await(n, q, c->master->last_pos, s.msg, SMR_TOKEN_PUBLISH, path);
            continue;
        }
        s.queues[s.count] = (uint8_t)q;
        s.positions[s.count] = smr_base(priority) + c->next[priority];
        mirror_history_saw(&c->master->history, s.positions[s.count], pid, seq);
        taken[s.count] = c->master;
        uint64_t one = smr_copy_put(n, q, s.positions[s.count++], s.msg);
        lsn = one != 0 ? one : lsn;
    }
    if (s.count == 0)
        return true;
    uint64_t pos = mirror_master_message(n->master, taken, s.count, &s, 100, n->world->now_ms);
    if (lsn != 0)
        mirror_master_written(n->master, pos, lsn);
    for (unsigned i = 0; i < s.count; i++)
        await(n, s.queues[i], pos, s.msg, SMR_TOKEN_PUBLISH, path);
    return true;
}

/* Somebody would like to see what is there. */
static void ask_to_show(struct smr_node *n, unsigned queue)
{
    struct smr_copy *c = &n->queues[queue];
    if (c->asks)
        return;
    c->asks = true;
    memcpy(c->asked, c->next, sizeof c->asked);
    if (MUTATION(MIRROR_SHOWN_EARLY))
        show(n, queue, true);
    else
        mirror_master_await(n->master, c->master, c->master->last_pos, MIRROR_AWAIT_DURABLE,
                            &(struct mirror_token){ SMR_TOKEN_SHOW << 8, 0 }, 0);
}

void smr_node_settle_at(struct smr_node *n, unsigned queue, uint64_t position)
{
    struct smr_copy *c = &n->queues[queue];
    struct smr_msg m = *smr_copy_at(c, position);
    if (m.pid == 0)
        return;
    n->world->producers[m.pid].publishes[m.seq].settled |= (uint8_t)(1u << queue);
    struct mirror_run run = { position, position };
    uint64_t lsn = smr_copy_settle(n, queue, position);
    uint64_t pos = mirror_master_note(n->master, c->master, &run, 30, n->world->now_ms);
    if (lsn != 0)
        mirror_master_written(n->master, pos, lsn);
    await(n, queue, pos, m, SMR_TOKEN_SETTLE, 0);
}

void smr_node_settle(struct smr_node *n, unsigned queue)
{
    struct smr_copy *c = &n->queues[queue];
    unsigned priority = (unsigned)smr_below(n->world, SMR_PRIORITIES);
    if (c->master == NULL || !c->master->is_active)
        return;
    ask_to_show(n, queue);
    if (n->world->has_takers)
        smr_hand_serve(n, queue);
    else if (c->next[priority] != 0)
        smr_node_settle_at(n, queue, smr_base(priority) + smr_below(n->world, c->next[priority]));
}
