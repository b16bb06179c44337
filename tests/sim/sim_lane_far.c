#include "sim_lane_inner.h"

#include <inttypes.h>

/* ---- metadata ---------------------------------------------------------------------------------
 */

struct lane_era *sim_lane_era(struct lane_world *w, unsigned q)
{
    struct lane_truth *t = &w->queues[q];
    return &t->eras[t->era_count - 1];
}

/* The reign that a node knows of. */
static struct lane_era *era_at(struct lane_world *w, unsigned q, unsigned node)
{
    struct lane_truth *t = &w->queues[q];
    for (unsigned i = t->era_count; i-- != 0;)
        if (t->eras[i].epoch <= w->views[node])
            return &t->eras[i];
    UNREACHABLE("each queue has been there from the beginning");
}

static bool is_gone_at(const struct lane_world *w, unsigned q, unsigned node)
{
    uint64_t at = w->queues[q].deleted_at;
    return at != 0 && at <= w->views[node];
}

static void grow(struct lane_era *e)
{
    if (e->len < e->cap)
        return;
    e->cap = e->cap != 0 ? e->cap * 2 : 16;
    e->ids = mem_realloc(e->ids, e->cap * sizeof *e->ids);
    e->seqs = mem_realloc(e->seqs, e->cap * sizeof *e->seqs);
}

static void add(struct lane_era *e, unsigned id, uint64_t seq)
{
    grow(e);
    e->ids[e->len] = id;
    e->seqs[e->len++] = seq;
    e->last_seq = seq;
}

/* A mirror has what is safe, and some of the rest, as it came. */
void sim_lane_appoint(struct lane_world *w, unsigned q, uint16_t node)
{
    struct lane_truth *t = &w->queues[q];
    CHECK(t->era_count < LANE_ERAS);
    struct lane_era *old = t->era_count != 0 ? &t->eras[t->era_count - 1] : NULL;
    struct lane_era *e = &t->eras[t->era_count++];
    *e = (struct lane_era){ .epoch = ++w->index, .node = node };
    remote_ring_init(&e->waiters, sizeof(struct lane_waiter));
    remote_ring_init(&e->parked, sizeof(struct lane_mail));
    if (old != NULL) {
        unsigned kept = old->safe + (unsigned)sim_lane_below(w, old->len - old->safe + 1);
        for (unsigned i = 0; i < kept; i++)
            add(e, old->ids[i], old->seqs[i]);
        old->is_fenced = true;
    }
    e->safe = e->len;
    sim_lane_say(w, "queue %u is mastered by node %d in epoch %" PRIu64 ", with %u messages", q,
                 node == LANE_NOBODY ? -1 : node, e->epoch, e->len);
}

void sim_lane_delete(struct lane_world *w, unsigned q)
{
    if (w->queues[q].deleted_at == 0)
        w->queues[q].deleted_at = ++w->index;
}

/* ---- what a master does with a copy -----------------------------------------------------------
 */

static void say_back(struct lane_session *s, const struct lane_word *word)
{
    *(struct lane_word *)remote_ring_add(&s->back) = *word;
}

enum fate { SAFE, REFUSED, MOVED };

static struct lane_session *session_of(struct lane_world *w, const struct lane_who *who)
{
    struct lane_session *s = &w->sessions[who->node];
    return s->id == who->session && !s->is_broken ? s : NULL;
}

/* Answers of a session are those of its tickets: the last one counts. */
static void tell(struct lane_world *w, const struct lane_who *who, enum fate fate, unsigned q)
{
    struct lane_session *s = session_of(w, who);
    if (s == NULL)
        return;
    if (fate == MOVED)
        say_back(s, &(struct lane_word){ .kind = LANE_MOVED, .ticket = who->ticket, .queue = q });
    if (who->node == 0) {
        say_back(s, &(struct lane_word){ .kind = LANE_ANSWER,
                                         .ticket = who->ticket,
                                         .ok = fate != REFUSED,
                                         .copies = 1 });
        return;
    }
    struct lane_left *l = idmap_get(&s->lefts, who->ticket);
    CHECK(l != NULL);
    l->ok = l->ok && fate != REFUSED;
    if (--l->left != 0)
        return;
    say_back(s, &(struct lane_word){
                    .kind = LANE_ANSWER, .ticket = who->ticket, .ok = l->ok, .copies = l->copies });
    idmap_take(&s->lefts, who->ticket);
    mem_free(l);
}

