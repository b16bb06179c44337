/* How a queue begins, gets other settings, and ends. */
#include "base/check.h"
#include "base/mem.h"
#include "model/queue_inner.h"

/* After so many turns of freeing, the system gets its memory back. */
#define GIVE_BACK_EVERY 512u

/* So many of what was purged are freed a turn. */
#define SWEEP_MAX 1024u

static void note_settings(struct queue *q, const struct queue_settings *s)
{
    q->settings = s;
    q->is_single = s->single_active;
    q->is_plain = s->message_ttl_ms < 0 && s->max_length < 0 && s->max_length_bytes < 0 &&
                  s->max_priority == 0;
}

void queue_init(struct queue *q, uint64_t qid, const struct queue_ops *ops,
                const struct queue_settings *settings, uint64_t now_ms)
{
    CHECK(ops->release != NULL && ops->go_on != NULL);
    *q = (struct queue){ .qid = qid, .ops = ops, .used_at_ms = now_ms, .wake_at_ms = UINT64_MAX };
    note_settings(q, settings);
    qstore_init(&q->store, settings->max_priority);
    turns_init(&q->turns);
    queue_use(q, now_ms);
}

void queue_set(struct queue *q, const struct queue_settings *settings, uint64_t now_ms)
{
    CHECK(settings->max_priority == q->settings->max_priority &&
          settings->single_active == q->settings->single_active &&
          settings->is_quorum == q->settings->is_quorum);
    note_settings(q, settings);
    q->used_at_ms = now_ms;
    queue_run(q, now_ms);
}

/* After a slice of many messages was freed. What is given back bit by bit keeps nobody waiting. */
static void tidy_up(struct queue *q, bool is_last)
{
    mem_gather();
    if (++q->slices % GIVE_BACK_EVERY == 0 || (is_last && q->slices > GIVE_BACK_EVERY))
        mem_give_back();
    if (is_last)
        q->slices = 0;
}

bool queue_fini(struct queue *q, size_t most)
{
    CHECK(q->consumer_count == 0);
    const struct qsink to = queue_sink(q);
    if (!qstore_fini(&q->store, &most, &to)) {
        tidy_up(q, false);
        return false;
    }
    if (q->slices != 0)
        tidy_up(q, true);
    turns_fini(&q->turns);
    return true;
}

bool queue_sweep(struct queue *q)
{
    size_t budget = SWEEP_MAX;
    if (!q->has_buried)
        return false;
    const struct qsink to = queue_sink(q);
    q->has_buried = !qstore_sweep(&q->store, &budget, &to);
    tidy_up(q, !q->has_buried);
    return q->has_buried;
}
