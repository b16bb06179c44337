#include "raft_kit.h"

#include "base/check.h"
#include "base/mem.h"

#include <string.h>

/* ---- disks ---- */

static void write_done(struct kit *k, struct kit_node *n)
{
    struct raft_write *w = n->writes[0];
    uint64_t number = w->number;
    raft_store_write(&n->store, w, raft_store_parts(w));
    raft_write_free(&w);
    n->write_count--;
    memmove(n->writes, n->writes + 1, n->write_count * sizeof n->writes[0]);
    raft_step(
        n->raft,
        &(struct raft_event){ .kind = RAFT_EV_WRITTEN, .now_us = k->now_us, .number = number },
        &n->fx);
}

/* ---- effects ---- */

static void apply(struct kit *k, struct kit_node *n)
{
    if (n->holds_apply || n->machine.index >= raft_commit(n->raft))
        return;
    while (n->machine.index < raft_commit(n->raft))
        raft_machine_apply(&n->machine, raft_entry_at(n->raft, n->machine.index + 1));
    raft_step(n->raft,
              &(struct raft_event){
                  .kind = RAFT_EV_APPLIED, .now_us = k->now_us, .index = n->machine.index },
              &n->fx);
}

/* A snapshot is two chunks: its machine's index and its digest. */
static void read_chunk(struct kit *k, struct kit_node *n, const struct raft_effect *e)
{
    const struct raft_store *s = &n->store;
    bool is_same = e->need.index == s->snapshot.index && e->need.id == s->snapshot.id;
    uint64_t offset = is_same ? e->need.offset : 0;
    uint64_t values[2] = { s->machine.index, s->machine.digest };
    struct buf *bytes = NULL;
    if (s->snapshot.index != 0)
        bytes = offset == 16 ? buf_new(0) : buf_copy(slice_of(&values[offset / 8], 8));
    raft_step(n->raft,
              &(struct raft_event){ .kind = RAFT_EV_CHUNK_READ,
                                    .now_us = k->now_us,
                                    .chunk = { .node = e->need.node,
                                               .snapshot = s->snapshot,
                                               .offset = offset,
                                               .bytes = bytes } },
              &n->fx);
    buf_unref(&bytes);
}

static void take_chunk(struct kit *k, struct kit_node *n, const struct raft_msg *m)
{
    const struct raft_msg_install *i = &m->install;
    uint64_t value = 0;
    if (i->chunk->len_bytes == 8)
        memcpy(&value, i->chunk->data, 8);
    if (i->offset == 0)
        n->store.received.index = value;
    else if (i->offset == 8)
        n->store.received.digest = value;
    uint64_t next = i->offset + i->chunk->len_bytes;
    struct raft_taken t = {
        .index = i->snapshot.index, .id = i->snapshot.id, .next = next, .is_complete = next == 16
    };
    raft_step(n->raft,
              &(struct raft_event){ .kind = RAFT_EV_CHUNK_TAKEN, .now_us = k->now_us, .taken = t },
              &n->fx);
}

static void carry_out(struct kit *k, struct kit_node *n, struct raft_effect *e)
{
    switch (e->kind) {
    case RAFT_DO_WRITE:
        cr_assert(n->write_count < RAFT_WRITES_MAX);
        n->writes[n->write_count++] = e->write;
        e->write = NULL;
        return;
    case RAFT_DO_SEND:
        n->sent[e->msg->kind]++;
        if (e->msg->kind == RAFT_MSG_APPEND)
            n->sent_entries += e->msg->append.count;
        cr_assert(k->msg_count < ARRAY_COUNT(k->msgs));
        k->msgs[k->msg_count++] = e->msg;
        e->msg = NULL;
        return;
    case RAFT_DO_RESTORE:
        n->machine = n->store.received;
        n->restored++;
        cr_assert(n->machine.index == e->snapshot->index);
        raft_step(n->raft,
                  &(struct raft_event){
                      .kind = RAFT_EV_APPLIED, .now_us = k->now_us, .index = n->machine.index },
                  &n->fx);
        return;
    case RAFT_DO_ACCEPTED:
        n->accepted = e->proposed.first;
        return;
    case RAFT_DO_REFUSED:
        n->refused = e->refused.why;
        return;
    case RAFT_DO_LOST:
        n->lost = e->index;
        return;
    case RAFT_DO_READ_READY:
        n->read_token = e->read.token;
        n->read_index = e->read.index;
        return;
    case RAFT_DO_READ_LOST:
        n->reads_lost++;
        return;
    case RAFT_DO_ALL_APPLIED:
        n->all_applied = e->index;
        return;
    case RAFT_DO_NEED_CHUNK:
        read_chunk(k, n, e);
        return;
    case RAFT_DO_TAKE_CHUNK:
        take_chunk(k, n, e->msg);
        return;
    case RAFT_DO_WHOLE:
        n->whole++;
        return;
    case RAFT_DO_NONE:
    case RAFT_DO_COMMIT:
    case RAFT_DO_ROLE:
    case RAFT_DO_CONFIG:
        return;
    }
    UNREACHABLE("raft effect");
}