static void await(struct lane_era *e, const struct lane_who *who)
{
    *(struct lane_waiter *)remote_ring_add(&e->waiters) =
        (struct lane_waiter){ .upto = e->len, .who = *who };
}

static void tell_safe(struct lane_world *w, unsigned q, struct lane_era *e)
{
    while (e->waiters.count != 0) {
        struct lane_waiter *first = remote_ring_at(&e->waiters, 0);
        if (first->upto > e->safe)
            return;
        struct lane_who who = first->who;
        remote_ring_drop_first(&e->waiters);
        tell(w, &who, SAFE, q);
    }
}

static void refuse(struct lane_world *w, const struct lane_mail *m)
{
    tell(w, &m->who, REFUSED, m->queue);
    w->messages[m->message].at[m->queue].refused = true;
}

static void take(struct lane_world *w, struct lane_era *e, const struct lane_mail *m)
{
    struct lane_truth *t = &w->queues[m->queue];
    sim_lane_say(w, "message %u comes to queue %u in epoch %" PRIu64 ": %s", m->message, m->queue,
                 e->epoch,
                 m->seq <= e->last_seq ? "known"
                 : t->refuses          ? "refused"
                                       : "taken");
    if (m->seq <= e->last_seq) {
        if (t->may_refuse) { /* it may have refused it then */
            refuse(w, m);
            return;
        }
    } else if (t->refuses) {
        refuse(w, m);
        return;
    } else {
        add(e, m->message, m->seq);
    }
    await(e, &m->who);
    tell_safe(w, m->queue, e);
}

/* No process acts in an epoch that was given to an earlier one: it is deposed from the first. */
static void arrive(struct lane_world *w, unsigned node, const struct lane_mail *m)
{
    struct lane_era *e = era_at(w, m->queue, node);
    if (is_gone_at(w, m->queue, node)) {
        tell(w, &m->who, SAFE, m->queue);
    } else if (e->node != node || m->epoch < e->epoch || e->is_deposed) {
        tell(w, &m->who, MOVED, m->queue);
    } else if (m->epoch > e->epoch) {
        (void)sim_lane_fail(w, "a copy comes to a queue before its epoch");
    } else if (!e->serves) {
        *(struct lane_mail *)remote_ring_add(&e->parked) = *m;
    } else {
        take(w, e, m);
    }
}

void sim_lane_serve(struct lane_world *w, unsigned q)
{
    struct lane_era *e = sim_lane_era(w, q);
    if (e->serves || e->node == LANE_NOBODY || !w->is_up[e->node] || w->views[e->node] < e->epoch)
        return;
    e->serves = true;
    for (; e->parked.count != 0; remote_ring_drop_first(&e->parked)) {
        struct lane_mail m = *(struct lane_mail *)remote_ring_at(&e->parked, 0);
        take(w, e, &m);
    }
}

void sim_lane_replicate(struct lane_world *w, unsigned q)
{
    struct lane_era *e = sim_lane_era(w, q);
    if (e->is_fenced || !e->serves || !w->is_up[e->node] || e->safe == e->len)
        return;
    e->safe += 1 + (unsigned)sim_lane_below(w, e->len - e->safe);
    tell_safe(w, q, e);
}

