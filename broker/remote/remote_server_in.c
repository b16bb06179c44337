#include "remote/remote_server_inner.h"

#include "base/mutation.h"

/* ---- frames -----------------------------------------------------------------------------------
 */

static bool on_record(struct remote_server *s, struct remote_record *r)
{
    switch ((unsigned)r->op) {
    case REMOTE_PUBLISH:
    case REMOTE_PUBLISH_OF:
        return remote_on_publish(s, r);
    case REMOTE_TOOK:
    case REMOTE_SENT_BACK:
        remote_on_returned(s, r->list, r->op == REMOTE_SENT_BACK);
        return true;
    case REMOTE_SETTLE:
        if (r->kind > PORT_FORGET)
            return false;
        remote_on_settle(s, r->list, (enum port_settle)r->kind);
        return true;
    case REMOTE_SETTLE_MOVED:
        if (r->kind > PORT_REQUEUE_UNSEEN)
            return false;
        remote_on_settle_moved(s, r->qid, r->list, (enum port_settle)r->kind);
        return true;
    case REMOTE_WAKE:
        remote_on_wake(s, r->consumer, r->count);
        return true;
    case REMOTE_ABANDON:
        remote_on_abandon(s, r->consumer);
        return true;
    case REMOTE_ASK:
    case REMOTE_ASK_HELD:
        return remote_on_ask(s, r);
    case REMOTE_REPLY:
        return remote_on_reply(s, r);
    case REMOTE_REPLY_ASK:
        remote_on_reply_ask(s, r);
        return true;
    case REMOTE_LEFT:
        return remote_on_left(s);
    case REMOTE_PARTS_TAKEN:
        remote_outbox_on_parts_taken(&s->out, r->count);
        remote_wake_those_away(s);
        return true;
    default:
        return false; /* for who asks */
    }
}

/* ---- what comes too early ---------------------------------------------------------------------
 */

/* What is to be known first: a queue, or an entry of the metadata's log. */
struct unknown {
    uint64_t qid, index; /* 0: nothing */
};

static bool find_unknown_of(const struct remote_server *s, const struct remote_record *r,
                            struct unknown *out)
{
    struct slice list = r->list;
    uint64_t qid, epoch;
    while (remote_next_qid(&list, &qid)) {
        if (UNLIKELY(!s->ops->knows(s->arg, qid))) {
            out->qid = qid;
            return true;
        }
        if (r->op == REMOTE_PUBLISH || !remote_next_qid(&list, &epoch))
            continue;
        if (UNLIKELY(!s->ops->has_applied(s->arg, epoch))) {
            out->index = epoch;
            return true;
        }
    }
    return false;
}

/* The first thing a record is about that is not known here yet. */
static bool find_unknown(const struct remote_server *s, const struct remote_record *r,
                         struct unknown *out)
{
    *out = (struct unknown){ 0 };
    if ((r->op == REMOTE_ASK && r->kind != PORT_FENCE) || r->op == REMOTE_ASK_HELD) {
        out->qid = s->ops->knows(s->arg, r->qid) ? 0 : r->qid;
        return out->qid != 0;
    }
    return (r->op == REMOTE_PUBLISH || r->op == REMOTE_PUBLISH_OF) && find_unknown_of(s, r, out);
}

static void await_known(struct remote_server *s, const struct unknown *u)
{
    s->awaits = u->qid != 0 ? u->qid : u->index;
    if (u->qid != 0)
        s->ops->await_known(s->arg, u->qid);
    else
        s->ops->await_applied(s->arg, u->index);
}

static bool do_record(struct remote_server *s, struct remote_record *r)
{
    bool ok = on_record(s, r);
    if (r->assembled != NULL)
        (void)message_unref(&r->assembled); /* was not counted */
    return ok;
}

/* `rest` is what follows it in its frame. One that came in parts cannot be read again: it is kept
 * as it is, and good until the inbox shows another. */
static void keep_for_later(struct remote_server *s, const struct remote_record *r,
                           struct slice rest, bool more)
{
    struct wire from = s->in.began;
    bool is_assembled = r->assembled != NULL;
    if (is_assembled)
        s->held = *r;
    remote_late_put_back(&s->late, is_assembled ? rest : wire_rest(&from), more);
}

static bool take_frame(struct remote_server *s, struct slice frame, bool more)
{
    struct wire w = wire_over(frame);
    struct remote_record r;
    enum remote_next next;
    while ((next = remote_inbox_next(&s->in, &w, &r)) == REMOTE_RECORD) {
        struct unknown u;
        if (UNLIKELY(find_unknown(s, &r, &u)) && !MUTATION(REMOTE_UNKNOWN_IS_GONE)) {
            keep_for_later(s, &r, wire_rest(&w), more);
            await_known(s, &u);
            return true;
        }
        if (!do_record(s, &r))
            return false;
    }
    if (!more)
        s->ops->settled(s->arg);
    if (s->in.parts_taken != 0)
        s->out.pipe.soon(s->out.pipe.arg);
    return next == REMOTE_END;
}

bool remote_server_take(struct remote_server *s, struct slice frame, bool more)
{
    CHECK(!s->is_lost);
    if (LIKELY(s->awaits == 0) || MUTATION(REMOTE_LATE_OVERTAKEN))
        return take_frame(s, frame, more);
    remote_late_add(&s->late, frame, more);
    return true;
}

static bool do_held(struct remote_server *s)
{
    struct remote_record r = s->held;
    s->held = (struct remote_record){ 0 };
    return do_record(s, &r);
}

/* The record that waited, and what came behind it; another one may have to wait on the way. */
bool remote_server_known(struct remote_server *s)
{
    if (s->is_lost || s->awaits == 0)
        return true;
    s->awaits = 0;
    struct unknown u;
    if (s->held.op != 0 && find_unknown(s, &s->held, &u)) {
        await_known(s, &u);
        return true;
    }
    bool ok = s->held.op == 0 || do_held(s);
    for (struct remote_late_frame *f;
         ok && s->awaits == 0 && (f = remote_late_take(&s->late)) != NULL;) {
        ok = take_frame(s, slice_of(f->octets, f->len), f->more);
        remote_late_drop(&s->late, &f);
    }
    return ok;
}

void remote_drop_late(struct remote_server *s)
{
    if (s->held.assembled != NULL)
        (void)message_unref(&s->held.assembled); /* was not counted */
    s->held = (struct remote_record){ 0 };
    remote_late_reset(&s->late);
    s->awaits = 0;
}