/* Effects may call for steps, whose effects come behind them; the list may move then. */
static void work(struct kit *k, struct kit_node *n)
{
    for (size_t i = 0; i < n->fx.count; i++) {
        struct raft_effect e = n->fx.list[i];
        carry_out(k, n, &e);
        struct raft_effect *back = &n->fx.list[i];
        if (back->kind == RAFT_DO_WRITE)
            back->write = e.write;
        if (back->kind == RAFT_DO_SEND)
            back->msg = e.msg;
    }
    raft_effects_clear(&n->fx);
    if (n->raft != NULL)
        apply(k, n);
}

/* ---- messages ---- */

static bool is_lost(const struct kit *k, const struct raft_msg *m)
{
    if (k->is_cut[m->from][m->to])
        return true;
    return k->index_max != 0 && m->kind == RAFT_MSG_APPEND && m->append.count != 0 &&
           m->append.prev_index + m->append.count > k->index_max;
}

static void deliver(struct kit *k, struct raft_msg *m)
{
    struct kit_node *n = &k->nodes[m->to];
    if (!is_lost(k, m) && n->raft != NULL) {
        raft_step(n->raft,
                  &(struct raft_event){ .kind = RAFT_EV_MESSAGE, .now_us = k->now_us, .msg = m },
                  &n->fx);
        work(k, n);
    }
    raft_msg_fini(m);
    mem_free(m);
}

static bool progress(struct kit *k)
{
    for (unsigned i = 1; i <= KIT_NODES; i++) {
        struct kit_node *n = &k->nodes[i];
        if (n->raft == NULL)
            continue;
        if (n->fx.count != 0) {
            work(k, n);
            return true;
        }
        if (n->write_count != 0 && !n->holds_disk) {
            write_done(k, n);
            return true;
        }
    }
    if (k->msg_count == 0)
        return false;
    struct raft_msg *m = k->msgs[0];
    k->msg_count--;
    memmove(k->msgs, k->msgs + 1, k->msg_count * sizeof k->msgs[0]);
    deliver(k, m);
    return true;
}

static void settle(struct kit *k)
{
    for (unsigned n = 0; progress(k); n++)
        cr_assert(n < 1000000, "it never comes to rest");
}

void kit_do(struct kit *k, unsigned node, struct raft_event *ev)
{
    struct kit_node *n = &k->nodes[node];
    ev->now_us = k->now_us;
    raft_step(n->raft, ev, &n->fx);
    work(k, n);
    settle(k);
}

void kit_run_ms(struct kit *k, int ms)
{
    for (; ms > 0; ms -= 10) {
        k->now_us += 10000;
        for (unsigned i = 1; i <= KIT_NODES; i++)
            if (k->nodes[i].raft != NULL)
                kit_do(k, i, &(struct raft_event){ .kind = RAFT_EV_TIME });
    }
}

/* ---- life ---- */

void kit_start(struct kit *k, unsigned node)
{
    struct kit_node *n = &k->nodes[node];
    struct raft_start start;
    cr_assert(n->raft == NULL);
    raft_store_start(&n->store, &start);
    start.now_us = k->now_us;
    struct raft_setup setup = k->setup;
    setup.node = (uint16_t)node;
    setup.boot = ++n->boot;
    setup.seed = node * 1000u + n->boot + k->seed;
    n->machine = n->store.machine;
    n->raft = raft_new(&setup, &start);
}

void kit_kill(struct kit *k, unsigned node)
{
    struct kit_node *n = &k->nodes[node];
    raft_effects_clear(&n->fx);
    for (size_t i = 0; i < n->write_count; i++)
        raft_write_free(&n->writes[i]);
    n->write_count = 0;
    n->holds_disk = n->holds_apply = false;
    raft_free(&n->raft);
}

void kit_init(struct kit *k, unsigned voters)
{
    memset(k, 0, sizeof *k);
    k->now_us = 1000000;
    raft_setup_default(&k->setup);
    struct raft_config c = { 0 };
    for (unsigned i = 1; i <= voters; i++)
        cr_assert(raft_config_set(&c, (uint16_t)i, RAFT_VOTER));
    for (unsigned i = 1; i <= KIT_NODES; i++) {
        raft_store_init(&k->nodes[i].store);
        if (i > voters)
            continue;
        struct raft_entry e = {
            .index = 1, .term = 1, .kind = RAFT_CONFIG, .bytes = raft_config_buf(&c)
        };
        struct raft_write w = {
            .has_hard = true, .hard = { .term = 1 }, .entries = &e, .count = 1
        };
        raft_store_write(&k->nodes[i].store, &w, raft_store_parts(&w));
        buf_unref(&e.bytes);
        kit_start(k, i);
    }
}