static void depose(struct lane_world *w, unsigned q, struct lane_era *e)
{
    e->is_deposed = true;
    for (; e->parked.count != 0; remote_ring_drop_first(&e->parked)) {
        const struct lane_mail *m = remote_ring_at(&e->parked, 0);
        tell(w, &m->who, MOVED, q);
    }
    for (; e->waiters.count != 0; remote_ring_drop_first(&e->waiters)) {
        const struct lane_waiter *a = remote_ring_at(&e->waiters, 0);
        tell(w, &a->who, MOVED, q);
    }
}

void sim_lane_learn(struct lane_world *w, unsigned node)
{
    if (w->views[node] == w->index || !w->is_up[node])
        return;
    w->views[node]++;
    for (unsigned q = 0; q < LANE_QUEUES; q++) {
        struct lane_truth *t = &w->queues[q];
        struct lane_era *now = era_at(w, q, node);
        for (unsigned i = 0; i < t->era_count; i++)
            if (&t->eras[i] != now && t->eras[i].node == node && t->eras[i].epoch < now->epoch &&
                !t->eras[i].is_deposed)
                depose(w, q, &t->eras[i]);
    }
    if (node == 0 && sim_lane_below(w, 4) != 0)
        remote_lane_look(w->lane, w->now);
}

/* ---- links ------------------------------------------------------------------------------------
 */

static void init_session(struct lane_session *s)
{
    remote_ring_init(&s->there, sizeof(struct lane_record));
    remote_ring_init(&s->mails, sizeof(struct lane_mail));
    remote_ring_init(&s->back, sizeof(struct lane_word));
    idmap_init(&s->lefts);
}

static void drop_rings(struct lane_session *s)
{
    remote_ring_fini(&s->there);
    remote_ring_fini(&s->back);
    for (struct lane_left *l; (l = idmap_first(&s->lefts)) != NULL; mem_free(l))
        idmap_take(&s->lefts, l->ticket);
    idmap_fini(&s->lefts);
}

void sim_lane_break(struct lane_world *w, unsigned node)
{
    struct lane_session *s = &w->sessions[node];
    if (s->id == 0 || s->is_broken)
        return;
    sim_lane_say(w, "the link to node %u breaks", node);
    s->is_broken = true;
    drop_rings(s); /* what its threads have is there still */
}

/* Publishers have been charged for what was under way. */
void sim_lane_notice(struct lane_world *w, unsigned node)
{
    struct lane_session *s = &w->sessions[node];
    if (s->id == 0 || !s->is_broken)
        return;
    sim_lane_say(w, "the link to node %u is known to be broken", node);
    s->id = 0;
    s->said = s->read = 0;
    for (unsigned c = 0; c < LANE_CHANNELS; c++) {
        uint64_t octets = w->under_way[node][c];
        w->under_way[node][c] = 0;
        if (octets != 0)
            remote_lane_on_taken(w->lane, c + 1, octets);
    }
    remote_lane_on_lost(w->lane, (uint16_t)node);
}

static struct lane_session *need_session(struct lane_world *w, unsigned node)
{
    struct lane_session *s = &w->sessions[node];
    if (s->id != 0)
        return s;
    s->id = ++w->last_session;
    s->is_broken = !w->is_up[node];
    return s;
}

void sim_lane_carry(struct lane_world *w, unsigned node)
{
    struct lane_session *s = &w->sessions[node];
    if (s->id == 0 || s->is_broken || s->there.count == 0)
        return;
    struct lane_record r = *(struct lane_record *)remote_ring_at(&s->there, 0);
    for (unsigned i = 0; i < r.count; i++)
        if (r.to[i].epoch > w->views[node])
            return; /* its metadata is not so far yet */
    remote_ring_drop_first(&s->there);
    struct lane_left *l = mem_alloc(sizeof *l);
    *l = (struct lane_left){ r.ticket, r.count, r.count, true };
    idmap_put(&s->lefts, l->ticket, l);
    for (unsigned i = 0; i < r.count; i++) {
        struct lane_mail m = { .who = { node, s->id, r.ticket },
                               .queue = r.to[i].queue,
                               .message = r.message,
                               .epoch = r.to[i].epoch,
                               .seq = r.seq };
        w->messages[r.message].at[m.queue].read = true;
        *(struct lane_mail *)remote_ring_add(&s->mails) = m;
    }
    say_back(s, &(struct lane_word){ .kind = LANE_TAKEN,
                                     .payer = r.payer,
                                     .octets = w->messages[r.message].octets * r.count,
                                     .copies = r.count });
}

