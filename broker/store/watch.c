#include "base/check.h"
#include "base/mem.h"
#include "store/store_inner.h"

#include <inttypes.h>

struct look_wish {
    struct mail mail;
    struct store *store;
    struct loop *to;
    struct mail *done;
    struct look_wish *next;
};

static uint64_t limit_of(const struct store *st)
{
    return st->set.disk_limit != NULL ? st->set.disk_limit(st->set.arg) : 0;
}

static void look_job(struct work_job *job)
{
    struct store *st = CONTAINER_OF(job, struct store, look);
    st->look_err = (struct err){ 0 };
    st->look_ok =
        st->disk->ops->space(st->disk, &st->seen_free_bytes, &st->seen_total_bytes, &st->look_err);
}

static void take_look(struct store *st)
{
    if (!st->look_ok) {
        unsigned left_out;
        if (log_rate_ok(&st->complaints, 1, 60000, &left_out))
            log_warn("store", st->node, "free room on the disk is not known: %s",
                     st->look_err.text);
        return;
    }
    bool has_changed =
        space_see(&st->space, st->seen_free_bytes, st->seen_total_bytes, limit_of(st));
    atomic_store(&st->free_bytes, st->space.free_bytes);
    atomic_store(&st->total_bytes, st->space.total_bytes);
    if (has_changed && st->space.is_low)
        log_warn("store", st->node,
                 "free disk space is insufficient, publishers are blocked free=%" PRIu64
                 " limit=%" PRIu64,
                 st->space.free_bytes, st->space.limit_bytes);
    else if (has_changed)
        log_info("store", st->node,
                 "free disk space is sufficient again free=%" PRIu64 " limit=%" PRIu64,
                 st->space.free_bytes, st->space.limit_bytes);
}

static void answer_wishes(struct look_wish **list)
{
    for (struct look_wish *w; (w = *list) != NULL;) {
        *list = w->next;
        if (w->done != NULL)
            mailbox_post(w->to, w->done);
        mem_free(w);
    }
}

static void on_looked(struct work_job *job)
{
    struct store *st = CONTAINER_OF(job, struct store, look);
    st->looking = false;
    if (!job->cancelled) {
        take_look(st);
        st->look_ms = loop_now_ms(st->loop) + space_next_ms(&st->space);
        store_judge_alarms(st);
    }
    answer_wishes(&st->looking_for);
    if (st->wishes != NULL)
        store_watch_look(st);
}

void store_watch_look(struct store *st)
{
    if (st->looking || (st->wishes == NULL && loop_now_ms(st->loop) < st->look_ms))
        return;
    st->looking_for = st->wishes;
    st->wishes = NULL;
    st->looking = store_submit(st, &st->look);
    if (!st->looking)
        answer_wishes(&st->looking_for);
}

static void on_wish(struct mail *mail)
{
    struct look_wish *w = CONTAINER_OF(mail, struct look_wish, mail);
    struct store *st = w->store;
    w->next = st->wishes;
    st->wishes = w;
    if (atomic_load(&st->stopping))
        answer_wishes(&st->wishes);
    else
        store_watch_look(st);
}

void store_look_at_space(struct store *st, struct loop *to, struct mail *done)
{
    struct look_wish *w = mem_zalloc(sizeof *w);
    *w = (struct look_wish){ { NULL, on_wish }, st, to, done, NULL };
    mailbox_post(st->loop, &w->mail);
}

void store_judge_alarms(struct store *st)
{
    unsigned now =
        (st->space.is_low ? STORE_DISK_LOW : 0U) |
        (journal_is_short(st->journal) ? STORE_JOURNAL_SHORT : 0U) |
        (st->large != NULL && large_files_want_room(st->large) ? STORE_LARGE_WAITS : 0U) |
        (st->failed_told ? STORE_FAILED : 0U);
    unsigned was = atomic_exchange(&st->alarms, now);
    if (now == was)
        return;
    if ((now & ~was & STORE_JOURNAL_SHORT) != 0)
        log_warn("store", st->node,
                 "the disk has no room for another segment, publishers are blocked");
    else if ((was & ~now & STORE_JOURNAL_SHORT) != 0)
        log_info("store", st->node, "the disk has room for segments again");
    if (st->set.on_alarm != NULL)
        st->set.on_alarm(st->set.arg);
}

/* Before the threads start: so that nothing is taken in that there is no room for. */
void store_watch_init(struct store *st)
{
    work_job_init(&st->look, look_job, on_looked);
    look_job(&st->look);
    take_look(st);
}

void store_watch_fini(struct store *st)
{
    answer_wishes(&st->wishes);
    answer_wishes(&st->looking_for);
}
