#include "marks.h"

#include "base/attr.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "hosted.h"
#include "model/queue_copy.h"

/* How far marks run ahead at first and at most, and how soon they come for twice as many. A sync
 * may take long. */
#define AHEAD_LEAST ((uint64_t)8192)
#define AHEAD_MOST  ((uint64_t)1 << 20)
#define AHEAD_MS    1000u

/* Of a priority of which nothing is known. */
static uint64_t base_of(unsigned priority)
{
    return (uint64_t)priority << 56;
}

static struct ledger_mark *mark(struct hosted *h, unsigned priority)
{
    struct ledger_queue *b = &h->book;
    if (UNLIKELY(priority >= b->mark_count)) {
        unsigned count = h->settings.max_priority + 1u;
        CHECK(priority < count);
        b->marks = mem_realloc(b->marks, count * sizeof *b->marks);
        for (unsigned i = b->mark_count; i < count; i++)
            b->marks[i] = (struct ledger_mark){ .handed = base_of(i), .ahead = AHEAD_LEAST };
        b->mark_count = (uint16_t)count;
    }
    return &b->marks[priority];
}

static bool is_time(const struct ledger_mark *m)
{
    return m->handed >= m->renew_at;
}

bool marks_out(struct hosted *h, uint64_t qseq)
{
    struct ledger_mark *m = mark(h, (unsigned)(qseq >> 56));
    if (qseq < m->handed)
        return false;
    m->handed = qseq + 1;
    return is_time(m);
}

/* The queue knows where those begin that nobody was handed; after a start it is the only one. */
static void take_mark(uint64_t handed, void *arg)
{
    struct ledger_mark *m = mark(arg, (unsigned)(handed >> 56));
    if (m->handed < handed)
        m->handed = handed;
}

void marks_restore(struct hosted *h)
{
    (void)mark(h, 0);
    queue_marks(&h->queue, take_mark, h);
}

void marks_told(struct hosted *h, uint64_t up_to)
{
    unsigned priority = (unsigned)(up_to >> 56);
    if (priority > h->settings.max_priority)
        return;
    struct ledger_mark *m = mark(h, priority);
    if (m->written < up_to)
        m->written = up_to;
}

static uint64_t ahead_of(const struct queue *q, uint64_t qseq, uint64_t count)
{
    return MUTATION(MARK_COUNTS_VOIDS) ? qseq + count : queue_ahead(q, qseq, count);
}

static void renew(const struct queue *q, struct ledger_mark *m, uint64_t now_ms)
{
    if (m->written != 0 && now_ms - m->written_ms < AHEAD_MS && m->ahead < AHEAD_MOST)
        m->ahead *= 2;
    m->renew_at = ahead_of(q, m->handed, m->ahead / 2);
    m->written = ahead_of(q, m->renew_at, m->ahead / 2);
    m->written_ms = now_ms;
}

unsigned marks_renew(struct hosted *h, uint64_t now_ms, uint64_t out[LEDGER_MARKS_MAX])
{
    unsigned n = 0;
    for (unsigned i = 0; i < h->book.mark_count; i++) {
        struct ledger_mark *m = &h->book.marks[i];
        bool is_used = m->handed != base_of(i) || h->book.expects_out;
        if (!is_used || !is_time(m))
            continue;
        renew(&h->queue, m, now_ms);
        out[n++] = m->written;
    }
    return n;
}

static void ask_of(uint64_t next_new, void *arg)
{
    mark(arg, (unsigned)(next_new >> 56))->asked_end = next_new;
}

bool marks_ask(struct hosted *h)
{
    bool is_more = false;
    queue_starts(&h->queue, ask_of, h);
    for (unsigned i = 0; i < h->book.mark_count; i++) {
        struct ledger_mark *m = &h->book.marks[i];
        m->asked = m->written;
        is_more = is_more || m->asked > m->safe;
    }
    return is_more;
}

void marks_are_known(struct hosted *h)
{
    for (unsigned i = 0; i < h->book.mark_count; i++) {
        struct ledger_mark *m = &h->book.marks[i];
        m->safe = m->asked > m->safe ? m->asked : m->safe;
        m->had = m->asked_end > m->had ? m->asked_end : m->had;
    }
}

bool marks_may_show(const struct hosted *h, uint64_t qseq)
{
    unsigned priority = (unsigned)(qseq >> 56);
    CHECK(priority < h->book.mark_count);
    return qseq < h->book.marks[priority].safe;
}

bool marks_are_behind(const struct hosted *h, uint64_t qseq)
{
    unsigned priority = (unsigned)(qseq >> 56);
    CHECK(priority < h->book.mark_count);
    return qseq < h->book.marks[priority].had;
}

void marks_begin_epoch(struct hosted *h)
{
    for (unsigned i = 0; i < h->book.mark_count; i++) {
        struct ledger_mark *m = &h->book.marks[i];
        m->asked = m->safe = m->asked_end = m->had = 0;
    }
}

unsigned marks_exact(const struct hosted *h, uint64_t out[LEDGER_MARKS_MAX])
{
    unsigned n = 0;
    for (unsigned i = 0; i < h->book.mark_count; i++) {
        if (h->book.marks[i].handed != base_of(i))
            out[n++] = h->book.marks[i].handed;
    }
    return n;
}

unsigned marks_all(const struct hosted *h, bool *ahead, uint64_t out[LEDGER_MARKS_MAX])
{
    unsigned n = 0;
    *ahead = true;
    for (unsigned i = 0; i < h->book.mark_count; i++) {
        /* Before anything was handed out in this life, what was in former ones. */
        const struct ledger_mark *m = &h->book.marks[i];
        if (m->written != 0 || m->handed != base_of(i))
            out[n++] = m->written != 0 ? m->written : m->handed;
    }
    return n;
}