void sim_lane_apply(struct lane_world *w, unsigned node)
{
    struct lane_session *s = &w->sessions[node];
    if (s->mails.count == 0 || !w->is_up[node])
        return;
    struct lane_mail m = *(struct lane_mail *)remote_ring_at(&s->mails, 0);
    remote_ring_drop_first(&s->mails);
    arrive(w, node, &m);
}

void sim_lane_hear(struct lane_world *w, unsigned node)
{
    struct lane_session *s = &w->sessions[node];
    if (s->id == 0 || s->is_broken || s->back.count == 0)
        return;
    struct lane_word word = *(struct lane_word *)remote_ring_at(&s->back, 0);
    remote_ring_drop_first(&s->back);
    switch (word.kind) {
    case LANE_ANSWER:
        remote_lane_on_answers(w->lane, word.ticket, 1, (uint32_t)word.copies, word.ok);
        return;
    case LANE_MOVED:
        sim_lane_say(w, "node %u does not master queue %u", node, word.queue);
        remote_lane_on_moved(w->lane, word.ticket, LANE_QID + word.queue);
        return;
    case LANE_TAKEN:
        s->read += word.copies;
        if (word.payer != 0) {
            w->under_way[node][word.payer - 1] -= word.octets;
            remote_lane_on_taken(w->lane, word.payer, word.octets);
        }
        return;
    }
}

void sim_lane_kill(struct lane_world *w, unsigned node)
{
    CHECK(node != 0);
    if (!w->is_up[node])
        return;
    sim_lane_say(w, "node %u dies", node);
    sim_lane_break(w, node);
    w->is_up[node] = false;
    w->is_known_down[node] = false;
    remote_ring_fini(&w->sessions[node].mails);
    for (unsigned q = 0; q < LANE_QUEUES; q++) {
        for (unsigned i = 0; i < w->queues[q].era_count; i++) {
            struct lane_era *e = &w->queues[q].eras[i];
            if (e->node != node)
                continue;
            e->is_fenced = e->is_deposed = true;
            remote_ring_fini(&e->parked);
            remote_ring_fini(&e->waiters);
        }
    }
}

void sim_lane_revive(struct lane_world *w, unsigned node)
{
    if (w->is_up[node] || !w->is_known_down[node])
        return;
    w->is_up[node] = true;
}

/* ---- for the lane -----------------------------------------------------------------------------
 */

unsigned sim_lane_id(const struct message *m)
{
    unsigned id;
    CHECK(message_key(m).len == sizeof id);
    memcpy(&id, message_key(m).ptr, sizeof id);
    return id;
}

static enum lane_found find(void *arg, uint64_t qid, struct lane_place *out)
{
    struct lane_world *w = arg;
    unsigned q = (unsigned)(qid - LANE_QID);
    if (is_gone_at(w, q, 0))
        return LANE_GONE;
    const struct lane_era *e = era_at(w, q, 0);
    if (e->node == LANE_NOBODY)
        return LANE_NOWHERE;
    *out = (struct lane_place){ .epoch = e->epoch, .node = e->node };
    return LANE_HERE_IS;
}