void kit_fini(struct kit *k)
{
    for (unsigned i = 1; i <= KIT_NODES; i++) {
        kit_kill(k, i);
        raft_store_fini(&k->nodes[i].store);
        raft_effects_fini(&k->nodes[i].fx);
    }
    for (size_t i = 0; i < k->msg_count; i++) {
        raft_msg_fini(k->msgs[i]);
        mem_free(k->msgs[i]);
    }
}

void kit_cut(struct kit *k, unsigned a, unsigned b, bool cut)
{
    k->is_cut[a][b] = k->is_cut[b][a] = cut;
}

void kit_isolate(struct kit *k, unsigned node, bool cut)
{
    for (unsigned i = 1; i <= KIT_NODES; i++)
        if (i != node)
            kit_cut(k, node, i, cut);
}

void kit_release_disk(struct kit *k, unsigned node)
{
    k->nodes[node].holds_disk = false;
    settle(k);
}

unsigned kit_leader(const struct kit *k)
{
    unsigned leader = 0;
    for (unsigned i = 1; i <= KIT_NODES; i++) {
        const struct raft *r = k->nodes[i].raft;
        if (r != NULL && raft_role(r) == RAFT_LEADER &&
            (leader == 0 || raft_term(r) > raft_term(k->nodes[leader].raft)))
            leader = i;
    }
    return leader;
}

void kit_elect(struct kit *k, unsigned node)
{
    for (int tries = 0; tries < 200; tries++) {
        unsigned leader = kit_leader(k);
        if (leader == node && raft_commit(k->nodes[node].raft) == raft_last(k->nodes[node].raft))
            return;
        if (leader != 0 && leader != node)
            kit_do(k, leader,
                   &(struct raft_event){ .kind = RAFT_EV_TRANSFER, .node = (uint16_t)node });
        kit_run_ms(k, 50);
    }
    cr_assert(false, "node %u cannot be elected", node);
}

/* ---- doing ---- */

uint64_t kit_propose(struct kit *k, unsigned node, const char *command)
{
    struct buf *b = buf_copy(slice_of(command, strlen(command)));
    k->nodes[node].accepted = 0;
    kit_do(k, node,
           &(struct raft_event){
               .kind = RAFT_EV_PROPOSE,
               .propose = { .token = 7, .commands = &b, .count = 1, .from = k->from } });
    buf_unref(&b);
    return k->nodes[node].accepted;
}

uint64_t kit_change(struct kit *k, unsigned node, unsigned whom, enum raft_part part)
{
    k->nodes[node].accepted = 0;
    kit_do(k, node,
           &(struct raft_event){ .kind = RAFT_EV_CHANGE,
                                 .change = { .node = (uint16_t)whom, .part = part } });
    return k->nodes[node].accepted;
}

uint64_t kit_remove(struct kit *k, unsigned node, unsigned whom)
{
    k->nodes[node].accepted = 0;
    kit_do(k, node,
           &(struct raft_event){ .kind = RAFT_EV_CHANGE,
                                 .change = { .node = (uint16_t)whom, .is_removal = true } });
    return k->nodes[node].accepted;
}

void kit_snapshot(struct kit *k, unsigned node)
{
    struct kit_node *n = &k->nodes[node];
    struct raft_snapshot s = { .index = n->machine.index, .id = n->machine.digest, .bytes = 16 };
    raft_config_at(n->raft, s.index, &s);
    raft_store_keep_snapshot(&n->store, &s, &n->machine);
    kit_do(k, node, &(struct raft_event){ .kind = RAFT_EV_SNAPSHOT, .snapshot = s });
}

bool kit_has(const struct kit *k, unsigned node, uint64_t index, const char *command)
{
    const struct raft *r = k->nodes[node].raft;
    if (!raft_log_has(raft_log(r), index))
        return false;
    return slice_eq(raft_entry_slice(raft_entry_at(r, index)), slice_of(command, strlen(command)));
}

void kit_expect_agreement(const struct kit *k)
{
    const struct kit_node *first = NULL;
    for (unsigned i = 1; i <= KIT_NODES; i++) {
        const struct kit_node *n = &k->nodes[i];
        if (n->raft == NULL || raft_config_find(raft_config(n->raft), (uint16_t)i) == NULL)
            continue;
        if (first == NULL)
            first = n;
        cr_expect(n->machine.index == first->machine.index &&
                      n->machine.digest == first->machine.digest,
                  "node %u applied something else", i);
    }
}