static enum port_published send(void *arg, const struct lane_place *to, uint64_t qid,
                                struct message *m, uint64_t payer, uint64_t ticket,
                                const struct lane_number *as)
{
    struct lane_world *w = arg;
    uint64_t seq = as->seq;
    CHECK(as->pid == 0); /* all are the lane's own */
    unsigned q = (unsigned)(qid - LANE_QID), id = sim_lane_id(m);
    struct lane_session *s = need_session(w, to->node);
    w->out->messages++;
    sim_lane_say(w, "message %u (seq %" PRIu64 ") for queue %u goes to node %u, epoch %" PRIu64, id,
                 seq, q, to->node, to->epoch);
    if (to->node == 0) {
        w->messages[id].at[q].read = true;
        *(struct lane_mail *)remote_ring_add(&s->mails) = (struct lane_mail){
            .who = { 0, s->id, ticket }, .queue = q, .message = id, .epoch = to->epoch, .seq = seq
        };
        return PORT_LATER;
    }
    struct lane_record *r = &s->record;
    if (r->count == 0)
        *r = (struct lane_record){ .ticket = ticket, .seq = seq, .message = id, .payer = payer };
    CHECK(r->ticket == ticket);
    r->to[r->count].queue = q;
    r->to[r->count++].epoch = to->epoch;
    s->said++;
    if (payer != 0)
        w->under_way[to->node][payer - 1] += w->messages[id].octets;
    return PORT_LATER;
}

static bool sent(void *arg, uint16_t node, uint64_t ticket)
{
    struct lane_world *w = arg;
    struct lane_session *s = &w->sessions[node];
    if (node == 0)
        return false;
    (void)ticket;
    if (!s->is_broken)
        *(struct lane_record *)remote_ring_add(&s->there) = s->record;
    s->record.count = 0;
    return false;
}

static uint64_t said(void *arg, uint16_t node)
{
    const struct lane_world *w = arg;
    return w->sessions[node].said;
}

static bool is_read(void *arg, uint16_t node, uint64_t upto)
{
    const struct lane_world *w = arg;
    return node == 0 || w->sessions[node].read >= upto;
}

const struct lane_ops sim_lane_ops_far = {
    .find = find, .send = send, .sent = sent, .said = said, .is_read = is_read
};

/* ---- the whole --------------------------------------------------------------------------------
 */

void sim_lane_open(struct lane_world *w)
{
    for (unsigned n = 0; n < LANE_NODES; n++) {
        init_session(&w->sessions[n]);
        w->is_up[n] = true;
    }
    w->sessions[0].id = ++w->last_session;
    for (unsigned q = 0; q < LANE_QUEUES; q++)
        sim_lane_appoint(w, q, (uint16_t)sim_lane_below(w, LANE_NODES));
    for (unsigned n = 0; n < LANE_NODES; n++)
        w->views[n] = w->index;
}

void sim_lane_close(struct lane_world *w)
{
    for (unsigned n = 0; n < LANE_NODES; n++) {
        drop_rings(&w->sessions[n]);
        remote_ring_fini(&w->sessions[n].mails);
    }
    for (unsigned q = 0; q < LANE_QUEUES; q++) {
        for (unsigned i = 0; i < w->queues[q].era_count; i++) {
            struct lane_era *e = &w->queues[q].eras[i];
            mem_free(e->ids);
            mem_free(e->seqs);
            remote_ring_fini(&e->waiters);
            remote_ring_fini(&e->parked);
        }
    }
}

bool sim_lane_is_quiet(const struct lane_world *w)
{
    for (unsigned n = 0; n < LANE_NODES; n++) {
        const struct lane_session *s = &w->sessions[n];
        if (w->views[n] != w->index || s->mails.count != 0 ||
            (s->id != 0 && (s->is_broken || s->there.count != 0 || s->back.count != 0)))
            return false;
    }
    for (unsigned q = 0; q < LANE_QUEUES; q++) {
        const struct lane_truth *t = &w->queues[q];
        const struct lane_era *e = &t->eras[t->era_count - 1];
        if (e->waiters.count != 0 || e->parked.count != 0)
            return false;
    }
    return true;
}
